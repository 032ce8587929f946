"""From the geometry to noise-free voxels: organs painted one over the other, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from .bones import bone_layers
from .bowel import bowel_tubes, small_vessels
from .geometry import PatientGeometry
from .grids import Grid, Region, blur_in_voxels, intersect, ramp, soft_edge
from .layers import Layer, Tubes
from .liver import LIVER_BOX_RAS_MM
from .noise import texture_tile
from .organs import (
    hollow_layers,
    lung_layers,
    muscle_layers,
    solid_layers,
    table_layers,
    trunk_layers,
    vessel_and_heart_layers,
)
from .shapes import Union
from .tissues import HU, Contrast, Label
from .vessels import VesselTree

Field = npt.NDArray[np.float32]

#: Standard deviation of the scanner's blur beyond the voxel itself: 0.35 mm is a FWHM of
#: 0.8 mm, the order of a soft-tissue kernel. No published source.
PSF_SIGMA_MM = 0.35

#: Amplitude of the liver's texture, and of that of a tumor, HU; correlation length, mm.
_LIVER_TEXTURE_HU, _TUMOR_TEXTURE_HU, _TEXTURE_SIGMA_MM = 3.5, 5.0, 2.2


@dataclass
class Slab:
    """Some slices of the images while they are painted: three channels, labels, texture."""

    grid: Grid
    region: Region
    channels: list[Field]
    labels: npt.NDArray[np.uint8]
    texture: Field

    def part(self, region: Region) -> Region:
        """A region of the grid as slices into this slab's arrays."""
        return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(region, self.region, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class LesionContrast:
    """HU of a metastasis: bright in the arterial, dark in the portal phase, often a darker core."""

    hu: Contrast
    core_hu: Contrast
    core_share: float


class Painter:
    """Paints the noise-free images before ablation (and the base of the one after) on a grid."""

    def __init__(self, geometry: PatientGeometry, grid: Grid) -> None:
        """Prepare the layers; cheap but for the texture."""
        self._geometry = geometry
        self._grid = grid
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([geometry.seed, 77])))
        torso = geometry.torso
        self._flat = [*table_layers(), *trunk_layers(torso), *muscle_layers(torso), *lung_layers(torso)]
        self._bones = bone_layers(torso)
        self._bowel = bowel_tubes(torso, rng)
        self._fine_vessels = small_vessels(rng)
        self._organs = [*solid_layers(torso), *hollow_layers(torso)]
        self._heart = vessel_and_heart_layers(torso)
        self._trees = [
            _tree_tubes(geometry.portal, Label.PORTAL_IN_LIVER, HU["portal_vein"]),
            _tree_tubes(geometry.hepatic, Label.HEPATIC_IN_LIVER, HU["hepatic_vein"]),
        ]
        self._roots = [
            _root_tubes(geometry.portal, Label.PORTAL_OUTSIDE, HU["portal_vein"]),
            _root_tubes(geometry.hepatic, Label.HEPATIC_OUTSIDE, HU["hepatic_vein"]),
        ]
        self._lesion_contrasts = [_lesion_contrast(rng) for _ in geometry.lesions]
        self._blur = blur_in_voxels(grid.spacing_mm, PSF_SIGMA_MM)
        self._edge_mm = float(np.mean([b * s for b, s in zip(self._blur, reversed(grid.spacing_mm), strict=True)]))
        shape = tuple(int(n) for n in np.ceil(np.array([90.0, 150.0, 150.0]) / np.array(grid.spacing_mm)[::-1]))
        sigma = tuple(_TEXTURE_SIGMA_MM / s for s in reversed(grid.spacing_mm))
        self._tile = texture_tile(rng, shape, sigma)  # type: ignore[arg-type]

    def slab(self, start: int, stop: int) -> Slab:
        """Slices start..stop-1, painted."""
        region = (slice(start, stop), slice(0, self._grid.size[1]), slice(0, self._grid.size[0]))
        shape = (stop - start, self._grid.size[1], self._grid.size[0])
        index = [np.arange(s.start, s.stop) % n for s, n in zip(region, self._tile.shape, strict=True)]
        base = np.full(shape, -1000.0, np.float32)
        slab = Slab(self._grid, region, [base], np.zeros(shape, np.uint8), self._tile[np.ix_(*index)])
        for layer in self._flat:
            self._paint(slab, layer, flat_edge=True)
        for layer in self._bones:
            self._paint(slab, layer, flat_edge=True)
        slab.channels = [base, base.copy(), base.copy()]
        lung_only, elsewhere = _lung_vessels(self._fine_vessels)
        for tubes in lung_only:
            self._paint_tubes(slab, tubes, only_over=Label.LUNG)
        for tubes in [*self._bowel, *elsewhere]:
            self._paint_tubes(slab, tubes)
        for layer in [*self._organs, *self._heart[:-1]]:
            self._paint(slab, layer)
        for tubes in self._roots:
            self._paint_tubes(slab, tubes)
        self._paint_liver(slab)
        self._paint(slab, self._heart[-1])
        return slab

    def _paint(self, slab: Slab, layer: Layer, *, flat_edge: bool = False) -> None:
        region = self._within(slab, *layer.box)
        if region is None:
            return
        coordinates = self._grid.open_coordinates(region)
        part = slab.part(region)
        shape = slab.labels[part].shape
        level = np.ascontiguousarray(np.broadcast_to(layer.level(*coordinates), shape), dtype=np.float32)
        if level.min() > self._edge_mm:
            return
        if layer.label is not None:
            slab.labels[part][level < 0] = layer.label
        share = ramp(level, self._edge_mm) if flat_edge else soft_edge(level, self._blur)
        change = slab.texture[part] * np.float32(layer.texture_hu) if layer.texture_hu else None
        pattern = None if layer.pattern is None else layer.pattern(*coordinates).astype(np.float32)
        for channel, hu, pattern_hu in zip(slab.channels, layer.hu, layer.pattern_hu, strict=False):
            _blend(channel[part], share, hu, change, pattern, pattern_hu)

    def _paint_tubes(self, slab: Slab, tubes: Tubes, only_over: Label | None = None) -> None:
        for region, level in self._tube_levels(slab, tubes):
            part = slab.part(region)
            share = ramp(level, self._edge_mm)
            if only_over is not None:
                share *= slab.labels[part] == only_over
            if tubes.label is not None:
                slab.labels[part][level < 0] = tubes.label
            change = slab.texture[part] * np.float32(tubes.texture_hu) if tubes.texture_hu else None
            for channel, hu in zip(slab.channels, tubes.hu, strict=False):
                _blend(channel[part], share, hu, change, None, 0.0)

    def _tube_levels(self, slab: Slab, tubes: Tubes) -> Iterator[tuple[Region, Field]]:
        """The distance to each tube that meets the slab, in its own box."""
        pad = 0.6 * self._edge_mm
        lower, upper = tubes.bounds
        bounds = self._grid.index_bounds(lower - pad, upper + pad)
        limits = np.array([[s.start, s.stop] for s in slab.region])
        bounds[..., 0] = np.maximum(bounds[..., 0], limits[:, 0])
        bounds[..., 1] = np.minimum(bounds[..., 1], limits[:, 1])
        x, y, z = self._grid.open_coordinates(slab.region)
        for index in np.flatnonzero((bounds[..., 1] > bounds[..., 0]).all(axis=1)):
            (k0, k1), (j0, j1), (i0, i1) = bounds[index].tolist()
            k, j, i = limits[:, 0].tolist()
            local = (x[:, :, i0 - i : i1 - i], y[:, j0 - j : j1 - j], z[k0 - k : k1 - k])
            level = capsule_level(local, tubes.starts[index], tubes.ends[index], float(tubes.radii[index]))
            yield (slice(k0, k1), slice(j0, j1), slice(i0, i1)), level

    def _paint_liver(self, slab: Slab) -> None:
        """The liver with its vessels and tumors: mixed among themselves first, then put in place."""
        region = self._within(slab, *LIVER_BOX_RAS_MM)
        if region is None:
            return
        coordinates = self._grid.open_coordinates(region)
        level = np.asarray(self._geometry.torso.liver(*coordinates), np.float32)
        if level.min() > self._edge_mm:
            return
        part = slab.part(region)
        texture = slab.texture[part]
        inner = [texture * np.float32(_LIVER_TEXTURE_HU) + np.float32(hu) for hu in HU["liver"]]
        labels = np.full(level.shape, Label.LIVER, np.uint8)
        organ = Slab(self._grid, region, inner, labels, texture)
        for tubes in self._trees:
            self._paint_tubes_together(organ, tubes)
        for number, (lesion, contrast) in enumerate(zip(self._geometry.lesions, self._lesion_contrasts, strict=True)):
            self._paint_lesion(organ, lesion.tumor, contrast, Label.FIRST_LESION + number)
        inside = level < 0
        slab.labels[part][inside] = labels[inside]
        share = soft_edge(level, self._blur)
        for channel, value in zip(slab.channels, inner, strict=True):
            value -= channel[part]
            value *= share
            channel[part] += value

    def _paint_tubes_together(self, slab: Slab, tubes: Tubes) -> None:
        """Tubes of one tree: the nearest wall counts, so that branch points do not add up."""
        nearest = np.full(slab.labels.shape, 4.0, np.float32)
        drawn = False
        for region, level in self._tube_levels(slab, tubes):
            view = nearest[slab.part(region)]
            np.minimum(view, level, out=view)
            drawn = True
        if not drawn:
            return
        if tubes.label is not None:
            slab.labels[nearest < 0] = tubes.label
        share = ramp(nearest, self._edge_mm)
        for channel, hu in zip(slab.channels, tubes.hu, strict=True):
            _blend(channel, share, hu, None, None, 0.0)

    def _paint_lesion(self, slab: Slab, tumor: Union, contrast: LesionContrast, label: int) -> None:
        lower, upper = tumor.bounds_ras_mm
        region = self._within(slab, lower - 2 * self._edge_mm, upper + 2 * self._edge_mm)
        if region is None:
            return
        part = slab.part(region)
        coordinates = self._grid.open_coordinates(region)
        level = tumor.ellipsoid_level_on_grid(*coordinates)
        slab.labels[part][level < 0] = label
        share = soft_edge(level, self._blur)
        change = slab.texture[part] * np.float32(_TUMOR_TEXTURE_HU)
        core = ramp(tumor.parts[0].scaled(contrast.core_share).level_on_grid(*coordinates), 0.6)
        for channel, hu, core_hu in zip(slab.channels, contrast.hu, contrast.core_hu, strict=True):
            _blend(channel[part], share, hu, change, core, core_hu)

    def _within(self, slab: Slab, lower: npt.ArrayLike, upper: npt.ArrayLike) -> Region | None:
        region = self._grid.region(lower, upper)
        return None if region is None else intersect(region, slab.region)


def _blend(
    channel: Field, share: Field, hu: float, change: Field | None, pattern: Field | None, pattern_hu: float
) -> None:
    """Replace a share of each voxel by a tissue, in place."""
    value = np.subtract(np.float32(hu), channel)
    if change is not None:
        value += change
    if pattern is not None and pattern_hu:
        value += pattern * np.float32(pattern_hu)
    value *= share
    channel += value


def capsule_level(
    coordinates: tuple[Field, Field, Field], start: npt.NDArray, end: npt.NDArray, radius: float
) -> Field:
    """Distance in mm to a straight tube with round ends, on broadcast coordinates."""
    x, y, z = (c - np.float32(o) for c, o in zip(coordinates, start, strict=True))
    ax, ay, az = (np.float32(v) for v in end - start)
    squared = np.float32(max(float(ax * ax + ay * ay + az * az), 1e-9))
    along = (x * (ax / squared) + y * (ay / squared)) + z * (az / squared)
    np.clip(along, 0, 1, out=along)
    distance = (x - along * ax) ** 2
    distance += (y - along * ay) ** 2
    distance += (z - along * az) ** 2
    np.sqrt(distance, out=distance)
    distance -= np.float32(radius)
    return distance


def _tree_tubes(tree: VesselTree, label: Label, hu: Contrast) -> Tubes:
    return Tubes(tree.segment_starts_ras_mm, tree.segment_ends_ras_mm, tree.segment_radii_mm, label, hu)


def _root_tubes(tree: VesselTree, label: Label, hu: Contrast) -> Tubes:
    """The branches without a parent: they join the liver's vessels to their trunks outside."""
    roots = [tree.paths_ras_mm[index] for index in np.flatnonzero(tree.parents < 0)]
    radii = [
        np.full(len(path) - 1, tree.radii_mm[i])
        for path, i in zip(roots, np.flatnonzero(tree.parents < 0), strict=True)
    ]
    starts, ends = np.concatenate([p[:-1] for p in roots]), np.concatenate([p[1:] for p in roots])
    return Tubes(starts, ends, np.concatenate(radii), label, hu)


def _lung_vessels(tubes: Sequence[Tubes]) -> tuple[list[Tubes], list[Tubes]]:
    return [t for t in tubes if t.label is None], [t for t in tubes if t.label is not None]


def _lesion_contrast(rng: np.random.Generator) -> LesionContrast:
    """Hyper in the arterial, hypo in the portal phase: the commonest pattern (clinical facts 2.6)."""
    arterial, portal = rng.uniform(108, 138), rng.uniform(58, 80)
    core = Contrast(-rng.uniform(0, 34), -rng.uniform(0, 14), -rng.uniform(0, 12))
    return LesionContrast(Contrast(arterial, portal, portal - 4.0), core, float(rng.uniform(0.3, 0.6)))


def slabs(slices: int, thickness: int) -> Iterator[tuple[int, int]]:
    """Start and stop of slabs of at most `thickness` slices."""
    for start in count(0, thickness):
        if start >= slices:
            return
        yield start, min(start + thickness, slices)
