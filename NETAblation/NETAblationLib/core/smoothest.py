"""The smoothest field between bounds: cosine waves, by the alternating direction method of multipliers.

A field u (mm, negative inside) is sought that

- has the right sign at every sample of a shape, with a magnitude that a signed distance can have there (no more than
  the distance to the nearest sample of the other side, no less than the distance to the nearest boundary sample), and
- has the least energy of third derivatives, so that planes and quadrics (spheres, ellipsoids, cylinders) cost nothing
  and no curved surface is pulled flat or shrunk.

Smoothness under sign constraints for binary volumes follows Lempitsky, "Surface extraction from binary volumes with
higher-order smoothness", CVPR 2010 (there: second derivatives). It is solved here by the alternating direction method
of multipliers (Boyd et al., Foundations and Trends in Machine Learning 2011;3:1). Its linear step is a low-pass filter
of cosine waves; the waves that it hardly lets pass are left out, so that each transform is three small matrix products.
A few steps do, since they start from the solution for every second sample, which is found in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# The numbers below, where no source is named, were chosen by the trial that is told of in :mod:`.subvoxel`.

#: Wavelength at which a step of the solver lets half of a wave pass, in (geometric mean) voxel
#: edges: at cubic voxels, how much shorter it is the longer the voxels are, and at least.
_STEP_WAVELENGTH_VOXELS = 8.0
_WAVELENGTH_ASPECT_EXPONENT = 0.3
_MIN_STEP_WAVELENGTH_VOXELS = 6.0
#: Shortest wave of the field, in these wavelengths: of it, a step lets 7 % pass.
_SHORTEST_WAVE = 0.65
#: Order of the derivatives whose energy is minimized; 3 leaves quadrics free.
_SMOOTHNESS_ORDER = 3
#: Steps of the solver on the samples themselves, on every second of them, and on every fourth.
_SOLVER_STEPS = (8, 12, 12)
#: Samples along an axis above which every second may be left out for a start.
_MIN_SAMPLES_TO_HALVE = 14
#: Samples that must then be left inside: where that makes the voxels coarser, and where it only
#: makes long ones more cubic, which costs little and bridges thick slices.
_MIN_INSIDE = 400
_MIN_INSIDE_OF_LONG_VOXELS = 20
LONG_VOXEL_ASPECT = 2.5
#: Over-relaxation of the solver. Boyd et al. 2011, 3.4.3, advise 1.5 to 1.8 for many steps; over
#: these few, less of it leaves a smoother surface.
_OVER_RELAXATION = 1.3
#: Share of the interval between the bounds that is cut off at each end: a surface seldom
#: touches a voxel center.
_BOUND_TRIM_FRACTION = 0.1
#: Distance from the boundary within which there are bounds both ways, in edges of the thickest
#: voxel side: where the solver has a start, and where it has none but the bounds (and at least, mm).
_BAND_VOXELS = 1.01
_FIRST_BAND_VOXELS = 2.0
_FIRST_BAND_MIN_MM = 2.5
#: Distance from the surface that a field keeps beyond, in such bands: no second surface arises there.
_FAR_BANDS = 0.2
#: Multiplications of a matrix product that is not shared among threads: OpenBLAS does so above 262144.
_SMALL_PRODUCT = 200_000
_NO_BOUND = np.float32(np.finfo(np.float32).max)


def upsampling(spacing_mm: FloatArray) -> IntArray:
    """Nodes of the field per sample along each axis: cells at most 1.5 times longer than wide."""
    return np.maximum(1, np.round(spacing_mm / spacing_mm.min() / 1.5)).astype(np.int64)


# --- cosine waves -------------------------------------------------------------------------


@dataclass(frozen=True)
class Waves:
    """A field as a sum of cosine waves along the axes of a grid of nodes.

    `factor` nodes (K, J, I) make the step from a sample to the next; the first of both coincide.
    """

    spectrum: Float32Array
    nodes: tuple[int, ...]
    factor: IntArray

    def at_samples(self, places: Sequence[FloatArray]) -> Float32Array:
        """The field on the grid of these places along K, J, I, counted in samples."""
        waves = zip(self.nodes, self.spectrum.shape, places, self.factor.tolist(), strict=True)
        return _product([_cosines(n, count, place * step) for n, count, place, step in waves], self.spectrum)


def _cosines(nodes: int, count: int, places: FloatArray) -> Float32Array:
    """The first `count` orthonormal cosine waves of an axis (DCT-II), at places counted in nodes."""
    waves = np.cos(np.pi / nodes * np.outer(places + 0.5, np.arange(count))) * np.sqrt(2.0 / nodes)
    waves[:, 0] = np.sqrt(1.0 / nodes)
    return waves.astype(np.float32)


def _product(matrices: Sequence[Float32Array], values: Float32Array) -> Float32Array:
    """Multiply values (K, J, I) by a matrix along each axis; the axis of most values comes last or first."""
    along_k, along_j, along_i = matrices
    if len(along_i) > values.shape[2]:
        return _along_i(along_i, _along_j(along_j, _along_k(along_k, values)))
    return _along_k(along_k, _along_j(along_j, _along_i(along_i, values)))


# One large product would be shared among threads, which on a busy machine wait for each other far
# longer than the product takes; many small ones are not.


def _along_i(matrix: Float32Array, values: Float32Array) -> Float32Array:
    rows = values.reshape(-1, values.shape[2])
    many = max(1, _SMALL_PRODUCT // matrix.size)
    whole = len(rows) // many * many
    result = np.empty((len(rows), len(matrix)), dtype=np.float32)
    np.matmul(
        rows[:whole].reshape(-1, many, rows.shape[1]), matrix.T, out=result[:whole].reshape(-1, many, len(matrix))
    )
    np.matmul(rows[whole:], matrix.T, out=result[whole:])
    return result.reshape(*values.shape[:2], len(matrix))


def _along_j(matrix: Float32Array, values: Float32Array) -> Float32Array:
    result = np.empty((values.shape[0], len(matrix), values.shape[2]), dtype=np.float32)
    many = max(1, _SMALL_PRODUCT // matrix.size)
    for start in range(0, values.shape[2], many):
        part = slice(start, start + many)
        np.matmul(matrix, values[:, :, part], out=result[:, :, part])
    return result


def _along_k(matrix: Float32Array, values: Float32Array) -> Float32Array:
    return np.ascontiguousarray(_along_j(matrix, values.transpose(1, 0, 2)).transpose(1, 0, 2))


def smoothest(inside: BoolArray, spacing_mm: FloatArray, depth: int = 0) -> Waves:
    """Minimize the energy of third derivatives between the bounds at the samples."""
    factor = upsampling(spacing_mm)
    nodes = tuple(((np.array(inside.shape) - 1) * factor + 1).tolist())
    halving = _halving(inside.shape, spacing_mm)
    every_second = inside[tuple(slice(None, None, int(step)) for step in halving)]
    is_large = halving.max() > 1 and np.count_nonzero(every_second) >= _least_inside(spacing_mm)
    has_start = bool(is_large) and depth + 1 < len(_SOLVER_STEPS)
    start, lower, upper = _bounds(inside, spacing_mm, has_start=has_start)
    if start is None:
        coarse = smoothest(_to_multiple(inside, halving), spacing_mm * halving, depth + 1)
        places = zip(nodes, factor.tolist(), halving.tolist(), strict=True)
        field = coarse.at_samples([np.arange(n) / (step * half) for n, step, half in places])
    else:
        field = linear_on_grid(start, [np.arange(n) / step for n, step in zip(nodes, factor.tolist(), strict=True)])
    lower, upper = _at_nodes(lower, factor, -_NO_BOUND), _at_nodes(upper, factor, _NO_BOUND)
    spacing = spacing_mm / factor
    wavelength = _step_wavelength_mm(spacing_mm)
    steps = _SOLVER_STEPS[depth] if has_start else _SOLVER_STEPS[-1]
    return Waves(_minimize(field, lower, upper, spacing, wavelength, steps), nodes, factor)


def _step_wavelength_mm(spacing_mm: FloatArray) -> float:
    aspect = float(spacing_mm.max() / spacing_mm.min())
    voxels = max(_STEP_WAVELENGTH_VOXELS * aspect**-_WAVELENGTH_ASPECT_EXPONENT, _MIN_STEP_WAVELENGTH_VOXELS)
    return voxels * float(np.prod(spacing_mm)) ** (1 / 3)


def _least_inside(spacing_mm: FloatArray) -> int:
    """Samples inside that a start needs: see the constants."""
    is_long = spacing_mm.max() >= LONG_VOXEL_ASPECT * spacing_mm.min()
    return _MIN_INSIDE_OF_LONG_VOXELS if is_long else _MIN_INSIDE


def _halving(shape: tuple[int, ...], spacing_mm: FloatArray) -> IntArray:
    """2 along the axes where every second sample may be left out, 1 along the others."""
    may = (np.array(shape) > _MIN_SAMPLES_TO_HALVE) & (spacing_mm < 1.5 * spacing_mm.min())
    return np.where(may, 2, 1).astype(np.int64)


def _to_multiple(inside: BoolArray, halving: IntArray) -> BoolArray:
    """Every second sample along some axes, the border repeated so that the last sample is not cut off."""
    extra = [(0, -(n - 1) % int(step)) for n, step in zip(inside.shape, halving, strict=True)]
    return np.pad(inside, extra, mode="edge")[tuple(slice(None, None, int(step)) for step in halving)]


def _minimize(
    field: Float32Array,
    lower: Float32Array,
    upper: Float32Array,
    spacing_mm: FloatArray,
    wavelength_mm: float,
    steps: int,
) -> Float32Array:
    """The spectrum of the smoothest field between the bounds at the nodes; `field` is the start and overwritten."""
    shape = zip(field.shape, spacing_mm.tolist(), strict=True)
    count = [min(n, int(np.ceil(2 * n * step / (_SHORTEST_WAVE * wavelength_mm))) + 1) for n, step in shape]
    synthesis = [_cosines(n, waves, np.arange(n)) for n, waves in zip(field.shape, count, strict=True)]
    analysis = [np.ascontiguousarray(matrix.T) for matrix in synthesis]
    gain = _low_pass(count, field.shape, spacing_mm, wavelength_mm)
    held, wanted = np.empty_like(field), np.empty_like(field)
    for step in range(steps):
        np.maximum(field, lower, out=held)
        np.minimum(held, upper, out=held)
        np.subtract(held, field, out=wanted)
        wanted += held
        spectrum = _product(analysis, wanted)
        spectrum *= gain
        if step < steps - 1:
            smooth = _product(synthesis, spectrum)
            smooth -= held
            smooth *= np.float32(_OVER_RELAXATION)
            field += smooth
    return spectrum


def _low_pass(
    count: Sequence[int], shape: tuple[int, ...], spacing_mm: FloatArray, wavelength_mm: float
) -> Float32Array:
    """Gain of each cosine wave: one half at `wavelength_mm`, by the order of the smoothness."""
    waves = [
        (np.arange(waves) * (wavelength_mm / (2 * n * step))).astype(np.float32) ** 2
        for waves, n, step in zip(count, shape, spacing_mm.tolist(), strict=True)
    ]
    squared = waves[0][:, None, None] + waves[1][:, None] + waves[2]
    return 1 / (1 + squared**_SMOOTHNESS_ORDER)


# --- the bounds ---------------------------------------------------------------------------


def _bounds(
    inside: BoolArray, spacing_mm: FloatArray, *, has_start: bool
) -> tuple[Float32Array | None, Float32Array, Float32Array]:
    """A first field at the samples if there is none, and its lower and upper bounds, all shaped as `inside`."""
    reach = _BAND_VOXELS * float(spacing_mm.max())
    if not has_start:
        reach = max(_FIRST_BAND_VOXELS * float(spacing_mm.max()), _FIRST_BAND_MIN_MM)
    most = _capped_distance(inside, spacing_mm, reach)
    np.copyto(most, _capped_distance(~inside, spacing_mm, reach), where=inside)
    least = _capped_distance(_boundary(inside), spacing_mm, reach)
    start: Float32Array | None = None
    if not has_start:
        start = (most + least) * np.float32(0.5)
        np.negative(start, out=start, where=inside)
    beyond = most >= reach
    trim = most - least
    trim *= np.float32(_BOUND_TRIM_FRACTION)
    most -= trim
    least += trim
    np.copyto(most, _NO_BOUND, where=beyond)
    np.copyto(least, np.float32(_FAR_BANDS * reach), where=beyond)
    return start, np.where(inside, -most, least), np.where(inside, -least, most)


def _boundary(inside: BoolArray) -> BoolArray:
    """The voxels that share a face with a voxel of the other side."""
    boundary = np.zeros_like(inside)
    for axis in range(3):
        low, high = neighbors(axis, 1)
        change = inside[low] != inside[high]
        boundary[low] |= change
        boundary[high] |= change
    return boundary


def neighbors(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Index of all voxels that have a neighbor `step` further along an axis, and of those neighbors."""
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -step), slice(step, None)
    return tuple(low), tuple(high)


def _capped_distance(seeds: BoolArray, spacing_mm: FloatArray, reach_mm: float) -> Float32Array:
    """Exact Euclidean distance in mm to the nearest seed, at most `reach_mm`.

    One axis at a time, over the few steps that lie within reach: much cheaper in a narrow band
    than a full distance transform.
    """
    squared = np.where(seeds, np.float32(0), np.float32(reach_mm**2))
    for axis in range(3):
        nearest = squared.copy()
        for step in range(1, min(int(reach_mm / spacing_mm[axis]), seeds.shape[axis] - 1) + 1):
            low, high = neighbors(axis, step)
            further = squared + np.float32((step * spacing_mm[axis]) ** 2)
            np.minimum(nearest[low], further[high], out=nearest[low])
            np.minimum(nearest[high], further[low], out=nearest[high])
        squared = nearest
    return np.sqrt(squared, out=squared)


def _at_nodes(values: Float32Array, factor: IntArray, between: np.float32) -> Float32Array:
    """Values at the samples, every `factor`-th node, and `between` at all other nodes."""
    if factor.max() == 1:
        return values
    finer = np.full((np.array(values.shape) - 1) * factor + 1, between)
    finer[tuple(slice(None, None, int(step)) for step in factor)] = values
    return finer


def linear_on_grid(values: Float32Array, places: Sequence[FloatArray]) -> Float32Array:
    """Values (K, J, I), linear between nodes, on the grid of these places, counted in nodes; held at the border."""
    for axis, place in enumerate(places):
        last = values.shape[axis] - 1
        held = np.clip(place, 0, last)
        node = np.minimum(held.astype(np.int64), max(last - 1, 0))
        shape = [1, 1, 1]
        shape[axis] = -1
        weight = (held - node).astype(np.float32).reshape(shape)
        nearer = np.take(values, node, axis=axis)
        nearer += (np.take(values, np.minimum(node + 1, last), axis=axis) - nearer) * weight
        values = nearer
    return values
