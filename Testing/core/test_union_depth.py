"""Distances to the surface of united zones against closed formulas and dense points on that surface."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from NETAblationLib.core.probes import Ablation, Probe, zone_signed_distance_mm
from NETAblationLib.core.union_depth import Zone, feet, open_edges_mm, union_depth_mm
from support.shapes import rotation


def depth(zones, points, origin=(0.0, 0.0, 0.0)):
    """Depth of points (N, 3) in united zones, as float64."""
    origin = np.array(origin)
    near = (np.asarray(points) - origin).astype(np.float32)
    return union_depth_mm(zones, [feet(zone, near, origin) for zone in zones], near, origin).astype(float)


def zone(center, direction, along_mm, across_mm):
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    return Zone(tuple(np.asarray(center, float).tolist()), tuple(direction.tolist()), along_mm, across_mm)


def some_zones(seed, count, longest=1.8, spread=13.0):
    """Zones at random; `longest` is how many times longer than wide they are at most."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        across = rng.uniform(10, 18)
        direction, center = rng.normal(size=3), rng.normal(0, spread, 3)
        made.append(zone(center, direction, across * rng.uniform(1.0, longest), across))
    return made


def level(one, points):
    """1 on a zone's surface, less inside."""
    offset = points - one.center_ras_mm
    along = offset @ one.direction
    beside = np.linalg.norm(offset - along[:, None] * one.direction, axis=1)
    return (along / one.along_mm) ** 2 + (beside / one.across_mm) ** 2


def free_points(zones, count):
    """Points of the surface of all zones that lie in no other: so many on each zone, less those covered."""
    steps = np.arange(count) + 0.5
    z, turn = 1 - 2 * steps / count, np.pi * (1 + 5**0.5) * steps
    unit = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    free = []
    for n, one in enumerate(zones):
        stretched = unit * one.across_mm
        stretched += (one.along_mm / one.across_mm - 1) * (stretched @ one.direction)[:, None] * one.direction
        points = stretched + one.center_ras_mm
        others = [level(other, points) >= 1 for m, other in enumerate(zones) if m != n]
        free.append(points[np.all(others, axis=0)] if others else points)
    return np.concatenate(free)


@pytest.mark.parametrize(("along", "across"), [(21.0, 19.5), (20.0, 13.0), (13.0, 20.0), (30.0, 10.0), (15.0, 15.0)])
def test_depth_in_one_zone_is_exact(along, across):
    one = zone((10, -20, 30), (1, -2, 0.7), along, across)
    center, direction = np.array(one.center_ras_mm), np.array(one.direction)
    points = center + np.random.default_rng(1).uniform(-40, 40, (3000, 3))
    points[:50] = center + np.linspace(-1.5, 1.5, 50)[:, None] * along * direction  # on the axis
    ablation = Ablation("any", one.center_ras_mm, 2 * across, 2 * along)
    probe = Probe(tuple(center - 99 * direction), tuple(center + 20 * direction), (ablation,))
    assert Zone.of(probe)[0].along_mm == along
    exact = -zone_signed_distance_mm([probe], points)
    assert depth([one], points, origin=(5.0, -10.0, 20.0)) == pytest.approx(exact, abs=1e-4)


def test_depth_in_two_balls_is_that_of_the_closed_formula():
    radius, apart = 20.0, 24.0
    balls = [zone((0, 0, 0), (1, 0, 0), radius, radius), zone((0, 0, apart), (0, 1, 1), radius, radius)]
    points = np.random.default_rng(2).uniform(-30, 50, (4000, 3))
    centers = np.array([[0, 0, 0], [0, 0, apart]])
    away = np.linalg.norm(points[:, None] - centers, axis=2)
    # The foot on each ball, where it lies outside of the other, and the ring where both meet.
    feet_at = centers + (points[:, None] - centers) * (radius / away)[:, :, None]
    is_free = np.linalg.norm(feet_at - centers[::-1], axis=2) >= radius
    on_faces = np.where(is_free & (away <= radius), radius - away, np.inf).min(axis=1)
    ring = np.sqrt(radius**2 - apart**2 / 4)
    on_ring = np.hypot(np.hypot(points[:, 0], points[:, 1]) - ring, points[:, 2] - apart / 2)
    outside = (away > radius).all(axis=1)
    exact = np.where(outside, (radius - away).max(axis=1), np.minimum(on_faces, on_ring))
    assert (on_ring < on_faces)[~outside].mean() > 0.05
    assert depth(balls, points) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(("seed", "longest"), [(0, 1.8), (1, 1.8), (2, 1.05), (3, 2.5)])
def test_depth_in_many_zones_agrees_with_dense_points_on_their_surface(seed, longest):
    zones = some_zones(seed, 8, longest)
    points = np.random.default_rng(seed).normal(0, 15, (3000, 3))
    is_inside = np.min([level(one, points) for one in zones], axis=0) < 1
    found = depth(zones, points)
    assert np.array_equal(found > 0, is_inside)
    dense = free_points(zones, 120_000)
    apart = cKDTree(dense).query(points[is_inside])[0]
    error = found[is_inside] - apart
    assert error.max() < 0.06  # dense points are never nearer than the surface
    # They are farther where the nearest point is in a corner: by up to their own distance, 0.2 mm.
    assert error.min() > -0.2
    assert np.median(np.abs(error)) < 0.01
    bound = np.max([feet(one, points.astype(np.float32), np.zeros(3)).depth_mm for one in zones], axis=0)
    assert np.all(found >= bound - 1e-3)
    assert (found > bound + 0.1)[is_inside].mean() > 0.02  # so there are seams to be found


def test_zones_wider_than_long_have_a_second_nearest_point():
    zones = [zone((0, 0, 0), (0, 0, 1), 8.0, 20.0), zone((0, 0, 9.0), (0, 0, 1), 8.0, 12.0)]
    middle = np.array([[0.0, 0.0, 1.0], [1.0, 0.5, 1.5]])
    dense = free_points(zones, 200_000)
    assert depth(zones, middle) == pytest.approx(cKDTree(dense).query(middle)[0], abs=0.3)


def test_touching_equal_and_nested_zones_have_the_depth_of_one():
    one = zone((0, 0, 0), (0, 0, 1), 20.0, 15.0)
    points = np.random.default_rng(4).uniform(-22, 22, (2000, 3))
    alone = depth([one], points)
    nested = zone((1, 0, 2), (1, 0, 1), 6.0, 5.0)
    for others in ([one, one], [nested, one], [one, nested, nested]):
        assert depth(others, points) == pytest.approx(alone, abs=1e-3)
    # A lens too small for a seam to be seen: no more than its width away.
    beside = zone((29.999, 0, 0), (0, 0, 1), 20.0, 15.0)
    inside = alone > 0
    assert depth([one, beside], points)[inside] == pytest.approx(alone[inside], abs=0.1)


def test_order_and_pose_of_zones_do_not_matter():
    zones = some_zones(5, 12)
    points = np.random.default_rng(5).normal(0, 15, (2000, 3))
    found = depth(zones, points)
    assert depth(zones[::-1], points) == pytest.approx(found, abs=0.05)
    turn, shift = rotation((1.0, 2.0, 0.5), 70.0), np.array([200.0, -50.0, 900.0])
    turned = [
        dataclasses.replace(
            one, center_ras_mm=tuple(turn @ one.center_ras_mm + shift), direction=tuple(turn @ one.direction)
        )
        for one in zones
    ]
    moved = depth(turned, points @ turn.T + shift, origin=shift)
    assert moved == pytest.approx(found, abs=0.05)


def test_more_zones_than_a_byte_or_a_word_has_bits():
    zones = some_zones(6, 66, spread=20.0)
    points = np.random.default_rng(6).normal(0, 12, (300, 3))
    apart = cKDTree(free_points(zones, 3_000)).query(points)[0]
    inside = np.min([level(one, points) for one in zones], axis=0) < 1
    error = (depth(zones, points) - apart)[inside]
    assert error.max() < 0.06
    assert error.min() > -1.2  # the distance of dense points


def test_without_a_zone_nothing_is_inside():
    assert np.all(depth([], np.zeros((3, 3))) == -np.inf)


@pytest.mark.parametrize("side_mm", [12.0, 17.3])
def test_three_balls_meet_at_the_two_corners_that_a_formula_gives(side_mm):
    """At 17.3 mm the balls leave a dimple of half a millimeter, smaller than any spacing of points."""
    turn, away = rotation((1, 2, 3), 25.0), np.array([40.0, -70.0, 15.0])
    flat = side_mm / np.sqrt(3) * np.array([[np.cos(a), np.sin(a), 0.0] for a in 2 * np.pi * np.arange(3) / 3])
    zones = [zone(center @ turn.T + away, (1, 0, 0), 10.0, 10.0) for center in flat]
    edges = open_edges_mm(zones)
    height = np.sqrt(100.0 - side_mm**2 / 3)
    corners = np.array([[0, 0, height], [0, 0, -height]]) @ turn.T + away
    assert cKDTree(edges).query(corners)[0].max() < 1e-3
    levels = np.sort([level(one, edges) for one in zones], axis=0)
    assert levels[:2] == pytest.approx(1.0, abs=1e-6)  # on two surfaces
    assert levels[2].min() > 1.0 - 1e-6  # and in no zone
    assert len(open_edges_mm(zones[:1])) == 0


@pytest.mark.parametrize("seed", [5, 6])
def test_edges_of_many_zones_lie_on_their_surface_and_close_to_each_point_of_the_seams(seed):
    zones = some_zones(seed, 9)
    edges = open_edges_mm(zones)
    assert depth(zones, edges) == pytest.approx(0.0, abs=1e-3)
    # Points where two surfaces nearly cross, found without any seam, lie near an edge.
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 20, (120_000, 3))
    levels = np.sort([level(one, points) for one in zones], axis=0)
    at_seam = points[(levels[0] > 1.0) & (levels[1] < 1.05)]
    assert len(at_seam) > 20
    assert cKDTree(edges).query(at_seam)[0].max() < 2.5
