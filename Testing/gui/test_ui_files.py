"""The Qt Designer files, read without Qt: names, connections, tool tips, parameters, and what the classes have."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

_SHIPPED = Path(__file__).resolve().parents[2] / "NETAblation"
_FILES = sorted((_SHIPPED / "Resources/UI").glob("*.ui"))

#: Widgets that a user acts on or reads a figure from; each needs a tool tip.
_CONTROLS = re.compile(
    r"Q(PushButton|ToolButton|CheckBox|RadioButton|ComboBox|SpinBox|DoubleSpinBox|Slider|LineEdit|TableWidget|ProgressBar)"
    r"|ctk(SliderWidget|DoubleSpinBox|PathLineEdit|DirectoryButton|MenuButton|ComboBox|CheckablePushButton)"
    r"|qMRML(NodeComboBox|SliderWidget|SpinBox|SegmentSelectorWidget)"
)


def _class(name):
    import ctk
    import qt
    import slicer

    return next((getattr(module, name) for module in (qt, ctk, slicer) if hasattr(module, name)), None)


def _widgets(path):
    return list(ElementTree.parse(path).getroot().iter("widget"))


def _properties(widget):
    return {child.get("name"): child for child in widget.findall("property")}


@pytest.fixture(params=_FILES, ids=[path.stem for path in _FILES])
def path(request):
    return request.param


def test_every_module_has_its_file():
    modules = {file.stem for file in _SHIPPED.glob("*.py")}
    assert {file.stem for file in _FILES} == modules


def test_names_are_unique(path):
    names = [element.get("name") for element in ElementTree.parse(path).getroot().iter() if element.tag == "widget"]
    assert len(set(names)) == len(names)


def test_no_two_things_share_a_cell(path):
    for layout in ElementTree.parse(path).getroot().iter("layout"):
        cells = [
            (int(item.get("row")), int(item.get("column")) + across)
            for item in layout.findall("item")
            if item.get("row") is not None
            for across in range(int(item.get("colspan", "1")))
        ]
        assert len(set(cells)) == len(cells), layout.get("name")


def test_classes_and_properties_are_slicer_s(path):
    for widget in _widgets(path):
        cls = _class(widget.get("class"))
        assert cls is not None, widget.get("class")
        meta = cls.staticMetaObject
        for name, element in _properties(widget).items():
            if element.get("stdset") != "0":
                assert meta.indexOfProperty(name) >= 0, f"{widget.get('name')}: {widget.get('class')} has no {name}"


def test_every_control_has_a_tool_tip(path):
    without = [
        widget.get("name")
        for widget in _widgets(path)
        if _CONTROLS.fullmatch(widget.get("class")) and "toolTip" not in _properties(widget)
    ]
    assert without == []


def test_connections_resolve(path):
    from support.qt_stand_ins.python_qt import has_signal

    by_name = {widget.get("name"): _class(widget.get("class")) for widget in _widgets(path)}
    for connection in ElementTree.parse(path).getroot().iter("connection"):
        sender, receiver = by_name[connection.findtext("sender")], by_name[connection.findtext("receiver")]
        assert has_signal(sender, connection.findtext("signal")), connection.findtext("signal")
        slot = connection.findtext("slot").partition("(")[0]
        assert callable(getattr(receiver, slot, None)), slot


def test_node_widgets_get_the_scene(path):
    root = ElementTree.parse(path).getroot()
    connected = {connection.findtext("receiver") for connection in root.iter("connection")}
    top = root.find("widget").get("name")
    need = {
        widget.get("name") for widget in root.iter("widget") if hasattr(_class(widget.get("class")), "setMRMLScene")
    }
    assert need - {top} - connected == set()


def test_code_uses_names_that_exist(path):
    source = (_SHIPPED / f"{path.stem}.py").read_text(encoding="utf-8")
    used = set(re.findall(r"\bui\.(\w+)", source))
    names = {widget.get("name") for widget in _widgets(path)}
    assert used - names == set()


def test_parameters_are_fields(path):
    import sys

    if str(_SHIPPED) not in sys.path:
        sys.path.insert(0, str(_SHIPPED))
    fields = getattr(importlib.import_module(path.stem), f"{path.stem}ParameterNode").allParameters
    named = [
        element.findtext("string")
        for widget in _widgets(path)
        for name, element in _properties(widget).items()
        if name == "SlicerParameterName"
    ]
    assert len(set(named)) == len(named)
    assert set(named) - set(fields) == set()
