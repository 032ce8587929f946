"""What a plan covers: one measurement, for the finished plan and for the one under the hand.

Volumes are counted on even grids whose counts are integers, so that moving a probe, which takes its zones
off and adds them elsewhere, ends in the numbers that counting anew gives. Margins are distances to the surface
of the united zones (:mod:`.union_depth`) at every point of the tumor's surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .anatomy import mask_on
from .errors import GeometryError, InputError
from .images import as_mask
from .probes import Probe
from .targets import Target
from .union_depth import Feet, Zone, feet, union_depth_mm
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.int64]

#: Points of a target are at most this far apart, in mm, and closer in a small one so that there are as many
#: as _POINTS, but never closer than _CLOSEST_MM. User-set.
_SPACING_MM, _POINTS, _CLOSEST_MM = 1.0, 60_000, 0.5
#: Spacing of the grid on which zones and liver are counted, in mm, and how far around the tumor it reaches:
#: beyond is no zone whose center is in a tumor's margin. User-set.
_AROUND_SPACING_MM, _AROUND_REACH_MM = 1.5, 60.0
#: Ablations of a plan, at most: a byte counts them.
_MOST_ABLATIONS = 255

#: Kinds of cells in both grids; 0 is elsewhere.
_TISSUE, _TUMOR = 1, 2


@dataclass(frozen=True)
class PlanCoverage:
    """How well the expected zones of a plan cover a target.

    `tumor_coverage_fraction` and `target_coverage_fraction` (tumor and margin, inside the liver) are shares of
    volume. `margin_mm` (N,) is the signed margin at each point of the tumor's surface, positive where it lies in
    the zones; `predicted_mam_mm` is its least over the evaluable surface and `mam_place_ras_mm` (3,) where that is,
    None where nothing is evaluable; `shares` of that surface by area are those below 0, from 0 to 5 and at
    least 5 mm. `liver_lost_ml` is liver outside of the tumor in the zones, `zone_volume_ml` that of all zones; both
    are counted up to 60 mm around the tumor. Without an ablation margins are minus infinity.
    """

    tumor_coverage_fraction: float
    target_coverage_fraction: float
    margin_mm: Float32Array
    predicted_mam_mm: float | None
    mam_place_ras_mm: tuple[float, float, float] | None
    shares: Mapping[str, float | None]
    liver_lost_ml: float
    zone_volume_ml: float


@dataclass(frozen=True)
class ZoneReach:
    """What one zone does to a target, whatever the others do: cells of both grids, and feet of the surface's points."""

    cells: Cells
    cells_around: Cells
    feet: Feet


@dataclass(frozen=True)
class PlanMeasure:
    """A target made ready to measure plans for it.

    `kinds` and `kinds_around` (cells,) uint8 say what lies in the cells of the two grids: the points of
    the target, and the liver around it.
    """

    target: Target
    grid: WorkingGrid
    kinds: npt.NDArray[np.uint8]
    grid_around: WorkingGrid
    kinds_around: npt.NDArray[np.uint8]
    surface_mm: Float32Array
    origin_ras_mm: FloatArray

    @classmethod
    def of(cls, target: Target, liver: sitk.Image) -> PlanMeasure:
        """For a target and the mask of its liver; raises EmptyMaskError and GeometryError as :class:`.targets.Target`.

        Points of the target are those of :meth:`.targets.Target.points`, at most 1 mm apart.
        """
        lower, upper = (extreme(target.surface.points_ras_mm, axis=0) for extreme in (np.min, np.max))
        box = 0.5 * float(np.prod(upper - lower + 2 * target.margin_mm))
        spacing = float(np.clip((box / _POINTS) ** (1 / 3), _CLOSEST_MM, _SPACING_MM))
        points, is_tumor, point_ml = target.points(int(np.ceil(box / spacing**3)))
        if not len(points):
            raise GeometryError("tumor: it is smaller than the distance of the points that it is measured on")
        step = (1000.0 * point_ml) ** (1 / 3)
        first = points.min(axis=0)
        index = np.round((points - first) / step).astype(np.int64)[:, ::-1]
        shape = tuple((index.max(axis=0) + 1).tolist())
        kinds = np.zeros(shape, dtype=np.uint8)
        kinds[tuple(index.T)] = np.where(is_tumor, _TUMOR, _TISSUE)
        around = WorkingGrid.over(lower - _AROUND_REACH_MM, upper + _AROUND_REACH_MM, _AROUND_SPACING_MM)
        kinds_around = mask_on(as_mask(liver, "liver"), around).astype(np.uint8) * _TISSUE
        near = np.zeros(around.shape, dtype=bool)
        margin = int(_AROUND_REACH_MM / _AROUND_SPACING_MM) - 2
        near[margin:-margin, margin:-margin, margin:-margin] = True
        box_cells = np.flatnonzero(near)
        in_tumor = target.tumor_field.evaluate(around.points(near)) < 0
        kinds_around.reshape(-1)[box_cells[in_tumor]] = _TUMOR
        origin = target.center_ras_mm
        surface = (target.surface.points_ras_mm - origin).astype(np.float32)
        grid = WorkingGrid(tuple(first.tolist()), step, shape)
        return cls(target, grid, kinds.reshape(-1), around, kinds_around.reshape(-1), surface, origin)

    @property
    def target_volume_ml(self) -> float:
        """Volume of tumor and margin, inside the liver."""
        return int(np.count_nonzero(self.kinds)) * self.grid.spacing_mm**3 / 1000.0

    def measure(self, probes: Sequence[Probe]) -> PlanCoverage:
        """Measure a plan; the same numbers as :class:`.live.LivePlan` has after any moves to it."""
        zones = [zone for probe in probes for zone in Zone.of(probe)]
        reaches = [self.reach(zone) for zone in zones]
        counts = self.counts()
        counts.add(reaches)
        return self.joined(zones, reaches, counts)

    def reach(self, zone: Zone) -> ZoneReach:
        """What one zone does to the target."""
        return ZoneReach(
            cells_in(zone, self.grid),
            cells_in(zone, self.grid_around),
            feet(zone, self.surface_mm, self.origin_ras_mm),
        )

    def counts(self) -> ZoneCounts:
        """Counts of no zone at all."""
        return ZoneCounts(self.kinds, self.kinds_around)

    def joined(self, zones: Sequence[Zone], reaches: Sequence[ZoneReach], counts: ZoneCounts) -> PlanCoverage:
        """The measurement of zones whose reaches have been counted."""
        margin = union_depth_mm(zones, [row.feet for row in reaches], self.surface_mm, self.origin_ras_mm)
        mam, place, shares = self._least(margin)
        cell_ml, all_cells = self.grid_around.spacing_mm**3 / 1000.0, counts.covered_around
        tumor = int(counts.totals[_TUMOR])
        return PlanCoverage(
            tumor_coverage_fraction=int(counts.covered[_TUMOR]) / tumor if tumor else 1.0,
            target_coverage_fraction=int(counts.covered[1:].sum()) / int(counts.totals[1:].sum()),
            margin_mm=margin,
            predicted_mam_mm=mam,
            mam_place_ras_mm=place,
            shares=shares,
            liver_lost_ml=int(all_cells[_TISSUE]) * cell_ml,
            zone_volume_ml=int(all_cells.sum()) * cell_ml,
        )

    def _least(
        self, margin: Float32Array
    ) -> tuple[float | None, tuple[float, float, float] | None, dict[str, float | None]]:
        evaluable = self.target.is_evaluable
        areas = np.where(evaluable, self.target.surface.point_areas_mm2, 0.0)
        if not areas.sum() > 0:
            return None, None, dict.fromkeys(("below_0", "from_0_to_5", "at_least_5"))
        worst = int(np.where(evaluable, margin, np.inf).argmin())
        r, a, s = self.target.surface.points_ras_mm[worst].tolist()
        below_0, below_5 = (float(areas[margin < limit].sum() / areas.sum()) for limit in (0.0, 5.0))
        shares: dict[str, float | None] = {
            "below_0": below_0,
            "from_0_to_5": below_5 - below_0,
            "at_least_5": 1.0 - below_5,
        }
        return float(margin[worst]), (r, a, s), shares


class ZoneCounts:
    """How many zones cover each cell of both grids, and how many cells of each kind are covered: integers."""

    def __init__(self, kinds: npt.NDArray[np.uint8], kinds_around: npt.NDArray[np.uint8]) -> None:
        """Nothing is covered yet."""
        self._kinds = kinds, kinds_around
        self._counts = np.zeros_like(kinds), np.zeros_like(kinds_around)
        self._covered = np.zeros((2, 3), dtype=np.int64)
        self._zones = 0
        self.totals = np.bincount(kinds, minlength=3)

    @property
    def covered(self) -> npt.NDArray[np.int64]:
        """Covered cells (3,) of the target's grid by kind: elsewhere, margin, tumor."""
        return self._covered[0]

    @property
    def covered_around(self) -> npt.NDArray[np.int64]:
        """Covered cells (3,) of the grid around by kind: outside the liver, liver, tumor."""
        return self._covered[1]

    def add(self, reaches: Sequence[ZoneReach]) -> None:
        """Count some zones more; raises InputError where there are more than a byte can count."""
        if self._zones + len(reaches) > _MOST_ABLATIONS:
            raise InputError(f"plan: more than {_MOST_ABLATIONS} ablations cannot be measured together")
        self._zones += len(reaches)
        for row in reaches:
            for grid, cells in enumerate((row.cells, row.cells_around)):
                before = self._counts[grid][cells]
                self._counts[grid][cells] = before + np.uint8(1)
                self._covered[grid] += np.bincount(self._kinds[grid][cells[before == 0]], minlength=3)

    def remove(self, reaches: Sequence[ZoneReach]) -> None:
        """Take off zones that have been added."""
        self._zones -= len(reaches)
        for row in reaches:
            for grid, cells in enumerate((row.cells, row.cells_around)):
                after = self._counts[grid][cells] - np.uint8(1)
                self._counts[grid][cells] = after
                self._covered[grid] -= np.bincount(self._kinds[grid][cells[after == 0]], minlength=3)


def cells_in(zone: Zone, grid: WorkingGrid) -> Cells:
    """Flat numbers of the cells of a grid whose center lies in a zone, its surface included; rising.

    Row by row along R, where a zone has one stretch whose ends are the roots of a square equation.
    """
    center, half = np.array(zone.center_ras_mm), zone.half_extent_mm
    first = np.array(grid.first_ras_mm)
    size = np.array(grid.shape[::-1])
    low = np.clip(np.ceil((center - half - first) / grid.spacing_mm), 0, size).astype(np.int64)
    high = np.clip(np.floor((center + half - first) / grid.spacing_mm) + 1, 0, size).astype(np.int64)
    if np.any(high <= low):
        return np.empty(0, dtype=np.int64)
    y = first[1] + grid.spacing_mm * np.arange(low[1], high[1]) - center[1]
    z = (first[2] + grid.spacing_mm * np.arange(low[2], high[2]) - center[2])[:, None]
    matrix = zone.shape_matrix()
    square = matrix[0, 0]
    linear = matrix[0, 1] * y + matrix[0, 2] * z
    constant = matrix[1, 1] * y**2 + 2.0 * matrix[1, 2] * y * z + matrix[2, 2] * z**2 - 1.0
    root = linear**2 - square * constant
    k, j = np.nonzero(root >= 0)
    middle, reach = -linear[k, j] / square, np.sqrt(root[k, j]) / square
    offset = center[0] - first[0]
    start = np.maximum(np.ceil((middle - reach + offset) / grid.spacing_mm), low[0]).astype(np.int64)
    stop = np.minimum(np.floor((middle + reach + offset) / grid.spacing_mm) + 1, high[0]).astype(np.int64)
    length = np.maximum(stop - start, 0)
    row = ((k + low[2]) * size[1] + j + low[1]) * size[0] + start
    ends = np.cumsum(length)
    if not ends.size or ends[-1] == 0:
        return np.empty(0, dtype=np.int64)
    return np.repeat(row - (ends - length), length) + np.arange(ends[-1])
