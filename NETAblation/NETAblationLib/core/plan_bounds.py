"""How few probes and ablations could do: bounds that no plan with a device can undercut.

Every ablation along a probe, whatever its place, lies in a tube about the probe as wide as the widest zone.
Two bounds follow. For parallel probes of one direction, discs have to cover the shadow of what must be
covered: the fewest of a lattice, each widened by how far any disc is from the lattice's, by integer programming. For
probes in any direction: if no tube holds more than a share w of points that must be covered, at least 1 / w
probes are needed. The largest share over all lines is bounded by branch and bound: cells of directions and
offsets are split until enough is known, and each is judged by a tube widened by all that its lines differ. In the
same way balls bound the ablations, beside the volume that they have to fill. Both hold for free lines and
for others; the second is the weaker one, since it is a bound of fractions of probes (the dual of the set cover,
Chvatal, Math Oper Res 1979;4:233).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from .drafts import across

FloatArray = npt.NDArray[np.float64]

#: Points that carry weight in any direction and in a shadow, and cells that are looked at, at most. User-set.
_POINTS, _SHADOW_POINTS, _CELLS = 160, 400, 60_000
#: Points of the volume of which a share is needed: so many that their number tells a hundredth. User-set.
_VOLUME_POINTS = 600
#: Pitch of the lattice of discs as a share of their radius, and nodes of the search for the fewest. User-set.
_DISC_PITCH, _NODES = 0.1, 2_000
#: Cells that are split at once. User-set.
_BATCH = 512
#: Cells on a side of each face of the half cube of directions, and of the square of offsets, at the start. User-set.
_FACE_CELLS, _OFFSET_CELLS = 4, 6


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
) -> Bounds:
    """Bounds for points (N, 3) that must be covered and a share of a volume that must be filled.

    `target_ras_mm` (M, 3) are points evenly spread in the volume, of `volume_ml`. `direction` (3,) is the unit
    vector of parallel probes; `widest_mm` and `longest_mm` are the largest diameters of any zone across and along a
    probe, `largest_ml` the volume of the largest zone. A plan with `at_most` probes exists: with one there is
    nothing to prove.
    """
    by_volume = _least(needed_share * volume_ml / largest_ml)
    if at_most == 1:
        return Bounds(1, 1, max(1, by_volume))
    points = _spread(must_ras_mm, _POINTS)
    of_must = _least(1.0 / _largest_share(points, 0.5 * widest_mm, 1.0, is_tube=True))
    volume = target_ras_mm[:: max(1, len(target_ras_mm) // _VOLUME_POINTS)]
    volume = volume - 0.5 * (volume.min(axis=0) + volume.max(axis=0))
    of_volume = _least(needed_share / _largest_share(volume, 0.5 * widest_mm, needed_share, is_tube=True))
    punctures = max(of_must, of_volume)
    shadow = _spread(must_ras_mm @ across(direction).T, _SHADOW_POINTS)
    parallel = max(punctures, _fewest_discs(shadow, 0.5 * widest_mm))
    by_balls = _least(1.0 / _largest_share(points, 0.5 * max(widest_mm, longest_mm), 1.0, is_tube=False))
    return Bounds(punctures, parallel, max(punctures, by_balls, by_volume))


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


def _fewest_discs(points: FloatArray, radius_mm: float) -> int:
    """No fewer discs of a radius, wherever they lie, cover points (N, 2)."""
    pitch = _DISC_PITCH * radius_mm
    reach = np.abs(points).max() + radius_mm
    count = int(np.ceil(reach / (pitch * np.sqrt(0.75))))
    v, u = np.meshgrid(np.arange(-count, count + 1), np.arange(-count - 1, count + 2), indexing="ij")
    lattice = np.stack([(u + 0.5 * (v % 2)) * pitch, v * np.sqrt(0.75) * pitch], axis=-1).reshape(-1, 2)
    # No place is farther from this lattice than its pitch by the root of 3.
    widened = radius_mm + pitch / np.sqrt(3.0)
    away = (lattice**2).sum(axis=1)[:, None] - 2.0 * lattice @ points.T + (points**2).sum(axis=1)
    covers = away <= widened**2
    covers = np.unique(covers[covers.any(axis=1)], axis=0)
    rows = covers.astype(np.float32)
    is_part = rows @ rows.T == rows.sum(axis=1)[:, None]
    np.fill_diagonal(is_part, False)
    kept = covers[~is_part.any(axis=1)]
    if kept.all(axis=1).any():
        return 1
    found = optimize.milp(
        np.ones(len(kept)),
        constraints=optimize.LinearConstraint(sparse.csr_array(kept.T.astype(np.float64)), lb=1.0),
        integrality=np.ones(len(kept), dtype=int),
        bounds=optimize.Bounds(0.0, 1.0),
        options={"node_limit": _NODES},
    )
    return 1 if found.mip_dual_bound is None else max(1, _least(found.mip_dual_bound - 1e-6))


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
