"""A mouse in a slice view off screen: events go through Slicer's own displayable managers."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from NETAblationLib.scene.view_windows import SliceView

#: Steps of a drag.
_STEPS = 6


class Mouse:
    """Moves, clicks and drags at points in RAS mm of a slice view."""

    def __init__(self, view: SliceView) -> None:
        """Connect to a view that looks at a volume already."""
        self._view = view
        self._interactor = view.window.GetInteractor()
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(view.logic)
        self._style.SetDisplayableManagers(view._managers)
        self._style.SetInteractor(self._interactor)
        self._interactor.UpdateSize(*view.size)
        view.window.Render()
        self._interactor.InvokeEvent("EnterEvent")

    def click(self, point_ras_mm) -> None:
        """Press and release the left button."""
        self._go(point_ras_mm)
        self._interactor.LeftButtonPressEvent()
        self._interactor.LeftButtonReleaseEvent()

    def drag(self, start_ras_mm, end_ras_mm, during=lambda: None) -> None:
        """Drag with the left button; `during` is called at each step, with the button held."""
        start, end = np.asarray(start_ras_mm, float), np.asarray(end_ras_mm, float)
        self._go(start)
        self._interactor.LeftButtonPressEvent()
        for share in np.linspace(0.0, 1.0, _STEPS)[1:]:
            self._go(start + share * (end - start))
            during()
        self._interactor.LeftButtonReleaseEvent()

    def _go(self, point_ras_mm) -> None:
        x, y = np.array(self._view.place_of(np.asarray(point_ras_mm, float))) * self._view.size
        self._interactor.SetEventInformation(round(x), round(y), 0, 0, chr(0), 0, None)
        self._interactor.MouseMoveEvent()
