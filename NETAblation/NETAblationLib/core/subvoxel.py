"""The smoothest field that agrees with a mask, and its zero level, on arrays.

A mask says of each voxel center whether it lies inside a shape; the shape's surface runs
somewhere between the inside and the outside centers. Of all surfaces that do, the smoothest
is taken (:mod:`.smoothest`). The grid of the field is finer than the mask's between thick slices. The
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
from .smoothest import LONG_VOXEL_ASPECT, neighbors, smoothest, upsampling

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# The numbers below, where no source is named, were chosen by trial on masks of spheres of 3 to 33
# mm, ellipsoids, capsules, pairs of balls and dented balls at 1 x 1 x 1, 1.5 x 0.75 x 0.75,
# 3 x 0.75 x 0.75, 5 x 0.75 x 0.75 and 7 x 0.8 x 0.8 mm, against the exact distances.

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
    low, high = neighbors(axis, 1)
    others = tuple(other for other in range(3) if other != axis)
    changes = np.flatnonzero((inside[low] != inside[high]).any(axis=others)) + 1
    ends = [end for end, cut in zip((0, inside.shape[axis]), at_border, strict=True) if not cut]
    changes = np.sort(np.concatenate([changes, np.array(ends, dtype=np.int64)]))
    if len(changes) < _MIN_TRANSITIONS_OF_REPEATED_SLICES:
        return 1, 0
    repeat = int(np.gcd.reduce(np.diff(changes)))
    return repeat, int(changes[0]) % repeat if repeat > 1 else 0


def _padding(spacing_mm: FloatArray, *, closed: bool) -> IntArray:
    return padding_voxels(spacing_mm) if closed else np.zeros(3, dtype=np.int64)


def _node_count(shape: tuple[int, ...], spacing_mm: FloatArray, *, closed: bool) -> int:
    samples = np.array(shape) + 2 * _padding(spacing_mm, closed=closed)
    return int(np.prod((samples - 1) * upsampling(spacing_mm) + 1))


# --- the solver ---------------------------------------------------------------------------


def solve(samples: Samples, *, closed: bool) -> tuple[Float32Array, FloatArray, FloatArray]:
    """The smoothest field that agrees with the samples, at the level that keeps their volume.

    Returns the field (K, J, I) in mm, negative inside, and the voxel index of its first node and
    the voxels between its nodes, both (K, J, I) from the corner of the box. `closed` says that
    the shape ends within the grid; else it may run on beyond the border. Raises
    ComputationError where no level holds the volume.
    """
    inside, spacing = samples.inside, samples.spacing_mm
    waves = smoothest(inside, spacing)
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
        low, high = neighbors(axis, 1)
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
    is_long = spacing_mm >= LONG_VOXEL_ASPECT * spacing_mm.min()
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
    low, high = neighbors(axis, 1)
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
    field = smoothest(fine, spacing / finer).at_samples(places)
    field = _at_volume(field, node_mm, np.count_nonzero(near) * sample_mm3)

    rest = inside & ~thin
    if rest.any():
        values = smoothest(rest, spacing).at_samples(nodes)
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
