"""A plan under the hand: when a probe is moved, added or removed, its numbers are new at once.

What a probe's zones do to the target is computed once for that probe alone; moving it computes those of no other,
and joins all of them. Nothing else is kept: the numbers are those that :meth:`.coverage.PlanMeasure.measure` gives,
to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .access import Surroundings
from .coverage import PlanCoverage, PlanMeasure, ZoneReach
from .errors import InputError
from .path_checks import PathCheck, check_path
from .probes import Probe
from .union_depth import Zone


@dataclass(frozen=True)
class LiveResult:
    """What the probes as they are now cover, and how the path of each fares; no paths without surroundings."""

    coverage: PlanCoverage
    paths: tuple[PathCheck, ...]


class LivePlan:
    """Probes for one target that can be moved one by one.

    Their paths are checked where `surroundings` are given; they may be `longest_mm` long, each or by probe.
    """

    def __init__(
        self,
        measure: PlanMeasure,
        probes: Sequence[Probe] = (),
        *,
        surroundings: Surroundings | None = None,
        longest_mm: float | Callable[[Probe], float] = float("inf"),
    ) -> None:
        """Measure some probes."""
        self.measure = measure
        self._surroundings = surroundings
        self._longest_mm = longest_mm
        self._probes: list[Probe] = []
        self._reaches: list[tuple[ZoneReach, ...]] = []
        self._paths: list[PathCheck] = []
        self._counts = measure.counts()
        for probe in probes:
            self._insert(len(self._probes), probe)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes as they are now."""
        return tuple(self._probes)

    def result(self) -> LiveResult:
        """The numbers of the probes as they are now."""
        zones = [zone for probe in self._probes for zone in Zone.of(probe)]
        reaches = [row for rows in self._reaches for row in rows]
        return LiveResult(self.measure.joined(zones, reaches, self._counts), tuple(self._paths))

    def move(self, index: int, probe: Probe) -> LiveResult:
        """Put a probe in the place of another; raises InputError where there is none of that number."""
        self._replace(index, probe)
        return self.result()

    def add(self, probe: Probe) -> LiveResult:
        """Add a probe after the others."""
        self._insert(len(self._probes), probe)
        return self.result()

    def remove(self, index: int) -> LiveResult:
        """Take a probe away; raises InputError where there is none of that number."""
        self._drop(index)
        return self.result()

    def _replace(self, index: int, probe: Probe) -> None:
        dropped = self._drop(index)
        try:
            self._insert(index, probe)
        except Exception:
            self._insert(index, dropped)  # nothing is lost where the new probe cannot be measured
            raise

    def _insert(self, index: int, probe: Probe) -> None:
        path = None
        if self._surroundings is not None:
            ends = probe.entry_ras_mm, probe.tip_ras_mm
            longest_mm = self._longest_mm(probe) if callable(self._longest_mm) else self._longest_mm
            path = check_path(self._surroundings, *ends, longest_mm=longest_mm)
        reaches = tuple(self.measure.reach(zone) for zone in Zone.of(probe))
        self._counts.add(reaches)
        self._probes.insert(index, probe)
        self._reaches.insert(index, reaches)
        if path is not None:
            self._paths.insert(index, path)

    def _drop(self, index: int) -> Probe:
        if not 0 <= index < len(self._probes):
            raise InputError(f"plan: there is no probe number {index} among {len(self._probes)}")
        self._counts.remove(self._reaches.pop(index))
        if self._paths:
            del self._paths[index]
        return self._probes.pop(index)
