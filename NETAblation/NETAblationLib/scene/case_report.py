"""The case in figures: the plan and the margin of each lesion, the burden of the liver, and the report as a page."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.margins import MarginResult
from ..core.net import burden_class
from ..core.progress import ProgressCallback, silent
from ..core.report import LesionSection, Picture, render_report, write_report
from . import offscreen, segmentations, surfaces
from .case_pictures import NO_PICTURES, lesion_pictures
from .cases import CaseScene
from .lesion_nodes import LesionNodes
from .lesion_table import LesionRow, LesionTable
from .margin_steps import margin_summary
from .organs import Work
from .provenance import is_stale, stale_reason

#: The pictures of each lesion by its id.
Pictures = dict[str, list[Picture]]

#: The page says nothing of the patient: no name of a node, a file or a study gets into it.
_TITLE = "Ablation margins"


@dataclass(frozen=True)
class LesionResults:
    """What was planned for a lesion and what was reached; None where there is no plan, no margin or no figure.

    `stale` says why plan or margin do not hold any more; empty where they do.
    """

    lesion_id: str
    probe_count: int | None
    predicted_mam_mm: float | None
    mam_mm: float | None
    verdict: str
    stale: str


@dataclass(frozen=True)
class TumorBurden:
    """Tumor and liver (tumor included) in ml, their ratio, and the class of ENETS."""

    tumor_ml: float
    liver_ml: float
    fraction: float
    burden_class: str


def lesion_results(lesion: LesionNodes) -> LesionResults:
    """Plan and margin of a lesion as the scene has them."""
    plan, margin = lesion.plan, lesion.margin_result
    results = (node for node in (lesion.margin_node, lesion.plan_node) if node is not None)
    return LesionResults(
        lesion_id=lesion.segment_id,
        probe_count=None if plan is None else len(plan.probes),
        predicted_mam_mm=None if plan is None else plan.predicted_mam_mm,
        mam_mm=None if margin is None else margin.mam_mm,
        verdict="" if margin is None else margin.verdict,
        stale=next((stale_reason(node) for node in results if is_stale(node)), ""),
    )


def tumor_burden(case: CaseScene) -> TumorBurden | None:
    """The burden of all lesions; None before there are a liver and a lesion."""
    liver = case.liver_mask()
    if liver is None or not case.lesions:
        return None
    tumor = np.zeros(sitk.GetArrayViewFromImage(liver).shape, dtype=bool)
    for lesion_id in case.lesions:
        tumor |= sitk.GetArrayFromImage(segmentations.segment_mask(case.before, lesion_id, liver)) > 0
    whole = tumor | (sitk.GetArrayViewFromImage(liver) > 0)
    voxel_ml = float(np.prod(liver.GetSpacing())) / 1000.0
    tumor_ml, liver_ml = voxel_ml * int(np.count_nonzero(tumor)), voxel_ml * int(np.count_nonzero(whole))
    if not tumor_ml:
        return None
    fraction = tumor_ml / liver_ml
    return TumorBurden(tumor_ml, liver_ml, fraction, burden_class(fraction))


def missing_for_report(case: CaseScene | None) -> str:
    """Why no report can be written yet; empty where one can."""
    if case is None:
        return "begin the case first"
    return "" if case.lesions else "segment a lesion first"


def write_case_report(case: CaseScene, folder: str | Path) -> Path:
    """Write the report on all lesions into `folder`, made if need be, with what is not there yet; returns its path.

    The page names lesions L1, L2, ... by their place in the case and holds nothing that names the patient. Raises
    InputError where the case has no lesion, or the folder cannot be written.
    """
    pictures = picture_steps(case)
    try:
        while True:
            next(pictures)
    except StopIteration as end:
        return report_work(case, end.value, folder)(silent)


def picture_steps(case: CaseScene) -> Generator[tuple[float, str], None, Pictures]:
    """Render the pictures of all lesions one by one, which has to be done in the main thread.

    Yields how far that has come (0..1) and with what; returns the pictures by lesion, none where nothing can be
    rendered.
    """
    found: Pictures = {}
    if not offscreen.can_render():
        return found
    lesions = [lesion for lesion in case.lesions.values() if lesion.tumor_model is not None]
    for number, lesion in enumerate(lesions):
        found[lesion.segment_id] = []
        for picture in lesion_pictures(case, lesion.segment_id):
            found[lesion.segment_id].append(picture)
            yield number / len(lesions), lesion.name
    return found


def report_work(case: CaseScene, pictures: Pictures, folder: str | Path) -> Work[Path]:
    """Making the page and writing it; takes all it needs out of the scene. Raises as `write_case_report`."""
    missing = missing_for_report(case)
    if missing:
        raise InputError(f"there is nothing to report yet: {missing}")
    rows = zip(LesionTable().rows(case), case.lesions.values(), strict=True)
    sections = [
        _section(case, place, row, lesion, pictures.get(row.lesion_id, ()))
        for place, (row, lesion) in enumerate(rows, 1)
    ]
    notes = [*([] if offscreen.can_render() else [NO_PICTURES]), *_not_yet(case)]
    fusion, facts = case.fusion_document(), _facts(case)

    def write(progress: ProgressCallback) -> Path:
        progress(0.0, "page")
        return write_report(render_report(_TITLE, sections, fusion=fusion, notes=notes, facts=facts), folder)

    return write


def _facts(case: CaseScene) -> list[tuple[str, str]]:
    """The whole case in figures."""
    found = [("Lesions", str(len(case.lesions)))]
    burden = tumor_burden(case)
    if burden is not None:
        share = f"{100 * burden.fraction:.1f} % of the liver ({burden.tumor_ml:.1f} of {burden.liver_ml:.0f} ml)"
        found.append(("Tumor burden", f"{share}, class {burden.burden_class}"))
    return found


def _not_yet(case: CaseScene) -> list[str]:
    """What the whole case does not have yet, or has no more."""
    notes = []
    if case.volume is None:
        notes.append("the planning image is not in the scene")
    if case.liver_model is None:
        notes.append("the liver is not segmented yet: no tumor burden, no surface at its capsule told apart")
    if case.post_volume is None:
        notes.append("there is no image after ablation yet: what is said of margins is planned, not achieved")
    elif case.transform is None:
        notes.append("the images before and after are not fused")
    elif is_stale(case.transform):
        notes.append(f"the fusion is not up to date: {stale_reason(case.transform)}")
    return notes


def _section(
    case: CaseScene, place: int, row: LesionRow, lesion: LesionNodes, pictures: Sequence[Picture]
) -> LesionSection:
    facts = [
        ("Volume", f"{row.volume_ml:.1f} ml"),
        ("Long x short axis in an axial slice", f"{row.long_axis_mm:.0f} x {row.short_axis_mm:.0f} mm"),
    ]
    summary = margin_summary(case, lesion.segment_id)
    if summary is not None and summary.interval:
        facts.append(("How sure the margin is", summary.interval))
    notes = []
    reason = lesion_results(lesion).stale
    if reason:
        notes.append(f"not up to date: {reason}")
    if lesion.plan_node is None:
        notes.append("no probes are planned yet")
    if lesion.margin is None:
        zone_missing = lesion.zone_segment is None
        notes.append("no ablation zone is drawn yet" if zone_missing else "the margin is not measured yet")
    named = tuple(replace(picture, caption=picture.caption.replace(lesion.name, f"L{place}")) for picture in pictures)
    return LesionSection(
        f"L{place}", _margin(lesion), plan=lesion.plan, pictures=named, notes=tuple(notes), facts=tuple(facts)
    )


def _margin(lesion: LesionNodes) -> MarginResult | None:
    """The margin with its surface: the document holds the numbers, the model the surface and what it carries."""
    result = lesion.margin_result
    if result is None or lesion.margin is None:
        return None
    model = lesion.margin.surface
    return replace(
        result,
        surface=surfaces.surface_of(model),
        signed_margin_mm=surfaces.point_scalars(model, surfaces.SIGNED_MARGIN),
        is_evaluable=surfaces.point_scalars(model, surfaces.EVALUABLE).astype(bool),
    )
