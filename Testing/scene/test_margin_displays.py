"""Histogram, difference from the plan and the deformation's grid, as nodes of the scene."""

import numpy as np
import pytest
import SimpleITK as sitk
from vtk.util.numpy_support import vtk_to_numpy

from NETAblationLib.core import frames
from NETAblationLib.core.errors import GeometryError, InputError
from NETAblationLib.core.surfaces import mask_surface
from NETAblationLib.scene import fusion_looks, margin_plots, surfaces, transforms, volumes
from NETAblationLib.scene.provenance import Provenance
from support import shapes

GRID = shapes.grid((-12, -12, -12), (12, 12, 12), (1.5, 1.5, 1.5))
WINDOW = (0.0, 200.0)


def test_the_histogram_holds_the_shares_by_area(scene):
    margins, areas = np.array([-0.5, 0.5, 0.6, 5.5]), np.array([1.0, 2.0, 3.0, 4.0])
    found = margin_plots.add_margin_histogram(margins, areas, "Lesion")
    table = found.table.GetTable()
    middles, shares = (vtk_to_numpy(table.GetColumn(column)) for column in (0, 1))
    assert dict(zip(middles, shares, strict=True))[0.5] == pytest.approx(50.0)
    assert shares.sum() == pytest.approx(100.0)
    words = [table.GetColumn(2).GetValue(row) for row in range(table.GetNumberOfRows())]
    assert (words[0], words[1], words[-1]) == ("below 0", "0 to 5", "5 and more")
    assert found.chart.GetNthPlotSeriesNode(0) is found.series
    limits, *lines = found.limits
    assert [limits.GetTable().GetColumnByName(line.GetXColumnName()).GetValue(0) for line in lines] == [0.0, 5.0]
    assert [found.chart.GetNthPlotSeriesNode(number) for number in (1, 2)] == lines
    assert [line.GetColor() for line in lines] == [surfaces.BAND_COLORS[0], surfaces.BAND_COLORS[-1]]
    assert found.series.GetTableNode() is found.table
    with pytest.raises(InputError, match="histogram"):
        margin_plots.add_margin_histogram([], [], "Lesion")


def test_the_difference_from_the_plan_is_a_second_scalar(scene):
    surface = mask_surface(shapes.mask_of(shapes.sphere((0, 0, 0), 8), GRID))
    margin = np.linspace(-2, 8, len(surface.points_ras_mm))
    model = surfaces.add_margin_surface(surface, margin, "Margin", Provenance("margin_surface")).surface
    with pytest.raises(GeometryError, match="no point array"):
        surfaces.show_difference(model)
    surfaces.add_difference(model, margin - 5)
    assert surfaces.point_scalars(model, surfaces.DIFFERENCE) == pytest.approx(margin - 5)
    assert model.GetDisplayNode().GetActiveScalarName() == surfaces.SIGNED_MARGIN
    surfaces.show_difference(model)
    assert model.GetDisplayNode().GetActiveScalarName() == surfaces.DIFFERENCE
    assert model.GetDisplayNode().GetScalarRange() == (-5.0, 5.0)
    surfaces.show_difference(model, shown=False)
    assert model.GetDisplayNode().GetActiveScalarName() == surfaces.SIGNED_MARGIN
    with pytest.raises(GeometryError, match="one value for each"):
        surfaces.add_difference(model, [1.0])


def test_the_grid_of_the_deformation_is_shown_and_hidden(scene):
    node = volumes.add_volume(sitk.Cast(GRID, sitk.sitkInt16), "Before", Provenance("planning_image"))
    transform = transforms.add_transform(frames.affine_transform(np.eye(4)), "before", "after", Provenance("fusion"))
    display = fusion_looks.show_deformation_grid(transform, node, spacing_mm=10.0)
    assert display.GetVisibility()
    assert display.GetVisualizationMode() == display.VIS_MODE_GRID
    assert display.GetGridSpacingMm() == 10.0
    assert display.GetRegionNode() is node
    assert not fusion_looks.show_deformation_grid(transform, node, shown=False).GetVisibility()
    with pytest.raises(InputError, match="spacing"):
        fusion_looks.show_deformation_grid(transform, node, spacing_mm=0.0)
