"""Paths and entries in an analytic trunk: known free ways, lengths and angles, and an independent ray caster."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NETAblationLib.core import access
from NETAblationLib.core.access_rules import CLEARANCES, LIMITS, SOFT_RULES, clearance_mm
from NETAblationLib.core.entries import BLOCKED_VALUE, OFF_VALUE, rate_entries
from NETAblationLib.core.errors import ComputationError, GeometryError, InputError
from NETAblationLib.core.lobes import Lobes
from NETAblationLib.core.path_checks import BLOCKED, FREE, TIGHT, Verdict, check_path, measure_paths
from NETAblationLib.core.skin import Place
from NETAblationLib.core.structures import catalogue
from support.shapes import Level, difference, ellipsoid, grid, mask_of, sphere, union, voxel_centers

#: A trunk along S with rings of rib, the liver a ball in it, the lesion in its middle, and a stomach beside it.
RADIUS, LOW, HIGH = 60.0, (-70.0, -70.0, -60.0), (70.0, 70.0, 60.0)
RIB_Z, RIB_HALF, RIB_IN, RIB_OUT = (-27.0, 0.0, 27.0), 3.0, 48.0, 54.0
CENTER, LIVER_RADIUS, TUMOR_RADIUS = np.array([8.0, 4.0, 13.5]), 38.0, 7.0
STOMACH_CENTER, STOMACH_RADIUS = (-32.0, 22.0, 12.0), 9.0
LONGEST = 140.0


def trunk(points):
    return np.hypot(points[:, 0], points[:, 1]) - RADIUS


def ribs(points):
    """Signed distance to rings, exact in front of their faces and beside their edges."""
    around = np.hypot(points[:, 0], points[:, 1])
    radial = np.maximum(RIB_IN - around, around - RIB_OUT)
    axial = np.min([np.abs(points[:, 2] - z) for z in RIB_Z], axis=0) - RIB_HALF
    outside = np.hypot(np.maximum(radial, 0), np.maximum(axial, 0))
    return np.where((radial < 0) & (axial < 0), np.maximum(radial, axial), outside)


LIVER, TUMOR = sphere(CENTER, LIVER_RADIUS), sphere(CENTER, TUMOR_RADIUS)
STOMACH = sphere(STOMACH_CENTER, STOMACH_RADIUS)
TABLE: Level = lambda p: np.maximum(np.abs(p[:, 1] + 66.0) - 3.0, np.abs(p[:, 0]) - 45.0)  # noqa: E731


def ct(spacing, parts):
    image = grid(LOW, HIGH, spacing)
    centers = voxel_centers(image)
    hu = np.full(len(centers), -1000.0)
    for level, value in parts:
        hu[level(centers) < 0] = value
    made = sitk.GetImageFromArray(hu.reshape(image.GetSize()[::-1]).astype(np.int16))
    made.CopyInformation(image)
    return made


@functools.cache
def inputs(spacing=(2.0, 2.0, 2.0), with_ribs=True, with_table=True):
    parts = [(trunk, 40.0)] + ([(ribs, 700.0)] if with_ribs else []) + ([(TABLE, 90.0)] if with_table else [])
    fine = grid((-48, -48, -40), (52, 52, 60), (1.5, 1.5, 1.5))
    return ct(spacing, parts), mask_of(LIVER, fine), mask_of(TUMOR, fine), mask_of(STOMACH, fine)


@functools.cache
def surroundings(spacing=(2.0, 2.0, 2.0), with_ribs=True, with_table=True):
    image, liver, tumor, stomach = inputs(spacing, with_ribs, with_table)
    return access.survey(image, liver, tumor, {"stomach": stomach})


@functools.cache
def rating(**options):
    return rate_entries(surroundings(**options), CENTER, longest_mm=LONGEST)


def on_skin(azimuth_degrees, height):
    angle = np.radians(azimuth_degrees)
    return np.array([RADIUS * np.cos(angle), RADIUS * np.sin(angle), height])


def level_entry(azimuth_degrees, tip=CENTER):
    """The point of the skin from which a path in the axial plane reaches the tip at this azimuth."""
    way = np.array([np.cos(np.radians(azimuth_degrees)), np.sin(np.radians(azimuth_degrees)), 0.0])
    b, c = tip @ way, tip[0] ** 2 + tip[1] ** 2 - RADIUS**2
    return tip + (-b + np.sqrt(b * b - c)) * way


def cast(entry, tip, keep_mm=0.0):
    """An independent look along a path: the room to ribs and stomach beyond their clearances, at every 0.25 mm."""
    length = np.linalg.norm(tip - entry)
    line = tip + np.arange(0.0, length - keep_mm, 0.25)[:, None] * (entry - tip) / length
    to_rib = ribs(line).min() - CLEARANCES["bone"].number
    to_stomach = STOMACH(line).min() - CLEARANCES["stomach"].number
    return to_rib, to_stomach


# --- one path -----------------------------------------------------------------------------


@pytest.mark.parametrize("azimuth", [0.0, 30.0, 75.0, 200.0])
def test_a_free_path_has_its_known_length_and_angles(azimuth):
    """Between two ribs, in the axial plane, through the middle of a ball: at right angles to its capsule."""
    entry = level_entry(azimuth)
    check = check_path(surroundings(), entry, CENTER, longest_mm=LONGEST)
    assert check.is_free
    assert check.grade == FREE
    assert check.reasons == ()
    assert check.length_mm == pytest.approx(np.linalg.norm(entry - CENTER), abs=1.5)
    assert check.axial_angle_degrees == pytest.approx(0.0, abs=1e-6)
    assert check.capsule_angle_degrees == pytest.approx(90.0, abs=6.0)
    assert check.liver_before_lesion_mm == pytest.approx(LIVER_RADIUS - TUMOR_RADIUS, abs=2.0)
    assert check.nearest == access.BONE
    # Halfway between two ribs.
    assert check.room_mm == pytest.approx(13.5 - RIB_HALF - 2.0, abs=1.5)
    assert check.soft["axial_angle"] == 1.0
    assert check.soft["length"] == pytest.approx(1 - check.length_mm / LONGEST)
    assert set(check.soft) == set(check.explanations) == set(SOFT_RULES)
    assert check.score == pytest.approx(sum(SOFT_RULES[n].number * v for n, v in check.soft.items()))


@pytest.mark.parametrize("offset", [10.0, 20.0, 30.0])
def test_the_angle_to_the_capsule_of_a_ball(offset):
    """A path that passes the middle at a distance meets the ball at the arc cosine of that over the radius."""
    tip = CENTER + np.array([0.0, offset, 0.0])
    check = check_path(surroundings(with_ribs=False), level_entry(0.0, tip), tip, longest_mm=LONGEST)
    assert check.capsule_angle_degrees == pytest.approx(np.degrees(np.arccos(offset / LIVER_RADIUS)), abs=5.0)


def test_a_steep_path_has_its_angle_to_the_axial_plane():
    entry = CENTER + 40.0 * np.array([np.cos(np.radians(40)), 0.0, np.sin(np.radians(40))])
    check = check_path(surroundings(with_ribs=False), entry, CENTER, longest_mm=LONGEST)
    assert check.axial_angle_degrees == pytest.approx(40.0, abs=1e-6)
    assert check.soft["axial_angle"] == pytest.approx(1 - 40 / 90)


def test_a_locked_probe_through_bone_is_told_so():
    entry = on_skin(0.0, 0.0)
    check = check_path(surroundings(), entry, CENTER + np.array([0, 0, -13.5]), longest_mm=LONGEST)
    assert not check.is_free
    assert check.grade == BLOCKED
    assert check.reasons == (f"through {access.BONE}",)
    assert check.room_mm <= -CLEARANCES["bone"].number
    assert check.score == 0.0


def test_every_structure_in_the_way_is_named_with_its_distance():
    way = np.subtract(STOMACH_CENTER, CENTER) + np.array([0, 0, 14.5])
    entry = CENTER + way * 1.62
    check = check_path(surroundings(), entry, CENTER, longest_mm=LONGEST)
    to_rib, to_stomach = cast(entry, CENTER)
    assert -2.0 < to_rib < -1.0 or to_rib < 0
    assert any(reason.startswith((f"{access.BONE}:", f"through {access.BONE}")) for reason in check.reasons)
    assert any("stomach" in reason for reason in check.reasons) == (to_stomach < 0)


def test_a_path_close_to_its_clearance_is_tight():
    height = RIB_HALF + CLEARANCES["bone"].number + 1.6
    tip = np.array([*CENTER[:2], height])
    check = check_path(surroundings(), level_entry(0.0, tip), tip, longest_mm=LONGEST)
    assert check.is_free
    assert check.grade == TIGHT
    assert "more than its clearance" in check.reasons[0]


def test_where_a_path_enters_is_judged():
    around = surroundings()
    back = check_path(around, level_entry(270.0), CENTER, longest_mm=LONGEST)
    assert any("table side" in reason for reason in back.reasons)
    deep = check_path(around, CENTER + np.array([20.0, 0, 0]), CENTER, longest_mm=LONGEST)
    assert any("beneath the skin" in reason for reason in deep.reasons)
    away = check_path(around, CENTER + np.array([120.0, 0, 0]), CENTER, longest_mm=LONGEST)
    assert away.is_free
    assert away.length_mm == pytest.approx(np.linalg.norm(level_entry(0.0) - CENTER), abs=1.5)
    up = check_path(around, CENTER + np.array([0, 0, 40.0]), CENTER, longest_mm=LONGEST)
    assert any("within the image" in reason for reason in up.reasons)
    long = check_path(around, level_entry(0.0), CENTER, longest_mm=40.0)
    assert any("longer than the 40 mm" in reason for reason in long.reasons)
    outside = check_path(around, level_entry(0.0), [-45.0, 4.0, 13.5], longest_mm=LONGEST)
    assert any("outside of the liver" in reason for reason in outside.reasons)


def test_a_table_that_is_not_seen_is_beneath_the_back():
    around = surroundings(with_table=False)
    assert not around.skin.is_table_seen
    for azimuth, is_free in ((270.0, False), (300.0, False), (340.0, True), (90.0, True)):
        assert check_path(around, level_entry(azimuth), CENTER, longest_mm=LONGEST).is_free == is_free


def test_a_path_needs_a_direction_and_sound_points():
    with pytest.raises(GeometryError, match="needs a direction"):
        check_path(surroundings(), CENTER, CENTER, longest_mm=LONGEST)
    with pytest.raises(GeometryError, match="finite"):
        check_path(surroundings(), [np.nan, 0, 0], CENTER, longest_mm=LONGEST)


def test_the_document_of_a_check_holds_everything():
    document = check_path(surroundings(), level_entry(0.0), CENTER, longest_mm=LONGEST).to_dict()
    assert {"is_free", "grade", "reasons", "nearest", "room_mm", "length_mm", "soft", "score"} <= set(document)


# --- an independent ray caster ------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 1.5, 3.0)])
def test_random_paths_against_a_ray_caster(spacing):
    around, rng = surroundings(spacing), np.random.default_rng(7)
    slack = 0.75 * max(spacing) + 0.7  # a voxel's edge, and a node's
    wrong, free, blocked = [], 0, 0
    for _ in range(400):
        tip = CENTER + rng.uniform(-18, 18, 3)
        entry = on_skin(rng.uniform(-35, 215), float(np.clip(tip[2] + rng.normal(0, 25), -52, 52)))
        check = check_path(around, entry, tip, longest_mm=LONGEST)
        room = min(cast(entry, tip))
        if room > slack:
            free += 1
            named = [reason for reason in check.reasons if access.BONE in reason or "stomach" in reason]
            wrong += [(entry, tip)] if named and check.grade == BLOCKED else []
        elif room < -slack:
            blocked += 1
            wrong += [(entry, tip)] if check.is_free else []
    assert wrong == []
    assert min(free, blocked) > 60


def test_fast_look_ups_are_what_the_fields_say():
    around = surroundings()
    upper = around.lower_ras_mm + around.spacing_mm * (np.array(around.body.shape[::-1]) - 1)
    points = np.random.default_rng(3).uniform(around.lower_ras_mm, upper, (20_000, 3))
    nodes = around.nodes(points)
    beyond = np.concatenate([points, 1.3 * points])
    for found, field in zip(
        around.are_in(beyond, around.nodes(beyond)), (around.body, around.liver, around.tumor), strict=True
    ):
        assert np.array_equal(found, around.sample(field, beyond, 0.0) >= 0.5)
    assert np.array_equal(around.is_clear(points, nodes), around.sample(around.room_mm, points, -1.0) > 0)
    lines, counts = points.reshape(200, 100, 3), np.ones((200, 100), bool)
    least, _ = around.least_room_mm(lines, nodes.reshape(200, 100), counts)
    assert least == pytest.approx(around.sample(around.room_mm, lines, access.FAR_MM).min(axis=1))


# --- the rules ----------------------------------------------------------------------------


def test_less_liver_than_asked_for_before_the_lesion_is_a_direct_puncture():
    """A lesion 3 mm beneath the capsule on the right: not from there, but across the liver."""
    image, liver, _, _ = inputs()
    place = CENTER + np.array([LIVER_RADIUS - TUMOR_RADIUS - 3.0, 0.0, 0.0])
    tumor = mask_of(sphere(place, TUMOR_RADIUS), liver)
    around = access.survey(image, liver, tumor, {})
    direct = check_path(around, level_entry(0.0, place), place, longest_mm=LONGEST)
    assert any("direct puncture" in reason for reason in direct.reasons)
    assert direct.liver_before_lesion_mm == pytest.approx(3.0, abs=1.5)
    assert check_path(around, level_entry(90.0, place), place, longest_mm=LONGEST).is_free
    across = np.array([-1.0, 0.0, 0.0])
    for surveyed, is_free in ((around, False), (dataclasses.replace(around, least_liver_mm=0.0), True)):
        ways = access.follow(surveyed, place[None], across, np.array([0.0]), LONGEST)
        assert ways.is_free[0, 0] == is_free
        # A line beside the lesion does not meet it.
        ways = access.follow(surveyed, place[None] - np.array([12.0, 14.0, 0.0]), across, np.array([0.0]), LONGEST)
        assert ways.is_free[0, 0]


def test_no_way_enters_a_no_go_area_and_others_do():
    image, liver, tumor, _ = inputs()
    area = mask_of(sphere(level_entry(30.0), 12.0), grid((20, 0, -10), (70, 60, 40), (1.5, 1.5, 1.5)))
    around = access.survey(image, liver, tumor, {}, no_go={"drain": area})
    check = check_path(around, level_entry(30.0), CENTER, longest_mm=LONGEST)
    assert check.reasons == ("enters in the no-go area 'drain'",)
    for azimuth, is_free in ((30.0, False), (60.0, True)):
        inward = CENTER - level_entry(azimuth)
        ways = access.follow(around, CENTER[None], inward / np.linalg.norm(inward), np.array([0.0]), LONGEST)
        assert ways.is_free[0, 0] == is_free
    rated = rate_entries(around, CENTER, longest_mm=LONGEST)
    points = around.skin.surface.points_ras_mm
    away = np.linalg.norm(points - level_entry(30.0), axis=1)
    assert np.all(rated.verdict[away < 10.0] == Verdict.NO_GO)
    assert not np.any(rated.verdict[away > 18.0] == Verdict.NO_GO)
    assert rated.counts["no-go area 'drain'"] == (rated.verdict == Verdict.NO_GO).sum()


def test_fissures_and_borders_of_lobes_are_counted():
    """A slot of 6 mm in the liver on the way from the right; from the front there is none."""
    image, liver, tumor, _ = inputs()
    slot: Level = lambda p: np.maximum(np.abs(p[:, 0] - CENTER[0] - 20.0) - 3.0, np.abs(p[:, 1] - CENTER[1]) - 14.0)  # noqa: E731
    cut = mask_of(difference(LIVER, slot), liver)
    centers = voxel_centers(cut)
    labels = np.where(LIVER(centers) < 0, np.where(centers[:, 1] > CENTER[1] + 12.0, 2, 1), 0)
    lobe_mask = sitk.GetImageFromArray(labels.reshape(cut.GetSize()[::-1]).astype(np.uint8))
    lobe_mask.CopyInformation(cut)
    around = access.survey(image, cut, tumor, {}, lobes=Lobes.of_mask(lobe_mask))
    entries = np.array([level_entry(0.0), level_entry(90.0), level_entry(180.0)])
    paths = measure_paths(around, entries, np.repeat(CENTER[None], 3, axis=0), longest_mm=LONGEST)
    assert paths.fissures.tolist() == [1, 0, 0]
    assert paths.lobe_borders.tolist() == [0, 1, 0]
    assert paths.soft(LONGEST, 5.0)["fissures"].tolist() == [0.5, 0.5, 1.0]
    assert paths.liver_before_mm[0] == pytest.approx(LIVER_RADIUS - TUMOR_RADIUS - 6.0, abs=2.0)


def test_every_obstacle_of_the_catalogue_has_a_distance_and_every_number_a_source():
    roles = {structure.role for structure in catalogue().structures if structure.is_obstacle}
    assert roles <= set(CLEARANCES)
    assert clearance_mm("rib_left_7") == CLEARANCES["bone"].number
    assert clearance_mm("Colon") == CLEARANCES["bowel"].number
    assert clearance_mm("something else") == CLEARANCES["unknown"].number
    for rule in (*CLEARANCES.values(), *LIMITS.values(), *SOFT_RULES.values()):
        assert rule.source
        assert rule.number >= 0
    assert sum(rule.number for rule in SOFT_RULES.values()) == pytest.approx(1.0)


# --- the whole skin -----------------------------------------------------------------------


def test_the_skin_is_rated_as_its_points_are_one_by_one():
    rated, around = rating(), surroundings()
    points = around.skin.surface.points_ras_mm
    chosen = np.random.default_rng(5).choice(len(points), 400, replace=False)
    tips = np.repeat(CENTER[None], len(chosen), axis=0)
    paths = measure_paths(around, points[chosen], tips, longest_mm=LONGEST, skin_points=chosen)
    assert np.array_equal(rated.verdict[chosen], paths.verdict)
    assert rated.score[chosen] == pytest.approx(paths.score(LONGEST, around.least_liver_mm))
    assert rated.length_mm == pytest.approx(np.linalg.norm(points - CENTER, axis=1))
    assert np.all((rated.score >= 0) & (rated.score <= 1))
    assert np.all(rated.score[~rated.is_free] == 0)
    assert sum(rated.counts.values()) + rated.is_free.sum() == len(points)


def test_the_free_part_of_the_skin_is_that_of_a_ray_caster():
    rated, points = rating(), surroundings().skin.surface.points_ras_mm
    counted = {True: 0, False: 0}
    reachable = np.isin(rated.verdict, [Verdict.FREE, Verdict.OBSTACLE])
    for point in np.random.default_rng(11).choice(np.flatnonzero(reachable), 600, replace=False):
        room = min(cast(points[point], CENTER))
        if abs(room) > 2.2:
            counted[room > 0] += 1
            assert rated.is_free[point] == (room > 0), (points[point], room)
            if room < 0:
                to_rib, to_stomach = cast(points[point], CENTER)
                expected = access.BONE if to_rib < to_stomach else "stomach"
                if abs(to_rib - to_stomach) > 3.0:
                    assert rated.reason(point) == expected
    assert min(counted.values()) > 40


def test_the_best_entries_differ_and_the_first_is_the_best_of_all():
    rated = rating()
    entries = rated.best(6)
    assert len(entries) == 6
    assert entries[0].score == pytest.approx(rated.score.max())
    assert [entry.score for entry in entries] == sorted((entry.score for entry in entries), reverse=True)
    outward = np.array([entry.entry_ras_mm for entry in entries]) - CENTER
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    cosines = outward @ outward.T - 2 * np.eye(6)
    assert cosines.max() <= np.cos(np.radians(15.0)) + 1e-9
    for entry in entries:
        check = check_path(surroundings(), entry.entry_ras_mm, entry.target_ras_mm, longest_mm=LONGEST)
        assert check.is_free
        assert check.score == pytest.approx(entry.score, abs=0.03)
    # The shortest way is to the front right, where the trunk's wall is nearest, between two ribs.
    best = np.array(entries[0].entry_ras_mm)
    assert abs(best[2] - CENTER[2]) < 8.0
    assert rated.best(3, apart_degrees=60.0)[1].score <= entries[1].score


def test_a_tip_beyond_the_target_lengthens_the_path():
    around = surroundings()
    rated = rate_entries(around, CENTER, longest_mm=LONGEST, beyond_mm=6.0)
    entry = rated.best(1)[0]
    tip, start = np.array(entry.target_ras_mm), np.array(entry.entry_ras_mm)
    assert np.linalg.norm(tip - CENTER) == pytest.approx(6.0)
    assert entry.length_mm == pytest.approx(np.linalg.norm(start - CENTER) + 6.0)


def test_what_is_longer_than_the_probe_is_no_entry():
    rated = rate_entries(surroundings(), CENTER, longest_mm=58.0)
    assert rated.is_free.any()
    assert rated.length_mm[rated.is_free].max() <= 58.0
    places = surroundings().skin.places
    too_long = (rated.length_mm > 58.0) & (places == Place.FREE)
    assert np.all(rated.verdict[too_long] == Verdict.TOO_LONG)


def test_the_colored_skin_is_read_back_with_its_numbers(tmp_path):
    rated = rating()
    rated.save_surface(tmp_path / "skin.vtp")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "skin.vtp"))
    reader.Update()
    data = reader.GetOutput()
    arrays = {
        data.GetPointData().GetArrayName(n): vtk_to_numpy(data.GetPointData().GetArray(n))
        for n in range(data.GetPointData().GetNumberOfArrays())
    }
    assert vtk_to_numpy(data.GetPoints().GetData()) == pytest.approx(rated.surface.points_ras_mm, abs=1e-3)
    score = arrays["Entry score"]
    assert score[rated.is_free] == pytest.approx(rated.score[rated.is_free], abs=1e-6)
    assert np.array_equal(arrays["Verdict"], rated.verdict)
    assert np.all(score[rated.verdict == Verdict.OBSTACLE] == np.float32(BLOCKED_VALUE))
    assert np.all(score[rated.verdict == Verdict.TABLE_SIDE] == np.float32(OFF_VALUE))
    # Free skin is greener than red, blocked skin redder than green.
    red, green = arrays["Color"][:, 0].astype(int), arrays["Color"][:, 1].astype(int)
    assert np.all(red[rated.verdict == Verdict.OBSTACLE] > 2 * green[rated.verdict == Verdict.OBSTACLE])
    assert np.all(green[rated.score > 0.5] > red[rated.score > 0.5])


# --- invariances --------------------------------------------------------------------------


@pytest.mark.parametrize("axis", range(3))
def test_the_same_rating_whichever_way_the_images_are_stored(axis):
    image, liver, tumor, stomach = (sitk.Flip(part, [n == axis for n in range(3)]) for part in inputs())
    around = access.survey(image, liver, tumor, {"stomach": stomach})
    flipped = rate_entries(around, CENTER, longest_mm=LONGEST)
    assert np.array_equal(flipped.verdict, rating().verdict)
    assert flipped.score == pytest.approx(rating().score)


def test_the_same_rating_at_another_place():
    moved = []
    shift = np.array([31.0, -47.0, 113.0])
    for part in inputs():
        copy = sitk.Image(part)
        copy.SetOrigin((np.array(part.GetOrigin()) + shift * (-1, -1, 1)).tolist())
        moved.append(copy)
    around = access.survey(*moved[:3], {"stomach": moved[3]})
    there = rate_entries(around, CENTER + shift, longest_mm=LONGEST)
    assert (there.verdict == rating().verdict).mean() > 0.999
    assert there.best(1)[0].score == pytest.approx(rating().best(1)[0].score, abs=1e-3)


def test_much_the_same_rating_from_other_voxels():
    coarse = rating(spacing=(1.5, 1.5, 3.0))
    assert coarse.best(1)[0].score == pytest.approx(rating().best(1)[0].score, abs=0.03)
    shares = [rated.is_free.mean() for rated in (coarse, rating())]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


def test_a_survey_within_reach_gives_the_same_entries():
    image, liver, tumor, stomach = inputs()
    near = rate_entries(
        access.survey(image, liver, tumor, {"stomach": stomach}, reach_mm=LONGEST), CENTER, longest_mm=LONGEST
    )
    assert near.best(3) == rating().best(3)


# --- bad input ----------------------------------------------------------------------------


def test_bad_input_is_refused_by_name():
    image, liver, tumor, stomach = inputs()
    outside = mask_of(sphere((-50, 0, 0), 4.0), grid((-60, -10, -10), (-40, 10, 10), (1.0,) * 3))
    with pytest.raises(GeometryError, match="tumor: lies outside the liver"):
        access.survey(image, liver, outside, {})
    with pytest.raises(InputError, match=r"obstacle 'cyst': contains 100 % of the tumor"):
        access.survey(image, liver, tumor, {"cyst": mask_of(sphere(CENTER, 12.0), liver)})
    with pytest.raises(InputError, match="this name is taken"):
        access.survey(image, liver, tumor, {access.LUNG: stomach})
    with pytest.raises(GeometryError, match="no-go area 'inner': lies away from the skin"):
        access.survey(image, liver, tumor, {}, no_go={"inner": tumor})
    beside = sitk.Image(stomach)
    beside.SetOrigin([900.0, 0.0, 0.0])
    with pytest.raises(GeometryError, match="stomach: lies beside the planning image"):
        access.survey(image, liver, tumor, {"stomach": beside})
    around = surroundings()
    with pytest.raises(GeometryError, match="outside of the liver"):
        rate_entries(around, (-50.0, 0.0, 0.0), longest_mm=LONGEST)
    for longest, beyond in ((0.0, 0.0), (np.nan, 0.0), (50.0, 50.0), (50.0, -1.0)):
        with pytest.raises(InputError):
            rate_entries(around, CENTER, longest_mm=longest, beyond_mm=beyond)


def test_no_path_at_all_is_explained_by_what_stands_in_the_way():
    image, liver, tumor, _ = inputs()
    shell = difference(sphere(CENTER, 30.0), sphere(CENTER, 24.0))
    around = access.survey(image, liver, tumor, {"cyst wall": mask_of(shell, liver)})
    rated = rate_entries(around, CENTER, longest_mm=LONGEST)
    assert not rated.is_free.any()
    assert rated.best(3) == ()
    assert "cyst wall" in rated.counts
    error = access.explain_blocked(around, CENTER, LONGEST)
    assert isinstance(error, ComputationError)
    assert "cyst wall (100 % of the directions)" in str(error)
    assert "the table side of the skin" in str(error)


def test_an_obstacle_of_two_parts_and_one_far_away_are_both_known():
    image, liver, tumor, _ = inputs()
    parts = union(sphere((45, 0, 13), 4.0), ellipsoid((-45, 0, 13), (3.0, 3.0, 3.0)))
    around = access.survey(image, liver, tumor, {"drains": mask_of(parts, grid(LOW, HIGH, (1.5,) * 3))})
    for azimuth in (0.0, 183.0):
        check = check_path(around, level_entry(azimuth), CENTER, longest_mm=LONGEST)
        assert any("drains" in reason for reason in check.reasons)
