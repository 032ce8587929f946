"""Virtual probes: straight lines from skin to tip, and the ablation zones along them.

The zone of one ablation is an ellipsoid of revolution whose long axis lies along the probe.
Several ablations on one probe are pull-back: the probe is withdrawn along its own track. Zones
are united without any synergy: heat of neighbors is not added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import frames, subvoxel
from .devices import ZoneSetting
from .errors import FormatError, GeometryError
from .surfaces import Surface
from .united_zones import UnitedZones

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float, float]

#: How far a center may lie beside its probe's line, in mm: rounding only.
_ON_LINE_MM = 1e-3
#: Spacing of the grid on which the surface of united zones is found, in mm. At 1 mm the surface is
#: within 0.03 mm of zones of 20 mm and more, except in the seams between them.
_SURFACE_SPACING_MM = 1.0


@dataclass(frozen=True)
class Ablation:
    """One activation: the setting's name, the zone's center (3,) in RAS mm, and its diameters.

    `short_axis_mm` is the diameter across the probe, `long_axis_mm` that along it.
    """

    setting: str
    center_ras_mm: Point
    short_axis_mm: float
    long_axis_mm: float

    def __post_init__(self) -> None:
        """Refuse non-finite numbers and axes that are not above 0; raises GeometryError."""
        object.__setattr__(self, "center_ras_mm", _point(self.center_ras_mm, "center of an ablation"))
        for axis in (self.short_axis_mm, self.long_axis_mm):
            if not (np.isfinite(axis) and axis > 0):
                raise GeometryError(f"ablation '{self.setting}': an axis of {axis} mm is not above 0")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "setting": self.setting,
            "center_ras_mm": list(self.center_ras_mm),
            "short_axis_mm": self.short_axis_mm,
            "long_axis_mm": self.long_axis_mm,
        }


@dataclass(frozen=True)
class Probe:
    """A probe from its entry in the skin to its deepest tip, (3,) each in RAS mm, with its ablations.

    `device` is the id of its device in the catalogue, empty where that is not known.
    """

    entry_ras_mm: Point
    tip_ras_mm: Point
    ablations: tuple[Ablation, ...]
    device: str = ""

    def __post_init__(self) -> None:
        """Refuse a probe without length and ablations beside its line; raises GeometryError."""
        object.__setattr__(self, "entry_ras_mm", _point(self.entry_ras_mm, "entry of a probe"))
        object.__setattr__(self, "tip_ras_mm", _point(self.tip_ras_mm, "tip of a probe"))
        if self.length_mm < _ON_LINE_MM:
            raise GeometryError("probe: entry and tip are the same point")
        for ablation in self.ablations:
            offset = np.subtract(ablation.center_ras_mm, self.tip_ras_mm)
            beside = offset - (offset @ self.direction) * self.direction
            if np.linalg.norm(beside) > _ON_LINE_MM:
                raise GeometryError(
                    f"ablation '{ablation.setting}': its center lies {np.linalg.norm(beside):.3g} mm beside the probe"
                )

    @property
    def length_mm(self) -> float:
        """Length within the body, from entry to the deepest tip."""
        return float(np.linalg.norm(np.subtract(self.tip_ras_mm, self.entry_ras_mm)))

    @property
    def direction(self) -> FloatArray:
        """Unit vector (3,) from entry to tip."""
        return np.subtract(self.tip_ras_mm, self.entry_ras_mm) / self.length_mm

    def entering_after(self, length_mm: float) -> Probe:
        """The same probe on its line, its entry this far before the tip."""
        entry = np.array(self.tip_ras_mm) - length_mm * self.direction
        return replace(self, entry_ras_mm=_point(entry, "entry"))

    def with_ends(self, entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike) -> Probe:
        """The same probe elsewhere: its ablations stay as far behind the tip as they are.

        Raises GeometryError for ends that are the same point or not finite.
        """
        bare = Probe(_point(entry_ras_mm, "entry"), _point(tip_ras_mm, "tip"), (), self.device)
        tip, old_tip, direction, old = (
            np.array(bare.tip_ras_mm),
            np.array(self.tip_ras_mm),
            bare.direction,
            self.direction,
        )
        ablations = tuple(
            replace(row, center_ras_mm=_point(tip + ((row.center_ras_mm - old_tip) @ old) * direction, "center"))
            for row in self.ablations
        )
        return replace(bare, ablations=ablations)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "entry_ras_mm": list(self.entry_ras_mm),
            "tip_ras_mm": list(self.tip_ras_mm),
            "length_mm": self.length_mm,
            "ablations": [ablation.to_dict() for ablation in self.ablations],
            "device": self.device,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Probe:
        """From JSON; raises FormatError where a field is missing or of another type."""
        try:
            ablations = tuple(
                Ablation(
                    str(row["setting"]), row["center_ras_mm"], float(row["short_axis_mm"]), float(row["long_axis_mm"])
                )
                for row in document["ablations"]
            )
            device = str(document.get("device", ""))  # earlier releases wrote none
            return cls(document["entry_ras_mm"], document["tip_ras_mm"], ablations, device)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"probe: the document is not one of this release ({error!r})") from error


def ablation_at_tip(setting: ZoneSetting, tip_ras_mm: npt.ArrayLike, direction: npt.ArrayLike) -> Ablation:
    """The ablation of a setting with the tip at a point (3,), the probe running along a unit vector (3,)."""
    center = np.asarray(tip_ras_mm, float) - setting.center_to_tip_mm * np.asarray(direction, float)
    return Ablation(setting.name, _point(center, "center"), setting.short_axis_mm, setting.long_axis_mm)


def zone_signed_distance_mm(probes: Sequence[Probe], points_ras_mm: npt.ArrayLike) -> FloatArray:
    """Signed distance in mm of points (N, 3) to the surface of the united zones, negative inside; shape (N,).

    Exact inside several zones, too (:mod:`.united_zones`). Raises GeometryError where no probe has
    an ablation.
    """
    return united_zones(probes).distance_mm(frames.as_points(points_ras_mm))


def united_zones(probes: Sequence[Probe]) -> UnitedZones:
    """The zones of all ablations; raises GeometryError where no probe has an ablation."""
    zones = [(ablation, probe.direction) for probe in probes for ablation in probe.ablations]
    if not zones:
        raise GeometryError("probes: there is no ablation on any of them, hence no zone")
    return UnitedZones(
        np.array([ablation.center_ras_mm for ablation, _ in zones]),
        np.array([direction for _, direction in zones]),
        np.array([0.5 * ablation.long_axis_mm for ablation, _ in zones]),
        np.array([0.5 * ablation.short_axis_mm for ablation, _ in zones]),
    )


def is_in_zone(probes: Sequence[Probe], points_ras_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which of the points (N, 3) lie in a zone, its surface included; shape (N,)."""
    points = frames.as_points(points_ras_mm)
    inside = np.zeros(len(points), dtype=bool)
    for probe in probes:
        for ablation in probe.ablations:
            axial, beside = _along_and_beside(points, ablation, probe.direction)
            inside |= (2 * axial / ablation.long_axis_mm) ** 2 + (2 * beside / ablation.short_axis_mm) ** 2 <= 1.0
    return inside


def near_distance_mm(
    axial_mm: FloatArray, beside_mm: FloatArray, long_axis_mm: float, short_axis_mm: float
) -> FloatArray:
    """Signed distance to one zone to first order, negative inside, (N,): exact on its surface, and for a sphere.

    `axial_mm` and `beside_mm` (N,) are the distances from the zone's center along the probe and at
    right angles to it. Nowhere deeper than half of the shorter axis.
    """
    a, b = 0.5 * long_axis_mm, 0.5 * short_axis_mm
    level = np.hypot(axial_mm / a, beside_mm / b)
    slope = np.hypot(axial_mm / a**2, beside_mm / b**2) / np.maximum(level, 1e-9)
    return np.maximum((level - 1.0) / np.maximum(slope, 1e-9), -min(a, b))


def zone_mask(probes: Sequence[Probe], reference: sitk.Image) -> sitk.Image:
    """The voxels of `reference` whose center lies in a zone, uint8 0 or 1, on its grid."""
    inside = np.zeros(reference.GetSize()[::-1], dtype=np.uint8)
    to_index = frames.ras_to_index_matrix(reference)
    for probe in probes:
        for ablation in probe.ablations:
            reach = 0.5 * max(ablation.short_axis_mm, ablation.long_axis_mm)
            center = frames.apply_matrix(to_index, ablation.center_ras_mm)[::-1]
            voxels = reach / np.array(reference.GetSpacing())[::-1]
            start = np.clip(np.floor(center - voxels), 0, inside.shape).astype(int)
            stop = np.clip(np.ceil(center + voxels) + 1, 0, inside.shape).astype(int)
            if np.any(stop <= start):
                continue
            box = tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))
            k, j, i = np.indices(stop - start).reshape(3, -1) + start[:, None]
            centers = frames.index_to_ras(reference, np.stack([i, j, k], axis=1))
            alone = Probe(probe.entry_ras_mm, probe.tip_ras_mm, (ablation,))
            inside[box] |= is_in_zone([alone], centers).reshape(inside[box].shape)
    mask = sitk.GetImageFromArray(inside)
    mask.CopyInformation(reference)
    return mask


def zone_surface(probes: Sequence[Probe], spacing_mm: float = _SURFACE_SPACING_MM) -> Surface:
    """The surface of the united zones, from their field on a grid of `spacing_mm`.

    Raises GeometryError where no probe has an ablation.
    """
    ablations = [ablation for probe in probes for ablation in probe.ablations]
    if not ablations:
        raise GeometryError("probes: there is no ablation on any of them, hence no zone")
    centers = np.array([ablation.center_ras_mm for ablation in ablations])
    reach = np.array([0.5 * max(a.short_axis_mm, a.long_axis_mm) for a in ablations])[:, None] + 2 * spacing_mm
    lower, upper = (centers - reach).min(axis=0), (centers + reach).max(axis=0)
    size = np.ceil((upper - lower) / spacing_mm).astype(int) + 1
    # A zone is looked at in its own box: what lies beyond is outside of it, however far.
    field = np.full(size[::-1], 2 * spacing_mm, dtype=np.float32)
    for probe in probes:
        for ablation in probe.ablations:
            near = 0.5 * max(ablation.short_axis_mm, ablation.long_axis_mm) + spacing_mm
            first = np.floor((np.array(ablation.center_ras_mm) - near - lower) / spacing_mm).astype(int)
            last = np.ceil((np.array(ablation.center_ras_mm) + near - lower) / spacing_mm).astype(int) + 1
            box = tuple(slice(*ends) for ends in zip(first[::-1].tolist(), last[::-1].tolist(), strict=True))
            k, j, i = np.indices((last - first)[::-1]).reshape(3, -1)
            nodes = lower + spacing_mm * (first + np.stack([i, j, k], axis=1))
            axial, beside = _along_and_beside(nodes, ablation, probe.direction)
            distance = near_distance_mm(axial, beside, ablation.long_axis_mm, ablation.short_axis_mm)
            field[box] = np.minimum(field[box], distance.reshape(field[box].shape))
    points, triangles = subvoxel.zero_level(field)
    return Surface(lower + spacing_mm * points, triangles)


def _along_and_beside(points: FloatArray, ablation: Ablation, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance of points (N, 3) from the zone's center along the probe and beside it, (N,) each, both >= 0."""
    offset = points - np.array(ablation.center_ras_mm)
    axial = offset @ direction
    beside = np.sqrt(np.maximum(np.einsum("ij,ij->i", offset, offset) - axial**2, 0.0))
    return np.abs(axial), beside


def _point(values: npt.ArrayLike, name: str) -> Point:
    (point,) = frames.as_points(np.asarray(values, dtype=np.float64)[None], name)
    x, y, z = point.tolist()
    return x, y, z
