"""The catalogue of devices."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command_line import add_command, require_places, write_document

if TYPE_CHECKING:
    from ..core.devices import Device, ZoneSetting


def add_devices(commands: Any) -> None:
    """Arguments of `devices`."""
    parser = add_command(commands, "devices", run_devices, "List the devices, their zones, and the source of each.")
    parser.add_argument("--device", metavar="ID", help="this device only, with all that is known of it")
    add_device_files(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also for machines (- for standard output)")


def add_device_files(parser: argparse.ArgumentParser) -> None:
    """The option for devices of the user's own, for each command that uses the catalogue."""
    parser.add_argument(
        "--device-file",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="devices of your own, as JSON (device.schema.json says how)",
    )


def run_devices(options: argparse.Namespace) -> None:
    """List the catalogue, or show one device; files of the user's own are checked by that."""
    from ..core.devices import load_catalogue
    from ..core.errors import DeviceError

    require_places(options.device_file, (options.json, ()))
    catalogue = load_catalogue(options.device_file)
    if options.device is not None:
        if options.device not in catalogue:
            raise DeviceError(
                f"device '{options.device}' is not in the catalogue: choose one of {', '.join(catalogue)}"
            )
        catalogue = {options.device: catalogue[options.device]}
    if options.json is not None:
        write_document({"devices": [device.to_dict() for device in catalogue.values()]}, options.json)
    if options.quiet or str(options.json) == "-":
        return
    lines = _details(catalogue[options.device]) if options.device is not None else _list(catalogue.values())
    # The list is what was asked for, not a message: it goes where it can be paged and searched.
    sys.stdout.write("\n".join(lines) + "\n")


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
                f"    center {setting.center_to_tip_mm:g} mm behind the tip"
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
            return [f"{value:g}" + (f" +/- {sd:g}" if sd is not None else "") + f" mm {name}"]
        return [] if ends is None else [f"{ends[0]:g} to {ends[1]:g} mm {name}"]

    parts = [
        *axis("across", setting.short_axis_mm, setting.short_axis_sd_mm, setting.short_axis_range_mm),
        *axis("along", setting.long_axis_mm, setting.long_axis_sd_mm, setting.long_axis_range_mm),
        *axis("mean diameter", setting.mean_diameter_mm, None, None),
    ]
    if setting.volume_ml is not None:
        sd = "" if setting.volume_sd_ml is None else f" +/- {setting.volume_sd_ml:g}"
        parts.append(f"{setting.volume_ml:g}{sd} ml")
    return ", ".join(parts)
