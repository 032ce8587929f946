"""The liver against the digital patient's exact one, in every phase, orientation and with bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib import cli
from NETAblationLib.core import frames
from NETAblationLib.core.errors import Cancelled, ComputationError, GeometryError, ImageReadError, InputError
from NETAblationLib.core.images import read_mask, write_image
from NETAblationLib.core.liver import segment_liver
from NETAblationLib.core.phantom import make_patient
from NETAblationLib.core.torso import Torso, distance_mm
from support.shapes import rotation
from support.turning import oblique_voxels, turned_frame

TURN = rotation((1.0, -0.6, 0.5), -25.0)


@pytest.fixture(scope="module")
def patient():
    return make_patient("small", 1)


@pytest.fixture(scope="module")
def found(patient):
    return segment_liver(patient.portal)


def _inside(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(mask) > 0


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize(("phase", "least"), [("arterial", 0.93), ("portal", 0.93), ("post", 0.89)])
def test_the_liver_is_found_in_every_phase_without_a_click(patient, phase, least):
    exact = patient.post_liver if phase == "post" else patient.masks["liver"]
    result = segment_liver(getattr(patient, phase))
    assert _dice(_inside(result.mask), _inside(exact)) > least
    assert result.volume_ml == pytest.approx(_inside(exact).sum() * 0.008, rel=0.12)


def test_a_large_zone_at_the_ribs_belongs_to_it():
    """Half of the surface of this zone of 285 ml lies at the body's wall, not in the liver."""
    treated = make_patient("small", 101)
    zone = sitk.GetArrayFromImage(treated.lesions[0].zone_mask) > 0
    found = sitk.GetArrayFromImage(segment_liver(treated.post).mask) > 0
    assert found[zone].mean() > 0.9


def _cut(patient, below_top_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The liver found in the image after ablation, if that ends so far below the liver's top, and the exact one."""
    exact = _inside(patient.post_liver)
    end = int(np.flatnonzero(exact.any(axis=(1, 2)))[-1] + 1 - below_top_mm / 2.0)
    return _inside(segment_liver(patient.post[:, :, :end]).mask), exact[:end]


def test_an_image_that_ends_at_the_dome_does_not_lead_into_the_heart(patient):
    found, exact = _cut(patient, 10.0)
    assert _dice(found, exact) > 0.925
    assert (found & (distance_mm(exact, 2.0) > 4.0)).sum() * 0.008 < 80.0


@pytest.mark.thorough
def test_without_lung_in_the_image_the_wall_is_told_by_its_brightness():
    found, exact = _cut(make_patient("small", 2), 30.0)
    assert _dice(found, exact) > 0.92


def test_metastases_belong_to_it_and_neighbors_do_not(patient, found):
    liver = _inside(found.mask)
    for lesion in patient.lesions:
        assert liver[_inside(lesion.mask)].mean() > 0.85, lesion.name
    for organ in ("gallbladder", "stomach", "spleen", "kidneys", "colon", "aorta"):
        assert liver[_inside(patient.masks[organ])].mean() < 0.05, organ


def test_its_surface_is_that_of_the_liver(patient, found):
    """Half of the surface lies within a voxel's diagonal, 90 % within 6 mm of the exact one."""
    liver, exact = _inside(found.mask), _inside(patient.masks["liver"])
    rim = liver & (distance_mm(~liver, 2.0) <= 2.0)
    exact_rim = exact & (distance_mm(~exact, 2.0) <= 2.0)
    away = distance_mm(exact_rim, 2.0)[rim]
    assert np.percentile(away, 50) < 3.5
    assert np.percentile(away, 90) < 6.0


def test_neither_a_turned_frame_nor_the_order_of_the_voxels_changes_the_liver(patient, found):
    turned = turned_frame(patient.portal, TURN)
    stored = sitk.PermuteAxes(sitk.Flip(turned, [True, False, True]), [2, 0, 1])
    other = sitk.Resample(
        segment_liver(stored).mask, turned, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8
    )
    assert _dice(_inside(other), _inside(found.mask)) > 0.9999


@pytest.mark.thorough
def test_thick_oblique_voxels_with_filled_corners_give_nearly_the_same_liver(patient, found):
    oblique = oblique_voxels(patient.portal, TURN, fill=0.0, slice_mm=5.0)
    exact = sitk.Resample(patient.masks["liver"], oblique, sitk.Transform(), sitk.sitkNearestNeighbor)
    result = segment_liver(oblique)
    assert _dice(_inside(result.mask), _inside(exact)) > 0.925
    assert result.volume_ml == pytest.approx(found.volume_ml, rel=0.03)


def test_thick_slices_give_nearly_the_same_liver(patient, found):
    thick = sitk.BinShrink(patient.portal, [1, 1, 3])
    result = segment_liver(thick)
    assert result.mask.GetSize() == thick.GetSize()
    assert result.volume_ml == pytest.approx(found.volume_ml, rel=0.05)


def test_a_seed_leads_where_the_liver_is_not_found_by_itself(patient):
    """With the whole image darkened to fluid's values, as in severe fatty change, a seed still leads."""
    fatty = sitk.Cast(patient.portal, sitk.sitkFloat32) - 105.0
    with pytest.raises(ComputationError, match="seed"):
        segment_liver(fatty)
    liver = patient.masks["liver"]
    depth = distance_mm(~(_inside(liver) & ~_inside(patient.masks["vessels"])), 2.0)
    for lesion in patient.lesions:
        depth[_inside(lesion.mask)] = 0
    k, j, i = np.unravel_index(int(depth.argmax()), depth.shape)
    seed = frames.index_to_ras(liver, np.array([i, j, k], dtype=float))
    result = segment_liver(fatty, seeds_ras_mm=[seed])
    assert _dice(_inside(result.mask), _inside(liver)) > 0.85
    assert result.seeds_ras_mm == (tuple(seed.tolist()),)


def test_bad_input_is_refused_by_name(patient):
    with pytest.raises(InputError, match="CT"):
        segment_liver(sitk.Image(40, 40, 40, sitk.sitkInt16))
    with pytest.raises(ImageReadError, match="2D"):
        segment_liver(patient.portal[:, :, 3])
    broken = sitk.Cast(patient.portal, sitk.sitkFloat32)
    broken[20, 20, 20] = float("nan")
    with pytest.raises(ImageReadError, match="finite"):
        segment_liver(broken)
    with pytest.raises(GeometryError, match="outside the body"):
        segment_liver(patient.portal, seeds_ras_mm=[(900.0, 0.0, 0.0)])
    with pytest.raises(GeometryError, match="at most 3"):
        segment_liver(patient.portal, seeds_ras_mm=[(40.0, 0.0, 0.0)] * 4)
    with pytest.raises(GeometryError, match="seeds"):
        segment_liver(patient.portal, seeds_ras_mm=[(40.0, 0.0)])


def test_nothing_like_a_liver_is_no_liver():
    """A body of fat with a hole: neither tissue as bright as a liver nor any that is even."""
    grid = np.full((60, 90, 110), -1000.0, np.float32)
    grid[:, 10:80, 10:100] = -100 + np.random.default_rng(0).normal(0, 10, (60, 70, 90))
    image = sitk.GetImageFromArray(grid)
    image.SetSpacing((3.0, 3.0, 3.0))
    with pytest.raises(ComputationError, match="no liver found"):
        segment_liver(image)


def test_progress_rises_to_one_and_can_cancel(patient):
    seen = []
    segment_liver(patient.arterial, progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def cancel(fraction, _):
        if fraction > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        segment_liver(patient.arterial, progress=cancel)


def test_the_document_names_its_input(found):
    document = found.to_dict()
    assert document["schema_version"] == 1
    assert document["volume_ml"] == found.volume_ml
    assert len(document["image_sha256"]) == len(document["mask_sha256"]) == 64


def test_the_command_writes_mask_and_measures(patient, found, tmp_path, capsys):
    write_image(patient.portal, tmp_path / "ct.nrrd")
    words = ["liver", str(tmp_path / "ct.nrrd"), "--out", str(tmp_path / "liver.nrrd"), "--json", "-"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["volume_ml"] == pytest.approx(found.volume_ml)
    assert (_inside(read_mask(tmp_path / "liver.nrrd")) == _inside(found.mask)).all()
    assert cli.main([*words, "--seed", "-900,0,0"]) == 2
    assert "outside the body" in capsys.readouterr().err


def test_the_torso_shows_body_lungs_and_ribs(patient):
    torso = Torso.of(patient.portal, 2.0)
    for name, part, least in (("body", torso.body, 0.97), ("lung", torso.lungs, 0.9)):
        exact = sitk.Resample(
            patient.masks[name],
            torso.grid.image(np.zeros(torso.grid.shape, np.uint8)),
            sitk.Transform(),
            sitk.sitkNearestNeighbor,
        )
        assert _dice(part, _inside(exact)) > least, name
    liver = sitk.Resample(patient.masks["liver"], torso.grid.image(np.zeros(torso.grid.shape, np.uint8)))
    assert torso.within_ribs[_inside(liver)].mean() > 0.97
    assert torso.below_diaphragm[_inside(liver)].mean() > 0.97
    aorta = sitk.Resample(patient.masks["aorta"], torso.grid.image(np.zeros(torso.grid.shape, np.uint8)))
    assert torso.prevertebral[_inside(aorta)].mean() > 0.5
