"""What to think of a fusion: good, doubtful or not usable, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .fusion_quality import LiverAgreement
from .fusion_vessels import VesselAgreement

GOOD, DOUBTFUL, NOT_USABLE = "good", "doubtful", "not usable"
_ORDER = (GOOD, DOUBTFUL, NOT_USABLE)

#: Up to the first a fusion is good, above the second no margin can be read from it: 5 mm is the margin
#: that is asked for, half of it leaves room for the rest. In mm; user-set.
_BOUND_LIMITS_MM = (2.5, 5.0)
#: The same for the mean error at landmarks, in mm. Liver fusions of trials have 1.6 mm on average; user-set.
_LANDMARK_LIMITS_MM = (2.0, 5.0)
#: Fewer landmarks than this measure too little to overrule what the images say. User-set.
_MIN_LANDMARKS = 3
#: Below the first a fusion is not called good, below the second not usable. No published source; user-set.
#: Registrations of the liver that are in clinical use reach a Dice of 0.88 and more (PMC4428967; Elhawary et
#: al., Acad Radiol 2010;17:1334: 0.97).
LEAST_CORRELATION = 0.35
_CORRELATION_LIMITS, _DICE_LIMITS = (LEAST_CORRELATION, 0.2), (0.9, 0.75)
#: Above the first not good, above the second not usable: mean distance of the livers in mm. User-set.
_SURFACE_LIMITS_MM = (3.0, 6.0)
#: Mean distance between a point and where there and back takes it, in mm: two patients with livers that
#: look alike had 3 to 16 mm, pairs of one patient rarely more than 2. User-set.
_INVERSE_LIMITS_MM = (2.0, 3.0)
#: Median distance of the vessels' middles in mm: a fusion this far off at vessels is off at the lesion. User-set,
#: like the limits of the bound.
_VESSEL_LIMITS_MM = (2.5, 5.0)
#: A Jacobian below these leaves tissue this much smaller; and the share that can be compared. User-set.
_JACOBIAN_LIMITS, _USABLE_LIMITS = (0.3, 0.0), (0.5, 0.2)


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts, of which there has to be one."""
    return max(verdicts, key=_ORDER.index)


@dataclass(frozen=True)
class Findings:
    """What the verdict rests on; see :class:`~.fusion.FusionResult` for the figures."""

    region: str
    bound_mm: float
    is_near_lesion: bool
    correlation: float
    jacobian_min: float
    usable_fraction: float
    agreement: LiverAgreement | None = None
    landmark_mean_mm: float | None = None
    landmark_count: int = 0
    reason_for_rigid: str | None = None
    inverse_mm: float = 0.0
    vessels: VesselAgreement | None = None


@dataclass(frozen=True)
class Judgment:
    """The verdict, its reasons, and those of them that warn."""

    verdict: str = GOOD
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def with_limit(self, level: int, text: str) -> Judgment:
        """At least as bad as `level` (0 good, 1 doubtful, 2 not usable), for the reason `text`."""
        verdict = worst([self.verdict, _ORDER[level]])
        warnings = (*self.warnings, text) if level else self.warnings
        return replace(self, verdict=verdict, reasons=(*self.reasons, text), warnings=warnings)


def judge(found: Findings) -> Judgment:
    """The verdict: the worst of what is found. Enough landmarks replace the estimated error."""
    judgment = _judge_error(found)
    if found.region == "body":
        text = (
            "No liver was given: the whole body was registered, which is less exact at the liver; the error is guessed."
        )
        judgment = judgment.with_limit(1, text)
    if found.reason_for_rigid is not None:
        text = f"The deformable part failed ({found.reason_for_rigid}): the rigid part alone is kept."
        judgment = judgment.with_limit(1, text)
    if level := _below(found.correlation, _CORRELATION_LIMITS):
        judgment = judgment.with_limit(
            level,
            f"The images agree poorly after fusion (local correlation {found.correlation:.2f}, below "
            f"{_CORRELATION_LIMITS[0]}): check that both show the same patient and region.",
        )
    if level := _above(found.inverse_mm, _INVERSE_LIMITS_MM):
        judgment = judgment.with_limit(
            level,
            f"There and back, points miss where they came from by {found.inverse_mm:.1f} mm (mean; above "
            f"{_INVERSE_LIMITS_MM[0]:g} mm): check that both images show the same patient and region.",
        )
    if found.agreement is not None and (level := _below(found.agreement.dice, _DICE_LIMITS)):
        judgment = judgment.with_limit(
            level,
            f"The livers overlap poorly after fusion (Dice {found.agreement.dice:.2f}, below {_DICE_LIMITS[0]}): check "
            "both liver masks and the fusion.",
        )
    if found.agreement is not None and (level := _above(found.agreement.surface_distance_mm, _SURFACE_LIMITS_MM)):
        judgment = judgment.with_limit(
            level,
            f"The liver surfaces lie {found.agreement.surface_distance_mm:.1f} mm apart after fusion (mean; above "
            f"{_SURFACE_LIMITS_MM[0]:g} mm): check both liver masks and the fusion.",
        )
    if found.vessels is not None:
        level = _above(found.vessels.centerline_distance_mm, _VESSEL_LIMITS_MM)
        judgment = judgment.with_limit(
            level,
            f"The middles of the vessels lie {found.vessels.centerline_distance_mm:.1f} mm apart after fusion (median; "
            f"good up to {_VESSEL_LIMITS_MM[0]:g} mm), their Dice is {found.vessels.dice:.2f}.",
        )
    if level := _below(found.jacobian_min, _JACOBIAN_LIMITS):
        judgment = judgment.with_limit(
            level,
            f"The deformation shrinks some tissue to {100 * max(found.jacobian_min, 0):.0f} % of its volume: check "
            "the fusion there.",
        )
    if level := _below(found.usable_fraction, _USABLE_LIMITS):
        judgment = judgment.with_limit(
            level,
            f"Only {100 * found.usable_fraction:.0f} % of the {found.region} can be compared (the rest is excluded or "
            "lies outside of the moving image).",
        )
    return judgment


def _judge_error(found: Findings) -> Judgment:
    if found.landmark_mean_mm is not None and found.landmark_count >= _MIN_LANDMARKS:
        level = _above(found.landmark_mean_mm, _LANDMARK_LIMITS_MM)
        return Judgment().with_limit(
            level,
            f"The error at {found.landmark_count} landmarks, each left out in turn, is {found.landmark_mean_mm:.1f} mm "
            f"(mean; good up to {_LANDMARK_LIMITS_MM[0]:g} mm).",
        )
    level = _above(found.bound_mm, _BOUND_LIMITS_MM)
    place = "near the lesion" if found.is_near_lesion else f"in the {found.region}"
    return Judgment().with_limit(
        level,
        f"The mean error {place} is estimated to be below {found.bound_mm:.1f} mm with a probability of 90 % (good up "
        f"to {_BOUND_LIMITS_MM[0]:g} mm, no use above {_BOUND_LIMITS_MM[1]:g} mm).",
    )


def _below(value: float, limits: tuple[float, float]) -> int:
    return 2 if value < limits[1] else int(value < limits[0])


def _above(value: float, limits: tuple[float, float]) -> int:
    return 2 if value > limits[1] else int(value > limits[0])
