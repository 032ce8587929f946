"""Measures of lesions against analytic shapes: distances, volumes, enhancement, lobes, flags, and bad input."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.centerlines import Centerlines
from NETAblationLib.core.clinical_rules import EVIDENCE, NO_SOURCE, RULES, Rule
from NETAblationLib.core.errors import EmptyMaskError, GeometryError, ImageReadError, InputError
from NETAblationLib.core.lesion_measures import measure_lesions, split_labels
from NETAblationLib.core.lobes import Lobes
from support import shapes

GRID = shapes.grid((-62, -62, -62), (62, 62, 62), (1.5, 1.5, 2.0))
TURNED = shapes.grid((-62, -62, -62), (62, 62, 62), (1.3, 1.3, 2.4), shapes.rotation((0.3, 1, 0.2), 20.0))
LIVER = shapes.sphere((0, 0, 0), 50.0)
DEEP, RIM = shapes.sphere((20.2, 0.3, -0.4), 8.0), shapes.sphere((-40.3, 0.2, 0.6), 6.0)
TRIAD = shapes.sphere((20.2, 20.3, -0.4), 5.0)
#: What half a voxel can do, in mm.
NEAR_MM = 0.8


@cache
def known(level, is_turned) -> sitk.Image:
    return shapes.mask_of(level, TURNED if is_turned else GRID)


def mask(level, grid=GRID) -> sitk.Image:
    return known(level, grid is TURNED) if grid is GRID or grid is TURNED else shapes.mask_of(level, grid)


def line(r, radius_mm, kind=1) -> Centerlines:
    """A straight vessel along S at A = 0."""
    along = np.arange(-50, 50, 0.5)
    points = np.stack([0 * along + r, 0 * along, along], axis=1)
    return Centerlines(points, np.full(len(along), radius_mm), np.full(len(along), kind), np.full(len(along), 0.5))


def ct(liver_hu, deep_hu, rim_hu, grid=GRID, noise=6.0) -> sitk.Image:
    """Air around a liver with both lesions."""
    centers = shapes.voxel_centers(grid)
    hu = np.where(LIVER(centers) < 0, liver_hu, -1000.0)
    for level, value in ((DEEP, deep_hu), (RIM, rim_hu)):
        hu = np.where(level(centers) < 0, value, hu)
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    image = sitk.GetImageFromArray(hu.reshape(grid.GetSize()[::-1]).astype(np.float32))
    image.CopyInformation(grid)
    return image


@pytest.fixture(scope="module")
def both():
    return {"deep": mask(DEEP), "rim": mask(RIM)}


@pytest.fixture(scope="module")
def measured(both):
    return measure_lesions(
        both,
        mask(LIVER),
        phases={"native": ct(60, 50, 55), "arterial": ct(80, 130, 85, TURNED), "portal": ct(115, 75, 118)},
        structures={"portal_triad": mask(TRIAD), "stomach": mask(shapes.sphere((0, 50, 0), 8.0), TURNED)},
        vessels=Centerlines.joined([line(-28, 2.0, 2), line(-31, 1.0), line(5, 4.0)]),
    )


def by_name(measured):
    return {lesion.name: lesion for lesion in measured.lesions}


def test_sizes_are_those_of_the_spheres(measured):
    for name, radius in (("deep", 8.0), ("rim", 6.0)):
        lesion = by_name(measured)[name]
        assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.06)
        assert lesion.longest_diameter_mm == pytest.approx(2 * radius, abs=1.0)
        assert lesion.short_axis_mm == pytest.approx(2 * radius, abs=1.2)
        assert lesion.longest_3d_mm == pytest.approx(2 * radius, abs=1.0)
    assert measured.liver_volume_ml == pytest.approx(4 / 3 * np.pi * 50**3 / 1000, rel=0.01)
    assert measured.tumor_volume_ml == sum(lesion.volume_ml for lesion in measured.lesions)


def test_distances_run_from_surface_to_surface(measured):
    deep, rim = by_name(measured)["deep"], by_name(measured)["rim"]
    assert deep.distances_mm["capsule"] == pytest.approx(50 - 28, abs=NEAR_MM)
    assert rim.distances_mm["capsule"] == pytest.approx(50 - 46, abs=NEAR_MM)
    assert deep.distances_mm["portal_triad"] == pytest.approx(20 - 13, abs=NEAR_MM)
    assert rim.distances_mm["stomach"] == pytest.approx(np.hypot(40, 50) - 14, abs=NEAR_MM)
    assert deep.distances_mm["gallbladder"] is None


def test_the_nearest_vessel_is_one_of_3_mm_and_more(measured):
    """The thin one, which is nearer to the lesion at the rim, does not count."""
    rim, deep = by_name(measured)["rim"].nearest_vessel, by_name(measured)["deep"].nearest_vessel
    assert rim.distance_mm == pytest.approx(-30 - (-34), abs=NEAR_MM)
    assert (rim.radius_mm, rim.kind) == (2.0, "hepatic")
    assert deep.distance_mm == pytest.approx(12 - 9, abs=NEAR_MM)
    assert (deep.radius_mm, deep.kind) == (4.0, "portal")


def test_flags_name_distance_bound_and_source(measured):
    flags = {lesion.name: {flag.name: flag for flag in lesion.flags} for lesion in measured.lesions}
    assert set(flags["deep"]) == {"perihilar", "heat_sink"}
    assert set(flags["rim"]) == {"subcapsular", "heat_sink"}
    document = flags["deep"]["perihilar"].to_dict()
    assert document["distance_mm"] == by_name(measured)["deep"].distances_mm["portal_triad"]
    assert (document["threshold_mm"], document["source"]) == (10.0, RULES["perihilar"].source)
    assert "Lu et al." in flags["rim"]["heat_sink"].to_dict()["source"]
    assert NO_SOURCE in flags["rim"]["heat_sink"].to_dict()["source"]


def test_a_vessel_inside_a_lesion_is_at_distance_0(both):
    found = measure_lesions(both, mask(LIVER), vessels=line(20, 1.6))
    assert by_name(found)["deep"].nearest_vessel.distance_mm == 0.0
    assert by_name(found)["rim"].nearest_vessel.distance_mm == pytest.approx(20 - 1.6 + 34, abs=NEAR_MM)
    none = measure_lesions(both, mask(LIVER), vessels=line(20, 1.0))
    assert [lesion.distances_mm["vessel"] for lesion in none.lesions] == [None, None]
    assert "no vessel of 3 mm and more is given" in none.lesions[0].notes


def test_structures_that_meet_or_hold_a_lesion_are_at_distance_0(both):
    around, within = mask(shapes.sphere((20, 0, 0), 12.0)), mask(shapes.sphere((20, 0, 0), 4.0))
    found = measure_lesions(both, mask(LIVER), structures={"around": around, "within": within})
    assert by_name(found)["deep"].distances_mm["around"] == 0.0
    assert by_name(found)["deep"].distances_mm["within"] == 0.0
    assert by_name(found)["rim"].distances_mm["around"] == pytest.approx(60 - 18, abs=NEAR_MM)


def test_enhancement_is_told_in_every_phase_and_on_another_grid(measured):
    deep, rim = (by_name(measured)[name].enhancement for name in ("deep", "rim"))
    for phase, liver, value in (("native", 60, 50), ("arterial", 80, 130), ("portal", 115, 75)):
        assert deep[phase].liver_hu == pytest.approx(liver, abs=1.0)
        assert deep[phase].lesion_hu == pytest.approx(value, abs=2.0)
        assert deep[phase].difference_hu == deep[phase].lesion_hu - deep[phase].liver_hu
    assert [deep[phase].pattern for phase in ("arterial", "portal")] == ["hyper", "hypo"]
    assert [rim[phase].pattern for phase in ("arterial", "portal")] == ["iso", "iso"]
    assert deep["portal"].liver_sd_hu == pytest.approx(6.0, rel=0.1)
    assert deep["portal"].contrast_to_noise == pytest.approx(-40 / 6, rel=0.15)
    assert deep["arterial"].lesion_rise_hu == pytest.approx(130 - 50, abs=3.0)
    assert deep["arterial"].liver_rise_hu == pytest.approx(80 - 60, abs=2.0)


def test_a_phase_that_cuts_a_lesion_off_gives_none_and_says_so(both):
    image = ct(110, 70, 70)
    cut = image[: image.GetSize()[0] // 2 + 20]
    found = by_name(measure_lesions(both, mask(LIVER), phases={"portal": cut}))
    (seen,) = [name for name, lesion in found.items() if lesion.enhancement["portal"] is not None]
    (lost,) = {"deep", "rim"} - {seen}
    assert any("portal" in note for note in found[lost].notes)


def test_liver_within_the_margin_is_that_of_a_shell(measured):
    """Whole around the deep lesion; at the rim the part beyond the capsule is no liver."""
    deep, rim = by_name(measured)["deep"], by_name(measured)["rim"]
    assert deep.margin_liver_ml == pytest.approx(4 / 3 * np.pi * (13**3 - 8**3) / 1000, rel=0.04)
    assert rim.margin_liver_ml < 0.999 * 4 / 3 * np.pi * (11**3 - 6**3) / 1000


@pytest.mark.parametrize("grid", [GRID, TURNED])
def test_a_liver_mask_without_its_lesions_gives_the_same(both, measured, grid):
    """Both the enclosed lesion and one that the capsule cuts."""
    cut = shapes.intersection(shapes.sphere((-47, 0, 0), 6.0), LIVER)
    lesions = {"deep": both["deep"], "cut": mask(cut)}
    whole = by_name(measure_lesions(lesions, mask(LIVER, grid)))
    holed = measure_lesions(lesions, mask(shapes.difference(LIVER, DEEP, cut), grid))
    assert holed.liver_volume_ml == pytest.approx(measured.liver_volume_ml, rel=0.01)
    for lesion in holed.lesions:
        assert lesion.distances_mm["capsule"] == pytest.approx(whole[lesion.name].distances_mm["capsule"], abs=NEAR_MM)
        assert any("liver" in note for note in lesion.notes)
    assert by_name(holed)["cut"].distances_mm["capsule"] == pytest.approx(0.0, abs=0.3)


def test_the_order_of_lesions_and_the_grid_of_one_do_not_matter(both, measured):
    found = measure_lesions({"rim": mask(RIM, TURNED), "deep": both["deep"]}, mask(LIVER))
    assert [lesion.name for lesion in found.lesions] == ["rim", "deep"]
    for name, tolerance in (("deep", 0.01), ("rim", NEAR_MM)):
        old, new = by_name(measured)[name], by_name(found)[name]
        assert new.distances_mm["capsule"] == pytest.approx(old.distances_mm["capsule"], abs=tolerance)
        assert new.longest_3d_mm == pytest.approx(old.longest_3d_mm, abs=tolerance)


def test_what_lies_beyond_or_in_parts_is_said(both):
    beyond = mask(shapes.sphere((0, 0, 47), 7.0))
    parts = mask(shapes.union(shapes.sphere((0, 20, 0), 4.0), shapes.sphere((0, 35, 0), 4.0)))
    found = by_name(measure_lesions({"beyond": beyond, "parts": parts}, mask(LIVER)))
    assert found["beyond"].distances_mm["capsule"] == pytest.approx(0.0, abs=0.3)
    assert any("outside the liver mask" in note for note in found["beyond"].notes)
    assert found["parts"].part_count == 2
    assert any("2 separate parts" in note for note in found["parts"].notes)


def test_the_document_is_json_with_full_numbers(measured):
    documents = json.loads(json.dumps([lesion.to_dict() for lesion in measured.lesions], allow_nan=False))
    assert documents[0]["distances_mm"] == dict(measured.lesions[0].distances_mm)
    assert documents[0]["enhancement"]["portal"]["lesion_hu"] == measured.lesions[0].enhancement["portal"].lesion_hu
    assert documents[0]["nearest_vessel"]["radius_mm"] == 4.0
    assert len(measured.input_hashes["lesion deep"]) == 64


@cache
def _bad():
    """Words, options, error and message of each case."""
    whole, deep = mask(LIVER), mask(DEEP)
    empty = deep * 0
    far = shapes.grid((700, 0, 0), (720, 20, 20), (1, 1, 1))
    away = mask(shapes.sphere((710, 10, 10), 6.0), far)
    by_a_voxel = mask(shapes.sphere((36.2, 0.3, -0.4), 9.0))
    by_a_voxel = split_labels(by_a_voxel)[1]
    air = sitk.Cast(far, sitk.sitkInt16) - 1000
    magnetic = sitk.Abs(ct(300, 400, 200))
    return {
        "no lesion": (({}, whole), {}, InputError, "none given"),
        "empty lesion": (({"a": empty}, whole), {}, EmptyMaskError, "lesion 'a'.*empty"),
        "empty liver": (({"a": deep}, empty), {}, EmptyMaskError, "liver.*empty"),
        "2D": (({"a": deep[:, :, 3]}, whole), {}, ImageReadError, "2D"),
        "outside": (({"a": mask(shapes.sphere((57, 0, 0), 3.0))}, whole), {}, GeometryError, "'a': lies outside"),
        "beside": (({"a": mask(shapes.sphere((0, 0, 57), 6.5))}, whole), {}, GeometryError, "'a': lies outside"),
        "other frame": (({"a": away}, whole), {}, GeometryError, "'a': lies outside the liver"),
        "overlap": (
            ({"a": deep, "b": mask(shapes.sphere((30, 0, 0), 8.0))}, whole),
            {},
            GeometryError,
            "'a' and 'b' overlap",
        ),
        "overlap by a voxel": (
            ({"a": split_labels(deep)[1], "b": by_a_voxel}, whole),
            {},
            GeometryError,
            "'a' and 'b' overlap",
        ),
        "overlap of grids": (({"a": deep, "b": mask(DEEP, TURNED)}, whole), {}, GeometryError, "overlap"),
        "MR": (({"a": deep}, whole), {"phases": {"t1": magnetic}}, InputError, "'t1'.*no CT in HU"),
        "bright": (
            ({"a": deep}, whole),
            {"phases": {"pet": ct(9000, 9000, 9000)}},
            InputError,
            "'pet'.*no liver has in HU",
        ),
        "phase elsewhere": (({"a": deep}, whole), {"phases": {"p": air}}, GeometryError, "'p'.*liver"),
        "empty structure": (({"a": deep}, whole), {"structures": {"colon": empty}}, EmptyMaskError, "colon"),
        "structure elsewhere": (({"a": deep}, whole), {"structures": {"colon": away}}, GeometryError, "colon.*frame"),
        "margin": (({"a": deep}, whole), {"margin_mm": 0.0}, InputError, "margin"),
    }


@pytest.mark.parametrize("case", list(_bad()))
def test_bad_input_is_refused_by_name(case):
    words, options, error, message = _bad()[case]
    with pytest.raises(error, match=message):
        measure_lesions(*words, **options)


def test_labels_are_split_into_masks_at_their_place():
    labels = sitk.Cast(mask(DEEP), sitk.sitkUInt32) * 7 + sitk.Cast(mask(RIM), sitk.sitkUInt32) * 3
    found = split_labels(labels)
    assert list(found) == [3, 7]
    for label, level in ((7, DEEP), (3, RIM)):
        whole = sitk.Resample(found[label], GRID, sitk.Transform(), sitk.sitkNearestNeighbor)
        assert (sitk.GetArrayFromImage(whole) == sitk.GetArrayFromImage(mask(level))).all()
        assert np.prod(found[label].GetSize()) < 0.05 * np.prod(GRID.GetSize())
    with pytest.raises(EmptyMaskError, match="labels of mine"):
        split_labels(labels * 0, "labels of mine")


# lobes


def test_lobes_of_a_mask_give_shares_of_each_lesion(both):
    r = shapes.voxel_centers(TURNED)[:, 0]
    labels = np.where(r > 20, 1, np.where(r > -30, 3, 2)).reshape(TURNED.GetSize()[::-1]).astype(np.uint8)
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(TURNED)
    found = by_name(measure_lesions(both, mask(LIVER), lobes=Lobes.of_mask(image)))
    assert found["deep"].lobe_fraction == pytest.approx({"right": 0.5, "left": 0.0, "caudate": 0.5}, abs=0.05)
    assert found["rim"].lobe_fraction == {"right": 0.0, "left": 1.0, "caudate": 0.0}
    with pytest.raises(InputError, match=r"labels \[0, 1, 4\]"):
        Lobes.of_mask(sitk.Cast(both["deep"], sitk.sitkUInt8) + 3 * both["rim"] * 1 + both["rim"])
    with pytest.raises(EmptyMaskError, match="lobes"):
        Lobes.of_mask(image * 0)
    moved = sitk.Image(image)
    moved.SetOrigin((900.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="no lesion lies in the mask of lobes"):
        measure_lesions(both, mask(LIVER), lobes=Lobes.of_mask(moved))


def test_the_plane_of_gallbladder_and_cava_parts_right_from_left():
    """The cava runs along S behind, the gallbladder lies in front and to the right: an oblique plane."""
    grid = shapes.grid((-40, -60, -60), (60, 60, 60), (2, 2, 2))

    def tube(points):
        return np.hypot(points[:, 0], points[:, 1] + 40) - 9.0

    lobes = Lobes.of_landmarks(mask(shapes.sphere((30, 40, -20), 12.0), grid), mask(tube, grid))
    along = np.array([30.0, 80.0]) / np.hypot(30, 80)
    np.testing.assert_allclose(lobes.right, [along[1], -along[0], 0], atol=0.02)
    points = np.array([[10.0, 0, 30], [25.0, 0, -30], [40.0, 30, 0], [0.0, 30, 0]])
    assert lobes.at(points).tolist() == [2, 1, 1, 2]
    assert lobes.shares(points) == {"right": 0.5, "left": 0.5}
    with pytest.raises(GeometryError, match="no plane"):
        Lobes.of_landmarks(mask(shapes.sphere((0, -40, 45), 6.0), grid), mask(tube, grid))
    with pytest.raises(GeometryError, match="right from left"):
        Lobes.of_landmarks(mask(shapes.sphere((50, -38, 0), 6.0), grid), mask(tube, grid))
    with pytest.raises(EmptyMaskError, match="gallbladder"):
        Lobes.of_landmarks(grid, mask(tube, grid))


# rules


def test_every_rule_has_a_source_and_says_how_sure_it_is():
    assert len(RULES) > 25
    for name, rule in RULES.items():
        assert rule.name == name
        assert rule.source
        assert rule.evidence in EVIDENCE
        assert (rule.source == NO_SOURCE) == (rule.evidence == "user-set")
    with pytest.raises(InputError, match="evidence"):
        Rule("a", 1.0, "mm", "words", "a paper", "certain")
    with pytest.raises(InputError, match="user-set"):
        Rule("a", 1.0, "mm", "words", NO_SOURCE, "table read")
    with pytest.raises(InputError, match="no number"):
        _ = RULES["differentiation"].number


def test_the_frames_of_cut_masks_stay(both):
    cut = measure_lesions(both, mask(LIVER)).masks["deep"]
    center = frames.index_to_ras(cut, np.argwhere(sitk.GetArrayFromImage(cut))[:, ::-1]).mean(axis=0)
    np.testing.assert_allclose(center, (20.2, 0.3, -0.4), atol=0.1)
