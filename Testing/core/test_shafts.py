"""The closest approach of shafts: against a search on fine samples, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest

from NETAblationLib.core.probes import Probe
from NETAblationLib.core.shafts import closest_distances_mm, closest_places, shaft_diameter_mm, touching_pairs
from support.shapes import rotation


def sampled(first, second, count=401):
    """The least distance of samples on two segments; too long by no more than a step."""
    share = np.linspace(0, 1, count)[:, None]
    one, other = (segment[0] + share * (segment[1] - segment[0]) for segment in (first, second))
    return np.linalg.norm(one[:, None] - other[None], axis=2).min()


def segments(seed, count=60):
    return np.random.default_rng(seed).normal(scale=20.0, size=(2, count, 2, 3))


def test_as_near_as_samples_come():
    first, second = segments(1)
    found = closest_distances_mm(first, second)
    brute = np.array([sampled(*pair) for pair in zip(first, second, strict=True)])
    assert (found <= brute + 1e-9).all()
    assert (found > brute - 0.3).all()


def test_places_are_where_the_distance_is():
    first, second = segments(2)
    places = closest_places(first, second)
    assert ((places >= 0) & (places <= 1)).all()
    points = [s[:, 0] + places[:, n, None] * (s[:, 1] - s[:, 0]) for n, s in enumerate((first, second))]
    np.testing.assert_allclose(np.linalg.norm(points[0] - points[1], axis=1), closest_distances_mm(first, second))


def test_order_direction_and_frame_do_not_count():
    first, second = segments(3)
    exact = closest_distances_mm(first, second)
    np.testing.assert_allclose(closest_distances_mm(second, first), exact, atol=1e-9)
    np.testing.assert_allclose(closest_distances_mm(first[:, ::-1], second), exact, atol=1e-9)
    turn = rotation((1, 2, 3), 50.0)
    np.testing.assert_allclose(closest_distances_mm(first @ turn.T + 7, second @ turn.T + 7), exact, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        (((0, 0, 0), (10, 0, 0)), ((4, -5, 3), (4, 5, 3)), 3.0),  # crossing
        (((0, 0, 0), (10, 0, 0)), ((2, 4, 0), (30, 4, 0)), 4.0),  # side by side
        (((0, 0, 0), (10, 0, 0)), ((13, 4, 0), (30, 4, 0)), 5.0),  # one after the other
        (((0, 0, 0), (10, 0, 0)), ((13, 4, 0), (13, 4, 0)), 5.0),  # a point
        (((1, 1, 1), (1, 1, 1)), ((1, 1, 3), (1, 1, 3)), 2.0),
    ],
)
def test_known_distances(first, second, distance):
    assert closest_distances_mm([first], [second])[0] == pytest.approx(distance, abs=1e-6)


def test_of_parallel_segments_the_middle_of_what_lies_side_by_side():
    places = closest_places([((0, 0, 0), (10, 0, 0))], [((4, 3, 0), (20, 3, 0))])
    np.testing.assert_allclose(places, [[0.7, 3 / 16]])


def test_touching_pairs():
    def probe(x, y):
        return Probe((x, -50.0, y), (-x, 50.0, y), ())

    probes = [probe(-20.0, 0.0), probe(20.0, 1.5), probe(20.0, 9.0)]
    assert touching_pairs(probes, 2.0) == [(0, 1)]
    assert touching_pairs(probes, 1.4) == []
    assert touching_pairs(probes, 8.0) == [(0, 1), (1, 2)]
    assert touching_pairs(probes[:1], 8.0) == []


def test_thicker_gauges_have_smaller_numbers():
    assert shaft_diameter_mm(17) == pytest.approx(1.47, abs=0.01)
    assert shaft_diameter_mm(13) > shaft_diameter_mm(14.5) > shaft_diameter_mm(17)
    assert shaft_diameter_mm(None) == shaft_diameter_mm(13)
