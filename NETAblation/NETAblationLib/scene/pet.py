"""Lesions of a PET that is in the scene, in SUV, within a region."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from ..core import frames
from ..core.errors import InputError
from ..core.images import image_hash
from ..core.pet_lesions import DEFAULT_FLOOR, DEFAULT_FRACTION, PetLesions, segment_pet_lesions
from ..core.resampling import resample_mask
from . import documents, nodes, segmentations, volumes
from .cases import CaseScene
from .lesion_drawing import DOCUMENT, without_others
from .nodes import LESION
from .organs import Work
from .provenance import Provenance, describe
from .volumes import numpy_matrix

#: How Slicer's DICOM PET reader marks a volume of SUVs: the unit's UCUM code begins so.
_SUV_UNIT = "{SUV"


def suv_volumes() -> list[Any]:
    """The volume nodes of the scene whose unit is an SUV or that the case has as its PET."""
    found = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in found if _is_suv(node)]


def pet_work(
    case: CaseScene,
    volume: Any,
    region: Any = None,
    *,
    fraction: float = DEFAULT_FRACTION,
    floor: str | float = DEFAULT_FLOOR,
) -> Work[PetLesions]:
    """Segmenting the lesions of a PET in SUV within a ROI node, or within the liver where `region` is None.

    `fraction` and `floor` as in `segment_pet_lesions`. Raises InputError for a volume under a transform, a region of
    which no voxel lies in the PET, and where there is neither a region nor a liver.
    """
    if volume.GetParentTransformNode() is not None:
        raise InputError(f"{volume.GetName()}: lies under a transform; harden it first")
    suv, liver = volumes.volume_image(volume), case.liver_mask()
    inside = liver if region is None else roi_mask(region, suv)
    if inside is None:
        raise InputError("choose a region (ROI) for the PET, or segment the liver first")
    describe(volume, Provenance("pet_image", content_hash=image_hash(suv)))
    return lambda progress: segment_pet_lesions(
        suv, inside, fraction=fraction, floor=floor, liver=liver, progress=progress
    )


def put_pet(case: CaseScene, volume: Any, result: PetLesions, first_name: str) -> tuple[list[str], list[str]]:
    """Put each lesion of a PET into the case, from the name `first_name` (such as L3) on.

    Voxels of lesions that the case has stay theirs. Returns the ids of the new lesions, and warnings.
    """
    grid = segmentations.reference_grid(case.before)
    added, warnings = [], list(result.warnings)
    number = int(first_name[1:])
    for lesion in result.lesions:
        try:
            mask = resample_mask(sitk.Equal(result.labels, lesion.number), grid, name=f"PET lesion {lesion.number}")
            mask, _ = without_others(case, mask)
        except InputError as error:
            warnings.append(f"PET lesion {lesion.number} (SUVmax {lesion.suv_max:.1f}): {error}")
            continue
        name = f"L{number}"
        lesion_id = case.add_lesion(name, mask)
        document = {**lesion.to_dict(), "fraction": result.fraction, "floor_suv": result.floor_suv, "warnings": []}
        node = documents.add_document(
            document, f"{name} segmentation", Provenance(DOCUMENT, inputs=(volume,)), schema="pet_lesion"
        )
        node.SetAttribute(LESION, lesion_id)
        nodes.move_to_folder(node, nodes.hierarchy_folder(name))
        added.append(lesion_id)
        number += 1
    return added, warnings


def roi_mask(region: Any, grid: sitk.Image) -> sitk.Image:
    """The voxels of `grid` within a box of a vtkMRMLMarkupsROINode; raises InputError where there are none."""
    half = np.array(region.GetSize()) / 2.0
    corners = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), axis=-1).reshape(-1, 3) * half
    matrix = numpy_matrix(region.GetObjectToWorldMatrix())
    index = frames.ras_to_index(grid, frames.apply_matrix(matrix, corners))
    lower = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    upper = np.minimum(np.ceil(index.max(axis=0)), np.array(grid.GetSize()) - 1).astype(int)
    inside = np.zeros(grid.GetSize()[::-1], np.uint8)
    if np.all(upper >= lower):
        axes = [np.arange(low, high + 1) for low, high in zip(lower, upper, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        own = frames.apply_matrix(
            np.linalg.inv(matrix).astype(np.float64), frames.index_to_ras(grid, points.reshape(-1, 3))
        )
        within = np.all(np.abs(own) <= half, axis=1).reshape(points.shape[:3])
        inside[lower[2] : upper[2] + 1, lower[1] : upper[1] + 1, lower[0] : upper[0] + 1] = within.T
    if not inside.any():
        raise InputError(f"{region.GetName()}: no voxel of the PET lies in the region; move it onto the PET")
    mask = sitk.GetImageFromArray(inside)
    mask.CopyInformation(grid)
    return mask


def _is_suv(node: Any) -> bool:
    units = node.GetVoxelValueUnits()
    code = "" if units is None else units.GetCodeValue() or ""
    return code.startswith(_SUV_UNIT) or node.GetAttribute("NETAblation.Role") == "pet_image"
