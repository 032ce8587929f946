"""Soundness of NRRD, NIfTI and MetaImage files, checked before ITK reads them.

ITK reads some broken files without a word: a truncated NIfTI is filled up with zeros and its
voxels that are not finite become 0, a damaged compressed NRRD or MetaImage gives damaged voxels,
a spacing of 0 or NaN in a NIfTI header becomes 1, a negative one flips an axis, a sheared sform
is replaced by the qform. On such images values or distances would be wrong, so the header's
numbers and the voxel data are checked here; the reading itself is left to ITK.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .errors import ImageReadError

#: Axes may lean by this angle from right angles: far above the rounding of a header's
#: numbers (float32, or decimals of DICOM), far below any gantry tilt. At 0.1 degrees the far
#: end of a 300 mm stack is 0.5 mm off. No published source; user-set.
MAX_SHEAR_DEGREES = 0.1

#: How far sizes that a NIfTI header states twice (pixdim and sform) may differ; float32
#: rounds to 1e-7. No published source; user-set.
_SCALE_TOLERANCE = 1e-3

_CHUNK_BYTES = 1 << 20
_STANDARD_ERROR = 2

#: Bytes of a voxel's number by the name that MetaImage gives its type.
_METAIMAGE_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 4,
    "MET_ULONG": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}


def volume_suffix(path: Path) -> str:
    """The suffix, in lower case, that tells the file's format; "" for none that is read here."""
    name = path.name.lower()
    return next((suffix for suffix in _CHECKS if name.endswith(suffix)), "")


def check_volume_file(path: Path) -> None:
    """Raise ImageReadError, naming the file, where its header or its voxel data is unsound.

    `path` has one of the suffixes .nrrd, .nhdr, .nii, .nii.gz, .mha, .mhd.
    """
    try:
        _CHECKS[volume_suffix(path)](path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageReadError(f"{path}: the compressed voxel data is damaged or cut off: copy the file anew") from error
    except OSError as error:
        raise ImageReadError(f"{path}: cannot be read ({error.strerror or error})") from error


def shear_degrees(axes: npt.ArrayLike) -> float:
    """The largest departure from right angles, in degrees, between the columns of `axes` (3, 3)."""
    columns = np.asarray(axes, dtype=np.float64)
    unit = columns / np.linalg.norm(columns, axis=0)
    cosines = (unit.T @ unit)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(np.clip(np.abs(cosines).max(), 0.0, 1.0))))


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep the warnings of ITK, and of the libraries in it, off the terminal for one call of ITK.

    What is wrong with a file is said here, in one line. The libraries for HDF5, NIfTI and MetaImage
    write to the standard error of the process, past ITK and Python; so that goes nowhere meanwhile.
    """
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with ExitStack() as restored:
        restored.callback(sitk.ProcessObject.SetGlobalWarningDisplay, shown)
        with suppress(OSError):  # an application without a terminal may have no standard error
            kept = os.dup(_STANDARD_ERROR)
            restored.callback(os.close, kept)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), _STANDARD_ERROR)
            restored.callback(os.dup2, kept, _STANDARD_ERROR)
        yield


# --- NIfTI ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _NiftiLayout:
    """Where a version of NIfTI keeps its fields: byte offsets and struct codes (nifti1.h, nifti2.h)."""

    header_bytes: int
    magic: tuple[int, bytes]
    dim: tuple[int, str]
    datatype_and_bitpix: tuple[int, str]
    pixdim: tuple[int, str]
    vox_offset: tuple[int, str]
    codes: tuple[int, str]
    quaternion_and_offset: tuple[int, str]
    sform: tuple[int, str]


_NIFTI_1 = _NiftiLayout(
    348, (344, b"n+1"), (40, "8h"), (70, "2h"), (76, "8f"), (108, "f"), (252, "2h"), (256, "6f"), (280, "12f")
)
_NIFTI_2 = _NiftiLayout(
    540, (4, b"n+2"), (16, "8q"), (12, "2h"), (104, "8d"), (168, "q"), (344, "2i"), (352, "6d"), (400, "12d")
)

#: The types of voxels that are floating-point numbers (nifti1.h), for numpy.
_NIFTI_FLOATS = {16: "f4", 64: "f8"}


def _check_nifti(path: Path) -> None:
    with _open_maybe_gzip(path) as stream:
        header = stream.read(_NIFTI_2.header_bytes)
        field = _nifti_fields(path, header)
        layout = field.layout
        dim, pixdim = field(layout.dim), field(layout.pixdim)
        if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
            raise ImageReadError(f"{path}: the NIfTI header states impossible sizes {dim[1:]}")
        _require_spacing(path, pixdim[1 : min(dim[0], 3) + 1])
        _check_nifti_axes(path, field)
        voxels = math.prod(int(n) for n in dim[1 : dim[0] + 1])
        datatype, bitpix = field(layout.datatype_and_bitpix)
        start = max(int(field(layout.vox_offset)[0]), layout.header_bytes)
        expected = start + voxels * (int(bitpix) // 8)
        stream.seek(start)
        found = start + _count_nifti_bytes(path, stream, _NIFTI_FLOATS.get(datatype), field.order)
        _require_bytes(path, found, expected)


def _count_nifti_bytes(path: Path, stream: BinaryIO, float_code: str | None, order: str) -> int:
    """Bytes of voxel data to the end of the file; raises ImageReadError where a number is not finite."""
    found = bad = 0
    for chunk in _chunks(stream):
        found += len(chunk)
        if float_code is not None:
            kind = np.dtype(order + float_code)
            bad += int(np.count_nonzero(~np.isfinite(np.frombuffer(chunk, kind, len(chunk) // kind.itemsize))))
    if bad:
        raise ImageReadError(f"{path}: {bad} voxels are not finite numbers (NaN or infinite): replace them first")
    return found


class _NiftiFields:
    """Reads fields of a NIfTI header in its own byte order."""

    def __init__(self, header: bytes, layout: _NiftiLayout, order: str) -> None:
        self._header, self.order, self.layout = header, order, layout

    def __call__(self, field: tuple[int, str]) -> tuple[Any, ...]:
        offset, code = field
        return struct.unpack_from(self.order + code, self._header, offset)


def _nifti_fields(path: Path, header: bytes) -> _NiftiFields:
    for layout in (_NIFTI_1, _NIFTI_2):
        for order in "<>":
            if len(header) >= layout.header_bytes and struct.unpack_from(order + "i", header)[0] == layout.header_bytes:
                offset, magic = layout.magic
                if not header.startswith(magic, offset):
                    raise ImageReadError(
                        f"{path}: no NIfTI file in one piece but Analyze, which does not say where left and right are, "
                        "or a header alone: convert it first"
                    )
                return _NiftiFields(header, layout, order)
    raise ImageReadError(f"{path}: not a NIfTI file (its header is cut off or of another kind)")


def _check_nifti_axes(path: Path, field: _NiftiFields) -> None:
    """The header's statements of where the voxels lie must be sound and agree with each other."""
    qform_code, sform_code = field(field.layout.codes)
    if qform_code <= 0 and sform_code <= 0:
        raise ImageReadError(
            f"{path}: the NIfTI header does not say how the image lies (qform and sform codes are 0), so left and "
            "right are unknown: set its orientation first"
        )
    placements = []
    if qform_code > 0:
        placements.append(_nifti_qform(path, field))
    if sform_code > 0:
        placements.append(_nifti_sform(path, field))
    if len(placements) == 2:
        dim, spacing = field(field.layout.dim), field(field.layout.pixdim)[1:4]
        corners = np.array(np.meshgrid(*[(0, max(n - 1, 0)) for n in dim[1:4]], [1.0])).reshape(4, -1)
        offset_mm = np.abs((placements[0] - placements[1]) @ corners).max()
        if offset_mm > 0.5 * min(spacing):
            raise ImageReadError(
                f"{path}: the NIfTI header places the image twice, {offset_mm:.3g} mm apart (qform and sform): "
                "make both alike first"
            )


def _nifti_sform(path: Path, field: _NiftiFields) -> npt.NDArray[np.float64]:
    sform = np.array(field(field.layout.sform)).reshape(3, 4)
    spacing = np.array(field(field.layout.pixdim)[1:4])
    scale = np.linalg.norm(sform[:, :3], axis=0)
    if not np.isfinite(sform).all() or scale.min() <= 0:
        raise ImageReadError(f"{path}: the axes in the NIfTI header (sform) are not finite or of no length")
    shear = shear_degrees(sform[:, :3])
    if shear > MAX_SHEAR_DEGREES:
        raise ImageReadError(
            f"{path}: the axes of the image are sheared by {shear:.2f} degrees (sform): resample it to a "
            "right-angled grid first"
        )
    if np.abs(scale / spacing - 1.0).max() > _SCALE_TOLERANCE:
        raise ImageReadError(
            f"{path}: the NIfTI header states the voxel size twice and differently: pixdim {_listed(spacing)} mm, "
            f"sform {_listed(scale)} mm"
        )
    return sform


def _nifti_qform(path: Path, field: _NiftiFields) -> npt.NDArray[np.float64]:
    """The (3, 4) matrix of the quaternion (b, c, d) and offset; pixdim[0] is the sign of axis K (nifti1.h)."""
    values = np.array(field(field.layout.quaternion_and_offset))
    pixdim = field(field.layout.pixdim)
    b, c, d = values[:3]
    squared = float(b * b + c * c + d * d)
    if not np.isfinite(values).all() or squared > 1.0 + _SCALE_TOLERANCE:
        raise ImageReadError(f"{path}: the orientation in the NIfTI header (qform) is not a rotation")
    a = math.sqrt(max(0.0, 1.0 - squared))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sign = -1.0 if pixdim[0] < 0 else 1.0
    return np.column_stack([rotation * (np.array(pixdim[1:4]) * (1.0, 1.0, sign)), values[3:]])


# --- MetaImage ------------------------------------------------------------------------------


def _check_metaimage(path: Path) -> None:
    header, data_start = _metaimage_header(path)
    if "ElementDataFile" not in header or "DimSize" not in header:
        raise ImageReadError(f"{path}: not a MetaImage file (no DimSize or ElementDataFile)")
    for key in ("ElementSpacing", "ElementSize"):
        if key in header:
            _require_spacing(path, _numbers(path, key, header[key]))
    for key in ("Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation"):
        if key in header and not np.isfinite(_numbers(path, key, header[key])).all():
            raise ImageReadError(f"{path}: {key} in the header is not finite ({header[key]})")
    data_file = header["ElementDataFile"]
    if data_file.upper() == "LOCAL":
        _check_metaimage_data(path, header, path, data_start)
    elif data_file.upper() != "LIST" and "%" not in data_file:
        data_path = path.parent / data_file
        if not data_path.is_file():
            raise ImageReadError(f"{path}: its voxel file '{data_file}' is not beside it")
        _check_metaimage_data(path, header, data_path, max(int(header.get("HeaderSize", "0")), 0))


def _metaimage_header(path: Path) -> tuple[dict[str, str], int]:
    """The fields and the byte where the header ends; ElementDataFile is its last line by definition."""
    header: dict[str, str] = {}
    with path.open("rb") as stream:
        for line in _header_lines(stream):
            key, _, value = line.partition("=")
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        return header, stream.tell()


def _check_metaimage_data(path: Path, header: dict[str, str], data_path: Path, start: int) -> None:
    if header.get("CompressedData", "False").lower() == "true":
        with data_path.open("rb") as stream:
            stream.seek(start)
            inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip, told by its header
            found = sum(len(inflater.decompress(chunk)) for chunk in _chunks(stream))
        if not inflater.eof:
            raise EOFError(str(data_path))
    else:
        found = data_path.stat().st_size - start
    size = _numbers(path, "DimSize", header["DimSize"])
    channels = int(header.get("ElementNumberOfChannels", "1"))
    element_bytes = _METAIMAGE_BYTES.get(header.get("ElementType", "").removesuffix("_ARRAY"), 0)
    _require_bytes(path, found, math.prod(int(n) for n in size) * channels * element_bytes)


# --- NRRD -----------------------------------------------------------------------------------


def _check_nrrd(path: Path) -> None:
    """Teem itself refuses short and non-finite headers; left are spacings and compressed data."""
    with path.open("rb") as stream:
        if not stream.readline().startswith(b"NRRD"):
            raise ImageReadError(f"{path}: not an NRRD file")
        header: dict[str, str] = {}
        for line in _header_lines(stream):
            if not line:
                break
            key, _, value = line.partition(":")
            header[key.strip().lower()] = value.strip()
        if "spacings" in header:
            spacings = _numbers(path, "spacings", header["spacings"])
            _require_spacing(path, [s for s in spacings if not math.isnan(s)])
        directions = header.get("space directions", "")
        if "none" in directions and directions.count("(") < 3:
            raise ImageReadError(f"{path}: an axis of the image has no size in mm (space directions: {directions})")
        data_file = header.get("data file", header.get("datafile"))
        if header.get("encoding", "raw").lower() not in ("gzip", "gz"):
            return
        if data_file is None:
            _count_bytes(gzip.GzipFile(fileobj=stream))
        elif (path.parent / data_file).is_file() and int(header.get("byte skip", header.get("byteskip", "0"))) == 0:
            with gzip.open(path.parent / data_file) as voxels:
                _count_bytes(voxels)


# --- shared ---------------------------------------------------------------------------------


def _open_maybe_gzip(path: Path) -> BinaryIO:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")  # type: ignore[return-value]


def _header_lines(stream: BinaryIO) -> Iterator[str]:
    """Lines of a text header; ends after more lines or longer ones than any header has."""
    for _ in range(10_000):
        line = stream.readline(1 << 16)
        if not line:
            return
        try:
            yield line.decode("utf-8").strip()
        except UnicodeDecodeError:
            yield line.decode("latin-1").strip()


def _chunks(stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _count_bytes(stream: BinaryIO | gzip.GzipFile) -> int:
    """Read to the end, which makes gzip verify its checksum, and return the bytes read."""
    return sum(len(chunk) for chunk in _chunks(stream))


def _numbers(path: Path, key: str, text: str) -> list[float]:
    try:
        return [float(value) for value in text.split()]
    except ValueError as error:
        raise ImageReadError(f"{path}: {key} in the header is not a list of numbers ({text[:80]})") from error


def _require_spacing(path: Path, spacing_mm: Sequence[float]) -> None:
    if not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise ImageReadError(
            f"{path}: the voxel size in the header is {_listed(spacing_mm)} mm; finite sizes above 0 are needed"
        )


def _require_bytes(path: Path, found: int, expected: int) -> None:
    if found < expected:
        raise ImageReadError(
            f"{path}: the file is cut off: {found} of {expected} bytes are there: copy or export it anew"
        )


def _listed(values: Sequence[float] | npt.NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


_CHECKS: dict[str, Callable[[Path], None]] = {
    ".nrrd": _check_nrrd,
    ".nhdr": _check_nrrd,
    ".nii": _check_nifti,
    ".nii.gz": _check_nifti,
    ".mha": _check_metaimage,
    ".mhd": _check_metaimage,
}
