"""The whole sample case through the panels: from an empty scene to the margin and back from the file, by clicks."""

from __future__ import annotations

import pytest
import slicer

from NETAblationLib.scene import storage
from NETAblationLib.scene.case_steps import DONE, case_steps
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.provenance import is_stale, nodes_with_role
from support import workflow

#: A small subcapsular lesion, which one probe treats: the workflow counts here, not the planner.
NUMBER = 1


@pytest.fixture
def user(panel, small_patient, monkeypatch):
    user = workflow.User(panel)
    import NETAblation

    monkeypatch.setattr(NETAblation, "make_patient", lambda *_, **__: small_patient)
    return user


def states():
    return {step.key: step.state for step in case_steps(CaseScene.open())}


def test_from_an_empty_scene_to_the_margin(user, small_patient, dialogs, tmp_path):
    case = workflow.begin(user)
    lesion_id = workflow.draw_lesion(user, small_patient, NUMBER)
    exact = small_patient.lesions[NUMBER]
    workflow.plan(user)
    plan = case.lesions[lesion_id].plan
    assert plan.tumor_coverage_fraction > 0.999
    user.widget("NETAblationMargins").ui.presetComboBox.currentIndex = 0
    workflow.draw_zone(user, small_patient, NUMBER)
    workflow.fuse_and_measure(user)
    assert dialogs.shown == []
    lesion = case.lesions[lesion_id]
    # Only roughly: the zones of the other lesions are not drawn here, and so take part in the fusion.
    assert lesion.margin_result.mam_mm == pytest.approx(exact.true_mam_mm, abs=3.0)
    assert not is_stale(lesion.margin_node)
    assert not is_stale(lesion.plan_node)
    assert set(states().values()) == {DONE}
    # Three ways to another panel, four points, and seven buttons.
    assert user.clicks == 14

    user.settle("NETAblation")
    home = user.widget("NETAblation")
    home.writeReport(str(tmp_path / "report"))
    user.settle("NETAblation")
    assert "report.html" in home.ui.reportLabel.text
    shown = {name: user.widget(name).ui for name in ("NETAblationMargins", "NETAblationProbes", "NETAblationLesions")}
    before = (
        shown["NETAblationMargins"].marginLabel.text,
        shown["NETAblationMargins"].verdictLabel.text,
        shown["NETAblationLesions"].lesionTable.rowCount,
    )
    case.save(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    slicer.app.processEvents()
    assert CaseScene.open() is None
    storage.load_scene(tmp_path / "case.mrb")
    for name in shown:
        user.settle(name)
    assert before == (
        shown["NETAblationMargins"].marginLabel.text,
        shown["NETAblationMargins"].verdictLabel.text,
        shown["NETAblationLesions"].lesionTable.rowCount,
    )
    assert shown["NETAblationProbes"].probesTable.rowCount == plan.probe_count
    assert set(states().values()) == {DONE}
    assert dialogs.shown == []


def test_what_changes_makes_stale_what_was_computed_from_it(user, small_patient, dialogs):
    case = workflow.begin(user)
    lesion_id = workflow.draw_lesion(user, small_patient, NUMBER)
    workflow.plan(user)
    (line,) = nodes_with_role("diameter_line")
    end = line.GetNthControlPointPosition(0)
    line.SetNthControlPointPosition(0, end[0] + 2.0, end[1] + 2.0, end[2])
    line.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    user.settle("NETAblationLesions")
    assert is_stale(case.lesions[lesion_id].plan_node)
    assert states()["plan"] == "stale"
    user.settle("NETAblation")
    table = user.widget("NETAblation").ui.stepTable
    assert any("stale" in table.item(row, 1).text() for row in range(table.rowCount))
    assert dialogs.shown == []
