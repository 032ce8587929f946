"""Probe plans: as few probes as cover the tumor and its margin, each on a free way from the skin.

The target is the tumor and the tissue within the margin asked for, inside the liver. Required are all of the
tumor, 99 % of the target, and at the worst point of the evaluable surface 80 % of the margin. Steps: free
ways are followed in many directions (:mod:`.access`); probes are placed along the best of them
(:mod:`.placement`); the plan is then measured anew on finer points than it was made on, and bounds say how
few could do (:mod:`.plan_bounds`). Needles are few because their number is an independent risk of major
complications (Schullian et al., Eur Radiol 2021;31:3042).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import access, plan_notes
from .access import Surroundings
from .aims import LEAST_MARGIN_SHARE, TARGET_SHARE, Aims, required_spheres
from .coverage import PlanMeasure
from .devices import Device
from .drafts import Draft
from .errors import Cancelled, InputError
from .images import as_mask, image_hash
from .margins import DEFAULT_MARGIN_MM, MAX_MARGIN_MM
from .path_checks import BLOCKED, PathCheck, check_path
from .placement import DEFAULT_SHAFT_MM, MOST_LINES, Preference, Search
from .plan_bounds import Bounds, least_needed
from .plans import Plan
from .probes import Probe
from .progress import ProgressCallback, silent, span
from .robustness import plan_robustness, robust_placement
from .surveys import Scan, Survey
from .targets import Target

FloatArray = npt.NDArray[np.float64]

#: Points of the target from which it is told how few probes could do. User-set.
_BOUND_POINTS = 2_000
#: What further plans are made for, in this order.
ALTERNATIVES = (Preference.FULL_MARGIN, Preference.SAFEST, Preference.LEAST_LIVER)
#: What a plan that a user placed is called.
BY_HAND = "placed by hand"


@dataclass(frozen=True)
class Request:
    """What a plan is asked for: a margin around the tumor, with probes of one device.

    Zones count as `size_factor` times as large as the device's source gives. `locked` probes are kept as they are,
    whatever they cross, and others are placed beside them.

    `is_robust`: probes that are not locked are shifted within free ways so that tumor and margin are covered more
    surely (:func:`.robustness.robust_placement`), and the plan says how sure that is. Where the shifted probes reach
    less than what is required, the others are kept.

    Raises InputError for a margin, a factor or a device that cannot be planned for.
    """

    device: Device
    margin_mm: float = DEFAULT_MARGIN_MM
    size_factor: float = 1.0
    locked: tuple[Probe, ...] = ()
    is_robust: bool = False

    def __post_init__(self) -> None:
        """Check it, before any work."""
        if not (np.isfinite(self.margin_mm) and 0 <= self.margin_mm <= MAX_MARGIN_MM):
            raise InputError(f"margin: {self.margin_mm} mm is not from 0 to {MAX_MARGIN_MM:g} mm")
        _ = self.sized_device.plannable_settings  # raises where there is none

    @cached_property
    def sized_device(self) -> Device:
        """The device with its zones scaled."""
        return self.device if self.size_factor == 1.0 else self.device.scaled(self.size_factor)

    @property
    def longest_mm(self) -> float:
        """Longest way of a probe in the body."""
        return self.device.shaft_length_mm or DEFAULT_SHAFT_MM


@dataclass(frozen=True)
class Task:
    """A request for one tumor, with all that was found out before probes are placed: the target and its surroundings.

    All plans of a task are measured by `measure`.
    """

    request: Request
    target: Target
    measure: PlanMeasure
    surroundings: Surroundings
    obstacles: Mapping[str, sitk.Image]
    input_hashes: Mapping[str, str]

    @classmethod
    def of(cls, survey: Survey, tumor: sitk.Image, request: Request) -> Task:
        """The task for one tumor, a mask, in a CT that may be looked into once for several.

        Raises EmptyMaskError or GeometryError for a tumor that is empty or elsewhere, InputError for one that the
        survey does not know or that an obstacle contains.
        """
        mask = survey.mask_of(tumor)
        target = Target.of(mask, survey.liver, float(request.margin_mm))
        return cls(
            request=request,
            target=target,
            measure=PlanMeasure.of(target, survey.liver),
            surroundings=survey.surroundings.about(mask),
            obstacles=survey.obstacles,
            input_hashes={**survey.input_hashes, "tumor": image_hash(as_mask(tumor, "tumor"))},
        )

    @property
    def device(self) -> Device:
        """The device with its zones as large as they count."""
        return self.request.sized_device

    @property
    def locked(self) -> tuple[Probe, ...]:
        """The probes that are kept."""
        return self.request.locked

    def with_device(self, device: Device, size_factor: float, locked: Sequence[Probe] = ()) -> Task:
        """The same target and surroundings for another device, its size factor and locked probes."""
        return replace(
            self, request=replace(self.request, device=device, size_factor=size_factor, locked=tuple(locked))
        )

    def check(self, probe: Probe) -> PathCheck:
        """How the path of a probe fares among the surroundings."""
        longest_mm = self.request.longest_mm
        return check_path(self.surroundings, probe.entry_ras_mm, probe.tip_ras_mm, longest_mm=longest_mm)


def prepared(scan: Scan, tumor: sitk.Image, request: Request) -> Task:
    """The task for the only tumor of a CT; raises as :meth:`.Survey.of` and :meth:`Task.of` do."""
    return Task.of(Survey.of(scan, [tumor], request.longest_mm), tumor, request)


def plan_probes(scan: Scan, tumor: sitk.Image, request: Request, progress: ProgressCallback = silent) -> Plan:
    """Place probes until tumor and margin are covered.

    No probe crosses an obstacle, bone or air, and each enters through the skin and ends in the liver.

    When the progress callback cancels, the best plan until then is returned, with that among its limitations, if
    there is one already. Raises InputError for an image that is no CT, EmptyMaskError or GeometryError for masks
    that are empty or elsewhere, and ComputationError, naming what is in the way, where no probe can reach the tumor.
    """
    return plan_alternatives(scan, tumor, request, 0, progress)[0]


def plan_alternatives(
    scan: Scan, tumor: sitk.Image, request: Request, count: int, progress: ProgressCallback = silent
) -> tuple[Plan, ...]:
    """The plan with the fewest punctures, then up to `count` others that are better than it in something.

    They reach more of the margin, follow safer paths, or spare liver; each says what it gains and what that costs.
    Those that another one beats in everything are left out. The rest is as in :func:`plan_probes`.
    """
    start = time.perf_counter()
    _require_count(count)
    progress(0.0, "target and ways from the skin")
    return _plans(prepared(scan, tumor, request), count, start, progress)


def plans_of(task: Task, count: int, progress: ProgressCallback = silent) -> tuple[Plan, ...]:
    """The plans of :func:`plan_alternatives` for what was prepared before."""
    _require_count(count)
    return _plans(task, count, time.perf_counter(), progress)


def plan_by_hand(task: Task, probes: Sequence[Probe]) -> Plan:
    """Measure probes that were placed by hand as a plan of the task; raises InputError without a probe.

    Nothing is placed or moved, and no bounds are looked for.
    """
    return _as_plan(task, tuple(probes), BY_HAND, time.perf_counter(), locked_count=0)


def _require_count(count: int) -> None:
    if not 0 <= count <= len(ALTERNATIVES):
        raise InputError(f"alternatives: {count} is not from 0 to {len(ALTERNATIVES)}")


def _plans(task: Task, count: int, start: float, progress: ProgressCallback) -> tuple[Plan, ...]:
    kinds = [Preference.FEWEST, *ALTERNATIVES] if count else [Preference.FEWEST]
    share = 0.8 / len(kinds)
    plans: list[Plan] = []
    is_cancelled = False
    for number, kind in enumerate(kinds):
        begun = start if number == 0 else time.perf_counter()
        part = span(progress, 0.2 + number * share, 0.2 + (number + 1) * share)
        try:
            plan, is_cancelled = _planned(task, kind, begun, part)
        except Cancelled:
            if not plans:
                raise
            is_cancelled = True  # before there was any plan of this kind: those made until then are not lost
        else:
            plans.append(plan)
        if is_cancelled:
            break
    is_cancelled = is_cancelled or not _goes_on(progress, 1.0, "planned")
    first, *others = plans
    if is_cancelled and len(plans) < len(kinds):
        stopped = "Further plans were not made: planning was stopped before."
        first = replace(first, limitations=(*first.limitations, stopped))
    better = _undominated(first, others)[:count]
    return tuple(_with_reasons(plan, first) for plan in [first, *better])


def _goes_on(progress: ProgressCallback, fraction: float, message: str) -> bool:
    """Report progress where there is something to lose: whether the work goes on."""
    try:
        progress(fraction, message)
    except Cancelled:
        return False
    return True


def _planned(task: Task, kind: Preference, start: float, progress: ProgressCallback) -> tuple[Plan, bool]:
    """One plan, and whether it was cancelled on the way."""
    search = Search(task.target, task.surroundings, task.device, kept=task.locked, preference=kind)
    draft = search.run(span(progress, 0.0, 0.8))
    is_cancelled = search.is_cancelled or not _goes_on(progress, 0.8, "measuring the plan")
    placed = tuple(replace(probe, device=task.device.id) for probe in draft.probes)
    plan = _measured(task, (*task.locked, *placed), kind, search, draft, start)
    if task.request.is_robust and not is_cancelled:
        is_cancelled = not _goes_on(progress, 0.85, "how robust it is")
    if task.request.is_robust:
        plan = _left_unshifted(plan) if is_cancelled else _made_robust(task, plan, kind, search, draft, start)
    return plan, is_cancelled


def _left_unshifted(plan: Plan) -> Plan:
    said = "How robust the plan is was not looked into: planning was stopped before."
    return replace(plan, limitations=(*plan.limitations, said))


def _made_robust(task: Task, plan: Plan, kind: Preference, search: Search, draft: Draft, start: float) -> Plan:
    """The plan with its probes shifted where that helps and still suffices, and how robust it is."""
    locked = len(task.locked)
    shifted = robust_placement(
        task.target,
        plan.probes,
        device=task.device,
        kept=locked,
        is_allowed=lambda probe: task.check(probe).grade != BLOCKED,
    )
    if shifted != plan.probes:
        # A probe that moved leaves the skin at another place of its line.
        moved = tuple(
            after if after == before else after.entering_after(task.check(after).length_mm)
            for before, after in zip(plan.probes, shifted, strict=True)
        )
        steadier = _measured(task, moved, kind, search, draft, start)
        is_free = all(check["grade"] != BLOCKED for check in steadier.path_checks[locked:])
        if is_free and not _is_short(steadier, task.target):
            plan = steadier
    robustness = plan_robustness(task.target, plan.probes, device=task.device)
    return replace(plan, robustness=robustness.to_dict(), seconds=time.perf_counter() - start)


def _is_short(plan: Plan, target: Target) -> bool:
    shares = plan.tumor_coverage_fraction, plan.target_coverage_fraction
    return plan_notes.is_short(*shares, plan.predicted_mam_mm, target)


def _measured(
    task: Task, probes: tuple[Probe, ...], kind: Preference, search: Search, draft: Draft, start: float
) -> Plan:
    """Measure a plan on fine points, independent of how it was made, as a live plan is measured."""

    def more(is_short: bool) -> list[str]:
        """What is to be said about the search itself."""
        if search.is_cancelled:
            return ["The search was stopped before its end: this is the best plan until then."]
        if not is_short:
            return []
        most = MOST_LINES if len(draft.lines) >= MOST_LINES else None
        return plan_notes.preventions(
            search.judge.missing(draft), task.surroundings, task.device, task.request.longest_mm, most
        )

    plan = _as_plan(task, probes, kind.value, start, locked_count=len(task.locked), more=more)
    bounds = _bounds(task, probes, plan.target_volume_ml)
    if bounds is None:
        return plan
    return replace(
        plan,
        lower_bound_punctures=bounds.punctures,
        lower_bound_parallel_punctures=bounds.parallel_punctures,
        lower_bound_ablations=bounds.ablations,
        seconds=time.perf_counter() - start,
    )


def _as_plan(
    task: Task,
    probes: tuple[Probe, ...],
    kind: str,
    start: float,
    *,
    locked_count: int,
    more: Callable[[bool], list[str]] = lambda is_short: [],
) -> Plan:
    """Probes measured, with all that has to be said about them; `more` adds to that, told whether they fall short."""
    target, surroundings = task.target, task.surroundings
    coverage = task.measure.measure(probes)
    shares = coverage.tumor_coverage_fraction, coverage.target_coverage_fraction
    mam = coverage.predicted_mam_mm
    checks = [task.check(probe) for probe in probes]
    limitations = [
        *plan_notes.shortfalls(*shares, mam, target),
        *more(plan_notes.is_short(*shares, mam, target)),
        *plan_notes.way_notes(checks, locked_count),
        *plan_notes.spacing_notes(probes, task.device),
        *plan_notes.reached_obstacles(probes, task.obstacles),
        *plan_notes.outside_liver(probes, surroundings),
        *plan_notes.device_notes(probes, task.device, task.request.size_factor),
    ]
    return Plan(
        device=task.device.id,
        margin_mm=target.margin_mm,
        probes=probes,
        tumor_coverage_fraction=shares[0],
        target_coverage_fraction=shares[1],
        predicted_mam_mm=mam,
        mam_place_ras_mm=coverage.mam_place_ras_mm,
        shares=coverage.shares,
        target_volume_ml=task.measure.target_volume_ml,
        zone_volume_ml=coverage.zone_volume_ml,
        seconds=time.perf_counter() - start,
        limitations=tuple(limitations),
        parameters=_parameters(task),
        input_hashes=task.input_hashes,
        kind=kind,
        locked_count=locked_count,
        healthy_liver_ml=coverage.liver_lost_ml,
        path_checks=tuple(check.to_dict() for check in checks),
    )


def _parameters(task: Task) -> dict[str, Any]:
    return {
        "margin_mm": task.target.margin_mm,
        "clearance_mm": access.CLEARANCE_MM,
        "clearance_source": "mean lateral error of stereotactic placement, Tinguely et al., Front Oncol 2021",
        "dense_clearance_mm": access.DENSE_CLEARANCE_MM,
        "dense_clearance_source": "no published source; user-set",
        "least_liver_mm": task.surroundings.least_liver_mm,
        "longest_way_mm": task.request.longest_mm,
        "size_factor": task.request.size_factor,
        "target_share": TARGET_SHARE,
        "least_margin_share": LEAST_MARGIN_SHARE,
    }


def _bounds(task: Task, probes: Sequence[Probe], target_ml: float) -> Bounds | None:
    """How few could do; None where probes were given, since what they cover is no choice."""
    if task.locked:
        return None
    settings = task.device.plannable_settings
    largest = max(s.short_axis_mm**2 * s.long_axis_mm for s in settings)
    mean = np.mean([probe.direction for probe in probes], axis=0)
    return least_needed(
        Aims.of(task.target).must,
        task.target.points(_BOUND_POINTS)[0],
        TARGET_SHARE,
        target_ml,
        mean / np.linalg.norm(mean),
        max(s.short_axis_mm for s in settings),
        max(s.long_axis_mm for s in settings),
        np.pi / 6.0 * largest / 1000.0,
        at_most=len(probes),
        spheres=required_spheres(task.target),
    )


#: Differences between plans that count for nothing: punctures, ml of liver, mm of margin, and score of the
#: worst path. User-set.
_INDIFFERENT = np.array([0.0, 1.0, 0.2, 0.02])


def _measures(plan: Plan) -> FloatArray:
    """What a plan costs (4,): punctures, healthy liver, margin missing, and how far its worst path is from the best."""
    mam = plan.margin_mm if plan.predicted_mam_mm is None else min(plan.predicted_mam_mm, plan.margin_mm)
    scores = [check["score"] for check in plan.path_checks[plan.locked_count :]]
    return np.array([plan.probe_count, plan.healthy_liver_ml, plan.margin_mm - mam, 1.0 - min(scores, default=1.0)])


def _undominated(first: Plan, others: Sequence[Plan]) -> list[Plan]:
    """Those of the others that are better than each plan before them in something."""
    kept = [first]
    for plan in others:
        if all((_measures(plan) < _measures(rival) - _INDIFFERENT).any() for rival in kept):
            kept.append(plan)
    return kept[1:]


def _with_reasons(plan: Plan, first: Plan) -> Plan:
    """The plan with sentences on what it costs, and on what it gains and loses beside the first."""
    punctures, liver_ml, _, path = _measures(plan)
    mam = "none can be told" if plan.predicted_mam_mm is None else f"{plan.predicted_mam_mm:.1f} mm"
    texts = [
        f"{punctures:.0f} puncture(s), {plan.ablation_count} ablation(s), least margin {mam}, {liver_ml:.0f} ml of "
        f"healthy liver, worst path rated {1 - path:.2f} of 1."
    ]
    if plan is not first:
        change = _measures(plan) - _measures(first)
        words = (
            (f"{abs(change[0]):.0f} puncture(s)", "fewer", "more"),
            (f"{abs(change[1]):.0f} ml of healthy liver", "less", "more"),
            (f"{abs(change[2]):.1f} mm of margin", "more", "less"),
            (f"{abs(change[3]):.2f} of the rating of its worst path", "more", "less"),
        )
        for (amount, better, worse), difference, slack in zip(words, change, _INDIFFERENT, strict=True):
            if abs(difference) > slack:
                is_gain = difference < 0
                verb, word = ("Gains", better) if is_gain else ("Costs", worse)
                texts.append(f"{verb}: {amount} {word} than the plan with the fewest punctures.")
    return replace(plan, reasons=tuple(texts))
