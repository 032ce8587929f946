"""Radius by the contrast of a cross-section, of tubes whose radius is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from NETAblationLib.core.vessel_radius import Profiles, running_median
from NETAblationLib.core.vessel_tracing import Branch

SPACING_MM, COUNT, BLUR_MM, BLOOD = 0.8, 45, 0.9, 60.0


def _tube(radius_mm: float, across_mm: float = 0.0) -> np.ndarray:
    """Contrast (K, J, I) of a straight tube along I, blurred as an image is, its middle off by so much along J."""
    fine = np.arange(-0.375, 0.5, 0.25)
    along = ((np.arange(COUNT) - COUNT // 2)[:, None] + fine).ravel() * SPACING_MM
    inside = np.hypot(along[:, None], along - across_mm) < radius_mm
    share = inside.reshape(COUNT, len(fine), COUNT, len(fine)).mean(axis=(1, 3))
    blurred = ndimage.gaussian_filter(share, BLUR_MM / SPACING_MM)
    return BLOOD * np.repeat(blurred[:, :, None], 20, axis=2)


def _radius_mm(contrast: np.ndarray) -> float:
    points = np.column_stack([np.full(12, COUNT // 2), np.full(12, COUNT // 2), np.arange(4, 16)]).astype(float)
    branch = Branch(np.arange(12), points, np.tile([0.0, 0.0, 1.0], (12, 1)), -1, True)
    return float(np.median(Profiles.around(branch, contrast, SPACING_MM).radius_mm(BLOOD)))


@pytest.mark.parametrize("radius_mm", [1.25, 1.5, 2.0, 3.0, 4.5])
def test_the_radius_of_a_blurred_tube_is_that_of_its_lumen(radius_mm):
    """Thin ones seem thinner by up to 0.2 mm: the end of their profile is lost in noise and not counted."""
    assert _radius_mm(_tube(radius_mm)) == pytest.approx(radius_mm, abs=0.2)


@pytest.mark.parametrize("off", [-6.0, 6.0])
def test_a_thin_vessel_in_brighter_or_duller_liver_seems_hardly_thicker_or_thinner(off):
    """By a tenth of the blood's contrast, which adds a third to what a cross-section holds."""
    tube = _tube(1.5)
    assert _radius_mm(tube + off) == pytest.approx(_radius_mm(tube), abs=0.17)


def test_a_neighbor_does_not_add_to_a_thin_vessel():
    """As thick and as bright, 2.5 mm between their walls."""
    tube = _tube(1.5)
    assert _radius_mm(np.maximum(tube, _tube(1.5, 5.5))) == pytest.approx(_radius_mm(tube), abs=0.05)


def test_the_running_median_is_that_of_the_usable_values_nearby():
    """4 mm to each side; where none is usable there, the nearest, and where none is at all, all."""
    rng = np.random.default_rng(3)
    along = np.cumsum(rng.uniform(0.3, 1.2, 60))
    values, usable = rng.normal(size=60), rng.random(60) < 0.7
    usable[20:45] = False
    found = running_median(values, usable, along)
    for place, value in zip(along, found, strict=True):
        near = usable & (np.abs(along - place) <= 4.0)
        nearest = values[usable][min(np.searchsorted(along[usable], place), usable.sum() - 1)]
        assert value == pytest.approx(np.median(values[near]) if near.any() else nearest)
    assert running_median(values, np.zeros(60, bool), along) == pytest.approx(np.median(values))
