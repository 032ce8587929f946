"""The traces of ablation in the image after: zones, rims, gas and needle tracks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .deformation import Deformation
from .geometry import PatientGeometry
from .grids import Grid, Region, ramp, soft_edge
from .lesions import PlannedLesion
from .painting import capsule_level
from .tissues import GAS_HU, RIM_HU, TRACK_HU, ZONE_HU, ZONE_TUMOR_HU

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

#: Width of the hyperemic rim; radius of a needle track, mm. No published source.
_RIM_MM, _TRACK_RADIUS_MM = 1.6, 0.9


def zone_region(lesion: PlannedLesion, deformation: Deformation, grid: Grid, pad_mm: float) -> Region | None:
    """The voxels of the grid after ablation that can hold a lesion's zone and `pad_mm` around it."""
    assert lesion.zone is not None
    surface = np.concatenate([part.surface_points(4.0) for part in lesion.zone.parts])
    moved = deformation.pre_to_post(surface)
    return grid.region(moved.min(axis=0) - pad_mm, moved.max(axis=0) + pad_mm)


def coordinates_before(deformation: Deformation, grid: Grid, region: Region) -> tuple[Field, Field, Field]:
    """R, A, S before ablation of a region of voxels after it, each (K, J, I) float32.

    Within 0.01 mm of the exact inverse.
    """
    s_mm, a_mm, r_mm = (values[part] for values, part in zip(grid.axes_ras_mm()[::-1], region, strict=True))
    offset = deformation.inverse_displacement_on_grid(r_mm, a_mm, s_mm)
    x, y, z = (offset[..., axis].astype(np.float32) for axis in range(3))
    x += r_mm.astype(np.float32)[None, None, :]
    y += a_mm.astype(np.float32)[None, :, None]
    z += s_mm.astype(np.float32)[:, None, None]
    return x, y, z


def paint_zone(
    image: npt.NDArray[np.int16], lesion: PlannedLesion, geometry: PatientGeometry, grid: Grid, seed: int
) -> None:
    """Draw a lesion's zone into the noise-free image after ablation, in place."""
    assert lesion.zone is not None
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([geometry.seed, 99, seed])))
    region = zone_region(lesion, geometry.deformation, grid, 4.0)
    if region is None:
        return
    x, y, z = coordinates_before(geometry.deformation, grid, region)
    level = lesion.zone.ellipsoid_level_on_grid(x, y, z)
    liver = np.asarray(geometry.torso.liver(x, y, z), np.float32)
    edge = float(np.mean(grid.spacing_mm)) * 1.25
    blur = (1.15, 1.3, 1.3)
    in_liver = ramp(liver, edge)
    share = soft_edge(level, blur)
    rim = soft_edge(level - np.float32(_RIM_MM), blur) - share
    value = image[region].astype(np.float32)
    value += rim * in_liver * np.float32(0.85) * (np.float32(RIM_HU) - value)
    ripple = np.sin(0.35 * x + 0.2 * y) * np.sin(0.3 * z + 0.25 * y)
    inside = np.float32(ZONE_HU) + np.float32(4.0) * ripple.astype(np.float32)
    tumor = soft_edge(lesion.tumor.ellipsoid_level_on_grid(x, y, z), blur)
    inside += tumor * np.float32(ZONE_TUMOR_HU - ZONE_HU)
    for center, radius in _bubbles(rng, lesion):
        distance = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
        inside += ramp(distance - np.float32(radius), edge) * (np.float32(GAS_HU) - inside)
    value += share * in_liver * (inside - value)
    image[region] = np.rint(value).astype(np.int16)
    _paint_tracks(image, lesion, geometry, grid, edge)


def _bubbles(rng: np.random.Generator, lesion: PlannedLesion) -> list[tuple[Array, float]]:
    """Small gas bubbles along the probes, in the frame before ablation."""
    assert lesion.zone is not None
    bubbles = []
    for part in lesion.zone.parts:
        for _ in range(int(rng.integers(2, 5))):
            along = rng.normal(0, 0.3) * part.semi_axes_mm[2]
            across = rng.normal(0, 1.6, 2)
            center = part.center_ras_mm + part.axes @ np.array([across[0], across[1], along])
            bubbles.append((center, float(rng.uniform(0.6, 1.6))))
    return bubbles


def _paint_tracks(
    image: npt.NDArray[np.int16], lesion: PlannedLesion, geometry: PatientGeometry, grid: Grid, edge: float
) -> None:
    """The path of each probe from its zone to the capsule, slightly dark."""
    assert lesion.zone is not None
    for part in lesion.zone.parts:
        path = part.center_ras_mm + np.arange(part.semi_axes_mm[2], 140.0, 6.0)[:, None] * part.axes[:, 2]
        outside = np.flatnonzero(geometry.liver.rough_level(path) > -2.0)
        path = path[: outside[0]] if len(outside) else path[:0]
        if len(path) < 2:
            continue
        path = geometry.deformation.pre_to_post(path)
        for start, end in pairwise(path):
            region = grid.region(np.minimum(start, end) - 3.0, np.maximum(start, end) + 3.0)
            if region is None:
                continue
            level = capsule_level(grid.open_coordinates(region), start, end, _TRACK_RADIUS_MM)
            value = image[region].astype(np.float32)
            value += np.float32(0.7) * ramp(level, edge) * np.minimum(np.float32(TRACK_HU) - value, 0)
            image[region] = np.rint(value).astype(np.int16)
