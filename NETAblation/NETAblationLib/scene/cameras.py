"""The cameras of the 3D views: what they look at, and from where."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

#: Share of the view's height that is left free around what is looked at. User-set.
_ROOM = 0.1

#: Steepest look up or down, so that superior stays up in the picture. User-set.
_MAX_ELEVATION_DEGREES = 65.0

FloatArray = npt.NDArray[np.float64]


def look_at(points_ras_mm: FloatArray, toward: FloatArray | None = None) -> None:
    """Bring points (N, 3) whole into all 3D views, seen by a viewer in the direction `toward`, superior up.

    Without a direction (3,) they are seen from where each view is seen from now.
    """
    for camera in _cameras():
        _bring(camera, points_ras_mm, toward)


def bring_into_view(points_ras_mm: FloatArray) -> None:
    """As `look_at`, but only in the views in which some of the points are not seen."""
    for camera in _cameras():
        if not _sees(camera, points_ras_mm):
            _bring(camera, points_ras_mm, None)


def toward_viewer(focus_ras_mm: FloatArray, facing_ras_mm: FloatArray) -> FloatArray:
    """Unit vector from a focus to a viewer whom a place faces, kept away from straight above and below.

    Where the place is the focus itself, the viewer is anterior.
    """
    way = facing_ras_mm - focus_ras_mm
    length = float(np.linalg.norm(way))
    direction = way / length if length > 0 else np.array([0.0, 1.0, 0.0])
    limit = np.deg2rad(_MAX_ELEVATION_DEGREES)
    elevation = np.clip(np.arcsin(np.clip(direction[2], -1.0, 1.0)), -limit, limit)
    level = np.linalg.norm(direction[:2])
    azimuth = direction[:2] / level if level > 0 else np.array([0.0, 1.0])
    return np.array([*(azimuth * np.cos(elevation)), np.sin(elevation)])


def _cameras() -> list[Any]:
    return list(slicer.util.getNodesByClass("vtkMRMLCameraNode"))


def _bring(camera: Any, points: FloatArray, toward: FloatArray | None) -> None:
    center = 0.5 * (points.min(axis=0) + points.max(axis=0))
    away = np.subtract(camera.GetPosition(), camera.GetFocalPoint()) if toward is None else toward
    direction = away / np.linalg.norm(away)
    offsets = points - center
    depths = offsets @ direction
    beside = np.linalg.norm(offsets - depths[:, None] * direction, axis=1)
    # Each point asks for its distance: so far that it lies within the cone of the view.
    distance_mm = float((depths + (1.0 + _ROOM) * beside / np.tan(np.deg2rad(0.5 * camera.GetViewAngle()))).max())
    was_modifying = camera.StartModify()
    if toward is not None:
        camera.SetViewUp(0.0, 0.0, 1.0)
    camera.SetFocalPoint(*center)
    camera.SetPosition(*(center + distance_mm * direction))
    camera.EndModify(was_modifying)
    camera.ResetClippingRange()


def _sees(camera: Any, points: FloatArray) -> bool:
    """Whether points lie within the cone that is seen at any shape of the view."""
    position = np.array(camera.GetPosition())
    axis = np.subtract(camera.GetFocalPoint(), position)
    ways = points - position
    along = ways @ axis / np.linalg.norm(axis)
    return bool((along > np.linalg.norm(ways, axis=1) * np.cos(np.deg2rad(0.5 * camera.GetViewAngle()))).all())
