"""Transforms in the scene, with the two conventions kept apart.

ITK's registration result maps points of the fixed image to the moving one (what resampling needs).
Slicer's node is put on the moving image, and its transform to parent maps moving points to the
world, which is the fixed image's frame: the inverse. So ITK's fixed-to-moving transform is the
node's transform *from* parent, and the node is named moving-to-fixed. Signs turn from LPS to RAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..core import frames
from ..core.errors import GeometryError, InputError
from .nodes import create_node
from .provenance import Provenance
from .volumes import numpy_matrix, vtk_matrix

FROM_FRAME = "NETAblation.FromFrame"
TO_FRAME = "NETAblation.ToFrame"

_FLIP = np.array([-1.0, -1.0, 1.0])


def add_transform(
    fixed_to_moving: sitk.Transform,
    fixed_name: str,
    moving_name: str,
    provenance: Provenance,
    *,
    sampling_grid: sitk.Image | None = None,
) -> Any:
    """Add an ITK fixed-to-moving transform as node "<moving>_to_<fixed>" for the moving image.

    Put the moving image, masks or models under the node to see them in the fixed frame. Linear,
    displacement-field and composite transforms are exact (outside of a field, where ITK moves
    nothing, Slicer continues the field's edge); others, such as B-splines, are sampled as a
    displacement field on `sampling_grid`. Raises InputError where that is missing.
    """
    converted = _to_vtk(fixed_to_moving, sampling_grid)
    name = f"{moving_name}_to_{fixed_name}"
    class_name = "vtkMRMLLinearTransformNode" if isinstance(converted, vtk.vtkTransform) else "vtkMRMLTransformNode"
    node = create_node(class_name, name, provenance, displayed=False)
    node.SetAttribute(FROM_FRAME, moving_name)
    node.SetAttribute(TO_FRAME, fixed_name)
    node.SetAndObserveTransformFromParent(converted)
    return node


def fixed_to_moving_transform(node: Any) -> sitk.Transform:
    """The ITK fixed-to-moving transform of a node: its transform from parent, in LPS.

    Raises InputError for a kind of transform that neither ITK nor this module has.
    """
    parts = _parts(node.GetTransformFromParent())
    transforms = [_from_vtk(part, node.GetName()) for part in parts]
    if not transforms:
        return sitk.AffineTransform(3)
    return transforms[0] if len(transforms) == 1 else sitk.CompositeTransform(transforms)


def put_under(node: Any, transform: Any | None) -> None:
    """Put a volume, segmentation, line or model under a transform node; with None into the world."""
    node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)


def map_points(node: Any, points_ras_mm: npt.ArrayLike, *, to_parent: bool = True) -> npt.NDArray[np.float64]:
    """Map points (N, 3), RAS mm, as the node does: moving to fixed, or back with `to_parent` False."""
    points = frames.as_points(points_ras_mm)
    transform = node.GetTransformToParent() if to_parent else node.GetTransformFromParent()
    return np.array([transform.TransformPoint(point) for point in points.tolist()]).reshape(-1, 3)


def use_linear_interpolation(node: Any) -> None:
    """Interpolate the node's displacement fields linearly, as ITK does.

    Slicer reads every displacement field with cubic interpolation; our fields follow ITK.
    """
    for part in _parts(node.GetTransformFromParent()):
        grid = _unwrapped(part)
        if isinstance(grid, slicer.vtkOrientedGridTransform):
            grid.SetInterpolationModeToLinear()


def _to_vtk(transform: sitk.Transform, sampling_grid: sitk.Image | None) -> vtk.vtkAbstractTransform:
    kind = transform.GetTransformEnum()
    if kind == sitk.sitkComposite:
        return _composite_to_vtk(sitk.CompositeTransform(transform), sampling_grid)
    if kind == sitk.sitkDisplacementField:
        return _field_to_vtk(sitk.DisplacementFieldTransform(transform).GetDisplacementField())
    if transform.IsLinear():
        return _linear_to_vtk(transform)
    if sampling_grid is None:
        raise InputError(f"{transform.GetName()}: give a grid on which to sample it as a displacement field")
    field = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        sampling_grid.GetSize(),
        sampling_grid.GetOrigin(),
        sampling_grid.GetSpacing(),
        sampling_grid.GetDirection(),
    )
    return _field_to_vtk(field)


def _composite_to_vtk(composite: sitk.CompositeTransform, grid: sitk.Image | None) -> vtk.vtkAbstractTransform:
    """Both ITK's composite and a pre-multiplying vtkGeneralTransform apply the last part first."""
    count = composite.GetNumberOfTransforms()
    parts = [_to_vtk(composite.GetNthTransform(index), grid) for index in range(count)]
    if all(isinstance(part, vtk.vtkTransform) for part in parts):
        matrix = np.eye(4)
        for part in parts:
            matrix = matrix @ numpy_matrix(part.GetMatrix())
        return _vtk_transform(matrix)
    if len(parts) == 1:
        return parts[0]
    general = vtk.vtkGeneralTransform()
    general.PreMultiply()
    for part in parts:
        general.Concatenate(part)
    return general


def _linear_to_vtk(transform: sitk.Transform) -> vtk.vtkTransform:
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    try:
        # A matrix transform knows its matrix to the last bit; differences of points do not.
        affine = sitk.AffineTransform(transform)
        matrix[:3, :3] = np.array(affine.GetMatrix()).reshape(3, 3)
    except RuntimeError:
        columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
        matrix[:3, :3] = np.array(columns).T
    return _vtk_transform(frames.lps_matrix_from_ras(matrix))


def _vtk_transform(matrix: npt.NDArray[np.float64]) -> vtk.vtkTransform:
    result = vtk.vtkTransform()
    result.SetMatrix(vtk_matrix(matrix))
    return result


def _field_to_vtk(field: sitk.Image) -> vtk.vtkAbstractTransform:
    """A displacement field (LPS) as Slicer's grid transform (RAS), linear between voxels as in ITK."""
    data = vtk.vtkImageData()
    data.SetDimensions(field.GetSize())
    data.SetSpacing(field.GetSpacing())
    data.SetOrigin(frames.flip_lps_ras(field.GetOrigin()).tolist())
    data.AllocateScalars(vtk.VTK_DOUBLE, 3)
    values = vtk_to_numpy(data.GetPointData().GetScalars())
    values[:] = sitk.GetArrayViewFromImage(field).reshape(-1, 3) * _FLIP
    direction = np.eye(4)
    direction[:3, :3] = np.array(field.GetDirection()).reshape(3, 3) * _FLIP[:, None]
    grid = slicer.vtkOrientedGridTransform()
    grid.SetGridDirectionMatrix(vtk_matrix(direction))
    grid.SetDisplacementGridData(data)
    grid.SetInterpolationModeToLinear()
    return grid


def _parts(transform: vtk.vtkAbstractTransform | None) -> list[vtk.vtkAbstractTransform]:
    """The parts of a transform, the one applied last first; identity has none."""
    if transform is None:
        return []
    if not isinstance(transform, vtk.vtkGeneralTransform):
        return [transform]
    count = transform.GetNumberOfConcatenatedTransforms()  # index 0 is the part applied first
    nested = [_parts(transform.GetConcatenatedTransform(index)) for index in reversed(range(count))]
    return [part for parts in nested for part in parts]


def _unwrapped(part: vtk.vtkAbstractTransform) -> vtk.vtkAbstractTransform:
    """The grid whose inverse `part` is, where Slicer holds a field in the other direction."""
    if isinstance(part, slicer.vtkOrientedGridTransform) and part.GetDisplacementGrid() is None:
        return part.GetInverse()
    return part


def _from_vtk(part: vtk.vtkAbstractTransform, name: str) -> sitk.Transform:
    if isinstance(part, vtk.vtkLinearTransform):
        return frames.affine_transform(numpy_matrix(part.GetMatrix()))
    if isinstance(part, slicer.vtkOrientedGridTransform) and part.GetDisplacementGrid() is not None:
        if part.GetInverseFlag():
            raise InputError(f"{name}: holds the inverse of a displacement field; sample it on a grid first")
        return sitk.DisplacementFieldTransform(_field_from_vtk(part))
    raise InputError(f"{name}: a {part.GetClassName()} cannot become an ITK transform")


def _field_from_vtk(grid: Any) -> sitk.Image:
    data = grid.GetDisplacementGrid()
    shift, scale = grid.GetDisplacementShift(), grid.GetDisplacementScale()
    values = vtk_to_numpy(data.GetPointData().GetScalars()).astype(np.float64) * scale + shift
    size = data.GetDimensions()
    if values.ndim != 2 or values.shape[1] != 3:
        raise GeometryError("a displacement field needs three numbers per voxel")
    field = sitk.GetImageFromArray((values * _FLIP).reshape(*size[::-1], 3), isVector=True)
    direction = numpy_matrix(grid.GetGridDirectionMatrix())[:3, :3] if grid.GetGridDirectionMatrix() else np.eye(3)
    field.SetDirection((direction * _FLIP[:, None]).ravel().tolist())
    field.SetSpacing(data.GetSpacing())
    field.SetOrigin(frames.flip_lps_ras(data.GetOrigin()).tolist())
    return field
