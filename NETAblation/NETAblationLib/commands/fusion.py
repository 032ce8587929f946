"""The image after ablation registered to the one before."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command_line import (
    add_command,
    as_notes,
    mask_of,
    mask_or_none,
    progress_bar,
    require_places,
    say,
    write_document,
)


def add_fuse(commands: Any) -> None:
    """Arguments of `fuse`."""
    parser = add_command(commands, "fuse", run_fuse, "Register the image after ablation to the one before.")
    parser.add_argument("fixed", type=Path, metavar="FIXED", help="the image before, or a DICOM folder")
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the image after, or a DICOM folder")
    parser.add_argument("--fixed-liver", type=Path, metavar="MASK")
    parser.add_argument("--moving-liver", type=Path, metavar="MASK")
    parser.add_argument("--fixed-vessels", type=Path, metavar="MASK", help="vessels before, to check the fusion by")
    parser.add_argument("--moving-vessels", type=Path, metavar="MASK", help="the same after; both are needed")
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="MASK",
        help="what must not drive the registration: tumor, zone, gas, needles",
    )
    parser.add_argument("--preset", choices=("fast", "standard", "fine"), default="standard", help="default: standard")
    parser.add_argument(
        "--landmarks",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="places that correspond: a CSV of fixed_r_mm ... moving_s_mm, or markups of 3D Slicer (two .mrk.json "
        "files, fixed and moving, or one with two lists)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="TRANSFORM.h5", help="maps fixed to moving points, as ITK does"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="quality for machines, - for standard output")


def run_fuse(options: argparse.Namespace) -> None:
    """Registration of two images."""
    from ..core.fusion import fuse, write_transform
    from ..core.images import read_image
    from ..core.landmark_files import read_landmarks
    from ..core.transform_files import SUFFIXES

    inputs = [
        options.fixed,
        options.moving,
        options.fixed_liver,
        options.moving_liver,
        options.fixed_vessels,
        options.moving_vessels,
        *options.exclude,
        *options.landmarks,
    ]
    require_places(inputs, (options.out, SUFFIXES), (options.json, ()))
    landmarks = read_landmarks(options.landmarks) if options.landmarks else []
    with progress_bar("fuse", options) as progress:
        fixed, moving = read_image(options.fixed), read_image(options.moving)
        result = fuse(
            fixed,
            moving,
            fixed_liver=mask_or_none(options.fixed_liver),
            moving_liver=mask_or_none(options.moving_liver),
            exclude=[mask_of(path) for path in options.exclude],
            landmarks=landmarks,
            fixed_vessels=mask_or_none(options.fixed_vessels),
            moving_vessels=mask_or_none(options.moving_vessels),
            preset=options.preset,
            progress=progress,
        )
        write_transform(result.transform, options.out)
    document = result.to_dict()
    write_document(document, options.json)
    if not options.quiet:
        say(
            f"fused in {document['seconds']:.0f} s -> {options.out}: {document['verdict']}",
            f"error about {document['estimated_error_mm']:.1f} mm, below {document['error_bound_90_mm']:.1f} mm with a "
            "probability of 90 % (mean in the "
            f"{document['region']})",
            *as_notes(document.get("warnings", ())),
        )
