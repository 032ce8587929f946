"""A probe plan for one tumor, as it is shown, stored and exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from .errors import FormatError, InputError
from .probes import Probe

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """Probes for one tumor, and how well their expected zones cover it.

    `tumor_coverage_fraction` and `target_coverage_fraction` (tumor and margin, inside the liver)
    are shares of volume; `predicted_mam_mm` is the smallest signed margin over the tumor's
    surface at least `margin_mm` from the capsule and `mam_place_ras_mm` (3,) where that is, None where there is no
    such surface; `shares` of that surface, by area, have a margin "below_0", "from_0_to_5" and "at_least_5" mm.
    `limitations` say in sentences what the plan does not reach, and what it does that it should not.

    `kind` says what the plan is best in among its alternatives, and `reasons` why one would choose it. The first
    `locked_count` probes were given and kept as they are. `healthy_liver_ml` is the liver outside of the tumor that
    the zones reach. No plan with the device takes fewer punctures than `lower_bound_punctures`, none of parallel
    probes along this one's direction fewer than `lower_bound_parallel_punctures`, and none fewer ablations than
    `lower_bound_ablations`; None where that was not looked into. `path_checks` judge the way of each probe as
    :class:`~.path_checks.PathCheck` does. `robustness` tells how sure it is, where that was asked for.
    """

    device: str
    margin_mm: float
    probes: tuple[Probe, ...]
    tumor_coverage_fraction: float
    target_coverage_fraction: float
    predicted_mam_mm: float | None
    target_volume_ml: float
    zone_volume_ml: float
    seconds: float
    limitations: tuple[str, ...]
    parameters: Mapping[str, Any]
    input_hashes: Mapping[str, str]
    mam_place_ras_mm: tuple[float, float, float] | None = None
    shares: Mapping[str, float | None] = field(default_factory=dict)
    kind: str = "fewest punctures"
    reasons: tuple[str, ...] = ()
    locked_count: int = 0
    healthy_liver_ml: float | None = None
    lower_bound_punctures: int | None = None
    lower_bound_parallel_punctures: int | None = None
    lower_bound_ablations: int | None = None
    path_checks: tuple[Mapping[str, Any], ...] = field(default=())
    robustness: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse a plan without probes and shares that are none; raises InputError."""
        if not self.probes:
            raise InputError("plan: has no probe")
        for name in ("tumor_coverage_fraction", "target_coverage_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"plan: {name} {getattr(self, name)} is not a share from 0 to 1")

    @property
    def probe_count(self) -> int:
        """How many probes there are."""
        return len(self.probes)

    @property
    def ablation_count(self) -> int:
        """How many ablations there are on all probes."""
        return sum(len(probe.ablations) for probe in self.probes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "schema_version": SCHEMA_VERSION,
            "probe_count": self.probe_count,
            "ablation_count": self.ablation_count,
            **document,
            "probes": [probe.to_dict() for probe in self.probes],
            "limitations": list(self.limitations),
            "reasons": list(self.reasons),
            "mam_place_ras_mm": None if self.mam_place_ras_mm is None else list(self.mam_place_ras_mm),
            "shares": dict(self.shares),
            "path_checks": [dict(check) for check in self.path_checks],
            "parameters": dict(self.parameters),
            "input_hashes": dict(self.input_hashes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Read what :meth:`to_dict` wrote; raises FormatError for anything else."""
        if not isinstance(document, Mapping) or document.get("schema_version") != SCHEMA_VERSION:
            found = document.get("schema_version") if isinstance(document, Mapping) else None
            raise FormatError(f"plan: schema_version {found!r} is not the one this release reads ({SCHEMA_VERSION})")
        try:
            values = {
                name: document[name]
                for name, row in cls.__dataclass_fields__.items()
                if name in document or (row.default is MISSING and row.default_factory is MISSING)
            }
            values["probes"] = tuple(Probe.from_dict(probe) for probe in values["probes"])
            values["limitations"] = tuple(str(text) for text in values["limitations"])
            values["reasons"] = tuple(str(text) for text in values.get("reasons", ()))
            values["path_checks"] = tuple(dict(check) for check in values.get("path_checks", ()))
            place = values.get("mam_place_ras_mm")
            if place is not None:
                r, a, s = place
                values["mam_place_ras_mm"] = float(r), float(a), float(s)
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"plan: the document is not one of this release ({error!r})") from error
