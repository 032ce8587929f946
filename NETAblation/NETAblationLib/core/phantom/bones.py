"""Spine and rib cage of the digital patient."""

from __future__ import annotations

import numpy as np

from .anatomy import T12_S_MM, VERTEBRA_STEP_MM, Torso, ellipse, smooth_max, smooth_min, squircle
from .layers import EVERYWHERE_MM, Array, Box, Field, Layer
from .tissues import HU, Label


def bone_layers(torso: Torso) -> list[Layer]:
    """Spine and ribs, each a cortical shell around marrow."""
    spine: Box = ((-44.0, -104.0, -EVERYWHERE_MM), (44.0, -30.0, EVERYWHERE_MM))
    wall: Box = ((-165.0, -112.0, -EVERYWHERE_MM), (165.0, 112.0, EVERYWHERE_MM))

    def along(z: Field) -> Field:
        """Height within a vertebra and its disc, 0 in the middle of the vertebra."""
        return (z - T12_S_MM + 0.5 * VERTEBRA_STEP_MM) % VERTEBRA_STEP_MM - 0.5 * VERTEBRA_STEP_MM

    def column(x: Field, y: Field, z: Field) -> Field:
        waist = 2.2 - 0.012 * along(z) ** 2
        notch = 4.0 * np.exp(-((x / 9.0) ** 2) - ((y + 70.0) / 5.0) ** 2)
        return squircle(x, y + 54.0, 22.5, 17.0) + waist + notch

    def vertebra(x: Field, y: Field, z: Field) -> Field:
        return smooth_max(column(x, y, z), np.abs(along(z)) - 11.2, 2.5)

    def arch(x: Field, y: Field, z: Field) -> Field:
        high = np.abs(along(z) + 1.0)
        ring = np.maximum(np.abs(ellipse(x, y + 77.5, 12.5, 10.5)) - 3.0, high - 9.5)
        spinous = np.maximum(
            np.maximum(np.abs(x) - 3.0 - 0.08 * np.maximum(-y - 92.0, 0), np.abs(y + 93.0) - 8.5),
            np.abs(along(z) + 5.0) - 8.0,
        )
        transverse = np.maximum(
            np.sqrt((y + 75.0 + 0.2 * np.abs(x)) ** 2 + (along(z) - 4.0) ** 2) - 4.6, np.abs(x) - 34.0
        )
        joint = np.sqrt((np.abs(x) - 15.5) ** 2 + (y + 82.0) ** 2 + (0.45 * (high - 12.0)) ** 2) - 5.5
        return smooth_min(np.minimum(ring, joint), np.minimum(spinous, transverse), 2.5)

    ribs = RibCage(torso)
    return [
        Layer(spine, column, Label.BONE, HU["disc"], 6.0),
        Layer(
            spine, lambda x, y, z: smooth_min(vertebra(x, y, z), arch(x, y, z), 1.5), Label.BONE, HU["cortical_bone"]
        ),
        Layer(spine, lambda x, y, z: vertebra(x, y, z) + 1.5, Label.BONE, HU["marrow"], 22.0),
        Layer(spine, lambda x, y, z: arch(x, y, z) + 2.0, Label.BONE, HU["rib_marrow"], 20.0),
        Layer(spine, lambda x, y, z: ellipse(x, y + 77.0, 9.6, 7.6) + 0.0 * z, Label.MUSCLE, HU["spinal_canal"], 4.0),
        Layer(wall, ribs.bone, Label.BONE, HU["cortical_bone"]),
        Layer(wall, ribs.marrow, Label.BONE, HU["rib_marrow"]),
        Layer(wall, ribs.cartilage, Label.MUSCLE, HU["cartilage"]),
    ]


class RibCage:
    """Twelve pairs of oblique curved ribs in the chest wall, with cartilage in front.

    All ribs are one periodic level in an oblique coordinate that falls from the spine to the
    front, so that one pass draws them all; only voxels near the wall are computed.
    """

    #: Angle in degrees from the spine at which each rib's bone ends: 1 to 12.
    _BONE_END_DEG = np.array([150, 148, 146, 144, 142, 140, 138, 134, 128, 118, 88, 52], float)
    #: And at which its cartilage ends; ribs 11 and 12 float.
    _CARTILAGE_END_DEG = np.array([168, 168, 168, 168, 168, 166, 163, 160, 154, 146, 94, 56], float)
    _HALF_HEIGHT_MM, _HALF_THICKNESS_MM = 6.2, 3.6

    def __init__(self, torso: Torso) -> None:
        """Take the wall that the ribs lie in."""
        self._torso = torso

    def bone(self, x: Field, y: Field, z: Field) -> Field:
        """The outer surface of the bony ribs."""
        return self._tube(x, y, z, self._BONE_END_DEG, 0.0, None)

    def marrow(self, x: Field, y: Field, z: Field) -> Field:
        """The marrow, beneath 1.3 mm of cortical bone."""
        return self._tube(x, y, z, self._BONE_END_DEG, 1.3, None)

    def cartilage(self, x: Field, y: Field, z: Field) -> Field:
        """The cartilage that goes on where the bone ends."""
        return self._tube(x, y, z, self._CARTILAGE_END_DEG, 0.0, self._BONE_END_DEG)

    def _tube(self, x: Field, y: Field, z: Field, end_deg: Array, inset: float, begin_deg: Array | None) -> Field:
        out = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), 3.0, np.float32)
        depth = self._torso.cavity(x, y, z) - 6.0
        near = np.abs(depth) < self._HALF_THICKNESS_MM + 2.5
        if not near.any():
            return out
        where = np.nonzero(near)
        px, py, pz = x.ravel()[where[2]], y.ravel()[where[1]], z.ravel()[where[0]]
        angle = np.degrees(np.arctan2(np.abs(px), -(py + 12.0)))
        fall = 62.0 * (angle / 130.0) ** 1.1
        rise = 38.0 * np.maximum(angle - 132.0, 0) / 36.0
        height = (pz + fall - rise - T12_S_MM - 9.0) * (1.0 / VERTEBRA_STEP_MM)
        number = np.rint(height)
        rib = 12 - number.astype(int)
        inside = (rib >= 1) & (rib <= 12)
        rib = np.clip(rib, 1, 12) - 1
        offset = (height - number) * VERTEBRA_STEP_MM * 0.88
        half_z, half_d = self._HALF_HEIGHT_MM - inset, self._HALF_THICKNESS_MM - inset
        level = (np.hypot(offset / half_z, depth[where] / half_d) - 1.0) * (0.5 * (half_z + half_d))
        level = np.maximum(level, (angle - end_deg[rib]) * 1.8)
        level = np.maximum(level, 6.0 - np.abs(px))
        if begin_deg is not None:
            level = np.maximum(level, (begin_deg[rib] - angle) * 1.8)
        out[where] = np.where(inside, np.minimum(level, 3.0), 3.0)
        return out
