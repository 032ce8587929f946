"""How good a fusion is: overlap and distance of the livers, folding, size of the motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .deformable import Deformation, Outcome
from .excluded import Excluded
from .frames import apply_matrix
from .freeform import jacobian_determinant
from .fusion_inputs import sample_mask
from .kept_volumes import KeptVolumes
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Voxel edge at which livers are compared, in mm.
_SPACING_MM = 2.0
#: Room around the fixed liver in which the other one is looked for, in mm.
_PAD_MM = 20.0


@dataclass(frozen=True)
class LiverAgreement:
    """Dice (0..1) and mean symmetric surface distance in mm of the fixed and the carried moving liver."""

    dice: float
    surface_distance_mm: float


def liver_agreement(
    fixed_liver: sitk.Image, moving_liver: sitk.Image, deformation: Deformation, *, rigid_only: bool = False
) -> LiverAgreement:
    """Compare the livers (cut to what they hold) in the fixed frame, on a grid of 2 mm, linear between voxels."""
    lower, upper = frames.bounding_box_ras(fixed_liver)
    grid = WorkingGrid.over(lower - _PAD_MM, upper + _PAD_MM, _SPACING_MM)
    points = grid.points()
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid).reshape(3, -1).T
    moved = apply_matrix(deformation.rigid, points if rigid_only else points + displacement)
    fixed = sample_mask(fixed_liver, points).reshape(grid.shape) > 0.5
    carried = sample_mask(moving_liver, moved).reshape(grid.shape) > 0.5
    total = int(fixed.sum()) + int(carried.sum())
    dice = 2.0 * int((fixed & carried).sum()) / total if total else 0.0
    if not fixed.any() or not carried.any():
        return LiverAgreement(dice, float(np.linalg.norm(upper - lower)))
    depths = [_signed_distance_mm(mask) for mask in (fixed, carried)]
    gaps = [np.abs(other[np.abs(own) < _SPACING_MM]) for own, other in (depths, depths[::-1])]
    return LiverAgreement(dice, float(np.concatenate(gaps).mean() - _shell_offset(depths)))


def _signed_distance_mm(mask: BoolArray) -> FloatArray:
    """To the surface midway between inside and outside voxel centers, negative inside."""
    outside = ndimage.distance_transform_edt(~mask, sampling=_SPACING_MM)
    inside = ndimage.distance_transform_edt(mask, sampling=_SPACING_MM)
    return np.where(mask, 0.5 * _SPACING_MM - inside, outside - 0.5 * _SPACING_MM).astype(np.float32)


def _shell_offset(depths: list[FloatArray]) -> float:
    """Mean distance of the voxels next to a surface from that surface itself: half a voxel."""
    return float(np.mean([np.abs(d[np.abs(d) < _SPACING_MM]).mean() for d in depths]))


@dataclass(frozen=True)
class MotionFigures:
    """Jacobian of T and displacements within the liver (or the body where no liver is known)."""

    jacobian_min: float
    jacobian_max: float
    folded_fraction: float
    displacement_mean_mm: float
    displacement_max_mm: float


def motion_figures(deformation: Deformation, grid: WorkingGrid, core: BoolArray) -> MotionFigures:
    """The Jacobian is that of the smooth part; the displacement too: beyond the rigid part."""
    jacobian = jacobian_determinant(deformation.lattice.gradient(deformation.control_mm, grid))[core]
    length = np.linalg.norm(deformation.lattice.evaluate(deformation.control_mm, grid)[:, core], axis=0)
    return MotionFigures(
        float(jacobian.min()),
        float(jacobian.max()),
        float(np.mean(jacobian <= 0)),
        float(length.mean()),
        float(length.max()),
    )


def stored_jacobian(displacement_mm: FloatArray, spacing_mm: float) -> FloatArray:
    """The smallest Jacobian of a field (3, K, J, I), linear between nodes, at the corners of its cells.

    At a corner the field's slopes are those of the three edges of the cell that meet there.
    """
    _, k, j, i = displacement_mm.shape
    slopes = [np.diff(displacement_mm, axis=axis) / spacing_mm for axis in (3, 2, 1)]
    smallest = np.full((k - 1, j - 1, i - 1), np.inf, dtype=np.float32)
    for corner in np.ndindex(2, 2, 2):
        s, a, r = (slice(c, n - 1 + c) for c, n in zip(corner, (k, j, i), strict=True))
        along = [slopes[0][:, s, a, :], slopes[1][:, s, :, r], slopes[2][:, :, a, r]]
        gradient = np.stack(along, axis=1)  # (3 of u, 3 of x, ...)
        smallest = np.minimum(smallest, jacobian_determinant(gradient))
    return smallest


def voxels_within(excluded: Sequence[Excluded], outcome: Outcome) -> list[BoolArray]:
    """For each mask, of either frame, the voxels (K, J, I) of an outcome's grid that lie within it."""
    deformation, grid = outcome.deformation, outcome.grid
    points = grid.points()
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid).reshape(3, -1).T
    moved = deformation.map_points(points, displacement.astype(np.float64))
    inside = [sample_mask(one.mask, points if one.is_of_fixed else moved) > 0.5 for one in excluded]
    return [voxels.reshape(grid.shape) for voxels in inside]


def volume_change(excluded: Excluded, outcome: Outcome) -> float:
    """By which share a mask swells (positive) or shrinks from the fixed to the moving frame."""
    deformation = outcome.deformation
    kept = KeptVolumes([excluded], deformation.lattice, deformation.rigid)
    return float(kept.changes(deformation.control_mm)[0][0])


def error_within(inside: BoolArray, outcome: Outcome) -> float | None:
    """Mean of the estimated error in mm in voxels of the outcome's grid; None where there are none."""
    return float(outcome.error_mm[inside].mean()) if inside.any() else None
