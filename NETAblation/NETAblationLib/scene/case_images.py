"""The images of a case as volume nodes: read out, given their role, and the grid on which a fusion is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core import frames
from ..core.errors import InputError
from ..core.images import image_hash
from . import nodes, transforms, volumes
from .provenance import ROLE, Provenance, describe

#: Spacing at which a transform that is neither linear nor a field is sampled for Slicer, in mm;
#: well below the control spacing of registrations of the liver (20 to 50 mm). User-set.
_SAMPLING_MM = 4.0


def image_of(volume: Any, otherwise: str) -> sitk.Image:
    """The image of a volume node; raises InputError, which says `otherwise`, where there is no node."""
    if volume is None:
        raise InputError(otherwise)
    return volumes.volume_image(volume)


def adopted_image(volume: Any, role: str, replaces: Any = None) -> sitk.Image:
    """Give a volume of the scene a role and return its image; the node that had it before has none then."""
    image = volumes.volume_image(volume)
    if volume.GetParentTransformNode() is not None:
        raise InputError(
            f"{volume.GetName()}: lies under the transform {volume.GetParentTransformNode().GetName()}; "
            "harden it or take the volume out of it first"
        )
    if replaces is not None:
        replaces.SetAttribute(ROLE, None)
        transforms.put_under(replaces, None)
    describe(volume, Provenance(role, content_hash=image_hash(image)))
    nodes.hierarchy_item(volume)
    return image


def sampling_grid(reference: sitk.Image) -> sitk.Image:
    """A coarse grid over `reference` and a little beyond."""
    spacing = [max(_SAMPLING_MM, step) for step in reference.GetSpacing()]
    size = [
        int(np.ceil(n * step / new)) + 3
        for n, step, new in zip(reference.GetSize(), reference.GetSpacing(), spacing, strict=True)
    ]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(reference.GetDirection())
    start = -np.array(spacing) / np.array(reference.GetSpacing())
    grid.SetOrigin(frames.flip_lps_ras(frames.index_to_ras(reference, start)).tolist())
    return grid
