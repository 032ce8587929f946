"""Lesions from what is drawn on them: a diameter line, and lines and points that correct the result.

A line that is finished in a view becomes a lesion; the lines and points stay with it as what it was made of.
Dragging one of them, or adding to them, segments the lesion anew: its mask is replaced, and what was computed from
the lesion becomes stale.

The work is parted in three, so that the middle can run beside the application: :meth:`LesionDrawing.begin` takes
everything out of the scene, :meth:`LesionTask.run` computes, :meth:`LesionDrawing.accept` puts the result in, or
:meth:`LesionDrawing.refuse` takes back what gave none. The next line can be drawn meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import slicer
import vtk

from ..core import frames
from ..core.diameters import axial_diameters_mm
from ..core.errors import EmptyMaskError, InputError
from ..core.lesions import LesionSegmentation, segment_lesion
from ..core.progress import ProgressCallback, silent
from . import documents, nodes, segmentations, volumes
from .cases import CaseScene
from .nodes import LESION
from .provenance import ROLE, STALE, Provenance, describe, inputs_of, mark_stale, provenance_of

LINE, SECOND_LINE, PLUS, MINUS = "diameter_line", "second_diameter_line", "plus_points", "minus_points"
DOCUMENT = "lesion_segmentation"

_LINE_CLASS, _POINTS_CLASS = "vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsFiducialNode"

#: What is drawn, by its role: node class, words after the lesion's name, color.
_DRAWN: dict[str, tuple[str, str, tuple[float, float, float]]] = {
    LINE: (_LINE_CLASS, "line", (1.0, 1.0, 0.0)),
    SECOND_LINE: (_LINE_CLASS, "second line", (1.0, 0.75, 0.0)),
    PLUS: (_POINTS_CLASS, "inside", (0.2, 0.85, 1.0)),
    MINUS: (_POINTS_CLASS, "outside", (1.0, 0.35, 0.8)),
}

ROLES = tuple(_DRAWN)

#: The image is cut this far beyond the drawn points, as a share of the line's length and in mm: farther than the
#: method looks, so that the cut changes nothing. User-set.
_CROP_SHARE, _CROP_MM = 1.2, 25.0

#: Size of the points that are drawn, mm. User-set.
_GLYPH_MM = 2.5

_NAME = re.compile(r"L(\d+)")


@dataclass(frozen=True)
class LesionTask:
    """All that the segmentation of one lesion needs, taken out of the scene; points (N, 3) in RAS mm.

    `image` and `liver` are cut around the lesion; `image_sha256` is that of the whole image.
    """

    image: sitk.Image
    line_ras_mm: npt.NDArray[np.float64]
    second_line_ras_mm: npt.NDArray[np.float64] | None
    plus_ras_mm: npt.NDArray[np.float64]
    minus_ras_mm: npt.NDArray[np.float64]
    liver: sitk.Image | None
    image_sha256: str

    def run(self, progress: ProgressCallback = silent) -> LesionSegmentation:
        """Segment; needs neither the scene nor the main thread. Raises as `segment_lesion`."""
        found = segment_lesion(
            self.image,
            self.line_ras_mm,
            second_line_ras_mm=self.second_line_ras_mm,
            plus_ras_mm=self.plus_ras_mm,
            minus_ras_mm=self.minus_ras_mm,
            liver=self.liver,
            progress=progress,
        )
        return replace(found, image_sha256=self.image_sha256)


class LesionDrawing:
    """What is drawn on the lesions of the case, and what follows from it.

    `on_drawn(node)` is called when a line is finished or something drawn was changed, and the lesion is to be
    segmented (again), as `segment` does. It is called amid the mouse event: a panel defers the work.
    """

    def __init__(self, case: CaseScene, on_drawn: Callable[[Any], object]) -> None:
        """Follow everything drawn on the lesions that the scene has."""
        self.case = case
        self.within_liver = True
        self._on_drawn = on_drawn
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._armed: tuple[str, str] = ("", "")
        self._added = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._on_node_added)
        self.follow()

    def follow(self) -> None:
        """Follow what is drawn on lesions and was not followed yet, such as after a scene was opened."""
        for role in _DRAWN:
            for node in self._of_role(role):
                self._follow(node)

    def close(self) -> None:
        """Stop drawing and following; the scene stays as it is."""
        self.disarm()
        slicer.mrmlScene.RemoveObserver(self._added)
        for node, tags in self._observed.values():
            for tag in tags:
                node.RemoveObserver(tag)
        self._observed.clear()

    # Drawing

    @property
    def armed_role(self) -> str:
        """The role of what the next clicks in the views draw; empty where they draw nothing."""
        return self._armed[0]

    def arm(self, role: str = LINE, lesion_id: str = "", *, persistent: bool = True) -> Any:
        """Let the next clicks in the views draw a line of a new lesion, or what corrects `lesion_id`.

        With `persistent` one line after the other, or points one after the other, until `disarm`. Returns the node
        that is drawn. Raises InputError for an unknown role, or a correction of no lesion of the case.
        """
        if role not in _DRAWN:
            raise InputError(f"'{role}' cannot be drawn; choose one of {', '.join(_DRAWN)}")
        if role != LINE:
            self._require_lesion(lesion_id)
        self.disarm()
        self._armed = (role, "" if role == LINE else lesion_id)
        node = self._next_node()
        selection, interaction = _singleton("Selection"), _singleton("Interaction")
        selection.SetReferenceActivePlaceNodeClassName(_DRAWN[role][0])
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(persistent and role != SECOND_LINE)
        interaction.SetCurrentInteractionMode(interaction.Place)
        return node

    def disarm(self) -> None:
        """End drawing; a line that was not finished is removed."""
        if not self.armed_role:
            return
        self._armed = ("", "")
        interaction = _singleton("Interaction")
        interaction.SetPlaceModePersistence(False)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        for node, _ in list(self._observed.values()):
            if not _is_finished(node):
                self._drop(node)

    def drawn_on(self, lesion_id: str) -> dict[str, Any]:
        """What is drawn on a lesion: the node of each role that it has."""
        found = {}
        for role in _DRAWN:
            node = next((node for node in self._of_role(role) if node.GetAttribute(LESION) == lesion_id), None)
            if node is not None:
                found[role] = node
        return found

    # Segmenting

    def segment(self, node: Any, progress: ProgressCallback = silent) -> str:
        """Segment the lesion that `node` is drawn on, and put it into the scene; returns the lesion's id.

        Raises as `begin`, `LesionTask.run` and `accept`; the scene is then as `refuse` leaves it.
        """
        task = self.begin(node)
        try:
            found = task.run(progress)
        except Exception as error:
            self.refuse(node, str(error))
            raise
        return self.accept(node, found)

    def go_on(self, node: Any) -> None:
        """While lines are drawn one after the other: `node` is finished, the next clicks draw the next."""
        if self._armed == (LINE, "") and node is self._active_node():
            _singleton("Selection").SetActivePlaceNodeID(self._next_node().GetID())

    def begin(self, node: Any) -> LesionTask:
        """What the segmentation of the lesion that `node` is drawn on needs, taken out of the scene.

        Raises InputError where the lesion has no line (one that came from elsewhere), GeometryError for a line
        outside of its image; the scene is then as `refuse` leaves it.
        """
        try:
            return self._task(node)
        except Exception as error:
            self.refuse(node, str(error))
            raise

    def _task(self, node: Any) -> LesionTask:
        lesion_id = node.GetAttribute(LESION) or ""
        drawn = self.drawn_on(lesion_id) if lesion_id else {LINE: node}
        if LINE not in drawn:
            name = self.case.lesions[lesion_id].name
            raise InputError(f"{name}: has no diameter line, since it was not drawn here; correct its mask instead")
        volume = self._volume_of(drawn[LINE])
        points = {role: _positions(drawn[role]) for role in drawn}
        none = np.empty((0, 3))
        everything = np.concatenate(list(points.values()))
        whole = volumes.volume_image(volume)
        length_mm = float(np.ptp(points[LINE], axis=0).max())
        image = whole
        if frames.is_inside(whole, everything).all():  # otherwise the method says what is outside of what
            image = frames.crop_around_points(whole, everything, _CROP_SHARE * length_mm + _CROP_MM)
        liver = self.case.liver_mask() if self.within_liver else None
        return LesionTask(
            image,
            points[LINE],
            points.get(SECOND_LINE),
            points.get(PLUS, none),
            points.get(MINUS, none),
            None if liver is None else _on_grid(liver, image),
            provenance_of(volume).content_hash,
        )

    def accept(self, node: Any, result: LesionSegmentation) -> str:
        """Put the lesion that was segmented from `node` into the scene; returns its id.

        Voxels of other lesions stay theirs. Raises InputError where none are left; the scene is then as `refuse`
        leaves it.
        """
        lesion_id = node.GetAttribute(LESION) or ""
        try:
            result = self._apart(result, lesion_id)
        except Exception as error:
            self.refuse(node, str(error))
            raise
        if lesion_id:
            self.case.update_lesion(lesion_id, result.mask)
        else:
            lesion_id = self.case.add_lesion(self.next_name(), result.mask)
            self._keep(node, lesion_id)
        self._describe(lesion_id, result)
        self.go_on(node)
        return lesion_id

    def refuse(self, node: Any, reason: str) -> None:
        """Take back what could not be segmented: a line of no lesion is removed, a lesion keeps its mask.

        What is written about that lesion becomes stale, since it is not what is drawn.
        """
        lesion_id = node.GetAttribute(LESION) or ""
        if lesion_id:
            document = self._document(lesion_id)
            if document is not None:
                mark_stale(document, reason)
            return
        was_active = node is self._active_node()
        self._drop(node)
        if was_active and self._armed == (LINE, ""):
            _singleton("Selection").SetActivePlaceNodeID(self._next_node().GetID())

    def remove_corrections(self, lesion_id: str) -> Any:
        """Remove what corrects a lesion's line; returns the line, from which it is then to be segmented anew.

        Raises InputError for a lesion without a line.
        """
        drawn = self.drawn_on(lesion_id)
        if LINE not in drawn:
            raise InputError(f"{self.case.lesions[lesion_id].name}: has no diameter line to go back to")
        for role in (SECOND_LINE, PLUS, MINUS):
            if role in drawn:
                self._drop(drawn[role])
        return drawn[LINE]

    def remove_lesion(self, lesion_id: str) -> None:
        """Remove a lesion with all that is drawn on it and was computed from it."""
        for node in self.drawn_on(lesion_id).values():
            self._drop(node)
        self.case.remove_lesion(lesion_id)

    def next_name(self) -> str:
        """The first of L1, L2, ... after those that are taken."""
        taken = [_NAME.fullmatch(lesion.name) for lesion in self.case.lesions.values()]
        return f"L{1 + max((int(found[1]) for found in taken if found), default=0)}"

    # Pieces

    def _of_role(self, role: str) -> list[Any]:
        found = slicer.util.getNodesByClass(_DRAWN[role][0])
        return [node for node in found if node.GetAttribute(ROLE) == role]

    def _require_lesion(self, lesion_id: str) -> None:
        if lesion_id not in self.case.lesions:
            raise InputError("choose the lesion to correct first")

    def _next_node(self) -> Any:
        """The node that the next clicks draw: that of the lesion's points, or a new one."""
        role, lesion_id = self._armed
        drawn = self.drawn_on(lesion_id) if lesion_id else {}
        if role in (PLUS, MINUS) and role in drawn:
            return drawn[role]
        if role == SECOND_LINE and role in drawn:
            self._drop(drawn[role])
        class_name, words, _ = _DRAWN[role]
        name = f"{self.case.lesions[lesion_id].name} {words}" if lesion_id else f"New {words}"
        node = nodes.create_node(class_name, name, Provenance(role))
        self._adopt(node, role, lesion_id)
        return node

    def _adopt(self, node: Any, role: str, lesion_id: str) -> None:
        if node.GetAttribute(ROLE) != role:
            describe(node, Provenance(role))
        node.SetAttribute(LESION, lesion_id or None)
        if lesion_id:
            nodes.move_to_folder(node, nodes.hierarchy_folder(self.case.lesions[lesion_id].name))
        style_drawn(node, _DRAWN[role][2])
        self._follow(node)

    def _follow(self, node: Any) -> None:
        if node.GetID() in self._observed:
            return
        events = (node.PointPositionDefinedEvent, node.PointEndInteractionEvent, node.PointRemovedEvent)
        self._observed[node.GetID()] = (node, [node.AddObserver(event, self._on_changed) for event in events])

    def _drop(self, node: Any) -> None:
        """Remove a node without taking its removal for a correction."""
        _, tags = self._observed.pop(node.GetID(), (node, []))
        for tag in tags:
            node.RemoveObserver(tag)
        nodes.remove_nodes(node)

    def _on_node_added(self, _caller: Any, _event: str) -> None:
        """While lines are drawn one after the other, the views themselves make the next; take it as ours."""
        if self._armed != (LINE, "") or slicer.mrmlScene.IsBatchProcessing():
            return
        lines = slicer.util.getNodesByClass(_LINE_CLASS)
        if lines and not lines[-1].GetAttribute(ROLE) and not lines[-1].GetNumberOfControlPoints():
            self._follow(lines[-1])

    def _on_changed(self, node: Any, _event: str) -> None:
        if not slicer.mrmlScene.IsNodePresent(node) or not _is_finished(node, placing=True):
            return
        if not node.GetAttribute(ROLE):
            if self._armed != (LINE, ""):
                return
            self._adopt(node, LINE, "")
        if node.GetAttribute(ROLE) == SECOND_LINE and self._armed[0] == SECOND_LINE:
            self._armed = ("", "")
        self._on_drawn(node)

    def _active_node(self) -> Any:
        return slicer.mrmlScene.GetNodeByID(_singleton("Selection").GetActivePlaceNodeID() or "")

    def _volume_of(self, line: Any) -> Any:
        """The image that a line was drawn on: the one in the view, where that is of the case, else the planning one."""
        if self.case.volume is None:
            raise InputError("choose the planning image first; a lesion is drawn on an image")
        known = [self.case.volume, *self.case.phases]
        kept = [node for node in inputs_of(line) if node in known]
        seen = slicer.mrmlScene.GetNodeByID(line.GetNthControlPointAssociatedNodeID(0) or "")
        return next((node for node in (*kept, seen) if node in known), self.case.volume)

    def _keep(self, line: Any, lesion_id: str) -> None:
        """Make a line the one of a lesion, with the image that it was drawn on."""
        describe(line, Provenance(LINE, inputs=(self._volume_of(line),)))
        name = self.case.lesions[lesion_id].name
        line.SetName(f"{name} {_DRAWN[LINE][1]}")
        self._adopt(line, LINE, lesion_id)

    def _document(self, lesion_id: str) -> Any:
        found = slicer.util.getNodesByClass("vtkMRMLTextNode")
        own = (n for n in found if n.GetAttribute(ROLE) == DOCUMENT and n.GetAttribute(LESION) == lesion_id)
        return next(own, None)

    def _describe(self, lesion_id: str, result: LesionSegmentation) -> None:
        """Write down the exact lines, points, figures and warnings of a lesion."""
        node = self._document(lesion_id)
        if node is not None:
            documents.update_document(node, result.to_dict())
            node.SetAttribute(STALE, None)
            return
        name = self.case.lesions[lesion_id].name
        volume = self._volume_of(self.drawn_on(lesion_id)[LINE])
        node = documents.add_document(
            result.to_dict(), f"{name} segmentation", Provenance(DOCUMENT, inputs=(volume,)), schema="lesion"
        )
        node.SetAttribute(LESION, lesion_id)
        nodes.move_to_folder(node, nodes.hierarchy_folder(name))

    def _apart(self, result: LesionSegmentation, lesion_id: str) -> LesionSegmentation:
        """The result on the voxels of the segmentation, without voxels of other lesions."""
        mask, sharing = without_others(self.case, result.mask, lesion_id)
        warnings = [*result.warnings]
        if sharing:
            warnings.append(f"met {', '.join(sharing)}, which kept the voxels that both wanted")
        elif mask is result.mask:
            return result
        long_axis, short_axis = axial_diameters_mm(mask)
        volume_ml = float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(mask.GetSpacing())) / 1000.0
        return replace(
            result,
            mask=mask,
            warnings=tuple(warnings),
            volume_ml=volume_ml,
            long_axis_mm=long_axis,
            short_axis_mm=short_axis,
        )


def without_others(case: CaseScene, mask: sitk.Image, lesion_id: str = "") -> tuple[sitk.Image, list[str]]:
    """A lesion's mask on the voxels of the case's segmentation, without those of other lesions.

    Returns the mask and the names of the lesions that it met. Raises InputError where nothing is left.
    """
    kept = segmentations.on_lattice(case.before, mask)
    met = []
    for other in case.lesions.values():
        if other.segment_id == lesion_id:
            continue
        theirs = sitk.Resample(case.tumor_mask(other.segment_id), kept, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        shared = sitk.And(kept, theirs)  # held while its voxels are read
        if np.any(sitk.GetArrayViewFromImage(shared)):
            met.append(other.name)
            kept = sitk.And(kept, sitk.Equal(theirs, 0))
    if not np.any(sitk.GetArrayViewFromImage(kept)):
        if met:
            raise InputError(f"all of it is {', '.join(met)} already: drag that lesion's line, or delete it first")
        raise EmptyMaskError("the lesion lies outside of the planning image")
    return kept, met


def _on_grid(liver: sitk.Image, image: sitk.Image) -> sitk.Image:
    """The liver on the grid of a cut image; raises InputError where none of it is there."""
    near = sitk.Resample(liver, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    if not np.any(sitk.GetArrayViewFromImage(near)):
        raise InputError(
            "the line lies outside of the liver: check the line, or do not confine the lesion to the liver"
        )
    return near


def _positions(node: Any) -> npt.NDArray[np.float64]:
    """All control points that are placed, (N, 3) in the world."""
    place, found = vtk.vtkVector3d(), []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
            node.GetNthControlPointPositionWorld(index, place)
            found.append([place.GetX(), place.GetY(), place.GetZ()])
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _is_finished(node: Any, *, placing: bool = False) -> bool:
    """Whether a line has both ends, or points have one; while `placing` points may all have been deleted again."""
    count = node.GetNumberOfDefinedControlPoints()
    if node.IsA(_LINE_CLASS):
        return bool(count == 2)
    return placing or bool(count)


def _singleton(kind: str) -> Any:
    return slicer.mrmlScene.GetNodeByID(f"vtkMRML{kind}NodeSingleton")


def style_drawn(node: Any, color: tuple[float, float, float]) -> None:
    """Show what is drawn on an image as small handles in its slices, without words and not in 3D."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(color)
    display.SetColor(color)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetVisibility3D(False)  # the lesion's surface shows where it is
    display.SetUseGlyphScale(False)
    display.SetGlyphSize(_GLYPH_MM)
    display.SetSliceProjection(False)
