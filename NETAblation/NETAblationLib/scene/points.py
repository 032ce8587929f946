"""Single places in the scene, such as where the minimal ablative margin lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import vtk

from ..core import frames
from ..core.errors import GeometryError
from .nodes import create_node
from .provenance import Provenance

#: White reads on CT and on every margin color. Size in mm, user-set.
POINT_COLOR = (1.0, 1.0, 1.0)
POINT_SIZE_MM = 4.0


def add_point(point_ras_mm: npt.ArrayLike, name: str, provenance: Provenance, *, label: str = "") -> Any:
    """Add a place as a locked vtkMRMLMarkupsFiducialNode with one control point.

    `label` is written beside it (the name where empty). Raises GeometryError for a point that is
    not finite.
    """
    (point,) = frames.as_points(np.asarray([point_ras_mm], float), name)
    node = create_node("vtkMRMLMarkupsFiducialNode", name, provenance)
    node.AddControlPoint(vtk.vtkVector3d(*point.tolist()), label or name)
    node.SetLocked(True)
    display = node.GetDisplayNode()
    display.SetSelectedColor(POINT_COLOR)
    display.SetColor(POINT_COLOR)
    display.SetGlyphTypeFromString("StarBurst2D")
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(POINT_SIZE_MM)
    display.SetTextScale(0.0)
    display.SetSliceProjection(False)
    return node


def point_position(node: Any) -> npt.NDArray[np.float64]:
    """The place, shape (3,) in RAS mm, in the node's own frame; raises GeometryError where none is set."""
    if node.GetNumberOfDefinedControlPoints() < 1:
        raise GeometryError(f"{node.GetName()}: place the point first")
    return np.array(node.GetNthControlPointPosition(0))


def point_label(node: Any) -> str:
    """What is written beside the place."""
    return str(node.GetNthControlPointLabel(0))
