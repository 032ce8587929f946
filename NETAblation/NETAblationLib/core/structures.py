"""What a segment of another tool is: matched to a structure by its code, or by its name, or not at all.

The table is data (Resources/Terminologies/structures.json): our name, the role in planning, SNOMED CT codes, class
names of TotalSegmentator and other names. An exact code counts first, then the name without case, separators and
side. What is unknown, ambiguous or contradicts itself is left unmatched, with the reason: nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .documents import read_json
from .errors import FormatError

SCHEMA = "netablation-structures"
SCHEMA_VERSION = 1

_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Terminologies"
STRUCTURES_FILE = _FOLDER / "structures.json"
TERMS_FILE = _FOLDER / "NETAblation.term.json"

_SNOMED = ("SCT", "SNOMEDCT", "2.16.840.1.113883.6.96")
#: Slicer gives this code to every segment for which the user chose none: it says nothing.
_NO_MEANING = "85756007"
_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
#: Words that end in s without being plural.
_SINGULAR_ENDINGS = ("ss", "us", "is", "as", "os")


@dataclass(frozen=True)
class Code:
    """A code: scheme ("SCT"), value, meaning, and the value of the region's code where it has one."""

    scheme: str
    value: str
    meaning: str = ""
    region: str = ""


@dataclass(frozen=True)
class Structure:
    """A structure: `name`, its `role` in planning, whether no probe may cross it, and what others call it."""

    name: str
    role: str
    is_obstacle: bool
    codes: tuple[Code, ...]
    totalsegmentator: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    numbered: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All its names."""
        return (self.name, *self.totalsegmentator, *self.aliases)


@dataclass(frozen=True)
class Match:
    """What a segment is: its structure and side ("left", "right" or ""), or None and the reason."""

    structure: Structure | None
    side: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Catalogue:
    """All structures, found by code and by normalized name; raises FormatError where one stands for two."""

    structures: tuple[Structure, ...]

    def __post_init__(self) -> None:
        """Build the index; refuse what would be ambiguous."""
        by_name: dict[str, Structure] = {}
        by_code: dict[tuple[str, str], Structure] = {}
        for structure in self.structures:
            for name in structure.names:
                key = normalized(name)[0]
                if not key:
                    raise FormatError(f"structure '{structure.name}': the name '{name}' has no letters")
                _add(by_name, key, structure, f"name '{name}'")
            for code in structure.codes:
                _add(by_code, (code.value, code.region), structure, f"code {code.value} ({code.meaning})")
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_by_code", by_code)

    def match(self, name: str = "", code: Code | None = None) -> Match:
        """What a segment of that name and code is.

        A code with a region counts only with that region, or where the table has it without one. Where name and
        code say different roles ("Liver" and "liver tumor"), neither counts.
        """
        coded, why_not = self._coded(code)
        key, side = normalized(name)
        named = self._named(key)
        if coded is not None and named is not None and coded.role != named.role:
            return Match(None, side, f"its code says {coded.name}, its name {named.name}")
        found = coded or named
        if found is None:
            unknown = f"the name '{name}' is not in the table" if key else "it has no name that says what it is"
            return Match(None, side, f"{why_not}, and {unknown}" if why_not else unknown)
        if coded is None and why_not and named is not None:
            return Match(None, side, f"its name says {named.name}, but {why_not}")
        return Match(found, side)

    def _coded(self, code: Code | None) -> tuple[Structure | None, str]:
        if code is None or code.scheme.upper() not in _SNOMED or code.value in ("", _NO_MEANING):
            return None, ""
        by_code: dict[tuple[str, str], Structure] = self._by_code  # type: ignore[attr-defined]
        found = by_code.get((code.value, code.region)) or by_code.get((code.value, ""))
        if found is not None:
            return found, ""
        where = f" in region {code.region}" if code.region else ""
        return None, f"its code {code.value} ({code.meaning or 'no meaning given'}){where} is not in the table"

    def _named(self, key: str) -> Structure | None:
        by_name: dict[str, Structure] = self._by_name  # type: ignore[attr-defined]
        found = by_name.get(key)
        if found is None:
            numbered = by_name.get(re.sub(r" \d+$", "", key))
            return numbered if numbered is not None and numbered.numbered else None
        return found


@dataclass(frozen=True)
class Labels:
    """The labels of a segmentation by structure: `matched` label -> match, `unmatched` label -> (name, reason)."""

    matched: Mapping[int, Match]
    unmatched: Mapping[int, tuple[str, str]]

    @property
    def roles(self) -> dict[int, str]:
        """The role of each matched label."""
        return {label: match.structure.role for label, match in self.matched.items() if match.structure}


def match_labels(names: Mapping[int, str], codes: Mapping[int, Code] | None = None) -> Labels:
    """Match all labels of a segmentation by their names, and by their codes where given; 0 is background."""
    matched, unmatched = {}, {}
    for label, name in names.items():
        if label == 0:
            continue
        match = catalogue().match(name, (codes or {}).get(label))
        if match.structure is None:
            unmatched[label] = (name, match.reason)
        else:
            matched[label] = match
    return Labels(matched, unmatched)


def normalized(name: str) -> tuple[str, str]:
    """A name without case, accents, separators, plural and side, and the side ("left", "right", "" for none or both).

    "Kidney_Right", "right kidneys" and "kidney (R)" are all ("kidney", "right"); a name that is a side alone is kept.
    """
    text = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name))
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).lower()
    words = re.findall(r"[^\W_]+", text)
    sides = {_SIDES[word] for word in words if word in _SIDES}
    kept = [word for word in words if word not in _SIDES] or words
    singular = [word[:-1] if _is_plural(word) else word for word in kept]
    return " ".join(singular), sides.pop() if len(sides) == 1 else ""


def _is_plural(word: str) -> bool:
    return len(word) > 3 and word.endswith("s") and not word.endswith(_SINGULAR_ENDINGS)


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The catalogue that ships; raises FormatError or InputError, naming the file, for one that is not sound."""
    return read_catalogue(STRUCTURES_FILE, TERMS_FILE)


def read_catalogue(structures_file: Path, terms_file: Path) -> Catalogue:
    """Read a table of structures; codes named by `term` come from a terminology file in Slicer's format."""
    document, terms = read_json(structures_file), _terms(read_json(terms_file), terms_file.name)
    name = structures_file.name
    if document.get("schema") != SCHEMA or document.get("schema_version") != SCHEMA_VERSION:
        found = (document.get("schema"), document.get("schema_version"))
        raise FormatError(f"{name}: schema and version {found}; this release reads {(SCHEMA, SCHEMA_VERSION)}")
    roles = {
        str(row["name"]): bool(row["is_obstacle"]) for row in _rows(document, "roles", {"name", "is_obstacle"}, name)
    }
    rows = _rows(document, "structures", {"name", "role"}, name)
    structures = tuple(_structure(row, roles, terms, name) for row in rows)
    try:
        return Catalogue(structures)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def _rows(document: Mapping[str, Any], key: str, needed: set[str], name: str) -> list[dict[str, Any]]:
    rows = document.get(key)
    if not isinstance(rows, list) or not rows:
        raise FormatError(f"{name}: '{key}' is not a list with entries")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not needed <= set(row):
            raise FormatError(f"{name}: entry {number} of '{key}' lacks one of {', '.join(sorted(needed))}")
    return rows


_FIELDS = {"name", "role", "term", "codes", "totalsegmentator", "aliases", "numbered"}


def _structure(
    row: Mapping[str, Any], roles: Mapping[str, bool], terms: Mapping[str, Code], file_name: str
) -> Structure:
    name, role, term = row["name"], row["role"], row.get("term")
    where = f"{file_name}: structure '{name}'"
    if set(row) - _FIELDS:
        raise FormatError(f"{where}: unknown {', '.join(sorted(set(row) - _FIELDS))}")
    if role not in roles:
        raise FormatError(f"{where}: role '{role}' is none of {', '.join(roles)}")
    if term is not None and term not in terms:
        raise FormatError(f"{where}: term '{term}' is not in the terminology file")
    codes = [] if term is None else [terms[term]]
    for code in row.get("codes", []):
        if not isinstance(code, dict) or not str(code.get("value", "")).isdigit() or not code.get("meaning"):
            raise FormatError(f"{where}: a code needs a value of digits and a meaning, not {code!r}")
        codes.append(Code("SCT", code["value"], code["meaning"], code.get("region", "")))
    texts = []
    for key in ("totalsegmentator", "aliases"):
        values = row.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise FormatError(f"{where}: '{key}' is not a list of names")
        texts.append(tuple(values))
    return Structure(name, role, roles[role], tuple(codes), texts[0], texts[1], bool(row.get("numbered", False)))


def _terms(document: Mapping[str, Any], name: str) -> dict[str, Code]:
    try:
        return {
            entry["3dSlicerLabel"]: Code(entry["CodingSchemeDesignator"], entry["CodeValue"], entry["CodeMeaning"])
            for category in document["SegmentationCodes"]["Category"]
            for entry in category["Type"]
        }
    except (KeyError, TypeError) as error:
        raise FormatError(f"{name}: is not a terminology in 3D Slicer's format ({error!r})") from error


def _add(index: dict[Any, Structure], key: Any, structure: Structure, what: str) -> None:
    other = index.setdefault(key, structure)
    if other is not structure:
        raise FormatError(f"{what} stands for both '{other.name}' and '{structure.name}'")
