"""`margin` and `warp` as a user types them: what is written for machines and said to people."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib import cli
from NETAblationLib.core import frames
from NETAblationLib.core.images import read_image, write_image
from support.shapes import ellipsoid, grid, half_space, intersection, mask_of, sphere

CENTER = np.array([5.0, -8.0, 12.0])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("margin")
    image = grid(tuple(CENTER - 24), tuple(CENTER + 30), (1.2, 1.2, 1.5))
    zone = sphere(CENTER + np.array([0, -3, 0]), 13.0)
    cut_at = CENTER + np.array([0, 0, 0.4])
    shapes = {
        "tumor": sphere(CENTER, 8.0),
        "other": sphere(CENTER + np.array([0, -9, 6]), 4.0),
        "below": intersection(zone, half_space(cut_at, (0, 0, 1))),
        "above": intersection(zone, half_space(cut_at, (0, 0, -1))),
        "zone": zone,
        "veins": lambda p: np.linalg.norm((p - CENTER)[:, 1:] - [0, 12], axis=1) - 2.5,
    }
    for name, level in shapes.items():
        write_image(mask_of(level, image), folder / f"{name}.nrrd")
    probe = {
        "entry_ras_mm": (CENTER + np.array([0, 90, 0])).tolist(),
        "tip_ras_mm": CENTER.tolist(),
        "ablations": [
            {"setting": "any", "center_ras_mm": CENTER.tolist(), "short_axis_mm": 26.0, "long_axis_mm": 26.0}
        ],
    }
    (folder / "plan.json").write_text(json.dumps({"schema_version": 1, "probes": [probe], "device": "any"}))
    return folder


def run(*words) -> None:
    assert cli.main([str(word) for word in words]) == 0


def test_margin_of_two_zones_against_the_plan_beside_another_lesion(files, tmp_path, capsys):
    out = tmp_path / "margin.json"
    zones = [files / "below.nrrd", files / "above.nrrd"]
    other = f"second={files / 'other.nrrd'}"
    run("margin", "--tumor", files / "tumor.nrrd", "--zone", *zones, "--other", other, "--plan", files / "plan.json",
        "--vessels", files / "veins.nrrd", "--json", out)  # fmt: skip
    document = json.loads(out.read_text())
    low, high = document["mam_interval_90_mm"]
    assert low < document["mam_mm"] + 1.0 < high + 1.0
    assert set(document["probability_mam_at_least"]) == {"0", "3", "5"}
    assert all(0 <= chance <= 1 for chance in document["probability_mam_at_least"].values())
    assert document["mam_interval_90_mm"][0] == document["uncertainty"]["mam_mm"]["p05"]
    assert document["direction"]["thinnest"] == "anterior"
    assert document["against_plan"]["predicted_mam_mm"] == pytest.approx(5.0, abs=0.4)
    assert document["against_plan"]["worst_difference_mm"] == pytest.approx(-3.0, abs=0.5)
    assert document["against_plan"]["worst_side"] == "anterior"
    (zone,) = document["zones"]
    assert zone["lesions"] == ["tumor", "second"]
    assert zone["is_confluent"]
    (vein,) = document["vessels_in_shell"]
    assert (vein["name"], vein["direction"]) == ("veins", "cranial")
    assert vein["diameter_mm"] == pytest.approx(5.0, abs=0.6)
    assert vein["distance_mm"] == pytest.approx(1.5, abs=0.6)
    said = capsys.readouterr().err
    for words in (
        "thinnest: anterior",
        "against the plan",
        "reaches tumor and second",
        "true MAM with 90 %",
        "heat sink",
    ):
        assert words in said


def test_a_zone_that_contracted_is_enlarged_only_when_asked_and_says_so(files, tmp_path, capsys):
    out = tmp_path / "margin.json"
    words = ("margin", "--tumor", files / "tumor.nrrd", "--zone", files / "zone.nrrd", "--json", out)
    run(*words)
    drawn = json.loads(out.read_text())
    assert drawn["mam_mm"] == pytest.approx(13 - 3 - 8, abs=0.3)
    assert "contracted" not in capsys.readouterr().err
    run(*words, "--zone-shrinkage", "0.1")
    enlarged = json.loads(out.read_text())
    assert enlarged["mam_mm"] == pytest.approx(13 / 0.9 - 3 - 8, abs=0.3)
    assert enlarged["zone_volume_ml"] == drawn["zone_volume_ml"]  # as it was drawn
    assert enlarged["parameters"]["zone_shrinkage_fraction"] == 0.1
    assert "contracted by 10 %" in capsys.readouterr().err
    assert cli.main([str(word) for word in (*words, "--zone-shrinkage", "0.7")]) == 2
    assert "0 to 0.5" in capsys.readouterr().err


def test_warp_brings_masks_and_points_into_the_fixed_frame(files, tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = (4.0, -3.0, 2.0)
    sitk.WriteTransform(frames.affine_transform(matrix), str(tmp_path / "t.tfm"))
    common = ["--transform", tmp_path / "t.tfm"]
    onto = ["--onto", files / "tumor.nrrd", "--modality", "mask"]
    run("warp", files / "zone.nrrd", *common, *onto, "--out", tmp_path / "zone.nrrd")
    warped = sitk.GetArrayFromImage(read_image(tmp_path / "zone.nrrd")) > 0
    k, j, i = np.nonzero(warped)
    middle = frames.index_to_ras(read_image(tmp_path / "zone.nrrd"), np.stack([i, j, k], axis=1)).mean(axis=0)
    assert middle == pytest.approx(CENTER + np.array([-4, 0, -2]), abs=0.3)
    (tmp_path / "points.csv").write_text("r,a,s\n4,-3,2\n")
    run("warp", tmp_path / "points.csv", *common, "--out", tmp_path / "back.csv")
    assert np.loadtxt(tmp_path / "back.csv", delimiter=",", skiprows=1) == pytest.approx(np.zeros(3), abs=1e-6)
    assert cli.main(["warp", str(files / "zone.nrrd"), *map(str, common), "--out", str(tmp_path / "z.nrrd")]) == 2


def test_plan_proposes_probes_for_what_ablated_zones_leave(tmp_path, capsys):
    reference = grid((-110, -90, -60), (110, 90, 60), (2.5, 2.5, 2.5))
    center = np.array([-40.2, 10.4, 2.7])
    levels = {
        "body": ellipsoid((0, 0, 0), (105, 85, 300)),
        "liver": ellipsoid((-40, 10, 0), (50, 55, 50)),
        "tumor": sphere(center, 10.0),
        "zone": sphere(center + np.array([8.0, 0, 0]), 15.0),
    }
    masks = {name: mask_of(level, reference) for name, level in levels.items()}
    hu = np.full(reference.GetSize()[::-1], -1000, dtype=np.int16)
    for name, value in (("body", 30), ("liver", 110), ("tumor", 60)):
        hu[sitk.GetArrayFromImage(masks[name]) > 0] = value
    masks["ct"] = sitk.GetImageFromArray(hu)
    masks["ct"].CopyInformation(reference)
    for name, image in masks.items():
        write_image(image, tmp_path / f"{name}.nrrd")
    pairs = (("image", "ct"), ("tumor", "tumor"), ("liver", "liver"))
    given = [f"--{name}={tmp_path / file}.nrrd" for name, file in pairs]
    run("plan", *given, "--ablated", tmp_path / "zone.nrrd", "--out", tmp_path / "next.json")
    document = json.loads((tmp_path / "next.json").read_text())
    both = document["with_ablated"]
    assert both["mam_before_mm"] == pytest.approx(-3.0, abs=1.0)
    assert both["mam_after_mm"] > both["mam_before_mm"] + 3.0
    # What is left lies to the left: so do the zones that are proposed.
    places = [row["center_ras_mm"] for probe in document["probes"] for row in probe["ablations"]]
    assert np.mean(places, axis=0)[0] < center[0]
    assert "with what is ablated already" in capsys.readouterr().err
    words = ["plan", *given, "--ablated-transform", tmp_path / "t.h5", "--out", tmp_path / "p.json"]
    assert cli.main([str(word) for word in words]) == 2


def refused(capsys, *words) -> str:
    """What is said of bad input: one line."""
    capsys.readouterr()
    assert cli.main([str(word) for word in words]) == 2, words
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    return said


def test_documents_and_images_that_do_not_belong_are_refused_by_name(files, tmp_path, capsys):
    out, given = tmp_path / "margin.json", ["margin", "--tumor", files / "tumor.nrrd", "--zone", files / "zone.nrrd"]
    plan = json.loads((files / "plan.json").read_text())
    far = json.loads((files / "plan.json").read_text())
    for place in (far["probes"][0], far["probes"][0]["ablations"][0]):
        for name in place:
            if name.endswith("_ras_mm"):
                place[name] = np.add(place[name], (90, 0, 0)).tolist()
    small = json.loads((files / "plan.json").read_text())
    small["probes"][0]["ablations"][0] |= {"short_axis_mm": 4.0, "long_axis_mm": 4.0}
    shapeless = {**plan, "probes": [{**plan["probes"][0], "tip_ras_mm": [1, 2]}]}
    for document, why in (
        ({**plan, "schema_version": 99}, "schema_version 99"),
        (shapeless, "tip of a probe"),
        ({}, "no list of probes"),
        (far, "no zone of it touches the tumor, the nearest ends 69 mm away"),
    ):
        (tmp_path / "plan.json").write_text(json.dumps(document))
        said = refused(capsys, *given, "--plan", tmp_path / "plan.json", "--json", out)
        assert f"{tmp_path / 'plan.json'}: " in said
        assert why in said
    (tmp_path / "plan.json").write_text(json.dumps(small))
    run(*given, "--plan", tmp_path / "plan.json", "--json", tmp_path / "small.json")
    for document, why in (
        ({}, "fuse --json"),
        (plan, "fuse --json"),
        ({"schema_version": 1, "verdict": "good", "estimated_error_mm": "x"}, "an error of 'x' mm"),
        ({"schema_version": 1, "verdict": "good", "lesion_error_mm": 5}, "lesion_error_mm"),
    ):
        (tmp_path / "fusion.json").write_text(json.dumps(document))
        said = refused(capsys, *given, "--fusion", tmp_path / "fusion.json", "--json", out)
        assert f"{tmp_path / 'fusion.json'}: " in said
        assert why in said
    other = files / "other.nrrd"
    assert "given twice" in refused(capsys, *given, "--other", f"a={other}", f"a={other}", "--json", out)
    moved = read_image(files / "zone.nrrd")
    moved.SetOrigin([900.0, 0.0, 0.0])
    write_image(moved, tmp_path / "moved.nrrd")
    for words in (["--vessels", tmp_path / "moved.nrrd"], ["--other", f"b={tmp_path / 'moved.nrrd'}"]):
        assert "mm beside that of the tumor" in refused(capsys, *given, *words, "--json", out)
    for option in ("--image", "--post-image"):
        said = refused(capsys, *given, option, tmp_path / "moved.nrrd", "--json", out)
        assert "moved.nrrd" in said
        assert "lies outside of this image" in said
    assert not out.exists()
