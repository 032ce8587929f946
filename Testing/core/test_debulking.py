"""Debulking against brute force, and the estimate of probes against coverings of a disk."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from NETAblationLib.core.debulking import estimate_probes, plan_debulking
from NETAblationLib.core.errors import InputError


def brute_force(volumes, costs, goal):
    """Least cost of any subset that reaches the goal, and the most volume at that cost; None where none does."""
    names, total = list(volumes), math.fsum(volumes.values())
    best = None
    for size in range(len(names) + 1):
        for chosen in itertools.combinations(names, size):
            volume = math.fsum(volumes[name] for name in chosen)
            if all(name in costs for name in chosen) and volume >= goal * total * (1 - 1e-9):
                found = (round(math.fsum(costs[name] for name in chosen), 9), -volume)
                best = found if best is None or found < best else best
    return best


def drawn(seed, count, *, whole, alike=False):
    rng = np.random.default_rng(seed)
    volumes = rng.integers(1, 6, count).astype(float) if alike else rng.lognormal(1.0, 1.2, count)
    costs = rng.integers(1, 6, count).astype(float) if whole else volumes ** (2 / 3) * rng.uniform(0.7, 1.3, count)
    names = [f"lesion-{n}" for n in range(count)]
    return dict(zip(names, volumes.tolist(), strict=True)), dict(zip(names, costs.tolist(), strict=True))


@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([0.3, 0.7, 0.9, 1.0]), st.booleans(), st.booleans())
def test_the_choice_is_the_cheapest_of_all_subsets(seed, count, goal, whole, alike):
    volumes, costs = drawn(seed, count, whole=whole, alike=alike)
    excluded = {"lesion-0": "at the hilum"} if seed % 3 == 0 and count > 1 else {}
    able = {name: cost for name, cost in costs.items() if name not in excluded}
    found = plan_debulking(volumes, able, goal, not_ablatable=excluded)
    best = brute_force(volumes, able, goal)
    assert found.is_reached == (best is not None)
    if best is not None:
        assert found.total_cost == pytest.approx(best[0], rel=1e-8)
        assert found.reached_fraction >= goal * (1 - 1e-9)
        if whole:
            assert sum(step.volume_ml for step in found.steps) == pytest.approx(-best[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_twelve_lesions_against_all_4096_choices(seed):
    volumes, costs = drawn(seed, 12, whole=seed != 1)
    best = brute_force(volumes, costs, 0.9)
    assert plan_debulking(volumes, costs, 0.9).total_cost == pytest.approx(best[0], rel=1e-8)


@pytest.mark.parametrize(("seed", "power"), [(0, 2 / 3), (1, 2 / 3), (2, 0.0), (3, 1.0), (4, 1.0)])
def test_fifty_lesions_against_integer_programming(seed, power):
    """Costs as of liver lost, alike for all, and nearly or wholly the volumes themselves, which are the hard ones."""
    rng = np.random.default_rng(seed)
    volume = rng.lognormal(0.5, 1.3, 50)
    price = volume**power * (rng.uniform(0.98, 1.02, 50) if seed < 4 else 1.0)
    names = [f"{n:02d}" for n in range(50)]
    found = plan_debulking(
        dict(zip(names, volume.tolist(), strict=True)), dict(zip(names, price.tolist(), strict=True)), 0.7
    )
    exact = optimize.milp(
        price,
        constraints=optimize.LinearConstraint(volume[None], 0.7 * volume.sum(), np.inf),
        integrality=np.ones(50, dtype=int),
        bounds=optimize.Bounds(0, 1),
        options={"mip_rel_gap": 0.0, "time_limit": 4.0},  # proving the hardest case takes half a minute
    )
    assert exact.mip_dual_bound * (1 - 3e-6) <= found.total_cost <= exact.fun * (1 + 3e-6)
    assert exact.mip_gap < 1e-3
    assert found.reached_fraction >= 0.7 * (1 - 1e-9)


def test_greedy_would_be_dearer():
    """The best ratio first takes a and then needs b as well; b and c alone are cheaper."""
    volumes, costs = {"a": 6.0, "b": 5.0, "c": 5.0}, {"a": 2.0, "b": 2.0, "c": 2.0}
    found = plan_debulking(volumes, costs, 0.65)
    assert found.total_cost == 4.0
    volumes = {"a": 60.0, "b": 50.0, "c": 40.0}
    found = plan_debulking(volumes, {"a": 3.0, "b": 2.6, "c": 2.3}, 0.6)
    assert {step.name for step in found.steps} == {"b", "c"}


@pytest.mark.parametrize("goal", [0.7, 0.3, 0.9])
def test_a_goal_met_exactly_is_met(goal):
    """7 of 10 ml is 70 %, whatever rounding says; a part in a million less is not."""
    tenth = {f"lesion-{n}": 0.1 for n in range(10)}
    found = plan_debulking(tenth, dict.fromkeys(tenth, 1.0), goal)
    assert found.total_cost == round(10 * goal)
    short = {"a": 7.0 - 7e-6, "b": 3.0 + 7e-6}
    assert plan_debulking(short, {"a": 1.0, "b": 5.0}, 0.7).total_cost == 6.0


def test_of_equally_cheap_choices_the_larger_counts_and_order_does_not_matter():
    volumes, costs = {"a": 5.0, "b": 6.0, "c": 5.5, "d": 3.0}, dict.fromkeys("abcd", 1.0)
    expected = plan_debulking(volumes, costs, 0.5)
    assert [step.name for step in expected.steps] == ["b", "c"]
    same = {"a": 4.0, "b": 4.0, "c": 4.0}
    once = plan_debulking(same, dict.fromkeys(same, 1.0), 0.6)
    for order in itertools.permutations("abcd"):
        assert plan_debulking({n: volumes[n] for n in order}, {n: costs[n] for n in order}, 0.5) == expected
    for order in itertools.permutations("abc"):
        assert plan_debulking({n: same[n] for n in order}, dict.fromkeys(order, 1.0), 0.6) == once


def test_the_order_is_the_largest_gain_for_its_cost_first():
    volumes, costs = {"a": 10.0, "b": 9.0, "c": 1.0, "d": 2.0}, {"a": 5.0, "b": 3.0, "c": 0.0, "d": 1.0}
    found = plan_debulking(volumes, costs, 1.0)
    assert [step.name for step in found.steps] == ["c", "b", "a", "d"]
    np.testing.assert_allclose([step.reached_fraction for step in found.steps], np.cumsum([1, 9, 10, 2]) / 22)
    assert found.left == ()


def test_what_cannot_be_reached_says_how_far_and_why():
    volumes = {"big": 80.0, "mid": 15.0, "small": 5.0}
    found = plan_debulking(volumes, {"mid": 2, "small": 1}, 0.7, not_ablatable={"big": "at the main bile duct"})
    assert not found.is_reached
    assert found.reachable_fraction == found.reached_fraction == pytest.approx(0.2)
    assert "20.0 %" in found.reason
    assert "big (80.0 %): at the main bile duct" in found.reason
    assert [step.name for step in found.steps] == ["mid", "small"]
    assert found.to_dict()["excluded"] == {"big": "at the main bile duct"}
    none = plan_debulking(volumes, {}, 0.7, not_ablatable=dict.fromkeys(volumes, "too near"))
    assert (none.steps, none.reached_fraction, none.is_reached) == ((), 0.0, False)


@pytest.mark.parametrize(
    ("volumes", "costs", "goal", "excluded", "message"),
    [
        ({}, {}, 0.7, {}, "no lesion"),
        ({"a": 1.0}, {"a": 1.0}, 70, {}, "goal 70"),
        ({"a": 1.0}, {"a": 1.0}, 0, {}, "goal 0"),
        ({"a": 1.0}, {"a": 1.0}, math.nan, {}, "goal nan"),
        ({"a": 0.0}, {"a": 1.0}, 0.7, {}, "'a' has a volume"),
        ({"a": 1.0}, {"a": -1.0}, 0.7, {}, "'a' costs"),
        ({"a": 1.0}, {"a": math.inf}, 0.7, {}, "'a' costs"),
        ({"a": 1.0}, {}, 0.7, {}, "'a' has no cost"),
        ({"a": 1.0}, {"a": 1.0, "z": 1.0}, 0.7, {}, "no lesion z"),
        ({"a": 1.0}, {"a": 1.0}, 0.7, {"z": "far"}, "no lesion z"),
        ({"a": 1.0}, {}, 0.7, {"a": " "}, "without a reason"),
    ],
)
def test_bad_input_is_refused(volumes, costs, goal, excluded, message):
    with pytest.raises(InputError, match=message):
        plan_debulking(volumes, costs, goal, not_ablatable=excluded)


# probes


#: Centers of five disks of radius 1, found by minimization, that cover more than any ring does.
FIVE = np.array([(1.3424, 0.5322), (0.6376, -0.7789), (-0.5471, -0.8874), (-0.0498, 0.968), (-1.2499, 0.3371)])


def covers(centers, radius):
    """Whether disks of radius 1 cover one of that radius, on a dense grid of points."""
    axis = np.linspace(-radius, radius, 91)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    points = points[np.linalg.norm(points, axis=1) <= radius]
    return bool((np.linalg.norm(points[:, None] - centers, axis=2).min(axis=1) <= 1 + 1e-9).all())


def ring(count, radius):
    angle = 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.mark.parametrize(("count", "in_ring"), [(3, 3), (4, 4), (7, 6), (8, 7), (9, 8), (10, 9)])
def test_that_many_parallel_probes_cover_the_cross_section(count, in_ring):
    """As large as the estimate lets it be, a disk is covered by a ring, or a ring and one in its middle."""
    short_mm, margin_mm = 2.0, 0.1
    fits = max(d for d in np.linspace(0.05, 4.9, 971) if estimate_probes(d, short_mm, margin_mm) <= count)
    radius = (fits + 2 * margin_mm) / short_mm
    middle = [np.zeros((1, 2))] if in_ring < count else []
    places = [np.concatenate([*middle, ring(in_ring, r)]) for r in np.linspace(0.3, 2.2, 96)]
    assert any(covers(place, 0.985 * radius) for place in places)
    assert not any(covers(place, 1.03 * radius) for place in places)


def test_five_cover_what_the_estimate_says():
    fits = max(d for d in np.linspace(2.0, 4.0, 2001) if estimate_probes(d, 2.0, 0.0) <= 5)
    assert covers(FIVE, 0.985 * fits / 2)
    assert fits / 2 > (1 + math.sqrt(5)) / 2  # what a ring of five covers
    assert not covers(FIVE, 1.02 * fits / 2)


def test_one_probe_is_enough_up_to_the_short_axis_less_twice_the_margin():
    assert estimate_probes(26.0, 36.0, 5.0) == 1
    assert estimate_probes(26.1, 36.0, 5.0) == 3
    counts = [estimate_probes(d, 36.0, 5.0) for d in np.linspace(5, 200, 400)]
    assert counts == sorted(counts)


def test_the_estimate_goes_on_as_the_plane_is_covered():
    """19 disks of the hexagonal covering cover a disk of radius sqrt(13); many cover little more than their share."""
    assert estimate_probes(2 * math.sqrt(13), 2.0, 0.0) == 19
    assert estimate_probes(200.0, 2.0, 0.0) == pytest.approx(100**2 * 2 * math.pi / math.sqrt(27), rel=0.01)


@pytest.mark.parametrize("lengths", [(0, 36, 5), (20, -1, 5), (20, 36, -1), (math.nan, 36, 5), (20, 36, math.inf)])
def test_lengths_that_cannot_be_are_refused(lengths):
    with pytest.raises(InputError, match="probes"):
        estimate_probes(*lengths)
