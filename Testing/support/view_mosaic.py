"""What the views of Slicer's window show, drawn off screen and put together as the layout arranges them.

The layout node's own description says which views there are; Slicer's layout logic makes their nodes, and Slicer's
displayable managers draw them (`scene.view_windows`). Only the frame around them, the colored bars above the views and
the plot, which Slicer draws with Qt, are made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from NETAblationLib.scene.offscreen import image_of, new_window
from NETAblationLib.scene.overlays import Overlay
from NETAblationLib.scene.view_windows import SliceView, SpaceView

#: Pixels of a picture (width, height), of the gap between views, and of the bar above a view.
SIZE = (960, 640)
GAP, BAR = 3, 20
_GAP_GRAY = 60
#: Color of the bar above views that are no slices, as Slicer has it.
_BAR_COLOR = (0.45, 0.47, 0.75)

Pixels = npt.NDArray[np.uint8]


class Place(NamedTuple):
    """A view of a layout: its class, its tag, and where it lies with its bar, in pixels from the upper left corner."""

    class_name: str
    tag: str
    left: int
    top: int
    width: int
    height: int


def places(description: str, size: tuple[int, int] = SIZE) -> list[Place]:
    """Where the views of a layout description (XML) lie in a picture of `size` (width, height) pixels."""
    return list(_places(ElementTree.fromstring(description), 0, 0, *size))


def _places(part: ElementTree.Element, left: int, top: int, width: int, height: int) -> Iterator[Place]:
    if part.tag == "view":
        yield Place(part.get("class", ""), part.get("singletontag", ""), left, top, width, height)
        return
    items = part.findall("item")
    is_row = part.get("type") == "horizontal"
    shares = np.array([float(item.get("splitSize", 1)) for item in items])
    free = (width if is_row else height) - GAP * (len(items) - 1)
    ends = np.round(np.cumsum([0.0, *shares]) / shares.sum() * free).astype(int).tolist()
    for number, item in enumerate(items):
        start, length = ends[number] + number * GAP, ends[number + 1] - ends[number]
        if is_row:
            yield from _places(item[0], left + start, top, length, height)
        else:
            yield from _places(item[0], left, top + start, width, length)


class Views:
    """The views of Slicer's window, open from here on, so that what the modules do to them is seen."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        """Make the layout node with its views, as the application does when it starts."""
        self.size = size
        self._before = _view_nodes()
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._layout = self._logic.GetLayoutNode()
        self._layout.SetViewArrangement(self._layout.SlicerLayoutFourUpView)
        self._views: dict[str, SliceView | SpaceView] = {}
        self.arrange()
        self._observed = self._layout.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.arrange())

    def arrange(self) -> list[Place]:
        """Give each view of the current layout its size, and open those that are new; returns where they lie."""
        found = places(self._layout.GetCurrentLayoutDescription(), self.size)
        for place in found:
            size = (place.width, place.height - BAR)
            view = self._views.get(place.tag)
            if view is not None:
                if view.size != size:
                    view.resize(size)
            elif place.class_name == "vtkMRMLSliceNode":
                self._views[place.tag] = SliceView(size, _node(place))
            elif place.class_name == "vtkMRMLViewNode":
                self._views[place.tag] = SpaceView(size, node=_node(place))
        return found

    def pixels(self) -> Pixels:
        """The current layout as rows from the top, (H, W, 3)."""
        whole = np.full((self.size[1], self.size[0], 3), _GAP_GRAY, np.uint8)
        for place in self.arrange():
            rows, columns = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
            whole[rows, columns] = np.concatenate([_bar(_node(place), place.width), self._drawn(place)])
        return whole

    def write(self, path: Path) -> None:
        """Draw the current layout to a PNG file."""
        write_png(self.pixels(), path)

    def close(self) -> None:
        """Close the windows and take their nodes out of the scene, which closing it would leave there."""
        self._layout.RemoveObserver(self._observed)
        for view in self._views.values():
            view.close()
        self._views.clear()
        self._logic.SetMRMLScene(None)
        for node in _view_nodes():
            if node not in self._before:
                slicer.mrmlScene.RemoveNode(node)

    def _drawn(self, place: Place) -> Pixels:
        view = self._views.get(place.tag)
        if view is None:
            return _plot(_node(place), (place.width, place.height - BAR))
        if isinstance(view, SliceView):
            view.follow_image()
        else:
            view.renderer.ResetCameraClippingRange()
        return _pixels(view.window)


def _view_nodes() -> list[Any]:
    """The nodes of views, and of what belongs to them."""
    classes = ("Layout", "AbstractView", "SliceComposite", "Camera")
    return [node for name in classes for node in slicer.util.getNodesByClass(f"vtkMRML{name}Node")]


def _node(place: Place) -> Any:
    return slicer.mrmlScene.GetSingletonNode(place.tag, place.class_name)


def _bar(node: Any, width: int) -> Pixels:
    """The bar that Slicer has above a view, in its color, with its letter and what a slice is."""
    window = new_window((width, BAR))
    renderer = vtk.vtkRenderer()
    is_slice = node.IsA("vtkMRMLSliceNode")
    renderer.SetBackground(node.GetLayoutColor() if is_slice else _BAR_COLOR)
    window.AddRenderer(renderer)
    words = node.GetLayoutLabel()
    if is_slice:
        words += f"    {node.GetAttribute('NETAblation.Needle') or node.GetOrientation()}"
    Overlay(window, (0.0, 0.0, 0.0), shadow=False).text(words, 6 / width, 0.5, vertical="Centered", bold=True)
    pixels = _pixels(window)
    window.Finalize()
    return pixels


def _plot(node: Any, size: tuple[int, int]) -> Pixels:
    """The chart that a plot view node shows, by VTK's own charts, which Slicer uses too."""
    view, window = vtk.vtkContextView(), new_window(size)
    view.SetRenderWindow(window)
    view.GetRenderer().SetBackground(1.0, 1.0, 1.0)
    shown = slicer.mrmlScene.GetNodeByID(node.GetPlotChartNodeID() or "")
    if shown is not None:
        chart = vtk.vtkChartXY()
        chart.SetTitle(shown.GetTitle())
        chart.GetAxis(vtk.vtkAxis.BOTTOM).SetTitle(shown.GetXAxisTitle())
        chart.GetAxis(vtk.vtkAxis.LEFT).SetTitle(shown.GetYAxisTitle())
        for number in range(shown.GetNumberOfPlotSeriesNodes()):
            series = shown.GetNthPlotSeriesNode(number)
            is_bar = series.GetPlotType() == series.PlotTypeScatterBar
            plot = chart.AddPlot(vtk.vtkChart.BAR if is_bar else vtk.vtkChart.LINE)
            plot.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName())
            plot.SetColorF(*series.GetColor())
            plot.SetWidth(series.GetLineWidth())
        view.GetScene().AddItem(chart)
    pixels = _pixels(window)
    window.Finalize()
    return pixels


def _pixels(window: vtk.vtkRenderWindow) -> Pixels:
    """What a window shows, rows from the top, (H, W, 3)."""
    image = image_of(window)
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()


def write_png(pixels: Pixels, path: Path) -> None:
    """Write rows from the top, (H, W, 3), as small as PNG allows."""
    image = vtk.vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(pixels[::-1]).reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetCompressionLevel(9)
    writer.SetInputData(image)
    writer.SetFileName(str(path))
    writer.Write()
