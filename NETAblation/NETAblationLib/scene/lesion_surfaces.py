"""The surfaces of lesions and of their ablation zones, made of their segments; what was computed from them is marked.

The surface of a segment carries the hash of its voxels. A surface that is made anew makes the results stale that were
computed from the earlier one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.surfaces import Surface, mask_surface
from . import segmentations, surfaces, transforms
from .case_nodes import CaseNodes
from .lesion_nodes import LesionNodes
from .provenance import Provenance, mark_stale, provenance_of, renew
from .terminology import term

_ZONE_OPACITY = 0.35


def show_tumor(case: CaseNodes, lesion: LesionNodes, surface: Surface) -> None:
    """Give a lesion the surface of its tumor, or put another one in its place."""
    content = segmentations.segment_hash(case.before, lesion.segment_id)
    if lesion.tumor_model is not None:
        surfaces.update_surface(lesion.tumor_model, surface)
        renew(lesion.tumor_model, content)
        return
    provenance = Provenance("tumor_surface", content_hash=content, inputs=(case.before,))
    lesion.own(surfaces.add_surface(surface, f"{lesion.name} surface", provenance, color=term("tumor").color))


def show_zone(case: CaseNodes, lesion: LesionNodes, zone: sitk.Image) -> None:
    """Give a lesion that has the segment of a zone its surface, or put another one in its place; it is hidden first."""
    assert lesion.zone_segment is not None
    surface = mask_surface(zone, f"{lesion.name} zone")
    content = segmentations.segment_hash(case.after, lesion.zone_segment)
    if lesion.zone_model is not None:
        surfaces.update_surface(lesion.zone_model, surface)
        renew(lesion.zone_model, content)
        return
    model = surfaces.add_surface(
        surface,
        f"{lesion.name} zone surface",
        Provenance("zone_surface", content_hash=content, inputs=(case.after,)),
        color=term("zone").color,
        opacity=_ZONE_OPACITY,
    )
    transforms.put_under(model, case.transform)
    model.GetDisplayNode().SetVisibility(False)
    lesion.own(model)


def follow_lesion(case: CaseNodes, lesion: LesionNodes) -> bool:
    """Make the surfaces of a lesion anew where its masks were edited elsewhere; whether that was so.

    The surface of a mask that was emptied stays, and is marked stale.
    """
    changed = False
    if _is_outdated(lesion.tumor_model, case.before, lesion.segment_id):
        changed = True
        mask = case.tumor_mask(lesion.segment_id)
        if _is_filled(mask):
            show_tumor(case, lesion, mask_surface(mask, lesion.name))
        elif lesion.tumor_model is not None:
            mark_stale(lesion.tumor_model, f"the mask of {lesion.name} is empty")
    if lesion.zone_segment is not None and _is_outdated(lesion.zone_model, case.after, lesion.zone_segment):
        changed = True
        zone = segmentations.segment_box(case.after, lesion.zone_segment)
        if _is_filled(zone):
            show_zone(case, lesion, zone)
        elif lesion.zone_model is not None:
            mark_stale(lesion.zone_model, f"the zone of {lesion.name} is empty")
    return changed


def _is_outdated(model: Any, segmentation: Any, segment_id: str) -> bool:
    """Whether the surface of a segment is missing or was made of other voxels."""
    return model is None or provenance_of(model).content_hash != segmentations.segment_hash(segmentation, segment_id)


def _is_filled(mask: sitk.Image) -> bool:
    return bool(np.any(sitk.GetArrayViewFromImage(mask)))
