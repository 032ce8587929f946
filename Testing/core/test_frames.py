"""Frames: signs, matrices, transforms and grids against SimpleITK's own answers."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core import frames
from NETAblationLib.core.errors import GeometryError
from support import shapes

POINTS = np.array([[1.0, -2.0, 3.0], [10.0, 4.0, -7.0], [-6.5, 0.0, 2.25]])


def oblique_image() -> sitk.Image:
    return shapes.grid((-20, -10, -5), (15, 25, 12), (0.7, 1.1, 2.5), shapes.rotation((1, -2, 0.5), 33))


def to_lps(points: np.ndarray) -> list[list[float]]:
    return [[-r, -a, s] for r, a, s in points.tolist()]


def test_index_and_ras_agree_with_simpleitk():
    image = oblique_image()
    index = np.array([[0, 0, 0], [3, 7, 1], [10, 2, 5]])
    expected = to_lps(np.array([image.TransformIndexToPhysicalPoint(i) for i in index.tolist()]))
    assert np.allclose(frames.index_to_ras(image, index), expected, atol=1e-9)
    assert np.allclose(frames.ras_to_index(image, expected), index, atol=1e-9)


@given(st.floats(-170, 170), st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1)))
def test_index_and_ras_are_inverse_on_any_direction(degrees, axis):
    image = shapes.grid((-5, -5, -5), (5, 5, 5), (0.5, 1.0, 3.0), shapes.rotation(axis, degrees))
    assert np.allclose(frames.index_to_ras(image, frames.ras_to_index(image, POINTS)), POINTS, atol=1e-9)


def transforms() -> dict[str, sitk.Transform]:
    euler = sitk.Euler3DTransform((3, 4, 5), 0.1, -0.2, 0.3, (5, -6, 7))
    image = oblique_image()
    field = sitk.TransformToDisplacementField(
        euler, sitk.sitkVectorFloat64, image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection()
    )
    wavy = sitk.GetImageFromArray(sitk.GetArrayFromImage(field) + np.random.default_rng(1).normal(size=3), True)
    wavy.CopyInformation(field)
    bspline = sitk.BSplineTransformInitializer(image, (3, 3, 3))
    bspline.SetParameters(np.random.default_rng(2).normal(size=len(bspline.GetParameters())).tolist())
    displacement = sitk.DisplacementFieldTransform(sitk.Cast(wavy, sitk.sitkVectorFloat64))
    return {
        "identity": sitk.Transform(3, sitk.sitkIdentity),
        "rigid": euler,
        "affine": sitk.AffineTransform([1.1, 0.1, 0, 0, 0.9, 0.2, 0.1, 0, 1.0], [1, 2, 3], [4, 5, 6]),
        "displacement": displacement,
        "bspline": bspline,
        "composite": sitk.CompositeTransform([euler, displacement]),
        "nested": sitk.CompositeTransform([sitk.CompositeTransform([displacement, euler]), euler]),
    }


@pytest.mark.parametrize("name", list(transforms()))
def test_points_go_through_a_transform_as_simpleitk_sends_them(name):
    transform = transforms()[name]
    far = np.vstack([POINTS, [[500.0, 0.0, 0.0]]])
    expected = to_lps(np.array([transform.TransformPoint(p) for p in to_lps(far)]))
    assert np.allclose(frames.transform_points(transform, far), expected, atol=1e-9)


def test_an_affine_transform_does_in_lps_what_its_matrix_does_in_ras():
    matrix = np.eye(4)
    matrix[:3, :3] = shapes.rotation((0, 1, 2), 40)
    matrix[:3, 3] = (10, -20, 30)
    transform = frames.affine_transform(matrix)
    assert np.allclose(frames.transform_points(transform, POINTS), frames.apply_matrix(matrix, POINTS))


def test_a_crop_stays_in_place_and_holds_the_points_and_their_surroundings():
    image = shapes.mask_of(shapes.sphere((0, 5, 3), 6), oblique_image())
    crop = frames.crop_around_points(image, [(0, 5, 3)], pad_mm=5)
    lower, upper = frames.bounding_box_ras(crop)
    assert np.all(lower < np.array([0, 5, 3]) - 3)
    assert np.all(upper > np.array([0, 5, 3]) + 3)
    center = crop.TransformPhysicalPointToIndex((0, -5, 3))
    assert crop[center] == 1
    assert image.TransformIndexToPhysicalPoint(image.TransformPhysicalPointToIndex((0, -5, 3))) == pytest.approx(
        crop.TransformIndexToPhysicalPoint(center)
    )


def test_points_outside_the_image_leave_nothing_to_crop():
    with pytest.raises(GeometryError, match="outside the image"):
        frames.crop_around_points(oblique_image(), [(900, 0, 0)], pad_mm=5)


def test_grids_are_compared_by_where_their_voxels_lie():
    image = oblique_image()
    same = sitk.Image(image)
    same.SetOrigin([v + 1e-4 for v in image.GetOrigin()])
    assert frames.same_grid(image, same)
    shifted = sitk.Image(image)
    shifted.SetOrigin([v + 0.2 for v in image.GetOrigin()])
    assert not frames.same_grid(image, shifted)
    with pytest.raises(GeometryError, match=r"tumor and liver.*voxels of"):
        frames.require_same_grid(image, shifted, "tumor", "liver")


def test_a_point_is_inside_up_to_the_border_of_the_last_voxel():
    image = sitk.Image((4, 4, 4), sitk.sitkUInt8)
    ras = frames.index_to_ras(image, [[-0.49, 0, 0], [3.49, 3.49, 3.49], [-0.51, 0, 0], [0, 0, 3.51]])
    assert frames.is_inside(image, ras).tolist() == [True, True, False, False]


@pytest.mark.parametrize("points", [[1.0, 2.0, 3.0], [[1.0, 2.0]], [[1.0, np.nan, 0.0]], [[np.inf, 0.0, 0.0]]])
def test_points_of_another_shape_or_not_finite_are_refused(points):
    with pytest.raises(GeometryError, match="line"):
        frames.as_points(points, "line")
