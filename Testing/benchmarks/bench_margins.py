"""Accuracy, speed and memory of the margin, beside DeepMind's surface-distance where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core.margins import measure_margin
from NETAblationLib.core.phantom import make_patient
from support.shapes import grid, mask_of, sphere

_LIBRARY = Path(__file__).resolve().parents[2] / "NETAblation"
#: Voxel sides I, J, K in mm and the largest mean error of the MAM allowed there.
_GRIDS = (((1.0, 1.0, 1.0), 0.25), ((0.75, 0.75, 3.0), 0.6), ((0.75, 0.75, 5.0), 0.7))
_SIZE, _SPACING_MM = (512, 512, 200), (0.75, 0.75, 1.5)
_PAIRS_MM = ((4.0, 9.0), (10.0, 15.0), (30.0, 36.0))
_CENTER_MM = (190.0, 190.0, 140.0)
_LIVER_RADIUS_MM = 80.0
#: Distance from the tumor to the capsule where the capsule is near.
_CAPSULE_MM = 8.0
_POSITIONS = 10
_REPEATS = 3
_IS_OTHER_INSTALLED = find_spec("surface_distance") is not None


def main() -> None:
    """Print the tables."""
    if len(sys.argv) == 3 and sys.argv[1] == "measure":
        _report_memory(sys.argv[2])
        return
    _accuracy()
    _speed_and_memory()
    _digital_patient()
    if not _IS_OTHER_INSTALLED:
        print("  (surface-distance is not installed: make bench installs it)")


def _accuracy() -> None:
    print("MAM of concentric spheres of 10 and 15 mm (exact: 5 mm), ten random sub-voxel positions")
    print("  voxel mm (K x J x I)   mean |error| mm   largest   shift   allowed mean   surface-distance mean |error|")
    for spacing, allowed in _GRIDS:
        pairs = [_spheres(spacing, seed) for seed in range(_POSITIONS)]
        errors = np.array([measure_margin(*pair).mam_mm - 5.0 for pair in pairs])
        name = " x ".join(f"{s:g}" for s in reversed(spacing))
        mean, worst = np.abs(errors).mean(), np.abs(errors).max()
        other = "not installed"
        if _IS_OTHER_INSTALLED:
            # Its distances have no sign; here all of the tumor lies inside, so that the least one is the MAM.
            other = f"{np.mean([abs(_other_distances(*pair).min() - 5.0) for pair in pairs]):.2f}"
        print(f"  {name:22s} {mean:12.2f} {worst:12.2f} {errors.mean():+9.2f} {allowed:10.2f} {other:>20s}")


def _spheres(spacing: tuple[float, float, float], seed: int) -> tuple[sitk.Image, sitk.Image]:
    center = np.random.default_rng(seed).uniform(0, 1, 3) * spacing
    image = grid((-24.0,) * 3, (29.0,) * 3, spacing)
    return mask_of(sphere(center, 10.0), image), mask_of(sphere(center, 15.0), image)


def _speed_and_memory() -> None:
    print(f"\n{' x '.join(map(str, _SIZE))} voxels of {' x '.join(map(str, _SPACING_MM))} mm; ", end="")
    print(f"CPU seconds (wall), the least of {_REPEATS} runs")
    print("  This package measures surfaces, signed margins, shells and residuals; surface-distance distances alone.")
    print("  With a liver it needs a second call, for the distances from the tumor to the capsule.")
    _print_heading("tumor / zone mm, liver")
    for tumor_mm, zone_mm in _PAIRS_MM:
        tumor, zone, liver = (_ball(radius) for radius in (tumor_mm, zone_mm, _LIVER_RADIUS_MM))
        near = _ball(_LIVER_RADIUS_MM, _LIVER_RADIUS_MM - tumor_mm - _CAPSULE_MM)
        name = f"{tumor_mm:g} / {zone_mm:g}"
        _print_row(f"{name}, none", [tumor, zone], [zone])
        _print_row(f"{name}, around; they without", [tumor, zone, liver], [zone])
        _print_row(f"{name}, around", [tumor, zone, liver], [zone, liver])
        _print_row(f"{name}, capsule {_CAPSULE_MM:g} mm away", [tumor, zone, near], [zone, near])


def _digital_patient() -> None:
    patient = make_patient("standard", seed=0)
    liver = patient.masks["liver"]
    lesions = sorted(patient.lesions, key=lambda lesion: lesion.volume_ml)
    print(f"\ndigital patient, {' x '.join(map(str, liver.GetSize()))} voxels, zones carried to the planning frame")
    _print_heading("lesion, liver")
    for lesion in (lesions[0], lesions[len(lesions) // 2], lesions[-1]):
        tumor, zone = lesion.mask, lesion.zone_mask_pre
        name = f"{lesion.kind} {lesion.volume_ml:.1f} ml"
        _print_row(f"{name}, none", [tumor, zone], [zone])
        _print_row(f"{name}, its own", [tumor, zone, liver], [zone, liver])


def _print_heading(first: str) -> None:
    print(f"  {first:28s} this package   surface-distance   their CPU / ours   MB above the input")


def _print_row(name: str, masks: Sequence[sitk.Image], others: Sequence[sitk.Image]) -> None:
    """Time `masks` (tumor, zone and maybe liver), and the other package from the tumor to each of `others`."""
    ours = _seconds(lambda: measure_margin(masks[0], masks[1], liver=masks[2] if len(masks) == 3 else None))
    their_time, ratio = "not installed", ""
    if _IS_OTHER_INSTALLED:
        calls = [_other_call(masks[0], other) for other in others]
        theirs = _seconds(lambda: [call() for call in calls])
        their_time = f"{theirs[0]:.2f} ({theirs[1]:.2f})"
        ratio = f"{theirs[0] / ours[0]:.2f} ({theirs[1] / ours[1]:.2f})"
    our_time, memory = f"{ours[0]:.2f} ({ours[1]:.2f})", _memory_mb(masks)
    print(f"  {name:28s} {our_time:>12s} {their_time:>18s} {ratio:>18s} {memory:14.0f}", flush=True)


def _ball(radius_mm: float, right_mm: float = 0.0) -> sitk.Image:
    """A ball in the large image, moved along its first axis; only the voxels around it are visited."""
    image = sitk.Image(_SIZE, sitk.sitkUInt8)
    image.SetSpacing(_SPACING_MM)
    center = np.add(_CENTER_MM, (right_mm, 0.0, 0.0))
    first = np.maximum(np.floor((center - radius_mm) / _SPACING_MM).astype(int) - 1, 0)
    last = np.ceil((center + radius_mm) / _SPACING_MM).astype(int) + 2
    x, y, z = (np.arange(a, b) * s - c for a, b, s, c in zip(first, last, _SPACING_MM, center, strict=True))
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius_mm**2
    part = sitk.GetImageFromArray(inside.astype(np.uint8))
    return sitk.Paste(image, part, part.GetSize(), destinationIndex=first.tolist())


def _other_call(first: sitk.Image, second: sitk.Image) -> Callable[[], dict[str, np.ndarray]]:
    """A call of surface-distance on two masks, which it takes as boolean arrays."""
    import surface_distance

    arrays = [sitk.GetArrayFromImage(mask).astype(bool) for mask in (first, second)]
    return lambda: surface_distance.compute_surface_distances(*arrays, first.GetSpacing()[::-1])


def _other_distances(first: sitk.Image, second: sitk.Image) -> np.ndarray:
    return np.asarray(_other_call(first, second)()["distances_gt_to_pred"])


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Least CPU and least wall time of some calls."""
    cpu, wall = [], []
    for _ in range(_REPEATS):
        start = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return min(cpu), min(wall)


def _memory_mb(masks: Sequence[sitk.Image]) -> float:
    """Peak memory in MB of a measurement above that with its input loaded, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, mask in zip(("tumor", "zone", "liver"), masks, strict=False):
            sitk.WriteImage(mask, str(Path(folder) / f"{name}.mha"))
        code = "import sys; sys.argv = ['', 'measure', sys.argv[1]]; from benchmarks.bench_margins import main; main()"
        paths = [str(_LIBRARY), str(_LIBRARY.parent / "Testing"), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, "-c", code, folder],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout)


def _report_memory(folder: str) -> None:
    """Read the masks, measure, and print by how much the peak of the process rose, in MB."""
    images = {path.stem: sitk.ReadImage(str(path)) for path in Path(folder).glob("*.mha")}
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak of reading (VmHWM), see proc(5)
    loaded = _status_mb("VmRSS")
    measure_margin(images["tumor"], images["zone"], liver=images.get("liver"))
    print(_status_mb("VmHWM") - loaded)


def _status_mb(field: str) -> float:
    """A memory figure of this process, from Linux's own account, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e6


if __name__ == "__main__":
    main()
