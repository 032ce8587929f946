"""The ablation zone of the lesion: drawn by its diameter, or taken from a segment of the scene."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from ..scene import fusion_steps, zone_steps
from ..scene.cases import CaseScene
from ..scene.placing import ZoneDrawing
from .panel import Panel
from .section import Section


class ZoneSection(Section):
    """Draws the zone of the lesion, follows its line, and says how large it is and what was noticed."""

    def __init__(self, panel: Panel, beginPointing: Callable[[Any], None]) -> None:
        """Connect the widgets; `beginPointing(button)` gets the views ready for clicks."""
        super().__init__(panel)
        self._beginPointing = beginPointing
        self._drawing = ZoneDrawing(self.onDrawn)
        self._sources: list[zone_steps.ZoneSource] = []
        self._shownLesion = ""
        self.ui.drawZoneButton.connect("toggled(bool)", self.onDraw)
        self.ui.takeZoneButton.connect("clicked()", self.onTake)

    def stop(self) -> None:
        """Follow no line any more."""
        self._drawing.stop()

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The zone of the lesion, and where it could come from; unfolded where another lesion has none yet."""
        ui = self.ui
        lesion = None if case is None else case.lesions.get(lesionId)
        if lesionId != self._shownLesion and lesion is not None and lesion.zone_segment is None:
            ui.zoneCollapsibleButton.collapsed = False
        self._shownLesion = lesionId
        missing = fusion_steps.missing_for_fusion(case) or ("" if lesion is not None else _("choose a lesion first"))
        self.panel.allow(ui.drawZoneButton, missing)
        self._drawing.follow()
        isPlacing = self._drawing.is_placing
        ui.drawZoneButton.text = _("Click both ends (press to end)") if isPlacing else _("Draw diameter")
        self._sources = [] if missing else zone_steps.zone_sources()
        names = [source.name for source in self._sources]
        if [ui.zoneSourceComboBox.itemText(index) for index in range(ui.zoneSourceComboBox.count)] != names:
            ui.zoneSourceComboBox.clear()
            for name in names:
                ui.zoneSourceComboBox.addItem(name)
        ui.zoneSourceComboBox.enabled = bool(names)
        self.panel.allow(ui.takeZoneButton, missing, "" if names else _("the scene has no other segmentation"))
        if case is None or lesion is None:
            self.panel.say(ui.zoneLabel, "")
        elif lesion.zone_segment is None:
            self.panel.say(ui.zoneLabel, "" if missing else _("{lesion} has no zone yet.").format(lesion=lesion.name))
        else:
            size = _("{lesion}: zone of {ml:.1f} ml").format(lesion=lesion.name, ml=zone_steps.zone_ml(case, lesionId))
            noticed = [f"• {text}" for text in zone_steps.zone_warnings(lesionId)]
            self.panel.say(ui.zoneLabel, "\n".join([size, *noticed]))

    def onDraw(self, isOn: bool) -> None:
        """Arm or end the drawing of the zone's diameter."""
        with self.panel.attempt(_("The zone cannot be drawn.")):
            if not isOn:
                self._drawing.end()
                return
            self._beginPointing(self.ui.drawZoneButton)
            self._drawing.begin(self.case, self.panel.lesionId)

    def onDrawn(self, lesionId: str) -> None:
        """Segment the zone of a diameter that was drawn or dragged."""
        self.ui.drawZoneButton.checked = False
        with self.panel.attempt(_("The zone cannot be segmented.")):
            inputs = zone_steps.ZoneInputs.of(self.case, lesionId)
            self.panel.startWork(_("Ablation zone"), inputs.segment, partial(self.onSegmented, inputs))

    def onSegmented(self, inputs: zone_steps.ZoneInputs, result: Any) -> None:
        """Put the zone into the case."""
        zone_steps.apply_zone(self.case, inputs, result)

    def onTake(self) -> None:
        """Take the chosen segment as the zone."""
        with self.panel.attempt(_("The segment cannot be taken as a zone."), isSlow=True):
            source = self._sources[self.ui.zoneSourceComboBox.currentIndex]
            zone_steps.adopt_zone(self.case, self.panel.lesionId, source)
