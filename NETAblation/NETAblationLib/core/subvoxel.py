"""The smoothest field that agrees with a mask, and its zero level, on arrays.

A mask says of each voxel center whether it lies inside a shape; the shape's surface runs
somewhere between the inside and the outside centers. Of all surfaces that do, the smoothest
is taken: a field u (mm, negative inside) is sought that

- has the right sign at every voxel center, with a magnitude that a signed distance can have
  there (no more than the distance to the nearest center of the other side, no less than the
  distance to the nearest boundary voxel), and
- has the least energy of third derivatives, so that planes and quadrics (spheres, ellipsoids,
  cylinders) cost nothing and no curved surface is pulled flat or shrunk.

Smoothness under sign constraints for binary volumes follows Lempitsky, "Surface extraction
from binary volumes with higher-order smoothness", CVPR 2010 (there: second derivatives). It
is solved here by the alternating direction method of multipliers (Boyd et al., Foundations
and Trends in Machine Learning 2011;3:1). Its linear step is a low-pass filter of cosine waves;
the waves that it hardly lets pass are left out, so that each transform is three small matrix
products. A few steps do, since they start from the solution for every second sample, which is
found in the same way. The grid of the field is finer than the mask's between thick slices. The
zero level is then moved so that the enclosed volume is that of the voxels, which is an unbiased
estimate of the shape's volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import vtk
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .errors import ComputationError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# The numbers below, where no source is named, were chosen by trial on masks of spheres of 3 to 33
# mm, ellipsoids, capsules, pairs of balls and dented balls at 1 x 1 x 1, 1.5 x 0.75 x 0.75,
# 3 x 0.75 x 0.75, 5 x 0.75 x 0.75 and 7 x 0.8 x 0.8 mm, against the exact distances.

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
_LONG_VOXEL_ASPECT = 2.5
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
#: Nodes of one field above which every second voxel is left out along the finest axes, so that
#: a whole organ costs seconds and tens of megabytes. No published source; user-set.
_MAX_NODES = 1_500_000
#: How far the flat triangles of a surface may lie from the round shape that they stand for, in mm.
_SURFACE_SAG_MM = 0.008
#: Bounds of the spacing of the nodes from which a surface is taken, in (mean) voxel edges.
_SURFACE_SPACING_VOXELS = (0.2, 1.5)
#: Nodes up to which a field is refined for that.
_MAX_REFINED_NODES = 600_000
#: Share of the samples of thin parts outside the surface, and of those beside them inside it, above
#: which the thin parts are solved anew, and the samples that they are then cut into across.
_LOST_FRACTION = 0.05
_SWALLOWED_FRACTION = 0.1
_SAMPLES_ACROSS = 3
_NODES_ACROSS = 2
#: Secant steps toward the volume; one or two do, but for masks of a few voxels.
_MAX_LEVEL_STEPS = 8
#: The last of these steps, in halves of the least distance between nodes.
_LEVEL_PRECISION = 0.02
#: Planes between which a mask must change before equal neighboring slices count as repeated.
_MIN_TRANSITIONS_OF_REPEATED_SLICES = 4
#: Multiplications of a matrix product that is not shared among threads: OpenBLAS does so above 262144.
_SMALL_PRODUCT = 200_000
_NO_BOUND = np.float32(np.finfo(np.float32).max)


# --- which voxels are samples of the shape ------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """Whether the shape holds each point of a regular grid, and where the grid lies in its box.

    `start` and `step` (K, J, I) give the voxel index, from the corner of the box, of a sample.
    """

    inside: BoolArray
    start: FloatArray
    step: FloatArray
    spacing_mm: FloatArray
    volume_mm3: float


def padding_voxels(spacing_mm: FloatArray) -> IntArray:
    """Voxels of surroundings that the solver needs along each axis."""
    reach_mm = 1.5 * spacing_mm.max() + 2.0 * spacing_mm.min()
    return np.maximum(2, np.ceil(reach_mm / spacing_mm)).astype(np.int64)


def sample_mask(
    inside: BoolArray,
    spacing_mm: FloatArray,
    at_border: Sequence[tuple[bool, bool]],
    *,
    closed: bool,
) -> Samples:
    """Take the samples that a mask truly holds, and around a closed shape as many outside as it needs.

    Slices that merely repeat their neighbor (a mask drawn on thick slices and resampled to thin
    ones) count once; a mask too large for the node budget is sampled at every second voxel.
    `at_border` says of both ends of each axis whether the image ends there.
    """
    volume_mm3 = float(np.count_nonzero(inside) * np.prod(spacing_mm))
    start, step = np.zeros(3), np.ones(3)
    for axis in range(3):
        repeat, phase = _repetition(inside, axis, at_border[axis])
        if repeat > 1:
            first = np.arange(phase - repeat if phase else 0, inside.shape[axis], repeat)
            inside = np.take(inside, np.clip(first, 0, None), axis=axis)
            start[axis], step[axis] = first[0] + (repeat - 1) / 2.0, repeat
    while _node_count(inside.shape, spacing_mm * step, closed=closed) > _MAX_NODES:
        finest = int(np.argmin(np.where(np.array(inside.shape) > 2, spacing_mm * step, np.inf)))
        if inside.shape[finest] <= 2:
            break
        skip = (inside.shape[finest] - 1) % 2
        inside = np.take(inside, np.arange(skip, inside.shape[finest], 2), axis=finest)
        start[finest] += skip * step[finest]
        step[finest] *= 2
    padding = _padding(spacing_mm * step, closed=closed)
    inside = np.pad(inside, [(p, p) for p in padding.tolist()])
    return Samples(inside, start - padding * step, step, spacing_mm * step, volume_mm3)


def _repetition(inside: BoolArray, axis: int, at_border: tuple[bool, bool]) -> tuple[int, int]:
    """How many equal slices in a row stand for one sample along an axis, and where a run starts."""
    low, high = _neighbors(axis, 1)
    others = tuple(other for other in range(3) if other != axis)
    changes = np.flatnonzero((inside[low] != inside[high]).any(axis=others)) + 1
    ends = [end for end, cut in zip((0, inside.shape[axis]), at_border, strict=True) if not cut]
    changes = np.sort(np.concatenate([changes, np.array(ends, dtype=np.int64)]))
    if len(changes) < _MIN_TRANSITIONS_OF_REPEATED_SLICES:
        return 1, 0
    repeat = int(np.gcd.reduce(np.diff(changes)))
    return repeat, int(changes[0]) % repeat if repeat > 1 else 0


def _upsampling(spacing_mm: FloatArray) -> IntArray:
    """Nodes of the field per sample along each axis: cells at most 1.5 times longer than wide."""
    return np.maximum(1, np.round(spacing_mm / spacing_mm.min() / 1.5)).astype(np.int64)


def _padding(spacing_mm: FloatArray, *, closed: bool) -> IntArray:
    return padding_voxels(spacing_mm) if closed else np.zeros(3, dtype=np.int64)


def _node_count(shape: tuple[int, ...], spacing_mm: FloatArray, *, closed: bool) -> int:
    samples = np.array(shape) + 2 * _padding(spacing_mm, closed=closed)
    return int(np.prod((samples - 1) * _upsampling(spacing_mm) + 1))


# --- the solver ---------------------------------------------------------------------------


def solve(samples: Samples, *, closed: bool) -> tuple[Float32Array, FloatArray, FloatArray]:
    """The smoothest field that agrees with the samples, at the level that keeps their volume.

    Returns the field (K, J, I) in mm, negative inside, and the voxel index of its first node and
    the voxels between its nodes, both (K, J, I) from the corner of the box. `closed` says that
    the shape ends within the grid; else it may run on beyond the border. Raises
    ComputationError where no level holds the volume.
    """
    inside, spacing = samples.inside, samples.spacing_mm
    waves = _smoothest(inside, spacing)
    last = np.array(inside.shape) - 1.0
    count = _surface_nodes(inside, spacing)
    if closed:
        nodes = [np.linspace(0.0, end, n) for end, n in zip(last, count, strict=True)]
        values = _at_volume(waves.at_samples(nodes), spacing * last / (count - 1), samples.volume_mm3)
        parts = _thin_parts(inside, spacing)
        if parts is not None and _are_lost(parts, inside, values, last / (count - 1)):
            values, count = _with_thin_parts(samples, parts > 0)
    else:
        at_voxels = waves.at_samples([np.arange(n, dtype=np.float64) for n in inside.shape])
        nodes = [np.linspace(0.0, end, n) for end, n in zip(last, count, strict=True)]
        values = waves.at_samples(nodes) - np.float32(_quantile_level(at_voxels, float(inside.mean())))
    return values, samples.start, samples.step * last / (count - 1)


def _surface_nodes(inside: BoolArray, spacing_mm: FloatArray) -> IntArray:
    """How many nodes along each axis to take the surface from: finer, the rounder the shape."""
    area = 0.0
    for axis in range(3):
        low, high = _neighbors(axis, 1)
        area += np.count_nonzero(inside[low] != inside[high]) * np.prod(spacing_mm) / spacing_mm[axis]
    # The faces of voxels have 1.5 times the area of the surface that they follow (mean over directions).
    radius = 3 * np.count_nonzero(inside) * np.prod(spacing_mm) / max(area / 1.5, 1e-9)
    edge = float(np.prod(spacing_mm)) ** (1 / 3)
    lower, upper = (edge * limit for limit in _SURFACE_SPACING_VOXELS)
    wanted = float(np.clip(np.sqrt(8 * _SURFACE_SAG_MM * radius), lower, upper))
    extent = (np.array(inside.shape) - 1) * spacing_mm
    wanted = max(wanted, float(np.prod(extent) / _MAX_REFINED_NODES) ** (1 / 3))
    return np.maximum(2, np.ceil(extent / wanted) + 1).astype(np.int64)


# --- thin parts ---------------------------------------------------------------------------


def _thin_parts(inside: BoolArray, spacing_mm: FloatArray) -> npt.NDArray[np.int32] | None:
    """Labels of the parts one or two samples thick that reach beyond the rest of the shape; None without any.

    The rest is what blocks of 3 x 3 x 3 samples cover. Across thick slices a block is one slice
    high, unless the whole shape is: a round shape, too, may lie side by side in thick slices.
    """
    is_flat = [np.count_nonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) == 1 for axis in range(3)]
    is_long = spacing_mm >= _LONG_VOXEL_ASPECT * spacing_mm.min()
    axes = [axis for axis in range(3) if is_flat[axis] or not is_long[axis]]
    rest = inside
    for axis in axes:
        rest = ~_grown_along(axis, ~rest)
    for axis in axes:
        rest = _grown_along(axis, rest)
    thin = inside & ~rest
    if not thin.any() or not (beyond := thin & ~_grown(rest, 1)).any():
        return None
    labels = np.asarray(ndimage.label(thin, structure=np.ones((3, 3, 3)))[0], dtype=np.int32)
    return np.where(np.isin(labels, np.unique(labels[beyond])), labels, np.int32(0))


def _grown_along(axis: int, inside: BoolArray) -> BoolArray:
    low, high = _neighbors(axis, 1)
    grown = inside.copy()
    grown[low] |= inside[high]
    grown[high] |= inside[low]
    return grown


def _grown(inside: BoolArray, count: int) -> BoolArray:
    """With all samples at most `count` further along the axes, edges and corners included."""
    for _ in range(count):
        for axis in range(3):
            inside = _grown_along(axis, inside)
    return inside


def _are_lost(parts: npt.NDArray[np.int32], inside: BoolArray, values: Float32Array, step: FloatArray) -> bool:
    """Whether the zero level leaves too much of a thin part outside, or takes in too much beside them.

    `parts` holds a number for each; `step` samples (K, J, I) lie between neighboring nodes.
    """

    def is_inside(chosen: BoolArray) -> BoolArray:
        places = (np.argwhere(chosen) / step).T
        return np.asarray(ndimage.map_coordinates(values, places, order=1, mode="nearest") < 0)

    thin = parts > 0
    numbers, kept = parts[thin], is_inside(thin)
    lost_fraction = 1 - np.bincount(numbers, kept)[1:] / np.maximum(np.bincount(numbers)[1:], 1)
    lost_fraction[np.bincount(numbers)[1:] == 0] = 0
    beside = _grown(thin, 1) & ~inside
    return bool(lost_fraction.max() > _LOST_FRACTION or is_inside(beside).mean() > _SWALLOWED_FRACTION)


def _with_thin_parts(samples: Samples, thin: BoolArray) -> tuple[Float32Array, IntArray]:
    """The field of a shape of which a plain solution loses thin parts, and its count of nodes.

    The thin parts are solved on finer samples of their own, which lets the field change within
    them; then they are joined with the rest.
    """
    inside, spacing = samples.inside, samples.spacing_mm
    thickness_mm = _thickness_mm(thin, spacing)
    last = np.array(inside.shape) - 1.0
    step_mm = max(thickness_mm / _NODES_ACROSS, float(np.prod(last * spacing) / _MAX_REFINED_NODES) ** (1 / 3))
    count = np.maximum(2, np.ceil(last * spacing / step_mm) + 1).astype(np.int64)
    nodes = [np.linspace(0.0, end, n) for end, n in zip(last, count, strict=True)]
    node_mm = spacing * last / (count - 1)
    sample_mm3 = float(np.prod(spacing))

    near = _grown(thin, 2) & inside  # some of the rest too, so that no gap is left where they join
    box = _box_around(near, padding_voxels(spacing))
    finer = np.clip(np.ceil(_SAMPLES_ACROSS * spacing / thickness_mm - 0.01), 1, _SAMPLES_ACROSS).astype(np.int64)
    while near[box].size * np.prod(finer) > _MAX_NODES and finer.max() > 1:
        finer = np.maximum(1, finer - 1)
    fine = near[box]
    for axis, repeat in enumerate(finer.tolist()):
        fine = np.repeat(fine, repeat, axis=axis)
    within = [(part.start <= place) & (place <= part.stop - 1) for part, place in zip(box, nodes, strict=True)]
    places = [
        (place[held] - part.start) * repeat + (repeat - 1) / 2
        for part, place, held, repeat in zip(box, nodes, within, finer.tolist(), strict=True)
    ]
    field = _smoothest(fine, spacing / finer).at_samples(places)
    field = _at_volume(field, node_mm, np.count_nonzero(near) * sample_mm3)

    rest = inside & ~thin
    if rest.any():
        values = _smoothest(rest, spacing).at_samples(nodes)
        values = _at_volume(values, node_mm, np.count_nonzero(rest) * sample_mm3)
    else:
        values = np.full(count, field.max())
    held = np.ix_(*within)
    values[held] = np.minimum(values[held], field)
    return _at_volume(values, node_mm, samples.volume_mm3), count


def _thickness_mm(thin: BoolArray, spacing_mm: FloatArray) -> float:
    """The mean length of the runs of samples along the axis where it is least."""
    starts = [np.count_nonzero(np.diff(thin.astype(np.int8), axis=axis, prepend=0) > 0) for axis in range(3)]
    return float(np.min(np.count_nonzero(thin) / np.array(starts) * spacing_mm))


def _box_around(inside: BoolArray, padding: IntArray) -> tuple[slice, ...]:
    """The box of the samples inside and so many around them, as far as the array reaches."""
    found = np.argwhere(inside)
    lower = np.maximum(found.min(axis=0) - padding, 0)
    upper = np.minimum(found.max(axis=0) + padding + 1, inside.shape)
    return tuple(slice(a, b) for a, b in zip(lower.tolist(), upper.tolist(), strict=True))


# --- cosine waves -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Waves:
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


def _smoothest(inside: BoolArray, spacing_mm: FloatArray, depth: int = 0) -> _Waves:
    """Minimize the energy of third derivatives between the bounds at the samples."""
    factor = _upsampling(spacing_mm)
    nodes = tuple(((np.array(inside.shape) - 1) * factor + 1).tolist())
    halving = _halving(inside.shape, spacing_mm)
    every_second = inside[tuple(slice(None, None, int(step)) for step in halving)]
    is_large = halving.max() > 1 and np.count_nonzero(every_second) >= _least_inside(spacing_mm)
    has_start = bool(is_large) and depth + 1 < len(_SOLVER_STEPS)
    start, lower, upper = _bounds(inside, spacing_mm, has_start=has_start)
    if start is None:
        coarse = _smoothest(_to_multiple(inside, halving), spacing_mm * halving, depth + 1)
        places = zip(nodes, factor.tolist(), halving.tolist(), strict=True)
        field = coarse.at_samples([np.arange(n) / (step * half) for n, step, half in places])
    else:
        field = linear_on_grid(start, [np.arange(n) / step for n, step in zip(nodes, factor.tolist(), strict=True)])
    lower, upper = _at_nodes(lower, factor, -_NO_BOUND), _at_nodes(upper, factor, _NO_BOUND)
    spacing = spacing_mm / factor
    wavelength = _step_wavelength_mm(spacing_mm)
    steps = _SOLVER_STEPS[depth] if has_start else _SOLVER_STEPS[-1]
    return _Waves(_minimize(field, lower, upper, spacing, wavelength, steps), nodes, factor)


def _step_wavelength_mm(spacing_mm: FloatArray) -> float:
    aspect = float(spacing_mm.max() / spacing_mm.min())
    voxels = max(_STEP_WAVELENGTH_VOXELS * aspect**-_WAVELENGTH_ASPECT_EXPONENT, _MIN_STEP_WAVELENGTH_VOXELS)
    return voxels * float(np.prod(spacing_mm)) ** (1 / 3)


def _least_inside(spacing_mm: FloatArray) -> int:
    """Samples inside that a start needs: see the constants."""
    is_long = spacing_mm.max() >= _LONG_VOXEL_ASPECT * spacing_mm.min()
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
        low, high = _neighbors(axis, 1)
        change = inside[low] != inside[high]
        boundary[low] |= change
        boundary[high] |= change
    return boundary


def _neighbors(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
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
            low, high = _neighbors(axis, step)
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


# --- the level ----------------------------------------------------------------------------


def _quantile_level(values: Float32Array, share: float) -> float:
    """The level below which the given share of the nodes lies; 0 if that is none or all."""
    rank = round(share * values.size)
    if not 0 < rank < values.size:
        return 0.0
    flat = np.partition(values.ravel(), [rank - 1, rank])
    return float(flat[rank - 1] + flat[rank]) / 2


def _at_volume(values: Float32Array, spacing_mm: FloatArray, volume_mm3: float) -> Float32Array:
    """The field, shifted so that its zero level encloses the volume; raises ComputationError if no level does.

    The rank of the nodes gives it to within a node; a few secant steps with the volume of
    the mesh itself give the rest.
    """
    node_mm3 = float(np.prod(spacing_mm))
    level = _quantile_level(values, volume_mm3 / node_mm3 / values.size)
    half_width = np.float32(0.5 * spacing_mm.min())
    near = int(np.count_nonzero(np.abs(values - np.float32(level)) < half_width))
    if near == 0:
        raise ComputationError("no smooth surface encloses the volume of the mask: check the mask")
    volume_per_mm = near * node_mm3 / (2 * float(half_width))
    previous: tuple[float, float] | None = None
    for _ in range(_MAX_LEVEL_STEPS):
        points, triangles = zero_level(values, level)
        enclosed = enclosed_volume(points * spacing_mm[::-1], triangles)
        if previous is not None and (level - previous[0]) * (enclosed - previous[1]) > 0:
            volume_per_mm = (enclosed - previous[1]) / (level - previous[0])
        previous = level, enclosed
        step = (volume_mm3 - enclosed) / volume_per_mm
        level += float(np.clip(step, -half_width, half_width))
        if abs(step) < _LEVEL_PRECISION * half_width:
            break
    return values - np.float32(level)


def zero_level(values: Float32Array, level: float = 0.0) -> tuple[FloatArray, IntArray]:
    """Points (N, 3), in grid indices (I, J, K), and outward triangles (M, 3) of the zero level.

    Of another level, if one is given.
    """
    image = vtk.vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    scalars = np.ascontiguousarray(values, dtype=np.float32).ravel()
    image.GetPointData().SetScalars(numpy_to_vtk(scalars))
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, level)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    mesh = edges.GetOutput()
    if mesh.GetNumberOfPoints() == 0:
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    return points, triangles[:, ::-1]  # the filter turns triangles toward the lower values, which are inside here


def enclosed_volume(points: FloatArray, triangles: IntArray) -> float:
    """Volume inside a closed mesh of outward triangles, by the divergence theorem; 0 if empty."""
    if not len(triangles):
        return 0.0
    a, b, c = (points[triangles[:, i]] - points.mean(axis=0) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)
