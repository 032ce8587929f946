"""Smooth free-form displacements: cubic B-splines on a regular lattice, and their least squares.

A displacement u(x) in mm is a sum of control vectors times tensor products of cubic B-splines
(Rueckert et al., IEEE Trans Med Imaging 1999;18:712). All control points lie far enough inside
the lattice's box that u and its first two derivatives vanish on the border of the box: outside
of it there is no displacement. Because the splines are products of functions of one axis, the
field, its derivatives and the normal equations of a Gauss-Newton step are products of small
matrices, which is what makes the method fast. Arrays are (K, J, I) = (S, A, R), vectors are RAS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .frames import Points
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
Kernel = Callable[[FloatArray], FloatArray]

#: Control points on either side whose splines overlap with a given one.
_REACH = 3
_NEIGHBORS = 2 * _REACH + 1

# Integrals over the whole line of products of cubic B-splines 0, 1, 2 and 3 knots apart, and of
# their first and second derivatives, for a knot spacing of 1.
_GRAM = {
    0: np.array([2416.0, 1191.0, 120.0, 1.0]) / 5040.0,
    1: np.array([80.0, -15.0, -24.0, -1.0]) / 120.0,
    2: np.array([16.0, -9.0, 0.0, 1.0]) / 6.0,
}
#: (derivative order along S, A, R; weight) of the terms of the bending energy, the sum of all
#: squared second derivatives, and of the membrane energy, that of the first derivatives.
_BENDING = (((2, 0, 0), 1.0), ((0, 2, 0), 1.0), ((0, 0, 2), 1.0), ((1, 1, 0), 2.0), ((1, 0, 1), 2.0), ((0, 1, 1), 2.0))
_MEMBRANE = (((1, 0, 0), 1.0), ((0, 1, 0), 1.0), ((0, 0, 1), 1.0))


def cubic(x: FloatArray) -> FloatArray:
    """The cubic B-spline at x (in knots from its center)."""
    a = np.abs(x)
    return np.where(a < 1, 2 / 3 - a**2 + a**3 / 2, np.where(a < 2, (2 - a) ** 3 / 6, 0.0))


def cubic_slope(x: FloatArray) -> FloatArray:
    """Its first derivative."""
    a = np.abs(x)
    return np.sign(x) * np.where(a < 1, -2 * a + 1.5 * a**2, np.where(a < 2, -((2 - a) ** 2) / 2, 0.0))


@dataclass(frozen=True)
class Lattice:
    """A regular lattice of control points: first one (3,), spacing, counts along S, A, R."""

    first_ras_mm: tuple[float, float, float]
    spacing_mm: float
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, lower_ras_mm: npt.ArrayLike, upper_ras_mm: npt.ArrayLike, spacing_mm: float) -> Lattice:
        """The smallest lattice whose splines are complete within a box: all that reach into it."""
        lower, upper = np.asarray(lower_ras_mm, float), np.asarray(upper_ras_mm, float)
        count = np.ceil((upper - lower) / spacing_mm).astype(int) + 3
        first = (lower + upper - (count - 1) * spacing_mm) / 2
        return cls(tuple(first.tolist()), spacing_mm, tuple(count[::-1].tolist()))

    @property
    def size(self) -> int:
        """Number of control points."""
        return int(np.prod(self.shape))

    @property
    def box_ras_mm(self) -> tuple[Points, Points]:
        """Lower and upper corner of the box outside of which the displacement is zero."""
        first = np.array(self.first_ras_mm)
        last = first + (np.array(self.shape[::-1]) - 1) * self.spacing_mm
        return first - 2 * self.spacing_mm, last + 2 * self.spacing_mm

    def basis(self, grid: WorkingGrid, kernel: Kernel = cubic) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Per axis S, A, R the matrix (voxels, control points) of the spline values on a grid."""
        matrices = []
        for axis in range(3):  # of the array; axis 2 - axis of the point
            centers = self.first_ras_mm[2 - axis] + self.spacing_mm * np.arange(self.shape[axis])
            offset = (grid.coordinates(axis)[:, None] - centers) / self.spacing_mm
            matrices.append(kernel(offset).astype(np.float32))
        return matrices[0], matrices[1], matrices[2]

    def evaluate(self, control_mm: FloatArray, grid: WorkingGrid) -> FloatArray:
        """The displacement (3, K, J, I) in mm on a grid, of control vectors (3, *shape)."""
        return spread(control_mm, self.basis(grid))

    def gradient(self, control_mm: FloatArray, grid: WorkingGrid) -> FloatArray:
        """du_a/dx_b on a grid, shape (3 of a, 3 of b, K, J, I)."""
        values, slopes = self.basis(grid), self.basis(grid, cubic_slope)
        parts = []
        for axis in (2, 1, 0):
            bases = [slopes[n] / np.float32(self.spacing_mm) if n == axis else values[n] for n in range(3)]
            parts.append(spread(control_mm, (bases[0], bases[1], bases[2])))
        return np.stack(parts, axis=1)

    def fit(self, displacement_mm: FloatArray, grid: WorkingGrid) -> FloatArray:
        """Control vectors (3, *shape) that reproduce a displacement (3, K, J, I) best on a grid."""
        inverses = [np.linalg.pinv(matrix.astype(np.float64), rcond=1e-6) for matrix in self.basis(grid)]
        return spread(displacement_mm, (inverses[0], inverses[1], inverses[2])).astype(np.float32)

    def at(self, points_ras_mm: Points, slope_axis: int | None = None) -> sp.csr_matrix:
        """The splines (N, size) at points (N, 3), or their derivative per mm along R, A or S (0, 1, 2)."""
        position = (np.asarray(points_ras_mm, float) - self.first_ras_mm) / self.spacing_mm
        index = np.floor(position).astype(int)[:, None, :] + np.arange(-1, 3)[None, :, None]  # (N, 4, 3)
        offset = position[:, None, :] - index
        values = cubic(offset)
        if slope_axis is not None:
            values[..., slope_axis] = cubic_slope(offset[..., slope_axis]) / self.spacing_mm
        counts = np.array(self.shape[::-1])
        values = np.where((index >= 0) & (index < counts), values, 0.0)
        index = np.clip(index, 0, counts - 1)
        products = np.einsum("na,nb,nc->nabc", values[..., 2], values[..., 1], values[..., 0])
        s, a, r = (index[..., axis] for axis in (2, 1, 0))
        flat = (s[:, :, None, None] * self.shape[1] + a[:, None, :, None]) * self.shape[2] + r[:, None, None, :]
        rows = np.repeat(np.arange(len(position)), 64)
        return sp.csr_matrix((products.ravel(), (rows, flat.ravel())), shape=(len(position), self.size))

    @cached_property
    def bending(self) -> sp.csr_matrix:
        """The bending energy as a quadratic form (size, size) of one component's control values."""
        return self._energy(_BENDING)

    @cached_property
    def membrane(self) -> sp.csr_matrix:
        """The membrane energy as a quadratic form (size, size)."""
        return self._energy(_MEMBRANE)

    def _energy(self, terms: tuple[tuple[tuple[int, int, int], float], ...]) -> sp.csr_matrix:
        total = sp.csr_matrix((self.size, self.size))
        for orders, weight in terms:
            s, a, r = (self._gram(order, self.shape[axis]) for axis, order in enumerate(orders))
            total = total + weight * sp.kron(sp.kron(s, a), r, format="csr")
        return total.astype(np.float32)

    def _gram(self, order: int, count: int) -> sp.csr_matrix:
        values = _GRAM[order] * self.spacing_mm ** (1 - 2 * order)
        offsets = np.arange(-min(_REACH, count - 1), min(_REACH, count - 1) + 1)
        return sp.diags([values[abs(o)] for o in offsets], offsets, shape=(count, count), format="csr")

    @cached_property
    def _pattern(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Which of the 7 x 7 x 7 neighbors of each control point exist, and their block row pointers."""
        index = [np.arange(n)[:, None] + np.arange(-_REACH, _REACH + 1) for n in self.shape]
        exists = [(i >= 0) & (i < n) for i, n in zip(index, self.shape, strict=True)]
        present = np.einsum("ap,bq,cr->abcpqr", *exists).reshape(self.size, -1)
        _, rows, columns = self.shape
        flat = index[0][:, None, None, :, None, None] * rows + index[1][None, :, None, None, :, None]
        flat = flat * columns + index[2][None, None, :, None, None, :]
        indices = flat.reshape(self.size, -1)[present].astype(np.int32)
        pointers = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
        return present, indices, pointers

    def normal_matrix(self, tensor: FloatArray, grid: WorkingGrid) -> sp.bsr_matrix:
        """The sum over voxels of (spline products) x (symmetric tensor): 3 x 3 blocks per pair.

        `tensor` (6, K, J, I) holds the components RR, AA, SS, RA, RS, AS of each voxel. Rows and
        columns are control points times R, A, S.
        """
        packed = tensor
        products = [_neighbor_products(matrix) for matrix in self.basis(grid)]
        packed = np.tensordot(products[0], packed, axes=(0, 1))  # (K7, 6, J, I)
        packed = np.matmul(products[1].T, packed)  # (K7, 6, J7, I)
        packed = np.matmul(packed, products[2])  # (K7, 6, J7, I7)
        n, m = self.shape, _NEIGHBORS
        blocks = packed.reshape(n[0], m, 6, n[1], m, n[2], m).transpose(0, 3, 5, 1, 4, 6, 2).reshape(self.size, -1, 6)
        present, indices, pointers = self._pattern
        data = np.ascontiguousarray(blocks[present][:, [0, 3, 4, 3, 1, 5, 4, 5, 2]]).reshape(-1, 3, 3)
        return sp.bsr_matrix((data, indices, pointers), shape=(3 * self.size, 3 * self.size))

    def gather(self, vectors: FloatArray, grid: WorkingGrid) -> FloatArray:
        """The sum over voxels of spline times vector (3, K, J, I): control values (3, *shape)."""
        s, a, r = self.basis(grid)
        return spread(vectors, (s.T, a.T, r.T))


def spread(values: FloatArray, matrices: tuple[FloatArray, FloatArray, FloatArray]) -> FloatArray:
    """Apply one matrix per axis to an array (3, K, J, I)."""
    s, a, r = matrices
    return np.moveaxis(np.tensordot(s, np.matmul(a, np.matmul(values, r.T)), axes=(1, 1)), 0, 1)


def _neighbor_products(matrix: FloatArray) -> FloatArray:
    """Products of each spline with its 7 neighbors at every voxel: (voxels, control points * 7)."""
    voxels, count = matrix.shape
    padded = np.pad(matrix, ((0, 0), (_REACH, _REACH)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBORS, axis=1)
    return np.ascontiguousarray((matrix[..., None] * windows).reshape(voxels, count * _NEIGHBORS))


def solve(
    normal: sp.bsr_matrix,
    energy: sp.csr_matrix,
    right_side: FloatArray,
    rows: FloatArray | None = None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 150,
) -> FloatArray:
    """Solve (normal + energy on each component + rows' rows) x = right side by conjugate gradients.

    `right_side` has shape (3, *lattice); so has the result. `rows` (M, 3, *lattice) are terms of few
    equations that all control points share. The preconditioner inverts the 3 x 3 block of each control point.
    """
    size = energy.shape[0]
    blocks = _diagonal_blocks(normal) + energy.diagonal()[:, None, None] * np.eye(3, dtype=np.float32)
    shared = np.zeros((0, 3 * size), np.float32) if rows is None else _by_point(rows)
    of_points = shared.reshape(-1, size, 3)
    blocks = blocks + np.einsum("mna,mnb->nab", of_points, of_points)
    inverse = np.linalg.inv(blocks)
    target = right_side.reshape(3, size).T.astype(np.float32)

    def apply(x: FloatArray) -> FloatArray:
        return (normal @ x.ravel() + shared.T @ (shared @ x.ravel())).reshape(size, 3) + energy @ x

    x = np.zeros_like(target)
    residual = target.copy()
    z = np.einsum("nab,nb->na", inverse, residual)
    direction = z
    rho = float(np.vdot(residual, z))
    limit = tolerance * float(np.linalg.norm(target))
    for _ in range(max_iterations):
        if rho <= 0 or float(np.linalg.norm(residual)) <= limit:
            break
        image = apply(direction)
        step = rho / float(np.vdot(direction, image))
        x = x + step * direction
        residual = residual - step * image
        z = np.einsum("nab,nb->na", inverse, residual)
        rho, previous = float(np.vdot(residual, z)), rho
        direction = z + (rho / previous) * direction
    return x.T.reshape(right_side.shape)


def _by_point(rows: FloatArray) -> FloatArray:
    """(M, 3 size) of rows (M, 3, *lattice), in the order of the normal matrix: control points times R, A, S."""
    return np.moveaxis(rows, 1, -1).reshape(len(rows), int(np.prod(rows.shape[1:]))).astype(np.float32)


def _diagonal_blocks(matrix: sp.bsr_matrix) -> FloatArray:
    """(N, 3, 3); zero where the matrix, a sum of others, holds none."""
    count = len(matrix.indptr) - 1
    rows = np.repeat(np.arange(count), np.diff(matrix.indptr))
    blocks = np.zeros((count, 3, 3), dtype=matrix.data.dtype)
    on_diagonal = matrix.indices == rows
    blocks[rows[on_diagonal]] = matrix.data[on_diagonal]
    return blocks


def jacobian_determinant(gradient: FloatArray) -> FloatArray:
    """det(I + du/dx), shape (K, J, I), of the gradient (3, 3, K, J, I); folded where not above 0."""
    a, b, c = (gradient[n] + np.eye(3, dtype=np.float32)[n][:, None, None, None] for n in range(3))
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
