"""`devices` and `trajectories` as a user types them: what they list, write, send and refuse."""

from __future__ import annotations

import csv
import json
import socket
import threading

import numpy as np
import pytest

from NETAblationLib import cli
from NETAblationLib.core.devices import Device, load_catalogue
from NETAblationLib.core.probes import Probe, ablation_at_tip
from NETAblationLib.core.trajectories import SPACING_RANGE_MM

EMPRINT = load_catalogue()["emprint-mwa"]


def run(*words, expect=0):
    assert cli.main([str(word) for word in words]) == expect, words


def refused(capsys, *words, code=2):
    run(*words, expect=code)
    shown = capsys.readouterr()
    assert shown.err.startswith("netablation: ")
    assert len(shown.err.splitlines()) == 1
    return shown.err


@pytest.fixture
def plan(tmp_path):
    """A plan of two parallel probes, one with pull-back, as a file."""
    setting, down = EMPRINT.settings[0], np.array([0.0, -1.0, 0.0])
    probes = []
    for x, backs in ((0.0, (0.0, 15.0)), (30.0, (0.0,))):
        ablations = tuple(ablation_at_tip(setting, (x, back, 0.0), down) for back in backs)
        probes.append(Probe((x, 90.0, 0.0), (x, 0.0, 0.0), ablations))
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"schema_version": 1, "device": "emprint-mwa", "probes": [p.to_dict() for p in probes]}))
    return file


def own_device(folder, **changes):
    file = folder / "own.json"
    file.write_text(json.dumps({**EMPRINT.to_dict(), "id": "own-device", **changes}))
    return file


def test_devices_lists_every_device_and_setting_with_its_tissue(capsys):
    run("devices")
    listed = capsys.readouterr().out
    for device in load_catalogue().values():
        assert f"\n{device.id}: {device.modality}" in f"\n{listed}"
        for setting in device.settings:
            assert setting.tissue_kind in listed
            assert f"    {setting.name}: " in listed
    assert "not for planning" in listed


def test_one_device_is_shown_with_the_source_of_every_zone(capsys):
    for device in load_catalogue().values():
        run("devices", "--device", device.id)
        shown = capsys.readouterr().out
        for setting in device.settings:
            for words in (setting.source, setting.tissue, setting.certainty, setting.note):
                assert words in shown
        assert ("by perfusion: " in shown) == (device.perfusion_law is not None)


def test_devices_for_machines_are_devices(tmp_path, capsys):
    run("devices", "--json", "-")
    listed = json.loads(capsys.readouterr().out)["devices"]
    assert [Device.from_dict(row) for row in listed] == list(load_catalogue().values())
    run("devices", "--device", "cool-tip-rf", "--json", tmp_path / "one.json", "--quiet")
    assert capsys.readouterr().out == ""
    assert [row["id"] for row in json.loads((tmp_path / "one.json").read_text())["devices"]] == ["cool-tip-rf"]


def test_devices_of_ones_own_are_listed_or_refused_by_name(tmp_path, capsys):
    run("devices", "--device-file", own_device(tmp_path), "--device", "own-device")
    assert "own-device: MWA" in capsys.readouterr().out
    row = {**EMPRINT.settings[0].__dict__, "source": ""}
    assert "own.json" in refused(capsys, "devices", "--device-file", own_device(tmp_path, settings=[row]))
    assert "choose one of emprint-mwa" in refused(capsys, "devices", "--device", "none")
    file = own_device(tmp_path)
    assert "would be lost" in refused(capsys, "devices", "--device-file", file, "--json", file)


def test_trajectories_are_said_and_written(plan, tmp_path, capsys):
    places = {name: tmp_path / name for name in ("table.csv", "lines.mrk.json", "table.json")}
    words = ("--csv", places["table.csv"], "--markups", places["lines.mrk.json"], "--json", places["table.json"])
    run("trajectories", plan, *words, "--aiming-height-mm", 70)
    said = capsys.readouterr().err
    assert "probe 1: 90.0 mm from the skin, 160.0 mm from the aiming device; from anterior; 2 ablation(s)" in said
    assert "probe 1 and probe 2: 30.0 mm apart, 0.0 degrees" in said
    assert "its nearest neighbor, probe 2, is 30 mm away" in said
    assert "head first and supine" in said
    rows = list(csv.DictReader(places["table.csv"].read_text().splitlines()))
    assert [(row["probe"], row["ablation"], float(row["pull_back_mm"])) for row in rows] == [
        ("probe 1", "1", 0.0),
        ("probe 1", "2", 15.0),
        ("probe 2", "1", 0.0),
    ]
    document = json.loads(places["table.json"].read_text())
    assert [row["depth_from_aiming_device_mm"] for row in document["trajectories"]] == [160.0, 160.0]
    assert document["trajectories"][0]["device"] == "emprint-mwa"
    assert len(document["pairs"]) == 1
    assert document["pairs"][0]["spacing_mm"] == pytest.approx(30.0)
    assert len(document["warnings"]) == 2
    run("trajectories", plan, "--spacing-mm", 10, 40, "--json", "-", "--quiet")
    shown = capsys.readouterr()
    assert json.loads(shown.out)["warnings"] == []
    assert shown.err == ""
    assert SPACING_RANGE_MM == (15.0, 25.0)


def test_trajectories_go_to_a_navigation_system(plan, capsys):
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def take():
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(4096):
                    received.append(data)

        thread = threading.Thread(target=take)
        thread.start()
        run("trajectories", plan, "--igtl", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join(10)
    stream = b"".join(received)
    for kind in (b"TRAJ", b"POINT", b"TRANSFORM", b"STRING", b"probe 2"):
        assert kind in stream
    assert "5 messages sent" in capsys.readouterr().err


def test_when_nobody_listens_the_files_are_there_and_the_exit_code_tells(plan, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = tmp_path / "table.csv"
    message = refused(capsys, "trajectories", plan, "--csv", file, "--igtl", f"127.0.0.1:{port}", code=1)
    assert f"127.0.0.1:{port}: could not be reached" in message
    assert file.is_file()


def test_bad_input_is_refused_before_any_work(plan, tmp_path, capsys):
    file = tmp_path / "table.csv"
    for words, message in [
        (("--csv", tmp_path / "table.txt"), "has to end with .csv"),
        (("--markups", tmp_path / "lines.json"), r"has to end with .mrk.json"),
        (("--csv", file, "--igtl", "nowhere:port"), "no address"),
        (("--csv", file, "--aiming-height-mm", "5000"), "height of 5000"),
        (("--csv", file, "--spacing-mm", "25", "15"), "25 to 15 mm is no range"),
    ]:
        assert message in refused(capsys, "trajectories", plan, *words)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"schema_version": 1}))
    assert "no list of probes" in refused(capsys, "trajectories", other, "--csv", file)
    assert not file.exists()


def test_the_markups_open_in_the_scene_as_the_same_lines(plan, tmp_path, scene):
    import slicer

    file = tmp_path / "lines.mrk.json"
    run("trajectories", plan, "--markups", file, "--quiet")
    first = slicer.util.loadMarkups(str(file))
    assert first is not None
    nodes = list(slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode"))
    assert [node.GetName() for node in nodes] == ["probe 1", "probe 2"]
    for node, row in zip(nodes, json.loads(plan.read_text())["probes"], strict=True):
        assert [node.GetNthControlPointLabel(n) for n in range(2)] == ["entry", "tip"]
        ends = [node.GetNthControlPointPosition(n) for n in range(2)]
        assert np.array(ends) == pytest.approx(np.array([row["entry_ras_mm"], row["tip_ras_mm"]]), abs=1e-9)
        assert node.GetNumberOfDefinedControlPoints() == 2
