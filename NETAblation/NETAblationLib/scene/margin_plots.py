"""The distribution of a margin as nodes of the scene: a table, its bars, and the chart that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from ..core.errors import InputError
from .nodes import create_node
from .provenance import Provenance

TABLE_ROLE, SERIES_ROLE, CHART_ROLE = "margin_histogram", "margin_histogram_series", "margin_histogram_chart"

_MARGIN_COLUMN, _SHARE_COLUMN, _CLASS_COLUMN = "Margin (mm)", "Share of the surface (%)", "Class"
#: Width of a bar in mm, and the bars' color. User-set.
_STEP_MM, _COLOR = 1.0, (0.10, 0.13, 0.19)


@dataclass(frozen=True)
class MarginHistogram:
    """The nodes of a histogram: the exact shares stand in the table."""

    table: Any
    series: Any
    chart: Any


def add_margin_histogram(
    signed_margin_mm: npt.ArrayLike,
    areas_mm2: npt.ArrayLike,
    name: str,
    inputs: tuple[Any, ...] = (),
    *,
    margin_mm: float = 5.0,
) -> MarginHistogram:
    """Add the shares of a surface by its signed margin, in steps of 1 mm, weighted by area.

    `signed_margin_mm` and `areas_mm2` (N,) are those of the evaluable points. The third column says in words to which
    class a bar belongs: below 0, up to `margin_mm`, or above. Raises InputError for arrays that do not fit, are empty,
    or are not finite.
    """
    margins, areas = np.asarray(signed_margin_mm, dtype=np.float64), np.asarray(areas_mm2, dtype=np.float64)
    if margins.shape != areas.shape or margins.ndim != 1 or not areas.sum() > 0 or not np.isfinite(margins).all():
        raise InputError(f"{name}: a histogram needs one finite margin and area for each point, and some area")
    edges = np.arange(np.floor(margins.min()), np.floor(margins.max()) + 2 * _STEP_MM, _STEP_MM)
    shares = np.histogram(margins, bins=edges, weights=areas)[0] / areas.sum() * 100.0
    table = create_node("vtkMRMLTableNode", f"{name} histogram", Provenance(TABLE_ROLE, inputs=inputs), displayed=False)
    words = ("below 0", f"0 to {margin_mm:g}", f"{margin_mm:g} and more")
    columns = (
        (vtk.vtkDoubleArray(), _MARGIN_COLUMN, (edges[:-1] + _STEP_MM / 2).tolist()),
        (vtk.vtkDoubleArray(), _SHARE_COLUMN, shares.tolist()),
        (vtk.vtkStringArray(), _CLASS_COLUMN, [words[int(edge >= 0) + int(edge >= margin_mm)] for edge in edges[:-1]]),
    )
    for column, title, values in columns:
        column.SetName(title)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    series = create_node(
        "vtkMRMLPlotSeriesNode", f"{name} bars", Provenance(SERIES_ROLE, inputs=(table,)), displayed=False
    )
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(_MARGIN_COLUMN)
    series.SetYColumnName(_SHARE_COLUMN)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatterBar)
    series.SetColor(*_COLOR)
    chart = create_node(
        "vtkMRMLPlotChartNode", f"{name} chart", Provenance(CHART_ROLE, inputs=(table,)), displayed=False
    )
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle(f"{name}: distribution of the margin")
    chart.SetXAxisTitle(f"signed margin in mm ({margin_mm:g} mm asked for)")
    chart.SetYAxisTitle("share of the evaluable surface, %")
    chart.SetLegendVisibility(False)
    return MarginHistogram(table, series, chart)
