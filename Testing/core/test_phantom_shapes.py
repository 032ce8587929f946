"""The analytic shapes behind the digital patient's truth, against formulas and dense sampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from NETAblationLib.core.errors import InputError
from NETAblationLib.core.phantom import Ellipsoid, Union, truth
from NETAblationLib.core.phantom.grids import Grid, soft_edge
from support.shapes import rotation

_TURNED = rotation((0.36, 0.48, 0.8), 37.0)


class HalfSpace:
    """An organ with a flat capsule: it fills R < `edge_mm`."""

    def __init__(self, edge_mm: float) -> None:
        """Take the R of the capsule."""
        self.edge_mm = edge_mm

    def level(self, points: np.ndarray) -> np.ndarray:
        return points[:, 0] - self.edge_mm

    def capsule_distance(self, points: np.ndarray, up_to_mm: np.ndarray | None = None) -> np.ndarray:
        return np.abs(points[:, 0] - self.edge_mm)

    def capsule_points_near(self, center: np.ndarray, radius_mm: float, spacing_mm: float) -> np.ndarray:
        steps = np.arange(-radius_mm, radius_mm, spacing_mm)
        a, s = np.meshgrid(center[1] + steps, center[2] + steps)
        return np.column_stack([np.full(a.size, self.edge_mm), a.ravel(), s.ravel()])


def _sphere_lattice(count_per_turn: int) -> np.ndarray:
    """Unit vectors on a latitude-longitude lattice."""
    polar, azimuth = np.meshgrid(
        np.linspace(0, np.pi, count_per_turn // 2 + 1), np.linspace(0, 2 * np.pi, count_per_turn, endpoint=False)
    )
    return np.column_stack(
        [(np.sin(polar) * np.cos(azimuth)).ravel(), (np.sin(polar) * np.sin(azimuth)).ravel(), np.cos(polar).ravel()]
    )


def _two_spheres_distance(points: np.ndarray, half_gap: float, radius: float) -> np.ndarray:
    """Exact signed distance to the union of two equal spheres at R = -half_gap and +half_gap.

    By symmetry only the sphere on the point's own side counts; where its nearest point lies
    beyond the plane between them, the crease (a circle) is nearest.
    """
    own = np.column_stack([np.abs(points[:, 0]), np.hypot(points[:, 1], points[:, 2])])
    offset = own - [half_gap, 0.0]
    length = np.linalg.norm(offset, axis=1)
    foot_r = half_gap + radius * offset[:, 0] / length
    crease = np.hypot(own[:, 0], own[:, 1] - np.sqrt(radius**2 - half_gap**2))
    distance = np.where(foot_r >= 0, np.abs(length - radius), crease)
    return np.where(length < radius, -distance, distance)


@given(
    st.tuples(*[st.floats(3.0, 30.0)] * 3),
    st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    st.floats(0.0, 25.0),
)
def test_distance_outside_an_ellipsoid_along_its_normal(semi, direction, height):
    ellipsoid = Ellipsoid(np.array([4.0, -7.0, 11.0]), np.array(semi), _TURNED)
    unit = np.array(direction) / np.linalg.norm(direction)
    foot = ellipsoid.center_ras_mm + _TURNED @ (unit * semi)
    normal = _TURNED @ (unit / semi)
    normal /= np.linalg.norm(normal)
    # An ellipsoid is convex: the nearest point of a point on an outward normal is its foot.
    point = (foot + height * normal)[None]
    assert ellipsoid.signed_distance(point)[0] == pytest.approx(height, abs=1e-8)
    np.testing.assert_allclose(ellipsoid.closest_points(point)[0], foot, atol=1e-6)


def test_distance_inside_an_ellipsoid_against_dense_samples():
    semi = np.array([18.0, 9.0, 6.0])
    ellipsoid = Ellipsoid(np.array([1.0, 2.0, 3.0]), semi, _TURNED)
    surface = ellipsoid.center_ras_mm + (_sphere_lattice(1200) * semi) @ _TURNED.T
    points = np.random.default_rng(0).uniform(-19, 19, (4000, 3)) + ellipsoid.center_ras_mm
    points = np.vstack([points, ellipsoid.center_ras_mm])
    sampled = cKDTree(surface).query(points)[0]
    exact = np.abs(ellipsoid.signed_distance(points))
    assert (exact <= sampled + 1e-9).all()
    assert (sampled - exact).max() < 0.06
    assert exact[-1] == pytest.approx(6.0, abs=1e-9)  # from the center to the end of the shortest axis


@pytest.mark.parametrize("half_gap", [3.0, 6.0, 9.0])
def test_union_of_two_spheres_is_exact_at_and_near_its_crease(half_gap):
    parts = tuple(Ellipsoid(np.array([sign * half_gap, 0.0, 0.0]), np.full(3, 10.0)) for sign in (-1, 1))
    rng = np.random.default_rng(1)
    crease = np.sqrt(100 - half_gap**2)
    angle = rng.uniform(0, 2 * np.pi, 300)
    near = np.column_stack([np.zeros(300), crease * np.cos(angle), crease * np.sin(angle)]) + rng.normal(0, 1, (300, 3))
    points = np.vstack([rng.uniform(-18, 18, (1500, 3)), near, [[0.0, 0.0, 0.0]]])
    found = Union(parts).signed_distance(points)
    np.testing.assert_allclose(found, _two_spheres_distance(points, half_gap, 10.0), atol=5e-3)


def test_union_of_turned_ellipsoids_against_dense_samples():
    rng = np.random.default_rng(5)
    parts = tuple(
        Ellipsoid(rng.uniform(-9, 9, 3), rng.uniform(9, 15, 3), rotation(tuple(axis / np.linalg.norm(axis)), 80.0))
        for axis in rng.normal(size=(4, 3))
    )
    samples = []
    for index, part in enumerate(parts):
        surface = part.center_ras_mm + (_sphere_lattice(700) * part.semi_axes_mm) @ part.axes.T
        others = [other for number, other in enumerate(parts) if number != index]
        outside = [np.linalg.norm((surface - o.center_ras_mm) @ o.axes / o.semi_axes_mm, axis=1) >= 1 for o in others]
        samples.append(surface[np.all(outside, axis=0)])
    points = rng.uniform(-22, 22, (2500, 3))
    sampled = cKDTree(np.concatenate(samples)).query(points)[0]
    exact = np.abs(Union(parts).signed_distance(points))
    assert (exact - sampled).max() < 5e-3
    assert (sampled - exact).max() < 0.16


def test_clipped_sphere_has_the_exact_distance_and_volume():
    edge, radius = 4.0, 10.0
    shape = Union((Ellipsoid(np.zeros(3), np.full(3, radius)),), HalfSpace(edge))
    points = np.random.default_rng(2).uniform(-16, 16, (2000, 3))
    points = points[points[:, 0] < edge]
    length, across = np.linalg.norm(points, axis=1), np.hypot(points[:, 1], points[:, 2])
    rim = np.hypot(points[:, 0] - edge, across - np.sqrt(radius**2 - edge**2))
    outside = np.where(radius * points[:, 0] / length <= edge, length - radius, rim)
    exact = np.where(length < radius, -np.minimum(radius - length, edge - points[:, 0]), outside)
    np.testing.assert_allclose(shape.signed_distance(points), exact, atol=0.02)
    cap = np.pi * (radius - edge) ** 2 * (2 * radius + edge) / 3
    assert truth.volume_ml(shape) == pytest.approx((4 / 3 * np.pi * radius**3 - cap) / 1000, rel=2e-3)


def test_surface_points_lie_on_the_surface_with_outward_normals():
    parts = (
        Ellipsoid(np.zeros(3), np.array([9.0, 12.0, 10.0])),
        Ellipsoid(np.array([0.0, 11.0, 0.0]), np.full(3, 6.0)),
    )
    shape = Union(parts, HalfSpace(5.0))
    points, normals = shape.surface_points(1.0)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    assert shape.is_inside(points - 0.01 * normals).mean() > 0.99
    assert not shape.is_inside(points + 0.01 * normals).any()
    assert (np.abs(points[:, 0] - 5.0) < 1e-9).any()  # the flat part is there


def test_longest_axial_line_of_an_ellipsoid():
    ellipsoid = Ellipsoid(np.array([3.0, -4.0, 5.0]), np.array([14.0, 8.0, 5.0]), _TURNED)
    matrix = (_TURNED / ellipsoid.semi_axes_mm**2) @ _TURNED.T
    longest = 2.0 / np.sqrt(np.linalg.eigvalsh(matrix[:2, :2]).min())
    line = truth.longest_axial_line(Union((ellipsoid,)).is_inside, ellipsoid.center_ras_mm, 16.0)
    assert line[0, 2] == pytest.approx(line[1, 2], abs=1e-9)
    assert np.linalg.norm(line[0] - line[1]) == pytest.approx(longest, abs=0.05)


def test_soft_edge_keeps_the_volume_of_a_sphere():
    grid = Grid((40, 40, 26), (1.0, 1.0, 1.6), (0.3, -0.2, 0.1))
    region = (slice(0, 26), slice(0, 40), slice(0, 40))
    ellipsoid = Ellipsoid(np.zeros(3), np.array([13.0, 11.0, 12.0]))
    share = soft_edge(ellipsoid.level_on_grid(*grid.open_coordinates(region)), (1.0, 1.0, 1.0))
    assert share.sum() * grid.voxel_volume_ml == pytest.approx(ellipsoid.volume_ml, rel=0.01)
    assert ((share > 0.05) & (share < 0.95)).sum() > 500


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros(3), np.array([1.0, 0.0, 1.0])),
        (np.array([0.0, np.nan, 0.0]), np.ones(3)),
        (np.zeros(2), np.ones(3)),
        (np.zeros(3), np.ones(3), np.diag([1.0, 1.0, 2.0])),
    ],
)
def test_an_unsound_ellipsoid_is_refused(arguments):
    with pytest.raises(InputError, match="ellipsoid"):
        Ellipsoid(*arguments)


def test_a_union_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one"):
        Union(())
