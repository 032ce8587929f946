"""Masks of tissue that must not drive a fusion: tumors and ablation zones, which differ before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import GeometryError
from .images import as_mask

#: Rim around an excluded mask that is left out too, in mm: the bright rim of a zone. User-set.
_RIM_MM = 3.0
#: Empty voxels that are kept around what a mask holds, so that it can be interpolated.
_PAD_VOXELS = 2


@dataclass(frozen=True)
class Excluded:
    """A mask (uint8), cut to what it holds, and the images on whose grids it was drawn: one of them or both."""

    mask: sitk.Image
    is_of_fixed: bool
    is_of_moving: bool

    @property
    def volume_ml(self) -> float:
        """What it holds, in mL."""
        return float(sitk.GetArrayViewFromImage(self.mask).sum() * np.prod(self.mask.GetSpacing()) / 1000)


def excluded_masks(fixed: sitk.Image, moving: sitk.Image, exclude: Sequence[sitk.Image]) -> tuple[Excluded, ...]:
    """Find whose tissue each mask marks.

    Raises GeometryError for one that lies on neither grid, and as `images.as_mask` for what is no mask.
    """
    found = []
    for number, mask in enumerate(exclude, start=1):
        name = f"exclude mask {number}"
        checked = as_mask(mask, name)
        is_of_fixed, is_of_moving = (frames.offset_in(checked, image) is not None for image in (fixed, moving))
        if not (is_of_fixed or is_of_moving):
            raise GeometryError(
                f"{name} lies neither on the grid of the fixed nor on that of the moving image "
                f"({frames.describe_grid(checked)}; {frames.describe_grid(fixed)}; {frames.describe_grid(moving)}): "
                "resample it to the one whose tissue it marks"
            )
        found.append(Excluded(cut_to_contents(checked), is_of_fixed, is_of_moving))
    return tuple(found)


def cut_to_contents(mask: sitk.Image) -> sitk.Image:
    """The part of a mask (uint8, not empty) that holds something, with a few empty voxels around, in its place."""
    found = ndimage.find_objects(sitk.GetArrayViewFromImage(mask))[0]
    first, size = [s.start for s in found[::-1]], [s.stop - s.start for s in found[::-1]]
    pad = [_PAD_VOXELS] * 3
    return sitk.ConstantPad(sitk.RegionOfInterest(mask, size, first), pad, pad)


def leave_out(usable: npt.NDArray[np.uint8], image: sitk.Image, excluded: Excluded) -> None:
    """Set an array (K, J, I) of an image's usable voxels to 0 within a mask drawn on its grid, and at its rim."""
    offset = np.rint(frames.ras_to_index(image, frames.index_to_ras(excluded.mask, np.zeros(3)))).astype(int)
    spacing = np.array(excluded.mask.GetSpacing())[::-1]
    pad = np.ceil(_RIM_MM / spacing).astype(int)
    inside = np.pad(sitk.GetArrayViewFromImage(excluded.mask) > 0, [(p, p) for p in pad])
    grown = ndimage.distance_transform_edt(~inside, sampling=spacing) <= _RIM_MM
    start = offset[::-1] - pad
    low, high = np.maximum(start, 0), np.minimum(start + grown.shape, usable.shape)
    target = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    source = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    usable[target][grown[source]] = 0
