"""Ablative margins: how far the ablation zone reaches beyond the tumor, and where it does not.

All distances run from surface to surface, in mm, between the smooth sub-voxel surfaces of
:mod:`~NETAblationLib.core.surfaces`. The **signed margin** at a point of the tumor's surface is
the distance to the surface of the zone, positive where the point lies inside the zone. The
**MAM** (minimal ablative margin) is the smallest signed margin over the evaluable surface:
Laimer et al., Eur Radiol 2020;30 (no local progression above 5 mm) and 2025;35:1046; tumor
surface nearer to the liver capsule than the margin asked for cannot have that margin and is
excluded (principle of Sandu et al., Front Oncol 2021;11:623098). **Shell coverage** is the part
of the shell of m mm around the tumor, inside the liver, that is ablated (Laimer et al., Eur
Radiol 2021;31:6489: at least 90 % of the 6 mm shell was needed).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import frames
from .carry import carry_field, require_3d
from .errors import EmptyMaskError, FormatError, GeometryError, InputError
from .fusion_verdict import GOOD
from .margin_directions import margin_by_direction, weighted_percentile
from .progress import ProgressCallback, silent
from .residuals import Residual, residual_margin, residual_tumor, sample_neighborhoods, shell_coverage_fraction
from .surfaces import FieldPatch, SmoothField, Surface, mask_view, signed_distance_mm, smooth_field, smooth_field_near

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1

#: Margin asked for, in mm: "A0" is at least 5 mm (Laimer et al., Eur Radiol 2020 and 2025).
DEFAULT_MARGIN_MM = 5.0
#: Shells of which the coverage is reported, in mm: 3 and 6 are those of Laimer et al., Eur
#: Radiol 2021;31:6489; 5 is the margin of A0; 10 is optimal by Chlorogiannis et al., Cancers
#: 2023;15:5806.
SHELLS_MM = (3.0, 5.0, 6.0, 10.0)
#: Area-weighted percentile reported beside the MAM, which one stray point can set.
LOW_PERCENTILE = 1.0

#: Largest margin that may be asked for, in mm: more than any published (10 mm is optimal).
MAX_MARGIN_MM = 30.0
#: Share of the tumor left from which a zone counts as not touching it at all; user-set.
_UNTOUCHED_FRACTION = 0.999

VERDICTS = ("reached", "not reached", "uncertain", "not evaluable")


@dataclass(frozen=True)
class MarginResult:
    """The measured margin of one tumor (or of several in one mask, measured together).

    `surface` is the tumor's, in RAS mm of the fixed frame, with `signed_margin_mm` (N,) and
    `is_evaluable` (N,) at its points; `zone_surface` is the zone's, carried into the fixed frame.
    `mam_mm`, `mam_location_ras_mm` (3,), `mam_p01_mm`, `mean_mm` and the shares of the surface
    refer to the evaluable surface and are None where all of it is subcapsular (`reason` then
    says so). Shares of the surface are weighted by area; those below 0, from 0 to 5 and of at
    least 5 mm sum to one.

    `resolution_mm` is half the diagonal of the coarser mask's voxel: a mask says nothing about
    where between two voxel centers the boundary runs. `uncertainty_mm` is the larger of it and
    the registration's error; a MAM within it of `margin_mm` is called "uncertain".

    `residual_tumor` and `residual_margin` hold what is not ablated, as a mask, a volume, a
    direction and a distance; they and the surfaces are None or empty in a result read from JSON.
    `direction` says which side of the tumor is thin (:func:`~.margin_directions.margin_by_direction`); empty in a
    result of an earlier release.
    """

    margin_mm: float
    mam_mm: float | None
    mam_location_ras_mm: tuple[float, float, float] | None
    mam_p01_mm: float | None
    mean_mm: float | None
    resolution_mm: float
    registration_error_mm: float | None
    surface_fraction: Mapping[str, float | None]
    shell_coverage_fraction: Mapping[str, float | None]
    subcapsular_fraction: float
    tumor_volume_ml: float
    zone_volume_ml: float
    residual_tumor_volume_ml: float
    residual_margin_volume_ml: float
    tumor_component_count: int
    zone_component_count: int
    verdict: str
    reason: str
    warnings: tuple[str, ...]
    input_hashes: Mapping[str, str]
    parameters: Mapping[str, Any]
    direction: Mapping[str, Any] = field(default_factory=dict)
    residual_tumor: Residual | None = None
    residual_margin: Residual | None = None
    surface: Surface | None = None
    zone_surface: Surface | None = None
    signed_margin_mm: FloatArray = field(default_factory=lambda: np.empty(0))
    is_evaluable: BoolArray = field(default_factory=lambda: np.empty(0, dtype=bool))

    def __post_init__(self) -> None:
        """Check the arrays against the surface and the verdict against the known words."""
        margin = np.asarray(self.signed_margin_mm, dtype=np.float64)
        evaluable = np.asarray(self.is_evaluable, dtype=bool)
        count = 0 if self.surface is None else len(self.surface.points_ras_mm)
        if margin.shape != (count,) or evaluable.shape != (count,):
            raise InputError(
                f"margin result: {count} surface points need as many margins and flags, "
                f"got shapes {margin.shape} and {evaluable.shape}"
            )
        if self.verdict not in VERDICTS:
            raise InputError(f"margin result: verdict '{self.verdict}' is none of {', '.join(VERDICTS)}")
        object.__setattr__(self, "signed_margin_mm", margin)
        object.__setattr__(self, "is_evaluable", evaluable)

    @property
    def uncertainty_mm(self) -> float:
        """Half width of the band around a threshold within which a margin is not called reached."""
        return max(self.resolution_mm, self.registration_error_mm or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON; surfaces and masks are not part of it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "margin_mm": self.margin_mm,
            "mam_mm": self.mam_mm,
            "mam_location_ras_mm": None if self.mam_location_ras_mm is None else list(self.mam_location_ras_mm),
            "mam_p01_mm": self.mam_p01_mm,
            "mean_mm": self.mean_mm,
            "resolution_mm": self.resolution_mm,
            "registration_error_mm": self.registration_error_mm,
            "uncertainty_mm": self.uncertainty_mm,
            "verdict": self.verdict,
            "reason": self.reason,
            "surface_fraction": dict(self.surface_fraction),
            "surface_fraction_of": "evaluable tumor surface, by area",
            "direction": dict(self.direction),
            "shell_coverage_fraction": dict(self.shell_coverage_fraction),
            "subcapsular_fraction": self.subcapsular_fraction,
            "tumor_volume_ml": self.tumor_volume_ml,
            "zone_volume_ml": self.zone_volume_ml,
            "residual_tumor_volume_ml": self.residual_tumor_volume_ml,
            "residual_margin_volume_ml": self.residual_margin_volume_ml,
            "residual_tumor": None if self.residual_tumor is None else self.residual_tumor.to_dict(),
            "residual_margin": None if self.residual_margin is None else self.residual_margin.to_dict(),
            "tumor_component_count": self.tumor_component_count,
            "zone_component_count": self.zone_component_count,
            "warnings": list(self.warnings),
            "input_hashes": dict(self.input_hashes),
            "parameters": dict(self.parameters),
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> MarginResult:
        """Read what :meth:`to_dict` wrote; surfaces and masks are absent.

        Raises FormatError for another schema version or a missing key.
        """
        if document.get("schema_version") != SCHEMA_VERSION:
            raise FormatError(
                f"margin: schema_version {document.get('schema_version')!r} is not the one this release reads "
                f"({SCHEMA_VERSION}): measure the margin again"
            )
        derived = {"schema_version", "uncertainty_mm"}
        absent = {"surface", "zone_surface", "signed_margin_mm", "is_evaluable"}
        names = set(MarginResult.__dataclass_fields__) - absent
        missing = sorted(names - {"direction"} - set(document))  # earlier releases wrote no direction
        if missing:
            raise FormatError(f"margin: the document lacks {', '.join(missing)}")
        values = {name: document[name] for name in names & set(document) if name not in derived}
        location = values["mam_location_ras_mm"]
        values["mam_location_ras_mm"] = None if location is None else tuple(float(x) for x in location)
        values["warnings"] = tuple(values["warnings"])
        for name in ("residual_tumor", "residual_margin"):
            values[name] = None if values[name] is None else Residual.from_dict(values[name])
        return MarginResult(**values)


def measure_margin(
    tumor: sitk.Image,
    zone: sitk.Image,
    *,
    liver: sitk.Image | None = None,
    fixed_to_moving: sitk.Transform | None = None,
    margin_mm: float = DEFAULT_MARGIN_MM,
    registration_error_mm: float | None = None,
    zone_shrinkage_fraction: float = 0.0,
    input_hashes: Mapping[str, str] | None = None,
    progress: ProgressCallback = silent,
) -> MarginResult:
    """Measure the margin of an ablation zone around a tumor.

    `tumor` and `liver` are masks in the fixed (planning) frame, `zone` one in the moving
    (post-ablation) frame; grids may differ. `fixed_to_moving` maps fixed to moving points, as
    ITK's resampling does; None where both share a frame. The zone's surface is carried into the
    fixed frame; no mask is resampled. Without a liver mask all of the surface is evaluable.
    `zone_shrinkage_fraction` is by how much of its length ablated tissue has contracted (:func:`.carry.carry_field`).
    `input_hashes` are stored in the result; by default SHA-256 of geometry and voxels.

    Raises EmptyMaskError or GeometryError (naming the mask) for empty or unsound masks, fields of
    view that do not overlap or a tumor outside the liver, and InputError for bad parameters.
    """
    _check_parameters(margin_mm, registration_error_mm)
    for mask, name in ((tumor, "tumor"), (zone, "zone"), (liver, "liver")):
        if mask is not None:
            mask_view(mask, name)
    require_3d(fixed_to_moving)
    _check_fields_of_view(tumor, zone, fixed_to_moving)
    progress(0.0, "surfaces of tumor and zone")
    reach_mm = max(float(margin_mm), *SHELLS_MM)
    with ThreadPoolExecutor(1) as other:  # the zone's surface asks for nothing of the tumor
        zone_found = other.submit(smooth_field, zone, "zone")
        tumor_field = smooth_field(tumor, "tumor")
        surface = tumor_field.surface()
        progress(0.25, "liver capsule")
        liver_field = None if liver is None else _liver_field(liver, tumor_field, surface, reach_mm)
        is_outside, is_subcapsular = _capsule(surface, liver_field, margin_mm)
        moving_field = zone_found.result()
    progress(0.45, "zone surface in the planning frame")
    zone_field = carry_field(
        moving_field, fixed_to_moving, surface.centroid_ras_mm, zone_shrinkage_fraction=zone_shrinkage_fraction
    )
    zone_surface = zone_field.surface()
    progress(0.55, "signed margins")
    signed_margin_mm = -signed_distance_mm(surface.points_ras_mm, zone_field, zone_surface)
    progress(0.75, "shells and residual")
    surroundings = sample_neighborhoods(tumor, tumor_field, zone_field, liver_field, reach_mm)
    left_tumor = residual_tumor(tumor, surface, surroundings, zone_field)
    left_margin = residual_margin(tumor, surface, surroundings, zone_field, liver_field, margin_mm)
    progress(0.95, "summary")
    statistics = _statistics(surface, signed_margin_mm, ~is_subcapsular)
    resolution_mm = max(_half_voxel_diagonal_mm(tumor), _half_voxel_diagonal_mm(zone))
    verdict, reason = _verdict(statistics["mam_mm"], margin_mm, resolution_mm, registration_error_mm)
    result = MarginResult(
        margin_mm=float(margin_mm),
        **statistics,
        resolution_mm=resolution_mm,
        registration_error_mm=None if registration_error_mm is None else float(registration_error_mm),
        shell_coverage_fraction={f"{m:g}": shell_coverage_fraction(surroundings, m) for m in SHELLS_MM},
        subcapsular_fraction=_share(surface, is_subcapsular),
        tumor_volume_ml=surface.volume_ml,
        zone_volume_ml=(zone_surface if zone_field is moving_field else moving_field.surface()).volume_ml,
        residual_tumor_volume_ml=left_tumor.volume_ml,
        residual_margin_volume_ml=left_margin.volume_ml,
        tumor_component_count=tumor_field.component_count,
        zone_component_count=moving_field.component_count,
        verdict=verdict,
        reason=reason,
        warnings=(
            *_tumor_warnings(tumor_field, zone, surface, fixed_to_moving),
            *_zone_warnings(moving_field, signed_margin_mm, left_tumor, surface),
            *_liver_warnings(liver_field, surface, is_outside),
            *_shrinkage_warnings(zone_shrinkage_fraction),
        ),
        input_hashes=dict(input_hashes or _hashes(tumor=tumor_field, zone=moving_field, liver=liver_field)),
        parameters={
            "margin_mm": float(margin_mm),
            "registration_error_mm": None if registration_error_mm is None else float(registration_error_mm),
            "zone_shrinkage_fraction": float(zone_shrinkage_fraction),
            "has_liver": liver is not None,
            "has_transform": fixed_to_moving is not None,
        },
        direction=margin_by_direction(surface, signed_margin_mm, ~is_subcapsular),
        residual_tumor=left_tumor,
        residual_margin=left_margin,
        surface=surface,
        zone_surface=zone_surface,
        signed_margin_mm=signed_margin_mm,
        is_evaluable=~is_subcapsular,
    )
    progress(1.0, "done")
    return result


# --- checks -------------------------------------------------------------------------------


def _check_parameters(margin_mm: float, registration_error_mm: float | None) -> None:
    if not (np.isfinite(margin_mm) and 0 < margin_mm <= MAX_MARGIN_MM):
        raise InputError(f"margin: {margin_mm} mm is not above 0 and at most {MAX_MARGIN_MM:g} mm")
    if registration_error_mm is not None and not (np.isfinite(registration_error_mm) and registration_error_mm >= 0):
        raise InputError(f"registration error: {registration_error_mm} mm is not a number of at least 0")


def _check_fields_of_view(tumor: sitk.Image, zone: sitk.Image, fixed_to_moving: sitk.Transform | None) -> None:
    """Raise GeometryError where the tumor's image, carried over, lies wholly beside the zone's."""
    index = frames.ras_to_index(zone, _to_moving(fixed_to_moving, _lattice(tumor)))
    size = np.array(zone.GetSize())
    if np.any(index.max(axis=0) < -0.5) or np.any(index.min(axis=0) > size - 0.5) or not np.isfinite(index).all():
        carried = "" if fixed_to_moving is None else " after the transform"
        raise GeometryError(
            f"tumor and zone: their images do not overlap{carried} ({frames.describe_grid(tumor)}; "
            f"{frames.describe_grid(zone)}): check the frames of reference and the transform"
        )


def _lattice(image: sitk.Image, count: int = 9) -> FloatArray:
    """Points spread over the whole image, corners of its voxels included, (count^3, 3) RAS."""
    axes = [np.linspace(-0.5, n - 0.5, count) for n in image.GetSize()]
    return frames.index_to_ras(image, np.array(np.meshgrid(*axes)).reshape(3, -1).T)


def _to_moving(fixed_to_moving: sitk.Transform | None, points_ras_mm: FloatArray) -> FloatArray:
    return points_ras_mm if fixed_to_moving is None else frames.transform_points(fixed_to_moving, points_ras_mm)


# --- the liver ----------------------------------------------------------------------------


def _liver_field(liver: sitk.Image, tumor: SmoothField, surface: Surface, reach_mm: float) -> SmoothField:
    """The liver around the tumor; raises GeometryError where no part of the tumor lies in it."""
    field = smooth_field_near(liver, surface.points_ras_mm, reach_mm, "liver")
    if field is None and not mask_view(liver, "liver").any():
        raise EmptyMaskError("liver: the mask is empty; segment it first, or measure without a liver mask")
    if field is None or not any(_meets(patch, field) for patch in tumor.patches):
        raise GeometryError("tumor: no part of it lies in the liver mask; check that both are of one image and frame")
    return field


def _meets(patch: FieldPatch, field: SmoothField) -> bool:
    """Whether a node inside the patch's shape lies inside the field's."""
    at_nodes = field.sample(patch.index_to_ras, patch.values_mm.shape)
    return bool(((patch.values_mm < 0) & (at_nodes < 0)).any())


def _capsule(surface: Surface, liver: SmoothField | None, margin_mm: float) -> tuple[BoolArray, BoolArray]:
    """Which points of the tumor's surface lie outside the liver, and which are subcapsular."""
    count = len(surface.points_ras_mm)
    if liver is None:
        return np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    is_outside = liver.evaluate(surface.points_ras_mm) > 0
    is_near = liver.surface().distance_mm(surface.points_ras_mm, at_most_mm=2 * margin_mm) < margin_mm
    return is_outside, is_outside | is_near


# --- figures ------------------------------------------------------------------------------


def _statistics(surface: Surface, signed_margin_mm: FloatArray, is_evaluable: BoolArray) -> dict[str, Any]:
    """MAM, its place, low percentile, mean and shares by area; None where nothing is evaluable."""
    margins, areas = signed_margin_mm[is_evaluable], surface.point_areas_mm2[is_evaluable]
    if not areas.sum() > 0:
        nothing = dict.fromkeys(("below_0", "from_0_to_5", "at_least_5", "at_least_10"))
        return {
            "mam_mm": None,
            "mam_location_ras_mm": None,
            "mam_p01_mm": None,
            "mean_mm": None,
            "surface_fraction": nothing,
        }
    weights = areas / areas.sum()
    worst = int(np.argmin(margins))
    below_0, below_5 = float(weights[margins < 0].sum()), float(weights[margins < 5].sum())
    return {
        "mam_mm": float(margins[worst]),
        "mam_location_ras_mm": tuple(surface.points_ras_mm[is_evaluable][worst].tolist()),
        "mam_p01_mm": weighted_percentile(margins, weights, LOW_PERCENTILE),
        "mean_mm": float(weights @ margins),
        "surface_fraction": {
            "below_0": below_0,
            "from_0_to_5": below_5 - below_0,
            "at_least_5": 1.0 - below_5,
            "at_least_10": float(weights[margins >= 10].sum()),
        },
    }


def _share(surface: Surface, chosen: BoolArray) -> float:
    return float(surface.point_areas_mm2[chosen].sum() / surface.point_areas_mm2.sum())


def _half_voxel_diagonal_mm(image: sitk.Image) -> float:
    return float(np.linalg.norm(image.GetSpacing())) / 2


def _verdict(
    mam_mm: float | None, margin_mm: float, resolution_mm: float, registration_error_mm: float | None
) -> tuple[str, str]:
    """A word on whether the margin is reached, and why it is that word."""
    if mam_mm is None:
        return "not evaluable", f"all of the tumor's surface is within {margin_mm:g} mm of the liver capsule"
    source, band_mm = "the voxels' resolution", resolution_mm
    if registration_error_mm is not None and registration_error_mm > resolution_mm:
        source, band_mm = "the registration's error", registration_error_mm
    figures = f"MAM {mam_mm:.1f} mm against {margin_mm:g} mm asked for"
    if abs(mam_mm - margin_mm) < band_mm:
        return "uncertain", f"{figures}: the difference is within {source} of {band_mm:.1f} mm"
    word = "reached" if mam_mm > margin_mm else "not reached"
    return word, f"{figures}, by more than {source} of {band_mm:.1f} mm"


def in_doubt(result: MarginResult, fusion_verdict: str | None) -> MarginResult:
    """The result as far as its fusion holds: "reached" through a fusion that is not called good becomes "uncertain".

    `fusion_verdict` is that of :mod:`.fusion_verdict`; None or empty where both images share a frame or it is unknown.
    """
    if result.verdict != "reached" or fusion_verdict in (None, "", GOOD):
        return result
    return replace(result, verdict="uncertain", reason=f"{result.reason}; but the fusion is {fusion_verdict}")


def _hashes(**fields: SmoothField | None) -> dict[str, str]:
    return {name: field.content_hash for name, field in fields.items() if field is not None}


# --- warnings -----------------------------------------------------------------------------


def _tumor_warnings(
    tumor: SmoothField, zone: sitk.Image, surface: Surface, fixed_to_moving: sitk.Transform | None
) -> list[str]:
    found = []
    if tumor.touches_border:
        found.append("the tumor mask touches the border of its image: what lies beyond is not measured")
    if tumor.component_count > 1:
        found.append(f"the tumor mask has {tumor.component_count} separate parts, measured together")
    is_seen = frames.is_inside(zone, _to_moving(fixed_to_moving, surface.points_ras_mm))
    if not is_seen.all():
        share = 100 * _share(surface, ~is_seen)
        found.append(f"{share:.0f} % of the tumor's surface lie outside the image of the zone")
    return found


def _zone_warnings(zone: SmoothField, signed_margin_mm: FloatArray, left: Residual, surface: Surface) -> list[str]:
    found = []
    if zone.touches_border:
        found.append("the zone mask touches the border of its image: the zone is taken to end there")
    if (signed_margin_mm < 0).all() and left.volume_ml > _UNTOUCHED_FRACTION * surface.volume_ml:
        found.append("the zone does not touch the tumor: check the masks and the fusion")
    return found


def _shrinkage_warnings(fraction: float) -> list[str]:
    if fraction == 0.0:
        return []
    return [
        f"the zone counts as contracted by {100 * fraction:g} % of its length (user-set) and was enlarged by "
        "that before its margin was measured"
    ]


def _liver_warnings(liver: SmoothField | None, surface: Surface, is_outside: BoolArray) -> list[str]:
    if liver is None:
        return ["no liver mask: the capsule is unknown, all of the tumor's surface counts as evaluable"]
    if is_outside.any():
        share = 100 * _share(surface, is_outside)
        return [f"{share:.1f} % of the tumor's surface lie outside the liver mask and count as subcapsular"]
    return []
