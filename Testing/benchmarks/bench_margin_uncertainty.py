"""How often the 90 % interval of the MAM holds the truth, on analytic shapes and on digital patients."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.fusion import fuse
from NETAblationLib.core.fusion_near import NearLesion
from NETAblationLib.core.margin_uncertainty import MarginDistribution, MarginErrors, margin_distribution
from NETAblationLib.core.margins import measure_margin
from NETAblationLib.core.phantom import make_patient
from NETAblationLib.core.robust_draws import Errors as PlacementErrors
from NETAblationLib.core.surfaces import FieldPatch, SmoothField, Surface, signed_distance_mm, smooth_field
from support.shapes import Level, union, voxel_centers

_ERRORS = {
    "small": MarginErrors(1.0, 0.6, 0.6),
    "default": MarginErrors(),
    "large": MarginErrors(3.0, 1.6, 1.6),
}
_CASES, _PATIENTS, _ROUNDS, _FUSED_PATIENTS = 60, 3, 6, 4
_WAVES = 200


class _Tally:
    """What is counted over cases."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, ...]] = []

    def add(self, true_mm: float, measured_mm: float, found: MarginDistribution, cpu_s: float) -> None:
        low, middle, high = (found.mam_mm[name] for name in ("p05", "p50", "p95"))
        chance, reached = found.chances["5"].fraction, float(true_mm >= 5)
        row = low <= true_mm <= high, true_mm < low, true_mm > high, high - low, measured_mm - true_mm
        self.rows.append((*row, middle - true_mm, (chance - reached) ** 2, cpu_s))

    def print(self, name: str) -> None:
        hold, below, above, width, measured, middle, brier, cpu = np.mean(self.rows, axis=0)
        print(
            f"  {name:28s} {len(self.rows):5d} {100 * hold:7.1f} {100 * below:7.1f} {100 * above:7.1f} {width:9.2f} "
            f"{measured:+14.2f} {middle:+12.2f} {brier:10.3f} {cpu:8.2f}",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    print("90 % interval of the MAM: share of cases in which the truth lies in it, below and above")
    print(
        "  errors, shapes               cases  in %   below   above  width mm  "
        "measured shift  middle shift  Brier 5 mm  CPU s"
    )
    covered: list[tuple[bool, bool]] = []
    for name, errors in _ERRORS.items():
        for parts in (1, 3):
            tally = _Tally()
            rng = np.random.default_rng(100 + parts)
            covered += [_analytic(rng, errors, parts, number, tally) for number in range(_CASES)]
            tally.print(f"{name}, zone of {parts} ellipsoid{'s' * (parts > 1)}")
    shares = 100 * np.mean(covered, axis=0)
    print(f"  coverage of the shell of 5 mm: in {shares[0]:.1f} % of all these cases, of 10 mm: in {shares[1]:.1f} %")
    for name, errors in _ERRORS.items():
        tally = _Tally()
        for seed in range(_PATIENTS):
            _patient(seed, errors, tally)
        tally.print(f"{name}, digital patients 2 mm")
    tally = _Tally()
    for seed in range(_FUSED_PATIENTS):
        _fused(seed, tally)
    tally.print("fused images, true masks")


def _analytic(
    rng: np.random.Generator, errors: MarginErrors, parts: int, seed: int, tally: _Tally
) -> tuple[bool, bool]:
    """One pair of ellipsoid and zone, both surfaces moved; whether the intervals of two coverages hold the truth."""
    radius = rng.uniform(6, 20)
    tumor_level = _ellipsoid(rng, np.zeros(3), radius * rng.uniform(0.8, 1.25, 3))
    spread = 2.5 if parts == 1 else 4.0
    zone_level = union(
        *(
            _ellipsoid(rng, rng.normal(0, spread, 3), (radius + rng.uniform(1, 9)) * rng.uniform(0.85, 1.2, 3))
            for _ in range(parts)
        )
    )
    tumor, zone = _field(tumor_level, 1.25 * radius + 6, 1.5), _field(zone_level, 1.25 * radius + 30, 1.8)
    surface, zone_surface = tumor.surface(), zone.surface()
    margin = -signed_distance_mm(surface.points_ras_mm, zone, zone_surface)
    of_tumor, of_zone, shift = _drawn(rng, errors)
    moved = _moved(surface, of_tumor(surface.points_ras_mm) * surface.point_normals)
    by = of_zone(zone_surface.points_ras_mm) * zone_surface.point_normals + shift(zone_surface.points_ras_mm)
    moved_zone = _moved(zone_surface, by)
    # Which side a point is on follows from the zone's level where it was before it moved.
    nearest = zone.patches[0].evaluate
    at = moved.points_ras_mm
    back = at - shift(at) - of_zone(at) * _directions(nearest, at)
    measured = np.where(nearest(back) < 0, 1.0, -1.0) * moved_zone.distance_mm(at)
    start = time.process_time()
    found = margin_distribution(moved, measured, moved_zone, errors=errors, seed=seed)
    cpu_s = time.process_time() - start
    tally.add(float(margin.min()), float(measured.min()), found, cpu_s)
    exact = margin_distribution(surface, margin, zone_surface, errors=MarginErrors(0.0, 0.0, 0.0), draws=20)
    held = []
    for shell in ("5", "10"):
        row, truth = found.shell_coverage_fraction[shell], exact.shell_coverage_fraction[shell]["p50"]
        held.append(row is not None and row["p05"] - 1e-6 <= truth <= row["p95"] + 1e-6)
    return held[0], held[1]


def _patient(seed: int, errors: MarginErrors, tally: _Tally) -> None:
    """All lesions of a digital patient, drawn anew with errors on its grid, measured as usual."""
    patient = make_patient("small", seed)
    rng = np.random.default_rng(200 + seed)
    liver = patient.masks["liver"]
    for lesion in patient.lesions:
        if lesion.true_mam_mm is None:
            continue
        masks = lesion.mask, lesion.zone_mask_pre
        fields = smooth_field(masks[0]), smooth_field(masks[1])
        for number in range(_ROUNDS):
            of_tumor, of_zone, shift = _drawn(rng, errors)
            tumor = _redrawn(masks[0], lesion.tumor_shape.is_inside, fields[0], of_tumor, None)
            zone = _redrawn(masks[1], lesion.zone_shape.is_inside, fields[1], of_zone, shift)
            if not sitk.GetArrayViewFromImage(tumor).any():
                continue  # a tumor of few voxels may be drawn away: there is nothing to be measured
            result = measure_margin(tumor, zone, liver=liver)
            if result.mam_mm is None:
                continue
            known = MarginErrors(
                errors.registration_mm,
                errors.tumor_segmentation_sd_mm,
                errors.zone_segmentation_sd_mm,
                result.resolution_mm,
            )
            start = time.process_time()
            found = margin_distribution(
                result.surface,
                result.signed_margin_mm,
                result.zone_surface,
                is_evaluable=result.is_evaluable,
                liver=liver,
                errors=known,
                seed=number,
            )
            tally.add(lesion.true_mam_mm, result.mam_mm, found, time.process_time() - start)


def _fused(seed: int, tally: _Tally) -> None:
    """All lesions of a digital patient whose images are fused; what the fusion says of its error is believed."""
    patient = make_patient("small", seed)
    liver = patient.masks["liver"]
    exclude = [mask for lesion in patient.lesions for mask in (lesion.mask, lesion.zone_mask)]
    fusion = fuse(patient.portal, patient.post, fixed_liver=liver, moving_liver=patient.post_liver, exclude=exclude)
    document = fusion.to_dict()
    for number, lesion in enumerate(patient.lesions):
        near = NearLesion.of(document, (2 * number, 2 * number + 1))
        result = measure_margin(lesion.mask, lesion.zone_mask, liver=liver, fixed_to_moving=fusion.transform)
        if lesion.true_mam_mm is None or result.mam_mm is None:
            continue
        known = MarginErrors(near.error_mm, 0.0, 0.0, result.resolution_mm, registration_bound_90_mm=near.bound_90_mm)
        start = time.process_time()
        found = margin_distribution(
            result.surface,
            result.signed_margin_mm,
            result.zone_surface,
            is_evaluable=result.is_evaluable,
            liver=liver,
            errors=known,
        )
        tally.add(lesion.true_mam_mm, result.mam_mm, found, time.process_time() - start)


def _redrawn(
    mask: sitk.Image,
    is_inside: Callable[[np.ndarray], np.ndarray],
    field: SmoothField,
    along_normal: Callable[[np.ndarray], np.ndarray],
    shift: Callable[[np.ndarray], np.ndarray] | None,
) -> sitk.Image:
    """The mask of a shape whose surface has moved, by voxel centers, cut to its surroundings."""
    near = frames.crop_around_points(mask, field.surface().points_ras_mm, 12.0)
    at = voxel_centers(near)
    back = at - along_normal(at) * _directions(field.evaluate, at)
    if shift is not None:
        back = back - shift(at)
    image = sitk.GetImageFromArray(is_inside(back).reshape(near.GetSize()[::-1]).astype(np.uint8))
    image.CopyInformation(near)
    return image


def _drawn(rng: np.random.Generator, errors: MarginErrors) -> tuple[Callable, Callable, Callable]:
    """Errors of the tumor and of the zone along their normals, (N, 1), and of the registration, (N, 3), in mm."""
    sd_mm = PlacementErrors(registration_mm=errors.registration_mm).registration_sd_mm
    return (
        _smooth(rng, errors.tumor_segmentation_sd_mm, errors.segmentation_length_mm, 1),
        _smooth(rng, errors.zone_segmentation_sd_mm, errors.segmentation_length_mm, 1),
        _smooth(rng, sd_mm, errors.registration_length_mm, 3),
    )


def _smooth(rng: np.random.Generator, sd_mm: float, length_mm: float, count: int) -> Callable[[np.ndarray], np.ndarray]:
    """A Gaussian process of that standard deviation and length as a sum of waves."""
    waves = rng.normal(size=(3, _WAVES)) / length_mm
    phases, sizes = rng.uniform(0, 2 * np.pi, _WAVES), rng.normal(size=(_WAVES, count))
    return lambda points: sd_mm * np.sqrt(2 / _WAVES) * np.cos(points @ waves + phases) @ sizes


def _directions(level: Callable[[np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
    step = 0.5
    slope = np.stack([level(points + step * axis) - level(points - step * axis) for axis in np.eye(3)], axis=1)
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)


def _moved(surface: Surface, by_mm: np.ndarray) -> Surface:
    return Surface(surface.points_ras_mm + by_mm, surface.triangles)


def _ellipsoid(rng: np.random.Generator, center: np.ndarray, semi_axes: np.ndarray) -> Level:
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return lambda points: (np.linalg.norm((points - center) @ axes / semi_axes, axis=1) - 1) * semi_axes.min()


def _field(level: Level, half_mm: float, spacing_mm: float) -> SmoothField:
    count = int(2 * half_mm / spacing_mm) + 2
    along = (np.arange(count) - (count - 1) / 2) * spacing_mm
    k, j, i = np.meshgrid(along, along, along, indexing="ij")
    values = level(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1)).reshape(k.shape).astype(np.float32)
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = along[0]
    return SmoothField((FieldPatch(values, matrix),), 0.0, 1, False, "")


if __name__ == "__main__":
    main()
