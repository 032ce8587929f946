"""Lesions and zones from a line, against analytic shapes: accuracy, invariance and refusal."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib.core import frames
from NETAblationLib.core.errors import (
    ComputationError,
    EmptyMaskError,
    FormatError,
    GeometryError,
    ImageReadError,
    InputError,
)
from NETAblationLib.core.lesions import LesionSegmentation, segment_lesion
from support import shapes

CENTER = np.array([3.0, -12.0, 41.0])


def array(image: sitk.Image) -> np.ndarray:
    """The voxels (K, J, I)."""
    return sitk.GetArrayFromImage(image)


def like(values: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """An image of values (K, J, I) on a grid."""
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(grid)
    return image


def share_inside(level: shapes.Level, grid: sitk.Image) -> np.ndarray:
    """The share of each voxel within a shape, from 8 points a voxel."""
    points = shapes.voxel_centers(grid)
    edges = frames.index_to_ras_matrix(grid)[:3, :3]
    steps = np.stack(np.meshgrid(*[(-0.25, 0.25)] * 3), axis=-1).reshape(-1, 3)
    return np.mean([level(points + edges @ step) < 0 for step in steps], axis=0).reshape(grid.GetSize()[::-1])


def painted(level, half_mm, *, spacing=(0.8, 0.8, 1.5), direction=None, hu=-40.0, noise=12.0, seed=0):
    """An image of a shape in liver of 110 HU, with blur and correlated noise, and its true mask."""
    grid = shapes.grid(tuple(CENTER - half_mm), tuple(CENTER + half_mm), spacing, direction)
    kji_mm = np.array(spacing)[::-1]
    values = 110.0 + hu * ndimage.gaussian_filter(share_inside(level, grid), 0.6 / kji_mm)
    white = np.random.default_rng(seed).normal(size=values.shape)
    white = ndimage.gaussian_filter(white, 0.5 / kji_mm)
    return like((values + white * noise / white.std()).astype(np.float32), grid), shapes.mask_of(level, grid)


def dice(first: sitk.Image, second: sitk.Image) -> float:
    """Dice overlap of two masks on one grid."""
    a, b = array(first) > 0, array(second) > 0
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


def line_along(axis, half_length_mm: float, center=CENTER) -> np.ndarray:
    """A line (2, 3) through the center."""
    axis = np.asarray(axis, float) / np.linalg.norm(axis)
    return np.stack([center - half_length_mm * axis, center + half_length_mm * axis])


@pytest.mark.parametrize(
    ("semi_mm", "hu", "noise", "least_dice"),
    [
        ((12.0, 10.0, 8.5), -40.0, 12.0, 0.94),
        ((12.0, 10.0, 10.0), 30.0, 12.0, 0.92),
        ((20.0, 15.0, 17.0), -20.0, 15.0, 0.92),
        ((5.5, 5.0, 4.8), -50.0, 12.0, 0.85),
    ],
)
def test_a_noisy_ellipsoid_is_found_with_its_volume(semi_mm, hu, noise, least_dice):
    """Overlap and mean shift of the surface on known shapes, the line 1.5 mm off at its ends."""
    axes = shapes.rotation((0.0, 0.0, 1.0), 25.0)
    image, truth = painted(shapes.ellipsoid(CENTER, semi_mm, axes), max(semi_mm) + 14, hu=hu, noise=noise)
    line = line_along(axes[:, 0], semi_mm[0]) + np.array([[1.0, -1.0, 0.5], [-0.8, 1.0, -0.6]])
    result = segment_lesion(image, line)
    assert dice(result.mask, truth) >= least_dice
    true_ml = 4 / 3 * np.pi * np.prod(semi_mm) / 1000
    radius_ratio = (result.volume_ml / true_ml) ** (1 / 3)
    assert abs(radius_ratio - 1) * np.prod(semi_mm) ** (1 / 3) < 0.5
    assert result.volume_ml == pytest.approx(array(result.mask).sum() * 0.8 * 0.8 * 1.5 / 1000)
    assert result.long_axis_mm == pytest.approx(2 * semi_mm[0], rel=0.06, abs=2.0)
    assert result.parameters["inside_value"] == pytest.approx(110 + hu, abs=6)
    assert result.mask.GetPixelID() == sitk.sitkUInt8
    assert frames.same_grid(result.mask, image)


@pytest.mark.parametrize(("hu", "middle_hu"), [(50.0, 22.0), (-40.0, -52.0)])
def test_the_volume_of_a_small_lesion_does_not_depend_on_its_middle(hu, middle_hu):
    """9 mm, its middle duller as in the arterial phase or darker as in the portal one, on oblique voxels, lines off."""
    volumes = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        axes = shapes.rotation(tuple(rng.normal(size=3)), 140.0 * rng.random())
        lesion, middle = shapes.ellipsoid(CENTER, (4.8, 4.5, 4.2), axes), shapes.sphere(CENTER, 2.2)
        image, _ = painted(lesion, 20, spacing=(1.0, 1.0, 2.0), direction=axes, hu=hu, noise=9.0, seed=seed)
        change = ndimage.gaussian_filter(share_inside(middle, image), 0.6 / np.array([2.0, 1.0, 1.0]))
        image = like((array(image) + (middle_hu - hu) * change).astype(np.float32), image)
        line = line_along(axes[:, 0], 4.8) + rng.normal(0, 0.7, (2, 3))
        volumes.append(segment_lesion(image, line).volume_ml)
    assert np.mean(volumes) == pytest.approx(4 / 3 * np.pi * 4.8 * 4.5 * 4.2 / 1000, rel=0.08)


@pytest.mark.parametrize(
    ("spacing", "direction"),
    [
        ((0.8, 0.8, 1.5), np.diag([-1.0, -1.0, 1.0])),
        ((0.8, 0.8, 1.5), np.diag([1.0, -1.0, -1.0])),
        ((1.0, 0.7, 2.5), shapes.rotation((0.3, 1.0, 0.2), 35.0)),
        ((1.2, 1.2, 1.2), shapes.rotation((1.0, 0.0, 0.4), -60.0)),
        ((2.5, 0.8, 0.8), np.eye(3)[:, [1, 2, 0]]),
    ],
)
def test_the_grid_of_the_image_does_not_matter(spacing, direction):
    """The same shape on flipped, oblique, permuted and other voxels is found as well."""
    level = shapes.ellipsoid(CENTER, (12.0, 10.0, 9.0))
    image, truth = painted(level, 26, spacing=spacing, direction=direction, noise=6.0)
    result = segment_lesion(image, line_along((1, 0, 0), 12.0))
    assert dice(result.mask, truth) >= 0.93
    assert result.volume_ml == pytest.approx(4 / 3 * np.pi * 12 * 10 * 9 / 1000, rel=0.08)
    assert frames.same_grid(result.mask, truth)


def test_flipping_the_array_flips_the_mask():
    """The same voxels stored in another order give the same mask in space."""
    image, _ = painted(shapes.ellipsoid(CENTER, (9.0, 8.0, 7.0)), 22)
    line = line_along((1, 0.3, 0), 9.0)
    plain = segment_lesion(image, line)
    flipped = segment_lesion(sitk.Flip(image, (True, False, True)), line)
    back = array(sitk.Flip(flipped.mask, (True, False, True)))
    assert (back != array(plain.mask)).sum() <= 0.005 * back.sum()


def test_swapping_the_ends_changes_nothing():
    """A line has no direction."""
    image, _ = painted(shapes.ellipsoid(CENTER, (9.0, 8.0, 7.0)), 22)
    line = line_along((1, 0.3, 0.2), 9.0)
    assert (array(segment_lesion(image, line).mask) == array(segment_lesion(image, line[::-1]).mask)).all()


def test_the_result_depends_on_the_neighborhood_only():
    """A larger image around the same lesion gives the same voxels."""
    image, _ = painted(shapes.ellipsoid(CENTER, (8.0, 7.0, 7.0)), 30, noise=8.0)
    line = line_along((1, 0, 0), 8.0)
    small = sitk.RegionOfInterest(image, [n - 8 for n in image.GetSize()], [4, 4, 4])
    whole = array(segment_lesion(image, line).mask)
    part = array(segment_lesion(small, line).mask)
    assert part.any()
    assert (whole[4:-4, 4:-4, 4:-4] != part).sum() <= 0.005 * part.sum()


def zone_image(noise=12.0):
    """A zone of three overlapping ellipsoids with a bright rim and gas bubbles, and its true mask."""
    offsets = [(-9.0, 0.0, 0.0), (8.0, 5.0, 2.0), (6.0, -7.0, -3.0)]
    parts = [shapes.ellipsoid(CENTER + np.array(o), (14.0, 11.0, 12.0)) for o in offsets]
    rims = [shapes.ellipsoid(CENTER + np.array(o), (15.6, 12.6, 13.6)) for o in offsets]
    level, rim = shapes.union(*parts), shapes.union(*rims)
    bubbles = shapes.union(
        shapes.sphere(CENTER + np.array([-6, 1, 0]), 2.5), shapes.sphere(CENTER + np.array([6, 3, 2]), 2.0)
    )
    grid = shapes.grid(tuple(CENTER - 42), tuple(CENTER + 42), (1.2, 1.2, 1.5))
    inside, ring, gas = (share_inside(shape, grid) for shape in (level, rim, bubbles))
    values = 100 + (ring - inside) * 25 - 60 * inside
    values = values * (1 - gas) - 650 * gas
    white = np.random.default_rng(1).normal(size=values.shape)
    values = ndimage.gaussian_filter(values, (0.4, 0.5, 0.5)) + noise * white
    return like(values.astype(np.float32), grid), shapes.mask_of(level, grid), shapes.mask_of(bubbles, grid)


def test_a_zone_holds_its_gas_and_not_its_rim():
    """The union of three ellipsoids is found, gas is filled, the rim stays out."""
    image, truth, gas = zone_image()
    result = segment_lesion(image, CENTER + np.array([[-23.0, 0.0, 0.0], [21.5, 3.0, 1.0]]), kind="zone")
    assert dice(result.mask, truth) >= 0.94
    assert array(result.mask)[array(gas) > 0].all()
    assert array(result.mask).sum() == pytest.approx(array(truth).sum(), rel=0.08)
    assert result.kind == "zone"


def test_the_liver_confines_the_result():
    """A lesion at the capsule beside fat of its own value does not grow into it."""
    lesion = shapes.ellipsoid(CENTER, (10.0, 10.0, 10.0))
    image, _ = painted(lesion, 30, noise=8.0)
    capsule = shapes.half_space(CENTER + np.array([0, 3, 0]), (0, 1, 0))
    liver = shapes.mask_of(capsule, image)
    values = np.where(array(liver) > 0, array(image), 70 + (array(image) - 110) * 0.2)
    image = like(values.astype(np.float32), image)
    truth = shapes.mask_of(shapes.intersection(lesion, capsule), image)
    result = segment_lesion(image, line_along((1, 0, 0), 10.0), liver=liver)
    assert not (array(result.mask) > array(liver)).any()
    assert dice(result.mask, truth) >= 0.9


def test_a_vessel_at_the_lesion_stays_out():
    """A vein as bright as the lesion, through its surface, is cut off near it."""
    lesion = shapes.sphere(CENTER, 10.0)

    def vein(points):
        off = points - CENTER
        return np.where(off[:, 0] > 0, np.hypot(off[:, 1], off[:, 2]) - 1.6, 10.0)

    image, _ = painted(shapes.union(lesion, vein), 28, hu=45.0, noise=8.0)
    truth = shapes.mask_of(lesion, image)
    result = segment_lesion(image, line_along((0, 1, 0), 10.0))
    assert dice(result.mask, truth) >= 0.92
    far = np.linalg.norm(shapes.voxel_centers(image) - CENTER, axis=1) > 14.0
    assert not array(result.mask).ravel()[far].any()


@pytest.mark.parametrize("seed", range(3))
def test_a_vessel_along_a_small_lesion_stays_out(seed):
    """It is as bright as the lesion, more than half as wide, and reaches 0.8 mm into it; the line is off."""
    rng = np.random.default_rng(seed)
    axes = shapes.rotation(tuple(rng.normal(size=3)), 140.0 * rng.random())
    lesion, beside = shapes.sphere(CENTER, 4.3), CENTER + 6.0 * axes[:, 1]

    def vein(points):
        return np.linalg.norm(np.cross(points - beside, axes[:, 0]), axis=1) - 2.5

    image, _ = painted(shapes.union(lesion, vein), 20, hu=40.0, noise=8.0, seed=seed)
    truth = shapes.mask_of(lesion, image)
    line, second = (line_along(axes[:, along], 4.3) + rng.normal(0, 0.7, (2, 3)) for along in (0, 2))
    assert dice(segment_lesion(image, line).mask, truth) >= 0.86
    assert dice(segment_lesion(image, line, second_line_ras_mm=second).mask, truth) >= 0.88


@pytest.mark.parametrize("hu", [35.0, -40.0])
@pytest.mark.parametrize("radius_mm", [6.0, 9.0, 15.0])
def test_a_ring_with_a_middle_like_liver_is_one_lesion(radius_mm, hu):
    """As metastases enhance in the arterial phase: the middle of the line tells nothing."""
    outer, inner = shapes.sphere(CENTER, radius_mm), shapes.sphere(CENTER, 0.65 * radius_mm)
    image, _ = painted(shapes.difference(outer, inner), radius_mm + 16, hu=hu)
    line = line_along((1, 0.3, 0), radius_mm) + np.array([[0.8, -0.6, 0.0], [-0.5, 0.9, 0.0]])
    result = segment_lesion(image, line)
    assert dice(result.mask, shapes.mask_of(outer, image)) >= 0.85


@pytest.mark.parametrize("noise", [0.0, 12.0])
def test_a_flat_lesion_fills_only_the_middle(noise):
    """Half of the ellipsoid about its line is liver, which is then what most of its voxels are."""
    level = shapes.ellipsoid(CENTER, (14.0, 6.0, 6.0))
    image, truth = painted(level, 30, noise=noise)
    assert dice(segment_lesion(image, line_along((1, 0, 0), 14.0)).mask, truth) >= 0.88


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("half_length_mm", [6.0, 15.0])
def test_noise_alone_is_refused(seed, half_length_mm):
    """No contrast, no mask."""
    image, _ = painted(shapes.sphere(CENTER, 5.0), half_length_mm * 1.5 + 12, hu=0.0, noise=15.0, seed=seed)
    with pytest.raises(ComputationError, match="no lesion found"):
        segment_lesion(image, line_along((1, 0, 0), half_length_mm))


def test_a_constant_image_is_refused():
    """One value everywhere is no lesion, and no division by zero."""
    grid = shapes.grid((-20.0,) * 3, (20.0,) * 3, (1.0, 1.0, 1.0))
    with pytest.raises(ComputationError, match="no lesion found"):
        segment_lesion(sitk.Cast(grid, sitk.sitkFloat32), [[-5, 0, 0], [5, 0, 0]], kind="zone")


def test_the_border_of_the_image_is_told():
    """A lesion cut by the image's edge is segmented, with a warning."""
    image, _ = painted(shapes.sphere(CENTER, 10.0), 24, noise=6.0)
    middle = int(frames.ras_to_index(image, CENTER)[2])
    cut = image[:, :, middle - 4 :]
    result = segment_lesion(cut, line_along((1, 0, 0), 10.0))
    assert any("border" in warning for warning in result.warnings)
    assert array(result.mask)[0].any()


BAD_LINES = {
    "200 mm": [[-150, 0, 0], [150, 0, 0]],
    "mm long": [[1, 1, 1], [1, 1, 1]],
    "not a finite": [[np.nan, 0, 0], [5, 0, 0]],
    "two points": [[0, 0, 0], [5, 0, 0], [1, 1, 1]],
    "expected an": [0, 0, 0, 5, 0, 0],
    "R, A, S": "here",
}


@pytest.mark.parametrize("message", list(BAD_LINES))
def test_unsound_lines_are_refused(message):
    """Each with its reason."""
    grid = shapes.grid((-20.0,) * 3, (20.0,) * 3, (2.0, 2.0, 2.0))
    with pytest.raises(GeometryError, match=message):
        segment_lesion(grid, BAD_LINES[message])


def test_unsound_images_livers_and_kinds_are_refused():
    """Another place, dimension, grid, an empty liver, non-finite voxels, an unknown kind."""
    grid = sitk.Cast(shapes.grid((-20.0,) * 3, (20.0,) * 3, (2.0, 2.0, 2.0)), sitk.sitkFloat32)
    line = [[-5, 0, 0], [5, 0, 0]]
    with pytest.raises(GeometryError, match="outside the image"):
        segment_lesion(grid, [[0, 0, 0], [90, 0, 0]])
    with pytest.raises(InputError, match="kind"):
        segment_lesion(grid, line, kind="tumor")
    with pytest.raises(ImageReadError, match="image"):
        segment_lesion(grid[:, :, 0], line)
    with pytest.raises(ImageReadError, match="image"):
        segment_lesion(like(np.full(grid.GetSize()[::-1], np.nan, np.float32), grid), line)
    with pytest.raises(EmptyMaskError, match="liver"):
        segment_lesion(grid, line, liver=sitk.Cast(grid, sitk.sitkUInt8))
    with pytest.raises(GeometryError, match="liver"):
        segment_lesion(grid, line, liver=sitk.Image(4, 4, 4, sitk.sitkUInt8) + 1)
    far = shapes.mask_of(shapes.sphere((15, 15, 15), 4.0), grid)
    with pytest.raises(GeometryError, match="liver"):
        segment_lesion(grid, line, liver=far)


def test_a_second_line_gives_the_extent_across():
    """A long lesion in noise, from lines 2 mm off: the second line says how thick it is."""
    image, truth = painted(shapes.ellipsoid(CENTER, (12.0, 5.0, 5.0)), 26, hu=-18.0, noise=22.0)
    line = line_along((1, 0, 0), 12.0) + np.array([[2.0, 0.0, 1.0], [1.0, 1.0, -1.0]])
    second = line_along((0, 0, 1), 5.0, CENTER + np.array([1.0, 1.0, 0.0]))
    alone = dice(segment_lesion(image, line).mask, truth)
    both = segment_lesion(image, line, second_line_ras_mm=second)
    assert dice(both.mask, truth) >= max(0.88, alone + 0.01)
    swapped = segment_lesion(image, line[::-1], second_line_ras_mm=second[::-1])
    np.testing.assert_array_equal(array(swapped.mask), array(both.mask))


def test_a_second_line_along_the_first_is_averaged_with_it():
    """Two lines off to opposite sides are as good as one in the middle."""
    image, truth = painted(shapes.sphere(CENTER, 9.0), 26)
    shift = np.array([0.0, 2.5, 0.0])
    line = line_along((1, 0, 0), 9.0)
    found = segment_lesion(image, line + shift, second_line_ras_mm=line[::-1] - shift)
    assert dice(found.mask, segment_lesion(image, line).mask) >= 0.98
    assert dice(found.mask, truth) >= 0.9


def two_balls():
    """A lesion and another one that touches it, both as dark."""
    first, second = shapes.sphere(CENTER, 9.0), shapes.sphere(CENTER + np.array([13.5, 0.0, 0.0]), 6.0)
    image, both = painted(shapes.union(first, second), 36, hu=-45.0)
    return image, shapes.mask_of(first, image), both


def test_a_minus_stroke_cuts_off_what_does_not_belong():
    """A lesion at a muscle that is as dark, into which it leaks until a stroke is drawn there."""
    lesion = shapes.sphere(CENTER, 8.0)

    def muscle(points):
        return 5.0 - (points - CENTER)[:, 0]

    image, _ = painted(shapes.union(lesion, muscle), 30, hu=-45.0)
    truth = shapes.mask_of(lambda points: np.maximum(lesion(points), -muscle(points)), image)
    line = line_along((0, 1, 0), 8.0) + np.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    before = segment_lesion(image, line)
    stroke = CENTER + np.array([[9.0, -5.0, 0.0], [9.0, 0.0, 0.0], [9.0, 5.0, 0.0]])
    after = segment_lesion(image, line, minus_ras_mm=stroke)
    assert dice(before.mask, truth) < 0.87
    assert dice(after.mask, truth) > dice(before.mask, truth) + 0.04
    for point in stroke:
        assert after.mask[image.TransformPhysicalPointToIndex(frames.flip_lps_ras(point).tolist())] == 0


def test_a_plus_stroke_takes_in_what_was_missed():
    """A line on the larger ball alone; a stroke in the other one adds it."""
    image, _, both = two_balls()
    line = line_along((0, 1, 0), 9.0)
    before = segment_lesion(image, line)
    stroke = CENTER + np.array([[12.0, 0.0, 0.0], [15.0, 0.0, 0.0], [14.0, 3.0, 0.0], [14.0, -3.0, 0.0]])
    after = segment_lesion(image, line, plus_ras_mm=stroke)
    assert dice(after.mask, both) > dice(before.mask, both) + 0.03
    for point in stroke:
        assert after.mask[image.TransformPhysicalPointToIndex(frames.flip_lps_ras(point).tolist())] == 1


def test_unsound_corrections_are_refused():
    """A second line elsewhere, strokes outside the image or on both sides."""
    image, _ = painted(shapes.sphere(CENTER, 6.0), 20, noise=5.0)
    line = line_along((1, 0, 0), 6.0)
    with pytest.raises(GeometryError, match="second line"):
        segment_lesion(image, line, second_line_ras_mm=line + np.array([0.0, 14.0, 0.0]))
    with pytest.raises(GeometryError, match="minus stroke"):
        segment_lesion(image, line, minus_ras_mm=[CENTER + 100.0])
    with pytest.raises(GeometryError, match="plus stroke"):
        segment_lesion(image, line, plus_ras_mm=[1.0, 2.0])
    with pytest.raises(GeometryError, match="both inside"):
        segment_lesion(image, line, plus_ras_mm=[CENTER + 1], minus_ras_mm=[CENTER + 1])


def test_a_zone_without_contrast_is_warned_about():
    """With the figures and their source; not with contrast, nor for an image that is no CT."""
    image, _, _ = zone_image()
    line = CENTER + np.array([[-23.0, 0.0, 0.0], [21.5, 3.0, 1.0]])
    plain = segment_lesion(image - 45.0, line, kind="zone")
    assert any("7.6 mm" in warning and "13.9 mm" in warning and "PMC8204285" in warning for warning in plain.warnings)
    assert not any("7.6" in warning for warning in segment_lesion(image, line, kind="zone").warnings)
    gray = sitk.Maximum(image - 45.0, -100.0)
    assert not any("7.6" in warning for warning in segment_lesion(gray, line, kind="zone").warnings)


def test_a_line_in_air_is_refused():
    """Beside the body, in a CT."""
    image, _ = painted(shapes.sphere(CENTER, 6.0), 24, noise=5.0)
    values = array(image)
    values[:, :, : values.shape[2] // 2] = -1000.0 + values[:, :, : values.shape[2] // 2] / 10.0
    line = line_along((0, 1, 0), 6.0, CENTER + np.array([14.0, 0.0, 0.0]))
    with pytest.raises(GeometryError, match="in air or lung"):
        segment_lesion(like(values, image), line)


def test_the_document_comes_back_the_same():
    """to_dict and from_dict are inverse; another mask, schema or a missing key is refused."""
    image, truth = painted(shapes.sphere(CENTER, 8.0), 22, noise=5.0)
    across, away = line_along((0, 0, 1), 8.0), [CENTER + np.array([14.0, 0.0, 0.0])]
    result = segment_lesion(image, line_along((1, 0, 0), 8.0), second_line_ras_mm=across, minus_ras_mm=away)
    document = result.to_dict()
    assert document["second_line_ras_mm"] == across.tolist()
    assert document["minus_ras_mm"] == [away[0].tolist()]
    again = LesionSegmentation.from_dict(document, result.mask)
    assert again.to_dict() == document
    assert document["schema_version"] == 1
    with pytest.raises(FormatError, match="hash"):
        LesionSegmentation.from_dict(document, truth + 1)
    with pytest.raises(FormatError, match="schema_version"):
        LesionSegmentation.from_dict({**document, "schema_version": 99}, result.mask)
    with pytest.raises(FormatError, match="volume_ml"):
        LesionSegmentation.from_dict({k: v for k, v in document.items() if k != "volume_ml"}, result.mask)


def test_progress_runs_up_to_one():
    """Fractions grow to 1."""
    image, _ = painted(shapes.sphere(CENTER, 6.0), 18, noise=5.0)
    seen: list[float] = []
    segment_lesion(image, line_along((1, 0, 0), 6.0), progress=lambda fraction, word: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
