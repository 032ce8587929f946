"""How one straight path from the skin to a tip fares: free, tight or blocked, why, and how good it is.

Many paths are measured at once (:func:`measure_paths`), which serves the colors of the whole skin
(:mod:`.entries`); one path is judged in words (:func:`check_path`) while a probe is dragged, or for
a probe that the user has placed and locked: it is kept, and what it does wrong is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from . import frames
from .access import FAR_MM, PLACE_WORDS, STEP_MM, Surroundings, liver_before
from .access_rules import LIMITS, SOFT_RULES
from .errors import GeometryError
from .skin import Place

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

FREE, TIGHT, BLOCKED = "free", "tight", "blocked"

#: Near the skin, in mm, a path need not lie in the body yet: the skin lies between nodes. User-set.
_SKIN_MM = 3.0
#: A path leaves the liver where it is out of it over more than this, in mm: less is noise of the mask. User-set.
_GAP_MM = 2.0
#: An entry deeper than this beneath the skin is none, in mm. User-set.
_BENEATH_MM = 5.0


class Verdict(IntEnum):
    """Why a path is not free; the first reason that applies, in this order."""

    FREE = 0
    TABLE_SIDE = 1
    COVERED = 2
    CUT = 3
    NO_GO = 4
    TOO_LONG = 5
    OBSTACLE = 6
    LEAVES_BODY = 7
    TIP_OUTSIDE_LIVER = 8
    DIRECT_PUNCTURE = 9


#: Each verdict in words.
VERDICT_WORDS = {
    Verdict.FREE: "free",
    Verdict.TABLE_SIDE: PLACE_WORDS[Place.TABLE_SIDE],
    Verdict.COVERED: PLACE_WORDS[Place.COVERED],
    Verdict.CUT: PLACE_WORDS[Place.CUT],
    Verdict.NO_GO: "a no-go area",
    Verdict.TOO_LONG: "longer than the shaft",
    Verdict.OBSTACLE: "an obstacle",
    Verdict.LEAVES_BODY: "leaves the body on its way",
    Verdict.TIP_OUTSIDE_LIVER: "the tip lies outside of the liver",
    Verdict.DIRECT_PUNCTURE: "too little liver before the lesion",
}
#: What a place of the skin means for a path that enters there.
VERDICT_OF_PLACE = {
    Place.TABLE_SIDE: Verdict.TABLE_SIDE,
    Place.COVERED: Verdict.COVERED,
    Place.CUT: Verdict.CUT,
    Place.NO_GO: Verdict.NO_GO,
}


@dataclass(frozen=True)
class Paths:
    """What was measured on N paths from the skin to their tips; all arrays (N,).

    `verdict` holds values of :class:`Verdict`; `room_mm` is the least distance to an obstacle less its clearance, up
    to FAR_MM, and `nearest` the number of that obstacle (from 1, 0 where all are far); `meets_lesion` says whether
    the path reaches the tumor, `liver_before_mm` the liver before it, or up to the tip. Angles are in degrees:
    to the capsule where the path enters the liver (90 at right angles, NaN where it does not) and to the axial plane.
    `fissures` counts how often it leaves the liver to enter it again, `lobe_borders` where it crosses lobes.
    """

    verdict: IntArray
    length_mm: FloatArray
    room_mm: FloatArray
    nearest: IntArray
    meets_lesion: BoolArray
    liver_before_mm: FloatArray
    capsule_degrees: FloatArray
    axial_degrees: FloatArray
    fissures: IntArray
    lobe_borders: IntArray

    @property
    def is_free(self) -> BoolArray:
        """Which paths break no hard rule."""
        return np.asarray(self.verdict == Verdict.FREE)

    def soft(self, longest_mm: float, least_liver_mm: float) -> dict[str, FloatArray]:
        """Each soft rule from 0 to 1, 1 best, by its name in SOFT_RULES; (N,) each."""
        flat, best_liver = LIMITS["flat_angle"].number, LIMITS["best_liver"].number
        capsule = (np.nan_to_num(self.capsule_degrees) - flat) / (90.0 - flat)
        liver = (self.liver_before_mm - least_liver_mm) / max(best_liver - least_liver_mm, STEP_MM)
        values = {
            "length": 1.0 - self.length_mm / longest_mm,
            "room": self.room_mm / LIMITS["best_room"].number,
            "capsule_angle": capsule,
            "axial_angle": 1.0 - self.axial_degrees / 90.0,
            "fissures": LIMITS["crossing"].number ** (self.fissures + self.lobe_borders),
            "liver_before_lesion": np.where(self.meets_lesion, liver, 1.0),
        }
        return {name: np.clip(value, 0.0, 1.0) for name, value in values.items()}

    def score(self, longest_mm: float, least_liver_mm: float) -> FloatArray:
        """The mean of the soft rules by their weights, 0 where a path is not free; (N,)."""
        soft = self.soft(longest_mm, least_liver_mm)
        total = sum(SOFT_RULES[name].number for name in soft)
        mean = sum(SOFT_RULES[name].number * value for name, value in soft.items()) / total
        return np.where(self.is_free, mean, 0.0)


@dataclass(frozen=True)
class PathCheck:
    """One path judged: `grade` is "free" (green), "tight" (amber) or "blocked" (red), `reasons` say why in words.

    `nearest` names the structure with the least room, with `room_mm` beyond its clearance (negative: too near);
    it is "" where all are at least FAR_MM away. `length_mm` runs from the skin to the tip; `soft` holds each rule
    from 0 to 1, 1 best, and `explanations` the sentence for each; `score` is their weighted mean, 0 when blocked.
    """

    is_free: bool
    grade: str
    reasons: tuple[str, ...]
    nearest: str
    room_mm: float
    length_mm: float
    liver_before_lesion_mm: float
    capsule_angle_degrees: float | None
    axial_angle_degrees: float
    score: float
    soft: Mapping[str, float]
    explanations: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "is_free": self.is_free,
            "grade": self.grade,
            "reasons": list(self.reasons),
            "nearest": self.nearest,
            "room_mm": self.room_mm,
            "length_mm": self.length_mm,
            "liver_before_lesion_mm": self.liver_before_lesion_mm,
            "capsule_angle_degrees": self.capsule_angle_degrees,
            "axial_angle_degrees": self.axial_angle_degrees,
            "score": self.score,
            "soft": dict(self.soft),
            "explanations": dict(self.explanations),
        }


def measure_paths(
    surroundings: Surroundings,
    entries_ras_mm: FloatArray,
    tips_ras_mm: FloatArray,
    *,
    longest_mm: float,
    skin_points: IntArray | None = None,
) -> Paths:
    """Measure paths from entries (N, 3) on the skin to tips (N, 3).

    `skin_points` (N,) are the numbers of the skin's points that the entries are or lie next to; found where not
    given. Entries and tips must differ.
    """
    ways = entries_ras_mm - tips_ras_mm
    length = np.linalg.norm(ways, axis=1)
    outward = ways / length[:, None]
    if skin_points is None:
        skin_points = surroundings.places_at(entries_ras_mm)
    back = np.arange(0.0, float(length.max()), STEP_MM)
    points = tips_ras_mm[:, None] + back[:, None] * outward[:, None]
    on_path = back < length[:, None]
    nodes = surroundings.nodes(points)
    in_body, in_liver, in_tumor = surroundings.are_in(points, nodes)
    in_liver &= on_path
    room, where = surroundings.least_room_mm(points, nodes, on_path)
    rows = np.arange(len(points))
    nearest = np.where(room < FAR_MM, surroundings.nearest_at(nodes[rows, where]), 0).astype(np.int64)
    contact, before = liver_before(in_liver, in_tumor & on_path)
    leaves = (~in_body & (back < length[:, None] - _SKIN_MM)).any(axis=1)
    checks = {
        Verdict.DIRECT_PUNCTURE: (contact >= 0) & (before < surroundings.least_liver_mm),
        Verdict.TIP_OUTSIDE_LIVER: ~in_liver[:, 0],
        Verdict.LEAVES_BODY: leaves,
        Verdict.OBSTACLE: room <= 0,
        Verdict.TOO_LONG: length > longest_mm,
        **{value: surroundings.skin.places[skin_points] == place for place, value in VERDICT_OF_PLACE.items()},
    }
    verdict = np.zeros(len(points), dtype=np.int64)
    for value, applies in checks.items():
        verdict[applies] = value
    first = np.where(in_liver, np.arange(len(back)), -1).max(axis=1)
    normals = surroundings.capsule_normals(points[rows, np.maximum(first, 0)])
    capsule = np.degrees(np.arcsin(np.minimum(np.abs((normals * outward).sum(axis=1)), 1.0)))
    lobes = np.where(in_liver, surroundings.lobes_at(nodes), 0)
    return Paths(
        verdict=verdict,
        length_mm=length,
        room_mm=room,
        nearest=nearest,
        meets_lesion=contact >= 0,
        liver_before_mm=before,
        capsule_degrees=np.where(first >= 0, capsule, np.nan),
        axial_degrees=np.degrees(np.arcsin(np.minimum(np.abs(outward[:, 2]), 1.0))),
        fissures=_gaps(in_liver),
        lobe_borders=((lobes[:, 1:] != lobes[:, :-1]) & (lobes[:, 1:] > 0) & (lobes[:, :-1] > 0)).sum(axis=1),
    )


def _gaps(in_liver: BoolArray) -> IntArray:
    """How often lines (N, S) leave the liver and enter it again, over more than _GAP_MM."""
    count = in_liver.shape[1]
    samples = np.arange(count)
    last = np.maximum.accumulate(np.where(in_liver, samples, -1), axis=1)[:, :-1]
    enters = in_liver[:, 1:] & ~in_liver[:, :-1] & (last >= 0)
    return np.asarray((enters & ((samples[1:] - last - 1) * STEP_MM > _GAP_MM)).sum(axis=1))


def check_path(
    surroundings: Surroundings, entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike, *, longest_mm: float
) -> PathCheck:
    """Judge the path of one probe from an entry (3,) to a tip (3,), which may lie anywhere.

    The probe enters the skin where its line, followed back from the tip, first leaves the body: `length_mm` is
    measured from there, also where the entry lies in front of the skin or beneath it. Raises GeometryError for
    points that are not finite or the same.
    """
    entry, tip = frames.as_points(np.array([entry_ras_mm, tip_ras_mm], dtype=np.float64), "path")
    given_mm = float(np.linalg.norm(entry - tip))
    if given_mm < STEP_MM:
        raise GeometryError(f"path: entry and tip are {given_mm:.2g} mm apart; a path needs a direction")
    outward = (entry - tip) / given_mm
    skin_mm = _skin_mm(surroundings, tip, outward)
    length = given_mm if skin_mm is None else skin_mm
    start = tip + length * outward
    paths = measure_paths(surroundings, start[None], tip[None], longest_mm=longest_mm)
    reasons = _place_reasons(surroundings, start, skin_mm, given_mm, outward, tip)
    reasons += _structure_reasons(surroundings, tip, outward, length)
    if length > longest_mm:
        reasons.append(f"{length:.0f} mm from the skin to the tip, longer than the {longest_mm:g} mm of the shaft")
    verdict = Verdict(int(paths.verdict[0]))
    if surroundings.sample(surroundings.liver, tip[None], 0.0)[0] < 0.5:
        reasons.append("the tip lies outside of the liver")
    before = float(paths.liver_before_mm[0])
    if paths.meets_lesion[0] and before < surroundings.least_liver_mm:
        least = surroundings.least_liver_mm
        reasons.append(f"{before:.0f} mm of liver before the lesion, {least:g} mm are asked for: a direct puncture")
    is_free = verdict == Verdict.FREE and not reasons
    room = float(paths.room_mm[0])
    nearest = surroundings.names[int(paths.nearest[0]) - 1] if paths.nearest[0] else ""
    capsule = None if np.isnan(paths.capsule_degrees[0]) else float(paths.capsule_degrees[0])
    grade = FREE if is_free else BLOCKED
    if is_free:
        if room < LIMITS["tight_room"].number:
            reasons.append(f"{nearest}: only {room:.1f} mm more than its clearance")
        if capsule is not None and capsule < LIMITS["flat_angle"].number:
            reasons.append(f"only {capsule:.0f} degrees to the capsule where it enters the liver")
        grade = TIGHT if reasons else FREE
    soft = {name: float(value[0]) for name, value in paths.soft(longest_mm, surroundings.least_liver_mm).items()}
    score = float(paths.score(longest_mm, surroundings.least_liver_mm)[0]) if is_free else 0.0
    return PathCheck(
        is_free=is_free,
        grade=grade,
        reasons=tuple(reasons),
        nearest=nearest,
        room_mm=room,
        length_mm=length,
        liver_before_lesion_mm=before,
        capsule_angle_degrees=capsule,
        axial_angle_degrees=float(paths.axial_degrees[0]),
        score=score,
        soft=soft,
        explanations=explain(paths, 0, nearest, longest_mm),
    )


def explain(paths: Paths, row: int, nearest: str, longest_mm: float) -> dict[str, str]:
    """What each soft rule saw on one of the paths, in words, by the rule's name."""
    room, capsule = float(paths.room_mm[row]), float(paths.capsule_degrees[row])
    fissures, borders = int(paths.fissures[row]), int(paths.lobe_borders[row])
    near = f"nearest is {nearest}, {room:.1f} mm beyond its clearance" if nearest else f"nothing within {FAR_MM:g} mm"
    before = f"{paths.liver_before_mm[row]:.0f} mm of liver before the lesion"
    return {
        "length": f"{paths.length_mm[row]:.0f} mm of the {longest_mm:g} mm of the shaft",
        "room": near,
        "capsule_angle": "does not enter the liver" if np.isnan(capsule) else f"{capsule:.0f} degrees to the capsule",
        "axial_angle": f"{paths.axial_degrees[row]:.0f} degrees to the axial plane",
        "fissures": f"leaves the liver {fissures} time(s) on its way, crosses {borders} border(s) of lobes",
        "liver_before_lesion": before if paths.meets_lesion[row] else "does not meet the lesion",
    }


def _skin_mm(surroundings: Surroundings, tip: FloatArray, outward: FloatArray) -> float | None:
    """How far from the tip its line first leaves the body; None where it does not within the image."""
    reach = float(np.linalg.norm(np.multiply(surroundings.body.shape, surroundings.spacing_mm)))
    back = np.arange(0.0, reach, STEP_MM)
    points = tip + back[:, None] * outward
    in_body = surroundings.are_in(points, surroundings.nodes(points))[0]
    outside = ~in_body
    outside[0] &= len(back) < 2  # a tip at the skin itself
    if not outside.any():
        return None
    first = int(outside.argmax())
    return float(back[first] - 0.5 * STEP_MM) if surroundings.holds(points[first][None])[0] else None


def _place_reasons(
    surroundings: Surroundings,
    start: FloatArray,
    skin_mm: float | None,
    given_mm: float,
    outward: FloatArray,
    tip: FloatArray,
) -> list[str]:
    """What is wrong with where a path enters."""
    if skin_mm is None:
        return ["does not leave the body through skin within the image"]
    reasons = []
    (point,) = surroundings.places_at(start[None])
    place = Place(int(surroundings.skin.places[point]))
    if place == Place.NO_GO:
        reasons.append(f"enters in the no-go area '{surroundings.no_go_names[int(surroundings.no_go[point]) - 1]}'")
    elif place != Place.FREE:
        reasons.append(f"enters through {PLACE_WORDS[place]}")
    if skin_mm - given_mm > _BENEATH_MM:
        reasons.append(f"the entry lies {skin_mm - given_mm:.0f} mm beneath the skin")
    beyond = np.arange(skin_mm + _SKIN_MM, given_mm - _SKIN_MM, STEP_MM)
    points = tip + beyond[:, None] * outward
    if surroundings.are_in(points, surroundings.nodes(points))[0].any():
        reasons.append("passes another part of the body before it enters")
    return reasons


def _structure_reasons(surroundings: Surroundings, tip: FloatArray, outward: FloatArray, length: float) -> list[str]:
    """Every structure that a path comes too near to, the worst first."""
    points = tip + np.arange(0.0, length, STEP_MM)[:, None] * outward
    room = surroundings.sample(surroundings.room_mm, points, FAR_MM)
    numbers = surroundings.nearest_at(surroundings.nodes(points))
    reasons = []
    for number in np.unique(numbers[(room <= 0) & (numbers > 0)]):
        name = surroundings.names[number - 1]
        least = float(room[numbers == number].min())
        clearance = surroundings.obstacles[name][1]
        away = least + clearance
        words = f"through {name}" if away <= 0 else f"{name}: {away:.1f} mm away, needs {clearance:g} mm"
        reasons.append((least, words))
    return [words for _, words in sorted(reasons)]
