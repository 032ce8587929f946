"""The margin that was achieved against the one that the plan predicted, at each point of the tumor's surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .margin_directions import directions_from_center, side_words, weighted_percentile
from .probes import Probe, zone_signed_distance_mm
from .surfaces import Surface

FloatArray = npt.NDArray[np.float64]

#: Shortfalls behind the plan, in mm, of which the share of the surface is told. User-set.
SHORTFALLS_MM = (0.0, 2.0, 5.0)
#: Percentile of the difference beside its least value, which one stray point can set. User-set.
_LOW_PERCENTILE = 5.0


@dataclass(frozen=True)
class PlanComparison:
    """Predicted and achieved margin of one tumor.

    `predicted_mm` and `difference_mm` (achieved less predicted, so below 0 where the zone fell short of the plan) have
    shape (N,), one for each point of the tumor's surface. The other figures refer to the evaluable surface, weighted
    by area, and are None where there is none: the least difference is at `worst_location_ras_mm` (3,), on the side
    `worst_side` of the tumor; `short_by_fraction` is the share that fell short of the plan by more than some mm.
    """

    predicted_mm: FloatArray
    difference_mm: FloatArray
    predicted_mam_mm: float | None
    achieved_mam_mm: float | None
    mean_difference_mm: float | None
    mean_absolute_difference_mm: float | None
    p05_difference_mm: float | None
    worst_difference_mm: float | None
    worst_location_ras_mm: tuple[float, float, float] | None
    worst_side: str
    short_by_fraction: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """The summary, ready for JSON; the values at the points are not part of it."""
        names = set(self.__dataclass_fields__) - {"predicted_mm", "difference_mm"}
        document = {name: getattr(self, name) for name in self.__dataclass_fields__ if name in names}
        place = self.worst_location_ras_mm
        return {**document, "worst_location_ras_mm": None if place is None else list(place)}


def margin_against_plan(
    surface: Surface,
    signed_margin_mm: npt.ArrayLike,
    probes: Sequence[Probe],
    is_evaluable: npt.ArrayLike | None = None,
) -> PlanComparison:
    """Compare the measured margin with that of the zones which a plan expects.

    `surface` is the tumor's in the planning frame, in which `probes` lie too; `signed_margin_mm` and `is_evaluable`
    (all by default) have shape (N,). Raises InputError for arrays of another length or that are not finite,
    GeometryError where no probe has an ablation.
    """
    achieved = np.asarray(signed_margin_mm, dtype=np.float64)
    count = len(surface.points_ras_mm)
    evaluable = np.ones(count, dtype=bool) if is_evaluable is None else np.asarray(is_evaluable, dtype=bool)
    if achieved.shape != (count,) or evaluable.shape != (count,) or not np.isfinite(achieved).all():
        raise InputError(
            f"margin against plan: {count} surface points need as many finite margins and flags, got shapes "
            f"{achieved.shape} and {evaluable.shape}"
        )
    predicted = -zone_signed_distance_mm(probes, surface.points_ras_mm)
    difference = achieved - predicted
    chosen = np.flatnonzero(evaluable & (surface.point_areas_mm2 > 0))
    if not len(chosen):
        nothing: dict[str, float | None] = {f"{limit:g}": None for limit in SHORTFALLS_MM}
        return PlanComparison(predicted, difference, None, None, None, None, None, None, None, "", nothing)
    weights = surface.point_areas_mm2[chosen] / surface.point_areas_mm2[chosen].sum()
    values = difference[chosen]
    worst = int(chosen[np.argmin(values)])
    x, y, z = surface.points_ras_mm[worst].tolist()
    return PlanComparison(
        predicted,
        difference,
        predicted_mam_mm=float(predicted[chosen].min()),
        achieved_mam_mm=float(achieved[chosen].min()),
        mean_difference_mm=float(weights @ values),
        mean_absolute_difference_mm=float(weights @ np.abs(values)),
        p05_difference_mm=weighted_percentile(values, weights, _LOW_PERCENTILE),
        worst_difference_mm=float(values.min()),
        worst_location_ras_mm=(x, y, z),
        worst_side=side_words(directions_from_center(surface)[worst]),
        short_by_fraction={f"{limit:g}": float(weights[values < -limit].sum()) for limit in SHORTFALLS_MM},
    )


def plan_margin_text(document: dict[str, Any]) -> str:
    """What :meth:`PlanComparison.to_dict` says, for people."""
    if document["worst_difference_mm"] is None:
        return "against the plan: not evaluable"
    mean, worst = document["mean_difference_mm"], document["worst_difference_mm"]
    return (
        f"against the plan: MAM {document['achieved_mam_mm']:.1f} mm of {document['predicted_mam_mm']:.1f} mm "
        f"predicted, mean difference {mean:+.1f} mm, worst {worst:+.1f} mm {document['worst_side']}"
    )
