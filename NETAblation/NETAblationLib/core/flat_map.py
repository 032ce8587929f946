"""The whole surface of a tumor on one flat map whose areas are true, so that nothing hides behind.

A closed surface without handles is laid on a sphere: along the directions from its center of mass where each meets it
once, else after it was made round by a flow that keeps angles (conformalized mean curvature flow: Kazhdan, Solomon and
Ben-Chen, Computer Graphics Forum 2012;31:1745). Then what lies too densely flows apart, without turning over, until
each region has the share of the sphere that it has of the surface (flow of Moser, Trans Am Math Soc 1965;120:286).
Mollweide's projection, which keeps areas, makes the sphere flat.

The map is seen from the front: cranial is up, the patient's right is on the left, and the cut runs along the back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import factorized, spsolve
from scipy.spatial import ConvexHull, cKDTree

from .errors import GeometryError
from .margin_directions import SIDES
from .surfaces import Surface, parts_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Share of the surface that may be turned over when seen from the center, before it counts as not star-shaped: slivers.
_TURNED_FRACTION = 1e-3
#: Each triangle is sampled at the square of this number of places; nodes on the sphere on which densities are told, and
#: the nearest of them that share a sample, with the width over which they do, in radians: about a node's spacing.
_SAMPLES_PER_EDGE, _NODES, _SHARING, _WIDTH = 2, 3000, 6, 0.05
#: Steps of the flow, their length in time and at most in radians, least density that is divided by. Own trial on balls,
#: ellipsoids and bent shapes. User-set, as the next.
_MOST_STEPS, _STEP, _LONGEST_STEP, _LEAST_DENSITY = 90, 0.5, 0.1, 0.1
#: Mean error of densities at which the flow ends, and above which there is no map; the share of itself by which it has
#: to fall with a step.
_TRUE, _UNTRUE, _STALLED = 0.01, 0.1, 0.01
#: Steps of the flow that makes a surface round, the time of each (of a surface of area 1), and bounds of cotangents.
_FLOW_STEPS, _FLOW_TIME, _COTANGENTS = 20, 0.02, (0.02, 20.0)
#: From R, A, S to the map's left, anterior, cranial.
_MIRROR = np.array([-1.0, 1.0, 1.0])
#: Points from which the value at a place of a picture is taken.
_NEIGHBORS = 3
#: Steps of Newton's method for Mollweide's auxiliary angle, and the distance from a pole where it is not needed.
_MOLLWEIDE_STEPS, _AT_POLE = 30, 1e-9


@dataclass(frozen=True)
class FlatMap:
    """One part of a surface on an ellipse twice as wide as high, of the same area.

    `point_numbers` (N,) are those of the part's points in the whole surface, `surface` is the part. `sphere` (N, 3) are
    their places on the unit sphere (left, anterior, cranial of the map), `points_mm` (N, 2) those on the map, right and
    up, from its middle. `compass` says where on the map the sides of the tumor are, as (x, y) in mm by name.
    """

    point_numbers: IntArray
    surface: Surface
    sphere: FloatArray
    points_mm: FloatArray
    compass: Mapping[str, tuple[float, float]]

    @property
    def half_axes_mm(self) -> tuple[float, float]:
        """Half of the map's width and of its height, in mm."""
        scale = float(np.sqrt(self.surface.area_mm2 / (4 * np.pi)))
        return 2 * np.sqrt(2) * scale, np.sqrt(2) * scale

    def triangle_areas_mm2(self) -> FloatArray:
        """Area of each of the surface's triangles on the map, (M,), below 0 where it is turned over.

        It is that of the triangle on the sphere, which the projection keeps.
        """
        return _solid_angles(self.sphere, self.surface) * self.surface.area_mm2 / (4 * np.pi)

    def raster(self, values: npt.ArrayLike, width: int) -> FloatArray:
        """Values at the points (N,) as a picture (width / 2, width) seen from above, NaN beside the ellipse.

        Several values at each point, (N, D), make D pictures in little more time than one: (width / 2, width, D).
        """
        height = max(width // 2, 2)
        x, y = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, 1 - (np.arange(height) + 0.5) / height * 2)
        inside = x**2 + y**2 < 1
        angle = np.arcsin(y[inside])
        z = (2 * angle + np.sin(2 * angle)) / np.pi
        longitude = np.pi * x[inside] / np.maximum(np.cos(angle), _AT_POLE)
        found = cKDTree(self.sphere).query(_on_sphere(longitude, z), k=range(1, _NEIGHBORS + 1))
        weights = 1.0 / np.maximum(np.asarray(found[0]), 1e-6)
        told = np.asarray(values, dtype=np.float64)
        picture = np.full((height, width, *told.shape[1:]), np.nan)
        mean = np.einsum("pk,pk...->p...", weights, told[np.asarray(found[1])])
        picture[inside] = (mean.T / weights.sum(axis=1)).T
        return picture


def flat_maps(surface: Surface) -> list[FlatMap]:
    """A map for each connected part of a closed surface in RAS mm, the largest part first.

    Raises GeometryError for a part that is open or has a handle, as a ring has: it has no map without a tear.
    """
    return [_flat_map(numbers, part) for numbers, part in parts_of(surface) if len(part.triangles)]


def _flat_map(numbers: IntArray, part: Surface) -> FlatMap:
    used, triangles = np.unique(part.triangles, return_inverse=True)  # points without a triangle have no place
    part, numbers = Surface(part.points_ras_mm[used], triangles.reshape(-1, 3)), numbers[used]
    edges = _edges(part)
    if len(part.points_ras_mm) - len(edges) + len(part.triangles) != 2 or 2 * len(edges) != 3 * len(part.triangles):
        raise GeometryError("flat map: the surface is open or has a handle, so that it has no map without a tear")
    offset = part.points_ras_mm - part.centroid_ras_mm
    directions = offset / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-9)
    corners = offset[part.triangles]
    is_turned = np.linalg.det(corners) <= 0
    if part.triangle_areas_mm2[is_turned].sum() <= _TURNED_FRACTION * part.area_mm2:
        sphere = directions * _MIRROR
    else:
        sphere = _inflated(part)
    sphere = _upright(_evened(part, _upright(sphere, directions, part)), directions, part)
    longitude = np.arctan2(sphere[:, 0], sphere[:, 1])
    points_mm = _mollweide(longitude, sphere[:, 2]) * np.sqrt(part.area_mm2 / (4 * np.pi))
    compass = {}
    for axis, names in enumerate(SIDES):
        for sign, name in zip((-1, 1), names, strict=True):
            x, y = points_mm[int(np.argmax(sign * directions[:, axis]))].tolist()
            compass[name] = (x, y)
    return FlatMap(numbers, part, sphere, points_mm, compass)


def _edges(part: Surface) -> IntArray:
    a, b, c = part.triangles.T
    pairs = np.sort(np.stack([np.r_[a, b, c], np.r_[b, c, a]], axis=1), axis=1)
    return np.unique(pairs, axis=0)


# --- onto the sphere ----------------------------------------------------------------------


def _evened(part: Surface, sphere: FloatArray) -> FloatArray:
    """Places on the unit sphere (N, 3) moved so that each region there has the share of the area that it has."""
    grid = _Nodes.once()
    steps = (np.arange(_SAMPLES_PER_EDGE) + 0.5) / _SAMPLES_PER_EDGE
    u, v = (axis.ravel() for axis in np.meshgrid(steps, steps))
    # Uniform in the triangle: the square is folded over its diagonal.
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], axis=1)
    areas = np.repeat(part.triangle_areas_mm2 / part.area_mm2, len(weights)) / len(weights)
    error = np.inf
    for _ in range(_MOST_STEPS):
        samples = np.einsum("sc,tcd->tsd", weights, sphere[part.triangles]).reshape(-1, 3)
        density = grid.density(_unit(samples), areas)
        before, error = error, grid.mean(np.abs(density - 1))
        if error < _TRUE or before - error < _STALLED * error:
            break
        velocity = grid.at(sphere, grid.velocity(density))
        longest = float(np.linalg.norm(velocity, axis=1).max())
        sphere = _unit(sphere + min(_STEP, _LONGEST_STEP / max(longest, 1e-12)) * velocity)
    if error > _UNTRUE:
        raise GeometryError("flat map: the surface is bent so much that no map with true areas was found")
    return sphere


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True)
class _Nodes:
    """Points spread evenly over the unit sphere, on which densities and velocities are told."""

    mesh: Surface
    tree: cKDTree
    solve: Callable[[FloatArray], FloatArray]

    @classmethod
    @cache
    def once(cls) -> _Nodes:
        """The nodes, made at the first call."""
        number = np.arange(_NODES, dtype=np.float64) + 0.5
        z, turn = 1 - 2 * number / _NODES, np.pi * (1 + 5**0.5) * number
        points = _on_sphere(np.asarray(turn, dtype=np.float64), z)
        triangles = ConvexHull(points).simplices.astype(np.int64)
        a, b, c = (points[triangles[:, n]] for n in range(3))
        is_inward = np.einsum("ij,ij->i", a, np.cross(b, c)) < 0
        triangles[is_inward] = triangles[is_inward][:, ::-1]
        mesh = Surface(points, triangles)
        matrix = _stiffness(mesh) + 1e-6 * diags(mesh.point_areas_mm2)
        return cls(mesh, cKDTree(points), factorized(matrix.tocsc()))

    def mean(self, values: FloatArray) -> float:
        """Mean over the sphere of values at the nodes (M,)."""
        return float(values @ self.mesh.point_areas_mm2 / self.mesh.area_mm2)

    def density(self, samples: FloatArray, shares: FloatArray) -> FloatArray:
        """Density at the nodes (M,), 1 on average, of samples (S, 3) that hold these shares (S,) of the whole."""
        near, weights = self._near(samples)
        held = np.bincount(near.ravel(), (weights * shares[:, None]).ravel(), minlength=_NODES)
        return np.asarray(held / (self.mesh.point_areas_mm2 / self.mesh.area_mm2))

    def velocity(self, density: FloatArray) -> FloatArray:
        """Velocity at the nodes (M, 3) that makes a density even in one unit of time, to first order."""
        mesh = self.mesh
        potential = self.solve(-mesh.point_areas_mm2 * (1 - density))
        a, b, c = (mesh.points_ras_mm[mesh.triangles[:, n]] for n in range(3))
        normal = np.cross(b - a, c - a)
        f = potential[mesh.triangles]
        slope = f[:, [0]] * np.cross(normal, c - b) + f[:, [1]] * np.cross(normal, a - c)
        slope = (slope + f[:, [2]] * np.cross(normal, b - a)) / np.einsum("ij,ij->i", normal, normal)[:, None]
        weighted = slope * mesh.triangle_areas_mm2[:, None] / 3
        corners = mesh.triangles.ravel()
        at_nodes = np.stack([np.bincount(corners, np.repeat(weighted[:, n], 3), _NODES) for n in range(3)], axis=1)
        return -at_nodes / mesh.point_areas_mm2[:, None] / np.maximum(density, _LEAST_DENSITY)[:, None]

    def at(self, places: FloatArray, values: FloatArray) -> FloatArray:
        """Values at the nodes (M, 3), smoothly between them, at places (N, 3)."""
        near, weights = self._near(places)
        return np.einsum("nk,nkd->nd", weights, values[near])

    def _near(self, places: FloatArray) -> tuple[IntArray, FloatArray]:
        distance, near = self.tree.query(places, k=_SHARING)
        weights = np.exp(-((np.asarray(distance) / _WIDTH) ** 2))
        return np.asarray(near, dtype=np.int64), weights / weights.sum(axis=1, keepdims=True)


def _inflated(part: Surface) -> FloatArray:
    """The surface made round by a flow that keeps angles, on the unit sphere, (N, 3), in RAS."""
    count = len(part.points_ras_mm)
    stiffness = _stiffness(part)
    points = part.points_ras_mm - part.centroid_ras_mm
    for _ in range(_FLOW_STEPS):
        now = Surface(points, part.triangles)
        points = (points - now.point_areas_mm2 @ points / now.area_mm2) / np.sqrt(now.area_mm2)
        mass = diags(now.point_areas_mm2 / now.area_mm2)
        points = spsolve((mass + _FLOW_TIME * stiffness).tocsc(), mass @ points).reshape(count, 3)
    now = Surface(points, part.triangles)
    points = points - now.point_areas_mm2 @ points / now.area_mm2
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True)) * _MIRROR


def _stiffness(part: Surface) -> csr_matrix:
    """The Laplacian of the surface by cotangents (N, N), those of slivers bounded."""
    count = len(part.points_ras_mm)
    rows, columns, values = [], [], []
    for n in range(3):
        i, j, k = (part.triangles[:, (n + m) % 3] for m in range(3))
        u, v = (part.points_ras_mm[at] - part.points_ras_mm[k] for at in (i, j))
        cross = np.linalg.norm(np.cross(u, v), axis=1)
        weight = 0.5 * np.clip(np.einsum("ij,ij->i", u, v) / np.maximum(cross, 1e-12), *_COTANGENTS)
        rows += [i, j, i, j]
        columns += [j, i, i, j]
        values += [-weight, -weight, weight, weight]
    return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count))


def _upright(sphere: FloatArray, directions: FloatArray, part: Surface) -> FloatArray:
    """The sphere turned so that its places agree best with the directions (N, 3) in RAS from the center."""
    if _solid_angles(sphere, part).sum() < 0:
        sphere = sphere * _MIRROR
    wanted = directions * _MIRROR
    u, _, v = np.linalg.svd((sphere * part.point_areas_mm2[:, None]).T @ wanted)
    proper = np.diag([1.0, 1.0, np.linalg.det(u @ v)])
    return np.asarray(sphere @ (u @ proper @ v))


def _solid_angles(sphere: FloatArray, part: Surface) -> FloatArray:
    """Area of each triangle (M,) on the unit sphere, above 0 where it faces outward.

    Van Oosterom and Strackee, IEEE Trans Biomed Eng 1983;30:125.
    """
    a, b, c = (sphere[part.triangles[:, n]] * _MIRROR for n in range(3))
    product = np.einsum("ij,ij->i", a, np.cross(b, c))
    cosines = [np.einsum("ij,ij->i", x, y) for x, y in ((a, b), (b, c), (c, a))]
    return np.asarray(2 * np.arctan2(product, 1 + cosines[0] + cosines[1] + cosines[2]))


def _on_sphere(longitude: FloatArray, z: FloatArray) -> FloatArray:
    radius = np.sqrt(np.maximum(1 - z**2, 0))
    return np.stack([radius * np.sin(longitude), radius * np.cos(longitude), z], axis=1)


def _mollweide(longitude: FloatArray, z: FloatArray) -> FloatArray:
    """Mollweide's projection of the unit sphere (N,), z being the sine of the latitude; (N, 2)."""
    z = np.clip(z, -1, 1)
    angle = np.arcsin(z)
    for _ in range(_MOLLWEIDE_STEPS):
        slope = 2 + 2 * np.cos(2 * angle)
        step = np.divide(2 * angle + np.sin(2 * angle) - np.pi * z, slope, out=np.zeros_like(z), where=slope > _AT_POLE)
        angle = np.clip(angle - step, -np.pi / 2, np.pi / 2)
    return np.stack([2 * np.sqrt(2) / np.pi * longitude * np.cos(angle), np.sqrt(2) * np.sin(angle)], axis=1)
