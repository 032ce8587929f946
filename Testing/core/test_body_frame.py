"""The body's axes, and with them its anatomy, whichever way the frame or the voxels are turned."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.anatomy import find_obstacles
from NETAblationLib.core.body_frame import body_axes
from NETAblationLib.core.skin import Place
from support.shapes import rotation
from support.turning import oblique_voxels, turned_frame

AXIS = (1.0, -0.6, 0.5)
TURNS = [
    rotation((1, 0, 0), 10.0),
    rotation((1, 0, 0), -45.0),
    rotation((0, 1, 0), 45.0),
    rotation((0, 0, 1), 25.0),
    rotation(AXIS, -25.0),
    rotation((0, 0, 1), 45.0) @ rotation((1, 0, 0), 40.0),
]


def _inside(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(mask) > 0


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def _angle_degrees(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1))))


@pytest.mark.parametrize("number", range(len(TURNS)))
def test_the_axes_are_the_bodys_where_frame_voxels_or_both_are_turned(small_patient, number):
    turn, other = TURNS[number], rotation((0.3, 1.0, 0.3), 20.0)
    image = small_patient.portal
    assert _angle_degrees(body_axes(turned_frame(image, turn)), turn) < 0.01
    oblique = oblique_voxels(image, turn)
    assert np.array_equal(body_axes(oblique), np.eye(3))
    assert _angle_degrees(body_axes(turned_frame(oblique, other)), other) < 1.0


@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True)])
def test_the_order_of_the_voxels_does_not_matter(small_patient, flips):
    stored = sitk.PermuteAxes(sitk.Flip(turned_frame(small_patient.portal, TURNS[4]), list(flips)), [2, 0, 1])
    assert _angle_degrees(body_axes(stored), TURNS[4]) < 0.01


def test_what_has_no_axes_keeps_those_of_the_voxels():
    ball = np.linalg.norm(np.indices((60, 60, 60)) - 29.5, axis=0) < 24
    image = sitk.GetImageFromArray(np.where(ball, 40.0, -1000.0).astype(np.float32))
    image.SetSpacing((4.0, 4.0, 4.0))
    assert np.array_equal(body_axes(image), np.eye(3))


def test_a_round_trunk_has_its_long_axis_only():
    """A cylinder shows no right and no anterior: those nearest to the world's are taken."""
    s, a, r = (np.indices((60, 60, 60)) - 29.5) * 4.0
    for degrees in (0.0, 20.0):
        tilt = np.radians(degrees)
        across = a * np.cos(tilt) - s * np.sin(tilt)
        image = sitk.GetImageFromArray(np.where(np.hypot(r, across) < 80, 40.0, -1000.0).astype(np.float32))
        image.SetSpacing((4.0, 4.0, 4.0))
        image.SetDirection(np.diag([-1.0, -1.0, 1.0]).ravel())
        assert _angle_degrees(body_axes(image), rotation((1, 0, 0), -degrees)) < 2.0


def test_a_turned_frame_gives_the_same_anatomy(small_patient):
    image = small_patient.portal
    plain, turned = find_obstacles(image), find_obstacles(turned_frame(image, TURNS[4]))
    for name in ("body", "lung", "bone", "dense"):
        first, second = plain.mask(name, image), turned.mask(name, turned_frame(image, TURNS[4]))
        assert _dice(_inside(first), _inside(second)) > 0.9999, name
        # On the grid along the world's axes, too.
        assert getattr(turned, name).sum() == pytest.approx(getattr(plain, name).sum(), rel=0.03), name
    assert not np.any(turned.bone & turned.lung)
    skins = plain.skin, turned.skin
    shares = [(skin.places == Place.TABLE_SIDE).mean() for skin in skins]
    assert shares[1] == pytest.approx(shares[0], abs=1e-6)
    assert skins[1].surface.volume_ml == pytest.approx(skins[0].surface.volume_ml, rel=1e-6)
