"""The ellipsoid about diameter lines, brought to where the image shows its surface.

A line is drawn some mm off, which of a small lesion is much. Rays from the middle look for the lesion's edge near
the ellipsoid, and edges and what the reader drew are weighed as measurements, each with its error (maximum a
posteriori, by robust least squares). Where a vessel or the chest wall as bright as the lesion touches it, there is
no edge; the rest of the surface says how it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from .frames import Points
from .line_grid import LineGrid
from .shape_field import LineEllipsoid

FloatArray = npt.NDArray[np.floating]

#: Errors (standard deviations) of what is drawn, mm: an end about the surface, the middle about the line, a stroke
#: about where it has to lie. User-set, as all below; figures of the digital patients, lines up to 3 mm off.
_END_MM, _MIDDLE_MM, _STROKE_MM = 1.2, 2.0, 0.5
#: How deep within the surface a plus stroke, and how far beyond it a minus stroke lies at least, mm.
_STROKE_DEPTH_MM = 1.0
#: Spread of the logarithm of semi-axes about those of the lines, and of a turn, rad.
_SEMI, _TURN = 0.3, 0.5
#: A line is the longest diameter: how much longer (standard deviation, mm) any semi-axis may be than half of it.
_LONGER_MM = 0.5
#: An edge is looked for that far from the surface, mm, and from that share of the way to it on.
_SEEK_MM, _LEAST_SHARE = 4.0, 0.25
#: Surfaces of lesions lie about an ellipsoid by that share of their radius. What is that many errors off is more
#: likely the edge of something else: of 1.5, 2 and 3 the first is best on digital patients 0 to 2, 21, 30 and 31.
_UNEVEN, _OTHER = 0.08, 1.5
#: Rays (8 times a number), the share of them that has to meet an edge, steps along them in mm, and rounds.
_RAYS, _LEAST_EDGES, _STEP_MM, _ROUNDS = 240, 0.25, 0.4, 4
#: Least tolerance of the fitted ellipsoid, and what is left of its tolerance after a correction.
_LEAST_TOLERANCE, _CORRECTED = 0.06, 0.5
#: Usual sizes of what is fitted: shift in mm, logarithm of scale, turn in rad.
_SCALES = np.repeat([1.0, 0.15, 0.3], 3)
#: The share of a normal distribution within so many standard deviations: enough to see the lobes of an uneven lesion.
_SPREAD_SHARE, _SPREAD_SD = 0.75, 1.15


@dataclass(frozen=True)
class Drawn:
    """What the reader drew: lines, each (2, 3), and strokes (N, 3) inside and outside, RAS mm."""

    lines: Sequence[Points]
    plus_ras_mm: Points
    minus_ras_mm: Points

    @property
    def is_correction(self) -> bool:
        """Whether there is more than the one line."""
        return len(self.lines) > 1 or len(self.plus_ras_mm) > 0 or len(self.minus_ras_mm) > 0


def fitted(
    shape: LineEllipsoid, grid: LineGrid, membership: FloatArray, drawn: Drawn, *, noise: float, blur_mm: float
) -> LineEllipsoid:
    """The ellipsoid `shape` moved, turned and scaled to the edges of a membership and to what is drawn.

    `membership` (N, N, N) on the grid is 0 outside to 1 inside, with noise of that standard deviation, correlated
    over `blur_mm` (standard deviation of a Gaussian). The tolerance becomes the spread of the edges about the
    ellipsoid: a lobed lesion keeps a wide one. Where few rays meet an edge, `shape` is returned.
    """
    numbers = np.zeros(9)
    for number in range(_ROUNDS):
        now = _moved(shape, numbers)
        edges = _edges(now, grid, membership)
        if len(edges) < _LEAST_EDGES * _RAYS:
            return shape
        # The edge of a blurred step has this slope; noise is one measurement in an area of (2 sqrt(pi) blur)^2.
        error_mm = float(np.hypot(np.sqrt(2.0 * np.pi) * blur_mm * noise, _UNEVEN * _radius_mm(now)))
        weight = min(_radius_mm(now) / (blur_mm * np.sqrt(_RAYS)), 1.0)
        numbers = least_squares(
            _misfits,
            numbers,
            x_scale=_SCALES,
            max_nfev=8,
            args=(shape, edges, drawn, error_mm, weight, number < _ROUNDS // 2),
        ).x
    found = _moved(shape, numbers)
    off = np.sort(np.abs(_depth_mm(found, _edges(found, grid, membership))))
    # Of all rays: those without an edge count as far off.
    most = int(_SPREAD_SHARE * _RAYS)
    spread = off[most - 1] / _SPREAD_SD / _radius_mm(found) if len(off) >= most else np.inf
    tolerance = float(np.clip(spread, _LEAST_TOLERANCE, shape.tolerance))
    # Drawn axes end where the fit has them, and no axis is a guess any more.
    return replace(found, tolerance=tolerance * (_CORRECTED if drawn.is_correction else 1.0), drawn=0)


def _moved(shape: LineEllipsoid, numbers: FloatArray) -> LineEllipsoid:
    """The ellipsoid shifted (mm), scaled (logarithm) and turned (rotation vector) along its own axes, (9,)."""
    return replace(
        shape,
        center_ras_mm=shape.center_ras_mm + shape.axes @ numbers[:3],
        axes=shape.axes @ Rotation.from_rotvec(numbers[6:]).as_matrix(),
        semi_mm=shape.semi_mm * np.exp(numbers[3:6]),
    )


def _misfits(
    numbers: FloatArray,
    shape: LineEllipsoid,
    edges: Points,
    drawn: Drawn,
    error_mm: float,
    weight: float,
    is_far: bool,
) -> FloatArray:
    """How far off edges, lines, strokes and the shape are, each in its error; `is_far` before the fit is near."""
    now = _moved(shape, numbers)
    off = _depth_mm(now, edges) / error_mm
    # At first all edges draw, far ones by their distance (pseudo-Huber); then an edge of something else, as of a vessel
    # that touches, counts little however far off it is (Geman-McClure).
    huber = np.sign(off) * np.sqrt(2.0 * (np.sqrt(1.0 + off**2) - 1.0))
    parts = [weight * (huber if is_far else off / np.sqrt(1.0 + (off / _OTHER) ** 2))]
    parts.append(_depth_mm(now, np.concatenate(list(drawn.lines))) / _END_MM)
    parts.append(np.maximum(now.semi_mm - shape.farthest_mm, 0.0) / _LONGER_MM)
    for line in drawn.lines:
        along = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
        from_middle = now.center_ras_mm - line.mean(axis=0)
        parts.append((from_middle - (from_middle @ along) * along) / _MIDDLE_MM)
    for points, sign in ((drawn.plus_ras_mm, 1.0), (drawn.minus_ras_mm, -1.0)):
        parts.append(np.minimum(sign * _depth_mm(now, points) - _STROKE_DEPTH_MM, 0.0) / _STROKE_MM)
    return np.concatenate([*parts, numbers[3:6] / _SEMI, numbers[6:] / _TURN])


def _edges(shape: LineEllipsoid, grid: LineGrid, membership: FloatArray) -> Points:
    """Where rays from the center first leave the lesion, as the membership has it, near the surface: (M, 3) RAS mm."""
    local = _directions() * shape.semi_mm
    surface = np.linalg.norm(local, axis=1)
    heading = local / surface[:, None] @ shape.axes.T
    along = surface[:, None] + np.arange(-_SEEK_MM, _SEEK_MM + _STEP_MM, _STEP_MM)
    places = shape.center_ras_mm + along[..., None] * heading[:, None]
    values = grid.values_at(membership, places.reshape(-1, 3)).reshape(along.shape)
    leaves = (values[:, :-1] > 0.5) & (values[:, 1:] <= 0.5) & (along[:, :-1] > _LEAST_SHARE * surface[:, None])
    rows = np.flatnonzero(leaves.any(axis=1))
    step = np.argmax(leaves[rows], axis=1)
    before, after = values[rows, step], values[rows, step + 1]
    away = along[rows, step] + _STEP_MM * (before - 0.5) / (before - after)
    return shape.center_ras_mm + away[:, None] * heading[rows]


def _directions() -> Points:
    """Evenly spread unit vectors (N, 3): a spiral by the golden ratio in one octant, mirrored to all.

    So it does not matter which way round a line was drawn.
    """
    step = np.arange(_RAYS // 8)
    height = (step + 0.5) / len(step)
    turn = np.pi / 2 * np.modf(step * (1.0 + np.sqrt(5.0)) / 2.0)[0]
    flat = np.sqrt(1.0 - height**2)
    octant = np.column_stack([flat * np.cos(turn), flat * np.sin(turn), height])
    signs = np.stack(np.meshgrid([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]), axis=-1).reshape(-1, 1, 3)
    return (octant * signs).reshape(-1, 3)


def _radius_mm(shape: LineEllipsoid) -> float:
    """Radius of the ball of the same volume."""
    return float(np.prod(shape.semi_mm)) ** (1 / 3)


def _depth_mm(shape: LineEllipsoid, points_ras_mm: Points) -> FloatArray:
    """How deep points (N, 3) lie within the surface, mm, to first order; below 0 outside."""
    local = (points_ras_mm - shape.center_ras_mm) @ shape.axes / shape.semi_mm
    radius = np.maximum(np.linalg.norm(local, axis=1), 1e-6)
    slope = np.linalg.norm(local / shape.semi_mm, axis=1) / radius
    return (1.0 - radius) / np.maximum(slope, 1.0 / shape.semi_mm.max())
