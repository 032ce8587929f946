"""What slice views look at: all that is asked for is in view, and a zoom of the user's stays."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from NETAblationLib.scene import slice_views

PLACE = np.array([12.0, -30.0, 140.0])
AROUND = slice_views.corners_around(PLACE + np.array([[-8.0, -3.0, -5.0], [90.0, 4.0, 5.0]]))


@pytest.fixture
def slices(scene):
    """An axial, a sagittal and a coronal view, wide, tall and square."""
    made = {}
    for name, size in (("Axial", (480, 240)), ("Sagittal", (300, 400)), ("Coronal", (300, 300))):
        node = slicer.vtkMRMLSliceNode()
        node.SetLayoutName(name)
        made[name] = scene.AddNode(node)
        made[name].SetOrientation(name)
        resize(made[name], size)
    yield made
    for node in made.values():
        scene.RemoveNode(node)


def resize(node, size):
    """As Slicer's slice logic does it: the height of what is seen stays."""
    height_mm = node.GetFieldOfView()[1]
    node.SetDimensions(*size, 1)
    node.SetFieldOfView(height_mm * size[0] / size[1], height_mm, 1.0)


def where(node, points):
    """Places of points in a view as fractions of its size, and their distance from the slice in mm."""
    to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), to_xy)
    found = np.array([to_xy.MultiplyPoint((*point, 1.0))[:3] for point in np.atleast_2d(points)])
    return found[:, :2] / node.GetDimensions()[:2], np.abs(found[:, 2])


def test_every_slice_goes_through_the_place_and_shows_what_lies_around_it(slices):
    slice_views.show(PLACE, AROUND)
    for node in slices.values():
        _, away = where(node, PLACE)
        assert away.max() < 1e-6
        seen, _ = where(node, AROUND)
        assert seen.min() > 0.0
        assert seen.max() < 1.0
        longest = np.ptp(seen, axis=0).max()
        assert 0.8 < longest < 0.98  # no more of the body than was asked for
        np.testing.assert_allclose(0.5 * (seen.min(axis=0) + seen.max(axis=0)), 0.5, atol=1e-6)


def test_a_zoom_that_the_user_chose_stays(slices):
    node = slices["Axial"]
    node.SetFieldOfView(300.0, 150.0, 1.0)
    slice_views.show(PLACE, AROUND)
    shown_mm = node.GetFieldOfView()[1]
    assert shown_mm < 149.0  # nothing had been chosen here before
    slice_views.show(PLACE, slice_views.corners_around(AROUND))
    assert node.GetFieldOfView()[1] > shown_mm + 50.0
    node.SetFieldOfView(100.0, 50.0, 1.0)  # the user zooms
    slice_views.show(PLACE, AROUND)
    assert node.GetFieldOfView() == (100.0, 50.0, 1.0)
    np.testing.assert_allclose(where(node, PLACE)[0], 0.5, atol=1e-6)
    slice_views.refit()
    assert node.GetFieldOfView()[1] == 50.0
    slice_views.show(PLACE, AROUND, keeps_zoom=False)
    assert node.GetFieldOfView()[1] == pytest.approx(shown_mm)


def test_a_view_of_another_size_shows_it_all_again(slices):
    slice_views.show(PLACE, AROUND)
    node = slices["Axial"]
    resize(node, (200, 400))
    assert where(node, AROUND)[0].max() > 1.0
    slice_views.refit()
    assert where(node, AROUND)[0].max() < 1.0


def test_centering_leaves_the_zoom(slices):
    slice_views.show(PLACE, AROUND)
    before = {name: node.GetFieldOfView() for name, node in slices.items()}
    slice_views.center(PLACE + 20.0)
    for name, node in slices.items():
        assert node.GetFieldOfView() == before[name]
        seen, away = where(node, PLACE + 20.0)
        np.testing.assert_allclose(seen, 0.5, atol=1e-6)
        assert away.max() < 1e-6
