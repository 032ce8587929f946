"""The dose of a PET, decayed to the time that the values of each slice hold for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .dicom_headers import element_values
from .errors import InputError
from .pet_headers import (
    acquisition_of,
    date_time_of,
    missing,
    moment_of,
    number_of,
    private_value,
    quantity_of,
    text_of,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FloatArray = npt.NDArray[np.float64]

#: Half-lives from injection to scan above which the dates are not believed. User-set: no published source.
_MAX_HALF_LIVES = 10.0

#: Half-life, s, above which a time of injection without a date may be of an earlier day. User-set: no published source.
_LONG_HALF_LIFE_S = 4 * 3600.0

#: Seconds by which slices may differ in the time that they are decay-corrected to. User-set: no published source.
_SAME_TIME_S = 10.0

_GE = "GEMS_PETD_01"


def per_dose(
    headers: Sequence[Dataset], correction: str, name: str, warnings: list[str]
) -> tuple[FloatArray, float | None]:
    """One over the dose in Bq, (N,), decayed to the time that each slice's values hold for; and that time after it."""
    tracer = _tracer(headers[0], name)
    dose = quantity_of(tracer, "RadionuclideTotalDose", name)
    is_corrected = "DECY" in element_values(headers[0], "CorrectedImage")
    if correction not in ("START", "ADMIN", "NONE"):
        if not correction:
            raise missing("DecayCorrection", name)
        raise InputError(f"{name}: DecayCorrection '{correction}' is unknown (START, ADMIN or NONE)")
    if is_corrected != (correction != "NONE"):
        have = "has" if is_corrected else "has no"
        raise InputError(f"{name}: DecayCorrection is {correction}, but CorrectedImage {have} DECY: contradictory")
    if correction == "ADMIN":
        return np.full(len(headers), 1.0 / dose), None
    half_life_s = quantity_of(tracer, "RadionuclideHalfLife", name)
    if correction == "NONE":
        moments = [acquisition_of(header, name) for header in headers]
        # A mean over the frame, A (1 - exp(-x)) / x with x its length in mean lives, where A holds at its start.
        length = [quantity_of(header, "ActualFrameDuration", name) / 1000.0 for header in headers]
        x = np.log(2.0) * np.array(length) / half_life_s
        frame_share = -np.expm1(-x) / x
    else:
        moments = _decay_reference(headers, half_life_s, name, warnings)
        frame_share = np.ones(len(headers))
    injection = _injection(headers[0], tracer, min(moments), half_life_s, name, warnings)
    elapsed = np.array([(moment - injection).total_seconds() for moment in moments])
    if elapsed.min() < 0 or elapsed.max() > _MAX_HALF_LIVES * half_life_s:
        stated = "RadiopharmaceuticalStartDateTime"
        keyword = stated if text_of(tracer, stated) else "RadiopharmaceuticalStartTime"
        when = (
            "after the scan" if elapsed.min() < 0 else f"{elapsed.max() / half_life_s:.0f} half-lives before the scan"
        )
        raise InputError(f"{name}: {keyword}: the injection would be {when}: not plausible, so the SUV cannot be known")
    return 1.0 / (dose * 2.0 ** (-elapsed / half_life_s) * frame_share), float(elapsed[0])


def _tracer(header: Dataset, name: str) -> Dataset:
    items = header.get("RadiopharmaceuticalInformationSequence") or []
    if not len(items):
        raise missing("RadiopharmaceuticalInformationSequence", name)
    if len(items) > 1:
        raise InputError(
            f"{name}: RadiopharmaceuticalInformationSequence has {len(items)} items: which dose it is, is unknown"
        )
    return items[0]


def _decay_reference(headers: Sequence[Dataset], half_life_s: float, name: str, warnings: list[str]) -> list[datetime]:
    """When each slice's decay correction to the START of the scan holds for.

    The series' time, unless it is later than an acquisition: then the series was made later, and GE's
    private time of the scan holds, else what follows from the frames: the mean count rate of a frame of
    length T falls ln(x / (1 - exp(-x))) mean lives after its start, with x = T in mean lives, and
    FrameReferenceTime later than the START (QIBA); else the earliest acquisition.
    """
    series = moment_of(text_of(headers[0], "SeriesDate"), text_of(headers[0], "SeriesTime"))
    if series is None:
        raise missing("SeriesDate" if not text_of(headers[0], "SeriesDate") else "SeriesTime", name)
    acquisitions = [acquisition_of(header, name) for header in headers]
    if series <= min(acquisitions):
        return [series] * len(headers)
    private = private_value(headers[0], 0x0009, 0x0D, _GE)
    scan = None if private is None else date_time_of(str(private), text_of(headers[0], "TimezoneOffsetFromUTC"))
    if scan is not None:
        return [scan] * len(headers)
    keywords = ("FrameReferenceTime", "ActualFrameDuration")
    if not all(number_of(header.get(keyword)) for header in headers for keyword in keywords):
        warnings.append(
            "SeriesTime is later than AcquisitionTime, and FrameReferenceTime or ActualFrameDuration is missing: the "
            "decay correction is taken to hold for the earliest acquisition of the slices given"
        )
        return [min(acquisitions)] * len(headers)
    mean_life_s = half_life_s / math.log(2.0)
    moments = []
    for start, header in zip(acquisitions, headers, strict=True):
        center_ms, length_ms = (quantity_of(header, keyword, name) for keyword in keywords)
        x = length_ms / 1000.0 / mean_life_s
        moments.append(start + timedelta(seconds=mean_life_s * math.log(x / -math.expm1(-x)) - center_ms / 1000.0))
    if (max(moments) - min(moments)).total_seconds() > _SAME_TIME_S:
        warnings.append("the slices are decay-corrected to different times; each is scaled by its own")
    return moments


def _injection(
    header: Dataset, tracer: Dataset, scan: datetime, half_life_s: float, name: str, warnings: list[str]
) -> datetime:
    """When the tracer was injected; a time without a date is the last one before the scan."""
    stated = text_of(tracer, "RadiopharmaceuticalStartDateTime")
    if stated:
        moment = date_time_of(stated, text_of(header, "TimezoneOffsetFromUTC"))
        if moment is None:
            raise InputError(f"{name}: RadiopharmaceuticalStartDateTime is no date and time")
        return moment
    time = text_of(tracer, "RadiopharmaceuticalStartTime")
    if not time:
        raise missing("RadiopharmaceuticalStartDateTime", name, " (and RadiopharmaceuticalStartTime)")
    moment = moment_of(scan.strftime("%Y%m%d"), time)
    if moment is None:
        raise InputError(f"{name}: RadiopharmaceuticalStartTime is no time")
    if half_life_s > _LONG_HALF_LIFE_S:
        warnings.append("the day of the injection is not stated: it is taken to be less than 24 h before the scan")
    return moment if moment <= scan else moment - timedelta(days=1)
