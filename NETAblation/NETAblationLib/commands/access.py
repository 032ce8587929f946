"""Ways from the skin to a tumor."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .command_line import (
    SCENE_SUFFIXES,
    add_command,
    as_notes,
    mask_of,
    named_mask,
    point,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..core.lobes import Lobes

#: The best entries that are listed unless asked otherwise. User-set.
_TOP = 5


def add_access(commands: Any) -> None:
    """Arguments of `access`."""
    parser = add_command(
        commands, "access", run_access, "Rate the whole skin as the entry to a tumor: which straight ways are free."
    )
    parser.add_argument("--image", type=Path, required=True, metavar="CT", help="the planning CT, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--tumor", type=Path, required=True, metavar="MASK")
    parser.add_argument("--liver", type=Path, required=True, metavar="MASK")
    for name, text in (
        ("--obstacle", "what no probe may cross"),
        ("--no-go", "area of the skin where no probe may enter"),
    ):
        parser.add_argument(
            name, type=named_mask, nargs="+", action="extend", default=[], metavar="NAME=MASK", help=text
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
    parser.add_argument(
        "--lobes", type=Path, metavar="MASK", help="lobes (1 right, 2 left, 3 caudate), to tell which ways cross them"
    )
    parser.add_argument("--device", metavar="ID", help="device of the catalogue (default: its first)")
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
    from ..core.devices import load_catalogue
    from ..core.entries import rate_entries
    from ..core.errors import DeviceError
    from ..core.images import image_hash, read_image
    from ..core.placement import DEFAULT_SHAFT_MM

    obstacle_files, no_go_files = _by_name(options.obstacle, "--obstacle"), _by_name(options.no_go, "--no-go")
    inputs = [options.image, options.tumor, options.liver, *obstacle_files.values(), *no_go_files.values()]
    inputs += [options.structures, options.structure_names, options.lobes]
    if options.structure_names is not None and options.structures is None:
        raise InputError("--structure-names: names the labels of --structures, which is missing")
    require_places(inputs, (options.out, ()), (options.surface, (".vtp",)), (options.scene, SCENE_SUFFIXES))
    catalogue = load_catalogue()
    device_id = next(iter(catalogue)) if options.device is None else options.device
    if device_id not in catalogue:
        raise DeviceError(f"device '{device_id}' is not in the catalogue: choose one of {', '.join(catalogue)}")
    shaft_mm = catalogue[device_id].shaft_length_mm
    longest_mm = shaft_mm or DEFAULT_SHAFT_MM
    with progress_bar("access", options) as progress:
        image = read_image(options.image, series=options.series)
        tumor, liver = mask_of(options.tumor), mask_of(options.liver)
        no_go = {name: mask_of(path) for name, path in no_go_files.items()}
        given = {name: mask_of(path) for name, path in obstacle_files.items()}
        obstacles, notes = _with_structures(options, given, image)
        progress(0.2, "body, skin, obstacles")
        start = time.perf_counter()
        surroundings = access.survey(
            image, liver, tumor, obstacles, no_go=no_go, lobes=_lobes(options.lobes, obstacles), reach_mm=longest_mm
        )
        surveyed = time.perf_counter()
        progress(0.9, "rating the skin")
        rating = rate_entries(surroundings, options.target, longest_mm=longest_mm, beyond_mm=options.beyond_mm or 0.0)
        rated = time.perf_counter()
    masks = {"image": image, "tumor": tumor, "liver": liver, **obstacles, **no_go}
    document = {
        "schema_version": 1,
        "device": device_id,
        **rating.to_dict(options.top),
        "survey_seconds": surveyed - start,
        "rating_seconds": rated - surveyed,
        "input_hashes": {name: image_hash(mask) for name, mask in masks.items()},
        "notes": notes,
    }
    write_document(document, options.out)
    if options.surface is not None:
        rating.save_surface(options.surface)
    if options.scene is not None:
        from ..scene.skin_entries import save_access_scene

        save_access_scene(
            options.scene,
            image=image,
            tumor=tumor,
            liver=liver,
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
            *as_notes(notes),
        )
        if shaft_mm is None:
            say(*as_notes([f"the catalogue does not know the shaft of {device_id}: {longest_mm:g} mm are assumed"]))


def _by_name(pairs: list[tuple[str, Path]], option: str) -> dict[str, Path]:
    files = dict(pairs)
    if len(files) < len(pairs):
        raise InputError(f"{option}: a name is given twice; each needs a name of its own")
    return files


def _with_structures(
    options: argparse.Namespace, obstacles: dict[str, sitk.Image], image: sitk.Image
) -> tuple[dict[str, sitk.Image], list[str]]:
    """The obstacles with those of the segmentation, and what is to be said about it."""
    from ..core.segmentation_files import find_structures, read_segmentation

    if options.structures is None:
        return obstacles, []
    found = find_structures(read_segmentation(options.structures, options.structure_names), image)
    for name in found.masks.keys() & obstacles.keys():
        raise InputError(f"obstacle '{name}' is given twice: by --obstacle and in {options.structures}")
    notes = [f"obstacles of {options.structures.name}: {', '.join(found.masks) or 'none'}", *found.notes]
    return {**obstacles, **found.masks}, notes


def _lobes(path: Path | None, obstacles: dict[str, sitk.Image]) -> Lobes | None:
    """The lobes of a mask, or those that gallbladder and inferior vena cava among the obstacles tell."""
    from ..core.errors import GeometryError
    from ..core.images import read_labels
    from ..core.lobes import Lobes

    if path is not None:
        return Lobes.of_mask(read_labels(path))
    landmarks = [obstacles.get(name) for name in ("gallbladder", "inferior vena cava")]
    if landmarks[0] is None or landmarks[1] is None:
        return None
    try:
        return Lobes.of_landmarks(landmarks[0], landmarks[1])
    except GeometryError:
        return None


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value
