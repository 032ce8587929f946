"""Which side of a tumor has too thin a margin: the signed margin by direction, in the patient's terms.

Each point of the tumor's surface belongs to the side on which it lies as seen from the center of mass of its own part
of the tumor: anterior, posterior, left, right, cranial or caudal, whichever its direction points along most. All
figures are weighted by area, and refer to the surface that is evaluable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .residuals import direction_word
from .surfaces import Surface, parts_of

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: The sides by axis (R, A, S), each as negative and positive end.
SIDES = (("left", "right"), ("posterior", "anterior"), ("caudal", "cranial"))
#: Area-weighted percentile of each side beside its least margin, which one stray point can set. User-set.
SIDE_PERCENTILE = 5.0


def margin_by_direction(
    surface: Surface, signed_margin_mm: npt.ArrayLike, is_evaluable: npt.ArrayLike | None = None
) -> dict[str, Any]:
    """Least and 5th percentile of the signed margin, and shares of the surface, for each side of the tumor.

    `signed_margin_mm` and `is_evaluable` (all by default) have shape (N,), one for each point of `surface`, which is in
    RAS mm. Returns, ready for JSON: "sides" by name, each with "area_fraction" (of the whole surface),
    "evaluable_fraction" (of the side), "least_mm", "p05_mm", "mean_mm", "below_0", "from_0_to_5" and "at_least_5"
    (shares of the side's evaluable surface; None where it has none); and of the thinnest place "thinnest" in words
    such as "anterior-cranial", "thinnest_mm" and "thinnest_direction_ras" (3,), "" and None where nothing is evaluable.
    Raises InputError for arrays of another length or that are not finite.
    """
    margin = np.asarray(signed_margin_mm, dtype=np.float64)
    count = len(surface.points_ras_mm)
    evaluable = np.ones(count, dtype=bool) if is_evaluable is None else np.asarray(is_evaluable, dtype=bool)
    if margin.shape != (count,) or evaluable.shape != (count,) or not np.isfinite(margin).all():
        raise InputError(
            f"margin by direction: {count} surface points need as many finite margins and flags, got shapes "
            f"{margin.shape} and {evaluable.shape}"
        )
    directions = directions_from_center(surface)
    axis = np.abs(directions).argmax(axis=1)
    is_positive = np.take_along_axis(directions, axis[:, None], axis=1)[:, 0] > 0
    areas = surface.point_areas_mm2
    sides = {
        name: _side(margin, areas, (axis == row) & (is_positive == bool(end)), evaluable)
        for row, names in enumerate(SIDES)
        for end, name in enumerate(names)
    }
    document: dict[str, Any] = {"thinnest": "", "thinnest_mm": None, "thinnest_direction_ras": None, "sides": sides}
    measured = np.flatnonzero(evaluable & (areas > 0))
    if len(measured):
        worst = int(measured[np.argmin(margin[measured])])
        document["thinnest"] = side_words(directions[worst])
        document["thinnest_mm"] = float(margin[worst])
        document["thinnest_direction_ras"] = directions[worst].tolist()
    return document


def direction_text(document: Mapping[str, Any]) -> str:
    """What :func:`margin_by_direction` found, for people: "thinnest: anterior-cranial, 1.2 mm"."""
    if document.get("thinnest_mm") is None:
        return "thinnest side: not evaluable"
    return f"thinnest: {document['thinnest']}, {document['thinnest_mm']:.1f} mm"


def side_words(direction_ras: npt.ArrayLike) -> str:
    """The sides that a unit vector (3,) in RAS points to, the strongest first: "anterior-cranial"."""
    return direction_word(direction_ras, SIDES)


def directions_from_center(surface: Surface) -> FloatArray:
    """Unit vectors (N, 3) to the points of a surface from the center of mass of the part that each belongs to."""
    directions = np.zeros_like(surface.points_ras_mm)
    for points, part in parts_of(surface):
        directions[points] = part.points_ras_mm - part.centroid_ras_mm
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.divide(directions, length, out=np.zeros_like(directions), where=length > 0)


def _side(margin: FloatArray, areas: FloatArray, on_side: BoolArray, evaluable: BoolArray) -> dict[str, float | None]:
    chosen = on_side & evaluable & (areas > 0)
    total, side, known = (float(areas[which].sum()) for which in (slice(None), on_side, chosen))
    shares = {"area_fraction": side / total, "evaluable_fraction": known / side if side > 0 else None}
    names = ("least_mm", "p05_mm", "mean_mm", "below_0", "from_0_to_5", "at_least_5")
    if not known > 0:
        return {**shares, **dict.fromkeys(names)}
    values, weights = margin[chosen], areas[chosen] / known
    below_0, below_5 = float(weights[values < 0].sum()), float(weights[values < 5].sum())
    figures = (
        float(values.min()),
        weighted_percentile(values, weights, SIDE_PERCENTILE),
        float(weights @ values),
        below_0,
        below_5 - below_0,
        1.0 - below_5,
    )
    return {**shares, **dict(zip(names, figures, strict=True))}


def weighted_percentile(values: FloatArray, weights: FloatArray, percent: float) -> float:
    """The value below which `percent` of the weight lies; each value at the middle of its weight."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return float(np.interp(percent / 100.0 * cumulated[-1], cumulated - weights[order] / 2, values[order]))
