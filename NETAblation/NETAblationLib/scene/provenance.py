"""What a node is, where it comes from, and whether it still holds: node attributes and references.

A result remembers its input nodes (node references) and what their content was (hashes). When an
input changes, everything computed from it, directly or through other results, is marked stale:
shown as such, never deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import slicer

ROLE = "NETAblation.Role"
SOURCE = "NETAblation.Source"
CONTENT_HASH = "NETAblation.ContentHash"
INPUT_HASHES = "NETAblation.InputHash"
STALE = "NETAblation.Stale"
INPUT_REFERENCE = "NETAblation.Input"

_UNKNOWN = "-"  # the hash of an input that has none


@dataclass(frozen=True)
class Provenance:
    """What a node is and where it comes from.

    `role`: what it is in the case, such as "planning_image" or "margin". `source`: a file, a series
    or the method that made it. `content_hash`: of the data itself. `inputs`: the nodes from which
    it was computed.
    """

    role: str
    source: str = ""
    content_hash: str = ""
    inputs: Sequence[Any] = ()


def describe(node: Any, provenance: Provenance) -> None:
    """Write `provenance` into the attributes and node references of `node`; it counts as fresh."""
    node.SetAttribute(ROLE, provenance.role)
    node.SetAttribute(SOURCE, provenance.source or None)
    node.SetAttribute(CONTENT_HASH, provenance.content_hash or None)
    node.RemoveNodeReferenceIDs(INPUT_REFERENCE)
    for source_node in provenance.inputs:
        node.AddNodeReferenceID(INPUT_REFERENCE, source_node.GetID())
    hashes = [source_node.GetAttribute(CONTENT_HASH) or _UNKNOWN for source_node in provenance.inputs]
    node.SetAttribute(INPUT_HASHES, " ".join(hashes) or None)
    node.SetAttribute(STALE, None)


def provenance_of(node: Any) -> Provenance:
    """What `describe` wrote; the role is empty for a node that is not ours."""
    return Provenance(
        role=node.GetAttribute(ROLE) or "",
        source=node.GetAttribute(SOURCE) or "",
        content_hash=node.GetAttribute(CONTENT_HASH) or "",
        inputs=tuple(inputs_of(node)),
    )


def inputs_of(node: Any) -> list[Any]:
    """The nodes from which `node` was computed and that are still in the scene."""
    count = node.GetNumberOfNodeReferences(INPUT_REFERENCE)
    nodes = [node.GetNthNodeReference(INPUT_REFERENCE, index) for index in range(count)]
    return [source for source in nodes if source is not None]


def nodes_with_role(role: str) -> list[Any]:
    """All nodes of this role, in the order of the scene."""
    return [node for node in slicer.mrmlScene.GetNodes() if node.GetAttribute(ROLE) == role]


def first_with_role(role: str) -> Any:
    """The first node of this role in the scene, None without any; panels ask often, so the search ends there."""
    return next((node for node in slicer.mrmlScene.GetNodes() if node.GetAttribute(ROLE) == role), None)


def set_content_hash(node: Any, content_hash: str) -> list[Any]:
    """Record what `node` now holds; returns the nodes that this made stale.

    Results computed from other content are marked stale, and with them what was computed from those.
    """
    node.SetAttribute(CONTENT_HASH, content_hash or None)
    marked: list[Any] = []
    for result in _results_from(node):
        if _remembered_hash(result, node) != (content_hash or _UNKNOWN):
            marked += mark_stale(result, f"{node.GetName()} has changed")
    return marked


def renew(node: Any, content_hash: str) -> list[Any]:
    """Record that `node` was made anew and is fresh; returns the nodes that this made stale.

    Results computed from its earlier content are stale now; with the same content they hold.
    """
    node.SetAttribute(STALE, None)
    return set_content_hash(node, content_hash)


def mark_stale(node: Any, reason: str = "an input has changed") -> list[Any]:
    """Mark `node`, and all that was computed from it, as no longer valid; returns the newly marked."""
    if is_stale(node):
        return []
    node.SetAttribute(STALE, reason)
    marked = [node]
    for result in _results_from(node):
        marked += mark_stale(result, f"{node.GetName()} is stale")
    return marked


def is_stale(node: Any) -> bool:
    """Whether an input of `node` changed after it was computed."""
    return node.GetAttribute(STALE) is not None


def stale_reason(node: Any) -> str:
    """Why `node` is stale, in words; empty where it is not."""
    return node.GetAttribute(STALE) or ""


def _own_nodes() -> list[Any]:
    return [node for node in slicer.mrmlScene.GetNodes() if node.GetAttribute(ROLE)]


def _results_from(node: Any) -> list[Any]:
    """The nodes for which `node` is a direct input."""
    return [result for result in _own_nodes() if node in inputs_of(result)]


def _remembered_hash(result: Any, node: Any) -> str:
    """The hash that `node` had when `result` was computed from it."""
    hashes = (result.GetAttribute(INPUT_HASHES) or "").split()
    for index in range(result.GetNumberOfNodeReferences(INPUT_REFERENCE)):
        if result.GetNthNodeReference(INPUT_REFERENCE, index) is node and index < len(hashes):
            return hashes[index]
    return _UNKNOWN
