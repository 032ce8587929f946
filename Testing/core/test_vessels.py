"""Vessels: tubes of known course and radius, the digital patient's trees, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from NETAblationLib.core.centerlines import Centerlines, VesselKind
from NETAblationLib.core.errors import ComputationError, EmptyMaskError, GeometryError, InputError
from NETAblationLib.core.vessels import centerlines_of_mask, segment_vessels
from support.shapes import voxel_indices

LIVER_HU, NOISE_HU, BLUR_MM = 110.0, 10.0, 0.7

#: Kind, radius in mm, and the corners of the course in RAS mm: a portal vein that enters in the middle and
#: divides, a hepatic vein that leaves at the top and crosses it at a distance, and a vessel of 2 mm.
TUBES = (
    (VesselKind.PORTAL, 5.0, [(-2.0, -6.0, -8.0), (12.0, 0.0, -4.0)]),
    (VesselKind.PORTAL, 3.2, [(12.0, 0.0, -4.0), (34.0, 12.0, 6.0)]),
    (VesselKind.PORTAL, 3.2, [(12.0, 0.0, -4.0), (30.0, -16.0, -24.0)]),
    (VesselKind.PORTAL, 2.0, [(34.0, 12.0, 6.0), (44.0, 22.0, 4.0)]),
    (VesselKind.HEPATIC, 4.5, [(12.0, -14.0, 44.0), (24.0, -10.0, 26.0)]),
    (VesselKind.HEPATIC, 2.5, [(24.0, -10.0, 26.0), (44.0, -16.0, 6.0)]),
    (VesselKind.HEPATIC, 3.2, [(24.0, -10.0, 26.0), (44.0, 10.0, 30.0)]),
    (VesselKind.HEPATIC, 1.0, [(44.0, 10.0, 30.0), (50.0, 20.0, 36.0)]),
)
BLOOD_HU = {VesselKind.PORTAL: 185.0, VesselKind.HEPATIC: 165.0}
SEMI_AXES_MM, CENTER_RAS_MM = np.array([56.0, 44.0, 48.0]), np.array([18.0, 0.0, 0.0])
#: The hilum: a ball that is no liver.
HILUM_RAS_MM, HILUM_MM = np.array([-14.0, -10.0, -22.0]), 20.0


def _depth_mm(points: np.ndarray) -> np.ndarray:
    """About how deep points (..., 3) lie in the liver."""
    depth = (1 - np.linalg.norm((points - CENTER_RAS_MM) / SEMI_AXES_MM, axis=-1)) * SEMI_AXES_MM.min()
    return np.minimum(depth, np.linalg.norm(points - HILUM_RAS_MM, axis=-1) - HILUM_MM)


def _distance_to_course(points: np.ndarray, course: list[tuple[float, float, float]]) -> np.ndarray:
    first, second = np.array(course)
    share = np.clip((points - first) @ (second - first) / np.sum((second - first) ** 2), 0, 1)
    return np.linalg.norm(points - first - share[..., None] * (second - first), axis=-1)


def _case(spacing=(0.8, 0.8, 1.2), direction=None, seed=0, tubes=TUBES) -> tuple[sitk.Image, sitk.Image]:
    """A CT of an ellipsoid with tubes in it, partial volumes by subvoxels, blurred and noisy; and the liver."""
    direction = np.diag([1.0, 1.0, 1.0]) if direction is None else direction
    spacing = np.array(spacing)
    size = np.ceil(2 * (SEMI_AXES_MM.max() + 8) / spacing).astype(int)
    center_lps = CENTER_RAS_MM * (-1, -1, 1)
    origin = center_lps - direction @ (spacing * (size - 1) / 2)
    points = (origin + (voxel_indices(size) * spacing) @ direction.T) * (-1, -1, 1)
    depth = _depth_mm(points)
    values = np.where(depth > 0, LIVER_HU, -100.0)
    near = depth > -2
    for kind, radius, course in tubes:
        share = np.clip((radius - _distance_to_course(points[near], course)) / spacing.mean() + 0.5, 0, 1)
        values[near] = np.maximum(values[near], LIVER_HU + share * (BLOOD_HU[kind] - LIVER_HU))
    values = ndimage.gaussian_filter(values, BLUR_MM / spacing[::-1])
    values += np.random.default_rng(seed).normal(0, NOISE_HU, values.shape)
    ct, liver = sitk.GetImageFromArray(values.astype(np.int16)), sitk.GetImageFromArray((depth > 0).astype(np.uint8))
    for image in (ct, liver):
        image.SetSpacing(spacing.tolist())
        image.SetDirection(direction.ravel().tolist())
        image.SetOrigin(origin.tolist())
    return ct, liver


def _truth(least_radius_mm: float = 0.0, tubes=TUBES) -> Centerlines:
    """The courses inside of the liver."""
    parts = []
    for kind, radius, course in tubes:
        first, second = np.array(course)
        count = int(np.linalg.norm(second - first) / 0.25)
        points = first + np.linspace(0, 1, count)[:, None] * (second - first)
        inside = _depth_mm(points) > 2
        ones = np.ones(int(inside.sum()))
        if radius >= least_radius_mm:
            parts.append(Centerlines(points[inside], radius * ones, int(kind) * ones, 0.25 * ones))
    return Centerlines.joined(parts)


def _oblique() -> np.ndarray:
    a, b = np.radians(25), np.radians(-15)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_z @ about_x


def _assert_found(lines: Centerlines, least_share: float, radius_mm: float) -> None:
    truth, thick = _truth(), _truth(1.5)
    nearest = cKDTree(lines.points_ras_mm).query(thick.points_ras_mm)[0]
    assert (nearest < 2.0).mean() >= least_share
    off, index = cKDTree(truth.points_ras_mm).query(lines.points_ras_mm)
    is_false = off > np.maximum(2.0, truth.radius_mm[index])
    assert lines.step_mm[is_false].sum() <= 0.05 * lines.length_mm
    # Where tubes of different radius meet, neither radius is the truth.
    others = [
        np.min(
            [_distance_to_course(lines.points_ras_mm, course) - radius for _, radius, course in TUBES if radius != r], 0
        )
        for r in sorted({radius for _, radius, _ in TUBES})
    ]
    order = sorted({radius for _, radius, _ in TUBES})
    alone = np.array(others)[[order.index(r) for r in truth.radius_mm[index]], np.arange(len(lines))] > 3.0
    error = np.abs(lines.radius_mm - truth.radius_mm[index])[alone & (off < 1.5)]
    assert len(error) > 50
    assert np.mean(error) < radius_mm
    assert np.mean(error < 0.5) > 0.9


@pytest.fixture(scope="module")
def tubes():
    ct, liver = _case()
    return ct, liver, segment_vessels(ct, liver)


def test_tubes_are_found_with_their_radius(tubes):
    _assert_found(tubes[2].centerlines, 0.93, 0.25)


def test_vessels_below_3_mm_are_left_out(tubes):
    _, radius, course = TUBES[-1]
    assert radius < 1.5
    # Its beginning may count to the vessel that it comes from.
    place = np.array(course[0]) + 0.6 * np.subtract(course[1], course[0])
    assert cKDTree(tubes[2].centerlines.points_ras_mm).query(place)[0] > 2.0


def test_portal_and_hepatic_veins_are_told_apart(tubes):
    lines, truth = tubes[2].centerlines, _truth()
    index = cKDTree(truth.points_ras_mm).query(lines.points_ras_mm)[1]
    known = lines.kind != VesselKind.UNKNOWN
    assert known.mean() > 0.9
    assert (lines.kind == truth.kind[index])[known].mean() > 0.95
    bloods = tubes[2].blood_contrast
    assert bloods[VesselKind.PORTAL] == pytest.approx(75, abs=6)
    assert bloods[VesselKind.HEPATIC] == pytest.approx(55, abs=6)


def test_the_mask_is_that_of_the_tubes(tubes):
    ct, liver, found = tubes
    assert found.mask.GetSize() == ct.GetSize()
    truth = np.zeros(sitk.GetArrayViewFromImage(ct).shape, bool)
    index = np.argwhere(sitk.GetArrayViewFromImage(liver) > 0)
    points = np.array(ct.GetOrigin()) + index[:, ::-1] * ct.GetSpacing()
    points = points * (-1, -1, 1)
    inside = np.min([_distance_to_course(points, course) - radius for _, radius, course in TUBES[:-1]], axis=0) < 0
    truth[tuple(index[inside].T)] = True
    mask = sitk.GetArrayViewFromImage(found.mask) > 0
    both = (mask & truth).sum()
    assert 2 * both / (mask.sum() + truth.sum()) > 0.85


@pytest.mark.parametrize(
    ("spacing", "direction", "share", "radius_mm"),
    [
        ((0.8, 0.8, 1.2), np.diag([-1.0, 1.0, -1.0]), 0.93, 0.25),
        ((0.9, 0.7, 1.0), _oblique(), 0.93, 0.25),
        ((0.7, 0.7, 3.0), None, 0.9, 0.35),
    ],
    ids=["flipped", "oblique", "thick slices"],
)
def test_the_grid_does_not_matter(spacing, direction, share, radius_mm):
    _assert_found(segment_vessels(*_case(spacing, direction)).centerlines, share, radius_mm)


def test_a_bright_organ_beside_the_liver_is_no_vessel():
    ct, liver = _case()
    array = sitk.GetArrayFromImage(ct)
    outside = sitk.GetArrayViewFromImage(liver) == 0
    array[outside & (np.arange(array.shape[0]) < 60)[:, None, None]] = 250
    bright = sitk.GetImageFromArray(array)
    bright.CopyInformation(ct)
    lines = segment_vessels(bright, liver).centerlines
    off = cKDTree(_truth().points_ras_mm).query(lines.points_ras_mm)[0]
    assert lines.step_mm[off > 3.0].sum() < 0.05 * lines.length_mm


def test_without_trunks_vessels_are_found_but_not_named():
    """Two vessels deep in the liver, whose ends reach no border."""
    tubes = (
        (VesselKind.PORTAL, 3.2, [(12.0, 0.0, -4.0), (34.0, 12.0, 6.0)]),
        (VesselKind.HEPATIC, 2.5, [(20.0, -10.0, 10.0), (36.0, -14.0, 0.0)]),
    )
    found = segment_vessels(*_case(tubes=tubes))
    assert len(found.warnings) == 2
    assert (found.centerlines.kind == VesselKind.UNKNOWN).all()
    truth = _truth(tubes=tubes)
    assert (cKDTree(found.centerlines.points_ras_mm).query(truth.points_ras_mm)[0] < 2.0).mean() > 0.9
    one = segment_vessels(*_case(tubes=TUBES[:2]))
    assert any("hepatic" in warning for warning in one.warnings)
    assert (one.centerlines.kind == VesselKind.PORTAL).mean() > 0.9


def test_a_named_trunk_is_taken(tubes):
    ct, liver, _ = tubes
    swapped = segment_vessels(ct, liver, portal_ras_mm=(12.0, -14.0, 40.0), hepatic_ras_mm=(4.0, -4.0, -6.0))
    near = np.linalg.norm(swapped.centerlines.points_ras_mm - (6.0, -3.0, -6.0), axis=1) < 5
    assert (swapped.centerlines.kind[near] == VesselKind.HEPATIC).all()
    with pytest.raises(GeometryError, match="no vessel within"):
        segment_vessels(ct, liver, portal_ras_mm=(60.0, 0.0, 0.0))


def test_the_document_holds_the_centerlines(tubes):
    document = tubes[2].to_dict()
    assert document["schema_version"] == 1
    assert "differs by" in document["certainty"]
    assert len(document["centerlines"]["points_ras_mm"]) == len(tubes[2].centerlines)
    assert sum(document["length_mm"].values()) == pytest.approx(tubes[2].centerlines.length_mm)


def test_a_mask_of_tubes_gives_their_centerlines(tubes):
    ct, _, _ = tubes
    shape = sitk.GetArrayViewFromImage(ct).shape
    index = np.indices(shape).reshape(3, -1).T
    points = (np.array(ct.GetOrigin()) + index[:, ::-1] * ct.GetSpacing()) * (-1, -1, 1)
    labels = np.zeros(len(points), np.uint8)
    for kind, radius, course in TUBES:
        labels[_distance_to_course(points, course) < radius] = kind
    mask = sitk.GetImageFromArray(labels.reshape(shape))
    mask.CopyInformation(ct)
    lines = centerlines_of_mask(mask)
    truth = _truth()
    off, at = cKDTree(truth.points_ras_mm).query(lines.points_ras_mm)
    inside = _depth_mm(lines.points_ras_mm) > 2
    assert np.median(off[inside]) < 0.6
    assert np.median(np.abs(lines.radius_mm - truth.radius_mm[at])[inside]) < 0.25
    assert (lines.kind == truth.kind[at])[inside].mean() > 0.95


def test_noise_alone_holds_no_vessel():
    ct, liver = _case(tubes=())
    with pytest.raises(ComputationError, match="vessel"):
        segment_vessels(ct, liver)


def test_a_ball_is_no_vessel_of_a_mask():
    mask = sitk.Image(20, 20, 20, sitk.sitkUInt8)
    with pytest.raises(EmptyMaskError, match="vessels"):
        centerlines_of_mask(mask)
    mask[10, 10, 10] = 1
    with pytest.raises(ComputationError, match="vessel"):
        centerlines_of_mask(mask)


def test_unsound_input_is_refused(tubes):
    ct, liver, _ = tubes
    with pytest.raises(EmptyMaskError, match="liver"):
        segment_vessels(ct, liver * 0)
    with pytest.raises(GeometryError, match="liver"):
        segment_vessels(ct, sitk.BinShrink(liver, [2, 2, 2]))
    with pytest.raises(InputError, match="least diameter"):
        segment_vessels(ct, liver, least_diameter_mm=0.0)
    flat = sitk.Cast(ct * 0 + 100, sitk.sitkInt16)
    with pytest.raises(ComputationError, match="same value"):
        segment_vessels(flat, liver)


@pytest.mark.thorough
def test_hepatic_veins_brighter_than_the_portal_vein_are_not_named():
    """They fill from it: what is brighter at their place is something else, and its tree is not made up."""
    bright = tuple((kind, radius, course) for kind, radius, course in TUBES if radius != 1.0)
    ct, liver = _case(tubes=bright)
    array = sitk.GetArrayFromImage(ct).astype(float)
    index = np.indices(array.shape).reshape(3, -1).T
    points = (np.array(ct.GetOrigin()) + index[:, ::-1] * ct.GetSpacing()) * (-1, -1, 1)
    near = [_distance_to_course(points, course) < radius + 2 for kind, radius, course in TUBES if kind == 2]
    is_hepatic = np.any(near, axis=0).reshape(array.shape) & (sitk.GetArrayViewFromImage(liver) > 0)
    array[is_hepatic] += np.clip(array[is_hepatic] - LIVER_HU, 0, None)
    early = sitk.GetImageFromArray(array.astype(np.int16))
    early.CopyInformation(ct)
    found = segment_vessels(early, liver)
    assert (found.centerlines.kind != VesselKind.HEPATIC).all()
    assert any("brighter" in warning for warning in found.warnings)
    assert "one trunk only" in found.certainty
    # Who names a trunk is believed.
    named = segment_vessels(early, liver, hepatic_ras_mm=(12.0, -14.0, 40.0))
    assert (named.centerlines.kind == VesselKind.HEPATIC).any()
