"""A liver that slides along the ribs and the abdominal wall: is it so, and what to do about it.

One smooth deformation cannot slide. Where the liver moves on its own, what lies beyond its capsule must not
hold it back; where it moves together with its surroundings, they help. The images tell: registered alone,
both sides of a capsule that slides go different ways.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .deformable import Deformation
from .frames import Matrix
from .fusion_inputs import Prepared, sample_mask
from .working_grids import mask_of_points

#: Livers that overlap less after the rigid part are not trusted to tell what lies beyond the capsule. User-set.
_MIN_RIGID_DICE = 0.8
#: Gap at the capsule in mm from which the liver slides, and how many times it exceeds then what noise opens; user-set.
#: With sliding the gap was 1.1 mm and more (digital patients and three real CTs with a known motion); without, 0.5 to
#: 0.85 mm, and more only where the images agree little.
_LEAST_GAP_MM, _LEAST_GAP_TO_NOISE = 0.95, 2.1
#: Voxel edge of a liver that is known from the other image only, in mm.
_CARRIED_SPACING_MM = 3.0
#: Beyond the capsule contrast is cut at this and turned down to this share, around a level this far below the
#: liver (HU or scaled), with the mask's edge blurred by so much, and by half a voxel at least: on slices of 4 mm the
#: stairs of a sharper edge took the liver 0.4 mm along with them. User-set.
_OUTER_LIMIT, _OUTER_CONTRAST, _OUTER_STEP = 100.0, 0.3, 100.0
_CAPSULE_BLUR_MM, _CAPSULE_BLUR_VOXELS = 1.0, 0.5


def capsules_agree(images: Prepared, moving_liver: sitk.Image, rigid: Matrix) -> bool:
    """Whether the moving liver lies over the core of `images` well enough, by the rigid part (4, 4)."""
    points = images.core_grid.points()
    carried = sample_mask(moving_liver, frames.apply_matrix(rigid, points)).reshape(images.core.shape) > 0.5
    voxel = images.core_grid.spacing_mm**3
    volume = images.core.sum() * voxel
    inside = int(sitk.GetArrayViewFromImage(moving_liver).sum()) * np.prod(moving_liver.GetSpacing())
    return bool(2 * (carried & images.core).sum() * voxel >= _MIN_RIGID_DICE * (inside + volume))


def carried_core(images: Prepared, deformation: Deformation) -> sitk.Image:
    """The core of `images` (fixed frame) as a mask (uint8) of the moving frame, on a grid of its own."""
    grid = images.core_grid
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid)[:, images.core].T
    moved = deformation.map_points(grid.points(images.core), displacement.astype(np.float64))
    onto, mask = mask_of_points(moved, _CARRIED_SPACING_MM)
    return onto.image(mask.astype(np.uint8))


def slides(gap_mm: float, correlation: float) -> bool:
    """Whether a liver slides along its surroundings, by the gap at its capsule and the local correlation within it.

    The correlation is above 0. What noise opens is taken to go with the ratio of what differs to what agrees, a mm
    where they are equal.
    """
    noise_mm = np.sqrt((1 - correlation) / correlation)
    return bool(gap_mm > max(_LEAST_GAP_MM, _LEAST_GAP_TO_NOISE * noise_mm))


def without_surroundings(images: Prepared, fixed_liver: sitk.Image, moving_liver: sitk.Image) -> Prepared:
    """The same images with what lies beyond the capsules turned down."""
    return replace(
        images,
        fixed=_faded_around(images.fixed, fixed_liver),
        moving=_faded_around(images.moving, moving_liver),
    )


def _faded_around(image: sitk.Image, liver: sitk.Image) -> sitk.Image:
    """A gray-scaled image (float32) with less contrast outside of its liver.

    The capsule itself is kept as a step to darker surroundings.
    """
    mask = sitk.Resample(liver, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    inside = sitk.GetArrayFromImage(mask) > 0
    values = sitk.GetArrayFromImage(image)
    if not inside.any():
        return image
    outer = np.float32(np.median(values[inside])) - np.float32(_OUTER_STEP)
    sigma = np.maximum(_CAPSULE_BLUR_MM / np.array(image.GetSpacing())[::-1], _CAPSULE_BLUR_VOXELS)
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    limit = np.float32(_OUTER_LIMIT)
    faded = outer + np.float32(_OUTER_CONTRAST) * np.clip(values - outer, -limit, limit)
    result = sitk.GetImageFromArray(share * values + (1 - share) * faded)
    result.CopyInformation(image)
    return result
