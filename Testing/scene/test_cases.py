"""A treatment in the scene: what is put in comes back from the file, at its place, with its numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from NETAblationLib.core import frames
from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import EmptyMaskError, InputError
from NETAblationLib.core.margins import MarginResult, measure_margin
from NETAblationLib.core.plans import Plan
from NETAblationLib.core.probes import Probe, ablation_at_tip
from NETAblationLib.scene import documents, probes, provenance, segmentations, storage, surfaces, transforms, volumes
from NETAblationLib.scene.case_files import present_margin, save_plan_scene
from NETAblationLib.scene.case_pictures import lesion_pictures
from NETAblationLib.scene.case_report import write_case_report
from NETAblationLib.scene.case_steps import case_steps
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.offscreen import can_render, png_of
from NETAblationLib.scene.view_windows import slice_view
from support import shapes

CENTER = np.array([4.0, -6.0, 8.0])
MOTION = np.array([9.0, 3.0, -7.0])


@pytest.fixture(scope="module")
def masks():
    """A tumor of 8 mm and its liver before, its zone of 14 mm after a shift, and the image before."""
    before = shapes.grid((-40, -40, -40), (40, 40, 40), (1.5, 1.5, 2.0), shapes.rotation((0, 0.3, 1), 12.0))
    after = shapes.grid((-35, -40, -50), (50, 45, 35), (1.2, 1.2, 2.5))
    tumor = shapes.mask_of(shapes.sphere(CENTER, 8), before)
    liver = shapes.mask_of(shapes.sphere((0, 0, 0), 38), before)
    zone = shapes.mask_of(shapes.sphere(CENTER + MOTION, 14), after)
    image = sitk.Cast(liver, sitk.sitkInt16) * 100 - sitk.Cast(tumor, sitk.sitkInt16) * 40
    return {"tumor": tumor, "liver": liver, "zone": zone, "image": image}


@pytest.fixture(scope="module")
def motion():
    matrix = np.eye(4)
    matrix[:3, 3] = MOTION
    return frames.affine_transform(matrix)


@pytest.fixture(scope="module")
def margin(masks, motion) -> MarginResult:
    return measure_margin(masks["tumor"], masks["zone"], liver=masks["liver"], fixed_to_moving=motion)


@pytest.fixture(scope="module")
def plan() -> Plan:
    device = next(iter(load_catalogue().values()))
    direction = np.array([-1.0, 0.0, 0.0])
    tip = CENTER + 11.0 * direction
    ablation = ablation_at_tip(device.settings[0], tip, direction)
    probe = Probe(tuple(tip - 90.0 * direction), tuple(tip), (ablation,))
    return Plan(device.id, 5.0, (probe,), 1.0, 0.995, 6.1, 9.2, 18.8, 0.5, ("a limitation",), {}, {})


def node_with_role(role):
    (node,) = provenance.nodes_with_role(role)
    return node


def test_margin_comes_back_from_the_bundle(scene, masks, motion, margin, tmp_path):
    notes = present_margin(
        margin,
        tumor=masks["tumor"],
        zone=masks["zone"],
        liver=masks["liver"],
        fixed_to_moving=motion,
        image=masks["image"],
        scene_file=tmp_path / "case.mrb",
    )
    assert notes == []
    slicer.mrmlScene.Clear(False)
    storage.load_scene(tmp_path / "case.mrb")
    exact = documents.read_document(node_with_role("margin"), schema="margin")
    assert exact == json.loads(json.dumps(margin.to_dict()))
    surface = node_with_role(surfaces.MARGIN_ROLE)
    np.testing.assert_array_equal(
        vtk_to_numpy(surface.GetPolyData().GetPoints().GetData()), margin.surface.points_ras_mm
    )
    np.testing.assert_array_equal(surfaces.point_scalars(surface, surfaces.SIGNED_MARGIN), margin.signed_margin_mm)


def test_zone_shows_at_its_place_before(scene, masks, motion, margin):
    """The zone's voxels stay those of the image after; the transform node takes them back."""
    case = CaseScene.create(masks["image"], image=masks["image"], liver=masks["liver"])
    case.add_lesion("one", masks["tumor"])
    case.add_after(masks["zone"], motion)
    case.replace_zone("one", masks["zone"])
    segment = case.lesions["one"].zone_segment
    kept = segmentations.segment_mask(case.after, segment, masks["zone"])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), sitk.GetArrayFromImage(masks["zone"]))
    assert case.after.GetParentTransformNode() is case.transform
    there = transforms.map_points(case.transform, [CENTER + MOTION])
    np.testing.assert_allclose(there, [CENTER], atol=1e-9)


def test_transform_of_control_points_is_sampled(scene, masks):
    """A B-spline, as other tools write it, is shown as a displacement field."""
    spline = sitk.BSplineTransformInitializer(masks["image"], [4, 4, 4], 3)
    spline.SetParameters(np.random.default_rng(0).uniform(-4, 4, len(spline.GetParameters())).tolist())
    case = CaseScene.create(masks["image"], image=masks["image"])
    case.add_after(masks["zone"], spline)
    points = np.random.default_rng(1).uniform(-20, 20, (30, 3))
    moved = frames.transform_points(spline, points)
    np.testing.assert_allclose(transforms.map_points(case.transform, moved), points, atol=0.1)


def test_plan_comes_back_from_the_bundle(scene, masks, plan, tmp_path):
    save_plan_scene(tmp_path / "plan.mrb", image=masks["image"], tumor=masks["tumor"], liver=masks["liver"], plan=plan)
    slicer.mrmlScene.Clear(False)
    storage.load_scene(tmp_path / "plan.mrb")
    assert Plan.from_dict(documents.read_document(node_with_role("plan"), schema="plan")) == plan
    line = node_with_role("probe")
    np.testing.assert_allclose(probes.probe_ends(line), [plan.probes[0].entry_ras_mm, plan.probes[0].tip_ras_mm])
    zone = node_with_role("planned_zone").GetPolyData()
    mass = vtk.vtkMassProperties()
    mass.SetInputData(zone)
    ablation = plan.probes[0].ablations[0]
    exact_mm3 = np.pi / 6 * ablation.short_axis_mm**2 * ablation.long_axis_mm
    assert mass.GetVolume() == pytest.approx(exact_mm3, rel=0.01)


def test_results_go_stale_with_their_inputs(scene, masks, motion, margin, plan):
    case = CaseScene.create(masks["image"], image=masks["image"], liver=masks["liver"])
    case.add_lesion("one", masks["tumor"])
    case.add_after(masks["zone"], motion)
    case.replace_zone("one", masks["zone"])
    case.replace_plan("one", plan)
    case.replace_margin("one", margin)
    provenance.set_content_hash(case.volume, "another image")
    for role in ("plan", "probe", "planned_zone", "margin", surfaces.MARGIN_ROLE, "fusion"):
        assert provenance.is_stale(node_with_role(role)), role


def test_margin_from_a_file_has_nothing_to_show(scene, masks, margin):
    case = CaseScene.create(masks["image"], image=masks["image"])
    case.add_lesion("one", masks["tumor"])
    with pytest.raises(Exception, match="measure it again"):
        case.replace_margin("one", MarginResult.from_dict(margin.to_dict()))


def test_pictures_and_report(scene, masks, motion, margin, plan, tmp_path):
    if not can_render():
        pytest.skip("no off-screen OpenGL on this machine")
    case = CaseScene.create(masks["image"], image=masks["image"], liver=masks["liver"])
    case.add_lesion("one", masks["tumor"])
    case.add_after(masks["zone"], motion, masks["image"])
    case.replace_zone("one", masks["zone"])
    case.replace_plan("one", plan)
    case.replace_margin("one", margin)
    shown = list(lesion_pictures(case, "one"))
    assert [picture.caption.split(":")[0] for picture in shown][1:4] == ["Before", "After, fused", "After, fused"]
    assert len({picture.png for picture in shown}) == len(shown) == 5

    notes = present_margin(
        margin,
        tumor=masks["tumor"],
        zone=masks["zone"],
        fixed_to_moving=motion,
        image=masks["image"],
        report_folder=tmp_path / "report",
    )
    assert notes == []
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 3


def test_a_case_that_is_planned_only_is_reported(case, masks, plan, tmp_path):
    other = case.add_lesion("Jane Doe", masks["tumor"])
    case.replace_plan(other, plan)
    for lesion_id in set(case.lesions) - {other}:
        case.remove_lesion(lesion_id)
    path = write_case_report(case, tmp_path / "report")
    page = path.read_text(encoding="utf-8")
    assert "<h2>L1</h2>" in page
    assert "Jane" not in page
    assert "no ablation zone is drawn yet" in page
    assert "Entry R, A, S mm" in page
    assert "not measured" in page
    case.remove_lesion(other)
    with pytest.raises(InputError, match="segment a lesion first"):
        write_case_report(case, tmp_path / "report")


def test_report_without_opengl_says_so(scene, masks, margin, tmp_path, monkeypatch):
    monkeypatch.setattr("NETAblationLib.scene.offscreen.can_render", lambda: False)
    notes = present_margin(margin, tumor=masks["tumor"], zone=masks["zone"], report_folder=tmp_path)
    assert len(notes) == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no off-screen OpenGL" in page
    assert 'src="data:image/png' not in page


@pytest.fixture
def case(scene, masks, motion, margin, plan):
    case = CaseScene.create(masks["image"], image=masks["image"], liver=masks["liver"])
    case.add_lesion("one", masks["tumor"])
    case.add_after(masks["zone"], None, masks["image"])
    case.replace_fusion(motion, {"schema_version": 1, "verdict": "good", "estimated_error_mm": 0.7})
    case.replace_zone("one", masks["zone"])
    case.replace_plan("one", plan)
    case.replace_margin("one", margin)
    return case


def states(case):
    return {step.key: step.state for step in case_steps(case)}


def test_an_opened_scene_is_the_case(case, masks, plan, margin, tmp_path):
    case.save(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    assert CaseScene.open() is None
    storage.load_scene(tmp_path / "case.mrb")
    opened = CaseScene.open()
    lesion = opened.lesions["one"]
    assert lesion.name == "one"
    assert lesion.plan == plan
    assert lesion.margin_result.mam_mm == margin.mam_mm
    assert len(lesion.probe_lines) == len(plan.probes)
    assert opened.fusion_document()["verdict"] == "good"
    assert opened.notice_edits() == []
    for found, exact in ((opened.tumor_mask("one"), masks["tumor"]), (opened.zone_mask("one"), masks["zone"])):
        back = sitk.Resample(found, exact, sitk.Transform(), sitk.sitkNearestNeighbor)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(exact))
    assert set(states(opened).values()) - {"done"} == {"to do"}  # organs at risk
    with pytest.raises(InputError, match="holds a case already"):
        CaseScene.create(masks["image"])


def test_results_are_replaced_not_doubled(case, plan, margin, motion, masks):
    before = slicer.mrmlScene.GetNumberOfNodes()
    case.replace_plan("one", plan)
    case.replace_margin("one", margin)
    case.replace_zone("one", masks["zone"])
    case.replace_liver(masks["liver"])
    case.replace_fusion(motion, {"schema_version": 1})
    case.replace_margin("one", margin)
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert states(case)["margin"] == "done"


@pytest.mark.skipif(not can_render(), reason="no off-screen OpenGL")
def test_the_slices_cut_the_zone_that_is_planned(scene, masks, plan):
    """As a line in the slices, at once: without a probe having been moved."""
    case = CaseScene.create(masks["image"], image=masks["image"])
    case.add_lesion("one", masks["tumor"])
    case.replace_plan("one", plan)
    (ablation,) = plan.probes[0].ablations
    model = case.lesions["one"].planned_zone
    with slice_view((300, 300)) as view:
        view.look_at(case.volume, np.array(ablation.center_ras_mm), np.diag([-1.0, 1.0, 1.0]), 80.0)
        shown = png_of(view.window)
        model.GetDisplayNode().SetVisibility2D(False)
        assert png_of(view.window) != shown


def test_a_new_fusion_makes_margins_stale_and_no_plan(case, motion):
    case.replace_fusion(motion)
    assert states(case)["margin"] == "stale"
    assert states(case)["plan"] == "done"


def test_edits_of_a_mask_are_noticed(case, masks):
    """As the Segment Editor does it: the labelmap of the segment changes, nothing else."""
    grown = sitk.BinaryDilate(masks["tumor"], [1, 1, 1])
    extent = case.lesions["one"].extent_mm
    segmentations.update_segment(case.before, "one", grown)
    assert case.notice_edits() == ["one"]
    assert case.lesions["one"].extent_mm > extent + 1.0
    assert case.notice_edits() == []
    assert {key: state for key, state in states(case).items() if state == "stale"} == dict.fromkeys(
        ("plan", "margin"), "stale"
    )
    segmentations.update_segment(case.before, "one", grown * 0)
    case.notice_edits()
    assert states(case)["lesions"] == "stale"


def test_a_change_of_one_lesion_leaves_the_other(case, masks, plan):
    other = case.add_lesion("two", masks["tumor"])
    case.replace_plan(other, plan)
    case.update_lesion("one", sitk.BinaryErode(masks["tumor"], [1, 1, 1]))
    assert provenance.is_stale(case.lesions["one"].plan_node)
    assert not provenance.is_stale(case.lesions[other].plan_node)
    with pytest.raises(EmptyMaskError):
        case.update_lesion("one", masks["tumor"] * 0)
    case.rename_lesion(other, "segment 4")
    assert case.lesions[other].name == "segment 4"
    assert case.lesions[other].plan_node.GetName() == "segment 4 plan"
    with pytest.raises(InputError, match="another lesion"):
        case.rename_lesion(other, "one")


def test_a_removed_lesion_leaves_nothing(case, masks, plan):
    before = slicer.mrmlScene.GetNumberOfNodes()
    other = case.add_lesion("two", masks["tumor"])
    case.replace_plan(other, plan)
    case.replace_zone(other, masks["zone"])
    case.remove_lesion(other)
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert list(case.lesions) == ["one"]
    segmentations.remove_segment(case.before, "one")
    assert case.notice_edits() == ["one"]
    assert provenance.is_stale(node_with_role("plan"))


def test_volumes_of_the_scene_are_adopted(scene, masks):
    volume = volumes.add_volume(masks["image"], "3: abdomen", provenance.Provenance(""))
    case = CaseScene.adopt(volume)
    assert case.volume is volume
    with pytest.raises(InputError, match="is the planning image"):
        case.adopt_after(volume)
    post, later = (volumes.add_volume(masks["image"] + n, f"after {n}", provenance.Provenance("")) for n in (1, 2))
    case.adopt_after(post)
    case.add_lesion("one", masks["tumor"])
    case.replace_fusion(sitk.TranslationTransform(3, [1.0, 0.0, 0.0]))
    case.replace_zone("one", masks["zone"])
    assert post.GetParentTransformNode() is case.transform
    case.adopt_after(later)
    assert case.post_volume is later
    assert case.transform is None
    assert post.GetParentTransformNode() is None
    assert case.lesions["one"].zone_segment is None
    assert states(case)["fusion"] == "to do"


def test_without_a_case_all_is_to_do(scene):
    assert set(states(None).values()) == {"to do"}
