"""The middle of vessels: points along them, each with its radius and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .errors import InputError

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]


class VesselKind(IntEnum):
    """Which tree a vessel belongs to; the values are the labels of a vessel mask.

    Arteries come with masks that the user has: the segmentation here does not tell them from veins.
    """

    PORTAL = 1
    HEPATIC = 2
    ARTERIAL = 3
    UNKNOWN = 4


@dataclass(frozen=True)
class Centerlines:
    """Points along the middle of vessels, close to each other (a millimeter or less).

    points_ras_mm: (N, 3), mm. radius_mm: (N,), that of the vessel there. kind: (N,), values of
    `VesselKind`. step_mm: (N,), the length of vessel that each point stands for. Raises InputError
    when they do not fit together or hold what is no number.
    """

    points_ras_mm: FloatArray
    radius_mm: FloatArray
    kind: IntArray
    step_mm: FloatArray

    def __post_init__(self) -> None:
        """Check shapes and values, and keep copies that cannot be changed."""
        points = np.array(self.points_ras_mm, dtype=float).reshape(-1, 3)
        radius = np.array(self.radius_mm, dtype=float).reshape(-1)
        kind = np.array(self.kind, dtype=np.int64).reshape(-1)
        step = np.array(self.step_mm, dtype=float).reshape(-1)
        if not len(points) == len(radius) == len(kind) == len(step):
            raise InputError("centerlines: points, radii, kinds and steps are not equally many")
        if not (np.isfinite(points).all() and np.isfinite(radius).all() and (radius > 0).all()):
            raise InputError("centerlines: a point is not finite or a radius not above 0")
        if not (np.isfinite(step).all() and (step >= 0).all()):
            raise InputError("centerlines: a step is not a length")
        if not np.isin(kind, list(VesselKind)).all():
            raise InputError(f"centerlines: a kind is not one of {[int(value) for value in VesselKind]}")
        for name, array in (("points_ras_mm", points), ("radius_mm", radius), ("kind", kind), ("step_mm", step)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def joined(cls, parts: Sequence[Centerlines]) -> Centerlines:
        """All points of several centerlines; of none, none."""
        if not parts:
            return cls(np.empty((0, 3)), np.empty(0), np.empty(0, np.int64), np.empty(0))
        return cls(
            np.concatenate([part.points_ras_mm for part in parts]),
            np.concatenate([part.radius_mm for part in parts]),
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.step_mm for part in parts]),
        )

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.radius_mm)

    @property
    def length_mm(self) -> float:
        """Length of all vessels together."""
        return float(self.step_mm.sum())

    def at_least(self, diameter_mm: float) -> Centerlines:
        """Return the part whose diameter is at least `diameter_mm`."""
        return self.where(2 * self.radius_mm >= diameter_mm)

    def of_kind(self, *kinds: VesselKind) -> Centerlines:
        """Return the part that belongs to one of `kinds`."""
        return self.where(np.isin(self.kind, kinds))

    def where(self, chosen: npt.NDArray[np.bool_]) -> Centerlines:
        """Return the part that `chosen` (N,) is true for."""
        return Centerlines(self.points_ras_mm[chosen], self.radius_mm[chosen], self.kind[chosen], self.step_mm[chosen])

    def nearest_walls(self, points_ras_mm: FloatArray) -> tuple[FloatArray, IntArray]:
        """Distance from points (M, 3) to the nearest vessel wall, mm, below 0 within; and which point of `self` it is.

        A vessel is taken as balls around its centerline, so the points have to be dense. Without
        any vessel the distances are infinite and the indices -1.
        """
        points = np.asarray(points_ras_mm, dtype=float).reshape(-1, 3)
        best = np.full(len(points), np.inf)
        which = np.full(len(points), -1)
        # Within a class of like radius the nearest middle is nearly the nearest wall; few classes are enough.
        classes = np.floor(2 * self.radius_mm).astype(int)
        for value in np.unique(classes):
            members = np.flatnonzero(classes == value)
            count = min(4, len(members))
            distance, index = cKDTree(self.points_ras_mm[members]).query(points, k=count)
            distance, index = np.reshape(distance, (-1, count)), members[np.reshape(index, (-1, count))]
            walls = distance - self.radius_mm[index]
            first = np.argmin(walls, axis=1)
            rows = np.arange(len(points))
            nearer = walls[rows, first] < best
            best[nearer] = walls[rows, first][nearer]
            which[nearer] = index[rows, first][nearer]
        return best, which
