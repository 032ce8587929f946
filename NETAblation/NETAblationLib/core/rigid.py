"""Rigid start of a fusion: mutual information from several starts, coarse to fine.

Mattes mutual information (Mattes et al., IEEE Trans Med Imaging 2003;22:120) on isotropic
grids, over the liver and its surroundings or the body. One thread and all voxels of the mask,
so that the same input gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import frames
from .errors import GeometryError
from .frames import Matrix, Points
from .progress import ProgressCallback, silent
from .working_grids import SampledImage, WorkingGrid, resample_mask

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: A patient lies on the same table before and after: a larger turn than this, in degrees, is
#: taken for a false optimum. No published source; user-set.
MAX_ROTATION_DEGREES = 35.0
#: Voxel edges of the coarse and the fine pass, in mm, and the gray value bins. User-set.
_SPACINGS_MM = (8.0, 4.0)
_BINS = 40
#: Share of the fixed region that has to land in the moving image. User-set.
_MIN_OVERLAP_FRACTION = 0.25
#: Shifts along the body, in mm, tried from starts that are not centers of livers: scans of the
#: same patient begin at other heights. User-set.
_AXIAL_SHIFTS_MM = (0.0, -45.0, 45.0, -90.0, 90.0)
_STARTS_KEPT = 3


@dataclass(frozen=True)
class RigidResult:
    """The (4, 4) matrix from fixed to moving RAS, its mutual information and its rotation."""

    fixed_to_moving: Matrix
    mutual_information: float
    rotation_degrees: float
    starts_tried: int


def register_rigid(
    fixed: SampledImage,
    moving: SampledImage,
    fixed_region: tuple[WorkingGrid, BoolArray],
    starts: Sequence[tuple[Points, Points]],
    *,
    search_along_body: bool,
    progress: ProgressCallback = silent,
) -> RigidResult:
    """Find the rigid motion that maps the fixed region, a mask on a grid, into the moving image.

    `starts` are pairs of points (3,) of the fixed and the moving frame that may correspond.
    Raises GeometryError where no start lets the images overlap.
    """
    grid, region = fixed_region
    pivot = grid.points(region).mean(axis=0)
    moving_box = _box(moving)
    coarse = _Pass(fixed, moving, grid, region, moving_box, _SPACINGS_MM[0])
    candidates = []
    for fixed_point, moving_point in starts:
        for shift in _AXIAL_SHIFTS_MM if search_along_body else (0.0,):
            start = _start(pivot, moving_point - fixed_point + np.array([0.0, 0.0, shift]))
            candidates.append((coarse.mutual_information(start), start))
    tried = len(candidates)
    candidates = sorted((c for c in candidates if np.isfinite(c[0])), key=lambda c: -c[0])[:_STARTS_KEPT]
    if not candidates:
        raise GeometryError(
            "fixed and moving image do not overlap from any start: check that both show the same part of the body"
        )
    refined = []
    for number, (_, start) in enumerate(candidates):
        progress(0.1 + 0.5 * number / len(candidates), "aligning rigidly")
        refined.append(coarse.optimize(start, step_mm=4.0))
    best = max([*refined, *candidates], key=lambda c: c[0])[1]
    progress(0.6, "aligning rigidly")
    fine = _Pass(fixed, moving, grid, region, moving_box, _SPACINGS_MM[1])
    value, transform = fine.optimize(best, step_mm=1.5)
    progress(1.0, "aligned rigidly")
    return RigidResult(_ras_matrix(transform), value, rotation_degrees(_ras_matrix(transform)), tried)


def best_rigid_fit(points: Points, targets: Points, weights: FloatArray | None = None) -> Matrix:
    """The (4, 4) rigid matrix that maps points (N, 3) nearest to targets (N, 3), least squares.

    Kabsch, Acta Cryst 1976;A32:922.
    """
    w = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    center, target_center = w @ points, w @ targets
    u, _, vt = np.linalg.svd((points - center).T @ ((targets - target_center) * w[:, None]))
    turn = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = target_center - turn @ center
    return matrix


def rotation_degrees(matrix: Matrix) -> float:
    """The angle of the rotation in a (4, 4) rigid matrix."""
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))


class _Pass:
    """Both images on grids of one voxel size, with their masks, and the metric between them."""

    def __init__(
        self,
        fixed: SampledImage,
        moving: SampledImage,
        grid: WorkingGrid,
        region: BoolArray,
        moving_box: tuple[Points, Points],
        spacing_mm: float,
    ) -> None:
        half = 0.5 * grid.spacing_mm
        corners = grid.points(region)
        fixed_grid = WorkingGrid.over(corners.min(axis=0) - half, corners.max(axis=0) + half, spacing_mm)
        values, usable = fixed.sample(fixed_grid.points())
        mask = resample_mask(region, grid, fixed_grid) & (usable.reshape(fixed_grid.shape) > 0.5)
        moving_grid = WorkingGrid.over(*moving_box, spacing_mm)
        moving_values, moving_usable = moving.sample(moving_grid.points())
        self._points = fixed_grid.points(mask)
        self._moving = moving
        self._fixed_image = fixed_grid.image(values.reshape(fixed_grid.shape))
        self._moving_image = moving_grid.image(moving_values.reshape(moving_grid.shape))
        self._method = sitk.ImageRegistrationMethod()
        self._method.SetNumberOfThreads(1)
        self._method.SetNumberOfWorkUnits(1)  # several would sum in an order that changes
        self._method.SetMetricAsMattesMutualInformation(_BINS)
        self._method.SetMetricSamplingStrategy(self._method.NONE)
        self._method.SetMetricFixedMask(fixed_grid.image(mask.astype(np.uint8)))
        self._method.SetMetricMovingMask(
            moving_grid.image((moving_usable.reshape(moving_grid.shape) > 0.5).astype(np.uint8))
        )
        self._method.SetInterpolator(sitk.sitkLinear)

    def mutual_information(self, start: sitk.Euler3DTransform) -> float:
        """Its value; minus infinity where too little of the fixed region lands in the moving image."""
        if not self._is_plausible(start):
            return -np.inf
        self._method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
        try:
            return -self._method.MetricEvaluate(self._fixed_image, self._moving_image)
        except RuntimeError:  # ITK: all samples outside
            return -np.inf

    def optimize(self, start: sitk.Euler3DTransform, *, step_mm: float) -> tuple[float, sitk.Euler3DTransform]:
        """Climb from a start; the start itself where the climb ends at an implausible place."""
        self._method.SetOptimizerAsRegularStepGradientDescent(
            step_mm, 0.02, 80, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
        )
        self._method.SetOptimizerScalesFromPhysicalShift()
        self._method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
        before = self.mutual_information(start)
        try:
            found = sitk.Euler3DTransform(
                sitk.CompositeTransform(self._method.Execute(self._fixed_image, self._moving_image)).GetNthTransform(0)
            )
        except RuntimeError:
            return before, start
        after = self.mutual_information(found)
        return (after, found) if after >= before else (before, start)

    def _is_plausible(self, transform: sitk.Euler3DTransform) -> bool:
        matrix = _ras_matrix(transform)
        _, usable = self._moving.sample(frames.apply_matrix(matrix, self._points))
        return (
            rotation_degrees(matrix) <= MAX_ROTATION_DEGREES and float(np.mean(usable > 0.5)) >= _MIN_OVERLAP_FRACTION
        )


def _start(pivot_ras_mm: Points, translation_ras_mm: Points) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(frames.flip_lps_ras(pivot_ras_mm).tolist())
    transform.SetTranslation(frames.flip_lps_ras(translation_ras_mm).tolist())
    return transform


def _ras_matrix(transform: sitk.Euler3DTransform) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return frames.lps_matrix_from_ras(matrix)


def _box(image: SampledImage) -> tuple[Points, Points]:
    corners = (
        np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in image.values.shape[::-1]]), dtype=np.float64).reshape(3, -1).T
    )
    points = frames.apply_matrix(np.linalg.inv(image.ras_to_index).astype(np.float64), corners)
    return points.min(axis=0), points.max(axis=0)
