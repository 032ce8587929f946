"""Render the panels and views of the sample case to Resources/Screenshots, for the README's tutorial.

    python Testing/screenshots.py [FOLDER]

Works through the sample case by the panels' buttons (support/workflow.py). The panels are drawn with stand-ins of
Qt's and Slicer's widgets: their looks differ in a real Slicer. The views are drawn by Slicer's own libraries.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_TESTING = Path(__file__).resolve().parent
_MODULES = _TESTING.parent / "NETAblation"
sys.path[:0] = [str(_MODULES), str(_TESTING)]

#: Width of a panel in pixels, as it docks beside the views.
_PANEL_WIDTH = 420
#: Which lesions of the digital patient are drawn: the subcapsular one is treated, the others show in the tables.
_DRAWN, _TREATED = (2, 3), 1


def main(folder: Path) -> None:
    """Work through the case and write a picture of each panel when it has something to show."""
    from NETAblationLib.scene import startup

    startup.start()
    from support.qt_stand_ins import install

    install()
    import slicer

    from NETAblationLib.core.phantom import make_patient
    from support import workflow
    from support.qt_stand_ins.application import load_module, unload_widget

    opened = []

    def open_panel(name: str) -> Any:
        opened.append(load_module(_MODULES / f"{name}.py"))
        slicer.util.mainWindow().moduleSelector().selectModule(name)
        return slicer.util.getModuleWidget(name)

    folder.mkdir(parents=True, exist_ok=True)
    user = workflow.User(open_panel)
    user.widget("NETAblation")
    patient = make_patient("small", seed=0)
    sys.modules["NETAblation"].make_patient = lambda *_args, **_named: patient  # type: ignore[attr-defined]
    workflow.begin(user)
    for number in (*_DRAWN, _TREATED):
        workflow.draw_lesion(user, patient, number)
    _grab(user, "NETAblationLesions", folder / "panel-lesions.png")
    workflow.plan(user)
    _grab(user, "NETAblationProbes", folder / "panel-probes.png")
    workflow.measure(user, patient, _TREATED)
    _grab(user, "NETAblationMargins", folder / "panel-margins.png")
    _grab(user, "NETAblation", folder / "panel-home.png")
    slicer.mrmlScene.Clear(False)
    for module in opened:
        unload_widget(module)
    slicer.app.processEvents()
    print(f"{user.clicks} clicks; pictures are in {folder}")


def _grab(user: Any, name: str, path: Path) -> None:
    """A picture of a panel at the width of Slicer's dock and as high as it wants to be."""
    user.settle(name)
    parent = user.widget(name).parent
    parent.resize(_PANEL_WIDTH, max(parent.sizeHint().height(), 600))
    parent.show()
    user.settle(name)
    parent.grab().save(str(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else _TESTING.parent / "Resources" / "Screenshots")
