"""Places pointed at in the views: landmark pairs, the diameter of a zone, a probe, as the clicks come.

All arm Slicer's place mode, follow the points as they are defined, and leave the place mode when done. Interaction
logic only: what a panel shows of it, it learns through a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from . import fusion_looks, probes
from .cases import CaseScene
from .landmarks import AFTER, BEFORE, SIDES, LandmarkPairs
from .nodes import LESION, remove_nodes
from .provenance import nodes_with_role
from .zone_steps import ZONE_LINE_ROLE, new_zone_line


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
    """Two clicks draw the diameter of a lesion's zone; whenever an end is dragged later, it is drawn anew.

    `on_drawn` is called with the lesion's id when its line is drawn and when an end was dragged. While the clicks are
    awaited, the image after alone is seen.
    """

    def __init__(self, on_drawn: Callable[[str], None]) -> None:
        """Draw and follow nothing yet."""
        self._on_drawn = on_drawn
        self._case: CaseScene | None = None
        self._placing: Any = None
        self._blend = 0.0
        self._observed: list[tuple[Any, int]] = []

    @property
    def is_placing(self) -> bool:
        """Whether the next clicks in the views draw a diameter."""
        return self._placing is not None

    def follow(self) -> None:
        """Follow the lines of all zones in the scene, and those only."""
        lines = nodes_with_role(ZONE_LINE_ROLE)
        if lines == [line for line, _ in self._observed[::2]]:
            return
        self._forget()
        markups = slicer.vtkMRMLMarkupsNode
        for line in lines:
            self._observed.append((line, line.AddObserver(markups.PointPositionDefinedEvent, self._on_point)))
            self._observed.append((line, line.AddObserver(markups.PointEndInteractionEvent, self._on_dragged)))

    def begin(self, case: CaseScene, lesion_id: str) -> None:
        """Let the next two clicks draw the zone of a lesion; raises InputError without an image after ablation."""
        self.end()
        line = new_zone_line(case, lesion_id)
        self._case, self._placing, self._blend = case, line, fusion_looks.blend_fraction()
        self.follow()
        fusion_looks.show_blend(case, 1.0)
        _arm(line)

    def end(self) -> None:
        """Await no more clicks; a line without both ends goes."""
        if self._placing is None or self._case is None:
            return
        line, self._placing = self._placing, None
        _disarm()
        fusion_looks.show_blend(self._case, self._blend)
        if line.GetNumberOfDefinedControlPoints() < 2:
            remove_nodes(line)
            self.follow()

    def stop(self) -> None:
        """Await no clicks and follow no line any more."""
        self.end()
        self._forget()

    def _forget(self) -> None:
        for line, tag in self._observed:
            line.RemoveObserver(tag)
        self._observed = []

    def _on_point(self, line: Any, _: str) -> None:
        if line is self._placing and line.GetNumberOfDefinedControlPoints() >= 2:
            self.end()
            self._on_drawn(line.GetAttribute(LESION))

    def _on_dragged(self, line: Any, _: str) -> None:
        if line is not self._placing:
            self._on_drawn(line.GetAttribute(LESION))


class ProbePlacing:
    """Two clicks draw the line of one probe: the target, on which its zone will be centered, then the skin.

    `on_change` is called after the first of them, `on_placed(line)` after the second, when place mode has ended.
    """

    def __init__(self, name: str, on_change: Callable[[], None], on_placed: Callable[[Any], None]) -> None:
        """Let the next two clicks draw `line`, a new node of that name."""
        self._on_change = on_change
        self._on_placed = on_placed
        self.line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name)
        self.line.CreateDefaultDisplayNodes()
        probes.style_line(self.line)
        self._tag = self.line.AddObserver(slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self._on_point)
        _arm(self.line, persistent=False)

    @property
    def is_target_placed(self) -> bool:
        """Whether the first of the two clicks was made."""
        return bool(self.line.GetNumberOfDefinedControlPoints())

    def end(self) -> None:
        """Await no more clicks; the line stays as it is."""
        self.line.RemoveObserver(self._tag)
        _disarm()

    def _on_point(self, *_: Any) -> None:
        if self.line.GetNumberOfDefinedControlPoints() < 2:
            self._on_change()
            return
        self.end()
        self._on_placed(self.line)


def _arm(node: Any, *, persistent: bool = True) -> None:
    """Let the next click in a view place a point of a markups node, and with `persistent` the clicks after it."""
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetPlaceModePersistence(persistent)
    interaction.SetCurrentInteractionMode(interaction.Place)


def _disarm() -> None:
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
        interaction.SetPlaceModePersistence(False)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
