"""Segmentations of other tools: names, codes and layers come back, obstacles are joined, bad files are refused."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import access, frames
from NETAblationLib.core.errors import FormatError, GeometryError, ImageReadError, InputError
from NETAblationLib.core.segmentation_files import find_structures, read_names, read_segmentation
from support.shapes import grid, mask_of, rotation, sphere, union

LOW, HIGH = (-40.0, -30.0, -20.0), (40.0, 30.0, 20.0)
OBLIQUE = rotation((0.2, -0.1, 1.0), 20.0)
SHAPES = {
    1: sphere((-25, 0, 0), 8.0),
    2: sphere((25, 0, 0), 9.0),
    3: sphere((0, 0, 0), 10.0),
    7: sphere((0, 20, 5), 5.0),
}
NAMES = {1: "kidney_left", 2: "kidney_right", 3: "liver", 7: "implant"}


def label_image(direction=None):
    image = grid(LOW, HIGH, (2.0, 1.5, 2.5), direction)
    labels = sum(sitk.GetArrayFromImage(mask_of(level, image)) * label for label, level in SHAPES.items())
    made = sitk.GetImageFromArray(labels.astype(np.uint8))
    made.CopyInformation(image)
    return made


def write(image, path, header=None):
    for key, value in (header or {}).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), True)
    return path


def slicer_header(segments):
    """The header that 3D Slicer writes: name, label, layer and type code of each segment."""
    header = {}
    for number, (name, label, layer, code) in enumerate(segments):
        header |= {
            f"Segment{number}_ID": f"Segment_{number}",
            f"Segment{number}_Name": name,
            f"Segment{number}_LabelValue": str(label),
            f"Segment{number}_Layer": str(layer),
            f"Segment{number}_Tags": "Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type"
            f"~SCT^123037004^Anatomical Structure~{code}~^^~Anatomic codes~^^~^^|",
        }
    return header


def masks_at(found, name, image):
    """Where an obstacle is on the grid of an image."""
    onto = sitk.Resample(found.masks[name], image, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    return sitk.GetArrayFromImage(onto) > 0


@pytest.mark.parametrize("direction", [None, np.diag([-1.0, 1.0, -1.0]), OBLIQUE])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_label_map_with_a_file_of_names(tmp_path, direction, suffix):
    image = label_image(direction)
    path = write(image, tmp_path / f"labels{suffix}")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({str(label): name for label, name in NAMES.items()}))
    found = find_structures(read_segmentation(path, names), image)
    assert set(found.masks) == {"kidney"}
    exact = np.isin(sitk.GetArrayFromImage(image), (1, 2))
    assert np.array_equal(masks_at(found, "kidney", image), exact)
    assert found.notes == (
        "segment 'implant' is not taken as an obstacle: the name 'implant' is not in the table",
        "no obstacles by their role: liver",
    )
    kidneys = union(SHAPES[1], SHAPES[2])
    lower, upper = frames.bounding_box_ras(found.masks["kidney"])
    assert np.all(lower < [-25, 0, 0])
    assert np.all(upper > [25, 0, 0])
    assert kidneys(frames.index_to_ras(found.masks["kidney"], [[0, 0, 0]]))[0] < 60


def test_the_label_that_no_name_is_given_for_is_reported(tmp_path):
    path = write(label_image(), tmp_path / "labels.nrrd")
    names = tmp_path / "names.csv"
    names.write_text("structure,id\nspleen,1\n")
    found = find_structures(read_segmentation(path, names), label_image())
    assert set(found.masks) == {"spleen"}
    assert [segment.label for segment, match in found.matches if match.structure is None] == [2, 3, 7]


def test_slicer_segments_by_code_and_name_also_where_they_overlap_in_layers(tmp_path):
    first = label_image()
    second = sitk.Cast(mask_of(sphere((20, 0, 0), 12.0), first), sitk.sitkUInt8)
    header = slicer_header(
        [
            ("Segment_1", 1, 0, "SCT^64033007^Kidney"),
            ("Gallbladder", 2, 0, "SCT^85756007^Tissue"),
            ("liver lesion", 3, 0, "SCT^10200004^Liver"),
            ("Colon", 1, 1, "SCT^71854001^Colon"),
        ]
    )
    path = write(sitk.Compose([first, second]), tmp_path / "case.seg.nrrd", header)
    segmentation = read_segmentation(path)
    assert [(segment.name, segment.label, segment.layer) for segment in segmentation.segments] == [
        ("Segment_1", 1, 0), ("Gallbladder", 2, 0), ("liver lesion", 3, 0), ("Colon", 1, 1),
    ]  # fmt: skip
    found = find_structures(segmentation, first)
    assert set(found.masks) == {"kidney", "gallbladder", "colon"}
    array = sitk.GetArrayFromImage(first)
    assert np.array_equal(masks_at(found, "kidney", first), array == 1)
    assert np.array_equal(masks_at(found, "gallbladder", first), array == 2)
    assert np.array_equal(masks_at(found, "colon", first), sitk.GetArrayFromImage(second) > 0)
    assert "its code says liver, its name tumor" in found.notes[0]


def test_names_in_the_header_of_a_nifti_file(tmp_path):
    """As TotalSegmentator writes them: an extension of XML between header and voxels."""
    plain = write(label_image(), tmp_path / "plain.nii").read_bytes()
    table = "".join(f'<Label Key="{label}" Red="1"><![CDATA[{name}]]></Label>' for label, name in NAMES.items())
    text = f'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><LabelTable>{table}</LabelTable></CaretExtension>'
    content = text.encode() + b"\n" * (-(len(text) + 8) % 16)
    header = bytearray(plain[:348])
    struct.pack_into("<f", header, 108, 352.0 + 8 + len(content))
    extension = struct.pack("<2i", 8 + len(content), 0) + content
    path = tmp_path / "labels.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + b"\1\0\0\0" + extension + plain[352:]))
    segmentation = read_segmentation(path)
    assert {segment.label: segment.name for segment in segmentation.segments} == NAMES
    assert np.array_equal(sitk.GetArrayFromImage(segmentation.layers[0]), sitk.GetArrayFromImage(label_image()))
    broken = extension.replace(b"</LabelTable>", b"<LabelTable/>")
    path.write_bytes(gzip.compress(bytes(header) + b"\1\0\0\0" + broken + plain[352:]))
    with pytest.raises(FormatError, match="names of its labels in the header cannot be read"):
        read_segmentation(path)
    entities = extension.replace(b"<CaretExtension>", b"<!ENTITY a 'b'>x")
    path.write_bytes(gzip.compress(bytes(header) + b"\1\0\0\0" + entities + plain[352:]))
    with pytest.raises(FormatError, match="declares more than labels"):
        read_segmentation(path)


def test_names_of_labels_in_every_form_that_is_read(tmp_path):
    expected = {1: "spleen", 5: "liver"}
    for name, text in {
        "a.json": '{"1": "spleen", "5": "liver"}',
        "b.json": '{"spleen": 1, "liver": 5}',
        "c.json": '{"name": "set", "labels": {"1": "spleen", "5": "liver"}}',
        "d.csv": "label,name\n1,spleen\n5,liver\n",
        "e.csv": "\ufeffgroup,original_idx,structure,ID\norgans,9,spleen,1\n\norgans,9,liver,5\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_names(tmp_path / name) == expected, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1]", "expected a JSON object"),
        ("a.json", "{", "not a JSON document"),
        ("a.json", '{"1": {"name": "liver"}}', "expected an object of labels and names"),
        ("a.json", '{"liver": "red"}', "'liver' is not a label"),
        ("a.json", '{"liver": -1}', "is below 0"),
        ("a.json", '{"1": "liver", "01": "spleen"}', r"label 1 is named twice \('liver' and 'spleen'\)"),
        ("a.json", '{"0": "background"}', "names no labels"),
        ("a.csv", "spleen,1\n", "a column 'label' and a column 'name'"),
        ("a.csv", "label,name\n1\n", "a row is shorter"),
        ("a.csv", "", "a column 'label'"),
        ("a.csv", "label,name\none,liver\n", "'one' is not a label"),
    ],
)
def test_bad_names_are_refused_by_file(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=rf"{name}: .*{message}"):
        read_names(tmp_path / name)
    with pytest.raises(InputError, match="absent"):
        read_names(tmp_path / "absent.csv")


def test_bad_files_are_refused_by_name(tmp_path):
    image = label_image()
    plain = write(image, tmp_path / "labels.nrrd")
    with pytest.raises(InputError, match="does not say what its labels are called"):
        read_segmentation(plain)
    with pytest.raises(ImageReadError, match="no such file"):
        read_segmentation(tmp_path / "absent.nrrd")
    (tmp_path / "labels.txt").write_text("x")
    with pytest.raises(ImageReadError, match="is read from"):
        read_segmentation(tmp_path / "labels.txt")
    ct = sitk.Cast(image, sitk.sitkInt16) - 1000
    with pytest.raises(InputError, match="negative values"):
        read_segmentation(write(ct, tmp_path / "ct.nrrd", slicer_header([("Liver", 3, 0, "SCT^10200004^Liver")])))
    for segments, message in (
        ([("Liver", 3, 4, "")], "lies in layer 4, and there are 1"),
        ([("Liver", 0, 0, "")], "has label 0"),
        ([("Liver", 3, 0, ""), ("Spleen", 3, 0, "")], "'Spleen' has label 3, which is background or another's"),
        ([("Liver", "x", 0, "")], "no number"),
    ):
        path = write(label_image(), tmp_path / "bad.seg.nrrd", slicer_header(segments))
        with pytest.raises(ImageReadError, match=message):
            read_segmentation(path)
    layers = write(sitk.Compose([label_image(), label_image()]), tmp_path / "layers.nrrd")
    names = tmp_path / "names.json"
    names.write_text('{"1": "spleen"}')
    with pytest.raises(InputError, match="2 layers"):
        read_segmentation(layers, names)


def test_structures_of_another_frame_are_refused_and_those_outside_left_out(tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"1": "spleen", "2": "colon", "3": "aorta", "7": "stomach"}))
    segmentation = read_segmentation(write(label_image(), tmp_path / "labels.nrrd"), names)
    part = grid((-40, -30, -20), (5, 30, 20), (2.0, 2.0, 2.0))
    assert set(find_structures(segmentation, part).masks) == {"spleen", "aorta", "stomach"}
    with pytest.raises(GeometryError, match="beside the image"):
        find_structures(segmentation, grid((500, 0, 0), (540, 30, 20), (2.0, 2.0, 2.0)))


def test_a_probe_passes_between_given_ribs_as_between_those_of_the_ct():
    assert access.clearance_mm("rib") == access.clearance_mm("bone") == access.DENSE_CLEARANCE_MM
    assert access.clearance_mm("my clip") == access.CLEARANCE_MM < access.clearance_mm("colon")
