"""Descents to minima that are known, with and without kinks, and results of a second thread in their order."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from NETAblationLib.core.descent import descended
from NETAblationLib.core.second_thread import ahead


def test_the_lowest_place_of_a_narrow_valley_is_found():
    """Rosenbrock's function, whose lowest place is (1, 1)."""

    def loss(values):
        x, y = values
        slope = np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2, slope

    assert descended(loss, np.array([-1.2, 1.0]), 200) == pytest.approx((1.0, 1.0), abs=1e-4)


def test_kinks_do_not_stop_a_descent():
    """The largest of three slopes: lowest, by hand, at (0, 0), where all three meet."""
    slopes = np.array([[1.0, 2.0], [-3.0, 1.0], [1.0, -4.0]])

    def loss(values):
        each = slopes @ values
        return float(each.max()), slopes[each.argmax()]

    assert loss(descended(loss, np.array([3.0, -1.7]), 200))[0] == pytest.approx(0.0, abs=1e-3)


def test_a_descent_ends_where_steps_gain_less_than_asked():
    seen = []

    def loss(values):
        seen.append(float(values @ values))
        return float((values**4).sum()), 4 * values**3

    exact = descended(loss, np.full(3, 2.0), 500)
    many = len(seen)
    rough = descended(loss, np.full(3, 2.0), 500, least=0.1)
    assert len(seen) - many < many
    assert np.abs(exact).max() < np.abs(rough).max() < 1.0


@pytest.mark.parametrize("slope", [np.zeros(2), np.array([np.nan, 0.0])])
def test_without_a_slope_nothing_moves(slope):
    assert descended(lambda values: (1.0, slope), np.array([3.0, 4.0]), 10).tolist() == [3.0, 4.0]


def test_results_come_in_order_whatever_takes_longer():
    def slow(number):
        time.sleep(0.02 if number % 2 == 0 else 0.0)
        return number * number

    for threads in (1, 2):
        assert list(ahead(slow, range(7), threads=threads)) == [n * n for n in range(7)]


def test_a_caller_who_stops_leaves_no_work_to_begin():
    begun = []
    gate = threading.Event()

    def waiting(number):
        begun.append(number)
        if number > 0:
            gate.wait(5.0)
        return number

    with closing(ahead(waiting, range(100))) as results:
        assert next(results) == 0
    gate.set()
    time.sleep(0.05)
    assert begun in ([0], [0, 1])


def test_an_error_reaches_the_caller():
    def fails(number):
        raise ValueError(f"no {number}")

    with pytest.raises(ValueError, match="no 0"):
        list(ahead(fails, range(3)))
