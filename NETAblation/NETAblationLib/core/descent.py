"""Descend a function that is smooth but for kinks: BFGS with a line search that kinks do not stop.

Where a zone takes over from another one as the deepest at a point, the derivative of what is short jumps. Lewis and
Overton (Math Program 2013;141:135) show that BFGS goes on at such places when its line search asks for the weak
conditions of Wolfe only, found by bracketing: it looks at a function once for most of its steps, where a search for
the strong conditions looks in vain for many. No threaded BLAS is called, whose threads cost more than these small
problems.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: Share of the descent that the slope promises which a step has to reach, and of the slope that may be left after it:
#: those of Nocedal and Wright, Numerical Optimization, 2006, section 3.1.
_DESCENT_SHARE, _SLOPE_SHARE = 1e-4, 0.9
#: Lengths that are tried for a step, and steps that together have to lead down by an amount. User-set.
_LENGTHS, _STEPS = 8, 5


def descended(
    loss: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, iterations: int, least: float = 0.0
) -> FloatArray:
    """Where a function of (N,) values, which gives its derivative too, is low, as found from `start` (N,).

    The first step has a length of 1. Ends after so many steps, where no length of one leads on, or where some of them
    together lead down by no more than the `least`.
    """
    values = start
    price, slope = loss(values)
    size = float(np.sqrt(slope @ slope))
    if size == 0.0:
        return values
    inverse, before = np.eye(len(values)) / size, [price]
    for number in range(iterations):
        way = -inverse.dot(slope)
        found = _step(loss, values, price, slope, way)
        if found is None:
            break
        moved, price, new_slope = found
        step, change = moved - values, new_slope - slope
        values, slope = moved, new_slope
        before.append(price)
        if number >= _STEPS and before[-1 - _STEPS] - price <= least:
            break
        curved = float(step @ change)
        if curved <= 0.0:
            continue
        if number == 0:
            inverse = np.eye(len(values)) * (curved / float(change @ change))
        # The inverse of BFGS, multiplied out.
        turned = inverse.dot(change)
        inverse += (1.0 + float(change @ turned) / curved) / curved * np.multiply.outer(step, step)
        mixed = np.multiply.outer(step / curved, turned)
        inverse -= mixed
        inverse -= mixed.T
    return values


def _step(
    loss: Callable[[FloatArray], tuple[float, FloatArray]],
    values: FloatArray,
    price: float,
    slope: FloatArray,
    way: FloatArray,
) -> tuple[FloatArray, float, FloatArray] | None:
    """A step along a way to less, with the price and the slope there; None where there is none."""
    descent = float(slope @ way)
    if descent >= 0.0:
        return None
    length, shortest, longest = 1.0, 0.0, np.inf
    lower: tuple[FloatArray, float, FloatArray] | None = None
    for _ in range(_LENGTHS):
        moved = values + length * way
        its_price, its_slope = loss(moved)
        if not its_price <= price + _DESCENT_SHARE * length * descent:
            longest = length
        else:
            lower = moved, its_price, its_slope
            if float(its_slope @ way) >= _SLOPE_SHARE * descent:
                break
            shortest = length
        length = 2.0 * length if np.isinf(longest) else 0.5 * (shortest + longest)
    return lower
