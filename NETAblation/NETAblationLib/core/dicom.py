"""DICOM folders: one CT, MR or PET series as a proved 3D image.

Slices are ordered by their place in space, never by name or number. What cannot become one sound
box of voxels is refused with the reason: see :mod:`NETAblationLib.core.slices`; for finding the
series :mod:`~NETAblationLib.core.dicom_headers`, for their values
:mod:`~NETAblationLib.core.dicom_pixels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .dicom_headers import (
    SLICE_CLASSES,
    Header,
    SeriesInfo,
    choose_series,
    describe_series,
    element_values,
    frame_count,
    group_by_series,
    object_refusal,
    patient_key_of,
    read_dataset,
    read_header,
    scan_files,
    scan_folder,
    short_name,
)
from .dicom_pixels import gives_integers, naming_file, rescale_of, rescaled, stored_pixels
from .errors import ImageReadError
from .progress import ProgressCallback, silent, span
from .slices import SlicePlane, SliceStack, stack_slices

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: What must be the same in all slices of one image, and how to call it.
_COMMON_KEYWORDS = {
    "SOPClassUID": "kinds of object",
    "FrameOfReferenceUID": "frames of reference",
    "Units": "units",
}

_SCANNING_SHARE = 0.2


def list_series(folder: str | Path, *, progress: ProgressCallback = silent) -> list[SeriesInfo]:
    """All series in a folder and its sub-folders, by number; those that are no images too.

    Files that are not DICOM are passed over. Raises ImageReadError for a folder that does not
    exist or holds no DICOM file, and for a damaged DICOM file.
    """
    return [describe_series(headers) for headers in group_by_series(scan_folder(Path(folder), progress)).values()]


def read_series(
    folder: str | Path, *, series: str | int | None = None, progress: ProgressCallback = silent
) -> sitk.Image:
    """Read one series of a folder, searched with its sub-folders.

    `series` is the SeriesInstanceUID, the series number, the description or a part of it, or
    the end of the UID (4 characters at least); it may be left out where only one series is an
    image. Raises ImageReadError where the choice is not clear (the message lists the series)
    or the series is not one sound image.
    """
    headers, name = _chosen_group(Path(folder), series, None, span(progress, 0.0, _SCANNING_SHARE))
    return _read_group(headers, name, span(progress, _SCANNING_SHARE, 1.0))


def read_series_with_headers(
    folder: str | Path, modality: str, *, series: str | int | None = None, progress: ProgressCallback = silent
) -> tuple[sitk.Image, tuple[Dataset, ...], str]:
    """Read one series of single slices with the whole header of each slice, in the order of the slices, and its name.

    As :func:`read_series`; where `series` is left out and only one image series is of the DICOM
    `modality` ("PT"), that one is meant. The headers identify the patient. Raises ImageReadError
    also for a series of another modality and for a multi-frame image.
    """
    headers, name = _chosen_group(Path(folder), series, modality, span(progress, 0.0, _SCANNING_SHARE))
    kind = str(headers[0].dataset.get("Modality") or "of unknown modality")
    if kind != modality:
        raise ImageReadError(f"{name}: its modality is {kind} where {modality} is needed")
    if headers[0].sop_class not in SLICE_CLASSES:
        raise ImageReadError(f"{name}: a multi-frame image, whose headers are not read here: export single slices")
    image = _read_group(headers, name, span(progress, _SCANNING_SHARE, 1.0))
    order = stack_slices([_plane(header) for header in headers], name).order
    datasets = [read_dataset(headers[index].path, None, stop_before_pixels=True) for index in order]
    return image, tuple(datasets), name


def _chosen_group(
    folder: Path, series: str | int | None, modality: str | None, progress: ProgressCallback
) -> tuple[list[Header], str]:
    """The files of the series that is meant, and how messages call it."""
    groups = group_by_series(scan_folder(folder, progress))
    infos = [describe_series(headers) for headers in groups.values()]
    fitting = [info for info in infos if info.is_image and info.modality == modality]
    if modality is not None and series is None and not fitting:
        listing = "".join(f"\n  {info}" for info in infos)
        raise ImageReadError(f"{folder}: holds no image series of modality {modality}:{listing}")
    chosen = fitting[0] if series is None and len(fitting) == 1 else choose_series(infos, series, folder)
    return groups[chosen.uid], f"{folder}, {short_name(chosen)}"


def read_series_of_file(path: str | Path, *, progress: ProgressCallback = silent) -> sitk.Image:
    """Read the whole series that one DICOM file belongs to, from the folder of the file.

    As 3D Slicer does: a slice stands for its series. Sub-folders are not searched.
    """
    path = Path(path)
    own = read_header(path, path.parent)
    refusal = object_refusal(own.dataset)
    if refusal:
        raise ImageReadError(f"{path}: {refusal}; a CT, MR or PET image is needed")
    headers = [own]
    if own.sop_class in SLICE_CLASSES:
        files = sorted(file for file in path.parent.iterdir() if file.is_file())
        found = scan_files(files, path.parent, span(progress, 0.0, _SCANNING_SHARE))
        headers = [header for header in found if header.series_uid == own.series_uid]
    info = describe_series(headers)
    name = f"{path}, {short_name(info)}"
    if info.refusal:
        raise ImageReadError(f"{name}: {info.refusal}")
    return _read_group(headers, name, span(progress, _SCANNING_SHARE, 1.0))


def _read_group(headers: Sequence[Header], name: str, progress: ProgressCallback) -> sitk.Image:
    """Read the files of one series as one image; `name` begins the messages."""
    for header in headers:
        refusal = object_refusal(header.dataset)
        if refusal:
            raise ImageReadError(f"{name}: mixed series: {header.name} is {refusal}: take it out of the series")
    for keyword, what in _COMMON_KEYWORDS.items():
        values = {str(header.dataset[keyword].value): header.name for header in headers if header.dataset.get(keyword)}
        if len(values) > 1:
            raise ImageReadError(
                f"{name}: mixed series: {len(values)} {what} in one series ({' and '.join(list(values.values())[:2])})"
            )
    if len({patient_key_of(header.dataset) for header in headers}) > 1:
        raise ImageReadError(f"{name}: mixed series: its files belong to different patients")
    if headers[0].sop_class in SLICE_CLASSES:
        return _read_slices(headers, name, progress)
    if len(headers) > 1:
        raise ImageReadError(f"{name}: {len(headers)} multi-frame images in one series: give the file of one of them")
    return _read_stack(headers[0], name, progress)


def _read_slices(headers: Sequence[Header], name: str, progress: ProgressCallback) -> sitk.Image:
    stack = stack_slices([_plane(header) for header in headers], name)
    rescales = [rescale_of(header, header.dataset) for header in headers]
    if len({rescale is None for rescale in rescales}) > 1:
        raise ImageReadError(f"{name}: mixed series: some slices have a rescale slope and some have none")
    as_integers = gives_integers(rescales)

    def values() -> Iterator[npt.NDArray[Any]]:
        for done, index in enumerate(stack.order):
            progress(done / len(headers), "reading slices")
            header = headers[index]
            with naming_file(header):
                pixels = stored_pixels(header.path)
            if pixels.shape[0] != 1:
                raise ImageReadError(f"{header.path}: {pixels.shape[0]} frames where one slice is stated")
            yield rescaled(pixels[0], rescales[index], as_integers)

    return _image(values(), stack, name)


def _read_stack(header: Header, name: str, progress: ProgressCallback) -> sitk.Image:
    """An enhanced multi-frame file: each frame is placed and rescaled by its own functional groups."""
    dataset = read_dataset(header.path, None, stop_before_pixels=True)
    frames = _frame_groups(header, dataset)
    stack = stack_slices([_frame_plane(header, frames, k) for k in range(len(frames))], name)
    rescales = [rescale_of(header, groups.get("PixelValueTransformationSequence")) for groups in frames]
    progress(0.1, "reading frames")
    with naming_file(header):
        pixels = stored_pixels(header.path)
    if len(pixels) != len(frames):
        raise ImageReadError(f"{name}: {len(pixels)} frames where its header describes {len(frames)}")
    as_integers = gives_integers(rescales)
    return _image((rescaled(pixels[k], rescales[k], as_integers) for k in stack.order), stack, name)


def _plane(header: Header) -> SlicePlane:
    dataset = header.dataset
    axes = np.array(header.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    row_spacing_mm, column_spacing_mm = header.numbers("PixelSpacing", 2)
    is_original = "ORIGINAL" in element_values(dataset, "ImageType")
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


def _frame_groups(header: Header, dataset: Dataset) -> list[dict[str, Dataset]]:
    """For each frame its functional groups (first items) by keyword: its own, else the shared ones."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(per_frame) != frame_count(dataset):
        raise ImageReadError(f"{header.path}: a multi-frame image that does not say where its frames lie")
    common = _first_items(shared[0]) if len(shared) else {}
    frames = [{**common, **_first_items(own)} for own in per_frame]
    for groups in [{"file": dataset}, *frames]:
        for group in groups.values():
            if str(group.get("PixelPresentation", "MONOCHROME")) not in ("MONOCHROME", "MIXED"):
                kind = " ".join(element_values(header.dataset, "ImageType"))
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


def _frame_plane(header: Header, frames: Sequence[dict[str, Dataset]], index: int) -> SlicePlane:
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
    assert volume is not None  # a stack has two slices at least
    image = sitk.GetImageFromArray(volume)
    image.SetOrigin(stack.origin_mm)
    image.SetSpacing(stack.spacing_mm)
    image.SetDirection(stack.direction)
    return image


def _integer_type(current: np.dtype[Any], values: npt.NDArray[Any]) -> np.dtype[Any]:
    low, high = int(values.min()), int(values.max())
    candidates: list[np.dtype[Any]] = [np.dtype(kind) for kind in (np.int16, np.int32, np.int64)]
    fitting = next(kind for kind in candidates if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return max(current, fitting, key=lambda kind: kind.itemsize)
