"""The wide parts of a mask of vessels: those of a given diameter and more."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from . import frames
from .errors import InputError

#: A mask does not tell where between two voxel centers a wall runs. By this share of half a voxel's diagonal the
#: middle of a vessel may lie less deep, and its wall farther from the middle, than the width asked for says; the middle
#: by no more than so many mm, since else every voxel of a coarse mask would count as wide. User-set.
_DOUBT_VOXELS, _MOST_DOUBT_MM = 0.7, 0.45


def wide_part(vessels: sitk.Image, least_mm: float) -> sitk.Image:
    """The voxels (uint8, 0 and 1) of vessels where a ball of `least_mm` across fits in, and its surroundings.

    It is a morphological opening, with balls that reach from wall to wall: from a wide trunk thin branches are taken
    away, the trunk's own surface stays. The mask is 0 and 1; the result lies on its grid. Raises InputError for a width
    that is not above 0.
    """
    if not (np.isfinite(least_mm) and least_mm > 0):
        raise InputError(f"vessels: a least width of {least_mm} mm is not above 0 mm")
    centers = frames.voxel_centers(vessels)
    if not len(centers):
        return vessels
    part = frames.crop_around_points(vessels, centers, 2 * least_mm)
    doubt_mm = _DOUBT_VOXELS * 0.5 * float(np.linalg.norm(vessels.GetSpacing()))
    # The walls run half a voxel beyond the outermost centers: the distance to the nearest center outside, less that.
    outside = sitk.SignedMaurerDistanceMap(
        sitk.Equal(part, 0), insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    half_voxel_mm = 0.5 * float(np.mean(vessels.GetSpacing()))
    depth = sitk.GetArrayViewFromImage(outside) - half_voxel_mm
    core = depth >= 0.5 * least_mm - min(doubt_mm, _MOST_DOUBT_MM)
    wide = np.zeros(core.shape, dtype=np.uint8)
    if core.any():
        cores = sitk.GetImageFromArray(core.astype(np.uint8))
        cores.CopyInformation(part)
        away = sitk.SignedMaurerDistanceMap(cores, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
        near = sitk.GetArrayViewFromImage(away) <= 0.5 * least_mm + half_voxel_mm + doubt_mm
        wide = (near & (sitk.GetArrayViewFromImage(part) != 0)).astype(np.uint8)
    found = sitk.GetImageFromArray(wide)
    found.CopyInformation(part)
    return sitk.Resample(found, vessels, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
