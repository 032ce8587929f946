"""What the panels share, on stand-ins of Qt: long work, tables, the case on top, and the life of a panel."""

from __future__ import annotations

import sys
import threading
import types

import pytest
import slicer

from NETAblationLib.core.errors import Cancelled, InputError
from NETAblationLib.scene import layouts, slice_views
from NETAblationLib.scene.cases import CaseScene


@pytest.fixture
def work():
    from NETAblationLib.widgets.long_work import LongWork

    made = LongWork()
    yield made
    made.abandon()


def test_work_gives_its_result_in_the_main_thread(work):
    got = []
    work.start("Counting", lambda progress: progress(0.5, "half") or 7, lambda result: got.append(result))
    assert work.isRunning
    assert type(work).busyWith() == "Counting"
    work.wait()
    assert got == [7]
    assert not work.isRunning
    assert work.widget.isHidden()


def test_stopped_work_changes_nothing(work):
    begun, got, ended = threading.Event(), [], []

    def endless(progress):
        while True:
            begun.set()
            progress(0.1, "on and on")

    failed = []
    work.start("Endless", endless, got.append, lambda: ended.append(True), failed.append)
    assert begun.wait(10)
    with pytest.raises(InputError, match="under way"):
        work.start("Another", endless, got.append)
    work.cancelButton.click()
    work.wait()
    assert (got, ended) == ([], [True])
    assert isinstance(failed[0], Cancelled)


def test_work_in_steps_leaves_time_between_and_can_be_stopped(work):
    def steps(log):
        for number in range(3):
            log.append(threading.current_thread() is threading.main_thread())
            yield number / 3, "step"
        return "all"

    log, got, failed = [], [], []
    work.startSteps("Stepping", steps(log), got.append)
    assert (log, work.isRunning) == ([], True)
    with pytest.raises(InputError, match="under way"):
        work.startSteps("Another", steps([]), got.append)
    work.wait()
    assert (log, got) == ([True] * 3, ["all"])
    log.clear()
    work.startSteps("Stepping", steps(log), got.append, onFail=failed.append)
    work._look()
    work.cancelButton.click()
    work.wait()
    assert (len(got), type(failed[0])) == (1, Cancelled)
    assert len(log) == 2
    work.startSteps("Stepping", steps(log), got.append)
    work.abandon()
    assert not work.isRunning
    assert type(work).busyWith() == ""


def test_failing_work_is_told_of(work, dialogs):
    def fail(progress):
        raise InputError("the image is empty: choose another")

    work.start("Failing", fail, print)
    work.wait()
    assert dialogs.shown == ["the image is empty: choose another"]


def test_a_table_keeps_its_selection():
    import qt

    from NETAblationLib.widgets.tables import Cell, fillTable, selectedKey, selectKey

    table = qt.QTableWidget(0, 1)
    fillTable(table, ["a", "b"], [[Cell("A")], [Cell("B", color=(0, 0, 0))]])
    selectKey(table, "b")
    fillTable(table, ["c", "b"], [[Cell("C")], [Cell("B")]])
    assert selectedKey(table) == "b"
    fillTable(table, ["c"], [[Cell("C")]])
    assert selectedKey(table) == ""


def test_the_lesion_is_the_same_in_all_panels(panel, sample_case, small_patient):
    names = [sample_case.add_lesion(lesion.name, lesion.mask) for lesion in small_patient.lesions[:2]]
    first, second = panel("NETAblation"), panel("NETAblationLesions")
    first.header.lesionBox.currentIndex = 1
    slicer.app.processEvents()
    second.refreshNow()
    assert second.lesionId == names[1]
    assert second.header.lesionBox.currentIndex == 1
    second.header.nextButton.click()
    assert CaseScene.open().current_lesion == names[0]


@pytest.fixture
def layout(scene):
    """The layout node, which only the application has from its start; a singleton, which clearing would keep."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is not None:
        yield node
        return
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    yield node
    slicer.mrmlScene.RemoveNode(node)


def test_the_way_to_a_panel_arranges_its_views(panel, sample_case, layout):
    buttons = panel("NETAblation").header.moduleButtons
    for name, arranged in (
        ("NETAblationLesions", layouts.LESIONS),
        ("NETAblationProbes", layouts.PLANNING),
        ("NETAblationMargins", layouts.FUSION),
    ):
        buttons[name].click()
        assert layouts.current_layout() == arranged


def test_slices_that_got_another_size_are_fitted_again_when_idle(panel, sample_case):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.SetDimensions(400, 200, 1)
    slice_views.show((0, 0, 0), slice_views.corners_around([[0, 0, 0]]))
    height_mm = node.GetFieldOfView()[1]
    node.SetDimensions(200, 400, 1)
    panel("NETAblation").refreshSoon()
    slicer.app.processEvents()
    assert node.GetFieldOfView()[1] == pytest.approx(2.0 * height_mm)


def test_closing_the_scene_stops_the_work(panel):
    widget = panel("NETAblation")
    begun = threading.Event()

    def endless(progress):
        while True:
            begun.set()
            progress(0.1, "on and on")

    widget.startWork("Endless", endless, print)
    assert begun.wait(10)
    widget.refreshNow()
    assert "Endless is under way" in widget.ui.sampleButton.toolTip
    slicer.mrmlScene.Clear(False)
    assert not widget.longWork.isRunning
    slicer.app.processEvents()
    assert widget.ui.sampleButton.enabled


def test_a_panel_that_is_gone_hears_nothing(panel):
    from support.qt_stand_ins.application import unload_widget

    widget = panel("NETAblation")
    calls = []
    widget.refresh = lambda: calls.append(True)
    unload_widget(slicer.modules.netablation)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    slicer.app.processEvents()
    assert calls == []
    assert widget.parameterNode is None


def test_the_sample_is_offered_in_sample_data(panel, small_patient, monkeypatch):
    panel("NETAblation")
    import NETAblation

    offered = []
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **source: offered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    monkeypatch.setattr(NETAblation, "make_patient", lambda *_: small_patient)
    slicer.app.startupCompleted.emit()
    assert [source["sampleName"] for source in offered] == ["NETAblationDigitalPatient"]
    nodes = offered[0]["customDownloader"](None)
    assert nodes.portal.GetName() == "Portal venous (sample)"
    assert nodes.anatomy.GetSegmentation().GetNumberOfSegments() >= 8
    assert CaseScene.open() is None
