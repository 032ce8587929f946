"""What all commands agree on: arguments, masks as FILE:3, places for results, progress and what is said."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..core.errors import Cancelled, FormatError, InputError
from ..core.progress import ProgressCallback

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..core.probes import Probe

SCENE_SUFFIXES = (".mrb", ".mrml")

EPILOG = (
    "Points are R,A,S in mm and may be negative. Images: NRRD, NIfTI, MetaImage or a DICOM folder; masks: a file, "
    "or FILE:3 for its label 3. Research software, not a medical device."
)


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    """Parser of the command `name`, which calls `run`, with the options that all commands have."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    parser.add_argument("--debug", action="store_true", help="show where an unexpected failure happened")
    return parser


def point(text: str) -> tuple[float, float, float]:
    """R,A,S in mm."""
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        first = second = third = math.nan
    if not all(map(math.isfinite, (first, second, third))):
        raise argparse.ArgumentTypeError(f"'{text.strip()}' is not a point R,A,S in mm")
    return first, second, third


def named_mask(text: str) -> tuple[str, Path]:
    """NAME=MASK."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=MASK")
    return name, Path(path)


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def mask_of(path: Path) -> sitk.Image:
    """Read FILE, or the label N of FILE:N."""
    from ..core.images import read_mask

    file, label = file_and_label(path)
    return read_mask(file, label=label)


def mask_or_none(path: Path | None) -> sitk.Image | None:
    """Read the mask as :func:`mask_of` does, if there is one."""
    return None if path is None else mask_of(path)


def file_and_label(path: Path) -> tuple[Path, int | None]:
    """Part FILE:N into the file and its label; the label is None where the whole file is meant."""
    file, colon, label = str(path).rpartition(":")
    if colon and label.isdigit() and not path.exists():
        return Path(file), int(label)
    return path, None


def plan_of(path: Path) -> tuple[tuple[Probe, ...], str]:
    """The probes of a file that `plan` wrote, and the id of its device; raises FormatError, naming the file."""
    from ..core.documents import read_json
    from ..core.trajectories import probes_of_plan

    document = read_json(path)
    try:
        return probes_of_plan(document)
    except InputError as error:
        raise FormatError(f"{path}: {error}") from error


def by_name(pairs: Sequence[tuple[str, Path]], option: str) -> dict[str, Path]:
    """Files by the names that the user gave them; refuses a name that stands twice."""
    files = dict(pairs)
    if len(files) < len(pairs):
        raise InputError(f"{option}: a name is given twice; each needs a name of its own")
    return files


def require_places(inputs: Sequence[Path | None], *outputs: tuple[Path | None, Sequence[str]]) -> None:
    """Refuse, before any work, an output that cannot be written or would replace an input or another output.

    Each output comes with the endings that its name may have. A document has none: it may have any
    name, and - stands for standard output.
    """
    taken = {file_and_label(path)[0].resolve(): "an input" for path in inputs if path is not None}
    for path, suffixes in outputs:
        if path is None or (str(path) == "-" and not suffixes):
            continue
        place = path.resolve()
        if suffixes and not path.name.lower().endswith(tuple(suffixes)):
            raise InputError(f"{path}: the name of this output has to end with {' or '.join(suffixes)}")
        if not place.parent.is_dir():
            raise InputError(f"{path}: the folder to write it into does not exist")
        if place.is_dir():
            raise InputError(f"{path}: is a folder; give a file to write to")
        if not os.access(place.parent, os.W_OK):
            raise InputError(f"{path}: its folder is not writable")
        if place in taken:
            raise InputError(f"{path}: {taken[place]} has this name and would be lost: give the output another one")
        taken[place] = "another output"


def require_folder(folder: Path | None) -> None:
    """Refuse, before any work, a folder for results that can be neither used nor made."""
    if folder is None:
        return
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"{folder}: results cannot be written there ('{existing}' is no writable folder)")


def write_document(document: Mapping[str, Any], path: Path | None) -> None:
    """Write a result for machines to FILE or, for -, to standard output; without a path, nowhere."""
    if path is None:
        return
    if str(path) == "-":
        import json

        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        from ..core.documents import write_json

        write_json(document, path)


def say(*lines: str) -> None:
    """Write lines for people to standard error."""
    for line in lines:
        sys.stderr.write(f"{line}\n")


def as_notes(texts: Sequence[str]) -> list[str]:
    """Lines that point out the `texts` to the user."""
    return [f"note: {text}" for text in texts]


def in_mm(value: float | None) -> str:
    """A length for people, also one that could not be measured."""
    return "not evaluable" if value is None else f"{value:.1f} mm"


@contextmanager
def progress_bar(title: str, options: argparse.Namespace) -> Iterator[ProgressCallback]:
    """A bar on standard error while the block runs; none when quiet or not at a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=options.quiet)
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction, message: bar.update(task, completed=fraction, description=f"{title}: {message}"[:32])


@contextmanager
def cancelled_by_interrupt(progress: ProgressCallback) -> Iterator[ProgressCallback]:
    """Let the first Ctrl-C cancel the work of the block at its next report; the second one stops it at once.

    Elsewhere than in the main thread, which alone gets signals, and in a process that ignores Ctrl-C, as one in
    the background does, the callback is what it was.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield progress
        return
    is_asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        is_asked.set()
        signal.signal(signal.SIGINT, before)

    def report(fraction: float, message: str) -> None:
        if is_asked.is_set():
            raise Cancelled("stopped by Ctrl-C")
        progress(fraction, message)

    signal.signal(signal.SIGINT, ask)
    try:
        yield report
    finally:
        signal.signal(signal.SIGINT, before)
