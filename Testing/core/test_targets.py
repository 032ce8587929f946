"""The target of a plan: the tumor and what lies within the margin, inside the liver."""

from __future__ import annotations

import numpy as np
import pytest

from NETAblationLib.core.errors import GeometryError
from NETAblationLib.core.margins import MAX_MARGIN_MM
from NETAblationLib.core.targets import Target
from support.shapes import grid, mask_of, sphere


@pytest.mark.parametrize("margin_mm", [0.0, 3.0, 10.0, MAX_MARGIN_MM])
@pytest.mark.parametrize("radius_mm", [5.0, 12.0])
def test_the_target_of_a_ball_is_a_larger_ball(radius_mm, margin_mm):
    center = np.array([0.3, -0.2, 0.4])
    tumor = mask_of(sphere(center, radius_mm), grid((-14,) * 3, (14,) * 3, (1.0,) * 3))
    liver = mask_of(sphere((0, 0, 0), 50.0), grid((-52,) * 3, (52,) * 3, (2.0,) * 3))
    target = Target.of(tumor, liver, margin_mm)
    points, is_tumor, voxel_ml = target.points(40_000)
    exact = 4 / 3 * np.pi * (radius_mm + margin_mm) ** 3 / 1000
    assert len(points) * voxel_ml == pytest.approx(exact, rel=0.03)
    assert is_tumor.sum() * voxel_ml == pytest.approx(4 / 3 * np.pi * radius_mm**3 / 1000, rel=0.04)
    distance = np.linalg.norm(points - center, axis=1)
    assert distance.max() <= radius_mm + margin_mm + 0.3
    assert distance[is_tumor].max() <= radius_mm + 0.3
    shell = np.linalg.norm(target.shell_points(margin_mm, 500) - center, axis=1)
    assert shell == pytest.approx(radius_mm + margin_mm, abs=0.35)
    assert target.center_ras_mm == pytest.approx(center, abs=0.1)
    assert target.is_evaluable.all()


def test_the_target_ends_at_the_capsule_and_the_tumor_does_not():
    tumor_level, cap = sphere((0, 0, 0), 10.0), 6.0
    image = grid((-40,) * 3, (40,) * 3, (1.0,) * 3)
    liver = mask_of(lambda p: p[:, 0] - cap + 0.5, image)
    target = Target.of(mask_of(tumor_level, image), liver, 5.0)
    points, is_tumor, voxel_ml = target.points(60_000)
    assert np.all(is_tumor | (points[:, 0] <= cap + 0.4))
    assert is_tumor.sum() * voxel_ml == pytest.approx(4 / 3 * np.pi, rel=0.03)
    # Of the ball of 15 mm what is beneath the plane, and of the one of 10 mm what is above it.
    beneath = np.pi / 3 * (15.0 + cap) ** 2 * (3 * 15.0 - (15.0 + cap)) / 1000
    above = np.pi / 3 * (10.0 - cap) ** 2 * (3 * 10.0 - (10.0 - cap)) / 1000
    assert len(points) * voxel_ml == pytest.approx(beneath + above, rel=0.03)
    # The surface at least 5 mm beneath the capsule is that with x below 1: 11 of 20 mm of the sphere's height.
    areas = target.surface.point_areas_mm2
    assert areas[target.is_evaluable].sum() / areas.sum() == pytest.approx(11 / 20, abs=0.03)
    assert np.all(target.shell_points(5.0, 500)[:, 0] <= cap + 0.4)


def test_a_tumor_outside_of_the_liver_is_refused():
    image = grid((-20,) * 3, (60, 20, 20), (1.5,) * 3)
    tumor, liver = mask_of(sphere((40, 0, 0), 6.0), image), mask_of(sphere((0, 0, 0), 15.0), image)
    with pytest.raises(GeometryError, match="tumor: lies outside the liver mask"):
        Target.of(tumor, liver, 5.0)
