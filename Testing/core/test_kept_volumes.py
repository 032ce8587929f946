"""How much masks swell under a deformation, against exact volumes; what is cut and whose it is."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.errors import GeometryError
from NETAblationLib.core.excluded import Excluded, cut_to_contents, excluded_masks
from NETAblationLib.core.freeform import Lattice
from NETAblationLib.core.kept_volumes import KeptVolumes
from NETAblationLib.core.working_grids import WorkingGrid
from support.deformation import rotation

CENTER, RADIUS_MM = np.array([5.0, -8.0, 12.0]), 16.0
LATTICE = Lattice.around([-90.0] * 3, [90.0] * 3, 28.0)


def swelling(swell: float) -> np.ndarray:
    """Control vectors of u(x) = swell (x - CENTER), which cubic B-splines reproduce exactly within the lattice."""
    nodes = WorkingGrid(LATTICE.first_ras_mm, LATTICE.spacing_mm, LATTICE.shape).points()
    return (swell * (nodes - CENTER)).T.reshape(3, *LATTICE.shape)


def ball(center, radius_mm: float, spacing_mm: float = 1.5) -> sitk.Image:
    grid = WorkingGrid.over([-60.0] * 3, [60.0] * 3, spacing_mm)
    inside = np.linalg.norm(grid.points() - center, axis=1) < radius_mm
    return grid.image(inside.reshape(grid.shape).astype(np.uint8))


@pytest.mark.parametrize("swell", [-0.08, 0.05])
def test_the_change_of_a_ball_that_swells_evenly_is_known(swell):
    control = swelling(swell)
    mask = Excluded(cut_to_contents(ball(CENTER, RADIUS_MM)), True, False)
    change = KeptVolumes([mask], LATTICE, np.eye(4)).changes(control)[0][0]
    assert change == pytest.approx((1 + swell) ** 3 - 1, abs=0.004)


def test_a_mask_of_the_moving_frame_is_followed_back():
    control = swelling(0.06)
    turn = rotation((0.0, 0.6, 0.8), 20.0)
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = turn, [30.0, -20.0, 10.0]
    swollen = ball(CENTER, RADIUS_MM * 1.06)
    matrix = frames.index_to_ras_matrix(swollen)
    moved = sitk.Image(swollen)
    placed = frames.lps_matrix_from_ras(rigid)
    moved.SetDirection((placed[:3, :3] @ np.array(swollen.GetDirection()).reshape(3, 3)).ravel().tolist())
    moved.SetOrigin((placed[:3, :3] @ np.array(swollen.GetOrigin()) + placed[:3, 3]).tolist())
    assert np.allclose(frames.index_to_ras_matrix(moved), rigid @ matrix)
    mask = Excluded(cut_to_contents(moved), False, True)
    change = KeptVolumes([mask], LATTICE, rigid).changes(control)[0][0]
    assert change == pytest.approx(1.06**3 - 1, abs=0.006)


@pytest.mark.parametrize("of_fixed", [True, False])
def test_slopes_are_those_of_the_change(of_fixed):
    rng = np.random.default_rng(3)
    control = swelling(0.04) + rng.normal(0, 0.3, (3, *LATTICE.shape))
    mask = Excluded(cut_to_contents(ball(CENTER, RADIUS_MM)), of_fixed, not of_fixed)
    kept = KeptVolumes([mask], LATTICE, np.eye(4))
    direction = swelling(1.0)
    step = 1e-3
    difference = (kept.changes(control + step * direction)[0] - kept.changes(control - step * direction)[0]) / (
        2 * step
    )
    slope = (kept.changes(control)[1][0] * direction).sum()
    assert slope == pytest.approx(difference[0], rel=0.02)


def test_masks_are_cut_in_place_and_known_by_their_grid():
    fixed, moving = ball(CENTER, RADIUS_MM), ball(CENTER, RADIUS_MM)
    moving.SetOrigin((500.0, 0.0, 0.0))
    zone = sitk.RegionOfInterest(moving, [40, 40, 40], [20, 18, 22])
    tumor, treated = excluded_masks(fixed, moving, [fixed, zone])
    assert (tumor.is_of_fixed, tumor.is_of_moving) == (True, False)
    assert (treated.is_of_fixed, treated.is_of_moving) == (False, True)
    np.testing.assert_allclose(frames.voxel_centers(tumor.mask), frames.voxel_centers(fixed), atol=1e-9)
    assert np.prod(tumor.mask.GetSize()) < 0.1 * np.prod(fixed.GetSize())
    assert tumor.volume_ml == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3 / 1000, rel=0.01)
    fixed.SetSpacing((1.4, 1.5, 1.5))
    with pytest.raises(GeometryError, match="exclude mask 1 lies neither"):
        excluded_masks(fixed, moving, [ball(CENTER, RADIUS_MM)])
