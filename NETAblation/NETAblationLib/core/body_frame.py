"""The axes of the body in a CT, which need be neither those of the world nor those of the voxels.

Algorithms that know where things lie in a body (ribs around, lung above, spine behind) work along R, A and S
of the body. A frame turned as a whole, a patient turned on the table or a grid resampled obliquely must not
change what they find.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from . import frames
from .frames import Matrix, Points

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: Voxels on which the body's outline is looked at, in mm, its border with air and the most of air outside of it,
#: in HU, and what is no value of air or tissue. User-set.
_STEP_MM, _AIR_HU, _OUTER_HU, _PADDING_HU = 6.0, -400.0, -930.0, -1500.0
#: The trunk is a cylinder: of the squares of its skin's normals less than the first share lies along its axis, and
#: less than the second part of that along any other, and opposite sides cancel but for the third. User-set: 0 to 0.06,
#: 0 to 0.2 and 0 to 0.1 where the skin is seen all around (own measurement on five CTs).
_ALONG_SHARE, _ALONG_RATIO, _ONE_SIDED = 0.15, 0.6, 0.3
#: It is wider than deep: by the second ratio of such shares the two are told apart, and below the first it is so round
#: that it has neither. User-set.
_ROUND_RATIO, _FLAT_RATIO = 1.05, 1.25
#: The axes of the skin are within 6 degrees of the scanner's on three CTs (own measurement). Axes of world or
#: voxels that would need a larger box around what was measured count as this much farther from the skin's, in
#: degrees for each part of the box that is empty, up to the second. User-set.
_EMPTY_DEGREES, _MOST_EMPTY_DEGREES = 100.0, 12.0
#: A box of its own around what was measured is smaller than those along world and voxels by this. User-set.
_TIGHTER = 0.97
#: Turns from which the smallest box is looked for, the first of its steps and one too small to be taken, in radians,
#: and the share of it that is full where it is the field of view, and not a round one or the body's. User-set.
_TRIED_TURN, _FIRST_TURN, _LAST_TURN, _SOLID_SHARE = 0.45, 0.1, 5e-4, 0.88
#: No frame is so wrong that the body is turned in it by this, in degrees. User-set.
_MOST_DEGREES = 88.0
#: Farther than this from the axes of world and voxels, in degrees, the skin's are taken. User-set.
_TURNED_DEGREES = 20.0
#: Axes nearer to each other than this are the same, in degrees.
_SAME_DEGREES = 0.05


def upright(image: sitk.Image) -> tuple[sitk.Image, Matrix]:
    """A CT in a frame whose R, A and S are the body's, and the matrix (4, 4) from its RAS mm to that frame's.

    The voxels keep their values, but their axes are put in the order and the direction of the frame's, so that
    nothing depends on how they were stored. `image` is 3D, in HU. Where the body's axes are the world's, or the body
    shows none, the matrix is the identity.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = body_axes(image).T
    turned = in_frame(image, matrix)
    direction = np.array(turned.GetDirection()).reshape(3, 3)
    if np.array_equal(np.abs(direction).argmax(axis=0), [0, 1, 2]) and np.all(np.diag(direction) > 0):
        return turned, matrix
    return sitk.DICOMOrient(turned, "LPS"), matrix


def in_frame(image: sitk.Image, matrix: Matrix) -> sitk.Image:
    """An image in another frame: `matrix` (4, 4), a rotation and a shift, maps RAS mm to RAS mm of that frame."""
    if np.array_equal(matrix, np.eye(4)):
        return image
    turned = sitk.Image(image)
    lps = frames.lps_matrix_from_ras(matrix)
    direction = lps[:3, :3] @ np.array(image.GetDirection()).reshape(3, 3)
    # Axes that run along the frame's do so exactly, so that no rounding moves a border.
    whole = np.rint(direction)
    turned.SetDirection((whole if np.abs(direction - whole).max() < 1e-6 else direction).ravel().tolist())
    turned.SetOrigin((lps[:3, :3] @ np.array(image.GetOrigin()) + lps[:3, 3]).tolist())
    return turned


def body_axes(image: sitk.Image) -> Matrix:
    """Right, anterior and superior of the body in a CT, the columns of a rotation matrix (3, 3) in RAS.

    Those of the world, of the voxels or of the box that was measured, whichever fit the skin and that box best, or,
    where none does, the skin's own.
    """
    coarse = _coarse(image)
    measured = _measured(coarse)
    world, voxels = np.eye(3), _grid_axes(image)
    corners = _corners(coarse, measured)
    tight = _tight_axes(corners, (world, voxels))
    own = _skin_axes(coarse, _known(coarse, measured, corners, tight))
    grid = _nearest_turn(voxels, world if own is None else own)
    candidates = [world] if _angle_degrees(grid, world) < _SAME_DEGREES else [grid, world]
    sizes = [_box_size(corners, axes) for axes in candidates]
    if _box_size(corners, tight) < _TIGHTER * min(sizes):
        candidates.append(_nearest_turn(tight, world if own is None else own))
        sizes.append(_box_size(corners, tight))
    cost = np.minimum(_EMPTY_DEGREES * (np.array(sizes) / min(sizes) - 1.0), _MOST_EMPTY_DEGREES)
    if own is None:
        return candidates[int(cost.argmin())]
    away = np.array([_angle_degrees(axes, own) for axes in candidates])
    best = int((cost + away).argmin())
    return candidates[best] if away[best] <= _TURNED_DEGREES else own


def _box_size(points: Points, axes: Matrix) -> float:
    """The volume of the box along some axes around points (N, 3), in mm3."""
    return float(_box_sizes(points, axes))


def _box_sizes(points: Points, axes: FloatArray) -> FloatArray:
    """As `_box_size` for each of several axes (..., 3, 3)."""
    return np.asarray(np.prod(np.ptp(points @ axes, axis=-2) + _STEP_MM, axis=-1))


def _tight_axes(points: Points, starts: Sequence[Matrix]) -> Matrix:
    """The axes along which the box around points (N, 3) is smallest, as found from some others.

    From each start the best of small turns is taken as long as one helps, then of smaller ones; all at once, as no
    single search is worth the calls that it takes.
    """
    turns = np.vstack([np.zeros(3), _TRIED_TURN * np.eye(3), -_TRIED_TURN * np.eye(3)])
    axes = np.concatenate([start @ Rotation.from_rotvec(turns).as_matrix() for start in starts])
    around = np.array(list(product((-1.0, 0.0, 1.0), repeat=3)))
    sizes = _box_sizes(points, axes)
    step = _FIRST_TURN
    while step > _LAST_TURN:
        tried = axes[:, None] @ Rotation.from_rotvec(step * around).as_matrix()
        found = _box_sizes(points, tried)
        best = found.argmin(axis=1)
        helps = found[np.arange(len(axes)), best] < sizes
        axes[helps] = tried[helps, best[helps]]
        sizes[helps] = found[helps, best[helps]]
        if not helps.any():
            step *= 0.5
    tightest: Matrix = axes[sizes.argmin()]
    return tightest


def _grid_axes(image: sitk.Image) -> Matrix:
    """The directions of the voxels' axes, columns in RAS, right-handed."""
    direction = frames.flip_lps_ras(np.array(image.GetDirection()).reshape(3, 3).T).T
    # A sheared grid has no axes of its own: the nearest rotation's are taken.
    u, _, v = np.linalg.svd(direction)
    axes: Matrix = u @ v
    return axes * np.array([1.0, 1.0, np.sign(np.linalg.det(axes))])


def _turns() -> list[Matrix]:
    """The 24 rotations that take the axes to the axes."""
    found = []
    for order, signs in product(permutations(range(3)), product((-1.0, 1.0), repeat=3)):
        turn = np.eye(3)[:, order] * signs
        if np.linalg.det(turn) > 0:
            found.append(turn)
    return found


def _nearest_turn(axes: Matrix, to: Matrix) -> Matrix:
    """The axes in the order and with the signs that bring them nearest to others."""
    return min((axes @ turn for turn in _turns()), key=lambda turned: _angle_degrees(turned, to))


def _angle_degrees(first: Matrix, second: Matrix) -> float:
    """The angle of the rotation between two axes systems."""
    cosine = (np.trace(first.T @ second) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _coarse(image: sitk.Image) -> sitk.Image:
    """The CT on coarse voxels in its own axes."""
    factors = [max(1, int(_STEP_MM / step)) for step in image.GetSpacing()]
    shrunk = sitk.Cast(sitk.BinShrink(image, factors), sitk.sitkFloat32)
    size = [max(1, int(np.ceil(n * s / _STEP_MM))) for n, s in zip(shrunk.GetSize(), shrunk.GetSpacing(), strict=True)]
    reference = sitk.Image(size, sitk.sitkUInt8)
    reference.SetSpacing([_STEP_MM] * 3)
    reference.SetDirection(shrunk.GetDirection())
    corner = [-0.5 + 0.5 * _STEP_MM / step for step in shrunk.GetSpacing()]
    reference.SetOrigin(shrunk.TransformContinuousIndexToPhysicalPoint(corner))
    # The last voxel reaches beyond the image by less than its half.
    return sitk.Resample(shrunk, reference, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)


def _measured(coarse: sitk.Image) -> BoolArray:
    """What is not filled with the value of a corner, as what was resampled or cut to a circle is."""
    array = sitk.GetArrayViewFromImage(coarse)
    fill = np.unique(array[np.ix_(*([0, count - 1] for count in array.shape))])
    measured: BoolArray = ndimage.binary_opening(~np.isin(array, fill))
    return measured if measured.any() else np.ones(array.shape, dtype=bool)


def _corners(coarse: sitk.Image, measured: BoolArray) -> Points:
    """The corners (N, 3), RAS, of the convex body around what was measured."""
    index = np.argwhere(measured & ~ndimage.binary_erosion(measured))[:, ::-1]
    if min(np.ptp(index, axis=0)) > 0:
        index = index[ConvexHull(index).vertices]
    return frames.index_to_ras(coarse, index)


def _known(coarse: sitk.Image, measured: BoolArray, corners: Points, tight: Matrix) -> BoolArray:
    """Where the body's outline is its skin: away from what was cut off or padded."""
    known = sitk.GetArrayViewFromImage(coarse) > _PADDING_HU
    if measured.sum() * _STEP_MM**3 > _SOLID_SHARE * _box_size(corners, tight):
        points = frames.index_to_ras(coarse, np.indices(known.shape)[::-1].reshape(3, -1).T) @ tight
        low, high = (corners @ tight).min(axis=0), (corners @ tight).max(axis=0)
        known &= np.all((points > low) & (points < high), axis=1).reshape(known.shape)
    return ndimage.binary_erosion(known, iterations=2, border_value=0)


def _skin_axes(coarse: sitk.Image, known: BoolArray) -> Matrix | None:
    """The axes of the trunk, columns in RAS, from the normals of its skin; None where that shows none."""
    hu = sitk.GetArrayFromImage(coarse)
    # Lung is not as empty as the air outside, so that a lung which the image's end opens is no outside.
    labels, _ = ndimage.label(hu < _OUTER_HU)
    solid = ~ndimage.binary_dilation(_reaching_ends(labels), mask=hu < _AIR_HU)
    labels, count = ndimage.label(ndimage.binary_erosion(solid))
    if not count:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = ndimage.binary_dilation(labels == sizes.argmax()) & solid
    smooth: FloatArray = ndimage.gaussian_filter(body.astype(np.float32), 1.0)
    slope = np.stack(list(np.gradient(smooth)), axis=-1)[..., ::-1]
    steep = np.linalg.norm(slope, axis=-1)
    at_skin = known & (steep > 0.1)
    if not at_skin.any():
        return None
    direction = frames.flip_lps_ras(np.array(coarse.GetDirection()).reshape(3, 3).T).T
    normals, weights = slope[at_skin] @ direction.T, steep[at_skin]
    shares, vectors = np.linalg.eigh(normals.T @ (normals / weights[:, None]) / weights.sum())
    one_sided = np.linalg.norm(normals.sum(axis=0)) / weights.sum()
    if shares[0] > min(_ALONG_SHARE, _ALONG_RATIO * shares[1]) or one_sided > _ONE_SIDED:
        return None
    if shares[2] < _ROUND_RATIO * shares[1]:
        return _raised_to(vectors[:, 0] * np.copysign(1.0, vectors[2, 0]))
    axes = vectors[:, [1, 2, 0]]
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1.0
    flips = [axes * np.array(signs) for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    if shares[2] < _FLAT_RATIO * shares[1]:
        flips += [turned @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) for turned in flips]
    nearest = min(flips, key=lambda turned: _angle_degrees(turned, np.eye(3)))
    return nearest if _angle_degrees(nearest, np.eye(3)) < _MOST_DEGREES else None


def _raised_to(superior: FloatArray) -> Matrix:
    """The axes of the world, turned no more than brings their third to a unit vector (3,) of the upper half."""
    across = np.cross([0.0, 0.0, 1.0], superior)
    length = float(np.linalg.norm(across))
    turn = across * (np.arcsin(min(length, 1.0)) / length) if length > 1e-9 else np.zeros(3)
    axes: Matrix = Rotation.from_rotvec(turn).as_matrix()
    return axes


def _reaching_ends(labels: npt.NDArray[np.integer]) -> BoolArray:
    """The labeled pieces that reach an end of the image."""
    ends = [np.take(labels, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    reaching = np.unique(np.concatenate(ends))
    return np.isin(labels, reaching[reaching > 0])
