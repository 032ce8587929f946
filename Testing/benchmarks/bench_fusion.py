"""Fusion against the truth: our method, its rigid part alone, and SimpleITK's B-spline on the liver mask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.fusion import fuse
from NETAblationLib.core.phantom import make_patient

_MAX_THREADS = 2


@dataclass(frozen=True)
class _Case:
    name: str
    images: dict[str, sitk.Image]
    exclude: tuple[sitk.Image, ...]
    liver_points: np.ndarray
    lesion_points: tuple[np.ndarray, ...]
    fixed_to_moving: Callable[[np.ndarray], np.ndarray]


def main(cases: Sequence[tuple[str, int]] = (("small", 0), ("small", 1), ("standard", 0))) -> None:
    """Print one row per case and method: target registration errors in mm, seconds, memory."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(_MAX_THREADS)
    print(
        f"{'case':<12} {'method':<22} {'liver mean':>10} {'p95':>6} {'max':>6} {'lesion mean':>12} {'worst':>6} "
        f"{'s':>6} {'CPU s':>6} {'MB above input':>15}"
    )
    for size, seed in cases:
        case = _phantom(size, seed)
        results = _measured(lambda case=case: _ours(case, case.exclude))
        _row(case, "rigid part alone", results[0].rigid)
        _row(case, "ours", results[0].transform, *results[1:])
        result, *cost = _measured(lambda case=case: _ours(case, ()))
        _row(case, "ours, nothing excluded", result.transform, *cost)
        transform, *cost = _measured(lambda case=case: _sitk_bspline(case))
        _row(case, "SimpleITK B-spline", transform, *cost)


def _phantom(size: str, seed: int) -> _Case:
    patient = make_patient(size, seed)
    liver = patient.masks["liver"]
    rng = np.random.default_rng(seed)
    inside = np.argwhere(sitk.GetArrayViewFromImage(liver))[:, ::-1]
    points = frames.index_to_ras(liver, rng.choice(inside, 3000, replace=False))
    near = tuple(lesion.surface_points(2.0)[0] for lesion in patient.lesions)
    masks = tuple(mask for lesion in patient.lesions for mask in (lesion.mask, lesion.zone_mask))
    images = {
        "fixed": patient.portal,
        "moving": patient.post,
        "fixed_liver": liver,
        "moving_liver": patient.post_liver,
    }
    return _Case(f"{size} {seed}", images, masks, points, near, patient.pre_to_post)


def _ours(case: _Case, exclude: Sequence[sitk.Image]):
    return fuse(**case.images, exclude=exclude)


def _sitk_bspline(case: _Case) -> sitk.Transform:
    """Rigid by mutual information, then a B-spline of 50 mm on the dilated liver, zones left out."""
    fixed, moving = (
        sitk.Clamp(sitk.Cast(case.images[name], sitk.sitkFloat32), lowerBound=-200, upperBound=400)
        for name in ("fixed", "moving")
    )
    liver = case.images["fixed_liver"]
    radius = [max(1, round(8.0 / spacing)) for spacing in liver.GetSpacing()]
    mask = sitk.BinaryDilate(liver, radius)
    moving_mask = sitk.Cast(moving > -1e6, sitk.sitkUInt8)
    for excluded in case.exclude:
        if frames.same_grid(excluded, mask):
            mask = sitk.And(mask, sitk.Cast(excluded == 0, sitk.sitkUInt8))
        else:
            moving_mask = sitk.And(moving_mask, sitk.Cast(excluded == 0, sitk.sitkUInt8))
    start = sitk.CenteredTransformInitializer(
        liver, case.images["moving_liver"], sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    rigid = _method(mask, moving_mask, [4, 2], [3.0, 1.5], [0.3, 0.1])
    rigid.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 150, relaxationFactor=0.6)
    rigid.SetOptimizerScalesFromPhysicalShift()
    rigid.SetInitialTransform(start, inPlace=False)
    first = rigid.Execute(fixed, moving)
    mesh = [max(1, round(n * s / 50.0)) for n, s in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    spline = sitk.BSplineTransformInitializer(fixed, mesh, order=3)
    deformable = _method(mask, moving_mask, [4, 2], [3.0, 1.5], [0.3, 0.1])
    deformable.SetMovingInitialTransform(first)
    deformable.SetInitialTransformAsBSpline(spline, inPlace=True, scaleFactors=[1, 1])
    deformable.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-5,
        numberOfIterations=20,
        maximumNumberOfCorrections=5,
        maximumNumberOfFunctionEvaluations=40,
    )
    deformable.Execute(fixed, moving)
    return sitk.CompositeTransform([first, spline])


def _method(
    mask: sitk.Image, moving_mask: sitk.Image, shrink: list[int], sigmas: list[float], shares: list[float]
) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel(shares, seed=1)
    method.SetMetricFixedMask(mask)
    method.SetMetricMovingMask(moving_mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel(sigmas)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _row(
    case: _Case,
    method: str,
    transform: sitk.Transform,
    seconds: float | None = None,
    cpu_seconds: float | None = None,
    memory_mb: float | None = None,
) -> None:
    def errors(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(frames.transform_points(transform, points) - case.fixed_to_moving(points), axis=1)

    liver = errors(case.liver_points)
    lesions = [errors(points).mean() for points in case.lesion_points]
    cost = "".join(
        f" {'' if value is None else f'{value:.{digits}f}':>{width}}"
        for value, digits, width in ((seconds, 0, 6), (cpu_seconds, 0, 6), (memory_mb, 0, 15))
    )
    print(
        f"{case.name:<12} {method:<22} {liver.mean():10.2f} {np.percentile(liver, 95):6.2f} {liver.max():6.2f} "
        f"{np.mean(lesions):12.2f} {np.max(lesions):6.2f}{cost}",
        flush=True,
    )


def _measured(work: Callable):
    """Result, wall and CPU seconds, and the peak of the process's memory above its start, in MB."""
    with _MemoryPeak() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return result, seconds, cpu_seconds, memory.peak_mb


class _MemoryPeak:
    """Looks at the resident memory every 50 ms (Linux); not a number elsewhere."""

    def __enter__(self) -> _MemoryPeak:
        self._start = self._highest = self._resident_mb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        return self._highest - self._start

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self._highest = max(self._highest, self._resident_mb())

    @staticmethod
    def _resident_mb() -> float:
        statm = Path("/proc/self/statm")
        return int(statm.read_text().split()[1]) * 4096 / 2**20 if statm.exists() else float("nan")
