"""The report: one self-contained HTML page about the margins of a case.

Pictures are embedded, nothing is loaded from elsewhere, and nothing identifies a patient
but what the user writes into the title. Colors are those of the margin map (red below 0,
amber 0 to 5, green 5 mm and more), each with a hatching and a word beside it, since many
readers are color-blind.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .devices import Device, load_catalogue
from .errors import GeometryError, InputError
from .margin_directions import SIDES, direction_text
from .margin_map import MARGIN_CLASSES, margin_map_svg
from .plan_margin import PlanComparison, plan_margin_text

if TYPE_CHECKING:
    from .margin_uncertainty import MarginDistribution
    from .margins import MarginResult
    from .plans import Plan

DISCLAIMER = (
    "Research software, not a medical device. It measures and shows; it gives no dosing advice and "
    "makes no treatment decision. A margin is only as true as the segmentations and the registration under it."
)

_PATTERNS = """<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
<pattern id="hatch-red" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" fill="#c62828"/><rect width="2" height="6" fill="#fff"/></pattern>
<pattern id="hatch-amber" width="6" height="6" patternUnits="userSpaceOnUse">
<rect width="6" height="6" fill="#f9a825"/><circle cx="3" cy="3" r="1.2" fill="#fff"/></pattern>
<pattern id="plain-green" width="6" height="6" patternUnits="userSpaceOnUse">
<rect width="6" height="6" fill="#2e7d32"/></pattern></defs></svg>"""

_STYLE = """
body{font:15px/1.45 system-ui,"Segoe UI",Helvetica,Arial,sans-serif;color:#1a2330;background:#f4f6f8;margin:0}
main{max-width:1080px;margin:0 auto;padding:24px}
h1{font-size:26px;margin:0 0 4px} h2{font-size:20px;margin:0 0 12px} h3{font-size:15px;margin:18px 0 6px}
section,header{background:#fff;border:1px solid #dde3ea;border-radius:8px;padding:20px;margin-bottom:20px}
.note{color:#5a6675;font-size:13px}
.warning{background:#fff6e0;border-left:4px solid #f9a825;padding:6px 10px;margin:6px 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums} td,th{padding:4px 8px;text-align:left;
border-bottom:1px solid #e6ebf0;vertical-align:top} th{font-weight:600;color:#3b4856} td.n,th.n{text-align:right}
.key{display:flex;gap:28px;flex-wrap:wrap;margin:8px 0 4px} .key div{min-width:110px}
.key b{display:block;font-size:24px;line-height:1.2} .key span{color:#5a6675;font-size:13px}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:12px;margin-top:10px}
figure{margin:0} figure img{width:100%;border-radius:4px;background:#000} figcaption{font-size:13px;color:#5a6675}
details{margin-top:10px} pre{overflow:auto;background:#f4f6f8;padding:10px;font-size:12px}
@media print{body{background:#fff} section{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Picture:
    """A PNG picture for the report with what it shows."""

    caption: str
    png: bytes

    def __post_init__(self) -> None:
        """Refuse what is not a PNG file."""
        if not self.png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise InputError(f"picture '{self.caption}': the bytes are not a PNG file")


@dataclass(frozen=True)
class LesionSection:
    """What the report says about one lesion.

    `margin` is None where none is measured yet; `facts` are what else is known of the lesion, (label, text).
    `uncertainty` says how sure the margin is, `against_plan` how it compares with the plan, where these were looked
    into.
    """

    name: str
    margin: MarginResult | None
    plan: Plan | None = None
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    uncertainty: MarginDistribution | None = None
    against_plan: PlanComparison | None = None
    facts: tuple[tuple[str, str], ...] = ()


def render_report(
    title: str,
    sections: Sequence[LesionSection],
    *,
    fusion: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    catalogue: Mapping[str, Device] | None = None,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as a string: a summary of all lesions, then a section for each.

    `facts` are what is known of the whole case, (label, text); `fusion` is the document of
    :class:`~NETAblationLib.core.fusion.FusionResult`; the `catalogue` (default: what ships) says where the zones of
    a plan come from. Raises InputError where there is no lesion to report.
    """
    if not sections:
        raise InputError("a report needs at least one lesion")
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{_PATTERNS}<main>',
        f'<header><h1>{html.escape(title)}</h1><p class="note">{DISCLAIMER}</p>{_facts(facts)}'
        f"{_warnings(notes)}</header>",
        _summary(sections),
    ]
    if fusion is not None:
        parts.append(_fusion_section(fusion))
    devices = load_catalogue() if catalogue is None else catalogue
    parts.extend(_lesion_section(section, devices) for section in sections)
    parts.append("</main></body></html>")
    return "\n".join(parts)


def write_report(page: str, folder: str | Path) -> Path:
    """Write the page as report.html into `folder`, which is made if need be; return its path."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "report.html"
        partial = path.with_suffix(".partial")
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{folder}: the report cannot be written there ({error.strerror})") from error
    return path


def margin_histogram_svg(margin: MarginResult) -> str:
    """The evaluable tumor surface by its signed margin, in steps of 1 mm, as inline SVG.

    Bars are shares of the surface's area, colored and hatched by margin class.
    """
    if margin.surface is None:
        raise InputError("a margin read from a file has no surface, hence no histogram: measure it again")
    values = margin.signed_margin_mm[margin.is_evaluable]
    areas = margin.surface.point_areas_mm2[margin.is_evaluable]
    if values.size == 0:
        return '<p class="note">No evaluable tumor surface: no histogram.</p>'
    edges = np.arange(min(-1, np.floor(values.min())), max(10, np.ceil(values.max())) + 1)
    shares, _ = np.histogram(values, bins=edges, weights=areas)
    shares = shares / areas.sum()
    return _bars(edges, shares)


def _bars(edges: np.ndarray, shares: np.ndarray) -> str:
    width, height, left, bottom, top = 640, 220, 48, 36, 10
    step = (width - left - 10) / len(shares)
    scale = (height - bottom - top) / max(shares.max(), 1e-9)
    base = height - bottom
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Histogram of the signed margin">']
    for index, share in enumerate(shares):
        x = left + index * step
        pattern = _class_of(edges[index])[3]
        parts.append(
            f'<rect x="{x + 1:.1f}" y="{base - share * scale:.1f}" width="{step - 2:.1f}" '
            f'height="{share * scale:.1f}" fill="url(#{pattern})"><title>{edges[index]:.0f} to '
            f"{edges[index + 1]:.0f} mm: {100 * share:.1f} % of the surface</title></rect>"
        )
    label_every = max(1, int(np.ceil(len(edges) / 22)))
    for index in range(0, len(edges), label_every):
        x = left + index * step
        parts.append(f'<text x="{x:.1f}" y="{base + 14}" font-size="11" text-anchor="middle">{edges[index]:.0f}</text>')
    for share in np.linspace(0, shares.max(), 3):
        y = base - share * scale
        parts.append(
            f'<text x="{left - 6}" y="{y + 4:.1f}" font-size="11" text-anchor="end">{100 * share:.0f} %</text>'
        )
    for threshold in (0.0, 5.0):
        x = left + (threshold - edges[0]) * step
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{base}" stroke="#1a2330" stroke-dasharray="4 3"/>'
        )
    parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{base}" y2="{base}" stroke="#1a2330"/>')
    parts.append(
        f'<text x="{(left + width) / 2}" y="{height - 4}" font-size="12" text-anchor="middle">'
        "signed margin in mm (share of the evaluable tumor surface)</text></svg>"
    )
    return "".join(parts)


def _class_of(margin_mm: float) -> tuple[float, str, str, str]:
    return [entry for entry in MARGIN_CLASSES if margin_mm >= entry[0]][-1]


def _summary(sections: Sequence[LesionSection]) -> str:
    header = ("Lesion", "Tumor ml", "Zone ml", "MAM mm", "Class", "Surface ≥ 5 mm", "Shell 5 mm ablated", "Verdict")
    rows = []
    for section in sections:
        if section.margin is None:
            rows.append((section.name, *["-"] * 6, "not measured"))
            continue
        document = section.margin.to_dict()
        rows.append(
            (
                section.name,
                _number(document["tumor_volume_ml"], 1),
                _number(document["zone_volume_ml"], 1),
                _number(document["mam_mm"], 1),
                _swatch(document["mam_mm"]),
                _percent(document["surface_fraction"]["at_least_5"]),
                _percent(document["shell_coverage_fraction"]["5"]),
                html.escape(str(document.get("verdict", "")) or "-"),
            )
        )
    return f"<section><h2>Margins at a glance</h2>{_table(header, rows, numeric={1, 2, 3, 5, 6}, raw={4, 7})}</section>"


def _lesion_section(section: LesionSection, catalogue: Mapping[str, Device]) -> str:
    parts = [f"<section><h2>{html.escape(section.name)}</h2>", _facts(section.facts)]
    if section.margin is None:
        parts += [_warnings(section.notes), _pictures(section.pictures)]
    else:
        parts.append(_margin_part(section, section.margin))
    if section.plan is not None:
        parts += [_plan_table(section.plan), _zone_table(section.plan, catalogue)]
    if section.margin is not None:
        parts.append(_details("All numbers of this margin (JSON)", section.margin.to_dict()))
    parts.append("</section>")
    return "".join(parts)


def _margin_part(section: LesionSection, margin: MarginResult) -> str:
    """The margin in numbers, pictures and tables, how sure it is, and how it compares with the plan."""
    document = margin.to_dict()
    location = document["mam_location_ras_mm"]
    place = "" if location is None else "R {:.1f}, A {:.1f}, S {:.1f} mm".format(*location)
    keys = [
        (_number(document["mam_mm"], 1) + " mm", f"MAM, smallest signed margin {_swatch(document['mam_mm'])}"),
        (_number(document["mam_p01_mm"], 1) + " mm", "1st percentile of the surface"),
        (_number(document["mean_mm"], 1) + " mm", "mean margin"),
        (_percent(document["subcapsular_fraction"]), "subcapsular, not evaluable"),
        (_number(document["residual_tumor_volume_ml"], 2) + " ml", "tumor not ablated"),
    ]
    key_html = "".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in keys)
    surface = document["surface_fraction"]
    shares = [
        ("below 0 mm", _percent(surface["below_0"])),
        ("0 to 5 mm", _percent(surface["from_0_to_5"])),
        ("5 mm and more", _percent(surface["at_least_5"])),
        ("10 mm and more", _percent(surface["at_least_10"])),
    ]
    shells = [(f"{name} mm", _percent(share)) for name, share in document["shell_coverage_fraction"].items()]
    parts = [
        f'<div class="key">{key_html}</div>',
        f'<p class="note">MAM at {place or "no evaluable place"}. Resolution limit of the images: '
        f"{_number(document['resolution_mm'], 1)} mm.</p>",
        _warnings([*section.notes, *document.get("warnings", ())]),
        _pictures(section.pictures),
        _sureness(section, margin),
        f"<h3>Distribution of the margin</h3>{margin_histogram_svg(margin)}",
        _whole_surface(margin),
        _sides(document["direction"]),
        _table(("Share of the evaluable surface", ""), shares, numeric={1}),
        _table(("Share of the shell around the tumor that is ablated", ""), shells, numeric={1}),
    ]
    if section.against_plan is not None:
        text = html.escape(plan_margin_text(section.against_plan.to_dict()))
        parts.append(f"<h3>Achieved and predicted margin</h3><p>{text[0].upper()}{text[1:]}.</p>")
    return "".join(parts)


def _sureness(section: LesionSection, margin: MarginResult) -> str:
    """What the true MAM may be, by which errors, and how likely it reaches the thresholds."""
    likely = section.uncertainty
    if likely is None:
        return ""
    interval = likely.mam_interval_90_mm
    if interval is None:
        return "<h3>How sure that is</h3><p>No evaluable surface: nothing to be sure of.</p>"
    rows = [(f"true MAM at least {name} mm", _percent(chance.fraction)) for name, chance in likely.chances.items()]
    errors = likely.errors
    bound_mm = errors.registration_bound_90_mm
    bound = "" if bound_mm is None else f" (below {bound_mm:.1f} mm with a probability of 90 %)"
    source = "nothing" if likely.largest_source is None else likely.largest_source.replace("_", " ")
    return (
        "<h3>How sure that is</h3>"
        f"<p>With 90 % probability the true MAM is from {interval[0]:.1f} to {interval[1]:.1f} mm. "
        f"{_interval_svg(interval, margin.mam_mm)}</p>"
        f"{_table(('Probability', ''), rows, numeric={1})}"
        f'<p class="note">From a registration error of {errors.registration_mm:.1f} mm{bound} at this lesion, surfaces '
        f"drawn with a standard deviation of {errors.tumor_segmentation_sd_mm:.1f} mm (tumor) and "
        f"{errors.zone_segmentation_sd_mm:.1f} mm (zone), and the voxels; most of it is due to: {source}.</p>"
    )


def _interval_svg(interval_mm: Sequence[float], mam_mm: float | None) -> str:
    """The interval as a bar on the classes of margins, the measured MAM as a line across it."""
    low, high = min(-2.0, *interval_mm) - 1.0, max(8.0, *interval_mm) + 1.0
    width, height = 640, 46

    def at(value: float) -> float:
        return (min(max(value, low), high) - low) / (high - low) * width

    ends = [*(row[0] for row in MARGIN_CLASSES[1:]), high]
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="90 % interval of the MAM">']
    for (start, word, _, pattern), end in zip(MARGIN_CLASSES, ends, strict=True):
        x = at(start)
        parts.append(
            f'<rect x="{x:.1f}" y="20" width="{at(end) - x:.1f}" height="12" fill="url(#{pattern})" opacity="0.55">'
            f"<title>{word}</title></rect>"
        )
    x, end_x = at(interval_mm[0]), at(interval_mm[1])
    parts.append(f'<rect x="{x:.1f}" y="22" width="{end_x - x:.1f}" height="8" fill="#1a2330"/>')
    if mam_mm is not None:
        place = at(mam_mm)
        parts.append(
            f'<line x1="{place:.1f}" x2="{place:.1f}" y1="14" y2="36" stroke="#1a2330" stroke-width="2"/>'
            f'<text x="{place:.1f}" y="11" font-size="11" text-anchor="middle">measured {mam_mm:.1f}</text>'
        )
    limits = [
        f'<text x="{at(value):.1f}" y="44" font-size="11" text-anchor="middle">{value:.0f} mm</text>'
        for value in (0.0, 5.0)
    ]
    return "".join([*parts, *limits, "</svg>"])


def _whole_surface(margin: MarginResult) -> str:
    try:
        picture = margin_map_svg(margin)
    except GeometryError as error:
        return f'<p class="note">No flat map of the surface: {html.escape(str(error))}</p>'
    return f"<h3>The whole surface of the tumor, areas true</h3>{picture}"


def _sides(direction: Mapping[str, Any]) -> str:
    """Which side of the tumor is thin."""
    if not direction:
        return ""
    rows = []
    for name in (name for names in SIDES for name in names):
        side = direction["sides"][name]
        rows.append(
            (
                name,
                _number(side["least_mm"], 1),
                _number(side["p05_mm"], 1),
                *(_percent(side[share]) for share in ("below_0", "from_0_to_5", "at_least_5")),
                _swatch(side["least_mm"]),
            )
        )
    header = ("Side", "Least mm", "5th percentile mm", "below 0", "0 to 5", "5 and more", "Class")
    text = direction_text(direction)
    table = _table(header, rows, numeric={1, 2, 3, 4, 5}, raw={6})
    return f"<h3>Which side is thin</h3><p>{html.escape(text[0].upper() + text[1:])}.</p>{table}"


def _plan_table(plan: Plan) -> str:
    document = plan.to_dict()
    rows = [
        (
            str(number),
            _point(probe["entry_ras_mm"]),
            _point(probe["tip_ras_mm"]),
            _number(probe["length_mm"], 0),
            html.escape("; ".join(str(ablation["setting"]) for ablation in probe["ablations"])),
            html.escape(path),
        )
        for (number, probe), path in zip(enumerate(document["probes"], start=1), _paths(plan), strict=True)
    ]
    summary = (
        f"{document['probe_count']} probe(s) of {html.escape(str(document['device']))}: tumor "
        f"{_percent(document['tumor_coverage_fraction'])}, target {_percent(document['target_coverage_fraction'])} "
        f"covered, predicted MAM {_number(document['predicted_mam_mm'], 1)} mm.{_least_needed(plan)}"
    )
    header = ("Probe", "Entry R, A, S mm", "Tip R, A, S mm", "Length mm", "Ablations", "Path")
    limits = _warnings(document.get("limitations", ()))
    return f"<h3>Plan</h3><p>{summary}</p>{limits}{_table(header, rows, numeric={3}, raw={4, 5})}"


def _paths(plan: Plan) -> list[str]:
    """How the path of each probe fares, and whether the probe was given; dashes where paths were not checked."""
    if not plan.path_checks:
        return ["-"] * plan.probe_count
    return [
        f"{check['grade']}{', locked' if number < plan.locked_count else ''}"
        + (f": {'; '.join(check['reasons'])}" if check["reasons"] else "")
        for number, check in enumerate(plan.path_checks)
    ]


def _least_needed(plan: Plan) -> str:
    """The bounds on what could do, where they were looked into."""
    if plan.lower_bound_punctures is None:
        return ""
    return (
        f" At least {plan.lower_bound_punctures} puncture(s), {plan.lower_bound_parallel_punctures} of parallel "
        f"probes, and {plan.lower_bound_ablations} ablation(s) are needed with this device."
    )


def _zone_table(plan: Plan, catalogue: Mapping[str, Device]) -> str:
    """Where the size of each zone that the plan expects comes from: tissue, source, and how sure it is."""
    used = {
        (probe.device or plan.device, ablation.setting): ablation
        for probe in plan.probes
        for ablation in probe.ablations
    }
    rows = []
    for (device, name), ablation in used.items():
        size = f"{ablation.short_axis_mm:.1f} x {ablation.long_axis_mm:.1f}"
        known = [
            setting for setting in (catalogue[device].settings if device in catalogue else ()) if setting.name == name
        ]
        if not known:
            rows.append((device, name, size, "not known", "not in the catalogue", "not known"))
            continue
        (setting,) = known
        sure = setting.certainty
        axes = (setting.short_axis_mm, setting.long_axis_mm)
        if None in axes or not np.allclose((ablation.short_axis_mm, ablation.long_axis_mm), axes, atol=0.01):
            sure = f"other than the source's zone, changed for this case; {sure}"
        tissue = f"{setting.tissue} ({setting.tissue_kind})" if setting.tissue_kind else setting.tissue
        rows.append((device, name, size, tissue, setting.source, sure))
    header = ("Device", "Setting", "Zone expected, across x along, mm", "Tissue", "Source", "How sure")
    return f"<h3>Where the zones come from</h3>{_table(header, rows, numeric={2})}"


def _fusion_section(document: Mapping[str, Any]) -> str:
    labels = {
        "estimated_error_mm": "Estimated error (mm)",
        "jacobian_min": "Smallest Jacobian in the liver (folding below 0)",
        "liver_dice": "Dice of the livers",
        "liver_surface_distance_mm": "Distance of the liver surfaces (mm)",
        "seconds": "Seconds",
    }
    rows = [(label, _value(document[key])) for key, label in labels.items() if key in document]
    table = _table(("Measure", ""), rows, numeric={1}, raw={1})
    return (
        f"<section><h2>Fusion of the images before and after</h2>{_warnings(document.get('warnings', ()))}"
        f"{table}{_details('All numbers of this fusion (JSON)', document)}</section>"
    )


def _details(summary: str, document: Mapping[str, Any]) -> str:
    text = html.escape(json.dumps(document, indent=1, ensure_ascii=False, default=str))
    return f"<details><summary>{summary}</summary><pre>{text}</pre></details>"


def _pictures(pictures: Iterable[Picture]) -> str:
    figures = "".join(
        f'<figure><img alt="{html.escape(picture.caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(picture.png).decode("ascii")}"><figcaption>{html.escape(picture.caption)}</figcaption></figure>'
        for picture in pictures
    )
    return f'<div class="pictures">{figures}</div>' if figures else ""


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return _table(("", ""), facts, numeric=set()) if facts else ""


def _warnings(texts: Iterable[str]) -> str:
    return "".join(f'<p class="warning">{html.escape(str(text))}</p>' for text in texts)


def _table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: set[int],
    raw: frozenset[int] | set[int] = frozenset(),
) -> str:
    """A table of text; columns in `raw` hold HTML that is already escaped."""

    def cell(tag: str, column: int, text: str) -> str:
        mark = ' class="n"' if column in numeric else ""
        return f"<{tag}{mark}>{text if column in raw and tag == 'td' else html.escape(text)}</{tag}>"

    head = "".join(cell("th", column, text) for column, text in enumerate(header))
    body = "".join(f"<tr>{''.join(cell('td', c, text) for c, text in enumerate(row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _swatch(margin_mm: float | None) -> str:
    """The class of a margin as a hatched patch and a word."""
    if margin_mm is None:
        return "not evaluable"
    _, word, color, pattern = _class_of(margin_mm)
    return (
        f'<svg width="14" height="14" style="vertical-align:-2px"><rect width="14" height="14" '
        f'fill="url(#{pattern})" stroke="{color}"/></svg> {word}'
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def _point(point: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in point)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{html.escape(str(key))} {_value(item)}" for key, item in value.items())
    return html.escape("-" if value is None else str(value))
