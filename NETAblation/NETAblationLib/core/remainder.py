"""What an ablation left to do: residual tumor and margin in pieces, the most pressing first, and a target for the next.

A proposal for the next probe is a plan for what is left: zones already ablated are respected in that only the
remainder has to be covered, and the margin that both together will have is told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames
from .errors import EmptyMaskError, InputError
from .margin_directions import side_words
from .margins import MarginResult
from .probes import Probe, zone_signed_distance_mm

FloatArray = npt.NDArray[np.float64]

#: Voxels that touch, also across edges and corners, are one piece.
_NEIGHBORS = np.ones((3, 3, 3), dtype=bool)
#: Pieces below this volume are left out of a target, in ml: a cube of 3 mm, which no probe is placed for. User-set.
LEAST_PIECE_ML = 0.027


@dataclass(frozen=True)
class RemainingPiece:
    """One connected piece of what is not ablated.

    `kind` is "tumor" where any of it is tumor, else "margin"; `tumor_ml` is the tumor in it. `depth_mm` is how far its
    worst place lies from the zone, at `deepest_ras_mm` (3,); `distance_mm` how far its center of mass (`center_ras_mm`)
    does. `direction` is the side of the tumor on which it lies. Volumes are those of voxels.
    """

    kind: str
    volume_ml: float
    tumor_ml: float
    depth_mm: float
    distance_mm: float
    center_ras_mm: tuple[float, float, float]
    deepest_ras_mm: tuple[float, float, float]
    direction: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **asdict(self),
            "center_ras_mm": list(self.center_ras_mm),
            "deepest_ras_mm": list(self.deepest_ras_mm),
        }


def remaining_mask(result: MarginResult, reference: sitk.Image) -> sitk.Image:
    """Tumor (1) and margin (2) not ablated on the grid of `reference`, that of the measured tumor's mask; uint8.

    Raises InputError for a margin that was read from a file: it has no masks.
    """
    labels = np.zeros(reference.GetSize()[::-1], dtype=np.uint8)
    for value, residual in ((2, result.residual_margin), (1, result.residual_tumor)):
        if residual is None or residual.mask is None:
            raise InputError("remainder: a margin read from a file has no masks of what is left; measure it again")
        part = sitk.GetArrayViewFromImage(residual.mask) != 0
        start = np.round(frames.ras_to_index(reference, frames.index_to_ras(residual.mask, np.zeros(3)))).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(start[::-1].tolist(), part.shape, strict=True))
        labels[box][part] = value
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(reference)
    return image


def rank_remainder(result: MarginResult, reference: sitk.Image) -> list[RemainingPiece]:
    """The pieces of what is not ablated: those with tumor first, each kind by volume times depth, largest first.

    `reference` is the measured tumor's mask. Raises InputError for a margin that was read from a file.
    """
    labels = sitk.GetArrayFromImage(remaining_mask(result, reference))
    assert result.surface is not None
    assert result.zone_surface is not None
    pieces = ndimage.label(labels > 0, structure=_NEIGHBORS)[0]
    voxel_ml = float(np.prod(reference.GetSpacing())) / 1000.0
    found = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        k, j, i = np.nonzero(pieces[box] == number)
        tumor_ml = float((labels[box][k, j, i] == 1).sum() * voxel_ml)
        offset = [s.start for s in box][::-1]
        points = frames.index_to_ras(reference, np.stack([i, j, k], axis=1) + offset)
        depth = result.zone_surface.distance_mm(points)
        center = points.mean(axis=0)
        away = center - result.surface.centroid_ras_mm
        length = float(np.linalg.norm(away))
        found.append(
            RemainingPiece(
                "tumor" if tumor_ml > 0 else "margin",
                volume_ml=len(points) * voxel_ml,
                tumor_ml=tumor_ml,
                depth_mm=float(depth.max()),
                distance_mm=float(result.zone_surface.distance_mm(center[None])[0]),
                center_ras_mm=_triple(center),
                deepest_ras_mm=_triple(points[int(np.argmax(depth))]),
                direction=side_words(away / length) if length > 0 else "",
            )
        )
    return sorted(found, key=lambda piece: (piece.kind != "tumor", -piece.volume_ml * piece.depth_mm))


def remaining_target(result: MarginResult, reference: sitk.Image) -> sitk.Image:
    """What the next probe has to cover, as a mask for :func:`~.planning.plan_probes` with a margin of 0.

    Tumor and margin not ablated but for pieces too small for a probe. Raises EmptyMaskError where nothing is left,
    InputError for a margin that was read from a file.
    """
    left = sitk.GetArrayFromImage(remaining_mask(result, reference)) > 0
    pieces, count = ndimage.label(left, structure=_NEIGHBORS)
    voxel_ml = float(np.prod(reference.GetSpacing())) / 1000.0
    is_large = np.bincount(pieces.ravel(), minlength=count + 1) * voxel_ml >= LEAST_PIECE_ML
    is_large[0] = False
    kept = is_large[pieces]
    if not kept.any():
        raise EmptyMaskError(
            f"remainder: no piece of {LEAST_PIECE_ML:g} ml or more of tumor or margin is left: no probe is needed"
        )
    mask = sitk.GetImageFromArray(kept.astype(np.uint8))
    mask.CopyInformation(reference)
    return mask


def margin_with_probes_mm(result: MarginResult, probes: Sequence[Probe]) -> FloatArray:
    """The signed margin (N,) at the tumor's surface of the zones already ablated and those of further probes together.

    The larger of both margins, which is too small where both zones overlap and never too large. Raises GeometryError
    where no probe has an ablation, InputError for a margin that was read from a file.
    """
    if result.surface is None:
        raise InputError("remainder: a margin read from a file has no surface; measure it again")
    added = -zone_signed_distance_mm(probes, result.surface.points_ras_mm)
    return np.maximum(result.signed_margin_mm, added)


def _triple(point: FloatArray) -> tuple[float, float, float]:
    x, y, z = point.tolist()
    return x, y, z
