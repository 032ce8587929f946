"""The exact distance from within united ellipsoids of revolution to their common surface.

The nearest place of that surface is one of three: the foot of the point on an ellipsoid, where no
other covers it; a place on a seam, the curve in which two ellipsoids meet; or a corner, where
three do. Feet are found in closed form up to iteration. Seams are found on a grid of the
ellipsoids' surfaces and put on both by Newton's method; from the nearest of their places the
nearest place of the curve is found, again by Newton's method. Every candidate lies on the common
surface to rounding, so that the result is never too small; it is too large only where a seam
comes near twice within the spacing of its first places (`_SEAM_SPACING_MM`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Spacing of the grid on which seams are looked for, in mm, and how many of the places found next to a point are
#: followed. With 1 mm and 4 no distance was found longer than to dense points on the surface. User-set.
_SEAM_SPACING_MM, _FOLLOWED = 1.0, 4
#: Steps of Newton's method: onto a seam, along it, and to a corner. Twice as many change nothing beyond rounding.
_ONTO_STEPS, _ALONG_STEPS, _CORNER_STEPS = 5, 8, 8
#: Longest step along a seam in mm: it must not leap to another part of the curve. User-set.
_LONGEST_STEP_MM = 1.0
#: Second derivative of half of the squared distance along a seam, below which it is not divided by. User-set.
_LEAST_CURVATURE = 1e-3
#: How far inside of another zone, as a share of its level, a place is still on its surface: rounding only.
_LEVEL_TOLERANCE = 1e-7
#: Distance from an axis in mm below which there is no direction from it: rounding only.
_ON_AXIS_MM = 1e-9
#: Share of two normals' product below which surfaces touch without crossing.
_PARALLEL = 1e-9
#: Iterations of the nearest point on an ellipse; six reach 1e-9 mm on zones twice as long as wide.
_ELLIPSE_ITERATIONS = 12


@dataclass(frozen=True)
class UnitedZones:
    """Ellipsoids of revolution: centers (M, 3), unit axes (M, 3), and half-axes along and across them, (M,), in mm."""

    centers: FloatArray
    axes: FloatArray
    along_mm: FloatArray
    across_mm: FloatArray

    def __len__(self) -> int:
        """How many there are."""
        return len(self.centers)

    def distance_mm(self, points: FloatArray) -> FloatArray:
        """Signed distance of points (N, 3) to the surface of all, negative inside; (N,)."""
        each = np.stack([self.foot(zone, points)[1] for zone in range(len(self))])
        distance = each.min(axis=0)
        inside = np.flatnonzero(distance < 0)
        if len(self) > 1 and len(inside):
            distance[inside] = -self._depth_mm(points[inside], each[:, inside])
        return distance

    def foot(self, zone: int, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The nearest place on one ellipsoid of points (N, 3), (N, 3), and the signed distance to it, (N,).

        By symmetry it is that of a point to an ellipse in the plane through the axis. Its nearest
        point is found by fixed-point steps on the circle of curvature, which need no bracketing.
        """
        axial, beside, outward = self._meridian(zone, points)
        a, b = self.along_mm[zone], self.across_mm[zone]
        cosine, sine = _nearest_on_ellipse(np.abs(axial), beside, a, b)
        distance = np.hypot(np.abs(axial) - a * cosine, beside - b * sine)
        is_inside = (axial / a) ** 2 + (beside / b) ** 2 < 1.0
        place = (
            self.centers[zone]
            + np.copysign(a * cosine, axial)[:, None] * self.axes[zone]
            + (b * sine)[:, None] * outward
        )
        return place, np.where(is_inside, -distance, distance)

    def level(self, zone: int | IntArray, points: FloatArray) -> FloatArray:
        """1 on an ellipsoid's surface, less inside, growing with the square of the distance to its center; (N,)."""
        offset = points - self.centers[zone]
        axial = np.sum(offset * self.axes[zone], axis=-1)
        square = np.sum(offset * offset, axis=-1) - axial**2
        return np.asarray((axial / self.along_mm[zone]) ** 2 + square / self.across_mm[zone] ** 2)

    def is_covered(self, points: FloatArray, *but: int | IntArray) -> BoolArray:
        """Which of the points (N, 3) lie inside an ellipsoid other than those of `but`, which may differ by point."""
        covered = np.zeros(len(points), dtype=bool)
        for zone in range(len(self)):
            is_other = np.ones(len(points), dtype=bool)
            for own in but:
                is_other &= np.asarray(own) != zone
            open_ = np.flatnonzero(is_other & ~covered)
            covered[open_] = self.level(zone, points[open_]) < 1.0 - _LEVEL_TOLERANCE
        return covered

    def _depth_mm(self, points: FloatArray, each: FloatArray) -> FloatArray:
        """Distance of points (N, 3) inside to the surface of all; `each` (M, N) are those to each ellipsoid."""
        depth = np.full(len(points), np.inf)
        for zone in range(len(self)):
            near = np.flatnonzero(np.abs(each[zone]) < depth)
            places, distance = self.foot(zone, points[near])
            if self.along_mm[zone] < self.across_mm[zone]:
                # A flat ellipsoid has a second place that is nearer than all around it, on its other side.
                places = np.vstack([places, self._foot_beyond(zone, points[near])])
                near = np.concatenate([near, near])
                distance = np.linalg.norm(points[near] - places, axis=1)
            is_open = ~self.is_covered(places, zone)
            np.minimum.at(depth, near[is_open], np.abs(distance[is_open]))
        # The deepest ellipsoid alone bounds the depth from below: where its foot is open, nothing is nearer.
        left = np.flatnonzero(depth > -each.min(axis=0) + 1e-9)
        if len(left):
            depth[left] = np.minimum(depth[left], self._seam_distance_mm(points[left]))
        return depth

    def _foot_beyond(self, zone: int, points: FloatArray) -> FloatArray:
        """The place of a flat ellipsoid beyond its equator that is nearest to points (N, 3); (N, 3)."""
        axial, beside, outward = self._meridian(zone, points)
        a, b = self.along_mm[zone], self.across_mm[zone]
        turn = np.zeros(len(points))  # from the pole on the other side
        for _ in range(_ELLIPSE_ITERATIONS):
            cosine, sine = np.cos(turn), np.sin(turn)
            slope = -np.abs(axial) * a * sine - beside * b * cosine + (b**2 - a**2) * sine * cosine
            bend = -np.abs(axial) * a * cosine + beside * b * sine + (b**2 - a**2) * (cosine**2 - sine**2)
            turn = np.clip(turn - slope / np.where(np.abs(bend) < 1e-9, 1e-9, bend), 0.0, np.pi / 2)
        side = -np.copysign(a * np.cos(turn), axial)
        place: FloatArray = self.centers[zone] + side[:, None] * self.axes[zone] + (b * np.sin(turn))[:, None] * outward
        return place

    def _meridian(self, zone: int, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """How far points (N, 3) lie along an axis and beside it, (N,) each, and the unit vectors (N, 3) beside it."""
        axis = self.axes[zone]
        offset = points - self.centers[zone]
        axial = offset @ axis
        sideward = offset - axial[:, None] * axis
        beside = np.linalg.norm(sideward, axis=1)
        # On the axis itself any direction across will do; near it, rounding must not tilt it.
        outward = np.where(beside[:, None] > _ON_AXIS_MM, sideward, _across(axis))
        outward -= (outward @ axis)[:, None] * axis
        return axial, beside, outward / np.linalg.norm(outward, axis=1)[:, None]

    def _seam_distance_mm(self, points: FloatArray) -> FloatArray:
        """Distance of points (N, 3) to the open parts of the seams, the corners at their ends included; (N,)."""
        places, first, second = self._seam_places(_SEAM_SPACING_MM)
        corners = self._corners(places, first, second)
        is_open = ~self.is_covered(places, first, second)
        places, first, second = places[is_open], first[is_open], second[is_open]
        nearest_mm = np.full(len(points), np.inf)
        if len(corners):
            nearest_mm = np.asarray(cKDTree(corners).query(points)[0])
        if len(places):
            count = min(_FOLLOWED, len(places))
            distance, start = (np.asarray(found).reshape(-1) for found in cKDTree(places).query(points, k=count))
            points = np.repeat(points, count, axis=0)
            found = self._along_seam(places[start], first[start], second[start], points)
            followed = np.linalg.norm(points - found, axis=1)
            better = np.flatnonzero(followed < distance)
            better = better[~self.is_covered(found[better], first[start[better]], second[start[better]])]
            distance[better] = followed[better]
            nearest_mm = np.minimum(nearest_mm, distance.reshape(-1, count).min(axis=1))
        return nearest_mm

    def _seam_places(self, spacing_mm: float) -> tuple[FloatArray, IntArray, IntArray]:
        """Places on all seams, (S, 3), covered ones too, and the two ellipsoids that meet there, (S,) each."""
        found, firsts, seconds = [np.empty((0, 3))], [np.empty(0, int)], [np.empty(0, int)]
        reach = np.maximum(self.along_mm, self.across_mm)
        for first in range(len(self)):
            grid = self._grid(first, spacing_mm)
            for second in range(first + 1, len(self)):
                if np.linalg.norm(self.centers[first] - self.centers[second]) >= reach[first] + reach[second]:
                    continue
                inside = self.level(second, grid) < 1.0
                for axis in (0, 1):
                    # Around the axis the grid is closed: its last column is its first one.
                    near = np.take(grid, range(grid.shape[axis] - 1), axis)
                    far = np.take(grid, range(1, grid.shape[axis]), axis)
                    is_crossed = np.diff(inside, axis=axis)
                    found.append(0.5 * (near[is_crossed] + far[is_crossed]))
                    firsts.append(np.full(len(found[-1]), first))
                    seconds.append(np.full(len(found[-1]), second))
        places, pair = np.vstack(found), (np.concatenate(firsts), np.concatenate(seconds))
        for _ in range(_ONTO_STEPS):
            places = places + self._onto_seam(places, *pair)
        is_seam = self._is_on(places, *pair)
        return places[is_seam], pair[0][is_seam], pair[1][is_seam]

    def _corners(self, places: FloatArray, first: IntArray, second: IntArray) -> FloatArray:
        """The open places where three ellipsoids meet, looked for from places (S, 3) on seams; (C, 3)."""
        found = [np.empty((0, 3))]
        for third in range(len(self)):
            thirds = np.full(len(places), third)
            slope = 2 * np.linalg.norm(self._gradient(thirds, places), axis=1)
            is_near = np.abs(self.level(third, places) - 1) < 2 * _SEAM_SPACING_MM * slope
            # Each corner lies on three seams; it is enough to come from one of them.
            near = np.flatnonzero(is_near & (second < third))
            zones = (first[near], second[near], thirds[near])
            corner = self._to_corner(places[near], *zones)
            is_corner = np.flatnonzero(self._is_on(corner, *zones))
            corner = corner[is_corner]
            found.append(corner[~self.is_covered(corner, *(zone[is_corner] for zone in zones))])
        return np.vstack(found)

    def _is_on(self, places: FloatArray, *zones: IntArray) -> BoolArray:
        """Which places (N, 3) lie on the surface of all their ellipsoids, (N,) each."""
        return np.all([np.abs(self.level(zone, places) - 1) < _LEVEL_TOLERANCE for zone in zones], axis=0)

    def _grid(self, zone: int, spacing_mm: float) -> FloatArray:
        """Points on an ellipsoid, (A, B, 3), from pole to pole and once around."""
        a, b = self.along_mm[zone], self.across_mm[zone]
        turn = np.linspace(0.0, np.pi, int(np.ceil(np.pi * max(a, b) / spacing_mm)) + 1)
        around = np.linspace(0.0, 2 * np.pi, int(np.ceil(2 * np.pi * b / spacing_mm)) + 1)
        u = _across(self.axes[zone])
        v = np.cross(self.axes[zone], u)
        ring = np.cos(around)[:, None] * u + np.sin(around)[:, None] * v
        grid: FloatArray = (
            self.centers[zone]
            + (a * np.cos(turn))[:, None, None] * self.axes[zone]
            + (b * np.sin(turn))[:, None, None] * ring
        )
        return grid

    def _gradient(self, zone: IntArray, points: FloatArray) -> FloatArray:
        """Half of the level's gradient, (N, 3)."""
        return self._bent(zone, points - self.centers[zone])

    def _bent(self, zone: IntArray, vectors: FloatArray) -> FloatArray:
        """Half of the level's second derivative times vectors, (N, 3)."""
        axes = self.axes[zone]
        axial = np.sum(vectors * axes, axis=1)[:, None] * axes
        bent: FloatArray = (
            axial / (self.along_mm[zone] ** 2)[:, None] + (vectors - axial) / (self.across_mm[zone] ** 2)[:, None]
        )
        return bent

    def _onto_seam(self, places: FloatArray, first: IntArray, second: IntArray) -> FloatArray:
        """A step of Newton's method across the seam, onto both ellipsoids; (N, 3)."""
        n1, n2 = self._gradient(first, places), self._gradient(second, places)
        r1, r2 = 0.5 * (1 - self.level(first, places)), 0.5 * (1 - self.level(second, places))
        return _in_span(n1, n2, r1, r2)

    def _along_seam(self, places: FloatArray, first: IntArray, second: IntArray, points: FloatArray) -> FloatArray:
        """The places of seams nearest to points (N, 3), looked for from places (N, 3) on them; (N, 3)."""
        for _ in range(_ALONG_STEPS):
            n1, n2 = self._gradient(first, places), self._gradient(second, places)
            tangent = np.cross(n1, n2)
            tangent /= np.maximum(np.linalg.norm(tangent, axis=1), 1e-300)[:, None]
            # How the curve bends: it stays on both surfaces.
            bend1 = -np.sum(tangent * self._bent(first, tangent), axis=1)
            bend2 = -np.sum(tangent * self._bent(second, tangent), axis=1)
            bend = _in_span(n1, n2, bend1, bend2)
            toward = points - places
            slope = np.sum(toward * tangent, axis=1)
            curvature = 1.0 - np.sum(toward * bend, axis=1)
            # Where the curve bends as a circle around the point, or more, it is followed downhill.
            step = slope / np.maximum(curvature, _LEAST_CURVATURE)
            step = np.clip(step, -_LONGEST_STEP_MM, _LONGEST_STEP_MM)[:, None]
            places = places + step * tangent + 0.5 * step**2 * bend
            for _ in range(2):
                places = places + self._onto_seam(places, first, second)
        return places

    def _to_corner(self, places: FloatArray, first: IntArray, second: IntArray, third: IntArray) -> FloatArray:
        """The places, looked for from places (N, 3), where three ellipsoids meet; (N, 3)."""
        for _ in range(_CORNER_STEPS):
            zones = (first, second, third)
            normals = np.stack([self._gradient(zone, places) for zone in zones], axis=1)
            missing = np.stack([0.5 * (1 - self.level(zone, places)) for zone in zones], axis=1)
            crossed = np.cross(normals[:, [1, 2, 0]], normals[:, [2, 0, 1]])
            volume = np.sum(normals[:, 0] * crossed[:, 0], axis=1)
            scale = np.prod(np.linalg.norm(normals, axis=2), axis=1)
            flat = np.abs(volume) < _PARALLEL * scale
            step = np.einsum("ni,nij->nj", missing, crossed) / np.where(flat, np.inf, volume)[:, None]
            length = np.linalg.norm(step, axis=1)[:, None]
            places = places + step * np.minimum(1.0, _LONGEST_STEP_MM / np.maximum(length, 1e-300))
        return places


def _nearest_on_ellipse(axial: FloatArray, beside: FloatArray, a: float, b: float) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine of the eccentric angle of the nearest point of an ellipse, both >= 0, as are the coordinates."""
    cosine = sine = np.full(len(axial), np.sqrt(0.5))
    for _ in range(_ELLIPSE_ITERATIONS):
        center_x = (a**2 - b**2) * cosine**3 / a
        center_y = (b**2 - a**2) * sine**3 / b
        radius = np.hypot(a * cosine - center_x, b * sine - center_y)
        toward_x, toward_y = axial - center_x, beside - center_y
        toward = np.hypot(toward_x, toward_y)
        toward_x = np.where(toward < 1e-12, radius, toward_x)  # at the center itself any way out will do
        scale = radius / np.where(toward < 1e-12, radius, toward)
        cosine = np.clip((toward_x * scale + center_x) / a, 0.0, 1.0)
        sine = np.clip((toward_y * scale + center_y) / b, 0.0, 1.0)
        length = np.maximum(np.hypot(cosine, sine), 1e-12)
        cosine, sine = cosine / length, sine / length
    return cosine, sine


def _across(axis: FloatArray) -> FloatArray:
    """A unit vector (3,) at right angles to another."""
    other = np.eye(3)[int(np.argmin(np.abs(axis)))]
    across: FloatArray = np.cross(axis, other) / np.linalg.norm(np.cross(axis, other))
    return across


def _in_span(n1: FloatArray, n2: FloatArray, r1: FloatArray, r2: FloatArray) -> FloatArray:
    """The vectors w in the plane of n1 and n2, (N, 3), with n1 w = r1 and n2 w = r2; 0 where these are parallel."""
    s11, s12, s22 = (np.sum(u * v, axis=1) for u, v in ((n1, n1), (n1, n2), (n2, n2)))
    determinant = s11 * s22 - s12**2
    determinant = np.where(determinant < _PARALLEL * s11 * s22, np.inf, determinant)
    first, second = (s22 * r1 - s12 * r2) / determinant, (s11 * r2 - s12 * r1) / determinant
    span: FloatArray = first[:, None] * n1 + second[:, None] * n2
    return span
