"""Views for probes: along the chosen one, and onto the skin colored by how good an entry each place is."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..core.progress import ProgressCallback
from ..scene import needle_views, skin_entries, slice_views
from ..scene.cases import CaseScene
from ..scene.plan_requests import rate_skin
from ..scene.probe_editing import ProbeRow
from .device_section import DeviceSection
from .edited_probes import EditedProbes
from .panel import Panel
from .probes_section import ProbesSection
from .section import Section


class ProbeViewsSection(Section):
    """Turns the slice views to the chosen probe, and shows or hides the skin."""

    def __init__(self, panel: Panel, device: DeviceSection, probes: EditedProbes, table: ProbesSection) -> None:
        """Connect the widgets; `table` tells which probe is chosen."""
        super().__init__(panel)
        self._device, self._probes, self._table = device, probes, table
        self.ui.needleButton.connect("toggled(bool)", self.onNeedle)
        self.ui.depthSlider.connect("valueChanged(double)", lambda *_args: self._showNeedle())
        self.ui.skinButton.connect("toggled(bool)", self.onSkin)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The chosen probe as it is now, where the views look along it."""
        self._showNeedle()
        self._showAllowed()

    def lookAt(self, row: ProbeRow | None) -> None:
        """Look along a probe that was chosen where that is asked for, else bring its tip into the middle."""
        self._showAllowed()
        if row is None:
            return
        if self.ui.needleButton.checked:
            self._showNeedle()
        else:
            slice_views.center(row.probe.tip_ras_mm)

    def onNeedle(self, isOn: bool) -> None:
        """Look along the chosen probe, or straight again."""
        if isOn:
            self._showNeedle()
        else:
            needle_views.look_straight(_sliceNodes())

    def onSkin(self, isOn: bool) -> None:
        """Color the skin by how good an entry each place is, or hide it."""
        if not self._probes.isOpen:
            return
        if not isOn:
            skin_entries.hide_skin(self._probes.lesionId)
            return
        if skin_entries.skin_of(self._probes.lesionId) is not None:
            return
        with self.panel.attempt(_("The skin cannot be rated.")):
            editing, request, ready = self._probes.editing, self._probes.request(), self._probes.task()
            beyond = self._device.device.setting(self._device.choice["setting"]).center_to_tip_mm

            def rated(progress: ProgressCallback) -> tuple[Any, Any]:
                task = request.prepared(progress) if ready is None else ready
                return task, rate_skin(task, beyond)

            def show(found: tuple[Any, Any]) -> None:
                if ready is None:
                    editing.use(found[0], request)
                skin_entries.show_skin(editing.case, editing.lesion_id, found[1])

            self.panel.startWork(
                _("Rating the skin"), rated, lambda found: self._probes.whenSame(editing, lambda: show(found))
            )

    def _showNeedle(self) -> None:
        """Turn the slice views to the chosen probe while that is asked for."""
        row = self._table.chosenRow
        if self.ui.needleButton.checked and row is not None:
            ends = row.probe.entry_ras_mm, row.probe.tip_ras_mm
            needle_views.look_along(_sliceNodes(), *ends, self.ui.depthSlider.value)

    def _showAllowed(self) -> None:
        self.panel.allow(self.ui.needleButton, self._table.missingChosen())
        self.panel.allow(self.ui.skinButton, self._probes.missingForMeasuring())


def _sliceNodes() -> list[Any]:
    nodes = (slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in ("Red", "Yellow", "Green"))
    return [node for node in nodes if node is not None]
