"""How near to each other the shafts of probes run: the closest approach of line segments.

Two shafts that touch cannot both be placed as planned, and each would push the other off its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from .probes import Probe

FloatArray = npt.NDArray[np.float64]

#: Outer diameters in mm by gauge, for telling whether two shafts touch: Birmingham (Stubs) wire gauge, in inches.
_DIAMETER_MM = {
    gauge: 25.4 * inches
    for gauge, inches in {
        11: 0.120,
        12: 0.109,
        13: 0.095,
        14: 0.083,
        15: 0.072,
        16: 0.065,
        17: 0.058,
        18: 0.049,
    }.items()
}
#: Gauge of a shaft whose device does not say: a thick one, to be on the safe side. User-set.
DEFAULT_GAUGE = 13.0
#: Sine of the angle below which segments count as parallel: what of them lies side by side is then equally near.
_PARALLEL_SINE = 1e-3


def shaft_diameter_mm(gauge: float | None) -> float:
    """Outer diameter of a shaft, between the gauges of the table linear, beyond it that of its end."""
    gauges = sorted(_DIAMETER_MM)
    return float(np.interp(DEFAULT_GAUGE if gauge is None else gauge, gauges, [_DIAMETER_MM[g] for g in gauges]))


def closest_places(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Where pairs of segments come nearest to each other: (P, 2) fractions (0..1) along the first and the second.

    Segments are (P, 2, 3), from their first to their second end; one may be a point. Of parallel ones it is the middle
    of what lies side by side. Method: Ericson, Real-Time Collision Detection, 2005, section 5.1.9.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    along, beside, offset = one[:, 1] - one[:, 0], other[:, 1] - other[:, 0], one[:, 0] - other[:, 0]
    square, other_square = (np.maximum(np.einsum("px,px->p", v, v), 1e-12) for v in (along, beside))
    mixed = np.einsum("px,px->p", along, beside)
    by_one, by_other = np.einsum("px,px->p", along, offset), np.einsum("px,px->p", beside, offset)
    determinant = square * other_square - mixed**2
    is_parallel = determinant <= _PARALLEL_SINE**2 * square * other_square
    free = (mixed * by_other - by_one * other_square) / np.where(is_parallel, 1.0, determinant)
    ends = np.sort(np.stack([-by_one, mixed - by_one]) / square, axis=0)  # the other's ends along this one
    middle = 0.5 * (np.clip(ends[0], 0.0, 1.0) + np.clip(ends[1], 0.0, 1.0))
    place = np.clip(np.where(is_parallel, middle, free), 0.0, 1.0)
    other_place = np.clip((mixed * place + by_other) / other_square, 0.0, 1.0)
    place = np.clip((mixed * other_place - by_one) / square, 0.0, 1.0)
    return np.stack([place, other_place], axis=1)


def closest_distances_mm(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """The least distances (P,) of pairs of segments, each (P, 2, 3)."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    places = closest_places(one, other)
    here, there = (s[:, 0] + places[:, n, None] * (s[:, 1] - s[:, 0]) for n, s in enumerate((one, other)))
    return np.asarray(np.linalg.norm(here - there, axis=1))


def touching_pairs(probes: Sequence[Probe], thickness_mm: float) -> list[tuple[int, int]]:
    """The pairs (by their numbers from 0) whose shafts run nearer to each other than `thickness_mm`, axis to axis."""
    pairs = list(combinations(range(len(probes)), 2))
    if not pairs:
        return []
    ends = np.array([[probe.entry_ras_mm, probe.tip_ras_mm] for probe in probes])
    one, other = np.array(pairs).T
    distances = closest_distances_mm(ends[one], ends[other])
    return [pair for pair, distance in zip(pairs, distances, strict=True) if distance < thickness_mm]
