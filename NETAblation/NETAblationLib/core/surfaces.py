"""Sub-voxel surfaces of masks, the fields they are the zero level of, and distances to them.

How a surface is found between the voxel centers is told in :mod:`~NETAblationLib.core.subvoxel`;
here it is put in its place in space (RAS, mm), and only where the mask has voxels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import vtk
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from . import frames, subvoxel
from .errors import EmptyMaskError, GeometryError
from .smoothest import linear_on_grid

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]

#: Points whose distances are computed at a time, which bounds the memory, and points from which on
#: two threads are faster than one.
_POINTS_AT_ONCE = 20_000
_MIN_POINTS_OF_THREADS = 4_000
#: Grids are parallel where their nodes deviate by less than this, in nodes.
_PARALLEL_TOLERANCE_NODES = 1e-3
#: Voxels that touch, also across edges and corners, are one component.
_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in RAS mm whose triangles are oriented outward.

    `points_ras_mm` has shape (N, 3), `triangles` (M, 3) indexes into it. Raises GeometryError
    for other shapes, non-finite points or indices out of range.
    """

    points_ras_mm: FloatArray
    triangles: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check shapes and indices; make both arrays read-only."""
        points = frames.as_points(self.points_ras_mm, "surface points").copy()
        triangles = np.array(self.triangles, dtype=np.int64)
        if triangles.ndim != 2 or triangles.shape[1] != 3:
            raise GeometryError(f"surface triangles: expected an (M, 3) array, got shape {triangles.shape}")
        if triangles.size and not (triangles.min() >= 0 and triangles.max() < len(points)):
            raise GeometryError("surface triangles: an index is outside the points")
        points.setflags(write=False)
        triangles.setflags(write=False)
        object.__setattr__(self, "points_ras_mm", points)
        object.__setattr__(self, "triangles", triangles)

    @cached_property
    def _corners(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        a, b, c = (self.points_ras_mm[self.triangles[:, corner]] for corner in range(3))
        return a, b, c

    @cached_property
    def _area_vectors_mm2(self) -> FloatArray:
        """Normal of each triangle, (M, 3), as long as the triangle's area."""
        a, b, c = self._corners
        return _cross(b - a, c - a) / 2.0

    @cached_property
    def triangle_areas_mm2(self) -> FloatArray:
        """Area of each triangle, shape (M,), in mm2."""
        return np.linalg.norm(self._area_vectors_mm2, axis=1)

    @cached_property
    def point_areas_mm2(self) -> FloatArray:
        """Area that each point stands for, shape (N,), in mm2: a third of its triangles' area."""
        return self._sum_at_points(self.triangle_areas_mm2) / 3.0

    @cached_property
    def point_normals(self) -> FloatArray:
        """Outward unit normals, shape (N, 3), weighted by the area of the adjoining triangles."""
        normals = np.stack([self._sum_at_points(self._area_vectors_mm2[:, i]) for i in range(3)], axis=1)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)

    @property
    def area_mm2(self) -> float:
        """Area in mm2."""
        return float(self.triangle_areas_mm2.sum())

    @cached_property
    def volume_ml(self) -> float:
        """Enclosed volume in ml; meaningful for a closed surface."""
        return subvoxel.enclosed_volume(self.points_ras_mm, self.triangles) / 1000.0

    @cached_property
    def centroid_ras_mm(self) -> FloatArray:
        """Center of mass of the enclosed solid, shape (3,); of the points where it has no volume."""
        middle = self.points_ras_mm.mean(axis=0)
        a, b, c = (corner - middle for corner in self._corners)
        volumes = np.einsum("ij,ij->i", a, _cross(b, c))
        if not volumes.sum() > 0:
            return middle
        return middle + volumes @ (a + b + c) / 4.0 / volumes.sum()

    def to_polydata(self) -> vtk.vtkPolyData:
        """The mesh as vtkPolyData with point normals, in RAS mm; the data are copied."""
        points = vtk.vtkPoints()
        points.SetDataTypeToDouble()
        points.SetData(numpy_to_vtk(self.points_ras_mm, deep=True))
        cells = vtk.vtkCellArray()
        cells.SetData(3, numpy_to_vtkIdTypeArray(self.triangles.ravel(), deep=True))
        polydata = vtk.vtkPolyData()
        polydata.SetPoints(points)
        polydata.SetPolys(cells)
        normals = numpy_to_vtk(self.point_normals, deep=True)
        normals.SetName("Normals")
        polydata.GetPointData().SetNormals(normals)
        return polydata

    def distance_mm(self, points_ras_mm: npt.ArrayLike, at_most_mm: float = np.inf) -> FloatArray:
        """Unsigned distance in mm from each of the points, shape (N, 3), to the mesh; shape (N,).

        Distances above `at_most_mm` are given as that. The nearest point is sought on the
        triangles around the nearest vertex. Infinite (or `at_most_mm`) where the mesh is empty.
        """
        points = frames.as_points(points_ras_mm)
        distance, vertex = self._nearest_vertices(points, at_most_mm)
        reached = np.flatnonzero(distance < np.inf)
        for part in np.array_split(reached, 1 + len(reached) // _POINTS_AT_ONCE):
            distance[part] = self._distance_around_vertices(points[part], vertex[part])
        return np.minimum(distance, at_most_mm)

    def tangent_distance_mm(self, points_ras_mm: npt.ArrayLike, at_most_mm: float = np.inf) -> FloatArray:
        """As :meth:`distance_mm`, but to the tangent plane at the nearest vertex: cheaper, and less exact.

        For a round surface it is as good. Beside a sharp ridge it is too short, by a fraction of an edge.
        """
        points = frames.as_points(points_ras_mm)
        distance, vertex = self._nearest_vertices(points, at_most_mm)
        reached = np.flatnonzero(distance < np.inf)
        offset = points[reached] - self.points_ras_mm[vertex[reached]]
        along = np.einsum("ij,ij->i", offset, self.point_normals[vertex[reached]])
        # The foot on an equilateral triangle lies at most 0.6 edges from its nearest vertex.
        beside = np.minimum(distance[reached] ** 2 - along**2, (0.6 * self._edge_mm) ** 2)
        distance[reached] = np.sqrt(distance[reached] ** 2 - beside)
        return np.minimum(distance, at_most_mm)

    def _nearest_vertices(self, points: FloatArray, at_most_mm: float) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Distance to the nearest vertex with a triangle, and its number; infinite where the mesh is farther away."""
        if not len(self.triangles):
            return np.full(len(points), np.inf), np.zeros(len(points), dtype=np.int64)
        # A vertex is farther than the nearest point of the mesh, but not by more than an edge.
        bound = at_most_mm + 2.0 * self._edge_mm
        tree, numbers = self._vertex_tree
        workers = -1 if len(points) >= _MIN_POINTS_OF_THREADS else 1
        distance, found = tree.query(points, distance_upper_bound=bound, workers=workers)
        nearest = np.minimum(np.asarray(found, dtype=np.int64), len(numbers) - 1)
        return np.asarray(distance, dtype=np.float64), numbers[nearest]

    def _distance_around_vertices(self, points: FloatArray, vertex: npt.NDArray[np.int64]) -> FloatArray:
        """Distance from each point to the triangles at a vertex of its own, (N,)."""
        if not len(points):
            return np.empty(0)
        start, triangles = self._triangles_at_vertices
        count = start[vertex + 1] - start[vertex]
        first = np.cumsum(count) - count
        chosen = triangles[np.arange(int(count.sum())) + np.repeat(start[vertex] - first, count)]
        a, b, c = (corner[chosen] for corner in self._corners)
        squared = _squared_distance_to_triangles(np.repeat(points, count, axis=0), a, b, c)
        return np.sqrt(np.minimum.reduceat(squared, first))

    @cached_property
    def _edge_mm(self) -> float:
        """Edge of an equilateral triangle of the mean area."""
        return float(np.sqrt(self.area_mm2 / max(len(self.triangles), 1) * 4 / np.sqrt(3)))

    @cached_property
    def _vertex_tree(self) -> tuple[cKDTree, npt.NDArray[np.int64]]:
        """The vertices that have a triangle, and their numbers."""
        numbers = np.flatnonzero(np.bincount(self.triangles.ravel(), minlength=len(self.points_ras_mm)))
        points = self.points_ras_mm[numbers]
        return cKDTree(points, leafsize=32, compact_nodes=False, balanced_tree=False), numbers

    @cached_property
    def _triangles_at_vertices(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Numbers of the triangles at each vertex, one vertex after the other, and where each one's start, (N + 1,)."""
        vertex = self.triangles.ravel()
        count = np.bincount(vertex, minlength=len(self.points_ras_mm))
        return np.concatenate([[0], np.cumsum(count)]), np.argsort(vertex, kind="stable") // 3

    def _sum_at_points(self, values: FloatArray) -> FloatArray:
        weights = np.repeat(values, 3)
        sums = np.bincount(self.triangles.ravel(), weights=weights, minlength=len(self.points_ras_mm))
        return sums.astype(np.float64, copy=False)


@dataclass(frozen=True)
class FieldPatch:
    """A smooth field on a grid of its own around one part of a mask.

    `values_mm` (K, J, I) float32, negative inside, is close to a signed distance near its zero
    level only. `index_to_ras` (4, 4) takes the continuous grid index (I, J, K) to RAS mm; it
    may be any invertible affine matrix.
    """

    values_mm: npt.NDArray[np.float32]
    index_to_ras: FloatArray

    def __post_init__(self) -> None:
        """Refuse a matrix that cannot be inverted or a field that is not 3D."""
        if self.values_mm.ndim != 3 or min(self.values_mm.shape) < 2:
            raise GeometryError(f"field patch: expected a 3D array of at least 2 nodes, got {self.values_mm.shape}")
        if abs(np.linalg.det(self.index_to_ras[:3, :3])) < 1e-12:
            raise GeometryError("field patch: the grid is flat, or the transform cannot be inverted")

    @property
    def spacing_mm(self) -> FloatArray:
        """Distance of neighboring nodes along I, J, K, shape (3,), in mm."""
        return np.linalg.norm(self.index_to_ras[:3, :3], axis=0)

    def corners_ras(self) -> FloatArray:
        """The eight outermost nodes, shape (8, 3), RAS mm."""
        limits = [(0, n - 1) for n in self.values_mm.shape[::-1]]
        return frames.apply_matrix(self.index_to_ras, np.array(np.meshgrid(*limits)).reshape(3, -1).T)

    def evaluate(self, points_ras_mm: FloatArray) -> FloatArray:
        """Field in mm at points (N, 3), linear between nodes; shape (N,).

        Outside the grid, where no surface is, it is the distance to the grid plus the value at
        its border.
        """
        index = frames.apply_matrix(_inverse(self.index_to_ras), points_ras_mm)
        held = np.clip(index, 0, np.array(self.values_mm.shape[::-1]) - 1)
        values = ndimage.map_coordinates(self.values_mm, held[:, ::-1].T, order=1, mode="nearest", output=np.float64)
        return values + np.linalg.norm((index - held) * self.spacing_mm, axis=1)

    def distance_to_grid_mm(self, points_ras_mm: FloatArray) -> FloatArray:
        """Distance in mm from points (N, 3) to the box of the nodes, 0 within; shape (N,)."""
        index = frames.apply_matrix(_inverse(self.index_to_ras), points_ras_mm)
        beyond = np.maximum(np.maximum(-index, index - (np.array(self.values_mm.shape[::-1]) - 1)), 0)
        return np.linalg.norm(beyond * self.spacing_mm, axis=1)

    def sample(self, index_to_ras: FloatArray, shape: tuple[int, ...]) -> Float32Array:
        """Field in mm at the nodes of another grid of that shape (K, J, I), linear between nodes.

        Outside the patch's grid it is the value at the grid's border.
        """
        matrix = (_inverse(self.index_to_ras) @ index_to_ras)[:3]
        turned, offset = matrix[::-1, 2::-1], matrix[::-1, 3]
        if np.abs(turned - np.diag(np.diag(turned))).max() * max(shape) < _PARALLEL_TOLERANCE_NODES:
            places = [offset[axis] + turned[axis, axis] * np.arange(n) for axis, n in enumerate(shape)]
            return linear_on_grid(self.values_mm, places)
        values = np.empty(shape, dtype=np.float32)
        ndimage.affine_transform(self.values_mm, turned, offset, output=values, order=1, mode="nearest")
        return values

    def surface(self) -> Surface:
        """The zero level as a mesh, oriented outward; open where it meets the border of the grid."""
        return self._surface

    @cached_property
    def _surface(self) -> Surface:
        points, triangles = subvoxel.zero_level(self.values_mm)
        if np.linalg.det(self.index_to_ras[:3, :3]) < 0:
            triangles = triangles[:, ::-1]
        return Surface(frames.apply_matrix(self.index_to_ras, points), triangles)


@dataclass(frozen=True)
class SmoothField:
    """The smooth signed field of a mask: negative inside, zero on its sub-voxel surface.

    Parts of the mask that lie far apart have a patch each, so that the cost follows the mask
    and not the box around it. `mask_volume_ml` is the number of voxels times their volume,
    `component_count` the number of pieces (voxels that touch, also across corners, are one),
    `touches_border` whether a voxel lies in the outermost layer of the image.
    """

    patches: tuple[FieldPatch, ...]
    mask_volume_ml: float
    component_count: int
    touches_border: bool
    content_hash: str

    def evaluate(self, points_ras_mm: npt.ArrayLike) -> FloatArray:
        """Field in mm at RAS points, shape (N, 3); the sign is right everywhere; shape (N,)."""
        points = frames.as_points(points_ras_mm)
        if len(self.patches) == 1:
            return self.patches[0].evaluate(points)
        values = np.full(len(points), np.inf)
        for patch in self.patches:
            outside_mm = patch.distance_to_grid_mm(points)
            within = outside_mm == 0
            outside_mm[within] = patch.evaluate(points[within])
            np.minimum(values, outside_mm, out=values)
        return values

    def sample(self, index_to_ras: FloatArray, shape: tuple[int, ...]) -> Float32Array:
        """Field at the nodes of a grid, as :meth:`FieldPatch.sample`; the sign is right everywhere."""
        values = self.patches[0].sample(index_to_ras, shape)
        for patch in self.patches[1:]:
            np.minimum(values, patch.sample(index_to_ras, shape), out=values)
        return values

    def surface(self) -> Surface:
        """The zero level of all patches as one mesh."""
        return self._surface

    @cached_property
    def _surface(self) -> Surface:
        return merge_surfaces([patch.surface() for patch in self.patches])

    def with_patches(self, patches: Sequence[FieldPatch]) -> SmoothField:
        """The same mask's field, carried elsewhere."""
        return replace(self, patches=tuple(patches))


def signed_distance_mm(points_ras_mm: npt.ArrayLike, field: SmoothField, surface: Surface) -> FloatArray:
    """Signed distance in mm, negative inside, of points (N, 3) to the surface of a field; shape (N,)."""
    points = frames.as_points(points_ras_mm)
    return np.where(field.evaluate(points) < 0, -1.0, 1.0) * surface.distance_mm(points)


def merge_surfaces(surfaces: Sequence[Surface]) -> Surface:
    """All meshes as one."""
    if len(surfaces) == 1:
        return surfaces[0]
    offsets = np.cumsum([0, *(len(surface.points_ras_mm) for surface in surfaces)])
    return Surface(
        np.concatenate([surface.points_ras_mm for surface in surfaces]),
        np.concatenate([s.triangles + offset for s, offset in zip(surfaces, offsets, strict=False)]),
    )


def parts_of(surface: Surface) -> list[tuple[IntArray, Surface]]:
    """The connected parts of a mesh, the largest first, each with the numbers of its points in the whole."""
    count = len(surface.points_ras_mm)
    a, b, c = surface.triangles.T
    edges = csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, c])), shape=(count, count))
    number, label = connected_components(edges, directed=False)
    if number == 1:
        return [(np.arange(count), surface)]
    parts = []
    of_triangle = label[a]
    for part in np.unique(of_triangle):
        points = np.flatnonzero(label == part)
        chosen = surface.triangles[of_triangle == part]
        parts.append((points, Surface(surface.points_ras_mm[points], np.searchsorted(points, chosen))))
    return sorted(parts, key=lambda found: -found[1].area_mm2)


def mask_surface(mask: sitk.Image, name: str = "mask") -> Surface:
    """The smooth sub-voxel surface of a mask, closed also where the mask touches the image border.

    Any non-zero voxel is inside. Raises GeometryError for an image that is not 3D and scalar or
    has non-finite voxels, EmptyMaskError for an empty one, each naming `name`.
    """
    return smooth_field(mask, name).surface()


def smooth_field(mask: sitk.Image, name: str = "mask") -> SmoothField:
    """The smooth signed field of a whole mask; only the surroundings of its voxels are computed.

    Raises as :func:`mask_surface`.
    """
    view = mask_view(mask, name)
    matrix = frames.index_to_ras_matrix(mask)
    spacing = np.array(mask.GetSpacing())[::-1]
    padding = subvoxel.padding_voxels(spacing)
    boxes = _split(view, _occupied_box(view, name), 2 * padding + 1)
    voxel_ml = float(np.prod(spacing)) / 1000.0
    patches, count, components, touches = [], 0, 0, False
    digest = _new_digest(mask)
    for box in boxes:
        inside = _inside(view[box], name)
        count += int(np.count_nonzero(inside))
        components += int(ndimage.label(inside, structure=_NEIGHBORS)[1])
        touches |= any(s.start == 0 or s.stop == n for s, n in zip(box, view.shape, strict=True))
        digest.update(repr([(s.start, s.stop) for s in box]).encode())
        digest.update(np.packbits(inside).tobytes())
        at_border = [(s.start == 0, s.stop == n) for s, n in zip(box, view.shape, strict=True)]
        patches.append(_patch(inside, spacing, matrix @ _grid_matrix([s.start for s in box]), at_border, closed=True))
    return SmoothField(tuple(patches), count * voxel_ml, components, touches, digest.hexdigest())


def smooth_field_near(
    mask: sitk.Image, points_ras_mm: npt.ArrayLike, reach_mm: float, name: str = "mask"
) -> SmoothField | None:
    """The smooth field of the part of a mask within `reach_mm` of a box around the points (N, 3).

    Meant for an organ around a lesion: the cut through the mask at the box and at the image
    border is not a surface, and cavities within are filled (a lesion left out of the organ's
    mask is part of the organ). None where the mask has no voxel in the box. Raises as
    :func:`mask_surface` for bad voxels, and GeometryError where the image ends before the box.
    """
    view = mask_view(mask, name)
    matrix = frames.index_to_ras_matrix(mask)
    index = frames.ras_to_index(mask, frames.as_points(points_ras_mm))
    reach = reach_mm / np.array(mask.GetSpacing()) + subvoxel.padding_voxels(np.array(mask.GetSpacing()))
    lower = np.clip(np.floor(index.min(axis=0) - reach), 0, mask.GetSize()).astype(int)[::-1]
    upper = np.clip(np.ceil(index.max(axis=0) + reach) + 1, 0, mask.GetSize()).astype(int)[::-1]
    if np.any(upper - lower < 1):
        raise GeometryError(f"{name}: its image does not reach the place where it is needed; check the frame")
    (k0, j0, i0), (k1, j1, i1) = lower.tolist(), upper.tolist()
    box = slice(k0, k1), slice(j0, j1), slice(i0, i1)
    inside = _inside(view[box], name)
    if not inside.any():
        return None
    digest = _new_digest(mask)
    digest.update(repr([(s.start, s.stop) for s in box]).encode())
    digest.update(np.packbits(inside).tobytes())
    inside = _without_cavities(inside)
    spacing = np.array(mask.GetSpacing())[::-1]
    volume_ml = float(np.count_nonzero(inside) * np.prod(spacing)) / 1000.0
    if inside.all():  # the capsule lies farther away than is asked: no field is needed to say so
        corners = _grid_matrix(lower.tolist(), (np.array(inside.shape) - 1).clip(1).tolist())
        patch = FieldPatch(np.full((2, 2, 2), -reach_mm, dtype=np.float32), matrix @ corners)
        return SmoothField((patch,), volume_ml, 1, False, digest.hexdigest())
    patch = _patch(inside, spacing, matrix @ _grid_matrix(lower.tolist()), [(True, True)] * 3, closed=False)
    components = int(ndimage.label(inside, structure=_NEIGHBORS)[1])
    return SmoothField((patch,), volume_ml, components, False, digest.hexdigest())


def mask_view(mask: sitk.Image, name: str) -> npt.NDArray[Any]:
    """The voxels of a 3D scalar mask as a (K, J, I) array, not copied; raises GeometryError else."""
    if mask.GetDimension() != 3 or mask.GetNumberOfComponentsPerPixel() != 1:
        raise GeometryError(
            f"{name}: expected a 3D image of one number per voxel, got {mask.GetDimension()}D with "
            f"{mask.GetNumberOfComponentsPerPixel()} components; take one volume and one channel of it"
        )
    if not (np.isfinite(mask.GetSpacing()).all() and np.isfinite(mask.GetOrigin()).all()):
        raise GeometryError(f"{name}: spacing or origin is not a finite number")
    return sitk.GetArrayViewFromImage(mask)


def _new_digest(mask: sitk.Image) -> Any:
    """A SHA-256 that already holds the geometry of the image."""
    geometry = (mask.GetSize(), mask.GetSpacing(), mask.GetOrigin(), mask.GetDirection())
    return hashlib.sha256(repr(geometry).encode())


def _grid_matrix(start_kji: Sequence[float], step_kji: Sequence[float] = (1.0, 1.0, 1.0)) -> FloatArray:
    """The (4, 4) matrix from the (I, J, K) index of a grid within a grid to that of the outer one."""
    matrix = np.diag([*list(step_kji)[::-1], 1.0])
    matrix[:3, 3] = list(start_kji)[::-1]
    return matrix


def _patch(
    inside: BoolArray,
    spacing_mm: FloatArray,
    box_to_ras: FloatArray,
    at_border: Sequence[tuple[bool, bool]],
    *,
    closed: bool,
) -> FieldPatch:
    """The field of a box of voxels, (K, J, I) as its spacing and borders, however its axes are stored.

    What the solver finds depends a little on the corner where it starts and the order of the axes. So those
    of a closed shape are taken from its voxels: flipped, permuted or turned, it has the same surface. Those
    of a part of an organ are taken from the axes of the body, since there a voxel more must not change them.
    """
    axes, is_turned = _own_order(inside, spacing_mm) if closed else _axial_order(box_to_ras)
    turned = [at for at in range(3) if is_turned[at]]
    inside = np.ascontiguousarray(np.flip(inside.transpose(axes), tuple(turned)))
    ends = [at_border[axis][::-1] if is_turned[at] else at_border[axis] for at, axis in enumerate(axes)]
    to_stored = np.eye(4)[:, [*(2 - axis for axis in reversed(axes)), 3]]
    for at in turned:
        to_stored[:3, 3] += to_stored[:3, 2 - at] * (inside.shape[at] - 1)
        to_stored[:3, 2 - at] *= -1.0
    samples = subvoxel.sample_mask(inside, spacing_mm[axes], ends, closed=closed)
    values, start, step = subvoxel.solve(samples, closed=closed)
    return FieldPatch(values, box_to_ras @ to_stored @ _grid_matrix(start.tolist(), step.tolist()))


def _own_order(inside: BoolArray, spacing_mm: FloatArray) -> tuple[list[int], list[bool]]:
    """The axes from the longest voxel edge to the shortest, and those to turn so that most voxels come late.

    Of axes with equal edges the one with fewer slices comes first, then the one with fewer voxels early on.
    """
    per_slice = [np.count_nonzero(inside, axis=tuple({0, 1, 2} - {axis})).tolist() for axis in range(3)]
    is_turned = [counts > counts[::-1] for counts in per_slice]
    edges = np.round(spacing_mm, 6).tolist()  # so that rounding decides no tie
    axes = sorted(
        range(3), key=lambda axis: (-edges[axis], len(per_slice[axis]), min(per_slice[axis], per_slice[axis][::-1]))
    )
    return axes, [is_turned[axis] for axis in axes]


def _axial_order(index_to_ras: FloatArray) -> tuple[list[int], list[bool]]:
    """The axes that run most along cranial, posterior and left, and which of them run the other way."""
    along = index_to_ras[[2, 1, 0], 2::-1] * [[1.0], [-1.0], [-1.0]]
    along = np.round(along / np.linalg.norm(along, axis=0), 6)  # so that rounding decides no tie
    axes = max(permutations(range(3)), key=lambda order: sum(abs(along[at, axis]) for at, axis in enumerate(order)))
    return list(axes), [bool(along[at, axis] < 0) for at, axis in enumerate(axes)]


def _inverse(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


# --- where the voxels are -----------------------------------------------------------------


def _occupied_box(view: npt.NDArray[Any], name: str) -> Box:
    """The smallest box that holds all non-zero voxels; raises EmptyMaskError if there is none.

    The volume is read once, eight bytes at a time, and never copied.
    """
    words = view.reshape(view.shape[0], -1)
    if words.dtype.itemsize * words.shape[1] % 8 == 0 and words.dtype.kind in "uif":
        plane: npt.NDArray[Any] = np.bitwise_or.reduce(words.view(np.uint64), axis=0)
        plane = np.asarray(plane.view(np.uint8).reshape(*view.shape[1:], view.dtype.itemsize).any(axis=-1))
    else:
        plane = np.asarray(view.any(axis=0))
    if not plane.any():
        raise EmptyMaskError(f"{name}: the mask is empty; segment it first, or choose another label")
    rows, columns = _range(np.asarray(plane.any(axis=1))), _range(np.asarray(plane.any(axis=0)))
    slices = np.asarray(view[:, rows, columns].any(axis=(1, 2)))
    return _range(slices), rows, columns


def _range(occupied: BoolArray) -> slice:
    found = np.flatnonzero(occupied)
    return slice(int(found[0]), int(found[-1]) + 1)


def _split(view: npt.NDArray[Any], box: Box, gaps: npt.NDArray[np.int64]) -> list[Box]:
    """Cut a box at empty gaps of at least `gaps` (K, J, I) voxels, as often as it can be."""
    part = view[box]
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(part.any(axis=others))
        cuts = np.flatnonzero(np.diff(occupied) > gaps[axis])
        if len(cuts) or len(occupied) < part.shape[axis]:
            starts = occupied[np.concatenate([[0], cuts + 1])]
            stops = occupied[np.concatenate([cuts, [len(occupied) - 1]])] + 1
            whole = len(starts) == 1 and stops[0] - starts[0] == part.shape[axis]
            if not whole:
                pieces = []
                for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                    piece = list(box)
                    piece[axis] = slice(box[axis].start + start, box[axis].start + stop)
                    pieces += _split(view, (piece[0], piece[1], piece[2]), gaps)
                return pieces
    return [box]


def _inside(part: npt.NDArray[Any], name: str) -> BoolArray:
    if part.dtype.kind == "f" and not np.isfinite(part).all():
        raise GeometryError(f"{name}: a voxel is not a finite number")
    return part != 0


def _without_cavities(inside: BoolArray) -> BoolArray:
    """Fill what is outside but shut in by the mask."""
    if inside.all():
        return inside
    labels, count = ndimage.label(~inside)
    if count < 2:
        return inside
    faces = [np.unique(np.take(labels, side, axis=axis)) for axis in range(3) for side in (0, -1)]
    is_open = np.zeros(count + 1, dtype=bool)
    is_open[np.concatenate(faces)] = True
    return inside | ~is_open[labels]


# --- distances ----------------------------------------------------------------------------


def _squared_distance_to_triangles(p: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Squared distance from points to triangles, row by row; all (N, 3); shape (N,).

    The nearest point of a triangle is the foot on its plane where that lies inside, else the
    nearest point of its three edges.
    """
    normal = _cross(b - a, c - a)
    squared = np.maximum(np.einsum("ij,ij->i", normal, normal), 1e-30)
    height = np.einsum("ij,ij->i", p - a, normal)
    inside = squared > 1e-18  # a triangle without area has no foot within it, only edges
    nearest = np.full(len(p), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        edge, offset = end - start, p - start
        inside &= np.einsum("ij,ij->i", _cross(edge, offset), normal) >= 0
        length = np.maximum(np.einsum("ij,ij->i", edge, edge), 1e-30)
        along = np.clip(np.einsum("ij,ij->i", offset, edge) / length, 0, 1)
        gap = offset - along[:, None] * edge
        np.minimum(nearest, np.einsum("ij,ij->i", gap, gap), out=nearest)
    return np.where(inside, height**2 / squared, nearest)


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cross products of the rows; faster than numpy's, which is made for any axis."""
    (x, y, z), (u, v, w) = first.T, second.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)
