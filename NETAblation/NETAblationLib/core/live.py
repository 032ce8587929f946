"""A plan under the hand: when a probe is moved, added or removed, its numbers are new at once.

What a probe's zones do to the target is computed once for that probe alone; moving it computes those of no other,
and joins all of them. Nothing else is kept: the numbers are those that :meth:`.coverage.PlanMeasure.measure` gives,
to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from .coverage import PlanCoverage, PlanMeasure, ZoneReach
from .errors import InputError
from .probes import Probe
from .united_zones import Zone


class LivePlan:
    """Probes for one target that can be moved one by one."""

    def __init__(self, measure: PlanMeasure, probes: Sequence[Probe] = ()) -> None:
        """Measure some probes."""
        self.measure = measure
        self._probes: list[Probe] = []
        self._reaches: list[tuple[ZoneReach, ...]] = []
        self._counts = measure.counts()
        for probe in probes:
            self._insert(len(self._probes), probe)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes as they are now."""
        return tuple(self._probes)

    def coverage(self) -> PlanCoverage:
        """The measurement of the probes as they are now."""
        zones = [zone for probe in self._probes for zone in Zone.of(probe)]
        return self.measure.joined(zones, [row for rows in self._reaches for row in rows], self._counts)

    def move(self, index: int, probe: Probe) -> PlanCoverage:
        """Put a probe in the place of another; raises InputError where there is none of that number."""
        self._drop(index)
        self._insert(index, probe)
        return self.coverage()

    def add(self, probe: Probe) -> PlanCoverage:
        """Add a probe after the others."""
        self._insert(len(self._probes), probe)
        return self.coverage()

    def remove(self, index: int) -> PlanCoverage:
        """Take a probe away; raises InputError where there is none of that number."""
        self._drop(index)
        return self.coverage()

    def _insert(self, index: int, probe: Probe) -> None:
        reaches = tuple(self.measure.reach(zone) for zone in Zone.of(probe))
        self._counts.add(reaches)
        self._probes.insert(index, probe)
        self._reaches.insert(index, reaches)

    def _drop(self, index: int) -> None:
        if not 0 <= index < len(self._probes):
            raise InputError(f"plan: there is no probe number {index} among {len(self._probes)}")
        self._counts.remove(self._reaches.pop(index))
        del self._probes[index]
