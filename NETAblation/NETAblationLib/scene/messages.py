"""What VTK, ITK and MRML report while a call runs, so that an error becomes an exception."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import vtk
from vtkmodules.util.misc import calldata_type

from ..core.errors import NETAblationError

_LOGGER = logging.getLogger(__name__)

#: How VTK opens a message: "ERROR: In file, line 12" and then "vtkClass (0x...): text".
_PREAMBLE = re.compile(r"^(ERROR|Warning|Generic Warning|Debug): In .*?line \d+\s*(\w+ \(0x[0-9a-f]+\): )?", re.DOTALL)

#: The pipeline repeats the failure of a reader without a reason of its own.
_PIPELINE_ECHO = "returned failure for request"


@dataclass
class Messages:
    """What was reported so far; kept up to date while the block runs."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All errors, else all warnings, each on a line of its own and named once."""
        texts = [text for text in self.errors if _PIPELINE_ECHO not in text] or self.warnings
        return "\n".join(dict.fromkeys(texts))

    def raise_if_failed(
        self, succeeded: object, what: str, error: type[NETAblationError], extra: str = "", strict: bool = True
    ) -> None:
        """Raise `error` with `what` and all that was reported where the call failed.

        Failed means: `succeeded` is false, or (with `strict`) an error was reported although the
        call returned as if all were well, which many VTK readers and writers do.
        """
        if succeeded and not (strict and self.errors):
            return
        reasons = [part for part in (extra.strip(), self.text()) if part]
        self.errors.clear()
        raise error("\n".join([what, *reasons]))


@contextmanager
def captured_messages(*, expected: Sequence[str] = ()) -> Iterator[Messages]:
    """Collect VTK's errors and warnings of the block instead of showing them at once.

    What no one turned into an exception is passed on to Python's `logging` at the end. Messages that
    hold one of the `expected` texts are not collected: nothing that was not foreseen is hidden.
    """
    messages = Messages()
    window = vtk.vtkStringOutputWindow()
    _collect(window, "ErrorEvent", messages.errors, expected)
    _collect(window, "WarningEvent", messages.warnings, expected)
    previous = vtk.vtkOutputWindow.GetInstance()
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkOutputWindow.SetInstance(window)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
        vtk.vtkOutputWindow.SetInstance(previous)
        _pass_on(messages)


def _collect(window: vtk.vtkOutputWindow, event: str, texts: list[str], expected: Sequence[str]) -> None:
    @calldata_type(vtk.VTK_STRING)
    def keep(_caller: vtk.vtkObject, _event: str, text: str | None) -> None:
        told = _PREAMBLE.sub("", (text or "").strip())
        if not any(part in told for part in expected):
            texts.append(told)

    window.AddObserver(event, keep)


def _pass_on(messages: Messages) -> None:
    for level, texts in ((logging.ERROR, messages.errors), (logging.WARNING, messages.warnings)):
        for text in texts:
            _LOGGER.log(level, "%s", text)
