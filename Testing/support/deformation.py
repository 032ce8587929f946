"""Known deformations for tests of registration: a rigid shift and a smooth breathing, both ways exact.

A :class:`KnownDeformation` maps fixed points to moving points, as ITK resamples. `deform` makes
the moving image that belongs to a fixed one, so that the truth is known at every point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core import frames

from .shapes import rotation


@dataclass(frozen=True)
class KnownDeformation:
    """x -> R (x + u(x) - pivot) + pivot + translation, with u a sum of Gaussians; RAS mm.

    `amplitudes_mm` (B, 3), `centers_mm` (B, 3), `widths_mm` (B,) make up u, which has to be less
    steep than 1 for the map to be invertible.
    """

    rotation: np.ndarray
    translation_mm: np.ndarray
    pivot_mm: np.ndarray
    centers_mm: np.ndarray
    widths_mm: np.ndarray
    amplitudes_mm: np.ndarray

    def smooth_part(self, points_ras_mm: np.ndarray) -> np.ndarray:
        """u at points (N, 3)."""
        u = np.zeros_like(points_ras_mm)
        for center, width, amplitude in zip(self.centers_mm, self.widths_mm, self.amplitudes_mm, strict=True):
            squared = ((points_ras_mm - center) ** 2).sum(axis=1)
            u += np.exp(-0.5 * squared / width**2)[:, None] * amplitude
        return u

    def fixed_to_moving(self, points_ras_mm: np.ndarray) -> np.ndarray:
        """Where fixed points (N, 3) lie in the moving image."""
        points = np.asarray(points_ras_mm, float)
        moved = points + self.smooth_part(points) - self.pivot_mm
        return moved @ self.rotation.T + self.pivot_mm + self.translation_mm

    def moving_to_fixed(self, points_ras_mm: np.ndarray) -> np.ndarray:
        """The inverse, by fixed-point iteration to below 1e-6 mm."""
        points = np.asarray(points_ras_mm, float)
        target = (points - self.pivot_mm - self.translation_mm) @ self.rotation + self.pivot_mm
        found = target - self.smooth_part(target)
        for _ in range(200):
            step = target - self.smooth_part(found) - found
            found = found + step
            if np.abs(step).max() < 1e-7:
                return found
        raise AssertionError("the deformation is too steep to be inverted")

    def deform(
        self,
        image: sitk.Image,
        *,
        onto: sitk.Image | None = None,
        noise: float = 0.0,
        seed: int = 0,
        outside: float = 0.0,
    ) -> sitk.Image:
        """The moving image: `image` moved onto the grid of `onto` (its own grid when None).

        Masks (uint8) are carried by nearest neighbor and stay masks; images get white noise of
        the given standard deviation.
        """
        grid = image if onto is None else onto
        is_mask = image.GetPixelID() == sitk.sitkUInt8
        interpolator = sitk.sitkNearestNeighbor if is_mask else sitk.sitkLinear
        field = self._field(grid, self.moving_to_fixed)
        moved = sitk.Resample(image, grid, field, interpolator, float(outside))
        if is_mask or noise == 0.0:
            return moved
        array = sitk.GetArrayFromImage(moved).astype(np.float32)
        array += np.random.default_rng(seed).normal(0.0, noise, array.shape).astype(np.float32)
        noisy = sitk.GetImageFromArray(array)
        noisy.CopyInformation(moved)
        return sitk.Cast(noisy, moved.GetPixelID())

    def fixed_to_moving_transform(self, grid: sitk.Image) -> sitk.Transform:
        """The map as a displacement field over the box of `grid`; zero displacement outside."""
        return self._field(grid, self.fixed_to_moving)

    def moving_to_fixed_transform(self, grid: sitk.Image) -> sitk.Transform:
        """The inverse map as a displacement field over the box of `grid`."""
        return self._field(grid, self.moving_to_fixed)

    @staticmethod
    def _field(grid: sitk.Image, mapping, spacing_mm: float = 4.0) -> sitk.Transform:
        lower, upper = (frames.flip_lps_ras(corner) for corner in frames.bounding_box_ras(grid))
        lower, upper = np.minimum(lower, upper) - 2 * spacing_mm, np.maximum(lower, upper) + 2 * spacing_mm
        axes = [np.arange(a, b + spacing_mm, spacing_mm) for a, b in zip(lower, upper, strict=True)]
        z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
        points_lps = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
        displacement = frames.flip_lps_ras(mapping(frames.flip_lps_ras(points_lps))) - points_lps
        image = sitk.GetImageFromArray(displacement.reshape(*x.shape, 3), isVector=True)
        image.SetOrigin([float(axis[0]) for axis in axes])
        image.SetSpacing([spacing_mm] * 3)
        return sitk.DisplacementFieldTransform(image)


def breathing(
    center_ras_mm,
    *,
    peak_mm: float = 10.0,
    reach_mm: float = 60.0,
    shift_mm=(4.0, -6.0, 7.0),
    degrees: float = 3.0,
    seed: int = 0,
) -> KnownDeformation:
    """A rigid shift with a small turn, and a smooth, mostly cranio-caudal motion around a center.

    The largest displacement of the smooth part is `peak_mm`; `reach_mm` is the standard
    deviation of its main bump.
    """
    rng = np.random.default_rng(seed)
    center = np.asarray(center_ras_mm, float)
    centers = np.vstack(
        [center + rng.normal(0, 0.15 * reach_mm, 3), center + rng.uniform(-0.8, 0.8, (3, 3)) * reach_mm]
    )
    widths = np.array([1.0, 0.75, 0.85, 0.95]) * reach_mm
    amplitudes = np.vstack([[0.1, 0.35, -1.0], rng.normal(0, 0.25, (3, 3))])
    axis = rng.normal(size=3) + np.array([0.0, 0.0, 1.0])
    rigid = (rotation(tuple(axis / np.linalg.norm(axis)), degrees), np.asarray(shift_mm, float), center)
    unscaled = KnownDeformation(*rigid, centers, widths, amplitudes)
    around = center + rng.uniform(-1, 1, (4000, 3)) * reach_mm
    peak = np.linalg.norm(unscaled.smooth_part(around), axis=1).max()
    return KnownDeformation(*rigid, centers, widths, amplitudes * (peak_mm / peak))
