"""The margin on the flat map of the whole tumor, as a picture that reads without colors too."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .errors import InputError
from .flat_map import FlatMap, flat_maps

if TYPE_CHECKING:
    from .margins import MarginResult

FloatArray = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

#: Class of a signed margin: lower bound in mm, word, color, hatching (id of an SVG pattern).
MARGIN_CLASSES = (
    (-np.inf, "not covered (below 0 mm)", "#c62828", "hatch-red"),
    (0.0, "0 to 5 mm", "#f9a825", "hatch-amber"),
    (5.0, "5 mm and more", "#2e7d32", "plain-green"),
)

#: Surface that cannot have the margin, and the lines at the limits of the classes.
_NOT_EVALUABLE, _LINE = "#8c8c94", "#1a2330"
#: Width of a map in pixels, and period of the hatching. User-set.
_WIDTH, _PERIOD = 960, 14
#: Room around the ellipse for the names of the sides, as a share of its width.
_BORDER = 0.03


def margin_map_pixels(flat: FlatMap, signed_margin_mm: npt.ArrayLike, is_evaluable: npt.ArrayLike) -> Pixels:
    """The flat map of one part in the colors of the margin's classes, (H, W, 4) red, green, blue and opacity.

    `signed_margin_mm` and `is_evaluable` have one value for each point of the whole surface. Below 0 is striped, 0 to 5
    mm dotted, and dark lines run between the classes; what is not evaluable is gray.
    """
    margin = np.asarray(signed_margin_mm, dtype=np.float64)[flat.point_numbers]
    evaluable = np.asarray(is_evaluable, dtype=bool)[flat.point_numbers]
    values, known_share = np.moveaxis(flat.raster(np.stack([margin, evaluable], axis=1), _WIDTH), -1, 0)
    inside = np.isfinite(values)
    known = np.nan_to_num(known_share) >= 0.5
    number = np.digitize(np.nan_to_num(values), [row[0] for row in MARGIN_CLASSES[1:]])
    number[~known] = len(MARGIN_CLASSES)
    palette = np.array([_rgb(color) for color in (*(row[2] for row in MARGIN_CLASSES), _NOT_EVALUABLE)], dtype=np.uint8)
    pixels = np.zeros((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3] = palette[number]
    row, column = np.indices(values.shape)
    is_striped = (number == 0) & ((row + column) % _PERIOD < _PERIOD // 3)
    is_dotted = (number == 1) & (np.hypot(row % _PERIOD - _PERIOD / 2, column % _PERIOD - _PERIOD / 2) < 0.17 * _PERIOD)
    pixels[is_striped | is_dotted, :3] = 255
    is_edge = np.zeros_like(inside)
    for axis in (0, 1):
        differs = np.diff(number, axis=axis) != 0
        low, high = (tuple(s if a == axis else slice(None) for a in (0, 1)) for s in (slice(None, -1), slice(1, None)))
        is_edge[low] |= differs
        is_edge[high] |= differs
    pixels[is_edge & inside, :3] = _rgb(_LINE)
    pixels[..., 3] = np.where(inside, 255, 0)
    return pixels


def png_of_pixels(pixels: Pixels) -> bytes:
    """A PNG file of pixels (H, W, 3 or 4), the first row on top; needs no OpenGL."""
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(f"picture: pixels of shape {pixels.shape} are not (H, W, 3 or 4)")
    height, width, channels = pixels.shape
    data = vtk.vtkImageData()
    data.SetDimensions(width, height, 1)
    flipped = np.ascontiguousarray(pixels[::-1], dtype=np.uint8).reshape(-1, channels)
    data.GetPointData().SetScalars(numpy_to_vtk(flipped, deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(data)
    writer.WriteToMemoryOn()
    writer.Write()
    return bytes(vtk_to_numpy(writer.GetResult()))


def margin_map_svg(margin: MarginResult) -> str:
    """The flat maps of all parts of a measured tumor as inline SVG, with the sides' names and the place of the MAM.

    Raises InputError for a margin that was read from a file, GeometryError for a surface that has no map
    (:func:`~.flat_map.flat_maps`).
    """
    if margin.surface is None:
        raise InputError("a margin read from a file has no surface, hence no map: measure it again")
    values: dict[str, Any] = {"signed_margin_mm": margin.signed_margin_mm, "is_evaluable": margin.is_evaluable}
    worst = None
    if margin.is_evaluable.any():
        worst = int(np.flatnonzero(margin.is_evaluable)[np.argmin(margin.signed_margin_mm[margin.is_evaluable])])
    return "".join(_one_map(flat, worst, margin.mam_mm, **values) for flat in flat_maps(margin.surface))


def _one_map(flat: FlatMap, worst: int | None, mam_mm: float | None, **values: Any) -> str:
    png = base64.b64encode(png_of_pixels(margin_map_pixels(flat, **values))).decode("ascii")
    half_width, half_height = flat.half_axes_mm
    border, scale = 2 * half_width * _BORDER, 640 / (2 * half_width * (1 + 2 * _BORDER))
    width, height = (2 * (half + border) * scale for half in (half_width, half_height))

    def at(place: npt.ArrayLike) -> tuple[float, float]:
        x, y = np.asarray(place, dtype=np.float64).tolist()
        return (x + half_width + border) * scale, (half_height + border - y) * scale

    left, top = at((-half_width, half_height))
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Flat map of the margin">'
        f'<image x="{left:.1f}" y="{top:.1f}" width="{2 * half_width * scale:.1f}" '
        f'height="{2 * half_height * scale:.1f}" href="data:image/png;base64,{png}"/>'
        f'<ellipse cx="{width / 2:.1f}" cy="{height / 2:.1f}" rx="{half_width * scale:.1f}" '
        f'ry="{half_height * scale:.1f}" fill="none" stroke="{_LINE}"/>'
    ]
    parts += [_label(*at(place), name, width) for name, place in flat.compass.items()]
    mine = np.flatnonzero(flat.point_numbers == worst) if worst is not None else np.empty(0, dtype=np.int64)
    if len(mine):
        x, y = at(flat.points_mm[mine[0]])
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="#fff" stroke-width="5"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{_LINE}" stroke-width="2"/>'
        )
        parts.append(_label(x, y + 24, f"MAM {mam_mm:.1f} mm", width))
    return "".join([*parts, "</svg>"])


def _label(x: float, y: float, words: str, width: float) -> str:
    """Words around a place, kept within the picture."""
    half = 3.6 * len(words)
    x = min(max(x, half), width - half)
    return (
        f'<text x="{x:.1f}" y="{y + 4:.1f}" font-size="12" font-weight="600" text-anchor="middle" fill="{_LINE}" '
        f'stroke="#fff" stroke-width="3" paint-order="stroke">{html.escape(words)}</text>'
    )


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
