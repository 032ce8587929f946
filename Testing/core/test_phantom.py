"""The digital patient: its truth against independent computations, and what its images show."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import cKDTree

from NETAblationLib.core import frames
from NETAblationLib.core.errors import Cancelled, InputError
from NETAblationLib.core.phantom import DEFAULT_NOISE_HU, make_geometry, make_patient
from NETAblationLib.core.phantom.grids import Grid
from NETAblationLib.core.phantom.noise import CorrelatedNoise
from support.shapes import ellipsoid, mask_of, voxel_centers

_ORGANS = ("lung", "bone", "heart", "aorta", "vena_cava", "gallbladder", "stomach", "colon", "kidneys", "spleen")


@pytest.fixture(scope="module", params=[1, 2, 17])
def geometry(request):
    return make_geometry(request.param)


@pytest.fixture(scope="module")
def noise_free():
    return make_patient("small", seed=0, noise_hu=0.0)


def _array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def _mean_in(image: sitk.Image, mask: sitk.Image, erode: int = 1) -> float:
    inside = _array(sitk.BinaryErode(mask, [erode] * 3)) > 0
    return float(_array(image)[inside].mean())


def _dense_surface(shape, liver, spacing_mm=0.4):
    """Samples of a union's surface, by a formula of its own: points of each part outside the others."""
    samples = []
    for index, part in enumerate(shape.parts):
        count = int(4 * np.pi * part.semi_axes_mm.max() ** 2 / spacing_mm**2)
        z = np.linspace(-1, 1, count)
        turn = 2.399963229728653 * np.arange(count)
        unit = np.column_stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z])
        points = part.center_ras_mm + (unit * part.semi_axes_mm) @ part.axes.T
        for number, other in enumerate(shape.parts):
            if number != index:
                local = (points - other.center_ras_mm) @ other.axes / other.semi_axes_mm
                points = points[np.linalg.norm(local, axis=1) >= 1]
        samples.append(points if shape.organ is None else points[liver.level(points) <= 0])
    return np.concatenate(samples)


def test_every_patient_has_the_lesions_asked_for(geometry):
    kinds = [lesion.kind for lesion in geometry.lesions]
    assert 4 <= len(kinds) <= 8
    assert [kinds.count(kind) for kind in ("large", "subcapsular", "perivascular")] == [1, 1, 1]
    for lesion in geometry.lesions:
        longest = 2 * max(part.semi_axes_mm.max() for part in lesion.tumor.parts)
        assert 8.0 <= longest <= 60.0
        level = geometry.liver.level(lesion.tumor.surface_points(1.5)[0])
        assert level.max() < (1e-6 if lesion.kind == "subcapsular" else -1.0)
        if lesion.kind == "subcapsular":
            assert geometry.liver.capsule_distance(lesion.tumor.surface_points(1.5)[0]).min() < 0.1
        if lesion.kind == "large":
            assert longest >= 40.0
            assert len(lesion.zone.parts) >= 3
        if lesion.kind == "perivascular":
            tree = {"portal": geometry.portal, "hepatic": geometry.hepatic}[lesion.beside]
            points, radii = tree.centerline(0.5, min_radius_mm=2.5)
            gap = lesion.tumor.signed_distance(points) - radii
            assert 0.0 < gap.min() < 1.6


def test_vessel_trees_obey_murrays_law_and_leave_the_tumors_free(geometry):
    for tree in (geometry.portal, geometry.hepatic):
        assert tree.radii_mm.min() == pytest.approx(1.0)
        assert tree.radii_mm.max() >= 2.5
        for index in range(len(tree.radii_mm)):
            children = np.flatnonzero(tree.parents == index)
            if len(children):
                assert tree.radii_mm[index] ** 3 == pytest.approx((tree.radii_mm[children] ** 3).sum(), rel=1e-9)
            for child in children:
                np.testing.assert_allclose(tree.paths_ras_mm[child][0], tree.paths_ras_mm[index][-1], atol=1e-9)
        points, radii = tree.centerline(1.0)
        for lesion in geometry.lesions:
            near = np.linalg.norm(points - lesion.tumor.center_ras_mm, axis=1) < lesion.reach_mm + 8.0
            assert (lesion.tumor.signed_distance(points[near]) > 0.9 * radii[near]).all()


def test_the_motion_is_a_smooth_invertible_map_that_keeps_every_volume(geometry):
    motion, liver = geometry.deformation, geometry.liver.inner_points_ras_mm
    rng = np.random.default_rng(0)
    points = np.vstack([liver, rng.uniform(-250, 250, (3000, 3))])
    np.testing.assert_allclose(motion.post_to_pre(motion.pre_to_post(points)), points, atol=1e-6)
    np.testing.assert_allclose(motion.pre_to_post(motion.post_to_pre(points)), points, atol=1e-6)
    step = 0.01
    columns = [motion.pre_to_post(points + step * e) - motion.pre_to_post(points - step * e) for e in np.eye(3)]
    np.testing.assert_allclose(np.linalg.det(np.stack(columns, axis=2) / (2 * step)), 1.0, atol=1e-6)
    assert 5.0 < np.linalg.norm(motion.breathing(liver), axis=1).max() < 15.0
    assert 5.0 < np.linalg.norm(motion.translation_mm) < 15.0


def test_the_transforms_agree_with_the_exact_motion(small_patient):
    points = small_patient.geometry.liver.inner_points_ras_mm[::7]
    transform = small_patient.pre_to_post_transform()
    exact = small_patient.pre_to_post(points)
    assert np.abs(frames.transform_points(transform, points) - exact).max() < 0.1
    lps = [transform.TransformPoint(p) for p in frames.flip_lps_ras(points[::50]).tolist()]
    assert np.abs(frames.flip_lps_ras(lps) - exact[::50]).max() < 0.1
    back = frames.transform_points(small_patient.post_to_pre_transform(), exact)
    assert np.abs(back - points).max() < 0.1


def test_masks_agree_with_the_analytic_shapes(small_patient):
    for lesion in small_patient.lesions:
        if len(lesion.tumor_shape.parts) == 1 and lesion.tumor_shape.organ is None:
            part = lesion.tumor_shape.parts[0]
            level = ellipsoid(part.center_ras_mm, part.semi_axes_mm, part.axes)
            np.testing.assert_array_equal(_array(lesion.mask), _array(mask_of(level, small_patient.portal)))
            assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * np.prod(part.semi_axes_mm) / 1000)
        volume = _array(lesion.occupancy(3)).sum() * small_patient.pre_grid.voxel_volume_ml
        assert volume == pytest.approx(lesion.volume_ml, rel=0.02)
        assert _array(small_patient.masks["liver"])[_array(lesion.mask) > 0].mean() > 0.99


def test_masks_after_ablation_are_carried_by_the_motion(small_patient):
    rng = np.random.default_rng(3)
    centers = voxel_centers(small_patient.post)
    chosen = rng.choice(len(centers), 20000, replace=False)
    level = small_patient.geometry.liver.level(small_patient.post_to_pre(centers[chosen]))
    is_clear = np.abs(level) > 0.1
    found = _array(small_patient.post_liver).ravel()[chosen] > 0
    np.testing.assert_array_equal(found[is_clear], level[is_clear] < 0)
    lesion = small_patient.lesions[0]
    zone = _array(lesion.zone_mask).ravel() > 0
    near = np.flatnonzero(np.linalg.norm(centers - centers[zone].mean(axis=0), axis=1) < 45)[::11]
    before = small_patient.post_to_pre(centers[near])
    is_clear = np.abs(lesion.signed_margin_mm(before)) > 0.1
    np.testing.assert_array_equal(zone[near][is_clear], lesion.zone_shape.is_inside(before)[is_clear])


def test_the_organs_masks(small_patient):
    assert {*_ORGANS, "liver", "vessels", "portal_vein", "hepatic_vein", "body"} <= set(small_patient.masks)
    assert len(small_patient.masks) == len(list(small_patient.masks))
    count = np.zeros(small_patient.pre_grid.shape, np.uint8)
    body = _array(small_patient.masks["body"]) > 0
    for name in (*_ORGANS, "liver"):
        mask = _array(small_patient.masks[name])
        assert mask.any(), name
        assert body[mask > 0].all(), name
        count += mask
    assert count.max() == 1
    with pytest.raises(KeyError):
        small_patient.masks["appendix"]


def test_the_margins_are_exact(small_patient):
    """Against dense samples of the zone's surface, which can only overestimate a distance."""
    liver = small_patient.geometry.liver
    rng = np.random.default_rng(7)
    for lesion in small_patient.lesions[:4]:
        surface, _ = lesion.surface_points(1.0)
        surface = surface[rng.choice(len(surface), min(400, len(surface)), replace=False)]
        far = liver.capsule_distance(surface) > 12.0
        if not far.any():
            continue
        sampled = cKDTree(_dense_surface(lesion.zone_shape, liver)).query(surface[far])[0]
        margin = lesion.signed_margin_mm(surface[far])
        inner = np.abs(margin) < 12.0
        assert (np.abs(margin) - sampled)[inner].max() < 0.01
        assert (sampled - np.abs(margin))[inner].max() < 0.25
        np.testing.assert_array_equal(margin > 0, lesion.zone_shape.is_inside(surface[far]))


@pytest.mark.thorough
def test_the_smallest_margin_is_where_the_truth_says(small_patient):
    for lesion in small_patient.lesions:
        place = lesion.true_mam_location_ras_mm
        assert lesion.signed_margin_mm(place[None])[0] == pytest.approx(lesion.true_mam_mm, abs=1e-6)
        assert np.abs(lesion.tumor_shape.signed_distance(place[None])[0]) < 0.01
        assert lesion.is_evaluable(place[None], 4.99)[0]
        points, _ = lesion.surface_points(1.2)
        points = points[lesion.is_evaluable(points)]
        assert lesion.signed_margin_mm(points).min() > lesion.true_mam_mm - 0.01
        assert lesion.true_mam_whole_surface_mm <= lesion.true_mam_mm + 0.01
        assert lesion.is_short or lesion.true_mam_mm > 4.9


def test_one_lesion_is_short_in_its_direction(geometry):
    short = [lesion for lesion in geometry.lesions if lesion.shortfall_direction_ras is not None]
    assert len(short) == 1
    lesion = short[0]
    points, _ = lesion.tumor.surface_points(1.5)
    margin = -lesion.zone.signed_distance(points)
    assert margin.min() < 3.5
    toward = points[int(margin.argmin())] - lesion.tumor.center_ras_mm
    assert toward @ lesion.shortfall_direction_ras / np.linalg.norm(toward) > 0.7


def test_noise_has_the_asked_strength_and_is_correlated(small_patient, noise_free):
    noise = _array(small_patient.portal).astype(float) - _array(noise_free.portal)
    liver = _array(small_patient.masks["liver"]) > 0
    assert noise[liver].std() == pytest.approx(DEFAULT_NOISE_HU, rel=0.03)
    assert abs(noise[liver].mean()) < 0.5
    fine = CorrelatedNoise(Grid((256, 256, 8), (0.75, 0.75, 1.5), (0, 0, 0)), 20.0, (5, 1)).slices(0, 8)
    assert fine.std() == pytest.approx(20.0, rel=0.02)
    assert np.corrcoef(fine[:, :, 1:].ravel(), fine[:, :, :-1].ravel())[0, 1] > 0.3
    assert np.corrcoef(fine[1:].ravel(), fine[:-1].ravel())[0, 1] > 0.3


def test_contrast_by_phase(noise_free):
    patient, masks = noise_free, noise_free.masks
    liver = {name: _mean_in(getattr(patient, name), masks["liver"], 2) for name in ("arterial", "portal")}
    assert liver["portal"] > liver["arterial"] + 15
    assert _mean_in(patient.arterial, masks["aorta"]) > _mean_in(patient.portal, masks["aorta"]) + 80
    assert _mean_in(patient.arterial, masks["lung"]) < -750
    assert -130 < _mean_in(patient.portal, masks["fat"]) < -80
    assert _mean_in(patient.portal, masks["bone"], 0) > 150
    trunk = _array(masks["portal_vein"]) > 0
    assert np.percentile(_array(patient.portal)[trunk], 90) > liver["portal"] + 40
    for lesion in patient.lesions:
        inside = _array(lesion.occupancy(3)) > 0.99
        if inside.sum() < 20:
            continue
        assert _array(patient.arterial)[inside].mean() > liver["arterial"] + 10
        assert _array(patient.portal)[inside].mean() < liver["portal"] - 20
        assert _mean_in(patient.post, lesion.zone_mask) < 60
    largest = max(patient.lesions, key=lambda lesion: lesion.zone_volume_ml)
    assert _array(patient.post)[_array(largest.zone_mask) > 0].min() < -80  # gas


def test_edges_show_partial_volume(noise_free):
    lesion = max(noise_free.lesions, key=lambda lesion: lesion.volume_ml)
    share = _array(lesion.occupancy(4))
    edge = (share > 0.02) & (share < 0.98)
    assert np.corrcoef(share[edge], _array(noise_free.portal)[edge])[0, 1] < -0.6


def test_a_seed_gives_the_same_patient_again(small_patient, noise_free):
    for first, second in zip(small_patient.lesions, noise_free.lesions, strict=True):
        np.testing.assert_array_equal(_array(first.mask), _array(second.mask))
    np.testing.assert_array_equal(_array(small_patient.masks["vessels"]), _array(noise_free.masks["vessels"]))
    assert not np.allclose(make_geometry(3).torso.phase, small_patient.geometry.torso.phase)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"size": "huge"}, "size"),
        ({"noise_hu": -1.0}, "noise_hu"),
        ({"noise_hu": float("nan")}, "noise_hu"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
    ],
)
def test_bad_parameters_are_refused(arguments, word):
    with pytest.raises(InputError, match=word):
        make_patient(**arguments)


def test_the_work_can_be_cancelled():
    seen = []

    def stop_in_painting(fraction: float, message: str) -> None:
        seen.append(fraction)
        if fraction > 0.1:
            raise Cancelled

    with pytest.raises(Cancelled):
        make_patient("small", seed=0, progress=stop_in_painting)
    assert seen == sorted(seen)
    assert 0.0 <= seen[0] <= seen[-1] < 1.0
