"""The command `netablation access`: a CT and masks in, ranked entries, a colored skin and a scene out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from NETAblationLib import cli
from NETAblationLib.core.entries import ENTRY_COLORS
from NETAblationLib.core.images import write_image
from NETAblationLib.scene import documents, provenance, storage, surfaces, views
from NETAblationLib.scene.offscreen import can_render
from support import shapes

CENTER = np.array([12.0, 6.0, 2.0])
BODY, LIVER = shapes.ellipsoid((0, 0, 0), (75, 60, 200)), shapes.ellipsoid((10, 0, 0), (48, 40, 40))
WALL = shapes.difference(shapes.sphere(CENTER, 24.0), shapes.sphere(CENTER, 19.0))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("access")
    reference = shapes.grid((-85, -70, -60), (85, 70, 60), (2.0, 2.0, 2.5))
    centers = shapes.voxel_centers(reference)
    hu = np.where(BODY(centers) < 0, 40.0, -1000.0)
    image = sitk.GetImageFromArray(hu.reshape(reference.GetSize()[::-1]).astype(np.int16))
    image.CopyInformation(reference)
    levels = {
        "tumor": shapes.sphere(CENTER, 8.0),
        "liver": LIVER,
        "colon": shapes.sphere((20, 50, 2), 7.0),
        "wall": WALL,
        "drape": shapes.sphere((75, 0, 2), 20.0),
        "outside": shapes.sphere((-60, 0, 0), 5.0),
    }
    named = {"ct": image, **{name: shapes.mask_of(level, reference) for name, level in levels.items()}}
    lobes = sitk.GetArrayFromImage(named["liver"]) * np.where(centers[:, 1] > 20.0, 2, 1).reshape(
        reference.GetSize()[::-1]
    )
    named["lobes"] = sitk.GetImageFromArray(lobes.astype(np.uint8))
    named["lobes"].CopyInformation(reference)
    for name, content in named.items():
        write_image(content, folder / f"{name}.nrrd")
    return {name: folder / f"{name}.nrrd" for name in named}


def given(files, tumor="tumor"):
    return ["access", "--image", files["ct"], "--tumor", files[tumor], "--liver", files["liver"]]


def run(*words, expect=0):
    assert cli.main([str(word) for word in words]) == expect


def test_entries_are_ranked_and_the_blocked_counted(files, tmp_path, capsys):
    out, skin, case = (tmp_path / name for name in ("access.json", "skin.vtp", "case.mrb"))
    masks = ["--obstacle", f"colon={files['colon']}", "--no-go", f"drape={files['drape']}", "--lobes", files["lobes"]]
    run(*given(files), *masks, "--top", "4", "--out", out, "--surface", skin, "--scene", case)
    document = json.loads(out.read_text())
    assert document["target_ras_mm"] == pytest.approx(CENTER, abs=0.5)
    assert len(document["entries"]) == 4
    for entry in document["entries"]:
        start, tip = np.array(entry["entry_ras_mm"]), np.array(entry["target_ras_mm"])
        assert abs(BODY(start[None])[0]) < 0.05
        assert entry["length_mm"] == pytest.approx(np.linalg.norm(start - tip))
        assert np.linalg.norm(start - (75, 0, 2)) > 18.0
        assert set(entry["soft"]) == set(entry["explanations"])
        assert 0 < entry["score"] <= 1
    scores = [entry["score"] for entry in document["entries"]]
    assert scores == sorted(scores, reverse=True)
    blocked = document["blocked"]
    assert {"colon", "no-go area 'drape'", "the table side of the skin"} <= set(blocked)
    assert sum(blocked.values()) + document["free_points"] == document["skin_points"]
    assert document["clearances_mm"]["colon"] == 5.0
    assert "are free; the best entry scores" in capsys.readouterr().err
    assert skin.stat().st_size > 10_000

    storage.load_scene(case)
    (model,) = provenance.nodes_with_role("skin_entries")
    assert model.GetDisplayNode().GetActiveScalarName() == "Entry score"
    assert model.GetDisplayNode().GetColorNode().GetNumberOfColors() == len(ENTRY_COLORS)
    score = vtk_to_numpy(model.GetPolyData().GetPointData().GetArray("Entry score"))
    assert (score >= 0).sum() == document["free_points"]
    assert len(provenance.nodes_with_role("access_way")) == 4
    (exact,) = provenance.nodes_with_role("access")
    assert documents.read_document(exact, schema="access") == document
    assert surfaces.surface_of(model).points_ras_mm.shape == (document["skin_points"], 3)


@pytest.mark.skipif(not can_render(), reason="no off-screen OpenGL on this machine")
def test_the_skin_is_seen_in_its_colors(files, tmp_path):
    case = tmp_path / "case.mrb"
    run(*given(files), "--obstacle", f"colon={files['colon']}", "--out", tmp_path / "a.json", "--scene", case)
    storage.load_scene(case)
    (model,) = provenance.nodes_with_role("skin_entries")
    png = views.render_surfaces([model], (0, 0, 0), size=(400, 320))
    views.write_png(png, tmp_path / "skin.png")
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "skin.png")))[..., :3].astype(int)
    red, green = pixels[..., 0], pixels[..., 1]
    assert ((red > 100) & (red > 2 * green)).sum() > 300  # behind the colon
    assert ((green > 90) & (green > 1.2 * red)).sum() > 3000
    slicer.mrmlScene.Clear(False)


def test_a_target_and_a_tip_beyond_it(files, tmp_path):
    out = tmp_path / "access.json"
    run(*given(files), "--target", "-2,4,3", "--beyond-mm", "5", "--top", "1", "--out", out, "--quiet")
    document = json.loads(out.read_text())
    assert document["target_ras_mm"] == [-2.0, 4.0, 3.0]
    tip = document["entries"][0]["target_ras_mm"]
    assert np.linalg.norm(np.subtract(tip, (-2, 4, 3))) == pytest.approx(5.0)


def test_no_way_at_all_is_told_and_the_map_is_kept(files, tmp_path, capsys):
    out = tmp_path / "access.json"
    run(*given(files), "--obstacle", f"wall={files['wall']}", "--out", out, expect=2)
    assert "wall (100 % of the directions)" in capsys.readouterr().err
    document = json.loads(out.read_text())
    assert document["entries"] == []
    assert document["blocked"]["wall"] > 1000


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--device", "none-such"], "catalogue"),
        (["--target", "200,0,0"], "outside of the liver"),
        (["--obstacle", "a={colon}", "a={wall}"], "given twice"),
        (["--no-go", "a={colon}", "a={wall}"], "given twice"),
        (["--no-go", "inner={tumor}"], "away from the skin"),
        (["--obstacle", "cyst={tumor}"], "of the tumor"),
        (["--structure-names", "{colon}"], "--structures"),
        (["--surface", "skin.stl"], "has to end with .vtp"),
    ],
)
def test_bad_input_is_one_line_and_code_2(files, tmp_path, capsys, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    run(*given(files), *[word.format(**files) for word in words], "--out", "a.json", expect=2)
    shown = capsys.readouterr().err
    assert why in shown
    assert len(shown.splitlines()) == 1
    assert not (tmp_path / "a.json").exists()


def test_a_tumor_outside_of_the_liver_is_refused(files, tmp_path, capsys):
    run(*given(files, "outside"), "--out", tmp_path / "a.json", expect=2)
    assert "outside the liver" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_the_number_of_entries_is_one_or_more(files, capsys, count):
    with pytest.raises(SystemExit):
        run(*given(files), "--top", count, "--out", "a.json")
    assert "whole number above 0" in capsys.readouterr().err
