"""The head of every panel: which case, which lesion; one choice for all panels, kept in the scene."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from ..scene.cases import CaseScene


class CaseHeader:
    """`widget` shows the case's name and the lesions to choose from; `onChosen` is called when another is chosen."""

    def __init__(self, onChosen: Callable[[], None]) -> None:
        """Build the widgets, without a case."""
        self._onChosen = onChosen
        self._isFilling = False
        self.widget = qt.QFrame()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self.caseLabel = qt.QLabel()
        self.caseLabel.toolTip = _("The planning image of this case")
        self.lesionBox = qt.QComboBox()
        self.lesionBox.toolTip = _("The lesion that all NET Ablation panels work on (Ctrl+Up, Ctrl+Down)")
        self.lesionBox.connect("currentIndexChanged(int)", self._choose)
        layout.addWidget(self.caseLabel, 1)
        layout.addWidget(qt.QLabel(_("Lesion:")))
        layout.addWidget(self.lesionBox, 1)

    def show(self, case: CaseScene | None) -> None:
        """Show a case as it is now; without one, what to do."""
        self._isFilling = True
        try:
            self.lesionBox.clear()
            self.lesionBox.enabled = False
            if case is None:
                self.caseLabel.text = _("No case: choose a planning image in NET Ablation")
                return
            self.caseLabel.text = case.volume.GetName() if case.volume is not None else _("Masks without an image")
            chosen = case.current_lesion
            for number, (lesionId, lesion) in enumerate(case.lesions.items()):
                self.lesionBox.addItem(lesion.name, lesionId)
                if lesionId == chosen:
                    self.lesionBox.currentIndex = number
            self.lesionBox.enabled = self.lesionBox.count > 0
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
        self._onChosen()
