"""Loading .ui files: Qt's own loader, which makes the stand-ins and their connections."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import slicer
from PySide6 import QtCore, QtUiTools, QtWidgets

from .ctk_widgets import ctk
from .python_qt import connect, loading

_SLICER_PREFIXES = ("ctk", "qMRML", "qSlicer")


class QUiLoader(QtUiTools.QUiLoader):
    """Loads a .ui file; a widget without a stand-in, or a connection that cannot be made, raises an error."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[QtWidgets.QWidget] = []
        self._unknown: list[str] = []

    def createWidget(self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> Any:
        """Make a widget by the name of its class; called by Qt."""
        if not class_name.startswith(_SLICER_PREFIXES):
            return super().createWidget(class_name, parent, name)
        cls = getattr(ctk, class_name, None) or getattr(slicer, class_name, None)
        if cls is None:
            self._unknown.append(class_name)
            cls = QtWidgets.QWidget
        widget = cls(parent)
        widget.setObjectName(name)
        self._made.append(widget)
        return widget

    def load(self, file: QtCore.QFile, parent: QtWidgets.QWidget | None = None) -> Any:
        """The widget of a .ui file."""
        root = ElementTree.parse(file.fileName()).getroot()
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        loading.append(file.fileName())
        try:
            widget = super().load(buffer, parent)
        finally:
            loading.pop()
        if self._unknown:
            raise RuntimeError(f"{file.fileName()}: no stand-in for {', '.join(sorted(set(self._unknown)))}")
        for connection in () if connections is None else connections.findall("connection"):
            self._connect(widget, *(connection.findtext(part, "") for part in ("sender", "signal", "receiver", "slot")))
        widget.__dict__["_made_by_loader"] = self._made  # Python's part of the stand-ins lives as long as the panel
        return widget

    def _connect(self, widget: Any, sender: str, signal: str, receiver: str, slot: str) -> None:
        found = [widget if widget.objectName == name else _child(widget, name) for name in (sender, receiver)]
        if None in found:
            raise RuntimeError(f"the .ui file connects {sender} and {receiver}: there is no widget of such a name")
        connect(found[0], signal, found[1], slot)


def _child(widget: QtCore.QObject, name: str) -> Any:
    return widget.findChild(QtCore.QObject, name)
