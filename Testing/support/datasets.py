"""Where the shared real images are; tests that need one skip visibly without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[2]


def dataset(name: str) -> Path:
    """The folder of a shared dataset; skips the test, saying why, where it is absent."""
    root = Path(os.environ.get("NETABLATION_TEST_DATA", _PROJECT.parent / "shared" / "data"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"real images '{name}' are absent (set NETABLATION_TEST_DATA to their folder)")
    return folder
