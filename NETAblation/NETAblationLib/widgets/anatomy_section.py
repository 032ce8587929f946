"""What surrounds the lesions: liver, vessels and organs at risk, segmented by a button each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slicer.i18n import tr as _

from ..scene import organs, segmentations, step_views
from ..scene.cases import CaseScene
from ..scene.provenance import is_stale
from .case_start import CaseStart
from .panel import Panel
from .section import Section


class AnatomySection(Section):
    """Segments liver, vessels and organs at risk, and says which of them the case has."""

    def __init__(self, panel: Panel, start: CaseStart) -> None:
        """Connect the widgets."""
        super().__init__(panel)
        self._start = start
        self.ui.liverButton.connect("clicked()", self.onLiver)
        self.ui.vesselsButton.connect("clicked()", self.onVessels)
        self.ui.obstaclesButton.connect("clicked()", self.onObstacles)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """What the case has, and what can be segmented."""
        kinds: set[str] = set()
        liver = _("none")
        if case is not None:
            kinds = segmentations.segment_kinds(case.before)
            if case.liver_model is not None:
                liver = _("stale") if is_stale(case.liver_model) else _("segmented")
        vessels = [name for name in organs.VESSEL_KINDS if name in kinds]
        others = sorted(kinds - {"tumor", "lesion", "liver", "", *organs.VESSEL_KINDS})
        self.ui.liverState.text = _("Liver: {state}").format(state=liver)
        self.ui.vesselsState.text = _("Vessels: {state}").format(state=_words(vessels))
        self.ui.obstaclesState.text = _("Organs at risk: {state}").format(state=_words(others))
        self.panel.allow(self.ui.liverButton, self._start.missing())
        self.panel.allow(self.ui.vesselsButton, self._start.missingLiver())
        self.panel.allow(self.ui.obstaclesButton, self._start.missing())

    def onLiver(self) -> None:
        """Segment the liver."""
        self._start.work(_("Segmenting the liver"), organs.liver_work, _putLiver)

    def onVessels(self) -> None:
        """Segment the vessels of the liver."""
        self._start.work(_("Segmenting the vessels"), organs.vessels_work, organs.put_vessels)

    def onObstacles(self) -> None:
        """Find bone, lung and air."""
        self._start.work(_("Finding organs at risk"), organs.obstacles_work, organs.put_obstacles)


def _putLiver(case: CaseScene, result: Any) -> list[str]:
    warnings = organs.put_liver(case, result)
    step_views.look_at_liver(case)
    return warnings


def _words(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names) or _("none")
