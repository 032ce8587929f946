"""The next probe: planned for what was not ablated, and handed on to NET Probes."""

from __future__ import annotations

from functools import partial

import slicer
from slicer.i18n import tr as _

from ..core.devices import load_catalogue
from ..core.plans import Plan
from ..scene import layouts, next_probe, step_views
from ..scene.cases import CaseScene
from .panel import Panel
from .section import Section


class NextProbeSection(Section):
    """Plans a probe of the chosen device for what was not ablated of the lesion."""

    def __init__(self, panel: Panel) -> None:
        """Offer the devices and connect the widgets."""
        super().__init__(panel)
        self._devices = load_catalogue()
        self._shownLesion = ""
        for device in self._devices.values():
            self.ui.deviceComboBox.addItem(f"{device.maker} {device.model}", device.id)
        self.ui.deviceComboBox.connect("currentIndexChanged(int)", self.onDevice)
        self.ui.nextProbeButton.connect("clicked()", self.onPlan)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The chosen device, and what was planned last for this lesion."""
        ui = self.ui
        self.panel.choose(ui.deviceComboBox, self.panel.parameterNode.device or next(iter(self._devices)))
        if self._shownLesion != lesionId or not ui.nextProbeLabel.text:
            self._shownLesion = lesionId
            self.panel.say(ui.nextProbeLabel, "")
        self.panel.allow(ui.nextProbeButton, next_probe.missing_for_next_probe(case, lesionId))

    def onDevice(self, index: int) -> None:
        """Keep the chosen device."""
        if index >= 0 and self.panel.parameterNode is not None:
            self.panel.parameterNode.device = self.ui.deviceComboBox.itemData(index)

    def onPlan(self) -> None:
        """Plan a probe for what was not ablated."""
        with self.panel.attempt(_("The next probe cannot be planned.")):
            lesionId = self.panel.lesionId
            device = self._devices[self.ui.deviceComboBox.itemData(self.ui.deviceComboBox.currentIndex)]
            request = next_probe.next_probe_request(self.case, lesionId, device)
            work = partial(next_probe.plan_next_probe, request)
            self.panel.startWork(_("Next probe"), work, partial(self.onPlanned, lesionId))

    def onPlanned(self, lesionId: str, plan: Plan) -> None:
        """Hand the probe on to NET Probes."""
        case = self.case
        expected = next_probe.expected_mam_mm(case, lesionId, plan)
        next_probe.apply_next_probe(case, lesionId, plan)
        text = _("{count} probe(s) added for what was not ablated.").format(count=plan.probe_count)
        if expected is not None:
            text += " " + _("MAM with it, by its zones: {mam:.1f} mm.").format(mam=expected)
        self.panel.say(self.ui.nextProbeLabel, text)
        step_views.show_step(layouts.PLANNING, case, lesionId)
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("NETAblationProbes")
