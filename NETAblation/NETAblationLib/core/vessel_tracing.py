"""From a vessel mask to the middle of its vessels: a skeleton of nodes, branch by branch.

After TEASAR (Sato et al., Pacific Graphics 2000): the cheapest ways through the mask from the thickest
place to the ends that are left, one after the other, where the middle of a vessel is cheap. What lies
around a way is done with, so that bumps of a wall make no branch. A way follows the voxels; smoothing
brings it to the middle between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]
BoolArray = npt.NDArray[np.bool_]

#: Around a way, what is nearer than its depth times the first plus the second, in voxels, is done with.
_COVERED = (1.1, 1.2)
#: Standard deviations, in nodes, of the smoothing of ways and of their directions.
_SMOOTH_NODES, _SMOOTH_DIRECTION_NODES = 2.0, 1.5
#: Half of the neighbors of a voxel; the other half are their opposites.
_NEIGHBORS = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


@dataclass(frozen=True)
class VoxelGraph:
    """The voxels (N, 3) of a mask, in order, and the cost of the steps between neighbors (N, N)."""

    voxels: IntArray
    steps: sparse.csr_matrix

    @classmethod
    def of(cls, mask: BoolArray, cost: FloatArray) -> VoxelGraph:
        """Join all neighbors in a mask; a step costs its length in voxels times the mean of `cost` at its ends."""
        voxels = np.argwhere(mask)
        number = np.full(np.array(mask.shape) + 2, -1, np.int32)
        number[1:-1, 1:-1, 1:-1][mask] = np.arange(len(voxels), dtype=np.int32)
        at = cost[mask]
        first, second, costs = [], [], []
        for step in _NEIGHBORS:
            other = number[tuple((voxels + 1 + step).T)]
            one = np.flatnonzero(other >= 0)
            two = other[one]
            first.append(one)
            second.append(two)
            costs.append(0.5 * float(np.linalg.norm(step)) * (at[one] + at[two]))
        ends = (np.concatenate(first), np.concatenate(second))
        return cls(voxels, sparse.csr_matrix((np.concatenate(costs), ends), shape=(len(voxels), len(voxels))))


@dataclass(frozen=True)
class Branch:
    """A vessel between two branch points: nodes (N,), places (N, 3) in voxels, directions (N, 3), parent branch or -1.

    Runs from the parent's last node outward. `is_end` where no branch goes on.
    """

    nodes: IntArray
    points: FloatArray
    directions: FloatArray
    parent: int
    is_end: bool

    @property
    def along(self) -> FloatArray:
        """How far along the branch each node (N,) lies, in voxels."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return np.insert(np.cumsum(steps), 0, 0.0)

    @property
    def node_lengths(self) -> FloatArray:
        """The length of the way that each node (N,) stands for, in voxels: half of the steps on both sides."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return 0.5 * (np.append(steps, 0.0) + np.insert(steps, 0, 0.0))


def trace(graph: VoxelGraph, depth: FloatArray, least_length: float, least_voxels: int) -> list[Branch]:
    """The branches of the vessels in a graph, parents before their children.

    `depth` (N,) is how deep each voxel of the graph lies, in voxels. Ends that stick out by less than
    `least_length` and pieces of fewer than `least_voxels` are left out.
    """
    roots = _roots(graph, depth, least_voxels)
    if not len(roots):
        return []
    distance, before, _ = csgraph.dijkstra(
        graph.steps, directed=False, indices=roots, min_only=True, return_predecessors=True
    )
    length = _length_along(graph.voxels, distance, before)
    tree = cKDTree(graph.voxels)
    parent = np.full(len(graph.voxels), -2)
    parent[roots] = -1
    done = ~np.isfinite(distance)
    reach = _COVERED[0] * depth + _COVERED[1]
    for near in tree.query_ball_point(graph.voxels[roots], reach[roots]):
        done[near] = True
    for end in np.argsort(-length, kind="stable"):
        if done[end]:
            continue
        way = [end]
        while parent[way[-1]] == -2:
            way.append(before[way[-1]])
        if length[end] - length[way[-1]] < least_length:
            done[end] = True
            continue
        parent[way[:-1]] = way[1:]
        for near in tree.query_ball_point(graph.voxels[way], reach[way]):
            done[near] = True
    return _branches(graph.voxels, parent)


def _roots(graph: VoxelGraph, depth: FloatArray, least_voxels: int) -> IntArray:
    """The deepest voxel of each piece that is large enough."""
    count, piece = csgraph.connected_components(graph.steps, directed=False)
    sizes = np.bincount(piece, minlength=count)
    order = np.lexsort((depth, piece))
    deepest = order[np.cumsum(sizes) - 1]
    return deepest[sizes >= least_voxels]


def _length_along(voxels: IntArray, distance: FloatArray, before: IntArray) -> FloatArray:
    """Length in voxels of the way to each voxel; 0 where none leads."""
    length = np.zeros(len(voxels))
    reached = np.flatnonzero(np.isfinite(distance) & (before >= 0))
    reached = reached[np.argsort(distance[reached], kind="stable")]
    steps = np.linalg.norm(voxels[reached] - voxels[before[reached]], axis=1)
    for voxel, previous, step in zip(reached.tolist(), before[reached].tolist(), steps.tolist(), strict=True):
        length[voxel] = length[previous] + step
    return length


def _branches(voxels: IntArray, parent: IntArray) -> list[Branch]:
    """Cut the tree that `parent` (N,) makes, -1 a root and -2 no node, at its branch points."""
    nodes = np.flatnonzero(parent >= -1)
    children = np.bincount(parent[nodes][parent[nodes] >= 0], minlength=len(parent))
    is_cut = (children != 1) | (parent == -1)
    chains: dict[int, list[int]] = {}
    for last in nodes[is_cut[nodes] & (parent[nodes] >= 0)].tolist():
        chain = [last, int(parent[last])]
        while not is_cut[chain[-1]]:
            chain.append(int(parent[chain[-1]]))
        chains[last] = chain[::-1]
    placed: dict[int, int] = {}
    branches: list[Branch] = []
    waiting = list(chains)
    while waiting:
        later = []
        for last in waiting:
            first = chains[last][0]
            if first in chains and first not in placed:
                later.append(last)
                continue
            placed[last] = len(branches)
            branches.append(_branch(voxels, np.array(chains[last]), placed.get(first, -1), not children[last]))
        waiting = later
    return branches


def _branch(voxels: IntArray, nodes: IntArray, parent: int, is_end: bool) -> Branch:
    points = smoothed(voxels[nodes].astype(np.float64), _SMOOTH_NODES)
    directions = smoothed(np.gradient(points, axis=0), _SMOOTH_DIRECTION_NODES)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    return Branch(nodes, points, directions, parent, bool(is_end))


def smoothed(values: FloatArray, deviation: float) -> FloatArray:
    """Values (N, D) along a line smoothed by a Gaussian, its ends kept in place."""
    reach = min(len(values) - 1, int(4 * deviation))
    if reach < 1:
        return values
    padded = np.pad(values, [(reach, reach), (0, 0)], mode="reflect", reflect_type="odd")
    return ndimage.gaussian_filter1d(padded, deviation, axis=0)[reach:-reach]
