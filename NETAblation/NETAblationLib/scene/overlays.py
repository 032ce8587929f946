"""Words and marks on a picture: orientation letters, a scale bar, colored names, a title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import vtk

Color = tuple[float, float, float]

WHITE: Color = (1.0, 1.0, 1.0)
_LETTERS = ("RL", "AP", "SI")

#: Text height as share of the picture's shorter side. User-set.
_TEXT_FRACTION = 0.034

#: Lengths that a scale bar may have, mm; the longest that fits a quarter of the picture is drawn.
_BAR_LENGTHS_MM = (1, 2, 5, 10, 20, 50, 100, 200)


class Key(NamedTuple):
    """A name in the key of a picture, with the color and the width in pixels of its line."""

    name: str
    color: Color
    width: float = 4.0


class Overlay:
    """A layer of words and lines above a picture; places are fractions of the picture's size."""

    def __init__(self, window: vtk.vtkRenderWindow, text_color: Color = WHITE, shadow: bool = True) -> None:
        """Add a renderer above those of `window`."""
        self.renderer = vtk.vtkRenderer()
        layer = window.GetNumberOfLayers()
        window.SetNumberOfLayers(layer + 1)
        self.renderer.SetLayer(layer)
        self.renderer.InteractiveOff()
        window.AddRenderer(self.renderer)
        self._size = window.GetSize()
        self._text_color = text_color
        self._shadow = shadow

    @property
    def text_pixels(self) -> int:
        """Height of a line of text in pixels."""
        return max(11, round(_TEXT_FRACTION * min(self._size)))

    def text(
        self,
        words: str,
        x: float,
        y: float,
        *,
        color: Color | None = None,
        scale: float = 1.0,
        horizontal: str = "Left",
        vertical: str = "Bottom",
        bold: bool = False,
        plate: Color | None = None,
    ) -> None:
        """Write words at (x, y), fractions from the lower left corner, on a plate of a color where given."""
        actor = vtk.vtkTextActor()
        actor.SetInput(words)
        style = actor.GetTextProperty()
        style.SetFontFamilyToArial()
        style.SetFontSize(max(9, round(self.text_pixels * scale)))
        style.SetColor(color or self._text_color)
        style.SetBold(bold)
        style.SetShadow(self._shadow)
        if plate is not None:
            style.SetBackgroundColor(plate)
            style.SetBackgroundOpacity(0.8)
        getattr(style, f"SetJustificationTo{horizontal}")()
        getattr(style, f"SetVerticalJustificationTo{vertical}")()
        actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        actor.SetPosition(x, y)
        self.renderer.AddViewProp(actor)

    def title(self, words: str) -> None:
        """Write a title into the upper left corner."""
        self.text(words, 0.015, 0.985, scale=1.1, vertical="Top", bold=True)

    def names(self, entries: Sequence[Key]) -> None:
        """Write names in their colors into the lower left corner, each with its line."""
        step = 1.45 * self.text_pixels / self._size[1]
        bar = 1.6 * self.text_pixels / self._size[0]
        for row, (name, color, width) in enumerate(reversed(entries)):
            y = 0.02 + row * step
            self.text(name, 0.015 + bar + 0.01, y, color=color)
            self.line((0.015, y + 0.4 * step), (0.015 + bar, y + 0.4 * step), color, width)

    def orientation(self, right: npt.NDArray[np.float64], up: npt.NDArray[np.float64]) -> None:
        """Write the patient's directions at the four edges; `right` and `up` of the picture in RAS."""
        for letter, x, y, horizontal, vertical in (
            (direction_letter(-right), 0.012, 0.5, "Left", "Centered"),
            (direction_letter(right), 0.988, 0.5, "Right", "Centered"),
            (direction_letter(up), 0.5, 0.985, "Centered", "Top"),
            (direction_letter(-up), 0.5, 0.015, "Centered", "Bottom"),
        ):
            self.text(letter, x, y, scale=1.3, horizontal=horizontal, vertical=vertical, bold=True)

    def scale_bar(self, width_mm: float) -> None:
        """Draw a scale bar into the lower right corner of a picture that is `width_mm` wide."""
        length_mm = max((length for length in _BAR_LENGTHS_MM if length <= width_mm / 4.0), default=1)
        end, y = 0.965, 0.03
        start = end - length_mm / width_mm
        tick = 0.35 * self.text_pixels / self._size[1]
        self.line((start, y), (end, y), self._text_color, 2.0)
        for x in (start, end):
            self.line((x, y - tick), (x, y + tick), self._text_color, 2.0)
        self.text(f"{length_mm} mm", (start + end) / 2.0, y + 1.5 * tick, horizontal="Centered")

    def ring(self, x: float, y: float, radius_pixels: float, color: Color = WHITE) -> None:
        """Draw a ring around a place, with a dark rim so that it reads on any gray."""
        angles = np.linspace(0.0, 2.0 * np.pi, 49)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius_pixels / np.array(self._size)
        for line_color, width in (((0.0, 0.0, 0.0), 4.5), (color, 2.0)):
            self._polyline(circle + np.array([x, y]), line_color, width)

    def line(self, start: tuple[float, float], end: tuple[float, float], color: Color, width: float) -> None:
        """Draw a straight line."""
        self._polyline(np.array([start, end]), color, width)

    def _polyline(self, points: npt.NDArray[np.float64], color: Color, width: float) -> None:
        positions = vtk.vtkPoints()
        lines = vtk.vtkCellArray()
        lines.InsertNextCell(len(points))
        for x, y in points.tolist():
            lines.InsertCellPoint(positions.InsertNextPoint(x, y, 0.0))
        data = vtk.vtkPolyData()
        data.SetPoints(positions)
        data.SetLines(lines)
        coordinate = vtk.vtkCoordinate()
        coordinate.SetCoordinateSystemToNormalizedViewport()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(data)
        mapper.SetTransformCoordinate(coordinate)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.GetProperty().SetColor(color)
        actor.GetProperty().SetLineWidth(width)
        self.renderer.AddViewProp(actor)


def direction_letter(direction_ras: npt.NDArray[np.float64]) -> str:
    """The letter (R, L, A, P, S, I) of the patient's axis along which a direction mostly points."""
    axis = int(np.abs(direction_ras).argmax())
    return _LETTERS[axis][0 if direction_ras[axis] > 0 else 1]
