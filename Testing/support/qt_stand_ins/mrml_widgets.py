"""Slicer's widgets that know the scene (qMRML*, the place widget), in their documented behavior, on the real scene."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from .ctk_widgets import ctkDoubleSpinBox, ctkSliderWidget
from .declared import stored
from .python_qt import native


def _published(cls: type) -> type:
    setattr(slicer, cls.__name__, cls)
    return native(cls)


class _Observations:
    """Observers of VTK objects that go with the widget."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, int]] = []

    def replace(self, observed: Any, events: tuple[Any, ...], callback: Any) -> None:
        """Observe `observed` in place of what was observed before."""
        for caller, tag in self._made:
            caller.RemoveObserver(tag)
        self._made = [] if observed is None else [(observed, observed.AddObserver(event, callback)) for event in events]


@_published
class qMRMLWidget(QtWidgets.QWidget):
    """A widget with a scene."""

    _header = "Libs/MRML/Widgets/qMRMLWidget.h"
    _signals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    mrmlSceneChanged = Signal(object)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene


@_published
class qSlicerWidget(qMRMLWidget):
    """In Slicer this one derives from QWidget; its scene works alike."""

    _header = "Base/QTGUI/qSlicerWidget.h"


@_published
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Choose a node of the scene."""

    _header = "Libs/MRML/Widgets/qMRMLNodeComboBox.h"
    _signals = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_valid_changed",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    currentNodeChanged = Signal(object)
    _valid_changed = Signal(bool)
    currentNodeIDChanged = Signal(str)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)

    nodeTypes = stored("QStringList", "nodeTypes", [])
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [])
    showHidden = stored(bool, "showHidden", False)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True)
    noneEnabled = stored(bool, "noneEnabled", False)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    baseName = stored(str, "baseName", "")
    noneDisplay = stored(str, "noneDisplay", "None")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._id = ""
        self._attributes: dict[str, dict[str, str | None]] = {}
        self._rows: list[tuple[str, str]] = []
        self._observations = _Observations()
        self._combo_box = QtWidgets.QComboBox()
        self._combo_box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo_box)
        self._combo_box.activated.connect(self._on_activated)
        self.setEnabled(False)

    def _changed(self, _name: str) -> None:
        self._update()

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene; without one the widget is disabled."""
        if scene is self._scene:
            return
        self._scene = scene
        self.setEnabled(scene is not None)
        events = () if scene is None else (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
        events = () if scene is None else (*events, scene.EndCloseEvent, scene.EndImportEvent)
        self._observations.replace(scene, events, self._on_scene)
        self._update()

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        """Show only nodes of this type that have the attribute, with the value where one is given."""
        self._attributes.setdefault(node_type, {})[name] = value
        self._update()

    def removeAttribute(self, node_type: str, name: str) -> None:
        """Undo `addAttribute`."""
        self._attributes.get(node_type, {}).pop(name, None)
        self._update()

    def nodeCount(self) -> int:
        """How many nodes can be chosen."""
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        """The node at a place of the list."""
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def currentNode(self) -> Any:
        """The chosen node, or None."""
        return self._scene.GetNodeByID(self._id) if self._id and self._scene else None

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node (or the node of an ID), or None."""
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str | None) -> None:
        """Choose a node by its ID; what cannot be chosen leaves nothing chosen."""
        known = {node.GetID() for node in self._nodes()}
        self._select(node_id if node_id in known else "")

    currentNodeID = Property(str, lambda self: self._id, setCurrentNodeID)

    def addNode(self, node_type: str | None = None) -> Any:
        """Make a new node, as "Create new" does."""
        node_type = node_type or self.nodeTypes[0]
        name = self.baseName or node_type.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(node_type, self._scene.GetUniqueNameByString(name))
        for attribute, value in self._attributes.get(node_type, {}).items():
            node.SetAttribute(attribute, value)
        self._update()
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the chosen node from the scene."""
        if (node := self.currentNode()) is not None:
            self._scene.RemoveNode(node)

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        # Asked for with each node that comes or goes, of all nodes: properties are read once.
        types, with_children, with_hidden = self.nodeTypes or (), self.showChildNodeTypes, self.showHidden
        left_out = self.hideChildNodeTypes or ()
        shown = []
        for node in self._scene.GetNodes():
            fits = (kind for kind in types if (node.IsA(kind) if with_children else node.GetClassName() == kind))
            kind = next(fits, None)
            if kind is None or (node.GetHideFromEditors() and not with_hidden) or any(map(node.IsA, left_out)):
                continue
            wanted = self._attributes.get(kind, {})
            if all(_has_attribute(node, name, value) for name, value in wanted.items()):
                shown.append(node)
        return shown

    def _on_scene(self, caller: Any, event: str) -> None:
        if not caller.IsBatchProcessing():
            nodes = self._update()
            if event == "NodeAddedEvent" and nodes:
                self.nodeAdded.emit(nodes[-1])

    def _update(self) -> list[Any]:
        """Show the nodes that there are now, and return them."""
        nodes = self._nodes()
        ids = [node.GetID() for node in nodes]
        rows = [(node.GetName(), node_id) for node, node_id in zip(nodes, ids, strict=True)]
        if self.noneEnabled:
            rows.insert(0, (self.noneDisplay, ""))
        if self.addEnabled and self._scene is not None:
            rows.append(("Create new ...", "+"))
        if rows != self._rows:
            self._rows = rows
            self._combo_box.clear()
            for name, node_id in rows:
                self._combo_box.addItem(name, node_id)
        if self._id in ids:
            self._select(self._id)
        else:
            self._select("" if self.noneEnabled or not ids else ids[0])
        return nodes

    def _select(self, node_id: str) -> None:
        self._combo_box.currentIndex = self._combo_box.findData(node_id)
        if node_id != self._id:
            self._id = node_id
            node = self.currentNode()
            self.currentNodeChanged.emit(node)
            self._valid_changed.emit(node is not None)
            self.currentNodeIDChanged.emit(node_id)

    def _on_activated(self, index: int) -> None:
        chosen = self._combo_box.itemData(index)
        if chosen == "+":
            self.addNode()
        else:
            self._select(chosen)


def _has_attribute(node: Any, name: str, value: str | None) -> bool:
    found = node.GetAttribute(name)
    return found is not None and (value in (None, "") or found == str(value))


class _UnitAware:
    """Prefix, suffix and digits of the scene's unit of a quantity (the limits of the unit are not modelled)."""

    quantity = stored(str, "quantity", "")

    def _changed(self, _name: str) -> None:
        self._show_unit()

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene, which knows the unit."""
        self.__dict__["_scene"] = scene
        self._show_unit()

    def mrmlScene(self) -> Any:
        """The scene."""
        return self.__dict__.get("_scene")

    def _show_unit(self) -> None:
        scene = self.mrmlScene()
        selection = None if scene is None else scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        unit = None if selection is None or not self.quantity else selection.GetUnitNode(self.quantity)
        if unit is not None:
            self.prefix, self.suffix = unit.GetPrefix() or "", unit.GetSuffix() or ""
            self.decimals = unit.GetPrecision()


@_published
class qMRMLSliderWidget(_UnitAware, ctkSliderWidget):
    """A slider with the unit of a quantity."""

    _header = "Libs/MRML/Widgets/qMRMLSliderWidget.h"
    quantity = stored(str, "quantity", "")


@_published
class qMRMLSpinBox(_UnitAware, ctkDoubleSpinBox):
    """A spin box with the unit of a quantity."""

    _header = "Libs/MRML/Widgets/qMRMLSpinBox.h"
    quantity = stored(str, "quantity", "")


@_published
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Choose a segmentation and one of its segments; more than one is not modelled."""

    _header = "Libs/MRML/Widgets/qMRMLSegmentSelectorWidget.h"
    _signals = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentSegmentChanged(QString)": "currentSegmentChanged",
    }
    currentNodeChanged = Signal(object)
    currentSegmentChanged = Signal(str)
    noneEnabled = stored(bool, "noneEnabled", False)
    horizontalLayout = stored(bool, "horizontalLayout", False)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node_box, self._segment_box = qMRMLNodeComboBox(), QtWidgets.QComboBox()
        self._node_box.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._node_box.addEnabled = False
        self._node_box.noneEnabled = True
        self._segment = ""
        self._observations = _Observations()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._node_box)
        layout.addWidget(self._segment_box)
        self._node_box.currentNodeChanged.connect(self._on_node)
        self._segment_box.currentIndexChanged.connect(self._on_index)

    def _changed(self, _name: str) -> None:
        self._populate()

    def _set_node_box_visible(self, visible: bool) -> None:
        self._node_box.setVisible(visible)

    segmentationNodeSelectorVisible = Property(bool, lambda self: not self._node_box.isHidden(), _set_node_box_visible)

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        super().setMRMLScene(scene)
        self._node_box.setMRMLScene(scene)

    def currentNode(self) -> Any:
        """The chosen segmentation."""
        return self._node_box.currentNode()

    def currentNodeID(self) -> str:
        """The ID of the chosen segmentation."""
        return str(self._node_box.currentNodeID)

    def setCurrentNode(self, node: Any) -> None:
        """Choose a segmentation."""
        self._node_box.setCurrentNode(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        """Choose a segmentation by its ID."""
        self._node_box.setCurrentNodeID(node_id)

    def segmentIDs(self) -> list[str]:
        """The segments that can be chosen."""
        node = self.currentNode()
        return [] if node is None else list(node.GetSegmentation().GetSegmentIDs())

    def currentSegmentID(self) -> str:
        """The chosen segment, or an empty text."""
        return self._segment

    def setCurrentSegmentID(self, segment_id: str) -> None:
        """Choose a segment; one that there is not changes nothing."""
        index = self._segment_box.findData(segment_id)
        if index >= 0:
            self._segment_box.setCurrentIndex(index)

    def _on_node(self, node: Any) -> None:
        segmentation = None if node is None else node.GetSegmentation()
        kinds = slicer.vtkSegmentation
        events = (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified)
        self._observations.replace(segmentation, events, lambda *_: self._populate())
        self._populate()
        self.currentNodeChanged.emit(node)

    def _populate(self) -> None:
        node = self.currentNode()
        self._segment_box.blockSignals(True)
        self._segment_box.clear()
        if self.noneEnabled:
            self._segment_box.addItem("None", "")
        for segment in self.segmentIDs():
            self._segment_box.addItem(node.GetSegmentation().GetSegment(segment).GetName(), segment)
        index = self._segment_box.findData(self._segment)
        if index < 0 and self.segmentIDs():
            index = 1 if self.noneEnabled else 0
        self._segment_box.setCurrentIndex(index)
        self._segment_box.blockSignals(False)
        self._on_index(index)

    def _on_index(self, index: int) -> None:
        chosen = (self._segment_box.itemData(index) or "") if index >= 0 else ""
        if chosen != self._segment:
            self._segment = chosen
            self.currentSegmentChanged.emit(chosen)


@_published
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The Segment Editor inside a panel: what it edits; there are no effects."""

    _header = "Modules/Loadable/Segmentations/Widgets/qMRMLSegmentEditorWidget.h"
    _signals = {
        "currentSegmentIDChanged(QString)": "currentSegmentIDChanged",
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": "segmentationNodeChanged",
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": "sourceVolumeNodeChanged",
    }
    currentSegmentIDChanged = Signal(str)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    addRemoveSegmentButtonsVisible = stored(bool, "addRemoveSegmentButtonsVisible", True)
    autoShowSourceVolumeNode = stored(bool, "autoShowSourceVolumeNode", True)
    effectColumnCount = stored(int, "effectColumnCount", 2)
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)
    maskingSectionVisible = stored(bool, "maskingSectionVisible", True)
    maximumNumberOfUndoStates = stored(int, "maximumNumberOfUndoStates", 10)
    readOnly = stored(bool, "readOnly", False)
    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True)
    show3DButtonVisible = stored(bool, "show3DButtonVisible", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "sourceVolumeNodeSelectorVisible", True)
    specifyGeometryButtonVisible = stored(bool, "specifyGeometryButtonVisible", True)
    switchToSegmentationsButtonVisible = stored(bool, "switchToSegmentationsButtonVisible", True)
    undoEnabled = stored(bool, "undoEnabled", True)
    unorderedEffectsVisible = stored(bool, "unorderedEffectsVisible", True)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._editor: Any = None
        self._order: list[str] = []
        layout = QtWidgets.QVBoxLayout(self)
        label = QtWidgets.QLabel("(Segment Editor)")
        label.setAlignment(Qt.AlignCenter)
        layout.addWidget(label)

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        """Set the node that keeps the editor's choices."""
        self._editor = node

    def mrmlSegmentEditorNode(self) -> Any:
        """The node that keeps the editor's choices."""
        return self._editor

    def setSegmentationNode(self, node: Any) -> None:
        """Edit this segmentation."""
        if self._editor is not None and self._editor.GetSegmentationNode() is not node:
            self._editor.SetAndObserveSegmentationNode(node)
            self.segmentationNodeChanged.emit(node)

    def segmentationNode(self) -> Any:
        """The segmentation that is edited."""
        return None if self._editor is None else self._editor.GetSegmentationNode()

    def setSourceVolumeNode(self, node: Any) -> None:
        """Edit on this image."""
        if self._editor is not None and self._editor.GetSourceVolumeNode() is not node:
            self._editor.SetAndObserveSourceVolumeNode(node)
            self.sourceVolumeNodeChanged.emit(node)

    def sourceVolumeNode(self) -> Any:
        """The image on which is edited."""
        return None if self._editor is None else self._editor.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:
        """Choose the segment that is edited."""
        if self._editor is not None and self._editor.GetSelectedSegmentID() != segment_id:
            self._editor.SetSelectedSegmentID(segment_id)
            self.currentSegmentIDChanged.emit(segment_id)

    def currentSegmentID(self) -> str:
        """The segment that is edited."""
        return "" if self._editor is None else self._editor.GetSelectedSegmentID() or ""

    def setEffectNameOrder(self, names: list[str]) -> None:
        """Show the effects in this order."""
        self._order = list(names)

    def effectNameOrder(self) -> list[str]:
        """The order of the effects."""
        return self._order

    def activeEffect(self) -> None:
        """None: there are no effects here."""

    def setActiveEffect(self, effect: None) -> None:
        """Put the active effect aside (None); there are no others here."""
        if effect is not None:
            raise AttributeError("the stand-in of the Segment Editor has no effects")

    def setActiveEffectByName(self, name: str) -> None:
        """Nothing happens: there are no effects here."""

    def installKeyboardShortcuts(self, parent: QtWidgets.QWidget | None = None) -> None:
        """The editor's shortcuts are not modelled."""

    def uninstallKeyboardShortcuts(self) -> None:
        """The editor's shortcuts are not modelled."""

    def setupViewObservations(self) -> None:
        """There are no views."""

    def removeViewObservations(self) -> None:
        """There are no views."""

    def updateWidgetFromMRML(self) -> None:
        """Nothing is shown."""


@_published
class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Arms the placing of points of a markups node; works on the real selection and interaction nodes."""

    _header = "Modules/Loadable/Markups/Widgets/qSlicerMarkupsPlaceWidget.h"
    _signals = {"activeMarkupsPlaceModeChanged(bool)": "activeMarkupsPlaceModeChanged"}
    activeMarkupsPlaceModeChanged = Signal(bool)
    ShowPlaceMultipleMarkupsOption = 0
    HidePlaceMultipleMarkupsOption = 1
    ForcePlaceSingleMarkup = 2
    ForcePlaceMultipleMarkups = 3
    placeMultipleMarkups = stored(int, "placeMultipleMarkups", 0)
    deleteAllControlPointsOptionVisible = stored(bool, "deleteAllControlPointsOptionVisible", True)
    unsetLastControlPointOptionVisible = stored(bool, "unsetLastControlPointOptionVisible", False)
    unsetAllControlPointsOptionVisible = stored(bool, "unsetAllControlPointsOptionVisible", False)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._was_placing = False
        self._node_observations, self._mode_observations = _Observations(), _Observations()
        self._button = QtWidgets.QToolButton()
        self._button.setText("Place")
        self._button.setCheckable(True)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.toggled.connect(self._set_place_mode)
        self._update()

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene and observe its interaction node."""
        super().setMRMLScene(scene)
        self._mode_observations.replace(
            self.interactionNode(), ("InteractionModeChangedEvent", "ModifiedEvent"), lambda *_: self._update()
        )
        self._update()

    def interactionNode(self) -> Any:
        """The interaction node of the scene."""
        scene = self.mrmlScene()
        return None if scene is None else scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def selectionNode(self) -> Any:
        """The selection node of the scene."""
        scene = self.mrmlScene()
        return None if scene is None else scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")

    def setCurrentNode(self, node: Any) -> None:
        """Choose the markups node whose points are placed."""
        self._node = node
        self._node_observations.replace(
            node, () if node is None else ("ModifiedEvent", node.PointAddedEvent), lambda *_: self._update()
        )
        self._update()

    def currentNode(self) -> Any:
        """The markups node."""
        return self._node

    def currentMarkupsNode(self) -> Any:
        """The markups node."""
        return self._node

    def placeButton(self) -> QtWidgets.QToolButton:
        """The button that arms the placing."""
        return self._button

    def _is_active(self) -> bool:
        if self._node is None or self.selectionNode() is None:
            return False
        return bool(slicer.modules.markups.logic().GetActiveListID() == self._node.GetID())

    def _set_active(self, active: bool) -> None:
        if active != self._is_active():
            slicer.modules.markups.logic().SetActiveList(self._node if active else None)
            if not active:
                self.interactionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)

    currentNodeActive = Property(bool, _is_active, _set_active)

    def _is_placing(self) -> bool:
        mode = None if self.interactionNode() is None else self.interactionNode().GetCurrentInteractionMode()
        return self._is_active() and mode == slicer.vtkMRMLInteractionNode.Place

    def _set_place_mode(self, enable: bool) -> None:
        if self._node is None or self.interactionNode() is None:
            return
        if not enable:
            self.interactionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)
            return
        self._set_active(True)
        if self.placeMultipleMarkups in (self.ForcePlaceSingleMarkup, self.ForcePlaceMultipleMarkups):
            self._set_persistent(self.placeMultipleMarkups == self.ForcePlaceMultipleMarkups)
        self.interactionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)

    placeModeEnabled = Property(bool, _is_placing, _set_place_mode)

    def setPlaceModeEnabled(self, enable: bool) -> None:
        """Arm or disarm the placing."""
        self._set_place_mode(enable)

    def _set_persistent(self, persistent: bool) -> None:
        if self.interactionNode() is not None:
            self.interactionNode().SetPlaceModePersistence(int(persistent))

    placeModePersistency = Property(
        bool,
        lambda self: self.interactionNode() is not None and bool(self.interactionNode().GetPlaceModePersistence()),
        _set_persistent,
    )

    def setPlaceModePersistency(self, persistent: bool) -> None:
        """Whether placing goes on after a point (a line: after both ends)."""
        self._set_persistent(persistent)

    def _set_buttons_visible(self, visible: bool) -> None:
        self._button.setVisible(visible)

    buttonsVisible = Property(bool, lambda self: not self._button.isHidden(), _set_buttons_visible)

    def deleteLastPoint(self) -> None:
        """Delete the point that was placed last."""
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        """Delete all points."""
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    def _update(self) -> None:
        placing = self._is_placing()
        self._button.blockSignals(True)
        self._button.setEnabled(self._node is not None and not self._node.GetControlPointPlacementComplete())
        self._button.setChecked(placing)
        self._button.blockSignals(False)
        if placing != self._was_placing:
            self._was_placing = placing
            self.activeMarkupsPlaceModeChanged.emit(placing)
