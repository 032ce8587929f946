"""The skin: the surface of the body in a CT, sub-voxel, and where a probe may not enter through it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from . import subvoxel
from .errors import ComputationError
from .surfaces import Surface
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

#: The skin lies halfway between air and soft tissue, in HU.
_AIR_HU, _TISSUE_HU = -1000.0, 0.0
_SMOOTH_MM = 1.4
#: As near as this to the end of what was measured, the body's surface is no skin, in mm. User-set.
_CUT_MM = 3.0
#: Skin is covered where this far in front of it, or so near, lies the table or a limb, in mm. User-set.
_IN_FRONT_MM, _CONTACT_MM, _STEP_MM = 60.0, 6.0, 2.0
#: Where no table is seen: the back's skin is that within this angle of straight down, in degrees. User-set.
_BACK_DEGREES = 45.0


class Place(IntEnum):
    """What a point of the body's surface is to a probe."""

    FREE = 0
    TABLE_SIDE = 1
    COVERED = 2
    CUT = 3
    NO_GO = 4


@dataclass(frozen=True)
class Skin:
    """The closed surface of the body and the `Place` of each of its points, (N,) uint8.

    TABLE_SIDE faces or touches the table (where none is seen, the patient is taken to lie on the back, and
    `is_table_seen` is False); COVERED faces or touches a limb; CUT is where the field of view ends, so not skin; NO_GO
    is where the user allows none, which no image shows.
    """

    surface: Surface
    places: npt.NDArray[np.uint8]
    is_table_seen: bool

    @cached_property
    def is_free(self) -> BoolArray:
        """Where a probe may enter, (N,)."""
        return self.places == Place.FREE

    @cached_property
    def tree(self) -> cKDTree:
        """For the point of the surface nearest to another one."""
        return cKDTree(self.surface.points_ras_mm)


def skin_of(
    grid: WorkingGrid, hu: FloatArray, known: BoolArray, body: BoolArray, table: BoolArray, limbs: BoolArray
) -> Skin:
    """The skin of a body found on a grid; all arrays (K, J, I), `hu` a CT's.

    Raises ComputationError for a body that is empty.
    """
    if not body.any():
        raise ComputationError("no body: it has no skin")
    # Cavities count as tissue, what does not touch the body as air; between them the CT decides.
    field = np.full(np.add(grid.shape, 2), _AIR_HU, dtype=np.float32)
    inner = field[1:-1, 1:-1, 1:-1]
    near = known & ndimage.binary_dilation(body) & ~table & ~limbs
    np.copyto(inner, np.clip(hu, _AIR_HU, _TISSUE_HU), where=near)
    inner[body] = np.maximum(inner[body], 0.5 * (_AIR_HU + _TISSUE_HU) + 1.0)
    inner[ndimage.binary_erosion(body)] = _TISSUE_HU
    field = ndimage.gaussian_filter(field, _SMOOTH_MM / 2 / grid.spacing_mm)
    middle = 0.5 * (_AIR_HU + _TISSUE_HU)
    points, triangles = subvoxel.zero_level(middle - field)
    surface = Surface((points - 1.0) * grid.spacing_mm + np.array(grid.first_ras_mm), triangles)
    return Skin(surface, _places(surface, grid, known, table, limbs), bool(table.any()))


def _places(surface: Surface, grid: WorkingGrid, known: BoolArray, table: BoolArray, limbs: BoolArray) -> npt.NDArray:
    points, normals = surface.points_ras_mm, surface.point_normals
    places = np.full(len(points), Place.FREE, dtype=np.uint8)
    places[_faces(points, normals, grid, limbs)] = Place.COVERED
    if table.any():
        places[_faces(points, normals, grid, table)] = Place.TABLE_SIDE
    else:
        places[-normals[:, 1] > np.cos(np.radians(_BACK_DEGREES))] = Place.TABLE_SIDE
    reach = max(1, round(_CUT_MM / grid.spacing_mm))
    unknown = ndimage.binary_dilation(~np.pad(known, reach + 1), iterations=reach)
    index = np.rint((points - grid.first_ras_mm) / grid.spacing_mm).astype(int)[:, ::-1] + reach + 1
    places[unknown[tuple(index.T)]] = Place.CUT
    return places


def _faces(points: FloatArray, normals: FloatArray, grid: WorkingGrid, cover: BoolArray) -> BoolArray:
    """Which points have a cover in front of them, along their normal, or touch it."""
    found = np.zeros(len(points), dtype=bool)
    if not cover.any():
        return found
    shape = np.array(grid.shape)
    near = ndimage.binary_dilation(cover, iterations=round(_CONTACT_MM / grid.spacing_mm))
    for away in np.arange(0.0, _IN_FRONT_MM, _STEP_MM):
        index = np.rint((points + away * normals - grid.first_ras_mm) / grid.spacing_mm).astype(int)[:, ::-1]
        index = np.clip(index, 0, shape - 1)
        found |= (near if away == 0 else cover)[tuple(index.T)]
    return found
