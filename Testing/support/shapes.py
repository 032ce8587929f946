"""Analytic shapes turned into masks on any grid: the known answers of the tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core import frames

Level = Callable[[np.ndarray], np.ndarray]
"""Takes RAS points (N, 3) and returns a number each: below zero inside the shape."""


def rotation(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """The (3, 3) rotation about `axis` by the right-hand rule."""
    versor = sitk.VersorTransform(axis, float(np.deg2rad(degrees)))
    return np.array(versor.GetMatrix()).reshape(3, 3)


def grid(
    lower_ras_mm: tuple[float, float, float],
    upper_ras_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    direction: np.ndarray | None = None,
) -> sitk.Image:
    """An empty mask around the box, with its axes along `direction` (3, 3), columns in LPS.

    `direction` may be oblique or flipped; the grid is grown so that the box stays inside.
    """
    axes = np.eye(3) if direction is None else np.asarray(direction, dtype=float)
    lower, upper = np.array(lower_ras_mm, float), np.array(upper_ras_mm, float)
    corners = np.array(np.meshgrid(*np.stack([lower, upper], 1))).reshape(3, -1).T
    along = frames.flip_lps_ras(corners) @ axes
    start, end = along.min(axis=0), along.max(axis=0)
    size = np.ceil((end - start) / spacing_mm).astype(int) + 1
    image = sitk.Image(size.tolist(), sitk.sitkUInt8)
    image.SetSpacing([float(s) for s in spacing_mm])
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin((axes @ start).tolist())
    return image


def voxel_centers(image: sitk.Image) -> np.ndarray:
    """RAS of all voxel centers, (N, 3), in the order of the flattened (K, J, I) array."""
    return frames.index_to_ras(image, voxel_indices(image.GetSize()).reshape(-1, 3))


def voxel_indices(size) -> np.ndarray:
    """The indices I, J, K of all voxels of a grid of this size (I, J, K), as float64 (K, J, I, 3)."""
    index = np.empty((*size[::-1], 3))
    for axis, count in enumerate(size):
        index[..., axis] = np.arange(count).reshape(-1, *[1] * axis)
    return index


def mask_of(level: Level, reference: sitk.Image) -> sitk.Image:
    """The voxels of `reference` whose centers lie inside the shape."""
    inside = level(voxel_centers(reference)) < 0
    image = sitk.GetImageFromArray(inside.reshape(reference.GetSize()[::-1]).astype(np.uint8))
    image.CopyInformation(reference)
    return image


def sphere(center_ras_mm, radius_mm: float) -> Level:
    """Signed distance to a sphere."""
    center = np.asarray(center_ras_mm, float)
    return lambda points: np.linalg.norm(points - center, axis=1) - radius_mm


def ellipsoid(center_ras_mm, semi_axes_mm, axes: np.ndarray | None = None) -> Level:
    """Level function of an ellipsoid; `axes` (3, 3) has its directions as columns, in RAS."""
    center, semi = np.asarray(center_ras_mm, float), np.asarray(semi_axes_mm, float)
    frame = np.eye(3) if axes is None else np.asarray(axes, float)
    return lambda points: np.linalg.norm((points - center) @ frame / semi, axis=1) - 1.0


def half_space(point_ras_mm, outward_normal) -> Level:
    """Signed distance to a plane; inside is against the normal."""
    point, normal = np.asarray(point_ras_mm, float), np.asarray(outward_normal, float)
    normal = normal / np.linalg.norm(normal)
    return lambda points: (points - point) @ normal


def union(*levels: Level) -> Level:
    """Inside any of the shapes."""
    return lambda points: np.min([level(points) for level in levels], axis=0)


def intersection(*levels: Level) -> Level:
    """Inside all of the shapes."""
    return lambda points: np.max([level(points) for level in levels], axis=0)


def difference(level: Level, *removed: Level) -> Level:
    """Inside the first shape and outside the others."""
    return lambda points: np.max([level(points), *[-cut(points) for cut in removed]], axis=0)
