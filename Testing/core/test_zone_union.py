"""Zones united without a seam, and lesions that share them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.errors import EmptyMaskError, InputError
from NETAblationLib.core.margins import measure_margin
from NETAblationLib.core.surfaces import mask_surface
from NETAblationLib.core.zone_union import lesions_of_zones, touching_zones, united_mask
from support.shapes import grid, half_space, intersection, mask_of, sphere, union

IMAGE = grid((-22.0,) * 3, (22.0,) * 3, (1.0, 1.0, 1.0))
BALL = sphere((0.3, 0.2, 0.1), 15.0)
LEFT, RIGHT = half_space((0.2, 0, 0), (1, 0, 0)), half_space((0.2, 0, 0), (-1, 0, 0))


def halves(second=IMAGE):
    return [mask_of(intersection(BALL, LEFT), IMAGE), mask_of(intersection(BALL, RIGHT), second)]


@pytest.mark.parametrize(
    ("second", "allowed_mm"),
    [(IMAGE, 1e-9), (grid((-20.0,) * 3, (20.0,) * 3, (0.8, 0.9, 1.0)), 0.35)],
    ids=["one grid", "another grid"],
)
def test_two_halves_of_a_zone_are_the_whole_zone(second, allowed_mm):
    tumor = mask_of(sphere((0.3, 0.2, 0.1), 9.0), IMAGE)
    whole = measure_margin(tumor, mask_of(BALL, IMAGE))
    joined = measure_margin(tumor, united_mask(halves(second)))
    assert joined.mam_mm == pytest.approx(whole.mam_mm, abs=allowed_mm)
    assert joined.mean_mm == pytest.approx(whole.mean_mm, abs=min(allowed_mm, 0.1))
    assert joined.zone_component_count == 1
    # With a seam between them, a place of the tumor's surface would lie outside.
    assert joined.surface_fraction["below_0"] == 0.0


def test_overlapping_zones_count_once():
    zones = [mask_of(sphere((x, 0.2, 0.4), 9.0), IMAGE) for x in (-3.7, 4.3)]
    united = mask_surface(united_mask(zones))
    exact = mask_surface(mask_of(union(sphere((-3.7, 0.2, 0.4), 9.0), sphere((4.3, 0.2, 0.4), 9.0)), IMAGE))
    assert united.volume_ml == pytest.approx(exact.volume_ml)
    # Two balls of radius 9 with centers 8 apart: both less the lens in which they overlap.
    lens = np.pi * (4 * 9 + 8) * (2 * 9 - 8) ** 2 / 12
    assert united.volume_ml * 1000 == pytest.approx(2 * 4 / 3 * np.pi * 9**3 - lens, rel=0.01)


def test_zones_that_touch_are_found_also_through_each_other_and_on_other_grids():
    fine = grid((-30.0, -20, -20), (60.0, 20, 20), (0.8, 0.9, 1.0))
    own = mask_of(sphere((0, 0, 0), 9.0), IMAGE)
    others = {
        "far": mask_of(sphere((40, 0, 0), 9.0), fine),
        "through": mask_of(sphere((22, 0, 0), 6.0), fine),
        "apart": mask_of(sphere((0, 0, 16), 4.0), fine),
        "next": mask_of(sphere((13, 0, 0), 5.0), fine),
    }
    assert touching_zones(own, others) == ["through", "next"]
    assert touching_zones(own, {"apart": others["apart"], "through": others["through"]}) == []
    assert touching_zones(own, {}) == []


def test_lesions_under_one_zone_share_it_and_others_do_not():
    image = grid((-22.0, -22, -22), (80.0, 22, 22), (1.0, 1.0, 1.0))
    zone = mask_of(union(sphere((0, 0, 0), 15.0), sphere((12, 0, 0), 12.0), sphere((60, 0.3, 0.4), 10.2)), image)
    centers = {"first": (-4, 0, 0), "second": (14, 0, 0), "third": (60, 0, 0), "untreated": (36, 0, 0)}
    lesions = {name: mask_of(sphere(center, 4.0), image) for name, center in centers.items()}
    large, small = lesions_of_zones(zone, lesions)
    assert (large["lesions"], large["is_confluent"]) == (["first", "second"], True)
    assert (small["lesions"], small["is_confluent"]) == (["third"], False)
    assert small["center_ras_mm"] == pytest.approx([60, 0, 0], abs=0.6)
    assert small["volume_ml"] == pytest.approx(4 / 3 * np.pi * 1.02**3, rel=0.03)


def test_zones_of_the_moving_frame_are_reached_through_the_transform():
    matrix = np.eye(4)
    matrix[:3, 3] = (50.0, -20.0, 10.0)
    zone = mask_of(sphere((50.0, -20.0, 10.0), 12.0), grid((30, -40, -8), (68, 0, 28), (1.0, 1.0, 1.0)))
    lesion = {"one": mask_of(sphere((0, 0, 0), 5.0), IMAGE)}
    assert lesions_of_zones(zone, lesion, frames.affine_transform(matrix))[0]["lesions"] == ["one"]
    assert lesions_of_zones(zone, lesion)[0]["lesions"] == []


def test_no_and_empty_masks_are_refused():
    with pytest.raises(InputError, match="at least one"):
        united_mask([])
    empty = sitk.Image(IMAGE)
    with pytest.raises(EmptyMaskError, match="zone 2"):
        united_mask([halves()[0], empty])
    with pytest.raises(EmptyMaskError, match="zone"):
        lesions_of_zones(empty, {})
