"""Synthetic DICOM series whose values and places are known, sound and unsound ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid

CT, MR, PET = (UID(f"1.2.840.10008.5.1.4.1.1.{end}") for end in ("2", "4", "128"))
ENHANCED_CT = UID("1.2.840.10008.5.1.4.1.1.2.1")
ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4.1")
SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")
DOSE_REPORT = UID("1.2.840.10008.5.1.4.1.1.88.67")
SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.4")
DICOMDIR = UID("1.2.840.10008.1.3.10")

_MODALITIES = {CT: "CT", MR: "MR", PET: "PT", ENHANCED_CT: "CT", ENHANCED_MR: "MR", SEGMENTATION: "SEG"}


def uid(*words: object) -> str:
    """A UID that is always the same for the same words."""
    return generate_uid(entropy_srcs=[str(word) for word in words])


def ramp(size_kji: tuple[int, int, int] = (6, 5, 4), dtype: type = np.int16) -> np.ndarray:
    """Stored pixels that differ everywhere and on every slice, from 0 up."""
    return np.arange(np.prod(size_kji), dtype=dtype).reshape(size_kji)


def base(sop_class: UID = CT, series: object = 1, **elements: Any) -> Dataset:
    """An object with its identity but without pixels; `elements` are set by keyword, None removes one."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.Modality = _MODALITIES.get(sop_class, "OT")
    dataset.SeriesInstanceUID = uid("series", series)
    dataset.StudyInstanceUID = uid("study")
    dataset.FrameOfReferenceUID = uid("frame")
    dataset.PatientID = "P-1"
    dataset.PatientName = "Secret^Name"
    if isinstance(series, int):
        dataset.SeriesNumber = series
    for keyword, value in elements.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    return dataset


def set_pixels(dataset: Dataset, pixels: np.ndarray, bits_stored: int | None = None) -> None:
    """Put integer pixels, (rows, columns) or (frames, rows, columns), into an object."""
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    if "PhotometricInterpretation" not in dataset:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)


def save(dataset: Dataset, path: Path, *, rle: bool = False) -> Path:
    """Write an object, with a preamble, into a folder that is made where needed."""
    dataset.SOPInstanceUID = uid("instance", path)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if rle:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def slice_positions(
    count: int,
    step_mm: float = 2.5,
    origin: Sequence[float] = (-20.0, 30.0, -110.0),
    normal: Sequence[float] = (0, 0, 1),
) -> np.ndarray:
    """First-pixel positions (count, 3), LPS, evenly along `normal`."""
    return np.asarray(origin, float) + np.arange(count)[:, None] * step_mm * np.asarray(normal, float)


def write_series(
    folder: Path,
    stored: np.ndarray,
    *,
    sop_class: UID = CT,
    series: object = 1,
    positions: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    spacing_rows_columns_mm: tuple[float, float] = (0.7, 0.9),
    names: Sequence[str] | None = None,
    per_slice: Sequence[dict[str, Any]] | None = None,
    bits_stored: int | None = None,
    rle: bool = False,
    **elements: Any,
) -> list[Path]:
    """Write one file per slice of `stored` (K, J, I) and return the paths in that order.

    `axes` (2, 3) are the directions of growing column and row index, `positions` (K, 3) the
    first pixels, both LPS; `per_slice` sets elements of single slices, `elements` of all. A private
    element of `per_slice` is (group, element): (VR, value).
    """
    positions = slice_positions(len(stored)) if positions is None else positions
    axes = np.array([[1.0, 0, 0], [0, 1, 0]]) if axes is None else axes
    names = [f"slice{k:03d}.dcm" for k in range(len(stored))] if names is None else names
    paths = []
    for k, pixels in enumerate(stored):
        dataset = base(sop_class, series)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = [_decimal(v) for v in positions[k]]
        dataset.ImageOrientationPatient = [_decimal(v) for v in axes.ravel()]
        dataset.PixelSpacing = list(spacing_rows_columns_mm)
        if sop_class == CT:
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        for keyword, value in {**elements, **(per_slice[k] if per_slice else {})}.items():
            if isinstance(keyword, tuple):
                dataset.add_new(keyword, *value)
            elif value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        set_pixels(dataset, pixels, bits_stored)
        paths.append(save(dataset, folder / names[k], rle=rle))
    return paths


def pet_elements(*, tracer: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What a PET states for its SUV: 80 kg, 300 MBq of a tracer of 4000 s half-life, 4000 s before the scan.

    `changes` and `tracer` set elements, None leaves one out.
    """
    stated = {
        "RadionuclideTotalDose": 3e8,
        "RadionuclideHalfLife": 4000,
        "RadiopharmaceuticalStartDateTime": "20260304101320.000000",
        **(tracer or {}),
    }
    elements = {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "SeriesDate": "20260304",
        "SeriesTime": "112000.000000",
        "AcquisitionDate": "20260304",
        "AcquisitionTime": "112000.000000",
        "PatientWeight": 80,
        "PatientSize": 1.8,
        "PatientSex": "M",
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "RadiopharmaceuticalInformationSequence": [_item(**{k: v for k, v in stated.items() if v is not None})],
        **changes,
    }
    return {keyword: value for keyword, value in elements.items() if value is not None}


def enhanced(
    stored: np.ndarray,
    positions: np.ndarray,
    *,
    sop_class: UID = ENHANCED_CT,
    axes: Sequence[float] = (1, 0, 0, 0, 1, 0),
    rescales: Sequence[tuple[float, float]] = ((1, -1024),),
    volumetric: str = "VOLUME",
    **elements: Any,
) -> Dataset:
    """An enhanced multi-frame object; one rescale is shared, several stand with their frames."""
    dataset = base(sop_class, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], **elements)
    shared = _item(
        PlaneOrientationSequence=[_item(ImageOrientationPatient=list(axes))],
        PixelMeasuresSequence=[_item(PixelSpacing=[0.7, 0.9], SliceThickness=5)],
        CTImageFrameTypeSequence=[_item(PixelPresentation="MONOCHROME", VolumetricProperties=volumetric)],
    )
    frames = [_item(PlanePositionSequence=[_item(ImagePositionPatient=[_decimal(v) for v in p])]) for p in positions]
    for k, frame in enumerate(frames if len(rescales) > 1 else [shared]):
        slope, intercept = rescales[k]
        frame.PixelValueTransformationSequence = [
            _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
        ]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    set_pixels(dataset, stored)
    return dataset


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _decimal(value: float) -> str:
    """A decimal string of DICOM: 16 characters at most."""
    return f"{value:.10g}"[:16]
