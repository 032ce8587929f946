"""Carrying a plan out: the table of trajectories, for people, for 3D Slicer and for a navigation system."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command_line import add_command, as_notes, plan_of, positive, require_places, say, write_document
from .planning_inputs import add_device_files


def add_trajectories(commands: Any) -> None:
    """Arguments of `trajectories`."""
    parser = add_command(commands, "trajectories", run_trajectories, "Say how each probe of a plan is placed.")
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="what `plan` wrote")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the table, one row per ablation")
    parser.add_argument("--markups", type=Path, metavar="FILE.mrk.json", help="lines for 3D Slicer")
    parser.add_argument("--igtl", metavar="HOST:PORT", help="send them to this navigation system over OpenIGTLink")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="table and pairs for machines (- for standard output)"
    )
    parser.add_argument(
        "--aiming-height-mm", type=positive, metavar="MM", help="height of the aiming device above the skin"
    )
    parser.add_argument(
        "--spacing-mm",
        type=positive,
        nargs=2,
        metavar=("LEAST", "MOST"),
        help="spacing of probes beyond which to warn (default 15 25)",
    )
    add_device_files(parser)


def run_trajectories(options: argparse.Namespace) -> None:
    """Measure the trajectories of a plan and give them out."""
    from ..core.devices import load_catalogue
    from ..core.navigation import parse_address, send_trajectories
    from ..core.trajectories import SPACING_RANGE_MM, pair_warnings, probe_pairs, trajectories_of
    from ..core.trajectory_files import MARKUPS_SUFFIX, write_trajectories_csv, write_trajectories_markups

    require_places(
        [options.plan, *options.device_file],
        (options.csv, (".csv",)),
        (options.markups, (MARKUPS_SUFFIX,)),
        (options.json, ()),
    )
    address = None if options.igtl is None else parse_address(options.igtl)
    least, most = options.spacing_mm or SPACING_RANGE_MM
    probes, device = plan_of(options.plan)
    trajectories = trajectories_of(
        probes,
        device=device,
        catalogue=load_catalogue(options.device_file),
        aiming_height_mm=options.aiming_height_mm,
    )
    pairs = probe_pairs(trajectories)
    warnings = pair_warnings(pairs, (least, most))
    document = {
        "trajectories": [trajectory.to_dict() for trajectory in trajectories],
        "pairs": [pair.to_dict() for pair in pairs],
        "warnings": list(warnings),
    }
    write_document(document, options.json)
    if options.csv is not None:
        write_trajectories_csv(trajectories, options.csv)
    if options.markups is not None:
        write_trajectories_markups(trajectories, options.markups)
    # Last, so that the files are there when nobody listens.
    sent = 0 if address is None else send_trajectories(trajectories, *address)
    if options.quiet:
        return
    for trajectory in trajectories:
        aimed = trajectory.depth_from_aiming_device_mm
        above = "" if aimed is None else f", {aimed:.1f} mm from the aiming device"
        say(
            f"{trajectory.name}: {trajectory.depth_from_skin_mm:.1f} mm from the skin{above}; "
            f"{trajectory.angles_in_words}; {len(trajectory.stops)} ablation(s)"
        )
    say(*(f"{p.first} and {p.second}: {p.spacing_mm:.1f} mm apart, {p.angle_deg:.1f} degrees" for p in pairs))
    say(*as_notes(warnings))
    say("note: angles hold for a patient lying head first and supine, and a gantry that is not tilted")
    if sent:
        say(f"{sent} messages sent to {options.igtl}")
