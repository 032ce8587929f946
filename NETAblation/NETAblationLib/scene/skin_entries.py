"""The skin in the scene, colored by how good an entry each of its points is, with the best ways to the target.

Gray is where no probe can enter, red where its path is blocked, amber to green how good the entry is. The numbers
behind the colors are arrays at the model's points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer
import vtk

from ..core.entries import COLOR_STEP, ENTRY_COLORS, SCORE_ARRAY, Entry, SkinRating
from . import documents, startup, surfaces
from .cases import CaseScene
from .nodes import LESION, remove_nodes
from .probes import add_probe
from .provenance import Provenance, nodes_with_role

SKIN_ROLE, WAY_ROLE = "skin_entries", "access_way"
COLOR_ROLE = "entry_colors"

#: Little shading, since the color carries the number. User-set.
_AMBIENT, _DIFFUSE = 0.3, 0.75


def add_skin_entries(rating: SkinRating, name: str, provenance: Provenance) -> Any:
    """Add the skin as a model colored by its rating; see :meth:`~..core.entries.SkinRating.point_values`."""
    node = surfaces.add_surface(rating.surface, name, provenance, point_scalars=rating.point_values())
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(entry_colors().GetID())
    display.SetActiveScalar(SCORE_ARRAY, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarVisibility(True)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(*_color_range())
    display.SetAmbient(_AMBIENT)
    display.SetDiffuse(_DIFFUSE)
    display.SetSpecular(0.0)
    return node


def show_skin(case: CaseScene, lesion_id: str, rating: SkinRating) -> Any:
    """Color the skin by its rating for a lesion, in the place of an earlier one of that lesion; returns the model."""
    hide_skin(lesion_id)
    inputs = tuple(n for n in (case.volume, case.lesions[lesion_id].tumor_model, case.liver_model) if n is not None)
    name = f"{case.lesions[lesion_id].name} entries"
    node = add_skin_entries(rating, name, Provenance(SKIN_ROLE, inputs=inputs))
    node.SetAttribute(LESION, lesion_id)
    return node


def hide_skin(lesion_id: str) -> None:
    """Remove the colored skin of a lesion, if there is one."""
    remove_nodes(skin_of(lesion_id))


def skin_of(lesion_id: str) -> Any:
    """The colored skin of a lesion; None where there is none."""
    shown = (node for node in nodes_with_role(SKIN_ROLE) if node.GetAttribute(LESION) == lesion_id)
    return next(shown, None)


def entry_colors() -> Any:
    """The color table of entries, one color for each step of the scale; made once per scene."""
    for node in nodes_with_role(COLOR_ROLE):
        return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Entries of probes")
    node.SetAttribute("NETAblation.Role", COLOR_ROLE)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(ENTRY_COLORS))
    labels = ["no entry", "blocked", *(f"score {COLOR_STEP * n:.1f}" for n in range(len(ENTRY_COLORS) - 2))]
    for index, (label, rgb) in enumerate(zip(labels, ENTRY_COLORS, strict=True)):
        node.SetColor(index, label, *rgb, 1.0)
    node.GetLookupTable().SetTableRange(*_color_range())
    return node


def save_access_scene(
    path: str | Path,
    *,
    image: sitk.Image,
    tumor: sitk.Image,
    liver: sitk.Image,
    rating: SkinRating,
    entries: Sequence[Entry],
    document: Mapping[str, Any],
) -> Path:
    """Save a scene with image, liver, tumor, the colored skin and the best ways; outside the application only."""
    startup.start_empty()
    case = CaseScene.create(image, image=image, liver=liver)
    case.add_lesion("Lesion", tumor)
    inputs = tuple(node for node in (case.volume, case.before) if node is not None)
    exact = documents.add_document(document, "Lesion access", Provenance("access", inputs=inputs), schema="access")
    add_skin_entries(rating, "Entries to the lesion", Provenance(SKIN_ROLE, inputs=(exact,)))
    for number, entry in enumerate(entries, start=1):
        provenance = Provenance(WAY_ROLE, inputs=(exact,))
        add_probe(entry.entry_ras_mm, entry.target_ras_mm, f"Way {number}", provenance)
    return case.save(path)


def _color_range() -> tuple[float, float]:
    return -2 * COLOR_STEP, (len(ENTRY_COLORS) - 2) * COLOR_STEP
