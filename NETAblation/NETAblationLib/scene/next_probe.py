"""Where the next probe goes: planned on what was not ablated, and handed on as a probe of the lesion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from ..core.devices import Device
from ..core.errors import EmptyMaskError, InputError
from ..core.plans import Plan
from ..core.probes import zone_signed_distance_mm
from ..core.progress import ProgressCallback, silent
from ..core.remainder import LEAST_PIECE_ML
from . import nodes, probes, segmentations, surfaces
from .cases import CaseScene
from .margin_steps import residual_node
from .nodes import LESION
from .plan_requests import PlanRequest, plan_and_alternatives
from .provenance import Provenance, is_stale


def missing_for_next_probe(case: CaseScene | None, lesion_id: str) -> str:
    """Why no next probe can be planned for a lesion; empty where one can."""
    lesion = None if case is None else case.lesions.get(lesion_id)
    if case is None or lesion is None or lesion.margin_node is None:
        return "measure the margin first"
    if is_stale(lesion.margin_node):
        return "the margin is stale: measure it again first"
    if residual_node(lesion_id) is None:
        return "tumor and margin are ablated: nothing is left for another probe"
    if case.liver_mask() is None:
        return "segment the liver first: probes are planned through it"
    return ""


def next_probe_request(case: CaseScene, lesion_id: str, device: Device) -> PlanRequest:
    """What planning needs: the target is the tumor and margin not ablated, with no further margin.

    Raises InputError, saying what to do, where something is missing, EmptyMaskError where too little is left.
    """
    missing = missing_for_next_probe(case, lesion_id)
    if missing:
        raise InputError(missing)
    request = PlanRequest.of(case, lesion_id, device=device, margin_mm=0.0)
    return replace(request, tumor=_residual_mask(lesion_id))


def plan_next_probe(request: PlanRequest, progress: ProgressCallback = silent) -> Plan:
    """Plan the fewest probes for what is left; touches no node and raises as `core.planning.plan_probes`."""
    return plan_and_alternatives(request, None, (), 0, progress)[1][0]


def apply_next_probe(case: CaseScene, lesion_id: str, plan: Plan) -> list[str]:
    """Add the planned probes to the lesion's, which stay as they are; returns the ids of their lines."""
    lesion = case.lesions[lesion_id]
    document = plan.to_dict()
    grades = [check["grade"] for check in plan.path_checks]
    found = []
    for number, probe in enumerate(document["probes"]):
        line = probes.add_probe(
            probe["entry_ras_mm"],
            probe["tip_ras_mm"],
            f"{lesion.name} probe {len(lesion.probe_lines) + number + 1}",
            Provenance("probe", "planned on what was not ablated", inputs=(lesion.margin_node,)),
            device=probe["device"] or document["device"],
            ablations=probe["ablations"],
            locked=False,
            path_grade=grades[number] if grades else "",
        )
        line.SetAttribute(LESION, lesion_id)
        nodes.move_to_folder(line, nodes.hierarchy_folder(lesion.name))
        found.append(str(line.GetID()))
    return found


def expected_mam_mm(case: CaseScene, lesion_id: str, plan: Plan) -> float | None:
    """The MAM that zones already ablated and those of a plan will have together, never too large; None without one."""
    margin = case.lesions[lesion_id].margin
    if margin is None:
        return None
    evaluable = surfaces.point_scalars(margin.surface, surfaces.EVALUABLE) != 0
    if not evaluable.any():
        return None
    now = surfaces.point_scalars(margin.surface, surfaces.SIGNED_MARGIN)
    added = -zone_signed_distance_mm(plan.probes, surfaces.surface_of(margin.surface).points_ras_mm)
    return float(np.maximum(now, added)[evaluable].min())


def _residual_mask(lesion_id: str) -> sitk.Image:
    """Tumor and margin that were not ablated as one mask, without pieces too small for a probe."""
    node = residual_node(lesion_id)
    parts = [segmentations.segment_mask(node, segment_id) for segment_id in segmentations.segment_ids(node)]
    whole = parts[0]
    for part in parts[1:]:
        whole = sitk.Or(whole, part)
    least = int(np.ceil(LEAST_PIECE_ML * 1000.0 / np.prod(whole.GetSpacing())))
    large = sitk.RelabelComponent(sitk.ConnectedComponent(whole, True), least) > 0
    if not np.any(sitk.GetArrayViewFromImage(large)):
        raise EmptyMaskError(f"what is left lies in pieces below {LEAST_PIECE_ML:g} ml: no probe is needed")
    return large
