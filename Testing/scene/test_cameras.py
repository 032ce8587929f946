"""What the 3D views look at."""

from __future__ import annotations

import numpy as np
import slicer

from NETAblationLib.scene import cameras
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.surfaces import surface_of
from support import shapes


def camera_at(position, focal_point):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCameraNode")
    node.SetPosition(*position)
    node.SetFocalPoint(*focal_point)
    return node


def angles_from_axis(node, points):
    """Between the way to each point and the view's axis, in degrees."""
    position = np.array(node.GetPosition())
    axis = np.array(node.GetFocalPoint()) - position
    ways = points - position
    cosine = ways @ axis / np.linalg.norm(ways, axis=1) / np.linalg.norm(axis)
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def test_all_of_it_is_seen_from_the_same_side_in_every_view(scene):
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)) * (90, 60, 70) + (120, -260, 1100)
    views = [camera_at((0, 500, 0), (0, 0, 0)), camera_at((-30, 40, 200), (10, 20, 30))]
    before = [np.subtract(node.GetPosition(), node.GetFocalPoint()) for node in views]
    cameras.look_at(points)
    for node, way in zip(views, before, strict=True):
        half = 0.5 * node.GetViewAngle()
        assert 0.6 * half < angles_from_axis(node, points).max() < half
        now = np.subtract(node.GetPosition(), node.GetFocalPoint())
        assert np.allclose(now / np.linalg.norm(now), way / np.linalg.norm(way))


def test_the_first_liver_is_brought_into_view_and_a_corrected_one_leaves_it(scene):
    grid = shapes.grid((60, -320, 1040), (180, -200, 1160), (4.0, 4.0, 4.0))
    node = camera_at((0, 500, 0), (0, 0, 0))
    case = CaseScene.create(grid)
    assert node.GetFocalPoint() == (0, 0, 0)
    case.replace_liver(shapes.mask_of(shapes.sphere((120, -260, 1100), 40), grid))
    assert np.allclose(node.GetFocalPoint(), (120, -260, 1100), atol=1.0)
    points = surface_of(case.liver_model).points_ras_mm
    assert angles_from_axis(node, points).max() < 0.5 * node.GetViewAngle()
    node.SetFocalPoint(1, 2, 3)  # where the user looks now
    case.replace_liver(shapes.mask_of(shapes.sphere((125, -260, 1100), 40), grid))
    assert node.GetFocalPoint() == (1, 2, 3)


def test_a_place_faces_the_viewer_and_what_is_seen_whole_is_left_alone(scene):
    node = camera_at((0, 500, 0), (0, 0, 0))
    points = np.random.default_rng(0).uniform(-20, 20, (50, 3))
    cameras.bring_into_view(points)
    assert node.GetPosition() == (0, 500, 0)
    moved = points + np.array([300.0, 0.0, 0.0])
    cameras.bring_into_view(moved)
    assert angles_from_axis(node, moved).max() < 0.5 * node.GetViewAngle()
    cameras.look_at(points, cameras.toward_viewer(np.zeros(3), np.array([-9.0, 0.0, 0.0])))
    way = np.subtract(node.GetPosition(), node.GetFocalPoint())
    np.testing.assert_allclose(way / np.linalg.norm(way), (-1, 0, 0), atol=1e-9)
    assert node.GetViewUp() == (0, 0, 1)
    steep = cameras.toward_viewer(np.zeros(3), np.array([0.0, 0.0, -5.0]))
    assert -0.95 < steep[2] < -0.85
