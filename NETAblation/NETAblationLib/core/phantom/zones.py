"""How the metastases were ablated: analytic zones in the frame before ablation.

A zone is a union of ellipsoids of revolution, one per probe position, clipped by the liver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .lesions import EVALUABLE_MARGIN_MM, PlannedLesion, unit_vector
from .liver import Liver
from .shapes import Ellipsoid, Union, unit_sphere

Array = npt.NDArray[np.float64]

#: Long over short axis of the zones: antennas of the device tables run from 1.05 to 1.5.
_ELONGATION = (1.08, 1.30)


def plan_zones(rng: np.random.Generator, liver: Liver, lesions: Sequence[PlannedLesion]) -> tuple[PlannedLesion, ...]:
    """Give every lesion its zone: MAM of 5.6 to 9 mm, but one short in a drawn direction."""
    candidates = [i for i, lesion in enumerate(lesions) if lesion.kind not in ("subcapsular",)]
    short = candidates[int(rng.integers(len(candidates)))]
    planned = []
    for index, lesion in enumerate(lesions):
        points, _ = lesion.tumor.surface_points(max(1.5, 0.14 * lesion.reach_mm))
        evaluable = points[-liver.level(points) >= EVALUABLE_MARGIN_MM]
        points = evaluable if len(evaluable) >= 20 else points
        parts = _scaled_to(lesion, _zone_layout(rng, lesion), points, rng.uniform(5.8, 8.6))
        direction = None
        if index == short:
            direction = _telling_direction(rng, lesion, parts, points)
            shift = _shift_for(parts, points, direction, rng.uniform(-1.8, 2.6))
            parts = tuple(part.moved(-shift * direction) for part in parts)
        planned.append(replace(lesion, zone=Union(parts, liver), shortfall_direction_ras=direction))
    return tuple(planned)


def _zone_layout(rng: np.random.Generator, lesion: PlannedLesion) -> tuple[Ellipsoid, ...]:
    """Probe positions for a lesion: one, or several parallel ones spread over a large tumor."""
    direction = _probe_direction(rng)
    axes = np.column_stack([*_across(direction), direction])
    elongation = rng.uniform(*_ELONGATION)
    lower, upper = lesion.tumor.bounds_ras_mm
    radius = float(np.max(upper - lower)) / 2
    if radius <= 15.0:
        short = radius + 7.0
        center = lesion.tumor.center_ras_mm + rng.normal(0, 0.6, 3)
        return (Ellipsoid(center, np.array([short, short, short * elongation]), axes),)
    count = int(np.clip(np.ceil(1.25 * ((radius + 7.0) / 20.0) ** 3), 3, 9))
    lattice = np.stack(np.meshgrid(*[np.arange(a, b, 3.0) for a, b in zip(lower, upper, strict=True)]), axis=-1)
    target = lattice.reshape(-1, 3)
    target = target[lesion.tumor.is_inside(target)]
    stretch = axes @ np.diag([1.0, 1.0, 1.0 / elongation])
    centers = _middles(rng, target @ stretch, count) @ np.linalg.inv(stretch)
    # The middles of the tumor's parts lie inside it; zones have to reach beyond, so spread them.
    centers = target.mean(axis=0) + (centers - target.mean(axis=0)) * 1.12
    short = 17.0
    return tuple(Ellipsoid(c, np.array([short, short, short * elongation]), axes) for c in centers)


def _middles(rng: np.random.Generator, points: Array, count: int) -> Array:
    """Centers (count, 3) of equal parts of a cloud (Lloyd's algorithm)."""
    centers = points[rng.choice(len(points), count, replace=False)]
    for _ in range(25):
        owner = cKDTree(centers).query(points)[1]
        centers = np.array(
            [points[owner == i].mean(axis=0) if (owner == i).any() else centers[i] for i in range(count)]
        )
    return centers


def _scaled_to(
    lesion: PlannedLesion, parts: tuple[Ellipsoid, ...], points: Array, wanted_mm: float
) -> tuple[Ellipsoid, ...]:
    """The parts scaled so that the smallest depth of the tumor's `points` is about `wanted_mm`."""
    factor = 1.0
    for _ in range(7):
        scaled = tuple(part.scaled(factor) for part in parts)
        found = float(_coarse_depth(scaled, points).min())
        if abs(found - wanted_mm) < 0.15:
            break
        factor += (wanted_mm - found) / float(parts[0].semi_axes_mm.mean())
    return tuple(part.scaled(factor) for part in parts)


def _telling_direction(
    rng: np.random.Generator, lesion: PlannedLesion, parts: tuple[Ellipsoid, ...], points: Array
) -> Array:
    """Of a few drawn directions the one in which the smallest margin lies once the zone is pulled back.

    A lobulated tumor in a zone with creases can come short beside the direction of the shift.
    """
    best = (-2.0, np.zeros(3))
    for _ in range(24):
        direction = unit_vector(rng)
        depth = _coarse_depth(tuple(part.moved(-7.0 * direction) for part in parts), points)
        toward = points[int(depth.argmin())] - lesion.tumor.center_ras_mm
        cosine = float(toward @ direction / np.linalg.norm(toward))
        best = max(best, (cosine, direction), key=lambda candidate: candidate[0])
        if cosine > 0.94:
            break
    return best[1]


def _shift_for(parts: tuple[Ellipsoid, ...], points: Array, direction: Array, wanted_mm: float) -> float:
    """How far to pull the zone back along `direction` for the smallest depth to be `wanted_mm`."""
    low, high = 0.0, 20.0
    for _ in range(9):
        middle = 0.5 * (low + high)
        depth = _coarse_depth(tuple(part.moved(-middle * direction) for part in parts), points).min()
        low, high = (middle, high) if depth > wanted_mm else (low, middle)
    return 0.5 * (low + high)


def _coarse_depth(parts: tuple[Ellipsoid, ...], points: Array) -> Array:
    """Depth of points (N, 3) in a union, (N,) mm, negative outside; within a few tenths of a mm."""
    if len(parts) == 1:
        return -parts[0].signed_distance(points)
    shell = unit_sphere(1500)
    samples = []
    for index, part in enumerate(parts):
        surface = part.center_ras_mm + (shell * part.semi_axes_mm) @ part.axes.T
        for other_index, other in enumerate(parts):
            if other_index != index:
                surface = surface[other.level(surface) > 0]
        samples.append(surface)
    distance = cKDTree(np.concatenate(samples)).query(points)[0]
    inside = np.min([part.level(points) for part in parts], axis=0) < 0
    return np.where(inside, distance, -distance)


def _probe_direction(rng: np.random.Generator) -> Array:
    """From the tip toward the skin: right and anterior, a little up or down."""
    vector = np.array([rng.uniform(0.3, 1.0), rng.uniform(0.0, 0.8), rng.uniform(-0.35, 0.35)])
    return vector / np.linalg.norm(vector)


def _across(direction: Array) -> tuple[Array, Array]:
    helper = np.array([0.0, 0.0, 1.0])
    first = np.cross(helper, direction)
    first /= np.linalg.norm(first)
    return first, np.cross(direction, first)
