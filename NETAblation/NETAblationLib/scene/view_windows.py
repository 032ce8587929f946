"""Slice and 3D views off screen: a window, Slicer's logic and its displayable managers in each.

A view makes a view node of its own, or draws one that is there, such as that of a layout, as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from .layouts import bare
from .offscreen import new_window
from .overlays import Color

_SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
)
_SPACE_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
)

_VIEW_NAME = "NETAblationOffscreen"

_VIEW_ANGLE_DEGREES = 30.0


@dataclass(frozen=True)
class Background:
    """Colors of a 3D picture: bottom, top and text."""

    bottom: Color
    top: Color
    text: Color


BACKGROUNDS = {
    "white": Background((1.0, 1.0, 1.0), (0.93, 0.95, 0.98), (0.08, 0.08, 0.10)),
    "dark": Background((0.05, 0.06, 0.08), (0.16, 0.18, 0.22), (0.95, 0.95, 0.97)),
}


class SliceView:
    """A slice view in a window of its own."""

    def __init__(self, size: tuple[int, int], node: Any = None) -> None:
        """Open a view of `size` (width, height) pixels, on a slice node of its own or on `node`."""
        self.size = size
        self.window = new_window(size)
        self.renderer = vtk.vtkRenderer()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window.AddRenderer(self.renderer)
        self._interactor = _interactor(self.window)
        self._managers = _displayable_managers(
            slicer.vtkMRMLSliceViewDisplayableManagerFactory, _SLICE_MANAGERS, self.renderer
        )
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        slicer.app.applicationLogic().GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self._is_own_node = node is None
        self.node = self.logic.AddSliceNode(_VIEW_NAME) if node is None else node
        if self._is_own_node:
            self.node.SetMappedInLayout(1)
        self.logic.SetSliceNode(self.node)
        self.logic.ResizeSliceNode(*size)
        self._show_image()
        # Only now: managers add their actors above what the renderer has.
        self._managers.SetMRMLDisplayableNode(self.node)

    def look_at(
        self, volume: Any, center: npt.NDArray[np.float64], axes: npt.NDArray[np.float64], field_of_view_mm: float
    ) -> None:
        """Show `volume` at `center`, a picture `field_of_view_mm` wide; columns of `axes`: right, up, normal."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        width, height = self.size
        to_ras = self.node.GetSliceToRAS()
        for row in range(3):
            for column in range(3):
                to_ras.SetElement(row, column, axes[row, column])
            to_ras.SetElement(row, 3, center[row])
        self.node.SetFieldOfView(field_of_view_mm, field_of_view_mm * height / width, 1.0)
        self.node.SetXYZOrigin(0.0, 0.0, 0.0)
        self.node.UpdateMatrices()
        self.follow_image()

    def follow_image(self) -> None:
        """Draw the images that the view has now; none where it has none."""
        connection = self.logic.GetImageDataConnection()
        self._image.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)

    def resize(self, size: tuple[int, int]) -> None:
        """Give the view another size, (width, height) pixels; the height of what it shows stays, as in Slicer."""
        self.size = size
        self.window.SetSize(*size)
        self.logic.ResizeSliceNode(*size)

    def directions(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Right and up of the picture, in RAS."""
        matrix = self.node.GetSliceToRAS()
        right, up = (np.array([matrix.GetElement(row, column) for row in range(3)]) for column in range(2))
        return right, up

    def place_of(self, point_ras_mm: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Where a point lies in the picture, as fractions of its size."""
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_xy)
        x, y, _, _ = to_xy.MultiplyPoint((*point_ras_mm.tolist(), 1.0))
        return x / self.size[0], y / self.size[1]

    def close(self) -> None:
        """Take the view out of the scene."""
        self._managers.SetMRMLDisplayableNode(None)
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self.logic)
        nodes = [self.logic.GetSliceCompositeNode(), self.node] if self._is_own_node else []
        self.logic.SetMRMLScene(None)
        _remove(nodes)
        self.window.Finalize()

    def _show_image(self) -> None:
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        self._image.VisibilityOff()
        self.renderer.AddViewProp(self._image)


class SpaceView:
    """A 3D view in a window of its own."""

    def __init__(self, size: tuple[int, int], background: Background | None = None, node: Any = None) -> None:
        """Open a view of `size` (width, height) pixels, on a view node of its own before `background`, or on `node`."""
        self.size = size
        self.window = new_window(size)
        self.window.SetAlphaBitPlanes(1)
        self.window.SetMultiSamples(0)
        self.renderer = vtk.vtkRenderer()
        self.renderer.SetUseDepthPeeling(True)
        self.renderer.SetMaximumNumberOfPeels(12)
        self.renderer.SetOcclusionRatio(0.0)
        self.renderer.UseFXAAOn()
        self.window.AddRenderer(self.renderer)
        self._interactor = _interactor(self.window)
        self._managers = _displayable_managers(
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory, _SPACE_MANAGERS, self.renderer
        )
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        slicer.app.applicationLogic().GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self._is_own_node = node is None
        self.node = self.logic.AddViewNode(_VIEW_NAME) if node is None else node
        if self._is_own_node:
            self.node.SetMappedInLayout(1)
            bare(self.node)
        if background is not None:
            self.node.SetBackgroundColor(background.bottom)
            self.node.SetBackgroundColor2(background.top)
        self._managers.SetMRMLDisplayableNode(self.node)

    def resize(self, size: tuple[int, int]) -> None:
        """Give the view another size, (width, height) pixels."""
        self.size = size
        self.window.SetSize(*size)

    def look_at(self, focus: npt.NDArray[np.float64], toward_viewer: npt.NDArray[np.float64], height_mm: float) -> None:
        """Look at `focus` from the direction `toward_viewer`; the picture is `height_mm` high there."""
        distance = height_mm / 2.0 / np.tan(np.deg2rad(_VIEW_ANGLE_DEGREES / 2.0))
        camera = self._camera_node()
        camera.SetViewAngle(_VIEW_ANGLE_DEGREES)
        camera.SetFocalPoint(focus.tolist())
        camera.SetPosition((focus + distance * toward_viewer).tolist())
        camera.SetViewUp((0.0, 0.0, 1.0))
        self.renderer.ResetCameraClippingRange()

    def place_of(self, point_ras_mm: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Where a point lies in the picture, as fractions of its size."""
        coordinate = vtk.vtkCoordinate()
        coordinate.SetCoordinateSystemToWorld()
        coordinate.SetValue(point_ras_mm.tolist())
        x, y = coordinate.GetComputedDoubleViewportValue(self.renderer)
        return x / self.size[0], y / self.size[1]

    def close(self) -> None:
        """Take the view out of the scene."""
        nodes = [self.node, self._camera_node()] if self._is_own_node else []
        self._managers.SetMRMLDisplayableNode(None)
        slicer.app.applicationLogic().GetViewLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        _remove(nodes)
        self.window.Finalize()

    def _camera_node(self) -> Any:
        manager = self._managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        return manager.GetCameraNode()


@contextmanager
def slice_view(size: tuple[int, int]) -> Iterator[SliceView]:
    """A slice view that is closed at the end of the block."""
    view = SliceView(size)
    try:
        yield view
    finally:
        view.close()


@contextmanager
def space_view(size: tuple[int, int], background: Background) -> Iterator[SpaceView]:
    """A 3D view that is closed at the end of the block."""
    view = SpaceView(size, background)
    try:
        yield view
    finally:
        view.close()


def _interactor(window: vtk.vtkRenderWindow) -> vtk.vtkRenderWindowInteractor:
    """Displayable managers want one; the generic one asks for no display."""
    interactor = vtk.vtkGenericRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    interactor.Initialize()
    return interactor


def _displayable_managers(factory_class: Any, names: Sequence[str], renderer: vtk.vtkRenderer) -> Any:
    factory = factory_class.GetInstance()
    for name in names:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    group.Initialize(factory, renderer)
    return group


def _remove(nodes: Iterable[Any]) -> None:
    for node in nodes:
        if node is not None and node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(node)
