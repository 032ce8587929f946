"""Grids along R, A, S on which images of any orientation meet, and images prepared for that.

Registration works on isotropic grids whose arrays (K, J, I) run along S, A, R. So the result
does not depend on how the axes of the two images are flipped or turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .frames import Matrix, Points

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WorkingGrid:
    """Cubic voxels along R, A, S: center of the first voxel, edge, and (K, J, I) counts."""

    first_ras_mm: tuple[float, float, float]
    spacing_mm: float
    shape: tuple[int, int, int]

    @classmethod
    def over(cls, lower_ras_mm: npt.ArrayLike, upper_ras_mm: npt.ArrayLike, spacing_mm: float) -> WorkingGrid:
        """The grid that covers a box, centered on it."""
        lower, upper = np.asarray(lower_ras_mm, float), np.asarray(upper_ras_mm, float)
        # The rounding of a box that was turned must not add a voxel.
        count = np.maximum(np.ceil((upper - lower) / spacing_mm - 1e-6).astype(int), 1)
        first = (lower + upper - (count - 1) * spacing_mm) / 2
        return cls(tuple(first.tolist()), spacing_mm, tuple(count[::-1].tolist()))

    def coordinates(self, axis: int) -> FloatArray:
        """Coordinates in mm of the voxel centers along an axis of the array (0 S, 1 A, 2 R)."""
        return self.first_ras_mm[2 - axis] + self.spacing_mm * np.arange(self.shape[axis])

    def points(self, voxels: BoolArray | None = None) -> Points:
        """RAS (N, 3) of the voxels that are true in an array, or of all."""
        s, a, r = (self.coordinates(axis) for axis in range(3))
        if voxels is not None:
            k, j, i = np.nonzero(voxels)
            return np.stack([r[i], a[j], s[k]], axis=1)
        points = np.empty((*self.shape, 3))
        points[..., 0], points[..., 1], points[..., 2] = r, a[:, None], s[:, None, None]
        return points.reshape(-1, 3)

    def image(self, array: npt.NDArray) -> sitk.Image:
        """A SimpleITK image of an array (K, J, I), or of vectors (K, J, I, 3)."""
        image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
        image.SetSpacing([self.spacing_mm] * 3)
        image.SetDirection([-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0])
        image.SetOrigin(frames.flip_lps_ras(self.first_ras_mm).tolist())
        return image


def mask_of_points(points_ras_mm: Points, spacing_mm: float) -> tuple[WorkingGrid, BoolArray]:
    """A grid over points (N, 3) that fill a body about as densely as its voxels, and the body's voxels (K, J, I)."""
    grid = WorkingGrid.over(points_ras_mm.min(axis=0) - 4.0, points_ras_mm.max(axis=0) + 4.0, spacing_mm)
    index = np.rint((points_ras_mm - grid.first_ras_mm) / spacing_mm).astype(int)[:, ::-1]
    mask = np.zeros(grid.shape, dtype=bool)
    mask[tuple(index.T)] = True
    return grid, ndimage.binary_closing(np.pad(mask, 2), iterations=1)[2:-2, 2:-2, 2:-2] | mask


@dataclass(frozen=True)
class SampledImage:
    """An array (K, J, I) of values in space, with the share of each voxel that may be used."""

    values: FloatArray
    usable: FloatArray
    ras_to_index: Matrix

    def sample(self, points_ras_mm: Points) -> tuple[FloatArray, FloatArray]:
        """Values and usable shares (N,) at points (N, 3), linear; nothing is usable outside."""
        coordinates = frames.apply_matrix(self.ras_to_index, points_ras_mm)[:, ::-1].T
        values = ndimage.map_coordinates(self.values, coordinates, order=1, mode="nearest", output=np.float32)
        usable = ndimage.map_coordinates(self.usable, coordinates, order=1, cval=0.0, output=np.float32)
        return values, usable


def prepare(image: sitk.Image, usable: sitk.Image, smoothing_mm: float) -> SampledImage:
    """Smooth an image for sampling at the given scale, and coarsen its grid as far as that allows.

    `image` is float32, `usable` uint8 0/1 or shares on its grid. The blur of the voxels themselves is
    part of the smoothing, so that slices of other thickness come out alike where they can.
    """
    coarse = shrunk(image, smoothing_mm)
    coarse_usable = shrunk(sitk.Cast(usable, sitk.sitkFloat32), smoothing_mm)
    spacing = np.array(coarse.GetSpacing())[::-1]
    sigma = np.sqrt(np.maximum(smoothing_mm**2 - spacing**2 / 12, 0.0)) / spacing
    values = ndimage.gaussian_filter(sitk.GetArrayViewFromImage(coarse), sigma, truncate=3.0, mode="nearest")
    return SampledImage(values, sitk.GetArrayFromImage(coarse_usable), frames.ras_to_index_matrix(coarse))


def shrunk(image: sitk.Image, scale_mm: float) -> sitk.Image:
    """An image averaged over blocks of voxels up to a size in mm, at least 4 blocks along each axis."""
    axes = zip(image.GetSpacing(), image.GetSize(), strict=True)
    return sitk.BinShrink(image, [max(1, min(int(scale_mm / spacing), count // 4)) for spacing, count in axes])


def resample_mask(mask: BoolArray, grid: WorkingGrid, onto: WorkingGrid) -> BoolArray:
    """A mask on another working grid, linear between voxels."""
    matrices = []
    for axis in range(3):
        position = (onto.coordinates(axis) - grid.first_ras_mm[2 - axis]) / grid.spacing_mm
        offset = np.abs(position[:, None] - np.arange(grid.shape[axis]))
        matrices.append(np.maximum(1 - offset, 0).astype(np.float32))
    s, a, r = matrices
    return np.tensordot(s, np.matmul(a, np.matmul(mask.astype(np.float32), r.T)), axes=(1, 0)) > 0.5
