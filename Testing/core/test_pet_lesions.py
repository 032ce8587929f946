"""PET lesions against formulas: blurred spheres and blobs, on any grid, in a liver that takes up tracer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import integrate, ndimage, optimize, special

from NETAblationLib import cli
from NETAblationLib.core import frames
from NETAblationLib.core.errors import EmptyMaskError, GeometryError, InputError
from NETAblationLib.core.images import image_hash, write_image
from NETAblationLib.core.pet_lesions import FLOORS, krenning_like, segment_pet_lesions
from NETAblationLib.core.uptake import PEAK_RADIUS_MM, OrganUptake, organ_uptake
from support import dicom_series as make
from support import pet, shapes

SIGMA_MM = 2.8  # 6.6 mm FWHM
CENTER = (3.1, -4.7, 8.3)
OBLIQUE = shapes.rotation((1.0, 2.0, -0.5), 33.0)
FLIPPED = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def box(half_mm=60.0, spacing_mm=(2.0, 2.0, 2.0), direction=None):
    return shapes.grid((-half_mm,) * 3, (half_mm,) * 3, spacing_mm, direction)


def ball(reference, center=CENTER, radius_mm=30.0):
    return shapes.mask_of(shapes.sphere(center, radius_mm), reference)


def array(image):
    return sitk.GetArrayFromImage(image)


def noisy(image, fraction, seed=0):
    """Multiplied by noise that is alike over about a voxel, as a reconstruction leaves it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=array(image).shape), 0.8)
    changed = sitk.GetImageFromArray((array(image) * (1 + fraction * noise / noise.std())).astype(np.float32))
    changed.CopyInformation(image)
    return changed


def isocontour_ml(radius_mm, suv, background, threshold):
    """Volume within the isocontour of a blurred sphere on a background."""
    profile = pet.blurred_profile(radius_mm, SIGMA_MM)
    edge = optimize.brentq(lambda r: background + suv * profile(np.array(r)) - threshold, 1.0, 3 * radius_mm)
    return 4 / 3 * np.pi * edge**3 / 1000


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


# --- measures --------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [None, OBLIQUE, FLIPPED], ids=["straight", "oblique", "flipped"])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.6, 1.6, 3.2)])
def test_measures_of_a_blurred_sphere(direction, spacing):
    """Maximum, threshold's volume, mean and SUVpeak by their integrals; TLA is mean times volume."""
    reference = box(30, spacing, direction)
    image = pet.image_of(pet.blurred_sphere(CENTER, 14.0, 20.0, SIGMA_MM), reference)
    (lesion,) = segment_pet_lesions(image, ball(reference, radius_mm=24)).lesions
    profile = pet.blurred_profile(14.0, SIGMA_MM)
    assert lesion.suv_max == pytest.approx(20.0 * profile(np.array(0.0)), rel=2e-3)
    edge = optimize.brentq(lambda r: profile(np.array(r)) - 0.45 * lesion.suv_max / 20.0, 5, 25)
    volume = 4 / 3 * np.pi * edge**3
    assert lesion.volume_ml == pytest.approx(volume / 1000, rel=0.02)
    inside = integrate.quad(lambda r: 20.0 * profile(np.array(r)) * 4 * np.pi * r**2, 0, edge)[0]
    assert lesion.suv_mean == pytest.approx(inside / volume, rel=0.015)
    assert lesion.total_lesion_activity == pytest.approx(inside / 1000, rel=0.02)
    peak = integrate.quad(lambda r: 20.0 * profile(np.array(r)) * 4 * np.pi * r**2, 0, PEAK_RADIUS_MM)[0]
    assert lesion.suv_peak == pytest.approx(peak / 1000, rel=2e-3)
    assert np.linalg.norm(np.subtract(lesion.max_ras_mm, CENTER)) < 5.0  # the top is flat
    assert lesion.threshold_suv == pytest.approx(0.45 * lesion.suv_max)


def test_the_sphere_of_suvpeak_holds_one_milliliter():
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000)
    assert pytest.approx(6.2, abs=0.01) == PEAK_RADIUS_MM


@pytest.mark.parametrize("direction", [None, OBLIQUE, FLIPPED], ids=["straight", "oblique", "flipped"])
@pytest.mark.parametrize(("spacing", "within"), [((1.5, 1.5, 1.5), 0.01), ((2.0, 2.0, 4.0), 0.04)])
def test_suvpeak_of_a_blob_at_any_place_between_voxels(direction, spacing, within):
    """A peaked blob: a sphere at voxel centers only, or of whole voxels only, misses by more."""
    sigma = 6.0
    r = PEAK_RADIUS_MM
    gauss = sigma**3 * np.sqrt(np.pi / 2) * special.erf(r / (sigma * np.sqrt(2)))
    expected = 3 / r**3 * (gauss - sigma**2 * r * np.exp(-(r**2) / (2 * sigma**2)))
    reference = box(22, spacing, direction)
    for shift in ((0, 0, 0), (0.5, 0.5, 0.5), (0.3, -0.2, 0.4)):
        center = np.add(CENTER, np.multiply(shift, spacing))
        image = pet.image_of(pet.blob(center, 1.0, sigma), reference)
        (lesion,) = segment_pet_lesions(image, ball(reference, center, 15.0)).lesions
        assert lesion.suv_peak == pytest.approx(expected, rel=within)
        assert np.linalg.norm(lesion.peak_ras_mm - center) < 0.3 * max(spacing)
        assert lesion.suv_mean < lesion.suv_peak < lesion.suv_max


def test_suvpeak_at_the_border_of_the_image_counts_what_there_is():
    reference = box(20)
    image = pet.image_of(lambda points: 5.0 + 0.1 * points[:, 2], reference)
    (lesion,) = segment_pet_lesions(image, ball(reference, (0, 0, 18), 12.0), fraction=0.9).lesions
    assert lesion.peak_ras_mm[2] > 18
    assert lesion.suv_max - 0.1 * PEAK_RADIUS_MM < lesion.suv_peak < lesion.suv_max


def test_flips_and_permutations_change_nothing():
    activity = pet.total(
        1.0, pet.blurred_sphere((-15, 5, 2), 11, 20, SIGMA_MM), pet.blurred_sphere((16, -6, 4), 8, 12, SIGMA_MM)
    )
    reference = box(42, (2.0, 2.5, 3.0))
    image = noisy(pet.image_of(activity, reference), 0.03)
    region = ball(reference, (0, 0, 0), 38)
    first = segment_pet_lesions(image, region)
    turned = [sitk.PermuteAxes(sitk.Flip(part, [True, False, True]), [2, 0, 1]) for part in (image, region)]
    second = segment_pet_lesions(*turned)
    assert len(first.lesions) == len(second.lesions) == 2
    for one, other in zip(first.lesions, second.lesions, strict=True):
        for name in ("suv_max", "suv_mean", "suv_peak", "volume_ml"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9), name
        np.testing.assert_allclose(one.max_ras_mm, other.max_ras_mm, atol=1e-6)
    back = sitk.Resample(second.labels, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.array_equal(array(back), array(first.labels))


def test_twice_the_uptake_is_twice_the_suv_and_the_same_lesion():
    reference = box(36)
    image = pet.image_of(pet.total(1.0, pet.blurred_sphere(CENTER, 9, 8, SIGMA_MM)), reference)
    first, second = (segment_pet_lesions(part, ball(reference, radius_mm=25)) for part in (image, image * 2.0))
    assert np.array_equal(array(first.labels), array(second.labels))
    assert second.lesions[0].suv_peak == pytest.approx(2 * first.lesions[0].suv_peak)


# --- which lesions ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def liver_scene():
    """A liver of SUV 6 with 5 % noise, five lesions of which two touch, and a kidney of 40 beside it."""
    reference = box(100, (4.0, 4.0, 4.0))
    spheres = {
        "large": ((-40, 0, 0), 22.0, 24.0),
        "left twin": ((20, 10, 30), 10.0, 18.0),
        "right twin": ((44, 10, 30), 10.0, 15.0),
        "small": ((10, -40, -30), 6.0, 30.0),
        "faint": ((20, 40, -30), 11.0, 7.0),
    }
    lesions = [pet.blurred_sphere(center, radius, suv, SIGMA_MM) for center, radius, suv in spheres.values()]
    liver = pet.blurred_sphere((0, 0, 0), 85.0, 6.0, SIGMA_MM)
    kidney = pet.blurred_sphere((0, -112, 0), 30.0, 40.0, SIGMA_MM)
    image = noisy(pet.image_of(pet.total(0.3, liver, kidney, *lesions), reference), 0.05)
    exact = {name: array(ball(reference, c, r)) > 0 for name, (c, r, _) in spheres.items()}
    return image, ball(reference, (0, 0, 0), 85.0), exact


def _matched(result, exact):
    labels = array(result.labels)
    return {name: max(dice(labels == lesion.number, mask) for lesion in result.lesions) for name, mask in exact.items()}


def test_all_lesions_of_a_liver_are_found_and_nothing_else(liver_scene):
    image, liver, exact = liver_scene
    result = segment_pet_lesions(image, liver, liver=liver)
    assert len(result.lesions) == len(exact)
    found = _matched(result, exact)
    assert min(found.values()) > 0.7, found
    assert found["large"] > 0.93
    assert result.organs["liver"].mean_suv == pytest.approx(6.3, rel=0.01)
    assert result.organs["liver"].sd_suv == pytest.approx(0.315, rel=0.1)
    assert result.floor_suv == pytest.approx(1.1 * (6.3 + 3 * 0.315), rel=0.02)
    assert [lesion.suv_max for lesion in result.lesions] == sorted((x.suv_max for x in result.lesions), reverse=True)
    assert "outside of the region" in result.warnings[0]  # the kidney
    assert {lesion.krenning_like for lesion in result.lesions} == {3}
    labels = array(result.labels)
    assert all((array(image)[labels == x.number] >= x.threshold_suv).all() for x in result.lesions)
    assert result.volume_ml == pytest.approx((labels > 0).sum() * 0.064)
    document = result.to_dict()
    assert document["masks_sha256"] == {"region": image_hash(liver), "liver": image_hash(liver)}
    assert document["image_sha256"] == image_hash(image)
    assert document["floor"] == "liver-max"


def test_without_the_floor_a_fraction_leaks_into_the_liver(liver_scene):
    """The reason for the floor: 45 % of the faint lesion lies below the normal liver."""
    image, liver, exact = liver_scene
    region = ball(image, (20, 40, -30), 25.0)
    (leaking,) = segment_pet_lesions(image, region).lesions
    (held,) = segment_pet_lesions(image, region, liver=liver).lesions
    assert leaking.volume_ml > 5 * held.volume_ml
    assert held.volume_ml == pytest.approx(isocontour_ml(11.0, 7.0, 6.3, held.threshold_suv), rel=0.1)
    assert held.volume_ml < 1.5 * exact["faint"].sum() * 0.064
    assert "leak" in segment_pet_lesions(image, region).warnings[-1]


@pytest.mark.parametrize("gap_mm", [3.0, 8.0])
def test_touching_lesions_are_parted_at_the_dip_between_them(gap_mm):
    reference = box(50, (2.5, 2.5, 2.5))
    apart = 10.0 + gap_mm / 2
    twins = [pet.blurred_sphere((side * apart, 0, 0), 10, 20, SIGMA_MM) for side in (-1, 1)]
    image = noisy(pet.image_of(pet.total(6.0, *twins), reference), 0.03)
    liver = ball(reference, (0, 0, 0), 48)
    result = segment_pet_lesions(image, liver, liver=liver)
    assert len(result.lesions) == 2
    right = shapes.voxel_centers(reference).reshape(*reference.GetSize()[::-1], 3)[..., 0]
    for lesion in result.lesions:
        own = right[array(result.labels) == lesion.number]
        side = np.sign(lesion.max_ras_mm[0])
        assert (own * side > -2.6).all()
        assert lesion.volume_ml == pytest.approx(isocontour_ml(10.0, 20.0, 6.0, lesion.threshold_suv), rel=0.1)


@pytest.mark.parametrize("fraction", [0.05, 0.12])
def test_noise_parts_no_lesion(fraction):
    reference = box(60, (4.0, 4.0, 4.0))
    activity = pet.total(6.0, pet.blurred_sphere((0, 0, 0), 26, 14, SIGMA_MM))
    liver = ball(reference, (0, 0, 0), 58)
    for seed in range(3):
        image = noisy(pet.image_of(activity, reference), fraction, seed)
        assert len(segment_pet_lesions(image, liver, liver=liver).lesions) == 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.45])
def test_normal_liver_is_told_from_lesions_in_it(share):
    """Up to nearly half of the liver may be metastases, and a tenth cysts."""
    rng = np.random.default_rng(5)
    values = rng.normal(5.0, 0.4, (30, 30, 30))
    order = rng.random(values.shape)
    values[order < share] = rng.uniform(7.0, 40.0, int((order < share).sum()))
    values[order > 0.9] = rng.normal(1.0, 0.3, int((order > 0.9).sum()))
    found = organ_uptake(values, np.ones(values.shape, bool), np.array([4.0, 4.0, 4.0]))
    assert found.mean_suv == pytest.approx(5.0, rel=0.02)
    assert found.sd_suv == pytest.approx(0.4, rel=0.12)
    assert found.normal_fraction == pytest.approx(0.9 - share, abs=0.05)


def test_mean_and_spread_of_plain_noise_are_those_of_all_its_voxels():
    """What is cut off at 2.5 SD is made good: without that the SD would be 5 % too small."""
    values = np.random.default_rng(2).normal(5.0, 0.4, (40, 40, 40))
    found = organ_uptake(values, np.ones(values.shape, bool), np.array([1.0, 1.0, 1.0]))
    assert found.mean_suv == pytest.approx(5.0, abs=0.01)
    assert found.sd_suv == pytest.approx(0.4, rel=0.02)


def test_an_even_organ_has_its_value_and_no_spread():
    found = organ_uptake(np.full((9, 9, 9), 4.0), np.ones((9, 9, 9), bool), np.ones(3))
    assert (found.mean_suv, found.sd_suv) == (4.0, 0.0)


def test_floors(liver_scene):
    image, liver, _ = liver_scene
    uptake = segment_pet_lesions(image, liver, liver=liver).organs["liver"]
    found = segment_pet_lesions(image, liver, liver=liver, floor="percist")
    assert found.floor_suv == pytest.approx(1.5 * uptake.mean_suv + 2 * uptake.sd_suv)
    assert FLOORS["liver-max"] == pytest.approx((1.1, 1.1 * 3))
    contrast = segment_pet_lesions(image, liver, liver=liver, floor="contrast")
    for lesion in contrast.lesions:
        over = uptake.mean_suv + 0.45 * (lesion.suv_max - uptake.mean_suv)
        assert lesion.threshold_suv == pytest.approx(max(over, contrast.floor_suv))
    found = segment_pet_lesions(image, liver, floor=10.0)
    assert found.floor_suv == 10.0
    assert min(array(image)[array(found.labels) > 0]) >= 10.0
    assert found.lesions[0].krenning_like is None


def test_the_region_may_lie_on_another_grid(liver_scene):
    image, liver, exact = liver_scene
    fine = ball(shapes.grid((-95,) * 3, (95,) * 3, (3.0, 3.0, 3.0), OBLIQUE), (0, 0, 0), 85.0)
    first, second = (segment_pet_lesions(image, mask, liver=mask) for mask in (liver, fine))
    assert len(first.lesions) == len(second.lesions)
    assert second.floor_suv == pytest.approx(first.floor_suv, rel=0.01)
    assert _matched(second, exact) == pytest.approx(_matched(first, exact), abs=0.02)


def test_no_lesion_is_an_answer():
    reference = box(40, (4.0, 4.0, 4.0))
    image = noisy(pet.image_of(pet.total(6.0), reference), 0.05)
    liver = ball(reference, (0, 0, 0), 38)
    result = segment_pet_lesions(image, liver, liver=liver)
    assert result.lesions == ()
    assert result.total_lesion_activity == 0
    assert not array(result.labels).any()
    assert "no lesion" in result.warnings[-1]
    assert segment_pet_lesions(image * 0.0, liver).lesions == ()


# --- the score -------------------------------------------------------------------------------


def test_krenning_like_score():
    liver, spleen, blood = OrganUptake(6.0, 0.5, 1.0), OrganUptake(20.0, 2.0, 1.0), OrganUptake(1.0, 0.1, 1.0)
    organs = {"liver": liver, "spleen": spleen, "blood_pool": blood}
    scores = [krenning_like(suv, organs) for suv in (0.9, 2.0, 3.1, 6.0, 6.1, 20.0, 20.1)]
    assert scores == [0, 1, 2, 2, 3, 3, 4]
    assert krenning_like(30.0, {"liver": liver}) == 3
    assert krenning_like(0.1, {"liver": liver}) == 1
    assert krenning_like(30.0, {"spleen": spleen}) is None


def test_scores_of_lesions_against_liver_and_spleen(liver_scene):
    image, liver, _ = liver_scene
    spleen = pet.blurred_sphere((0, 0, 0), 12.0, 17.0, 1.0)
    part = pet.image_of(pet.total(0.0, spleen), box(14, (4.0, 4.0, 4.0)))
    part.SetOrigin((70.0, 70.0, 60.0))
    array_ = array(image)
    array_ += array(sitk.Resample(part, image, sitk.Transform(), sitk.sitkLinear, 0.0))
    with_spleen = sitk.GetImageFromArray(array_)
    with_spleen.CopyInformation(image)
    mask = sitk.Cast(part > 15, sitk.sitkUInt8)
    result = segment_pet_lesions(with_spleen, liver, liver=liver, spleen=mask)
    assert result.organs["spleen"].mean_suv == pytest.approx(17.3, rel=0.05)
    above = [lesion.suv_max > result.organs["spleen"].mean_suv for lesion in result.lesions]
    assert [lesion.krenning_like for lesion in result.lesions] == [4 if is_above else 3 for is_above in above]
    assert {*above} == {True, False}
    assert "not the visual" in result.to_dict()["krenning_like_meaning"]


# --- bad input -------------------------------------------------------------------------------


def test_bad_input_is_refused_by_name(liver_scene):
    image, liver, _ = liver_scene
    with pytest.raises(InputError, match="no SUV"):
        segment_pet_lesions(image * 5000.0, liver)
    with pytest.raises(InputError, match="no SUV"):
        segment_pet_lesions(image - 1000.0, liver)
    for fraction in (0.0, 1.0, 45.0, float("nan")):
        with pytest.raises(InputError, match="fraction"):
            segment_pet_lesions(image, liver, fraction=fraction)
    for floor in ("none", -1.0, float("nan")):
        with pytest.raises(InputError, match="floor"):
            segment_pet_lesions(image, liver, floor=floor)
    for floor in ("percist", "contrast"):
        with pytest.raises(InputError, match="taken from the liver"):
            segment_pet_lesions(image, liver, floor=floor)
    with pytest.raises(EmptyMaskError, match="liver"):
        segment_pet_lesions(image, liver, liver=liver * 0)
    away = sitk.Image(liver)
    away.SetOrigin((900.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="region"):
        segment_pet_lesions(image, away)
    with pytest.raises(InputError, match="no uptake"):
        segment_pet_lesions(image * 0.0, liver, liver=liver)


# --- the command -----------------------------------------------------------------------------


def test_the_command_measures_an_suv_image(liver_scene, tmp_path, capsys):
    image, liver, _ = liver_scene
    write_image(image, tmp_path / "suv.nrrd")
    write_image(liver, tmp_path / "liver.nrrd")
    given = ["pet-lesions", str(tmp_path / "suv.nrrd"), "--region", str(tmp_path / "liver.nrrd")]
    out = tmp_path / "lesions.nrrd"
    words = [*given, "--liver", str(tmp_path / "liver.nrrd"), "--out", str(out), "--json", "-"]
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    expected = segment_pet_lesions(image, liver, liver=liver)
    assert document["lesions"][0]["suv_peak"] == pytest.approx(expected.lesions[0].suv_peak)
    assert np.array_equal(array(sitk.ReadImage(str(out))), array(expected.labels))
    assert "an aid, not visual" in shown.err
    assert cli.main([*given, "--floor", "10", "--out", str(out), "--json", "-", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["floor_suv"] == 10
    assert cli.main([*given, "--fraction", "45", "--out", str(out)]) == 2
    assert "fraction" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*given, "--floor", "much", "--out", str(out)])
    assert cli.main([*given, "--series", "1", "--out", str(out)]) == 2


def test_the_command_takes_the_dicom_folder_itself(tmp_path, capsys):
    """Known activity in files to lesions in one step: 18 750 Bq/ml is SUV 10 here."""
    reference = shapes.grid((-30,) * 3, (30,) * 3, (3.0, 3.0, 3.0))
    image = pet.image_of(pet.total(1.0, pet.blurred_sphere((2, 3, 4), 10, 9, SIGMA_MM)), reference)
    stored = np.round(array(image) * 1875 * 2).astype(np.uint16)
    positions = np.array([image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(len(stored))])
    changes = {"spacing_rows_columns_mm": (3.0, 3.0), **make.pet_elements(RescaleSlope=0.5)}
    make.write_series(tmp_path / "pet", stored, sop_class=make.PET, positions=positions, **changes)
    region = ball(reference, (2, 3, 4), 20)
    write_image(region, tmp_path / "region.nrrd")
    words = ["pet-lesions", str(tmp_path / "pet"), "--region", str(tmp_path / "region.nrrd")]
    assert cli.main([*words, "--out", str(tmp_path / "lesions.nrrd"), "--json", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["lesions"]
    (expected,) = segment_pet_lesions(image, region).lesions
    assert found["suv_max"] == pytest.approx(expected.suv_max, rel=1e-3)
    assert found["volume_ml"] == pytest.approx(expected.volume_ml, rel=1e-9)
    np.testing.assert_allclose(found["max_ras_mm"], expected.max_ras_mm, atol=1e-3)
    assert frames.same_grid(sitk.ReadImage(str(tmp_path / "lesions.nrrd")), image)
