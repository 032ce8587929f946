"""Vessels of 3 mm and more in the shell around a tumor: their blood carries heat off, and tissue survives there.

Widths come from the mask alone: at each place of a vessel its diameter is that of the largest ball that holds the
place and lies within the vessel's smooth surface. That vessels from 3 mm on do this, and its source, stand in the table
of clinical rules (`heat_sink_vessel`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from . import frames
from .clinical_rules import RULES
from .errors import EmptyMaskError, GeometryError, InputError
from .images import as_mask
from .margin_directions import side_words
from .surfaces import Surface, smooth_field

FloatArray = npt.NDArray[np.float64]

#: Vessels from this diameter on are reported.
LEAST_DIAMETER_MM = RULES["heat_sink_vessel"].number

#: Spacing of the nodes on which vessels are measured, in mm, and how far beyond the shell they are followed, so that
#: a vessel cut at its border is not taken for a thinner one. User-set.
_SPACING_MM, _BEYOND_MM = 0.75, 4.0
#: Steps toward the middle of a vessel from the innermost nodes, and the length of the first, in spacings.
_ASCENT_STEPS, _FIRST_STEP = 6, 0.5
#: How much thinner than asked for a ball may be that still counts, in mm: what the ascent misses of the middle.
_SLACK_MM = 0.05
_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class ShellVessel:
    """One vessel, or connected part of a tree, within the shell.

    `name` is that of its mask. `diameter_mm` is the median over its volume, `largest_diameter_mm` the largest; the
    volume and length are those within the shell, the length being that of a tube of its widths. `distance_mm` is the
    least one from the tumor's surface to the vessel's wall (0 where they touch), met at `nearest_ras_mm` (3,), on the
    side `direction` of the tumor.
    """

    name: str
    diameter_mm: float
    largest_diameter_mm: float
    length_mm: float
    volume_ml: float
    distance_mm: float
    nearest_ras_mm: tuple[float, float, float]
    direction: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "nearest_ras_mm": list(self.nearest_ras_mm)}


def vessels_in_shell(
    surface: Surface,
    vessels: Mapping[str, sitk.Image],
    *,
    shell_mm: float,
    least_diameter_mm: float = LEAST_DIAMETER_MM,
) -> list[ShellVessel]:
    """The vessels of at least a diameter within `shell_mm` of the tumor's surface, the nearest one first.

    `surface` is the tumor's in RAS mm, `vessels` are masks by name in its frame. Parts inside the tumor do not count.
    Raises InputError for lengths that are not above 0, EmptyMaskError and GeometryError, naming the mask, as
    :func:`~.surfaces.smooth_field`.
    """
    if not (np.isfinite([shell_mm, least_diameter_mm]).all() and shell_mm > 0 and least_diameter_mm > 0):
        raise InputError(f"vessels in the shell: {shell_mm} mm and {least_diameter_mm} mm are not both above 0")
    found = [
        vessel
        for name, mask in vessels.items()
        for vessel in _of_mask(surface, mask, name, shell_mm, least_diameter_mm)
    ]
    return sorted(found, key=lambda vessel: (vessel.distance_mm, -vessel.diameter_mm))


def vessels_text(found: list[ShellVessel], shell_mm: float) -> list[str]:
    """What was found, for people."""
    return [
        f"vessel {vessel.name} of {vessel.diameter_mm:.1f} mm, {vessel.length_mm:.0f} mm of it within {shell_mm:g} mm "
        f"{vessel.direction} of the tumor, {vessel.distance_mm:.1f} mm from it: heat sink"
        for vessel in found
    ]


def _of_mask(surface: Surface, vessel: sitk.Image, name: str, shell_mm: float, least_mm: float) -> list[ShellVessel]:
    mask = as_mask(vessel, name)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise EmptyMaskError(f"{name}: the mask is empty; segment vessels first, or leave it out")
    reach_mm = shell_mm + _BEYOND_MM
    if not frames.is_inside(mask, surface.points_ras_mm).any():
        raise GeometryError(f"{name}: its image does not reach the tumor; check that both are of one frame")
    part = frames.crop_around_points(mask, surface.points_ras_mm, reach_mm + least_mm)
    if not sitk.GetArrayViewFromImage(part).any():
        return []
    padded = sitk.ConstantPad(part, (2, 2, 2), (2, 2, 2), 0)
    field = smooth_field(padded, name)
    wall = field.surface()
    nodes, index = _nodes(wall)
    inside = field.evaluate(nodes) < 0
    nodes, index = nodes[inside], index[inside]
    if not len(nodes):
        return []
    depth = wall.distance_mm(nodes)
    centers, radii = _middles(wall, nodes, depth, least_mm / 2 - _SLACK_MM)
    width_mm = _widths(nodes, centers, radii)
    outside_mm = _outside_mm(surface, nodes)
    is_wide = (width_mm > 0) & (outside_mm > 0)
    nodes, index, width_mm, outside_mm = nodes[is_wide], index[is_wide], width_mm[is_wide], outside_mm[is_wide]
    if not (outside_mm <= shell_mm).any():
        return []
    # Followed beyond the shell, so that one that only grazes it is not taken for several.
    box = np.zeros(index.max(axis=0) + 1, dtype=bool)
    box[tuple(index.T)] = True
    labels = ndimage.label(box, structure=_NEIGHBORS)[0][tuple(index.T)]
    labels[outside_mm > shell_mm] = 0
    return [
        _vessel(name, surface, nodes[labels == n], width_mm[labels == n], wall) for n in np.unique(labels[labels > 0])
    ]


def _nodes(wall: Surface) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """An even grid around a surface: its nodes (N, 3) and their indices (N, 3)."""
    lower = wall.points_ras_mm.min(axis=0)
    size = np.ceil(np.ptp(wall.points_ras_mm, axis=0) / _SPACING_MM).astype(int) + 1
    index = np.indices(size).reshape(3, -1).T.astype(np.int64)
    return lower + _SPACING_MM * index, index


def _middles(wall: Surface, nodes: FloatArray, depth: FloatArray, least_radius: float) -> tuple[FloatArray, FloatArray]:
    """Centers (M, 3) and radii (M,) of the balls of at least a radius that fill the vessel."""
    deepest = nodes[depth > least_radius - _SPACING_MM]
    if not len(deepest):
        return np.empty((0, 3)), np.empty(0)
    places, radius = deepest, depth[depth > least_radius - _SPACING_MM]
    # Beside the middle, depth rises toward it by most of a spacing from node to node; along the middle it hardly does.
    tree = cKDTree(nodes)
    near = tree.query_ball_point(places, 1.1 * _SPACING_MM)
    is_middle = np.array([radius[n] >= depth[rows].max() - 0.5 * _SPACING_MM for n, rows in enumerate(near)])
    places, radius = places[is_middle], radius[is_middle]
    step = _FIRST_STEP * _SPACING_MM
    for _ in range(_ASCENT_STEPS):
        for axis in np.concatenate([np.eye(3), -np.eye(3)]):
            tried = places + step * axis
            deeper = wall.distance_mm(tried)
            better = deeper > radius
            places, radius = np.where(better[:, None], tried, places), np.where(better, deeper, radius)
        step *= 0.6
    kept = radius >= least_radius
    return places[kept], radius[kept]


def _widths(nodes: FloatArray, centers: FloatArray, radii: FloatArray) -> FloatArray:
    """Diameter (N,) of the largest ball over each node, 0 where there is none."""
    width = np.zeros(len(nodes))
    tree = cKDTree(nodes)
    for number in np.argsort(radii, kind="stable").tolist():
        rows = tree.query_ball_point(centers[number], radii[number] + 0.5 * _SPACING_MM)
        width[rows] = 2 * radii[number]
    return width


def _outside_mm(surface: Surface, points: FloatArray) -> FloatArray:
    """Distance (N,) from the tumor's surface, below 0 inside: by the side of the nearest vertex."""
    tree = cKDTree(surface.points_ras_mm)
    vertex = np.asarray(tree.query(points)[1])
    side = np.einsum("ij,ij->i", points - surface.points_ras_mm[vertex], surface.point_normals[vertex])
    return np.where(side < 0, -1.0, 1.0) * surface.distance_mm(points)


def _vessel(name: str, surface: Surface, nodes: FloatArray, width_mm: FloatArray, wall: Surface) -> ShellVessel:
    near = np.asarray(cKDTree(nodes).query(wall.points_ras_mm)[0]) < 2 * _SPACING_MM
    points = wall.points_ras_mm[near] if near.any() else nodes
    outside = _outside_mm(surface, points)
    nearest = int(np.argmin(np.abs(outside)))
    distance = 0.0 if (outside < 0).any() and (outside > 0).any() else float(np.abs(outside[nearest]))
    offset = nodes.mean(axis=0) - surface.centroid_ras_mm
    length = float(np.linalg.norm(offset))
    x, y, z = points[nearest].tolist()
    return ShellVessel(
        name,
        diameter_mm=float(np.median(width_mm)),
        largest_diameter_mm=float(width_mm.max()),
        length_mm=float((_SPACING_MM**3 / (np.pi / 4 * width_mm**2)).sum()),
        volume_ml=len(nodes) * _SPACING_MM**3 / 1000.0,
        distance_mm=distance,
        nearest_ras_mm=(x, y, z),
        direction=side_words(offset / length) if length > 0 else "",
    )
