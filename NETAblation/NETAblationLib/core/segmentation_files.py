"""Segmentations that other tools have written: their segments with names and codes, and the obstacles among them.

Read are .seg.nrrd of 3D Slicer (overlapping segments, in layers, included), and label maps in NRRD, NIfTI or
MetaImage with the names of their labels: those that TotalSegmentator writes into the NIfTI header, or a JSON or CSV
file of names.
"""

from __future__ import annotations

import csv
import gzip
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import frames
from .documents import read_json
from .errors import FormatError, GeometryError, ImageReadError, InputError
from .images import require_3d_finite, require_labels
from .structures import Code, Match, match_labels
from .volume_files import check_volume_file, quiet_itk, volume_suffix

#: The most of a NIfTI file that is searched for names. User-set.
_MAX_HEADER_BYTES = 4 << 20
#: Columns of a CSV file of names, in lower case.
_LABEL_COLUMNS = ("label", "id", "value", "index", "labelvalue")
_NAME_COLUMNS = ("name", "structure", "label_name", "labelname", "segment")


@dataclass(frozen=True)
class Segment:
    """A segment of a file: its name, its code where it has one, and where it is, in `layer` with value `label`."""

    name: str
    label: int
    layer: int = 0
    code: Code | None = None


@dataclass(frozen=True)
class Segmentation:
    """All segments of a file; `layers` are label images on one grid, and each segment lies in one of them."""

    segments: tuple[Segment, ...]
    layers: tuple[sitk.Image, ...]


@dataclass(frozen=True)
class Obstacles:
    """The obstacles among the segments: `masks` by structure, each uint8 on the part of the grid that it fills.

    `matches` says what each segment is, in the order of the file; `notes` say in words what was not taken, and why.
    """

    masks: Mapping[str, sitk.Image]
    matches: tuple[tuple[Segment, Match], ...]
    notes: tuple[str, ...]


def read_segmentation(path: str | Path, names_file: str | Path | None = None) -> Segmentation:
    """Read a segmentation with the names of its segments.

    `names_file` is a JSON object of labels and names ({"5": "liver"} or {"liver": 5}, or those under "labels"), or
    a CSV with a column label (or id) and a column name (or structure); it is needed where the file itself has no
    names, and goes before them. Raises ImageReadError for a file that is not sound, InputError for an image that is
    no segmentation or where names are missing, FormatError for names that cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageReadError(f"{path}: no such file")
    if not volume_suffix(path):
        raise ImageReadError(f"{path}: a segmentation is read from .seg.nrrd, NRRD, NIfTI or MetaImage")
    check_volume_file(path)
    layers, header = _read_layers(path)
    if names_file is not None:
        segments = _of_names(read_names(names_file), path, layers)
    elif any(re.fullmatch(r"Segment\d+_ID|Segment\d+_Name", key) for key in header):
        segments = _of_nrrd(header, path, len(layers))
    elif volume_suffix(path).startswith(".nii") and (names := _nifti_names(path)):
        segments = _of_names(names, path, layers)
    else:
        raise InputError(f"{path}: does not say what its labels are called: give their names in a JSON or CSV file")
    return Segmentation(tuple(segments), tuple(layers))


def find_structures(segmentation: Segmentation, image: sitk.Image) -> Obstacles:
    """The obstacles of a segmentation for paths in an image, by structure ("kidney" for both kidneys).

    Raises GeometryError where no segment lies in the image. Segments that are empty or beside the image are left out.
    """
    by_number = dict(enumerate(segmentation.segments, start=1))
    labels = match_labels(
        {number: segment.name for number, segment in by_number.items()},
        {number: segment.code for number, segment in by_number.items() if segment.code is not None},
    )
    wanted: dict[str, list[Segment]] = {}
    matches, notes = [], []
    for number, segment in by_number.items():
        match = labels.matched.get(number)
        if match is None or match.structure is None:
            reason = labels.unmatched[number][1]
            matches.append((segment, Match(None, reason=reason)))
            notes.append(f"segment '{segment.name}' is not taken as an obstacle: {reason}")
            continue
        matches.append((segment, match))
        if match.structure.is_obstacle:
            wanted.setdefault(match.structure.name, []).append(segment)
    _require_overlap(segmentation.layers[0], image)
    masks = {}
    for name, segments in wanted.items():
        mask = _joined(segmentation.layers, segments)
        if mask is not None and _overlaps(mask, image):
            masks[name] = mask
    spared = sorted({match.structure.name for _, match in matches if match.structure} - set(wanted))
    if spared:
        notes.append(f"no obstacles by their role: {', '.join(spared)}")
    return Obstacles(masks, tuple(matches), tuple(notes))


def read_names(path: str | Path) -> dict[int, str]:
    """Names of labels from a JSON or CSV file; raises InputError or FormatError, naming the file."""
    path = Path(path)
    pairs = _csv_pairs(path) if path.suffix.lower() == ".csv" else _json_pairs(path)
    names: dict[int, str] = {}
    for label, name in pairs:
        try:
            number = int(str(label))
        except ValueError as error:
            raise FormatError(f"{path}: '{label}' is not a label, a whole number (of '{name}')") from error
        if number < 0 or not str(name).strip():
            raise FormatError(f"{path}: label {number} has no name, or is below 0")
        if number in names:
            raise FormatError(f"{path}: label {number} is named twice ('{names[number]}' and '{name}')")
        names[number] = str(name).strip()
    if not any(names):
        raise FormatError(f"{path}: names no labels")
    return names


def _json_pairs(path: Path) -> list[tuple[Any, Any]]:
    document = read_json(path)
    table = document.get("labels", document)
    if not isinstance(table, dict) or not all(isinstance(value, str | int) for value in table.values()):
        raise FormatError(f"{path}: expected an object of labels and names, such as {{'5': 'liver'}}")
    return [(value, key) if isinstance(value, int) else (key, value) for key, value in table.items()]


def _csv_pairs(path: Path) -> list[tuple[Any, Any]]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise FormatError(f"{path}: not a CSV text ({error})") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    label = next((header.index(column) for column in _LABEL_COLUMNS if column in header), None)
    name = next((header.index(column) for column in _NAME_COLUMNS if column in header), None)
    if label is None or name is None:
        raise FormatError(f"{path}: its first row has to name a column 'label' and a column 'name'")
    if any(len(row) <= max(label, name) for row in rows):
        raise FormatError(f"{path}: a row is shorter than the first one")
    return [(row[label].strip(), row[name]) for row in rows[1:]]


# --- files ----------------------------------------------------------------------------------


def _read_layers(path: Path) -> tuple[list[sitk.Image], dict[str, str]]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            image = reader.Execute()
    except RuntimeError as error:
        raise ImageReadError(f"{path}: cannot be read as a segmentation: damaged or of another kind") from error
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    if image.GetDimension() == 4 and image.GetNumberOfComponentsPerPixel() == 1:
        layers = [image[..., number] for number in range(image.GetSize()[3])]
    elif image.GetNumberOfComponentsPerPixel() > 1:
        layers = [
            sitk.VectorIndexSelectionCast(image, number) for number in range(image.GetNumberOfComponentsPerPixel())
        ]
    else:
        layers = [image]
    for layer in layers:
        require_3d_finite(layer, str(path))
        require_labels(layer, str(path))
    return layers, header


def _of_nrrd(header: Mapping[str, str], path: Path, layer_count: int) -> list[Segment]:
    """The segments of 3D Slicer's header: Segment0_Name, _LabelValue, _Layer and _Tags with the terminology."""
    numbers = sorted({int(found[1]) for key in header if (found := re.match(r"Segment(\d+)_", key))})
    segments, taken = [], set()
    for number in numbers:
        name = header.get(f"Segment{number}_Name", header.get(f"Segment{number}_ID", ""))
        try:
            label = int(header.get(f"Segment{number}_LabelValue", "1"))
            layer = int(header.get(f"Segment{number}_Layer", str(number if layer_count == len(numbers) else 0)))
        except ValueError as error:
            raise ImageReadError(f"{path}: segment '{name}' has a label or layer that is no number") from error
        if not 0 <= layer < layer_count:
            raise ImageReadError(f"{path}: segment '{name}' lies in layer {layer}, and there are {layer_count}")
        if label <= 0 or (layer, label) in taken:
            raise ImageReadError(f"{path}: segment '{name}' has label {label}, which is background or another's")
        taken.add((layer, label))
        segments.append(Segment(name, label, layer, _code_of_tags(header.get(f"Segment{number}_Tags", ""))))
    return segments


def _code_of_tags(tags: str) -> Code | None:
    """The type and region of TerminologyEntry: context~category~type~modifier~context~region~modifier, each a^b^c."""
    entry = next((tag.partition(":")[2] for tag in tags.split("|") if tag.startswith("TerminologyEntry:")), "")
    parts = [part.split("^") for part in entry.split("~")]
    if len(parts) < 3 or len(parts[2]) < 3 or not parts[2][1]:
        return None
    scheme, value, meaning = parts[2][:3]
    region = parts[5][1] if len(parts) > 5 and len(parts[5]) > 1 else ""
    return Code(scheme, value, meaning, region)


def _of_names(names: Mapping[int, str], path: Path, layers: list[sitk.Image]) -> list[Segment]:
    if len(layers) > 1:
        raise InputError(f"{path}: has {len(layers)} layers, so a label alone does not say which segment is meant")
    present = require_labels(layers[0], str(path))
    unnamed = [label for label in present if label and label not in names]
    named = [Segment(name, label) for label, name in sorted(names.items()) if label]
    return named + [Segment(f"label {label}", label) for label in unnamed]


def _nifti_names(path: Path) -> dict[int, str]:
    """Names in a NIfTI header's XML extension (<Label Key="5">liver</Label>); none where there is no such."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        header = stream.read(_MAX_HEADER_BYTES)
    order = "<" if struct.unpack_from("<i", header)[0] == 348 else ">"
    if struct.unpack_from(order + "i", header)[0] != 348 or len(header) < 352 or not header[348]:
        return {}
    end, start = int(struct.unpack_from(order + "f", header, 108)[0]), 352
    while start + 8 <= min(end, len(header)):
        size = struct.unpack_from(order + "i", header, start)[0]
        if size < 8:
            break
        text = header[start + 8 : start + size].rstrip(b"\0 \r\n\t")
        if b"<LabelTable" in text:
            return _xml_names(text, path)
        start += size
    return {}


def _xml_names(text: bytes, path: Path) -> dict[int, str]:
    if b"<!" in text.replace(b"<![CDATA[", b""):
        raise FormatError(f"{path}: the XML in its header declares more than labels")
    try:
        labels = ElementTree.fromstring(text).iter("Label")
        return {int(label.attrib["Key"]): (label.text or "").strip() for label in labels}
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise FormatError(f"{path}: the names of its labels in the header cannot be read ({error})") from error


# --- masks ----------------------------------------------------------------------------------


def _joined(layers: tuple[sitk.Image, ...], segments: list[Segment]) -> sitk.Image | None:
    """All voxels of some segments, on the part of the grid that they fill; None where there are none."""
    inside: npt.NDArray[np.bool_] | None = None
    for number, layer in enumerate(layers):
        values = [segment.label for segment in segments if segment.layer == number]
        if values:
            array = sitk.GetArrayViewFromImage(layer)
            table = np.zeros(max(int(array.max()), *values) + 1, dtype=bool)
            table[values] = True
            found = table[np.round(array).astype(np.intp) if array.dtype.kind == "f" else array]
            inside = found if inside is None else inside | found
    if inside is None or not inside.any():
        return None
    filled = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(int(side[0]), int(side[-1]) + 1) for side in filled)
    mask = sitk.GetImageFromArray(inside[box].astype(np.uint8))
    mask.SetSpacing(layers[0].GetSpacing())
    mask.SetDirection(layers[0].GetDirection())
    mask.SetOrigin(layers[0].TransformIndexToPhysicalPoint([side.start for side in reversed(box)]))
    return mask


def _overlaps(mask: sitk.Image, image: sitk.Image) -> bool:
    (lower, upper), (image_lower, image_upper) = frames.bounding_box_ras(mask), frames.bounding_box_ras(image)
    return bool(np.all(lower < image_upper) and np.all(upper > image_lower))


def _require_overlap(layer: sitk.Image, image: sitk.Image) -> None:
    if not _overlaps(layer, image):
        raise GeometryError(
            f"the structures lie beside the image ({frames.describe_grid(layer)}; {frames.describe_grid(image)}): "
            "check the frame of reference"
        )
