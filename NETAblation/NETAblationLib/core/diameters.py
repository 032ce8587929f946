"""Diameters of a mask as a reader measures them: the longest in an axial slice, and across it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.spatial import ConvexHull, QhullError

from . import frames

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def axial_diameters_mm(mask: sitk.Image) -> tuple[float, float]:
    """Longest diameter in a slice and the largest extent at right angles to it in the same slice, mm.

    As RECIST 1.1 measures (Eisenhauer et al., Eur J Cancer 2009), over all slices. Slices are
    those of the image whose normal is nearest to the patient's long axis. The outline lies
    midway between the centers of an inside and an outside voxel. An empty mask gives (0, 0).
    """
    matrix = frames.index_to_ras_matrix(mask)[:3, :3]
    normal = int(np.argmax(np.abs(matrix[2] / np.linalg.norm(matrix, axis=0))))
    array = np.moveaxis(sitk.GetArrayViewFromImage(mask) > 0, 2 - normal, 0)
    row_mm, column_mm = (mask.GetSpacing()[axis] for axis in (2, 1, 0) if axis != normal)
    best = (0.0, 0.0)
    for index in np.flatnonzero(array.any(axis=(1, 2))):
        outline = _outline(array[index]) * (row_mm, column_mm)
        found = _diameters(outline)
        best = max(best, found)
    return best


def _outline(inside: BoolArray) -> FloatArray:
    """Points (N, 2), in rows and columns, midway between inside and outside neighbors."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = np.pad(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    across_rows = np.argwhere(window[1:] != window[:-1]) + np.array([0.5, 0.0])
    across_columns = np.argwhere(window[:, 1:] != window[:, :-1]) + np.array([0.0, 0.5])
    return np.concatenate([across_rows, across_columns])


def _diameters(points_mm: FloatArray) -> tuple[float, float]:
    try:
        corners = points_mm[ConvexHull(points_mm).vertices]
    except QhullError:
        corners = points_mm
    between = corners[:, None] - corners[None]
    lengths = np.linalg.norm(between, axis=2)
    first, second = np.unravel_index(int(np.argmax(lengths)), lengths.shape)
    longest = float(lengths[first, second])
    if longest == 0.0:
        return 0.0, 0.0
    along = between[first, second] / longest
    extent = corners @ np.array([-along[1], along[0]])
    return longest, float(extent.max() - extent.min())
