"""Plans gone astray by chance: what befalls probes, zones and target in each draw, and what is covered all the same.

Distributions: beside the probe a Gaussian in two dimensions, along it one in one, for the target one in three, each
given by its mean length, and the same for all ablations of a probe; each zone's size is a normal factor of
its own, the same along and across. Directions stay: no figure for angular errors was found.

A margin of m mm holds where the tumor grown by m is covered, so it is asked of points on surfaces around the tumor
whether they lie in an ellipsoid, which is exact. Heat of neighbors is not added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .devices import Device
from .drafts import across
from .errors import GeometryError, InputError
from .probes import Probe
from .targets import Target
from .union_depth import Zone, products, quadrics_of, terms_of

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: Mean lateral error of stereotactic placement, in mm: Tinguely et al., Front Oncol 2021;11:713685 (34 studies).
LATERAL_ERROR_MM = 3.7
#: Mean error along the probe, in mm. No published source; user-set.
DEPTH_ERROR_MM = 2.0
#: Mean length of the registration's error, in mm: mean TRE of 7 studies, Diagn Interv Imaging 2022;103:240.
REGISTRATION_ERROR_MM = 1.62
#: Standard deviation of a zone's size where the device's row gives none, as a share of it. No source; user-set.
SIZE_SD_FRACTION = 0.1
#: Share of the tumor's volume that has to be covered, beside all of its surface. User-set.
ENOUGH_TUMOR_FRACTION = 0.995
#: Share of the margin asked for that is reported beside all of it. User-set.
_MOST_OF_MARGIN = 0.8
#: Distance of the surfaces around the tumor, at most, and how far beyond the margin they reach, in mm. User-set.
_STEP_MM, _BEYOND_MM = 2.0, 4.0
#: Smallest and largest factor of a zone's size that is drawn: no other has been seen. User-set.
_SIZE_RANGE = (0.5, 1.5)
#: Draws from which the gain of the mean least margin is told, which only ranks probes. User-set.
_GAIN_DRAWS = 250
#: Draws that are worked on at a time, which bounds the memory.
_DRAWS_AT_ONCE = 50
#: What the depth of the worst point counts beside the chances, where these alone do not tell two plans apart.
_DEPTH_WEIGHT = 0.2

TUMOR_COVERED, MARGIN_0, MARGIN_MOST, MARGIN_ASKED = "tumor_covered", "margin_0", "margin_80_percent", "margin_asked"


@dataclass(frozen=True)
class Errors:
    """How far probes, zones and target may be off.

    `lateral_mm`, `depth_mm` and `registration_mm` are mean lengths; `size_sd_fraction` is the standard deviation of
    a zone's size where its device gives none. Raises InputError for what is negative or not finite.
    """

    lateral_mm: float = LATERAL_ERROR_MM
    depth_mm: float = DEPTH_ERROR_MM
    registration_mm: float = REGISTRATION_ERROR_MM
    size_sd_fraction: float = SIZE_SD_FRACTION

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and 0 <= value <= 100):
                raise InputError(f"placement errors: {name} {value} is not a number from 0 to 100")

    @property
    def lateral_sd_mm(self) -> float:
        """Standard deviation in each of two directions: the mean of a Rayleigh distribution is sd * sqrt(pi / 2)."""
        return self.lateral_mm / float(np.sqrt(np.pi / 2))

    @property
    def depth_sd_mm(self) -> float:
        """Standard deviation: the mean of a half-normal distribution is sd * sqrt(2 / pi)."""
        return self.depth_mm / float(np.sqrt(2 / np.pi))

    @property
    def registration_sd_mm(self) -> float:
        """Standard deviation in each of three directions: the mean of a Maxwell distribution is 2 sd * sqrt(2 / pi)."""
        return self.registration_mm / float(2 * np.sqrt(2 / np.pi))


@dataclass(frozen=True)
class Lots:
    """What befalls each probe and zone in each draw.

    `beside` (D, P, 2) and `along` (D, P) are shifts in mm, `target` (D, 3) is that of the target, `size` (D, Z, 2)
    factors of the half axes along and across; `probe_of_zone` (Z,).
    """

    beside: FloatArray
    along: FloatArray
    target: FloatArray
    size: FloatArray
    probe_of_zone: IntArray

    @classmethod
    def of(cls, probes: Sequence[Probe], errors: Errors, device: Device | None, draws: int, seed: int) -> Lots:
        """Draw for some probes; raises InputError for less than one draw, GeometryError where there is no ablation."""
        if draws < 1:
            raise InputError(f"robustness: {draws} draws; at least 1 is needed")
        if not any(probe.ablations for probe in probes):
            raise GeometryError("robustness: there is no ablation on any probe, hence no zone")
        known = {setting.name: setting for setting in device.settings} if device is not None else {}
        spread = []
        for probe in probes:
            for ablation in probe.ablations:
                row = known.get(ablation.setting)
                long = row.long_axis_sd_mm / ablation.long_axis_mm if row and row.long_axis_sd_mm else None
                short = row.short_axis_sd_mm / ablation.short_axis_mm if row and row.short_axis_sd_mm else None
                spread.append([errors.size_sd_fraction if sd is None else sd for sd in (long, short)])
        rng = np.random.default_rng(seed)
        beside = errors.lateral_sd_mm * rng.standard_normal((draws, len(probes), 2))
        along = errors.depth_sd_mm * rng.standard_normal((draws, len(probes)))
        moved = errors.registration_sd_mm * rng.standard_normal((draws, 3))
        size = 1.0 + rng.standard_normal((draws, len(spread), 1)) * np.array(spread)
        of_zone = [n for n, probe in enumerate(probes) for _ in probe.ablations]
        return cls(beside, along, moved, np.clip(size, *_SIZE_RANGE), np.array(of_zone))

    def blocks(self) -> Iterator[slice]:
        """Draws, some at a time."""
        for start in range(0, len(self.along), _DRAWS_AT_ONCE):
            yield slice(start, start + _DRAWS_AT_ONCE)

    def quadrics(
        self, zone: Zone, number: int, block: slice, origin: FloatArray, *, exact: bool = False
    ) -> Float32Array:
        """The quadrics (D, 10) of zone `number` in some draws; `exact`: its probe and size are as planned."""
        direction, probe = np.array(zone.direction), self.probe_of_zone[number]
        center = np.array(zone.center_ras_mm) - self.target[block]
        size = np.ones((len(center), 2))
        if not exact:
            center = center + self.beside[block, probe] @ across(direction)
            center = center + self.along[block, probe, None] * direction
            size = self.size[block, number]
        half = size * [zone.along_mm, zone.across_mm]
        return quadrics_of(center - origin, np.broadcast_to(direction, center.shape), half[:, 0], half[:, 1]).astype(
            np.float32
        )

    def reach_mm(self, number: int) -> float:
        """How far zone `number` is shifted against the target at most."""
        probe = self.probe_of_zone[number]
        beside = np.linalg.norm(self.beside[:, probe], axis=1)
        lengths = np.hypot(beside, self.along[:, probe]) + np.linalg.norm(self.target, axis=1)
        return float(lengths.max())


@dataclass(frozen=True)
class Cloud:
    """Points (N, 3) that tell whether a target is covered, relative to an origin in RAS mm.

    `level` (N,) is the number of the surface around the tumor that a point lies on, of those at `levels_mm`: 0 the
    tumor's own, -1 a point within the tumor, -2 one within the margin. `is_evaluable` (N,) holds for points on
    surfaces that count for the margin, `distance_mm` (N,) is how far they are from the tumor. `settled` counts the
    points of the tumor and of the margin (2,) that were left out since a zone covers them in every draw. Points are in
    the order of their levels, those that do not count for the margin first.
    """

    points_mm: FloatArray
    level: IntArray
    is_evaluable: BoolArray
    distance_mm: FloatArray
    levels_mm: FloatArray
    asked: tuple[int, int]
    settled: tuple[int, int]
    has_margin: bool
    origin: FloatArray

    @classmethod
    def of(cls, target: Target, chosen: IntArray, volume_points: int) -> Cloud:
        """From the points of the tumor's surface with the numbers `chosen`, and about so many within the target."""
        most = _MOST_OF_MARGIN * target.margin_mm
        within = np.linspace(0.0, most, int(np.ceil(most / _STEP_MM)) + 1)
        beyond = target.margin_mm + _STEP_MM * np.arange(_BEYOND_MM / _STEP_MM + 1)
        levels = np.unique(np.round(np.concatenate([within, beyond]), 9))
        surface, normals = target.surface.points_ras_mm[chosen], target.surface.point_normals[chosen]
        evaluable = target.is_evaluable[chosen]
        points, level, counts, distance = [surface], [np.zeros(len(surface))], [evaluable], [np.zeros(len(surface))]
        for number, away in enumerate(levels[1:], start=1):
            around = surface[evaluable] + away * normals[evaluable]
            points.append(around)
            level.append(np.full(len(around), number))
            counts.append(np.ones(len(around), dtype=bool))
            # In a hollow of the tumor another part of it is nearer.
            distance.append(np.minimum(target.surface.tangent_distance_mm(around), away))
        inner, is_tumor, _ = target.points(volume_points)
        points.append(inner)
        level.append(np.where(is_tumor, -1, -2))
        counts.append(np.zeros(len(inner), dtype=bool))
        distance.append(np.zeros(len(inner)))
        order = np.lexsort([np.concatenate(counts), np.concatenate(level)])
        asked = np.searchsorted(levels, np.array([most, target.margin_mm]) - 1e-6)
        return cls(
            (np.concatenate(points) - target.center_ras_mm)[order],
            np.concatenate(level).astype(np.int64)[order],
            np.concatenate(counts)[order],
            np.concatenate(distance)[order],
            levels,
            (int(asked[0]), int(asked[1])),
            (0, 0),
            bool(evaluable.any()),
            target.center_ras_mm,
        )

    def undecided(self, zones: Sequence[Zone], lots: Lots) -> Cloud:
        """Without the points that some zone covers in every draw: a sound bound, since levels are norms."""
        always = np.zeros(len(self.points_mm), dtype=bool)
        for number, zone in enumerate(zones):
            least = float(lots.size[:, number].min())
            slack = lots.reach_mm(number) / min(zone.along_mm, zone.across_mm)
            always |= self._norms(zone) + slack < min(least, 1.0)
        kept = ~always
        settled = tuple(int((always & (self.level == kind)).sum()) for kind in (-1, -2))
        return replace(
            self,
            points_mm=self.points_mm[kept],
            level=self.level[kept],
            is_evaluable=self.is_evaluable[kept],
            distance_mm=self.distance_mm[kept],
            settled=(settled[0], settled[1]),
        )

    def reached(self, zone: Zone, number: int, lots: Lots) -> IntArray:
        """Numbers of the points that a zone covers in some draw."""
        most = float(max(lots.size[:, number].max(), 1.0))
        slack = lots.reach_mm(number) / min(zone.along_mm, zone.across_mm)
        return np.flatnonzero(self._norms(zone) - slack <= most)

    def _norms(self, zone: Zone) -> FloatArray:
        """Distance of the points from a zone's center in units in which its surface is at 1, (N,)."""
        offset = self.points_mm - (np.array(zone.center_ras_mm) - self.origin)
        along = offset @ np.array(zone.direction)
        squared = np.maximum((offset * offset).sum(axis=1) - along**2, 0.0)
        return np.sqrt(squared / zone.across_mm**2 + (along / zone.along_mm) ** 2)

    @property
    def chances(self) -> tuple[str, ...]:
        """Names of the chances that can be told."""
        return (TUMOR_COVERED, MARGIN_0, MARGIN_MOST, MARGIN_ASKED) if self.has_margin else (TUMOR_COVERED,)

    def happens(self, is_open: BoolArray, tumor: FloatArray, name: str) -> BoolArray:
        """In which draws (D,) what a name says is so.

        `is_open` (L + 1, D): a point of the tumor's surface lies open, or one that counts for each of the levels.
        """
        if name == TUMOR_COVERED:
            return np.asarray(~is_open[0] & (tumor >= ENOUGH_TUMOR_FRACTION))
        last = {MARGIN_0: 0, MARGIN_MOST: self.asked[0], MARGIN_ASKED: self.asked[1]}[name]
        return np.asarray(~is_open[1 : last + 2].any(axis=0))

    def opened(self, uncovered: BoolArray) -> tuple[BoolArray, FloatArray, FloatArray]:
        """Where points (N, D) lie open: by level (L + 1, D), and shares of tumor and target that are covered (D,)."""
        starts = np.searchsorted(self.level, np.arange(-2, len(self.levels_mm) + 1)).tolist()
        surface = starts[2] + int(np.count_nonzero(~self.is_evaluable[starts[2] : starts[3]]))
        rows = [uncovered[starts[2] : starts[3]], uncovered[surface : starts[3]]]
        rows += [uncovered[a:b] for a, b in pairwise(starts[3:])]
        by_level = np.array([np.logical_or.reduce(row, axis=0) for row in rows])
        margin, tumor = (uncovered[a:b] for a, b in pairwise(starts[:3]))
        open_tumor, open_margin = (part.sum(axis=0, dtype=np.int64) for part in (tumor, margin))
        all_tumor, all_margin = len(tumor) + self.settled[0], len(margin) + self.settled[1]
        return (
            by_level,
            1.0 - open_tumor / max(all_tumor, 1),
            1.0 - (open_tumor + open_margin) / max(all_tumor + all_margin, 1),
        )

    def least_mm(self, uncovered: BoolArray, is_open: BoolArray, quadrics: Sequence[Float32Array]) -> FloatArray:
        """The least margin in each draw (D,).

        Of an open point q the zones are d away; so is the edge of the zones at most |q - tumor| - d from the tumor.
        The least of these counts on the innermost surface that is not covered.
        """
        levels = self.levels_mm
        first = np.where(is_open[1:].any(axis=0), is_open[1:].argmax(axis=0), len(levels))
        least = np.full(len(first), levels[-1])
        for number in np.unique(first[first < len(levels)]).tolist():
            start, stop = np.searchsorted(self.level, [number, number + 1])
            draws = np.flatnonzero(first == number)
            point, which = np.nonzero(uncovered[start:stop, draws] & self.is_evaluable[start:stop, None])
            point, draw = point + start, draws[which]
            terms, points = terms_of(self.points_mm[point]).T, self.points_mm[point].T
            away = np.full(len(point), np.inf)
            for quadric in quadrics:
                np.minimum(away, _near_mm(points, terms, quadric.T[:, draw].astype(np.float64)), out=away)
            np.minimum.at(least, draw, self.distance_mm[point] - away)
        within = (first > 0) & (first < len(levels))
        least[within] = np.maximum(least[within], levels[first[within] - 1])
        return least

    def levels_of(self, probe: Probe, number: int, lots: Lots) -> Float32Array:
        """The least quadric of a probe's zones at each point in each draw, (N, D)."""
        terms, every = terms_of(self.points_mm.astype(np.float32)), slice(None)
        numbers = np.flatnonzero(lots.probe_of_zone == number)
        best = np.full((len(terms), len(lots.along)), np.inf, dtype=np.float32)
        for n, zone in zip(numbers, Zone.of(probe), strict=True):
            np.minimum(best, products(terms, lots.quadrics(zone, int(n), every, self.origin)), out=best)
        return best

    def score(self, level: Float32Array) -> float:
        """How good a plan with these least quadrics (N, D) is: mean chance, and a little for the depth of the worst."""
        is_open, tumor, _ = self.opened(level > 1.0)
        chance = np.mean([self.happens(is_open, tumor, name).mean() for name in self.chances])
        parts = [self.level == 0]
        if self.has_margin:
            parts.append((self.level >= 0) & (self.level <= self.asked[1]) & self.is_evaluable)
        depths = [np.clip(1.0 - np.sqrt(level[part].max(axis=0)), -1.0, 0.3).mean() for part in parts]
        return float(chance + _DEPTH_WEIGHT * np.mean(depths))


def counted(
    cloud: Cloud, zones: Sequence[Zone], reached: Sequence[IntArray], lots: Lots, block: slice
) -> dict[str, npt.NDArray[Any]]:
    """What some draws end in, with all probes astray and with each of them exact in turn."""
    terms = terms_of(cloud.points_mm.astype(np.float32))
    quadrics = [lots.quadrics(zone, n, block, cloud.origin) for n, zone in enumerate(zones)]
    shape, probes = (len(terms), len(quadrics[0])), lots.along.shape[1]
    covers, covers_exact = np.zeros((2, probes, *shape), dtype=bool)
    exact = [lots.quadrics(zone, n, block, cloud.origin, exact=True) for n, zone in enumerate(zones)]
    for n, its in enumerate(reached):
        probe, near = lots.probe_of_zone[n], terms[its]
        covers[probe, its] |= products(near, quadrics[n]) <= 1.0
        covers_exact[probe, its] |= products(near, exact[n]) <= 1.0
    count = covers.sum(axis=0, dtype=np.uint8)
    uncovered = count == 0
    is_open, tumor, target = cloud.opened(uncovered)
    without = []
    for probe in range(probes):
        left = (count == covers[probe]) & ~covers_exact[probe]
        by_level, tumor_without, _ = cloud.opened(left)
        mixed = [exact[n] if lots.probe_of_zone[n] == probe else quadrics[n] for n in range(len(zones))]
        first = slice(0, max(0, _GAIN_DRAWS - block.start))
        least = cloud.least_mm(left[:, first], by_level[:, first], [quadric[first] for quadric in mixed])
        without.append((by_level, tumor_without, least))
    return {
        "open": is_open,
        "tumor": tumor,
        "target": target,
        "mam_mm": cloud.least_mm(uncovered, is_open, quadrics),
        "open_without": np.array([row[0] for row in without]),
        "tumor_without": np.array([row[1] for row in without]),
        "mam_without_mm": np.array([row[2] for row in without]),
    }


def _near_mm(points: FloatArray, terms: FloatArray, quadric: FloatArray) -> FloatArray:
    """Distance (N,) of points (3, N) with terms (10, N) outside of a zone each, by its quadric (10, N), to first order.

    As :func:`.probes.near_distance_mm`; exact for a ball. With the level F, whose square root is a norm, the
    distance is about (sqrt(F) - 1) over the slope of sqrt(F).
    """
    x, y, z = points
    _, p, q, r, a, b, c, d, f, g = quadric
    level = np.einsum("ij,ij->j", terms, quadric)
    u, v, w = p + 2 * a * x + d * y + f * z, q + d * x + 2 * b * y + g * z, r + f * x + g * y + 2 * c * z
    root = np.sqrt(np.maximum(level, 1e-12))
    slope = np.sqrt(u * u + v * v + w * w) / (2.0 * root)
    return np.maximum((root - 1.0) / np.maximum(slope, 1e-9), 0.0)
