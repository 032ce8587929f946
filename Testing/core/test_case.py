"""The case: records, results, what is stale, and its JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core.case import Case, ImageRecord, Result, load_case, save_case
from NETAblationLib.core.documents import read_json, write_json
from NETAblationLib.core.errors import FormatError, InputError


def image(value: int = 0, spacing: float = 1.0) -> sitk.Image:
    array = np.zeros((3, 4, 5), np.uint8)
    array[1, 2, 3] = value
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((spacing, 1.0, 2.0))
    return made


def case_with_margin() -> Case:
    case = Case("trial 7").with_image("tumor 1", "tumor", image(1)).with_image("zone 1", "zone", image(2))
    case = case.with_lesion("lesion 1")
    document = {"schema_version": 1, "mam_mm": 0.1 + 0.2}
    return case.with_result("margin", document, subject="lesion 1", inputs=("tumor 1", "zone 1"))


def test_a_result_is_fresh_until_one_of_its_inputs_changes():
    case = case_with_margin()
    assert case.stale_results() == ()
    same_again = case.with_image("zone 1", "zone", image(2))
    assert same_again.stale_results() == ()
    changed = case.with_image("zone 1", "zone", image(3))
    assert [r.kind for r in changed.stale_results()] == ["margin"]
    assert changed.result("margin", "lesion 1") is not None, "a stale result is kept"


def test_a_moved_image_of_the_same_voxels_makes_results_stale():
    case = case_with_margin().with_image("tumor 1", "tumor", image(1, spacing=1.5))
    assert [r.subject for r in case.stale_results()] == ["lesion 1"]


def test_recomputing_replaces_the_result_and_freshens_it():
    case = case_with_margin().with_image("zone 1", "zone", image(3))
    again = case.with_result("margin", {"schema_version": 1, "mam_mm": 2.0}, subject="lesion 1", inputs=("zone 1",))
    assert again.stale_results() == ()
    assert len(again.results) == 1
    assert again.result("margin", "lesion 1").document["mam_mm"] == 2.0
    assert case.result("margin", "lesion 1").document["mam_mm"] != 2.0, "the former case is unchanged"


def test_a_case_survives_its_file_to_the_last_bit(tmp_path):
    case = case_with_margin()
    save_case(case, tmp_path / "Fall ü.json")
    assert load_case(tmp_path / "Fall ü.json") == case


def test_a_case_file_names_no_file_of_the_machine(tmp_path):
    save_case(case_with_margin(), tmp_path / "case.json")
    assert str(tmp_path) not in (tmp_path / "case.json").read_text()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "not a NETAblation case"),
        ({"schema": "netablation-case", "schema_version": 99}, "schema version 99"),
        ({"schema": "netablation-case", "schema_version": 1, "label": ""}, "images"),
        ({"schema": "netablation-case", "schema_version": 1, "label": "", "images": [{}], "lesions": [], "results": []},
         "name"),
        ({"schema": "netablation-case", "schema_version": 1, "label": "", "images": [], "lesions": [],
          "results": [{"kind": "margin"}]}, "subject"),
    ],
)  # fmt: skip
def test_a_document_of_another_shape_is_refused(document, message):
    with pytest.raises(FormatError, match=message):
        Case.from_dict(document)


def test_names_may_stand_only_once_and_results_need_their_lesion():
    with pytest.raises(InputError, match="twice"):
        Case(lesions=("a", "a"))
    with pytest.raises(InputError, match="does not have"):
        Case(results=(Result("plan", "ghost", {"schema_version": 1}, {}),))
    with pytest.raises(InputError, match="no image 'zone 9'"):
        case_with_margin().with_result("plan", {"schema_version": 1}, inputs=("zone 9",))


def test_unsound_records_are_refused():
    with pytest.raises(InputError, match="role 'pet'"):
        ImageRecord("a", "pet", "0", (1, 1, 1), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="above 0"):
        ImageRecord("a", "zone", "0", (1, 1, 1), (1.0, -1.0, 1.0))
    with pytest.raises(InputError, match="needs a name"):
        ImageRecord("", "zone", "0", (1, 1, 1), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="no schema_version"):
        Result("plan", "", {}, {})
    with pytest.raises(InputError, match="kind 'guess'"):
        Result("guess", "", {"schema_version": 1}, {})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_json_keeps_every_bit_of_a_number(tmp_path_factory, number):
    path = tmp_path_factory.mktemp("json") / "number.json"
    write_json({"number": number}, path)
    back = read_json(path)["number"]
    assert back == number
    assert math.copysign(1, back) == math.copysign(1, number)


def test_a_failed_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "plan.json"
    write_json({"probes": 3}, path)
    with pytest.raises(FormatError, match=r"plan\.json"):
        write_json({"mam_mm": math.nan}, path)
    assert json.loads(path.read_text()) == {"probes": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "torn.json").write_text('{"a": ')
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InputError, match=r"absent\.json"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(FormatError, match=r"torn\.json"):
        read_json(tmp_path / "torn.json")
    with pytest.raises(FormatError, match=r"list\.json.*list"):
        read_json(tmp_path / "list.json")
    with pytest.raises(InputError, match="cannot be written"):
        write_json({}, tmp_path / "nowhere" / "a.json")
