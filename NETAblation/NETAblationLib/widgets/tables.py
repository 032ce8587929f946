"""Tables of panels: filled from rows that carry a key, so that the selection outlives a new filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import qt

#: Where a row keeps its key: in its first item.
_KEY = qt.Qt.UserRole

#: Height of a row and of the head, in pixels. User-set.
_ROW_PIXELS = 26


@dataclass(frozen=True)
class Cell:
    """What one cell shows; `color` (r, g, b, 0..1) is its background, beside words and never instead of them."""

    text: str
    toolTip: str = ""
    color: tuple[float, float, float] | None = None
    isEditable: bool = False


def setColumns(table: Any, titles: Sequence[str], wide: int, toolTips: Sequence[str] = ()) -> None:
    """Give a table its columns: as wide as what they hold, but `wide`, which takes the room that is left."""
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    for column, toolTip in enumerate(toolTips):
        table.horizontalHeaderItem(column).setToolTip(toolTip)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(_ROW_PIXELS)
    table.wordWrap = False
    header = table.horizontalHeader()
    header.highlightSections = False
    header.minimumHeight = header.maximumHeight = _ROW_PIXELS
    for column in range(len(titles)):
        isWide = column == wide
        header.setSectionResizeMode(column, qt.QHeaderView.Stretch if isWide else qt.QHeaderView.ResizeToContents)


def fitHeight(table: Any, least: int, most: int) -> None:
    """Make a table of :func:`setColumns` as high as its rows, from `least` to `most` of them; more are scrolled to."""
    rows = min(max(table.rowCount, least), most)
    table.minimumHeight = table.maximumHeight = (rows + 1) * _ROW_PIXELS + 2 * table.frameWidth


def fillTable(table: Any, keys: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Fill a QTableWidget that has its columns; the selected row stays selected while its key is there."""
    chosen = selectedKey(table)
    wasBlocked = table.blockSignals(True)
    try:
        table.setRowCount(len(rows))
        for row, (key, cells) in enumerate(zip(keys, rows, strict=True)):
            for column, cell in enumerate(cells):
                item = qt.QTableWidgetItem(cell.text)
                item.setToolTip(cell.toolTip or cell.text)
                flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
                item.setFlags(flags | qt.Qt.ItemIsEditable if cell.isEditable else flags)
                if cell.color is not None:
                    red, green, blue = (round(255 * part) for part in cell.color)
                    item.setBackground(qt.QBrush(qt.QColor(red, green, blue)))
                    isDark = 0.299 * red + 0.587 * green + 0.114 * blue < 140  # luma of Rec. 601; user-set limit
                    ink = qt.QColor(255, 255, 255) if isDark else qt.QColor(0, 0, 0)
                    item.setForeground(qt.QBrush(ink))
                if column == 0:
                    item.setData(_KEY, key)
                table.setItem(row, column, item)
        if chosen in keys:
            table.selectRow(list(keys).index(chosen))
        else:
            table.clearSelection()
            table.setCurrentCell(-1, -1)
    finally:
        table.blockSignals(wasBlocked)


def selectedKey(table: Any) -> str:
    """The key of the selected row; empty where none is."""
    return keyOfRow(table, table.currentRow())


def keyOfRow(table: Any, row: int) -> str:
    """The key of a row; empty where there is none of that number."""
    item = table.item(row, 0) if row >= 0 else None
    return "" if item is None else str(item.data(_KEY) or "")


def selectKey(table: Any, key: str) -> None:
    """Select the row of a key; nothing where there is none."""
    for row in range(table.rowCount):
        if keyOfRow(table, row) == key:
            table.selectRow(row)
            return
