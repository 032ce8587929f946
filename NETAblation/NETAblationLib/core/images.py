"""Images and masks in and out: one sound 3D image, or an error that says what is wrong.

Everything enters through :func:`read_image` and :func:`read_mask`. What they return is three
dimensional, scalar and finite, on a right-angled, evenly spaced grid, with the orientation of
the file kept (SimpleITK images, whose own frame is LPS, whatever the file's: NIfTI and RAS
NRRD headers are converted, voxels stay where they are). Values are those of the file in its
own unit after the rescale slope and intercept (HU of a CT, most often Bq/mL of a PET).
Padding outside the field of view, such as -2048 or -3024, stays as it is.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import dicom
from .dicom import list_series
from .dicom_headers import SeriesInfo, is_dicom
from .documents import written_whole
from .errors import EmptyMaskError, ImageReadError, InputError
from .progress import ProgressCallback, silent
from .volume_files import MAX_SHEAR_DEGREES, check_volume_file, quiet_itk, shear_degrees, volume_suffix

__all__ = [
    "WRITTEN_SUFFIXES",
    "SeriesInfo",
    "as_mask",
    "image_hash",
    "list_series",
    "read_image",
    "read_labels",
    "read_mask",
    "require_3d_finite",
    "require_labels",
    "write_image",
]

#: How the name of a file that is written ends.
WRITTEN_SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha", ".mhd")

#: A mask of up to this many labels is believed to be one; with more, neighboring voxels have
#: to be alike: on real label maps of organs 99 % of the neighbors are, on CT and MR, windowed
#: to 8 bits or smoothed too, at most 55 % (own measurement). No published source; user-set.
_FEW_LABELS = 8
_MIN_ALIKE_FRACTION = 0.75

#: Floating-point labels may miss the whole number by this (scaled NIfTI). User-set.
_LABEL_TOLERANCE = 1e-3


def read_image(path: str | Path, *, series: str | int | None = None, progress: ProgressCallback = silent) -> sitk.Image:
    """Read one 3D scalar image, checked, with the orientation that the file states.

    `path` is an NRRD, NIfTI or MetaImage file, a DICOM folder (CT, MR or PET; searched with
    its sub-folders), or one DICOM file: a slice stands for its whole series in the same
    folder, as in 3D Slicer. `series` chooses within a DICOM folder by SeriesInstanceUID, series
    number or description (or a part of it, or the end of the UID); it is needed where the
    folder holds several image series, and the error then lists them.

    Integer voxel types are kept; DICOM gives int16 or int32 where slope and intercept allow,
    else float32. A trailing fourth axis of one time point is dropped.

    Raises ImageReadError, naming the file or series and the reason, for everything that is
    not one sound 3D image: missing, empty, damaged or cut-off files; 2D, 4D, vector, color
    and complex images; voxels that are not finite; sheared axes (gantry tilt) and voxel sizes
    that are not above 0; missing, doubled or uneven slices; several time points or phases;
    mixed series, localizers and objects that are no CT, MR or PET image.
    """
    path = Path(path)
    if not path.exists():
        raise ImageReadError(f"{path}: no such file or folder")
    if path.is_dir():
        image = dicom.read_series(path, series=series, progress=progress)
    else:
        if series is not None:
            raise InputError(f"{path}: a series ('{series}') can be chosen in a DICOM folder only, and this is a file")
        image = _read_file(path, progress)
    require_3d_finite(image, str(path))
    progress(1.0, "image read")
    return image


def read_mask(path: str | Path, *, label: int | None = None) -> sitk.Image:
    """Read a mask as uint8, 1 inside and 0 outside, on the grid of its file.

    `path` is an NRRD (Slicer's .seg.nrrd of one layer included), NIfTI or MetaImage file. Any
    non-zero voxel is inside; `label` takes the voxels of that value only. Raises
    ImageReadError as :func:`read_image` does, InputError where the file holds an image
    instead of labels (see :func:`as_mask`), EmptyMaskError where no voxel is inside.
    """
    image = _read_mask_file(Path(path))
    if label is None:
        return as_mask(image, str(path))
    labels = require_labels(image, str(path))
    if label not in labels or label == 0:
        listed = ", ".join(str(value) for value in labels if value) or "none"
        raise EmptyMaskError(f"{path}: no voxel has label {label}; its labels are {listed}")
    return sitk.Equal(_whole_numbers(image), label)


def read_labels(path: str | Path) -> sitk.Image:
    """Read a mask of several labels as uint32, 0 outside, on the grid of its file.

    Raises as :func:`read_mask`.
    """
    image = _read_mask_file(Path(path))
    if not any(require_labels(image, str(path))):
        raise EmptyMaskError(f"{path}: the mask is empty: no voxel is inside")
    return sitk.Cast(_whole_numbers(image), sitk.sitkUInt32)


def _read_mask_file(path: Path) -> sitk.Image:
    if path.is_dir():
        raise ImageReadError(f"{path}: a folder; a mask is read from one NRRD, NIfTI or MetaImage file")
    if not path.exists():
        raise ImageReadError(f"{path}: no such file")
    image = _read_file(path, silent)
    require_3d_finite(image, str(path))
    return image


def as_mask(image: sitk.Image, name: str = "mask") -> sitk.Image:
    """The mask as uint8, 1 where `image` is not zero and 0 elsewhere, on the same grid; `image` itself if it is that.

    An image given by mistake must not become a mask that is inside everywhere. So refused, as
    InputError that begins with `name`, are negative values (HU), fractions (probabilities),
    and more than a few values that change from voxel to voxel as gray values do: with more
    than 8 labels, three of four neighbors along a row that are both inside must be alike.
    Raises EmptyMaskError where no voxel is inside, ImageReadError for an image that is not
    3D, scalar and finite.
    """
    require_3d_finite(image, name)
    if image.GetPixelID() == sitk.sitkUInt8 and sitk.GetArrayViewFromImage(image).max(initial=0) == 1:
        return image  # it is one already
    require_labels(image, name)
    mask = sitk.NotEqual(_whole_numbers(image), 0)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise EmptyMaskError(f"{name}: the mask is empty: no voxel is inside")
    return mask


def require_3d_finite(image: sitk.Image, name: str) -> None:
    """Raise ImageReadError, beginning with `name`, unless the image is one sound 3D image.

    Sound is: 3 axes, one real number per voxel, all voxels finite; voxel sizes finite and
    above 0, a finite origin, axes at right angles (to 0.1 degrees).
    """
    if not isinstance(image, sitk.Image):
        raise InputError(f"{name}: a SimpleITK image is needed, not a {type(image).__name__}")
    _require_scalar_3d(name, image.GetSize(), image.GetPixelIDTypeAsString(), image.GetNumberOfComponentsPerPixel())
    spacing, origin = np.array(image.GetSpacing()), np.array(image.GetOrigin())
    axes = np.array(image.GetDirection()).reshape(3, 3)
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise ImageReadError(f"{name}: its voxel size {tuple(spacing.tolist())} mm is not finite and above 0")
    if not (np.isfinite(origin).all() and np.isfinite(axes).all()):
        raise ImageReadError(f"{name}: its origin or the direction of its axes is not finite")
    lengths = np.linalg.norm(axes, axis=0)
    if np.abs(lengths - 1.0).max() > np.radians(MAX_SHEAR_DEGREES):
        raise ImageReadError(f"{name}: the directions of its axes are not of length 1 ({lengths.tolist()})")
    shear = shear_degrees(axes)
    if shear > MAX_SHEAR_DEGREES:
        raise ImageReadError(
            f"{name}: its axes are sheared by {shear:.2f} degrees: resample it to a right-angled grid first"
        )
    _require_finite_voxels(image, name)


def write_image(image: sitk.Image, path: str | Path) -> None:
    """Write an image or mask, compressed, in the format that its suffix names, one of `WRITTEN_SUFFIXES`.

    The file is replaced only once the new one is whole. NRRD and MetaImage keep the place of the
    voxels to the last bit; NIfTI rounds it to float32. Raises InputError for another suffix or a
    place that cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(WRITTEN_SUFFIXES):
        raise InputError(f"{path}: images are written as {', '.join(WRITTEN_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: there is no folder '{path.parent}'")
    with written_whole(path) as partial:
        try:
            with quiet_itk():
                sitk.WriteImage(image, str(partial), useCompression=True)
            check_volume_file(partial)  # on a full disk ITK may write a part of it without a word
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be written ({_reason(error)})") from error
        except ImageReadError as error:
            reason = str(error).removeprefix(f"{partial}: ")
            raise InputError(f"{path}: what was written is no sound image (is the disk full?): {reason}") from error


def image_hash(image: sitk.Image) -> str:
    """SHA-256 (hexadecimal) over size, spacing, origin, direction, voxel type and voxels.

    Two images have the same hash only if they are the same to the last bit. The voxels are
    hashed in place, without a copy.
    """
    geometry = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
    digest = hashlib.sha256(struct.pack(f"<{image.GetDimension()}Q", *image.GetSize()))
    digest.update(struct.pack(f"<{len(geometry)}d", *[value + 0.0 for value in geometry]))  # -0.0 becomes 0.0
    digest.update(f"{image.GetPixelIDTypeAsString()} x {image.GetNumberOfComponentsPerPixel()}".encode())
    digest.update(np.ravel(sitk.GetArrayViewFromImage(image)).data)
    return digest.hexdigest()


# --- files ----------------------------------------------------------------------------------


def _read_file(path: Path, progress: ProgressCallback) -> sitk.Image:
    if volume_suffix(path):
        return _read_volume_file(path, progress)
    if is_dicom(path) or path.suffix.lower() == ".dcm":
        return dicom.read_series_of_file(path, progress=progress)
    raise ImageReadError(
        f"{path}: not a format that is read here: give NRRD (.nrrd, .nhdr), NIfTI (.nii, .nii.gz), MetaImage (.mha, "
        ".mhd) or DICOM (a folder)"
    )


def _read_volume_file(path: Path, progress: ProgressCallback) -> sitk.Image:
    progress(0.0, "checking the file")
    check_volume_file(path)
    progress(0.3, "reading the image")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
            size = list(reader.GetSize())
            if len(size) == 4 and size[3] == 1:
                reader.SetExtractSize([*size[:3], 0])
                size = size[:3]
            _require_scalar_3d(
                str(path), size, sitk.GetPixelIDValueAsString(reader.GetPixelID()), reader.GetNumberOfComponents()
            )
            if min(size) < 2:
                raise ImageReadError(f"{path}: {_by(size)} voxels are a single slice; a 3D image is needed")
            return reader.Execute()
    except RuntimeError as error:
        raise ImageReadError(
            f"{path}: cannot be read as an image: damaged or of another kind ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """What ITK says at the end of its message, after source file, line and object address."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("): ")[2][:200] if lines else type(error).__name__


# --- checks ---------------------------------------------------------------------------------


def _require_scalar_3d(name: str, size: npt.ArrayLike, pixel_type: str, components: int) -> None:
    sizes = np.asarray(size).tolist()
    if components != 1 or "vector" in pixel_type or "complex" in pixel_type:
        raise ImageReadError(
            f"{name}: its voxels are {pixel_type} ({components} numbers each); one real number per voxel is needed "
            "(no color, vector or complex image; a segmentation with overlapping segments has to be split)"
        )
    if "label" in pixel_type:
        raise ImageReadError(f"{name}: a run-length label map of SimpleITK: convert it to a label image first")
    if len(sizes) != 3:
        several = f": {sizes[3]} time points or channels" if len(sizes) > 3 else ""
        raise ImageReadError(f"{name}: the image is {len(sizes)}D ({_by(sizes)}{several}); a 3D image is needed")
    if min(sizes) < 1:
        raise ImageReadError(f"{name}: the image has no voxels ({_by(sizes)})")


def _require_finite_voxels(image: sitk.Image, name: str) -> None:
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind != "f":
        return
    bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in array)  # by plane: little memory
    if bad:
        raise ImageReadError(f"{name}: {bad} voxels are not finite numbers (NaN or infinite): replace them first")


def _whole_numbers(image: sitk.Image) -> sitk.Image:
    """Floating-point labels rounded to the whole numbers that they stand for; others as they are."""
    return sitk.Round(image) if sitk.GetArrayViewFromImage(image).dtype.kind == "f" else image


def require_labels(image: sitk.Image, name: str) -> list[int]:
    """The distinct values of a label image, sorted; InputError, beginning with `name`, where it looks like an image."""
    array = sitk.GetArrayViewFromImage(image)
    low, high = float(array.min()), float(array.max())
    what_to_do = "give a mask: 0 outside, a label inside"
    if low < 0:
        raise InputError(
            f"{name}: holds negative values (down to {low:g}), so it is an image and no mask: {what_to_do}"
        )
    if array.dtype.kind == "f" and not all(
        np.abs(plane - np.round(plane)).max() <= _LABEL_TOLERANCE for plane in array
    ):
        raise InputError(f"{name}: holds fractions, so it is no mask (a probability map?): {what_to_do}")
    labels = _distinct(array, round(high))
    if len(labels) > _FEW_LABELS + 1 and _alike_fraction(array) < _MIN_ALIKE_FRACTION:
        raise InputError(
            f"{name}: holds {len(labels)} values up to {high:g} that change from voxel to voxel, so it is an image and "
            f"no mask: {what_to_do}"
        )
    return labels


def _distinct(array: npt.NDArray[np.generic], high: int) -> list[int]:
    """The values of an array of whole numbers from 0 to `high`, sorted; by plane, without sorting voxels."""
    if high <= 1:
        return [value for value in range(high + 1) if (array == value).any()]
    if high > np.iinfo(np.uint16).max:
        return sorted(set().union(*(np.unique(np.round(plane)).astype(np.int64).tolist() for plane in array)))
    counts = np.zeros(high + 1, dtype=np.int64)
    for plane in array:
        counts += np.bincount(np.round(plane).ravel().astype(np.intp), minlength=high + 1)
    return np.flatnonzero(counts).tolist()


def _alike_fraction(array: npt.NDArray[np.generic]) -> float:
    """Of the neighbors along a row that are both non-zero, the share that have the same value."""
    pairs = alike = 0
    for plane in array:
        left, right = plane[:, :-1], plane[:, 1:]
        inside = (left != 0) & (right != 0)
        pairs += int(np.count_nonzero(inside))
        alike += int(np.count_nonzero(inside & (left == right)))
    return alike / pairs if pairs else 0.0


def _by(size: npt.ArrayLike) -> str:
    return " x ".join(str(n) for n in np.asarray(size).tolist())
