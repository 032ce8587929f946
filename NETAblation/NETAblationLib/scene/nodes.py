"""New nodes of the scene, each with its provenance and its place in the subject hierarchy."""

from __future__ import annotations

from typing import Any

import slicer

from .provenance import Provenance, describe

#: The lesion that a node belongs to: the id of the tumor's segment in the segmentation before ablation.
LESION = "NETAblation.Lesion"


def create_node(class_name: str, name: str, provenance: Provenance, *, displayed: bool = True) -> Any:
    """Add a node with a unique name, default display nodes and an item in the subject hierarchy."""
    scene = slicer.mrmlScene
    # Slicer's counter of names does not forget nodes that were removed: what replaces one would be called "..._1".
    node = scene.AddNewNodeByClass(class_name, scene.GetUniqueNameByString(name) if _is_taken(name) else name)
    describe(node, provenance)
    if displayed:
        node.CreateDefaultDisplayNodes()
    hierarchy_item(node)
    return node


def _is_taken(name: str) -> bool:
    return slicer.mrmlScene.GetFirstNodeByName(name) is not None


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


def remove_folder(name: str) -> None:
    """Remove the subject hierarchy's folder of this name; what is in it moves up."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = int(hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), name))
    if item != hierarchy.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, False)


def rename_folder(name: str, new_name: str) -> None:
    """Give the subject hierarchy's folder of this name another one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.SetItemName(hierarchy_folder(name), new_name)


def remove_nodes(*members: Any) -> None:
    """Remove nodes, with their display and storage nodes and hierarchy items; None among them is left out."""
    scene = slicer.mrmlScene
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for node in members:
        if node is None or not scene.IsNodePresent(node):
            continue
        own = []
        if node.IsA("vtkMRMLDisplayableNode"):
            own += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
        if node.IsA("vtkMRMLStorableNode"):
            own.append(node.GetStorageNode())
        item = int(hierarchy.GetItemByDataNode(node))
        if item != hierarchy.GetInvalidItemID():  # only the application would remove it with the node
            hierarchy.RemoveItem(item, False, False)
        scene.RemoveNode(node)
        for part in own:
            if part is not None and scene.IsNodePresent(part):
                scene.RemoveNode(part)
