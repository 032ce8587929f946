"""What fusion takes in: checked, on one gray scale, with the tissue that may drive it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import GeometryError, InputError
from .excluded import Excluded, leave_out
from .frames import Points
from .images import as_mask, require_3d_finite
from .working_grids import WorkingGrid, resample_mask

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Smallest extent of an image along any axis, in mm, and fewest voxels. User-set.
_MIN_EXTENT_MM, _MIN_VOXELS = 24.0, 4
#: Images farther apart than this, in mm, are not of one examination's frame: more than a table
#: moves. Asked only where no pair of livers tells the shift. User-set.
_MAX_GAP_MM = 500.0
#: An image that goes below this is taken for a CT in HU.
_CT_MINIMUM_HU = -400.0
#: CT values below this are padding outside of the field of view, not air.
_PADDING_HU = -1200.0
#: Gray values between these, in HU, count fully; beyond them, contrast counts a quarter, so that
#: air and bone guide the way without outweighing the vessels. User-set.
_WINDOW_HU, _OUTER_SLOPE, _RANGE_HU = (-150.0, 300.0), 0.25, (-1000.0, 1200.0)
#: Another modality is scaled so that its 1st to 99th percentile spans this. User-set.
_SCALED_RANGE = 400.0
#: CT values of the body are above this, in HU.
_BODY_HU = -300.0
_BODY_SPACING_MM = 4.0


@dataclass(frozen=True)
class Landmarks:
    """Points (N, 3) of the fixed image and the same places in the moving image, RAS mm."""

    fixed_ras_mm: Points
    moving_ras_mm: Points

    @classmethod
    def of(cls, pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]) -> Landmarks | None:
        """From pairs of points (3,); None for no pairs. Raises InputError for what is no pair of finite points."""
        if len(pairs) == 0:
            return None
        try:
            both = np.asarray(pairs, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("landmarks: expected pairs of a fixed and a moving point, three numbers each") from error
        if both.ndim != 3 or both.shape[1:] != (2, 3) or not np.isfinite(both).all():
            raise InputError("landmarks: expected pairs of a fixed and a moving point, three finite numbers each")
        return cls(both[:, 0], both[:, 1])


@dataclass(frozen=True)
class Prepared:
    """Both images as float32 with the usable share of each voxel, and the region to register in the fixed frame.

    `landmarks` are points that correspond; `kept` is tissue whose volume has to stay as it is.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_usable: sitk.Image
    moving_usable: sitk.Image
    core_grid: WorkingGrid
    core: BoolArray
    rim_mm: float
    landmarks: Landmarks | None = None
    kept: tuple[Excluded, ...] = ()

    @property
    def region_box_ras_mm(self) -> tuple[Points, Points]:
        """Corners of the box around the core and its rim."""
        points = self.core_grid.points(self.core)
        pad = self.rim_mm + self.core_grid.spacing_mm
        return points.min(axis=0) - pad, points.max(axis=0) + pad

    def region_on(self, grid: WorkingGrid) -> tuple[BoolArray, BoolArray]:
        """Region (core and rim) and core on a grid."""
        core = resample_mask(self.core, self.core_grid, grid)
        if self.rim_mm == 0:
            return core, core
        return ndimage.distance_transform_edt(~core) * grid.spacing_mm <= self.rim_mm, core


def check_inputs(
    fixed: sitk.Image,
    moving: sitk.Image,
    fixed_liver: sitk.Image | None,
    moving_liver: sitk.Image | None,
) -> tuple[sitk.Image | None, sitk.Image | None]:
    """Refuse what cannot be fused; returns the livers as uint8 masks.

    Raises ImageReadError, InputError, GeometryError or EmptyMaskError; see `fusion.fuse`.
    """
    for image, name in ((fixed, "fixed image"), (moving, "moving image")):
        require_3d_finite(image, name)
        extent = np.array(image.GetSize()) * np.array(image.GetSpacing())
        if min(image.GetSize()) < _MIN_VOXELS or extent.min() < _MIN_EXTENT_MM:
            raise GeometryError(
                f"{name}: too thin to be fused ({frames.describe_grid(image)}); at least {_MIN_VOXELS} voxels and "
                f"{_MIN_EXTENT_MM:g} mm along each axis are needed"
            )
        values = sitk.GetArrayViewFromImage(image)
        if values.min() == values.max():
            raise InputError(f"{name}: all voxels have the value {float(values.flat[0]):g}: there is nothing to align")
    livers = []
    for liver, image, side, other_image, other in (
        (fixed_liver, fixed, "fixed", moving, "moving"),
        (moving_liver, moving, "moving", fixed, "fixed"),
    ):
        mask = None if liver is None else as_mask(liver, f"{side} liver")
        if mask is not None and not frames.same_grid(mask, image) and frames.same_grid(mask, other_image):
            raise GeometryError(
                f"{side} liver: it lies on the grid of the {other} image: are the images before and after swapped?"
            )
        if mask is not None:
            frames.require_same_grid(mask, image, f"{side} liver", f"{side} image")
        livers.append(mask)
    if livers[0] is None or livers[1] is None:
        _require_near(fixed, moving)
    return livers[0], livers[1]


def _require_near(fixed: sitk.Image, moving: sitk.Image) -> None:
    (fixed_lower, fixed_upper), (moving_lower, moving_upper) = (frames.bounding_box_ras(i) for i in (fixed, moving))
    gap = np.maximum(np.maximum(moving_lower - fixed_upper, fixed_lower - moving_upper), 0)
    if np.linalg.norm(gap) > _MAX_GAP_MM:
        raise GeometryError(
            f"fixed and moving image do not overlap: they lie {np.linalg.norm(gap):.0f} mm apart "
            f"({frames.describe_grid(fixed)}; {frames.describe_grid(moving)}): check that both are of one patient "
            "and frame, or give both livers"
        )


def usable_voxels(fixed: sitk.Image, moving: sitk.Image, excluded: Sequence[Excluded]) -> tuple[sitk.Image, sitk.Image]:
    """Where fixed and moving image may drive the fusion (uint8): no padding, nothing that is excluded."""
    arrays = [_not_padding(fixed), _not_padding(moving)]
    for one in excluded:
        if one.is_of_fixed:
            leave_out(arrays[0], fixed, one)
        if one.is_of_moving:
            leave_out(arrays[1], moving, one)
    return _like(arrays[0], fixed), _like(arrays[1], moving)


def _not_padding(image: sitk.Image) -> npt.NDArray[np.uint8]:
    values = sitk.GetArrayViewFromImage(image)
    if not is_ct(image):
        return np.ones(values.shape, dtype=np.uint8)
    return (values > _PADDING_HU).astype(np.uint8)


def is_ct(image: sitk.Image) -> bool:
    """Whether the values look like HU: air is far below zero."""
    return float(sitk.GetArrayViewFromImage(image).min()) < _CT_MINIMUM_HU


def gray_scale(image: sitk.Image, reference: sitk.Image | None = None) -> sitk.Image:
    """Gray values as float32, soft tissue stressed (CT), or scaled to a fixed range (others).

    `reference` is the whole image of which `image` is a part: it tells modality and range.
    """
    whole = image if reference is None else reference
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    if is_ct(whole):
        np.clip(values, *_RANGE_HU, out=values)
        low, high = _WINDOW_HU
        inner = np.clip(values, low, high)
        values = inner + np.float32(_OUTER_SLOPE) * (values - inner)
    else:
        bottom, top = np.percentile(sitk.GetArrayViewFromImage(whole)[::2, ::2, ::2], (1, 99))
        if top <= bottom:
            bottom, top = (float(f(sitk.GetArrayViewFromImage(whole))) for f in (np.min, np.max))
        values = np.clip((values - bottom) * (_SCALED_RANGE / (top - bottom)), -_SCALED_RANGE, 2 * _SCALED_RANGE)
        values = values.astype(np.float32)
    return _like(values, image)


def liver_region(mask: sitk.Image, spacing_mm: float = 2.0) -> tuple[WorkingGrid, BoolArray]:
    """A liver, cut to what it holds, as a mask on a working grid over it."""
    grid = WorkingGrid.over(*frames.bounding_box_ras(mask), spacing_mm)
    return grid, sample_mask(mask, grid.points()).reshape(grid.shape) > 0.5


def body_region(image: sitk.Image, usable: sitk.Image) -> tuple[WorkingGrid, BoolArray]:
    """The body, lungs included, on a coarse working grid: the largest piece that is not air."""
    grid = WorkingGrid.over(*frames.bounding_box_ras(image), _BODY_SPACING_MM)
    index = frames.ras_to_index(image, grid.points())[:, ::-1].T
    values = ndimage.map_coordinates(
        sitk.GetArrayViewFromImage(image), index, order=1, mode="nearest", output=np.float32
    ).reshape(grid.shape)
    allowed = (
        ndimage.map_coordinates(sitk.GetArrayViewFromImage(usable), index, order=0, cval=0).reshape(grid.shape) > 0
    )
    threshold = _BODY_HU if is_ct(image) else _otsu(values[allowed])
    above = ndimage.binary_opening((values > threshold) & allowed, iterations=1)
    labels, count = ndimage.label(above)
    if count == 0:
        return grid, allowed
    body = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    body = ndimage.binary_closing(np.pad(body, 3), iterations=2)[3:-3, 3:-3, 3:-3] | body
    return grid, np.stack([ndimage.binary_fill_holes(part) for part in body])


def _otsu(values: FloatArray) -> float:
    """Otsu's threshold, halved toward the background: dark organs belong to the body."""
    counts, edges = np.histogram(values, bins=128)
    centers = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centers)
    mean_below = total / np.maximum(below, 1)
    mean_above = (total[-1] - total) / np.maximum(above, 1)
    split = centers[int(np.argmax(below * above * (mean_below - mean_above) ** 2))]
    return float(0.5 * (split + values.min()))


def sample_mask(mask: sitk.Image, points_ras_mm: Points) -> FloatArray:
    """A mask, linear between voxels, at RAS points (N, 3); 0 outside."""
    index = frames.ras_to_index(mask, points_ras_mm)[:, ::-1].T
    return ndimage.map_coordinates(
        sitk.GetArrayViewFromImage(mask), index, order=1, cval=0.0, output=np.float32, prefilter=False
    )


def _like(array: npt.NDArray, image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result
