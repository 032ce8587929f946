"""Which lobe of the liver a point lies in: from a mask of lobes, or from two landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .body_frame import body_axes
from .errors import EmptyMaskError, GeometryError, InputError
from .frames import Points

IntArray = npt.NDArray[np.integer]

#: Least angle between the cava's course and the way to the gallbladder, and greatest of the plane's normal to
#: the patient's right, in degrees: beyond them the two do not tell right from left. User-set.
_MIN_ANGLE_DEGREES, _MAX_TILT_DEGREES = 15.0, 75.0


class Lobe(IntEnum):
    """The lobes; the values are the labels of a mask of lobes."""

    RIGHT = 1
    LEFT = 2
    CAUDATE = 3


@dataclass(frozen=True)
class Lobes:
    """Tells lobes by a mask (`labels`), or by the plane through `point_ras_mm` with `right` pointing to the right lobe.

    `method` says in words which of the two it is.
    """

    method: str
    labels: sitk.Image | None = None
    point_ras_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    right: tuple[float, float, float] = (1.0, 0.0, 0.0)

    @classmethod
    def of_mask(cls, mask: sitk.Image) -> Lobes:
        """From a mask with the labels of `Lobe`; raises InputError for other labels, EmptyMaskError for none."""
        found = np.unique(sitk.GetArrayViewFromImage(mask))
        known = [0, *(lobe.value for lobe in Lobe)]
        if not np.isin(found, known).all():
            raise InputError(
                f"lobes: the mask has the labels {found.tolist()}; known are "
                f"{', '.join(f'{lobe.value} {lobe.name.lower()}' for lobe in Lobe)}"
            )
        if not found.any():
            raise EmptyMaskError("lobes: the mask is empty")
        return cls("mask of lobes", labels=mask)

    @classmethod
    def of_landmarks(cls, gallbladder: sitk.Image, cava: sitk.Image, image: sitk.Image | None = None) -> Lobes:
        """From masks of the gallbladder and the inferior vena cava: right and left meet in a plane along both.

        The plane runs along the cava's course through the gallbladder's center (Cantlie's line); it does
        not tell the caudate lobe. `image`, a CT in the frame of the masks, shows where the body's right is
        (:func:`~.body_frame.body_axes`); without it the frame's R is taken for that. Raises EmptyMaskError for
        an empty mask, GeometryError where the two do not make a plane between right and left.
        """
        points = {}
        for name, mask in (("gallbladder", gallbladder), ("inferior vena cava", cava)):
            points[name] = frames.voxel_centers(mask)
            if not len(points[name]):
                raise EmptyMaskError(f"{name}: the mask is empty; it is needed to tell the lobes")
        center, middle = points["gallbladder"].mean(axis=0), points["inferior vena cava"].mean(axis=0)
        course = np.linalg.svd(points["inferior vena cava"] - middle, full_matrices=False)[2][0]
        way = center - middle
        normal = np.cross(course, way)
        length = float(np.linalg.norm(normal))
        if length < np.sin(np.radians(_MIN_ANGLE_DEGREES)) * np.linalg.norm(way):
            raise GeometryError("lobes: the gallbladder lies along the cava's course, so both make no plane")
        rightward = np.array([1.0, 0.0, 0.0]) if image is None else body_axes(image)[:, 0]
        normal *= (1.0 if normal @ rightward > 0 else -1.0) / length
        if normal @ rightward < np.cos(np.radians(_MAX_TILT_DEGREES)):
            raise GeometryError(
                "lobes: the plane through gallbladder and cava does not part right from left; check both masks"
            )
        return cls(
            "plane through gallbladder and inferior vena cava",
            point_ras_mm=tuple(middle.tolist()),
            right=tuple(normal.tolist()),
        )

    @property
    def known(self) -> tuple[Lobe, ...]:
        """The lobes that are told apart."""
        if self.labels is None:
            return Lobe.RIGHT, Lobe.LEFT
        return tuple(Lobe)

    def at(self, points_ras_mm: Points) -> IntArray:
        """The lobe's value at points (N, 3), shape (N,); 0 where the mask has none."""
        if self.labels is None:
            is_right = (points_ras_mm - np.array(self.point_ras_mm)) @ np.array(self.right) > 0
            return np.where(is_right, Lobe.RIGHT, Lobe.LEFT)
        index = frames.ras_to_index(self.labels, points_ras_mm)[:, ::-1].T
        labels = sitk.GetArrayViewFromImage(self.labels)
        return ndimage.map_coordinates(labels, index, order=0, mode="constant", cval=0, output=np.int64)

    def shares(self, points_ras_mm: Points) -> dict[str, float]:
        """The share of points (N, 3), N > 0, in each lobe by name; below 1 in all where some are in none."""
        found = self.at(points_ras_mm)
        return {lobe.name.lower(): float(np.mean(found == lobe)) for lobe in self.known}
