"""JSON documents on disk: numbers to the last bit, and never half a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import FormatError, InputError


def write_json(document: Mapping[str, Any], path: str | Path) -> None:
    """Write a document with numbers to the last bit; refuses NaN and infinity.

    The file is replaced only once the new one is whole, so a failure loses nothing.
    Raises FormatError for what JSON cannot hold, InputError where the place is not writable.
    """
    path = Path(path)
    try:
        text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path.name}: the document cannot be written as JSON: {error}") from error
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; raises InputError or FormatError, naming the file."""
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FormatError(f"{path}: not a JSON document ({error})") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path}: expected a JSON object, found a {type(document).__name__}")
    return document
