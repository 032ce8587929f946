"""What the views show at each step of a case: their arrangement, which nodes, and where they look.

Nodes are shown and hidden at a step by their visibility in slices and in 3D; their visibility as a whole, such as the
tick of a probe in its table, is the user's and stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import cameras, layouts, lesion_drawing, margin_steps, slice_views, surfaces, vessel_surfaces, zone_steps
from .cases import CaseScene
from .landmarks import LANDMARK_ROLES
from .layouts import FUSION, LESIONS, MARGIN, PLANNING
from .lesion_nodes import LesionNodes
from .points import point_label
from .probes import probe_ends_in_world
from .provenance import nodes_with_role
from .skin_entries import SKIN_ROLE

#: What is seen around the liver on each side, mm, where all of it is to be seen. User-set.
_AROUND_LIVER_MM = 15.0
#: The same around the skin ends of probes, mm. User-set.
_AROUND_PROBES_MM = 5.0

#: From where a plan is first looked at (RAS): anterior and a little right and superior, so that probes of any side are
#: seen at their length. User-set.
_PLAN_FROM = np.array([0.5, 1.0, 0.25])


def show_step(step: str, case: CaseScene | None, lesion_id: str = "") -> None:
    """Arrange the views for "lesions", "planning", "fusion" or "margin", and show what belongs there.

    The views look at the lesion, but for the step "lesions", which needs all of the liver. Where the arrangement is
    another one than before, they look as if they had never been zoomed. Raises KeyError for another step.
    """
    keeps_zoom = layouts.current_layout() == step
    layouts.set_layout(step)
    if case is None:
        return
    show_nodes(step, case)
    if step == LESIONS:
        look_at_liver(case, keeps_zoom=keeps_zoom)
    else:
        _look(step, case, lesion_id, keeps_zoom)


def show_nodes(step: str, case: CaseScene) -> None:
    """Show what belongs to a step and hide what would only cover it.

    What is drawn on a lesion belongs to the step "lesions"; probes, their zones, vessels and skin in 3D to planning;
    landmarks and the diameters of ablation zones to the fusion. At the margin the tumor's outline in the slices is
    colored by its margin, in place of the plain one, and neither the liver nor another lesion hides it in 3D.
    """
    outlines = case.before.GetDisplayNode()
    if step != MARGIN:
        _show_in_space(case, None)
    for lesion in case.lesions.values():
        for node in (*lesion.probe_lines, lesion.planned_zone):
            if node is not None:
                node.GetDisplayNode().SetVisibility2D(step == PLANNING)
                node.GetDisplayNode().SetVisibility3D(step == PLANNING)
        is_colored = step == MARGIN and lesion.margin is not None
        outlines.SetSegmentVisibility2DOutline(lesion.segment_id, not is_colored)
        for model in () if lesion.margin is None else (lesion.margin.surface, lesion.margin.not_evaluable):
            if model is not None:
                surfaces.show_cut(model, is_colored)
    for role in lesion_drawing.ROLES:
        _show_in_slices(role, step == LESIONS)
    _show_in_slices(zone_steps.ZONE_LINE_ROLE, step == FUSION)
    for role in LANDMARK_ROLES.values():
        _show_in_slices(role, step == FUSION)
    for role in (vessel_surfaces.VESSEL_ROLE, SKIN_ROLE):
        for model in nodes_with_role(role):
            model.GetDisplayNode().SetVisibility3D(step == PLANNING)
    if case.liver_model is not None:
        case.liver_model.GetDisplayNode().SetVisibility3D(step != MARGIN)


def look_at_lesion(case: CaseScene, lesion_id: str) -> None:
    """Turn the views to a lesion; with the margin's arrangement to the weakest point of its margin, where there is one.

    The slices go through its center, with its surroundings in view, and in the planning arrangement with its probes up
    to the skin. The user's zoom stays. Does nothing for an unknown lesion.
    """
    _look(layouts.current_layout(), case, lesion_id, keeps_zoom=True)


def _look(step: str, case: CaseScene, lesion_id: str, keeps_zoom: bool) -> None:
    lesion = case.lesions.get(lesion_id)
    if lesion is None or lesion.tumor_model is None:
        return
    if step == MARGIN:
        _show_in_space(case, lesion_id)
        margin_steps.show_histogram(case, lesion_id)
        if margin_steps.weakest_point(case, lesion_id) is not None:
            look_at_weakest(case, lesion_id, keeps_zoom=keeps_zoom)
            return
    around = slice_views.corners_around(lesion.tumor_points_ras_mm)
    if step == PLANNING:
        probes = _probe_corners(lesion)
        around = np.concatenate([around, *probes])
        liver = [] if case.liver_model is None else [surfaces.surface_of(case.liver_model).points_ras_mm]
        seen = np.concatenate([lesion.tumor_points_ras_mm, *liver, *probes])
        if keeps_zoom:
            cameras.bring_into_view(seen)
        else:
            cameras.look_at(seen, _PLAN_FROM)
    slice_views.show(lesion.tumor_center_ras_mm, around, keeps_zoom=keeps_zoom)


def look_at_weakest(case: CaseScene, lesion_id: str, *, keeps_zoom: bool = True) -> None:
    """Let all slices go through the weakest point of a lesion's margin, and let it face the viewer in 3D.

    Does nothing where there is no such point.
    """
    place = margin_steps.weakest_point(case, lesion_id)
    if place is None:
        return
    points = case.lesions[lesion_id].tumor_points_ras_mm
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    slice_views.show(place, slice_views.corners_around(points) - middle + place, keeps_zoom=keeps_zoom)
    cameras.look_at(points, cameras.toward_viewer(middle, place))


def look_at_liver(case: CaseScene, *, keeps_zoom: bool = True) -> None:
    """Bring all of the liver into all views; does nothing where the case has none."""
    if case.liver_model is None:
        return
    points = surfaces.surface_of(case.liver_model).points_ras_mm
    corners = slice_views.corners_around(points, _AROUND_LIVER_MM)
    slice_views.show(corners.mean(axis=0), corners, keeps_zoom=keeps_zoom)
    cameras.bring_into_view(points)


def _show_in_space(case: CaseScene, only: str | None) -> None:
    """Show all lesions in 3D, or one alone with its margin and the scale of that, so that no other lies before it."""
    for lesion_id, lesion in case.lesions.items():
        margin = lesion.margin
        colored = () if margin is None else (margin.surface, *margin.contours, margin.not_evaluable)
        for node in (lesion.tumor_model, *colored, lesion.mam_point):
            if node is not None:
                node.GetDisplayNode().SetVisibility3D(only in (None, lesion_id))
        if margin is not None:
            least = "" if lesion.mam_point is None else point_label(lesion.mam_point)
            surfaces.show_margin_legend(margin.surface, only == lesion_id, least)


def _probe_corners(lesion: LesionNodes) -> list[npt.NDArray[np.float64]]:
    """The corners (8, 3) around each probe of a lesion that is shown."""
    return [
        slice_views.corners_around(probe_ends_in_world(line), _AROUND_PROBES_MM)
        for line in lesion.probe_lines
        if line.GetDisplayVisibility()
    ]


def _show_in_slices(role: str, is_shown: bool) -> None:
    for node in nodes_with_role(role):
        node.GetDisplayNode().SetVisibility2D(is_shown)
