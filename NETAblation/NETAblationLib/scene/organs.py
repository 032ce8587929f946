"""Liver, vessels and organs at risk of the case, segmented in its planning image.

Each is parted in two: `..._work` takes what it needs out of the scene and gives a function of the progress callback
that can run beside the application, `put_...` puts its result into the scene and returns the warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..core.anatomy import find_obstacles
from ..core.centerlines import VesselKind
from ..core.errors import InputError
from ..core.liver import LiverSegmentation, segment_liver
from ..core.progress import ProgressCallback
from ..core.vessels import VesselSegmentation, segment_vessels
from . import segmentations, volumes
from .cases import CaseScene

Result = TypeVar("Result")
Work = Callable[[ProgressCallback], Result]

#: Parts of the anatomy that are kept as organs at risk.
_OBSTACLES = ("bone", "lung", "gas")

#: Kinds of segments of vessels, and the tree that each holds.
VESSEL_KINDS = {
    "portal_vein": VesselKind.PORTAL,
    "hepatic_vein": VesselKind.HEPATIC,
    "vessels": VesselKind.UNKNOWN,
}


def liver_work(case: CaseScene, seeds_ras_mm: Sequence[npt.ArrayLike] = ()) -> Work[LiverSegmentation]:
    """Segmenting the liver in the planning image, from seeds (3,) where it is not found by itself."""
    image = case.planning_image()
    return lambda progress: segment_liver(image, seeds_ras_mm=seeds_ras_mm, progress=progress)


def put_liver(case: CaseScene, result: LiverSegmentation) -> list[str]:
    """Put a liver into the case, in the place of the one that it has."""
    case.replace_liver(result.mask)
    return list(result.warnings)


def post_liver_work(case: CaseScene) -> Work[LiverSegmentation]:
    """Segmenting the liver in the image after ablation; raises InputError without that image."""
    image = case.post_image()
    return lambda progress: segment_liver(image, progress=progress)


def put_post_liver(case: CaseScene, result: LiverSegmentation) -> list[str]:
    """Put a liver after ablation into the case, in the place of the one that it has."""
    case.replace_post_structure(result.mask, "liver")
    return list(result.warnings)


def vessels_work(case: CaseScene, volume: Any = None) -> Work[VesselSegmentation]:
    """Segmenting the vessels of the liver in an image of the case (the planning image where None).

    Raises InputError where the case has no liver yet.
    """
    image = case.planning_image() if volume is None else volumes.volume_image(volume)
    liver = case.liver_mask()
    if liver is None:
        raise InputError("the vessels are searched in the liver: segment it first, or take it from a segmentation")
    liver = sitk.Resample(liver, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return lambda progress: segment_vessels(image, liver, progress=progress)


def put_vessels(case: CaseScene, result: VesselSegmentation) -> list[str]:
    """Put vessels into the case, a segment for each tree; a tree that was not found now is removed."""
    return _put_trees(case.before, result, case.replace_structure)


def post_vessels_work(case: CaseScene) -> Work[VesselSegmentation]:
    """Segmenting the vessels of the liver in the image after ablation.

    Raises InputError without that image, and where the liver is not segmented in it.
    """
    image = case.post_image()
    liver = case.post_liver_mask()
    if liver is None:
        raise InputError("the vessels after ablation are searched in the liver: segment it in that image first")
    return lambda progress: segment_vessels(image, liver, progress=progress)


def put_post_vessels(case: CaseScene, result: VesselSegmentation) -> list[str]:
    """Put vessels after ablation into the case, as :func:`put_vessels` does."""
    return _put_trees(case.after, result, case.replace_post_structure)


def vessel_mask(segmentation: Any, image: sitk.Image) -> sitk.Image | None:
    """All vessels of a segmentation on the grid of its image; None where it has none, or none of them in the image."""
    whole = np.zeros(image.GetSize()[::-1], np.uint8)
    for kind in VESSEL_KINDS:
        for segment_id in segmentations.segment_ids(segmentation, kind):
            whole |= sitk.GetArrayViewFromImage(segmentations.segment_mask(segmentation, segment_id, image))
    if not whole.any():
        return None
    mask = sitk.GetImageFromArray(whole)
    mask.CopyInformation(image)
    return mask


def _put_trees(
    segmentation: Any, result: VesselSegmentation, replace_structure: Callable[[sitk.Image, str], None]
) -> list[str]:
    for kind, tree in VESSEL_KINDS.items():
        mask = sitk.Equal(result.mask, int(tree))
        if np.any(sitk.GetArrayViewFromImage(mask)):
            replace_structure(mask, kind)
        else:
            for segment_id in segmentations.segment_ids(segmentation, kind):
                segmentations.remove_segment(segmentation, segment_id)
    certainty = [result.certainty] if result.certainty else []
    return [*result.warnings, *certainty]


def obstacles_work(case: CaseScene) -> Work[dict[str, sitk.Image]]:
    """Finding bone, lung, other air, and the body in the planning image; masks by kind."""
    image, liver = case.planning_image(), case.liver_mask()

    def find(progress: ProgressCallback) -> dict[str, sitk.Image]:
        progress(0.0, "body, lung and bone")
        anatomy = find_obstacles(image, liver=liver)
        progress(0.7, "outlines")
        return {name: anatomy.mask(name, image) for name in (*_OBSTACLES, "body")}

    return find


def put_obstacles(case: CaseScene, masks: dict[str, sitk.Image]) -> list[str]:
    """Put organs at risk into the case; returns the names of those that the image does not show."""
    missing = []
    for kind, mask in masks.items():
        if np.any(sitk.GetArrayViewFromImage(mask)):
            case.replace_structure(mask, kind)
        else:
            missing.append(f"the image shows no {kind}")
    return missing
