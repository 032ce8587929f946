"""Ways of looking at a fusion by eye: blend, flicker, a checkerboard of both images, the livers' outlines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk
import slicer

from ..core.progress import ProgressCallback, silent
from . import segmentations, volumes
from .cases import CaseScene
from .landmarks import AFTER, BEFORE, SIDE_COLORS
from .provenance import Provenance, describe, nodes_with_role

CHECKERBOARD_ROLE = "checkerboard"


@dataclass(frozen=True)
class Checkerboard:
    """What a checkerboard is made of: the image before, and the one after with the transform to it."""

    before: sitk.Image
    after: sitk.Image
    fixed_to_moving: sitk.Transform
    square_mm: float

    @classmethod
    def of(cls, case: CaseScene, square_mm: float) -> Checkerboard:
        """Take them out of a case; raises InputError where an image is missing."""
        transform = case.fixed_to_moving()
        return cls(
            case.planning_image(), case.post_image(), transform or sitk.Transform(3, sitk.sitkIdentity), square_mm
        )

    def image(self, progress: ProgressCallback = silent) -> sitk.Image:
        """Both images in turn on the grid of the one before; touches no node.

        Squares are of whole numbers along each axis, so that their edge is near `square_mm`.
        """
        progress(0.0, "resampling")
        lowest = float(sitk.GetArrayViewFromImage(self.after).min())
        moved = sitk.Resample(
            self.after, self.before, self.fixed_to_moving, sitk.sitkLinear, lowest, self.before.GetPixelID()
        )
        progress(0.9, "checkerboard")
        lengths = zip(self.before.GetSize(), self.before.GetSpacing(), strict=True)
        pattern = [max(1, round(size * spacing / self.square_mm)) for size, spacing in lengths]
        return sitk.CheckerBoard(self.before, moved, pattern)


def show_checkerboard(case: CaseScene, image: sitk.Image) -> Any:
    """Show a checkerboard of the case alone in all slice views; returns its volume, which an earlier one's is again."""
    inputs = tuple(node for node in (case.volume, case.post_volume, case.transform) if node is not None)
    provenance = Provenance(CHECKERBOARD_ROLE, inputs=inputs)
    volume = next(iter(nodes_with_role(CHECKERBOARD_ROLE)), None)
    if volume is None:
        volume = volumes.add_volume(image, "Checkerboard", provenance)
    else:
        volumes.update_volume(volume, image)
        describe(volume, provenance)
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
