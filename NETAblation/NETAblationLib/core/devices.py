"""The catalogue of ablation devices: what zone each of their settings is said to make.

A device is one JSON file in Resources/Devices, every number with its source and how sure it is.
A zone is an ellipsoid of revolution along the probe; its center lies behind the tip. What a
chart says is not what a patient's liver gives: the correlation of energy and volume seen in
preclinical work was weak in vivo (Ruiter, Eur Radiol 2019;29:4026).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .documents import read_json
from .errors import DeviceError, FormatError

SCHEMA = "netablation-device"
SCHEMA_VERSION = 1

DEFAULT_DEVICE_ID = "emprint-mwa"

MODALITIES = ("MWA", "RFA", "cryo", "IRE")

#: Largest sound length in mm: no needle or zone is longer. User-set.
_MAX_LENGTH_MM = 400.0

_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Devices"


@dataclass(frozen=True)
class ZoneSetting:
    """One setting of a device and the zone that is expected of it.

    `short_axis_mm` is the diameter across, `long_axis_mm` that along the probe;
    `center_to_tip_mm` how far behind the tip the center lies (negative: ahead of it). Power and
    time are None where the source does not give them. `tissue`, `source` and `certainty` say in
    words where the numbers come from.
    """

    name: str
    short_axis_mm: float
    long_axis_mm: float
    center_to_tip_mm: float
    tissue: str
    source: str
    certainty: str
    center_to_tip_source: str = ""
    power_w: float | None = None
    time_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a setting without name or source, and sizes that cannot be; raises DeviceError."""
        for text in ("name", "tissue", "source", "certainty"):
            if not str(getattr(self, text)).strip():
                raise DeviceError(f"setting '{self.name}': '{text}' is empty; every zone needs its source in words")
        for key in ("short_axis_mm", "long_axis_mm"):
            _require_length(getattr(self, key), f"setting '{self.name}': {key}")
        if not np.isfinite(self.center_to_tip_mm) or abs(self.center_to_tip_mm) > self.long_axis_mm:
            raise DeviceError(
                f"setting '{self.name}': center_to_tip_mm {self.center_to_tip_mm} is not within the zone's length"
            )
        for key in ("power_w", "time_s"):
            value = getattr(self, key)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise DeviceError(f"setting '{self.name}': {key} {value} is not a number above 0")


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

    def setting(self, name: str) -> ZoneSetting:
        """The setting of a name; raises DeviceError, listing those there are."""
        for setting in self.settings:
            if setting.name == name:
                return setting
        names = "; ".join(setting.name for setting in self.settings)
        raise DeviceError(f"device '{self.id}' has no setting '{name}'; it has {names}")

    def to_dict(self) -> dict[str, Any]:
        """As in a catalogue file."""
        document = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self)}
        document["settings"] = [asdict(setting) for setting in self.settings]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], name: str = "device") -> Device:
        """Read a catalogue file's content; raises DeviceError, beginning with `name`."""
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            raise DeviceError(f"{name}: is not a device (no schema '{SCHEMA}')")
        if document.get("schema_version") != SCHEMA_VERSION:
            found = document.get("schema_version")
            raise DeviceError(f"{name}: schema_version {found!r}; this release reads {SCHEMA_VERSION}")
        values = {key: value for key, value in document.items() if key not in ("schema", "schema_version")}
        rows = values.pop("settings", None)
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise DeviceError(f"{name}: 'settings' is not a list of settings")
        try:
            settings = tuple(ZoneSetting(**_known(row, ZoneSetting, f"setting {n}")) for n, row in enumerate(rows, 1))
            return cls(**_known({**values, "settings": settings}, cls, "device"))
        except (DeviceError, TypeError) as error:
            raise DeviceError(f"{name}: {error}") from error


def load_catalogue(extra_file: str | Path | None = None) -> dict[str, Device]:
    """All devices by id, the default one first; `extra_file` adds or replaces one of the user's own.

    Raises DeviceError, naming the file, for a file that is not sound, InputError for one that
    cannot be read.
    """
    files = sorted(_FOLDER.glob("*.json"))
    if not files:
        raise DeviceError(f"{_FOLDER}: no device files there; the installation is incomplete")
    devices: dict[str, Device] = {}
    for file in files:
        device = _load(file)
        if device.id in devices:
            raise DeviceError(f"{file.name}: device '{device.id}' stands in the catalogue twice")
        devices[device.id] = device
    if extra_file is not None:
        device = _load(Path(extra_file))
        devices[device.id] = device
    order = sorted(devices, key=lambda name: (name != DEFAULT_DEVICE_ID, name))
    return {name: devices[name] for name in order}


def _load(file: Path) -> Device:
    try:
        document = read_json(file)
    except FormatError as error:
        raise DeviceError(str(error)) from error
    return Device.from_dict(document, file.name)


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
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if "float" in types[key] and not (is_number or (value is None and "None" in types[key])):
            raise DeviceError(f"{name}: {key} {value!r} is not a number")
        if types[key] == "str" and not isinstance(value, str):
            raise DeviceError(f"{name}: {key} {value!r} is not a text")
    return dict(values)


def _require_length(value: float, name: str) -> None:
    if not (np.isfinite(value) and 0 < value <= _MAX_LENGTH_MM):
        raise DeviceError(f"{name} {value} is not above 0 and at most {_MAX_LENGTH_MM:g} mm")
