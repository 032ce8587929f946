"""What is measured of each lesion: size, enhancement, distances to what matters, and flags with their source.

Distances run from surface to surface, in mm, between the smooth sub-voxel surfaces of
:mod:`~NETAblationLib.core.surfaces`. Masks and images may lie on grids of their own, as long as
all are of one frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from . import frames
from .centerlines import Centerlines, VesselKind
from .clinical_rules import RULES, Rule
from .diameters import axial_diameters_mm, longest_3d_mm
from .errors import EmptyMaskError, GeometryError, InputError
from .frames import Points
from .fusion_inputs import is_ct, sample_mask
from .images import image_hash, require_3d_finite
from .lobes import Lobes
from .margins import DEFAULT_MARGIN_MM, MAX_MARGIN_MM
from .progress import ProgressCallback, silent
from .surfaces import SmoothField, Surface, signed_distance_mm, smooth_field, smooth_field_near
from .targets import Target

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Structures with a meaning of their own among those given; distances to them are None where they are not.
PORTAL_TRIAD, GALLBLADDER = "portal_triad", "gallbladder"

#: Phases without contrast: with one of them the rise of the others above it is measured too.
NATIVE_PHASES = frozenset({"native", "plain", "unenhanced"})

#: Share of the smaller of two lesions' voxel centers that may lie in the other. Voxels of two grids never
#: meet exactly; on one grid, where they do to this share of a voxel, none may be shared. User-set.
_SHARED_BETWEEN_GRIDS, _LATTICE_TOLERANCE = 0.05, 0.01
#: A lesion that the liver mask leaves out belongs to the liver where this share of its surface, moved outward by
#: a voxel, lies in the mask: more than of a gallbladder in its fossa. User-set.
_ENCLOSED_SHARE = 0.6
#: Share of a lesion outside the liver mask that is worth a note. User-set.
_NOTED_SHARE = 0.01
#: No two organs of a body are farther apart, in mm: another frame. User-set.
_MAX_GAP_MM = 400.0
#: Liver for comparison: this far from lesions, capsule and vessels, in mm, and points of it that are enough and that
#: are taken at most. User-set.
_AWAY_MM, _MIN_REFERENCE, _MAX_REFERENCE = 5.0, 200, 40_000
#: Median value of a liver in a CT of any phase, in HU, beyond any found in patients. User-set.
_LIVER_HU = (-60.0, 350.0)
#: Points by which the liver within the margin of a lesion is counted. User-set.
_MARGIN_POINTS = 30_000
#: Empty voxels kept around a lesion that is cut out of its image.
_RIM_VOXELS = 2
#: Median absolute deviation of a normal distribution to its standard deviation.
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Enhancement:
    """One phase: HU of a lesion and of the liver around it, with medians; `difference_hu` is lesion less liver.

    `lesion_p10_hu` and `lesion_p90_hu` are percentiles, which a ring tells from an even lesion.
    `contrast_to_noise` is the difference over the liver's standard deviation. `pattern` is hyper,
    iso or hypo. The rises are those above the phase without contrast, None without such a phase.
    """

    lesion_hu: float
    lesion_p10_hu: float
    lesion_p90_hu: float
    liver_hu: float
    liver_sd_hu: float
    difference_hu: float
    contrast_to_noise: float | None
    pattern: str
    lesion_rise_hu: float | None = None
    liver_rise_hu: float | None = None


@dataclass(frozen=True)
class NearVessel:
    """The nearest vessel of 3 mm and more: distance from surface to wall (0 where they meet), radius, kind, place."""

    distance_mm: float
    radius_mm: float
    kind: str
    point_ras_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Flag:
    """What a lesion is flagged as: the distance that led to it, the bound, and the rules with their sources."""

    name: str
    distance_mm: float
    threshold_mm: float
    rules: tuple[Rule, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "distance_mm": self.distance_mm,
            "threshold_mm": self.threshold_mm,
            "rules": [rule.name for rule in self.rules],
            "source": "; ".join(rule.source for rule in self.rules),
        }


@dataclass(frozen=True)
class LesionMeasures:
    """One lesion; what cannot be measured is None, and `notes` say why.

    `longest_diameter_mm` and `short_axis_mm` are those of RECIST 1.1 on the axial plane. `distances_mm` run
    from surface to surface, 0 where the two meet: "capsule", "vessel" (of 3 mm and more) and
    every structure given. `margin_liver_ml` is the healthy liver within the margin of the lesion:
    the least that is lost with it. `lobe_fraction` is the share of the lesion in each lobe.
    """

    name: str
    volume_ml: float
    longest_diameter_mm: float
    short_axis_mm: float
    longest_3d_mm: float
    center_ras_mm: tuple[float, float, float]
    part_count: int
    margin_liver_ml: float
    enhancement: Mapping[str, Enhancement | None]
    distances_mm: Mapping[str, float | None]
    nearest_vessel: NearVessel | None
    lobe_fraction: Mapping[str, float] | None
    flags: tuple[Flag, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        phases = self.enhancement.items()
        return document | {
            "center_ras_mm": list(self.center_ras_mm),
            "enhancement": {name: None if found is None else asdict(found) for name, found in phases},
            "distances_mm": dict(self.distances_mm),
            "nearest_vessel": None
            if self.nearest_vessel is None
            else {**asdict(self.nearest_vessel), "point_ras_mm": list(self.nearest_vessel.point_ras_mm)},
            "lobe_fraction": None if self.lobe_fraction is None else dict(self.lobe_fraction),
            "flags": [flag.to_dict() for flag in self.flags],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class MeasuredLesions:
    """All lesions of a liver, in the order given.

    `liver_volume_ml` is that of the mask with the lesions that it leaves out. `lobes_method` says how
    the lobes were told, None where they were not. `masks` are the lesions, each cut out of its image.
    """

    lesions: tuple[LesionMeasures, ...]
    liver_volume_ml: float
    margin_mm: float
    lobes_method: str | None
    input_hashes: Mapping[str, str]
    masks: Mapping[str, sitk.Image] = field(repr=False)

    @property
    def tumor_volume_ml(self) -> float:
        """Volume of all lesions."""
        return float(sum(lesion.volume_ml for lesion in self.lesions))


@dataclass(frozen=True)
class _Lesion:
    """A lesion on its own grid: its mask, voxel centers, field and surface, and its share inside the liver mask."""

    name: str
    mask: sitk.Image
    points: Points
    field: SmoothField
    surface: Surface
    inside_share: float

    @property
    def volume_ml(self) -> float:
        return self.field.mask_volume_ml


@dataclass(frozen=True)
class _Liver:
    """The liver with all lesions in it."""

    volume_ml: float
    field: SmoothField


def split_labels(labels: sitk.Image, name: str = "mask") -> dict[int, sitk.Image]:
    """The masks of all labels of a segmentation (of an integer type), each cut out of the image at its own box.

    Raises EmptyMaskError, naming `name`, where there is no label.
    """
    found: dict[int, sitk.Image] = {}
    boxes = ndimage.find_objects(sitk.GetArrayViewFromImage(labels))
    for label, box in enumerate(boxes, start=1):
        if box is not None:
            found[label] = sitk.Equal(_part(labels, box), label)
    if not found:
        raise EmptyMaskError(f"{name}: the mask is empty: no voxel is inside")
    return found


def measure_lesions(
    lesions: Mapping[str, sitk.Image],
    liver: sitk.Image,
    *,
    phases: Mapping[str, sitk.Image] | None = None,
    structures: Mapping[str, sitk.Image] | None = None,
    vessels: Centerlines | None = None,
    lobes: Lobes | None = None,
    margin_mm: float = DEFAULT_MARGIN_MM,
    progress: ProgressCallback = silent,
) -> MeasuredLesions:
    """Measure every lesion of a liver.

    `lesions` are masks by name and `liver` is a mask, with or without the lesions in it; any non-zero voxel is
    inside. `phases` are CT images in HU by name, in the same frame; `structures` masks by name
    ("portal_triad", "gallbladder" and any other). Grids may differ.

    Raises EmptyMaskError or GeometryError, naming the mask, for empty or unsound masks, a lesion outside
    the liver, lesions that overlap and what is of another frame; InputError for no lesion, a margin
    out of bounds and a phase that is no CT in HU.
    """
    phases, structures = dict(phases or {}), dict(structures or {})
    if not lesions:
        raise InputError("lesions: none given; at least one mask is needed")
    if not (np.isfinite(margin_mm) and 0 < margin_mm <= MAX_MARGIN_MM):
        raise InputError(f"margin: {margin_mm} mm is not above 0 and at most {MAX_MARGIN_MM:g} mm")
    for name, image in phases.items():
        require_3d_finite(image, f"phase '{name}'")
    hashes = {f"lesion {name}": image_hash(mask) for name, mask in lesions.items()} | {"liver": image_hash(liver)}
    hashes |= {f"phase {name}": image_hash(image) for name, image in phases.items()}
    hashes |= {f"structure {name}": image_hash(mask) for name, mask in structures.items()}
    progress(0.0, "surfaces of the lesions")
    cut_liver = _cut(liver, "liver")
    found = [_lesion(name, mask, cut_liver) for name, mask in lesions.items()]
    _require_apart(found)
    progress(0.3, "liver")
    whole = _liver(cut_liver, found)
    reference = _reference(frames.voxel_centers(cut_liver), whole, found, vessels) if phases else np.empty((0, 3))
    _require_ct(phases, reference)
    progress(0.5, "structures")
    fields = {name: _structure(name, mask, found) for name, mask in structures.items()}
    measured = []
    for number, lesion in enumerate(found):
        progress(0.6 + 0.4 * number / len(found), lesion.name)
        enhancement = _enhancement(lesion, reference, phases)
        measured.append(_measures(lesion, found, whole, enhancement, fields, vessels, lobes, margin_mm))
    if lobes is not None and not any(sum((m.lobe_fraction or {}).values()) > 0 for m in measured):
        raise GeometryError("lobes: no lesion lies in the mask of lobes; check that both are of one frame")
    progress(1.0, "measured")
    return MeasuredLesions(
        lesions=tuple(measured),
        liver_volume_ml=whole.volume_ml,
        margin_mm=float(margin_mm),
        lobes_method=None if lobes is None else lobes.method,
        input_hashes=hashes,
        masks={lesion.name: lesion.mask for lesion in found},
    )


# --- input --------------------------------------------------------------------------------------


def _part(image: sitk.Image, box: tuple[slice, ...]) -> sitk.Image:
    """The box (K, J, I) of an image with a rim around it, as far as the image reaches."""
    size = np.array(image.GetSize())
    lower = np.maximum([along.start - _RIM_VOXELS for along in box][::-1], 0)
    upper = np.minimum([along.stop + _RIM_VOXELS for along in box][::-1], size)
    return sitk.RegionOfInterest(image, (upper - lower).tolist(), lower.tolist())


def _cut(mask: sitk.Image, name: str) -> sitk.Image:
    """A mask as uint8, 0 and 1, cut out of its image; raises as :func:`~.images.require_3d_finite`, and if empty."""
    require_3d_finite(mask, name)
    boxes = ndimage.find_objects((sitk.GetArrayViewFromImage(mask) != 0).view(np.uint8))
    if not boxes:
        raise EmptyMaskError(f"{name}: the mask is empty; segment it first, or choose another label")
    return sitk.NotEqual(_part(mask, boxes[0]), 0)


def _lesion(name: str, mask: sitk.Image, liver: sitk.Image) -> _Lesion:
    """A lesion with its surface; raises GeometryError where it does not belong to the liver."""
    title = f"lesion '{name}'"
    cut = _cut(mask, title)
    points = frames.voxel_centers(cut)
    smooth = smooth_field(cut, title)
    surface = smooth.surface()
    inside_share = float(np.mean(sample_mask(liver, points) > 0.5))
    if inside_share < _NOTED_SHARE:
        step_mm = max(*cut.GetSpacing(), *liver.GetSpacing())
        around = sample_mask(liver, surface.points_ras_mm + step_mm * surface.point_normals) > 0.5
        if surface.point_areas_mm2 @ around < _ENCLOSED_SHARE * surface.area_mm2:
            raise GeometryError(
                f"{title}: lies outside the liver mask ({frames.describe_grid(cut)}; liver "
                f"{frames.describe_grid(liver)}): check that both are of one image and frame"
            )
    return _Lesion(name, cut, points, smooth, surface, inside_share)


def _require_apart(lesions: list[_Lesion]) -> None:
    """Raise GeometryError where two lesions share voxels."""
    boxes = [(lesion.points.min(axis=0), lesion.points.max(axis=0)) for lesion in lesions]
    for second in range(len(lesions)):
        for first in range(second):
            if (boxes[first][0] > boxes[second][1]).any() or (boxes[second][0] > boxes[first][1]).any():
                continue
            small, large = sorted((lesions[first], lesions[second]), key=lambda lesion: lesion.volume_ml)
            share = float(np.mean(sample_mask(large.mask, small.points) > 0.5))
            index = frames.ras_to_index(large.mask, small.points)
            is_one_lattice = np.abs(index - np.rint(index)).max() < _LATTICE_TOLERANCE
            if share > (0.0 if is_one_lattice else _SHARED_BETWEEN_GRIDS):
                raise GeometryError(
                    f"lesions '{lesions[first].name}' and '{lesions[second].name}' overlap: they share "
                    f"{share * small.volume_ml:.3g} ml, {100 * share:.1f} % of '{small.name}'; give every voxel to one "
                    "of them"
                )


def _liver(mask: sitk.Image, lesions: list[_Lesion]) -> _Liver:
    array = sitk.GetArrayFromImage(mask)
    voxel_ml = float(np.prod(mask.GetSpacing())) / 1000.0
    volume_ml = int(array.sum()) * voxel_ml + sum(lesion.volume_ml * (1 - lesion.inside_share) for lesion in lesions)
    whole = _with_lesions(mask, lesions)
    lower, upper = frames.bounding_box_ras(whole)
    smooth = smooth_field_near(whole, np.array([lower, upper]), 0.0, "liver")
    assert smooth is not None  # the mask is not empty
    return _Liver(volume_ml, smooth)


def _with_lesions(liver: sitk.Image, lesions: list[_Lesion]) -> sitk.Image:
    """The liver and all lesions as one mask on the liver's grid, grown where a lesion reaches beyond it."""
    corners = {lesion.name: np.array(frames.bounding_box_ras(lesion.mask)) for lesion in lesions}
    boxes = np.concatenate([_index_box(liver, points) for points in corners.values()])
    before = np.maximum(-boxes.min(axis=0), 0)
    after = np.maximum(boxes.max(axis=0) + 1 - np.array(liver.GetSize()), 0)
    whole = sitk.ConstantPad(liver, before.tolist(), after.tolist(), 0)
    array = sitk.GetArrayFromImage(whole)
    for lesion in lesions:
        lower, upper = _index_box(liver, corners[lesion.name]) + before
        there = sitk.RegionOfInterest(whole, (upper - lower + 1).tolist(), lower.tolist())
        placed = sitk.Resample(lesion.mask, there, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
        box = tuple(slice(start, stop + 1) for start, stop in zip(lower[::-1], upper[::-1], strict=True))
        array[box] |= sitk.GetArrayViewFromImage(placed)
    filled = sitk.GetImageFromArray(array)
    filled.CopyInformation(whole)
    return filled


def _index_box(image: sitk.Image, box_ras_mm: Points) -> npt.NDArray[np.int64]:
    """First and last voxel index (2, 3) of an image around a box in RAS (2, 3), beyond the image where it ends."""
    corners = np.array(np.meshgrid(*box_ras_mm.T)).reshape(3, -1).T
    index = frames.ras_to_index(image, corners)
    return np.array([np.floor(index.min(axis=0)), np.ceil(index.max(axis=0))]).astype(np.int64)


def _reference(points: Points, liver: _Liver, lesions: list[_Lesion], vessels: Centerlines | None) -> Points:
    """Points of healthy liver, away from lesions, capsule and vessels as far as that leaves enough."""
    points = points[:: max(1, len(points) // _MAX_REFERENCE)]
    tumor = cKDTree(np.concatenate([lesion.surface.points_ras_mm for lesion in lesions]))
    healthy = np.ones(len(points), dtype=bool)
    for lesion in lesions:
        healthy &= sample_mask(lesion.mask, points) < 0.5
    chosen = healthy
    away = [tumor.query(points)[0] > _AWAY_MM, liver.field.surface().distance_mm(points, _AWAY_MM) >= _AWAY_MM]
    if vessels is not None:
        away.append(vessels.nearest_walls(points)[0] > _AWAY_MM)
    for condition in away:
        if np.count_nonzero(chosen & condition) >= _MIN_REFERENCE:
            chosen = chosen & condition
    return points[chosen]


def _structure(name: str, mask: sitk.Image, lesions: list[_Lesion]) -> SmoothField:
    title = f"structure '{name}'"
    require_3d_finite(mask, title)
    smooth = smooth_field(mask, title)
    corners = np.concatenate([patch.corners_ras() for patch in smooth.patches])
    points = np.concatenate([frames.bounding_box_ras(lesion.mask) for lesion in lesions])
    gap = np.maximum(corners.min(axis=0) - points.max(axis=0), points.min(axis=0) - corners.max(axis=0))
    if gap.max() > _MAX_GAP_MM:
        raise GeometryError(f"{title}: lies {gap.max():.0f} mm away from all lesions: it is of another frame")
    return smooth


def _require_ct(phases: Mapping[str, sitk.Image], reference: Points) -> None:
    """Raise InputError for an image that is no CT in HU, GeometryError for one that does not show the liver."""
    for name, image in phases.items():
        if not is_ct(image):
            raise InputError(
                f"phase '{name}': holds no air, so it is no CT in HU (another modality, or cut to the liver); "
                "enhancement in HU is measured on whole CT images only"
            )
        seen = reference[frames.is_inside(image, reference)]
        if len(seen) < min(_MIN_REFERENCE, len(reference)) or not len(seen):
            raise GeometryError(f"phase '{name}': does not show the liver; check that both are of one frame")
        median = float(np.median(_values(image, seen)))
        if not _LIVER_HU[0] <= median <= _LIVER_HU[1]:
            raise InputError(
                f"phase '{name}': the liver has a median of {median:.0f}, which no liver has in HU: it is of another "
                "modality, or the liver mask is of another frame"
            )


def _values(image: sitk.Image, points: Points) -> FloatArray:
    """Values of an image at points (N, 3), linear between voxels."""
    index = frames.ras_to_index(image, points)[:, ::-1].T
    return ndimage.map_coordinates(
        sitk.GetArrayViewFromImage(image), index, order=1, mode="nearest", output=np.float64, prefilter=False
    )


# --- one lesion ---------------------------------------------------------------------------------


def _measures(
    lesion: _Lesion,
    all_lesions: list[_Lesion],
    liver: _Liver,
    enhancement: Mapping[str, Enhancement | None],
    structures: Mapping[str, SmoothField],
    vessels: Centerlines | None,
    lobes: Lobes | None,
    margin_mm: float,
) -> LesionMeasures:
    notes = _notes(lesion)
    distances: dict[str, float | None] = {PORTAL_TRIAD: None, GALLBLADDER: None}
    distances["capsule"] = _capsule_mm(lesion, liver)
    vessel = None if vessels is None else _nearest_vessel(lesion, vessels)
    distances["vessel"] = None if vessel is None else vessel.distance_mm
    if vessels is not None and vessel is None:
        notes.append(f"no vessel of {RULES['heat_sink_vessel'].number:g} mm and more is given")
    distances |= {name: _apart_mm(lesion, smooth) for name, smooth in structures.items()}
    notes += [f"phase '{name}' does not show all of it" for name, found in enhancement.items() if found is None]
    long_axis, short_axis = axial_diameters_mm(lesion.mask, lesion.surface)
    center = lesion.points.mean(axis=0)
    return LesionMeasures(
        name=lesion.name,
        volume_ml=lesion.volume_ml,
        longest_diameter_mm=long_axis,
        short_axis_mm=short_axis,
        longest_3d_mm=longest_3d_mm(lesion.surface),
        center_ras_mm=tuple(center.tolist()),
        part_count=lesion.field.component_count,
        margin_liver_ml=_margin_liver_ml(lesion, all_lesions, liver, margin_mm),
        enhancement=enhancement,
        distances_mm=distances,
        nearest_vessel=vessel,
        lobe_fraction=None if lobes is None else lobes.shares(lesion.points),
        flags=_flags(distances, margin_mm),
        notes=tuple(notes),
    )


def _notes(lesion: _Lesion) -> list[str]:
    notes = []
    if lesion.field.touches_border:
        notes.append("touches the border of its image: what lies beyond is not measured")
    if lesion.field.component_count > 1:
        notes.append(f"has {lesion.field.component_count} separate parts, measured as one lesion")
    if lesion.inside_share < _NOTED_SHARE:
        notes.append("the liver mask leaves it out; it counts as liver")
    elif lesion.inside_share < 1 - _NOTED_SHARE:
        notes.append(f"{100 * (1 - lesion.inside_share):.0f} % of it lie outside the liver mask and count as liver")
    return notes


def _capsule_mm(lesion: _Lesion, liver: _Liver) -> float:
    depth = -signed_distance_mm(lesion.surface.points_ras_mm, liver.field, liver.field.surface())
    return max(float(depth.min()), 0.0)


def _apart_mm(lesion: _Lesion, structure: SmoothField) -> float:
    """Distance between both surfaces, 0 where one reaches into the other."""
    points, other = lesion.surface.points_ras_mm, structure.surface()
    if (structure.evaluate(points) < 0).any() or (lesion.field.evaluate(other.points_ras_mm) < 0).any():
        return 0.0
    return float(other.distance_mm(points).min())


def _nearest_vessel(lesion: _Lesion, vessels: Centerlines) -> NearVessel | None:
    wide = vessels.at_least(RULES["heat_sink_vessel"].number)
    if not len(wide):
        return None
    # A vessel that the lesion has grown around lies inside: its own points tell that.
    within = lesion.field.evaluate(wide.points_ras_mm) < 0
    distance, index = wide.nearest_walls(lesion.surface.points_ras_mm)
    nearest = int(np.argmin(distance))
    point, least = int(index[nearest]), float(distance[nearest])
    if within.any() and least > 0:
        point, least = int(np.flatnonzero(within)[np.argmax(wide.radius_mm[within])]), 0.0
    return NearVessel(
        max(least, 0.0),
        float(wide.radius_mm[point]),
        VesselKind(int(wide.kind[point])).name.lower(),
        tuple(wide.points_ras_mm[point].tolist()),
    )


def _margin_liver_ml(lesion: _Lesion, all_lesions: list[_Lesion], liver: _Liver, margin_mm: float) -> float:
    """Healthy liver within the margin of the lesion."""
    none = np.zeros(len(lesion.surface.points_ras_mm), dtype=bool)
    target = Target(margin_mm, lesion.surface, lesion.field, liver.field, none)
    points, is_tumor, point_ml = target.points(_MARGIN_POINTS)
    healthy = points[~is_tumor]
    for other in all_lesions:
        if other is not lesion:
            healthy = healthy[sample_mask(other.mask, healthy) < 0.5]
    return len(healthy) * point_ml


def _enhancement(lesion: _Lesion, reference: Points, phases: Mapping[str, sitk.Image]) -> dict[str, Enhancement | None]:
    values: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name, image in phases.items():
        if frames.is_inside(image, lesion.points).all():
            seen = reference[frames.is_inside(image, reference)]
            values[name] = _values(image, lesion.points), _values(image, seen)
    native = next((name for name in values if name.lower() in NATIVE_PHASES), None)
    medians = {name: (float(np.median(inside)), float(np.median(around))) for name, (inside, around) in values.items()}
    found: dict[str, Enhancement | None] = dict.fromkeys(phases)
    bound = RULES["same_as_liver"].number
    for name, (inside, around) in values.items():
        lesion_hu, liver_hu = medians[name]
        sd = _MAD_TO_SD * float(np.median(np.abs(around - liver_hu)))
        difference = lesion_hu - liver_hu
        low, high = np.percentile(inside, (10, 90))
        found[name] = Enhancement(
            lesion_hu=lesion_hu,
            lesion_p10_hu=float(low),
            lesion_p90_hu=float(high),
            liver_hu=liver_hu,
            liver_sd_hu=sd,
            difference_hu=difference,
            contrast_to_noise=difference / sd if sd > 0 else None,
            pattern="iso" if abs(difference) <= bound else "hyper" if difference > 0 else "hypo",
            lesion_rise_hu=None if native is None else lesion_hu - medians[native][0],
            liver_rise_hu=None if native is None else liver_hu - medians[native][1],
        )
    return found


def _flags(distances: Mapping[str, float | None], margin_mm: float) -> tuple[Flag, ...]:
    """The flags of a lesion; nothing is flagged by what was not given."""
    triad, vessel, capsule = (distances[name] for name in (PORTAL_TRIAD, "vessel", "capsule"))
    found = []
    near, sink = RULES["perihilar"], RULES["heat_sink_distance"]
    if triad is not None and triad <= near.number:
        found.append(Flag("perihilar", triad, near.number, (near,)))
    if vessel is not None and vessel <= sink.number:
        found.append(Flag("heat_sink", vessel, sink.number, (RULES["heat_sink_vessel"], sink)))
    if capsule is not None and capsule < margin_mm:
        found.append(Flag("subcapsular", capsule, margin_mm, (RULES["subcapsular"],)))
    return tuple(found)
