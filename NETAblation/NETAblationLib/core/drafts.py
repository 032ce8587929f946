"""Drafts of a plan: lines from the skin with the places of the ablations along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .devices import ZoneSetting
from .probes import Ablation, Probe

FloatArray = npt.NDArray[np.float64]

#: One ablation on a line: its zone's center in mm ahead of the line's base point, and its setting.
Place = tuple[float, ZoneSetting]


@dataclass(frozen=True)
class Line:
    """A way from the skin: a point (3,) on it, its unit direction inward (3,), and how far back the skin is."""

    base_ras_mm: FloatArray
    direction: FloatArray
    entry_mm: float


@dataclass(frozen=True)
class Draft:
    """Lines, and for each the places of its ablations; none on a draft without lines."""

    lines: tuple[Line, ...] = ()
    places: tuple[tuple[Place, ...], ...] = ()

    @property
    def ablation_count(self) -> int:
        """How many ablations there are on all lines."""
        return sum(len(row) for row in self.places)

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """As probes, each with its deepest ablation first, as it is done."""
        made = []
        for line, row in zip(self.lines, self.places, strict=True):
            ablations = tuple(
                Ablation(
                    setting.name,
                    tuple((line.base_ras_mm + place * line.direction).tolist()),
                    setting.short_axis_mm,
                    setting.long_axis_mm,
                )
                for place, setting in sorted(row, key=lambda entry: -entry[0])
            )
            entry = line.base_ras_mm - line.entry_mm * line.direction
            tip = line.base_ras_mm + tip_mm(row) * line.direction
            made.append(Probe(tuple(entry.tolist()), tuple(tip.tolist()), ablations))
        return tuple(made)

    def with_places(self, number: int, places: Sequence[Place]) -> Draft:
        """Other places on one line; a line without any is dropped."""
        rows = [*self.places[:number], tuple(places), *self.places[number + 1 :]]
        kept = [n for n, row in enumerate(rows) if row]
        return Draft(tuple(self.lines[n] for n in kept), tuple(rows[n] for n in kept))


def tip_mm(row: Sequence[Place]) -> float:
    """The deepest tip of ablations on a line, ahead of its base point."""
    return max(place + setting.center_to_tip_mm for place, setting in row)


def across(direction: FloatArray) -> FloatArray:
    """Two unit vectors (..., 2, 3) at right angles to a unit vector (..., 3) and to each other."""
    helper = np.eye(3)[np.abs(direction).argmin(axis=-1)]
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    return np.stack([first, np.cross(direction, first)], axis=-2)
