"""Ways of looking at a fusion by eye: blend, flicker, a checkerboard of both images, the livers' outlines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk
import slicer

from ..core.fusion_images import checkerboard
from ..core.progress import ProgressCallback, silent
from . import nodes, segmentations, volumes
from .cases import CaseScene
from .fusion_views import CHECKERBOARD_ROLE
from .landmarks import AFTER, BEFORE, SIDE_COLORS
from .provenance import Provenance, nodes_with_role


@dataclass(frozen=True)
class Checkerboard:
    """What a checkerboard is made of: the image before, and the one after with the transform to it.

    `window` holds the values shown black and white, `squares` is their number along each axis.
    """

    before: sitk.Image
    after: sitk.Image
    fixed_to_moving: sitk.Transform
    window: tuple[float, float]
    squares: int

    @classmethod
    def of(cls, case: CaseScene, squares: int) -> Checkerboard:
        """Take them out of a case, with the window of the image before; raises InputError where an image is missing."""
        before, after = case.planning_image(), case.post_image()
        display = case.volume.GetDisplayNode()
        window = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        return cls(before, after, case.fixed_to_moving() or sitk.Transform(3, sitk.sitkIdentity), window, squares)

    def image(self, progress: ProgressCallback = silent) -> sitk.Image:
        """Both images in turn on the grid of the one before, 0 to 1; touches no node."""
        progress(0.0, "resampling")
        lowest = float(sitk.GetArrayViewFromImage(self.after).min())
        moved = sitk.Resample(self.after, self.before, self.fixed_to_moving, sitk.sitkLinear, lowest)
        progress(0.8, "squares")
        return checkerboard(self.before, moved, self.window, squares=self.squares)


def show_checkerboard(case: CaseScene, image: sitk.Image) -> Any:
    """Show a checkerboard of the case alone in all slice views; returns its volume; an earlier one goes."""
    inputs = tuple(node for node in (case.volume, case.post_volume, case.transform) if node is not None)
    nodes.remove_nodes(*nodes_with_role(CHECKERBOARD_ROLE))
    provenance = Provenance(CHECKERBOARD_ROLE, inputs=inputs)
    volume = volumes.add_volume(image, "Before and after, checkerboard", provenance, window=(0.0, 1.0))
    for composite in _composites():
        was_modifying = composite.StartModify()
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetForegroundOpacity(0.0)
        composite.EndModify(was_modifying)
    return volume


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
