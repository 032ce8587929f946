"""Places pointed at in the views: landmark pairs and the diameter of a zone, as the clicks come.

Both arm Slicer's place mode, follow the points as they are defined, and leave the place mode when done. Interaction
logic only: what a panel shows of it, it learns through a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from . import fusion_looks
from .cases import CaseScene
from .landmarks import AFTER, BEFORE, SIDES, LandmarkPairs
from .nodes import remove_nodes
from .zone_steps import new_zone_line, zone_line


class LandmarkPlacing:
    """Clicks in turn: a place in the image before, then the same place in the image after, and so on.

    While a side is pointed at, its image alone is seen.
    """

    def __init__(self, case: CaseScene, on_change: Callable[[], None]) -> None:
        """Begin; `on_change` is called after each point. Raises InputError without an image after ablation."""
        self._case = case
        self._on_change = on_change
        self._pairs = LandmarkPairs(case)
        self._blend = fusion_looks.blend_fraction()
        self._nodes = {side: self._pairs.node(side) for side in SIDES}
        defined = slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent
        self._tags = [(node, node.AddObserver(defined, self._on_point)) for node in self._nodes.values()]
        self._arm()

    @property
    def side(self) -> str:
        """Where the next click belongs: "before" or "after"."""
        return self._pairs.next_side()

    def stop(self) -> None:
        """Leave the place mode; a pair that is half placed loses its point."""
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._tags = []
        _disarm()
        if self._pairs.next_side() == AFTER:
            self._pairs.remove(len(self._pairs.pairs()) - 1)
        fusion_looks.show_blend(self._case, self._blend)

    def _on_point(self, *_: Any) -> None:
        self._arm()
        self._on_change()

    def _arm(self) -> None:
        side = self.side
        fusion_looks.show_blend(self._case, 0.0 if side == BEFORE else 1.0)
        _arm(self._nodes[side])


class ZoneDrawing:
    """Two clicks draw the diameter of a lesion's zone; dragging an end later draws it anew.

    `on_drawn` is called when the line is drawn and when an end was dragged. Meanwhile the image after alone is seen.
    """

    def __init__(self, case: CaseScene, lesion_id: str, on_drawn: Callable[[], None]) -> None:
        """Begin with an empty line; raises InputError without an image after ablation."""
        self._case = case
        self._on_drawn = on_drawn
        self._blend = fusion_looks.blend_fraction()
        self._line = new_zone_line(case, lesion_id)
        markups = slicer.vtkMRMLMarkupsNode
        self._tags = [
            self._line.AddObserver(markups.PointPositionDefinedEvent, self._on_point),
            self._line.AddObserver(markups.PointEndInteractionEvent, self._on_dragged),
        ]
        self.is_placing = True
        fusion_looks.show_blend(case, 1.0)
        _arm(self._line)

    def stop(self) -> None:
        """Follow the line no longer; a line without both ends goes."""
        for tag in self._tags:
            self._line.RemoveObserver(tag)
        self._tags = []
        self._end_placing()
        if self._line.GetNumberOfDefinedControlPoints() < 2:
            remove_nodes(self._line)

    def _on_point(self, *_: Any) -> None:
        if self.is_placing and self._line.GetNumberOfDefinedControlPoints() >= 2:
            self._end_placing()
            self._on_drawn()

    def _on_dragged(self, *_: Any) -> None:
        if not self.is_placing:
            self._on_drawn()

    def _end_placing(self) -> None:
        if self.is_placing:
            self.is_placing = False
            _disarm()
            fusion_looks.show_blend(self._case, self._blend)


def is_drawn(lesion_id: str) -> bool:
    """Whether a lesion's zone has a diameter with both ends."""
    line = zone_line(lesion_id)
    return line is not None and line.GetNumberOfDefinedControlPoints() >= 2


def _arm(node: Any) -> None:
    """Let the next click in a view place a point of a markups node."""
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetPlaceModePersistence(True)
    interaction.SetCurrentInteractionMode(interaction.Place)


def _disarm() -> None:
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
        interaction.SetPlaceModePersistence(False)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
