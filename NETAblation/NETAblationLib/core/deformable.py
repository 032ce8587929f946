"""Deformable registration: a free-form displacement that maximizes local correlation.

Gauss-Newton steps on the squared local correlation of fixed and moving image with bending
energy as the only prior, coarse to fine. Unlike the forces of demons, each step solves for all
voxels together: flat or excluded tissue takes part in the motion of its surroundings instead of
holding it back. A step that would fold the field is solved again with a stiffer prior.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import frames
from .frames import Matrix, Points
from .freeform import Lattice, jacobian_determinant, solve
from .fusion_inputs import Prepared
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
    levels: tuple[Level, ...] = (Level(6.0, 12.0, 40.0, 8), Level(4.0, 9.0, 15.0, 5), Level(2.5, 6.0, 15.0, 4))
    smoothing_voxels: float = 0.7
    noise_floor: float = 4.0
    membrane_length_mm: float = 200.0
    min_jacobian: float = 0.15

    def coarse(self) -> Settings:
        """The same with the coarsest level only."""
        return replace(self, levels=self.levels[:1])

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return asdict(self)


#: A voxel counts where at least this share of what it is sampled from may be used.
_MIN_USABLE = 0.95
#: Voxel edge at which folding is looked for, in mm: six to a control spacing.
_JACOBIAN_SPACING_MM = 4.0
_STIFFENING = 4.0
_MAX_STIFFENINGS = 5
#: The estimated error holds the change that a prior this much softer makes.
_SOFTENING = 8.0
#: The true root mean square error was 1.3 to 2.0 times the raw estimate, on two digital patients
#: and three real CTs with a known motion (own measurement).
_ERROR_CALIBRATION = np.float32(1.7)
#: A mean step in the region below this, in mm, ends a level.
_CONVERGED_MM = 0.01
#: Blocks that are left out by halves to see how far the result depends on them, in mm.
_BLOCK_MM = 20.0


@dataclass(frozen=True)
class Deformation:
    """u on a lattice, before the rigid part: T(x) = rigid(x + u(x)), fixed to moving, RAS."""

    rigid: Matrix
    lattice: Lattice
    control_mm: FloatArray

    def map_points(self, points_ras_mm: Points, displacement_mm: Points) -> Points:
        """T of points (N, 3) with their displacement (N, 3) already looked up."""
        return frames.apply_matrix(self.rigid, points_ras_mm + displacement_mm)


@dataclass(frozen=True)
class Outcome:
    """The deformation, with the local correlation of the region for the rigid part and for all."""

    deformation: Deformation
    rigid_correlation: float
    correlation: float
    error_mm: FloatArray
    grid: WorkingGrid
    usable_fraction: float
    stiffened: int


def register_deformable(
    images: Prepared,
    rigid: Matrix,
    settings: Settings,
    progress: ProgressCallback = silent,
) -> Outcome:
    """Register within the region of `images`, from a rigid (4, 4) start; see the module's head."""
    lower, upper = images.region_box_ras_mm
    lattice = Lattice.around(lower, upper, settings.lattice_spacing_mm)
    control = np.zeros((3, *lattice.shape), dtype=np.float32)
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
    error_mm = work.half_sample_error(found, control, stiffness)
    return Outcome(
        Deformation(rigid, lattice, control),
        rigid_correlation,
        found.mean_correlation(work.core),
        error_mm,
        work.grid,
        float((found.weight * work.core).sum() / work.core.sum()),
        stiffened,
    )


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

    def step(self, found: LocalMatch, control: FloatArray, stiffness: float) -> tuple[FloatArray, float, float, int]:
        """One step: new control vectors, its mean length, the stiffness used and how often it was raised."""
        tensor, force = self._terms(found)
        normal = self._lattice.normal_matrix(tensor, self.grid)
        pull = self._lattice.gather(force, self.grid)
        for retry in range(_MAX_STIFFENINGS):
            change = self._solve(normal, pull, control, stiffness)
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
            normal = self._lattice.normal_matrix(2 * half * tensor, self.grid)
            change = self._solve(normal, self._lattice.gather(2 * half * force, self.grid), control, stiffness)
            squared += (self._lattice.evaluate(change, self.grid) ** 2).sum(axis=0)
        squared /= len(splits)
        normal, pull = self._lattice.normal_matrix(tensor, self.grid), self._lattice.gather(force, self.grid)
        change = self._solve(normal, pull, control, stiffness / _SOFTENING)
        squared += (self._lattice.evaluate(change, self.grid) ** 2).sum(axis=0)
        return _ERROR_CALIBRATION * np.sqrt(squared)

    def _terms(self, found: LocalMatch) -> tuple[FloatArray, FloatArray]:
        tensor, force = gauss_newton_terms(found, self.grid.spacing_mm)
        volume = np.float32(self.grid.spacing_mm**3)
        return tensor * volume, force * volume

    def _solve(self, normal: Any, pull: FloatArray, control: FloatArray, stiffness: float) -> FloatArray:
        energy = self._energy * np.float32(stiffness)
        restoring = (energy @ control.reshape(3, -1).T).T.reshape(control.shape)
        return solve(normal, energy, pull - restoring)

    def _smallest_jacobian(self, control: FloatArray) -> float:
        return float(jacobian_determinant(self._lattice.gradient(control, self._folding_grid)).min())
