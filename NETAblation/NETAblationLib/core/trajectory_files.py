"""Trajectories as files: a table for people (CSV) and lines for 3D Slicer (markups). Neither names a patient."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import frames
from .documents import write_json, written_whole
from .trajectories import Trajectory

#: Ending that 3D Slicer knows markups by.
MARKUPS_SUFFIX = ".mrk.json"

_MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)

_COLUMNS = (
    "probe",
    "ablation",
    "device",
    "entry_r_mm",
    "entry_a_mm",
    "entry_s_mm",
    "tip_r_mm",
    "tip_a_mm",
    "tip_s_mm",
    "depth_from_skin_mm",
    "depth_from_aiming_device_mm",
    "in_plane_angle_deg",
    "cranio_caudal_angle_deg",
    "angles",
    "setting",
    "zone_center_depth_mm",
    "zone_short_axis_mm",
    "zone_long_axis_mm",
    "tip_depth_mm",
    "pull_back_mm",
)


def write_trajectories_csv(trajectories: Sequence[Trajectory], path: str | Path) -> None:
    """Write the table, one row per ablation in the order they are made, deepest first (RFC 4180, UTF-8).

    The columns of the probe stand in each of its rows, those of the ablation are empty for a probe
    without one; `tip_depth_mm` is the depth below the skin at which the tip stands for this
    ablation, `pull_back_mm` how far the probe is withdrawn from its deepest place. What is not
    known is empty. Points are RAS. Raises InputError where the place is not writable.
    """
    with written_whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(row for trajectory in trajectories for row in _rows(trajectory))


def write_trajectories_markups(trajectories: Sequence[Trajectory], path: str | Path) -> None:
    """Write all probes as line markups, which 3D Slicer opens as they are: control points "entry" and "tip".

    The file says that its coordinates are LPS and mm, as 3D Slicer writes them. Raises InputError
    where the place is not writable.
    """
    document = {"@schema": _MARKUPS_SCHEMA, "markups": [_line(trajectory) for trajectory in trajectories]}
    write_json(document, path)


def _rows(trajectory: Trajectory) -> list[list[Any]]:
    # Ten thousandths of a millimeter: below any scanner, and readable. Adding 0 makes no -0.0000 of rounding.
    def number(value: float | None) -> str:
        return "" if value is None else f"{round(value, 4) + 0.0:.4f}"

    ends = [number(value) for point in (trajectory.entry_ras_mm, trajectory.tip_ras_mm) for value in point]
    probe = [
        trajectory.device,
        *ends,
        number(trajectory.depth_from_skin_mm),
        number(trajectory.depth_from_aiming_device_mm),
        number(trajectory.in_plane_angle_deg),
        number(trajectory.cranio_caudal_angle_deg),
        trajectory.angles_in_words,
    ]
    if not trajectory.stops:
        return [[trajectory.name, "", *probe, "", "", "", "", "", ""]]
    rows = []
    for count, stop in enumerate(trajectory.stops, 1):
        pull_back = None if stop.tip_depth_mm is None else trajectory.depth_from_skin_mm - stop.tip_depth_mm
        zone = [number(v) for v in (stop.center_depth_mm, stop.short_axis_mm, stop.long_axis_mm)]
        rows.append([trajectory.name, count, *probe, stop.setting, *zone, number(stop.tip_depth_mm), number(pull_back)])
    return rows


def _line(trajectory: Trajectory) -> dict[str, Any]:
    ends = (("entry", trajectory.entry_ras_mm), ("tip", trajectory.tip_ras_mm))
    return {
        "type": "Line",
        "name": trajectory.name,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "controlPoints": [
            {
                "id": str(number),
                "label": label,
                "position": frames.flip_lps_ras(point).tolist(),
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
            for number, (label, point) in enumerate(ends, 1)
        ],
    }
