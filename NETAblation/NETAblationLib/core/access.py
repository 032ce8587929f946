"""Ways from the skin to a target: which straight lines are free, and where they enter.

Body, air, bone and other dense tissue (contrast-filled vessels and organs) come from the CT
(:mod:`.anatomy`); further obstacles are masks given by the user. All lie on one even grid along R, A and S,
on which the distance to the nearest obstacle, less the clearance it needs, is known everywhere: a line is free
where that stays above zero from tip to skin. Hard constraints of this kind are those of
Villard/Baegert et al., Comput Aided Surg 2007;12:82.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from . import frames
from .access_rules import CLEARANCES, DENSE_ROLE, LIMITS, UNKNOWN_ROLE, clearance_mm, is_vessel
from .anatomy import Anatomy, distance_mm, find_obstacles, mask_on
from .errors import GeometryError, InputError, NothingFoundError
from .lobes import Lobes
from .skin import Place, Skin
from .wide_vessels import wide_part
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
NumberArray = npt.NDArray[np.uint16]

#: Room that a probe leaves to an obstacle about which nothing is known, and to dense tissue, in mm.
CLEARANCE_MM = CLEARANCES[UNKNOWN_ROLE].number
DENSE_CLEARANCE_MM = CLEARANCES[DENSE_ROLE].number

#: What the CT itself shows; no obstacle may be given by one of these names.
BONE, DENSE, LUNG, AIR = "bone in the CT", "dense tissue in the CT", "lung in the CT", "air in the CT (bowel)"

#: Spacing of the grid in mm, and of the samples along a line. User-set.
_SPACING_MM = 2.0
STEP_MM = 1.0
#: Room is known up to this, in mm; more is no better. User-set.
FAR_MM = 30.0
#: A value between nodes differs from that of the nearest one at most by this many nodes' distance, since a
#: distance changes by no more than the way: the mean distance of a cell's corners from one of them.
BETWEEN_NODES = (3.0 + 3.0 * 2**0.5 + 3**0.5) / 8.0
#: Of a tumor this share may lie in an obstacle: more, and one of the two masks is wrong. User-set.
_MOST_SHARED = 0.5
#: A no-go area counts for the skin this near to it, in mm: it may be drawn on, above or below. User-set.
_NO_GO_MM = 3.0
#: The capsule's direction is that of the liver smoothed with this standard deviation, in mm. User-set.
_CAPSULE_MM = 4.0

#: Slices farther than the reach that still tell body from table and lung from other air, in mm. User-set.
_CONTEXT_MM = 40.0
#: In front of the skin the body may come as near as this to a probe, in mm: a fold, noise. User-set.
_FOLD_MM = 5.0
#: Directions looked into to say what stands in the way. User-set.
_EXPLAINED = 200

_BODY, _LIVER, _TUMOR, _MIXED = 1, 2, 4, 8

#: What keeps a probe from entering at a place of the skin, in words; no-go areas have their own.
PLACE_WORDS = {
    Place.TABLE_SIDE: "the table side of the skin",
    Place.COVERED: "skin that a limb covers",
    Place.CUT: "the end of the field of view",
}


@dataclass(frozen=True)
class Surroundings:
    """What a probe meets on its way: arrays (K, J, I) whose index grows along R, A and S.

    `body`, `liver` and `tumor` are 1 inside (float32, so that their edge can be found between nodes), `known`
    where the image has been measured: where that ends, so does the body in it, but there is no skin;
    `room_mm` is the distance to the nearest obstacle less the clearance it needs, at most `FAR_MM` (within an
    obstacle it does not fall further), and `nearest`
    the number of that obstacle in `obstacles` (from 1; 0 where all are far), which holds each of them by name
    with its clearance in mm. `skin` has the places where a probe may enter, `no_go` (N,) the number of the
    area in `no_go_names` (from 1) that a point of the skin lies in; `least_liver_mm` is the liver asked for
    before the lesion, `lobes` the lobe of each node where it is known.
    """

    lower_ras_mm: FloatArray
    spacing_mm: float
    known: Float32Array
    body: Float32Array
    liver: Float32Array
    tumor: Float32Array
    room_mm: Float32Array
    nearest: NumberArray
    obstacles: Mapping[str, tuple[BoolArray, float]]
    skin: Skin
    no_go: NumberArray
    no_go_names: tuple[str, ...] = ()
    least_liver_mm: float = LIMITS["least_liver"].number
    lobes: ByteArray | None = None

    def sample(self, field: Float32Array, points: FloatArray, outside: float) -> FloatArray:
        """A field at points (..., 3), linear between nodes, `outside` beyond the image."""
        index = (points.reshape(-1, 3) - self.lower_ras_mm) / self.spacing_mm
        values = ndimage.map_coordinates(
            field, index[:, ::-1].T, order=1, mode="constant", cval=outside, output=np.float64
        )
        return values.reshape(points.shape[:-1])

    def holds(self, points: FloatArray) -> BoolArray:
        """Which of the points (..., 3) lie where the image shows something."""
        return self.sample(self.known, points, 0.0) > 0.5

    @property
    def grid(self) -> WorkingGrid:
        """The grid of all arrays."""
        r, a, s = self.lower_ras_mm.tolist()
        return WorkingGrid((r, a, s), self.spacing_mm, self.body.shape)

    def about(self, tumor: sitk.Image) -> Surroundings:
        """The same surroundings with a tumor, given as a mask, in the place of the one until now, if any.

        Raises GeometryError for one outside of the liver, InputError for one that an obstacle contains.
        """
        in_tumor = mask_on(tumor, self.grid)
        if not in_tumor.any():  # so small that it lies between the nodes
            in_tumor = _touched(tumor, self.grid)
        _require_in_liver(in_tumor, self.liver >= 0.5)
        for name, (found, _) in self.obstacles.items():
            share = float(found[in_tumor].mean()) if in_tumor.any() else 0.0
            if share > _MOST_SHARED and name not in (BONE, DENSE, LUNG, AIR):
                raise InputError(
                    f"obstacle '{name}': contains {100 * share:.0f} % of the tumor, so no probe could reach it; "
                    "check both masks"
                )
        marked = in_tumor.astype(np.float32)
        return replace(self, tumor=marked, liver=np.maximum(self.liver, marked))

    @property
    def names(self) -> tuple[str, ...]:
        """The obstacles in the order of their numbers in `nearest`, which begin with 1."""
        return tuple(self.obstacles)

    @cached_property
    def tumor_center_ras_mm(self) -> FloatArray:
        """Center of mass of the tumor, (3,)."""
        return self.lower_ras_mm + self.spacing_mm * np.argwhere(self.tumor >= 0.5)[:, ::-1].mean(axis=0)

    def nodes(self, points: FloatArray) -> npt.NDArray[np.int64]:
        """Where the node nearest to each point (..., 3) stands in a flat array with a border of one node."""
        k, j, i = (count + 2 for count in self.body.shape)
        index = (points - (self.lower_ras_mm - 1.5 * self.spacing_mm)) * (1.0 / self.spacing_mm)
        whole = index.astype(np.int64)
        np.clip(whole, 0, (i - 1, j - 1, k - 1), out=whole)
        return np.asarray((whole[..., 2] * j + whole[..., 1]) * i + whole[..., 0])

    def are_in(self, points: FloatArray, nodes: npt.NDArray[np.int64]) -> tuple[BoolArray, BoolArray, BoolArray]:
        """Which of the points (..., 3), with their `nodes`, lie in the body, the liver and the tumor."""
        codes = self.codes_at(nodes)
        mixed = np.nonzero(codes & _MIXED)
        inside = [(codes & bit) > 0 for bit in (_BODY, _LIVER, _TUMOR)]
        for found, field in zip(inside, (self.body, self.liver, self.tumor), strict=True):
            found[mixed] = self.sample(field, points[mixed], 0.0) >= 0.5
        return inside[0], inside[1], inside[2]

    def codes_at(self, nodes: npt.NDArray[np.int64]) -> ByteArray:
        """Bits that say whether `nodes` are in the body, the liver and the tumor, and have neighbors that differ."""
        return np.asarray(self._codes[nodes])

    def is_clear(self, points: FloatArray, nodes: npt.NDArray[np.int64]) -> BoolArray:
        """Which of the points (..., 3), with their `nodes`, keep the clearance of all obstacles."""
        room = self.rooms_at(nodes)
        clear = room > 0
        unsure = np.nonzero(np.abs(room) <= BETWEEN_NODES * self.spacing_mm)
        clear[unsure] = self.sample(self.room_mm, points[unsure], -1.0) > 0
        return np.asarray(clear)

    def least_room_mm(
        self, points: FloatArray, nodes: npt.NDArray[np.int64], counts: BoolArray
    ) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """The least room (N,) on lines of points (N, S, 3), with their `nodes`, where they count, and where it is."""
        room = np.where(counts, self.rooms_at(nodes), np.float32(FAR_MM)).astype(np.float64)
        slack = 2 * BETWEEN_NODES * self.spacing_mm
        unsure = np.nonzero(counts & (room <= room.min(axis=1, keepdims=True) + slack))
        room[unsure] = self.sample(self.room_mm, points[unsure], FAR_MM)
        where = room.argmin(axis=1)
        return room[np.arange(len(room)), where], where

    def rooms_at(self, nodes: npt.NDArray[np.int64]) -> Float32Array:
        """The room at `nodes`, in mm."""
        return np.asarray(self._rooms[nodes])

    def nearest_at(self, nodes: npt.NDArray[np.int64]) -> NumberArray:
        """The number of the nearest obstacle at `nodes`; 0 where all are far."""
        return np.asarray(self._nearest[nodes])

    def lobes_at(self, nodes: npt.NDArray[np.int64]) -> ByteArray:
        """The lobe at `nodes`; 0 where none is known."""
        return np.zeros(nodes.shape, np.uint8) if self._lobes is None else self._lobes[nodes]

    def capsule_normals(self, points: FloatArray) -> FloatArray:
        """Unit vectors (N, 3) out of the liver at points (N, 3) at its capsule; NaN where there is none."""
        slope = np.empty((len(points), 3))
        for axis, step in enumerate(self.spacing_mm * np.eye(3)):
            ahead, behind = (self.sample(self._smooth_liver, points + way, 0.0) for way in (step, -step))
            slope[:, axis] = behind - ahead
        size = np.linalg.norm(slope, axis=1, keepdims=True)
        return np.where(size > 1e-3, slope / np.maximum(size, 1e-3), np.nan)

    def places_at(self, points: FloatArray) -> npt.NDArray[np.int64]:
        """The nearest point of the skin to each of the points (N, 3), by its number."""
        return np.asarray(self.skin.tree.query(points)[1], dtype=np.int64)

    @cached_property
    def _codes(self) -> ByteArray:
        """Body, liver and tumor at each node as bits, and whether a neighbor differs; flat, with a border."""
        codes = np.zeros([count + 2 for count in self.body.shape], dtype=np.uint8)
        inner = codes[1:-1, 1:-1, 1:-1]
        for bit, field in ((_BODY, self.body), (_LIVER, self.liver), (_TUMOR, self.tumor)):
            inner |= (field >= 0.5).astype(np.uint8) * np.uint8(bit)
        most, least = codes, codes
        for axis in range(3):
            most, least = (
                _of_neighbors(value, axis, pick) for value, pick in ((most, np.maximum), (least, np.minimum))
            )
        codes |= (most != least).astype(np.uint8) * np.uint8(_MIXED)
        return codes.ravel()

    @cached_property
    def _rooms(self) -> Float32Array:
        """Room at each node; flat, with a border."""
        return np.pad(self.room_mm, 1, constant_values=-1.0).ravel()

    @cached_property
    def _nearest(self) -> NumberArray:
        return np.pad(self.nearest, 1).ravel()

    @cached_property
    def _lobes(self) -> ByteArray | None:
        return None if self.lobes is None else np.pad(self.lobes, 1).ravel()

    @cached_property
    def _smooth_liver(self) -> Float32Array:
        smooth = np.zeros_like(self.liver)
        box = _box_about(self.liver > 0, round(3 * _CAPSULE_MM / self.spacing_mm))
        smooth[box] = ndimage.gaussian_filter(self.liver[box], _CAPSULE_MM / self.spacing_mm)
        return smooth


@dataclass(frozen=True)
class Ways:
    """Lines that were followed: `is_free` (L, T) for each line and tip, `entry_mm` (L,) to its skin.

    `entry_mm` is the distance from the line's base point back to the skin, NaN where the line
    does not leave the body within the image.
    """

    is_free: BoolArray
    entry_mm: FloatArray


def survey(
    image: sitk.Image,
    liver: sitk.Image,
    tumor: sitk.Image,
    obstacles: Mapping[str, sitk.Image],
    *,
    no_go: Mapping[str, sitk.Image] | None = None,
    lobes: Lobes | None = None,
    least_liver_mm: float = LIMITS["least_liver"].number,
    reach_mm: float | None = None,
) -> Surroundings:
    """The surroundings of one tumor, as :func:`survey_all` finds them.

    Raises GeometryError for a tumor outside of the liver, InputError for an obstacle that contains it, too.
    """
    _require_overlap("tumor", tumor, image)
    around = survey_all(
        image,
        liver,
        [tumor],
        obstacles,
        no_go=no_go,
        lobes=lobes,
        least_liver_mm=least_liver_mm,
        reach_mm=reach_mm,
    )
    return around.about(tumor)


def survey_all(
    image: sitk.Image,
    liver: sitk.Image,
    tumors: Sequence[sitk.Image],
    obstacles: Mapping[str, sitk.Image],
    *,
    no_go: Mapping[str, sitk.Image] | None = None,
    lobes: Lobes | None = None,
    least_liver_mm: float = LIMITS["least_liver"].number,
    reach_mm: float | None = None,
) -> Surroundings:
    """Find body, skin, air, bone and dense tissue in a CT and join them with the given obstacles.

    The result has no tumor yet: :meth:`Surroundings.about` puts one in. All masks may lie on grids of their own; the
    tumors are part of the liver also where its mask leaves them out, but for those that do not touch it. `no_go` are
    areas of the skin by name, as masks, where no probe may enter; `lobes` tell where a
    path crosses from one to another. What lies farther than `reach_mm` from every tumor is left out, which is
    faster: the length of the longest probe.

    A wall of 2.5 mm and more between skin and lung or bowel is found; at 2 mm and less the lung or bowel beneath
    may be taken for air outside, and its inner side for skin.

    Of vessels (by their name) only the parts of 3 mm and more are obstacles: thinner branches run all through a liver.

    Raises InputError for an image that is no CT of a body in HU or a name given to two things; GeometryError for
    masks elsewhere or a no-go area away from the skin.
    """
    for name in obstacles:
        if name in (BONE, DENSE, LUNG, AIR):
            raise InputError(f"obstacle '{name}': this name is taken; give it another")
    for name, mask in {"liver": liver, **obstacles, **(no_go or {})}.items():
        _require_overlap(name, mask, image)
    near = None if reach_mm is None or not tumors else box_of(tumors, reach_mm)
    if near is not None:
        image = _slices_within(image, near[0] - _CONTEXT_MM, near[1] + _CONTEXT_MM)
    touching = [tumor for tumor in tumors if _touches(tumor, liver)]
    anatomy = find_obstacles(image, liver=liver, tumors=touching, spacing_mm=_SPACING_MM, purpose="planning")
    whole = anatomy.grid
    box = _region(anatomy, near)
    grid = WorkingGrid(
        tuple((np.array(whole.first_ras_mm) + [whole.spacing_mm * side.start for side in box[::-1]]).tolist()),
        whole.spacing_mm,
        tuple(side.stop - side.start for side in box),
    )
    layers = {
        BONE: (anatomy.bone[box], CLEARANCES["bone"].number),
        DENSE: (anatomy.dense[box], DENSE_CLEARANCE_MM),
        LUNG: (anatomy.lung[box], CLEARANCES["lung"].number),
        AIR: (anatomy.gas[box], CLEARANCES["gas"].number),
    }
    for name, given in obstacles.items():
        mask = wide_part(given, LIMITS["wide_vessel"].number) if is_vessel(name) else given
        layers[name] = (mask_on(mask, grid) | _touched(mask, grid), clearance_mm(name))
    room, nearest = _room_mm(layers, grid.shape)
    skin, no_go_of = _with_no_go(anatomy.skin, no_go or {}, grid)
    return Surroundings(
        np.array(grid.first_ras_mm),
        _SPACING_MM,
        anatomy.known[box].astype(np.float32),
        anatomy.body[box].astype(np.float32),
        anatomy.liver[box].astype(np.float32),
        np.zeros(grid.shape, dtype=np.float32),
        room,
        nearest,
        layers,
        skin,
        no_go_of,
        tuple(no_go or ()),
        least_liver_mm,
        None if lobes is None else _lobes_on(lobes, anatomy.liver[box], grid),
    )


def box_of(tumors: Sequence[sitk.Image], reach_mm: float) -> tuple[FloatArray, FloatArray]:
    """Lower and upper corner (3,) of what comes within reach of the tumors."""
    corners = np.array([frames.bounding_box_ras(_cut_to_content(tumor)) for tumor in tumors])
    return corners[:, 0].min(axis=0) - reach_mm, corners[:, 1].max(axis=0) + reach_mm


def _slices_within(image: sitk.Image, lower: FloatArray, upper: FloatArray) -> sitk.Image:
    """The slices of an image that come within a box."""
    corners = np.array(np.meshgrid(*zip(lower, upper, strict=True))).reshape(3, -1).T
    k = frames.ras_to_index(image, corners)[:, 2]
    first, last = max(0, int(np.floor(k.min()))), min(image.GetSize()[2], int(np.ceil(k.max())) + 1)
    return image[:, :, first:last] if last > first else image


def _cut_to_content(mask: sitk.Image) -> sitk.Image:
    """A mask without the empty voxels around it; all of one that is empty."""
    inside = np.asarray(sitk.GetArrayViewFromImage(mask) != 0)
    k, j, i = _box_about(inside, 0)
    return mask[i, j, k]


def _region(anatomy: Anatomy, near: tuple[FloatArray, FloatArray] | None) -> tuple[slice, slice, slice]:
    """The part of the anatomy's grid that holds the body, as far as it lies in a box."""
    grid = anatomy.grid
    sides = _box_about(anatomy.body, 3)
    lower, upper = [side.start for side in sides], [side.stop for side in sides]
    if near is not None:
        nodes = (np.array(near) - grid.first_ras_mm)[:, ::-1] / grid.spacing_mm
        lower = np.maximum(lower, np.floor(nodes[0]) - 3).astype(int).tolist()
        upper = np.minimum(upper, np.ceil(nodes[1]) + 4).astype(int).tolist()
    k, j, i = (slice(a, max(b, a + 1)) for a, b in zip(lower, upper, strict=True))
    return k, j, i


def _box_about(mask: BoolArray, border: int) -> tuple[slice, ...]:
    """The box of what is true in a mask, with a border as far as there is room."""
    found = ndimage.find_objects(mask.view(np.uint8))
    sides = found[0] if found else tuple(slice(0, count) for count in mask.shape)
    return tuple(
        slice(max(0, side.start - border), min(count, side.stop + border))
        for side, count in zip(sides, mask.shape, strict=True)
    )


def _require_overlap(name: str, mask: sitk.Image, image: sitk.Image) -> None:
    (lower, upper), (image_lower, image_upper) = frames.bounding_box_ras(mask), frames.bounding_box_ras(image)
    if np.any(lower > image_upper) or np.any(upper < image_lower):
        raise GeometryError(
            f"{name}: lies beside the planning image ({frames.describe_grid(mask)}; {frames.describe_grid(image)}): "
            "check the frame of reference"
        )


def _touches(tumor: sitk.Image, liver: sitk.Image) -> bool:
    """Whether a tumor lies in the liver, or no farther from it than the nodes of the grid from each other."""
    box = frames.bounding_box_ras(_cut_to_content(tumor))
    grid = WorkingGrid.over(box[0] - _SPACING_MM, box[1] + _SPACING_MM, _SPACING_MM)
    in_tumor = mask_on(tumor, grid) | _touched(tumor, grid)
    return bool(mask_on(liver, grid)[ndimage.binary_dilation(in_tumor)].any())


def _require_in_liver(tumor: BoolArray, liver: BoolArray) -> None:
    """Refuse a tumor that neither lies in the liver nor touches it, as one does that the liver's mask leaves out."""
    if not liver[ndimage.binary_dilation(tumor)].any():
        raise GeometryError("tumor: lies outside the liver mask: check both masks and their frame")


def _with_no_go(skin: Skin, areas: Mapping[str, sitk.Image], grid: WorkingGrid) -> tuple[Skin, NumberArray]:
    """The skin with the places in a no-go area marked, and for each point the number of its area."""
    numbers = np.zeros(len(skin.places), dtype=np.uint16)
    for number, (name, mask) in enumerate(areas.items(), start=1):
        centers = frames.voxel_centers(mask)
        if not len(centers):
            raise GeometryError(f"no-go area '{name}': the mask is empty")
        slack = _NO_GO_MM + 0.5 * float(np.linalg.norm(mask.GetSpacing()))
        away = np.asarray(cKDTree(centers).query(skin.surface.points_ras_mm, distance_upper_bound=slack)[0])
        inside = away <= slack
        if not inside.any():
            raise GeometryError(f"no-go area '{name}': lies away from the skin; check its frame")
        numbers[inside] = number
    places = np.where(numbers > 0, np.uint8(Place.NO_GO), skin.places).astype(np.uint8)
    return replace(skin, places=places), numbers


def _lobes_on(lobes: Lobes, liver: BoolArray, grid: WorkingGrid) -> ByteArray:
    found = np.zeros(grid.shape, dtype=np.uint8)
    found[liver] = lobes.at(grid.points(liver))
    return found


def _room_mm(
    obstacles: Mapping[str, tuple[BoolArray, float]], shape: tuple[int, ...]
) -> tuple[Float32Array, NumberArray]:
    """Distance to the nearest obstacle less its clearance, up to FAR_MM, and the number of that obstacle."""
    room = np.full(shape, FAR_MM, dtype=np.float32)
    nearest = np.zeros(shape, dtype=np.uint16)
    for number, (mask, clearance) in enumerate(obstacles.values(), start=1):
        if not mask.any():
            continue
        box = _box_about(mask, int(np.ceil((FAR_MM + clearance) / _SPACING_MM)) + 1)
        # The obstacle's surface lies half a node beyond its last center.
        away = distance_mm(np.ascontiguousarray(mask[box]), _SPACING_MM) - (0.5 * _SPACING_MM + clearance)
        less = away < room[box]
        room[box][less] = away[less]
        nearest[box][less] = number
    return room, nearest


def follow(
    surroundings: Surroundings,
    bases_ras_mm: FloatArray,
    direction: FloatArray,
    tips_mm: FloatArray,
    longest_mm: float,
) -> Ways:
    """Follow lines from their tips back to the skin.

    A line runs through a base point (L, 3) along `direction`, the unit vector from skin to tip, (3,) for
    all or (L, 3); its possible tips lie `tips_mm` (T,) ahead of the base point, in rising order. A tip is
    free where it lies in the liver, the line meets no obstacle from there to the skin, is at
    most `longest_mm` long, enters where the skin is free and does not meet the body again outside of it, and
    passes the least liver before the tumor, if it meets that.
    """
    deepest = float(tips_mm[-1])
    back = np.arange(0.0, longest_mm + deepest - float(tips_mm[0]) + STEP_MM, STEP_MM)
    along = deepest - back
    inward = np.broadcast_to(direction, bases_ras_mm.shape)
    points = bases_ras_mm[:, None] + along[None, :, None] * inward[:, None]
    nodes = surroundings.nodes(points)
    in_body, in_liver, in_tumor = surroundings.are_in(points, nodes)
    # The skin: the first sample out of the body behind the base point.
    left = ~in_body & (along <= float(tips_mm[0]))
    exit_index = np.where(left.any(axis=1), left.argmax(axis=1), len(along) - 1)
    exits = points[np.arange(len(points)), exit_index]
    leaves = left.any(axis=1) & surroundings.holds(exits)
    entry = -(along[exit_index] + 0.5 * STEP_MM)
    may_enter = leaves.copy()
    may_enter[leaves] = surroundings.skin.is_free[surroundings.places_at(exits[leaves])]
    reach = longest_mm - (float(tips_mm[0]) + entry)
    may_enter[leaves] &= ~meets_body_outside(surroundings, exits[leaves], -inward[leaves], reach[leaves])
    needed = np.arange(len(along)) < exit_index[:, None]
    blocked = needed.copy()
    blocked[needed] = ~surroundings.is_clear(points[needed], nodes[needed])
    # Blocked anywhere between a sample and the skin: a running sum from the skin inward.
    blocked_from_skin = np.cumsum(blocked[:, ::-1], axis=1)[:, ::-1] > 0
    # The sample at the tip, or the next one ahead of it.
    tip_index = np.clip(np.floor((deepest - tips_mm) / STEP_MM + 1e-6).astype(int), 0, len(along) - 1)
    tip_points = bases_ras_mm[:, None] + tips_mm[None, :, None] * inward[:, None]
    tip_in_liver = surroundings.are_in(tip_points, surroundings.nodes(tip_points))[1]
    short_enough = tips_mm[None, :] + entry[:, None] <= longest_mm
    contact, before_mm = liver_before(in_liver & needed, in_tumor & needed)
    punctures = (tip_index[None, :] <= contact[:, None]) & (before_mm < surroundings.least_liver_mm)[:, None]
    is_free = may_enter[:, None] & ~blocked_from_skin[:, tip_index] & tip_in_liver & short_enough & ~punctures
    return Ways(is_free, np.where(leaves, entry, np.nan))


def meets_body_outside(
    surroundings: Surroundings, entries: FloatArray, outward: FloatArray, reach_mm: FloatArray
) -> BoolArray:
    """Whether probes from entries (N, 3), `outward` (N, 3) or (1, 3), meet the body again within reach (N,) outside.

    So does one that would enter behind an arm at the side of the body, or in a groove of the skin.
    """
    away = np.arange(_FOLD_MM, float(reach_mm.max(initial=0.0)), 0.5 * surroundings.spacing_mm)
    points = entries[:, None] + away[:, None] * outward[:, None]
    in_body = (surroundings.codes_at(surroundings.nodes(points)) & _BODY) > 0
    return np.asarray((in_body & (away < reach_mm[:, None])).any(axis=1))


def liver_before(in_liver: BoolArray, in_tumor: BoolArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Where lines (L, S), sampled from the tip back to the skin, first meet the tumor, and the liver before in mm.

    The first is the number of the sample, -1 where a line meets no tumor: then all liver counts.
    """
    samples = np.arange(in_liver.shape[1])
    contact = np.where(in_tumor, samples, -1).max(axis=1)
    return contact, STEP_MM * (in_liver & (samples > contact[:, None])).sum(axis=1)


def directions(count: int) -> FloatArray:
    """Unit vectors (count, 3) spread evenly over the sphere (Fibonacci lattice)."""
    steps = np.arange(count) + 0.5
    z = 1 - 2 * steps / count
    azimuth = np.pi * (1 + 5**0.5) * steps
    ring = np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z], axis=1)


def explain_blocked(surroundings: Surroundings, target_ras_mm: FloatArray, longest_mm: float) -> NothingFoundError:
    """The error for a target without any free way, naming what stands in it."""
    rays = directions(_EXPLAINED)
    ways = target_ras_mm - np.arange(0.0, longest_mm, _SPACING_MM)[:, None] * rays[:, None]
    nodes = surroundings.nodes(ways)
    in_body, in_liver, in_tumor = surroundings.are_in(ways, nodes)
    inside = np.logical_and.accumulate(in_body, axis=1)
    blocked = inside & ~surroundings.is_clear(ways, nodes)
    found = np.where(blocked, surroundings.nearest_at(nodes), 0)
    shares = {name: float((found == n).any(axis=1).mean()) for n, name in enumerate(surroundings.names, start=1)}
    # What stands at the skin, or in the liver, of ways that are else clear.
    reach = np.flatnonzero(~inside.all(axis=1))
    exits = ways[reach, (~inside[reach]).argmax(axis=1)]
    held = surroundings.holds(exits)
    points = surroundings.places_at(exits)
    places, areas = surroundings.skin.places[points], surroundings.no_go[points]
    for place, words in PLACE_WORDS.items():
        shares[words] = float((held & (places == place)).sum()) / len(rays)
    for number, name in enumerate(surroundings.no_go_names, start=1):
        shares[f"no-go area '{name}'"] = float((held & (areas == number)).sum()) / len(rays)
    contact, before_mm = liver_before(in_liver & inside, in_tumor & inside)
    direct = (contact >= 0) & (before_mm * _SPACING_MM / STEP_MM < surroundings.least_liver_mm)
    shares[f"less than {surroundings.least_liver_mm:g} mm of liver before the tumor"] = float(direct.mean())
    named = sorted((name for name, share in shares.items() if share > 0), key=lambda name: -shares[name])
    listed = ", ".join(f"{name} ({100 * shares[name]:.0f} % of the directions)" for name in named)
    return NothingFoundError(
        f"no free way of at most {longest_mm:g} mm from the skin to the tumor: blocked by "
        f"{listed or 'the liver mask'}; check the obstacles and the field of view, or choose a longer device"
    )


def _touched(mask: sitk.Image, grid: WorkingGrid) -> BoolArray:
    """The nodes nearest to the voxels of a mask: so no part of it is lost between nodes, however thin."""
    touched = np.zeros(grid.shape, dtype=bool)
    index = np.round((frames.voxel_centers(mask) - grid.first_ras_mm) / grid.spacing_mm).astype(int)[:, ::-1]
    index = index[np.all((index >= 0) & (index < touched.shape), axis=1)]
    touched[tuple(index.T)] = True
    return touched


def _of_neighbors(values: ByteArray, axis: int, pick: np.ufunc) -> ByteArray:
    """The largest or least value of each node and its two neighbors along an axis."""
    picked = values.copy()
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    for here, there in ((low, high), (high, low)):
        pick(picked[tuple(here)], values[tuple(there)], out=picked[tuple(here)])
    return picked
