"""The torso of the digital patient as analytic levels: below zero inside, about mm near zero.

All functions take broadcast coordinates R, A, S in mm (an open grid, or three 1D arrays of
points) and keep their float type. The origin lies in the middle of the body, S = 0 near the
hilum of the liver. Shapes and sizes follow ordinary adult anatomy; they are drawn by the
seed within a few percent, no published source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Field = Any
"""A float array, float32 on grids and float64 for points."""

#: Craniocaudal distance of the vertebrae, and the S of the twelfth thoracic one, mm.
VERTEBRA_STEP_MM, T12_S_MM = 29.0, -2.0


def smooth_max(first: Field, second: Field, width_mm: float) -> Field:
    """Maximum with the edge rounded over `width_mm` (polynomial, continuous slope)."""
    high = np.maximum(first, second)
    overlap = np.maximum(width_mm - np.abs(first - second), 0)
    return high + overlap * overlap * (0.25 / width_mm)


def smooth_min(first: Field, second: Field, width_mm: float) -> Field:
    """Minimum with the notch filled over `width_mm`."""
    return -smooth_max(-first, -second, width_mm)


def logistic(value: Field) -> Field:
    """1 / (1 + exp(-value)), safe from overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * value))


def squircle(x: Field, y: Field, half_x: float, half_y: float) -> Field:
    """About the distance in mm to a rounded rectangle (between ellipse and box)."""
    u, v = (x * (1.0 / half_x)) ** 2, (y * (1.0 / half_y)) ** 2
    radius = np.sqrt(np.sqrt(u * u + v * v + 1.15 * (u * v)))
    reach = np.sqrt(x * x + y * y) / np.maximum(radius, 0.25)
    return (radius - 1.0) * reach


def ellipse(x: Field, y: Field, half_x: float, half_y: float) -> Field:
    """About the distance in mm to an ellipse about the origin."""
    radius = np.sqrt((x * (1.0 / half_x)) ** 2 + (y * (1.0 / half_y)) ** 2)
    return (radius - 1.0) * (0.5 * (half_x + half_y))


def ball(x: Field, y: Field, z: Field, half: tuple[float, float, float]) -> Field:
    """About the distance in mm to an axis-parallel ellipsoid about the origin."""
    radius = np.sqrt((x * (1.0 / half[0])) ** 2 + (y * (1.0 / half[1])) ** 2 + (z * (1.0 / half[2])) ** 2)
    return (radius - 1.0) * (sum(half) / 3.0)


@dataclass(frozen=True)
class Torso:
    """The drawn parameters of the torso; every number is a plain float in mm."""

    width: float
    depth: float
    fat: float
    dome_right: tuple[float, float, float]
    dome_height: float
    liver_slope: float
    liver_drop: float
    liver_left: float
    kidney_shift: float
    stomach_fill: float
    phase: tuple[float, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Torso:
        """Draw a torso."""

        def around(value: float, spread: float) -> float:
            return float(value + spread * rng.uniform(-1, 1))

        return cls(
            width=around(1.0, 0.025),
            depth=around(1.0, 0.03),
            fat=around(13.0, 4.0),
            dome_right=(around(60, 2), around(3, 3), around(-6, 3)),
            dome_height=around(82, 4),
            liver_slope=around(0.70, 0.05),
            liver_drop=around(-16, 4),
            liver_left=around(12, 5),
            kidney_shift=around(0, 5),
            stomach_fill=around(8, 10),
            phase=tuple(float(v) for v in rng.uniform(0, 2 * np.pi, 8)),
        )

    def _taper(self, z: Field) -> Field:
        """How wide the trunk is at a height: a little narrower toward the shoulders and waist."""
        high = np.maximum(z - 10.0, 0)
        low = np.minimum(z + 60.0, 0)
        return 1.0 - 4.5e-6 * high * high - 5e-6 * low * low

    def _inside_trunk(self, x: Field, y: Field, z: Field) -> tuple[Field, Field]:
        scale = 1.0 / self._taper(z)
        return x * scale * (1.0 / self.width), y * (1.0 / self.depth)

    def skin(self, x: Field, y: Field, z: Field) -> Field:
        """The body's outline."""
        u, v = self._inside_trunk(x, y, z)
        spinal_groove = 5.0 * np.exp(-((x * (1.0 / 14.0)) ** 2)) * logistic((-v - 70.0) * 0.1)
        return squircle(u, v + 1.0, 146.0 + self.fat, 96.0 + 0.85 * self.fat) + spinal_groove

    def muscle(self, x: Field, y: Field, z: Field) -> Field:
        """The outer surface of the muscle wall, beneath the subcutaneous fat."""
        u, v = self._inside_trunk(x, y, z)
        return squircle(u, v + 2.0, 145.0, 96.0)

    def cavity(self, x: Field, y: Field, z: Field) -> Field:
        """The inner surface of the wall: pleura above the diaphragm, peritoneum below."""
        u, v = self._inside_trunk(x, y, z)
        return squircle(u, v - 5.0, 131.0, 81.0)

    def diaphragm(self, x: Field, y: Field, z: Field) -> Field:
        """Below zero on the abdominal side of the two domes."""
        cx, cy, cz = self.dome_right
        up = np.maximum(z - cz, 0)
        right = ball(x - cx * self.width, y - cy, up, (72.0 * self.width, 82.0 * self.depth, self.dome_height))
        up = np.maximum(z + 11.0, 0)
        left = ball(x + 62.0 * self.width, y - 1.0, up, (69.0 * self.width, 81.0 * self.depth, self.dome_height - 11.0))
        return smooth_min(right, left, 22.0)

    def mediastinum(self, x: Field, y: Field, z: Field) -> Field:
        """What lies between the lungs: spine, great vessels, the heart and fat."""
        column = ellipse(x + 3.0, y + 45.0, 33.0, 37.0)
        pericardium = ball(x + 24.0, y - 24.0, z - 92.0, (57.0, 49.0, 56.0))
        front = ellipse(x + 8.0, y - 66.0, 20.0, 26.0)
        return smooth_min(smooth_min(column, pericardium, 14.0), front, 12.0)

    def lung(self, x: Field, y: Field, z: Field) -> Field:
        """Both lungs."""
        chest = np.maximum(self.cavity(x, y, z) + 2.0, -self.diaphragm(x, y, z))
        chest = smooth_max(chest, -(z + 38.0), 10.0)
        return smooth_max(chest, 1.0 - self.mediastinum(x, y, z), 8.0)

    def cava_center(self, z: Field) -> tuple[Field, Field]:
        """R and A of the inferior vena cava's centerline at height S."""
        return 25.0 - 0.02 * z, -22.0 + 15.0 * logistic((z - 24.0) * (1.0 / 11.0))

    def cava(self, x: Field, y: Field, z: Field) -> Field:
        """The inferior vena cava up to the right atrium."""
        cx, cy = self.cava_center(z)
        return smooth_max(ellipse(x - cx, y - cy, 12.5, 9.5), z - 74.0, 4.0)

    def aorta(self, x: Field, y: Field, z: Field) -> Field:
        """The descending aorta in front of the spine."""
        cx = -11.0 - 0.05 * np.maximum(z, 0) + 2.0 * np.sin(z * 0.02 + self.phase[0])
        cy = -25.0 - 0.05 * np.maximum(z - 20.0, 0)
        radius = 11.0 + 0.012 * z
        return np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - radius

    def liver(self, x: Field, y: Field, z: Field) -> Field:
        """The liver's capsule: domes above, chest wall, concave visceral surface below."""
        bend = 12.0 * np.logaddexp(0.0, (x - 10.0) * (1.0 / 12.0)).astype(x.dtype)
        lower = self.liver_drop - 0.42 * (x - 10.0) - (self.liver_slope - 0.36) * bend
        hollow = 20.0 * np.exp(-(((x - 36.0) / 36.0) ** 2) - ((y - 6.0) / 40.0) ** 2)
        kidney = 34.0 * np.exp(-(((x - 62.0) / 34.0) ** 2) - ((y + 56.0) / 30.0) ** 2)
        ripple = 3.0 * np.sin(x * 0.045 + self.phase[1]) * np.sin(y * 0.05 + self.phase[2])
        steepness = float(np.hypot(1.0, self.liver_slope))
        visceral = (lower + hollow + kidney + ripple - z) * (1.0 / steepness)
        back = (-86.0 + 97.0 * logistic((self.liver_left - x) * (1.0 / 17.0)) - y) * 0.72
        tip = -(x + 80.0 - 0.12 * y)
        spine = -ellipse(x - 1.0, y + 57.0, 43.0, 33.0)
        aorta = 17.0 - np.sqrt((x + 12.0) ** 2 + (y + 25.0) ** 2)
        below = smooth_max(smooth_max(visceral, back, 14.0), tip, 16.0)
        posterior = smooth_max(spine, aorta, 6.0)
        walls = smooth_max(self.cavity(x, y, z) + 3.0, self.diaphragm(x, y, z) + 3.5, 8.0)
        solid = smooth_max(smooth_max(walls, below, 9.0), posterior, 8.0)
        solid = smooth_max(solid, self._fissure(x, y, z), 5.0)
        return smooth_max(solid, 0.8 - self.cava(x, y, z), 2.5)

    def _fissure(self, x: Field, y: Field, z: Field) -> Field:
        """Above zero in the cleft of the falciform ligament, in front and low."""
        cleft = 2.6 - np.abs(0.97 * (x - 3.0) + 0.2 * (y - 40.0))
        return np.minimum(np.minimum(cleft, y - 38.0), 8.0 - z)
