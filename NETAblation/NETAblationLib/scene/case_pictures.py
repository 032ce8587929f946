"""Pictures of a lesion for the report: the margin on its surface, slices before and after, its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.report import Picture
from . import offscreen, probes, views
from .cases import CaseScene
from .lesion_nodes import LesionNodes
from .terminology import term

#: Tissue shown around a lesion in its pictures, in mm, and their size in pixels. User-set.
_SURROUNDINGS_MM = 45.0
_SLICE_PIXELS = (720, 720)
_SPACE_PIXELS = (900, 720)

#: The axis (R, A, S) at right angles to each orientation of slices.
_PLANE_NORMALS = {"axial": 2, "coronal": 1, "sagittal": 0}

NO_PICTURES = "no off-screen OpenGL on this machine: the report has no pictures (Debian: libegl1, libgl1-mesa-dri)"


def pictures_or_note(case: CaseScene, lesion_ids: Sequence[str]) -> tuple[dict[str, tuple[Picture, ...]], list[str]]:
    """The pictures of lesions by id; none, and a note that says why, without off-screen OpenGL."""
    if not offscreen.can_render():
        return {}, [NO_PICTURES]
    return {lesion_id: tuple(lesion_pictures(case, lesion_id)) for lesion_id in lesion_ids}, []


def lesion_pictures(case: CaseScene, lesion_id: str) -> Iterator[Picture]:
    """What the report shows of a lesion, one after the other: margin, slices before and after, plan; PNG.

    Volumes are called before and after: their own names may tell the patient's.
    """
    lesion = case.lesions[lesion_id]
    if lesion.margin is not None:
        yield _margin_picture(lesion)
    if case.volume is not None:
        yield from _slice_pictures(case, lesion)
    if lesion.planned_zone is not None:
        yield _plan_picture(case, lesion)


def _margin_picture(lesion: LesionNodes) -> Picture:
    assert lesion.margin is not None
    margin, result = lesion.margin, lesion.margin_result
    models = [margin.surface, *margin.contours]
    if margin.not_evaluable is not None:
        models.append(margin.not_evaluable)
    marks = [] if lesion.mam_point is None else [lesion.mam_point]
    facing = None if result is None else result.mam_location_ras_mm
    png = views.render_surfaces(
        models,
        lesion.tumor_center_ras_mm,
        facing_ras_mm=facing,
        field_of_view_mm=1.6 * lesion.extent_mm,
        size=_SPACE_PIXELS,
        margin=margin.surface,
        probe_lines=lesion.probe_lines,
        marks=marks,
        title=f"{lesion.name}: signed margin on the tumor",
    )
    probes_too = " with the planned probes" if lesion.probe_lines else ""
    return Picture(f"Signed margin on the tumor's surface{probes_too}, seen from the side of the MAM", png)


def _slice_pictures(case: CaseScene, lesion: LesionNodes) -> Iterator[Picture]:
    where = None if lesion.margin_result is None else lesion.margin_result.mam_location_ras_mm
    center = lesion.tumor_center_ras_mm
    place = "the tumor's center" if where is None else "the MAM"
    best, second, _ = _telling_orientations(np.zeros(3) if where is None else np.subtract(where, center))
    wanted = [(case.volume, "Before", best)]
    if case.post_volume is not None:
        wanted += [(case.post_volume, "After, fused", best), (case.post_volume, "After, fused", second)]
    else:
        wanted += [(case.volume, "Before", second)]
    marks = [] if lesion.mam_point is None else [lesion.mam_point]
    for volume, title, orientation in wanted:
        middle = center.copy()
        if where is not None:
            middle[_PLANE_NORMALS[orientation]] = where[_PLANE_NORMALS[orientation]]
        png = views.render_slice(
            volume,
            middle,
            orientation=orientation,
            field_of_view_mm=lesion.extent_mm + 2 * _SURROUNDINGS_MM,
            size=_SLICE_PIXELS,
            outlines=_outlines(case, lesion),
            probe_lines=lesion.probe_lines if volume is case.volume else (),
            marks=marks,
            title=f"{title}, {orientation}",
        )
        yield Picture(f"{title}: {orientation} slice through {place}, tumor and zone outlined", png)


def _plan_picture(case: CaseScene, lesion: LesionNodes) -> Picture:
    models = [lesion.tumor_model, lesion.planned_zone]
    if case.liver_model is not None:
        models.append(case.liver_model)
    ends = np.array([probes.probe_ends(line)[0] for line in lesion.probe_lines])
    png = views.render_surfaces(
        models,
        lesion.tumor_center_ras_mm,
        facing_ras_mm=ends.mean(axis=0) + np.array([0.0, 150.0, 60.0]),
        field_of_view_mm=230.0,
        size=_SPACE_PIXELS,
        probe_lines=lesion.probe_lines,
        title=f"{lesion.name}: plan",
        names=[
            ("Tumor", term("tumor").color),
            ("Planned zone", term("planned_zone").color),
            ("Liver", term("liver").color),
        ],
    )
    return Picture("Plan: probes and the zones expected of them, liver around", png)


def _outlines(case: CaseScene, lesion: LesionNodes) -> dict[Any, list[str]]:
    outlines = {case.before: [lesion.segment_id]}
    if lesion.zone_segment is not None:
        outlines[case.after] = [lesion.zone_segment]
    return outlines


def _telling_orientations(direction_ras: npt.NDArray[np.float64]) -> list[str]:
    """The orientations of slices, the one that a direction (3,) lies in best first; axial where alike."""
    return sorted(_PLANE_NORMALS, key=lambda name: abs(float(direction_ras[_PLANE_NORMALS[name]])))
