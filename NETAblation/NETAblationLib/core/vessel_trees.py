"""Which of touching vessels belong to one tree: portal and hepatic veins told apart from their trunks.

In a CT the two trees of the liver touch in many places. Blood tells them apart: from its trunk on, a
vessel goes on without sharp turns, never gets thicker, and keeps the contrast of its blood. So the way
from a trunk to each vessel is given a price for every breach of that, and a vessel belongs to the
trunk from which it is cheapest.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import csgraph

from .centerlines import VesselKind
from .vessel_tracing import Branch, VoxelGraph

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]

#: The direction of a vessel at a branch point is that over this length, in mm. User-set, as all below.
_DIRECTION_MM = 5.0
#: A turn costs nothing up to the first angle and 1 for each further second, in degrees.
_FREE_TURN, _TURN = 60.0, 35.0
#: A vessel that is thicker than the one it comes from costs this for each factor of e beyond a tolerance.
_THICKER, _THICKER_FREE = 6.0, 0.10
#: Radius and contrast of a piece shorter than this, in mm, count less.
_TRUSTED_MM = 5.0
#: Contact through a place of less contrast costs this, for a place without any.
_BRIDGE = 6.0
#: Each mm with the blood of another tree costs this.
_BLOOD_PER_MM = 0.4
#: Blood is compared where that of the trees differs by this share.
_BLOOD_LEAST_SHARE = 0.08
#: Standard deviations of the image's blur that are tried, in mm, on vessels below a radius, in mm.
#: Times that the trees are told apart, each time with the blood of those found before.
_ROUNDS = 4
_BLURS_MM, _THIN_MM = tuple(np.arange(0.6, 2.6, 0.1).tolist()), 2.5
#: Each mm of way costs this, so that of equal ways the shorter one is taken.
_LENGTH_PER_MM = 0.004
#: A contact needs this share of the contrast of the weaker vessel.
_CONTACT_SHARE = 0.45


@dataclass(frozen=True)
class _Piece:
    """A part of a branch between two places where vessels meet."""

    branch: int
    nodes: slice
    ends: tuple[int, int]
    outward: tuple[FloatArray, FloatArray]
    radius_mm: float
    middle: float
    held: float
    length_mm: float


#: From an end of a piece to another piece: its number, the end that it leads to, and the price.
_Step = tuple[int, int, float]


@dataclass(frozen=True)
class Contact:
    """Where two branches touch: node numbers within each, and the share of contrast in between."""

    first: int
    second: int
    first_node: int
    second_node: int
    share: float


def contacts(graph: VoxelGraph, branches: Sequence[Branch], contrast: FloatArray) -> list[Contact]:
    """Where branches touch that the tracing has not joined, the strongest place of each pair.

    `contrast` (N,) is that of the voxels of the graph.
    """
    owner, nodes = _territories(graph, branches)
    rows, columns = graph.steps.nonzero()
    one, two = owner[rows], owner[columns]
    apart = (one != two) & (one >= 0) & (two >= 0)
    rows, columns = rows[apart], columns[apart]
    joined = _joined(branches)
    strongest: dict[tuple[int, int], tuple[float, int, int]] = {}
    bridge = np.minimum(contrast[rows], contrast[columns])
    for row, column, value in zip(rows.tolist(), columns.tolist(), bridge.tolist(), strict=True):
        first, second = int(owner[row]), int(owner[column])
        if first > second:
            first, second, row, column = second, first, column, row
        if (first, second) not in joined and value > strongest.get((first, second), (0.0, 0, 0))[0]:
            strongest[first, second] = (value, int(nodes[row]), int(nodes[column]))
    peak = [float(np.median(contrast[branch.nodes])) for branch in branches]
    return [
        Contact(first, second, first_node, second_node, value / min(peak[first], peak[second]))
        for (first, second), (value, first_node, second_node) in strongest.items()
        if value > _CONTACT_SHARE * min(peak[first], peak[second])
    ]


def _territories(graph: VoxelGraph, branches: Sequence[Branch]) -> tuple[IntArray, IntArray]:
    """For each voxel the branch whose node is nearest along the mask, -1 where none is, and the node's number in it."""
    nodes = np.concatenate([branch.nodes[1:] for branch in branches])
    branch_of = np.repeat(np.arange(len(branches)), [len(branch.nodes) - 1 for branch in branches])
    place = np.concatenate([np.arange(1, len(branch.nodes)) for branch in branches])
    nearest = csgraph.dijkstra(graph.steps, directed=False, indices=nodes, min_only=True, return_predecessors=True)[2]
    position = np.full(len(graph.voxels), -1)
    position[nodes] = np.arange(len(nodes))
    index = np.where(nearest >= 0, position[np.maximum(nearest, 0)], -1)
    return np.where(index >= 0, branch_of[index], -1), np.where(index >= 0, place[index], -1)


def _joined(branches: Sequence[Branch]) -> set[tuple[int, int]]:
    """The pairs of branches that share a branch point."""
    meeting = defaultdict(list)
    for number, branch in enumerate(branches):
        meeting[int(branch.nodes[0])].append(number)
        meeting[int(branch.nodes[-1])].append(number)
    return {(one, two) for group in meeting.values() for one in group for two in group if one < two}


def prices(
    branches: Sequence[Branch],
    radii_mm: Sequence[FloatArray],
    middles: Sequence[FloatArray],
    helds: Sequence[FloatArray],
    touching: Sequence[Contact],
    trunks: Mapping[VesselKind, Sequence[tuple[int, int]]],
    spacing_mm: float,
) -> dict[VesselKind, list[FloatArray]]:
    """For each trunk's kind, the price (N,) of the way from it to each node of each branch.

    `trunks` gives for each kind, one at least, the places (branch, node number in it) where it begins. At each node,
    `radii_mm` holds the radius, `middles` the contrast in the middle, and `helds` that of the whole cross-section
    (contrast x mm2).
    """
    pieces = _pieces(branches, radii_mm, middles, helds, touching, spacing_mm)
    meeting: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        for end in (0, 1):
            meeting[piece.ends[end]].append((number, end))
    starts = {kind: [_piece_at(pieces, *place) for place in places] for kind, places in trunks.items()}
    steps = _steps(pieces, meeting, _bridges(branches, touching))
    members = {kind: list(start) for kind, start in starts.items()}
    for _ in range(_ROUNDS):
        blood = _tree_bloods(pieces, members)
        blur = _blur_mm(pieces, list(blood.values()))
        price = {
            kind: _cheapest(pieces, steps, start, blood.get(kind), _others(blood, kind), blur)
            for kind, start in starts.items()
        }
        members = _thick_members(pieces, price)
    return {kind: _on_nodes(branches, pieces, values) for kind, values in price.items()}


def _others(blood: Mapping[VesselKind, float], kind: VesselKind) -> list[float]:
    return [value for other, value in blood.items() if other != kind]


def _thick_members(pieces: Sequence[_Piece], price: Mapping[VesselKind, FloatArray]) -> dict[VesselKind, list[int]]:
    """For each kind the thick pieces that are cheapest from its trunk."""
    kinds = list(price)
    nearest = np.argmin([price[kind] for kind in kinds], axis=0)
    is_thick = np.array([piece.radius_mm > _THIN_MM and piece.length_mm > _TRUSTED_MM for piece in pieces])
    return {kind: np.flatnonzero(is_thick & (nearest == row)).tolist() for row, kind in enumerate(kinds)}


def _on_nodes(branches: Sequence[Branch], pieces: Sequence[_Piece], price: FloatArray) -> list[FloatArray]:
    """The price at each node of each branch; where pieces meet, the lower."""
    nodes = [np.full(len(branch.nodes), np.inf) for branch in branches]
    for piece, value in zip(pieces, price.tolist(), strict=True):
        nodes[piece.branch][piece.nodes] = np.minimum(nodes[piece.branch][piece.nodes], value)
    return nodes


def _vertex_of(branches: Sequence[Branch], touching: Sequence[Contact]) -> dict[int, int]:
    """Nodes that are one place because two branches touch there."""
    same: dict[int, int] = {}

    def top(node: int) -> int:
        while same.get(node, node) != node:
            node = same[node]
        return node

    for contact in touching:
        first = int(branches[contact.first].nodes[contact.first_node])
        second = int(branches[contact.second].nodes[contact.second_node])
        same[top(second)] = top(first)
    return {node: top(node) for node in same}


def _pieces(
    branches: Sequence[Branch],
    radii_mm: Sequence[FloatArray],
    middles: Sequence[FloatArray],
    helds: Sequence[FloatArray],
    touching: Sequence[Contact],
    spacing_mm: float,
) -> list[_Piece]:
    vertex = _vertex_of(branches, touching)
    cuts: dict[int, set[int]] = defaultdict(set)
    for contact in touching:
        cuts[contact.first].add(contact.first_node)
        cuts[contact.second].add(contact.second_node)
    pieces = []
    for number, branch in enumerate(branches):
        last = len(branch.nodes) - 1
        places = sorted({0, last} | cuts[number])
        skip = 0.0 if branch.parent < 0 else float(radii_mm[branch.parent][-1])
        for start, stop in pairwise(places):
            points = branch.points[start : stop + 1] * spacing_mm
            outward = (
                _heading(points, skip if start == 0 else 0.0),
                _heading(points[::-1], 0.0),
            )
            node_ids = (int(branch.nodes[start]), int(branch.nodes[stop]))
            ends = (vertex.get(node_ids[0], node_ids[0]), vertex.get(node_ids[1], node_ids[1]))
            inner = slice(start, stop + 1)
            pieces.append(
                _Piece(
                    number,
                    inner,
                    ends,
                    outward,
                    float(np.median(radii_mm[number][inner])),
                    float(np.median(middles[number][inner])),
                    float(np.median(helds[number][inner])),
                    float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()),
                )
            )
    return pieces


def _heading(points_mm: FloatArray, skip_mm: float) -> FloatArray:
    """Unit direction (3,) in which a way leaves its first point, past what lies within a thicker vessel."""
    away = np.linalg.norm(points_mm - points_mm[0], axis=1)
    begin = min(int(np.argmax(away >= skip_mm)), len(points_mm) - 2) if (away >= skip_mm).any() else 0
    along = np.linalg.norm(points_mm[begin:] - points_mm[begin], axis=1)
    end = begin + (int(np.argmax(along >= _DIRECTION_MM)) if (along >= _DIRECTION_MM).any() else len(along) - 1)
    heading = points_mm[end] - points_mm[begin]
    return heading / max(float(np.linalg.norm(heading)), 1e-9)


def _piece_at(pieces: Sequence[_Piece], branch: int, node: int) -> int:
    return next(
        number
        for number, piece in enumerate(pieces)
        if piece.branch == branch and piece.nodes.start <= node < piece.nodes.stop
    )


def _bridges(branches: Sequence[Branch], touching: Sequence[Contact]) -> dict[tuple[int, int], float]:
    """The share of contrast between each two branches that touch."""
    return {
        pair: contact.share
        for contact in touching
        for pair in ((contact.first, contact.second), (contact.second, contact.first))
    }


def _tree_bloods(pieces: Sequence[_Piece], members: Mapping[VesselKind, Sequence[int]]) -> dict[VesselKind, float]:
    """Contrast of the blood of each kind by pieces that belong to it; empty where two are alike."""
    blood = {
        kind: float(np.average([pieces[p].middle for p in chosen], weights=[pieces[p].length_mm for p in chosen]))
        for kind, chosen in members.items()
        if chosen
    }
    values = sorted(blood.values())
    if len(blood) < 2 or np.diff(values).min() < _BLOOD_LEAST_SHARE * values[-1]:
        return {}
    return blood


def _steps(
    pieces: Sequence[_Piece],
    meeting: Mapping[int, list[tuple[int, int]]],
    bridges: Mapping[tuple[int, int], float],
) -> list[tuple[list[_Step], list[_Step]]]:
    """From each end of each piece: where its other end leads to, and what that costs but for the blood."""

    def onward(number: int, end: int) -> list[_Step]:
        piece = pieces[number]
        return [
            (other, 1 - other_end, _step_price(piece, end, pieces[other], other_end, bridges))
            for other, other_end in meeting[piece.ends[end]]
            if other != number
        ]

    return [(onward(number, 0), onward(number, 1)) for number in range(len(pieces))]


def _cheapest(
    pieces: Sequence[_Piece],
    steps: Sequence[tuple[list[_Step], list[_Step]]],
    start: Sequence[int],
    own: float | None,
    others: Sequence[float],
    blur_mm: float,
) -> FloatArray:
    """Price of the cheapest way from the start to each piece (Dijkstra over pieces and directions)."""
    best = [[np.inf, np.inf] for _ in pieces]
    for number in start:
        best[number] = [0.0, 0.0]
    blood = [_blood_price(piece, own, others, blur_mm) for piece in pieces]
    queue = [(0.0, number, end) for number in start for end in (0, 1)]
    while queue:
        price, number, end = heapq.heappop(queue)
        if price > best[number][end]:
            continue
        for other, far_end, step in steps[number][end]:
            value = price + step + blood[other]
            if value < best[other][far_end]:
                best[other][far_end] = value
                heapq.heappush(queue, (value, other, far_end))
    return np.min(best, axis=1)


def _step_price(piece: _Piece, end: int, to: _Piece, to_end: int, bridges: Mapping[tuple[int, int], float]) -> float:
    cosine = float(np.clip(-piece.outward[end] @ to.outward[to_end], -1.0, 1.0))
    turn = max(0.0, float(np.degrees(np.arccos(cosine))) - _FREE_TURN) / _TURN
    trust = min(1.0, min(piece.length_mm, to.length_mm) / _TRUSTED_MM)
    thicker = trust * _THICKER * max(0.0, float(np.log(to.radius_mm / piece.radius_mm)) - _THICKER_FREE)
    share = bridges.get((piece.branch, to.branch), 1.0)
    return turn + thicker + _BRIDGE * max(0.0, 1.0 - share) + _LENGTH_PER_MM * to.length_mm


def _middle_if(piece: _Piece, blood: float, blur_mm: float) -> float:
    """Contrast in the middle of a vessel that holds what the piece holds, if its blood has that contrast.

    A disc blurred by a Gaussian: thin vessels do not reach the contrast of their blood.
    """
    square_mm2 = max(piece.held, 0.0) / (np.pi * blood)
    return blood * float(1.0 - np.exp(-square_mm2 / (2.0 * blur_mm**2)))


def _blur_mm(pieces: Sequence[_Piece], bloods: Sequence[float]) -> float:
    """The blur of the image that best explains the middles of all pieces, standard deviation in mm."""
    thin = [piece for piece in pieces if piece.length_mm > _TRUSTED_MM and piece.radius_mm < _THIN_MM]
    if not thin or not bloods:
        return _BLURS_MM[0]

    def misfit(blur: float) -> float:
        return sum(
            piece.length_mm * min(abs(piece.middle - _middle_if(piece, blood, blur)) for blood in bloods)
            for piece in thin
        )

    return min(_BLURS_MM, key=misfit)


def _blood_price(piece: _Piece, own: float | None, others: Sequence[float], blur_mm: float) -> float:
    """What it costs that the blood of a piece is more like that of another tree."""
    if own is None:
        return 0.0
    off = abs(piece.middle - _middle_if(piece, own, blur_mm))
    excess = [(off - abs(piece.middle - _middle_if(piece, other, blur_mm))) / abs(own - other) for other in others]
    return _BLOOD_PER_MM * piece.length_mm * max([0.0, *excess])
