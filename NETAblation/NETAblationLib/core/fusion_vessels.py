"""Do the vessels of both images come to lie on each other? A check of a fusion by masks that do not drive it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.spatial import cKDTree

from . import frames
from .centerlines import Centerlines
from .deformable import Deformation
from .errors import InputError
from .excluded import cut_to_contents
from .frames import Points
from .fusion_inputs import sample_mask
from .images import as_mask
from .vessels import centerlines_of_mask
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]

#: Voxel edge at which the masks are compared, in mm: half of the vessels that matter (3 mm).
_SPACING_MM = 1.5
#: Room around the fixed vessels in which the moving ones are looked for, in mm.
_PAD_MM = 15.0
#: Thinner vessels, mm across, are often known in one image only: they are looked for by no one, only found. User-set.
_COMPARED_MM = 3.0
#: Vessels this near to a lesion tell of the fusion there when there is so much of them in both images together, in mm:
#: its error is alike over about this distance. User-set.
_NEAR_MM, _LEAST_NEAR_MM = 40.0, 40.0


@dataclass(frozen=True)
class VesselAgreement:
    """Dice (0..1) of the fixed and the carried moving vessels, and how far their middles lie apart.

    At `points_ras_mm` (N, 3) of the fixed image the middles are `distance_mm` (N,) apart, each for a vessel of
    `length_mm` (N,): from a point of one centerline to the nearest of the other, both ways, for vessels of 3 mm and
    more (all, where an image has none of these). Motion along a vessel does not show.
    """

    dice: float
    points_ras_mm: Points
    distance_mm: FloatArray
    length_mm: FloatArray

    @property
    def centerline_distance_mm(self) -> float:
        """The median by length: a branch that only one of the images shows does not count in it."""
        return _median(self.distance_mm, self.length_mm)

    def distance_near_mm(self, tissue_ras_mm: Points) -> float | None:
        """The median of the vessels within 40 mm of some of the fixed points (N, 3); None where they are too few."""
        near = np.isfinite(cKDTree(tissue_ras_mm).query(self.points_ras_mm, distance_upper_bound=_NEAR_MM)[0])
        if self.length_mm[near].sum() < _LEAST_NEAR_MM:
            return None
        return _median(self.distance_mm[near], self.length_mm[near])


@dataclass(frozen=True)
class _Tree:
    """Vessels of one image: their mask, cut to what it holds; all of their middle, and the part that is compared."""

    mask: sitk.Image
    middle: Centerlines
    compared: Centerlines


@dataclass(frozen=True)
class VesselPair:
    """The vessels of the fixed and of the moving image."""

    fixed: _Tree
    moving: _Tree

    @classmethod
    def of(
        cls,
        fixed: sitk.Image,
        moving: sitk.Image,
        fixed_vessels: sitk.Image | None,
        moving_vessels: sitk.Image | None,
    ) -> VesselPair | None:
        """From masks (or labels) on the grids of the two images; None without any.

        Raises InputError where only one is given, and as `images.as_mask`, `frames.require_same_grid` and
        `vessels.centerlines_of_mask`.
        """
        if fixed_vessels is None and moving_vessels is None:
            return None
        if fixed_vessels is None or moving_vessels is None:
            missing = "fixed" if fixed_vessels is None else "moving"
            raise InputError(
                f"vessels: those of the {missing} image are missing; they are compared where both are given"
            )
        trees = []
        for mask, image, side in ((fixed_vessels, fixed, "fixed"), (moving_vessels, moving, "moving")):
            checked = as_mask(mask, f"{side} vessels")
            frames.require_same_grid(checked, image, f"{side} vessels", f"{side} image")
            cut = cut_to_contents(checked)
            middle = centerlines_of_mask(cut)
            trees.append(_Tree(cut, middle, middle.at_least(_COMPARED_MM) or middle))
        return cls(*trees)

    def agreement(self, deformation: Deformation, *, rigid_only: bool = False) -> VesselAgreement:
        """Compare the vessels through a deformation or its rigid part."""
        lower, upper = frames.bounding_box_ras(self.fixed.mask)
        grid = WorkingGrid.over(lower - _PAD_MM, upper + _PAD_MM, _SPACING_MM)
        points = grid.points()
        if rigid_only:
            deformation = replace(deformation, control_mm=np.zeros_like(deformation.control_mm))
        displacement = deformation.lattice.evaluate(deformation.control_mm, grid).reshape(3, -1).T
        before = sample_mask(self.fixed.mask, points) > 0.5
        after = sample_mask(self.moving.mask, deformation.map_points(points, displacement.astype(np.float64))) > 0.5
        dice = 2.0 * int((before & after).sum()) / max(int(before.sum()) + int(after.sum()), 1)

        def carried(lines: Centerlines) -> Points:
            places = frames.as_points(lines.points_ras_mm)
            return deformation.map_points(places, deformation.displacement_at(places))

        there = cKDTree(self.moving.middle.points_ras_mm).query(carried(self.fixed.compared))[0]
        back, nearest = cKDTree(carried(self.fixed.middle)).query(self.moving.compared.points_ras_mm)
        return VesselAgreement(
            dice,
            np.concatenate([self.fixed.compared.points_ras_mm, self.fixed.middle.points_ras_mm[nearest]]),
            np.concatenate([there, back]),
            np.concatenate([self.fixed.compared.step_mm, self.moving.compared.step_mm]),
        )


def _median(values: FloatArray, weights: FloatArray) -> float:
    """The value that half of the weight lies below."""
    order = np.argsort(values)
    heaped = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(heaped, 0.5 * heaped[-1])])
