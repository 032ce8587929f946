"""Plans re-measured independently: on analytic shapes and by voxel counting."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib.core import access, frames
from NETAblationLib.core.approach import Approach
from NETAblationLib.core.coverage import PlanMeasure
from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import (
    Cancelled,
    ComputationError,
    EmptyMaskError,
    FormatError,
    GeometryError,
    InputError,
)
from NETAblationLib.core.margins import MAX_MARGIN_MM
from NETAblationLib.core.path_checks import check_path
from NETAblationLib.core.planning import Request, plan_alternatives, plan_probes, prepared
from NETAblationLib.core.plans import Plan
from NETAblationLib.core.progress import silent
from NETAblationLib.core.surveys import Scan
from NETAblationLib.core.targets import Target
from support.shapes import (
    difference,
    ellipsoid,
    grid,
    intersection,
    mask_of,
    rotation,
    sphere,
    union,
    voxel_centers,
)

CATALOGUE = load_catalogue()
MWA, RFA = CATALOGUE["emprint-mwa"], CATALOGUE["cooled-rf-3cm"]

BODY_AXES = np.array([75.0, 60.0, 80.0])
BODY, LIVER = ellipsoid((0, 0, 0), BODY_AXES), ellipsoid((8, 0, 0), (52.0, 44.0, 40.0))
LOW, HIGH = (-85.0, -70.0, -46.0), (85.0, 70.0, 46.0)
CENTER = (10.3, 4.2, -1.7)
RIBS = intersection(
    difference(ellipsoid((0, 0, 0), 0.93 * BODY_AXES), ellipsoid((0, 0, 0), 0.85 * BODY_AXES)),
    lambda p: np.abs((p[:, 2] + 2.0) % 18.0 - 9.0) - 3.0,
)
OBSTACLES = {"gallbladder": sphere((-20, 30, -6), 8.0), "portal vein": sphere((34, -14, 2), 5.0)}

LESIONS = {
    "15 mm": sphere(CENTER, 7.5),
    "oblong": ellipsoid(CENTER, (15.0, 8.0, 9.0), rotation((0.3, 0.2, 1.0), 35.0)),
    "28 mm": sphere(CENTER, 14.0),
    "subcapsular": sphere((8.0, 34.0, 0.0), 8.0),  # 2 mm beneath the capsule
    "at the capsule": intersection(sphere((8.0, 38.0, 0.0), 8.0), LIVER),
}
PLACES = {"subcapsular": (8.0, 34.0, 0.0), "at the capsule": (8.0, 38.0, 0.0)}
"""Where lesions lie that are not at the center."""


def ct(spacing=(3.0, 3.0, 3.0), direction=None):
    """A trunk with ribs in air, in HU."""
    image = grid(LOW, HIGH, spacing, direction)
    centers = voxel_centers(image)
    hu = np.where(BODY(centers) < 0, 40.0, -1000.0)
    hu[RIBS(centers) < 0] = 700.0
    made = sitk.GetImageFromArray(hu.reshape(image.GetSize()[::-1]).astype(np.float32))
    made.CopyInformation(image)
    return made


def box(center, half_mm, spacing_mm, turn=None):
    """An empty cube of a grid about a point."""
    return grid(tuple(np.subtract(center, half_mm)), tuple(np.add(center, half_mm)), (spacing_mm,) * 3, turn)


@functools.cache
def inputs(lesion, obstacles=False, direction=None):
    """Image, tumor, liver and obstacles of a lesion; `direction` is (axis, degrees) of all grids."""
    turn = None if direction is None else rotation(*direction)
    tumor = mask_of(LESIONS[lesion], box(PLACES.get(lesion, CENTER), 17, 1.0, turn))
    liver = mask_of(LIVER, box((8, 0, 0), 53, 2.0, turn))
    masks = {}
    if obstacles:
        gallbladder, vein = OBSTACLES["gallbladder"], OBSTACLES["portal vein"]
        masks = {
            "gallbladder": mask_of(gallbladder, box((-20, 30, -6), 10, 1.25, turn)),
            "portal vein": mask_of(vein, box((34, -14, 2), 7, 1.25, turn)),
        }
    return ct(direction=turn), tumor, liver, masks


@functools.cache
def planned(lesion, device=MWA.id, margin_mm=5.0, obstacles=False, direction=None):
    """The plan for a lesion, made once for all tests."""
    image, tumor, liver, masks = inputs(lesion, obstacles, direction)
    return plan_probes(Scan(image, liver, masks), tumor, Request(CATALOGUE[device], margin_mm))


def plan(lesion="15 mm", device=MWA, *, tumor=None, progress=silent, **options):
    """A plan made anew, with some inputs replaced: `options` are those of a scan and of a request."""
    image, its_tumor, liver, masks = inputs(lesion, False)
    of_scan = {"image": image, "liver": liver, "obstacles": masks}
    of_scan |= {name: options.pop(name) for name in ("image", "liver", "obstacles") if name in options}
    tumor = its_tumor if tumor is None else tumor
    return plan_probes(Scan(**of_scan), tumor, Request(device, **options), progress)


def zone_level(document):
    """The level function of the united zones of a plan's JSON: ellipsoids with their long axis along the probe."""
    zones = []
    for probe in document["probes"]:
        along = np.subtract(probe["tip_ras_mm"], probe["entry_ras_mm"])
        axes = np.linalg.svd(along[None] / np.linalg.norm(along))[2].T
        for ablation in probe["ablations"]:
            semi = np.array([ablation["long_axis_mm"], ablation["short_axis_mm"], ablation["short_axis_mm"]]) / 2
            zones.append(ellipsoid(ablation["center_ras_mm"], semi, axes))
    return union(*zones)


def counted(document, lesion, margin_mm, spacing=0.8):
    """Shares of tumor and target covered, least margin and target in ml, from voxels of the analytic shapes."""
    reference = box(PLACES.get(lesion, CENTER), 26, spacing)
    centers, shape = voxel_centers(reference), reference.GetSize()[::-1]
    zone, tumor, liver = (level(centers) < 0 for level in (zone_level(document), LESIONS[lesion], LIVER))

    def away(inside):
        """Distance to a shape, whose surface lies half a voxel before the first center inside."""
        return ndimage.distance_transform_edt(~inside.reshape(shape), sampling=spacing).ravel() - spacing / 2

    target = tumor | ((away(tumor) <= margin_mm) & liver)
    surface = (away(~tumor) < spacing) & tumor & (away(~liver) >= margin_mm + spacing)
    margin = np.where(zone, away(~zone), -away(zone))[surface].min() if surface.any() else None
    return zone[tumor].mean(), zone[target].mean(), margin, target.sum() * spacing**3 / 1000


def require_safe_paths(plan, device, obstacles=None):
    """Every probe again, along its line at 0.25 mm, on the analytic shapes."""
    longest = device.shaft_length_mm or 200.0
    for probe in plan.to_dict()["probes"]:
        entry, tip = np.array(probe["entry_ras_mm"]), np.array(probe["tip_ras_mm"])
        length = np.linalg.norm(tip - entry)
        assert probe["length_mm"] == pytest.approx(length)
        assert length <= longest + 1e-9  # rounding
        inward = (tip - entry) / length
        outside, beneath = entry - np.arange(3.0, 60.0)[:, None] * inward, np.arange(3.0, length, 0.25)[:, None]
        assert np.all(BODY(outside) > 0)
        assert np.all(BODY(entry + beneath * inward) < 0)
        assert np.all((entry > LOW) & (entry < HIGH))
        assert LIVER(tip[None])[0] < 0.03
        line = entry + np.arange(0.0, length + 0.25, 0.25)[:, None] * inward
        for level in (obstacles or {}).values():
            assert level(line).min() >= access.CLEARANCE_MM - 0.9  # a voxel of 1.25 mm and a node of 2 mm
        ball = np.vstack([np.zeros((1, 3)), access.directions(60) * (access.DENSE_CLEARANCE_MM - 1.5)])
        assert np.all(RIBS((line[:, None] + ball).reshape(-1, 3)) > 0)
        assert probe["ablations"]
        for ablation in probe["ablations"]:
            setting = device.setting(ablation["setting"])
            assert ablation["short_axis_mm"] == setting.short_axis_mm
            assert ablation["long_axis_mm"] == setting.long_axis_mm
            offset = np.array(ablation["center_ras_mm"]) - tip
            assert np.linalg.norm(np.cross(offset, inward)) < 1e-6
            assert -(offset @ inward) >= setting.center_to_tip_mm - 1e-6
        first = probe["ablations"][0]
        deepest = -(np.array(first["center_ras_mm"]) - tip) @ inward
        assert deepest == pytest.approx(device.setting(first["setting"]).center_to_tip_mm, abs=1e-6)


# --- plans --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lesion", "device", "margin_mm", "obstacles"),
    [
        ("15 mm", MWA, 5.0, False),
        ("15 mm", MWA, 0.0, False),
        ("oblong", RFA, 5.0, True),
        ("28 mm", MWA, 5.0, True),
        ("subcapsular", MWA, 5.0, False),
        ("at the capsule", MWA, 5.0, True),
    ],
    ids=lambda value: getattr(value, "id", value),
)
def test_a_plan_is_what_it_says_when_measured_anew(lesion, device, margin_mm, obstacles):
    plan = planned(lesion, device.id, margin_mm, obstacles)
    require_safe_paths(plan, device, OBSTACLES if obstacles else None)
    tumor, target, mam, volume_ml = counted(plan.to_dict(), lesion, margin_mm)
    assert plan.tumor_coverage_fraction == pytest.approx(tumor, abs=0.003)
    # Voxels make the target's outermost layer, which is left out first, 0.1 to 0.2 mm thicker.
    assert plan.target_coverage_fraction == pytest.approx(target, abs=0.01)
    assert plan.target_volume_ml == pytest.approx(volume_ml, rel=0.06)
    assert tumor >= 0.998
    assert target >= 0.985
    if mam is None:
        assert plan.predicted_mam_mm is None
    else:
        assert plan.predicted_mam_mm == pytest.approx(mam, abs=0.8)
    around = voxel_centers(box(PLACES.get(lesion, CENTER), 45, 1.25))
    zone_ml = (zone_level(plan.to_dict())(around) < 0).sum() * 1.25**3 / 1000
    assert plan.zone_volume_ml == pytest.approx(zone_ml, rel=0.01)


def test_a_lesion_of_15_mm_with_a_margin_of_5_mm_gets_one_probe_and_one_ablation():
    plan = planned("15 mm")
    assert plan.probe_count == len(plan.probes) == 1
    assert len(plan.probes[0].ablations) == 1
    assert plan.tumor_coverage_fraction == plan.target_coverage_fraction == 1.0
    # A ball of 12.5 mm fits in the device's smallest zone: no larger one is taken.
    assert plan.probes[0].ablations[0].setting == min(MWA.settings, key=lambda s: s.short_axis_mm).name
    # The center of the zone is off by no more than what is free between zone and ball.
    assert 5.0 <= plan.predicted_mam_mm <= 16.0 - 7.5 + 0.2
    assert len(plan.limitations) == 1  # how sure the zone sizes are
    assert "How sure" in plan.limitations[0]


def test_the_predicted_margin_is_reached_where_the_zones_allow_it():
    for lesion, device, margin_mm in (("15 mm", MWA.id, 5.0), ("oblong", MWA.id, 5.0), ("15 mm", MWA.id, 0.0)):
        assert planned(lesion, device, margin_mm).predicted_mam_mm >= margin_mm - 0.05


def test_a_plan_for_28_mm_needs_more_than_one_and_few_probes():
    plan = planned("28 mm", MWA.id, 5.0, True)
    # A zone is at most 39 mm across, the target 38: one probe would have to hit its middle within 0.5 mm.
    assert 1 <= plan.probe_count <= 3
    plan = planned("28 mm", RFA.id, 5.0)
    # A zone of 26 mm across: the shadow of the target, 38 mm across, takes 3 disks of 26 mm at the very least.
    assert 3 <= plan.probe_count <= 5
    require_safe_paths(plan, RFA)


def test_a_margin_that_falls_short_is_said():
    plan = planned("28 mm", RFA.id, 5.0)
    said = [text for text in plan.limitations if "predicted margin" in text]
    assert bool(said) == (plan.predicted_mam_mm < 4.95)
    if said:
        assert f"{plan.predicted_mam_mm:.1f} mm" in said[0]
        assert "5 mm asked for" in said[0]


def test_surface_at_the_capsule_is_left_out_of_the_predicted_margin():
    plan = planned("subcapsular")
    assert plan.probe_count == 1
    assert plan.predicted_mam_mm >= 4.5
    assert any("beyond the liver" in text for text in plan.limitations)


def test_a_tumor_wholly_at_the_capsule_has_no_predicted_margin():
    close = box(CENTER, 15, 1.0)
    small = plan(tumor=mask_of(sphere(CENTER, 6.0), close), liver=mask_of(sphere(CENTER, 9.0), close))
    assert small.predicted_mam_mm is None
    assert json.loads(json.dumps(small.to_dict()))["predicted_mam_mm"] is None
    assert any("no margin is predicted" in text for text in small.limitations)
    assert small.tumor_coverage_fraction == 1.0


def test_a_liver_mask_without_the_tumor_gives_the_same_plan():
    _, tumor, liver, _ = inputs("oblong")
    left_out = sitk.Resample(tumor, liver, sitk.Transform(), sitk.sitkNearestNeighbor)
    without = plan("oblong", liver=sitk.And(liver, sitk.Not(left_out)))
    whole = planned("oblong")
    assert without.probe_count == whole.probe_count
    assert without.target_coverage_fraction == pytest.approx(whole.target_coverage_fraction, abs=0.005)
    assert not any("beyond the liver" in text for text in without.limitations)


def test_zones_that_reach_an_obstacle_say_how_much():
    near = sphere(np.add(CENTER, (0, 0, 15)), 6.0)
    close = box(CENTER, 22, 1.0)
    made = plan(obstacles={"bile duct": mask_of(near, close)})
    require_safe_paths(made, MWA, {"bile duct": near})
    reached = (zone_level(made.to_dict())(voxel_centers(close)) < 0) & (near(voxel_centers(close)) < 0)
    assert reached.any()
    (text,) = [text for text in made.limitations if "bile duct" in text]
    assert float(text.split("reach ")[1].split(" ml")[0]) == pytest.approx(reached.sum() / 1000, rel=0.06)


def test_a_lesion_enclosed_by_an_obstacle_names_it():
    cage = mask_of(difference(sphere(CENTER, 22.0), sphere(CENTER, 18.0)), box(CENTER, 24, 1.0))
    other = inputs("15 mm", True)[3]["gallbladder"]
    with pytest.raises(ComputationError, match=r"blocked by vessel cage \(100 % of the directions\), .*gallbladder"):
        plan(obstacles={"gallbladder": other, "vessel cage": cage})


def test_a_lesion_too_deep_for_the_shaft_asks_for_a_longer_device():
    short = dataclasses.replace(MWA, id="short", shaft_length_mm=30.0)
    with pytest.raises(ComputationError, match=r"at most 30 mm.*choose a longer device"):
        plan(device=short)


def test_what_cannot_be_reached_is_said_and_helped_from_other_directions():
    """The shaft just reaches the middle of the lesion, so that its far side stays out of every zone."""
    short = dataclasses.replace(RFA, shaft_length_mm=55.5)
    made = plan(device=short)
    require_safe_paths(made, short)
    tumor, target, mam, _ = counted(made.to_dict(), "15 mm", 5.0)
    assert tumor < 0.995
    assert target < 0.9
    assert made.tumor_coverage_fraction == pytest.approx(tumor, abs=0.005)
    assert made.target_coverage_fraction == pytest.approx(target, abs=0.01)
    assert made.predicted_mam_mm == pytest.approx(mam, abs=0.8)
    directions = np.array([probe.direction for probe in made.probes])
    assert (directions @ directions.T).min() < 0.98
    said = " ".join(made.limitations)
    assert f"{100 * (1 - made.tumor_coverage_fraction):.2g} % of the tumor are not covered" in said
    assert (
        f"{int(1000 * made.target_coverage_fraction) / 10:.1f} % of tumor and margin are covered, less than 99 %"
        in said
    )
    assert f"predicted margin is {made.predicted_mam_mm:.1f} mm" in said


def test_a_device_without_known_length_has_the_default_one():
    made = plan(device=dataclasses.replace(MWA, shaft_length_mm=None))
    assert made.parameters["longest_way_mm"] == 200.0
    assert made.probes == planned("15 mm").probes


# --- the same plan ------------------------------------------------------------------------


def comparable(plan):
    """A plan's document without what must differ."""
    return {key: value for key, value in plan.to_dict().items() if key not in ("seconds", "input_hashes")}


def test_the_same_input_gives_the_same_plan():
    image, tumor, liver, masks = inputs("oblong", True)
    first = planned("oblong", RFA.id, 5.0, True)
    second = plan_probes(Scan(image, liver, masks), tumor, Request(RFA))
    assert comparable(first) == comparable(second)
    assert first.input_hashes == second.input_hashes


@pytest.mark.parametrize("axis", [0, 2])
def test_the_plan_does_not_depend_on_how_images_are_stored(axis):
    image, tumor, liver, masks = inputs("15 mm", True)
    flip = [i == axis for i in range(3)]
    obstacles = {name: sitk.Flip(mask, flip) for name, mask in masks.items()}
    scan = Scan(sitk.Flip(image, flip), sitk.Flip(liver, flip), obstacles)
    flipped = plan_probes(scan, sitk.Flip(tumor, flip), Request(MWA))
    plain = planned("15 mm", obstacles=True)
    assert flipped.probe_count == plain.probe_count == 1
    for name in ("entry_ras_mm", "tip_ras_mm"):
        assert getattr(flipped.probes[0], name) == pytest.approx(getattr(plain.probes[0], name), abs=0.05)
    assert flipped.predicted_mam_mm == pytest.approx(plain.predicted_mam_mm, abs=0.05)
    assert flipped.target_coverage_fraction == plain.target_coverage_fraction == 1.0


def test_a_tumor_whose_middle_a_vessel_guards_is_reached_beside_it():
    """No way leads to the tumor's middle, or to half its radius beside it; farther out one zone still covers it."""
    image, _, liver, _ = inputs("15 mm")
    tumor = mask_of(sphere(CENTER, 5.0), box(CENTER, 12, 1.0))
    place = np.array([2.0, 3.0, 3.0]) * 5.0 / np.sqrt(22.0) + CENTER
    vein = mask_of(sphere(place, 4.0), box(place, 8, 0.8))
    found = plan_probes(Scan(image, liver, {"portal vein": vein}), tumor, Request(MWA))
    assert found.probe_count == 1
    assert found.tumor_coverage_fraction == 1.0
    assert found.predicted_mam_mm >= 4.0
    probe = found.probes[0]
    ahead = float(np.subtract(place, probe.entry_ras_mm) @ probe.direction)
    beside = np.linalg.norm(np.array(probe.entry_ras_mm) + min(ahead, probe.length_mm) * probe.direction - place)
    assert beside >= 4.0 + 3.7 - 1.0  # the surroundings lie on a grid of 2 mm


def test_the_plan_moves_with_the_patient():
    image, tumor, liver, masks = (sitk.Image(part) if part else part for part in inputs("15 mm"))
    shift = np.array([130.0, -64.0, 1020.0])
    for part in (image, tumor, liver):
        part.SetOrigin((np.array(part.GetOrigin()) + frames.flip_lps_ras(shift)).tolist())
    moved, plain = plan_probes(Scan(image, liver, masks), tumor, Request(MWA)), planned("15 mm")
    for name in ("entry_ras_mm", "tip_ras_mm"):
        found, expected = np.array(getattr(moved.probes[0], name)), np.array(getattr(plain.probes[0], name))
        assert found == pytest.approx(expected + shift, abs=0.05)
    assert moved.predicted_mam_mm == pytest.approx(plain.predicted_mam_mm, abs=0.02)


def test_a_patient_who_lies_turned_gets_as_good_a_plan():
    """All inputs turned rigidly in space: the ways that are tried differ, what is reached does not."""
    image, tumor, liver, _ = (sitk.Image(part) if part else part for part in inputs("oblong"))
    turn = rotation((0.1, 0.2, 1.0), 24.0)
    for part in (image, tumor, liver):
        part.SetOrigin((turn @ np.array(part.GetOrigin())).tolist())
        part.SetDirection((turn @ np.array(part.GetDirection()).reshape(3, 3)).ravel().tolist())
    turned, plain = plan_probes(Scan(image, liver), tumor, Request(MWA)), planned("oblong")
    assert turned.probe_count == plain.probe_count
    assert turned.target_volume_ml == pytest.approx(plain.target_volume_ml, rel=0.01)
    assert min(turned.target_coverage_fraction, plain.target_coverage_fraction) >= 0.99
    assert turned.tumor_coverage_fraction == plain.tumor_coverage_fraction == 1.0
    in_ras = np.diag([-1.0, -1, 1]) @ turn @ np.diag([-1.0, -1, 1])
    for probe in turned.probes:
        entry = in_ras.T @ probe.entry_ras_mm
        assert np.all(BODY((entry + 3.0 * (in_ras.T @ probe.direction))[None]) < 0)
        assert np.all(BODY((entry - 3.0 * (in_ras.T @ probe.direction))[None]) > 0)


def test_oblique_grids_of_the_same_patient_give_as_good_a_plan():
    made = planned("oblong", MWA.id, 5.0, True, ((0.0, 0.0, 1.0), 30.0))
    require_safe_paths(made, MWA, OBSTACLES)
    tumor, target, _, _ = counted(made.to_dict(), "oblong", 5.0)
    assert tumor >= 0.998
    assert target >= 0.985


def test_directions_are_rated_together_as_the_path_of_each_is_judged():
    image, tumor, liver, masks = inputs("15 mm", True)
    request = Request(MWA)
    task = prepared(Scan(image, liver, masks), tumor, request)
    approach, center = Approach(task.target, task.surroundings, request.longest_mm), task.target.center_ras_mm
    ways = access.directions(300)
    scores = approach.safety(ways)
    entries = center - request.longest_mm * ways
    checks = [check_path(task.surroundings, entry, center, longest_mm=request.longest_mm) for entry in entries]
    alone = np.array([check.score for check in checks])
    is_rated = scores > 0
    assert 20 < is_rated.sum() < 200
    assert scores[is_rated] == pytest.approx(alone[is_rated], abs=0.01)
    # Where a way just passes, the samples of the two differ.
    assert ((alone > 0) & ~is_rated).sum() <= 5


# --- progress, documents, errors ----------------------------------------------------------


def test_progress_rises_to_the_end():
    reports = []
    plan("oblong", RFA, progress=lambda fraction, word: reports.append((fraction, word)))
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert np.diff(fractions).max() < 0.35
    assert all(word for _, word in reports)


def test_progress_can_cancel_before_there_is_a_plan_and_keeps_one_that_is_there():
    def stop_at(at, fraction, word):
        if fraction >= at:
            raise Cancelled(word)

    with pytest.raises(Cancelled):
        plan(progress=functools.partial(stop_at, 0.0))
    assert plan(progress=functools.partial(stop_at, 0.5)).probes == planned("15 mm").probes


def test_a_plan_survives_json_unchanged_and_has_the_keys_agreed():
    plan = planned("oblong", RFA.id, 5.0, True)
    document = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert Plan.from_dict(document) == plan
    assert Plan.from_dict(document).to_dict() == document
    assert document["schema_version"] == 1
    assert document["device"] == RFA.id
    assert document["probe_count"] == len(document["probes"])
    assert document["seconds"] > 0
    for key in ("tumor_coverage_fraction", "target_coverage_fraction", "predicted_mam_mm"):
        assert isinstance(document[key], float)
    for probe in document["probes"]:
        assert {"entry_ras_mm", "tip_ras_mm", "length_mm", "ablations"} <= set(probe)
        assert len(probe["entry_ras_mm"]) == len(probe["tip_ras_mm"]) == 3
        for ablation in probe["ablations"]:
            assert {"setting", "center_ras_mm", "short_axis_mm", "long_axis_mm"} <= set(ablation)
    assert set(document["input_hashes"]) == {"image", "tumor", "liver", *OBSTACLES}
    assert document["parameters"]["margin_mm"] == 5.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: None, "schema_version None"),
        (lambda d: [d], "schema_version None"),
        (lambda d: {**d, "schema_version": 9}, r"schema_version 9 is not the one this release reads \(1\)"),
        (lambda d: {k: v for k, v in d.items() if k != "probes"}, "'probes'"),
        (lambda d: {**d, "probes": 5}, "not one of this release"),
        (lambda d: {**d, "probes": ["a"]}, "not one of this release"),
        (lambda d: {**d, "tumor_coverage_fraction": "all"}, "not one of this release"),
    ],
)
def test_a_document_of_another_kind_is_refused(change, message):
    with pytest.raises(FormatError, match=message):
        Plan.from_dict(change(planned("15 mm").to_dict()))


def test_a_plan_without_probes_or_with_shares_that_are_none_is_refused():
    plan = planned("15 mm")
    with pytest.raises(InputError, match="has no probe"):
        dataclasses.replace(plan, probes=())
    for share in (-0.01, 1.01, float("nan")):
        with pytest.raises(InputError, match=r"target_coverage_fraction .* is not a share from 0 to 1"):
            dataclasses.replace(plan, target_coverage_fraction=share)


def like(image, value):
    """An image of one value on a grid."""
    made = sitk.Image(image.GetSize(), sitk.sitkFloat32) + value
    made.CopyInformation(image)
    return made


def far_away(image):
    """The image a meter beside itself."""
    made = sitk.Image(image)
    made.SetOrigin(np.add(made.GetOrigin(), (1000.0, 0, 0)).tolist())
    return made


@pytest.mark.parametrize("margin_mm", [-1.0, MAX_MARGIN_MM + 0.1, float("nan"), float("inf")])
def test_a_margin_out_of_range_is_refused(margin_mm):
    with pytest.raises(InputError, match=f"margin: .* mm is not from 0 to {MAX_MARGIN_MM:g} mm"):
        plan(margin_mm=margin_mm)


@pytest.mark.parametrize("name", ["image", "tumor", "liver", access.AIR, access.DENSE])
def test_an_obstacle_may_not_take_a_name_of_ours(name):
    mask = inputs("15 mm", True)[3]["portal vein"]
    with pytest.raises(InputError, match="this name is taken") as caught:
        plan(obstacles={name: mask})
    assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (lambda i, t, v: {"tumor": like(t, 0)}, EmptyMaskError, "tumor: the mask is empty"),
        (lambda i, t, v: {"liver": like(v, 0)}, EmptyMaskError, "liver: the mask is empty"),
        (lambda i, t, v: {"obstacles": {"vein": like(v, 0)}}, EmptyMaskError, "obstacle 'vein': the mask is empty"),
        (lambda i, t, v: {"tumor": i}, InputError, "tumor: "),
        (lambda i, t, v: {"tumor": far_away(t)}, GeometryError, "tumor: lies beside the planning image"),
        (lambda i, t, v: {"liver": far_away(v)}, GeometryError, "liver: lies beside the planning image"),
        (lambda i, t, v: {"obstacles": {"vein": far_away(v)}}, GeometryError, "vein: lies beside the planning image"),
        (lambda i, t, v: {"image": i[:, :, 20:]}, GeometryError, "tumor: a part of it lies outside"),
        (lambda i, t, v: {"image": like(i, 40)}, InputError, "planning needs a CT in HU"),
        (lambda i, t, v: {"image": like(i, float("nan"))}, InputError, "planning image"),
        (lambda i, t, v: {"image": "ct.nii"}, InputError, "planning image: a SimpleITK image is needed, not a str"),
        (lambda i, t, v: {"liver": mask_of(sphere((-30, 0, 0), 8.0), v)}, GeometryError, "outside the liver mask"),
    ],
)
def test_bad_input_is_refused_by_name(options, kind, message):
    image, tumor, liver, _ = inputs("15 mm")
    with pytest.raises(kind, match=message):
        plan(**options(image, tumor, liver))


def bent_to(probe, entry_ras_mm):
    """A probe with the same tip and one zone there from another entry."""
    along = np.subtract(probe.tip_ras_mm, entry_ras_mm)
    along = along / np.linalg.norm(along)
    row = probe.ablations[0]
    back = np.linalg.norm(np.subtract(probe.tip_ras_mm, row.center_ras_mm))
    center = tuple(np.array(probe.tip_ras_mm) - back * along)
    return dataclasses.replace(
        probe, entry_ras_mm=entry_ras_mm, ablations=(dataclasses.replace(row, center_ras_mm=center),)
    )


def test_locked_probes_that_suffice_are_all_there_is():
    free = planned("15 mm")
    kept = plan("15 mm", locked=free.probes)
    assert kept.probes == free.probes
    assert kept.locked_count == kept.probe_count == 1
    assert kept.predicted_mam_mm == free.predicted_mam_mm
    assert kept.lower_bound_punctures is None


def test_a_locked_probe_beside_the_lesion_is_kept_and_others_are_placed():
    # One that is too small, of another device: it is kept as it is and the others are of the device asked for.
    (probe,) = planned("15 mm").probes
    small = dataclasses.replace(
        probe, ablations=(dataclasses.replace(probe.ablations[0], short_axis_mm=8.0, long_axis_mm=8.0),), device=RFA.id
    )
    made = plan("15 mm", locked=(small,))
    assert made.probes[0] == small
    assert made.locked_count == 1 < made.probe_count
    assert {p.device for p in made.probes[1:]} == {MWA.id}
    assert made.tumor_coverage_fraction == 1.0


def test_a_locked_probe_through_bone_is_kept_and_flagged():
    tip = np.array(planned("15 mm").probes[0].tip_ras_mm)
    image = inputs("15 mm")[0]
    k, j, i = np.nonzero(sitk.GetArrayFromImage(image) > 600)
    ribs = frames.index_to_ras(image, np.stack([i, j, k], axis=1))
    rib = ribs[np.linalg.norm(ribs - tip, axis=1).argmin()]
    outward = (rib - tip) / np.linalg.norm(rib - tip)
    steps = np.arange(0.0, 150.0, 0.5)
    entry = tip + steps[BODY(tip + steps[:, None] * outward) < 0][-1] * outward
    locked = bent_to(planned("15 mm").probes[0], tuple(entry.tolist()))
    made = plan("15 mm", locked=(locked,))
    assert made.probes[0] == locked
    assert made.path_checks[0]["grade"] == "blocked"
    assert any(text.startswith("Locked probe 1 is not free") and "bone" in text for text in made.limitations)


def test_live_and_final_numbers_are_one_measurement():
    made = planned("28 mm")
    _, tumor, liver, _ = inputs("28 mm")
    coverage = PlanMeasure.of(Target.of(tumor, liver, 5.0), liver).measure(made.probes)
    assert made.predicted_mam_mm == coverage.predicted_mam_mm
    assert made.mam_place_ras_mm == coverage.mam_place_ras_mm
    assert abs(LESIONS["28 mm"](np.array([made.mam_place_ras_mm]))[0]) < 0.3
    assert made.healthy_liver_ml == coverage.liver_lost_ml
    assert sum(made.shares.values()) == pytest.approx(1.0)


def test_a_robust_plan_tells_its_chances_and_still_suffices():
    made = plan("15 mm", is_robust=True)
    assert made.robustness["draws"] > 0
    for chance in made.robustness["chances"].values():
        assert 0 <= chance["low"] <= chance["fraction"] <= chance["high"] <= 1
    assert made.tumor_coverage_fraction == 1.0
    assert made.predicted_mam_mm >= 0.8 * 5.0
    assert all(check["grade"] != "blocked" for check in made.path_checks)
    assert planned("15 mm").robustness is None
    assert Plan.from_dict(json.loads(json.dumps(made.to_dict()))).to_dict() == made.to_dict()


def test_locked_probes_are_not_shifted_for_robustness():
    locked = planned("15 mm").probes
    assert plan("15 mm", locked=locked, is_robust=True).probes == locked


def test_what_was_planned_before_a_cancellation_is_not_lost():
    image, tumor, liver, masks = inputs("15 mm")

    def stop(fraction, message):
        if fraction > 0.4:
            raise Cancelled("enough")

    made = plan_alternatives(Scan(image, liver, masks), tumor, Request(MWA), 3, stop)
    assert made[0].probes == planned("15 mm").probes
    assert any("planning was stopped" in text for text in made[0].limitations)
