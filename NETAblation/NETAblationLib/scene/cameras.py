"""The cameras of the 3D views: what they look at when there is something to see for the first time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import slicer

#: Share of the view's height that is left free around what is looked at. User-set.
_ROOM = 0.1


def look_at(points_ras_mm: npt.NDArray[np.float64]) -> None:
    """Bring points (N, 3) whole into all 3D views, seen from where each is seen from now."""
    center = 0.5 * (points_ras_mm.min(axis=0) + points_ras_mm.max(axis=0))
    radius_mm = float(np.linalg.norm(points_ras_mm - center, axis=1).max())
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        away = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
        half_angle = np.deg2rad(0.5 * camera.GetViewAngle())
        distance_mm = (1.0 + _ROOM) * radius_mm / np.sin(half_angle)
        camera.SetFocalPoint(*center)
        camera.SetPosition(*(center + distance_mm * away / np.linalg.norm(away)))
        camera.ResetClippingRange()
