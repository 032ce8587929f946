"""Images in the scene: SimpleITK images to volume nodes and back, values and geometry exact.

Voxels are copied once each way, so that editing a volume in Slicer never changes an image that a
computation holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from ..core import frames
from ..core.errors import GeometryError
from .nodes import create_node
from .provenance import Provenance

#: Lower and upper end of the gray scale of an abdominal CT in HU: level 40, width 400. User-set.
LIVER_WINDOW_HU = (-160.0, 240.0)


def add_volume(
    image: sitk.Image,
    name: str,
    provenance: Provenance,
    *,
    window: tuple[float, float] | None = LIVER_WINDOW_HU,
) -> Any:
    """Add a 3D scalar image as vtkMRMLScalarVolumeNode; any direction, oblique or left-handed.

    `window` holds the values shown black and white; with None Slicer chooses by the content.
    Raises GeometryError for an image that is not 3D and scalar.
    """
    _require_scalar_3d(image, name)
    node = create_node("vtkMRMLScalarVolumeNode", name, provenance)
    update_volume(node, image)
    # Slicer would turn a left-handed image over when it reads it back; its hash would not match.
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetForceRightHandedIJKCoordinateSystem(False)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    if window is None:
        display.AutoWindowLevelOn()
    else:
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(*window)
    return node


def update_volume(node: Any, image: sitk.Image) -> None:
    """Replace voxels and geometry of a volume node by those of `image`."""
    _require_scalar_3d(image, node.GetName())
    was_modifying = node.StartModify()
    node.SetIJKToRASMatrix(vtk_matrix(frames.index_to_ras_matrix(image)))
    node.SetAndObserveImageData(image_data(sitk.GetArrayViewFromImage(image)))
    node.EndModify(was_modifying)


def volume_image(node: Any) -> sitk.Image:
    """The image of a volume node, in the node's own frame (a parent transform is not applied).

    Raises GeometryError for a node without voxels.
    """
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None:
        raise GeometryError(f"volume {node.GetName()}: holds no voxels")
    size = data.GetDimensions()
    values = vtk_to_numpy(data.GetPointData().GetScalars())
    image = sitk.GetImageFromArray(values.reshape(size[::-1]))
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    set_geometry(image, numpy_matrix(matrix))
    return image


def image_data(array_kji: npt.NDArray[Any]) -> vtk.vtkImageData:
    """A vtkImageData of unit geometry with a copy of an array (K, J, I)."""
    data = vtk.vtkImageData()
    data.SetDimensions(*reversed(array_kji.shape))
    data.AllocateScalars(get_vtk_array_type(array_kji.dtype), 1)
    vtk_to_numpy(data.GetPointData().GetScalars()).reshape(array_kji.shape)[:] = array_kji
    return data


def set_geometry(image: sitk.Image, index_to_ras: npt.NDArray[np.float64]) -> None:
    """Give `image` the spacing, direction and origin of a (4, 4) matrix from index to RAS mm."""
    spacing = np.linalg.norm(index_to_ras[:3, :3], axis=0)
    direction = index_to_ras[:3, :3] / spacing
    image.SetSpacing(spacing.tolist())
    image.SetDirection((direction * [[-1.0], [-1.0], [1.0]]).ravel().tolist())
    image.SetOrigin(frames.flip_lps_ras(index_to_ras[:3, 3]).tolist())


def vtk_matrix(matrix: npt.NDArray[np.float64]) -> vtk.vtkMatrix4x4:
    """A (4, 4) array as vtkMatrix4x4."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result


def numpy_matrix(matrix: vtk.vtkMatrix4x4) -> npt.NDArray[np.float64]:
    """A vtkMatrix4x4 as (4, 4) array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _require_scalar_3d(image: sitk.Image, name: str) -> None:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise GeometryError(
            f"{name}: a volume needs a 3D image of one number per voxel, this one has {image.GetDimension()} "
            f"dimensions and {image.GetNumberOfComponentsPerPixel()} numbers per voxel"
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise GeometryError(f"{name}: complex voxels cannot be shown; take the magnitude first")
