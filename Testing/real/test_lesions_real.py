"""Lesions of a real CT of a printed liver; its masks are rough region growing, not truth."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull

from NETAblationLib.core import frames
from NETAblationLib.core.images import read_image
from NETAblationLib.core.lesions import segment_lesion
from support.datasets import dataset


def longest_line(mask: np.ndarray, image: sitk.Image) -> np.ndarray:
    """The longest diameter (2, 3) in one slice of a mask (K, J, I)."""
    best, found = 0.0, None
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        index = np.argwhere(mask[k])[:, ::-1]
        if len(np.unique(index[:, 0])) < 3 or len(np.unique(index[:, 1])) < 3:
            continue
        index = index[ConvexHull(index).vertices]
        points = frames.index_to_ras(image, np.column_stack([index, np.full(len(index), k)]))
        lengths = np.linalg.norm(points[:, None] - points[None], axis=2)
        a, b = np.unravel_index(int(np.argmax(lengths)), lengths.shape)
        if lengths[a, b] > best:
            best, found = lengths[a, b], np.stack([points[a], points[b]])
    assert found is not None
    return found


@pytest.mark.thorough
def test_lesions_of_a_real_ct_agree_with_the_rough_masks():
    """Mean overlap over five lesions, the lines up to 2 mm off at each end."""
    folder = dataset("liver-phantom")
    image = read_image(folder / "ct.nii.gz")
    rough = sitk.ReadImage(str(folder / "lesions_rough_auto.nii.gz"))
    labels = sitk.GetArrayFromImage(rough)
    names = [int(v) for v in np.unique(labels) if v]
    if len(names) == 1:
        labels, count = ndimage.label(labels)
        names = [n for n in range(1, count + 1) if (labels == n).sum() > 200]
    assert len(names) >= 5
    rng = np.random.default_rng(0)
    overlaps = []
    for name in names:
        truth = labels == name
        line = longest_line(truth, image) + rng.uniform(-1.2, 1.2, (2, 3))
        result = segment_lesion(image, line)
        found = sitk.GetArrayFromImage(result.mask) > 0
        overlaps.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
        assert result.long_axis_mm == pytest.approx(np.linalg.norm(line[1] - line[0]), rel=0.35)
    assert np.mean(overlaps) >= 0.8, overlaps
    assert min(overlaps) >= 0.6, overlaps
