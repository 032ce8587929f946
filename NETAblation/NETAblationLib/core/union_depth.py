"""The surface of united ablation zones, and how far inside of it points lie: exactly, and fast enough to drag a probe.

Why the nearest point of the surface is found among few candidates. Let a point lie in the union, and deepest in
zone k, at depth d. The ball of radius d around it lies in k, so no surface of the union is nearer than d. If
the foot on k's surface lies in no other zone, the distance is d. If it does, the nearest point lies on a seam,
where the surfaces of two zones cross outside of every other: on a face it would be the end of a way out that
stays in one zone and meets its surface at a right angle, hence a foot of that zone; feet of zones less
deep lie within the ball; and a zone at least as long as it is wide has, from within, no other nearest point.
Outside of the union the distance is that to the nearest zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .probes import Probe

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Point = tuple[float, float, float]

#: Iterations of the foot on an ellipse: five reach 1e-5 mm (float32) on zones three times as long as wide.
_FOOT_ITERATIONS = 5
#: How much deeper than another zone's surface a point is before it counts as covered, as a share of the
#: squared radius: rounding of float32 (1e-3 mm).
_COVERED_BELOW = 1.0 - 1e-4
#: The same for all of a triangle between points of a surface, which bulges by 0.1 mm between them.
_WELL_COVERED = 0.985
#: Times that an icosahedron is subdivided to find seams: 642 points, 3 mm apart on a zone of 40 mm.
_SUBDIVISIONS = 3
#: Steps that carry a point near a seam onto it; two reach 1e-4 mm.
_SEAM_STEPS = 2
#: Values of quadrics at points that are computed at a time.
_BLOCK = 25_000
#: Segments of seams that are tried, those with the nearest middles: a longer one beside may be nearer.
_SEGMENTS_TRIED = 2
#: How near to 1 the level of a third zone is where a corner is looked for (0.5 mm), how far it may be from there, in
#: mm, the steps to it, and the level from which a place is open: more than rounding.
_NEAR_CORNER, _FAR_FROM_CORNER_MM, _CORNER_STEPS, _OPEN_FROM = 0.05, 1.5, 4, 1.0 - 1e-9
#: Most that a point of a segment is moved to lie on its seam, in mm: segments of 3 mm are within 0.1 mm.
_FAR_FROM_SEGMENT_MM = 0.5


@dataclass(frozen=True)
class Zone:
    """One zone: center (3,) in RAS mm, unit direction (3,) of the probe, half axes along and across it in mm."""

    center_ras_mm: Point
    direction: Point
    along_mm: float
    across_mm: float

    @classmethod
    def of(cls, probe: Probe) -> tuple[Zone, ...]:
        """The zones of a probe's ablations."""
        x, y, z = probe.direction.tolist()
        return tuple(
            cls(ablation.center_ras_mm, (x, y, z), 0.5 * ablation.long_axis_mm, 0.5 * ablation.short_axis_mm)
            for ablation in probe.ablations
        )

    @property
    def half_extent_mm(self) -> FloatArray:
        """Half the edges (3,) of the box around the zone, in mm."""
        direction = np.array(self.direction)
        return np.sqrt(self.across_mm**2 + (self.along_mm**2 - self.across_mm**2) * direction**2)

    def shape_matrix(self) -> FloatArray:
        """The (3, 3) matrix A with (x - center) A (x - center) = 1 on the surface."""
        direction = np.array(self.direction)
        stretch = 1.0 / self.along_mm**2 - 1.0 / self.across_mm**2
        return np.eye(3) / self.across_mm**2 + stretch * np.outer(direction, direction)


@dataclass(frozen=True)
class Feet:
    """What one zone means for points (N, 3): signed depth in mm, positive inside, and where the nearest points lie.

    All (N,) float32: `along_mm` and `across_mm` are the places of the nearest points of the zone's surface along
    the probe, from the zone's center, and at right angles to it, on the side of the point.
    """

    depth_mm: Float32Array
    along_mm: Float32Array
    across_mm: Float32Array


def feet(zone: Zone, points_mm: Float32Array, origin_ras_mm: FloatArray) -> Feet:
    """Depth and nearest point of one zone for points (N, 3) given relative to an origin (3,).

    By symmetry it is the foot of a point on an ellipse in the plane through the axis, found by steps on the
    circle of curvature as in :func:`~.probes.zone_signed_distance_mm`, from a start that makes five enough.
    """
    axial, beside = _along_and_across(points_mm, _columns([zone], origin_ras_mm)[:, :, 0])
    along, a, b = np.abs(axial), np.float32(zone.along_mm), np.float32(zone.across_mm)
    cosine, sine = along / a, beside / b
    level = np.sqrt(cosine * cosine + sine * sine)
    inward = 2.0 * np.maximum(1.0 - level, 0.0)  # toward the middle of the quadrant, whence each foot is reached
    cosine, sine = _unit(cosine + inward, sine + inward)
    of_along, of_across = a - b * b / a, b - a * a / b
    for _ in range(_FOOT_ITERATIONS):
        center_x, center_y = of_along * (cosine * cosine * cosine), of_across * (sine * sine * sine)
        radius_x, radius_y = a * cosine - center_x, b * sine - center_y
        toward_x, toward_y = along - center_x, beside - center_y
        squared = np.maximum(toward_x * toward_x + toward_y * toward_y, np.float32(1e-12))
        scale = np.sqrt((radius_x * radius_x + radius_y * radius_y) / squared)
        cosine = np.maximum((toward_x * scale + center_x) / a, 0.0)
        sine = np.maximum((toward_y * scale + center_y) / b, 0.0)
        cosine, sine = _unit(cosine, sine)
    foot_x, foot_y = a * cosine, b * sine
    distance = np.sqrt((along - foot_x) ** 2 + (beside - foot_y) ** 2)
    return Feet(np.where(level < 1.0, distance, -distance), np.copysign(foot_x, axial), foot_y)


def union_depth_mm(
    zones: Sequence[Zone], found: Sequence[Feet], points_mm: Float32Array, origin_ras_mm: FloatArray
) -> Float32Array:
    """Signed depth in mm of points (N, 3) in united zones, positive inside; (N,) float32.

    `found` has the feet of each zone. Negative infinity without a zone.
    """
    if not zones:
        return np.full(len(points_mm), -np.inf, dtype=np.float32)
    depth, deepest = found[0].depth_mm.copy(), np.zeros(len(points_mm), dtype=np.int64)
    for number, row in enumerate(found[1:], start=1):
        is_deeper = row.depth_mm > depth
        depth[is_deeper], deepest[is_deeper] = row.depth_mm[is_deeper], number
    inside = np.flatnonzero(depth > 0)
    if len(zones) == 1 or not len(inside):
        return depth
    centers, directions, along, across = _arrays(zones)
    quadrics = quadrics_of(centers - origin_ras_mm, directions, along, across)
    seams, meets = _seams(zones, quadrics, origin_ras_mm)
    foot = _foot_points(zones, found, deepest[inside], inside, points_mm, origin_ras_mm)
    level = products(quadrics.astype(np.float32), terms_of(foot))
    hidden = inside[((level < _COVERED_BELOW) & meets[:, deepest[inside]]).any(axis=0)]
    if len(hidden) and len(seams.start_mm):
        depth[hidden] = np.maximum(depth[hidden], seams.distance_mm(points_mm[hidden].astype(np.float64)))
    return depth


def _foot_points(
    zones: Sequence[Zone],
    found: Sequence[Feet],
    deepest: IntArray,
    inside: IntArray,
    points_mm: Float32Array,
    origin_ras_mm: FloatArray,
) -> Float32Array:
    """Nearest points (M, 3) on the zone in which each of the points `inside` (M,) lies `deepest` (M,)."""
    center, direction = _columns(zones, origin_ras_mm)[:, :, deepest]
    along, across = np.empty(len(inside), np.float32), np.empty(len(inside), np.float32)
    for number, row in enumerate(found):
        its = np.flatnonzero(deepest == number)
        along[its], across[its] = row.along_mm[inside[its]], row.across_mm[inside[its]]
    x, y, z = points_mm[inside].T - center
    u, v, w = direction
    axial = x * u + y * v + z * w
    x, y, z = x - axial * u, y - axial * v, z - axial * w
    beside = np.sqrt(x * x + y * y + z * z)
    for n in np.flatnonzero(beside < 1e-4):  # on the axis any way out is as near
        x[n], y[n], z[n] = _any_across(zones[deepest[n]])
        beside[n] = 1.0
    scale = across / beside
    return (center + np.stack([along * u + scale * x, along * v + scale * y, along * w + scale * z])).T


def open_edges_mm(zones: Sequence[Zone]) -> FloatArray:
    """Places (E, 3), in the frame of the zones, all along the seams of united zones, and all corners.

    Seams are the curves where the surfaces of two zones cross outside of every other, corners the points where those
    of three do. Where zones leave a gap between them it ends there: a gap too small for any grid has its places, too.
    """
    if len(zones) < 2:
        return np.empty((0, 3))
    centers, directions, along, across = _arrays(zones)
    origin = centers.mean(axis=0)
    quadrics = quadrics_of(centers - origin, directions, along, across)
    seams, _ = _seams(zones, quadrics, origin)
    places, (one, other) = np.concatenate([seams.start_mm, seams.end_mm]), np.tile(seams.zones, 2)
    if not len(places):
        return places
    rows = np.arange(len(places))
    places = _onto_seam(places.T, quadrics[one].T, quadrics[other].T).T
    level = products(terms_of(places), quadrics)
    level[rows, one] = level[rows, other] = np.inf
    # A corner is at the end of three seams: it is looked for from those places that nearly lie on a third zone.
    third = np.abs(level - 1.0).argmin(axis=1)
    near = np.flatnonzero(np.abs(level[rows, third] - 1.0) < _NEAR_CORNER)
    corner = np.stack([one[near], other[near], third[near]])
    corners = _onto_corner(places[near], quadrics[corner])
    is_sound = ((corners - places[near]) ** 2).sum(axis=1) < _FAR_FROM_CORNER_MM**2
    # An end is the start of the next segment.
    is_open: BoolArray = np.all(level[: len(seams.start_mm)] >= _OPEN_FROM, axis=1)
    level = products(terms_of(corners), quadrics)
    np.put_along_axis(level, corner.T, np.inf, axis=1)
    is_sound &= (level >= _OPEN_FROM).all(axis=1)
    corners = corners[is_sound]
    corners = corners[np.unique(np.round(corners, 3), axis=0, return_index=True)[1]]
    return np.concatenate([places[: len(is_open)][is_open], corners]) + origin


def _onto_corner(places: FloatArray, quadrics: FloatArray) -> FloatArray:
    """Points (N, 3) moved onto three quadrics (3, N, 10) each at once: Newton's steps."""
    for _ in range(_CORNER_STEPS):
        normals = np.stack([_gradient(places.T, quadric.T).T for quadric in quadrics], axis=1)
        short = np.stack([1.0 - _level(places.T, quadric.T) for quadric in quadrics], axis=1)
        crossed = np.cross(normals[:, [1, 2, 0]], normals[:, [2, 0, 1]])
        volume = np.einsum("nx,nx->n", normals[:, 0], crossed[:, 0])
        # Where surfaces nearly touch, the step goes far, and such a point is no corner.
        volume = np.where(np.abs(volume) < 1e-12, np.inf, volume)
        places = places + np.einsum("ni,nix->nx", short, crossed) / volume[:, None]
    return places


@dataclass(frozen=True)
class _Seams:
    """Segments (S, 3) of the curves where the surfaces of two zones cross outside of every other.

    `zones` (2, S) are the numbers of the two zones, `first` and `second` (S, 10) their quadrics. `faces_mm` (M, 3) are
    points on the faces of zones wider than long, which may have a second nearest point; they lie about 3 mm apart.
    """

    start_mm: FloatArray
    end_mm: FloatArray
    zones: IntArray
    first: FloatArray
    second: FloatArray
    faces_mm: FloatArray

    def distance_mm(self, points_mm: FloatArray) -> FloatArray:
        """Distance from points (N, 3) to the nearest point of any seam, (N,)."""
        edge = self.end_mm - self.start_mm
        tried = [*range(1, min(_SEGMENTS_TRIED, len(edge)) + 1)]
        nearest = np.asarray(cKDTree(self.start_mm + 0.5 * edge).query(points_mm, k=tried)[1]).T
        x, y, z = points_mm.T
        best, foot, which = np.full(len(points_mm), np.inf), np.zeros((3, len(points_mm))), nearest[0].copy()
        for chosen in nearest:
            (p, q, r), (u, v, w) = self.start_mm[chosen].T, edge[chosen].T
            share = ((x - p) * u + (y - q) * v + (z - r) * w) / np.maximum(u * u + v * v + w * w, 1e-12)
            share = np.clip(share, 0.0, 1.0)
            place = np.stack([p + share * u, q + share * v, r + share * w])
            squared = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2
            is_nearer = squared < best
            best, which = np.where(is_nearer, squared, best), np.where(is_nearer, chosen, which)
            foot = np.where(is_nearer, place, foot)
        moved = _onto_seam(foot, self.first[which].T, self.second[which].T)
        # Where the surfaces nearly touch there is no stable way onto both: the segment is near enough.
        is_sound = ((moved - foot) ** 2).sum(axis=0) < _FAR_FROM_SEGMENT_MM**2
        foot = np.where(is_sound, moved, foot)
        distance = np.sqrt((x - foot[0]) ** 2 + (y - foot[1]) ** 2 + (z - foot[2]) ** 2)
        if len(self.faces_mm):
            distance = np.minimum(distance, cKDTree(self.faces_mm).query(points_mm)[0])
        return distance


def _seams(zones: Sequence[Zone], quadrics: FloatArray, origin: FloatArray) -> tuple[_Seams, BoolArray]:
    """The seams of all zones, and which zones (Z, Z) have one in common.

    A seam passes through a triangle on a zone's surface where another zone covers one or two of its corners.
    """
    vertices, triangles, terms = _unit_mesh()
    count = len(zones)
    centers, direction, along, across = _arrays(zones)
    centers = centers - origin
    # The symmetric matrices (Z, 3, 3) that make the zones, about their centers, of the unit sphere.
    to_surface = across[:, None, None] * np.eye(3) + (along - across)[:, None, None] * _outer(direction)
    one, other = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    on_sphere = _on_unit_sphere(quadrics[other], to_surface[one], centers[one])
    level = np.empty((count, len(vertices), count))
    for n, quadric in enumerate(on_sphere.reshape(count, count, 10)):
        level[n] = products(terms, quadric)
        level[n, :, n] = np.inf
    # Eight zones share a byte, for each triangle, its zone and its corners: (T, Z, ceil(Z / 8)) each.
    covers, covers_well = _packed_rows(level < 1.0), _packed_rows(level < _WELL_COVERED)
    first, second, third = (covers[corner] for corner in triangles.T)
    crossed = (first | second | third) & ~(first & second & third)
    meets = np.unpackbits(np.bitwise_or.reduce(crossed, axis=0), axis=1, count=count).astype(bool)
    # A triangle well within a third zone has no seam that is on the surface of all.
    first, second, third = (covers_well[corner] for corner in triangles.T)
    is_free = _any_bit(first & second & third) == 0
    crossed &= np.packbits(np.triu(np.ones((count, count), dtype=bool), 1), axis=1)  # each pair once
    face, one = np.nonzero((_any_bit(crossed) != 0) & is_free)
    which, other = np.nonzero(np.unpackbits(crossed[face, one], axis=1, count=count))
    one, face = one[which], face[which]
    corner = triangles[face]
    value = level[one[:, None], corner, other[:, None]]
    # One corner of such a triangle is on the other side than both others: from there both edges cross.
    inside = value < 1.0
    odd = np.where(inside[:, 1] == inside[:, 2], 0, np.where(inside[:, 0] == inside[:, 2], 1, 2))
    turned = (odd[:, None] + np.arange(3)) % 3
    corner, value = np.take_along_axis(corner, turned, axis=1), np.take_along_axis(value, turned, axis=1)
    quadric = on_sphere.reshape(count, count, 10)[one, other]
    ends = []
    for n in (1, 2):
        at = vertices[corner[:, 0]].T, vertices[corner[:, n]].T
        v = _crossing(*at, value[:, 0], value[:, n], quadric.T)
        ends.append(centers[one] + np.einsum("nij,jn->ni", to_surface[one], v))
    # A point of the seam in the middle halves each segment: chords cut curves short.
    middle = _onto_seam(0.5 * (ends[0] + ends[1]).T, quadrics[one].T, quadrics[other].T).T
    too_far = ((middle - 0.5 * (ends[0] + ends[1])) ** 2).sum(axis=1) > _FAR_FROM_SEGMENT_MM**2
    middle[too_far] = 0.5 * (ends[0] + ends[1])[too_far]
    start, end = np.concatenate([ends[0], middle]), np.concatenate([middle, ends[1]])
    one, other = np.tile(one, 2), np.tile(other, 2)
    low, high = _open_shares(start, end, one, other, quadrics)
    kept = high > low
    start, edge, low, high = start[kept], (end - start)[kept], low[kept, None], high[kept, None]
    wide = np.flatnonzero(across > along)
    faces = [(centers[n] + vertices @ to_surface[n])[(level[n] >= 1.0).all(axis=1)] for n in wide]
    seams = _Seams(
        start + low * edge,
        start + high * edge,
        np.stack([one[kept], other[kept]]),
        quadrics[one[kept]],
        quadrics[other[kept]],
        np.concatenate([np.empty((0, 3)), *faces]),
    )
    return seams, meets | meets.T


def _packed_rows(covers: BoolArray) -> npt.NDArray[np.uint8]:
    """Flags (Z, V, Z) with eight of the last axis in a byte, (V, Z, ceil(Z / 8)): rows that are fast to pick."""
    return np.ascontiguousarray(np.packbits(covers, axis=2).swapaxes(0, 1))


def _any_bit(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Bytes (T, Z, B) joined by "or" over the last axis, which is short: faster than a reduction."""
    joined = flags[:, :, 0]
    for n in range(1, flags.shape[2]):
        joined = joined | flags[:, :, n]
    return joined


def _open_shares(
    start: FloatArray, end: FloatArray, one: IntArray, other: IntArray, quadrics: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """From which to which share (S,) of segments (S, 3) on the zones `one` and `other` no third zone covers them."""
    rows = np.arange(len(start))
    levels = []
    for place in (start, 0.5 * (start + end), end):
        level = products(terms_of(place), quadrics)
        level[rows, one] = level[rows, other] = np.inf
        levels.append(level)
    at_start, at_middle, at_end = levels
    low, high = np.zeros(len(at_start)), np.ones(len(at_start))
    covers_start, covers_end = at_start < 1.0, at_end < 1.0
    low[(covers_start & covers_end).any(axis=1)] = np.inf
    for covers, near, far in ((covers_start, at_start, at_end), (covers_end, at_end, at_start)):
        segment, zone = np.nonzero(covers & ~(covers_start & covers_end))
        first, middle, last = near[segment, zone], at_middle[segment, zone], far[segment, zone]
        # Along a segment the level is a parabola; from its covered end it rises through 1 once.
        square, slope = 2.0 * (first - 2.0 * middle + last), 4.0 * middle - 3.0 * first - last
        root = np.sqrt(np.maximum(slope * slope + 4.0 * square * (1.0 - first), 0.0))
        share = np.clip(2.0 * (1.0 - first) / np.maximum(slope + root, 1e-12), 0.0, 1.0)
        if near is at_start:
            np.maximum.at(low, segment, share)
        else:
            np.minimum.at(high, segment, 1.0 - share)
    return low, high


def _crossing(
    apex: FloatArray, base: FloatArray, at_apex: FloatArray, at_base: FloatArray, quadric: FloatArray
) -> FloatArray:
    """Where arcs (3, N) of the unit sphere cross a quadric each, (10, N): two steps of false position; (3, N)."""
    low, high = np.zeros(apex.shape[1]), np.ones(apex.shape[1])
    at_low, at_high = at_apex - 1.0, at_base - 1.0
    for step in range(2):
        place = apex + (low + (high - low) * at_low / (at_low - at_high)) * (base - apex)
        place /= np.sqrt((place * place).sum(axis=0))
        if step < 1:
            share = low + (high - low) * at_low / (at_low - at_high)
            value = _level(place, quadric) - 1.0
            is_low = (value < 0) == (at_low < 0)
            low, at_low = np.where(is_low, share, low), np.where(is_low, value, at_low)
            high, at_high = np.where(is_low, high, share), np.where(is_low, at_high, value)
    return place


def _onto_seam(place: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Points (3, N) moved onto two quadrics (10, N) at once, the shortest way: Newton's steps."""
    for _ in range(_SEAM_STEPS):
        one, two = _gradient(place, first), _gradient(place, second)
        short, long = 1.0 - _level(place, first), 1.0 - _level(place, second)
        p, q, r = (one * one).sum(axis=0), (one * two).sum(axis=0), (two * two).sum(axis=0)
        determinant = np.maximum(p * r - q * q, 1e-6 * p * r)
        place = place + (r * short - q * long) / determinant * one + (p * long - q * short) / determinant * two
    return place


# --- quadrics -----------------------------------------------------------------------------


def terms_of(points: npt.NDArray) -> npt.NDArray:
    """The terms 1, x, y, z, xx, yy, zz, xy, xz, yz of points (N, 3), (N, 10)."""
    x, y, z = points.T
    return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=1)


def products(first: npt.NDArray, second: npt.NDArray) -> npt.NDArray:
    """Values (N, M) of quadrics at points, from the coefficients (N, 10) of one and the terms (M, 10) of the other.

    In blocks so small that they are not worth several threads, which cost more time than they save here.
    """
    values = np.empty((len(first), len(second)), dtype=first.dtype)
    rows = max(1, _BLOCK // max(1, min(len(second), _BLOCK)))
    columns = max(1, _BLOCK // rows)
    for row in range(0, len(first), rows):
        for column in range(0, len(second), columns):
            block = slice(row, row + rows), slice(column, column + columns)
            np.matmul(first[block[0]], second[block[1]].T, out=values[block])
    return values


def _level(points: FloatArray, quadric: FloatArray) -> FloatArray:
    """Values (N,) of a quadric each, (10, N), at points (3, N)."""
    (x, y, z), (e, p, q, r, a, b, c, d, f, g) = points, quadric
    return e + x * (p + a * x + d * y + f * z) + y * (q + b * y + g * z) + z * (r + c * z)


def _gradient(points: FloatArray, quadric: FloatArray) -> FloatArray:
    """Gradients (3, N) of a quadric each, (10, N), at points (3, N)."""
    (x, y, z), (_, p, q, r, a, b, c, d, f, g) = points, quadric
    return np.stack([p + 2 * a * x + d * y + f * z, q + d * x + 2 * b * y + g * z, r + f * x + g * y + 2 * c * z])


def _packed(constant: FloatArray, linear: FloatArray, matrix: FloatArray) -> FloatArray:
    """Coefficients (..., 10) of constant (...), linear (..., 3) and symmetric (..., 3, 3) parts."""
    diagonal = [matrix[..., n, n] for n in range(3)]
    mixed = [2.0 * matrix[..., n, m] for n, m in ((0, 1), (0, 2), (1, 2))]
    return np.stack([constant, *(linear[..., n] for n in range(3)), *diagonal, *mixed], axis=-1)


def quadrics_of(
    centers_mm: FloatArray, directions: FloatArray, along_mm: FloatArray, across_mm: FloatArray
) -> FloatArray:
    """The ten coefficients (Z, 10), in the order of :func:`terms_of`, of zones: 1 on the surface, less inside.

    From centers (Z, 3), unit directions (Z, 3) and half axes along and across the probe, (Z,) each, in mm.
    """
    stretch = along_mm**-2.0 - across_mm**-2.0
    matrix = across_mm[:, None, None] ** -2.0 * np.eye(3) + stretch[:, None, None] * _outer(directions)
    linear = np.einsum("nij,nj->ni", matrix, centers_mm)
    return _packed((linear * centers_mm).sum(axis=1), -2.0 * linear, matrix)


def _arrays(zones: Sequence[Zone]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Centers (Z, 3), directions (Z, 3), half axes along and across (Z,)."""
    rows = np.array([(*zone.center_ras_mm, *zone.direction, zone.along_mm, zone.across_mm) for zone in zones])
    return rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7]


def _outer(direction: FloatArray) -> FloatArray:
    return direction[:, :, None] * direction[:, None, :]


def _on_unit_sphere(quadric: FloatArray, to_surface: FloatArray, center: FloatArray) -> FloatArray:
    """Quadrics (P, 10) as functions of the unit sphere that matrices (P, 3, 3) and centers (P, 3) make a zone of."""
    matrix = np.zeros((len(quadric), 3, 3))
    for n, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        matrix[:, i, j] = matrix[:, j, i] = quadric[:, 4 + n] * (1.0 if i == j else 0.5)
    pulled = np.einsum("pij,pjk->pik", matrix, to_surface)
    linear = np.einsum("pij,pi->pj", to_surface, quadric[:, 1:4]) + 2.0 * np.einsum("pij,pi->pj", pulled, center)
    constant = quadric[:, 0] + (quadric[:, 1:4] * center).sum(axis=1)
    constant = constant + np.einsum("pi,pij,pj->p", center, matrix, center)
    return _packed(constant, linear, np.einsum("pij,pik->pjk", to_surface, pulled))


def _columns(zones: Sequence[Zone], origin: FloatArray) -> Float32Array:
    """Centers relative to an origin, and directions, of zones, (2, 3, Z)."""
    centers, directions, _, _ = _arrays(zones)
    return np.array([(centers - origin).T, directions.T], dtype=np.float32)


def _along_and_across(points: Float32Array, columns: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Distance of points (N, 3) along a probe, with its sign, and across; `columns` (2, 3) has center and direction."""
    (p, q, r), (u, v, w) = columns
    x, y, z = points[:, 0] - p, points[:, 1] - q, points[:, 2] - r
    axial = x * u + y * v + z * w
    x, y, z = x - axial * u, y - axial * v, z - axial * w
    return axial, np.sqrt(x * x + y * y + z * z)


def _any_across(zone: Zone) -> Float32Array:
    direction = np.array(zone.direction)
    across = np.cross(direction, np.eye(3)[int(np.abs(direction).argmin())])
    return (across / np.linalg.norm(across)).astype(np.float32)


def _unit(x: npt.NDArray, y: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    length = np.maximum(np.sqrt(x * x + y * y), np.float32(1e-12))
    return x / length, y / length


@cache
def _unit_mesh() -> tuple[FloatArray, IntArray, FloatArray]:
    """Vertices (V, 3) and triangles (T, 3) of a subdivided icosahedron on the unit sphere, and terms (V, 10)."""
    ratio = (1.0 + 5.0**0.5) / 2.0
    corners = [(s, t * ratio, 0.0) for s in (-1.0, 1.0) for t in (-1.0, 1.0)]
    vertices = np.array([np.roll(corner, turn) for turn in range(3) for corner in corners])
    edge_squared = 4.0 + 1e-6
    near = ((vertices[:, None] - vertices) ** 2).sum(axis=-1) < edge_squared
    triangles = np.array(
        [
            (i, j, k)
            for i in range(12)
            for j in range(i + 1, 12)
            for k in range(j + 1, 12)
            if near[i, j] and near[j, k] and near[i, k]
        ]
    )
    for _ in range(_SUBDIVISIONS):
        edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
        unique, inverse = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
        a, b, c = (inverse.reshape(-1, 3) + len(vertices)).T
        i, j, k = triangles.T
        vertices = np.concatenate([vertices, vertices[unique].mean(axis=1)])
        triangles = np.concatenate([np.stack(t, axis=1) for t in ((i, a, c), (a, j, b), (c, b, k), (a, b, c))])
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    return vertices, triangles, terms_of(vertices)
