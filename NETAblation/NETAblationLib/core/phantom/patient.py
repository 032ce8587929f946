"""The digital patient: images before and after ablation, and the exact truth about them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..errors import InputError
from ..progress import ProgressCallback, silent, span
from .ablation import coordinates_before, paint_zone
from .deformation import Deformation
from .geometry import PatientGeometry, make_geometry
from .grids import Grid
from .masks import PatientMasks
from .metastasis import PhantomLesion
from .noise import CorrelatedNoise
from .painting import Painter, slabs
from .vessels import VesselTree

Array = npt.NDArray[np.float64]

#: Standard deviation of the noise in HU unless set: the two real CTs of the shared data have
#: 10 to 20 HU in the liver.
DEFAULT_NOISE_HU = 12.0

_THREADS = 2
_FIELD_SPACING_MM = 4.0


@dataclass(frozen=True)
class _Size:
    pre_size: tuple[int, int, int]
    post_size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    center_ras_mm: tuple[float, float, float]
    slab_slices: int


SIZES = {
    "small": _Size((176, 132, 112), (178, 136, 108), (2.0, 2.0, 2.0), (0.0, -12.0, -12.0), 28),
    "standard": _Size((512, 512, 180), (512, 512, 172), (0.75, 0.75, 1.5), (0.0, -16.0, -14.0), 8),
}


@dataclass(frozen=True)
class DigitalPatient:
    """Images before (`arterial`, `portal`) and after (`post`) ablation, int16 HU, and the truth.

    `masks` lie on the grid before ablation. `pre_to_post` and `post_to_pre` are exact, also for
    points outside the images.
    """

    size: str
    seed: int
    noise_hu: float
    arterial: sitk.Image = field(repr=False)
    portal: sitk.Image = field(repr=False)
    post: sitk.Image = field(repr=False)
    masks: PatientMasks = field(repr=False)
    lesions: tuple[PhantomLesion, ...]
    geometry: PatientGeometry = field(repr=False)
    pre_grid: Grid
    post_grid: Grid

    @property
    def deformation(self) -> Deformation:
        """The known motion, with its breathing and rigid parts."""
        return self.geometry.deformation

    @property
    def vessel_trees(self) -> tuple[VesselTree, VesselTree]:
        """The portal and the hepatic venous tree, with centerlines and radii before ablation."""
        return self.geometry.portal, self.geometry.hepatic

    @property
    def short_lesion(self) -> PhantomLesion:
        """The lesion whose zone is deliberately short of margin."""
        return next(lesion for lesion in self.lesions if lesion.is_short)

    def pre_to_post(self, points_ras_mm: npt.ArrayLike) -> Array:
        """Where points (N, 3) RAS mm of the image before lie in the image after."""
        return self.deformation.pre_to_post(points_ras_mm)

    def post_to_pre(self, points_ras_mm: npt.ArrayLike) -> Array:
        """The inverse of `pre_to_post`, to 1e-6 mm."""
        return self.deformation.post_to_pre(points_ras_mm)

    def pre_to_post_transform(self, spacing_mm: float = 3.0) -> sitk.Transform:
        """The motion as a displacement field over the image before and 20 mm around it.

        It maps points before (fixed) to points after (moving), as ITK's resampling wants it.
        """
        lower, upper = _bounds(self.pre_grid)
        return self.deformation.transform(lower - 20.0, upper + 20.0, spacing_mm=spacing_mm, inverse=False)

    def post_to_pre_transform(self, spacing_mm: float = 3.0) -> sitk.Transform:
        """The inverse motion as a displacement field over the image after and 20 mm around it."""
        lower, upper = _bounds(self.post_grid)
        return self.deformation.transform(lower - 20.0, upper + 20.0, spacing_mm=spacing_mm, inverse=True)

    @property
    def post_liver(self) -> sitk.Image:
        """The liver on the grid after ablation (zones included), carried there by the motion."""
        mask = self.post_grid.empty_mask()
        corners = self.geometry.liver.inner_points_ras_mm
        moved = self.pre_to_post(corners)
        region = self.post_grid.region(moved.min(axis=0) - 14.0, moved.max(axis=0) + 14.0)
        if region is not None:
            for start, stop in slabs(region[0].stop - region[0].start, 16):
                part = (slice(region[0].start + start, region[0].start + stop), region[1], region[2])
                mask[part] = self.geometry.torso.liver(*coordinates_before(self.deformation, self.post_grid, part)) < 0
        return self.post_grid.image(mask)


def make_patient(
    size: str = "small", seed: int = 0, *, noise_hu: float = DEFAULT_NOISE_HU, progress: ProgressCallback = silent
) -> DigitalPatient:
    """Make the digital patient of a seed.

    `size` is "small" (2 mm voxels, for tests) or "standard" (512 x 512 x 180, 0.75 x 0.75 x 1.5
    mm); both show the same patient. `noise_hu` is the standard deviation of the noise. Raises
    InputError for an unknown size, a negative or non-finite noise or a seed that is no whole
    number from 0 up.
    """
    if size not in SIZES:
        raise InputError(f"digital patient: size '{size}' is unknown, choose one of {', '.join(SIZES)}")
    if not np.isfinite(noise_hu) or noise_hu < 0:
        raise InputError(f"digital patient: noise_hu must be 0 HU or more, got {noise_hu}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"digital patient: the seed must be a whole number from 0 up, got {seed!r}")
    seed = int(seed)
    progress(0.0, "drawing the anatomy")
    geometry = make_geometry(seed)
    chosen = SIZES[size]
    pre_grid = Grid(chosen.pre_size, chosen.spacing_mm, chosen.center_ras_mm)
    post_grid = _post_grid(geometry, chosen)
    arterial, portal, base, labels = _paint_before(geometry, pre_grid, chosen, noise_hu, span(progress, 0.1, 0.7))
    post = _paint_after(geometry, base, pre_grid, post_grid, chosen, noise_hu, span(progress, 0.7, 1.0))
    lesions = tuple(
        PhantomLesion(
            lesion.name,
            lesion.kind,
            lesion.tumor,
            lesion.zone,
            lesion.beside,
            lesion.shortfall_direction_ras,
            geometry,
            pre_grid,
            post_grid,
        )
        for lesion in geometry.lesions
        if lesion.zone is not None
    )
    progress(1.0, "digital patient ready")
    masks = PatientMasks(labels, pre_grid)
    return DigitalPatient(
        size, seed, float(noise_hu), arterial, portal, post, masks, lesions, geometry, pre_grid, post_grid
    )


def _post_grid(geometry: PatientGeometry, size: _Size) -> Grid:
    """A grid of its own around the moved patient, shifted by a few mm, with the liver inside."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([geometry.seed, 55])))
    liver = geometry.deformation.pre_to_post(geometry.liver.inner_points_ras_mm)
    body = geometry.deformation.pre_to_post(np.array([[0.0, -12.0, 0.0]]))[0]
    extent = 0.5 * np.array(size.post_size) * np.array(size.spacing_mm)
    shift = rng.uniform(-4, 4, 3) + np.array([0.3, 0.2, 0.1])
    center = np.array([body[0], body[1], 0.5 * (liver[:, 2].min() + liver[:, 2].max())]) + shift
    slack = extent[2] - 0.5 * np.ptp(liver[:, 2]) - 8.0
    center[2] -= np.clip(shift[2], -slack, slack) * 0.5
    r, a, s = (float(v) for v in center)
    return Grid(size.post_size, size.spacing_mm, (r, a, s))


def _paint_before(
    geometry: PatientGeometry, grid: Grid, size: _Size, noise_hu: float, progress: ProgressCallback
) -> tuple[sitk.Image, sitk.Image, npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    painter = Painter(geometry, grid)
    noises = [CorrelatedNoise(grid, noise_hu, (geometry.seed, stream)) for stream in (1, 2)]
    arterial, portal, base = (np.empty(grid.shape, np.int16) for _ in range(3))
    labels = np.empty(grid.shape, np.uint8)

    def paint(start: int, stop: int) -> None:
        slab = painter.slab(start, stop)
        labels[start:stop] = slab.labels
        for target, channel, noise in zip((arterial, portal), slab.channels, noises, strict=False):
            channel += noise.slices(start, stop)
            target[start:stop] = _as_hu(channel)
        base[start:stop] = _as_hu(slab.channels[2])

    _in_threads(paint, grid, size, progress, "painting the images before ablation")
    return grid.image(arterial), grid.image(portal), base, labels


def _paint_after(
    geometry: PatientGeometry,
    base: npt.NDArray[np.int16],
    pre_grid: Grid,
    post_grid: Grid,
    size: _Size,
    noise_hu: float,
    progress: ProgressCallback,
) -> sitk.Image:
    progress(0.0, "moving the patient")
    lower, upper = _bounds(post_grid)
    transform = geometry.deformation.transform(lower - 5.0, upper + 5.0, spacing_mm=_FIELD_SPACING_MM, inverse=True)
    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(_THREADS)
    resampler.SetSize(post_grid.size)
    resampler.SetOutputSpacing(post_grid.spacing_mm)
    resampler.SetOutputOrigin(post_grid.origin_lps_mm)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(-1000)
    resampler.SetTransform(transform)
    post = sitk.GetArrayFromImage(resampler.Execute(pre_grid.image(base)))
    for number, lesion in enumerate(geometry.lesions):
        progress(0.4 + 0.3 * number / len(geometry.lesions), "ablating")
        paint_zone(post, lesion, geometry, post_grid, number)
    noise = CorrelatedNoise(post_grid, noise_hu, (geometry.seed, 3))

    def add_noise(start: int, stop: int) -> None:
        post[start:stop] = _as_hu(post[start:stop] + noise.slices(start, stop))

    _in_threads(add_noise, post_grid, size, span(progress, 0.7, 1.0), "adding noise")
    return post_grid.image(post)


def _in_threads(
    work: Callable[[int, int], None], grid: Grid, size: _Size, progress: ProgressCallback, message: str
) -> None:
    """Run work(start, stop) over all slabs on two threads; a cancelling callback stops the rest."""
    parts = list(slabs(grid.size[2], size.slab_slices))
    with ThreadPoolExecutor(_THREADS) as pool:
        pending = [pool.submit(work, start, stop) for start, stop in parts]
        try:
            for done, future in enumerate(pending):
                progress(done / len(parts), message)
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _as_hu(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Whole HU in the range of a CT."""
    return np.clip(np.rint(values), -1024, 3071).astype(np.int16)


def _bounds(grid: Grid) -> tuple[Array, Array]:
    center = np.array(grid.center_ras_mm)
    half = 0.5 * np.array(grid.size) * np.array(grid.spacing_mm)
    return center - half, center + half
