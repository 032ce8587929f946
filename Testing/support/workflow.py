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

#: The modules, the one that a user begins with last.
_MODULES = ("NETAblationLesions", "NETAblationProbes", "NETAblationMargins", "NETAblation")


class User:
    """Goes from panel to panel, presses their buttons and places points; `clicks` counts all three."""

    def __init__(self, open_panel: Callable[[str], Any]) -> None:
        """Begin at the home panel; `open_panel("NETAblationProbes")` opens a module and gives its widget."""
        self._widgets = {name: open_panel(name) for name in _MODULES}
        self._shown = _MODULES[-1]
        self.clicks = 0

    def widget(self, name: str) -> Any:
        """The panel of a module."""
        return self._widgets[name]

    def go(self, name: str) -> None:
        """Go to another panel by the buttons on top of this one."""
        if name != self._shown:
            self.widget(self._shown).header.moduleButtons[name].click()
            self._shown = name
            self.clicks += 1

    def settle(self, name: str) -> None:
        """Wait until the work of a panel has ended and it shows the case as it is."""
        slicer.app.processEvents()
        self.widget(name).longWork.wait()
        slicer.app.processEvents()
        self.widget(name).refreshNow()

    def click(self, name: str, button: str) -> None:
        """Press a button of a panel; one that is off with its reason fails."""
        self.go(name)
        self.settle(name)
        pressed = getattr(self.widget(name).ui, button)
        assert pressed.enabled, f"{name}.{button}: {pressed.toolTip}"
        pressed.click()
        self.clicks += 1
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
    user.click("NETAblationLesions", "adoptButton")
    user.settle("NETAblationLesions")
    case = CaseScene.open()
    assert case is not None
    return case


def draw_lesion(user: User, patient: DigitalPatient, number: int) -> str:
    """Lesions: the longest diameter of a lesion, while drawing is armed; returns the lesion's id."""
    if not user.widget("NETAblationLesions").ui.drawButton.checked:
        user.click("NETAblationLesions", "drawButton")
    user.place(patient.lesions[number].diameter_line_ras_mm)
    user.settle("NETAblationLesions")
    case = CaseScene.open()
    assert case is not None
    return case.current_lesion


def plan(user: User) -> None:
    """Probes: the automatic plan of the current lesion."""
    user.click("NETAblationProbes", "planButton")
    user.settle("NETAblationProbes")


def choose_lesion(user: User, name: str, lesion_id: str) -> None:
    """Go to another lesion by the button for the next one in the head of a panel."""
    user.go(name)
    user.settle(name)
    header = user.widget(name).header
    while header.lesionBox.itemData(header.lesionBox.currentIndex) != lesion_id:
        header.nextButton.click()
        user.clicks += 1
    user.settle(name)


def draw_zone(user: User, patient: DigitalPatient, number: int) -> None:
    """Margins: the zone's diameter in the image after, of the current lesion."""
    user.click("NETAblationMargins", "drawZoneButton")
    user.place(patient.lesions[number].zone_line_post_ras_mm)
    user.settle("NETAblationMargins")


def fuse_and_measure(user: User) -> None:
    """Margins: the fusion and the margin of the current lesion."""
    fuse(user)
    measure(user)


def fuse(user: User) -> None:
    """Margins: the fusion."""
    user.click("NETAblationMargins", "fuseButton")
    user.settle("NETAblationMargins")


def measure(user: User) -> None:
    """Margins: the margin of the current lesion."""
    user.click("NETAblationMargins", "measureButton")
    user.settle("NETAblationMargins")
