"""Trajectories against hand-computed angles and depths, dense sampling, and what must not change under motion."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import FormatError, GeometryError, InputError
from NETAblationLib.core.probes import Probe, ablation_at_tip
from NETAblationLib.core.shafts import DEFAULT_GAUGE
from NETAblationLib.core.trajectories import (
    Trajectory,
    pair_warnings,
    probe_pairs,
    probes_of_plan,
    trajectories_of,
)
from NETAblationLib.core.trajectory_files import write_trajectories_csv, write_trajectories_markups
from support.shapes import rotation

CATALOGUE = load_catalogue()
EMPRINT = CATALOGUE["emprint-mwa"]
POINT = st.tuples(*[st.floats(-100.0, 100.0)] * 3)


def probe_to(tip, entry, *pull_backs_mm, setting=EMPRINT.settings[0], device="emprint-mwa"):
    """A probe with one ablation at each pull-back from its tip."""
    tip, entry = np.array(tip, float), np.array(entry, float)
    along = (tip - entry) / np.linalg.norm(tip - entry)
    ablations = [ablation_at_tip(setting, tip - back * along, along) for back in pull_backs_mm]
    return Probe(tuple(entry.tolist()), tuple(tip.tolist()), tuple(ablations), device)


def way(entry, tip=(0.0, 0.0, 0.0), name="probe 1", **more):
    return Trajectory(name, tuple(map(float, entry)), tuple(map(float, tip)), **more)


@pytest.mark.parametrize(
    ("hub", "in_plane", "cranio_caudal", "words"),
    [
        ((0, 1, 0), 0.0, 0.0, "from anterior"),
        ((-1, 1, 0), 45.0, 0.0, "from anterior, hub 45 degrees to the left"),
        ((1, 1, 0), -45.0, 0.0, "from anterior, hub 45 degrees to the right"),
        ((1, 0, 0), -90.0, 0.0, "from anterior, hub 90 degrees to the right"),
        ((0, -1, 0), 180.0, 0.0, "from posterior"),
        ((np.sqrt(3), -1, 0), -120.0, 0.0, "from posterior, hub 60 degrees to the right"),
        ((0, 1, 1), 0.0, 45.0, "from anterior, hub 45 degrees to cranial"),
        ((0, np.sqrt(3), -1), 0.0, -30.0, "from anterior, hub 30 degrees to caudal"),
        ((0, 0, 1), None, 90.0, "hub 90 degrees to cranial"),
        ((-1, 1, -np.sqrt(2)), 45.0, -45.0, "from anterior, hub 45 degrees to the left, hub 45 degrees to caudal"),
    ],
)
def test_angles_against_the_gantry_have_their_sign_and_their_word(hub, in_plane, cranio_caudal, words):
    made = way(80.0 * np.array(hub) + (5.0, 6.0, 7.0), (5, 6, 7))
    found = made.in_plane_angle_deg
    if in_plane is None:
        assert found is None
    else:
        assert (found - in_plane + 180) % 360 - 180 == pytest.approx(0.0, abs=1e-9)
    assert made.cranio_caudal_angle_deg == pytest.approx(cranio_caudal, abs=1e-9)
    assert made.angles_in_words == words


@given(POINT, POINT)
def test_angles_and_depth_give_the_entry_back(entry, tip):
    if np.linalg.norm(np.subtract(entry, tip)) < 1.0:
        return
    made = way(entry, tip)
    turn, out = np.radians(made.in_plane_angle_deg or 0.0), np.radians(made.cranio_caudal_angle_deg)
    hub = np.array([-np.sin(turn) * np.cos(out), np.cos(turn) * np.cos(out), np.sin(out)])
    assert tip + made.depth_from_skin_mm * hub == pytest.approx(np.array(entry), abs=1e-5)


def test_depths_are_from_the_skin_and_from_the_aiming_device():
    made = way((0, 80, 60))
    assert made.depth_from_skin_mm == pytest.approx(100.0)
    assert made.depth_from_aiming_device_mm is None
    high = dataclasses.replace(made, aiming_height_mm=75.5)
    assert high.depth_from_aiming_device_mm == pytest.approx(175.5)
    assert np.linalg.norm(np.subtract(*high.shaft_ends)) == pytest.approx(175.5)


def test_stops_are_deepest_first_and_know_where_the_tip_stands():
    setting = EMPRINT.setting("150 W, 10 min")
    (made,) = trajectories_of([probe_to((0, 0, 0), (0, 100, 0), 25, 0, setting=setting)], catalogue=CATALOGUE)
    assert [stop.tip_depth_mm for stop in made.stops] == pytest.approx([100.0, 75.0])
    assert [stop.center_depth_mm for stop in made.stops] == pytest.approx([100 - 13.2, 75 - 13.2])
    # Active from the tip to where the shallower zone begins: 75 - 13.2 - 21.
    assert made.active_ends == pytest.approx(np.array([[0, 100 - 40.8, 0], [0, 0, 0]]))
    scaled = EMPRINT.scaled(0.8).setting("150 W, 10 min")
    (small,) = trajectories_of([probe_to((0, 0, 0), (0, 100, 0), 10, setting=scaled)], catalogue=CATALOGUE)
    assert small.stops[0].tip_depth_mm == pytest.approx(90.0)
    (unknown,) = trajectories_of([probe_to((0, 0, 0), (0, 100, 0), 0, device="elsewhere")], catalogue=CATALOGUE)
    assert unknown.stops[0].tip_depth_mm is None
    assert trajectories_of([Probe((0, 0, 9), (0, 0, 0), ())], device="emprint-mwa")[0].device == "emprint-mwa"


def sampled_distance(first, second, count=1501):
    """Smallest distance of two segments from dense points on one to the nearest place on the other."""
    points = first[0] + np.linspace(0, 1, count)[:, None] * (first[1] - first[0])
    along = second[1] - second[0]
    places = np.clip((points - second[0]) @ along / max(along @ along, 1e-300), 0, 1)
    return np.linalg.norm(points - second[0] - places[:, None] * along, axis=1).min()


@given(POINT, POINT, POINT, POINT)
def test_distances_of_shafts_are_those_of_dense_points(entry, tip, entry2, tip2):
    if min(np.linalg.norm(np.subtract(entry, tip)), np.linalg.norm(np.subtract(entry2, tip2))) < 1.0:
        return
    first, second = way(entry, tip, aiming_height_mm=20.0), way(entry2, tip2, "probe 2", aiming_height_mm=20.0)
    (pair,) = probe_pairs([first, second])
    expected = sampled_distance(first.shaft_ends, second.shaft_ends)
    assert pair.shaft_distance_mm == pytest.approx(expected, abs=0.25)
    assert pair.shaft_distance_mm <= expected + 1e-6
    assert pair.tip_distance_mm == pytest.approx(np.linalg.norm(np.subtract(tip, tip2)))
    assert pair.spacing_mm == pytest.approx(pair.tip_distance_mm)  # without ablations the tip is all that is active
    assert pair.line_distance_mm <= pair.shaft_distance_mm + 1e-6


def test_parallel_and_crossing_probes_have_the_distances_of_school_geometry():
    probes = [
        probe_to((0, 0, 0), (0, 100, 0), 0),
        probe_to((20, 10, 0), (20, 100, 0), 0),  # parallel, 20 mm beside, 10 mm less deep
        probe_to((0, 0, 15), (100, 0, 15), 0),  # at a right angle, 15 mm above
    ]
    first, second, third = probe_pairs(trajectories_of(probes, catalogue=CATALOGUE))
    assert (first.first, first.second) == ("probe 1", "probe 2")
    assert first.angle_deg == pytest.approx(0.0, abs=1e-9)
    assert (first.spacing_mm, first.line_distance_mm, first.shaft_distance_mm) == pytest.approx((20, 20, 20))
    assert first.tip_distance_mm == pytest.approx(np.hypot(20, 10))
    assert (second.angle_deg, second.line_distance_mm, second.shaft_distance_mm) == pytest.approx((90, 15, 15))
    assert third.line_distance_mm == pytest.approx(15)
    assert third.shaft_distance_mm == pytest.approx(np.hypot(15, 10))  # probe 2 ends 10 mm before the crossing
    # Opposite directions on one line are 180 degrees apart, not 0.
    (facing,) = probe_pairs([way((0, 100, 0), (0, 10, 0)), way((0, -100, 0), (0, -10, 0), "probe 2")])
    assert (facing.angle_deg, facing.line_distance_mm, facing.shaft_distance_mm) == pytest.approx((180, 0, 20))


@given(st.floats(-180, 180), POINT)
def test_how_probes_lie_to_each_other_does_not_change_with_the_pose(turn, shift):
    probes = [probe_to((0, 0, 0), (10, 100, 20), 0, 15), probe_to((18, 5, 3), (30, 90, 0), 0)]
    matrix = rotation((1, 2, -0.5), turn)
    moved = [
        probe_to(matrix @ p.tip_ras_mm + shift, matrix @ p.entry_ras_mm + shift, *back)
        for p, back in zip(probes, [(0, 15), (0,)], strict=True)
    ]
    (before,), (after,) = (probe_pairs(trajectories_of(made, catalogue=CATALOGUE)) for made in (probes, moved))
    for key, value in before.to_dict().items():
        assert after.to_dict()[key] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-6))


def test_warnings_name_probes_too_near_touching_and_alone():
    def texts(*places, **more):
        made = [way((x, 100, 0), (x, 0, 0), f"probe {n}", **more) for n, x in enumerate(places, 1)]
        return pair_warnings(probe_pairs(made))

    assert texts(0) == ()
    assert texts(0, 20, 40) == ()  # the outer two are far apart, but each has a neighbor
    (near,) = texts(0, 12)
    assert near == "probe 1 and probe 2: 12 mm apart, nearer than 15 mm."
    far = texts(0, 20, 60)
    assert far == ("probe 3: its nearest neighbor, probe 2, is 40 mm away, over 25 mm.",)
    touching, _ = texts(0, 2.0)
    assert touching.startswith("probe 1 and probe 2: the shafts touch (axes 2.0 mm apart, together 2.4 mm thick)")
    assert len(texts(0, 2.0, gauge=15.0)) == 1  # 1.8 mm each: they pass
    # Crossing outside of the body, below the aiming device, counts where the device is known.
    crossing = [way((-5, 100, 0), (-10, 0, 0)), way((5, 100, 0), (10, 0, 0), "probe 2")]
    assert pair_warnings(probe_pairs(crossing)) == ()
    high = [dataclasses.replace(made, aiming_height_mm=120.0) for made in crossing]
    assert "touch" in pair_warnings(probe_pairs(high))[0]
    pairs = probe_pairs([way((0, 100, 0)), way((30, 100, 0), (30, 0, 0), "probe 2")])
    assert len(pair_warnings(pairs)) == 2
    assert pair_warnings(pairs, (10.0, 40.0)) == ()
    with pytest.raises(InputError, match="no range"):
        pair_warnings(pairs, (25.0, 15.0))


def test_a_shaft_is_as_thick_as_its_gauge():
    pairs = probe_pairs([way((0, 9, 0), gauge=15.0), way((9, 9, 0), name="probe 2", gauge=17.0)])
    assert pairs[0].touching_mm == pytest.approx((1.829 + 1.473) / 2, abs=1e-3)
    assert DEFAULT_GAUGE == 13.0
    assert probe_pairs([way((0, 9, 0)), way((9, 9, 0))])[0].touching_mm == pytest.approx(2.413)


def test_what_cannot_be_a_trajectory_is_refused():
    with pytest.raises(GeometryError, match="probe 1: entry and tip are the same"):
        way((0, 0, 0))
    for height in (-1.0, 401.0, float("nan")):
        with pytest.raises(InputError, match="aiming device: a height of"):
            way((0, 9, 0), aiming_height_mm=height)
    for document in ({}, [], {"probes": []}, {"probes": "two"}, {"probes": [{"entry_ras_mm": [0, 0, 0]}]}):
        with pytest.raises(FormatError):
            probes_of_plan(document)


def test_the_table_holds_one_row_per_ablation_with_units_in_its_header(tmp_path):
    probes = [probe_to((-3.5, 0, 0), (-3.5, 100, 0), 0, 20), Probe((0, 90, 9), (0, 0, 9), ())]
    made = trajectories_of(probes, device="own, or not", catalogue=CATALOGUE, aiming_height_mm=80.0)
    write_trajectories_csv(made, tmp_path / "table.csv")
    content = (tmp_path / "table.csv").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == 4  # lines end as RFC 4180 has them
    rows = list(csv.DictReader(content.decode("utf-8").splitlines()))
    assert [(row["probe"], row["ablation"]) for row in rows] == [("probe 1", "1"), ("probe 1", "2"), ("probe 2", "")]
    assert [row["pull_back_mm"] for row in rows] == ["0.0000", "20.0000", ""]
    assert rows[2]["device"] == "own, or not"
    assert rows[0]["setting"] == "75 W, 5 min"
    for key, value in {
        "tip_r_mm": -3.5,
        "entry_a_mm": 100,
        "depth_from_skin_mm": 100,
        "depth_from_aiming_device_mm": 180,
        "in_plane_angle_deg": 0,
        "cranio_caudal_angle_deg": 0,
        "zone_center_depth_mm": 88.5,
        "zone_short_axis_mm": 32,
        "zone_long_axis_mm": 35,
        "tip_depth_mm": 100,
    }.items():
        assert float(rows[0][key]) == pytest.approx(value)
    assert b"-0.0000" not in content
    numbers = [key for key in rows[0] if key.endswith(("_mm", "_deg"))]
    assert set(rows[0]) - set(numbers) == {"probe", "ablation", "device", "angles", "setting"}


def test_without_an_aiming_device_its_column_is_empty(tmp_path):
    write_trajectories_csv(trajectories_of([probe_to((0, 0, 0), (0, 50, 0), 0, device="")]), tmp_path / "a.csv")
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert row["depth_from_aiming_device_mm"] == row["tip_depth_mm"] == row["device"] == ""


def test_markups_say_their_frame(tmp_path):
    write_trajectories_markups([way((1, 2, 3), (4, 5, 6))], tmp_path / "a.mrk.json")
    (line,) = json.loads((tmp_path / "a.mrk.json").read_text())["markups"]
    assert (line["type"], line["coordinateSystem"], line["coordinateUnits"]) == ("Line", "LPS", "mm")
    points = {point["label"]: point["position"] for point in line["controlPoints"]}
    assert points == {"entry": [-1, -2, 3], "tip": [-4, -5, 6]}
