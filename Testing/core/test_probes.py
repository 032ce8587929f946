"""Probes and their zones against exact ellipsoids, brute force and closed formulas."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from NETAblationLib.core import frames
from NETAblationLib.core.devices import ZoneSetting
from NETAblationLib.core.errors import FormatError, GeometryError
from NETAblationLib.core.probes import (
    Ablation,
    Probe,
    ablation_at_tip,
    is_in_zone,
    near_distance_mm,
    zone_mask,
    zone_signed_distance_mm,
    zone_surface,
)
from NETAblationLib.core.united_zones import UnitedZones
from support.shapes import ellipsoid, grid, mask_of, rotation, union, voxel_centers

AXES = [(42.0, 39.0), (40.0, 26.0), (50.0, 35.0), (26.0, 40.0), (30.0, 30.0), (60.0, 10.0)]
"""Diameters along and across the probe: those of devices, an oblate one, a ball and a long one."""


def probe_along(direction, *ablations, through=(0.0, 0.0, 0.0)):
    """A probe along a direction with ablations (place along it, long axis, short axis) from a point on its line."""
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    made = [
        Ablation(f"number {n}", tuple(through + place * direction), short, long)
        for n, (place, long, short) in enumerate(ablations)
    ]
    return Probe(tuple(through - 120 * direction), tuple(through + 30 * direction), tuple(made))


def level_of(probe):
    """The level function of a probe's zones, made from its JSON alone."""
    document = probe.to_dict()
    along = np.subtract(document["tip_ras_mm"], document["entry_ras_mm"])
    axes = np.linalg.svd(along[None] / np.linalg.norm(along))[2].T  # columns; the first is the probe
    return union(
        *(
            ellipsoid(
                a["center_ras_mm"], np.array([a["long_axis_mm"], a["short_axis_mm"], a["short_axis_mm"]]) / 2, axes
            )
            for a in document["ablations"]
        )
    )


def brute_distance(points, center, direction, long, short, count=721):
    """Signed distance to an ellipsoid of revolution: of many points on its meridian the nearest, then closer there."""
    along = np.abs((points - center) @ direction)[:, None]
    beside = np.linalg.norm(np.cross(points - center, direction), axis=1)[:, None]

    def distances(turn):
        return np.hypot(along - long / 2 * np.cos(turn), beside - short / 2 * np.sin(turn))

    step = np.pi / 2 / (count - 1)
    nearest = step * distances(step * np.arange(count)).argmin(axis=1)
    around = nearest[:, None] + np.linspace(-step, step, count)
    distance = distances(np.clip(around, 0, np.pi / 2)).min(axis=1)
    is_inside = (2 * along / long) ** 2 + (2 * beside / short) ** 2 < 1
    return np.where(is_inside[:, 0], -distance, distance)


@pytest.mark.parametrize(("long", "short"), AXES)
def test_signed_distance_of_one_zone_is_exact(long, short):
    rng = np.random.default_rng(1)
    direction = np.array([1.0, -2.0, 0.7]) / np.linalg.norm([1.0, -2.0, 0.7])
    center = np.array([10.0, -20.0, 30.0])
    probe = probe_along(direction, (0.0, long, short), through=center)
    beside = np.cross(direction, [0, 0, 1]) / np.linalg.norm(np.cross(direction, [0, 0, 1]))
    steps = np.linspace(-0.7, 0.7, 141)[:, None]
    points = np.vstack(
        [
            center + rng.uniform(-long, long, (2000, 3)),
            center + steps * long * direction,  # on the axis, where the nearest point may leap
            center + steps * short * beside,  # in the plane of symmetry
        ]
    )
    expected = brute_distance(points, center, direction, long, short)
    assert zone_signed_distance_mm([probe], points) == pytest.approx(expected, abs=1e-4)
    off = np.abs(expected) > 1e-6
    assert np.array_equal(is_in_zone([probe], points[off]), expected[off] < 0)


@given(
    st.floats(5, 60),
    st.floats(5, 60),
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1)),
    st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(-60, 60)),
)
def test_signed_distance_is_exact_for_any_zone_and_point(long, short, direction, point):
    direction = np.array(direction) / np.linalg.norm(direction)
    probe = probe_along(direction, (0.0, long, short))
    points = np.array([point])
    expected = brute_distance(points, np.zeros(3), direction, long, short)
    assert zone_signed_distance_mm([probe], points) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("long", "short"), AXES)
def test_distance_to_first_order_is_right_where_margins_are_looked_at(long, short):
    axial, beside = (part.ravel() for part in np.meshgrid(np.linspace(0.1, 40, 81), np.linspace(0.1, 40, 81)))
    points = np.stack([beside, np.zeros_like(beside), axial], axis=1)
    exact = brute_distance(points, np.zeros(3), np.array([0.0, 0.0, 1.0]), long, short)
    near = near_distance_mm(axial, beside, long, short)
    assert np.array_equal(near < 0, exact < 0)
    assert np.all(near >= -0.5 * min(long, short) - 1e-9)
    if max(long, short) <= 1.6 * min(long, short):
        close = np.abs(exact) < 5.0
        assert near[close] == pytest.approx(exact[close], abs=0.3)
    if long == short:
        assert near == pytest.approx(exact, abs=1e-4)


def test_two_overlapping_balls_have_the_distances_of_their_union():
    radius, apart = 20.0, 24.0
    probe = probe_along((0, 0, 1), (0.0, 40.0, 40.0), (apart, 40.0, 40.0))
    # Inside, between the centers, the nearest place is on the seam, a circle, while each ball alone knows less.
    ring = np.sqrt(radius**2 - apart**2 / 4)
    between = np.array([[0, 0, apart / 2], [3.0, 4.0, apart / 2], [0, 0, apart / 2 + 4], [2.0, 0, apart / 2 - 5]])
    expected = np.hypot(ring - np.hypot(*between[:, :2].T), between[:, 2] - apart / 2)
    assert zone_signed_distance_mm([probe], between) == pytest.approx(-expected, abs=1e-6)
    outside = np.array([[0, 0, -25.0], [30.0, 0, 0], [0, 0, 50.0]])
    assert zone_signed_distance_mm([probe], outside) == pytest.approx([5.0, 10.0, 6.0])


@given(st.tuples(*[st.floats(-1, 1)] * 3), st.sampled_from(AXES))
def test_the_foot_of_a_point_lies_on_the_zone_on_its_axis_and_a_hair_beside_it_too(direction, axes):
    if np.linalg.norm(direction) < 0.1:
        return
    direction = np.array(direction) / np.linalg.norm(direction)
    center = np.array([10.3, -20.7, 33.1])
    zones = UnitedZones(center[None], direction[None], np.array([axes[0] / 2]), np.array([axes[1] / 2]))
    beside = np.random.default_rng(0).normal(size=(41, 3))
    for hair in (0.0, 1e-14, 1e-12, 1e-9, 1e-6, 1e-3):
        points = center + np.linspace(-35, 35, 41)[:, None] * direction + hair * beside
        places, distance = zones.foot(0, points)
        assert zones.level(0, places) == pytest.approx(1.0, abs=1e-9)
        assert np.linalg.norm(points - places, axis=1) == pytest.approx(np.abs(distance), abs=1e-6)


def test_three_balls_around_a_line_have_their_corners():
    """Three equal balls, centers on an equilateral triangle: from its middle the corners are nearest of all seams."""
    radius, side = 20.0, 24.0
    out = side / np.sqrt(3)
    turns = np.radians([90, 210, 330])
    centers = out * np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    probes = [probe_along((0, 0, 1), (0.0, 40.0, 40.0), through=center) for center in centers]
    height = np.sqrt(radius**2 - out**2)  # of the corners above and below the middle
    points = np.array([[0, 0, 0], [0, 0, 3.0], [0, 0, -7.5]])
    assert zone_signed_distance_mm(probes, points) == pytest.approx(-(height - np.abs(points[:, 2])), abs=1e-6)


def dense_surface(probes, count=60_000):
    """Points spread evenly in angle on all zones, those that lie inside of another left out."""
    dense = []
    for probe in probes:
        for ablation in probe.ablations:
            z = 1 - (2 * np.arange(count) + 1) / count
            turn, ring = np.pi * (1 + 5**0.5) * np.arange(count), np.sqrt(1 - z**2)
            unit = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
            axes = np.linalg.svd(probe.direction[None])[2].T
            semi = np.array([ablation.long_axis_mm, ablation.short_axis_mm, ablation.short_axis_mm]) / 2
            dense.append(np.array(ablation.center_ras_mm) + (unit * semi) @ axes.T)
    dense = np.concatenate(dense)
    return dense[union(*map(level_of, probes))(dense) > -1e-9]


UNIONS = {
    "pull-back and a crossing probe": [
        probe_along((0, 0, 1), (0.0, 42.0, 39.0), (15.0, 42.0, 36.0)),
        probe_along((1, 0.3, 0.2), (0.0, 40.0, 26.0), through=np.array([5.0, 12.0, 3.0])),
    ],
    "parallel probes": [
        probe_along((0.1, 1, 0.2), (0.0, 42.0, 36.0), (-20.0, 35.0, 32.0), through=np.array([x, 0.0, z]))
        for x, z in ((0.0, 0.0), (20.0, 0.0), (10.0, 17.0))
    ],
    "flat zones": [
        probe_along((0, 0, 1), (0.0, 26.0, 40.0), (14.0, 22.0, 40.0)),
        probe_along((1, 0, 0.4), (0.0, 26.0, 44.0), through=np.array([8.0, 3.0, 3.0])),
    ],
    "one zone inside another, one of them twice, and one far away": [
        probe_along((0, 0, 1), (0.0, 42.0, 39.0), (3.0, 20.0, 18.0), (0.0, 42.0, 39.0)),
        probe_along((0, 0, 1), (0.0, 30.0, 20.0), through=np.array([90.0, 0.0, 0.0])),
    ],
}


@pytest.mark.parametrize("name", UNIONS)
def test_distance_in_united_zones_is_that_to_dense_points_on_their_surface(name):
    probes = UNIONS[name]
    dense = dense_surface(probes)
    points = np.vstack([np.random.default_rng(5).uniform(-35, 45, (2500, 3)), *[probe_axis(p) for p in probes]])
    sign = np.where(union(*map(level_of, probes))(points) < 0, -1.0, 1.0)
    sampled = cKDTree(dense).query(points)[0]
    distance = zone_signed_distance_mm(probes, points)
    off = np.abs(distance) > 1e-6
    assert np.array_equal(np.sign(distance[off]), sign[off])
    # Samples lie on the surface, so that none may be nearer; and one is always within their spacing.
    assert np.all(np.abs(distance) <= sampled + 1e-3)
    assert np.abs(distance) == pytest.approx(sampled, abs=0.3)
    assert (sampled - np.abs(distance)).mean() < 0.01


def probe_axis(probe):
    """Points along a probe, where places around it are equally near."""
    center = np.array(probe.ablations[0].center_ras_mm)
    return center + np.linspace(-30, 30, 61)[:, None] * probe.direction


@given(st.floats(-180, 180), st.tuples(*[st.floats(-50, 50)] * 3))
def test_distance_in_united_zones_does_not_change_with_the_pose(turn, shift):
    matrix = rotation((1, 0.4, -0.5), turn)
    probes = UNIONS["parallel probes"]
    moved = [
        Probe(
            tuple(matrix @ probe.entry_ras_mm + shift),
            tuple(matrix @ probe.tip_ras_mm + shift),
            tuple(
                dataclasses.replace(a, center_ras_mm=tuple(matrix @ a.center_ras_mm + shift)) for a in probe.ablations
            ),
        )
        for probe in probes
    ]
    points = np.random.default_rng(7).uniform(-25, 40, (200, 3))
    before, after = zone_signed_distance_mm(probes, points), zone_signed_distance_mm(moved, points @ matrix.T + shift)
    assert after == pytest.approx(before, abs=2e-3)


@pytest.mark.parametrize(("long", "short"), AXES[:5])
def test_surface_of_one_zone_has_the_volume_of_an_ellipsoid(long, short):
    surface = zone_surface([probe_along((1, 2, -1), (3.0, long, short))])
    assert surface.volume_ml == pytest.approx(np.pi / 6 * long * short**2 / 1000, rel=0.005)


@pytest.mark.parametrize("apart", [0.0, 10.0, 25.0, 39.0, 60.0])
def test_surface_of_two_balls_has_the_volume_of_their_union(apart):
    radius = 20.0
    lens = np.pi * (4 * radius + apart) * (2 * radius - apart) ** 2 / 12 if apart < 2 * radius else 0.0
    exact = (8 / 3 * np.pi * radius**3 - lens) / 1000
    surface = zone_surface([probe_along((2, -1, 3), (0.0, 40.0, 40.0), (apart, 40.0, 40.0))])
    assert surface.volume_ml == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize("direction", [None, rotation((1, -2, 0.5), 33.0), np.diag([-1.0, 1.0, -1.0])])
@pytest.mark.parametrize("spacing", [(1.2, 1.2, 1.2), (0.9, 1.0, 2.5)])
def test_mask_holds_the_voxels_whose_centers_are_in_a_zone(direction, spacing):
    probes = [
        probe_along((1, 2, 3), (0.1, 30.0, 20.0), (-12.0, 30.0, 20.0), through=np.array([0.11, 0.23, 0.37])),
        probe_along((-2, 1, 0), (0.0, 24.0, 26.0), through=np.array([8.12, -6.31, 4.07])),
    ]
    reference = grid((-30,) * 3, (30,) * 3, spacing, direction)
    mask = zone_mask(probes, reference)
    expected = mask_of(union(*(level_of(probe) for probe in probes)), reference)
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(expected))
    assert frames.same_grid(mask, reference)
    assert mask.GetPixelID() == sitk.sitkUInt8


def test_mask_has_the_volume_and_the_center_of_the_zone_on_any_grid():
    probe = probe_along((1, 2, 3), (0.0, 40.0, 26.0), through=np.array([3.0, 1.0, -2.0]))
    exact = np.pi / 6 * 40.0 * 26.0**2
    for direction in (None, rotation((0, 1, 1), 21.0), np.diag([-1.0, -1.0, 1.0])):
        reference = grid((-30,) * 3, (30,) * 3, (0.8, 0.8, 0.8), direction)
        inside = sitk.GetArrayFromImage(zone_mask([probe], reference)).ravel() > 0
        assert inside.sum() * 0.8**3 == pytest.approx(exact, rel=0.01)
        assert voxel_centers(reference)[inside].mean(axis=0) == pytest.approx([3.0, 1.0, -2.0], abs=0.1)


def test_mask_is_cut_at_the_end_of_the_image_and_empty_beside_it():
    probe = probe_along((0, 0, 1), (0.0, 40.0, 40.0))
    half = zone_mask([probe], grid((0.25, -25, -25), (25.25, 25, 25), (0.5,) * 3))
    assert sitk.GetArrayFromImage(half).sum() * 0.5**3 == pytest.approx(2 / 3 * np.pi * 20.0**3, rel=0.01)
    assert not sitk.GetArrayFromImage(zone_mask([probe], grid((40, 40, 40), (60, 60, 60), (2.0,) * 3))).any()


@given(st.integers(0, 1000), st.floats(1, 179))
def test_zones_move_rigidly_with_their_probes(seed, degrees):
    rng = np.random.default_rng(seed)
    turn, shift = rotation(tuple(rng.normal(size=3)), degrees), rng.uniform(-200, 200, 3)

    def moved(probe):
        ablations = tuple(
            Ablation(a.setting, tuple(turn @ a.center_ras_mm + shift), a.short_axis_mm, a.long_axis_mm)
            for a in probe.ablations
        )
        return Probe(tuple(turn @ probe.entry_ras_mm + shift), tuple(turn @ probe.tip_ras_mm + shift), ablations)

    probe = probe_along((1, 1, 2), (0.0, 42.0, 30.0), (-20.0, 35.0, 32.0))
    points = rng.uniform(-40, 40, (200, 3))
    distance = zone_signed_distance_mm([probe], points)
    assert zone_signed_distance_mm([moved(probe)], points @ turn.T + shift) == pytest.approx(distance, abs=1e-6)
    assert moved(probe).length_mm == pytest.approx(probe.length_mm)


def test_a_probe_backwards_has_the_same_zone():
    probe = probe_along((1, 1, 2), (0.0, 42.0, 30.0))
    turned = Probe(probe.tip_ras_mm, probe.entry_ras_mm, probe.ablations)
    points = np.random.default_rng(0).uniform(-30, 30, (500, 3))
    assert zone_signed_distance_mm([turned], points) == pytest.approx(zone_signed_distance_mm([probe], points))


def test_the_center_lies_behind_the_tip_by_what_the_setting_says():
    setting = ZoneSetting("a", 30.0, 40.0, 12.0, "liver", "source", "low")
    ablation = ablation_at_tip(setting, (10.0, 20.0, 30.0), (0.0, 0.6, -0.8))
    assert ablation.center_ras_mm == pytest.approx((10.0, 20.0 - 12.0 * 0.6, 30.0 + 12.0 * 0.8))
    assert (ablation.setting, ablation.short_axis_mm, ablation.long_axis_mm) == ("a", 30.0, 40.0)


def test_probes_survive_json_unchanged_and_have_the_keys_agreed():
    probe = probe_along((1, 2, -0.3), (0.1, 42.0, 39.0), (-15.7, 35.0, 32.0), through=np.array([1 / 3, 2 / 7, 9.1]))
    document = json.loads(json.dumps(probe.to_dict(), allow_nan=False))
    assert Probe.from_dict(document) == probe
    assert set(document) == {"entry_ras_mm", "tip_ras_mm", "length_mm", "ablations", "device"}
    named = dataclasses.replace(probe, device="emprint-mwa")
    assert Probe.from_dict(named.to_dict()) == named
    del document["device"]  # as earlier releases wrote it
    assert Probe.from_dict(document) == probe
    assert set(document["ablations"][0]) == {"setting", "center_ras_mm", "short_axis_mm", "long_axis_mm"}
    assert document["length_mm"] == pytest.approx(150.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ablation("a", (0, 0, np.nan), 30.0, 40.0), "center of an ablation.*not a finite number"),
        (lambda: Ablation("a", (0, 0), 30.0, 40.0), "center of an ablation.*shape"),
        (lambda: Ablation("a", (0, 0, 0), 0.0, 40.0), r"ablation 'a': an axis of 0\.0 mm"),
        (lambda: Ablation("a", (0, 0, 0), 30.0, np.inf), "ablation 'a': an axis of inf mm"),
        (lambda: Probe((0, 0, 0), (0, 0, 0), ()), "same point"),
        (lambda: Probe((0, np.inf, 0), (0, 0, 1), ()), "entry of a probe.*not a finite number"),
        (lambda: Probe((0, 0, 0), (0, 0, 9), (Ablation("a", (2, 0, 5), 30, 40),)), "'a'.*2 mm beside the probe"),
        (lambda: zone_surface([Probe((0, 0, 0), (0, 0, 9), ())]), "no ablation on any"),
        (lambda: zone_signed_distance_mm([], np.zeros((1, 3))), "no ablation on any"),
        (lambda: is_in_zone([probe_along((0, 0, 1), (0, 40, 30))], [[0.0, 0.0]]), "shape"),
        (lambda: is_in_zone([probe_along((0, 0, 1), (0, 40, 30))], [[0.0, np.nan, 0.0]]), "not a finite number"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(GeometryError, match=message):
        make()


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"entry_ras_mm": [0, 0, 0], "tip_ras_mm": [0, 0, 9]},
        {"entry_ras_mm": [0, 0, 0], "tip_ras_mm": [0, 0, 9], "ablations": [{"setting": "a"}]},
        {"entry_ras_mm": [0, 0, 0], "tip_ras_mm": "tip", "ablations": []},
        {
            "entry_ras_mm": [0, 0, 0],
            "tip_ras_mm": [0, 0, 9],
            "ablations": [{"setting": "a", "center_ras_mm": [0, 0, 1], "short_axis_mm": "wide", "long_axis_mm": 40}],
        },
    ],
)
def test_a_document_of_another_kind_is_refused(document):
    with pytest.raises(FormatError, match="probe: the document is not one of this release"):
        Probe.from_dict(document)
