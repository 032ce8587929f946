"""Margins by direction against closed forms, motions of the patient and odd input."""

from __future__ import annotations

import numpy as np
import pytest

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.margin_directions import direction_text, margin_by_direction
from NETAblationLib.core.margins import MarginResult, measure_margin
from NETAblationLib.core.surfaces import Surface, mask_surface, merge_surfaces
from support.shapes import grid, mask_of, sphere

CENTER = np.array([3.2, -1.4, 5.1])


@pytest.fixture(scope="module")
def ball() -> Surface:
    image = grid(tuple(CENTER - 14), tuple(CENTER + 14), (1.0, 1.0, 1.0))
    return mask_surface(mask_of(sphere(CENTER, 10.0), image))


def away(surface: Surface) -> np.ndarray:
    return (surface.points_ras_mm - CENTER) / 10.0


def test_the_six_sides_of_a_ball_are_alike_and_make_up_all_of_it(ball):
    found = margin_by_direction(ball, np.full(len(ball.points_ras_mm), 4.0))
    assert set(found["sides"]) == {"anterior", "posterior", "left", "right", "cranial", "caudal"}
    for side in found["sides"].values():
        assert side["area_fraction"] == pytest.approx(1 / 6, abs=0.01)
        assert side["evaluable_fraction"] == pytest.approx(1.0)
        assert (side["least_mm"], side["p05_mm"], side["from_0_to_5"]) == pytest.approx((4.0, 4.0, 1.0))
    assert sum(side["area_fraction"] for side in found["sides"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("toward", "words"),
    [
        ((1, 0, 0), "right"),
        ((-1, 0, 0), "left"),
        ((0, -1, 0), "posterior"),
        ((0, 0, -1), "caudal"),
        ((0, 0.8, 0.6), "anterior-cranial"),
    ],
)
def test_a_zone_shifted_away_from_a_side_is_thin_there(ball, toward, words):
    # The margin of a ball in a ball that is 5 mm larger and shifted by 4 mm, to first order.
    margin = 5.0 - 4.0 * away(ball) @ np.array(toward, float)
    found = margin_by_direction(ball, margin)
    assert found["thinnest"] == words
    assert found["thinnest_mm"] == pytest.approx(1.0, abs=0.1)
    assert found["thinnest_direction_ras"] == pytest.approx(toward, abs=0.2)
    side = found["sides"][words.split("-")[0]]
    assert side["least_mm"] == min(row["least_mm"] for row in found["sides"].values())
    assert side["p05_mm"] >= side["least_mm"]
    assert side["at_least_5"] == pytest.approx(0.0, abs=0.01)
    assert words in direction_text(found)


def test_only_what_is_evaluable_counts(ball):
    is_right = away(ball)[:, 0] > 0.3
    found = margin_by_direction(ball, np.where(is_right, -3.0, 6.0), ~is_right)
    assert found["thinnest_mm"] == pytest.approx(6.0)
    assert found["sides"]["right"]["least_mm"] is None
    assert found["sides"]["right"]["evaluable_fraction"] == pytest.approx(0.0)
    nothing = margin_by_direction(ball, np.zeros(len(is_right)), np.zeros(len(is_right), bool))
    assert (nothing["thinnest"], nothing["thinnest_mm"]) == ("", None)
    assert "not evaluable" in direction_text(nothing)


def test_each_part_has_sides_of_its_own(ball):
    other = Surface(ball.points_ras_mm + np.array([60.0, 0, 0]), ball.triangles)
    margin = 5.0 - 4.0 * away(ball)[:, 0]
    both = margin_by_direction(merge_surfaces([ball, other]), np.concatenate([margin, margin]))
    assert both["sides"]["left"]["least_mm"] == margin_by_direction(ball, margin)["sides"]["left"]["least_mm"]


def test_it_is_part_of_a_measured_margin_and_of_its_document():
    image = grid((-22.0,) * 3, (22.0,) * 3, (1.0, 1.0, 1.0))
    tumor, zone = mask_of(sphere((0.3, 0.2, 0.1), 8.0), image), mask_of(sphere((0.3, -3.8, 0.1), 13.0), image)
    result = measure_margin(tumor, zone)
    assert result.direction["thinnest"] == "anterior"
    assert result.direction["thinnest_mm"] == result.mam_mm
    document = result.to_dict()
    assert MarginResult.from_dict(document).direction == document["direction"]
    del document["direction"]  # as an earlier release wrote it
    assert MarginResult.from_dict(document).direction == {}


def test_arrays_of_another_length_are_refused(ball):
    with pytest.raises(InputError, match="margin by direction"):
        margin_by_direction(ball, np.zeros(3))
    with pytest.raises(InputError, match="finite"):
        margin_by_direction(ball, np.full(len(ball.points_ras_mm), np.nan))
