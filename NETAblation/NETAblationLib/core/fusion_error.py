"""How far off a fusion is, estimated without landmarks, and what to think of it.

Signs of error (of half samples, of the way back, of the local correlation, of the livers, of the
deformation itself and, where they are known, of the vessels) are joined by a log-linear model whose weights
were fitted to pairs with an exactly known deformation (Testing/benchmarks/bench_fusion_error.py). The bound
is the estimate times the factor below which 90 % of the held-out truths stayed.
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
    `jacobian_spread` the logarithm of the 99th over the 1st percentile of the Jacobian,
    `displacement_mm` the mean beyond the rigid part, and `vessel_mm` the distance of the vessels' middles, None
    where they are not known in both images.
    """

    half_sample_mm: float
    inverse_mm: float
    correlation: float
    usable_fraction: float
    surface_mm: float
    jacobian_spread: float
    displacement_mm: float
    vessel_mm: float | None = None

    def terms(self) -> FloatArray:
        """The model's input (8,): 1, then each sign but the vessels so that more of it means more error."""
        values = np.array(astuple(self)[:-1], dtype=np.float64)
        half, inverse, surface, displacement = np.log(np.maximum(values[[0, 1, 4, 6]], _SMALLEST_MM) / _SMALLEST_MM)
        return np.array([1.0, half, inverse, 1 - values[2], 1 - values[3], surface, values[5], displacement])


@dataclass(frozen=True)
class WithVessels:
    """How the distance of the vessels' middles corrects an estimate: weights of logarithms, in mm.

    They are those of 1, of the estimate without them, and of the distance; `bound_factor` is that of what comes of it.
    """

    constant: float
    of_estimate: float
    of_distance: float
    bound_factor: float


@dataclass(frozen=True)
class ErrorModel:
    """Weights (8,) of `Signs.terms` for the logarithm of the error in mm, and the bound's factor.

    `vessels` is for fusions with vessels of both images. Nothing is estimated below `least_mm`, which 95 % of the
    errors that it was fitted to exceed.
    """

    weights: tuple[float, ...]
    bound_factor: float
    least_mm: float
    vessels: WithVessels | None = None

    def log_estimate(self, signs: Signs) -> float:
        """The logarithm of the likeliest mean error in mm, as the vessels do not know of it."""
        return float(np.dot(self.weights, signs.terms()))

    def estimate_mm(self, signs: Signs) -> float:
        """The likeliest mean error."""
        log_mm, model = self.log_estimate(signs), self.vessels
        if model is not None and signs.vessel_mm is not None:
            log_distance = np.log(max(signs.vessel_mm, _SMALLEST_MM))
            log_mm = model.constant + model.of_estimate * log_mm + model.of_distance * float(log_distance)
        return max(float(np.exp(log_mm)), self.least_mm)

    def bound_mm(self, signs: Signs) -> float:
        """What 90 % of such errors stay below."""
        model = self if self.vessels is None or signs.vessel_mm is None else self.vessels
        return model.bound_factor * self.estimate_mm(signs)


#: Fitted by the benchmark of the fusion's error to 115 pairs, for the liver and, in 106 of them, for the tissue near a
#: lesion; 102 and 94 have vessels of both images. Held out (half of the anatomies), 91 % and 96 % of the truths were
#: below the bound; rank correlation 0.91 and 0.80.
LIVER_MODEL = ErrorModel(
    (-6.0775, 1.4827, 0.0, 0.6029, 0.0, 0.0, 0.8418, 0.0386), 1.368, 0.31, WithVessels(-0.1265, 0.8689, 0.395, 1.338)
)
LESION_MODEL = ErrorModel(
    (-4.577, 0.7628, 0.2606, 0.1822, 0.1747, 0.0063, 0.9549, 0.0757),
    1.891,
    0.43,
    WithVessels(-0.096, 0.8984, 0.2572, 1.818),
)


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
    outcome: Outcome,
    inverse_mm: FloatArray,
    where: BoolArray,
    agreement: LiverAgreement | None,
    vessel_mm: float | None,
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
        vessel_mm,
    )


def near_tissue(inside: BoolArray, outcome: Outcome, core: BoolArray) -> BoolArray:
    """Voxels of the core within 20 mm of those of a mask, these included."""
    if not inside.any():
        return inside
    return core & (ndimage.distance_transform_edt(~inside) * outcome.grid.spacing_mm <= _NEAR_MM)
