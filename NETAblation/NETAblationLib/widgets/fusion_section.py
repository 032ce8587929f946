"""The fusion: how hard to search, what it is worth in words and figures, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from ..scene import fusion_steps, layouts, step_views
from ..scene.cases import CaseScene
from ..scene.landmarks import LandmarkPairs
from .panel import Panel
from .section import Section


class FusionSection(Section):
    """Fuses the images, with the landmark pairs where there are some, and shows the verdict."""

    def __init__(self, panel: Panel, endPointing: Callable[[], None], onFused: Callable[[], None]) -> None:
        """Connect the widgets; `endPointing` is called before a fusion, `onFused` when it is in the case."""
        super().__init__(panel)
        self._endPointing, self._afterwards = endPointing, onFused
        for key, text in fusion_steps.PRESETS.items():
            self.ui.presetComboBox.addItem(_(text), key)
        self.ui.presetComboBox.connect("currentIndexChanged(int)", self.onPreset)
        self.ui.fuseButton.connect("clicked()", self.onFuse)
        self.ui.refuseButton.connect("clicked()", self.onFuse)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The fusion's verdict in words and numbers."""
        ui = self.ui
        self.panel.choose(ui.presetComboBox, self.panel.parameterNode.preset)
        missing = fusion_steps.missing_for_fusion(case)
        self.panel.allow(ui.fuseButton, missing)
        self.panel.say(ui.zoneWarningLabel, "" if case is None or missing else fusion_steps.zone_warning(case))
        ui.zoneWarningLabel.styleSheet = f"color: white; background-color: {fusion_steps.WARNING_COLOR}; padding: 5px"
        ui.fuseButton.text = _("Fuse") if case is None or case.transform is None else _("Fuse again")
        labels = (ui.verdictLabel, ui.verdictReasonsLabel, ui.fusionFiguresLabel, ui.adviceLabel)
        if case is None or missing:
            for label in labels:
                label.text = ""
            ui.adviceLabel.text = _("First {what}.").format(what=missing.removesuffix(" first"))
        else:
            verdict = fusion_steps.fusion_verdict(case)
            ui.verdictLabel.text = verdict.headline
            ui.verdictLabel.styleSheet = (
                f"color: white; background-color: {verdict.color}; padding: 5px; border-radius: 3px; font-weight: bold"
            )
            ui.verdictReasonsLabel.text = "\n".join(f"• {reason}" for reason in verdict.reasons)
            ui.fusionFiguresLabel.text = "\n".join(f"{label}: {text}" for label, text in verdict.figures)
            ui.adviceLabel.text = verdict.advice
        for label in labels:
            label.visible = label.text != ""

    def onPreset(self, index: int) -> None:
        """Keep the chosen effort."""
        if index >= 0 and self.panel.parameterNode is not None:
            self.panel.parameterNode.preset = self.ui.presetComboBox.itemData(index)

    def onFuse(self) -> None:
        """Fuse, with the landmark pairs where there are some."""
        with self.panel.attempt(_("The images cannot be fused.")):
            self._endPointing()
            case = self.case
            inputs = fusion_steps.FusionInputs.of(case, LandmarkPairs(case).complete())
            work = partial(inputs.fuse, preset=self.panel.parameterNode.preset)
            self.panel.startWork(_("Fusion"), work, partial(self.onFused, inputs))

    def onFused(self, inputs: fusion_steps.FusionInputs, result: Any) -> None:
        """Put the fusion into the case and show it."""
        case = self.case
        fusion_steps.apply_fusion(case, inputs, result)
        step_views.show_step(layouts.FUSION, case, self.panel.lesionId)
        self._afterwards()
