"""Shift and tilt the lines of a draft, and move the places along them, until the worst point lies as deep as can be.

The depth of a point in the zones is known to first order with its derivatives, so that many lines and
places move at once by a quasi-Newton method (:mod:`.descent`); lines are pushed off obstacles meanwhile.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .access import Surroundings
from .descent import descended
from .drafts import Draft, Line, across, tip_mm
from .shafts import closest_distances_mm, closest_places

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

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
#: How much the room may change over 1 mm: a distance by 1 along each axis of the grid between whose nodes it is linear.
_ROOM_SLOPE = 3.0**0.5
#: Points deeper than this in the zones of several lines take no part, in mm; and the zones that a point lies deepest
#: in at the start, among which the deepest one is looked for: a power of 2. User-set.
_DEEP_MM, _ZONES_AT_POINT = 4.0, 4
#: What some steps together have to gain, about in mm, for more of them. User-set.
_LEAST_GAIN = 0.003
#: Depths in scales beyond which a point is as bad as can be, and what its exponential has beside it, so that single
#: precision holds both.
_MOST_SCALES, _NO_POWER = np.float32(80.0), 1e-37
#: Shafts nearer to each other than this are pushed apart, in mm, at this price for each mm. User-set.
_APART_MM, _APART_PRICE = 4.0, 0.3


def polished(
    draft: Draft, must: FloatArray, edge: FloatArray, surroundings: Surroundings, *, iterations: int, sharp: bool
) -> Draft:
    """The draft moved for depth of the points that must be covered (N, 3) and of those at the edge (M, 3).

    With `sharp` the worst points count more beside the others. Points deep in the zones of several lines take no part
    where others do. Lines are pushed off obstacles but may still meet them: the caller has to follow them anew.
    """
    return _Polish(draft, must, edge, surroundings, _SHARP_MM if sharp else _SCALE_MM).run(iterations)


class _Polish:
    """One problem: values are, for each line, two shifts and two tilts, then one move for each place.

    Points and base points are relative to the middle of the points.
    """

    def __init__(
        self, draft: Draft, must: FloatArray, edge: FloatArray, surroundings: Surroundings, scale_mm: float
    ) -> None:
        self.draft = draft
        self.surroundings = surroundings
        self.count = len(draft.lines)
        every_point = np.concatenate([must, edge])
        self.middle = every_point.mean(axis=0)
        # Lines turn about the point of theirs nearest to the middle of the target.
        self.pivot_mm = np.array([(self.middle - line.base_ras_mm) @ line.direction for line in draft.lines])
        self.direction = np.array([line.direction for line in draft.lines])
        base = np.array([line.base_ras_mm for line in draft.lines]) - self.middle
        self.base = base + self.pivot_mm[:, None] * self.direction
        self.axes = np.array([across(direction) for direction in self.direction])
        self.line_of = np.repeat(np.arange(self.count), [len(row) for row in draft.places])
        rows = [entry for row in draft.places for entry in row]
        self.place = np.array([place for place, _ in rows]) - self.pivot_mm[self.line_of]
        self.long = 0.5 * np.array([setting.long_axis_mm for _, setting in rows])
        self.short = 0.5 * np.array([setting.short_axis_mm for _, setting in rows])
        self.first_zones = np.flatnonzero(np.diff(self.line_of, prepend=-1))
        self.inverse_squares = np.stack([self.long, self.short]).astype(np.float32) ** -2
        self.scale_mm = scale_mm
        self._take_points(every_point - self.middle, len(must))
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
        is_way = self.along > -entries[:, None]
        self.pairs = np.stack(np.triu_indices(self.count, 1))
        self.reach_mm = np.abs(self.along).max(axis=1)  # farthest from the point that the line turns about
        # What there is at the start tells where a small move can meet nothing.
        ends = self.base[:, None] + self.shaft_mm[..., None] * self.direction[:, None]
        self.apart_mm = closest_distances_mm(ends[self.pairs[0]], ends[self.pairs[1]])
        self.room_mm = np.where(
            is_way, self._room(self.base[:, None] + self.along[..., None] * self.direction[:, None]), np.inf
        )
        self.least_room_mm = self.room_mm.min(axis=1)

    def _take_points(self, points: FloatArray, must_count: int) -> None:
        """Keep the points (N, 3) that count, and for each the zones that it lies deepest in."""
        along = self.direction @ points.T - np.einsum("lx,lx->l", self.base, self.direction)[:, None]
        away = np.einsum("nx,nx->n", points, points) - 2.0 * self.base @ points.T
        away += np.einsum("lx,lx->l", self.base, self.base)[:, None] - along**2
        depth = np.empty((len(self.place), len(points)), dtype=np.float32)
        for zone, (line, a, b) in enumerate(zip(self.line_of, self.long, self.short, strict=True)):
            level = np.sqrt(((along[line] - self.place[zone]) / a) ** 2 + np.maximum(away[line], 0.0) / b**2)
            depth[zone] = (level - 1.0) * min(a, b)
        left = np.flatnonzero(depth.min(axis=0) > -_DEEP_MM)
        if self.count > 1 and (left < must_count).any():
            points, depth, must_count = points[left], depth[:, left], int((left < must_count).sum())
        self.must_count = must_count
        kept = min(_ZONES_AT_POINT, len(depth))
        zones = (
            np.argpartition(depth, kept - 1, axis=0)[:kept]
            if kept < len(depth)
            else np.tile(np.arange(kept)[:, None], len(points))
        )
        self.zones = zones[np.arange(_ZONES_AT_POINT) % kept]  # some twice where there are fewer
        self.on_line = self.line_of[self.zones] * len(points) + np.arange(len(points))
        self.single = np.ascontiguousarray(points.T, dtype=np.float32)
        self.squared = (self.single**2).sum(axis=0)
        least = np.minimum(self.long, self.short)
        self.of_zones = tuple(
            column.astype(np.float32)[self.zones] for column in (1.0 / self.long, 1.0 / self.short**2, least)
        )

    def run(self, iterations: int) -> Draft:
        return self.moved(descended(self.loss, np.zeros(len(self.free_mm)), iterations, _LEAST_GAIN))

    def lines(self, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Base points (L, 3), directions (L, 3) and the lengths (L,) that these had before they were made 1."""
        shift, tilt = values[: 4 * self.count].reshape(2, self.count, 2)
        first, second = self.axes[:, 0], self.axes[:, 1]
        base = self.base + shift[:, :1] * first + shift[:, 1:] * second
        raw = self.direction + (tilt[:, :1] * first + tilt[:, 1:] * second) / _LEVER_MM
        length = np.sqrt((raw * raw).sum(axis=1))
        return base, raw / length[:, None], length

    def moved(self, values: FloatArray) -> Draft:
        base, direction, _ = self.lines(values)
        place = self.place + values[4 * self.count :]
        lines = [
            Line(base[n] + self.middle, direction[n], line.entry_mm + float(self.pivot_mm[n]))
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
        moves = values[: 4 * self.count].reshape(2, self.count, 2)
        shift_mm, tilt_mm = np.sqrt((moves * moves).sum(axis=2))
        for part in (
            self._crowded(base, direction, shift_mm, tilt_mm / _LEVER_MM),
            self._met(base, direction, shift_mm, tilt_mm / _LEVER_MM),
        ):
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
        """The price of depth missing, with its derivatives by base points, directions and places."""
        zone = self._deepest(base, direction, place)
        of_zone = np.concatenate([base.T.take(self.line_of, axis=1), direction.T.take(self.line_of, axis=1), [place]])
        at_point = of_zone.astype(np.float32).take(zone, axis=1)
        offset = self.single - at_point[:3]
        along = np.einsum("xn,xn->n", offset, at_point[3:6])
        off_squared = np.einsum("xn,xn->n", offset, offset)
        off_squared -= along * along
        np.maximum(off_squared, 0.0, out=off_squared)
        by_long, by_short = self.inverse_squares.take(zone, axis=1)
        depth, by_axial, by_off = _near_distance(along - at_point[6], off_squared, by_long, by_short)
        price, by_depth = self._priced(depth)
        # How each distance changes with its line, of which the terms that are alike on a line are taken after the sums.
        on_axial = by_depth * by_axial
        across_share = by_depth * by_off
        axial_share = on_axial - across_share * along
        shares = [axial_share, across_share, across_share * along * along, on_axial]
        shares += [*(across_share * offset), *(axial_share * offset)]
        count = len(place)
        sums = np.array([np.bincount(zone, weights=share, minlength=count) for share in shares])
        of_line = np.add.reduceat(sums, self.first_zones, axis=1)
        by_base = -of_line[0, :, None] * direction - of_line[4:7].T
        by_direction = of_line[7:10].T + of_line[2, :, None] * direction
        return price, by_base, by_direction, -sums[3]

    def _deepest(self, base: FloatArray, direction: FloatArray, place: FloatArray) -> npt.NDArray[np.int64]:
        """The zone (N,) that each point lies deepest in, of those that it may lie in. In single precision."""
        single_base, single_direction = base.astype(np.float32), direction.astype(np.float32)
        along = single_direction @ self.single
        along -= np.einsum("lx,lx->l", base, direction).astype(np.float32)[:, None]
        beside = (-2.0 * single_base) @ self.single
        beside += self.squared
        beside += np.einsum("lx,lx->l", base, base).astype(np.float32)[:, None]
        beside -= along * along
        by_long, by_short, least = self.of_zones
        level = along.ravel().take(self.on_line)
        level -= place.astype(np.float32).take(self.zones)
        level *= by_long
        level *= level
        level += beside.ravel().take(self.on_line) * by_short
        np.sqrt(np.maximum(level, 0.0, out=level), out=level)
        level -= 1.0
        level *= least
        zone = self.zones
        while len(level) > 1:
            half = len(level) // 2
            zone = np.where(level[half:] < level[:half], zone[half:], zone[:half])
            level = np.minimum(level[:half], level[half:])
        return zone[0]

    def _priced(self, depth: Float32Array) -> tuple[float, Float32Array]:
        """The price of depths (N,), in which the worst counts most, and its derivative."""
        total, by_depth = 0.0, np.zeros(len(depth), dtype=np.float32)
        for part, share in ((slice(0, self.must_count), 1.0), (slice(self.must_count, None), _EDGE_PRICE)):
            if not len(depth[part]):
                continue
            scaled = np.minimum(depth[part] / np.float32(self.scale_mm), _MOST_SCALES)
            power = np.exp(scaled)
            sum_power = float(power.sum(dtype=np.float64)) + _NO_POWER
            above = power + np.float32(1.0)
            mean_soft = float(np.log(above).mean(dtype=np.float64))
            total += share * self.scale_mm * (np.log(sum_power / len(scaled)) + 2.0 * mean_soft)
            by_depth[part] = power * (np.float32(share / sum_power) + np.float32(2.0 * share / len(scaled)) / above)
        return float(total), by_depth

    def _crowded(
        self, base: FloatArray, direction: FloatArray, shift_mm: FloatArray, turn: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """The price of shafts that run too near to each other anywhere, and its derivative by lines.

        Where two come nearest does not move to first order when they do (the envelope theorem). Those that are so far
        apart at the start that shifts and turns (L,) cannot bring them together are not looked at.
        """
        by_base, by_direction = np.zeros_like(base), np.zeros_like(base)
        moved_mm = shift_mm + turn * self.reach_mm
        may_meet = self.apart_mm - moved_mm[self.pairs[0]] - moved_mm[self.pairs[1]] < _APART_MM
        if not may_meet.any():
            return 0.0, by_base, by_direction
        one, other = self.pairs[:, may_meet]
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

    def _room(self, points: FloatArray) -> FloatArray:
        """Room (...) at points (..., 3) relative to the middle."""
        return self.surroundings.sample(self.surroundings.room_mm, points + self.middle, 0.0)

    def _met(
        self, base: FloatArray, direction: FloatArray, shift_mm: FloatArray, turn: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """The price of room missing along the ways, and its derivative by lines, from differences sideways.

        Only places are looked at whose room at the start shifts and turns (L,) may have used up.
        """
        by_base, by_direction = np.zeros_like(base), np.zeros_like(base)
        if np.all(self.least_room_mm - _ROOM_SLOPE * (shift_mm + turn * self.reach_mm) >= _EXTRA_ROOM_MM):
            return 0.0, by_base, by_direction
        moved_mm = shift_mm[:, None] + turn[:, None] * np.abs(self.along)
        line, step_number = np.nonzero(self.room_mm - _ROOM_SLOPE * moved_mm < _EXTRA_ROOM_MM)
        if not len(line):
            return 0.0, by_base, by_direction
        along = self.along[line, step_number]
        points = base[line] + along[:, None] * direction[line]
        missing = np.maximum(_EXTRA_ROOM_MM - self._room(points), 0.0)
        is_met = missing > 0
        if not is_met.any():
            return 0.0, by_base, by_direction
        line, along, points, missing = line[is_met], along[is_met], points[is_met], missing[is_met]
        step, scale = 0.5, _ROOM_PRICE * _ROOM_STEP_MM / 10.0
        axes = np.moveaxis(self.axes[line], 1, 0)
        slope = -scale * (self._room(points + step * axes) - (_EXTRA_ROOM_MM - missing)) / step
        by_point = np.einsum("km,kmx->mx", slope, axes)
        np.add.at(by_base, line, by_point)
        np.add.at(by_direction, line, along[:, None] * by_point)
        return float(scale * missing.sum()), by_base, by_direction


def _near_distance(
    axial: Float32Array, off_squared: Float32Array, by_long: Float32Array, by_short: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """As :func:`~.probes.near_distance_mm` without its floor, of distances along a probe and squares of those beside.

    `by_long` and `by_short` are one over the squares of the half axes. Also the derivative by the distance along the
    probe, and that by the distance beside it as a share of this distance.
    """
    of_long, of_short = axial * axial * by_long, off_squared * by_short
    level: Float32Array = np.maximum(np.sqrt(of_long + of_short), np.float32(1e-3))
    of_long *= by_long
    of_short *= by_short
    steep_squared = np.maximum(of_long + of_short, np.float32(1e-12))
    steep: Float32Array = np.sqrt(steep_squared)
    depth: Float32Array = (level - np.float32(1.0)) * level / steep
    by_level, by_steep = np.divide(level + level - np.float32(1.0), steep * level), np.divide(depth, steep_squared)
    by_axial = axial * by_long * (by_level - by_steep * by_long)
    by_off = by_short * (by_level - by_steep * by_short)
    return depth, by_axial, by_off
