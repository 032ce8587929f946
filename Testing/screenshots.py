"""Render the panels and views of the sample case to Resources/Screenshots, for the README's tutorial.

    python Testing/screenshots.py [FOLDER] [--all-sections]

Works through the sample case by the panels' buttons (support/workflow.py). The views are drawn by Slicer's own
libraries, put together as the layout says (support/view_mosaic.py); the panels with stand-ins of Qt's and Slicer's
widgets: their looks differ in a real Slicer. With --all-sections each section of each panel gets a
picture of its own, opened, for looking at what is cramped or cut off.
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
#: In which order the lesions of the digital patient are drawn; the margin is measured of the last, a large one whose
#: zone is short on one side.
_TREATED = (1, 2, 3, 4, 5, 0)


def main(folder: Path, has_sections: bool) -> None:
    """Work through the case and write a picture of each panel when it has something to show."""
    from NETAblationLib.scene import startup

    startup.start()
    from support.qt_stand_ins import install

    install()
    import slicer

    from NETAblationLib.core.phantom import make_patient
    from support import view_mosaic, workflow
    from support.qt_stand_ins.application import load_module, unload_widget

    opened = []

    def open_panel(name: str) -> Any:
        opened.append(load_module(_MODULES / f"{name}.py"))
        slicer.util.mainWindow().moduleSelector().selectModule(name)
        return slicer.util.getModuleWidget(name)

    folder.mkdir(parents=True, exist_ok=True)
    user = workflow.User(open_panel)
    views = view_mosaic.Views()
    patient = make_patient("standard", seed=0)
    sys.modules["NETAblation"].make_patient = lambda *_args, **_named: patient  # type: ignore[attr-defined]
    show = _grab_sections if has_sections else _grab
    workflow.begin(user)
    lesion_ids = [workflow.draw_lesion(user, patient, number) for number in _TREATED]
    show(user, "NETAblationLesions", folder / "panel-lesions.png")
    views.write(folder / "views-lesions.png")
    for lesion_id in lesion_ids:
        workflow.choose_lesion(user, "NETAblationProbes", lesion_id)
        workflow.plan(user)
    views.write(folder / "views-planning.png")
    _select_row(user, "NETAblationProbes", "probesTable")
    show(user, "NETAblationProbes", folder / "panel-probes.png")
    for lesion_id, number in zip(lesion_ids, _TREATED, strict=True):
        workflow.choose_lesion(user, "NETAblationMargins", lesion_id)
        workflow.draw_zone(user, patient, number)
    workflow.fuse(user)
    views.write(folder / "views-fusion.png")
    user.click("NETAblationMargins", "measureAllButton")
    user.settle("NETAblationMargins")
    views.write(folder / "views-margin.png")
    show(user, "NETAblationMargins", folder / "panel-margins.png")
    show(user, "NETAblation", folder / "panel-home.png")
    views.close()
    slicer.mrmlScene.Clear(False)
    for module in opened:
        unload_widget(module)
    slicer.app.processEvents()
    print(f"{user.clicks} clicks; pictures are in {folder}")


def _select_row(user: Any, name: str, table: str) -> None:
    """Choose the first row of a table, so that what belongs to it shows."""
    user.settle(name)
    getattr(user.widget(name).ui, table).selectRow(0)


def _grab(user: Any, name: str, path: Path) -> None:
    """A picture of a panel at the width of Slicer's dock and as high as it wants to be."""
    user.settle(name)
    parent = user.widget(name).parent
    parent.resize(_PANEL_WIDTH, max(parent.sizeHint().height(), 600))
    parent.show()
    user.settle(name)
    height = parent.layout().heightForWidth(_PANEL_WIDTH)
    parent.resize(_PANEL_WIDTH, max(height, parent.minimumSizeHint().height()))
    user.settle(name)
    parent.grab().save(str(path))


def _grab_sections(user: Any, name: str, path: Path) -> None:
    """A picture of each section of a panel, opened alone."""
    ui = user.widget(name).ui
    sections = {key: widget for key, widget in vars(ui).items() if hasattr(widget, "collapsed")}
    before = {key: section.collapsed for key, section in sections.items()}
    for shown in sections:
        for key, section in sections.items():
            section.collapsed = key != shown
        _grab(user, name, path.with_name(f"{path.stem}-{shown}.png"))
    for key, section in sections.items():
        section.collapsed = before[key]


if __name__ == "__main__":
    given = [text for text in sys.argv[1:] if not text.startswith("--")]
    main(
        Path(given[0]) if given else _TESTING.parent / "Resources" / "Screenshots",
        "--all-sections" in sys.argv[1:],
    )
