"""Lesions from what is drawn on them, through Slicer's own nodes, views and mouse events."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from NETAblationLib.core.errors import InputError, NETAblationError
from NETAblationLib.scene import documents, provenance, segmentations
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.lesion_drawing import DOCUMENT, LINE, MINUS, PLUS, SECOND_LINE, LesionDrawing
from NETAblationLib.scene.offscreen import can_render
from NETAblationLib.scene.view_windows import slice_view
from support import shapes

FIRST, SECOND = np.array([-16.0, 4.0, 0.0]), np.array([15.0, -8.0, 2.0])
RADII = {"first": 9.0, "second": 7.0}


@pytest.fixture(scope="module")
def images():
    """A liver of 110 HU with two dark lesions of 9 and 7 mm, and its mask."""
    grid = shapes.grid((-48, -40, -34), (48, 40, 34), (1.0, 1.0, 1.5))
    liver = shapes.mask_of(shapes.ellipsoid((0, 0, 0), (44, 36, 30)), grid)
    lesions = shapes.mask_of(shapes.union(shapes.sphere(FIRST, 9), shapes.sphere(SECOND, 7)), grid)
    values = np.where(sitk.GetArrayFromImage(liver) > 0, 110.0, -80.0)
    values[sitk.GetArrayFromImage(lesions) > 0] = 60.0
    values += np.random.default_rng(0).normal(size=values.shape) * 6.0
    image = sitk.GetImageFromArray(values.astype(np.int16))
    image.CopyInformation(grid)
    return image, liver


@pytest.fixture
def case(scene, images):
    return CaseScene.create(images[0], image=images[0])


@pytest.fixture
def drawing(case):
    """Segments at once what is drawn; `drawing.refused` collects why that failed."""
    refused = []

    def segment(node):
        try:
            drawing.segment(node)
        except NETAblationError as error:
            refused.append(error)

    drawing = LesionDrawing(case, segment)
    drawing.refused = refused
    yield drawing
    drawing.close()


@pytest.fixture
def lesion(case, drawing):
    """The id of the first lesion, drawn."""
    place(drawing.arm(persistent=False), ends(FIRST, 9))
    drawing.disarm()
    (lesion_id,) = case.lesions
    return lesion_id


def ends(center, radius, axis=(1.0, 0.0, 0.0)):
    step = radius * np.asarray(axis)
    return [center - step, center + step]


def place(node, points):
    """As the views do when points are clicked."""
    for point in points:
        node.AddControlPointWorld(vtk.vtkVector3d(*point))


def drag(node, index, point):
    """As the views do when a point is dragged and let go."""
    node.SetNthControlPointPositionWorld(index, *point)
    node.InvokeEvent(node.PointEndInteractionEvent)


def volume_ml(case, lesion_id):
    mask = case.tumor_mask(lesion_id)
    return float(sitk.GetArrayFromImage(mask).sum() * np.prod(mask.GetSpacing())) / 1000.0


def sphere_ml(radius):
    return 4 / 3 * np.pi * radius**3 / 1000


def test_a_finished_line_is_a_lesion_and_the_next_can_be_drawn(case, drawing):
    place(drawing.arm(), ends(FIRST, 9))
    (first,) = case.lesions.values()
    assert first.name == "L1"
    assert volume_ml(case, first.segment_id) == pytest.approx(sphere_ml(9), rel=0.12)
    np.testing.assert_allclose(first.tumor_center_ras_mm, FIRST, atol=0.7)
    assert first.tumor_model.GetDisplayNode().GetVisibility()
    assert "SCT^14799000" in segmentations.segment_terminology(case.before, first.segment_id)  # neoplasm, secondary
    document = documents.read_document(provenance.nodes_with_role(DOCUMENT)[0], schema="lesion")
    assert document["image_sha256"] == provenance.provenance_of(case.volume).content_hash
    np.testing.assert_allclose(document["line_ras_mm"], ends(FIRST, 9))

    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    following = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID())
    place(following, ends(SECOND, 7))
    assert [lesion.name for lesion in case.lesions.values()] == ["L1", "L2"]
    drawing.disarm()
    lines = slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")
    assert sorted(line.GetName() for line in lines) == ["L1 line", "L2 line"]
    assert not drawing.armed_role


def a_plan_of(case, lesion_id):
    """A node that stands for what was computed from a lesion."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    provenance.describe(node, provenance.Provenance("plan", inputs=(case.lesions[lesion_id].tumor_model,)))
    return node


def document_of(lesion_id):
    (node,) = provenance.nodes_with_role(DOCUMENT)
    assert node.GetAttribute("NETAblation.Lesion") == lesion_id
    return node


def test_dragging_an_end_segments_anew_and_makes_results_stale(case, drawing, lesion):
    plan, line = a_plan_of(case, lesion), drawing.drawn_on(lesion)[LINE]
    before = volume_ml(case, lesion)
    drag(line, 0, FIRST - [8.0, 1.0, 0])
    drag(line, 1, np.add(FIRST, [8.0, 1.0, 0]))
    assert not drawing.refused
    assert list(case.lesions) == [lesion]
    assert volume_ml(case, lesion) == pytest.approx(before, rel=0.1)
    assert provenance.is_stale(plan)
    exact = documents.read_document(document_of(lesion), schema="lesion")
    np.testing.assert_allclose(exact["line_ras_mm"][0], FIRST - [8.0, 1.0, 0])


def test_a_line_in_even_liver_is_refused_and_gone(case, drawing):
    place(drawing.arm(), [[0.0, 20.0, -10.0], [10.0, 20.0, -10.0]])
    assert "no lesion" in str(drawing.refused[0]) or "stands out" in str(drawing.refused[0])
    assert case.lesions == {}
    (waiting,) = slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode")  # for the next try
    assert waiting.GetNumberOfControlPoints() == 0


def test_a_failed_correction_keeps_the_mask_and_says_so(case, drawing, lesion):
    before = volume_ml(case, lesion)
    drag(drawing.drawn_on(lesion)[LINE], 0, np.add(FIRST, [8.0, 0.0, 0.0]))  # 1 mm is left of the line
    assert "mm long" in str(drawing.refused[0])
    assert volume_ml(case, lesion) == before
    assert provenance.is_stale(document_of(lesion))


def test_corrections_change_the_lesion_and_can_be_taken_back(case, drawing, lesion):
    before = volume_ml(case, lesion)
    place(drawing.arm(SECOND_LINE, lesion), ends(FIRST, 9, (0, 0, 1)))
    assert set(drawing.drawn_on(lesion)) == {LINE, SECOND_LINE}
    place(drawing.arm(MINUS, lesion), [np.add(FIRST, [0, 6.5, 0]), np.add(FIRST, [0, 5.0, 0])])
    smaller = volume_ml(case, lesion)
    assert smaller < 0.97 * before
    place(drawing.arm(PLUS, lesion), [np.add(FIRST, [0, -11, 0])])
    drawing.disarm()
    assert not drawing.refused
    assert volume_ml(case, lesion) > smaller
    exact = documents.read_document(document_of(lesion), schema="lesion")
    assert [len(exact[key]) for key in ("second_line_ras_mm", "plus_ras_mm", "minus_ras_mm")] == [2, 1, 2]
    drawing.segment(drawing.remove_corrections(lesion))
    assert set(drawing.drawn_on(lesion)) == {LINE}
    assert volume_ml(case, lesion) == before


def test_a_lesion_takes_nothing_from_another(case, drawing, lesion):
    mine = case.tumor_mask(lesion)
    place(drawing.arm(), ends(np.add(FIRST, [0.0, 2.0, 0.0]), 9))
    assert list(case.lesions) == [lesion] or not np.any(overlap(case, lesion, list(case.lesions)[1]))
    assert drawing.refused or "met L1" in str([n.GetText() for n in provenance.nodes_with_role(DOCUMENT)])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(case.tumor_mask(lesion)), sitk.GetArrayFromImage(mine))


def overlap(case, first, second):
    masks = [segmentations.segment_mask(case.before, segment_id) for segment_id in (first, second)]
    return sitk.GetArrayFromImage(sitk.And(*masks))


def test_the_liver_confines_only_where_asked(case, drawing, images):
    case.replace_liver(images[1])
    outside = [[-46.0, 38.0, 30.0], [-40.0, 38.0, 30.0]]
    place(drawing.arm(), outside)
    assert "liver" in str(drawing.refused[0])
    place(drawing.arm(), ends(FIRST, 9))
    assert len(drawing.refused) == 1
    assert len(case.lesions) == 1


def test_a_lesion_is_segmented_on_the_phase_that_it_was_drawn_on(case, drawing):
    """On a phase of other voxels, in which alone the lesion is seen."""
    grid = shapes.grid((-48, -40, -34), (48, 40, 34), (1.5, 1.5, 2.0))
    bright = shapes.mask_of(shapes.sphere((0, 20, -8), 7), grid)
    noise = np.random.default_rng(1).normal(size=sitk.GetArrayFromImage(bright).shape) * 6
    phase = sitk.GetImageFromArray((100 + 60 * sitk.GetArrayFromImage(bright) + noise).astype(np.float32))
    phase.CopyInformation(grid)
    node = case.add_phase(phase, "Arterial")
    line = drawing.arm()
    line.AddControlPointWorld(vtk.vtkVector3d(-7, 20, -8))
    line.SetNthControlPointAssociatedNodeID(0, node.GetID())
    place(line, [[7.0, 20.0, -8.0]])
    (lesion_id,) = case.lesions
    assert volume_ml(case, lesion_id) == pytest.approx(sphere_ml(7), rel=0.15)
    assert provenance.inputs_of(document_of(lesion_id)) == [node]
    assert sitk.GetArrayFromImage(case.tumor_mask(lesion_id)).any()


def test_deleting_and_renaming_take_the_lines_along(case, drawing, lesion):
    place(drawing.arm(SECOND_LINE, lesion), ends(FIRST, 9, (0, 0, 1)))
    case.rename_lesion(lesion, "Segment 7")
    assert drawing.drawn_on(lesion)[LINE].GetName() == "Segment 7 line"
    assert drawing.next_name() == "L1"
    drawing.remove_lesion(lesion)
    assert case.lesions == {}
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsLineNode") == []
    assert provenance.nodes_with_role(DOCUMENT) == []
    assert not drawing.refused


def test_what_was_drawn_is_followed_after_opening_a_case(case, drawing, lesion):
    drawing.close()
    asked = []
    again = LesionDrawing(CaseScene.open(), asked.append)
    line = again.drawn_on(lesion)[LINE]
    drag(line, 0, FIRST - [8.5, 0, 0])
    assert asked == [line]
    again.close()
    drag(line, 0, FIRST - [9.0, 0, 0])
    assert asked == [line]


def test_only_lesions_that_were_drawn_can_be_corrected(case, drawing, images):
    lesion_id = case.add_lesion("L5", shapes.mask_of(shapes.sphere(FIRST, 9), images[0]))
    assert drawing.next_name() == "L6"
    with pytest.raises(InputError, match="choose the lesion"):
        drawing.arm(PLUS, "none")
    with pytest.raises(InputError, match="has no diameter line"):
        drawing.remove_corrections(lesion_id)
    place(drawing.arm(PLUS, lesion_id), [FIRST])
    assert "was not drawn here" in str(drawing.refused[0])


def click(view, point):
    """Press and release the left button at a place of a slice view."""
    interactor = view.window.GetInteractor()
    x, y = (round(share * size) for share, size in zip(view.place_of(np.asarray(point)), view.size, strict=True))
    interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
    interactor.InvokeEvent("EnterEvent")
    interactor.MouseMoveEvent()
    interactor.LeftButtonPressEvent()
    interactor.LeftButtonReleaseEvent()


def pull(view, start, end):
    """Press at one place, move, and release at another."""
    interactor = view.window.GetInteractor()
    path = [np.asarray(start) + share * np.subtract(end, start) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    for number, point in enumerate(path):
        x, y = (round(share * size) for share, size in zip(view.place_of(point), view.size, strict=True))
        interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
        interactor.MouseMoveEvent()
        if number == 0:
            interactor.LeftButtonPressEvent()
    interactor.LeftButtonReleaseEvent()


def test_two_clicks_in_a_slice_view_make_a_lesion_and_two_more_the_next(case):
    """Mouse events through Slicer's displayable managers; the next line is drawn before the first is segmented."""
    if not can_render():
        pytest.skip("no off-screen OpenGL on this machine")
    waiting = []
    drawing = LesionDrawing(case, waiting.append)
    with slice_view((480, 480)) as view:
        view.look_at(case.volume, FIRST, np.diag([-1.0, 1.0, 1.0]), 110.0)
        style = slicer.vtkMRMLSliceViewInteractorStyle()
        style.SetSliceLogic(view.logic)
        style.SetDisplayableManagers(view._managers)
        view.window.GetInteractor().SetInteractorStyle(vtk.vtkInteractorStyleUser())
        view.window.GetInteractor().UpdateSize(*view.size)
        style.SetInteractor(view.window.GetInteractor())
        drawing.arm()
        for point in ends(FIRST, 9):
            click(view, point)
        assert len(waiting) == 1
        drawing.go_on(waiting[0])
        for point in ends(SECOND * [1, 1, 0], 6.7):  # the middle of the second lies 2 mm above this slice
            click(view, point)
        assert len(waiting) == 2
        while waiting:
            drawing.segment(waiting.pop(0))
        drawing.disarm()
        assert [lesion.name for lesion in case.lesions.values()] == ["L1", "L2"]
        first, second = case.lesions
        assert volume_ml(case, first) == pytest.approx(sphere_ml(9), rel=0.12)
        assert volume_ml(case, second) == pytest.approx(sphere_ml(7), rel=0.25)
        start = drawing.drawn_on(first)[LINE].GetNthControlPointPosition(0)
        pull(view, start, np.add(start, [-6.0, 0, 0]))
        assert waiting == [drawing.drawn_on(first)[LINE]]
    drawing.close()
