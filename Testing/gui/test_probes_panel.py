"""The panel NET Probes on stand-ins of Qt: planning and placing probes by its buttons."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import qt
import slicer

from NETAblationLib.core.plans import Plan
from NETAblationLib.core.probes import Probe
from NETAblationLib.scene import probes as probe_lines
from NETAblationLib.scene import skin_entries, storage
from NETAblationLib.scene.cases import CaseScene
from support.shapes import grid, mask_of, sphere
from support.trunk import trunk

CENTER = np.array([20.0, 0.0, 5.0])
SKIN = CENTER + np.array([0.0, 90.0, 0.0])


@pytest.fixture(scope="module")
def images():
    image, liver = trunk()
    near = grid(tuple(CENTER - 14), tuple(CENTER + 14), (1.0, 1.0, 1.0))
    return image, liver, mask_of(sphere(CENTER, 8.0), near)


@pytest.fixture
def widget(panel):
    return panel("NETAblationProbes")


@pytest.fixture
def opened(widget, images):
    """The panel with a case of one lesion in a simple trunk."""
    image, liver, tumor = images
    case = CaseScene.create(image, image=image, liver=liver)
    case.add_lesion("L1", tumor)
    settle(widget)
    return widget


def settle(widget):
    """As when the application is idle."""
    for _ in range(3):
        slicer.app.processEvents()
        widget.refreshNow()
        widget.longWork.wait()


def place(widget):
    """Press the button and let two points be placed, as clicks in a view do."""
    widget.ui.placeProbeButton.click()
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    line = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID())
    for point, asked in ((CENTER, "Click the target"), (SKIN, "Click the skin")):
        slicer.app.processEvents()
        assert widget.ui.placeProbeButton.text.startswith(asked)
        line.AddControlPoint(point.tolist())
    settle(widget)
    assert widget.ui.placeProbeButton.text == "Place probe"
    return line


def test_an_empty_scene_says_why_nothing_can_be_done(widget):
    for button in (widget.ui.planButton, widget.ui.placeProbeButton, widget.ui.skinButton, widget.ui.undoButton):
        assert not button.enabled
        assert "choose a lesion first" in button.toolTip
    assert widget.ui.deviceComboBox.count > 3
    assert "vendor" in widget.ui.sourceLabel.text


def test_a_device_offers_its_settings_and_their_source(opened):
    ui = opened.ui
    before = ui.sourceLabel.text
    ui.deviceComboBox.setCurrentIndex(ui.deviceComboBox.findData("cooled-mwa-canine"))
    settle(opened)
    assert opened.parameterNode.device == "cooled-mwa-canine"
    assert ui.settingComboBox.count == 15
    assert ui.sourceLabel.text != before
    ui.settingComboBox.setCurrentIndex(2)
    assert opened.parameterNode.setting == ui.settingComboBox.itemData(2)


def test_place_change_delete_and_undo(opened):
    ui = opened.ui
    line = place(opened)
    assert not ui.placeProbeButton.checked
    assert ui.probesTable.rowCount == 1
    assert ui.numbersLabel.text.startswith("Tumor 100.0 %")
    assert not ui.duplicateButton.enabled
    ui.probesTable.selectRow(0)
    assert ui.duplicateButton.enabled
    assert "Emprint" in ui.probeLabel.text
    ui.duplicateButton.click()
    settle(opened)
    assert ui.probesTable.rowCount == 2
    ui.settingComboBox.setCurrentIndex(3)
    ui.settingButton.click()
    settle(opened)
    assert opened.probes.rows[0].setting == ui.settingComboBox.itemData(3)
    ui.deleteButton.click()
    settle(opened)
    assert ui.probesTable.rowCount == 1
    ui.undoButton.click()
    settle(opened)
    assert ui.probesTable.rowCount == 2
    item = ui.probesTable.item(0, 5)
    item.setCheckState(qt.Qt.Checked)
    assert opened.probes.rows[0].is_locked
    ui.probesTable.item(0, 6).setCheckState(qt.Qt.Unchecked)
    assert not opened.probes.rows[0].is_visible
    del line


def test_table_and_numbers_follow_a_drag(opened):
    line = place(opened)
    before, depth = opened.ui.numbersLabel.text, opened.ui.probesTable.item(0, 3).text()
    tip = np.array(probe_lines.probe_ends(line)[1])
    line.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointStartInteractionEvent)
    line.SetNthControlPointPosition(1, tip[0] + 14.0, tip[1] - 12.0, tip[2])
    slicer.app.processEvents()
    assert opened.ui.numbersLabel.text != before
    assert opened.ui.probesTable.item(0, 3).text() != depth
    line.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)


def test_plan_views_skin_and_export(opened, tmp_path, monkeypatch):
    ui = opened.ui
    ui.planButton.click()
    assert "under way" in ui.planButton.toolTip or opened.longWork.isRunning
    settle(opened)
    count = ui.probesTable.rowCount
    assert count >= 1
    assert ui.plansTable.rowCount == 1
    assert ui.reasonsLabel.text
    assert opened.case.lesions[opened.lesionId].plan.probe_count == count
    ui.undoButton.click()
    settle(opened)
    assert ui.probesTable.rowCount == 0
    ui.usePlanButton.click()
    settle(opened)
    assert ui.probesTable.rowCount == count

    ui.skinButton.click()
    settle(opened)
    assert skin_entries.skin_of(opened.lesionId) is not None
    ui.skinButton.click()
    assert skin_entries.skin_of(opened.lesionId) is None

    ui.probesTable.selectRow(0)
    ui.needleButton.click()
    ui.needleButton.click()

    for button, name in ((ui.csvButton, "plan.csv"), (ui.markupsButton, "plan.mrk.json")):
        path = tmp_path / name
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *_, path=path: str(path)))
        button.click()
        assert str(path) in ui.exportLabel.text
    with (tmp_path / "plan.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["probe"] == "L1 probe 1"
    assert len(json.loads((tmp_path / "plan.mrk.json").read_text(encoding="utf-8"))["markups"]) == count


def test_choices_and_probes_come_back_with_the_scene(opened, tmp_path):
    place(opened)
    opened.ui.marginSpinBox.value = 7.0
    settle(opened)
    assert "of 7 mm" in opened.ui.numbersLabel.text
    kept = opened.probes.rows[0].probe
    storage.save_scene(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    settle(opened)
    assert opened.ui.probesTable.rowCount == 0
    storage.load_scene(tmp_path / "case.mrb")
    settle(opened)
    (row,) = opened.probes.rows
    assert isinstance(row.probe, Probe)
    assert row.probe == kept
    assert opened.ui.marginSpinBox.value == 7.0
    plan = opened.case.lesions[opened.lesionId].plan
    assert isinstance(plan, Plan)
    assert plan.margin_mm == 7.0


def test_probes_are_measured_only_while_the_panel_is_seen(opened):
    place(opened)
    opened.exit()
    opened.parameterNode.marginMm = 8.0
    settle(opened)
    assert opened.probes.task() is None
    opened.enter()
    settle(opened)
    assert "of 8 mm" in opened.ui.numbersLabel.text


def test_a_failed_send_is_told(opened, dialogs):
    place(opened)
    opened.ui.addressLineEdit.text = "no address at all"
    settle(opened)
    opened.ui.sendButton.click()
    assert any("address" in text for text in dialogs.shown)


def test_self_test_of_the_module(widget):
    import NETAblationProbes

    NETAblationProbes.NETAblationProbesTest().runTest()
