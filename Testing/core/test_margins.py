"""Margins against exact values, an independent method, invariances and odd input."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from NETAblationLib.core import frames
from NETAblationLib.core.errors import (
    Cancelled,
    EmptyMaskError,
    FormatError,
    GeometryError,
    InputError,
)
from NETAblationLib.core.margins import MarginResult, in_doubt, measure_margin
from support.shapes import ellipsoid, grid, half_space, mask_of, rotation, sphere, union

ISO, THREE, FIVE = (1.0, 1.0, 1.0), (0.75, 0.75, 3.0), (0.75, 0.75, 5.0)
LOW, HIGH = (-22.0,) * 3, (22.0,) * 3


def exact_margins(tumor, zone, count=1500, dense=60_000):
    """Signed margins and area weights of ellipsoids (center, semi-axes, axes), by dense points on both."""

    def points(center, semi, axes, n):
        z = 1 - (2 * np.arange(n) + 1) / n
        turn, radius = np.pi * (1 + 5**0.5) * np.arange(n), np.sqrt(1 - z**2)
        unit = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
        return center + (unit * semi) @ axes.T, np.linalg.norm(unit / semi, axis=1)

    where, weight = points(*tumor, count)
    distance = cKDTree(points(*zone, dense)[0]).query(where)[0]
    return np.where(ellipsoid(*zone)(where) < 0, distance, -distance), weight / weight.sum()


def offsets(spacing, count, seed=3):
    return np.random.default_rng(seed).uniform(0, 1, (count, 3)) * spacing


def measure_spheres(spacing, center, shift=(0, 0, 0), direction=None, **options):
    image = grid(LOW, HIGH, spacing, direction)
    zone = mask_of(sphere(np.add(center, shift), 15.0), image)
    return measure_margin(mask_of(sphere(center, 10.0), image), zone, **options)


@pytest.mark.parametrize(("spacing", "allowed_mm"), [(ISO, 0.25), (THREE, 0.6), (FIVE, 0.7)])
def test_mam_of_concentric_spheres(spacing, allowed_mm):
    errors = [measure_spheres(spacing, center).mam_mm - 5.0 for center in offsets(spacing, 4)]
    assert np.abs(errors).mean() <= allowed_mm


@pytest.mark.parametrize(("spacing", "allowed_mm"), [(ISO, 0.25), (THREE, 0.6), (FIVE, 0.7)])
def test_shifted_spheres_have_the_exact_mam_place_and_share_below_zero(spacing, allowed_mm):
    center, shift = offsets(spacing, 1)[0], np.array([4.0, 3.0, 3.0])
    length = np.linalg.norm(shift)
    result = measure_spheres(spacing, center, shift)
    assert result.mam_mm == pytest.approx(5.0 - length, abs=allowed_mm)
    away = (np.array(result.mam_location_ras_mm) - center) / 10.0
    assert away @ shift / length < -0.9
    # A point at cos(angle) = u from the shift is outside the zone where 100 + d^2 - 20 d u > 225.
    below = (1 + (100 + length**2 - 225) / (20 * length)) / 2
    assert result.surface_fraction["below_0"] == pytest.approx(below, abs=0.02)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    st.integers(0, 10_000),
    st.sampled_from([4.0, 7.0, 12.0]),
    st.sampled_from([(ISO, ISO), ((0.8, 0.8, 1.5), ISO)]),
)
def test_oblique_ellipsoids_on_different_grids(seed, radius_mm, spacings):
    rng = np.random.default_rng(seed)
    turn = [rotation(tuple(rng.normal(size=3)), rng.uniform(0, 180)) for _ in range(3)]
    tumor = rng.uniform(-1, 1, 3), radius_mm * np.exp(rng.uniform(-0.25, 0.25, 3)), turn[0]
    zone = tumor[0] + rng.normal(0, 1.5, 3), (radius_mm + 5) * np.exp(rng.uniform(-0.2, 0.2, 3)), turn[1]
    half = float(zone[1].max()) + 9
    grids = [grid((-half,) * 3, (half,) * 3, spacings[0]), grid((-half,) * 3, (half,) * 3, spacings[1], turn[2])]
    result = measure_margin(mask_of(ellipsoid(*tumor), grids[0]), mask_of(ellipsoid(*zone), grids[1]))
    margins, weights = exact_margins(tumor, zone)
    assert result.mam_mm == pytest.approx(margins.min(), abs=0.5)
    assert result.mean_mm == pytest.approx(weights @ margins, abs=0.15)
    assert result.surface_fraction["below_0"] == pytest.approx(weights[margins < 0].sum(), abs=0.02)


def test_agrees_with_a_distance_transform_of_a_finely_sampled_mask():
    tumor_level, zone_level = sphere((0.2, 0.1, -0.3), 5.0), union(sphere((2, 0, 0), 8.0), sphere((-5, 1, 0), 7.0))
    coarse, fine = grid((-16,) * 3, (16,) * 3, ISO), grid((-14,) * 3, (14,) * 3, (0.25,) * 3)
    result = measure_margin(mask_of(tumor_level, coarse), mask_of(zone_level, coarse))
    inside = sitk.GetArrayFromImage(mask_of(zone_level, fine)) != 0
    signed = ndimage.distance_transform_edt(inside, sampling=0.25) - ndimage.distance_transform_edt(
        ~inside, sampling=0.25
    )
    tumor = sitk.GetArrayFromImage(mask_of(tumor_level, fine)) != 0
    shell = tumor & ~ndimage.binary_erosion(tumor)
    assert result.mam_mm == pytest.approx(signed[shell].min(), abs=0.5)
    assert result.mean_mm == pytest.approx(signed[shell].mean(), abs=0.25)


def test_unchanged_by_rigid_motion_of_the_grid():
    center, shift = np.array([0.3, -0.2, 0.4]), np.array([3.0, 1.0, -2.0])
    image = grid(LOW, HIGH, ISO)
    masks = [mask_of(sphere(center, 10.0), image), mask_of(sphere(center + shift, 15.0), image)]
    plain = measure_margin(*masks)
    turn = rotation((1.0, 2.0, -0.5), 37.0)
    for mask in masks:
        mask.SetOrigin((turn @ np.array(mask.GetOrigin()) + [100.0, -50.0, 900.0]).tolist())
        mask.SetDirection((turn @ np.array(mask.GetDirection()).reshape(3, 3)).ravel().tolist())
    moved = measure_margin(*masks)
    assert moved.mam_mm == pytest.approx(plain.mam_mm, abs=1e-3)
    assert moved.mean_mm == pytest.approx(plain.mean_mm, abs=1e-3)
    assert moved.surface_fraction == pytest.approx(plain.surface_fraction, abs=1e-3)


@pytest.mark.parametrize("axis", range(3))
def test_unchanged_by_flipping_an_axis_of_storage(axis):
    image = grid(LOW, HIGH, (0.9, 0.9, 2.0))
    masks = [mask_of(sphere((0.3, 0.1, 0.4), 10.0), image), mask_of(sphere((3, 0, 2), 15.0), image)]
    plain = measure_margin(*masks)
    flipped = measure_margin(*[sitk.Flip(mask, [i == axis for i in range(3)]) for mask in masks])
    assert flipped.mam_mm == pytest.approx(plain.mam_mm, abs=0.1)
    assert flipped.mam_location_ras_mm == pytest.approx(plain.mam_location_ras_mm, abs=1.5)
    assert flipped.surface_fraction == pytest.approx(plain.surface_fraction, abs=0.01)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(True, False, False), (False, True, True)])
def test_the_order_in_which_voxels_are_stored_changes_nothing(order, flips):
    """At a capsule even 0.1 mm moves the border of what is evaluable, so the fields have to be the same."""
    image = grid(LOW, HIGH, (2.0, 2.0, 2.0))
    # A shape whose voxels are symmetric has no axes of its own: then only rounding (1e-6 mm) is not the same.
    shapes = sphere((0.3, 0.1, 0.4), 8.5), sphere((3.3, 0.2, 2.4), 14.0), ellipsoid((-20, 3, 5), (33.0, 30.0, 25.0))
    masks = [mask_of(shape, image) for shape in shapes]
    stored = [sitk.Flip(sitk.PermuteAxes(mask, order), flips) for mask in masks]
    plain, other = (measure_margin(tumor, zone, liver=liver) for tumor, zone, liver in (masks, stored))
    assert 0.2 < plain.subcapsular_fraction < 0.8
    assert other.mam_mm == pytest.approx(plain.mam_mm, abs=1e-6)
    assert other.mam_location_ras_mm == pytest.approx(plain.mam_location_ras_mm, abs=1e-6)
    assert other.subcapsular_fraction == pytest.approx(plain.subcapsular_fraction, abs=1e-6)
    assert other.surface_fraction == pytest.approx(plain.surface_fraction, abs=1e-6)
    assert other.shell_coverage_fraction == pytest.approx(plain.shell_coverage_fraction, abs=1e-3)


def test_a_zone_on_another_grid_and_voxel_size_gives_the_same():
    tumor = mask_of(sphere((0.3, 0.2, 0.1), 10.0), grid(LOW, HIGH, ISO))
    shift = sphere((3, 1, -2), 15.0)
    values = [
        measure_margin(tumor, mask_of(shift, grid(LOW, HIGH, s))).mam_mm for s in (ISO, (0.8,) * 3, (1.2, 1.0, 0.9))
    ]
    assert np.ptp(values) < 0.1


@pytest.mark.parametrize("bend", [False, True])
def test_a_transform_carries_the_zone_into_the_planning_frame(bend):
    center = np.array([0.4, -0.3, 0.2])
    tumor = mask_of(sphere(center, 8.0), grid(LOW, HIGH, ISO))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation((0, 1, 1), 15), (25.0, -40.0, 12.0)
    transform = frames.affine_transform(matrix)
    if bend:
        size = 30
        field = sitk.TransformToDisplacementField(
            transform, sitk.sitkVectorFloat64, (size,) * 3, (-58.0,) * 3, (4.0,) * 3
        )
        transform = sitk.DisplacementFieldTransform(field)
    moved = frames.apply_matrix(matrix, center + np.array([2.0, 0, 0]))
    zone = mask_of(sphere(moved, 13.0), grid(tuple(moved - 18), tuple(moved + 18), ISO))
    result = measure_margin(tumor, zone, fixed_to_moving=transform)
    # Exact mean over the sphere: 13 - mean distance of its points from the zone's center, 8 + 2^2 / (3 * 8).
    assert result.mean_mm == pytest.approx(13.0 - 8.0 - 4.0 / 24.0, abs=0.1)
    assert result.mam_mm == pytest.approx(3.0, abs=0.4)  # one position; the mean over many is tested above
    assert result.zone_surface.centroid_ras_mm == pytest.approx(center + np.array([2.0, 0, 0]), abs=0.1)


def test_shells_shares_and_volumes_of_concentric_spheres():
    result = measure_spheres(ISO, (0.3, 0.4, 0.2))
    assert result.tumor_volume_ml == pytest.approx(4 / 3 * np.pi, rel=0.01)
    assert result.zone_volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.01)
    assert result.residual_tumor_volume_ml == 0.0
    ablated = 15.0**3 - 10.0**3
    exact = {"3": 1.0, "5": 1.0, "6": ablated / (16**3 - 10**3), "10": ablated / (20**3 - 10**3)}
    assert result.shell_coverage_fraction == pytest.approx(exact, abs=0.02)
    shares = result.surface_fraction
    assert set(shares) == {"below_0", "from_0_to_5", "at_least_5", "at_least_10"}
    assert shares["below_0"] + shares["from_0_to_5"] + shares["at_least_5"] == pytest.approx(1.0)
    assert shares["below_0"] == shares["at_least_10"] == 0.0


def test_subcapsular_surface_is_excluded_and_reported():
    center, image = (0.3, 0.2, 0.1), grid(LOW, HIGH, ISO)
    tumor, liver = mask_of(sphere(center, 10.0), image), mask_of(half_space((12.3, 0, 0), (1, 0, 0)), image)
    zone = mask_of(lambda p: np.maximum(sphere((-1.5, 0, 0), 16.5)(p), half_space((12.3, 0, 0), (1, 0, 0))(p)), image)
    result = measure_margin(tumor, zone, liver=liver)
    assert measure_margin(tumor, zone).mam_mm == pytest.approx(2.0, abs=0.4)
    # The cap of the tumor within 5 mm of the capsule is 3 mm high: 3 / 20 of the sphere's surface.
    assert result.subcapsular_fraction == pytest.approx(3 / 20, abs=0.02)
    assert result.mam_mm > 4.0
    document = result.to_dict()
    assert "evaluable" in document["surface_fraction_of"]
    evaluable = result.signed_margin_mm[result.is_evaluable]
    assert evaluable.min() == result.mam_mm
    assert sum(result.surface_fraction[k] for k in ("below_0", "from_0_to_5", "at_least_5")) == pytest.approx(1.0)


def test_a_tumor_wholly_beneath_the_capsule_has_no_mam():
    image = grid(LOW, HIGH, ISO)
    result = measure_margin(
        *[mask_of(sphere((0, 0, 0), r), image) for r in (5.0, 11.0)], liver=mask_of(sphere((0, 0, 0), 8.0), image)
    )
    assert result.mam_mm is None
    assert result.mam_location_ras_mm is None
    assert result.verdict == "not evaluable"
    assert "capsule" in result.reason
    assert result.subcapsular_fraction == 1.0
    assert set(result.surface_fraction.values()) == {None}


@pytest.mark.parametrize(
    ("zone_mm", "error_mm", "verdict"),
    [(18.0, None, "reached"), (12.0, None, "not reached"), (15.0, None, "uncertain"), (18.0, 4.0, "uncertain")],
)
def test_a_margin_within_the_uncertainty_of_the_threshold_is_not_called_reached(zone_mm, error_mm, verdict):
    image = grid(LOW, HIGH, ISO)
    masks = [mask_of(sphere((0.2, 0, 0), r), image) for r in (10.0, zone_mm)]
    result = measure_margin(*masks, registration_error_mm=error_mm)
    assert result.verdict == verdict
    assert result.uncertainty_mm == pytest.approx(error_mm or np.sqrt(3) / 2)


def test_a_zone_smaller_than_beside_and_far_from_the_tumor():
    image = grid((-30.0, -16, -16), (30.0, 16, 16), ISO)
    inside = measure_margin(mask_of(sphere((0.2, 0, 0), 10.0), image), mask_of(sphere((0.2, 0, 0), 6.0), image))
    assert inside.mam_mm == pytest.approx(-4.0, abs=0.3)
    assert inside.residual_tumor_volume_ml == pytest.approx(4.189 - 0.905, abs=0.05)
    beside = measure_margin(mask_of(sphere((-18, 0, 0), 6.0), image), mask_of(sphere((18, 0, 0), 6.0), image))
    assert beside.mam_mm == pytest.approx(-36.0, abs=0.3)
    assert beside.surface_fraction["below_0"] == pytest.approx(1.0)
    assert any("does not touch" in warning for warning in beside.warnings)
    assert beside.residual_tumor_volume_ml == pytest.approx(beside.tumor_volume_ml, rel=0.01)


def test_several_components_are_measured_together():
    image = grid((-30.0, -16, -16), (30.0, 16, 16), ISO)
    tumor = mask_of(union(sphere((-15, 0.2, 0), 5.0), sphere((15, 0, 0.3), 5.0)), image)
    zone = mask_of(union(sphere((-15, 0.2, 0), 11.0), sphere((15, 0, 0.3), 8.0)), image)
    result = measure_margin(tumor, zone)
    assert (result.tumor_component_count, result.mam_location_ras_mm[0] > 0) == (2, True)
    assert result.mam_mm == pytest.approx(3.0, abs=0.3)


def one_voxel(*index):
    image = grid(LOW, HIGH, ISO)
    image[index] = 1
    return image


def one_slice():
    """A disk of 7 mm, one voxel thick."""
    image = mask_of(sphere((0, 0, 0), 7.0), grid(LOW, HIGH, ISO))
    only = sitk.Image(image) * 0
    only[:, :, 22] = image[:, :, 22]
    return only


@pytest.mark.parametrize("tumor", [one_voxel(22, 22, 22), one_voxel(0, 22, 22), one_slice()[:, :, 22:23], one_slice()])
def test_tiny_and_flat_tumors_at_borders_are_measured(tumor):
    zone = mask_of(sphere((0, 0, 0), 15.0), grid(LOW, HIGH, ISO))
    result = measure_margin(tumor, zone)
    count = sitk.GetArrayViewFromImage(tumor).sum()
    assert result.tumor_volume_ml == pytest.approx(count / 1000, rel=0.05)
    # The farthest point of the tumor from the zone's center, which is that of voxel (22, 22, 22).
    index = np.argwhere(sitk.GetArrayViewFromImage(tumor))[:, ::-1]
    farthest = np.linalg.norm(frames.index_to_ras(tumor, index), axis=1).max()
    assert result.mam_mm == pytest.approx(15.0 - farthest - 0.5, abs=1.2)
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_thin_spur_of_a_tumor_sets_its_mam():
    image = grid(LOW, HIGH, ISO)
    tumor, zone = mask_of(sphere((0, 0, 0), 7.0), image), mask_of(sphere((0, 0, 0), 13.0), image)
    assert measure_margin(tumor, zone).mam_mm == pytest.approx(6.0, abs=0.3)
    tumor[22:39, 22, 22] = 1  # its last voxel ends 16.5 mm from the center
    result = measure_margin(tumor, zone)
    assert result.mam_mm == pytest.approx(-3.5, abs=0.5)
    assert result.residual_tumor_volume_ml == pytest.approx(3.5 / 1000, rel=0.3)


def test_labels_and_floats_are_masks_too():
    image = grid(LOW, HIGH, ISO)
    tumor, zone = mask_of(sphere((0, 0, 0), 6.0), image), mask_of(sphere((0, 0, 0), 11.0), image)
    plain = measure_margin(tumor, zone)
    other = measure_margin(sitk.Cast(tumor, sitk.sitkInt16) * 2, sitk.Cast(zone, sitk.sitkFloat32) * 0.5)
    assert other.to_dict()["mam_mm"] == plain.mam_mm


def test_bad_input_is_refused_by_name():
    image = grid(LOW, HIGH, (2.0, 2.0, 2.0))
    tumor, zone = mask_of(sphere((0, 0, 0), 8.0), image), mask_of(sphere((0, 0, 0), 14.0), image)
    with pytest.raises(EmptyMaskError, match="tumor"):
        measure_margin(image, zone)
    with pytest.raises(EmptyMaskError, match="zone"):
        measure_margin(tumor, image)
    with pytest.raises(EmptyMaskError, match="liver"):
        measure_margin(tumor, zone, liver=image)
    with pytest.raises(GeometryError, match="liver mask"):
        measure_margin(tumor, zone, liver=mask_of(sphere((18, 18, 18), 3.0), image))
    with pytest.raises(GeometryError, match=r"zone.*2D"):
        measure_margin(tumor, zone[:, :, 3])
    broken = sitk.Cast(tumor, sitk.sitkFloat32)
    broken[11, 11, 11] = float("nan")
    with pytest.raises(GeometryError, match=r"tumor.*finite"):
        measure_margin(broken, zone)
    away = sitk.Image(zone)
    away.SetOrigin((900.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="overlap"):
        measure_margin(tumor, away)
    with pytest.raises(GeometryError, match="2D"):
        measure_margin(tumor, zone, fixed_to_moving=sitk.TranslationTransform(2))
    for options in ({"margin_mm": 0.0}, {"margin_mm": np.nan}, {"margin_mm": 31.0}, {"registration_error_mm": -1.0}):
        with pytest.raises(InputError):
            measure_margin(tumor, zone, **options)


def test_the_document_round_trips_and_other_versions_are_refused():
    result = measure_spheres((2.0, 2.0, 2.0), (0, 0, 0))
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert MarginResult.from_dict(document).to_dict() == document
    with pytest.raises(FormatError, match="schema_version"):
        MarginResult.from_dict({**document, "schema_version": 99})
    del document["mam_mm"]
    with pytest.raises(FormatError, match="mam_mm"):
        MarginResult.from_dict(document)


def test_progress_rises_to_one_and_can_cancel():
    seen = []
    measure_spheres((2.0, 2.0, 2.0), (0, 0, 0), progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def cancel(fraction, _):
        if fraction > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        measure_spheres((2.0, 2.0, 2.0), (0, 0, 0), progress=cancel)


def test_a_tumor_that_bulges_out_of_the_liver_is_judged_where_it_lies_deep():
    """Half of it is out of the liver mask: there, and within the margin of the capsule, no margin is asked for."""
    image, center = grid(LOW, HIGH, ISO), (0.3, 0.2, 0.1)
    tumor, zone = mask_of(sphere(center, 10.0), image), mask_of(sphere((-3.7, 0.2, 0.1), 13.0), image)
    liver = mask_of(half_space((0.3, 0, 0), (1, 0, 0)), image)
    result = measure_margin(tumor, zone, liver=liver)
    # Of the sphere, the cap deeper than 5 mm in the liver is evaluable: 5 of 20 mm of its height.
    assert result.subcapsular_fraction == pytest.approx(15 / 20, abs=0.03)
    assert any("outside the liver mask" in text for text in result.warnings)
    # At that cap's rim, 5 mm in and 8.66 mm off the axis, the zone's center is 1 mm aside.
    assert result.mam_mm == pytest.approx(13.0 - np.hypot(1.0, 75**0.5), abs=0.5)
    assert result.direction["sides"]["right"]["evaluable_fraction"] == 0.0
    # Out of the liver, what the zone leaves of the tumor is tumor all the same.
    assert result.residual_tumor_volume_ml > 0.05


def test_a_zone_beside_the_tumor_is_pointed_out():
    image = grid(LOW, HIGH, ISO)
    result = measure_margin(mask_of(sphere((-12, 0, 0), 5.0), image), mask_of(sphere((12, 0, 0), 6.0), image))
    assert any("does not touch the tumor" in text for text in result.warnings)
    assert result.verdict == "not reached"


@pytest.mark.parametrize(("fusion", "word"), [("good", "reached"), ("", "reached"), (None, "reached")])
def test_a_margin_is_reached_through_a_good_fusion(fusion, word):
    assert in_doubt(reached(), fusion).verdict == word


@pytest.mark.parametrize("fusion", ["doubtful", "not usable"])
def test_a_margin_is_uncertain_through_another_fusion(fusion):
    result = in_doubt(reached(), fusion)
    assert result.verdict == "uncertain"
    assert f"but the fusion is {fusion}" in result.reason
    assert result.mam_mm == reached().mam_mm
    short = dataclasses.replace(reached(), verdict="not reached")
    assert in_doubt(short, fusion) is short


@functools.cache
def reached():
    around = grid((-25, -25, -25), (25, 25, 25), (1.5, 1.5, 1.5))
    result = measure_margin(*(mask_of(sphere((0, 0, 0), radius), around) for radius in (8, 18)))
    assert result.verdict == "reached"
    return result
