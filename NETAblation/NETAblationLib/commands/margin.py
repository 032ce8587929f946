"""The ablative margin of one tumor and its zone."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import FormatError, GeometryError
from .command_line import (
    SCENE_SUFFIXES,
    add_command,
    as_notes,
    by_name,
    file_and_label,
    in_mm,
    mask_of,
    mask_or_none,
    named_mask,
    plan_of,
    positive,
    progress_bar,
    require_folder,
    require_places,
    say,
    write_document,
)

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..core.fusion_near import NearLesion
    from ..core.margin_uncertainty import MarginDistribution
    from ..core.margins import MarginResult
    from ..core.probes import Probe

#: Masks of one patient's liver do not lie farther from each other than this, in mm. User-set.
_OTHER_FRAME_MM = 400.0


def add_margin(commands: Any) -> None:
    """Arguments of `margin`."""
    parser = add_command(commands, "margin", run_margin, "Measure the ablative margin on the tumor's surface.")
    parser.add_argument("--tumor", type=Path, required=True, metavar="MASK", help="the tumor before ablation")
    parser.add_argument(
        "--zone",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="MASK",
        help="the ablation zone; of several the union counts",
    )
    parser.add_argument(
        "--other",
        type=named_mask,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=MASK",
        help="other lesions before ablation, to tell which of them share a zone",
    )
    parser.add_argument(
        "--vessels",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="MASK",
        help="vessels before ablation: those of 3 mm and more in the shell of the margin are reported (heat sink)",
    )
    parser.add_argument("--plan", type=Path, metavar="PLAN.json", help="from `plan`: compare with what it predicts")
    parser.add_argument("--liver", type=Path, metavar="MASK", help="the liver before ablation, for the capsule")
    parser.add_argument("--transform", type=Path, metavar="TRANSFORM.h5", help="from `fuse`; none: masks of one frame")
    parser.add_argument("--margin-mm", type=positive, default=5.0, metavar="MM", help="margin asked for (default 5)")
    parser.add_argument(
        "--registration-error-mm",
        type=positive,
        metavar="MM",
        help="known error of TRANSFORM; a margin within it is unsure",
    )
    parser.add_argument(
        "--fusion",
        type=Path,
        metavar="FUSION.json",
        help="from `fuse --json`: its error, unless one is given, and its verdict count",
    )
    parser.add_argument(
        "--segmentation-sd-mm",
        type=positive,
        metavar="MM",
        help="standard deviation of the drawn surfaces of tumor and zone, for the MAM's interval (default 1.3)",
    )
    parser.add_argument(
        "--zone-shrinkage",
        type=float,
        default=0.0,
        metavar="F",
        help="by which share of its length ablated tissue has contracted, 0 to 0.5 (default 0: as drawn)",
    )
    parser.add_argument("--image", type=Path, metavar="CT", help="the image before ablation, for scene and report")
    parser.add_argument("--post-image", type=Path, metavar="CT", help="the image after ablation, likewise")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers for machines, - for standard output")
    parser.add_argument("--scene", type=Path, metavar="CASE.mrb", help="also a scene for 3D Slicer")
    parser.add_argument("--report", type=Path, metavar="DIR", help="also a report with pictures")


def run_margin(options: argparse.Namespace) -> None:
    """Margin of one tumor and its zone."""
    from ..core.images import read_image
    from ..core.margin_directions import direction_text
    from ..core.margins import in_doubt, measure_margin
    from ..core.plan_margin import margin_against_plan, plan_margin_text
    from ..core.remainder import rank_remainder
    from ..core.shell_vessels import vessels_in_shell, vessels_text
    from ..core.transform_files import read_transform
    from ..core.zone_union import lesions_of_zones, united_mask

    inputs = [options.tumor, *options.zone, options.liver, options.transform, options.image, options.post_image]
    inputs += [options.plan, options.fusion, *options.vessels, *(path for _, path in options.other)]
    require_places(inputs, (options.json, ()), (options.scene, SCENE_SUFFIXES))
    require_folder(options.report)
    other_files = by_name(options.other, "--other")
    fusion = {} if options.fusion is None else _fusion_of(options.fusion)
    planned = None if options.plan is None else plan_of(options.plan)[0]
    tumor, zones = mask_of(options.tumor), [mask_of(path) for path in options.zone]
    zone = united_mask(zones)
    near = _near(fusion, tumor, zones)
    if options.registration_error_mm is not None:
        near = replace(near, error_mm=options.registration_error_mm, bound_90_mm=None)
    others = {name: mask_of(path) for name, path in other_files.items()}
    vessels = _vessels_of(options.vessels)
    liver = mask_or_none(options.liver)
    image, post_image = (None if path is None else read_image(path) for path in (options.image, options.post_image))
    transform = None if options.transform is None else read_transform(options.transform)
    _require_seen(tumor, "tumor", image, options.image)
    _require_seen(zone, "zone", post_image, options.post_image)
    for name, mask in {**others, **vessels}.items():
        _require_near(tumor, name, mask)
    with progress_bar("margin", options) as progress:
        result = measure_margin(
            tumor,
            zone,
            liver=liver,
            fixed_to_moving=transform,
            margin_mm=options.margin_mm,
            registration_error_mm=near.error_mm,
            zone_shrinkage_fraction=options.zone_shrinkage,
            progress=progress,
        )
    result = in_doubt(result, near.verdict)
    likely = _distribution(result, liver, near, options.segmentation_sd_mm)
    document = {
        **result.to_dict(),
        "mam_interval_90_mm": likely.mam_interval_90_mm,
        "probability_mam_at_least": likely.probability_mam_at_least,
        "uncertainty": likely.to_dict(),
        "remaining": [piece.to_dict() for piece in rank_remainder(result, tumor)],
        "zones": lesions_of_zones(zone, {"tumor": tumor, **others}, transform),
    }
    assert result.surface is not None
    sinks = vessels_in_shell(result.surface, vessels, shell_mm=options.margin_mm)
    if vessels:
        document["vessels_in_shell"] = [vessel.to_dict() for vessel in sinks]
    compared = None
    if planned is not None:
        compared = margin_against_plan(result.surface, result.signed_margin_mm, planned, result.is_evaluable)
        _require_plan_of(tumor, planned, float(compared.predicted_mm.max()), options.plan)
        document["against_plan"] = compared.to_dict()
    write_document(document, options.json)
    if options.scene is not None or options.report is not None:
        from ..scene.case_files import present_margin

        with progress_bar("pictures", options) as progress:
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
                uncertainty=likely,
                against_plan=compared,
            )
    else:
        notes = []
    if not options.quiet:
        say(
            _margin_text(document),
            direction_text(document["direction"]),
            *([plan_margin_text(document["against_plan"])] if planned is not None else []),
            *_remaining_text(document["remaining"]),
            *_shared_text(document["zones"]),
            *vessels_text(sinks, options.margin_mm),
            *([] if likely.mam_mm is None else [_likely_text(likely)]),
            *as_notes(document.get("warnings", ())),
            *as_notes(notes),
        )


def _require_seen(mask: sitk.Image, name: str, image: sitk.Image | None, path: Path) -> None:
    """Refuse, as GeometryError, an image for scene and report in which nothing of the mask lies."""
    from ..core.frames import describe_grid, is_inside, voxel_centers

    if image is not None and not is_inside(image, voxel_centers(mask)).any():
        raise GeometryError(
            f"{path}: the {name} lies outside of this image ({describe_grid(image)}): give the image of its frame"
        )


def _require_near(tumor: sitk.Image, name: str, mask: sitk.Image) -> None:
    """Refuse, as GeometryError, a mask whose image lies so far from the tumor's that it is of another frame."""
    import numpy as np

    from ..core.frames import bounding_box_ras, describe_grid

    (low, high), (other_low, other_high) = bounding_box_ras(tumor), bounding_box_ras(mask)
    gap_mm = float(np.max([other_low - high, low - other_high]))
    if gap_mm > _OTHER_FRAME_MM:
        raise GeometryError(
            f"{name}: its image lies {gap_mm:.0f} mm beside that of the tumor ({describe_grid(mask)}): check the frame"
        )


def _require_plan_of(tumor: sitk.Image, probes: Sequence[Probe], deepest_mm: float, path: Path) -> None:
    """Refuse, as GeometryError, a plan of which no zone reaches the tumor's surface (by `deepest_mm`) or lies in it."""
    import numpy as np

    from ..core.frames import ras_to_index

    centers = np.array([ablation.center_ras_mm for probe in probes for ablation in probe.ablations])
    index = np.round(ras_to_index(tumor, centers)).astype(int)
    held = index[((index >= 0) & (index < tumor.GetSize())).all(axis=1)].tolist()
    if deepest_mm < 0 and not any(tumor[tuple(voxel)] for voxel in held):
        raise GeometryError(
            f"{path}: no zone of it touches the tumor, the nearest ends {-deepest_mm:.0f} mm away: give the plan of "
            "this tumor, in the frame of its mask"
        )


def _fusion_of(path: Path) -> dict[str, Any]:
    """What `fuse --json` wrote; raises FormatError, naming the file, for another document."""
    from ..core.documents import read_json
    from ..core.fusion import SCHEMA_VERSION
    from ..core.fusion_verdict import DOUBTFUL, GOOD, NOT_USABLE

    document = read_json(path)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or document.get("verdict") not in (GOOD, DOUBTFUL, NOT_USABLE):
        raise FormatError(
            f"{path}: is not what `netablation fuse --json` of this release writes (schema_version {version!r}, "
            f"verdict {document.get('verdict')!r}): fuse again"
        )
    near = document.get("lesion_error_mm", [])
    for error in [document.get("estimated_error_mm"), *(near if isinstance(near, list) else ["lesion_error_mm"])]:
        if error is not None and not (isinstance(error, int | float) and math.isfinite(error) and error >= 0):
            raise FormatError(f"{path}: an error of {error!r} mm is not a number of at least 0: fuse again")
    return document


def _near(fusion: Mapping[str, Any], tumor: sitk.Image, zones: Sequence[sitk.Image]) -> NearLesion:
    """What a fusion says near a lesion: where its masks were left out (told by their hashes), there, else at worst."""
    from ..core.fusion_near import NearLesion
    from ..core.images import image_hash

    hashes = (fusion.get("input_hashes") or {}).get("exclude") or ()
    own = {image_hash(mask) for mask in (tumor, *zones)}
    numbers = [number for number, one in enumerate(hashes) if one in own]
    return NearLesion.of(fusion, numbers) if numbers else NearLesion.worst_of(fusion)


def _distribution(
    result: MarginResult, liver: sitk.Image | None, near: NearLesion, segmentation_sd_mm: float | None
) -> MarginDistribution:
    """What the true margin may be; without a known error of the registration, with the published mean."""
    from ..core.margin_uncertainty import MarginErrors, margin_distribution

    errors = MarginErrors(resolution_mm=result.resolution_mm)
    if near.error_mm is not None:
        errors = replace(errors, registration_mm=near.error_mm, registration_bound_90_mm=near.bound_90_mm)
    if segmentation_sd_mm is not None:
        errors = replace(
            errors, tumor_segmentation_sd_mm=segmentation_sd_mm, zone_segmentation_sd_mm=segmentation_sd_mm
        )
    assert result.surface is not None
    assert result.zone_surface is not None
    return margin_distribution(
        result.surface,
        result.signed_margin_mm,
        result.zone_surface,
        is_evaluable=result.is_evaluable,
        liver=liver,
        errors=errors,
    )


def _likely_text(likely: MarginDistribution) -> str:
    assert likely.mam_mm is not None
    chances = ", ".join(f"{name} mm {100 * chance.fraction:.0f} %" for name, chance in likely.chances.items())
    return (
        f"true MAM with 90 % probability from {in_mm(likely.mam_mm['p05'])} to {in_mm(likely.mam_mm['p95'])}; "
        f"at least {chances}"
    )


def _margin_text(document: Mapping[str, Any]) -> str:
    shares = document["surface_fraction"]
    if document["mam_mm"] is None:
        return f"MAM {in_mm(None)}: {document['reason']}"
    return (
        f"MAM {in_mm(document['mam_mm'])}, {100 * shares['below_0']:.1f} % of the surface not covered, "
        f"{100 * shares['at_least_5']:.1f} % with 5 mm and more"
    )


def _remaining_text(pieces: Sequence[Mapping[str, Any]]) -> list[str]:
    """The most pressing piece that is left, and how many others there are."""
    if not pieces:
        return []
    first, others = pieces[0], len(pieces) - 1
    tissue = f"margin and tumor ({first['tumor_ml']:.2f} ml)" if first["kind"] == "tumor" else "margin"
    return [
        f"left: {first['volume_ml']:.2f} ml of {tissue} {first['direction']}, up to {first['depth_mm']:.1f} mm "
        f"from the zone" + (f", and {others} smaller piece(s)" if others else "")
    ]


def _shared_text(zones: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"one zone of {zone['volume_ml']:.1f} ml reaches {' and '.join(zone['lesions'])}"
        for zone in zones
        if zone["is_confluent"]
    ]


def _vessels_of(paths: Sequence[Path]) -> dict[str, sitk.Image]:
    """The masks of vessels by name: that of the file, and of the kind where `vessels` told the kinds apart."""

    from ..core.centerlines import VesselKind
    from ..core.images import read_labels, require_labels

    masks: dict[str, sitk.Image] = {}
    for path in paths:
        file, label = file_and_label(path)
        stem = file.name.split(".")[0]
        if label is not None:
            masks[f"{stem} {label}"] = mask_of(path)
            continue
        labels = read_labels(file)
        kinds = {int(kind): kind.name.lower() for kind in VesselKind}
        present = [value for value in require_labels(labels, str(file)) if value]
        if len(present) > 1 and set(present) <= set(kinds):
            masks.update({f"{stem}: {kinds[value]}": labels == value for value in present})
        else:
            masks[stem] = labels != 0
    return masks
