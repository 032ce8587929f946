"""All that is known of a digital patient before any voxel: anatomy, vessels, lesions, motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .anatomy import Torso
from .deformation import Deformation
from .lesions import PlannedLesion, place_lesions, place_perivascular
from .liver import Liver
from .shapes import Ellipsoid
from .vessels import Branch, TreeGrower, VesselTree, frozen, prune
from .zones import plan_zones

Array = npt.NDArray[np.float64]

#: Terminals of the portal tree and of the three hepatic veins together: with terminals of 1 mm
#: and Murray's law a portal trunk of 2 * 270^(1/3) = 12.9 mm in diameter.
_TERMINALS = 270


@dataclass(frozen=True)
class PatientGeometry:
    """The exact geometry of a digital patient; see `make_patient` for its images."""

    seed: int
    torso: Torso
    liver: Liver
    portal: VesselTree
    hepatic: VesselTree
    lesions: tuple[PlannedLesion, ...]
    deformation: Deformation


def make_geometry(seed: int) -> PatientGeometry:
    """Draw the geometry of the digital patient of a seed; no voxel is computed.

    Each part draws from a generator of its own, so that a change of one leaves the others.
    """
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(6)]
    torso = Torso.drawn(rngs[0])
    liver = Liver(torso)
    trunk, veins = _root_paths(rngs[0], liver)
    keep_free = np.concatenate([trunk[2:], *veins])
    lesions = place_lesions(rngs[1], liver, keep_free)
    tumors = [part for lesion in lesions for part in lesion.tumor.parts]
    portal_roots, hepatic_roots = _grow(rngs[2], liver, tumors, trunk, veins)
    prune(portal_roots, tumors)
    prune(hepatic_roots, tumors)
    trees = (frozen("portal", portal_roots), frozen("hepatic", hepatic_roots))
    perivascular = place_perivascular(rngs[3], liver, lesions, trees)
    tumors.extend(perivascular.tumor.parts)
    prune(portal_roots, tumors)
    prune(hepatic_roots, tumors)
    lesions = _named([lesions[0], lesions[1], perivascular, *lesions[2:]])
    planned = plan_zones(rngs[4], liver, lesions)
    deformation = Deformation.drawn(rngs[5], liver.center_ras_mm, liver.inner_points_ras_mm)
    return PatientGeometry(
        seed, torso, liver, frozen("portal", portal_roots), frozen("hepatic", hepatic_roots), planned, deformation
    )


def _named(lesions: Sequence[PlannedLesion]) -> list[PlannedLesion]:
    return [replace(lesion, name=f"lesion-{number}") for number, lesion in enumerate(lesions, start=1)]


def _root_paths(rng: np.random.Generator, liver: Liver) -> tuple[Array, list[Array]]:
    """The course of the portal trunk, and of the last 16 mm of the right, middle and left vein."""
    trunk = np.array([[2.0, -2.0, -48.0], [8.0, -1.0, -34.0], [16.0, 1.0, -18.0], [24.0, 3.0, -6.0], [28.0, 5.0, 3.0]])
    height = 49.0
    x, y = (float(v) for v in liver.torso.cava_center(np.array(height)))
    veins = []
    for toward in ([12.0, -2.0, -2.0], [5.0, 10.0, -3.0], [-7.0, 9.0, 0.0]):
        unit = np.array(toward) / np.linalg.norm(toward)
        start = np.array([x, y, height + rng.uniform(-2, 3)]) + unit * 5.0
        veins.append(np.array([start, start + 8.0 * unit, start + 16.0 * unit]))
    return trunk, veins


def _grow(
    rng: np.random.Generator, liver: Liver, tumors: Sequence[Ellipsoid], trunk: Array, veins: Sequence[Array]
) -> tuple[list[Branch], list[Branch]]:
    grower = TreeGrower(rng, liver, tumors)
    terminals = grower.terminals(_TERMINALS)
    right = terminals[:, 0] > 18.0 + 0.25 * (terminals[:, 1] - 20.0)
    portal = [grower.grow(trunk, terminals, (terminals[right], terminals[~right]))]
    grower.avoid(frozen("portal", portal))
    terminals = grower.terminals(_TERMINALS)
    # The middle vein runs near the plane from the gallbladder to the cava, the left one beyond.
    offset = terminals[:, 0] - (26.0 + 0.35 * (terminals[:, 1] - 10.0))
    is_right, is_left = offset > 28.0, terminals[:, 0] <= 2.0
    groups = (terminals[is_right], terminals[~is_right & ~is_left], terminals[is_left & ~is_right])
    hepatic = [grower.grow(path, group) for path, group in zip(veins, groups, strict=True) if len(group)]
    return portal, hepatic
