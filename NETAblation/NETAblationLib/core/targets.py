"""What a plan has to cover: the tumor and the tissue within the margin around it, in the liver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.spatial import cKDTree

from .errors import GeometryError
from .surfaces import SmoothField, Surface, signed_distance_mm, smooth_field, smooth_field_near

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Bounds of the spacing of points in a target, in mm. User-set.
_POINT_SPACING_MM = (0.5, 5.0)
#: How much less than the distance the smooth field of a mask may be, away from its surface, in mm.
_FIELD_SLACK_MM = 3.0
#: Moves points of a surface, which lie on the lines of a grid, away from where rounding to 0.01 mm turns.
_OFF_GRID_MM = 0.0017


@dataclass(frozen=True)
class Target:
    """A tumor and the margin asked for around it.

    `surface` is the tumor's; `is_evaluable` (N,) holds for its points at least `margin_mm` from
    the liver's capsule, as :func:`~.margins.measure_margin` has it.
    """

    margin_mm: float
    surface: Surface
    tumor_field: SmoothField
    liver_field: SmoothField
    is_evaluable: BoolArray

    @classmethod
    def of(cls, tumor: sitk.Image, liver: sitk.Image, margin_mm: float) -> Target:
        """From the masks; raises GeometryError for a tumor outside the liver."""
        tumor_field = smooth_field(tumor, "tumor")
        surface = tumor_field.surface()
        liver_field = smooth_field_near(liver, surface.points_ras_mm, margin_mm + 5.0, "liver")
        if liver_field is None or not (liver_field.evaluate(surface.points_ras_mm) < 0).any():
            raise GeometryError("tumor: lies outside the liver mask: check both masks and their frame")
        depth = -signed_distance_mm(surface.points_ras_mm, liver_field, liver_field.surface())
        return cls(margin_mm, surface, tumor_field, liver_field, depth >= margin_mm)

    @property
    def center_ras_mm(self) -> FloatArray:
        """Center of mass of the tumor, (3,)."""
        return self.surface.centroid_ras_mm

    def points(self, count: int) -> tuple[FloatArray, BoolArray, float]:
        """Points (N, 3) on an even grid in the target, about `count` or less.

        Also which of them are tumor (N,), and the volume that each stands for, in ml.
        """
        lower = self.surface.points_ras_mm.min(axis=0) - self.margin_mm
        upper = self.surface.points_ras_mm.max(axis=0) + self.margin_mm
        # An ellipsoid fills half of its box.
        spacing = float(np.clip((0.5 * np.prod(upper - lower) / count) ** (1 / 3), *_POINT_SPACING_MM))
        size = np.ceil((upper - lower) / spacing).astype(int) + 1
        start = 0.5 * (lower + upper) - 0.5 * spacing * (size - 1)
        points = start + spacing * np.indices(size).reshape(3, -1).T
        level = self.tumor_field.evaluate(points)
        near = level < self.margin_mm + _FIELD_SLACK_MM
        points, is_tumor = points[near], level[near] < 0
        inside = is_tumor | (self.liver_field.evaluate(points) < 0)
        beside = np.flatnonzero(inside & ~is_tumor)
        inside[beside] = self._is_within_margin(points[beside])
        return points[inside], is_tumor[inside], spacing**3 / 1000.0

    def _is_within_margin(self, points: FloatArray) -> BoolArray:
        """Which points (N, 3) lie within the margin of the tumor's surface."""
        corners = self.surface.points_ras_mm[self.surface.triangles]
        edge_mm = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max()
        # The nearest vertex is at most an edge farther than the surface: it decides for most points.
        reach_mm = self.margin_mm + edge_mm + 1e-6
        vertex_mm = cKDTree(self.surface.points_ras_mm).query(points, distance_upper_bound=reach_mm, workers=-1)[0]
        within = np.asarray(vertex_mm <= self.margin_mm)
        unsure = np.flatnonzero(~within & (vertex_mm <= self.margin_mm + edge_mm))
        within[unsure] = self.surface.distance_mm(points[unsure]) <= self.margin_mm
        return within

    def shell_points(self, distance_mm: float, count: int, *, evaluable: bool = False) -> FloatArray:
        """About `count` points (N, 3) on the tumor's surface moved outward by a distance, in the liver.

        With `evaluable`, only on the surface that can have the margin.
        """
        surface = np.flatnonzero(self.is_evaluable) if evaluable else np.arange(len(self.surface.points_ras_mm))
        step = max(1, len(surface) // count)
        # Every so many in rising order of S, A and R, which is the same however the mask is stored.
        chosen = surface[np.lexsort(np.round(self.surface.points_ras_mm[surface] + _OFF_GRID_MM, 2).T)[::step]]
        points = self.surface.points_ras_mm[chosen] + distance_mm * self.surface.point_normals[chosen]
        if distance_mm == 0.0:
            return points
        return points[self.liver_field.evaluate(points) < 0]
