"""The whole sample case through the panels, as a user works: clicks on buttons, and points placed in the views.

The same steps make the test of the workflow and the screenshots of the tutorial. Every act of the user goes through
:class:`User`, which counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from NETAblationLib.core.phantom import DigitalPatient
from NETAblationLib.scene.cases import CaseScene


class User:
    """Opens panels, presses their buttons and places points; `clicks` counts both."""

    def __init__(self, open_panel: Callable[[str], Any]) -> None:
        """`open_panel("NETAblationProbes")` gives the widget of a module."""
        self._open_panel = open_panel
        self._widgets: dict[str, Any] = {}
        self.clicks = 0

    def widget(self, name: str) -> Any:
        """The panel of a module, opened when it is first asked for."""
        if name not in self._widgets:
            self._widgets[name] = self._open_panel(name)
        return self._widgets[name]

    def settle(self, name: str) -> None:
        """Wait until the work of a panel has ended and it shows the case as it is."""
        slicer.app.processEvents()
        self.widget(name).longWork.wait()
        slicer.app.processEvents()
        self.widget(name).refreshNow()

    def click(self, name: str, button: str) -> None:
        """Press a button of a panel; one that is off with its reason fails."""
        self.settle(name)
        pressed = getattr(self.widget(name).ui, button)
        assert pressed.enabled, f"{name}.{button}: {pressed.toolTip}"
        pressed.click()
        self.clicks += 1
        slicer.app.processEvents()

    def choose(self, name: str, selector: str, node: Any) -> None:
        """Choose a node in a selector: two clicks."""
        self.settle(name)
        getattr(self.widget(name).ui, selector).setCurrentNode(node)
        self.clicks += 2
        slicer.app.processEvents()

    def place(self, points_ras_mm: npt.ArrayLike) -> None:
        """Click points into the node that place mode is armed for."""
        selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        node = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID())
        for point in np.asarray(points_ras_mm, dtype=np.float64).tolist():
            node.AddControlPointWorld(vtk.vtkVector3d(*point))
            self.clicks += 1
        slicer.app.processEvents()


def begin(user: User) -> CaseScene:
    """Home: the sample case; Lesions: the liver and organs that come with it."""
    user.click("NETAblation", "sampleButton")
    user.settle("NETAblation")
    anatomy = slicer.util.getNode("Anatomy (sample)")
    lesions = user.widget("NETAblationLesions")
    lesions.ui.takeSection.collapsed = False
    user.clicks += 1
    user.choose("NETAblationLesions", "sourceSelector", anatomy)
    user.click("NETAblationLesions", "adoptButton")
    user.settle("NETAblationLesions")
    case = CaseScene.open()
    assert case is not None
    return case


def draw_lesion(user: User, patient: DigitalPatient, number: int) -> str:
    """Lesions: the longest diameter of a lesion; returns the lesion's id."""
    user.click("NETAblationLesions", "drawButton")
    user.place(patient.lesions[number].diameter_line_ras_mm)
    user.settle("NETAblationLesions")
    user.click("NETAblationLesions", "drawButton")
    case = CaseScene.open()
    assert case is not None
    return case.current_lesion


def plan(user: User) -> None:
    """Probes: the automatic plan of the current lesion."""
    user.click("NETAblationProbes", "planButton")
    user.settle("NETAblationProbes")


def measure(user: User, patient: DigitalPatient, number: int) -> None:
    """Margins: the zone's diameter in the image after, the fusion, the margin."""
    zone = patient.lesions[number].zone_line_post_ras_mm
    user.click("NETAblationMargins", "drawZoneButton")
    user.place(zone)
    user.settle("NETAblationMargins")
    user.click("NETAblationMargins", "fuseButton")
    user.settle("NETAblationMargins")
    user.click("NETAblationMargins", "measureButton")
    user.settle("NETAblationMargins")
