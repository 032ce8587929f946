"""Lesions: diameters, distances and matching against known shapes; debulking of 50 lesions beside greedy."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.debulking import plan_debulking
from NETAblationLib.core.diameters import axial_diameters_mm, longest_3d_mm
from NETAblationLib.core.lesion_matching import match_lesions
from NETAblationLib.core.lesion_measures import measure_lesions
from NETAblationLib.core.surfaces import mask_surface
from support import shapes

_SPACINGS = ((0.75, 0.75, 1.5), (0.75, 0.75, 5.0), (1.5, 1.5, 2.5))
_PLACES_PER_SIZE = 8


def _between_voxels_mm(mask: sitk.Image) -> float:
    """Longest diameter in a slice from outline to outline of the voxels, which most tools take."""
    spacing = np.array(mask.GetSpacing())[:2]
    best = 0.0
    for plane in sitk.GetArrayViewFromImage(mask) > 0:
        rows, columns = np.nonzero(plane)
        points = np.stack([columns, rows], axis=1) * spacing
        corners = np.concatenate([points + spacing * corner for corner in itertools.product((-0.5, 0.5), repeat=2)])
        if len(points):
            corners = np.unique(corners, axis=0)
            best = max(best, float(np.linalg.norm(corners[:, None] - corners, axis=2).max()))
    return best


def _diameters() -> None:
    print("Diameters of spheres: mean error (largest), mm")
    print(f"{'voxels mm':18s} {'true':>5s} {'axial long':>13s} {'axial short':>13s} {'3D':>13s} {'voxel corners':>14s}")
    rng = np.random.default_rng(0)
    for spacing, radius in itertools.product(_SPACINGS, (4.0, 10.0)):
        errors = []
        for _ in range(_PLACES_PER_SIZE):
            center = rng.uniform(-1, 1, 3)
            grid = shapes.grid((-radius - 6,) * 3, (radius + 6,) * 3, spacing)
            mask = shapes.mask_of(shapes.sphere(center, radius), grid)
            surface = mask_surface(mask)
            found = (*axial_diameters_mm(mask, surface), longest_3d_mm(surface), _between_voxels_mm(mask))
            errors.append(np.array(found) - 2 * radius)
        columns = [f"{np.mean(e):+.2f} ({np.abs(e).max():.2f})" for e in np.transpose(errors)]
        print(f"{spacing!s:18s} {2 * radius:5.0f} " + " ".join(f"{text:>13s}" for text in columns))


def _distances() -> None:
    print("\nDistance from a lesion to the capsule and to an organ, 2 spheres in a sphere: mean error (largest), mm")
    rng = np.random.default_rng(1)
    for spacing in _SPACINGS:
        grid = shapes.grid((-46, -46, -46), (46, 46, 46), spacing)
        liver = shapes.mask_of(shapes.sphere((0, 0, 0), 42.0), grid)
        capsule, organ, seconds = [], [], []
        for _ in range(3):
            center, other = rng.uniform(-12, 12, 3), rng.uniform((-12, -12, 14), (12, 12, 38))
            lesion = shapes.mask_of(shapes.sphere(center, 8.0), grid)
            structure = shapes.mask_of(shapes.sphere(other, 5.0), grid)
            start = time.perf_counter()
            found = measure_lesions({"one": lesion}, liver, structures={"other": structure}).lesions[0].distances_mm
            seconds.append(time.perf_counter() - start)
            capsule.append(found["capsule"] - (42 - np.linalg.norm(center) - 8))
            organ.append(found["other"] - max(np.linalg.norm(center - other) - 13, 0))
        texts = [f"{np.mean(np.abs(e)):.2f} ({np.abs(e).max():.2f})" for e in (capsule, organ)]
        print(f"{spacing!s:18s} capsule {texts[0]}   organ {texts[1]}   {np.mean(seconds):.1f} s")


def _matching() -> None:
    print("\nMatching of 20 lesions of 6 to 16 mm after a registration that is wrong by some mm: right of 20")
    rng = np.random.default_rng(2)
    grid = shapes.grid((-80, -60, -60), (80, 60, 60), (1.5, 1.5, 2.5))
    places = rng.permutation([(x, y, z) for x in range(-60, 61, 24) for y in (-36, -12, 12, 36) for z in (-30, 0, 30)])
    places, radii = places[:20] + rng.uniform(-3, 3, (20, 3)), rng.uniform(3, 8, 20)
    masks = {f"{n}": shapes.mask_of(shapes.sphere(place, radii[n]), grid) for n, place in enumerate(places)}
    for error_mm in (0, 3, 6, 9, 12):
        matrix = np.eye(4)
        matrix[:3, 3] = np.array([2.0, -1.0, 2.0]) / 3 * error_mm
        start = time.perf_counter()
        found = match_lesions(masks, masks, present_to_earlier=frames.affine_transform(matrix))
        right = sum(match.earlier == match.present for match in found)
        print(f"{error_mm:3d} mm: {right:2d}   {time.perf_counter() - start:.2f} s")


def _greedy(volumes: dict[str, float], costs: dict[str, float], goal: float) -> float:
    """Cost of taking the largest volume for its cost again and again."""
    total, reached, cost = math.fsum(volumes.values()), 0.0, 0.0
    for name in sorted(volumes, key=lambda name: -volumes[name] / costs[name]):
        if reached >= goal * total:
            break
        reached, cost = reached + volumes[name], cost + costs[name]
    return cost


def _debulking() -> None:
    print("\nDebulking of 50 lesions, 20 draws: seconds, and what greedy costs more")
    for kind, goal in itertools.product(("probes", "liver", "close to volume"), (0.7, 0.9)):
        seconds, more = [], []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            sizes = rng.lognormal(0.5, 1.3, 50)
            if kind == "probes":
                prices = np.ceil(sizes ** (1 / 3) * rng.uniform(0.8, 1.6, 50))
            elif kind == "liver":
                prices = sizes ** (2 / 3) * rng.uniform(2, 4, 50)
            else:
                prices = sizes * rng.uniform(0.99, 1.01, 50)
            names = [f"lesion-{n}" for n in range(50)]
            volumes = dict(zip(names, sizes.tolist(), strict=True))
            costs = dict(zip(names, prices.tolist(), strict=True))
            start = time.perf_counter()
            found = plan_debulking(volumes, costs, goal)
            seconds.append(time.perf_counter() - start)
            more.append(_greedy(volumes, costs, goal) / found.total_cost - 1)
        print(
            f"{kind:16s} {100 * goal:3.0f} %: mean {np.mean(seconds):.3f} s, longest {max(seconds):.3f} s; "
            f"greedy costs {100 * np.mean(more):.1f} % more (at most {100 * max(more):.1f} %)",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    _diameters()
    _distances()
    _matching()
    _debulking()


if __name__ == "__main__":
    main()
