"""Standardized uptake values (SUV) of a PET from its DICOM headers, or the reason why they cannot be known.

SUV is activity per milliliter over injected activity per gram of body (or of lean body, or per
cm^2 of body surface). The branches of units, vendors and times are those of the QIBA's vendor-neutral
pseudocode, as calculate-suv (github cornerstonejs) has them, plus what DICOM PS3.3 C.8.9.1 allows
beside: values that are SUV already, decay correction to the injection or none.
Nothing is guessed: a tag that is missing, contradictory or implausible is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .dicom import read_series_with_headers
from .dicom_headers import element_values, quiet_pydicom
from .errors import InputError
from .images import image_hash, require_3d_finite
from .pet_decay import per_dose
from .pet_headers import missing, number_of, private_value, quantity_of, text_of
from .progress import ProgressCallback, silent, span

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FloatArray = npt.NDArray[np.float64]

SCHEMA_VERSION = 1

#: The kinds of SUV and their units: by body weight; by lean body mass after James (DICOM's "LBM", as
#: PERCIST 1.0 uses it) and after Janmahasatian; by body surface.
KINDS = {"bw": "g/ml", "lbm": "g/ml", "lbmjanma": "g/ml", "bsa": "cm2/ml"}

#: DICOM's SUVType (0054,1006) of values that are SUV already, units GML; none stands for BW (QIBA).
_SUV_TYPES = {
    "": "bw",
    "BW": "bw",
    "LBM": "lbm",
    "LBMJAMES128": "lbmjames128",
    "LBMJANMA": "lbmjanma",
    "IBW": "ibw",
}

#: Body mass index above which James' lean mass falls too low (Tahari et al., J Nucl Med 2014;55:1481).
_MAX_JAMES_BMI = 35.0

#: What belongs to the whole series and has to be the same in each of its slices.
_SERIES_KEYWORDS = (
    "CorrectedImage",
    "DecayCorrection",
    "PatientSex",
    "PatientSize",
    "PatientWeight",
    "SUVType",
    "SeriesDate",
    "SeriesTime",
    "Units",
)
_TRACER_KEYWORDS = (
    "RadionuclideHalfLife",
    "RadionuclideTotalDose",
    "RadiopharmaceuticalStartDateTime",
    "RadiopharmaceuticalStartTime",
)

_PHILIPS = "Philips PET Private Group"


@dataclass(frozen=True)
class SuvFactors:
    """What the values of each slice, in their own unit after the rescale slope, are multiplied by to become SUV.

    `factors` holds for each kind known the factors (N,), in the order of the slices; `not_known`
    for each other kind the reason. `units` and `decay_correction` are those of the header, `source`
    says what the factors were made of, `decay_s` the time from injection to that which the first
    slice is decay-corrected to (None where it does not matter).
    """

    factors: Mapping[str, FloatArray]
    not_known: Mapping[str, str]
    units: str
    source: str
    decay_correction: str = ""
    decay_s: float | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Every kind is known or has a reason; factors are finite and above 0. Raises InputError."""
        if {*self.factors, *self.not_known} != {*KINDS}:
            raise InputError(f"SUV factors: each of {', '.join(KINDS)} needs a factor or a reason")
        for kind, values in self.factors.items():
            if not (np.isfinite(values).all() and np.min(values) > 0):
                raise InputError(f"SUV factors: '{kind}' is not finite and above 0")

    def of(self, kind: str) -> FloatArray:
        """The factors (N,) of one kind; raises InputError, with the reason, where they are not known."""
        if kind not in KINDS:
            raise InputError(f"kind of SUV: {kind!r} is unknown: use one of {', '.join(KINDS)}")
        if kind not in self.factors:
            raise InputError(f"SUV by '{kind}' cannot be known: {self.not_known[kind]}")
        return self.factors[kind]

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the factor of the first slice for each kind, None where not known, and how it came about."""
        first = {f"suv_{kind}_factor": float(self.factors[kind][0]) if kind in self.factors else None for kind in KINDS}
        known = next(iter(self.factors.values()))
        return {
            "schema_version": SCHEMA_VERSION,
            **first,
            "not_known": dict(self.not_known),
            "same_in_all_slices": bool(np.ptp(known) <= 1e-9 * known[0]),
            "units": self.units,
            "source": self.source,
            "decay_correction": self.decay_correction or None,
            "decay_s": self.decay_s,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class SuvImage:
    """A PET in SUV, float32, of one of `KINDS`, with the factors that made it."""

    image: sitk.Image
    kind: str
    factors: SuvFactors

    def to_dict(self) -> dict[str, Any]:
        """All but the voxels, for JSON; nothing in it identifies the patient."""
        return {
            **self.factors.to_dict(),
            "kind": self.kind,
            "unit": KINDS[self.kind],
            "suv_max": float(np.max(sitk.GetArrayViewFromImage(self.image))),
            "slice_count": self.image.GetSize()[2],
            "image_sha256": image_hash(self.image),
        }


def read_suv(
    folder: str | Path, *, kind: str = "bw", series: str | int | None = None, progress: ProgressCallback = silent
) -> SuvImage:
    """Read a PET series of a DICOM folder as SUV.

    `kind` is one of `KINDS`; `series` as in :func:`~NETAblationLib.core.images.read_image`, needed
    only where the folder holds several PET series. Raises ImageReadError where the series is not one
    sound PET of single slices, InputError, naming the tag, where its SUV cannot be known.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: not a folder: SUV needs the DICOM headers of the PET: give its DICOM folder")
    if kind not in KINDS:
        raise InputError(f"kind of SUV: {kind!r} is unknown: use one of {', '.join(KINDS)}")
    image, headers, name = read_series_with_headers(folder, "PT", series=series, progress=span(progress, 0.0, 0.9))
    require_3d_finite(image, name)
    factors = suv_factors(headers, name)
    progress(0.9, "scaling to SUV")
    values = sitk.GetArrayFromImage(image) * factors.of(kind)[:, None, None]
    scaled = sitk.GetImageFromArray(values.astype(np.float32))
    scaled.CopyInformation(image)
    progress(1.0, "SUV read")
    return SuvImage(scaled, kind, factors)


def suv_factors(headers: Sequence[Dataset], name: str = "PET") -> SuvFactors:
    """The SUV factors of the slices of one PET series from their headers, in the order given.

    Raises InputError, beginning with `name` and naming the tag, where no kind of SUV can be known.
    """
    if not headers:
        raise InputError(f"{name}: no slices, so no SUV")
    with quiet_pydicom():  # values of a wrong form are told of here, or not needed
        return _factors_of(headers, name)


def _factors_of(headers: Sequence[Dataset], name: str) -> SuvFactors:
    _require_one_series(headers, name)
    units = str(headers[0].get("Units") or "").strip()
    warnings: list[str] = []
    decay: float | None = None
    correction = ""
    if units == "BQML":
        given, source = None, "activity, dose and decay"
        scale = np.ones(len(headers))
    elif units == "CNTS":
        given, source, scale = _philips_scale(headers, name)
    elif units in ("GML", "CM2ML"):
        given, source, scale = _suv_type(headers[0], units, name), "already SUV", np.ones(len(headers))
    else:
        what = f"Units '{units}' are no activity and no SUV" if units else "Units is missing"
        raise InputError(f"{name}: {what} (BQML, GML, CM2ML or Philips' CNTS are needed): the SUV cannot be known")
    _require_attenuation(headers[0], name, is_needed=given is None)
    if given is None:
        _body_amount(headers[0], "bw", name)  # without the weight nothing is known: say so before all else
        correction = text_of(headers[0], "DecayCorrection")
        shares, decay = per_dose(headers, correction, name, warnings)
        scale = scale * shares
    factors, reasons = _by_kind(headers[0], given, scale, name, warnings)
    if not factors:
        raise InputError(f"{name}: the SUV cannot be known: {'; '.join(dict.fromkeys(reasons.values()))}")
    return SuvFactors(factors, reasons, units, source, correction, decay, tuple(warnings))


# --- the body ---------------------------------------------------------------------------------


def _by_kind(
    header: Dataset, given: str | None, scale: FloatArray, name: str, warnings: list[str]
) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Factors of each kind, and why there is none: from activity over dose (`given` None) or from another SUV."""
    found = {kind: _of_kind(header, given, kind, scale, name) for kind in KINDS}
    factors = {kind: values for kind, values in found.items() if not isinstance(values, str)}
    reasons = {kind: reason for kind, reason in found.items() if isinstance(reason, str)}
    if "lbm" in factors and given != "lbm":
        bmi = quantity_of(header, "PatientWeight", name) / quantity_of(header, "PatientSize", name) ** 2
        if bmi > _MAX_JAMES_BMI:
            warnings.append(
                f"lbm: James' formula gives too little lean mass above a body mass index of {_MAX_JAMES_BMI:g} "
                "(Tahari 2014): use lbmjanma"
            )
    return factors, reasons


def _of_kind(header: Dataset, given: str | None, kind: str, scale: FloatArray, name: str) -> FloatArray | str:
    """The factors of one kind, or why there are none."""
    try:
        if kind == given:
            return scale
        per = 1.0 if given is None else _body_amount(header, given, name)
        return scale * _body_amount(header, kind, name) / per
    except InputError as error:
        return str(error).removeprefix(f"{name}: ")


def _body_amount(header: Dataset, kind: str, name: str) -> float:
    """What the dose is spread over: g of body, lean or ideal body, or cm^2 of surface; raises InputError.

    Lean mass: James in the two forms of DICOM's LBM and LBMJAMES128, and Janmahasatian et al., Clin
    Pharmacokinet 2005;44:1051. Ideal weight: Sugawara et al., Radiology 1999;213:521. Surface: Du Bois
    and Du Bois 1916. As DICOM's SUVType means them and the IBSI's manual of SUV computation lists them.
    """
    weight_kg = quantity_of(header, "PatientWeight", name)
    if kind == "bw":
        return 1000.0 * weight_kg
    size_m = quantity_of(header, "PatientSize", name)
    size_cm = 100.0 * size_m
    if kind == "bsa":
        return 71.84 * weight_kg**0.425 * size_cm**0.725
    sex = text_of(header, "PatientSex").upper()
    if sex not in ("M", "F"):
        what = f"PatientSex '{sex}' has no formula" if sex else "PatientSex is missing"
        raise InputError(f"{name}: {what} (M or F is needed)")
    is_male = sex == "M"
    if kind == "lbmjanma":
        per_bmi, constant = (216.0, 6680.0) if is_male else (244.0, 8780.0)
        lean_kg = 9270.0 * weight_kg / (constant + per_bmi * weight_kg / size_m**2)
    elif kind == "ibw":
        lean_kg = 48.0 + 1.06 * (size_cm - 152.0) if is_male else 45.5 + 0.91 * (size_cm - 152.0)
    else:
        male_square = 120.0 if kind == "lbm" else 128.0
        linear, square = (1.10, male_square) if is_male else (1.07, 148.0)
        lean_kg = linear * weight_kg - square * (weight_kg / size_cm) ** 2
    if lean_kg <= 0:
        raise InputError(f"{name}: the formula of {kind} fails at this PatientWeight and PatientSize")
    return 1000.0 * lean_kg


# --- the units --------------------------------------------------------------------------------


def _suv_type(header: Dataset, units: str, name: str) -> str:
    suv_type = text_of(header, "SUVType").upper()
    if units == "CM2ML" and suv_type in ("", "BSA"):
        return "bsa"
    if units == "CM2ML" or suv_type not in _SUV_TYPES:
        raise InputError(f"{name}: SUVType '{suv_type}' is not one of Units {units}: the SUV cannot be known")
    return _SUV_TYPES[suv_type]


def _philips_scale(headers: Sequence[Dataset], name: str) -> tuple[str | None, str, FloatArray]:
    """Philips' private factors of counts: to SUV by weight, else to Bq/ml."""
    for element, keyword, given in ((0x00, "SUVScaleFactor", "bw"), (0x09, "ActivityConcentrationScaleFactor", None)):
        found = [number_of(private_value(header, 0x7053, element, _PHILIPS)) for header in headers]
        values = np.array([value for value in found if value is not None and 0 < value < np.inf])
        if len(values) == len(headers):
            return given, f"Philips {keyword}", values
    raise InputError(
        f"{name}: Units are counts (CNTS), and neither Philips' SUVScaleFactor (7053,1000) nor its "
        "ActivityConcentrationScaleFactor (7053,1009) is there in each slice and above 0: the SUV cannot be known"
    )


def _require_attenuation(header: Dataset, name: str, *, is_needed: bool) -> None:
    corrections = element_values(header, "CorrectedImage")
    if is_needed and not corrections:
        raise missing("CorrectedImage", name)
    if corrections and "ATTN" not in corrections:
        raise InputError(f"{name}: CorrectedImage has no ATTN: a PET without attenuation correction has no SUV")


def _require_one_series(headers: Sequence[Dataset], name: str) -> None:
    """Raise InputError, naming the keyword, where slices differ in what belongs to the series."""
    tracers = [(header.get("RadiopharmaceuticalInformationSequence") or [{}])[0] for header in headers]
    for datasets, keywords in ((headers, _SERIES_KEYWORDS), (tracers, _TRACER_KEYWORDS)):
        for keyword in keywords:
            if len({str(dataset.get(keyword)) for dataset in datasets}) > 1:
                raise InputError(f"{name}: {keyword} is not the same in all slices: they are not of one series")
