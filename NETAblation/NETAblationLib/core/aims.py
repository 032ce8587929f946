"""What a draft of a plan is made for, and judged by: points that must be covered, and points that should be.

Must: the tumor, and all within the least margin (:data:`LEAST_MARGIN_SHARE` of the one asked for) of
the surface that can have a margin. Should: the rest of the target, of which a hundredth may be left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .drafts import Draft, Line, Place
from .targets import Target

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Share of the target that has to be covered, and of the margin asked for that the worst point of the evaluable
#: surface has to have; all of the tumor must be covered. User-set, the project's own requirements.
TARGET_SHARE, LEAST_MARGIN_SHARE = 0.99, 0.8

#: Points of the target, and of each shell, that a draft is made for. User-set.
_POINTS, _SHELL_POINTS = 2_000, 500
#: Points of the target, and of each shell, that it is judged by. User-set.
_FINE_POINTS, _FINE_SHELL_POINTS = 20_000, 4_000
#: How deep a shell's points must lie in the zones to count as covered, in mm: they are discrete.
_RESERVE_MM = 0.05
#: How many times more than a point of the target it costs to leave out one that must be covered, and one of
#: the margin's outer edge. User-set.
_MUST_PRICE, _EDGE_PRICE = 100.0, 0.5


@dataclass(frozen=True)
class Aims:
    """Points (N, 3), whether each must be covered (N,), and the price (N,) to leave it out.

    The price of a point of the target is such that the hundredth that may be left out costs 1.
    """

    points: FloatArray
    is_must: BoolArray
    price: FloatArray

    @classmethod
    def of(cls, target: Target) -> Aims:
        """Some points in the target and on shells around the tumor, where zones fall short first."""
        points, is_tumor, _ = target.points(_POINTS)
        parts = [(points, is_tumor, np.where(is_tumor, _MUST_PRICE, 1.0))]
        parts.extend(
            (shell, np.ones(len(shell), dtype=bool), np.full(len(shell), _MUST_PRICE))
            for shell in _must_shells(target, _SHELL_POINTS)
        )
        edge = target.shell_points(target.margin_mm, _SHELL_POINTS)
        parts.append((edge, np.zeros(len(edge), dtype=bool), np.full(len(edge), _EDGE_PRICE)))
        every_point, every_kind, every_price = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(every_point, every_kind, every_price / ((1.0 - TARGET_SHARE) * len(points)))

    @property
    def must(self) -> FloatArray:
        """The points that must be covered, (M, 3)."""
        return self.points[self.is_must]

    @property
    def edge(self) -> FloatArray:
        """The other points, (N - M, 3)."""
        return self.points[~self.is_must]

    def thinned(self, step: int) -> Aims:
        """Every so many of the points, at a price that is as many times higher."""
        return Aims(self.points[::step], self.is_must[::step], step * self.price[::step])

    def with_must(self, points: FloatArray) -> Aims:
        """With more points (M, 3) that must be covered."""
        price = self.price.max()
        return Aims(
            np.concatenate([self.points, points]),
            np.concatenate([self.is_must, np.ones(len(points), dtype=bool)]),
            np.concatenate([self.price, np.full(len(points), price)]),
        )


@dataclass(frozen=True)
class Verdict:
    """How well a draft does: larger is better in each; `is_enough` if all that is required is reached.

    `margin_mm` is the distance from the evaluable surface to the nearest point that is not covered, at most
    the margin asked for.
    """

    tumor_share: float
    target_share: float
    margin_mm: float
    is_enough: bool

    @property
    def rank(self) -> tuple[float, float, float]:
        """For comparing drafts that are not enough: tumor, then margin, then target."""
        return round(self.tumor_share, 4), round(self.margin_mm, 1), round(self.target_share, 3)


class Judge:
    """Judges drafts on many points, more than they are made on."""

    def __init__(self, target: Target) -> None:
        """Take the points of a target."""
        points, is_tumor, _ = target.points(_FINE_POINTS)
        shells = _must_shells(target, _FINE_SHELL_POINTS)
        self.points = np.concatenate([points, *shells])
        self.volume_count = len(points)
        self.is_tumor = np.concatenate([is_tumor, np.zeros(len(self.points) - len(points), dtype=bool)])
        self.is_tumor[len(points) : len(points) + len(shells[0])] = True
        self._shorter_mm = np.where(np.arange(len(self.points)) >= len(points), _RESERVE_MM, 0.0)
        self.margin_mm = target.margin_mm
        evaluable = target.surface.points_ras_mm[target.is_evaluable]
        away = np.full(len(self.points), np.inf)
        if len(evaluable):
            away[:] = cKDTree(evaluable).query(self.points)[0]
        # A shell's points lie as far away as it was made, whatever the vertices say.
        for number in range(1, len(shells)):
            first = len(points) + sum(len(shell) for shell in shells[:number])
            away[first : first + len(shells[number])] = _shares()[number] * target.margin_mm
        self.away_mm = np.where(self.is_tumor, 0.0, away)

    def zones(self, draft: Draft) -> list[list[BoolArray]]:
        """Which points (N,) each ablation on each line covers."""
        return [self.zones_on(line, row) for line, row in zip(draft.lines, draft.places, strict=True)]

    def zones_on(self, line: Line, row: Sequence[Place]) -> list[BoolArray]:
        """Which points (N,) each ablation on one line covers."""
        offset = self.points - line.base_ras_mm
        axial = offset @ line.direction
        squared = np.einsum("ij,ij->i", offset, offset) - axial**2
        found = []
        for place, setting in row:
            a, b = (0.5 * axis - self._shorter_mm for axis in (setting.long_axis_mm, setting.short_axis_mm))
            found.append(((axial - place) / a) ** 2 + squared / b**2 <= 1.0)
        return found

    def verdict(self, draft: Draft) -> Verdict:
        """Judge a draft."""
        covered = np.zeros(len(self.points), dtype=bool)
        for row in self.zones(draft):
            for zone in row:
                covered |= zone
        return self.verdict_of(covered)

    def verdict_of(self, covered: BoolArray) -> Verdict:
        """Judge what is covered, (N,)."""
        tumor = float(covered[self.is_tumor].mean())
        share = float(covered[: self.volume_count].mean())
        margin = float(self.away_mm[~covered].min(initial=self.margin_mm))
        least = LEAST_MARGIN_SHARE * self.margin_mm
        enough = tumor == 1.0 and share >= TARGET_SHARE and margin > least
        return Verdict(tumor, share, min(margin, self.margin_mm), enough)

    def least_alone(self, zones: list[list[BoolArray]]) -> list[tuple[int, int]]:
        """Line and number of each ablation, those first that cover fewest points that no other does."""
        count = np.sum([zone for row in zones for zone in row], axis=0)
        alone = {(n, m): int((zone & (count == 1)).sum()) for n, row in enumerate(zones) for m, zone in enumerate(row)}
        return sorted(alone, key=lambda which: alone[which])

    def missing(self, draft: Draft) -> FloatArray:
        """The points (M, 3) that must be covered and are not."""
        covered = np.zeros(len(self.points), dtype=bool)
        for row in self.zones(draft):
            for zone in row:
                covered |= zone
        return self.points[~covered & (self.away_mm <= LEAST_MARGIN_SHARE * self.margin_mm)]


def _shares() -> tuple[float, ...]:
    """The shells that must be covered, as shares of the margin."""
    return 0.0, 0.5 * LEAST_MARGIN_SHARE, LEAST_MARGIN_SHARE


def _must_shells(target: Target, count: int) -> list[FloatArray]:
    """The tumor's surface, and shells around its evaluable part."""
    return [target.shell_points(share * target.margin_mm, count, evaluable=share > 0) for share in _shares()]
