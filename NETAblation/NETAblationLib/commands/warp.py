"""Images, masks, surfaces and points of the moving frame in the fixed one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .command_line import add_command, mask_of, progress_bar, require_places, say


def add_warp(commands: Any) -> None:
    """Arguments of `warp`."""
    parser = add_command(
        commands, "warp", run_warp, "Bring an image, mask, surface or points through a transform of `fuse`."
    )
    parser.add_argument(
        "moving", type=Path, metavar="MOVING", help="an image or mask; a surface (.vtp); points (.csv, .mrk.json)"
    )
    parser.add_argument("--series", metavar="ID", help="DICOM series of MOVING: number, UID or description")
    parser.add_argument(
        "--transform", type=Path, required=True, metavar="TRANSFORM.h5", help="from `fuse FIXED MOVING`"
    )
    parser.add_argument("--onto", type=Path, metavar="FIXED", help="the grid to bring an image or a mask onto")
    parser.add_argument(
        "--modality", choices=("CT", "MR", "PET", "mask"), default="CT", help="what an image is (default CT)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="MOVING in the frame of FIXED")


def run_warp(options: argparse.Namespace) -> None:
    """Something of the moving frame in the fixed one."""
    from ..core.images import WRITTEN_SUFFIXES, read_image, write_image
    from ..core.resampling import resample_image, resample_mask
    from ..core.transform_files import read_transform
    from ..core.warping import POINT_SUFFIXES, SURFACE_SUFFIXES, warp_points_file, warp_surface_file

    name = options.moving.name.lower()
    is_surface, is_points = name.endswith(SURFACE_SUFFIXES), name.endswith(POINT_SUFFIXES)
    is_image = not (is_surface or is_points)
    suffixes = WRITTEN_SUFFIXES if is_image else SURFACE_SUFFIXES if is_surface else POINT_SUFFIXES
    require_places([options.moving, options.onto, options.transform], (options.out, suffixes))
    if is_image and options.onto is None:
        raise InputError("--onto: an image or a mask needs the image whose grid it is brought onto")
    with progress_bar("warp", options) as progress:
        progress(0.0, "reading")
        transform = read_transform(options.transform)
        if is_surface:
            what = f"surface of {warp_surface_file(options.moving, transform, options.out)} points"
        elif is_points:
            what = f"{warp_points_file(options.moving, transform, options.out)} point(s)"
        else:
            what = options.modality
            fixed = read_image(options.onto)
            if options.modality == "mask":
                result = resample_mask(mask_of(options.moving), fixed, transform, name=str(options.moving))
            else:
                moving = read_image(options.moving, series=options.series)
                result = resample_image(moving, fixed, transform, modality=options.modality)
            write_image(result, options.out)
    if not options.quiet:
        say(f"{what} in the fixed frame -> {options.out}")
