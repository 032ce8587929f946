"""Segments of other segmentations: matched by code or name, corrected, and taken into the case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from NETAblationLib.core.errors import InputError
from NETAblationLib.scene import provenance, segmentations
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.role_matching import adopt_segments, match_segments, structure_choices
from NETAblationLib.scene.terminology import term
from support import shapes

SHAPES = {
    "liver": shapes.sphere((0, 0, 0), 22),
    "kidney_left": shapes.sphere((-30, 0.3, 0.4), 6.5),
    "kidney_right": shapes.sphere((30, 0.5, 0.2), 5.6),
    "esophagus": shapes.sphere((0, 30, 0), 4),
    "my notes": shapes.sphere((0, -30, 0), 4),
    "Liver tumor": shapes.sphere((5, 5, 0), 5),
}
SCT = "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^{}^{}~^^~~^^~^^|"


@pytest.fixture
def case(scene):
    return CaseScene.create(shapes.grid((-40, -40, -25), (40, 40, 25), (1.5, 1.5, 2.0)))


@pytest.fixture
def other(case):
    """A segmentation of another program on voxels of its own, with names only."""
    grid = shapes.grid((-40, -40, -25), (40, 40, 25), (2.0, 2.0, 2.0))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "TotalSegmentator")
    source = segmentations.add_segmentation(grid, "made", provenance.Provenance("test"))
    for name, shape in SHAPES.items():
        segment_id = segmentations.add_segment(source, shapes.mask_of(shape, grid), "tissue", name)
        segment = source.GetSegmentation().GetSegment(segment_id)
        for tag in (segmentations.KIND_TAG, slicer.vtkSegment.GetTerminologyEntryTagName()):
            segment.RemoveTag(tag)
    node.GetSegmentation().DeepCopy(source.GetSegmentation())
    slicer.mrmlScene.RemoveNode(source)
    return node


def matched(node):
    return {match.name: match.structure for match in match_segments(node)}


def volume_mm3(case, kind):
    (segment_id,) = segmentations.segment_ids(case.before, kind)
    mask = segmentations.segment_mask(case.before, segment_id)
    return float(sitk.GetArrayFromImage(mask).sum() * np.prod(mask.GetSpacing()))


def test_names_are_matched_and_the_unknown_is_left_with_a_reason(other):
    assert matched(other) == {
        "liver": "liver",
        "kidney_left": "kidney",
        "kidney_right": "kidney",
        "esophagus": "esophagus",
        "my notes": "",
        "Liver tumor": "tumor",
    }
    reasons = {match.name: match.reason for match in match_segments(other)}
    assert "not in the table" in reasons["my notes"]


def test_a_code_counts_before_the_name_and_against_a_contradiction(other):
    def code(name, value, meaning):
        segment = other.GetSegmentation().GetSegment(other.GetSegmentation().GetSegmentIdBySegmentName(name))
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), SCT.format(value, meaning))

    code("my notes", "78961009", "Spleen")
    code("esophagus", "10200004", "Liver")
    found = matched(other)
    assert found["my notes"] == "spleen"
    assert found["esophagus"] == ""  # the code says one thing, the name another


def test_adopted_segments_are_copies_on_the_case_s_voxels_with_their_source(case, other):
    matches = [match for match in match_segments(other) if match.structure != "tumor"]
    taken = adopt_segments(case, other, matches)
    assert taken == ["liver", "kidney (2 segments)", "esophagus"]
    assert volume_mm3(case, "liver") == pytest.approx(4 / 3 * np.pi * 22**3, rel=0.03)
    assert volume_mm3(case, "kidney") == pytest.approx(4 / 3 * np.pi * (6.5**3 + 5.6**3), rel=0.06)
    assert volume_mm3(case, "esophagus") == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.15)
    assert case.liver_model is not None
    assert set(case.structures()) == {"kidney", "esophagus"}
    (kidney,) = segmentations.segment_ids(case.before, "kidney")
    assert segmentations.segment_tag(case.before, kidney, provenance.SOURCE) == (
        "TotalSegmentator: kidney_left, kidney_right"
    )
    hashes = segmentations.segment_tag(case.before, kidney, provenance.CONTENT_HASH).split()
    assert hashes == [segmentations.segment_hash(other, f"kidney_{side}") for side in ("left", "right")]
    assert segmentations.segment_terminology(case.before, kidney) == term("kidney").entry
    adopt_segments(case, other, matches)  # again: in place of the first, not beside it
    assert len(segmentations.segment_ids(case.before)) == 3


def test_a_match_can_be_corrected_and_tumors_become_lesions(case, other):
    matches = [
        replace(match, structure="bowel") if match.name == "my notes" else replace(match, structure="")
        for match in match_segments(other)
    ]
    assert adopt_segments(case, other, matches) == ["bowel"]
    assert volume_mm3(case, "bowel") == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.15)
    tumors = [match for match in match_segments(other) if match.structure == "tumor"]
    assert adopt_segments(case, other, tumors) == ["tumor Liver tumor"]
    assert [lesion.name for lesion in case.lesions.values()] == ["Liver tumor"]
    with pytest.raises(InputError, match="already"):
        adopt_segments(case, other, tumors)


def test_what_cannot_be_adopted_is_refused(case, other):
    matches = match_segments(other)
    with pytest.raises(InputError, match="no segment is matched"):
        adopt_segments(case, other, [replace(match, structure="") for match in matches])
    with pytest.raises(InputError, match="no structure that a segment can be"):
        adopt_segments(case, other, [replace(matches[0], structure="unicorn")])
    with pytest.raises(InputError, match="belongs to the case"):
        adopt_segments(case, case.before, matches)
    other.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    with pytest.raises(InputError, match="harden"):
        adopt_segments(case, other, matches)
    assert segmentations.segment_ids(case.before) == []


def test_every_choice_can_be_adopted(case, other):
    match = match_segments(other)[0]
    for name in structure_choices():
        if name != "tumor":
            assert adopt_segments(case, other, [replace(match, structure=name)]) == [name]
