"""The case: which images and masks there are, what was computed from them, what is stale.

A case holds records, not voxels: images and masks by name with the hash of their content,
and results as the JSON documents that the algorithms give, each with the hashes of the
inputs that made it. So a case can be saved, compared and audited without the images, and a
result whose input has changed is known to be stale; it is never deleted for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .documents import read_json, write_json
from .errors import FormatError, InputError
from .images import image_hash

SCHEMA_VERSION = 1

#: What an image or mask is in the chain from images to margins.
IMAGE_ROLES = frozenset(
    {"planning_image", "phase_image", "post_image", "liver", "post_liver", "tumor", "zone", "obstacle", "excluded"}
)

#: The kinds of result, in the order in which the chain makes them.
RESULT_KINDS = ("segmentation", "plan", "fusion", "margin")


@dataclass(frozen=True)
class ImageRecord:
    """One image or mask of a case: its name, role, content hash and grid, no file name.

    File names often carry a patient's name, so none is kept.
    """

    name: str
    role: str
    sha256: str
    size_voxels: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse an unnamed record, an unknown role and a grid that cannot be."""
        if not self.name:
            raise InputError("an image of a case needs a name")
        if self.role not in IMAGE_ROLES:
            raise InputError(f"image '{self.name}': role '{self.role}' is not one of {', '.join(sorted(IMAGE_ROLES))}")
        if min(self.size_voxels) < 1 or min(self.spacing_mm) <= 0:
            raise InputError(
                f"image '{self.name}': size {self.size_voxels} and spacing {self.spacing_mm} must be above 0"
            )

    @classmethod
    def of(cls, name: str, role: str, image: sitk.Image) -> ImageRecord:
        """Describe a 3D image under a name; its voxels are hashed, not kept."""
        return cls(name, role, image_hash(image), tuple(image.GetSize()), tuple(image.GetSpacing()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "role": self.role,
            "sha256": self.sha256,
            "size_voxels": list(self.size_voxels),
            "spacing_mm": list(self.spacing_mm),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ImageRecord:
        """From JSON; raises FormatError where a field is missing or of another type."""
        try:
            return cls(
                name=str(document["name"]),
                role=str(document["role"]),
                sha256=str(document["sha256"]),
                size_voxels=_triple(document["size_voxels"], int),
                spacing_mm=_triple(document["spacing_mm"], float),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"image record of a case: {error!r}") from error


@dataclass(frozen=True)
class Result:
    """What an algorithm gave: its JSON document and the hashes of its inputs by name.

    `subject` is the lesion that the result is about, or "" where it is about the whole case.
    """

    kind: str
    subject: str
    document: Mapping[str, Any]
    inputs: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse a kind that the chain does not know and a document that is not versioned."""
        if self.kind not in RESULT_KINDS:
            raise InputError(f"result of kind '{self.kind}': expected one of {', '.join(RESULT_KINDS)}")
        if "schema_version" not in self.document:
            raise InputError(f"the {self.kind} document of '{self.subject or 'the case'}' has no schema_version")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "document": dict(self.document),
            "inputs": dict(self.inputs),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Result:
        """From JSON; raises FormatError where a field is missing or of another type."""
        try:
            return cls(
                kind=str(document["kind"]),
                subject=str(document["subject"]),
                document=dict(document["document"]),
                inputs={str(name): str(sha256) for name, sha256 in document["inputs"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"result record of a case: {error!r}") from error


@dataclass(frozen=True)
class Case:
    """One treatment: its images and masks, its lesions and all results; a value, not a store.

    Every `with_...` returns a new case. `label` is free text chosen by the user; keep the
    patient's name out of it.
    """

    label: str = ""
    images: tuple[ImageRecord, ...] = ()
    lesions: tuple[str, ...] = ()
    results: tuple[Result, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse names that stand twice and results about lesions that are not there."""
        _require_unique([record.name for record in self.images], "image")
        _require_unique(list(self.lesions), "lesion")
        _require_unique([f"{result.kind} of '{result.subject}'" for result in self.results], "result")
        for result in self.results:
            if result.subject and result.subject not in self.lesions:
                raise InputError(f"a {result.kind} is about lesion '{result.subject}', which the case does not have")

    def image(self, name: str) -> ImageRecord:
        """The record of an image by its name; raises InputError where there is none."""
        for record in self.images:
            if record.name == name:
                return record
        raise InputError(f"the case has no image '{name}'; it has {', '.join(r.name for r in self.images) or 'none'}")

    def result(self, kind: str, subject: str = "") -> Result | None:
        """The result of a kind about a lesion ("" for the case), or None."""
        return next((r for r in self.results if (r.kind, r.subject) == (kind, subject)), None)

    def with_image(self, name: str, role: str, image: sitk.Image) -> Case:
        """Add an image or mask, or replace the one of that name by this content."""
        record = ImageRecord.of(name, role, image)
        names = [known.name for known in self.images]
        if name not in names:
            return replace(self, images=(*self.images, record))
        return replace(self, images=tuple(record if known.name == name else known for known in self.images))

    def with_lesion(self, name: str) -> Case:
        """Add a lesion by its name."""
        return replace(self, lesions=(*self.lesions, name))

    def with_result(
        self, kind: str, document: Mapping[str, Any], *, subject: str = "", inputs: tuple[str, ...]
    ) -> Case:
        """Add a result, computed just now from the images named in `inputs`.

        A former result of the same kind about the same lesion is replaced by it.
        """
        hashes = {name: self.image(name).sha256 for name in inputs}
        new = Result(kind, subject, document, hashes)
        kept = tuple(r for r in self.results if (r.kind, r.subject) != (kind, subject))
        return replace(self, results=(*kept, new))

    def stale_results(self) -> tuple[Result, ...]:
        """The results of which an input has changed, or is gone, since they were computed."""
        current = {record.name: record.sha256 for record in self.images}
        return tuple(
            result
            for result in self.results
            if any(current.get(name) != sha256 for name, sha256 in result.inputs.items())
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with the schema's name and version."""
        return {
            "schema": "netablation-case",
            "schema_version": SCHEMA_VERSION,
            "label": self.label,
            "images": [record.to_dict() for record in self.images],
            "lesions": list(self.lesions),
            "results": [result.to_dict() for result in self.results],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Case:
        """From JSON; raises FormatError for another schema, version or shape."""
        if not isinstance(document, Mapping) or document.get("schema") != "netablation-case":
            raise FormatError("this is not a NETAblation case (no schema 'netablation-case')")
        if document.get("schema_version") != SCHEMA_VERSION:
            found = document.get("schema_version")
            raise FormatError(f"case of schema version {found!r}; this release reads version {SCHEMA_VERSION}")
        try:
            return cls(
                label=str(document["label"]),
                images=tuple(ImageRecord.from_dict(record) for record in document["images"]),
                lesions=tuple(str(name) for name in document["lesions"]),
                results=tuple(Result.from_dict(result) for result in document["results"]),
            )
        except (KeyError, TypeError) as error:
            raise FormatError(f"case document: {error!r}") from error


def save_case(case: Case, path: str | Path) -> None:
    """Write a case as JSON; an existing file is replaced only once the new one is whole."""
    write_json(case.to_dict(), path)


def load_case(path: str | Path) -> Case:
    """Read a case from JSON; raises FormatError, naming the file, where it is none."""
    return Case.from_dict(read_json(path))


def _triple(values: Any, kind: type) -> tuple[Any, Any, Any]:
    first, second, third = (kind(value) for value in values)
    return first, second, third


def _require_unique(names: list[str], what: str) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"the case has {what} {', '.join(sorted(twice))} twice: give each a name of its own")
