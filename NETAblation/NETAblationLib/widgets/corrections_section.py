"""Corrections by hand: the Segment Editor on the segments of the case."""

from __future__ import annotations

from typing import Any

import slicer

from ..scene.cases import CaseScene
from .panel import Panel
from .section import Section


class CorrectionsSection(Section):
    """Gives the Segment Editor the segments of the case while its section is open."""

    def __init__(self, panel: Panel) -> None:
        """Connect the widgets; which segmentation and image are edited is not for the user to choose here."""
        super().__init__(panel)
        editor = self.ui.segmentEditor
        editor.segmentationNodeSelectorVisible = False
        editor.sourceVolumeNodeSelectorVisible = False
        editor.switchToSegmentationsButtonVisible = False
        self.ui.editorSection.connect("contentsCollapsed(bool)", self.onCollapsed)

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The segments of the case, where the section is open."""
        if not self.ui.editorSection.collapsed:
            self._showSegments(case)

    def end(self) -> None:
        """Take the editor's effect, which would go on in the views."""
        self.ui.segmentEditor.setActiveEffectByName("")

    def forget(self) -> None:
        """Take the editor's nodes, which belong to the scene."""
        self.ui.segmentEditor.setSegmentationNode(None)
        self.ui.segmentEditor.setMRMLSegmentEditorNode(None)

    def onCollapsed(self, isCollapsed: bool) -> None:
        """Give the Segment Editor the case's segments when its section is opened, and take its effect when closed."""
        if isCollapsed:
            self.end()
        else:
            self._showSegments(self.panel.case)

    def _showSegments(self, case: CaseScene | None) -> None:
        editor = self.ui.segmentEditor
        if case is None or editor.segmentationNode() is case.before:
            return
        editor.setMRMLSegmentEditorNode(_segmentEditorNode())
        editor.setSegmentationNode(case.before)
        editor.setSourceVolumeNode(case.volume)


def _segmentEditorNode() -> Any:
    """The editor's node of this module; segments may overlap, as a tumor lies in the liver."""
    scene, tag = slicer.mrmlScene, "NETAblationLesions"
    node = scene.GetSingletonNode(tag, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(tag)
        node.SetOverwriteMode(node.OverwriteNone)
        node = scene.AddNode(node)
    return node
