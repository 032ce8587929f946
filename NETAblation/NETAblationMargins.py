"""NET Margins: fuse before and after, check the fusion, measure the margin, and see what is missing."""

from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

from NETAblationLib.scene import fusion_steps, layouts, step_views
from NETAblationLib.widgets.before_after_section import BeforeAfterSection
from NETAblationLib.widgets.fusion_section import FusionSection
from NETAblationLib.widgets.landmarks_section import LandmarksSection
from NETAblationLib.widgets.look_section import LookSection
from NETAblationLib.widgets.margin_section import MarginSection
from NETAblationLib.widgets.next_probe_section import NextProbeSection
from NETAblationLib.widgets.panel import Panel
from NETAblationLib.widgets.zone_section import ZoneSection


class NETAblationMargins(ScriptedLoadableModule):
    """The module's entry in Slicer."""

    def __init__(self, parent):
        """Say what the module is."""
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NET Margins")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "NET Ablation")]
        self.parent.dependencies = ["Markups", "Segmentations", "Transforms", "Plots"]
        self.parent.contributors = ["NETAblation contributors"]
        self.parent.helpText = _(
            "Fuse the image after ablation with the one before, check the fusion, and measure the margin around each "
            "tumor: how far the ablation zone reaches beyond it, where it is weakest, and what was not ablated. "
            "Research software, not a medical device."
        )
        self.parent.acknowledgementText = _("Part of NETAblation, free software under the Apache License 2.0.")


@parameterNodeWrapper
class NETAblationMarginsParameterNode:
    """What the user chose in the panel.

    blend - how much of the image after is seen, 0 to 1
    squares - number of the checkerboard's squares along each axis
    preset - effort of the fusion
    marginMm - margin asked for
    zoneShrinkagePercent - by which share of its length ablated tissue has contracted
    device - id of the device of the next probe; empty for the first of the catalogue
    """

    blend: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    squares: Annotated[int, WithinRange(2, 30)] = 8
    preset: str = fusion_steps.STANDARD
    marginMm: Annotated[float, WithinRange(1.0, 30.0)] = 5.0
    zoneShrinkagePercent: Annotated[float, WithinRange(0.0, 50.0)] = 0.0
    device: str = ""


class NETAblationMarginsLogic(ScriptedLoadableModuleLogic):
    """The parameter node; all else is in NETAblationLib."""

    def getParameterNode(self):
        """The user's choices."""
        return NETAblationMarginsParameterNode(super().getParameterNode())


class NETAblationMarginsWidget(Panel):
    """The panel: its sections, each of which drives its own widgets, and what they have to do with each other."""

    logicClass = NETAblationMarginsLogic

    def setupPanel(self):
        """Make the sections and the shortcuts."""
        ui = self.ui
        self.landmarks = LandmarksSection(self, self.beginPointing)
        self.look = LookSection(self, self.landmarks.isPlacing)
        self.zone = ZoneSection(self, self.beginPointing)
        self.fusion = FusionSection(self, self.endPointing, self.look.showFused)
        self.sections = (
            BeforeAfterSection(self, self.endPointing, self.look.showBlend),
            self.fusion,
            self.look,
            self.landmarks,
            self.zone,
            MarginSection(self, self.endPointing),
            NextProbeSection(self),
        )
        for keys, button in (
            ("Ctrl+Shift+F", ui.fuseButton),
            ("Ctrl+Shift+K", ui.flickerButton),
            ("Ctrl+Shift+O", ui.outlinesButton),
            ("Ctrl+Shift+L", ui.addPairButton),
            ("Ctrl+Shift+Z", ui.drawZoneButton),
            ("Ctrl+Shift+M", ui.measureButton),
            ("Ctrl+Shift+W", ui.weakestButton),
            ("Ctrl+Shift+R", ui.residualButton),
        ):
            self.addShortcut(keys, button.click)

    def refresh(self):
        """Show the case as it is now."""
        case, lesionId = self.case, self.lesionId
        for section in self.sections:
            section.show(case, lesionId)

    def exit(self):
        """Leave nothing armed behind."""
        self.endPointing()
        self.ui.flickerButton.checked = False
        super().exit()

    def cleanup(self):
        """Stop what goes on by itself."""
        self.endPointing()
        self.zone.stop()
        self.look.flickerTimer.stop()
        super().cleanup()

    def onSceneStartClose(self, caller=None, event=None):
        """Forget what belongs to the scene."""
        self.endPointing()
        self.zone.stop()
        self.ui.flickerButton.checked = False
        super().onSceneStartClose(caller, event)

    def beginPointing(self, button):
        """Get ready for the clicks that a button asks for: nothing else points or flickers, both images are seen."""
        for other in (self.ui.addPairButton, self.ui.drawZoneButton, self.ui.flickerButton):
            if other is not button:
                other.checked = False
        if layouts.current_layout() == layouts.MARGIN:
            step_views.show_step(layouts.FUSION, self.case, self.lesionId)

    def endPointing(self):
        """Leave the place mode."""
        self.ui.addPairButton.checked = False
        self.ui.drawZoneButton.checked = False


class NETAblationMarginsTest(ScriptedLoadableModuleTest):
    """Runs in Slicer by "Reload and Test"."""

    def runTest(self):
        """The panel opens on an empty scene, and shows what is to be done first."""
        slicer.mrmlScene.Clear()
        widget = slicer.util.getModuleWidget("NETAblationMargins")
        widget.enter()
        assert not widget.ui.fuseButton.enabled
        assert not widget.ui.measureButton.enabled
        widget.exit()
