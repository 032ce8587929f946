"""The module "NET Ablation": the case, its steps, its lesions in figures, and the report."""

from functools import partial
from pathlib import Path
from typing import Optional

import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

from NETAblationLib.core.phantom import make_patient
from NETAblationLib.scene import layouts, step_views
from NETAblationLib.scene.case_report import (
    TumorBurden,
    lesion_results,
    missing_for_report,
    picture_steps,
    report_work,
    tumor_burden,
)
from NETAblationLib.scene.case_steps import DONE, PROBLEM, STALE, TO_DO, case_steps, lesion_left
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.lesion_table import LesionTable
from NETAblationLib.scene.provenance import provenance_of
from NETAblationLib.scene.sample_case import add_sample
from NETAblationLib.widgets.panel import Panel
from NETAblationLib.widgets.tables import Cell, fillTable, fitHeight, selectedKey, selectKey, setColumns

#: Sign, words and background of each state of a step: never the color alone. User-set.
_STATES = {
    TO_DO: ("○", (0.93, 0.93, 0.93)),
    DONE: ("✓", (0.80, 0.92, 0.80)),
    STALE: ("↻", (0.98, 0.88, 0.62)),
    PROBLEM: ("!", (0.96, 0.74, 0.70)),
}

#: Width of the buttons that open a step, in pixels. User-set.
_OPEN_PIXELS = 52

#: Where each step is done: the module and what the views show.
_MODULES = {
    "images": ("NETAblation", ""),
    "liver": ("NETAblationLesions", layouts.LESIONS),
    "lesions": ("NETAblationLesions", layouts.LESIONS),
    "obstacles": ("NETAblationLesions", layouts.LESIONS),
    "plan": ("NETAblationProbes", layouts.PLANNING),
    "post_image": ("NETAblation", ""),
    "zones": ("NETAblationMargins", layouts.FUSION),
    "fusion": ("NETAblationMargins", layouts.FUSION),
    "margin": ("NETAblationMargins", layouts.MARGIN),
}


class NETAblation(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        """Describe the module."""
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NET Ablation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "NET Ablation")]
        self.parent.dependencies = ["Markups", "Segmentations", "Terminologies"]
        self.parent.contributors = ["NETAblation contributors"]
        self.parent.helpText = _(
            "The case: its images, the steps of the procedure with their state, all lesions in figures, the report. "
            "Each step opens the module in which it is done. Saving the scene saves the case."
        )
        self.parent.acknowledgementText = _("Research software, not a medical device.")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the digital patient in the module Sample Data; it is made here, nothing is downloaded."""
    try:
        import SampleData
    except ImportError:
        return  # an application without that module
    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12
        logic.registerCustomSampleDataCategory("NETAblation", title=_("NET Ablation"))
    logic.registerCustomSampleDataSource(
        category="NETAblation",
        sampleName="NETAblationDigitalPatient",
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "NETAblation.png"),
        customDownloader=lambda source=None: NETAblationLogic().addSample(),
    )


@parameterNodeWrapper
class NETAblationParameterNode:
    """The user's choices: the images of the case."""

    planningImage: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - as Slicer's own modules have it
    phase: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - as Slicer's own modules have it
    postImage: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - as Slicer's own modules have it


class NETAblationLogic(ScriptedLoadableModuleLogic):
    """Gives the parameter node and the sample; all work is done by NETAblationLib."""

    #: Size of the digital patient: "standard" is as a CT, "small" is made in a few seconds.
    sampleSize = "standard"

    def getParameterNode(self):
        """The choices kept in the scene."""
        return NETAblationParameterNode(super().getParameterNode())

    def addSample(self):
        """Make the digital patient and put its images into the scene; returns the nodes."""
        return add_sample(make_patient(self.sampleSize))


class NETAblationWidget(Panel):
    """The panel."""

    logicClass = NETAblationLogic

    def setupPanel(self) -> None:
        """Connect the panel's own widgets."""
        ui = self.ui
        self._rows = LesionTable()
        self._burden: tuple[tuple, TumorBurden | None] = ((), None)
        setColumns(ui.stepTable, [_("Step"), _("State"), ""], wide=1)
        lesionColumns = [_("Lesion"), _("ml"), _("mm"), _("Probes"), _("Planned"), _("MAM mm")]
        toolTips = [
            _("Name of the lesion"),
            _("Volume in ml"),
            _("Long x short axis in an axial slice, mm"),
            _("Number of planned probes"),
            _("Predicted MAM: the smallest margin that the plan gives, mm"),
            _("Achieved MAM: the smallest margin that was measured, mm, with its verdict"),
        ]
        setColumns(ui.lesionTable, lesionColumns, wide=5, toolTips=toolTips)
        ui.beginButton.connect("clicked()", self.onBegin)
        ui.phaseButton.connect("clicked()", self.onPhase)
        ui.postButton.connect("clicked()", self.onPost)
        ui.sampleButton.connect("clicked()", self.onSample)
        ui.dicomButton.connect("clicked()", partial(self.openModule, "DICOM"))
        ui.filesButton.connect("clicked()", self.onFiles)
        ui.reportButton.connect("clicked()", self.onReport)
        ui.nextButton.connect("clicked()", self.onNext)
        ui.lesionTable.connect("itemSelectionChanged()", self.onLesion)
        self.addShortcut("Ctrl+Return", self.onNext)

    # Acts

    def onBegin(self) -> None:
        """The chosen image becomes the planning image of a new case."""
        with self.attempt(_("The case cannot begin with this image."), isSlow=True):
            CaseScene.adopt(self.parameterNode.planningImage)
            slicer.util.setSliceViewerLayers(background=self.parameterNode.planningImage, fit=True)

    def onPhase(self) -> None:
        """The chosen image becomes another phase of the case."""
        with self.attempt(_("This image cannot be another phase."), isSlow=True):
            self.case.adopt_phase(self.parameterNode.phase)

    def onPost(self) -> None:
        """The chosen image becomes the image after ablation, once the user agrees where others depend on it."""
        case = self.case
        question = _("Fusion, ablation zones and margins belong to the image after ablation. Remove them?")
        if case.transform is not None and not slicer.util.confirmOkCancelDisplay(question):
            return
        with self.attempt(_("This image cannot be the one after ablation."), isSlow=True):
            case.adopt_after(self.parameterNode.postImage)

    def onSample(self) -> None:
        """Make the digital patient beside the application, then take it as the case's images."""
        size = self.logic.sampleSize
        self.startWork(
            _("Making the sample case"), lambda progress: make_patient(size, progress=progress), self.takeSample
        )

    def takeSample(self, patient) -> None:
        """Put the digital patient into the scene and begin a case with it."""
        with self.attempt(_("The sample case cannot be shown."), isSlow=True):
            nodes = add_sample(patient)
            case = CaseScene.adopt(nodes.portal)
            case.adopt_phase(nodes.arterial)
            case.adopt_after(nodes.post)
            slicer.util.setSliceViewerLayers(background=nodes.portal, fit=True)

    def onFiles(self) -> None:
        """Open Slicer's dialog for files."""
        if slicer.util.mainWindow() is not None:
            slicer.util.openAddDataDialog()

    def onReport(self) -> None:
        """Write the report into a folder that the user chooses, and say where it is."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of the report"))
        if folder:
            self.writeReport(folder)

    def writeReport(self, folder: str) -> None:
        """Render the pictures step by step, then write the report into a folder and say where it is."""
        with self.attempt(_("The report cannot be written.")):
            case = self.case
            self.startSteps(_("Pictures of the report"), picture_steps(case), partial(self.onPictures, case, folder))

    def onPictures(self, case, folder: str, pictures) -> None:
        """Make the page with its pictures, beside the application."""
        self.startWork(_("Report"), report_work(case, pictures, folder), self.onReportWritten)

    def onReportWritten(self, path) -> None:
        """Say where the report is."""
        self.say(self.ui.reportLabel, _("Written: {path}").format(path=path))

    def onNext(self) -> None:
        """Open the first step that is not done, with a lesion for which it is not."""
        step, case = self._nextStep(), self.case
        if step is None:
            return
        left = "" if case is None else lesion_left(case, step.key)
        if left:
            case.current_lesion = left
        self.openStep(step.key)

    def openStep(self, key: str) -> None:
        """Open the module in which a step is done, with the views it needs."""
        module, step = _MODULES[key]
        if step:
            step_views.show_step(step, self.case, self.lesionId)
            self.refreshSoon()
        if module == self.moduleName:
            self.ui.imagesSection.collapsed = False
        else:
            self.openModule(module)

    def openModule(self, name: str) -> None:
        """Open a module, where there is a window to show it in."""
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule(name)

    def onLesion(self) -> None:
        """The selected row is the lesion that all panels work on; the views turn to it."""
        key, case = selectedKey(self.ui.lesionTable), self.case
        if key and case is not None and key != case.current_lesion:
            case.current_lesion = key
            step_views.look_at_lesion(case, key)
            self.refreshSoon()

    # The case as it is

    def refresh(self) -> None:
        """Show the case as it is now, and enable or disable what can be done."""
        case, ui = self.case, self.ui
        self._showImages(case)
        self._showSteps(case)
        self._showLesions(case)
        choices = self.parameterNode
        none, noCase = _("choose an image first"), "" if case is not None else _("begin the case first")
        taken = [] if case is None else [case.volume, case.post_volume, *case.phases]
        used = _("this image is part of the case already")
        self.allow(
            ui.beginButton,
            _("the case has begun; close the scene for another one") if case is not None else "",
            "" if choices.planningImage is not None else none,
        )
        for button, image in ((ui.phaseButton, choices.phase), (ui.postButton, choices.postImage)):
            self.allow(button, noCase, none if image is None else used if image in taken else "")
        self.allow(ui.sampleButton, _("the scene holds a case; close it first") if case is not None else "")
        noWindow = "" if slicer.util.mainWindow() is not None else _("there is no main window")
        self.allow(ui.dicomButton, noWindow)
        self.allow(ui.filesButton, noWindow)
        self.allow(ui.reportButton, missing_for_report(case))
        step = self._nextStep()
        self.allow(ui.nextButton, _("every step is done") if step is None else "")
        ui.nextButton.text = _("Next: {step}").format(step=step.title) if step is not None else _("All steps are done")

    def _nextStep(self):
        return next((step for step in case_steps(self.case) if step.state != DONE), None)

    def _showImages(self, case) -> None:
        """The images of a case that was opened are the chosen ones; another one cannot be chosen to plan on."""
        self.ui.planningSelector.enabled = case is None
        if case is None:
            return
        present = (("planningImage", case.volume), ("phase", next(iter(case.phases), None)))
        for name, node in (*present, ("postImage", case.post_volume)):
            if node is not None and (name == "planningImage" or getattr(self.parameterNode, name) is None):
                setattr(self.parameterNode, name, node)

    def _showSteps(self, case) -> None:
        steps = case_steps(case)
        rows = [
            [
                Cell(step.title, step.reason),
                Cell(_stateInWords(step), f"{step.state}: {step.reason}", _STATES[step.state][1]),
                Cell(""),
            ]
            for step in steps
        ]
        fillTable(self.ui.stepTable, [step.key for step in steps], rows)
        fitHeight(self.ui.stepTable, len(rows), len(rows))
        for row, step in enumerate(steps):
            if self.ui.stepTable.cellWidget(row, 2) is None:
                button = qt.QPushButton(_("Open"))
                button.maximumWidth = _OPEN_PIXELS
                button.toolTip = _("Open where this step is done: {step}").format(step=step.title)
                button.connect("clicked()", partial(self.openStep, step.key))
                self.ui.stepTable.setCellWidget(row, 2, button)

    def _showLesions(self, case) -> None:
        rows = [] if case is None else self._rows.rows(case)
        cells = []
        for row in rows:
            results = lesion_results(case.lesions[row.lesion_id])
            isStale = bool(results.stale) or row.is_stale
            color = _STATES[STALE][1] if isStale else None
            note = _("Not up to date: {why}").format(why=results.stale) if results.stale else ""
            texts = [
                row.name,
                f"{row.volume_ml:.1f}",
                f"{row.long_axis_mm:.0f} x {row.short_axis_mm:.0f}",
                "" if results.probe_count is None else str(results.probe_count),
                _millimeters(results.predicted_mam_mm),
                " ".join(
                    part for part in (_millimeters(results.mam_mm), results.verdict, "↻" if isStale else "") if part
                ),
            ]
            cells.append([Cell(text, note, color) for text in texts])
        fillTable(self.ui.lesionTable, [row.lesion_id for row in rows], cells)
        fitHeight(self.ui.lesionTable, 2, 10)
        if case is not None and case.current_lesion:
            wasBlocked = self.ui.lesionTable.blockSignals(True)
            selectKey(self.ui.lesionTable, case.current_lesion)
            self.ui.lesionTable.blockSignals(wasBlocked)
        burden = self._burdenOf(case)
        self.ui.burdenLabel.text = (
            _("Tumor burden: known once liver and lesions are segmented.")
            if burden is None
            else _("Tumor burden: {share:.1f} % ({tumor:.1f} of {liver:.0f} ml); class {group}").format(
                share=100 * burden.fraction, tumor=burden.tumor_ml, liver=burden.liver_ml, group=burden.burden_class
            )
        )

    def _burdenOf(self, case):
        """The burden, computed anew only where liver or lesions have changed."""
        if case is None:
            return None
        models = [case.liver_model, *(lesion.tumor_model for lesion in case.lesions.values())]
        key = tuple((node.GetID(), provenance_of(node).content_hash) for node in models if node is not None)
        if key != self._burden[0]:
            self._burden = (key, tumor_burden(case))
        return self._burden[1]


def _stateInWords(step) -> str:
    """A sign, what is wrong where something is, and why."""
    words = f"{step.state}: {step.reason}" if step.state in (STALE, PROBLEM) else step.reason
    return f"{_STATES[step.state][0]} {words}"


def _millimeters(value) -> str:
    return "" if value is None else f"{value:.1f}"


class NETAblationTest(ScriptedLoadableModuleTest):
    """Run from Slicer's "Reload and Test"."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Begin a case with the small digital patient."""
        self.setUp()
        self.test_caseBegins()

    def test_caseBegins(self):
        """The first steps are done as soon as the images are chosen."""
        nodes = add_sample(make_patient("small"))
        case = CaseScene.adopt(nodes.portal)
        case.adopt_after(nodes.post)
        states = {step.key: step.state for step in case_steps(case)}
        self.assertEqual(states["images"], DONE)
        self.assertEqual(states["post_image"], DONE)
        self.assertEqual(states["lesions"], TO_DO)
