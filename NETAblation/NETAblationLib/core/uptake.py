"""Uptake of organs and lesions in a PET: the normal tissue of an organ that holds lesions, and SUVpeak."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from .errors import InputError

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: The sphere of SUVpeak: 1 ml (Wahl et al., J Nucl Med 2009;50 Suppl 1:122S, PERCIST 1.0), 6.2 mm in radius.
PEAK_RADIUS_MM = (3000.0 / (4.0 * np.pi)) ** (1.0 / 3.0)

#: Voxels that the sphere cuts are divided into parts of this size, mm, at most; its center is moved by
#: quarters of a voxel. Own figures: finer changes SUVpeak by less than 0.1 %.
_PART_MM, _STEPS = 0.5, (-0.5, -0.25, 0.0, 0.25, 0.5)
_OFFSETS = np.array(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij")).reshape(3, -1).T
_CENTERED = len(_OFFSETS) // 2

#: Rim of an organ, mm, left out for the spill over its border. No published source; user-set.
_RIM_MM = 6.0

#: Least voxels of an organ without its rim; with less, the whole organ counts. User-set.
_MIN_VOXELS = 50

#: The densest share of an organ's voxels, from which its normal tissue is found, and the SD beyond which
#: voxels are of something else. No published source; user-set.
_DENSEST_FRACTION, _CLIP_SD, _ROUNDS = 0.2, 2.5, 30


@dataclass(frozen=True)
class OrganUptake:
    """Mean and SD of the SUV of an organ's normal tissue, and the share of its voxels that are of it."""

    mean_suv: float
    sd_suv: float
    normal_fraction: float

    def __post_init__(self) -> None:
        """Refuse an organ without uptake; raises InputError."""
        if not (np.isfinite(self.mean_suv) and self.mean_suv > 0 and np.isfinite(self.sd_suv)):
            raise InputError(f"organ: a mean SUV of {self.mean_suv:g} is no uptake: check its mask and the PET")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"mean_suv": self.mean_suv, "sd_suv": self.sd_suv, "normal_fraction": self.normal_fraction}


def organ_uptake(values: FloatArray, mask: BoolArray, spacing_kji_mm: FloatArray) -> OrganUptake:
    """Mean and SD of the normal tissue in a mask (K, J, I) that may hold lesions, hot or cold.

    The middle of the densest fifth of the values starts it; then mean and SD of what lies within
    2.5 SD, corrected for what that cuts off a normal distribution, in turn until they stay. PERCIST takes a
    sphere of 3 cm in normal liver instead, which a reader has to place.
    """
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    values, mask = values[box].astype(np.float64), mask[box]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_kji_mm)[1:-1, 1:-1, 1:-1]
    inner = mask & (depth > _RIM_MM)
    found = np.sort(values[inner if inner.sum() >= _MIN_VOXELS else mask])
    count = max(int(_DENSEST_FRACTION * len(found)), 1)
    widths = found[count:] - found[:-count] if len(found) > count else np.zeros(1)
    start = int(np.argmin(widths))
    mean = float(found[start : start + count + 1].mean())
    # Of a normal distribution, the middle share s lies within sqrt(2) erfinv(s) SD.
    sd = float(widths[start]) / (2.0 * np.sqrt(2.0) * special.erfinv(_DENSEST_FRACTION))
    kept = found
    for _ in range(_ROUNDS):
        kept = found[np.abs(found - mean) <= _CLIP_SD * sd]
        if len(kept) < 2:
            break
        before, mean, sd = mean, float(kept.mean()), float(kept.std()) / _CLIPPED_SD
        if abs(mean - before) <= 1e-6 * sd:
            break
    return OrganUptake(mean, sd, max(len(kept), 1) / len(found))


def _clipped_sd(at: float) -> float:
    """SD of a standard normal distribution that is cut off at -at and at."""
    density = np.exp(-(at**2) / 2.0) / np.sqrt(2.0 * np.pi)
    return float(np.sqrt(1.0 - 2.0 * at * density / special.erf(at / np.sqrt(2.0))))


_CLIPPED_SD = _clipped_sd(_CLIP_SD)


def peak_uptake(
    values: FloatArray, voxels_kji: npt.NDArray[np.integer], spacing_kji_mm: FloatArray
) -> tuple[float, FloatArray]:
    """SUVpeak: the highest mean of a 1 ml sphere centered in one of the voxels (N, 3), and its center (3,), in voxels.

    Voxels cut by the sphere count with the share that is in it; what lies outside of the image does not count.
    The best voxel is found first, then the best place in it, in quarters of a voxel. Coarse voxels blur a peaked
    lesion: a blob of 6 mm SD reads 1 % low on 2 mm voxels, 4 % on 4 mm (benchmark `suv`).
    """
    spheres = _spheres(*spacing_kji_mm.tolist())
    reach = np.array(spheres.shape[1:]) // 2
    lower = np.maximum(voxels_kji.min(axis=0) - reach, 0)
    upper = np.minimum(voxels_kji.max(axis=0) + reach + 1, values.shape)
    part = values[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))].astype(np.float64)
    total = ndimage.correlate(part, spheres[_CENTERED], mode="constant")
    weight = ndimage.correlate(np.ones_like(part), spheres[_CENTERED], mode="constant")
    means = (total / weight)[tuple((voxels_kji - lower).T)]
    best = voxels_kji[int(np.argmax(means))]
    around = [np.arange(c - r, c + r + 1) for c, r in zip(best, reach, strict=True)]
    grid = np.ix_(*[np.clip(side, 0, n - 1) for side, n in zip(around, values.shape, strict=True)])
    within = [(side >= 0) & (side < n) for side, n in zip(around, values.shape, strict=True)]
    weights = spheres * (within[0][:, None, None] & within[1][:, None] & within[2])
    finer = (weights * values[grid]).sum(axis=(1, 2, 3)) / weights.sum(axis=(1, 2, 3))
    chosen = int(np.argmax(finer))
    return float(finer[chosen]), best + _OFFSETS[chosen]


@lru_cache(maxsize=4)
def _spheres(*spacing_kji_mm: float) -> npt.NDArray[np.float64]:
    """The share of each voxel about a middle one that is in the sphere, for each of `_OFFSETS` of its center."""
    spacing = np.array(spacing_kji_mm)
    reach = np.ceil(PEAK_RADIUS_MM / spacing + 1.0).astype(int)
    return np.array([_sphere_weights(offset, reach, spacing) for offset in _OFFSETS])


def _sphere_weights(
    offset: FloatArray, reach: npt.NDArray[np.integer], spacing_kji_mm: FloatArray
) -> npt.NDArray[np.float64]:
    """The share of each voxel, (2 reach + 1) along each axis, in the sphere about the middle one's center + offset."""
    parts = np.ceil(spacing_kji_mm / _PART_MM).astype(int)
    squares = []
    for axis in range(3):
        fine = (np.arange((2 * reach[axis] + 1) * parts[axis]) + 0.5) / parts[axis] - 0.5 - reach[axis] - offset[axis]
        squares.append((fine * spacing_kji_mm[axis]) ** 2)
    inside = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= PEAK_RADIUS_MM**2
    sides = 2 * reach + 1
    shape = [n for side, count in zip(sides, parts, strict=True) for n in (side, count)]
    return inside.reshape(shape).mean(axis=(1, 3, 5))
