"""The `netablation` command: every step of the chain, for people and for machines.

Exit codes: 0 done, 2 bad input, 1 failure. Progress and messages go to standard error,
results to files and, for `--json -`, to standard output. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .core.documents import write_json
from .core.errors import Cancelled, InputError, NETAblationError
from .core.progress import ProgressCallback

if TYPE_CHECKING:
    import SimpleITK as sitk

EXIT_DONE, EXIT_FAILURE, EXIT_BAD_INPUT = 0, 1, 2

_POINT = re.compile(r"^-[^,=]+,[^,]+,[^,]+$")

_SCENE_SUFFIXES = (".mrb", ".mrml")

EPILOG = (
    "Points are R,A,S in mm and may be negative. Images: NRRD, NIfTI, MetaImage or a DICOM folder; masks: a file, "
    "or FILE:3 for its label 3. Research software, not a medical device."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process); return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(_protect_negative_points(words))
    try:
        options.run(options)
    except InputError as error:
        return _fail(f"{error}", EXIT_BAD_INPUT)
    except Cancelled:
        return _fail("stopped; nothing was replaced", EXIT_FAILURE)
    except NETAblationError as error:
        return _fail(f"{error}", EXIT_FAILURE)
    except KeyboardInterrupt:
        return _fail("stopped", EXIT_FAILURE)
    except Exception as error:
        if options.debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", EXIT_FAILURE)
    return EXIT_DONE


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"netablation: {message}\n")
    return code


def _protect_negative_points(words: list[str]) -> list[str]:
    """Keep argparse from taking a point such as -12.5,30,4 for an option.

    A word with a blank in it is never an option; the blank goes when the point is read.
    """
    return [f" {word}" if _POINT.match(word) else word for word in words]


# Arguments


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, as all other errors are said."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"netablation: {message} (see {self.prog} --help)\n")


def _point(text: str) -> tuple[float, float, float]:
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        first = second = third = math.nan
    if not all(map(math.isfinite, (first, second, third))):
        raise argparse.ArgumentTypeError(f"'{text.strip()}' is not a point R,A,S in mm")
    return first, second, third


def _named_mask(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=MASK")
    return name, Path(path)


def _name_and_text(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest.strip()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, rest.strip()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def _fraction(text: str) -> float:
    value = _positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a fraction above 0 and at most 1")
    return value


def _floor(text: str) -> str | float:
    return text if text in ("liver-max", "percist", "contrast") else _positive(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="netablation", description="Image-guided tumor ablation: from images to margins.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"netablation {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_segment(commands)
    _add_liver(commands)
    _add_vessels(commands)
    _add_suv(commands)
    _add_pet_lesions(commands)
    _add_plan(commands)
    _add_fuse(commands)
    _add_resample(commands)
    _add_margin(commands)
    _add_lesions(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    parser.add_argument("--debug", action="store_true", help="show where an unexpected failure happened")
    return parser


def _add_demo(commands: Any) -> None:
    parser = _command(commands, "demo", run_demo, "Run the whole chain on the built-in digital patient.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all results")
    parser.add_argument("--size", choices=("small", "standard"), default="standard", help="size of its images")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which digital patient")
    parser.add_argument("--json", type=Path, metavar="FILE", help="summary for machines, - for standard output")


def _add_segment(commands: Any) -> None:
    parser = _command(commands, "segment", run_segment, "Segment a lesion or an ablation zone from its diameter line.")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the image, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument(
        "--line",
        type=_point,
        nargs=2,
        action="append",
        required=True,
        metavar="R,A,S",
        help="the ends of the longest in-plane diameter; given again, of a diameter in another plane",
    )
    for sign, place in (("--plus", "inside"), ("--minus", "outside")):
        parser.add_argument(
            sign,
            type=_point,
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


def _add_liver(commands: Any) -> None:
    parser = _command(
        commands, "liver", run_liver, "Segment the liver in a CT of any phase, without a click or from a few."
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the CT, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument(
        "--seed",
        type=_point,
        nargs="+",
        action="extend",
        default=[],
        metavar="R,A,S",
        help="up to 3 points in the liver",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="MASK", help="the liver, on the image's grid")
    parser.add_argument("--json", type=Path, metavar="FILE", help="measures for machines, - for standard output")


def _add_vessels(commands: Any) -> None:
    parser = _command(
        commands,
        "vessels",
        run_vessels,
        "Segment a liver's vessels: portal 1, hepatic 2, arterial 3, unknown 4.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="CT or MR with contrast, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--liver", type=Path, required=True, metavar="MASK", help="the liver, on the image's grid")
    parser.add_argument("--portal", type=_point, metavar="R,A,S", help="a point in the portal vein's trunk")
    parser.add_argument("--hepatic", type=_point, metavar="R,A,S", help="a point where the hepatic veins meet")
    parser.add_argument("--min-diameter-mm", type=_positive, default=3.0, metavar="MM", help="thinnest (default 3)")
    parser.add_argument("--out", type=Path, required=True, metavar="MASK", help="the vessels, on the image's grid")
    parser.add_argument("--json", type=Path, metavar="FILE", help="centerlines and radii, - for standard output")


def _add_suv(commands: Any) -> None:
    parser = _command(commands, "suv", run_suv, "Turn a PET into standardized uptake values (SUV).")
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


def _add_pet_lesions(commands: Any) -> None:
    parser = _command(commands, "pet-lesions", run_pet_lesions, "Segment and measure the lesions of a PET in a region.")
    parser.add_argument("image", type=Path, metavar="PET", help="the PET in SUV, or its DICOM folder (SUV by weight)")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--region", type=Path, required=True, metavar="MASK", help="where to look, such as the liver")
    parser.add_argument("--liver", type=Path, metavar="MASK", help="the liver, for the floor and the Krenning-like aid")
    parser.add_argument("--spleen", type=Path, metavar="MASK", help="the spleen, for the Krenning-like aid")
    parser.add_argument("--blood-pool", type=Path, metavar="MASK", help="blood, such as the aorta, likewise")
    parser.add_argument(
        "--fraction", type=_positive, default=0.45, metavar="F", help="isocontour of each maximum (default 0.45)"
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


def _add_resample(commands: Any) -> None:
    parser = _command(commands, "resample", run_resample, "Bring a PET, MR, CT or mask into the planning CT's frame.")
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the image or mask, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series of MOVING: number, UID or description")
    parser.add_argument("--onto", type=Path, required=True, metavar="CT", help="the planning CT, or a DICOM folder")
    parser.add_argument("--modality", choices=("CT", "MR", "PET", "mask"), required=True, help="what MOVING is")
    parser.add_argument("--transform", type=Path, metavar="TRANSFORM.h5", help="from `fuse CT MOVING`; none: one frame")
    parser.add_argument("--out", type=Path, required=True, metavar="IMAGE", help="MOVING on the grid of CT")


def _add_plan(commands: Any) -> None:
    parser = _command(commands, "plan", run_plan, "Place probes until tumor and margin are covered.")
    parser.add_argument("--image", type=Path, required=True, metavar="CT", help="the planning CT, or a DICOM folder")
    parser.add_argument("--series", metavar="ID", help="DICOM series: number, UID or description")
    parser.add_argument("--tumor", type=Path, required=True, metavar="MASK")
    parser.add_argument("--liver", type=Path, required=True, metavar="MASK")
    parser.add_argument(
        "--obstacle",
        type=_named_mask,
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
    parser.add_argument("--margin-mm", type=_positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument("--out", type=Path, required=True, metavar="PLAN.json")
    parser.add_argument("--scene", type=Path, metavar="CASE.mrb", help="also a scene for 3D Slicer")


def _add_fuse(commands: Any) -> None:
    parser = _command(commands, "fuse", run_fuse, "Register the image after ablation to the one before.")
    parser.add_argument("fixed", type=Path, metavar="FIXED", help="the image before, or a DICOM folder")
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the image after, or a DICOM folder")
    parser.add_argument("--fixed-liver", type=Path, metavar="MASK")
    parser.add_argument("--moving-liver", type=Path, metavar="MASK")
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="MASK",
        help="what must not drive the registration: tumor, zone, gas, needles",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="TRANSFORM.h5", help="maps fixed to moving points, as ITK does"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="quality for machines, - for standard output")


def _add_margin(commands: Any) -> None:
    parser = _command(commands, "margin", run_margin, "Measure the ablative margin on the tumor's surface.")
    parser.add_argument("--tumor", type=Path, required=True, metavar="MASK", help="the tumor before ablation")
    parser.add_argument("--zone", type=Path, required=True, metavar="MASK", help="the ablation zone")
    parser.add_argument("--liver", type=Path, metavar="MASK", help="the liver before ablation, for the capsule")
    parser.add_argument("--transform", type=Path, metavar="TRANSFORM.h5", help="from `fuse`; none: masks of one frame")
    parser.add_argument("--margin-mm", type=_positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument(
        "--registration-error-mm",
        type=_positive,
        metavar="MM",
        help="known error of TRANSFORM; a margin within it is unsure",
    )
    parser.add_argument("--image", type=Path, metavar="CT", help="the image before ablation, for scene and report")
    parser.add_argument("--post-image", type=Path, metavar="CT", help="the image after ablation, likewise")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers for machines, - for standard output")
    parser.add_argument("--scene", type=Path, metavar="CASE.mrb", help="also a scene for 3D Slicer")
    parser.add_argument("--report", type=Path, metavar="DIR", help="also a report with pictures")


def _add_lesions(commands: Any) -> None:
    parser = _command(
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
    named: dict[str, Any] = {"type": _named_mask, "nargs": "+", "action": "extend", "default": []}
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
    parser.add_argument("--days", type=_positive, metavar="N", help="days between both dates")
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
    parser.add_argument("--margin-mm", type=_positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers for machines, - for standard output")


# Commands


def _mask(path: Path) -> sitk.Image:
    """Read FILE, or the label N of FILE:N."""
    from .core.images import read_mask

    file, label = _file_and_label(path)
    return read_mask(file, label=label)


def _file_and_label(path: Path) -> tuple[Path, int | None]:
    file, colon, label = str(path).rpartition(":")
    if colon and label.isdigit() and not path.exists():
        return Path(file), int(label)
    return path, None


def _mask_or_none(path: Path | None) -> sitk.Image | None:
    return None if path is None else _mask(path)


def run_demo(options: argparse.Namespace) -> None:
    """Whole chain on the digital patient."""
    from .demo import run

    with _progress("demo", options) as progress:
        summary = run(options.out, size=options.size, seed=options.seed, progress=progress)
    _write_document(summary.document, options.json)
    if not options.quiet:
        _say(*summary.lines)


def run_segment(options: argparse.Namespace) -> None:
    """Lesion or zone from a line."""
    from .core.images import WRITTEN_SUFFIXES, read_image, write_image
    from .core.lesions import segment_lesion

    _require_places([options.image, options.liver], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    if len(options.line) > 2:
        raise InputError(f"--line: given {len(options.line)} times; one diameter is needed, and one more is of use")
    start = time.perf_counter()
    with _progress("segment", options) as progress:
        result = segment_lesion(
            read_image(options.image, series=options.series),
            options.line[0],
            kind=options.kind,
            second_line_ras_mm=options.line[1] if len(options.line) > 1 else None,
            plus_ras_mm=options.plus,
            minus_ras_mm=options.minus,
            liver=_mask_or_none(options.liver),
            progress=progress,
        )
        write_image(result.mask, options.out)
    document = {**result.to_dict(), "seconds": time.perf_counter() - start}
    _write_document(document, options.json)
    if not options.quiet:
        _say(f"{options.kind} of {result.volume_ml:.2f} ml -> {options.out}", *_warn(result.warnings))


def run_liver(options: argparse.Namespace) -> None:
    """Liver of a CT."""
    from .core.images import WRITTEN_SUFFIXES, read_image, write_image
    from .core.liver import segment_liver

    _require_places([options.image], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    start = time.perf_counter()
    with _progress("liver", options) as progress:
        image = read_image(options.image, series=options.series)
        result = segment_liver(image, seeds_ras_mm=options.seed, progress=progress)
        write_image(result.mask, options.out)
    _write_document({**result.to_dict(), "seconds": time.perf_counter() - start}, options.json)
    if not options.quiet:
        _say(f"liver of {result.volume_ml:.0f} ml -> {options.out}", *_warn(result.warnings))


def run_vessels(options: argparse.Namespace) -> None:
    """Vessels of a liver."""
    from .core.images import WRITTEN_SUFFIXES, read_image, write_image
    from .core.vessels import segment_vessels

    _require_places([options.image, options.liver], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    start = time.perf_counter()
    with _progress("vessels", options) as progress:
        result = segment_vessels(
            read_image(options.image, series=options.series),
            _mask(options.liver),
            portal_ras_mm=options.portal,
            hepatic_ras_mm=options.hepatic,
            least_diameter_mm=options.min_diameter_mm,
            progress=progress,
        )
        write_image(result.mask, options.out)
    _write_document({**result.to_dict(), "seconds": time.perf_counter() - start}, options.json)
    if not options.quiet:
        lengths = [f"{name} {length:.0f} mm" for name, length in result.length_mm.items() if length]
        _say(f"vessels: {', '.join(lengths)} -> {options.out}", *_warn(result.warnings))


def run_suv(options: argparse.Namespace) -> None:
    """SUV of a PET."""
    from .core.images import WRITTEN_SUFFIXES, write_image
    from .core.suv import read_suv

    _require_places([options.folder], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    with _progress("suv", options) as progress:
        result = read_suv(options.folder, kind=options.kind, series=options.series, progress=progress)
        write_image(result.image, options.out)
    document = result.to_dict()
    _write_document(document, options.json)
    if not options.quiet:
        _say(
            f"SUV ({options.kind}) up to {document['suv_max']:.1f}, {document[f'suv_{options.kind}_factor']:.6g} per "
            f"{document['units']} ({document['source']}) -> {options.out}",
            *_warn(document["warnings"]),
        )


def run_pet_lesions(options: argparse.Namespace) -> None:
    """Lesions of a PET."""
    from .core.images import WRITTEN_SUFFIXES, read_image, write_image
    from .core.pet_lesions import segment_pet_lesions
    from .core.suv import read_suv

    organs = [options.liver, options.spleen, options.blood_pool]
    _require_places([options.image, options.region, *organs], (options.out, WRITTEN_SUFFIXES), (options.json, ()))
    if options.series is not None and not options.image.is_dir():
        raise InputError(f"{options.image}: a series can be chosen in a DICOM folder only, and this is a file")
    with _progress("pet-lesions", options) as progress:
        is_folder = options.image.is_dir()
        suv = read_suv(options.image, series=options.series).image if is_folder else read_image(options.image)
        liver, spleen, blood_pool = (_mask_or_none(path) for path in organs)
        result = segment_pet_lesions(
            suv,
            _mask(options.region),
            fraction=options.fraction,
            floor=options.floor,
            liver=liver,
            spleen=spleen,
            blood_pool=blood_pool,
            progress=progress,
        )
        write_image(result.labels, options.out)
    _write_document(result.to_dict(), options.json)
    if not options.quiet:
        aid = "" if result.organs.get("liver") is None else ", Krenning-like {0.krenning_like} (an aid, not visual)"
        line = "lesion {0.number}: {0.volume_ml:.2f} ml, SUVmax {0.suv_max:.1f}, SUVpeak {0.suv_peak:.1f}, SUVmean "
        line += "{0.suv_mean:.1f}, total activity {0.total_lesion_activity:.1f} SUV x ml" + aid
        floor = "none" if result.floor_suv is None else f"SUV {result.floor_suv:.2f}"
        _say(
            *[line.format(lesion) for lesion in result.lesions],
            f"{len(result.lesions)} lesion(s) of {result.volume_ml:.2f} ml, floor {floor} -> {options.out}",
            *_warn(result.warnings),
        )


def run_resample(options: argparse.Namespace) -> None:
    """One image in another's frame."""
    from .core.fusion import read_transform
    from .core.images import WRITTEN_SUFFIXES, read_image, write_image
    from .core.resampling import resample_image, resample_mask

    _require_places([options.moving, options.onto, options.transform], (options.out, WRITTEN_SUFFIXES))
    with _progress("resample", options) as progress:
        progress(0.0, "reading")
        planning = read_image(options.onto)
        transform = None if options.transform is None else read_transform(options.transform)
        if options.modality == "mask":
            result = resample_mask(_mask(options.moving), planning, transform, name=str(options.moving))
        else:
            moving = read_image(options.moving, series=options.series)
            result = resample_image(moving, planning, transform, modality=options.modality)
        write_image(result, options.out)
    if not options.quiet:
        _say(f"{options.modality} on the grid of {options.onto} -> {options.out}")


def run_plan(options: argparse.Namespace) -> None:
    """Probes for a tumor."""
    from .core.devices import load_catalogue
    from .core.errors import DeviceError
    from .core.images import read_image
    from .core.planning import plan_probes
    from .core.segmentation_files import find_structures, read_segmentation

    obstacle_files = dict(options.obstacle)
    if len(obstacle_files) < len(options.obstacle):
        raise InputError("--obstacle: a name is given twice; every obstacle needs a name of its own")
    inputs = [options.image, options.tumor, options.liver, *obstacle_files.values()]
    inputs += [options.structures, options.structure_names]
    if options.structure_names is not None and options.structures is None:
        raise InputError("--structure-names: names the labels of --structures, which is missing")
    _require_places(inputs, (options.out, ()), (options.scene, _SCENE_SUFFIXES))
    catalogue = load_catalogue()
    device_id = next(iter(catalogue)) if options.device is None else options.device
    if device_id not in catalogue:
        raise DeviceError(f"device '{device_id}' is not in the catalogue: choose one of {', '.join(catalogue)}")
    with _progress("plan", options) as progress:
        image = read_image(options.image, series=options.series)
        tumor, liver = _mask(options.tumor), _mask(options.liver)
        obstacles = {name: _mask(path) for name, path in obstacle_files.items()}
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
    _write_document(document, options.out)
    if options.scene is not None:
        from .scene.cases import save_plan_scene

        save_plan_scene(options.scene, image=image, tumor=tumor, liver=liver, plan=plan)
    if not options.quiet:
        _say(
            f"{document['probe_count']} probe(s), tumor {100 * document['tumor_coverage_fraction']:.1f} % and target "
            f"{100 * document['target_coverage_fraction']:.1f} % covered, predicted MAM "
            f"{_mm(document['predicted_mam_mm'])} -> {options.out}",
            *_warn(document.get("limitations", ())),
            *_warn(notes),
        )


def run_fuse(options: argparse.Namespace) -> None:
    """Registration of two images."""
    from .core.fusion import fuse, write_transform
    from .core.images import read_image
    from .core.transform_files import SUFFIXES

    inputs = [options.fixed, options.moving, options.fixed_liver, options.moving_liver, *options.exclude]
    _require_places(inputs, (options.out, SUFFIXES), (options.json, ()))
    with _progress("fuse", options) as progress:
        fixed, moving = read_image(options.fixed), read_image(options.moving)
        result = fuse(
            fixed,
            moving,
            fixed_liver=_mask_or_none(options.fixed_liver),
            moving_liver=_mask_or_none(options.moving_liver),
            exclude=[_mask(path) for path in options.exclude],
            progress=progress,
        )
        write_transform(result.transform, options.out)
    document = result.to_dict()
    _write_document(document, options.json)
    if not options.quiet:
        _say(f"fused in {document['seconds']:.0f} s -> {options.out}", *_warn(document.get("warnings", ())))


def run_margin(options: argparse.Namespace) -> None:
    """Margin of one tumor and its zone."""
    from .core.fusion import read_transform
    from .core.images import read_image
    from .core.margins import measure_margin

    inputs = [options.tumor, options.zone, options.liver, options.transform, options.image, options.post_image]
    _require_places(inputs, (options.json, ()), (options.scene, _SCENE_SUFFIXES))
    _require_folder(options.report)
    tumor, zone = _mask(options.tumor), _mask(options.zone)
    liver = _mask_or_none(options.liver)
    image, post_image = (None if path is None else read_image(path) for path in (options.image, options.post_image))
    transform = None if options.transform is None else read_transform(options.transform)
    with _progress("margin", options) as progress:
        result = measure_margin(
            tumor,
            zone,
            liver=liver,
            fixed_to_moving=transform,
            margin_mm=options.margin_mm,
            registration_error_mm=options.registration_error_mm,
            progress=progress,
        )
    document = result.to_dict()
    _write_document(document, options.json)
    if options.scene is not None or options.report is not None:
        from .scene.cases import present_margin

        with _progress("pictures", options) as progress:
            progress(0.0, "scene and report")
            notes = present_margin(
                result,
                tumor=tumor,
                zone=zone,
                liver=liver,
                fixed_to_moving=transform,
                image=image,
                post_image=post_image,
                scene_file=options.scene,
                report_folder=options.report,
            )
    else:
        notes = []
    if not options.quiet:
        _say(
            f"MAM {_mm(document['mam_mm'])}, {100 * document['surface_fraction']['below_0']:.1f} % of the surface not "
            f"covered, {100 * document['surface_fraction']['at_least_5']:.1f} % with 5 mm and more",
            *_warn(document.get("warnings", ())),
            *_warn(notes),
        )


def run_lesions(options: argparse.Namespace) -> None:
    """Measures of all lesions, and the picture they make."""
    from .core.fusion import read_transform
    from .core.images import read_image
    from .core.lesion_matching import match_lesions
    from .core.lesion_measures import measure_lesions
    from .core.lesion_report import DebulkingSettings, document_of, lobes_of, plan_goals, summary_of
    from .core.net import net_picture, syndrome_checklist, who_grade
    from .core.vessels import centerlines_of_mask

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
    _require_places(inputs, (options.json, ()))
    if options.previous_transform is not None and options.previous is None:
        raise InputError("--previous-transform is for --previous, which is not given")
    if options.days is not None and options.previous is None:
        raise InputError("--days is for --previous, which is not given")
    has_grade = options.ki67 is not None or options.mitoses is not None
    if options.differentiation is not None and not has_grade:
        raise InputError("--differentiation is for the grade, which needs --ki67 or --mitoses")
    grade = who_grade(options.ki67, options.mitoses, options.differentiation) if has_grade else None
    syndromes = syndrome_checklist(options.syndrome)
    with _progress("lesions", options) as progress:
        progress(0.0, "reading")
        lesions, liver, structures, phases, planned, notes = _lesions_to_measure(options.inputs)
        settings = DebulkingSettings.of(
            lesions,
            cost=options.debulk_cost,
            probes=planned | _once(options.probes, "--probes"),
            not_ablatable=_once(options.not_ablatable, "--not-ablatable"),
            device_id=options.device,
        )
        liver = liver if options.liver is None else _mask(options.liver)
        if liver is None:
            raise InputError("the liver is not known: give its mask with --liver")
        earlier = None if options.previous is None else _lesions_of_files(options.previous)
        transform = None if options.previous_transform is None else read_transform(options.previous_transform)
        phases |= {name: read_image(path) for name, path in phase_files.items()}
        structures |= {_structure_name(name): _mask(path) for name, path in structure_files.items()}
        lobes, lobes_reason = lobes_of(None if options.lobes is None else _labels(options.lobes), structures)
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
    _write_document({**document, "seconds": time.perf_counter() - start}, options.json)
    if not options.quiet:
        _say(*summary_of(measured, picture, grade, goals, matches), *_warn(document["notes"]))


def _lesions_to_measure(inputs: Sequence[Path]) -> tuple[Any, Any, Any, Any, Any, list[str]]:
    """Lesions, liver, structures, phases and probes planned, as far as the inputs have them, and notes for the user."""
    if not any(path.name.lower().endswith(_SCENE_SUFFIXES) for path in inputs):
        return _lesions_of_files(inputs), None, {}, {}, {}, []
    if len(inputs) > 1:
        raise InputError("give either one saved case or masks, not both")
    from .core.fusion_inputs import is_ct
    from .scene.cases import read_case_masks

    case = read_case_masks(inputs[0])
    if not case.lesions:
        raise InputError(f"{inputs[0]}: the case has no lesion")
    phases = {name: image for name, image in case.phases.items() if is_ct(image)}
    left = sorted(set(case.phases) - set(phases))
    notes = [f"enhancement is not measured in '{name}', which is no CT in HU" for name in left]
    return dict(case.lesions), case.liver, dict(case.structures), phases, dict(case.probes), notes


def _lesions_of_files(paths: Sequence[Path]) -> dict[str, sitk.Image]:
    """Lesions by number; no file name gets into a result, since it often carries a patient's."""
    from .core.lesion_measures import split_labels

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
    from .core.images import read_labels

    file, label = _file_and_label(path)
    return read_labels(file) if label is None else _mask(path) * label


def _structure_name(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _once(pairs: Sequence[tuple[str, Any]], option: str) -> dict[str, Any]:
    """Named values as a mapping; refuses a name that stands twice."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise InputError(f"{option}: a name is given twice; each needs a name of its own")
    return named


# Input and output


def _require_places(inputs: Sequence[Path | None], *outputs: tuple[Path | None, Sequence[str]]) -> None:
    """Refuse, before any work, an output that cannot be written or would replace an input or another output.

    Each output comes with the endings that its name may have. A document has none: it may have any
    name, and - stands for standard output.
    """
    taken = {_file_and_label(path)[0].resolve(): "an input" for path in inputs if path is not None}
    for path, suffixes in outputs:
        if path is None or (str(path) == "-" and not suffixes):
            continue
        place = path.resolve()
        if suffixes and not path.name.lower().endswith(tuple(suffixes)):
            raise InputError(f"{path}: the name of this output has to end with {' or '.join(suffixes)}")
        if not place.parent.is_dir():
            raise InputError(f"{path}: the folder to write it into does not exist")
        if place.is_dir():
            raise InputError(f"{path}: is a folder; give a file to write to")
        if not os.access(place.parent, os.W_OK):
            raise InputError(f"{path}: its folder is not writable")
        if place in taken:
            raise InputError(f"{path}: {taken[place]} has this name and would be lost: give the output another one")
        taken[place] = "another output"


def _require_folder(folder: Path | None) -> None:
    """Refuse, before any work, a folder for results that can be neither used nor made."""
    if folder is None:
        return
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"{folder}: results cannot be written there ('{existing}' is no writable folder)")


def _write_document(document: Mapping[str, Any], path: Path | None) -> None:
    if path is None:
        return
    if str(path) == "-":
        import json

        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        write_json(document, path)


def _say(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")


def _warn(texts: Sequence[str]) -> list[str]:
    return [f"note: {text}" for text in texts]


def _mm(value: float | None) -> str:
    return "not evaluable" if value is None else f"{value:.1f} mm"


@contextmanager
def _progress(title: str, options: argparse.Namespace) -> Iterator[ProgressCallback]:
    """A bar on standard error while the block runs; none when quiet or not at a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=options.quiet)
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction, message: bar.update(task, completed=fraction, description=f"{title}: {message}"[:32])


if __name__ == "__main__":
    sys.exit(main())
