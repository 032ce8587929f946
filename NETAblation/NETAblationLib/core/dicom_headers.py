"""The headers of DICOM files: what a folder holds, told by content, and which series is meant.

Files are told by their content, whatever their names and sub-folders. Nothing here names the
patient: series are described by number, description and kind.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ImageReadError, NETAblationError
from .progress import ProgressCallback

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: SOP classes that hold one slice per file (DICOM PS3.4 table B.5-1).
SLICE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
}

#: SOP classes that hold a whole stack per file: enhanced, and legacy converted enhanced.
STACK_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.130": "PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "PET",
}

_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_HEADER_KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "SeriesDescription",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "GantryDetectorTilt",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "Units",
)


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a folder, described without anything that names the patient.

    `refusal` says why the series cannot be an image, "" where it may be one. `patient_key`
    is alike for series of one patient: a hash, made to compare and not to be stored, since a
    guessed identifier can be hashed too. `frame_of_reference_uid` is alike for series that
    share coordinates.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    slice_count: int
    files: tuple[Path, ...] = field(repr=False)
    patient_key: str = field(default="", repr=False)
    frame_of_reference_uid: str = ""
    refusal: str = ""

    @property
    def is_image(self) -> bool:
        """Whether the series may be read as a 3D image (its geometry is proved on reading)."""
        return not self.refusal

    def __str__(self) -> str:
        """One line for a list to choose from."""
        number = "without number" if self.number is None else str(self.number)
        description = f' "{self.description}"' if self.description else ""
        count = f"{self.slice_count} slice{'' if self.slice_count == 1 else 's'}"
        line = f"series {number}{description}: {self.modality}, {count}, UID ...{self.uid[-12:]}"
        return f"{line} ({self.refusal})" if self.refusal else line


def is_dicom(path: Path) -> bool:
    """Whether the file's content is DICOM: with its preamble, or from its first group on."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:132] == b"DICM" or start[:4] in (b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x00\x00")


@dataclass(frozen=True)
class Header:
    """The header of one file; `name` is the file's path below the folder searched."""

    path: Path
    name: str
    dataset: Dataset

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID, empty where there is none."""
        return str(self.dataset.get("SeriesInstanceUID", ""))

    @property
    def sop_class(self) -> str:
        """What kind of object the file holds."""
        return _sop_class(self.dataset)

    def numbers(self, keyword: str, count: int, dataset: Dataset | None = None) -> list[float]:
        """The `count` numbers of an element; raises ImageReadError where they are not there."""
        value = (self.dataset if dataset is None else dataset).get(keyword)
        try:
            values = [float(v) for v in (value if count > 1 else [value])]
        except (TypeError, ValueError):
            values = []
        if len(values) != count:
            raise ImageReadError(f"{self.path}: its DICOM header has no sound {keyword}")
        return values


def scan_folder(folder: Path, progress: ProgressCallback) -> list[Header]:
    """Headers of all DICOM files below a folder; raises ImageReadError where there is none."""
    if not folder.is_dir():
        raise ImageReadError(f"{folder}: no such folder")
    files = sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)
    if not files:
        raise ImageReadError(f"{folder}: the folder is empty")
    headers = scan_files(files, folder, progress)
    if not headers:
        raise ImageReadError(f"{folder}: none of its {len(files)} files is a DICOM image")
    return headers


def scan_files(files: Sequence[Path], folder: Path, progress: ProgressCallback) -> list[Header]:
    """Headers of the DICOM files among `files`."""
    headers = []
    for done, path in enumerate(files):
        progress(done / len(files), "looking through DICOM files")
        claims_dicom = path.suffix.lower() == ".dcm" and not path.name.startswith("._")
        if is_dicom(path) or claims_dicom:
            header = read_header(path, folder)
            if header.sop_class != _DICOMDIR_CLASS:
                headers.append(header)
    return headers


def read_header(path: Path, folder: Path) -> Header:
    """The header of one file below a folder; raises ImageReadError for a damaged one."""
    header = Header(path, str(path.relative_to(folder)), read_dataset(path, _HEADER_KEYWORDS, stop_before_pixels=True))
    stated = str((getattr(header.dataset, "file_meta", None) or {}).get("MediaStorageSOPClassUID", ""))
    is_image = {header.sop_class, stated} & {*SLICE_CLASSES, *STACK_CLASSES}
    if is_image and header.dataset.get("Rows") is None:
        raise ImageReadError(f"{path}: a damaged or cut-off DICOM file (its header ends early): export it anew")
    return header


def read_dataset(path: Path, keywords: Sequence[str] | None, *, stop_before_pixels: bool) -> Dataset:
    """Parse a DICOM file; ImageReadError whatever goes wrong, since pydicom raises of all kinds."""
    dcmread = _pydicom().dcmread
    try:
        if not is_dicom(path):
            raise ValueError("it holds no DICOM" if path.is_file() else "there is no such file")
        with quiet_pydicom():
            dataset = dcmread(
                path,
                stop_before_pixels=stop_before_pixels,
                specific_tags=None if keywords is None else list(keywords),
                force=True,  # some have no preamble; that it is DICOM is known
            )
            if not _sop_class(dataset):
                raise ValueError("it does not say what it holds (no SOP class)")
            return dataset
    except Exception as error:
        raise ImageReadError(f"{path}: a damaged or cut-off DICOM file ({error}): export it anew") from error


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise NETAblationError("reading DICOM needs the Python package pydicom: install it") from error
    return pydicom


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings of odd values to itself: what matters is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sop_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None) or {}
    return str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", ""))


def group_by_series(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Headers by series UID, in the order of the series numbers."""
    groups: dict[str, list[Header]] = {}
    for header in headers:
        groups.setdefault(header.series_uid, []).append(header)

    def rank(uid: str) -> tuple[float, str]:
        number = _series_number(groups[uid][0].dataset)
        return (float("inf") if number is None else number, uid)

    return {uid: groups[uid] for uid in sorted(groups, key=rank)}


def describe_series(headers: Sequence[Header]) -> SeriesInfo:
    """What can be said of a series without naming the patient."""
    first = headers[0].dataset
    return SeriesInfo(
        uid=headers[0].series_uid,
        number=_series_number(first),
        description=str(first.get("SeriesDescription") or "").strip(),
        modality=str(first.get("Modality") or "unknown modality"),
        slice_count=sum(frame_count(header.dataset) for header in headers),
        files=tuple(header.path for header in headers),
        patient_key=patient_key_of(first),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID") or ""),
        refusal=_series_refusal(headers),
    )


def _series_number(dataset: Dataset) -> int | None:
    try:
        return int(dataset.get("SeriesNumber"))
    except (TypeError, ValueError):
        return None


def frame_count(dataset: Dataset) -> int:
    """Number of frames, 1 where the header does not say."""
    try:
        return int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1


def patient_key_of(dataset: Dataset) -> str:
    """A hash that is alike for files of one patient."""
    keywords = ["PatientID", "IssuerOfPatientID"] if dataset.get("PatientID") else ["PatientName", "PatientBirthDate"]
    identity = "\n".join(str(dataset.get(keyword) or "").strip() for keyword in keywords)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _series_refusal(headers: Sequence[Header]) -> str:
    refusals = [object_refusal(header.dataset) for header in headers]
    if all(refusals):
        return refusals[0]
    if not headers[0].series_uid:
        return "no SeriesInstanceUID, so it is unknown what belongs together"
    if len(headers) == 1 and frame_count(headers[0].dataset) == 1:
        return "a single slice"
    return ""


def object_refusal(dataset: Dataset) -> str:
    """Why an object is no slice and no stack of a CT, MR or PET image; "" where it is one."""
    sop_class = _sop_class(dataset)
    frames = frame_count(dataset)
    if sop_class not in SLICE_CLASSES and sop_class not in STACK_CLASSES:
        kind = _pydicom().uid.UID(sop_class).name
        many = f", multi-frame ({frames} frames)" if frames > 1 else ""
        return f"not an image series but {kind if kind != sop_class else 'an object of a private kind'}{many}"
    if "LOCALIZER" in element_values(dataset, "ImageType"):
        return "a localizer"
    if sop_class in SLICE_CLASSES and frames > 1:
        return f"multi-frame ({frames} frames) in a class of single slices"
    if dataset.get("SamplesPerPixel", 1) != 1 or not str(
        dataset.get("PhotometricInterpretation", "MONOCHROME2")
    ).startswith("MONOCHROME"):
        return "color images"
    return ""


def element_values(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element as texts, none where it is absent."""
    value = dataset.get(keyword)
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(v) for v in value]


def choose_series(infos: Sequence[SeriesInfo], series: str | int | None, folder: Path) -> SeriesInfo:
    """The series that is meant; raises ImageReadError, listing all, where that is not clear."""
    listing = "".join(f"\n  {info}" for info in infos)
    if series is None:
        images = [info for info in infos if info.is_image]
        if not images:
            raise ImageReadError(f"{folder}: holds no CT, MR or PET image series:{listing}")
        if len(images) > 1:
            raise ImageReadError(
                f"{folder}: holds {len(images)} image series: choose one by its number, UID or description, or give "
                f"one of its files:{listing}"
            )
        return images[0]
    matches = _matching(infos, str(series).strip())
    if not matches:
        raise ImageReadError(f"{folder}: no series '{series}'; it holds:{listing}")
    usable = [info for info in matches if info.is_image] or matches
    if len(usable) > 1:
        raise ImageReadError(f"{folder}: '{series}' fits {len(usable)} series: choose one by its UID:{listing}")
    if usable[0].refusal:
        raise ImageReadError(f"{folder}, {short_name(usable[0])}: {usable[0].refusal}; a CT, MR or PET image is needed")
    return usable[0]


def _matching(infos: Sequence[SeriesInfo], text: str) -> list[SeriesInfo]:
    """The series that fit by the strictest rule by which any fits."""
    if not text:
        return []
    folded = text.casefold()
    end = text.lstrip(".")
    rules = (
        lambda info: info.uid == text,
        lambda info: info.number is not None and text.isdecimal() and info.number == int(text),
        lambda info: info.description.casefold() == folded,
        lambda info: folded in info.description.casefold(),
        lambda info: len(end) >= 4 and info.uid.endswith(end),
    )
    return next((found for rule in rules if (found := [info for info in infos if rule(info)])), [])


def short_name(info: SeriesInfo) -> str:
    """Number and description, for messages."""
    number = "without number" if info.number is None else str(info.number)
    return f"series {number}" + (f' "{info.description}"' if info.description else "")
