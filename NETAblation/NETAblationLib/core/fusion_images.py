"""Two images in one: as a checkerboard, and their difference, voxel by voxel.

Both images lie on one grid (:func:`~.resampling.resample_image` brings the moving one there) and are shown with one
window, so that the results run from 0 (black) to 1 (white).
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from . import frames
from .errors import InputError

#: Squares of a checkerboard along each axis. User-set.
SQUARES = 8


def checkerboard(
    fixed: sitk.Image, moved: sitk.Image, window: tuple[float, float], *, squares: int = SQUARES
) -> sitk.Image:
    """The fixed and the moved image in turn, in `squares` boxes along each axis, 0 to 1, float32.

    Raises InputError for less than 2 squares or a window that does not rise, GeometryError for images on different
    grids.
    """
    if squares < 2:
        raise InputError(f"checkerboard: {squares} squares are less than 2")
    first, second = (_like(values, fixed) for values in _windowed(fixed, moved, window))
    pattern = [min(squares, size) for size in fixed.GetSize()]
    return sitk.CheckerBoard(first, second, pattern)


def difference_image(fixed: sitk.Image, moved: sitk.Image, window: tuple[float, float]) -> sitk.Image:
    """The moved image less the fixed one, in windows: -1 to 1, 0 where both are alike, float32.

    Raises InputError for a window that does not rise, GeometryError for images on different grids.
    """
    first, second = _windowed(fixed, moved, window)
    return _like(second - first, fixed)


def _windowed(fixed: sitk.Image, moved: sitk.Image, window: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    frames.require_same_grid(fixed, moved, "fixed image", "moved image")
    black, white = window
    if not (np.isfinite([black, white]).all() and white > black):
        raise InputError(f"window: from {black} to {white} does not rise")
    first, second = (
        np.clip((sitk.GetArrayViewFromImage(image).astype(np.float32) - black) / (white - black), 0, 1)
        for image in (fixed, moved)
    )
    return first, second


def _like(values: np.ndarray, reference: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.CopyInformation(reference)
    return image
