"""What is written to disk: never half a file, and JSON with numbers to the last bit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import FormatError, InputError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """The place to write a file to, which takes that of `path` only once the block ends without an error.

    It has the name of `path`, in a folder beside it that is gone afterwards. What else was written
    there (the voxels of a .mhd) moves first, so that the file never names what is not there. A link
    keeps its place and its target is replaced; a device or a pipe (/dev/stdout) is written to
    directly. Raises InputError, naming `path`, where the place cannot be written.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        target = path.resolve()
        with tempfile.TemporaryDirectory(prefix=".netablation-", dir=target.parent) as folder:
            partial = Path(folder, target.name)
            yield partial
            for companion in set(Path(folder).iterdir()) - {partial}:
                companion.replace(target.with_name(companion.name))
            partial.replace(target)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


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
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


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
