"""Where the probes go: the search behind :mod:`.planning`.

One zone is tried first, from the best directions. Where it does not suffice, the fewest parallel lines
are chosen by integer programming (:mod:`.covering`) with zones that count as a little larger than they
are, and then moved and tilted until they suffice (:mod:`.polishing`): so they are not bound to the
lattice that they were chosen from. If that fails the zones count as smaller. What obstacles keep
parallel lines from is reached by lines of other directions. Lines that suffice when they are ablated all
along are tried with one fewer. Then ablations are placed anew, taken away, made smaller and moved for
depth while all that is required stays covered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product

import numpy as np
import numpy.typing as npt

from . import covering
from .access import Surroundings
from .aims import LEAST_MARGIN_SHARE, Aims, Judge, Verdict
from .approach import Approach
from .candidate_lines import Candidates, fewest_places
from .devices import Device, ZoneSetting
from .drafts import Draft, Line, Place, across, tip_mm
from .errors import Cancelled, ComputationError
from .polishing import polished
from .probes import Probe, is_in_zone
from .progress import ProgressCallback, span
from .second_thread import ahead
from .shafts import shaft_diameter_mm, touching_pairs
from .targets import Target
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Room that is left between two shafts, in mm, and rounds of moving after which touching ones are left. User-set.
_SHAFT_ROOM_MM, _PARTING_ROUNDS = 0.5, 4
#: Longest way in the body where the device's shaft length is unknown, in mm. User-set.
DEFAULT_SHAFT_MM = 200.0

#: Of how many directions one zone is tried, the least cost is found, and the cover. User-set.
_SINGLE_DIRECTIONS, _BOUNDED_DIRECTIONS, _COVERED_DIRECTIONS = 8, 30, 3
#: How much smaller zones count while lines are chosen, in mm, one after the other. User-set.
_LINE_RESERVES_MM = (-1.5, -0.5, 0.7)
#: The same once lines of several directions are chosen, each time with what the last draft left out. User-set.
_FURTHER_RESERVES_MM = (0.7, 1.5)
#: How much smaller zones count while places are chosen, in mm, and in how many rounds, each with the points that the
#: one before left out. User-set.
_PLACE_RESERVE_MM, _PLACE_ROUNDS = 0.1, 2
#: Directions that may help the best one, and the cosine below which one is different enough. User-set.
_HELPERS, _HELPING_COSINE = 4, 0.94
#: One in so many points is used to rank directions, to choose lines, and places on them. User-set.
_COARSE_STEP, _LINE_STEP, _PLACE_STEP = 8, 4, 3
#: Ablations on each line, in the mean, from which fewer places are looked for on all lines at once. User-set.
_MANY_ON_LINE = 2
#: Ablations that are tried in vain to take away before the rest is kept, and rounds of moving for each. User-set.
_VAIN, _THINNING_ROUNDS = 3, 2
#: Rounds in which a draft is moved, each with so many of the points that the one before left out. User-set.
_ROUNDS, _EXTRA_POINTS = 5, 300
#: More lines than these are not placed, and what the tumor counts beside the rest when the most useful are
#: chosen; a draft that is not enough loses lines that add less than this share. User-set.
MOST_LINES, _TUMOR_WEIGHT, _IDLE_SHARE = 15, 3.0, 0.002
#: Drafts of as many lines that are moved in vain before no more of them are tried. User-set.
_TRIES = 4
#: Rounds in which pockets between zones are closed, and of lines that were just chosen. User-set.
_SEALING_ROUNDS, _LINE_SEALING_ROUNDS = 3, 8
#: Lines that are left out, each for a trial, of some that are enough: one fewer may do when moved. User-set.
_LINES_LEFT_OUT = 4
#: Rounds in which a finished draft is moved for more margin, and how much more in mm is worth another. User-set.
_MARGIN_ROUNDS, _MORE_MARGIN_MM = 3, 0.02
#: Iterations in which lines that are enough when they are ablated all along are moved for depth. User-set.
_DEEP_ITERATIONS = 80
#: A draft that leaves out more than the first share of the judge's points is given up, and one that leaves out more
#: than the second when moving it did not help. User-set.
_HOPELESS_SHARE, _NEAR_SHARE = 0.003, 0.0005
#: Lines more than the fewest that a plan may take which is to spare liver. User-set.
_MORE_LINES = 1
#: Spacing on which the volume of zones is counted while plans are compared, in mm. User-set.
_VOLUME_MM = 2.5
#: Settings among which ablations are chosen at once. User-set.
_SETTINGS_AT_ONCE = 3


class Preference(Enum):
    """What a plan is to be best in, once all that is required is covered."""

    FEWEST = "fewest punctures"
    LEAST_LIVER = "least liver"
    SAFEST = "safest paths"
    FULL_MARGIN = "full margin"


@dataclass(frozen=True)
class Found:
    """A draft that probes can follow, its verdict, and what it costs: the first difference decides."""

    draft: Draft
    verdict: Verdict
    cost: tuple[float, ...]

    def is_better_than(self, other: Found | None) -> bool:
        """Whether it costs less, where both are enough; else whether it covers more."""
        if other is None:
            return bool(self.draft.lines)
        if self.verdict.is_enough != other.verdict.is_enough:
            return self.verdict.is_enough
        if not self.verdict.is_enough:
            return self.verdict.rank > other.verdict.rank
        return self.cost < other.cost


class Search:
    """The search for one target among its surroundings with one device, beside probes that are kept."""

    def __init__(
        self,
        target: Target,
        surroundings: Surroundings,
        device: Device,
        *,
        kept: Sequence[Probe] = (),
        preference: Preference = Preference.FEWEST,
    ) -> None:
        """Prepare the points that the plan is made for and judged by."""
        self.target = target
        self.surroundings = surroundings
        self.longest_mm = device.shaft_length_mm or DEFAULT_SHAFT_MM
        self.approach = Approach(target, surroundings, self.longest_mm)
        self.settings = sorted(device.plannable_settings, key=_size)
        self.preference = preference
        least_share = 1.0 if preference is Preference.FULL_MARGIN else LEAST_MARGIN_SHARE
        self.aims = Aims.of(target, least_share, kept)
        self.judge = Judge(target, least_share, kept)
        self.must = np.concatenate([self.aims.must, self.judge.outer_shell])
        self.kept = tuple(kept)
        self._thickness_mm = shaft_diameter_mm(device.gauge) + _SHAFT_ROOM_MM
        self.best: Found | None = None
        self.tries: Counter[int] = Counter()
        self.is_cancelled = False

    def run(self, progress: ProgressCallback) -> Draft:
        """The best draft found; when cancelled, the best one until then, if there is one.

        Without lines where the kept probes are enough. Raises ComputationError where no probe can reach the tumor.
        """
        if self.kept and (not len(self.aims.must) and self.judge.verdict(Draft()).is_enough):
            return Draft()
        try:
            self._search(progress)
        except Cancelled:
            if self.best is None:
                raise
            self.is_cancelled = True
        if self.best is None:
            raise ComputationError("no probe of this device covers a part of the tumor: its zones are too small")
        return self.best.draft

    def _search(self, progress: ProgressCallback) -> None:
        progress(0.0, "free directions")
        directions = self.approach.directions(0.5 * self.settings[-1].short_axis_mm)
        progress(0.1, "one zone")
        if self._take_single(directions):
            return
        ranked = self._ranked(directions, span(progress, 0.15, 0.35))
        self._take_fewest(ranked, span(progress, 0.35, 0.75))
        is_large = self.best is not None and len(self.best.draft.lines) >= MOST_LINES
        if not is_large and (self.best is None or not self.best.verdict.is_enough):
            progress(0.75, "closing gaps")
            self._take_helped(ranked)
        if self.best is not None:
            progress(0.85, "economizing")
            economical = self._economical(self.best.draft)
            if self.best.verdict.is_enough:
                self._take(economical)
                self._take(self._sealed(self._smallest(self.best.draft)))
                if self.preference is not Preference.LEAST_LIVER:
                    self.best = self._found(self._with_more_margin(self.best.draft))
            else:
                self.best = self._found(economical)

    def _take(self, draft: Draft | None) -> Verdict | None:
        """Keep a draft if it is the best one yet; its verdict, for which gaps between zones are looked for."""
        if draft is None or not draft.lines:
            return None
        if self.judge.verdict(draft).is_enough:
            draft = self._parted(draft)
            self.judge.find_leaks(draft)
        found = self._found(draft)
        if found.is_better_than(self.best):
            self.best = found
        return found.verdict

    def _found(self, draft: Draft) -> Found:
        verdict = self.judge.verdict(draft)
        if verdict.is_enough and self._touches(draft):
            verdict = replace(verdict, is_enough=False)
        return Found(draft, verdict, self._cost(draft, verdict))

    def _parted(self, draft: Draft) -> Draft:
        """The draft moved until no shafts touch, where it stays enough; else as it is."""
        moved = draft
        for _ in range(_PARTING_ROUNDS):
            if not self._touches(moved):
                return moved if self.judge.verdict(moved).is_enough else draft
            moved = self._deepened(moved, self.must)
        return draft

    def _touches(self, draft: Draft) -> bool:
        """Whether a shaft would touch another one or that of a kept probe."""
        pairs = touching_pairs([*self.kept, *draft.probes], self._thickness_mm)
        return any(other >= len(self.kept) for _, other in pairs)

    def _cost(self, draft: Draft, verdict: Verdict) -> tuple[float, ...]:
        lines, ablations = float(len(draft.lines)), float(draft.ablation_count)
        if self.preference is Preference.LEAST_LIVER:
            return round(self._healthy_ml(draft), 1), lines, ablations
        short_mm = round(self.target.margin_mm - verdict.margin_mm, 1)
        return lines, ablations, short_mm, sum(_size(setting) for row in draft.places for _, setting in row)

    def _healthy_ml(self, draft: Draft) -> float:
        """Volume of the zones outside of the tumor, inside the liver or not, on a coarse grid."""
        centers = np.array([ablation.center_ras_mm for probe in draft.probes for ablation in probe.ablations])
        reach = 0.5 * max(self.settings[-1].long_axis_mm, self.settings[-1].short_axis_mm)
        grid = WorkingGrid.over(centers.min(axis=0) - reach, centers.max(axis=0) + reach, _VOLUME_MM)
        inside = int(is_in_zone(draft.probes, grid.points()).sum())
        tumor_ml = self.target.surface.volume_ml
        return inside * _VOLUME_MM**3 / 1000.0 - tumor_ml

    def _take_single(self, directions: FloatArray) -> bool:
        """Whether one zone is enough: the smallest that gives all of the margin, if any does.

        Its probe passes through the middle of what must be covered, or beside it where no such way does.
        """
        must = self.aims.must
        if not len(must):
            return False
        middle = 0.5 * (must.min(axis=0) + must.max(axis=0))
        for is_beside in (False, True):
            for setting in self.settings:
                for direction in directions[:_SINGLE_DIRECTIONS]:
                    along = must @ direction
                    wide_mm = float(np.ptp(must @ across(direction).T, axis=0).max())
                    if np.ptp(along) > setting.long_axis_mm or wide_mm > setting.short_axis_mm:
                        continue
                    away_mm = 0.5 * (setting.short_axis_mm - wide_mm) if is_beside else 0.0
                    line = self.approach.freed_beside(middle, direction, away_mm, setting.center_to_tip_mm)
                    if line is None:
                        continue
                    draft = self._deepened(Draft((line,), (((0.0, setting),),)), must, iterations=15)
                    verdict = self._take(draft)
                    if verdict is not None and verdict.is_enough:
                        if verdict.margin_mm >= self.target.margin_mm:
                            return True
                        break  # another direction would hardly give more
            if self.best is not None:
                return self.best.verdict.is_enough
        return False

    def _ranked(self, directions: FloatArray, progress: ProgressCallback) -> list[FloatArray]:
        """The best directions, those first whose cover may cost least."""
        tried = directions[:_BOUNDED_DIRECTIONS]
        found = []
        with closing(ahead(self._least_cost, tried, threads=2)) as costs:
            for number, (direction, cost) in enumerate(zip(tried, costs, strict=True)):
                progress(number / len(tried), "covering the target")
                if cost is not None:
                    found.append((cost, direction))
        if not found:
            raise self.approach.blocked()
        if self.preference is Preference.SAFEST:
            # As good a way as there is, whatever it takes.
            safe = self.approach.safety(np.array([direction for _, direction in found]))
            return [found[n][1] for n in np.argsort(-safe, kind="stable")]
        return [direction for _, direction in sorted(found, key=lambda entry: entry[0])]

    def _least_cost(self, direction: FloatArray) -> float | None:
        """What probes along a direction cost at the least; None where there is no way."""
        candidates = self._candidates(direction, 0.0, _COARSE_STEP)
        if candidates is None:
            return None
        coarse = self.aims.thinned(_COARSE_STEP)
        cost = covering.least_cost(candidates.line_covers, coarse.price, candidates.line_cost)
        return cost + float(self.approach.risk_cost(direction[None])[0])

    def _candidates(self, direction: FloatArray, reserve_mm: float, step: int) -> Candidates | None:
        return Candidates.along(
            self.aims.thinned(step),
            self.surroundings,
            direction,
            self.settings[-1],
            reserve_mm,
            self.longest_mm,
            self.approach.way_cost,
        )

    def _take_fewest(self, ranked: Sequence[FloatArray], progress: ProgressCallback) -> None:
        """The fewest parallel lines that can be moved so that they are enough."""
        directions = ranked[:_COVERED_DIRECTIONS]
        cases = list(product(_LINE_RESERVES_MM, directions))
        with closing(ahead(self._fewest_lines, cases)) as covers:
            for number, lines in enumerate(covers, start=1):
                progress((number - 1) / len(cases), "fewest probes")
                if self.tries[MOST_LINES + 1] >= _TRIES:
                    return
                self._try_lines(lines)
                is_enough = self.best is not None and self.best.verdict.is_enough
                is_last = number % len(directions) == 0
                if is_last and is_enough and self.preference is not Preference.LEAST_LIVER:
                    # With zones that count as smaller there are no fewer lines; with larger ones perhaps.
                    return

    def _fewest_lines(self, case: tuple[float, FloatArray]) -> Draft:
        """The fewest parallel lines, for a reserve in mm and a direction, each ablated all along; maybe none."""
        reserve_mm, direction = case
        candidates = self._candidates(direction, reserve_mm, _LINE_STEP)
        return Draft() if candidates is None else candidates.fewest(self.aims.thinned(_LINE_STEP).price)

    def _try_lines(self, full: Draft) -> None:
        """Move lines, ablated all along, until they are enough, then choose places on them."""
        best = self.best
        if not full.lines:
            return
        more = _MORE_LINES if self.preference is Preference.LEAST_LIVER else -1
        if best is not None and best.verdict.is_enough and len(full.lines) > len(best.draft.lines) + more:
            return
        if len(full.lines) > MOST_LINES:
            self.tries[len(full.lines)] = self.tries[MOST_LINES + 1] = _TRIES
            self._take(self._most_useful(full))
            return
        if self.tries[len(full.lines)] >= _TRIES:
            return
        full = self._sufficient(full)
        if not self.judge.verdict(full).is_enough:
            self.tries[len(full.lines)] += 1
            self._take(full)
            return
        self._settle(full)

    def _settle(self, full: Draft) -> None:
        """Choose places on lines that are enough when they are ablated all along, and on fewer of them if that does."""
        # Lines that reach deep all along leave room for gaps between fewer places.
        deeper = self._deepened(full, self.must, sharp=True, iterations=_DEEP_ITERATIONS)
        if self.judge.verdict(deeper).is_enough:
            full = deeper
        verdict = self._take(self._sealed(self._without_idle(full), sealing_rounds=_LINE_SEALING_ROUNDS))
        if verdict is None or not verdict.is_enough:
            self.tries[len(full.lines)] += 1
            return
        for number in self._least_useful(full)[: _LINES_LEFT_OUT if len(full.lines) > 1 else 0]:
            fewer = self._sufficient(full.with_places(number, ()))
            if self.judge.verdict(fewer).is_enough:
                self._settle(fewer)
                return

    def _least_useful(self, draft: Draft) -> list[int]:
        """The lines of a draft, those first that cover fewest points that no other does."""
        count = np.array([np.any(row, axis=0) for row in self.judge.zones(draft)])
        alone = count & (count.sum(axis=0) == 1)
        return [int(number) for number in np.argsort(alone.sum(axis=1), kind="stable")]

    def _most_useful(self, full: Draft) -> Draft:
        """The lines, ablated all along, that cover most together, as many as anyone would place."""
        of_line = [np.any(row, axis=0) for row in self.judge.zones(full)]
        weight = np.where(self.judge.is_tumor, _TUMOR_WEIGHT, 1.0)
        left = np.ones(len(weight), dtype=bool)
        chosen: list[int] = []
        while len(chosen) < MOST_LINES:
            gains = [float(weight[left & covered].sum()) for covered in of_line]
            chosen.append(int(np.argmax(gains)))
            left &= ~of_line[chosen[-1]]
        kept = sorted(set(chosen))
        draft = Draft(tuple(full.lines[n] for n in kept), tuple(full.places[n] for n in kept))
        return self._without_idle(draft)

    def _with_fewer_places(self, draft: Draft) -> Draft:
        """The draft with the fewest places on its lines instead, where these can be moved so that they are enough."""
        aims = self.aims.thinned(_PLACE_STEP).with_must(self.judge.outer_shell[::_PLACE_STEP])
        settings = self._some_settings()
        for _ in range(_PLACE_ROUNDS):
            spare = fewest_places(draft, aims, self.surroundings, settings, _PLACE_RESERVE_MM, self.longest_mm)
            if not spare.lines or spare.ablation_count >= draft.ablation_count:
                break
            missing = self.judge.missing(spare)
            if len(missing) <= _HOPELESS_SHARE * len(self.judge.points):
                trial = self._sealed(self._sufficient(spare))
                verdict = self._take(trial)
                if verdict is not None and verdict.is_enough:
                    return trial
            aims = aims.with_must(missing[:: max(1, len(missing) // _EXTRA_POINTS)])
        return draft

    def _some_settings(self) -> list[ZoneSetting]:
        """The largest setting and some smaller ones, evenly by size."""
        count = min(_SETTINGS_AT_ONCE, len(self.settings))
        chosen = np.unique(np.round(np.linspace(0, len(self.settings) - 1, count)).astype(int))
        return [self.settings[n] for n in chosen]

    def _take_helped(self, ranked: Sequence[FloatArray]) -> None:
        """Lines of other directions for what the best one leaves out."""
        self.tries.clear()  # lines of several directions may do where as many parallel ones do not
        helpers: list[FloatArray] = []
        for direction in ranked[1:]:
            if all(float(direction @ other) < _HELPING_COSINE for other in [ranked[0], *helpers]):
                helpers.append(direction)
        for reserve_mm in (*_LINE_RESERVES_MM, *_FURTHER_RESERVES_MM):
            if self.best is not None:
                missing = self.judge.missing(self.best.draft)
                self.aims = self.aims.with_must(missing[:: max(1, len(missing) // _EXTRA_POINTS)])
            parts = [self._candidates(direction, reserve_mm, 1) for direction in [ranked[0], *helpers[:_HELPERS]]]
            found = [part for part in parts if part is not None]
            if found:
                self._try_lines(Candidates.joined(found).fewest(self.aims.price))
            if self.best is not None and self.best.verdict.is_enough:
                return

    def _sufficient(self, draft: Draft, rounds: int = _ROUNDS) -> Draft:
        """The draft moved for depth, again with the points that this leaves out, until none is or it does not help."""
        return self._sufficient_for(draft, self.must, rounds)[0]

    def _sufficient_for(self, draft: Draft, must: FloatArray, rounds: int) -> tuple[Draft, FloatArray]:
        """As :meth:`_sufficient` for points (N, 3) that must be covered, and these with those that were left out."""
        missing = self.judge.missing(draft)
        if not len(missing):
            return draft, must
        fewest, best = np.inf, draft
        for number in range(rounds):
            must = np.concatenate([must, missing[:: max(1, len(missing) // _EXTRA_POINTS)]])
            draft = self._deepened(draft, must, sharp=number > 0)
            missing = self.judge.missing(draft)
            helps = len(missing) < fewest
            if helps:
                fewest, best = len(missing), draft
            if not len(missing) or len(missing) > (_HOPELESS_SHARE if helps else _NEAR_SHARE) * len(self.judge.points):
                break
        return best, must

    def _sealed(self, draft: Draft, rounds: int = _ROUNDS, sealing_rounds: int = _SEALING_ROUNDS) -> Draft:
        """The draft moved until no gap between its zones ends the margin, or it does not help."""
        must = self.must
        for _ in range(sealing_rounds):
            if not self.judge.verdict(draft).is_enough or not self.judge.find_leaks(draft):
                break
            draft, must = self._sufficient_for(draft, must, rounds)
        return draft

    def _deepened(self, draft: Draft, must: FloatArray, *, sharp: bool = False, iterations: int = 40) -> Draft:
        """The draft moved for depth of points (N, 3), as far as its lines stay free."""
        if not len(must):
            return draft
        aim = polished(draft, must, self.aims.edge, self.surroundings, iterations=iterations, sharp=sharp)
        return self._toward(draft, aim)

    def _toward(self, draft: Draft, aim: Draft) -> Draft:
        """Each line as far on its way to where another draft has it as it stays free."""
        lines, places = list(draft.lines), list(draft.places)
        left = list(range(len(lines)))
        for part in (1.0, 0.6, 0.3):
            moved = [self._moved(draft, aim, number, part) for number in left]
            freed = self.approach.all_freed([line for line, _ in moved], [tip_mm(row) for _, row in moved])
            for number, line, (_, row) in zip(left, freed, moved, strict=True):
                if line is not None:
                    lines[number], places[number] = line, row
            left = [number for number, line in zip(left, freed, strict=True) if line is None]
            if not left:
                break
        return Draft(tuple(lines), tuple(places))

    def _moved(self, draft: Draft, aim: Draft, number: int, part: float) -> tuple[Line, tuple[Place, ...]]:
        """A line of a draft and its places a part of their way to where another draft has them."""
        line, goal = draft.lines[number], aim.lines[number]
        # The other line's base point is elsewhere along it: measured from the one nearest to ours.
        ahead = float((line.base_ras_mm - goal.base_ras_mm) @ goal.direction)
        goal_base = goal.base_ras_mm + ahead * goal.direction
        direction = line.direction + part * (goal.direction - line.direction)
        moved = Line(
            line.base_ras_mm + part * (goal_base - line.base_ras_mm),
            direction / np.linalg.norm(direction),
            line.entry_mm,
        )
        row = tuple(
            (place + part * (other - ahead - place), setting)
            for (place, setting), (other, _) in zip(draft.places[number], aim.places[number], strict=True)
        )
        return moved, row

    def _economical(self, draft: Draft) -> Draft:
        """Take ablations away, make them smaller, and move them for depth, where nothing that is required is lost."""
        is_enough = self.judge.verdict(draft).is_enough
        if not is_enough:
            return self._without_idle(self._without_idle_lines(draft))
        draft = self._without_idle(draft)
        if draft.ablation_count >= _MANY_ON_LINE * len(draft.lines):
            draft = self._with_fewer_places(draft)
        vain = 0
        while vain < min(_VAIN, draft.ablation_count - 1):
            number, m = self.judge.least_alone(self.judge.zones(draft))[vain]
            row = draft.places[number]
            fewer = draft.with_places(number, [*row[:m], *row[m + 1 :]])
            trial = self._sealed(self._sufficient(fewer, _THINNING_ROUNDS), _THINNING_ROUNDS, _THINNING_ROUNDS)
            verdict = self._take(trial)
            if verdict is not None and verdict.is_enough:
                draft, vain = self._without_idle(trial), 0
            else:
                vain += 1
        self._take(self._smallest(draft))
        return self._sealed(self._deepened(draft, self.must))

    def _with_more_margin(self, draft: Draft) -> Draft:
        """A draft that is enough, moved for depth as long as its margin grows and it stays enough."""
        margin_mm = self.judge.exact_margin_mm(draft)
        for _ in range(_MARGIN_ROUNDS):
            if margin_mm >= self.target.margin_mm:
                break
            trial = self._sealed(self._deepened(draft, self.must, sharp=True, iterations=_DEEP_ITERATIONS))
            trial_mm = self.judge.exact_margin_mm(trial)
            if trial_mm < margin_mm + _MORE_MARGIN_MM or not self._found(trial).verdict.is_enough:
                break
            draft, margin_mm = trial, trial_mm
        return draft

    def _is_kept(self, draft: Draft, margin: bool = False) -> Callable[[Verdict], bool]:
        """Whether a verdict is as good as that on a draft, or enough if that one is, with `margin` at its margin."""
        floor = self.judge.verdict(draft)
        least_mm = floor.margin_mm if margin else 0.0

        def is_kept(verdict: Verdict) -> bool:
            if not floor.is_enough:
                return verdict.rank >= floor.rank
            return verdict.is_enough and verdict.margin_mm >= least_mm

        return is_kept

    def _without_idle_lines(self, draft: Draft) -> Draft:
        """A draft that is not enough without the lines that hardly add to it."""
        count = np.array([np.any(row, axis=0) for row in self.judge.zones(draft)]).astype(np.int16)
        covered, kept = count.sum(axis=0), list(range(len(count)))
        floor = self.judge.verdict_of(covered > 0)
        for number in np.argsort([int(((covered == 1) & (row > 0)).sum()) for row in count], kind="stable").tolist():
            verdict = self.judge.verdict_of(covered > count[number])
            tumor, target = floor.tumor_share - verdict.tumor_share, floor.target_share - verdict.target_share
            if len(kept) > 1 and tumor <= _IDLE_SHARE and target <= _IDLE_SHARE:
                covered = covered - count[number]
                kept.remove(number)
        return Draft(tuple(draft.lines[n] for n in kept), tuple(draft.places[n] for n in kept))

    def _without_idle(self, draft: Draft) -> Draft:
        """The draft without ablations that are not needed as it stands."""
        zones, is_kept = self.judge.zones(draft), self._is_kept(draft)
        rows = [dict(enumerate(row)) for row in draft.places]
        count = np.sum([zone for row in zones for zone in row], axis=0, dtype=np.int16)
        for number, m in self.judge.least_alone(zones):
            left = [place for k, place in rows[number].items() if k != m]
            can_go = sum(len(row) for row in rows) > 1
            can_go &= not left or self.approach.freed(draft.lines[number], tip_mm(left)) is not None
            if can_go and is_kept(self.judge.verdict_of(count > zones[number][m])):
                del rows[number][m]
                count -= zones[number][m]
        used = [n for n, row in enumerate(rows) if row]
        return Draft(tuple(draft.lines[n] for n in used), tuple(tuple(rows[n].values()) for n in used))

    def _smallest(self, draft: Draft) -> Draft:
        """The draft with each ablation at the smallest setting that keeps what is reached."""
        zones = self.judge.zones(draft)
        is_kept = self._is_kept(draft, margin=self.preference is not Preference.LEAST_LIVER)
        for number, m in self.judge.least_alone(zones):
            others = [zone for n, row in enumerate(zones) for k, zone in enumerate(row) if (n, k) != (number, m)]
            rest = np.any(others, axis=0) if others else np.zeros(len(self.judge.points), dtype=bool)
            row = draft.places[number]
            place, used = row[m]
            for setting in self.settings[: self.settings.index(used)]:
                trial = draft.with_places(number, [*row[:m], (place, setting), *row[m + 1 :]])
                (zone,) = self.judge.zones_on(draft.lines[number], [(place, setting)])
                freed = self.approach.freed(trial.lines[number], tip_mm(trial.places[number]))
                if freed is not None and is_kept(self.judge.verdict_of(rest | zone)):
                    draft, zones[number][m] = trial, zone
                    break
        return draft


def _size(setting: ZoneSetting) -> float:
    """The volume of a zone, but for a factor."""
    return float(setting.short_axis_mm**2 * setting.long_axis_mm)
