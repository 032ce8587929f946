"""A plan that is made by hand as the nodes of its lesion: the surface of its zones, and the exact document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..core.planning import BY_HAND, Task, plan_by_hand
from ..core.plans import Plan
from ..core.probes import Probe
from . import documents, nodes, surfaces
from .cases import PLANNED_ZONE_OPACITY, CaseScene
from .provenance import Provenance, describe, is_stale, mark_stale
from .terminology import term


def zone_model(case: CaseScene, lesion_id: str) -> Any:
    """The model of a lesion's planned zones, made where there is none; shown in 3D and as its cut in the slices."""
    lesion = case.lesions[lesion_id]
    model = lesion.planned_zone
    if model is None:
        model = nodes.create_node("vtkMRMLModelNode", f"{lesion.name} planned zone", Provenance("planned_zone"))
        display = model.GetDisplayNode()
        display.SetColor(term("planned_zone").color)
        display.SetOpacity(PLANNED_ZONE_OPACITY)
        display.SetBackfaceCulling(False)
        surfaces.show_cut(model)
        lesion.own(model)
    return model


def write_plan(case: CaseScene, lesion_id: str, task: Task | None, probes: Sequence[Probe]) -> None:
    """Measure and write the plan of a lesion; without the `task` for that, the old numbers are marked stale."""
    lesion = case.lesions[lesion_id]
    node, before = lesion.plan_node, lesion.plan
    if task is None:
        if node is not None and not is_stale(node):
            mark_stale(node, "the probes were changed and not measured yet")
        return
    plan = plan_by_hand(task, probes)
    if before is not None:
        plan = _with_bounds(plan, before)
    if node is None:
        node = documents.add_document(plan.to_dict(), f"{lesion.name} plan", Provenance("plan"), schema="plan")
        lesion.own(node)
    else:
        documents.update_document(node, plan.to_dict())
    inputs = tuple(n for n in (case.volume, lesion.tumor_model, case.liver_model) if n is not None)
    describe(node, Provenance("plan", source=BY_HAND, inputs=inputs))
    for line in lesion.probe_lines:
        describe(line, Provenance("probe", inputs=(node,)))
    describe(zone_model(case, lesion_id), Provenance("planned_zone", inputs=(node,)))


def _with_bounds(plan: Plan, before: Plan) -> Plan:
    """The plan with the bounds that an earlier one for the same target and device found."""
    same = ("device", "margin_mm", "input_hashes")
    if any(getattr(plan, name) != getattr(before, name) for name in same):
        return plan
    return replace(
        plan,
        lower_bound_punctures=before.lower_bound_punctures,
        lower_bound_ablations=before.lower_bound_ablations,
    )
