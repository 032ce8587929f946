"""How sure plans are, against closed formulas: a ball in a ball, off by chance."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from scipy import stats

from NETAblationLib.core.devices import ZoneSetting, load_catalogue
from NETAblationLib.core.errors import GeometryError, InputError
from NETAblationLib.core.probes import Ablation, Probe, ablation_at_tip
from NETAblationLib.core.robust_draws import Errors
from NETAblationLib.core.robustness import Chance, plan_robustness, robust_placement, shifted
from NETAblationLib.core.targets import Target
from support.shapes import ellipsoid, grid, half_space, mask_of, sphere

CENTER, RADIUS, MARGIN_MM = np.array([0.3, -0.2, 0.4]), 10.0, 5.0
ALONG = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
NOTHING = {"lateral_mm": 0.0, "depth_mm": 0.0, "registration_mm": 0.0, "size_sd_fraction": 0.0}


def probe_at(center, *diameters_mm, direction=ALONG, apart_mm=12.0):
    """A probe through a point with balls as zones, so far apart."""
    places = apart_mm * (np.arange(len(diameters_mm)) - 0.5 * (len(diameters_mm) - 1))
    rows = [
        Ablation("ball", tuple(center + place * direction), size, size)
        for place, size in zip(places, diameters_mm, strict=True)
    ]
    return Probe(tuple(center - 90 * direction), tuple(center + 40 * direction), tuple(rows))


@functools.cache
def ball(margin_mm=MARGIN_MM, capsule_mm=None):
    image = grid((-13,) * 3, (13,) * 3, (0.8,) * 3)
    level = sphere((0, 0, 0), 60.0) if capsule_mm is None else half_space((capsule_mm, 0, 0), (1, 0, 0))
    liver = mask_of(level, grid((-62,) * 3, (62,) * 3, (2.0,) * 3))
    return Target.of(mask_of(sphere(CENTER, RADIUS), image), liver, margin_mm)


@functools.cache
def oblong():
    tumor = mask_of(ellipsoid((0, 0, 0), (20.0, 11.0, 11.0)), grid((-22, -13, -13), (22, 13, 13), (1.0,) * 3))
    return Target.of(tumor, mask_of(sphere((0, 0, 0), 60.0), grid((-62,) * 3, (62,) * 3, (2.0,) * 3)), MARGIN_MM)


def side_by_side():
    """Two probes along S that cover the oblong tumor, and a third that adds nothing."""
    up = np.array([0.0, 0.0, 1.0])
    places = np.array([[-9.0, 0, 0], [9.0, 0, 0], [0.0, 0, 0]])
    return [probe_at(at, size, direction=up) for at, size in zip(places, (38.0, 38.0, 10.0), strict=True)]


def chances(zone_radius, kind, seed=0, draws=2000, target=None, **errors):
    probe = probe_at(CENTER, 2 * zone_radius)
    found = plan_robustness(target or ball(), [probe], errors=Errors(**{**NOTHING, **errors}), draws=draws, seed=seed)
    return found.chances[kind], found


LEVELS = [("margin_0", 0.0), ("margin_80_percent", 4.0), ("margin_asked", 5.0)]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("kind", "least_mm"), LEVELS)
def test_lateral_errors_give_the_probability_of_rayleigh(kind, least_mm, seed):
    zone = 17.0
    chance, _ = chances(zone, kind, seed, lateral_mm=3.7)
    slack = zone - RADIUS - least_mm
    exact = stats.rayleigh.cdf(slack, scale=3.7 / np.sqrt(np.pi / 2))
    # The tumor's surface, from a mask, is within 0.1 mm of the ball.
    edges = stats.rayleigh.cdf([slack - 0.15, slack + 0.15], scale=3.7 / np.sqrt(np.pi / 2))
    sd = np.sqrt(exact * (1 - exact) / 2000)
    assert edges[0] - 3 * sd < chance.fraction < edges[1] + 3 * sd


@pytest.mark.parametrize(
    ("errors", "law"),
    [
        ({"depth_mm": 3.0}, stats.halfnorm(scale=3.0 / np.sqrt(2 / np.pi))),
        ({"registration_mm": 4.0}, stats.maxwell(scale=4.0 / (2 * np.sqrt(2 / np.pi)))),
        ({"size_sd_fraction": 0.1}, stats.norm(0.0, 1.7)),
    ],
    ids=["depth", "registration", "size"],
)
@pytest.mark.parametrize(("kind", "least_mm"), LEVELS)
def test_other_errors_have_their_laws(errors, law, kind, least_mm):
    chance, found = chances(17.0, kind, **errors)
    slack = 17.0 - RADIUS - least_mm
    sd = np.sqrt(0.25 / 2000)
    assert law.cdf(slack - 0.15) - 3 * sd < chance.fraction < law.cdf(slack + 0.15) + 3 * sd
    middle = 17.0 - RADIUS - law.median()
    assert found.mam_mm["p50"] == pytest.approx(middle, abs=0.35)


def test_percentiles_of_the_margin_are_those_of_the_law():
    _, found = chances(17.0, "margin_0", draws=4000, lateral_mm=3.7)
    law = stats.rayleigh(scale=3.7 / np.sqrt(np.pi / 2))
    for name, share in (("p05", 0.95), ("p50", 0.5), ("p95", 0.05)):
        assert found.mam_mm[name] == pytest.approx(17.0 - RADIUS - law.ppf(share), abs=0.35)
    assert found.mam_at_most_mm >= MARGIN_MM


def test_without_errors_there_is_no_chance():
    chance, found = chances(15.5, "margin_asked", draws=20)
    assert chance.fraction == 1.0
    assert found.mam_mm["p05"] == found.mam_mm["p95"] == pytest.approx(5.5, abs=0.2)
    short, found = chances(12.0, "margin_asked", draws=20)
    assert short.fraction == 0.0
    assert found.chances["tumor_covered"].fraction == found.chances["margin_0"].fraction == 1.0
    assert found.mam_mm["p50"] == pytest.approx(2.0, abs=0.2)
    assert found.tumor_coverage_fraction["p05"] == 1.0
    outside = plan_robustness(ball(), [probe_at(CENTER + 60 * ALONG, 20.0)], errors=Errors(**NOTHING), draws=5)
    assert outside.tumor_coverage_fraction["p95"] == outside.target_coverage_fraction["p95"] == 0.0
    # From the far side of the ball to the zone.
    assert outside.mam_mm["p50"] == pytest.approx(-(60.0 + RADIUS - 10.0), abs=0.3)


def test_a_seed_gives_the_same_and_another_one_nearly_the_same():
    first, second, other = (plan_robustness(oblong(), side_by_side(), draws=400, seed=seed) for seed in (3, 3, 4))
    assert first == second
    for name, chance in first.chances.items():
        assert chance.low <= chance.fraction <= chance.high
        assert other.chances[name].fraction == pytest.approx(chance.fraction, abs=0.12)
    assert (
        json.loads(json.dumps(first.to_dict()))["chances"]["margin_0"]["fraction"] == first.chances["margin_0"].fraction
    )


def test_the_interval_is_that_of_wilson():
    chance = Chance.of(np.arange(1000) < 900)
    assert (chance.low, chance.high) == pytest.approx((0.87985, 0.91711), abs=1e-4)
    assert Chance.of(np.ones(1000, bool)).high == 1.0
    assert Chance.of(np.zeros(1000, bool)).low == pytest.approx(0.0, abs=1e-12)


def test_the_probe_that_matters_is_the_most_sensitive():
    up = np.array([0.0, 0.0, 1.0])
    # The first has zones to spare, the second hardly reaches; the third does nothing.
    probes = [probe_at(np.array([-9.0, 0, 0]), 48.0, direction=up), *side_by_side()[1:]]
    found = plan_robustness(oblong(), probes, draws=500)
    assert found.most_sensitive_probe == 1
    assert found.gains[1].mam_mm > 3 * max(found.gains[0].mam_mm, 0.0)
    assert found.gains[2].mam_mm == pytest.approx(0.0, abs=0.01)
    assert found.gains[1].chance_fraction > 0.05


def test_the_device_says_how_zones_spread():
    setting = ZoneSetting("ball", 34.0, 34.0, 5.0, "any", "a test", "sure", short_axis_sd_mm=6.8, long_axis_sd_mm=6.8)
    device = load_catalogue()["emprint-mwa"]
    device = type(device)(**{**device.__dict__, "settings": (setting,)})
    law, errors = stats.norm(0.0, 3.4), Errors(**NOTHING)
    ablation = ablation_at_tip(setting, CENTER + 5.0 * ALONG, ALONG)
    probe = Probe(tuple(CENTER - 90 * ALONG), tuple(CENTER + 5 * ALONG), (ablation,))
    found = plan_robustness(ball(), [probe], errors=errors, device=device, draws=2000)
    assert found.chances["margin_asked"].fraction == pytest.approx(law.cdf(2.0), abs=0.05)
    assert plan_robustness(ball(), [probe], errors=errors, draws=20).chances["margin_asked"].fraction == 1.0


def test_where_nothing_is_evaluable_only_the_tumor_is_asked_for():
    target = ball(capsule_mm=1.0)
    target = type(target)(**{**target.__dict__, "is_evaluable": np.zeros_like(target.is_evaluable)})
    found = plan_robustness(target, [probe_at(CENTER, 34.0)], draws=100)
    assert set(found.chances) == {"tumor_covered"}
    assert found.mam_mm is None
    assert found.most_sensitive_probe == 0


def test_more_margin_and_more_error_are_less_sure():
    by_error = [chances(17.0, "margin_asked", lateral_mm=error)[0].fraction for error in (1.0, 2.0, 4.0)]
    assert by_error == sorted(by_error, reverse=True)
    found = plan_robustness(oblong(), side_by_side(), draws=300)
    fractions = [found.chances[name].fraction for name, _ in LEVELS]
    assert fractions == sorted(fractions, reverse=True)


def test_a_plan_beside_the_tumor_is_put_right():
    start = [shifted(probe, (0.0, 4.0, 2.0)) for probe in side_by_side()]
    better = robust_placement(oblong(), start)
    before, after = (plan_robustness(oblong(), probes).mean_chance for probes in (start, better))
    assert after > before + 0.15
    assert better == robust_placement(oblong(), start)
    for probe, other in zip(better, start, strict=True):
        assert probe.direction == pytest.approx(other.direction)
        assert len(probe.ablations) == len(other.ablations)
    centers = np.array([probe.ablations[0].center_ras_mm for probe in better[:2]])
    assert np.abs(centers[:, 1]).max() < 2.0


def test_probes_go_only_where_they_may():
    start = tuple(shifted(probe, (0.0, 4.0, 2.0)) for probe in side_by_side())
    assert robust_placement(oblong(), start, is_allowed=lambda probe: False) == start
    half = robust_placement(oblong(), start, is_allowed=lambda probe: probe.tip_ras_mm[1] >= 3.0)
    assert min(probe.tip_ras_mm[1] for probe in half) >= 3.0


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="lateral_mm -1"):
        Errors(lateral_mm=-1.0)
    with pytest.raises(InputError, match="depth_mm nan"):
        Errors(depth_mm=float("nan"))
    with pytest.raises(InputError, match="0 draws"):
        plan_robustness(ball(), [probe_at(CENTER, 30.0)], draws=0)
    with pytest.raises(GeometryError, match="no ablation"):
        plan_robustness(ball(), [probe_at(CENTER)], draws=5)


def test_zones_grow_only_where_they_may_and_their_tips_with_them():
    device = load_catalogue()["emprint-mwa"]
    small = min(device.plannable_settings, key=lambda setting: setting.short_axis_mm)
    ablation = ablation_at_tip(small, CENTER + small.center_to_tip_mm * ALONG, ALONG)
    start = (Probe(tuple(CENTER - 90 * ALONG), tuple(CENTER + small.center_to_tip_mm * ALONG), (ablation,)),)
    assert robust_placement(ball(), start, device=device)[0].ablations[0].setting == small.name
    (grown,) = robust_placement(ball(), start, device=device, may_enlarge=True)
    setting = device.setting(grown.ablations[0].setting)
    assert grown.ablations[0].short_axis_mm == setting.short_axis_mm > small.short_axis_mm
    assert grown.ablations[0].long_axis_mm == setting.long_axis_mm
    ahead = np.dot(np.subtract(grown.tip_ras_mm, grown.ablations[0].center_ras_mm), grown.direction)
    assert ahead == pytest.approx(setting.center_to_tip_mm)
    before, after = (plan_robustness(ball(), plan, device=device).mean_chance for plan in (start, (grown,)))
    assert after > before + 0.1


def test_ablations_drawn_too_close_are_drawn_apart():
    long = np.array([1.0, 0.0, 0.0])
    close = probe_at(np.zeros(3), 34.0, 34.0, direction=long, apart_mm=6.0)
    (apart,) = robust_placement(oblong(), [close])
    places = [row.center_ras_mm[0] for row in apart.ablations]
    assert abs(places[1] - places[0]) > 8.0
    # The tip stays as far ahead of the deepest zone.
    ahead = apart.tip_ras_mm[0] - max(places)
    assert ahead == pytest.approx(close.tip_ras_mm[0] - max(row.center_ras_mm[0] for row in close.ablations))
