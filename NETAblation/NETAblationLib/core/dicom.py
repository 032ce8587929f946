"""DICOM folders: which series they hold, and one CT, MR or PET series as a proved 3D image.

Files are told by their content, whatever their names and sub-folders; slices are ordered by
their place in space, never by name or number. Values are the stored pixels times the rescale
slope plus the intercept *of their own slice* (a PET has another slope on each), whatever the
photometric interpretation: MONOCHROME1 says how to show a value, not what it means. Pixels
are taken from the file itself (native and RLE, by pydicom) or decompressed by ITK's GDCM
without its rescaling, which inverts MONOCHROME1 values.

What cannot become one sound box of voxels is refused with the reason: see
:mod:`NETAblationLib.core.slices`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .errors import ImageReadError, NETAblationError
from .progress import ProgressCallback, silent, span
from .slices import SlicePlane, SliceStack, stack_slices

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: SOP classes that hold one slice per file (DICOM PS3.4 table B.5-1).
_SLICE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PET",
}

#: SOP classes that hold a whole stack per file: enhanced, and legacy converted enhanced.
_STACK_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.130": "PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "PET",
}

_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MULTI_FRAME_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"

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

_PIXEL_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)

#: What must be the same in all slices of one image, and how to call it.
_COMMON_KEYWORDS = {
    "SOPClassUID": "kinds of object",
    "FrameOfReferenceUID": "frames of reference",
    "Units": "units",
}

_SCANNING_SHARE = 0.2


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


def list_series(folder: str | Path, *, progress: ProgressCallback = silent) -> list[SeriesInfo]:
    """All series in a folder and its sub-folders, by number; those that are no images too.

    Files that are not DICOM are passed over. Raises ImageReadError for a folder that does not
    exist or holds no DICOM file, and for a damaged DICOM file.
    """
    return [_describe(headers) for headers in _group(_scan_folder(Path(folder), progress)).values()]


def read_series(
    folder: str | Path, *, series: str | int | None = None, progress: ProgressCallback = silent
) -> sitk.Image:
    """Read one series of a folder, searched with its sub-folders.

    `series` is the SeriesInstanceUID, the series number, the description or a part of it, or
    the end of the UID (4 characters at least); it may be left out where only one series is an
    image. Raises ImageReadError where the choice is not clear (the message lists the series)
    or the series is not one sound image.
    """
    folder = Path(folder)
    groups = _group(_scan_folder(folder, span(progress, 0.0, _SCANNING_SHARE)))
    chosen = _choose([_describe(headers) for headers in groups.values()], series, folder)
    return _read_group(groups[chosen.uid], f"{folder}, {_short(chosen)}", span(progress, _SCANNING_SHARE, 1.0))


def read_series_of_file(path: str | Path, *, progress: ProgressCallback = silent) -> sitk.Image:
    """Read the whole series that one DICOM file belongs to, from the folder of the file.

    As 3D Slicer does: a slice stands for its series. Sub-folders are not searched.
    """
    path = Path(path)
    own = _read_header(path, path.parent)
    refusal = _object_refusal(own.dataset)
    if refusal:
        raise ImageReadError(f"{path}: {refusal}; a CT, MR or PET image is needed")
    headers = [own]
    if own.sop_class in _SLICE_CLASSES:
        files = sorted(file for file in path.parent.iterdir() if file.is_file())
        found = _scan_files(files, path.parent, span(progress, 0.0, _SCANNING_SHARE))
        headers = [header for header in found if header.series_uid == own.series_uid]
    info = _describe(headers)
    name = f"{path}, {_short(info)}"
    if info.refusal:
        raise ImageReadError(f"{name}: {info.refusal}")
    return _read_group(headers, name, span(progress, _SCANNING_SHARE, 1.0))


# --- finding and choosing -------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    """The header of one file; `name` is the file's path below the folder searched."""

    path: Path
    name: str
    dataset: Dataset

    @property
    def series_uid(self) -> str:
        return str(self.dataset.get("SeriesInstanceUID", ""))

    @property
    def sop_class(self) -> str:
        return _sop_class(self.dataset)

    def numbers(self, keyword: str, count: int, dataset: Dataset | None = None) -> list[float]:
        """The `count` numbers of an element; raises ImageReadError where they are not there."""
        value = (self.dataset if dataset is None else dataset).get(keyword)
        try:
            values = [float(v) for v in (value if count > 1 else [value])]
        except (TypeError, ValueError):
            values = []
        if len(values) != count:
            raise ImageReadError(f"{self.name}: its DICOM header has no sound {keyword}")
        return values


def _scan_folder(folder: Path, progress: ProgressCallback) -> list[_Header]:
    if not folder.is_dir():
        raise ImageReadError(f"{folder}: no such folder")
    files = sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)
    if not files:
        raise ImageReadError(f"{folder}: the folder is empty")
    headers = _scan_files(files, folder, progress)
    if not headers:
        raise ImageReadError(f"{folder}: none of its {len(files)} files is a DICOM image")
    return headers


def _scan_files(files: Sequence[Path], folder: Path, progress: ProgressCallback) -> list[_Header]:
    headers = []
    for done, path in enumerate(files):
        progress(done / len(files), "looking through DICOM files")
        claims_dicom = path.suffix.lower() == ".dcm" and not path.name.startswith("._")
        if is_dicom(path) or claims_dicom:
            header = _read_header(path, folder)
            if header.sop_class != _DICOMDIR_CLASS:
                headers.append(header)
    return headers


def _read_header(path: Path, folder: Path) -> _Header:
    return _Header(path, str(path.relative_to(folder)), _read_dataset(path, _HEADER_KEYWORDS, stop_before_pixels=True))


def _read_dataset(path: Path, keywords: Sequence[str] | None, *, stop_before_pixels: bool) -> Dataset:
    """Parse a DICOM file; ImageReadError whatever goes wrong, since pydicom raises of all kinds."""
    dcmread = _pydicom().dcmread
    try:
        with _quiet():
            dataset = dcmread(
                path,
                stop_before_pixels=stop_before_pixels,
                specific_tags=None if keywords is None else list(keywords),
                force=is_dicom(path),
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
def _quiet() -> Iterator[None]:
    """Keep pydicom's warnings of odd values to itself: what matters is checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sop_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None) or {}
    return str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", ""))


def _group(headers: Sequence[_Header]) -> dict[str, list[_Header]]:
    """Headers by series UID, in the order of the series numbers."""
    groups: dict[str, list[_Header]] = {}
    for header in headers:
        groups.setdefault(header.series_uid, []).append(header)

    def rank(uid: str) -> tuple[float, str]:
        number = _series_number(groups[uid][0].dataset)
        return (float("inf") if number is None else number, uid)

    return {uid: groups[uid] for uid in sorted(groups, key=rank)}


def _describe(headers: Sequence[_Header]) -> SeriesInfo:
    first = headers[0].dataset
    return SeriesInfo(
        uid=headers[0].series_uid,
        number=_series_number(first),
        description=str(first.get("SeriesDescription") or "").strip(),
        modality=str(first.get("Modality") or "unknown modality"),
        slice_count=sum(_frame_count(header.dataset) for header in headers),
        files=tuple(header.path for header in headers),
        patient_key=_patient_key(first),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID") or ""),
        refusal=_series_refusal(headers),
    )


def _series_number(dataset: Dataset) -> int | None:
    try:
        return int(dataset.get("SeriesNumber"))
    except (TypeError, ValueError):
        return None


def _frame_count(dataset: Dataset) -> int:
    try:
        return int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1


def _patient_key(dataset: Dataset) -> str:
    keywords = ["PatientID", "IssuerOfPatientID"] if dataset.get("PatientID") else ["PatientName", "PatientBirthDate"]
    identity = "\n".join(str(dataset.get(keyword) or "").strip() for keyword in keywords)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _series_refusal(headers: Sequence[_Header]) -> str:
    refusals = [_object_refusal(header.dataset) for header in headers]
    if all(refusals):
        return refusals[0]
    if not headers[0].series_uid:
        return "no SeriesInstanceUID, so it is unknown what belongs together"
    if len(headers) == 1 and _frame_count(headers[0].dataset) == 1:
        return "a single slice"
    return ""


def _object_refusal(dataset: Dataset) -> str:
    """Why an object is no slice and no stack of a CT, MR or PET image; "" where it is one."""
    sop_class = _sop_class(dataset)
    frames = _frame_count(dataset)
    if sop_class not in _SLICE_CLASSES and sop_class not in _STACK_CLASSES:
        kind = _pydicom().uid.UID(sop_class).name
        many = f", multi-frame ({frames} frames)" if frames > 1 else ""
        return f"not an image series but {kind if kind != sop_class else 'an object of a private kind'}{many}"
    if "LOCALIZER" in _values(dataset, "ImageType"):
        return "a localizer"
    if sop_class in _SLICE_CLASSES and frames > 1:
        return f"multi-frame ({frames} frames) in a class of single slices"
    if dataset.get("SamplesPerPixel", 1) != 1 or not str(
        dataset.get("PhotometricInterpretation", "MONOCHROME2")
    ).startswith("MONOCHROME"):
        return "color images"
    return ""


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(v) for v in value]


def _choose(infos: Sequence[SeriesInfo], series: str | int | None, folder: Path) -> SeriesInfo:
    listing = "".join(f"\n  {info}" for info in infos)
    if series is None:
        images = [info for info in infos if info.is_image]
        if not images:
            raise ImageReadError(f"{folder}: holds no CT, MR or PET image series:{listing}")
        if len(images) > 1:
            raise ImageReadError(
                f"{folder}: holds {len(images)} image series: choose one by its number, UID or description:{listing}"
            )
        return images[0]
    matches = _matching(infos, str(series).strip())
    if not matches:
        raise ImageReadError(f"{folder}: no series '{series}'; it holds:{listing}")
    usable = [info for info in matches if info.is_image] or matches
    if len(usable) > 1:
        raise ImageReadError(f"{folder}: '{series}' fits {len(usable)} series: choose one by its UID:{listing}")
    if usable[0].refusal:
        raise ImageReadError(f"{folder}, {_short(usable[0])}: {usable[0].refusal}; a CT, MR or PET image is needed")
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


def _short(info: SeriesInfo) -> str:
    number = "without number" if info.number is None else str(info.number)
    return f"series {number}" + (f' "{info.description}"' if info.description else "")


# --- reading --------------------------------------------------------------------------------


def _read_group(headers: Sequence[_Header], name: str, progress: ProgressCallback) -> sitk.Image:
    """Read the files of one series as one image; `name` begins the messages."""
    for header in headers:
        refusal = _object_refusal(header.dataset)
        if refusal:
            raise ImageReadError(f"{name}: mixed series: {header.name} is {refusal}: take it out of the series")
    for keyword, what in _COMMON_KEYWORDS.items():
        values = {str(header.dataset[keyword].value): header.name for header in headers if header.dataset.get(keyword)}
        if len(values) > 1:
            raise ImageReadError(
                f"{name}: mixed series: {len(values)} {what} in one series ({' and '.join(list(values.values())[:2])})"
            )
    if len({_patient_key(header.dataset) for header in headers}) > 1:
        raise ImageReadError(f"{name}: mixed series: its files belong to different patients")
    if headers[0].sop_class in _SLICE_CLASSES:
        return _read_slices(headers, name, progress)
    if len(headers) > 1:
        raise ImageReadError(f"{name}: {len(headers)} multi-frame images in one series: give the file of one of them")
    return _read_stack(headers[0], name, progress)


def _read_slices(headers: Sequence[_Header], name: str, progress: ProgressCallback) -> sitk.Image:
    stack = stack_slices([_plane(header) for header in headers], name)
    rescales = [_rescale(header, header.dataset) for header in headers]
    if len({rescale is None for rescale in rescales}) > 1:
        raise ImageReadError(f"{name}: mixed series: some slices have a rescale slope and some have none")
    as_integers = _gives_integers(rescales)

    def values() -> Iterator[npt.NDArray[Any]]:
        for done, index in enumerate(stack.order):
            progress(done / len(headers), "reading slices")
            header = headers[index]
            with _naming(header):
                pixels = _stored_pixels(header.path)
            if pixels.shape[0] != 1:
                raise ImageReadError(f"{header.path}: {pixels.shape[0]} frames where one slice is stated")
            yield _rescaled(pixels[0], rescales[index], as_integers)

    return _image(values(), stack, name)


def _read_stack(header: _Header, name: str, progress: ProgressCallback) -> sitk.Image:
    """An enhanced multi-frame file: each frame is placed and rescaled by its own functional groups."""
    dataset = _read_dataset(header.path, None, stop_before_pixels=True)
    frames = _frame_groups(header, dataset)
    stack = stack_slices([_frame_plane(header, frames, k) for k in range(len(frames))], name)
    rescales = [_rescale(header, groups.get("PixelValueTransformationSequence")) for groups in frames]
    progress(0.1, "reading frames")
    with _naming(header):
        pixels = _stored_pixels(header.path)
    if len(pixels) != len(frames):
        raise ImageReadError(f"{name}: {len(pixels)} frames where its header describes {len(frames)}")
    as_integers = _gives_integers(rescales)
    return _image((_rescaled(pixels[k], rescales[k], as_integers) for k in stack.order), stack, name)


def _plane(header: _Header) -> SlicePlane:
    dataset = header.dataset
    axes = np.array(header.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    row_spacing_mm, column_spacing_mm = header.numbers("PixelSpacing", 2)
    is_original = "ORIGINAL" in _values(dataset, "ImageType")
    tilt = header.numbers("GantryDetectorTilt", 1)[0] if is_original and dataset.get("GantryDetectorTilt") else 0.0
    return SlicePlane(
        name=header.name,
        position_mm=np.array(header.numbers("ImagePositionPatient", 3)),
        row_axis=axes[0],
        column_axis=axes[1],
        spacing_ij_mm=(column_spacing_mm, row_spacing_mm),
        size_ij=(int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)),
        gantry_tilt_degrees=tilt,
    )


def _frame_groups(header: _Header, dataset: Dataset) -> list[dict[str, Dataset]]:
    """For each frame its functional groups (first items) by keyword: its own, else the shared ones."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(per_frame) != _frame_count(dataset):
        raise ImageReadError(f"{header.path}: a multi-frame image that does not say where its frames lie")
    common = _first_items(shared[0]) if len(shared) else {}
    frames = [{**common, **_first_items(own)} for own in per_frame]
    for groups in [{"file": dataset}, *frames]:
        for group in groups.values():
            if str(group.get("PixelPresentation", "MONOCHROME")) not in ("MONOCHROME", "MIXED"):
                kind = " ".join(_values(header.dataset, "ImageType"))
                raise ImageReadError(
                    f"{header.path}: multi-frame of another kind ({kind}): its pixels stand for colors, not for values"
                )
            if str(group.get("VolumetricProperties", "VOLUME")) not in ("VOLUME", "MIXED"):
                raise ImageReadError(
                    f"{header.path}: multi-frame of another kind: its frames are "
                    f"{str(group.get('VolumetricProperties')).lower()}, not slices of a volume"
                )
    return frames


def _first_items(groups: Dataset) -> dict[str, Dataset]:
    return {element.keyword: element.value[0] for element in groups if element.VR == "SQ" and len(element.value)}


def _frame_plane(header: _Header, frames: Sequence[dict[str, Dataset]], index: int) -> SlicePlane:
    groups = frames[index]
    needed = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    missing = [keyword for keyword in needed if keyword not in groups]
    if missing:
        raise ImageReadError(f"{header.path}: frame {index + 1} does not say where it lies (no {missing[0]})")
    position, orientation, measures = (groups[keyword] for keyword in needed)
    axes = np.array(header.numbers("ImageOrientationPatient", 6, orientation)).reshape(2, 3)
    row_spacing_mm, column_spacing_mm = header.numbers("PixelSpacing", 2, measures)
    return SlicePlane(
        name=f"frame {index + 1}",
        position_mm=np.array(header.numbers("ImagePositionPatient", 3, position)),
        row_axis=axes[0],
        column_axis=axes[1],
        spacing_ij_mm=(column_spacing_mm, row_spacing_mm),
        size_ij=(int(header.dataset.get("Columns") or 0), int(header.dataset.get("Rows") or 0)),
    )


def _rescale(header: _Header, dataset: Dataset | None) -> tuple[float, float] | None:
    """Slope and intercept to the modality's values; None where the header has none (stored = value)."""
    if dataset is None or dataset.get("RescaleSlope") is None:
        if header.dataset.get("ModalityLUTSequence"):
            raise ImageReadError(f"{header.path}: its values are in a lookup table (modality LUT), which is not read")
        return None
    slope = header.numbers("RescaleSlope", 1, dataset)[0]
    intercept = (
        header.numbers("RescaleIntercept", 1, dataset)[0] if dataset.get("RescaleIntercept") is not None else 0.0
    )
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope != 0):
        raise ImageReadError(f"{header.path}: its rescale slope {slope} and intercept {intercept} make no values")
    return slope, intercept


def _gives_integers(rescales: Sequence[tuple[float, float] | None]) -> bool:
    """Whether all values of the series are whole numbers, as of nearly every CT."""
    return all(rescale is None or (rescale[0] == 1 and rescale[1] == round(rescale[1])) for rescale in rescales)


def _rescaled(stored: npt.NDArray[Any], rescale: tuple[float, float] | None, as_integers: bool) -> npt.NDArray[Any]:
    """One slice's values, as integers or as float32."""
    slope, intercept = rescale or (1.0, 0.0)
    if as_integers:
        return stored + np.int64(intercept)
    return (stored * slope + intercept).astype(np.float32)


def _image(slices: Iterator[npt.NDArray[Any]], stack: SliceStack, name: str) -> sitk.Image:
    """Put the ordered slices into the smallest of int16, int32 and int64 that holds them, or float32."""
    volume: npt.NDArray[Any] | None = None
    for k, values in enumerate(slices):
        if volume is None:
            kind = np.float32 if values.dtype.kind == "f" else np.int16
            volume = np.empty((len(stack.order), *values.shape), dtype=kind)
        if values.shape != volume.shape[1:]:
            raise ImageReadError(f"{name}: a slice has {values.shape} pixels where its header states another size")
        if volume.dtype.kind == "i":
            volume = volume.astype(_integer_type(volume.dtype, values), copy=False)
        volume[k] = values
    image = sitk.GetImageFromArray(volume)
    image.SetOrigin(stack.origin_mm)
    image.SetSpacing(stack.spacing_mm)
    image.SetDirection(stack.direction)
    return image


def _integer_type(current: np.dtype[Any], values: npt.NDArray[Any]) -> np.dtype[Any]:
    low, high = int(values.min()), int(values.max())
    candidates = [np.dtype(kind) for kind in (np.int16, np.int32, np.int64)]
    fitting = next(kind for kind in candidates if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return max(current, fitting, key=lambda kind: kind.itemsize)


# --- pixels ---------------------------------------------------------------------------------


@contextmanager
def _naming(header: _Header) -> Iterator[None]:
    """Turn whatever goes wrong with the pixels of a file into one error that names the file."""
    try:
        yield
    except ImageReadError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ImageReadError(
            f"{header.path}: its pixels cannot be read: the file is damaged, cut off or compressed in a way that is "
            f"not known here ({reason[-1][:200] if reason else type(error).__name__})"
        ) from error


def _stored_pixels(path: Path) -> npt.NDArray[Any]:
    """The stored values, (frames, rows, columns), before any rescaling."""
    dataset = _read_dataset(path, _PIXEL_KEYWORDS, stop_before_pixels=False)
    if "PixelData" not in dataset:
        raise ImageReadError(f"{path}: holds no pixels")
    syntax = dataset.file_meta.TransferSyntaxUID if "TransferSyntaxUID" in dataset.file_meta else None
    is_compressed = syntax is not None and syntax.is_encapsulated and syntax.name != "RLE Lossless"
    with _quiet():
        pixels = _decompressed(dataset) if is_compressed else dataset.pixel_array
    pixels = pixels.reshape(-1, dataset.Rows, dataset.Columns)
    return _significant_bits(pixels, dataset.BitsStored, signed=dataset.PixelRepresentation == 1)


def _decompressed(dataset: Dataset) -> npt.NDArray[Any]:
    """Decompress by GDCM: a copy of the pixels alone, so that GDCM neither rescales nor inverts them."""
    from pydicom.uid import generate_uid

    is_multi_frame = _frame_count(dataset) > 1
    dataset.SOPClassUID = _MULTI_FRAME_SECONDARY_CAPTURE if is_multi_frame else _SECONDARY_CAPTURE
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PhotometricInterpretation = "MONOCHROME2"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pixels.dcm")
        dataset.save_as(path)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        return sitk.GetArrayFromImage(reader.Execute())


def _significant_bits(pixels: npt.NDArray[Any], bits_stored: int, *, signed: bool) -> npt.NDArray[Any]:
    """The low `bits_stored` bits as numbers: the bits above may hold overlays or rubbish (PS3.5 8.1.1)."""
    if pixels.dtype.itemsize * 8 == bits_stored and (pixels.dtype.kind == "i") == signed:
        return pixels
    values = pixels.astype(np.int64) & ((1 << bits_stored) - 1)
    if signed:
        sign = 1 << (bits_stored - 1)
        values = (values ^ sign) - sign
    return values
