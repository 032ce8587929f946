"""The liver and its vessels."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from .command_line import (
    add_command,
    as_notes,
    mask_of,
    point,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)


def add_liver(commands: Any) -> None:
    """Arguments of `liver`."""
    parser = add_command(
        commands, "liver", run_liver, "Segment the liver in a CT of any phase, without a click or from a few."
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the CT, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument(
        "--seed",
        type=point,
        nargs="+",
        action="extend",
        default=[],
        metavar="R,A,S",
        help="up to 3 points in the liver",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="MASK", help="the liver, on the image's grid")
    parser.add_argument("--json", type=Path, metavar="FILE", help="measures for machines, - for standard output")


def run_liver(options: argparse.Namespace) -> None:
    """Liver of a CT."""
    from ..core.images import WRITTEN_SUFFIXES, read_image, write_image
    from ..core.liver import segment_liver

    require_places([options.image], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    start = time.perf_counter()
    with progress_bar("liver", options) as progress:
        image = read_image(options.image, series=options.series)
        result = segment_liver(image, seeds_ras_mm=options.seed, progress=progress)
        write_image(result.mask, options.out)
    write_document({**result.to_dict(), "seconds": time.perf_counter() - start}, options.json)
    if not options.quiet:
        say(f"liver of {result.volume_ml:.0f} ml -> {options.out}", *as_notes(result.warnings))


def add_vessels(commands: Any) -> None:
    """Arguments of `vessels`."""
    parser = add_command(
        commands,
        "vessels",
        run_vessels,
        "Segment a liver's vessels: portal 1, hepatic 2, unknown 4.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="CT or MR with contrast, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--liver", type=Path, required=True, metavar="MASK", help="the liver, on the image's grid")
    parser.add_argument("--portal", type=point, metavar="R,A,S", help="a point in the portal vein's trunk")
    parser.add_argument("--hepatic", type=point, metavar="R,A,S", help="a point where the hepatic veins meet")
    parser.add_argument("--min-diameter-mm", type=positive, default=3.0, metavar="MM", help="thinnest (default 3)")
    parser.add_argument("--out", type=Path, required=True, metavar="MASK", help="the vessels, on the image's grid")
    parser.add_argument("--json", type=Path, metavar="FILE", help="centerlines and radii, - for standard output")


def run_vessels(options: argparse.Namespace) -> None:
    """Vessels of a liver."""
    from ..core.images import WRITTEN_SUFFIXES, read_image, write_image
    from ..core.vessels import segment_vessels

    require_places([options.image, options.liver], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    start = time.perf_counter()
    with progress_bar("vessels", options) as progress:
        result = segment_vessels(
            read_image(options.image, series=options.series),
            mask_of(options.liver),
            portal_ras_mm=options.portal,
            hepatic_ras_mm=options.hepatic,
            least_diameter_mm=options.min_diameter_mm,
            progress=progress,
        )
        write_image(result.mask, options.out)
    write_document({**result.to_dict(), "seconds": time.perf_counter() - start}, options.json)
    if not options.quiet:
        lengths = [f"{name} {length:.0f} mm" for name, length in result.length_mm.items() if length]
        say(f"vessels: {', '.join(lengths)} -> {options.out}", *as_notes(result.warnings))
