"""The picture of the flat map: its classes have their areas, and it reads without colors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import vtk

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.flat_map import flat_maps
from NETAblationLib.core.margin_map import margin_map_pixels, margin_map_svg, png_of_pixels
from NETAblationLib.core.margins import measure_margin
from support.shapes import grid, mask_of, sphere


@pytest.fixture(scope="module")
def margin():
    image = grid((-24.0,) * 3, (24.0,) * 3, (1.0, 1.0, 1.0))
    return measure_margin(mask_of(sphere((0.3, 0.2, 0.1), 9.0), image), mask_of(sphere((0.3, -5.8, 0.1), 13.5), image))


def test_classes_take_the_share_of_the_map_that_they_have_of_the_surface(margin):
    (flat,) = flat_maps(margin.surface)
    values = flat.raster(margin.signed_margin_mm, 400)
    seen = values[np.isfinite(values)]
    shares = margin.surface_fraction
    assert (seen < 0).mean() == pytest.approx(shares["below_0"], abs=0.02)
    assert (seen >= 5).mean() == pytest.approx(shares["at_least_5"], abs=0.02)
    pixels = margin_map_pixels(flat, margin.signed_margin_mm, margin.is_evaluable)
    inside = pixels[..., 3] > 0
    is_green = (pixels[..., :3] == (0x2E, 0x7D, 0x32)).all(axis=-1)
    assert is_green[inside].mean() == pytest.approx(shares["at_least_5"], abs=0.03)
    # Stripes and dots: both of the worse classes hold white too.
    assert (pixels[inside][:, :3] == 255).all(axis=1).mean() > 0.05
    gray = margin_map_pixels(flat, margin.signed_margin_mm, np.zeros(len(margin.is_evaluable), bool))
    assert (gray[inside][:, :3] == (0x8C, 0x8C, 0x94)).all()


def test_the_svg_names_the_sides_and_the_place_of_the_mam(margin):
    text = margin_map_svg(margin)
    for word in ("anterior", "posterior", "left", "right", "cranial", "caudal", "MAM"):
        assert word in text
    # The zone lies too far back, so the thin place is in front: in the middle of the map.
    width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', text)[0])
    x, y = (float(value) for value in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)[0])
    assert x == pytest.approx(width / 2, abs=0.08 * width)
    assert y == pytest.approx(height / 2, abs=0.08 * width)
    with pytest.raises(InputError, match="measure it again"):
        margin_map_svg(replace(margin, surface=None, signed_margin_mm=np.empty(0), is_evaluable=np.empty(0, bool)))


def test_png_holds_the_pixels_the_first_row_on_top(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (5, 7, 4)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png_of_pixels(pixels))
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(tmp_path / "a.png"))
    reader.Update()
    image = reader.GetOutput()
    assert image.GetDimensions()[:2] == (7, 5)
    assert [image.GetScalarComponentAsFloat(2, 4, 0, n) for n in range(4)] == pixels[0, 2].tolist()
    with pytest.raises(InputError, match="shape"):
        png_of_pixels(pixels[..., 0])
