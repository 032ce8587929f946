"""Zones carried over with the contraction of ablated tissue taken back."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.carry import carry_field
from NETAblationLib.core.errors import InputError
from NETAblationLib.core.surfaces import smooth_field
from support import shapes

CENTER = np.array([3.0, -5.0, 9.0])


def zone():
    grid = shapes.grid((-30.0, -30.0, -20.0), (30.0, 30.0, 40.0), (1.5, 1.5, 2.0))
    return smooth_field(shapes.mask_of(shapes.sphere(CENTER, 12.0), grid), "zone")


@pytest.mark.parametrize("transform", [None, sitk.TranslationTransform(3, (0.0, 0.0, -7.0))])
def test_a_zone_is_enlarged_about_its_centroid(transform):
    carried = carry_field(zone(), transform, CENTER, zone_shrinkage_fraction=0.2)
    expected = CENTER + np.array([0.0, 0.0, 0.0 if transform is None else 7.0])
    points = carried.surface().points_ras_mm
    radius = np.linalg.norm(points - expected, axis=1)
    assert radius.mean() == pytest.approx(12.0 / 0.8, abs=0.15)
    assert radius.std() < 0.2
    assert carried.evaluate(expected[None] + np.array([17.0, 0.0, 0.0]))[0] == pytest.approx(2.0, abs=0.3)


def test_none_is_the_default_and_nonsense_is_refused():
    field = zone()
    assert carry_field(field, None, CENTER) is field
    for fraction in (-0.1, 0.7, float("nan")):
        with pytest.raises(InputError, match="shrinkage"):
            carry_field(field, None, CENTER, zone_shrinkage_fraction=fraction)
