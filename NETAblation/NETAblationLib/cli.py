"""The `netablation` command: every step of the chain, for people and for machines.

Exit codes: 0 done, 2 bad input, 1 failure. Progress and messages go to standard error,
results to files and, for `--json -`, to standard output. Nothing leaves the machine but what
`trajectories --igtl` sends to the navigation system that it names.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .commands import access, anatomy, demo, devices, fusion, lesions, margin, pet, plan, segment, trajectories, warp
from .commands.command_line import EPILOG
from .core.errors import Cancelled, InputError, NETAblationError

EXIT_DONE, EXIT_FAILURE, EXIT_BAD_INPUT = 0, 1, 2

_POINT = re.compile(r"^-[^,=]+,[^,]+,[^,]+$")

# In the order of the chain, as `--help` lists them.
_COMMANDS = (
    demo.add_demo,
    segment.add_segment,
    anatomy.add_liver,
    anatomy.add_vessels,
    pet.add_suv,
    pet.add_pet_lesions,
    devices.add_devices,
    access.add_access,
    plan.add_plan,
    trajectories.add_trajectories,
    fusion.add_fuse,
    pet.add_resample,
    warp.add_warp,
    margin.add_margin,
    lesions.add_lesions,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process); return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(_protect_negative_points(words))
    try:
        options.run(options)
    except InputError as error:
        return _fail(f"{error}", EXIT_BAD_INPUT)
    except Cancelled:
        return _fail("stopped; nothing was replaced", EXIT_FAILURE)
    except NETAblationError as error:
        return _fail(f"{error}", EXIT_FAILURE)
    except OSError as error:
        if options.debug:
            raise
        named = "" if error.filename is None else f"{error.filename}: "
        return _fail(f"{named}{error.strerror or error}", EXIT_BAD_INPUT if named else EXIT_FAILURE)
    except KeyboardInterrupt:
        return _fail("stopped", EXIT_FAILURE)
    except Exception as error:
        if options.debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", EXIT_FAILURE)
    return EXIT_DONE


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"netablation: {message}\n")
    return code


def _protect_negative_points(words: list[str]) -> list[str]:
    """Keep argparse from taking a point such as -12.5,30,4 for an option.

    A word with a blank in it is never an option; the blank goes when the point is read.
    """
    return [f" {word}" if _POINT.match(word) else word for word in words]


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, as all other errors are said."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"netablation: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="netablation", description="Image-guided tumor ablation: from images to margins.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"netablation {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
