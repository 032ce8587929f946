"""Where the edge of a segmented lesion is on average: as far out as the blurred image of it fits best.

Half of the contrast is reached at the surface only where the lesion is even and its surface flat. A lesion that
enhances as a ring has a duller middle than edge, which puts the half too far out, and blur moves the edge of a small
lesion inward. So the region found is grown and shrunk by parts of a millimeter, each time blurred as the image is,
and compared with the image by the contrast of its edge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Shifts that are tried, mm, and the standard deviation of those expected. User-set, as all below: chosen on digital
#: patients 0 to 4.
_SHIFTS_MM, _SHIFT_SD_MM = np.linspace(-1.5, 1.0, 11), 0.8
#: What lies that deep within the surface and that far beyond it counts, mm: farther out other things begin.
_WITHIN_MM, _BEYOND_MM = 4.0, 2.0
#: How much of the contrast is expected to be gained or lost over a mm inward (standard deviation).
_SLOPE_PER_MM = 0.3
#: Beyond that many standard deviations of the noise a misfit counts by its size, not its square (Huber).
_HUBER, _REWEIGHTINGS = 1.5, 4
#: Least number of voxels near the surface that tell where it is.
_LEAST_VOXELS = 100
#: A scanner's blur moves the half of the contrast inward on a curved surface; the digital patient's voxels, painted by
#: their distance to it, have it at the surface. That share of the image's own blur is taken as the former: at voxels of
#: 2 mm and 10 mm lesions the two differ by 10 % in volume, at 0.75 x 0.75 x 1.5 mm by 2 %.
_CURVED_SHARE = 0.25


def signed_distance_mm(odds: FloatArray, spacing_mm: float) -> FloatArray:
    """Distance to the surface of a region, (N, N, N), mm, below 0 inside; near it as the odds cross 0."""
    inside = odds > 0
    apart = (ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)) * spacing_mm
    apart -= 0.5 * spacing_mm * np.sign(apart)
    slope = np.sqrt(sum(step**2 for step in np.gradient(odds, spacing_mm)))
    reach = 1.6 * spacing_mm
    crossing = np.clip(-odds / np.maximum(slope, 1e-3), -reach, reach)
    return np.where(np.abs(apart) < reach, crossing, apart).astype(np.float32)


def edge_shift_mm(
    distance_mm: FloatArray,
    membership: FloatArray,
    usable: BoolArray,
    *,
    noise: float,
    filter_mm2: FloatArray,
    own_mm2: FloatArray,
    spacing_mm: float,
) -> float:
    """How far out of the surface of `distance_mm` (N, N, N; below 0 inside) the edge in the image lies, mm.

    `membership` (N, N, N) is about 0 outside and 1 inside, with noise of that standard deviation; only `usable` voxels
    count. `filter_mm2` and `own_mm2` are covariances (3, 3) of the blur by smoothing and by the image itself. 0 where
    too few voxels lie near the surface.
    """
    near = usable & (distance_mm > -_WITHIN_MM) & (distance_mm < _BEYOND_MM)
    if near.sum() < _LEAST_VOXELS:
        return 0.0
    ramp_mm = float(np.hypot(np.sqrt(12.0 * (1.0 - _CURVED_SHARE) * np.trace(own_mm2) / 3.0), spacing_mm))
    covariance = filter_mm2 + _CURVED_SHARE * own_mm2
    blurred = _blurring(distance_mm.shape, covariance, spacing_mm)
    # Noise is one measurement in a volume of (2 sqrt(pi) blur)^3.
    independent = spacing_mm**3 / (8.0 * np.pi**1.5 * float(np.trace(covariance) / 3.0) ** 1.5)
    costs = []
    for shift in _SHIFTS_MM:
        share = np.clip(0.5 - (distance_mm - shift) / ramp_mm, 0.0, 1.0)
        deep = share * np.maximum(shift - distance_mm, 0.0)
        columns = np.column_stack([np.ones(int(near.sum())), blurred(share)[near], blurred(deep)[near]])
        costs.append(_misfit(columns, membership[near], noise, independent) + 0.5 * (shift / _SHIFT_SD_MM) ** 2)
    return _lowest(np.array(costs))


def _blurring(
    shape: tuple[int, ...], covariance_mm2: FloatArray, spacing_mm: float
) -> Callable[[FloatArray], FloatArray]:
    """A Gaussian blur of that covariance (3, 3), by its spectrum; what is blurred is 0 near the grid's border."""
    waves = [2.0 * np.pi * fft.fftfreq(count, spacing_mm) for count in shape[:2]]
    waves.append(2.0 * np.pi * fft.rfftfreq(shape[2], spacing_mm))
    k = np.meshgrid(*waves, indexing="ij", sparse=True)
    exponent = sum(covariance_mm2[i, j] * k[i] * k[j] for i in range(3) for j in range(3))
    passed = np.exp(-0.5 * exponent).astype(np.float32)
    return lambda values: fft.irfftn(fft.rfftn(values.astype(np.float32)) * passed, s=shape)


def _misfit(columns: FloatArray, values: FloatArray, noise: float, independent: float) -> float:
    """Half the sum of squares (Huber's, in standard deviations) that outside, edge and slope leave of the values."""
    expected = np.zeros((3, 3))
    expected[2, 2] = (noise / _SLOPE_PER_MM) ** 2 / independent
    weight = np.ones(len(values))
    for _ in range(_REWEIGHTINGS):
        weighted = (columns * weight[:, None]).T
        found = np.linalg.solve(weighted @ columns + expected, weighted @ values)
        off = np.abs(values - columns @ found) / noise
        weight = 1.0 / np.maximum(off / _HUBER, 1.0)
    misfit = np.where(off < _HUBER, 0.5 * off**2, _HUBER * off - 0.5 * _HUBER**2).sum() * independent
    return float(misfit + 0.5 * (found[2] / _SLOPE_PER_MM) ** 2)


def _lowest(costs: FloatArray) -> float:
    """The shift of the least cost, between those tried by a parabola."""
    best = int(np.argmin(costs))
    if best in (0, len(costs) - 1):
        return float(_SHIFTS_MM[best])
    before, at, after = costs[best - 1 : best + 2]
    step = _SHIFTS_MM[1] - _SHIFTS_MM[0]
    return float(_SHIFTS_MM[best] + step * 0.5 * (before - after) / (before - 2.0 * at + after))
