"""Lines and places that a cover of the target is chosen from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from . import access, covering
from .access import Surroundings
from .aims import Aims
from .devices import ZoneSetting
from .drafts import Draft, Line, Place, across

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Least distance of parallel lines and of places along them, in mm; grows with the zone. User-set.
_PITCH_MM, _PULLBACK_MM = 3.0, 3.0
#: Distance of places along lines that are settled, in mm. User-set.
_FINE_PULLBACK_MM = 2.0
#: Zones along a line this share of their length apart leave a tube nearly as wide as they are. User-set.
_FULL_STEP = 0.25
#: What an ablation costs beside others, by the volume of its zone as a share of the largest. User-set.
_VOLUME_COST = 0.05

#: What a way costs beside its puncture, by its direction and its length in mm.
WayCost = Callable[[FloatArray, float], float]


@dataclass(frozen=True)
class Candidates:
    """Parallel lines along one direction with the places where they may be ablated.

    `place_covers` (C, P) says which points a place covers, `line_covers` (L, P) which all places
    of a line do; `line_of_place` and `place_mm` (C,) say where the places are.
    """

    direction: FloatArray
    setting: ZoneSetting
    lines: tuple[Line, ...]
    line_covers: BoolArray
    line_cost: FloatArray
    place_covers: BoolArray
    line_of_place: IntArray
    place_mm: FloatArray

    @classmethod
    def along(
        cls,
        aims: Aims,
        surroundings: Surroundings,
        direction: FloatArray,
        setting: ZoneSetting,
        reserve_mm: float,
        longest_mm: float,
        way_cost: WayCost,
    ) -> Candidates | None:
        """All free lines and places along a direction; None where there is none.

        Zones count as smaller by `reserve_mm` on every side (or larger, where it is below 0), since the
        lines stand on a lattice.
        """
        points = aims.points
        center = 0.5 * (points.min(axis=0) + points.max(axis=0))
        axes = across(direction)
        beside = (points - center) @ axes.T
        depth = (points - center) @ direction
        offsets = _lattice(beside, max(_PITCH_MM, 0.14 * setting.short_axis_mm))
        step = max(_PULLBACK_MM, 0.1 * setting.long_axis_mm)
        count = int(np.ceil(np.ptp(depth) / step / 2.0))
        places = 0.5 * (depth.min() + depth.max()) + step * np.arange(-count, count + 1)
        bases = center + offsets @ axes
        ways = access.follow(surroundings, bases, direction, places + setting.center_to_tip_mm, longest_mm)
        line, place = np.nonzero(ways.is_free)
        if not len(line):
            return None
        a, b = 0.5 * setting.long_axis_mm - reserve_mm, 0.5 * setting.short_axis_mm - reserve_mm
        squared = ((beside[None] - offsets[:, None]) ** 2).sum(axis=-1) / b**2
        axial = ((depth[None] - places[:, None]) / a) ** 2
        place_covers = squared[line] + axial[place] <= 1.0
        used, first, line_of_place = np.unique(line, return_index=True, return_inverse=True)
        line_covers = np.logical_or.reduceat(place_covers, first, axis=0)
        lines = tuple(Line(bases[n], direction, float(ways.entry_mm[n])) for n in used)
        cost = 1.0 + np.array([way_cost(direction, row.entry_mm) for row in lines])
        return cls(direction, setting, lines, line_covers, cost, place_covers, line_of_place, places[place])

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """The lines of several directions as one choice."""
        offsets = np.cumsum([0, *(len(part.lines) for part in parts[:-1])])
        return cls(
            parts[0].direction,
            parts[0].setting,
            tuple(line for part in parts for line in part.lines),
            np.concatenate([part.line_covers for part in parts]),
            np.concatenate([part.line_cost for part in parts]),
            np.concatenate([part.place_covers for part in parts]),
            np.concatenate([part.line_of_place + offset for part, offset in zip(parts, offsets, strict=True)]),
            np.concatenate([part.place_mm for part in parts]),
        )

    def fewest(self, price: FloatArray) -> Draft:
        """The fewest lines that cover what pays, each with places all along it."""
        rows = []
        lines = []
        for number in covering.fewest_rows(self.line_covers, price, self.line_cost).chosen:
            of_line = np.flatnonzero((self.line_of_place == number) & self.place_covers.any(axis=1))
            if not len(of_line):
                continue
            where = self.place_mm[of_line]
            step = _FULL_STEP * self.setting.long_axis_mm
            count = max(1, int(np.ceil(np.ptp(where) / step)) + 1)
            even = np.linspace(where.min(), where.max(), count) if count > 1 else [where.mean()]
            nearest = np.unique([int(np.abs(where - goal).argmin()) for goal in even])
            rows.append(tuple((float(where[n]), self.setting) for n in nearest))
            lines.append(self.lines[number])
        return Draft(tuple(lines), tuple(rows))


def fewest_places(
    draft: Draft,
    aims: Aims,
    surroundings: Surroundings,
    settings: Sequence[ZoneSetting],
    reserve_mm: float,
    longest_mm: float,
) -> Draft:
    """The fewest ablations on the lines of a draft that cover what pays, of the smallest zones among as few."""
    largest = max(setting.short_axis_mm**2 * setting.long_axis_mm for setting in settings)
    rows: list[tuple[int, Place]] = []
    costs, covers = [], []
    for number, line in enumerate(draft.lines):
        offset = aims.points - line.base_ras_mm
        axial = offset @ line.direction
        squared = np.maximum(np.einsum("ij,ij->i", offset, offset) - axial**2, 0.0)
        widest = max(setting.short_axis_mm for setting in settings)
        near = axial[squared <= (0.5 * widest) ** 2]
        if not len(near):
            continue
        at = np.arange(near.min() - 2.0, near.max() + 2.0 + _FINE_PULLBACK_MM, _FINE_PULLBACK_MM)
        for setting in settings:
            ways = access.follow(
                surroundings, line.base_ras_mm[None], line.direction, at + setting.center_to_tip_mm, longest_mm
            )
            free = at[ways.is_free[0]]
            a, b = 0.5 * setting.long_axis_mm - reserve_mm, 0.5 * setting.short_axis_mm - reserve_mm
            covers.append(((axial[None] - free[:, None]) / a) ** 2 + squared[None] / b**2 <= 1.0)
            rows.extend((number, (float(place), setting)) for place in free)
            # A place nearer to the middle of its line is better where both would do.
            share = setting.short_axis_mm**2 * setting.long_axis_mm / largest
            costs.append(1.0 + _VOLUME_COST * share + 1e-4 * np.abs(free - near.mean()))
    if not rows:
        return Draft()
    # What a cover to the last may spare is gained as well when ablations are taken away, and in less time.
    cover = covering.fewest_rows(np.concatenate(covers), aims.price, np.concatenate(costs), exact_size=0)
    places: list[list[Place]] = [[] for _ in draft.lines]
    for row in cover.chosen:
        number, place = rows[row]
        places[number].append(place)
    kept = [number for number, row in enumerate(places) if row]
    return Draft(tuple(draft.lines[n] for n in kept), tuple(tuple(places[n]) for n in kept))


def _lattice(beside: FloatArray, pitch: float) -> FloatArray:
    """Points (L, 2) of a hexagonal lattice over the shadow (N, 2) of a target, one in its middle."""
    middle = 0.5 * (beside.min(axis=0) + beside.max(axis=0))
    reach = 0.5 * np.ptp(beside, axis=0).max()
    rows = int(np.ceil(reach / (pitch * np.sqrt(0.75))))
    columns = int(np.ceil(reach / pitch)) + 1
    v, u = np.meshgrid(np.arange(-rows, rows + 1), np.arange(-columns, columns + 1), indexing="ij")
    lattice = np.stack([(u + 0.5 * (v % 2)) * pitch, v * np.sqrt(0.75) * pitch], axis=-1).reshape(-1, 2) + middle
    return lattice[cKDTree(beside).query(lattice)[0] <= 0.6 * pitch]
