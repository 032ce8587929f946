"""A probe under the hand: time of one move, beside measuring the whole plan anew and beside distances on a mask."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from NETAblationLib.core import access, frames
from NETAblationLib.core.coverage import PlanMeasure
from NETAblationLib.core.live import LivePlan
from NETAblationLib.core.probes import (
    Ablation,
    Probe,
    is_in_zone,
    zone_mask,
    zone_surface,
)
from NETAblationLib.core.robustness import shifted
from NETAblationLib.core.targets import Target
from support.shapes import grid, mask_of, sphere
from support.trunk import trunk

_CENTER, _RADIUS = np.array([25.3, 4.2, -1.7]), 30.0
_MOVES, _SHAFT_MM = 50, 200.0


def six_probes(rng: np.random.Generator) -> list[Probe]:
    """Six probes from the right around the middle of the lesion, each with three ablations by pull-back."""
    made = []
    for turn in 2 * np.pi * np.arange(6) / 6:
        direction = np.array([-1.0, 0.0, 0.0]) + rng.normal(0.0, 0.12, 3)
        direction /= np.linalg.norm(direction)
        through = _CENTER + 16.0 * np.array([0.0, np.cos(turn), np.sin(turn)]) + rng.normal(0.0, 1.0, 3)
        zones = tuple(
            Ablation("100 W 10 min", tuple(through + place * direction), 36.0, 42.0) for place in (16.0, 0.0, -16.0)
        )
        made.append(Probe(tuple(through - 95.0 * direction), tuple(through + 30.0 * direction), zones))
    return made


def _timed(work: Callable[[int], object], count: int) -> tuple[float, float]:
    """Median milliseconds of processor time and of wall time."""
    spent = []
    for number in range(count):
        start = time.process_time(), time.perf_counter()
        work(number)
        spent.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu, wall = np.median(np.array(spent), axis=0) * 1000.0
    return float(cpu), float(wall)


def _edt_margin(probes: list[Probe], target: Target) -> np.ndarray:
    """Margins as on voxels: distances between centers on a mask of 1 mm, less half a voxel, linear between them."""
    points = target.surface.points_ras_mm
    reference = grid(tuple(points.min(axis=0) - 30.0), tuple(points.max(axis=0) + 30.0), (1.0, 1.0, 1.0))
    inside = sitk.GetArrayFromImage(zone_mask(probes, reference)) != 0
    signed = np.where(
        inside, ndimage.distance_transform_edt(inside) - 0.5, 0.5 - ndimage.distance_transform_edt(~inside)
    )
    index = frames.ras_to_index(reference, points)
    return ndimage.map_coordinates(signed, index[:, ::-1].T, order=1)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    image, liver = trunk()
    tumor = mask_of(sphere(_CENTER, _RADIUS), grid((-8, -30, -36), (60, 38, 34), (1.0, 1.0, 1.0)))
    target = Target.of(tumor, liver, 5.0)
    start = time.process_time()
    measure = PlanMeasure.of(target, liver)
    built = time.process_time() - start
    surroundings = access.survey(image, liver, tumor, {})
    probes = six_probes(rng)
    plain = LivePlan(measure, probes)
    checked = LivePlan(measure, probes, surroundings=surroundings, longest_mm=_SHAFT_MM)
    moves = [(int(rng.integers(len(probes))), rng.normal(0.0, 2.0, 3)) for _ in range(_MOVES)]

    def move(plan: LivePlan) -> Callable[[int], object]:
        return lambda n: plan.move(moves[n][0], shifted(plan.probes[moves[n][0]], moves[n][1]))

    def anew(_: int) -> np.ndarray:
        points, is_tumor, _ = target.points(171_500)
        covered = is_in_zone(probes, points)
        assert covered[is_tumor].any()
        surface = zone_surface(probes)
        points = target.surface.points_ras_mm
        return np.where(is_in_zone(probes, points), 1.0, -1.0) * surface.distance_mm(points)

    print(
        f"60 mm lesion, {len(target.surface.points_ras_mm)} points of the surface, {int((measure.kinds > 0).sum())} of "
        f"the target, 6 probes of 3 ablations; made ready in {built:.2f} s of processor time"
    )
    print(f"{'method':44s} {'CPU ms':>8s} {'wall ms':>8s} {'MAM mm':>7s} {'error mm: median':>17s} {'max':>6s}")
    found = measure.measure(probes)
    rows = [
        ("move one probe", _timed(move(plain), _MOVES), found.margin_mm),
        ("move one probe, its path checked", _timed(move(checked), _MOVES), found.margin_mm),
        ("the same measurement anew", _timed(lambda _: measure.measure(probes), 10), found.margin_mm),
        ("points, surface on a grid, distance to it", _timed(anew, 2), anew(0)),
        (
            "signed distances on a mask of 1 mm",
            _timed(lambda _: _edt_margin(probes, target), 2),
            _edt_margin(probes, target),
        ),
    ]
    dense = _dense_margin(probes, target.surface.points_ras_mm)
    for name, (cpu, wall), margin in rows:
        error = np.abs(margin - dense)
        print(
            f"{name:44s} {cpu:8.1f} {wall:8.1f} {np.min(margin):7.2f} {np.median(error):17.3f} {error.max():6.2f}",
            flush=True,
        )


def _dense_margin(probes: list[Probe], points: np.ndarray) -> np.ndarray:
    """The margins by points 0.1 mm apart on the surface of all zones; too far by 0.05 mm in its corners."""
    count = 400_000
    steps = np.arange(count) + 0.5
    z, turn = 1 - 2 * steps / count, np.pi * (1 + 5**0.5) * steps
    unit = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    zones = [(probe, ablation) for probe in probes for ablation in probe.ablations]
    free = []
    for number, (probe, ablation) in enumerate(zones):
        stretch = (ablation.long_axis_mm - ablation.short_axis_mm) / 2 * (unit @ probe.direction)[:, None]
        on_zone = unit * ablation.short_axis_mm / 2 + stretch * probe.direction + np.array(ablation.center_ras_mm)
        others = [replace(p, ablations=(a,)) for m, (p, a) in enumerate(zones) if m != number]
        for other in others:
            on_zone = on_zone[~is_in_zone([other], on_zone)]
        free.append(on_zone)
    away = cKDTree(np.concatenate(free)).query(points)[0]
    return np.where(is_in_zone(probes, points), away, -away)


if __name__ == "__main__":
    main()
