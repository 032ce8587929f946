"""Lesions of a PET in SUV, found within a region by a share of each lesion's maximum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from ..scene import pet
from ..scene.cases import CaseScene
from .case_start import CaseStart
from .panel import Panel
from .section import Section


class PetSection(Section):
    """Segments the lesions of the chosen PET and adds them to the case."""

    def __init__(self, panel: Panel, start: CaseStart, nextName: Callable[[], str]) -> None:
        """Connect the widgets; `nextName` gives the name of the next lesion."""
        super().__init__(panel)
        self._start, self._nextName = start, nextName
        self.ui.petButton.connect("clicked()", self.onSegment)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The PET of the scene where none was chosen, and whether its lesions can be segmented."""
        chosen = self.panel.parameterNode
        if chosen.pet is None:
            chosen.pet = next(iter(pet.suv_volumes()), None)
        noRegion = ""
        if chosen.region is None and self._start.missingLiver():
            noRegion = _("choose a region, or segment the liver")
        noPet = "" if chosen.pet is not None else _("choose the PET")
        self.panel.allow(self.ui.petButton, self._start.missing(), noPet, noRegion)

    def onSegment(self) -> None:
        """Segment the lesions of the PET."""
        chosen = self.panel.parameterNode
        fraction = chosen.percentOfMaximum / 100.0
        work = partial(pet.pet_work, volume=chosen.pet, region=chosen.region, fraction=fraction)
        self._start.work(_("Segmenting the PET"), work, partial(self._put, chosen.pet))

    def _put(self, volume: Any, case: CaseScene, result: Any) -> list[str]:
        added, warnings = pet.put_pet(case, volume, result, self._nextName())
        return [_("{count} lesions of the PET").format(count=len(added)), *warnings]
