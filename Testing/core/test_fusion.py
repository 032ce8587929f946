"""Fusion against known deformations of an analytic scene, sampled without any interpolation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames, fusion, sliding
from NETAblationLib.core.errors import (
    Cancelled,
    EmptyMaskError,
    FormatError,
    GeometryError,
    ImageReadError,
    InputError,
)
from NETAblationLib.core.fusion import FusionResult, fuse, read_transform, write_transform
from support import shapes
from support.deformation import KnownDeformation, breathing
from support.fusion_pairs import rigid_of

LIVER_CENTER = np.array([12.0, -4.0, 6.0])
LIVER = shapes.ellipsoid(LIVER_CENTER, (50.0, 42.0, 40.0))
BODY = shapes.ellipsoid((0.0, 0.0, 0.0), (92.0, 74.0, 100.0))
DEFORMATION = breathing(LIVER_CENTER, peak_mm=7.0, reach_mm=42.0)
LESION = LIVER_CENTER + np.array([8.0, 12.0, -6.0])
LESION_RADIUS_MM = 11.0

_RNG = np.random.default_rng(11)
_BLOBS = LIVER_CENTER + _RNG.uniform(-1, 1, (90, 3)) * [50.0, 42.0, 40.0]
_BLOB_WIDTHS = _RNG.uniform(2.5, 5.0, 90)
_BLOB_HEIGHTS = _RNG.uniform(30.0, 90.0, 90)

Points = np.ndarray


def scene(points: Points, *, contrast: float = 1.0, zone: bool = False) -> np.ndarray:
    """HU of a body with a liver full of vessel-like blobs at RAS points (N, 3)."""
    inside_body = 1 / (1 + np.exp(np.clip(BODY(points) * 60, -50, 50)))
    liver_depth = LIVER(points)
    inside_liver = 1 / (1 + np.exp(np.clip(liver_depth * 40, -50, 50)))
    values = -1000 + 960 * inside_body + 130 * inside_liver
    near = np.flatnonzero(liver_depth < 0.5)
    for center, width, height in zip(_BLOBS, _BLOB_WIDTHS, _BLOB_HEIGHTS, strict=True):
        squared = ((points[near] - center) ** 2).sum(axis=1)
        values[near] += contrast * height * np.exp(-0.5 * squared / width**2) * inside_liver[near]
    if zone:
        depth = np.linalg.norm(points - LESION, axis=1) - LESION_RADIUS_MM
        values = np.where(depth < 0, 20.0, np.where(depth < 3, 190.0, values))
    return values


def image_of(values: Callable[[Points], np.ndarray], grid: sitk.Image, noise: float, seed: int) -> sitk.Image:
    array = values(shapes.voxel_centers(grid)).reshape(grid.GetSize()[::-1])
    array = array + np.random.default_rng(seed).normal(0, noise, array.shape)
    image = sitk.GetImageFromArray(np.rint(array).astype(np.int16))
    image.CopyInformation(grid)
    return image


def body_grid(spacing=(3.0, 3.0, 3.0), direction=None, center=(0.0, 0.0, 0.0)) -> sitk.Image:
    half = np.array([82.0, 70.0, 62.0])
    return shapes.grid(tuple(np.array(center) - half), tuple(np.array(center) + half), spacing, direction)


def fixed_scene(grid: sitk.Image | None = None, **options) -> tuple[sitk.Image, sitk.Image]:
    grid = body_grid() if grid is None else grid
    return image_of(lambda p: scene(p, **options), grid, 8.0, 1), shapes.mask_of(LIVER, grid)


def moving_scene(
    grid: sitk.Image | None = None, deformation: KnownDeformation = DEFORMATION, **options
) -> tuple[sitk.Image, sitk.Image]:
    grid = body_grid(center=(4.0, -6.0, 7.0)) if grid is None else grid
    back = deformation.moving_to_fixed
    image = image_of(lambda p: scene(back(p), **options), grid, 8.0, 2)
    return image, shapes.mask_of(lambda p: LIVER(back(p)), grid)


def liver_points(count: int = 600, share: float = 0.95) -> Points:
    points = LIVER_CENTER + np.random.default_rng(3).uniform(-1, 1, (6 * count, 3)) * [50.0, 42.0, 40.0]
    return points[LIVER(points) < share - 1][:count]


def errors_mm(result: FusionResult, points: Points | None = None, *, rigid: bool = False) -> np.ndarray:
    points = liver_points() if points is None else points
    mapped = frames.transform_points(result.rigid if rigid else result.transform, points)
    return np.linalg.norm(mapped - DEFORMATION.fixed_to_moving(points), axis=1)


@pytest.fixture(scope="module")
def pair() -> dict[str, sitk.Image]:
    (fixed, fixed_liver), (moving, moving_liver) = fixed_scene(), moving_scene()
    return {"fixed": fixed, "moving": moving, "fixed_liver": fixed_liver, "moving_liver": moving_liver}


@pytest.fixture(scope="module")
def result(pair) -> FusionResult:
    return fuse(**pair)


def test_known_deformation_is_found(result):
    assert errors_mm(result, rigid=True).mean() > 1.2  # the rigid part alone does not do
    assert errors_mm(result).mean() < 0.5
    assert errors_mm(result).max() < 1.5
    assert result.warnings == ()
    assert result.verdict == "good"
    assert result.field_jacobian_min > 0.3
    assert errors_mm(result).mean() < result.error_bound_90_mm
    assert result.inverse_consistency_mm < 0.8


def test_quality_figures_agree_with_the_truth(result):
    assert result.correlation > result.correlation_rigid + 0.01
    assert result.correlation > 0.7
    assert result.liver_dice > 0.97
    assert result.liver_dice > result.liver_dice_rigid
    assert result.liver_surface_distance_mm < 0.5
    assert result.folded_fraction == 0
    points = liver_points(share=1.0)
    smooth = frames.transform_points(sitk.CompositeTransform(result.transform).GetNthTransform(1), points) - points
    length = np.linalg.norm(smooth, axis=1)
    assert result.displacement_mean_mm == pytest.approx(length.mean(), rel=0.1)
    assert result.displacement_max_mm == pytest.approx(length.max(), rel=0.1)
    assert 0.3 * errors_mm(result).mean() < result.estimated_error_mm < 3 * errors_mm(result).mean()
    assert result.usable_fraction == pytest.approx(1.0)


def test_the_field_does_not_fold_and_ends_in_the_rigid_part(result):
    composite = sitk.CompositeTransform(result.transform)
    field = sitk.DisplacementFieldTransform(composite.GetNthTransform(1)).GetDisplacementField()
    jacobian = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    assert jacobian.min() > 0.3
    lower, upper = frames.bounding_box_ras(field)
    far = np.array([lower - 1.0, upper + 1.0, [lower[0] + 1, 0, 0], [0, upper[1] - 1, 0]])
    rigid = frames.transform_points(result.rigid, far)
    assert np.abs(frames.transform_points(result.transform, far) - rigid).max() < 0.05


def test_the_transform_resamples_the_moving_image_as_itk_does(pair, result):
    carried = sitk.Resample(pair["moving_liver"], pair["fixed"], result.transform, sitk.sitkNearestNeighbor)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(carried, pair["fixed_liver"])
    assert overlap.GetDiceCoefficient() == pytest.approx(result.liver_dice, abs=0.02)


def test_same_input_gives_the_same_result(pair):
    first, again = (fuse(**pair, preset="fast") for _ in range(2))
    points = liver_points()
    assert np.array_equal(
        frames.transform_points(again.transform, points), frames.transform_points(first.transform, points)
    )
    assert again.input_hashes == first.input_hashes


def test_an_image_fused_with_itself_stays(pair):
    livers = {"fixed_liver": pair["fixed_liver"], "moving_liver": pair["fixed_liver"]}
    found = fuse(pair["fixed"], pair["fixed"], **livers, preset="fast")
    moved = frames.transform_points(found.transform, liver_points()) - liver_points()
    assert np.linalg.norm(moved, axis=1).max() < 0.15
    assert found.correlation > 0.9


def test_both_directions_compose_to_identity(pair, result):
    back = fuse(pair["moving"], pair["fixed"], fixed_liver=pair["moving_liver"], moving_liver=pair["fixed_liver"])
    points = liver_points(share=0.9)
    there_and_back = frames.transform_points(back.transform, frames.transform_points(result.transform, points))
    assert np.linalg.norm(there_and_back - points, axis=1).mean() < 0.5


def test_flipped_axes_of_either_image_change_nothing(pair):
    flipped = {name: sitk.Flip(image, (name.startswith("fixed"), True, False)) for name, image in pair.items()}
    moved, straight = (
        frames.transform_points(fuse(**images, preset="fast").transform, liver_points()) for images in (flipped, pair)
    )
    assert np.abs(moved - straight).max() < 0.05


def test_oblique_anisotropic_grids_of_both_images():
    fixed, fixed_liver = fixed_scene(body_grid((2.0, 2.5, 5.0), shapes.rotation((1.0, 0.3, 0.2), 17.0)))
    tilted = shapes.rotation((0.2, 1.0, -0.4), -24.0) @ np.diag([1.0, -1.0, -1.0])
    moving, moving_liver = moving_scene(body_grid((3.0, 2.0, 4.0), tilted, (4.0, -6.0, 7.0)))
    found = fuse(fixed, moving, fixed_liver=fixed_liver, moving_liver=moving_liver)
    assert errors_mm(found).mean() < 0.7


def test_other_contrast_phase_is_fused(pair):
    moving, moving_liver = moving_scene(contrast=0.45)
    found = fuse(pair["fixed"], moving, fixed_liver=pair["fixed_liver"], moving_liver=moving_liver)
    assert errors_mm(found).mean() < 1.0


def test_works_without_any_liver_and_with_the_moving_one_only(pair):
    found = fuse(pair["fixed"], pair["moving"], preset="fast")
    assert found.region == "body"
    assert errors_mm(found).mean() < 1.0
    assert found.liver_dice is None
    assert any("whole body" in text for text in found.warnings)
    found = fuse(pair["fixed"], pair["moving"], moving_liver=pair["moving_liver"], preset="fast")
    assert found.region == "moving liver"
    assert errors_mm(found).mean() < 0.8


def test_a_gray_scale_that_is_no_ct_is_fused(pair):
    scaled = {
        name: sitk.Cast(sitk.Clamp(pair[name], lowerBound=-150, upperBound=300), sitk.sitkFloat32) + 150.0
        for name in ("fixed", "moving")
    }
    found = fuse(
        scaled["fixed"] * 3.0, scaled["moving"], fixed_liver=pair["fixed_liver"], moving_liver=pair["moving_liver"]
    )
    assert errors_mm(found).mean() < 0.7


def zone_masks() -> tuple[sitk.Image, sitk.Image]:
    """A tumor on the fixed grid, and on the moving grid a zone that reaches beyond it to one side."""
    tumor = shapes.mask_of(shapes.sphere(LESION, LESION_RADIUS_MM), body_grid())
    back = DEFORMATION.moving_to_fixed
    zone = shapes.mask_of(
        lambda p: np.linalg.norm(back(p) - LESION - [5.0, 0, 0], axis=1) - LESION_RADIUS_MM - 1,
        body_grid(center=(4.0, -6.0, 7.0)),
    )
    return tumor, zone


def test_excluded_defects_do_not_pull():
    tumor, zone = zone_masks()
    back = DEFORMATION.moving_to_fixed

    def before(points: Points) -> np.ndarray:
        inside = np.linalg.norm(points - LESION, axis=1) < LESION_RADIUS_MM
        return np.where(inside, 170.0, scene(points))

    def after(points: Points) -> np.ndarray:
        depth = np.linalg.norm(back(points) - LESION - [5.0, 0, 0], axis=1) - LESION_RADIUS_MM - 1
        return np.where(depth < 0, 170.0, scene(back(points)))

    fixed, moving = image_of(before, tumor, 8.0, 1), image_of(after, zone, 8.0, 2)
    livers = {"fixed_liver": fixed_scene()[1], "moving_liver": moving_scene()[1]}
    around = LESION + np.random.default_rng(5).normal(0, 4.0, (100, 3))
    pulled = errors_mm(fuse(fixed, moving, **livers, preset="fast"), around)
    found = fuse(fixed, moving, **livers, exclude=[tumor, zone])
    assert pulled.mean() > 2.0  # the defect does pull when it may
    assert errors_mm(found, around).mean() < 1.0
    assert errors_mm(found).mean() < 0.6
    assert found.usable_fraction < 0.95
    assert len(found.excluded_error_mm) == 2
    assert all(error < 1.5 for error in found.excluded_error_mm)
    assert len(found.lesion_error_mm) == len(found.lesion_error_bound_90_mm) == 2
    assert all(found.lesion_error_bound_90_mm[n] > found.lesion_error_mm[n] > 0 for n in (0, 1))
    assert all(abs(change) <= 0.02 for change in found.excluded_volume_change_fraction)

    inside = np.argwhere(sitk.GetArrayViewFromImage(zone))[:, ::-1]
    first, size = inside.min(axis=0), np.ptp(inside, axis=0) + 1
    part = sitk.RegionOfInterest(zone, size.tolist(), first.tolist())  # the same zone, cut out of its grid
    assert sitk.GetArrayViewFromImage(part).sum() == sitk.GetArrayViewFromImage(zone).sum()
    cut = fuse(fixed, moving, **livers, exclude=[tumor, part], preset="fast")
    found = fuse(fixed, moving, **livers, exclude=[tumor, zone], preset="fast")
    points = liver_points()
    assert np.array_equal(
        frames.transform_points(cut.transform, points), frames.transform_points(found.transform, points)
    )


def test_images_of_other_things_are_not_called_good(pair):
    rng = np.random.default_rng(8)
    noise = sitk.GetImageFromArray(rng.normal(60, 40, pair["fixed"].GetSize()[::-1]).astype(np.int16))
    noise.CopyInformation(pair["fixed"])
    found = fuse(pair["fixed"], noise, fixed_liver=pair["fixed_liver"], preset="fast")
    assert any("agree poorly" in text for text in found.warnings)
    assert found.verdict == "not usable"


def test_another_patient_with_a_liver_of_the_same_shape_is_not_usable(pair, monkeypatch):
    rng = np.random.default_rng(99)
    monkeypatch.setattr(
        sys.modules[__name__], "_BLOBS", LIVER_CENTER + rng.uniform(-1, 1, (90, 3)) * [50.0, 42.0, 40.0]
    )
    moving, moving_liver = moving_scene()
    found = fuse(pair["fixed"], moving, fixed_liver=pair["fixed_liver"], moving_liver=moving_liver, preset="fast")
    assert found.verdict == "not usable"


def test_a_wrong_moving_liver_is_named(pair):
    small = sitk.BinaryErode(pair["moving_liver"], [5, 5, 5])
    found = fuse(pair["fixed"], pair["moving"], fixed_liver=pair["fixed_liver"], moving_liver=small, preset="fast")
    assert found.liver_dice < 0.9
    assert any("Dice" in text for text in found.warnings)


def test_round_trip_of_the_file_and_the_document(tmp_path, result):
    write_transform(result.transform, tmp_path / "t.h5")
    points = liver_points()
    expected = frames.transform_points(result.transform, points)
    assert np.array_equal(frames.transform_points(read_transform(tmp_path / "t.h5"), points), expected)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["schema_version"] == 1
    assert document["estimated_error_mm"] == result.estimated_error_mm
    assert document["parameters"]["lattice_spacing_mm"] > 0
    assert len(document["input_hashes"]["fixed"]) == 64


def test_a_text_file_that_is_cut_off_is_refused(tmp_path):
    """ITK reads it as a transform with other numbers."""
    path = tmp_path / "t.tfm"
    turn = sitk.Euler3DTransform((1.5, 2.5, 3.5), 0.12, 0.23, 0.34, (11.25, 22.5, 33.75))
    write_transform(turn, path)
    whole = path.read_bytes()
    assert read_transform(path).GetParameters() == turn.GetParameters()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"t\.tfm"):
            read_transform(path)


@pytest.mark.parametrize("damage", [slice(3000, None), slice(0, 400), slice(9, 20)], ids=["end", "start", "version"])
def test_a_damaged_file_is_refused_without_a_word_of_hdf5(tmp_path, capfd, damage):
    path = tmp_path / "t.h5"
    write_transform(breathing(LIVER_CENTER).fixed_to_moving_transform(body_grid()), path)
    content = bytearray(path.read_bytes())
    content[damage] = b"" if damage.stop is None else bytes(len(content[damage]))
    path.write_bytes(bytes(content))
    with pytest.raises(FormatError, match=r"t\.h5"):
        read_transform(path)
    assert capfd.readouterr().err == ""


def test_progress_rises_and_cancels(pair):
    seen: list[float] = []

    def stop_late(fraction: float, message: str) -> None:
        seen.append(fraction)
        if fraction > 0.5:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fuse(**pair, progress=stop_late)
    assert seen == sorted(seen)
    assert seen[0] == 0.0


def sliding_scene(*, moved: bool) -> sitk.Image:
    """The liver within ribs, bright knots just outside of its capsule; moved, the ribs stay where they are."""
    rng = np.random.default_rng(21)
    around = rng.normal(size=(300, 3))
    around *= 1.13 / np.linalg.norm(around, axis=1, keepdims=True)
    ribs = LIVER_CENTER + around * [50.0, 42.0, 40.0]

    def values(points: Points) -> np.ndarray:
        back = DEFORMATION.moving_to_fixed(points) if moved else points
        still = rigid_of(DEFORMATION).moving_to_fixed(points) if moved else points
        inside = LIVER(back) < 0
        result = np.where(inside, scene(back), -60.0)
        near = ~inside & (LIVER(still) < 0.6)
        bone = np.zeros(int(near.sum()))
        for rib in ribs:
            bone += 400 * np.exp(-0.5 * ((still[near] - rib) ** 2).sum(axis=1) / 3.0**2)
        result[near] += np.minimum(bone, 600)
        return result

    center = (4.0, -6.0, 7.0) if moved else (0.0, 0.0, 0.0)
    return image_of(values, body_grid(center=center), 8.0, 4)


def test_ribs_that_the_liver_slides_along_do_not_hold_it_back(pair, monkeypatch):
    images = {**pair, "fixed": sliding_scene(moved=False), "moving": sliding_scene(moved=True)}
    points = liver_points(2000, share=1.0)
    rim = points[LIVER(points) > -0.2]
    found = errors_mm(fuse(**images, preset="fast"), rim)
    monkeypatch.setattr(sliding, "_MIN_RIGID_DICE", 1.0)  # the masks do not tell what lies beyond the capsule
    held = errors_mm(fuse(**images, preset="fast"), rim)
    assert found.mean() < 1.5
    assert found.mean() < 0.8 * held.mean()


def test_ribs_do_not_hold_the_liver_back_where_it_is_known_in_the_fixed_image_only(pair, monkeypatch):
    """Its place in the moving image is then the one that a first deformation gives it."""
    images = {"fixed": sliding_scene(moved=False), "moving": sliding_scene(moved=True)}
    points = liver_points(2000, share=1.0)
    rim = points[LIVER(points) > -0.2]
    found = errors_mm(fuse(**images, fixed_liver=pair["fixed_liver"], preset="fast"), rim)
    monkeypatch.setattr(sliding, "_LEAST_GAP_MM", np.inf)
    held = errors_mm(fuse(**images, fixed_liver=pair["fixed_liver"], preset="fast"), rim)
    assert found.mean() < 0.8 * held.mean()


@pytest.mark.parametrize(
    ("gap_mm", "correlation", "does"),
    [(0.9, 0.99, False), (1.0, 0.99, True), (2.0, 0.5, False), (2.2, 0.5, True), (3.0, 0.3, False), (3.3, 0.3, True)],
)
def test_a_gap_that_noise_may_open_is_no_sliding(gap_mm, correlation, does):
    """A mm of noise where half agrees; 0.1 and 1.5 mm at correlations of 0.99 and 0.3."""
    assert sliding.slides(gap_mm, correlation) == does


def test_a_large_region_is_not_registered_on_fine_voxels():
    """Two liters (a liver) at all levels, 12 down to 2.5 mm, 30 (a trunk) down to 4 mm."""
    settings = fusion.Settings.preset("standard")
    finest = [settings.affordable(liters * 1e6).levels[-1].spacing_mm for liters in (2, 12, 30)]
    assert finest == [2.0, 2.5, 4.0]


def test_where_nothing_slides_a_wrong_moving_liver_does_no_harm(pair):
    """A mask that is a voxel too large agrees well enough, so only the images can tell that nothing slides."""
    larger = sitk.BinaryDilate(pair["moving_liver"], (1, 1, 1), sitk.sitkBox)
    found = fuse(**{**pair, "moving_liver": larger}, preset="fast")
    assert errors_mm(found).mean() < 1.05 * errors_mm(fuse(**pair, preset="fast")).mean()


def test_landmarks_pull_and_measure(pair, result):
    points = liver_points(5)
    truth = DEFORMATION.fixed_to_moving(points)
    landmarks = list(zip(points, truth + np.array([0.0, 0.0, 4.0]), strict=True))
    pulled = fuse(**pair, preset="fast", landmarks=landmarks)
    shift = (frames.transform_points(pulled.transform, points) - truth)[:, 2]
    assert shift.mean() > 1.5  # toward what the landmarks say, though the images disagree
    assert len(pulled.landmark_tre_mm) == 5
    assert pulled.landmark_tre_mean_mm == pytest.approx(np.mean(pulled.landmark_tre_mm))
    assert pulled.landmark_tre_mean_mm > 1.5
    assert any("5 landmarks" in text for text in pulled.verdict_reasons)


def test_a_deformation_that_goes_astray_is_left_out(pair, monkeypatch):
    monkeypatch.setattr(fusion, "_MAX_DISPLACEMENT_MM", 1.0)
    found = fuse(**pair, preset="fast")
    points = liver_points()
    assert found.is_rigid_only
    assert np.allclose(frames.transform_points(found.transform, points), frames.transform_points(found.rigid, points))
    assert found.verdict != "good"
    assert any("rigid part alone is kept" in text for text in found.warnings)


def constant() -> sitk.Image:
    return body_grid() * 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: {"moving": p["moving"][:, :, 0]}, ImageReadError, "moving image"),
        (lambda p: {"moving": p["moving"][:, :, :3]}, GeometryError, "moving image: too thin"),
        (lambda p: {"fixed": constant()}, InputError, "fixed image: all voxels"),
        (lambda p: {"fixed": p["fixed"] * np.nan}, ImageReadError, "fixed image"),
        (lambda p: {"fixed_liver": p["fixed_liver"] * 0}, EmptyMaskError, "fixed liver"),
        (lambda p: {"fixed_liver": p["fixed_liver"][1:]}, GeometryError, "fixed liver"),
        (lambda p: {"moving_liver": p["fixed_liver"]}, GeometryError, "moving liver.*swapped"),
        (lambda p: {"fixed": p["moving"], "moving": p["fixed"]}, GeometryError, "fixed liver.*moving image.*swapped"),
        (lambda p: {"fixed_vessels": p["fixed_liver"]}, InputError, "vessels: those of the moving image are missing"),
        (lambda p: {"exclude": [body_grid((4.0, 4.0, 4.0)) + 1]}, GeometryError, "exclude mask 1"),
        (lambda p: {"exclude": [p["fixed_liver"], p["fixed_liver"] * 0]}, EmptyMaskError, "exclude mask 2"),
    ],
)
def test_bad_input_is_refused_by_name(pair, change, error, message):
    changed = change({**pair, "fixed": sitk.Cast(pair["fixed"], sitk.sitkFloat32)})
    with pytest.raises(error, match=message):
        fuse(**{**pair, **changed})


def test_images_far_apart_and_all_excluded_are_refused(pair):
    away = sitk.Image(pair["moving"])
    away.SetOrigin([v + 5000.0 for v in away.GetOrigin()])
    with pytest.raises(GeometryError, match="overlap"):
        fuse(pair["fixed"], away)
    with pytest.raises(InputError, match="exclude"):
        fuse(**pair, exclude=[body_grid() + 1])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"preset": "slow"}, "preset 'slow'"),
        ({"landmarks": [([0.0, 0.0], [1.0, 2.0])]}, "landmarks"),
        ({"landmarks": [([0.0, 0.0, np.nan], [1.0, 2.0, 3.0])]}, "landmarks"),
        ({"landmarks": [([0.0, 0.0, 1.0],)]}, "landmarks"),
    ],
)
def test_bad_options_are_refused(pair, option, message):
    with pytest.raises(InputError, match=message):
        fuse(**pair, **option)
