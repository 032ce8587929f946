"""The panel NET Margins on stand-ins of Qt: from two images to the margin by its buttons."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from NETAblationLib.core import frames
from NETAblationLib.core.centerlines import Centerlines
from NETAblationLib.core.vessels import VesselSegmentation
from NETAblationLib.scene import fusion_steps, margin_steps, segmentations, storage, volumes
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.fusion_looks import CHECKERBOARD_ROLE, DIFFERENCE_ROLE
from NETAblationLib.scene.landmarks import AFTER, BEFORE, LandmarkPairs
from NETAblationLib.scene.margin_plots import CHART_ROLE
from NETAblationLib.scene.provenance import Provenance, nodes_with_role
from NETAblationLib.scene.zone_steps import zone_line
from support import shapes

CENTER = np.array([4.0, -4.0, 3.0])
MOTION = np.array([4.0, -3.0, 2.0])


@pytest.fixture(scope="module")
def patient():
    """A liver with a tumor of 6 mm, moved and ablated to 12 mm around a place 3 mm beside it; coarse and small."""
    grid = shapes.grid((-45, -45, -45), (45, 45, 45), (2.5, 2.5, 2.5))
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, grid.GetSize()[::-1]).astype(np.float32))
    noise.CopyInformation(grid)
    texture = sitk.RescaleIntensity(sitk.SmoothingRecursiveGaussian(noise, 3.5), -70, 70)
    liver = shapes.mask_of(shapes.sphere((0, 0, 0), 32), grid)
    tumor = shapes.mask_of(shapes.sphere(CENTER, 6), grid)
    body = sitk.Cast(liver, sitk.sitkFloat32) * 100 + texture
    before = sitk.Cast(body - sitk.Cast(tumor, sitk.sitkFloat32) * 60, sitk.sitkInt16)
    matrix = np.eye(4)
    matrix[:3, 3] = MOTION
    back = frames.affine_transform(np.linalg.inv(matrix))
    zone = shapes.mask_of(shapes.sphere(CENTER + MOTION + np.array([3, 0, 0]), 12), grid)
    moved = sitk.Resample(body, back, sitk.sitkLinear, 0.0)
    inside = sitk.Cast(zone, sitk.sitkFloat32)
    after = sitk.Cast(moved * (1 - inside) + inside * 20, sitk.sitkInt16)
    moved_liver = sitk.Resample(liver, back, sitk.sitkNearestNeighbor)
    return {"before": before, "after": after, "liver": liver, "moved_liver": moved_liver, "tumor": tumor, "zone": zone}


@pytest.fixture
def images(scene, patient):
    """Both images in the scene, as they come from DICOM: no case yet."""
    return [volumes.add_volume(patient[name], name, Provenance("")) for name in ("before", "after")]


@pytest.fixture
def treated(patient, images, panel):
    """The panel on a case with liver and lesion, not fused."""
    widget = panel("NETAblationMargins")
    widget.ui.beforeSelector.setCurrentNode(images[0])
    widget.ui.afterSelector.setCurrentNode(images[1])
    case = CaseScene.open()
    case.replace_liver(patient["liver"])
    case.replace_post_structure(patient["moved_liver"], "liver")
    case.add_lesion("L1", patient["tumor"])
    slicer.app.processEvents()
    return widget


def finish(widget):
    """Let the work under way come to its end."""
    widget.longWork.wait()
    slicer.app.processEvents()


def fuse_truly(widget):
    """Put in the true motion as a fusion, with figures."""

    class Result:
        transform = frames.affine_transform(np.array([[1, 0, 0, 4], [0, 1, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1.0]]))

        def to_dict(self):
            return {"verdict": "good", "estimated_error_mm": 0.8, "verdict_reasons": ["all figures are sound"]}

    case = CaseScene.open()
    widget.fusion.onFused(fusion_steps.FusionInputs.of(case), Result())
    widget.refreshNow()


def test_an_empty_scene_says_what_to_do_first(panel):
    widget = panel("NETAblationMargins")
    ui = widget.ui
    for button in (ui.fuseButton, ui.drawZoneButton, ui.measureButton, ui.weakestButton, ui.nextProbeButton):
        assert not button.enabled
        assert "Not now" in button.toolTip
    assert "image before" in ui.adviceLabel.text
    assert not ui.verdictLabel.visible


def test_images_are_chosen_and_another_case_is_not_begun(panel, images):
    widget = panel("NETAblationMargins")
    ui = widget.ui
    ui.beforeSelector.setCurrentNode(images[0])
    slicer.app.processEvents()
    assert CaseScene.open().volume is images[0]
    assert not ui.beforeSelector.enabled
    assert not ui.fuseButton.enabled
    ui.afterSelector.setCurrentNode(images[1])
    slicer.app.processEvents()
    assert CaseScene.open().post_volume is images[1]
    assert ui.fuseButton.enabled


def test_the_workflow_by_the_buttons(treated, patient, dialogs, tmp_path):
    """Fuse, draw the zone, measure, look: the margin is that of the masks."""
    widget, ui = treated, treated.ui
    ui.presetComboBox.currentIndex = 0
    assert widget.parameterNode.preset == "fast"
    ui.fuseButton.click()
    assert not ui.measureButton.enabled
    assert widget.longWork.isRunning
    finish(widget)
    assert dialogs.shown == []
    case = CaseScene.open()
    there = frames.transform_points(case.fixed_to_moving(), CENTER[None])[0]
    assert np.linalg.norm(there - (CENTER + MOTION)) < 2.5
    assert ui.verdictLabel.text
    assert "Error in the liver" in ui.fusionFiguresLabel.text
    assert ui.fuseButton.text == "Fuse again"

    assert not ui.measureButton.enabled
    assert "zone" in ui.measureButton.toolTip
    ui.drawZoneButton.click()
    slicer.app.processEvents()
    assert "Click" in ui.drawZoneButton.text
    line = zone_line(widget.lesionId)
    for shift in ([-12, 0, 0], [12, 0, 0]):
        # As placed in the views; the line's own coordinates are those of the image after.
        line.AddControlPoint(CENTER + MOTION + np.array([3, 0, 0]) + shift)
    finish(widget)
    assert dialogs.shown == []
    assert not ui.drawZoneButton.checked
    assert "zone of 7" in ui.zoneLabel.text or "zone of 6" in ui.zoneLabel.text  # 7.2 ml by the formula
    ui.measureButton.click()
    finish(widget)
    assert dialogs.shown == []
    summary = margin_steps.margin_summary(case, widget.lesionId)
    assert summary.headline in ui.marginLabel.text
    measured = margin_steps.margin_document(case, widget.lesionId)
    assert measured["mam_mm"] == pytest.approx(3.0, abs=2.5)  # of a coarse fusion and voxels of 2.5 mm
    assert "90 %" in ui.intervalLabel.text
    assert ui.sharesTable.rowCount == 5
    assert ui.shellsTable.rowCount == 4
    ui.residualButton.click()
    assert margin_steps.is_residual_shown(widget.lesionId)
    assert ui.nextProbeButton.enabled
    assert len(nodes_with_role(CHART_ROLE)) == 1
    assert ui.lookCollapsibleButton.collapsed
    assert not ui.marginCollapsibleButton.collapsed
    ui.viewsButton.click()
    assert dialogs.shown == []
    assert len(nodes_with_role(CHART_ROLE)) == 1

    # All of it comes back from the file.
    texts = {name: getattr(ui, name).text for name in ("verdictLabel", "marginLabel", "intervalLabel", "zoneLabel")}
    ui.marginSpinBox.value = 6.0
    case.save(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    slicer.app.processEvents()
    assert not ui.measureButton.enabled
    storage.load_scene(tmp_path / "case.mrb")
    slicer.app.processEvents()
    assert {name: getattr(ui, name).text for name in texts} == texts
    assert ui.marginSpinBox.value == 6.0


def test_the_liver_after_is_segmented_by_a_button(treated, patient, monkeypatch):
    class Found:
        mask, warnings = patient["moved_liver"], ()

    case = CaseScene.open()
    segmentations.remove_segment(case.after, "Liver")
    widget, ui = treated, treated.ui
    slicer.app.processEvents()
    assert (ui.liverAfterState.text, "liver" in case.post_kinds) == ("not segmented", False)
    monkeypatch.setattr("NETAblationLib.scene.organs.segment_liver", lambda *_, **__: Found)
    ui.liverAfterButton.click()
    finish(widget)
    assert (ui.liverAfterState.text, "liver" in case.post_kinds) == ("segmented", True)


def test_vessels_of_both_images_check_the_fusion(treated, patient, monkeypatch):
    """A tube before, and the same tube moved along as the one found after."""

    def tube(shift):
        points = shapes.voxel_centers(patient["before"]) - shift
        inside = (np.linalg.norm(points[:, :2], axis=1) < 4) & (np.abs(points[:, 2]) < 25)
        mask = sitk.GetImageFromArray(inside.astype(np.uint8).reshape(patient["before"].GetSize()[::-1]))
        mask.CopyInformation(patient["before"])
        return mask

    no_lines = Centerlines(np.zeros((0, 3)), np.zeros(0), np.zeros(0, int), np.zeros(0))
    found = VesselSegmentation(tube(MOTION), no_lines, 3.0, 100.0, 10.0, {}, (), "sure")
    monkeypatch.setattr("NETAblationLib.scene.organs.segment_vessels", lambda *_, **__: found)
    case = CaseScene.open()
    widget, ui = treated, treated.ui
    case.replace_structure(tube(np.zeros(3)), "portal_vein")
    assert ui.vesselsAfterState.text == "not segmented"
    assert fusion_steps.FusionInputs.of(case).fixed_vessels is None
    ui.vesselsAfterButton.click()
    finish(widget)
    assert ui.vesselsAfterState.text == "segmented"
    ui.presetComboBox.setCurrentIndex(ui.presetComboBox.findData("fast"))
    ui.fuseButton.click()
    finish(widget)
    # The zone, which nobody drew here, pulls: it is not to be exact, but nearer than the motion is long.
    assert case.fusion_document()["vessel_centerline_distance_mm"] < 0.5 * np.linalg.norm(MOTION)
    assert "Vessel middles apart" in ui.fusionFiguresLabel.text

    segmentations.remove_segment(case.after, "Liver")
    slicer.app.processEvents()
    assert not ui.vesselsAfterButton.enabled
    assert "segment the liver after first" in ui.vesselsAfterButton.toolTip


def test_the_margins_of_all_lesions_with_a_zone_by_one_button(treated, patient, dialogs):
    widget, case = treated, CaseScene.open()
    fuse_truly(widget)
    case.replace_zone("L1", patient["zone"])
    widget.refreshNow()
    assert "only one lesion" in widget.ui.measureAllButton.toolTip
    for name in ("L2", "L3"):
        case.add_lesion(name, patient["tumor"])
    case.replace_zone("L2", patient["zone"])
    widget.refreshNow()
    widget.ui.measureAllButton.click()
    finish(widget)
    assert dialogs.shown == []
    assert [lesion.margin is not None for lesion in case.lesions.values()] == [True, True, False]


def test_a_stale_margin_looks_stale(treated, patient, dialogs):
    widget, ui = treated, treated.ui
    fuse_truly(widget)
    assert ui.verdictLabel.text.startswith("Good")
    assert fusion_steps.VERDICT_COLORS["good"] in ui.verdictLabel.styleSheet
    CaseScene.open().replace_zone(widget.lesionId, patient["zone"])
    slicer.app.processEvents()
    ui.measureButton.click()
    finish(widget)
    assert margin_steps.margin_document(CaseScene.open(), widget.lesionId)["mam_mm"] == pytest.approx(3.0, abs=0.5)
    assert "Stale" not in ui.marginLabel.text
    fuse_truly(widget)
    assert ui.marginLabel.text.startswith("Stale")
    assert margin_steps.STALE_COLOR in ui.marginLabel.styleSheet
    assert not ui.nextProbeButton.enabled
    assert dialogs.shown == []


def test_looks_end_each_other(treated, dialogs):
    widget, ui = treated, treated.ui
    fuse_truly(widget)
    ui.flickerButton.click()
    assert widget.look.flickerTimer.active
    ui.checkerboardButton.click()
    finish(widget)
    assert not widget.look.flickerTimer.active
    assert len(nodes_with_role(CHECKERBOARD_ROLE)) == 1
    ui.differenceButton.click()
    finish(widget)
    assert not ui.checkerboardButton.checked
    assert nodes_with_role(CHECKERBOARD_ROLE) == []
    assert len(nodes_with_role(DIFFERENCE_ROLE)) == 1
    ui.blendSlider.value = 0.25
    assert not ui.differenceButton.checked
    assert nodes_with_role(DIFFERENCE_ROLE) == []
    assert widget.parameterNode.blend == 0.25
    ui.outlinesButton.click()
    ui.gridButton.click()
    assert CaseScene.open().transform.GetDisplayNode().GetVisibility()
    widget.exit()
    assert not widget.look.flickerTimer.active
    assert dialogs.shown == []


def test_landmark_pairs_measure_the_fusion(treated, dialogs):
    widget, ui = treated, treated.ui
    fuse_truly(widget)
    ui.addPairButton.click()
    slicer.app.processEvents()
    pairs = LandmarkPairs(CaseScene.open())
    assert "before" in ui.addPairButton.text
    pairs.place(BEFORE, CENTER)
    slicer.app.processEvents()
    assert "after" in ui.addPairButton.text
    pairs.place(AFTER, CENTER + np.array([0, 0, 2.0]))
    slicer.app.processEvents()
    assert ui.landmarksTable.item(0, 1).text() == "2.0"
    assert ui.residualsLabel.text == "Mean residual: 2.0 mm"
    ui.addPairButton.click()
    assert not widget.landmarks.isPlacing()
    ui.landmarksTable.selectRow(0)
    slicer.app.processEvents()
    assert ui.refuseButton.enabled
    ui.removePairButton.click()
    slicer.app.processEvents()
    assert ui.landmarksTable.rowCount == 0
    assert dialogs.shown == []


def test_errors_say_what_to_do_and_stopping_keeps_what_was(treated, dialogs):
    widget, ui = treated, treated.ui
    ui.fuseButton.click()
    widget.longWork.cancelButton.click()
    finish(widget)
    assert CaseScene.open().transform is None
    assert dialogs.shown == []
    fuse_truly(widget)
    ui.drawZoneButton.click()
    line = zone_line(widget.lesionId)
    for point in ([500, 0, 0], [520, 0, 0]):
        line.AddControlPoint(point)
    finish(widget)
    assert len(dialogs.shown) == 1
    assert "image" in dialogs.shown[0]
