"""Module "NET Probes": devices, virtual probes under the hand, and the automatic plan."""

from typing import Annotated

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

from NETAblationLib.core import navigation, trajectory_files
from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.trajectories import Trajectory
from NETAblationLib.scene import layouts, needle_views, probe_words, skin_entries, slice_views, step_views
from NETAblationLib.scene.plan_requests import content_of, plan_and_alternatives, rate_skin
from NETAblationLib.scene.probe_editing import GRADE_COLORS, ProbeEditing, ProbeRow
from NETAblationLib.widgets.long_work import LongWork
from NETAblationLib.widgets.panel import Panel
from NETAblationLib.widgets.tables import fitHeight, setColumns

#: Alternatives that are looked for beside the plan with the fewest punctures.
ALTERNATIVE_COUNT = 3
#: Columns of the table of probes.
PATH, LOCKED, SHOWN = 1, 5, 6


class NETAblationProbes(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        """Describe the module."""
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NET Probes")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "NET Ablation")]
        self.parent.dependencies = ["Markups", "Models"]
        self.parent.contributors = ["NETAblation contributors"]
        self.parent.helpText = _(
            "Places virtual ablation probes for one lesion: by hand, each with two clicks (the target, where its zone "
            "is centered, then the skin), or all at once with Plan. Drag the skin end of a probe to turn it about its "
            "zone, or the tip to take the zone along: coverage, predicted margin and the check of its path follow. "
            "Research software, not a medical device."
        )
        self.parent.acknowledgementText = _("Each device's zones come with their source; see the panel.")


@parameterNodeWrapper
class NETAblationProbesParameterNode:
    """The choices of the panel.

    device, setting - id of the device and name of the setting of new probes.
    marginMm - margin asked for around the tumor.
    sizeFactor - zones are taken as this many times the published size.
    alternatives - whether further plans are looked for.
    address - navigation system, HOST:PORT.
    """

    device: str = ""
    setting: str = ""
    marginMm: Annotated[float, WithinRange(0.0, 20.0)] = 5.0
    sizeFactor: Annotated[float, WithinRange(0.5, 1.5)] = 1.0
    alternatives: bool = False
    address: str = f"localhost:{navigation.DEFAULT_PORT}"


class NETAblationProbesLogic(ScriptedLoadableModuleLogic):
    """Where a plan goes to: files and navigation systems."""

    def __init__(self):
        """Read the catalogue of devices."""
        ScriptedLoadableModuleLogic.__init__(self)
        self.catalogue = load_catalogue()

    def getParameterNode(self):
        """The choices of the panel in the scene."""
        return NETAblationProbesParameterNode(super().getParameterNode())

    def saveTable(self, rows: list[ProbeRow], path: str) -> None:
        """Write the table of probes (CSV)."""
        trajectory_files.write_trajectories_csv(self.trajectories(rows), path)

    def saveLines(self, rows: list[ProbeRow], path: str) -> None:
        """Write the probes as line markups."""
        trajectory_files.write_trajectories_markups(self.trajectories(rows), path)

    def send(self, rows: list[ProbeRow], address: str) -> int:
        """Send the probes over OpenIGTLink; how many messages were sent."""
        return navigation.send_trajectories(self.trajectories(rows), *navigation.parse_address(address))

    def trajectories(self, rows: list[ProbeRow]) -> list[Trajectory]:
        """The probes as they are placed."""
        return [row.trajectory for row in rows]


class NETAblationProbesWidget(Panel):
    """The panel."""

    logicClass = NETAblationProbesLogic

    # Set up

    def setupPanel(self) -> None:
        """Fill the lists and connect the controls."""
        self.editing: ProbeEditing | None = None
        self.plans = ()
        self._failed = None
        self._isFilling = False
        self._showTimer = qt.QTimer()
        self._showTimer.singleShot = True
        self._showTimer.interval = 0
        # Many steps of a drag in one showing.
        self._showTimer.connect("timeout()", self.showProbes)
        self.ui.deviceComboBox.blockSignals(True)
        for device in self.logic.catalogue.values():
            if device.is_plannable:
                self.ui.deviceComboBox.addItem(f"{device.modality}: {device.model}", device.id)
        self.ui.deviceComboBox.blockSignals(False)
        self._fillSettings()
        self._setUpTables()
        ui = self.ui
        ui.deviceComboBox.connect("currentIndexChanged(int)", self.onDeviceChosen)
        ui.settingComboBox.connect("currentIndexChanged(int)", self.onSettingChosen)
        ui.planButton.connect("clicked()", self.onPlan)
        ui.usePlanButton.connect("clicked()", self.onUsePlan)
        ui.plansTable.connect("itemSelectionChanged()", self.showReasons)
        ui.placeProbeButton.connect("toggled(bool)", self.onPlaceProbe)
        ui.probesTable.connect("itemSelectionChanged()", self.onProbeChosen)
        ui.probesTable.connect("itemChanged(QTableWidgetItem*)", self.onMarkChanged)
        ui.settingButton.connect("clicked()", self.onSetDevice)
        ui.duplicateButton.connect("clicked()", self.onDuplicate)
        ui.deleteButton.connect("clicked()", self.onDelete)
        ui.undoButton.connect("clicked()", self.onUndo)
        ui.lineSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda *_args: self.showAllowed())
        ui.adoptButton.connect("clicked()", self.onAdopt)
        ui.needleButton.connect("toggled(bool)", self.onNeedle)
        ui.depthSlider.connect("valueChanged(double)", lambda *_args: self.showNeedle())
        ui.skinButton.connect("toggled(bool)", self.onSkin)
        ui.csvButton.connect("clicked()", self.onSaveTable)
        ui.markupsButton.connect("clicked()", self.onSaveLines)
        ui.sendButton.connect("clicked()", self.onSend)
        self.addShortcut("Ctrl+P", self._pressing(ui.planButton))
        self.addShortcut("Ctrl+N", lambda: ui.placeProbeButton.enabled and ui.placeProbeButton.toggle())
        self.addShortcut("Ctrl+D", self._pressing(ui.duplicateButton))
        self.addShortcut("Del", self._pressing(ui.deleteButton))
        self.addShortcut("Ctrl+Z", self._pressing(ui.undoButton))
        self.addShortcut("Ctrl+E", lambda: ui.needleButton.enabled and ui.needleButton.toggle())

    def _buttons(self) -> list:
        ui = self.ui
        return [
            ui.planButton,
            ui.usePlanButton,
            ui.placeProbeButton,
            ui.settingButton,
            ui.duplicateButton,
            ui.deleteButton,
            ui.undoButton,
            ui.adoptButton,
            ui.needleButton,
            ui.skinButton,
            ui.csvButton,
            ui.markupsButton,
            ui.sendButton,
        ]

    def _pressing(self, button):
        return lambda: button.enabled and button.click()

    def _setUpTables(self) -> None:
        probes, plans = self.ui.probesTable, self.ui.plansTable
        columns = {
            _("#"): _("Number of the probe"),
            _("Path"): _(
                "Room to the nearest structure beyond its clearance, in mm; \u25cf free, \u25b2 tight, \u2716 blocked"
            ),
            _("Setting"): _("Setting of the device"),
            _("mm"): _("Depth of the tip below the skin, in mm"),
            _("Angles"): _(
                "Angles of the hub to the gantry in degrees: in the axial plane (above 0 to the left), then out of it "
                "(above 0 to cranial)"
            ),
            _("Lock"): _("A locked probe cannot be dragged and is kept by the automatic plan"),
            _("Show"): _("Whether the probe is shown in the views"),
        }
        setColumns(probes, list(columns), wide=PATH, toolTips=list(columns.values()))
        columns = {
            _("Plan"): _("What the plan is best in"),
            _("Probes"): _("Number of punctures"),
            _("Zones"): _("Number of ablations"),
            _("MAM mm"): _("Least predicted margin in mm"),
            _("Liver ml"): _("Healthy liver within the zones, in ml"),
        }
        setColumns(plans, list(columns), wide=0, toolTips=list(columns.values()))
        for table in (probes, plans):
            table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.say(self.ui.exportLabel, "")
        self.showPlans()

    def cleanup(self) -> None:
        """Called when the application closes."""
        self._showTimer.stop()
        self._stopEditing()
        super().cleanup()

    def enter(self) -> None:
        """Called when this module is opened, by whatever way: probes and zones are shown."""
        if self.case is not None:
            step_views.show_nodes(layouts.PLANNING, self.case)
        super().enter()

    def exit(self) -> None:
        """Called when another module is opened: nothing is being placed then; probes are still followed."""
        if self.editing is not None:
            self.editing.cancel_placing()
        super().exit()

    # Following case and lesion

    def refresh(self) -> None:
        """The case, its lesion or the choices may have changed."""
        self._followLesion()
        self._showChoices()
        if self.editing is not None:
            self.editing.follow_case()
        self.showProbes()
        self._measureLazily()

    def _followLesion(self) -> None:
        wanted = None
        if self.case is not None and self.lesionId in self.case.lesions:
            wanted = self.lesionId
        if self.editing is not None and self.editing.is_stopped:
            self._stopEditing()
        has = None if self.editing is None else self.editing.lesion_id
        if wanted == has:
            return
        self._stopEditing()
        if wanted is not None:
            with self.attempt(_("The probes of this lesion cannot be read.")):
                self.editing = ProbeEditing(
                    self.case, wanted, catalogue=self.logic.catalogue, on_change=self._showTimer.start
                )

    def _stopEditing(self) -> None:
        if self.editing is not None:
            self.editing.stop()
        self.editing, self.plans, self._failed = None, (), None
        self.showPlans()

    def _showChoices(self) -> None:
        """The choices of the parameter node in the lists; the first device where there is none yet."""
        devices, settings = self.ui.deviceComboBox, self.ui.settingComboBox
        index = max(devices.findData(self.parameterNode.device), 0)
        if devices.currentIndex != index or settings.count == 0:
            devices.setCurrentIndex(index)
            self._fillSettings()
        index = settings.findData(self.parameterNode.setting)
        if index >= 0:
            settings.setCurrentIndex(index)
        self._showSource()

    def _fillSettings(self) -> None:
        settings = self.ui.settingComboBox
        wasBlocked = settings.blockSignals(True)
        settings.clear()
        for setting in self._device().plannable_settings:
            settings.addItem(probe_words.setting_in_words(setting), setting.name)
        settings.blockSignals(wasBlocked)

    def _device(self):
        return self.logic.catalogue[self.ui.deviceComboBox.itemData(self.ui.deviceComboBox.currentIndex)]

    def _choice(self) -> dict[str, str]:
        """Device and setting of new probes."""
        settings = self.ui.settingComboBox
        return {"device": self._device().id, "setting": settings.itemData(settings.currentIndex)}

    def onDeviceChosen(self, _index: int) -> None:
        """Another device was chosen: its settings are offered."""
        if self.parameterNode is None:
            return
        self._fillSettings()
        self.parameterNode.device = self._device().id
        self.onSettingChosen(0)

    def onSettingChosen(self, _index: int) -> None:
        """Another setting was chosen: its source is shown."""
        self.parameterNode.setting = self._choice()["setting"]
        self._showSource()

    def _showSource(self) -> None:
        setting = self._device().setting(self._choice()["setting"])
        self.ui.sourceLabel.text = probe_words.source_in_words(setting)

    # Measuring and planning, beside the scene

    def _request(self):
        node = self.parameterNode
        return self.editing.request(self._device().id, node.marginMm, node.sizeFactor)

    def _task(self):
        """What was prepared, where it is for the margin that is asked for now."""
        task = self.editing.task
        return task if task is not None and task.target.margin_mm == self.parameterNode.marginMm else None

    def _measureLazily(self) -> None:
        """Prepare measuring in the background where there are probes and it is not done; once for each content.

        Only while this panel is seen: other work would have to wait for it.
        """
        if not self.isShown or LongWork.busyWith():
            return
        if self.editing is None or not self.editing.rows or self._task() is not None:
            return
        attempted = (self.parameterNode.marginMm, content_of(self.case))
        if attempted == self._failed or self.case.liver_mask() is None:
            return
        self._failed = attempted
        request, editing = self._request(), self.editing
        self.startWork(
            _("Measuring the probes"),
            request.prepared,
            lambda task: self._whenSame(editing, lambda: editing.use(task, request)),
        )

    def _whenSame(self, editing: ProbeEditing, act) -> None:
        """Do something with what was worked out, unless another lesion was chosen meanwhile."""
        if self.editing is editing and not editing.is_stopped:
            act()

    def onPlan(self) -> None:
        """Place probes for tumor and margin."""
        with self.attempt(_("The plan cannot be made.")):
            editing, request, task = self.editing, self._request(), self._task()
            editing.cancel_placing()
            locked, count = editing.locked_probes, ALTERNATIVE_COUNT if self.parameterNode.alternatives else 0
            self.startWork(
                _("Planning"),
                lambda progress: plan_and_alternatives(request, task, locked, count, progress),
                lambda found: self._whenSame(editing, lambda: self._onPlanned(request, *found)),
            )

    def _onPlanned(self, request, task, plans) -> None:
        self.editing.use(task, request)
        self.editing.accept(plans[0])
        step_views.look_at_lesion(self.case, self.editing.lesion_id)
        self.plans = plans
        self.showPlans()

    def onUsePlan(self) -> None:
        """Take the chosen alternative."""
        with self.attempt(_("The plan cannot be used.")):
            self.editing.accept(self.plans[self.ui.plansTable.currentRow()])

    def showPlans(self) -> None:
        """The plans found, the first one chosen."""
        table = self.ui.plansTable
        table.setRowCount(len(self.plans))
        for number, plan in enumerate(self.plans):
            for column, text in enumerate(probe_words.plan_cells(plan)):
                table.setItem(number, column, qt.QTableWidgetItem(text))
        fitHeight(table, 1, 5)
        if self.plans:
            table.selectRow(0)
        self.showReasons()

    def showReasons(self) -> None:
        """What speaks for and against the chosen plan."""
        row = self.ui.plansTable.currentRow()
        texts = []
        if 0 <= row < len(self.plans):
            texts = [*self.plans[row].reasons, *self.plans[row].limitations]
        self.say(self.ui.reasonsLabel, "\n".join(f"\u2022 {text}" for text in texts))
        self.showAllowed()

    # The probes

    def rows(self) -> tuple[ProbeRow, ...]:
        """All probes of the lesion."""
        return () if self.editing is None else self.editing.rows

    def chosenRow(self) -> ProbeRow | None:
        """The chosen probe."""
        rows, number = self.rows(), self.ui.probesTable.currentRow()
        return rows[number] if 0 <= number < len(rows) else None

    def showProbes(self) -> None:
        """Table, numbers and buttons as the probes are now."""
        rows, table = self.rows(), self.ui.probesTable
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
        self._showPlacing()
        self._showNumbers()
        self._showChosen()
        self.showNeedle()
        self.showAllowed()

    def _showPlacing(self) -> None:
        """What the next click is for."""
        button = self.ui.placeProbeButton
        button.checked = self.editing is not None and self.editing.is_placing
        if not button.checked:
            button.text = _("Place probe")
        elif self.editing.is_target_placed:
            button.text = _("Click the skin: the probe enters there (press to end)")
        else:
            button.text = _("Click the target: the zone is centered there (press to end)")

    def _cell(self, row: int, column: int):
        table = self.ui.probesTable
        if table.item(row, column) is None:
            table.setItem(row, column, qt.QTableWidgetItem())
        return table.item(row, column)

    def _showNumbers(self) -> None:
        text = ""
        if self.editing is not None and self.editing.coverage is not None:
            margin = self.editing.task.target.margin_mm
            text = probe_words.numbers_in_words(self.editing.coverage, self.editing.plan, margin)
        elif self.rows():
            text = _("Not measured yet.")
        self.say(self.ui.numbersLabel, text)

    def _showChosen(self) -> None:
        row = self.chosenRow()
        self.say(self.ui.probeLabel, "" if row is None else probe_words.probe_in_words(row, self.logic.catalogue))

    def onProbeChosen(self) -> None:
        """Center the views on the tip of the chosen probe."""
        if self._isFilling:
            return
        row = self.chosenRow()
        self._showChosen()
        self.showAllowed()
        if row is None:
            return
        if self.ui.needleButton.checked:
            self.showNeedle()
        else:
            slice_views.center(row.probe.tip_ras_mm)

    def onMarkChanged(self, item) -> None:
        """Lock or show was ticked in the table."""
        if self._isFilling or item.column() not in (LOCKED, SHOWN):
            return
        row, isOn = self.rows()[item.row()], item.checkState() == qt.Qt.Checked
        change = self.editing.set_locked if item.column() == LOCKED else self.editing.set_visible
        change(row.node_id, isOn)

    def onPlaceProbe(self, isOn: bool) -> None:
        """The next two clicks in the views place a probe."""
        if self.editing is None or isOn == self.editing.is_placing:
            return
        with self.attempt(_("No probe can be placed.")):
            if isOn:
                self.editing.begin_placing(**self._choice())
            else:
                self.editing.cancel_placing()

    def onSetDevice(self) -> None:
        """Give the chosen probe the device and setting chosen above."""
        with self.attempt(_("The device cannot be set.")):
            self.editing.set_setting(self.chosenRow().node_id, **self._choice())

    def onDuplicate(self) -> None:
        """Copy the chosen probe."""
        with self.attempt(_("The probe cannot be copied.")):
            self.editing.duplicate(self.chosenRow().node_id)

    def onDelete(self) -> None:
        """Delete the chosen probe; Undo brings it back."""
        with self.attempt(_("The probe cannot be deleted.")):
            self.editing.delete(self.chosenRow().node_id)

    def onUndo(self) -> None:
        """Take the last change back."""
        with self.attempt(_("The change cannot be taken back.")):
            self.editing.undo()

    def onAdopt(self) -> None:
        """Take a drawn line as a probe."""
        with self.attempt(_("The line cannot be taken as a probe.")):
            self.editing.adopt(self.ui.lineSelector.currentNode(), **self._choice())

    # Views

    def _sliceNodes(self) -> list:
        nodes = (slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in ("Red", "Yellow", "Green"))
        return [node for node in nodes if node is not None]

    def onNeedle(self, isOn: bool) -> None:
        """Look along the chosen probe, or straight again."""
        if isOn:
            self.showNeedle()
        else:
            needle_views.look_straight(self._sliceNodes())

    def showNeedle(self) -> None:
        """Turn the slice views to the chosen probe while that is asked for."""
        row = self.chosenRow()
        if self.ui.needleButton.checked and row is not None:
            ends = row.probe.entry_ras_mm, row.probe.tip_ras_mm
            needle_views.look_along(self._sliceNodes(), *ends, self.ui.depthSlider.value)

    def onSkin(self, isOn: bool) -> None:
        """Color the skin by how good an entry each place is, or hide it."""
        if self.editing is None:
            return
        if not isOn:
            skin_entries.hide_skin(self.editing.lesion_id)
            return
        if skin_entries.skin_of(self.editing.lesion_id) is not None:
            return
        with self.attempt(_("The skin cannot be rated.")):
            editing, request, ready = self.editing, self._request(), self._task()
            beyond = self._device().setting(self._choice()["setting"]).center_to_tip_mm

            def rated(progress):
                task = request.prepared(progress) if ready is None else ready
                return task, rate_skin(task, beyond)

            def show(found):
                if ready is None:
                    editing.use(found[0], request)
                skin_entries.show_skin(editing.case, editing.lesion_id, found[1])

            self.startWork(_("Rating the skin"), rated, lambda found: self._whenSame(editing, lambda: show(found)))

    # Export

    def onSaveTable(self) -> None:
        """Save the table of probes."""
        self._save(_("Save the table of probes"), _("Tables (*.csv)"), self.logic.saveTable)

    def onSaveLines(self) -> None:
        """Save the probes as lines."""
        self._save(_("Save the probes"), _("Markups (*.mrk.json)"), self.logic.saveLines)

    def _save(self, title: str, kinds: str, write) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, "", kinds)
        if not path:
            return
        with self.attempt(_("The probes cannot be saved.")):
            write(list(self.rows()), path)
            self.say(self.ui.exportLabel, _("Saved: {path}").format(path=path))

    def onSend(self) -> None:
        """Send the probes to the navigation system."""
        with self.attempt(_("The probes cannot be sent.")):
            count = self.logic.send(list(self.rows()), self.parameterNode.address)
            self.say(self.ui.exportLabel, _("{count} messages sent.").format(count=count))

    # What is possible now

    def showAllowed(self) -> None:
        """Enable what can be done; the others say why not."""
        ui, rows, chosen = self.ui, self.rows(), self.chosenRow()
        noLesion = "" if self.editing is not None else _("choose a lesion first")
        noLiver = noLesion or self._whyNoLiver()
        noProbe = noLesion or ("" if rows else _("there is no probe yet"))
        noChosen = noProbe or ("" if chosen is not None else _("choose a probe in the table"))
        undo = "" if self.editing is None else self.editing.undo_text
        line = ui.lineSelector.currentNode()
        plan = self.plans and ui.plansTable.currentRow() >= 0
        reasons = (
            noLiver,
            noLesion or ("" if plan else _("choose a plan in the table")),
            noLesion,
            noChosen,
            noChosen,
            noChosen,
            noLesion or ("" if undo else _("there is nothing to undo")),
            noLesion or ("" if line is not None else _("choose a line that was drawn")),
            noChosen,
            noLiver,
            noProbe,
            noProbe,
            noProbe,
        )
        for button, reason in zip(self._buttons(), reasons, strict=True):
            self.allow(button, reason)

    def _whyNoLiver(self) -> str:
        if self.case.volume is None:
            return _("choose the planning image first")
        return "" if self.case.liver_model is not None else _("segment the liver first")


class NETAblationProbesTest(ScriptedLoadableModuleTest):
    """Runs from "Reload and Test"."""

    def runTest(self):
        """A probe is placed on a lesion of a simple case and measured."""
        import numpy as np
        import SimpleITK as sitk

        from NETAblationLib.scene.cases import CaseScene

        slicer.mrmlScene.Clear()
        k, j, i = np.indices((60, 60, 60))
        away = np.sqrt((i - 30) ** 2 + (j - 30) ** 2 + (k - 30) ** 2)
        image = sitk.GetImageFromArray(np.where(away < 29, 40, -1000).astype(np.int16))
        liver = sitk.GetImageFromArray((away < 25).astype(np.uint8))
        tumor = sitk.GetImageFromArray((away < 6).astype(np.uint8))
        for made in (image, liver, tumor):
            made.SetSpacing((3.0, 3.0, 3.0))
        case = CaseScene.create(image, image=image, liver=liver)
        editing = ProbeEditing(case, case.add_lesion("Lesion", tumor))
        choice = {"device": "emprint-mwa", "setting": "100 W, 10 min"}
        middle = np.array([-90.0, -90.0, 90.0])
        editing.add(middle, middle + np.array([0.0, 87.0, 0.0]), **choice)
        request = editing.request("emprint-mwa", 5.0)
        editing.use(request.prepared(), request)
        self.assertEqual(len(editing.rows), 1)
        self.assertIsNotNone(editing.coverage)
        editing.stop()
        self.delayDisplay("Probes follow the hand")
