"""Where the metastases lie: analytic tumors in the frame before ablation.

Tumors are ellipsoids (large ones may be lobulated unions); the subcapsular one is clipped by the
liver.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import ComputationError
from .liver import Liver
from .shapes import Ellipsoid, Union
from .vessels import Obstacles, VesselTree

Array = npt.NDArray[np.float64]

#: Margin around which zones are built and beneath which capsule a surface is not evaluable, mm:
#: "A0" is at least 5 mm (Laimer et al., Eur Radiol 2020 and 2025).
EVALUABLE_MARGIN_MM = 5.0

#: Room kept around a tumor for its zone, and between the zones of two lesions, mm.
_ZONE_ROOM_MM, _ZONE_GAP_MM = 11.0, 2.0

#: Distance between the surfaces of two tumors from which their zones stay apart, mm.
_APART_MM = 2 * (_ZONE_ROOM_MM - 1.0) + _ZONE_GAP_MM

#: Radius of a vein from which a tumor beside it counts as perivascular (5.5 mm in diameter), and
#: how many places beside such veins are compared.
_BESIDE_RADIUS_MM, _PERIVASCULAR_CANDIDATES = 2.75, 40


@dataclass(frozen=True)
class PlannedLesion:
    """A tumor, its kind, and its zone once planned; `beside` names the vessel it touches."""

    name: str
    kind: str
    tumor: Union
    zone: Union | None = None
    shortfall_direction_ras: Array | None = None
    beside: str = ""

    @cached_property
    def reach_mm(self) -> float:
        """Radius about its center that holds the tumor."""
        center = self.tumor.center_ras_mm
        return max(float(np.linalg.norm(p.center_ras_mm - center) + p.semi_axes_mm.max()) for p in self.tumor.parts)


class _NoRoom(Exception):
    """No place was found for a lesion; the next attempt draws smaller ones."""


def place_lesions(rng: np.random.Generator, liver: Liver, keep_free: Array) -> list[PlannedLesion]:
    """Draw all lesions but the perivascular one: one large, one subcapsular, ordinary ones.

    No tumor comes within 9 mm of the points `keep_free` (N, 3): the roots of the vessels.
    Raises ComputationError where 40 attempts with ever smaller lesions find no room, which
    does not happen for the livers that `Torso` draws.
    """
    depth = -liver.rough_level(liver.inner_points_ras_mm)
    for attempt in range(40):
        shrink = 0.97**attempt
        try:
            placed = [_large(rng, liver, depth, keep_free, shrink)]
            placed.append(_subcapsular(rng, liver, placed, keep_free, shrink))
            wanted = int(rng.integers(1, 6))
            placed.append(_ordinary(rng, liver, depth, placed, keep_free, shrink))
            placed.extend(_more(rng, liver, depth, placed, keep_free, shrink, wanted - 1))
        except _NoRoom:
            continue
        return placed
    raise ComputationError("the digital patient's liver has no room for its lesions: use another seed")


def place_perivascular(
    rng: np.random.Generator, liver: Liver, placed: Sequence[PlannedLesion], trees: Sequence[VesselTree]
) -> PlannedLesion:
    """A lesion within 1.5 mm of a vein of more than 5.4 mm in diameter, clear of the other big ones.

    The place that costs the fewest small branches is taken. Raises ComputationError where no
    vein has room beside it.
    """
    lines = [tree.centerline(1.5) for tree in trees]
    points = np.concatenate([line for line, _ in lines])
    radii = np.concatenate([radius for _, radius in lines])
    names = np.repeat([tree.name for tree in trees], [len(line) for line, _ in lines])
    sites = np.flatnonzero(radii >= _BESIDE_RADIUS_MM)
    best: tuple[float, PlannedLesion] | None = None
    for shrink in (1.0, 0.8, 0.65, 0.5):
        chosen = sites[rng.integers(len(sites), size=600)]
        tumors = _beside(rng, points[chosen], radii[chosen], shrink)
        free = _in_liver(liver, tumors, 2.8) & _far_from(tumors, placed)
        for index in np.flatnonzero(free)[:_PERIVASCULAR_CANDIDATES]:
            lesion = PlannedLesion("", "perivascular", Union((tumors[index],)), beside=str(names[chosen[index]]))
            if liver.level(tumors[index].surface_points(2.0)).max() > -2.5:
                continue
            gap = _gap_to(tumors[index], points, radii)
            if (gap[radii >= 2.4] < 0.25).any() or not _has_room(lesion, placed):
                continue
            cost = float((radii[gap < 0.15] ** 3).sum())
            if best is None or cost < best[0]:
                best = (cost, lesion)
        if best is not None:
            return best[1]
    raise ComputationError("the digital patient has no vein with room beside it: use another seed")


def _large(rng: np.random.Generator, liver: Liver, depth: Array, keep_free: Array, shrink: float) -> PlannedLesion:
    longest = max(20.8, rng.uniform(20.8, 29.5) * shrink)
    semi = longest * np.array([1.0, rng.uniform(0.82, 0.95), rng.uniform(0.75, 0.95)])
    axes = _rotation(rng)
    inner = liver.inner_points_ras_mm
    options = inner[depth > semi.min() * 0.92]
    for _ in range(60):
        if not len(options):
            break
        center = options[int(rng.integers(len(options)))] + rng.uniform(-3, 3, 3)
        # The longest axis is kept near the axial plane: that is where a reader measures it.
        flat = _flattened(axes, rng)
        main = Ellipsoid(center, semi, flat)
        parts = [main, *_lobes(rng, main)]
        surface = np.concatenate([part.surface_points(5.0) for part in parts])
        if liver.level(surface).max() < -2.5 and _leaves_free(parts, keep_free):
            return PlannedLesion("", "large", Union(tuple(parts)))
    raise _NoRoom


def _lobes(rng: np.random.Generator, main: Ellipsoid) -> list[Ellipsoid]:
    """Up to two lobes that bulge out of an ellipsoid by a few mm, off its longest axis."""
    lobes = []
    for _ in range(int(rng.integers(0, 3))):
        direction = unit_vector(rng) * np.array([0.3, 1.0, 1.0])
        direction /= np.linalg.norm(direction)
        radius = main.semi_axes_mm.min() * rng.uniform(0.5, 0.62)
        surface = main.semi_axes_mm * direction
        center = main.center_ras_mm + main.axes @ (
            surface * (1.0 - (radius - rng.uniform(1.5, 3.5)) / np.linalg.norm(surface))
        )
        lobes.append(Ellipsoid(center, radius * rng.uniform(0.92, 1.08, 3), _rotation(rng)))
    return lobes


def _subcapsular(
    rng: np.random.Generator, liver: Liver, placed: Sequence[PlannedLesion], keep_free: Array, shrink: float
) -> PlannedLesion:
    semi = rng.uniform(7.0, 14.0) * shrink * rng.uniform(0.85, 1.0, 3)
    seeds = liver.capsule_points_near(liver.center_ras_mm, 150.0, 7.0)
    inward = -liver.gradient(seeds)
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    # Flat capsule only: the full depth of the tumor and as much again must be liver.
    flat = -liver.level(seeds + inward * semi.max()) > 0.85 * semi.max()
    cava_x, cava_y = liver.torso.cava_center(seeds[:, 2])
    flat &= np.hypot(seeds[:, 0] - cava_x, seeds[:, 1] - cava_y) > 32.0
    flat &= np.linalg.norm(seeds - np.array([24.0, 2.0, -8.0]), axis=1) > 40.0
    for index in rng.permutation(np.flatnonzero(flat))[:80]:
        axes = _rotation(rng)
        reach = float(np.sqrt(((semi * (axes.T @ inward[index])) ** 2).sum()))
        center = seeds[index] + inward[index] * (reach - rng.uniform(0.0, 2.0))
        tumor = Union((Ellipsoid(center, semi, axes),), liver)
        lesion = PlannedLesion("", "subcapsular", tumor)
        inside = liver.level(tumor.parts[0].surface_points(2.5)) < 0
        if inside.mean() > 0.7 and _leaves_free(tumor.parts, keep_free) and _has_room(lesion, placed):
            return lesion
    raise _NoRoom


def _more(
    rng: np.random.Generator,
    liver: Liver,
    depth: Array,
    placed: Sequence[PlannedLesion],
    keep_free: Array,
    shrink: float,
    count: int,
) -> list[PlannedLesion]:
    """Up to `count` more ordinary lesions, as many as there is room for."""
    added: list[PlannedLesion] = []
    with suppress(_NoRoom):
        for _ in range(count):
            added.append(_ordinary(rng, liver, depth, [*placed, *added], keep_free, shrink))
    return added


def _ordinary(
    rng: np.random.Generator,
    liver: Liver,
    depth: Array,
    placed: Sequence[PlannedLesion],
    keep_free: Array,
    shrink: float,
) -> PlannedLesion:
    size = float(np.clip(rng.lognormal(np.log(7.5), 0.4), 4.3, 14.0)) * shrink
    semi = np.maximum(size * np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0)]), 4.1)
    inner = liver.inner_points_ras_mm
    for margin in (10.0, 6.0, 2.5):
        options = inner[depth > semi.max() + margin]
        for _ in range(60):
            if not len(options):
                break
            center = options[int(rng.integers(len(options)))] + rng.uniform(-3, 3, 3)
            lesion = PlannedLesion("", "ordinary", Union((Ellipsoid(center, semi, _rotation(rng)),)))
            if not _leaves_free(lesion.tumor.parts, keep_free) or not _has_room(lesion, placed):
                continue
            if liver.level(lesion.tumor.parts[0].surface_points(3.0)).max() < -2.5:
                return lesion
    raise _NoRoom


def _beside(rng: np.random.Generator, points: Array, radii: Array, shrink: float) -> list[Ellipsoid]:
    """Tumors 0.4 to 1.5 mm off the walls of vessels of `radii` (N,) through `points` (N, 3)."""
    tumors = []
    for point, radius in zip(points, radii, strict=True):
        semi = np.maximum(rng.uniform(5.5, 11.0) * shrink * rng.uniform(0.8, 1.0, 3), 4.2)
        axes = _rotation(rng)
        direction = unit_vector(rng)
        reach = float(np.sqrt(((semi * (axes.T @ direction)) ** 2).sum()))
        center = point + direction * (reach + radius + rng.uniform(0.4, 1.5))
        tumors.append(Ellipsoid(center, semi, axes))
    return tumors


def _in_liver(liver: Liver, tumors: Sequence[Ellipsoid], depth_mm: float) -> npt.NDArray[np.bool_]:
    """Which tumors lie wholly at least a depth in the liver, (N,); of 200 points of each surface."""
    surface = np.concatenate([tumor.surface_points(1e9) for tumor in tumors])
    return liver.rough_level(surface).reshape(len(tumors), -1).max(axis=1) < -depth_mm


def _far_from(tumors: Sequence[Ellipsoid], placed: Sequence[PlannedLesion]) -> npt.NDArray[np.bool_]:
    """A first sieve for `_has_room`, (N,): which tumors' centers lie far enough from the other lesions."""
    centers = np.array([tumor.center_ras_mm for tumor in tumors])
    reach = np.array([tumor.semi_axes_mm.min() for tumor in tumors])
    far = np.ones(len(tumors), bool)
    for part in (part for lesion in placed for part in lesion.tumor.parts):
        far &= part.signed_distance(centers) - reach > _APART_MM
    return far


def _gap_to(ellipsoid: Ellipsoid, points: Array, radii: Array) -> Array:
    """Distance from vessel walls to an ellipsoid's surface, (N,); far ones only roughly."""
    rough = np.linalg.norm(points - ellipsoid.center_ras_mm, axis=1) - ellipsoid.semi_axes_mm.max() - radii
    near = rough < 2.0
    gap = rough.copy()
    if near.any():
        gap[near] = ellipsoid.signed_distance(points[near]) - radii[near]
    return gap


def _leaves_free(parts: Sequence[Ellipsoid], keep_free: Array) -> bool:
    return not (Obstacles(parts).depth(keep_free, 9.0) > 0).any()


def _has_room(lesion: PlannedLesion, placed: Sequence[PlannedLesion]) -> bool:
    """Whether the zones of the lesion and of those placed so far stay apart."""
    for other in placed:
        apart = np.linalg.norm(lesion.tumor.center_ras_mm - other.tumor.center_ras_mm)
        if apart > lesion.reach_mm + other.reach_mm + _APART_MM:
            continue
        surface = np.concatenate([part.surface_points(6.0) for part in lesion.tumor.parts])
        distance = np.min([part.signed_distance(surface) for part in other.tumor.parts], axis=0)
        if distance.min() < _APART_MM:
            return False
    return True


def unit_vector(rng: np.random.Generator) -> Array:
    """A direction drawn evenly, (3,)."""
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _rotation(rng: np.random.Generator) -> Array:
    """A rotation matrix drawn evenly, from a random quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _flattened(axes: Array, rng: np.random.Generator) -> Array:
    """The axes turned so that the first lies within 15 degrees of the axial plane."""
    first = np.array([axes[0, 0], axes[1, 0], 0.0])
    first /= max(float(np.linalg.norm(first)), 1e-9)
    tilt = np.deg2rad(rng.uniform(-15, 15))
    first = np.array([first[0] * np.cos(tilt), first[1] * np.cos(tilt), np.sin(tilt)])
    second = axes[:, 1] - (axes[:, 1] @ first) * first
    second /= np.linalg.norm(second)
    return np.column_stack([first, second, np.cross(first, second)])
