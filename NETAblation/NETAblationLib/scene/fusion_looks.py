"""Ways of looking at a fusion by eye: blend, flicker, a checkerboard of both images, the livers' outlines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import slicer

from . import segmentations
from .cases import CaseScene
from .landmarks import AFTER, BEFORE, SIDE_COLORS

CHECKERBOARD_ROLE = "checkerboard"


def show_blend(case: CaseScene, after_fraction: float) -> None:
    """Show both images in all slice views: 0 only the one before, 1 only the one after."""
    before, after = (None if node is None else node.GetID() for node in (case.volume, case.post_volume))
    for composite in _composites():
        was_modifying = composite.StartModify()
        composite.SetBackgroundVolumeID(before)
        composite.SetForegroundVolumeID(after)
        composite.SetForegroundOpacity(float(after_fraction))
        composite.EndModify(was_modifying)


def flicker(case: CaseScene) -> None:
    """Show the other image: the one after where the one before is seen, and the reverse. Call it again and again."""
    opacity = blend_fraction()
    show_blend(case, 0.0 if opacity > 0.5 else 1.0)


def blend_fraction() -> float:
    """How much of the foreground is seen in the first slice view, 0 to 1."""
    composite = next(_composites(), None)
    return 0.0 if composite is None else float(composite.GetForegroundOpacity())


def show_only(volume: Any) -> None:
    """Show one volume, such as a checkerboard, alone in all slice views."""
    for composite in _composites():
        was_modifying = composite.StartModify()
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetForegroundOpacity(0.0)
        composite.EndModify(was_modifying)


def show_liver_outlines(case: CaseScene, shown: bool) -> None:
    """Outline the livers before and after in all slice views, each in its color (`landmarks.SIDE_COLORS`)."""
    for side, segmentation in ((BEFORE, case.before), (AFTER, case.after)):
        for segment_id in _livers(segmentation):
            display = segmentation.GetDisplayNode()
            if shown:
                display.SetVisibility(True)
                display.SetVisibility2D(True)
                display.SetSegmentVisibility(segment_id, True)
                display.SetSegmentOverrideColor(segment_id, *SIDE_COLORS[side])
                display.SetSegmentOpacity2DOutline(segment_id, 1.0)
            else:
                display.UnsetSegmentOverrideColor(segment_id)
            display.SetSegmentVisibility2DOutline(segment_id, shown)


def missing_for_outlines(case: CaseScene | None) -> str:
    """Why the livers cannot be outlined; empty where at least one can."""
    if case is None or not (_livers(case.before) or _livers(case.after)):
        return "neither liver is segmented"
    return ""


def _livers(segmentation: Any) -> list[str]:
    return [] if segmentation is None else segmentations.segment_ids(segmentation, "liver")


def _composites() -> Iterator[Any]:
    found = slicer.mrmlScene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    found.UnRegister(None)
    for index in range(found.GetNumberOfItems()):
        yield found.GetItemAsObject(index)
