"""TotalSegmentator, where that extension is installed: organs of a CT as a segmentation node.

Its module gives `TotalSegmentatorLogic` with `setupPythonRequirements()` and `process(inputVolume,
outputSegmentation, fast, task)` (github lassoan/SlicerTotalSegmentator). It installs its own packages on first use,
after asking the user, and needs up to minutes.
"""

from __future__ import annotations

import importlib
from typing import Any

import slicer

from ..core.errors import ComputationError, InputError

_MODULE = "TotalSegmentator"


def is_installed() -> bool:
    """Whether the application has the extension."""
    return hasattr(slicer.modules, _MODULE.lower())


def segment_organs(volume: Any, *, fast: bool = True) -> Any:
    """Segment the organs of a CT; returns the new segmentation node.

    `fast` is the coarser model, which needs no GPU. Raises InputError where the extension is not installed,
    ComputationError, with its reason, where it fails; the scene is then unchanged.
    """
    if not is_installed():
        raise InputError("TotalSegmentator is not installed: add it with Slicer's Extensions Manager")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume.GetName()} organs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    try:
        logic = importlib.import_module(_MODULE).TotalSegmentatorLogic()
        logic.setupPythonRequirements()
        logic.process(volume, node, fast=fast, task="total")
    except Exception as error:  # whatever its packages raise
        slicer.mrmlScene.RemoveNode(node)
        raise ComputationError(f"TotalSegmentator did not finish ({error}); see Slicer's log") from error
    if not node.GetSegmentation().GetNumberOfSegments():
        slicer.mrmlScene.RemoveNode(node)
        raise ComputationError("TotalSegmentator found no organ in the image")
    return node
