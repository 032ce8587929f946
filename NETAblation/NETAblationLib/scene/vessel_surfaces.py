"""The surfaces of the liver's vessels in the 3D views, made of their segments."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.surfaces import mask_surface
from . import nodes, segmentations, surfaces
from .layouts import PLANNING, current_layout
from .provenance import Provenance, nodes_with_role, provenance_of, renew
from .terminology import VESSELS, term

VESSEL_ROLE = "vessel_surface"

#: The segment that a surface was made of.
_SEGMENT = "NETAblation.Segment"

#: Pieces below this are left out in 3D: specks that are no vessel to see, and hide others. User-set.
_LEAST_PIECE_ML = 0.3
_OPACITY = 0.5


def follow_vessels(segmentation: Any) -> None:
    """Give each vessel of a segmentation its surface; those of other voxels are made anew, those of none removed.

    Specks are left out. Vessels are seen in 3D where probes are planned.
    """
    left = {node.GetAttribute(_SEGMENT): node for node in nodes_with_role(VESSEL_ROLE)}
    for kind in VESSELS:
        for segment_id in segmentations.segment_ids(segmentation, kind):
            content = segmentations.segment_hash(segmentation, segment_id)
            model = left.get(segment_id)
            if model is None or provenance_of(model).content_hash != content:
                mask = _without_specks(segmentations.segment_box(segmentation, segment_id))
                if not np.any(sitk.GetArrayViewFromImage(mask)):
                    continue
                _show(model, segmentation, segment_id, mask, content)
            left.pop(segment_id, None)
    nodes.remove_nodes(*left.values())


def _without_specks(mask: sitk.Image) -> sitk.Image:
    least = round(1000.0 * _LEAST_PIECE_ML / float(np.prod(mask.GetSpacing())))
    pieces = sitk.ConnectedComponent(mask, True)
    return sitk.RelabelComponent(pieces, minimumObjectSize=least) > 0


def _show(model: Any, segmentation: Any, segment_id: str, mask: sitk.Image, content: str) -> None:
    name = segmentations.segment_name(segmentation, segment_id)
    surface = mask_surface(mask, name)
    if model is not None:
        surfaces.update_surface(model, surface)
        renew(model, content)
        return
    provenance = Provenance(VESSEL_ROLE, content_hash=content, inputs=(segmentation,))
    color = term(segmentations.segment_kind(segmentation, segment_id)).color
    model = surfaces.add_surface(surface, f"{name} surface", provenance, color=color, opacity=_OPACITY)
    model.GetDisplayNode().SetVisibility3D(current_layout() == PLANNING)
    model.SetAttribute(_SEGMENT, segment_id)
