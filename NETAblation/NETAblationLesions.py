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

from NETAblationLib.core.errors import InputError
from NETAblationLib.scene import (
    layouts,
    organs,
    pet,
    phase_views,
    role_matching,
    segmentations,
    step_views,
    total_segmentator,
)
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.lesion_drawing import LINE, MINUS, PLUS, SECOND_LINE, LesionDrawing
from NETAblationLib.scene.lesion_table import LesionRow, LesionTable, measures_work, put_measures
from NETAblationLib.scene.provenance import is_stale
from NETAblationLib.widgets.long_work import LongWork
from NETAblationLib.widgets.panel import Panel
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
    """The panel."""

    logicClass = NETAblationLesionsLogic

    def setupPanel(self) -> None:
        """Connect the panel's own widgets."""
        ui = self.ui
        self.drawing: LesionDrawing | None = None
        self._rows = LesionTable()
        self._drawn: list = []
        self._matches: list = []
        self._matchedFor: tuple = ()
        self._drawnTimer = qt.QTimer()
        self._drawnTimer.singleShot = True
        self._drawnTimer.connect("timeout()", self.segmentDrawn)

        setColumns(ui.lesionTable, [_("Name"), _("ml"), _("mm"), _("Enhancement"), _("Notes")], wide=4)
        setColumns(ui.matchTable, [_("Segment"), _("Taken as")], wide=1)
        ui.segmentEditor.segmentationNodeSelectorVisible = False
        ui.segmentEditor.sourceVolumeNodeSelectorVisible = False
        ui.segmentEditor.switchToSegmentationsButtonVisible = False

        self._say([])
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
        ui.liverButton.connect("clicked()", self.onLiver)
        ui.vesselsButton.connect("clicked()", self.onVessels)
        ui.obstaclesButton.connect("clicked()", self.onObstacles)
        ui.sourceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.refreshSoon)
        ui.adoptButton.connect("clicked()", self.onAdopt)
        ui.totalSegmentatorButton.connect("clicked()", self.onTotalSegmentator)
        ui.editorSection.connect("contentsCollapsed(bool)", self.onEditor)
        ui.petButton.connect("clicked()", self.onPet)

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
        self.ui.segmentEditor.setActiveEffectByName("")
        Panel.exit(self)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Called just before the scene is closed."""
        self._stopDrawing()
        self.ui.segmentEditor.setSegmentationNode(None)
        self.ui.segmentEditor.setMRMLSegmentEditorNode(None)
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
        if self.parameterNode.pet is None:
            self.parameterNode.pet = next(iter(pet.suv_volumes()), None)
        self.ui.imageSelector.enabled = case is None
        rows = [] if case is None else self._rows.rows(case)
        fillTable(self.ui.lesionTable, [row.lesion_id for row in rows], [_cells(row) for row in rows])
        fitHeight(self.ui.lesionTable, 3, 8)
        wasBlocked = self.ui.lesionTable.blockSignals(True)
        selectKey(self.ui.lesionTable, self.lesionId)
        self.ui.lesionTable.blockSignals(wasBlocked)
        self._offerSource(case)
        self._showOrgans(case)
        self._showMatches()
        if not self.ui.editorSection.collapsed:
            self._showEditor(case)
        self._allowAll(case)

    def _allowAll(self, case: CaseScene | None) -> None:
        ui, node = self.ui, self.parameterNode
        noImage = "" if case is not None or node.image is not None else _("choose the planning image first")
        noCase = "" if case is not None else _("draw a lesion or segment the liver first")
        noLesion = "" if self.lesionId else _("select a lesion first")
        drawn = {} if self.drawing is None or not self.lesionId else self.drawing.drawn_on(self.lesionId)
        noLine = noLesion or ("" if LINE in drawn else _("this lesion was not drawn by a line; use Corrections"))
        noLiver = noCase or ("" if case.liver_model is not None else _("segment the liver first"))
        uncorrected = noLine or ("" if len(drawn) > 1 else _("it has no corrections"))
        self.allow(ui.drawButton, noImage, evenWhileBusy=True)
        for button in (ui.secondLineButton, ui.insideButton, ui.outsideButton):
            self.allow(button, noLine, evenWhileBusy=True)
        self.allow(ui.resetButton, uncorrected)
        self.allow(ui.deleteButton, noLesion)
        self.allow(ui.measureButton, noLiver, noCase or ("" if case.lesions else _("draw a lesion first")))
        self.allow(ui.sideBySideButton, noImage, "" if node.phase is not None else _("choose a second phase"))
        self.allow(ui.liverButton, noImage)
        self.allow(ui.vesselsButton, noLiver)
        self.allow(ui.obstaclesButton, noImage)
        matched = any(match.structure for match in self._matches)
        noSource = "" if node.source is not None else _("choose a segmentation")
        self.allow(ui.adoptButton, noSource, noImage, "" if matched else _("no segment is matched"))
        missing = "" if total_segmentator.is_installed() else _("install the extension TotalSegmentator first")
        self.allow(ui.totalSegmentatorButton, missing, noImage)
        noRegion = "" if node.region is not None else noLiver and _("choose a region, or segment the liver")
        self.allow(ui.petButton, noImage, "" if node.pet is not None else _("choose the PET"), noRegion)
        armed = "" if self.drawing is None else self.drawing.armed_role
        for button, role in self._drawButtons().items():
            button.checked = armed == role

    def _drawButtons(self) -> dict:
        ui = self.ui
        return {ui.drawButton: LINE, ui.secondLineButton: SECOND_LINE, ui.insideButton: PLUS, ui.outsideButton: MINUS}

    def _showOrgans(self, case: CaseScene | None) -> None:
        kinds = set()
        liver = _("none")
        if case is not None:
            kinds = segmentations.segment_kinds(case.before)
            if case.liver_model is not None:
                liver = _("stale") if is_stale(case.liver_model) else _("segmented")
        vessels = [name for name in organs.VESSEL_KINDS if name in kinds]
        others = sorted(kinds - {"tumor", "lesion", "liver", "", *organs.VESSEL_KINDS})
        self.ui.liverState.text = _("Liver: {state}").format(state=liver)
        self.ui.vesselsState.text = _("Vessels: {state}").format(state=_words(vessels))
        self.ui.obstaclesState.text = _("Organs at risk: {state}").format(state=_words(others))

    def _say(self, texts) -> None:
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
            case = self._caseOrBegin()
            if isChecked:
                phase_views.show_side_by_side(case.volume, self.parameterNode.phase)
            else:
                phase_views.show_one(case.volume)

    def _caseOrBegin(self) -> CaseScene:
        """The case; begun with the chosen image where there is none."""
        case = self.case
        if case is None:
            if self.parameterNode.image is None:
                raise InputError(_("choose the planning image first"))
            case = CaseScene.adopt(self.parameterNode.image)
            phase = self.parameterNode.phase
            if phase is not None and phase is not case.volume:
                case.adopt_phase(phase)
        self._followDrawing(case)
        return case

    # Drawing

    def onDraw(self, role: str, isChecked: bool) -> None:
        """Arm or disarm the drawing of lines or points."""
        with self.attempt(_("Nothing can be drawn.")):
            self._caseOrBegin()
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
            self._say([_("{name}: {size}").format(name=row.name, size=_sizes(row)), *row.warnings])

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
        self._work(_("Measuring the lesions"), measures_work, put_measures)

    # What surrounds the lesions

    def onLiver(self) -> None:
        """Segment the liver."""
        self._work(_("Segmenting the liver"), organs.liver_work, self._putLiver)

    def _putLiver(self, case: CaseScene, result) -> list:
        warnings = organs.put_liver(case, result)
        step_views.look_at_liver(case)
        return warnings

    def onVessels(self) -> None:
        """Segment the vessels of the liver."""
        self._work(_("Segmenting the vessels"), organs.vessels_work, organs.put_vessels)

    def onObstacles(self) -> None:
        """Find bone, lung and air."""
        self._work(_("Finding organs at risk"), organs.obstacles_work, organs.put_obstacles)

    def onPet(self) -> None:
        """Segment the lesions of the PET."""
        node = self.parameterNode
        work = partial(pet.pet_work, volume=node.pet, region=node.region, fraction=node.percentOfMaximum / 100.0)
        self._work(_("Segmenting the PET"), work, partial(self._putPet, node.pet))

    def _putPet(self, volume, case: CaseScene, result) -> list:
        added, warnings = pet.put_pet(case, volume, result, self.drawing.next_name())
        return [_("{count} lesions of the PET").format(count=len(added)), *warnings]

    def _work(self, title: str, prepare, put) -> None:
        """Take what the work needs out of the scene, run it with progress, and put its result in."""
        with self.attempt(title):
            case = self._caseOrBegin()
            self.startWork(title, prepare(case), lambda result: self._say(put(case, result) or ()))

    def onTotalSegmentator(self) -> None:
        """Segment organs with the other extension, and offer what it found."""
        with self.attempt(_("TotalSegmentator failed."), isSlow=True):
            case = self._caseOrBegin()
            self.parameterNode.source = total_segmentator.segment_organs(case.volume)

    def _offerSource(self, case: CaseScene | None) -> None:
        """While there is no liver, offer the one segmentation that the scene has beside the case's own."""
        if case is None or case.liver_model is not None or self.parameterNode.source is not None:
            return
        others = role_matching.other_segmentations()
        if len(others) == 1:
            self.parameterNode.source = others[0]
            self.ui.takeSection.collapsed = False

    def _showMatches(self) -> None:
        """Match the segments of the chosen segmentation, as long as it stays the same."""
        source = self.parameterNode.source
        ids = [] if source is None else segmentations.segment_ids(source)
        key = () if source is None else (source.GetID(), *(segmentations.segment_name(source, i) for i in ids))
        if key == self._matchedFor:
            return
        self._matchedFor = key
        self._matches = [] if source is None else role_matching.match_segments(source)
        table = self.ui.matchTable
        rows = [[Cell(match.name, match.reason), Cell(match.structure)] for match in self._matches]
        fillTable(table, [match.segment_id for match in self._matches], rows)
        fitHeight(table, 2, 8)
        for row, match in enumerate(self._matches):
            box = qt.QComboBox()
            box.toolTip = match.reason or _("What this segment is taken as")
            box.addItem(_("leave out"), "")
            for name in role_matching.structure_choices():
                box.addItem(name, name)
            box.currentIndex = box.findData(match.structure)
            box.connect("currentIndexChanged(int)", partial(self.onMatch, row, box))
            table.setCellWidget(row, 1, box)

    def onMatch(self, row: int, box, index: int) -> None:
        """Take the user's word for what a segment is."""
        match = self._matches[row]
        self._matches[row] = role_matching.SegmentMatch(match.segment_id, match.name, box.itemData(index))
        self.refreshSoon()

    def onAdopt(self) -> None:
        """Copy the matched segments into the case."""
        with self.attempt(_("Nothing was taken."), isSlow=True):
            case = self._caseOrBegin()
            taken = role_matching.adopt_segments(case, self.parameterNode.source, self._matches)
            step_views.look_at_liver(case)
            self._say([_("Taken: {names}").format(names=", ".join(taken))])
            self.ui.takeSection.collapsed = True

    # Corrections

    def onEditor(self, isCollapsed: bool) -> None:
        """Give the Segment Editor the case's segments when its section is opened, and take its effect when closed."""
        if isCollapsed:
            self.ui.segmentEditor.setActiveEffectByName("")
        else:
            self._showEditor(self.case)

    def _showEditor(self, case: CaseScene | None) -> None:
        editor = self.ui.segmentEditor
        if case is None or editor.segmentationNode() is case.before:
            return
        editor.setMRMLSegmentEditorNode(_segmentEditorNode())
        editor.setSegmentationNode(case.before)
        editor.setSourceVolumeNode(case.volume)


def _segmentEditorNode():
    """The editor's node of this module; segments may overlap, as a tumor lies in the liver."""
    scene, tag = slicer.mrmlScene, "NETAblationLesions"
    node = scene.GetSingletonNode(tag, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(tag)
        node.SetOverwriteMode(node.OverwriteNone)
        node = scene.AddNode(node)
    return node


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


def _words(names) -> str:
    return ", ".join(name.replace("_", " ") for name in names) or _("none")


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
