"""How sure plans are: against the closed formula, in time, and how much surer a search makes them."""

from __future__ import annotations

import time

import numpy as np
from scipy import stats

from benchmarks.bench_live import six_probes
from NETAblationLib.core import access
from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.path_checks import check_path
from NETAblationLib.core.planning import Request, plan_probes
from NETAblationLib.core.probes import Ablation, Probe, zone_surface
from NETAblationLib.core.robust_draws import Errors
from NETAblationLib.core.robustness import plan_robustness, robust_placement
from NETAblationLib.core.surveys import Scan
from NETAblationLib.core.targets import Target
from support.shapes import Level, ellipsoid, grid, mask_of, rotation, sphere
from support.trunk import trunk

_CENTER = np.array([25.3, 4.2, -1.7])
_SHAFT_MM = 200.0
#: Name, shape and margin in mm of lesions whose plans are made surer.
_LESIONS: list[tuple[str, Level, float]] = [
    ("15 mm", sphere(_CENTER, 7.5), 5.0),
    ("22 mm", sphere(_CENTER, 11.0), 5.0),
    ("22 mm", sphere(_CENTER, 11.0), 10.0),
    ("30 mm", sphere(_CENTER, 15.0), 5.0),
    ("36 x 24 x 20 mm", ellipsoid(_CENTER, (18.0, 12.0, 10.0), rotation((1, 2, 3), 40.0)), 5.0),
    ("40 mm", sphere(_CENTER, 20.0), 5.0),
]


def _against_rayleigh(target: Target) -> None:
    """A ball of 22 mm in a zone of 38 mm with nothing but the lateral error."""
    along = np.array([-1.0, 0.0, 0.0])
    zone = Ablation("ball", tuple(_CENTER), 38.0, 38.0)
    probe = Probe(tuple(_CENTER - 90 * along), tuple(_CENTER + 25 * along), (zone,))
    errors = Errors(depth_mm=0.0, registration_mm=0.0, size_sd_fraction=0.0)
    law = stats.rayleigh(scale=errors.lateral_sd_mm)
    print(f"{'least margin mm':>15s} {'exact %':>8s}   % by draws, of five seeds")
    found = [plan_robustness(target, [probe], errors=errors, seed=seed).chances for seed in range(5)]
    for name, least_mm in (("margin_0", 0.0), ("margin_80_percent", 4.0), ("margin_asked", 5.0)):
        drawn = "  ".join(f"{100 * chances[name].fraction:5.1f}" for chances in found)
        print(f"{least_mm:15.1f} {100 * law.cdf(19.0 - 11.0 - least_mm):8.1f}   {drawn}")


def main() -> None:
    """Print the tables."""
    image, liver = trunk()
    around = grid((-10, -34, -40), (64, 42, 36), (1.0, 1.0, 1.0))
    _against_rayleigh(Target.of(mask_of(sphere(_CENTER, 11.0), around), liver, 5.0))
    large = Target.of(mask_of(sphere(_CENTER, 30.0), around), liver, 5.0)
    spent = []
    for seed in range(5):
        start = time.process_time(), time.perf_counter()
        plan_robustness(large, six_probes(np.random.default_rng(0)), seed=seed)
        spent.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu, wall = np.median(spent, axis=0)
    print(f"\n1000 draws, 60 mm lesion, 6 probes of 3 ablations: {cpu:.2f} s of processor time, {wall:.2f} s wall")
    print(
        f"\n{'lesion':16s} {'margin':>6s} {'probes':>6s} {'plan':7s} {'tumor %':>8s} {'MAM>=0 %':>9s} {'>=80 %':>7s} "
        f"{'asked %':>8s} {'MAM p05':>8s} {'p50':>6s} {'zone ml':>8s} {'CPU s':>6s}"
    )
    device = load_catalogue()["emprint-mwa"]
    for name, level, margin_mm in _LESIONS:
        tumor = mask_of(level, around)
        target = Target.of(tumor, liver, margin_mm)
        surroundings = access.survey(image, liver, tumor, {})
        probes = plan_probes(Scan(image, liver), tumor, Request(device, margin_mm)).probes

        def is_free(probe: Probe, surroundings: access.Surroundings = surroundings) -> bool:
            return check_path(surroundings, probe.entry_ras_mm, probe.tip_ras_mm, longest_mm=_SHAFT_MM).is_free

        start_s = time.process_time()
        surer = robust_placement(target, probes, device=device, is_allowed=is_free)
        seconds = time.process_time() - start_s
        larger = robust_placement(target, probes, device=device, is_allowed=is_free, may_enlarge=True)
        for kind, plan in (("planned", probes), ("shifted", surer), ("larger", larger)):
            # Draws that the search has not seen.
            found = plan_robustness(target, plan, device=device, seed=99)
            shares = [100 * chance.fraction for chance in found.chances.values()]
            mam = found.mam_mm or {}
            print(
                f"{name:16s} {margin_mm:6.0f} {len(plan):6d} {kind:7s} {shares[0]:8.1f} {shares[1]:9.1f} "
                f"{shares[2]:7.1f} {shares[3]:8.1f} {mam['p05']:8.1f} {mam['p50']:6.1f} "
                f"{zone_surface(plan).volume_ml:8.0f} {seconds if kind == 'shifted' else 0.0:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
