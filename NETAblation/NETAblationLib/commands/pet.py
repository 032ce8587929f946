"""PET: uptake values, lesions, and any image in the planning CT's frame."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .command_line import (
    add_command,
    as_notes,
    mask_of,
    mask_or_none,
    positive,
    progress_bar,
    require_places,
    say,
    write_document,
)


def add_suv(commands: Any) -> None:
    """Arguments of `suv`."""
    parser = add_command(commands, "suv", run_suv, "Turn a PET into standardized uptake values (SUV).")
    parser.add_argument("folder", type=Path, metavar="DICOM_DIR", help="the PET's DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument(
        "--kind",
        choices=("bw", "lbm", "lbmjanma", "bsa"),
        default="bw",
        help="by body weight (default), lean body mass (James; Janmahasatian) or body surface",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="IMAGE", help="the PET in SUV")
    parser.add_argument("--json", type=Path, metavar="FILE", help="factors for machines, - for standard output")


def run_suv(options: argparse.Namespace) -> None:
    """SUV of a PET."""
    from ..core.images import WRITTEN_SUFFIXES, write_image
    from ..core.suv import read_suv

    require_places([options.folder], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    with progress_bar("suv", options) as progress:
        result = read_suv(options.folder, kind=options.kind, series=options.series, progress=progress)
        write_image(result.image, options.out)
    document = result.to_dict()
    write_document(document, options.json)
    if not options.quiet:
        say(
            f"SUV ({options.kind}) up to {document['suv_max']:.1f}, {document[f'suv_{options.kind}_factor']:.6g} per "
            f"{document['units']} ({document['source']}) -> {options.out}",
            *as_notes(document["warnings"]),
        )


def add_pet_lesions(commands: Any) -> None:
    """Arguments of `pet-lesions`."""
    parser = add_command(
        commands, "pet-lesions", run_pet_lesions, "Segment and measure the lesions of a PET in a region."
    )
    parser.add_argument("image", type=Path, metavar="PET", help="the PET in SUV, or its DICOM folder (SUV by weight)")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--region", type=Path, required=True, metavar="MASK", help="where to look, such as the liver")
    parser.add_argument("--liver", type=Path, metavar="MASK", help="the liver, for the floor and the Krenning-like aid")
    parser.add_argument("--spleen", type=Path, metavar="MASK", help="the spleen, for the Krenning-like aid")
    parser.add_argument("--blood-pool", type=Path, metavar="MASK", help="blood, such as the aorta, likewise")
    parser.add_argument(
        "--fraction", type=positive, default=0.45, metavar="F", help="isocontour of each maximum (default 0.45)"
    )
    parser.add_argument(
        "--floor",
        type=_floor,
        default="liver-max",
        metavar="F",
        help="no lesion below: liver-max (default), percist or contrast, all from LIVER, or an SUV",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="LABELS", help="numbered lesions, on the PET's grid")
    parser.add_argument("--json", type=Path, metavar="FILE", help="measures for machines, - for standard output")


def run_pet_lesions(options: argparse.Namespace) -> None:
    """Lesions of a PET."""
    from ..core.images import WRITTEN_SUFFIXES, read_image, write_image
    from ..core.pet_lesions import segment_pet_lesions
    from ..core.suv import read_suv

    organs = [options.liver, options.spleen, options.blood_pool]
    require_places([options.image, options.region, *organs], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    if options.series is not None and not options.image.is_dir():
        raise InputError(f"{options.image}: a series can be chosen in a DICOM folder only, and this is a file")
    with progress_bar("pet-lesions", options) as progress:
        is_folder = options.image.is_dir()
        suv = read_suv(options.image, series=options.series).image if is_folder else read_image(options.image)
        liver, spleen, blood_pool = (mask_or_none(path) for path in organs)
        result = segment_pet_lesions(
            suv,
            mask_of(options.region),
            fraction=options.fraction,
            floor=options.floor,
            liver=liver,
            spleen=spleen,
            blood_pool=blood_pool,
            progress=progress,
        )
        write_image(result.labels, options.out)
    write_document(result.to_dict(), options.json)
    if not options.quiet:
        aid = "" if result.organs.get("liver") is None else ", Krenning-like {0.krenning_like} (an aid, not visual)"
        line = "lesion {0.number}: {0.volume_ml:.2f} ml, SUVmax {0.suv_max:.1f}, SUVpeak {0.suv_peak:.1f}, SUVmean "
        line += "{0.suv_mean:.1f}, total activity {0.total_lesion_activity:.1f} SUV x ml" + aid
        floor = "none" if result.floor_suv is None else f"SUV {result.floor_suv:.2f}"
        say(
            *[line.format(lesion) for lesion in result.lesions],
            f"{len(result.lesions)} lesion(s) of {result.volume_ml:.2f} ml, floor {floor} -> {options.out}",
            *as_notes(result.warnings),
        )


def _floor(text: str) -> str | float:
    return text if text in ("liver-max", "percist", "contrast") else positive(text)


def add_resample(commands: Any) -> None:
    """Arguments of `resample`."""
    parser = add_command(
        commands, "resample", run_resample, "Bring a PET, MR, CT or mask into the planning CT's frame."
    )
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the image or mask, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series of MOVING: number, UID or description")
    parser.add_argument("--onto", type=Path, required=True, metavar="CT", help="the planning CT, or a DICOM folder")
    parser.add_argument("--modality", choices=("CT", "MR", "PET", "mask"), required=True, help="what MOVING is")
    parser.add_argument("--transform", type=Path, metavar="TRANSFORM.h5", help="from `fuse CT MOVING`; none: one frame")
    parser.add_argument("--out", type=Path, required=True, metavar="IMAGE", help="MOVING on the grid of CT")


def run_resample(options: argparse.Namespace) -> None:
    """One image in another's frame."""
    from ..core.fusion import read_transform
    from ..core.images import WRITTEN_SUFFIXES, read_image, write_image
    from ..core.resampling import resample_image, resample_mask

    require_places([options.moving, options.onto, options.transform], (options.out, WRITTEN_SUFFIXES))
    with progress_bar("resample", options) as progress:
        progress(0.0, "reading")
        planning = read_image(options.onto)
        transform = None if options.transform is None else read_transform(options.transform)
        if options.modality == "mask":
            result = resample_mask(mask_of(options.moving), planning, transform, name=str(options.moving))
        else:
            moving = read_image(options.moving, series=options.series)
            result = resample_image(moving, planning, transform, modality=options.modality)
        write_image(result, options.out)
    if not options.quiet:
        say(f"{options.modality} on the grid of {options.onto} -> {options.out}")
