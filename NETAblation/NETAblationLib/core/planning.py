"""Probe plans: as few probes as cover the tumor and its margin, each on a free way from the skin.

The target is the tumor and the tissue within the margin asked for, inside the liver. Steps: free
ways are followed in many directions (:mod:`.access`); along the best of them parallel lines, with
pull-back, cover the target by integer programming (:mod:`.covering`, :mod:`.placement`); the
plan is then refined, and measured anew on finer points than it was made on. Needles are few
because their number is an independent risk of major complications (Schullian et al., Eur Radiol
2021;31:3042).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import access, frames
from .access import Surroundings
from .aims import TARGET_SHARE
from .devices import Device
from .errors import FormatError, GeometryError, InputError
from .images import as_mask, image_hash, require_3d_finite
from .margins import DEFAULT_MARGIN_MM, MAX_MARGIN_MM
from .placement import DEFAULT_SHAFT_MM, Search
from .probes import Probe, is_in_zone, zone_margin_mm, zone_surface
from .progress import ProgressCallback, silent, span
from .surfaces import Surface
from .targets import Target

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1

#: Points on which a finished plan is measured. User-set.
_MEASURED_POINTS = 60_000
#: Volume of the zones beyond the liver, in ml, from which it is said, and the spacing it is measured on. User-set.
_BEYOND_LIVER_ML, _BEYOND_LIVER_MM = 0.5, 2.0


@dataclass(frozen=True)
class Plan:
    """Probes for one tumor, and how well their expected zones cover it.

    `tumor_coverage_fraction` and `target_coverage_fraction` (tumor and margin, inside the liver)
    are shares of volume; `predicted_mam_mm` is the smallest signed margin over the tumor's
    surface at least `margin_mm` from the capsule, None where there is no such surface.
    `limitations` say in sentences what the plan does not reach, and what it does that it should not.
    """

    device: str
    margin_mm: float
    probes: tuple[Probe, ...]
    tumor_coverage_fraction: float
    target_coverage_fraction: float
    predicted_mam_mm: float | None
    target_volume_ml: float
    zone_volume_ml: float
    seconds: float
    limitations: tuple[str, ...]
    parameters: Mapping[str, Any]
    input_hashes: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse a plan without probes and shares that are none; raises InputError."""
        if not self.probes:
            raise InputError("plan: has no probe")
        for name in ("tumor_coverage_fraction", "target_coverage_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"plan: {name} {getattr(self, name)} is not a share from 0 to 1")

    @property
    def probe_count(self) -> int:
        """How many probes there are."""
        return len(self.probes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "device": self.device,
            "margin_mm": self.margin_mm,
            "probe_count": self.probe_count,
            "ablation_count": sum(len(probe.ablations) for probe in self.probes),
            "probes": [probe.to_dict() for probe in self.probes],
            "tumor_coverage_fraction": self.tumor_coverage_fraction,
            "target_coverage_fraction": self.target_coverage_fraction,
            "predicted_mam_mm": self.predicted_mam_mm,
            "target_volume_ml": self.target_volume_ml,
            "zone_volume_ml": self.zone_volume_ml,
            "seconds": self.seconds,
            "limitations": list(self.limitations),
            "parameters": dict(self.parameters),
            "input_hashes": dict(self.input_hashes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Read what :meth:`to_dict` wrote; raises FormatError for anything else."""
        if not isinstance(document, Mapping) or document.get("schema_version") != SCHEMA_VERSION:
            found = document.get("schema_version") if isinstance(document, Mapping) else None
            raise FormatError(f"plan: schema_version {found!r} is not the one this release reads ({SCHEMA_VERSION})")
        try:
            values = {name: document[name] for name in cls.__dataclass_fields__}
            values["probes"] = tuple(Probe.from_dict(probe) for probe in values["probes"])
            values["limitations"] = tuple(str(text) for text in values["limitations"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise FormatError(f"plan: the document is not one of this release ({error!r})") from error


def plan_probes(
    image: sitk.Image,
    tumor: sitk.Image,
    liver: sitk.Image,
    *,
    obstacles: Mapping[str, sitk.Image] | None = None,
    device: Device,
    margin_mm: float = DEFAULT_MARGIN_MM,
    progress: ProgressCallback = silent,
) -> Plan:
    """Place probes of a device until tumor and margin are covered.

    `image` is the planning CT in HU with the skin in it; `tumor`, `liver` and `obstacles` (by
    name) are masks in its frame, on grids of their own if need be. No probe crosses an obstacle,
    bone or air, and each enters through the skin and ends in the liver.

    Raises InputError for bad parameters or an image that is no CT, EmptyMaskError or
    GeometryError for masks that are empty or elsewhere, and ComputationError, naming what is in
    the way, where no probe can reach the tumor.
    """
    start = time.perf_counter()
    if not (np.isfinite(margin_mm) and 0 <= margin_mm <= MAX_MARGIN_MM):
        raise InputError(f"margin: {margin_mm} mm is not from 0 to {MAX_MARGIN_MM:g} mm")
    masks = _checked(image, tumor, liver, dict(obstacles or {}))
    progress(0.0, "target")
    target = Target.of(masks["tumor"], masks["liver"], float(margin_mm))
    progress(0.1, "ways from the skin")
    given = {name: masks[name] for name in (obstacles or {})}
    surroundings = access.survey(image, masks["liver"], masks["tumor"], given)
    probes = Search(target, surroundings, device).run(span(progress, 0.2, 0.9)).probes
    progress(0.9, "measuring the plan")
    plan = _measured(probes, target, surroundings, given, device, start, image, masks)
    progress(1.0, "planned")
    return plan


def _checked(
    image: sitk.Image, tumor: sitk.Image, liver: sitk.Image, obstacles: dict[str, sitk.Image]
) -> dict[str, sitk.Image]:
    """All masks as 0 and 1, proved to lie in the frame of the image."""
    require_3d_finite(image, "planning image")
    for name in ("image", "tumor", "liver", access.AIR, access.DENSE):
        if name in obstacles:
            raise InputError(f"obstacle '{name}': this name is taken; give it another")
    masks = {"tumor": as_mask(tumor, "tumor"), "liver": as_mask(liver, "liver")}
    masks |= {name: as_mask(mask, f"obstacle '{name}'") for name, mask in obstacles.items()}
    for name, mask in masks.items():
        lower, upper = frames.bounding_box_ras(mask)
        image_lower, image_upper = frames.bounding_box_ras(image)
        if np.any(lower > image_upper) or np.any(upper < image_lower):
            raise GeometryError(
                f"{name}: lies beside the planning image ({frames.describe_grid(mask)}; "
                f"{frames.describe_grid(image)}): check the frame of reference"
            )
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(masks["tumor"]))
    centers = frames.index_to_ras(masks["tumor"], np.stack([i, j, k], axis=1))
    if not frames.is_inside(image, centers).all():
        raise GeometryError("tumor: a part of it lies outside the planning image: check the frame of reference")
    return masks


def _measured(
    probes: tuple[Probe, ...],
    target: Target,
    surroundings: Surroundings,
    obstacles: Mapping[str, sitk.Image],
    device: Device,
    start: float,
    image: sitk.Image,
    masks: Mapping[str, sitk.Image],
) -> Plan:
    """Measure a plan on fine points, independent of how it was made."""
    points, is_tumor, voxel_ml = target.points(_MEASURED_POINTS)
    covered = is_in_zone(probes, points)
    tumor_share = float(covered[is_tumor].mean()) if is_tumor.any() else 1.0
    target_share = float(covered.mean())
    zone = zone_surface(probes)
    mam = None
    if target.is_evaluable.any():
        evaluable = target.surface.points_ras_mm[target.is_evaluable]
        mam = float(zone_margin_mm(probes, evaluable, zone).min())
    limitations = [
        *_shortfalls(tumor_share, target_share, mam, target),
        *_reached_obstacles(probes, obstacles),
        *_outside_liver(probes, zone, surroundings),
        *_device_notes(probes, device),
    ]
    hashes = {name: image_hash(mask) for name, mask in masks.items()}
    return Plan(
        device=device.id,
        margin_mm=target.margin_mm,
        probes=probes,
        tumor_coverage_fraction=tumor_share,
        target_coverage_fraction=target_share,
        predicted_mam_mm=mam,
        target_volume_ml=len(points) * voxel_ml,
        zone_volume_ml=zone.volume_ml,
        seconds=time.perf_counter() - start,
        limitations=tuple(limitations),
        parameters={
            "margin_mm": target.margin_mm,
            "clearance_mm": access.CLEARANCE_MM,
            "clearance_source": "mean lateral error of stereotactic placement, Tinguely et al., Front Oncol 2021",
            "dense_clearance_mm": access.DENSE_CLEARANCE_MM,
            "dense_clearance_source": "no published source; user-set",
            "longest_way_mm": device.shaft_length_mm or DEFAULT_SHAFT_MM,
        },
        input_hashes={"image": image_hash(image), **hashes},
    )


def _shortfalls(tumor_share: float, target_share: float, mam: float | None, target: Target) -> list[str]:
    texts = []
    if tumor_share < 1.0:
        texts.append(f"{100 * (1 - tumor_share):.2g} % of the tumor are not covered by the zones expected.")
    if target_share < TARGET_SHARE:
        texts.append(
            f"{100 * target_share:.1f} % of tumor and margin are covered, less than {100 * TARGET_SHARE:.0f} %: the "
            "ways that are free, or the device's zones, do not allow more."
        )
    if mam is None:
        texts.append("All of the tumor's surface is nearer to the capsule than the margin: no margin is predicted.")
    elif mam < target.margin_mm - 0.05:
        texts.append(f"The predicted margin is {mam:.1f} mm at its least, below the {target.margin_mm:g} mm asked for.")
    return texts


def _reached_obstacles(probes: Sequence[Probe], obstacles: Mapping[str, sitk.Image]) -> list[str]:
    texts = []
    for name, mask in obstacles.items():
        k, j, i = np.nonzero(sitk.GetArrayViewFromImage(mask))
        centers = frames.index_to_ras(mask, np.stack([i, j, k], axis=1))
        lower = np.min([np.array(a.center_ras_mm) - a.long_axis_mm for p in probes for a in p.ablations], axis=0)
        upper = np.max([np.array(a.center_ras_mm) + a.long_axis_mm for p in probes for a in p.ablations], axis=0)
        centers = centers[np.all((centers >= lower) & (centers <= upper), axis=1)]
        if not len(centers):
            continue
        reached = int(is_in_zone(probes, centers).sum())
        if reached:
            volume_ml = reached * float(np.prod(mask.GetSpacing())) / 1000.0
            texts.append(f"The zones expected reach {volume_ml:.2g} ml of '{name}': protect it or accept that.")
    return texts


def _outside_liver(probes: Sequence[Probe], zone: Surface, surroundings: Surroundings) -> list[str]:
    lower, upper = zone.points_ras_mm.min(axis=0), zone.points_ras_mm.max(axis=0)
    size = np.maximum(np.ceil((upper - lower) / _BEYOND_LIVER_MM).astype(int), 1) + 1
    points = lower + _BEYOND_LIVER_MM * np.indices(size).reshape(3, -1).T
    points = points[is_in_zone(probes, points)]
    outside = surroundings.sample(surroundings.liver, points, 0.0) < 0.5
    volume_ml = float(outside.sum()) * _BEYOND_LIVER_MM**3 / 1000.0
    if volume_ml < _BEYOND_LIVER_ML:
        return []
    return [f"The zones expected reach {volume_ml:.1f} ml beyond the liver: check what lies there."]


def _device_notes(probes: Sequence[Probe], device: Device) -> list[str]:
    used = {ablation.setting for probe in probes for ablation in probe.ablations}
    certainties = sorted({s.certainty for s in device.settings if s.name in used})
    return [f"How sure the zone sizes are: {'; '.join(certainties)}."]
