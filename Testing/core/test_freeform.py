"""The spline displacement and its least squares, against plain numerical truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import integrate

from NETAblationLib.core.freeform import Lattice, cubic, cubic_slope, jacobian_determinant, solve
from NETAblationLib.core.local_correlation import gauss_newton_terms, match
from NETAblationLib.core.rigid import best_rigid_fit, rotation_degrees
from NETAblationLib.core.working_grids import WorkingGrid, resample_mask
from support.shapes import rotation

LATTICE = Lattice.around((-20.0, -10.0, 0.0), (25.0, 30.0, 35.0), 15.0)


def random_control(seed: int = 0, amplitude: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, amplitude, (3, *LATTICE.shape)).astype(np.float32)


def test_splines_sum_to_one_within_the_box_that_was_asked_for():
    grid = WorkingGrid.over((-20.0, -10.0, 0.0), (25.0, 30.0, 35.0), 5.0)
    field = LATTICE.evaluate(np.ones((3, *LATTICE.shape), np.float32), grid)
    assert np.allclose(field, 1.0, atol=1e-5)


def test_displacement_and_its_slope_vanish_on_the_border_of_the_box():
    lower, upper = LATTICE.box_ras_mm
    control = random_control()
    for point in (lower, upper, 0.5 * (lower + upper) * [1, 1, 0] + upper * [0, 0, 1]):
        grid = WorkingGrid(tuple(point.tolist()), 1.0, (1, 1, 1))
        assert np.abs(LATTICE.evaluate(control, grid)).max() < 1e-5
        assert np.abs(LATTICE.gradient(control, grid)).max() < 1e-5


def test_gradient_equals_finite_differences():
    control = random_control(1)
    grid = WorkingGrid((3.0, 4.0, 9.0), 7.0, (3, 3, 3))
    gradient = LATTICE.gradient(control, grid)
    for b in range(3):
        step = np.eye(3)[b] * 0.05
        ahead, behind = (
            LATTICE.evaluate(control, WorkingGrid(tuple(np.array(grid.first_ras_mm) + s * step), 7.0, (3, 3, 3)))
            for s in (1, -1)
        )
        assert np.allclose(gradient[:, b], (ahead - behind) / 0.1, atol=2e-3)


def test_jacobian_of_a_linear_field_is_its_determinant():
    matrix = np.array([[0.1, -0.2, 0.05], [0.3, 0.15, 0.0], [-0.1, 0.2, -0.3]], np.float32)
    gradient = np.broadcast_to(matrix[:, :, None, None, None], (3, 3, 2, 2, 2))
    assert np.allclose(jacobian_determinant(gradient), np.linalg.det(np.eye(3) + matrix), atol=1e-6)


def test_fit_reproduces_a_field_of_the_lattice():
    grid = WorkingGrid.over(*LATTICE.box_ras_mm, 5.0)
    control = random_control(2)
    assert np.allclose(LATTICE.fit(LATTICE.evaluate(control, grid), grid), control, atol=1e-3)


@pytest.mark.parametrize(("kernel", "order"), [(cubic, 0), (cubic_slope, 1)])
@pytest.mark.parametrize("apart", [0, 1, 2, 3])
def test_energies_rest_on_the_integrals_of_the_splines(kernel, order, apart):
    expected, _ = integrate.quad(lambda x: float(kernel(np.array(x)) * kernel(np.array(x - apart))), -2, 5, limit=200)
    gram = LATTICE._gram(order, 8).toarray() * LATTICE.spacing_mm ** (2 * order - 1)
    assert gram[2, 2 + apart] == pytest.approx(expected, abs=1e-6)


def test_bending_energy_equals_the_integral_of_squared_second_derivatives():
    control = random_control(3)
    lower, upper = LATTICE.box_ras_mm
    grid = WorkingGrid.over(lower, upper, 1.5)
    gradient = LATTICE.gradient(control, grid)[0].astype(np.float64)  # of the first component
    second = [np.gradient(gradient[b], 1.5, axis=2 - c) for b in range(3) for c in range(3)]
    expected = sum((part**2).sum() for part in second) * 1.5**3
    values = control[0].ravel()
    assert values @ (LATTICE.bending @ values) == pytest.approx(expected, rel=0.02)
    membrane = sum((gradient[b] ** 2).sum() for b in range(3)) * 1.5**3
    assert values @ (LATTICE.membrane @ values) == pytest.approx(membrane, rel=0.02)


def test_normal_matrix_equals_the_sum_over_voxels():
    lattice = Lattice.around((0, 0, 0), (20, 30, 10), 10.0)
    grid = WorkingGrid.over((0, 0, 0), (20, 30, 10), 4.0)
    rng = np.random.default_rng(4)
    slope = rng.normal(size=(3, *grid.shape)).astype(np.float32)
    r, a, s = slope
    tensor = np.stack([r * r, a * a, s * s, r * a, r * s, a * s])
    control = rng.normal(size=(3, *lattice.shape)).astype(np.float32)
    along = (lattice.evaluate(control, grid) * slope).sum(axis=0)
    expected = lattice.gather(along * slope, grid)
    found = lattice.normal_matrix(tensor, grid) @ control.reshape(3, -1).T.ravel()
    assert np.allclose(found.reshape(-1, 3).T.reshape(expected.shape), expected, atol=1e-3)


def test_solve_equals_a_dense_solution():
    lattice = Lattice.around((0, 0, 0), (10, 10, 10), 10.0)
    grid = WorkingGrid.over((0, 0, 0), (10, 10, 10), 2.5)
    rng = np.random.default_rng(5)
    r, a, s = rng.normal(size=(3, *grid.shape)).astype(np.float32)
    normal = lattice.normal_matrix(np.stack([r * r, a * a, s * s, r * a, r * s, a * s]), grid)
    energy = (lattice.bending * 50 + lattice.membrane).tocsr()
    right = rng.normal(size=(3, *lattice.shape)).astype(np.float32)
    dense = normal.toarray().astype(float) + sp.kron(energy, np.eye(3)).toarray()
    expected = np.linalg.solve(dense, right.reshape(3, -1).T.ravel()).reshape(-1, 3).T.reshape(right.shape)
    found = solve(normal, energy, right, tolerance=1e-6, max_iterations=2000)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)

    rows = rng.normal(0, 30, (2, 3, *lattice.shape)).astype(np.float32)
    flat = rows.reshape(2, 3, -1).swapaxes(1, 2).reshape(2, -1).astype(float)
    expected = np.linalg.solve(dense + flat.T @ flat, right.reshape(3, -1).T.ravel()).reshape(-1, 3).T
    found = solve(normal, energy, right, rows, tolerance=1e-6, max_iterations=2000)
    assert np.linalg.norm(found.reshape(3, -1) - expected) < 0.01 * np.linalg.norm(expected)


def test_local_correlation_ignores_brightness_and_contrast_and_what_is_excluded():
    rng = np.random.default_rng(6)
    fixed = rng.normal(0, 50, (16, 16, 16)).astype(np.float32)
    moving = 0.4 * fixed + 70
    weight = np.ones_like(fixed)
    weight[:5] = 0
    moving[:5] = 3000.0  # where it may not count
    found = match(fixed, moving, weight, 2.0, noise=0.5)
    assert found.mean_correlation() > 0.99
    assert match(fixed, -moving, weight, 2.0, noise=0.5).mean_correlation() < -0.99
    other = rng.normal(0, 50, fixed.shape).astype(np.float32)
    assert abs(match(fixed, other, weight, 2.0, noise=0.5).mean_correlation()) < 0.1


def test_force_points_to_where_the_moving_image_fits():
    grid = WorkingGrid.over((-20, -20, -20), (20, 20, 20), 2.0)
    points = grid.points()

    def blob(center: np.ndarray) -> np.ndarray:
        squared = ((points - center) ** 2).sum(axis=1).reshape(grid.shape)
        return (100 * np.exp(-0.5 * squared / 6.0**2)).astype(np.float32)

    shift = np.array([1.5, -1.0, 0.8])  # the moving blob lies here, so fixed points move there
    found = match(blob(np.zeros(3)), blob(shift), np.ones(grid.shape, np.float32), 4.0, noise=5.0)
    tensor, force = gauss_newton_terms(found, 2.0)
    r, a, s, ra, rs, as_ = tensor.reshape(6, -1).sum(axis=1)
    normal = np.array([[r, ra, rs], [ra, a, as_], [rs, as_, s]])
    assert np.allclose(np.linalg.solve(normal, force.reshape(3, -1).sum(axis=1)), shift, atol=0.3)


def test_best_rigid_fit_recovers_a_motion_and_never_mirrors():
    rng = np.random.default_rng(7)
    points = rng.normal(0, 30, (50, 3))
    turn = rotation((1.0, 2.0, -1.0), 27.0)
    matrix = best_rigid_fit(points, points @ turn.T + [3, -4, 5])
    assert np.allclose(matrix[:3, :3], turn)
    assert np.allclose(matrix[:3, 3], [3, -4, 5])
    assert rotation_degrees(matrix) == pytest.approx(27.0)
    assert np.linalg.det(best_rigid_fit(points, points * [1, 1, -1])[:3, :3]) == pytest.approx(1.0)


def test_resample_mask_keeps_place():
    grid = WorkingGrid.over((0, 0, 0), (40, 40, 40), 2.0)
    mask = (np.linalg.norm(grid.points() - 20, axis=1) < 12).reshape(grid.shape)
    onto = WorkingGrid.over((-7, 3, 1), (50, 44, 39), 3.0)
    expected = (np.linalg.norm(onto.points() - 20, axis=1) < 12).reshape(onto.shape)
    found = resample_mask(mask, grid, onto)
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.95
    assert np.array_equal(resample_mask(mask, grid, grid), mask)


def test_splines_at_points_are_those_on_the_grid():
    control = random_control(3)
    grid = WorkingGrid((-6.0, 2.0, 5.0), 5.5, (3, 4, 5))
    points = grid.points()
    flat = control.reshape(3, -1).T.astype(np.float64)
    assert np.allclose(LATTICE.at(points) @ flat, LATTICE.evaluate(control, grid).reshape(3, -1).T, atol=1e-4)
    gradient = LATTICE.gradient(control, grid)
    for axis in range(3):
        assert np.allclose(LATTICE.at(points, axis) @ flat, gradient[:, axis].reshape(3, -1).T, atol=1e-4)
    assert abs(LATTICE.at(np.array([[500.0, 0.0, 0.0]]))).sum() == 0  # no spline reaches that far


def test_a_matrix_without_some_of_its_diagonal_blocks_is_solved():
    energy = sp.identity(4, format="csr", dtype=np.float32)
    blocks = sp.bsr_matrix((2 * np.eye(3, dtype=np.float32)[None], [1], [0, 0, 1, 1, 1]), shape=(12, 12))
    right = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
    expected = right / np.array([1, 3, 1, 1], dtype=np.float32).reshape(1, 2, 2)
    assert np.allclose(solve(blocks, energy, right), expected, atol=1e-3)
