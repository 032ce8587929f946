"""The table for carrying a plan out: where each probe enters, how deep it goes, at which angles, how near another.

Angles are those of the shaft as it is seen from the patient, who is taken to lie head first and
supine with the patient axes (right, anterior, superior) along those of an untilted gantry: an
image with a tilted gantry is refused when it is read. The hub is the end outside of the patient.

- In-plane angle: in the axial plane, from the vertical (anterior) to the shaft, from -180 to 180
  degrees; above 0 the hub leans to the patient's left, at 180 the probe comes from behind.
- Cranio-caudal angle: of the shaft out of the axial plane, from -90 to 90 degrees; above 0 the
  hub leans to cranial, so that the tip points to caudal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from .devices import Device
from .errors import FormatError, GeometryError, InputError
from .plans import SCHEMA_VERSION
from .probes import Point, Probe
from .shafts import closest_distances_mm, shaft_diameter_mm

FloatArray = npt.NDArray[np.float64]

#: Spacing of neighboring probes in mm below and above which it is pointed out. The upper end is that of switched RF
#: in patients, 2.0 to 2.5 cm (Francica, BJR 2018;91:20180625); the lower end has no published source; user-set.
SPACING_RANGE_MM = (15.0, 25.0)

#: Highest aiming device in mm. User-set.
_MAX_AIMING_HEIGHT_MM = 400.0
#: Length of a unit vector's part below which it has no direction: rounding only.
_NO_DIRECTION = 1e-9


@dataclass(frozen=True)
class Stop:
    """One ablation on the way: how deep its zone's center lies below the skin, and the tip where that is known."""

    setting: str
    short_axis_mm: float
    long_axis_mm: float
    center_depth_mm: float
    tip_depth_mm: float | None = None


@dataclass(frozen=True)
class Trajectory:
    """One probe as it is placed: entry in the skin and deepest tip, (3,) each in RAS mm, and its stops, deepest first.

    `aiming_height_mm` is how high above the skin, along the shaft, the stop of the aiming device
    lies, None without one; `device` the id of the probe's device, empty where that is not known.
    """

    name: str
    entry_ras_mm: Point
    tip_ras_mm: Point
    device: str = ""
    gauge: float | None = None
    aiming_height_mm: float | None = None
    stops: tuple[Stop, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a way without length and an aiming device that cannot be; raises GeometryError or InputError."""
        if np.linalg.norm(np.subtract(self.tip_ras_mm, self.entry_ras_mm)) == 0:
            raise GeometryError(f"{self.name}: entry and tip are the same point")
        height = self.aiming_height_mm
        if height is not None and not 0 <= height <= _MAX_AIMING_HEIGHT_MM:
            raise InputError(f"aiming device: a height of {height} mm is not from 0 to {_MAX_AIMING_HEIGHT_MM:g} mm")

    @property
    def depth_from_skin_mm(self) -> float:
        """Length within the body."""
        return float(np.linalg.norm(np.subtract(self.tip_ras_mm, self.entry_ras_mm)))

    @property
    def depth_from_aiming_device_mm(self) -> float | None:
        """Length from the aiming device to the tip, None without such a device."""
        return None if self.aiming_height_mm is None else self.depth_from_skin_mm + self.aiming_height_mm

    @property
    def direction(self) -> FloatArray:
        """Unit vector (3,) from entry to tip."""
        return np.subtract(self.tip_ras_mm, self.entry_ras_mm) / self.depth_from_skin_mm

    @property
    def in_plane_angle_deg(self) -> float | None:
        """Angle in the axial plane from anterior to the hub, above 0 to the patient's left; None where the shaft
        stands upright on that plane."""
        right, anterior, _ = -self.direction
        if np.hypot(right, anterior) < _NO_DIRECTION:
            return None
        return float(np.degrees(np.arctan2(-right, anterior)))

    @property
    def cranio_caudal_angle_deg(self) -> float:
        """Angle of the hub out of the axial plane, above 0 to cranial."""
        right, anterior, superior = -self.direction
        return float(np.degrees(np.arctan2(superior, np.hypot(right, anterior))))

    @property
    def angles_in_words(self) -> str:
        """Both angles for people."""
        in_plane, out = self.in_plane_angle_deg, self.cranio_caudal_angle_deg
        words = []
        if in_plane is not None:
            side = "left" if in_plane > 0 else "right"
            # What comes from behind is told from there, as it is seen at the table.
            steep, face = (abs(in_plane), "anterior") if abs(in_plane) <= 90 else (180 - abs(in_plane), "posterior")
            words.append(f"from {face}" + (f", hub {_degrees(steep)} to the {side}" if round(steep) else ""))
        if in_plane is None or round(out):
            words.append(f"hub {_degrees(abs(out))} to {'cranial' if out > 0 else 'caudal'}")
        return ", ".join(words)

    @property
    def active_ends(self) -> FloatArray:
        """Both ends of the active part, (2, 3) in RAS mm: from the tip back to where the zones begin.

        Without ablations it is the tip alone.
        """
        starts = [stop.center_depth_mm - 0.5 * stop.long_axis_mm for stop in self.stops]
        start = float(np.clip(min(starts, default=np.inf), 0.0, self.depth_from_skin_mm))
        return np.array([np.add(self.entry_ras_mm, start * self.direction), self.tip_ras_mm])

    @property
    def shaft_ends(self) -> FloatArray:
        """Both ends of the shaft, (2, 3) in RAS mm, from the aiming device (without one: from the skin) to the tip."""
        outside = self.aiming_height_mm or 0.0
        return np.array([np.subtract(self.entry_ras_mm, outside * self.direction), self.tip_ras_mm])

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with all that the table shows."""
        return {
            "name": self.name,
            "device": self.device,
            "entry_ras_mm": list(self.entry_ras_mm),
            "tip_ras_mm": list(self.tip_ras_mm),
            "depth_from_skin_mm": self.depth_from_skin_mm,
            "aiming_height_mm": self.aiming_height_mm,
            "depth_from_aiming_device_mm": self.depth_from_aiming_device_mm,
            "in_plane_angle_deg": self.in_plane_angle_deg,
            "cranio_caudal_angle_deg": self.cranio_caudal_angle_deg,
            "angles": self.angles_in_words,
            "ablations": [
                {
                    "setting": stop.setting,
                    "short_axis_mm": stop.short_axis_mm,
                    "long_axis_mm": stop.long_axis_mm,
                    "center_depth_mm": stop.center_depth_mm,
                    "tip_depth_mm": stop.tip_depth_mm,
                }
                for stop in self.stops
            ],
        }


@dataclass(frozen=True)
class ProbePair:
    """How two probes lie to each other.

    `spacing_mm` is the smallest distance between their active parts, which is what the literature
    on several electrodes means by spacing; `tip_distance_mm` that between the tips;
    `line_distance_mm` the closest approach of the two lines however far they are drawn out;
    `shaft_distance_mm` that of the shafts as they are, outside of the body up to the aiming
    device. `angle_deg` lies between the shafts, from 0 (parallel, side by side) to 180.
    `touching_mm` is the distance of the shafts at which they touch.
    """

    first: str
    second: str
    spacing_mm: float
    tip_distance_mm: float
    line_distance_mm: float
    shaft_distance_mm: float
    angle_deg: float
    touching_mm: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


def trajectories_of(
    probes: Sequence[Probe],
    *,
    device: str = "",
    catalogue: Mapping[str, Device] | None = None,
    aiming_height_mm: float | None = None,
) -> tuple[Trajectory, ...]:
    """The trajectories of probes, named "probe 1" and so on in their order.

    `device` is that of probes which name none. From the `catalogue` come the gauge, and where the
    tip stands at each ablation; what it does not hold stays unknown.
    """
    made = []
    for number, probe in enumerate(probes, 1):
        known = (catalogue or {}).get(probe.device or device)
        stops = [
            Stop(
                a.setting,
                a.short_axis_mm,
                a.long_axis_mm,
                center,
                _tip_depth_mm(known, a.setting, a.long_axis_mm, center),
            )
            for a in probe.ablations
            for center in [float(np.subtract(a.center_ras_mm, probe.entry_ras_mm) @ probe.direction)]
        ]
        made.append(
            Trajectory(
                f"probe {number}",
                probe.entry_ras_mm,
                probe.tip_ras_mm,
                probe.device or device,
                None if known is None else known.gauge,
                aiming_height_mm,
                tuple(sorted(stops, key=lambda stop: -stop.center_depth_mm)),
            )
        )
    return tuple(made)


def probes_of_plan(document: Mapping[str, Any]) -> tuple[tuple[Probe, ...], str]:
    """The probes of a plan's JSON and the id of its device; raises FormatError for another document."""
    rows = document.get("probes") if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or not rows:
        raise FormatError("plan: has no list of probes; give a document that `netablation plan` wrote")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise FormatError(
            f"plan: schema_version {document.get('schema_version')!r} is not the one this release reads "
            f"({SCHEMA_VERSION}): plan again"
        )
    return tuple(Probe.from_dict(row) for row in rows), str(document.get("device", ""))


def probe_pairs(trajectories: Sequence[Trajectory]) -> tuple[ProbePair, ...]:
    """Every pair of probes, in their order: n * (n - 1) / 2 of them."""
    return tuple(_pair(first, second) for first, second in combinations(trajectories, 2))


def pair_warnings(
    pairs: Iterable[ProbePair], spacing_range_mm: tuple[float, float] = SPACING_RANGE_MM
) -> tuple[str, ...]:
    """Sentences on probes too near each other, shafts that touch, and probes far from every other one.

    Not each pair has to be near: too far is a probe whose nearest neighbor is. Raises InputError
    for a range that does not rise.
    """
    lower, upper = spacing_range_mm
    if not 0 <= lower < upper:
        raise InputError(f"spacing: {lower:g} to {upper:g} mm is no range")
    pairs = list(pairs)
    texts = []
    nearest: dict[str, ProbePair] = {}
    for pair in pairs:
        names = f"{pair.first} and {pair.second}"
        if pair.shaft_distance_mm < pair.touching_mm:
            texts.append(
                f"{names}: the shafts touch (axes {pair.shaft_distance_mm:.1f} mm apart, together "
                f"{pair.touching_mm:.1f} mm thick)."
            )
        if pair.spacing_mm < lower:
            texts.append(f"{names}: {pair.spacing_mm:.0f} mm apart, nearer than {lower:g} mm.")
        for name in (pair.first, pair.second):
            if name not in nearest or pair.spacing_mm < nearest[name].spacing_mm:
                nearest[name] = pair
    for name, pair in nearest.items():
        if pair.spacing_mm > upper:
            other = pair.second if name == pair.first else pair.first
            texts.append(f"{name}: its nearest neighbor, {other}, is {pair.spacing_mm:.0f} mm away, over {upper:g} mm.")
    return tuple(texts)


def _pair(first: Trajectory, second: Trajectory) -> ProbePair:
    # The arcus tangent is exact for nearly parallel shafts, too, where that of the cosine is not.
    across = np.cross(first.direction, second.direction)
    sine, cosine = float(np.linalg.norm(across)), float(first.direction @ second.direction)
    offset = np.subtract(second.tip_ras_mm, first.tip_ras_mm)
    if sine < _NO_DIRECTION:
        line_distance = float(np.linalg.norm(np.cross(first.direction, offset)))
    else:
        line_distance = abs(float(across @ offset)) / sine
    return ProbePair(
        first.name,
        second.name,
        spacing_mm=_segment_distance_mm(first.active_ends, second.active_ends),
        tip_distance_mm=float(np.linalg.norm(offset)),
        line_distance_mm=line_distance,
        shaft_distance_mm=_segment_distance_mm(first.shaft_ends, second.shaft_ends),
        angle_deg=float(np.degrees(np.arctan2(sine, cosine))),
        touching_mm=0.5 * (shaft_diameter_mm(first.gauge) + shaft_diameter_mm(second.gauge)),
    )


def _segment_distance_mm(first: FloatArray, second: FloatArray) -> float:
    """Smallest distance of two line segments, each (2, 3); one may be a point."""
    return float(closest_distances_mm(first[None], second[None])[0])


def _degrees(angle: float) -> str:
    return f"{angle:.0f} degree" if round(angle) == 1 else f"{angle:.0f} degrees"


def _tip_depth_mm(device: Device | None, setting: str, long_axis_mm: float, center_depth_mm: float) -> float | None:
    """How deep the tip stands for an ablation, None where the setting is not of the catalogue.

    A zone that was scaled for the case was scaled about the tip, and so was the tip's distance.
    """
    for row in () if device is None else device.settings:
        if row.name == setting and row.is_plannable:
            return center_depth_mm + float(row.center_to_tip_mm) * long_axis_mm / float(row.long_axis_mm)
    return None
