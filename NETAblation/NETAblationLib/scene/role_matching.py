"""Segments of any segmentation in the scene taken into the case, each as what it is.

Segments are matched by code or name (:mod:`~NETAblationLib.core.structures`); the matches are a list that the user
sees and corrects before it is adopted. What is adopted is a copy that remembers where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import SimpleITK as sitk
import slicer

from ..core.errors import InputError
from ..core.structures import Code, Structure, catalogue
from . import segmentations
from .cases import CaseScene
from .lesion_drawing import without_others
from .provenance import CONTENT_HASH, ROLE, SOURCE
from .sample_case import ANATOMY_ROLE
from .terminology import kinds, term

TUMOR = "tumor"

#: Structures that have no place in the case before ablation, or that are parts of what is taken as a whole.
_LEFT_OUT = frozenset({"liver segment", "ablation zone", "body"})


@dataclass(frozen=True)
class SegmentMatch:
    """One segment: what it is (`structure`, by its name in the table; empty to leave it out), and why not."""

    segment_id: str
    name: str
    structure: str = ""
    reason: str = ""


def other_segmentations() -> list[Any]:
    """The segmentations of the scene that no case made: loaded or drawn ones, and the sample's anatomy."""
    found = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in found if node.GetAttribute(ROLE) in (None, "", ANATOMY_ROLE)]


def match_segments(segmentation: Any) -> list[SegmentMatch]:
    """What each segment of a segmentation node is, in its order."""
    found = []
    for segment_id in segmentations.segment_ids(segmentation):
        name = segmentations.segment_name(segmentation, segment_id)
        match = catalogue().match(name, _code_of(segmentations.segment_terminology(segmentation, segment_id)))
        if match.structure is None:
            found.append(SegmentMatch(segment_id, name, "", match.reason))
        elif match.structure.name in _LEFT_OUT:
            found.append(SegmentMatch(segment_id, name, "", f"{match.structure.name}: is not needed"))
        else:
            found.append(SegmentMatch(segment_id, name, match.structure.name))
    return found


def structure_choices() -> tuple[str, ...]:
    """The names of all structures that a segment can be taken as."""
    return tuple(structure.name for structure in catalogue().structures if structure.name not in _LEFT_OUT)


def adopt_segments(case: CaseScene, segmentation: Any, matches: Sequence[SegmentMatch]) -> list[str]:
    """Copy the matched segments into the case; returns what was taken, in words.

    Segments of one structure (both kidneys, all ribs) are united and take the place of what the case has of it;
    each tumor becomes a lesion of its own. Raises InputError for the case's own segmentations, for one under a
    transform, and where nothing is matched; GeometryError or EmptyMaskError for a segment that is not there or empty.
    """
    if segmentation in (case.before, case.after):
        raise InputError(f"{segmentation.GetName()}: belongs to the case already; choose another segmentation")
    if segmentation.GetParentTransformNode() is not None:
        raise InputError(f"{segmentation.GetName()}: lies under a transform; harden it first")
    chosen = [match for match in matches if match.structure]
    if not chosen:
        raise InputError("no segment is matched to a structure; choose for at least one what it is")
    by_structure: dict[str, list[SegmentMatch]] = {}
    for match in chosen:
        by_structure.setdefault(match.structure, []).append(match)
    taken = []
    for name, members in by_structure.items():
        if name == TUMOR:
            taken += [_adopt_tumor(case, segmentation, member) for member in members]
            continue
        mask = _union(segmentation, members)
        segment_id = _put(case, _structure(name), mask)
        _remember(case, segment_id, segmentation, members)
        taken.append(name if len(members) == 1 else f"{name} ({len(members)} segments)")
    return taken


def _adopt_tumor(case: CaseScene, segmentation: Any, match: SegmentMatch) -> str:
    names = {lesion.name for lesion in case.lesions.values()}
    name = match.name
    if name in names:
        number = next(n for n in range(2, len(names) + 3) if f"{name} {n}" not in names)
        name = f"{name} {number}"
    mask, _ = without_others(case, segmentations.segment_box(segmentation, match.segment_id))
    _remember(case, case.add_lesion(name, mask), segmentation, [match])
    return f"{TUMOR} {name}"


def _put(case: CaseScene, structure: Structure, mask: sitk.Image) -> str:
    """Put a structure into the case; returns its segment's id."""
    kind = _kind_of(structure)
    if kind == "liver":
        case.replace_liver(mask)
    elif kind is not None:
        case.replace_structure(mask, kind)
    else:
        kind = structure.name.replace(" ", "_")
        _replace_without_kind(case, structure, kind, mask)
    return segmentations.segment_ids(case.before, kind)[0]


def _replace_without_kind(case: CaseScene, structure: Structure, kind: str, mask: sitk.Image) -> None:
    """A structure that our terminology has no kind for: tissue with the structure's own name."""
    for segment_id in segmentations.segment_ids(case.before, kind):
        segmentations.remove_segment(case.before, segment_id)
    name = structure.name[0].upper() + structure.name[1:]
    segment_id = segmentations.add_segment(case.before, mask, "tissue", name, resample=True)
    segmentations.set_segment_tag(case.before, segment_id, segmentations.KIND_TAG, kind)


def _union(segmentation: Any, members: Sequence[SegmentMatch]) -> sitk.Image:
    masks = [segmentations.segment_mask(segmentation, member.segment_id) for member in members]
    united = masks[0]
    for mask in masks[1:]:
        united = sitk.Or(united, mask)
    return united


def _remember(case: CaseScene, segment_id: str, segmentation: Any, members: Sequence[SegmentMatch]) -> None:
    source = f"{segmentation.GetName()}: {', '.join(member.name for member in members)}"
    hashes = [segmentations.segment_hash(segmentation, member.segment_id) for member in members]
    segmentations.set_segment_tag(case.before, segment_id, SOURCE, source)
    segmentations.set_segment_tag(case.before, segment_id, CONTENT_HASH, " ".join(hashes))


def _structure(name: str) -> Structure:
    for structure in catalogue().structures:
        if structure.name == name and name not in _LEFT_OUT:
            return structure
    raise InputError(f"'{name}' is no structure that a segment can be; choose one of {', '.join(structure_choices())}")


def _kind_of(structure: Structure) -> str | None:
    """Our kind of segment for a structure, the one of the same code; None where there is none."""
    if structure.name == "liver vessels":
        return "vessels"
    by_code = _kinds_by_code()
    return next((by_code[code.value] for code in structure.codes if code.value in by_code and not code.region), None)


@lru_cache(maxsize=1)
def _kinds_by_code() -> dict[str, str]:
    """Our kinds by the value of their code, without those that share another's."""
    found: dict[str, str] = {}
    for kind in kinds():
        found.setdefault(term(kind).code_value, kind)
    return found


def _code_of(serialized: str) -> Code | None:
    """The code of a segment from Slicer's serialized terminology; None where it has none."""
    entry = slicer.vtkSlicerTerminologyEntry()
    if not serialized or not slicer.modules.terminologies.logic().DeserializeTerminologyEntry(serialized, entry):
        return None
    coded, region = entry.GetTypeObject(), entry.GetRegionObject()
    if coded is None or not coded.GetCodeValue():
        return None
    return Code(
        coded.GetCodingSchemeDesignator() or "",
        coded.GetCodeValue(),
        coded.GetCodeMeaning() or "",
        (region.GetCodeValue() or "") if region is not None else "",
    )
