"""New nodes of the scene, each with its provenance and its place in the subject hierarchy."""

from __future__ import annotations

from typing import Any

import slicer

from .provenance import Provenance, describe


def create_node(class_name: str, name: str, provenance: Provenance, *, displayed: bool = True) -> Any:
    """Add a node with a unique name, default display nodes and an item in the subject hierarchy."""
    scene = slicer.mrmlScene
    node = scene.AddNewNodeByClass(class_name, scene.GetUniqueNameByString(name))
    describe(node, provenance)
    if displayed:
        node.CreateDefaultDisplayNodes()
    hierarchy_item(node)
    return node


def hierarchy_item(node: Any) -> int:
    """The subject hierarchy's item of a node; created here, since only the application adds it by itself."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = int(hierarchy.GetItemByDataNode(node))
    if item == hierarchy.GetInvalidItemID():
        item = int(hierarchy.CreateItem(hierarchy.GetSceneItemID(), node))
    return item


def hierarchy_folder(name: str) -> int:
    """The subject hierarchy's folder of this name under the scene, made where it is missing."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = int(hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), name))
    if item == hierarchy.GetInvalidItemID():
        item = int(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name))
    return item


def move_to_folder(node: Any, folder: int) -> None:
    """Put a node's item below the folder item that `hierarchy_folder` gave."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.SetItemParent(hierarchy_item(node), folder)
