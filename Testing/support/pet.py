"""Activity whose values are known by formula: blurred spheres and Gaussian blobs on any grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from scipy import special

from .shapes import voxel_centers

Activity = Callable[[np.ndarray], np.ndarray]
"""Takes RAS points (N, 3) and returns an SUV each."""


def image_of(activity: Activity, reference: sitk.Image) -> sitk.Image:
    """The activity at the voxel centers of `reference`, float32."""
    values = activity(voxel_centers(reference)).reshape(reference.GetSize()[::-1])
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.CopyInformation(reference)
    return image


def blurred_profile(radius_mm: float, sigma_mm: float) -> Callable[[np.ndarray], np.ndarray]:
    """What an even sphere of 1 becomes at a distance from its center, blurred by a Gaussian in space."""

    def profile(r: np.ndarray) -> np.ndarray:
        r = np.maximum(r, 1e-6)
        a, b = (radius_mm - r) / (np.sqrt(2) * sigma_mm), (radius_mm + r) / (np.sqrt(2) * sigma_mm)
        tails = sigma_mm / (r * np.sqrt(2 * np.pi)) * (np.exp(-(a**2)) - np.exp(-(b**2)))
        return 0.5 * (special.erf(a) + special.erf(b)) - tails

    return profile


def blurred_sphere(center_ras_mm, radius_mm: float, suv: float, sigma_mm: float) -> Activity:
    """A sphere of an SUV above its surroundings, blurred."""
    center, profile = np.asarray(center_ras_mm, float), blurred_profile(radius_mm, sigma_mm)
    return lambda points: suv * profile(np.linalg.norm(points - center, axis=1))


def blob(center_ras_mm, suv: float, sigma_mm: float) -> Activity:
    """A Gaussian blob."""
    center = np.asarray(center_ras_mm, float)
    return lambda points: suv * np.exp(-((points - center) ** 2).sum(axis=1) / (2 * sigma_mm**2))


def total(background: float, *activities: Activity) -> Activity:
    """A background and all of the activities."""
    return lambda points: sum((activity(points) for activity in activities), np.full(len(points), float(background)))
