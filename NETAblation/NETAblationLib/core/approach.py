"""From where a tumor can be approached: the directions that are free, how good they are, and whether a line is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import access
from .access import Surroundings
from .drafts import Line, across
from .errors import NothingFoundError
from .path_checks import measure_paths
from .targets import Target

FloatArray = npt.NDArray[np.float64]

#: Directions that are tried, and parts of them that are followed at once. User-set.
_DIRECTIONS, _DIRECTION_PARTS = 500, 10
#: Where fewer directions than this are free to the tumor's middle, ways beside it are looked for: rings of so many
#: lines, as shares of how far from a zone's middle its edge is. User-set.
_FEW_DIRECTIONS, _RING_POINTS, _RING_SHARES = 8, 6, (0.25, 0.5)
#: A way longer by 100 mm, or at right angles to the axial plane, costs this share of a probe. User-set.
_LENGTH_COST, _OBLIQUE_COST = 0.15, 0.10
#: A direction whose path to the middle of the tumor is rated 0 instead of 1 costs this share of a probe, and of how
#: many directions the paths are rated. User-set.
_SAFETY_COST, _RATED_DIRECTIONS = 0.5, 60


@dataclass(frozen=True)
class Approach:
    """The ways to a target among its surroundings, for probes that reach no farther than `longest_mm` into the body."""

    target: Target
    surroundings: Surroundings
    longest_mm: float

    def way_cost(self, direction: FloatArray, length_mm: float) -> float:
        """What a way costs beside its puncture, as a share of a probe."""
        oblique = float(np.arcsin(min(abs(direction[2]), 1.0))) / (0.5 * np.pi)
        return _LENGTH_COST * length_mm / 100.0 + _OBLIQUE_COST * oblique

    def safety(self, directions: FloatArray) -> FloatArray:
        """How good the paths to the middle of the tumor are in directions (N, 3), by the soft rules, (N,) 0 to 1."""
        center = self.target.center_ras_mm
        lines = self.all_freed([Line(center, direction, 0.0) for direction in directions], [0.0] * len(directions))
        way_mm = np.array([0.0 if line is None else line.entry_mm for line in lines])
        found = np.flatnonzero(way_mm)
        score = np.zeros(len(directions))
        if len(found):
            entries = center - way_mm[found, None] * directions[found]
            tips = np.broadcast_to(center, entries.shape)
            paths = measure_paths(self.surroundings, entries, tips, longest_mm=self.longest_mm)
            score[found] = paths.score(self.longest_mm, self.surroundings.least_liver_mm)
        return score

    def risk_cost(self, directions: FloatArray) -> FloatArray:
        """What the paths through the middle of the tumor cost for what is near to them, as shares of a probe; (N,)."""
        return _SAFETY_COST * (1.0 - self.safety(directions))

    def directions(self, edge_mm: float) -> FloatArray:
        """Unit vectors (N, 3) from skin to tumor along which it can be reached, the best first.

        `edge_mm` is how far from a zone's middle its edge is. Raises NothingFoundError, naming what is in the way,
        where there is none.
        """
        radius = 0.5 * float(np.ptp(self.target.surface.points_ras_mm, axis=0).min())
        lines = np.array([[0.0, 0.0], [0.5 * radius, 0.0], [-0.5 * radius, 0.0]])
        scored = self._scored(lines)
        if len(scored) < _FEW_DIRECTIONS:
            # A vessel at the tumor, say, keeps probes from its middle: they may pass beside it.
            rings = [share * edge_mm * _ring() for share in _RING_SHARES]
            scored = self._scored(np.concatenate([lines, *rings]))
        if not scored:
            raise self.blocked()
        scored.sort(key=lambda entry: entry[0])
        # Among those that are free alike, the safer ones first.
        rated = scored[:_RATED_DIRECTIONS]
        risks = self.risk_cost(np.array([way for _, way in rated]))
        best = [(cost + risk, way) for (cost, way), risk in zip(rated, risks, strict=True)]
        best.sort(key=lambda entry: entry[0])
        return np.array([direction for _, direction in [*best, *scored[_RATED_DIRECTIONS:]]])

    def blocked(self) -> NothingFoundError:
        """The error that names what is in the way."""
        return access.explain_blocked(self.surroundings, self.target.center_ras_mm, self.longest_mm)

    def _scored(self, beside_mm: FloatArray) -> list[tuple[float, FloatArray]]:
        """Directions of which one of the lines `beside_mm` (L, 2) of the tumor's middle is free, each with its cost."""
        scored = []
        for some in np.array_split(access.directions(_DIRECTIONS), _DIRECTION_PARTS):
            bases = self.target.center_ras_mm + beside_mm @ across(some)
            ways = access.follow(
                self.surroundings,
                bases.reshape(-1, 3),
                np.repeat(some, len(beside_mm), axis=0),
                np.array([0.0]),
                self.longest_mm,
            )
            shape = len(some), len(beside_mm)
            for direction, free, entry_mm in zip(
                some, ways.is_free.reshape(shape), ways.entry_mm.reshape(shape), strict=True
            ):
                if free.any():
                    cost = self.way_cost(direction, float(np.nanmin(entry_mm)))
                    scored.append((cost - float(free.sum()), direction))
        return scored

    def freed(self, line: Line, at_mm: float) -> Line | None:
        """The line with its entry found anew, or None where it is not free with its tip so far ahead of its base."""
        return self.all_freed([line], [at_mm])[0]

    def all_freed(self, lines: Sequence[Line], at_mm: Sequence[float]) -> list[Line | None]:
        """As :meth:`freed` for several lines."""
        directions = np.array([line.direction for line in lines])
        tips = np.array([line.base_ras_mm for line in lines]) + np.array(at_mm)[:, None] * directions
        ways = access.follow(self.surroundings, tips, directions, np.array([0.0]), self.longest_mm)
        return [
            replace(line, entry_mm=float(entry) - at) if is_free else None
            for line, at, is_free, entry in zip(lines, at_mm, ways.is_free[:, 0], ways.entry_mm, strict=True)
        ]

    def freed_beside(self, middle: FloatArray, direction: FloatArray, away_mm: float, at_mm: float) -> Line | None:
        """A line through a point, or up to so far beside it, that is free with its tip `at_mm` ahead; else None."""
        beside = np.concatenate([part * away_mm * _ring() for part in (0.5, 1.0)]) if away_mm > 0 else np.zeros((1, 2))
        for base in middle + beside @ across(direction):
            line = self.freed(Line(base, direction, 0.0), at_mm)
            if line is not None:
                return line
        return None


def _ring() -> FloatArray:
    """Points (N, 2) on a circle of radius 1."""
    angle = 2.0 * np.pi * np.arange(_RING_POINTS) / _RING_POINTS
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
