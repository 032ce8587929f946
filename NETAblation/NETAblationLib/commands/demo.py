"""The whole chain on the built-in digital patient."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command_line import add_command, progress_bar, say, write_document


def add_demo(commands: Any) -> None:
    """Arguments of `demo`."""
    parser = add_command(commands, "demo", run_demo, "Run the whole chain on the built-in digital patient.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all results")
    parser.add_argument("--size", choices=("small", "standard"), default="standard", help="size of its images")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="which digital patient")
    parser.add_argument("--json", type=Path, metavar="FILE", help="summary for machines, - for standard output")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 up")
    return int(text)


def run_demo(options: argparse.Namespace) -> None:
    """Whole chain on the digital patient."""
    from ..demo import run

    with progress_bar("demo", options) as progress:
        summary = run(options.out, size=options.size, seed=options.seed, progress=progress)
    write_document(summary.document, options.json)
    if not options.quiet:
        say(*summary.lines)
