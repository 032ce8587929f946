"""What a fusion says near one lesion, out of the figures that it gives for each mask that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .fusion_verdict import worst


@dataclass(frozen=True)
class NearLesion:
    """The fusion's mean error in mm near a lesion, its 90 % bound, and its verdict there; None where not known."""

    error_mm: float | None = None
    bound_90_mm: float | None = None
    verdict: str | None = None

    @classmethod
    def of(cls, fusion: Mapping[str, Any], masks: Iterable[int]) -> NearLesion:
        """From a fusion's document and the numbers of the lesion's masks (tumor, zones) among those left out.

        The worst of them counts. Where none of them tells (it was not left out, or lies outside of the liver), it
        is what the fusion says of the whole liver.
        """
        numbers = tuple(masks)

        def near(key: str) -> list[Any]:
            values = fusion.get(key) or ()
            return [values[n] for n in numbers if n < len(values) and values[n] is not None]

        error, bound, verdicts = near("lesion_error_mm"), near("lesion_error_bound_90_mm"), near("lesion_verdict")
        return cls(
            float(max(error)) if error else _number(fusion.get("estimated_error_mm")),
            float(max(bound)) if bound else _number(fusion.get("error_bound_90_mm")),
            worst(verdicts) if verdicts else fusion.get("verdict"),
        )

    @classmethod
    def worst_of(cls, fusion: Mapping[str, Any]) -> NearLesion:
        """For a lesion of which it is not known whether it was left out: the worst of all that the fusion says."""
        every = cls.of(fusion, range(len(fusion.get("lesion_error_mm") or ())))
        whole = cls.of(fusion, ())
        return cls(
            _larger(every.error_mm, whole.error_mm), _larger(every.bound_90_mm, whole.bound_90_mm), whole.verdict
        )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _larger(first: float | None, second: float | None) -> float | None:
    return max((value for value in (first, second) if value is not None), default=None)
