"""Stand-ins for `slicer.app` and its file manager, so that `slicer.util` loads and saves unchanged.

They only forward to Slicer's own logics and storage nodes. They are not the application: whatever
needs a window, a settings file or the event loop is absent, and asking for it raises AttributeError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
import vtk

from .messages import Messages, captured_messages

Properties = Mapping[str, Any]

#: File type of each ending, longest ending first where one ends on the other (the kind names are
#: those of the application's readers).
_FILE_TYPES = (
    ("SceneFile", (".mrml", ".mrb")),
    ("SequenceFile", (".seq.nrrd", ".seq.mrb", ".seq.nhdr", ".seq.mha", ".seq.mhd")),
    ("SegmentationFile", (".seg.nrrd", ".seg.nhdr", ".seg.vtm")),
    ("MarkupsFile", (".mrk.json", ".json", ".fcsv")),
    ("TransformFile", (".h5", ".tfm", ".mat")),
    ("ModelFile", (".vtk", ".vtp", ".stl", ".ply", ".obj", ".g", ".byu", ".vtu")),
    ("ColorTableFile", (".ctbl", ".cxml")),
    ("TableFile", (".csv", ".tsv")),
    ("TextFile", (".txt", ".xml")),
    ("VolumeFile", (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".hdr", ".img", ".dcm", ".tif", ".png")),
)

#: Bits of vtkSlicerVolumesLogic.AddArchetypeVolume and the reader's properties that set them.
_VOLUME_OPTIONS = (
    ("labelmap", 1, False),
    ("center", 2, False),
    ("singleFile", 4, False),
    ("autoWindowLevel", 8, True),
    ("discardOrientation", 16, False),
)

#: Writer's file type by node class, most special class first (the application's writers).
_WRITER_TYPES = (
    ("vtkMRMLSegmentationNode", "SegmentationFile"),
    ("vtkMRMLMarkupsNode", "MarkupsFile"),
    ("vtkMRMLModelNode", "ModelFile"),
    ("vtkMRMLTransformNode", "TransformFile"),
    ("vtkMRMLVolumeNode", "VolumeFile"),
    ("vtkMRMLColorNode", "ColorTableFile"),
    ("vtkMRMLTableNode", "TableFile"),
    ("vtkMRMLTextNode", "TextFile"),
    ("vtkMRMLSequenceNode", "SequenceFile"),
)


class HeadlessApplication:
    """Stands in for `slicer.app`: logic, file manager, paths; nothing that needs a window."""

    applicationName = "Slicer libraries without the application"

    def __init__(self, application_logic: Any, modules: SimpleNamespace) -> None:
        """Forward to `application_logic` and to the logics in `modules`."""
        self._application_logic = application_logic
        self._io_manager = HeadlessIOManager(application_logic, modules)

    def applicationLogic(self) -> Any:
        """The real vtkSlicerApplicationLogic."""
        return self._application_logic

    def coreIOManager(self) -> HeadlessIOManager:
        """What loads and saves files."""
        return self._io_manager

    ioManager = coreIOManager

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._application_logic.GetMRMLScene()

    def layoutManager(self) -> None:
        """None: there are no views on a screen."""

    def processEvents(self) -> None:
        """Nothing waits: there is no event loop."""

    def pauseRender(self) -> None:
        """Nothing to pause: pictures are drawn on demand."""

    def resumeRender(self) -> None:
        """Nothing to resume."""

    def testingEnabled(self) -> bool:
        """True: no dialog may wait for an answer."""
        return True

    @property
    def temporaryPath(self) -> str:
        """Folder for files of this process; removed at its end."""
        return str(self._application_logic.GetTemporaryPath())


class HeadlessIOManager:
    """Stands in for qSlicerCoreIOManager: chooses the logic or storage node that does the work."""

    def __init__(self, application_logic: Any, modules: SimpleNamespace) -> None:
        """Forward to the scene of `application_logic` and to the logics in `modules`."""
        self._application_logic = application_logic
        self._modules = modules
        self._readers: dict[str, Callable[[str, str, Properties], Any]] = {
            "VolumeFile": self._load_volume,
            "SegmentationFile": self._load_segmentation,
            "ModelFile": self._load_model,
            "MarkupsFile": self._load_markups,
            "TransformFile": lambda file, _name, _options: modules.transforms.logic().AddTransform(file, self._scene),
            "TableFile": lambda file, name, _options: modules.tables.logic().AddTable(file, name),
            "TextFile": lambda file, name, _options: self._load_with_storage_node(file, name, "vtkMRMLTextNode"),
            "ColorTableFile": lambda file, _name, _options: modules.colors.logic().LoadColorFile(file),
            "SequenceFile": lambda file, _name, _options: modules.sequences.logic().AddSequence(file),
        }

    @property
    def _scene(self) -> Any:
        return self._application_logic.GetMRMLScene()

    def fileType(self, file_name: str | os.PathLike[str]) -> str:
        """Which kind of file this is, by its ending; "NoFile" where unknown."""
        lower = str(file_name).lower()
        for kind, endings in _FILE_TYPES:
            if lower.endswith(endings):
                return kind
        return "NoFile"

    def loadNodes(
        self,
        file_type: str,
        properties: Properties,
        loaded_nodes: vtk.vtkCollection | None = None,
        user_messages: Any = None,
    ) -> bool:
        """Read properties["fileName"] into the scene; False, with messages, where that fails."""
        file_name = str(properties["fileName"])
        if not os.path.exists(file_name):
            return _fail(user_messages, f"the file {file_name} does not exist")
        if file_type == "SceneFile":
            return self._load_scene(file_name, bool(properties.get("clear", False)), user_messages)
        reader = self._readers.get(file_type)
        if reader is None:
            return _fail(user_messages, f"no reader for {file_name} (file type {file_type})")
        name = str(properties.get("name") or _base_name(file_name))
        with captured_messages() as messages:
            node = reader(file_name, name, properties)
            if node is None:
                return _fail(user_messages, f"cannot read {file_name}", messages)
        if loaded_nodes is not None:
            loaded_nodes.AddItem(node)
        return True

    def _load_scene(self, file_name: str, clear: bool, user_messages: Any) -> bool:
        scene = self._scene
        if file_name.lower().endswith(".mrb"):
            return bool(scene.ReadFromMRB(file_name, clear, user_messages))
        scene.SetURL(file_name)
        return bool(scene.Connect(user_messages) if clear else scene.Import(user_messages))

    def _load_volume(self, file_name: str, name: str, properties: Properties) -> Any:
        options = sum(bit for key, bit, default in _VOLUME_OPTIONS if properties.get(key, default))
        return self._modules.volumes.logic().AddArchetypeVolume(file_name, name, options)

    def _load_segmentation(self, file_name: str, name: str, properties: Properties) -> Any:
        logic = self._modules.segmentations.logic()
        return logic.LoadSegmentationFromFile(file_name, bool(properties.get("autoOpacities", True)), name)

    def _load_model(self, file_name: str, name: str, properties: Properties) -> Any:
        system = properties.get("coordinateSystem", slicer.vtkMRMLStorageNode.CoordinateSystemLPS)
        node = self._modules.models.logic().AddModel(file_name, system)
        if node is not None:
            node.SetName(self._scene.GetUniqueNameByString(name))
        return node

    def _load_markups(self, file_name: str, name: str, _properties: Properties) -> Any:
        node_id = self._modules.markups.logic().LoadMarkups(file_name, name)
        return self._scene.GetNodeByID(node_id) if node_id else None

    def _load_with_storage_node(self, file_name: str, name: str, class_name: str) -> Any:
        node = self._scene.AddNewNodeByClass(class_name, self._scene.GetUniqueNameByString(name))
        if class_name == "vtkMRMLTextNode":
            node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
        node.AddDefaultStorageNode(file_name)
        if node.GetStorageNode().ReadData(node):
            return node
        self._scene.RemoveNode(node)
        return None

    def fileWriterFileType(self, node: Any, _file_format: str = "") -> str:
        """The kind of file this node is written to; "NoFile" where it cannot be."""
        for class_name, kind in _WRITER_TYPES:
            if node.IsA(class_name):
                return kind
        return "NoFile"

    def fileWriterExtensions(self, node: Any) -> list[str]:
        """The formats a node can be written in, as "Name (.ending)"."""
        storage = self._new_storage_node(node, self._scene)
        formats = storage.GetSupportedWriteFileTypes()
        return [formats.GetValue(i) for i in range(formats.GetNumberOfValues())]

    def extractKnownExtension(self, file_name: str, node: Any) -> str:
        """The longest ending of `file_name` that this node can be written with, with its dot."""
        to_extension = slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString
        known = (to_extension(name) for name in self.fileWriterExtensions(node))
        return max((ending for ending in known if file_name.endswith(ending)), key=len, default="")

    def saveNodes(self, file_type: str, properties: Properties, user_messages: Any = None) -> bool:
        """Write a node (properties["nodeID"]) or the whole scene to properties["fileName"]."""
        file_name = str(properties["fileName"])
        os.makedirs(os.path.dirname(os.path.abspath(file_name)), exist_ok=True)
        if file_type == "SceneFile":
            return self._save_scene(file_name, user_messages)
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node is None:
            return _fail(user_messages, f"no node {properties['nodeID']} in the scene")
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(file_name)
        if node.GetStorageNode() is None:
            return _fail(user_messages, f"{node.GetName()} is stored in the scene file only")
        return self._write(node, file_name, properties, user_messages)

    def _save_scene(self, file_name: str, user_messages: Any) -> bool:
        scene, absolute = self._scene, os.path.abspath(file_name)
        if absolute.endswith(".mrml"):
            scene.SetURL(absolute)
            scene.SetRootDirectory(os.path.dirname(absolute))
            return bool(scene.Commit(None, user_messages))
        if absolute.endswith(".mrb"):
            saved = bool(scene.WriteToMRB(absolute, None, user_messages))
            scene.SetStorableNodesModifiedSinceRead()  # the files were written to a folder that is gone
            return saved
        os.makedirs(absolute, exist_ok=True)
        if os.listdir(absolute):
            return _fail(user_messages, f"the folder {absolute} is not empty")
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(absolute, None, user_messages))

    def exportNodes(
        self,
        node_ids: Sequence[str],
        file_names: Sequence[str],
        properties: Properties,
        harden_transform: bool,
        user_messages: Any = None,
    ) -> bool:
        """Write copies of nodes, in world coordinates where asked, without touching the scene."""
        exports = [
            self._export(*pair, properties, harden_transform, user_messages)
            for pair in zip(node_ids, file_names, strict=True)
        ]
        return all(exports)

    def _export(self, node_id: str, file_name: str, properties: Properties, harden: bool, user_messages: Any) -> bool:
        node = self._scene.GetNodeByID(node_id)
        if node is None:
            return _fail(user_messages, f"no node {node_id} in the scene")
        aside = slicer.vtkMRMLScene()
        self._scene.CopyDefaultNodesToScene(aside)
        self._scene.CopyRegisteredNodesToScene(aside)
        copy = aside.AddNewNodeByClass(node.GetClassName(), node.GetName())
        copy.CopyContent(node, harden)
        if harden and node.IsA("vtkMRMLTransformableNode") and node.GetParentTransformNode():
            parent = aside.AddNewNodeByClass("vtkMRMLTransformNode")
            from_world = vtk.vtkGeneralTransform()
            node.GetParentTransformNode().GetTransformFromWorld(from_world)
            parent.SetAndObserveTransformFromParent(from_world)
            copy.SetAndObserveTransformNodeID(parent.GetID())
            copy.HardenTransform()
        if node.IsA("vtkMRMLDisplayableNode") and node.GetDisplayNode():
            display = aside.AddNewNodeByClass(node.GetDisplayNode().GetClassName())
            display.CopyContent(node.GetDisplayNode(), False)
            copy.SetAndObserveDisplayNodeID(display.GetID())
        copy.AddDefaultStorageNode(file_name)
        return self._write(copy, file_name, properties, user_messages)

    def _write(self, node: Any, file_name: str, properties: Properties, user_messages: Any) -> bool:
        storage = node.GetStorageNode()
        storage.SetFileName(file_name)
        if "useCompression" in properties:
            storage.SetUseCompression(bool(properties["useCompression"]))
        if properties.get("fileFormat"):
            storage.SetWriteFileFormat(properties["fileFormat"])
        with captured_messages() as messages:
            if storage.WriteData(node):
                return True
            return _fail(user_messages, f"cannot write {node.GetName()} to {file_name}", messages)

    def _new_storage_node(self, node: Any, scene: Any) -> Any:
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        storage.SetScene(scene)
        return storage


def _fail(user_messages: Any, reason: str, messages: Messages | None = None) -> bool:
    """Report why a file could not be read or written, with what VTK said; returns False."""
    details = messages.text() if messages else ""
    if messages:
        messages.errors.clear()
    if user_messages is not None:
        user_messages.AddMessage(vtk.vtkCommand.ErrorEvent, "\n".join(part for part in (reason, details) if part))
    return False


def _base_name(file_name: str) -> str:
    """The file's name without its known ending, however many dots that has."""
    name = Path(file_name).name
    endings = [ending for _kind, group in _FILE_TYPES for ending in group if name.lower().endswith(ending)]
    return name[: -len(max(endings, key=len))] if endings else Path(name).stem
