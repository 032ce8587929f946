"""What an ablation left: tumor and margin tissue not ablated, and the shells around a tumor.

Volumes are those of regions between smooth surfaces, taken from the zero level of a combined
field (where regions meet, the greatest of their fields), so they are sub-voxel. The masks hold
the voxels whose center lies in the region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import FormatError
from .surfaces import FieldPatch, SmoothField, Surface, mask_view, merge_surfaces

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

#: Nodes wanted of the grid on which shells are measured; four times as many change the coverage
#: by less than 0.002 (spheres of 4 to 30 mm).
_SHELL_NODES = 60_000
#: Bounds of that grid's spacing, in mm: at most half of the thinnest shell.
_SHELL_SPACING_MM = (0.4, 1.5)
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
class Neighborhood:
    """Tumor, zone and liver on one regular grid that reaches beyond a part of the tumor on all sides.

    `surface` is that part's. `tumor_mm` (K, J, I) is the signed distance to it, negative inside,
    capped at the reach; `zone_mm` and `liver_mm` (None without a liver) are fields, negative
    inside. `index_to_ras` (4, 4) takes the grid index (I, J, K) to RAS mm.
    """

    surface: Surface
    tumor_mm: Float32Array
    zone_mm: Float32Array
    liver_mm: Float32Array | None
    index_to_ras: FloatArray

    def shell(self, thickness_mm: float) -> Surface:
        """The surface of the shell of that thickness around the tumor, inside the liver."""
        return FieldPatch(self._shell(thickness_mm), self.index_to_ras).surface()

    def missing_shell(self, thickness_mm: float) -> Surface:
        """The surface of the part of the shell that is not ablated."""
        field = np.maximum(self._shell(thickness_mm), -self.zone_mm)
        return FieldPatch(field, self.index_to_ras).surface()

    def tumor_distance_mm(self, points_ras_mm: FloatArray) -> FloatArray:
        """Signed distance to the tumor at points (N, 3), linear between nodes; shape (N,)."""
        index = frames.apply_matrix(np.linalg.inv(self.index_to_ras).astype(np.float64), points_ras_mm)
        return ndimage.map_coordinates(self.tumor_mm, index[:, ::-1].T, order=1, mode="nearest", output=np.float64)

    def _shell(self, thickness_mm: float) -> Float32Array:
        """A field that is negative in the shell."""
        shell = np.maximum(self.tumor_mm - np.float32(thickness_mm), -self.tumor_mm)
        return shell if self.liver_mm is None else np.maximum(shell, self.liver_mm)


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
    spacing = float(np.clip((np.prod(extent) / _SHELL_NODES) ** (1 / 3), *_SHELL_SPACING_MM))
    size = np.ceil(extent / spacing).astype(int) + 3
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    middle = (along.min(axis=0) + along.max(axis=0)) / 2
    matrix[:3, 3] = axes @ (middle - spacing * (size - 1) / 2)
    k, j, i = np.indices(size[::-1]).reshape(3, -1)
    nodes = frames.apply_matrix(matrix, np.stack([i, j, k], axis=1))
    shape = tuple(size[::-1].tolist())

    limit = reach_mm + 2 * spacing
    distance = tumor_field.evaluate(nodes)
    outer = np.flatnonzero(distance > -2 * spacing)
    sign = np.where(distance[outer] < 0, -1.0, 1.0)
    distance[outer] = sign * surface.distance_mm(nodes[outer], at_most_mm=limit)
    near = np.flatnonzero((distance > -2 * spacing) & (distance < limit))
    zone = np.full(len(nodes), -1.0)  # where there is no shell, the zone does not matter
    zone[near] = zone_field.evaluate(nodes[near])
    liver = None
    if liver_field is not None:
        liver = np.full(len(nodes), 1.0)
        liver[near] = liver_field.evaluate(nodes[near])
        liver = liver.astype(np.float32).reshape(shape)
    return Neighborhood(
        surface, distance.astype(np.float32).reshape(shape), zone.astype(np.float32).reshape(shape), liver, matrix
    )


def shell_coverage_fraction(neighborhoods: Sequence[Neighborhood], thickness_mm: float) -> float | None:
    """Ablated part of the shell of that thickness, inside the liver; None where there is no shell."""
    shell_ml = sum(part.shell(thickness_mm).volume_ml for part in neighborhoods)
    if shell_ml < _NEGLIGIBLE_ML:
        return None
    missing_ml = sum(part.missing_shell(thickness_mm).volume_ml for part in neighborhoods)
    return float(np.clip(1.0 - missing_ml / shell_ml, 0.0, 1.0))


def residual_tumor(tumor: sitk.Image, surface: Surface, tumor_field: SmoothField, zone_field: SmoothField) -> Residual:
    """The tumor outside the zone; all arguments in the fixed frame."""
    left = merge_surfaces([_outside_zone(patch, zone_field) for patch in tumor_field.patches])
    crop = frames.crop_around_points(tumor, surface.points_ras_mm, max(tumor.GetSpacing()))
    inside = mask_view(crop, "tumor") != 0
    inside[inside] = zone_field.evaluate(_voxel_centers(crop, inside)) > 0
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
    left = merge_surfaces([part.missing_shell(margin_mm) for part in neighborhoods])
    reach_mm = margin_mm + max(tumor.GetSpacing())
    crop = frames.crop_around_points(tumor, surface.points_ras_mm, reach_mm)
    missing = np.zeros(crop.GetSize()[::-1], dtype=bool)
    for part in neighborhoods:
        piece = frames.crop_around_points(crop, part.surface.points_ras_mm, reach_mm)
        found = mask_view(piece, "tumor") == 0
        distance = part.tumor_distance_mm(_voxel_centers(piece, found))
        found[found] = (distance > 0) & (distance <= margin_mm)
        centers = _voxel_centers(piece, found)
        is_left = zone_field.evaluate(centers) > 0
        if liver_field is not None:
            is_left &= liver_field.evaluate(centers) <= 0
        found[found] = is_left
        start = np.round(frames.ras_to_index(crop, frames.index_to_ras(piece, np.zeros(3)))).astype(int)[::-1]
        missing[tuple(slice(a, a + n) for a, n in zip(start.tolist(), found.shape, strict=True))] |= found
    return _residual(left, surface, _as_mask(missing, crop))


def direction_word(direction_ras: npt.ArrayLike) -> str:
    """The anatomical name of a unit vector (3,) in RAS, the strongest axis first: "right-anterior"."""
    direction = np.asarray(direction_ras, dtype=np.float64)
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [axis for axis in order.tolist() if abs(direction[axis]) >= _NAMED_COMPONENT]
    return "-".join(_AXIS_WORDS[axis][int(direction[axis] > 0)] for axis in named)


def _outside_zone(patch: FieldPatch, zone_field: SmoothField) -> Surface:
    """The surface of the part of a tumor patch outside the zone."""
    left = patch.values_mm.copy()
    near = left < 2 * patch.spacing_mm.max()
    k, j, i = np.nonzero(near)
    nodes = frames.apply_matrix(patch.index_to_ras, np.stack([i, j, k], axis=1))
    left[near] = np.maximum(left[near], -zone_field.evaluate(nodes)).astype(np.float32)
    return FieldPatch(left, patch.index_to_ras).surface()


def _residual(left: Surface, tumor: Surface, mask: sitk.Image) -> Residual:
    if left.volume_ml < _NEGLIGIBLE_ML:
        return Residual(0.0, None, None, "", None, mask)
    centroid = left.centroid_ras_mm
    offset = centroid - tumor.centroid_ras_mm
    distance = float(np.linalg.norm(offset))
    direction = offset / distance if distance > 0 else np.zeros(3)
    return Residual(left.volume_ml, _triple(centroid), _triple(direction), direction_word(direction), distance, mask)


def _triple(values: Any) -> tuple[float, float, float] | None:
    if values is None:
        return None
    x, y, z = (float(value) for value in values)
    return x, y, z


def _voxel_centers(image: sitk.Image, chosen: npt.NDArray[np.bool_]) -> FloatArray:
    """RAS of the chosen voxels (K, J, I) of an image, shape (N, 3)."""
    k, j, i = np.nonzero(chosen)
    return frames.index_to_ras(image, np.stack([i, j, k], axis=1))


def _as_mask(inside: npt.NDArray[np.bool_], reference: sitk.Image) -> sitk.Image:
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(reference)
    return mask
