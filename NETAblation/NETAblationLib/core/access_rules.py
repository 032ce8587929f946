"""Every number behind the ways of probes: hard distances by what a structure is, and the soft rules, with sources.

A hard rule decides whether a path is free, a soft one how good it is, from 0 to 1. What probes keep away from is
looked up by the role of a structure (:mod:`.structures`).
"""

from __future__ import annotations

from .clinical_rules import NO_SOURCE, Rule
from .structures import catalogue

_TINGUELY = "mean lateral error of stereotactic placement: Tinguely et al., Front Oncol 2021;11:713685"


def _error(role: str, text: str) -> Rule:
    """A distance as large as a probe is misplaced on average."""
    return Rule(role, 3.7, "mm", text, _TINGUELY, "abstract read")


def _set(name: str, value: float, unit: str, text: str) -> Rule:
    return Rule(name, value, unit, text, NO_SOURCE, "user-set")


#: The role of what the CT shows to be dense and no bone, and of a mask whose name says nothing.
DENSE_ROLE, UNKNOWN_ROLE = "dense", "unknown"

_CLEARANCE_ROWS = (
    _set("bone", 2.0, "mm", "room to bone; small, since probes pass between ribs"),
    _set(DENSE_ROLE, 2.0, "mm", "room to vessels and organs full of contrast, calcifications and metal in the CT"),
    _error("lung", "room to lung"),
    _error("airway", "room to an airway"),
    _error("gas", "room to air in the CT that is not lung: bowel, pneumothorax"),
    _error("vessel", "room to a vessel (3 to 5 mm are customary, recalled)"),
    _error("bile duct", "room to a bile duct"),
    _error(UNKNOWN_ROLE, "room to an obstacle whose name is not known"),
    *(
        _set(role, 5.0, "mm", f"room to {role} (5 to 10 mm are customary, recalled)")
        for role in (
            "gallbladder",
            "heart",
            "stomach",
            "bowel",
            "esophagus",
            "kidney",
            "adrenal gland",
            "spleen",
            "pancreas",
            "organ",
            "spinal cord",
        )
    ),
)

#: Room that a probe leaves to a structure, by its role.
CLEARANCES = {row.name: row for row in _CLEARANCE_ROWS}

_LIMIT_ROWS = (
    _set("wide_vessel", 3.0, "mm", "vessels of at least this diameter are avoided; thinner branches are crossed"),
    _set("least_liver", 5.0, "mm", "liver before the lesion, no direct puncture (5 to 10 mm are customary, recalled)"),
    _set("tight_room", 2.0, "mm", "free, but with less room than this beyond the clearance: tight"),
    _set("flat_angle", 20.0, "degrees", "flatter than this to the capsule: tight, and worst (customary, recalled)"),
    _set("best_room", 10.0, "mm", "with this room beyond the clearance the distance is best"),
    _set("best_liver", 10.0, "mm", "with this much liver before the lesion it is best"),
    _set("crossing", 0.5, "fraction", "each fissure or border of lobes on the way leaves this share"),
    _set("entries_apart", 15.0, "degrees", "ranked entries differ at least by this, seen from the target"),
)

#: Bounds of the hard and the soft rules, by name.
LIMITS = {row.name: row for row in _LIMIT_ROWS}

_WEIGHT_ROWS = (
    _set("length", 0.20, "weight", "1 at the skin, 0 at the length of the shaft"),
    _set("room", 0.30, "weight", "0 with no more than the clearance, 1 with the best room beyond it"),
    _set("capsule_angle", 0.15, "weight", "1 at right angles to the capsule, 0 at the flat angle and below"),
    _set("axial_angle", 0.15, "weight", "1 in the axial plane, 0 at right angles to it"),
    _set("fissures", 0.10, "weight", "1 without a fissure or border of lobes on the way, each leaves a share"),
    _set("liver_before_lesion", 0.10, "weight", "0 with the least liver before the lesion, 1 with the best"),
)

#: The soft rules by name, each with its weight in the score: their weighted mean.
SOFT_RULES = {row.name: row for row in _WEIGHT_ROWS}


def role_of(name: str) -> str:
    """The role of an obstacle of that name, as far as it has a clearance of its own."""
    structure = catalogue().match(name).structure
    return structure.role if structure is not None and structure.role in CLEARANCES else UNKNOWN_ROLE


def is_vessel(name: str) -> bool:
    """Whether an obstacle of that name is a vessel, of which only the wide parts are avoided."""
    return role_of(name) == "vessel"


def clearance_mm(name: str) -> float:
    """Room that a probe leaves to an obstacle of that name."""
    return CLEARANCES[role_of(name)].number
