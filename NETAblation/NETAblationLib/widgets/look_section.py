"""Ways to check a fusion by eye: blend, flicker, checkerboard, difference, the livers' outlines, the grid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..scene import fusion_looks, fusion_steps
from ..scene.cases import CaseScene
from .panel import Panel
from .section import Section

#: Each image is seen this long while they flicker, in ms: enough to look, and to see what jumps. User-set.
FLICKER_MS = 500


class LookSection(Section):
    """Shows both images in one of several ways, one at a time, and outlines and grid above them."""

    def __init__(self, panel: Panel, isPlacingPairs: Callable[[], bool]) -> None:
        """Connect the widgets; while `isPlacingPairs` each image is seen alone, and the blend waits."""
        super().__init__(panel)
        self._isPlacingPairs = isPlacingPairs
        self.flickerTimer = qt.QTimer()
        self.flickerTimer.interval = FLICKER_MS
        self.flickerTimer.connect("timeout()", self.onFlicker)
        ui = self.ui
        ui.blendSlider.connect("valueChanged(double)", self.onBlend)
        ui.flickerButton.connect("toggled(bool)", self.onFlickerToggled)
        ui.checkerboardButton.connect("toggled(bool)", self.onCheckerboard)
        ui.differenceButton.connect("toggled(bool)", self.onDifference)
        ui.outlinesButton.connect("toggled(bool)", self.onOutlines)
        ui.gridButton.connect("toggled(bool)", self.onGrid)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """What can be looked at."""
        missing = fusion_steps.missing_for_fusion(case)
        for button in self._ways():
            self.panel.allow(button, missing)
        self.ui.blendSlider.enabled = not missing
        isFused = case is not None and case.transform is not None
        self.panel.allow(self.ui.gridButton, "" if isFused else _("fuse the images first"))
        self.panel.allow(self.ui.outlinesButton, fusion_looks.missing_for_outlines(case))

    def showFused(self) -> None:
        """Show what was fused anew: the blend, and the grid where it is asked for."""
        self.endWays()
        self.onGrid(self.ui.gridButton.checked)
        self.showBlend()

    def showBlend(self) -> None:
        """Blend both images as the slider says."""
        case = self.panel.case
        if case is not None and not fusion_steps.missing_for_fusion(case):
            fusion_looks.show_blend(case, self.panel.parameterNode.blend)

    def endWays(self, kept: Any = None) -> None:
        """End all ways of looking but that of one button."""
        for button in self._ways():
            if button is not kept:
                button.checked = False

    def _ways(self) -> tuple[Any, ...]:
        """Buttons of the ways of looking of which one at a time is shown."""
        return self.ui.flickerButton, self.ui.checkerboardButton, self.ui.differenceButton

    def onBlend(self, value: float) -> None:
        """Blend both images."""
        case = self.panel.case
        if case is None or fusion_steps.missing_for_fusion(case) or self._isPlacingPairs():
            return
        self.endWays()
        fusion_looks.show_blend(case, value)

    def onFlickerToggled(self, isOn: bool) -> None:
        """Begin or end to show both images in turn."""
        if isOn:
            self.endWays(self.ui.flickerButton)
            self.flickerTimer.start()
            self.onFlicker()
            return
        self.flickerTimer.stop()
        self.showBlend()

    def onFlicker(self) -> None:
        """Show the other image."""
        case = self.panel.case
        if case is not None:
            fusion_looks.flicker(case)

    def onCheckerboard(self, isOn: bool) -> None:
        """Show a checkerboard, or the blend again."""
        squares = self.panel.parameterNode.squares
        self._look(
            self.ui.checkerboardButton,
            lambda both, progress: both.checkerboard(progress, squares=squares),
            fusion_looks.show_checkerboard,
        )

    def onDifference(self, isOn: bool) -> None:
        """Show what is brighter and darker after, or the blend again."""
        self._look(
            self.ui.differenceButton, lambda both, progress: both.difference(progress), fusion_looks.show_difference
        )

    def _look(self, button: Any, make: Callable[..., Any], show: Callable[..., Any]) -> None:
        """Make one image of both and show it, unless the button is not pressed any more; then show the blend."""
        if not button.checked:
            self.showBlend()
            return
        self.endWays(button)
        with self.panel.attempt(_("The images cannot be compared.")):
            both = fusion_looks.BothImages.of(self.case)
            self.panel.startWork(
                button.text, partial(make, both), lambda image: button.checked and show(self.case, image)
            )

    def onOutlines(self, isOn: bool) -> None:
        """Outline both livers."""
        case = self.panel.case
        if case is not None:
            fusion_looks.show_liver_outlines(case, isOn)

    def onGrid(self, isOn: bool) -> None:
        """Show what the fusion does to a regular grid."""
        case = self.panel.case
        if case is not None and case.transform is not None:
            fusion_looks.show_deformation_grid(case.transform, case.volume, shown=isOn)
