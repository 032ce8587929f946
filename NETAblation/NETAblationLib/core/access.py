"""Ways from the skin to a target: which straight lines are free, and where they enter.

Body, air and dense tissue (bone, contrast-filled vessels and organs) come from the CT; further
obstacles are masks given by the user. All lie on one even grid along R, A and S, on which the
distance to the nearest obstacle, less the clearance it needs, is known everywhere: a line is free
where that stays above zero from tip to skin. Hard constraints of this kind are those of
Villard/Baegert et al., Comput Aided Surg 2007;12:82.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import ComputationError, InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Room that a probe leaves to air (lung, bowel) and to every given obstacle, in mm: the mean lateral
#: error of stereotactic placement (Tinguely et al., Front Oncol 2021;11:713685: 3.7 mm).
CLEARANCE_MM = 3.7
#: Room to bone and other dense tissue, in mm; small, since probes pass between ribs. User-set.
DENSE_CLEARANCE_MM = 2.0

#: Above this, in HU and outside of the liver, tissue counts as dense; below the other as air. User-set.
DENSE_HU, AIR_HU = 200.0, -300.0

DENSE, AIR = "bone or dense tissue", "air (lung, bowel)"

#: No tissue or air is below the first, in HU (air is -1000, with noise); what is outside of the image
#: gets the second, as some scanners pad with.
_LEAST_HU, _PADDING_HU = -1500.0, -3000.0
#: Spacing of the grid in mm, and of the samples along a line. User-set.
_SPACING_MM = 2.0
_STEP_MM = 1.0
#: Layers of nodes that are taken off to part the body from the table, and back on. User-set.
_THIN_NODES = 2
#: Radius of the disk that closes gaps in the outline of the body where there is tissue, in mm. User-set.
_WALL_GAP_MM = 50.0
#: Pieces of air or dense tissue below this many nodes are noise. User-set.
_LEAST_NODES = 8
#: Less of the image above AIR_HU than this, or none below, is no CT of a body in HU. User-set.
_BODY_SHARES = (0.01, 0.995)
_FAR_MM = 1e3


@dataclass(frozen=True)
class Surroundings:
    """What a probe meets on its way: arrays (K, J, I) whose index grows along R, A and S.

    `body` and `liver` are 1 inside (float32, so that their edge can be found between nodes), `known`
    where the image has been measured: where that ends, so does the body in it, but there is no skin;
    `room_mm` is the distance to the nearest obstacle less the clearance it needs; `obstacles` holds
    each of them by name with its clearance in mm.
    """

    lower_ras_mm: FloatArray
    spacing_mm: float
    known: npt.NDArray[np.float32]
    body: npt.NDArray[np.float32]
    liver: npt.NDArray[np.float32]
    room_mm: npt.NDArray[np.float32]
    obstacles: Mapping[str, tuple[BoolArray, float]]

    def sample(self, field: npt.NDArray[np.float32], points: FloatArray, outside: float) -> FloatArray:
        """A field at points (..., 3), linear between nodes, `outside` beyond the image."""
        index = (points.reshape(-1, 3) - self.lower_ras_mm) / self.spacing_mm
        values = ndimage.map_coordinates(
            field, index[:, ::-1].T, order=1, mode="constant", cval=outside, output=np.float64
        )
        return values.reshape(points.shape[:-1])

    def holds(self, points: FloatArray) -> BoolArray:
        """Which of the points (..., 3) lie where the image shows something."""
        return self.sample(self.known, points, 0.0) > 0.5


@dataclass(frozen=True)
class Ways:
    """Lines along one direction: `is_free` (L, T) for each line and tip, `entry_mm` (L,) to its skin.

    `entry_mm` is the distance from the line's base point back to the skin, NaN where the line
    does not leave the body within the image.
    """

    is_free: BoolArray
    entry_mm: FloatArray


def survey(
    image: sitk.Image, liver: sitk.Image, tumor: sitk.Image, obstacles: Mapping[str, sitk.Image]
) -> Surroundings:
    """Find body, air and dense tissue in a CT and join them with the given obstacles.

    All masks may lie on grids of their own; the tumor is part of the liver also where its mask
    leaves it out. Raises InputError for an image that is no CT of a body in HU.
    """
    grid = _grid_over(image)
    resampled = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, _PADDING_HU, sitk.sitkFloat32)
    hu = sitk.GetArrayFromImage(resampled)
    known = hu > _LEAST_HU
    share = float((hu[known] > AIR_HU).mean()) if known.any() else 0.0
    if not _BODY_SHARES[0] < share < _BODY_SHARES[1]:
        raise InputError(
            f"planning needs a CT in HU with the skin in it: {100 * share:.1f} % of this image lie above {AIR_HU:g} HU"
        )
    body = _body(hu > AIR_HU)
    in_liver = _on_grid(liver, grid) | _on_grid(tumor, grid)
    spared = ndimage.binary_dilation(in_liver)
    layers = {
        DENSE: (_without_specks((hu > DENSE_HU) & body & ~spared), DENSE_CLEARANCE_MM),
        AIR: (_without_specks((hu < AIR_HU) & body & ~in_liver), CLEARANCE_MM),
    }
    for name, mask in obstacles.items():
        layers[name] = (_on_grid(mask, grid) | _touched(mask, grid), CLEARANCE_MM)
    lower, _ = frames.bounding_box_ras(grid)
    return Surroundings(
        lower + 0.5 * _SPACING_MM,
        _SPACING_MM,
        known.astype(np.float32),
        body.astype(np.float32),
        in_liver.astype(np.float32),
        _room_mm(layers.values(), body.shape),
        layers,
    )


def _room_mm(obstacles: Iterable[tuple[BoolArray, float]], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Distance to the nearest obstacle less its clearance; obstacles of one clearance count as one."""
    joined: dict[float, BoolArray] = {}
    for mask, clearance_mm in obstacles:
        joined[clearance_mm] = joined[clearance_mm] | mask if clearance_mm in joined else mask
    room = np.full(shape, _FAR_MM, dtype=np.float32)
    for clearance_mm, mask in joined.items():
        if mask.any():
            # The obstacle's surface lies half a node beyond its last center.
            away = ndimage.distance_transform_edt(~mask).astype(np.float32) - 0.5
            np.minimum(room, away * _SPACING_MM - clearance_mm, out=room)
    return room


def follow(
    surroundings: Surroundings,
    bases_ras_mm: FloatArray,
    direction: FloatArray,
    tips_mm: FloatArray,
    longest_mm: float,
) -> Ways:
    """Follow lines from their tips back to the skin.

    A line runs through a base point (L, 3) along `direction` (3,), the unit vector from skin to
    tip; its possible tips lie `tips_mm` (T,) ahead of the base point, in rising order. A tip is
    free where it lies in the liver, the line meets no obstacle from there to the skin, and is at
    most `longest_mm` long.
    """
    deepest = float(tips_mm[-1])
    back = np.arange(0.0, longest_mm + deepest - float(tips_mm[0]) + _STEP_MM, _STEP_MM)
    along = deepest - back
    points = bases_ras_mm[:, None] + along[None, :, None] * direction
    in_body = surroundings.sample(surroundings.body, points, 0.0) >= 0.5
    clear = surroundings.sample(surroundings.room_mm, points, -1.0) > 0
    # The skin: the first sample out of the body behind the base point.
    behind = along <= float(tips_mm[0])
    left = ~in_body & behind
    exit_index = np.where(left.any(axis=1), left.argmax(axis=1), len(along) - 1)
    rows = np.arange(len(points))
    leaves = left.any(axis=1) & surroundings.holds(points[rows, exit_index])
    entry = -(along[exit_index] + 0.5 * _STEP_MM)
    needed = np.arange(len(along)) < exit_index[:, None]
    blocked = needed & ~clear
    # Blocked anywhere between a sample and the skin: a running sum from the skin inward.
    blocked_from_skin = np.cumsum(blocked[:, ::-1], axis=1)[:, ::-1] > 0
    # The sample at the tip, or the next one ahead of it.
    tip_index = np.clip(np.floor((deepest - tips_mm) / _STEP_MM + 1e-6).astype(int), 0, len(along) - 1)
    tip_points = bases_ras_mm[:, None] + tips_mm[None, :, None] * direction
    in_liver = surroundings.sample(surroundings.liver, tip_points, 0.0) >= 0.5
    short_enough = tips_mm[None, :] + entry[:, None] <= longest_mm
    is_free = leaves[:, None] & ~blocked_from_skin[:, tip_index] & in_liver & short_enough
    return Ways(is_free, np.where(leaves, entry, np.nan))


def directions(count: int) -> FloatArray:
    """Unit vectors (count, 3) spread evenly over the sphere (Fibonacci lattice)."""
    steps = np.arange(count) + 0.5
    z = 1 - 2 * steps / count
    azimuth = np.pi * (1 + 5**0.5) * steps
    ring = np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z], axis=1)


def explain_blocked(surroundings: Surroundings, target_ras_mm: FloatArray, longest_mm: float) -> ComputationError:
    """The error for a target without any free way, naming what stands in it."""
    ways = target_ras_mm - np.arange(0.0, longest_mm, 2.0)[:, None] * directions(200)[:, None]
    shares = {}
    for name, obstacle in surroundings.obstacles.items():
        room = _room_mm([obstacle], surroundings.body.shape)
        in_way = (surroundings.sample(room, ways, _FAR_MM) <= 0).any(axis=1)
        shares[name] = float(in_way.mean())
    named = sorted((name for name, share in shares.items() if share > 0), key=lambda name: -shares[name])
    listed = ", ".join(f"{name} ({100 * shares[name]:.0f} % of the directions)" for name in named)
    return ComputationError(
        f"no free way of at most {longest_mm:g} mm from the skin to the tumor: blocked by "
        f"{listed or 'the liver mask'}; check the obstacles and the field of view, or choose a longer device"
    )


def _grid_over(image: sitk.Image) -> sitk.Image:
    """An empty grid along the axes of R, A and S that holds the image; its index grows with them."""
    lower, upper = frames.bounding_box_ras(image)
    size = np.maximum(np.ceil((upper - lower) / _SPACING_MM).astype(int), 1)
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing([_SPACING_MM] * 3)
    grid.SetDirection(np.diag([-1.0, -1.0, 1.0]).ravel().tolist())
    grid.SetOrigin(frames.flip_lps_ras(lower + 0.5 * _SPACING_MM).tolist())
    return grid


def _on_grid(mask: sitk.Image, grid: sitk.Image) -> BoolArray:
    """Which nodes of the grid lie in a mask."""
    resampled = sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    return sitk.GetArrayFromImage(resampled) != 0


def _touched(mask: sitk.Image, grid: sitk.Image) -> BoolArray:
    """The nodes nearest to the voxels of a mask: so no part of it is lost between nodes, however thin."""
    touched = np.zeros(grid.GetSize()[::-1], dtype=bool)
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(mask))
    to_grid = frames.ras_to_index_matrix(grid) @ frames.index_to_ras_matrix(mask)
    index = np.round(frames.apply_matrix(to_grid, np.stack([i, j, k], axis=1))).astype(int)[:, ::-1]
    index = index[np.all((index >= 0) & (index < touched.shape), axis=1)]
    touched[tuple(index.T)] = True
    return touched


def _body(tissue: BoolArray) -> BoolArray:
    """The largest piece of tissue, without the table, with its cavities filled slice by slice."""
    core = ndimage.binary_erosion(tissue, iterations=_THIN_NODES)
    labels, count = ndimage.label(core if core.any() else tissue)
    largest = labels == (np.bincount(labels.ravel())[1:].argmax() + 1 if count else 0)
    if core.any():
        # Grown back by a little more than was eroded, which does not reach the table, but where a wall
        # between skin and lung or bowel is as thin as what was eroded, across the whole gap in it.
        outline = np.array([_closed(part) for part in largest])
        wall = tissue & ndimage.binary_dilation(outline, iterations=_THIN_NODES + 1)
        largest = ndimage.binary_propagation(largest, mask=wall)
    return np.array([ndimage.binary_fill_holes(part) for part in largest])


def _closed(part: BoolArray) -> BoolArray:
    """A slice with the gaps in its outline closed that a disk of _WALL_GAP_MM does not enter."""
    if not part.any():
        return part
    radius = _WALL_GAP_MM / _SPACING_MM
    pad = int(radius) + 2
    near = ndimage.distance_transform_edt(~np.pad(part, pad)) <= radius
    return np.asarray(ndimage.distance_transform_edt(near) > radius)[pad:-pad, pad:-pad]


def _without_specks(mask: BoolArray) -> BoolArray:
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    keep = np.bincount(labels.ravel()) >= _LEAST_NODES
    keep[0] = False
    return keep[labels]
