"""Accuracy, speed and memory of the margin, beside DeepMind's surface-distance where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core.margins import measure_margin
from support.shapes import grid, mask_of, sphere

_LIBRARY = Path(__file__).resolve().parents[2] / "NETAblation"
#: Voxel sides I, J, K in mm and the largest mean error of the MAM allowed there.
_GRIDS = (((1.0, 1.0, 1.0), 0.25), ((0.75, 0.75, 3.0), 0.6), ((0.75, 0.75, 5.0), 0.7))
_SIZE, _SPACING_MM = (512, 512, 200), (0.75, 0.75, 1.5)
_PAIRS_MM = ((4.0, 9.0), (10.0, 15.0), (30.0, 36.0))
_LIVER_RADIUS_MM = 80.0
_POSITIONS = 10


def main() -> None:
    """Print the tables."""
    if len(sys.argv) == 3 and sys.argv[1] == "measure":
        _report_memory(sys.argv[2])
        return
    _accuracy()
    _speed_and_memory()


def _accuracy() -> None:
    print("MAM of concentric spheres of 10 and 15 mm (exact: 5 mm), ten random sub-voxel positions")
    print("  voxel mm (K x J x I)   mean |error| mm   largest   shift   allowed mean")
    for spacing, allowed in _GRIDS:
        errors = np.array([_sphere_error_mm(spacing, seed) for seed in range(_POSITIONS)])
        name = " x ".join(f"{s:g}" for s in reversed(spacing))
        mean, worst = np.abs(errors).mean(), np.abs(errors).max()
        print(f"  {name:22s} {mean:12.2f} {worst:12.2f} {errors.mean():+9.2f} {allowed:10.2f}")


def _sphere_error_mm(spacing: tuple[float, float, float], seed: int) -> float:
    center = np.random.default_rng(seed).uniform(0, 1, 3) * spacing
    image = grid((-24.0,) * 3, (29.0,) * 3, spacing)
    result = measure_margin(mask_of(sphere(center, 10.0), image), mask_of(sphere(center, 15.0), image))
    return result.mam_mm - 5.0


def _speed_and_memory() -> None:
    theirs = _other_package()
    print(f"\n{' x '.join(map(str, _SIZE))} voxels of {' x '.join(map(str, _SPACING_MM))} mm; CPU seconds (wall)")
    print("  tumor / zone mm   liver   this package   surface-distance   their CPU / ours   MB above the input")
    for tumor_mm, zone_mm in _PAIRS_MM:
        tumor, zone, liver = (_ball(radius) for radius in (tumor_mm, zone_mm, _LIVER_RADIUS_MM))
        other = None if theirs is None else _seconds(theirs(tumor, zone))
        for organ in (None, liver):
            ours = _seconds(lambda organ=organ, pair=(tumor, zone): measure_margin(*pair, liver=organ))
            ratio = "" if other is None else f"{other[0] / ours[0]:.2f} ({other[1] / ours[1]:.2f})"
            their_time = "not installed" if other is None else f"{other[0]:.2f} ({other[1]:.2f})"
            memory = _memory_mb([mask for mask in (tumor, zone, organ) if mask is not None])
            print(
                f"  {f'{tumor_mm:g} / {zone_mm:g}':17s} {'yes' if organ else 'no':5s} "
                f"{f'{ours[0]:.2f} ({ours[1]:.2f})':>14s} {their_time:>18s} {ratio:>14s} {memory:14.0f}"
            )
    if theirs is None:
        print("  (surface-distance is not installed: pip install --require-hashes -r requirements-bench.lock)")


def _ball(radius_mm: float) -> sitk.Image:
    """A ball in the large image; only the voxels around it are visited."""
    image = sitk.Image(_SIZE, sitk.sitkUInt8)
    image.SetSpacing(_SPACING_MM)
    center = np.array([190.0, 190.0, 140.0])
    first = np.maximum(np.floor((center - radius_mm) / _SPACING_MM).astype(int) - 1, 0)
    last = np.ceil((center + radius_mm) / _SPACING_MM).astype(int) + 2
    x, y, z = (np.arange(a, b) * s - c for a, b, s, c in zip(first, last, _SPACING_MM, center, strict=True))
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius_mm**2
    part = sitk.GetImageFromArray(inside.astype(np.uint8))
    return sitk.Paste(image, part, part.GetSize(), destinationIndex=first.tolist())


def _other_package() -> Callable[[sitk.Image, sitk.Image], Callable[[], object]] | None:
    """What makes, of two masks, a call of surface-distance on them; None where it is not installed."""
    if find_spec("surface_distance") is None:
        return None
    import surface_distance

    def prepare(tumor: sitk.Image, zone: sitk.Image) -> Callable[[], object]:
        first, second = (sitk.GetArrayFromImage(mask).astype(bool) for mask in (tumor, zone))
        return lambda: surface_distance.compute_surface_distances(first, second, _SPACING_MM[::-1])

    return prepare


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall time of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _memory_mb(masks: list[sitk.Image]) -> float:
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
