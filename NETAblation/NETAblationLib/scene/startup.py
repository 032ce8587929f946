"""One start-up after which ordinary Slicer code runs without the application.

`start()` builds on the `slicer-core` wheel what the application builds when it opens: the scene
with its default nodes, the module logics, file input and output, and a stand-in for `slicer.app`.
Inside 3D Slicer it does nothing.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
import vtk

from .application import HeadlessApplication
from .messages import captured_messages

_LOGGER = logging.getLogger(__name__)

#: (attribute of slicer.modules, module name, class of its logic), in the order in which the
#: logics need one another; a Slicer build without one of them simply does not offer it.
_MODULE_LOGICS = (
    ("terminologies", "Terminologies", "vtkSlicerTerminologiesModuleLogic"),
    ("units", "Units", "vtkSlicerUnitsLogic"),
    ("subjecthierarchy", "SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    ("colors", "Colors", "vtkSlicerColorLogic"),
    ("volumes", "Volumes", "vtkSlicerVolumesLogic"),
    ("models", "Models", "vtkSlicerModelsLogic"),
    ("markups", "Markups", "vtkSlicerMarkupsLogic"),
    ("segmentations", "Segmentations", "vtkSlicerSegmentationsModuleLogic"),
    ("transforms", "Transforms", "vtkSlicerTransformLogic"),
    ("cropvolume", "CropVolume", "vtkSlicerCropVolumeLogic"),
    ("volumerendering", "VolumeRendering", "vtkSlicerVolumeRenderingLogic"),
    ("tables", "Tables", "vtkSlicerTablesLogic"),
    ("plots", "Plots", "vtkSlicerPlotsLogic"),
    ("texts", "Texts", "vtkSlicerTextsLogic"),
    ("sequences", "Sequences", "vtkSlicerSequencesLogic"),
    ("cameras", "Cameras", "vtkSlicerCamerasModuleLogic"),
    ("data", "Data", "vtkSlicerDataModuleLogic"),
)

#: The wheel holds no terminology lists, color files or volume rendering presets; the logics say
#: so at start-up. Any other message is passed on.
_ABSENT_IN_WHEEL = (
    "SegmentationCategoryTypeModifier-",
    "AnatomicRegionAndModifier-",
    "Default color files will not be loaded",
    "GenericColors",
    "presets",
)


class HeadlessModule:
    """Stands where the application has a loaded module: its name and its logic, no panel."""

    def __init__(self, name: str, logic: vtk.vtkObject) -> None:
        """Keep `logic` alive under the module's `name`."""
        self.name = name
        self._logic = logic

    def logic(self) -> Any:
        """The module's logic, as in the application."""
        return self._logic


class HeadlessSlicer:
    """Everything that was started, kept referenced until the process ends."""

    def __init__(self) -> None:
        """Build scene, logics and file input/output; `start` is the way to get one."""
        self.temporary_folder = Path(tempfile.mkdtemp(prefix="netablation-scene-"))
        with captured_messages(expected=_ABSENT_IN_WHEEL):
            self.scene = slicer.vtkMRMLScene()
            self.application_logic = _start_application_logic(self.scene, self.temporary_folder)
            self.modules = _start_modules(self.scene, self.application_logic)
            self.remote_io_logic, self.data_io_logic = _start_data_io(
                self.scene, self.application_logic, self.temporary_folder
            )
        self.application = HeadlessApplication(self.application_logic, self.modules)

    def publish(self) -> None:
        """Put scene, modules and the application stand-in where ordinary Slicer code looks for them."""
        slicer.mrmlScene = self.scene
        slicer.modules = self.modules
        slicer.app = self.application

    def close(self) -> None:
        """Empty the scene and remove the temporary folder; runs by itself at the end of the process."""
        with captured_messages():
            self.scene.Clear(True)
        shutil.rmtree(self.temporary_folder, ignore_errors=True)


_running: HeadlessSlicer | None = None


def is_inside_application() -> bool:
    """Whether this process is the real 3D Slicer, whose scene and modules are already there."""
    return _running is None and getattr(slicer, "mrmlScene", None) is not None


def start() -> HeadlessSlicer | None:
    """Make `slicer.mrmlScene`, `slicer.modules` and `slicer.app` work without the application.

    Returns what was started, the same on each call; inside the application nothing is touched and
    None returned.
    """
    global _running
    if is_inside_application():
        return None
    if _running is None:
        _running = HeadlessSlicer()
        _running.publish()
        atexit.register(_running.close)
    return _running


def start_empty() -> None:
    """Start headless Slicer with an empty scene; inside the application the scene is left alone."""
    if start() is not None:
        slicer.mrmlScene.Clear(False)


def _start_application_logic(scene: Any, temporary_folder: Path) -> Any:
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetTemporaryPath(str(temporary_folder))
    logic.SetMRMLScene(scene)
    # Without these collections no view can register with the application logic.
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    for factory in (
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        slicer.vtkMRMLSliceViewDisplayableManagerFactory,
    ):
        factory.GetInstance().SetMRMLApplicationLogic(logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    _add_crosshair(scene)
    return logic


def _add_crosshair(scene: Any) -> None:
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)


def _start_modules(scene: Any, application_logic: Any) -> SimpleNamespace:
    modules = SimpleNamespace()
    for attribute, name, class_name in _MODULE_LOGICS:
        logic_class = getattr(slicer, class_name, None)
        if logic_class is None:
            _LOGGER.debug("this Slicer build has no %s", class_name)
            continue
        logic = logic_class()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        application_logic.SetModuleLogic(name, logic)
        setattr(modules, attribute, HeadlessModule(name, logic))
    return modules


def _start_data_io(scene: Any, application_logic: Any, temporary_folder: Path) -> tuple[Any, Any]:
    """Connect file input and output to the scene; bundles (.mrb) are unpacked in the cache folder."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(application_logic)
    cache = temporary_folder / "cache"
    cache.mkdir()
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    data_io = slicer.vtkDataIOManagerLogic()
    data_io.SetMRMLApplicationLogic(application_logic)
    data_io.SetAndObserveDataIOManager(remote.GetDataIOManager())
    data_io.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    return remote, data_io
