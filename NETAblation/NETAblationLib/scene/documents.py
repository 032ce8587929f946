"""JSON documents in the scene, numbers to the last bit: text nodes with a schema attribute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..core.errors import FormatError
from .nodes import create_node
from .provenance import Provenance

SCHEMA = "NETAblation.Schema"


def add_document(document: Mapping[str, Any], name: str, provenance: Provenance, *, schema: str) -> Any:
    """Add a JSON object as vtkMRMLTextNode; `schema` says what it is, such as "margin".

    Floating-point numbers are written so that reading gives the same bits. Raises FormatError for
    what JSON cannot hold (NaN and infinity included).
    """
    text = _text_of(document, name)
    node = create_node("vtkMRMLTextNode", name, provenance, displayed=False)
    node.SetAttribute(SCHEMA, schema)
    # A text stored inside the scene file may lose line ends; a file of its own keeps every byte.
    node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
    node.SetText(text)
    return node


def update_document(node: Any, document: Mapping[str, Any]) -> None:
    """Replace the document of a text node."""
    node.SetText(_text_of(document, node.GetName()))


def read_document(node: Any, *, schema: str | None = None) -> dict[str, Any]:
    """The document of a text node; raises FormatError where it is no JSON object or of another schema."""
    found = node.GetAttribute(SCHEMA) or ""
    if schema is not None and found != schema:
        raise FormatError(f"{node.GetName()}: expected a document of schema '{schema}', found '{found}'")
    try:
        document = json.loads(node.GetText() or "")
    except ValueError as error:
        raise FormatError(f"{node.GetName()}: not a JSON document ({error})") from error
    if not isinstance(document, dict):
        raise FormatError(f"{node.GetName()}: expected a JSON object, found a {type(document).__name__}")
    return document


def _text_of(document: Mapping[str, Any], name: str) -> str:
    try:
        return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise FormatError(f"{name}: the document cannot be written as JSON: {error}") from error
