"""All that is known of a liver's lesions as one document for machines and a table for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk

from .clinical_rules import RULES
from .debulking import Debulking, estimate_probes, plan_debulking
from .devices import load_catalogue
from .errors import DeviceError, EmptyMaskError, GeometryError, InputError
from .lesion_matching import Match
from .lesion_measures import GALLBLADDER, Enhancement, LesionMeasures, MeasuredLesions
from .lobes import Lobes
from .net import Grade, NetPicture

SCHEMA = "netablation-lesions"
SCHEMA_VERSION = 1

#: Names under which the inferior vena cava may be given; the first is the one to use.
CAVA = ("inferior_vena_cava", "vena_cava", "cava", "ivc")

COSTS = ("probes", "liver")


def lobes_of(
    mask: sitk.Image | None, structures: Mapping[str, sitk.Image], image: sitk.Image | None = None
) -> tuple[Lobes | None, str]:
    """The lobes from their mask, or else from gallbladder and cava; without both None and the reason.

    `image`, a CT, tells the body's right, as in :meth:`Lobes.of_landmarks`. Raises as :meth:`Lobes.of_mask`.
    Structures that make no plane are a reason, not an error.
    """
    if mask is not None:
        return Lobes.of_mask(mask), ""
    cava = next((structures[name] for name in CAVA if name in structures), None)
    if cava is None or GALLBLADDER not in structures:
        return None, f"no mask of the lobes is given, nor are the structures {GALLBLADDER} and {CAVA[0]}"
    try:
        return Lobes.of_landmarks(structures[GALLBLADDER], cava, image), ""
    except (EmptyMaskError, GeometryError) as error:
        return None, str(error)


@dataclass(frozen=True)
class DebulkingSettings:
    """What lesions cost: probes of plans or by estimate, or liver lost; and what cannot be ablated, with the reason.

    `cost` is one of `COSTS`; `probes` are those of plans, by lesion. For other lesions they are estimated
    with the widest zone of the device, `zone_short_axis_mm` (:func:`~.debulking.estimate_probes`).
    """

    cost: str
    probes: Mapping[str, int]
    not_ablatable: Mapping[str, str]
    device_id: str
    zone_short_axis_mm: float

    @classmethod
    def of(
        cls,
        lesions: Collection[str],
        *,
        cost: str = "probes",
        probes: Mapping[str, int | str] | None = None,
        not_ablatable: Mapping[str, str] | None = None,
        device_id: str | None = None,
    ) -> DebulkingSettings:
        """Check and complete settings for the lesions of these names.

        The device is the catalogue's first unless given. Raises InputError for an unknown cost or lesion and for
        numbers of probes that are not whole and above 0 (texts are read), DeviceError for an unknown device.
        """
        if cost not in COSTS:
            raise InputError(f"debulking: cost '{cost}' is none of {', '.join(COSTS)}")
        catalogue = load_catalogue()
        chosen = next(iter(catalogue)) if device_id is None else device_id
        if chosen not in catalogue:
            raise DeviceError(f"device '{chosen}' is not in the catalogue: choose one of {', '.join(catalogue)}")
        unknown = sorted((set(probes or {}) | set(not_ablatable or {})) - set(lesions))
        if unknown:
            raise InputError(f"debulking: there is no lesion {', '.join(unknown)}; there are {', '.join(lesions)}")
        counts = {name: _count(name, text) for name, text in (probes or {}).items()}
        widest_mm = max(setting.short_axis_mm for setting in catalogue[chosen].settings)
        return cls(cost, counts, dict(not_ablatable or {}), chosen, widest_mm)

    def costs(self, measured: MeasuredLesions) -> dict[str, float]:
        """The cost of each lesion that can be ablated."""
        return {
            lesion.name: self._cost(lesion, measured.margin_mm)
            for lesion in measured.lesions
            if lesion.name not in self.not_ablatable
        }

    def _cost(self, lesion: LesionMeasures, margin_mm: float) -> float:
        if self.cost == "liver":
            return lesion.margin_liver_ml
        if lesion.name in self.probes:
            return float(self.probes[lesion.name])
        return float(estimate_probes(lesion.longest_3d_mm, self.zone_short_axis_mm, margin_mm))

    @property
    def cost_name(self) -> str:
        """What the cost counts, in words."""
        if self.cost == "liver":
            return "healthy liver within the margin, ml"
        return f"probes (estimated for {self.device_id} where no plan is given)"


def plan_goals(
    measured: MeasuredLesions, goals: Sequence[float], settings: DebulkingSettings
) -> tuple[tuple[Debulking, ...], float]:
    """The cheapest choice of lesions for each goal, and the share of the tumor's volume that can be ablated at all.

    Raises InputError for a goal that is not above 0 and at most 1.
    """
    volumes = {lesion.name: lesion.volume_ml for lesion in measured.lesions}
    costs, excluded = settings.costs(measured), settings.not_ablatable
    found = tuple(
        plan_debulking(volumes, costs, goal, not_ablatable=excluded, cost_name=settings.cost_name) for goal in goals
    )
    return found, sum(volumes[name] for name in costs) / measured.tumor_volume_ml if excluded else 1.0


def _count(name: str, text: int | str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1 or str(count) != str(text).strip():
        raise InputError(f"probes of lesion '{name}': '{text}' is not a whole number above 0")
    return count


def document_of(
    measured: MeasuredLesions,
    picture: NetPicture,
    grade: Grade | None,
    syndromes: Sequence[Mapping[str, Any]],
    goals: Sequence[Debulking],
    matches: Sequence[Match] | None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything as JSON, with the rules that it rests on."""
    said = [f"{lesion.name}: {note}" for lesion in measured.lesions for note in lesion.notes]
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "lesions": [lesion.to_dict() for lesion in measured.lesions],
        **picture.to_dict(),
        "grade": None if grade is None else grade.to_dict(),
        "syndromes": [dict(row) for row in syndromes],
        "debulking": [goal.to_dict() for goal in goals],
        "matches": None if matches is None else [match.to_dict() for match in matches],
        "notes": [*notes, *said],
        "parameters": {"margin_mm": measured.margin_mm},
        "input_hashes": dict(measured.input_hashes),
        "rules": [rule.to_dict() for rule in RULES.values()],
    }


def summary_of(
    measured: MeasuredLesions,
    picture: NetPicture,
    grade: Grade | None,
    goals: Sequence[Debulking],
    matches: Sequence[Match] | None,
) -> list[str]:
    """A table of the lesions and a line for each further part."""
    phases = list(measured.lesions[0].enhancement)
    width = max(6, *(len(lesion.name) for lesion in measured.lesions))
    titles = "".join(f"  {phase:>10}" for phase in phases)
    lines = [f"{'lesion':<{width}} {'ml':>8} {'axial mm':>11} {'3D mm':>6} {'capsule':>8}{titles}  flags"]
    for lesion in measured.lesions:
        axes = f"{lesion.longest_diameter_mm:.1f} x {lesion.short_axis_mm:.1f}"
        capsule = lesion.distances_mm["capsule"]
        values = "".join(f"  {_contrast(found):>{max(10, len(phase))}}" for phase, found in lesion.enhancement.items())
        flags = ", ".join(f"{flag.name} ({flag.distance_mm:.1f} mm)" for flag in lesion.flags)
        lines.append(
            f"{lesion.name:<{width}} {lesion.volume_ml:>8.2f} {axes:>11} {lesion.longest_3d_mm:>6.1f} {capsule:>8.1f}"
            f"{values}  {flags}".rstrip()
        )
    lobes = "lobes unknown" if picture.lobes is None else f"lobes: {', '.join(picture.lobes) or 'none'}"
    kind = picture.distribution.type
    lines.append(
        f"{picture.lesion_count} lesion(s), {picture.tumor_volume_ml:.1f} of {picture.liver_volume_ml:.0f} ml: burden "
        f"{100 * picture.burden_fraction:.1f} %, class {picture.burden_class}; {lobes}; distribution "
        f"{f'type {kind}' if kind else 'of no type'} ({picture.distribution.reason})"
    )
    if grade is not None:
        lines += [f"WHO 2019 grade: {grade.name or 'none'}", *(f"note: {text}" for text in grade.contradictions)]
        lines += [f"note: {text}" for text in grade.notes]
    lines += [_goal_line(goal) for goal in goals]
    lines += [_match_line(match) for match in matches or ()]
    return lines


def _contrast(found: Enhancement | None) -> str:
    return "-" if found is None else f"{found.difference_hu:+.0f} {found.pattern}"


def _goal_line(goal: Debulking) -> str:
    if not goal.is_reached:
        return f"debulking {100 * goal.goal_fraction:g} %: {goal.reason}"
    steps = ", ".join(f"{step.name} ({100 * step.reached_fraction:.0f} %)" for step in goal.steps)
    return (
        f"debulking {100 * goal.goal_fraction:g} %: {steps}; {goal.cost_name}: {goal.total_cost:.4g}, "
        f"{100 * goal.reached_fraction:.1f} % reached"
    )


def _match_line(match: Match) -> str:
    names = f"{' + '.join(match.earlier) or '-'} -> {' + '.join(match.present) or '-'}"
    if match.volume_ratio is None or match.diameter_change_mm is None:
        return f"{match.fate}: {names}"
    return f"{match.fate}: {names}, volume x {match.volume_ratio:.2f}, diameter {match.diameter_change_mm:+.1f} mm"
