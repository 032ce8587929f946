"""The lesions of the case as rows of a table: size, enhancement, and what to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.diameters import axial_diameters_mm
from ..core.errors import InputError
from ..core.fusion_inputs import is_ct
from ..core.lesion_measures import MeasuredLesions, measure_lesions
from . import documents, nodes, volumes
from .cases import CaseScene
from .lesion_drawing import DOCUMENT
from .lesion_nodes import LesionNodes
from .nodes import LESION
from .organs import Work
from .provenance import Provenance, first_with_role, is_stale, nodes_with_role, provenance_of, stale_reason

MEASURES = "lesion_measures"


@dataclass(frozen=True)
class LesionRow:
    """One lesion: volume, RECIST diameters, enhancement by phase in words, and warnings; "" or () where unknown."""

    lesion_id: str
    name: str
    volume_ml: float
    long_axis_mm: float
    short_axis_mm: float
    enhancement: str = ""
    warnings: tuple[str, ...] = ()
    is_stale: bool = False


class LesionTable:
    """Rows of all lesions; sizes are measured again only where a mask has changed."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self._sizes: dict[str, tuple[float, float, float]] = {}

    def rows(self, case: CaseScene) -> list[LesionRow]:
        """A row for each lesion, in the order of the segmentation."""
        documents_by_lesion = {node.GetAttribute(LESION): node for node in nodes_with_role(DOCUMENT)}
        measured = _measured(case)
        return [
            self._row(case, lesion, documents_by_lesion.get(lesion.segment_id), measured)
            for lesion in case.lesions.values()
        ]

    def _row(self, case: CaseScene, lesion: LesionNodes, document: Any, measured: dict[str, Any]) -> LesionRow:
        warnings = []
        if document is not None:
            warnings += documents.read_document(document)["warnings"]
            if is_stale(document):
                warnings.append(f"the mask is that of an earlier line: {stale_reason(document)}")
        figures = measured.get(lesion.segment_id)
        enhancement = ""
        if figures is not None:
            warnings += [note for note in figures["notes"] if note not in warnings]
            warnings += [f"{flag['name'].replace('_', ' ')}: {flag['distance_mm']:.1f} mm" for flag in figures["flags"]]
            enhancement = ", ".join(
                f"{phase} {found['pattern']} ({found['difference_hu']:+.0f} HU)"
                for phase, found in figures["enhancement"].items()
                if found is not None
            )
        if lesion.tumor_model is None:
            return LesionRow(lesion.segment_id, lesion.name, 0.0, 0.0, 0.0, "", ("its mask is empty",), True)
        stale = is_stale(lesion.tumor_model) or (document is not None and is_stale(document))
        sizes = self._sizes_of(case, lesion)
        return LesionRow(lesion.segment_id, lesion.name, *sizes, enhancement, tuple(warnings), stale)

    def _sizes_of(self, case: CaseScene, lesion: LesionNodes) -> tuple[float, float, float]:
        """Volume in ml, long and short axis in mm."""
        content = provenance_of(lesion.tumor_model).content_hash
        if content not in self._sizes:
            mask = case.tumor_mask(lesion.segment_id)
            voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
            if voxels == 0:
                return 0.0, 0.0, 0.0
            volume_ml = voxels * float(np.prod(mask.GetSpacing())) / 1000.0
            self._sizes[content] = (volume_ml, *axial_diameters_mm(mask))
        return self._sizes[content]


def measures_work(case: CaseScene) -> Work[MeasuredLesions]:
    """Measuring enhancement, distance to the capsule and flags of all lesions.

    Raises InputError without a liver. Distances to vessels would take their tracing, which is slow: they are left to
    `netablation lesions`.
    """
    liver = case.liver_mask()
    if liver is None:
        raise InputError("enhancement is measured against the liver: segment it first")
    lesions = {lesion_id: case.tumor_mask(lesion_id) for lesion_id in case.lesions}
    images = {node.GetName(): volumes.volume_image(node) for node in (case.volume, *case.phases) if node is not None}
    phases = {name: image for name, image in images.items() if is_ct(image)}
    return lambda progress: measure_lesions(lesions, liver, phases=phases, progress=progress)


def put_measures(case: CaseScene, measured: MeasuredLesions) -> None:
    """Keep the measures of all lesions in the scene; they become stale with the lesions and the liver."""
    nodes.remove_nodes(*nodes_with_role(MEASURES))
    models = [lesion.tumor_model for lesion in case.lesions.values()]
    inputs = tuple(node for node in (case.volume, *case.phases, case.liver_model, *models) if node is not None)
    document = {"lesions": {lesion.name: lesion.to_dict() for lesion in measured.lesions}}
    documents.add_document(document, "Lesion measures", Provenance(MEASURES, inputs=inputs), schema=MEASURES)


def _measured(case: CaseScene) -> dict[str, Any]:
    """The measures of each lesion by its id, as long as they hold."""
    node = first_with_role(MEASURES)
    if node is None or is_stale(node):
        return {}
    found: dict[str, Any] = documents.read_document(node, schema=MEASURES)["lesions"]
    return {lesion_id: found[lesion_id] for lesion_id in case.lesions if lesion_id in found}
