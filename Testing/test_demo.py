"""The whole chain on a digital patient, against its exact truth."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib import cli
from NETAblationLib.core.case import load_case
from NETAblationLib.core.images import read_image, read_mask
from NETAblationLib.core.plans import Plan
from NETAblationLib.scene.offscreen import can_render


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of a demo run from the command line, and its summary."""
    out = tmp_path_factory.mktemp("demo") / "not there yet" / "results"
    assert cli.main(["demo", "--out", str(out), "--size", "small", "--seed", "3", "--quiet"]) == 0
    return out, json.loads((out / "summary.json").read_text())


def test_lesions_are_found_and_covered(results):
    lesions = results[1]["lesions"]
    assert 4 <= len(lesions) <= 8
    for lesion in lesions:
        assert lesion["tumor_dice"] > 0.7, lesion
        assert lesion["zone_dice"] > 0.8, lesion
        assert lesion["tumor_coverage_fraction"] > 0.995, lesion
        assert lesion["target_coverage_fraction"] > 0.95, lesion
    assert max(lesion["probe_count"] for lesion in lesions) > 1, "one lesion needs several probes"


def test_fusion_is_near_the_known_motion(results):
    assert results[1]["fusion"]["error_in_liver_mm"] < 1.0
    assert max(lesion["fusion_error_mm"] for lesion in results[1]["lesions"]) < 2.0


def test_margins_are_near_the_exact_ones(results):
    errors = [
        lesion["mam_mm"] - lesion["exact_mam_mm"]
        for lesion in results[1]["lesions"]
        if lesion["exact_mam_mm"] is not None
    ]
    # Voxels of 2 mm, segmentations from one line and a registration lie between them.
    assert np.mean(np.abs(errors)) < 1.5
    assert np.max(np.abs(errors)) < 3.5


def test_results_are_whole_and_read_again(results):
    out, summary = results
    case = load_case(out / "case.json")
    assert case.stale_results() == ()
    assert len(case.lesions) == len(summary["lesions"])
    grid = read_image(out / "before.nrrd")
    for name in case.lesions:
        assert read_mask(out / f"{name}.nrrd").GetSize() == grid.GetSize()
        plan = json.loads((out / f"{name}-plan.json").read_text())
        assert Plan.from_dict(plan).to_dict() == plan
        margin = json.loads((out / f"{name}-margin.json").read_text())
        low, high = margin.pop("mam_interval_90_mm") or (0.0, 1.0)
        assert low < high
        assert set(margin.pop("probability_mam_at_least") or {"0", "3", "5"}) == {"0", "3", "5"}
        assert margin.pop("uncertainty")["draws"] > 0
        assert case.result("margin", name).document == margin
    assert sitk.ReadTransform(str(out / "before-to-after.h5")).GetDimension() == 3
    assert (out / "case.mrb").stat().st_size > 1e6


def test_report_shows_every_lesion(results):
    out, summary = results
    page = (out / "report.html").read_text(encoding="utf-8")
    for lesion in summary["lesions"]:
        assert f"<h2>{lesion['name']}</h2>" in page
    pictures = page.count('src="data:image/png;base64,')
    if can_render():
        assert pictures == 5 * len(summary["lesions"])
        assert len(list((out / "pictures").glob("*.png"))) == pictures
    else:
        assert pictures == 0
        assert "no off-screen OpenGL" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
