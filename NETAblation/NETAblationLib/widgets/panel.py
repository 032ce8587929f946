"""What all panels share: the case on top, long work, the parameter node, and following the scene.

A panel shows the scene as it is: whenever the case may have changed, `refresh` is called, once for any number of
changes, and reads everything anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ..scene import slice_views
from ..scene.cases import CaseScene
from .case_header import CaseHeader
from .long_work import LongWork

RESEARCH_NOTE = "Research software, not a medical device. It measures and shows; it gives no advice on treatment."


class Panel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Base of the panels. A module sets `logicClass` and overrides `setupPanel` and `refresh`.

    Its Qt Designer file is Resources/UI/<module>.ui; widgets in it are found under `self.ui` by name.
    """

    #: The module's logic; its `getParameterNode` gives the wrapped node of the user's choices.
    logicClass: Any = None

    def __init__(self, parent: Any = None) -> None:
        """Prepare; Slicer calls `setup` when the panel is first opened."""
        # Before the base class: without a parent that calls `setup` at once.
        VTKObservationMixin.__init__(self)
        self.ui: Any = None
        self.uiWidget: Any = None
        self.logic: Any = None
        self.parameterNode: Any = None
        self._parameterNodeGuiTag: Any = None
        self._shortcuts: list[Any] = []
        self._watched: list[Any] = []
        self._isEditNoticed = True
        self._toolTips: dict[str, str] = {}
        #: Whether this module is the one that the user sees.
        self.isShown = False
        ScriptedLoadableModuleWidget.__init__(self, parent)

    # Slicer calls these

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.header = CaseHeader(self.refreshSoon, self.moduleName)
        self.layout.addWidget(self.header.widget)
        self.longWork = LongWork()
        self.layout.addWidget(self.longWork.widget)
        self.uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(self.uiWidget)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        self.uiWidget.setMRMLScene(slicer.mrmlScene)
        note = qt.QLabel(_(RESEARCH_NOTE))
        note.wordWrap = True
        note.enabled = False
        self.layout.addWidget(note)
        self.layout.addStretch(1)
        self._timer = qt.QTimer()
        self._timer.singleShot = True
        self._timer.interval = 0
        self._timer.connect("timeout()", self.refreshNow)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self._onChange)
        self.logic = self.logicClass()
        self.setupPanel()
        for keys, step in (("Ctrl+Up", -1), ("Ctrl+Down", 1)):
            self.addShortcut(keys, partial(self.header.step, step))
        self._enableShortcuts(False)
        self.initializeParameterNode()
        self.refreshNow()

    def cleanup(self) -> None:
        """Called when the panel is destroyed."""
        self.longWork.abandon()
        self._timer.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.isShown = True
        self.initializeParameterNode()
        self._enableShortcuts(True)
        self.refreshNow()

    def exit(self) -> None:
        """Called each time the user opens another module."""
        self.isShown = False
        self._enableShortcuts(False)

    def onSceneStartClose(self, caller: Any = None, event: Any = None) -> None:
        """Called just before the scene is closed."""
        self.longWork.abandon()
        self._unwatch()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any = None, event: Any = None) -> None:
        """Called just after the scene was closed."""
        self.initializeParameterNode()
        self.refreshSoon()

    def onSceneEndImport(self, caller: Any = None, event: Any = None) -> None:
        """Called after a scene was read: the widgets take the choices in it, now that the nodes are there."""
        self.initializeParameterNode()
        self.refreshSoon()

    # A module overrides these

    def setupPanel(self) -> None:
        """Connect the panel's own widgets."""

    def refresh(self) -> None:
        """Show the case as it is now, and enable or disable what can be done."""

    # For a module's use

    @property
    def case(self) -> CaseScene | None:
        """The case of the scene."""
        return CaseScene.open()

    @property
    def lesionId(self) -> str:
        """The lesion that all panels work on; empty where there is none."""
        case = self.case
        return "" if case is None else case.current_lesion

    def refreshSoon(self) -> None:
        """Refresh when the application is idle, once for all calls until then."""
        self._timer.start()

    def refreshNow(self) -> None:
        """Refresh at once."""
        if self.parameterNode is None or slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsBatchProcessing():
            return
        case = self.case
        if case is not None and not self._isEditNoticed:
            self._isEditNoticed = True
            case.notice_edits()
        self._watch(case)
        slice_views.refit()  # after a change of the arrangement Qt has given the views their sizes by now
        self.header.show(case)
        self.refresh()

    def allow(self, button: Any, *reasons: str, evenWhileBusy: bool = False) -> None:
        """Enable a button of the Designer file, or disable it and say why: the first reason that is not empty.

        Its tool tip says what it does, as in that file, and the reason below. Work that is under way is a reason,
        unless the button can be pressed `evenWhileBusy`.
        """
        toolTip = self._toolTips.setdefault(button.objectName, button.toolTip)
        busy = "" if evenWhileBusy else LongWork.busyWith()
        if busy:
            reasons = (*reasons, _("{work} is under way").format(work=busy))
        reason = next((text for text in reasons if text), "")
        button.enabled = not reason
        button.toolTip = _("{what}\nNot now: {reason}.").format(what=toolTip, reason=reason) if reason else toolTip

    def say(self, label: Any, text: str) -> None:
        """Show a text in a label, which takes no room while there is none."""
        label.text = text
        label.visible = text != ""

    def choose(self, box: Any, key: str) -> None:
        """Show the choice of a key in a combo box without telling anyone; nothing where it is not offered."""
        index = box.findData(key)
        if index >= 0 and index != box.currentIndex:
            wasBlocked = box.blockSignals(True)
            box.currentIndex = index
            box.blockSignals(wasBlocked)

    @contextmanager
    def attempt(self, title: str, *, isSlow: bool = False) -> Iterator[None]:
        """What fails inside is shown in a dialog that says what to do; `isSlow` shows the wait cursor meanwhile."""
        with slicer.util.tryWithErrorDisplay(title, waitCursor=isSlow):
            yield
        self.refreshSoon()

    def startWork(
        self,
        title: str,
        work: Callable[[Any], Any],
        onDone: Callable[[Any], object],
        onFail: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run `work(progress)` beside the application and take its result; see :class:`.long_work.LongWork`."""
        with self.attempt(title):
            self.longWork.start(title, work, onDone, onEnd=self.refreshSoon, onFail=onFail)

    def startSteps(self, title: str, steps: Any, onDone: Callable[[Any], object]) -> None:
        """Run `steps` in the main thread, with time for the user between; see :class:`.long_work.LongWork`."""
        with self.attempt(title):
            self.longWork.startSteps(title, steps, onDone, onEnd=self.refreshSoon)

    def addShortcut(self, keys: str, function: Callable[[], None]) -> None:
        """A keyboard shortcut that works while this module is open."""
        window = slicer.util.mainWindow()
        shortcut = qt.QShortcut(qt.QKeySequence(keys), window if window is not None else self.uiWidget)
        shortcut.connect("activated()", function)
        self._shortcuts.append(shortcut)

    # The parameter node

    def initializeParameterNode(self) -> None:
        """Take the parameter node of the scene, made where there is none."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: Any) -> None:
        """Connect the panel to a parameter node, or to none."""
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameterChange)
        self.parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameterChange)

    def _onParameterChange(self, caller: Any = None, event: Any = None) -> None:
        self.refreshSoon()

    # Following the scene

    def _onChange(self, caller: Any = None, event: Any = None) -> None:
        self.refreshSoon()

    def _onEdit(self, caller: Any = None, event: Any = None) -> None:
        self._isEditNoticed = False
        self.refreshSoon()

    def _watch(self, case: CaseScene | None) -> None:
        """Observe the nodes whose change must show; probes under the hand are followed by those who need it."""
        self._unwatch()
        if case is None:
            return
        for segmentation in (case.before, case.after):
            if segmentation is not None:
                events = slicer.vtkSegmentation
                for event in (
                    events.SegmentAdded,
                    events.SegmentRemoved,
                    events.SegmentModified,
                    events.SourceRepresentationModified,
                ):
                    self._observe(segmentation.GetSegmentation(), event, self._onEdit)
                self._observe(segmentation, vtk.vtkCommand.ModifiedEvent, self._onChange)
        followed = [case.volume, case.post_volume, case.transform]
        for lesion in case.lesions.values():
            followed += [lesion.tumor_model, lesion.plan_node, lesion.zone_model, lesion.margin_node]
        for node in followed:
            if node is not None:
                self._observe(node, vtk.vtkCommand.ModifiedEvent, self._onChange)

    def _observe(self, node: Any, event: Any, method: Callable[..., None]) -> None:
        self.addObserver(node, event, method)
        self._watched.append((node, event, method))

    def _unwatch(self) -> None:
        for node, event, method in self._watched:
            self.removeObserver(node, event, method)
        self._watched.clear()

    def _enableShortcuts(self, isEnabled: bool) -> None:
        for shortcut in self._shortcuts:
            shortcut.enabled = isEnabled
