"""Transforms on disk: ITK's .h5 and .tfm, which 3D Slicer reads too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import FormatError, GeometryError, InputError

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
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        sitk.WriteTransform(transform, str(partial))
        partial.replace(path)
    except (RuntimeError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({_reason(error)})") from error


def read_transform(path: str | Path) -> sitk.Transform:
    """Read a 3D transform of a .h5 or .tfm file.

    Raises InputError where there is no such file, FormatError for another suffix and for a
    damaged or foreign file, GeometryError for a transform that is not 3D or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    _require_suffix(path)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise FormatError(f"{path}: not a readable ITK transform: damaged or of another kind") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    _require_sound(transform, str(path))
    return transform


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
