"""Stand-ins for what the panels need of 3D Slicer's application: Qt as PythonQt shows it, CTK, Slicer's widgets.

They run on PySide6, off screen, around the real Slicer libraries (scene, logics, `slicer.util`). Each models documented
behavior; `compare_with_slicer` checks every property, signal and slot against Slicer's and CTK's source. What they do
not prove: PythonQt's conversions, Qt 5, the real widgets' looks, the layout, the installed extension.
"""

from __future__ import annotations

import sys


def install() -> None:
    """Make `import qt`, `import ctk`, `slicer.app` and Slicer's Python classes available; the same on each call."""
    if "qt" in sys.modules:
        return
    import slicer.util

    from NETAblationLib.scene import startup

    from . import ctk_widgets, python_qt

    headless = startup.start()
    if headless is None:
        raise ImportError("the stand-ins are not for the application itself")
    # In this order: each of these modules imports the ones before by the names that Slicer code uses.
    sys.modules["qt"], sys.modules["ctk"] = python_qt.qt, ctk_widgets.ctk
    from . import loader, mrml_widgets, translation

    python_qt.qt.QUiLoader = loader.QUiLoader
    slicer.qMRMLWidget = mrml_widgets.qMRMLWidget
    sys.modules["slicer.i18n"] = slicer.i18n = translation
    from . import parameter_node, scripted_module

    sys.modules["slicer.parameterNodeWrapper"] = slicer.parameterNodeWrapper = parameter_node
    sys.modules["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule = scripted_module
    from .application import start_application

    start_application(headless.application)
