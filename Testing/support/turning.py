"""Images in turned frames, and on turned voxels."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.body_frame import in_frame


def turned_frame(image: sitk.Image, turn: np.ndarray) -> sitk.Image:
    """The same voxels in a world turned by `turn` (3, 3), RAS, and shifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = (20.0, -35.0, 11.0)
    return in_frame(image, matrix)


def oblique_voxels(image: sitk.Image, turn: np.ndarray, fill: float = -1000.0, slice_mm: float = 2.0) -> sitk.Image:
    """The same world on voxels turned by `turn` (3, 3), RAS, that hold all of the image."""
    direction = frames.flip_lps_ras((turn @ np.diag([-1.0, -1.0, 1.0])).T).T
    ends = [(-0.5, n - 0.5) for n in image.GetSize()]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T.tolist()
    along = np.array([image.TransformContinuousIndexToPhysicalPoint(corner) for corner in corners]) @ direction
    spacing = np.array([2.0, 2.0, slice_mm])
    return sitk.Resample(
        image,
        np.ceil(np.ptp(along, axis=0) / spacing).astype(int).tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        (direction @ (along.min(axis=0) + spacing / 2)).tolist(),
        spacing.tolist(),
        direction.ravel().tolist(),
        fill,
        image.GetPixelID(),
    )
