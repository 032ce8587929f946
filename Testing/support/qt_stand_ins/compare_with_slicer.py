"""Compare every stand-in with the source that it stands for: is what it offers declared there?

    python -m support.qt_stand_ins.compare_with_slicer SLICER_SOURCE CTK_SOURCE     (in the folder Testing)

Each property, signal and method of a stand-in must be declared in the class's header, or in that of a base class, as
Q_PROPERTY, signal, slot or Q_INVOKABLE: only those does PythonQt show. A public C++ method without one of these marks
does not count, for panels cannot call it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6 import QtCore

#: Where headers are looked for by name, in either source.
_FOLDERS = ("Libs", "Base", "Modules/Loadable")

#: Methods that PythonQt shows through Slicer's decorators and not through the class.
_DECORATED = {"qSlicerAbstractCoreModule": {"widgetRepresentation"}}  # Base/QTGUI/qSlicerBaseQTGUIPythonQtDecorators.h

#: Where a part of a class begins.
_ACCESS = re.compile(r"^\s*(public|protected|private)?\s*(slots|Q_SLOTS|signals|Q_SIGNALS)?\s*:\s*(?!:)", re.MULTILINE)


@dataclass
class Declared:
    """What PythonQt shows of a class, with its bases; signals by their normalized signatures."""

    properties: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)
    enumerators: set[str] = field(default_factory=set)


class Headers:
    """The headers of Slicer and CTK."""

    def __init__(self, *sources: Path) -> None:
        """Find all headers."""
        self._paths = {
            path.name: path
            for source in sources
            for folder in _FOLDERS
            for path in sorted((source / folder).rglob("*.h"))
            if path.name.startswith(("q", "ctk"))
        }

    def declared(self, class_name: str) -> Declared:
        """What a class and its bases declare; raises KeyError without its header."""
        path = self._paths[f"{class_name}.h"]
        text = _without_comments(path.read_text(encoding="utf-8", errors="replace"))
        found = Declared(methods=set(_DECORATED.get(class_name, ())))
        head = re.search(rf"class\s+(?:\w+\s+)?{class_name}\s*(?:final)?\s*(?::([^{{;]*))?\{{", text)
        if head is None:
            raise KeyError(f"{path.name} does not define {class_name}")
        for base in re.findall(r"public\s+(?:virtual\s+)?(\w+)", head[1] or ""):
            if f"{base}.h" in self._paths:
                inherited = self.declared(base)
                for name in vars(found):
                    getattr(found, name).update(getattr(inherited, name))
        body = text[head.end() :]
        found.properties.update(re.findall(r"Q_PROPERTY\s*\(\s*[\w:<>\s\*]+?[\s\*]+(\w+)\s+READ", body))
        found.methods.update(re.findall(r"Q_INVOKABLE[^;{()]*?[\s\*&]([A-Za-z]\w*)\s*\(", body))
        for enumeration in re.findall(r"\benum\s+\w*\s*\{([^}]*)\}", body):
            found.enumerators.update(re.findall(r"(?:^|,)\s*(\w+)", enumeration))
        for kind, part in _parts(body):
            if kind == "signals":
                found.signals.update(_signatures(part))
            elif kind == "slots":
                found.methods.update(re.findall(r"[\s\*&]([A-Za-z]\w*)\s*\([^;{]*\)[^;{]*[;{]", part))
        return found


def differences(cls: type, declared: Declared) -> list[str]:
    """What a stand-in offers beyond what its class declares."""
    found = []
    for name, value in vars(cls).items():
        if name.startswith("_") or name == "staticMetaObject":
            continue
        if isinstance(value, QtCore.Signal):
            if name not in vars(cls).get("_signals", {}).values():
                found.append(f"{cls.__name__}.{name}: a signal without its signature")
        elif isinstance(value, QtCore.Property):
            if name not in declared.properties:
                found.append(f"{cls.__name__}.{name}: no such Q_PROPERTY")
        elif callable(value):
            if name not in declared.methods and not _is_of_qt(cls, name):
                found.append(f"{cls.__name__}.{name}(): neither slot nor Q_INVOKABLE")
        elif name not in declared.enumerators:
            found.append(f"{cls.__name__}.{name}: no such enumerator")
    absent = [signature for signature in vars(cls).get("_signals", {}) if signature not in declared.signals]
    return found + [f"{cls.__name__}: no such signal {signature}" for signature in absent]


def stand_ins() -> list[type]:
    """All classes that stand for one of Slicer or CTK."""
    from . import application, ctk_widgets, mrml_widgets

    modules = (ctk_widgets, mrml_widgets, application)
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted((cls for cls in classes if "_header" in vars(cls)), key=lambda cls: cls.__name__)


def _is_of_qt(cls: type, name: str) -> bool:
    return any(hasattr(base, name) for base in cls.__mro__ if base.__module__.startswith("PySide6."))


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _parts(body: str) -> list[tuple[str, str]]:
    """The body in parts: "slots" (public ones), "signals" or "" for everything else."""
    marks = [mark for mark in _ACCESS.finditer(body) if mark[1] or mark[2]]
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    parts = []
    for mark, end in zip(marks, ends, strict=True):
        kind = (mark[2] or "").removeprefix("Q_").lower()
        is_shown = kind == "signals" or (kind == "slots" and mark[1] == "public")
        parts.append((kind if is_shown else "", body[mark.end() : end]))
    return parts


def _signatures(part: str) -> set[str]:
    found = set()
    for name, arguments in re.findall(r"void\s+(\w+)\s*\(([^;]*?)\)\s*;", part):
        types = [re.sub(r"=.*|(?<=[\s\*&])\w+\s*$", "", argument.strip()) for argument in _split(arguments)]
        signature = f"{name}({','.join(types)})"
        normalized: Any = QtCore.QMetaObject.normalizedSignature(signature)
        found.add(normalized if isinstance(normalized, str) else bytes(normalized).decode())
    return found


def _split(arguments: str) -> list[str]:
    """The arguments with a name dropped only where there is one beside the type."""
    parts = [part.strip() for part in arguments.split(",") if part.strip()]
    return [part if re.search(r"[\s\*&]\w+\s*$", part) else f"{part} unnamed" for part in parts]


def main(arguments: list[str]) -> int:
    """Print what differs; 1 where anything does."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    headers = Headers(*(Path(argument) for argument in arguments))
    classes = stand_ins()
    found = [line for cls in classes for line in differences(cls, headers.declared(cls.__name__))]
    sys.stdout.write("\n".join([*found, f"{len(classes)} stand-ins compared, {len(found)} differences", ""]))
    return 1 if found else 0


if __name__ == "__main__":
    from . import install

    install()
    sys.exit(main(sys.argv[1:]))
