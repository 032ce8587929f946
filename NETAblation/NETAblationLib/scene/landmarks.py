"""Pairs of landmarks: the same places, such as vessel forks, pointed at before and after ablation.

Two lists of points, paired by their order. The list before lies in the world, the list after under the fusion's
transform: its own coordinates are those of the image after, whatever the fusion, and each point is drawn where the
fusion puts it. So the distance between the two points of a pair is what the fusion is off there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from ..core import frames
from ..core.errors import InputError
from . import nodes, transforms
from .cases import CaseScene
from .provenance import Provenance, first_with_role, nodes_with_role

BEFORE, AFTER = "before", "after"
SIDES = (BEFORE, AFTER)
LANDMARK_ROLES = {BEFORE: "landmarks_before", AFTER: "landmarks_after"}

#: Colors of the points before and after (also of the livers' outlines), told apart by the color blind too. User-set.
SIDE_COLORS = {BEFORE: (0.35, 0.70, 0.90), AFTER: (0.90, 0.60, 0.00)}
_POINT_SIZE_MM = 3.0


@dataclass(frozen=True)
class LandmarkPair:
    """One pair: its places in the frames before and after (3,), RAS mm, None where not placed, and what is left, mm.

    `residual_mm` is the distance in the frame after between the point after and where the fusion takes the point
    before; None for half a pair. Without a fusion both frames count as one.
    """

    before_ras_mm: npt.NDArray[np.float64] | None
    after_ras_mm: npt.NDArray[np.float64] | None
    residual_mm: float | None


class LandmarkPairs:
    """The landmark pairs of a case; the scene holds them."""

    def __init__(self, case: CaseScene) -> None:
        """Look at the landmarks of `case`."""
        self._case = case

    def node(self, side: str) -> Any:
        """The list of points of a side (`SIDES`), made where it is missing.

        Raises InputError for the side after where the case has no image after ablation.
        """
        found = first_with_role(LANDMARK_ROLES[side])
        if found is not None:
            return found
        if side == AFTER and self._case.post_volume is None:
            raise InputError("choose the image after ablation before landmarks are placed in it")
        node = nodes.create_node(
            "vtkMRMLMarkupsFiducialNode", f"Landmarks {side}", Provenance(LANDMARK_ROLES[side], "placed by hand")
        )
        node.SetControlPointLabelFormat("%d" if side == BEFORE else "%d'")
        if side == AFTER:
            transforms.put_under(node, self._case.transform)
        display = node.GetDisplayNode()
        display.SetSelectedColor(SIDE_COLORS[side])
        display.SetColor(SIDE_COLORS[side])
        display.SetGlyphTypeFromString("Cross2D" if side == BEFORE else "CrossDot2D")
        display.SetUseGlyphScale(False)
        display.SetGlyphSize(_POINT_SIZE_MM)
        return node

    @staticmethod
    def nodes() -> list[Any]:
        """The lists of points that there are."""
        return [node for role in LANDMARK_ROLES.values() for node in nodes_with_role(role)]

    def pairs(self) -> list[LandmarkPair]:
        """All pairs in order, half ones too."""
        before, after = (self._positions(side) for side in SIDES)
        return [
            self._pair(
                before[number] if number < len(before) else None,
                after[number] if number < len(after) else None,
            )
            for number in range(max(len(before), len(after)))
        ]

    def complete(self) -> tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], ...]:
        """The points (before, after) of all whole pairs, RAS mm, each in its own frame."""
        return tuple(
            (pair.before_ras_mm, pair.after_ras_mm)
            for pair in self.pairs()
            if pair.before_ras_mm is not None and pair.after_ras_mm is not None
        )

    def next_side(self) -> str:
        """Where the next point belongs: after once the pair has its point before."""
        counts = [len(self._positions(side)) for side in SIDES]
        return AFTER if counts[0] > counts[1] else BEFORE

    def place(self, side: str, point_ras_mm: npt.ArrayLike) -> None:
        """Add a point that was pointed at in the views (world, RAS mm) to a side."""
        (point,) = frames.as_points(np.asarray([point_ras_mm], float), "landmark")
        self.node(side).AddControlPointWorld(vtk.vtkVector3d(*point.tolist()))

    def remove(self, number: int) -> None:
        """Remove the pair of this index; what does not exist of it is left alone."""
        for node in self.nodes():
            if 0 <= number < node.GetNumberOfControlPoints():
                node.RemoveNthControlPoint(number)

    def show(self, number: int) -> npt.NDArray[np.float64] | None:
        """Where the pair is in the world, (3,) RAS mm: the point before, else the one after; None where neither is."""
        for node in self.nodes():
            if 0 <= number < node.GetNumberOfControlPoints():
                return np.array(node.GetNthControlPointPositionWorld(number))
        return None

    def _positions(self, side: str) -> list[npt.NDArray[np.float64] | None]:
        """Points of a side in its own frame; None for one that is not placed yet (such as while placing)."""
        found: list[npt.NDArray[np.float64] | None] = []
        for node in nodes_with_role(LANDMARK_ROLES[side]):
            for number in range(node.GetNumberOfControlPoints()):
                status = node.GetNthControlPointPositionStatus(number)
                defined = status == slicer.vtkMRMLMarkupsNode.PositionDefined
                found.append(np.array(node.GetNthControlPointPosition(number)) if defined else None)
        while found and found[-1] is None:
            found.pop()
        return found

    def _pair(self, before: npt.NDArray[np.float64] | None, after: npt.NDArray[np.float64] | None) -> LandmarkPair:
        if before is None or after is None:
            return LandmarkPair(before, after, None)
        there = before
        if self._case.transform is not None:
            there = transforms.map_points(self._case.transform, [before], to_parent=False)[0]
        return LandmarkPair(before, after, float(np.linalg.norm(there - after)))


def mean_residual_mm(pairs: Sequence[LandmarkPair]) -> float | None:
    """The mean distance that is left over all whole pairs; None without one."""
    known = [pair.residual_mm for pair in pairs if pair.residual_mm is not None]
    return float(np.mean(known)) if known else None
