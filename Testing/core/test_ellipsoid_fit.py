"""The fitted ellipsoid against the exact one that a membership was made from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from NETAblationLib.core.ellipsoid_fit import Drawn, fitted
from NETAblationLib.core.line_grid import LineGrid
from NETAblationLib.core.shape_field import PRIORS, LineEllipsoid

CENTER, BLUR_MM, NONE = np.array([12.0, -40.0, 130.0]), 1.2, np.empty((0, 3))
SEMI_MM, AXES = np.array([6.0, 5.0, 4.0]), Rotation.from_rotvec((0.3, -0.5, 0.8)).as_matrix()


def _places(grid: LineGrid) -> np.ndarray:
    """RAS of the grid's voxels, (N, N, N, 3)."""
    along = (np.arange(grid.count) - grid.count // 2) * grid.spacing_mm
    return np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1) @ grid.axes.T + grid.center_ras_mm


def _ellipsoid(grid: LineGrid, center=CENTER, semi=SEMI_MM) -> np.ndarray:
    return np.linalg.norm((_places(grid) - center) @ AXES / semi, axis=-1) < 1


def _fit(line: np.ndarray, *others, noise: float = 0.1, plus=NONE, minus=NONE) -> tuple[LineEllipsoid, LineGrid]:
    """Fit to the exact ellipsoid and other regions (functions of places), blurred and noisy."""
    grid = LineGrid.around(line, 20.0)
    inside = _ellipsoid(grid)
    for other in others:
        inside |= other(_places(grid))
    sigma = BLUR_MM / grid.spacing_mm
    grain = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=inside.shape), sigma)
    membership = (ndimage.gaussian_filter(inside.astype(float), sigma) + noise * grain / grain.std()).astype(np.float32)
    start = LineEllipsoid.of(line, None, PRIORS["lesion"])
    return fitted(start, grid, membership, Drawn([line], plus, minus), noise=noise, blur_mm=BLUR_MM), grid


def _assert_is_the_truth(found: LineEllipsoid, grid: LineGrid, least_dice: float) -> None:
    assert np.linalg.norm(found.center_ras_mm - CENTER) < 1.0
    inside, true = found.radius(grid) < 1, _ellipsoid(grid)
    assert 2 * (inside & true).sum() / (inside.sum() + true.sum()) >= least_dice


LINE = CENTER + np.outer([-6.0, 6.0], AXES[:, 0])


@pytest.mark.parametrize(
    "off",
    [
        np.zeros((2, 3)),
        np.array([[2.0, 1.0, -1.5], [1.0, -2.0, 0.0]]),
        1.4 * np.outer([1.0, -1.0], AXES[:, 0]),
        -2.0 * np.outer([1.0, -1.0], AXES[:, 0]),
    ],
    ids=["exact", "beside", "too short", "too long"],
)
def test_a_line_that_is_off_gives_the_lesion_nevertheless(off):
    _assert_is_the_truth(*_fit(LINE + off), 0.85)


def test_a_vessel_that_touches_the_lesion_is_left_out():
    """As bright, as thick, and along the whole side."""
    beside = CENTER + AXES[:, 2] * 8.0

    def tube(places: np.ndarray) -> np.ndarray:
        return np.linalg.norm(((places - beside) @ AXES)[..., 1:], axis=-1) < 4.0

    _assert_is_the_truth(*_fit(LINE + np.array([[1.5, 0.0, 1.0], [0.0, 1.5, 1.0]]), tube), 0.85)


def test_an_uneven_lesion_keeps_a_wider_tolerance():
    lobes = [CENTER + AXES @ np.array(place) for place in ((4.0, 4.0, 0.0), (-4.0, -4.0, 2.0), (0.0, 2.0, -5.0))]

    def lobed(places: np.ndarray) -> np.ndarray:
        return np.min([np.linalg.norm(places - lobe, axis=-1) for lobe in lobes], axis=0) < 3.0

    even, uneven = _fit(LINE)[0], _fit(LINE, lobed)[0]
    assert even.tolerance < 0.12
    assert uneven.tolerance > 1.2 * even.tolerance
    assert uneven.tolerance <= PRIORS["lesion"].tolerance


def test_strokes_move_the_surface_past_them():
    """Into noise alone, which has no edges to hold it."""
    outside = CENTER + AXES[:, [1]].T * 7.0
    plain, grown = _fit(LINE, noise=0.4)[0], _fit(LINE, noise=0.4, plus=outside)[0]
    inside = CENTER + AXES[:, [1]].T * 4.0
    shrunk = _fit(LINE, noise=0.4, minus=inside)[0]

    def radius(shape: LineEllipsoid, point: np.ndarray) -> float:
        return float(np.linalg.norm((point - shape.center_ras_mm) @ shape.axes / shape.semi_mm))

    assert radius(grown, outside) < radius(plain, outside)
    assert radius(shrunk, inside) > radius(plain, inside)
    assert grown.tolerance < PRIORS["lesion"].tolerance


def test_without_edges_the_ellipsoid_of_the_line_stays():
    grid = LineGrid.around(LINE, 20.0)
    start = LineEllipsoid.of(LINE, None, PRIORS["lesion"])
    flat = np.ones((grid.count,) * 3, np.float32)
    assert fitted(start, grid, flat, Drawn([LINE], NONE, NONE), noise=0.2, blur_mm=BLUR_MM) is start
