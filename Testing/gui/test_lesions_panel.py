"""The panel NET Lesions on stand-ins of Qt: from an image in the scene to measured lesions, by its buttons."""

from __future__ import annotations

import time

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from NETAblationLib.core.images import image_hash
from NETAblationLib.scene import provenance, segmentations, volumes
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.lesion_drawing import LINE, MINUS, SECOND_LINE
from NETAblationLib.scene.provenance import Provenance
from support import shapes
from support.pet import blurred_sphere, image_of, total

FIRST, SECOND = np.array([-16.0, 4.0, 0.0]), np.array([15.0, -8.0, 2.0])


@pytest.fixture(scope="module")
def image():
    """A liver of 110 HU in fat with two dark lesions of 9 and 7 mm."""
    grid = shapes.grid((-48, -40, -34), (48, 40, 34), (1.5, 1.5, 2.0))
    liver = sitk.GetArrayFromImage(shapes.mask_of(shapes.ellipsoid((0, 0, 0), (44, 36, 30)), grid))
    balls = shapes.union(shapes.sphere(FIRST, 9), shapes.sphere(SECOND, 7))
    lesions = sitk.GetArrayFromImage(shapes.mask_of(balls, grid))
    values = np.where(lesions > 0, 60.0, np.where(liver > 0, 110.0, -80.0))
    values[:, :2] = -1000.0  # air: what tells a CT
    made = sitk.GetImageFromArray((values + np.random.default_rng(0).normal(size=values.shape) * 6).astype(np.int16))
    made.CopyInformation(grid)
    return made


@pytest.fixture
def widget(panel):
    return panel("NETAblationLesions")


def add_image(image, name="Portal venous"):
    """A volume as Slicer's own modules leave it: without a role."""
    node = volumes.add_volume(image, name, Provenance(""))
    for name in (provenance.ROLE, provenance.SOURCE):
        node.SetAttribute(name, None)
    return node


def settle(widget):
    """As when the application is idle: what was put off is done, and work under way has ended."""
    for _ in range(3):
        slicer.app.processEvents()
        widget.longWork.wait()
    slicer.app.processEvents()
    widget.refreshNow()


def place(points):
    """Click points into the node that is armed."""
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    node = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID())
    for point in points:
        node.AddControlPointWorld(vtk.vtkVector3d(*point))


def draw(widget, center, radius, axis=(1.0, 0.0, 0.0)):
    place([center - radius * np.array(axis), center + radius * np.array(axis)])
    settle(widget)


def texts(table):
    """All cells of a table."""
    items = [[table.item(row, column) for column in range(table.columnCount)] for row in range(table.rowCount)]
    return [["" if item is None else item.text() for item in row] for row in items]


@pytest.fixture
def drawn(widget, image):
    """The panel with both lesions drawn, by one click on its button."""
    widget.ui.imageSelector.setCurrentNode(add_image(image))
    settle(widget)
    widget.ui.drawButton.click()
    draw(widget, FIRST, 9)
    draw(widget, SECOND, 7)
    widget.ui.drawButton.click()
    settle(widget)
    return widget


def test_an_empty_scene_leaves_every_button_off_with_its_reason(widget):
    ui = widget.ui
    for button in (
        *(ui.drawButton, ui.secondLineButton, ui.insideButton, ui.outsideButton),
        *(ui.resetButton, ui.deleteButton, ui.measureButton, ui.sideBySideButton),
        *(ui.liverButton, ui.vesselsButton, ui.obstaclesButton),
        *(ui.adoptButton, ui.totalSegmentatorButton, ui.petButton),
    ):
        assert not button.enabled, button.name
        assert "Not now" in button.toolTip, button.name
    assert "none" in ui.liverState.text


def test_two_lesions_take_one_click_and_four_points(drawn):
    rows = texts(drawn.ui.lesionTable)
    assert [row[0] for row in rows] == ["L1", "L2"]
    assert [float(row[1]) for row in rows] == pytest.approx([3.05, 1.44], rel=0.15)
    assert rows[0][2].startswith(("17 x", "18 x", "19 x"))
    case = CaseScene.open()
    assert case.volume.GetName() == "Portal venous"
    assert case.current_lesion == "L2"
    assert "L2" in drawn.ui.messageLabel.text
    assert not drawn.ui.drawButton.checked
    assert not drawn.ui.imageSelector.enabled
    assert len(slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")) == 2


def test_the_next_line_is_drawn_while_a_lesion_is_segmented(widget, image):
    widget.ui.imageSelector.setCurrentNode(add_image(image))
    settle(widget)
    widget.ui.drawButton.click()
    for center, radius in ((FIRST, 9), (SECOND, 7)):
        place([center - np.array([radius, 0, 0]), center + np.array([radius, 0, 0])])
        slicer.app.processEvents()
        assert widget.longWork.isRunning
        assert widget.ui.drawButton.enabled
    assert not CaseScene.open().lesions
    end = time.monotonic() + 30
    while len(CaseScene.open().lesions) < 2 and time.monotonic() < end:
        slicer.app.processEvents()  # the second begins by itself when the first is done
    settle(widget)
    assert [row[0] for row in texts(widget.ui.lesionTable)] == ["L1", "L2"]
    assert widget.ui.drawButton.checked


def test_a_stopped_or_deleted_line_leaves_no_lesion(drawn):
    drawn.ui.drawButton.click()
    place([FIRST - np.array([0, 8, 0]), FIRST + np.array([0, 8, 0])])
    slicer.app.processEvents()
    drawn.longWork.cancelButton.click()
    settle(drawn)
    line = drawn.drawing.drawn_on("L1")[LINE]
    drawn.onDrawn(line)
    slicer.app.processEvents()
    assert drawn.longWork.isRunning
    drawn.drawing.remove_lesion("L1")
    settle(drawn)
    assert list(drawn.case.lesions) == ["L2"]
    assert drawn.ui.drawButton.checked
    drawn.ui.drawButton.click()
    settle(drawn)
    assert len(slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")) == 1


def test_a_row_chooses_the_lesion_of_all_panels_and_centers(drawn):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    drawn.ui.lesionTable.selectRow(0)
    settle(drawn)
    assert drawn.case.current_lesion == "L1"
    position = [node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    np.testing.assert_allclose(position, FIRST, atol=1.0)
    drawn.case.current_lesion = "L2"
    settle(drawn)
    assert drawn.ui.lesionTable.currentRow() == 1


def test_corrections_deleting_and_renaming(drawn, monkeypatch):
    ui = drawn.ui
    ui.lesionTable.selectRow(0)
    settle(drawn)
    assert not ui.resetButton.enabled
    before = drawn.case.tumor_mask("L1")
    ui.outsideButton.click()
    place([np.add(FIRST, [0, 6.0, 0])])
    settle(drawn)
    assert ui.outsideButton.checked
    assert set(drawn.drawing.drawn_on("L1")) == {LINE, MINUS}
    ui.secondLineButton.click()
    draw(drawn, FIRST, 9, (0.0, 0.0, 1.0))
    assert set(drawn.drawing.drawn_on("L1")) == {LINE, MINUS, SECOND_LINE}
    assert not ui.secondLineButton.checked
    ui.resetButton.click()
    settle(drawn)
    after = drawn.case.tumor_mask("L1")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(after))
    ui.lesionTable.item(0, 0).setText("Segment 7")
    settle(drawn)
    assert drawn.case.lesions["L1"].name == "Segment 7"
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: False)
    ui.deleteButton.click()
    settle(drawn)
    assert len(drawn.case.lesions) == 2
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    ui.deleteButton.click()
    settle(drawn)
    assert [row[0] for row in texts(ui.lesionTable)] == ["L2"]


def test_a_line_that_gives_no_lesion_is_told_of(drawn, monkeypatch):
    told = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_, **__: told.append(text))
    drawn.ui.drawButton.click()
    draw(drawn, np.array([0.0, 20.0, -8.0]), 5)
    assert len(told) == 1
    assert len(drawn.case.lesions) == 2
    assert drawn.ui.drawButton.checked  # for the next try


def test_organs_are_taken_from_a_segmentation_and_lesions_measured(drawn, image):
    source = segmentations.add_segmentation(image, "Model of another program", Provenance(""))
    for name, radius in (("liver", 30), ("kidney_left", 5), ("thing", 4)):
        mask = shapes.mask_of(shapes.sphere((0, 0, 0) if radius == 30 else (40, 30, 20), radius), image)
        segment_id = segmentations.add_segment(source, mask, "tissue", name)
        source.GetSegmentation().GetSegment(segment_id).RemoveTag(slicer.vtkSegment.GetTerminologyEntryTagName())
    ui = drawn.ui
    ui.takeSection.collapsed = False
    ui.sourceSelector.setCurrentNode(source)
    settle(drawn)
    boxes = [ui.matchTable.cellWidget(row, 1) for row in range(3)]
    assert [box.currentText for box in boxes] == ["liver", "kidney", "leave out"]
    boxes[2].currentIndex = boxes[2].findText("spleen")
    settle(drawn)
    ui.adoptButton.click()
    settle(drawn)
    assert ui.liverState.text == "Liver: segmented"
    assert ui.obstaclesState.text == "Organs at risk: kidney, spleen"
    ui.measureButton.click()
    settle(drawn)
    assert ["hypo" in row[3] for row in texts(ui.lesionTable)] == [True, True]


def test_the_second_phase_is_adopted_and_shown_beside(drawn, image):
    phase = add_image(image, "Arterial")
    drawn.ui.phaseSelector.setCurrentNode(phase)
    settle(drawn)
    assert drawn.case.phases == [phase]
    drawn.ui.sideBySideButton.click()
    settle(drawn)
    drawn.ui.sideBySideButton.click()
    assert provenance.provenance_of(phase).content_hash == image_hash(image)


def test_hot_lesions_of_a_pet(drawn):
    own = shapes.grid((-50, -40, -36), (50, 40, 36), (3.0, 3.0, 3.0))
    volume = add_image(image_of(total(4.0, blurred_sphere((5, 22, 0), 8, 30, 2.5)), own), "PET")
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    region.SetCenter(5, 22, 0)
    region.SetSize(28, 28, 28)
    drawn.ui.petSelector.setCurrentNode(volume)
    drawn.ui.regionSelector.setCurrentNode(region)
    settle(drawn)
    drawn.ui.petButton.click()
    settle(drawn)
    assert [row[0] for row in texts(drawn.ui.lesionTable)] == ["L1", "L2", "L3"]
    assert "1 lesions" in drawn.ui.messageLabel.text


def test_an_edited_mask_changes_the_row_and_what_depends_on_it(drawn):
    ui = drawn.ui
    ui.editorSection.collapsed = False
    settle(drawn)
    assert ui.segmentEditor.segmentationNode() is drawn.case.before
    result = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    provenance.describe(result, Provenance("plan", inputs=(drawn.case.lesions["L1"].tumor_model,)))
    ball = shapes.mask_of(shapes.sphere(FIRST, 6), drawn.case.planning_image())
    segmentations.update_segment(drawn.case.before, "L1", ball)
    settle(drawn)
    assert float(texts(ui.lesionTable)[0][1]) == pytest.approx(0.9, rel=0.15)
    assert provenance.is_stale(result)


def test_closing_the_scene_leaves_an_empty_panel_and_opening_brings_all_back(drawn, tmp_path):
    drawn.case.save(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    settle(drawn)
    assert drawn.ui.lesionTable.rowCount == 0
    assert drawn.drawing is None
    slicer.util.loadScene(str(tmp_path / "case.mrb"))
    settle(drawn)
    assert [row[0] for row in texts(drawn.ui.lesionTable)] == ["L1", "L2"]
    line = drawn.drawing.drawn_on("L1")[LINE]
    line.SetNthControlPointPositionWorld(0, *(FIRST - [8.5, 0, 0]))
    line.InvokeEvent(line.PointEndInteractionEvent)
    settle(drawn)
    assert "L1" in drawn.ui.messageLabel.text


def test_the_module_s_own_test_passes(widget):
    from NETAblationLesions import NETAblationLesionsTest

    NETAblationLesionsTest().runTest()
