"""Stand-in for `slicer.ScriptedLoadableModule`: the classes that every scripted module inherits from.

Modelled: paths of resources, the parameter node of a module (one per scene), the registration of self-tests. Not
modelled: the developer's section, reloading, and the test's screenshots.
"""

from __future__ import annotations

import importlib
import os
import sys
import unittest
from typing import Any

import qt
import slicer


class ScriptedLoadableModule:
    """The module itself: `parent` takes title, categories, help and icon."""

    def __init__(self, parent: Any) -> None:
        """Register the self-test and take the module's icon."""
        self.parent = parent
        self.moduleName = type(self).__name__
        icon = self.resourcePath(f"Icons/{self.moduleName}.png")
        if os.path.isfile(icon):
            parent.icon = qt.QIcon(icon)
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        """The path of a file in Resources beside the module."""
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def runTest(self, msec: int = 100, **options: Any) -> None:
        """Run the module's test case, a class that is named as the module with "Test"."""
        module = importlib.import_module(type(self).__module__)
        case = getattr(module, f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**options)


class ScriptedLoadableModuleWidget:
    """The panel: `parent` is the widget that holds it, `layout` what its parts are added to."""

    def __init__(self, parent: Any = None) -> None:
        """Without a parent a window of its own is made and the panel set up at once."""
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()

    def resourcePath(self, filename: str) -> str:
        """The path of a file in Resources beside the module."""
        source = sys.modules[type(self).__module__].__file__
        return os.path.join(os.path.dirname(str(source)), "Resources", filename)

    def setup(self) -> None:
        """Build the panel; modules extend it."""

    def cleanup(self) -> None:
        """Called when the panel is destroyed; modules override it."""


class ScriptedLoadableModuleLogic:
    """What a module computes; here only its parameter node."""

    def __init__(self, parent: Any = None) -> None:
        """One parameter node per scene."""
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's parameter node in the scene, made where there is none."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.AddNode(self.createParameterNode())
        node.SetAttribute("ModuleName", self.moduleName)
        return node

    def createParameterNode(self) -> Any:
        """A parameter node of this module, not yet in the scene."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The self-test of a module."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Nothing is shown and nothing waits."""
        super().__init__(*arguments, **options)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:
        """Nothing to show: no one looks."""

    def runTest(self) -> None:
        """Run the tests; modules override it."""
