"""Ways of looking at a fusion by eye: blend, flicker, checkerboard, difference, the livers' outlines, the grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk
import slicer

from ..core.errors import InputError
from ..core.fusion_images import SQUARES, checkerboard, difference_image
from ..core.progress import ProgressCallback, silent
from . import nodes, segmentations, volumes
from .cases import CaseScene
from .landmarks import AFTER, BEFORE, SIDE_COLORS
from .provenance import Provenance, nodes_with_role

#: Roles of the volumes that hold both images in one.
CHECKERBOARD_ROLE, DIFFERENCE_ROLE = "fusion_checkerboard", "fusion_difference"
#: Spacing and line width of the deformation's grid, in mm: some lines across a lesion. User-set.
GRID_SPACING_MM, _GRID_LINE_MM = 15.0, 0.6


@dataclass(frozen=True)
class BothImages:
    """The image before, and the one after with the transform to it, to be put into one; touches no node.

    `window` holds the values shown black and white.
    """

    before: sitk.Image
    after: sitk.Image
    fixed_to_moving: sitk.Transform
    window: tuple[float, float]

    @classmethod
    def of(cls, case: CaseScene) -> BothImages:
        """Take them out of a case, with the window of the image before; raises InputError where an image is missing."""
        before, after = case.planning_image(), case.post_image()
        display = case.volume.GetDisplayNode()
        window = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        return cls(before, after, case.fixed_to_moving() or sitk.Transform(3, sitk.sitkIdentity), window)

    def checkerboard(self, progress: ProgressCallback = silent, *, squares: int = SQUARES) -> sitk.Image:
        """Both images in turn on the grid of the one before, in `squares` along each axis, 0 to 1."""
        moved = self._moved(progress)
        return checkerboard(self.before, moved, self.window, squares=squares)

    def difference(self, progress: ProgressCallback = silent) -> sitk.Image:
        """The image after less the one before on the grid of that, in windows: -1 to 1, 0 where both are alike."""
        return difference_image(self.before, self._moved(progress), self.window)

    def _moved(self, progress: ProgressCallback) -> sitk.Image:
        progress(0.0, "resampling")
        lowest = float(sitk.GetArrayViewFromImage(self.after).min())
        moved = sitk.Resample(self.after, self.before, self.fixed_to_moving, sitk.sitkLinear, lowest)
        progress(0.8, "comparing")
        return moved


def show_checkerboard(case: CaseScene, image: sitk.Image) -> Any:
    """Show a checkerboard of the case alone in all slice views; returns its volume; an earlier one goes."""
    return _show_alone(case, image, "Before and after, checkerboard", CHECKERBOARD_ROLE, (0.0, 1.0))


def show_difference(case: CaseScene, image: sitk.Image) -> Any:
    """Show a difference of both images alone in all slice views, gray where they are alike; else as above."""
    return _show_alone(case, image, "After less before", DIFFERENCE_ROLE, (-1.0, 1.0))


def _show_alone(case: CaseScene, image: sitk.Image, name: str, role: str, window: tuple[float, float]) -> Any:
    inputs = tuple(node for node in (case.volume, case.post_volume, case.transform) if node is not None)
    nodes.remove_nodes(*nodes_with_role(role))
    volume = volumes.add_volume(image, name, Provenance(role, inputs=inputs), window=window)
    for composite in _composites():
        was_modifying = composite.StartModify()
        composite.SetBackgroundVolumeID(volume.GetID())
        composite.SetForegroundOpacity(0.0)
        composite.EndModify(was_modifying)
    return volume


def show_blend(case: CaseScene, after_fraction: float) -> None:
    """Show both images in all slice views: 0 only the one before, 1 only the one after.

    Images made of both are removed: they are large, and would be saved with the scene.
    """
    before, after = (None if node is None else node.GetID() for node in (case.volume, case.post_volume))
    for composite in _composites():
        was_modifying = composite.StartModify()
        composite.SetBackgroundVolumeID(before)
        composite.SetForegroundVolumeID(after)
        composite.SetForegroundOpacity(float(after_fraction))
        composite.EndModify(was_modifying)
    nodes.remove_nodes(*nodes_with_role(CHECKERBOARD_ROLE), *nodes_with_role(DIFFERENCE_ROLE))


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


def show_deformation_grid(
    transform: Any, region: Any, *, spacing_mm: float = GRID_SPACING_MM, shown: bool = True
) -> Any:
    """Show what a fusion does to a regular grid, in slices and in 3D, or hide that; returns the display node.

    `transform` is the transform node, `region` the node whose box the grid fills, such as the planning volume. Raises
    InputError for a spacing that is not above 0.
    """
    if not spacing_mm > 0:
        raise InputError(f"deformation grid: a spacing of {spacing_mm} mm is not above 0")
    transform.CreateDefaultDisplayNodes()
    display = transform.GetDisplayNode()
    display.SetVisualizationMode(display.VIS_MODE_GRID)
    display.SetAndObserveRegionNode(region)
    display.SetGridSpacingMm(spacing_mm)
    display.SetGridLineDiameterMm(_GRID_LINE_MM)
    display.SetGridScalePercent(100.0)
    display.SetGridShowNonWarped(False)
    display.SetVisibility(shown)
    display.SetVisibility2D(shown)
    display.SetVisibility3D(shown)
    return display


def _livers(segmentation: Any) -> list[str]:
    return [] if segmentation is None else segmentations.segment_ids(segmentation, "liver")


def _composites() -> Iterator[Any]:
    found = slicer.mrmlScene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    found.UnRegister(None)
    for index in range(found.GetNumberOfItems()):
        yield found.GetItemAsObject(index)
