"""What a CT of the torso shows without any learning: body, lungs, bone, the rib cage, the great vessels' place.

All on one grid along R, A and S (:class:`~.working_grids.WorkingGrid`), whose arrays (K, J, I) grow
toward superior, anterior and right, whatever the orientation of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import InputError
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Below the first, in HU, is air (with lung), above the second bone or what is as dense. User-set.
AIR_HU, BONE_HU = -400.0, 160.0
_TISSUE_HU = -300.0
#: Air in one piece of at least this volume, in ml, and this share of the largest piece's is lung; gas of
#: stomach and bowel is less. User-set.
_LUNG_ML, _LUNG_SHARE = 60.0, 0.15
#: Less of the image above tissue than the first share, or more than the second: no CT of a body. User-set.
_BODY_SHARES = (0.01, 0.995)

#: Ribs lie within this depth below the skin and are thinner than twice that (kidneys full of contrast are
#: not), in mm; smaller pieces of bone are calcifications. User-set.
_RIB_DEPTH_MM, _RIB_HALF_MM, _BONE_ML = 60.0, 8.0, 0.3
#: Smoothing of the rib cage's inner surface up and around, in mm and degrees, and the least weight of
#: ribs nearby for it to be known: ribs are about 25 mm apart. User-set.
_RIB_UP_MM, _RIB_AROUND_DEGREES, _RIB_WEIGHT = 8.0, 9.0, 0.12
_SECTORS = 120
#: Thickness of what lines the ribs, in mm. User-set.
_RIB_LINING_MM = 1.0

#: Least volume of the lungs from which their base tells where the diaphragm is, in ml; half the width of the
#: heart, and what may lie above the base of the lungs, in mm. User-set.
_LUNGS_ML, _HEART_HALF_MM, _DIAPHRAGM_MM = 500.0, 40.0, 10.0

#: Half the width and the depth in front of the vertebrae, in mm, of the place of aorta, vena cava and crura.
_PREVERTEBRAL_MM = (30.0, 24.0)


@dataclass(frozen=True)
class Torso:
    """A CT of the torso on an even grid: `hu` (K, J, I), and what it shows, each of that shape."""

    grid: WorkingGrid
    hu: FloatArray

    @classmethod
    def of(cls, image: sitk.Image, spacing_mm: float) -> Torso:
        """Bring a CT to a grid of that spacing; raises InputError for an image that is no CT of a body in HU."""
        grid = WorkingGrid.over(*frames.bounding_box_ras(image), spacing_mm)
        reference = grid.image(np.zeros(grid.shape, np.uint8))
        # A box over a voxel or so keeps thin slices from aliasing.
        factors = [max(1, int(spacing_mm / step)) for step in image.GetSpacing()]
        coarse = sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors)
        resampled = sitk.Resample(coarse, reference, sitk.Transform(), sitk.sitkLinear, -1024.0, sitk.sitkFloat32)
        hu = np.clip(sitk.GetArrayFromImage(resampled), -1024.0, 3071.0)
        share = float((hu > _TISSUE_HU).mean())
        if not (_BODY_SHARES[0] < share < _BODY_SHARES[1] and hu.min() < AIR_HU):
            raise InputError(
                f"a CT of the torso in HU is needed: {100 * share:.1f} % of this image lie above {_TISSUE_HU:g} HU"
            )
        return cls(grid, hu)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return self.grid.spacing_mm**3 / 1000.0

    @cached_property
    def body(self) -> BoolArray:
        """The largest piece of tissue, without table and arms apart, with its cavities filled slice by slice."""
        core = largest_piece(ndimage.binary_opening(self.hu > _TISSUE_HU, iterations=2))
        return np.array([ndimage.binary_fill_holes(part) for part in core])

    @cached_property
    def lungs(self) -> BoolArray:
        """Air in the body in large pieces."""
        labels, sizes = pieces((self.hu < AIR_HU) & self.body)
        is_lung = sizes > max(_LUNG_ML / self.voxel_ml, _LUNG_SHARE * sizes.max())
        return is_lung[labels]

    @cached_property
    def bone(self) -> BoolArray:
        """Bone, and vessels and bowel filled as densely by contrast."""
        labels, sizes = pieces((ndimage.gaussian_filter(self.hu, 0.5) > BONE_HU) & self.body)
        return (sizes * self.voxel_ml > _BONE_ML)[labels]

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
        rows = [np.argwhere(part).mean(axis=0) if part.any() else np.array(part.shape) / 2 for part in self.body]
        return ndimage.gaussian_filter1d(np.array(rows), 20.0 / self.grid.spacing_mm, axis=0)

    def _polar(self, center: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Distance in mm and sector of each voxel of a slice, (J, I), from a center (J, I)."""
        j, i = np.ogrid[: self.grid.shape[1], : self.grid.shape[2]]
        forward, right = (j - center[0]) * self.grid.spacing_mm, (i - center[1]) * self.grid.spacing_mm
        sector = np.floor(np.arctan2(forward, right) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
        return np.hypot(forward, right), sector

    def _nearest_ribs(self, middle: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distance to the innermost bone near the skin in each slice and sector, (K, S), and where there is one."""
        step = self.grid.spacing_mm
        thick = distance_mm(~self.bone, step) > _RIB_HALF_MM
        ribs = (
            self.bone & (distance_mm(~self.body, step) < _RIB_DEPTH_MM) & (distance_mm(thick, step) > 2 * _RIB_HALF_MM)
        )
        radius = np.full((len(middle), _SECTORS), np.inf)
        for k, center in enumerate(middle):
            if ribs[k].any():
                distance, sector = self._polar(center)
                np.minimum.at(radius[k], sector[ribs[k]], distance[ribs[k]])
        found = np.isfinite(radius)
        return np.where(found, radius, 0.0), found.astype(np.float64)

    @property
    def has_lungs(self) -> bool:
        """Whether more than the tips of the lungs are in the image."""
        return bool(self.lungs.sum() * self.voxel_ml > _LUNGS_ML)

    @cached_property
    def below_diaphragm(self) -> BoolArray:
        """What does not lie above the base of the lungs nearby; all of the grid where there are no lungs.

        Under the lungs their base is the diaphragm. Under the heart, where no lung shows it, the
        diaphragm is no higher than the highest base of the lungs beside it.
        """
        if not self.has_lungs:
            return np.ones(self.grid.shape, dtype=bool)
        is_known = self.lungs.any(axis=0)
        base = np.where(is_known, self.lungs.argmax(axis=0), 0)
        reach = 2 * int(_HEART_HALF_MM / self.grid.spacing_mm) + 1
        highest = np.where(is_known, base, ndimage.maximum_filter(base, reach))
        slices = np.arange(self.grid.shape[0])[:, None, None]
        return slices <= highest + _DIAPHRAGM_MM / self.grid.spacing_mm

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
        for k, bone in enumerate(self.bone):
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


def distance_mm(mask: BoolArray, spacing_mm: float) -> FloatArray:
    """Distance from each voxel of a cubic grid to the nearest one in the mask, float32; infinite where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    signed = sitk.SignedMaurerDistanceMap(sitk.GetImageFromArray(mask.view(np.uint8)), False, False, False)
    return np.maximum(sitk.GetArrayFromImage(signed), 0) * np.float32(spacing_mm)


def pieces(mask: BoolArray) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Labels of the connected pieces of a mask, and the voxels of each; the outside, label 0, counts none."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels, sizes


def largest_piece(mask: BoolArray) -> BoolArray:
    """The largest connected piece of a mask; nothing of nothing."""
    labels, sizes = pieces(mask)
    return labels == int(sizes.argmax()) if sizes.any() else mask
