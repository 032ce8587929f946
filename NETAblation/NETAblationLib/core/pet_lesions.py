"""Lesions of a PET in SUV: a fraction of each local maximum, above the uptake of the normal liver.

The normal liver takes up somatostatin analogues, so a fraction of the maximum alone leaks into it.
The floor is taken from the liver itself, robustly, so that the mask may hold the lesions too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import InputError
from .images import image_hash, require_3d_finite
from .progress import ProgressCallback, silent
from .resampling import resample_mask
from .uptake import OrganUptake, organ_uptake, peak_uptake

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1

#: The isocontour of a lesion, as a fraction of its maximum: 45 % agreed best with CT volumes (lymph nodes,
#: [18F]SiTATE: Siegmund et al. 2025, PMC12572447), and predicted best in 34 patients with 68Ga-DOTATATE.
DEFAULT_FRACTION = 0.45

#: Floors from mean and SD of the normal liver: 10 % above its maximum, as for liver metastases of NET in
#: 68Ga-DOTATOC PET (Mol Imaging, doi 10.2310/7290.2010.00035), that maximum taken as mean + 3 SD (user-set: no
#: published source); or PERCIST 1.0, 1.5 x mean + 2 SD (Wahl et al., J Nucl Med 2009;50 Suppl 1:122S; made for FDG).
#: "contrast" is the first, and for each lesion at least the fraction of what it stands out of the normal liver by:
#: truer for small lesions in the benchmark `suv`, but no published rule.
FLOORS = {"liver-max": (1.1, 3.3), "percist": (1.5, 2.0), "contrast": (1.1, 3.3)}
DEFAULT_FLOOR = "liver-max"

#: A maximum is of a lesion of its own where every way to a higher one falls by this share below it, and by
#: these SD of the noise, which the normal liver tells; the share of noise taken where there is no liver.
#: No published source; user-set, so that noise of up to 15 % parts no even sphere (own measurement).
_MIN_DIP_FRACTION, _MIN_DIP_SD, _USUAL_NOISE_FRACTION = 0.15, 3.0, 0.1

#: Smallest lesion, ml: less is a voxel or two. No published source; user-set.
_MIN_VOLUME_ML = 0.1

#: How far around the region maxima are looked for, mm, so that the spill of a hot organ is no lesion. User-set.
_AROUND_MM = 12.0

#: Values beyond these are no SUV but Bq/ml or HU. No published source; user-set.
_MIN_SUV, _MAX_SUV = -10.0, 2000.0

#: An image without uptake has no lesion.
_NO_SUV = 1e-6

#: Up to this share of the normal liver's uptake a lesion's is "much lower". User-set: no published source.
_MUCH_LOWER_FRACTION = 0.5

KRENNING_LABEL = (
    "aid from SUVs, not the visual Krenning score: SUVmax of the lesion against the mean of liver and spleen "
    "(0 none, 1 much lower than liver, 2 up to liver, 3 above liver, 4 above spleen)"
)


@dataclass(frozen=True)
class PetLesion:
    """One lesion: its number in the label map, its uptake, and where it lies.

    `suv_peak` is the highest mean of a 1 ml sphere centered in it (at `peak_ras_mm`), `threshold_suv`
    its isocontour; `krenning_like` None where no liver was given.
    """

    number: int
    suv_max: float
    suv_mean: float
    suv_peak: float
    volume_ml: float
    threshold_suv: float
    max_ras_mm: tuple[float, float, float]
    peak_ras_mm: tuple[float, float, float]
    krenning_like: int | None = None

    @property
    def total_lesion_activity(self) -> float:
        """SUVmean times volume, SUV x ml."""
        return self.suv_mean * self.volume_ml

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.number,
            "suv_max": self.suv_max,
            "suv_mean": self.suv_mean,
            "suv_peak": self.suv_peak,
            "volume_ml": self.volume_ml,
            "total_lesion_activity_suv_ml": self.total_lesion_activity,
            "threshold_suv": self.threshold_suv,
            "max_ras_mm": list(self.max_ras_mm),
            "peak_ras_mm": list(self.peak_ras_mm),
            "krenning_like": self.krenning_like,
        }


@dataclass(frozen=True)
class PetLesions:
    """All lesions of a region, by falling SUVmax.

    `labels` (uint16, on the PET's grid) holds their numbers; `organs` the uptake of the organs given,
    `floor_suv` what no lesion reaches below (None: only the fraction), by the rule `floor` ("suv" if given).
    """

    labels: sitk.Image
    lesions: tuple[PetLesion, ...]
    fraction: float
    floor: str
    floor_suv: float | None
    organs: Mapping[str, OrganUptake] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    image_sha256: str = ""
    masks_sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def volume_ml(self) -> float:
        """Of all lesions together."""
        return sum(lesion.volume_ml for lesion in self.lesions)

    @property
    def total_lesion_activity(self) -> float:
        """Of all lesions together, SUV x ml."""
        return sum(lesion.total_lesion_activity for lesion in self.lesions)

    def to_dict(self) -> dict[str, Any]:
        """All but the voxels, for JSON; the label map is named by its hash."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fraction": self.fraction,
            "floor": self.floor if self.floor_suv is not None else None,
            "floor_suv": self.floor_suv,
            "organs": {name: uptake.to_dict() for name, uptake in self.organs.items()},
            "lesions": [lesion.to_dict() for lesion in self.lesions],
            "volume_ml": self.volume_ml,
            "total_lesion_activity_suv_ml": self.total_lesion_activity,
            "krenning_like_meaning": KRENNING_LABEL,
            "warnings": list(self.warnings),
            "image_sha256": self.image_sha256,
            "masks_sha256": dict(self.masks_sha256),
            "labels_sha256": image_hash(self.labels),
        }


def segment_pet_lesions(
    suv: sitk.Image,
    region: sitk.Image,
    *,
    fraction: float = DEFAULT_FRACTION,
    floor: str | float = DEFAULT_FLOOR,
    liver: sitk.Image | None = None,
    spleen: sitk.Image | None = None,
    blood_pool: sitk.Image | None = None,
    progress: ProgressCallback = silent,
) -> PetLesions:
    """Segment the lesions of a PET in SUV within a region.

    Each local maximum of its own (by watershed, so that touching lesions are parted where the uptake
    dips between them) is grown to `fraction` of it, but not below the floor. `floor` is one of `FLOORS`,
    taken from `liver` (its normal uptake is estimated robustly: the mask may hold lesions), or an SUV;
    without liver and SUV, what is below `fraction` of the region's maximum is background.
    `spleen` and `blood_pool` serve the Krenning-like score. All masks may lie on grids of their own in
    the PET's frame. A maximum outside of the region is of something else: its spill is no lesion.

    Raises InputError for another fraction or floor and for an image that is no SUV, GeometryError
    for a mask that misses the image, EmptyMaskError, ImageReadError for what is not 3D and sound.
    """
    _require_sound(suv, fraction, floor)
    if liver is None and floor in FLOORS and floor != DEFAULT_FLOOR:
        raise InputError(f"floor: '{floor}' is taken from the liver: give its mask, or an SUV as floor")
    masks_given = {"region": region, "liver": liver, "spleen": spleen, "blood_pool": blood_pool}
    given = {name: mask for name, mask in masks_given.items() if mask is not None}
    masks = {name: sitk.GetArrayFromImage(resample_mask(mask, suv, name=name)) > 0 for name, mask in given.items()}
    values = sitk.GetArrayFromImage(sitk.Cast(suv, sitk.sitkFloat32))
    inside = masks.pop("region")
    progress(0.1, "uptake of the organs")
    spacing_kji = np.array(suv.GetSpacing())[::-1]
    organs = {name: organ_uptake(values, mask, spacing_kji) for name, mask in masks.items()}
    floor_suv = _floor(floor, organs.get("liver"))
    progress(0.3, "finding maxima")
    least = max(fraction * float(values[inside].max()), _NO_SUV) if floor_suv is None else floor_suv
    normal_suv = organs["liver"].mean_suv if floor == "contrast" and "liver" in organs else 0.0
    rule = _Threshold(fraction, least, floor_suv or 0.0, normal_suv)
    regions, warnings = _grown(values, inside, spacing_kji, rule, _dip(organs.get("liver")))
    progress(0.7, "measuring")
    labels = np.zeros(values.shape, np.uint16)
    lesions = []
    for number, (box, mask, threshold) in enumerate(regions, start=1):
        labels[box][mask] = number
        lesions.append(_measured(suv, values, box, mask, threshold, number, organs))
    if not lesions:
        needed = "" if floor_suv is None else f"; one of {floor_suv:.3g} and more is needed"
        warnings.append(f"no lesion: the highest SUV of the region is {values[inside].max():.3g}{needed}")
    progress(1.0, "lesions measured")
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(suv)
    return PetLesions(
        labels=image,
        lesions=tuple(lesions),
        fraction=fraction,
        floor=floor if isinstance(floor, str) else "suv",
        floor_suv=floor_suv,
        organs=organs,
        warnings=tuple(warnings),
        image_sha256=image_hash(suv),
        masks_sha256={name: image_hash(mask) for name, mask in given.items()},
    )


def krenning_like(suv_max: float, organs: Mapping[str, OrganUptake]) -> int | None:
    """The Krenning-like score 0..4 of a lesion from SUVs: an aid, not the visual score; None without a liver.

    The grades are those of Kwekkeboom and Krenning, Semin Nucl Med 2002;32:84, used for 68Ga-DOTATATE PET by
    eye (J Nucl Med 2019;60 Suppl 1:1535). There is no published mapping from SUVs: it compares SUVmax with the
    mean of the normal liver and of the spleen (without one, 3 is the highest); up to half of the
    liver is "much lower", and not above the blood pool, where given, is "none". User-set.
    """
    if "liver" not in organs:
        return None
    if "blood_pool" in organs and suv_max <= organs["blood_pool"].mean_suv:
        return 0
    liver = organs["liver"].mean_suv
    if suv_max <= _MUCH_LOWER_FRACTION * liver:
        return 1
    if suv_max <= liver:
        return 2
    is_above_spleen = "spleen" in organs and suv_max > organs["spleen"].mean_suv
    return 4 if is_above_spleen else 3


# --- the work ---------------------------------------------------------------------------------


def _require_sound(suv: sitk.Image, fraction: float, floor: str | float) -> None:
    require_3d_finite(suv, "PET")
    if not 0 < fraction < 1:
        raise InputError(f"fraction: {fraction:g} of the maximum is not above 0 and below 1")
    if isinstance(floor, str) and floor not in FLOORS:
        raise InputError(f"floor: {floor!r} is unknown: use one of {', '.join(FLOORS)}, or an SUV")
    if not isinstance(floor, str) and not 0 < floor < np.inf:
        raise InputError(f"floor: an SUV of {floor} is not above 0 and finite")
    view = sitk.GetArrayViewFromImage(suv)
    low, high = float(view.min()), float(view.max())
    if low < _MIN_SUV or high > _MAX_SUV:
        raise InputError(f"PET: values from {low:.4g} to {high:.4g} are no SUV: convert it first (netablation suv)")


def _floor(floor: str | float, liver: OrganUptake | None) -> float | None:
    if not isinstance(floor, str):
        return float(floor)
    if liver is None:
        return None
    of_mean, of_sd = FLOORS[floor]
    return of_mean * liver.mean_suv + of_sd * liver.sd_suv


def _dip(liver: OrganUptake | None) -> float:
    """The share by which the uptake has to fall between two lesions."""
    noise = _USUAL_NOISE_FRACTION if liver is None else liver.sd_suv / liver.mean_suv
    return float(np.clip(_MIN_DIP_SD * noise, _MIN_DIP_FRACTION, 0.5))


@dataclass(frozen=True)
class _Threshold:
    """What counts as a maximum, and where its lesion ends: a fraction of it over the normal uptake, above the floor."""

    fraction: float
    least_maximum_suv: float
    floor_suv: float
    normal_suv: float

    def of(self, maximum_suv: float) -> float:
        """The isocontour, SUV, of the lesion of a maximum."""
        return max(self.normal_suv + self.fraction * (maximum_suv - self.normal_suv), self.floor_suv)


def _grown(
    values: FloatArray, inside: BoolArray, spacing_kji: FloatArray, rule: _Threshold, dip: float
) -> tuple[list[tuple[tuple[slice, ...], BoolArray, float]], list[str]]:
    """Each lesion as a box, its voxels there and its threshold, by falling maximum; and warnings."""
    around = _box(inside, np.ceil(_AROUND_MM / spacing_kji).astype(int))
    part, allowed = values[around], inside[around]
    basins = _basins(part, rule.least_maximum_suv, dip)
    found, outside, small, open_ended = [], 0, 0, 0
    for label, box in enumerate(ndimage.find_objects(basins), start=1):
        if box is None:
            continue
        own = np.where(basins[box] == label, part[box], -np.inf)
        here = np.where(allowed[box], own, -np.inf)
        maximum = float(here.max())
        if maximum < rule.least_maximum_suv:
            continue
        if maximum < own.max():
            outside += 1
            continue
        threshold = rule.of(maximum)
        pieces, _ = ndimage.label(here >= threshold)
        lesion = pieces == pieces[np.unravel_index(np.argmax(here), here.shape)]
        if lesion.sum() * np.prod(spacing_kji) / 1000.0 < _MIN_VOLUME_ML:
            small += 1
            continue
        open_ended += bool((ndimage.binary_dilation(lesion) & ~allowed[box] & (own >= threshold)).any())
        place = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(around, box, strict=True))
        found.append((maximum, place, lesion, threshold))
    warnings = [
        f"{count} {text}"
        for count, text in (
            (
                outside,
                "maxima just outside of the region given reach into it: left out as spill of something else",
            ),
            (small, f"maxima of less than {_MIN_VOLUME_ML:g} ml: left out"),
            (open_ended, "lesion(s) reach beyond the region given: their volumes are too small, or they leak"),
        )
        if count
    ]
    found.sort(key=lambda lesion: -lesion[0])
    return [(place, lesion, threshold) for _, place, lesion, threshold in found], warnings


def _basins(values: FloatArray, least: float, dip: float) -> npt.NDArray[np.integer]:
    """Watershed basins of the maxima, 1 and up: a dip of `dip` (a share) between two keeps them apart.

    On the logarithm, where a share is a difference; what is far below the least is flat.
    """
    heights = -np.log(np.maximum(values, 0.25 * least).astype(np.float64))
    flooded = sitk.MorphologicalWatershed(sitk.GetImageFromArray(heights), -np.log1p(-dip), False, False)
    return sitk.GetArrayFromImage(flooded)


def _box(inside: BoolArray, pad: npt.NDArray[np.integer]) -> tuple[slice, ...]:
    found = ndimage.find_objects(inside.astype(np.uint8))[0]
    return tuple(
        slice(max(side.start - more, 0), min(side.stop + more, count))
        for side, more, count in zip(found, pad.tolist(), inside.shape, strict=True)
    )


def _measured(
    suv: sitk.Image,
    values: FloatArray,
    box: Sequence[slice],
    mask: BoolArray,
    threshold: float,
    number: int,
    organs: Mapping[str, OrganUptake],
) -> PetLesion:
    own = np.where(mask, values[tuple(box)], -np.inf)
    start = np.array([side.start for side in box])
    peak, center_kji = peak_uptake(values, np.argwhere(mask) + start, np.array(suv.GetSpacing())[::-1])
    at = np.array(np.unravel_index(np.argmax(own), own.shape)) + start
    top = float(own.max())
    return PetLesion(
        number=number,
        suv_max=top,
        suv_mean=float(own[mask].mean(dtype=np.float64)),
        suv_peak=peak,
        volume_ml=float(mask.sum() * np.prod(suv.GetSpacing()) / 1000.0),
        threshold_suv=threshold,
        max_ras_mm=_place(suv, at),
        peak_ras_mm=_place(suv, center_kji),
        krenning_like=krenning_like(top, organs),
    )


def _place(suv: sitk.Image, index_kji: npt.NDArray[Any]) -> tuple[float, float, float]:
    right, anterior, superior = frames.index_to_ras(suv, index_kji[::-1]).tolist()
    return right, anterior, superior
