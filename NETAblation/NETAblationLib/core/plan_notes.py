"""What has to be said about a plan in sentences: where it falls short, what prevents more, what its zones reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import access, frames
from .access import Surroundings
from .aims import LEAST_MARGIN_SHARE, TARGET_SHARE
from .devices import Device
from .errors import GeometryError
from .path_checks import BLOCKED, PathCheck
from .probes import Probe, is_in_zone
from .targets import Target
from .trajectories import pair_warnings, probe_pairs, trajectories_of

FloatArray = npt.NDArray[np.float64]

#: Volume of the zones beyond the liver, in ml, from which it is said, and the spacing it is measured on. User-set.
_BEYOND_LIVER_ML, _BEYOND_LIVER_MM = 0.5, 2.0
#: Points left out that are looked into for what prevents them, and directions for each. User-set.
_EXPLAINED_POINTS, _EXPLAINED_DIRECTIONS = 24, 200


def shortfalls(tumor_share: float, target_share: float, mam_mm: float | None, target: Target) -> list[str]:
    """What of tumor, target and margin is not reached."""
    texts = []
    if tumor_share < 1.0:
        texts.append(f"{100 * (1 - tumor_share):.2g} % of the tumor are not covered by the zones expected.")
    if target_share < TARGET_SHARE:
        percent = int(1000 * target_share) / 10  # never rounded up to what is required
        texts.append(f"{percent:.1f} % of tumor and margin are covered, less than {100 * TARGET_SHARE:.0f} %.")
    if mam_mm is None:
        texts.append("All of the tumor's surface is nearer to the capsule than the margin: no margin is predicted.")
    elif mam_mm < target.margin_mm - 0.05:
        texts.append(
            f"The predicted margin is {mam_mm:.1f} mm at its least, below the {target.margin_mm:g} mm asked for."
        )
    return texts


def is_short(tumor_share: float, target_share: float, mam_mm: float | None, target: Target) -> bool:
    """Whether a plan does not reach what is required."""
    is_thin = mam_mm is not None and mam_mm < LEAST_MARGIN_SHARE * target.margin_mm
    return tumor_share < 1.0 or target_share < TARGET_SHARE or is_thin


def preventions(
    missing: FloatArray, surroundings: Surroundings, device: Device, longest_mm: float, most_probes: int | None
) -> list[str]:
    """What prevents the points (N, 3) that must be covered and are not: the ways, or the device's zones.

    `most_probes` is the number beyond which none are placed, where that was reached.
    """
    if not len(missing):
        return []
    settings = device.plannable_settings
    widest = max(settings, key=lambda setting: setting.short_axis_mm)
    rays = access.directions(_EXPLAINED_DIRECTIONS)
    unreached = []
    for point in missing[:: max(1, len(missing) // _EXPLAINED_POINTS)]:
        # A zone that holds the point has its center at most half its width beside it.
        half = 0.5 * widest.short_axis_mm
        bases = point + np.vstack([np.zeros(3), 0.9 * half * np.vstack([np.eye(3), -np.eye(3)])])
        tips = np.array([widest.center_to_tip_mm])
        if not any(access.follow(surroundings, bases, ray, tips, longest_mm).is_free.any() for ray in rays):
            unreached.append(point)
    if unreached:
        cause = str(access.explain_blocked(surroundings, np.mean(unreached, axis=0), longest_mm))
        return [f"A part of the tumor and its margin cannot be reached by any probe: {cause}."]
    if most_probes is not None:
        return [
            f"More than {most_probes} probes would be needed: the lesion is too large for zones of at most "
            f"{widest.short_axis_mm:g} mm across."
        ]
    return [
        "Every part could be reached by some probe, but no set of probes was found that reaches all: zones of at most "
        f"{widest.short_axis_mm:g} mm across are small for the room that the free ways leave."
    ]


def reached_obstacles(probes: Sequence[Probe], obstacles: Mapping[str, sitk.Image]) -> list[str]:
    """Which obstacles the zones reach, and how much of them."""
    texts = []
    corners = np.array(np.meshgrid(*zip(*_box(probes), strict=True))).reshape(3, -1).T
    for name, mask in obstacles.items():
        try:
            near = frames.crop_around_points(mask, corners, 0.0)
        except GeometryError:
            continue  # the zones lie beside its grid
        centers = frames.voxel_centers(near)
        reached = int(is_in_zone(probes, centers).sum())
        if reached:
            volume_ml = reached * float(np.prod(mask.GetSpacing())) / 1000.0
            texts.append(f"The zones expected reach {volume_ml:.2g} ml of '{name}': protect it or accept that.")
    return texts


def outside_liver(probes: Sequence[Probe], surroundings: Surroundings) -> list[str]:
    """How much of the zones lies beyond the liver."""
    lower, upper = _box(probes)
    size = np.maximum(np.ceil((upper - lower) / _BEYOND_LIVER_MM).astype(int), 1) + 1
    points = lower + _BEYOND_LIVER_MM * np.indices(size).reshape(3, -1).T
    points = points[is_in_zone(probes, points)]
    outside = surroundings.sample(surroundings.liver, points, 0.0) < 0.5
    volume_ml = float(outside.sum()) * _BEYOND_LIVER_MM**3 / 1000.0
    if volume_ml < _BEYOND_LIVER_ML:
        return []
    return [f"The zones expected reach {volume_ml:.1f} ml beyond the liver: check what lies there."]


def _box(probes: Sequence[Probe]) -> tuple[FloatArray, FloatArray]:
    """Lower and upper corner (3,) of a box that holds all zones, whatever their direction."""
    ablations = [ablation for probe in probes for ablation in probe.ablations]
    centers = np.array([ablation.center_ras_mm for ablation in ablations])
    reach = np.array([0.5 * max(a.short_axis_mm, a.long_axis_mm) for a in ablations])[:, None]
    return (centers - reach).min(axis=0), (centers + reach).max(axis=0)


def way_notes(checks: Sequence[PathCheck], locked_count: int) -> list[str]:
    """Which probes do not follow a free way: locked ones are kept all the same."""
    return [
        f"{'Locked probe' if number <= locked_count else 'Probe'} {number} is not free: {'; '.join(check.reasons)}."
        for number, check in enumerate(checks, start=1)
        if check.grade == BLOCKED
    ]


def spacing_notes(probes: Sequence[Probe], device: Device) -> list[str]:
    """Probes too near to each other, or far from every other one."""
    trajectories = trajectories_of(probes, device=device.id, catalogue={device.id: device})
    return list(pair_warnings(probe_pairs(trajectories)))


def device_notes(probes: Sequence[Probe], device: Device, size_factor: float) -> list[str]:
    """How sure the zone sizes are, and that they were changed where they were."""
    own = [probe for probe in probes if probe.device in ("", device.id)]
    used = {ablation.setting for probe in own for ablation in probe.ablations}
    certainties = sorted({s.certainty for s in device.settings if s.name in used})
    texts = [f"How sure the zone sizes are: {'; '.join(certainties)}."] if certainties else []
    if size_factor != 1.0:
        texts.append(f"Zones are taken as {size_factor:g} times the size that the source gives (a user-set factor).")
    return texts
