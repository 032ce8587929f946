"""The fewest probes that cover a target: a weighted set cover by integer programming.

Candidates are parallel lines, each with the places along it where an ablation may be made. First
the fewest lines are chosen, as if each were ablated all along (pull-back), then the fewest
ablations on them; integer programming for needle placement follows Ren et al., IEEE JBHI
2014;18:920. The relaxation, which may take fractions of rows, gives a bound of the cost; diving
(what it takes most of is taken whole, then the rest is solved again) gives a cover, often at the
bound. Where it is above and the program is small, HiGHS solves it to the end. No step is stopped
by a clock: a busy machine gives the same cover as a fast one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from .errors import ComputationError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Share of its cost by which a cover may be above the bound and count as the cheapest. User-set.
_GAP = 0.01
#: Rows times points up to which a program is solved to the end. User-set.
_EXACT_SIZE = 150_000
#: Fraction from which a row of the relaxation is taken whole. User-set.
_WHOLE_FRACTION = 0.9


@dataclass(frozen=True)
class Cover:
    """Chosen rows of a coverage matrix, rising, and what they and the points left uncovered cost."""

    chosen: IntArray
    cost: float


def fewest_rows(covers: BoolArray, price: FloatArray, row_cost: FloatArray, *, exact_size: int = _EXACT_SIZE) -> Cover:
    """Choose rows of `covers` (R, P) so that rows and uncovered points together cost least.

    `price` (P,) is what it costs to leave a point uncovered, `row_cost` (R,) what each row costs. A program of no more
    rows times points than `exact_size` is solved to the end, which takes seconds for one of the size that it has by
    default.
    """
    program = _Program.of(covers, price, row_cost)
    bound, reduced_cost, dived = program.dive()
    best = _cheaper(greedy_rows(covers, price, row_cost), _cover(covers, price, row_cost, dived))
    # A row whose reduced cost is above the gap is in no cheaper cover.
    gap = best.cost - bound
    rows = np.flatnonzero(reduced_cost <= gap)
    if gap > _GAP * best.cost and len(rows) * len(program.price) <= exact_size:
        best = _cheaper(best, _cover(covers, price, row_cost, program.solve(rows)))
    return best


def least_cost(covers: BoolArray, price: FloatArray, row_cost: FloatArray) -> float:
    """No cover costs less: the cost of the relaxation, mostly within some percent of the cheapest cover's."""
    program = _Program.of(covers, price, row_cost)
    return program.lost + program.relax([]).cost


def greedy_rows(covers: BoolArray, price: FloatArray, row_cost: FloatArray) -> Cover:
    """Take the row that saves most per cost until none pays for itself, then drop what is not needed."""
    rows, left = covers.astype(np.float32), price.astype(np.float32)
    chosen: list[int] = []
    while len(rows):
        gain = rows @ left - row_cost
        best = int(gain.argmax())
        if gain[best] <= 1e-6:
            break
        chosen.append(best)
        left[covers[best]] = 0.0
    return _cover(covers, price, row_cost, chosen)


def _cover(covers: BoolArray, price: FloatArray, row_cost: FloatArray, rows: Sequence[int]) -> Cover:
    """The cover by some rows, less those that do not pay for themselves."""

    def cost(chosen: Sequence[int]) -> float:
        uncovered = ~covers[list(chosen)].any(axis=0)
        return float(row_cost[list(chosen)].sum() + price[uncovered].sum())

    kept = list(rows)
    for row in rows:
        others = [other for other in kept if other != row]
        if cost(others) < cost(kept):
            kept = others
    return Cover(np.array(sorted(kept), dtype=np.int64), cost(kept))


def _cheaper(first: Cover, second: Cover) -> Cover:
    return second if second.cost < first.cost else first


@dataclass(frozen=True)
class _Relaxation:
    """What fractions of rows cost at the least, the fractions (R,), and the reduced cost of each row (R,)."""

    cost: float
    fraction: FloatArray
    reduced_cost: FloatArray


@dataclass(frozen=True)
class _Program:
    """The integer program, with only the points that decide it.

    Points that the same rows cover are one, with their prices added. A point is needed where a row
    costs no more than leaving it out. A point is left away where every row that covers some needed
    one covers it too. `lost` is the price of the points that no row covers.
    """

    covers: BoolArray
    price: FloatArray
    is_needed: BoolArray
    row_cost: FloatArray
    lost: float

    @classmethod
    def of(cls, covers: BoolArray, price: FloatArray, row_cost: FloatArray) -> _Program:
        coverable = covers.any(axis=0)
        by_point = np.packbits(covers[:, coverable], axis=0).T
        _, first, group = np.unique(by_point, axis=0, return_index=True, return_inverse=True)
        patterns = covers[:, coverable][:, first]
        total = np.bincount(group.ravel(), weights=price[coverable], minlength=len(first))
        is_needed = np.asarray((patterns & (row_cost[:, None] <= total)).any(axis=0))
        rows_of = patterns.astype(np.float32)
        shared = rows_of[:, is_needed].T @ rows_of
        comes_along = shared == rows_of[:, is_needed].sum(axis=0)[:, None]
        comes_along[np.arange(len(shared)), np.flatnonzero(is_needed)] = False
        kept = np.asarray(~comes_along.any(axis=0))
        return cls(patterns[:, kept], total[kept], is_needed[kept], row_cost, float(price[~coverable].sum()))

    def relax(self, taken: Sequence[int]) -> _Relaxation:
        """The cheapest fractions of rows that do what is left to do when some are taken."""
        left = np.asarray(~self.covers[list(taken)].any(axis=0))
        rows = np.flatnonzero(self.covers[:, left].any(axis=1))
        fraction, reduced_cost = np.zeros(len(self.covers)), np.full(len(self.covers), np.inf)
        if not len(rows):
            return _Relaxation(0.0, fraction, reduced_cost)
        cost, matrix = self._cost_and_constraints(rows, left)
        found = optimize.linprog(cost, A_ub=-matrix, b_ub=-np.ones(left.sum()), bounds=(0, 1), method="highs-ds")
        if found.x is None:
            raise ComputationError(f"no cover of the target was found: {found.message}")
        fraction[rows] = found.x[: len(rows)]
        reduced_cost[rows] = (cost + matrix.T @ found.ineqlin.marginals)[: len(rows)]
        return _Relaxation(float(cost @ found.x), fraction, reduced_cost)

    def dive(self) -> tuple[float, FloatArray, list[int]]:
        """The least cost, the reduced cost of each row (R,) at it, and the rows of a cover."""
        first = relaxed = self.relax([])
        taken: list[int] = []
        while relaxed.fraction.max(initial=0.0) > 1e-6:
            whole = relaxed.fraction >= min(_WHOLE_FRACTION, relaxed.fraction.max())
            taken.extend(np.flatnonzero(whole).tolist())
            relaxed = self.relax(taken)
        return self.lost + first.cost, first.reduced_cost, taken

    def solve(self, rows: IntArray) -> list[int]:
        """The cheapest of these rows, within a tenth of the gap; none where they cannot cover what is needed."""
        cost, matrix = self._cost_and_constraints(rows, np.ones(len(self.price), dtype=bool))
        found = optimize.milp(
            cost,
            constraints=optimize.LinearConstraint(matrix, lb=1.0),
            integrality=np.where(np.arange(len(cost)) < len(rows), 1, 0),
            bounds=optimize.Bounds(0.0, 1.0),
            options={"mip_rel_gap": 0.1 * _GAP},
        )
        return [] if found.x is None else rows[found.x[: len(rows)] > 0.5].tolist()

    def _cost_and_constraints(self, rows: IntArray, points: BoolArray) -> tuple[FloatArray, Any]:
        """What taking rows and leaving out points costs, and a sparse matrix whose product with both must reach 1.

        Only points that are not needed may be left out.
        """
        spared = np.flatnonzero(~self.is_needed[points])
        left_out = sparse.csr_array(
            (np.ones(len(spared)), (spared, np.arange(len(spared)))), shape=(int(points.sum()), len(spared))
        )
        covered = sparse.csr_array(self.covers[np.ix_(rows, points)].T.astype(np.float64))
        cost = np.concatenate([self.row_cost[rows], self.price[points][spared]])
        return cost, sparse.hstack([covered, left_out], format="csr")
