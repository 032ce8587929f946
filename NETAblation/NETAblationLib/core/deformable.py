"""Deformable registration: a free-form displacement that maximizes local correlation.

Gauss-Newton steps on the squared local correlation of fixed and moving image with bending
energy as the only prior, coarse to fine. Unlike the forces of demons, each step solves for all
voxels together: flat or excluded tissue takes part in the motion of its surroundings instead of
holding it back. A step that would fold the field is solved again with a stiffer prior.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import frames
from .errors import InputError
from .frames import Matrix, Points
from .freeform import Lattice, jacobian_determinant, solve
from .fusion_inputs import Prepared
from .kept_volumes import KeptVolumes
from .local_correlation import LocalMatch, gauss_newton_terms, match
from .progress import ProgressCallback, silent
from .working_grids import SampledImage, WorkingGrid, prepare

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """One resolution: voxel edge, window (standard deviation) and stiffness of the bending prior."""

    spacing_mm: float
    window_mm: float
    stiffness: float
    iterations: int


@dataclass(frozen=True)
class Settings:
    """How the deformable part works. No published source; tuned on digital patients and real CT."""

    lattice_spacing_mm: float = 28.0
    levels: tuple[Level, ...] = (
        Level(6.0, 12.0, 40.0, 8),
        Level(4.0, 9.0, 15.0, 5),
        Level(2.5, 6.0, 15.0, 4),
        Level(2.0, 5.0, 10.0, 4),
    )
    smoothing_voxels: float = 0.7
    noise_floor: float = 4.0
    membrane_length_mm: float = 200.0
    min_jacobian: float = 0.15

    @classmethod
    def preset(cls, name: str) -> Settings:
        """fast (voxels of 4 mm), standard (2 mm) or fine (2 mm and closer knots). Raises InputError else."""
        if name not in PRESETS:
            raise InputError(f"fusion: preset '{name}' is unknown, choose one of {', '.join(PRESETS)}")
        return PRESETS[name]

    @property
    def finest_smoothing_mm(self) -> float:
        """How much images are smoothed, at the least."""
        return self.smoothing_voxels * min(level.spacing_mm for level in self.levels)

    def affordable(self, volume_mm3: float) -> Settings:
        """The same without the levels that a region is too large for; the two coarsest stay."""
        finer = [level for level in self.levels[2:] if volume_mm3 <= _MOST_VOXELS * level.spacing_mm**3]
        return replace(self, levels=(*self.levels[:2], *finer))

    def up_to_middle(self) -> Settings:
        """The same with the two coarsest levels only."""
        return replace(self, levels=self.levels[:2])

    def from_middle(self) -> Settings:
        """The same with the levels that follow the two coarsest, at least one."""
        return replace(self, levels=self.levels[min(2, len(self.levels) - 1) :])

    def coarse(self) -> Settings:
        """The same with the coarsest level only."""
        return replace(self, levels=self.levels[:1])

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return asdict(self)


_LEVELS = Settings.levels
#: Settings by name: what they cost and reach is in the benchmark of fusion.
PRESETS = {
    "fast": Settings(levels=_LEVELS[:2]),
    "standard": Settings(),
    "fine": Settings(lattice_spacing_mm=22.0),
}
#: A level finer than the second has no more voxels than this in its region: a large liver at 2 mm has half of it,
#: a whole body would take minutes. User-set.
_MOST_VOXELS = 1_000_000
#: A voxel counts where at least this share of what it is sampled from may be used.
_MIN_USABLE = 0.95
#: Voxel edge at which folding is looked for, in mm: six to a control spacing.
_JACOBIAN_SPACING_MM = 4.0
#: How exactly a step is solved, as a share of the pull; later steps mend what is left.
_STEP_TOLERANCE = 1e-2
_STIFFENING = 4.0
_MAX_STIFFENINGS = 5
#: The estimated error holds the change that a prior this much softer makes.
_SOFTENING = 8.0
#: The true root mean square error was 1.3 to 2.0 times the raw estimate, on two digital patients
#: and three real CTs with a known motion (own measurement).
_ERROR_CALIBRATION = np.float32(1.7)
#: A mean step in the region below this, in mm, ends a level.
_CONVERGED_MM = 0.01
#: Weight of one landmark, and of a volume to be kept at the control point that changes it most, both relative
#: to the strongest pull of the image on any control point. User-set.
_LANDMARK_WEIGHT, _VOLUME_WEIGHT = 2.0, 1.0
#: Blocks that are left out by halves to see how far the result depends on them, in mm.
_BLOCK_MM = 20.0
#: Steps in which each side of the capsule goes where it alone would go.
_STEPS_APART = 3


@dataclass(frozen=True)
class Deformation:
    """u on a lattice, before the rigid part: T(x) = rigid(x + u(x)), fixed to moving, RAS."""

    rigid: Matrix
    lattice: Lattice
    control_mm: FloatArray

    def map_points(self, points_ras_mm: Points, displacement_mm: Points) -> Points:
        """T of points (N, 3) with their displacement (N, 3) already looked up."""
        return frames.apply_matrix(self.rigid, points_ras_mm + displacement_mm)

    def displacement_at(self, points_ras_mm: Points) -> Points:
        """u at points (N, 3), (N, 3)."""
        return np.asarray(self.lattice.at(points_ras_mm) @ self.control_mm.reshape(3, -1).T, dtype=np.float64)


@dataclass(frozen=True)
class Outcome:
    """The deformation, with the local correlation of the region for the rigid part and for all.

    `error_mm`, `local_correlation` and `weight` (0..1, what drives the fusion) lie on `grid`.
    `landmark_errors_mm` (N,) are those of landmarks that were left out, one after the other.
    """

    deformation: Deformation
    rigid_correlation: float
    correlation: float
    error_mm: FloatArray
    grid: WorkingGrid
    usable_fraction: float
    stiffened: int
    local_correlation: FloatArray
    weight: FloatArray
    landmark_errors_mm: FloatArray

    def without_deformation(self) -> Outcome:
        """The rigid part alone."""
        control = np.zeros_like(self.deformation.control_mm)
        return replace(
            self, deformation=replace(self.deformation, control_mm=control), correlation=self.rigid_correlation
        )


def register_deformable(
    images: Prepared,
    rigid: Matrix,
    settings: Settings,
    progress: ProgressCallback = silent,
    *,
    start: Deformation | None = None,
    with_error: bool = True,
) -> Outcome:
    """Register within the region of `images`, from a rigid (4, 4) start; see the module's head.

    `start` goes on from a deformation of the same region, lattice spacing and rigid part. Without
    `with_error` no error is estimated (all zero), which saves time.
    """
    lower, upper = images.region_box_ras_mm
    lattice = Lattice.around(lower, upper, settings.lattice_spacing_mm)
    control = np.zeros((3, *lattice.shape), dtype=np.float32) if start is None else start.control_mm
    total, done = sum(level.iterations for level in settings.levels), 0
    stiffened, rigid_correlation = 0, 0.0
    for number, level in enumerate(settings.levels):
        work = _Work(images, level, settings, lattice, rigid)
        if number == len(settings.levels) - 1:
            rigid_correlation = work.compare(np.zeros_like(control)).mean_correlation(work.core)
        stiffness = level.stiffness
        for iteration in range(level.iterations):
            progress((done + iteration) / total, f"deforming at {level.spacing_mm:g} mm")
            found = work.compare(control)
            control, step_mm, stiffness, retries = work.step(found, control, stiffness)
            stiffened += retries
            if step_mm < _CONVERGED_MM:
                break
        done += level.iterations
    progress(0.97, "estimating the error")
    found = work.compare(control)
    error_mm = np.zeros(work.grid.shape, dtype=np.float32)
    if with_error:
        error_mm = work.half_sample_error(found, control, stiffness)
    return Outcome(
        Deformation(rigid, lattice, control),
        rigid_correlation,
        found.mean_correlation(work.core),
        error_mm,
        work.grid,
        float((found.weight * work.core).sum() / work.core.sum()),
        stiffened,
        found.correlation,
        found.weight,
        work.left_out_landmark_errors(found, control, stiffness) if with_error else np.zeros(0),
    )


def gap_at_capsule_mm(images: Prepared, deformation: Deformation, settings: Settings) -> float:
    """How far apart core and rim go, on average over the rim, when each is registered without the other.

    Both start from a deformation that was found with them together. Where the core slides along what
    surrounds it, one smooth deformation is a compromise that each side leaves as soon as it may. It is
    looked at on the second level.
    """
    work = _Work(images, settings.levels[1], settings, deformation.lattice, deformation.rigid)
    rim = work.region & ~work.core
    if not rim.any():
        return 0.0
    apart = work.alone(rim, deformation.control_mm) - work.alone(work.core, deformation.control_mm)
    return float(np.linalg.norm(deformation.lattice.evaluate(apart, work.grid)[:, rim], axis=0).mean())


class _System(NamedTuple):
    """Normal matrix, pull (3, *lattice) and rows (M, 3, *lattice) of one Gauss-Newton step; see `freeform.solve`."""

    normal: sp.bsr_matrix
    pull: FloatArray
    rows: FloatArray


class _Work:
    """Both images at one level, and the steps on them."""

    def __init__(self, images: Prepared, level: Level, settings: Settings, lattice: Lattice, rigid: Matrix) -> None:
        self.grid = WorkingGrid.over(*images.region_box_ras_mm, level.spacing_mm)
        self.region, self.core = images.region_on(self.grid)
        self._level, self._settings, self._lattice, self._rigid = level, settings, lattice, rigid
        smoothing_mm = settings.smoothing_voxels * level.spacing_mm
        fixed: SampledImage = prepare(images.fixed, images.fixed_usable, smoothing_mm)
        values, usable = fixed.sample(self.grid.points())
        self._fixed = values.reshape(self.grid.shape)
        self._weight = (self.region & (usable.reshape(self.grid.shape) > _MIN_USABLE)).astype(np.float32)
        self._moving = prepare(images.moving, images.moving_usable, smoothing_mm)
        self._points = self.grid.points(self.region)
        self._fill = float(self._fixed[self.region].mean())
        bending, membrane = lattice.bending, lattice.membrane
        self._energy = bending + np.float32(1.0 / settings.membrane_length_mm**2) * membrane
        self._folding_grid = WorkingGrid.over(*lattice.box_ras_mm, _JACOBIAN_SPACING_MM)
        self._landmarks = images.landmarks
        if images.landmarks is not None:
            self._at_landmarks = lattice.at(images.landmarks.fixed_ras_mm).astype(np.float32)
            back = np.linalg.inv(rigid).astype(np.float64)
            self._pulls = frames.apply_matrix(back, images.landmarks.moving_ras_mm) - images.landmarks.fixed_ras_mm
        self._kept = KeptVolumes(images.kept, lattice, rigid)

    def compare(self, control: FloatArray) -> LocalMatch:
        """Local correlation with the moving image carried over by a displacement."""
        displacement = self._lattice.evaluate(control, self.grid)[:, self.region].T
        moved = frames.apply_matrix(self._rigid, self._points + displacement)
        values, usable = self._moving.sample(moved)
        moving = np.full(self.grid.shape, self._fill, dtype=np.float32)
        moving[self.region] = values
        weight = self._weight.copy()
        weight[self.region] *= usable > _MIN_USABLE
        window = self._level.window_mm / self.grid.spacing_mm
        return match(self._fixed, moving, weight, window, self._settings.noise_floor)

    def alone(self, part: BoolArray, control: FloatArray) -> FloatArray:
        """Control vectors after some steps on the voxels of a part (K, J, I) alone."""
        whole, self._weight = self._weight, self._weight * part
        stiffness = _STIFFENING * self._level.stiffness  # sliding is smooth along a side, noise is not
        for _ in range(_STEPS_APART):
            control, _, stiffness, _ = self.step(self.compare(control), control, stiffness)
        self._weight = whole
        return control

    def step(self, found: LocalMatch, control: FloatArray, stiffness: float) -> tuple[FloatArray, float, float, int]:
        """One step: new control vectors, its mean length, the stiffness used and how often it was raised."""
        tensor, force = self._terms(found)
        system = self._system(tensor, force, control)
        for retry in range(_MAX_STIFFENINGS):
            change = self._solve(system, control, stiffness, tolerance=_STEP_TOLERANCE)
            if self._smallest_jacobian(control + change) > self._settings.min_jacobian:
                length = np.linalg.norm(self._lattice.evaluate(change, self.grid)[:, self.core], axis=0)
                return control + change, float(length.mean()), stiffness, retry
            stiffness *= _STIFFENING
        return control, 0.0, stiffness, _MAX_STIFFENINGS

    def half_sample_error(self, found: LocalMatch, control: FloatArray, stiffness: float) -> FloatArray:
        """How far the result moves when it rests on half of the blocks: mm, (K, J, I).

        Balanced half samples (McCarthy, Rev Int Stat Inst 1969;37:239) of blocks that are larger
        than the correlation of noise; the root mean square over the halves estimates the
        standard error of the whole. What the prior smooths away is added: the change that a
        softer prior would make. An error that all blocks have in common does not show.
        """
        tensor, force = self._terms(found)
        parity = [np.floor(self.grid.coordinates(axis) / _BLOCK_MM).astype(int) % 2 for axis in range(3)]
        s, a, r = parity[0][:, None, None], parity[1][:, None], parity[2]
        squared = np.zeros(self.grid.shape, dtype=np.float32)
        splits = (s + a + r, s + a, a + r, s + r)
        for split in splits:
            half = np.broadcast_to(split % 2, self.grid.shape).astype(np.float32)
            system = self._system(2 * half * tensor, 2 * half * force, control)
            change = self._solve(system, control, stiffness)
            squared += (self._lattice.evaluate(change, self.grid) ** 2).sum(axis=0)
        squared /= len(splits)
        change = self._solve(self._system(tensor, force, control), control, stiffness / _SOFTENING)
        squared += (self._lattice.evaluate(change, self.grid) ** 2).sum(axis=0)
        return _ERROR_CALIBRATION * np.sqrt(squared)

    def left_out_landmark_errors(self, found: LocalMatch, control: FloatArray, stiffness: float) -> FloatArray:
        """How far each landmark (N,) is from its partner when all but it pull, in mm."""
        if self._landmarks is None:
            return np.zeros(0)
        tensor, force = self._terms(found)
        errors = []
        for left_out in range(len(self._pulls)):
            used = np.arange(len(self._pulls)) != left_out
            change = self._solve(self._system(tensor, force, control, used), control, stiffness)
            reached = self._at_landmarks[left_out] @ (control + change).reshape(3, -1).T
            errors.append(np.linalg.norm(self._pulls[left_out] - reached))
        return np.array(errors)

    def _system(
        self, tensor: FloatArray, force: FloatArray, control: FloatArray, landmarks_used: BoolArray | None = None
    ) -> _System:
        """What images, landmarks and volumes to be kept ask of the next step."""
        normal = self._lattice.normal_matrix(tensor, self.grid)
        pull = self._lattice.gather(force, self.grid)
        size = self._lattice.size
        scale = float(normal.diagonal().max(initial=0.0))
        if self._landmarks is not None:
            used = np.ones(len(self._pulls), dtype=bool) if landmarks_used is None else landmarks_used
            at = self._at_landmarks[used] * np.float32(np.sqrt(_LANDMARK_WEIGHT * scale))
            miss = self._pulls[used] - self._at_landmarks[used] @ control.reshape(3, size).T
            pull = pull + (at.T @ (miss * np.sqrt(_LANDMARK_WEIGHT * scale))).T.reshape(control.shape)
            normal = normal + sp.kron(at.T @ at, np.eye(3), format="bsr").astype(np.float32)
        changes, slopes = self._kept.changes(control)
        largest = np.abs(slopes).max(axis=(1, 2, 3, 4), initial=1e-9)
        weights = np.sqrt(_VOLUME_WEIGHT * scale) / largest
        rows = weights[:, None, None, None, None] * slopes
        pull = pull - np.tensordot(weights * changes, rows, axes=1)
        return _System(normal, pull.astype(np.float32), rows.astype(np.float32))

    def _terms(self, found: LocalMatch) -> tuple[FloatArray, FloatArray]:
        tensor, force = gauss_newton_terms(found, self.grid.spacing_mm)
        volume = np.float32(self.grid.spacing_mm**3)
        return tensor * volume, force * volume

    def _solve(self, system: _System, control: FloatArray, stiffness: float, tolerance: float = 1e-3) -> FloatArray:
        energy = self._energy * np.float32(stiffness)
        restoring = (energy @ control.reshape(3, -1).T).T.reshape(control.shape)
        return solve(system.normal, energy, system.pull - restoring, system.rows, tolerance=tolerance)

    def _smallest_jacobian(self, control: FloatArray) -> float:
        return float(jacobian_determinant(self._lattice.gradient(control, self._folding_grid)).min())
