"""The sample case: the digital patient as volumes of the scene, as a study that was just loaded.

Besides the images there is the anatomy as a segmentation that belongs to no case yet, as another program would have
left it: it can be taken in NET Lesions, or ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.phantom import DigitalPatient
from . import segmentations, volumes
from .provenance import Provenance
from .terminology import kinds

#: Roles of the nodes that are no part of a case until the user takes them in.
IMAGE_ROLE, ANATOMY_ROLE = "sample_image", "sample_anatomy"

_IMAGES = {"portal": "Portal venous (sample)", "arterial": "Arterial (sample)", "post": "After ablation (sample)"}

#: Organs of the digital patient whose name differs from that of the kind of segment.
_KINDS = {"vena_cava": "inferior_vena_cava", "bowel": "small_intestine", "kidneys": "kidney"}

#: No organ at risk, or in another mask already.
_LEFT_OUT = frozenset({"body", "skin", "fat", "muscle", "vessels"})


@dataclass(frozen=True)
class SampleNodes:
    """The volumes before (`portal`, `arterial`) and after (`post`) ablation, and the `anatomy` (a segmentation)."""

    portal: Any
    arterial: Any
    post: Any
    anatomy: Any


def add_sample(patient: DigitalPatient) -> SampleNodes:
    """Put the images and the anatomy before ablation into the scene."""
    source = f"digital patient, {patient.size}, seed {patient.seed}"
    images = {
        key: volumes.add_volume(getattr(patient, key), name, Provenance(IMAGE_ROLE, source))
        for key, name in _IMAGES.items()
    }
    anatomy = segmentations.add_segmentation(
        patient.portal, "Anatomy (sample)", Provenance(ANATOMY_ROLE, source), volume=images["portal"]
    )
    for name in patient.masks:
        kind = _KINDS.get(name, name)
        if kind in kinds() and name not in _LEFT_OUT:
            segmentations.add_segment(anatomy, patient.masks[name], kind)
    anatomy.GetDisplayNode().SetVisibility(False)
    return SampleNodes(**images, anatomy=anatomy)
