"""How a probe lies: aimed at a target, turned about its zones, fitted to another setting, beside another one.

A target is where the center of the zone lies; the tip is ahead of it as the setting has it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.devices import ZoneSetting
from ..core.errors import GeometryError
from ..core.probes import Ablation, Point, Probe, ablation_at_tip

#: Ends nearer than this are no probe yet, in mm: a line that is still being drawn. User-set.
SHORTEST_MM = 5.0
#: A copy of a probe lies this far beside it, in mm. User-set: near the spacing of neighboring probes.
_COPY_BESIDE_MM = 15.0


def aimed_at(setting: ZoneSetting, target: npt.ArrayLike, skin: npt.ArrayLike, device: str) -> Probe:
    """A probe from the skin with one zone whose center is the target; raises GeometryError where both are near."""
    center, entry = np.asarray(target, np.float64), np.asarray(skin, np.float64)
    length = float(np.linalg.norm(center - entry))
    if not np.isfinite(length) or length < SHORTEST_MM:
        raise GeometryError(f"probe: target and skin are {length:.1f} mm apart; place them at different points")
    along = (center - entry) / length
    tip = center + setting.center_to_tip_mm * along
    return Probe(as_point(entry), as_point(tip), (ablation_at_tip(setting, tip, along),), device)


def turned(probe: Probe, entry_ras_mm: npt.NDArray[np.float64]) -> Probe | None:
    """The probe from another entry, turned about the middle of its zones (without any, about its tip).

    None where the entry is too near to that middle for a probe.
    """
    tip = np.array(probe.tip_ras_mm)
    middle = np.mean([row.center_ras_mm for row in probe.ablations], axis=0) if probe.ablations else tip
    way = middle - entry_ras_mm
    length = float(np.linalg.norm(way))
    if length < SHORTEST_MM:
        return None
    return probe.with_ends(entry_ras_mm, middle + ((tip - middle) @ probe.direction) * way / length)


def refitted(probe: Probe, setting: ZoneSetting, device: str) -> Probe:
    """The probe with zones of another setting about the centers of its own ones, its tip where the deepest needs it."""
    if not probe.ablations:
        return aimed_at(setting, probe.tip_ras_mm, probe.entry_ras_mm, device)
    rows = tuple(
        Ablation(setting.name, row.center_ras_mm, setting.short_axis_mm, setting.long_axis_mm)
        for row in probe.ablations
    )
    entry = np.array(probe.entry_ras_mm)
    deepest = max(float(np.subtract(row.center_ras_mm, entry) @ probe.direction) for row in rows)
    return Probe(
        probe.entry_ras_mm, as_point(entry + (deepest + setting.center_to_tip_mm) * probe.direction), rows, device
    )


def beside(probe: Probe) -> Probe:
    """A copy of a probe, parallel to it."""
    aside = np.cross(probe.direction, np.eye(3)[np.argmin(np.abs(probe.direction))])
    aside *= _COPY_BESIDE_MM / np.linalg.norm(aside)
    return probe.with_ends(np.add(probe.entry_ras_mm, aside), np.add(probe.tip_ras_mm, aside))


def as_point(values: npt.NDArray[np.float64]) -> Point:
    """A point (3,) as the tuple that a probe holds."""
    r, a, s = values.tolist()
    return r, a, s
