"""Every kind of node comes back from .mrb and .mrml as it went in, to the last bit."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.errors import FormatError, GeometryError, InputError
from NETAblationLib.core.surfaces import mask_surface
from NETAblationLib.scene import documents, probes, segmentations, storage, surfaces, terminology, transforms, volumes
from NETAblationLib.scene.provenance import Provenance, provenance_of
from support import shapes

FLIPS = {"straight": np.eye(3), "flipped": np.diag([-1.0, 1.0, 1.0]), "oblique": shapes.rotation((0.3, 0.9, 0.2), 25.0)}
MASKS = {"tumor": shapes.sphere((3, 4, 5), 8.0), "liver": shapes.sphere((0, 0, 0), 14.0)}


def grid(direction="oblique"):
    return shapes.grid((-16, -15, -14), (15, 16, 17), (1.1, 0.9, 2.3), FLIPS[direction])


def image_on(reference, pixel=sitk.sitkInt16):
    values = np.random.default_rng(1).integers(0, 250, reference.GetSize()[::-1])
    image = sitk.Cast(sitk.GetImageFromArray(values.astype(np.float64)), pixel)
    image.CopyInformation(reference)
    return image


def assert_same_image(found, expected):
    assert found.GetPixelID() == expected.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    np.testing.assert_allclose(frames.index_to_ras_matrix(found), frames.index_to_ras_matrix(expected), atol=1e-11)


def deformation():
    """A smooth field on an oblique grid, LPS, as registration gives it."""
    reference = shapes.grid((-30, -30, -30), (30, 30, 30), (5, 6, 7), FLIPS["oblique"])
    points = shapes.voxel_centers(reference)
    shift = 3.0 * np.sin(points / 15.0 + [0.3, 1.0, 2.0])
    field = sitk.GetImageFromArray(shift.reshape(*reference.GetSize()[::-1], 3), isVector=True)
    field.CopyInformation(reference)
    return sitk.DisplacementFieldTransform(field)


def rigid():
    return sitk.Euler3DTransform((4.0, 5.0, 6.0), 0.1, -0.2, 0.3, (7.0, -8.0, 9.0))


def inner_points():
    return np.random.default_rng(2).uniform(-18, 18, (40, 3))


@pytest.mark.parametrize("direction", FLIPS)
@pytest.mark.parametrize("pixel", [sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkFloat32, sitk.sitkFloat64])
def test_volume_is_exact_in_the_scene(scene, direction, pixel):
    image = image_on(grid(direction), pixel)
    assert_same_image(volumes.volume_image(volumes.add_volume(image, "CT", Provenance("image"))), image)


def test_volume_refuses_what_is_not_a_scalar_3d_image(scene):
    with pytest.raises(GeometryError, match="numbers per voxel"):
        volumes.add_volume(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), "vector", Provenance("image"))


@pytest.mark.parametrize("direction", FLIPS)
@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
def test_whole_scene_comes_back(scene, tmp_path, direction, ending):
    reference = grid(direction)
    image = image_on(reference)
    volume = volumes.add_volume(image, "CT", Provenance("planning_image", "file.nrrd", "abc"))
    masks = {kind: shapes.mask_of(level, reference) for kind, level in MASKS.items()}
    segmentation = segmentations.add_segmentation(reference, "Masks", Provenance("masks", inputs=(volume,)))
    ids = {kind: segmentations.add_segment(segmentation, mask, kind) for kind, mask in masks.items()}
    entry, tip = [0.1 + 0.2, -1 / 3, 1e-7], [40.123456789, 2.0, -3.0]
    ablations = [{"center_ras_mm": [1 / 3, 0.1, 2e-9]}]
    probe = probes.add_probe(entry, tip, "Probe 1", Provenance("probe"), device="device", ablations=ablations)
    surface = mask_surface(masks["tumor"], "tumor")
    margins = np.linspace(-4.0, 12.0, len(surface.points_ras_mm))
    margin = surfaces.add_margin_surface(surface, margins, "Margin", Provenance("margin_surface")).surface
    document = {"mam_mm": 0.1 + 0.2, "third": 1 / 3, "least": 5e-324, "text": 'Größe "5"\n\t&<>'}
    text = documents.add_document(document, "Result", Provenance("margin"), schema="margin")
    moved = {
        name: transforms.add_transform(transform, "before", name, Provenance("fusion"))
        for name, transform in (("rigid", rigid()), ("field", deformation()))
    }
    names = {
        key: node.GetName()
        for key, node in {"v": volume, "s": segmentation, "p": probe, "m": margin, "t": text, **moved}.items()
    }

    file = storage.save_scene(tmp_path / f"case{ending}")
    scene.Clear(False)
    storage.load_scene(file)
    back = {key: scene.GetFirstNodeByName(name) for key, name in names.items()}

    assert_same_image(volumes.volume_image(back["v"]), image)
    assert provenance_of(back["v"]) == Provenance("planning_image", "file.nrrd", "abc")
    assert provenance_of(back["s"]).inputs == (back["v"],)
    for kind, mask in masks.items():
        assert_same_image(segmentations.segment_mask(back["s"], ids[kind], reference), mask)
        assert segmentations.segment_name(back["s"], ids[kind]) == terminology.term(kind).name
        assert segmentations.segment_kind(back["s"], ids[kind]) == kind
        np.testing.assert_allclose(
            segmentations.segment_color(back["s"], ids[kind]), terminology.term(kind).color, atol=1e-5
        )
        found, coded = segmentations.segment_terminology(back["s"], ids[kind]), terminology.term(kind).entry
        assert found.rstrip("|") == coded.rstrip("|")
    np.testing.assert_allclose(probes.probe_ends(back["p"]), [entry, tip], rtol=1e-14, atol=1e-13)
    assert probes.probe_ablations(back["p"]) == ablations
    assert probes.probe_device(back["p"]) == "device"
    found_surface = surfaces.surface_of(back["m"])
    np.testing.assert_array_equal(found_surface.points_ras_mm, surface.points_ras_mm)
    np.testing.assert_array_equal(found_surface.triangles, surface.triangles)
    np.testing.assert_array_equal(surfaces.point_scalars(back["m"], surfaces.SIGNED_MARGIN), margins)
    assert documents.read_document(back["t"], schema="margin") == document
    assert json.dumps(documents.read_document(back["t"])) == json.dumps(document)
    for name, transform in (("rigid", rigid()), ("field", deformation())):
        expected = frames.transform_points(transform, inner_points())
        found_points = frames.transform_points(transforms.fixed_to_moving_transform(back[name]), inner_points())
        np.testing.assert_allclose(found_points, expected, atol=1e-10)
        # VTK's own interpolation of a displacement grid differs from ITK's by up to 1e-5 mm.
        np.testing.assert_allclose(
            transforms.map_points(back[name], inner_points(), to_parent=False), expected, atol=5e-5
        )


@pytest.mark.parametrize("transform", [rigid(), deformation(), sitk.CompositeTransform([rigid(), deformation()])])
def test_node_takes_moving_points_to_the_fixed_frame(scene, transform):
    node = transforms.add_transform(transform, "before", "after", Provenance("fusion"))
    moving = frames.transform_points(transform, inner_points())
    assert node.GetName() == "after_to_before"
    np.testing.assert_allclose(transforms.map_points(node, moving), inner_points(), atol=5e-3)
    again = frames.transform_points(transforms.fixed_to_moving_transform(node), inner_points())
    np.testing.assert_allclose(again, moving, atol=1e-10)


def test_a_bspline_needs_a_grid(scene):
    bspline = sitk.BSplineTransformInitializer(grid("straight"), [3, 3, 3])
    with pytest.raises(InputError, match="grid"):
        transforms.add_transform(bspline, "before", "after", Provenance("fusion"))


def test_segment_of_another_lattice_is_refused(scene):
    node = segmentations.add_segmentation(grid(), "Masks", Provenance("masks"))
    with pytest.raises(GeometryError, match="resampling"):
        segmentations.add_segment(node, shapes.mask_of(MASKS["tumor"], grid("flipped")), "tumor")


def test_documents_refuse_what_json_cannot_hold(scene):
    with pytest.raises(FormatError):
        documents.add_document({"mam_mm": float("nan")}, "Result", Provenance("margin"), schema="margin")


def test_probe_without_length_is_refused(scene):
    with pytest.raises(GeometryError, match="same point"):
        probes.add_probe([1, 2, 3], [1, 2, 3], "probe", Provenance("probe"))


@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
def test_a_damaged_file_leaves_the_scene_alone(scene, tmp_path, ending):
    node = documents.add_document({"kept": True}, "Kept", Provenance("note"), schema="note")
    file = tmp_path / f"bad{ending}"
    file.write_bytes(b"not a scene")
    with pytest.raises(InputError):
        storage.load_scene(file)
    assert scene.GetFirstNodeByName("Kept") is node


def test_codes_are_those_of_snomed_ct(scene):
    terminology.load_terminology()
    assert (terminology.term("liver").code_value, terminology.term("liver").code_meaning) == ("10200004", "Liver")
    assert terminology.term("tumor").code_value == "14799000"  # Neoplasm, Secondary
    assert terminology.term("zone").code_value == "6574001"  # Necrosis
