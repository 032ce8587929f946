"""The images before and after ablation: which they are, and what is segmented in the one after."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..scene import fusion_steps, organs
from ..scene.cases import CaseScene
from .panel import Panel
from .section import Section


class BeforeAfterSection(Section):
    """Chooses both images of the case, and segments liver and vessels of the one after."""

    def __init__(self, panel: Panel, beforeAdopting: Callable[[], None], onAdopted: Callable[[], None]) -> None:
        """Connect the widgets; the image after is taken between `beforeAdopting` and `onAdopted`."""
        super().__init__(panel)
        self._beforeAdopting, self._onAdopted = beforeAdopting, onAdopted
        self.ui.beforeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onBefore)
        self.ui.afterSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onAfter)
        self.ui.liverAfterButton.connect("clicked()", self.onLiverAfter)
        self.ui.vesselsAfterButton.connect("clicked()", self.onVesselsAfter)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """Both images of the case, and whether liver and vessels are segmented after."""
        ui, allow = self.ui, self.panel.allow
        volumes = (None, None) if case is None else (case.volume, case.post_volume)
        for selector, volume in zip((ui.beforeSelector, ui.afterSelector), volumes, strict=True):
            wasBlocked = selector.blockSignals(True)
            selector.setCurrentNode(volume)
            selector.blockSignals(wasBlocked)
        chosen = "" if volumes[0] is None else _("the case is built on this image; begin another case in another scene")
        allow(ui.beforeSelector, chosen)
        allow(ui.afterSelector, "" if volumes[0] is not None else _("choose the image before first"))
        missing = fusion_steps.missing_for_fusion(case)
        allow(ui.liverAfterButton, missing)
        kinds = set() if case is None else case.post_kinds
        hasVessels = not kinds.isdisjoint(organs.VESSEL_KINDS)
        allow(ui.vesselsAfterButton, missing, "" if "liver" in kinds else _("segment the liver after first"))
        ui.liverAfterState.text = _("segmented") if "liver" in kinds else _("not segmented")
        ui.vesselsAfterState.text = _("segmented") if hasVessels else _("not segmented")

    def onBefore(self, node: Any) -> None:
        """Begin a case with the chosen image."""
        if node is None or self.panel.case is not None:
            return
        with self.panel.attempt(_("The image before cannot be used."), isSlow=True):
            CaseScene.adopt(node)

    def onAfter(self, node: Any) -> None:
        """Take the chosen image as the one after."""
        case = self.panel.case
        if node is None or case is None or node is case.post_volume:
            self.panel.refreshSoon()
            return
        question = _("Another image after ablation removes the fusion, zones and margins. Go on?")
        if case.transform is not None and not slicer.util.confirmOkCancelDisplay(question):
            self.panel.refreshSoon()
            return
        with self.panel.attempt(_("The image after cannot be used."), isSlow=True):
            self._beforeAdopting()
            case.adopt_after(node)
            self._onAdopted()

    def onLiverAfter(self) -> None:
        """Segment the liver in the image after."""
        with self.panel.attempt(_("The liver cannot be segmented.")):
            case = self.case
            self.panel.startWork(_("Liver after"), organs.post_liver_work(case), partial(organs.put_post_liver, case))

    def onVesselsAfter(self) -> None:
        """Segment the vessels in the image after."""
        with self.panel.attempt(_("The vessels cannot be segmented.")):
            case = self.case
            self.panel.startWork(
                _("Vessels after"), organs.post_vessels_work(case), partial(organs.put_post_vessels, case)
            )
