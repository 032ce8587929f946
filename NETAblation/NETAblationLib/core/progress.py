"""Progress of long work: a fraction and a word, through a callback that can cancel."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[float, str], None]
"""Called with the share of the work done (0..1) and a word for the step under way.

To cancel, the callback raises :class:`~NETAblationLib.core.errors.Cancelled`.
"""


def silent(fraction: float, message: str) -> None:
    """Take a progress report and do nothing with it."""


def span(progress: ProgressCallback, start: float, end: float) -> ProgressCallback:
    """Let a part of the work report 0..1 while the whole advances from `start` to `end`."""

    def report(fraction: float, message: str) -> None:
        progress(start + (end - start) * fraction, message)

    return report
