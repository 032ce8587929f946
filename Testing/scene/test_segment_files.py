"""What Slicer writes as .seg.nrrd, the core reads: names, codes, layers and voxels."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from NETAblationLib.core.segmentation_files import find_structures, read_segmentation
from NETAblationLib.scene import segmentations
from NETAblationLib.scene.provenance import Provenance
from support import shapes

SPHERES = {"kidney": ((-8, 0, 0), 5.0), "gallbladder": ((7, 2, 1), 6.0), "tumor": ((-2, 9, 9), 4.0)}


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, 1.0, -1.0]), shapes.rotation((0.3, 0.9, 0.2), 25.0)])
def test_segments_written_by_slicer_come_back(scene, tmp_path, direction, overlapping):
    reference = shapes.grid((-16, -15, -14), (15, 16, 17), (1.1, 0.9, 2.3), direction)
    node = segmentations.add_segmentation(reference, "case", Provenance("mask"))
    placed = dict(SPHERES)
    if overlapping:
        placed["colon"] = ((9, 0, 0), 7.0)
    masks = {kind: shapes.mask_of(shapes.sphere(*sphere), reference) for kind, sphere in placed.items()}
    for kind, mask in masks.items():
        # The name says nothing: the code alone tells what it is.
        segmentations.add_segment(node, mask, kind, name=f"Segment {kind[:2]}")
    path = tmp_path / "case.seg.nrrd"
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    segmentation = read_segmentation(path)
    assert len(segmentation.layers) == (2 if overlapping else 1)
    found = find_structures(segmentation, reference)
    assert {match.structure.name for _, match in found.matches} == set(placed)
    assert set(found.masks) == set(placed) - {"tumor"}
    for name, mask in found.masks.items():
        onto = sitk.Resample(mask, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(onto), sitk.GetArrayFromImage(masks[name]))
