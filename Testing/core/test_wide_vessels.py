"""Tubes of known width: thin ones go, wide ones stay whole, whatever the voxels."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.wide_vessels import wide_part
from support import shapes


def tube(radius_mm, direction=(1.0, 0.3, 0.2), through=(0.0, 0.0, 0.0)):
    """Level (negative inside) of an endless tube."""
    along = np.asarray(direction, float) / np.linalg.norm(direction)

    def level(points):
        offset = np.asarray(points) - through
        return np.linalg.norm(offset - (offset @ along)[..., None] * along, axis=-1) - radius_mm

    return level


def kept(mask, least_mm=3.0):
    before, after = (sitk.GetArrayFromImage(image) != 0 for image in (mask, wide_part(mask, least_mm)))
    assert not (after & ~before).any()
    return after.sum() / before.sum()


GRIDS = {
    "fine": shapes.grid((-20, -20, -20), (20, 20, 20), (0.8, 0.8, 1.0)),
    "oblique": shapes.grid((-20, -20, -20), (20, 20, 20), (0.7, 0.9, 1.2), shapes.rotation((1, 2, 3), 30.0)),
    "flipped": shapes.grid((-20, -20, -20), (20, 20, 20), (0.8, 0.8, 1.0), np.diag([-1.0, -1.0, 1.0])),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("direction", [(1, 0.3, 0.2), (0.1, 0.2, 1)])
def test_wide_tubes_stay_and_thin_ones_go(grid, direction):
    for width, least, most in ((6.0, 0.97, 1.0), (4.0, 0.9, 1.0), (1.6, 0.0, 0.12)):
        share = kept(shapes.mask_of(tube(width / 2, direction), GRIDS[grid]))
        assert least <= share <= most, width


def test_thin_branches_are_taken_from_a_wide_trunk():
    trunk, branch = tube(4.0, (1, 0, 0)), tube(0.8, (0, 1, 0.2), (3.0, 0.0, 0.0))
    mask = shapes.mask_of(lambda points: np.minimum(trunk(points), branch(points)), GRIDS["fine"])
    left = sitk.GetArrayFromImage(wide_part(mask, 3.0)) != 0
    depth = trunk(shapes.voxel_centers(GRIDS["fine"])).reshape(left.shape)
    assert left[depth < -0.5].all()
    assert not left[depth > 3.0].any()


def test_an_empty_mask_stays_empty():
    assert not sitk.GetArrayViewFromImage(wide_part(GRIDS["fine"] * 0, 3.0)).any()


def test_no_width_is_refused():
    with pytest.raises(InputError, match="above 0 mm"):
        wide_part(GRIDS["fine"], 0.0)
