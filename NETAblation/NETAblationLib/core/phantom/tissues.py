"""Tissues of the digital patient: their labels and their HU in the three images."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Label(IntEnum):
    """What a voxel's center lies in; organs painted later win."""

    AIR = 0
    TABLE = 1
    SKIN = 2
    FAT = 3
    MUSCLE = 4
    INNER_FAT = 5
    LUNG = 6
    BONE = 7
    HEART = 8
    AORTA = 9
    VENA_CAVA = 10
    GALLBLADDER = 11
    STOMACH = 12
    COLON = 13
    KIDNEY = 14
    SPLEEN = 15
    PANCREAS = 16
    BOWEL = 17
    OTHER_VESSEL = 18
    LIVER = 19
    PORTAL_IN_LIVER = 20
    PORTAL_OUTSIDE = 21
    HEPATIC_IN_LIVER = 22
    HEPATIC_OUTSIDE = 23
    FIRST_LESION = 32


class Contrast(NamedTuple):
    """HU of a tissue in the arterial, the portal and the post-ablation portal image."""

    arterial: float
    portal: float
    post: float


#: Zero in all three images.
NO_CONTRAST = Contrast(0.0, 0.0, 0.0)


def plain(hu: float) -> Contrast:
    """A tissue that takes up no contrast to speak of."""
    return Contrast(hu, hu, hu)


#: HU by tissue. Without contrast or in the arterial phase they were read off the two real CTs
#: of the shared data (late arterial: aorta 250-400, liver 70-75, spleen 95-180, renal cortex
#: 200-300, cava 55-80, muscle 25-60, marrow 160-190, bile 14, fat -100, lung -860). No
#: portal-phase values of a published source were found: those are set by hand to the usual
#: order (liver near 110, portal vein above hepatic vein above liver).
HU: dict[str, Contrast] = {
    "skin": plain(25.0),
    "fat": plain(-104.0),
    "inner_fat": plain(-100.0),
    "muscle": plain(58.0),
    "lung": plain(-862.0),
    "diaphragm": plain(58.0),
    "marrow": plain(176.0),
    "cortical_bone": plain(620.0),
    "rib_marrow": plain(190.0),
    "cartilage": plain(95.0),
    "disc": plain(82.0),
    "spinal_canal": plain(28.0),
    "myocardium": Contrast(118.0, 122.0, 114.0),
    "heart_blood": Contrast(305.0, 168.0, 152.0),
    "right_heart_blood": Contrast(215.0, 165.0, 150.0),
    "aorta": Contrast(330.0, 170.0, 152.0),
    "vena_cava": Contrast(95.0, 152.0, 138.0),
    "gallbladder": plain(10.0),
    "gallbladder_wall": Contrast(60.0, 75.0, 72.0),
    "stomach_wall": Contrast(85.0, 95.0, 90.0),
    "stomach_fluid": plain(12.0),
    "bowel_wall": Contrast(75.0, 95.0, 90.0),
    "bowel_content": plain(18.0),
    "stool": plain(-40.0),
    "gas": plain(-960.0),
    "renal_cortex": Contrast(215.0, 205.0, 190.0),
    "renal_medulla": Contrast(95.0, 188.0, 182.0),
    "spleen": Contrast(140.0, 122.0, 112.0),
    "pancreas": Contrast(108.0, 98.0, 92.0),
    "liver": Contrast(74.0, 110.0, 100.0),
    "portal_vein": Contrast(132.0, 182.0, 162.0),
    "hepatic_vein": Contrast(76.0, 168.0, 152.0),
    "artery": Contrast(300.0, 165.0, 148.0),
    "lung_vessel": Contrast(90.0, 60.0, 55.0),
    "table": plain(60.0),
    "table_core": plain(-880.0),
}

#: The ablation zone in the image after: does not enhance; rim of reactive hyperemia; gas.
ZONE_HU, ZONE_TUMOR_HU, RIM_HU, GAS_HU, TRACK_HU = 38.0, 43.0, 125.0, -650.0, 46.0
