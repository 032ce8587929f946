"""The steps of a procedure in their order, and how far each has come: what the home panel shows.

A step is to do, done, stale (an input of its result changed since) or a problem. It is read off the scene each time,
so that it is always true.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import segmentations
from .cases import CaseScene
from .fusion_steps import zones_in_the_way
from .lesion_nodes import LesionNodes
from .provenance import is_stale, stale_reason
from .zone_steps import treated_lesions

TO_DO, DONE, STALE, PROBLEM = "to do", "done", "stale", "problem"

#: Kinds of segments that are no organ at risk; veins have to be avoided too, but come with the lesions.
_NO_ORGANS = frozenset(
    {"tumor", "lesion", "liver", "target", "tissue", "fat", "vessels", "portal_vein", "hepatic_vein", "hepatic_artery"}
)


@dataclass(frozen=True)
class Step:
    """One step: `key` for programs, `title` for people, `state` (see this module) and why, in a sentence."""

    key: str
    title: str
    state: str
    reason: str


def case_steps(case: CaseScene | None) -> list[Step]:
    """All steps of the procedure, in order; without a case all are to do."""
    if case is None:
        begin = "choose the planning image"
        return [Step(key, title, TO_DO, begin) for key, title in _TITLES.items()]
    lesions = list(case.lesions.values())
    return [
        _images(case),
        _liver(case),
        _of_lesions(lesions),
        _obstacles(case),
        _per_lesion("plan", case, "no plan yet"),
        _post_image(case),
        _per_lesion("zones", case, "draw them before fusing"),
        _fusion(case),
        _per_lesion("margin", case, "none measured yet"),
    ]


def lesion_left(case: CaseScene, key: str) -> str:
    """The id of a lesion for which a step is to be done: the current one where it is, else the first.

    Empty where none is left, and for a step that is not done lesion by lesion.
    """
    left = [lesion.segment_id for lesion, node in _results(case, key) if node is None or is_stale(node)]
    return case.current_lesion if case.current_lesion in left else next(iter(left), "")


_TITLES = {
    "images": "Planning image",
    "liver": "Liver",
    "lesions": "Lesions",
    "obstacles": "Organs at risk",
    "plan": "Probes",
    "post_image": "Image after ablation",
    "zones": "Ablation zones",
    "fusion": "Fusion",
    "margin": "Margins",
}


def _step(key: str, state: str, reason: str) -> Step:
    return Step(key, _TITLES[key], state, reason)


def _images(case: CaseScene) -> Step:
    if case.volume is None:
        return _step("images", PROBLEM, "the planning image is not in the scene; only masks are")
    more = len(case.phases)
    return _step("images", DONE, "one image" if not more else f"{1 + more} images")


def _liver(case: CaseScene) -> Step:
    if case.liver_model is None:
        return _step("liver", TO_DO, "segment it, or take it in")
    return _fresh_or_stale("liver", [case.liver_model], "segmented")


def _of_lesions(lesions: list[LesionNodes]) -> Step:
    if not lesions:
        return _step("lesions", TO_DO, "draw a line across each metastasis")
    count = len(lesions)
    return _fresh_or_stale("lesions", [lesion.tumor_model for lesion in lesions], f"{count} segmented")


def _obstacles(case: CaseScene) -> Step:
    kinds = {
        segmentations.segment_kind(case.before, segment_id) for segment_id in segmentations.segment_ids(case.before)
    }
    found = sorted(kind.replace("_", " ") for kind in kinds - _NO_ORGANS if kind)
    if not found:
        return _step("obstacles", TO_DO, "found when probes are planned, or before")
    return _step("obstacles", DONE, ", ".join(found))


def _post_image(case: CaseScene) -> Step:
    if case.post_volume is None:
        return _step("post_image", TO_DO, "choose the image after ablation")
    return _step("post_image", DONE, "chosen")


def _fusion(case: CaseScene) -> Step:
    if case.post_volume is None or case.transform is None:
        left = ", ".join(lesion.name for lesion in treated_lesions(case) if lesion.zone_segment is None)
        ask = f"after the zones (left: {left})" if left else "fuse before and after"
        return _step("fusion", TO_DO, ask)
    if is_stale(case.transform):
        return _step("fusion", STALE, stale_reason(case.transform))
    document = case.fusion_document() or {}
    verdict = document.get("verdict")
    later = ", ".join(zones_in_the_way(case))
    if later:
        return _step("fusion", STALE, f"fuse again: the zone of {later} was drawn later, so that it was not left out")
    if verdict in ("doubtful", "not usable"):
        return _step("fusion", PROBLEM, f"{verdict}: " + "; ".join(document.get("verdict_reasons", ())))
    error = document.get("estimated_error_mm")
    words = verdict or "fused"
    return _step("fusion", DONE, words if error is None else f"{words}, error about {error:.1f} mm")


def _results(case: CaseScene, key: str) -> list[tuple[LesionNodes, Any]]:
    """The lesions that a step is asked for, each with the node of its result, or None."""
    lesions = list(case.lesions.values())
    if key == "plan":
        return [(lesion, lesion.plan_node) for lesion in lesions]
    if key == "zones":
        return [(lesion, lesion.zone_model) for lesion in treated_lesions(case)]
    if key == "margin":  # asked for where there are zones
        ablated = [lesion for lesion in lesions if lesion.zone_segment is not None] or lesions
        return [(lesion, lesion.margin_node) for lesion in ablated]
    return []


def _per_lesion(key: str, case: CaseScene, none_yet: str) -> Step:
    results = _results(case, key)
    nodes = [node for _, node in results]
    if not any(nodes):
        return _step(key, TO_DO, none_yet)
    missing = [lesion.name for lesion, node in results if node is None]
    if missing:
        return _step(key, TO_DO, f"{len(results) - len(missing)} of {len(results)}; left: {', '.join(missing)}")
    return _fresh_or_stale(key, nodes, f"{len(results)} of {len(results)}")


def _fresh_or_stale(key: str, results: Iterable[Any], done: str) -> Step:
    for node in results:
        if node is None:
            return _step(key, PROBLEM, "a lesion has no surface: its mask is empty")
        if is_stale(node):
            return _step(key, STALE, stale_reason(node))
    return _step(key, DONE, done)
