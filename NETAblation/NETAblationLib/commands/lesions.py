"""All lesions of a liver: measures, and the picture they make."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .command_line import (
    SCENE_SUFFIXES,
    add_command,
    as_notes,
    file_and_label,
    mask_of,
    named_mask,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)

if TYPE_CHECKING:
    import SimpleITK as sitk


def add_lesions(commands: Any) -> None:
    """Arguments of `lesions`."""
    parser = add_command(
        commands, "lesions", run_lesions, "Measure all lesions of a liver: sizes, distances, burden, class and growth."
    )
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="+",
        metavar="CASE|MASK",
        help="a saved case (.mrb, .mrml), or masks of lesions; a file of several labels has one lesion per label",
    )
    parser.add_argument("--liver", type=Path, metavar="MASK", help="the liver; needed unless CASE has it")
    named: dict[str, Any] = {"type": named_mask, "nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--phase", **named, metavar="NAME=CT", help="CT of a phase; 'native' is without contrast")
    parser.add_argument(
        "--structure", **named, metavar="NAME=MASK", help="portal_triad, gallbladder, inferior_vena_cava or any other"
    )
    parser.add_argument("--vessels", type=Path, metavar="MASK", help="from `vessels`, for the nearest of 3 mm and more")
    parser.add_argument("--lobes", type=Path, metavar="MASK", help="labels 1 right, 2 left, 3 caudate lobe")
    parser.add_argument("--previous", type=Path, nargs="+", metavar="MASK", help="lesions of an earlier date")
    parser.add_argument(
        "--previous-transform",
        type=Path,
        metavar="TRANSFORM.h5",
        help="from `fuse` with the present image as FIXED and the earlier one as MOVING",
    )
    parser.add_argument("--days", type=positive, metavar="N", help="days between both dates")
    parser.add_argument("--ki67", type=float, metavar="PERCENT", help="Ki-67 index, for the grade")
    parser.add_argument("--mitoses", type=float, metavar="N", help="mitoses per 2 mm2, for the grade")
    parser.add_argument("--differentiation", choices=("well", "poor"), help="parts NET G3 from NEC")
    parser.add_argument(
        "--syndrome", nargs="+", action="extend", default=[], metavar="NAME", help="functional syndromes that are known"
    )
    parser.add_argument(
        "--debulk", type=_fraction, nargs="+", metavar="FRACTION", help="shares of the tumor to ablate, such as 0.7 0.9"
    )
    parser.add_argument(
        "--debulk-cost", choices=("probes", "liver"), default="probes", help="what is kept least (default probes)"
    )
    for option, form, text in (
        ("--probes", "NAME=N", "probes of a lesion's plan (otherwise those planned in CASE, or estimated)"),
        ("--not-ablatable", "NAME=REASON", "a lesion to leave out, and why"),
    ):
        parser.add_argument(
            option, type=_name_and_text, nargs="+", action="extend", default=[], metavar=form, help=text
        )
    parser.add_argument("--device", metavar="ID", help="device of the catalogue for the estimate (default: its first)")
    parser.add_argument("--margin-mm", type=positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers for machines, - for standard output")


def run_lesions(options: argparse.Namespace) -> None:
    """Measures of all lesions, and the picture they make."""
    from ..core.fusion import read_transform
    from ..core.fusion_inputs import is_ct
    from ..core.images import read_image
    from ..core.lesion_matching import match_lesions
    from ..core.lesion_measures import measure_lesions
    from ..core.lesion_report import DebulkingSettings, document_of, lobes_of, plan_goals, summary_of
    from ..core.net import net_picture, syndrome_checklist, who_grade
    from ..core.vessels import centerlines_of_mask

    start = time.perf_counter()
    phase_files, structure_files = _once(options.phase, "--phase"), _once(options.structure, "--structure")
    inputs = [
        *options.inputs,
        options.liver,
        options.vessels,
        options.lobes,
        *phase_files.values(),
        *structure_files.values(),
    ]
    inputs += [*(options.previous or ()), options.previous_transform]
    require_places(inputs, (options.json, ()))
    if options.previous_transform is not None and options.previous is None:
        raise InputError("--previous-transform is for --previous, which is not given")
    if options.days is not None and options.previous is None:
        raise InputError("--days is for --previous, which is not given")
    has_grade = options.ki67 is not None or options.mitoses is not None
    if options.differentiation is not None and not has_grade:
        raise InputError("--differentiation is for the grade, which needs --ki67 or --mitoses")
    grade = who_grade(options.ki67, options.mitoses, options.differentiation) if has_grade else None
    syndromes = syndrome_checklist(options.syndrome)
    with progress_bar("lesions", options) as progress:
        progress(0.0, "reading")
        lesions, liver, structures, phases, planned, notes = _lesions_to_measure(options.inputs)
        settings = DebulkingSettings.of(
            lesions,
            cost=options.debulk_cost,
            probes=planned | _once(options.probes, "--probes"),
            not_ablatable=_once(options.not_ablatable, "--not-ablatable"),
            device_id=options.device,
        )
        liver = liver if options.liver is None else mask_of(options.liver)
        if liver is None:
            raise InputError("the liver is not known: give its mask with --liver")
        earlier = None if options.previous is None else _lesions_of_files(options.previous)
        transform = None if options.previous_transform is None else read_transform(options.previous_transform)
        phases |= {name: read_image(path) for name, path in phase_files.items()}
        structures |= {_structure_name(name): mask_of(path) for name, path in structure_files.items()}
        ct = next((image for image in phases.values() if is_ct(image)), None)
        lobes, lobes_reason = lobes_of(None if options.lobes is None else _labels(options.lobes), structures, ct)
        measured = measure_lesions(
            lesions,
            liver,
            phases=phases,
            structures=structures,
            vessels=None if options.vessels is None else centerlines_of_mask(_labels(options.vessels)),
            lobes=lobes,
            margin_mm=options.margin_mm,
            progress=progress,
        )
        goals, reachable = plan_goals(measured, options.debulk or (), settings)
        matches = None
        if earlier is not None:
            matches = match_lesions(earlier, measured.masks, present_to_earlier=transform, days=options.days)
    picture = net_picture(measured, reachable_fraction=reachable, lobes_reason=lobes_reason)
    document = document_of(measured, picture, grade, syndromes, goals, matches, notes)
    write_document({**document, "seconds": time.perf_counter() - start}, options.json)
    if not options.quiet:
        say(*summary_of(measured, picture, grade, goals, matches), *as_notes(document["notes"]))


def _lesions_to_measure(inputs: Sequence[Path]) -> tuple[Any, Any, Any, Any, Any, list[str]]:
    """Lesions, liver, structures, phases and probes planned, as far as the inputs have them, and notes for the user."""
    if not any(path.name.lower().endswith(SCENE_SUFFIXES) for path in inputs):
        return _lesions_of_files(inputs), None, {}, {}, {}, []
    if len(inputs) > 1:
        raise InputError("give either one saved case or masks, not both")
    from ..core.fusion_inputs import is_ct
    from ..scene.case_files import read_case_masks

    case = read_case_masks(inputs[0])
    if not case.lesions:
        raise InputError(f"{inputs[0]}: the case has no lesion")
    phases = {name: image for name, image in case.phases.items() if is_ct(image)}
    left = sorted(set(case.phases) - set(phases))
    notes = [f"enhancement is not measured in '{name}', which is no CT in HU" for name in left]
    return dict(case.lesions), case.liver, dict(case.structures), phases, dict(case.probes), notes


def _lesions_of_files(paths: Sequence[Path]) -> dict[str, sitk.Image]:
    """Lesions by number; no file name gets into a result, since it often carries a patient's."""
    from ..core.lesion_measures import split_labels

    lesions = {}
    for number, path in enumerate(paths, start=1):
        found = split_labels(_labels(path), str(path))
        for label, mask in found.items():
            if len(paths) == 1:
                name = f"lesion-{label}"
            else:
                name = f"lesion-{number}" if len(found) == 1 else f"lesion-{number}.{label}"
            lesions[name] = mask
    return lesions


def _labels(path: Path) -> sitk.Image:
    """Read all labels of FILE, or the label N alone of FILE:N."""
    from ..core.images import read_labels

    file, label = file_and_label(path)
    return read_labels(file) if label is None else mask_of(path) * label


def _structure_name(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _once(pairs: Sequence[tuple[str, Any]], option: str) -> dict[str, Any]:
    """Named values as a mapping; refuses a name that stands twice."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise InputError(f"{option}: a name is given twice; each needs a name of its own")
    return named


def _name_and_text(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest.strip()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, rest.strip()


def _fraction(text: str) -> float:
    value = positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a fraction above 0 and at most 1")
    return value
