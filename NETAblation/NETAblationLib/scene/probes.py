"""Probes in the scene: a line from entry to tip, and the ablations along it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from ..core import frames
from ..core.errors import FormatError, GeometryError
from ..core.probes import Ablation, Probe
from .aiming import as_point
from .nodes import create_node
from .provenance import Provenance
from .surfaces import BAND_COLORS
from .terminology import term

ENTRY_LABEL = "entry"
TIP_LABEL = "tip"
DEVICE = "NETAblation.Device"
ABLATIONS = "NETAblation.Ablations"
PATH_GRADE = "NETAblation.PathGrade"
KEPT = "NETAblation.Kept"

#: Colors of lines by the grade of their path: red, amber and green of the margin, which differ in lightness too.
GRADE_COLORS = dict(zip(("blocked", "tight", "free"), BAND_COLORS, strict=True))

#: Thickness of a probe's line in the views, mm; near a 13 to 17 gauge shaft (2.4 to 1.5 mm). User-set.
PROBE_DIAMETER_MM = 2.0

#: How far from a slice a probe is drawn in it, mm: one that is worked on as a whole, others near it. User-set.
_WHOLE_MM, _NEAR_MM = 1000.0, 10.0


def add_probe(
    entry_ras_mm: npt.ArrayLike,
    tip_ras_mm: npt.ArrayLike,
    name: str,
    provenance: Provenance,
    *,
    device: str = "",
    ablations: Sequence[Mapping[str, Any]] = (),
    locked: bool = True,
    path_grade: str = "",
    is_kept: bool = False,
) -> Any:
    """Add a probe as vtkMRMLMarkupsLineNode with the control points "entry" and "tip", in this order.

    `ablations` are JSON objects (such as those of `Probe.to_dict`), kept to the last bit in an
    attribute, as are `path_grade`, that of the probe's path check, and `is_kept` for a probe that planning was given
    and kept; `locked` is whether the line can be dragged. Raises GeometryError for points that are not finite or lie
    on each other.
    """
    ends = _ends(entry_ras_mm, tip_ras_mm, name)
    node = create_node("vtkMRMLMarkupsLineNode", name, provenance)
    for point, label in zip(ends, (ENTRY_LABEL, TIP_LABEL), strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*point.tolist()), label)
    _write_ablations(node, ablations, device)
    node.SetAttribute(PATH_GRADE, path_grade or None)
    keep(node, is_kept)
    node.SetLocked(locked)
    style_line(node)
    return node


def make_probe_of(node: Any, probe: Probe) -> None:
    """Make any line that of a probe: its two ends with their labels, its ablations and device, and how it looks."""
    if node.GetNumberOfControlPoints() != 2:
        node.RemoveAllControlPoints()
        for _ in range(2):
            node.AddControlPoint([0.0, 0.0, 0.0])
    for number, label in enumerate((ENTRY_LABEL, TIP_LABEL)):
        node.SetNthControlPointLabel(number, label)
    update_probe(node, probe.entry_ras_mm, probe.tip_ras_mm)
    style_line(node)
    write_zones(node, probe)


def write_zones(node: Any, probe: Probe) -> None:
    """Keep the ablations and the device of a probe with its line, whose ends stay."""
    _write_ablations(node, [row.to_dict() for row in probe.ablations], probe.device)


def read_probe(node: Any) -> Probe:
    """The probe of a line, in the world; raises as `probe_ends` and `probe_ablations`."""
    entry, tip = probe_ends_in_world(node)
    rows = [
        Ablation(row["setting"], row["center_ras_mm"], row["short_axis_mm"], row["long_axis_mm"])
        for row in probe_ablations(node)
    ]
    return Probe(as_point(entry), as_point(tip), tuple(rows), probe_device(node))


def update_probe(node: Any, entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike) -> None:
    """Move a probe."""
    ends = _ends(entry_ras_mm, tip_ras_mm, node.GetName())
    was_modifying = node.StartModify()
    for index, point in zip(_end_indices(node), ends, strict=True):
        node.SetNthControlPointPosition(index, *point.tolist())
    node.EndModify(was_modifying)


def probe_ends(node: Any) -> npt.NDArray[np.float64]:
    """Entry and tip of a probe, (2, 3) in RAS mm, in the node's own frame.

    Raises GeometryError for a line that does not have both ends.
    """
    if node.GetNumberOfDefinedControlPoints() < 2:
        raise GeometryError(f"probe {node.GetName()}: place both ends of the line first (entry, then tip)")
    return np.array([node.GetNthControlPointPosition(index) for index in _end_indices(node)])


def probe_ends_in_world(node: Any) -> npt.NDArray[np.float64]:
    """Entry and tip of a probe, (2, 3) in RAS mm, in the world: as `probe_ends`, parent transform applied."""
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    return np.array([to_world.TransformPoint(end) for end in probe_ends(node).tolist()])


def probe_ablations(node: Any) -> list[dict[str, Any]]:
    """The ablations along a probe, as given to `add_probe`; raises FormatError where unreadable."""
    try:
        ablations = json.loads(node.GetAttribute(ABLATIONS) or "[]")
    except ValueError as error:
        raise FormatError(f"probe {node.GetName()}: its ablations are not a JSON list ({error})") from error
    if not isinstance(ablations, list):
        raise FormatError(f"probe {node.GetName()}: its ablations are not a JSON list")
    return ablations


def probe_device(node: Any) -> str:
    """The id of the probe's device; empty where none was given."""
    return node.GetAttribute(DEVICE) or ""


def is_kept(node: Any) -> bool:
    """Whether planning keeps a probe."""
    return node.GetAttribute(KEPT) is not None


def keep(node: Any, is_kept: bool) -> None:
    """Lock a probe, so that it cannot be dragged and planning keeps it, or free it."""
    node.SetAttribute(KEPT, "true" if is_kept else None)
    node.SetLocked(is_kept)


def show_grade(node: Any, grade: str | None) -> None:
    """Keep the grade of a probe's path with its line and show it by the line's color; None where it is not known."""
    color = term("probe").color if grade is None else GRADE_COLORS[grade]
    if node.GetAttribute(PATH_GRADE) == grade and line_color(node) == color:
        return
    node.SetAttribute(PATH_GRADE, grade)
    display = node.GetDisplayNode()
    display.SetSelectedColor(color)
    display.SetColor(color)


def line_color(node: Any) -> tuple[float, float, float]:
    """The color of a probe's line, three values from 0 to 1."""
    red, green, blue = node.GetDisplayNode().GetSelectedColor()
    return float(red), float(green), float(blue)


def _write_ablations(node: Any, ablations: Sequence[Mapping[str, Any]], device: str) -> None:
    node.SetAttribute(DEVICE, device or None)
    node.SetAttribute(ABLATIONS, json.dumps(list(ablations), allow_nan=False, ensure_ascii=False))


def _ends(entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    ends = frames.as_points(np.stack([np.asarray(end, float) for end in (entry_ras_mm, tip_ras_mm)]), f"probe {name}")
    if np.array_equal(ends[0], ends[1]):
        raise GeometryError(f"probe {name}: entry and tip are the same point")
    return ends


def style_line(node: Any) -> None:
    """Show a line as a probe."""
    display = node.GetDisplayNode()
    color = term("probe").color
    display.SetSelectedColor(color)
    display.SetColor(color)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(PROBE_DIAMETER_MM)
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(PROBE_DIAMETER_MM * 1.5)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(False)
    display.SetSliceProjectionUseFiducialColor(True)
    display.SetSliceProjectionOpacity(0.9)
    _draw_within(display, _WHOLE_MM)


def show_worked_on(node: Any, is_worked_on: bool) -> None:
    """Show a probe in the slices as one that is worked on, or as one of those around it.

    The first is drawn as a whole in each slice that it crosses, and both its ends in every slice, so that they can be
    dragged there; of the others only what is near a slice is drawn.
    """
    _draw_within(node.GetDisplayNode(), _WHOLE_MM if is_worked_on else _NEAR_MM)
    node.GetDisplayNode().SetSliceProjection(is_worked_on)


def _draw_within(display: Any, reach_mm: float) -> None:
    """Draw a line in slices up to this distance, all in one color: Slicer's own fading would turn amber into red."""
    display.SetLineColorFadingStart(reach_mm)
    display.SetLineColorFadingEnd(1.1 * reach_mm)


def _end_indices(node: Any) -> tuple[int, int]:
    """Which of a line's points is the entry, and which the tip."""
    labels = [node.GetNthControlPointLabel(index) for index in range(2)]
    return (1, 0) if labels == [TIP_LABEL, ENTRY_LABEL] else (0, 1)
