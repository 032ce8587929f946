"""Vessels of 3 mm and more in the liver: mask, centerline, radius, and which tree they belong to.

What is brighter than the liver around it is traced (:mod:`.vessel_tracing`), its radius measured by the
contrast that a cross-section holds (:mod:`.vessel_radius`), and portal and hepatic veins are told apart
from their trunks (:mod:`.vessel_trees`). Vessels need contrast: in an unenhanced CT nothing is found, in an
arterial phase only what is enhanced by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from . import frames, images, vessel_trees
from .anatomy import distance_mm
from .centerlines import Centerlines, VesselKind
from .clinical_rules import RULES
from .errors import GeometryError, InputError, NothingFoundError
from .progress import ProgressCallback, silent
from .vessel_radius import Profiles, running_median
from .vessel_search import VesselSearch, blood_contrast, grid_about, resampled, search_vessels
from .vessel_tracing import Branch, VoxelGraph, trace
from .working_grids import WorkingGrid

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1

#: Vessels from this diameter on cool what is ablated near them.
LEAST_DIAMETER_MM = RULES["heat_sink_vessel"].number

#: A vessel has more than this share of the blood's contrast, and more than that many spreads of the liver.
#: User-set, as all below.
_SHARE, _SPREADS = 0.4, 2.0
#: Shorter ends and smaller pieces are no vessels, in mm and mm3; nor are shorter runs of the least diameter.
_LEAST_END_MM, _LEAST_PIECE_MM3, _LEAST_RUN_MM = 4.0, 60.0, 8.0
#: What measures less than the least diameter by this, in mm, counts as it. This and the run were chosen on digital
#: patients 0, 21 and 30, so that of the length of vessels of 3 mm as much is missed as is false.
_DOUBT_MM = 0.02
#: From this radius on, mm, and over that length, mm, a vessel's middle has the contrast of its blood.
_THICK_MM, _THICK_LENGTH_MM = 2.3, 3.0
#: A trunk has at least this radius and is no farther from the liver's border than that beyond its wall, in mm.
_TRUNK_RADIUS_MM, _TRUNK_BORDER_MM = 3.0, 4.0
#: Trunks lie at least this far apart, and hepatic veins no farther than that from the thickest of them, in mm.
_TRUNK_APART_MM, _CONFLUENCE_MM = 15.0, 50.0
#: Where in the liver's box, as shares from left, back and bottom, hepatic veins leave and the portal vein enters.
_HEPATIC_BOX = ((0.25, 0.8), (0.1, 0.65), (0.68, 0.97))
_PORTAL_BOX = ((0.2, 0.75), (0.1, 0.8), (0.2, 0.72))
#: From a single trunk a vessel is sure to come when the way costs less than this.
_SURE_PRICE = 2.0
#: A trunk named by the user is the thickest vessel within this distance, in mm.
_NAMED_MM = 15.0
#: Hepatic veins fill through the liver, after the portal vein: when they seem brighter than it by more than this
#: share, what was taken for their trunk is none.
_HEPATIC_BRIGHTER = 0.05
#: Blood that differs by less than this share of contrast tells no tree from another.
_BLOOD_ALIKE = 0.1
#: How much cheaper the way from one trunk has to be than that from the other, as a share and in all.
_SURE_SHARE, _SURE = 0.2, 0.2


@dataclass(frozen=True)
class VesselSegmentation:
    """Vessels of a liver: `mask` (uint8, labels of :class:`VesselKind`) on the grid of the image, and centerlines.

    `liver_value`, `spread` and `blood_contrast` (by kind, above the liver) are in the image's units. `certainty` says
    by what the trees were told apart, and how far that can be trusted.
    """

    mask: sitk.Image
    centerlines: Centerlines
    least_diameter_mm: float
    liver_value: float
    spread: float
    blood_contrast: dict[VesselKind, float]
    warnings: tuple[str, ...] = ()
    certainty: str = ""
    image_sha256: str = ""

    @property
    def length_mm(self) -> dict[str, float]:
        """Length of the centerlines of each kind, by its name, mm."""
        return {kind.name.lower(): self.centerlines.of_kind(kind).length_mm for kind in VesselKind}

    def to_dict(self) -> dict[str, Any]:
        """All but the mask, for JSON; the mask is named by its hash."""
        lines = self.centerlines
        return {
            "schema_version": SCHEMA_VERSION,
            "least_diameter_mm": self.least_diameter_mm,
            "liver_value": self.liver_value,
            "spread": self.spread,
            "labels": {kind.name.lower(): int(kind) for kind in VesselKind},
            "blood_contrast": {kind.name.lower(): value for kind, value in self.blood_contrast.items()},
            "length_mm": self.length_mm,
            "certainty": self.certainty,
            "centerlines": {
                "points_ras_mm": lines.points_ras_mm.tolist(),
                "radius_mm": lines.radius_mm.tolist(),
                "kind": lines.kind.tolist(),
                "step_mm": lines.step_mm.tolist(),
            },
            "warnings": list(self.warnings),
            "image_sha256": self.image_sha256,
            "mask_sha256": images.image_hash(self.mask),
        }


@dataclass(frozen=True)
class _Vessel:
    """A traced branch with its profiles, radius (N,) in mm, kind (N,), and where it is out of its parent (N,)."""

    branch: Branch
    profiles: Profiles
    free: BoolArray
    radius_mm: FloatArray
    blood: float
    kind: npt.NDArray[np.int64]


def segment_vessels(
    image: sitk.Image,
    liver: sitk.Image,
    *,
    portal_ras_mm: npt.ArrayLike | None = None,
    hepatic_ras_mm: npt.ArrayLike | None = None,
    least_diameter_mm: float = LEAST_DIAMETER_MM,
    progress: ProgressCallback = silent,
) -> VesselSegmentation:
    """Segment the vessels of a liver in a contrast-enhanced CT or MR.

    `liver` is a mask on the grid of the image. `portal_ras_mm` and `hepatic_ras_mm` (3,) are places
    at the trunks, where they are not found by themselves. Raises InputError, GeometryError or
    EmptyMaskError for input that cannot be used, NothingFoundError where no vessel stands out.
    """
    images.require_3d_finite(image, "image")
    frames.require_same_grid(image, liver, "image", "liver")
    if not least_diameter_mm > 0:
        raise InputError(f"least diameter: {least_diameter_mm} mm is not above 0")
    named = {
        kind: frames.as_points(np.asarray(place)[None], f"{kind.name.lower()} trunk")[0]
        for kind, place in ((VesselKind.PORTAL, portal_ras_mm), (VesselKind.HEPATIC, hepatic_ras_mm))
        if place is not None
    }
    progress(0.0, "liver")
    search = search_vessels(image, images.as_mask(liver, "liver"))
    blood = blood_contrast(search)
    progress(0.3, "tracing vessels")
    graph, vessels, mask = _traced(search, blood)
    progress(0.6, "portal and hepatic veins")
    vessels, bloods, warnings = _told_apart(search, graph, vessels, search.contrast[mask], named)
    progress(0.8, "centerlines")
    lines = _centerlines(search, vessels, least_diameter_mm)
    if not len(lines):
        raise NothingFoundError(
            f"no vessel of {least_diameter_mm:g} mm or more found in the liver: the image may be unenhanced"
        )
    painted = _painted(image, search, lines, max(bloods.values()))
    progress(1.0, "segmented")
    return VesselSegmentation(
        mask=painted,
        centerlines=lines,
        least_diameter_mm=float(least_diameter_mm),
        liver_value=search.liver_value,
        spread=search.spread,
        blood_contrast=bloods,
        warnings=tuple(warnings),
        certainty=_certainty(lines, bloods),
        image_sha256=images.image_hash(image),
    )


def centerlines_of_mask(mask: sitk.Image) -> Centerlines:
    """Centerlines of a vessel mask that the user has, with radius and, by its labels (:class:`VesselKind`), kind.

    Labels other than those of a kind are of unknown kind. Raises EmptyMaskError for an empty mask and
    NothingFoundError for one too small to have a vessel in it.
    """
    whole = _whole(mask)
    grid = grid_about(whole, "vessels")
    share = resampled(whole, grid.image(np.zeros(grid.shape, np.uint8)))
    inside = share > 0.5
    spacing = grid.spacing_mm
    depth = distance_mm(~inside, spacing) / spacing
    graph = VoxelGraph.of(inside, 1.0 / np.maximum(depth * spacing, 0.5) ** 2)
    branches = trace(graph, depth[inside], _LEAST_END_MM / spacing, round(_LEAST_PIECE_MM3 / spacing**3))
    if not branches:
        raise NothingFoundError("vessels: the mask holds nothing as long and large as a vessel")
    kept = [vessel for vessel in _measured_all(branches, share, 1.0, spacing) if not _is_bump(vessel, spacing)]
    parts = []
    for vessel in kept:
        ras = vessel.branch.points[:, ::-1] * spacing + np.array(grid.first_ras_mm)
        parts.append(Centerlines(ras, vessel.radius_mm, _kinds_at(mask, ras), vessel.branch.node_lengths * spacing))
    return Centerlines.joined(parts)


def _whole(mask: sitk.Image) -> sitk.Image:
    return sitk.Cast(mask > 0, sitk.sitkUInt8)


def _kinds_at(mask: sitk.Image, ras_mm: FloatArray) -> npt.NDArray[np.int64]:
    """The label of the mask's voxel nearest to each place (N, 3), as a kind."""
    array = sitk.GetArrayViewFromImage(mask)
    labels = np.argwhere(array > 0)
    places = frames.ras_to_index(mask, ras_mm)[:, ::-1]
    spacing = np.array(mask.GetSpacing())[::-1]
    nearest = labels[cKDTree(labels * spacing).query(places * spacing)[1]]
    found = array[tuple(nearest.T)].astype(np.int64)
    return np.where(np.isin(found, list(VesselKind)), found, int(VesselKind.UNKNOWN))


# Tracing and radius


def _traced(search: VesselSearch, blood: float) -> tuple[VoxelGraph, list[_Vessel], BoolArray]:
    spacing = search.grid.spacing_mm
    mask = search.domain & (search.contrast > max(_SHARE * blood, _SPREADS * search.spread))
    depth = distance_mm(~mask, spacing) / spacing
    share = np.clip(search.contrast / blood, 0.1, 1.0)
    cost = 1.0 / np.maximum(share * np.maximum(depth * spacing, 1.0), 0.1) ** 2
    graph = VoxelGraph.of(mask, cost)
    branches = trace(graph, depth[mask], _LEAST_END_MM / spacing, round(_LEAST_PIECE_MM3 / spacing**3))
    return graph, _measured_all(branches, search.contrast, blood, spacing), mask


def _measured_all(branches: Sequence[Branch], contrast: FloatArray, blood: float, spacing_mm: float) -> list[_Vessel]:
    """All branches with their radius, parents first, whose blood their children have."""
    vessels: list[_Vessel] = []
    for branch in branches:
        parent = vessels[branch.parent] if branch.parent >= 0 else None
        profiles = Profiles.around(branch, contrast, spacing_mm)
        vessels.append(_measured(branch, profiles, parent, blood, spacing_mm))
    return vessels


def _measured(branch: Branch, profiles: Profiles, parent: _Vessel | None, blood: float, spacing_mm: float) -> _Vessel:
    """Radius along a branch with the contrast of its own blood where it is thick, else that of its parent."""
    blood = blood if parent is None else parent.blood
    free = _free(branch, parent, spacing_mm)
    radius = _radius(branch, profiles, free, blood, spacing_mm)
    if float(np.median(radius)) > _THICK_MM and free.sum() * spacing_mm > _THICK_LENGTH_MM:
        blood = float(np.median(profiles.middle[free]))
        radius = _radius(branch, profiles, free, blood, spacing_mm)
    return _Vessel(branch, profiles, free, radius, blood, np.full(len(radius), int(VesselKind.UNKNOWN)))


def _free(branch: Branch, parent: _Vessel | None, spacing_mm: float) -> BoolArray:
    """Where a branch (N,) is out of the vessel that it comes from."""
    if parent is None:
        return np.ones(len(branch.nodes), dtype=bool)
    return np.linalg.norm(branch.points - branch.points[0], axis=1) * spacing_mm > parent.radius_mm[-1]


def _is_bump(vessel: _Vessel, spacing_mm: float) -> bool:
    """Whether a branch ends right after it has left its parent: no vessel, but a bump on its wall."""
    return vessel.branch.is_end and float(vessel.free.sum()) * spacing_mm < _LEAST_END_MM


def _radius(
    branch: Branch, profiles: Profiles, free: BoolArray, blood: float | FloatArray, spacing_mm: float
) -> FloatArray:
    return running_median(profiles.radius_mm(blood), free, branch.along * spacing_mm)


# Portal and hepatic veins


def _told_apart(
    search: VesselSearch,
    graph: VoxelGraph,
    vessels: Sequence[_Vessel],
    contrast: FloatArray,
    named: Mapping[VesselKind, FloatArray],
) -> tuple[list[_Vessel], dict[VesselKind, float], list[str]]:
    """Give each vessel its kind, and measure it again with the contrast of that kind's blood."""
    if not vessels:
        raise NothingFoundError("no vessel found in the liver: what is bright in it is too small")
    trunks = _trunks(search, vessels, named)
    warnings = [
        f"the trunk of the {name} was not found: its vessels are not told from others"
        for kind, name in ((VesselKind.PORTAL, "portal vein"), (VesselKind.HEPATIC, "hepatic veins"))
        if kind not in trunks
    ]
    if not trunks:
        return list(vessels), _bloods(vessels, [vessel.kind for vessel in vessels]), warnings
    kinds, likely = _named(search, graph, vessels, contrast, trunks)
    reason = "" if named else _why_no_hepatic(_bloods(vessels, kinds))
    if reason:
        trunks = {VesselKind.PORTAL: trunks[VesselKind.PORTAL]}
        kinds, likely = _named(search, graph, vessels, contrast, trunks)
        warnings.append(reason)
    bloods = _bloods(vessels, kinds)
    table = np.array([bloods.get(VesselKind(kind), 0.0) if kind else 0.0 for kind in range(max(VesselKind) + 1)])
    found = []
    for vessel, kind, best in zip(vessels, kinds, likely, strict=True):
        blood = np.where(table[best] > 0, table[best], vessel.blood)
        radius = _radius(vessel.branch, vessel.profiles, vessel.free, blood[:, None], search.grid.spacing_mm)
        found.append(replace(vessel, kind=kind, radius_mm=radius))
    return found, bloods, warnings


def _named(
    search: VesselSearch,
    graph: VoxelGraph,
    vessels: Sequence[_Vessel],
    contrast: FloatArray,
    trunks: Mapping[VesselKind, list[tuple[int, int]]],
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]]:
    """For each vessel the kind (N,) that it surely is, and the one that it likely is."""
    branches = [vessel.branch for vessel in vessels]
    price = vessel_trees.prices(
        branches,
        [vessel.radius_mm for vessel in vessels],
        [vessel.profiles.middle for vessel in vessels],
        [vessel.profiles.area_mm2(vessel.blood) * vessel.blood for vessel in vessels],
        vessel_trees.contacts(graph, branches, contrast),
        trunks,
        search.grid.spacing_mm,
    )
    columns = [[price[kind][number] for kind in trunks] for number in range(len(vessels))]
    return [_cheaper(each, list(trunks)) for each in columns], [_cheaper(each, list(trunks), 0, 0) for each in columns]


def _why_no_hepatic(bloods: Mapping[VesselKind, float]) -> str:
    """Why what was named hepatic veins by its place cannot be that; empty where it can."""
    portal, hepatic = bloods.get(VesselKind.PORTAL), bloods.get(VesselKind.HEPATIC)
    if portal is None or hepatic is None or hepatic <= (1 + _HEPATIC_BRIGHTER) * portal:
        return ""
    return (
        f"what lies where hepatic veins leave is brighter ({hepatic:.0f} above the liver) than the portal vein "
        f"({portal:.0f}), from which they fill: it is not named. In an early phase hepatic veins have no contrast yet"
    )


def _certainty(lines: Centerlines, bloods: Mapping[VesselKind, float]) -> str:
    """By what the trees were told apart, and how much of the vessels has a name."""
    share = 1.0 - lines.of_kind(VesselKind.UNKNOWN).length_mm / max(lines.length_mm, 1e-9)
    said = f"{100 * share:.0f} % of the length is named"
    trees = [kind for kind in (VesselKind.PORTAL, VesselKind.HEPATIC) if kind in bloods]
    if share == 0 or not trees:
        return f"{said}: no trunk was found"
    if len(trees) == 1:
        return f"{said}: by the way to one trunk only, so that vessels of the other tree may be among them"
    portal, hepatic = (bloods[kind] for kind in trees)
    off = abs(portal - hepatic) / max(portal, hepatic)
    if off < _BLOOD_ALIKE:
        return (
            f"{said}: by the course of vessels alone, since the blood of both trees is alike ({100 * off:.0f} %): check"
        )
    return f"{said}: by the course of vessels and by their blood, which differs by {100 * off:.0f} % of its contrast"


def _trunks(
    search: VesselSearch, vessels: Sequence[_Vessel], named: Mapping[VesselKind, FloatArray]
) -> dict[VesselKind, list[tuple[int, int]]]:
    """Where the trees begin, as (vessel, node): thick vessels at the liver's border, by their height in the liver."""
    spacing = search.grid.spacing_mm
    owner = np.repeat(np.arange(len(vessels)), [len(vessel.radius_mm) for vessel in vessels])
    node = np.concatenate([np.arange(len(vessel.radius_mm)) for vessel in vessels])
    points = np.concatenate([vessel.branch.points for vessel in vessels])
    radius = np.concatenate([vessel.radius_mm for vessel in vessels])
    ras = search.ras_mm(points)
    found: dict[VesselKind, list[int]] = {}
    for kind, place in named.items():
        near = np.flatnonzero(np.linalg.norm(ras - place, axis=1) < _NAMED_MM)
        if not len(near):
            raise GeometryError(f"{kind.name.lower()} trunk: no vessel within {_NAMED_MM:g} mm of the place given")
        found[kind] = [int(near[np.argmax(radius[near])])]
    from_border = ndimage.map_coordinates(distance_mm(~search.liver, spacing), points.T, order=1)
    exits = _apart(
        ras, radius, np.flatnonzero((radius >= _TRUNK_RADIUS_MM) & (from_border < radius + _TRUNK_BORDER_MM))
    )
    low, high = _box(search.liver)
    shares = (points[exits] - low) / np.maximum(high - low, 1.0)
    upper = [place for place, share in zip(exits, shares, strict=True) if _is_within(share, _HEPATIC_BOX)]
    lower = [place for place, share in zip(exits, shares, strict=True) if _is_within(share, _PORTAL_BOX)]
    if VesselKind.PORTAL not in found and lower:
        found[VesselKind.PORTAL] = lower[:1]
    if VesselKind.HEPATIC not in found and upper:
        found[VesselKind.HEPATIC] = [
            place for place in upper if np.linalg.norm(ras[place] - ras[upper[0]]) < _CONFLUENCE_MM
        ]
    return {kind: [(int(owner[p]), int(node[p])) for p in places] for kind, places in sorted(found.items())}


def _box(mask: BoolArray) -> tuple[FloatArray, FloatArray]:
    """The first and last index (3,) of a mask on each axis."""
    sides = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    return np.array(sides)[:, 0].astype(np.float64), np.array(sides)[:, 1].astype(np.float64)


def _is_within(share: FloatArray, box: Sequence[tuple[float, float]]) -> bool:
    """Whether shares (S, A, R) lie in a box given for R, A, S."""
    return all(low <= value < high for value, (low, high) in zip(share[::-1], box, strict=True))


def _apart(ras: FloatArray, radius: FloatArray, chosen: npt.NDArray[np.intp]) -> list[int]:
    """Of the chosen places the thickest ones, thickest first, that lie apart."""
    left = chosen[np.argsort(-radius[chosen], kind="stable")]
    found = []
    while len(left):
        found.append(int(left[0]))
        left = left[np.linalg.norm(ras[left] - ras[left[0]], axis=1) > _TRUNK_APART_MM]
    return found


def _cheaper(
    prices: Sequence[FloatArray],
    kinds: Sequence[VesselKind],
    share: float = _SURE_SHARE,
    least: float = _SURE,
) -> npt.NDArray[np.int64]:
    """Of one kind or more, the one (N,) whose trunk is clearly the cheaper one to come from; UNKNOWN where none is."""
    table = np.array(prices)
    order = np.sort(table, axis=0)
    kind = np.array([int(kind) for kind in kinds])[np.argmin(table, axis=0)]
    sure = np.isfinite(order[0])
    if len(prices) > 1:
        sure &= order[1] >= order[0] * (1 + share) + least
    else:
        sure &= order[0] < _SURE_PRICE
    return np.where(sure, kind, int(VesselKind.UNKNOWN))


def _bloods(vessels: Sequence[_Vessel], kinds: Sequence[npt.NDArray[np.int64]]) -> dict[VesselKind, float]:
    """Contrast of the blood of each kind: that in the middle of its thick vessels; of all where none is thick."""
    kind = np.concatenate(kinds)
    middle = np.concatenate([vessel.profiles.middle for vessel in vessels])
    thick = np.concatenate([vessel.free & (vessel.radius_mm > _THICK_MM) for vessel in vessels])
    found = {}
    for value in VesselKind:
        chosen = middle[(kind == value) & thick]
        if len(chosen):
            found[value] = float(np.median(chosen))
    return found or {VesselKind.UNKNOWN: float(np.median([vessel.blood for vessel in vessels]))}


# What is reported


def _centerlines(search: VesselSearch, vessels: Sequence[_Vessel], least_diameter_mm: float) -> Centerlines:
    """The parts of the vessels that are thick enough, and long enough for that to be sure."""
    spacing = search.grid.spacing_mm
    parts: list[Centerlines] = []
    for vessel in vessels:
        if _is_bump(vessel, spacing):
            continue
        usable = vessel.free if vessel.branch.is_end else np.ones(len(vessel.free), dtype=bool)
        is_wide = 2 * vessel.radius_mm >= least_diameter_mm - _DOUBT_MM
        chosen = _bridged(is_wide, _LEAST_RUN_MM / spacing) & usable
        if vessel.branch.is_end:
            chosen &= ~_bridged(~chosen, _LEAST_RUN_MM / spacing)
        lines = Centerlines(
            search.ras_mm(vessel.branch.points),
            vessel.radius_mm,
            vessel.kind,
            vessel.branch.node_lengths * spacing,
        )
        parts.append(lines.where(chosen))
    return Centerlines.joined(parts)


def _bridged(chosen: BoolArray, length: float) -> BoolArray:
    """What is chosen along a vessel (N,), with gaps shorter than `length` closed; what reaches an end is no gap."""
    labels, count = ndimage.label(~chosen)
    sizes = np.bincount(labels, minlength=count + 1)
    is_gap = sizes < length
    is_gap[[0, labels[0], labels[-1]]] = False
    return chosen | is_gap[labels]


def _painted(image: sitk.Image, search: VesselSearch, lines: Centerlines, blood: float) -> sitk.Image:
    """Labels on the grid of the image: balls of the measured radius along the centerlines.

    Where a vessel is thick it need not be round: there the voxels of more than half the contrast count.
    """
    grid = search.grid
    reach = float(lines.radius_mm.max()) * 1.4 + 1.0
    near, wall, index = _walls_about(search, lines)
    level = -wall
    thick = lines.radius_mm[index] > _THICK_MM
    share = search.contrast[near] / blood
    by_contrast = 2.0 * (share - 0.5) * lines.radius_mm[index]
    close = wall < 0.4 * lines.radius_mm[index]
    level = np.where(thick & close & search.domain[near], np.maximum(level, by_contrast), level)
    field = np.full(grid.shape, -reach, np.float32)
    field[near] = level
    labels = np.zeros(grid.shape, np.uint8)
    labels[near] = lines.kind[index]
    fine = sitk.Resample(grid.image(field), image, sitk.Transform(), sitk.sitkLinear, -reach, sitk.sitkFloat32)
    kinds = sitk.Resample(grid.image(labels), image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    return sitk.Mask(kinds, sitk.Cast(fine > 0, sitk.sitkUInt8))


def _walls_about(
    search: VesselSearch, lines: Centerlines
) -> tuple[tuple[npt.NDArray[np.intp], ...], FloatArray, npt.NDArray[np.int64]]:
    """Voxels of the working grid near vessels, the distance from each to the nearest wall, mm, and the point it is of.

    Near is what the contrast can make part of a vessel, and what the surface of one is interpolated from. Vessels of
    like radius together: about a thin one, little is near.
    """
    grid = search.grid
    wall, index = np.full(grid.shape, np.inf, np.float32), np.full(grid.shape, -1)
    nodes = np.rint((lines.points_ras_mm - np.array(grid.first_ras_mm)) / grid.spacing_mm).astype(int)[:, ::-1]
    classes = np.floor(2 * lines.radius_mm).astype(int)
    for value in np.unique(classes):
        members = np.flatnonzero(classes == value)
        part = lines.where(classes == value)
        near = np.zeros(grid.shape, dtype=bool)
        near[_balls(np.unique(nodes[members], axis=0), 1.4 * part.radius_mm.max() + 1.0, grid)] = True
        distance, nearest = part.nearest_walls(grid.points(near))
        nearer = distance < wall[near]
        places = tuple(axis[nearer] for axis in np.nonzero(near))
        wall[places], index[places] = distance[nearer], members[nearest[nearer]]
    found = np.nonzero(index >= 0)
    return found, wall[found], index[found]


def _balls(centers: npt.NDArray[np.intp], radius_mm: float, grid: WorkingGrid) -> tuple[npt.NDArray[np.intp], ...]:
    """Index (K, J, I) of all voxels of a grid within balls about voxels (N, 3), some of them more than once."""
    reach = int(radius_mm / grid.spacing_mm)
    steps = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    steps = steps[np.linalg.norm(steps, axis=1) * grid.spacing_mm <= radius_mm]
    voxels = (centers[:, None] + steps).reshape(-1, 3)
    voxels = voxels[((voxels >= 0) & (voxels < grid.shape)).all(axis=1)]
    return tuple(voxels.T)
