"""What the slice views look at: a place, with what lies around it in view.

A zoom that the user has chosen stays: the height of a view in mm is set here only while it is the one that was set
here last, or where nothing was set yet. Slicer keeps that height when a view gets another size; what was to be seen is
kept with the view, so that `refit` can find the height that suits the new size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from ..core import frames

#: Attributes of a slice node: the height in mm that was set here last, and the width and height that were to be seen.
_HEIGHT, _SEEN = "NETAblation.HeightMm", "NETAblation.SeenMm"

#: What is seen around a lesion on each side, mm: enough to tell the margin, and where in the liver it lies. User-set.
CONTEXT_MM = 50.0
#: Share of a view that is left free around what is to be seen. User-set.
_ROOM = 0.08


def center(place_ras_mm: npt.ArrayLike) -> None:
    """Bring a place, (3,) in RAS mm, into the middle of all slice views; what they show around it stays as large."""
    (place,) = frames.as_points(np.asarray([place_ras_mm], float), "the place to center")
    slice_node = slicer.vtkMRMLSliceNode
    slice_node.JumpAllSlices(slicer.mrmlScene, *place.tolist(), slice_node.CenteredJumpSlice)


def show(place_ras_mm: npt.ArrayLike, around_ras_mm: npt.ArrayLike, *, keeps_zoom: bool = True) -> None:
    """Let all slices go through a place, (3,) in RAS mm, and be as large as the points around it (N, 3) ask for.

    Where the user has zoomed since, the place is brought into the middle and the zoom stays, unless `keeps_zoom` is
    False: then the view is as if it had never been zoomed.
    """
    (place,) = frames.as_points(np.asarray([place_ras_mm], float), "the place to show")
    around = frames.as_points(np.asarray(around_ras_mm, float), "what lies around the place")
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if keeps_zoom and _is_zoomed(node):
            node.JumpSliceByCentering(*place.tolist())
            continue
        axes = _axes(node)
        seen = (around - place) @ axes
        lower, upper = seen.min(axis=0), seen.max(axis=0)
        was_modifying = node.StartModify()
        node.JumpSliceByCentering(*(place + axes @ (0.5 * (lower + upper))).tolist())
        node.SetAttribute(_SEEN, " ".join(f"{length:.1f}" for length in (1.0 + _ROOM) * (upper - lower)))
        _fit(node)
        node.EndModify(was_modifying)


def refit() -> None:
    """Let views that got another size since show again all that was to be seen, unless the user has zoomed them."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node.GetAttribute(_SEEN) is not None and not _is_zoomed(node):
            _fit(node)


def look_as(node: Any, other: Any) -> None:
    """Let a slice view (its node) look where another one looks, and as far around."""
    node.GetSliceToRAS().DeepCopy(other.GetSliceToRAS())
    node.SetFieldOfView(*other.GetFieldOfView())
    for name in (_HEIGHT, _SEEN):
        node.SetAttribute(name, other.GetAttribute(name))
    node.UpdateMatrices()


def corners_around(points_ras_mm: npt.ArrayLike, by_mm: float = CONTEXT_MM) -> npt.NDArray[np.float64]:
    """The corners (8, 3) of the box around points (N, 3), made larger on each side."""
    points = np.asarray(points_ras_mm, dtype=np.float64)
    ends = np.stack([points.min(axis=0) - by_mm, points.max(axis=0) + by_mm])
    return np.array(np.meshgrid(*ends.T)).reshape(3, -1).T


def _axes(node: Any) -> npt.NDArray[np.float64]:
    """Right and up of a slice in RAS, as columns (3, 2)."""
    to_ras = node.GetSliceToRAS()
    return np.array([[to_ras.GetElement(row, column) for column in range(2)] for row in range(3)])


def _fit(node: Any) -> None:
    """Give a slice view the least field of view that holds what is to be seen."""
    width, height, _ = node.GetDimensions()
    seen_width_mm, seen_height_mm = (float(length) for length in node.GetAttribute(_SEEN).split())
    height_mm = max(seen_height_mm, seen_width_mm * height / width)
    node.SetFieldOfView(height_mm * width / height, height_mm, node.GetFieldOfView()[2])
    node.SetAttribute(_HEIGHT, f"{height_mm:.3f}")


def _is_zoomed(node: Any) -> bool:
    """Whether the user has given a view another height since it was set here."""
    set_here = node.GetAttribute(_HEIGHT)
    return set_here is not None and abs(float(set_here) - node.GetFieldOfView()[1]) > 1e-3 * float(set_here)
