"""The case in figures: the plan and the margin of each lesion, the burden of the liver, and the report as a page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.net import burden_class
from ..core.report import LesionSection, Picture, render_report, write_report
from . import segmentations, surfaces
from .case_pictures import pictures_or_note
from .cases import CaseScene, LesionNodes
from .provenance import is_stale, stale_reason

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


def write_case_report(case: CaseScene, folder: str | Path) -> Path:
    """Write the report on all lesions with a margin into `folder`, made if need be; returns the page's path.

    The page names lesions L1, L2, ... by their place in the case and holds nothing that names the patient. Raises
    InputError where no lesion has a margin, or the folder cannot be written.
    """
    measured = [(place, lesion) for place, lesion in enumerate(case.lesions.values(), 1) if lesion.margin is not None]
    if not measured:
        raise InputError("there is nothing to report yet: measure the margin of a lesion in NET Margins first")
    pictures, notes = pictures_or_note(case, [lesion.segment_id for _, lesion in measured])
    left = len(case.lesions) - len(measured)
    if left:
        notes = [*notes, f"{left} of {len(case.lesions)} lesions have no margin yet and are not in this report"]
    sections = [_section(place, lesion, pictures.get(lesion.segment_id, ())) for place, lesion in measured]
    return write_report(render_report(_TITLE, sections, fusion=case.fusion_document(), notes=notes), folder)


def _section(place: int, lesion: LesionNodes, pictures: tuple[Picture, ...]) -> LesionSection:
    result = lesion.margin_result
    assert result is not None
    assert lesion.margin is not None
    # The document holds the numbers; the surface and what it carries are in the model.
    model = lesion.margin.surface
    result = replace(
        result,
        surface=surfaces.surface_of(model),
        signed_margin_mm=surfaces.point_scalars(model, surfaces.SIGNED_MARGIN),
        is_evaluable=surfaces.point_scalars(model, surfaces.EVALUABLE).astype(bool),
    )
    reason = lesion_results(lesion).stale
    notes = (f"not up to date: {reason}",) if reason else ()
    named = tuple(replace(picture, caption=picture.caption.replace(lesion.name, f"L{place}")) for picture in pictures)
    return LesionSection(f"L{place}", result, plan=lesion.plan, pictures=named, notes=notes)
