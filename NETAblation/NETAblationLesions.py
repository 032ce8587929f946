"""The module "NET Lesions": lesions from a diameter line each, and what surrounds them."""

from functools import partial
from typing import Annotated, Optional

import numpy as np
import qt
import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

from NETAblationLib.scene import layouts, phase_views, step_views
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.lesion_drawing import LINE, MINUS, PLUS, SECOND_LINE, LesionDrawing
from NETAblationLib.scene.lesion_table import LesionRow, LesionTable, measures_work, put_measures
from NETAblationLib.widgets.anatomy_section import AnatomySection
from NETAblationLib.widgets.case_start import CaseStart
from NETAblationLib.widgets.corrections_section import CorrectionsSection
from NETAblationLib.widgets.long_work import LongWork
from NETAblationLib.widgets.matches_section import MatchesSection
from NETAblationLib.widgets.panel import Panel
from NETAblationLib.widgets.pet_section import PetSection
from NETAblationLib.widgets.tables import Cell, fillTable, fitHeight, keyOfRow, selectedKey, selectKey, setColumns

#: While other work is under way, what was drawn waits this long for the next try, in ms. User-set.
_RETRY_MS = 100
#: Background of rows whose figures no longer hold. User-set.
_STALE_COLOR = (0.98, 0.88, 0.62)


class NETAblationLesions(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        """Describe the module."""
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NET Lesions")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "NET Ablation")]
        self.parent.dependencies = ["Markups", "Segmentations", "Terminologies"]
        self.parent.contributors = ["NETAblation contributors"]
        self.parent.helpText = _(
            "Draw a line along the longest diameter of a lesion: it is segmented, measured and shown at once. Liver, "
            "vessels and organs at risk are segmented here or taken from any segmentation of the scene."
        )
        self.parent.acknowledgementText = _("Research software, not a medical device.")


@parameterNodeWrapper
class NETAblationLesionsParameterNode:
    """The user's choices: images, the segmentation to take from, and the PET with its region and threshold."""

    image: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - as Slicer's own modules have it
    phase: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - as Slicer's own modules have it
    withinLiver: bool = True
    source: Optional[vtkMRMLSegmentationNode]  # noqa: UP045 - as Slicer's own modules have it
    pet: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - as Slicer's own modules have it
    region: Optional[vtkMRMLMarkupsROINode]  # noqa: UP045 - as Slicer's own modules have it
    percentOfMaximum: Annotated[float, WithinRange(10, 90)] = 45


class NETAblationLesionsLogic(ScriptedLoadableModuleLogic):
    """Gives the parameter node; all work is done by NETAblationLib."""

    def getParameterNode(self):
        """The choices kept in the scene."""
        return NETAblationLesionsParameterNode(super().getParameterNode())


class NETAblationLesionsWidget(Panel):
    """The panel: images and lesions, which are drawn here, and the sections for what else there is."""

    logicClass = NETAblationLesionsLogic

    def setupPanel(self) -> None:
        """Make the sections, and connect what is the panel's own."""
        ui = self.ui
        self.drawing: LesionDrawing | None = None
        self._rows = LesionTable()
        self._drawn: list = []
        self._drawnTimer = qt.QTimer()
        self._drawnTimer.singleShot = True
        self._drawnTimer.connect("timeout()", self.segmentDrawn)

        setColumns(ui.lesionTable, [_("Name"), _("ml"), _("mm"), _("Enhancement"), _("Notes")], wide=4)
        self._tell([])
        self.start = CaseStart(self, self._followDrawing, self._tell)
        self.corrections = CorrectionsSection(self)
        self.sections = (
            AnatomySection(self, self.start),
            MatchesSection(self, self.start),
            self.corrections,
            PetSection(self, self.start, lambda: self.drawing.next_name()),
        )
        ui.phaseSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onPhase)
        ui.sideBySideButton.connect("clicked(bool)", self.onSideBySide)
        ui.drawButton.connect("clicked(bool)", partial(self.onDraw, LINE))
        ui.secondLineButton.connect("clicked(bool)", partial(self.onDraw, SECOND_LINE))
        ui.insideButton.connect("clicked(bool)", partial(self.onDraw, PLUS))
        ui.outsideButton.connect("clicked(bool)", partial(self.onDraw, MINUS))
        ui.resetButton.connect("clicked()", self.onLineAlone)
        ui.deleteButton.connect("clicked()", self.onDelete)
        ui.measureButton.connect("clicked()", self.onMeasure)
        ui.lesionTable.connect("itemSelectionChanged()", self.onSelect)
        ui.lesionTable.connect("itemChanged(QTableWidgetItem*)", self.onRename)

        for keys, role in (("L", LINE), ("Shift+L", SECOND_LINE), ("+", PLUS), ("-", MINUS)):
            self.addShortcut(keys, partial(self.onShortcut, role))
        self.addShortcut("Esc", self.onEscape)
        self.addShortcut("Del", self.onDelete)

    def cleanup(self) -> None:
        """Called when the panel is destroyed."""
        self._stopDrawing()
        Panel.cleanup(self)

    def enter(self) -> None:
        """Called each time the user opens this module, by whatever way: what it works on is shown."""
        if self.case is not None:
            step_views.show_nodes(layouts.LESIONS, self.case)
        Panel.enter(self)

    def exit(self) -> None:
        """Called each time the user opens another module."""
        if self.drawing is not None:
            self.drawing.disarm()
        self.corrections.end()
        Panel.exit(self)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Called just before the scene is closed."""
        self._stopDrawing()
        self.corrections.forget()
        Panel.onSceneStartClose(self, caller, event)

    # Showing

    def refresh(self) -> None:
        """Show the case as it is now, and enable or disable what can be done."""
        case = self.case
        self._followDrawing(case)
        if case is not None and self.parameterNode.image is not case.volume:
            self.parameterNode.image = case.volume
        if case is not None and case.phases and self.parameterNode.phase is None:
            self.parameterNode.phase = case.phases[0]
        self.ui.imageSelector.enabled = case is None
        rows = [] if case is None else self._rows.rows(case)
        fillTable(self.ui.lesionTable, [row.lesion_id for row in rows], [_cells(row) for row in rows])
        fitHeight(self.ui.lesionTable, 3, 8)
        wasBlocked = self.ui.lesionTable.blockSignals(True)
        selectKey(self.ui.lesionTable, self.lesionId)
        self.ui.lesionTable.blockSignals(wasBlocked)
        for section in self.sections:
            section.show(case, self.lesionId)
        self._showAllowed(case)

    def _showAllowed(self, case: CaseScene | None) -> None:
        ui, noImage = self.ui, self.start.missing()
        noLesion = "" if self.lesionId else _("select a lesion first")
        drawn = {} if self.drawing is None or not self.lesionId else self.drawing.drawn_on(self.lesionId)
        noLine = noLesion or ("" if LINE in drawn else _("this lesion was not drawn by a line; use Corrections"))
        uncorrected = noLine or ("" if len(drawn) > 1 else _("it has no corrections"))
        self.allow(ui.drawButton, noImage, evenWhileBusy=True)
        for button in (ui.secondLineButton, ui.insideButton, ui.outsideButton):
            self.allow(button, noLine, evenWhileBusy=True)
        self.allow(ui.resetButton, uncorrected)
        self.allow(ui.deleteButton, noLesion)
        hasLesions = case is not None and case.lesions
        self.allow(ui.measureButton, self.start.missingLiver(), "" if hasLesions else _("draw a lesion first"))
        noPhase = "" if self.parameterNode.phase is not None else _("choose a second phase")
        self.allow(ui.sideBySideButton, noImage, noPhase)
        armed = "" if self.drawing is None else self.drawing.armed_role
        for button, role in self._drawButtons().items():
            button.checked = armed == role

    def _drawButtons(self) -> dict:
        ui = self.ui
        return {ui.drawButton: LINE, ui.secondLineButton: SECOND_LINE, ui.insideButton: PLUS, ui.outsideButton: MINUS}

    def _tell(self, texts) -> None:
        self.say(self.ui.messageLabel, "\n".join(texts))

    # Images

    def onPhase(self, node=None) -> None:
        """Take the chosen second phase into the case."""
        case = self.case
        if case is not None and node is not None and node is not case.volume and node not in case.phases:
            with self.attempt(_("The second phase cannot be used.")):
                case.adopt_phase(node)
        self.refreshSoon()

    def onSideBySide(self, isChecked: bool) -> None:
        """Show both phases beside each other, or the planning image alone."""
        with self.attempt(_("The images cannot be shown.")):
            case = self.start.case()
            if isChecked:
                phase_views.show_side_by_side(case.volume, self.parameterNode.phase)
            else:
                phase_views.show_one(case.volume)

    # Drawing

    def onDraw(self, role: str, isChecked: bool) -> None:
        """Arm or disarm the drawing of lines or points."""
        with self.attempt(_("Nothing can be drawn.")):
            self.start.case()
            if isChecked:
                self.drawing.arm(role, self.lesionId)
            else:
                self.drawing.disarm()

    def onShortcut(self, role: str) -> None:
        """As a click on the button of that drawing."""
        button = next(button for button, of in self._drawButtons().items() if of == role)
        if button.enabled:
            button.click()

    def onEscape(self) -> None:
        """End drawing."""
        if self.drawing is not None:
            self.drawing.disarm()
            self.refreshSoon()

    def onDrawn(self, node) -> None:
        """A line or point was drawn or moved: segment when the mouse event is over."""
        if node not in self._drawn:
            self._drawn.append(node)
        self._drawnTimer.start(0)

    def segmentDrawn(self) -> None:
        """Segment what was drawn since, one after the other, while the next line is drawn."""
        if self.drawing is None:
            return
        for node in self._drawn:
            self.drawing.go_on(node)
        if LongWork.busyWith():
            self._drawnTimer.start(_RETRY_MS)
            return
        node = next((node for node in self._drawn if slicer.mrmlScene.IsNodePresent(node)), None)
        self._drawn = self._drawn[self._drawn.index(node) + 1 :] if node is not None else []
        if node is None:
            return
        self._drawnTimer.start(_RETRY_MS)
        self.drawing.within_liver = self.parameterNode.withinLiver
        with self.attempt(_("No lesion was segmented.")):
            work = self.drawing.begin(node).run
            self.startWork(_("Lesion"), work, partial(self.onSegmented, node), partial(self.onNotSegmented, node))

    def onSegmented(self, node, result) -> None:
        """Put the lesion into the case, unless its line is gone."""
        if slicer.mrmlScene.IsNodePresent(node):
            lesionId = self.drawing.accept(node, result)
            self.case.current_lesion = lesionId
            row = next(row for row in self._rows.rows(self.case) if row.lesion_id == lesionId)
            self._tell([_("{name}: {size}").format(name=row.name, size=_sizes(row)), *row.warnings])

    def onNotSegmented(self, node, error) -> None:
        """Take back what gave no lesion."""
        if slicer.mrmlScene.IsNodePresent(node):
            self.drawing.refuse(node, str(error) or _("it was stopped"))

    def onLineAlone(self) -> None:
        """Take all corrections of the lesion back."""
        with self.attempt(_("The corrections are kept.")):
            self.onDrawn(self.drawing.remove_corrections(self.lesionId))

    def _followDrawing(self, case: CaseScene | None) -> None:
        """Have the drawing of the present case; what was drawn before is followed too."""
        if case is None:
            self._stopDrawing()
            return
        if self.drawing is None:
            self.drawing = LesionDrawing(case, self.onDrawn)
        else:
            self.drawing.follow()

    def _stopDrawing(self) -> None:
        self._drawnTimer.stop()
        self._drawn = []
        if self.drawing is not None:
            self.drawing.close()
            self.drawing = None

    # The table

    def onSelect(self) -> None:
        """Make the selected lesion the one of all panels, and center the views on it."""
        lesionId = selectedKey(self.ui.lesionTable)
        case = self.case
        if case is None or lesionId not in case.lesions:
            return
        case.current_lesion = lesionId
        step_views.look_at_lesion(case, lesionId)
        self.refreshSoon()

    def onRename(self, item) -> None:
        """Give a lesion the name that was typed."""
        lesionId = keyOfRow(self.ui.lesionTable, item.row())
        if item.column() == 0 and lesionId:
            with self.attempt(_("The lesion keeps its name.")):
                self.case.rename_lesion(lesionId, item.text().strip())

    def onDelete(self) -> None:
        """Delete the lesion, after a question."""
        if not self.lesionId or not self.ui.deleteButton.enabled:
            return
        name = self.case.lesions[self.lesionId].name
        question = _("Delete {name} with its probes, plan and margin?").format(name=name)
        if slicer.util.confirmOkCancelDisplay(question, windowTitle=_("NET Lesions")):
            with self.attempt(_("The lesion is kept.")):
                self.drawing.remove_lesion(self.lesionId)

    def onMeasure(self) -> None:
        """Measure all lesions against the liver."""
        self.start.work(_("Measuring the lesions"), measures_work, put_measures)


def _sizes(row: LesionRow) -> str:
    return _("{volume:.1f} ml, {long:.0f} x {short:.0f} mm").format(
        volume=row.volume_ml, long=row.long_axis_mm, short=row.short_axis_mm
    )


def _cells(row: LesionRow) -> list:
    color = _STALE_COLOR if row.is_stale else None
    notes = _("stale") if row.is_stale else (_("{count} notes").format(count=len(row.warnings)) if row.warnings else "")
    return [
        Cell(row.name, _("Double click to rename"), isEditable=True),
        Cell(f"{row.volume_ml:.1f}", _("Volume in ml"), color),
        Cell(f"{row.long_axis_mm:.0f} x {row.short_axis_mm:.0f}", _("Long x short axis in an axial slice, mm"), color),
        Cell(row.enhancement.split(",")[0], row.enhancement, color),
        Cell(notes, "\n".join(row.warnings), color),
    ]


class NETAblationLesionsTest(ScriptedLoadableModuleTest):
    """The module's own test, for "Reload and Test" and Slicer's ctest."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests."""
        self.setUp()
        self.test_lineBecomesLesion()

    def test_lineBecomesLesion(self) -> None:
        """A line across a dark ball of 20 mm gives a lesion of about that size."""
        places = np.stack(np.meshgrid(*[np.arange(-30.0, 31.0)] * 3, indexing="ij"), axis=-1)
        isInside = np.linalg.norm(places, axis=-1) < 10.0
        values = np.where(isInside, 60.0, 110.0) + np.random.default_rng(0).normal(size=isInside.shape) * 5.0
        volume = slicer.util.addVolumeFromArray(values.astype(np.int16), name="Ball")
        drawing = LesionDrawing(CaseScene.adopt(volume), lambda node: None)
        line = drawing.arm()
        for side in (20.0, 40.0):  # the middle lies at 30 mm: indices are millimeters here
            line.AddControlPointWorld(vtk.vtkVector3d(side, 30.0, 30.0))
        lesionId = drawing.segment(line)
        drawing.close()
        (row,) = LesionTable().rows(CaseScene.open())
        assert row.lesion_id == lesionId
        assert abs(row.long_axis_mm - 20.0) < 2.0
        self.delayDisplay("The lesion was found")
