"""Diameters against formulas: axial long and short axis, and the longest line in 3D."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.diameters import axial_diameters_mm, longest_3d_mm
from NETAblationLib.core.surfaces import mask_surface
from support import shapes

CENTER = (3.2, -4.7, 1.9)


@pytest.mark.parametrize("spacing", [(0.75, 0.75, 1.5), (1.5, 1.5, 2.5), (0.75, 0.75, 5.0)])
@pytest.mark.parametrize("radius_mm", [4.0, 9.0, 15.0])
def test_a_sphere_is_as_wide_as_it_is(spacing, radius_mm):
    """Stair-steps of voxels would add half of one and more."""
    around = radius_mm + 6.0
    grid = shapes.grid(tuple(np.array(CENTER) - around), tuple(np.array(CENTER) + around), spacing)
    mask = shapes.mask_of(shapes.sphere(CENTER, radius_mm), grid)
    longest, across = axial_diameters_mm(mask)
    assert longest == pytest.approx(2 * radius_mm, abs=0.5)
    assert across == pytest.approx(2 * radius_mm, abs=0.6)
    assert longest_3d_mm(mask_surface(mask)) == pytest.approx(2 * radius_mm, abs=0.5 * spacing[2])


@pytest.mark.parametrize(
    ("axis", "degrees"), [((0, 0, 1), 0.0), ((0, 0, 1), 77.0), ((1, 0.4, 0), 50.0), ((0.2, 1, 0.5), 65.0)]
)
def test_an_ellipsoid_of_any_attitude_has_the_axes_of_its_middle_slice(axis, degrees):
    semi = np.array([18.0, 11.0, 7.0])
    axes = shapes.rotation(axis, degrees)
    grid = shapes.grid((-22, -22, -22), (22, 22, 22), (0.8, 0.8, 1.0))
    mask = shapes.mask_of(shapes.ellipsoid((0, 0, 0), semi, axes), grid)
    form = axes @ np.diag(1 / semi**2) @ axes.T
    short, long = np.sort(2 / np.sqrt(np.linalg.eigvalsh(form[:2, :2])))
    assert axial_diameters_mm(mask) == (pytest.approx(long, abs=0.5), pytest.approx(short, abs=0.6))
    assert longest_3d_mm(mask_surface(mask)) == pytest.approx(36.0, abs=0.5)


def test_the_short_axis_is_a_line_across_and_not_the_whole_extent():
    """A bar with a knob to one side here and to the other there: 14 mm across at each, 24 mm over all."""

    def knobs(points):
        in_slice = points[:, :2]
        bar = np.hypot(np.maximum(np.abs(points[:, 0]) - 20.0, 0.0), points[:, 1]) - 2.0
        left, right = (np.linalg.norm(in_slice - place, axis=1) - 6.0 for place in ((-8.0, 6.0), (8.0, -6.0)))
        return np.maximum(np.minimum(bar, np.minimum(left, right)), np.abs(points[:, 2]) - 3.0)

    grid = shapes.grid((-26, -16, -7), (26, 16, 7), (0.5, 0.5, 1.0), shapes.rotation((0, 0, 1), 15.0))
    longest, across = axial_diameters_mm(shapes.mask_of(knobs, grid))
    assert longest == pytest.approx(44.0, abs=0.5)
    assert across == pytest.approx(14.0, abs=0.7)


@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True)])
def test_stored_order_and_orientation_do_not_matter(flips):
    level = shapes.union(shapes.sphere(CENTER, 7.0), shapes.sphere(np.add(CENTER, (8, 3, 2)), 5.0))
    grid = shapes.grid((-14, -18, -12), (24, 12, 16), (0.9, 0.9, 1.5))
    mask = shapes.mask_of(level, grid)
    turned = sitk.PermuteAxes(sitk.Flip(mask, list(flips)), [1, 2, 0])
    assert axial_diameters_mm(turned) == pytest.approx(axial_diameters_mm(mask), abs=0.02)
    assert longest_3d_mm(mask_surface(turned)) == pytest.approx(longest_3d_mm(mask_surface(mask)), rel=2e-3)


@pytest.mark.parametrize("seed", range(12))
def test_few_voxels_have_diameters_too_and_3d_is_the_longest(seed):
    values = (np.random.default_rng(seed).random((3, 4, 4)) < 0.25).astype(np.uint8)
    values[1, 1, 1] = 1
    mask = sitk.GetImageFromArray(values)
    mask.SetSpacing((0.7, 0.7, 4.0))
    longest, across = axial_diameters_mm(mask)
    assert 0 < across <= longest
    assert longest_3d_mm(mask_surface(mask)) >= 0.999 * longest


def test_an_empty_mask_has_none():
    assert axial_diameters_mm(sitk.Image(5, 5, 5, sitk.sitkUInt8)) == (0.0, 0.0)
