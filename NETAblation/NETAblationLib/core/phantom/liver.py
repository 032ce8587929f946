"""The digital patient's liver as a clipping organ: its level, and exact distances to its capsule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from .anatomy import Torso

Array = npt.NDArray[np.float64]

#: A box that holds every liver that `Torso` can draw; RAS mm.
LIVER_BOX_RAS_MM = (np.array([-92.0, -90.0, -125.0]), np.array([142.0, 92.0, 96.0]))

_SAMPLE_MM, _LATTICE_MM = 2.5, 3.0
#: No place of the capsule is so far from all samples of it, mm (own trial on five livers: 2.5).
_SAMPLES_COVER_MM = 3.5


@dataclass(frozen=True)
class Liver:
    """The analytic liver of a torso, with tumors and vessels inside it."""

    torso: Torso

    def level(self, points_ras_mm: Array) -> Array:
        """Negative inside, about mm near the capsule; points (N, 3), result (N,)."""
        return np.asarray(self.torso.liver(points_ras_mm[:, 0], points_ras_mm[:, 1], points_ras_mm[:, 2]))

    def gradient(self, points_ras_mm: Array) -> Array:
        """Gradient of the level, (N, 3), by central differences."""
        step = 1e-3
        sides = [self.level(points_ras_mm + step * e) - self.level(points_ras_mm - step * e) for e in np.eye(3)]
        return np.stack(sides, axis=1) / (2 * step)

    def rough_level(self, points_ras_mm: Array) -> Array:
        """The level by linear interpolation on a lattice: within about 0.5 mm, and fast."""
        index = (points_ras_mm - LIVER_BOX_RAS_MM[0]) / _LATTICE_MM
        return ndimage.map_coordinates(self._lattice, index.T, order=1, mode="nearest", output=np.float64)

    def rough_inward(self, points_ras_mm: Array) -> Array:
        """Unit vectors (N, 3) toward the inside of the liver, from `rough_level`."""
        sides = points_ras_mm + 2.0 * np.concatenate([np.eye(3), -np.eye(3)])[:, None]
        levels = self.rough_level(sides.reshape(-1, 3)).reshape(6, -1)
        outward = (levels[:3] - levels[3:]).T
        return -outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)

    @cached_property
    def _lattice(self) -> npt.NDArray[np.float32]:
        lower, upper = LIVER_BOX_RAS_MM
        x, y, z = (np.arange(a, b + 1.0, _LATTICE_MM).astype(np.float32) for a, b in zip(lower, upper, strict=True))
        return np.asarray(self.torso.liver(x[:, None, None], y[None, :, None], z[None, None, :]))

    @cached_property
    def inner_points_ras_mm(self) -> Array:
        """Points (N, 3) on a 6 mm lattice inside the liver."""
        inside = np.argwhere(self._lattice[::2, ::2, ::2] < 0)
        return LIVER_BOX_RAS_MM[0] + 2 * _LATTICE_MM * inside

    @property
    def center_ras_mm(self) -> Array:
        """Center of mass, (3,)."""
        return self.inner_points_ras_mm.mean(axis=0)

    def onto_capsule(self, points_ras_mm: Array, steps: int = 6) -> Array:
        """Points (N, 3) near the capsule moved onto it along the gradient, by Newton's method."""
        points = np.array(points_ras_mm, np.float64)
        for _ in range(steps):
            gradient = self.gradient(points)
            squared = np.maximum((gradient**2).sum(axis=1), 1e-3)
            move = -(self.level(points) / squared)[:, None] * gradient
            length = np.linalg.norm(move, axis=1, keepdims=True)
            points += move * np.minimum(1.0, 4.0 / np.maximum(length, 1e-12))
        return points

    def capsule_points_near(self, center_ras_mm: Array, radius_mm: float, spacing_mm: float) -> Array:
        """Points (M, 3) on the capsule within a ball, about `spacing_mm` apart."""
        lower, upper = LIVER_BOX_RAS_MM
        axes = [
            np.arange(
                max(lower[k], center_ras_mm[k] - radius_mm), min(upper[k], center_ras_mm[k] + radius_mm), spacing_mm
            )
            for k in range(3)
        ]
        lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        near = lattice[np.linalg.norm(lattice - center_ras_mm, axis=1) <= radius_mm]
        near = near[np.abs(self.level(near)) < 0.75 * spacing_mm]
        if not len(near):
            return near
        points = self.onto_capsule(near)
        return points[np.abs(self.level(points)) < 1e-6]

    def capsule_distance(self, points_ras_mm: Array, up_to_mm: Array | None = None) -> Array:
        """Distance of points (N, 3) to the capsule, (N,) mm, never negative.

        Where it is above `up_to_mm` (N,) or for all, it may come out too large, by a few mm, but stays above.

        From the nearest sample of the capsule the foot of the perpendicular is found by turns of
        projection onto the tangent plane and back onto the capsule.
        """
        points = np.asarray(points_ras_mm, np.float64)
        distance, nearest = self._capsule_tree.query(points)
        distance, foot = np.array(distance), np.array(self._capsule_tree.data[nearest])
        moving = np.arange(len(points))
        if up_to_mm is not None:
            moving = np.flatnonzero(distance < up_to_mm + _SAMPLES_COVER_MM)
        for _ in range(12):
            # A foot that did not move will not in the next turn: only the others go on.
            before = distance[moving]
            foot[moving], distance[moving] = self._nearer_foot(points[moving], foot[moving], before)
            gain = before - distance[moving]
            moving = moving[gain > 0.0]
            if gain.max(initial=0.0) < 1e-5:
                break
        return distance

    def _nearer_foot(self, points: Array, foot: Array, distance: Array) -> tuple[Array, Array]:
        """Places on the capsule (N, 3) nearer to points than `foot` and `distance`, where one turn finds them."""
        gradient = self.gradient(foot)
        normal = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
        offset = points - foot
        slide = offset - (offset * normal).sum(axis=1, keepdims=True) * normal
        length = np.linalg.norm(slide, axis=1, keepdims=True)
        slide *= np.minimum(1.0, 2.0 / np.maximum(length, 1e-12))
        foot, distance = foot.copy(), distance.copy()
        open_ = np.ones(len(points), bool)
        for share in (1.0, 0.3):
            trial = self.onto_capsule(foot[open_] + share * slide[open_], steps=3)
            found = np.linalg.norm(points[open_] - trial, axis=1)
            better = (found < distance[open_]) & (np.abs(self.level(trial)) < 1e-4)
            place = np.flatnonzero(open_)[better]
            foot[place], distance[place] = trial[better], found[better]
            open_ &= length[:, 0] > 1e-3
            open_[place] = False
            if not open_.any():
                break
        return foot, distance

    @cached_property
    def _capsule_tree(self) -> cKDTree:
        center = (LIVER_BOX_RAS_MM[0] + LIVER_BOX_RAS_MM[1]) / 2
        return cKDTree(self.capsule_points_near(center, 300.0, _SAMPLE_MM))
