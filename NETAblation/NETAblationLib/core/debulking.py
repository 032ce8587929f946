"""Which lesions to ablate to reach a share of the tumor's volume at the least cost: counted, exactly.

Each lesion has a volume and a cost (probes, or healthy liver lost); those that cannot be ablated are
left out with the reason. The choice is a covering knapsack, solved to the end by dynamic programming over the
choices that no other beats (Nemhauser and Ullmann) with the bound of the relaxed program. scipy's integer programming
finds the same (the tests compare both), but HiGHS writes to standard output at times and decides what is within a
millionth by its tolerances. Of equally cheap choices the one with the most volume counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Rounding of sums that does not count, as a share of the sum.
_ROUNDING = 1e-9
#: Open choices from which on what is cheaper by less than this share of the cost is not sought. So many are open only
#: where costs are the volumes themselves; for probes and liver lost there are some tens.
_MAX_OPEN, _GAP = 100_000, 1e-6

#: Radius of the largest disk that 1, 2, ... disks of radius 1 cover: the best arrangements up to seven, then one disk
#: in the middle and a ring around it. Above ten the thinnest covering of the plane is taken.
_COVERED_RADIUS = (
    1.0,
    1.0,
    2.0 / math.sqrt(3.0),
    math.sqrt(2.0),
    1.6410,
    1.7988,
    2.0,
    *(1.0 + 2.0 * math.cos(2.0 * math.pi / ring) for ring in (7, 8, 9)),
)
#: Disks per square radius in the thinnest covering of the plane by disks of radius 1, times pi, and the rim beyond the
#: disk, which joins on to the ten disks above and gives the 19 of the hexagonal covering.
_PLANE_DENSITY = 2.0 * math.pi / math.sqrt(27.0)
_PLANE_RIM = 0.35


@dataclass(frozen=True)
class Step:
    """One lesion to ablate, and what is reached after it, as a share of all tumor volume."""

    name: str
    volume_ml: float
    cost: float
    reached_fraction: float


@dataclass(frozen=True)
class Debulking:
    """The cheapest way to a goal, in the order of the largest volume for its cost first.

    Where the goal cannot be reached, `is_reached` is False, the steps are all that can be ablated, and
    `reason` says why. `left` are lesions that the goal does not need, `excluded` those that cannot be
    ablated, with the reason. `reachable_fraction` is reached with all that can be ablated.
    """

    goal_fraction: float
    cost_name: str
    is_reached: bool
    steps: tuple[Step, ...]
    reached_fraction: float
    reachable_fraction: float
    total_cost: float
    tumor_volume_ml: float
    left: tuple[str, ...]
    excluded: Mapping[str, str]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **asdict(self),
            "steps": [asdict(step) for step in self.steps],
            "left": list(self.left),
            "excluded": dict(self.excluded),
        }


def plan_debulking(
    volumes_ml: Mapping[str, float],
    costs: Mapping[str, float],
    goal_fraction: float,
    *,
    not_ablatable: Mapping[str, str] | None = None,
    cost_name: str = "probes",
) -> Debulking:
    """Choose the lesions whose volumes reach `goal_fraction` of the volume of all, at the least total cost.

    `volumes_ml` are all lesions by name; `costs` those of the ones that can be ablated;
    `not_ablatable` are the others, with the reason. The result is the same in whatever order the lesions come.

    Raises InputError for no lesion, a goal that is not above 0 and at most 1, volumes that are not above 0,
    costs below 0, missing costs or reasons, and names that are not of a lesion.
    """
    excluded = dict(not_ablatable or {})
    _check(volumes_ml, costs, goal_fraction, excluded)
    names = sorted(name for name in volumes_ml if name not in excluded)
    total_ml = math.fsum(volumes_ml.values())
    volumes = np.array([volumes_ml[name] for name in names])
    prices = np.array([float(costs[name]) for name in names])
    reachable = math.fsum(volumes) / total_ml
    is_reached = reachable >= goal_fraction * (1 - _ROUNDING)
    chosen = _cheapest(volumes, prices, goal_fraction * total_ml) if is_reached else np.ones(len(names), dtype=bool)
    steps = _in_order([names[n] for n in np.flatnonzero(chosen)], volumes_ml, costs, total_ml)
    return Debulking(
        goal_fraction=float(goal_fraction),
        cost_name=cost_name,
        is_reached=is_reached,
        steps=steps,
        reached_fraction=steps[-1].reached_fraction if steps else 0.0,
        reachable_fraction=reachable,
        total_cost=math.fsum(step.cost for step in steps),
        tumor_volume_ml=total_ml,
        left=tuple(names[n] for n in np.flatnonzero(~chosen)),
        excluded={name: excluded[name] for name in sorted(excluded)},
        reason="" if is_reached else _why_not(volumes_ml, excluded, reachable, goal_fraction, total_ml),
    )


def estimate_probes(longest_3d_mm: float, short_axis_mm: float, margin_mm: float) -> int:
    """Probes that a lesion needs, by geometry alone; an estimate where no plan exists.

    One, up to a diameter of the zone's short axis less twice the margin. Above, as many parallel probes, each
    ablated all along, as disks of the zone's short axis are needed to cover a disk of the lesion's
    longest diameter and twice the margin; it is an upper estimate for a lesion that is not round.
    Raises InputError for lengths that are not above 0 or a margin below 0.
    """
    lengths = (longest_3d_mm, short_axis_mm)
    if not all(np.isfinite(lengths)) or min(lengths) <= 0 or not (np.isfinite(margin_mm) and margin_mm >= 0):
        raise InputError(
            f"probes: diameter {longest_3d_mm} mm and zone {short_axis_mm} mm have to be above 0, and the margin "
            f"{margin_mm} mm at least 0"
        )
    radius = (longest_3d_mm + 2 * margin_mm) / short_axis_mm
    for count, covered in enumerate(_COVERED_RADIUS, start=1):
        if radius <= covered * (1 + _ROUNDING):
            return count
    return max(len(_COVERED_RADIUS) + 1, math.ceil(_PLANE_DENSITY * (radius + _PLANE_RIM) ** 2))


def _check(
    volumes_ml: Mapping[str, float], costs: Mapping[str, float], goal_fraction: float, excluded: Mapping[str, str]
) -> None:
    if not volumes_ml:
        raise InputError("debulking: no lesion is given")
    if not (np.isfinite(goal_fraction) and 0 < goal_fraction <= 1):
        raise InputError(f"debulking: the goal {goal_fraction} is not a fraction above 0 and at most 1")
    unknown = sorted((set(costs) | set(excluded)) - set(volumes_ml))
    if unknown:
        raise InputError(f"debulking: there is no lesion {', '.join(unknown)}; there are {', '.join(volumes_ml)}")
    for name, volume in volumes_ml.items():
        if not (np.isfinite(volume) and volume > 0):
            raise InputError(f"debulking: lesion '{name}' has a volume of {volume} ml, which is not above 0")
        if name in excluded and not excluded[name].strip():
            raise InputError(f"debulking: lesion '{name}' is left out without a reason")
        if name not in excluded and name not in costs:
            raise InputError(f"debulking: lesion '{name}' has no cost; give one, or why it cannot be ablated")
        if name not in excluded and not (np.isfinite(costs[name]) and costs[name] >= 0):
            raise InputError(f"debulking: lesion '{name}' costs {costs[name]}, which is not a number of at least 0")


def _cheapest(volumes: FloatArray, prices: FloatArray, needed_ml: float) -> BoolArray:
    """The cheapest rows whose volumes sum to what is needed; of equally cheap ones those with the most volume.

    Row by row, each choice so far is kept with and without the row. Dropped are choices that another one beats in
    both price and volume, and those that cannot be completed as cheaply as the best known, even if a part of
    a row could be taken. So nothing that could be the answer is lost.
    """
    order = np.argsort(prices / volumes, kind="stable")  # the most volume for its price first
    volume, price = volumes[order], prices[order]
    sum_volume, sum_price = np.append(0.0, np.cumsum(volume)), np.append(0.0, np.cumsum(price))
    needed = needed_ml * (1 - _ROUNDING)
    have, paid, best = np.zeros(1), np.zeros(1), np.inf
    best_rows = np.ones(len(order), dtype=bool)
    history: list[tuple[IntArray, BoolArray]] = []
    for row in range(len(order)):
        parent, is_taken = np.tile(np.arange(len(have)), 2), np.repeat([False, True], len(have))
        have, paid = np.append(have, have + volume[row]), np.append(paid, paid + price[row])
        # The next rows, up to the `last`, complete a choice; of the last of them only a part would be needed.
        missing = np.maximum(needed - have, 0.0)
        last = np.searchsorted(sum_volume, sum_volume[row + 1] + missing * (1 - _ROUNDING))
        can = last <= len(order)
        last = np.clip(last, row + 1, len(order))
        whole = paid + sum_price[last] - sum_price[row + 1]
        surplus = np.maximum(sum_volume[last] - sum_volume[row + 1] - missing, 0.0)
        part = whole - np.where(last > row + 1, surplus * (price / volume)[last - 1], 0.0)
        cheapest = int(np.argmin(np.where(can, whole, np.inf)))
        if can[cheapest] and whole[cheapest] < best:
            best = float(whole[cheapest])
            best_rows = _rows(history, parent[cheapest], is_taken[cheapest], len(order))
            best_rows[row + 1 : last[cheapest]] = True
        is_open = can & (part <= best * (1 + _ROUNDING))
        if np.count_nonzero(is_open) > _MAX_OPEN:
            is_open &= part < best * (1 - _GAP)
        kept = np.flatnonzero(is_open)
        kept = kept[np.lexsort([-have[kept], paid[kept]])]
        most_before = np.append(-np.inf, np.maximum.accumulate(have[kept]))[: len(kept)]
        kept = kept[have[kept] > most_before]
        if not len(kept):
            break
        have, paid = have[kept], paid[kept]
        history.append((parent[kept], is_taken[kept]))
    else:
        found = int(np.lexsort([-have, paid])[0])
        if paid[found] <= best * (1 + _ROUNDING):
            parent, is_taken = history.pop()
            best_rows = _rows(history, parent[found], is_taken[found], len(order))
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = best_rows
    return chosen


def _rows(history: Sequence[tuple[IntArray, BoolArray]], place: int, is_taken: bool, count: int) -> BoolArray:
    """The rows (count,) that a choice has taken, from the choice before it, `place`, and whether it took the last."""
    rows = np.zeros(count, dtype=bool)
    rows[len(history)] = is_taken
    for row in reversed(range(len(history))):
        parents, taken = history[row]
        rows[row] = taken[place]
        place = int(parents[place])
    return rows


def _in_order(
    names: Sequence[str], volumes_ml: Mapping[str, float], costs: Mapping[str, float], total_ml: float
) -> tuple[Step, ...]:
    """The lesions with the most volume for their cost first; of alike ones the larger, then by name."""

    def gain(name: str) -> float:
        return volumes_ml[name] / costs[name] if costs[name] > 0 else math.inf

    steps, done = [], []
    for name in sorted(names, key=lambda name: (-gain(name), -volumes_ml[name], name)):
        done.append(volumes_ml[name])
        steps.append(Step(name, float(volumes_ml[name]), float(costs[name]), math.fsum(done) / total_ml))
    return tuple(steps)


def _why_not(
    volumes_ml: Mapping[str, float], excluded: Mapping[str, str], reachable: float, goal: float, total_ml: float
) -> str:
    largest_first = sorted(excluded, key=lambda name: (-volumes_ml[name], name))
    left = "; ".join(f"{name} ({100 * volumes_ml[name] / total_ml:.1f} %): {excluded[name]}" for name in largest_first)
    return (
        f"{100 * goal:g} % of the tumor's volume cannot be reached: at most {100 * reachable:.1f} % can be ablated, "
        f"since these are left out: {left}"
    )
