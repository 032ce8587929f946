"""One lesion or ablation zone from its diameter line."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .command_line import add_command, as_notes, mask_or_none, point, progress_bar, require_places, say, write_document


def add_segment(commands: Any) -> None:
    """Arguments of `segment`."""
    parser = add_command(
        commands, "segment", run_segment, "Segment a lesion or an ablation zone from its diameter line."
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the image, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument(
        "--line",
        type=point,
        nargs=2,
        action="append",
        required=True,
        metavar="R,A,S",
        help="the ends of the longest in-plane diameter; given again, of a diameter in another plane",
    )
    for sign, place in (("--plus", "inside"), ("--minus", "outside")):
        parser.add_argument(
            sign,
            type=point,
            nargs="+",
            action="extend",
            default=[],
            metavar="R,A,S",
            help=f"points of a correcting stroke {place}",
        )
    parser.add_argument("--kind", choices=("lesion", "zone"), default="lesion", help="what the line measures")
    parser.add_argument("--liver", type=Path, metavar="MASK", help="the liver, which the lesion does not leave")
    parser.add_argument("--out", type=Path, required=True, metavar="MASK", help="the segmentation, on the image's grid")
    parser.add_argument("--json", type=Path, metavar="FILE", help="measures for machines, - for standard output")


def run_segment(options: argparse.Namespace) -> None:
    """Lesion or zone from a line."""
    from ..core.images import WRITTEN_SUFFIXES, read_image, write_image
    from ..core.lesions import segment_lesion

    require_places([options.image, options.liver], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    if len(options.line) > 2:
        raise InputError(f"--line: given {len(options.line)} times; one diameter is needed, and one more is of use")
    start = time.perf_counter()
    with progress_bar("segment", options) as progress:
        result = segment_lesion(
            read_image(options.image, series=options.series),
            options.line[0],
            kind=options.kind,
            second_line_ras_mm=options.line[1] if len(options.line) > 1 else None,
            plus_ras_mm=options.plus,
            minus_ras_mm=options.minus,
            liver=mask_or_none(options.liver),
            progress=progress,
        )
        write_image(result.mask, options.out)
    document = {**result.to_dict(), "seconds": time.perf_counter() - start}
    write_document(document, options.json)
    if not options.quiet:
        say(f"{options.kind} of {result.volume_ml:.2f} ml -> {options.out}", *as_notes(result.warnings))
