"""The organs' masks of the digital patient, made from its labels when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .grids import Grid
from .tissues import Label

_IN_LIVER = (Label.LIVER, Label.PORTAL_IN_LIVER, Label.HEPATIC_IN_LIVER)
_PORTAL = (Label.PORTAL_IN_LIVER, Label.PORTAL_OUTSIDE)
_HEPATIC = (Label.HEPATIC_IN_LIVER, Label.HEPATIC_OUTSIDE)

#: Which labels make each mask; "liver" also holds all lesions, "body" all but air and table.
_MASKS: dict[str, tuple[Label, ...]] = {
    "skin": (Label.SKIN,),
    "fat": (Label.FAT,),
    "muscle": (Label.MUSCLE,),
    "bone": (Label.BONE,),
    "lung": (Label.LUNG,),
    "heart": (Label.HEART,),
    "aorta": (Label.AORTA,),
    "vena_cava": (Label.VENA_CAVA,),
    "liver": _IN_LIVER,
    "portal_vein": _PORTAL,
    "hepatic_vein": _HEPATIC,
    "vessels": (*_PORTAL, *_HEPATIC),
    "gallbladder": (Label.GALLBLADDER,),
    "stomach": (Label.STOMACH,),
    "colon": (Label.COLON,),
    "bowel": (Label.BOWEL,),
    "pancreas": (Label.PANCREAS,),
    "kidneys": (Label.KIDNEY,),
    "spleen": (Label.SPLEEN,),
}


class PatientMasks(Mapping[str, sitk.Image]):
    """The organs' masks on the grid before ablation by name, each made when it is asked for.

    A voxel belongs to the organ in which its center lies. Nothing is kept, so that holding
    the patient costs one label per voxel.
    """

    def __init__(self, labels: npt.NDArray[np.uint8], grid: Grid) -> None:
        """Take the painted labels (K, J, I) of a grid."""
        self._labels = labels
        self._grid = grid

    def __getitem__(self, name: str) -> sitk.Image:
        """The mask of an organ, uint8 0/1; raises KeyError for an unknown name."""
        table = np.zeros(256, np.uint8)
        if name == "body":
            table[Label.SKIN :] = 1
        else:
            table[list(_MASKS[name])] = 1
            if name == "liver":
                table[Label.FIRST_LESION :] = 1
        return self._grid.image(table[self._labels])

    def __iter__(self) -> Iterator[str]:
        """The names."""
        yield "body"
        yield from _MASKS

    def __len__(self) -> int:
        """How many there are."""
        return len(_MASKS) + 1
