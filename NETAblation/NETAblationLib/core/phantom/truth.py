"""Exact margins and diameters of analytic shapes: what measurements are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .liver import Liver
from .shapes import Ellipsoid, Union

Array = npt.NDArray[np.float64]
Inside = Callable[[Array], npt.NDArray[np.bool_]]

#: Spacing of the surface samples from which the smallest margin is refined, mm. The signed
#: margin changes by at most 1 mm per mm, so samples within 1.2 mm of the smallest are refined.
_SAMPLE_MM, _REFINE_ABOVE_MM = 1.6, 1.2
#: Steps along a ray that look for the outline of a shape, and bisections after which points that cannot be an end of
#: the longest line are left out.
_FRACTIONS, _PRUNED_AFTER = 16, (4, 8, 14)


@dataclass(frozen=True)
class MinimalMargin:
    """The smallest signed margin in mm and its place on the tumor's surface, RAS mm (3,)."""

    margin_mm: float
    location_ras_mm: Array


def signed_margin(zone: Union, points_ras_mm: Array) -> Array:
    """Distance of points (N, 3) to the zone's surface, (N,) mm, positive inside the zone."""
    return -zone.signed_distance(points_ras_mm)


def minimal_margin(tumor: Union, zone: Union, liver: Liver, evaluable_margin_mm: float | None) -> MinimalMargin | None:
    """The smallest signed margin over a tumor's surface, to about 0.01 mm.

    With `evaluable_margin_mm` only surface at least that far from the liver's capsule counts;
    None where there is none.
    """
    points, _ = tumor.surface_points(_SAMPLE_MM)
    if evaluable_margin_mm is not None:
        points = points[is_evaluable(liver, points, evaluable_margin_mm)]
    if not len(points):
        return None
    margin: Array = signed_margin(zone, points)
    order = np.argsort(margin)
    start = order[margin[order] < margin.min() + _REFINE_ABOVE_MM][:60]
    best, where = margin[start], points[start]
    grid = np.linspace(-1.0, 1.0, 5)
    offsets = np.array(np.meshgrid(grid, grid)).reshape(2, -1).T
    step = _SAMPLE_MM
    for _ in range(7):
        trial = (where[:, None] + step * _tangent_offsets(tumor, liver, where, offsets)).reshape(-1, 3)
        trial = _onto_tumor(tumor, liver, trial)
        usable = tumor_surface_level(tumor, liver, trial) < 1e-6
        if evaluable_margin_mm is not None:
            usable[usable] = is_evaluable(liver, trial[usable], evaluable_margin_mm)
        flat = np.full(len(trial), np.inf)
        flat[usable] = signed_margin(zone, trial[usable])
        value = flat.reshape(len(where), -1)
        choice = value.argmin(axis=1)
        rows = np.arange(len(where))
        better = value[rows, choice] < best
        best = np.where(better, value[rows, choice], best)
        where = np.where(better[:, None], trial.reshape(len(rows), -1, 3)[rows, choice], where)
        step /= 2.5
        # What is left of the search moves a place by less than 2.5 steps, and its margin by no more.
        keep = (best < best.min() + 2.5 * step) & _is_own_search(where, best, 0.5 * step)
        best, where = best[keep], where[keep]
    place = where[int(best.argmin())]
    # Anew for this point alone, since iterations stop when all points of a call have converged.
    return MinimalMargin(float(signed_margin(zone, place[None])[0]), place.copy())


def _is_own_search(places: Array, margins: Array, apart_mm: float) -> npt.NDArray[np.bool_]:
    """Which of some places (N, 3) have no place of less margin within a distance, whose search covers theirs; (N,)."""
    near = np.linalg.norm(places[:, None] - places[None], axis=2) < apart_mm
    rank = np.argsort(np.argsort(margins))
    return ~(near & (rank[None] < rank[:, None])).any(axis=1)


def is_evaluable(liver: Liver, points_ras_mm: Array, margin_mm: float) -> npt.NDArray[np.bool_]:
    """Which points (N, 3) of the liver lie at least a margin from its capsule; (N,)."""
    far = -liver.rough_level(points_ras_mm)
    result = far > margin_mm + 4.0
    open_ = ~result & (far > margin_mm - 4.0)
    if open_.any():
        result[open_] = liver.capsule_distance(points_ras_mm[open_], np.array(margin_mm)) >= margin_mm
    return result


def tumor_surface_level(tumor: Union, liver: Liver, points: Array) -> Array:
    """Above zero where a point of one part's surface is no surface of the tumor; (N,).

    It is not where another part or, for a clipped tumor, the outside of the liver covers it.
    """
    inner = np.max([-part.level(points) for part in tumor.parts], axis=0)
    if tumor.organ is None:
        return inner
    return np.maximum(np.minimum(inner, np.abs(liver.level(points))), liver.level(points))


def _onto_tumor(tumor: Union, liver: Liver, points: Array) -> Array:
    """Points near the tumor's surface moved onto it."""
    levels = np.array([np.abs(part.level(points)) * part.semi_axes_mm.mean() for part in tumor.parts])
    nearest = levels.argmin(axis=0)
    moved = points.copy()
    for index, part in enumerate(tumor.parts):
        own = nearest == index
        if own.any():
            moved[own] = part.closest_points(points[own])
    if tumor.organ is not None:
        outside = liver.level(moved) > 0
        if outside.any():
            moved[outside] = liver.onto_capsule(points[outside])
    return moved


def _tangent_offsets(tumor: Union, liver: Liver, points: Array, offsets: Array) -> Array:
    """Offsets (N, M, 3) in the tangent planes of the tumor's surface at points (N, 3)."""
    levels = np.array([np.abs(part.level(points)) for part in tumor.parts])
    nearest = levels.argmin(axis=0)
    normal = np.empty_like(points)
    for index, part in enumerate(tumor.parts):
        own = nearest == index
        if own.any():
            normal[own] = part.normals_at(points[own])
    if tumor.organ is not None:
        capsule = levels.min(axis=0) > 1e-6
        if capsule.any():
            gradient = liver.gradient(points[capsule])
            normal[capsule] = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    helper = np.where(np.abs(normal[:, :1]) < 0.7, np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]]))
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normal, first)
    return offsets[None, :, :1] * first[:, None] + offsets[None, :, 1:] * second[:, None]


def longest_axial_line(is_inside: Inside, center_ras_mm: Array, reach_mm: float) -> Array:
    """Ends (2, 3) of the longest diameter in an axial plane, as a reader would draw it.

    `is_inside` takes points (N, 3). The outline of each plane is found along rays from the center
    by bisection, first coarsely in planes and angles, then finely around the best plane.
    """
    heights = np.linspace(-reach_mm, reach_mm, 25)
    step = heights[1] - heights[0]
    best = _best_plane(is_inside, center_ras_mm, reach_mm, heights, 60, 12)
    for angles, bisections in ((90, 14), (180, 18), (720, 26)):
        heights = best[1] + np.linspace(-step, step, 9 if angles < 720 else 3)
        best = _best_plane(is_inside, center_ras_mm, reach_mm, heights, angles, bisections)
        step /= 4.0
    return best[2]


def _best_plane(
    is_inside: Inside, center: Array, reach: float, heights: Array, angle_count: int, bisections: int
) -> tuple[float, float, Array]:
    angle = 2 * np.pi * np.arange(angle_count) / angle_count
    rays = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(angle_count)])
    starts = center + heights[:, None] * np.array([0.0, 0.0, 1.0])
    outermost = _outermost(is_inside, starts, rays, reach)
    found = outermost >= 0
    width = reach / _FRACTIONS
    number, ray = np.nonzero(found)
    near = width * outermost[found]
    for done in range(bisections):
        if done in _PRUNED_AFTER:
            kept = _may_end_longest(starts[number] + near[:, None] * rays[ray], number, width)
            number, ray, near = number[kept], ray[kept], near[kept]
        width /= 2
        middle = near + width
        near = np.where(is_inside(starts[number] + middle[:, None] * rays[ray]), middle, near)
    best = (-1.0, float(heights[0]), np.repeat(center[None], 2, axis=0))
    for index in range(len(heights)):
        own = number == index
        outline = starts[index] + near[own, None] * rays[ray[own]]
        if len(outline) < 2:
            continue
        apart = _squared_distances(outline)
        first, second = np.unravel_index(int(apart.argmax()), apart.shape)
        length = float(np.linalg.norm(outline[first] - outline[second]))
        if length > best[0]:
            best = (length, float(heights[index]), np.array([outline[first], outline[second]]))
    return best


def _outermost(is_inside: Inside, starts: Array, rays: Array, reach: float) -> npt.NDArray[np.int64]:
    """How many of `_FRACTIONS` steps along each ray from each start the outermost point inside lies; -1 without any.

    They are tried from outside in, so that few points are asked for where the shape fills its reach.
    """
    outermost = np.full((len(starts), len(rays)), -1)
    for step in range(_FRACTIONS, -1, -1):
        number, ray = np.nonzero(outermost < 0)
        inside = is_inside(starts[number] + (reach * step / _FRACTIONS) * rays[ray])
        outermost[number[inside], ray[inside]] = step
    return outermost


def _may_end_longest(outline: Array, number: npt.NDArray[np.int64], width: float) -> npt.NDArray[np.bool_]:
    """Which points (N, 3), each in the plane of a number (N,), may yet be an end of the longest line of all; (N,).

    Each lies up to `width` mm further out than known, so a line may be longer by twice as much, but none is shorter
    by more than that: what falls short of the longest by four times the width cannot become it.
    """
    furthest = np.zeros(len(outline))
    for plane in np.unique(number):
        own = number == plane
        furthest[own] = np.sqrt(np.maximum(_squared_distances(outline[own]).max(axis=1), 0.0))
    return furthest >= furthest.max(initial=0.0) - 4.0 * width - 1e-6


def _squared_distances(points: Array) -> Array:
    """Between each two of points (N, 3); (N, N)."""
    offset = points - points.mean(axis=0)
    square = (offset**2).sum(axis=1)
    return square[:, None] + square[None] - 2.0 * offset @ offset.T


def occupancy(shape: Union, points_ras_mm: Array, spacing_mm: tuple[float, float, float], samples: int) -> Array:
    """Share of each voxel around points (N, 3) inside a shape, from `samples`^3 points each; (N,)."""
    inner = (np.arange(samples) + 0.5) / samples - 0.5
    offsets = np.stack(np.meshgrid(*[inner * s for s in spacing_mm]), axis=-1).reshape(-1, 3)
    total = np.zeros(len(points_ras_mm))
    for offset in offsets:
        total += shape.is_inside(points_ras_mm + offset)
    return total / len(offsets)


def volume_ml(shape: Union) -> float:
    """Volume of a shape: exact for one whole ellipsoid, else by a lattice of 0.4 mm, to 0.1 %."""
    if len(shape.parts) == 1 and shape.organ is None:
        return shape.parts[0].volume_ml
    lower, upper = shape.bounds_ras_mm
    step = 0.4
    count = 0
    y, x = np.meshgrid(np.arange(lower[1] - step, upper[1], step), np.arange(lower[0] - step, upper[0], step))
    for number, z in enumerate(np.arange(lower[2] + 0.5 * step, upper[2], step)):
        # Each layer is shifted by another share of the step, or errors of symmetric shapes add up.
        shift_x, shift_y = (number * 0.7549) % 1.0 * step, (number * 0.5698) % 1.0 * step
        points = np.column_stack([x.ravel() + shift_x, y.ravel() + shift_y, np.full(x.size, z)])
        count += int(shape.is_inside(points).sum())
    return count * step**3 / 1000.0


def main_part(shape: Union) -> Ellipsoid:
    """The largest ellipsoid of a shape."""
    return max(shape.parts, key=lambda part: part.volume_ml)
