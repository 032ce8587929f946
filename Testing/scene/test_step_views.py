"""What is seen at each step: each view of the arrangement at its place, the lesion in its middle, nothing before it."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from NETAblationLib.core.margins import measure_margin
from NETAblationLib.scene import layouts, lesion_drawing, probes, segmentations, step_views, surfaces, zone_steps
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.nodes import create_node
from NETAblationLib.scene.offscreen import can_render
from NETAblationLib.scene.provenance import Provenance, nodes_with_role
from NETAblationLib.scene.terminology import term
from NETAblationLib.scene.vessel_surfaces import VESSEL_ROLE
from support import shapes, view_mosaic

CENTER = np.array([25.0, -12.0, 8.0])
#: The tumor's radius is 8 mm; the zone reaches least beyond it on the left.
WEAKEST = CENTER - np.array([8.0, 0.0, 0.0])
SKIN = CENTER + np.array([10.0, 90.0, 30.0])
GRID = shapes.grid((-54, -54, -54), (54, 54, 54), (2.0, 2.0, 2.0))
SIZE = (720, 480)
PROBE_COLOR = (0.1, 0.9, 0.2)

needs_pictures = pytest.mark.skipif(not can_render(), reason="no off-screen OpenGL here")


@pytest.fixture(scope="module")
def masks():
    """A tumor in its liver, a vessel with a speck beside it, and the zone, which is shifted."""
    liver = shapes.sphere((0, 0, 0), 50)
    vessel = shapes.union(shapes.ellipsoid((0, 20, 0), (40, 5, 5)), shapes.sphere((0, -40, 0), 2.5))
    levels = {
        "liver": liver,
        "tumor": shapes.sphere(CENTER, 8),
        "zone": shapes.sphere(CENTER + np.array([7.0, 0.0, 0.0]), 14),
        "portal_vein": vessel,
    }
    return {name: shapes.mask_of(level, GRID) for name, level in levels.items()}


@pytest.fixture(scope="module")
def margin(masks):
    return measure_margin(masks["tumor"], masks["zone"], liver=masks["liver"])


@pytest.fixture
def case(scene, masks):
    image = sitk.Cast(masks["liver"], sitk.sitkInt16) * 120 - sitk.Cast(masks["tumor"], sitk.sitkInt16) * 50
    case = CaseScene.create(image, image=image, liver=masks["liver"])
    case.add_lesion("one", masks["tumor"])
    case.replace_structure(masks["portal_vein"], "portal_vein")
    line = probes.add_probe(SKIN, CENTER, "probe", Provenance("probe"))
    case.lesions["one"].own(line)
    return case


@pytest.fixture
def measured(case, masks, margin):
    case.add_after(masks["zone"], None)
    case.replace_zone("one", masks["zone"])
    case.replace_margin("one", margin)
    return case


@pytest.fixture
def views(case):
    shown = view_mosaic.Views(SIZE)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(case.volume.GetID())
    yield shown
    shown.close()


def seen_in(views):
    """The pixels of each view of the current layout by its tag, without its bar, 0 to 1."""
    whole = views.pixels() / 255.0
    return {
        place.tag: whole[place.top + view_mosaic.BAR : place.top + place.height, place.left : place.left + place.width]
        for place in views.arrange()
    }


def middle(picture, share=0.2):
    """The pixels around the middle of a picture: within this share of its height."""
    height, width, _ = picture.shape
    reach = int(share * height)
    return picture[height // 2 - reach : height // 2 + reach, width // 2 - reach : width // 2 + reach].reshape(-1, 3)


def count(pixels, color, tolerance=0.1):
    return int((np.abs(pixels.reshape(-1, 3) - color).max(axis=1) < tolerance).sum())


# --- the pictures ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [layouts.LESIONS, layouts.PLANNING, layouts.FUSION, layouts.MARGIN])
def test_the_views_fill_the_picture_as_the_description_says(name):
    description = layouts.layout_description(name)
    found = view_mosaic.places(description, SIZE)
    assert [place.tag for place in found] == [
        view.get("singletontag") for view in ElementTree.fromstring(description).iter("view")
    ]
    covered = np.zeros(SIZE[::-1], int)
    for place in found:
        covered[place.top : place.top + place.height, place.left : place.left + place.width] += 1
    assert covered.max() == 1
    assert covered.mean() > 0.98
    by_tag = {place.tag: place for place in found}
    if name == layouts.PLANNING:
        assert by_tag["1"].width == pytest.approx(0.6 * SIZE[0], abs=4)
        assert by_tag["1"].height == SIZE[1]
        for upper, lower in pairwise(by_tag[tag] for tag in ("Red", "Yellow", "Green")):
            assert lower.top == upper.top + upper.height + view_mosaic.GAP
            assert lower.left == upper.left > by_tag["1"].width


@needs_pictures
def test_the_margin_fills_its_view_with_the_weakest_point_in_front(measured, views):
    step_views.show_step(layouts.MARGIN, measured, "one")
    whole = views.pixels() / 255.0
    for place in views.arrange():
        if place.class_name == "vtkMRMLSliceNode":
            bar = whole[place.top : place.top + view_mosaic.BAR, place.left : place.left + place.width]
            color = slicer.mrmlScene.GetSingletonNode(place.tag, place.class_name).GetLayoutColor()
            assert count(bar, color, 0.02) > 0.8 * bar[:, :, 0].size
    seen = seen_in(views)
    space = seen["1"]
    red, amber, green = (count(space, color, 0.15) for color in surfaces.BAND_COLORS)
    assert min(red, amber, green) > 200
    assert count(middle(space), surfaces.BAND_COLORS[0], 0.15) > 100
    colored = np.abs(space[:, :, None] - surfaces.BAND_COLORS).max(axis=3).min(axis=2) < 0.25
    rows = np.flatnonzero(colored[:, : space.shape[1] * 2 // 3].any(axis=1))  # the scale stands on the right
    assert np.ptp(rows) > 0.6 * space.shape[0]
    for tag in ("Red", "Green"):  # its side is seen from above and in front
        assert count(middle(seen[tag]), surfaces.BAND_COLORS[0], 0.15) > 5
    assert (seen["PlotView1"] < 0.3).all(axis=2).sum() > 500  # the bars
    for limit in (surfaces.BAND_COLORS[0], surfaces.BAND_COLORS[-1]):
        assert count(seen["PlotView1"], limit, 0.05) > 100


@needs_pictures
def test_the_tumor_is_in_the_middle_of_each_slice_of_its_size(case, views):
    tumor = term("tumor").color
    step_views.show_step(layouts.FUSION, case, "one")
    for tag in ("Red", "Yellow", "Green"):
        picture = seen_in(views)[tag]
        outline = np.argwhere(np.abs(picture - tumor).max(axis=2) < 0.1)
        height_mm = slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLSliceNode").GetFieldOfView()[1]
        np.testing.assert_allclose(outline.mean(axis=0), 0.5 * np.array(picture.shape[:2]), atol=6)
        assert np.ptp(outline[:, 0]) * height_mm / picture.shape[0] == pytest.approx(16.0, abs=3.0)
        assert 100.0 < height_mm < 180.0


@needs_pictures
def test_a_probe_is_seen_in_a_slice_from_the_skin_to_its_tip(case, views):
    """It runs 30 mm off the slice on its 90 mm; of one that is not worked on, what lies within 10 mm is seen."""
    (line,) = case.lesions["one"].probe_lines
    line.GetDisplayNode().SetSelectedColor(PROBE_COLOR)
    step_views.show_step(layouts.PLANNING, case, "one")

    def drawn_mm():
        picture = seen_in(views)["Red"]
        rows = np.flatnonzero((np.abs(picture - PROBE_COLOR).max(axis=2) < 0.1).any(axis=1))
        height_mm = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").GetFieldOfView()[1]
        return np.ptp(rows) * height_mm / picture.shape[0]

    assert drawn_mm() == pytest.approx(90.0, abs=4.0)
    probes.show_worked_on(line, False)
    assert drawn_mm() == pytest.approx(30.0, abs=4.0)


# --- the nodes ------------------------------------------------------------------------------


def is_seen(node, where="3D"):
    display = node.GetDisplayNode()
    return bool(display.GetVisibility() and getattr(display, f"GetVisibility{where}")())


def test_each_step_shows_what_belongs_to_it(measured):
    measured.add_lesion("two", shapes.mask_of(shapes.sphere((-30, 0, 0), 6), GRID))
    lesion, other = measured.lesions.values()
    (line,), (vessel,) = lesion.probe_lines, nodes_with_role(VESSEL_ROLE)
    drawn = create_node("vtkMRMLMarkupsLineNode", "drawn", Provenance(lesion_drawing.LINE))
    outlines = measured.before.GetDisplayNode()
    step_views.show_step(layouts.PLANNING, measured, "one")
    assert is_seen(line)
    assert is_seen(vessel)
    assert outlines.GetSegmentVisibility2DOutline("one")
    assert not is_seen(drawn, "2D")
    step_views.show_step(layouts.MARGIN, measured, "one")
    assert not is_seen(line)
    assert not is_seen(vessel)
    assert not is_seen(measured.liver_model)
    assert not is_seen(other.tumor_model)
    assert is_seen(lesion.margin.surface)
    assert line.GetDisplayVisibility()  # the tick in the table of probes
    assert is_seen(lesion.margin.surface, "2D")
    assert not outlines.GetSegmentVisibility2DOutline("one")
    step_views.show_step(layouts.LESIONS, measured, "one")
    assert is_seen(drawn, "2D")
    assert is_seen(measured.liver_model)
    assert is_seen(other.tumor_model)
    assert not is_seen(lesion.margin.surface, "2D")
    assert outlines.GetSegmentVisibility2DOutline("one")


def test_the_diameter_of_a_zone_is_a_line_without_words_in_the_slices(measured, masks):
    measured.add_phase(sitk.Cast(masks["zone"], sitk.sitkInt16), "After")
    measured.phases[0].SetAttribute("NETAblation.Role", "post_image")
    line = zone_steps.new_zone_line(measured, "one")
    display = line.GetDisplayNode()
    assert not display.GetPropertiesLabelVisibility()
    assert not display.GetVisibility3D()
    for step in (layouts.FUSION, layouts.MARGIN):
        step_views.show_nodes(step, measured)
        assert is_seen(line, "2D") is (step == layouts.FUSION)


def test_vessels_have_their_surfaces_without_specks(case, masks):
    (vessel,) = nodes_with_role(VESSEL_ROLE)
    bounds = np.zeros(6)
    vessel.GetRASBounds(bounds)
    np.testing.assert_allclose(bounds, (-40, 40, 15, 25, -5, 5), atol=3.0)
    display, (segment_id,) = case.before.GetDisplayNode(), segmentations.segment_ids(case.before, "portal_vein")
    assert display.GetSegmentVisibility2DFill(segment_id)
    assert not display.GetSegmentVisibility2DOutline(segment_id)  # in the slices they are tinted
    data = vessel.GetPolyData()
    case.notice_edits()
    assert vessel.GetPolyData() is data
    case.replace_structure(sitk.BinaryDilate(masks["portal_vein"], [2, 2, 2]), "portal_vein")
    assert nodes_with_role(VESSEL_ROLE) == [vessel]
    vessel.GetRASBounds(bounds)
    assert bounds[3] == pytest.approx(29.0, abs=2.0)
    segmentations.remove_segment(case.before, segment_id)
    case.notice_edits()
    assert nodes_with_role(VESSEL_ROLE) == []


def test_without_case_or_lesion_only_the_arrangement_changes(scene, case):
    step_views.show_step(layouts.PLANNING, None)
    step_views.show_step(layouts.PLANNING, case, "unknown")
    step_views.look_at_weakest(case, "one")
    with pytest.raises(KeyError):
        step_views.show_step("theater", case)
