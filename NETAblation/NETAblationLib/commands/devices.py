"""The catalogue of devices."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .command_line import add_command, positive, require_places, write_document
from .planning_inputs import add_device_files, device_named

if TYPE_CHECKING:
    from ..core.devices import Device, ZoneSetting


def add_devices(commands: Any) -> None:
    """Arguments of `devices`."""
    parser = add_command(commands, "devices", run_devices, "List the devices, their zones, and the source of each.")
    parser.add_argument("--device", metavar="ID", help="this device only, with all that is known of it")
    parser.add_argument("--power-w", type=positive, metavar="W", help="the zone at this power, between settings")
    parser.add_argument("--time-min", type=positive, metavar="MIN", help="the zone after this time, between settings")
    parser.add_argument("--perfusion", type=positive, metavar="Q", help="the zone at this perfusion, mL/min/100 g")
    parser.add_argument("--size-factor", type=positive, metavar="F", help="all zones larger or smaller (0.5 to 1.5)")
    add_device_files(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also for machines (- for standard output)")


def run_devices(options: argparse.Namespace) -> None:
    """List the catalogue, or show one device; files of the user's own are checked by that."""
    from ..core.devices import load_catalogue

    require_places(options.device_file, (options.json, ()))
    catalogue = load_catalogue(options.device_file)
    if options.device is not None:
        catalogue = {options.device: _derived(device_named(catalogue, options.device), options)}
    elif any(getattr(options, name) is not None for name in ("power_w", "time_min", "perfusion", "size_factor")):
        raise InputError("power, time, perfusion and size factor are those of one device: choose it with --device")
    if options.json is not None:
        write_document({"devices": [device.to_dict() for device in catalogue.values()]}, options.json)
    if options.quiet or str(options.json) == "-":
        return
    lines = _details(catalogue[options.device]) if options.device is not None else _list(catalogue.values())
    # The list is what was asked for, not a message: it goes where it can be paged and searched.
    sys.stdout.write("\n".join(lines) + "\n")


def _derived(device: Device, options: argparse.Namespace) -> Device:
    """The device as it is asked for: at a perfusion, between settings, scaled."""
    from dataclasses import replace

    if options.perfusion is not None:
        device = device.at_perfusion(options.perfusion)
    if options.power_w is not None or options.time_min is not None:
        time_s = None if options.time_min is None else 60.0 * options.time_min
        setting = device.interpolated(power_w=options.power_w, time_s=time_s)
        device = replace(device, settings=(setting,), perfusion_law=None)
    return device if options.size_factor is None else device.scaled(options.size_factor)


def _list(devices: Any) -> list[str]:
    lines = []
    for device in devices:
        kinds = ", ".join(dict.fromkeys(setting.tissue_kind or setting.tissue for setting in device.settings))
        use = "" if device.is_plannable else "; not for planning: zones not given whole"
        lines.append(f"{device.id}: {device.modality}, {device.maker}, {device.model} ({kinds}{use})")
        lines += [f"    {setting.name}: {_zone(setting)}" for setting in device.settings]
    return lines


def _details(device: Device) -> list[str]:
    shaft = "not known" if device.shaft_length_mm is None else f"{device.shaft_length_mm:g} mm"
    lines = [
        f"{device.id}: {device.modality}, {device.maker}, {device.model}",
        f"    shaft {shaft}" + (f" ({device.shaft_length_source})" if device.shaft_length_source else ""),
        "    gauge " + ("not known" if device.gauge is None else f"{device.gauge:g}"),
    ]
    for setting in device.settings:
        lines += [
            f"  {setting.name}: {_zone(setting)}",
            f"    tissue: {setting.tissue}" + (f" [{setting.tissue_kind}]" if setting.tissue_kind else ""),
            f"    source: {setting.source}",
            f"    how sure: {setting.certainty}",
        ]
        if setting.center_to_tip_mm is not None:
            lines.append(
                f"    center {round(setting.center_to_tip_mm, 2):g} mm behind the tip"
                + (f" ({setting.center_to_tip_source})" if setting.center_to_tip_source else "")
            )
        if setting.note:
            lines.append(f"    note: {setting.note}")
        if not setting.is_plannable:
            lines.append("    not for planning: both axes and the place of the center would have to be known")
    if device.perfusion_law is not None:
        lines.append(f"  by perfusion: {device.perfusion_law.source} ({device.perfusion_law.certainty})")
    return lines


def _zone(setting: ZoneSetting) -> str:
    """The size of a zone in one line, with what the source does not give left out."""

    def axis(name: str, value: float | None, sd: float | None, ends: tuple[float, float] | None) -> list[str]:
        if value is not None:
            return [f"{round(value, 2):g}" + (f" +/- {round(sd, 2):g}" if sd is not None else "") + f" mm {name}"]
        return [] if ends is None else [f"{round(ends[0], 2):g} to {round(ends[1], 2):g} mm {name}"]

    parts = [
        *axis("across", setting.short_axis_mm, setting.short_axis_sd_mm, setting.short_axis_range_mm),
        *axis("along", setting.long_axis_mm, setting.long_axis_sd_mm, setting.long_axis_range_mm),
        *axis("mean diameter", setting.mean_diameter_mm, None, None),
    ]
    if setting.volume_ml is not None:
        sd = "" if setting.volume_sd_ml is None else f" +/- {round(setting.volume_sd_ml, 2):g}"
        parts.append(f"{round(setting.volume_ml, 2):g}{sd} ml")
    return ", ".join(parts)
