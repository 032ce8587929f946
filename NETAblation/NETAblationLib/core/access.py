"""Ways from the skin to a target: which straight lines are free, and where they enter.

Body, air, bone and other dense tissue (contrast-filled vessels and organs) come from the CT
(:mod:`.anatomy`); further obstacles are masks given by the user. All lie on one even grid along R, A and S,
on which the distance to the nearest obstacle, less the clearance it needs, is known everywhere: a line is free
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
from .anatomy import find_obstacles, mask_on
from .errors import ComputationError
from .structures import catalogue
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Room that a probe leaves to air (lung, bowel) and to every given obstacle but bone, in mm: the mean lateral
#: error of stereotactic placement (Tinguely et al., Front Oncol 2021;11:713685: 3.7 mm).
CLEARANCE_MM = 3.7
#: Room to bone and other dense tissue, in mm; small, since probes pass between ribs. User-set.
DENSE_CLEARANCE_MM = 2.0

DENSE, AIR = "bone or dense tissue", "air (lung, bowel)"

#: Spacing of the grid in mm, and of the samples along a line. User-set.
_SPACING_MM = 2.0
_STEP_MM = 1.0
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
    anatomy = find_obstacles(image, liver=liver, tumor=tumor, spacing_mm=_SPACING_MM, purpose="planning")
    grid = anatomy.grid
    layers = {
        DENSE: (anatomy.bone | anatomy.dense, DENSE_CLEARANCE_MM),
        AIR: (anatomy.lung | anatomy.gas, CLEARANCE_MM),
    }
    for name, mask in obstacles.items():
        layers[name] = (mask_on(mask, grid) | _touched(mask, grid), clearance_mm(name))
    return Surroundings(
        np.array(grid.first_ras_mm),
        _SPACING_MM,
        anatomy.known.astype(np.float32),
        anatomy.body.astype(np.float32),
        anatomy.liver.astype(np.float32),
        _room_mm(layers.values(), grid.shape),
        layers,
    )


def clearance_mm(name: str) -> float:
    """Room that a probe leaves to a given obstacle of that name: as to bone in the CT where it is a bone."""
    structure = catalogue().match(name).structure
    return DENSE_CLEARANCE_MM if structure is not None and structure.role == "bone" else CLEARANCE_MM


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


def _touched(mask: sitk.Image, grid: WorkingGrid) -> BoolArray:
    """The nodes nearest to the voxels of a mask: so no part of it is lost between nodes, however thin."""
    touched = np.zeros(grid.shape, dtype=bool)
    for k, plane in enumerate(sitk.GetArrayViewFromImage(mask)):  # by plane: little memory
        j, i = np.nonzero(plane)
        centers = frames.index_to_ras(mask, np.stack([i, j, np.full_like(i, k)], axis=1))
        index = np.round((centers - grid.first_ras_mm) / grid.spacing_mm).astype(int)[:, ::-1]
        index = index[np.all((index >= 0) & (index < touched.shape), axis=1)]
        touched[tuple(index.T)] = True
    return touched
