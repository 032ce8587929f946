"""Vessels of two images compared through a deformation, on tubes with known middles."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.deformable import Deformation
from NETAblationLib.core.errors import EmptyMaskError, GeometryError, InputError
from NETAblationLib.core.freeform import Lattice
from NETAblationLib.core.fusion_vessels import VesselPair
from support import shapes

TRUNK = (np.array([-40.0, 0.0, 0.0]), np.array([30.0, 0.0, 0.0]))
BRANCH = (np.array([0.0, 0.0, 0.0]), np.array([20.0, 35.0, 10.0]))


def tubes(*ends: tuple[np.ndarray, np.ndarray], radius_mm=3.0, shift=(0.0, 0.0, 0.0), direction=None) -> sitk.Image:
    """Tubes between points, on voxels of 1.25 mm."""
    grid = shapes.grid((-55.0, -45.0, -45.0), (55.0, 50.0, 45.0), (1.25, 1.25, 1.25), direction)
    points = shapes.voxel_centers(grid) - np.array(shift)
    distance = np.full(len(points), np.inf)
    for start, end in ends:
        along = end - start
        share = np.clip((points - start) @ along / (along @ along), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(points - start - share[:, None] * along, axis=1))
    mask = sitk.GetImageFromArray((distance <= radius_mm).astype(np.uint8).reshape(grid.GetSize()[::-1]))
    mask.CopyInformation(grid)
    return mask


def deformation(shift=(0.0, 0.0, 0.0), rigid=None) -> Deformation:
    """u = shift everywhere, before a rigid part."""
    lattice = Lattice.around(np.full(3, -60.0), np.full(3, 60.0), 28.0)
    control = np.broadcast_to(np.array(shift, dtype=np.float32)[:, None, None, None], (3, *lattice.shape))
    return Deformation(np.eye(4) if rigid is None else rigid, lattice, np.array(control))


def pair_of(fixed: sitk.Image, moving: sitk.Image) -> VesselPair:
    pair = VesselPair.of(fixed, moving, fixed, moving)
    assert pair is not None
    return pair


def test_vessels_that_lie_on_each_other():
    found = pair_of(tubes(TRUNK, BRANCH), tubes(TRUNK, BRANCH)).agreement(deformation())
    assert found.dice > 0.98
    assert found.centerline_distance_mm < 0.1


def test_the_distance_is_that_of_the_middles():
    """A shift of 4 mm across a straight vessel leaves its middle 4 mm off; the deformation takes it back."""
    pair = pair_of(tubes(TRUNK), tubes(TRUNK, shift=(0.0, 0.0, 4.0)))
    off = pair.agreement(deformation())
    assert off.centerline_distance_mm == pytest.approx(4.0, abs=0.3)
    # Two circles of radius 3 whose centers lie 4 apart share this much of their area: a lens as thin as the voxels.
    overlap = (2 * 9 * np.arccos(4 / 6) - 2 * np.sqrt(36 - 16)) / (9 * np.pi)
    assert off.dice == pytest.approx(overlap, abs=0.08)
    back = pair.agreement(deformation((0.0, 0.0, 4.0)))
    assert back.centerline_distance_mm < 0.3
    assert back.dice > 0.93


def test_the_rigid_part_alone():
    turn = np.eye(4)
    turn[:3, 3] = (0.0, 0.0, 4.0)
    pair = pair_of(tubes(TRUNK), tubes(TRUNK, shift=(0.0, 0.0, 4.0)))
    assert pair.agreement(deformation((0.0, 3.0, 0.0), turn), rigid_only=True).centerline_distance_mm < 0.3
    assert pair.agreement(deformation((0.0, 3.0, 0.0), turn)).centerline_distance_mm == pytest.approx(3.0, abs=0.3)


def test_a_branch_that_one_image_lacks_does_not_count_in_the_distance():
    found = pair_of(tubes(TRUNK, BRANCH), tubes(TRUNK)).agreement(deformation())
    assert found.centerline_distance_mm < 0.4
    assert found.dice < 0.9


def test_thin_branches_that_one_image_lacks_do_not_count_in_the_distance():
    """Many of them, as where one tree was traced by hand to its ends and the other found down to 3 mm."""
    thin = [
        (np.array([x, 0.0, 0.0]), np.array([x, side * 40.0, z]))
        for x in (-30, 0, 25)
        for side in (-1, 1)
        for z in (-30.0, 30.0)
    ]
    found = pair_of(tubes(TRUNK) | tubes(*thin, radius_mm=1.25), tubes(TRUNK)).agreement(deformation())
    assert found.centerline_distance_mm < 0.4


def test_near_a_lesion_only_the_vessels_there_count():
    """A straight vessel turned about its left end is off by the sine of the angle times the way from there."""
    end, angle = TRUNK[0], np.radians(5.0)
    turn = np.eye(4)
    turn[:3, :3] = shapes.rotation((0.0, 0.0, 1.0), 5.0)
    turn[:3, 3] = end - turn[:3, :3] @ end
    found = pair_of(tubes(TRUNK), tubes(TRUNK)).agreement(deformation(rigid=turn))
    # Within 40 mm of either place lie 30 mm of the vessel's 70, with their middle 15 mm from its end.
    left, right = np.array([[-50.0, 0.0, 0.0]]), np.array([[40.0, 0.0, 0.0]])
    assert found.distance_near_mm(left) == pytest.approx(15.0 * np.sin(angle), abs=0.3)
    assert found.distance_near_mm(right) == pytest.approx(55.0 * np.sin(angle), abs=0.3)
    assert found.centerline_distance_mm == pytest.approx(35.0 * np.sin(angle), abs=0.3)
    assert found.distance_near_mm(np.array([[0.0, 45.0, 0.0]])) is None  # farther than 40 mm from all
    assert found.distance_near_mm(np.array([[60.0, 0.0, 25.0]])) is None  # there is too little within 40 mm


def test_frames_of_the_images_do_not_matter():
    oblique = shapes.rotation((1.0, 2.0, 3.0), 30.0) @ np.diag([-1.0, 1.0, 1.0])
    found = pair_of(tubes(TRUNK), tubes(TRUNK, shift=(0.0, 0.0, 4.0), direction=oblique)).agreement(deformation())
    assert found.centerline_distance_mm == pytest.approx(4.0, abs=0.3)


def test_bad_vessels_are_refused():
    one = tubes(TRUNK)
    assert VesselPair.of(one, one, None, None) is None
    with pytest.raises(InputError, match="those of the fixed image are missing"):
        VesselPair.of(one, one, None, one)
    with pytest.raises(GeometryError, match="moving vessels"):
        VesselPair.of(one, one, one, one[1:])
    with pytest.raises(EmptyMaskError, match="fixed vessels"):
        VesselPair.of(one, one, one * 0, one)
