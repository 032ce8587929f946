"""Which lesions to ablate to reach a share of the tumor's volume at the least cost: counted, exactly.

Each lesion has a volume and a cost (probes, or healthy liver lost); those that cannot be ablated are
left out with the reason. The choice is a covering knapsack, solved to the end by integer programming
(HiGHS through scipy). Of equally cheap choices the one with the most volume counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from .errors import ComputationError, InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Rounding of sums that does not count, as a share of the sum.
_ROUNDING = 1e-9
#: What is needed, and what the dearest lesion costs, in the program: HiGHS keeps to both within an absolute 1e-6.
_SCALE = 1000.0

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
    costs below 0, missing costs or reasons, and names that are not of a lesion; ComputationError where
    HiGHS does not solve the program.
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
    """The cheapest rows whose volumes sum to what is needed; of equally cheap ones those with the most volume."""
    share = volumes * (_SCALE / needed_ml)
    dearest = float(prices.max())
    price = prices * (_SCALE / dearest if dearest > 0 else 0.0)
    enough = optimize.LinearConstraint(share[None], _SCALE * (1 - _ROUNDING), np.inf)
    least = _solve(price, enough)
    bound = float(price @ least) * (1 + _ROUNDING)
    most = _solve(-share, enough, optimize.LinearConstraint(price[None], -np.inf, bound))
    # The second program keeps to the bound within the solver's tolerance only.
    return most if float(price @ most) <= bound and share @ most > share @ least else least


def _solve(objective: FloatArray, *constraints: optimize.LinearConstraint) -> BoolArray:
    found = optimize.milp(
        objective,
        constraints=constraints,
        integrality=np.ones(len(objective), dtype=np.int64),
        bounds=optimize.Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None or found.status != 0:
        raise ComputationError(f"debulking: the choice of lesions was not solved ({found.message})")
    return np.asarray(found.x) > 0.5


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
