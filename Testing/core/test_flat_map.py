"""The flat map keeps areas, leaves nothing out, and has the sides of the patient where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from NETAblationLib.core.errors import GeometryError
from NETAblationLib.core.flat_map import flat_maps
from NETAblationLib.core.surfaces import Surface, mask_surface
from support.shapes import ellipsoid, grid, mask_of, rotation, sphere, union

IMAGE = grid((-26.0,) * 3, (26.0,) * 3, (1.0, 1.0, 1.0))


def bent():
    """A banana: balls along three quarters of a ring, which no center sees whole."""
    angles = np.deg2rad(np.arange(-100, 101, 10))
    return union(*[sphere((14 * np.cos(a), 14 * np.sin(a), 3 * a), 6.0) for a in angles])


SHAPES = {
    "ball": sphere((2.0, -1.0, 3.0), 12.0),
    "ellipsoid": ellipsoid((0, 0, 0), (20, 9, 12), rotation((1, 1, 0), 40)),
    "dented": union(sphere((-5, 0, 0), 9.0), sphere((8, 2, 3), 7.0)),
    "bent": bent(),
}


def patches(surface: Surface, count: int = 40) -> np.ndarray:
    """Which of some patches around points far apart each triangle belongs to."""
    middles = surface.points_ras_mm[surface.triangles].mean(axis=1)
    seeds = middles[[0]]
    for _ in range(count - 1):
        gap = np.linalg.norm(middles[:, None] - seeds, axis=2).min(axis=1)
        seeds = np.concatenate([seeds, middles[[gap.argmax()]]])
    return np.linalg.norm(middles[:, None] - seeds, axis=2).argmin(axis=1)


@pytest.mark.parametrize("name", SHAPES)
def test_areas_on_the_map_are_those_of_the_surface(name):
    surface = mask_surface(mask_of(SHAPES[name], IMAGE))
    (found,) = flat_maps(surface)
    flat, true = found.triangle_areas_mm2(), found.surface.triangle_areas_mm2
    assert abs(flat).sum() == pytest.approx(surface.area_mm2, rel=0.03)
    patch = patches(found.surface)
    ratio = np.bincount(patch, np.abs(flat)) / np.bincount(patch, true)
    assert np.abs(ratio - 1).mean() < 0.03
    assert np.abs(ratio - 1).max() < 0.12
    width, height = found.half_axes_mm
    assert np.pi * width * height == pytest.approx(surface.area_mm2, rel=1e-6)
    assert ((found.points_mm / [width, height]) ** 2).sum(axis=1).max() < 1 + 1e-6


def test_the_sides_lie_as_seen_from_the_front():
    (found,) = flat_maps(mask_surface(mask_of(SHAPES["ball"], IMAGE)))
    width, height = found.half_axes_mm
    compass = {name: np.array(place) / [width, height] for name, place in found.compass.items()}
    assert compass["anterior"] == pytest.approx([0, 0], abs=0.06)
    assert compass["right"] == pytest.approx([-0.5, 0], abs=0.06)
    assert compass["left"] == pytest.approx([0.5, 0], abs=0.06)
    assert compass["cranial"][1] > 0.9
    assert compass["caudal"][1] < -0.9
    assert abs(compass["posterior"][0]) > 0.9


def test_the_picture_shows_each_share_of_the_surface_with_its_area():
    (found,) = flat_maps(mask_surface(mask_of(SHAPES["ellipsoid"], IMAGE)))
    heights = found.surface.points_ras_mm[:, 2]
    picture = found.raster(heights, 400)
    seen = picture[np.isfinite(picture)]
    assert picture.shape == (200, 400)
    assert seen.size / picture.size == pytest.approx(np.pi / 4, abs=0.01)
    areas = found.surface.point_areas_mm2
    for limit in (-8.0, 0.0, 5.0):
        assert (seen < limit).mean() == pytest.approx(areas[heights < limit].sum() / areas.sum(), abs=0.02)


def test_each_part_has_its_own_map_and_the_points_their_numbers():
    surface = mask_surface(mask_of(union(sphere((-14, 0, 0), 5.0), sphere((12, 0, 0), 9.0)), IMAGE))
    large, small = flat_maps(surface)
    assert large.surface.area_mm2 > small.surface.area_mm2
    for part in (large, small):
        assert surface.points_ras_mm[part.point_numbers] == pytest.approx(part.surface.points_ras_mm)


def test_rings_and_open_surfaces_are_refused():
    def ring(points):
        return np.hypot(np.hypot(points[:, 0], points[:, 1]) - 14, points[:, 2]) - 5

    with pytest.raises(GeometryError, match="handle"):
        flat_maps(mask_surface(mask_of(ring, IMAGE)))
    with pytest.raises(GeometryError, match="open"):
        flat_maps(Surface(np.eye(3) * 5, np.array([[0, 1, 2]])))
