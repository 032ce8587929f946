"""A case from files into a saved scene or a report, and from a saved scene back to masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ..core.errors import InputError
from ..core.lesion_measures import split_labels
from ..core.margin_uncertainty import MarginDistribution
from ..core.margins import MarginResult
from ..core.plan_margin import PlanComparison
from ..core.plans import Plan
from ..core.report import LesionSection, render_report, write_report
from . import segmentations, startup, storage, surfaces, volumes
from .case_pictures import pictures_or_note
from .cases import CaseScene
from .provenance import is_stale


def save_plan_scene(path: str | Path, *, image: sitk.Image, tumor: sitk.Image, liver: sitk.Image, plan: Plan) -> Path:
    """Save a scene with image, liver, tumor, probes and planned zones; outside the application only."""
    startup.start_empty()
    case = CaseScene.create(image, image=image, liver=liver)
    case.replace_plan(case.add_lesion("Lesion", tumor), plan)
    return case.save(path)


def present_margin(
    result: MarginResult,
    *,
    tumor: sitk.Image,
    zone: sitk.Image,
    liver: sitk.Image | None = None,
    fixed_to_moving: sitk.Transform | None = None,
    image: sitk.Image | None = None,
    post_image: sitk.Image | None = None,
    scene_file: Path | None = None,
    report_folder: Path | None = None,
    uncertainty: MarginDistribution | None = None,
    against_plan: PlanComparison | None = None,
) -> list[str]:
    """Save a measured margin as a scene, as a report with pictures, or both.

    The report says how sure the margin is and how it compares with the plan, where `uncertainty` and `against_plan`
    are given; the latter is also a second scalar of the margin's model.
    Returns notes for the user, such as that there are no pictures. Outside the application only.
    """
    startup.start_empty()
    case = CaseScene.create(tumor if image is None else image, image=image, liver=liver)
    lesion_id = case.add_lesion("Lesion", tumor)
    case.add_after(zone, fixed_to_moving, post_image)
    case.replace_zone(lesion_id, zone)
    case.replace_margin(lesion_id, result)
    models = case.lesions[lesion_id].margin
    if against_plan is not None and models is not None:
        surfaces.add_difference(models.surface, against_plan.difference_mm)
    if scene_file is not None:
        case.save(scene_file)
    if report_folder is None:
        return []
    pictures, notes = pictures_or_note(case, [lesion_id])
    section = LesionSection(
        "Lesion",
        result,
        pictures=pictures.get(lesion_id, ()),
        uncertainty=uncertainty,
        against_plan=against_plan,
    )
    write_report(render_report("Ablation margin", [section], notes=notes), report_folder)
    return notes


@dataclass(frozen=True)
class CaseMasks:
    """What a saved case holds before ablation: lesions, liver, other structures and images, by name.

    `probes` is how many the plan of a lesion has, where it has one that still holds.
    """

    lesions: Mapping[str, sitk.Image]
    liver: sitk.Image | None
    structures: Mapping[str, sitk.Image]
    phases: Mapping[str, sitk.Image]
    probes: Mapping[str, int]


def read_case_masks(path: str | Path) -> CaseMasks:
    """Read lesions, liver, structures (by kind) and images before ablation from a saved case.

    Outside the application only. Each lesion is cut out of its image. Raises InputError for a file that is no
    scene, or no case of this project.
    """
    startup.start_empty()
    storage.load_scene(path)
    case = CaseScene.open()
    if case is None:
        raise InputError(f"{path}: holds no segmentation before ablation; give a case that was saved by this project")
    lesions: dict[str, sitk.Image] = {}
    planned: dict[str, int] = {}
    for lesion_id, lesion in case.lesions.items():
        name = lesion_id if lesion.name in lesions else lesion.name
        lesions[name] = split_labels(segmentations.segment_mask(case.before, lesion_id), name)[1]
        plan = lesion.plan
        if plan is not None and not is_stale(lesion.plan_node):
            planned[name] = plan.probe_count
    images = {
        str(node.GetName()): volumes.volume_image(node) for node in (case.volume, *case.phases) if node is not None
    }
    return CaseMasks(lesions, case.liver_mask(), case.structures(), images, planned)
