"""Probes under the hand, on the real Slicer libraries: clicks place a line, a drag moves zone and numbers, undo."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import DeviceError, GeometryError, InputError
from NETAblationLib.core.planning import BY_HAND
from NETAblationLib.core.probes import zone_surface
from NETAblationLib.core.progress import silent
from NETAblationLib.core.surveys import Survey
from NETAblationLib.scene import plan_requests, probes, provenance, storage
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.offscreen import can_render
from NETAblationLib.scene.plan_requests import PlanRequest, plan_and_alternatives, rate_skin
from NETAblationLib.scene.probe_editing import ProbeEditing
from NETAblationLib.scene.probes import GRADE_COLORS
from NETAblationLib.scene.skin_entries import hide_skin, show_skin, skin_of
from NETAblationLib.scene.view_windows import slice_view
from support.mouse import Mouse
from support.shapes import grid, mask_of, sphere
from support.trunk import trunk

CENTER = np.array([20.0, 0.0, 5.0])
RADIUS = 8.0
#: The case's masks lie on the trunk's grid of 2.5 mm.
HALF_VOXEL_MM = 1.25
SKIN = CENTER + np.array((0.0, 90.0, 0.0))
DEVICE, SETTING = "emprint-mwa", "100 W, 10 min"
CHOICE = {"device": DEVICE, "setting": SETTING}
AXIAL = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def images():
    image, liver = trunk()
    near = grid(tuple(CENTER - 14), tuple(CENTER + 14), (1.0, 1.0, 1.0))
    return image, liver, mask_of(sphere(CENTER, RADIUS), near)


@pytest.fixture
def editing(scene, images):
    image, liver, tumor = images
    case = CaseScene.create(image, image=image, liver=liver)
    made = ProbeEditing(case, case.add_lesion("L1", tumor))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def prepared(images):
    """What measuring needs, prepared once; the request is made anew in each scene."""
    return {}


@pytest.fixture
def measured(editing, prepared):
    request = editing.request(DEVICE, 5.0)
    if "task" not in prepared:
        prepared["task"] = request.prepared()
    editing.use(prepared["task"], request)
    return editing


def line_of(row):
    return slicer.mrmlScene.GetNodeByID(row.node_id)


def zone_ml(editing):
    mass = vtk.vtkMassProperties()
    mass.SetInputData(editing.case.lesions[editing.lesion_id].planned_zone.GetPolyData())
    return mass.GetVolume() / 1000.0


def zone_center(editing):
    return np.array(editing.case.lesions[editing.lesion_id].planned_zone.GetPolyData().GetCenter())


def test_zone_lies_about_the_target_and_is_measured_as_the_formula_says(measured):
    row = measured.add(CENTER, SKIN, **CHOICE)
    setting = load_catalogue()[DEVICE].setting(SETTING)
    assert row.name == "L1 probe 1"
    assert row.setting == SETTING
    np.testing.assert_allclose(row.probe.ablations[0].center_ras_mm, CENTER)
    np.testing.assert_allclose(row.probe.tip_ras_mm, CENTER - np.array((0, setting.center_to_tip_mm, 0)), atol=1e-9)
    np.testing.assert_allclose(zone_center(measured), CENTER, atol=0.1)
    exact = np.pi / 6 * setting.short_axis_mm**2 * setting.long_axis_mm / 1000.0
    assert zone_ml(measured) == pytest.approx(exact, rel=0.01)
    # Thinnest across the probe: half the short axis less the radius of the ball.
    assert measured.coverage.predicted_mam_mm == pytest.approx(setting.short_axis_mm / 2 - RADIUS, abs=HALF_VOXEL_MM)
    assert measured.coverage.tumor_coverage_fraction == 1.0
    assert row.trajectory.depth_from_skin_mm == pytest.approx(90.0 + setting.center_to_tip_mm)
    assert row.trajectory.in_plane_angle_deg == pytest.approx(0.0, abs=1e-6)
    plan = measured.plan
    assert plan.kind == BY_HAND
    assert plan.predicted_mam_mm == measured.coverage.predicted_mam_mm
    assert plan.path_checks[0]["grade"] == row.check.grade


def test_lesions_and_devices_share_one_look_at_the_ct(editing, images, monkeypatch):
    looked = []
    survey = Survey.of

    def counted(*given, **named):
        looked.append(given)
        return survey(*given, **named)

    monkeypatch.setattr(Survey, "of", counted)
    monkeypatch.setattr(plan_requests._LastSurvey, "content", None)
    case = editing.case
    first = PlanRequest.of(case, editing.lesion_id, device=load_catalogue()[DEVICE], margin_mm=5.0).prepared()
    again = PlanRequest.of(case, editing.lesion_id, device=load_catalogue()[DEVICE], margin_mm=8.0).prepared()
    assert len(looked) == 1
    assert (first.target.margin_mm, again.target.margin_mm) == (5.0, 8.0)
    second = case.add_lesion("L2", images[2])
    other = PlanRequest.of(case, second, device=load_catalogue()[DEVICE], margin_mm=5.0).prepared()
    assert len(looked) == 2  # another tumor may reach out of the liver
    PlanRequest.of(case, editing.lesion_id, device=load_catalogue()[DEVICE], margin_mm=5.0).prepared()
    assert len(looked) == 2
    assert other.input_hashes["tumor"] == first.input_hashes["tumor"]
    slicer.mrmlScene.Clear()
    assert plan_requests._LastSurvey.survey is None  # a closed case leaves nothing in memory


def test_a_moved_end_is_followed_and_undone(measured):
    first = measured.add(CENTER, SKIN, **CHOICE)
    line, before = line_of(first), measured.coverage
    tip = np.array(first.probe.tip_ras_mm)
    line.SetNthControlPointPosition(1, tip[0] + 12.0, tip[1], tip[2])
    (moved,) = measured.rows
    direction = np.array(moved.probe.direction)
    setting = load_catalogue()[DEVICE].setting(SETTING)
    np.testing.assert_allclose(
        moved.probe.ablations[0].center_ras_mm,
        tip + np.array((12.0, 0.0, 0.0)) - setting.center_to_tip_mm * direction,
        atol=1e-9,
    )
    assert measured.coverage.predicted_mam_mm < before.predicted_mam_mm - 5
    assert measured.plan.probes == (moved.probe,)
    np.testing.assert_allclose(zone_center(measured), moved.probe.ablations[0].center_ras_mm, atol=0.5)
    assert measured.undo_text == "move L1 probe 1"
    measured.undo()
    assert measured.rows[0].probe == first.probe
    np.testing.assert_allclose(probes.probe_ends(line)[1], tip)
    assert measured.coverage.predicted_mam_mm == before.predicted_mam_mm
    measured.undo()
    assert measured.rows == ()
    assert measured.plan is None
    assert measured.coverage is None
    with pytest.raises(InputError, match="nothing to undo"):
        measured.undo()


def test_a_dragged_skin_end_turns_the_probe_about_its_zone(measured):
    first = measured.add(CENTER, SKIN, **CHOICE)
    line = line_of(first)
    entry = SKIN + np.array((30.0, -5.0, 12.0))
    line.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointStartInteractionEvent)
    for share in (0.5, 1.0):
        line.SetNthControlPointPosition(0, *(SKIN + share * (entry - SKIN)))
    line.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    (turned,) = measured.rows
    np.testing.assert_allclose(turned.probe.ablations[0].center_ras_mm, CENTER, atol=1e-9)
    np.testing.assert_allclose(turned.probe.entry_ras_mm, entry)
    along = (CENTER - entry) / np.linalg.norm(CENTER - entry)
    beyond = load_catalogue()[DEVICE].setting(SETTING).center_to_tip_mm
    np.testing.assert_allclose(turned.probe.tip_ras_mm, CENTER + beyond * along, atol=1e-9)
    np.testing.assert_allclose(probes.probe_ends(line)[1], turned.probe.tip_ras_mm)
    assert measured.plan.probes == (turned.probe,)
    # Onto the target there is no probe: it stays as it was last, and the end of the drag puts the line there.
    line.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointStartInteractionEvent)
    line.SetNthControlPointPosition(0, *(CENTER + 1.0))
    line.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    assert measured.rows[0].probe == turned.probe
    np.testing.assert_allclose(probes.probe_ends(line)[0], entry)
    measured.undo()
    assert measured.rows[0].probe == first.probe


def test_a_line_dragged_as_a_whole_keeps_its_direction(measured):
    first = measured.add(CENTER, SKIN, **CHOICE)
    line, shift = line_of(first), np.array((0.0, 0.0, 7.0))
    places = vtk.vtkPoints()
    for end in probes.probe_ends(line):
        places.InsertNextPoint(*(end + shift))
    line.SetControlPointPositionsWorld(places)  # as vtkSlicerMarkupsWidget::TranslateWidget does
    (moved,) = measured.rows
    np.testing.assert_allclose(moved.probe.tip_ras_mm, first.probe.tip_ras_mm + shift, atol=1e-9)
    np.testing.assert_allclose(moved.probe.ablations[0].center_ras_mm, CENTER + shift, atol=1e-9)


def test_path_check_colors_the_line(measured):
    free = measured.add(CENTER, SKIN, **CHOICE)
    assert free.check.grade == line_of(free).GetAttribute("NETAblation.PathGrade")
    behind = measured.add(CENTER, CENTER + np.array((0.0, 0.0, 120.0)), **CHOICE)
    assert behind.check.grade == "blocked"
    assert behind.check.reasons
    assert probes.line_color(line_of(behind)) == pytest.approx(GRADE_COLORS["blocked"])
    assert probes.line_color(line_of(free)) == pytest.approx(GRADE_COLORS[free.check.grade])


def test_numbers_are_those_of_a_plan_measured_anew(measured):
    rng = np.random.default_rng(0)
    for _ in range(3):
        measured.add(CENTER + rng.normal(0, 4, 3), SKIN + rng.normal(0, 9, 3), **CHOICE)
    for step in range(5):
        row = measured.rows[step % 3]
        shift = rng.normal(0, 3, 3)
        measured.move(row.node_id, row.probe.entry_ras_mm + shift, row.probe.tip_ras_mm + shift)
    anew = measured.task.measure.measure([row.probe for row in measured.rows])
    assert measured.coverage.predicted_mam_mm == anew.predicted_mam_mm
    assert measured.coverage.target_coverage_fraction == anew.target_coverage_fraction
    assert zone_ml(measured) == pytest.approx(zone_surface([row.probe for row in measured.rows]).volume_ml, rel=1e-3)


def test_duplicate_delete_lock_hide_and_setting(measured):
    first = measured.add(CENTER, SKIN, **CHOICE)
    copy = measured.duplicate(first.node_id)
    np.testing.assert_allclose(copy.probe.direction, first.probe.direction, atol=1e-12)
    apart = np.subtract(copy.probe.tip_ras_mm, first.probe.tip_ras_mm)
    assert np.linalg.norm(apart) == pytest.approx(15.0)
    assert apart @ first.probe.direction == pytest.approx(0.0, abs=1e-9)
    measured.set_locked(copy.node_id, True)
    assert line_of(copy).GetLocked()
    assert measured.locked_probes == (copy.probe,)
    measured.set_visible(copy.node_id, False)
    assert not measured.rows[1].is_visible
    other = next(s for s in load_catalogue()[DEVICE].plannable_settings if s.name != SETTING)
    measured.set_setting(first.node_id, DEVICE, other.name)
    changed = measured.rows[0]
    assert changed.setting == other.name
    np.testing.assert_allclose(changed.probe.ablations[0].center_ras_mm, CENTER)
    measured.delete(copy.node_id)
    assert len(measured.rows) == 1
    measured.undo()
    restored = measured.rows[1]
    assert (restored.name, restored.probe, restored.is_locked, restored.is_visible) == (
        copy.name,
        copy.probe,
        True,
        False,
    )
    with pytest.raises(InputError):
        measured.delete("no such node")


def test_a_line_deleted_in_the_scene_can_be_brought_back(measured):
    row = measured.add(CENTER, SKIN, **CHOICE)
    slicer.mrmlScene.RemoveNode(line_of(row))
    assert measured.rows == ()
    measured.undo()
    assert measured.rows[0].probe == row.probe


def test_what_cannot_be_a_probe_is_refused_and_changes_nothing(measured):
    with pytest.raises(GeometryError):
        measured.add(CENTER, CENTER, **CHOICE)
    with pytest.raises(DeviceError):
        measured.add(CENTER, SKIN, device="cooled-rf-15g", setting="none")
    with pytest.raises(DeviceError):
        measured.begin_placing("no such device", SETTING)
    assert measured.rows == ()
    assert measured.undo_text == ""


def test_a_drawn_line_is_adopted_where_it_lies_in_the_world(measured):
    line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "drawn")
    line.CreateDefaultDisplayNodes()
    shift = np.array([3.0, -2.0, 5.0])
    for point in (CENTER - shift, SKIN - shift):
        line.AddControlPoint(point.tolist())
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    for axis in range(3):
        matrix.SetElement(axis, 3, shift[axis])
    transform.SetMatrixTransformToParent(matrix)
    line.SetAndObserveTransformNodeID(transform.GetID())
    row = measured.adopt(line, **CHOICE)
    assert row.node_id == line.GetID()
    assert line.GetParentTransformNode() is None
    np.testing.assert_allclose(row.probe.ablations[0].center_ras_mm, CENTER, atol=1e-9)
    assert measured.case.lesions[measured.lesion_id].probe_lines == (line,)
    with pytest.raises(InputError, match="already"):
        measured.adopt(line, **CHOICE)


def test_numbers_go_when_the_lesion_changes(measured, images):
    measured.add(CENTER, SKIN, **CHOICE)
    assert not measured.follow_case()
    measured.case.update_lesion(measured.lesion_id, mask_of(sphere(CENTER, 6.0), images[2]))
    plan_node = measured.case.lesions[measured.lesion_id].plan_node
    assert provenance.is_stale(plan_node)
    assert measured.follow_case()
    assert measured.coverage is None
    assert measured.task is None
    request = measured.request(DEVICE, 5.0)
    measured.use(request.prepared(), request)
    assert not provenance.is_stale(plan_node)
    setting = load_catalogue()[DEVICE].setting(SETTING)
    assert measured.coverage.predicted_mam_mm == pytest.approx(setting.short_axis_mm / 2 - 6.0, abs=HALF_VOXEL_MM)


def test_without_preparation_zones_follow_and_the_plan_is_marked(editing):
    row = editing.add(CENTER, SKIN, **CHOICE)
    assert row.check is None
    assert editing.coverage is None
    assert editing.plan is None
    np.testing.assert_allclose(zone_center(editing), CENTER, atol=0.1)


def test_plan_is_accepted_undone_and_saved(measured, tmp_path):
    kept = measured.add(CENTER + np.array((6.0, 0, 0)), SKIN, **CHOICE)
    measured.set_locked(kept.node_id, True)
    request = measured.request(DEVICE, 5.0)
    task, plans = plan_and_alternatives(request, measured.task, measured.locked_probes, 0, silent)
    assert task.locked == (kept.probe,)
    measured.accept(plans[0])
    assert measured.plan == plans[0]
    assert [row.is_locked for row in measured.rows] == [True] + [False] * (len(measured.rows) - 1)
    assert measured.coverage.predicted_mam_mm == plans[0].predicted_mam_mm
    storage.save_scene(tmp_path / "case.mrb")
    measured.undo()
    assert [row.probe for row in measured.rows] == [kept.probe]
    measured.stop()
    slicer.mrmlScene.Clear(False)
    storage.load_scene(tmp_path / "case.mrb")
    case = CaseScene.open()
    opened = ProbeEditing(case, next(iter(case.lesions)))
    assert [row.probe for row in opened.rows] == list(plans[0].probes)
    assert opened.rows[0].is_locked
    opened.stop()
    for line in case.lesions[opened.lesion_id].probe_lines:
        assert line.GetLocked()
        assert not line.GetDisplayNode().GetSliceProjection()


def test_skin_is_colored_and_hidden(measured):
    rating = rate_skin(measured.task, 20.0)
    show_skin(measured.case, measured.lesion_id, rating)
    show_skin(measured.case, measured.lesion_id, rating)
    model = skin_of(measured.lesion_id)
    assert model.GetPolyData().GetNumberOfPoints() == len(rating.verdict)
    assert len(provenance.nodes_with_role("skin_entries")) == 1
    hide_skin(measured.lesion_id)
    assert skin_of(measured.lesion_id) is None


def test_two_clicks_place_a_probe_and_a_drag_moves_it(measured, images):
    if not can_render():
        pytest.skip("no off-screen OpenGL on this machine")
    volume = measured.case.volume
    with slice_view((400, 400)) as view:
        view.look_at(volume, CENTER + np.array((0, 30, 0)), AXIAL, 200.0)
        mouse = Mouse(view)
        line = measured.begin_placing(**CHOICE)
        mouse.click(CENTER)
        assert measured.is_placing
        assert measured.rows == ()
        mouse.click(SKIN)
        assert not measured.is_placing
        (row,) = measured.rows
        pixel_mm = 200.0 / 400
        assert row.node_id == line.GetID()
        assert np.linalg.norm(row.probe.ablations[0].center_ras_mm - CENTER) < 2 * pixel_mm
        assert np.linalg.norm(row.probe.entry_ras_mm - SKIN) < 2 * pixel_mm
        seen = []
        shift = np.array([-15.0, 0.0, 0.0])
        view.window.Render()
        tip = np.array(row.probe.tip_ras_mm)
        mouse.drag(
            tip, tip + shift, lambda: seen.append((zone_center(measured)[0], measured.coverage.predicted_mam_mm))
        )
    moved = measured.rows[0].probe
    assert np.linalg.norm(moved.tip_ras_mm - (tip + shift)) < 2 * pixel_mm
    np.testing.assert_allclose(moved.entry_ras_mm, row.probe.entry_ras_mm)
    # Zone and margin followed at each step of the drag, not only at its end.
    places, margins = np.array(seen).T
    assert (np.diff(places) < 0).all()
    assert (np.diff(margins) < 0).all()
    assert measured.plan.probes == (moved,)
    assert measured.undo_text.startswith("move")
    measured.undo()
    assert measured.rows[0].probe == row.probe


def test_placing_can_be_given_up(measured):
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode")
    measured.begin_placing(**CHOICE)
    measured.cancel_placing()
    assert not measured.is_placing
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == count


def test_request_says_what_is_missing(scene, images):
    image, _, tumor = images
    case = CaseScene.create(image, image=image)
    editing = ProbeEditing(case, case.add_lesion("L1", tumor))
    with pytest.raises(InputError, match="segment the liver first"):
        editing.request(DEVICE, 5.0)
    editing.stop()


def test_obstacles_of_the_request_are_structures_that_must_not_be_crossed(editing, images):
    from NETAblationLib.scene import segmentations

    box = grid((10, 30, 0), (20, 40, 10), (2.0, 2.0, 2.0))
    for kind in ("portal_vein", "skin", "colon"):
        segmentations.add_segment(editing.case.before, sitk.Add(box, 1), kind, resample=True)
    assert set(editing.request(DEVICE, 5.0).scan.obstacles) == {"portal vein", "colon"}
