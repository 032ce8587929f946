"""The margin of the lesion: measured, and shown in words, figures and views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from ..scene import fusion_steps, layouts, margin_steps, step_views
from ..scene.cases import CaseScene
from .panel import Panel
from .section import Section
from .tables import Cell, fillTable, fitHeight, setColumns


class MarginSection(Section):
    """Measures the margin of one lesion or of all, and shows where it is least and what was not ablated."""

    def __init__(self, panel: Panel, endPointing: Callable[[], None]) -> None:
        """Connect the widgets; `endPointing` is called before a measurement."""
        super().__init__(panel)
        self._endPointing = endPointing
        ui = self.ui
        ui.measureButton.connect("clicked()", self.onMeasure)
        ui.measureAllButton.connect("clicked()", self.onMeasureAll)
        ui.weakestButton.connect("clicked()", self.onWeakest)
        ui.residualButton.connect("toggled(bool)", self.onResidual)
        ui.viewsButton.connect("clicked()", self.onViews)
        setColumns(ui.sharesTable, [_("Margin"), _("Share of surface")], wide=1)
        setColumns(ui.shellsTable, [_("Shell"), _("Ablated"), _("90 % interval")], wide=2)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The margin of the lesion in words, numbers and tables."""
        ui, allow = self.ui, self.panel.allow
        allow(ui.measureButton, margin_steps.missing_for_margin(case, lesionId))
        several = len(margin_steps.measurable_lesions(case)) > 1
        allow(ui.measureAllButton, "" if several else _("only one lesion, or none, can be measured"))
        summary = None if case is None else margin_steps.margin_summary(case, lesionId)
        for widget in (ui.marginLabel, ui.intervalLabel, ui.marginDetailsLabel, ui.sharesTable, ui.shellsTable):
            widget.visible = summary is not None
        none = "" if summary is not None else _("measure the margin first")
        allow(ui.viewsButton, none)
        isKnown = case is not None and margin_steps.weakest_point(case, lesionId) is not None
        allow(ui.weakestButton, none, "" if isKnown else _("no part of the surface is evaluable"))
        isLeft = margin_steps.residual_node(lesionId) is not None
        allow(ui.residualButton, none, "" if isLeft else _("tumor and margin are ablated"))
        wasBlocked = ui.residualButton.blockSignals(True)
        ui.residualButton.checked = margin_steps.is_residual_shown(lesionId)
        ui.residualButton.blockSignals(wasBlocked)
        if case is not None and summary is not None:
            self._showSummary(summary, fusion_steps.word_near(case, lesionId))

    def _showSummary(self, summary: margin_steps.MarginSummary, fusionWord: str) -> None:
        ui = self.ui
        color = margin_steps.STALE_COLOR if summary.stale else margin_steps.VERDICT_COLORS[summary.verdict]
        stale = _("Stale ({reason}): ").format(reason=summary.stale) if summary.stale else ""
        ui.marginLabel.text = stale + summary.headline
        ui.marginLabel.styleSheet = (
            f"color: white; background-color: {color}; padding: 5px; border-radius: 3px; font-weight: bold"
        )
        ui.intervalLabel.text = summary.interval
        warnings = [f"• {text}" for text in summary.warnings]
        if fusionWord not in (fusion_steps.GOOD, fusion_steps.NONE):
            warnings.insert(0, _("• The fusion is {word}: see above.").format(word=fusionWord))
        details = [summary.reason, *summary.sides, *summary.residuals, *warnings]
        ui.marginDetailsLabel.text = "\n".join(text[:1].upper() + text[1:] for text in details)
        colors = margin_steps.SHARE_COLORS
        shares = [
            [Cell(label, color=color), Cell(text)] for (label, text), color in zip(summary.shares, colors, strict=True)
        ]
        fillTable(ui.sharesTable, [label for label, _text in summary.shares], shares)
        fitHeight(ui.sharesTable, len(shares), len(shares))
        shells = [[Cell(text) for text in row] for row in summary.shells]
        fillTable(ui.shellsTable, [row[0] for row in summary.shells], shells)
        fitHeight(ui.shellsTable, len(shells), len(shells))

    def onMeasure(self) -> None:
        """Measure the margin of the lesion."""
        self._measure([self.panel.lesionId])

    def onMeasureAll(self) -> None:
        """Measure the margins of all lesions that have an ablation zone."""
        self._measure(margin_steps.measurable_lesions(self.panel.case))

    def _measure(self, lesionIds: Sequence[str]) -> None:
        """Measure the margins of some lesions."""
        with self.panel.attempt(_("The margin cannot be measured.")):
            self._endPointing()
            case, chosen = self.case, self.panel.parameterNode
            shrinkage = chosen.zoneShrinkagePercent / 100.0
            inputs = [margin_steps.MarginInputs.of(case, each, chosen.marginMm, shrinkage) for each in lesionIds]
            work = partial(margin_steps.measure_each, inputs)
            self.panel.startWork(_("Margin"), work, partial(self.onMeasured, lesionIds))

    def onMeasured(self, lesionIds: Sequence[str], measured: Sequence[Any]) -> None:
        """Put the margins into the case and show that of the lesion, its weakest point in all views."""
        case = self.case
        for lesionId, margin in zip(lesionIds, measured, strict=True):
            margin_steps.apply_margin(case, lesionId, margin)
        step_views.show_step(layouts.MARGIN, case, self.panel.lesionId)
        for section in (
            self.ui.imagesCollapsibleButton,
            self.ui.zoneCollapsibleButton,
            self.ui.lookCollapsibleButton,
        ):
            section.collapsed = True  # so that verdict and margin are seen together

    def onWeakest(self) -> None:
        """Center all views on the weakest point."""
        case = self.panel.case
        if case is not None:
            step_views.look_at_weakest(case, self.panel.lesionId)

    def onResidual(self, isOn: bool) -> None:
        """Show what was not ablated."""
        with self.panel.attempt(_("What was not ablated cannot be shown."), isSlow=True):
            margin_steps.show_residual(self.panel.lesionId, isOn)

    def onViews(self) -> None:
        """Arrange the views for the margin."""
        with self.panel.attempt(_("The margin cannot be shown."), isSlow=True):
            step_views.show_step(layouts.MARGIN, self.panel.case, self.panel.lesionId)
