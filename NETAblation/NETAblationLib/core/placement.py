"""Where the probes go: the search behind :mod:`.planning`.

A draft is a set of lines with the places of the ablations along them. It starts as the cheapest
cover among the best directions, is repaired where finer points show a gap, shifted so that
its worst point lies as deep as can be, and relieved of what it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.spatial import cKDTree

from . import access, covering
from .access import Surroundings
from .devices import Device, ZoneSetting
from .errors import ComputationError
from .probes import Ablation, Probe, is_in_zone, near_distance_mm
from .progress import ProgressCallback, span
from .targets import Target

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Share of the target that should be covered: what is missing of it costs a probe. All of the tumor
#: must be covered. User-set, after the project's own requirement of 99 %.
TARGET_SHARE = 0.99
#: Share of the target from which on the depth of its worst point counts instead. User-set.
_ENOUGH_SHARE = 0.995
#: Longest way in the body where the device's shaft length is unknown, in mm. User-set.
DEFAULT_SHAFT_MM = 200.0

#: Directions that are tried, of how many the least cost is found, and of how many the cover. User-set.
_DIRECTIONS, _BOUNDED_DIRECTIONS, _COVERED_DIRECTIONS = 500, 30, 4
#: Points of the target and of each shell for the cover, and as many to find gaps in it. User-set.
_COVER_POINTS, _SHELL_POINTS = 2_000, 500
_GAP_POINTS, _GAP_SHELL_POINTS = 30_000, 6_000
#: Rounds of repair, and points that each adds at most. User-set.
_REPAIRS, _REPAIR_POINTS = 5, 400
#: Directions that may help the best one, and the cosine below which one is different enough. User-set.
_HELPERS, _HELPING_COSINE = 4, 0.94
#: Least distance of parallel lines and of places along them, in mm; grows with the zone. User-set.
_PITCH_MM, _PULLBACK_MM = 3.0, 3.0
#: Zones count as this much smaller while the cover is made, in mm: the points are discrete.
_RESERVE_MM = 0.7
#: Most that a line or a place may shift in a refinement, in mm, and rounds of it. User-set.
_SHIFT_MM, _REFINEMENTS = 4.0, 3
#: A way longer by 100 mm, or at right angles to the axial plane, costs this share of a probe. User-set.
_LENGTH_COST, _OBLIQUE_COST = 0.15, 0.10
#: Cost of one more ablation on a probe that is in place, as a share of a probe. User-set.
_ABLATION_COST = 0.1
#: How many times more than a point of the margin it costs to leave out one of the tumor, of the shell
#: halfway through the margin, and of the outer edge. User-set.
_TUMOR_PRICE, _HALFWAY_PRICE, _EDGE_PRICE = 100.0, 10.0, 0.5


@dataclass(frozen=True)
class Line:
    """A way from the skin: a point (3,) on it, its unit direction inward (3,), and how far back the skin is."""

    base_ras_mm: FloatArray
    direction: FloatArray
    entry_mm: float


@dataclass(frozen=True)
class Draft:
    """Lines, and for each the places of its ablations in mm ahead of its base point, with their settings."""

    lines: tuple[Line, ...] = ()
    places: tuple[tuple[tuple[float, ZoneSetting], ...], ...] = ()
    cost: float = np.inf

    def probes(self) -> tuple[Probe, ...]:
        """As probes, each with its deepest ablation first, as it is done."""
        made = []
        for number, line in enumerate(self.lines):
            ablations = tuple(
                Ablation(
                    setting.name,
                    tuple((line.base_ras_mm + place * line.direction).tolist()),
                    setting.short_axis_mm,
                    setting.long_axis_mm,
                )
                for place, setting in sorted(self.places[number], key=lambda entry: -entry[0])
            )
            entry = line.base_ras_mm - line.entry_mm * line.direction
            tip = line.base_ras_mm + _tip_mm(self.places[number]) * line.direction
            made.append(Probe(tuple(entry.tolist()), tuple(tip.tolist()), ablations))
        return tuple(made)

    def with_places(self, number: int, places: Sequence[tuple[float, ZoneSetting]]) -> Draft:
        """Other places on one line; a line without any is dropped."""
        rows = [*self.places[:number], tuple(places), *self.places[number + 1 :]]
        kept = [n for n, row in enumerate(rows) if row]
        return replace(self, lines=tuple(self.lines[n] for n in kept), places=tuple(rows[n] for n in kept))


@dataclass(frozen=True)
class Aims:
    """What a draft has to cover: points (N, 3), whether each is tumor (N,), and the price to leave it out (N,)."""

    points: FloatArray
    is_tumor: BoolArray
    price: FloatArray

    @classmethod
    def of(cls, target: Target, count: int, shell_count: int, share: float | None = None) -> Aims:
        """About `count` points of the target, and `shell_count` in each shell, where zones fall short first.

        A point of the margin costs `share`; by default so much that a hundredth of them costs 1.
        """
        points, is_tumor, _ = target.points(count)
        share = 1.0 / ((1.0 - TARGET_SHARE) * len(points)) if share is None else share
        kinds = [
            (points, is_tumor, np.where(is_tumor, _TUMOR_PRICE, 1.0)),
            *_shell(target.shell_points(0.0, shell_count), True, _TUMOR_PRICE),
            *_shell(target.shell_points(0.5 * target.margin_mm, shell_count), False, _HALFWAY_PRICE),
            *_shell(target.shell_points(target.margin_mm, shell_count), False, _EDGE_PRICE),
        ]
        every_point, every_kind, every_price = zip(*kinds, strict=True)
        return cls(np.concatenate(every_point), np.concatenate(every_kind), share * np.concatenate(every_price))

    def chosen(self, which: npt.NDArray[np.int64]) -> Aims:
        """Some of the points."""
        return Aims(self.points[which], self.is_tumor[which], self.price[which])

    def joined(self, others: Aims) -> Aims:
        """These points and others."""
        return Aims(
            np.concatenate([self.points, others.points]),
            np.concatenate([self.is_tumor, others.is_tumor]),
            np.concatenate([self.price, others.price]),
        )


def _shell(points: FloatArray, is_tumor: bool, price: float) -> list[tuple[FloatArray, BoolArray, FloatArray]]:
    return [(points, np.full(len(points), is_tumor), np.full(len(points), price))]


class Search:
    """The search for one target among its surroundings with one device."""

    def __init__(self, target: Target, surroundings: Surroundings, device: Device) -> None:
        """Prepare the points that the plan is judged by."""
        self.target = target
        self.surroundings = surroundings
        self.longest_mm = device.shaft_length_mm or DEFAULT_SHAFT_MM
        self.settings = sorted(device.settings, key=lambda s: s.short_axis_mm**2 * s.long_axis_mm)
        self.aims = Aims.of(target, _COVER_POINTS, _SHELL_POINTS)
        self._fine = Aims.of(target, _GAP_POINTS, _GAP_SHELL_POINTS, share=float(self.aims.price.min()) / _EDGE_PRICE)
        self._fine_mm = np.where(self._fine.is_tumor, 0.0, target.surface.distance_mm(self._fine.points))
        self._edge = target.shell_points(target.margin_mm, 2 * _SHELL_POINTS)
        self._surface = target.shell_points(0.0, 2 * _SHELL_POINTS)

    def run(self, progress: ProgressCallback) -> tuple[Probe, ...]:
        """The best plan found; raises ComputationError where no probe can reach the tumor."""
        progress(0.0, "free directions")
        ranked = self._ranked(self._free_directions(), span(progress, 0.1, 0.4))
        best, best_candidates = Draft(), ranked[0]
        for number, candidates in enumerate(ranked[:_COVERED_DIRECTIONS]):
            progress(0.4 + 0.3 * number / _COVERED_DIRECTIONS, "fewest probes")
            draft = candidates.draft(self.aims.price)
            if draft.cost < best.cost:
                best, best_candidates = draft, candidates
        if not best.lines:
            raise ComputationError("no probe of this device covers a part of the tumor: its zones are too small")
        progress(0.7, "closing gaps")
        others = [candidates for candidates in ranked if candidates.differs(best_candidates)][:_HELPERS]
        best = self._refined(self._repaired(best, best_candidates, others))
        progress(0.9, "economizing")
        return self._economical(best).probes()

    def way_cost(self, direction: FloatArray, length_mm: float) -> float:
        """What a way costs beside its puncture, as a share of a probe."""
        oblique = float(np.arcsin(min(abs(direction[2]), 1.0))) / (0.5 * np.pi)
        return _LENGTH_COST * length_mm / 100.0 + _OBLIQUE_COST * oblique

    def _free_directions(self) -> FloatArray:
        """Unit vectors (N, 3) from skin to tumor along which it can be reached, the best first."""
        center = self.target.center_ras_mm
        radius = 0.5 * np.ptp(self.target.surface.points_ras_mm, axis=0).min()
        scored = []
        for direction in access.directions(_DIRECTIONS):
            beside = across(direction) * 0.5 * radius
            bases = center + np.vstack([np.zeros(3), beside, -beside])
            ways = access.follow(self.surroundings, bases, direction, np.array([0.0]), self.longest_mm)
            free = ways.is_free[:, 0]
            if free.any():
                cost = self.way_cost(direction, float(np.nanmin(ways.entry_mm)))
                scored.append((cost - float(free.sum()), direction))
        if not scored:
            raise access.explain_blocked(self.surroundings, center, self.longest_mm)
        scored.sort(key=lambda entry: entry[0])
        return np.array([direction for _, direction in scored])

    def _ranked(self, directions: FloatArray, progress: ProgressCallback) -> list[Candidates]:
        """Candidates along the best directions, those first whose cover may cost least."""
        found = []
        for number, direction in enumerate(directions[:_BOUNDED_DIRECTIONS]):
            progress(number / _BOUNDED_DIRECTIONS, "covering the target")
            candidates = Candidates.along(self, direction, self.settings[-1])
            if candidates is not None:
                cost = covering.least_cost(candidates.line_covers, self.aims.price, candidates.line_cost)
                found.append((cost, candidates))
        if not found:
            raise access.explain_blocked(self.surroundings, self.target.center_ras_mm, self.longest_mm)
        return [candidates for _, candidates in sorted(found, key=lambda entry: entry[0])]

    def _repaired(self, draft: Draft, candidates: Candidates, others: Sequence[Candidates]) -> Draft:
        """Cover what finer points show to be left out, with lines of other directions where need be."""
        helpers = iter([None, *others])
        for _ in range(_REPAIRS):
            gaps = np.flatnonzero(~is_in_zone(draft.probes(), self._fine.points))
            worst = self._fine.price[gaps].max(initial=0.0)
            if worst <= self.aims.price.min() / _EDGE_PRICE and self._score(draft)[1] >= TARGET_SHARE:
                break
            gaps = gaps[self._fine.price[gaps] == worst]
            self.aims = self.aims.joined(self._fine.chosen(gaps[:: max(1, len(gaps) // _REPAIR_POINTS)]))
            for helper in helpers:
                directions = [row.direction for row in (candidates, helper) if row is not None]
                found = [Candidates.along(self, direction, candidates.setting) for direction in directions]
                trial = Candidates.joined([row for row in found if row is not None]).draft(self.aims.price)
                if trial.lines and self._score(trial) > self._score(draft):
                    draft = trial
                    break
            else:
                break
        return draft

    def _refined(self, draft: Draft) -> Draft:
        """Shift lines and places so that the worst points of the target lie as deep as can be."""
        for _ in range(_REFINEMENTS):
            moved = self._toward(draft, self._deeper(draft))
            if self._score(moved) <= self._score(draft):
                break
            draft = moved
        return draft

    def _deeper(self, draft: Draft) -> Draft:
        """The draft shifted for depth alone, past obstacles or not."""
        axes = [across(line.direction) for line in draft.lines]
        counts = [len(row) for row in draft.places]

        def shifted(values: FloatArray) -> Draft:
            beside = values[: 2 * len(axes)].reshape(-1, 2)
            along = iter(values[2 * len(axes) :].tolist())
            lines = [
                replace(line, base_ras_mm=line.base_ras_mm + beside[n] @ axes[n]) for n, line in enumerate(draft.lines)
            ]
            places = [tuple((place + next(along), setting) for place, setting in row) for row in draft.places]
            return replace(draft, lines=tuple(lines), places=tuple(places))

        def loss(values: FloatArray) -> float:
            trial = shifted(values)
            return _shallowness(self._edge, trial) + 2.0 * _shallowness(self._surface, trial)

        start = np.zeros(2 * len(axes) + sum(counts))
        found = optimize.minimize(
            loss,
            start,
            method="L-BFGS-B",
            bounds=[(-_SHIFT_MM, _SHIFT_MM)] * len(start),
            options={"maxiter": 25, "maxfun": 30 * (len(start) + 1)},
        )
        return shifted(found.x)

    def _toward(self, draft: Draft, aim: Draft) -> Draft:
        """Each line as far on its way to where another draft has it as it stays free."""
        lines, places = list(draft.lines), list(draft.places)
        for number, (line, row) in enumerate(zip(draft.lines, draft.places, strict=True)):
            shift = aim.lines[number].base_ras_mm - line.base_ras_mm
            for part in (1.0, 0.6, 0.3):
                moved = replace(line, base_ras_mm=line.base_ras_mm + part * shift)
                moved_row = tuple(
                    (place + part * (goal - place), setting)
                    for (place, setting), (goal, _) in zip(row, aim.places[number], strict=True)
                )
                freed = self._freed(moved, _tip_mm(moved_row))
                if freed is not None:
                    lines[number], places[number] = freed, moved_row
                    break
        return replace(draft, lines=tuple(lines), places=tuple(places))

    def _freed(self, line: Line, tip_mm: float) -> Line | None:
        """The line with its entry found anew, or None where it is not free."""
        ways = access.follow(
            self.surroundings, line.base_ras_mm[None], line.direction, np.array([tip_mm]), self.longest_mm
        )
        return replace(line, entry_mm=float(ways.entry_mm[0])) if ways.is_free[0, 0] else None

    def _legal(self, draft: Draft) -> Draft | None:
        """The draft with its entries found anew, or None where a line is not free."""
        freed = [self._freed(line, _tip_mm(row)) for line, row in zip(draft.lines, draft.places, strict=True)]
        lines = tuple(line for line in freed if line is not None)
        return replace(draft, lines=lines) if len(lines) == len(freed) else None

    def _score(self, draft: Draft) -> tuple[float, float, float, float]:
        """Larger is better: tumor covered, target covered (up to enough), least margin, and depth of the edge.

        The least margin is the distance from the tumor to the nearest point of the target that is not covered.
        """
        covered = is_in_zone(draft.probes(), self._fine.points)
        tumor = float(covered[self._fine.is_tumor].mean())
        share = min(round(float(covered.mean()), 3), _ENOUGH_SHARE)
        margin_mm = float(self._fine_mm[~covered].min(initial=self.target.margin_mm))
        edge_mm = float(-_depths_mm(self._edge, draft).max(initial=-np.inf))
        return round(tumor, 4), share, margin_mm, edge_mm

    def _economical(self, draft: Draft) -> Draft:
        """Drop ablations, and make them smaller, where nothing that was asked for is lost."""
        wanted = self._score(draft)
        caps = (1.0, _ENOUGH_SHARE, self.target.margin_mm, 0.0)
        floor = [min(value, cap) for value, cap in zip(wanted, caps, strict=True)]

        def is_enough(trial: Draft) -> bool:
            return bool(trial.lines) and all(
                got >= least - 1e-9 for got, least in zip(self._score(trial), floor, strict=True)
            )

        number = 0
        while number < len(draft.places):
            row = draft.places[number]
            trials = (self._legal(draft.with_places(number, [*row[:m], *row[m + 1 :]])) for m in range(len(row)))
            better = next((trial for trial in trials if trial is not None and is_enough(trial)), None)
            if better is None:
                number += 1
            else:
                draft = better
        for number in range(len(draft.places)):
            for m in range(len(draft.places[number])):
                draft = self._smallest(draft, number, m, is_enough)
        return draft

    def _smallest(self, draft: Draft, number: int, m: int, is_enough: Callable[[Draft], bool]) -> Draft:
        """The draft with one ablation at the smallest setting that is enough."""
        row = draft.places[number]
        place, used = row[m]
        for setting in self.settings[: self.settings.index(used)]:
            legal = self._legal(draft.with_places(number, [*row[:m], (place, setting), *row[m + 1 :]]))
            if legal is not None and is_enough(legal):
                return legal
        return draft


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
    line_of_place: npt.NDArray[np.int64]
    place_mm: FloatArray

    @classmethod
    def along(cls, search: Search, direction: FloatArray, setting: ZoneSetting) -> Candidates | None:
        """All free lines and places along a direction; None where there is none."""
        center, points = search.target.center_ras_mm, search.aims.points
        axes = across(direction)
        beside = (points - center) @ axes.T
        depth = (points - center) @ direction
        offsets = _lattice(beside, max(_PITCH_MM, 0.14 * setting.short_axis_mm))
        step = max(_PULLBACK_MM, 0.1 * setting.long_axis_mm)
        count = int(np.ceil(np.ptp(depth) / step / 2.0))
        places = 0.5 * (depth.min() + depth.max()) + step * np.arange(-count, count + 1)
        bases = center + offsets @ axes
        tips = places + setting.center_to_tip_mm
        ways = access.follow(search.surroundings, bases, direction, tips, search.longest_mm)
        line, place = np.nonzero(ways.is_free)
        if not len(line):
            return None
        a, b = 0.5 * setting.long_axis_mm - _RESERVE_MM, 0.5 * setting.short_axis_mm - _RESERVE_MM
        squared = ((beside[None] - offsets[:, None]) ** 2).sum(axis=-1) / b**2
        axial = ((depth[None] - places[:, None]) / a) ** 2
        place_covers = squared[line] + axial[place] <= 1.0
        used, first, line_of_place = np.unique(line, return_index=True, return_inverse=True)
        line_covers = np.logical_or.reduceat(place_covers, first, axis=0)
        lines = tuple(Line(bases[n], direction, float(ways.entry_mm[n])) for n in used)
        cost = 1.0 + np.array([search.way_cost(direction, row.entry_mm) for row in lines])
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

    def differs(self, other: Candidates) -> bool:
        """Whether the directions are far enough apart for one to reach what the other cannot."""
        return float(self.direction @ other.direction) < _HELPING_COSINE

    def draft(self, price: FloatArray) -> Draft:
        """The fewest lines, then the fewest places on them."""
        chosen = covering.fewest_rows(self.line_covers, price, self.line_cost).chosen
        on_chosen = np.flatnonzero(np.isin(self.line_of_place, chosen))
        if not len(on_chosen):
            return Draft()
        # A place nearer to the middle of its line is better where both would do.
        cost = _ABLATION_COST + 1e-4 * np.abs(self.place_mm[on_chosen])
        cover = covering.fewest_rows(self.place_covers[on_chosen], price, cost)
        places = on_chosen[cover.chosen]
        used = np.unique(self.line_of_place[places])
        rows = tuple(
            tuple((float(self.place_mm[c]), self.setting) for c in places if self.line_of_place[c] == number)
            for number in used
        )
        lines = tuple(self.lines[number] for number in used)
        return Draft(lines, rows, cover.cost + float(self.line_cost[used].sum()))


def _tip_mm(row: Sequence[tuple[float, ZoneSetting]]) -> float:
    """The deepest tip of ablations on a line, ahead of its base point."""
    return max(place + setting.center_to_tip_mm for place, setting in row)


def across(direction: FloatArray) -> FloatArray:
    """Two unit vectors (2, 3) at right angles to a unit vector (3,) and to each other."""
    helper = np.eye(3)[int(np.abs(direction).argmin())]
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first)])


def _lattice(beside: FloatArray, pitch: float) -> FloatArray:
    """Points (L, 2) of a hexagonal lattice over the shadow (N, 2) of a target, one in its middle."""
    middle = 0.5 * (beside.min(axis=0) + beside.max(axis=0))
    reach = 0.5 * np.ptp(beside, axis=0).max()
    rows = int(np.ceil(reach / (pitch * np.sqrt(0.75))))
    columns = int(np.ceil(reach / pitch)) + 1
    v, u = np.meshgrid(np.arange(-rows, rows + 1), np.arange(-columns, columns + 1), indexing="ij")
    lattice = np.stack([(u + 0.5 * (v % 2)) * pitch, v * np.sqrt(0.75) * pitch], axis=-1).reshape(-1, 2) + middle
    return lattice[cKDTree(beside).query(lattice)[0] <= 0.6 * pitch]


def _depths_mm(points: FloatArray, draft: Draft) -> FloatArray:
    """Signed distance to the zones to first order, negative inside, (N,)."""
    distance = np.full(len(points), np.inf)
    for line, row in zip(draft.lines, draft.places, strict=True):
        offset = points - line.base_ras_mm
        axial = offset @ line.direction
        beside = np.sqrt(np.maximum(np.einsum("ij,ij->i", offset, offset) - axial**2, 0.0))
        for place, setting in row:
            near = near_distance_mm(axial - place, beside, setting.long_axis_mm, setting.short_axis_mm)
            np.minimum(distance, near, out=distance)
    return distance


def _shallowness(points: FloatArray, draft: Draft, scale_mm: float = 0.7) -> float:
    """A smooth price, about mm, of points outside of the zones or just inside; the worst one counts most."""
    if not len(points):
        return 0.0
    distance = _depths_mm(points, draft) / scale_mm
    worst = distance.max()
    smooth_worst = worst + np.log(np.exp(distance - worst).mean())
    return float(scale_mm * (smooth_worst + 2.0 * np.logaddexp(0.0, distance).mean()))
