"""Branching portal and hepatic venous trees whose radii obey Murray's law.

A tree grows from its root to terminals spread over the liver: at every branch point the
terminals are split in two and the vessel heads for the middle of each part. Each terminal
has a radius of 1 mm, so by Murray's law (r0^3 = r1^3 + r2^3; Murray, PNAS 1926) a branch that
feeds n terminals has a radius of the cube root of n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .liver import LIVER_BOX_RAS_MM, Liver
from .shapes import Ellipsoid

Array = npt.NDArray[np.float64]

#: Radius of the last branches, mm.
TERMINAL_RADIUS_MM = 1.0

#: Free space kept between a vessel's wall and a tumor while the tree grows, mm.
_CLEARANCE_MM = 0.6


@dataclass
class Branch:
    """One vessel between two branch points while a tree grows."""

    path: Array
    terminals: int
    children: list[Branch] = field(default_factory=list)

    @property
    def radius_mm(self) -> float:
        """Radius by Murray's law from the terminals that it feeds."""
        return TERMINAL_RADIUS_MM * float(np.cbrt(self.terminals))

    def walk(self) -> Iterator[Branch]:
        """This branch and all behind it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Obstacles:
    """Many ellipsoids at once: how deep points lie in them when all are inflated."""

    def __init__(self, ellipsoids: Sequence[Ellipsoid]) -> None:
        """Take the ellipsoids; none is fine."""
        self._centers = np.array([e.center_ras_mm for e in ellipsoids]).reshape(-1, 3)
        self._semi = np.array([e.semi_axes_mm for e in ellipsoids]).reshape(-1, 3)
        self._axes = np.array([e.axes for e in ellipsoids]).reshape(-1, 3, 3)
        self._reach = self._semi.max(axis=1, initial=0.0)

    def ratios(self, points: Array, by_mm: float | Array) -> Array:
        """Normalized radius (N, M) of points (N, 3) in each ellipsoid whose semi-axes grow by
        `by_mm` (one number, or (N,)): below 1 inside."""
        offset = points[:, None] - self._centers
        local = np.matmul(offset[:, :, None, :], self._axes)[:, :, 0]
        grown = self._semi + np.asarray(by_mm, np.float64).reshape(-1, 1, 1)
        local /= grown
        return np.sqrt((local * local).sum(axis=2))

    def depth(self, points: Array, by_mm: float | Array) -> Array:
        """The largest (1 - ratio), at least 0, over all ellipsoids; (N,)."""
        return np.maximum(1.0 - self.ratios(points, by_mm).min(axis=1, initial=2.0), 0.0)

    def pushed_out(self, points: Array, by_mm: float) -> Array:
        """The points moved radially out of the inflated ellipsoids, (N, 3)."""
        ratio = self.ratios(points, by_mm)
        if not (ratio < 1.0).any():
            return points
        points = points.copy()
        for index in np.flatnonzero((ratio < 1.0).any(axis=0)):
            move = ratio[:, index] < 1.0
            away = points[move] - self._centers[index]
            points[move] = self._centers[index] + away / np.maximum(ratio[move, index], 0.05)[:, None]
        return points


@dataclass(frozen=True)
class VesselTree:
    """A tree of tubes: branch b runs along `paths_ras_mm[b]` (M, 3) with one radius.

    `parents[b]` is the index of the branch that b springs from, -1 for a root. Every path
    starts where its parent's ends. Murray's law holds at every branch point.
    """

    name: str
    paths_ras_mm: tuple[Array, ...]
    radii_mm: Array
    parents: npt.NDArray[np.int64]

    @property
    def segment_starts_ras_mm(self) -> Array:
        """Starts of all straight centerline segments, (N, 3)."""
        return np.concatenate([path[:-1] for path in self.paths_ras_mm])

    @property
    def segment_ends_ras_mm(self) -> Array:
        """Ends of all straight centerline segments, (N, 3)."""
        return np.concatenate([path[1:] for path in self.paths_ras_mm])

    @property
    def segment_radii_mm(self) -> Array:
        """Radius of each segment, (N,)."""
        return np.repeat(self.radii_mm, [len(path) - 1 for path in self.paths_ras_mm])

    def centerline(self, spacing_mm: float, min_radius_mm: float = 0.0) -> tuple[Array, Array]:
        """Points (N, 3) along the branches of at least a radius, and the radius at each (N,)."""
        points, radii = [np.zeros((0, 3))], [np.zeros(0)]
        for path, radius in zip(self.paths_ras_mm, self.radii_mm, strict=True):
            if radius >= min_radius_mm:
                samples = resampled(path, spacing_mm)
                points.append(samples)
                radii.append(np.full(len(samples), radius))
        return np.concatenate(points), np.concatenate(radii)


def resampled(path: Array, spacing_mm: float) -> Array:
    """Points at most `spacing_mm` apart along a polyline (M, 3), its corners included."""
    pieces = []
    for start, end in pairwise(path):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / spacing_mm)))
        pieces.append(start + (end - start) * (np.arange(count) / count)[:, None])
    return np.concatenate([*pieces, path[-1:]])


class TreeGrower:
    """Grows trees inside a liver around tumors, and away from the trees grown before."""

    def __init__(self, rng: np.random.Generator, liver: Liver, obstacles: Sequence[Ellipsoid]) -> None:
        """Take what the trees have to respect; `obstacles` are the tumors' ellipsoids."""
        self._rng = rng
        self._liver = liver
        self._obstacles = Obstacles(obstacles)
        self._other: tuple[cKDTree, Array] | None = None

    def terminals(self, count: int) -> Array:
        """About `count` points (N, 3) spread over the liver outside the tumors."""
        lower, upper = LIVER_BOX_RAS_MM
        points = self._rng.uniform(lower, upper, (9000, 3))
        points = points[self._liver.rough_level(points) < -3.5]
        points = points[self._obstacles.depth(points, 2.5) == 0]
        spacing = 14.0
        while True:
            chosen = _scattered(points, spacing, count)
            if len(chosen) >= count or spacing < 4.0:
                return chosen
            spacing *= 0.94

    def grow(self, root_path: Array, terminals: Array, first_split: Sequence[Array] | None = None) -> Branch:
        """A tree whose first branch runs along `root_path` (M, 3) and feeds all terminals.

        `first_split` gives the sets of terminals of the root's two children where anatomy says so.
        """
        root = Branch(root_path, len(terminals))
        heading = root_path[-1] - root_path[-2]
        if first_split is not None and min(len(part) for part in first_split) > 0:
            for part in first_split:
                root.children.append(self._branch(root_path[-1], heading, part))
        elif len(terminals) > 1:
            root.children.extend(self._children(root_path[-1], heading, terminals))
        return root

    def avoid(self, tree: VesselTree) -> None:
        """Keep later trees away from the larger vessels of `tree`."""
        points, radii = tree.centerline(3.0, min_radius_mm=1.4)
        self._other = (cKDTree(points), radii)

    def _children(self, node: Array, heading: Array, terminals: Array) -> list[Branch]:
        return [self._branch(node, heading, part) for part in self._split(heading, terminals)]

    def _split(self, heading: Array, terminals: Array) -> tuple[Array, Array]:
        offset = terminals - terminals.mean(axis=0)
        unit = heading / max(float(np.linalg.norm(heading)), 1e-9)
        across = offset - 0.6 * (offset @ unit)[:, None] * unit
        direction = np.linalg.svd(across, full_matrices=False)[2][0]
        order = np.argsort(offset @ direction, kind="stable")
        share = self._rng.uniform(0.32, 0.68) if len(terminals) > 4 else 0.5
        cut = int(np.clip(round(share * len(terminals)), 1, len(terminals) - 1))
        return terminals[order[:cut]], terminals[order[cut:]]

    def _branch(self, node: Array, heading: Array, terminals: Array) -> Branch:
        count = len(terminals)
        radius = TERMINAL_RADIUS_MM * float(np.cbrt(count))
        target = terminals.mean(axis=0)
        if count == 1:
            return Branch(self._path(node, heading, target, radius), 1)
        reach = self._rng.uniform(0.42, 0.56) if count > 6 else self._rng.uniform(0.5, 0.65)
        end = self._clear_place(node + reach * (target - node), radius, spread=2.0 + 0.06 * count)
        branch = Branch(self._path(node, heading, end, radius), count)
        branch.children.extend(self._children(branch.path[-1], branch.path[-1] - branch.path[-2], terminals))
        return branch

    def _clear_place(self, place: Array, radius: float, spread: float) -> Array:
        """The best of a few places near `place`: in the liver, off tumors and other trees."""
        candidates = place + np.vstack([np.zeros(3), self._rng.normal(0, min(spread, 6.0), (7, 3))])
        candidates = self._pushed(candidates, radius)
        cost = np.linalg.norm(candidates - place, axis=1) * 0.3
        cost += 4.0 * np.maximum(self._liver.rough_level(candidates) + radius + 2.0, 0)
        cost += 20.0 * self._obstacles.depth(candidates, radius)
        if self._other is not None:
            tree, radii = self._other
            distance, index = tree.query(candidates)
            cost += 2.0 * np.maximum(radius + radii[index] + 2.0 - distance, 0)
        return candidates[int(cost.argmin())]

    def _path(self, start: Array, heading: Array, end: Array, radius: float) -> Array:
        """A slightly curved polyline from start to end, led around the tumors."""
        length = float(np.linalg.norm(end - start))
        count = max(2, int(np.ceil(length / 6.0)))
        share = np.linspace(0, 1, count + 1)[:, None]
        unit = heading / max(float(np.linalg.norm(heading)), 1e-9)
        bend = unit * (0.22 * length) + self._rng.normal(0, 0.04 * length, 3)
        path = start + (end - start) * share + bend * (share * (1 - share) ** 2 * 2.0)
        if not self._is_blocked(path, radius):
            return path
        if count < 5:
            path = resampled(path, length / 6.0)
        for _ in range(12):
            inner = self._pushed(path[1:-1], radius)
            smooth = inner.copy()
            whole = np.vstack([path[:1], inner, path[-1:]])
            smooth += 0.3 * (whole[:-2] + whole[2:] - 2 * inner)
            path = np.vstack([path[:1], smooth, path[-1:]])
        return np.vstack([path[:1], self._pushed(path[1:-1], radius), path[-1:]])

    def _is_blocked(self, path: Array, radius: float) -> bool:
        inner = path[1:-1]
        if (self._liver.rough_level(inner) > -radius - 0.5).any():
            return True
        samples = resampled(path, 2.0)
        return bool((self._obstacles.depth(samples, radius + _CLEARANCE_MM) > 0).any())

    def _pushed(self, points: Array, radius: float) -> Array:
        """Points moved out of the tumors and into the liver."""
        points = np.array(points)
        for _ in range(3):
            points = self._obstacles.pushed_out(points, radius + _CLEARANCE_MM + 0.6)
            outside = self._liver.rough_level(points) + radius + 1.5
            move = outside > 0
            if move.any():
                points[move] += np.minimum(outside[move], 8.0)[:, None] * self._liver.rough_inward(points[move])
        return points


def prune(roots: Sequence[Branch], tumors: Sequence[Ellipsoid]) -> None:
    """Cut off, in place, every branch that would run through a tumor, with all behind it.

    What is left is recounted, so that Murray's law holds again; a vessel with one child left
    goes on as that child. The roots' own paths are kept: tumors are placed clear of them.
    """
    branches = [branch for root in roots for branch in root.walk()]
    samples = [resampled(branch.path, 1.5) for branch in branches]
    owner = np.repeat(np.arange(len(branches)), [len(points) for points in samples])
    radii = np.array([branch.radius_mm for branch in branches])
    hit = Obstacles(tumors).depth(np.concatenate(samples), radii[owner] + 0.2) > 0
    blocked = {id(branches[index]) for index in np.unique(owner[hit])}
    for root in roots:
        root.children = _unblocked(root, blocked)
        _merge_single(root)
        _count(root)


def _unblocked(branch: Branch, blocked: set[int]) -> list[Branch]:
    kept = []
    for child in branch.children:
        if id(child) not in blocked:
            child.children = _unblocked(child, blocked)
            _merge_single(child)
            kept.append(child)
    return kept


def _merge_single(branch: Branch) -> None:
    while len(branch.children) == 1:
        child = branch.children[0]
        branch.path = np.vstack([branch.path, child.path[1:]])
        branch.children = child.children


def _count(branch: Branch) -> int:
    branch.terminals = sum(_count(child) for child in branch.children) or 1
    return branch.terminals


def frozen(name: str, roots: Sequence[Branch]) -> VesselTree:
    """The finished tree of one or more roots."""
    paths: list[Array] = []
    radii: list[float] = []
    parents: list[int] = []

    def add(branch: Branch, parent: int) -> None:
        own = len(paths)
        paths.append(branch.path)
        radii.append(branch.radius_mm)
        parents.append(parent)
        for child in branch.children:
            add(child, own)

    for root in roots:
        add(root, -1)
    return VesselTree(name, tuple(paths), np.array(radii), np.array(parents, np.int64))


def _scattered(points: Array, spacing_mm: float, count: int) -> Array:
    """The first points that lie at least a distance apart, at most `count`."""
    tree = cKDTree(points)
    free = np.ones(len(points), bool)
    chosen: list[int] = []
    for index in range(len(points)):
        if free[index]:
            chosen.append(index)
            if len(chosen) == count:
                break
            free[tree.query_ball_point(points[index], spacing_mm)] = False
    return points[chosen]
