"""Moving the lines of a draft: derivatives against differences, and what a move reaches on known shapes."""

from __future__ import annotations

import numpy as np
import pytest

from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.drafts import Draft, Line
from NETAblationLib.core.polishing import _Polish, polished

SETTINGS = load_catalogue()["emprint-mwa"].settings


class Open:
    """Surroundings with room everywhere but beyond a plane, if there is one."""

    room_mm = None

    def __init__(self, wall_mm=np.inf):
        """`wall_mm`: where along A the plane stands."""
        self.wall_mm = wall_mm

    def sample(self, _, points, __):
        return np.minimum(self.wall_mm - points[..., 1], 100.0)


def sphere_points(radius_mm, count):
    steps = np.arange(count) + 0.5
    z, azimuth = 1 - 2 * steps / count, np.pi * (1 + 5**0.5) * steps
    return radius_mm * np.stack([np.sqrt(1 - z**2) * np.cos(azimuth), np.sqrt(1 - z**2) * np.sin(azimuth), z], axis=1)


def draft_of(*bases, tilt=0.0):
    lines = []
    for number, base in enumerate(bases):
        direction = np.array([-1.0, tilt * number, 0.3 * tilt * number])
        lines.append(Line(np.array(base, float), direction / np.linalg.norm(direction), 90.0))
    return Draft(tuple(lines), tuple(((-4.0, SETTINGS[2]), (9.0, SETTINGS[0])) for _ in bases))


@pytest.mark.parametrize("wall_mm", [np.inf, 3.0])
def test_derivatives_are_those_of_differences(wall_mm):
    random = np.random.default_rng(3)
    draft = draft_of((1, 2, 0), (0, -6, 5), (2, 5, -9), tilt=0.1)
    polish = _Polish(draft, 15 * random.normal(size=(200, 3)), 20 * random.normal(size=(80, 3)), Open(wall_mm), 0.7)
    values = random.normal(size=len(polish.free_mm))
    slope = polish.loss(values)[1]
    step = 8e-3  # below a few thousandths the single precision of the price shows
    differences = [
        (polish.loss(values + step * unit)[0] - polish.loss(values - step * unit)[0]) / (2 * step)
        for unit in np.eye(len(values))
    ]
    assert slope == pytest.approx(differences, abs=1e-3)  # of room: one-sided differences


@pytest.mark.parametrize("size_mm", [0.3, 2.0, 6.0])
def test_what_is_left_out_of_a_loss_is_nothing(size_mm):
    """Looking at every pair of shafts, every place on them and every zone gives the same price and derivatives."""
    random = np.random.default_rng(5)
    draft = draft_of((1, -2, 0), (0, -7, 3), (2, 0, -6), tilt=0.05)
    points = 15 * random.normal(size=(200, 3)), 20 * random.normal(size=(80, 3))
    polish, whole = (_Polish(draft, *points, Open(6.0), 0.7) for _ in range(2))
    whole.apart_mm[:] = 0.0
    whole.room_mm = np.where(np.isfinite(whole.room_mm), -1e3, np.inf)
    whole.least_room_mm[:] = -1e3
    for _ in range(5):
        values = size_mm * random.normal(size=len(polish.free_mm))
        (price, slope), (every_price, every_slope) = polish.loss(values), whole.loss(values)
        assert price == every_price
        assert slope == pytest.approx(every_slope, abs=1e-12)


def test_a_zone_beside_a_ball_is_moved_onto_its_center():
    draft = Draft((Line(np.array([3.0, -4.0, 2.0]), np.array([-1.0, 0.0, 0.0]), 90.0),), (((5.0, SETTINGS[2]),),))
    ball = sphere_points(10.0, 400)
    (probe,) = polished(draft, ball, np.zeros((0, 3)), Open(), iterations=40, sharp=True).probes
    assert probe.ablations[0].center_ras_mm == pytest.approx((0.0, 0.0, 0.0), abs=0.3)


def test_a_line_is_pushed_off_a_wall_as_far_as_the_target_allows():
    draft = Draft((Line(np.array([0.0, 2.0, 0.0]), np.array([-1.0, 0.0, 0.0]), 90.0),), (((0.0, SETTINGS[2]),),))
    moved = polished(draft, sphere_points(10.0, 400), np.zeros((0, 3)), Open(-1.0), iterations=40, sharp=False)
    assert moved.lines[0].base_ras_mm[1] < -0.5


def test_lines_that_run_into_each_other_are_pushed_apart():
    draft = draft_of((0, 0.5, 0), (0, -0.5, 0))
    moved = polished(draft, sphere_points(10.0, 200), np.zeros((0, 3)), Open(), iterations=40, sharp=False)
    first, second = (line.base_ras_mm[1:] for line in moved.lines)
    assert np.linalg.norm(first - second) > 4.0
