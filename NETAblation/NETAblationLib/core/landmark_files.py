"""Landmarks that correspond in two images, from files: a table (CSV) or points of 3D Slicer (markups)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import frames
from .documents import read_json
from .errors import FormatError, InputError
from .frames import Points
from .trajectory_files import MARKUPS_SUFFIX

CSV_SUFFIX = ".csv"
_COLUMNS = ("fixed_r_mm", "fixed_a_mm", "fixed_s_mm", "moving_r_mm", "moving_a_mm", "moving_s_mm")


def read_landmarks(paths: Sequence[str | Path]) -> list[tuple[Points, Points]]:
    """Pairs of a fixed and a moving point (3,), RAS mm.

    One CSV file has a column for each coordinate (fixed_r_mm ... moving_s_mm, in any order, others are
    ignored). Markups come as two files, fixed and moving, or as one file with two lists of points; points
    pair up in their order. Raises InputError where there is no such file or the numbers of points differ,
    FormatError for what cannot be read.
    """
    files = [Path(path) for path in paths]
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
    if len(files) == 1 and files[0].suffix.lower() == CSV_SUFFIX:
        return _from_table(files[0])
    if not all(path.name.lower().endswith(MARKUPS_SUFFIX) for path in files):
        raise FormatError(
            f"landmarks: expected one {CSV_SUFFIX} file or one or two {MARKUPS_SUFFIX} files, got "
            f"{', '.join(path.name for path in files)}"
        )
    lists = [points for path in files for points in _from_markups(path)]
    if len(lists) != 2:
        raise FormatError(f"landmarks: two lists of points are needed, fixed and moving; there are {len(lists)}")
    if len(lists[0]) != len(lists[1]):
        raise InputError(
            f"landmarks: {len(lists[0])} fixed and {len(lists[1])} moving points: each needs its partner, in the same "
            "order"
        )
    return list(zip(*lists, strict=True))


def _from_table(path: Path) -> list[tuple[Points, Points]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        numbers = np.array([[float(row[name]) for name in _COLUMNS] for row in rows]).reshape(-1, 2, 3)
    except KeyError as error:
        raise FormatError(f"{path}: a column {error} is needed (and all of {', '.join(_COLUMNS)})") from error
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: not a table of numbers in {', '.join(_COLUMNS)}") from error
    return [(pair[0], pair[1]) for pair in numbers]


def _from_markups(path: Path) -> list[Points]:
    document = read_json(path)
    try:
        return [_points(markup) for markup in document["markups"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: not markups of 3D Slicer") from error


def _points(markup: dict[str, Any]) -> Points:
    points = [
        [float(value) for value in point["position"]]
        for point in markup["controlPoints"]
        if point.get("positionStatus", "defined") == "defined"
    ]
    array = np.array(points, dtype=np.float64).reshape(-1, 3)
    return array if str(markup.get("coordinateSystem", "LPS")).upper() in ("RAS", "0") else frames.flip_lps_ras(array)
