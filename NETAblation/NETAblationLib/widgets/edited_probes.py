"""The probes of the panel's lesion while they are edited: followed from lesion to lesion, and measured when idle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from ..core.devices import Device
from ..core.errors import InputError
from ..core.planning import Task
from ..scene.cases import CaseScene
from ..scene.plan_requests import PlanRequest, content_of
from ..scene.probe_editing import ProbeEditing, ProbeRow
from .device_section import DeviceSection
from .long_work import LongWork
from .panel import Panel


class EditedProbes:
    """What the sections for probes share: the probes, what measuring was prepared for, and what a plan asks for."""

    def __init__(
        self, panel: Panel, catalogue: Mapping[str, Device], device: DeviceSection, onChange: Callable[[], None]
    ) -> None:
        """Edit nothing yet; `onChange` is called after each change of a probe, also while one is dragged."""
        self._panel, self._catalogue, self._device, self._onChange = panel, catalogue, device, onChange
        self._editing: ProbeEditing | None = None
        self._attempted: Any = None

    @property
    def editing(self) -> ProbeEditing:
        """The probes under the hand; raises InputError where there is no lesion."""
        if self._editing is None:
            raise InputError(_("choose a lesion first"))
        return self._editing

    @property
    def isOpen(self) -> bool:
        """Whether there is a lesion whose probes are edited."""
        return self._editing is not None

    @property
    def case(self) -> CaseScene | None:
        """The case of the lesion; None without one."""
        return None if self._editing is None else self._editing.case

    @property
    def lesionId(self) -> str:
        """The lesion; empty without one."""
        return "" if self._editing is None else self._editing.lesion_id

    @property
    def rows(self) -> tuple[ProbeRow, ...]:
        """All probes of the lesion."""
        return () if self._editing is None else self._editing.rows

    def missing(self) -> str:
        """What has to be done before probes can be placed; empty where they can."""
        return "" if self.isOpen else _("choose a lesion first")

    def missingForMeasuring(self) -> str:
        """What has to be done before probes can be planned and measured; empty where they can."""
        if self._editing is None:
            return self.missing()
        if self._editing.case.volume is None:
            return _("choose the planning image first")
        return "" if self._editing.case.liver_model is not None else _("segment the liver first")

    def missingProbe(self) -> str:
        """What has to be done before there is a probe; empty where there is one."""
        return self.missing() or ("" if self.rows else _("there is no probe yet"))

    def follow(self) -> bool:
        """Edit the probes of the lesion that the panel works on now, as the case is now; whether it is another one."""
        case, wanted = self._panel.case, self._panel.lesionId
        if case is None or wanted not in case.lesions:
            wanted = ""
        isStopped = self._editing is not None and self._editing.is_stopped
        if not isStopped and wanted == self.lesionId:
            if self._editing is not None:
                self._editing.follow_case()
            return False
        self.stop()
        if case is not None and wanted:
            with self._panel.attempt(_("The probes of this lesion cannot be read.")):
                self._editing = ProbeEditing(case, wanted, catalogue=self._catalogue, on_change=self._onChange)
        return True

    def stop(self) -> None:
        """Edit no probes any more."""
        if self._editing is not None:
            self._editing.stop()
        self._editing = self._attempted = None

    # Measuring

    def request(self) -> PlanRequest:
        """What measuring and planning need, for the device, margin and zones' size that are chosen."""
        chosen = self._panel.parameterNode
        return self.editing.request(self._device.device.id, chosen.marginMm, chosen.sizeFactor)

    def task(self) -> Task | None:
        """What was prepared, where it is for the margin that is asked for now."""
        task = None if self._editing is None else self._editing.task
        return task if task is not None and task.target.margin_mm == self._panel.parameterNode.marginMm else None

    def measureLazily(self) -> None:
        """Prepare measuring in the background where there are probes and it is not done; once for each content.

        Only while the panel is seen: other work would have to wait for it.
        """
        if not self._panel.isShown or LongWork.busyWith():
            return
        if not self.rows or self.task() is not None:
            return
        editing = self.editing
        attempted = (self._panel.parameterNode.marginMm, content_of(editing.case))
        if attempted == self._attempted or editing.case.liver_mask() is None:
            return
        self._attempted = attempted
        request = self.request()
        self._panel.startWork(
            _("Measuring the probes"),
            request.prepared,
            lambda task: self.whenSame(editing, lambda: editing.use(task, request)),
        )

    def whenSame(self, editing: ProbeEditing, act: Callable[[], object]) -> None:
        """Do something with what was worked out, unless another lesion was chosen meanwhile."""
        if self._editing is editing and not editing.is_stopped:
            act()
