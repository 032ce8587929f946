"""What segments are called, coded and colored: our terminology file, in Slicer's format.

The file holds the codes of the DICOM and Slicer lists that an ablation case needs; what has no
standard code of its own (a planned zone, tissue that should have been ablated) is coded by what it
is made of and told apart by its name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import InputError
from .messages import captured_messages

TERMINOLOGY_FILE = Path(__file__).resolve().parents[2] / "Resources" / "Terminologies" / "NETAblation.term.json"

_REGION_CONTEXT = "Anatomic codes - DICOM master list"
_LIVER_REGION = ("10200004", "SCT", "Liver")
_NO_CODE = ("", "", "")

#: Kinds that share the code of another kind: (kind it is coded as, name, color 0..255).
_DERIVED_KINDS = {
    "planned_zone": ("tissue", "Planned ablation zone", (90, 130, 255)),
    "target": ("tissue", "Target (tumor and margin)", (160, 160, 160)),
    "residual_tumor": ("tumor", "Tumor not ablated", (214, 39, 40)),
    "residual_margin": ("tissue", "Margin not ablated", (255, 176, 0)),
}

#: Kinds of vessels in the liver.
VESSELS = ("portal_vein", "hepatic_vein", "hepatic_artery", "vessels")

#: Names for people where the code's own meaning would not say what is meant in an ablation case.
_NAMES = {"tumor": "Tumor", "zone": "Ablation zone", "tissue": "Tissue"}

#: Kinds that lie in the liver, so that their code needs the region to be complete.
_IN_LIVER = frozenset({"tumor", "zone", "lesion", *_DERIVED_KINDS})


@dataclass(frozen=True)
class Term:
    """One kind of segment: `entry` is Slicer's serialized terminology, `color` has 0..1 values."""

    kind: str
    name: str
    color: tuple[float, float, float]
    code_value: str
    code_meaning: str
    entry: str


def term(kind: str) -> Term:
    """The term of a kind such as "tumor", "zone" or "liver"; see `kinds`.

    Raises InputError for an unknown kind.
    """
    terms = _terms()
    if kind not in terms:
        raise InputError(f"'{kind}' is not a kind of segment; known are {', '.join(sorted(terms))}")
    return terms[kind]


def kinds() -> tuple[str, ...]:
    """All kinds of segment that `term` knows."""
    return tuple(_terms())


def load_terminology() -> None:
    """Offer our terminology in Slicer's selector; does nothing where it is already loaded."""
    logic = slicer.modules.terminologies.logic()
    if logic is None:
        return
    with captured_messages() as messages:
        loaded = logic.LoadTerminologyFromFile(str(TERMINOLOGY_FILE))
        messages.raise_if_failed(loaded, f"{TERMINOLOGY_FILE.name}: cannot be loaded", InputError)


@lru_cache(maxsize=1)
def _terms() -> dict[str, Term]:
    document = json.loads(TERMINOLOGY_FILE.read_text(encoding="utf-8"))
    context = document["SegmentationCategoryTypeContextName"]
    coded = {
        kind_entry["3dSlicerLabel"]: (category, kind_entry)
        for category in document["SegmentationCodes"]["Category"]
        for kind_entry in category["Type"]
    }
    terms = {}
    for kind, (category, entry) in coded.items():
        name = _NAMES.get(kind, entry["CodeMeaning"])
        terms[kind] = _term(context, kind, name, entry["recommendedDisplayRGBValue"], category, entry)
    for kind, (coded_as, name, color) in _DERIVED_KINDS.items():
        terms[kind] = _term(context, kind, name, color, *coded[coded_as])
    return terms


def _term(context: str, kind: str, name: str, rgb: Any, category: dict[str, Any], entry: dict[str, Any]) -> Term:
    region = _LIVER_REGION if kind in _IN_LIVER else _NO_CODE
    serialized = slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
        context, *_code(category), *_code(entry), *_NO_CODE, _REGION_CONTEXT, *region, *_NO_CODE
    )
    red, green, blue = (value / 255.0 for value in rgb)
    return Term(kind, name, (red, green, blue), entry["CodeValue"], entry["CodeMeaning"], serialized)


def _code(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["CodeValue"], entry["CodingSchemeDesignator"], entry["CodeMeaning"]
