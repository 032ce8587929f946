"""What a lesion and its surroundings look like: robust values inside and outside, and their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import NothingFoundError

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Median absolute deviation to standard deviation, for a normal distribution.
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class IntensityModel:
    """Typical value inside and outside, and the spread (standard deviation) of each, in image units."""

    inside: float
    outside: float
    inside_spread: float
    outside_spread: float

    @property
    def contrast(self) -> float:
        """Inside minus outside."""
        return self.inside - self.outside

    @property
    def contrast_to_noise(self) -> float:
        """Size of the contrast over the spread outside."""
        return abs(self.contrast) / self.outside_spread

    def membership(self, values: FloatArray) -> FloatArray:
        """0 where a value is that of the outside, 1 where it is that of the inside, linear."""
        return (values - self.outside) / np.float32(self.contrast)

    @property
    def beyond(self) -> float:
        """The membership above which a value belongs to something else: fat, lung, gas or a vessel."""
        return 1.0 + max(0.9, 3.0 * self.inside_spread / abs(self.contrast))

    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that still tell something: others are clipped to them."""
        ends = (self.outside - 2.0 * self.contrast, self.inside + (self.beyond + 1.0) * self.contrast)
        return min(ends), max(ends)


def fit(values: FloatArray, core: BoolArray, surroundings: BoolArray) -> IntensityModel:
    """The model from voxels that are surely inside and from the surroundings.

    Inside counts the median; outside, where vessels and other organs stand beside the liver,
    the mode (mean-shift) and the spread about it. Raises NothingFoundError where either is
    empty or both are of one value.
    """
    inside, outside = values[core], values[surroundings]
    if len(inside) < 3 or len(outside) < 20:
        raise NothingFoundError(
            "no lesion found: too few voxels in or around the line to tell it from its surroundings"
        )
    middle = float(np.median(inside))
    mode, spread = mode_and_spread(outside)
    if middle == mode:
        raise NothingFoundError("no lesion found: the image has one and the same value inside and outside of the line")
    within = float(np.median(np.abs(inside - middle))) * _MAD_TO_SD
    floor = 1e-3 * abs(middle - mode)
    return IntensityModel(middle, mode, max(within, spread * 0.5, floor), max(spread, floor))


def mode_and_spread(values: FloatArray) -> tuple[float, float]:
    """The densest value, found by narrowing to the shortest interval with half of the values.

    (Half-sample mode, Bickel and Fruehwirth, Comput Stat Data Anal 2006, stopped at 5 % of the
    values and then centered.) The spread is that of the values about the mode.
    """
    ordered = np.sort(values.astype(np.float64))
    part = ordered
    while len(part) > max(20, len(ordered) // 20):
        half = (len(part) + 1) // 2
        widths = part[half - 1 :] - part[: len(part) - half + 1]
        start = int(np.argmin(widths))
        part = part[start : start + half]
    mode = float(np.median(part))
    width = float(np.median(np.abs(ordered - mode))) * _MAD_TO_SD
    for _ in range(4):
        near = ordered[np.abs(ordered - mode) <= 2.0 * width]
        if len(near) < 20:
            break
        mode = float(np.median(near))
        # Of a normal distribution cut at 2 sd, the sd is 0.88 of the whole one's.
        width = float(np.std(near)) / 0.88 if np.std(near) > 0 else width
        width = min(width, float(np.median(np.abs(ordered - mode))) * _MAD_TO_SD)
    return mode, width
