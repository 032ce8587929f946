"""Smooth fields carried from the moving frame into the fixed one, without resampling a mask.

With T mapping fixed to moving points, the carried field at x is the field at T(x); its zero
level is the surface carried over. No inverse of T is needed for that, only a guess of where in
the fixed frame to look, which is then widened until it holds all of the surface.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import frames
from .errors import GeometryError, InputError
from .surfaces import FieldPatch, SmoothField

FloatArray = npt.NDArray[np.float64]

#: Step of the finite differences that give the local affine part of a transform, in mm; of the
#: order of a lesion's radius, so that noise of a displacement field averages out.
_DERIVATIVE_STEP_MM = 10.0
#: Spacing at which the search for the carried surface samples the transform, in mm; well below
#: the 20 to 50 mm control spacing of registrations of the liver.
_SEARCH_SPACING_MM = 4.0
#: Border added to the search region each time it is found too small, in mm.
_SEARCH_GROWTH_MM = 12.0
_MAX_SEARCH_ROUNDS = 24
_MAX_NEWTON_STEPS = 30
#: Nodes of a carried field; above, its grid gets coarser. No published source; user-set.
_MAX_NODES = 1_500_000
#: Least spacing of a carried field, in mm: linear between nodes, a surface of radius R then moves by
#: at most 1 / (8 R) mm, 0.03 mm at the smallest lesions.
_MIN_SPACING_MM = 1.0
#: Larger contraction is taken for a slip of the pen. User-set.
_MAX_SHRINKAGE_FRACTION = 0.5
#: Nodes mapped at a time, which bounds the memory.
_SLAB_NODES = 250_000


def carry_field(
    field: SmoothField,
    fixed_to_moving: sitk.Transform | None,
    guess_ras_mm: npt.ArrayLike,
    *,
    zone_shrinkage_fraction: float = 0.0,
) -> SmoothField:
    """The field of the moving frame as a field of the fixed frame.

    `guess_ras_mm` (3,) is a point of the fixed frame near the surface. A linear transform moves
    the grid exactly; any other is evaluated at the nodes of a new grid, about as fine.
    `zone_shrinkage_fraction` is by how much of its length ablated tissue has contracted (user-set; none
    by default): each piece of the zone is enlarged about its centroid by 1 / (1 - fraction) before it is carried,
    so that it holds the tissue that was ablated.
    Raises GeometryError where the transform has no inverse, or the surface is not found, InputError for
    a shrinkage that is not from 0 to 0.5.
    """
    if not 0.0 <= zone_shrinkage_fraction <= _MAX_SHRINKAGE_FRACTION:
        raise InputError(
            f"zone shrinkage: a fraction from 0 to {_MAX_SHRINKAGE_FRACTION} is needed, got {zone_shrinkage_fraction}"
        )
    if zone_shrinkage_fraction > 0.0:
        field = field.with_patches([_enlarged(patch, 1 / (1 - zone_shrinkage_fraction)) for patch in field.patches])
    if fixed_to_moving is None:
        return field
    require_3d(fixed_to_moving)
    if fixed_to_moving.IsLinear():
        to_fixed = np.linalg.inv(_local_affine(fixed_to_moving, np.zeros(3)))
        patches = [FieldPatch(patch.values_mm, to_fixed @ patch.index_to_ras) for patch in field.patches]
    else:
        guess = np.asarray(guess_ras_mm, dtype=np.float64)
        patches = [_carry_patch(patch, fixed_to_moving, guess) for patch in field.patches]
    return field.with_patches(patches)


def _enlarged(patch: FieldPatch, factor: float) -> FieldPatch:
    """The patch, its distances included, scaled about the centroid of what lies inside."""
    inside = np.argwhere(patch.values_mm < 0)
    center = frames.apply_matrix(patch.index_to_ras, inside.mean(axis=0)[None, ::-1])[0]
    scaling = np.diag([factor, factor, factor, 1.0])
    scaling[:3, 3] = (1 - factor) * center
    return FieldPatch((patch.values_mm * factor).astype(np.float32), scaling @ patch.index_to_ras)


def require_3d(transform: sitk.Transform | None) -> None:
    """Raise GeometryError for a transform that is not 3D; None is the identity and passes."""
    if transform is not None and transform.GetDimension() != 3:
        raise GeometryError(f"transform: expected a 3D one, got {transform.GetDimension()}D")


def _local_affine(transform: sitk.Transform, at_ras_mm: FloatArray) -> FloatArray:
    """The (4, 4) matrix that does what the transform does around a point, RAS to RAS."""
    step = _DERIVATIVE_STEP_MM
    points = np.concatenate([at_ras_mm + step * np.eye(3), at_ras_mm - step * np.eye(3), [at_ras_mm]])
    mapped = frames.transform_points(transform, points)
    matrix = np.eye(4)
    matrix[:3, :3] = (mapped[:3] - mapped[3:6]).T / (2 * step)
    matrix[:3, 3] = mapped[6] - matrix[:3, :3] @ at_ras_mm
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise GeometryError(
            "transform: it is flat or not finite near the tumor, so no surface can be carried through it; "
            "fuse the images again"
        )
    return matrix


def _carry_patch(patch: FieldPatch, transform: sitk.Transform, guess: FloatArray) -> FieldPatch:
    corners = patch.corners_ras()
    local = _local_affine(transform, _preimage(transform, corners.mean(axis=0), guess))
    corners = frames.apply_matrix(np.linalg.inv(local).astype(np.float64), corners)
    lower, upper = corners.min(axis=0) - _SEARCH_SPACING_MM, corners.max(axis=0) + _SEARCH_SPACING_MM
    for _ in range(_MAX_SEARCH_ROUNDS):
        grid = _axis_grid(lower, upper, np.full(3, _SEARCH_SPACING_MM))
        holds = _in_patch(patch, _mapped_nodes(transform, grid)).reshape(grid.GetSize()[::-1])
        if not holds.any():
            lower, upper = lower - _SEARCH_GROWTH_MM, upper + _SEARCH_GROWTH_MM
            continue
        # RAS and the grid's LPS axes differ in sign along R and A, hence the two sides swap.
        open_low, open_high = np.array([(holds.take(0, 2 - i).any(), holds.take(-1, 2 - i).any()) for i in range(3)]).T
        open_left, open_right = np.where([1, 1, 0], open_high, open_low), np.where([1, 1, 0], open_low, open_high)
        if not (open_low.any() or open_high.any()):
            break
        lower, upper = lower - _SEARCH_GROWTH_MM * open_left, upper + _SEARCH_GROWTH_MM * open_right
    else:
        raise GeometryError("transform: the zone's surface is not found in the planning frame; check the fusion")
    found = np.argwhere(holds)[:, ::-1]
    box = frames.index_to_ras(grid, np.stack([found.min(axis=0) - 1, found.max(axis=0) + 1]))
    return _sample(patch, transform, box.min(axis=0), box.max(axis=0))


def _preimage(transform: sitk.Transform, target: FloatArray, guess: FloatArray) -> FloatArray:
    """The fixed point that maps to `target`, by Newton's method; the best point met if none does."""
    best, best_miss = guess, np.inf
    point = guess
    for _ in range(_MAX_NEWTON_STEPS):
        local = _local_affine(transform, point)
        miss = frames.apply_matrix(local, point) - target
        if np.linalg.norm(miss) < best_miss:
            best, best_miss = point, float(np.linalg.norm(miss))
        if best_miss < 1.0:
            break
        point = point - np.linalg.solve(local[:3, :3], miss)
    return best


def _axis_grid(lower: FloatArray, upper: FloatArray, spacing_mm: FloatArray) -> sitk.Image:
    """A grid along the axes of the frame that covers a RAS box; the voxels are not used."""
    size = np.ceil((upper - lower) / spacing_mm).astype(int) + 1
    image = sitk.Image(size.tolist(), sitk.sitkUInt8)
    image.SetSpacing(spacing_mm.tolist())
    corners = frames.flip_lps_ras(np.stack([lower, upper]))
    image.SetOrigin(corners.min(axis=0).tolist())
    return image


def _mapped_nodes(transform: sitk.Transform, grid: sitk.Image) -> FloatArray:
    """Where the transform takes the nodes of a grid, (N, 3) RAS, in the order of its (K, J, I) array."""
    displacement = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    )
    moved = sitk.GetArrayViewFromImage(displacement).reshape(-1, 3)
    k, j, i = np.indices(grid.GetSize()[::-1], sparse=False).reshape(3, -1)
    return frames.index_to_ras(grid, np.stack([i, j, k], axis=1)) + frames.flip_lps_ras(moved)


def _in_patch(patch: FieldPatch, points_ras_mm: FloatArray) -> npt.NDArray[np.bool_]:
    index = frames.apply_matrix(np.linalg.inv(patch.index_to_ras).astype(np.float64), points_ras_mm)
    return np.all((index >= 0) & (index <= np.array(patch.values_mm.shape[::-1]) - 1), axis=1)


def _sample(patch: FieldPatch, transform: sitk.Transform, lower: FloatArray, upper: FloatArray) -> FieldPatch:
    """The field at T(x) on the nodes x of a grid over the box."""
    spacing = max(float(np.min(patch.spacing_mm)), _MIN_SPACING_MM)
    spacing = max(spacing, float(np.prod(upper - lower) / _MAX_NODES) ** (1 / 3))
    grid = _axis_grid(lower, upper, np.full(3, spacing))
    values = np.empty(grid.GetSize()[::-1], dtype=np.float32)
    thickness = max(1, _SLAB_NODES // (values.shape[1] * values.shape[2]))
    for start in range(0, len(values), thickness):
        slab = grid[:, :, start : start + thickness]
        points = _mapped_nodes(transform, slab)
        values[start : start + thickness] = patch.evaluate(points).reshape(slab.GetSize()[::-1])
    return FieldPatch(values, frames.index_to_ras_matrix(grid))
