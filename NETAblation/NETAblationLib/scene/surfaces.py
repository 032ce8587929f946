"""Surfaces in the scene: models with numbers at their points, and the margin in its colors.

The margin model is the tumor's surface with the signed margin at each point, colored in three
bands. Since many readers are color blind, lines at the limits of the bands are a second cue: a
thick one at 0 mm, a thin one at the margin asked for. Surface that cannot have the margin because
the liver ends there is covered in gray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core.errors import GeometryError
from ..core.surfaces import Surface
from .nodes import create_node
from .overlays import Key
from .provenance import Provenance, inputs_of, nodes_with_role

SIGNED_MARGIN = "Signed margin (mm)"
EVALUABLE = "Evaluable"
DIFFERENCE = "Achieved less predicted margin (mm)"

MARGIN_ROLE = "margin_surface"
CONTOUR_ROLE = "margin_contour"
NOT_EVALUABLE_ROLE = "margin_not_evaluable"
COLOR_ROLE = "margin_colors"

#: The design's three bands; red, amber and green that differ in lightness too. User-set.
BAND_COLORS = ((0.79, 0.10, 0.12), (1.00, 0.76, 0.15), (0.10, 0.62, 0.35))
NOT_EVALUABLE_COLOR = (0.55, 0.55, 0.58)
CONTOUR_COLOR = (0.08, 0.08, 0.10)

LEGEND_TITLE = "Signed margin, mm"

#: Colors of the difference from the plan: less and more than predicted, white between. User-set.
_DIFFERENCE_ENDS, _DIFFERENCE_STEPS = ((0.13, 0.30, 0.70), (0.70, 0.10, 0.15)), 41

#: Radius of the lines at 0 mm and at the margin asked for. User-set.
_CONTOUR_RADII_MM = (0.45, 0.22)
_THICK = "thick line"

#: Thickness of a surface's cut in the slices, in pixels. User-set.
_CUT_PIXELS = 2

#: Covers lie this far above the surface, so that they are not lost in it. User-set.
_COVER_OFFSET_MM = 0.2


@dataclass(frozen=True)
class MarginModels:
    """The nodes that show a margin; `contours` and `not_evaluable` only where there are such."""

    surface: Any
    contours: tuple[Any, ...]
    not_evaluable: Any | None


def add_surface(
    surface: Surface,
    name: str,
    provenance: Provenance,
    *,
    color: tuple[float, float, float] = (0.8, 0.8, 0.8),
    opacity: float = 1.0,
    point_scalars: Mapping[str, npt.ArrayLike] | None = None,
) -> Any:
    """Add a surface as vtkMRMLModelNode, points kept as they are (float64 RAS mm).

    `point_scalars` holds an array (N,) for each name. Raises GeometryError for other lengths.
    """
    data = polydata(surface)
    for scalar_name, values in (point_scalars or {}).items():
        _add_point_array(data, scalar_name, np.asarray(values), name)
    return _add_model(data, name, provenance, color, opacity)


def show_cut(node: Any, is_shown: bool = True) -> None:
    """Show where the slices cut a surface, as a line, or hide that; a margin's line has the colors of the margin."""
    display = node.GetDisplayNode()
    display.SetVisibility2D(is_shown)
    display.SetSliceIntersectionThickness(_CUT_PIXELS)


def update_surface(node: Any, surface: Surface) -> None:
    """Put another surface in the place of a model's; point scalars do not outlive that."""
    node.SetAndObservePolyData(polydata(surface))


def add_margin_surface(
    surface: Surface,
    signed_margin_mm: npt.ArrayLike,
    name: str,
    provenance: Provenance,
    *,
    margin_mm: float = 5.0,
    is_evaluable: npt.ArrayLike | None = None,
) -> MarginModels:
    """Add the tumor's surface colored by its signed margin, with lines at the limits of the bands.

    `signed_margin_mm` and `is_evaluable` have shape (N,), one value for each point; the limits
    are 0 and `margin_mm`. Raises GeometryError for other lengths or values that are not finite.
    """
    margins = np.asarray(signed_margin_mm, dtype=np.float64)
    evaluable = np.ones(len(margins), bool) if is_evaluable is None else np.asarray(is_evaluable, bool)
    if not np.isfinite(margins).all():
        raise GeometryError(f"{name}: a signed margin is not a finite number")
    if not margin_mm > 0:
        raise GeometryError(f"{name}: the margin asked for must be above 0 mm, got {margin_mm:g}")
    scalars: dict[str, npt.ArrayLike] = {SIGNED_MARGIN: margins, EVALUABLE: evaluable.astype(np.uint8)}
    node = add_surface(surface, name, provenance, point_scalars=scalars)
    _color_by_margin(node, margin_colors(margin_mm), margin_mm)
    contours = tuple(
        model
        for limit_mm, radius_mm in zip((0.0, margin_mm), _CONTOUR_RADII_MM, strict=True)
        if (model := _add_contour(node, limit_mm, radius_mm)) is not None
    )
    return MarginModels(node, contours, _add_cover(node, surface, evaluable))


def add_difference(node: Any, difference_mm: npt.ArrayLike) -> None:
    """Add what the margin gained or lost against the plan to a margin model, as a scalar beside the margin.

    `difference_mm` has shape (N,), one for each point; the model stays colored by the margin. Raises GeometryError for
    another length.
    """
    _add_point_array(node.GetPolyData(), DIFFERENCE, np.asarray(difference_mm, dtype=np.float64), node.GetName())
    node.Modified()


def show_difference(node: Any, *, shown: bool = True, margin_mm: float = 5.0) -> None:
    """Color a margin model by what it gained or lost against the plan, or again by the margin.

    The colors run from blue (less than predicted by `margin_mm`) over white to red (more), which color-blind
    readers tell apart. Raises GeometryError where the model has no difference.
    """
    if not shown:
        _color_by_margin(node, margin_colors(margin_mm), margin_mm)
        return
    point_scalars(node, DIFFERENCE)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_difference_colors().GetID())
    display.SetActiveScalar(DIFFERENCE, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarRange(-margin_mm, margin_mm)


def _difference_colors() -> Any:
    """A table from blue over white to red, made once per scene."""
    name = "Achieved less predicted margin"
    for node in nodes_with_role(COLOR_ROLE):
        if node.GetName() == name:
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetAttribute("NETAblation.Role", COLOR_ROLE)
    node.SetTypeToUser()
    node.SetNumberOfColors(_DIFFERENCE_STEPS)
    for index, share in enumerate(np.linspace(-1, 1, _DIFFERENCE_STEPS).tolist()):
        ends = _DIFFERENCE_ENDS[int(share > 0)]
        red, green, blue = (1 - abs(share) * (1 - part) for part in ends)
        node.SetColor(index, f"{share:+.2f}", red, green, blue, 1.0)
    return node


def surface_of(node: Any) -> Surface:
    """The surface of a model node, in the node's own frame.

    Raises GeometryError for a model without triangles.
    """
    data = node.GetPolyData()
    triangles = vtk_to_numpy(data.GetPolys().GetConnectivityArray()) if data is not None else np.empty(0)
    if data is None or not len(triangles) or len(triangles) != 3 * data.GetNumberOfPolys():
        raise GeometryError(f"model {node.GetName()}: is not made of triangles")
    return Surface(
        vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64), triangles.reshape(-1, 3).astype(np.int64)
    )


def point_scalars(node: Any, scalar_name: str) -> npt.NDArray[Any]:
    """A copy of the array (N,) of this name at the points of a model; raises GeometryError where absent."""
    array = node.GetPolyData().GetPointData().GetArray(scalar_name) if node.GetPolyData() else None
    if array is None:
        raise GeometryError(f"model {node.GetName()}: has no point array '{scalar_name}'")
    return vtk_to_numpy(array).copy()


def margin_colors(margin_mm: float = 5.0) -> Any:
    """The color table of the bands below 0, from 0 to `margin_mm`, and above; made once per scene.

    Three colors over the range from -`margin_mm` to 2 `margin_mm` change exactly at 0 and at
    `margin_mm`; the outer ones hold for all that lies beyond.
    """
    name = f"Signed margin, {margin_mm:g} mm asked for"
    for node in nodes_with_role(COLOR_ROLE):
        if node.GetName() == name:
            return node
    # Without display nodes or hierarchy item: the application does not list color tables there.
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetAttribute("NETAblation.Role", COLOR_ROLE)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(BAND_COLORS))
    labels = ("below 0", f"0 to {margin_mm:g}", f"{margin_mm:g} and more")
    for index, (label, rgb) in enumerate(zip(labels, BAND_COLORS, strict=True)):
        node.SetColor(index, label, *rgb, 1.0)
    node.GetLookupTable().SetTableRange(*_color_range(margin_mm))
    return node


def add_margin_legend(node: Any) -> Any:
    """Add the scale of a margin model: the three colors with their limits in words."""
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    legend.SetAndObserveColorNodeID(node.GetDisplayNode().GetColorNodeID())
    legend.SetTitleText(LEGEND_TITLE)
    legend.SetUseColorNamesForLabels(True)
    legend.SetMaxNumberOfColors(len(BAND_COLORS))
    legend.SetNumberOfLabels(len(BAND_COLORS))
    legend.SetLabelFormat("%s")
    for style in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        style.SetFontFamilyToArial()
        style.SetItalic(False)
        style.SetBold(False)
    return legend


def show_margin_legend(node: Any, is_shown: bool, words: str = "") -> None:
    """Show the scale of a margin model in the 3D views with words above it, or hide it; made when it is first shown."""
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(node)
    if legend is None and is_shown:
        legend = add_margin_legend(node)
    if legend is not None:
        legend.SetTitleText(f"{words}\n{LEGEND_TITLE}" if words else LEGEND_TITLE)
        legend.SetVisibility(is_shown)


def margin_key(node: Any) -> list[Key]:
    """The marks on a margin model beside its bands, in words: the lines and the gray cover."""
    prefix = f"{node.GetName()}: "
    keys = []
    for role, width in ((CONTOUR_ROLE, 2.0), (NOT_EVALUABLE_ROLE, 8.0)):
        for mark in nodes_with_role(role):
            if node in inputs_of(mark):
                words = mark.GetName().removeprefix(prefix)
                red, green, blue = mark.GetDisplayNode().GetColor()
                keys.append(Key(words, (red, green, blue), 2.5 * width if words.startswith(_THICK) else width))
    return keys


def polydata(surface: Surface) -> vtk.vtkPolyData:
    """A vtkPolyData in RAS mm with the points of `surface` in double precision and their normals."""
    data = surface.to_polydata()
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(surface.points_ras_mm, deep=True))
    data.SetPoints(points)
    normals = numpy_to_vtk(surface.point_normals.astype(np.float32), deep=True)
    normals.SetName("Normals")
    data.GetPointData().SetNormals(normals)
    return data


def _add_model(
    data: vtk.vtkPolyData, name: str, provenance: Provenance, color: tuple[float, float, float], opacity: float
) -> Any:
    node = create_node("vtkMRMLModelNode", name, provenance)
    node.SetAndObservePolyData(data)
    display = node.GetDisplayNode()
    display.SetColor(color)
    display.SetOpacity(opacity)
    display.SetBackfaceCulling(False)
    display.SetVisibility2D(False)
    display.SetInterpolation(display.PhongInterpolation)
    return node


def _add_point_array(data: vtk.vtkPolyData, scalar_name: str, values: npt.NDArray[Any], model: str) -> None:
    if values.shape != (data.GetNumberOfPoints(),):
        raise GeometryError(
            f"{model}: '{scalar_name}' needs one value for each of {data.GetNumberOfPoints()} points, "
            f"got shape {values.shape}"
        )
    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(scalar_name)
    data.GetPointData().AddArray(array)


def _color_by_margin(node: Any, colors: Any, margin_mm: float) -> None:
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.SetActiveScalar(SIGNED_MARGIN, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarVisibility(True)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(*_color_range(margin_mm))
    display.SetAmbient(0.25)  # the color carries the number, so shading must not darken it much
    display.SetDiffuse(0.8)
    display.SetSpecular(0.0)


def _color_range(margin_mm: float) -> tuple[float, float]:
    return -margin_mm, 2.0 * margin_mm


def _add_contour(margin: Any, limit_mm: float, radius_mm: float) -> Any | None:
    """The line of equal margin on the surface as a tube; None where no point lies there."""
    contour = vtk.vtkContourFilter()
    contour.SetInputData(margin.GetPolyData())
    contour.SetInputArrayToProcess(0, 0, 0, vtk.vtkDataObject.FIELD_ASSOCIATION_POINTS, SIGNED_MARGIN)
    contour.SetValue(0, limit_mm)
    strips = vtk.vtkStripper()
    strips.SetInputConnection(contour.GetOutputPort())
    strips.JoinContiguousSegmentsOn()
    tube = vtk.vtkTubeFilter()
    tube.SetInputConnection(strips.GetOutputPort())
    tube.SetRadius(radius_mm)
    tube.SetNumberOfSides(8)
    tube.Update()
    if contour.GetOutput().GetNumberOfPoints() == 0:
        return None
    data = vtk.vtkPolyData()
    data.CopyStructure(tube.GetOutput())
    data.GetPointData().SetNormals(tube.GetOutput().GetPointData().GetNormals())
    provenance = Provenance(CONTOUR_ROLE, inputs=(margin,))
    line = _THICK if limit_mm == 0 else "thin line"
    return _add_model(
        data,
        f"{margin.GetName()}: {line}: {limit_mm:g} mm",
        provenance,
        CONTOUR_COLOR,
        1.0,
    )


def _add_cover(margin: Any, surface: Surface, evaluable: npt.NDArray[np.bool_]) -> Any | None:
    """The triangles with a point that is not evaluable, in gray just above the surface."""
    if evaluable.shape != (len(surface.points_ras_mm),):
        raise GeometryError(f"{margin.GetName()}: is_evaluable needs one value for each point")
    covered = surface.triangles[~evaluable[surface.triangles].all(axis=1)]
    if not len(covered):
        return None
    raised = surface.points_ras_mm + _COVER_OFFSET_MM * surface.point_normals
    used, triangles = np.unique(covered, return_inverse=True)
    cover = Surface(raised[used], triangles.reshape(-1, 3))
    provenance = Provenance(NOT_EVALUABLE_ROLE, inputs=(margin,))
    name = f"{margin.GetName()}: not evaluable (at the capsule)"
    return add_surface(cover, name, provenance, color=NOT_EVALUABLE_COLOR)
