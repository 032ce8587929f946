"""One or two images of the case in the slice views: side by side and linked, or one in all."""

from __future__ import annotations

from typing import Any

import slicer

from . import layouts, slice_views

#: The slice views of Slicer's layout with two views beside each other.
_LEFT, _RIGHT = "Red", "Yellow"


def show_side_by_side(first: Any, second: Any) -> None:
    """Show two volumes beside each other in axial views that move together."""
    for node in slicer.util.getNodesByClass("vtkMRMLLayoutNode"):
        node.SetViewArrangement(node.SlicerLayoutSideBySideView)
    shown = {_LEFT: first, _RIGHT: second}
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        volume = shown.get(composite.GetLayoutName())
        if volume is not None:
            # Unlinked while the images are set: a linked view would hand its own image to the other.
            composite.SetLinkedControl(False)
            composite.SetHotLinkedControl(False)
            composite.SetBackgroundVolumeID(volume.GetID())
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node.GetLayoutName() in shown:
            node.SetOrientation("Axial")
    left = next((n for n in slicer.util.getNodesByClass("vtkMRMLSliceNode") if n.GetLayoutName() == _LEFT), None)
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if left is not None and node.GetLayoutName() == _RIGHT:
            slice_views.look_as(node, left)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if composite.GetLayoutName() in shown:
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)


def show_one(volume: Any) -> None:
    """Show one volume in all slice views, each with its own orientation, as lesions are drawn."""
    layouts.set_layout(layouts.LESIONS)
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.SetOrientationToDefault()
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volume.GetID())
