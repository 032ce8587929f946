"""The picture of a neuroendocrine liver disease: burden, distribution, grade, syndromes. It counts, and says no more.

Every bound is a row of :mod:`~NETAblationLib.core.clinical_rules` with its source.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .clinical_rules import RULES
from .errors import InputError
from .lesion_measures import LesionMeasures, MeasuredLesions

BURDEN_CLASSES = ("<=10 %", "11-25 %", "26-50 %", ">50 %")

GRADES = ("G1", "G2", "G3")

DIFFERENTIATIONS = ("well", "poor")

#: More mitoses in 2 mm2 than this are a slip of the pen. User-set.
_MAX_MITOSES = 1000.0


@dataclass(frozen=True)
class Grade:
    """WHO 2019 grade: `name` is G1, G2, G3, "NEC", "G3 or NEC", or None where what was given contradicts itself.

    `by_ki67` and `by_mitoses` are what each index alone says, None where it was not given; `decided_by`
    names the index or indices that decide. `contradictions` and `notes` are for people.
    """

    name: str | None
    by_ki67: str | None
    by_mitoses: str | None
    decided_by: tuple[str, ...]
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]
    ki67_percent: float | None
    mitoses_per_2mm2: float | None
    differentiation: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        lists = {name: list(getattr(self, name)) for name in ("decided_by", "contradictions", "notes")}
        return {**asdict(self), **lists}


@dataclass(frozen=True)
class Syndrome:
    """One functional syndrome as rows of a checklist; it names no drug's dose and no order of steps."""

    name: str
    tumor: str
    hormone: str
    findings: tuple[str, ...]
    to_clarify: tuple[str, ...]
    source: str
    evidence: str


_PANCREATIC_SOURCE = (
    "findings: PMC3474103, table 1 (table read); to clarify: ENETS peri-operative standards, Neuroendocrinology 2017 "
    "(PMC5637287, abstract read)"
)

#: The syndromes of the checklist.
SYNDROMES = (
    Syndrome(
        "carcinoid syndrome",
        "serotonin-secreting tumor, most often of the small bowel",
        "serotonin",
        ("flushing", "diarrhea", "wheezing"),
        (
            "is cover by a somatostatin analogue clarified? (ablation is a listed trigger of a crisis)",
            "is carcinoid heart disease looked for? (present in more than half of those with the syndrome)",
        ),
        "findings: Johns Hopkins Pathology, syndromic neuroendocrine tumors (text read); cover: ENETS peri-operative "
        "standards, Neuroendocrinology 2017 (PMC5637287, abstract read); trigger and heart disease: hospital protocol "
        "(docslib 13760595, secondary source)",
        "secondary source",
    ),
    Syndrome(
        "hypoglycemia",
        "insulinoma",
        "insulin",
        ("hypoglycemia", "neuroglycopenic symptoms"),
        ("is the supply of glucose during fasting and anesthesia clarified?",),
        _PANCREATIC_SOURCE,
        "table read",
    ),
    Syndrome(
        "Zollinger-Ellison syndrome",
        "gastrinoma",
        "gastrin",
        ("abdominal pain", "diarrhea", "peptic ulcers"),
        ("is the suppression of gastric acid clarified?",),
        _PANCREATIC_SOURCE,
        "table read",
    ),
    Syndrome(
        "glucagonoma syndrome",
        "glucagonoma",
        "glucagon",
        ("necrolytic migratory erythema", "hyperglycemia", "venous thrombosis", "weight loss"),
        ("are a somatostatin analogue and nutrition clarified?",),
        _PANCREATIC_SOURCE,
        "table read",
    ),
    Syndrome(
        "Verner-Morrison syndrome",
        "VIPoma",
        "vasoactive intestinal peptide",
        ("watery diarrhea", "hypokalemia", "achlorhydria"),
        ("are a somatostatin analogue, fluids and electrolytes clarified?",),
        _PANCREATIC_SOURCE,
        "table read",
    ),
)


@dataclass(frozen=True)
class Distribution:
    """Types of distribution, as an aid: each with the reason for it, None where the rules fit none."""

    type: str | None
    reason: str
    surgical_type: str | None
    surgical_reason: str


@dataclass(frozen=True)
class NetPicture:
    """Burden, number, sizes, lobes and distribution of all lesions of a liver.

    `burden_fraction` is tumor over liver volume, tumor included. `lobes` are those involved, None where
    they are not known (`lobes_reason` says why). `largest_mm`, `median_mm`, `smallest_mm` and
    `sum_of_diameters_mm` are of the longest axial diameters.
    """

    lesion_count: int
    tumor_volume_ml: float
    liver_volume_ml: float
    burden_fraction: float
    burden_class: str
    largest_mm: float
    median_mm: float
    smallest_mm: float
    sum_of_diameters_mm: float
    largest_share_fraction: float
    lobes: tuple[str, ...] | None
    lobes_reason: str
    tumor_volume_by_lobe_ml: dict[str, float] | None
    distribution: Distribution

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "lobes": None if self.lobes is None else list(self.lobes)}


def burden_class(fraction: float) -> str:
    """The ENETS class of a hepatic tumor burden, a fraction of the liver's volume; one of `BURDEN_CLASSES`.

    Bounds belong to the lower class, and what is between the printed classes (10.5 %) to the upper. Raises InputError
    for what is not from 0 to 1.
    """
    if not (np.isfinite(fraction) and 0 <= fraction <= 1):
        raise InputError(f"burden: {fraction} is not a fraction of 0 to 1")
    bounds = [RULES[f"burden_class_{number}"].number / 100.0 for number in (1, 2, 3)]
    return BURDEN_CLASSES[int(np.searchsorted(bounds, fraction, side="left"))]


def who_grade(
    ki67_percent: float | None = None, mitoses_per_2mm2: float | None = None, differentiation: str | None = None
) -> Grade:
    """The WHO 2019 grade from Ki-67 (percent) and mitoses (per 2 mm2); the higher of the two decides.

    `differentiation` is "well" or "poor" and parts NET G3 from NEC. Raises InputError where neither index is given, or
    one is out of range (Ki-67 0 to 100 %, mitoses from 0), and for an unknown differentiation.
    """
    if ki67_percent is None and mitoses_per_2mm2 is None:
        raise InputError("grade: neither Ki-67 nor mitoses are given")
    if differentiation is not None and differentiation not in DIFFERENTIATIONS:
        raise InputError(f"grade: differentiation '{differentiation}' is none of {', '.join(DIFFERENTIATIONS)}")
    found = {}
    for title, value, most, unit, key in (
        ("Ki-67", ki67_percent, 100.0, "%", "ki67"),
        ("mitoses", mitoses_per_2mm2, _MAX_MITOSES, "per 2 mm2", "mitoses"),
    ):
        if value is None:
            continue
        if not (np.isfinite(value) and 0 <= value <= most):
            raise InputError(f"grade: {title} {value} is not from 0 to {most:g} {unit}")
        number = (value >= RULES[f"{key}_g2"].number) + int(value > RULES[f"{key}_g3"].number)
        found[title] = GRADES[number]
    highest = max(found.values())
    decided_by = tuple(title for title, grade in found.items() if grade == highest)
    contradictions, notes = [], []
    if len(set(found.values())) > 1:
        said = " and ".join(f"{title} says {grade}" for title, grade in found.items())
        contradictions.append(f"{said}: the higher decides")
    if len(found) == 1:
        missing = "mitoses" if "Ki-67" in found else "Ki-67"
        notes.append(f"graded by {next(iter(found))} alone; {missing} could give a higher grade")
    name: str | None = highest
    if differentiation == "poor" and highest != "G3":
        name = None
        contradictions.append(f"poorly differentiated, which is NEC, but the indices say {highest}")
    elif highest == "G3" and differentiation != "well":
        name = "NEC" if differentiation == "poor" else "G3 or NEC"
        if differentiation is None:
            notes.append(
                "well differentiated it is NET G3, poorly differentiated NEC: the differentiation is not given"
            )
    return Grade(
        name=name,
        by_ki67=found.get("Ki-67"),
        by_mitoses=found.get("mitoses"),
        decided_by=decided_by,
        contradictions=tuple(contradictions),
        notes=tuple(notes),
        ki67_percent=None if ki67_percent is None else float(ki67_percent),
        mitoses_per_2mm2=None if mitoses_per_2mm2 is None else float(mitoses_per_2mm2),
        differentiation=differentiation,
    )


def syndrome_checklist(present: Collection[str] = ()) -> list[dict[str, Any]]:
    """The rows of the checklist; `present` names syndromes or their tumors that are known to be there.

    Raises InputError for a name that is in no row.
    """
    wanted = {name.strip().lower() for name in present}
    rows = []
    for row in SYNDROMES:
        names = {row.name.lower(), row.name.lower().removesuffix(" syndrome"), row.tumor.lower()}
        rows.append({**asdict(row), "findings": list(row.findings), "to_clarify": list(row.to_clarify)})
        rows[-1]["is_present"] = bool(names & wanted)
        wanted -= names
    if wanted:
        known = ", ".join(row.name for row in SYNDROMES)
        raise InputError(f"syndrome '{sorted(wanted)[0]}' is not known; there are {known}")
    return rows


def net_picture(
    measured: MeasuredLesions, *, reachable_fraction: float = 1.0, lobes_reason: str = "no lobes are given"
) -> NetPicture:
    """The picture of all lesions of a liver.

    `reachable_fraction` of the tumor's volume can be ablated, which the surgical types ask for; `lobes_reason` says
    why the lobes are not known, where they are not.
    """
    lesions = measured.lesions
    fraction = min(measured.tumor_volume_ml / measured.liver_volume_ml, 1.0)
    diameters = [lesion.longest_diameter_mm for lesion in lesions]
    largest_share = max(lesion.volume_ml for lesion in lesions) / measured.tumor_volume_ml
    lobes = _lobes(lesions)
    return NetPicture(
        lesion_count=len(lesions),
        tumor_volume_ml=measured.tumor_volume_ml,
        liver_volume_ml=measured.liver_volume_ml,
        burden_fraction=fraction,
        burden_class=burden_class(fraction),
        largest_mm=max(diameters),
        median_mm=float(np.median(diameters)),
        smallest_mm=min(diameters),
        sum_of_diameters_mm=float(sum(diameters)),
        largest_share_fraction=largest_share,
        lobes=lobes,
        lobes_reason=lobes_reason if lobes is None else f"by the {measured.lobes_method}",
        tumor_volume_by_lobe_ml=_volume_by_lobe(lesions),
        distribution=distribution(len(lesions), lobes, largest_share, fraction, reachable_fraction),
    )


def distribution(
    lesion_count: int,
    lobes: Collection[str] | None,
    largest_share_fraction: float,
    burden_fraction: float,
    reachable_fraction: float = 1.0,
) -> Distribution:
    """The types of distribution by number, lobes involved, the largest lesion's share and the burden.

    An aid only: the published types are in words, and the bounds that stand for them are user-set.
    """
    found, reason = _frilling(lesion_count, lobes, largest_share_fraction, burden_fraction)
    reached = f"{100 * reachable_fraction:.1f} % of the tumor's volume can be ablated"
    bound = RULES["surgical_type_2"].number
    surgical = "1" if reachable_fraction >= 1 else "2" if reachable_fraction > bound else "3"
    return Distribution(found, reason, surgical, f"{reached}, counting all lesions that are not said to be unablatable")


def _frilling(count: int, lobes: Collection[str] | None, largest_share: float, burden: float) -> tuple[str | None, str]:
    if count == 1:
        return "I", "a single lesion"
    if lobes is None:
        return None, "several lesions, and the lobes are not known; types II and III ask for both"
    if not {"right", "left"} <= set(lobes):
        return None, f"several lesions in {' and '.join(lobes) or 'no'} lobe only; types II and III ask for both"
    share = f"the largest lesion is {100 * largest_share:.0f} % of the tumor's volume"
    if largest_share >= RULES["bulk_share"].number:
        return "II", f"both lobes, and {share}"
    if burden > RULES["no_parenchyma_burden"].number / 100.0:
        return "III", f"both lobes, no bulk, and a burden of {100 * burden:.0f} %"
    return None, f"both lobes, no bulk ({share}), but parenchyma is left (burden {100 * burden:.0f} %)"


def _lobes(lesions: Sequence[LesionMeasures]) -> tuple[str, ...] | None:
    """The lobes in which a lesion has a share that counts, in the order of `Lobe`."""
    least = RULES["lobe_share"].number
    known = [lesion.lobe_fraction for lesion in lesions if lesion.lobe_fraction is not None]
    if not known:
        return None
    return tuple(lobe for lobe in known[0] if any(shares[lobe] >= least for shares in known))


def _volume_by_lobe(lesions: Sequence[LesionMeasures]) -> dict[str, float] | None:
    volumes: dict[str, float] = {}
    for lesion in lesions:
        for lobe, share in (lesion.lobe_fraction or {}).items():
            volumes[lobe] = volumes.get(lobe, 0.0) + share * lesion.volume_ml
    return volumes or None
