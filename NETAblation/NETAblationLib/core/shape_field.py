"""From membership in a lesion to its smooth region: a mean field between data, shape and line.

Every voxel's odds of being inside add up what its intensity says, what the line says (an
ellipsoid whose longest axis it is, with a wide tolerance) and what its neighbors say (a
Gaussian neighborhood): the mean-field solution of a Markov random field. The neighborhood's
part is measured against its mean along the surface, and the intensity's threshold against the
blurred shape itself, so that neither pulls a convex surface inward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

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

#: Weight of the neighborhood and its standard deviation in mm. No published source; user-set.
_NEIGHBOR_WEIGHT, _NEIGHBOR_MM = 3.0, 1.6
_ITERATIONS = 12
_MAX_ODDS = 6.0


def ellipsoid_radius(grid: LineGrid, across: float) -> FloatArray:
    """1 on the surface of the ellipsoid about the line, 0 at its middle; (N, N, N)."""
    half = grid.half_length_mm
    x, y, z = grid.coordinates_mm()
    return np.sqrt((x / half) ** 2 + (y**2 + z**2) / (across * half) ** 2).astype(np.float32)


def prior_odds(grid: LineGrid, prior: ShapePrior) -> FloatArray:
    """Logarithm of the odds of being inside, by the line alone."""
    radius = ellipsoid_radius(grid, prior.across)
    odds = np.clip((1.0 - radius) / prior.tolerance, -4.0, 1.5)
    past_end = np.abs(grid.coordinates_mm()[0]) - grid.half_length_mm - 0.5 * _END_TOLERANCE_MM
    odds = odds - np.maximum(past_end / _END_TOLERANCE_MM, 0.0) ** 2
    odds[radius > prior.reach] = -50.0
    return odds.astype(np.float32)


def solve(
    membership: FloatArray,
    prior: FloatArray,
    start: FloatArray,
    *,
    beyond: float,
    enclosed: BoolArray,
    excluded: BoolArray,
    data_weight: float,
    blur_mm: float,
    spacing_mm: float,
) -> FloatArray:
    """Log odds of being inside, (N, N, N), positive inside.

    `membership` is 0 outside to 1 inside, above `beyond` something else; `enclosed` voxels are
    inside whatever their value, `excluded` ones outside. `start` are the odds to start from.
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
        fresh = data_weight * data + prior + 2.0 * _NEIGHBOR_WEIGHT * (smooth - level)
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
