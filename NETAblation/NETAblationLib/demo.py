"""The whole chain on the digital patient, and how far its results are from the exact truth.

The patient's images, livers and obstacles are taken as given, as a reader's diameter lines are
(the exact ones, shaken by a millimeter); everything else is computed as for a real patient:
lesions and zones segmented, probes placed, the images fused, the margins measured and shown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .core import frames
from .core.case import Case, save_case
from .core.devices import Device, load_catalogue
from .core.documents import write_json
from .core.errors import InputError
from .core.fusion import FusionResult, fuse, write_transform
from .core.fusion_near import NearLesion
from .core.images import write_image
from .core.lesions import LesionSegmentation, segment_lesion
from .core.margin_uncertainty import MarginDistribution, MarginErrors, margin_distribution
from .core.margins import MarginResult, in_doubt, measure_margin
from .core.phantom import DigitalPatient, PhantomLesion, make_patient
from .core.planning import Request, Task, plans_of
from .core.plans import Plan
from .core.progress import ProgressCallback, silent, span
from .core.report import LesionSection, render_report, write_report
from .core.surveys import Scan, Survey

SCHEMA_VERSION = 1

#: How far a reader's line may be from the exact one at each end, in mm (standard deviation along
#: each axis). No published source; user-set.
_LINE_NOISE_MM = 0.7

#: What no probe may cross; of the vessels the wide parts (:mod:`.core.wide_vessels`).
OBSTACLES = (
    "bone",
    "lung",
    "heart",
    "aorta",
    "vena_cava",
    "gallbladder",
    "stomach",
    "colon",
    "bowel",
    "pancreas",
    "kidneys",
    "spleen",
    "vessels",
)


@dataclass(frozen=True)
class DemoSummary:
    """What the demo found: `document` for machines, `lines` for people."""

    document: Mapping[str, Any]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Treated:
    """One lesion on its way through the chain."""

    truth: PhantomLesion
    tumor: LesionSegmentation
    plan: Plan
    zone: LesionSegmentation
    margin: MarginResult
    likely: MarginDistribution


def run(out: Path, *, size: str = "standard", seed: int = 0, progress: ProgressCallback = silent) -> DemoSummary:
    """Run the chain and leave all results in the folder `out`, which is made if need be.

    `size` and `seed` are those of the digital patient. Raises InputError for bad parameters or a
    folder that cannot be written.
    """
    start = time.perf_counter()
    out = _folder(out)
    patient = make_patient(size, seed, progress=span(progress, 0.0, 0.15))
    obstacles = {name: patient.masks[name] for name in OBSTACLES}
    liver, post_liver = patient.masks["liver"], patient.post_liver
    _write_images(out, patient, liver, post_liver, obstacles, span(progress, 0.15, 0.2))
    rng = np.random.default_rng(seed)
    tumors, zones = _segment(patient, liver, post_liver, rng, span(progress, 0.2, 0.3))
    device = next(iter(load_catalogue().values()))
    plans = _plan(patient, tumors, liver, obstacles, device, span(progress, 0.3, 0.6))
    progress(0.6, "fusing")
    fusion = fuse(
        patient.portal,
        patient.post,
        fixed_liver=liver,
        moving_liver=post_liver,
        exclude=[part.mask for part in (*tumors, *zones)],
        progress=span(progress, 0.6, 0.75),
    )
    write_transform(fusion.transform, out / "before-to-after.h5")
    treated = []
    for number, truth in enumerate(patient.lesions):
        progress(0.75 + 0.1 * number / len(patient.lesions), f"margin of {truth.name}")
        near = NearLesion.of(fusion.to_dict(), (number, len(tumors) + number))
        margin = measure_margin(
            tumors[number].mask,
            zones[number].mask,
            liver=liver,
            fixed_to_moving=fusion.transform,
            registration_error_mm=near.error_mm,
        )
        margin = in_doubt(margin, near.verdict)
        likely = _likely(margin, liver, near)
        treated.append(_Treated(truth, tumors[number], plans[number], zones[number], margin, likely))
    _write_results(out, treated)
    save_case(_case(patient, liver, post_liver, treated, fusion), out / "case.json")
    notes = _show(out, patient, liver, treated, fusion, span(progress, 0.85, 1.0))
    document = _document(patient, treated, fusion, notes, time.perf_counter() - start)
    write_json(document, out / "summary.json")
    progress(1.0, "done")
    return DemoSummary(document, _lines(document, out))


def _likely(margin: MarginResult, liver: sitk.Image, near: NearLesion) -> MarginDistribution:
    """What the true margin of a lesion may be, given how far the fusion says that it is off there."""
    assert near.error_mm is not None
    assert margin.surface is not None
    assert margin.zone_surface is not None
    return margin_distribution(
        margin.surface,
        margin.signed_margin_mm,
        margin.zone_surface,
        is_evaluable=margin.is_evaluable,
        liver=liver,
        errors=MarginErrors(
            near.error_mm, resolution_mm=margin.resolution_mm, registration_bound_90_mm=near.bound_90_mm
        ),
    )


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: the folder cannot be made ({error.strerror})") from error
    return out


def _write_images(
    out: Path,
    patient: DigitalPatient,
    liver: sitk.Image,
    post_liver: sitk.Image,
    obstacles: Mapping[str, sitk.Image],
    progress: ProgressCallback,
) -> None:
    images = {"before": patient.portal, "before-arterial": patient.arterial, "after": patient.post}
    images |= {"liver": liver, "liver-after": post_liver}
    images |= {f"obstacle-{name.replace('_', '-')}": mask for name, mask in obstacles.items()}
    for number, (name, image) in enumerate(images.items()):
        progress(number / len(images), "writing images")
        write_image(image, out / f"{name}.nrrd")


def _segment(
    patient: DigitalPatient,
    liver: sitk.Image,
    post_liver: sitk.Image,
    rng: np.random.Generator,
    progress: ProgressCallback,
) -> tuple[list[LesionSegmentation], list[LesionSegmentation]]:
    tumors, zones = [], []
    for number, lesion in enumerate(patient.lesions):
        progress(number / len(patient.lesions), f"segmenting {lesion.name}")
        line = _drawn(lesion.diameter_line_ras_mm, rng)
        tumors.append(segment_lesion(patient.portal, line, kind="lesion", liver=liver))
        line = _drawn(lesion.zone_line_post_ras_mm, rng)
        zones.append(segment_lesion(patient.post, line, kind="zone", liver=post_liver))
    return tumors, zones


def _drawn(line_ras_mm: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A line as a reader draws it: in one axial slice, its ends not quite exact."""
    shake = rng.normal(0.0, _LINE_NOISE_MM, (2, 3))
    shake[:, 2] = 0.0
    return line_ras_mm + shake


def _plan(
    patient: DigitalPatient,
    tumors: list[LesionSegmentation],
    liver: sitk.Image,
    obstacles: Mapping[str, sitk.Image],
    device: Device,
    progress: ProgressCallback,
) -> list[Plan]:
    progress(0.0, "ways from the skin")
    masks = [tumor.mask for tumor in tumors]
    request = Request(device)
    survey = Survey.of(Scan(patient.portal, liver, obstacles), masks, request.longest_mm)
    plans: list[Plan] = []
    for number, (lesion, mask) in enumerate(zip(patient.lesions, masks, strict=True), start=1):
        part = span(progress, number / (len(masks) + 1), (number + 1) / (len(masks) + 1))
        part(0.0, f"probes for {lesion.name}")
        plans.extend(plans_of(Task.of(survey, mask, request), 0, part))
    return plans


def _write_results(out: Path, treated: list[_Treated]) -> None:
    for lesion in treated:
        name = lesion.truth.name
        write_image(lesion.tumor.mask, out / f"{name}.nrrd")
        write_image(lesion.zone.mask, out / f"{name}-zone.nrrd")
        write_json(lesion.plan.to_dict(), out / f"{name}-plan.json")
        sure = {
            "mam_interval_90_mm": lesion.likely.mam_interval_90_mm,
            "probability_mam_at_least": lesion.likely.probability_mam_at_least,
            "uncertainty": lesion.likely.to_dict(),
        }
        write_json({**lesion.margin.to_dict(), **sure}, out / f"{name}-margin.json")


def _case(
    patient: DigitalPatient,
    liver: sitk.Image,
    post_liver: sitk.Image,
    treated: list[_Treated],
    fusion: FusionResult,
) -> Case:
    case = Case(f"Digital patient {patient.seed}")
    case = case.with_image("before", "planning_image", patient.portal)
    case = case.with_image("before-arterial", "phase_image", patient.arterial)
    case = case.with_image("after", "post_image", patient.post)
    case = case.with_image("liver", "liver", liver).with_image("liver-after", "post_liver", post_liver)
    for lesion in treated:
        name = lesion.truth.name
        case = case.with_image(name, "tumor", lesion.tumor.mask)
        case = case.with_image(f"{name}-zone", "zone", lesion.zone.mask).with_lesion(name)
        case = case.with_result("segmentation", lesion.tumor.to_dict(), subject=name, inputs=("before", "liver"))
        case = case.with_result("plan", lesion.plan.to_dict(), subject=name, inputs=("before", name, "liver"))
    fused = ("before", "after", "liver", "liver-after")
    case = case.with_result("fusion", fusion.to_dict(), inputs=fused)
    for lesion in treated:
        name = lesion.truth.name
        inputs = (name, f"{name}-zone", *fused)
        case = case.with_result("margin", lesion.margin.to_dict(), subject=name, inputs=inputs)
    return case


def _show(
    out: Path,
    patient: DigitalPatient,
    liver: sitk.Image,
    treated: list[_Treated],
    fusion: FusionResult,
    progress: ProgressCallback,
) -> list[str]:
    """Write scene, pictures and report; returns notes for the user."""
    from .scene.case_pictures import pictures_or_note
    from .scene.cases import CaseScene
    from .scene.startup import start_empty
    from .scene.views import write_png

    progress(0.0, "scene")
    start_empty()
    scene = CaseScene.create(patient.portal, image=patient.portal, liver=liver)
    scene.add_phase(patient.arterial, "Before, arterial phase")
    scene.add_after(patient.post, None, patient.post)
    scene.replace_fusion(fusion.transform, fusion.to_dict())
    ids = {}
    for lesion in treated:
        name = lesion.truth.name
        ids[name] = scene.add_lesion(name, lesion.tumor.mask)
        scene.replace_zone(ids[name], lesion.zone.mask)
        scene.replace_plan(ids[name], lesion.plan)
        scene.replace_margin(ids[name], lesion.margin)
    progress(0.2, "saving the scene")
    scene.save(out / "case.mrb")
    progress(0.5, "pictures")
    pictures, notes = pictures_or_note(scene, list(ids.values()))
    folder = _folder(out / "pictures")
    sections = []
    for lesion in treated:
        name = lesion.truth.name
        shown = pictures.get(ids[name], ())
        for number, picture in enumerate(shown, start=1):
            write_png(picture.png, folder / f"{name}-{number}.png")
        note = _truth_note(lesion)
        sections.append(LesionSection(name, lesion.margin, lesion.plan, shown, (note,), uncertainty=lesion.likely))
    title = f"Ablation margins: digital patient {patient.seed}"
    write_report(render_report(title, sections, fusion=fusion.to_dict(), notes=notes), out)
    return notes


def _truth_note(lesion: _Treated) -> str:
    exact = lesion.truth.true_mam_mm
    if exact is None:
        return "Digital patient: no surface of this tumor is evaluable."
    measured = lesion.margin.mam_mm
    found = "not evaluable" if measured is None else f"{measured:.1f} mm"
    return f"Digital patient: the exact MAM is {exact:.1f} mm; from the segmentations and the fusion it is {found}."


def _document(
    patient: DigitalPatient, treated: list[_Treated], fusion: FusionResult, notes: list[str], seconds: float
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "size": patient.size,
        "seed": patient.seed,
        "noise_hu": patient.noise_hu,
        "seconds": seconds,
        "fusion": {
            "seconds": fusion.seconds,
            "error_in_liver_mm": _fusion_error_mm(patient, fusion, _liver_points(patient)),
        },
        "lesions": [_lesion_document(patient, lesion, fusion) for lesion in treated],
        "notes": list(notes),
    }


def _lesion_document(patient: DigitalPatient, lesion: _Treated, fusion: FusionResult) -> dict[str, Any]:
    truth, margin, plan = lesion.truth, lesion.margin.to_dict(), lesion.plan.to_dict()
    line = truth.diameter_line_ras_mm
    return {
        "name": truth.name,
        "kind": truth.kind,
        "diameter_mm": float(np.linalg.norm(line[1] - line[0])),
        "tumor_dice": _dice(lesion.tumor.mask, truth.mask),
        "zone_dice": _dice(lesion.zone.mask, truth.zone_mask),
        "probe_count": plan["probe_count"],
        "tumor_coverage_fraction": plan["tumor_coverage_fraction"],
        "target_coverage_fraction": plan["target_coverage_fraction"],
        "predicted_mam_mm": plan["predicted_mam_mm"],
        "fusion_error_mm": _fusion_error_mm(patient, fusion, truth.surface_points(3.0)[0]),
        "mam_mm": margin["mam_mm"],
        "exact_mam_mm": truth.true_mam_mm,
        "mam_interval_90_mm": lesion.likely.mam_interval_90_mm,
        "probability_mam_at_least": lesion.likely.probability_mam_at_least,
        "registration_error_mm": margin["registration_error_mm"],
        "thinnest_side": margin["direction"]["thinnest"],
        "verdict": margin["verdict"],
        "residual_direction": margin["residual_margin"]["direction_word"],
    }


def _dice(found: sitk.Image, exact: sitk.Image) -> float:
    first, second = (sitk.GetArrayViewFromImage(mask) != 0 for mask in (found, exact))
    return float(2 * np.sum(first & second) / (first.sum() + second.sum()))


def _liver_points(patient: DigitalPatient, every_mm: float = 10.0) -> npt.NDArray[np.float64]:
    """Points (N, 3) spread over the liver before ablation."""
    liver = patient.masks["liver"]
    step = np.maximum(1, np.round(every_mm / np.array(liver.GetSpacing()))).astype(int)
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(liver)[:: step[2], :: step[1], :: step[0]])
    return frames.index_to_ras(liver, np.stack([i, j, k], axis=1) * step)


def _fusion_error_mm(patient: DigitalPatient, fusion: FusionResult, points_ras_mm: npt.NDArray[np.float64]) -> float:
    """Mean distance between where the fusion and the known motion take points (N, 3)."""
    found = frames.transform_points(fusion.transform, points_ras_mm)
    return float(np.linalg.norm(found - patient.pre_to_post(points_ras_mm), axis=1).mean())


def _lines(document: Mapping[str, Any], out: Path) -> tuple[str, ...]:
    lines = [
        f"{'lesion':<10}{'kind':<14}{'mm':>5}{'Dice':>7}{'zone':>7}{'probes':>8}{'target %':>10}"
        f"{'fusion mm':>11}{'MAM mm':>8}{'90 %':>13}{'exact':>7}  verdict"
    ]
    lines += [_lesion_line(lesion) for lesion in document["lesions"]]
    fusion_error_mm = document["fusion"]["error_in_liver_mm"]
    lines.append(f"fusion error {fusion_error_mm:.2f} mm in the liver; all in {document['seconds']:.0f} s")
    lines += [f"note: {note}" for note in document["notes"]]
    lines.append(f"open {out / 'report.html'} in a browser, {out / 'case.mrb'} in 3D Slicer")
    return tuple(lines)


def _lesion_line(lesion: Mapping[str, Any]) -> str:
    return (
        f"{lesion['name']:<10}{lesion['kind']:<14}{lesion['diameter_mm']:>5.0f}{lesion['tumor_dice']:>7.2f}"
        f"{lesion['zone_dice']:>7.2f}{lesion['probe_count']:>8}{100 * lesion['target_coverage_fraction']:>10.1f}"
        f"{lesion['fusion_error_mm']:>11.2f}{_short(lesion['mam_mm']):>8}"
        f"{_interval(lesion['mam_interval_90_mm']):>13}{_short(lesion['exact_mam_mm']):>7}"
        f"  {lesion['verdict']}"
    )


def _interval(ends_mm: list[float] | None) -> str:
    return "-" if ends_mm is None else f"{ends_mm[0]:.1f} to {ends_mm[1]:.1f}"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
