"""Achieved against predicted margins, on zones whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest

from NETAblationLib.core.errors import GeometryError, InputError
from NETAblationLib.core.plan_margin import margin_against_plan, plan_margin_text
from NETAblationLib.core.probes import Ablation, Probe
from NETAblationLib.core.surfaces import mask_surface
from support.shapes import grid, mask_of, sphere

CENTER = np.array([-2.0, 4.0, 7.0])
#: A round zone of 30 mm around the tumor's center.
ROUND = Ablation("any", tuple(CENTER), 30.0, 30.0)
PROBE = Probe(tuple(CENTER + np.array([0, 80, 0])), tuple(CENTER - np.array([0, 5, 0])), (ROUND,))


@pytest.fixture(scope="module")
def ball():
    image = grid(tuple(CENTER - 14), tuple(CENTER + 14), (1.0, 1.0, 1.0))
    return mask_surface(mask_of(sphere(CENTER, 10.0), image))


def achieved(surface, shift):
    """Signed margin of a ball of 15 mm, shifted."""
    return 15.0 - np.linalg.norm(surface.points_ras_mm - CENTER - shift, axis=1)


def test_a_zone_that_went_astray_falls_short_on_the_other_side(ball):
    found = margin_against_plan(ball, achieved(ball, np.array([0.0, 0.0, 4.0])), [PROBE])
    assert found.predicted_mm == pytest.approx(np.full(len(ball.points_ras_mm), 5.0), abs=0.4)
    document = found.to_dict()
    assert document["predicted_mam_mm"] == pytest.approx(5.0, abs=0.4)
    assert document["achieved_mam_mm"] == pytest.approx(1.0, abs=0.4)
    assert document["worst_difference_mm"] == pytest.approx(-4.0, abs=0.05)
    assert document["worst_side"] == "caudal"
    assert np.array(document["worst_location_ras_mm"]) == pytest.approx(CENTER - np.array([0, 0, 10]), abs=1.5)
    # The mean over the ball of the distance from a center 4 mm off is 10 + 4^2 / (3 * 10).
    assert document["mean_difference_mm"] == pytest.approx(-16 / 30, abs=0.03)
    # It falls short by more than t where the distance from the shifted center is above 10 + t.
    for name, limit in (("0", 0.0), ("2", 2.0)):
        assert document["short_by_fraction"][name] == pytest.approx(_above(limit), abs=0.02)
    assert "caudal" in plan_margin_text(document)


def _above(limit: float) -> float:
    """Share of the sphere of 10 mm farther than 10 + limit from a place 4 mm off its center."""
    cosine = (100 + 16 - (10 + limit) ** 2) / 80  # of the angle from the shift; farther where it is smaller
    return (cosine + 1) / 2


def test_what_was_planned_and_done_alike_does_not_differ(ball):
    found = margin_against_plan(ball, achieved(ball, np.zeros(3)), [PROBE])
    assert np.abs(found.difference_mm).max() < 1e-6
    assert found.mean_absolute_difference_mm == pytest.approx(0.0, abs=1e-6)


def test_only_the_evaluable_surface_is_summed_up(ball):
    is_low = ball.points_ras_mm[:, 2] < CENTER[2]
    margin = achieved(ball, np.array([0.0, 0.0, 4.0]))
    found = margin_against_plan(ball, margin, [PROBE], ~is_low)
    assert found.worst_difference_mm > -1.0
    nothing = margin_against_plan(ball, margin, [PROBE], np.zeros(len(margin), bool)).to_dict()
    assert nothing["worst_difference_mm"] is None
    assert "not evaluable" in plan_margin_text(nothing)


def test_bad_input_is_refused(ball):
    with pytest.raises(InputError, match="margin against plan"):
        margin_against_plan(ball, np.zeros(2), [PROBE])
    with pytest.raises(GeometryError, match="no ablation"):
        margin_against_plan(ball, achieved(ball, np.zeros(3)), [Probe((0, 0, 0), (0, 0, 9), ())])
