"""Arrangements of views made for the work: lesions, planning, fusion and margin.

They are given to Slicer's layout node as descriptions of their own. Without the application there is no layout node,
and nothing happens.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import slicer

LESIONS, PLANNING, FUSION, MARGIN = "lesions", "planning", "fusion", "margin"

#: Numbers of our layouts; those of users begin at 101 (SlicerLayoutUserView + 1), other extensions take low ones.
_NUMBERS = {PLANNING: 7301, FUSION: 7302, MARGIN: 7303, LESIONS: 7304}

#: Singleton tag, orientation, label and color of slice views: Slicer's own three.
_SLICES = {
    "Red": ("Axial", "R", "#F34A33"),
    "Yellow": ("Sagittal", "Y", "#EDD54C"),
    "Green": ("Coronal", "G", "#6EB04B"),
}


def set_layout(name: str) -> bool:
    """Arrange the views for "lesions", "planning", "fusion" or "margin"; whether there is a layout to arrange.

    Raises KeyError for another name.
    """
    number = _NUMBERS[name]
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is None:
        return False
    if not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, layout_description(name))
    node.SetViewArrangement(number)
    for space in slicer.util.getNodesByClass("vtkMRMLViewNode"):
        bare(space)
    return True


def current_layout() -> str:
    """Which of our layouts is shown; empty where another one is, or there is none."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    number = None if node is None else node.GetViewArrangement()
    return next((name for name, own in _NUMBERS.items() if own == number), "")


def bare(space: Any) -> None:
    """Free a 3D view (its node) of box and letters, which hide what is in it; a small cube tells the directions."""
    space.SetBoxVisible(False)
    space.SetAxisLabelsVisible(False)
    space.SetOrientationMarkerType(space.OrientationMarkerTypeCube)
    space.SetOrientationMarkerSize(space.OrientationMarkerSizeSmall)


def layout_description(name: str) -> str:
    """The description (XML) of a layout; raises KeyError for an unknown name."""
    return ElementTree.tostring(_LAYOUTS[name](), encoding="unicode")


def _lesions() -> ElementTree.Element:
    """The axial slice large, since diameters are drawn in it."""
    return _row((600, _slice("Red")), (400, _column(_space(), _slice("Yellow"), _slice("Green"))))


def _planning() -> ElementTree.Element:
    """The space beside three slices: probes are dragged in all of them."""
    return _row((600, _space()), (400, _column(*(_slice(tag) for tag in _SLICES))))


def _fusion() -> ElementTree.Element:
    """Three slices side by side above, the axial one large: both images lie in each."""
    return _row((600, _slice("Red")), (400, _column(_slice("Yellow"), _slice("Green"))))


def _margin() -> ElementTree.Element:
    """The colored tumor and its histogram beside three slices."""
    left = _column(_space(), _view("vtkMRMLPlotViewNode", "PlotView1", viewlabel="P"))
    return _row((550, left), (450, _column(*(_slice(tag) for tag in _SLICES))))


_LAYOUTS = {LESIONS: _lesions, PLANNING: _planning, FUSION: _fusion, MARGIN: _margin}


def _space() -> ElementTree.Element:
    return _view("vtkMRMLViewNode", "1", viewlabel="1")


def _slice(tag: str) -> ElementTree.Element:
    orientation, label, color = _SLICES[tag]
    return _view("vtkMRMLSliceNode", tag, orientation=orientation, viewlabel=label, viewcolor=color)


def _view(class_name: str, tag: str, **properties: str) -> ElementTree.Element:
    view = ElementTree.Element("view", {"class": class_name, "singletontag": tag})
    for name, value in properties.items():
        ElementTree.SubElement(view, "property", {"name": name, "action": "default"}).text = value
    return view


def _column(*parts: ElementTree.Element) -> ElementTree.Element:
    layout = ElementTree.Element("layout", {"type": "vertical"})
    for part in parts:
        ElementTree.SubElement(layout, "item").append(part)
    return layout


def _row(*parts: tuple[int, Any]) -> ElementTree.Element:
    layout = ElementTree.Element("layout", {"type": "horizontal", "split": "true"})
    for size, part in parts:
        ElementTree.SubElement(layout, "item", {"splitSize": str(size)}).append(part)
    return layout
