"""The voxel grids of the digital patient, and how shapes turn into voxels on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
GridField = npt.NDArray[np.floating[Any]]
Region = tuple[slice, slice, slice]
LevelOnGrid = Callable[[Field, Field, Field], Field]
"""Takes broadcast coordinates R, A, S in mm and returns a level: below zero inside."""


@dataclass(frozen=True)
class Grid:
    """Size (I, J, K), spacing and center of an axial grid with identity direction in LPS."""

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    center_ras_mm: tuple[float, float, float]

    @property
    def origin_lps_mm(self) -> tuple[float, float, float]:
        """LPS position of the first voxel's center."""
        flip = (-1.0, -1.0, 1.0)
        x, y, z = (
            sign * center - 0.5 * (count - 1) * step
            for sign, center, count, step in zip(flip, self.center_ras_mm, self.size, self.spacing_mm, strict=True)
        )
        return x, y, z

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of its arrays, (K, J, I)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm) / 1000.0)

    def axes_ras_mm(self) -> tuple[Array, Array, Array]:
        """Coordinates of the voxel centers: R along I, A along J, S along K, each 1D."""
        origin = self.origin_lps_mm
        lps: list[Array] = [
            origin[axis] + self.spacing_mm[axis] * np.arange(self.size[axis], dtype=np.float64) for axis in range(3)
        ]
        return -lps[0], -lps[1], lps[2]

    def index_bounds(self, lower_ras_mm: npt.ArrayLike, upper_ras_mm: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Start and stop (N, 3, 2) along K, J, I of the voxels whose centers lie in boxes (N, 3)."""
        lower, upper = np.atleast_2d(np.asarray(lower_ras_mm, float)), np.atleast_2d(np.asarray(upper_ras_mm, float))
        flip = np.array([-1.0, -1.0, 1.0])
        low, high = np.minimum(lower * flip, upper * flip), np.maximum(lower * flip, upper * flip)
        origin, step = np.array(self.origin_lps_mm), np.array(self.spacing_mm)
        start = np.clip(np.ceil((low - origin) / step), 0, self.size)
        stop = np.clip(np.floor((high - origin) / step) + 1, 0, self.size)
        return np.stack([start, stop], axis=2)[:, ::-1].astype(np.int64)

    def region(self, lower_ras_mm: npt.ArrayLike, upper_ras_mm: npt.ArrayLike) -> Region | None:
        """Slices (K, J, I) of the voxels whose centers lie in the box, or None where none does."""
        (k0, k1), (j0, j1), (i0, i1) = self.index_bounds(lower_ras_mm, upper_ras_mm)[0].tolist()
        if k1 <= k0 or j1 <= j0 or i1 <= i0:
            return None
        return slice(k0, k1), slice(j0, j1), slice(i0, i1)

    def open_coordinates(self, region: Region) -> tuple[Field, Field, Field]:
        """R, A, S of a region as float32 arrays of shapes (1,1,I), (1,J,1), (K,1,1)."""
        r, a, s = self.axes_ras_mm()
        return (
            r[region[2]].astype(np.float32)[None, None, :],
            a[region[1]].astype(np.float32)[None, :, None],
            s[region[0]].astype(np.float32)[:, None, None],
        )

    def points(self, region: Region) -> Array:
        """RAS of all voxel centers of a region, (N, 3), in the order of the flattened array."""
        r, a, s = self.axes_ras_mm()
        z, y, x = np.meshgrid(s[region[0]], a[region[1]], r[region[2]], indexing="ij")
        return np.column_stack([x.ravel(), y.ravel(), z.ravel()])

    def image(self, array: npt.NDArray[np.generic]) -> sitk.Image:
        """A SimpleITK image of an array (K, J, I) on this grid."""
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_lps_mm)
        return image

    def empty_mask(self) -> npt.NDArray[np.uint8]:
        """Zeros of this grid's shape."""
        return np.zeros(self.shape, np.uint8)


def whole(shape: tuple[int, int, int]) -> Region:
    """The region of all voxels."""
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


def intersect(first: Region, second: Region) -> Region | None:
    """The voxels in both regions, or None."""
    slices = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True)]
    if any(s.stop <= s.start for s in slices):
        return None
    return slices[0], slices[1], slices[2]


def soft_edge(level: GridField, blur_voxels: tuple[float, float, float]) -> Field:
    """Share of each voxel that lies inside a level, 0..1: partial volume and scanner blur.

    `level` (K, J, I) is any smooth function below zero inside. Its change over one voxel along
    each axis, times `blur_voxels` (the standard width of the voxel and the scanner's point
    spread in voxels, 1.0 for the voxel alone), gives the width over which a box-shaped voxel
    crosses the surface; a linear ramp of that width has the variance of the voxel's own
    profile across the surface.
    """
    width: Field = np.zeros(level.shape, np.float32)
    for axis, blur in enumerate(blur_voxels):
        if level.shape[axis] < 2:
            continue
        change = np.gradient(level, axis=axis)
        change *= np.float32(blur)
        change *= change
        width += change
    np.sqrt(width, out=width)
    np.maximum(width, np.float32(1e-6), out=width)
    np.divide(level, width, out=width)
    np.subtract(np.float32(0.5), width, out=width)
    return np.clip(width, 0, 1, out=width)


def ramp(level_mm: GridField, width_mm: float) -> Field:
    """Like `soft_edge` where the level is a distance in mm: a linear ramp of one width."""
    share: Field = np.multiply(level_mm, np.float32(-1.0 / width_mm), dtype=np.float32)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def blur_in_voxels(spacing_mm: tuple[float, float, float], psf_mm: float) -> tuple[float, float, float]:
    """Standard width of voxel and point spread (sigma `psf_mm`), in voxels along K, J, I."""
    return tuple(float(np.sqrt(1.0 + 12.0 * (psf_mm / step) ** 2)) for step in reversed(spacing_mm))  # type: ignore[return-value]
