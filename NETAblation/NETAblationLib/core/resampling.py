"""PET, MR, the other CT phase and masks in the frame of the planning CT, voxel for voxel.

A resampled image is for looking at and for drawing on. What is measured (SUVmax, volumes) is
measured on the image's own grid.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from . import frames
from .carry import require_3d
from .errors import GeometryError, InputError
from .images import as_mask, require_3d_finite

#: What stands outside of the moving image: air on Hounsfield's scale, no signal, no activity.
BACKGROUNDS = {"CT": -1000.0, "MR": 0.0, "PET": 0.0}


def resample_image(
    moving: sitk.Image,
    planning: sitk.Image,
    planning_to_moving: sitk.Transform | None = None,
    *,
    modality: str,
) -> sitk.Image:
    """The moving image on the planning image's grid, float32.

    `planning_to_moving` maps points of the planning frame to the moving one, rigid or deformable, as
    fusion gives it; None where both share a frame (PET and CT of one scanner). Linear between voxels,
    so that no value arises that is not between its neighbors (no negative activity, no ringing beside
    metal); `modality`, one of `BACKGROUNDS`, says what stands outside. Raises InputError for another
    modality, GeometryError for a transform that is not 3D and where nothing of the moving image lies in the planning
    image, ImageReadError for an image that is not 3D and sound.
    """
    if modality not in BACKGROUNDS:
        raise InputError(f"modality: {modality!r} is unknown: use one of {', '.join(BACKGROUNDS)}")
    require_3d_finite(moving, "moving image")
    values = sitk.GetArrayFromImage(_resampled(sitk.Cast(moving, sitk.sitkFloat32), planning, planning_to_moving))
    outside = np.isnan(values)
    if outside.all():
        raise GeometryError(
            f"nothing of the moving image ({frames.describe_grid(moving)}) lies in the planning image "
            f"({frames.describe_grid(planning)}): the transform has to map planning points to moving points"
        )
    values[outside] = BACKGROUNDS[modality]
    return _like(values, planning)


def resample_mask(
    moving: sitk.Image, planning: sitk.Image, planning_to_moving: sitk.Transform | None = None, *, name: str = "mask"
) -> sitk.Image:
    """A mask on the planning image's grid, uint8: where the mask, linear between its voxels, is one half and more.

    As :func:`resample_image`, but that what lies outside is not inside. A mask on that grid comes back
    as it is. Raises GeometryError, beginning with `name`, also where none of it is left.
    """
    mask = as_mask(moving, name)
    if planning_to_moving is None and frames.same_grid(mask, planning):
        return mask
    values = sitk.GetArrayFromImage(_resampled(sitk.Cast(mask, sitk.sitkFloat32), planning, planning_to_moving))
    inside = values >= 0.5  # NaN, which is outside, is not
    if not inside.any():
        raise GeometryError(
            f"{name}: no voxel of it lies in the image ({frames.describe_grid(planning)}): is it of the same frame?"
        )
    return _like(inside.astype(np.uint8), planning)


def _resampled(moving: sitk.Image, planning: sitk.Image, transform: sitk.Transform | None) -> sitk.Image:
    """Linear; not a number outside of the moving image."""
    require_3d(transform)
    if planning.GetDimension() != 3:
        raise GeometryError(f"planning image: a 3D one is needed, this one is {planning.GetDimension()}D")
    mapping = sitk.Transform(3, sitk.sitkIdentity) if transform is None else transform
    return sitk.Resample(moving, planning, mapping, sitk.sitkLinear, float("nan"), sitk.sitkFloat32)


def _like(values: np.ndarray, planning: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(planning)
    return image
