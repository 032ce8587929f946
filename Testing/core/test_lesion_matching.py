"""Lesions of two dates: permutations, known shifts and growth, split, merged, new and vanished ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.errors import EmptyMaskError, GeometryError, ImageReadError, InputError
from NETAblationLib.core.lesion_matching import match_lesions
from support import shapes

BEFORE = shapes.grid((-60, -40, -30), (60, 40, 30), (1.2, 1.2, 2.0))
AFTER = shapes.grid((-70, -50, -40), (70, 50, 40), (1.4, 1.4, 1.8), shapes.rotation((0, 0.3, 1), 9.0))
PLACES = [(-40, 0, 0), (-15, 20, 5), (-12, -10, -8), (15, 5, 0), (40, -15, 10)]


def ball(center, radius_mm, grid=BEFORE):
    return shapes.mask_of(shapes.sphere(center, radius_mm), grid)


def shift(offset_ras_mm):
    matrix = np.eye(4)
    matrix[:3, 3] = offset_ras_mm
    return frames.affine_transform(matrix)


def pairs(matches):
    return {(match.earlier, match.present) for match in matches}


@pytest.fixture(scope="module")
def earlier():
    return {f"e{n}": ball(place, 4.0 + n) for n, place in enumerate(PLACES)}


@pytest.mark.parametrize("seed", range(3))
def test_a_known_shift_and_any_order_give_the_same_lesions(earlier, seed):
    """The shift is larger than some lesions and their distances, so only the transform tells which is which."""
    offset = np.array([14.0, -9.0, 6.0])
    order = np.random.default_rng(seed).permutation(5)
    present = {f"p{n}": ball(np.add(PLACES[n], offset), 4.0 + n, AFTER) for n in order}
    matches = match_lesions(earlier, present, present_to_earlier=shift(-offset))
    assert [match.present for match in matches] == [(f"p{n}",) for n in order]
    assert pairs(matches) == {((f"e{n}",), (f"p{n}",)) for n in range(5)}
    for match in matches:
        assert match.fate == "same"
        assert match.volume_ratio == pytest.approx(1.0, rel=0.12)
        assert match.diameter_change_mm == pytest.approx(0.0, abs=1.0)
        assert match.center_distance_mm < 0.3
        assert match.shared_fraction > 0.75


def test_a_deformation_field_carries_as_a_shift_does(earlier):
    offset = np.array([14.0, -9.0, 6.0])
    present = {f"p{n}": ball(np.add(PLACES[n], offset), 4.0 + n, AFTER) for n in range(5)}
    field = sitk.TransformToDisplacementField(
        shift(-offset), sitk.sitkVectorFloat64, [60, 50, 40], (-90.0, -70.0, -60.0), (3.0, 3.0, 3.0)
    )
    through = match_lesions(earlier, present, present_to_earlier=sitk.DisplacementFieldTransform(field))
    direct = match_lesions(earlier, present, present_to_earlier=shift(-offset))
    assert pairs(through) == pairs(direct)
    for first, second in zip(through, direct, strict=True):
        assert first.center_distance_mm == pytest.approx(second.center_distance_mm, abs=1e-6)


def test_growth_is_that_of_the_spheres_and_days_are_passed_on(earlier):
    present = {
        f"p{n}": ball(place, (4.0 + n) * factor)
        for n, (place, factor) in enumerate(zip(PLACES, (1.5, 0.7, 1, 1, 1), strict=True))
    }
    matches = match_lesions(earlier, present, days=90)
    grown, shrunk = matches[0], matches[1]
    assert grown.volume_ratio == pytest.approx(1.5**3, rel=0.1)
    assert grown.diameter_change_mm == pytest.approx(4.0, abs=0.8)
    assert grown.diameter_change_fraction == pytest.approx(0.5, abs=0.1)
    assert grown.volume_doublings == pytest.approx(3 * np.log2(1.5), abs=0.15)
    assert shrunk.volume_ratio == pytest.approx(0.7**3, rel=0.15)
    assert shrunk.volume_doublings == pytest.approx(3 * np.log2(0.7), abs=0.25)
    assert {match.days for match in matches} == {90}
    assert {match.days for match in match_lesions(earlier, present)} == {None}


def test_new_and_vanished_lesions_are_named(earlier):
    present = {"p0": ball(PLACES[0], 4.0), "new": ball((0, -30, 0), 5.0)}
    matches = match_lesions(earlier, present)
    assert [match.fate for match in matches] == ["same", "new", *["vanished"] * 4]
    assert matches[1].present == ("new",)
    assert matches[1].earlier == ()
    assert matches[1].volume_ratio is None
    assert [match.earlier for match in matches[2:]] == [("e1",), ("e2",), ("e3",), ("e4",)]
    assert matches[2].present_volume_ml == 0.0


def test_a_split_lesion_keeps_all_of_its_parts():
    earlier = {"one": ball((0, 0, 0), 14.0), "other": ball((40, 0, 0), 6.0)}
    present = {"left": ball((-8, 0, 0), 5.0), "other": ball((41, 0, 0), 6.0), "right": ball((8, 1, 0), 4.0)}
    split, same = match_lesions(earlier, present)
    assert (split.fate, split.earlier, split.present) == ("split", ("one",), ("left", "right"))
    assert split.volume_ratio == pytest.approx((5**3 + 4**3) / 14**3, rel=0.12)
    assert split.present_diameter_mm == pytest.approx(18.0, abs=1.2)
    assert same.present == ("other",)


def test_merged_lesions_are_one():
    earlier = {"a": ball((-7, 0, 0), 5.0), "b": ball((7, 0, 0), 5.0), "far": ball((45, 0, 0), 5.0)}
    present = {"big": ball((0, 0, 0), 14.0)}
    merged, gone = match_lesions(earlier, present)
    assert (merged.fate, merged.earlier, merged.present) == ("merged", ("a", "b"), ("big",))
    assert merged.volume_ratio == pytest.approx(14**3 / (2 * 5**3), rel=0.1)
    assert merged.diameter_change_mm == pytest.approx(28 - 20, abs=1.2)
    assert (gone.fate, gone.earlier) == ("vanished", ("far",))


def test_a_new_neighbor_is_no_part():
    """It touches the place of the earlier lesion, but most of it lies beside."""
    earlier = {"a": ball((0, 0, 0), 8.0)}
    present = {"a": ball((0, 0, 0), 8.0), "beside": ball((13, 0, 0), 5.5)}
    same, new = match_lesions(earlier, present)
    assert (same.fate, new.fate) == ("same", "new")


def test_all_pairs_are_chosen_at_once():
    """The nearest pair of all is e0 and p1; taken first, it would leave e1 and p0 alone, 18 mm apart."""
    earlier = {"e0": ball((0, 0, 0), 6.0), "e1": ball((11, 0, 0), 6.0)}
    present = {"p0": ball((-7, 0, 0), 6.0, AFTER), "p1": ball((5, 0, 0), 6.0)}
    assert pairs(match_lesions(earlier, present)) == {(("e0",), ("p0",)), (("e1",), ("p1",))}


def test_small_lesions_far_beyond_their_size_are_not_one():
    found = match_lesions({"e": ball((0, 0, 0), 4.0)}, {"p": ball((11, 0, 0), 4.0)})
    assert [match.fate for match in found] == ["new", "vanished"]
    near = match_lesions({"e": ball((0, 0, 0), 4.0)}, {"p": ball((8.5, 0, 0), 4.0)})
    assert [match.fate for match in near] == ["same"]
    assert near[0].shared_fraction == 0.0


def test_one_date_without_lesions_is_all_new_or_all_vanished(earlier):
    assert {match.fate for match in match_lesions({}, earlier)} == {"new"}
    assert {match.fate for match in match_lesions(earlier, {})} == {"vanished"}
    assert match_lesions({}, {}) == ()
    json.dumps([match.to_dict() for match in match_lesions(earlier, earlier, days=3)], allow_nan=False)


def test_bad_input_is_refused_by_name(earlier):
    one = {"x": earlier["e0"]}
    with pytest.raises(EmptyMaskError, match="earlier lesion 'x'"):
        match_lesions({"x": earlier["e0"] * 0}, one)
    with pytest.raises(EmptyMaskError, match=r"^lesion 'x'"):
        match_lesions(one, {"x": earlier["e0"] * 0})
    with pytest.raises(ImageReadError, match="2D"):
        match_lesions(one, {"x": earlier["e0"][:, :, 3]})
    with pytest.raises(GeometryError, match="far from each other"):
        match_lesions(one, one, present_to_earlier=shift((900, 0, 0)))
    with pytest.raises(GeometryError, match="3D"):
        match_lesions(one, one, present_to_earlier=sitk.TranslationTransform(2))
    for days in (0, -3, np.nan):
        with pytest.raises(InputError, match="days"):
            match_lesions(one, one, days=days)
