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

from .access import directions
from .drafts import Draft, Line, Place
from .plan_bounds import Sphere
from .probes import Probe, is_in_zone
from .targets import Target
from .union_depth import Zone, feet, open_edges_mm, union_depth_mm

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Share of the target that has to be covered, and of the margin asked for that the worst point of the evaluable
#: surface has to have; all of the tumor must be covered. User-set, the project's own requirements.
TARGET_SHARE, LEAST_MARGIN_SHARE = 0.99, 0.8

#: Points of the target, and of each shell, that a draft is made for. User-set.
_POINTS, _SHELL_POINTS = 4_000, 900
#: Points of the target, and of each shell, that it is judged by. User-set.
_FINE_POINTS, _FINE_SHELL_POINTS = 30_000, 4_000
#: Shells that tell how much of the margin is reached beyond the least, as shares of it. User-set.
_FURTHER_SHARES = (0.9, 1.0)
#: Places of gaps between zones that are taken at once, and how deep they must lie, in mm: more than rounding. User-set.
_LEAKS, _LEAK_RESERVE_MM = 400, 0.01
#: Zones of which it is kept which points they cover: those of several drafts. User-set.
_ZONES_KEPT = 400
_NO_POINTS: BoolArray = np.zeros(0, dtype=bool)
#: How much more of the target than required a draft has to cover, since it is judged by fewer points than a plan is
#: measured by. User-set.
_SHARE_RESERVE = 0.001
#: How deep a shell's points must lie in the zones to count as covered, in mm: they are discrete.
_RESERVE_MM = 0.05
#: Points of the tumor among which the deepest is looked for, and of a sphere about it; and what these may be wrong by
#: in the share of the sphere that must be covered. User-set.
_SPHERE_POINTS, _SHARE_SLACK = 2_000, 0.01
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
    def of(cls, target: Target, least_share: float = LEAST_MARGIN_SHARE, kept: Sequence[Probe] = ()) -> Aims:
        """Some points in the target and on shells around the tumor, where zones fall short first.

        `least_share` is the share of the margin that must be reached; what `kept` probes cover is left out.
        """
        points, is_tumor, _ = target.points(_POINTS)
        parts = [(points, is_tumor, np.where(is_tumor, _MUST_PRICE, 1.0))]
        for share in _shares(least_share):
            shell = _shell(target, share, _SHELL_POINTS)
            parts.append((shell, np.ones(len(shell), dtype=bool), np.full(len(shell), _MUST_PRICE)))
        edge = target.shell_points(target.margin_mm, _SHELL_POINTS)
        parts.append((edge, np.zeros(len(edge), dtype=bool), np.full(len(edge), _EDGE_PRICE)))
        every_point, every_kind, every_price = (np.concatenate(column) for column in zip(*parts, strict=True))
        left = ~is_in_zone(kept, every_point)
        prices = every_price / ((1.0 - TARGET_SHARE) * len(points))
        return cls(every_point[left], every_kind[left], prices[left])

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
    the margin asked for; it is coarse beyond the least margin.
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
    """Judges drafts on many points, more than they are made on, together with probes that are kept."""

    def __init__(self, target: Target, least_share: float = LEAST_MARGIN_SHARE, kept: Sequence[Probe] = ()) -> None:
        """Take the points of a target; `least_share` is the share of the margin that must be reached."""
        points, is_tumor, _ = target.points(_FINE_POINTS)
        shares = (*_shares(least_share), *_FURTHER_SHARES)
        shells = [_shell(target, share, _FINE_SHELL_POINTS) for share in shares]
        self.points = np.concatenate([points, *shells])
        self.volume_count = len(points)
        self.margin_mm = target.margin_mm
        self._tumor_field = target.tumor_field
        self.least_mm = least_share * target.margin_mm
        evaluable = target.surface.points_ras_mm[target.is_evaluable]
        self._evaluable = cKDTree(evaluable) if len(evaluable) else None
        self._origin_ras_mm = target.center_ras_mm
        self._surface_mm = (evaluable - self._origin_ras_mm).astype(np.float32)
        # A shell's points lie as far away as it was made.
        shell_mm = np.repeat([share * target.margin_mm for share in shares], [len(shell) for shell in shells])
        self.is_tumor = np.concatenate([is_tumor, np.arange(len(shell_mm)) < len(shells[0])])
        self.away_mm = np.where(self.is_tumor, 0.0, np.concatenate([self._away(points), shell_mm]))
        self._shorter_mm = np.where(np.arange(len(self.points)) >= len(points), _RESERVE_MM, 0.0)
        self.kept = tuple(kept)
        self._kept = is_in_zone(kept, self.points)
        first = len(points) + sum(len(shell) for shell in shells[:2])
        #: Points (S, 3) of the shell of the least margin that no kept probe covers: where zones end.
        self.outer_shell = self.points[first : first + len(shells[2])][~self._kept[first : first + len(shells[2])]]
        self._zones: dict[tuple[bytes, float, float, float], BoolArray] = {}

    def _away(self, points: FloatArray) -> FloatArray:
        """Distance of points (N, 3) to the evaluable surface, (N,); infinite where there is none."""
        if self._evaluable is None:
            return np.full(len(points), np.inf)
        return np.asarray(self._evaluable.query(points, workers=-1)[0])

    def find_leaks(self, draft: Draft) -> bool:
        """Whether gaps between the zones of a draft lie in the tumor or end its margin short of the least.

        However small they are: where there are any, they become points that all drafts are judged by.
        """
        edges = open_edges_mm([zone for probe in (*self.kept, *draft.probes) for zone in Zone.of(probe)])
        in_tumor = self._tumor_field.evaluate(edges) < 0
        away = np.where(in_tumor, 0.0, self._away(edges))
        leaks = np.flatnonzero(away <= self.least_mm)
        if not len(leaks):
            return False
        leaks = leaks[:: max(1, len(leaks) // _LEAKS)]
        self.points = np.concatenate([self.points, edges[leaks]])
        self.is_tumor = np.concatenate([self.is_tumor, in_tumor[leaks]])
        self.away_mm = np.concatenate([self.away_mm, away[leaks]])
        self._shorter_mm = np.concatenate([self._shorter_mm, np.full(len(leaks), _LEAK_RESERVE_MM)])
        self._kept = np.concatenate([self._kept, is_in_zone(self.kept, edges[leaks])])
        return True

    def zones(self, draft: Draft) -> list[list[BoolArray]]:
        """Which points (N,) each ablation on each line covers."""
        return [self.zones_on(line, row) for line, row in zip(draft.lines, draft.places, strict=True)]

    def zones_on(self, line: Line, row: Sequence[Place]) -> list[BoolArray]:
        """Which points (N,) each ablation on one line covers; not to be changed, since it is kept for the next time."""
        way = line.base_ras_mm.tobytes() + line.direction.tobytes()
        keys = [(way, place, setting.long_axis_mm, setting.short_axis_mm) for place, setting in row]
        known = [self._zones.pop(key, _NO_POINTS) for key in keys]
        first = min((len(zone) for zone in known), default=0)
        if first < len(self.points):
            # Those of which nothing is known, and of all others the points that leaks have become since.
            known = self._extended(line, row, known, first)
        for key, zone in zip(keys, known, strict=True):
            self._zones[key] = zone  # the last used last
        while len(self._zones) > _ZONES_KEPT:
            del self._zones[next(iter(self._zones))]
        return known

    def _extended(self, line: Line, row: Sequence[Place], known: Sequence[BoolArray], first: int) -> list[BoolArray]:
        offset = self.points[first:] - line.base_ras_mm
        axial = offset @ line.direction
        squared = np.einsum("ij,ij->i", offset, offset) - axial**2
        widest = 0.5 * max(setting.short_axis_mm for _, setting in row)
        near = np.flatnonzero(squared <= widest**2)
        axial, squared, shorter = axial[near], squared[near], self._shorter_mm[first:][near]
        found = []
        for (place, setting), zone in zip(row, known, strict=True):
            if len(zone) < len(self.points):
                a, b = (0.5 * axis - shorter for axis in (setting.long_axis_mm, setting.short_axis_mm))
                grown = np.zeros(len(self.points), dtype=bool)
                grown[first + near] = ((axial - place) / a) ** 2 + squared / b**2 <= 1.0
                grown[: len(zone)] = zone
                zone = grown
            found.append(zone)
        return found

    def covered(self, draft: Draft) -> BoolArray:
        """Which points (N,) a draft covers, with the kept probes."""
        covered = self._kept.copy()
        for row in self.zones(draft):
            for zone in row:
                covered |= zone
        return covered

    def verdict(self, draft: Draft) -> Verdict:
        """Judge a draft."""
        return self.verdict_of(self.covered(draft))

    def verdict_of(self, covered: BoolArray) -> Verdict:
        """Judge what is covered, (N,), beside the kept probes."""
        covered = covered | self._kept
        tumor = float(covered[self.is_tumor].mean())
        share = float(covered[: self.volume_count].mean())
        margin = float(self.away_mm[~covered].min(initial=np.inf))
        enough = tumor == 1.0 and share >= TARGET_SHARE + _SHARE_RESERVE and margin > self.least_mm
        return Verdict(tumor, share, min(margin, self.margin_mm), enough)

    def exact_margin_mm(self, draft: Draft) -> float:
        """The least margin of the evaluable surface as a finished plan is measured; infinite where there is none."""
        if not len(self._surface_mm):
            return float("inf")
        zones = [zone for probe in (*self.kept, *draft.probes) for zone in Zone.of(probe)]
        found = [feet(zone, self._surface_mm, self._origin_ras_mm) for zone in zones]
        return float(union_depth_mm(zones, found, self._surface_mm, self._origin_ras_mm).min())

    def least_alone(self, zones: list[list[BoolArray]]) -> list[tuple[int, int]]:
        """Line and number of each ablation, those first that cover fewest points that no other does."""
        count = np.sum([zone for row in zones for zone in row], axis=0)
        alone = {(n, m): int((zone & (count == 1)).sum()) for n, row in enumerate(zones) for m, zone in enumerate(row)}
        return sorted(alone, key=lambda which: alone[which])

    def missing(self, draft: Draft) -> FloatArray:
        """The points (M, 3) that must be covered and are not."""
        return self.points[~self.covered(draft) & (self.away_mm <= self.least_mm)]


def required_spheres(target: Target, least_share: float = LEAST_MARGIN_SHARE) -> list[Sphere]:
    """Spheres about the tumor's deepest point of which all, or a share of the area, must be covered.

    One lies in the tumor. One is larger by the least margin: each of its points is that near to the tumor's surface,
    and must be covered where the surface there can have a margin.
    """
    points, is_tumor, _ = target.points(_SPHERE_POINTS)
    inside = points[is_tumor]
    if not len(inside):
        return []
    depth_mm = target.surface.distance_mm(inside)
    middle, radius_mm = inside[depth_mm.argmax()], float(depth_mm.max())
    wider_mm = radius_mm + least_share * target.margin_mm
    samples = middle + wider_mm * directions(_SPHERE_POINTS)
    nearest = cKDTree(target.surface.points_ras_mm).query(samples)[1]
    share = float((target.is_evaluable[nearest] | (target.tumor_field.evaluate(samples) < 0)).mean())
    return [Sphere(radius_mm, 1.0), Sphere(wider_mm, share if share == 1.0 else max(0.0, share - _SHARE_SLACK))]


def _shares(least_share: float) -> tuple[float, ...]:
    """The shells that must be covered, as shares of the margin."""
    return 0.0, 0.5 * least_share, least_share


def _shell(target: Target, share: float, count: int) -> FloatArray:
    """The tumor's surface, or a shell around its evaluable part."""
    return target.shell_points(share * target.margin_mm, count, evaluable=share > 0)
