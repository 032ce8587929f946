"""Probes for one tumor."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .command_line import (
    SCENE_SUFFIXES,
    add_command,
    as_notes,
    cancelled_by_interrupt,
    in_mm,
    mask_of,
    plan_of,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)
from .planning_inputs import PlanningInputs, add_planning_inputs, device_of, input_files, read_inputs

if TYPE_CHECKING:
    from ..core.margins import MarginResult
    from ..core.plans import Plan
    from ..core.probes import Probe


def add_plan(commands: Any) -> None:
    """Arguments of `plan`."""
    parser = add_command(
        commands,
        "plan",
        run_plan,
        "Place probes until tumor and margin are covered. Ctrl-C ends the search with the best plan found so far.",
    )
    add_planning_inputs(parser)
    parser.add_argument("--margin-mm", type=positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument("--size-factor", type=positive, default=1.0, metavar="F", help="zones of 0.5 to 1.5 the size")
    parser.add_argument(
        "--lock",
        type=_locked,
        nargs="+",
        action="extend",
        default=[],
        metavar="PLAN.json[:1,3]",
        help="keep the probes of this plan, or those of these numbers, and place others beside them",
    )
    parser.add_argument(
        "--ablated",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="MASK",
        help="zones already ablated: probes are placed for what they leave of tumor and margin",
    )
    parser.add_argument(
        "--ablated-transform", type=Path, metavar="TRANSFORM.h5", help="from `fuse`; none: zones of the planning frame"
    )
    parser.add_argument(
        "--alternatives", type=int, choices=range(4), default=0, metavar="N", help="other plans, 0 to 3 (default 0)"
    )
    parser.add_argument(
        "--robust", action="store_true", help="shift probes so that errors of placement matter least, and say how much"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PLAN.json")
    parser.add_argument("--scene", type=Path, metavar="CASE.mrb", help="also a scene for 3D Slicer")


def run_plan(options: argparse.Namespace) -> None:
    """Probes for a tumor."""
    from ..core.planning import Request, plan_alternatives
    from ..core.remainder import remaining_target

    locked_files = [path for path, _ in options.lock]
    zones = [*options.ablated, options.ablated_transform]
    if options.ablated_transform is not None and not options.ablated:
        raise InputError("--ablated-transform: belongs to zones of --ablated, which are missing")
    require_places([*input_files(options), *locked_files, *zones], (options.out, ()), (options.scene, SCENE_SUFFIXES))
    request = Request(
        device_of(options),
        margin_mm=0.0 if options.ablated else options.margin_mm,  # what is left of a target holds its margin already
        size_factor=options.size_factor,
        locked=tuple(probe for path, numbers in options.lock for probe in _probes_of(path, numbers)),
        is_robust=options.robust,
    )
    with progress_bar("plan", options) as bar, cancelled_by_interrupt(bar) as progress:
        given = read_inputs(options)
        before = _ablated(options, given)
        goal = given.tumor if before is None else remaining_target(before, given.tumor)
        plans = plan_alternatives(given.scan, goal, request, options.alternatives, progress)
    document, *others = [plan.to_dict() for plan in plans]
    document["limitations"] += _of_other_images(locked_files, document["input_hashes"])
    if before is not None:
        document["with_ablated"] = _with_ablated(before, plans[0])
    write_document({**document, "alternatives": others}, options.out)
    if options.scene is not None:
        from ..scene.case_files import save_plan_scene

        scan = given.scan
        save_plan_scene(options.scene, image=scan.image, tumor=given.tumor, liver=scan.liver, plan=plans[0])
    if options.quiet:
        return
    say(f"{_in_words(document)} -> {options.out}", *_bounds_in_words(document), *_robustness_in_words(document))
    if before is not None:
        both = document["with_ablated"]
        say(f"with what is ablated already: MAM {in_mm(both['mam_before_mm'])} becomes {in_mm(both['mam_after_mm'])}")
    say(*(f"alternative {n}, {other['kind']}: {_in_words(other)}" for n, other in enumerate(others, start=1)))
    say(*as_notes(document["limitations"]), *as_notes(given.notes))


def _of_other_images(plans: Sequence[Path], hashes: Mapping[str, str]) -> list[str]:
    """A word for each plan whose locked probes were placed in another image."""
    from ..core.documents import read_json

    known = [(path, read_json(path).get("input_hashes", {}).get("image")) for path in plans]
    return [
        f"{path.name} was made in another image: its probes are kept; check that both show one patient in one frame"
        for path, image in known
        if image is not None and image != hashes["image"]
    ]


def _ablated(options: argparse.Namespace, given: PlanningInputs) -> MarginResult | None:
    """The margin that the zones already ablated have, where there are such."""
    if not options.ablated:
        return None
    from ..core.margins import measure_margin
    from ..core.transform_files import read_transform
    from ..core.zone_union import united_mask

    transform = None if options.ablated_transform is None else read_transform(options.ablated_transform)
    zone = united_mask([mask_of(path) for path in options.ablated], "ablated zone")
    liver = given.scan.liver
    return measure_margin(given.tumor, zone, liver=liver, fixed_to_moving=transform, margin_mm=options.margin_mm)


def _with_ablated(before: MarginResult, plan: Plan) -> dict[str, Any]:
    """The margin before the probes of a plan and the one expected after them, and what they are placed for."""
    from ..core.remainder import margin_with_probes_mm

    after = margin_with_probes_mm(before, plan.probes)[before.is_evaluable]
    return {
        "margin_mm": before.margin_mm,
        "mam_before_mm": before.mam_mm,
        "mam_after_mm": float(after.min()) if len(after) else None,
        "residual_tumor_volume_ml": before.residual_tumor_volume_ml,
        "residual_margin_volume_ml": before.residual_margin_volume_ml,
    }


def _in_words(document: Mapping[str, Any]) -> str:
    return (
        f"{document['probe_count']} probe(s), {document['ablation_count']} ablation(s), "
        f"tumor {100 * document['tumor_coverage_fraction']:.1f} % and target "
        f"{100 * document['target_coverage_fraction']:.1f} % covered, "
        f"predicted MAM {in_mm(document['predicted_mam_mm'])}"
    )


def _bounds_in_words(document: Mapping[str, Any]) -> list[str]:
    if document["lower_bound_punctures"] is None:
        return []
    return [
        f"at least {document['lower_bound_punctures']} puncture(s), {document['lower_bound_parallel_punctures']} of "
        f"parallel probes, and {document['lower_bound_ablations']} ablation(s) are needed with this device"
    ]


def _robustness_in_words(document: Mapping[str, Any]) -> list[str]:
    found = document["robustness"]
    if found is None:
        return []
    words = {"tumor_covered": "tumor covered", "margin_asked": f"margin of {document['margin_mm']:g} mm reached"}
    parts = [
        f"{text} in {100 * row['fraction']:.0f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f})"
        for name, text in words.items()
        for row in [found["chances"].get(name)]
        if row is not None
    ]
    return [f"of {found['draws']} draws: {', '.join(parts)}; probe {found['most_sensitive_probe'] + 1} matters most"]


def _locked(text: str) -> tuple[Path, tuple[int, ...]]:
    """PLAN.json, or PLAN.json:1,3 for some of its probes."""
    path, colon, numbers = text.rpartition(":")
    words = numbers.split(",")
    if not (colon and path and all(word.isdecimal() for word in words)):
        return Path(text), ()
    return Path(path), tuple(int(word) for word in words)


def _probes_of(path: Path, numbers: Sequence[int]) -> list[Probe]:
    """The probes of a plan, or those of some numbers from 1, each with its device."""
    probes, device = plan_of(path)
    for number in numbers:
        if not 1 <= number <= len(probes):
            raise InputError(f"--lock: {path} has probes 1 to {len(probes)}, none of number {number}")
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--lock: a probe of {path} is named twice")
    chosen = [probes[number - 1] for number in numbers] if numbers else probes
    return [replace(probe, device=probe.device or device) for probe in chosen]
