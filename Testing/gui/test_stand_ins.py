"""The stand-ins refuse what PythonQt refuses, and the comparison with Slicer's source finds what is not there."""

from __future__ import annotations

import pytest
import slicer
from PySide6 import QtCore

from support.qt_stand_ins.compare_with_slicer import Headers, differences

_HEADER = """
class Q_EXPORT qMRMLThing : public QWidget
{
  Q_OBJECT
  // Q_PROPERTY(bool commented READ commented)
  Q_PROPERTY(QString baseName READ baseName WRITE setBaseName)
public:
  Q_INVOKABLE vtkMRMLNode* currentNode() const;
  void notForPython();
public slots:
  virtual void setCurrentNode(vtkMRMLNode* node);
protected slots:
  void onInside();
signals:
  void currentNodeChanged(vtkMRMLNode* node);
  void textChanged(const QString&);
};
"""


def test_the_comparison_knows_what_python_sees(tmp_path):
    (tmp_path / "Libs").mkdir()
    (tmp_path / "Libs/qMRMLThing.h").write_text(_HEADER)
    declared = Headers(tmp_path).declared("qMRMLThing")
    assert declared.properties == {"baseName"}
    assert declared.methods == {"currentNode", "setCurrentNode"}
    assert declared.signals == {"currentNodeChanged(vtkMRMLNode*)", "textChanged(QString)"}

    class Thing(QtCore.QObject):
        _signals = {"currentNodeChanged(bool)": "currentNodeChanged"}  # noqa: RUF012 - as the stand-ins declare them
        currentNodeChanged = QtCore.Signal(bool)  # noqa: N815
        commented = QtCore.Property(bool, lambda self: True)

        def notForPython(self):  # noqa: N802
            pass

        def currentNode(self):  # noqa: N802
            pass

    assert [line.partition(": ")[2] for line in differences(Thing, declared)] == [
        "no such Q_PROPERTY",
        "neither slot nor Q_INVOKABLE",
        "no such signal currentNodeChanged(bool)",
    ]


def test_unknown_attributes_and_signals_are_refused():
    import qt

    button = qt.QPushButton("go")
    with pytest.raises(AttributeError):
        button.txt = "typo"
    with pytest.raises(AttributeError):
        button.isEnabledd  # noqa: B018
    with pytest.raises(AttributeError):
        button.setText = "a method"
    with pytest.raises(AttributeError):
        button.connect("cliked()", print)
    with pytest.raises(AttributeError):
        slicer.qMRMLNodeComboBox().currentNodeName  # noqa: B018


def test_properties_are_attributes_and_signals_go_by_signature():
    import qt

    got = []
    box = qt.QComboBox()
    box.connect("currentIndexChanged(int)", got.append)
    box.addItem("one")
    box.addItem("two")
    box.currentIndex = 1
    assert (box.currentText, box.count, got) == ("two", 2, [0, 1])
    assert box.disconnect("currentIndexChanged(int)", got.append)
    box.currentIndex = 0
    assert got == [0, 1]


def test_an_exception_in_a_slot_reaches_the_hook(no_error_in_slots):
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in no_error_in_slots.pop()


def test_a_slider_tells_while_and_after_it_is_moved():
    import ctk

    slider, values, moving = ctk.ctkSliderWidget(), [], []
    slider.connect("valueChanged(double)", values.append)
    slider.connect("valueIsChanging(double)", moving.append)
    slider.maximum = 10
    slider.value = 4
    assert (values, moving) == ([4.0], [])


def test_a_node_box_follows_the_scene(scene):
    box, chosen = slicer.qMRMLNodeComboBox(), []
    box.nodeTypes = ["vtkMRMLModelNode"]
    box.noneEnabled = True
    box.connect("currentNodeChanged(vtkMRMLNode*)", chosen.append)
    assert not box.enabled
    box.setMRMLScene(scene)
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", "one")
    assert box.currentNode() is None
    box.setCurrentNode(node)
    scene.RemoveNode(node)
    assert chosen == [node, None]
    box.setMRMLScene(None)


def test_the_place_widget_arms_the_real_nodes(scene):
    widget = slicer.qSlicerMarkupsPlaceWidget()
    widget.setMRMLScene(scene)
    line = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode")
    widget.setCurrentNode(line)
    widget.placeMultipleMarkups = slicer.qSlicerMarkupsPlaceWidget.ForcePlaceSingleMarkup
    widget.setPlaceModeEnabled(True)
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert scene.GetNodeByID("vtkMRMLSelectionNodeSingleton").GetActivePlaceNodeID() == line.GetID()
    widget.placeModeEnabled = False
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    widget.setCurrentNode(None)
    widget.setMRMLScene(None)


def test_a_segment_selector_knows_the_segments(scene):
    selector, chosen = slicer.qMRMLSegmentSelectorWidget(), []
    selector.setMRMLScene(scene)
    selector.connect("currentSegmentChanged(QString)", chosen.append)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    first = node.GetSegmentation().AddEmptySegment("a", "First")
    node.GetSegmentation().AddEmptySegment("b", "Second")
    selector.setCurrentNode(node)
    selector.setCurrentSegmentID("b")
    assert (selector.currentSegmentID(), selector.segmentIDs()) == ("b", [first, "b"])
    assert chosen == ["a", "b"]
    selector.setMRMLScene(None)
