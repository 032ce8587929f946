"""Looking along a probe: one slice view at right angles to it, two that contain it.

The needle's-eye view looks from the skin toward the tip; in the other two the skin end is at the top of the picture
and the tip below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import frames
from ..core.errors import GeometryError
from .volumes import vtk_matrix

FloatArray = npt.NDArray[np.float64]

#: What a slice view is called while it shows one of the planes of a probe.
_VIEW_NAMES = ("Along the probe", "Beside the probe", "Behind the probe")


def needle_frames(entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Right, up and viewing direction as columns (3, 3) of the three views: along the probe, and two containing it.

    Up in the needle's-eye view is as near to superior as can be, or to anterior for a probe along the body. Raises
    GeometryError where both points are the same.
    """
    entry, tip = frames.as_points(np.array([entry_ras_mm, tip_ras_mm], dtype=np.float64), "probe")
    length = float(np.linalg.norm(tip - entry))
    if length < 1e-6:
        raise GeometryError("probe: entry and tip are the same point; there is no direction to look along")
    along = (tip - entry) / length
    near = np.array([0.0, 0.0, 1.0]) if abs(along[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    up = near - (near @ along) * along
    up /= np.linalg.norm(up)
    right = np.cross(along, up)  # right x up points to the viewer, who looks along the probe
    return (
        np.stack([right, up, along], axis=1),
        _containing(-along, up),
        _containing(-along, right),
    )


def _containing(up: FloatArray, away: FloatArray) -> FloatArray:
    """A view with this direction up, looking along another at right angles to it."""
    return np.stack([np.cross(away, up), up, away], axis=1)


def look_along(
    slice_nodes: Sequence[Any], entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike, before_tip_mm: float = 0.0
) -> None:
    """Turn up to three slice nodes into the views of a probe, all through the point `before_tip_mm` from its tip."""
    entry, tip = np.asarray(entry_ras_mm, np.float64), np.asarray(tip_ras_mm, np.float64)
    axes = needle_frames(entry, tip)
    place = tip - before_tip_mm * axes[0][:, 2]
    for node, frame, name in zip(slice_nodes, axes, _VIEW_NAMES, strict=False):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = frame, place
        was_modifying = node.StartModify()
        node.GetSliceToRAS().DeepCopy(vtk_matrix(matrix))
        node.SetXYZOrigin(0.0, 0.0, 0.0)
        node.UpdateMatrices()
        node.EndModify(was_modifying)
        node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)
        node.SetAttribute(NEEDLE, name)


#: Attribute of a slice node that shows a probe: which of the three views it is.
NEEDLE = "NETAblation.Needle"


def look_straight(slice_nodes: Sequence[Any], orientations: Sequence[str] = ("Axial", "Sagittal", "Coronal")) -> None:
    """Give slice nodes that show a probe their usual planes back, through the point that they show."""
    for node, orientation in zip(slice_nodes, orientations, strict=False):
        if node.GetAttribute(NEEDLE) is None:
            continue
        to_ras = node.GetSliceToRAS()
        place = [to_ras.GetElement(row, 3) for row in range(3)]
        node.SetOrientation(orientation)
        node.JumpSliceByCentering(*place)
        node.SetOrientationMarkerType(node.OrientationMarkerTypeNone)
        node.SetAttribute(NEEDLE, None)
