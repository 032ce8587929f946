"""A trunk of simple shapes with ribs, for benchmarks that plan in it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .shapes import ellipsoid, grid, mask_of, voxel_centers

BODY, LIVER = ellipsoid((0, 0, 0), (120.0, 85.0, 140.0)), ellipsoid((20, 0, 0), (85.0, 65.0, 70.0))


def trunk() -> tuple[sitk.Image, sitk.Image]:
    """CT with two rows of ribs, and the liver."""
    image = grid((-130, -95, -80), (130, 95, 80), (2.5, 2.5, 2.5))
    centers = voxel_centers(image)
    hu = np.where(BODY(centers) < 0, 40.0, -1000.0)
    wall = np.abs(ellipsoid((0, 0, 0), (107.0, 76.0, 125.0))(centers)) < 0.05
    hu[wall & (np.abs(centers[:, 2] % 22.0 - 11.0) < 4.0)] = 600.0
    made = sitk.GetImageFromArray(hu.reshape(image.GetSize()[::-1]).astype(np.float32))
    made.CopyInformation(image)
    return made, mask_of(LIVER, image)
