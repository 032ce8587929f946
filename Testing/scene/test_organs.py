"""Liver, vessels and organs at risk of a patient, the PET and the table of lesions, through the scene."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from NETAblationLib.core.centerlines import Centerlines
from NETAblationLib.core.errors import ComputationError, InputError
from NETAblationLib.core.progress import silent
from NETAblationLib.core.vessels import VesselSegmentation
from NETAblationLib.scene import organs, pet, phase_views, provenance, segmentations, slice_views, total_segmentator
from NETAblationLib.scene.case_steps import case_steps
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.lesion_drawing import LesionDrawing
from NETAblationLib.scene.lesion_table import LesionTable, measures_work, put_measures
from NETAblationLib.scene.volumes import update_volume
from support import shapes
from support.pet import blurred_sphere, image_of, total


def dice(first, second):
    a, b = sitk.GetArrayFromImage(first) > 0, sitk.GetArrayFromImage(second) > 0
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_a_patient_from_the_image_to_the_table(scene, small_patient):
    """Liver, vessels and organs at risk; then two lesions by their lines, measured in both phases."""
    patient = small_patient
    case = CaseScene.create(patient.portal, image=patient.portal, image_name="Portal venous")
    case.add_phase(patient.arterial, "Arterial")
    with pytest.raises(InputError, match="segment it first"):
        organs.vessels_work(case)
    organs.put_liver(case, organs.liver_work(case)(silent))
    assert dice(case.liver_mask(), patient.masks["liver"]) > 0.9
    assert callable(organs.vessels_work(case))
    assert organs.put_obstacles(case, organs.obstacles_work(case)(silent)) in ([], ["the image shows no gas"])
    assert {"bone", "lung", "body"} <= set(case.structures())
    states = {step.key: step.state for step in case_steps(case)}
    assert (states["liver"], states["obstacles"]) == ("done", "done")

    drawing = LesionDrawing(case, lambda node: drawing.segment(node))
    tumors = [patient.lesions[index].tumor_shape.parts[0] for index in (5, 3)]  # of 28 and 13 mm
    for tumor in tumors:
        line = drawing.arm()
        for side in (-1, 1):
            end = tumor.center_ras_mm + side * tumor.semi_axes_mm[0] * tumor.axes[:, 0]
            line.AddControlPointWorld(vtk.vtkVector3d(*end))
    drawing.close()
    table = LesionTable()
    rows = table.rows(case)
    assert [row.name for row in rows] == ["L1", "L2"]
    for row, tumor in zip(rows, tumors, strict=True):
        assert row.volume_ml == pytest.approx(4 / 3 * np.pi * np.prod(tumor.semi_axes_mm) / 1000, rel=0.25)
        assert row.enhancement == ""
    put_measures(case, measures_work(case)(silent))
    rows = table.rows(case)
    assert all("Portal venous" in row.enhancement and "Arterial" in row.enhancement for row in rows)
    segmentations.remove_segment(case.before, "L2")
    case.update_lesion("L1", shapes.mask_of(shapes.sphere(tumors[0].center_ras_mm, 6), patient.portal))
    (row,) = table.rows(case)
    assert row.volume_ml == pytest.approx(4 / 3 * np.pi * 6**3 / 1000, rel=0.1)
    assert row.enhancement == ""  # that of the earlier mask no longer holds


def test_each_tree_of_vessels_is_a_segment_and_one_not_found_again_is_removed(scene):
    """The tracing itself, which takes a while, is tested with its own module."""
    grid = shapes.grid((-20, -20, -20), (20, 20, 20), (1.0, 1.0, 1.0))
    case = CaseScene.create(grid)
    portal, hepatic = (shapes.mask_of(shapes.sphere((x, 0, 0), 5), grid) for x in (-8, 8))
    lines = Centerlines(np.zeros((1, 3)), np.ones(1), np.ones(1, int), np.ones(1))
    found = VesselSegmentation(portal + 2 * hepatic, lines, 3.0, 100.0, 10.0, {}, ("a warning",), "sure")
    assert organs.put_vessels(case, found) == ["a warning", "sure"]
    assert set(case.structures()) == {"portal_vein", "hepatic_vein"}
    organs.put_vessels(case, replace(found, mask=portal))
    assert set(case.structures()) == {"portal_vein"}
    assert dice(case.structures()["portal_vein"], portal) == 1.0


@pytest.fixture
def pet_case(scene):
    """A liver of SUV 5 with two hot spheres of 10 and 8 mm, one outside of the region of interest."""
    grid = shapes.grid((-60, -50, -40), (60, 50, 40), (2.0, 2.0, 3.0))
    liver = shapes.mask_of(shapes.ellipsoid((0, 0, 0), (55, 45, 36)), grid)
    case = CaseScene.create(grid, image=sitk.Cast(liver, sitk.sitkInt16) * 100, liver=liver)
    spheres = blurred_sphere((-20, 0, 0), 10, 30, 2.5), blurred_sphere((25, 5, 0), 8, 25, 2.5)
    own = shapes.grid((-62, -52, -42), (62, 52, 42), (3.0, 3.0, 3.0))
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "PET")
    update_volume(volume, image_of(total(5.0, *spheres), own))
    return case, volume


def roi(center, size):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    node.SetCenter(*center)
    node.SetSize(*size)
    return node


def test_hot_lesions_of_a_region_join_the_case(pet_case):
    case, volume = pet_case
    assert pet.suv_volumes() == []
    region = roi((-20, 0, 0), (40, 40, 40))
    result = pet.pet_work(case, volume, region)(silent)
    ids, warnings = pet.put_pet(case, volume, result, "L1")
    assert (ids, warnings) == (["L1"], [])
    assert pet.suv_volumes() == [volume]
    np.testing.assert_allclose(case.lesions["L1"].tumor_center_ras_mm, [-20, 0, 0], atol=1.0)
    (row,) = LesionTable().rows(case)
    assert row.volume_ml == pytest.approx(4 / 3 * np.pi, rel=0.25)
    ids, warnings = pet.put_pet(case, volume, pet.pet_work(case, volume)(silent), "L2")
    assert ids == ["L2"]  # in the whole liver the other one is found too, and the first is there already
    assert "already" in warnings[0] or len(case.lesions) == 2


def test_a_turned_region_is_its_own_box(scene):
    grid = shapes.grid((-40, -40, -30), (40, 40, 30), (1.0, 1.0, 1.0))
    region = roi((3, -2, 1), (30.5, 20.5, 10.5))
    matrix = vtk.vtkMatrix4x4()
    for row in range(3):
        for column in range(3):
            matrix.SetElement(row, column, float(shapes.rotation((0.2, 0.3, 1.0), 33.0)[row, column]))
    for row, value in enumerate((3.0, -2.0, 1.0)):
        matrix.SetElement(row, 3, value)
    region.SetAndObserveObjectToNodeMatrix(matrix)
    inside = sitk.GetArrayFromImage(pet.roi_mask(region, grid))
    assert inside.sum() == pytest.approx(30.5 * 20.5 * 10.5, rel=0.02)
    with pytest.raises(InputError, match="no voxel"):
        pet.roi_mask(roi((500, 0, 0), (10, 10, 10)), grid)


def test_a_pet_needs_its_region_and_its_frame(scene, pet_case):
    case, volume = pet_case
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="harden"):
        pet.pet_work(case, volume)
    volume.SetAndObserveTransformNodeID(None)
    (liver,) = segmentations.segment_ids(case.before, "liver")
    segmentations.remove_segment(case.before, liver)
    with pytest.raises(InputError, match="choose a region"):
        pet.pet_work(case, volume)


def test_total_segmentator_is_called_as_it_documents(scene, pet_case, monkeypatch):
    """Its module is not here: a stand-in with the two documented methods; without it the user is told."""
    case, _ = pet_case
    assert not total_segmentator.is_installed()
    with pytest.raises(InputError, match="not installed"):
        total_segmentator.segment_organs(case.volume)
    calls = []

    class Logic:
        def setupPythonRequirements(self):  # noqa: N802 (its name there)
            calls.append("setup")

        def process(self, inputVolume, outputSegmentation, fast=True, task=None):  # noqa: N803 (as there)
            calls.append((inputVolume, fast, task))
            if fast:
                outputSegmentation.GetSegmentation().AddEmptySegment("liver", "liver")
            else:
                raise RuntimeError("no GPU")

    monkeypatch.setitem(sys.modules, "TotalSegmentator", types.SimpleNamespace(TotalSegmentatorLogic=Logic))
    monkeypatch.setattr(slicer.modules, "totalsegmentator", object(), raising=False)
    node = total_segmentator.segment_organs(case.volume)
    assert calls == ["setup", (case.volume, True, "total")]
    assert segmentations.segment_ids(node) == ["liver"]
    count = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(ComputationError, match="no GPU"):
        total_segmentator.segment_organs(case.volume, fast=False)
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def test_two_phases_are_shown_beside_each_other_and_linked(scene, pet_case):
    case, volume = pet_case
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    composites, slices = {}, {}
    for name in ("Red", "Yellow"):
        node = slicer.vtkMRMLSliceCompositeNode()
        node.SetLayoutName(name)
        composites[name] = slicer.mrmlScene.AddNode(node)
        slices[name] = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        slices[name].SetLayoutName(name)
    slice_views.show((5, 6, 7), slice_views.corners_around([[5, 6, 7]]))
    phase_views.show_side_by_side(case.volume, volume)
    shown = {name: node.GetBackgroundVolumeID() for name, node in composites.items()}
    assert shown == {"Red": case.volume.GetID(), "Yellow": volume.GetID()}
    assert all(node.GetLinkedControl() and node.GetHotLinkedControl() for node in composites.values())
    assert {node.GetOrientation() for node in slices.values()} == {"Axial"}
    slices["Red"].SetDimensions(200, 400, 1)
    slices["Yellow"].SetDimensions(200, 400, 1)
    slice_views.refit()
    assert slices["Red"].GetFieldOfView()[:2] == slices["Yellow"].GetFieldOfView()[:2]
    slice_views.center((-20.0, 3.0, 4.0))
    for node in slices.values():
        position = [node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        np.testing.assert_allclose(position, (-20, 3, 4))
    phase_views.show_one(volume)
    assert {node.GetBackgroundVolumeID() for node in composites.values()} == {volume.GetID()}
    assert provenance.nodes_with_role("planning_image") == [case.volume]
