"""Every clinical number behind the measures and classes of lesions: one row each, with its source.

A row says what is counted, never what to do. `evidence` says how sure the row is: whether its
source was read as a table, a text or an abstract, is quoted from a secondary source, is recalled and
unverified, is derived here, or is user-set because no published source was found.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .errors import InputError

#: How sure a row is, from the source's own table down to a number without any source.
EVIDENCE = (
    "table read",
    "text read",
    "abstract read",
    "secondary source",
    "derived",
    "recalled, not verified",
    "user-set",
)

NO_SOURCE = "User-set: no published source"


@dataclass(frozen=True)
class Rule:
    """One rule: its value with unit (None for a rule in words), what it says, and where it comes from."""

    name: str
    value: float | None
    unit: str
    text: str
    source: str
    evidence: str

    def __post_init__(self) -> None:
        """Refuse a rule without words or source, or with an unknown evidence."""
        if not (self.name and self.text and self.source):
            raise InputError(f"rule '{self.name}': needs a name, a text and a source")
        if self.evidence not in EVIDENCE:
            raise InputError(f"rule '{self.name}': evidence '{self.evidence}' is none of {', '.join(EVIDENCE)}")
        if (self.evidence == "user-set") != (self.source == NO_SOURCE):
            raise InputError(f"rule '{self.name}': what is user-set says so as its source, and nothing else does")

    @property
    def number(self) -> float:
        """The value; raises InputError for a rule in words."""
        if self.value is None:
            raise InputError(f"rule '{self.name}' has no number")
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


_RECIST = "RECIST 1.1: Eisenhauer et al., Eur J Cancer 2009;45:228"
_WHO = "WHO 2019, as tabulated in J Nucl Med Technol and in World J Gastrointest Oncol 2020;12:850, table 2"
_ENETS = "ENETS classes as used by Luo et al., Eur Radiol 2019;29(11)"
_FRILLING = "Frilling et al., Lancet Oncol 2014 and Br J Surg 2009"
_SURGICAL = "J Clin Med 2023;12:2456"
_PANEL = "expert panel on 611 colorectal liver metastases (COLLISION, COLDFIRE-2), RSNA 2024"

_ROWS = (
    # one lesion
    Rule(
        "axial_diameters",
        None,
        "mm",
        "long axis: the longest diameter in an axial slice; short axis: the longest one at right angles to it there",
        _RECIST,
        "secondary source",
    ),
    Rule("perihilar", 10.0, "mm", "perihilar: surface within this of the portal triad", _PANEL, "abstract read"),
    Rule(
        "heat_sink_vessel",
        3.0,
        "mm",
        "vessels of this diameter and more cool: seen at 32 of 44 veins over 3 mm and at none of 20 below",
        "Lu et al., AJR 2002;178:47",
        "abstract read",
    ),
    Rule(
        "heat_sink_distance",
        5.0,
        "mm",
        "heat sink: such a vessel's wall within this, which is the margin of A0, so that zone and vessel meet",
        NO_SOURCE,
        "user-set",
    ),
    Rule(
        "subcapsular",
        5.0,
        "mm",
        "subcapsular: nearer to the capsule than the margin asked for (A0: 5 mm), which cannot be had there",
        "principle of Sandu et al., Front Oncol 2021;11:623098; margin of Laimer et al., Eur Radiol 2020;30 and "
        "2025;35:1046",
        "abstract read",
    ),
    Rule(
        "same_as_liver",
        10.0,
        "HU",
        "iso: within this of the liver; hyper above, hypo below",
        NO_SOURCE,
        "user-set",
    ),
    # an ablation zone
    Rule(
        "native_zone_microwave",
        7.6,
        "mm",
        "without contrast a microwave zone reaches this far beyond what CT shows (in vivo, swine)",
        "PMC8204285",
        "abstract read",
    ),
    Rule(
        "native_zone_radiofrequency",
        13.9,
        "mm",
        "without contrast a radiofrequency zone reaches this far beyond what CT shows (in vivo, swine)",
        "PMC8204285",
        "abstract read",
    ),
    Rule(
        "native_liver",
        80.0,
        "HU",
        "a liver below this around a zone is taken for one without contrast",
        NO_SOURCE,
        "user-set",
    ),
    # several lesions
    Rule("burden_class_1", 10.0, "%", "at most this share of the liver: class <=10 %", _ENETS, "abstract read"),
    Rule(
        "burden_class_2",
        25.0,
        "%",
        "above 10 and at most this: class 11-25 % (bounds taken as continuous: 10.5 % is here)",
        _ENETS,
        "abstract read",
    ),
    Rule("burden_class_3", 50.0, "%", "above 25, at most this: class 26-50 %; above: >50 %", _ENETS, "abstract read"),
    Rule("lobe_share", 0.1, "fraction", "a lobe is involved from this share of a lesion in it", NO_SOURCE, "user-set"),
    Rule(
        "lobe_plane",
        None,
        "",
        "right and left lobe meet in the plane through the gallbladder along the inferior vena cava (Cantlie's line)",
        "anatomical convention",
        "recalled, not verified",
    ),
    Rule("distribution_1", None, "", "type I: a single metastasis of any size", _FRILLING, "recalled, not verified"),
    Rule(
        "distribution_2",
        None,
        "",
        "type II: one metastatic bulk with smaller deposits, both lobes always involved",
        _FRILLING,
        "recalled, not verified",
    ),
    Rule(
        "distribution_3",
        None,
        "",
        "type III: disseminated, both lobes always involved, virtually no normal parenchyma",
        _FRILLING,
        "recalled, not verified",
    ),
    Rule(
        "bulk_share",
        0.5,
        "fraction",
        "the largest lesion is a bulk from this share of all tumor volume on",
        NO_SOURCE,
        "user-set",
    ),
    Rule(
        "no_parenchyma_burden",
        50.0,
        "%",
        "a burden above this, the highest class, stands for virtually no normal parenchyma",
        NO_SOURCE,
        "user-set",
    ),
    Rule("surgical_type_1", None, "", "type 1: all metastases can be cleared", _SURGICAL, "text read"),
    Rule("surgical_type_2", 0.7, "fraction", "type 2: more than this can be debulked", _SURGICAL, "text read"),
    Rule("surgical_type_3", 0.7, "fraction", "type 3: more than this cannot be debulked", _SURGICAL, "text read"),
    # grade
    Rule("ki67_g2", 3.0, "%", "Ki-67 below this: G1; from it on: G2", _WHO, "table read"),
    Rule("ki67_g3", 20.0, "%", "Ki-67 up to and including this: G2; above: G3", _WHO, "table read"),
    Rule("mitoses_g2", 2.0, "per 2 mm2", "mitoses below this: G1; from it on: G2", _WHO, "table read"),
    Rule("mitoses_g3", 20.0, "per 2 mm2", "mitoses up to and including this: G2; above: G3", _WHO, "table read"),
    Rule("higher_decides", None, "", "the index with the higher grade decides", _WHO, "table read"),
    Rule(
        "differentiation",
        None,
        "",
        "above the bounds of G2 a well differentiated tumor is NET G3, a poorly differentiated one NEC",
        _WHO,
        "table read",
    ),
    # debulking
    Rule(
        "debulking_70",
        0.7,
        "fraction",
        "goal of most later series",
        "Chambers 2008, Graff-Baker 2014, Boudreaux 2014, Maxwell 2015, Scott 2019, in the table of J Clin Med "
        "2023;12:2456",
        "secondary source",
    ),
    Rule(
        "debulking_90",
        0.9,
        "fraction",
        "goal of the early series",
        "McEntee 1990, Que 1995, Sarmiento 2003, in the table of J Clin Med 2023;12:2456",
        "secondary source",
    ),
    Rule(
        "one_zone",
        None,
        "mm",
        "one centered zone covers a lesion with its margin up to a diameter of the zone's short axis less twice the "
        "margin",
        "geometry",
        "derived",
    ),
    Rule(
        "probe_estimate",
        None,
        "probes",
        "without a plan: as many parallel probes, each ablated all along, as disks of the zone's short axis are needed "
        "to cover a disk of the lesion's longest 3D diameter and twice the margin",
        "geometry (covering of a disk by equal disks)",
        "derived",
    ),
    # two dates
    Rule(
        "registration_slack",
        5.0,
        "mm",
        "centers of one lesion at two dates lie within its larger radius and this of each other",
        NO_SOURCE,
        "user-set",
    ),
    Rule(
        "shared_volume",
        0.5,
        "fraction",
        "a further part belongs to a split or merged lesion from this share of it within the other on",
        NO_SOURCE,
        "user-set",
    ),
    Rule(
        "parts_are_added",
        None,
        "mm",
        "longest diameters of the parts of a split lesion are added; a merged lesion is measured as one",
        _RECIST,
        "secondary source",
    ),
)

#: All rules by name.
RULES = {row.name: row for row in _ROWS}
