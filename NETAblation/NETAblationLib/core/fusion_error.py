"""How far off a fusion is, estimated without landmarks, and what to think of it.

Signs of error (of half samples, of the way back, of the local correlation, of the livers and of the
deformation itself) are joined by a log-linear model whose weights were fitted to pairs with an exactly
known deformation (Testing/benchmarks/bench_fusion_error.py). The bound is the estimate times the factor
below which 90 % of the held-out truths stayed.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .deformable import Outcome, Settings, register_deformable
from .freeform import jacobian_determinant
from .fusion_inputs import Prepared
from .fusion_quality import LiverAgreement
from .progress import ProgressCallback, silent
from .working_grids import mask_of_points

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Surroundings of a lesion in which its error is looked at, in mm: the target of 20 mm.
_NEAR_MM = 20.0
#: Voxel edge on which the way back is followed, in mm.
_BACK_SPACING_MM = 4.0
#: Taken for the livers' distance in mm where it is not known: that of fusions that are neither good nor bad.
_UNKNOWN_SURFACE_MM = 0.5
_SMALLEST_MM = 0.02


@dataclass(frozen=True)
class Signs:
    """What tells of an error, in a part of the region; lengths in mm.

    `half_sample_mm` is the mean estimate from half samples, `inverse_mm` the mean distance between a
    point and where there and back takes it, `correlation` the mean local correlation where tissue can
    be compared, `usable_fraction` the share where it can, `surface_mm` the livers' mean distance,
    `jacobian_spread` the logarithm of the 99th over the 1st percentile of the Jacobian, and
    `displacement_mm` the mean beyond the rigid part.
    """

    half_sample_mm: float
    inverse_mm: float
    correlation: float
    usable_fraction: float
    surface_mm: float
    jacobian_spread: float
    displacement_mm: float

    def terms(self) -> FloatArray:
        """The model's input (8,): 1, then each sign so that more of it means more error."""
        values = np.array(astuple(self), dtype=np.float64)
        half, inverse, surface, displacement = np.log(np.maximum(values[[0, 1, 4, 6]], _SMALLEST_MM) / _SMALLEST_MM)
        return np.array([1.0, half, inverse, 1 - values[2], 1 - values[3], surface, values[5], displacement])


@dataclass(frozen=True)
class ErrorModel:
    """Weights (8,) of `Signs.terms` for the logarithm of the error in mm, and the bound's factor.

    Nothing is estimated below `least_mm`, which 95 % of the errors that it was fitted to exceed.
    """

    weights: tuple[float, ...]
    bound_factor: float
    least_mm: float

    def estimate_mm(self, signs: Signs) -> float:
        """The likeliest mean error."""
        return max(float(np.exp(np.dot(self.weights, signs.terms()))), self.least_mm)

    def bound_mm(self, signs: Signs) -> float:
        """What 90 % of such errors stay below."""
        return self.bound_factor * self.estimate_mm(signs)


#: Fitted by the benchmark of the fusion's error to 117 pairs, for the liver and, in 107 of them, for the tissue near a
#: lesion. Held out (half of the anatomies), 89 % and 93 % of the truths were below the bound; rank correlation 0.92 and
#: 0.75.
LIVER_MODEL = ErrorModel((-6.3387, 1.4911, 0.008, 0.652, 0.0, 0.0006, 0.8438, 0.0659), 1.357, 0.3)
LESION_MODEL = ErrorModel((-4.8844, 0.7311, 0.3478, 0.0, 0.241, 0.0025, 0.8397, 0.1028), 1.886, 0.41)


def inverse_consistency(
    images: Prepared, outcome: Outcome, settings: Settings, progress: ProgressCallback = silent
) -> FloatArray:
    """Distance in mm between each voxel of the core and where there and back takes it; (K, J, I), else 0.

    The way back starts from the inverse of the rigid part and runs up to the middle level.
    """
    deformation, grid = outcome.deformation, outcome.grid
    _, core = images.region_on(grid)
    points = grid.points(core)
    displacement = deformation.lattice.evaluate(deformation.control_mm, grid)[:, core].T.astype(np.float64)
    there = deformation.map_points(points, displacement)
    onto, moved = mask_of_points(there, _BACK_SPACING_MM)
    swapped = Prepared(
        images.moving, images.fixed, images.moving_usable, images.fixed_usable, onto, moved, images.rim_mm
    )
    start = np.linalg.inv(deformation.rigid).astype(np.float64)
    back = register_deformable(swapped, start, settings.up_to_middle(), progress, with_error=False).deformation
    returned = back.map_points(there, back.displacement_at(there))
    distance = np.zeros(grid.shape, dtype=np.float32)
    distance[core] = np.linalg.norm(returned - points, axis=1)
    return distance


def signs_of(
    outcome: Outcome, inverse_mm: FloatArray, where: BoolArray, agreement: LiverAgreement | None
) -> Signs | None:
    """The signs of error in the voxels of `where` (on the outcome's grid); None where there are none."""
    if not where.any():
        return None
    deformation, grid = outcome.deformation, outcome.grid
    weight = outcome.weight[where]
    total = float(weight.sum())
    correlation = float((weight * outcome.local_correlation[where]).sum()) / total if total > 0 else 0.0
    jacobian = jacobian_determinant(deformation.lattice.gradient(deformation.control_mm, grid))[where]
    low, high = np.maximum(np.percentile(jacobian, (1, 99)), 0.01)
    length = np.linalg.norm(deformation.lattice.evaluate(deformation.control_mm, grid)[:, where], axis=0)
    return Signs(
        float(outcome.error_mm[where].mean()),
        float(inverse_mm[where].mean()),
        max(correlation, 0.0),
        float(weight.mean()),
        _UNKNOWN_SURFACE_MM if agreement is None else max(agreement.surface_distance_mm, 0.0),
        float(np.log(high / low)),
        float(length.mean()),
    )


def near_tissue(inside: BoolArray, outcome: Outcome, core: BoolArray) -> BoolArray:
    """Voxels of the core within 20 mm of those of a mask, these included."""
    if not inside.any():
        return inside
    return core & (ndimage.distance_transform_edt(~inside) * outcome.grid.spacing_mm <= _NEAR_MM)
