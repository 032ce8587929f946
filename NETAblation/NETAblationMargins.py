"""NET Margins: fuse before and after, check the fusion, measure the margin, and see what is missing."""

from functools import partial
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

from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.scene import (
    fusion_looks,
    fusion_steps,
    layouts,
    margin_steps,
    next_probe,
    organs,
    slice_views,
    step_views,
    zone_steps,
)
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.landmarks import BEFORE, LandmarkPairs, mean_residual_mm
from NETAblationLib.scene.placing import LandmarkPlacing, ZoneDrawing
from NETAblationLib.widgets.panel import Panel
from NETAblationLib.widgets.tables import Cell, fillTable, fitHeight, selectedKey, setColumns

#: Each image is seen this long while they flicker, in ms: enough to look, and to see what jumps. User-set.
FLICKER_MS = 500


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
    """The panel; what its buttons do is in NETAblationLib.scene."""

    logicClass = NETAblationMarginsLogic

    def setupPanel(self):
        """Connect the panel's own widgets."""
        self.landmarkPlacing = None
        self.zoneDrawing = ZoneDrawing(self.onZoneDrawn)
        self.zoneSources = []
        self.shownLesion = ""
        self.devices = load_catalogue()
        self.flickerTimer = qt.QTimer()
        self.flickerTimer.interval = FLICKER_MS
        self.flickerTimer.connect("timeout()", self.onFlicker)
        ui = self.ui
        for key, text in fusion_steps.PRESETS.items():
            ui.presetComboBox.addItem(_(text), key)
        for device in self.devices.values():
            ui.deviceComboBox.addItem(f"{device.maker} {device.model}", device.id)
        ui.beforeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onBefore)
        ui.afterSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onAfter)
        ui.liverAfterButton.connect("clicked()", self.onLiverAfter)
        ui.vesselsAfterButton.connect("clicked()", self.onVesselsAfter)
        ui.presetComboBox.connect("currentIndexChanged(int)", self.onPreset)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self.onDevice)
        ui.fuseButton.connect("clicked()", self.onFuse)
        ui.refuseButton.connect("clicked()", self.onFuse)
        ui.blendSlider.connect("valueChanged(double)", self.onBlend)
        ui.flickerButton.connect("toggled(bool)", self.onFlickerToggled)
        ui.checkerboardButton.connect("toggled(bool)", self.onCheckerboard)
        ui.differenceButton.connect("toggled(bool)", self.onDifference)
        ui.outlinesButton.connect("toggled(bool)", self.onOutlines)
        ui.gridButton.connect("toggled(bool)", self.onGrid)
        ui.addPairButton.connect("toggled(bool)", self.onPlacePairs)
        ui.removePairButton.connect("clicked()", self.onRemovePair)
        ui.landmarksTable.connect("itemSelectionChanged()", self.onPairSelected)
        ui.drawZoneButton.connect("toggled(bool)", self.onDrawZone)
        ui.takeZoneButton.connect("clicked()", self.onTakeZone)
        ui.measureButton.connect("clicked()", self.onMeasure)
        ui.measureAllButton.connect("clicked()", self.onMeasureAll)
        ui.weakestButton.connect("clicked()", self.onWeakest)
        ui.residualButton.connect("toggled(bool)", self.onResidual)
        ui.viewsButton.connect("clicked()", self.onViews)
        ui.nextProbeButton.connect("clicked()", self.onNextProbe)
        setColumns(ui.landmarksTable, [_("Pair"), _("Residual (mm)"), _("State")], wide=2)
        setColumns(ui.sharesTable, [_("Margin"), _("Share of surface")], wide=1)
        setColumns(ui.shellsTable, [_("Shell"), _("Ablated"), _("90 % interval")], wide=2)
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

    def exit(self):
        """Leave nothing armed behind."""
        self.endPointing()
        self.ui.flickerButton.checked = False
        super().exit()

    def cleanup(self):
        """Stop what goes on by itself."""
        self.endPointing()
        self.zoneDrawing.stop()
        self.flickerTimer.stop()
        super().cleanup()

    def onSceneStartClose(self, caller=None, event=None):
        """Forget what belongs to the scene."""
        self.endPointing()
        self.zoneDrawing.stop()
        self.ui.flickerButton.checked = False
        super().onSceneStartClose(caller, event)

    def endPointing(self):
        """Leave the place mode."""
        self.ui.addPairButton.checked = False
        self.ui.drawZoneButton.checked = False

    def leaveMargin(self):
        """Arrange the views for pointing in both images, where they show a margin."""
        if layouts.current_layout() == layouts.MARGIN:
            step_views.show_step(layouts.FUSION, self.case, self.lesionId)

    # Show

    def refresh(self):
        """Show the case as it is now."""
        case, lesionId = self.case, self.lesionId
        self.showImages(case)
        self.showFusion(case)
        self.showLooks(case)
        self.showLandmarks(case)
        self.showZone(case, lesionId)
        self.showMargin(case, lesionId)

    def showImages(self, case):
        """Both images of the case."""
        volumes = (None, None) if case is None else (case.volume, case.post_volume)
        for selector, volume in zip((self.ui.beforeSelector, self.ui.afterSelector), volumes, strict=True):
            wasBlocked = selector.blockSignals(True)
            selector.setCurrentNode(volume)
            selector.blockSignals(wasBlocked)
        chosen = "" if volumes[0] is None else _("the case is built on this image; begin another case in another scene")
        self.allow(self.ui.beforeSelector, chosen)
        self.allow(self.ui.afterSelector, "" if volumes[0] is not None else _("choose the image before first"))
        self.allow(self.ui.liverAfterButton, fusion_steps.missing_for_fusion(case))
        kinds = set() if case is None else case.post_kinds
        hasVessels = not kinds.isdisjoint(organs.VESSEL_KINDS)
        self.allow(
            self.ui.vesselsAfterButton,
            fusion_steps.missing_for_fusion(case),
            "" if "liver" in kinds else _("segment the liver after first"),
        )
        self.ui.liverAfterState.text = _("segmented") if "liver" in kinds else _("not segmented")
        self.ui.vesselsAfterState.text = _("segmented") if hasVessels else _("not segmented")

    def showFusion(self, case):
        """The fusion's verdict in words and numbers."""
        ui = self.ui
        self.choose(ui.presetComboBox, self.parameterNode.preset)
        missing = fusion_steps.missing_for_fusion(case)
        self.allow(ui.fuseButton, missing)
        self.say(ui.zoneWarningLabel, "" if missing else fusion_steps.zone_warning(case))
        ui.zoneWarningLabel.styleSheet = f"color: white; background-color: {fusion_steps.WARNING_COLOR}; padding: 5px"
        ui.fuseButton.text = _("Fuse") if case is None or case.transform is None else _("Fuse again")
        labels = (ui.verdictLabel, ui.verdictReasonsLabel, ui.fusionFiguresLabel, ui.adviceLabel)
        if missing:
            for label in labels:
                label.text = ""
            ui.adviceLabel.text = _("First {what}.").format(what=missing.removesuffix(" first"))
        else:
            verdict = fusion_steps.fusion_verdict(case)
            ui.verdictLabel.text = verdict.headline
            ui.verdictLabel.styleSheet = (
                f"color: white; background-color: {verdict.color}; padding: 5px; border-radius: 3px; font-weight: bold"
            )
            ui.verdictReasonsLabel.text = "\n".join(f"• {reason}" for reason in verdict.reasons)
            ui.fusionFiguresLabel.text = "\n".join(f"{label}: {text}" for label, text in verdict.figures)
            ui.adviceLabel.text = verdict.advice
        for label in labels:
            label.visible = label.text != ""

    def showLooks(self, case):
        """What can be looked at."""
        missing = fusion_steps.missing_for_fusion(case)
        for button in self.lookButtons():
            self.allow(button, missing)
        self.ui.blendSlider.enabled = not missing
        isFused = case is not None and case.transform is not None
        self.allow(self.ui.gridButton, "" if isFused else _("fuse the images first"))
        self.allow(self.ui.outlinesButton, fusion_looks.missing_for_outlines(case))

    def showLandmarks(self, case):
        """All pairs, and how far the fusion is off at each."""
        ui = self.ui
        missing = fusion_steps.missing_for_fusion(case)
        self.allow(ui.addPairButton, missing)
        ui.addPairButton.text = _("Place pair") if self.landmarkPlacing is None else self.placingText()
        pairs = [] if missing else LandmarkPairs(case).pairs()
        for node in LandmarkPairs.nodes():
            event = node.PointEndInteractionEvent
            if not self.hasObserver(node, event, self.onPairMoved):
                self.addObserver(node, event, self.onPairMoved)
        rows = []
        for number, pair in enumerate(pairs, start=1):
            isWhole = pair.residual_mm is not None
            state = _("placed") if isWhole else _("half: click the same place in the other image")
            rows.append([Cell(str(number)), Cell(f"{pair.residual_mm:.1f}" if isWhole else "-"), Cell(state)])
        fillTable(ui.landmarksTable, [str(number) for number in range(len(rows))], rows)
        fitHeight(ui.landmarksTable, 1, 6)
        self.allow(ui.removePairButton, "" if selectedKey(ui.landmarksTable) else _("select a pair first"))
        mean = mean_residual_mm(pairs)
        self.say(ui.residualsLabel, "" if mean is None else _("Mean residual: {mean:.1f} mm").format(mean=mean))
        self.allow(ui.refuseButton, missing, "" if mean is not None else _("place a pair first"))

    def placingText(self):
        """What the next click is for."""
        side = _("before") if self.landmarkPlacing.side == BEFORE else _("after")
        return _("Click in the image {side} (press to end)").format(side=side)

    def showZone(self, case, lesionId):
        """The zone of the lesion, and where it could come from."""
        ui = self.ui
        lesion = None if case is None else case.lesions.get(lesionId)
        if lesionId != self.shownLesion and lesion is not None and lesion.zone_segment is None:
            ui.zoneCollapsibleButton.collapsed = False
        missing = fusion_steps.missing_for_fusion(case) or ("" if lesion is not None else _("choose a lesion first"))
        self.allow(ui.drawZoneButton, missing)
        self.zoneDrawing.follow()
        isPlacing = self.zoneDrawing.is_placing
        ui.drawZoneButton.text = _("Click both ends (press to end)") if isPlacing else _("Draw diameter")
        self.zoneSources = [] if missing else zone_steps.zone_sources()
        names = [source.name for source in self.zoneSources]
        if [ui.zoneSourceComboBox.itemText(index) for index in range(ui.zoneSourceComboBox.count)] != names:
            ui.zoneSourceComboBox.clear()
            for name in names:
                ui.zoneSourceComboBox.addItem(name)
        ui.zoneSourceComboBox.enabled = bool(names)
        self.allow(ui.takeZoneButton, missing, "" if names else _("the scene has no other segmentation"))
        if lesion is None or lesion.zone_segment is None:
            self.say(ui.zoneLabel, "" if missing else _("{lesion} has no zone yet.").format(lesion=lesion.name))
        else:
            lines = [
                _("{lesion}: zone of {ml:.1f} ml").format(lesion=lesion.name, ml=zone_steps.zone_ml(case, lesionId))
            ]
            self.say(ui.zoneLabel, "\n".join([*lines, *(f"• {text}" for text in zone_steps.zone_warnings(lesionId))]))

    def showMargin(self, case, lesionId):
        """The margin of the lesion in words, numbers and tables."""
        ui = self.ui
        self.choose(ui.deviceComboBox, self.parameterNode.device or next(iter(self.devices)))
        self.allow(ui.measureButton, margin_steps.missing_for_margin(case, lesionId))
        several = len(margin_steps.measurable_lesions(case)) > 1
        self.allow(ui.measureAllButton, "" if several else _("only one lesion, or none, can be measured"))
        summary = None if case is None else margin_steps.margin_summary(case, lesionId)
        for widget in (ui.marginLabel, ui.intervalLabel, ui.marginDetailsLabel, ui.sharesTable, ui.shellsTable):
            widget.visible = summary is not None
        none = "" if summary is not None else _("measure the margin first")
        self.allow(ui.viewsButton, none)
        isKnown = case is not None and margin_steps.weakest_point(case, lesionId) is not None
        self.allow(ui.weakestButton, none, "" if isKnown else _("no part of the surface is evaluable"))
        isLeft = margin_steps.residual_node(lesionId) is not None
        self.allow(ui.residualButton, none, "" if isLeft else _("tumor and margin are ablated"))
        wasBlocked = ui.residualButton.blockSignals(True)
        ui.residualButton.checked = margin_steps.is_residual_shown(lesionId)
        ui.residualButton.blockSignals(wasBlocked)
        if self.shownLesion != lesionId or not ui.nextProbeLabel.text:
            self.shownLesion = lesionId
            self.say(ui.nextProbeLabel, "")
        self.allow(ui.nextProbeButton, next_probe.missing_for_next_probe(case, lesionId))
        if summary is None:
            return
        color = margin_steps.STALE_COLOR if summary.stale else margin_steps.VERDICT_COLORS[summary.verdict]
        stale = _("Stale ({reason}): ").format(reason=summary.stale) if summary.stale else ""
        ui.marginLabel.text = stale + summary.headline
        ui.marginLabel.styleSheet = (
            f"color: white; background-color: {color}; padding: 5px; border-radius: 3px; font-weight: bold"
        )
        ui.intervalLabel.text = summary.interval
        warnings = [f"• {text}" for text in summary.warnings]
        word = fusion_steps.word_near(case, lesionId)
        if word not in (fusion_steps.GOOD, fusion_steps.NONE):
            warnings.insert(0, _("• The fusion is {word}: see above.").format(word=word))
        details = [summary.reason, *summary.sides, *summary.residuals, *warnings]
        ui.marginDetailsLabel.text = "\n".join(text[:1].upper() + text[1:] for text in details)
        colors = margin_steps.SHARE_COLORS
        shares = [
            [Cell(label, color=color), Cell(text)] for (label, text), color in zip(summary.shares, colors, strict=True)
        ]
        fillTable(ui.sharesTable, [label for label, _text in summary.shares], shares)
        fitHeight(ui.sharesTable, len(shares), len(shares))
        shells = [[Cell(text) for text in row] for row in summary.shells]
        fillTable(ui.shellsTable, [row[0] for row in summary.shells], shells)
        fitHeight(ui.shellsTable, len(shells), len(shells))

    def choose(self, box, key):
        """Show a choice in a combo box without telling anyone."""
        index = box.findData(key)
        if index >= 0 and index != box.currentIndex:
            wasBlocked = box.blockSignals(True)
            box.currentIndex = index
            box.blockSignals(wasBlocked)

    # Images

    def onBefore(self, node):
        """Begin a case with the chosen image."""
        if node is None or self.case is not None:
            return
        with self.attempt(_("The image before cannot be used."), isSlow=True):
            CaseScene.adopt(node)

    def onAfter(self, node):
        """Take the chosen image as the one after."""
        case = self.case
        if node is None or case is None or node is case.post_volume:
            self.refreshSoon()
            return
        question = _("Another image after ablation removes the fusion, zones and margins. Go on?")
        if case.transform is not None and not slicer.util.confirmOkCancelDisplay(question):
            self.refreshSoon()
            return
        with self.attempt(_("The image after cannot be used."), isSlow=True):
            self.endPointing()
            case.adopt_after(node)
            fusion_looks.show_blend(case, self.parameterNode.blend)

    def onLiverAfter(self):
        """Segment the liver in the image after."""
        with self.attempt(_("The liver cannot be segmented.")):
            case = self.case
            self.startWork(_("Liver after"), organs.post_liver_work(case), partial(organs.put_post_liver, case))

    def onVesselsAfter(self):
        """Segment the vessels in the image after."""
        with self.attempt(_("The vessels cannot be segmented.")):
            case = self.case
            self.startWork(_("Vessels after"), organs.post_vessels_work(case), partial(organs.put_post_vessels, case))

    # Fusion

    def onPreset(self, index):
        """Keep the chosen effort."""
        if index >= 0 and self.parameterNode is not None:
            self.parameterNode.preset = self.ui.presetComboBox.itemData(index)

    def onFuse(self):
        """Fuse, with the landmark pairs where there are some."""
        with self.attempt(_("The images cannot be fused.")):
            self.endPointing()
            case = self.case
            inputs = fusion_steps.FusionInputs.of(case, LandmarkPairs(case).complete())
            work = partial(inputs.fuse, preset=self.parameterNode.preset)
            self.startWork(_("Fusion"), work, partial(self.onFused, inputs))

    def onFused(self, inputs, result):
        """Put the fusion into the case and show it."""
        case = self.case
        fusion_steps.apply_fusion(case, inputs, result)
        step_views.show_step(layouts.FUSION, case, self.lesionId)
        self.endLooks()
        self.onGrid(self.ui.gridButton.checked)
        fusion_looks.show_blend(case, self.parameterNode.blend)

    # Look

    def onBlend(self, value):
        """Blend both images."""
        case = self.case
        if not fusion_steps.missing_for_fusion(case) and self.landmarkPlacing is None:
            self.endLooks()
            fusion_looks.show_blend(case, value)

    def onFlickerToggled(self, isOn):
        """Begin or end to show both images in turn."""
        if isOn:
            self.endLooks(self.ui.flickerButton)
            self.flickerTimer.start()
            self.onFlicker()
            return
        self.flickerTimer.stop()
        self.showBlend()

    def onFlicker(self):
        """Show the other image."""
        case = self.case
        if case is not None:
            fusion_looks.flicker(case)

    def showBlend(self):
        """Blend both images as the slider says."""
        case = self.case
        if not fusion_steps.missing_for_fusion(case):
            fusion_looks.show_blend(case, self.parameterNode.blend)

    def onCheckerboard(self, isOn):
        """Show a checkerboard, or the blend again."""
        squares = self.parameterNode.squares
        self.look(
            self.ui.checkerboardButton,
            lambda both, progress: both.checkerboard(progress, squares=squares),
            fusion_looks.show_checkerboard,
        )

    def onDifference(self, isOn):
        """Show what is brighter and darker after, or the blend again."""
        self.look(
            self.ui.differenceButton, lambda both, progress: both.difference(progress), fusion_looks.show_difference
        )

    def look(self, button, make, show):
        """Make one image of both and show it, unless the button is not pressed any more; then show the blend."""
        if not button.checked:
            self.showBlend()
            return
        self.endLooks(button)
        with self.attempt(_("The images cannot be compared.")):
            both = fusion_looks.BothImages.of(self.case)
            self.startWork(button.text, partial(make, both), lambda image: button.checked and show(self.case, image))

    def lookButtons(self):
        """Ways of looking of which one at a time is shown."""
        return self.ui.flickerButton, self.ui.checkerboardButton, self.ui.differenceButton

    def endLooks(self, kept=None):
        """End all ways of looking but one."""
        for button in self.lookButtons():
            if button is not kept:
                button.checked = False

    def onOutlines(self, isOn):
        """Outline both livers."""
        case = self.case
        if case is not None:
            fusion_looks.show_liver_outlines(case, isOn)

    def onGrid(self, isOn):
        """Show what the fusion does to a regular grid."""
        case = self.case
        if case is not None and case.transform is not None:
            fusion_looks.show_deformation_grid(case.transform, case.volume, shown=isOn)

    # Landmarks

    def onPlacePairs(self, isOn):
        """Arm or end the placing of pairs."""
        with self.attempt(_("Landmarks cannot be placed.")):
            if isOn:
                self.ui.landmarksCollapsibleButton.collapsed = False
                self.leaveMargin()
                self.ui.drawZoneButton.checked = False
                self.ui.flickerButton.checked = False
                self.landmarkPlacing = LandmarkPlacing(self.case, self.refreshSoon)
            elif self.landmarkPlacing is not None:
                self.landmarkPlacing.stop()
                self.landmarkPlacing = None

    def onPairMoved(self, caller=None, event=None):
        """Show what a point that was dragged leaves."""
        self.refreshSoon()

    def onRemovePair(self):
        """Remove the selected pair."""
        key = selectedKey(self.ui.landmarksTable)
        if key:
            with self.attempt(_("The pair cannot be removed.")):
                LandmarkPairs(self.case).remove(int(key))

    def onPairSelected(self):
        """Show the place of the selected pair."""
        key, case = selectedKey(self.ui.landmarksTable), self.case
        place = LandmarkPairs(case).show(int(key)) if key and case is not None else None
        if place is not None:
            slice_views.center(place)
        self.refreshSoon()

    # Zone

    def onDrawZone(self, isOn):
        """Arm or end the drawing of the zone's diameter."""
        with self.attempt(_("The zone cannot be drawn.")):
            if not isOn:
                self.zoneDrawing.end()
                return
            self.ui.addPairButton.checked = False
            self.ui.flickerButton.checked = False
            self.leaveMargin()
            self.zoneDrawing.begin(self.case, self.lesionId)

    def onZoneDrawn(self, lesionId):
        """Segment the zone of a diameter that was drawn or dragged."""
        self.ui.drawZoneButton.checked = False
        with self.attempt(_("The zone cannot be segmented.")):
            inputs = zone_steps.ZoneInputs.of(self.case, lesionId)
            self.startWork(_("Ablation zone"), inputs.segment, partial(self.onZone, inputs))

    def onZone(self, inputs, result):
        """Put the zone into the case."""
        zone_steps.apply_zone(self.case, inputs, result)

    def onTakeZone(self):
        """Take the chosen segment as the zone."""
        with self.attempt(_("The segment cannot be taken as a zone."), isSlow=True):
            source = self.zoneSources[self.ui.zoneSourceComboBox.currentIndex]
            zone_steps.adopt_zone(self.case, self.lesionId, source)

    # Margin

    def onMeasure(self):
        """Measure the margin of the lesion."""
        self.measure([self.lesionId])

    def onMeasureAll(self):
        """Measure the margins of all lesions that have an ablation zone."""
        self.measure(margin_steps.measurable_lesions(self.case))

    def measure(self, lesionIds):
        """Measure the margins of some lesions."""
        with self.attempt(_("The margin cannot be measured.")):
            self.endPointing()
            case, chosen = self.case, self.parameterNode
            shrinkage = chosen.zoneShrinkagePercent / 100.0
            inputs = [margin_steps.MarginInputs.of(case, each, chosen.marginMm, shrinkage) for each in lesionIds]
            work = partial(margin_steps.measure_each, inputs)
            self.startWork(_("Margin"), work, partial(self.onMeasured, lesionIds))

    def onMeasured(self, lesionIds, measured):
        """Put the margins into the case and show that of the lesion, its weakest point in all views."""
        case = self.case
        for lesionId, margin in zip(lesionIds, measured, strict=True):
            margin_steps.apply_margin(case, lesionId, margin)
        step_views.show_step(layouts.MARGIN, case, self.lesionId)
        for section in (
            self.ui.imagesCollapsibleButton,
            self.ui.zoneCollapsibleButton,
            self.ui.lookCollapsibleButton,
        ):
            section.collapsed = True  # so that verdict and margin are seen together

    def onWeakest(self):
        """Center all views on the weakest point."""
        case = self.case
        if case is not None:
            step_views.look_at_weakest(case, self.lesionId)

    def onResidual(self, isOn):
        """Show what was not ablated."""
        with self.attempt(_("What was not ablated cannot be shown."), isSlow=True):
            margin_steps.show_residual(self.lesionId, isOn)

    def onViews(self):
        """Arrange the views for the margin."""
        with self.attempt(_("The margin cannot be shown."), isSlow=True):
            step_views.show_step(layouts.MARGIN, self.case, self.lesionId)

    def onDevice(self, index):
        """Keep the chosen device."""
        if index >= 0 and self.parameterNode is not None:
            self.parameterNode.device = self.ui.deviceComboBox.itemData(index)

    def onNextProbe(self):
        """Plan a probe for what was not ablated."""
        with self.attempt(_("The next probe cannot be planned.")):
            lesionId = self.lesionId
            device = self.devices[self.ui.deviceComboBox.itemData(self.ui.deviceComboBox.currentIndex)]
            request = next_probe.next_probe_request(self.case, lesionId, device)
            work = partial(next_probe.plan_next_probe, request)
            self.startWork(_("Next probe"), work, partial(self.onProbePlanned, lesionId))

    def onProbePlanned(self, lesionId, plan):
        """Hand the probe on to NET Probes."""
        case = self.case
        expected = next_probe.expected_mam_mm(case, lesionId, plan)
        next_probe.apply_next_probe(case, lesionId, plan)
        text = _("{count} probe(s) added for what was not ablated.").format(count=plan.probe_count)
        if expected is not None:
            text += " " + _("MAM with it, by its zones: {mam:.1f} mm.").format(mam=expected)
        self.say(self.ui.nextProbeLabel, text)
        step_views.show_step(layouts.PLANNING, case, lesionId)
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("NETAblationProbes")


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
