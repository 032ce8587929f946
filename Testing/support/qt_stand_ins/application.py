"""What `slicer.app` and `slicer.modules` have once there is Qt: loaded modules, settings, a main window."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from NETAblationLib.scene.application import HeadlessApplication

from .declared import stored
from .mrml_widgets import qMRMLWidget
from .python_qt import connect, native, qt

_LOGGER = logging.getLogger(__name__)


@native
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """A loaded module, `slicer.modules.<name in small letters>`; what its class gets as `parent`."""

    _header = "Base/QTGUI/qSlicerScriptedLoadableModule.h"
    title = stored(str, "title", "")
    categories = stored("QStringList", "categories", [])
    contributors = stored("QStringList", "contributors", [])
    dependencies = stored("QStringList", "dependencies", [])
    associatedNodeTypes = stored("QStringList", "associatedNodeTypes", [])
    helpText = stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    hidden = stored(bool, "hidden", False)
    index = stored(int, "index", -1)
    icon = stored(QtGui.QIcon, "icon", None)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setObjectName(path.stem)
        self._path = path
        self._widget: Any = None

    path = Property(str, lambda self: str(self._path))

    def widgetRepresentation(self) -> Any:
        """The panel of the module, made when it is first asked for."""
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self.name)
            self._widget._fill()
        return self._widget


@native
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget around a module's panel; its class gets it as `parent`."""

    _header = "Base/QTGUI/qSlicerScriptedLoadableModuleWidget.h"

    def __init__(self, module_name: str) -> None:
        super().__init__()
        self._module_name = module_name
        self._python: Any = None
        self.setLayout(QtWidgets.QVBoxLayout())

    moduleName = Property(str, lambda self: self._module_name)

    def _fill(self) -> None:
        self.setMRMLScene(slicer.mrmlScene)
        module = sys.modules[self._module_name]
        self._python = getattr(module, f"{self._module_name}Widget")(self)
        setattr(slicer.modules, f"{self._module_name}Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        """The Python object of the panel."""
        return self._python

    def enter(self) -> None:
        """The user has opened the module."""
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self) -> None:
        """The user goes to another module."""
        if hasattr(self._python, "exit"):
            self._python.exit()


@native
class qSlicerModuleManager(QtCore.QObject):
    """The loaded modules."""

    _header = "Base/QTCore/qSlicerModuleManager.h"
    _signals = {
        "moduleLoaded(QString)": "moduleLoaded",
        "moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded",
    }
    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, qSlicerScriptedLoadableModule] = {}

    def module(self, name: str) -> qSlicerScriptedLoadableModule | None:
        """A loaded module by its name."""
        return self._modules.get(name)

    def modulesNames(self) -> list[str]:
        """The names of the loaded modules."""
        return list(self._modules)


@native
class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """Chooses which module's panel is shown."""

    _header = "Base/QTGUI/qSlicerModuleSelectorToolBar.h"
    _signals = {"moduleSelected(QString)": "moduleSelected"}
    moduleSelected = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._selected = ""

    def selectModule(self, name: str) -> None:
        """Show a module's panel: leave the one before, enter this one."""
        if slicer.app.moduleManager().module(name) is None:
            _LOGGER.info("no stand-in of the module %s is loaded", name)
            return
        if self._selected and self._selected != name:
            slicer.util.getModule(self._selected).widgetRepresentation().exit()
        self._selected = name
        slicer.util.getModule(name).widgetRepresentation().enter()
        self.moduleSelected.emit(name)

    selectedModule = Property(str, lambda self: self._selected, selectModule)


@native
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window: only its module selector."""

    _header = "Base/QTApp/qSlicerMainWindow.h"

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar()
        self.addToolBar(self._selector)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        """Chooses which module's panel is shown."""
        return self._selector


class Application(HeadlessApplication):
    """`slicer.app` with what needs Qt; there is no layout manager, as with `--no-main-window`."""

    _headers = ("Base/QTCore/qSlicerCoreApplication.h", "Base/QTGUI/qSlicerApplication.h")

    def __init__(self, headless: HeadlessApplication, application: QtWidgets.QApplication) -> None:
        """Add to what `headless` offers."""
        self.__dict__.update(headless.__dict__)
        self._qt = application
        self._signals = _ApplicationSignals()
        self._module_manager = qSlicerModuleManager()
        self._settings = QtCore.QSettings(
            os.path.join(self.temporaryPath, "settings.ini"), QtCore.QSettings.Format.IniFormat
        )
        self.startupCompleted = self._signals.startupCompleted
        self._is_testing = True

    def testingEnabled(self) -> bool:
        """Whether dialogs are left out; tests that answer them set this aside."""
        return self._is_testing

    def connect(self, *arguments: Any) -> bool:
        """Connect a signal of the application by its signature."""
        return connect(self._signals, *arguments)

    def moduleManager(self) -> qSlicerModuleManager:
        """The loaded modules."""
        return self._module_manager

    def settings(self) -> QtCore.QSettings:
        """Settings in a file of this process."""
        return self._settings

    userSettings = settings

    def translate(self, _context: str, text: str) -> str:
        """The text itself: nothing is translated."""
        return text

    def processEvents(self) -> None:
        """Let Qt handle what waits."""
        self._qt.processEvents()

    def topLevelWidgets(self) -> list[QtWidgets.QWidget]:
        """The windows."""
        return list(self._qt.topLevelWidgets())

    def setOverrideCursor(self, cursor: Any) -> None:
        """Show another cursor."""
        self._qt.setOverrideCursor(QtGui.QCursor(cursor))

    def restoreOverrideCursor(self) -> None:
        """Show the cursor from before."""
        self._qt.restoreOverrideCursor()

    def overrideCursor(self) -> Any:
        """The other cursor that is shown, or None."""
        return self._qt.overrideCursor()

    def clipboard(self) -> Any:
        """The clipboard."""
        return self._qt.clipboard()


class _ApplicationSignals(QtCore.QObject):
    _signals = {"startupCompleted()": "startupCompleted"}
    startupCompleted = Signal()


def load_module(path: Path) -> qSlicerScriptedLoadableModule:
    """Load a scripted module from its file, as Slicer's factory does; the same one each time."""
    loaded = slicer.app.moduleManager().module(path.stem)
    if loaded is not None:
        return loaded
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    python = importlib.import_module(path.stem)
    module = qSlicerScriptedLoadableModule(path)
    setattr(slicer.modules, path.stem.lower(), module)
    slicer.app.moduleManager()._modules[path.stem] = module
    instance = getattr(python, path.stem)(module)
    module.__dict__["_python"] = instance
    setattr(slicer.modules, f"{path.stem}Instance", instance)
    slicer.app.moduleManager().moduleLoaded.emit(path.stem)
    return module


def unload_widget(module: qSlicerScriptedLoadableModule) -> None:
    """Take a module's panel away, as at the end of the application: its `cleanup` runs."""
    if module._widget is not None:
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(module.name)
        delattr(slicer.modules, f"{module.name}Widget")
        # Deleted when an event loop runs, which no test does: until then it would follow each node of later tests.
        for child in module._widget.findChildren(QtWidgets.QWidget):
            if observations := child.__dict__.get("_observations"):
                observations.replace(None, (), None)
        module._widget.deleteLater()
        module._widget = None


def start_application(headless: HeadlessApplication) -> Application:
    """Make Qt's application and put the stand-ins where Slicer code looks for them."""
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    slicer.app = Application(headless, application)
    for cls in (qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget):
        setattr(slicer, cls.__name__, cls)
    # The settings of this process, not of the user.
    qt.QSettings = lambda *arguments: QtCore.QSettings(*arguments) if arguments else slicer.app.settings()
    slicer.app._main_window = qSlicerMainWindow()
    return slicer.app
