"""Qt as PythonQt shows it in 3D Slicer, made of PySide6: properties are attributes, signals go by signature.

What PythonQt refuses is refused here too: unknown attributes (read or written), signals that a class does not
have. Not modelled: PythonQt's conversions of arguments, its overloads, who owns which object, and Qt 5.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import os
import sys
import types
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtWidgets

#: What `import qt` gives.
qt = types.ModuleType("qt")

_MODULES = (QtCore, QtGui, QtWidgets)

#: PySide's own, which PythonQt does not have.
_PYSIDE_ONLY = {"Signal", "Slot", "Property", "QtMsgType"}

#: Virtual functions as well as properties: Qt asks the Python class for them by name.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}

#: Items of tables, lists and trees are no QObject, but are as strict about attributes.
_ITEMS = (QtWidgets.QTableWidgetItem, QtWidgets.QListWidgetItem, QtWidgets.QTreeWidgetItem)

#: Not empty while a .ui file is being loaded.
loading: list[str] = []

_read_property = QtCore.QObject.property
_write_property = QtCore.QObject.setProperty
_connect_objects = QtCore.QObject.connect

#: Connections made by signature, so that they can be undone: (object, signature, receiver) to the slots.
_connections: dict[tuple[int, str, Any], list[tuple[Any, Callable[..., Any]]]] = {}


def native(cls: type) -> type:
    """Mark a stand-in as a class of C++: its instances take no new attributes."""
    cls._is_native = True  # type: ignore[attr-defined]
    return cls


def connect(sender: QtCore.QObject, *arguments: Any) -> bool:
    """`sender.connect("signal(type)", f)`, or with a receiver and the signature of its slot."""
    signature, *rest = arguments
    if not isinstance(signature, str):
        return bool(_connect_objects(sender, *arguments))
    signal, count = _signal(sender, signature)
    receiver = rest[0] if len(rest) == 1 else getattr(rest[0], rest[1].partition("(")[0])
    slot = _taking(receiver, count)
    signal.connect(slot)
    _connections.setdefault(_key(sender, signature, receiver), []).append((signal, slot))
    return True


def disconnect(sender: QtCore.QObject, *arguments: Any) -> bool:
    """Undo `connect`; False where there was no such connection."""
    signature, *rest = arguments
    receiver = rest[0] if len(rest) == 1 else getattr(rest[0], rest[1].partition("(")[0])
    made = _connections.get(_key(sender, signature, receiver), [])
    if not made:
        return False
    signal, slot = made.pop()
    signal.disconnect(slot)
    return True


def signatures_of(cls: type) -> dict[str, str]:
    """Signal signatures that a stand-in declares, its bases included: signature to attribute."""
    declared: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        declared.update(base.__dict__.get("_signals", {}))
    return declared


def has_signal(sender: Any, signature: str) -> bool:
    """Whether an object (or class) has the signal of this signature, `name(types)`."""
    cls = sender if isinstance(sender, type) else type(sender)
    normalized = QtCore.QMetaObject.normalizedSignature(signature)
    normalized = bytes(normalized).decode() if not isinstance(normalized, str) else normalized
    known = {name.replace(" ", "") for name in signatures_of(cls)}
    return normalized in known or cls.staticMetaObject.indexOfSignal(normalized) >= 0


def _signal(sender: QtCore.QObject, signature: str) -> tuple[Any, int | None]:
    """The signal of this signature and how many arguments it gives."""
    normalized = QtCore.QMetaObject.normalizedSignature(signature)
    normalized = bytes(normalized).decode() if not isinstance(normalized, str) else normalized
    if not has_signal(sender, normalized):
        raise AttributeError(f"{type(sender).__name__} has no signal {signature}")
    name, _, rest = normalized.partition("(")
    arguments = rest.removesuffix(")")
    count = arguments.count(",") + 1 if arguments else 0
    attribute = {key.replace(" ", ""): value for key, value in signatures_of(type(sender)).items()}.get(normalized)
    signal = getattr(sender, attribute or name)
    if attribute is None:
        with contextlib.suppress(IndexError, KeyError, TypeError):  # a signal without overloads
            signal = signal[arguments] if arguments else signal
    return signal, count


def _taking(function: Callable[..., Any], count: int | None) -> Callable[..., Any]:
    """`function` given the first `count` arguments of a signal, and no more than it takes (as PythonQt does)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        takes = None  # a function of C++ that does not tell
    else:
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        takes = sum(parameter.kind in positional for parameter in parameters)
        if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
            takes = None

    def slot(*values: Any) -> None:
        given = values[:count]
        function(*(given if takes is None else given[:takes]))

    return slot


def _key(sender: QtCore.QObject, signature: str, receiver: Any) -> tuple[int, str, Any]:
    return id(sender), signature.replace(" ", ""), receiver


class _QtProperty:
    """A Q_PROPERTY as attribute; the class still gives the function of that name, as QTimer.singleShot."""

    def __init__(self, name: str, of_class: Any = None) -> None:
        self._name, self._of_class = name, of_class

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self if self._of_class is None else self._of_class
        return _read_property(instance, self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        _write_property(instance, self._name, value)


def _is_cpp_class(cls: type) -> bool:
    return cls.__module__.startswith("PySide6.") or "_is_native" in cls.__dict__


def _set_attribute(self: Any, name: str, value: Any) -> None:
    """Write a property; new attributes go to instances of Python's own classes only."""
    if loading and not name.startswith("_") and isinstance(value, QtCore.QObject):
        return  # PySide's loader makes attributes of the children, PythonQt's does not
    declared = inspect.getattr_static(type(self), name, None)
    if isinstance(declared, QtCore.Property):
        _write_property(self, name, value)
        return
    if declared is not None and hasattr(type(declared), "__set__"):
        declared.__set__(self, value)
        return
    # PySide keeps a signal in the instance when it is first asked for.
    is_signal = isinstance(declared, QtCore.Signal) and isinstance(value, QtCore.SignalInstance)
    if _is_cpp_class(type(self)) and not name.startswith("_") and not is_signal:
        if declared is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}, and takes no new ones")
        raise AttributeError(f"{name} of {type(self).__name__} is a method: it cannot be overwritten")
    self.__dict__[name] = value


def _get_attribute(self: Any, name: str) -> Any:
    """Attributes of a QObject; connect and disconnect as PythonQt has them, on objects made by Qt too."""
    if name == "connect":
        return types.MethodType(connect, self)
    if name == "disconnect":
        return types.MethodType(disconnect, self)
    value = object.__getattribute__(self, name)
    return _read_property(self, name) if isinstance(value, QtCore.Property) else value


def _show_properties(cls: type) -> None:
    """Make the Q_PROPERTYs of a class attributes, in place of the getters of the same names."""
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name in _VIRTUAL:
            continue
        setattr(cls, name, _QtProperty(name, getattr(cls, name, None)))


def _classes() -> list[type]:
    found = [value for value in vars(qt).values() if isinstance(value, type)]
    return [cls for cls in found if issubclass(cls, QtCore.QObject)]


def _keep_constants() -> None:
    """PySide is built for Pythons whose None, True and False live forever: before 3.12 each call takes a reference."""
    if sys.version_info < (3, 12):
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 40


def _fill() -> None:
    for module in _MODULES:
        for name in dir(module):  # PySide makes its classes when they are asked for
            if name.startswith("Q") and name not in _PYSIDE_ONLY:
                setattr(qt, name, getattr(module, name))
    for cls in _classes():
        _show_properties(cls)
        cls.__setattr__ = _set_attribute  # type: ignore[method-assign]
        if "exec" in vars(cls) and not hasattr(cls, "exec_"):
            cls.exec_ = cls.exec  # type: ignore[attr-defined]
    for cls in _ITEMS:
        cls.__setattr__ = _set_attribute  # type: ignore[method-assign]
    objects: Any = QtCore.QObject
    objects.__getattribute__ = _get_attribute
    objects.name = _QtProperty("objectName")
    objects.className = lambda self: self.metaObject().className()
    objects.delete = lambda self: self.deleteLater()


_keep_constants()
_fill()
