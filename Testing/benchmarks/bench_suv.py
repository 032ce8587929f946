"""PET lesions in a warm liver by several thresholds, touching ones, SUVpeak against its formula, and seconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, special

from NETAblationLib.core.pet_lesions import segment_pet_lesions
from NETAblationLib.core.suv import read_suv
from NETAblationLib.core.uptake import PEAK_RADIUS_MM, organ_uptake, peak_uptake
from support import dicom_series as make
from support import pet, shapes

_SIGMA_MM, _LIVER_SUV, _NOISE = 2.8, 6.0, 0.08
_SPACING_MM = (4.0, 4.0, 3.0)
_SEEDS = 4

Method = Callable[[sitk.Image, sitk.Image], np.ndarray]


def main() -> None:
    """Print the tables."""
    _single_spheres()
    _touching_spheres()
    _peak()
    _seconds()


def _noisy(image: sitk.Image, seed: int) -> sitk.Image:
    array = sitk.GetArrayFromImage(image)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=array.shape), 0.7)
    return _like(array * (1 + _NOISE * noise / noise.std()), image)


def _like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(array.astype(np.float32))
    result.CopyInformation(image)
    return result


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))


def _fixed(fraction: float) -> Method:
    """The piece about the maximum above a fraction of it."""
    return lambda image, liver: _piece(image, liver, lambda top, _: fraction * top)


def _adaptive(fraction: float) -> Method:
    """The fraction of what stands out of the normal liver."""
    return lambda image, liver: _piece(image, liver, lambda top, normal: normal + fraction * (top - normal))


def _piece(image: sitk.Image, liver: sitk.Image, threshold: Callable[[float, float], float]) -> np.ndarray:
    values, inside = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(liver) > 0
    normal = organ_uptake(values, inside, np.array(image.GetSpacing())[::-1]).mean_suv
    top = np.unravel_index(np.argmax(np.where(inside, values, -1)), values.shape)
    pieces, _ = ndimage.label(inside & (values >= threshold(float(values[top]), normal)))
    return pieces == pieces[top]


def _gradient_watershed(image: sitk.Image, liver: sitk.Image) -> np.ndarray:
    """ITK's watershed of the gradient, the basin of the maximum."""
    slope = sitk.GradientMagnitudeRecursiveGaussian(image, 2.5)
    values, inside = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(liver) > 0
    basins = sitk.GetArrayFromImage(sitk.MorphologicalWatershed(slope, 0.3, False, False))
    top = np.unravel_index(np.argmax(np.where(inside, values, -1)), values.shape)
    return inside & (basins == basins[top])


def _ours(floor: str) -> Method:
    def segment(image: sitk.Image, liver: sitk.Image) -> np.ndarray:
        return sitk.GetArrayFromImage(segment_pet_lesions(image, liver, liver=liver, floor=floor).labels) > 0

    return segment


_METHODS: dict[str, Method] = {
    "41 %": _fixed(0.41),
    "45 %": _fixed(0.45),
    "50 %": _fixed(0.50),
    "adaptive": _adaptive(0.45),
    "gradient": _gradient_watershed,
    "ours": _ours("liver-max"),
    "percist": _ours("percist"),
    "contrast": _ours("contrast"),
}


def _single_spheres() -> None:
    print(f"Dice of one sphere in a liver of SUV {_LIVER_SUV:g} with {_NOISE:.0%} noise, 6.6 mm FWHM, {_SEEDS} each")
    print("(adaptive: 45 % of what stands out of the normal liver; ours: 45 % above its floor; then other floors)")
    print(f"{'lesion : liver':>14s}{'mm':>5s}  " + "".join(f"{name:>10s}" for name in _METHODS))
    seconds = dict.fromkeys(_METHODS, 0.0)
    table = []
    for ratio in (1.5, 2.0, 3.0, 5.0, 10.0):
        for diameter in (10.0, 15.0, 20.0, 30.0, 50.0):
            row = dict.fromkeys(_METHODS, 0.0)
            for seed in range(_SEEDS):
                reference = shapes.grid((-60,) * 3, (60,) * 3, _SPACING_MM)
                center = np.random.default_rng(seed).uniform(-2, 2, 3)
                lesion = pet.blurred_sphere(center, diameter / 2, (ratio - 1) * _LIVER_SUV, _SIGMA_MM)
                image = _noisy(pet.image_of(pet.total(_LIVER_SUV, lesion), reference), seed)
                liver = shapes.mask_of(shapes.sphere((0, 0, 0), 58), reference)
                exact = sitk.GetArrayFromImage(shapes.mask_of(shapes.sphere(center, diameter / 2), reference)) > 0
                for name, method in _METHODS.items():
                    start = time.perf_counter()
                    row[name] += _dice(method(image, liver), exact) / _SEEDS
                    seconds[name] += time.perf_counter() - start
            table.append(list(row.values()))
            print(f"{ratio:14.1f}{diameter:5.0f}  " + "".join(f"{value:10.2f}" for value in row.values()), flush=True)
    count = len(table) * _SEEDS
    print(f"{'mean':>19s}  " + "".join(f"{value:10.2f}" for value in np.mean(table, axis=0)))
    print(f"{'s each':>19s}  " + "".join(f"{value / count:10.3f}" for value in seconds.values()))


def _touching_spheres() -> None:
    print("\nTwo spheres of 20 mm, three times the liver: lesions found, and Dice of each, by the gap between them")
    print(f"{'gap mm':>8s}{'found':>8s}{'Dice':>8s}   one threshold of 45 %: {'found':>8s}")
    for gap in (0.0, 2.0, 4.0, 8.0):
        counts, scores, others = [], [], []
        for seed in range(_SEEDS):
            reference = shapes.grid((-60,) * 3, (60,) * 3, _SPACING_MM)
            centers = [(side * (10.0 + gap / 2), 1.0, 0.5) for side in (-1, 1)]
            twins = [pet.blurred_sphere(center, 10.0, 2 * _LIVER_SUV, _SIGMA_MM) for center in centers]
            image = _noisy(pet.image_of(pet.total(_LIVER_SUV, *twins), reference), seed)
            liver = shapes.mask_of(shapes.sphere((0, 0, 0), 58), reference)
            result = segment_pet_lesions(image, liver, liver=liver)
            labels = sitk.GetArrayFromImage(result.labels)
            counts.append(len(result.lesions))
            for center in centers:
                exact = sitk.GetArrayFromImage(shapes.mask_of(shapes.sphere(center, 10.0), reference)) > 0
                scores.append(max(_dice(labels == lesion.number, exact) for lesion in result.lesions))
            values = sitk.GetArrayFromImage(image)
            others.append(ndimage.label(values >= max(0.45 * values.max(), result.floor_suv or 0.0))[1])
        print(f"{gap:8.0f}{np.mean(counts):8.1f}{np.mean(scores):8.2f}{'':26s}{np.mean(others):8.1f}")


def _peak() -> None:
    print("\nSUVpeak of a Gaussian blob of 6 mm SD, mean error against its integral, 10 places between voxels")
    print(f"{'voxel mm':>16s}{'ours':>8s}   whole voxels at voxel centers")
    sigma, radius = 6.0, PEAK_RADIUS_MM
    part = sigma**3 * np.sqrt(np.pi / 2) * special.erf(radius / (sigma * np.sqrt(2)))
    expected = 3 / radius**3 * (part - sigma**2 * radius * np.exp(-(radius**2) / (2 * sigma**2)))
    for spacing in ((2.0, 2.0, 2.0), (4.0, 4.0, 2.0), (4.0, 4.0, 4.0), (5.5, 5.5, 3.3)):
        errors, others = [], []
        for seed in range(10):
            reference = shapes.grid((-30,) * 3, (30,) * 3, spacing)
            center = np.random.default_rng(seed).uniform(-3, 3, 3)
            values = sitk.GetArrayFromImage(pet.image_of(pet.blob(center, 1.0, sigma), reference))
            found, _ = peak_uptake(values, np.argwhere(values > 0.45), np.array(spacing)[::-1])
            errors.append(found / expected - 1)
            reach = np.ceil(radius / np.array(spacing)[::-1]).astype(int)
            offset = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1) * spacing[::-1]
            kernel = (np.linalg.norm(offset, axis=-1) <= radius).astype(float)
            others.append(ndimage.correlate(values, kernel / kernel.sum()).max() / expected - 1)
        name = " x ".join(f"{side:g}" for side in spacing)
        print(f"{name:>16s}{100 * np.mean(errors):+7.1f}%{100 * np.mean(others):+31.1f}%")


def _seconds() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stored = np.random.default_rng(0).integers(0, 4000, (300, 200, 200)).astype(np.uint16)
        make.write_series(Path(folder), stored, sop_class=make.PET, **make.pet_elements())
        start = time.perf_counter()
        image = read_suv(folder).image
        print(f"\nSUV of a PET of 200 x 200 x 300 from DICOM: {time.perf_counter() - start:.1f} s")
    rng = np.random.default_rng(1)
    image.SetSpacing((4.0, 4.0, 3.0))
    image.SetDirection(np.eye(3).ravel().tolist())
    image.SetOrigin((-400.0, -400.0, -450.0))
    spots = [pet.blurred_sphere(rng.uniform(-60, 60, 3), rng.uniform(5, 18), 20.0, _SIGMA_MM) for _ in range(30)]
    whole = shapes.grid((-110,) * 3, (110,) * 3, _SPACING_MM)
    part = _noisy(pet.image_of(pet.total(_LIVER_SUV, *spots), whole), 0)
    body = sitk.Resample(part, image, sitk.Transform(), sitk.sitkLinear, 0.5, sitk.sitkFloat32)
    liver = shapes.mask_of(shapes.sphere((0, 0, 0), 85), whole)
    start = time.perf_counter()
    result = segment_pet_lesions(body, liver, liver=liver)
    print(f"{len(result.lesions)} lesions of 30 metastases (some overlap) in it: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
