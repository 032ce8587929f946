"""The stored pixels of DICOM files, and their values.

Values are the stored pixels times the rescale slope plus the intercept *of their own slice* (a
PET has another slope on each), whatever the photometric interpretation: MONOCHROME1 says how to
show a value, not what it means. Pixels are taken from the file itself (native and RLE, by pydicom)
or decompressed by ITK's GDCM without its rescaling, which inverts MONOCHROME1 values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .dicom_headers import Header, frame_count, quiet_pydicom, read_dataset
from .errors import ImageReadError
from .volume_files import quiet_itk

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MULTI_FRAME_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"

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


def rescale_of(header: Header, dataset: Dataset | None) -> tuple[float, float] | None:
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


def gives_integers(rescales: Sequence[tuple[float, float] | None]) -> bool:
    """Whether all values of the series are whole numbers, as of nearly every CT."""
    return all(rescale is None or (rescale[0] == 1 and rescale[1] == round(rescale[1])) for rescale in rescales)


def rescaled(stored: npt.NDArray[Any], rescale: tuple[float, float] | None, as_integers: bool) -> npt.NDArray[Any]:
    """One slice's values, as integers or as float32."""
    slope, intercept = rescale or (1.0, 0.0)
    if as_integers:
        return stored + np.int64(intercept)
    return (stored * slope + intercept).astype(np.float32)


@contextmanager
def naming_file(header: Header) -> Iterator[None]:
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


def stored_pixels(path: Path) -> npt.NDArray[Any]:
    """The stored values, (frames, rows, columns), before any rescaling."""
    dataset = read_dataset(path, _PIXEL_KEYWORDS, stop_before_pixels=False)
    if "PixelData" not in dataset:
        raise ImageReadError(f"{path}: holds no pixels")
    syntax = dataset.file_meta.TransferSyntaxUID if "TransferSyntaxUID" in dataset.file_meta else None
    is_compressed = syntax is not None and syntax.is_encapsulated and syntax.name != "RLE Lossless"
    with quiet_pydicom():
        pixels = _decompressed(dataset) if is_compressed else dataset.pixel_array
    pixels = pixels.reshape(-1, dataset.Rows, dataset.Columns)
    return _significant_bits(pixels, dataset.BitsStored, signed=dataset.PixelRepresentation == 1)


def _decompressed(dataset: Dataset) -> npt.NDArray[Any]:
    """Decompress by GDCM: a copy of the pixels alone, so that GDCM neither rescales nor inverts them."""
    from pydicom.uid import generate_uid

    is_multi_frame = frame_count(dataset) > 1
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
        with quiet_itk():
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
