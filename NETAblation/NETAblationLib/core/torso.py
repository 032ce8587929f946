"""Where in a torso an organ can be: within the rib cage, below the diaphragm, in front of the spine.

From what :mod:`.anatomy` finds along the body's axes, on its grid, whose arrays (K, J, I) grow toward the body's
superior, anterior and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from .anatomy import BONE_HU, Anatomy, distance_mm, find_upright, pieces
from .body_frame import upright
from .frames import Matrix
from .images import require_3d_finite
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Ribs lie within this depth below the skin and are thinner than twice that (kidneys full of contrast are
#: not), in mm; smaller pieces, in ml, are calcifications. User-set.
_RIB_DEPTH_MM, _RIB_HALF_MM, _BRIGHT_ML = 60.0, 8.0, 0.3
#: Smoothing of the rib cage's inner surface up and around, in mm and degrees, and the least weight of
#: ribs nearby for it to be known: ribs are about 25 mm apart. User-set.
_RIB_UP_MM, _RIB_AROUND_DEGREES, _RIB_WEIGHT = 8.0, 9.0, 0.12
_SECTORS = 120
#: Thickness of what lines the ribs, in mm. User-set.
_RIB_LINING_MM = 1.0

#: Least volume of the lungs from which their base tells where the diaphragm is, in ml. User-set.
_LUNGS_ML = 500.0
#: What may lie above the base of the lungs, and above the diaphragm's way on under the heart, which falls by this
#: much for each mm: 99 % of the liver is within 7 mm of that on a digital patient, below it on two real CTs (own
#: measurement). Lung this far within its outline from above lies on the diaphragm. In mm. User-set.
_DIAPHRAGM_MM, _UNDER_HEART_MM, _FALL, _INNER_MM = 10.0, 4.0, 0.25, 20.0
#: Where lung begins this near to the upper end of the image, that cuts a dome; above the domes there is more than
#: this of the image where it shows the heart; in mm. User-set.
_END_MM, _HEART_MM = 10.0, 50.0

#: Half the width and the depth in front of the vertebrae, in mm, of the place of aorta, vena cava and crura.
_PREVERTEBRAL_MM = (30.0, 24.0)


@dataclass(frozen=True)
class Torso:
    """The anatomy of a torso and the places in it; all arrays have the shape of its grid, (K, J, I).

    The grid runs along the body's axes: `to_body` (4, 4) maps RAS mm to its RAS mm.
    """

    anatomy: Anatomy
    to_body: Matrix

    @classmethod
    def of(cls, image: sitk.Image, spacing_mm: float) -> Torso:
        """The torso in a CT on a grid of that spacing.

        Raises ImageReadError for an image that is not 3D and sound, InputError for one that is no CT of a body in HU.
        """
        require_3d_finite(image, "image")
        turned, to_body = upright(image)
        anatomy = find_upright(turned, (), spacing_mm=spacing_mm)
        # The body ends where the image does, and not in the air with which an oblique grid is filled beyond.
        slices = np.flatnonzero(anatomy.body.any(axis=(1, 2)))
        return cls(anatomy.slices(slices[0], slices[-1] + 1), to_body)

    @property
    def grid(self) -> WorkingGrid:
        """The grid."""
        return self.anatomy.grid

    @property
    def hu(self) -> FloatArray:
        """The CT."""
        return self.anatomy.hu

    @property
    def body(self) -> BoolArray:
        """The body with its cavities."""
        return self.anatomy.body

    @property
    def lungs(self) -> BoolArray:
        """The lungs."""
        return self.anatomy.lung

    @cached_property
    def bright(self) -> BoolArray:
        """Bone, and vessels and bowel filled by contrast about as densely."""
        labels, sizes = pieces((ndimage.gaussian_filter(self.hu, 0.5) > BONE_HU) & self.body)
        return (sizes * self.voxel_ml > _BRIGHT_ML)[labels]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return self.grid.spacing_mm**3 / 1000.0

    @cached_property
    def right_of_middle(self) -> BoolArray:
        """The voxels on the right of the body's middle, (1, 1, I)."""
        across = np.flatnonzero(self.body.any(axis=(0, 1)))
        return (np.arange(self.grid.shape[2]) > across.mean())[None, None]

    @cached_property
    def within_ribs(self) -> BoolArray:
        """The body inside of the ribs' inner surface; where there are no ribs, all of it.

        Around a middle line, each slice's nearest bone in each direction is the wall; between the
        ribs it is interpolated.
        """
        middle = self._middle_line()
        radius, weight = self._nearest_ribs(middle)
        scale = (_RIB_UP_MM / self.grid.spacing_mm, _RIB_AROUND_DEGREES * _SECTORS / 360.0)
        weight_around = ndimage.gaussian_filter(weight, scale, mode=("nearest", "wrap"))
        wall = ndimage.gaussian_filter(radius * weight, scale, mode=("nearest", "wrap"))
        wall = np.where(weight_around > _RIB_WEIGHT, wall / np.maximum(weight_around, 1e-6), np.inf)
        inside = np.empty(self.grid.shape, dtype=bool)
        for k, center in enumerate(middle):
            distance, sector = self._polar(center)
            limit = np.minimum(wall[k, sector], wall[k, (sector + 1) % _SECTORS])
            inside[k] = distance < limit - _RIB_LINING_MM
        return inside & self.body

    def _middle_line(self) -> FloatArray:
        """The middle of the body in each slice, (K, 2) of (J, I), smooth."""
        scale = 20.0 / self.grid.spacing_mm
        # Each slice counts by its area: at an oblique end of the image a sliver of the body has no middle.
        area = ndimage.gaussian_filter1d(self.body.sum(axis=(1, 2)).astype(np.float64), scale)
        moments = (
            (self.body.sum(axis=2) * np.arange(self.grid.shape[1])).sum(axis=1),
            (self.body.sum(axis=1) * np.arange(self.grid.shape[2])).sum(axis=1),
        )
        middle = [ndimage.gaussian_filter1d(moment.astype(np.float64), scale) / area for moment in moments]
        return np.stack(middle, axis=1)

    def _polar(self, center: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Distance in mm and sector of each voxel of a slice, (J, I), from a center (J, I)."""
        j, i = np.ogrid[: self.grid.shape[1], : self.grid.shape[2]]
        forward, right = (j - center[0]) * self.grid.spacing_mm, (i - center[1]) * self.grid.spacing_mm
        sector = np.floor(np.arctan2(forward, right) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
        return np.hypot(forward, right), sector

    def _nearest_ribs(self, middle: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distance to the innermost bone near the skin in each slice and sector, (K, S), and where there is one."""
        step = self.grid.spacing_mm
        thick = distance_mm(~self.bright, step) > _RIB_HALF_MM
        ribs = self.bright & (self._depth_mm() < _RIB_DEPTH_MM) & (distance_mm(thick, step) > 2 * _RIB_HALF_MM)
        radius = np.full((len(middle), _SECTORS), np.inf)
        for k, center in enumerate(middle):
            if ribs[k].any():
                distance, sector = self._polar(center)
                np.minimum.at(radius[k], sector[ribs[k]], distance[ribs[k]])
        found = np.isfinite(radius)
        return np.where(found, radius, 0.0), found.astype(np.float64)

    def _depth_mm(self) -> FloatArray:
        """Distance to the outside of the body within each slice: an end of the image is no skin."""
        outside = sitk.GetImageFromArray((~self.body).view(np.uint8))
        outside.SetSpacing([self.grid.spacing_mm, self.grid.spacing_mm, 1e3 * self.grid.spacing_mm])
        return np.maximum(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(outside, False, False, True)), 0)

    @property
    def has_lungs(self) -> bool:
        """Whether more than the tips of the lungs are in the image."""
        return bool(self.lungs.sum() * self.voxel_ml > _LUNGS_ML)

    @cached_property
    def below_diaphragm(self) -> BoolArray:
        """What does not lie above the base of the lungs nearby; all of the grid where there are no lungs.

        Under the lungs their base is the diaphragm. Under the heart, where no lung shows it, it goes on
        from the base of the lungs beside, and falls.
        """
        if self._lung_base is None:
            return np.ones(self.grid.shape, dtype=bool)
        base, shows = self._lung_base
        step = self.grid.spacing_mm
        away, nearest = ndimage.distance_transform_edt(~shows, return_indices=True)
        beside = ndimage.gaussian_filter(base[tuple(nearest)] - _FALL * away, _DIAPHRAGM_MM / 2 / step)
        highest = np.where(shows, base + _DIAPHRAGM_MM / step, beside + _UNDER_HEART_MM / step)
        # A dome that the image's end cuts is higher than all of the image.
        highest[~shows & (base[tuple(nearest)] >= self._end)] = np.inf
        return np.arange(self.grid.shape[0])[:, None, None] <= highest

    @cached_property
    def between_lungs(self) -> BoolArray:
        """Where, seen from above, the heart hides the diaphragm, (J, I); nowhere without lungs."""
        if self._lung_base is None:
            return np.zeros(self.grid.shape[1:], dtype=bool)
        shows = self._lung_base[1]
        sides = np.logical_or.accumulate(shows, axis=1), np.logical_or.accumulate(shows[:, ::-1], axis=1)[:, ::-1]
        return ~shows & sides[0] & sides[1] & (self.below_diaphragm.sum(axis=0) < self.grid.shape[0])

    @property
    def _end(self) -> int:
        """The slice from which on the lungs begin where the image ends."""
        return self.grid.shape[0] - 1 - round(_END_MM / self.grid.spacing_mm)

    @cached_property
    def _lung_base(self) -> tuple[npt.NDArray[np.int64], BoolArray] | None:
        """The lowest slice of the lungs, (J, I), and where that shows the diaphragm; None without lungs."""
        if not self.has_lungs:
            return None
        covered: BoolArray = np.asarray(self.lungs.any(axis=0))
        base = np.where(covered, self.lungs.argmax(axis=0), 0)
        # Lung that lies on the heart or at the hilum is higher than the domes of the diaphragm, if they are
        # in the image.
        step = self.grid.spacing_mm
        inner = ndimage.distance_transform_edt(covered) * step > _INNER_MM
        dome = int(base[inner].max()) if inner.any() else self.grid.shape[0]
        has_heart = self.grid.shape[0] - dome > _HEART_MM / step
        return base, covered & (base <= (dome + _DIAPHRAGM_MM / step if has_heart else np.inf))

    @cached_property
    def prevertebral(self) -> BoolArray:
        """The vertebrae and what lies just in front of them: aorta, vena cava and the crura of the diaphragm."""
        front = self._vertebral_front()
        inside = np.zeros(self.grid.shape, dtype=bool)
        if front is None:
            return inside
        half_width, depth = _PREVERTEBRAL_MM
        j, i = np.ogrid[: self.grid.shape[1], : self.grid.shape[2]]
        for k, (front_j, middle_i) in enumerate(front):
            forward = (j - front_j) * self.grid.spacing_mm
            across = (i - middle_i) * self.grid.spacing_mm
            inside[k] = ((across / half_width) ** 2 + (np.maximum(forward, 0) / depth) ** 2 < 1) & (forward > -45.0)
        return inside

    def _vertebral_front(self) -> FloatArray | None:
        """The frontmost bone of the spine in each slice, (K, 2) of (J, I); None where there is no spine."""
        step = self.grid.spacing_mm
        middle_i = float(
            np.median([np.flatnonzero(part.any(axis=0))[[0, -1]].mean() for part in self.body if part.any()])
        )
        found = np.full((self.grid.shape[0], 2), np.nan)
        for k, bone in enumerate(self.bright):
            if not self.body[k].any():
                continue
            j, i = np.nonzero(bone)
            behind = j < np.median(np.flatnonzero(self.body[k].any(axis=1)))
            j, i = j[behind & (np.abs(i - middle_i) * step < 40.0)], i[behind & (np.abs(i - middle_i) * step < 40.0)]
            if len(j) * step**2 < 180.0:  # mm2; less is a rib or noise
                continue
            center = float(np.median(i))
            near = np.abs(i - center) * step < 12.0
            if near.any():
                found[k] = np.percentile(j[near], 96.0), center
        known = np.isfinite(found[:, 0])
        if known.sum() * step < 20.0:
            return None
        slices = np.arange(len(found))
        smooth = 2 * int(20.0 / step) + 1
        columns = [
            ndimage.median_filter(np.interp(slices, slices[known], found[known, c]), smooth, mode="nearest")
            for c in (0, 1)
        ]
        return np.stack(columns, axis=1)
