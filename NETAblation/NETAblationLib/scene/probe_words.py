"""What the table and the lines beneath it say of probes, in words and numbers for people."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from ..core.coverage import PlanCoverage
from ..core.devices import Device, ZoneSetting
from ..core.path_checks import PathCheck
from ..core.plans import Plan
from .probe_editing import ProbeRow

#: A symbol beside the color of each grade, for readers who are color-blind.
GRADE_SYMBOLS = {"free": "\u25cf", "tight": "\u25b2", "blocked": "\u2716"}


def cells_of(row: ProbeRow) -> tuple[str, ...]:
    """A probe's row without its marks: name (without the lesion's), path, setting, depth in mm and angles."""
    way = row.trajectory
    in_plane = "\u2013" if way.in_plane_angle_deg is None else f"{way.in_plane_angle_deg:.0f}\u00b0"
    return (
        row.name.rpartition(" probe ")[2] if " probe " in row.name else row.name,
        path_in_words(row.check),
        row.setting,
        f"{way.depth_from_skin_mm if row.check is None else row.check.length_mm:.0f}",
        f"{in_plane}/{way.cranio_caudal_angle_deg:.0f}\u00b0",
    )


def path_in_words(check: PathCheck | None) -> str:
    """The grade of a path by its sign with the room to the nearest structure, short; the grade where there is none."""
    if check is None:
        return "not checked"
    words = f"{check.room_mm:+.0f} {check.nearest}" if check.nearest else check.grade
    return f"{GRADE_SYMBOLS[check.grade]} {words}"


def path_in_detail(check: PathCheck) -> str:
    """The grade of a path, why, and how much liver lies before the lesion."""
    why = list(check.reasons) or [check.explanations["room"]]
    return f"{check.grade}: {'; '.join(why)}; {check.explanations['liver_before_lesion']}"


def probe_in_words(row: ProbeRow, catalogue: Mapping[str, Device]) -> str:
    """All of one probe, a line each: device and zones, angles, and why its path is as it is."""
    device = catalogue.get(row.probe.device)
    zones = []
    for words, same in groupby(
        f"{a.setting} ({a.short_axis_mm:.0f} x {a.long_axis_mm:.0f} mm)" for a in row.probe.ablations
    ):
        count = len(list(same))
        zones.append(words if count == 1 else f"{count} times {words}")
    model = row.probe.device if device is None else device.model
    parts = [f"{row.name}: {model}, {'; '.join(zones) or 'no ablation'}", row.trajectory.angles_in_words]
    if row.check is not None:
        parts.append(path_in_detail(row.check))
    return "\n".join(part[0].upper() + part[1:] for part in parts if part)


def numbers_in_words(coverage: PlanCoverage | None, plan: Plan | None, margin_mm: float) -> str:
    """What the probes cover, in one line; empty where nothing is measured."""
    if coverage is None:
        return ""
    least = coverage.predicted_mam_mm
    words = [
        f"Tumor {100 * coverage.tumor_coverage_fraction:.1f} %, target {100 * coverage.target_coverage_fraction:.1f} %",
        "no margin can be told" if least is None else f"least margin {least:.1f} of {margin_mm:g} mm",
        f"healthy liver {coverage.liver_lost_ml:.0f} ml",
    ]
    if plan is not None and plan.lower_bound_punctures is not None:
        fewest = f"{plan.lower_bound_punctures} puncture(s) and {plan.lower_bound_ablations} ablation(s)"
        words.append(f"no plan does with fewer than {fewest}")
    return ", ".join(words) + "."


def plan_cells(plan: Plan) -> tuple[str, ...]:
    """A plan's row: what it is best in, punctures, ablations, least margin and healthy liver."""
    least, liver = plan.predicted_mam_mm, plan.healthy_liver_ml
    return (
        plan.kind,
        str(plan.probe_count),
        str(plan.ablation_count),
        "\u2013" if least is None else f"{least:.1f}",
        "\u2013" if liver is None else f"{liver:.0f}",
    )


def setting_in_words(setting: ZoneSetting) -> str:
    """A setting with its zone, diameter across by along."""
    return f"{setting.name}: {setting.short_axis_mm:.0f} x {setting.long_axis_mm:.0f} mm"


def source_in_words(setting: ZoneSetting) -> str:
    """Where a zone's size comes from and how sure it is."""
    kind = f" ({setting.tissue_kind})" if setting.tissue_kind else ""
    return f"Tissue: {setting.tissue}{kind}. Source: {setting.source}. How sure: {setting.certainty}."
