"""Panels on stand-ins of Qt: loaded on an empty scene; an exception in a slot fails the test."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from NETAblationLib.scene.startup import is_inside_application

_MODULES = Path(__file__).resolve().parents[2] / "NETAblation"

_REASON = ""
if is_inside_application():
    _STAND_INS = False
else:
    _STAND_INS = True
    try:
        from support.qt_stand_ins import install

        install()
    except ImportError as error:
        _REASON = f"Qt cannot start here: {error}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of panels, with the reason, where Qt cannot start."""
    if _REASON:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=_REASON))


@pytest.fixture(autouse=True)
def no_error_in_slots(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Qt and VTK print exceptions of slots and observers and go on; here they fail the test, as does an error dialog.

    A test that expects a dialog takes the fixture `dialogs` or replaces `slicer.util.errorDisplay`.
    """
    import slicer

    errors: list[str] = []
    told: list[BaseException] = []
    try_with_display = slicer.util.tryWithErrorDisplay

    @contextmanager
    def remember(*arguments: Any, **named: Any) -> Iterator[None]:
        try:
            with try_with_display(*arguments, **named):
                yield
        except Exception as error:
            told.append(error)  # it was shown in a dialog before it was raised again
            raise

    def keep(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not any(error is one for one in told):
            errors.append("".join(traceback.format_exception(kind, error, trace)))

    monkeypatch.setattr(sys, "excepthook", keep)
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: keep(hook.exc_type, hook.exc_value, hook.exc_traceback))
    if _STAND_INS:
        monkeypatch.setattr(slicer.app, "_is_testing", False)
    monkeypatch.setattr(slicer.util, "tryWithErrorDisplay", remember)
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_args, **_named: errors.append(text))
    yield errors
    assert not errors, "\n".join(errors)


@pytest.fixture
def dialogs(no_error_in_slots: list[str], monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The texts of dialogs, in `shown`; questions are answered with `answer` (True at first)."""
    import slicer.util

    log = SimpleNamespace(shown=[], answer=True)

    def show(text: str, *_args: Any, **_named: Any) -> None:
        log.shown.append(text)

    def ask(text: str, *_args: Any, **_named: Any) -> bool:
        log.shown.append(text)
        return bool(log.answer)

    for name in ("errorDisplay", "warningDisplay", "infoDisplay"):
        monkeypatch.setattr(slicer.util, name, show)
    for name in ("confirmOkCancelDisplay", "confirmYesNoDisplay"):
        monkeypatch.setattr(slicer.util, name, ask)
    return log


@pytest.fixture
def panel(scene: Any) -> Iterator[Callable[[str], Any]]:
    """`panel("NETAblationProbes")`: the module's widget, set up and entered on the empty scene."""
    import slicer

    opened = []

    def open_panel(name: str) -> Any:
        if _STAND_INS:
            from support.qt_stand_ins.application import load_module

            opened.append(load_module(_MODULES / f"{name}.py"))
        slicer.util.mainWindow().moduleSelector().selectModule(name)
        slicer.app.processEvents()
        return slicer.util.getModuleWidget(name)

    yield open_panel
    if _STAND_INS:
        from support.qt_stand_ins.application import unload_widget

        for module in opened:
            unload_widget(module)
        slicer.util.mainWindow().moduleSelector().__dict__["_selected"] = ""
    slicer.app.processEvents()


@pytest.fixture
def sample_case(scene: Any, small_patient: Any) -> Any:
    """The small digital patient in the scene before any lesion is drawn: two phases and the liver (a CaseScene)."""
    from NETAblationLib.scene.cases import CaseScene

    case = CaseScene.create(
        small_patient.portal, image=small_patient.portal, liver=small_patient.masks["liver"], image_name="Portal venous"
    )
    case.add_phase(small_patient.arterial, "Arterial")
    return case
