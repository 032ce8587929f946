"""How a stand-in declares what it offers: properties with a stored value, and signals by their C++ signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Property


def stored(kind: Any, name: str, default: Any) -> Any:
    """A Q_PROPERTY that only keeps its value; a widget with `_changed(name)` hears of a change."""

    def read(self: Any) -> Any:
        return self.__dict__.get(f"_{name}", default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[f"_{name}"] = value
        if changed := getattr(self, "_changed", None):
            changed(name)

    return Property(kind, read, write)


def forwarded(kind: Any, to: str, name: str, done: Callable[[Any], None] | None = None) -> Any:
    """A Q_PROPERTY of the widget inside, kept in the attribute `to`."""

    def read(self: Any) -> Any:
        return getattr(getattr(self, to), name)

    def write(self: Any, value: Any) -> None:
        setattr(getattr(self, to), name, value)
        if done is not None:
            done(self)

    return Property(kind, read, write)
