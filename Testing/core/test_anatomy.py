"""Body, lung, gas, bone, table and skin against analytic bodies and the digital patient, however an image is made."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.anatomy import find_obstacles
from NETAblationLib.core.errors import ImageReadError, InputError
from NETAblationLib.core.skin import Place
from support.shapes import ellipsoid, grid, intersection, mask_of, rotation, sphere, union, voxel_centers

SEMI = np.array([110.0, 75.0, 300.0])
BODY = ellipsoid((0, 0, 0), tuple(SEMI))
LUNG = union(ellipsoid((60, 5, 40), (36, 45, 60)), ellipsoid((-60, 5, 40), (36, 45, 60)))
GAS = sphere((25, 40, -45), 13.0)
LIVER = ellipsoid((50, 0, -55), (42, 42, 30))
AORTA = lambda p: np.hypot(p[:, 0] + 8, p[:, 1] + 12) - 11.0  # noqa: E731
SPINE = lambda p: np.hypot(p[:, 0], p[:, 1] + 45) - 17.0  # noqa: E731
MARROW = lambda p: np.hypot(p[:, 0], p[:, 1] + 45) - 13.0  # noqa: E731
TABLE = lambda p: np.maximum(np.abs(p[:, 1] + 88.0) - 2.0, np.abs(p[:, 0]) - 120.0)  # noqa: E731
ARM = ellipsoid((-140, 0, 0), (22, 25, 400))
LOW, HIGH = (-170.0, -96.0, -80.0), (130.0, 96.0, 80.0)
PARTS = ((BODY, 40.0), (LUNG, -850.0), (GAS, -990.0), (SPINE, 600.0), (MARROW, 190.0), (AORTA, 330.0), (TABLE, 100.0))
FLIPPED = np.diag([-1.0, 1.0, -1.0])
OBLIQUE = rotation((0.2, -0.1, 1.0), 15.0)


def ct(parts=PARTS, spacing=(2.5, 2.5, 2.5), direction=None, low=LOW, high=HIGH, noise_hu=0.0):
    """A CT of air at -1000 HU with parts (level, HU) laid over each other."""
    image = grid(low, high, spacing, direction)
    centers = voxel_centers(image)
    hu = np.full(len(centers), -1000.0)
    for level, value in parts:
        hu[level(centers) < 0] = value
    hu += np.random.default_rng(0).normal(0.0, noise_hu, len(hu)) if noise_hu else 0.0
    made = sitk.GetImageFromArray(hu.reshape(image.GetSize()[::-1]).astype(np.int16))
    made.CopyInformation(image)
    return made


def dice(mask, level, image):
    first, second = sitk.GetArrayFromImage(mask) > 0, sitk.GetArrayFromImage(mask_of(level, image)) > 0
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize(
    ("spacing", "direction", "noise_hu"),
    [((2.5, 2.5, 3.0), None, 15.0), ((2.5, 2.5, 5.0), FLIPPED, 0.0), ((2.5, 2.5, 4.0), OBLIQUE, 0.0)],
)
def test_each_part_is_found_whatever_the_axes_and_slices(spacing, direction, noise_hu):
    image = ct((*PARTS, (ARM, 40.0)), spacing, direction, noise_hu=noise_hu)
    found = find_obstacles(image)
    for name, level, least in (
        ("body", BODY, 0.985),
        ("lung", LUNG, 0.96),
        ("gas", GAS, 0.88),
        ("bone", SPINE, 0.93),
        ("dense", AORTA, 0.88),
        ("table", TABLE, 0.6),
        ("limbs", ARM, 0.95),
    ):
        assert dice(found.mask(name, image), level, image) > least, name


def test_the_parts_are_apart_and_in_the_body():
    found = find_obstacles(ct())
    parts = np.stack([found.lung, found.gas, found.bone, found.dense])
    assert parts.sum(axis=0).max() == 1
    assert not np.any(parts & ~found.body)
    assert not np.any(found.table & found.body)


def test_gas_and_contrast_in_the_liver_are_no_obstacles_where_the_liver_is_given():
    zone = sphere((50, 0, -55), 12.0)
    vessel = sphere((70, 0, -50), 6.0)
    image = ct((*PARTS, (zone, -650.0), (vessel, 350.0)))
    liver = mask_of(LIVER, grid((0, -50, -90), (100, 50, -20), (3.0, 3.0, 3.0), OBLIQUE))
    in_zone = sitk.GetArrayFromImage(mask_of(zone, image)) > 0
    in_vessel = sitk.GetArrayFromImage(mask_of(vessel, image)) > 0
    for given, is_found in ((None, True), (liver, False)):
        found = find_obstacles(image, liver=given)
        air = sitk.GetArrayFromImage(sitk.Or(found.mask("gas", image), found.mask("lung", image))) > 0
        dense = sitk.GetArrayFromImage(sitk.Or(found.mask("dense", image), found.mask("bone", image))) > 0
        assert (air[in_zone].mean() > 0.9) == is_found
        assert (dense[in_vessel].mean() > 0.8) == is_found
        assert found.body[found.liver].all()
    assert find_obstacles(image, liver=liver).gas.sum() * 0.008 == pytest.approx(4 / 3 * np.pi * 1.3**3, rel=0.15)


@pytest.mark.parametrize("spacing", [(1.2, 1.2, 5.0), (2.0, 2.0, 4.0)])
def test_a_lung_under_a_wall_of_3_mm_is_in_the_body(spacing):
    """The lung's outline follows the skin 3 mm beneath it over 130 degrees of it."""
    wide = lambda p: np.maximum(np.hypot(p[:, 0] / 107, p[:, 1] / 72) - 1.0, 50.0 - p[:, 0])  # noqa: E731
    image = ct([(lambda p: np.hypot(p[:, 0] / 110, p[:, 1] / 75) - 1.0, 40.0), (wide, -850.0)], spacing)
    found = find_obstacles(image)
    assert dice(found.mask("lung", image), wide, image) > 0.95
    right = found.skin.surface.points_ras_mm[found.skin.places == Place.FREE]
    right = right[(right[:, 0] > 60) & (np.abs(right[:, 2]) < 70)]
    assert np.abs((np.hypot(right[:, 0] / 110, right[:, 1] / 75) - 1) * 75).max() < 1.5


@pytest.mark.parametrize("padding", [-2048.0, -1024.0, -3024.0, -1000.0])
def test_a_patient_cut_by_a_round_field_of_view_has_no_skin_there(padding):
    """A circle of 90 mm through the chest wall and both lungs; the body reaches beyond it at the sides."""
    lower, upper = (-90.0, -90.0, -30.0), (90.0, 90.0, 60.0)
    image = ct(PARTS[:3], (2.0, 2.0, 3.0), low=lower, high=upper, noise_hu=12.0)
    array = sitk.GetArrayFromImage(image)
    centers = voxel_centers(image).reshape(*array.shape, 3)
    outside = np.hypot(centers[..., 0], centers[..., 1]) > 90.0
    array[outside] = padding
    cut = sitk.GetImageFromArray(np.maximum(array, min(padding, -1024.0)).astype(np.int16))
    cut.CopyInformation(image)
    found = find_obstacles(cut)
    assert np.linalg.norm(found.grid.points(found.known)[:, :2], axis=1).max() < 90.5
    assert found.known.mean() > 0.7
    skin = found.skin
    points = skin.surface.points_ras_mm
    radius = np.hypot(points[:, 0], points[:, 1])
    # The lungs, open to the padding, are still lung; what lies on the circle is no skin, the front is.
    in_lung = sitk.GetArrayFromImage(mask_of(LUNG, image)) > 0
    inner = in_lung & (np.hypot(centers[..., 0], centers[..., 1]) < 85.0)
    assert (sitk.GetArrayFromImage(found.mask("lung", cut)) > 0)[inner].mean() > 0.97
    assert np.all(skin.places[radius > 87.0] == Place.CUT)
    middle = (np.abs(points[:, 0]) < 30) & (np.abs(points[:, 2] - 15) < 25) & (points[:, 1] > 40)
    assert middle.sum() > 100
    assert skin.is_free[middle].all()


def test_the_skin_is_smooth_and_within_half_a_millimeter():
    image = ct([(BODY, 40.0)], (1.5, 1.5, 3.0))
    skin = find_obstacles(image).skin
    points = skin.surface.points_ras_mm[skin.is_free]
    # First-order distance to the ellipsoid.
    level = ((points / SEMI) ** 2).sum(axis=1) - 1
    error = level / np.linalg.norm(2 * points / SEMI**2, axis=1)
    assert abs(error.mean()) < 0.25
    assert np.percentile(np.abs(error), 95) < 0.7
    normals = points / SEMI**2
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turned = np.einsum("ij,ij->i", normals, skin.surface.point_normals[skin.is_free])
    assert np.percentile(turned, 5) > 0.9  # outward, and without the steps of voxels
    # Closed: the volume between the ends of the image is that of the ellipsoid there.
    height = 164.5 / 2
    exact = np.pi * SEMI[0] * SEMI[1] * 2 * (height - height**3 / 3 / SEMI[2] ** 2) / 1000
    assert skin.surface.volume_ml == pytest.approx(exact, rel=0.03)
    assert np.all(skin.places[np.abs(skin.surface.points_ras_mm[:, 2]) > 82.0] == Place.CUT)


def test_skin_on_the_table_or_behind_an_arm_is_told():
    skin = find_obstacles(ct((*PARTS, (ARM, 40.0)))).skin
    points = skin.surface.points_ras_mm
    inner = np.abs(points[:, 2]) < 70
    assert skin.is_table_seen
    back, front = inner & (points[:, 1] < -72), inner & (points[:, 1] > 20)
    beside = inner & (points[:, 0] < -105) & (np.abs(points[:, 1]) < 10)
    assert (skin.places[back] == Place.TABLE_SIDE).mean() > 0.95
    assert (skin.places[beside] == Place.COVERED).mean() > 0.95
    assert skin.is_free[front & (points[:, 0] > -60)].mean() > 0.98
    # Without a table to be seen, the patient is taken to lie on the back.
    alone = find_obstacles(ct(PARTS[:-1])).skin
    assert not alone.is_table_seen
    under = (np.abs(alone.surface.points_ras_mm[:, 2]) < 70) & (alone.surface.points_ras_mm[:, 1] < -72)
    assert (alone.places[under] == Place.TABLE_SIDE).mean() > 0.95


def test_a_table_that_touches_the_skin_is_no_part_of_the_body():
    table = lambda p: np.maximum(np.abs(p[:, 1] + 76.5) - 2.0, np.abs(p[:, 0]) - 120.0)  # noqa: E731
    image = ct((*PARTS[:-1], (table, 100.0)))
    mask = find_obstacles(image).mask("body", image)
    wing = (sitk.GetArrayFromImage(mask_of(intersection(table, lambda p: 50 - np.abs(p[:, 0])), image))) > 0
    assert sitk.GetArrayFromImage(mask)[wing].mean() < 0.02
    assert dice(mask, BODY, image) > 0.985


def test_a_table_that_closes_a_gap_behind_the_back_is_no_part_of_the_body():
    """A cradle touches the body on both sides, and outer air is caught between it and the back."""
    cradle = lambda p: np.maximum(np.abs(np.hypot(p[:, 0] / 112, p[:, 1] / 92) - 1.0) - 0.02, p[:, 1] + 5)  # noqa: E731
    image = ct((*PARTS[:-1], (cradle, 100.0)))
    body = sitk.GetArrayFromImage(find_obstacles(image).mask("body", image)) > 0
    under = intersection(cradle, lambda p: np.abs(p[:, 0]) - 60)
    assert body[sitk.GetArrayFromImage(mask_of(under, image)) > 0].mean() < 0.02


def test_air_between_arm_and_chest_is_outside_though_they_touch_in_some_slices():
    """The arm touches the chest above; below, a gap of outer air lies between them."""
    arm = lambda p: np.maximum(np.hypot(p[:, 0] + 145, p[:, 1]) - 22.0, -p[:, 2] - 200)  # noqa: E731
    bridge = lambda p: np.maximum(  # noqa: E731
        np.maximum(np.abs(p[:, 0] + 120) - 18, np.abs(np.abs(p[:, 1]) - 18) - 5), -p[:, 2] + 30
    )
    image = ct((*PARTS, (arm, 40.0), (bridge, 40.0)))
    found = find_obstacles(image)
    gas = found.grid.points(found.gas)
    assert np.all(np.linalg.norm(gas - [25, 40, -45], axis=1) < 16)


def test_the_digital_patient(small_patient):
    for image in (small_patient.arterial, small_patient.portal):
        found = find_obstacles(image)
        for name, least in (("body", 0.99), ("lung", 0.98), ("bone", 0.86)):
            exact = sitk.GetArrayFromImage(small_patient.masks[name]) > 0
            mask = sitk.GetArrayFromImage(found.mask(name, image)) > 0
            assert 2 * (mask & exact).sum() / (mask.sum() + exact.sum()) > least, name
        bone = sitk.GetArrayFromImage(found.mask("bone", image)) > 0
        for organ in ("aorta", "heart", "kidneys", "vessels", "spleen", "liver", "colon"):
            assert bone[sitk.GetArrayFromImage(small_patient.masks[organ]) > 0].mean() < 0.02, organ


def test_the_same_anatomy_whichever_way_the_image_is_stored():
    image = ct(spacing=(2.0, 2.0, 4.0))
    plain = find_obstacles(image)
    turned = find_obstacles(sitk.PermuteAxes(sitk.Flip(image, [True, False, True]), [2, 0, 1]))
    for name in ("body", "lung", "gas", "bone", "dense", "table"):
        assert np.array_equal(getattr(plain, name), getattr(turned, name)), name


def test_what_is_no_ct_is_refused_and_so_is_an_unknown_part():
    with pytest.raises(InputError, match=r"the map needs a CT in HU with the skin in it: 100.0 %"):
        find_obstacles(sitk.Image(20, 20, 20, sitk.sitkInt16), purpose="the map")
    with pytest.raises(ImageReadError, match="2D"):
        find_obstacles(sitk.Image(20, 20, sitk.sitkInt16))
    image = ct([(BODY, 40.0)], (5.0, 5.0, 5.0))
    with pytest.raises(InputError, match="'gall' is no part of the anatomy found; there are body, lung, gas, bone"):
        find_obstacles(image).mask("gall", image)
