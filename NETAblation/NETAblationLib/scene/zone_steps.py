"""The ablation zone of a lesion as a step of a case: from a diameter line, or from a segmentation of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core import frames
from ..core.errors import GeometryError, InputError
from ..core.lesions import LesionSegmentation, segment_lesion
from ..core.progress import ProgressCallback, silent
from . import documents, nodes, segmentations, transforms
from .cases import CaseScene
from .lesion_drawing import style_drawn
from .lesion_nodes import LesionNodes
from .nodes import LESION
from .provenance import ROLE, Provenance, nodes_with_role
from .terminology import term

ZONE_LINE_ROLE = "zone_line"
ZONE_MEASURES_ROLE = "zone_measures"


@dataclass(frozen=True)
class ZoneInputs:
    """What a zone is segmented from, in the frame after ablation: the image, the line (2, 3) RAS mm and the liver."""

    lesion_id: str
    image: sitk.Image
    line_ras_mm: npt.NDArray[np.float64]
    liver: sitk.Image | None

    @classmethod
    def of(cls, case: CaseScene, lesion_id: str) -> ZoneInputs:
        """Take them out of a case; raises InputError without an image after ablation or a line with both ends."""
        image = case.post_image()
        line = zone_line(lesion_id)
        if line is None or line.GetNumberOfDefinedControlPoints() < 2:
            raise InputError("draw the longest diameter of the zone in the image after ablation first")
        ends = np.array([line.GetNthControlPointPosition(index) for index in range(2)])
        liver = None
        for segment_id in segmentations.segment_ids(case.after, "liver"):
            liver = segmentations.segment_mask(case.after, segment_id, image)
        return cls(lesion_id, image, ends, liver)

    def segment(self, progress: ProgressCallback = silent) -> LesionSegmentation:
        """Segment the zone; touches no node and raises as `core.lesions.segment_lesion`."""
        return segment_lesion(self.image, self.line_ras_mm, kind="zone", liver=self.liver, progress=progress)


def treated_lesions(case: CaseScene) -> list[LesionNodes]:
    """The lesions that were treated, as far as is known: those with a plan or a zone; all where there are none."""
    lesions = list(case.lesions.values())
    return [lesion for lesion in lesions if lesion.plan_node is not None or lesion.zone_segment is not None] or lesions


def lesions_without_zone(case: CaseScene) -> list[str]:
    """The names of the lesions whose zone is not drawn yet: what was ablated there would drive the fusion."""
    return [lesion.name for lesion in case.lesions.values() if lesion.zone_segment is None]


def zone_line(lesion_id: str) -> Any:
    """The diameter line of a lesion's zone; None where there is none."""
    return next((node for node in nodes_with_role(ZONE_LINE_ROLE) if node.GetAttribute(LESION) == lesion_id), None)


def new_zone_line(case: CaseScene, lesion_id: str) -> Any:
    """An empty line for a lesion's zone, to be placed in the views; an earlier line goes.

    Its own coordinates are those of the image after, wherever the fusion shows it. Raises InputError without an image
    after ablation.
    """
    if case.post_volume is None:
        raise InputError("choose the image after ablation first")
    nodes.remove_nodes(zone_line(lesion_id))
    name = case.lesions[lesion_id].name
    node = nodes.create_node(
        "vtkMRMLMarkupsLineNode",
        f"{name} zone diameter",
        Provenance(ZONE_LINE_ROLE, "drawn by hand", inputs=(case.post_volume,)),
    )
    _own_line(case, lesion_id, node)
    return node


def apply_zone(case: CaseScene, inputs: ZoneInputs, result: LesionSegmentation) -> None:
    """Put a segmented zone, and what it was measured, into the case; a margin of an earlier zone becomes stale."""
    lesion_id = inputs.lesion_id
    case.replace_zone(lesion_id, result.mask)
    _replace_measures(case, lesion_id, result.to_dict())


def zone_warnings(lesion_id: str) -> tuple[str, ...]:
    """What was noticed when a lesion's zone was segmented."""
    node = _measures_node(lesion_id)
    return () if node is None else tuple(documents.read_document(node, schema="lesion").get("warnings", ()))


def zone_ml(case: CaseScene, lesion_id: str) -> float:
    """The volume of a lesion's zone by its voxels; 0 where there is none."""
    mask = case.zone_mask(lesion_id)
    if mask is None:
        return 0.0
    return float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(mask.GetSpacing()) / 1000.0)


@dataclass(frozen=True)
class ZoneSource:
    """A segment of the scene that could be the zone of a lesion."""

    segmentation: Any
    segment_id: str
    name: str


def zone_sources() -> list[ZoneSource]:
    """The segments of all segmentations that were loaded or drawn."""
    return [
        ZoneSource(node, segment_id, f"{node.GetName()}: {segmentations.segment_name(node, segment_id)}")
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if not node.GetAttribute(ROLE)
        for segment_id in segmentations.segment_ids(node)
    ]


def adopt_zone(case: CaseScene, lesion_id: str, source: ZoneSource) -> None:
    """Copy a segment of the scene as the zone of a lesion.

    A segmentation of the image after ablation (by its reference image, or since it lies under the fusion) is taken in
    that frame as it is; any other is taken where it lies in the world and carried into that frame. Raises InputError
    without an image after ablation, EmptyMaskError for an empty segment, GeometryError where nothing of it lies in
    the image after ablation.
    """
    image = case.post_image()
    mask = segmentations.segment_box(source.segmentation, source.segment_id)
    if _lies_after(case, source.segmentation):
        carried = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    else:
        carried = _carried(mask, image, case.transform)
    if np.any(sitk.GetArrayViewFromImage(mask)) and not np.any(sitk.GetArrayViewFromImage(carried)):
        raise GeometryError(
            f"{source.name}: nothing of it lies in the image after ablation; check which image it was drawn in"
        )
    case.replace_zone(lesion_id, carried)
    nodes.remove_nodes(_measures_node(lesion_id))


def _lies_after(case: CaseScene, segmentation: Any) -> bool:
    """Whether the coordinates of a segmentation are those of the image after; raises InputError where unclear."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    parent = segmentation.GetParentTransformNode()
    if case.transform is None or parent is case.transform:
        return True
    if parent is not None:
        raise InputError(f"{segmentation.GetName()}: harden its transform {parent.GetName()} first")
    return segmentation.GetNodeReference(role) is case.post_volume


def _carried(mask: sitk.Image, image: sitk.Image, transform: Any) -> sitk.Image:
    """A mask in the world on the grid of the image after: each voxel takes what lies where the fusion puts it."""
    result = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    result.CopyInformation(image)
    inside = np.argwhere(sitk.GetArrayViewFromImage(mask) != 0)[:, ::-1].astype(float)
    if not len(inside):
        return result
    corners = transforms.map_points(transform, frames.index_to_ras(mask, _box_corners(inside)), to_parent=False)
    reach = frames.ras_to_index(image, corners)
    pad = 0.25 * np.ptp(reach, axis=0) + 2.0  # the box bulges where the fusion deforms
    size = np.array(image.GetSize())
    lower = np.clip(np.floor(reach.min(axis=0) - pad), 0, size).astype(int)
    upper = np.clip(np.ceil(reach.max(axis=0) + pad) + 1, 0, size).astype(int)
    if np.any(upper <= lower):
        return result
    box = np.indices(upper - lower).reshape(3, -1).T + lower
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(frames.index_to_ras(image, box), deep=True))
    moved = vtk.vtkPoints()
    transform.GetTransformToParent().TransformPoints(points, moved)
    index = np.rint(frames.ras_to_index(mask, vtk_to_numpy(moved.GetData()))).astype(int)
    known = np.all((index >= 0) & (index < np.array(mask.GetSize())), axis=1)
    values = sitk.GetArrayFromImage(mask)
    array = sitk.GetArrayFromImage(result)
    i, j, k = box[known].T
    array[k, j, i] = values[tuple(index[known].T[::-1])]
    filled = sitk.GetImageFromArray(array)
    filled.CopyInformation(image)
    return filled


def _box_corners(index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The eight corners of the box around indices (N, 3)."""
    ends = np.stack([index.min(axis=0) - 0.5, index.max(axis=0) + 0.5])
    return np.array(np.meshgrid(*ends.T)).reshape(3, -1).T


def _own_line(case: CaseScene, lesion_id: str, node: Any) -> None:
    node.SetAttribute(LESION, lesion_id)
    transforms.put_under(node, case.transform)
    nodes.move_to_folder(node, nodes.hierarchy_folder(case.lesions[lesion_id].name))
    style_drawn(node, term("zone").color)


def _measures_node(lesion_id: str) -> Any:
    return next((node for node in nodes_with_role(ZONE_MEASURES_ROLE) if node.GetAttribute(LESION) == lesion_id), None)


def _replace_measures(case: CaseScene, lesion_id: str, document: dict[str, Any]) -> None:
    nodes.remove_nodes(_measures_node(lesion_id))
    lesion = case.lesions[lesion_id]
    provenance = Provenance(ZONE_MEASURES_ROLE, inputs=(case.post_volume,))
    node = documents.add_document(document, f"{lesion.name} zone measures", provenance, schema="lesion")
    node.SetAttribute(LESION, lesion_id)
    nodes.move_to_folder(node, nodes.hierarchy_folder(lesion.name))
