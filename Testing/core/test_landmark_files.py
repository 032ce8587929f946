"""Landmarks from tables and from markups of 3D Slicer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from NETAblationLib.core.errors import FormatError, InputError
from NETAblationLib.core.landmark_files import read_landmarks

HEAD = "name,fixed_r_mm,fixed_a_mm,fixed_s_mm,moving_r_mm,moving_a_mm,moving_s_mm\n"
ROW = "bifurcation,1,2,3,4.5,5,6\n"


def markup(points, system="LPS", **extra):
    return {"coordinateSystem": system, "controlPoints": [{"position": point, **extra} for point in points]}


def test_a_table_of_pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(HEAD + ROW + ROW, encoding="utf-8-sig")
    pairs = read_landmarks([path])
    assert len(pairs) == 2
    assert np.array_equal(pairs[1], [[1, 2, 3], [4.5, 5, 6]])


def test_markups_in_two_files_or_one(tmp_path):
    fixed, moving = markup([[-1, -2, 3]]), markup([[4, 5, 6], [7, 8, 9]], "RAS")
    moving["controlPoints"][1]["positionStatus"] = "undefined"
    places = [tmp_path / "f.mrk.json", tmp_path / "m.mrk.json"]
    for place, one in zip(places, (fixed, moving), strict=True):
        place.write_text(json.dumps({"markups": [one]}))
    both = tmp_path / "both.mrk.json"
    both.write_text(json.dumps({"markups": [fixed, moving]}))
    for found in (read_landmarks(places), read_landmarks([both])):
        assert np.array_equal(found, [[[1, 2, 3], [4, 5, 6]]])


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("t.csv", "a,b\n1,2\n", FormatError, "fixed_r_mm"),
        ("t.csv", HEAD + "x,1,2,3,4,5,six\n", FormatError, "numbers"),
        ("t.txt", HEAD, FormatError, "landmarks"),
        ("t.mrk.json", json.dumps({"markups": [markup([[0, 0, 0]])]}), FormatError, "two lists"),
        ("t.mrk.json", json.dumps({"markups": [markup([[0, 0, 0]]), markup([])]}), InputError, "partner"),
        ("t.mrk.json", json.dumps({"markups": [{}]}), FormatError, "not markups"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, error, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(error, match=message):
        read_landmarks([path])
    with pytest.raises(InputError, match="no such file"):
        read_landmarks([tmp_path / "absent.csv"])
