"""Exactness and time of the distance to the surface of united zones, against dense points on it."""

from __future__ import annotations

import time

import numpy as np
from scipy.spatial import cKDTree

from NETAblationLib.core.united_zones import UnitedZones

_SAMPLES = 400_000
_POINTS = 10_000


def _random_zones(count: int, spread_mm: float, seed: int) -> UnitedZones:
    """Zones of the size of a device's, near each other, in all directions."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(count, 3))
    return UnitedZones(
        rng.uniform(-spread_mm, spread_mm, (count, 3)),
        axes / np.linalg.norm(axes, axis=1)[:, None],
        rng.uniform(17.0, 25.0, count),
        rng.uniform(12.0, 19.0, count),
    )


def _dense_points(zones: UnitedZones) -> np.ndarray:
    """Points on the common surface, evenly spread in angle on each zone."""
    number = np.arange(_SAMPLES)
    height = 1 - (2 * number + 1) / _SAMPLES
    ring, turn = np.sqrt(1 - height**2), np.pi * (1 + 5**0.5) * number
    found = []
    for zone in range(len(zones)):
        u, v = np.linalg.svd(zones.axes[zone][None])[2][1:]
        across = np.cos(turn)[:, None] * u + np.sin(turn)[:, None] * v
        along = (zones.along_mm[zone] * height)[:, None] * zones.axes[zone]
        points = zones.centers[zone] + along + (zones.across_mm[zone] * ring)[:, None] * across
        found.append(points[~zones.is_covered(points, zone)])
    return np.vstack(found)


def main() -> None:
    """Print the table."""
    print(
        f"{'zones':>5s} {'points':>6s} {'inside':>6s} {'cpu s':>6s} {'wall s':>6s} {'farther than samples':>20s} "
        f"{'nearer':>7s} {'short of it: deepest zone alone':>32s}"
    )
    for count, spread_mm in ((2, 12.0), (3, 12.0), (5, 16.0), (8, 20.0), (20, 30.0)):
        zones = _random_zones(count, spread_mm, seed=count)
        points = np.random.default_rng(1).uniform(-spread_mm - 10, spread_mm + 10, (_POINTS, 3))
        wall, cpu = time.perf_counter(), time.process_time()
        distance = zones.distance_mm(points)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        inside = distance < 0
        sampled = cKDTree(_dense_points(zones)).query(points[inside])[0]
        excess = -distance[inside] - sampled
        alone = np.max([-zones.foot(zone, points[inside])[1] for zone in range(count)], axis=0)
        print(
            f"{count:5d} {_POINTS:6d} {inside.sum():6d} {cpu:6.2f} {wall:6.2f} {max(excess.max(), 0.0):17.4f} mm "
            f"{-excess.min():4.2f} mm {(sampled - alone).max():29.1f} mm",
            flush=True,
        )


if __name__ == "__main__":
    main()
