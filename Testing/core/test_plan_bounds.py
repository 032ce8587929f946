"""Bounds against covers that are known to exist: none may exceed those, and they are tight where that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from NETAblationLib.core.plan_bounds import Bounds, least_needed

ALONG_X = np.array([1.0, 0.0, 0.0])


def ball_points(radius_mm, count=600):
    """Points on a sphere and some within."""
    steps = np.arange(count) + 0.5
    z, azimuth = 1 - 2 * steps / count, np.pi * (1 + 5**0.5) * steps
    shell = np.stack([np.sqrt(1 - z**2) * np.cos(azimuth), np.sqrt(1 - z**2) * np.sin(azimuth), z], axis=1)
    return radius_mm * np.concatenate([shell, 0.6 * shell[::4], 0.2 * shell[::20]])


def bounds_of(points, width_mm, *, direction=ALONG_X, length_mm=None, volume_ml=0.0, at_most=9):
    return least_needed(
        points,
        points,
        0.99,
        volume_ml,
        direction,
        width_mm,
        width_mm if length_mm is None else length_mm,
        np.pi / 6 * width_mm**3 / 1000,
        at_most,
    )


@pytest.mark.parametrize(
    ("share", "fewest"),
    # How many discs of this share of a disc's radius cover it at the least (known covers of the circle).
    [(1.01, 1), (0.87, 3), (0.71, 4), (0.61, 5), (0.51, 7)],
)
def test_the_shadow_of_a_ball_takes_nearly_as_many_discs_as_is_known(share, fewest):
    found = bounds_of(ball_points(30.0), 60.0 * share)
    # Each disc counts as a twentieth of its radius wider or so: one disc fewer may seem to do.
    assert max(1, fewest - 1) <= found.parallel_punctures <= fewest
    assert 1 <= found.punctures <= fewest


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_no_bound_exceeds_probes_that_cover(seed, count):
    random = np.random.default_rng(seed)
    directions = random.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    bases = random.uniform(-40, 40, (count, 3))
    radius = 9.0
    points, parallel = [], []
    for base, direction in zip(bases, directions, strict=True):
        ball = random.normal(size=(80, 3))
        ball *= radius * random.uniform(0, 1, 80)[:, None] ** (1 / 3) / np.linalg.norm(ball, axis=1)[:, None]
        points.append(base + ball + random.uniform(-25, 25, 80)[:, None] * direction)
        parallel.append(base + ball + random.uniform(-25, 25, 80)[:, None] * ALONG_X)
    assert bounds_of(np.concatenate(points), 2 * radius).punctures <= count
    assert bounds_of(np.concatenate(parallel), 2 * radius).parallel_punctures <= count


def test_two_balls_far_apart_take_two_ablations_but_one_line_may_do():
    ball = ball_points(8.0, 100)
    two = np.concatenate([ball, ball + np.array([70.0, 0.0, 0.0])])
    found = bounds_of(two, 20.0)
    assert (found.punctures, found.parallel_punctures, found.ablations) == (1, 1, 2)
    across = bounds_of(two, 20.0, direction=np.array([0.0, 1.0, 0.0]))
    assert across.parallel_punctures == 2


def test_the_volume_bounds_the_ablations():
    zone_ml = np.pi / 6 * 20.0**3 / 1000
    assert bounds_of(ball_points(8.0), 20.0, volume_ml=4.2 / 0.99 * zone_ml).ablations == 5


def test_one_probe_that_covers_leaves_nothing_to_prove():
    assert bounds_of(ball_points(30.0), 10.0, at_most=1) == Bounds(1, 1, 1)


def test_a_ball_a_little_wider_than_a_tube_takes_two_although_what_must_be_covered_fits_in_one():
    # Of a ball of 21 mm a tube of 19.5 mm through its middle holds 1 - (1 - (19.5 / 21) ** 2) ** 1.5 = 95 %.
    volume = np.stack(np.meshgrid(*[np.arange(-21.0, 21.1, 2.0)] * 3), axis=-1).reshape(-1, 3)
    volume = volume[np.linalg.norm(volume, axis=1) <= 21.0]
    found = least_needed(ball_points(19.0), volume, 0.99, 38.8, ALONG_X, 39.0, 42.0, 33.4, at_most=3)
    assert (found.punctures, found.ablations) == (2, 2)
