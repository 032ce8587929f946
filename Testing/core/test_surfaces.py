"""Surfaces, their fields and what lies between them, against formulas, integrals and VTK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st

from NETAblationLib.core import frames, residuals, subvoxel
from NETAblationLib.core.errors import EmptyMaskError, FormatError, GeometryError
from NETAblationLib.core.surfaces import (
    FieldPatch,
    Surface,
    mask_surface,
    merge_surfaces,
    signed_distance_mm,
    smooth_field,
    smooth_field_near,
)
from support.shapes import difference, ellipsoid, grid, half_space, mask_of, rotation, sphere, union, voxel_centers

ISO, FINE, THREE, FIVE = (1.0, 1.0, 1.0), (0.8, 0.8, 1.5), (0.75, 0.75, 3.0), (0.75, 0.75, 5.0)
OBLIQUE = rotation((1.0, -2.0, 0.5), 34.0)
FLIPPED = np.diag([1.0, -1.0, -1.0]) @ rotation((0.0, 0.3, 1.0), 20.0) @ np.diag([1.0, 1.0, -1.0])
FRAMES = {"straight": None, "oblique": OBLIQUE, "flipped": FLIPPED}


def box(half_mm, spacing, direction=None):
    return grid((-half_mm,) * 3, (half_mm,) * 3, spacing, direction)


def capsule(start, end, radius_mm):
    start, along = np.asarray(start, float), np.subtract(end, start)

    def level(points):
        share = np.clip((points - start) @ along / (along @ along), 0, 1)
        return np.linalg.norm(points - start - share[:, None] * along, axis=1) - radius_mm

    return level


def directions(count):
    """Unit vectors spread evenly over the sphere."""
    z = 1 - (2 * np.arange(count) + 1) / count
    turn, radius = np.pi * (1 + 5**0.5) * np.arange(count), np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


def voxels(image, *boxes):
    """The image with boxes ((I range), (J range), (K range)) of voxels set."""
    for i, j, k in boxes:
        image[slice(*i), slice(*j), slice(*k)] = 1
    return image


def voxel_box(mask):
    """Lower and upper RAS corner of the voxels of a mask, their sides included."""
    index = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1]
    corners = np.concatenate([index - 0.5, index + 0.5])
    points = frames.index_to_ras(mask, corners)
    return points.min(axis=0), points.max(axis=0)


# --- volume, area, place ------------------------------------------------------------------

SPHEROID = (14.0, 7.0, 7.0)
_E = np.sqrt(1 - (7 / 14) ** 2)
#: Level, exact volume in ml and area in mm2: a sphere, a prolate spheroid, a capsule.
SHAPES = {
    "sphere": (sphere((0.3, -0.2, 0.4), 8.0), 4 / 3 * np.pi * 0.512, 4 * np.pi * 64),
    "spheroid": (
        ellipsoid((0.3, -0.2, 0.4), SPHEROID, rotation((1, 2, 3), 50)),
        4 / 3 * np.pi * 0.686,
        2 * np.pi * 49 * (1 + 14 / (7 * _E) * np.arcsin(_E)),
    ),
    "capsule": (
        capsule((-6.1, 2.0, -4.0), (7.2, -3.0, 5.1), 6.0),
        np.pi * 36 * np.linalg.norm([13.3, -5.0, 9.1]) / 1000 + 4 / 3 * np.pi * 0.216,
        2 * np.pi * 6 * np.linalg.norm([13.3, -5.0, 9.1]) + 4 * np.pi * 36,
    ),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("spacing", "allowed"), [(ISO, 0.015), (FINE, 0.015), (THREE, 0.04)])
@pytest.mark.parametrize("shape", SHAPES)
def test_volume_and_area_are_those_of_the_shape(shape, spacing, allowed, frame):
    level, volume_ml, area_mm2 = SHAPES[shape]
    mask = mask_of(level, box(18.0, spacing, FRAMES[frame]))
    surface = mask_surface(mask)
    count = sitk.GetArrayViewFromImage(mask).sum()
    assert surface.volume_ml == pytest.approx(count * np.prod(spacing) / 1000, rel=0.002)
    assert surface.volume_ml == pytest.approx(volume_ml, rel=allowed)
    assert surface.area_mm2 == pytest.approx(area_mm2, rel=allowed)
    assert surface.point_areas_mm2.sum() == pytest.approx(surface.area_mm2)


@pytest.mark.parametrize(
    ("spacing", "rms_mm", "worst_mm"), [(ISO, 0.08, 0.3), (FINE, 0.08, 0.35), (THREE, 0.15, 0.7), (FIVE, 0.3, 1.3)]
)
@pytest.mark.parametrize("radius_mm", [5.0, 12.0])
def test_no_point_of_a_sphere_is_far_from_its_radius(radius_mm, spacing, rms_mm, worst_mm):
    errors = []
    for seed in range(3):
        center = np.random.default_rng(seed).uniform(0, 1, 3) * spacing
        surface = mask_surface(mask_of(sphere(center, radius_mm), box(radius_mm + 6, spacing)))
        errors.append(np.linalg.norm(surface.points_ras_mm - center, axis=1) - radius_mm)
        assert surface.centroid_ras_mm == pytest.approx(center, abs=0.1 * max(spacing))
    errors = np.concatenate(errors)
    assert np.sqrt(np.mean(errors**2)) < rms_mm
    assert np.abs(errors).max() < worst_mm


def test_normals_point_outward_and_the_mesh_is_closed():
    surface = mask_surface(mask_of(sphere((0.2, 0.1, 0), 9.0), box(14.0, FINE, FLIPPED)))
    outward = (surface.points_ras_mm - [0.2, 0.1, 0]) / 9.0
    assert np.einsum("ij,ij->i", surface.point_normals, outward).min() > 0.97
    edges = np.concatenate([surface.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    forth = {tuple(edge) for edge in edges.tolist()}
    assert len(forth) == len(edges)
    assert {(b, a) for a, b in forth} == forth
    polydata = surface.to_polydata()
    assert polydata.GetNumberOfCells() == len(surface.triangles)
    assert polydata.GetPoint(7) == pytest.approx(surface.points_ras_mm[7])
    assert polydata.GetPointData().GetNormals().GetTuple(7) == pytest.approx(surface.point_normals[7], abs=1e-6)


@settings(max_examples=5)
@given(st.integers(0, 10_000))
def test_a_rigid_motion_of_the_image_moves_the_surface_and_changes_nothing_else(seed):
    rng = np.random.default_rng(seed)
    mask = mask_of(ellipsoid(rng.uniform(-1, 1, 3), rng.uniform(5, 9, 3)), box(13.0, (0.9, 0.9, 1.7)))
    before = mask_surface(mask)
    turn, shift = rotation(tuple(rng.normal(size=3)), rng.uniform(0, 180)), rng.uniform(-300, 300, 3)
    mask.SetOrigin((turn @ np.array(mask.GetOrigin()) + shift).tolist())
    mask.SetDirection((turn @ np.array(mask.GetDirection()).reshape(3, 3)).ravel().tolist())
    after = mask_surface(mask)
    moved = frames.flip_lps_ras(frames.flip_lps_ras(before.points_ras_mm) @ turn.T + shift)
    assert np.abs(after.points_ras_mm - moved).max() < 1e-3
    assert np.array_equal(after.triangles, before.triangles)
    assert after.volume_ml == pytest.approx(before.volume_ml, rel=1e-5)
    assert after.area_mm2 == pytest.approx(before.area_mm2, rel=1e-5)


# --- distances and signs ------------------------------------------------------------------


def test_distances_are_those_of_vtk():
    surface = mask_surface(mask_of(union(sphere((-4, 0, 0), 6.0), sphere((5, 2, 1), 5.0)), box(14.0, FINE, OBLIQUE)))
    points = np.random.default_rng(1).uniform(-25, 25, (2000, 3))
    reference = vtk.vtkImplicitPolyDataDistance()
    reference.SetInput(surface.to_polydata())
    exact = np.array([reference.EvaluateFunction(point) for point in points.tolist()])
    assert np.abs(surface.distance_mm(points) - np.abs(exact)).max() < 0.05
    assert surface.distance_mm(points, at_most_mm=4.0) == pytest.approx(np.minimum(surface.distance_mm(points), 4.0))
    # To tangent planes: as good for what is round, too short beside the dent between the balls.
    rough = surface.tangent_distance_mm(points)
    assert np.quantile(np.abs(rough - np.abs(exact)), 0.95) < 0.03
    assert np.abs(rough - np.abs(exact)).max() < 0.4
    assert surface.tangent_distance_mm(points, 4.0).max() == 4.0


@pytest.mark.parametrize("frame", FRAMES)
def test_signed_distances_to_a_sphere_are_exact(frame):
    center, radius = np.array([0.4, 0.1, -0.3]), 9.0
    field = smooth_field(mask_of(sphere(center, radius), box(15.0, ISO, FRAMES[frame])))
    points = np.random.default_rng(2).uniform(-30, 30, (3000, 3))
    exact = np.linalg.norm(points - center, axis=1) - radius
    signed = signed_distance_mm(points, field, field.surface())
    assert np.abs(signed - exact).max() < 0.25
    assert np.abs(signed - exact).mean() < 0.06
    away = np.abs(exact) > 0.3
    assert np.array_equal(signed[away] < 0, exact[away] < 0)
    near = np.abs(exact) < 1.5  # there, the field itself is a distance
    assert np.abs(field.evaluate(points[near]) - exact[near]).max() < 0.4


@pytest.mark.parametrize("spacing", [ISO, THREE, FIVE])
def test_the_field_agrees_with_the_mask_at_nearly_every_voxel(spacing):
    mask = mask_of(ellipsoid((0.2, 0.3, 0.1), (12, 9, 7), OBLIQUE), box(20.0, spacing))
    inside = sitk.GetArrayViewFromImage(mask).ravel() != 0
    value = smooth_field(mask).evaluate(voxel_centers(mask))
    wrong = (value < 0) != inside
    assert wrong.mean() < 0.01
    assert np.abs(value[wrong]).max(initial=0) < min(spacing) / 2


def test_far_from_a_shape_nothing_else_is_found():
    rng = np.random.default_rng(0)
    dents = [sphere(26 * way, depth) for way, depth in zip(directions(9), rng.uniform(4, 9, 9), strict=True)]
    level = difference(sphere((0, 0, 0), 24.0), *dents)
    points = mask_surface(mask_of(level, box(33.0, (1.2, 1.2, 1.2)))).points_ras_mm
    assert np.linalg.norm(points, axis=1).max() < 25.0
    assert level(points).min() > -1.5


def test_a_surface_of_nothing_is_infinitely_far():
    nothing = Surface(np.empty((0, 3)), np.empty((0, 3), dtype=int))
    assert np.isinf(nothing.distance_mm(np.zeros((2, 3)))).all()
    assert nothing.distance_mm(np.zeros((2, 3)), at_most_mm=7.0).tolist() == [7.0, 7.0]
    assert nothing.volume_ml == 0.0


def test_a_vertex_without_triangle_is_no_part_of_the_mesh():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, 3.0]])
    triangle = Surface(corners, np.array([[0, 1, 2]]))
    assert triangle.distance_mm([[0.2, 0.2, 2.9]]) == pytest.approx([2.9])
    assert triangle.distance_mm([[-1, -1, 0], [0.3, 0.3, -0.5]]) == pytest.approx([np.sqrt(2), 0.5])


# --- which voxels count -------------------------------------------------------------------


def test_slices_that_only_repeat_their_neighbor_count_once():
    level = sphere((0.3, 0.2, 0.5), 11.0)
    thick = mask_of(level, box(18.0, (1.0, 1.0, 4.0)))
    array = np.repeat(sitk.GetArrayFromImage(thick), 4, axis=0)
    thin = sitk.GetImageFromArray(array)
    thin.SetOrigin((thick.GetOrigin()[0], thick.GetOrigin()[1], thick.GetOrigin()[2] - 1.5))
    first, second = mask_surface(thick), mask_surface(thin)
    assert second.volume_ml == pytest.approx(first.volume_ml, rel=0.001)
    assert second.distance_mm(first.points_ras_mm).max() < 0.05
    errors = np.linalg.norm(second.points_ras_mm - [0.3, 0.2, 0.5], axis=1) - 11.0
    assert np.abs(errors).mean() < 0.2  # steps of 4 mm would be 1 mm off on average


def test_a_shape_cut_by_the_image_border_is_closed_half_a_voxel_beyond_it():
    whole = mask_of(sphere((0.2, 0.1, 0.3), 9.0), box(14.0, ISO))
    cut = whole[15:, :, :]
    field = smooth_field(cut)
    surface = field.surface()
    assert field.touches_border
    assert not smooth_field(whole).touches_border
    assert surface.volume_ml == pytest.approx(sitk.GetArrayViewFromImage(cut).sum() / 1000, rel=0.002)
    border = frames.index_to_ras(cut, np.array([-0.5, 0, 0]))[0]
    flat = surface.points_ras_mm[surface.point_normals[:, 0] > 0.98][:, 0]
    assert flat == pytest.approx(np.full(len(flat), border), abs=0.5)  # short of the next centers


def test_a_mask_above_the_node_budget_keeps_volume_and_place(monkeypatch):
    level = ellipsoid((0.3, 0.1, 0.2), (22, 15, 13), OBLIQUE)
    mask = mask_of(level, box(26.0, ISO))
    plain = mask_surface(mask)
    monkeypatch.setattr(subvoxel, "_MAX_NODES", 30_000)
    coarse = mask_surface(mask)
    assert coarse.volume_ml == pytest.approx(plain.volume_ml, rel=0.002)
    assert coarse.centroid_ras_mm == pytest.approx(plain.centroid_ras_mm, abs=0.1)
    assert plain.distance_mm(coarse.points_ras_mm).mean() < 0.15
    assert plain.distance_mm(coarse.points_ras_mm).max() < 1.0


BALL = sphere((0, 0, 0), 6.0)


def disk():
    """A disk of 7 mm, one voxel high."""
    ball = mask_of(sphere((0, 0, 0), 7.0), box(12.0, ISO))
    only = sitk.Image(ball) * 0
    only[:, :, 12] = ball[:, :, 12]
    return only


def ball_and(*boxes):
    return voxels(mask_of(BALL, box(18.0, ISO)), *boxes)


#: Masks with parts one or two voxels thick.
THIN_MASKS = {
    "one voxel": lambda: voxels(box(8.0, ISO), ((7, 8), (8, 9), (9, 10))),
    "one voxel of a thick slice": lambda: voxels(box(8.0, FIVE), ((7, 8), (8, 9), (1, 2))),
    "a disk": disk,
    "a disk along I": lambda: sitk.PermuteAxes(disk(), [2, 1, 0]),
    "an oblique disk": lambda: mask_of(lambda p: np.maximum(np.abs(p @ [0.8, 0.6, 0]) - 0.6, BALL(p)), box(10.0, ISO)),
    "a rod": lambda: voxels(box(14.0, ISO), ((3, 25), (12, 13), (14, 15))),
    "a thicker rod": lambda: voxels(box(14.0, ISO), ((3, 25), (12, 14), (14, 16))),
    "two specks": lambda: voxels(box(8.0, ISO), ((5, 6), (5, 6), (7, 8)), ((7, 8), (7, 8), (7, 8))),
    "ball and spur": lambda: ball_and(((18, 35), (18, 19), (18, 19))),
    "ball and plate": lambda: ball_and(((18, 32), (12, 26), (18, 20))),
    "ball and speck": lambda: ball_and(((27, 29), (18, 20), (18, 20))),
}


@pytest.mark.parametrize("name", THIN_MASKS)
def test_thin_and_tiny_parts_keep_volume_place_and_extent(name):
    mask = THIN_MASKS[name]()
    field = smooth_field(mask)
    surface = field.surface()
    inside = sitk.GetArrayViewFromImage(mask).ravel() != 0
    assert surface.volume_ml == pytest.approx(inside.sum() * np.prod(mask.GetSpacing()) / 1000, rel=0.01)
    value = field.evaluate(voxel_centers(mask))
    assert (value[inside] < 0).mean() > 0.995
    assert (value[~inside] > 0).mean() > 0.995
    half = np.array(mask.GetSpacing()) / 2
    lower, upper = voxel_box(mask)
    # The surface ends midway between inside and outside centers, to within half of that way.
    assert np.all(np.abs(surface.points_ras_mm.min(axis=0) - lower) < half + 0.05)
    assert np.all(np.abs(surface.points_ras_mm.max(axis=0) - upper) < half + 0.05)


def test_parts_far_apart_have_a_field_each_and_the_sign_is_right_everywhere():
    level = union(sphere((-30, 0, 0), 5.0), sphere((30, 3, 2), 7.0), sphere((-28, 2, 30), 4.0))
    mask = mask_of(level, box(40.0, (1.0, 1.0, 1.2)))
    field = smooth_field(mask)
    assert field.component_count == len(field.patches) == 3
    points = np.random.default_rng(3).uniform(-40, 40, (4000, 3))
    exact = level(points)
    away = np.abs(exact) > 0.4
    assert np.array_equal(field.evaluate(points)[away] < 0, exact[away] < 0)
    pieces = [patch.surface() for patch in field.patches]
    assert field.surface().volume_ml == pytest.approx(sum(piece.volume_ml for piece in pieces))
    assert len(merge_surfaces(pieces).points_ras_mm) == sum(len(piece.points_ras_mm) for piece in pieces)
    again = smooth_field(mask)
    assert again.content_hash == field.content_hash
    mask[40, 40, 40] = 1
    assert smooth_field(mask).content_hash != field.content_hash


@pytest.mark.parametrize("direction", [None, OBLIQUE])
def test_a_field_on_a_grid_is_the_field_at_its_nodes(direction):
    first, second = sphere((-14, 0, 0), 5.0), sphere((14, 1, 2), 4.0)
    image, other = box(22.0, ISO), box(20.0, (1.3, 0.9, 1.7), direction)
    matrix, shape, points = frames.index_to_ras_matrix(other), other.GetSize()[::-1], voxel_centers(other)
    field = smooth_field(mask_of(first, image))
    within = field.patches[0].distance_to_grid_mm(points) == 0
    assert within.any()
    assert np.abs(field.sample(matrix, shape).ravel() - field.evaluate(points))[within].max() < 1e-3
    both = smooth_field(mask_of(union(first, second), image))
    assert np.array_equal(both.sample(matrix, shape).ravel() < 0, both.evaluate(points) < 0)


# --- the organ around ---------------------------------------------------------------------


def test_the_field_near_a_lesion_has_only_the_capsule_as_surface():
    capsule_at = half_space((6.2, 0, 0), (1, 0, 0))
    hollow = difference(capsule_at, sphere((-4, 0, 0), 3.0))  # a lesion left out of the liver
    liver = mask_of(hollow, box(40.0, ISO))
    points = directions(200) * 3.0 + [-4, 0, 0]
    field = smooth_field_near(liver, points, 12.0, "liver")
    surface = field.surface()
    assert surface.points_ras_mm[:, 0] == pytest.approx(np.full(len(surface.points_ras_mm), 6.2), abs=0.6)
    assert field.component_count == 1
    assert (field.evaluate(points) < 0).all()
    assert (field.evaluate([[8.0, 1, 1], [7.5, -2, 3]]) > 0).all()


def test_deep_in_an_organ_there_is_no_surface_in_reach():
    liver = mask_of(sphere((0, 0, 0), 38.0), box(40.0, ISO))
    field = smooth_field_near(liver, directions(50) * 4.0, 10.0, "liver")
    assert len(field.surface().triangles) == 0
    assert (field.evaluate(directions(50) * 12.0) < 0).all()


def test_an_organ_elsewhere_gives_none_and_one_out_of_the_image_is_refused():
    liver = mask_of(sphere((-25, 0, 0), 9.0), box(40.0, ISO))
    assert smooth_field_near(liver, directions(20) * 3.0 + [25, 0, 0], 5.0, "liver") is None
    with pytest.raises(GeometryError, match=r"liver.*reach"):
        smooth_field_near(liver, directions(20) * 3.0 + [200, 0, 0], 5.0, "liver")


# --- what is refused ----------------------------------------------------------------------


def test_unsound_meshes_fields_and_masks_are_refused_by_name():
    with pytest.raises(GeometryError, match="triangles"):
        Surface(np.zeros((3, 3)), np.zeros((1, 4), dtype=int))
    with pytest.raises(GeometryError, match="outside the points"):
        Surface(np.zeros((3, 3)), np.array([[0, 1, 3]]))
    with pytest.raises(GeometryError, match="not a finite"):
        Surface(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    with pytest.raises(GeometryError, match="flat"):
        FieldPatch(np.zeros((2, 2, 2), dtype=np.float32), np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(GeometryError, match="at least 2 nodes"):
        FieldPatch(np.zeros((1, 2, 2), dtype=np.float32), np.eye(4))
    with pytest.raises(EmptyMaskError, match="zone"):
        smooth_field(box(5.0, ISO), "zone")
    with pytest.raises(GeometryError, match=r"zone.*components"):
        smooth_field(sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 2), "zone")
    with pytest.raises(GeometryError, match=r"points.*shape"):
        mask_surface(mask_of(sphere((0, 0, 0), 4.0), box(7.0, ISO))).distance_mm(np.zeros(3))


# --- residuals and shells -----------------------------------------------------------------


def lens_volume_mm3(first_mm, second_mm, apart_mm):
    """Volume common to two spheres."""
    a, b, d = first_mm, second_mm, apart_mm
    return np.pi * (a + b - d) ** 2 * (d * d + 2 * d * (a + b) - 3 * (a - b) ** 2) / (12 * d)


def surroundings_of(tumor_level, zone_level, liver_level=None, image=None, reach_mm=10.0):
    image = box(24.0, ISO) if image is None else image
    tumor = mask_of(tumor_level, image)
    tumor_field, zone_field = smooth_field(tumor), smooth_field(mask_of(zone_level, image))
    surface = tumor_field.surface()
    liver_field = None
    if liver_level is not None:
        liver_field = smooth_field_near(mask_of(liver_level, image), surface.points_ras_mm, reach_mm)
    parts = residuals.sample_neighborhoods(tumor, tumor_field, zone_field, liver_field, reach_mm)
    return tumor, surface, zone_field, liver_field, parts


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    ("way", "word"),
    [((1.0, 0, 0), "left"), ((0, -0.8, 0.6), "anterior-inferior"), ((-0.6, 0, -0.8), "superior-right")],
)
def test_tumor_left_by_a_shifted_zone_is_a_sphere_less_a_lens(way, word, frame):
    center = np.array([0.3, -0.4, 0.2])
    image = box(24.0, ISO, FRAMES[frame])
    tumor, surface, zone_field, _, parts = surroundings_of(
        sphere(center, 9.0), sphere(center + 8.0 * np.array(way), 12.0), image=image
    )
    left = residuals.residual_tumor(tumor, surface, parts, zone_field)
    exact_ml = (4 / 3 * np.pi * 9.0**3 - lens_volume_mm3(9.0, 12.0, 8.0)) / 1000
    assert left.volume_ml == pytest.approx(exact_ml, rel=0.03)
    assert left.direction_word == word
    assert np.array(left.direction_ras) @ np.array(way) == pytest.approx(-1.0, abs=0.01)
    assert sitk.GetArrayViewFromImage(left.mask).sum() / 1000 == pytest.approx(exact_ml, rel=0.08)
    # Center of mass by integration over the ball, from the tumor's center.
    rho, cosine = np.meshgrid(np.linspace(0.01, 9, 400), np.linspace(-1, 1, 801), indexing="ij")
    outside = rho**2 + 64 - 16 * rho * cosine > 144
    weight = rho**2 * outside
    assert left.distance_mm == pytest.approx(-(weight * rho * cosine).sum() / weight.sum(), abs=0.15)


def test_nothing_is_left_within_and_everything_beside_the_zone():
    tumor, surface, zone_field, _, parts = surroundings_of(sphere((0, 0, 0), 5.0), sphere((1, 0, 0), 12.0))
    none = residuals.residual_tumor(tumor, surface, parts, zone_field)
    assert (none.volume_ml, none.centroid_ras_mm, none.direction_word) == (0.0, None, "")
    assert not sitk.GetArrayViewFromImage(none.mask).any()
    tumor, surface, zone_field, _, parts = surroundings_of(sphere((-14, 0, 0), 5.0), sphere((14, 0, 0), 6.0))
    whole = residuals.residual_tumor(tumor, surface, parts, zone_field)
    assert whole.volume_ml == pytest.approx(surface.volume_ml, rel=1e-4)
    assert sitk.GetArrayViewFromImage(whole.mask).sum() == sitk.GetArrayViewFromImage(tumor).sum()


def exact_coverage(tumor_mm, zone_mm, apart_mm, thickness_mm):
    """Covered part of the shell of a sphere, by a zone whose center is that far: sphere by sphere."""
    rho = tumor_mm + (np.arange(4000) + 0.5) / 4000 * thickness_mm
    if apart_mm == 0:
        covered = (rho < zone_mm).astype(float)
    else:
        cosine = (rho**2 + apart_mm**2 - zone_mm**2) / (2 * rho * apart_mm)
        covered = np.clip((1 - cosine) / 2, 0, 1)
    return (covered * rho**2).sum() / (rho**2).sum()


@pytest.mark.parametrize(
    ("tumor_mm", "zone_mm", "apart_mm"), [(4.0, 9.5, 0.0), (4.0, 8.0, 3.0), (10.0, 15.5, 0.0), (10.0, 14.0, 4.5)]
)
def test_shell_coverage_is_that_of_an_integral_over_spheres(tumor_mm, zone_mm, apart_mm):
    center = np.array([0.2, 0.4, -0.3])
    zone = sphere(center + apart_mm * np.array([0.6, 0.64, 0.48]), zone_mm)
    *_, parts = surroundings_of(sphere(center, tumor_mm), zone)
    for thickness in (3.0, 5.0, 6.0, 10.0):
        exact = exact_coverage(tumor_mm, zone_mm, apart_mm, thickness)
        assert residuals.shell_coverage_fraction(parts, thickness) == pytest.approx(exact, abs=0.015)
    shell_ml = sum(part.shell(6.0).volume_ml for part in parts)
    assert shell_ml == pytest.approx(4 / 3 * np.pi * ((tumor_mm + 6) ** 3 - tumor_mm**3) / 1000, rel=0.02)


def test_a_gap_thinner_than_the_voxels_is_measured():
    center = np.array([0.3, 0.1, 0.4])
    image = box(46.0, (1.2, 1.2, 1.2))
    *_, parts = surroundings_of(sphere(center, 25.0), sphere(center, 30.0), image=image)
    # The shell of 6 mm is 1 mm thicker than the zone.
    exact = exact_coverage(25.0, 30.0, 0.0, 6.0)
    assert residuals.shell_coverage_fraction(parts, 6.0) == pytest.approx(exact, abs=0.01)


def test_shells_end_at_the_capsule_and_the_missing_margin_is_found_there():
    tumor_at, zone_at = sphere((0.2, 0.1, 0.3), 7.0), sphere((3.2, 0.1, 0.3), 9.0)
    liver_at = half_space((11.3, 0, 0), (1.0, 0.2, 0))
    tumor, surface, zone_field, liver_field, parts = surroundings_of(tumor_at, zone_at, liver_at)
    fine = voxel_centers(box(18.0, (0.5, 0.5, 0.5)))
    shell = (tumor_at(fine) > 0) & (tumor_at(fine) < 6.0) & (liver_at(fine) < 0)
    missing = shell & (zone_at(fine) > 0)
    covered = 1 - missing.sum() / shell.sum()
    assert residuals.shell_coverage_fraction(parts, 6.0) == pytest.approx(covered, abs=0.01)
    left = residuals.residual_margin(tumor, surface, parts, zone_field, liver_field, 6.0)
    assert left.volume_ml == pytest.approx(missing.sum() * 0.125 / 1000, rel=0.02)
    assert left.centroid_ras_mm == pytest.approx(fine[missing].mean(axis=0), abs=0.3)
    assert left.direction_word == "left"
    chosen = sitk.GetArrayViewFromImage(left.mask).ravel() != 0
    centers = voxel_centers(left.mask)[chosen]
    assert chosen.sum() / 1000 == pytest.approx(left.volume_ml, rel=0.05)
    assert np.all((tumor_at(centers) > -0.4) & (tumor_at(centers) < 6.4) & (liver_at(centers) < 0.6))
    assert zone_at(centers).min() > -0.4


def test_parts_far_apart_have_shells_of_their_own():
    image = grid((-45.0, -16, -16), (45.0, 16, 16), ISO)
    tumor_at = union(sphere((-28, 0.2, 0), 4.0), sphere((28, 0, 0.3), 4.0))
    *_, parts = surroundings_of(tumor_at, sphere((-28, 0.2, 0), 12.0), image=image, reach_mm=6.0)
    assert len(parts) == 2
    assert residuals.shell_coverage_fraction(parts, 5.0) == pytest.approx(0.5, abs=0.01)
    *_, parts = surroundings_of(
        union(sphere((-8, 0.2, 0), 4.0), sphere((8, 0, 0.3), 4.0)), sphere((-8, 0.2, 0), 12.0), image=image
    )
    assert len(parts) == 1


def test_a_direction_has_the_words_of_its_strong_axes_the_strongest_first():
    assert residuals.direction_word((1.0, 0.0, 0.0)) == "right"
    assert residuals.direction_word((-0.7, 0.1, 0.71)) == "superior-left"
    assert residuals.direction_word((0.5, -0.6, -0.62)) == "inferior-posterior-right"
    assert residuals.direction_word((0.0, 0.95, 0.3)) == "anterior"


def test_a_residual_survives_its_document_and_a_foreign_one_is_refused():
    residual = residuals.Residual(1.5, (1.0, 2.0, 3.0), (0.0, 0.6, 0.8), "superior-anterior", 4.2)
    assert residuals.Residual.from_dict(residual.to_dict()) == residual
    nothing = residuals.Residual(0.0, None, None, "", None)
    assert residuals.Residual.from_dict(nothing.to_dict()) == nothing
    for broken in ({}, {**residual.to_dict(), "volume_ml": "much"}, {**residual.to_dict(), "centroid_ras_mm": [1.0]}):
        with pytest.raises(FormatError, match="residual"):
            residuals.Residual.from_dict(broken)
