"""The panel NET Ablation on stand-ins of Qt: from an empty scene to a report, by its buttons."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from NETAblationLib.core.margins import measure_margin
from NETAblationLib.scene import storage, volumes
from NETAblationLib.scene.case_report import tumor_burden
from NETAblationLib.scene.case_steps import case_steps, lesion_left
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.provenance import Provenance


@pytest.fixture
def widget(panel):
    return panel("NETAblation")


def settle(widget):
    """As when the application is idle."""
    widget.longWork.wait()
    slicer.app.processEvents()
    widget.refreshNow()


def states(widget):
    """Step to state, as the table shows it."""
    table = widget.ui.stepTable
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}


@pytest.fixture
def begun(widget, small_patient, monkeypatch):
    """The panel with the sample case, by one click."""
    import NETAblation

    monkeypatch.setattr(NETAblation, "make_patient", lambda *_, **__: small_patient)
    widget.ui.sampleButton.click()
    settle(widget)
    return widget


def test_an_empty_scene_says_what_to_do(widget):
    ui = widget.ui
    for button in (ui.beginButton, ui.phaseButton, ui.postButton, ui.reportButton):
        assert not button.enabled
        assert "Not now" in button.toolTip
    assert ui.sampleButton.enabled
    assert all(text.startswith("○") for text in states(widget).values())
    assert ui.nextButton.text == "Next: Planning image"


def test_one_click_begins_the_sample_case(begun):
    shown = states(begun)
    assert shown["Planning image"].startswith("✓")
    assert shown["Image after ablation"].startswith("✓")
    assert begun.ui.nextButton.text == "Next: Liver"
    assert begun.ui.planningSelector.currentNode() is begun.case.volume
    assert begun.ui.postSelector.currentNode() is begun.case.post_volume
    assert not begun.ui.sampleButton.enabled
    assert not begun.ui.planningSelector.enabled


def test_a_loaded_image_becomes_the_case(widget, small_patient):
    node = volumes.add_volume(small_patient.portal, "CT", Provenance(""))
    other = volumes.add_volume(small_patient.arterial, "CT 2", Provenance(""))
    widget.ui.planningSelector.setCurrentNode(node)
    settle(widget)
    widget.ui.beginButton.click()
    widget.ui.phaseSelector.setCurrentNode(other)
    settle(widget)
    widget.ui.phaseButton.click()
    settle(widget)
    assert widget.case.volume is node
    assert widget.case.phases == [other]
    assert "part of the case" in widget.ui.phaseButton.toolTip


@pytest.fixture
def measured(begun, small_patient):
    """The case with liver, two lesions, and the margin of one of them."""
    case = begun.case
    case.replace_liver(small_patient.masks["liver"])
    names = [case.add_lesion(lesion.name, lesion.mask) for lesion in small_patient.lesions[:2]]
    zone = small_patient.lesions[0].zone_mask_pre
    case.replace_margin(names[0], measure_margin(case.tumor_mask(names[0]), zone))
    settle(begun)
    return begun


def test_lesions_burden_and_report(measured, tmp_path):
    ui = measured.ui
    assert ui.lesionTable.rowCount == 2
    case = measured.case
    burden = tumor_burden(case)
    assert f"{100 * burden.fraction:.1f} %" in ui.burdenLabel.text
    assert ui.reportButton.enabled
    measured.writeReport(str(tmp_path / "report"))
    settle(measured)
    assert "report.html" in ui.reportLabel.text
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("no ablation zone is drawn yet") == 1
    assert "not measured" in page
    assert "sample" not in page
    ui.lesionTable.selectRow(1)
    settle(measured)
    assert case.current_lesion == list(case.lesions)[1]


def test_steps_open_their_module(measured):
    opened = []
    measured.openModule = opened.append
    table = measured.ui.stepTable
    for row in range(table.rowCount):
        table.cellWidget(row, 2).click()
    assert opened == ["NETAblationLesions"] * 3 + ["NETAblationProbes"] + ["NETAblationMargins"] * 3


def test_the_next_step_takes_a_lesion_for_which_it_is_to_be_done(measured):
    case, opened = measured.case, []
    first, second = case.lesions
    measured.openStep = opened.append
    measured._nextStep = lambda: next(step for step in case_steps(case) if step.key == "margin")
    case.current_lesion = first  # its margin is measured
    measured.ui.nextButton.click()
    assert (opened, case.current_lesion) == (["margin"], second)
    assert lesion_left(case, "plan") == second  # neither has one: the current lesion
    assert lesion_left(case, "liver") == ""


def test_the_case_comes_back_from_the_file(measured, tmp_path):
    before = states(measured)
    measured.case.save(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    settle(measured)
    assert measured.case is None
    storage.load_scene(tmp_path / "case.mrb")
    settle(measured)
    assert states(measured) == before
    assert measured.ui.postSelector.currentNode() is CaseScene.open().post_volume


def test_burden_is_that_of_the_masks(measured, small_patient):
    burden = tumor_burden(measured.case)
    masks = [sitk.GetArrayFromImage(lesion.mask) > 0 for lesion in small_patient.lesions[:2]]
    voxel_ml = np.prod(small_patient.portal.GetSpacing()) / 1000
    assert burden.tumor_ml == pytest.approx(np.count_nonzero(masks[0] | masks[1]) * voxel_ml)
    liver = sitk.GetArrayFromImage(small_patient.masks["liver"]) > 0
    assert burden.liver_ml == pytest.approx(np.count_nonzero(liver | masks[0] | masks[1]) * voxel_ml)


def test_another_image_after_ablation_asks_before_it_removes(measured, small_patient, dialogs):
    case, ui = measured.case, measured.ui
    case.replace_fusion(sitk.TranslationTransform(3, (1.0, 2.0, 3.0)))
    node = volumes.add_volume(small_patient.post, "Second scan", Provenance(""))
    ui.postSelector.setCurrentNode(node)
    settle(measured)
    dialogs.answer = False
    ui.postButton.click()
    assert case.post_volume is not node
    dialogs.answer = True
    ui.postButton.click()
    assert case.post_volume is node
    assert case.transform is None
    assert len(dialogs.shown) == 2


def test_the_module_s_own_test_passes(widget, small_patient, monkeypatch):
    monkeypatch.setattr("NETAblation.make_patient", lambda *_: small_patient)
    slicer.selfTests["NETAblation"]()
