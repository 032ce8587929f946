"""How a fusion is judged by eye: both images in one, both livers' outlines, and the grid of the deformation."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from ..core.errors import InputError
from ..core.fusion_images import SQUARES, blend_images, checkerboard, difference_image
from . import nodes, segmentations, volumes
from .provenance import Provenance, nodes_with_role

#: Roles of the volumes that hold both images in one.
BLEND_ROLE, CHECKERBOARD_ROLE, DIFFERENCE_ROLE = "fusion_blend", "fusion_checkerboard", "fusion_difference"
#: Spacing and line width of the deformation's grid, in mm: some lines across a lesion. User-set.
GRID_SPACING_MM, _GRID_LINE_MM = 15.0, 0.6


def show_blend(
    fixed: sitk.Image, moved: sitk.Image, inputs: tuple[Any, ...], window: tuple[float, float], *, share: float = 0.5
) -> Any:
    """Put `share` of the moved image over the fixed one into a volume node, which replaces the one before.

    `moved` lies on the grid of `fixed`; `inputs` are the nodes that both come from. Raises as
    :func:`~NETAblationLib.core.fusion_images.blend_images`.
    """
    return _volume(blend_images(fixed, moved, window, share=share), "Before and after, blended", BLEND_ROLE, inputs)


def show_checkerboard(
    fixed: sitk.Image,
    moved: sitk.Image,
    inputs: tuple[Any, ...],
    window: tuple[float, float],
    *,
    squares: int = SQUARES,
) -> Any:
    """Put both images in turn, as a checkerboard, into a volume node, which replaces the one before; else as above."""
    image = checkerboard(fixed, moved, window, squares=squares)
    return _volume(image, "Before and after, checkerboard", CHECKERBOARD_ROLE, inputs)


def show_difference(fixed: sitk.Image, moved: sitk.Image, inputs: tuple[Any, ...], window: tuple[float, float]) -> Any:
    """Put the moved image less the fixed one into a volume node, which replaces the one before; gray is no change."""
    image = difference_image(fixed, moved, window)
    return _volume(image, "After less before", DIFFERENCE_ROLE, inputs, shown=(-1.0, 1.0))


def liver_outlines(before: Any, after: Any) -> dict[Any, list[str]]:
    """The segments of both livers, as `outlines` of :func:`~.views.render_slice`.

    `before` and `after` are segmentation nodes, the latter under the transform of the fusion. Raises InputError where
    one of them has no liver.
    """
    found = {}
    for node in (before, after):
        ids = [i for i in segmentations.segment_ids(node) if segmentations.segment_kind(node, i) == "liver"]
        if not ids:
            raise InputError(f"{node.GetName()}: has no liver, so that there is no outline to compare")
        found[node] = ids[:1]
    return found


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


def _volume(
    image: sitk.Image, name: str, role: str, inputs: tuple[Any, ...], *, shown: tuple[float, float] = (0.0, 1.0)
) -> Any:
    nodes.remove_nodes(*nodes_with_role(role))
    return volumes.add_volume(image, name, Provenance(role, inputs=inputs), window=shown)
