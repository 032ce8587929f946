"""Stand-in for `slicer.parameterNodeWrapper`: typed access to a parameter node, and its widgets kept in step.

Modelled: members that are bool, int, float, str, an enum or a class of nodes (also optional), defaults, the validators
`Choice`, `Minimum`, `Maximum` and `WithinRange`, and `connectGui` with the widgets that Slicer's connectors take. Other
types of members and widgets are refused, as Slicer refuses those that it does not know. Not modelled: parameter packs,
lists, caching, and how Slicer writes a value into the node's strings.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

#: The dynamic property in .ui files that names a member.
PROPERTY = "SlicerParameterName"


class ValidatorFailed(ValueError):
    """A value that a member's validator refuses."""


class Default:
    """Annotation: the value that a member has at first."""

    def __init__(self, value: Any) -> None:
        """Keep the value."""
        self.value = value


class Choice:
    """Annotation: one of these values."""

    def __init__(self, choices: list[Any]) -> None:
        """Keep the choices."""
        self.choices = choices

    def check(self, value: Any) -> None:
        """Refuse another value."""
        if value not in self.choices:
            raise ValidatorFailed(f"{value!r} is not one of {self.choices}")


class WithinRange:
    """Annotation: a number from a least to a largest one."""

    def __init__(self, minimum: float, maximum: float) -> None:
        """Keep both."""
        self.minimum, self.maximum = minimum, maximum

    def check(self, value: Any) -> None:
        """Refuse a number beyond."""
        if not self.minimum <= value <= self.maximum:
            raise ValidatorFailed(f"{value} is not from {self.minimum} to {self.maximum}")


class Minimum(WithinRange):
    """Annotation: a least number."""

    def __init__(self, minimum: float) -> None:
        """Keep it."""
        super().__init__(minimum, float("inf"))


class Maximum(WithinRange):
    """Annotation: a largest number."""

    def __init__(self, maximum: float) -> None:
        """Keep it."""
        super().__init__(float("-inf"), maximum)


class _Member:
    """One member of a wrapped class: how it is read from the node and written into it."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        bare, notes = hint, ()
        if typing.get_origin(hint) is typing.Annotated:
            bare, *rest = typing.get_args(hint)
            notes = tuple(rest)
        self.type = bare
        parts = typing.get_args(bare) if typing.get_origin(bare) in (typing.Union, types.UnionType) else (bare,)
        self.is_node = all(part is type(None) or _is_node_class(part) for part in parts)
        self.choice = next((note for note in notes if isinstance(note, Choice)), None)
        self.validators = [note for note in notes if hasattr(note, "check")]
        given = next((note.value for note in notes if isinstance(note, Default)), default)
        if not self.is_node and bare not in (bool, int, float, str) and not _is_enum(bare):
            raise TypeError(f"{name}: no stand-in for a member of type {bare}")
        if given is None and not self.is_node:
            given = next(iter(bare)) if _is_enum(bare) else self.choice.choices[0] if self.choice else bare()
        self.default = given

    def is_in(self, node: Any) -> bool:
        return self.is_node or node.GetParameter(self.name) != ""

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name).removeprefix("=")
        if self.type is bool:
            return text == "True"
        return self.type[text] if _is_enum(self.type) else self.type(text)

    def write(self, node: Any, value: Any) -> None:
        for validator in self.validators:
            validator.check(value)
        if self.is_node:
            if value is not None and not isinstance(value, _node_classes(self.type)):
                raise TypeError(f"{self.name}: a {type(value).__name__} is not a {self.type}")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, (int, float) if self.type is float else self.type):
            raise TypeError(f"{self.name}: {value!r} is not of type {self.type}")
        # A mark before the value tells an empty text from a member that was never written.
        node.SetParameter(self.name, "=" + (value.name if _is_enum(self.type) else str(self.type(value))))


class _Wrapped:
    """What every wrapped class can do, by the names that Slicer's has."""

    allParameters: typing.ClassVar[dict[str, _Member]] = {}

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._connections: dict[int, tuple[int, list[tuple[Any, Callable[..., None]]]]] = {}
        self._next_tag = 0
        self._is_updating = False
        for member in self.allParameters.values():
            if not member.is_in(parameterNode):
                member.write(parameterNode, member.default)

    def connectGui(self, gui: Any) -> int:
        """Keep the widgets that carry the dynamic property in step with their members; returns a tag."""
        found = {
            name: widget
            for widget in vars(gui).values()
            if hasattr(widget, "property") and (name := widget.property(PROPERTY))
        }
        return self.connectParametersToGui(found)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Keep widgets in step with the members of these names."""
        links = [(self._member(name), _link(widget, self._member(name))) for name, widget in mapping.items()]
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        undo = []
        for member, link in links:
            link.write(member.read(self.parameterNode))

            def take(*_: Any, member: _Member = member, link: _Link = link) -> None:
                if not self._is_updating:
                    member.write(self.parameterNode, link.read())

            link.signal.connect(take)
            undo.append((link.signal, take))

        def show(*_: Any) -> None:
            if self._is_updating:
                return
            self._is_updating = True
            try:
                for member, link in links:
                    link.write(member.read(self.parameterNode))
            finally:
                self._is_updating = False

        observer = self.parameterNode.AddObserver("ModifiedEvent", show)
        self._connections[tag] = (observer, undo)
        return tag

    def disconnectGui(self, guiTag: int) -> None:
        """Undo `connectGui`."""
        observer, undo = self._connections.pop(guiTag, (None, []))
        if observer is not None:
            self.parameterNode.RemoveObserver(observer)
        for signal, take in undo:
            signal.disconnect(take)

    def getValue(self, name: str) -> Any:
        """The value of a member by its name."""
        return self._member(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        """Give a member another value by its name."""
        self._member(name).write(self.parameterNode, value)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """Observe the node."""
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        """Stop observing the node."""
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        """As the node's."""
        return int(self.parameterNode.StartModify())

    def EndModify(self, wasModified: int) -> None:
        """As the node's."""
        self.parameterNode.EndModify(wasModified)

    def Modified(self) -> None:
        """As the node's."""
        self.parameterNode.Modified()

    def _member(self, name: str) -> _Member:
        if name not in self.allParameters:
            raise ValueError(f"no parameter '{name}'; there are {', '.join(self.allParameters)}")
        return self.allParameters[name]


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator: members with types become properties of a parameter node."""
    return _wrapped if classtype is None else _wrapped(classtype)


def _wrapped(cls: type) -> type:
    hints = typing.get_type_hints(cls, include_extras=True)
    members = {name: _Member(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    reserved = set(members) & set(dir(_Wrapped))
    if reserved:
        raise ValueError(f"reserved names in a parameterNodeWrapper: {', '.join(sorted(reserved))}")
    body: dict[str, Any] = {name: _property(member) for name, member in members.items()}
    body |= {"allParameters": members, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return type(cls.__name__, (_Wrapped,), body)


def _property(member: _Member) -> property:
    return property(
        lambda self: member.read(self.parameterNode), lambda self, value: member.write(self.parameterNode, value)
    )


class _Link:
    """A widget beside a member: the signal that tells of a change, and how the widget is read and written."""

    def __init__(self, signal: Any, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.signal, self.read, self.write = signal, read, write


def _link(widget: Any, member: _Member) -> _Link:
    """How a widget shows a member; raises RuntimeError where Slicer has no connector for both."""
    kind, value_type = type(widget), member.type
    if member.is_node and kind is slicer.qMRMLNodeComboBox:
        return _Link(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)
    if value_type is bool and kind in (qt.QCheckBox, qt.QPushButton, ctk.ctkCheckablePushButton):
        if kind is not qt.QCheckBox and not widget.checkable:
            raise RuntimeError(f"{widget.objectName}: the button is not checkable")
        signal = widget.stateChanged if kind is qt.QCheckBox else widget.toggled
        return _Link(signal, lambda: widget.checked, _setter(widget, "checked"))
    if value_type is int and kind in (qt.QSlider, qt.QSpinBox):
        return _Link(widget.valueChanged, lambda: widget.value, _setter(widget, "value"))
    floating = (qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox)
    floating += (slicer.qMRMLSliderWidget, slicer.qMRMLSpinBox)
    if value_type in (int, float) and kind in floating:
        return _Link(widget.valueChanged, lambda: value_type(widget.value), _setter(widget, "value"))
    if kind in (qt.QComboBox, ctk.ctkComboBox) and (value_type in (bool, int, float, str) or _is_enum(value_type)):
        return _combo_link(widget, member)
    if value_type is str and kind is qt.QLineEdit:
        return _Link(widget.textChanged, lambda: widget.text, _setter(widget, "text"))
    raise RuntimeError(f"no connector from {value_type} to a {kind.__name__} ({widget.objectName})")


def _combo_link(widget: Any, member: _Member) -> _Link:
    if _is_enum(member.type):
        choices = list(member.type)
        labels = [choice.label() if hasattr(choice, "label") else choice.name for choice in choices]
    elif member.choice is None:
        raise RuntimeError(f"{widget.objectName}: a combo box needs the Choice annotation")
    else:
        choices = member.choice.choices
        labels = [str(choice) for choice in choices]
    widget.clear()
    for label in labels:
        widget.addItem(label)

    def write(value: Any) -> None:
        widget.currentIndex = choices.index(value)

    return _Link(widget.currentIndexChanged, lambda: choices[widget.currentIndex], write)


def _setter(widget: Any, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(widget, name, value)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _is_node_class(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def _node_classes(hint: Any) -> tuple[type, ...]:
    return tuple(part for part in (typing.get_args(hint) or (hint,)) if part is not type(None))
