"""The report: self-contained, complete, escaped, and its histogram true to the areas."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import InputError
from NETAblationLib.core.margin_uncertainty import MarginErrors, margin_distribution
from NETAblationLib.core.margins import measure_margin
from NETAblationLib.core.plan_margin import margin_against_plan
from NETAblationLib.core.planning import Plan
from NETAblationLib.core.probes import Ablation, Probe, ablation_at_tip
from NETAblationLib.core.report import LesionSection, Picture, margin_histogram_svg, render_report, write_report
from support import shapes

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


_VOID = {"meta", "img", "br", "rect", "circle", "line"}


class _Checker(HTMLParser):
    """Every tag that is opened is closed, in order; what is referred to from outside is noted."""

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def margin():
    """A tumor of 10 mm in a zone of 15 mm, shifted by 6 mm: margins from -1 to 11 mm."""
    grid = shapes.grid((-24, -24, -24), (24, 24, 24), (1, 1, 1))
    tumor = shapes.mask_of(shapes.sphere((0.3, 0.1, -0.2), 10), grid)
    return measure_margin(tumor, shapes.mask_of(shapes.sphere((6.3, 0.1, -0.2), 15), grid))


def test_page_is_whole_and_loads_nothing_from_elsewhere(margin):
    section = LesionSection("left <b>&</b>", margin, pictures=(Picture("a & b", PNG),), notes=("5 < 6",))
    page = render_report("Case <1>", [section], fusion={"schema_version": 1, "seconds": 3.0}, notes=("note",))
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.sources
    assert all(source.startswith("data:image/png;base64,") for source in checker.sources)
    assert "http" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert "<b>&</b>" not in page
    assert "Case &lt;1&gt;" in page
    assert "not a medical device" in page


def test_a_lesion_without_a_margin_is_reported_with_what_is_known():
    section = LesionSection("one", None, facts=(("Volume", "1.4 ml <"),), notes=("no ablation zone is drawn yet",))
    page = render_report("Case", [section], facts=[("Lesions", "1")])
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    for text in ("1.4 ml &lt;", "no ablation zone is drawn yet", "not measured", "Lesions"):
        assert text in page
    assert "MAM at" not in page


def test_numbers_of_the_margin_are_on_the_page(margin):
    page = render_report("Case", [LesionSection("one", margin)])
    assert f"{margin.mam_mm:.1f} mm" in page
    assert f"{100 * margin.surface_fraction['below_0']:.1f} %" in page
    assert "not covered (below 0 mm)" in page
    assert margin.verdict in page


def test_how_sure_and_which_side_are_on_the_page(margin):
    likely = margin_distribution(
        margin.surface, margin.signed_margin_mm, margin.zone_surface, errors=MarginErrors(registration_mm=2.3)
    )
    around = Ablation("any", (0.3, 0.1, -0.2), 30.0, 30.0)
    probe = Probe((0.3, 0.1, 90.0), (0.3, 0.1, -10.0), (around,))
    compared = margin_against_plan(margin.surface, margin.signed_margin_mm, [probe])
    page = render_report("Case", [LesionSection("one", margin, uncertainty=likely, against_plan=compared)])
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    low, high = likely.mam_interval_90_mm
    assert f"from {low:.1f} to {high:.1f} mm" in page
    assert f"{100 * likely.probability_mam_at_least['0']:.1f} %" in page
    assert "registration error of 2.3 mm at this lesion" in page
    assert "Thinnest: left" in page
    assert f"worst {compared.worst_difference_mm:+.1f} mm left" in page
    assert "areas true" in page


def test_histogram_shares_are_those_of_the_shifted_spheres(margin):
    """At a shift of 6 mm the signed margin is 15 - |p - c|, and uniform in the cosine on the sphere."""
    shares = {
        int(low): float(share)
        for low, share in re.findall(
            r"<title>(-?\d+) to -?\d+ mm: ([\d.]+) % of the surface", margin_histogram_svg(margin)
        )
    }
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
    for low, share in shares.items():
        # |p - c|^2 = 136 - 120 cos: the cosine at which the margin is m
        cosine = [np.clip((136 - (15 - m) ** 2) / 120, -1, 1) for m in (low, low + 1)]
        assert share == pytest.approx(50 * (cosine[1] - cosine[0]), abs=2.0), low


def test_what_cannot_be_reported_is_refused(margin, tmp_path):
    with pytest.raises(InputError, match="at least one lesion"):
        render_report("Case", [])
    with pytest.raises(InputError, match="not a PNG"):
        Picture("photo", b"\xff\xd8\xff")
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_report("page", blocked)
    assert blocked.read_text() == "in the way"


def test_written_page_replaces_the_former_one(tmp_path):
    assert write_report("first", tmp_path / "new").read_text(encoding="utf-8") == "first"
    assert write_report("second ü", tmp_path / "new").read_text(encoding="utf-8") == "second ü"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_the_zones_of_a_plan_stand_with_tissue_and_source(margin):
    catalogue = load_catalogue()
    emprint, rf = catalogue["emprint-mwa"], catalogue["cooled-rf-3cm"]

    def page_of(setting, device):
        ablation = ablation_at_tip(setting, (0.0, 0.0, 0.0), (0.0, -1.0, 0.0))
        probe = Probe((0.0, 90.0, 0.0), (0.0, 0.0, 0.0), (ablation,))
        plan = Plan(device, 5.0, (probe,), 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, (), {}, {})
        page = render_report("Case", [LesionSection("one", margin, plan)])
        return html.unescape(page.partition("Where the zones come from")[2].partition("</table>")[0])

    for device in (emprint, rf):
        shown = page_of(device.settings[0], device.id)
        for words in (device.id, device.settings[0].tissue, device.settings[0].tissue_kind, device.settings[0].source):
            assert words in shown
        assert "changed for this case" not in shown
    assert "changed for this case" in page_of(emprint.scaled(0.9).settings[0], emprint.id)
    assert "26.1 x 40.0" in page_of(rf.at_perfusion(30.0).settings[0], rf.id)
    assert "not in the catalogue" in page_of(emprint.settings[0], "own-device")
    assert "not in the catalogue" in page_of(emprint.interpolated(power_w=110.0, time_s=540.0), emprint.id)
