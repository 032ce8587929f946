"""The table of structures is whole and unique; names and codes lead to one structure, or to none with a reason."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core.errors import FormatError
from NETAblationLib.core.structures import (
    STRUCTURES_FILE,
    TERMS_FILE,
    Code,
    catalogue,
    match_labels,
    normalized,
    read_catalogue,
)

LIVER_REGION = "10200004"
#: Roles of the issue, and what a plan has to keep clear of.
OBSTACLES = {
    "bone": ("rib_left_7", "vertebrae_T12", "sternum", "costal_cartilages", "hip_right", "sacrum"),
    "lung": ("lung_lower_lobe_right", "lung_middle_lobe_right"),
    "bowel": ("colon", "duodenum", "small_bowel"),
    "stomach": ("stomach",),
    "gallbladder": ("gallbladder",),
    "heart": ("heart", "atrial_appendage_left"),
    "kidney": ("kidney_left", "kidney_right"),
    "spleen": ("spleen",),
    "pancreas": ("pancreas",),
    "vessel": ("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein"),
}
#: AMOS, as its dataset.json and its users write them.
AMOS = {
    "spleen": "spleen", "right kidney": "kidney", "left kidney": "kidney", "gall bladder": "gallbladder",
    "esophagus": "esophagus", "liver": "liver", "stomach": "stomach", "arota": "aorta",
    "postcava": "inferior vena cava", "pancreas": "pancreas", "right adrenal gland": "adrenal gland",
    "left adrenal gland": "adrenal gland", "duodenum": "duodenum", "bladder": "urinary bladder",
    "prostate/uterus": "prostate",
}  # fmt: skip
ALL_NAMES = [(name, structure) for structure in catalogue().structures for name in structure.names]


def found(name="", code=None):
    match = catalogue().match(name, code)
    return match.structure.name if match.structure else None


def test_every_name_and_code_of_the_table_leads_to_its_structure_and_no_other():
    for name, structure in ALL_NAMES:
        assert catalogue().match(name).structure is structure, name
    for structure in catalogue().structures:
        for code in structure.codes:
            assert catalogue().match("", code).structure is structure, code
    keys = {}
    for name, structure in ALL_NAMES:
        assert keys.setdefault(normalized(name)[0], structure) is structure


def test_the_table_holds_what_planning_needs():
    for role, names in OBSTACLES.items():
        for name in names:
            structure = catalogue().match(name).structure
            assert structure is not None, name
            assert (structure.role, structure.is_obstacle) == (role, True), name
    for name in (
        "liver",
        "liver_segment_3",
        "liver_tumor",
        "liver_lesions",
        "liver_vessels",
        "skin",
        "autochthon_left",
    ):
        structure = catalogue().match(name).structure
        assert structure is not None, name
        assert not structure.is_obstacle, name
    assert {name: found(name) for name in AMOS} == AMOS
    document = json.loads(STRUCTURES_FILE.read_text(encoding="utf-8"))
    names = [row["name"] for row in document["structures"]]
    assert len(set(names)) == len(names)
    assert {row["role"] for row in document["structures"]} == {row["name"] for row in document["roles"]}


def test_codes_of_the_terminology_file_are_those_of_the_table():
    """What the scene codes is what the core reads back: each kind leads to a structure of its own meaning."""
    terms = json.loads(TERMS_FILE.read_text(encoding="utf-8"))
    kinds = {
        row["3dSlicerLabel"]: row for category in terms["SegmentationCodes"]["Category"] for row in category["Type"]
    }
    for kind in ("tumor", "lesion", "zone"):
        code = Code("SCT", kinds[kind]["CodeValue"], kinds[kind]["CodeMeaning"], LIVER_REGION)
        assert catalogue().match("", code).structure.role == ("zone" if kind == "zone" else "tumor")
    for kind, row in kinds.items():
        if kind not in ("tumor", "lesion", "zone", "tissue", "probe"):
            match = catalogue().match("", Code("SCT", row["CodeValue"]))
            assert match.structure is not None, kind
            assert row["CodeMeaning"] in {code.meaning for code in match.structure.codes}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Liver", "liver"),
        ("liver tumor", "tumor"),
        ("Liver_Tumour_2", "tumor"),
        ("liver lesions", "tumor"),
        ("hepatic metastases", "tumor"),
        ("liver_vessels", "liver vessels"),
        ("liver_segment_3", "liver segment"),
        ("Liver segment IVa", "liver segment"),
        ("left lobe of liver", "liver segment"),
        ("liver 2", None),
        ("tumor of the pancreas", None),
        ("not liver", None),
        ("liver, spleen", None),
        ("Segment_1", None),
        ("", None),
        ("L", None),
        ("L1", "vertebra"),
        ("Kidney(R)", "kidney"),
        ("LeftKidney", "kidney"),
        ("IVC", "inferior vena cava"),
    ],
)
def test_liver_lesion_and_vessels_are_never_mixed_up_and_nothing_is_guessed(name, expected):
    assert found(name) == expected
    if expected is None:
        assert catalogue().match(name).reason


def test_codes_go_first_and_contradictions_are_not_resolved():
    liver, tissue = Code("SCT", "10200004", "Liver"), Code("SCT", "85756007", "Tissue")
    assert found("Segment_1", liver) == "liver"
    assert found("my kidney", Code("SCT", "64033007", "Kidney")) == "kidney"
    match = catalogue().match("liver tumor", liver)
    assert match.structure is None
    assert match.reason == "its code says liver, its name tumor"
    # Slicer's code for everything that the user has not coded says nothing.
    assert found("gallbladder", tissue) == "gallbladder"
    assert found("Segment_1", tissue) is None
    # Of the same role, the code is the more exact one.
    assert found("bowel", Code("SCT", "71854001", "Colon")) == "colon"
    # A code counts in its region only.
    vessel, mass = "59820001", "4147007"
    assert found("", Code("SCT", vessel, "Blood vessel")) == "large vessels"
    assert found("", Code("SCT", vessel, "Blood vessel", LIVER_REGION)) == "liver vessels"
    assert found("", Code("SCT", vessel, "Blood vessel", "39607008")) == "lung"
    assert found("", Code("SCT", mass, "Mass", LIVER_REGION)) == "tumor"
    assert found("", Code("SCT", mass, "Mass", "15776009")) is None
    assert found("tumor", Code("SCT", mass, "Mass", "15776009")) is None  # of the pancreas
    assert (
        "4147007 (Mass) in region 15776009" in catalogue().match("tumor", Code("SCT", mass, "Mass", "15776009")).reason
    )
    # Other schemes are not read: the name counts.
    assert found("spleen", Code("FMA", "7196", "Spleen")) == "spleen"


def test_sides_are_told():
    assert catalogue().match("Kidney_Left").side == "left"
    for name, side in (("kidney_left", "left"), ("R kidney", "right"), ("Kidneys", ""), ("left and right kidney", "")):
        assert normalized(name)[1] == side


def test_all_labels_of_a_segmentation_at_once():
    labels = match_labels(
        {0: "background", 1: "spleen", 2: "Kidney (L)", 3: "implant", 4: "x"}, {4: Code("SCT", "80891009")}
    )
    assert labels.roles == {1: "spleen", 2: "kidney", 4: "heart"}
    assert labels.unmatched == {3: ("implant", "the name 'implant' is not in the table")}
    assert labels.matched[2].side == "left"


@given(st.sampled_from(ALL_NAMES), st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from(" _-./,("))
def test_case_and_separators_do_not_matter(entry, change, separator):
    name, structure = entry
    written = separator.join(re.split(r"[\W_]+", change(name)))
    assert catalogue().match(f" {written}{separator}").structure is structure


@given(
    st.sampled_from([entry for entry in ALL_NAMES if not normalized(entry[0])[1]]),
    st.sampled_from([("left", "left"), ("Right", "right"), ("L", "left"), ("R", "right")]),
    st.booleans(),
)
def test_a_side_before_or_behind_does_not_matter(entry, side, before):
    name, structure = entry
    match = catalogue().match(f"{side[0]} {name}" if before else f"{name}_{side[0]}")
    assert match.structure is structure
    assert match.side == side[1]


@given(st.text(max_size=30))
def test_normalizing_is_stable_and_whatever_is_no_name_is_unmatched_with_a_reason(text):
    key, _ = normalized(text)
    assert key == key.lower()
    assert "  " not in key
    match = catalogue().match(text)
    assert (match.structure is None) == bool(match.reason)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=2), "schema and version"),
        (lambda d: d.pop("roles"), "'roles' is not a list"),
        (lambda d: d["structures"][0].pop("role"), "entry 1 of 'structures' lacks one of name, role"),
        (lambda d: d["structures"][0].update(role="king"), "structure 'liver': role 'king' is none of liver, "),
        (lambda d: d["structures"][0].update(term="king"), "term 'king' is not in the terminology file"),
        (lambda d: d["structures"][0].update(names=["king"]), "structure 'liver': unknown names"),
        (lambda d: d["structures"][0].update(aliases=["Spleen"]), "name 'spleen' stands for both 'liver' and 'spleen'"),
        (lambda d: d["structures"][0].update(aliases="hepar"), "'aliases' is not a list of names"),
        (lambda d: d["structures"][0].update(aliases=["..."]), "the name '...' has no letters"),
        (lambda d: d["structures"][0].update(codes=[{"value": "x", "meaning": "y"}]), "a code needs a value of digits"),
        (
            lambda d: d["structures"][0].update(codes=[{"value": "78961009", "meaning": "Spleen"}]),
            r"code 78961009 \(Spleen\) stands for both 'liver' and 'spleen'",
        ),
    ],
)
def test_a_bad_table_is_refused_by_name(change, message, tmp_path):
    document = json.loads(STRUCTURES_FILE.read_text(encoding="utf-8"))
    change(document)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=rf"mine\.json: .*{message}"):
        read_catalogue(file, TERMS_FILE)
    with pytest.raises(FormatError, match="is not a terminology"):
        read_catalogue(STRUCTURES_FILE, file)
