"""Points taken back through transforms of which the way forth is known; files of surfaces and points."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import vtk

from NETAblationLib.core import frames
from NETAblationLib.core.errors import FormatError, GeometryError, InputError
from NETAblationLib.core.warping import points_to_fixed, warp_points_file, warp_surface_file
from support.shapes import rotation

POINTS = np.random.default_rng(4).uniform(-40, 40, (50, 3))


def rigid() -> sitk.AffineTransform:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation((1, 2, 0.5), 12), (90.0, -60.0, 30.0)
    return frames.affine_transform(matrix)


def bent() -> sitk.Transform:
    """A rigid motion of 10 cm after waves of 6 mm."""
    size, spacing = 41, 5.0
    axes = np.arange(size) * spacing - 100.0
    k, j, i = np.meshgrid(axes, axes, axes, indexing="ij")
    waves = 6.0 * np.stack([np.sin(j / 25), np.sin(k / 30), np.cos(i / 25)], axis=-1)
    field = sitk.GetImageFromArray(waves, isVector=True)
    field.SetSpacing((spacing,) * 3)
    field.SetOrigin((-100.0,) * 3)
    return sitk.CompositeTransform([rigid(), sitk.DisplacementFieldTransform(field)])


@pytest.mark.parametrize("transform", [rigid(), bent()], ids=["rigid", "bent"])
def test_points_come_back_from_where_they_were_taken(transform):
    moved = frames.transform_points(transform, POINTS)
    assert np.abs(moved - POINTS).max() > 20
    assert points_to_fixed(transform, moved) == pytest.approx(POINTS, abs=0.01)


def test_a_flat_transform_is_refused():
    field = sitk.TransformToDisplacementField(
        frames.affine_transform(np.diag([0.0, 1.0, 1.0, 1.0]) + np.diag([1e-9, 0, 0, 0])),
        sitk.sitkVectorFloat64,
        (21,) * 3,
        (-50.0,) * 3,
        (5.0,) * 3,
    )
    with pytest.raises(GeometryError, match="cannot be taken back"):
        points_to_fixed(sitk.DisplacementFieldTransform(field), [[20.0, 0, 0]])


def test_a_surface_keeps_its_numbers_and_gets_new_places(tmp_path):
    source = vtk.vtkSphereSource()
    source.SetCenter(90.0, -60.0, 30.0)
    source.SetRadius(10.0)
    writer = vtk.vtkXMLPolyDataWriter()
    writer.SetInputConnection(source.GetOutputPort())
    writer.SetFileName(str(tmp_path / "in.vtp"))
    writer.Write()
    count = warp_surface_file(tmp_path / "in.vtp", rigid(), tmp_path / "out.vtp")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "out.vtp"))
    reader.Update()
    assert reader.GetOutput().GetNumberOfPoints() == count
    assert reader.GetOutput().GetCenter() == pytest.approx((0, 0, 0), abs=0.5)
    for path, text in ((tmp_path / "absent.vtp", "no such file"), (tmp_path / "bad.vtp", "not a VTK surface")):
        (tmp_path / "bad.vtp").write_text("no surface")
        with pytest.raises(InputError, match=text):
            warp_surface_file(path, rigid(), tmp_path / "out.vtp")


def test_points_of_a_table_and_of_markups(tmp_path):
    moved = frames.transform_points(bent(), POINTS[:3])
    rows = "\n".join(",".join(map(str, row)) for row in moved.tolist())
    (tmp_path / "in.csv").write_text(f"R,A,S\n{rows}\n")
    assert warp_points_file(tmp_path / "in.csv", bent(), tmp_path / "out.csv") == 3
    assert np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1) == pytest.approx(POINTS[:3], abs=0.01)
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "controlPoints": [{"label": "a", "position": frames.flip_lps_ras(moved[0]).tolist()}],
    }
    (tmp_path / "in.mrk.json").write_text(json.dumps({"markups": [markup]}))
    assert warp_points_file(tmp_path / "in.mrk.json", bent(), tmp_path / "out.mrk.json") == 1
    (control,) = json.loads((tmp_path / "out.mrk.json").read_text())["markups"][0]["controlPoints"]
    assert control["label"] == "a"
    assert frames.flip_lps_ras(control["position"]) == pytest.approx(POINTS[0], abs=0.01)
    with pytest.raises(FormatError, match="one kind"):
        warp_points_file(tmp_path / "in.csv", bent(), tmp_path / "out.mrk.json")
    (tmp_path / "in.csv").write_text("R,A\n1,2\n")
    with pytest.raises(InputError, match="in"):
        warp_points_file(tmp_path / "in.csv", bent(), tmp_path / "out.csv")
