"""Views along a probe: where things lie in them, checked by Slicer's own matrices."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from NETAblationLib.core.errors import GeometryError
from NETAblationLib.scene import storage
from NETAblationLib.scene.needle_views import look_along, look_straight, needle_frames
from NETAblationLib.scene.volumes import numpy_matrix

TIP = np.array([30.0, -10.0, 20.0])


@pytest.mark.parametrize("entry", [[30, 90, 20], [110, 20, 60], [30, -10, 140], [-50, -70, -80]])
def test_axes_are_those_of_the_probe(entry):
    along = (TIP - entry) / np.linalg.norm(TIP - entry)
    eye, beside, behind = needle_frames(entry, TIP)
    for frame in (eye, beside, behind):
        np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)
        # As in Slicer's own axial preset, which looks along superior from the feet.
        assert np.linalg.det(frame) == pytest.approx(-1.0)
    np.testing.assert_allclose(eye[:, 2], along, atol=1e-12)
    for frame in (beside, behind):
        np.testing.assert_allclose(frame[:, 1], -along, atol=1e-12)
    assert beside[:, 2] @ behind[:, 2] == pytest.approx(0.0, abs=1e-12)


def test_a_probe_from_the_feet_is_seen_as_axial_slices_are():
    eye = needle_frames(TIP - np.array((0, 0, 90)), TIP)[0]
    np.testing.assert_allclose(eye, [[-1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-12)


def test_slices_turn_to_the_probe_and_back(scene):
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    nodes = []
    for name, preset in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        node = scene.CreateNodeByClass("vtkMRMLSliceNode")
        node.SetLayoutName(name)
        node.SetName(name)
        scene.AddNode(node)
        node.SetOrientation(preset)
        nodes.append(node)
    usual = [numpy_matrix(node.GetSliceToRAS())[:3, :3] for node in nodes]
    entry = TIP + np.array((60.0, 50.0, 10.0))
    look_along(nodes, entry, TIP, 12.0)
    place = TIP + 12.0 * (entry - TIP) / np.linalg.norm(entry - TIP)
    for node, frame in zip(nodes, needle_frames(entry, TIP), strict=True):
        matrix = numpy_matrix(node.GetSliceToRAS())
        np.testing.assert_allclose(matrix[:3, :3], frame, atol=1e-12)
        np.testing.assert_allclose(matrix[:3, 3], place, atol=1e-9)
    look_straight(nodes)
    for node, before in zip(nodes, usual, strict=True):
        np.testing.assert_allclose(numpy_matrix(node.GetSliceToRAS())[:3, :3], before, atol=1e-12)


def test_no_direction_is_refused():
    with pytest.raises(GeometryError):
        needle_frames(TIP, TIP)


def test_a_scene_with_a_slice_along_a_needle_can_be_opened(scene, tmp_path):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    node.GetSliceToRAS().SetElement(0, 1, 0.5)
    node.UpdateMatrices()
    assert node.GetOrientation() == "Reformat"
    storage.save_scene(tmp_path / "free.mrb")
    slicer.mrmlScene.Clear(False)
    storage.load_scene(tmp_path / "free.mrb")
