"""The fewest rows that cover what pays: against every choice there is, and a program with a known answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from NETAblationLib.core.covering import fewest_rows, greedy_rows, least_cost


def cheapest(covers, price, row_cost):
    """Every choice of rows tried."""
    choices = (np.arange(2 ** len(covers))[:, None] >> np.arange(len(covers))) & 1
    uncovered = (choices @ covers.astype(int)) == 0
    return (choices @ row_cost + uncovered @ price).min()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 30))
def test_the_cover_is_the_cheapest_of_all(seed, rows, points):
    rng = np.random.default_rng(seed)
    covers = rng.random((rows, points)) < rng.uniform(0.2, 0.4)
    price = rng.choice([0.0, 0.05, 0.3, 5.0], points)
    row_cost = rng.uniform(0.8, 1.2, rows)
    cover, greedy = fewest_rows(covers, price, row_cost), greedy_rows(covers, price, row_cost)
    for found in (cover, greedy):
        exact = row_cost[found.chosen].sum() + price[~covers[found.chosen].any(axis=0)].sum()
        assert found.cost == pytest.approx(exact)
        assert np.array_equal(found.chosen, np.unique(found.chosen))
    best = cheapest(covers, price, row_cost)
    assert best - 1e-9 <= cover.cost <= 1.01 * best + 1e-9
    assert cover.cost <= greedy.cost
    assert least_cost(covers, price, row_cost) <= best + 1e-6


@pytest.mark.parametrize("seed", [23, 52, 90])
def test_a_program_that_rounding_does_not_solve_is_solved_to_the_end(seed):
    """Chosen among random ones, since greed and diving both end 5 to 15 % above the cheapest cover."""
    rng = np.random.default_rng(seed)
    covers = rng.random((12, 30)) < 0.3
    price, row_cost = rng.choice([0.05, 0.3, 5.0], 30), rng.uniform(0.8, 1.2, 12)
    best = cheapest(covers, price, row_cost)
    assert greedy_rows(covers, price, row_cost).cost > 1.04 * best
    assert fewest_rows(covers, price, row_cost).cost == pytest.approx(best, rel=0.001)


def test_greed_is_worse_where_it_is_known_to_be():
    """Two rows cover all; greed takes the large one across both first."""
    covers = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0]], bool)
    price, row_cost = np.full(6, 9.0), np.array([1.0, 1.0, 0.9])
    assert list(fewest_rows(covers, price, row_cost).chosen) == [0, 1]
    assert fewest_rows(covers, price, row_cost).cost == pytest.approx(2.0)


def test_a_hard_cover_is_solved_to_the_end_and_always_the_same():
    """Steiner triples: fractions of rows are much cheaper than whole ones, so no bound proves the optimum."""
    points = list(itertools.product(range(3), repeat=3))
    lines = {
        tuple(sorted((a, b, tuple((-x - y) % 3 for x, y in zip(a, b, strict=True)))))
        for a, b in itertools.combinations(points, 2)
    }
    covers = np.array([[point in line for line in sorted(lines)] for point in points])
    cost = np.ones(27)
    found = [fewest_rows(covers, np.full(len(lines), 50.0), cost) for _ in range(2)]
    assert found[0].cost == 18.0  # Fulkerson, Nemhauser and Trotter 1974, problem A27
    assert np.array_equal(found[0].chosen, found[1].chosen)


def test_rows_that_do_not_pay_for_themselves_are_left():
    covers = np.ones((2, 3), bool)
    cover = fewest_rows(covers, np.full(3, 0.1), np.full(2, 1.0))
    assert len(cover.chosen) == 0
    assert cover.cost == pytest.approx(0.3)
    nothing = fewest_rows(np.zeros((2, 3), bool), np.full(3, 7.0), np.full(2, 1.0))
    assert len(nothing.chosen) == 0
    assert nothing.cost == pytest.approx(21.0)
