"""Images and masks in the planning frame: values follow a known function under known transforms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib import cli
from NETAblationLib.core import frames
from NETAblationLib.core.errors import GeometryError, InputError
from NETAblationLib.core.images import read_mask, write_image
from NETAblationLib.core.resampling import BACKGROUNDS, resample_image, resample_mask
from NETAblationLib.core.transform_files import write_transform
from support import pet, shapes
from support.deformation import breathing

PLANNING = shapes.grid((-40, -35, -30), (40, 35, 30), (2.5, 2.0, 3.0))
MOVING = shapes.grid((-70, -70, -70), (70, 70, 70), (3.0, 4.0, 3.5), shapes.rotation((1, 1, 0.3), 20.0))


def rigid(shift=(6.0, -9.0, 4.0), degrees=8.0):
    """Planning to moving, as matrix (RAS) and transform."""
    matrix = np.eye(4)
    matrix[:3, :3] = shapes.rotation((0.2, 1.0, -0.4), degrees)
    matrix[:3, 3] = shift
    return matrix, frames.affine_transform(matrix)


def plane(points):
    return 3.0 + 0.05 * points[:, 0] - 0.02 * points[:, 1] + 0.04 * points[:, 2]


def array(image):
    return sitk.GetArrayFromImage(image)


def test_values_follow_a_plane_exactly_under_a_rigid_transform():
    """Linear between voxels is exact for a plane, on grids of any direction."""
    matrix, transform = rigid()
    result = resample_image(pet.image_of(plane, MOVING), PLANNING, transform, modality="PET")
    assert frames.same_grid(result, PLANNING)
    expected = plane(frames.apply_matrix(matrix, shapes.voxel_centers(PLANNING)))
    np.testing.assert_allclose(array(result).ravel(), expected, atol=2e-5)


def test_values_follow_a_function_under_a_deformable_transform():
    """The right way round: through the inverse they would be off by several times the tolerance."""
    known = breathing((0.0, 0.0, 0.0), peak_mm=9.0, reach_mm=35.0)
    transform = known.fixed_to_moving_transform(PLANNING)
    activity = pet.total(1.0, pet.blob((8, -5, 3), 9.0, 18.0))
    result = resample_image(pet.image_of(activity, MOVING), PLANNING, transform, modality="PET")
    points = shapes.voxel_centers(PLANNING)
    expected = activity(known.fixed_to_moving(points))
    # A peak of 9 with a SD of 18 mm, linear over steps of 3 to 4 mm: 9 / 18^2 * (sum of squared steps) / 8.
    within = 9.0 / 18.0**2 * (3.0**2 + 4.0**2 + 3.5**2) / 8
    np.testing.assert_allclose(array(result).ravel(), expected, atol=1.2 * within)
    assert np.abs(array(result).ravel() - activity(known.moving_to_fixed(points))).max() > 5 * within


def test_a_lesion_lands_where_its_point_does():
    known = breathing((0.0, 0.0, 0.0), peak_mm=9.0, reach_mm=35.0, seed=3)
    center = np.array([[4.0, -6.0, 5.0]])
    there = known.fixed_to_moving(center)[0]
    image = pet.image_of(pet.blurred_sphere(there, 9.0, 10.0, 2.5), MOVING)
    result = array(resample_image(image, PLANNING, known.fixed_to_moving_transform(PLANNING), modality="PET"))
    weights = np.where(result > 5, result, 0).ravel()
    found = (shapes.voxel_centers(PLANNING) * weights[:, None]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(found, center[0], atol=0.6)


def test_no_value_arises_that_is_not_between_its_neighbors():
    """Beside a sharp edge a spline would give negative activity and a higher maximum."""
    ball = shapes.mask_of(shapes.sphere((5, 2, -3), 12), MOVING)
    image = sitk.Cast(ball, sitk.sitkFloat32) * 20.0
    result = array(resample_image(image, PLANNING, rigid()[1], modality="PET"))
    assert result.min() == 0.0
    assert result.max() <= 20.0
    hu = array(resample_image(sitk.Cast(ball, sitk.sitkInt16) * 2001 - 1000, PLANNING, rigid()[1], modality="CT"))
    assert hu.dtype == np.float32
    assert (hu != np.round(hu)).any()  # not cut to whole HU


@pytest.mark.parametrize("modality", BACKGROUNDS)
def test_what_lies_outside_is_as_nothing_is_in_that_modality(modality):
    matrix, transform = rigid((60.0, 0.0, 0.0), 0.0)
    small = shapes.grid((-30, -30, -30), (30, 30, 30), (3.0, 3.0, 3.0))
    image = pet.image_of(lambda points: np.full(len(points), 55.0), small)
    result = array(resample_image(image, PLANNING, transform, modality=modality)).ravel()
    inside = frames.is_inside(small, frames.apply_matrix(matrix, shapes.voxel_centers(PLANNING)))
    assert 0 < inside.sum() < len(inside)
    assert np.all(result[inside] == 55.0)
    assert np.all(result[~inside] == {"CT": -1000.0, "MR": 0.0, "PET": 0.0}[modality])


def test_no_transform_means_one_frame():
    result = resample_image(pet.image_of(plane, MOVING), PLANNING, modality="MR")
    np.testing.assert_allclose(array(result).ravel(), plane(shapes.voxel_centers(PLANNING)), atol=2e-5)


def test_a_mask_keeps_its_surface_under_a_deformable_transform():
    known = breathing((0.0, 0.0, 0.0), peak_mm=8.0, reach_mm=35.0, seed=2)
    mask = shapes.mask_of(shapes.sphere((3, -2, 4), 20), MOVING)
    carried = resample_mask(mask, PLANNING, known.fixed_to_moving_transform(PLANNING))
    exact = shapes.mask_of(lambda points: shapes.sphere((3, -2, 4), 20)(known.fixed_to_moving(points)), PLANNING)
    first, second = array(carried) > 0, array(exact) > 0
    assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.96
    assert first.sum() == pytest.approx(second.sum(), rel=0.03)


def test_a_mask_on_that_grid_comes_back_as_it_is():
    mask = shapes.mask_of(shapes.sphere((3, -2, 4), 15), PLANNING)
    assert np.array_equal(array(resample_mask(mask * 7, PLANNING)), array(mask))


def test_bad_input_is_refused():
    image = pet.image_of(plane, MOVING)
    away = rigid((900.0, 0.0, 0.0))[1]
    with pytest.raises(GeometryError, match="planning points to moving points"):
        resample_image(image, PLANNING, away, modality="PET")
    with pytest.raises(GeometryError, match="lesion: no voxel"):
        resample_mask(shapes.mask_of(shapes.sphere((0, 0, 0), 15), MOVING), PLANNING, away, name="lesion")
    with pytest.raises(InputError, match="modality"):
        resample_image(image, PLANNING, modality="US")
    with pytest.raises(GeometryError, match="3D"):
        resample_image(image, PLANNING, sitk.Euler2DTransform(), modality="PET")
    with pytest.raises(GeometryError, match="planning image"):
        resample_image(image, PLANNING[:, :, 0], modality="PET")


def test_the_command_brings_image_and_mask_into_the_frame(tmp_path, capsys):
    matrix, transform = rigid()
    write_transform(transform, tmp_path / "t.h5")
    write_image(pet.image_of(plane, MOVING), tmp_path / "pet.nrrd")
    write_image(PLANNING, tmp_path / "ct.nrrd")
    write_image(shapes.mask_of(shapes.sphere((0, 0, 0), 15), MOVING), tmp_path / "mask.nrrd")
    common = ["--onto", str(tmp_path / "ct.nrrd"), "--transform", str(tmp_path / "t.h5")]
    out = tmp_path / "out.nrrd"
    assert cli.main(["resample", str(tmp_path / "pet.nrrd"), *common, "--modality", "PET", "--out", str(out)]) == 0
    expected = plane(frames.apply_matrix(matrix, shapes.voxel_centers(PLANNING)))
    np.testing.assert_allclose(array(sitk.ReadImage(str(out))).ravel(), expected, atol=2e-5)
    assert cli.main(["resample", str(tmp_path / "mask.nrrd"), *common, "--modality", "mask", "--out", str(out)]) == 0
    assert array(read_mask(out)).sum() * 15.0 == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.03)
    assert cli.main(["resample", str(tmp_path / "pet.nrrd"), *common, "--modality", "mask", "--out", str(out)]) == 2
    assert "no mask" in capsys.readouterr().err
