"""Bowel, pancreas and the vessels outside the liver: everything that is painted as tubes."""

from __future__ import annotations

import numpy as np

from .anatomy import Torso
from .layers import Array, Tubes, tubes_along
from .tissues import HU, Label
from .vessels import resampled


def bowel_tubes(torso: Torso, rng: np.random.Generator) -> list[Tubes]:
    """Colon with haustra, gas and stool, loops of small bowel, the pancreas."""
    tubes: list[Tubes] = []
    transverse = np.array(
        [
            [104, -22, -150],
            [104, -8, -122],
            [96, 14, -104],
            [72, 46, -92],
            [40, 60, -98],
            [8, 63, -104],
            [-28, 60, -96],
            [-62, 50, -78],
            [-90, 24, -48],
            [-104, 0, -30],
            [-107, -22, -44],
            [-106, -30, -90],
            [-104, -30, -150],
        ],
        float,
    )
    path = _smoothed(transverse + rng.normal(0, 3.0, transverse.shape), 6)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    middle = 0.5 * (length[:-1] + length[1:])
    radius = 16.0 + 2.4 * np.cos(middle * 2 * np.pi / 27.0) - 3.0 * (middle / length[-1])
    tubes.append(tubes_along(path, radius, Label.COLON, HU["bowel_wall"], 4.0))
    tubes.append(tubes_along(path, radius - 2.2, Label.COLON, HU["stool"], 70.0))
    up = np.array([0.0, 1.0, 0.0])
    filled = np.sin(middle * 0.035 + torso.phase[0]) + 0.45 * np.sin(middle * 0.11)
    for index in np.flatnonzero(filled > -0.1):
        gas_radius = (radius[index] - 2.6) * (0.55 + 0.25 * min(filled[index], 1.0))
        shift = up * (radius[index] - 2.8 - gas_radius)
        tubes.append(
            Tubes(
                path[index : index + 1] + shift,
                path[index + 1 : index + 2] + shift,
                np.array([gas_radius]),
                Label.COLON,
                HU["gas"],
            )
        )
    for _ in range(16):
        start = np.array([rng.uniform(-70, 62), rng.uniform(-8, 40), rng.uniform(-165, -82)])
        if start[0] > 45.0 and start[2] > -105.0:
            continue
        turns = start + np.cumsum(rng.normal(0, 15, (5, 3)) * np.array([1.0, 0.5, 0.8]), axis=0)
        turns[:, 1] = np.clip(turns[:, 1], -15.0, 48.0)
        turns[:, 2] = np.minimum(turns[:, 2], -78.0)
        loop = _smoothed(np.vstack([start, turns]), 4)
        size = float(rng.uniform(9.0, 12.0))
        tubes.append(tubes_along(loop, size, Label.BOWEL, HU["bowel_wall"], 5.0))
        tubes.append(tubes_along(loop, size - 2.6, Label.BOWEL, HU["bowel_content"], 16.0))
    duodenum = _smoothed(
        np.array([[22, 38, -34], [40, 22, -40], [46, 10, -58], [44, 2, -80], [26, -2, -92], [-6, -4, -92]], float), 4
    )
    tubes.append(tubes_along(duodenum, 12.0, Label.BOWEL, HU["bowel_wall"], 5.0))
    tubes.append(tubes_along(duodenum, 9.2, Label.BOWEL, HU["bowel_content"], 14.0))
    pancreas = _smoothed(
        np.array([[30, 8, -66], [28, 12, -50], [14, 16, -38], [-12, 14, -30], [-38, 4, -22], [-66, -12, -8]], float), 5
    )
    pancreas_radius = np.interp(np.arange(len(pancreas) - 1), [0, 5, 12, len(pancreas) - 2], [13.0, 12.5, 9.5, 8.0])
    pancreas_radius = pancreas_radius + 1.1 * np.sin(np.arange(len(pancreas) - 1) * 2.1)
    tubes.append(tubes_along(pancreas, pancreas_radius, Label.PANCREAS, HU["pancreas"], 11.0))
    return tubes


def small_vessels(rng: np.random.Generator) -> list[Tubes]:
    """Arteries and veins outside the liver, and the vessels of the lungs."""

    def line(points: list[list[float]], radius: float, hu: str, label: Label = Label.OTHER_VESSEL) -> Tubes:
        return tubes_along(_smoothed(np.array(points, float), 4), np.array(radius), label, HU[hu])

    tubes = [
        line([[-10, -25, -8], [-10, -8, -12], [-10, 0, -24], [-8, 2, -60], [-6, 4, -150]], 3.4, "artery"),
        line([[-10, -25, 2], [-8, -8, 6], [4, -2, 0], [18, 4, -12], [24, 9, -8]], 2.6, "artery"),
        line([[-8, -8, 6], [-30, -8, 4], [-52, -20, 8], [-76, -26, 14]], 2.6, "artery"),
        line([[-10, -25, -36], [12, -34, -46], [38, -36, -56]], 2.8, "artery"),
        line([[-10, -25, -34], [-28, -34, -40], [-40, -36, -44]], 2.8, "artery"),
        line([[25, -22, -44], [38, -28, -52], [42, -32, -56]], 4.6, "vena_cava"),
        line([[25, -18, -38], [0, -10, -36], [-22, -24, -38], [-40, -32, -42]], 4.4, "vena_cava"),
        line(
            [[2, -2, -48], [-14, 2, -40], [-40, -6, -28], [-66, -18, -8], [-80, -24, 8]],
            4.6,
            "portal_vein",
            Label.PORTAL_OUTSIDE,
        ),
        line([[2, -2, -48], [4, 4, -70], [4, 6, -100], [2, 8, -150]], 5.2, "portal_vein", Label.PORTAL_OUTSIDE),
    ]
    for side in (1.0, -1.0):
        for _ in range(70):
            start = np.array([side * rng.uniform(28, 60), rng.uniform(-55, 25), rng.uniform(60, 140)])
            toward = np.array([side * rng.uniform(0.2, 1.0), rng.uniform(-1, 0.8), rng.uniform(-1.2, 0.4)])
            end = start + toward / np.linalg.norm(toward) * rng.uniform(20, 50)
            path = resampled(np.array([start, 0.5 * (start + end) + rng.normal(0, 4, 3), end]), 8.0)
            radii = np.linspace(rng.uniform(1.4, 2.6), 0.6, len(path) - 1)
            tubes.append(tubes_along(path, radii, None, HU["lung_vessel"]))
    return tubes


def _smoothed(points: Array, rounds: int) -> Array:
    """A polyline through about the given corners, rounded by Chaikin's corner cutting."""
    for _ in range(min(rounds, 3)):
        first, second = points[:-1], points[1:]
        cut = np.empty((2 * len(first), 3))
        cut[0::2] = 0.75 * first + 0.25 * second
        cut[1::2] = 0.25 * first + 0.75 * second
        points = np.vstack([points[:1], cut, points[-1:]])
    return points
