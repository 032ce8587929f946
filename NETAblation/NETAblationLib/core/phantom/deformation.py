"""The known motion from before to after ablation: breathing, then a rigid shift of the patient.

Breathing is the flow of a velocity without sources, so that no tissue swells or shrinks: the liver, full of blood,
is nearly incompressible. Each bump of that velocity moves tissue one way at its center and back around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.interpolate import make_interp_spline

from .. import frames

Array = npt.NDArray[np.float64]

#: Behind this plane the back does not breathe: spine and table side stay rigid. A mm, and the
#: width of the transition. No published source; chosen for plausible looks.
_BACK_PLANE_A_MM, _BACK_WIDTH_MM = -52.0, 18.0

#: Distance of the nodes at which the motion is found exactly before it is interpolated, mm.
_COARSE_MM = 6.0
#: Runge-Kutta steps (fourth order) of the flow: more change it by less than 1e-6 mm.
_STEPS = 8
#: So many points flow together: their intermediate results stay in the processor's cache.
_POINTS_AT_ONCE = 4096
#: The peak of breathing is met by so many corrections of the velocity, each several times nearer.
_SCALINGS = 4


@dataclass(frozen=True)
class Deformation:
    """pre -> post: x -> rotation (flow(x) - pivot) + pivot + translation.

    The flow follows a steady velocity v for a time of 1: smooth, without folding, keeping every volume, and
    undone by the flow of -v. v is the curl of w(a) g(x) (d x r) / 2, summed over bumps: g a Gaussian of the
    distance r from its center, d the velocity there, and w a window that falls to 0 towards the back.
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
            [np.array([100.0, 85.0, 95.0]) * rng.uniform(0.9, 1.1), rng.uniform(55, 80, (count, 1)) * np.ones(3)]
        )
        breathing = np.array([rng.normal(0, 0.15), rng.uniform(0.05, 0.35), -1.0]) * rng.choice([-1.0, 1.0])
        vectors = np.vstack([breathing, rng.normal(0, 0.22, (count, 3))])
        wanted_mm = rng.uniform(6.0, 14.0)
        drawn = cls(rotation, translation, liver_center_ras_mm, centers, widths, vectors)
        for _ in range(_SCALINGS):
            peak_mm = np.linalg.norm(drawn.breathing(liver_points_ras_mm), axis=1).max()
            drawn = replace(drawn, bump_vectors_mm=drawn.bump_vectors_mm * (wanted_mm / peak_mm))
        return drawn

    def breathing(self, points_ras_mm: Array) -> Array:
        """The displacement of breathing alone, (N, 3) mm, at points (N, 3)."""
        return self._flow(points_ras_mm, 1.0) - points_ras_mm

    def _flow(self, points: Array, time: float) -> Array:
        flowed = np.empty_like(points)
        for start in range(0, len(points), _POINTS_AT_ONCE):
            part = slice(start, start + _POINTS_AT_ONCE)
            flowed[part] = self._flow_together(np.ascontiguousarray(points[part].T), time).T
        return flowed

    def _flow_together(self, places: Array, time: float) -> Array:
        """Where a few points (3, N) are after a time; (3, N)."""
        step = time / _STEPS
        for _ in range(_STEPS):
            first = self._velocity(places)
            second = self._velocity(places + (0.5 * step) * first)
            third = self._velocity(places + (0.5 * step) * second)
            fourth = self._velocity(places + step * third)
            places = places + (step / 6) * (first + fourth + 2 * (second + third))
        return places

    def _velocity(self, places: Array) -> Array:
        """v (3, N) in mm per time, at points (3, N).

        What differs from bump to bump stands in rows, so that all of them are told by a few products of matrices.
        """
        centers, vectors = self.bump_centers_ras_mm, self.bump_vectors_mm
        steep, along_vector = 1.0 / self.bump_widths_mm**2, vectors / self.bump_widths_mm**2
        window = self._window(places[1])
        window_slope = window * (1 - window) / _BACK_WIDTH_MM
        squared = steep @ (places * places) - 2.0 * (steep * centers) @ places
        squared += (steep * centers**2).sum(axis=1)[:, None]
        height = np.exp(-0.5 * squared)
        along = window * (1 - 0.5 * squared) + 0.5 * window_slope * (places[1] - centers[:, 1, None])
        along *= height
        outward = window * (along_vector @ places - (along_vector * centers).sum(axis=1)[:, None])
        outward -= window_slope * vectors[:, 1, None]
        outward *= 0.5 * height
        return vectors.T @ along - centers.T @ outward + outward.sum(axis=0) * places

    def pre_to_post(self, points_ras_mm: npt.ArrayLike) -> Array:
        """Where points (N, 3) of the image before ablation lie in the one after."""
        breathed = self._flow(frames.as_points(points_ras_mm), 1.0)
        return (breathed - self.pivot_ras_mm) @ self.rotation.T + self.pivot_ras_mm + self.translation_mm

    def post_to_pre(self, points_ras_mm: npt.ArrayLike) -> Array:
        """The inverse of `pre_to_post`, to 1e-6 mm."""
        points = frames.as_points(points_ras_mm)
        breathed = (points - self.pivot_ras_mm - self.translation_mm) @ self.rotation + self.pivot_ras_mm
        return self._flow(breathed, -1.0)

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
        """pre_to_post(x) - x on the nodes of a grid along R (I,), A (J,), S (K,); (K, J, I, 3).

        Exact at nodes 6 mm apart and interpolated by cubic splines: within 0.01 mm.
        """
        return _on_grid(self.pre_to_post, r_mm, a_mm, s_mm)

    def inverse_displacement_on_grid(self, r_mm: Array, a_mm: Array, s_mm: Array) -> Array:
        """post_to_pre(x) - x, as `displacement_on_grid`."""
        return _on_grid(self.post_to_pre, r_mm, a_mm, s_mm)

    @staticmethod
    def _window(a_mm: Array) -> Array:
        return 1.0 / (1.0 + np.exp(-np.clip((a_mm - _BACK_PLANE_A_MM) / _BACK_WIDTH_MM, -60, 60)))


def _on_grid(mapping: Callable[[Array], Array], r_mm: Array, a_mm: Array, s_mm: Array) -> Array:
    coarse = [_nodes_over(axis, _COARSE_MM) for axis in (s_mm, a_mm, r_mm)]
    z, y, x = np.meshgrid(*coarse, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    field = (mapping(points) - points).reshape(*x.shape, 3)
    for axis, (nodes, wanted) in enumerate(zip(coarse, (s_mm, a_mm, r_mm), strict=True)):
        field = make_interp_spline(nodes, field, k=3, axis=axis)(wanted)
    return np.ascontiguousarray(field)


def _nodes_over(values: Array, spacing_mm: float) -> Array:
    """Ascending nodes (at least 4, as a cubic spline needs) that span 1D coordinates."""
    low, high = float(values.min()), float(values.max())
    count = max(4, int(np.ceil((high - low) / spacing_mm)) + 1)
    return low + spacing_mm * np.arange(count, dtype=np.float64)
