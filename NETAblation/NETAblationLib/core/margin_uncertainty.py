"""How sure a measured margin is: the MAM and the coverage of shells as distributions.

The measured surfaces are off: the zone as a whole by the registration's error, both surfaces by the hand that drew
them, and by the voxels. A minimum over a surface with errors is smaller than the true one on average: the measured MAM
is too small, and errors added to it once more make it smaller still. How much smaller is what tells of the bias: with
the measured surfaces taken for true, errors are drawn, and what they do to the MAM is taken off the measured one (the
pivotal interval of the parametric bootstrap: Davison and Hinkley, Bootstrap Methods and their Application, Cambridge
1997, chapters 2 and 5). Coverages likewise. Errors are smooth Gaussian processes; they are small, so that a margin
changes by as much as the surfaces move along the zone's normal.

How often the interval holds the truth is shown by Testing/benchmarks/bench_margin_uncertainty.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import vtk
from scipy.linalg import cholesky
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .errors import InputError
from .margins import SHELLS_MM
from .robust_draws import REGISTRATION_ERROR_MM
from .robust_draws import Errors as PlacementErrors
from .robustness import Chance
from .surfaces import Surface, smooth_field_near

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Standard deviation of a drawn contour across the surface, in mm: 8 readers, 22 patients with liver metastases on MR,
#: Peltenburg et al. 2024, "Interobserver variation in tumor delineation of liver metastases using Magnetic Resonance
#: Imaging" (1.3 without outliers, range 0.6 to 2.3; 1.6 with). For zones no source was found: the same, user-set.
SEGMENTATION_SD_MM = 1.3
#: Distances over which the errors of registration and of contours are alike, in mm. No published source; user-set.
REGISTRATION_LENGTH_MM, SEGMENTATION_LENGTH_MM = 40.0, 10.0
#: Margins of which it is told how likely they are reached, in mm: contact, first shell, A0.
THRESHOLDS_MM = (0.0, 3.0, 5.0)
#: Standard deviation of the surface of a mask about the true one, as a share of half the voxel's diagonal, and the
#: distance over which it is alike in the same unit: with them the MAM of two masks scatters by 0.35 mm on voxels of
#: 2 mm, as it did about the truth (106 lesions of digital patients, own trial). User-set.
_VOXEL_SD_FRACTION, _VOXEL_LENGTH_FRACTION = 0.16, 2.0

#: Points of the tumor's surface that stand for it, spread evenly, and as many where the margin is least. User-set.
_NODES = 100
#: Points of the surface from which these are taken.
_CANDIDATES = 4_000
#: Points around the tumor on which the coverage of shells is told. User-set.
_SHELL_NODES = 5_000
#: How much wider than the drawn errors the distributions are made: measured surfaces are rougher than true ones and so
#: tell too much or too little of the bias. Own trial on 260 pairs of ellipsoids; the benchmark's cases are others.
_WIDENING = 1.15
#: 90 % of a normal distribution lies below so many standard deviations.
_NORMAL_90 = 1.2816
#: Largest error that may be given, in mm, and number of draws. User-set.
_MAX_ERROR_MM, _MAX_DRAWS = 30.0, 20_000

SOURCES = ("registration", "tumor_segmentation", "zone_segmentation", "voxel")


@dataclass(frozen=True)
class MarginErrors:
    """How far the measured surfaces may be off.

    `registration_mm` is the likeliest mean length of the registration's error near the lesion (mean TRE), and
    `registration_bound_90_mm` what that mean stays below with a probability of 90 % (None where it is known). The two
    `*_segmentation_sd_mm` are the standard deviation of each surface along its normal, `resolution_mm` half the
    diagonal of the coarser mask's voxel (:attr:`~.margins.MarginResult.resolution_mm`; 0 leaves the voxels out). The
    lengths say over which distance errors are alike. Raises InputError for what is negative, too large or not finite,
    for a length of 0 and for a bound below the mean.
    """

    registration_mm: float = REGISTRATION_ERROR_MM
    tumor_segmentation_sd_mm: float = SEGMENTATION_SD_MM
    zone_segmentation_sd_mm: float = SEGMENTATION_SD_MM
    resolution_mm: float = 0.0
    registration_length_mm: float = REGISTRATION_LENGTH_MM
    segmentation_length_mm: float = SEGMENTATION_LENGTH_MM
    registration_bound_90_mm: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in asdict(self).items():
            if name == "registration_bound_90_mm":
                if value is not None and not (np.isfinite(value) and value >= self.registration_mm):
                    raise InputError(f"margin errors: {name} {value} is not a number from {self.registration_mm} up")
            elif name.endswith("length_mm"):
                if not (np.isfinite(value) and value > 0):
                    raise InputError(f"margin errors: {name} {value} is not a number above 0")
            elif not (np.isfinite(value) and 0 <= value <= _MAX_ERROR_MM):
                raise InputError(f"margin errors: {name} {value} is not a number from 0 to {_MAX_ERROR_MM:g}")

    @property
    def registration_log_sd(self) -> float:
        """Standard deviation of the logarithm of the true mean error about that of `registration_mm`."""
        if self.registration_bound_90_mm is None or not self.registration_mm > 0:
            return 0.0
        return float(np.log(self.registration_bound_90_mm / self.registration_mm) / _NORMAL_90)

    def without(self, source: str) -> MarginErrors:
        """The same without one of SOURCES."""
        if source == "registration":
            return replace(self, registration_mm=0.0, registration_bound_90_mm=None)
        if source == "voxel":
            return replace(self, resolution_mm=0.0)
        return replace(self, **{f"{source}_sd_mm": 0.0})


@dataclass(frozen=True)
class MarginDistribution:
    """What the true margin may be, given the measured one and its errors.

    Percentiles are those over the draws ("p05", "p50", "p95"), so that "p05" to "p95" is the 90 % interval. `mam_mm`
    and `largest_source` are None, and `chances` (that the MAM is at least 0, 3 and 5 mm, by the threshold's text)
    empty, where all of the surface is subcapsular. A shell that does not exist has None. `width_without_mm` is the
    width of the MAM's interval were one of the sources of error gone; the largest source is that whose absence
    narrows it most, None where nothing is wrong at all.
    """

    draws: int
    seed: int
    errors: MarginErrors
    mam_mm: Mapping[str, float] | None
    chances: Mapping[str, Chance]
    shell_coverage_fraction: Mapping[str, Mapping[str, float] | None]
    width_without_mm: Mapping[str, float]
    largest_source: str | None

    @property
    def mam_interval_90_mm(self) -> list[float] | None:
        """The two ends of the MAM's 90 % interval; None where all of the surface is subcapsular."""
        return None if self.mam_mm is None else [self.mam_mm["p05"], self.mam_mm["p95"]]

    @property
    def probability_mam_at_least(self) -> dict[str, float] | None:
        """How likely the MAM is at least 0, 3 and 5 mm, by the threshold's text; None where it has no meaning."""
        return {name: chance.fraction for name, chance in self.chances.items()} or None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "draws": self.draws,
            "seed": self.seed,
            "errors": asdict(self.errors),
            "mam_mm": None if self.mam_mm is None else dict(self.mam_mm),
            "probability_mam_at_least_mm": {name: asdict(chance) for name, chance in self.chances.items()},
            "shell_coverage_fraction": {
                name: None if row is None else dict(row) for name, row in self.shell_coverage_fraction.items()
            },
            "mam_interval_width_without_mm": dict(self.width_without_mm),
            "largest_source": self.largest_source,
        }


def margin_distribution(
    surface: Surface,
    signed_margin_mm: npt.ArrayLike,
    zone_surface: Surface,
    *,
    is_evaluable: npt.ArrayLike | None = None,
    liver: sitk.Image | None = None,
    errors: MarginErrors | None = None,
    draws: int = 500,
    seed: int = 0,
) -> MarginDistribution:
    """What the true MAM and the true coverage of shells may be.

    `surface` is the tumor's with its measured `signed_margin_mm` (N,) and the flags `is_evaluable` (N,), all of it by
    default; `zone_surface` is the zone's in the same frame, `liver` the mask that shells are cut to, if any. The
    same seed gives the same numbers. Raises InputError for arrays of another length or that are not finite, an empty
    zone, a number of draws outside 20 to 20000 and a seed below 0.
    """
    errors = errors or MarginErrors()
    margin = np.asarray(signed_margin_mm, dtype=np.float64)
    count = len(surface.points_ras_mm)
    evaluable = np.ones(count, dtype=bool) if is_evaluable is None else np.asarray(is_evaluable, dtype=bool)
    _check(count, margin, evaluable, zone_surface, draws, seed)
    nodes = _Nodes.of(surface, margin, zone_surface, evaluable)
    found = nodes.drawn(errors, draws, seed)
    chances: dict[str, Chance] = {}
    mam, width_without, largest = None, {}, None
    if evaluable.any():
        measured_mm = float(margin[evaluable].min())
        mams = nodes.mam_mm(found, measured_mm)
        mam = _percentiles(mams)
        chances = {f"{threshold:g}": Chance.of(mams >= threshold) for threshold in THRESHOLDS_MM}
        for source in SOURCES:
            without = nodes.drawn(errors.without(source), draws, seed)
            width_without[source] = _width(_percentiles(nodes.mam_mm(without, measured_mm)))
        narrowest = min(SOURCES, key=lambda source: width_without[source])
        largest = narrowest if width_without[narrowest] < _width(mam) else None
    return MarginDistribution(
        draws=draws,
        seed=seed,
        errors=errors,
        mam_mm=mam,
        chances=chances,
        shell_coverage_fraction=_coverages(surface, zone_surface, liver, nodes, found),
        width_without_mm=width_without,
        largest_source=largest,
    )


def _check(count: int, margin: FloatArray, evaluable: BoolArray, zone: Surface, draws: int, seed: int) -> None:
    if margin.shape != (count,) or evaluable.shape != (count,) or not count:
        raise InputError(
            f"margin distribution: {count} surface points need as many margins and flags, got shapes {margin.shape} "
            f"and {evaluable.shape}; measure the margin first"
        )
    if not np.isfinite(margin).all():
        raise InputError("margin distribution: a margin is not a finite number; measure the margin again")
    if not len(zone.triangles):
        raise InputError("margin distribution: the zone has no surface")
    if isinstance(draws, bool) or not 20 <= draws <= _MAX_DRAWS:
        raise InputError(f"margin distribution: {draws} draws are not a number from 20 to {_MAX_DRAWS}")
    if seed < 0:
        raise InputError(f"margin distribution: the seed {seed} is not a whole number from 0 up")


# --- what is drawn --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """Errors (nodes, draws) in mm: what a margin gains where the tumor is drawn smaller, and the zone larger.

    What the voxels do to either surface stands for itself.
    """

    tumor_mm: FloatArray
    zone_mm: FloatArray
    tumor_voxels_mm: FloatArray
    zone_voxels_mm: FloatArray


@dataclass(frozen=True)
class _Nodes:
    """Points that stand for the tumor's surface, all (N, 3) or (N,).

    `feet_ras_mm` are the nearest points of the zone's surface, `zone_normals` its normals there.
    """

    points_ras_mm: FloatArray
    feet_ras_mm: FloatArray
    zone_normals: FloatArray
    margin_mm: FloatArray
    is_evaluable: BoolArray

    @classmethod
    def of(cls, surface: Surface, margin: FloatArray, zone: Surface, evaluable: BoolArray) -> _Nodes:
        points = surface.points_ras_mm
        every = np.arange(len(points))
        if len(points) > _CANDIDATES:
            every = np.linspace(0, len(points) - 1, _CANDIDATES).astype(np.int64)
        counted = np.flatnonzero(evaluable) if evaluable.any() else every
        worst = int(counted[np.argmin(margin[counted])])
        low = counted[np.argsort(margin[counted], kind="stable")[: max(1, len(counted) // 4)]]
        if len(low) > _CANDIDATES:
            low = low[np.linspace(0, len(low) - 1, _CANDIDATES).astype(np.int64)]
        even = _spread(points, every, worst, _NODES)
        chosen = np.unique(np.concatenate([even, _spread(points, low, worst, _NODES)]))
        vertex = _nearest_vertices(zone, points[chosen])
        return cls(
            points[chosen],
            zone.points_ras_mm[vertex],
            zone.point_normals[vertex],
            margin[chosen],
            evaluable[chosen],
        )

    def drawn(self, errors: MarginErrors, draws: int, seed: int) -> _Drawn:
        """Draws of the errors; the same random numbers for any errors, so that these can be compared."""
        rng = np.random.Generator(np.random.PCG64(seed))
        shape = len(self.margin_mm), draws
        tumor, zone, fusion, tumor_voxels, zone_voxels = (
            _root(covariance) @ rng.standard_normal(shape)
            for covariance in (
                errors.tumor_segmentation_sd_mm**2 * _alike(self.points_ras_mm, errors.segmentation_length_mm),
                errors.zone_segmentation_sd_mm**2 * _alike(self.feet_ras_mm, errors.segmentation_length_mm),
                self._registration_covariance(errors),
                _voxel(self.points_ras_mm, errors),
                _voxel(self.feet_ras_mm, errors),
            )
        )
        # Fusions that are estimated alike differ in their true error: each draw has a fusion of its own.
        times = np.exp(errors.registration_log_sd * rng.standard_normal(draws))
        return _Drawn(tumor, zone + times * fusion, tumor_voxels, zone_voxels)

    def mam_mm(self, found: _Drawn, measured_mm: float) -> FloatArray:
        """What the true MAM may be, one each draw: the measured one less what the errors did to it.

        Voxels widen it but do not shift it: where they roughen a surface the MAM gets smaller, but the smooth surface
        through them also rounds off what is sharp, creases of a zone above all, and there it gets larger.
        """
        margin = self.margin_mm[self.is_evaluable][:, None]
        drawn = (found.tumor_mm + found.zone_mm)[self.is_evaluable]
        voxels = (found.tumor_voxels_mm + found.zone_voxels_mm)[self.is_evaluable]
        least_mm = float(margin.min())
        change = (margin + drawn + voxels).min(axis=0) - least_mm
        without_voxels = (margin + drawn).min(axis=0) - least_mm
        return _taken_off(measured_mm, change, float(without_voxels.mean()))

    def _registration_covariance(self, errors: MarginErrors) -> FloatArray:
        sd_mm = PlacementErrors(registration_mm=errors.registration_mm).registration_sd_mm
        along = self.zone_normals @ self.zone_normals.T
        return np.asarray(sd_mm**2 * along * _alike(self.feet_ras_mm, errors.registration_length_mm))


def _alike(points_ras_mm: FloatArray, length_mm: float) -> FloatArray:
    """Correlation of values at points (N, 3) of a smooth process of that length; (N, N)."""
    return np.asarray(np.exp(-cdist(points_ras_mm, points_ras_mm, "sqeuclidean") / (2 * length_mm**2)))


def _voxel(points_ras_mm: FloatArray, errors: MarginErrors) -> FloatArray:
    """Covariance of what the voxels do to a surface."""
    if not errors.resolution_mm > 0:
        return np.zeros((len(points_ras_mm),) * 2)
    sd_mm = _VOXEL_SD_FRACTION * errors.resolution_mm
    return sd_mm**2 * _alike(points_ras_mm, _VOXEL_LENGTH_FRACTION * errors.resolution_mm)


def _root(covariance: FloatArray) -> FloatArray:
    """A matrix whose product with its transpose is the covariance, but for less than a thousandth of a mm."""
    return np.asarray(cholesky(covariance + 1e-6 * np.eye(len(covariance)), lower=True))


def _spread(points: FloatArray, among: npt.NDArray[np.int64], first: int, count: int) -> npt.NDArray[np.int64]:
    """Numbers of up to `count` points, each as far as can be from those before; the first is given."""
    chosen = [first]
    gap = ((points[among] - points[first]) ** 2).sum(axis=1)
    while len(chosen) < count and gap.max() > 1e-6:
        number = int(among[np.argmax(gap)])
        chosen.append(number)
        np.minimum(gap, ((points[among] - points[number]) ** 2).sum(axis=1), out=gap)
    return np.array(chosen, dtype=np.int64)


def _nearest_vertices(surface: Surface, points: FloatArray) -> npt.NDArray[np.int64]:
    used = np.unique(surface.triangles)
    return np.asarray(used[np.asarray(cKDTree(surface.points_ras_mm[used]).query(points)[1])], dtype=np.int64)


def _signed_distance_mm(points: FloatArray, surface: Surface) -> FloatArray:
    """Signed distance in mm, negative inside, of points to a closed mesh of which the field is not at hand."""
    cloud = vtk.vtkPoints()
    cloud.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    holder = vtk.vtkPolyData()
    holder.SetPoints(cloud)
    sides = vtk.vtkSelectEnclosedPoints()
    sides.SetInputData(holder)
    sides.SetSurfaceData(surface.to_polydata())
    sides.Update()
    inside = vtk_to_numpy(sides.GetOutput().GetPointData().GetArray("SelectedPoints")) > 0
    return np.asarray(np.where(inside, -1.0, 1.0) * surface.tangent_distance_mm(points))


def _taken_off(measured: float, change: FloatArray, bias: float) -> FloatArray:
    """What the true values may be, one each draw: the measured one less its bias, spread as the errors' change is."""
    return np.asarray(measured - bias - _WIDENING * (change - change.mean()), dtype=np.float64)


def _percentiles(values: FloatArray) -> dict[str, float]:
    low, middle, high = np.percentile(values, [5, 50, 95]).tolist()
    return {"p05": low, "p50": middle, "p95": high}


def _width(percentiles: Mapping[str, float]) -> float:
    return percentiles["p95"] - percentiles["p05"]


# --- the shells -------------------------------------------------------------------------------


def _coverages(
    surface: Surface, zone: Surface, liver: sitk.Image | None, nodes: _Nodes, found: _Drawn
) -> dict[str, dict[str, float] | None]:
    """Percentiles of the coverage of each shell.

    Every point around the tumor takes the errors of the nearest node: its distance from the tumor grows by the
    tumor's, its depth in the zone by the zone's. What that does to the coverage is taken off the measured one.
    """
    reach_mm = max(SHELLS_MM)
    points, spacing_mm = _around(surface, 1.5 * reach_mm)
    outside = _signed_distance_mm(points, surface)
    is_near = (outside > -reach_mm / 2) & (outside < 1.5 * reach_mm)
    points, outside = points[is_near], outside[is_near]
    if liver is not None:
        field = smooth_field_near(liver, surface.points_ras_mm, 1.5 * reach_mm, "liver")
        inside = np.zeros(len(points), dtype=bool) if field is None else field.evaluate(points) < 0
        points, outside = points[inside], outside[inside]
    if not len(points):
        return {f"{shell:g}": None for shell in SHELLS_MM}
    node = np.asarray(cKDTree(nodes.points_ras_mm).query(points)[1])
    still = np.zeros((len(nodes.margin_mm), 1))
    tumor, grown = (
        np.concatenate([still, row], axis=1).astype(np.float32)[node]
        for row in (found.tumor_mm + found.tumor_voxels_mm, found.zone_mm + found.zone_voxels_mm)
    )
    step = np.float32(spacing_mm)
    distance = (outside.astype(np.float32)[:, None] + tumor) / step
    ablated = _part((grown - _signed_distance_mm(points, zone).astype(np.float32)[:, None]) / step)
    beyond = _part(distance)
    result: dict[str, dict[str, float] | None] = {}
    for shell in SHELLS_MM:
        part = beyond - _part(distance - np.float32(shell) / step)
        total = part.sum(axis=0, dtype=np.float64)
        if not total.min() > 0:
            result[f"{shell:g}"] = None
            continue
        covered = (part * ablated).sum(axis=0, dtype=np.float64) / total
        change = covered[1:] - covered[0]
        result[f"{shell:g}"] = _percentiles(np.clip(_taken_off(covered[0], change, float(change.mean())), 0, 1))
    return result


def _around(surface: Surface, reach_mm: float) -> tuple[FloatArray, float]:
    """Points of a regular grid around a surface, and their spacing in mm."""
    lower, upper = (f(surface.points_ras_mm, axis=0) for f in (np.min, np.max))
    lower, upper = lower - reach_mm, upper + reach_mm
    spacing = float((np.prod(upper - lower) / _SHELL_NODES) ** (1 / 3))
    axes = [np.arange(a + spacing / 2, b, spacing) for a, b in zip(lower, upper, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), spacing


def _part(distance_steps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Which part of each point's cell is beyond a surface at that distance, in cells."""
    return np.clip(distance_steps + np.float32(0.5), 0, 1)
