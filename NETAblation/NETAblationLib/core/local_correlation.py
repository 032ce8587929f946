"""Local normalized correlation of two images on one grid, and its Gauss-Newton terms.

Local correlation compares structure, not gray values: other contrast phases and slow changes of
brightness leave it as it is (Avants et al., Med Image Anal 2008;12:26). Windows are Gaussian and
count usable voxels only, so that excluded tissue does not leak into its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.floating]

#: Share of a window that has to be usable. No published source; user-set.
_MIN_WINDOW_FRACTION = 0.15


@dataclass(frozen=True)
class LocalMatch:
    """Both images normalized in their windows, and their correlation there; arrays (K, J, I)."""

    fixed: FloatArray
    moving: FloatArray
    correlation: FloatArray
    weight: FloatArray

    def mean_correlation(self, region: npt.NDArray[np.bool_] | None = None) -> float:
        """Mean of the correlation over the usable voxels (of a region)."""
        weight = self.weight if region is None else self.weight * region
        total = float(weight.sum(dtype=np.float64))
        return float((weight * self.correlation).sum(dtype=np.float64)) / total if total > 0 else 0.0


def match(fixed: FloatArray, moving: FloatArray, weight: FloatArray, window_voxels: float, noise: float) -> LocalMatch:
    """Normalize two arrays by their local mean and deviation and correlate them.

    `window_voxels` is the window's standard deviation; `noise`, in units of the images, is added
    to the local deviation, so that noise alone does not count as structure.
    """

    def average(values: FloatArray) -> FloatArray:
        return ndimage.gaussian_filter(values, window_voxels, truncate=2.5, mode="constant")

    share = average(weight)
    enough = share > _MIN_WINDOW_FRACTION
    weight = weight * enough
    scale = np.where(enough, 1.0 / np.maximum(share, _MIN_WINDOW_FRACTION), 0.0).astype(np.float32)
    weighted_fixed, weighted_moving = weight * fixed, weight * moving
    fixed_mean, moving_mean = scale * average(weighted_fixed), scale * average(weighted_moving)
    floor = np.float32(noise**2)
    fixed_variance = np.maximum(scale * average(weighted_fixed * fixed) - fixed_mean**2, 0) + floor
    moving_variance = np.maximum(scale * average(weighted_moving * moving) - moving_mean**2, 0) + floor
    covariance = scale * average(weighted_fixed * moving) - fixed_mean * moving_mean
    fixed_scale, moving_scale = 1 / np.sqrt(fixed_variance), 1 / np.sqrt(moving_variance)
    return LocalMatch(
        fixed=(fixed - fixed_mean) * fixed_scale,
        moving=(moving - moving_mean) * moving_scale,
        correlation=np.clip(covariance * fixed_scale * moving_scale, -1, 1),
        weight=weight,
    )


def gauss_newton_terms(found: LocalMatch, spacing_mm: float) -> tuple[FloatArray, FloatArray]:
    """What a Gauss-Newton step on the squared local correlation needs.

    The residual is fixed - c moving, with the local correlation c held: where the two do not
    correspond (c near 0) nothing pulls. The slope is the mean of both images' (as in the
    efficient second-order minimization of Benhimane and Malis, IROS 2004). Returns the tensor
    (6, K, J, I) of products RR, AA, SS, RA, RS, AS, and the force (3, K, J, I), RAS.
    """
    c = np.maximum(found.correlation, 0)
    moving_slopes, fixed_slopes = (np.gradient(image, spacing_mm) for image in (found.moving, found.fixed))
    s, a, r = (0.5 * (c * moving + fixed) for moving, fixed in zip(moving_slopes, fixed_slopes, strict=True))
    weight = found.weight * c
    residual = weight * (found.fixed - c * found.moving)
    tensor = weight * np.stack([r * r, a * a, s * s, r * a, r * s, a * s])
    return tensor, residual * np.stack([r, a, s])
