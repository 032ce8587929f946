"""Organs and tumors taken from another segmentation of the scene, each segment as what it is matched with."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..scene import role_matching, segmentations, step_views, total_segmentator
from ..scene.cases import CaseScene
from .case_start import CaseStart
from .panel import Panel
from .section import Section
from .tables import Cell, fillTable, fitHeight, setColumns


class MatchesSection(Section):
    """Matches the segments of a chosen segmentation, lets the user correct that, and copies them into the case."""

    def __init__(self, panel: Panel, start: CaseStart) -> None:
        """Connect the widgets."""
        super().__init__(panel)
        self._start = start
        self._matches: list[role_matching.SegmentMatch] = []
        self._matchedFor: tuple[str, ...] = ()
        self.ui.sourceSelector.connect("currentNodeChanged(vtkMRMLNode*)", panel.refreshSoon)
        self.ui.adoptButton.connect("clicked()", self.onAdopt)
        self.ui.totalSegmentatorButton.connect("clicked()", self.onTotalSegmentator)
        setColumns(self.ui.matchTable, [_("Segment"), _("Taken as")], wide=1)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The segments of the chosen segmentation, and what each is taken as."""
        chosen = self.panel.parameterNode
        self._offerSource(case)
        self._showMatches(chosen.source)
        matched = any(match.structure for match in self._matches)
        noImage = self._start.missing()
        noSource = "" if chosen.source is not None else _("choose a segmentation")
        self.panel.allow(self.ui.adoptButton, noSource, noImage, "" if matched else _("no segment is matched"))
        missing = "" if total_segmentator.is_installed() else _("install the extension TotalSegmentator first")
        self.panel.allow(self.ui.totalSegmentatorButton, missing, noImage)

    def _offerSource(self, case: CaseScene | None) -> None:
        """While there is no liver, offer the one segmentation that the scene has beside the case's own."""
        if case is None or case.liver_model is not None or self.panel.parameterNode.source is not None:
            return
        others = role_matching.other_segmentations()
        if len(others) == 1:
            self.panel.parameterNode.source = others[0]
            self.ui.takeSection.collapsed = False

    def _showMatches(self, source: Any) -> None:
        """Match the segments of the chosen segmentation, as long as it stays the same."""
        ids = [] if source is None else segmentations.segment_ids(source)
        key = () if source is None else (source.GetID(), *(segmentations.segment_name(source, i) for i in ids))
        if key == self._matchedFor:
            return
        self._matchedFor = key
        self._matches = [] if source is None else role_matching.match_segments(source)
        table = self.ui.matchTable
        rows = [[Cell(match.name, match.reason), Cell(match.structure)] for match in self._matches]
        fillTable(table, [match.segment_id for match in self._matches], rows)
        fitHeight(table, 2, 8)
        for row, match in enumerate(self._matches):
            box = qt.QComboBox()
            box.toolTip = match.reason or _("What this segment is taken as")
            box.addItem(_("leave out"), "")
            for name in role_matching.structure_choices():
                box.addItem(name, name)
            box.currentIndex = box.findData(match.structure)
            box.connect("currentIndexChanged(int)", partial(self.onMatch, row, box))
            table.setCellWidget(row, 1, box)

    def onMatch(self, row: int, box: Any, index: int) -> None:
        """Take the user's word for what a segment is."""
        match = self._matches[row]
        self._matches[row] = role_matching.SegmentMatch(match.segment_id, match.name, box.itemData(index))
        self.panel.refreshSoon()

    def onTotalSegmentator(self) -> None:
        """Segment organs with the other extension, and offer what it found."""
        with self.panel.attempt(_("TotalSegmentator failed."), isSlow=True):
            case = self._start.case()
            self.panel.parameterNode.source = total_segmentator.segment_organs(case.volume)

    def onAdopt(self) -> None:
        """Copy the matched segments into the case."""
        with self.panel.attempt(_("Nothing was taken."), isSlow=True):
            case = self._start.case()
            taken = role_matching.adopt_segments(case, self.panel.parameterNode.source, self._matches)
            step_views.look_at_liver(case)
            self._start.tell([_("Taken: {names}").format(names=", ".join(taken))])
            self.ui.takeSection.collapsed = True
