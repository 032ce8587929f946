"""Probes for one tumor."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .command_line import (
    SCENE_SUFFIXES,
    add_command,
    as_notes,
    in_mm,
    mask_of,
    named_mask,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)


def add_plan(commands: Any) -> None:
    """Arguments of `plan`."""
    parser = add_command(commands, "plan", run_plan, "Place probes until tumor and margin are covered.")
    parser.add_argument("--image", type=Path, required=True, metavar="CT", help="the planning CT, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--tumor", type=Path, required=True, metavar="MASK")
    parser.add_argument("--liver", type=Path, required=True, metavar="MASK")
    parser.add_argument(
        "--obstacle",
        type=named_mask,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=MASK",
        help="what no probe may cross",
    )
    parser.add_argument(
        "--structures",
        type=Path,
        metavar="FILE",
        help="a segmentation (.seg.nrrd, or labels with names): every obstacle in it is taken",
    )
    parser.add_argument(
        "--structure-names", type=Path, metavar="NAMES", help="JSON or CSV: what the labels of --structures are called"
    )
    parser.add_argument("--device", metavar="ID", help="device of the catalogue (default: its first)")
    parser.add_argument("--margin-mm", type=positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument("--out", type=Path, required=True, metavar="PLAN.json")
    parser.add_argument("--scene", type=Path, metavar="CASE.mrb", help="also a scene for 3D Slicer")


def run_plan(options: argparse.Namespace) -> None:
    """Probes for a tumor."""
    from ..core.devices import load_catalogue
    from ..core.errors import DeviceError
    from ..core.images import read_image
    from ..core.planning import plan_probes
    from ..core.segmentation_files import find_structures, read_segmentation

    obstacle_files = dict(options.obstacle)
    if len(obstacle_files) < len(options.obstacle):
        raise InputError("--obstacle: a name is given twice; every obstacle needs a name of its own")
    inputs = [options.image, options.tumor, options.liver, *obstacle_files.values()]
    inputs += [options.structures, options.structure_names]
    if options.structure_names is not None and options.structures is None:
        raise InputError("--structure-names: names the labels of --structures, which is missing")
    require_places(inputs, (options.out, ()), (options.scene, SCENE_SUFFIXES))
    catalogue = load_catalogue()
    device_id = next(iter(catalogue)) if options.device is None else options.device
    if device_id not in catalogue:
        raise DeviceError(f"device '{device_id}' is not in the catalogue: choose one of {', '.join(catalogue)}")
    with progress_bar("plan", options) as progress:
        image = read_image(options.image, series=options.series)
        tumor, liver = mask_of(options.tumor), mask_of(options.liver)
        obstacles = {name: mask_of(path) for name, path in obstacle_files.items()}
        notes: list[str] = []
        if options.structures is not None:
            found = find_structures(read_segmentation(options.structures, options.structure_names), image)
            for name in found.masks.keys() & obstacles.keys():
                raise InputError(f"obstacle '{name}' is given twice: by --obstacle and in {options.structures}")
            obstacles |= found.masks
            notes += [f"obstacles of {options.structures.name}: {', '.join(found.masks) or 'none'}", *found.notes]
        plan = plan_probes(
            image,
            tumor,
            liver,
            obstacles=obstacles,
            device=catalogue[device_id],
            margin_mm=options.margin_mm,
            progress=progress,
        )
    document = plan.to_dict()
    write_document(document, options.out)
    if options.scene is not None:
        from ..scene.cases import save_plan_scene

        save_plan_scene(options.scene, image=image, tumor=tumor, liver=liver, plan=plan)
    if not options.quiet:
        say(
            f"{document['probe_count']} probe(s), tumor {100 * document['tumor_coverage_fraction']:.1f} % and target "
            f"{100 * document['target_coverage_fraction']:.1f} % covered, predicted MAM "
            f"{in_mm(document['predicted_mam_mm'])} -> {options.out}",
            *as_notes(document.get("limitations", ())),
            *as_notes(notes),
        )
