"""A small cubic grid around a diameter line, on which a lesion is segmented, and the way back.

The grid is tied to the line, not to the voxels of the image: so the result does not depend on
how the axes of the image are flipped, turned or spaced, and its cost not on the image's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .frames import Points

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Edge of a working voxel: a share of the line's length, within these bounds in mm. Own
#: measurement on the digital patient: finer gains nothing. No published source; user-set.
_EDGE_FRACTION, _EDGE_BOUNDS_MM = 1.0 / 32.0, (0.7, 1.5)

#: Standard deviation in mm of the blur by a CT's own resolution in plane (a soft-tissue kernel
#: resolves about 0.6 to 0.8 line pairs per mm). No published source; user-set.
SCANNER_BLUR_MM = 0.6

#: Where the smoothing filter is cut, in its standard deviations.
_TRUNCATE = 3.0


@dataclass(frozen=True)
class LineGrid:
    """Cubic voxels of edge `spacing_mm`, `count` along each axis, around `center_ras_mm`.

    `axes` (3, 3) holds the directions of the grid as columns, RAS; the first is the line's.
    """

    center_ras_mm: Points
    axes: Points
    spacing_mm: float
    count: int
    half_length_mm: float

    @classmethod
    def around(cls, line_ras_mm: Points, reach_mm: float) -> LineGrid:
        """The grid that holds a ball of radius `reach_mm` around the middle of a line (2, 3).

        Swapping the ends of the line gives the same grid.
        """
        along = line_ras_mm[1] - line_ras_mm[0]
        length = float(np.linalg.norm(along))
        along = along / length
        along = along * (1.0 if along[np.argmax(np.abs(along))] > 0 else -1.0)
        helper = np.eye(3)[np.argmin(np.abs(along))]
        across = np.cross(along, helper)
        across /= np.linalg.norm(across)
        spacing = float(np.clip(length * _EDGE_FRACTION, *_EDGE_BOUNDS_MM))
        count = 2 * int(np.ceil(reach_mm / spacing)) + 1
        axes = np.column_stack([along, across, np.cross(along, across)])
        return cls(line_ras_mm.mean(axis=0), axes, spacing, count, length / 2)

    def coordinates_mm(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Open coordinates along the line, and the two axes across it, from the center."""
        steps = (np.arange(self.count) - self.count // 2) * self.spacing_mm
        return steps[:, None, None], steps[None, :, None], steps[None, None, :]

    def sample(self, array: FloatArray, ras_to_index: Points, order: Literal[0, 1, 3]) -> FloatArray:
        """Values of an array (K, J, I) on the grid, interpolated by splines of that order.

        Beyond the array stands its nearest voxel.
        """
        to_index = ras_to_index[:3, :3] @ self.axes * self.spacing_mm
        first = frames.apply_matrix(ras_to_index, self.center_ras_mm) - to_index @ np.full(3, float(self.count // 2))
        sampled = np.empty((self.count,) * 3, dtype=np.float32)
        ndimage.affine_transform(array, to_index[::-1], first[::-1], output=sampled, order=order, mode="nearest")
        return sampled

    def values_at(self, field: FloatArray, points_ras_mm: Points) -> FloatArray:
        """A field of the grid at RAS points (N, 3), linear; its smallest value beyond the grid."""
        index = (points_ras_mm - self.center_ras_mm) @ self.axes / self.spacing_mm + self.count // 2
        return ndimage.map_coordinates(
            field, index.T, order=1, mode="constant", cval=float(field.min()), output=np.float32
        )


@dataclass(frozen=True)
class ImageCrop:
    """The part of an image around a grid: its values (K, J, I), edges of its voxels, and its place."""

    values: FloatArray
    spacing_kji_mm: FloatArray
    ras_to_index: Points

    @classmethod
    def of(cls, image: sitk.Image, grid: LineGrid) -> ImageCrop:
        """Cut out the voxels around the ball of the grid, with some more for smoothing."""
        reach = grid.spacing_mm * (grid.count // 2)
        part = frames.crop_around_points(image, grid.center_ras_mm[None], reach + 6.0)
        values = sitk.GetArrayFromImage(part).astype(np.float32)
        return cls(values, np.array(part.GetSpacing())[::-1], frames.ras_to_index_matrix(part))

    def on(self, grid: LineGrid) -> FloatArray:
        """The values on a grid, linear."""
        return grid.sample(self.values, self.ras_to_index, 1)

    def covers(self, grid: LineGrid) -> BoolArray:
        """Which voxels of a grid lie within the image, or less than one of their edges beyond its border."""
        x, y, z = grid.coordinates_mm()
        middle = frames.apply_matrix(self.ras_to_index, grid.center_ras_mm)
        steps = self.ras_to_index[:3, :3] @ grid.axes
        within = np.ones((grid.count,) * 3, bool)
        for axis in range(3):
            index = middle[axis] + steps[axis, 0] * x + steps[axis, 1] * y + steps[axis, 2] * z
            slack = 0.5 + grid.spacing_mm / self.spacing_kji_mm[2 - axis]
            within &= (index >= -slack) & (index <= self.values.shape[2 - axis] - 1 + slack)
        return within

    def smoothed_on(self, grid: LineGrid, bounds: tuple[float, float], blur_mm: float) -> tuple[FloatArray, float]:
        """The values, clipped to `bounds` and blurred to `blur_mm` in all, on a grid; and that blur.

        The blur of the scanner and of the voxels themselves counts, so that thick slices are
        blurred less by the filter: noise is suppressed and the resolution equal as far as may be.
        """
        smooth = ndimage.gaussian_filter(
            np.clip(self.values, *bounds), self._filter_sigma(blur_mm), mode="nearest", truncate=_TRUNCATE
        )
        total = float(np.sqrt(np.maximum(self._own_mm2, blur_mm**2).mean()))
        return grid.sample(smooth, self.ras_to_index, 3), total

    def blurs_mm2(self, grid: LineGrid, blur_mm: float) -> tuple[Points, Points]:
        """Covariances (3, 3) in mm2, along a grid's axes, of the blur by `smoothed_on`'s filter and by the image."""
        # A Gaussian of less than a voxel, sampled at voxels, blurs less than it says.
        filtered = [_sampled_variance(sigma) for sigma in self._filter_sigma(blur_mm)] * self.spacing_kji_mm**2
        turn = self.ras_to_index[:3, :3] @ grid.axes * self.spacing_kji_mm[::-1, None]
        return turn.T @ np.diag(filtered[::-1]) @ turn, turn.T @ np.diag(self._own_mm2[::-1]) @ turn

    @property
    def _own_mm2(self) -> FloatArray:
        """Variance (3,) of the blur by the scanner and by the voxels themselves, along K, J, I."""
        variance: FloatArray = SCANNER_BLUR_MM**2 + self.spacing_kji_mm**2 / 12.0
        return variance

    def _filter_sigma(self, blur_mm: float) -> FloatArray:
        """Standard deviation (3,) in voxels of the filter that brings the blur to `blur_mm`."""
        sigma: FloatArray = np.sqrt(np.maximum(blur_mm**2 - self._own_mm2, 0.0)) / self.spacing_kji_mm
        return sigma


def _sampled_variance(sigma: float) -> float:
    """Variance in voxels of a Gaussian that is sampled at voxels and cut as `smoothed_on` does."""
    if sigma == 0.0:
        return 0.0
    steps = np.arange(-int(_TRUNCATE * sigma + 0.5), int(_TRUNCATE * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    return float((steps**2 * weights).sum() / weights.sum())


def carve(field: FloatArray, grid: LineGrid, image: sitk.Image) -> sitk.Image:
    """The voxels of `image` whose center lies where the field of a grid is above 0, as uint8."""
    positive = np.argwhere(field > 0)
    mask = np.zeros(image.GetSize()[::-1], np.uint8)
    if len(positive):
        points = (positive - grid.count // 2) * grid.spacing_mm @ grid.axes.T + grid.center_ras_mm
        index = frames.ras_to_index(image, points)
        pad = 1.0 + grid.spacing_mm / np.array(image.GetSpacing())
        size = np.array(image.GetSize())
        lower = np.clip(np.floor(index.min(axis=0) - pad), 0, size).astype(int)
        upper = np.clip(np.ceil(index.max(axis=0) + pad) + 1, lower, size).astype(int)
        shape = (upper - lower)[::-1]
        local = np.indices(shape).reshape(3, -1)[::-1].T + lower
        values = grid.values_at(field, frames.index_to_ras(image, local))
        region = tuple(slice(a, b) for a, b in zip(lower[::-1], upper[::-1], strict=True))
        mask[region] = (values > 0).reshape(shape)
    out = sitk.GetImageFromArray(mask)
    out.CopyInformation(image)
    return out
