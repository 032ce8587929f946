"""What is left of a plan when probes go a little astray: the chance that tumor and margin are covered all the same.

Many times every probe is put beside its plan, every zone is made smaller or larger and the target is shifted
as a whole, each by chance within what is known of the errors; each time it is asked whether the zones cover
the tumor and the surfaces at some distances around it (:mod:`.robust_draws`). From this come chances with their
intervals, the probe that matters most, and probes shifted to where the chances are better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from .devices import Device
from .drafts import across
from .probes import Ablation, Probe
from .robust_draws import Cloud, Errors, Lots, counted
from .targets import Target
from .union_depth import Zone, feet, union_depth_mm

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: Points of the tumor's surface from which the surfaces around are made, a quarter of them spread evenly and the others
#: where the plan's margin is least, and points within the target. User-set.
_RAYS, _VOLUME_POINTS = 2_500, 2_500
#: The same where plans are tried one after the other.
_TRIED_RAYS, _TRIED_VOLUME_POINTS, _TRIED_DRAWS = 500, 1_000, 250
#: How far probes are shifted in search of a better chance, in mm, one after the other, and rounds of each. User-set.
_SHIFTS_MM, _ROUNDS = (3.0, 1.5, 0.75), 3
#: What a larger zone has to bring to the mean chance. User-set.
_LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Chance:
    """A probability from draws, with its 95 % interval (Wilson)."""

    fraction: float
    low: float
    high: float

    @classmethod
    def of(cls, happened: BoolArray) -> Chance:
        """The share of draws (D,) in which something happened."""
        count, share, z = len(happened), float(happened.mean()), NormalDist().inv_cdf(0.975)
        middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
        return cls(share, max(0.0, middle - float(half)), min(1.0, middle + float(half)))


@dataclass(frozen=True)
class Gain:
    """What it would bring to place one probe exactly: rise of the mean of the chances, and of the mean least margin."""

    chance_fraction: float
    mam_mm: float


@dataclass(frozen=True)
class PlanRobustness:
    """How sure a plan is.

    `chances` by name: "tumor_covered" (all of its surface and 99.5 % of its volume), "margin_0", "margin_80_percent"
    and "margin_asked" (the margin over the evaluable surface is at least 0, 80 % and 100 % of what was asked for;
    missing where nothing is evaluable). `mam_mm`, `tumor_coverage_fraction` and `target_coverage_fraction` have the
    5th, 50th and 95th percentile over the draws ("p05", "p50", "p95"); no MAM above `mam_at_most_mm` is told apart, it
    is up to 0.3 mm too large beside a seam of zones, which the chances are not, and None where nothing is evaluable.
    `gains` (one each probe) say what it would bring were that probe placed exactly, with zones of exactly the size
    expected, and all else drawn as before; the most sensitive probe is that with the largest gain of the mean least
    margin (of the mean of the chances where nothing is evaluable).
    """

    draws: int
    seed: int
    errors: Errors
    chances: Mapping[str, Chance]
    mam_mm: Mapping[str, float] | None
    mam_at_most_mm: float
    tumor_coverage_fraction: Mapping[str, float]
    target_coverage_fraction: Mapping[str, float]
    gains: tuple[Gain, ...]

    @property
    def most_sensitive_probe(self) -> int:
        """Number of the probe whose exact placement would help most."""
        values = [gain.chance_fraction if self.mam_mm is None else gain.mam_mm for gain in self.gains]
        return int(np.argmax(values))

    @property
    def mean_chance(self) -> float:
        """Mean of the chances: what :func:`robust_placement` raises."""
        return float(np.mean([chance.fraction for chance in self.chances.values()]))

    @property
    def _rank(self) -> tuple[float, float]:
        return self.mean_chance, 0.0 if self.mam_mm is None else self.mam_mm["p50"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "draws": self.draws,
            "seed": self.seed,
            "errors": asdict(self.errors),
            "chances": {name: asdict(chance) for name, chance in self.chances.items()},
            "mam_mm": None if self.mam_mm is None else dict(self.mam_mm),
            "mam_at_most_mm": self.mam_at_most_mm,
            "tumor_coverage_fraction": dict(self.tumor_coverage_fraction),
            "target_coverage_fraction": dict(self.target_coverage_fraction),
            "gains": [asdict(gain) for gain in self.gains],
            "most_sensitive_probe": self.most_sensitive_probe,
        }


def plan_robustness(
    target: Target,
    probes: Sequence[Probe],
    *,
    errors: Errors | None = None,
    device: Device | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> PlanRobustness:
    """How sure it is that a plan covers its target.

    Sizes of zones spread as `device` says of their settings, as `errors` say where it does not. The same seed
    gives the same numbers. Raises InputError for less than one draw and GeometryError for a plan without an ablation.
    """
    errors = errors or Errors()
    lots = Lots.of(probes, errors, device, draws, seed)
    zones = [zone for probe in probes for zone in Zone.of(probe)]
    cloud = Cloud.of(target, _weakest(target, zones, _RAYS), _VOLUME_POINTS)
    near = cloud.undecided(zones, lots)
    reached = [near.reached(zone, number, lots) for number, zone in enumerate(zones)]
    blocks = [counted(near, zones, reached, lots, block) for block in lots.blocks()]
    joined = {key: np.concatenate([row[key] for row in blocks], axis=-1) for key in blocks[0]}
    names = near.chances
    happened = {name: near.happens(joined["open"], joined["tumor"], name) for name in names}
    base = float(np.mean([row.mean() for row in happened.values()]))
    gains = []
    for open_without, tumor_without, least_without in zip(
        joined["open_without"], joined["tumor_without"], joined["mam_without_mm"], strict=True
    ):
        chance = np.mean([near.happens(open_without, tumor_without, name).mean() for name in names])
        rise = least_without - joined["mam_mm"][: len(least_without)]
        gains.append(Gain(float(chance) - base, float(rise.mean())))
    return PlanRobustness(
        draws=draws,
        seed=seed,
        errors=errors,
        chances={name: Chance.of(row) for name, row in happened.items()},
        mam_mm=_percentiles(joined["mam_mm"]) if near.has_margin else None,
        mam_at_most_mm=float(near.levels_mm[-1]),
        tumor_coverage_fraction=_percentiles(joined["tumor"]),
        target_coverage_fraction=_percentiles(joined["target"]),
        gains=tuple(gains),
    )


def robust_placement(
    target: Target,
    probes: Sequence[Probe],
    *,
    errors: Errors | None = None,
    device: Device | None = None,
    seed: int = 0,
    kept: int = 0,
    may_enlarge: bool = False,
    is_allowed: Callable[[Probe], bool] = lambda probe: True,
) -> tuple[Probe, ...]:
    """Shift probes, beside and along their lines, and ablations along them so that :func:`plan_robustness` rises.

    Only to places that `is_allowed`; the first `kept` probes stay where they are. `may_enlarge`: zones may also take
    a larger setting of `device` where that brings at least a hundredth; it loses more liver. All plans are tried on the
    same draws, so that none wins by luck; what is returned has a higher mean chance than the start on the draws of
    :func:`plan_robustness` with that seed, or the same and a higher middle MAM; else it is the start. The same seed
    gives the same probes.
    """
    errors = errors or Errors()
    cloud = Cloud.of(target, _thinned(target, _TRIED_RAYS), _TRIED_VOLUME_POINTS)
    lots = Lots.of(probes, errors, device, _TRIED_DRAWS, seed + 1)
    best = list(probes)
    levels = [cloud.levels_of(probe, number, lots) for number, probe in enumerate(best)]
    score = cloud.score(np.minimum.reduce(levels))
    for shift_mm in _SHIFTS_MM:
        for _ in range(_ROUNDS):
            before = score
            for number in range(kept, len(best)):
                others = [row for m, row in enumerate(levels) if m != number]
                rest = np.minimum.reduce(others) if others else np.full_like(levels[0], np.inf)
                for trial, least_gain in _trials(best[number], shift_mm, device if may_enlarge else None):
                    level = cloud.levels_of(trial, number, lots)
                    found = cloud.score(np.minimum(rest, level))
                    if found > score + least_gain and is_allowed(trial):
                        best[number], levels[number], score = trial, level, found
            if score <= before:
                break
    options: dict[str, Any] = {"errors": errors, "device": device, "seed": seed}
    start, end = (plan_robustness(target, plan, **options)._rank for plan in (probes, best))
    return tuple(best) if end > start else tuple(probes)


def _trials(probe: Probe, shift_mm: float, device: Device | None) -> Iterator[tuple[Probe, float]]:
    """Other places of a probe and its ablations, larger zones where a device is given, and what each has to bring."""
    direction = probe.direction
    for way in np.concatenate([across(direction), -across(direction), [direction, -direction]]):
        yield shifted(probe, shift_mm * way), 0.0
    depth = np.array([np.dot(row.center_ras_mm, direction) for row in probe.ablations])
    for n in range(len(depth)):
        for step in (shift_mm, -shift_mm):
            moved = depth.copy()
            moved[n] += step
            # The tip lies as far ahead of the deepest zone's center as before, which has to remain the deepest.
            if len(depth) > 1 and np.array_equal(np.argsort(moved, kind="stable"), np.argsort(depth, kind="stable")):
                row = replace(
                    probe.ablations[n], center_ras_mm=_moved(probe.ablations[n].center_ras_mm, step * direction)
                )
                tip = _moved(probe.tip_ras_mm, (moved.max() - depth.max()) * direction)
                yield replace(probe, tip_ras_mm=tip, ablations=_with(probe.ablations, n, row)), 0.0
    settings = [] if device is None else device.plannable_settings
    known = {setting.name: setting for setting in settings}
    if any(row.setting not in known for row in probe.ablations):
        return
    for n, row in enumerate(probe.ablations):
        for setting in settings:
            if setting.short_axis_mm > row.short_axis_mm and setting.long_axis_mm >= row.long_axis_mm:
                larger = replace(
                    row,
                    setting=setting.name,
                    short_axis_mm=setting.short_axis_mm,
                    long_axis_mm=setting.long_axis_mm,
                )
                rows = _with(probe.ablations, n, larger)
                ahead = [d + known[other.setting].center_to_tip_mm for d, other in zip(depth, rows, strict=True)]
                past = max(ahead) - float(np.dot(probe.tip_ras_mm, direction))
                tip = _moved(probe.tip_ras_mm, past * direction)
                yield replace(probe, tip_ras_mm=tip, ablations=rows), _LEAST_GAIN


def _with(rows: tuple[Ablation, ...], number: int, row: Ablation) -> tuple[Ablation, ...]:
    return (*rows[:number], row, *rows[number + 1 :])


def _moved(point: tuple[float, float, float], shift_mm: FloatArray) -> tuple[float, float, float]:
    x, y, z = (np.array(point) + shift_mm).tolist()
    return x, y, z


def shifted(probe: Probe, shift_mm: npt.ArrayLike) -> Probe:
    """A probe moved as a whole, its zones with it."""
    shift = np.asarray(shift_mm, dtype=np.float64)
    rows = tuple(replace(row, center_ras_mm=_moved(row.center_ras_mm, shift)) for row in probe.ablations)
    ends = _moved(probe.entry_ras_mm, shift), _moved(probe.tip_ras_mm, shift)
    return replace(probe, entry_ras_mm=ends[0], tip_ras_mm=ends[1], ablations=rows)


def _thinned(target: Target, count: int) -> IntArray:
    """Numbers of about `count` points of the tumor's surface, spread over it evenly."""
    points = target.surface.points_ras_mm - target.center_ras_mm
    edge_mm = np.sqrt(target.surface.area_mm2 / max(count, 1))
    cells = np.floor(points / edge_mm).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.sort(first)


def _weakest(target: Target, zones: Sequence[Zone], count: int) -> IntArray:
    """Numbers of about `count` points of the surface: a quarter spread evenly, the others with the least margin."""
    points = target.surface.points_ras_mm
    if len(points) <= count:
        return np.arange(len(points))
    origin = target.center_ras_mm
    near = (points - origin).astype(np.float32)
    margin = union_depth_mm(zones, [feet(zone, near, origin) for zone in zones], near, origin)
    return np.union1d(_thinned(target, count // 4), np.argsort(margin, kind="stable")[: 3 * count // 4])


def _percentiles(values: FloatArray) -> dict[str, float]:
    low, middle, high = np.percentile(values, [5, 50, 95]).tolist()
    return {"p05": low, "p50": middle, "p95": high}
