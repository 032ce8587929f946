"""The distribution of a margin as nodes of the scene: a table, its bars, and the chart that shows them.

Lines stand at 0 mm and at the margin asked for, in the colors of what lies below and above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import vtk

from ..core.errors import InputError
from .nodes import create_node
from .provenance import Provenance
from .surfaces import BAND_COLORS

TABLE_ROLE, SERIES_ROLE, CHART_ROLE = "margin_histogram", "margin_histogram_series", "margin_histogram_chart"

_MARGIN_COLUMN, _SHARE_COLUMN, _CLASS_COLUMN = "Margin (mm)", "Share of the surface (%)", "Class"
#: Width of a bar in mm, the bars' color, and the width of the lines in pixels. User-set.
_STEP_MM, _COLOR, _LIMIT_PIXELS = 1.0, (0.10, 0.13, 0.19), 3.0


@dataclass(frozen=True)
class MarginHistogram:
    """The nodes of a histogram; the exact shares stand in the table. `limits` are a table of lines and their series."""

    table: Any
    series: Any
    chart: Any
    limits: tuple[Any, ...]


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
        _add_column(table, column, title, values)
    series = _add_series(table, f"{name} bars", _MARGIN_COLUMN, _COLOR)
    series.SetPlotType(series.PlotTypeScatterBar)
    chart = create_node(
        "vtkMRMLPlotChartNode", f"{name} chart", Provenance(CHART_ROLE, inputs=(table,)), displayed=False
    )
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    limits = _add_limits(name, {0.0: BAND_COLORS[0], margin_mm: BAND_COLORS[-1]}, float(shares.max()), inputs)
    for line in limits[1:]:
        chart.AddAndObservePlotSeriesNodeID(line.GetID())
    chart.SetTitle(f"{name}: distribution of the margin")
    chart.SetXAxisTitle(f"signed margin in mm ({margin_mm:g} mm asked for)")
    chart.SetYAxisTitle("share of the evaluable surface, %")
    chart.SetLegendVisibility(False)
    return MarginHistogram(table, series, chart, limits)


def _add_limits(
    name: str, colors: dict[float, tuple[float, float, float]], top_percent: float, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    """A table of upright lines at some margins in mm, and a series for each, in its color."""
    table = create_node("vtkMRMLTableNode", f"{name} limits", Provenance(TABLE_ROLE, inputs=inputs), displayed=False)
    _add_column(table, vtk.vtkDoubleArray(), _SHARE_COLUMN, [0.0, top_percent])
    made = [table]
    for limit_mm, color in colors.items():
        words = f"{limit_mm:g} mm"
        _add_column(table, vtk.vtkDoubleArray(), words, [limit_mm, limit_mm])
        line = _add_series(table, f"{name} {words}", words, color)
        line.SetPlotType(line.PlotTypeScatter)
        line.SetMarkerStyle(line.MarkerStyleNone)
        line.SetLineWidth(_LIMIT_PIXELS)
        made.append(line)
    return tuple(made)


def _add_column(table: Any, column: Any, title: str, values: Sequence[Any]) -> None:
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value)
    table.AddColumn(column)


def _add_series(table: Any, name: str, x_column: str, color: tuple[float, float, float]) -> Any:
    """Shares over a column of a table."""
    provenance = Provenance(SERIES_ROLE, inputs=(table,))
    series = create_node("vtkMRMLPlotSeriesNode", name, provenance, displayed=False)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(x_column)
    series.SetYColumnName(_SHARE_COLUMN)
    series.SetColor(*color)
    return series
