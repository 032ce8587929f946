"""What an ablation left: tumor and margin tissue not ablated, and the shells around a tumor.

Volumes are those of regions between smooth surfaces, so they are sub-voxel: at each node of a grid,
the part of the node's cell on one side of a surface is taken from the distance to it, and the parts
on the right side of several surfaces are joined by how these surfaces lie to each other. Thin
regions, of which no node need lie inside, are thus measured too. The masks hold the voxels whose
center lies in the region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import frames
from .errors import FormatError
from .surfaces import FieldPatch, SmoothField, Surface, mask_view, merge_surfaces

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

#: Nodes wanted of the grid on which distances are measured; the regions are measured on one with
#: half its spacing. Eight times as many change a coverage by less than 0.002 (spheres of 4 to 20 mm).
_DISTANCE_NODES = 6_000
#: Bounds of that grid's spacing, in mm.
_DISTANCE_SPACING_MM = (0.8, 4.0)
#: A residual below this counts as none: a cube of 0.2 mm, far below any voxel of CT or MR.
_NEGLIGIBLE_ML = 1e-5
#: An axis is named in a direction where it makes up at least this much of it: the sine of 22.5
#: degrees, so that a plane falls into eight equal sectors.
_NAMED_COMPONENT = float(np.sin(np.deg2rad(22.5)))
_AXIS_WORDS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


@dataclass(frozen=True)
class Residual:
    """A region that should be ablated and is not.

    `volume_ml` is sub-voxel. `centroid_ras_mm` (3,) is the region's center of mass;
    `direction_ras` (3,) the unit vector from the tumor's center of mass to it, `direction_word`
    the same in words ("right-anterior"), `distance_mm` the length of that way. Where nothing is
    left they are None and "". `mask` (uint8, 0 or 1) lies on the tumor's grid, cropped to the
    tumor's surroundings; None in a result read from JSON.
    """

    volume_ml: float
    centroid_ras_mm: tuple[float, float, float] | None
    direction_ras: tuple[float, float, float] | None
    direction_word: str
    distance_mm: float | None
    mask: sitk.Image | None = None

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON; the mask is not part of it."""
        return {
            "volume_ml": self.volume_ml,
            "centroid_ras_mm": None if self.centroid_ras_mm is None else list(self.centroid_ras_mm),
            "direction_ras": None if self.direction_ras is None else list(self.direction_ras),
            "direction_word": self.direction_word,
            "distance_mm": self.distance_mm,
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Residual:
        """Read what :meth:`to_dict` wrote; raises FormatError for what it cannot have written."""
        try:
            return Residual(
                volume_ml=float(document["volume_ml"]),
                centroid_ras_mm=_triple(document["centroid_ras_mm"]),
                direction_ras=_triple(document["direction_ras"]),
                direction_word=str(document["direction_word"]),
                distance_mm=None if document["distance_mm"] is None else float(document["distance_mm"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"residual: the document is not one of this release ({error!r})") from error


@dataclass(frozen=True)
class Region:
    """Volume and center of mass of a part of space; the center is None where there is no volume."""

    volume_ml: float
    centroid_ras_mm: FloatArray | None


@dataclass(frozen=True)
class Neighborhood:
    """Tumor, zone and liver on one regular grid that reaches beyond a part of the tumor on all sides.

    `surface` is that part's. `tumor_mm` (K, J, I) is the signed distance to it, capped beyond the
    reach, and at the surface and inside the field, negative inside; `zone_mm` and `liver_mm` (None
    without a liver) are fields, negative inside. `index_to_ras` (4, 4) takes the grid index
    (I, J, K) to RAS mm; its nodes are equally far apart along all axes.
    """

    surface: Surface
    tumor_mm: Float32Array
    zone_mm: Float32Array
    liver_mm: Float32Array | None
    index_to_ras: FloatArray

    def shell(self, thickness_mm: float) -> Region:
        """The shell of that thickness around the tumor, inside the liver."""
        return self._region(_both(self._within(thickness_mm), self._outside(self.tumor_mm)))

    def missing_shell(self, thickness_mm: float) -> Region:
        """The part of the shell that is not ablated."""
        outside_both = np.minimum(self._outside(self.tumor_mm), self._outside(self.zone_mm))
        return self._region(_both(self._within(thickness_mm), outside_both))

    def missing_tumor(self) -> Region:
        """The part of the tumor that is not ablated."""
        inside = 1 - self._outside(self.tumor_mm)
        left = self._region(_both(inside, self._outside(self.zone_mm)))
        # Measured against the volume of the same nodes, all of a tumor is exactly all of it.
        scale = self.surface.volume_ml / max(self._region(inside).volume_ml, 1e-12)
        return Region(left.volume_ml * scale, left.centroid_ras_mm)

    def _within(self, thickness_mm: float) -> Float32Array:
        """Which part of each node's cell is within the thickness of the tumor, and in the liver."""
        within = 1 - self._outside(self.tumor_mm - np.float32(thickness_mm))
        return within if self.liver_mm is None else np.minimum(within, 1 - self._outside(self.liver_mm))

    def _outside(self, field_mm: Float32Array) -> Float32Array:
        """Which part of each node's cell is outside, if the surface were plane and along a face of the cell."""
        return np.clip(field_mm / np.float32(self._spacing_mm) + np.float32(0.5), 0, 1)

    @property
    def _spacing_mm(self) -> float:
        return float(np.linalg.norm(self.index_to_ras[:3, 0]))

    def _region(self, parts: Float32Array) -> Region:
        profiles = [parts.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) for axis in (2, 1, 0)]
        total = float(profiles[0].sum())
        volume_ml = total * self._spacing_mm**3 / 1000.0
        if not total > 0:
            return Region(0.0, None)
        index = np.array([profile @ np.arange(len(profile)) for profile in profiles]) / total
        return Region(volume_ml, frames.apply_matrix(self.index_to_ras, index))


def _both(inside: Float32Array, outside: Float32Array) -> Float32Array:
    """Part of each cell that is inside one surface and outside another, if they run alike through it.

    The surfaces of tumor, shell, zone and capsule do where they are so near to each other that
    one cell holds both; where they cross, only few cells do.
    """
    return np.maximum(inside + outside - 1, 0)


def sample_neighborhoods(
    tumor: sitk.Image,
    tumor_field: SmoothField,
    zone_field: SmoothField,
    liver_field: SmoothField | None,
    reach_mm: float,
) -> tuple[Neighborhood, ...]:
    """Sample the fields to `reach_mm` beyond the tumor's surface, along the axes of the tumor's grid.

    Parts of the tumor whose surroundings do not meet have a grid each.
    """
    axes = frames.index_to_ras_matrix(tumor)[:3, :3] / np.array(tumor.GetSpacing())
    groups = _groups([patch.surface() for patch in tumor_field.patches], axes, reach_mm)
    return tuple(_sample(group, axes, tumor_field, zone_field, liver_field, reach_mm) for group in groups)


def _groups(surfaces: list[Surface], axes: FloatArray, reach_mm: float) -> list[Surface]:
    """Join the surfaces whose boxes, grown by the reach, meet."""
    groups: list[Surface] = []
    for surface in surfaces:
        joined: list[Surface] = [surface]
        apart: list[Surface] = []
        for group in groups:
            (joined if _boxes_meet(group, surface, axes, 2 * reach_mm) else apart).append(group)
        merged = merge_surfaces(joined)
        groups = _groups([*apart, merged], axes, reach_mm) if len(joined) > 1 else [*apart, merged]
    return groups


def _boxes_meet(first: Surface, second: Surface, axes: FloatArray, gap_mm: float) -> bool:
    a, b = first.points_ras_mm @ axes, second.points_ras_mm @ axes
    return bool(np.all(a.min(axis=0) <= b.max(axis=0) + gap_mm) and np.all(b.min(axis=0) <= a.max(axis=0) + gap_mm))


def _sample(
    surface: Surface,
    axes: FloatArray,
    tumor_field: SmoothField,
    zone_field: SmoothField,
    liver_field: SmoothField | None,
    reach_mm: float,
) -> Neighborhood:
    along = surface.points_ras_mm @ axes
    extent = np.ptp(along, axis=0) + 2 * reach_mm
    spacing = float(np.clip((np.prod(extent) / _DISTANCE_NODES) ** (1 / 3), *_DISTANCE_SPACING_MM))
    size = np.ceil(extent / spacing).astype(int) + 2
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    middle = (along.min(axis=0) + along.max(axis=0)) / 2
    matrix[:3, 3] = axes @ (middle - spacing * (size - 1) / 2)
    distance = _signed_distance(surface, tumor_field, matrix, tuple(size[::-1].tolist()), reach_mm + 3 * spacing)
    for axis in range(3):
        distance = _with_midpoints(distance, axis)
    matrix = matrix @ np.diag([0.5, 0.5, 0.5, 1.0])
    # Near the surface and inside, the field knows more than distances at every second node do.
    at_nodes = tumor_field.sample(matrix, distance.shape)
    np.copyto(distance, at_nodes, where=at_nodes < spacing / 4)
    return Neighborhood(
        surface,
        distance,
        zone_field.sample(matrix, distance.shape),
        None if liver_field is None else liver_field.sample(matrix, distance.shape),
        matrix,
    )


def _signed_distance(
    surface: Surface, field: SmoothField, index_to_ras: FloatArray, shape: tuple[int, ...], at_most_mm: float
) -> Float32Array:
    """Distance to the surface at the nodes of a grid, negative inside, where deep the field itself."""
    distance = field.sample(index_to_ras, shape)
    spacing = float(np.linalg.norm(index_to_ras[:3, 0]))
    k, j, i = np.nonzero(distance > -2 * spacing)
    nodes = frames.apply_matrix(index_to_ras, np.stack([i, j, k], axis=1))
    sign = np.where(distance[k, j, i] < 0, -1.0, 1.0)
    distance[k, j, i] = sign * surface.tangent_distance_mm(nodes, at_most_mm)
    return distance


def _with_midpoints(values: Float32Array, axis: int) -> Float32Array:
    """Values with one more between each two neighbors along an axis, on a cubic through the nearest four."""
    moved = np.moveaxis(values, axis, 0)
    before, after = 2 * moved[:1] - moved[1:2], 2 * moved[-1:] - moved[-2:-1]
    longer = np.concatenate([before, moved, after])
    finer = np.empty((2 * len(moved) - 1, *moved.shape[1:]), dtype=np.float32)
    finer[::2] = moved
    finer[1::2] = np.float32(9 / 16) * (longer[1:-2] + longer[2:-1]) - np.float32(1 / 16) * (longer[:-3] + longer[3:])
    return np.ascontiguousarray(np.moveaxis(finer, 0, axis))


def shell_coverage_fraction(neighborhoods: Sequence[Neighborhood], thickness_mm: float) -> float | None:
    """Ablated part of the shell of that thickness, inside the liver; None where there is no shell."""
    shell_ml = sum(part.shell(thickness_mm).volume_ml for part in neighborhoods)
    if shell_ml < _NEGLIGIBLE_ML:
        return None
    missing_ml = sum(part.missing_shell(thickness_mm).volume_ml for part in neighborhoods)
    return float(np.clip(1.0 - missing_ml / shell_ml, 0.0, 1.0))


def residual_tumor(
    tumor: sitk.Image, surface: Surface, neighborhoods: Sequence[Neighborhood], zone_field: SmoothField
) -> Residual:
    """The tumor outside the zone; all arguments in the fixed frame."""
    left = _joined([part.missing_tumor() for part in neighborhoods])
    crop = frames.crop_around_points(tumor, surface.points_ras_mm, max(tumor.GetSpacing()))
    inside = mask_view(crop, "tumor") != 0
    inside &= zone_field.sample(frames.index_to_ras_matrix(crop), inside.shape) > 0
    return _residual(left, surface, _as_mask(inside, crop))


def residual_margin(
    tumor: sitk.Image,
    surface: Surface,
    neighborhoods: Sequence[Neighborhood],
    zone_field: SmoothField,
    liver_field: SmoothField | None,
    margin_mm: float,
) -> Residual:
    """The shell of `margin_mm` around the tumor, inside the liver, outside the zone."""
    left = _joined([part.missing_shell(margin_mm) for part in neighborhoods])
    reach_mm = margin_mm + max(tumor.GetSpacing())
    crop = frames.crop_around_points(tumor, surface.points_ras_mm, reach_mm)
    missing = np.zeros(crop.GetSize()[::-1], dtype=bool)
    for part in neighborhoods:
        piece = frames.crop_around_points(crop, part.surface.points_ras_mm, reach_mm)
        matrix, shape = frames.index_to_ras_matrix(piece), piece.GetSize()[::-1]
        distance = FieldPatch(part.tumor_mm, part.index_to_ras).sample(matrix, shape)
        found = (distance > 0) & (distance <= margin_mm) & (mask_view(piece, "tumor") == 0)
        found &= zone_field.sample(matrix, shape) > 0
        if liver_field is not None:
            found &= liver_field.sample(matrix, shape) <= 0
        start = np.round(frames.ras_to_index(crop, frames.index_to_ras(piece, np.zeros(3)))).astype(int)[::-1]
        missing[tuple(slice(a, a + n) for a, n in zip(start.tolist(), found.shape, strict=True))] |= found
    return _residual(left, surface, _as_mask(missing, crop))


def direction_word(direction_ras: npt.ArrayLike, words: tuple[tuple[str, str], ...] = _AXIS_WORDS) -> str:
    """The anatomical name of a unit vector (3,) in RAS, the strongest axis first: "right-anterior".

    `words` name the negative and the positive end of each axis (R, A, S).
    """
    direction = np.asarray(direction_ras, dtype=np.float64)
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [axis for axis in order.tolist() if abs(direction[axis]) >= _NAMED_COMPONENT]
    return "-".join(words[axis][int(direction[axis] > 0)] for axis in named)


def _joined(regions: Sequence[Region]) -> Region:
    volume_ml = sum(region.volume_ml for region in regions)
    if not volume_ml > 0:
        return Region(0.0, None)
    moments = [r.volume_ml * r.centroid_ras_mm for r in regions if r.centroid_ras_mm is not None]
    return Region(volume_ml, np.sum(moments, axis=0) / volume_ml)


def _residual(left: Region, tumor: Surface, mask: sitk.Image) -> Residual:
    centroid = left.centroid_ras_mm
    if centroid is None or left.volume_ml < _NEGLIGIBLE_ML:
        return Residual(0.0, None, None, "", None, mask)
    offset = centroid - tumor.centroid_ras_mm
    distance = float(np.linalg.norm(offset))
    direction = offset / distance if distance > 0 else np.zeros(3)
    return Residual(left.volume_ml, _triple(centroid), _triple(direction), direction_word(direction), distance, mask)


def _triple(values: Any) -> tuple[float, float, float] | None:
    if values is None:
        return None
    x, y, z = (float(value) for value in values)
    return x, y, z


def _as_mask(inside: npt.NDArray[np.bool_], reference: sitk.Image) -> sitk.Image:
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(reference)
    return mask
