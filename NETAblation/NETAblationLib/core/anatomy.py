"""What any CT of the body shows without learning: body and skin, lung, other air, bone, dense tissue, the table.

All is found along the body's own axes (:mod:`.body_frame`) and given on one grid along R, A and S
(:class:`~.working_grids.WorkingGrid`), whose arrays (K, J, I) grow toward superior, anterior and right, whatever
the orientation of the image. What the scanner has not
measured (padding, the world outside of the image) is known as such: the body ends there, the skin does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .body_frame import in_frame, upright
from .errors import InputError
from .frames import Matrix
from .images import require_3d_finite
from .skin import Skin, skin_of
from .surfaces import Surface
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer]

#: Between air and tissue, in HU; halfway between air and fat or water would lose walls of 3 mm. User-set.
AIR_HU = -400.0
#: Above this tissue is dense: bone, contrast, metal, in HU. User-set.
DENSE_HU = 200.0

#: No tissue or air is below this, in HU (air is -1000, with noise): it is padding. What is not known is taken for air.
_PADDING_HU, _OUTSIDE_HU, _MOST_HU = -1500.0, -1024.0, 3071.0
#: A round field of view fills the slice to this share of its width; scanners pad the rest. User-set.
_ROUND_SHARE = 0.02
#: A corner filled with one value is at least this share of the image. User-set.
_FILLED_SHARE = 0.002
#: Less of the image above AIR_HU than the first share, or more than the second: no CT of a body. User-set.
_BODY_SHARES = (0.01, 0.995)

#: What is thinner than twice the first is taken off to part the body from the table; gaps in its outline up to
#: twice the second are closed where there is tissue; in mm. User-set.
_THIN_MM, _WALL_GAP_MM = 4.0, 50.0
#: Air outside and in bowel is below this, in HU; lung is not (own measurement on three CTs: -990 and -860). User-set.
_LUNG_HU = -930.0
#: Of the wall of a cavity in the body, this share is body; a table's is not. User-set.
_CAVITY_SHARE = 0.3
#: A cavity open to the edge of the field of view is lung from this area on, in mm2; a pocket of outer air between
#: arm and chest is open above or below over this area. User-set.
_CUT_LUNG_MM2, _POCKET_MM2 = 1000.0, 150.0
#: Lung in one piece has at least the first volume, in ml, or the second where the upper end of the image cuts its
#: base off. User-set.
_LUNG_ML, _LUNG_BASE_ML = 60.0, 10.0
#: Vessels up to twice this wide belong to the lung, in mm. User-set.
_LUNG_VESSEL_MM = 4.0
#: Pieces of air or dense tissue below this volume are noise, in ml. User-set.
_LEAST_ML = 0.064

#: Bone is above the first, in HU, and each piece has a cortex: a tenth of it above the second. User-set.
BONE_HU, _CORTEX_HU, _CORTEX_SHARE, _BONE_ML = 160.0, 270.0, 0.1, 0.3
#: Contrast is even: it spreads less than this, in HU, over a box of this edge, in mm, in pieces of this volume,
#: in ml. So is some marrow, but around it lies a cortex: this share of what surrounds it, so far, is brighter by
#: this, in HU. On two real CTs and the digital patient that share is 0 to 0.08 for contrast, 0.12 to 0.5 for
#: marrow (own measurement). User-set.
_EVEN_HU, _EVEN_BOX_MM, _EVEN_ML, _RIM_MM, _RIM_HU, _RIM_SHARE = 45.0, 10.0, 0.5, 8.0, 60.0, 0.1
#: Contrast reaches this far beyond its even part, in mm, where it is not brighter by this, in HU; what it covers
#: to this share is contrast too. User-set.
_CONTRAST_EDGE_MM, _CONTRAST_HU, _CONTRAST_COVER = 8.0, 120.0, 0.4
#: The sternum and the cartilages of the ribs lie within this depth below the skin, in mm. User-set.
_STERNUM_MM = 24.0
#: Marrow is above the last, in HU (the spinal canal and most disks are below); it fills gaps in bone up to twice
#: the first wide, in mm, and what a cortex with gaps up to twice the second encloses in a slice. User-set.
_MARROW_MM, _CORTEX_GAP_MM, _MARROW_HU = 4.0, 10.0, 90.0

#: A piece beside the body with a core at this depth is a limb, else table or the like, in mm. User-set.
_LIMB_MM = 14.0
#: Of the outside, pieces below this volume are noise and blankets, in ml. User-set.
_TABLE_ML = 2.0


@dataclass(frozen=True)
class Anatomy:
    """What a CT shows on an even grid; all arrays have the grid's shape (K, J, I).

    `hu` is the CT from -1024 to 3071, `known` where it was measured. `body` holds skin and all within it,
    without the table and without limbs that do not touch it; `lung` with the airways and vessels in it; `gas`
    all other air in the body (bowel, abscess, pneumothorax); `bone` with its marrow; `dense` all else in
    the body above DENSE_HU: vessels, bowel and organs full of contrast, calcifications, metal. `table` is
    what lies outside of the body (table, cushions, lines) and `limbs` are arms or legs apart from it; `liver` is
    the one that was given. Lung, gas, bone and dense are parts of the body and apart from each other. `found` is the
    same anatomy along the body's axes, with the matrix (4, 4) from RAS mm to RAS mm along them, where these are not
    the world's.
    """

    grid: WorkingGrid
    hu: FloatArray
    known: BoolArray
    body: BoolArray
    liver: BoolArray
    lung: BoolArray
    gas: BoolArray
    bone: BoolArray
    dense: BoolArray
    table: BoolArray
    limbs: BoolArray
    found: tuple[Anatomy, Matrix] | None = field(default=None, repr=False)

    @cached_property
    def skin(self) -> Skin:
        """The surface of the body, sub-voxel, each point with its place: free, table side, covered or cut."""
        if self.found is None:
            return skin_of(self.grid, self.hu, self.known, self.body, self.table, self.limbs)
        along, to_body = self.found
        surface = along.skin.surface
        points = frames.apply_matrix(np.linalg.inv(to_body).astype(np.float64), surface.points_ras_mm)
        return replace(along.skin, surface=Surface(points, surface.triangles))

    def slices(self, start: int, stop: int) -> Anatomy:
        """The slices of the grid from `start` to before `stop`."""
        r, a, s = self.grid.first_ras_mm
        step = self.grid.spacing_mm
        grid = WorkingGrid((r, a, s + step * int(start)), step, (int(stop - start), *self.grid.shape[1:]))
        return Anatomy(
            grid,
            self.hu[start:stop],
            self.known[start:stop],
            **{name: getattr(self, name)[start:stop] for name in _PARTS},
        )

    def mask(self, name: str, image: sitk.Image) -> sitk.Image:
        """One of the parts by name ("bone", "lung", ...) as uint8 0/1 on the grid of a CT.

        On the CT itself its edge follows the CT's own voxels. Raises InputError for an unknown name.
        """
        if name not in _EDGES_HU:
            raise InputError(f"'{name}' is no part of the anatomy found; there are {', '.join(_EDGES_HU)}")
        along, to_body = self.found or (self, np.eye(4))
        part = along.grid.image(getattr(along, name).astype(np.uint8) * np.uint8(100))
        share = in_frame(part, np.linalg.inv(to_body).astype(np.float64))
        fine = sitk.GetArrayFromImage(sitk.Resample(share, image, sitk.Transform(), sitk.sitkLinear, 0.0))
        low, high = _EDGES_HU[name]
        inside = np.empty(fine.shape, np.uint8)
        for k, plane in enumerate(sitk.GetArrayViewFromImage(image)):
            belongs = (plane > low) & (plane < high)
            inside[k] = np.where(belongs, fine[k] >= 20, fine[k] >= 80)
        mask = sitk.GetImageFromArray(inside)
        mask.CopyInformation(image)
        return mask


#: What is carried from the body's axes to the world's.
_PARTS = ("body", "liver", "lung", "gas", "bone", "dense", "table", "limbs")

#: HU of the voxels of a CT that belong to a part where its edge on the coarser grid leaves it open.
_EDGES_HU = {
    "body": (AIR_HU, np.inf),
    "lung": (-np.inf, AIR_HU),
    "gas": (-np.inf, AIR_HU),
    "bone": (BONE_HU, np.inf),
    "dense": (DENSE_HU, np.inf),
    "table": (AIR_HU, np.inf),
    "limbs": (AIR_HU, np.inf),
}


def find_obstacles(
    image: sitk.Image,
    *,
    liver: sitk.Image | None = None,
    tumors: Sequence[sitk.Image] = (),
    spacing_mm: float = 2.0,
    purpose: str = "finding the anatomy",
) -> Anatomy:
    """Find body, lung, other air, bone, dense tissue and table in a CT in HU, of any orientation and slice thickness.

    What lies in `liver`, with `tumors`, masks in the CT's frame on grids of their own if need be, is none of
    the obstacles: gas of an ablation zone is not bowel, contrast in its vessels not bone. `spacing_mm` is that
    of the grid on which it works and answers. Raises ImageReadError for an image that is not 3D and sound,
    InputError, beginning with `purpose`, for one that is no CT of a body in HU.
    """
    require_3d_finite(image, "image")
    turned, to_body = upright(image)
    masks = [in_frame(mask, to_body) for mask in (liver, *tumors) if mask is not None]
    found = find_upright(turned, masks, spacing_mm=spacing_mm, purpose=purpose)
    if np.array_equal(to_body, np.eye(4)):
        return found
    del turned
    grid = WorkingGrid.over(*frames.bounding_box_ras(image), spacing_mm)
    hu, known = _on_grid(image, grid)
    parts = {name: _on_world(getattr(found, name), found.grid, to_body, grid) for name in _PARTS}
    for name, first in (("gas", "lung"), ("dense", "bone")):
        parts[name] &= ~parts[first]
    return Anatomy(grid, hu, known, **parts, found=(found, to_body))


def find_upright(
    image: sitk.Image, livers: Sequence[sitk.Image], *, spacing_mm: float, purpose: str = "finding the anatomy"
) -> Anatomy:
    """The anatomy in a CT in a frame along the body's axes; as `find_obstacles`, where it is said what is raised.

    What lies in the masks `livers` is none of the obstacles.
    """
    grid = WorkingGrid.over(*frames.bounding_box_ras(image), spacing_mm)
    hu, known = _on_grid(image, grid)
    share = float((hu[known] > AIR_HU).mean()) if known.any() else 0.0
    if not (_BODY_SHARES[0] < share < _BODY_SHARES[1]):
        raise InputError(
            f"{purpose} needs a CT in HU with the skin in it: {100 * share:.1f} % of this image lie above {AIR_HU:g} HU"
        )
    tissue = hu > AIR_HU
    body = _body(tissue, hu, known, spacing_mm)
    in_liver = np.zeros(grid.shape, dtype=bool)
    for mask in livers:
        in_liver |= mask_on(mask, grid)
    air = body & ~tissue
    lung = _lung(air & ~in_liver, hu, body, spacing_mm) & ~in_liver
    gas = without_specks(air & ~lung & ~in_liver, _LEAST_ML, spacing_mm)
    spared = ndimage.binary_dilation(in_liver) if in_liver.any() else in_liver
    bone = _bone(hu, body, lung, body & ~lung & ~gas & ~spared, spacing_mm)
    dense = without_specks((hu > DENSE_HU) & body & ~spared & ~bone & ~lung, _LEAST_ML, spacing_mm)
    table, limbs = _outside(tissue & ~body, spacing_mm)
    return Anatomy(grid, hu, known, body, in_liver, lung, gas, bone, dense, table, limbs)


def _on_world(part: BoolArray, grid: WorkingGrid, to_body: Matrix, onto: WorkingGrid) -> BoolArray:
    """A part found along the body's axes on a grid along the world's: the voxels it fills most, in its volume."""
    share = in_frame(grid.image(part.astype(np.float32)), np.linalg.inv(to_body).astype(np.float64))
    reference = onto.image(np.zeros(onto.shape, np.uint8))
    filled = sitk.GetArrayFromImage(sitk.Resample(share, reference, sitk.Transform(), sitk.sitkLinear, 0.0))
    touched = np.sort(filled[filled > 0])
    if not len(touched):
        return np.zeros(onto.shape, dtype=bool)
    # Half of what is a voxel thin fills no voxel by half.
    least = touched[-max(1, round(float(touched.sum(dtype=np.float64))))]
    inside: BoolArray = filled >= min(least, 0.5)
    return inside


def _on_grid(image: sitk.Image, grid: WorkingGrid) -> tuple[FloatArray, BoolArray]:
    """The CT on a grid, float32 HU, and where it has been measured."""
    reference = grid.image(np.zeros(grid.shape, np.uint8))
    # A box over a voxel or so keeps thin slices from aliasing.
    factors = [max(1, int(grid.spacing_mm / step)) for step in image.GetSpacing()]
    measured = sitk.BinShrink(_measured(image), factors)
    is_integer = "integer" in image.GetPixelIDTypeAsString()
    clamped = sitk.Clamp(image, sitk.sitkInt16 if is_integer else sitk.sitkFloat32, _OUTSIDE_HU, _MOST_HU)
    coarse = sitk.BinShrink(clamped, factors)
    del clamped
    hu = sitk.GetArrayFromImage(
        sitk.Resample(coarse, reference, sitk.Transform(), sitk.sitkLinear, _OUTSIDE_HU, sitk.sitkFloat32)
    )
    share = sitk.Resample(measured, reference, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    known = sitk.GetArrayViewFromImage(share) > 99.0
    hu[~known] = _OUTSIDE_HU
    return hu, known


def _measured(image: sitk.Image) -> sitk.Image:
    """100 where a voxel has been measured, 0 where it is padding."""
    array = sitk.GetArrayViewFromImage(image)
    measured = np.where(array > _PADDING_HU, np.uint8(100), np.uint8(0))
    (nx, ny, _), (sx, sy, _) = image.GetSize(), image.GetSpacing()
    if abs(nx * sx / (ny * sy) - 1.0) < _ROUND_SHARE:
        y, x = np.ogrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
        radius = np.hypot(x, y)
        padding = array[:, radius > 1.0 + _ROUND_SHARE]
        if padding.size and (padding == padding.flat[0]).all():
            measured[:, radius > 1.0 - 1.5 / nx] = 0
    measured[_filled_corners(array)] = 0
    known = sitk.GetImageFromArray(measured)
    known.CopyInformation(image)
    return known


def _filled_corners(array: npt.NDArray) -> BoolArray:
    """The voxels with which resampling has filled the corners, of one value that is not air's."""
    corners = array[np.ix_(*([0, count - 1] for count in array.shape))]
    filled = np.zeros(array.shape, dtype=bool)
    for value in np.unique(corners[corners > AIR_HU]):
        labels, sizes = pieces(array == value)
        at_corner = np.unique(labels[np.ix_(*([0, count - 1] for count in array.shape))])
        filled |= np.isin(labels, [label for label in at_corner if sizes[label] > _FILLED_SHARE * array.size])
    return filled & (not filled.all())


def _body(tissue: BoolArray, hu: FloatArray, known: BoolArray, spacing_mm: float) -> BoolArray:
    """The largest piece of tissue, without the table, with its cavities filled."""
    thin = max(1, round(_THIN_MM / spacing_mm))
    core = ndimage.binary_erosion(tissue, iterations=thin)
    largest = largest_piece(core) if core.any() else largest_piece(tissue)
    if core.any():
        # Grown back by a little more than was eroded, which does not reach the table, but where a wall
        # between skin and lung or bowel is as thin as what was eroded, across the whole gap in it.
        outline = np.array([_closed(part, _WALL_GAP_MM / spacing_mm) for part in largest])
        wall = tissue & ndimage.binary_dilation(outline, iterations=thin + 1)
        largest = ndimage.binary_propagation(largest, mask=wall)
        cavities = _cavities(tissue, largest, hu, known, spacing_mm)
        largest |= tissue & ndimage.binary_dilation(cavities, iterations=thin + 1)
    return _filled(largest, hu, known, spacing_mm)


def _closed(part: BoolArray, radius: float) -> BoolArray:
    """A slice with the gaps in its outline closed that a disk of that radius, in pixels, does not enter."""
    if not part.any():
        return part
    pad = int(radius) + 2
    # Beyond its box a part closes nothing.
    box = ndimage.find_objects(part.view(np.uint8))[0]
    near = ndimage.distance_transform_edt(~np.pad(part[box], pad)) <= radius
    closed = np.zeros(part.shape, dtype=bool)
    closed[box] = (ndimage.distance_transform_edt(near) > radius)[pad:-pad, pad:-pad]
    return closed


def _cavities(tissue: BoolArray, body: BoolArray, hu: FloatArray, known: BoolArray, spacing_mm: float) -> BoolArray:
    """Lung in slices, also where its wall is thin: what tissue closes, much of it body, and is no outer air."""
    labels, open_ = _air_of_slices(tissue, known)
    of_body, of_all = np.zeros((2, len(open_)), dtype=np.int64)
    for axis in (1, 2):
        low, high = _neighbors(axis)
        for here, there in ((low, high), (high, low)):
            of_all += np.bincount(labels[here][tissue[there]], minlength=len(open_))
            of_body += np.bincount(labels[here][body[there]], minlength=len(open_))
    sizes = np.bincount(labels.ravel(), minlength=len(open_))
    is_air = np.bincount(labels[hu < _LUNG_HU], minlength=len(open_)) > 0.5 * sizes
    is_cavity = ~open_ & ~is_air & (sizes * spacing_mm**2 > _CUT_LUNG_MM2) & (of_body > _CAVITY_SHARE * of_all)
    is_cavity[0] = False
    return is_cavity[labels]


def _filled(tissue: BoolArray, hu: FloatArray, known: BoolArray, spacing_mm: float) -> BoolArray:
    """The body with its cavities: what its tissue encloses in a slice, and lung that the field of view cuts.

    A pocket of outer air between arm and chest, closed in some slices, is open above or below them.
    """
    labels, open_ = _air_of_slices(tissue, known)
    sizes = np.bincount(labels.ravel(), minlength=len(open_))
    is_air = np.bincount(labels[hu < _LUNG_HU], minlength=len(open_)) > 0.5 * sizes
    open_ &= is_air | (sizes * spacing_mm**2 < _CUT_LUNG_MM2)
    is_air[0] = False
    outside = open_[labels]
    pockets, count = ndimage.label((is_air & ~open_)[labels])
    touching = np.zeros(count + 1, dtype=np.int64)
    low, high = _neighbors(0)
    for here, there in ((low, high), (high, low)):
        touching += np.bincount(pockets[here][outside[there]], minlength=count + 1)
    is_pocket = touching * spacing_mm**2 > _POCKET_MM2
    is_pocket[0] = False
    return known & ~outside & ~is_pocket[pockets]


def _air_of_slices(tissue: BoolArray, known: BoolArray) -> tuple[IntArray, BoolArray]:
    """Labels of the pieces of what is known and no tissue in each slice, and which of them reach the edge of it."""
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    labels, count = ndimage.label(~tissue & known, in_plane)
    edge = ndimage.binary_dilation(~known, in_plane)
    edge[:, [0, -1], :] = True
    edge[:, :, [0, -1]] = True
    open_ = np.zeros(count + 1, dtype=bool)
    open_[np.unique(labels[edge])] = True
    open_[0] = False
    return labels, open_


def _neighbors(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The parts of an array that lie beside each other along an axis."""
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)


def _lung(air: BoolArray, hu: FloatArray, body: BoolArray, spacing_mm: float) -> BoolArray:
    """Air in large pieces that are not as empty as bowel, with the vessels in it."""
    # Lung and bowel may meet where the diaphragm is thin: told apart by their cores.
    labels, sizes = pieces(ndimage.binary_erosion(air, border_value=True))
    is_gas = np.bincount(labels[hu < _LUNG_HU], minlength=len(sizes)) > 0.5 * sizes
    volumes_ml = np.where(is_gas, 0, sizes) * spacing_mm**3 / 1000.0
    at_top = np.zeros(len(sizes), dtype=bool)
    at_top[labels[np.flatnonzero(body.any(axis=(1, 2)))[-1]]] = True
    is_lung = (volumes_ml > _LUNG_ML) | (at_top & (volumes_ml > _LUNG_BASE_ML))
    if not is_lung.any():
        return np.zeros(air.shape, dtype=bool)
    lung = is_lung[labels]
    # The layer that was taken off, and what it joins, goes to the nearer core.
    other = ndimage.binary_dilation((labels > 0) & ~lung, iterations=2)
    lung = ndimage.binary_dilation(lung, iterations=2, mask=air & ~other) | lung
    return lung | (_joined(lung, _LUNG_VESSEL_MM / spacing_mm) & body & ~air)


def _joined(mask: BoolArray, reach: float) -> BoolArray:
    """A mask with gaps closed that are up to twice `reach` voxels wide."""
    steps = max(1, round(reach))
    return ndimage.binary_erosion(ndimage.binary_dilation(mask, iterations=steps), iterations=steps, border_value=True)


def _bone(hu: FloatArray, body: BoolArray, lung: BoolArray, tissue: BoolArray, spacing_mm: float) -> BoolArray:
    """Bone with its marrow, and not what contrast makes as dense: that is even, and has no cortex around it."""
    smooth = ndimage.gaussian_filter(hu, 1.0 / spacing_mm)
    dense = (smooth > BONE_HU) & tissue
    contrast = _contrast(smooth, dense, spacing_mm) | (dense & _mediastinum(body, lung, spacing_mm))
    dense &= ~contrast
    labels, sizes = pieces(dense)
    cortex = np.bincount(labels[smooth > _CORTEX_HU], minlength=len(sizes))
    rim = ndimage.binary_dilation(contrast) & dense
    covered = np.bincount(labels[rim], minlength=len(sizes))
    shell = np.bincount(labels[dense & ~ndimage.binary_erosion(dense)], minlength=len(sizes))
    keep = (sizes * spacing_mm**3 / 1000.0 > _BONE_ML) & (cortex > _CORTEX_SHARE * sizes)
    bone = (keep & (covered <= _CONTRAST_COVER * shell))[labels] & (hu > BONE_HU)  # smoothing has made it thicker
    closed = _joined(bone, _MARROW_MM / spacing_mm)
    enclosed = np.array([ndimage.binary_fill_holes(_closed(part, _CORTEX_GAP_MM / spacing_mm)) for part in bone])
    return bone | ((closed | enclosed) & (smooth > _MARROW_HU) & tissue & ~contrast)


def _contrast(smooth: FloatArray, dense: BoolArray, spacing_mm: float) -> BoolArray:
    """Vessels, bowel and organs full of contrast."""
    box = 2 * round(_EVEN_BOX_MM / spacing_mm / 2) + 1
    values = np.clip(smooth, 0.0, 1000.0)
    mean = ndimage.uniform_filter(values, box)
    even = dense & (ndimage.uniform_filter(values * values, box) - mean * mean < _EVEN_HU**2)
    labels, sizes = pieces(even)
    found = np.zeros(dense.shape, dtype=bool)
    around, edge = round(_RIM_MM / spacing_mm), round(_CONTRAST_EDGE_MM / spacing_mm)
    for label, sides in enumerate(ndimage.find_objects(labels), start=1):
        if sides is None or sizes[label] * spacing_mm**3 / 1000.0 < _EVEN_ML:
            continue
        part = tuple(slice(max(0, side.start - around - 1), side.stop + around + 1) for side in sides)
        core, near = labels[part] == label, smooth[part]
        value = float(np.median(near[core]))
        rim = ndimage.binary_dilation(core, iterations=around) & ~ndimage.binary_dilation(core)
        if (near[rim] > value + _RIM_HU).mean() < _RIM_SHARE:
            alike = dense[part] & (near < value + _CONTRAST_HU)
            found[part] |= ndimage.binary_dilation(core, iterations=edge, mask=alike)
    return found


def _mediastinum(body: BoolArray, lung: BoolArray, spacing_mm: float) -> BoolArray:
    """What lies between the lungs, in the front half of the body and deeper than the sternum: heart and vessels."""
    between = np.logical_or.accumulate(lung, axis=2) & np.logical_or.accumulate(lung[..., ::-1], axis=2)[..., ::-1]
    if not between.any():
        return between
    rows = body.any(axis=2)
    count = np.cumsum(rows, axis=1)
    in_front = count > 0.5 * count[:, -1:]
    return between & in_front[..., None] & ndimage.binary_erosion(body, iterations=round(_STERNUM_MM / spacing_mm))


def _outside(rest: BoolArray, spacing_mm: float) -> tuple[BoolArray, BoolArray]:
    """Table and limbs: what lies outside of the body."""
    labels, sizes = pieces(rest)
    deep = np.bincount(
        labels[ndimage.binary_erosion(rest, iterations=round(_LIMB_MM / spacing_mm))], minlength=len(sizes)
    )
    large = sizes * spacing_mm**3 / 1000.0 > _TABLE_ML
    return (large & (deep == 0))[labels], (large & (deep > 0))[labels]


def mask_on(mask: sitk.Image, grid: WorkingGrid) -> BoolArray:
    """Which voxels of a grid have their center in a mask."""
    reference = grid.image(np.zeros(grid.shape, np.uint8))
    resampled = sitk.Resample(mask, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    return sitk.GetArrayFromImage(resampled) != 0


def distance_mm(mask: BoolArray, spacing_mm: float) -> FloatArray:
    """Distance from each voxel of a cubic grid to the nearest one in the mask, float32; infinite where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    signed = sitk.SignedMaurerDistanceMap(sitk.GetImageFromArray(mask.view(np.uint8)), False, False, False)
    return np.maximum(sitk.GetArrayFromImage(signed), 0) * np.float32(spacing_mm)


def pieces(mask: BoolArray) -> tuple[IntArray, IntArray]:
    """Labels of the connected pieces of a mask, and the voxels of each; the outside, label 0, counts none."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels, sizes


def largest_piece(mask: BoolArray) -> BoolArray:
    """The largest connected piece of a mask; nothing of nothing."""
    labels, sizes = pieces(mask)
    return labels == int(sizes.argmax()) if sizes.any() else mask


def without_specks(mask: BoolArray, least_ml: float, spacing_mm: float) -> BoolArray:
    """The pieces of a mask of at least a volume."""
    labels, sizes = pieces(mask)
    return (sizes * spacing_mm**3 / 1000.0 >= least_ml - 1e-9)[labels] & mask
