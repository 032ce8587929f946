"""The true margin's distribution: against analytic answers, and what has to hold for any."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import optimize, stats

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.margin_uncertainty import SOURCES, MarginDistribution, MarginErrors, margin_distribution
from NETAblationLib.core.surfaces import Surface, mask_surface
from support import shapes

NOTHING = MarginErrors(registration_mm=0.0, tumor_segmentation_sd_mm=0.0, zone_segmentation_sd_mm=0.0)
TUMOR_MM, ZONE_MM = 10.0, 15.0


def ball(center_ras_mm, radius_mm: float, spacing_mm: float = 2.0) -> Surface:
    center = np.asarray(center_ras_mm, float)
    reach = radius_mm + 6
    image = shapes.grid(tuple(center - reach), tuple(center + reach), (spacing_mm,) * 3)
    found = mask_surface(shapes.mask_of(shapes.sphere(center, radius_mm), image))
    # Onto the sphere itself, so that answers are exact.
    directions = found.points_ras_mm - center
    return Surface(center + radius_mm * directions / np.linalg.norm(directions, axis=1, keepdims=True), found.triangles)


def spheres(shift_mm=(0.0, 0.0, 0.0), zone_mm: float = ZONE_MM, center=(0.0, 0.0, 0.0)):
    """Tumor, exact margins and zone."""
    middle = np.asarray(center, float)
    tumor, zone = ball(middle, TUMOR_MM), ball(middle + shift_mm, zone_mm)
    return tumor, zone_mm - np.linalg.norm(tumor.points_ras_mm - middle - shift_mm, axis=1), zone


def found_for(errors: MarginErrors, shift_mm=(0.0, 0.0, 0.0), **options) -> MarginDistribution:
    tumor, margin, zone = spheres(shift_mm)
    return margin_distribution(tumor, margin, zone, errors=errors, **options)


def width(found: MarginDistribution) -> float:
    return found.mam_mm["p95"] - found.mam_mm["p05"]


def test_without_errors_the_measured_margin_is_the_true_one():
    found = found_for(NOTHING, (2.0, 0.0, 0.0))
    for value in found.mam_mm.values():
        assert value == pytest.approx(3.0, abs=0.05)
    assert found.largest_source is None
    assert found.chances["0"].fraction == 1.0
    assert found.chances["5"].fraction == 0.0
    # Of the shell of 10 mm the zone covers the part between both balls.
    exact = (ZONE_MM**3 - TUMOR_MM**3) / (20.0**3 - TUMOR_MM**3)
    assert found.shell_coverage_fraction["10"]["p50"] == pytest.approx(exact, abs=0.04)


def test_a_shift_of_a_concentric_zone_takes_its_length_off_the_margin():
    """A shift by d makes the MAM smaller by |d|, which follows a Maxwell distribution of the mean asked for."""
    errors = replace(NOTHING, registration_mm=2.0, registration_length_mm=1e4)
    found = found_for(errors, draws=3000)
    # Concentric: a measured MAM of 5 mm has lost |d|, 2 mm in the mean, which is given back.
    sd = 2.0 / (2 * np.sqrt(2 / np.pi))
    lengths = np.linalg.norm(np.random.default_rng(1).normal(0, sd, (200_000, 3)), axis=1)
    assert found.mam_mm["p50"] == pytest.approx(5.0 + np.median(lengths), abs=0.15)
    # The interval is 15 % wider than the lengths spread.
    assert width(found) == pytest.approx(1.15 * np.ptp(np.percentile(lengths, [5, 95])), rel=0.06)
    assert found.largest_source == "registration"


def test_a_shift_of_an_eccentric_zone_acts_along_one_axis_only():
    """Far off center the least margin is at one place, and changes by the shift's part along the way there."""
    tumor, _, zone = spheres()
    margin = 5.0 - 100.0 * (1 + tumor.point_normals[:, 0])  # by far the least at +R
    errors = replace(NOTHING, registration_mm=2.0, registration_length_mm=1e4)
    found = margin_distribution(tumor, margin, zone, errors=errors, draws=3000)
    sd = 2.0 / (2 * np.sqrt(2 / np.pi))
    assert found.mam_mm["p50"] == pytest.approx(margin.min(), abs=0.1)
    assert width(found) == pytest.approx(1.15 * 2 * 1.645 * sd, rel=0.06)


def test_the_middle_is_nearer_to_the_truth_than_the_measured_margin():
    """Concentric spheres drawn with errors, where a minimum is most biased; a part of the bias is found."""
    errors = replace(NOTHING, tumor_segmentation_sd_mm=1.0)
    tumor, margin, zone = spheres()
    rng = np.random.default_rng(2)
    measured, middle = [], []
    for seed in range(9):
        waves, phases = rng.normal(size=(3, 200)) / 10.0, rng.uniform(0, 2 * np.pi, 200)
        error = np.sqrt(2 / 200) * np.cos(tumor.points_ras_mm @ waves + phases) @ rng.normal(size=200)
        drawn = Surface(tumor.points_ras_mm + error[:, None] * tumor.point_normals, tumor.triangles)
        found = margin_distribution(drawn, margin - error, zone, errors=errors, seed=seed, draws=200)
        measured.append((margin - error).min() - 5.0)
        middle.append(found.mam_mm["p50"] - 5.0)
    assert np.mean(measured) < -1.0
    assert np.mean(measured) + 0.4 < np.mean(middle) < 0.0


@pytest.mark.parametrize("name", ["registration_mm", "tumor_segmentation_sd_mm", "zone_segmentation_sd_mm"])
def test_larger_errors_widen_the_interval(name):
    widths = [width(found_for(replace(NOTHING, **{name: value}), (1.5, 0, 0))) for value in (0.0, 0.5, 1.0, 2.0)]
    assert widths == sorted(widths)
    assert widths[0] < 0.05 < widths[1]


def test_an_error_that_is_itself_not_sure_widens_the_interval():
    """A shift along one axis, its size log-normal: the interval is that of the product, by its distribution."""
    known = replace(NOTHING, registration_mm=1.0, registration_length_mm=1e4)
    unsure = replace(known, registration_bound_90_mm=1.9)
    log_sd = np.log(1.9) / stats.norm.ppf(0.9)
    times = np.exp(log_sd * stats.norm.ppf((np.arange(2000) + 0.5) / 2000))
    tail = optimize.brentq(lambda bound: stats.norm.sf(bound / times).mean() - 0.05, 0.1, 10)
    sure = replace(known, registration_bound_90_mm=1.0)
    tumor, _, zone = spheres()
    margin = 5.0 - 100.0 * (1 + tumor.point_normals[:, 0])  # by far the least at +R
    widths = [
        width(margin_distribution(tumor, margin, zone, errors=errors, draws=5000)) for errors in (known, unsure, sure)
    ]
    assert widths[1] / widths[0] == pytest.approx(tail / stats.norm.ppf(0.95), rel=0.05)
    assert widths[2] == widths[0]


def test_voxels_widen_the_interval():
    assert width(found_for(replace(NOTHING, resolution_mm=2.0))) > width(found_for(NOTHING)) + 0.1


def test_the_largest_source_is_named():
    found = found_for(replace(NOTHING, registration_mm=0.4, zone_segmentation_sd_mm=2.0))
    assert found.largest_source == "zone_segmentation"
    assert set(found.width_without_mm) == set(SOURCES)
    assert found.width_without_mm["zone_segmentation"] < width(found)


def test_chances_fall_with_the_threshold_and_rise_with_the_zone():
    small, large = found_for(MarginErrors()), None
    tumor, margin, zone = spheres(zone_mm=18.0)
    large = margin_distribution(tumor, margin, zone)
    for found in (small, large):
        chances = [found.chances[name].fraction for name in ("0", "3", "5")]
        assert chances == sorted(chances, reverse=True)
    assert all(large.chances[name].fraction >= small.chances[name].fraction for name in small.chances)


def test_same_seed_same_numbers_and_others_alike():
    first, again, other = (found_for(MarginErrors(), (1.0, 0, 0), seed=seed) for seed in (3, 3, 4))
    assert first.to_dict() == again.to_dict()
    assert first.mam_mm != other.mam_mm
    assert first.mam_mm["p05"] == pytest.approx(other.mam_mm["p05"], abs=0.6)


def test_the_place_of_the_lesion_does_not_matter():
    tumor, margin, zone = spheres((1.0, 0, 0))
    turn, shift = shapes.rotation((1, 2, 3), 40.0), np.array([50.0, -80.0, 120.0])
    moved = [Surface(s.points_ras_mm @ turn.T + shift, s.triangles) for s in (tumor, zone)]
    here = margin_distribution(tumor, margin, zone)
    there = margin_distribution(moved[0], margin, moved[1])
    for name, value in here.mam_mm.items():
        # Rounding breaks ties between nodes otherwise: then other draws count.
        assert there.mam_mm[name] == pytest.approx(value, abs=0.4)


def test_only_the_evaluable_surface_counts():
    tumor, margin, zone = spheres((3.0, 0.0, 0.0))
    away = tumor.points_ras_mm[:, 0] > 0
    found = margin_distribution(tumor, margin, zone, is_evaluable=away, errors=NOTHING)
    assert found.mam_mm["p50"] == pytest.approx(margin[away].min(), abs=0.1)
    nothing = margin_distribution(tumor, margin, zone, is_evaluable=np.zeros(len(margin), dtype=bool))
    assert nothing.mam_mm is None
    assert nothing.chances == {}
    assert nothing.largest_source is None
    assert nothing.shell_coverage_fraction["5"] is not None


def test_shells_are_cut_to_the_liver():
    tumor, margin, zone = spheres((4.0, 0.0, 0.0))
    image = shapes.grid((-40.0,) * 3, (40.0,) * 3, (2.0,) * 3)
    half = shapes.mask_of(shapes.half_space((0, 0, 0), (-1, 0, 0)), image)  # only the side the zone is shifted to
    whole = margin_distribution(tumor, margin, zone, errors=NOTHING)
    cut = margin_distribution(tumor, margin, zone, errors=NOTHING, liver=half)
    assert cut.shell_coverage_fraction["5"]["p50"] > whole.shell_coverage_fraction["5"]["p50"] + 0.05


def test_coverage_is_less_sure_with_larger_errors():
    def spread(errors: MarginErrors) -> float:
        row = found_for(errors).shell_coverage_fraction["10"]
        assert 0 <= row["p05"] <= row["p50"] <= row["p95"] <= 1
        return row["p95"] - row["p05"]

    assert spread(NOTHING) < 0.02 < spread(MarginErrors())


def test_the_document_holds_the_errors():
    errors = MarginErrors(registration_mm=1.0)
    document = found_for(errors).to_dict()
    assert document["errors"] == asdict(errors)
    assert set(document["probability_mam_at_least_mm"]) == {"0", "3", "5"}
    assert set(document["shell_coverage_fraction"]) == {"3", "5", "6", "10"}


@pytest.mark.parametrize(
    "options",
    [
        {"registration_mm": -1.0},
        {"tumor_segmentation_sd_mm": np.nan},
        {"zone_segmentation_sd_mm": 31.0},
        {"segmentation_length_mm": 0.0},
        {"registration_bound_90_mm": 0.5},
        {"registration_bound_90_mm": np.nan},
        {"registration_length_mm": np.inf},
    ],
)
def test_bad_errors_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        MarginErrors(**options)


def test_bad_input_is_refused():
    tumor, margin, zone = spheres()
    with pytest.raises(InputError, match="as many"):
        margin_distribution(tumor, margin[:-1], zone)
    with pytest.raises(InputError, match="as many"):
        margin_distribution(tumor, margin, zone, is_evaluable=[True])
    with pytest.raises(InputError, match="finite"):
        margin_distribution(tumor, np.full_like(margin, np.nan), zone)
    with pytest.raises(InputError, match="draws"):
        margin_distribution(tumor, margin, zone, draws=5)
    with pytest.raises(InputError, match="seed"):
        margin_distribution(tumor, margin, zone, seed=-1)
    with pytest.raises(InputError, match="no surface"):
        margin_distribution(tumor, margin, Surface(np.zeros((1, 3)), np.empty((0, 3), int)))
