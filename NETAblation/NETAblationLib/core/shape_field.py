"""From membership in a lesion to its smooth region: a mean field between data, shape and line.

Every voxel's odds of being inside add up what its intensity says, what the line says (an
ellipsoid whose longest axis it is, with a wide tolerance) and what its neighbors say (a
Gaussian neighborhood): the mean-field solution of a Markov random field. The neighborhood's
part is measured against its mean along the surface, and the intensity's threshold against the
blurred shape itself, so that neither pulls a convex surface inward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

from .frames import Points
from .line_grid import LineGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ShapePrior:
    """How a kind of region lies about its line; fractions of half the line's length.

    `across` is the usual semi-axis across the line, `tolerance` the spread of the surface about
    the ellipsoid, `reach` where nothing can be any more. Figures of the digital patients and
    of prototypes; no published source; user-set.
    """

    across: float
    tolerance: float
    reach: float


PRIORS = {"lesion": ShapePrior(0.85, 0.22, 1.5), "zone": ShapePrior(0.82, 0.35, 1.6)}

#: How far an end of a drawn line may lie off the surface, mm (readers' jitter). User-set.
_END_TOLERANCE_MM = 2.0

#: Above this cosine a second line lies along the first. Two lines leave this share of the tolerance. User-set.
_PARALLEL, _TWO_LINES = 0.8, 0.3

#: Tolerance and reach on the third axis of two lines. User-set.
_GUESSED = (0.1, 1.9)

#: By strokes, the ellipsoid is brought to lie so that plus points have at most, minus points at least these radii,
#: or are that deep within or beyond it, in mm. User-set: of a few tried, best on digital patients.
_PLUS_RADIUS, _MINUS_RADIUS, _STROKE_DEPTH_MM = 0.6, 1.3, 3.5

#: Odds in the middle of a stroke: a plus has to outweigh the data, a minus only what looks like the lesion. Its spread
#: as a share of its distance to the lines, and within these mm. User-set.
_PLUS_ODDS, _MINUS_ODDS, _STROKE_SHARE, _STROKE_MM = 12.0, 6.0, 0.3, (1.2, 3.0)

#: Weight of the neighborhood and its standard deviation in mm. No published source; user-set.
_NEIGHBOR_WEIGHT, _NEIGHBOR_MM = 3.0, 1.6
_ITERATIONS = 12
_MAX_ODDS = 6.0

#: Bounds of the odds by the ellipsoid alone: the lower one is beyond what the image and neighbors can add up to.
_PRIOR_ODDS = (-10.0, 1.5)


@dataclass(frozen=True)
class LineEllipsoid:
    """The ellipsoid that one diameter line, or two, suggest.

    `center_ras_mm` (3,), `axes` (3, 3) whose columns are unit vectors in RAS, the first along the first
    line, and `semi_mm` (3,). The first `drawn` axes are those of lines, none after a fit. `tolerance` is the spread
    of the lesion's surface about it, as a fraction.
    """

    center_ras_mm: Points
    axes: Points
    semi_mm: FloatArray
    tolerance: float
    reach: float
    drawn: int = 1

    @classmethod
    def of(cls, line: Points, second: Points | None, prior: ShapePrior) -> LineEllipsoid:
        """About a line (2, 3), and a second one across it; a second one along it is averaged with it."""
        half = float(np.linalg.norm(line[1] - line[0])) / 2
        along = (line[1] - line[0]) / (2 * half)
        if second is None:
            axes = _completed(along, np.eye(3)[np.argmin(np.abs(along))])
            semi = half * np.array([1.0, prior.across, prior.across])
            return cls(line.mean(axis=0), axes, semi, prior.tolerance, prior.reach)
        across = second[1] - second[0]
        if abs(float(across @ along)) > _PARALLEL * float(np.linalg.norm(across)):
            turned = second if float(across @ along) > 0 else second[::-1]
            return cls.of((line + turned) / 2, None, prior)
        axes = _completed(along, across)
        half_across = abs(float(across @ axes[:, 1])) / 2
        middles = np.array([line.mean(axis=0), second.mean(axis=0)]) @ axes
        # Each line knows best where the middle is on its own axis; on the third both know as much.
        center = axes @ np.array([middles[0, 0], middles[1, 1], middles[:, 2].mean()])
        semi = np.array([half, half_across, (prior.across * half + half_across) / 2])
        return cls(center, axes, semi, _TWO_LINES * prior.tolerance, prior.reach, drawn=2)

    def adapted(self, plus_ras_mm: Points, minus_ras_mm: Points) -> LineEllipsoid:
        """The ellipsoid moved and grown toward plus points (N, 3), moved and shrunk away from minus points.

        Its far side stays in place, and no semi-axis falls below half of what the lines say.
        """
        center, semi = self.center_ras_mm, self.semi_mm
        least = 0.5 * self.semi_mm
        for points, radius, beyond_mm in (
            (plus_ras_mm, _PLUS_RADIUS, _STROKE_DEPTH_MM),
            (minus_ras_mm, _MINUS_RADIUS, -_STROKE_DEPTH_MM),
        ):
            for point in points:
                local = self.axes.T @ (point - center)
                away = float(np.linalg.norm(local))
                if away == 0.0:
                    continue
                wanted = min(away / radius, away + beyond_mm, key=lambda surface: abs(surface - away))
                step = wanted - away / float(np.linalg.norm(local / semi))
                if beyond_mm * step <= 0:
                    continue
                heading = local / away
                grown = np.maximum(semi + 0.5 * step * np.abs(heading), least)
                center = center + self.axes @ (np.sign(step) * np.abs(grown - semi) * np.sign(heading))
                semi = grown
        return replace(self, center_ras_mm=center, semi_mm=semi)

    @property
    def farthest_mm(self) -> float:
        """The longest semi-axis."""
        return float(self.semi_mm.max())

    def coordinates_mm(self, grid: LineGrid) -> FloatArray:
        """Places of the grid along the axes, from the center, (3, N, N, N)."""
        x, y, z = grid.coordinates_mm()
        turn = self.axes.T @ grid.axes
        shift = self.axes.T @ (grid.center_ras_mm - self.center_ras_mm)
        rows = [row[0] * x + row[1] * y + row[2] * z + move for row, move in zip(turn, shift, strict=True)]
        return np.stack(rows).astype(np.float32)

    def radius(self, grid: LineGrid) -> FloatArray:
        """1 on the surface of the ellipsoid, 0 at its middle; (N, N, N)."""
        scaled = self.coordinates_mm(grid) / self.semi_mm[:, None, None, None].astype(np.float32)
        return np.sqrt((scaled**2).sum(axis=0))

    def prior_odds(self, grid: LineGrid) -> FloatArray:
        """Logarithm of the odds of being inside, by the lines alone.

        Where two lines are drawn, the third axis is a guess between them: there the tolerance is wider.
        """
        scaled = self.coordinates_mm(grid) / self.semi_mm[:, None, None, None].astype(np.float32)
        radius = np.sqrt((scaled**2).sum(axis=0))
        guessed = np.float32(self.drawn == 2) * scaled[2] ** 2 / np.maximum(radius**2, 1e-6)
        tolerance = self.tolerance + guessed * (_GUESSED[0] - self.tolerance)
        odds = np.clip((1.0 - radius) / tolerance, *_PRIOR_ODDS)
        for axis in range(self.drawn):
            past_end = np.abs(scaled[axis]) * self.semi_mm[axis] - self.semi_mm[axis] - 0.5 * _END_TOLERANCE_MM
            odds = odds - np.maximum(past_end / _END_TOLERANCE_MM, 0.0) ** 2
        odds[radius > self.reach + guessed * (_GUESSED[1] - self.reach)] = -50.0
        return odds.astype(np.float32)


def _completed(along: Points, helper: Points) -> Points:
    """Orthonormal axes (3, 3): `along`, the part of `helper` across it, and the third."""
    across = helper - (helper @ along) * along
    across = across / np.linalg.norm(across)
    return np.column_stack([along, across, np.cross(along, across)])


def stroke_odds(grid: LineGrid, plus_ras_mm: Points, minus_ras_mm: Points, lines: Sequence[Points]) -> FloatArray:
    """What strokes (N, 3) that a reader puts inside (plus) and outside (minus) add to the odds.

    A stroke counts around itself as a Gaussian, the wider the farther it lies from the lines: away from
    them much is likely to be wrong. Its spread is at most half of the way to a stroke of the other sign
    and, for a minus stroke, to a line.
    """
    odds = np.zeros((grid.count,) * 3, np.float32)
    steps = np.linspace(0.0, 1.0, 21)[:, None]
    on_lines = np.concatenate([line[0] + steps * (line[1] - line[0]) for line in lines])
    x, y, z = grid.coordinates_mm()
    for most, own, other in ((_PLUS_ODDS, plus_ras_mm, minus_ras_mm), (-_MINUS_ODDS, minus_ras_mm, plus_ras_mm)):
        own_odds = np.zeros((grid.count,) * 3, np.float32)
        against = other if most > 0 else np.concatenate([on_lines, other])
        for point in own:
            from_line = float(np.linalg.norm(on_lines - point, axis=1).min())
            spread = np.clip(_STROKE_SHARE * from_line, *_STROKE_MM)
            if len(against):
                spread = min(spread, float(np.linalg.norm(against - point, axis=1).min()) / 2)
            local = (point - grid.center_ras_mm) @ grid.axes
            square = (x - local[0]) ** 2 + (y - local[1]) ** 2 + (z - local[2]) ** 2
            own_odds = np.maximum(own_odds, np.exp(-square / (2.0 * max(spread, 0.5) ** 2)))
        odds += np.float32(most) * own_odds
    return odds


def solve(
    membership: FloatArray,
    prior: FloatArray,
    start: FloatArray,
    *,
    beyond: float,
    enclosed: BoolArray,
    excluded: BoolArray,
    data_weight: float,
    most_data: float,
    blur_mm: float,
    spacing_mm: float,
) -> FloatArray:
    """Log odds of being inside, (N, N, N), positive inside.

    `membership` is 0 outside to 1 inside, above `beyond` something else; `enclosed` voxels are
    inside whatever their value, `excluded` ones outside. `start` are the odds to start from. The odds of a voxel that
    looks like the inside are `most_data` at most: a vessel that touches a lesion may look the same.
    """
    odds = start
    threshold, level = 0.5, 0.5
    for step in range(_ITERATIONS):
        share = expit(odds)
        smooth = ndimage.gaussian_filter(share, _NEIGHBOR_MM / spacing_mm, truncate=3.0)
        # Far from the surface the weight is cut to 0: the tails of a large grid would outweigh it.
        surface = np.maximum(share * (1.0 - share) - 0.1, 0.0)
        weight = float(surface.sum())
        if weight <= 0:
            break
        if step > 1:
            level = float((smooth * surface).sum()) / weight
            level = float(np.clip(level, 0.3, 0.5))
            blurred = ndimage.gaussian_filter((odds > 0).astype(np.float32), blur_mm / spacing_mm, truncate=3.0)
            threshold = float(np.clip((blurred * surface).sum() / weight, 0.3, 0.5))
        data = np.clip(2.0 * (membership - threshold), -1.0, 1.0)
        data = np.minimum(data, np.clip(2.0 * (beyond - membership), -1.0, 1.0))
        data[enclosed] = 1.0
        fresh = np.minimum(data_weight * data, most_data) + prior + 2.0 * _NEIGHBOR_WEIGHT * (smooth - level)
        fresh[excluded] = -_MAX_ODDS
        odds = np.clip(0.5 * odds + 0.5 * fresh, -_MAX_ODDS, _MAX_ODDS).astype(np.float32)
    return odds


def one_piece(odds: FloatArray, core: BoolArray, neck_mm: float, spacing_mm: float) -> FloatArray:
    """The odds of the one piece about the core, without what hangs on it by a thin neck, holes filled.

    What a ball of radius `neck_mm` cannot reach from the core is cut off (vessels, leaks).
    """
    inside = odds > 0
    depth = ndimage.distance_transform_edt(inside) * spacing_mm
    neck = min(neck_mm, 0.6 * float(depth[core].max(initial=0.0)))
    labels, count = ndimage.label(depth > neck)
    if count == 0:
        return np.full_like(odds, -_MAX_ODDS)
    shares = np.bincount(labels[core], minlength=count + 1)
    shares[0] = 0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = labels == int(np.argmax(shares if shares.any() else sizes))
    near = ndimage.distance_transform_edt(~kept) * spacing_mm <= neck + 1.0 * spacing_mm
    kept = inside & near
    filled = ndimage.binary_fill_holes(kept)
    cleaned = np.where(inside & ~kept, -0.5, odds)
    return np.where(filled & ~inside, _MAX_ODDS, cleaned).astype(np.float32)
