"""Transforms on disk: ITK's .h5 and .tfm, which 3D Slicer reads too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .documents import written_whole
from .errors import FormatError, GeometryError, InputError
from .volume_files import quiet_itk

SUFFIXES = (".h5", ".tfm")


def write_transform(transform: sitk.Transform, path: str | Path) -> None:
    """Write a 3D transform as ITK transform file, .h5 (HDF5, double) or .tfm (text).

    A file from fusion holds a composite of a rigid part and a displacement field and maps
    fixed to moving points, LPS, in mm. The file is replaced only once the new one is whole.
    Raises FormatError for another suffix, GeometryError for a transform that is not 3D,
    InputError for something else than a transform or where the place cannot be written.
    """
    path = Path(path)
    _require_suffix(path)
    if not isinstance(transform, sitk.Transform):
        raise InputError(f"{path}: a SimpleITK transform is needed, not a {type(transform).__name__}")
    _require_sound(transform, str(path))
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: there is no folder '{path.parent}'")
    with written_whole(path) as partial:
        try:
            with quiet_itk():
                sitk.WriteTransform(transform, str(partial))
            _read(partial)  # on a full disk ITK may write a part of it without a word
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be written ({_reason(error)}): is the disk full?") from error
        except FormatError as error:
            raise InputError(f"{path}: only a part of it could be written: is the disk full?") from error


def read_transform(path: str | Path) -> sitk.Transform:
    """Read a 3D transform of a .h5 or .tfm file.

    Raises InputError where there is no such file, FormatError for another suffix and for a
    damaged or foreign file, GeometryError for a transform that is not 3D or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    _require_suffix(path)
    transform = _read(path)
    _require_sound(transform, str(path))
    return transform


def _read(path: Path) -> sitk.Transform:
    try:
        if path.suffix.lower() == ".tfm":
            _require_whole_text(path)
        with quiet_itk():
            return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise FormatError(f"{path}: not a readable ITK transform: damaged or of another kind") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _require_whole_text(path: Path) -> None:
    """ITK reads a .tfm that is cut off, and gives its last transform other numbers or none at all."""
    lines = path.read_bytes().splitlines(keepends=True)
    if not lines or not lines[-1].startswith(b"FixedParameters:") or not lines[-1].endswith(b"\n"):
        raise FormatError(f"{path}: not a whole ITK transform: it does not end with a line of fixed parameters")


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise FormatError(f"{path}: transforms are files that end with {' or '.join(SUFFIXES)}")


def _require_sound(transform: sitk.Transform, name: str) -> None:
    if transform.GetDimension() != 3:
        raise GeometryError(f"{name}: a 3D transform is needed, this one is {transform.GetDimension()}D")
    for part in _parts(transform):
        if part.GetTransformEnum() == sitk.sitkDisplacementField:
            field = sitk.DisplacementFieldTransform(part).GetDisplacementField()
            numbers = sitk.GetArrayViewFromImage(field)
        else:
            numbers = np.array([*part.GetParameters(), *part.GetFixedParameters()])
        if not np.isfinite(numbers).all():
            raise GeometryError(f"{name}: the transform has numbers that are not finite: fuse the images again")


def _parts(transform: sitk.Transform) -> list[sitk.Transform]:
    if transform.GetTransformEnum() != sitk.sitkComposite:
        return [transform]
    composite = sitk.CompositeTransform(transform)
    parts = [composite.GetNthTransform(n) for n in range(composite.GetNumberOfTransforms())]
    return [leaf for part in parts for leaf in _parts(part)]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
