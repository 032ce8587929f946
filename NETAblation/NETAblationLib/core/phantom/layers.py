"""What the digital patient is painted of: layers on broadcast coordinates, and tubes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .tissues import NO_CONTRAST, Contrast, Label

Array = npt.NDArray[np.float64]
Field = Any
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
LevelOnGrid = Callable[[Field, Field, Field], Field]

#: Half length of boxes that are not meant to end, mm.
EVERYWHERE_MM = 1e4


@dataclass(frozen=True)
class Layer:
    """What is painted: where (`box` RAS mm, `level`), its label (None keeps the one below), HU.

    `texture_hu` is the amplitude of the tissue's texture. `pattern` returns a field of -1..1
    by which `pattern_hu` changes the HU.
    """

    box: Box
    level: LevelOnGrid
    label: Label | None
    hu: Contrast
    texture_hu: float = 0.0
    pattern: LevelOnGrid | None = None
    pattern_hu: Contrast = NO_CONTRAST


@dataclass(frozen=True)
class Tubes:
    """Straight round tubes from `starts` to `ends` (N, 3) with `radii` (N,) mm, one label and HU."""

    starts: Array
    ends: Array
    radii: Array
    label: Label | None
    hu: Contrast
    texture_hu: float = 0.0

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corners of the boxes of all tubes, (N, 3) each."""
        reach = self.radii[:, None]
        return np.minimum(self.starts, self.ends) - reach, np.maximum(self.starts, self.ends) + reach


def tubes_along(path: Array, radii: Array | float, label: Label | None, hu: Contrast, texture_hu: float = 0.0) -> Tubes:
    """Tubes along a polyline (M, 3) whose radius (M - 1,) may change from piece to piece."""
    return Tubes(path[:-1], path[1:], np.broadcast_to(radii, len(path) - 1).astype(float), label, hu, texture_hu)
