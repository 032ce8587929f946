"""How thick a vessel is: from the contrast that its cross-section holds.

The blur of a scanner spreads a thin vessel's contrast but loses none of it. So the sum of contrast over
the cross-section, divided by the contrast of the blood, is the area of the lumen; where half of the
contrast is reached, a thin vessel seems wider than it is. The contrast of the blood is that in the
middle of a thick vessel, and the same along all that it feeds. What adds up over the cross-section of a thin
vessel most of all is the liver's texture, and the glow of neighbors: so what the liver has right around it is
taken off in part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .vessel_tracing import Branch

FloatArray = npt.NDArray[np.floating]

_DIRECTIONS = 24
_STEP_MM, _REACH_MM = 0.25, 14.0
#: The cross-section ends where the profile is below this share of the blood's contrast, or rises again
#: (a neighbor) below half of it. Of 0.08 to 0.2 this separates 2.9 from 3.2 mm best on digital patients.
_END_SHARE = 0.15
#: The middle of a vessel, in mm: there the contrast is the blood's if it is thick.
_MIDDLE_MM = 0.75
#: Right around a thin vessel, in mm; the part of what the liver has there that it has beneath the vessel, too; and the
#: most of it, as a share of the blood's contrast. Chosen on digital patients 0 and 1.
_AROUND_MM, _BENEATH, _MOST_BENEATH = (3.0, 4.5), 0.5, 0.065
#: Between these radii, in mm, a vessel comes to fill what is right around a thin one.
_FILLED_MM = (1.8, 2.4)
#: Between these radii, in mm, the mixture goes from what is held to where the contrast is halved.
_HALVED_MM = (2.0, 3.0)
#: Radius along a vessel is the median over this length on each side, in mm. User-set.
_WINDOW_MM = 4.0


@dataclass(frozen=True)
class Profiles:
    """Contrast around a branch's nodes: `values` (N, R) at `rho_mm` (R,) from the middle; `middle` (N,) in it.

    Each value is the median over all directions across the vessel, so that a branch or a neighbor on one
    side does not count.
    """

    rho_mm: FloatArray
    values: FloatArray
    middle: FloatArray

    @classmethod
    def around(cls, branch: Branch, contrast: FloatArray, spacing_mm: float) -> Profiles:
        """Sample the contrast (K, J, I) of cubic voxels around the nodes of a branch."""
        rho = np.arange(_STEP_MM / 2, _REACH_MM, _STEP_MM)
        across, over = _perpendicular(branch.directions)
        angle = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        ray = across[:, None] * np.cos(angle)[:, None] + over[:, None] * np.sin(angle)[:, None]
        places = branch.points[:, None, None] + ray[:, :, None] * (rho / spacing_mm)[:, None]
        sampled = ndimage.map_coordinates(contrast, places.reshape(-1, 3).T, order=1, mode="nearest")
        values = np.median(sampled.reshape(places.shape[:-1]), axis=1)
        return cls(rho, values, values[:, rho < _MIDDLE_MM].mean(axis=1))

    def radius_mm(self, blood: float | FloatArray) -> FloatArray:
        """Radius (N,) for a contrast of the blood: one value, or (N, 1).

        Thin vessels by what they hold; thick ones, which reach the contrast of their blood, by the place
        where it is halved, which no neighbor shifts. In between the two are mixed.
        """
        thin = np.sqrt(np.maximum(self._above(self._beneath(blood)).area_mm2(blood), 0.01) / np.pi)
        share = np.clip((thin - _HALVED_MM[0]) / (_HALVED_MM[1] - _HALVED_MM[0]), 0.0, 1.0)
        return (1 - share) * thin + share * self._halved_mm(blood)

    def _beneath(self, blood: float | FloatArray) -> FloatArray:
        """Contrast (N, 1) that the liver has beneath a thin vessel, by that right around it; a thick one fills that."""
        held = np.sqrt(np.maximum(self.area_mm2(blood), 0.01) / np.pi)[:, None]
        thin = np.clip((_FILLED_MM[1] - held) / (_FILLED_MM[1] - _FILLED_MM[0]), 0.0, 1.0)
        ring = (self.rho_mm > _AROUND_MM[0]) & (self.rho_mm < _AROUND_MM[1])
        around = np.median(self.values[:, ring], axis=1, keepdims=True)
        return thin * np.clip(_BENEATH * around, -_MOST_BENEATH * blood, _MOST_BENEATH * blood)

    def _above(self, level: FloatArray) -> Profiles:
        """The profiles less a level (N, 1)."""
        return replace(self, values=self.values - level)

    def _halved_mm(self, blood: float | FloatArray) -> FloatArray:
        """Where the profile first falls below half of the blood's contrast, (N,)."""
        below = self.values < 0.5 * blood
        last = np.maximum(np.where(below.any(axis=1), np.argmax(below, axis=1), below.shape[1] - 1), 1)
        rows = np.arange(len(last))
        before, after = self.values[rows, last - 1], self.values[rows, last]
        half = np.broadcast_to(0.5 * np.asarray(blood), self.values.shape)[:, 0]
        part = np.clip((before - half) / np.maximum(before - after, 1e-6), 0.0, 1.0)
        return self.rho_mm[last - 1] + part * _STEP_MM

    def area_mm2(self, blood: float | FloatArray) -> FloatArray:
        """Area (N,) of the lumen for a contrast of the blood, by what the cross-section holds."""
        rises = np.diff(self.values, axis=1, append=self.values[:, -1:]) > 0
        beyond = (self.values < _END_SHARE * blood) | (rises & (self.values < 0.5 * blood))
        inside = ~np.logical_or.accumulate(beyond, axis=1)
        return 2 * np.pi * _STEP_MM * (self.values / blood * self.rho_mm * inside).sum(axis=1)


def _perpendicular(directions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors (N, 3) at right angles to each direction (N, 3) and to each other."""
    steepest = np.argmin(np.abs(directions), axis=1)
    across = np.cross(directions, np.eye(3)[steepest])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    return across, np.cross(directions, across)


def running_median(values: FloatArray, usable: npt.NDArray[np.bool_], along_mm: FloatArray) -> FloatArray:
    """The median (N,) of the usable values nearby along a branch; of all where none is usable.

    `along_mm` (N,) is how far along the branch each value lies.
    """
    if not usable.any():
        return np.full(len(values), np.median(values))
    places, chosen = along_mm[usable], values[usable]
    first = np.searchsorted(places, along_mm - _WINDOW_MM)
    last = np.searchsorted(places, along_mm + _WINDOW_MM, side="right")
    nearest = np.clip(np.searchsorted(places, along_mm), 0, len(places) - 1)
    # All windows at once, each filled up with what sorts last: a call of the median for each is slow.
    count = last - first
    index = first[:, None] + np.arange(max(int(count.max()), 1))
    windows = np.where(index < last[:, None], chosen[np.minimum(index, len(chosen) - 1)], np.inf)
    windows.sort(axis=1)
    rows = np.arange(len(count))
    middle = 0.5 * (windows[rows, (count - 1) // 2] + windows[rows, count // 2])
    return np.where(count > 0, middle, chosen[nearest])
