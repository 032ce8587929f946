"""What follows the probes of a lesion while they are edited: zones, coverage, predicted margin, paths, and the plan.

While a probe is dragged, its zones move in place and only what it changes is measured again. When the hand rests, the
exact united surface of the zones and the plan's document are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core.coverage import PlanCoverage
from ..core.errors import InputError
from ..core.live import LivePlan
from ..core.path_checks import PathCheck
from ..core.planning import Task
from ..core.probes import Probe, zone_surface
from . import nodes, surfaces
from .cases import CaseScene
from .plan_nodes import write_plan, zone_model
from .plan_requests import PlanRequest, content_of
from .zone_meshes import ZoneMeshes


class LiveMeasures:
    """Zones and numbers of the probes of one lesion.

    `task` is what measuring was prepared for, None where it is not. `coverage` is what the probes cover, None where
    nothing is prepared or there is no zone; `checks` are those of their paths, empty where nothing is prepared.
    """

    def __init__(self, case: CaseScene, lesion_id: str, longest_mm: Callable[[Probe], float]) -> None:
        """Measure nothing yet; `longest_mm` gives the longest way that a probe can go."""
        self._case, self._lesion_id, self._longest_mm = case, lesion_id, longest_mm
        self._content: dict[str, str] = {}
        self._live: LivePlan | None = None
        self._meshes: ZoneMeshes | None = None
        self.task: Task | None = None
        self.coverage: PlanCoverage | None = None
        self.checks: tuple[PathCheck, ...] = ()

    def use(self, task: Task, request: PlanRequest) -> None:
        """Measure from now on with what was prepared of a request.

        Raises InputError where what the request was taken from has changed since.
        """
        if dict(request.content) != content_of(self._case):
            raise InputError("image, liver, lesion or obstacles changed while the plan was prepared; prepare it again")
        self.task = task.with_device(request.asked.device, request.asked.size_factor)
        self._content = dict(request.content)

    def forget_outdated(self) -> bool:
        """Whether image, liver, lesion or obstacles changed since measuring was prepared: then the numbers go."""
        if self.task is None or self._content == content_of(self._case):
            return False
        self.task = self._live = self.coverage = None
        self.checks = ()
        return True

    def measure(self, probes: Sequence[Probe]) -> None:
        """Numbers and meshes of all probes anew."""
        self._meshes = self._live = self.coverage = None
        self.checks = ()
        if self.task is not None:
            task = self.task
            self._live = LivePlan(task.measure, probes, surroundings=task.surroundings, longest_mm=self._longest_mm)
            found = self._live.result()
            self.coverage, self.checks = found.coverage if _has_zone(probes) else None, found.paths

    def move(self, index: int, probes: Sequence[Probe]) -> None:
        """Follow one of the probes at a step of a drag."""
        if self._meshes is None:
            self._meshes = ZoneMeshes(probes)
            zone_model(self._case, self._lesion_id).SetAndObservePolyData(self._meshes.data)
        else:
            self._meshes.move(index, probes[index])
        if self._live is not None:
            found = self._live.move(index, probes[index])
            self.coverage, self.checks = found.coverage if _has_zone(probes) else None, found.paths

    def settle(self, probes: Sequence[Probe]) -> None:
        """Write the exact surface of all zones and the plan, once the hand rests; both go where there is no zone."""
        self._meshes = None
        if not _has_zone(probes):
            lesion = self._case.lesions[self._lesion_id]
            nodes.remove_nodes(lesion.planned_zone, lesion.plan_node)
            return
        surfaces.update_surface(zone_model(self._case, self._lesion_id), zone_surface(probes))
        write_plan(self._case, self._lesion_id, self.task, probes)


def _has_zone(probes: Sequence[Probe]) -> bool:
    return any(probe.ablations for probe in probes)
