"""Ways from the skin against analytic bodies: where they enter, what blocks them, what is no way at all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import access
from NETAblationLib.core.errors import ComputationError, InputError
from NETAblationLib.core.skin import Place
from support.shapes import ellipsoid, grid, half_space, intersection, mask_of, rotation, sphere, union, voxel_centers

LOW, HIGH = (-68.0, -58.0, -36.0), (68.0, 58.0, 36.0)
BODY, LIVER = ellipsoid((0, 0, 0), (60.0, 50.0, 70.0)), ellipsoid((8, 0, 0), (36.0, 34.0, 30.0))
NOTHING = {}
FLIPPED = np.diag([-1.0, 1.0, -1.0])
OBLIQUE = rotation((0.2, -0.1, 1.0), 20.0)


def ct(parts, spacing=(2.0, 2.0, 2.0), direction=None, low=LOW, high=HIGH):
    """A CT of air at -1000 HU with parts (level, HU) laid over each other."""
    image = grid(low, high, spacing, direction)
    centers = voxel_centers(image)
    hu = np.full(len(centers), -1000.0)
    for level, value in parts:
        hu[level(centers) < 0] = value
    made = sitk.GetImageFromArray(hu.reshape(image.GetSize()[::-1]).astype(np.int16))
    made.CopyInformation(image)
    return made


def surveyed(parts=(), obstacles=None, spacing=(2.0, 2.0, 2.0), direction=None):
    """The surroundings in a body with a liver, with further parts and obstacles (level by name, 1 mm masks)."""
    image = ct([(BODY, 40.0), *parts], spacing, direction)
    liver = mask_of(LIVER, image)
    tumor = mask_of(sphere((8, 0, 0), 5.0), image)
    masks = {
        name: mask_of(level, grid((-40, -42, -20), (40, 42, 20), (1.0,) * 3))
        for name, level in (obstacles or {}).items()
    }
    return from_all_sides(access.survey(image, liver, tumor, masks))


def from_all_sides(surroundings):
    """The surroundings of a patient who lies on nothing: the table's side may be entered, too."""
    skin = surroundings.skin
    places = np.where(skin.places == Place.TABLE_SIDE, np.uint8(Place.FREE), skin.places)
    return dataclasses.replace(surroundings, skin=dataclasses.replace(skin, places=places))


def free(surroundings, base, direction, tips=(0.0,), longest_mm=150.0):
    """Which tips are free, (T,), and how far behind the base point the skin is."""
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    ways = access.follow(surroundings, np.array([base], float), direction, np.array(tips, float), longest_mm)
    return ways.is_free[0], float(ways.entry_mm[0])


def skin_mm(base, direction):
    """Exact distance from points (N, 3) back to the surface of the body."""
    semi = np.array([60.0, 50.0, 70.0])
    x, d = np.asarray(base) / semi, np.asarray(direction) / semi
    a, b, c = d @ d, -(x @ d), (x * x).sum(axis=-1) - 1
    return (-b + np.sqrt(b * b - a * c)) / a


def nodes(surroundings, mask):
    """RAS of the nodes of a mask (K, J, I)."""
    return surroundings.lower_ras_mm + surroundings.spacing_mm * np.argwhere(mask)[:, ::-1]


def test_directions_are_unit_vectors_spread_evenly():
    directions = access.directions(500)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1.0)
    assert directions.mean(axis=0) == pytest.approx(0.0, abs=0.005)
    assert directions.T @ directions / 500 == pytest.approx(np.eye(3) / 3, abs=0.005)
    # No point of the sphere is farther from a direction than twice the radius of its share of the sphere.
    probes = np.random.default_rng(0).normal(size=(3000, 3))
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    assert np.arccos((probes @ directions.T).max(axis=1)).max() < 2 * np.sqrt(4 / 500)


@pytest.mark.parametrize("direction", [None, FLIPPED, OBLIQUE])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 1.5, 4.0)])
def test_the_skin_is_where_the_body_ends(spacing, direction):
    surroundings = surveyed(spacing=spacing, direction=direction)
    bases = np.random.default_rng(1).uniform(-15, 15, (8, 3))
    errors = []
    for line in access.directions(60):
        if abs(line[2]) > 0.35:
            continue  # would leave through an end of the image
        ways = access.follow(surroundings, bases, line, np.array([0.0]), 150.0)
        assert ways.is_free.all()
        errors.append(ways.entry_mm - skin_mm(bases, line))
    errors = np.concatenate(errors)
    assert np.abs(errors).max() < 0.75 * max(spacing) + 1.0
    assert abs(errors.mean()) < 0.7


def test_lines_of_several_directions_fare_as_each_does_alone():
    around = surveyed(obstacles={"vessels": sphere((-20, 12, 4), 9.0)})
    rng = np.random.default_rng(4)
    bases, tips = rng.uniform(-15, 15, (15, 3)), np.array([-3.0, 0.0, 6.0])
    directions = rng.normal(size=(15, 3)) * [1, 1, 0.3]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    together = access.follow(around, bases, directions, tips, 150.0)
    assert 0 < together.is_free.sum() < together.is_free.size
    for number, (base, direction) in enumerate(zip(bases, directions, strict=True)):
        alone = access.follow(around, base[None], direction, tips, 150.0)
        assert together.is_free[number].tolist() == alone.is_free[0].tolist()
        assert together.entry_mm[number] == pytest.approx(alone.entry_mm[0], abs=0, nan_ok=True)


def test_no_way_leads_through_an_end_of_the_image():
    surroundings = surveyed()
    is_free, entry = free(surroundings, (8, 0, 0), (0, 0, 1))
    assert not is_free.any()
    assert np.isnan(entry)
    assert free(surroundings, (8, 0, 0), (0, 1, 0))[0].all()


def test_no_way_leads_through_what_the_scanner_has_not_measured():
    """Outside of a round field of view the voxels are padded with -2000 or -3024 HU: that is no air."""
    narrow = lambda p: 47.0 - np.hypot(p[:, 0], p[:, 1])  # noqa: E731
    for padding in (-2000.0, -3024.0):
        surroundings = surveyed([(narrow, padding)])
        assert not free(surroundings, (8, 0, 0), (-1, 0, 0))[0].any()
        assert not free(surroundings, (8, 0, 0), (0, 1, 0))[0].any()
    # A field of view in which the skin can be seen in front only.
    surroundings = surveyed([(lambda p: 55.0 - np.hypot(p[:, 0], p[:, 1]), -3024.0)])
    assert free(surroundings, (8, 0, 0), (0, -1, 0))[0].all()
    assert not free(surroundings, (8, 0, 0), (-1, 0, 0))[0].any()


@pytest.mark.parametrize("gap_mm", [-0.5, 2.5])
def test_the_table_is_no_part_of_the_body(gap_mm):
    """A plate behind the back: ways begin at the skin, or beneath the plate where that touches the skin."""
    table = lambda p: np.maximum(np.abs(p[:, 1] + 51.5 + gap_mm) - 1.5, np.abs(p[:, 0]) - 50.0)  # noqa: E731
    surroundings = surveyed([(table, 100.0)])
    body = nodes(surroundings, surroundings.body > 0.5)
    assert not np.any((table(body) < 0) & (np.abs(body[:, 0]) > 32.0))
    for x in (8.0, 28.0):
        _, entry = free(surroundings, (x, 0, 0), (0, 1, 0))
        touches = gap_mm < 0 and x == 8.0
        assert entry == pytest.approx(50.0 * np.sqrt(1 - (x / 60) ** 2), abs=4.5 if touches else 1.5)


@pytest.mark.parametrize("radius_mm", [5.0, 7.0, 9.0])
def test_a_lung_is_inside_of_the_body_and_blocks_however_thin_the_wall(radius_mm):
    lung = sphere((-40, 20, 5), radius_mm)  # its center lies 13 mm beneath the skin
    surroundings = surveyed([(lung, -850.0)])
    mask, clearance = surroundings.obstacles[access.AIR]
    assert clearance == access.CLEARANCE_MM
    assert mask.sum() * 8.0 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.15)
    assert np.all(lung(nodes(surroundings, mask)) < 1.5)
    inward = np.array([8.0, 0, 0]) - (-40, 20, 5)
    assert not free(surroundings, (8, 0, 0), inward)[0].any()
    assert free(surroundings, (8, 0, 0), inward * (1, -1, 1))[0].all()


@pytest.mark.parametrize("wall_mm", [2.5, 4.0])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.8, 0.8, 2.0)])
def test_a_large_lung_beneath_a_thin_wall_is_no_air_outside(wall_mm, spacing):
    """Walls of 2 mm and less are missed on these grids, as the survey says."""
    inner = ellipsoid((0, 0, 0), (60.0 - wall_mm, 50.0 - wall_mm, 70.0))
    lung = lambda p: np.max([inner(p), p[:, 0] + 25.0, np.abs(p[:, 2]) / 30.0 - 1.0], axis=0)  # noqa: E731
    surroundings = surveyed([(lung, -850.0)], spacing=spacing)
    found = surroundings.obstacles[access.LUNG][0]
    expected = np.sum(lung(nodes(surroundings, np.ones(found.shape))) < 0)
    assert found.sum() == pytest.approx(expected, rel=0.05)
    is_free, entry = free(surroundings, (8, 0, 0), (1, 0, 0))
    assert not is_free.any()
    assert entry == pytest.approx(68.0, abs=1.5)


def test_bone_blocks_but_not_contrast_in_the_liver_nor_noise():
    rib, vessel = sphere((8, -42, 0), 6.0), sphere((8, -20, 0), 4.0)
    speck = lambda p: np.abs(p - [8, 43, 0]).max(axis=1) - 1.5  # noqa: E731
    surroundings = surveyed([(rib, 600.0), (intersection(LIVER, vessel), 250.0), (speck, 900.0)])
    assert not surroundings.obstacles[access.DENSE][0].any()
    mask, clearance = surroundings.obstacles[access.BONE]
    assert clearance == access.DENSE_CLEARANCE_MM
    assert np.all(rib(nodes(surroundings, mask)) < 0)
    assert not free(surroundings, (8, 0, 0), (0, 1, 0))[0].any()
    assert free(surroundings, (8, 0, 0), (0, -1, 0))[0].all()
    beside = 6.0 + access.DENSE_CLEARANCE_MM
    assert free(surroundings, (8 + beside + 2, 0, 0), (0, 1, 0))[0].all()
    assert not free(surroundings, (8 + beside - 2, 0, 0), (0, 1, 0))[0].any()


@pytest.mark.parametrize("direction", [None, OBLIQUE])
def test_a_way_is_free_where_it_keeps_its_clearance_and_only_there(direction):
    """Re-measured along each line on the analytic shapes; between the two bounds lies a voxel's edge."""
    obstacle = union(sphere((-25, 18, 5), 8.0), sphere((20, -30, -8), 5.0), sphere((-20, -20, 12), 3.0))
    surroundings = surveyed(obstacles={"vessel": obstacle}, direction=direction)
    rng = np.random.default_rng(2)
    tips, back = np.arange(-16.0, 17.0, 4.0), np.arange(0.0, 130.0, 0.5)
    wrongly_free, wrongly_blocked, count = 0, 0, 0
    for line in access.directions(80):
        if abs(line[2]) > 0.35:
            continue
        bases = np.array([8.0, 0.0, 0.0]) + rng.uniform(-12, 12, (6, 3))
        ways = access.follow(surroundings, bases, line, tips, 80.0)
        for number, base in enumerate(bases):
            for is_free, tip in zip(ways.is_free[number], base + tips[:, None] * line, strict=True):
                length = skin_mm(tip, line)
                away = obstacle((tip - back[:, None] * line)[back < length]).min()
                in_liver = LIVER(tip[None])[0]  # a share of the way to the capsule, of about 33 mm
                safe = away >= access.CLEARANCE_MM - 0.8 and length <= 81.5 and in_liver < 0.06
                sure = away >= access.CLEARANCE_MM + 2.0 and length <= 77.5 and in_liver < -0.06
                count += 1
                wrongly_free += is_free and not safe
                wrongly_blocked += sure and not is_free
    assert (wrongly_free, wrongly_blocked) == (0, 0)
    assert count > 1000


def test_an_obstacle_of_one_voxel_is_not_lost_between_the_nodes():
    """A voxel as large as a node's, turned by 45 degrees about the middle between nodes, holds none of them."""
    place = np.array([1.0, -29.0, 1.0])
    mask = sitk.Image([3, 3, 3], sitk.sitkUInt8)
    mask[1, 1, 1] = 1
    mask.SetSpacing([2.0] * 3)
    turn = rotation((0, 0, 1), 45.0)
    mask.SetDirection(turn.ravel().tolist())
    mask.SetOrigin((place * (-1, -1, 1) - turn @ [2.0, 2.0, 2.0]).tolist())
    body = ct([(BODY, 40.0)])
    surroundings = access.survey(body, mask_of(LIVER, body), mask_of(sphere((8, 0, 0), 5.0), body), {"clip": mask})
    surroundings = from_all_sides(surroundings)
    assert not np.any(np.all(np.abs((nodes(surroundings, surroundings.body > 0) - place) @ turn) <= 1.0, axis=1))
    base = np.add(place, (0, 29, 0))
    assert not free(surroundings, base, (0, 1, 0))[0].any()
    assert free(surroundings, np.add(base, (8, 0, 0)), (0, 1, 0))[0].all()


def test_tips_are_free_up_to_the_length_of_the_shaft_and_in_the_liver_only():
    surroundings = surveyed()
    tips = np.arange(-40.0, 45.0, 4.0)
    is_free, entry = free(surroundings, (8, 0, 0), (0, 1, 0), tips, longest_mm=60.0)
    assert entry == pytest.approx(50 * np.sqrt(1 - (8 / 60) ** 2), abs=1.5)
    assert np.array_equal(is_free, (np.abs(tips) <= 34.0) & (tips + entry <= 60.0))
    everywhere = free(surroundings, (8, 0, 0), (0, 1, 0), tips)[0]
    assert np.array_equal(everywhere, np.abs(tips) <= 34.0)


def test_a_tumor_left_out_of_the_liver_mask_still_holds_a_tip():
    image = ct([(BODY, 40.0)])
    tumor = sphere((8, 0, 0), 12.0)
    liver = mask_of(lambda p: np.maximum(LIVER(p), -tumor(p)), image)
    surroundings = from_all_sides(access.survey(image, liver, mask_of(tumor, image), NOTHING))
    assert free(surroundings, (8, 0, 0), (0, 1, 0))[0].all()


def test_what_blocks_is_named_with_the_most_first():
    near, far = sphere((8, -30, 0), 9.0), sphere((8, 30, 0), 4.0)
    surroundings = surveyed(obstacles={"small": far, "large": near})
    error = access.explain_blocked(surroundings, np.array([8.0, 0, 0]), 90.0)
    assert isinstance(error, ComputationError)
    message = str(error)
    assert 0 < message.index("large") < message.index("small")
    assert "at most 90 mm" in message
    assert access.DENSE not in message
    # The share of the directions is that of the cone of the obstacle with its clearance.
    cone = 0.5 * (1 - np.sqrt(1 - ((9.0 + access.CLEARANCE_MM) / 30.0) ** 2))
    assert float(message.split("large (")[1].split(" %")[0]) == pytest.approx(100 * cone, abs=2.5)


def test_nothing_in_the_way_but_the_length_is_told_so():
    error = access.explain_blocked(surveyed(), np.array([8.0, 0, 0]), 30.0)
    assert "liver mask" in str(error)
    assert "longer device" in str(error)


@pytest.mark.parametrize("axis", range(3))
def test_the_same_ways_whichever_way_the_image_is_stored(axis):
    flip = [i == axis for i in range(3)]
    image = ct([(BODY, 40.0), (sphere((-20, 20, 10), 14.0), -850.0)])
    masks = [mask_of(level, image) for level in (LIVER, sphere((8, 0, 0), 5.0), sphere((20, -30, -8), 5.0))]
    plain = access.survey(image, masks[0], masks[1], {"vessel": masks[2]})
    stored = [sitk.Flip(part, flip) for part in (image, *masks)]
    flipped = access.survey(stored[0], stored[1], stored[2], {"vessel": stored[3]})
    assert np.array_equal(plain.room_mm, flipped.room_mm)
    assert np.array_equal(plain.body, flipped.body)
    assert np.array_equal(plain.liver, flipped.liver)
    assert plain.lower_ras_mm == pytest.approx(flipped.lower_ras_mm)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "0.0 % of this image"),
        ([(half_space((500, 0, 0), (1, 0, 0)), 40.0)], "100.0 % of this image"),
        ([(half_space((500, 0, 0), (1, 0, 0)), -2000.0)], "0.0 % of this image"),
    ],
)
def test_an_image_that_is_no_ct_of_a_body_is_refused(parts, message):
    image = ct(parts, (5.0,) * 3)
    liver = mask_of(LIVER, image)
    with pytest.raises(InputError, match=f"planning needs a CT in HU with the skin in it: {message}"):
        access.survey(image, liver, liver, NOTHING)
