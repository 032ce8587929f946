"""Where the probes go to: a table, lines for 3D Slicer, and a navigation system."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer
from slicer.i18n import tr as _

from ..scene.cases import CaseScene
from ..scene.probe_editing import ProbeRow
from .edited_probes import EditedProbes
from .panel import Panel
from .section import Section


class ExportSection(Section):
    """Saves and sends the probes by the module's logic, and says what was exported last."""

    def __init__(self, panel: Panel, probes: EditedProbes) -> None:
        """Connect the widgets."""
        super().__init__(panel)
        self._probes = probes
        self.ui.csvButton.connect("clicked()", self.onSaveTable)
        self.ui.markupsButton.connect("clicked()", self.onSaveLines)
        self.ui.sendButton.connect("clicked()", self.onSend)
        self.panel.say(self.ui.exportLabel, "")

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """Whether there are probes to export."""
        for button in (self.ui.csvButton, self.ui.markupsButton, self.ui.sendButton):
            self.panel.allow(button, self._probes.missingProbe())

    def onSaveTable(self) -> None:
        """Save the table of probes."""
        self._save(_("Save the table of probes"), _("Tables (*.csv)"), self.panel.logic.saveTable)

    def onSaveLines(self) -> None:
        """Save the probes as lines."""
        self._save(_("Save the probes"), _("Markups (*.mrk.json)"), self.panel.logic.saveLines)

    def _save(self, title: str, kinds: str, write: Callable[[Sequence[ProbeRow], str], None]) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, "", kinds)
        if not path:
            return
        with self.panel.attempt(_("The probes cannot be saved.")):
            write(list(self._probes.rows), path)
            self.panel.say(self.ui.exportLabel, _("Saved: {path}").format(path=path))

    def onSend(self) -> None:
        """Send the probes to the navigation system."""
        with self.panel.attempt(_("The probes cannot be sent.")):
            count = self.panel.logic.send(list(self._probes.rows), self.panel.parameterNode.address)
            self.panel.say(self.ui.exportLabel, _("{count} messages sent.").format(count=count))
