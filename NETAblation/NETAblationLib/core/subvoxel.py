"""The smoothest field that agrees with a mask, and its zero level, on arrays.

A mask says of each voxel center whether it lies inside a shape; the shape's surface runs
somewhere between the inside and the outside centers. Of all surfaces that do, the smoothest
is taken: a field u (mm, negative inside) is sought that

- has the right sign at every voxel center, with a magnitude that a signed distance can have
  there (no more than the distance to the nearest center of the other side, no less than the
  distance to the nearest boundary voxel of its own side), and
- has the least energy of third derivatives, so that planes and quadrics (spheres, ellipsoids,
  cylinders) cost nothing and no curved surface is pulled flat or shrunk.

Smoothness under sign constraints for binary volumes follows Lempitsky, "Surface extraction
from binary volumes with higher-order smoothness", CVPR 2010 (there: second derivatives). It
is solved here by the alternating direction method of multipliers (Boyd et al., Foundations
and Trends in Machine Learning 2011;3:1), whose linear step is a low-pass filter that a
cosine transform does exactly. The grid of the field is finer than the mask's between thick
slices. The zero level is then moved so that the enclosed volume is that of the voxels, which
is an unbiased estimate of the shape's volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import vtk
from scipy import fft
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .errors import ComputationError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Wavelength at which a step of the solver lets half of a wave pass, in (geometric mean) voxel
#: edges. It sets how fast the solver converges, hardly where to. Chosen by trial on spheres of
#: 4 to 30 mm at 1 x 1 x 1, 3 x 0.75 x 0.75 and 5 x 0.75 x 0.75 mm.
_STEP_WAVELENGTH_VOXELS = 12.0
#: Order of the derivatives whose energy is minimized; 3 leaves quadrics free.
_SMOOTHNESS_ORDER = 3
#: Steps of the solver; the surface moves by less than 0.03 mm afterwards (same trials).
_SOLVER_STEPS = 24
#: Over-relaxation of the solver; 1.5 to 1.8 is what Boyd et al. 2011, 3.4.3, advise.
_OVER_RELAXATION = 1.6
#: Share of the interval between the bounds that is cut off at each end: a surface seldom
#: touches a voxel center. Chosen by the same trials.
_BOUND_TRIM_FRACTION = 0.15
#: Distance from the boundary within which the bounds hold, in edges of the thickest voxel side.
_BAND_VOXELS = 2.0
#: The least such distance, in mm.
_BAND_MIN_MM = 2.5
#: Nodes of one field above which every second voxel is left out along the finest axes, so that
#: a whole organ costs seconds and tens of megabytes. No published source; user-set.
_MAX_NODES = 1_500_000
#: The field is refined to this spacing before its surface is taken, as far as the nodes allow.
_SURFACE_SPACING_MM = 0.75
#: Secant steps toward the volume; one or two do, but for masks of a few voxels.
_MAX_LEVEL_STEPS = 8
#: Samples that may be added along an axis to reach a length that transforms fast.
_MAX_EXTRA_SAMPLES = 8
#: Nodes up to which that refinement is done.
_MAX_REFINED_NODES = 1_000_000
#: Planes between which a mask must change before equal neighboring slices count as repeated.
_MIN_TRANSITIONS_OF_REPEATED_SLICES = 4


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
    padding: IntArray,
) -> Samples:
    """Take the samples that a mask truly holds, and pad them by what is outside.

    Slices that merely repeat their neighbor (a mask drawn on thick slices and resampled to thin
    ones) count once; a mask too large for the node budget is sampled at every second voxel.
    """
    volume_mm3 = float(inside.sum() * np.prod(spacing_mm))
    start, step = np.zeros(3), np.ones(3)
    for axis in range(3):
        repeat, phase = _repetition(inside, axis, at_border[axis])
        if repeat > 1:
            first = np.arange(phase - repeat if phase else 0, inside.shape[axis], repeat)
            inside = np.take(inside, np.clip(first, 0, None), axis=axis)
            start[axis], step[axis] = first[0] + (repeat - 1) / 2.0, repeat
    while _node_count(inside.shape, spacing_mm * step, padding) > _MAX_NODES:
        finest = int(np.argmin(np.where(np.array(inside.shape) > 2, spacing_mm * step, np.inf)))
        if inside.shape[finest] <= 2:
            break
        skip = (inside.shape[finest] - 1) % 2
        inside = np.take(inside, np.arange(skip, inside.shape[finest], 2), axis=finest)
        start[finest] += skip * step[finest]
        step[finest] *= 2
    if padding.any():
        factor = _upsampling(spacing_mm * step)
        extra = [_to_fast_length(n + 2 * int(p), int(f)) for n, p, f in zip(inside.shape, padding, factor, strict=True)]
        inside = np.pad(inside, [(p, p + more) for p, more in zip(padding.tolist(), extra, strict=True)])
        start = start - padding * step
    return Samples(np.ascontiguousarray(inside), start, step, spacing_mm * step, volume_mm3)


def _repetition(inside: BoolArray, axis: int, at_border: tuple[bool, bool]) -> tuple[int, int]:
    """How many equal slices in a row stand for one sample along an axis, and where a run starts."""
    planes = np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1)
    changes = np.flatnonzero((planes[1:] != planes[:-1]).any(axis=1)) + 1
    ends = [end for end, cut in zip((0, inside.shape[axis]), at_border, strict=True) if not cut]
    changes = np.sort(np.concatenate([changes, np.array(ends, dtype=np.int64)]))
    if len(changes) < _MIN_TRANSITIONS_OF_REPEATED_SLICES:
        return 1, 0
    repeat = int(np.gcd.reduce(np.diff(changes)))
    return repeat, int(changes[0]) % repeat if repeat > 1 else 0


def _upsampling(spacing_mm: FloatArray) -> IntArray:
    """Nodes of the field per sample along each axis: cells at most 1.5 times longer than wide."""
    return np.maximum(1, np.round(spacing_mm / spacing_mm.min() / 1.5)).astype(np.int64)


def _to_fast_length(samples: int, factor: int) -> int:
    """Samples to add along an axis so that a transform of its nodes is fast (small prime factors)."""
    for extra in range(_MAX_EXTRA_SAMPLES):
        nodes = (samples + extra - 1) * factor + 1
        if nodes == fft.next_fast_len(nodes, real=True):
            return extra
    return 0


def _node_count(shape: tuple[int, ...], spacing_mm: FloatArray, padding: IntArray) -> int:
    samples = np.array(shape) + 2 * padding
    return int(np.prod((samples - 1) * _upsampling(spacing_mm) + 1))


# --- the solver ---------------------------------------------------------------------------


def solve(samples: Samples, *, closed: bool) -> tuple[Float32Array, FloatArray, FloatArray]:
    """The smoothest field that agrees with the samples, at the level that keeps their volume.

    Returns the field (K, J, I) in mm, negative inside, and the voxel index of its first node and
    the voxels between its nodes, both (K, J, I) from the corner of the box. `closed` says that
    the shape ends within the grid; else it may run on beyond the border. Raises
    ComputationError where no level holds the volume.
    """
    factor = _upsampling(samples.spacing_mm)
    start, lower, upper = _bounds(samples.inside, samples.spacing_mm)
    spectrum = _smoothest(_interpolate(start, factor), lower, upper, factor, samples.spacing_mm)
    values, refinement = _refined(spectrum, samples.spacing_mm / factor)
    if closed:
        level = _volume_level(values, samples.spacing_mm / factor / refinement, samples.volume_mm3)
    else:
        level = _quantile_level(values, float(_interpolate(samples.inside.astype(np.float32), factor).mean()))
    values -= np.float32(level)
    # The nodes of a refined cosine transform are centered in the cells of the old ones.
    node_step = samples.step / factor / refinement
    return values, samples.start + node_step * (refinement - 1) * -0.5, node_step


def _bounds(inside: BoolArray, spacing_mm: FloatArray) -> tuple[Float32Array, Float32Array, Float32Array]:
    """A first field at the samples, and its lower and upper bounds, all shaped as `inside`."""
    reach = float(max(_BAND_VOXELS * spacing_mm.max(), _BAND_MIN_MM))
    boundary = _boundary(inside)
    most = np.where(inside, _capped_distance(~inside, spacing_mm, reach), _capped_distance(inside, spacing_mm, reach))
    least = np.where(
        inside,
        _capped_distance(boundary & inside, spacing_mm, reach),
        _capped_distance(boundary & ~inside, spacing_mm, reach),
    )
    in_band = (most < reach) & (least < reach)
    middle = np.where(in_band, (most + least) / 2, np.float32(reach))
    trim = np.float32(_BOUND_TRIM_FRACTION) * (most - least)
    far = np.float32(np.finfo(np.float32).max)
    most = np.where(in_band, most - trim, far)
    least = np.where(in_band, least + trim, np.float32(0))
    return (
        np.where(inside, -middle, middle),
        np.where(inside, -most, least),
        np.where(inside, -least, most),
    )


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
            further = np.float32((step * spacing_mm[axis]) ** 2)
            np.minimum(nearest[low], squared[high] + further, out=nearest[low])
            np.minimum(nearest[high], squared[low] + further, out=nearest[high])
        squared = nearest
    return np.sqrt(squared)


def _interpolate(values: Float32Array, factor: IntArray) -> Float32Array:
    """Put `factor` - 1 linearly interpolated nodes between neighbors along each axis."""
    for axis in range(3):
        count = int(factor[axis])
        if count == 1:
            continue
        low, high = _neighbors(axis, 1)
        shape = list(values.shape)
        shape[axis] = (shape[axis] - 1) * count + 1
        finer = np.empty(shape, dtype=np.float32)
        for part in range(count):
            target = [slice(None)] * 3
            target[axis] = slice(part, shape[axis] - (0 if part == 0 else 1), count)
            weight = np.float32(part / count)
            finer[tuple(target)] = values if part == 0 else values[low] * (1 - weight) + values[high] * weight
        values = finer
    return values


def _smoothest(
    start: Float32Array,
    lower: Float32Array,
    upper: Float32Array,
    factor: IntArray,
    spacing_mm: FloatArray,
) -> Float32Array:
    """Minimize the energy of third derivatives between the bounds; the result's cosine spectrum.

    `start` holds all nodes; the bounds are of the samples, every `factor`-th node.
    """
    at_samples = tuple(slice(None, None, int(step)) for step in factor)
    low_pass = _low_pass(
        start.shape, spacing_mm / factor, _STEP_WAVELENGTH_VOXELS * float(np.prod(spacing_mm)) ** (1 / 3)
    )
    bounded, multiplier = start.copy(), np.zeros_like(lower)
    relaxation = np.float32(_OVER_RELAXATION)
    for step in range(_SOLVER_STEPS):
        wanted = bounded.copy()
        wanted[at_samples] -= multiplier
        spectrum = fft.dctn(wanted, norm="ortho", overwrite_x=True)
        spectrum *= low_pass
        if step == _SOLVER_STEPS - 1:
            break
        smooth = fft.idctn(spectrum, norm="ortho", overwrite_x=True)
        smooth -= bounded
        smooth *= relaxation
        bounded += smooth
        wish = bounded[at_samples] + multiplier
        held = np.clip(wish, lower, upper)
        np.subtract(wish, held, out=multiplier)
        bounded[at_samples] = held
    return spectrum


def _low_pass(shape: tuple[int, ...], spacing_mm: FloatArray, wavelength_mm: float) -> Float32Array:
    """Gain of each cosine wave: one half at `wavelength_mm`, by the order of the smoothness."""
    waves = [
        (np.arange(n) * (wavelength_mm / (2 * n * step))).astype(np.float32) ** 2
        for n, step in zip(shape, spacing_mm.tolist(), strict=True)
    ]
    squared = waves[0][:, None, None] + waves[1][:, None] + waves[2]
    return 1 / (1 + squared**_SMOOTHNESS_ORDER)


def _refined(spectrum: Float32Array, spacing_mm: FloatArray) -> tuple[Float32Array, IntArray]:
    """The field of a cosine spectrum on nodes fine enough to take a surface, and the refinement."""
    refinement = np.maximum(1, np.ceil(spacing_mm / _SURFACE_SPACING_MM - 0.01)).astype(np.int64)
    while np.prod(np.array(spectrum.shape) * refinement) > _MAX_REFINED_NODES and refinement.max() > 1:
        refinement = np.maximum(1, refinement - 1)
    shape = tuple((np.array(spectrum.shape) * refinement).tolist())
    if shape != spectrum.shape:
        padded = np.zeros(shape, dtype=np.float32)
        padded[tuple(slice(n) for n in spectrum.shape)] = spectrum
        spectrum = padded * np.float32(np.sqrt(np.prod(refinement)))
    return fft.idctn(spectrum, norm="ortho", overwrite_x=True), refinement


def _quantile_level(values: Float32Array, share: float) -> float:
    """The level below which the given share of the nodes lies; 0 if that is none or all."""
    rank = round(share * values.size)
    if not 0 < rank < values.size:
        return 0.0
    flat = np.partition(values.ravel(), [rank - 1, rank])
    return float(flat[rank - 1] + flat[rank]) / 2


def _volume_level(values: Float32Array, spacing_mm: FloatArray, volume_mm3: float) -> float:
    """The level whose mesh encloses the volume; raises ComputationError if there is none.

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
    for _ in range(_MAX_LEVEL_STEPS):
        points, triangles = zero_level(values - np.float32(level))
        enclosed = enclosed_volume(points * spacing_mm[::-1], triangles)
        step = (volume_mm3 - enclosed) / volume_per_mm
        level += float(np.clip(step, -half_width, half_width))
        if abs(step) < 0.01:
            break
    return level


def zero_level(values: Float32Array) -> tuple[FloatArray, IntArray]:
    """Points (N, 3), in grid indices (I, J, K), and outward triangles (M, 3) of the zero level."""
    image = vtk.vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    scalars = np.ascontiguousarray(values, dtype=np.float32).ravel()
    image.GetPointData().SetScalars(numpy_to_vtk(scalars))
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.0)
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
