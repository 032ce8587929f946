"""Centerlines: sound values only, and distances to vessel walls against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core.centerlines import Centerlines, VesselKind
from NETAblationLib.core.errors import InputError


def _some(seed: int, count: int) -> Centerlines:
    rng = np.random.default_rng(seed)
    return Centerlines(
        rng.uniform(-40, 40, (count, 3)), rng.uniform(0.5, 9, count), rng.integers(1, 5, count), np.ones(count)
    )


def test_the_distance_to_a_straight_vessel_is_that_to_its_wall():
    along = np.arange(-50, 50, 0.5)
    vessel = Centerlines(
        np.stack([0 * along, 0 * along, along], axis=1), np.full(len(along), 3.0), along * 0 + 1, along * 0 + 0.5
    )
    distance, index = vessel.nearest_walls(np.array([[10.0, 0, 7.0], [0, 1, -20.0]]))
    assert distance == pytest.approx([7.0, -2.0])
    assert along[index] == pytest.approx([7.0, -20.0])


@given(st.integers(0, 1000), st.integers(1, 60))
def test_nearest_walls_are_near_those_of_all_pairs(seed: int, count: int):
    vessels = _some(seed, count)
    points = np.random.default_rng(seed + 1).uniform(-60, 60, (20, 3))
    found, index = vessels.nearest_walls(points)
    pairs = np.linalg.norm(points[:, None] - vessels.points_ras_mm, axis=2)
    truth = (pairs - vessels.radius_mm).min(axis=1)
    # Radii of one class differ by less than half a millimeter, and no more can be lost.
    assert (found >= truth - 1e-9).all()
    assert (found <= truth + 0.5).all()
    assert found == pytest.approx(pairs[np.arange(len(points)), index] - vessels.radius_mm[index])


def test_without_vessels_nothing_is_near():
    none = Centerlines(np.empty((0, 3)), [], [], [])
    distance, index = none.nearest_walls(np.zeros((2, 3)))
    assert np.isinf(distance).all()
    assert (index == -1).all()


def test_parts_are_chosen_by_caliber_and_kind():
    vessels = Centerlines(np.zeros((3, 3)), [1.0, 1.5, 4.0], [1, 2, 1], [0.5, 0.25, 0.125])
    assert vessels.at_least(3.0).radius_mm.tolist() == [1.5, 4.0]
    assert vessels.of_kind(VesselKind.PORTAL).radius_mm.tolist() == [1.0, 4.0]
    assert len(vessels.of_kind(VesselKind.PORTAL, VesselKind.HEPATIC)) == 3
    assert vessels.of_kind(VesselKind.PORTAL).length_mm == 0.625


@pytest.mark.parametrize(
    ("points", "radius", "kind", "step", "message"),
    [
        (np.zeros((2, 3)), [1.0], [1, 1], [1, 1], "equally many"),
        (np.full((1, 3), np.nan), [1.0], [1], [1], "not finite"),
        (np.zeros((1, 3)), [0.0], [1], [1], "not above 0"),
        (np.zeros((1, 3)), [1.0], [9], [1], "kind"),
        (np.zeros((1, 3)), [1.0], [1], [-1], "length"),
    ],
)
def test_unsound_centerlines_are_refused(points, radius, kind, step, message):
    with pytest.raises(InputError, match=message):
        Centerlines(points, radius, kind, step)
