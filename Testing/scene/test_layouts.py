"""The arrangements of views, given to Slicer's own layout node and layout logic."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import slicer

from NETAblationLib.scene import layouts


def remove_views():
    for name in ("Layout", "AbstractView"):
        for node in slicer.util.getNodesByClass(f"vtkMRML{name}Node"):
            slicer.mrmlScene.RemoveNode(node)


@pytest.fixture
def logic(scene):
    """Slicer's layout logic with a layout node; view nodes are singletons, which closing the scene leaves there."""
    remove_views()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLayoutNode")
    made = slicer.vtkMRMLLayoutLogic()
    made.SetMRMLScene(slicer.mrmlScene)
    yield made
    made.SetMRMLScene(None)
    remove_views()


def test_without_a_layout_node_nothing_happens(scene):
    assert not layouts.set_layout(layouts.PLANNING)


@pytest.mark.parametrize("name", [layouts.LESIONS, layouts.PLANNING, layouts.FUSION, layouts.MARGIN])
def test_slicer_takes_the_description(logic, name):
    layout_node = logic.GetLayoutNode()
    assert layouts.current_layout() == ""
    assert layouts.set_layout(name)
    assert layouts.set_layout(name)
    assert layouts.current_layout() == name
    assert layout_node.GetCurrentLayoutDescription() == layouts.layout_description(name)
    shown = logic.GetViewNodes()
    tags = {shown.GetItemAsObject(n).GetSingletonTag() for n in range(shown.GetNumberOfItems())}
    described = {
        view.get("singletontag") for view in ElementTree.fromstring(layouts.layout_description(name)).iter("view")
    }
    assert tags == described
    assert {"Red", "Yellow", "Green"} <= tags


def test_no_box_and_no_letters_lie_in_the_way_in_space(logic):
    assert layouts.set_layout(layouts.PLANNING)
    (space,) = slicer.util.getNodesByClass("vtkMRMLViewNode")
    assert not space.GetBoxVisible()
    assert not space.GetAxisLabelsVisible()
    assert space.GetOrientationMarkerType() == space.OrientationMarkerTypeCube


def test_an_unknown_layout_is_refused(scene):
    with pytest.raises(KeyError):
        layouts.set_layout("theater")
