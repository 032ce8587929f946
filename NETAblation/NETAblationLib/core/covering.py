"""The fewest probes that cover a target, along one direction: a set cover solved exactly.

Candidates are parallel lines, each with the places along it where an ablation may be made. First
the fewest lines are chosen, as if each were ablated all along (pull-back), then the fewest
ablations on them. Both are integer programs, solved by HiGHS within a time limit; integer
programming for needle placement follows Ren et al., IEEE JBHI 2014;18:920.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cover:
    """Chosen rows of a coverage matrix, and the price of what they leave uncovered."""

    chosen: npt.NDArray[np.int64]
    cost: float


def fewest_rows(covers: BoolArray, price: FloatArray, row_cost: FloatArray, seconds: float) -> Cover:
    """Choose rows of `covers` (R, P) so that rows and uncovered points together cost least.

    `price` (P,) is what it costs to leave a point uncovered, `row_cost` (R,) what each row
    costs. Starts from a greedy cover, which stays where the solver finds nothing better in time.
    """
    coverable = covers.any(axis=0)
    lost = float(price[~coverable].sum())
    greedy = greedy_rows(covers, price, row_cost)
    # Points covered by the same rows are one point with their prices added.
    patterns, group = np.unique(np.packbits(covers[:, coverable], axis=0).T, axis=0, return_inverse=True)
    if not len(patterns):
        return Cover(np.empty(0, dtype=np.int64), lost)
    first = np.zeros(len(patterns), dtype=np.int64)
    first[group[::-1]] = np.flatnonzero(coverable)[::-1]
    grouped_price = np.bincount(group, weights=price[coverable], minlength=len(patterns))
    rows, points = len(covers), len(patterns)
    matrix = sparse.hstack([sparse.csr_array(covers[:, first].T.astype(float)), sparse.eye_array(points)], format="csr")
    result = optimize.milp(
        np.concatenate([row_cost, grouped_price]),
        constraints=optimize.LinearConstraint(matrix, lb=1.0),
        integrality=np.concatenate([np.ones(rows), np.zeros(points)]),
        bounds=optimize.Bounds(0.0, 1.0),
        options={"time_limit": seconds, "mip_rel_gap": 1e-3},
    )
    if result.x is None:
        return greedy
    chosen = np.flatnonzero(result.x[:rows] > 0.5)
    cost = _cost(covers, price, row_cost, chosen)
    return Cover(chosen, cost) if cost < greedy.cost else greedy


def greedy_rows(covers: BoolArray, price: FloatArray, row_cost: FloatArray) -> Cover:
    """Take the row that saves most per cost until none pays for itself, then drop what is not needed."""
    left = price.astype(np.float64).copy()
    chosen: list[int] = []
    while True:
        gain = covers @ left - row_cost
        best = int(gain.argmax()) if len(gain) else -1
        if best < 0 or gain[best] <= 1e-12:
            break
        chosen.append(best)
        left[covers[best]] = 0.0
    for row in list(chosen):
        others = [other for other in chosen if other != row]
        if _cost(covers, price, row_cost, np.array(others, dtype=np.int64)) < _cost(
            covers, price, row_cost, np.array(chosen, dtype=np.int64)
        ):
            chosen = others
    rows = np.array(sorted(chosen), dtype=np.int64)
    return Cover(rows, _cost(covers, price, row_cost, rows))


def _cost(covers: BoolArray, price: FloatArray, row_cost: FloatArray, rows: npt.NDArray[np.int64]) -> float:
    uncovered = ~covers[rows].any(axis=0) if len(rows) else np.ones(covers.shape[1], dtype=bool)
    return float(row_cost[rows].sum() + price[uncovered].sum())
