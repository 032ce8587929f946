"""The probes of the lesion in a table: placed, chosen, changed, and what they cover in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from ..core.devices import Device
from ..scene import probe_words
from ..scene.cases import CaseScene
from ..scene.probe_editing import ProbeRow
from ..scene.probes import GRADE_COLORS
from .device_section import DeviceSection
from .edited_probes import EditedProbes
from .panel import Panel
from .section import Section
from .tables import fitHeight, setColumns

#: Columns of the table of probes.
PATH, LOCKED, SHOWN = 1, 5, 6


class ProbesSection(Section):
    """Shows the probes as they are, at each step of a drag too, and does what is asked for with the chosen one."""

    def __init__(
        self,
        panel: Panel,
        catalogue: Mapping[str, Device],
        device: DeviceSection,
        probes: EditedProbes,
        onChosen: Callable[[ProbeRow | None], None],
    ) -> None:
        """Connect the widgets; `onChosen` is called when the user chooses a probe, or none."""
        super().__init__(panel)
        self._catalogue, self._device, self._probes, self._afterChoice = catalogue, device, probes, onChosen
        self._isFilling = False
        ui = self.ui
        ui.placeProbeButton.connect("toggled(bool)", self.onPlace)
        ui.probesTable.connect("itemSelectionChanged()", self.onChosen)
        ui.probesTable.connect("itemChanged(QTableWidgetItem*)", self.onMarkChanged)
        ui.settingButton.connect("clicked()", self.onSetDevice)
        ui.duplicateButton.connect("clicked()", self.onDuplicate)
        ui.deleteButton.connect("clicked()", self.onDelete)
        ui.undoButton.connect("clicked()", self.onUndo)
        ui.lineSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda *_args: self._showAllowed())
        ui.adoptButton.connect("clicked()", self.onAdopt)
        columns = {
            _("#"): _("Number of the probe"),
            _("Path"): _("Room to the nearest structure beyond its clearance, in mm; ● free, ▲ tight, ✖ blocked"),
            _("Setting"): _("Setting of the device"),
            _("mm"): _("Depth of the tip below the skin, in mm"),
            _("Angles"): _(
                "Angles of the hub to the gantry in degrees: in the axial plane (above 0 to the left), then out of it "
                "(above 0 to cranial)"
            ),
            _("Lock"): _("A locked probe cannot be dragged and is kept by the automatic plan"),
            _("Show"): _("Whether the probe is shown in the views"),
        }
        setColumns(ui.probesTable, list(columns), wide=PATH, toolTips=list(columns.values()))
        ui.probesTable.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)

    @property
    def chosenRow(self) -> ProbeRow | None:
        """The chosen probe."""
        rows, number = self._probes.rows, self.ui.probesTable.currentRow()
        return rows[number] if 0 <= number < len(rows) else None

    @property
    def _chosenId(self) -> str:
        """The node's id of the chosen probe, which is there where a button that needs it is enabled."""
        row = self.chosenRow
        return "" if row is None else row.node_id

    # Show

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """Table, numbers and buttons as the probes are now."""
        self._fillTable(self._probes.rows)
        self._showPlacing()
        self._showNumbers()
        self._showChosen()
        self._showAllowed()

    def _fillTable(self, rows: tuple[ProbeRow, ...]) -> None:
        table = self.ui.probesTable
        self._isFilling = True
        table.setRowCount(len(rows))
        fitHeight(table, 3, 8)
        for number, row in enumerate(rows):
            for column, text in enumerate(probe_words.cells_of(row)):
                self._cell(number, column).setText(text)
            if row.check is not None:
                red, green, blue = GRADE_COLORS[row.check.grade]
                self._cell(number, PATH).setForeground(qt.QBrush(qt.QColor.fromRgbF(red, green, blue).darker(130)))
                self._cell(number, PATH).setToolTip(probe_words.path_in_detail(row.check))
            for column, isOn in ((LOCKED, row.is_locked), (SHOWN, row.is_visible)):
                self._cell(number, column).setCheckState(qt.Qt.Checked if isOn else qt.Qt.Unchecked)
        self._isFilling = False

    def _cell(self, row: int, column: int) -> Any:
        table = self.ui.probesTable
        if table.item(row, column) is None:
            table.setItem(row, column, qt.QTableWidgetItem())
        return table.item(row, column)

    def _showPlacing(self) -> None:
        """What the next click is for."""
        button = self.ui.placeProbeButton
        button.checked = self._probes.isOpen and self._probes.editing.is_placing
        if not button.checked:
            button.text = _("Place probe")
        elif self._probes.editing.is_target_placed:
            button.text = _("Click the skin: the probe enters there (press to end)")
        else:
            button.text = _("Click the target: the zone is centered there (press to end)")

    def _showNumbers(self) -> None:
        text = ""
        if self._probes.rows:
            editing = self._probes.editing
            text = _("Not measured yet.")
            if editing.coverage is not None and editing.task is not None:
                text = probe_words.numbers_in_words(editing.coverage, editing.plan, editing.task.target.margin_mm)
        self.panel.say(self.ui.numbersLabel, text)

    def _showChosen(self) -> None:
        row = self.chosenRow
        self.panel.say(self.ui.probeLabel, "" if row is None else probe_words.probe_in_words(row, self._catalogue))

    def _showAllowed(self) -> None:
        """Enable what can be done; the others say why not."""
        ui, allow = self.ui, self.panel.allow
        noLesion = self._probes.missing()
        noChosen = self.missingChosen()
        allow(ui.placeProbeButton, noLesion)
        for button in (ui.settingButton, ui.duplicateButton, ui.deleteButton):
            allow(button, noChosen)
        canUndo = self._probes.isOpen and self._probes.editing.undo_text
        allow(ui.undoButton, noLesion, "" if canUndo else _("there is nothing to undo"))
        line = ui.lineSelector.currentNode()
        allow(ui.adoptButton, noLesion, "" if line is not None else _("choose a line that was drawn"))

    def missingChosen(self) -> str:
        """What has to be done before something can be done with a probe; empty where one is chosen."""
        missing = self._probes.missingProbe()
        return missing or ("" if self.chosenRow is not None else _("choose a probe in the table"))

    # What is asked for

    def onChosen(self) -> None:
        """Another probe was chosen in the table, or none."""
        if self._isFilling:
            return
        self._showChosen()
        self._showAllowed()
        self._afterChoice(self.chosenRow)

    def onMarkChanged(self, item: Any) -> None:
        """Lock or show was ticked in the table."""
        if self._isFilling or item.column() not in (LOCKED, SHOWN):
            return
        row, isOn = self._probes.rows[item.row()], item.checkState() == qt.Qt.Checked
        editing = self._probes.editing
        change = editing.set_locked if item.column() == LOCKED else editing.set_visible
        change(row.node_id, isOn)

    def onPlace(self, isOn: bool) -> None:
        """The next two clicks in the views place a probe."""
        if not self._probes.isOpen or isOn == self._probes.editing.is_placing:
            return
        with self.panel.attempt(_("No probe can be placed.")):
            if isOn:
                self._probes.editing.begin_placing(**self._device.choice)
            else:
                self._probes.editing.cancel_placing()

    def onSetDevice(self) -> None:
        """Give the chosen probe the device and setting chosen above."""
        with self.panel.attempt(_("The device cannot be set.")):
            self._probes.editing.set_setting(self._chosenId, **self._device.choice)

    def onDuplicate(self) -> None:
        """Copy the chosen probe."""
        with self.panel.attempt(_("The probe cannot be copied.")):
            self._probes.editing.duplicate(self._chosenId)

    def onDelete(self) -> None:
        """Delete the chosen probe; Undo brings it back."""
        with self.panel.attempt(_("The probe cannot be deleted.")):
            self._probes.editing.delete(self._chosenId)

    def onUndo(self) -> None:
        """Take the last change back."""
        with self.panel.attempt(_("The change cannot be taken back.")):
            self._probes.editing.undo()

    def onAdopt(self) -> None:
        """Take a drawn line as a probe."""
        with self.panel.attempt(_("The line cannot be taken as a probe.")):
            self._probes.editing.adopt(self.ui.lineSelector.currentNode(), **self._device.choice)
