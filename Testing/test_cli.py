"""The `netablation` command as a user types it: files in, files out, exit codes, messages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib import __version__, cli
from NETAblationLib.commands.command_line import cancelled_by_interrupt
from NETAblationLib.core import frames
from NETAblationLib.core.errors import Cancelled
from NETAblationLib.core.images import image_hash, read_mask, write_image
from support import shapes

_MARGIN_KEYS = {
    "schema_version",
    "mam_mm",
    "mam_location_ras_mm",
    "mam_p01_mm",
    "mean_mm",
    "resolution_mm",
    "surface_fraction",
    "shell_coverage_fraction",
    "subcapsular_fraction",
    "tumor_volume_ml",
    "zone_volume_ml",
    "residual_tumor_volume_ml",
}
_PLAN_KEYS = {
    "schema_version",
    "device",
    "probes",
    "tumor_coverage_fraction",
    "target_coverage_fraction",
    "predicted_mam_mm",
    "probe_count",
    "seconds",
}

_SHIPPED = Path(__file__).resolve().parents[1] / "NETAblation"

TUMOR_CENTER, ZONE_CENTER = (-30.2, -8.4, 12.7), (-28.2, -8.4, 12.7)


def run(*words, expect=0):
    """Run the command in this process and check its exit code."""
    code = cli.main([str(word) for word in words])
    assert code == expect, words


def refused(capsys, *words, code=2):
    """What the command says when it refuses: one line, no traceback."""
    run(*words, expect=code)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert shown.err.startswith("netablation: ")
    assert len(shown.err.splitlines()) == 1
    return shown.err


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A torso of a few ellipsoids with a tumor and its zone, as files."""
    folder = tmp_path_factory.mktemp("my files")
    reference = shapes.grid((-140, -110, -80), (140, 110, 80), (2.0, 2.0, 2.5))
    body = shapes.mask_of(shapes.ellipsoid((0, 0, 0), (130, 100, 300)), reference)
    liver = shapes.mask_of(shapes.ellipsoid((-25, 0, 0), (75, 60, 60)), reference)
    bone = shapes.mask_of(shapes.ellipsoid((0, -75, 0), (18, 15, 300)), reference)
    tumor = shapes.mask_of(shapes.sphere(TUMOR_CENTER, 10), reference)
    zone = shapes.mask_of(shapes.sphere(ZONE_CENTER, 15), reference)
    arrays = [sitk.GetArrayFromImage(mask).astype(bool) for mask in (body, liver, bone, tumor)]
    hu = np.full(arrays[0].shape, -1000.0)
    for inside, value in zip(arrays, (30, 110, 600, 60), strict=True):
        hu[inside] = value
    hu += np.random.default_rng(3).normal(0, 8, hu.shape)
    image = sitk.GetImageFromArray(np.round(hu).astype(np.int16))
    image.CopyInformation(reference)
    named = {"ct": image, "liver": liver, "bone": bone, "tumor": tumor, "zone": zone}
    for name, content in named.items():
        write_image(content, folder / f"{name}.nrrd")
    return {name: folder / f"{name}.nrrd" for name in named}


def test_version_and_help(capsys):
    for words, expected in ((["--version"], __version__), (["--help"], "margin"), (["plan", "--help"], "--obstacle")):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 0
        assert expected in capsys.readouterr().out


def test_margin_of_shifted_spheres(files, tmp_path):
    out = tmp_path / "margin.json"
    run("margin", "--tumor", files["tumor"], "--zone", files["zone"], "--liver", files["liver"], "--json", out)
    document = json.loads(out.read_text())
    assert document.keys() >= _MARGIN_KEYS
    assert document["mam_mm"] == pytest.approx(3.0, abs=0.6)
    # The zone is shifted to +R, so the least margin is on the tumor's side of -R; the margin rises by
    # 0.16 mm only within 4.3 mm of that place, less than these voxels can tell.
    np.testing.assert_allclose(document["mam_location_ras_mm"], np.add(TUMOR_CENTER, (-10, 0, 0)), atol=5.0)
    assert set(document["surface_fraction"]) == {"below_0", "from_0_to_5", "at_least_5", "at_least_10"}
    assert set(document["shell_coverage_fraction"]) == {"3", "5", "6", "10"}
    assert document["tumor_volume_ml"] == pytest.approx(4 / 3 * np.pi, rel=0.05)
    assert document["zone_volume_ml"] == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.05)
    assert document["residual_tumor_volume_ml"] == pytest.approx(0, abs=1e-3)


def test_margin_says_how_sure_it_is(files, tmp_path, capsys):
    words = ["margin", "--tumor", files["tumor"], "--zone", files["zone"], "--liver", files["liver"]]
    run(*words, "--json", tmp_path / "default.json")
    said = capsys.readouterr().err
    assert "true MAM with 90 % probability from" in said
    assert "at least 0 mm" in said
    run(*words, "--registration-error-mm", "0.2", "--segmentation-sd-mm", "0.3", "--json", tmp_path / "sure.json")
    wide, narrow = (json.loads((tmp_path / f"{name}.json").read_text())["uncertainty"] for name in ("default", "sure"))
    assert wide["errors"]["registration_mm"] == 1.62
    assert narrow["errors"]["registration_mm"] == 0.2
    assert narrow["errors"]["tumor_segmentation_sd_mm"] == narrow["errors"]["zone_segmentation_sd_mm"] == 0.3
    for found in (wide, narrow):
        assert found["mam_mm"]["p05"] < 3.3 < found["mam_mm"]["p95"] + 0.6
        assert set(found["probability_mam_at_least_mm"]) == {"0", "3", "5"}
    assert narrow["mam_mm"]["p95"] - narrow["mam_mm"]["p05"] < wide["mam_mm"]["p95"] - wide["mam_mm"]["p05"]


def test_margin_knows_what_the_fusion_says(files, tmp_path):
    words = ["margin", "--tumor", files["tumor"], "--zone", files["zone"], "--margin-mm", "1"]
    fusion = {"schema_version": 1, "verdict": "doubtful", "estimated_error_mm": 0.1, "lesion_error_mm": [None, 0.2]}
    (tmp_path / "fusion.json").write_text(json.dumps(fusion))
    run(*words, "--fusion", tmp_path / "fusion.json", "--json", tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    assert document["registration_error_mm"] == 0.2
    assert document["verdict"] == "uncertain"
    assert "but the fusion is doubtful" in document["reason"]
    (tmp_path / "fusion.json").write_text(json.dumps({**fusion, "verdict": "good"}))
    run(*words, "--fusion", tmp_path / "fusion.json", "--json", tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["verdict"] == "reached"


def test_margin_knows_its_lesion_among_those_that_the_fusion_left_out(files, tmp_path):
    """By the masks' hashes: doubt near another lesion is none here."""
    own = image_hash(read_mask(files["tumor"]))
    fusion = {
        "schema_version": 1,
        "verdict": "doubtful",
        "estimated_error_mm": 0.1,
        "lesion_error_mm": [3.0, 0.2],
        "lesion_verdict": ["doubtful", "good"],
        "input_hashes": {"exclude": ["of another", own]},
    }
    (tmp_path / "fusion.json").write_text(json.dumps(fusion))
    words = ["margin", "--tumor", files["tumor"], "--zone", files["zone"], "--margin-mm", "1"]
    run(*words, "--fusion", tmp_path / "fusion.json", "--json", tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    assert (document["registration_error_mm"], document["verdict"]) == (0.2, "reached")


def test_margin_through_a_transform_file(files, tmp_path):
    """Zone and transform moved together give the same margin."""
    shift_ras = np.array([7.0, -4.0, 9.0])
    moved = sitk.ReadImage(str(files["zone"]))
    moved.SetOrigin((np.array(moved.GetOrigin()) + frames.flip_lps_ras(shift_ras)).tolist())
    write_image(moved, tmp_path / "zone.nrrd")
    matrix = np.eye(4)
    matrix[:3, 3] = shift_ras
    sitk.WriteTransform(frames.affine_transform(matrix), str(tmp_path / "t.tfm"))
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    run("margin", "--tumor", files["tumor"], "--zone", files["zone"], "--json", here)
    zone, transform = tmp_path / "zone.nrrd", tmp_path / "t.tfm"
    run("margin", "--tumor", files["tumor"], "--zone", zone, "--transform", transform, "--json", there)
    first, second = json.loads(here.read_text()), json.loads(there.read_text())
    assert second["mam_mm"] == pytest.approx(first["mam_mm"], abs=0.02)
    np.testing.assert_allclose(second["mam_location_ras_mm"], first["mam_location_ras_mm"], atol=0.5)


def test_label_of_a_mask_file(files, tmp_path):
    tumor, zone = (sitk.ReadImage(str(files[name])) for name in ("tumor", "zone"))
    labels = sitk.Cast(zone * 4 + tumor, sitk.sitkUInt8)  # 4 zone only, 5 tumor within the zone
    write_image(labels, tmp_path / "labels.nrrd")
    out = tmp_path / "margin.json"
    run("margin", "--tumor", f"{tmp_path / 'labels.nrrd'}:5", "--zone", tmp_path / "labels.nrrd", "--json", out)
    assert json.loads(out.read_text())["tumor_volume_ml"] == pytest.approx(4 / 3 * np.pi, rel=0.05)


def test_json_to_standard_output_is_only_json(files, capsys):
    run("margin", "--tumor", files["tumor"], "--zone", files["zone"], "--json", "-")
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_quiet_says_nothing(files, tmp_path, capsys):
    run("margin", "--tumor", files["tumor"], "--zone", files["zone"], "--json", tmp_path / "m.json", "--quiet")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_segment_with_negative_points_as_typed(files, tmp_path):
    out, numbers = tmp_path / "found.nrrd", tmp_path / "found.json"
    line = ["-40.2,-8.4,12.7", "-20.2,-8.4,12.7"]
    run("segment", files["ct"], "--line", *line, "--liver", files["liver"], "--out", out, "--json", numbers)
    found, exact = (sitk.GetArrayFromImage(read_mask(path)) != 0 for path in (out, files["tumor"]))
    assert 2 * (found & exact).sum() / (found.sum() + exact.sum()) > 0.85
    assert json.loads(numbers.read_text())["volume_ml"] == pytest.approx(4 / 3 * np.pi, rel=0.2)
    assert frames.same_grid(sitk.ReadImage(str(out)), sitk.ReadImage(str(files["ct"])))


def test_plan_to_standard_output(files, capsys):
    given = ["--image", files["ct"], "--tumor", files["tumor"], "--liver", files["liver"]]
    run("plan", *given, "--out", "-", "--quiet")
    assert json.loads(capsys.readouterr().out).keys() >= _PLAN_KEYS
    assert not Path("-").exists()


def test_plan(files, tmp_path):
    out = tmp_path / "plan.json"
    given = ["--image", files["ct"], "--tumor", files["tumor"], "--liver", files["liver"]]
    run("plan", *given, "--obstacle", f"bone={files['bone']}", "--out", out)
    document = json.loads(out.read_text())
    assert document.keys() >= _PLAN_KEYS
    assert document["probe_count"] == len(document["probes"]) >= 1
    for probe in document["probes"]:
        entry, tip = np.array(probe["entry_ras_mm"]), np.array(probe["tip_ras_mm"])
        assert probe["length_mm"] == pytest.approx(np.linalg.norm(tip - entry))
        for ablation in probe["ablations"]:
            assert ablation.keys() >= {"setting", "center_ras_mm", "short_axis_mm", "long_axis_mm"}
            aside = np.cross(np.subtract(ablation["center_ras_mm"], entry), (tip - entry) / probe["length_mm"])
            assert np.linalg.norm(aside) < 1e-6
    assert document["tumor_coverage_fraction"] == pytest.approx(1.0, abs=1e-3)


def test_plan_keeps_locked_probes_and_offers_alternatives(files, tmp_path, capsys):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    given = ["--image", files["ct"], "--tumor", files["tumor"], "--liver", files["liver"]]
    run("plan", *given, "--alternatives", "1", "--size-factor", "1.1", "--out", first)
    document = json.loads(first.read_text())
    assert len(document["alternatives"]) <= 1
    assert document["parameters"]["size_factor"] == 1.1
    said = capsys.readouterr().err
    assert "ablation(s)" in said
    assert "puncture(s)" in said
    run("plan", *given, "--lock", f"{first}:1", "--out", second, "--quiet")
    again = json.loads(second.read_text())
    assert again["probes"][0] == document["probes"][0]
    assert again["locked_count"] == 1
    assert not any("another image" in text for text in again["limitations"])
    document["input_hashes"]["image"] = "0" * 64
    (tmp_path / "elsewhere.json").write_text(json.dumps(document))
    run("plan", *given, "--lock", f"{tmp_path / 'elsewhere.json'}:1", "--out", second, "--quiet")
    assert any("elsewhere.json was made in another image" in t for t in json.loads(second.read_text())["limitations"])
    assert "none of number 9" in refused(capsys, "plan", *given, "--lock", f"{first}:9", "--out", tmp_path / "p.json")
    assert "would be lost" in refused(capsys, "plan", *given, "--lock", f"{first}:1", "--out", first)


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: tests may run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_interrupts_goes_on_doing_so(interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with cancelled_by_interrupt(lambda fraction, message: None) as report:
        signal.raise_signal(signal.SIGINT)
        report(0.5, "")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_first_interrupt_cancels_and_the_handler_is_put_back(interruptible):
    before = signal.getsignal(signal.SIGINT)
    told = []
    with cancelled_by_interrupt(lambda fraction, message: told.append(fraction)) as report:
        report(0.1, "")
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Cancelled):
            report(0.2, "")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert told == [0.1]
    assert signal.getsignal(signal.SIGINT) is before


def test_plan_takes_the_obstacles_of_a_segmentation(files, tmp_path, capsys):
    out, names = tmp_path / "plan.json", tmp_path / "names.json"
    names.write_text('{"1": "rib_left_7"}')
    given = ["--image", files["ct"], "--tumor", files["tumor"], "--liver", files["liver"], "--out", out]
    run("plan", *given, "--structures", files["bone"], "--structure-names", names)
    assert "note: obstacles of bone.nrrd: rib\n" in capsys.readouterr().err
    assert "rib" in json.loads(out.read_text())["input_hashes"]
    assert "what its labels are called" in refused(capsys, "plan", *given, "--structures", files["bone"])
    assert "--structures" in refused(capsys, "plan", *given, "--structure-names", names)
    both = ["--obstacle", f"rib={files['bone']}", "--structures", files["bone"], "--structure-names", names]
    assert "obstacle 'rib' is given twice" in refused(capsys, "plan", *given, *both)


def test_fuse_finds_a_shift(files, tmp_path, capsys):
    shift_ras = np.array([6.0, -5.0, 4.0])
    moved = sitk.ReadImage(str(files["ct"]))
    moved.SetOrigin((np.array(moved.GetOrigin()) + frames.flip_lps_ras(shift_ras)).tolist())
    write_image(moved, tmp_path / "after.nrrd")
    out, numbers = tmp_path / "fused.h5", tmp_path / "fused.json"
    at = np.array([TUMOR_CENTER])
    pairs = tmp_path / "pairs.csv"
    columns = [f"{side}_{axis}_mm" for side in ("fixed", "moving") for axis in "ras"]
    pairs.write_text(f"{','.join(columns)}\n{','.join(map(str, [*at[0], *(at[0] + shift_ras)]))}\n")
    images = files["ct"], tmp_path / "after.nrrd", "--fixed-liver", files["liver"]
    run("fuse", *images, "--preset", "fast", "--landmarks", pairs, "--out", out, "--json", numbers)
    np.testing.assert_allclose(frames.transform_points(sitk.ReadTransform(str(out)), at), at + shift_ras, atol=1.0)
    document = json.loads(numbers.read_text())
    assert document["schema_version"] == 1
    assert document["verdict"] in ("good", "doubtful", "not usable")
    assert document["verdict_reasons"]
    assert document["estimated_error_mm"] < document["error_bound_90_mm"]
    assert document["jacobian_min"] > 0
    assert len(document["landmark_tre_mm"]) == 1
    capsys.readouterr()
    assert "pairs.txt" in refused(capsys, "fuse", *images, "--landmarks", tmp_path / "pairs.txt", "--out", out)


def test_bad_input_is_one_line_and_code_2(files, tmp_path, capsys):
    out = tmp_path / "out.nrrd"
    line = ["--line", "-40,-8,12", "-20,-8,12"]
    assert "absent.nrrd" in refused(capsys, "segment", tmp_path / "absent.nrrd", *line, "--out", out)
    refused(capsys, "segment", files["ct"], "--line", "900,0,0", "920,0,0", "--out", out)
    refused(capsys, "segment", files["ct"], "--line", "0,0,0", "0,0,0", "--out", out)
    refused(capsys, "segment", files["ct"], *line, "--out", tmp_path / "no" / "such" / "folder.nrrd")
    refused(capsys, "segment", files["ct"], *line, "--out", tmp_path / "mask.doc")
    given = ["--image", files["ct"], "--tumor", files["tumor"], "--liver", files["liver"], "--out", tmp_path / "p.json"]
    assert "catalogue" in refused(capsys, "plan", *given, "--device", "none-such")
    assert "twice" in refused(capsys, "plan", *given, "--obstacle", f"a={files['bone']}", f"a={files['liver']}")
    assert "ct.nrrd" in refused(capsys, "margin", "--tumor", files["ct"], "--zone", files["zone"])
    assert "label 9" in refused(capsys, "margin", "--tumor", f"{files['tumor']}:9", "--zone", files["zone"])
    text = tmp_path / "text.h5"
    text.write_text("no transform")
    assert "text.h5" in refused(
        capsys, "margin", "--tumor", files["tumor"], "--zone", files["zone"], "--transform", text
    )
    assert not out.exists()
    assert not (tmp_path / "p.json").exists()


def test_an_image_of_noise_is_bad_input(files, tmp_path, capsys):
    """It says that there is no border in it, and writes nothing."""
    noise = sitk.ReadImage(str(files["ct"]))
    values = np.random.default_rng(5).normal(40, 15, noise.GetSize()[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(noise)
    write_image(image, tmp_path / "noise.nrrd")
    line, out = ["--line", "-40.2,-8.4,12.7", "-20.2,-8.4,12.7"], tmp_path / "out.nrrd"
    assert "no lesion found" in refused(capsys, "segment", tmp_path / "noise.nrrd", *line, "--out", out)
    words = ["vessels", tmp_path / "noise.nrrd", "--liver", files["liver"], "--out", out]
    assert "vessel" in refused(capsys, *words)
    assert not out.exists()


def test_a_name_that_the_system_refuses_is_bad_input(files, tmp_path, capsys):
    long = tmp_path / ("x" * 300 + ".nrrd")
    line = ["--line", "-40.2,-8.4,12.7", "-20.2,-8.4,12.7"]
    assert "File name too long" in refused(capsys, "segment", files["ct"], *line, "--out", long)
    assert "File name too long" in refused(capsys, "margin", "--tumor", long, "--zone", files["zone"])


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "ct.nrrd", "--line", "1,2", "3,4,5", "--out", "m.nrrd"],
        ["segment", "ct.nrrd", "--line", "1,2,3", "--out", "m.nrrd"],
        ["segment", "ct.nrrd", "--line", "nan,2,3", "3,4,5", "--out", "m.nrrd"],
        ["segment", "ct.nrrd", "--line", "-inf,2,3", "3,4,5", "--out", "m.nrrd"],
        ["margin", "--tumor", "t.nrrd", "--zone", "z.nrrd", "--margin-mm", "-5"],
        ["margin", "--tumor", "t.nrrd", "--zone", "z.nrrd", "--margin-mm", "0"],
        ["margin", "--tumor", "t.nrrd", "--zone", "z.nrrd", "--margin-mm", "nan"],
        ["plan", "--image", "c", "--tumor", "t", "--liver", "l", "--obstacle", "bone", "--out", "p.json"],
        ["demo", "--out", "folder", "--seed", "-1"],
        ["unknown"],
        [],
    ],
)
def test_bad_usage_is_one_line_and_code_2(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("netablation: ")
    assert len(shown.splitlines()) == 1
    assert "--help" in shown
    for word in words:
        if word.startswith(("nan,", "-inf,", "1,2")):
            assert word in shown or "expected 2 arguments" in shown


_ABSENT = {
    "segment": ["absent.nrrd", "--line", "1,2,3", "4,5,6"],
    "plan": ["--image", "absent.nrrd", "--tumor", "absent.nrrd", "--liver", "absent.nrrd"],
    "fuse": ["absent.nrrd", "absent.nrrd"],
    "margin": ["--tumor", "absent.nrrd", "--zone", "absent.nrrd"],
}


@pytest.mark.parametrize(
    ("command", "outputs", "why"),
    [
        ("segment", ["--out", "mask.foo"], "mask.foo: the name of this output has to end with .nrrd or"),
        ("segment", ["--out", "none/mask.nrrd"], "none/mask.nrrd: the folder to write it into does not exist"),
        ("segment", ["--out", "-"], "-: the name of this output"),
        ("segment", ["--out", "a.nrrd", "--json", "a.nrrd"], "a.nrrd: another output has this name"),
        ("segment", ["--out", "a.nrrd", "--json", "folder"], "folder: is a folder"),
        ("plan", ["--out", "case.mrb", "--scene", "case.mrb"], "case.mrb: another output has this name"),
        ("plan", ["--out", "plan.json", "--scene", "case.foo"], "case.foo: the name of this output has to end"),
        ("plan", ["--out", "p.json", "--obstacle", "a=1.nrrd", "a=2.nrrd"], "a name is given twice"),
        ("fuse", ["--out", "transform.nrrd"], "transform.nrrd: the name of this output has to end with .h5 or .tfm"),
        ("margin", ["--scene", "case.vtk"], "case.vtk: the name of this output has to end"),
        ("margin", ["--report", "file.txt"], "file.txt: results cannot be written there"),
        ("margin", ["--report", "file.txt/deeper"], "file.txt/deeper: results cannot be written there"),
    ],
)
def test_bad_outputs_are_refused_before_any_work(tmp_path, monkeypatch, capsys, command, outputs, why):
    """Not after the minutes that the work takes: the inputs do not even have to be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("text")
    assert why in refused(capsys, command, *_ABSENT[command], *outputs)
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file.txt"}


def test_an_input_is_never_replaced(files, tmp_path, monkeypatch, capsys):
    for name in ("ct", "tumor", "liver"):
        shutil.copy(files[name], tmp_path)
    ct, tumor, liver = (tmp_path / f"{name}.nrrd" for name in ("ct", "tumor", "liver"))
    (tmp_path / "link.nrrd").symlink_to(ct)
    before = {path: path.read_bytes() for path in (ct, tumor, liver)}
    monkeypatch.chdir(tmp_path)
    line = ["--line", "-40.2,-8.4,12.7", "-20.2,-8.4,12.7"]
    given = ["--image", ct, "--tumor", f"{tumor}:1", "--liver", liver]
    for words in (
        ["segment", ct, *line, "--out", "ct.nrrd"],
        ["segment", ct, *line, "--out", "link.nrrd"],
        ["segment", ct, *line, "--liver", liver, "--out", liver],
        ["plan", *given, "--out", "p.json", "--scene", "p.mrb", "--obstacle", "a=p.json"],
        ["margin", "--tumor", f"{tumor}:1", "--zone", files["zone"], "--json", tumor],
    ):
        assert "an input has this name" in refused(capsys, *words)
    assert {path: path.read_bytes() for path in before} == before


def test_a_pipe_is_written_to_and_stays(files, tmp_path):
    """As /dev/stdout and /dev/null: another file in their place would be a calamity."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    run("margin", "--tumor", files["tumor"], "--zone", files["zone"], "--json", pipe, "--quiet")
    assert json.loads(os.read(reader, 1 << 20))["schema_version"] == 1
    os.close(reader)
    assert pipe.is_fifo()


def test_unexpected_failure_is_code_1_without_traceback(monkeypatch, files, capsys):
    def explode(*_args, **_keywords):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("NETAblationLib.core.margins.measure_margin", explode)
    words = ["margin", "--tumor", files["tumor"], "--zone", files["zone"]]
    assert "out of luck" in refused(capsys, *words, code=1)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(*words, "--debug")


def test_as_a_process(files):
    words = ["-m", "NETAblationLib.cli", "margin", "--tumor", str(files["tumor"]), "--zone", str(files["zone"])]
    done = subprocess.run(
        [sys.executable, *words, "--json", "-"], cwd=_SHIPPED, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mam_mm"] == pytest.approx(3.0, abs=0.6)
