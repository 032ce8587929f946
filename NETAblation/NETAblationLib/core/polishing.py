"""Shift and tilt the lines of a draft, and move the places along them, until the worst point lies as deep as can be.

The depth of a point in the zones is known to first order with its derivatives, so that many lines and
places move at once by a quasi-Newton method (BFGS: the one in scipy that calls no threaded BLAS, whose threads cost
more than these small problems); lines are pushed off obstacles meanwhile.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize

from .access import Surroundings
from .drafts import Draft, Line, across, tip_mm
from .shafts import closest_places

FloatArray = npt.NDArray[np.float64]

#: How far a line may shift and a place move freely, in mm, and a line tilt, in mm at the lever; the price of each
#: mm2 beyond. User-set.
_SHIFT_MM, _MOVE_MM, _TILT_MM, _LEVER_MM, _BEYOND_PRICE = 6.0, 10.0, 8.0, 40.0, 0.05
#: Scale in mm below which a difference of depth counts little: the smaller, the more the worst point alone counts.
#: User-set.
_SCALE_MM, _SHARP_MM = 0.7, 0.3
#: Price of the edge of the margin beside that of what must be covered. User-set.
_EDGE_PRICE = 0.3
#: Room in mm that a line keeps beyond what it needs while it moves, the price of each mm missing, and the distance
#: of samples along it. User-set.
_EXTRA_ROOM_MM, _ROOM_PRICE, _ROOM_STEP_MM = 0.5, 0.3, 2.0
#: Shafts nearer to each other than this are pushed apart, in mm, at this price for each mm. User-set.
_APART_MM, _APART_PRICE = 4.0, 0.3


def polished(
    draft: Draft, must: FloatArray, edge: FloatArray, surroundings: Surroundings, *, iterations: int, sharp: bool
) -> Draft:
    """The draft moved for depth of the points that must be covered (N, 3) and of those at the edge (M, 3).

    With `sharp` the worst points count more beside the others. Lines are pushed off obstacles but may still
    meet them: the caller has to follow them anew.
    """
    return _Polish(draft, must, edge, surroundings, _SHARP_MM if sharp else _SCALE_MM).run(iterations)


class _Polish:
    """One problem: values are, for each line, two shifts and two tilts, then one move for each place."""

    def __init__(
        self, draft: Draft, must: FloatArray, edge: FloatArray, surroundings: Surroundings, scale_mm: float
    ) -> None:
        self.draft = draft
        self.points = np.concatenate([must, edge])
        self.must_count = len(must)
        self.surroundings = surroundings
        self.count = len(draft.lines)
        # Lines turn about the point of theirs nearest to the middle of the target.
        middle = self.points.mean(axis=0)
        self.pivot_mm = np.array([(middle - line.base_ras_mm) @ line.direction for line in draft.lines])
        self.direction = np.array([line.direction for line in draft.lines])
        self.base = np.array([line.base_ras_mm for line in draft.lines]) + self.pivot_mm[:, None] * self.direction
        self.axes = np.array([across(direction) for direction in self.direction])
        self.line_of = np.repeat(np.arange(self.count), [len(row) for row in draft.places])
        rows = [entry for row in draft.places for entry in row]
        self.place = np.array([place for place, _ in rows]) - self.pivot_mm[self.line_of]
        self.long = 0.5 * np.array([setting.long_axis_mm for _, setting in rows])
        self.short = 0.5 * np.array([setting.short_axis_mm for _, setting in rows])
        self.squared = np.einsum("ij,ij->i", self.points, self.points)
        self.scale_mm = scale_mm
        # One line alone gains nothing from a tilt, and would come to lie anywhere.
        self.tilts = self.count > 1
        self.free_mm = np.repeat([_SHIFT_MM, _TILT_MM, _MOVE_MM], [2 * self.count, 2 * self.count, len(rows)])
        # From the deepest tip of each line back to the skin.
        longest = max(line.entry_mm + tip_mm(row) for line, row in zip(draft.lines, draft.places, strict=True))
        back = np.arange(0.0, longest + _ROOM_STEP_MM, _ROOM_STEP_MM)
        tips = np.array([tip_mm(row) for row in draft.places]) - self.pivot_mm
        entries = np.array([line.entry_mm for line in draft.lines]) + self.pivot_mm
        self.shaft_mm = np.stack([-entries, tips], axis=1)  # from the skin to the tip, ahead of the base points
        self.along = tips[:, None] - back[None]
        self.is_way = self.along > -entries[:, None]

    def run(self, iterations: int) -> Draft:
        start = np.zeros(len(self.free_mm))
        found = optimize.minimize(self.loss, start, jac=True, method="BFGS", options={"maxiter": iterations})
        return self.moved(found.x)

    def lines(self, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Base points (L, 3), directions (L, 3) and the lengths (L,) that these had before they were made 1."""
        shift, tilt = values[: 4 * self.count].reshape(2, self.count, 2)
        base = self.base + np.einsum("lk,lkx->lx", shift, self.axes)
        raw = self.direction + np.einsum("lk,lkx->lx", tilt / _LEVER_MM, self.axes)
        length = np.linalg.norm(raw, axis=1)
        return base, raw / length[:, None], length

    def moved(self, values: FloatArray) -> Draft:
        base, direction, _ = self.lines(values)
        place = self.place + values[4 * self.count :]
        lines = [
            Line(base[n], direction[n], line.entry_mm + float(self.pivot_mm[n]))
            for n, line in enumerate(self.draft.lines)
        ]
        settings = iter([setting for row in self.draft.places for _, setting in row])
        at = iter(place.tolist())
        places = tuple(tuple((next(at), next(settings)) for _ in row) for row in self.draft.places)
        return Draft(tuple(lines), places)

    def loss(self, values: FloatArray) -> tuple[float, FloatArray]:
        """What is short, about in mm, with its derivative by every value."""
        base, direction, length = self.lines(values)
        price, by_base, by_direction, by_place = self._short(base, direction, self.place + values[4 * self.count :])
        for part in (self._crowded(base, direction), self._met(base, direction)):
            price, by_base, by_direction = price + part[0], by_base + part[1], by_direction + part[2]
        by_shift = np.einsum("lx,lkx->lk", by_base, self.axes)
        # The derivative of a unit vector is at right angles to it.
        by_raw = (by_direction - np.einsum("lx,lx->l", by_direction, direction)[:, None] * direction) / length[:, None]
        by_tilt = np.einsum("lx,lkx->lk", by_raw, self.axes) * (self.tilts / _LEVER_MM)
        beyond = values - np.clip(values, -self.free_mm, self.free_mm)
        price += _BEYOND_PRICE * float((beyond**2).sum())
        return price, np.concatenate([by_shift.ravel(), by_tilt.ravel(), by_place]) + 2.0 * _BEYOND_PRICE * beyond

    def _short(
        self, base: FloatArray, direction: FloatArray, place: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        along = direction @ self.points.T - np.einsum("lx,lx->l", base, direction)[:, None]
        away = self.squared - 2.0 * base @ self.points.T + np.einsum("lx,lx->l", base, base)[:, None]
        squared = np.maximum(away - along**2, 1e-12)
        nearest = self._nearest(along, squared, place)
        line = self.line_of[nearest]
        rows = np.arange(len(self.points))
        axial, off, a, b = (
            along[line, rows] - place[nearest],
            np.sqrt(squared[line, rows]),
            self.long[nearest],
            self.short[nearest],
        )
        depth, by_axial, by_off = _near_distance(axial, off, a, b)
        price, by_depth = self._priced(depth)
        # How each distance changes with its line.
        offset = self.points - base[line]
        outward = (offset - along[line, rows][:, None] * direction[line]) / off[:, None]
        on_axial, on_off = by_depth * by_axial, by_depth * by_off
        by_base = _summed(line, -on_axial[:, None] * direction[line] - on_off[:, None] * outward, self.count)
        turn = on_axial[:, None] * offset - (on_off * along[line, rows])[:, None] * outward
        by_direction = _summed(line, turn, self.count)
        by_place = np.bincount(nearest, weights=-on_axial, minlength=len(place)).astype(np.float64)
        return price, by_base, by_direction, by_place

    def _nearest(self, along: FloatArray, squared: FloatArray, place: FloatArray) -> npt.NDArray[np.int64]:
        """The zone (N,) that each point lies deepest in; `along` and `squared` are (L, N). In single precision."""
        level = along.astype(np.float32)[self.line_of]
        level -= place.astype(np.float32)[:, None]
        level *= (1.0 / self.long).astype(np.float32)[:, None]
        level *= level
        beside = squared.astype(np.float32)[self.line_of]
        beside *= (1.0 / self.short**2).astype(np.float32)[:, None]
        level += beside
        np.sqrt(level, out=level)
        level -= 1.0
        level *= np.minimum(self.long, self.short).astype(np.float32)[:, None]
        return np.asarray(level.argmin(axis=0))

    def _priced(self, depth: FloatArray) -> tuple[float, FloatArray]:
        """The price of depths (N,), in which the worst counts most, and its derivative."""
        total, by_depth = 0.0, np.zeros(len(depth))
        for part, share in ((slice(0, self.must_count), 1.0), (slice(self.must_count, None), _EDGE_PRICE)):
            scaled = depth[part] / self.scale_mm
            if not len(scaled):
                continue
            worst = scaled.max()
            power = np.exp(scaled - worst)
            total += share * self.scale_mm * (worst + np.log(power.mean()) + 2.0 * np.logaddexp(0.0, scaled).mean())
            rising = 1.0 / (1.0 + np.exp(-np.clip(scaled, -50.0, 50.0)))
            by_depth[part] = share * (power / power.sum() + 2.0 * rising / len(scaled))
        return float(total), by_depth

    def _crowded(self, base: FloatArray, direction: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """The price of shafts that run too near to each other anywhere, and its derivative by lines.

        Where two come nearest does not move to first order when they do (the envelope theorem).
        """
        by_base, by_direction = np.zeros_like(base), np.zeros_like(base)
        if self.count < 2:
            return 0.0, by_base, by_direction
        one, other = np.triu_indices(self.count, 1)
        ends = base[:, None] + self.shaft_mm[..., None] * direction[:, None]
        places = closest_places(ends[one], ends[other])
        along = [
            self.shaft_mm[line, 0] + places[:, n] * np.ptp(self.shaft_mm[line], axis=1)
            for n, line in enumerate((one, other))
        ]
        here, there = (base[line] + at[:, None] * direction[line] for line, at in zip((one, other), along, strict=True))
        apart = np.maximum(np.linalg.norm(here - there, axis=1), 1e-6)
        missing = np.maximum(_APART_MM - apart, 0.0)
        push = (-_APART_PRICE * (missing > 0) / apart)[:, None] * (here - there)
        for line, at, sign in ((one, along[0], 1.0), (other, along[1], -1.0)):
            np.add.at(by_base, line, sign * push)
            np.add.at(by_direction, line, sign * push * at[:, None])
        return float(_APART_PRICE * missing.sum()), by_base, by_direction

    def _met(self, base: FloatArray, direction: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """The price of room missing along the ways, and its derivative by lines, from differences sideways."""
        by_base, by_direction = np.zeros_like(base), np.zeros_like(base)
        points = base[:, None] + self.along[..., None] * direction[:, None]
        step = 0.5
        shifted = np.concatenate([points[None], points + step * np.moveaxis(self.axes, 1, 0)[:, :, None]])
        room = self.surroundings.sample(self.surroundings.room_mm, shifted, 0.0)
        missing = np.where(self.is_way, np.maximum(_EXTRA_ROOM_MM - room[0], 0.0), 0.0)
        if not missing.any():
            return 0.0, by_base, by_direction
        scale = _ROOM_PRICE * _ROOM_STEP_MM / 10.0
        slope = np.where(missing > 0, -(room[1:] - room[0]) / step, 0.0) * scale
        by_point = np.einsum("klm,lkx->lmx", slope, self.axes)
        return (
            float(scale * missing.sum()),
            by_point.sum(axis=1),
            np.einsum("lmx,lm->lx", by_point, self.along),
        )


def _near_distance(
    axial: FloatArray, beside: FloatArray, a: FloatArray, b: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """As :func:`~.probes.near_distance_mm` without its floor, with the derivatives by both distances."""
    level = np.maximum(np.hypot(axial / a, beside / b), 1e-3)
    steep = np.maximum(np.hypot(axial / a**2, beside / b**2), 1e-9)
    depth = (level - 1.0) * level / steep
    by_level, by_steep = (2.0 * level - 1.0) / steep, -(level - 1.0) * level / steep**2
    by_axial = by_level * axial / (a**2 * level) + by_steep * axial / (a**4 * steep)
    by_beside = by_level * beside / (b**2 * level) + by_steep * beside / (b**4 * steep)
    return depth, by_axial, by_beside


def _summed(line: npt.NDArray[np.int64], vectors: FloatArray, count: int) -> FloatArray:
    """Sums (count, 3) of vectors (N, 3) over the lines (N,) that they belong to."""
    return np.stack([np.bincount(line, weights=vectors[:, axis], minlength=count) for axis in range(3)], axis=1)
