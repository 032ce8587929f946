"""How few probes and ablations could do: bounds that no plan with a device can undercut.

Every ablation along a probe, whatever its place, lies in a tube about the probe as wide as the widest zone.
Two bounds follow. For parallel probes of one direction, discs have to cover the shadow of what must be
covered: the fewest, by integer programming. Of discs that hold the same points one is enough, and there is one with
two of them on its rim (or one in its middle): so it is proved for all places of the discs. For
probes in any direction: if no tube holds more than a share w of what must be covered, at least 1 / w
probes are needed. Of a sphere that must be covered, the largest share in a tube is known from how far its axis is
from the middle, whatever its direction. For points of any shape it is bounded by branch and bound: cells of directions
and offsets are split until enough is known, and each is judged by a tube widened by all that its lines differ. In the
same way balls bound the ablations, beside the volume that they have to fill. All hold for free lines and
for others; those for any direction are the weaker ones, since they are bounds of fractions of probes (the dual of the
set cover, Chvatal, Math Oper Res 1979;4:233).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from .drafts import across

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Points that carry weight in any direction, and cells that are looked at, at most. User-set.
_POINTS, _CELLS = 160, 60_000
#: Points of the volume of which a share is needed: so many that their number tells a hundredth. User-set.
_VOLUME_POINTS = 600
#: Points of a shadow that discs are found for at first: on its outline, where discs are short first, and spread in it.
#: User-set.
_OUTLINE_POINTS, _SHADOW_POINTS = 72, 32
#: Points of a shadow at most, and those added at once, as far apart as this share of a disc's radius; nodes of the
#: search for the fewest. User-set.
_MOST_SHADOW_POINTS, _MORE_POINTS, _MORE_APART, _NODES = 140, 12, 0.2, 2_000
#: Times that points are added without more discs being needed. User-set.
_ROUNDS_IN_VAIN = 6
#: Moves of discs that cover some of the points, until they cover all, and how much of their radius they use. User-set.
_DISC_MOVES, _DISC_ROOM = 60, 0.998
#: Discs that all others are compared with first. User-set.
_COMPARED = 200
#: How much larger discs count than they are, in mm, so that rounding loses no point on a rim.
_RIM_MM = 1e-6
#: Step in mm in which a tube is moved away from the middle of a sphere, and rings of the sphere that it is judged by.
_SPHERE_STEP_MM, _SPHERE_RINGS = 0.1, 2_000
#: What the rings may be wrong by, as a share of the result.
_SPHERE_SLACK = 1e-3
#: Cells that are split at once. User-set.
_BATCH = 512
#: Cells on a side of each face of the half cube of directions, and of the square of offsets, at the start. User-set.
_FACE_CELLS, _OFFSET_CELLS = 4, 6


@dataclass(frozen=True)
class Sphere:
    """A sphere of which a share of the area must be covered: `radius_mm`, and that share."""

    radius_mm: float
    share: float


@dataclass(frozen=True)
class Bounds:
    """The least number of punctures and of ablations that any plan with the device needs.

    `punctures` holds for probes in any directions, `parallel_punctures` for parallel ones along one direction.
    """

    punctures: int
    parallel_punctures: int
    ablations: int


def least_needed(
    must_ras_mm: FloatArray,
    target_ras_mm: FloatArray,
    needed_share: float,
    volume_ml: float,
    direction: FloatArray,
    widest_mm: float,
    longest_mm: float,
    largest_ml: float,
    at_most: int,
    spheres: Sequence[Sphere] = (),
) -> Bounds:
    """Bounds for points (N, 3) that must be covered and a share of a volume that must be filled.

    `target_ras_mm` (M, 3) are points evenly spread in the volume, of `volume_ml`. `direction` (3,) is the unit
    vector of parallel probes; `widest_mm` and `longest_mm` are the largest diameters of any zone across and along a
    probe, `largest_ml` the volume of the largest zone. A plan with `at_most` probes exists: with one there is
    nothing to prove, and of parallel ones no more is proved. `spheres` lie in what must be covered.
    """
    by_volume = _least(needed_share * volume_ml / largest_ml)
    if at_most == 1:
        return Bounds(1, 1, max(1, by_volume))
    shadow = must_ras_mm @ across(direction).T
    with ThreadPoolExecutor(1) as second_thread:
        discs = second_thread.submit(_fewest_discs, shadow, 0.5 * widest_mm, at_most)
        punctures, ablations = _in_any_direction(
            must_ras_mm, target_ras_mm, needed_share, 0.5 * widest_mm, 0.5 * longest_mm, spheres
        )
        return Bounds(punctures, max(punctures, discs.result()), max(ablations, by_volume))


def _in_any_direction(
    must_ras_mm: FloatArray,
    target_ras_mm: FloatArray,
    needed_share: float,
    radius_mm: float,
    half_length_mm: float,
    spheres: Sequence[Sphere],
) -> tuple[int, int]:
    """The least number of tubes of a radius, and of zones of that radius and half a length."""
    points = _spread(must_ras_mm, _POINTS)
    of_must = _least(1.0 / _largest_share(points, radius_mm, 1.0, is_tube=True))
    volume = target_ras_mm[:: max(1, len(target_ras_mm) // _VOLUME_POINTS)]
    volume = volume - 0.5 * (volume.min(axis=0) + volume.max(axis=0))
    of_volume = _least(needed_share / _largest_share(volume, radius_mm, needed_share, is_tube=True))
    of_spheres = [_least(sphere.share / _share_in_tube(sphere.radius_mm, radius_mm)) for sphere in spheres]
    tubes = max(of_must, of_volume, *of_spheres)
    reach = max(radius_mm, half_length_mm)
    by_balls = _least(1.0 / _largest_share(points, reach, 1.0, is_tube=False))
    by_caps = [_least(sphere.share / _share_in_ball(sphere.radius_mm, reach)) for sphere in spheres]
    return tubes, max(tubes, by_balls, *by_caps)


def _least(number: float) -> int:
    return int(np.ceil(number - 1e-9))


def _spread(points: FloatArray, count: int) -> FloatArray:
    """Some of the points (N, D), each as far from those before it as can be, relative to their middle."""
    relative = points - 0.5 * (points.min(axis=0) + points.max(axis=0))
    chosen = [int(np.linalg.norm(relative, axis=1).argmax())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, np.linalg.norm(relative - relative[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return relative[chosen]


def _share_in_tube(sphere_mm: float, radius_mm: float) -> float:
    """No tube of a radius holds more than this share of the area of a sphere of another radius."""
    if radius_mm >= sphere_mm:
        return 1.0
    # Rings of equal area (Archimedes), as far from the axis through the middle that is parallel to the tube's.
    height = (np.arange(_SPHERE_RINGS) + 0.5) / _SPHERE_RINGS
    ring = sphere_mm * np.sqrt(1.0 - height**2)
    away = np.arange(_SPHERE_STEP_MM / 2, sphere_mm + radius_mm, _SPHERE_STEP_MM)[:, None]
    # So much wider, each tube holds those up to half a step beside it.
    wide = radius_mm + 0.5 * _SPHERE_STEP_MM
    half_angle = np.arccos(np.clip((ring**2 + away**2 - wide**2) / (2.0 * ring * away), -1.0, 1.0))
    return min(1.0, float(half_angle.mean(axis=1).max()) / np.pi * (1.0 + _SPHERE_SLACK))


def _share_in_ball(sphere_mm: float, radius_mm: float) -> float:
    """No ball of a radius holds more than this share of the area of a sphere of another radius: the widest cap."""
    if radius_mm >= sphere_mm:
        return 1.0
    return 0.5 * (1.0 - float(np.sqrt(1.0 - (radius_mm / sphere_mm) ** 2)))


def _fewest_discs(points: FloatArray, radius_mm: float, at_most: int) -> int:
    """No fewer discs of a radius, wherever they lie, cover points (N, 2); no more than `at_most` is proved.

    The fewest are found for some of the points, to which those are added that they leave out.
    """
    points = points - 0.5 * (points.min(axis=0) + points.max(axis=0))
    chosen, fewest, in_vain = np.concatenate([_outline(points), _spread(points, _SHADOW_POINTS)]), 1, 0
    while True:
        centers, covers = _largest_discs(chosen, radius_mm)
        found = optimize.milp(
            np.ones(len(covers)),
            constraints=optimize.LinearConstraint(sparse.csr_array(covers.T.astype(np.float64)), lb=1.0),
            integrality=np.ones(len(covers), dtype=int),
            bounds=optimize.Bounds(0.0, 1.0),
            options={"node_limit": _NODES},
        )
        proved = 0 if found.mip_dual_bound is None else _least(found.mip_dual_bound - 1e-6)
        fewest, in_vain = (proved, 0) if proved > fewest else (fewest, in_vain + 1)
        is_end = len(chosen) >= _MOST_SHADOW_POINTS or in_vain >= _ROUNDS_IN_VAIN
        if found.x is None or fewest >= at_most or is_end:
            return min(fewest, max(at_most, 1))
        used = centers[found.x > 0.5]
        if len(used) <= fewest and _can_cover(points, used, radius_mm):
            return fewest
        away = np.linalg.norm(points[:, None] - used, axis=2).min(axis=1) - radius_mm
        more: list[FloatArray] = []
        while len(more) < _MORE_POINTS and away.max() > _RIM_MM:
            more.append(points[away.argmax()])
            away[np.linalg.norm(points - more[-1], axis=1) < _MORE_APART * radius_mm] = 0.0
        if not more:
            return fewest
        chosen = np.concatenate([chosen, more])


def _can_cover(points: FloatArray, centers: FloatArray, radius_mm: float) -> bool:
    """Whether discs about centers (D, 2) cover points (N, 2) once moved: by each to the farthest point of its own."""
    centers = centers.copy()
    for _ in range(_DISC_MOVES):
        offset = points[:, None] - centers
        squared = (offset * offset).sum(axis=2)
        owner = squared.argmin(axis=1)
        nearest = squared[np.arange(len(points)), owner]
        if nearest.max() <= radius_mm**2:
            return True
        for number in range(len(centers)):
            farthest = int(np.where(owner == number, nearest, -1.0).argmax())
            short_mm = float(np.sqrt(nearest[farthest])) - _DISC_ROOM * radius_mm
            if owner[farthest] == number and short_mm > 0:
                centers[number] += short_mm / float(np.sqrt(nearest[farthest])) * offset[farthest, number]
    return False


def _outline(points: FloatArray) -> FloatArray:
    """The point of (N, 2) farthest out in each of some sectors about 0."""
    sector = np.floor(np.arctan2(points[:, 1], points[:, 0]) * (_OUTLINE_POINTS / (2.0 * np.pi)))
    order = np.lexsort((-np.linalg.norm(points, axis=1), sector))
    return points[order[np.unique(sector[order], return_index=True)[1]]]


def _largest_discs(points: FloatArray, radius_mm: float) -> tuple[FloatArray, BoolArray]:
    """Centers (D, 2) of discs of a radius, and the points (N, 2) that each holds, (D, N).

    All that any disc holds is held by one of them, and none of them by another one.
    """
    one, other = np.triu_indices(len(points), 1)
    apart = points[other] - points[one]
    length = np.linalg.norm(apart, axis=1)
    is_pair = (length > 0) & (length <= 2.0 * radius_mm)
    one, other, apart, length = one[is_pair], other[is_pair], apart[is_pair], length[is_pair]
    aside = np.stack([-apart[:, 1], apart[:, 0]], axis=1) * np.sqrt((radius_mm / length) ** 2 - 0.25)[:, None]
    middle = 0.5 * (points[one] + points[other])
    centers = np.concatenate([middle + aside, middle - aside, points])
    covers = np.linalg.norm(centers[:, None] - points, axis=2) <= radius_mm + _RIM_MM
    _, first = np.unique(np.packbits(covers, axis=1), axis=0, return_index=True)
    largest = first[np.argsort(-covers[first].sum(axis=1), kind="stable")]
    # Most are parts of one of the largest: the others only are compared with each other.
    is_part = _are_parts(covers[largest], covers[largest[:_COMPARED]])
    largest = largest[~is_part]
    largest = largest[~_are_parts(covers[largest], covers[largest])]
    return centers[largest], covers[largest]


def _are_parts(rows: BoolArray, of: BoolArray) -> BoolArray:
    """Which rows (D, N), of falling size and each another one, lie within an earlier one of `of` (E, N), (D,)."""
    some = rows.astype(np.float32)
    is_part = some @ of.astype(np.float32).T == some.sum(axis=1)[:, None]
    return np.asarray(np.tril(is_part, -1).any(axis=1))


@dataclass(frozen=True)
class _Cells:
    """Cells of directions (C, 2) on faces (C,) of the half cube, and of offsets (C, 2) or (C, 3), with half widths."""

    face: npt.NDArray[np.int64]
    slope: FloatArray
    slope_half: FloatArray
    offset: FloatArray
    offset_half: FloatArray
    share: FloatArray

    def taken(self, which: npt.NDArray) -> _Cells:
        return _Cells(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def joined(self, other: _Cells) -> _Cells:
        return _Cells(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in self.__dataclass_fields__))


def _largest_share(points: FloatArray, radius_mm: float, needed: float, *, is_tube: bool) -> float:
    """A bound of the share of points (N, 3) in any one tube or ball of a radius, where a share is needed of all."""
    reach = float(np.linalg.norm(points, axis=1).max()) + radius_mm
    if reach <= 2 * radius_mm:
        return 1.0
    cells = _first_cells(reach, is_tube)
    share, held = _shares(points, radius_mm, cells, is_tube)
    cells = _Cells(cells.face, cells.slope, cells.slope_half, cells.offset, cells.offset_half, share)
    largest_held, looked_at = float(held.max()), len(share)
    while looked_at < _CELLS:
        worst = float(cells.share.max())
        if _least(needed / worst) >= _least(needed / largest_held):
            break  # a tube that was found holds so much that no more can be proved
        is_split = np.zeros(len(cells.share), dtype=bool)
        is_split[np.argpartition(-cells.share, min(_BATCH, len(cells.share)) - 1)[:_BATCH]] = True
        parts = _split(cells.taken(is_split), is_tube)
        share, held = _shares(points, radius_mm, parts, is_tube)
        largest_held, looked_at = max(largest_held, float(held.max())), looked_at + len(share)
        parts = _Cells(parts.face, parts.slope, parts.slope_half, parts.offset, parts.offset_half, share)
        # Cells below what a tube holds are settled.
        kept = cells.taken(~is_split).joined(parts)
        cells = kept.taken(kept.share >= min(largest_held, float(kept.share.max())))
    return max(float(cells.share.max()), largest_held)


def _first_cells(reach: float, is_tube: bool) -> _Cells:
    ends = np.linspace(-reach, reach, _OFFSET_CELLS + 1)
    middle = 0.5 * (ends[1:] + ends[:-1])
    offsets = np.stack(np.meshgrid(*[middle] * (2 if is_tube else 3), indexing="ij"), axis=-1)
    offsets = offsets.reshape(-1, offsets.shape[-1])
    half = reach / _OFFSET_CELLS
    if not is_tube:
        count = len(offsets)
        zeros = np.zeros((count, 2))
        return _Cells(np.zeros(count, int), zeros, np.zeros(count), offsets, np.full(count, half), np.ones(count))
    slopes = (np.arange(_FACE_CELLS) + 0.5) * 2.0 / _FACE_CELLS - 1.0
    face, a, b = (grid.ravel() for grid in np.meshgrid(np.arange(3), slopes, slopes, indexing="ij"))
    slope = np.stack([a, b], axis=1)
    count = len(face) * len(offsets)
    return _Cells(
        np.repeat(face, len(offsets)),
        np.repeat(slope, len(offsets), axis=0),
        np.full(count, 1.0 / _FACE_CELLS),
        np.tile(offsets, (len(face), 1)),
        np.full(count, half),
        np.ones(count),
    )


def _split(cells: _Cells, is_tube: bool) -> _Cells:
    """Each cell in halves along the directions or along the offsets, whichever widens its tube more."""
    reach = np.abs(cells.offset).max()
    by_slope = is_tube & (cells.slope_half * reach > cells.offset_half)
    parts = []
    dimension = cells.offset.shape[1]
    for signs in np.stack(np.meshgrid(*[[-0.5, 0.5]] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension):
        shift = np.where(by_slope, 0.0, cells.offset_half)[:, None] * signs
        turn = np.where(by_slope, cells.slope_half, 0.0)[:, None] * signs[:2]
        parts.append(
            _Cells(
                cells.face,
                cells.slope + turn,
                np.where(by_slope, 0.5, 1.0) * cells.slope_half,
                cells.offset + shift,
                np.where(by_slope, 1.0, 0.5) * cells.offset_half,
                cells.share,
            )
        )
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined(part)
    return joined


def _shares(points: FloatArray, radius_mm: float, cells: _Cells, is_tube: bool) -> tuple[FloatArray, FloatArray]:
    """At most what share of the points any tube (or ball) of each cell holds, (C,), and what its middle one holds."""
    share, held = np.empty(len(cells.face)), np.empty(len(cells.face))
    for first in range(0, len(share), 4096):
        part = slice(first, first + 4096)
        widening = cells.offset_half[part, None] * np.sqrt(cells.offset.shape[1])
        if is_tube:
            axial, squared = _along_and_beside(points, cells.taken(np.arange(len(share))[part]))
            # On the face at distance 1 a slope differs by at least the angle.
            angle = np.minimum(np.sqrt(2.0) * cells.slope_half[part, None], 1.4)
            widest = radius_mm / np.cos(angle) + np.abs(axial) * np.tan(angle) + widening
        else:
            squared = ((points[None] - cells.offset[part, None]) ** 2).sum(axis=2)
            widest = radius_mm + widening
        share[part] = (squared <= widest**2).mean(axis=1)
        held[part] = (squared <= radius_mm**2).mean(axis=1)
    return share, held


def _along_and_beside(points: FloatArray, cells: _Cells) -> tuple[FloatArray, FloatArray]:
    """Distance of points (N, 3) along the middle line of each cell, and the square of that beside it, (C, N)."""
    count = len(cells.face)
    rows = np.arange(count)
    direction, first, second = np.zeros((count, 3)), np.zeros((count, 3)), np.zeros((count, 3))
    direction[rows, cells.face] = 1.0
    direction[rows, (cells.face + 1) % 3], direction[rows, (cells.face + 2) % 3] = cells.slope.T
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    first[rows, (cells.face + 1) % 3] = 1.0
    first -= np.einsum("cx,cx->c", first, direction)[:, None] * direction
    first /= np.linalg.norm(first, axis=1)[:, None]
    second = np.cross(direction, first)
    base = cells.offset[:, :1] * first + cells.offset[:, 1:] * second
    axial = direction @ points.T
    squared = (points**2).sum(axis=1) - 2.0 * base @ points.T + (base**2).sum(axis=1)[:, None] - axial**2
    return axial, squared
