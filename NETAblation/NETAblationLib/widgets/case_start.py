"""The case that is worked on, begun with the chosen images by the first work that needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from slicer.i18n import tr as _

from ..core.errors import InputError
from ..scene.cases import CaseScene
from .panel import Panel


class CaseStart:
    """What the sections for images, lesions and organs share: a case to work on, and how work on it is run."""

    def __init__(
        self, panel: Panel, onReady: Callable[[CaseScene], None], tell: Callable[[Iterable[str]], None]
    ) -> None:
        """`onReady` is called with the case before work on it; `tell` shows what work has given."""
        self._panel, self._onReady, self.tell = panel, onReady, tell

    def missing(self) -> str:
        """What has to be done before there can be a case; empty where there is one or its image is chosen."""
        isChosen = self._panel.case is not None or self._panel.parameterNode.image is not None
        return "" if isChosen else _("choose the planning image first")

    def missingLiver(self) -> str:
        """What has to be done before the liver is segmented; empty where it is."""
        case = self._panel.case
        if case is None:
            return _("draw a lesion or segment the liver first")
        return "" if case.liver_model is not None else _("segment the liver first")

    def case(self) -> CaseScene:
        """The case; begun with the chosen images where there is none. Raises InputError where none is chosen."""
        case = self._panel.case
        if case is None:
            chosen = self._panel.parameterNode
            if chosen.image is None:
                raise InputError(_("choose the planning image first"))
            case = CaseScene.adopt(chosen.image)
            if chosen.phase is not None and chosen.phase is not case.volume:
                case.adopt_phase(chosen.phase)
        self._onReady(case)
        return case

    def work(self, title: str, prepare: Callable[[CaseScene], Any], put: Callable[[CaseScene, Any], Any]) -> None:
        """Take what the work needs out of the scene, run it with progress, put its result in and tell what it gave."""
        with self._panel.attempt(title):
            case = self.case()
            self._panel.startWork(title, prepare(case), lambda result: self.tell(put(case, result) or ()))
