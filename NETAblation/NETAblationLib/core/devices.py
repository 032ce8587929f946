"""The catalogue of ablation devices: what zone each of their settings is said to make.

A device is one JSON file in Resources/Devices, every number with its source and how sure it is;
`device.schema.json` beside them says how such a file is written. A zone is an ellipsoid of
revolution along the probe; its center lies behind the tip. Rows whose source gives less than that
(one axis, a range, a volume) stand in the catalogue as they are, but nothing is planned with them.
What a chart says is not what a patient's liver gives: the correlation of energy and volume seen in
preclinical work was weak in vivo (Ruiter, Eur Radiol 2019;29:4026).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .documents import read_json
from .errors import DeviceError, FormatError

SCHEMA = "netablation-device"
SCHEMA_VERSION = 1

DEFAULT_DEVICE_ID = "emprint-mwa"

MODALITIES = ("MWA", "RFA", "cryo", "IRE")

#: What kind of tissue a zone was made in; empty in files that do not say.
TISSUE_KINDS = ("ex vivo", "perfused ex vivo", "in vivo animal", "human", "vendor, not stated")

#: Smallest and largest factor that zones may be scaled with for a case. User-set.
SIZE_FACTOR_RANGE = (0.5, 1.5)

#: Largest sound length in mm: no needle or zone is longer. User-set.
_MAX_LENGTH_MM = 400.0
#: A value that is None where the source does not give it. For the type checker it may be anything, so that
#: whoever works with plannable settings, where it never is None, need not check each of them.
_MaybeNone: TypeAlias = Any

_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Devices"
_LENGTHS_MM = ("short_axis_mm", "long_axis_mm", "mean_diameter_mm")
_ABOVE_0 = ("power_w", "time_s", "volume_ml", "short_axis_sd_mm", "long_axis_sd_mm", "volume_sd_ml")
_RANGES_MM = ("short_axis_range_mm", "long_axis_range_mm")
#: What may say how large a zone is; a row needs at least one of them.
_SIZES = (*_LENGTHS_MM, *_RANGES_MM, "volume_ml")


@dataclass(frozen=True)
class ZoneSetting:
    """One setting of a device and the zone that is expected of it.

    `short_axis_mm` is the diameter across, `long_axis_mm` that along the probe, each with the
    standard deviation of the source or its range where it gives no more; `center_to_tip_mm` is how
    far behind the tip the center lies (negative: ahead of it). `mean_diameter_mm` and `volume_ml`
    stand for zones whose axes are not given. What the source does not give is None. `tissue`,
    `source` and `certainty` say in words where the numbers come from, `tissue_kind` in one of
    :data:`TISSUE_KINDS`; `note` is what else has to be known.
    """

    name: str
    short_axis_mm: float | _MaybeNone
    long_axis_mm: float | _MaybeNone
    center_to_tip_mm: float | _MaybeNone
    tissue: str
    source: str
    certainty: str
    center_to_tip_source: str = ""
    power_w: float | None = None
    time_s: float | None = None
    short_axis_sd_mm: float | None = None
    long_axis_sd_mm: float | None = None
    short_axis_range_mm: tuple[float, float] | None = None
    long_axis_range_mm: tuple[float, float] | None = None
    mean_diameter_mm: float | None = None
    volume_ml: float | None = None
    volume_sd_ml: float | None = None
    tissue_kind: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a setting without name, source or size, and sizes that cannot be; raises DeviceError."""
        for text in ("name", "tissue", "source", "certainty"):
            if not str(getattr(self, text)).strip():
                raise DeviceError(f"setting '{self.name}': '{text}' is empty; every zone needs its source in words")
        if self.tissue_kind and self.tissue_kind not in TISSUE_KINDS:
            kinds = "; ".join(TISSUE_KINDS)
            raise DeviceError(f"setting '{self.name}': tissue_kind '{self.tissue_kind}' is none of {kinds}")
        if all(getattr(self, key) is None for key in _SIZES):
            raise DeviceError(
                f"setting '{self.name}': says nothing of the zone's size; give one of {', '.join(_SIZES)}"
            )
        for key in _LENGTHS_MM:
            if getattr(self, key) is not None:
                _require_length(getattr(self, key), f"setting '{self.name}': {key}")
        for key in _RANGES_MM:
            if getattr(self, key) is not None:
                object.__setattr__(self, key, _range(getattr(self, key), f"setting '{self.name}': {key}"))
        for key in _ABOVE_0:
            value = getattr(self, key)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise DeviceError(f"setting '{self.name}': {key} {value} is not a number above 0")
        if self.center_to_tip_mm is not None:
            longest_mm = _MAX_LENGTH_MM if self.long_axis_mm is None else self.long_axis_mm
            if not np.isfinite(self.center_to_tip_mm) or abs(self.center_to_tip_mm) > longest_mm:
                raise DeviceError(
                    f"setting '{self.name}': center_to_tip_mm {self.center_to_tip_mm} is not within the zone's length"
                )

    @property
    def is_plannable(self) -> bool:
        """Whether the zone's form and place are known: both axes and how far its center lies behind the tip."""
        return None not in (self.short_axis_mm, self.long_axis_mm, self.center_to_tip_mm)

    def scaled(self, size_factor: float) -> ZoneSetting:
        """The zone with all its lengths times a factor; how sure it is says so. See :meth:`Device.scaled`."""
        grown: dict[str, Any] = {}
        for key in (*_LENGTHS_MM, "short_axis_sd_mm", "long_axis_sd_mm", "center_to_tip_mm"):
            value = getattr(self, key)
            grown[key] = None if value is None else value * size_factor
        for key in _RANGES_MM:
            ends = getattr(self, key)
            grown[key] = None if ends is None else tuple(end * size_factor for end in ends)
        for key in ("volume_ml", "volume_sd_ml"):
            value = getattr(self, key)
            grown[key] = None if value is None else value * size_factor**3
        said = f"scaled by {size_factor:g} for this case (user-set), which the source does not cover; {self.certainty}"
        return replace(self, certainty=said, **grown)


@dataclass(frozen=True)
class PerfusionLaw:
    """How a zone shrinks as the liver's perfusion Q (mL/min/100 g) rises, each linear in Q.

    Short axis = `short_axis_intercept_mm` + `short_axis_slope_mm` * Q, and the volume likewise; the
    long axis stays that of the row named `setting`. Measured from `perfusion_min_ml_min_100g` to
    `perfusion_max_ml_min_100g` and used there only.
    """

    setting: str
    short_axis_intercept_mm: float
    short_axis_slope_mm: float
    volume_intercept_ml: float
    volume_slope_ml: float
    perfusion_min_ml_min_100g: float
    perfusion_max_ml_min_100g: float
    source: str
    certainty: str

    def __post_init__(self) -> None:
        """Refuse a law without source, or with zones that cannot be where it holds; raises DeviceError."""
        for text in ("setting", "source", "certainty"):
            if not str(getattr(self, text)).strip():
                raise DeviceError(f"perfusion law: '{text}' is empty; every number needs its source in words")
        lower, upper = self.perfusion_min_ml_min_100g, self.perfusion_max_ml_min_100g
        if not (np.isfinite([lower, upper]).all() and 0 <= lower < upper):
            raise DeviceError(f"perfusion law: {lower} to {upper} mL/min/100 g is no range of perfusion")
        for perfusion in (lower, upper):
            _require_length(self.short_axis_mm(perfusion), f"perfusion law: short axis at {perfusion:g} mL/min/100 g")
            volume_ml = self.volume_ml(perfusion)
            if not (np.isfinite(volume_ml) and volume_ml > 0):
                raise DeviceError(f"perfusion law: volume at {perfusion:g} mL/min/100 g {volume_ml} is not above 0")

    def short_axis_mm(self, perfusion_ml_min_100g: float) -> float:
        """Diameter across the probe."""
        return self.short_axis_intercept_mm + self.short_axis_slope_mm * perfusion_ml_min_100g

    def volume_ml(self, perfusion_ml_min_100g: float) -> float:
        """Volume of the zone."""
        return self.volume_intercept_ml + self.volume_slope_ml * perfusion_ml_min_100g


@dataclass(frozen=True)
class Device:
    """A device with its settings; `shaft_length_mm` and `gauge` are None where unknown."""

    id: str
    maker: str
    model: str
    modality: str
    settings: tuple[ZoneSetting, ...]
    shaft_length_mm: float | None = None
    shaft_length_source: str = ""
    gauge: float | None = None
    perfusion_law: PerfusionLaw | None = None

    def __post_init__(self) -> None:
        """Refuse a device that could not be chosen or used; raises DeviceError."""
        if not self.id or any(letter.isspace() for letter in self.id):
            raise DeviceError(f"device id '{self.id}': needs a name without blanks")
        if self.modality not in MODALITIES:
            raise DeviceError(f"device '{self.id}': modality '{self.modality}' is none of {', '.join(MODALITIES)}")
        if not self.settings:
            raise DeviceError(f"device '{self.id}': has no settings")
        names = [setting.name for setting in self.settings]
        if len(set(names)) < len(names):
            raise DeviceError(f"device '{self.id}': a setting's name stands twice ({', '.join(names)})")
        if self.shaft_length_mm is not None:
            _require_length(self.shaft_length_mm, f"device '{self.id}': shaft_length_mm")
        if self.gauge is not None and not (np.isfinite(self.gauge) and self.gauge > 0):
            raise DeviceError(f"device '{self.id}': gauge {self.gauge} is not a number above 0")
        law = self.perfusion_law
        if law is not None and law.setting not in names:
            raise DeviceError(
                f"device '{self.id}': its perfusion law is for a setting '{law.setting}' it does not have"
            )

    def setting(self, name: str) -> ZoneSetting:
        """The setting of a name; raises DeviceError, listing those there are."""
        for setting in self.settings:
            if setting.name == name:
                return setting
        names = "; ".join(setting.name for setting in self.settings)
        raise DeviceError(f"device '{self.id}' has no setting '{name}'; it has {names}")

    @property
    def is_plannable(self) -> bool:
        """Whether probes can be planned with any of its settings."""
        return any(setting.is_plannable for setting in self.settings)

    @property
    def plannable_settings(self) -> tuple[ZoneSetting, ...]:
        """The settings whose zone has both axes and its place; raises DeviceError where there is none."""
        settings = tuple(setting for setting in self.settings if setting.is_plannable)
        if not settings:
            raise DeviceError(
                f"device '{self.id}': probes cannot be planned with it, since its source gives no setting with both "
                "axes and the place of the zone's center; choose another device, or put your own values in a file"
            )
        return settings

    def scaled(self, size_factor: float) -> Device:
        """The device with every zone larger or smaller by a factor, for a case (perfusion, shrinkage).

        All lengths are scaled about the tip, so that the reach ahead of the tip, long axis / 2 -
        center_to_tip, scales with the zone; volumes by the third power. Each setting's certainty
        says so; a factor of 1 changes nothing. Raises DeviceError outside `SIZE_FACTOR_RANGE`.
        """
        lower, upper = SIZE_FACTOR_RANGE
        if not lower <= size_factor <= upper:
            raise DeviceError(f"device '{self.id}': size factor {size_factor} is not from {lower:g} to {upper:g}")
        if size_factor == 1:
            return self
        # What was scaled for a case is no longer what the law was measured on.
        settings = tuple(setting.scaled(size_factor) for setting in self.settings)
        return replace(self, settings=settings, perfusion_law=None)

    def at_perfusion(self, perfusion_ml_min_100g: float) -> Device:
        """The device with its zone at a perfusion of the liver, by the law of its source.

        Only the setting that the law was measured for is left. Raises DeviceError for a device
        without such a law, and outside the perfusions it was measured at.
        """
        law = self.perfusion_law
        if law is None:
            raise DeviceError(f"device '{self.id}': no source says how its zone depends on perfusion")
        lower, upper = law.perfusion_min_ml_min_100g, law.perfusion_max_ml_min_100g
        if not lower <= perfusion_ml_min_100g <= upper:
            raise DeviceError(
                f"device '{self.id}': its zone is known at a perfusion of {lower:g} to {upper:g} mL/min/100 g, not at "
                f"{perfusion_ml_min_100g:g}"
            )
        setting = replace(
            self.setting(law.setting),
            short_axis_mm=law.short_axis_mm(perfusion_ml_min_100g),
            short_axis_sd_mm=None,
            volume_ml=law.volume_ml(perfusion_ml_min_100g),
            source=law.source,
            certainty=f"at a perfusion of {perfusion_ml_min_100g:g} mL/min/100 g; {law.certainty}",
        )
        return replace(self, settings=(setting,), perfusion_law=None)

    def interpolated(self, *, power_w: float | None = None, time_s: float | None = None) -> ZoneSetting:
        """The zone between settings of this device in one tissue, linear in power and in time, never outside.

        At a power that was measured, it is linear between the times measured there; between two
        neighboring powers, linear between their zones at that time. One of the two may be left out
        where the settings do not differ in it. Name, source and certainty say that it is
        interpolated. Raises DeviceError, naming what there is, outside of the settings.
        """
        known = [s for s in self.plannable_settings if (s.power_w, s.time_s) != (None, None)]
        rows = [setting for setting in known if len(self._alike(setting)) > 1]
        if not rows:
            raise DeviceError(f"device '{self.id}': has no two settings in one tissue to go between")
        groups: list[list[ZoneSetting]] = []
        for row in rows:
            if all(row not in group for group in groups):
                groups.append(self._alike(row))
        if len(groups) > 1:
            raise DeviceError(f"device '{self.id}': its settings are of several tissues; take one from its list")
        (group,) = groups
        power_w = self._only_value(group, "power_w", power_w)
        time_s = self._only_value(group, "time_s", time_s)
        weights = _weights(group, power_w, time_s)
        if weights is None:
            raise DeviceError(
                f"device '{self.id}': {_power_and_time(power_w, time_s)} is outside of its settings "
                f"({'; '.join(setting.name for setting in group)}), beyond which nothing is known"
            )
        if len(weights) == 1:
            return group[next(iter(weights))]
        used = [group[number] for number in weights]
        shares = np.array(list(weights.values()))
        between = " and ".join(f"'{setting.name}'" for setting in used)

        def mean(key: str) -> float:
            return float(shares @ np.array([getattr(setting, key) for setting in used]))

        return ZoneSetting(
            name=f"{_power_and_time(power_w, time_s)}, interpolated",
            short_axis_mm=mean("short_axis_mm"),
            long_axis_mm=mean("long_axis_mm"),
            center_to_tip_mm=mean("center_to_tip_mm"),
            center_to_tip_source=f"linear between {between}",
            tissue=used[0].tissue,
            tissue_kind=used[0].tissue_kind,
            source=f"linear between {between} of {used[0].source}",
            certainty=f"interpolated, measured at its neighbors only; {used[0].certainty}",
            power_w=power_w,
            time_s=time_s,
        )

    def _alike(self, setting: ZoneSetting) -> list[ZoneSetting]:
        """The plannable settings that differ from one at most in power and time, itself among them."""
        key = (setting.tissue, setting.source, setting.power_w is None, setting.time_s is None)
        return [
            other
            for other in self.plannable_settings
            if (other.tissue, other.source, other.power_w is None, other.time_s is None) == key
        ]

    def _only_value(self, group: list[ZoneSetting], key: str, value: float | None) -> float | None:
        known = {getattr(setting, key) for setting in group}
        if value is None and len(known) == 1:
            return next(iter(known))
        word = key.rpartition("_")[0]
        if value is None:
            raise DeviceError(f"device '{self.id}': its settings differ in {word}; say which")
        if known == {None}:
            raise DeviceError(f"device '{self.id}': the {word} of its settings is not known")
        return float(value)

    def to_dict(self) -> dict[str, Any]:
        """As in a catalogue file."""
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self, dict_factory=_as_json)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], name: str = "device") -> Device:
        """Read a catalogue file's content; raises DeviceError, beginning with `name`."""
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            raise DeviceError(f"{name}: is not a device (no schema '{SCHEMA}')")
        if document.get("schema_version") != SCHEMA_VERSION:
            found = document.get("schema_version")
            raise DeviceError(f"{name}: schema_version {found!r}; this release reads {SCHEMA_VERSION}")
        values = {key: value for key, value in document.items() if key not in ("schema", "schema_version")}
        rows, law = values.pop("settings", None), values.pop("perfusion_law", None)
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise DeviceError(f"{name}: 'settings' is not a list of settings")
        if not (law is None or isinstance(law, Mapping)):
            raise DeviceError(f"{name}: 'perfusion_law' is not an object")
        try:
            settings = tuple(ZoneSetting(**_known(row, ZoneSetting, f"setting {n}")) for n, row in enumerate(rows, 1))
            made = None if law is None else PerfusionLaw(**_known(law, PerfusionLaw, "perfusion law"))
            return cls(**_known({**values, "settings": settings, "perfusion_law": made}, cls, "device"))
        except (DeviceError, TypeError) as error:
            raise DeviceError(f"{name}: {error}") from error


def load_catalogue(extra_files: str | Path | Iterable[str | Path] | None = None) -> dict[str, Device]:
    """All devices by id, the default one first; `extra_files` (one or several) add or replace devices.

    Raises DeviceError, naming the file, for a file that is not sound and for a device that two of
    the user's own files hold, InputError for a file that cannot be read.
    """
    files = sorted(file for file in _FOLDER.glob("*.json") if not file.name.endswith(".schema.json"))
    if not files:
        raise DeviceError(f"{_FOLDER}: no device files there; the installation is incomplete")
    devices = _load_all(files)
    if extra_files is not None:
        own = [extra_files] if isinstance(extra_files, str | Path) else list(extra_files)
        devices |= _load_all([Path(file) for file in own])
    order = sorted(devices, key=lambda name: (name != DEFAULT_DEVICE_ID, name))
    return {name: devices[name] for name in order}


def _load_all(files: Iterable[Path]) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    for file in files:
        device = _load(file)
        if device.id in devices:
            raise DeviceError(f"{file.name}: device '{device.id}' stands in the catalogue twice")
        devices[device.id] = device
    return devices


def _load(file: Path) -> Device:
    try:
        document = read_json(file)
    except FormatError as error:
        raise DeviceError(str(error)) from error
    return Device.from_dict(document, file.name)


def _as_json(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dataclass's fields with tuples as lists, as JSON has them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in pairs}


def _known(values: Mapping[str, Any], kind: type, name: str) -> dict[str, Any]:
    """The values, if all are fields of `kind`, none is missing, and numbers are numbers."""
    types = {field.name: str(field.type) for field in fields(kind)}
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in values]
    if missing:
        raise DeviceError(f"{name}: lacks {', '.join(missing)}")
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise DeviceError(f"{name}: unknown {', '.join(unknown)}; units stand in the names, as in 'short_axis_mm'")
    for key, value in values.items():
        if value is None and "None" in types[key]:
            continue
        if types[key].startswith("tuple[float, float]"):
            if not (isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))):
                raise DeviceError(f"{name}: {key} {value!r} is not a pair of numbers")
        elif types[key].startswith("float") and not _is_number(value):
            raise DeviceError(f"{name}: {key} {value!r} is not a number")
        elif types[key] == "str" and not isinstance(value, str):
            raise DeviceError(f"{name}: {key} {value!r} is not a text")
    return dict(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_length(value: float, name: str) -> None:
    if not (np.isfinite(value) and 0 < value <= _MAX_LENGTH_MM):
        raise DeviceError(f"{name} {value} is not above 0 and at most {_MAX_LENGTH_MM:g} mm")


def _range(ends: Iterable[float], name: str) -> tuple[float, float]:
    lower, upper = ends
    for end in (lower, upper):
        _require_length(end, name)
    if lower > upper:
        raise DeviceError(f"{name} {lower} to {upper} does not rise")
    return lower, upper


def _power_and_time(power_w: float | None, time_s: float | None) -> str:
    """In words, as the names of settings are."""
    parts = [] if power_w is None else [f"{power_w:g} W"]
    return ", ".join(parts if time_s is None else [*parts, f"{time_s / 60:g} min"])


def _weights(rows: list[ZoneSetting], power_w: float | None, time_s: float | None) -> dict[int, float] | None:
    """The share of each row, by its number, in the zone at a power and time; None outside of them."""
    by_power: dict[float | None, dict[int, float]] = {}
    for power in {row.power_w for row in rows}:
        times = {row.time_s: number for number, row in enumerate(rows) if row.power_w == power}
        shares = _between(times, time_s)
        if shares is not None:
            by_power[power] = shares
    outer = _between({power: power for power in {row.power_w for row in rows}}, power_w)
    if outer is None or any(power not in by_power for power in outer):
        return None
    return {number: share * inner for power, share in outer.items() for number, inner in by_power[power].items()}


def _between(places: Mapping[Any, Any], value: float | None) -> dict[Any, float] | None:
    """The items at the places next to a value with their linear shares; None outside of the places."""
    if value in places:
        return {places[value]: 1.0}
    if value is None:
        return None
    for lower, upper in pairwise(sorted(places)):
        if lower < value < upper:
            share = (value - lower) / (upper - lower)
            return {places[lower]: 1.0 - share, places[upper]: share}
    return None
