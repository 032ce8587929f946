"""What a way to a tumor is planned on, for all commands that do so: CT, masks, obstacles, lobes and the device."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.access_rules import LIMITS
from ..core.errors import InputError
from .command_line import by_name, mask_of, named_mask, positive

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..core.devices import Device
    from ..core.lobes import Lobes
    from ..core.surveys import Scan


@dataclass(frozen=True)
class PlanningInputs:
    """What was read: the CT with liver and obstacles, the tumor, and what is to be said about the obstacles."""

    scan: Scan
    tumor: sitk.Image
    notes: tuple[str, ...]


def add_planning_inputs(parser: argparse.ArgumentParser) -> None:
    """The options for all of that."""
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
    parser.add_argument(
        "--least-liver-mm",
        type=positive,
        default=LIMITS["least_liver"].number,
        metavar="MM",
        help=f"liver that a probe crosses before the tumor (default {LIMITS['least_liver'].number:g})",
    )
    parser.add_argument("--device", metavar="ID", help="device of the catalogue (default: its first)")
    add_device_files(parser)


def add_device_files(parser: argparse.ArgumentParser) -> None:
    """The option for devices of the user's own, for each command that uses the catalogue."""
    parser.add_argument(
        "--device-file",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="devices of your own, as JSON (device.schema.json says how)",
    )


def input_files(options: argparse.Namespace) -> list[Path | None]:
    """All files that the options name; raises InputError, before any is read, where they do not fit each other."""
    named = [*by_name(options.obstacle, "--obstacle").values(), *by_name(options.no_go, "--no-go").values()]
    if options.structure_names is not None and options.structures is None:
        raise InputError("--structure-names: names the labels of --structures, which is missing")
    others = [options.structures, options.structure_names, options.lobes, *options.device_file]
    return [options.image, options.tumor, options.liver, *named, *others]


def device_of(options: argparse.Namespace) -> Device:
    """The device asked for, or the first one; raises DeviceError for one that the catalogue does not have."""
    from ..core.devices import load_catalogue

    catalogue = load_catalogue(options.device_file)
    return device_named(catalogue, next(iter(catalogue)) if options.device is None else options.device)


def device_named(catalogue: Mapping[str, Device], name: str) -> Device:
    """A device of the catalogue; raises DeviceError where it is not in it."""
    from ..core.errors import DeviceError

    if name not in catalogue:
        raise DeviceError(f"device '{name}' is not in the catalogue: choose one of {', '.join(catalogue)}")
    return catalogue[name]


def read_inputs(options: argparse.Namespace) -> PlanningInputs:
    """Read all of it; raises InputError for an obstacle that is given twice."""
    from ..core.images import read_image
    from ..core.surveys import Scan

    image = read_image(options.image, series=options.series)
    tumor, liver = mask_of(options.tumor), mask_of(options.liver)
    no_go = {name: mask_of(path) for name, path in options.no_go}
    obstacles, notes = _with_structures(options, {name: mask_of(path) for name, path in options.obstacle}, image)
    scan = Scan(image, liver, obstacles, no_go, _lobes(options.lobes, obstacles, image), options.least_liver_mm)
    return PlanningInputs(scan, tumor, tuple(notes))


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


def _lobes(path: Path | None, obstacles: dict[str, sitk.Image], image: sitk.Image) -> Lobes | None:
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
        return Lobes.of_landmarks(landmarks[0], landmarks[1], image)
    except GeometryError:
        return None
