"""The nodes of one lesion, found in the scene by their role: masks, surfaces, plan, probes and margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from ..core.margins import MarginResult
from ..core.plans import Plan
from . import documents, nodes, surfaces
from .nodes import LESION
from .provenance import ROLE


@dataclass(frozen=True)
class LesionNodes:
    """The nodes of one lesion as the scene has them now; what it does not have is None or empty.

    `segment_id` is the tumor's in the segmentation before ablation, and the lesion's id everywhere; `zone_segment` is
    the zone's in the segmentation after ablation.
    """

    segment_id: str
    name: str
    tumor_model: Any
    zone_segment: str | None
    zone_model: Any
    plan_node: Any
    probe_lines: tuple[Any, ...]
    planned_zone: Any
    margin_node: Any
    margin: surfaces.MarginModels | None
    mam_point: Any

    @property
    def tumor_center_ras_mm(self) -> npt.NDArray[np.float64]:
        """Mean of the points of the tumor's surface, (3,)."""
        return self.tumor_points_ras_mm.mean(axis=0)

    @property
    def extent_mm(self) -> float:
        """The longest edge of the tumor's box along R, A and S."""
        return float(np.ptp(self.tumor_points_ras_mm, axis=0).max())

    @property
    def plan(self) -> Plan | None:
        """The exact plan."""
        return (
            None if self.plan_node is None else Plan.from_dict(documents.read_document(self.plan_node, schema="plan"))
        )

    @property
    def margin_result(self) -> MarginResult | None:
        """The exact numbers of the margin, without surfaces and masks."""
        if self.margin_node is None:
            return None
        return MarginResult.from_dict(documents.read_document(self.margin_node, schema="margin"))

    @property
    def tumor_points_ras_mm(self) -> npt.NDArray[np.float64]:
        """The points of the tumor's surface, (N, 3)."""
        return vtk_to_numpy(self.tumor_model.GetPolyData().GetPoints().GetData()).astype(np.float64)

    def own(self, *members: Any) -> None:
        """Mark nodes as this lesion's and keep them together in the subject hierarchy."""
        folder = nodes.hierarchy_folder(self.name)
        for node in members:
            node.SetAttribute(LESION, self.segment_id)
            nodes.move_to_folder(node, folder)


def members_by_lesion() -> dict[str, dict[str, list[Any]]]:
    """The nodes of each lesion by their role, in one pass over the scene."""
    found: dict[str, dict[str, list[Any]]] = {}
    everything = slicer.mrmlScene.GetNodes()
    for index in range(everything.GetNumberOfItems()):
        node = everything.GetItemAsObject(index)
        lesion_id, role = node.GetAttribute(LESION), node.GetAttribute(ROLE)
        if lesion_id and role:
            found.setdefault(lesion_id, {}).setdefault(role, []).append(node)
    return found
