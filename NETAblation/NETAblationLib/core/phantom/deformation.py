"""The known motion from before to after ablation: breathing, then a rigid shift of the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.interpolate import make_interp_spline

from .. import frames
from ..errors import ComputationError

Array = npt.NDArray[np.float64]

#: Behind this plane the back does not breathe: spine and table side stay rigid. A mm, and the
#: width of the transition. No published source; chosen for plausible looks.
_BACK_PLANE_A_MM, _BACK_WIDTH_MM = -38.0, 9.0

#: Distance of the nodes at which the inverse is found exactly before it is interpolated, mm.
_COARSE_MM = 6.0


@dataclass(frozen=True)
class Deformation:
    """pre -> post: x -> rotation (x + u(x) - pivot) + pivot + translation, u a sum of Gaussians.

    u is smooth, and its steepness is kept below 1, so that the map is a diffeomorphism and
    its inverse a contraction.
    """

    rotation: Array
    translation_mm: Array
    pivot_ras_mm: Array
    bump_centers_ras_mm: Array
    bump_widths_mm: Array
    bump_vectors_mm: Array

    @classmethod
    def drawn(cls, rng: np.random.Generator, liver_center_ras_mm: Array, liver_points_ras_mm: Array) -> Deformation:
        """Draw a rigid motion (8-12 mm, 2-5 degrees) and a breathing of 6-14 mm peak in the liver."""
        axis = rng.normal(size=3) + np.array([0.0, 0.0, 1.0])
        axis /= np.linalg.norm(axis)
        angle = np.deg2rad(rng.uniform(2.0, 5.0))
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        direction = rng.normal(size=3) * np.array([1.0, 0.6, 1.0])
        translation = direction / np.linalg.norm(direction) * rng.uniform(8.0, 12.0)
        count = 4
        centers = np.vstack(
            [
                liver_center_ras_mm + np.array([0.0, 0.0, 25.0]) + rng.normal(0, 8, 3),
                liver_center_ras_mm + rng.uniform(-1, 1, (count, 3)) * np.array([60.0, 45.0, 50.0]),
            ]
        )
        widths = np.vstack(
            [np.array([75.0, 60.0, 70.0]) * rng.uniform(0.9, 1.1), rng.uniform(42, 60, (count, 1)) * np.ones(3)]
        )
        breathing = np.array([rng.normal(0, 0.15), rng.uniform(0.05, 0.35), -1.0]) * rng.choice([-1.0, 1.0])
        vectors = np.vstack([breathing, rng.normal(0, 0.22, (count, 3))])
        unscaled = cls(rotation, translation, liver_center_ras_mm, centers, widths, vectors)
        peak = np.linalg.norm(unscaled.breathing(liver_points_ras_mm), axis=1).max()
        vectors = vectors * rng.uniform(6.0, 14.0) / peak
        return cls(rotation, translation, liver_center_ras_mm, centers, widths, vectors)

    def breathing(self, points_ras_mm: Array) -> Array:
        """The displacement u(x) of breathing alone, (N, 3) mm, at points (N, 3)."""
        bumps = self._bumps(points_ras_mm)
        return self._window(points_ras_mm[:, 1])[:, None] * (bumps @ self.bump_vectors_mm)

    def breathing_jacobian(self, points_ras_mm: Array) -> Array:
        """du_i/dx_j at points (N, 3); shape (N, 3, 3)."""
        bumps = self._bumps(points_ras_mm)
        window = self._window(points_ras_mm[:, 1])
        bumps *= window[:, None]
        jacobian = np.zeros((len(points_ras_mm), 3, 3))
        for number, vector in enumerate(self.bump_vectors_mm):
            offset = points_ras_mm - self.bump_centers_ras_mm[number]
            slope = offset * (-1.0 / self.bump_widths_mm[number] ** 2) * bumps[:, number : number + 1]
            jacobian += vector[:, None] * slope[:, None, :]
        jacobian[:, :, 1] += ((1 - window) / _BACK_WIDTH_MM)[:, None] * (bumps @ self.bump_vectors_mm)
        return jacobian

    def pre_to_post(self, points_ras_mm: npt.ArrayLike) -> Array:
        """Where points (N, 3) of the image before ablation lie in the one after."""
        points = frames.as_points(points_ras_mm)
        moved = points + self.breathing(points)
        return (moved - self.pivot_ras_mm) @ self.rotation.T + self.pivot_ras_mm + self.translation_mm

    def post_to_pre(self, points_ras_mm: npt.ArrayLike) -> Array:
        """The inverse of `pre_to_post`, by Newton's method to 1e-9 mm."""
        points = frames.as_points(points_ras_mm)
        breathed = (points - self.pivot_ras_mm - self.translation_mm) @ self.rotation + self.pivot_ras_mm
        found = breathed - self.breathing(breathed)
        open_ = np.arange(len(points))
        for _ in range(50):
            guess = found[open_]
            residual = guess + self.breathing(guess) - breathed[open_]
            far = np.abs(residual).max(axis=1, initial=0.0) > 1e-10
            open_ = open_[far]
            if not len(open_):
                return found
            jacobian = np.eye(3) + self.breathing_jacobian(guess[far])
            found[open_] = guess[far] - np.linalg.solve(jacobian, residual[far][..., None])[..., 0]
        raise ComputationError("the inverse of the phantom's deformation did not converge")

    def transform(
        self, lower_ras_mm: Array, upper_ras_mm: Array, *, spacing_mm: float, inverse: bool
    ) -> sitk.Transform:
        """The map as a SimpleITK displacement field over a box; `inverse` gives post to pre.

        The field is linear between nodes `spacing_mm` apart; at 4 mm that is within 0.04 mm of
        the exact map. Outside the box a displacement field is the identity, as ITK has it.
        """
        lower_lps, upper_lps = np.sort([frames.flip_lps_ras(lower_ras_mm), frames.flip_lps_ras(upper_ras_mm)], axis=0)
        size = np.ceil((upper_lps - lower_lps) / spacing_mm).astype(int) + 1
        lps = [lower_lps[axis] + spacing_mm * np.arange(size[axis]) for axis in range(3)]
        ras = (-lps[0], -lps[1], lps[2])
        displacement = self.inverse_displacement_on_grid(*ras) if inverse else self.displacement_on_grid(*ras)
        displacement[..., :2] *= -1.0
        field = sitk.GetImageFromArray(displacement, isVector=True)
        field.SetOrigin(lower_lps.tolist())
        field.SetSpacing([float(spacing_mm)] * 3)
        return sitk.DisplacementFieldTransform(field)

    def displacement_on_grid(self, r_mm: Array, a_mm: Array, s_mm: Array) -> Array:
        """pre_to_post(x) - x on the nodes of a grid along R (I,), A (J,), S (K,); (K, J, I, 3)."""
        nodes = (r_mm, a_mm, s_mm)
        falls = [
            np.exp(-0.5 * ((axis[:, None] - self.bump_centers_ras_mm[:, n]) / self.bump_widths_mm[:, n]) ** 2)
            for n, axis in enumerate(nodes)
        ]
        falls[1] *= self._window(a_mm)[:, None]
        in_plane = np.einsum("jb,ib->jib", falls[1], falls[0])
        moved = np.einsum("kb,jib,bc->kjic", falls[2], in_plane, self.bump_vectors_mm, optimize=True)
        for n, axis in enumerate(nodes):
            shape = [1, 1, 1]
            shape[2 - n] = -1
            moved[..., n] += axis.reshape(shape)
        result = (moved - self.pivot_ras_mm) @ self.rotation.T + self.pivot_ras_mm + self.translation_mm
        for n, axis in enumerate(nodes):
            shape = [1, 1, 1]
            shape[2 - n] = -1
            result[..., n] -= axis.reshape(shape)
        return result

    def inverse_displacement_on_grid(self, r_mm: Array, a_mm: Array, s_mm: Array) -> Array:
        """post_to_pre(x) - x on the nodes of a grid along R (I,), A (J,), S (K,); (K, J, I, 3).

        The exact inverse is taken at nodes 6 mm apart and interpolated by cubic splines: within
        0.01 mm.
        """
        coarse = [_nodes_over(axis, _COARSE_MM) for axis in (s_mm, a_mm, r_mm)]
        z, y, x = np.meshgrid(*coarse, indexing="ij")
        points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
        field = (self.post_to_pre(points) - points).reshape(*x.shape, 3)
        for axis, (nodes, wanted) in enumerate(zip(coarse, (s_mm, a_mm, r_mm), strict=True)):
            field = make_interp_spline(nodes, field, k=3, axis=axis)(wanted)
        return np.ascontiguousarray(field)

    def _bumps(self, points: Array) -> Array:
        squared = np.empty((len(self.bump_vectors_mm), len(points)))
        for row, center, width in zip(squared, self.bump_centers_ras_mm, self.bump_widths_mm, strict=True):
            np.einsum("ni,ni,i->n", points - center, points - center, 1.0 / width**2, out=row)
        squared *= -0.5
        return np.exp(squared, out=squared).T

    @staticmethod
    def _window(a_mm: Array) -> Array:
        return 1.0 / (1.0 + np.exp(-np.clip((a_mm - _BACK_PLANE_A_MM) / _BACK_WIDTH_MM, -60, 60)))


def _nodes_over(values: Array, spacing_mm: float) -> Array:
    """Ascending nodes (at least 4, as a cubic spline needs) that span 1D coordinates."""
    low, high = float(values.min()), float(values.max())
    count = max(4, int(np.ceil((high - low) / spacing_mm)) + 1)
    return low + spacing_mm * np.arange(count, dtype=np.float64)
