"""Pictures show what the scene holds, where it is and in its colors."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.surfaces import mask_surface
from NETAblationLib.scene import offscreen, probes, segmentations, surfaces, terminology, views, volumes
from NETAblationLib.scene.provenance import Provenance
from support import shapes

CENTER = np.array([10.0, -5.0, 3.0])
SIZE = (300, 300)
FIELD_MM = 60.0


@pytest.fixture(autouse=True)
def _opengl():
    if not offscreen.can_render():
        pytest.skip("no off-screen OpenGL here, so pictures cannot be drawn")


def pixels(png):
    """Rows from the top, (H, W, 3) from 0 to 1."""
    with tempfile.TemporaryDirectory() as folder:
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(views.write_png(png, Path(folder) / "picture.png")))
        reader.Update()
    width, height, _ = reader.GetOutput().GetDimensions()
    return vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3] / 255.0


def where(picture, color, tolerance=0.12):
    """Pixels (x to the right, y upward, from the middle, in mm) that have nearly this color."""
    y, x = np.nonzero(np.abs(picture - color).max(axis=2) < tolerance)
    return np.stack([x + 0.5 - SIZE[0] / 2, SIZE[1] / 2 - y - 0.5], axis=1) * FIELD_MM / SIZE[0]


@pytest.fixture
def shown(scene):
    reference = shapes.grid(tuple(CENTER - 40), tuple(CENTER + 40), (1, 1, 1), shapes.rotation((0, 0, 1), 20))
    image = sitk.Cast(shapes.mask_of(shapes.sphere(CENTER, 25), reference), sitk.sitkInt16) * 200 - 60
    volume = volumes.add_volume(image, "CT", Provenance("image"))
    masks = segmentations.add_segmentation(reference, "Masks", Provenance("masks"), volume=volume)
    segmentations.add_segment(masks, shapes.mask_of(shapes.sphere(CENTER, 12), reference), "tumor")
    return volume, masks


def test_probe_in_a_child_answers_by_exit_code():
    done = subprocess.run([sys.executable, "-m", "NETAblationLib.scene.offscreen"], env=_environment(), check=False)
    assert done.returncode == 0
    broken = {**_environment(), "VTK_DEFAULT_OPENGL_WINDOW": "vtkNoSuchWindow"}
    done = subprocess.run(
        [sys.executable, "-m", "NETAblationLib.scene.offscreen"], env=broken, capture_output=True, check=False
    )
    assert done.returncode in (0, 1)  # an answer, not a signal


def _environment():
    library = Path(offscreen.__file__).resolve().parents[2]
    return {**os.environ, "PYTHONPATH": str(library)}


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal", [[-1, 1, 0], [0, 0, 1]]])
def test_window_and_outline_of_a_sphere(shown, orientation):
    volume, masks = shown
    png = views.render_slice(
        volume, CENTER, orientation=orientation, field_of_view_mm=FIELD_MM, size=SIZE, outlines=[masks], annotated=False
    )
    picture = pixels(png)
    assert picture.shape == (*SIZE[::-1], 3)
    # Level 40, width 400: 140 HU is 3/4 of the way to white, -60 HU 1/4.
    np.testing.assert_allclose(picture[150, 150], 0.75, atol=0.01)
    np.testing.assert_allclose(picture[5, 5], 0.25, atol=0.01)
    radii = np.linalg.norm(where(picture, terminology.term("tumor").color), axis=1)
    assert len(radii) > 300
    assert np.median(radii) == pytest.approx(12.0, abs=0.6)
    # Voxel steps reach in by at most a voxel diagonal (1.41 mm), the line by half its 3 pixels (0.3 mm).
    assert radii.min() > 12.0 - 1.41 - 0.3
    assert radii.max() < 13.0


def test_probe_lies_where_the_radiologist_expects_it(shown):
    volume, _ = shown
    line = probes.add_probe(CENTER + np.array([20, 10, 15]), CENTER, "Probe", Provenance("probe"))
    png = views.render_slice(volume, CENTER, field_of_view_mm=FIELD_MM, size=SIZE, probe_lines=[line], annotated=False)
    seen = where(pixels(png), probes.line_color(line))
    # The patient's right is on the left of an axial picture, anterior at its top.
    assert len(seen) > 50
    along, across = seen @ [-20, 10] / np.hypot(20, 10), seen @ [10, 20] / np.hypot(20, 10)
    assert np.abs(across).max() < 2.5
    assert along.min() > -2.5
    assert along.max() == pytest.approx(np.hypot(20, 10), abs=2.5)


def test_margin_bands_face_the_viewer(scene):
    reference = shapes.grid(tuple(CENTER - 20), tuple(CENTER + 20), (1, 1, 1))
    surface = mask_surface(shapes.mask_of(shapes.sphere(CENTER, 12), reference), "tumor")
    margins = 2.5 + (surface.points_ras_mm - CENTER)[:, 2]
    models = surfaces.add_margin_surface(surface, margins, "Margin", Provenance("margin_surface"))
    assert len(models.contours) == 2
    png = views.render_surfaces(
        [models.surface, *models.contours],
        CENTER,
        field_of_view_mm=FIELD_MM,
        size=SIZE,
        facing_ras_mm=CENTER + np.array([0, 50, 0]),
    )
    picture = pixels(png)

    def hue(row):
        red, green, _ = picture[row, 150]
        return green / red

    low, middle, high = (hue(150 + rows) for rows in (30, 0, -30))  # 6 mm below, at, and above the middle
    assert low < 0.4 < middle < 1.1 < high
    dark = (picture[100:200, 150].max(axis=1) < 0.3).nonzero()[0] + 100
    heights_mm = (150 - dark) * FIELD_MM / SIZE[1]
    assert np.abs(heights_mm - 2.5).min() < 1.0  # the line at 5 mm
    assert np.abs(heights_mm + 2.5).min() < 1.0  # the line at 0 mm


def test_scale_says_mm_and_the_scene_stays_as_it_was(scene):
    reference = shapes.grid(tuple(CENTER - 20), tuple(CENTER + 20), (1, 1, 1))
    surface = mask_surface(shapes.mask_of(shapes.sphere(CENTER, 12), reference), "tumor")
    margins = np.linspace(-2, 12, len(surface.points_ras_mm))
    evaluable = surface.points_ras_mm[:, 0] < CENTER[0] + 8
    models = surfaces.add_margin_surface(surface, margins, "Margin", Provenance("m"), is_evaluable=evaluable)
    legend = surfaces.add_margin_legend(models.surface)
    assert "mm" in legend.GetTitleText()
    scene.RemoveNode(legend)
    key = surfaces.margin_key(models.surface)
    assert [entry.name for entry in key] == ["thick line: 0 mm", "thin line: 5 mm", "not evaluable (at the capsule)"]
    assert key[0].width > 2 * key[1].width
    before = scene.GetNumberOfNodes()
    drawn = [
        pixels(views.render_surfaces([models.surface], CENTER, size=(600, 400), margin=scale))
        for scale in (None, models.surface)
    ]
    assert scene.GetNumberOfNodes() == before
    right = [picture[:, 560:] for picture in drawn]
    assert not (np.abs(right[0] - surfaces.BAND_COLORS[0]).max(axis=2) < 0.05).any()
    for color in surfaces.BAND_COLORS:
        assert (np.abs(right[1] - color).max(axis=2) < 0.05).sum() > 200


def test_pictures_show_what_they_are_given_whatever_the_views_hide(shown):
    """As at the step of the margin, where the report is written: no outline of the tumor, no probes, no liver."""
    volume, masks = shown
    line = probes.add_probe(CENTER + np.array([20, 10, 15]), CENTER, "Probe", Provenance("probe"))
    surface = mask_surface(shapes.mask_of(shapes.sphere(CENTER, 12), shapes.grid((-30,) * 3, (40,) * 3, (2, 2, 2))), "")
    model = surfaces.add_surface(surface, "Liver", Provenance("liver"), color=(0.9, 0.1, 0.1))

    def pictures():
        flat = views.render_slice(volume, CENTER, size=SIZE, outlines=[masks], probe_lines=[line])
        return flat, views.render_surfaces([model], CENTER, size=SIZE, probe_lines=[line])

    before = pictures()
    (segment_id,) = segmentations.segment_ids(masks)
    masks.GetDisplayNode().SetSegmentVisibility2DOutline(segment_id, False)
    for node in (line, model):
        node.GetDisplayNode().SetVisibility2D(False)
        node.GetDisplayNode().SetVisibility3D(False)
    assert pictures() == before
    assert not masks.GetDisplayNode().GetSegmentVisibility2DOutline(segment_id)
    assert not any(node.GetDisplayNode().GetVisibility3D() for node in (line, model))
    assert not any(node.GetDisplayNode().GetVisibility2D() for node in (line, model))


def test_a_scale_that_is_shown_looks_as_before_after_a_picture(scene):
    reference = shapes.grid(tuple(CENTER - 20), tuple(CENTER + 20), (2, 2, 2))
    surface = mask_surface(shapes.mask_of(shapes.sphere(CENTER, 12), reference), "tumor")
    models = surfaces.add_margin_surface(surface, np.full(len(surface.points_ras_mm), 3.0), "Margin", Provenance("m"))
    surfaces.show_margin_legend(models.surface, True, "MAM 3.0 mm")
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(models.surface)
    assert legend.GetTitleText() == "MAM 3.0 mm\nSigned margin, mm"

    def looks():
        style = legend.GetTitleTextProperty()
        return legend.GetTitleText(), legend.GetSize(), legend.GetPosition(), style.GetColor(), style.GetFontSize()

    before = looks()
    views.render_surfaces([models.surface], CENTER, size=(300, 200), margin=models.surface)
    assert looks() == before
    assert legend.GetVisibility()


def test_impossible_pictures_are_refused(shown):
    volume, _ = shown
    for wrong in ("oblique", [[1, 0, 0], [2, 0, 0]]):
        with pytest.raises(InputError):
            views.render_slice(volume, CENTER, orientation=wrong)
    with pytest.raises(InputError):
        views.render_slice(volume, CENTER, field_of_view_mm=0.0)
