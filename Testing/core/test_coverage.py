"""What a plan covers against closed formulas, and a plan under the hand against the same plan measured anew."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.access import survey
from NETAblationLib.core.coverage import PlanMeasure, cells_in
from NETAblationLib.core.errors import InputError
from NETAblationLib.core.live import LivePlan
from NETAblationLib.core.path_checks import check_path
from NETAblationLib.core.probes import Ablation, Probe, is_in_zone, zone_signed_distance_mm, zone_surface
from NETAblationLib.core.targets import Target
from NETAblationLib.core.union_depth import Zone
from NETAblationLib.core.working_grids import WorkingGrid
from support.shapes import ellipsoid, grid, half_space, intersection, mask_of, sphere, voxel_centers

CENTER, RADIUS = np.array([0.3, -0.2, 0.4]), 9.0


def probe_at(center, direction=(0.0, 0.0, 1.0), axes=((0.0, 40.0, 40.0),)):
    """A probe through a point with ablations: place along it, diameters along and across."""
    center, direction = np.asarray(center, float), np.asarray(direction, float) / np.linalg.norm(direction)
    ablations = tuple(
        Ablation(f"number {n}", tuple(center + place * direction), across, along)
        for n, (place, along, across) in enumerate(axes)
    )
    return Probe(tuple(center - 90 * direction), tuple(center + 30 * direction), ablations)


@functools.cache
def measure(margin_mm=5.0, capsule_mm=None):
    """A ball in a large liver, or in one that ends at a plane R = `capsule_mm`."""
    tumor = mask_of(sphere(CENTER, RADIUS), grid((-12,) * 3, (12,) * 3, (1.0,) * 3))
    level = sphere((0, 0, 0), 60.0)
    if capsule_mm is not None:
        level = intersection(level, half_space((capsule_mm, 0, 0), (1, 0, 0)))
    liver = mask_of(level, grid((-62,) * 3, (62,) * 3, (1.0,) * 3))
    return PlanMeasure.of(Target.of(tumor, liver, margin_mm), liver)


def ball_ml(radius_mm):
    return 4 / 3 * np.pi * radius_mm**3 / 1000


def equal(one, other):
    """Whether two measurements are the same to the last bit."""
    rows = [dataclasses.asdict(row) for row in (one, other)]
    margins = [row.pop("margin_mm") for row in rows]
    return rows[0] == rows[1] and np.array_equal(*margins)


def random_probe(rng, most=3):
    rows = [(place, rng.uniform(20, 40), rng.uniform(16, 34)) for place in (-8.0, 5.0, 12.0)[: rng.integers(most) + 1]]
    return probe_at(CENTER + rng.normal(0, 7, 3), rng.normal(size=3), rows)


def test_a_ball_in_the_middle_of_a_larger_zone():
    found = measure().measure([probe_at(CENTER)])
    assert found.tumor_coverage_fraction == found.target_coverage_fraction == 1.0
    assert found.margin_mm == pytest.approx(20.0 - RADIUS, abs=0.3)
    assert found.predicted_mam_mm == found.margin_mm.min()
    assert found.shares == pytest.approx({"below_0": 0.0, "from_0_to_5": 0.0, "at_least_5": 1.0})
    assert found.zone_volume_ml == pytest.approx(ball_ml(20.0), rel=0.01)
    assert found.liver_lost_ml == pytest.approx(ball_ml(20.0) - ball_ml(RADIUS), rel=0.01)


@pytest.mark.parametrize("shift", [5.0, 13.0, 17.0])
def test_a_zone_beside_the_ball_has_the_margin_of_two_balls(shift):
    toward = np.array([1.0, 2.0, -2.0]) / 3.0
    found = measure().measure([probe_at(CENTER + shift * toward, axes=((0.0, 30.0, 30.0),))])
    assert found.predicted_mam_mm == pytest.approx(15.0 - RADIUS - shift, abs=0.3)
    assert found.mam_place_ras_mm == pytest.approx(CENTER - RADIUS * toward, abs=1.5)
    # By height along the shift the margin of a point is 15 less its distance to the zone's center.
    heights = np.linspace(-RADIUS, RADIUS, 4001)
    margin = 15.0 - np.sqrt(RADIUS**2 + shift**2 - 2 * shift * heights)
    assert found.shares["below_0"] == pytest.approx((margin < 0).mean(), abs=0.03)
    assert found.shares["at_least_5"] == pytest.approx((margin >= 5).mean(), abs=0.03)
    lens = 0.0
    if shift > 15.0 - RADIUS:
        both = 15.0 + RADIUS - shift
        lens = np.pi * both**2 * (shift**2 + 2 * shift * (15 + RADIUS) - 3 * (15 - RADIUS) ** 2) / (12 * shift) / 1000
    else:
        lens = ball_ml(RADIUS)
    assert found.tumor_coverage_fraction == pytest.approx(lens / ball_ml(RADIUS), abs=0.02)
    assert found.liver_lost_ml == pytest.approx(ball_ml(15.0) - lens, rel=0.02)


def test_what_lies_beyond_the_capsule_is_no_liver_lost():
    found = measure(capsule_mm=12.0).measure([probe_at(CENTER)])
    height = 20.0 - (12.0 - CENTER[0])
    cap = np.pi * height**2 * (60.0 - height) / 3 / 1000
    assert found.zone_volume_ml == pytest.approx(ball_ml(20.0), rel=0.01)
    assert found.liver_lost_ml == pytest.approx(ball_ml(20.0) - ball_ml(RADIUS) - cap, rel=0.03)
    assert found.target_coverage_fraction == 1.0


def test_subcapsular_surface_is_measured_but_does_not_count():
    measured = measure(capsule_mm=11.0)
    zone = [probe_at(CENTER - (9.0, 0, 0), axes=((0.0, 36.0, 36.0),))]
    found = measured.measure(zone)
    evaluable = measured.target.is_evaluable
    assert 0.1 < evaluable.mean() < 0.9
    assert found.margin_mm.min() < found.predicted_mam_mm
    assert found.predicted_mam_mm == found.margin_mm[evaluable].min()


def test_where_nothing_is_evaluable_there_is_no_margin():
    measured = measure(capsule_mm=11.0)
    measured = dataclasses.replace(
        measured, target=dataclasses.replace(measured.target, is_evaluable=np.zeros_like(measured.target.is_evaluable))
    )
    found = measured.measure([probe_at(CENTER)])
    assert found.predicted_mam_mm is None
    assert found.mam_place_ras_mm is None
    assert set(found.shares.values()) == {None}


def test_plans_are_measured_as_by_the_functions_of_probes():
    measured = measure()
    rng = np.random.default_rng(0)
    probes = [random_probe(rng) for _ in range(3)]
    found = measured.measure(probes)
    target = measured.target
    points, is_tumor, _ = target.points(60_000)
    covered = is_in_zone(probes, points)
    assert found.target_coverage_fraction == pytest.approx(covered.mean(), abs=0.003)
    assert found.tumor_coverage_fraction == pytest.approx(covered[is_tumor].mean(), abs=0.003)
    surface = zone_surface(probes)
    assert found.zone_volume_ml == pytest.approx(surface.volume_ml, rel=0.01)
    margin = -zone_signed_distance_mm(probes, target.surface.points_ras_mm)
    # The margins of zones, found another way and slower.
    assert np.median(np.abs(found.margin_mm - margin)) < 1e-3
    assert found.margin_mm == pytest.approx(margin, abs=0.2)
    assert found.predicted_mam_mm == pytest.approx(margin.min(), abs=0.06)


@pytest.mark.parametrize("seed", range(6))
def test_cells_of_a_zone_are_those_whose_center_lies_in_it(seed):
    rng = np.random.default_rng(seed)
    lattice = WorkingGrid((-20.3, -15.1, -18.2), float(rng.uniform(0.8, 2.0)), (22, 25, 28))
    probe = probe_at(rng.uniform(-22, 22, 3), rng.normal(size=3), [(0.0, rng.uniform(5, 50), rng.uniform(5, 40))])
    (zone,) = Zone.of(probe)
    assert np.array_equal(cells_in(zone, lattice), np.flatnonzero(is_in_zone([probe], lattice.points())))


def test_a_zone_beside_the_grid_has_no_cell():
    lattice = WorkingGrid((0.0, 0.0, 0.0), 1.0, (5, 5, 5))
    (zone,) = Zone.of(probe_at((40, 0, 0)))
    assert len(cells_in(zone, lattice)) == 0
    (tiny,) = Zone.of(probe_at((2.5, 2.5, 2.5), axes=((0.0, 0.2, 0.2),)))
    assert len(cells_in(tiny, lattice)) == 0


def test_after_a_thousand_moves_all_is_as_measured_anew_to_the_last_bit():
    rng = np.random.default_rng(7)
    measured = measure()
    plan = LivePlan(measured, [random_probe(rng, most=2) for _ in range(3)])
    for step in range(1000):
        kind = rng.integers(10)
        if kind == 0 and len(plan.probes) < 4:
            found = plan.add(random_probe(rng, most=2))
        elif kind == 1 and len(plan.probes) > 1:
            found = plan.remove(int(rng.integers(len(plan.probes))))
        else:
            found = plan.move(int(rng.integers(len(plan.probes))), random_probe(rng, most=2))
        if step % 100 == 99:
            assert equal(found.coverage, measured.measure(plan.probes))
            assert equal(found.coverage, plan.result().coverage)


def test_without_probes_nothing_is_covered():
    plan = LivePlan(measure())
    found = plan.result().coverage
    assert found.tumor_coverage_fraction == found.target_coverage_fraction == found.zone_volume_ml == 0.0
    assert found.predicted_mam_mm == -np.inf
    added = plan.add(probe_at(CENTER))
    assert added.paths == ()
    assert equal(added.coverage, measure().measure([probe_at(CENTER)]))
    assert equal(plan.remove(0).coverage, found)


def test_what_cannot_be_moved_or_counted_is_refused():
    plan = LivePlan(measure(), [probe_at(CENTER)])
    with pytest.raises(InputError, match="no probe number 1 among 1"):
        plan.move(1, probe_at(CENTER))
    with pytest.raises(InputError, match="no probe number -1"):
        plan.remove(-1)
    assert len(plan.probes) == 1
    tiny = probe_at(CENTER, axes=((0.0, 2.0, 2.0),) * 256)
    with pytest.raises(InputError, match="more than 255 ablations"):
        measure().measure([tiny])


def test_small_and_large_targets_have_points_close_enough():
    oblong = mask_of(ellipsoid((0, 0, 0), (30.0, 20.0, 15.0)), grid((-32, -22, -17), (32, 22, 17), (1.5,) * 3))
    liver = mask_of(sphere((0, 0, 0), 50.0), grid((-52,) * 3, (52,) * 3, (2.0,) * 3))
    large = PlanMeasure.of(Target.of(oblong, liver, 5.0), liver)
    assert large.grid.spacing_mm == pytest.approx(1.0, abs=0.01)
    assert measure().grid.spacing_mm == pytest.approx(0.5, abs=0.11)


def test_paths_are_checked_where_surroundings_are_known():
    image = grid((-110, -110, -80), (110, 110, 80), (3.0,) * 3)
    hu = np.where(sphere((0, 0, 0), 72.0)(voxel_centers(image)) < 0, 40.0, -1000.0)
    trunk = sitk.GetImageFromArray(hu.reshape(image.GetSize()[::-1]).astype(np.float32))
    trunk.CopyInformation(image)
    tumor = mask_of(sphere(CENTER, RADIUS), grid((-12,) * 3, (12,) * 3, (1.0,) * 3))
    liver = mask_of(sphere((0, 0, 0), 60.0), image)
    vein = mask_of(sphere((35.0, 0, 0), 6.0), grid((25, -10, -10), (45, 10, 10), (1.0,) * 3))
    surroundings = survey(trunk, liver, tumor, {"portal vein": vein})
    free, blocked = probe_at(CENTER, (0.0, -1.0, 0.0)), probe_at(CENTER, (-1.0, 0.0, 0.0))
    plan = LivePlan(measure(), [free, free], surroundings=surroundings, longest_mm=150.0)
    found = plan.move(1, blocked)
    assert found.paths[0] == check_path(surroundings, free.entry_ras_mm, free.tip_ras_mm, longest_mm=150.0)
    assert found.paths[1] == check_path(surroundings, blocked.entry_ras_mm, blocked.tip_ras_mm, longest_mm=150.0)
    assert found.paths[0].is_free
    assert not found.paths[1].is_free
    assert found.paths[1].nearest == "portal vein"
    assert [path.is_free for path in plan.remove(0).paths] == [False]
    assert [path.is_free for path in plan.add(free).paths] == [False, True]


def test_a_move_that_cannot_be_measured_leaves_all_as_it_was():
    plan = LivePlan(measure(), [probe_at(CENTER)])
    before = plan.result().coverage
    with pytest.raises(InputError, match="more than 255 ablations"):
        plan.move(0, probe_at(CENTER, axes=((0.0, 2.0, 2.0),) * 256))
    assert plan.probes == (probe_at(CENTER),)
    assert equal(plan.result().coverage, before)
