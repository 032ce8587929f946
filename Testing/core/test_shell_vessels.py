"""Vessels in the shell against tubes of known width, length and distance."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.errors import EmptyMaskError, InputError
from NETAblationLib.core.shell_vessels import vessels_in_shell, vessels_text
from NETAblationLib.core.surfaces import mask_surface
from support.shapes import grid, mask_of, rotation, sphere

IMAGE = grid((-26.0,) * 3, (26.0,) * 3, (0.8, 0.8, 1.0))
TUMOR = mask_surface(mask_of(sphere((0.2, 0.3, 0.1), 10.0), IMAGE))


def tube(point, direction, radius):
    axis = np.asarray(direction, float) / np.linalg.norm(direction)

    def level(points):
        offset = points - np.asarray(point, float)
        return np.linalg.norm(offset - (offset @ axis)[:, None] * axis, axis=1) - radius

    return level


@pytest.mark.parametrize("radius", [2.0, 3.0])
def test_a_tube_beside_the_tumor(radius):
    # Its middle passes 10 + 1.5 + radius from the tumor's: the wall 1.5 mm from its surface, in front of it.
    offset = 11.5 + radius
    vessel = mask_of(tube((0.2, 0.3 + offset, 0.1), (1.0, 0.0, 0.4), radius), IMAGE)
    (found,) = vessels_in_shell(TUMOR, {"portal": vessel}, shell_mm=5.0)
    assert found.name == "portal"
    assert found.diameter_mm == pytest.approx(2 * radius, abs=0.5)
    assert found.distance_mm == pytest.approx(1.5, abs=0.4)
    assert found.direction == "anterior"
    assert found.nearest_ras_mm == pytest.approx((0.2, 11.8, 0.1), abs=2.0)
    # The part of the tube within 15 mm of the tumor's center, on fine points.
    points = np.random.default_rng(0).uniform(-16, 16, (400_000, 3)) + np.array([0.2, 0.3, 0.1])
    in_tube = tube((0.2, 0.3 + offset, 0.1), (1.0, 0.0, 0.4), radius)(points) < 0
    away = np.linalg.norm(points - [0.2, 0.3, 0.1], axis=1)
    exact_ml = (in_tube & (away < 15) & (away > 10)).mean() * 32**3 / 1000
    assert found.volume_ml == pytest.approx(exact_ml, rel=0.1)
    assert found.length_mm == pytest.approx(exact_ml * 1000 / (np.pi * radius**2), rel=0.25)
    assert "heat sink" in vessels_text([found], 5.0)[0]


def test_thin_and_far_vessels_are_not_reported():
    thin = mask_of(tube((0, 13, 0), (1, 0, 0), 1.1), IMAGE)
    far = mask_of(tube((0, 0, 22), (1, 0, 0), 2.5), IMAGE)
    assert vessels_in_shell(TUMOR, {"thin": thin, "far": far}, shell_mm=5.0) == []


def test_two_vessels_are_told_apart_the_nearer_first():
    both = {
        "far": mask_of(tube((0.2, 0.3, -16.6), (1, 0, 0), 2.5), IMAGE),
        "near": mask_of(tube((13.4, 0.3, 0.1), (0, 1, 0.2), 2.5), IMAGE),
    }
    near, far = vessels_in_shell(TUMOR, both, shell_mm=8.0)
    assert (near.name, far.name) == ("near", "far")
    assert near.direction == "right"
    assert far.direction == "caudal"
    assert near.distance_mm < 1.5 < far.distance_mm


def test_a_vessel_into_the_tumor_touches_it():
    radial = mask_of(tube((0.2, 0.3, 0.1), rotation((0, 0, 1), 30) @ [1.0, 0, 0], 2.2), IMAGE)
    found = vessels_in_shell(TUMOR, {"feeder": radial}, shell_mm=5.0)
    assert len(found) == 2  # on both sides; what is within the tumor does not join them
    assert all(vessel.distance_mm == 0.0 for vessel in found)
    assert all(vessel.length_mm == pytest.approx(5.0, abs=1.5) for vessel in found)


def test_bad_input_is_refused():
    empty = sitk.Image(IMAGE)
    with pytest.raises(EmptyMaskError, match="portal"):
        vessels_in_shell(TUMOR, {"portal": empty}, shell_mm=5.0)
    with pytest.raises(InputError, match="above 0"):
        vessels_in_shell(TUMOR, {}, shell_mm=0.0)
