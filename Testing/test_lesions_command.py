"""The command `netablation lesions`: masks and saved cases in, table and document out, clear refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib import cli
from NETAblationLib.core import frames
from NETAblationLib.core.fusion import write_transform
from NETAblationLib.core.images import write_image
from NETAblationLib.core.lesion_measures import measure_lesions, split_labels
from NETAblationLib.core.plans import Plan
from NETAblationLib.core.probes import Ablation, Probe
from support import shapes

GRID = shapes.grid((-56, -46, -46), (56, 46, 46), (2.0, 2.0, 2.0))
LIVER = shapes.ellipsoid((0, 0, 0), (50, 40, 40))
LESIONS = {1: shapes.sphere((25, 0, 0), 9.0), 2: shapes.sphere((-30, 5, 0), 6.0), 5: shapes.sphere((0, 20, 10), 5.0)}
MOVED = np.array([6.0, -4.0, 3.0])


def labelled(offset=(0, 0, 0), *, only=None) -> sitk.Image:
    centers = shapes.voxel_centers(GRID) - np.array(offset)
    values = np.zeros(len(centers), np.uint8)
    for label, level in LESIONS.items():
        if only is None or label in only:
            values[level(centers) < 0] = label
    image = sitk.GetImageFromArray(values.reshape(GRID.GetSize()[::-1]))
    image.CopyInformation(GRID)
    return image


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Doe, Jane")
    centers = shapes.voxel_centers(GRID)
    r, a, _ = centers.T
    hu = np.where(LIVER(centers) < 0, 110.0, -1000.0)
    for level in LESIONS.values():
        hu[level(centers) < 0] = 70.0
    hu += np.random.default_rng(0).normal(0, 8, len(hu))
    lobes = np.where(r > 0, 1, 2)

    def image(values, kind):
        made = sitk.GetImageFromArray(values.reshape(GRID.GetSize()[::-1]).astype(kind))
        made.CopyInformation(GRID)
        return made

    matrix = np.eye(4)
    matrix[:3, 3] = MOVED
    write_transform(frames.affine_transform(matrix), folder / "to-earlier.h5")
    images = {
        "lesions": labelled(),
        "earlier": labelled(MOVED, only=(1, 2)),
        "liver": shapes.mask_of(LIVER, GRID),
        "ct": image(hu, np.int16),
        "lobes": image(lobes, np.uint8),
        "gallbladder": shapes.mask_of(shapes.sphere((10, 44, -20), 5.0), GRID),
        "cava": image(np.hypot(r, a + 36) < 5, np.uint8),
    }
    for name, content in images.items():
        write_image(content, folder / f"{name}.nrrd")
    return {name: folder / f"{name}.nrrd" for name in images} | {"transform": folder / "to-earlier.h5"}


def run(*words, expect=0):
    assert cli.main(["lesions", *(str(word) for word in words)]) == expect, words


def refused(capsys, *words):
    run(*words, expect=2)
    shown = capsys.readouterr().err
    assert shown.startswith("netablation: ")
    assert len(shown.splitlines()) == 1
    return shown


def test_everything_at_once(files, tmp_path, capsys):
    out = tmp_path / "lesions.json"
    run(
        files["lesions"],
        "--liver",
        files["liver"],
        "--phase",
        f"portal={files['ct']}",
        "--structure",
        f"Gallbladder={files['gallbladder']}",
        "--lobes",
        files["lobes"],
        "--previous",
        files["earlier"],
        "--previous-transform",
        files["transform"],
        *("--days", 100, "--ki67", 4, "--mitoses", 1, "--differentiation", "well", "--syndrome", "insulinoma"),
        *("--debulk", 0.7, 0.9, "--not-ablatable", "lesion-5=beside the heart", "--probes", "lesion-1=3"),
        *("--json", out),
    )
    document = json.loads(out.read_text())
    exact = measure_lesions(
        {f"lesion-{label}": mask for label, mask in split_labels(labelled()).items()}, shapes.mask_of(LIVER, GRID)
    )
    assert [lesion["name"] for lesion in document["lesions"]] == ["lesion-1", "lesion-2", "lesion-5"]
    for found, lesion in zip(document["lesions"], exact.lesions, strict=True):
        for key in ("volume_ml", "longest_diameter_mm", "short_axis_mm", "longest_3d_mm"):
            assert found[key] == getattr(lesion, key)
        assert found["distances_mm"]["capsule"] == lesion.distances_mm["capsule"]
        assert found["distances_mm"]["gallbladder"] > 0
        assert found["enhancement"]["portal"]["pattern"] == "hypo"
    assert document["burden_fraction"] == exact.tumor_volume_ml / exact.liver_volume_ml
    assert document["burden_class"] == "<=10 %"
    assert document["lesion_count"] == 3
    assert document["lobes"] == ["right", "left"]
    assert document["distribution"]["type"] == "II"
    assert document["grade"]["name"] == "G2"
    assert [row["tumor"] for row in document["syndromes"] if row["is_present"]] == ["insulinoma"]
    assert [match["fate"] for match in document["matches"]] == ["same", "same", "new"]
    assert document["matches"][0]["center_distance_mm"] < 0.2
    assert document["matches"][0]["days"] == 100
    goals = document["debulking"]
    assert [step["name"] for step in goals[0]["steps"]] == ["lesion-1", "lesion-2"]
    assert goals[0]["total_cost"] == 3 + 1
    assert (goals[0]["is_reached"], goals[1]["is_reached"]) == (True, False)
    assert goals[1]["excluded"] == {"lesion-5": "beside the heart"}
    assert {rule["evidence"] for rule in document["rules"]} >= {"table read", "user-set"}
    assert "Jane" not in out.read_text()
    shown = capsys.readouterr().err
    for words in ("lesion-5", "burden", "type II", "grade: G2", "debulking 70 %", "new: - -> lesion-5"):
        assert words in shown


def test_documents_go_to_standard_output_and_quiet_is_quiet(files, capsys):
    run(files["lesions"], "--liver", files["liver"], "--json", "-", "--quiet")
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert shown.err == ""
    assert (document["matches"], document["grade"], document["debulking"]) == (None, None, [])
    assert document["lobes"] is None
    assert "gallbladder and inferior_vena_cava" in document["lobes_reason"]
    assert document["lesions"][0]["distances_mm"]["vessel"] is None


def test_several_files_and_one_label_are_named_by_number(files, tmp_path):
    out = tmp_path / "out.json"
    run(f"{files['lesions']}:5", f"{files['lesions']}:1", "--liver", files["liver"], "--json", out)
    document = json.loads(out.read_text())
    assert [lesion["name"] for lesion in document["lesions"]] == ["lesion-1", "lesion-2"]
    assert document["lesions"][0]["volume_ml"] < document["lesions"][1]["volume_ml"]
    run(f"{files['lesions']}:5", "--liver", files["liver"], "--json", out)
    assert json.loads(out.read_text())["lesions"][0]["name"] == "lesion-5"


def test_gallbladder_and_cava_tell_the_lobes(files, tmp_path):
    out = tmp_path / "out.json"
    structures = [f"gallbladder={files['gallbladder']}", f"inferior-vena-cava={files['cava']}"]
    run(files["lesions"], "--liver", files["liver"], "--structure", *structures, "--json", out)
    document = json.loads(out.read_text())
    assert document["lobes"] == ["right", "left"]
    assert document["lesions"][0]["lobe_fraction"] == {"right": 1.0, "left": 0.0}
    assert "plane" in document["lobes_reason"]


def test_less_liver_can_be_the_cost(files, tmp_path):
    out = tmp_path / "out.json"
    run(files["lesions"], "--liver", files["liver"], "--debulk", 1, "--debulk-cost", "liver", "--json", out)
    document = json.loads(out.read_text())
    costs = {step["name"]: step["cost"] for step in document["debulking"][0]["steps"]}
    assert costs == {lesion["name"]: lesion["margin_liver_ml"] for lesion in document["lesions"]}


def test_a_saved_case_gives_its_lesions_liver_and_phases(files, scene, tmp_path):
    from NETAblationLib.scene.cases import CaseScene

    liver, image = shapes.mask_of(LIVER, GRID), sitk.ReadImage(str(files["ct"]))
    case = CaseScene.create(image, image=image, liver=liver, image_name="Portal")
    magnetic = sitk.Cast(sitk.Abs(image), sitk.sitkInt16)
    case.add_phase(magnetic, "T1")
    lesions = {f"nr {label}": mask for label, mask in split_labels(labelled()).items()}
    for name, mask in lesions.items():
        case.add_lesion(name, mask)
    probes = tuple(
        Probe((25.0, 80.0, s), (25.0, 0.0, s), (Ablation("a setting", (25.0, 5.0, s), 36.0, 42.0),))
        for s in (-4.0, 0.0, 4.0, 8.0)
    )
    case.replace_plan("nr 1", Plan("emprint-mwa", 5.0, probes, 1.0, 1.0, 6.0, 2.9, 18.8, 0.5, (), {}, {}))
    case.save(tmp_path / "case.mrb")
    out = tmp_path / "out.json"
    run(tmp_path / "case.mrb", "--debulk", 1, "--json", out)
    document = json.loads(out.read_text())
    exact = measure_lesions(lesions, liver)
    assert [lesion["name"] for lesion in document["lesions"]] == list(lesions)
    for found, lesion in zip(document["lesions"], exact.lesions, strict=True):
        assert found["volume_ml"] == pytest.approx(lesion.volume_ml, rel=1e-12)
        assert found["distances_mm"]["capsule"] == pytest.approx(lesion.distances_mm["capsule"], abs=1e-3)
        assert set(found["enhancement"]) == {"Portal"}
    assert any("'T1'" in note for note in document["notes"])
    costs = {step["name"]: step["cost"] for step in document["debulking"][0]["steps"]}
    assert costs == {"nr 1": 4.0, "nr 2": 1.0, "nr 5": 1.0}


def test_a_case_without_what_is_needed_is_refused(files, scene, tmp_path, capsys):
    from NETAblationLib.scene.cases import CaseScene
    from NETAblationLib.scene.storage import save_scene

    save_scene(tmp_path / "none.mrb")
    assert "no segmentation before ablation" in refused(capsys, tmp_path / "none.mrb")
    CaseScene.create(labelled(), liver=shapes.mask_of(LIVER, GRID)).save(tmp_path / "empty.mrb")
    assert "no lesion" in refused(capsys, tmp_path / "empty.mrb")
    assert "not both" in refused(capsys, tmp_path / "empty.mrb", files["lesions"])
    assert "no such file" in refused(capsys, tmp_path / "gone.mrml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{lesions}"], "--liver"),
        (["{lesions}", "--liver", "{ct}"], "negative"),
        (["{ct}", "--liver", "{liver}"], "negative"),
        (["{lesions}:9", "--liver", "{liver}"], "labels are 1, 2, 5"),
        (["{lesions}", "{lesions}:2", "--liver", "{liver}"], "overlap"),
        (["{lesions}", "--liver", "{liver}", "--phase", "a={lesions}"], "no CT in HU"),
        (["{lesions}", "--liver", "{liver}", "--lobes", "{lesions}"], "lobes: the mask has the labels"),
        (["{lesions}", "--liver", "{liver}", "--ki67", "101"], "Ki-67 101"),
        (["{lesions}", "--liver", "{liver}", "--differentiation", "well"], "--ki67 or --mitoses"),
        (["{lesions}", "--liver", "{liver}", "--syndrome", "cushing"], "'cushing'"),
        (["{lesions}", "--liver", "{liver}", "--previous-transform", "{transform}"], "--previous"),
        (["{lesions}", "--liver", "{liver}", "--days", "3"], "--previous"),
        (["{lesions}", "--liver", "{liver}", "--not-ablatable", "x=far"], "no lesion x"),
        (["{lesions}", "--liver", "{liver}", "--probes", "lesion-1=0"], "whole number"),
        (["{lesions}", "--liver", "{liver}", "--probes", "lesion-1=1.5"], "whole number"),
        (["{lesions}", "--liver", "{liver}", "--probes", "lesion-1=1", "lesion-1=2"], "twice"),
        (["{lesions}", "--liver", "{liver}", "--device", "laser"], "'laser'"),
        (["{lesions}", "--liver", "{liver}", "--json", "{liver}"], "an input has this name"),
    ],
)
def test_bad_input_is_refused_in_one_line(files, capsys, words, message):
    assert message in refused(capsys, *(word.format(**files) for word in words))


def test_a_goal_that_is_no_fraction_is_refused(files, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(files["lesions"], "--liver", files["liver"], "--debulk", 70)
    assert stopped.value.code == 2
    assert "fraction" in capsys.readouterr().err
