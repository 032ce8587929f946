"""Landmark pairs: placed in both images in turn, they measure the fusion and correct it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..scene import fusion_steps, slice_views
from ..scene.cases import CaseScene
from ..scene.landmarks import BEFORE, LandmarkPairs, mean_residual_mm
from ..scene.placing import LandmarkPlacing
from .panel import Panel
from .section import Section
from .tables import Cell, fillTable, fitHeight, selectedKey, setColumns


class LandmarksSection(Section):
    """Places, shows and removes pairs, and says how far the fusion is off at each."""

    def __init__(self, panel: Panel, beginPointing: Callable[[Any], None]) -> None:
        """Connect the widgets; `beginPointing(button)` gets the views ready for clicks."""
        super().__init__(panel)
        self._beginPointing = beginPointing
        self._placing: LandmarkPlacing | None = None
        ui = self.ui
        ui.addPairButton.connect("toggled(bool)", self.onPlace)
        ui.removePairButton.connect("clicked()", self.onRemove)
        ui.landmarksTable.connect("itemSelectionChanged()", self.onSelected)
        setColumns(ui.landmarksTable, [_("Pair"), _("Residual (mm)"), _("State")], wide=2)

    def isPlacing(self) -> bool:
        """Whether the next clicks in the views place a pair."""
        return self._placing is not None

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """All pairs, and how far the fusion is off at each."""
        ui = self.ui
        missing = fusion_steps.missing_for_fusion(case)
        self.panel.allow(ui.addPairButton, missing)
        ui.addPairButton.text = self._placingText()
        pairs = [] if case is None or missing else LandmarkPairs(case).pairs()
        for node in LandmarkPairs.nodes():
            event = node.PointEndInteractionEvent
            if not self.panel.hasObserver(node, event, self.onMoved):
                self.panel.addObserver(node, event, self.onMoved)
        rows = []
        for number, pair in enumerate(pairs, start=1):
            isWhole = pair.residual_mm is not None
            state = _("placed") if isWhole else _("half: click the same place in the other image")
            rows.append([Cell(str(number)), Cell(f"{pair.residual_mm:.1f}" if isWhole else "-"), Cell(state)])
        fillTable(ui.landmarksTable, [str(number) for number in range(len(rows))], rows)
        fitHeight(ui.landmarksTable, 1, 6)
        self.panel.allow(ui.removePairButton, "" if selectedKey(ui.landmarksTable) else _("select a pair first"))
        mean = mean_residual_mm(pairs)
        self.panel.say(ui.residualsLabel, "" if mean is None else _("Mean residual: {mean:.1f} mm").format(mean=mean))
        self.panel.allow(ui.refuseButton, missing, "" if mean is not None else _("place a pair first"))

    def _placingText(self) -> str:
        """What the next click is for, where one is awaited."""
        if self._placing is None:
            return _("Place pair")
        side = _("before") if self._placing.side == BEFORE else _("after")
        return _("Click in the image {side} (press to end)").format(side=side)

    def onPlace(self, isOn: bool) -> None:
        """Arm or end the placing of pairs."""
        with self.panel.attempt(_("Landmarks cannot be placed.")):
            if isOn:
                self.ui.landmarksCollapsibleButton.collapsed = False
                self._beginPointing(self.ui.addPairButton)
                self._placing = LandmarkPlacing(self.case, self.panel.refreshSoon)
            elif self._placing is not None:
                self._placing.stop()
                self._placing = None

    def onMoved(self, caller: Any = None, event: Any = None) -> None:
        """Show what a point that was dragged leaves."""
        self.panel.refreshSoon()

    def onRemove(self) -> None:
        """Remove the selected pair."""
        key = selectedKey(self.ui.landmarksTable)
        if key:
            with self.panel.attempt(_("The pair cannot be removed.")):
                LandmarkPairs(self.case).remove(int(key))

    def onSelected(self) -> None:
        """Show the place of the selected pair."""
        key, case = selectedKey(self.ui.landmarksTable), self.panel.case
        place = LandmarkPairs(case).show(int(key)) if key and case is not None else None
        if place is not None:
            slice_views.center(place)
        self.panel.refreshSoon()
