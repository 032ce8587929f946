"""A section of a panel: the widgets that lie together in it, what they show of the case, and what they ask for."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..core.errors import InputError
from ..scene.cases import CaseScene
from .panel import Panel


class Section:
    """Base of the sections; each connects its widgets when it is made, in the panel's `setupPanel`.

    What all sections share they have from the panel: the widgets by name (`ui`), the case, dialogs and long work.
    """

    def __init__(self, panel: Panel) -> None:
        """Take the panel whose Designer file is loaded."""
        self.panel = panel
        self.ui: Any = panel.ui

    @property
    def case(self) -> CaseScene:
        """The scene's case, for what cannot be asked for without one; raises InputError where there is none."""
        case = self.panel.case
        if case is None:
            raise InputError(_("there is no case yet; choose the planning image first"))
        return case

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """Show the case as it is now, and enable or disable what can be done; the panel's `refresh` calls this."""
