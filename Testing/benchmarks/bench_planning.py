"""Probe plans beside a greedy packing of zones, measured alike: a synthetic trunk, a digital patient, a real CT."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core.devices import Device, load_catalogue
from NETAblationLib.core.errors import NETAblationError
from NETAblationLib.core.images import read_image
from NETAblationLib.core.liver import segment_liver
from NETAblationLib.core.phantom import make_patient
from NETAblationLib.core.planning import Request, Task, plan_probes, plans_of
from NETAblationLib.core.plans import Plan
from NETAblationLib.core.probes import Ablation, Probe, is_in_zone, zone_signed_distance_mm, zone_surface
from NETAblationLib.core.surveys import Scan, Survey
from NETAblationLib.core.targets import Target
from NETAblationLib.demo import OBSTACLES
from support.datasets import dataset
from support.shapes import Level, ellipsoid, grid, intersection, mask_of, rotation, sphere
from support.trunk import LIVER, trunk

_CENTER = (25.3, 4.2, -1.7)
_OBLONG = ellipsoid(_CENTER, (26.0, 18.0, 14.0), rotation((1, 2, 3), 40.0))
_LARGE = ellipsoid((20.0, 0.0, 0.0), (40.0, 27.0, 23.0), rotation((1, 2, 3), 40.0))
_AT_CAPSULE = intersection(sphere((20.0, 57.0, 0.0), 12.0), LIVER)
_MWA, _CANINE, _RF = "emprint-mwa", "cooled-mwa-canine", "cooled-rf-3cm"
#: Name, shape, margin in mm and device of each row.
_LESIONS: list[tuple[str, Level, float, str]] = [
    ("15 mm", sphere(_CENTER, 7.5), 5.0, _MWA),
    ("15 mm", sphere(_CENTER, 7.5), 10.0, _CANINE),
    ("22 mm", sphere(_CENTER, 11.0), 5.0, _MWA),
    ("22 mm", sphere(_CENTER, 11.0), 5.0, _CANINE),
    ("22 mm", sphere(_CENTER, 11.0), 5.0, _RF),
    ("22 mm", sphere(_CENTER, 11.0), 10.0, _MWA),
    ("24 mm, capsule", _AT_CAPSULE, 5.0, _MWA),
    ("30 mm", sphere(_CENTER, 15.0), 5.0, _MWA),
    ("30 mm", sphere(_CENTER, 15.0), 5.0, _CANINE),
    ("30 mm", sphere(_CENTER, 15.0), 5.0, _RF),
    ("52 x 36 x 28 mm", _OBLONG, 5.0, _MWA),
    ("40 mm", sphere(_CENTER, 20.0), 5.0, _MWA),
    ("40 mm", sphere(_CENTER, 20.0), 5.0, _CANINE),
    ("40 mm", sphere(_CENTER, 20.0), 5.0, _RF),
    ("40 mm", sphere(_CENTER, 20.0), 10.0, _MWA),
    ("80 x 54 x 46 mm", _LARGE, 5.0, _MWA),
    ("60 mm", sphere((20.0, 0.0, 0.0), 30.0), 5.0, _MWA),
    ("60 mm", sphere((20.0, 0.0, 0.0), 30.0), 10.0, _MWA),
]
_DEVICES = load_catalogue()
#: The packing: points that it covers, distance of its places, and the share of the target at which it stops.
_POINTS, _PITCH_MM, _ENOUGH = 4_000, 4.0, 0.99


def _packed(target: Target, device: Device) -> tuple[Probe, ...]:
    """The largest zone, again and again where it covers most of what is left; all come from the right, freely."""
    setting = max(device.plannable_settings, key=lambda s: s.short_axis_mm**2 * s.long_axis_mm)
    points, is_tumor, _ = target.points(_POINTS)
    lower, upper = points.min(axis=0), points.max(axis=0)
    size = np.ceil((upper - lower) / _PITCH_MM).astype(int) + 1
    places = lower + _PITCH_MM * np.indices(size).reshape(3, -1).T
    semi = np.array([setting.long_axis_mm, setting.short_axis_mm, setting.short_axis_mm]) / 2
    covers = np.linalg.norm((points - places[:, None]) / semi, axis=2) <= 1.0
    left, chosen = np.ones(len(points), dtype=bool), []
    while left.mean() > 1.0 - _ENOUGH or left[is_tumor].any():
        best = int((covers @ left.astype(np.float32)).argmax())
        chosen.append(places[best])
        left &= ~covers[best]
    lines: dict[tuple[float, float], list[np.ndarray]] = {}
    for place in chosen:
        lines.setdefault((place[1], place[2]), []).append(place)
    probes = []
    for row in lines.values():
        deepest = min(row, key=lambda place: place[0])
        ablations = tuple(
            Ablation(setting.name, tuple(place), setting.short_axis_mm, setting.long_axis_mm) for place in row
        )
        tip = deepest - [setting.center_to_tip_mm, 0, 0]
        probes.append(Probe((130.0, deepest[1], deepest[2]), tuple(tip), ablations))
    return tuple(probes)


def _measured(probes: tuple[Probe, ...], target: Target) -> str:
    points, is_tumor, _ = target.points(60_000)
    covered = is_in_zone(probes, points)
    surface = target.surface.points_ras_mm[target.is_evaluable]
    mam = f"{-zone_signed_distance_mm(probes, surface).max():7.1f}" if len(surface) else f"{'-':>7}"
    ablations = sum(len(probe.ablations) for probe in probes)
    return (
        f"{len(probes):9d} {ablations:9d} {100 * covered[is_tumor].mean():8.2f} {100 * covered.mean():9.2f} {mam} "
        f"{zone_surface(probes).volume_ml:8.0f}"
    )


def main() -> None:
    """Print the table: lesions in the trunk, then those of a digital patient and of a real CT of a printed liver."""
    print("bounds: of punctures in any direction / of parallel ones / of ablations; s: wall (processor)")
    print(
        f"{'lesion':24s} {'margin':>6s} {'device':18s} {'method':8s} {'punctures':>9s} {'ablations':>9s} "
        f"{'tumor %':>8s} {'target %':>9s} {'MAM mm':>7s} {'zone ml':>8s} {'bounds':>9s} {'s':>14s}"
    )
    image, liver = trunk()
    around = grid((-40, -50, -56), (80, 80, 56), (1.0, 1.0, 1.0))
    for name, level, margin_mm, device in _LESIONS:
        tumor = mask_of(level, around)
        _compare(name, tumor, liver, Request(_DEVICES[device], margin_mm), partial(_planned, Scan(image, liver), tumor))
    patient = make_patient("standard", 0)
    obstacles = {name: patient.masks[name] for name in OBSTACLES}
    _compare_all(
        "patient 0",
        Scan(patient.portal, patient.masks["liver"], obstacles),
        [lesion.mask for lesion in patient.lesions],
    )
    try:
        folder = dataset("liver-phantom")
    except BaseException as absent:  # pytest's skip is no Exception
        print(f"liver-phantom: skipped ({absent})")
        return
    image, labels = read_image(folder / "ct.nii.gz"), read_image(folder / "lesions_rough_auto.nii.gz")
    _compare_all("liver-phantom", Scan(image, segment_liver(image).mask), [labels == label for label in range(1, 6)])


def _compare_all(name: str, scan: Scan, tumors: Sequence[sitk.Image]) -> None:
    """All lesions of one CT, which is surveyed once, with three devices and two margins."""
    longest_mm = max(Request(_DEVICES[device]).longest_mm for device in (_MWA, _CANINE, _RF))
    start, cpu = time.perf_counter(), time.process_time()
    survey = Survey.of(scan, tumors, longest_mm)
    print(f"{name}: survey of the CT {time.perf_counter() - start:.1f} s ({time.process_time() - cpu:.1f})")
    for number, tumor in enumerate(tumors, start=1):
        for margin_mm, device in ((5.0, _MWA), (10.0, _MWA), (5.0, _CANINE), (5.0, _RF)):
            request = Request(_DEVICES[device], margin_mm)
            _compare(f"{name}, lesion {number}", tumor, scan.liver, request, partial(_surveyed, survey, tumor))


def _planned(scan: Scan, tumor: sitk.Image, request: Request) -> Plan:
    return plan_probes(scan, tumor, request)


def _surveyed(survey: Survey, tumor: sitk.Image, request: Request) -> Plan:
    return plans_of(Task.of(survey, tumor, request), 0)[0]


def _compare(
    name: str, tumor: sitk.Image, liver: sitk.Image, request: Request, planned: Callable[[Request], Plan]
) -> None:
    """One row for our plan and one for the packing."""
    target = Target.of(tumor, liver, request.margin_mm)
    for method in ("ours", "packing"):
        start, cpu = time.perf_counter(), time.process_time()
        bounds = ""
        try:
            if method == "ours":
                plan = planned(request)
                probes = plan.probes
                bounds = (
                    f"{plan.lower_bound_punctures}/{plan.lower_bound_parallel_punctures}/{plan.lower_bound_ablations}"
                )
            else:
                probes = _packed(target, request.device)
            found = f"{_measured(probes, target)} {bounds:>9s}"
        except NETAblationError as none:
            found = f"no plan: {none}"
        seconds = f"{time.perf_counter() - start:.1f} ({time.process_time() - cpu:.1f})"
        row = f"{name:24s} {request.margin_mm:6.0f} {request.device.id:18s} {method:8s} {found} {seconds:>14s}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
