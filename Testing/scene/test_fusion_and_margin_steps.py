"""Fusion, landmarks, zones and margins as steps of a case, on the small digital patient."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from NETAblationLib.core import frames
from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import EmptyMaskError, GeometryError, InputError
from NETAblationLib.core.fusion import FusionResult
from NETAblationLib.core.images import image_hash
from NETAblationLib.core.margins import measure_margin
from NETAblationLib.core.plans import Plan
from NETAblationLib.core.probes import Probe, ablation_at_tip
from NETAblationLib.scene import (
    fusion_looks,
    fusion_steps,
    landmarks,
    margin_steps,
    next_probe,
    nodes,
    provenance,
    segmentations,
    storage,
    transforms,
    zone_steps,
)
from NETAblationLib.scene.case_steps import DONE, PROBLEM, STALE, TO_DO, case_steps
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.offscreen import can_render
from NETAblationLib.scene.placing import LandmarkPlacing, ZoneDrawing
from NETAblationLib.scene.view_windows import slice_view
from support import shapes
from support.mouse import Mouse

FIGURES = {
    "verdict": "doubtful",
    "verdict_reasons": ["vessels near the lesion differ"],
    "estimated_error_mm": 1.2,
    "error_bound_90_mm": 2.4,
    "lesion_error_mm": [1.1, 1.4],
    "lesion_error_bound_90_mm": [1.5, 2.0],
    "jacobian_min": 0.8,
    "jacobian_max": 1.25,
}


class Fused:
    """A fusion's result as `fuse` returns it, of the patient's true motion."""

    def __init__(self, transform: sitk.Transform, **figures: object) -> None:
        """Give back `figures`."""
        self.transform, self._figures = transform, figures

    def to_dict(self) -> dict[str, object]:
        """As a fusion's."""
        return {"schema_version": 1, **self._figures}


@pytest.fixture(scope="module")
def motion(small_patient):
    return small_patient.pre_to_post_transform(4.0)


@pytest.fixture(scope="module")
def masks(small_patient) -> dict[str, sitk.Image]:
    """The patient's masks, which are made anew each time one asks the patient."""
    lesion = small_patient.short_lesion
    return {
        "liver": small_patient.masks["liver"],
        "post_liver": small_patient.post_liver,
        "tumor": lesion.mask,
        "zone": lesion.zone_mask,
    }


@pytest.fixture
def case(scene, small_patient, masks) -> CaseScene:
    """The patient before and after, with livers and the lesion whose margin is short; not fused."""
    case = CaseScene.create(small_patient.portal, image=small_patient.portal, liver=masks["liver"])
    case.add_lesion("L1", masks["tumor"])
    case.add_after(small_patient.post, None, small_patient.post)
    case.replace_post_structure(masks["post_liver"], "liver")
    return case


@pytest.fixture
def lesion_id(case) -> str:
    return next(iter(case.lesions))


def fused(case, motion, **figures) -> None:
    fusion_steps.apply_fusion(case, fusion_steps.FusionInputs.of(case), Fused(motion, **{**FIGURES, **figures}))


def drawn(name, mask, volume=None):
    """A segmentation that a user made: it has no role."""
    node = segmentations.add_segmentation(mask, name, provenance.Provenance(""), volume=volume)
    segmentations.add_segment(node, mask, "zone")
    return node


def draw_zone_line(case, lesion_id, small_patient) -> None:
    line = zone_steps.new_zone_line(case, lesion_id)
    for end in small_patient.short_lesion.zone_line_post_ras_mm:
        line.AddControlPoint(end)


# --- fusion ---------------------------------------------------------------------------------


def test_a_fusion_is_asked_for_what_is_missing(scene, small_patient):
    assert "before" in fusion_steps.missing_for_fusion(None)
    case = CaseScene.create(small_patient.portal, image=small_patient.portal)
    assert "after" in fusion_steps.missing_for_fusion(case)
    with pytest.raises(InputError, match="image after ablation"):
        fusion_steps.FusionInputs.of(case)


def test_inputs_of_a_fusion_are_what_was_put_in(case, small_patient, masks, lesion_id):
    assert fusion_steps.missing_for_fusion(case) == ""
    case.replace_zone(lesion_id, masks["zone"])
    inputs = fusion_steps.FusionInputs.of(case)
    assert image_hash(inputs.fixed) == image_hash(small_patient.portal)
    assert image_hash(inputs.moving) == image_hash(small_patient.post)
    assert image_hash(inputs.fixed_liver) == image_hash(masks["liver"])
    assert inputs.excluded == ((lesion_id, "tumor"), (lesion_id, "zone"))
    tumor = masks["tumor"]
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(inputs.exclude[0]),
        sitk.GetArrayFromImage(sitk.Resample(tumor, inputs.fixed, sitk.Transform(), sitk.sitkNearestNeighbor)),
    )


def test_a_real_fusion_through_the_steps(scene):
    """A liver with vessels, moved by a few millimeters, is found where it went."""
    grid = shapes.grid((-40, -40, -40), (40, 40, 40), (2.5, 2.5, 2.5))
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, grid.GetSize()[::-1]))
    noise.CopyInformation(grid)
    texture = sitk.SmoothingRecursiveGaussian(noise, 4.0)
    liver = shapes.mask_of(shapes.sphere((0, 0, 0), 28), grid)
    image = sitk.Cast(liver, sitk.sitkFloat32) * 100 + sitk.Cast(
        sitk.RescaleIntensity(texture, -60, 60), sitk.sitkFloat32
    )
    motion = np.eye(4)
    motion[:3, 3] = (4.0, -3.0, 2.0)
    back = frames.affine_transform(np.linalg.inv(motion))
    moved = sitk.Resample(image, back, sitk.sitkLinear, -60.0)
    moved_liver = sitk.Resample(liver, back, sitk.sitkNearestNeighbor)
    case = CaseScene.create(image, image=image, liver=liver)
    case.add_after(moved, None, moved)
    case.replace_post_structure(moved_liver, "liver")
    inputs = fusion_steps.FusionInputs.of(case)
    words = []
    result = inputs.fuse(lambda _fraction, word: words.append(word), preset="fast")
    assert isinstance(result, FusionResult)
    assert len(set(words)) > 2
    node = fusion_steps.apply_fusion(case, inputs, result)
    points = np.array([[0.0, 0, 0], [15, 0, 0], [0, -12, 8]])
    np.testing.assert_allclose(transforms.map_points(node, points, to_parent=False), points + motion[:3, 3], atol=1.0)
    verdict = fusion_steps.fusion_verdict(case)
    assert verdict.word in fusion_steps.VERDICT_COLORS
    assert "mm" in dict(verdict.figures)["Error in the liver"]


def test_verdict_in_words_and_figures(case, motion, lesion_id):
    assert fusion_steps.fusion_verdict(case).word == fusion_steps.NONE
    fused(case, motion)
    verdict = fusion_steps.fusion_verdict(case)
    assert verdict.word == "doubtful"
    assert verdict.reasons == ("vessels near the lesion differ",)
    assert dict(verdict.figures)["Error in the liver"] == "1.2 mm (90 % sure below 2.4 mm)"
    assert dict(verdict.figures)["Volume change of tissue"] == "80 to 125 %"
    assert "landmark" in verdict.advice
    fused(case, motion, verdict=None, verdict_reasons=None, warnings=["livers far apart"])
    assert fusion_steps.fusion_verdict(case).word == fusion_steps.NOT_JUDGED
    assert fusion_steps.fusion_verdict(case).reasons == ("livers far apart",)
    provenance.set_content_hash(case.post_volume, "another")
    assert fusion_steps.fusion_verdict(case).word == fusion_steps.STALE


def test_a_doubt_near_one_lesion_is_none_near_another(case, motion, lesion_id):
    assert fusion_steps.near_lesion(case, lesion_id).error_mm is None
    assert fusion_steps.word_near(case, lesion_id) == fusion_steps.NONE
    figures = {**FIGURES, "lesion_error_mm": [4.0, 0.5], "lesion_verdict": ["doubtful", "good"]}
    document = {**figures, fusion_steps.EXCLUDED: [["another", "tumor"], [lesion_id, "tumor"]]}
    case.replace_fusion(motion, document)
    assert fusion_steps.fusion_verdict(case).word == fusion_steps.DOUBTFUL
    assert fusion_steps.near_lesion(case, lesion_id).error_mm == 0.5
    assert fusion_steps.word_near(case, lesion_id) == fusion_steps.GOOD
    assert fusion_steps.word_near(case, "another") == fusion_steps.DOUBTFUL
    assert fusion_steps.word_near(case, "not left out") == fusion_steps.DOUBTFUL
    provenance.set_content_hash(case.post_volume, "another")
    assert fusion_steps.word_near(case, lesion_id) == fusion_steps.STALE


def test_zones_that_drove_the_fusion_are_named(case, motion, masks, lesion_id):
    def fusion_step():
        return next(step for step in case_steps(case) if step.key == "fusion")

    assert "No ablation zone yet: L1." in fusion_steps.zone_warning(case)
    assert "left: L1" in fusion_step().reason
    fused(case, motion)
    assert "L1" in fusion_steps.zone_warning(case)
    assert fusion_steps.zones_in_the_way(case) == []
    case.replace_zone(lesion_id, masks["zone"])
    assert fusion_steps.zone_warning(case) == ""
    assert fusion_steps.zones_in_the_way(case) == ["L1"]
    assert "Fuse again" in fusion_steps.fusion_verdict(case).advice
    assert (fusion_step().state, "L1" in fusion_step().reason) == (STALE, True)
    fused(case, motion)
    assert fusion_steps.zones_in_the_way(case) == []
    assert (fusion_step().state, "vessels near the lesion differ" in fusion_step().reason) == (PROBLEM, True)
    fused(case, motion, verdict="good")
    assert fusion_step().state == DONE
    assert ("Error near L1", "1.4 mm (90 % sure below 2.0 mm)") in fusion_steps.fusion_verdict(case).figures


def test_the_step_of_zones_asks_for_those_of_treated_lesions_only(case, masks, lesion_id):
    def zones():
        return next(step for step in case_steps(case) if step.key == "zones")

    case.add_lesion("L2", sitk.BinaryErode(masks["tumor"], [1, 1, 1]))
    assert zone_steps.lesions_without_zone(case) == ["L1", "L2"]
    assert zones().state == TO_DO
    case.replace_zone(lesion_id, masks["zone"])
    assert zones().state == DONE  # nothing says that the other was treated
    assert "No ablation zone yet: L2." in fusion_steps.zone_warning(case)  # but it may have been
    case.remove_lesion(lesion_id)
    assert zones().state == TO_DO


# --- landmarks ------------------------------------------------------------------------------


def test_landmarks_keep_their_places_through_a_fusion(case, motion, small_patient):
    """Points pointed at in the views: before in the world, after wherever the fusion shows it."""
    pairs = landmarks.LandmarkPairs(case)
    before = small_patient.short_lesion.center_ras_mm
    after = small_patient.pre_to_post(before[None])[0]
    assert pairs.next_side() == landmarks.BEFORE
    pairs.place(landmarks.BEFORE, before)
    assert pairs.next_side() == landmarks.AFTER
    assert pairs.complete() == ()
    pairs.place(landmarks.AFTER, after)  # not fused yet: the image after is seen where its scanner put it
    assert landmarks.mean_residual_mm(pairs.pairs()) == pytest.approx(np.linalg.norm(after - before))
    fused(case, motion)
    assert landmarks.mean_residual_mm(pairs.pairs()) < 0.3  # of the field's interpolation
    np.testing.assert_allclose(pairs.complete()[0][1], after, atol=1e-9)
    np.testing.assert_allclose(pairs.node(landmarks.AFTER).GetNthControlPointPositionWorld(0), before, atol=0.3)
    # A second pair, pointed at in the fused views 3 mm off.
    pairs.place(landmarks.BEFORE, before + np.array([20, 0, 0]))
    pairs.place(landmarks.AFTER, before + np.array([20, 0, 3]))
    assert pairs.pairs()[1].residual_mm == pytest.approx(3.0, abs=1.0)
    np.testing.assert_allclose(pairs.show(1), before + np.array([20, 0, 0]))
    document = fusion_steps.FusionInputs.of(case, pairs.complete())
    assert len(document.landmarks) == 2
    pairs.remove(0)
    assert len(pairs.complete()) == 1


def test_landmarks_after_need_an_image_after(scene, small_patient):
    case = CaseScene.create(small_patient.portal, image=small_patient.portal)
    with pytest.raises(InputError, match="image after"):
        landmarks.LandmarkPairs(case).place(landmarks.AFTER, [0, 0, 0])


# --- zones ----------------------------------------------------------------------------------


def test_zone_from_a_line_in_the_frame_after(case, motion, small_patient, masks, lesion_id):
    with pytest.raises(InputError, match="diameter"):
        zone_steps.ZoneInputs.of(case, lesion_id)
    fused(case, motion)
    draw_zone_line(case, lesion_id, small_patient)
    inputs = zone_steps.ZoneInputs.of(case, lesion_id)
    np.testing.assert_allclose(inputs.line_ras_mm, small_patient.short_lesion.zone_line_post_ras_mm)
    result = inputs.segment()
    zone_steps.apply_zone(case, inputs, result)
    truth = sitk.Resample(masks["zone"], small_patient.post, sitk.Transform())
    found = sitk.GetArrayFromImage(segmentations.segment_mask(case.after, case.lesions[lesion_id].zone_segment)) > 0
    true = sitk.GetArrayFromImage(truth) > 0
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.85
    assert zone_steps.zone_warnings(lesion_id) == result.warnings
    line = zone_steps.zone_line(lesion_id)
    assert line.GetAttribute(nodes.LESION) == lesion_id
    # Another line replaces it.
    assert zone_steps.new_zone_line(case, lesion_id) is zone_steps.zone_line(lesion_id)
    assert len(provenance.nodes_with_role(zone_steps.ZONE_LINE_ROLE)) == 1


@pytest.mark.parametrize("drawn_in", ["after", "world"])
def test_zone_taken_from_a_segmentation(case, motion, small_patient, masks, lesion_id, drawn_in):
    """Drawn on the image after it is taken as it is; drawn in the planning frame it is carried by the fusion."""
    fused(case, motion)
    truth = sitk.Resample(masks["zone"], small_patient.post, sitk.Transform(), sitk.sitkNearestNeighbor)
    mask = truth
    if drawn_in == "world":
        mask = sitk.Resample(truth, small_patient.portal, motion, sitk.sitkNearestNeighbor)
    volume = case.post_volume if drawn_in == "after" else case.volume
    drawn("Drawn", mask, volume)
    (source,) = zone_steps.zone_sources()
    assert source.name == "Drawn: Ablation zone"
    zone_steps.adopt_zone(case, lesion_id, source)
    found = sitk.GetArrayFromImage(segmentations.segment_mask(case.after, case.lesions[lesion_id].zone_segment)) > 0
    true = sitk.GetArrayFromImage(truth) > 0
    overlap = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert overlap == 1.0 if drawn_in == "after" else overlap > 0.95


def test_a_segment_that_is_no_zone_is_refused(case, lesion_id):
    far = sitk.Image([4, 4, 4], sitk.sitkUInt8) + 1
    far.SetOrigin([5000, 0, 0])
    drawn("Far", far)
    drawn("Empty", sitk.Image([4, 4, 4], sitk.sitkUInt8))
    first, second = zone_steps.zone_sources()
    with pytest.raises(GeometryError, match="nothing of it"):
        zone_steps.adopt_zone(case, lesion_id, first)
    with pytest.raises(EmptyMaskError):
        zone_steps.adopt_zone(case, lesion_id, second)
    assert case.lesions[lesion_id].zone_segment is None


# --- margins --------------------------------------------------------------------------------


@pytest.fixture
def treated(case, motion, masks, lesion_id) -> CaseScene:
    """The case fused by the true motion, with the lesion's true zone."""
    case.replace_zone(lesion_id, masks["zone"])
    fused(case, motion)
    return case


def test_what_a_margin_lacks_is_said_in_order(case, motion, masks, lesion_id):
    assert "before" in margin_steps.missing_for_margin(None, lesion_id)
    assert "lesion" in margin_steps.missing_for_margin(case, "none")
    assert "fuse" in margin_steps.missing_for_margin(case, lesion_id)
    fused(case, motion)
    assert "zone" in margin_steps.missing_for_margin(case, lesion_id)
    with pytest.raises(InputError, match="zone"):
        margin_steps.MarginInputs.of(case, lesion_id)
    case.replace_zone(lesion_id, masks["zone"])
    assert margin_steps.missing_for_margin(case, lesion_id) == ""


def test_margin_of_the_case_is_that_of_its_masks(treated, motion, small_patient, masks, lesion_id, tmp_path):
    case = treated
    inputs = margin_steps.MarginInputs.of(case, lesion_id, 5.0)
    assert inputs.registration_error_mm == 1.4
    measured = inputs.measure()
    direct = measure_margin(
        masks["tumor"],
        masks["zone"],
        liver=masks["liver"],
        fixed_to_moving=motion,
        registration_error_mm=1.4,
    )
    assert measured.result.mam_mm == pytest.approx(direct.mam_mm, abs=0.02)
    margin_steps.apply_margin(case, lesion_id, measured)
    summary = margin_steps.margin_summary(case, lesion_id)
    assert summary.verdict == direct.verdict == "not reached"
    assert f"{direct.mam_mm:.1f} mm" in summary.headline
    assert "90 %" in summary.interval
    assert [row[0] for row in summary.shells] == ["3 mm", "5 mm", "6 mm", "10 mm"]
    assert sum(float(text.split()[0]) for _, text in summary.shares[:3]) == pytest.approx(100, abs=0.2)
    assert summary.stale == ""
    np.testing.assert_allclose(
        margin_steps.weakest_point(case, lesion_id), measured.result.mam_location_ras_mm, atol=1e-6
    )

    residual = margin_steps.residual_node(lesion_id)
    assert not margin_steps.is_residual_shown(lesion_id)
    volume_ml = {
        segmentations.segment_kind(residual, segment_id): sitk.GetArrayFromImage(
            segmentations.segment_mask(residual, segment_id)
        ).sum()
        * np.prod(small_patient.portal.GetSpacing())
        / 1000
        for segment_id in segmentations.segment_ids(residual)
    }
    assert volume_ml["residual_margin"] == pytest.approx(direct.residual_margin_volume_ml, rel=0.15)
    margin_steps.show_residual(lesion_id, True)
    assert margin_steps.is_residual_shown(lesion_id)

    # Measured again, all is replaced and nothing left over.
    count = slicer.mrmlScene.GetNumberOfNodes()
    margin_steps.apply_margin(case, lesion_id, measured)
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert margin_steps.is_residual_shown(lesion_id)

    case.save(tmp_path / "case.mrb")
    slicer.mrmlScene.Clear(False)
    storage.load_scene(tmp_path / "case.mrb")
    opened = CaseScene.open()
    assert margin_steps.margin_summary(opened, lesion_id) == summary
    assert margin_steps.residual_node(lesion_id) is not None
    # Another fusion makes the margin, and with it the residual, stale.
    fused(opened, motion)
    assert "fused" in margin_steps.margin_summary(opened, lesion_id).stale
    assert provenance.is_stale(margin_steps.residual_node(lesion_id))


def test_zones_that_touch_are_measured_as_one_and_what_changes_them_is_noticed(
    treated, small_patient, masks, lesion_id
):
    case = treated
    zone = sitk.GetArrayFromImage(masks["zone"])
    cut = int(np.median(np.nonzero(zone)[0]))  # the zone was drawn as two, the halves under two lesions
    halves = []
    for part in (slice(cut, None), slice(None, cut)):
        half = zone.copy()
        half[part] = 0
        halves.append(sitk.GetImageFromArray(half))
        halves[-1].CopyInformation(masks["zone"])
    other = case.add_lesion("L2", small_patient.lesions[-1].mask)
    whole = margin_steps.MarginInputs.of(case, lesion_id).measure()
    margin_steps.apply_margin(case, lesion_id, whole)
    case.replace_zone(lesion_id, halves[0])
    alone = margin_steps.MarginInputs.of(case, lesion_id).measure()
    margin_steps.apply_margin(case, lesion_id, alone)
    assert alone.result.residual_tumor_volume_ml > 0.2
    assert margin_steps.margin_summary(case, lesion_id).stale == ""

    case.replace_zone(other, halves[1])
    assert "touches" in margin_steps.margin_summary(case, lesion_id).stale
    joined = margin_steps.MarginInputs.of(case, lesion_id).measure()
    margin_steps.apply_margin(case, lesion_id, joined)
    assert joined.result.mam_mm == pytest.approx(whole.result.mam_mm, abs=0.3)
    assert any(case.lesions[other].name in text for text in joined.result.warnings)
    assert margin_steps.margin_summary(case, lesion_id).stale == ""
    case.replace_zone(other, halves[0])
    assert margin_steps.margin_summary(case, lesion_id).stale != ""


def test_a_zone_that_contracted_is_enlarged(treated, lesion_id):
    drawn = margin_steps.MarginInputs.of(treated, lesion_id, 5.0).measure().result
    enlarged = margin_steps.MarginInputs.of(treated, lesion_id, 5.0, 0.1).measure().result
    assert enlarged.mam_mm > drawn.mam_mm + 0.5
    assert any("contracted" in text for text in enlarged.warnings)


@pytest.fixture
def slice_nodes(scene):
    """The nodes of two slice views, (slice, composite); singletons, which clearing the scene would keep."""
    made = []
    for name in ("Red", "Yellow"):
        pair = slicer.vtkMRMLSliceNode(), slicer.vtkMRMLSliceCompositeNode()
        for node in pair:
            node.SetLayoutName(name)
        made.append(tuple(scene.AddNode(node) for node in pair))
    yield made
    for pair in made:
        for node in pair:
            scene.RemoveNode(node)


# --- looking --------------------------------------------------------------------------------


def test_blend_and_flicker_in_all_views(case, slice_nodes):
    composites = [node for _, node in slice_nodes]
    fusion_looks.show_blend(case, 0.4)
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == case.volume.GetID()
        assert composite.GetForegroundVolumeID() == case.post_volume.GetID()
        assert composite.GetForegroundOpacity() == pytest.approx(0.4)
    seen = []
    for _ in range(3):
        fusion_looks.flicker(case)
        seen.append(fusion_looks.blend_fraction())
    assert seen == [1.0, 0.0, 1.0]


def test_checkerboard_and_difference_of_both_images(case, motion, small_patient, slice_nodes):
    fused(case, motion)
    both = fusion_looks.BothImages.of(case)
    image = both.checkerboard()
    values = sitk.GetArrayFromImage(image)
    lower, upper = both.window
    moved = sitk.Resample(small_patient.post, small_patient.portal, case.fixed_to_moving(), sitk.sitkLinear, -1024.0)
    shown = [
        np.clip((sitk.GetArrayFromImage(part) - lower) / (upper - lower), 0, 1)
        for part in (small_patient.portal, moved)
    ]
    is_before, is_after = (np.isclose(values, part, atol=1e-5) for part in shown)
    assert 0.3 < is_before.mean() < 0.9
    assert (is_before | is_after).mean() > 0.99
    fusion_looks.show_checkerboard(case, image)
    volume = fusion_looks.show_checkerboard(case, image)
    assert provenance.nodes_with_role(fusion_looks.CHECKERBOARD_ROLE) == [volume]
    difference = both.difference()
    np.testing.assert_allclose(sitk.GetArrayFromImage(difference), shown[1] - shown[0], atol=1e-5)
    volume = fusion_looks.show_difference(case, difference)
    assert {node.GetBackgroundVolumeID() for _, node in slice_nodes} == {volume.GetID()}
    display = volume.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-1.0, 1.0)  # gray where both are alike
    assert slice_nodes[0][1].GetBackgroundVolumeID() == volume.GetID()


def test_outlines_of_both_livers(case):
    assert fusion_looks.missing_for_outlines(case) == ""
    assert fusion_looks.missing_for_outlines(None) != ""
    for shown in (True, False):
        fusion_looks.show_liver_outlines(case, shown)
        for segmentation in (case.before, case.after):
            (liver,) = segmentations.segment_ids(segmentation, "liver")
            assert segmentation.GetDisplayNode().GetSegmentVisibility2DOutline(liver) is shown


# --- pointing in the views ------------------------------------------------------------------

AXIAL = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_clicks_place_a_pair_and_a_zone_that_a_drag_changes(case, motion, small_patient, lesion_id):
    if not can_render():
        pytest.skip("no off-screen OpenGL on this machine")
    fused(case, motion)
    center = small_patient.short_lesion.center_ras_mm
    right = np.array([20.0, 0.0, 0.0])
    pixel_mm = 200.0 / 400
    with slice_view((400, 400)) as view:
        view.look_at(case.volume, center, AXIAL, 200.0)
        mouse = Mouse(view)
        sides = []
        placing = LandmarkPlacing(case, lambda: sides.append(placing.side))
        composite = view.logic.GetSliceCompositeNode()
        assert composite.GetForegroundOpacity() == 0.0
        mouse.click(center)
        assert composite.GetForegroundOpacity() == 1.0  # now the image after is pointed at
        mouse.click(center + right / 4)
        mouse.click(center - right)
        assert sides == ["after", "before", "after"]
        placing.stop()  # the half pair goes
        (pair,) = landmarks.LandmarkPairs(case).pairs()
        assert np.linalg.norm(pair.before_ras_mm - center) < 2 * pixel_mm
        assert pair.residual_mm == pytest.approx(5.0, abs=1.5)

        drawn_lines = []
        drawing = ZoneDrawing(lambda of_lesion: drawn_lines.append(zone_steps.ZoneInputs.of(case, of_lesion)))
        drawing.begin(case, lesion_id)
        assert drawing.is_placing
        mouse.click(center - right)
        mouse.click(center + right)
        assert not drawing.is_placing
        ends = frames.transform_points(motion, [center - right, center + right])
        assert np.linalg.norm(drawn_lines[0].line_ras_mm - ends, axis=1).max() < 2 * pixel_mm
        view.window.Render()
        mouse.drag(center + right, center + 1.5 * right)
        moved = frames.transform_points(motion, [center + 1.5 * right])
        assert np.linalg.norm(drawn_lines[-1].line_ras_mm[1] - moved) < 2 * pixel_mm
        drawing.stop()
        mouse.drag(center + 1.5 * right, center + right)
        assert len(drawn_lines) == 2


def test_drawing_a_zone_can_be_given_up(case, lesion_id):
    drawing = ZoneDrawing(lambda _: None)
    drawing.begin(case, lesion_id)
    drawing.stop()
    assert not drawing.is_placing
    assert zone_steps.zone_line(lesion_id) is None


# --- the next probe -------------------------------------------------------------------------


def test_the_next_probe_is_asked_to_cover_what_was_left(treated, small_patient, lesion_id):
    case, lesion = treated, small_patient.short_lesion
    device = next(iter(load_catalogue().values()))
    assert "margin" in next_probe.missing_for_next_probe(case, lesion_id)
    measured = margin_steps.MarginInputs.of(case, lesion_id).measure()
    margin_steps.apply_margin(case, lesion_id, measured)
    assert next_probe.missing_for_next_probe(case, lesion_id) == ""
    request = next_probe.next_probe_request(case, lesion_id, device)
    assert request.asked.margin_mm == 0.0
    left = np.argwhere(sitk.GetArrayFromImage(request.tumor) > 0)[:, ::-1]
    result = measured.result
    left_ml = result.residual_tumor_volume_ml + result.residual_margin_volume_ml
    assert len(left) * np.prod(request.tumor.GetSpacing()) / 1000 == pytest.approx(left_ml, rel=0.15)
    center = frames.index_to_ras(request.tumor, left.mean(axis=0)[None])[0]
    # It lies on the side on which the zone was pulled back.
    assert (center - lesion.center_ras_mm) @ lesion.shortfall_direction_ras > 0

    direction = np.array([0.0, -1.0, 0.0])
    ablation = ablation_at_tip(device.settings[0], center + 10.0 * direction, direction)
    tip = center + 10.0 * direction
    probe = Probe(tuple(tip - 90.0 * direction), tuple(tip), (ablation,))
    plan = Plan(device.id, 0.0, (probe,), 1.0, 0.995, 6.1, 9.2, 18.8, 0.5, (), {}, {})
    assert next_probe.expected_mam_mm(case, lesion_id, plan) > result.mam_mm + 1.0
    added = next_probe.apply_next_probe(case, lesion_id, plan)
    assert [line.GetID() for line in case.lesions[lesion_id].probe_lines] == added
    provenance.mark_stale(case.lesions[lesion_id].margin_node)
    assert "stale" in next_probe.missing_for_next_probe(case, lesion_id)
