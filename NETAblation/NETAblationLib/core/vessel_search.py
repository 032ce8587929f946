"""Where vessels are looked for: the liver on a working grid, and how much brighter than the liver it is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .anatomy import distance_mm
from .errors import EmptyMaskError, NothingFoundError
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Edge of the working voxels, mm: finer gains little for vessels of 3 mm. User-set, as all below.
_SPACING_MM = 0.8
#: What lies around the liver on the working grid, mm.
_PAD_MM = 6.0
#: Notches of the liver up to twice this wide (its hilum) are searched too, in mm.
_NOTCH_MM = 8.0
#: Smoothing before vessels are looked for, mm; the liver's own brightness is that over the second, in mm.
_SMOOTH_MM, _BACKGROUND_MM = 0.7, 15.0
#: What is as near to the liver's border as this, in mm, may be another organ's edge.
_BORDER_MM = 1.5
#: In a CT (an image with values below the second) what is brighter than the liver by this is metal or calcified, in HU.
_METAL_HU, _CT_HU = 300.0, -300.0
#: The blood's contrast is looked for where it exceeds this many spreads; as a percentile there.
_BRIGHT_SPREADS, _BLOOD_PERCENTILE = 4.0, 60.0
#: Least volume of what is as bright in the liver, in ml.
_LEAST_BRIGHT_ML = 0.1


@dataclass(frozen=True)
class VesselSearch:
    """The liver on a working grid: where vessels are looked for, and how much brighter than the liver it is there."""

    grid: WorkingGrid
    liver: BoolArray
    domain: BoolArray
    contrast: FloatArray
    liver_value: float
    spread: float

    def ras_mm(self, points: FloatArray) -> FloatArray:
        """Places (N, 3) in voxels (K, J, I) as RAS mm."""
        return points[:, ::-1] * self.grid.spacing_mm + np.array(self.grid.first_ras_mm)


def search_vessels(image: sitk.Image, liver: sitk.Image) -> VesselSearch:
    """Bring image and liver (a mask, 0 and 1) to a working grid; raises EmptyMaskError or NothingFoundError."""
    grid = grid_about(liver, "liver")
    reference = grid.image(np.zeros(grid.shape, np.uint8))
    values = resampled(image, reference)
    inside = resampled(liver, reference) > 0.5
    domain = _closed(inside, _NOTCH_MM, grid.spacing_mm)
    if float(sitk.GetArrayViewFromImage(image).min()) < _CT_HU:
        domain &= ~ndimage.binary_dilation(values > np.median(values[inside]) + _METAL_HU)
    contrast, value, spread = _contrast(values, inside, domain, grid.spacing_mm)
    return VesselSearch(grid, inside, domain, contrast, value, spread)


def grid_about(mask: sitk.Image, name: str) -> WorkingGrid:
    """The working grid about what a mask (0, 1) holds; raises EmptyMaskError, by its name, where it holds nothing."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(mask)
    if not statistics.HasLabel(1):
        raise EmptyMaskError(f"{name}: the mask is empty")
    box = np.array(statistics.GetBoundingBox(1), dtype=np.float64)
    corners = np.array(np.meshgrid(*zip(box[:3] - 0.5, box[:3] + box[3:] - 0.5, strict=True))).reshape(3, -1).T
    ras = frames.index_to_ras(mask, corners)
    return WorkingGrid.over(ras.min(axis=0) - _PAD_MM, ras.max(axis=0) + _PAD_MM, _SPACING_MM)


def resampled(image: sitk.Image, reference: sitk.Image) -> FloatArray:
    """An image on a working grid, linear, its border values kept beyond its border."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(reference)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return sitk.GetArrayFromImage(resampler.Execute(sitk.Cast(image, sitk.sitkFloat32)))


def _closed(mask: BoolArray, reach_mm: float, spacing_mm: float) -> BoolArray:
    """A mask with its notches up to twice the reach wide."""
    width = int(reach_mm / spacing_mm) + 2
    grown = distance_mm(np.pad(mask, width), spacing_mm) <= reach_mm
    closed = distance_mm(~grown, spacing_mm) > reach_mm
    inner = slice(width, -width)
    return closed[inner, inner, inner] | mask


def _contrast(
    values: FloatArray, liver: BoolArray, domain: BoolArray, spacing_mm: float
) -> tuple[FloatArray, float, float]:
    """How much brighter than the liver around it each voxel is, the liver's value, and the spread about it.

    Only what is in the domain counts, so that a bright organ beside the liver does not shine into it.
    """
    deviation = _SMOOTH_MM / spacing_mm
    weight = ndimage.gaussian_filter(domain.astype(np.float32), deviation)
    smooth = ndimage.gaussian_filter(np.where(domain, values, 0).astype(np.float32), deviation)
    smooth /= np.maximum(weight, 1e-3)
    value, spread = _typical(smooth[liver])
    background = np.full(values.shape, value, np.float32)
    for _ in range(2):
        is_plain = liver & (np.abs(smooth - background) < 2 * spread)
        background = value + _local_mean(smooth - value, is_plain, _BACKGROUND_MM / spacing_mm)
    contrast = smooth - background
    near_border = domain & (distance_mm(~domain, spacing_mm) <= _BORDER_MM)
    contrast[near_border | ~domain] = np.minimum(contrast[near_border | ~domain], 0)
    return contrast, value, _typical(contrast[liver])[1]


def _typical(values: FloatArray) -> tuple[float, float]:
    """Middle and spread of most values, whatever the rest is."""
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    for _ in range(4):
        inner = values[np.abs(values - middle) <= 2 * spread]
        middle = float(np.median(inner))
        # Half of a normal distribution cut at two spreads lies within 0.6 of them.
        spread = float(np.median(np.abs(inner - middle))) / 0.6 if len(inner) else 0.0
    if not spread > 0:
        raise NothingFoundError("vessels: the liver has the same value everywhere; no vessel can stand out")
    return middle, spread


def _local_mean(values: FloatArray, chosen: BoolArray, deviation: float) -> FloatArray:
    """Mean of the chosen values nearby, on every second voxel and linear in between; 0 where there are none."""
    step = 2
    every = (slice(None, None, step),) * 3
    weight = ndimage.gaussian_filter(chosen[every].astype(np.float32), deviation / step)
    total = ndimage.gaussian_filter(np.where(chosen, values, 0)[every].astype(np.float32), deviation / step)
    mean = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), 0)
    places = np.meshgrid(*(np.arange(n, dtype=np.float32) / step for n in values.shape), indexing="ij", sparse=True)
    return ndimage.map_coordinates(mean, np.broadcast_arrays(*places), order=1, mode="nearest")


def blood_contrast(search: VesselSearch) -> float:
    """A first estimate of the contrast of blood: that in the middle of what is bright."""
    bright = search.domain & (search.contrast > _BRIGHT_SPREADS * search.spread)
    middle = ndimage.binary_erosion(bright)
    if middle.sum() * search.grid.spacing_mm**3 < 1000 * _LEAST_BRIGHT_ML:
        raise NothingFoundError(
            "no vessel stands out in the liver: an image with contrast in its vessels (portal phase) is needed"
        )
    return float(np.percentile(search.contrast[middle], _BLOOD_PERCENTILE))
