"""Frames of reference: the one place where signs are flipped.

Points and vectors are RAS, in mm. Images are SimpleITK images, whose own frame is LPS;
their voxel index is (I, J, K), while arrays taken from them are indexed (K, J, I).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from .errors import GeometryError

Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])

#: Grids count as one when their corners agree to this share of the smallest voxel edge;
#: float32 headers (NIfTI) round to far less. No published source; user-set.
_GRID_TOLERANCE_FRACTION = 0.01


def flip_lps_ras(points_mm: npt.ArrayLike) -> Points:
    """Turn LPS points or vectors into RAS ones, or back (the flip is its own inverse).

    `points_mm` has shape (3,) or (N, 3); the result is a new float64 array of that shape.
    """
    return np.asarray(points_mm, dtype=np.float64) * np.array([-1.0, -1.0, 1.0])


def as_points(points_ras_mm: npt.ArrayLike, name: str = "points") -> Points:
    """Check that `points_ras_mm` is a finite (N, 3) array and return it as float64.

    Raises GeometryError, naming `name`, for another shape or a non-finite coordinate.
    """
    points = np.asarray(points_ras_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise GeometryError(f"{name}: expected an (N, 3) array of R, A, S in mm, got shape {points.shape}")
    if not np.isfinite(points).all():
        raise GeometryError(f"{name}: a coordinate is not a finite number")
    return points


def index_to_ras_matrix(image: sitk.Image) -> Matrix:
    """The (4, 4) matrix from the continuous voxel index (I, J, K, 1) of `image` to RAS mm."""
    matrix = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    matrix[:3, :3] = direction * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return _FLIP_XY @ matrix


def ras_to_index_matrix(image: sitk.Image) -> Matrix:
    """The (4, 4) matrix from RAS mm to the continuous voxel index (I, J, K, 1) of `image`."""
    return np.linalg.inv(index_to_ras_matrix(image)).astype(np.float64)


def apply_matrix(matrix: Matrix, points: npt.ArrayLike) -> Points:
    """Apply a (4, 4) affine matrix to points of shape (3,) or (N, 3)."""
    points = np.asarray(points, dtype=np.float64)
    moved: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def index_to_ras(image: sitk.Image, index_ijk: npt.ArrayLike) -> Points:
    """RAS mm of continuous voxel indices (I, J, K), shape (3,) or (N, 3)."""
    return apply_matrix(index_to_ras_matrix(image), index_ijk)


def ras_to_index(image: sitk.Image, points_ras_mm: npt.ArrayLike) -> Points:
    """Continuous voxel indices (I, J, K) of RAS points, shape (3,) or (N, 3)."""
    return apply_matrix(ras_to_index_matrix(image), points_ras_mm)


def voxel_centers(mask: sitk.Image) -> Points:
    """The centers of a mask's voxels that are not zero, RAS (N, 3), along I first."""
    # Of booleans that lie in one piece numpy finds the true ones ten times as fast.
    inside = np.flatnonzero(sitk.GetArrayViewFromImage(mask) != 0)
    k, j, i = np.unravel_index(inside, mask.GetSize()[::-1])
    return index_to_ras(mask, np.stack([i, j, k], axis=1))


def center_of(mask: sitk.Image) -> Points:
    """The mean (3,) of the centers of a mask's voxels that are not zero, RAS."""
    inside = sitk.GetArrayViewFromImage(mask) != 0
    counts = [inside.sum(axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]  # along I, J, K
    return index_to_ras(mask, np.array([np.average(np.arange(len(n)), weights=n) for n in counts]))


def is_inside(image: sitk.Image, points_ras_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which of the RAS points, shape (N, 3), lie within the voxels of `image`; shape (N,)."""
    index = ras_to_index(image, points_ras_mm)
    return np.all((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5), axis=-1)


def lps_matrix_from_ras(matrix_ras: Matrix) -> Matrix:
    """The (4, 4) matrix that does in LPS what `matrix_ras` does in RAS (and the reverse)."""
    return _FLIP_XY @ matrix_ras @ _FLIP_XY


def affine_transform(matrix_ras: Matrix) -> sitk.AffineTransform:
    """The SimpleITK (LPS) transform of a (4, 4) matrix that maps RAS points to RAS points."""
    matrix = lps_matrix_from_ras(matrix_ras)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def transform_points(transform: sitk.Transform, points_ras_mm: npt.ArrayLike) -> Points:
    """Map RAS points, shape (N, 3), through a SimpleITK transform, which works in LPS.

    Linear, displacement-field and composite transforms run vectorized; others point by
    point. As in ITK, a displacement field is linear between voxels and zero outside.
    """
    points_lps = flip_lps_ras(as_points(points_ras_mm))
    return flip_lps_ras(_transform_lps(transform, points_lps))


def _transform_lps(transform: sitk.Transform, points_lps: Points) -> Points:
    kind = transform.GetTransformEnum()
    if kind == sitk.sitkComposite:
        composite = sitk.CompositeTransform(transform)
        for level in reversed(range(composite.GetNumberOfTransforms())):
            points_lps = _transform_lps(composite.GetNthTransform(level), points_lps)
        return points_lps
    if kind == sitk.sitkDisplacementField:
        field = sitk.DisplacementFieldTransform(transform).GetDisplacementField()
        return points_lps + _sample_displacement(field, points_lps)
    if transform.IsLinear():
        origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
        columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
        return points_lps @ np.array(columns) + origin
    return np.array([transform.TransformPoint(point) for point in points_lps.tolist()])


def _sample_displacement(field: sitk.Image, points_lps: Points) -> Points:
    """Linear interpolation of a vector image at LPS points; zero outside its voxels."""
    from scipy import ndimage

    index = ras_to_index(field, flip_lps_ras(points_lps))
    inside = is_inside(field, flip_lps_ras(points_lps))
    array = sitk.GetArrayViewFromImage(field)
    coordinates = index[inside, ::-1].T
    displacement = np.zeros_like(points_lps)
    for axis in range(3):
        displacement[inside, axis] = ndimage.map_coordinates(
            array[..., axis], coordinates, order=1, mode="nearest", output=np.float64
        )
    return displacement


def same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether both images have the same size and put every voxel at the same place."""
    return first.GetSize() == second.GetSize() and offset_in(first, second) is not None


def offset_in(part: sitk.Image, whole: sitk.Image) -> npt.NDArray[np.int64] | None:
    """Index (I, J, K) in `whole` of the first voxel of an image cut out of its grid; None if it is no such part."""
    offset = np.rint(ras_to_index(whole, index_to_ras(part, np.zeros(3)))).astype(np.int64)
    if np.any(offset < 0) or np.any(offset + part.GetSize() > np.array(whole.GetSize())):
        return None
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in part.GetSize()])).reshape(3, -1).T
    distance_mm = np.abs(index_to_ras(part, corners) - index_to_ras(whole, corners + offset)).max()
    return offset if distance_mm <= _GRID_TOLERANCE_FRACTION * min(part.GetSpacing()) else None


def require_same_grid(first: sitk.Image, second: sitk.Image, first_name: str, second_name: str) -> None:
    """Raise GeometryError, with both names and grids, unless the images share one grid."""
    if not same_grid(first, second):
        raise GeometryError(
            f"{first_name} and {second_name} lie on different grids "
            f"({describe_grid(first)}; {describe_grid(second)}): resample one of them first"
        )


def describe_grid(image: sitk.Image) -> str:
    """Size, spacing and origin of an image in words for an error message."""
    size = " x ".join(str(n) for n in image.GetSize())
    spacing = " x ".join(f"{s:.4g}" for s in image.GetSpacing())
    origin = ", ".join(f"{v:.4g}" for v in flip_lps_ras(image.GetOrigin()))
    return f"{size} voxels of {spacing} mm, first voxel at RAS {origin}"


def bounding_box_ras(image: sitk.Image) -> tuple[Points, Points]:
    """Lower and upper RAS corner, each (3,), of the box around all voxels of `image`."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in image.GetSize()])).reshape(3, -1).T
    points = index_to_ras(image, corners)
    return points.min(axis=0), points.max(axis=0)


def crop_around_points(image: sitk.Image, points_ras_mm: npt.ArrayLike, pad_mm: float) -> sitk.Image:
    """The part of `image` that holds all given points, shape (N, 3), and `pad_mm` around them.

    The result keeps its place in space. Raises GeometryError where no voxel is left.
    """
    index = ras_to_index(image, as_points(points_ras_mm))
    pad = pad_mm / np.array(image.GetSpacing())
    size = np.array(image.GetSize())
    lower = np.clip(np.floor(index.min(axis=0) - pad), 0, size).astype(int)
    upper = np.clip(np.ceil(index.max(axis=0) + pad) + 1, 0, size).astype(int)
    if np.any(upper <= lower):
        raise GeometryError("the points lie outside the image: check that both are of one frame (RAS, mm)")
    return sitk.RegionOfInterest(image, (upper - lower).tolist(), lower.tolist())
