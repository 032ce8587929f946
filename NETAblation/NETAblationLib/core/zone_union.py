"""Several ablation zones as one, and which lesions share a confluent zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import EmptyMaskError, InputError
from .images import as_mask
from .surfaces import SmoothField, smooth_field

#: Voxels that touch, also across edges and corners, are one zone.
_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)
#: A voxel is inside where this share of it is filled, as the surface of a mask has it.
_HALF_FILLED = 0.5
#: Empty voxels around united zones, so that their surface is closed within the image.
_BORDER_VOXELS = 3


def united_mask(masks: Sequence[sitk.Image], name: str = "zone") -> sitk.Image:
    """One mask of several of one frame, uint8 0 or 1, which may lie on grids of their own.

    Zones are united before their surface is sought, so that no seam is left where they abut. On one grid voxels are
    joined; else the smooth surfaces of all are sampled on a grid of the finest spacing along the first one's axes, and
    where two meet, what both fill together counts: smooth surfaces round off the edges at which zones abut.
    Raises InputError for no mask at all, EmptyMaskError and GeometryError as :func:`~.surfaces.smooth_field`.
    """
    if not masks:
        raise InputError(f"{name}: give at least one mask")
    numbered = [(mask, name if len(masks) == 1 else f"{name} {n}") for n, mask in enumerate(masks, start=1)]
    single = [as_mask(mask, text) for mask, text in numbered]
    for mask, (_, text) in zip(single, numbered, strict=True):
        if not sitk.GetArrayViewFromImage(mask).any():
            raise EmptyMaskError(f"{text}: the mask is empty; segment it first, or choose another label")
    first, *others = single
    if all(frames.same_grid(first, other) for other in others):
        for other in others:
            other.CopyInformation(first)  # the same but for rounding
            first = sitk.Or(first, other)
        return first
    fields = [smooth_field(mask, text) for mask, (_, text) in zip(single, numbered, strict=True)]
    grid = _common_grid(single, fields)
    matrix, shape = frames.index_to_ras_matrix(grid), grid.GetSize()[::-1]
    inside = np.min([field.sample(matrix, shape) for field in fields], axis=0) < 0
    filled = [sitk.GetArrayFromImage(sitk.Resample(sitk.Cast(m, sitk.sitkFloat32), grid)) for m in single]
    do_meet = np.sum([part > 0 for part in filled], axis=0) > 1
    inside |= do_meet & (np.sum(filled, axis=0) >= _HALF_FILLED)
    united = sitk.GetImageFromArray(inside.astype(np.uint8))
    united.CopyInformation(grid)
    return united


def touching_zones(zone: sitk.Image, others: Mapping[str, sitk.Image]) -> list[str]:
    """The names of the zones that a zone touches, one through the other too, in the order given.

    All masks lie in one frame, on grids of their own; voxels that touch across an edge or a corner count. Raises as
    `images.as_mask`.
    """
    group, left = [as_mask(zone, "zone")], {name: as_mask(mask, name) for name, mask in others.items()}
    while met := [name for name, mask in left.items() if any(_do_touch(mask, member) for member in group)]:
        group += [left.pop(name) for name in met]
    return [name for name in others if name not in left]


def _do_touch(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether a voxel center of the first mask lies in the second one, or in a voxel next to it."""
    grown = ndimage.binary_dilation(np.pad(sitk.GetArrayViewFromImage(second), 1), structure=_NEIGHBORS)
    index = np.rint(frames.ras_to_index(second, frames.voxel_centers(first))).astype(int)[:, ::-1] + 1
    within = index[np.all((index >= 0) & (index < grown.shape), axis=1)]
    return bool(grown[tuple(within.T)].any())


def _common_grid(masks: Sequence[sitk.Image], fields: Sequence[SmoothField]) -> sitk.Image:
    """A grid around the surfaces of all, as fine as the finest mask, along the axes of the first."""
    axes = np.array(masks[0].GetDirection()).reshape(3, 3)
    spacing = np.min([mask.GetSpacing() for mask in masks], axis=0)
    points = np.concatenate([frames.flip_lps_ras(field.surface().points_ras_mm) @ axes for field in fields])
    lower = points.min(axis=0) - _BORDER_VOXELS * spacing
    size = np.ceil((points.max(axis=0) - lower) / spacing).astype(int) + _BORDER_VOXELS + 1
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin((axes @ lower).tolist())
    return grid


def lesions_of_zones(
    zone: sitk.Image, lesions: Mapping[str, sitk.Image], fixed_to_moving: sitk.Transform | None = None
) -> list[dict[str, Any]]:
    """The separate zones of a mask, the largest first, each with the lesions that it reaches.

    `zone` lies in the moving frame, the masks of `lesions` by name in the fixed one, as for
    :func:`~.margins.measure_margin`. Each zone has "volume_ml" (of its voxels), "center_ras_mm" (3,) in the moving
    frame, "lesions" (names, in the order given) and "is_confluent": it reaches more than one of them.
    Raises as :func:`~.surfaces.smooth_field` for empty masks.
    """
    labels, count = ndimage.label(sitk.GetArrayFromImage(as_mask(zone, "zone")) != 0, structure=_NEIGHBORS)
    if not count:
        raise EmptyMaskError("zone: the mask is empty; segment it first, or choose another label")
    voxels = np.bincount(labels.ravel(), minlength=count + 1)
    reached = {name: _reached(labels, zone, mask, fixed_to_moving, name) for name, mask in lesions.items()}
    voxel_ml = float(np.prod(zone.GetSpacing())) / 1000.0
    zones = []
    for number in sorted(range(1, count + 1), key=lambda n: -voxels[n]):
        names = [name for name in lesions if number in reached[name]]
        center = np.array(ndimage.center_of_mass(labels == number))[::-1]
        zones.append(
            {
                "volume_ml": float(voxels[number] * voxel_ml),
                "center_ras_mm": frames.index_to_ras(zone, center).tolist(),
                "lesions": names,
                "is_confluent": len(names) > 1,
            }
        )
    return zones


def _reached(
    labels: np.ndarray, zone: sitk.Image, lesion: sitk.Image, transform: sitk.Transform | None, name: str
) -> set[int]:
    """Numbers of the zones that hold a voxel of a lesion, or a point of its surface."""
    mask = as_mask(lesion, name)
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(mask))
    centers = frames.index_to_ras(mask, np.stack([i, j, k], axis=1))
    points = np.concatenate([centers, smooth_field(mask, name).surface().points_ras_mm])
    moved = points if transform is None else frames.transform_points(transform, points)
    index = np.round(frames.ras_to_index(zone, moved[frames.is_inside(zone, moved)])).astype(int)
    index = np.clip(index, 0, np.array(zone.GetSize()) - 1)
    return set(np.unique(labels[index[:, 2], index[:, 1], index[:, 0]]).tolist()) - {0}
