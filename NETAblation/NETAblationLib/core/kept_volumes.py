"""What keeps the volume of tumors and ablation zones while tissue around them is deformed.

The change of a mask's volume is the mean, over the mask, of the deformation's Jacobian less one. Each mask
gives one row: that mean, and its slope with respect to the control vectors. One row per mask leaves the
deformation free to bend and turn tissue; only swelling and shrinking as a whole are held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import frames
from .excluded import Excluded
from .frames import Matrix, Points
from .freeform import Lattice
from .fusion_inputs import sample_mask
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]

#: About so many points tell a mask's volume; they lie this far apart, in mm, at the least and at the most.
_POINTS, _LEAST_STEP_MM, _MOST_STEP_MM = 400, 1.5, 6.0
#: Steps that follow a point of the moving frame back to the fixed one; each makes the miss several times smaller.
_STEPS_BACK = 4


class KeptVolumes:
    """The volumes of masks under u on a lattice, before a rigid part: T(x) = rigid(x + u(x))."""

    def __init__(self, masks: Sequence[Excluded], lattice: Lattice, rigid: Matrix) -> None:
        """Take the masks; (4, 4) `rigid` and `lattice` are those of T."""
        self._lattice = lattice
        back = np.linalg.inv(rigid).astype(np.float64)
        self._places = [
            (points if mask.is_of_fixed else frames.apply_matrix(back, points), mask.is_of_fixed)
            for mask, points in ((mask, _points_within(mask)) for mask in masks)
        ]
        self._slopes = [self._slopes_at(points) if fixed else None for points, fixed in self._places]

    def changes(self, control_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """By which share each mask (M,) swells from the fixed to the moving frame, and its slopes (M, 3, *lattice)."""
        changes, rows = [], []
        flat = control_mm.reshape(3, -1).T.astype(np.float64)
        for (points, is_of_fixed), held in zip(self._places, self._slopes, strict=True):
            slopes = held if held is not None else self._slopes_at(self._before(points, flat))
            gradient = np.stack([slope @ flat for slope in slopes], axis=-1) + np.eye(3)  # (N, 3 of u, 3 of x)
            jacobian = np.linalg.det(gradient)
            weight = np.ones(len(jacobian)) if is_of_fixed else 1 / np.maximum(jacobian, 0.05)
            weight /= weight.sum()
            cofactors = weight[:, None, None] * jacobian[:, None, None] * np.linalg.inv(gradient).swapaxes(1, 2)
            changes.append(float(weight @ jacobian) - 1.0)
            rows.append(sum(slope.T @ cofactors[:, :, axis] for axis, slope in enumerate(slopes)).T)
        return np.array(changes), np.array(rows).reshape(len(rows), *control_mm.shape)

    def _slopes_at(self, points: Points) -> list[sp.csr_matrix]:
        return [self._lattice.at(points, axis) for axis in range(3)]

    def _before(self, points: Points, flat_control: FloatArray) -> Points:
        """The points x (N, 3) that x + u(x) takes to the given ones."""
        before = points
        for _ in range(_STEPS_BACK):
            before = points - self._lattice.at(before) @ flat_control
        return before


def _points_within(excluded: Excluded) -> Points:
    """Points (N, 3) evenly within a mask, in its frame."""
    step = float(np.clip((1000 * excluded.volume_ml / _POINTS) ** (1 / 3), _LEAST_STEP_MM, _MOST_STEP_MM))
    points = WorkingGrid.over(*frames.bounding_box_ras(excluded.mask), step).points()
    inside = points[sample_mask(excluded.mask, points) > 0.5]
    return inside if len(inside) else frames.voxel_centers(excluded.mask)
