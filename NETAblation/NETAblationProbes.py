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
from NETAblationLib.scene import layouts, step_views
from NETAblationLib.scene.probe_editing import ProbeEditing, ProbeRow
from NETAblationLib.widgets.device_section import DeviceSection
from NETAblationLib.widgets.edited_probes import EditedProbes
from NETAblationLib.widgets.export_section import ExportSection
from NETAblationLib.widgets.panel import Panel
from NETAblationLib.widgets.plan_section import PlanSection
from NETAblationLib.widgets.probe_views_section import ProbeViewsSection
from NETAblationLib.widgets.probes_section import ProbesSection


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
    """The panel: its sections, each of which drives its own widgets, and the probes that they share."""

    logicClass = NETAblationProbesLogic

    def setupPanel(self) -> None:
        """Make the sections and the shortcuts."""
        ui, catalogue = self.ui, self.logic.catalogue
        self._showTimer = qt.QTimer()
        self._showTimer.singleShot = True
        self._showTimer.interval = 0
        # Many steps of a drag in one showing.
        self._showTimer.connect("timeout()", self.showProbes)
        self.device = DeviceSection(self, catalogue)
        self.probes = EditedProbes(self, catalogue, self.device, self._showTimer.start)
        self.plan = PlanSection(self, self.probes)
        self.table = ProbesSection(self, catalogue, self.device, self.probes, self.onProbeChosen)
        self.views = ProbeViewsSection(self, self.device, self.probes, self.table)
        self.export = ExportSection(self, self.probes)
        self.addShortcut("Ctrl+P", self._pressing(ui.planButton))
        self.addShortcut("Ctrl+N", lambda: ui.placeProbeButton.enabled and ui.placeProbeButton.toggle())
        self.addShortcut("Ctrl+D", self._pressing(ui.duplicateButton))
        self.addShortcut("Del", self._pressing(ui.deleteButton))
        self.addShortcut("Ctrl+Z", self._pressing(ui.undoButton))
        self.addShortcut("Ctrl+E", lambda: ui.needleButton.enabled and ui.needleButton.toggle())

    def _pressing(self, button):
        return lambda: button.enabled and button.click()

    def cleanup(self) -> None:
        """Called when the application closes."""
        self._showTimer.stop()
        self.probes.stop()
        super().cleanup()

    def enter(self) -> None:
        """Called when this module is opened, by whatever way: probes and zones are shown."""
        if self.case is not None:
            step_views.show_nodes(layouts.PLANNING, self.case)
        super().enter()

    def exit(self) -> None:
        """Called when another module is opened: nothing is being placed then; probes are still followed."""
        if self.probes.isOpen:
            self.probes.editing.cancel_placing()
        super().exit()

    def refresh(self) -> None:
        """The case, its lesion or the choices may have changed."""
        if self.probes.follow():
            self.plan.offer(())
        self.device.show(self.probes.case, self.probes.lesionId)
        self.showProbes()
        self.probes.measureLazily()

    def showProbes(self) -> None:
        """Show the probes as they are now."""
        for section in (self.plan, self.table, self.views, self.export):
            section.show(self.probes.case, self.probes.lesionId)

    def onProbeChosen(self, row: ProbeRow | None) -> None:
        """Let the views follow the table."""
        self.views.lookAt(row)


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
