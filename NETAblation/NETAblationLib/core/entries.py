"""The whole skin rated as the entry to one target: where a straight probe may go in, how good that is, and why not.

Every point of the skin within reach is a path of its own, judged by the same rules as a single one
(:mod:`.path_checks`). The best entries are ranked so that they differ: no two of them lie within an angle of each
other, seen from the target. Colors on the skin for the choice of a path are an idea of Seitel et al., Med Phys 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from . import frames
from .access import BETWEEN_NODES, STEP_MM, Surroundings
from .access_rules import LIMITS
from .errors import GeometryError, InputError
from .path_checks import VERDICT_OF_PLACE, VERDICT_WORDS, Paths, Verdict, explain, measure_paths
from .surfaces import Surface

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: The scale of the colors: a value for what is no entry, one for what is blocked, then the score, in steps of this.
OFF_VALUE, BLOCKED_VALUE, COLOR_STEP = -0.15, -0.05, 0.1
#: Gray where no probe can enter at all, red where its path is blocked, then from amber to green by score. User-set.
ENTRY_COLORS = (
    (0.62, 0.62, 0.64),
    (0.79, 0.10, 0.12),
    *((1.00 - 0.10 * n, 0.76 - 0.015 * n, 0.15 + 0.022 * n) for n in range(10)),
)
#: The arrays of a skin's surface, by what they hold.
SCORE_ARRAY, VERDICT_ARRAY, STRUCTURE_ARRAY, LENGTH_ARRAY = "Entry score", "Verdict", "Obstacle", "Length (mm)"

_OFF = (Verdict.TABLE_SIDE, Verdict.COVERED, Verdict.CUT, Verdict.NO_GO, Verdict.TOO_LONG)

#: Every so many samples of a path are looked at first, and paths that are judged at a time: for speed only.
_COARSE, _AT_ONCE = 4, 4000


@dataclass(frozen=True)
class Entry:
    """One of the best entries: its point of the skin and the tip in RAS mm, and what speaks for and against it."""

    entry_ras_mm: tuple[float, float, float]
    target_ras_mm: tuple[float, float, float]
    score: float
    length_mm: float
    nearest: str
    room_mm: float
    liver_before_lesion_mm: float
    capsule_angle_degrees: float | None
    axial_angle_degrees: float
    soft: Mapping[str, float]
    explanations: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "entry_ras_mm": list(self.entry_ras_mm),
            "target_ras_mm": list(self.target_ras_mm),
            "score": self.score,
            "length_mm": self.length_mm,
            "nearest": self.nearest,
            "room_mm": self.room_mm,
            "liver_before_lesion_mm": self.liver_before_lesion_mm,
            "capsule_angle_degrees": self.capsule_angle_degrees,
            "axial_angle_degrees": self.axial_angle_degrees,
            "soft": dict(self.soft),
            "explanations": dict(self.explanations),
        }


@dataclass(frozen=True)
class SkinRating:
    """Each of the N points of the skin as an entry to one target.

    `verdict` (N,) holds values of :class:`~.path_checks.Verdict`; where that is OBSTACLE, `structure` (N,) is the
    number of the obstacle in the surroundings, from 1, where it is NO_GO that of the area; `score` (N,) is from 0 to
    1, 0 where the point is not free; `length_mm` (N,) runs from the point to the tip, `beyond_mm` behind the target.
    """

    surroundings: Surroundings
    target_ras_mm: tuple[float, float, float]
    longest_mm: float
    beyond_mm: float
    verdict: npt.NDArray[np.uint8]
    structure: npt.NDArray[np.uint16]
    score: FloatArray
    length_mm: FloatArray

    @property
    def surface(self) -> Surface:
        """The skin."""
        return self.surroundings.skin.surface

    @cached_property
    def is_free(self) -> BoolArray:
        """Where a probe may enter, (N,)."""
        return np.asarray(self.verdict == Verdict.FREE)

    def reason(self, point: int) -> str:
        """Why a point of the skin is no entry, in words."""
        verdict = Verdict(int(self.verdict[point]))
        return self._words(verdict, int(self.structure[point]))

    def point_values(self) -> dict[str, npt.NDArray[Any]]:
        """What a colored skin shows, (N,) each: score (OFF_VALUE, BLOCKED_VALUE where not free), verdict and so on."""
        value = np.where(np.isin(self.verdict, _OFF), OFF_VALUE, np.where(self.is_free, self.score, BLOCKED_VALUE))
        return {
            SCORE_ARRAY: value.astype(np.float32),
            VERDICT_ARRAY: self.verdict,
            STRUCTURE_ARRAY: self.structure,
            LENGTH_ARRAY: self.length_mm.astype(np.float32),
        }

    def save_surface(self, path: Path) -> None:
        """Write the colored skin as a VTK file (.vtp) in RAS mm; raises InputError where it cannot be written."""
        data, values = self.surface.to_polydata(), self.point_values()
        step = np.floor((values[SCORE_ARRAY] + 2 * COLOR_STEP) / COLOR_STEP + 1e-4).astype(int)
        colors = np.array(ENTRY_COLORS)[np.clip(step, 0, len(ENTRY_COLORS) - 1)]
        for name, array in {**values, "Color": np.round(255 * colors).astype(np.uint8)}.items():
            points = numpy_to_vtk(np.ascontiguousarray(array), deep=True)
            points.SetName(name)
            data.GetPointData().AddArray(points)
        data.GetPointData().SetActiveScalars("Color")
        writer = vtk.vtkXMLPolyDataWriter()
        writer.SetFileName(str(path))
        writer.SetInputData(data)
        if not writer.Write():
            raise InputError(f"{path}: cannot be written")

    @property
    def counts(self) -> dict[str, int]:
        """How many points of the skin each reason keeps from being an entry, the most first."""
        found: dict[str, int] = {}
        for verdict in np.unique(self.verdict[~self.is_free]):
            numbers, counts = np.unique(self.structure[self.verdict == verdict], return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                found[self._words(Verdict(int(verdict)), number)] = count
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def best(self, count: int, apart_degrees: float = LIMITS["entries_apart"].number) -> tuple[Entry, ...]:
        """The best entries, at least so far apart as seen from the target, the best first; fewer where none is left."""
        points = self.surface.points_ras_mm
        target = np.array(self.target_ras_mm)
        left = np.flatnonzero(self.is_free)
        outward = points[left] - target
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        # Equal scores are told apart by their place, so that the order does not hang on that of the points.
        order = np.lexsort((*np.round(points[left], 3).T, -np.round(self.score[left], 9)))
        left, outward = left[order], outward[order]
        chosen: list[int] = []
        while len(left) and len(chosen) < count:
            chosen.append(int(left[0]))
            differs = outward @ outward[0] < np.cos(np.radians(apart_degrees))
            left, outward = left[differs], outward[differs]
        return self._entries(np.array(chosen, dtype=np.int64))

    def to_dict(self, count: int) -> dict[str, Any]:
        """As JSON, with so many of the best entries."""
        return {
            "target_ras_mm": list(self.target_ras_mm),
            "beyond_mm": self.beyond_mm,
            "longest_mm": self.longest_mm,
            "least_liver_mm": self.surroundings.least_liver_mm,
            "skin_points": len(self.verdict),
            "free_points": int(self.is_free.sum()),
            "blocked": self.counts,
            "is_table_seen": self.surroundings.skin.is_table_seen,
            "clearances_mm": {name: clearance for name, (_, clearance) in self.surroundings.obstacles.items()},
            "entries": [entry.to_dict() for entry in self.best(count)],
        }

    def _words(self, verdict: Verdict, number: int) -> str:
        if verdict == Verdict.OBSTACLE:
            return self.surroundings.names[number - 1]
        if verdict == Verdict.NO_GO:
            return f"no-go area '{self.surroundings.no_go_names[number - 1]}'"
        return VERDICT_WORDS[verdict]

    def _entries(self, points: IntArray) -> tuple[Entry, ...]:
        if not len(points):
            return ()
        starts = self.surface.points_ras_mm[points]
        tips = _tips(starts, np.array(self.target_ras_mm), self.beyond_mm)
        paths = measure_paths(self.surroundings, starts, tips, longest_mm=self.longest_mm, skin_points=points)
        soft = paths.soft(self.longest_mm, self.surroundings.least_liver_mm)
        return tuple(self._entry(row, starts[row], tips[row], paths, soft, point) for row, point in enumerate(points))

    def _entry(
        self,
        row: int,
        start: FloatArray,
        tip: FloatArray,
        paths: Paths,
        soft: Mapping[str, FloatArray],
        point: int,
    ) -> Entry:
        number = int(paths.nearest[row])
        nearest = self.surroundings.names[number - 1] if number else ""
        capsule = float(paths.capsule_degrees[row])
        return Entry(
            entry_ras_mm=_point(start),
            target_ras_mm=_point(tip),
            score=float(self.score[point]),
            length_mm=float(paths.length_mm[row]),
            nearest=nearest,
            room_mm=float(paths.room_mm[row]),
            liver_before_lesion_mm=float(paths.liver_before_mm[row]),
            capsule_angle_degrees=None if np.isnan(capsule) else capsule,
            axial_angle_degrees=float(paths.axial_degrees[row]),
            soft={name: float(values[row]) for name, values in soft.items()},
            explanations=explain(paths, row, nearest, self.longest_mm),
        )


def rate_entries(
    surroundings: Surroundings,
    target_ras_mm: npt.ArrayLike | None = None,
    *,
    longest_mm: float,
    beyond_mm: float = 0.0,
) -> SkinRating:
    """Rate every point of the skin as the entry of a straight probe to a target (3,), by default the tumor's center.

    The tip ends `beyond_mm` behind the target, along the path; no path is longer than `longest_mm`. Raises
    InputError for lengths that cannot be, GeometryError for a target outside of the liver.
    """
    if not (np.isfinite(longest_mm) and longest_mm > 0):
        raise InputError(f"length of the probe: {longest_mm} mm is not above 0")
    if not (np.isfinite(beyond_mm) and 0 <= beyond_mm < longest_mm):
        raise InputError(f"tip beyond the target: {beyond_mm} mm is not from 0 to the {longest_mm:g} mm of the probe")
    target = surroundings.tumor_center_ras_mm if target_ras_mm is None else np.asarray(target_ras_mm, np.float64)
    (target,) = frames.as_points(np.reshape(target, (1, -1)), "target")
    if surroundings.sample(surroundings.liver, target[None], 0.0)[0] < 0.5:
        raise GeometryError(f"target {np.round(target, 1).tolist()}: lies outside of the liver; check it and its frame")
    skin = surroundings.skin
    points = skin.surface.points_ras_mm
    length = np.linalg.norm(points - target, axis=1) + beyond_mm
    verdict = np.zeros(len(points), dtype=np.uint8)
    structure = np.zeros(len(points), dtype=np.uint16)
    score = np.zeros(len(points))
    verdict[length > longest_mm] = Verdict.TOO_LONG
    for place, value in VERDICT_OF_PLACE.items():
        verdict[skin.places == place] = value
    structure[verdict == Verdict.NO_GO] = surroundings.no_go[verdict == Verdict.NO_GO]
    left = np.flatnonzero((verdict == Verdict.FREE) & (length > beyond_mm + STEP_MM))
    left = left[np.argsort(length[left], kind="stable")]
    for start in range(0, len(left), _AT_ONCE):
        rows = left[start : start + _AT_ONCE]
        tips = _tips(points[rows], target, beyond_mm)
        rows, tips = _not_blocked(surroundings, rows, tips, verdict, structure)
        if not len(rows):
            continue
        paths = measure_paths(surroundings, points[rows], tips, longest_mm=longest_mm, skin_points=rows)
        verdict[rows] = paths.verdict
        structure[rows] = np.where(paths.verdict == Verdict.OBSTACLE, paths.nearest, 0)
        score[rows] = paths.score(longest_mm, surroundings.least_liver_mm)
    return SkinRating(surroundings, _point(target), longest_mm, beyond_mm, verdict, structure, score, length)


def _not_blocked(
    surroundings: Surroundings,
    rows: IntArray,
    tips: FloatArray,
    verdict: npt.NDArray[np.uint8],
    structure: npt.NDArray[np.uint16],
) -> tuple[IntArray, FloatArray]:
    """The paths that a few of their samples do not yet show to be blocked; of the others the obstacle is noted."""
    ways = surroundings.skin.surface.points_ras_mm[rows] - tips
    length = np.linalg.norm(ways, axis=1)
    back = np.arange(0.0, float(length.max()), _COARSE * STEP_MM)
    nodes = surroundings.nodes(tips[:, None] + back[:, None] * (ways / length[:, None])[:, None])
    room = np.where(back < length[:, None], surroundings.rooms_at(nodes), np.float32(np.inf))
    worst = room.argmin(axis=1)
    each = np.arange(len(rows))
    # Between nodes the room may be larger than at the nearest one, but by no more than this.
    blocked = room[each, worst] < -BETWEEN_NODES * surroundings.spacing_mm
    number = surroundings.nearest_at(nodes[each, worst])
    blocked &= number > 0
    verdict[rows[blocked]] = Verdict.OBSTACLE
    structure[rows[blocked]] = number[blocked]
    return rows[~blocked], tips[~blocked]


def _tips(starts: FloatArray, target: FloatArray, beyond_mm: float) -> FloatArray:
    """Where paths (N, 3) to a target end, so far behind it."""
    inward = target - starts
    return target + beyond_mm * inward / np.linalg.norm(inward, axis=1, keepdims=True)


def _point(values: FloatArray) -> tuple[float, float, float]:
    r, a, s = np.asarray(values, dtype=np.float64).tolist()
    return r, a, s
