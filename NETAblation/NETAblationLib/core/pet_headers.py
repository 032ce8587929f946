"""Elements of PET headers as numbers and times, or an error that names the element."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: What a value has to lie within to be believed, and its unit. DICOM asks for kg, m, Bq and s: g, cm and
#: MBq fall outside. No published source; user-set.
_PLAUSIBLE = {
    "PatientWeight": (1.0, 500.0, "kg"),
    "PatientSize": (0.3, 2.5, "m"),
    "RadionuclideTotalDose": (1e5, 1e11, "Bq"),
    "RadionuclideHalfLife": (60.0, 3e7, "s"),
    "ActualFrameDuration": (1.0, 1e8, "ms"),
    "FrameReferenceTime": (1.0, 1e9, "ms"),
}


def missing(keyword: str, name: str, more: str = "") -> InputError:
    """The error for an element that is not there; `more` is said after its keyword."""
    return InputError(f"{name}: {keyword}{more} is missing: the SUV cannot be known without it")


def text_of(dataset: Dataset, keyword: str) -> str:
    """The value of an element as text, empty where there is none."""
    return str(dataset.get(keyword) or "").strip()


def number_of(value: object) -> float | None:
    """A number from what an element may hold (also bytes of an unknown private element); None where it is none."""
    try:
        return float(value.decode() if isinstance(value, bytes) else str(value))
    except (ValueError, UnicodeDecodeError):
        return None


def quantity_of(dataset: Dataset, keyword: str, name: str) -> float:
    """A number above 0 that is plausible; raises InputError, naming the keyword."""
    value = number_of(dataset.get(keyword))
    if value is None and text_of(dataset, keyword):
        raise InputError(f"{name}: {keyword} '{text_of(dataset, keyword)}' is no number: the SUV cannot be known")
    if not value:
        raise missing(keyword, name)
    low, high, unit = _PLAUSIBLE[keyword]
    if not low <= value <= high:
        raise InputError(
            f"{name}: {keyword} {value:g} {unit} is not plausible ({low:g} to {high:g} {unit}): in another unit?"
        )
    return value


def private_value(header: Dataset, group: int, element: int, creator: str) -> object | None:
    """The value of a private element of a creator; where no creator is stated, that of the usual block 10."""
    creators = {block: _private_text(header, group, block) for block in range(0x10, 0x100) if (group, block) in header}
    block = next((block for block, text in creators.items() if text == creator), None if creators else 0x10)
    found = None if block is None else header.get((group, (block << 8) | element))
    return None if found is None else found.value


def _private_text(header: Dataset, group: int, element: int) -> str:
    value = header[group, element].value
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip(" \0")


def acquisition_of(header: Dataset, name: str) -> datetime:
    """When the acquisition of a slice began."""
    date, time = text_of(header, "AcquisitionDate"), text_of(header, "AcquisitionTime")
    moment = moment_of(date, time)
    if moment is None and not (date and time):
        moment = date_time_of(text_of(header, "AcquisitionDateTime"), text_of(header, "TimezoneOffsetFromUTC"))
    if moment is None:
        raise missing("AcquisitionTime" if date else "AcquisitionDate", name)
    return moment


def moment_of(date: str, time: str) -> datetime | None:
    """A DICOM date and time (also in the old forms 2020.12.17 and 10:48:29); None where they are none."""
    day = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", date)
    clock = re.fullmatch(r"(\d{2}):?(\d{2})(?::?(\d{2}(?:\.\d*)?))?", time)
    if not (day and clock):
        return None
    hours, minutes, seconds = float(clock[1]), float(clock[2]), float(clock[3] or 0.0)
    try:
        midnight = datetime(int(day[1]), int(day[2]), int(day[3]))
    except ValueError:
        return None
    if hours > 23 or minutes > 59 or seconds >= 61:
        return None
    return midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def date_time_of(text: str, local_offset: str) -> datetime | None:
    """A DICOM date-time; where it and the object state an offset from UTC, in the object's."""
    parts = re.fullmatch(r"(\d{8})(\d{4}(?:\d{2}(?:\.\d*)?)?)([+-]\d{4})?", text.strip())
    moment = moment_of(parts[1], parts[2]) if parts else None
    if parts is None or moment is None or not parts[3] or not re.fullmatch(r"[+-]\d{4}", local_offset):
        return moment
    return moment + _offset(local_offset) - _offset(parts[3])


def _offset(text: str) -> timedelta:
    size = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return -size if text[0] == "-" else size
