"""A metastasis or an ablation zone from one diameter line.

The line is the longest diameter as a reader draws it, not quite exact. Around it, on a small
grid of its own (:mod:`.line_grid`), robust intensity models of inside and outside
(:mod:`.intensity_models`) and a smooth shape about the line (:mod:`.shape_field`), for a lesion
first fitted to its edges (:mod:`.ellipsoid_fit`), decide together; models and shape are estimated
in turn. At last the surface of a lesion is brought to where its edge is on average
(:mod:`.edge_position`). What does not stand out from its surroundings is refused, never made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import edge_position, ellipsoid_fit, frames, images, intensity_models, shape_field
from .clinical_rules import RULES
from .diameters import axial_diameters_mm
from .errors import FormatError, GeometryError, InputError, NothingFoundError
from .frames import Points
from .intensity_models import IntensityModel
from .line_grid import ImageCrop, LineGrid, carve
from .progress import ProgressCallback, silent

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1
KINDS = ("lesion", "zone")

#: Shortest and longest line, mm: below, a few voxels decide; above, no lesion or zone of a
#: liver is that long. No published source; user-set.
MIN_LINE_MM, MAX_LINE_MM = 3.0, 200.0

#: Contrast over noise of the smoothed image below which nothing is found, and below which a
#: warning is given; and the standard errors that the contrast has to exceed. User-set.
_MIN_CONTRAST_TO_NOISE, _LOW_CONTRAST_TO_NOISE, _MIN_STANDARD_ERRORS = 0.8, 2.5, 3.0

#: The same along the line alone, of which a short one holds too little to be as sure: what is found from it has to
#: exceed the former. Of 150 lines of 7 to 12 mm in noise alone none passed both with 2.4 here, one with 2.0. User-set.
_FIRST_STANDARD_ERRORS = 2.2

#: Blur in all that the image is brought to, mm, and the finest share of the line's length.
_BLUR_MM, _NOISY_BLUR_MM = 1.2, 1.8

#: Weight of the intensity: contrast over noise within these bounds. User-set.
_DATA_WEIGHT_BOUNDS = (1.5, 8.0)

#: However high the contrast, what looks like the lesion may be a vessel that touches it: of odds of 3, one in 20. A
#: reader who corrects the result says that there is such a thing. User-set: the lower the better on digital patients,
#: whose lesions are rounder than real ones.
_MOST_DATA, _CORRECTED_MOST_DATA = 3.0, 1.0

#: The part of the ellipsoid about the line, by its radius, that a first model is made of: without
#: the blurred edge. Own measurement on the digital patients. User-set.
_WHOLE_FRACTION = 0.9

#: An image with values below this is a CT, and shows air there. User-set.
_AIR_HU = -300.0

#: Times that models and shape are estimated in turn.
_ROUNDS = 2


@dataclass(frozen=True)
class LesionSegmentation:
    """A segmented lesion or zone.

    `mask` is uint8 on the grid of the whole image. `long_axis_mm` is the longest diameter in
    an axial slice of the image (RECIST), `short_axis_mm` the longest one at right angles to it
    in that slice. `parameters` holds the figures that made it: intensities in image units,
    contrast to noise, the working voxel's edge and blur in mm, and how far the surface was moved out to its edge.
    """

    mask: sitk.Image
    kind: str
    line_ras_mm: Points
    volume_ml: float
    long_axis_mm: float
    short_axis_mm: float
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    image_sha256: str = ""
    second_line_ras_mm: Points | None = None
    plus_ras_mm: Points = field(default_factory=lambda: np.empty((0, 3)))
    minus_ras_mm: Points = field(default_factory=lambda: np.empty((0, 3)))

    def __post_init__(self) -> None:
        """Check kind, line and measures; raises InputError or GeometryError."""
        _require_kind(self.kind)
        object.__setattr__(self, "line_ras_mm", _checked_line(self.line_ras_mm))
        object.__setattr__(self, "warnings", tuple(self.warnings))
        object.__setattr__(self, "parameters", dict(self.parameters))
        for name in ("volume_ml", "long_axis_mm", "short_axis_mm"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name}: {value} is not a finite number of at least 0")

    def to_dict(self) -> dict[str, Any]:
        """All but the mask, for JSON; the mask is named by its hash."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "line_ras_mm": self.line_ras_mm.tolist(),
            "second_line_ras_mm": None if self.second_line_ras_mm is None else self.second_line_ras_mm.tolist(),
            "plus_ras_mm": self.plus_ras_mm.tolist(),
            "minus_ras_mm": self.minus_ras_mm.tolist(),
            "volume_ml": self.volume_ml,
            "long_axis_mm": self.long_axis_mm,
            "short_axis_mm": self.short_axis_mm,
            "long_axis_definition": "longest diameter in an axial slice (RECIST 1.1)",
            "warnings": list(self.warnings),
            "parameters": dict(self.parameters),
            "image_sha256": self.image_sha256,
            "mask_sha256": images.image_hash(self.mask),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], mask: sitk.Image) -> LesionSegmentation:
        """The segmentation that `to_dict` described, with its mask.

        Raises FormatError for another schema, a missing key, or a mask that is not the one described.
        """
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise FormatError(f"lesion: schema_version {version!r} is not {SCHEMA_VERSION}, which this release reads")
        try:
            found = cls(
                mask=mask,
                kind=document["kind"],
                line_ras_mm=np.asarray(document["line_ras_mm"], dtype=np.float64),
                volume_ml=float(document["volume_ml"]),
                long_axis_mm=float(document["long_axis_mm"]),
                short_axis_mm=float(document["short_axis_mm"]),
                warnings=tuple(document["warnings"]),
                parameters=dict(document["parameters"]),
                image_sha256=str(document["image_sha256"]),
                second_line_ras_mm=_points_or_none(document.get("second_line_ras_mm")),
                plus_ras_mm=np.reshape(document.get("plus_ras_mm", ()), (-1, 3)).astype(np.float64),
                minus_ras_mm=np.reshape(document.get("minus_ras_mm", ()), (-1, 3)).astype(np.float64),
            )
            mask_sha256 = document["mask_sha256"]
        except KeyError as error:
            raise FormatError(f"lesion: the document has no {error}") from error
        except (TypeError, ValueError) as error:
            raise FormatError(f"lesion: the document cannot be read ({error})") from error
        if images.image_hash(mask) != mask_sha256:
            raise FormatError("lesion: the mask is not the one that the document describes (its hash differs)")
        return found


@dataclass(frozen=True)
class _Scene:
    """What is the same in all rounds: the grid, its places, what is drawn, and the prior of the kind."""

    grid: LineGrid
    shape: shape_field.LineEllipsoid
    drawn: ellipsoid_fit.Drawn
    radius: FloatArray
    prior: FloatArray
    usable: BoolArray
    core: BoolArray
    kind: str
    is_ct: bool


@dataclass(frozen=True)
class _Fit:
    """The last round's result: odds on the grid, the model, the smoothed values, and the blur.

    `filter_mm2` and `own_mm2` (3, 3) are the covariances of the blur by smoothing and by the image itself.
    """

    odds: FloatArray
    model: IntensityModel
    values: FloatArray
    blur_mm: float
    filter_mm2: Points
    own_mm2: Points


def segment_lesion(
    image: sitk.Image,
    line_ras_mm: npt.ArrayLike,
    *,
    kind: str = "lesion",
    second_line_ras_mm: npt.ArrayLike | None = None,
    plus_ras_mm: npt.ArrayLike = (),
    minus_ras_mm: npt.ArrayLike = (),
    liver: sitk.Image | None = None,
    progress: ProgressCallback = silent,
) -> LesionSegmentation:
    """Segment the lesion or the ablation zone whose longest diameter is the line.

    `image` is a 3D image, CT or another; `line_ras_mm` (2, 3) the ends of the line, which may
    be some mm off; `kind` is "lesion" (darker or brighter than what surrounds it) or "zone" (an
    ablation zone: its bright rim is not part of it, gas inside is). `second_line_ras_mm` (2, 3) is a
    diameter in another plane; `plus_ras_mm` and `minus_ras_mm` (N, 3) are points of strokes that
    correct an earlier result, inside and outside of the lesion. `liver`, a mask on the
    grid of `image`, confines the result and the model of the outside.

    Raises InputError for another kind, GeometryError for a line that is not (2, 3), not
    finite, not of 3 to 200 mm, not within the image or in air, for two lines that do not meet, for strokes
    outside the image or on both sides at once, and for a liver on another grid or
    away from the line, EmptyMaskError for an empty liver, ImageReadError for an image that is
    not 3D and sound, NothingFoundError where nothing stands out along the line.
    """
    _require_kind(kind)
    line = _checked_line(line_ras_mm)
    _check_image(image, line)
    second = None if second_line_ras_mm is None else _checked_second(second_line_ras_mm, line, image)
    plus, minus = _checked_strokes(plus_ras_mm, minus_ras_mm, image)
    liver = _checked_liver(liver, image, line)
    progress(0.1, "sampling")
    scene, crop = _scene(image, line, second, plus, minus, kind, liver)
    _require_tissue(scene, crop)
    found = _fit(scene, crop, progress)
    progress(0.8, "outlining")
    odds = shape_field.one_piece(found.odds, scene.core, _neck_mm(scene.grid, kind), scene.grid.spacing_mm)
    _require_lesion(scene, found, odds)
    field, shift_mm = _at_edge(scene, found, odds)
    mask = carve(field, scene.grid, image)
    warnings: list[str] = []
    if liver is not None:
        mask, warning = _within_liver(mask, liver)
        warnings += warning
    warnings += _quality_warnings(scene, found, odds) + _border_warning(mask)
    voxels = int(sitk.GetArrayViewFromImage(mask).sum())
    if voxels == 0:
        raise NothingFoundError("no lesion found: the voxels of the image are too coarse for what lies along the line")
    long_axis, short_axis = axial_diameters_mm(mask)
    progress(1.0, "segmented")
    return LesionSegmentation(
        mask=mask,
        kind=kind,
        line_ras_mm=line,
        volume_ml=voxels * float(np.prod(image.GetSpacing())) / 1000.0,
        long_axis_mm=long_axis,
        short_axis_mm=short_axis,
        warnings=tuple(warnings),
        parameters=_parameters(scene, found, shift_mm),
        image_sha256=images.image_hash(image),
        second_line_ras_mm=second,
        plus_ras_mm=plus,
        minus_ras_mm=minus,
    )


def _points_or_none(points: object) -> Points | None:
    return None if points is None else np.asarray(points, dtype=np.float64)


# --- input ------------------------------------------------------------------------------------


def _require_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"kind: {kind!r} is unknown: use one of {', '.join(KINDS)}")


def _checked_line(line_ras_mm: npt.ArrayLike) -> Points:
    try:
        line = frames.as_points(line_ras_mm, "line")
    except (TypeError, ValueError) as error:
        raise GeometryError(f"line: two points of R, A, S in mm are needed ({error})") from error
    if len(line) != 2:
        raise GeometryError(f"line: two points of R, A, S in mm are needed, got {len(line)}")
    length = float(np.linalg.norm(line[1] - line[0]))
    if not MIN_LINE_MM <= length <= MAX_LINE_MM:
        raise GeometryError(
            f"line: it is {length:.4g} mm long; a longest diameter of {MIN_LINE_MM:g} to {MAX_LINE_MM:g} mm is needed"
        )
    return line


def _check_image(image: sitk.Image, line: Points) -> None:
    if isinstance(image, sitk.Image) and image.GetDimension() == 3 and image.GetNumberOfComponentsPerPixel() == 1:
        outside = ~frames.is_inside(image, line)
        if outside.any():
            point = ", ".join(f"{v:.1f}" for v in line[int(np.argmax(outside))])
            raise GeometryError(
                f"line: its end at RAS {point} lies outside the image ({frames.describe_grid(image)}): "
                "draw it on this image, in RAS mm"
            )
    images.require_3d_finite(image, "image")


def _checked_second(line_ras_mm: npt.ArrayLike, first: Points, image: sitk.Image) -> Points:
    """A second line, which has to cross the lesion of the first."""
    second = _checked_line(line_ras_mm)
    _check_image(image, second)
    apart = float(np.linalg.norm(second.mean(axis=0) - first.mean(axis=0)))
    reach = float(np.linalg.norm(second[1] - second[0]) + np.linalg.norm(first[1] - first[0])) / 2
    if apart > reach:
        raise GeometryError(
            f"second line: it lies {apart:.1f} mm away from the first; both have to be diameters of one lesion"
        )
    return second


def _checked_strokes(
    plus_ras_mm: npt.ArrayLike, minus_ras_mm: npt.ArrayLike, image: sitk.Image
) -> tuple[Points, Points]:
    strokes = []
    for name, given in (("plus stroke", plus_ras_mm), ("minus stroke", minus_ras_mm)):
        points = np.empty((0, 3)) if np.size(given) == 0 else frames.as_points(given, name)
        outside = ~frames.is_inside(image, points) if len(points) else np.zeros(0, bool)
        if outside.any():
            place = ", ".join(f"{value:.1f}" for value in points[int(np.argmax(outside))])
            raise GeometryError(f"{name}: RAS {place} lies outside the image ({frames.describe_grid(image)})")
        strokes.append(points)
    plus, minus = strokes
    if len(plus) and len(minus) and np.linalg.norm(plus[:, None] - minus, axis=2).min() < 1e-6:
        raise GeometryError("strokes: a point is both inside (plus) and outside (minus)")
    return plus, minus


def _checked_liver(liver: sitk.Image | None, image: sitk.Image, line: Points) -> sitk.Image | None:
    if liver is None:
        return None
    liver = images.as_mask(liver, "liver")
    frames.require_same_grid(liver, image, "liver", "image")
    length = float(np.linalg.norm(line[1] - line[0]))
    near = frames.crop_around_points(liver, line, 0.1 * length)
    points = line[0] + np.linspace(0.0, 1.0, 41)[:, None] * (line[1] - line[0])
    index = np.rint(frames.ras_to_index(near, points)).astype(int)
    index = np.clip(index, 0, np.array(near.GetSize()) - 1)
    if not sitk.GetArrayViewFromImage(near)[tuple(index[:, ::-1].T)].any():
        raise GeometryError("line: no part of it lies in the liver mask: check the line, or leave the mask out")
    return liver


# --- the work ---------------------------------------------------------------------------------


def _scene(
    image: sitk.Image,
    line: Points,
    second: Points | None,
    plus: Points,
    minus: Points,
    kind: str,
    liver: sitk.Image | None,
) -> tuple[_Scene, ImageCrop]:
    shape = shape_field.LineEllipsoid.of(line, second, shape_field.PRIORS[kind]).adapted(plus, minus)
    away = [float(np.linalg.norm(point - line.mean(axis=0))) for point in (shape.center_ras_mm, *plus)]
    grid = LineGrid.around(line, max(1.3 * shape.farthest_mm + away[0], *away[1:], 0.0) + 8.0)
    crop = ImageCrop.of(image, grid)
    usable = crop.covers(grid)
    if liver is not None:
        usable &= ImageCrop.of(liver, grid).on(grid) > 0.5
    along, over, up = shape.coordinates_mm(grid)
    half = shape.semi_mm[0]
    thin = max(0.35 * float(shape.semi_mm.min() if second is not None else half), 1.1 * grid.spacing_mm)
    core = (np.abs(along) <= 0.6 * half) & (over**2 + up**2 <= thin**2) & usable
    drawn = ellipsoid_fit.Drawn([line] if second is None else [line, second], plus, minus)
    prior = _prior(shape, grid, drawn)
    return _Scene(grid, shape, drawn, shape.radius(grid), prior, usable, core, kind, _is_ct(image)), crop


def _prior(shape: shape_field.LineEllipsoid, grid: LineGrid, drawn: ellipsoid_fit.Drawn) -> FloatArray:
    strokes = shape_field.stroke_odds(grid, drawn.plus_ras_mm, drawn.minus_ras_mm, drawn.lines)
    return shape.prior_odds(grid) + strokes


def _brought_to_edges(scene: _Scene, model: IntensityModel, values: FloatArray, blur_mm: float) -> _Scene:
    """The scene with its ellipsoid fitted to the image; a zone's outline is too uneven for that."""
    if scene.kind != "lesion":
        return scene
    membership = model.membership(values)
    membership[membership > model.beyond] = 0.0
    shape = ellipsoid_fit.fitted(
        scene.shape, scene.grid, membership, scene.drawn, noise=1.0 / model.contrast_to_noise, blur_mm=blur_mm
    )
    prior = _prior(shape, scene.grid, scene.drawn)
    return replace(scene, shape=shape, radius=shape.radius(scene.grid), prior=prior)


def _require_tissue(scene: _Scene, crop: ImageCrop) -> None:
    """Raise GeometryError for a line in air: in a zone there may be gas, but not in most of it."""
    typical = float(np.median(crop.on(scene.grid)[scene.core])) if scene.core.any() else 0.0
    if scene.is_ct and typical < _AIR_HU:
        raise GeometryError(f"line: it lies in air or lung ({typical:.0f} HU): draw it on the {scene.kind}, in RAS mm")


def _is_ct(image: sitk.Image) -> bool:
    """Whether the values may be HU: only they are far below 0, in air and fat."""
    return float(sitk.GetArrayViewFromImage(image).min()) < _AIR_HU


def _fit(scene: _Scene, crop: ImageCrop, progress: ProgressCallback) -> _Fit:
    """Models and shape in turn, from the ellipsoid about the line."""
    grid = scene.grid
    surroundings = _shell(scene, scene.radius * grid.half_length_mm - grid.half_length_mm)
    raw, _ = _first_model(scene, crop.on(grid), surroundings, _BLUR_MM)
    blur = _BLUR_MM if raw.contrast_to_noise > 1.5 else min(_NOISY_BLUR_MM, max(_BLUR_MM, grid.half_length_mm / 5))
    blurs = crop.blurs_mm2(grid, blur)
    values, blur = crop.smoothed_on(grid, raw.bounds(), blur)
    model, seen = _first_model(scene, values, surroundings, blur)
    _require_contrast(scene, model, blur, seen, _FIRST_STANDARD_ERRORS)
    scene = _brought_to_edges(scene, model, values, blur)
    odds = scene.prior
    for number in range(_ROUNDS):
        progress(0.2 + 0.6 * number / _ROUNDS, "segmenting")
        membership = model.membership(values)
        odds = shape_field.solve(
            membership,
            scene.prior,
            odds,
            beyond=model.beyond,
            enclosed=_enclosed(scene, membership > 0.5 * (1.0 + model.beyond)),
            excluded=~scene.usable,
            data_weight=float(np.clip(model.contrast_to_noise, *_DATA_WEIGHT_BOUNDS)),
            most_data=_CORRECTED_MOST_DATA if scene.drawn.is_correction else _MOST_DATA,
            blur_mm=blur,
            spacing_mm=grid.spacing_mm,
        )
        refined = _refit(scene, values, odds, model)
        if refined is None:
            break
        model = refined
    return _Fit(odds, model, values, blur, *blurs)


def _at_edge(scene: _Scene, found: _Fit, odds: FloatArray) -> tuple[FloatArray, float]:
    """A field on the grid above 0 in the region brought to its edge, and how far it was moved out, mm.

    The rim of a zone is no part of it, and looks different from place to place: a zone stays as it is.
    """
    if scene.kind != "lesion":
        return odds, 0.0
    distance = edge_position.signed_distance_mm(odds, scene.grid.spacing_mm)
    membership = found.model.membership(found.values)
    shift = edge_position.edge_shift_mm(
        distance,
        membership,
        scene.usable & (membership < found.model.beyond),
        noise=1.0 / found.model.contrast_to_noise,
        filter_mm2=found.filter_mm2,
        own_mm2=found.own_mm2,
        spacing_mm=scene.grid.spacing_mm,
    )
    # What a reader's strokes say is not moved.
    strokes = shape_field.stroke_odds(scene.grid, scene.drawn.plus_ras_mm, scene.drawn.minus_ras_mm, scene.drawn.lines)
    return np.where(np.abs(strokes) > 1.0, odds, np.float32(shift) - distance), shift


def _first_model(
    scene: _Scene, values: FloatArray, surroundings: BoolArray, blur_mm: float
) -> tuple[IntensityModel, BoolArray]:
    """The model before anything is segmented, and the voxels inside that made it.

    They are the middle of the line or the whole ellipsoid about it: a flat lesion fills only the one,
    and one that enhances as a ring, as metastases do in the arterial phase, shows only in the other.
    Of those that stand out, the one with more contrast. Raises NothingFoundError where neither can be fitted.
    """
    regions = (scene.core, scene.usable & (scene.radius < _WHOLE_FRACTION))
    fitted = [(_model_if_any(values, region, surroundings), region) for region in regions]
    found = [(model, region) for model, region in fitted if model is not None]
    if not found:
        return intensity_models.fit(values, scene.core, surroundings), scene.core  # raises, saying why
    clear = [(model, region) for model, region in found if _stands_out(scene, model, blur_mm, region)]
    return max(clear or found, key=lambda candidate: abs(candidate[0].contrast))


def _model_if_any(values: FloatArray, inside: BoolArray, surroundings: BoolArray) -> IntensityModel | None:
    try:
        return intensity_models.fit(values, inside, surroundings)
    except NothingFoundError:
        return None


def _shell(scene: _Scene, beyond_surface_mm: FloatArray) -> BoolArray:
    """The usable voxels from 2.5 mm beyond a surface to a third of the line's length further."""
    width = np.clip(0.6 * scene.grid.half_length_mm, 5.0, 10.0)
    return scene.usable & (beyond_surface_mm > 2.5) & (beyond_surface_mm < 2.5 + width)


def _refit(scene: _Scene, values: FloatArray, odds: FloatArray, model: IntensityModel) -> IntensityModel | None:
    """The model of the region found, without its blurred edge; None where it has no inside."""
    inside = odds > 0
    spacing = scene.grid.spacing_mm
    depth = ndimage.distance_transform_edt(inside) * spacing
    deepest = float(depth.max())
    core = inside & (depth > min(2.5, 0.5 * deepest)) & (model.membership(values) < model.beyond)
    shell = _shell(scene, ndimage.distance_transform_edt(~inside) * spacing)
    if core.sum() < 8 or shell.sum() < 50:
        return None
    refined = intensity_models.fit(values, core, shell)
    return refined if refined.contrast * model.contrast > 0 else None


def _enclosed(scene: _Scene, extreme: BoolArray) -> BoolArray:
    """Extreme voxels that lie well inside the line's ellipsoid as small pieces: gas, calcification, necrosis."""
    if not extreme.any():
        return extreme
    labels, count = ndimage.label(extreme)
    farthest = ndimage.maximum(scene.radius, labels, np.arange(1, count + 1))
    inner = np.concatenate([[False], np.asarray(farthest) < 0.85])
    found = inner[labels]
    if scene.kind == "zone" and found.any():
        # The blur around gas passes through all values between: it belongs to the gas.
        reach = int(np.ceil(1.5 / scene.grid.spacing_mm))
        found = ndimage.binary_dilation(found, iterations=reach) & (scene.radius < 0.9)
    return found


def _neck_mm(grid: LineGrid, kind: str) -> float:
    """Half the width of what is cut off as a vessel or a leak: veins reach 6 mm across."""
    return float(np.clip((0.12 if kind == "lesion" else 0.1) * grid.half_length_mm, 0.7, 3.0))


# --- what counts as found ----------------------------------------------------------------------


def _stands_out(
    scene: _Scene,
    model: IntensityModel,
    blur_mm: float,
    inside: BoolArray,
    least_errors: float = _MIN_STANDARD_ERRORS,
) -> bool:
    """Whether the contrast exceeds the noise, and its own standard error, by the voxels inside, as many times."""
    independent = max(1.0, float(inside.sum()) * scene.grid.spacing_mm**3 / (8.0 * np.pi**1.5 * blur_mm**3))
    errors = model.contrast_to_noise * np.sqrt(independent)
    return bool(model.contrast_to_noise >= _MIN_CONTRAST_TO_NOISE and errors >= least_errors)


def _require_contrast(
    scene: _Scene,
    model: IntensityModel,
    blur_mm: float,
    inside: BoolArray,
    least_errors: float = _MIN_STANDARD_ERRORS,
) -> None:
    """Raise NothingFoundError unless the region stands out."""
    if not _stands_out(scene, model, blur_mm, inside, least_errors):
        raise NothingFoundError(
            f"no {scene.kind} found: along the line the image has {model.inside:.1f}, around it {model.outside:.1f} "
            f"with noise of {model.outside_spread:.1f}: no sufficient contrast; draw the line on a phase that shows it"
        )


def _require_lesion(scene: _Scene, found: _Fit, odds: FloatArray) -> None:
    """Raise NothingFoundError unless one region about the line was found."""
    inside = odds > 0
    _require_contrast(scene, found.model, found.blur_mm, inside)
    along = inside[
        :, scene.grid.count // 2 - 1 : scene.grid.count // 2 + 2, scene.grid.count // 2 - 1 : scene.grid.count // 2 + 2
    ]
    covered = along.any(axis=(1, 2)).sum() * scene.grid.spacing_mm / (2 * scene.grid.half_length_mm)
    share = float(inside.sum()) / max(float((scene.radius < 1).sum()), 1.0)
    if covered < 0.4 or share < 0.1:
        raise NothingFoundError(
            f"no {scene.kind} found: what stands out holds {100 * min(covered, 1):.0f} % of the line and "
            f"{100 * share:.0f} % of an ellipsoid about it: check that the line is its longest diameter"
        )


def _within_liver(mask: sitk.Image, liver: sitk.Image) -> tuple[sitk.Image, list[str]]:
    """The part of the mask in the liver, and a warning where some was not."""
    clipped = sitk.And(mask, liver)
    before = int(sitk.GetArrayViewFromImage(mask).sum())
    lost = 1.0 - int(sitk.GetArrayViewFromImage(clipped).sum()) / max(before, 1)
    if lost <= 0.02:
        return clipped, []
    return clipped, [f"{100 * lost:.0f} % of the region lay outside the liver mask and was cut off"]


def _quality_warnings(scene: _Scene, found: _Fit, odds: FloatArray) -> list[str]:
    warnings = []
    if found.model.contrast_to_noise < _LOW_CONTRAST_TO_NOISE:
        warnings.append(f"low contrast: {found.model.contrast_to_noise:.1f} times the noise; check the outline")
    if scene.kind == "zone" and found.model.contrast > 0:
        warnings.append(
            "the zone is brighter than its surroundings, as zones on contrast CT are not; check the outline"
        )
    inside = odds > 0
    if scene.kind == "zone" and scene.is_ct and found.model.outside < RULES["native_liver"].number:
        microwave, radiofrequency = RULES["native_zone_microwave"], RULES["native_zone_radiofrequency"]
        warnings.append(
            f"the tissue around the zone has {found.model.outside:.0f} HU: without contrast a CT shows less than what "
            f"is ablated, {microwave.number:g} mm less after microwave and {radiofrequency.number:g} mm less after "
            f"radiofrequency ablation ({microwave.source})"
        )
    leaked = float((inside & (scene.radius > 1.35)).sum()) / max(float(inside.sum()), 1.0)
    if leaked > 0.05:
        warnings.append(f"{100 * leaked:.0f} % of the region lies far from the line: it may leak; check the outline")
    return warnings


def _border_warning(mask: sitk.Image) -> list[str]:
    array = sitk.GetArrayViewFromImage(mask)
    ends = [array[0], array[-1], array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]]
    if not any(end.any() for end in ends):
        return []
    return ["the region touches the border of the image: its volume and diameters may be too small"]


def _parameters(scene: _Scene, found: _Fit, shift_mm: float) -> dict[str, float]:
    model = found.model
    return {
        "inside_value": model.inside,
        "outside_value": model.outside,
        "outside_spread": model.outside_spread,
        "contrast_to_noise": model.contrast_to_noise,
        "working_voxel_mm": scene.grid.spacing_mm,
        "blur_mm": found.blur_mm,
        "edge_shift_mm": shift_mm,
    }
