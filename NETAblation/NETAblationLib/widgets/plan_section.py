"""The automatic plan: what is looked for, the plans found with what speaks for and against each, and taking one."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from ..core.planning import Task
from ..core.plans import Plan
from ..scene import probe_words, step_views
from ..scene.cases import CaseScene
from ..scene.plan_requests import PlanRequest, plan_and_alternatives
from .edited_probes import EditedProbes
from .panel import Panel
from .section import Section
from .tables import fitHeight, setColumns

#: Alternatives that are looked for beside the plan with the fewest punctures.
ALTERNATIVE_COUNT = 3


class PlanSection(Section):
    """Plans the probes of the lesion, and puts a plan that was found in their place."""

    def __init__(self, panel: Panel, probes: EditedProbes) -> None:
        """Connect the widgets, without a plan."""
        super().__init__(panel)
        self._probes = probes
        self._plans: tuple[Plan, ...] = ()
        ui = self.ui
        ui.planButton.connect("clicked()", self.onPlan)
        ui.usePlanButton.connect("clicked()", self.onUse)
        ui.plansTable.connect("itemSelectionChanged()", self.onChosen)
        columns = {
            _("Plan"): _("What the plan is best in"),
            _("Probes"): _("Number of punctures"),
            _("Zones"): _("Number of ablations"),
            _("MAM mm"): _("Least predicted margin in mm"),
            _("Liver ml"): _("Healthy liver within the zones, in ml"),
        }
        setColumns(ui.plansTable, list(columns), wide=0, toolTips=list(columns.values()))
        ui.plansTable.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.offer(())

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """Whether a plan can be made, and whether one can be taken."""
        self.panel.allow(self.ui.planButton, self._probes.missingForMeasuring())
        isChosen = 0 <= self.ui.plansTable.currentRow() < len(self._plans)
        self.panel.allow(
            self.ui.usePlanButton, self._probes.missing(), "" if isChosen else _("choose a plan in the table")
        )

    def offer(self, plans: tuple[Plan, ...]) -> None:
        """Show plans in the table, the first one chosen."""
        self._plans = plans
        table = self.ui.plansTable
        table.setRowCount(len(plans))
        for number, plan in enumerate(plans):
            for column, text in enumerate(probe_words.plan_cells(plan)):
                table.setItem(number, column, qt.QTableWidgetItem(text))
        fitHeight(table, 1, 5)
        if plans:
            table.selectRow(0)
        self.onChosen()

    def onChosen(self) -> None:
        """Say what speaks for and against the chosen plan."""
        row = self.ui.plansTable.currentRow()
        texts = []
        if 0 <= row < len(self._plans):
            texts = [*self._plans[row].reasons, *self._plans[row].limitations]
        self.panel.say(self.ui.reasonsLabel, "\n".join(f"• {text}" for text in texts))
        self.show(self._probes.case, self._probes.lesionId)

    def onPlan(self) -> None:
        """Place probes for tumor and margin."""
        with self.panel.attempt(_("The plan cannot be made.")):
            editing, request, task = self._probes.editing, self._probes.request(), self._probes.task()
            editing.cancel_placing()
            locked, count = editing.locked_probes, ALTERNATIVE_COUNT if self.panel.parameterNode.alternatives else 0
            self.panel.startWork(
                _("Planning"),
                lambda progress: plan_and_alternatives(request, task, locked, count, progress),
                lambda found: self._probes.whenSame(editing, lambda: self._onPlanned(request, *found)),
            )

    def _onPlanned(self, request: PlanRequest, task: Task, plans: tuple[Plan, ...]) -> None:
        editing = self._probes.editing
        editing.use(task, request)
        editing.accept(plans[0])
        step_views.look_at_lesion(editing.case, editing.lesion_id)
        self.offer(plans)

    def onUse(self) -> None:
        """Take the chosen plan."""
        with self.panel.attempt(_("The plan cannot be used.")):
            self._probes.editing.accept(self._plans[self.ui.plansTable.currentRow()])
