"""Diameters of a mask as a reader measures them: the longest in an axial slice and across it, and the longest in 3D.

All are measured on the smooth sub-voxel surface (:mod:`~NETAblationLib.core.surfaces`): from voxel to voxel, the
stair-steps of the outline add half a voxel and more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.spatial import ConvexHull, QhullError

from . import frames
from .surfaces import Surface, mask_surface

FloatArray = npt.NDArray[np.floating]

#: Diameters that differ by less than this, in mm, are equally long.
_ALIKE_MM = 1e-6
#: Pairs of points compared at a time, which bounds the memory.
_PAIRS_AT_ONCE = 1_000_000
#: Directions, over half a sphere, in which the ends of a surface are sought: the longest line is at most 2.5 degrees
#: from one of them, by which it can be found 0.1 % too short.
_DIRECTIONS = 1_500


def axial_diameters_mm(mask: sitk.Image, surface: Surface | None = None) -> tuple[float, float]:
    """Longest diameter in a slice, and the longest one at right angles to it in the same slice, mm.

    As RECIST 1.1 measures (Eisenhauer et al., Eur J Cancer 2009), over all slices. Slices are those
    of the image whose normal is nearest to the patient's long axis. The short axis is a line from
    outline to outline, not the extent of the whole lesion; of equally long diameters the one with the
    longest short axis counts. `surface` is that of the mask, found here where it is not given. An empty
    mask gives (0, 0).
    """
    if not sitk.GetArrayViewFromImage(mask).any():
        return 0.0, 0.0
    surface = mask_surface(mask) if surface is None else surface
    matrix = frames.index_to_ras_matrix(mask)[:3, :3]
    normal = int(np.argmax(np.abs(matrix[2] / np.linalg.norm(matrix, axis=0))))
    index = frames.ras_to_index(mask, surface.points_ras_mm)
    height, in_plane = index[:, normal], np.delete(index * mask.GetSpacing(), normal, axis=1)
    longest = 0.0
    best: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for plane in range(int(np.ceil(height.min())), int(np.floor(height.max())) + 1):
        starts, ends = _cut(height - plane, in_plane, surface.triangles)
        length, directions = _longest(starts)
        if length > longest + _ALIKE_MM:
            longest, best = length, []
        if length >= longest - _ALIKE_MM:
            best.append((starts, ends, directions))
    across = [_across(starts, ends, along) for starts, ends, directions in best for along in directions]
    return longest, max(across, default=0.0)


def longest_3d_mm(surface: Surface) -> float:
    """Longest straight line between two points of a surface, in any direction, mm (to 0.1 %)."""
    points = surface.points_ras_mm
    turn = np.arange(_DIRECTIONS) * np.pi * (3.0 - np.sqrt(5.0))
    up = (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS
    around = np.sqrt(1.0 - up**2)
    ends = set()
    for direction in np.stack([around * np.cos(turn), around * np.sin(turn), up], axis=1):
        along = points @ direction
        ends |= {int(along.argmax()), int(along.argmin())}
    return _longest(points[sorted(ends)])[0]


def _cut(height: FloatArray, in_plane: FloatArray, triangles: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Both ends (N, 2) of the pieces in which triangles cross the plane of height 0.

    `height` (P,) is that of the points above the plane, `in_plane` (P, 2) where they are along it.
    """
    is_above = height >= 0
    side = is_above[triangles]
    crossing = triangles[side.any(axis=1) & ~side.all(axis=1)]
    side = is_above[crossing]
    # The corner that is alone on its side comes first: both of its edges cross the plane.
    alone = np.where(side.sum(axis=1) == 1, side.argmax(axis=1), side.argmin(axis=1))
    rows = np.arange(len(crossing))
    top, first, second = (crossing[rows, (alone + turn) % 3] for turn in range(3))
    ends = []
    for other in (first, second):
        share = height[top] / (height[top] - height[other])
        ends.append(in_plane[top] + share[:, None] * (in_plane[other] - in_plane[top]))
    return ends[0], ends[1]


def _longest(points_mm: FloatArray) -> tuple[float, FloatArray]:
    """The longest distance of two points, and the directions (M, dimensions) of all that long."""
    nothing = np.empty((0, points_mm.shape[1]))
    if not len(points_mm):
        return 0.0, nothing
    try:
        corners = points_mm[ConvexHull(points_mm).vertices]
    except QhullError:  # fewer points than a hull needs, or all in a line
        corners = points_mm
    longest, found = 0.0, nothing
    step = max(1, _PAIRS_AT_ONCE // len(corners))
    for start in range(0, len(corners), step):
        between = corners[start : start + step, None] - corners[None]
        lengths = np.linalg.norm(between, axis=2)
        most = float(lengths.max())
        alike = between[lengths >= max(most, longest) - _ALIKE_MM]
        found = alike if most > longest + _ALIKE_MM else np.concatenate([found, alike])
        longest = max(most, longest)
    if longest == 0.0:
        return 0.0, nothing
    # Each line is found from both of its ends; sorting puts opposite directions at opposite places.
    one_way = found[np.lexsort(np.round(found, 6).T)][len(found) // 2 :]
    return longest, one_way / longest


def _across(starts: FloatArray, ends: FloatArray, along: FloatArray) -> float:
    """The longest line from outline to outline at right angles to `along` (2,), mm.

    The outline is given as pieces by both ends (N, 2).
    """
    side = np.array([-along[1], along[0]])
    first, last = starts @ along, ends @ along
    low, high = np.minimum(first, last), np.maximum(first, last)
    from_side, to_side = starts @ side, ends @ side
    best = 0.0
    # How far the outline spans changes linearly from corner to corner, so it is longest at one of them.
    for place in np.unique(np.round(first, 6)):
        met = np.flatnonzero((low <= place + _ALIKE_MM) & (place <= high + _ALIKE_MM))
        length = last[met] - first[met]
        share = np.divide(place - first[met], length, out=np.zeros(len(met)), where=np.abs(length) > _ALIKE_MM)
        offsets = from_side[met] + np.clip(share, 0.0, 1.0) * (to_side[met] - from_side[met])
        # A piece that runs across is met at both of its ends.
        offsets = np.concatenate([offsets, to_side[met][np.abs(length) <= _ALIKE_MM]])
        best = max(best, float(np.ptp(offsets)))
    return best
