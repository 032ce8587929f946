"""Ways from the skin to a tumor."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from .command_line import (
    SCENE_SUFFIXES,
    add_command,
    as_notes,
    point,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)
from .planning_inputs import add_planning_inputs, device_of, input_files, read_inputs

#: The best entries that are listed unless asked otherwise. User-set.
_TOP = 5


def add_access(commands: Any) -> None:
    """Arguments of `access`."""
    parser = add_command(
        commands, "access", run_access, "Rate the whole skin as the entry to a tumor: which straight ways are free."
    )
    add_planning_inputs(parser)
    parser.add_argument("--target", type=point, metavar="R,A,S", help="where to (default: the tumor's center)")
    parser.add_argument(
        "--beyond-mm", type=positive, metavar="MM", help="how far the tip ends behind the target (default 0)"
    )
    parser.add_argument("--top", type=_count, default=_TOP, metavar="N", help=f"entries listed (default {_TOP})")
    parser.add_argument("--out", type=Path, required=True, metavar="ACCESS.json")
    parser.add_argument("--surface", type=Path, metavar="SKIN.vtp", help="the skin, colored by how good an entry it is")
    parser.add_argument("--scene", type=Path, metavar="CASE.mrb", help="also a scene for 3D Slicer")


def run_access(options: argparse.Namespace) -> None:
    """Entries for a tumor."""
    import numpy as np

    from ..core import access
    from ..core.entries import rate_entries
    from ..core.images import image_hash
    from ..core.placement import DEFAULT_SHAFT_MM

    require_places(
        input_files(options), (options.out, ()), (options.surface, (".vtp",)), (options.scene, SCENE_SUFFIXES)
    )
    device = device_of(options)
    shaft_mm = device.shaft_length_mm
    longest_mm = shaft_mm or DEFAULT_SHAFT_MM
    with progress_bar("access", options) as progress:
        given = read_inputs(options)
        scan, tumor = given.scan, given.tumor
        progress(0.2, "body, skin, obstacles")
        start = time.perf_counter()
        surroundings = access.survey(
            scan.image,
            scan.liver,
            tumor,
            scan.obstacles,
            no_go=scan.no_go,
            lobes=scan.lobes,
            least_liver_mm=scan.least_liver_mm,
            reach_mm=longest_mm,
        )
        surveyed = time.perf_counter()
        progress(0.9, "rating the skin")
        rating = rate_entries(surroundings, options.target, longest_mm=longest_mm, beyond_mm=options.beyond_mm or 0.0)
        rated = time.perf_counter()
    masks = {"image": scan.image, "tumor": tumor, "liver": scan.liver, **scan.obstacles, **scan.no_go}
    document = {
        "schema_version": 1,
        "device": device.id,
        **rating.to_dict(options.top),
        "survey_seconds": surveyed - start,
        "rating_seconds": rated - surveyed,
        "input_hashes": {name: image_hash(mask) for name, mask in masks.items()},
        "notes": list(given.notes),
    }
    write_document(document, options.out)
    if options.surface is not None:
        rating.save_surface(options.surface)
    if options.scene is not None:
        from ..scene.skin_entries import save_access_scene

        save_access_scene(
            options.scene,
            image=scan.image,
            tumor=tumor,
            liver=scan.liver,
            rating=rating,
            entries=rating.best(options.top),
            document=document,
        )
    if not rating.is_free.any():
        raise access.explain_blocked(surroundings, np.array(rating.target_ras_mm), longest_mm)
    if not options.quiet:
        best = document["entries"][0]
        say(
            f"{document['free_points']} of {document['skin_points']} points of the skin are free; the best entry "
            f"scores {best['score']:.2f}, {best['length_mm']:.0f} mm to the tip -> {options.out}",
            *as_notes(given.notes),
        )
        if shaft_mm is None:
            say(*as_notes([f"the catalogue does not know the shaft of {device.id}: {longest_mm:g} mm are assumed"]))


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value
