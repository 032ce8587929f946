"""Fusion of the image after ablation with the one before: rigid, then deformable.

The result maps FIXED points (before, planning) to MOVING points (after), which is what ITK needs
to resample the moving image on the fixed grid. It is a composite of a rigid transform and a
displacement field that acts first and vanishes away from the liver.

Method: mutual information finds the rigid part (:mod:`.rigid`); a free-form displacement then
maximizes the local correlation within the liver and its rim (:mod:`.deformable`). Tumors and
ablation zones, which look different before and after, are left out by `exclude` and follow the
tissue around them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .deformable import Deformation, Outcome, Settings, gap_at_capsule_mm, register_deformable
from .errors import InputError
from .excluded import Excluded, cut_to_contents, excluded_masks
from .frames import Matrix, Points
from .fusion_error import LESION_MODEL, LIVER_MODEL, Signs, inverse_consistency, near_tissue, signs_of
from .fusion_inputs import (
    Landmarks,
    Prepared,
    body_region,
    check_inputs,
    gray_scale,
    liver_region,
    sample_mask,
    usable_voxels,
)
from .fusion_quality import (
    LiverAgreement,
    error_within,
    liver_agreement,
    motion_figures,
    stored_jacobian,
    volume_change,
    voxels_within,
)
from .fusion_verdict import LEAST_CORRELATION, Findings, judge
from .fusion_vessels import VesselAgreement, VesselPair
from .images import image_hash
from .progress import ProgressCallback, silent, span
from .rigid import RigidResult, best_rigid_fit, register_rigid, rotation_degrees
from .sliding import capsules_agree, carried_core, slides, without_surroundings
from .transform_files import read_transform, write_transform
from .working_grids import WorkingGrid, prepare, shrunk

__all__ = ["FusionResult", "fuse", "read_transform", "write_transform"]

BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1

#: Surroundings of the liver that the rigid part sees, in mm. User-set.
_RIGID_RIM_MM = 15.0
_RIGID_SMOOTHING_MM = 3.0
#: Rim of the fixed liver and of one known from the moving image only, in mm. User-set.
_LIVER_RIM_MM, _CARRIED_LIVER_RIM_MM = 6.0, 15.0
#: Room around the region for windows and motion that images are cut to, in mm.
_CROP_PAD_MM = 30.0
#: Voxel edge of the stored displacement field, in mm: linear interpolation of a spline with knots
#: every 28 mm is then within 0.02 mm of it.
_FIELD_SPACING_MM = 4.0

#: A deformation that goes farther, in mm, is a failure: the liver's own motion beyond the rigid part stays
#: below that (breathing takes the whole of it up to 25 mm). User-set.
_MAX_DISPLACEMENT_MM = 40.0


@dataclass(frozen=True)
class FusionResult:
    """A fusion and how good it is.

    `transform` maps fixed to moving points (ITK's convention, LPS inside); `rigid` is its rigid
    part alone. Correlations are means of the local correlation (-1..1) in the liver, or in the
    body without one, with the rigid part alone and with all. `jacobian_*`, `folded_fraction` and
    `displacement_*_mm` (beyond the rigid part) hold for the same region. The livers' figures are
    None unless both were given. `estimated_error_mm` is the likeliest mean error there and
    `error_bound_90_mm` what it stays below with a probability of 90 % (:mod:`.fusion_error`);
    `lesion_error_mm` and `lesion_error_bound_90_mm` are the same within 20 mm of each mask of `exclude`, and
    `lesion_verdict` the verdict there, for which the errors near other lesions do not count;
    `excluded_error_mm` is the error of half samples in the mask itself, and
    `excluded_volume_change_fraction` by how much the mask swells. `inverse_consistency_mm` is the mean distance
    from a point to where there and back takes it, `field_jacobian_min` the smallest Jacobian anywhere in
    the stored field. `vessel_*` are figures of :class:`~.fusion_vessels.VesselAgreement`, None unless the vessels of
    both images were given. `landmark_tre_mm` is the error at each landmark when all others pull. `verdict` is
    "good", "doubtful" or "not usable", for `verdict_reasons`; `is_rigid_only` where the deformable part
    failed and was left out.
    """

    transform: sitk.Transform = field(repr=False)
    rigid: sitk.Transform = field(repr=False)
    region: str
    correlation_rigid: float
    correlation: float
    rotation_degrees: float
    translation_mm: float
    displacement_mean_mm: float
    displacement_max_mm: float
    jacobian_min: float
    jacobian_max: float
    folded_fraction: float
    estimated_error_mm: float
    excluded_error_mm: tuple[float | None, ...]
    liver_dice_rigid: float | None
    liver_dice: float | None
    liver_surface_distance_rigid_mm: float | None
    liver_surface_distance_mm: float | None
    usable_fraction: float
    warnings: tuple[str, ...]
    seconds: float
    parameters: Mapping[str, Any] = field(repr=False)
    input_hashes: Mapping[str, Any] = field(repr=False)
    error_bound_90_mm: float | None = None
    lesion_error_mm: tuple[float | None, ...] = ()
    lesion_error_bound_90_mm: tuple[float | None, ...] = ()
    lesion_verdict: tuple[str | None, ...] = ()
    inverse_consistency_mm: float | None = None
    excluded_volume_change_fraction: tuple[float | None, ...] = ()
    field_jacobian_min: float | None = None
    vessel_dice_rigid: float | None = None
    vessel_dice: float | None = None
    vessel_centerline_distance_rigid_mm: float | None = None
    vessel_centerline_distance_mm: float | None = None
    landmark_tre_mm: tuple[float, ...] = ()
    landmark_tre_mean_mm: float | None = None
    is_rigid_only: bool = False
    verdict: str | None = None
    verdict_reasons: tuple[str, ...] = ()
    signs: tuple[Signs | None, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON; the transforms go to a file of their own."""
        names = [name for name in self.__dataclass_fields__ if name not in ("transform", "rigid", "signs")]
        document: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        for name in names:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            document[name] = value
        return document


def fuse(
    fixed: sitk.Image,
    moving: sitk.Image,
    *,
    fixed_liver: sitk.Image | None = None,
    moving_liver: sitk.Image | None = None,
    exclude: Sequence[sitk.Image] = (),
    landmarks: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]] = (),
    fixed_vessels: sitk.Image | None = None,
    moving_vessels: sitk.Image | None = None,
    preset: str = "standard",
    progress: ProgressCallback = silent,
) -> FusionResult:
    """Register `moving` (after ablation) to `fixed` (before): rigid, then deformable.

    Grids and orientations may differ. The livers lie on the grids of their images; with the
    fixed liver the fusion works on it and its rim, without any liver on the whole body. Masks of
    `exclude` (tumors on the fixed grid, zones on the moving grid, or parts cut out of these
    grids) mark tissue that must not drive the fusion; one that fits both grids counts in both.
    They keep their volume. `landmarks` are pairs of a fixed and a moving point (3,), RAS mm, that
    pull the result. `fixed_vessels` and `moving_vessels`, on the grids of their images, do not pull:
    they check it, and have a say in the error that is estimated.
    `preset` is "fast", "standard" or "fine". The same input gives the same result. To cancel,
    `progress` raises :class:`~.errors.Cancelled`, which passes through.

    Raises ImageReadError for an image that is not 3D, scalar and finite, InputError for a
    constant image, EmptyMaskError for an empty mask, GeometryError for a mask on another grid,
    images too thin or too far apart, and where no overlap is found. InputError too for an unknown
    preset, for landmarks that are no pairs of points, and for the vessels of one image only.
    """
    start = time.perf_counter()
    settings = Settings.preset(preset)
    pairs = Landmarks.of(landmarks)
    progress(0.0, "checking the images")
    fixed_liver, moving_liver = check_inputs(fixed, moving, fixed_liver, moving_liver)
    excluded = excluded_masks(fixed, moving, exclude)
    vessels = VesselPair.of(fixed, moving, fixed_vessels, moving_vessels)
    hashes = _hashes(fixed, moving, (fixed_liver, moving_liver), (fixed_vessels, moving_vessels), exclude)
    bodies = _Bodies(fixed, moving, *usable_voxels(fixed, moving, excluded))
    fixed_liver, moving_liver = (None if m is None else cut_to_contents(m) for m in (fixed_liver, moving_liver))
    found = _rigid_start(bodies, fixed_liver, moving_liver, pairs, span(progress, 0.05, 0.3))
    region, core, rim_mm = _region(bodies, fixed_liver, moving_liver, found.fixed_to_moving)
    settings = settings.affordable(float(core[1].sum()) * core[0].spacing_mm ** 3)
    images = _cut(bodies, core, rim_mm, found.fixed_to_moving, settings.finest_smoothing_mm)
    images = replace(images, landmarks=pairs, kept=excluded)
    images, outcome = _deformed(
        images, fixed_liver, moving_liver, found.fixed_to_moving, settings, span(progress, 0.3, 0.8)
    )
    fallen_back = _reason_to_stay_rigid(outcome)
    if fallen_back is not None:
        outcome = outcome.without_deformation()
    inverse_mm = inverse_consistency(images, outcome, settings, span(progress, 0.8, 0.97))
    progress(0.97, "measuring the quality")
    return _result(
        outcome,
        bodies,
        images,
        found,
        region,
        livers=(fixed_liver, moving_liver),
        excluded=excluded,
        vessels=vessels,
        settings=settings,
        inverse_mm=inverse_mm,
        hashes=hashes,
        fallen_back=fallen_back,
        started=start,
        progress=progress,
    )


@dataclass(frozen=True)
class _Bodies:
    """The two whole images and their usable voxels."""

    fixed: sitk.Image
    moving: sitk.Image
    fixed_usable: sitk.Image
    moving_usable: sitk.Image


def _rigid_start(
    bodies: _Bodies,
    fixed_liver: sitk.Image | None,
    moving_liver: sitk.Image | None,
    landmarks: Landmarks | None,
    progress: ProgressCallback,
) -> RigidResult:
    coarse = [_coarse(bodies.fixed, bodies.fixed_usable), _coarse(bodies.moving, bodies.moving_usable)]
    progress(0.05, "aligning rigidly")
    origin = np.zeros(3)
    if fixed_liver is not None and moving_liver is not None:
        centers = frames.center_of(fixed_liver), frames.center_of(moving_liver)
        starts = [centers, (origin, origin)]
        region = liver_region(fixed_liver, 4.0)
        both = True
    else:
        fixed_body, moving_body = body_region(*coarse[0]), body_region(*coarse[1])
        centers = tuple(grid.points(body).mean(axis=0) for grid, body in (fixed_body, moving_body))
        boxes = [np.mean(frames.bounding_box_ras(image), axis=0) for image in (bodies.fixed, bodies.moving)]
        starts = [centers, (origin, origin), (boxes[0], boxes[1])]
        region = fixed_body if fixed_liver is None else liver_region(fixed_liver, 4.0)
        both = False
    if landmarks is not None:
        starts.append((landmarks.fixed_ras_mm.mean(axis=0), landmarks.moving_ras_mm.mean(axis=0)))
    if fixed_liver is not None:
        region = _grown(*region, _RIGID_RIM_MM)
    samples = [prepare(gray_scale(image), usable, _RIGID_SMOOTHING_MM) for image, usable in coarse]
    if not samples[0].sample(region[0].points(region[1]))[1].any():
        raise InputError("exclude masks: they leave nothing of the fixed liver (or body) that could be fused")
    return register_rigid(
        samples[0], samples[1], region, starts, search_along_body=not both, progress=span(progress, 0.1, 1.0)
    )


def _coarse(image: sitk.Image, usable: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Image and usable voxels, averaged over blocks of up to 2 mm."""
    coarse = shrunk(image, 0.7 * _RIGID_SMOOTHING_MM)
    return coarse, sitk.Resample(usable, coarse, sitk.Transform(), sitk.sitkNearestNeighbor)


def _grown(grid: WorkingGrid, mask: BoolArray, rim_mm: float) -> tuple[WorkingGrid, BoolArray]:
    pad = int(np.ceil(rim_mm / grid.spacing_mm))
    wide = np.pad(mask, pad)
    first = tuple(float(v) - pad * grid.spacing_mm for v in grid.first_ras_mm)
    larger = WorkingGrid((first[0], first[1], first[2]), grid.spacing_mm, wide.shape)
    return larger, ndimage.distance_transform_edt(~wide) * grid.spacing_mm <= rim_mm


def _region(
    bodies: _Bodies, fixed_liver: sitk.Image | None, moving_liver: sitk.Image | None, rigid: Matrix
) -> tuple[str, tuple[WorkingGrid, BoolArray], float]:
    """Name, mask and rim in mm of what is registered."""
    if fixed_liver is not None:
        return "liver", liver_region(fixed_liver), _LIVER_RIM_MM
    if moving_liver is not None:
        grid, mask = liver_region(moving_liver)
        carried = frames.apply_matrix(np.linalg.inv(rigid).astype(np.float64), grid.points(mask))
        onto = WorkingGrid.over(carried.min(axis=0) - 4.0, carried.max(axis=0) + 4.0, grid.spacing_mm)
        inside = sample_mask(moving_liver, frames.apply_matrix(rigid, onto.points())).reshape(onto.shape) > 0.5
        return "moving liver", (onto, inside), _CARRIED_LIVER_RIM_MM
    return "body", body_region(*_coarse(bodies.fixed, bodies.fixed_usable)), 0.0


def _cut(
    bodies: _Bodies, core: tuple[WorkingGrid, BoolArray], rim_mm: float, rigid: Matrix, smoothing_mm: float
) -> Prepared:
    """Both images around the region, on their gray scale, as coarse as a smoothing allows that follows anyway."""
    corners = _corners(core[0], rim_mm)
    around = corners, frames.apply_matrix(rigid, corners)
    cut = []
    for image, usable, points in zip(
        (bodies.fixed, bodies.moving), (bodies.fixed_usable, bodies.moving_usable), around, strict=True
    ):
        part = frames.crop_around_points(image, points, _CROP_PAD_MM)
        share = sitk.Cast(frames.crop_around_points(usable, points, _CROP_PAD_MM), sitk.sitkFloat32)
        cut.append((shrunk(gray_scale(part, image), smoothing_mm), shrunk(share, smoothing_mm)))
    return Prepared(cut[0][0], cut[1][0], cut[0][1], cut[1][1], core[0], core[1], rim_mm)


def _deformed(
    images: Prepared,
    fixed_liver: sitk.Image | None,
    moving_liver: sitk.Image | None,
    rigid: Matrix,
    settings: Settings,
    progress: ProgressCallback,
) -> tuple[Prepared, Outcome]:
    """The deformable part, and the images that drove it: without the livers' surroundings where these slide."""
    refined = _refined_rigid(images, rigid, settings, span(progress, 0.0, 0.15))
    if fixed_liver is None or not (moving_liver is None or capsules_agree(images, moving_liver, rigid)):
        return images, register_deformable(images, refined, settings, span(progress, 0.15, 1.0))
    outcome = register_deformable(images, refined, settings.up_to_middle(), span(progress, 0.15, 0.4), with_error=False)
    first = outcome.deformation
    # Images that do not agree tell nothing; a capsule drawn into both would only hide that.
    if outcome.correlation < LEAST_CORRELATION or not slides(
        gap_at_capsule_mm(images, first, settings), outcome.correlation
    ):
        rest = settings.from_middle()
        return images, register_deformable(images, refined, rest, span(progress, 0.5, 1.0), start=first)
    if moving_liver is None:
        moving_liver = carried_core(images, first)
    images = without_surroundings(images, fixed_liver, moving_liver)
    refined = _refined_rigid(images, rigid, settings, span(progress, 0.5, 0.6))
    return images, register_deformable(images, refined, settings, span(progress, 0.6, 1.0))


def _reason_to_stay_rigid(outcome: Outcome) -> str | None:
    """Why the deformable part is not trusted: it made the images less alike, folds, or moves too far."""
    deformation = outcome.deformation
    if outcome.correlation < outcome.rigid_correlation:
        return f"it lowered the local correlation from {outcome.rigid_correlation:.2f} to {outcome.correlation:.2f}"
    grid = WorkingGrid.over(*deformation.lattice.box_ras_mm, _FIELD_SPACING_MM)
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid)
    farthest = float(np.linalg.norm(displacement, axis=0).max())
    if farthest > _MAX_DISPLACEMENT_MM:
        return f"it moved tissue by {farthest:.0f} mm beyond the rigid part (more than {_MAX_DISPLACEMENT_MM:g} mm)"
    if stored_jacobian(displacement, _FIELD_SPACING_MM).min() <= 0:
        return "it folds"
    return None


def _corners(grid: WorkingGrid, pad_mm: float) -> Points:
    ends = [(grid.coordinates(2 - n)[0] - pad_mm, grid.coordinates(2 - n)[-1] + pad_mm) for n in range(3)]
    return np.array(np.meshgrid(*ends), dtype=np.float64).reshape(3, -1).T


def _refined_rigid(images: Prepared, rigid: Matrix, settings: Settings, progress: ProgressCallback) -> Matrix:
    """The rigid part of a first, coarse deformable pass: what is left to deform gets smaller."""
    free = replace(images, kept=())
    outcome = register_deformable(free, rigid, settings.coarse(), progress, with_error=False)
    deformation = outcome.deformation
    grid = outcome.grid
    _, core = images.region_on(grid)
    points = grid.points(core)
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid)[:, core].T.astype(np.float64)
    return best_rigid_fit(points, deformation.map_points(points, displacement))


def _result(
    outcome: Outcome,
    bodies: _Bodies,
    images: Prepared,
    found: RigidResult,
    region: str,
    *,
    livers: tuple[sitk.Image | None, sitk.Image | None],
    excluded: Sequence[Excluded],
    vessels: VesselPair | None,
    settings: Settings,
    inverse_mm: npt.NDArray[np.floating],
    hashes: Mapping[str, Any],
    fallen_back: str | None,
    started: float,
    progress: ProgressCallback,
) -> FusionResult:
    deformation = outcome.deformation
    _, core = images.region_on(outcome.grid)
    motion = motion_figures(deformation, outcome.grid, core)
    transform, rigid, stored_min = _transforms(deformation)
    agreements: list[LiverAgreement | None] = [None, None]
    if livers[0] is not None and livers[1] is not None:
        agreements = [liver_agreement(livers[0], livers[1], deformation, rigid_only=only) for only in (True, False)]
    trees: list[VesselAgreement | None] = [None, None]
    if vessels is not None:
        trees = [vessels.agreement(deformation, rigid_only=only) for only in (True, False)]
    inside = voxels_within(excluded, outcome)
    near = [near_tissue(voxels, outcome, core) for voxels in inside]
    lesions = [
        signs_of(outcome, inverse_mm, around, agreements[1], _vessels_near(trees[1], outcome, lesion))
        for around, lesion in zip(near, inside, strict=True)
    ]
    overall_mm = None if trees[1] is None else trees[1].centerline_distance_mm
    signs = signs_of(outcome, inverse_mm, core, agreements[1], overall_mm)
    assert signs is not None
    bound_mm = LIVER_MODEL.bound_mm(signs)
    lesion_bounds = [None if s is None else LESION_MODEL.bound_mm(s) for s in lesions]
    near_bounds = [bound for bound in lesion_bounds if bound is not None]
    landmark_errors = outcome.landmark_errors_mm
    landmark_mean_mm = float(landmark_errors.mean()) if len(landmark_errors) else None
    findings = Findings(
        region,
        max(near_bounds, default=bound_mm),
        bool(near_bounds),
        outcome.correlation,
        min(motion.jacobian_min, stored_min),
        outcome.usable_fraction,
        agreements[1],
        landmark_mean_mm,
        len(landmark_errors),
        fallen_back,
        signs.inverse_mm,
        trees[1],
    )
    judgment = judge(findings)
    center = outcome.grid.points(core).mean(axis=0)
    progress(1.0, "fused")
    return FusionResult(
        transform=transform,
        rigid=rigid,
        region=region,
        correlation_rigid=outcome.rigid_correlation,
        correlation=outcome.correlation,
        rotation_degrees=rotation_degrees(deformation.rigid),
        translation_mm=float(np.linalg.norm(frames.apply_matrix(deformation.rigid, center) - center)),
        displacement_mean_mm=motion.displacement_mean_mm,
        displacement_max_mm=motion.displacement_max_mm,
        jacobian_min=motion.jacobian_min,
        jacobian_max=motion.jacobian_max,
        folded_fraction=motion.folded_fraction,
        estimated_error_mm=LIVER_MODEL.estimate_mm(signs),
        excluded_error_mm=tuple(error_within(voxels, outcome) for voxels in inside),
        liver_dice_rigid=None if agreements[0] is None else agreements[0].dice,
        liver_dice=None if agreements[1] is None else agreements[1].dice,
        liver_surface_distance_rigid_mm=None if agreements[0] is None else agreements[0].surface_distance_mm,
        liver_surface_distance_mm=None if agreements[1] is None else agreements[1].surface_distance_mm,
        usable_fraction=outcome.usable_fraction,
        warnings=judgment.warnings,
        seconds=time.perf_counter() - started,
        parameters=settings.to_dict(),
        input_hashes=hashes,
        error_bound_90_mm=bound_mm,
        lesion_error_mm=tuple(None if s is None else LESION_MODEL.estimate_mm(s) for s in lesions),
        lesion_error_bound_90_mm=tuple(lesion_bounds),
        lesion_verdict=tuple(
            None if bound is None else judge(replace(findings, bound_mm=bound)).verdict for bound in lesion_bounds
        ),
        inverse_consistency_mm=signs.inverse_mm,
        excluded_volume_change_fraction=tuple(volume_change(one, outcome) for one in excluded),
        field_jacobian_min=stored_min,
        vessel_dice_rigid=None if trees[0] is None else trees[0].dice,
        vessel_dice=None if trees[1] is None else trees[1].dice,
        vessel_centerline_distance_rigid_mm=None if trees[0] is None else trees[0].centerline_distance_mm,
        vessel_centerline_distance_mm=None if trees[1] is None else trees[1].centerline_distance_mm,
        landmark_tre_mm=tuple(landmark_errors.tolist()),
        landmark_tre_mean_mm=landmark_mean_mm,
        is_rigid_only=fallen_back is not None,
        verdict=judgment.verdict,
        verdict_reasons=judgment.reasons,
        signs=(signs, *lesions),
    )


def _vessels_near(vessels: VesselAgreement | None, outcome: Outcome, lesion: BoolArray) -> float | None:
    """How far the vessels' middles lie apart near a lesion (voxels of the outcome's grid), in mm; None if not known."""
    if vessels is None or not lesion.any():
        return None
    return vessels.distance_near_mm(outcome.grid.points(lesion))


def _hashes(
    fixed: sitk.Image,
    moving: sitk.Image,
    livers: tuple[sitk.Image | None, sitk.Image | None],
    vessels: tuple[sitk.Image | None, sitk.Image | None],
    exclude: Sequence[sitk.Image],
) -> dict[str, Any]:
    named = {"fixed": fixed, "moving": moving, "fixed_liver": livers[0], "moving_liver": livers[1]}
    hashes: dict[str, Any] = {name: None if one is None else image_hash(one) for name, one in named.items()}
    hashes["exclude"] = [image_hash(mask) for mask in exclude]
    for name, one in zip(("fixed_vessels", "moving_vessels"), vessels, strict=True):
        if one is not None:
            hashes[name] = image_hash(one)
    return hashes


def _transforms(deformation: Deformation) -> tuple[sitk.Transform, sitk.Transform, float]:
    """The composite and its rigid part, for ITK (LPS), and the smallest Jacobian of the stored field."""
    rigid = frames.affine_transform(deformation.rigid)
    grid = WorkingGrid.over(*deformation.lattice.box_ras_mm, _FIELD_SPACING_MM)
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid)
    vectors = frames.flip_lps_ras(displacement.reshape(3, -1).T).reshape(*grid.shape, 3)
    smooth = sitk.DisplacementFieldTransform(grid.image(vectors))
    stored_min = float(stored_jacobian(displacement, _FIELD_SPACING_MM).min())
    return sitk.CompositeTransform([rigid, smooth]), rigid, stored_min
