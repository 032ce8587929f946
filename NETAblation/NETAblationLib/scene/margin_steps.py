"""The margin of a lesion as a step of a case: measured, shown, looked at, and what to do where it is short.

Computing (`MarginInputs.measure`) touches no node, so that it may run beside the scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import slicer

from ..core.errors import InputError
from ..core.margin_directions import direction_text
from ..core.margin_uncertainty import MarginDistribution, MarginErrors, margin_distribution
from ..core.margins import DEFAULT_MARGIN_MM, MarginResult, in_doubt, measure_margin
from ..core.plan_margin import margin_against_plan, plan_margin_text
from ..core.probes import Probe
from ..core.progress import ProgressCallback, silent, span
from ..core.zone_union import united_mask
from . import documents, nodes, segmentations, surfaces
from .cases import CaseScene
from .fusion_steps import near_lesion
from .margin_plots import CHART_ROLE, SERIES_ROLE, TABLE_ROLE, add_margin_histogram
from .nodes import LESION
from .points import point_position
from .provenance import Provenance, is_stale, nodes_with_role, stale_reason
from .surfaces import BAND_COLORS, NOT_EVALUABLE_COLOR

RESIDUAL_ROLE = "residual"
UNCERTAINTY = "uncertainty"

#: Colors of the margin's verdicts and of what is stale, as #rrggbb with white letters; the words carry the meaning.
VERDICT_COLORS = {
    "reached": "#1a7f45",
    "not reached": "#c2181f",
    "uncertain": "#b36b00",
    "not evaluable": "#5f6368",
}
STALE_COLOR = "#8a6d3b"
#: Colors of the rows of `MarginSummary.shares`: those of the bands on the tumor's surface.
SHARE_COLORS = (*BAND_COLORS, BAND_COLORS[-1], NOT_EVALUABLE_COLOR)

#: Share of the work that measuring takes; the rest is the interval.
_MEASURING = 0.6


@dataclass(frozen=True)
class MarginInputs:
    """What a margin is measured from; tumor and liver in the frame before, the zone in the frame after."""

    lesion_id: str
    tumor: sitk.Image
    zone: sitk.Image
    liver: sitk.Image | None
    fixed_to_moving: sitk.Transform | None
    margin_mm: float = DEFAULT_MARGIN_MM
    registration_error_mm: float | None = None
    registration_bound_90_mm: float | None = None
    planned: Sequence[Probe] = ()
    fusion_verdict: str | None = None
    zone_shrinkage_fraction: float = 0.0
    shares_zone_with: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        case: CaseScene,
        lesion_id: str,
        margin_mm: float = DEFAULT_MARGIN_MM,
        zone_shrinkage_fraction: float = 0.0,
    ) -> MarginInputs:
        """Take them out of a case, with the error that the fusion states near the lesion.

        Zones of other lesions that touch this one's are united with it: together they are what was ablated.
        Raises InputError where something is missing; the message says what.
        """
        missing = missing_for_margin(case, lesion_id)
        if missing:
            raise InputError(missing)
        zone = case.zone_mask(lesion_id)
        assert zone is not None  # else it were missing
        near = near_lesion(case, lesion_id)
        shared = case.zones_that_touch(lesion_id)
        return cls(
            lesion_id,
            case.tumor_mask(lesion_id),
            united_mask([zone, *shared.values()]),
            case.liver_mask(),
            case.fixed_to_moving(),
            margin_mm,
            near.error_mm,
            near.bound_90_mm,
            _fresh_plan(case, lesion_id),
            near.verdict,
            zone_shrinkage_fraction,
            {other: case.lesions[other].name for other in shared},
        )

    def measure(self, progress: ProgressCallback = silent) -> MeasuredMargin:
        """Measure the margin and how sure it is; touches no node, raises as `core.margins.measure_margin`."""
        result = measure_margin(
            self.tumor,
            self.zone,
            liver=self.liver,
            fixed_to_moving=self.fixed_to_moving,
            margin_mm=self.margin_mm,
            registration_error_mm=self.registration_error_mm,
            zone_shrinkage_fraction=self.zone_shrinkage_fraction,
            progress=span(progress, 0.0, _MEASURING),
        )
        result = in_doubt(result, self.fusion_verdict)
        if self.shares_zone_with:
            names = ", ".join(self.shares_zone_with.values())
            note = f"the zones of {names} touch this lesion's: they were measured as one"
            result = replace(result, warnings=(*result.warnings, note))
        progress(_MEASURING, "how sure it is")
        errors = MarginErrors(resolution_mm=result.resolution_mm)
        if self.registration_error_mm is not None:
            errors = replace(
                errors,
                registration_mm=self.registration_error_mm,
                registration_bound_90_mm=self.registration_bound_90_mm,
            )
        assert result.surface is not None
        assert result.zone_surface is not None
        distribution = margin_distribution(
            result.surface,
            result.signed_margin_mm,
            result.zone_surface,
            is_evaluable=result.is_evaluable,
            liver=self.liver,
            errors=errors,
        )
        against_plan = None
        if self.planned:
            progress(0.95, "against the plan")
            compared = margin_against_plan(result.surface, result.signed_margin_mm, self.planned, result.is_evaluable)
            against_plan = compared.to_dict()
        progress(1.0, "done")
        return MeasuredMargin(result, distribution, against_plan, tuple(self.shares_zone_with))


@dataclass(frozen=True)
class MeasuredMargin:
    """A margin, with surfaces and masks, what the true one may be, and how it compares with the plan.

    `shares_zone_with` are the ids of the lesions whose zones were measured with this one's.
    """

    result: MarginResult
    distribution: MarginDistribution
    against_plan: Mapping[str, Any] | None = None
    shares_zone_with: tuple[str, ...] = ()


def _fresh_plan(case: CaseScene, lesion_id: str) -> Sequence[Probe]:
    """The probes of a lesion's plan; none where it has no plan or one that is stale."""
    lesion = case.lesions[lesion_id]
    if lesion.plan is None or is_stale(lesion.plan_node):
        return ()
    return lesion.plan.probes


def missing_for_margin(case: CaseScene | None, lesion_id: str) -> str:
    """Why the margin of a lesion cannot be measured yet; empty where it can."""
    if case is None or case.volume is None:
        return "choose the image before ablation first"
    lesion = case.lesions.get(lesion_id)
    if lesion is None:
        return "choose a lesion first"
    if case.after is None:
        return "choose the image after ablation first"
    if case.transform is None and case.post_volume is not None:
        return "fuse the images first"
    if lesion.zone_segment is None:
        return f"{lesion.name} has no ablation zone yet: draw its diameter first"
    return ""


def measurable_lesions(case: CaseScene | None) -> list[str]:
    """The ids of the lesions whose margin can be measured now."""
    return [] if case is None else [lesion_id for lesion_id in case.lesions if not missing_for_margin(case, lesion_id)]


def measure_each(inputs: Sequence[MarginInputs], progress: ProgressCallback = silent) -> list[MeasuredMargin]:
    """Measure several margins, one after the other, in the order of their inputs; touches no node."""
    count = len(inputs)
    return [part.measure(span(progress, number / count, (number + 1) / count)) for number, part in enumerate(inputs)]


def apply_margin(case: CaseScene, lesion_id: str, measured: MeasuredMargin) -> None:
    """Put a margin into the case: the colored surface, the weakest place, the figures and what is not ablated."""
    case.replace_margin(lesion_id, measured.result, measured.shares_zone_with)
    node = case.lesions[lesion_id].margin_node
    likely = measured.distribution
    document = {
        **measured.result.to_dict(),
        "mam_interval_90_mm": likely.mam_interval_90_mm,
        "probability_mam_at_least": likely.probability_mam_at_least,
        UNCERTAINTY: likely.to_dict(),
    }
    if measured.against_plan is not None:
        document["against_plan"] = measured.against_plan
    documents.update_document(node, document)
    _replace_residual(case, lesion_id, measured.result, node)


def residual_node(lesion_id: str) -> Any:
    """The segmentation of what was not ablated of a lesion and its margin; None where nothing was left or measured."""
    return next((node for node in nodes_with_role(RESIDUAL_ROLE) if node.GetAttribute(LESION) == lesion_id), None)


def show_residual(lesion_id: str, shown: bool) -> None:
    """Show or hide what was not ablated of a lesion, in slices and in 3D."""
    node = residual_node(lesion_id)
    if node is None:
        return
    if shown and not node.GetSegmentation().ContainsRepresentation("Closed surface"):
        node.CreateClosedSurfaceRepresentation()
    node.GetDisplayNode().SetVisibility(shown)


def is_residual_shown(lesion_id: str) -> bool:
    """Whether what was not ablated of a lesion is shown."""
    node = residual_node(lesion_id)
    return node is not None and bool(node.GetDisplayNode().GetVisibility())


def weakest_point(case: CaseScene, lesion_id: str) -> npt.NDArray[np.float64] | None:
    """Where the margin of a lesion is least, (3,) RAS mm; None where it is not measured or nothing is evaluable."""
    lesion = case.lesions.get(lesion_id)
    return None if lesion is None or lesion.mam_point is None else point_position(lesion.mam_point)


def show_histogram(case: CaseScene, lesion_id: str) -> Any:
    """Plot how much of the evaluable surface of a lesion has which margin; returns the chart's node.

    Where the margin is not measured, or nothing is evaluable, the plot views are emptied and None is returned.
    """
    nodes.remove_nodes(*_with_lesion(lesion_id, TABLE_ROLE, SERIES_ROLE, CHART_ROLE))
    chart = _histogram(case, lesion_id)
    logic = slicer.app.applicationLogic()
    logic.GetSelectionNode().SetActivePlotChartID(None if chart is None else chart.GetID())
    logic.PropagatePlotChartSelection()
    return chart


def _histogram(case: CaseScene, lesion_id: str) -> Any:
    """A new chart of the margin of a lesion; None where there is nothing to plot."""
    lesion = case.lesions.get(lesion_id)
    document = margin_document(case, lesion_id)
    if lesion is None or lesion.margin is None or document is None:
        return None
    model = lesion.margin.surface
    evaluable = surfaces.point_scalars(model, surfaces.EVALUABLE) != 0
    if not evaluable.any():
        return None
    made = add_margin_histogram(
        surfaces.point_scalars(model, surfaces.SIGNED_MARGIN)[evaluable],
        surfaces.surface_of(model).point_areas_mm2[evaluable],
        lesion.name,
        (lesion.margin_node,),
        margin_mm=document["margin_mm"],
    )
    for node in (made.table, made.series, made.chart, *made.limits):
        node.SetAttribute(LESION, lesion_id)
    return made.chart


def _with_lesion(lesion_id: str, *roles: str) -> list[Any]:
    return [node for role in roles for node in nodes_with_role(role) if node.GetAttribute(LESION) == lesion_id]


@dataclass(frozen=True)
class MarginSummary:
    """A margin for people: a word and a headline, lines of text, and tables of (label, text).

    `verdict` is a word of `core.margins.VERDICTS`; `stale` says why the margin holds no longer, empty where it does.
    """

    verdict: str
    headline: str
    interval: str
    reason: str
    shares: tuple[tuple[str, str], ...]
    shells: tuple[tuple[str, str, str], ...]
    residuals: tuple[str, ...]
    sides: tuple[str, ...]
    warnings: tuple[str, ...]
    stale: str


def margin_document(case: CaseScene, lesion_id: str) -> dict[str, Any] | None:
    """All figures of a lesion's margin, with its uncertainty; None where it is not measured."""
    lesion = case.lesions.get(lesion_id)
    if lesion is None or lesion.margin_node is None:
        return None
    return documents.read_document(lesion.margin_node, schema="margin")


def margin_summary(case: CaseScene, lesion_id: str) -> MarginSummary | None:
    """The margin of a lesion for people; None where it is not measured."""
    document = margin_document(case, lesion_id)
    if document is None:
        return None
    node = case.lesions[lesion_id].margin_node
    mam = document["mam_mm"]
    headline = "MAM: none (all of the surface is at the capsule)" if mam is None else f"MAM {mam:.1f} mm"
    return MarginSummary(
        document["verdict"],
        f"{headline}: margin {document['verdict']}",
        _interval(document),
        document["reason"],
        _shares(document),
        _shells(document),
        _residuals(document),
        _sides(document),
        tuple(document["warnings"]),
        stale_reason(node) if is_stale(node) else "",
    )


def _interval(document: Mapping[str, Any]) -> str:
    interval = document.get("mam_interval_90_mm")
    if interval is None:
        return ""
    chances = document.get("probability_mam_at_least") or {}
    asked = ", ".join(f"{name} mm {100 * chance:.0f} %" for name, chance in chances.items())
    return f"True MAM with 90 % probability {interval[0]:.1f} to {interval[1]:.1f} mm; at least {asked}"


def _sides(document: Mapping[str, Any]) -> tuple[str, ...]:
    lines = [direction_text(document["direction"])] if document.get("direction") else []
    if "against_plan" in document:
        lines.append(plan_margin_text(document["against_plan"]))
    return tuple(line for line in lines if line)


def _shares(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    labels = (
        ("below_0", "below 0 mm (not covered)"),
        ("from_0_to_5", "0 to 5 mm"),
        ("at_least_5", "5 mm and more"),
        ("at_least_10", "of these, 10 mm and more"),
    )
    shares = document["surface_fraction"]
    rows = [(label, _percent(shares.get(key))) for key, label in labels]
    return (*rows, ("at the capsule (not evaluable)", _percent(document["subcapsular_fraction"])))


def _shells(document: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    likely = (document.get(UNCERTAINTY) or {}).get("shell_coverage_fraction", {})
    rows = []
    for name, share in document["shell_coverage_fraction"].items():
        row = likely.get(name)
        interval = "" if row is None else f"{100 * row['p05']:.0f} to {100 * row['p95']:.0f} %"
        rows.append((f"{name} mm", _percent(share), interval))
    return tuple(rows)


def _residuals(document: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    for key, what in (("residual_tumor", "Tumor"), ("residual_margin", f"{document['margin_mm']:g} mm margin")):
        left = document.get(key)
        if left is None or not left["volume_ml"] > 0:
            lines.append(f"{what}: all ablated")
            continue
        where = f", {left['distance_mm']:.0f} mm {left['direction_word']} to the tumor's center"
        lines.append(f"{what}: {left['volume_ml']:.2f} ml not ablated{where}")
    return tuple(lines)


def _percent(share: Any) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _replace_residual(case: CaseScene, lesion_id: str, result: MarginResult, margin_node: Any) -> None:
    """Keep what was not ablated as segments, hidden as before; none where nothing was left."""
    shown = is_residual_shown(lesion_id)
    nodes.remove_nodes(residual_node(lesion_id))
    left = (("residual_tumor", result.residual_tumor), ("residual_margin", result.residual_margin))
    masks = [(kind, part.mask) for kind, part in left if part is not None and part.mask is not None]
    filled = [(kind, mask) for kind, mask in masks if np.any(sitk.GetArrayViewFromImage(mask))]
    if not filled:
        return
    name = case.lesions[lesion_id].name
    node = segmentations.add_segmentation(
        segmentations.reference_grid(case.before),
        f"{name} residual",
        Provenance(RESIDUAL_ROLE, inputs=(margin_node,)),
        volume=case.volume,
    )
    for kind, mask in filled:
        segmentations.add_segment(node, mask, kind, resample=True)
    node.SetAttribute(LESION, lesion_id)
    nodes.move_to_folder(node, nodes.hierarchy_folder(name))
    node.GetDisplayNode().SetVisibility(False)
    show_residual(lesion_id, shown)
