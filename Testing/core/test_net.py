"""Burden, grade, distribution, checklist: every bound and what lies on it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.lesion_measures import LesionMeasures, MeasuredLesions
from NETAblationLib.core.net import (
    BURDEN_CLASSES,
    SYNDROMES,
    burden_class,
    distribution,
    net_picture,
    syndrome_checklist,
    who_grade,
)


def lesion(name, volume_ml, diameter_mm, lobes=None):
    return LesionMeasures(
        name, volume_ml, diameter_mm, diameter_mm, diameter_mm, (0.0, 0.0, 0.0), 1, 1.0, {}, {}, None, lobes, (), ()
    )


def measured(*lesions, liver_ml=1000.0):
    return MeasuredLesions(lesions, liver_ml, 5.0, "mask of lobes", {}, {})


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 0), (10, 0), (10.0001, 1), (10.5, 1), (25, 1), (25.5, 2), (50, 2), (50.0001, 3), (100, 3)],
)
def test_burden_classes_are_continuous_and_hold_their_upper_bound(percent, expected):
    assert burden_class(percent / 100) == BURDEN_CLASSES[expected]


@pytest.mark.parametrize("fraction", [-0.01, 1.01, math.nan, math.inf])
def test_a_burden_that_is_no_fraction_is_refused(fraction):
    with pytest.raises(InputError, match="burden"):
        burden_class(fraction)


@pytest.mark.parametrize(
    ("ki67", "mitoses", "expected"),
    [
        (0, 0, "G1"),
        (2.9, 1.9, "G1"),
        (3, 0, "G2"),
        (20, 0, "G2"),
        (20.1, 0, "G3"),
        (0, 2, "G2"),
        (0, 20, "G2"),
        (0, 20.1, "G3"),
        (100, 1000, "G3"),
        (None, 1.9, "G1"),
        (None, 2, "G2"),
        (2.99, None, "G1"),
        (55, None, "G3"),
    ],
)
def test_the_grade_is_that_of_the_table_and_the_higher_decides(ki67, mitoses, expected):
    assert who_grade(ki67, mitoses, "well").name == expected


def test_contradictions_are_named():
    grade = who_grade(2, 25, "well")
    assert (grade.name, grade.by_ki67, grade.by_mitoses, grade.decided_by) == ("G3", "G1", "G3", ("mitoses",))
    assert grade.contradictions == ("Ki-67 says G1 and mitoses says G3: the higher decides",)
    agreed = who_grade(5, 5)
    assert (agreed.contradictions, agreed.decided_by, agreed.notes) == ((), ("Ki-67", "mitoses"), ())
    assert "mitoses could give a higher grade" in who_grade(5).notes[0]


def test_above_the_bounds_differentiation_parts_net_from_nec():
    assert who_grade(60, 30, "well").name == "G3"
    assert who_grade(60, 30, "poor").name == "NEC"
    unknown = who_grade(60, 30)
    assert unknown.name == "G3 or NEC"
    assert "differentiation" in unknown.notes[0]
    odd = who_grade(5, 1, "poor")
    assert odd.name is None
    assert any("poorly differentiated" in text for text in odd.contradictions)
    assert json.loads(json.dumps(odd.to_dict()))["by_ki67"] == "G2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((None, None), "neither"),
        ((-1, None), "Ki-67 -1"),
        ((100.5, None), "Ki-67 100.5"),
        ((math.nan, 1), "Ki-67 nan"),
        ((None, -0.5), "mitoses -0.5"),
        ((None, math.inf), "mitoses inf"),
        ((5, 5, "moderate"), "differentiation 'moderate'"),
    ],
)
def test_indices_out_of_range_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        who_grade(*words)


@pytest.mark.parametrize(
    ("count", "lobes", "share", "burden", "expected", "reason"),
    [
        (1, None, 1.0, 0.7, "I", "single"),
        (3, ("right", "left"), 0.5, 0.2, "II", "both lobes"),
        (30, ("right", "left", "caudate"), 0.2, 0.51, "III", "no bulk"),
        (30, ("right", "left"), 0.2, 0.50, None, "parenchyma is left"),
        (3, ("right",), 0.9, 0.6, None, "right lobe only"),
        (3, ("right", "caudate"), 0.9, 0.6, None, "both"),
        (3, None, 0.9, 0.6, None, "not known"),
    ],
)
def test_distribution_types(count, lobes, share, burden, expected, reason):
    found = distribution(count, lobes, share, burden)
    assert found.type == expected
    assert reason in found.reason


@pytest.mark.parametrize(("reachable", "expected"), [(1.0, "1"), (0.99, "2"), (0.71, "2"), (0.7, "3"), (0.0, "3")])
def test_surgical_types_go_by_what_can_be_ablated(reachable, expected):
    assert distribution(5, None, 0.3, 0.2, reachable).surgical_type == expected


def test_the_picture_counts_and_sums():
    lesions = (
        lesion("a", 60.0, 50.0, {"right": 0.95, "left": 0.05}),
        lesion("b", 30.0, 38.0, {"right": 0.4, "left": 0.5}),
        lesion("c", 20.0, 20.0, {"right": 1.0, "left": 0.0}),
    )
    picture = net_picture(measured(*lesions))
    assert picture.burden_fraction == pytest.approx(0.11)
    assert picture.burden_class == "11-25 %"
    assert (picture.lesion_count, picture.largest_mm, picture.median_mm, picture.smallest_mm) == (3, 50.0, 38.0, 20.0)
    assert picture.sum_of_diameters_mm == 108.0
    assert picture.lobes == ("right", "left")
    assert picture.tumor_volume_by_lobe_ml == pytest.approx({"right": 57 + 12 + 20, "left": 3 + 15})
    assert picture.distribution.type == "II"
    assert json.loads(json.dumps(picture.to_dict()))["lobes"] == ["right", "left"]


def test_a_lobe_needs_a_share_of_a_lesion_to_be_involved():
    one = measured(lesion("a", 10.0, 20.0, {"right": 0.92, "left": 0.08}))
    assert net_picture(one).lobes == ("right",)


def test_unknown_lobes_are_none_with_the_reason():
    picture = net_picture(measured(lesion("a", 1.0, 10.0), lesion("b", 1.0, 10.0)), lobes_reason="not given")
    assert (picture.lobes, picture.lobes_reason, picture.tumor_volume_by_lobe_ml) == (None, "not given", None)


def test_the_checklist_has_sources_and_no_doses():
    rows = syndrome_checklist(["Carcinoid", "vipoma"])
    assert [row["name"] for row in rows if row["is_present"]] == ["carcinoid syndrome", "Verner-Morrison syndrome"]
    assert len(rows) == len(SYNDROMES) == 5
    for row in rows:
        assert row["source"]
        assert row["findings"]
        words = " ".join([*row["findings"], *row["to_clarify"]]).lower()
        assert not any(character.isdigit() for character in words)
        assert not any(unit in words for unit in (" mg", "ug", " ml", "dose", "bolus"))
        assert all(text.endswith("?") or "?" in text for text in row["to_clarify"])
    with pytest.raises(InputError, match="'cushing' is not known"):
        syndrome_checklist(["cushing"])


def test_a_burden_of_all_the_liver_is_not_above_one():
    picture = net_picture(measured(lesion("a", 1000.0 * (1 + np.finfo(float).eps), 200.0)))
    assert picture.burden_fraction == 1.0
