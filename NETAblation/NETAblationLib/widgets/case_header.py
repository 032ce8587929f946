"""The head of every panel: the way to the other panels, which case, which lesion; kept in the scene."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import qt
import slicer
from slicer.i18n import tr as _

from ..scene import step_views
from ..scene.cases import CaseScene
from ..scene.layouts import FUSION, LESIONS, MARGIN, PLANNING

#: What the views show when a panel is opened by its button; the case has no views of its own.
_STEPS = {"NETAblationLesions": LESIONS, "NETAblationProbes": PLANNING, "NETAblationMargins": FUSION}

#: Width of the button that goes to the next lesion, in pixels. User-set.
_NEXT_PIXELS = 26


class CaseHeader:
    """`widget` shows the panels, the case's name and the lesions to choose from.

    `onChosen` is called when another lesion, or a panel with its views, is chosen.
    """

    def __init__(self, onChosen: Callable[[], None], moduleName: str) -> None:
        """Build the widgets of the panel of a module, without a case."""
        self._onChosen = onChosen
        self._isFilling = False
        self.widget = qt.QFrame()
        both = qt.QVBoxLayout(self.widget)
        both.setContentsMargins(0, 0, 0, 0)
        both.addWidget(self._panels(moduleName))
        row = qt.QFrame()
        both.addWidget(row)
        layout = qt.QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        self.caseLabel = qt.QLabel()
        self.caseLabel.toolTip = _("The planning image of this case; it is chosen in Case")
        self.lesionBox = qt.QComboBox()
        self.lesionBox.toolTip = _("The lesion that all NET Ablation panels work on (Ctrl+Up, Ctrl+Down)")
        self.lesionBox.connect("currentIndexChanged(int)", self._choose)
        layout.addWidget(self.caseLabel, 1)
        layout.addWidget(qt.QLabel(_("Lesion:")))
        layout.addWidget(self.lesionBox, 1)
        self.nextButton = qt.QPushButton("\u203a")
        self.nextButton.toolTip = _("The next lesion (Ctrl+Down)")
        self.nextButton.maximumWidth = _NEXT_PIXELS
        self.nextButton.connect("clicked()", partial(self.step, 1))
        layout.addWidget(self.nextButton)

    def _panels(self, moduleName: str) -> qt.QWidget:
        """A row of buttons that open the panels; that of this one is pressed and off."""
        row = qt.QFrame()
        layout = qt.QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        titles = {
            "NETAblation": (_("Case"), _("Images, steps, figures of all lesions, report")),
            "NETAblationLesions": (_("Lesions"), _("Segment lesions, liver, vessels and organs at risk")),
            "NETAblationProbes": (_("Probes"), _("Plan and place probes")),
            "NETAblationMargins": (_("Margins"), _("Ablation zone, fusion, margin")),
        }
        self.moduleButtons = {}
        for name, (title, toolTip) in titles.items():
            button = qt.QPushButton(title)
            button.toolTip = toolTip
            button.checkable = True
            button.checked = name == moduleName
            button.enabled = name != moduleName
            button.connect("clicked()", partial(self._open, button, name))
            layout.addWidget(button)
            self.moduleButtons[name] = button
        return row

    def _open(self, button: qt.QPushButton, name: str) -> None:
        button.checked = False
        case = CaseScene.open()
        if case is not None and name in _STEPS:
            step_views.show_step(_step(name, case), case, case.current_lesion)
            self._onChosen()
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule(name)

    def show(self, case: CaseScene | None) -> None:
        """Show a case as it is now; without one, what to do."""
        self._isFilling = True
        try:
            self.lesionBox.clear()
            self.lesionBox.enabled = False
            self.nextButton.enabled = False
            if case is None:
                self.caseLabel.text = _("No case yet")
                return
            self.caseLabel.text = case.volume.GetName() if case.volume is not None else _("Masks without an image")
            chosen = case.current_lesion
            for number, (lesionId, lesion) in enumerate(case.lesions.items()):
                self.lesionBox.addItem(lesion.name, lesionId)
                if lesionId == chosen:
                    self.lesionBox.currentIndex = number
            self.lesionBox.enabled = self.lesionBox.count > 0
            self.nextButton.enabled = self.lesionBox.count > 1
        finally:
            self._isFilling = False

    def step(self, by: int) -> None:
        """Choose the lesion so many places further."""
        count = self.lesionBox.count
        if count:
            self.lesionBox.currentIndex = (self.lesionBox.currentIndex + by) % count

    def _choose(self, index: int) -> None:
        case = CaseScene.open()
        if self._isFilling or case is None or index < 0:
            return
        case.current_lesion = self.lesionBox.itemData(index)
        step_views.look_at_lesion(case, case.current_lesion)
        self._onChosen()


def _step(name: str, case: CaseScene) -> str:
    """What the views show with a panel: with the margins of a lesion that is measured, its margin."""
    lesion = case.lesions.get(case.current_lesion)
    is_measured = lesion is not None and lesion.margin is not None
    return MARGIN if _STEPS[name] == FUSION and is_measured else _STEPS[name]
