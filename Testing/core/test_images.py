"""Images and masks as files: the same voxels at the same place, or an error that names the file."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from NETAblationLib.core import frames, images
from NETAblationLib.core.errors import EmptyMaskError, ImageReadError, InputError
from NETAblationLib.core.images import (
    as_mask,
    image_hash,
    list_series,
    read_image,
    read_mask,
    require_3d_finite,
    write_image,
)
from support import dicom_series as make
from support import shapes

_SUFFIXES = [".nrrd", ".nii", ".nii.gz", ".mha", ".mhd"]


def ramp_image(dtype=np.int16, direction=None) -> sitk.Image:
    """An image whose every voxel differs, on an anisotropic, oblique or flipped grid."""
    array = np.arange(5 * 6 * 7).reshape(5, 6, 7).astype(dtype)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-120.5, 33.25, 1204.125))
    if direction is not None:
        image.SetDirection(np.asarray(direction, float).ravel().tolist())
    return image


OBLIQUE = shapes.rotation((0.2, -0.5, 0.8), 27.0)
FLIPPED = np.diag([1.0, -1.0, 1.0])


def refusal(path, **keywords) -> str:
    """The message of the error; it names the file."""
    with pytest.raises(ImageReadError) as refused:
        read_image(path, **keywords)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("suffix", _SUFFIXES)
@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE, FLIPPED], ids=["straight", "oblique", "flipped"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_written_and_read_again(tmp_path, suffix, direction, dtype):
    image = ramp_image(dtype, direction)
    path = tmp_path / f"Ünï cödé {dtype.__name__}{suffix}"
    write_image(image, path)
    again = read_image(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(image))
    assert again.GetPixelID() == image.GetPixelID()
    corners = np.array([(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4)])
    # NIfTI rounds to float32: 1200 mm to 1e-4 mm.
    tolerance = 2e-4 if ".nii" in suffix else 1e-9
    np.testing.assert_allclose(frames.index_to_ras(again, corners), frames.index_to_ras(image, corners), atol=tolerance)
    assert {file.suffix for file in tmp_path.iterdir()} <= {path.suffix, ".zraw"}


def test_suffix_in_capitals(tmp_path):
    write_image(ramp_image(), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(tmp_path / "B.NII.GZ")
    assert read_image(tmp_path / "B.NII.GZ").GetSize() == (7, 6, 5)


def test_one_time_point_is_no_time_series(tmp_path):
    four = sitk.JoinSeries([ramp_image()])
    sitk.WriteImage(four, str(tmp_path / "one.nii.gz"))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_image(tmp_path / "one.nii.gz")), sitk.GetArrayFromImage(ramp_image())
    )


def test_kinds_of_image_that_are_refused(tmp_path):
    image = ramp_image()
    for name, bad, word in [
        ("four", sitk.JoinSeries([image, image]), "4D"),
        ("color", sitk.Compose([sitk.Cast(image, sitk.sitkUInt8)] * 3), "numbers each"),
        ("flat", image[:, :, 2:3], "single slice"),
        ("plane", image[:, :, 2], "2D"),
    ]:
        path = tmp_path / f"{name}.nrrd"
        sitk.WriteImage(bad, str(path))
        assert word in refusal(path), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_voxels_that_are_not_finite(tmp_path, suffix, dtype):
    """ITK turns those of a NIfTI into zeros without a word."""
    holes = sitk.GetArrayFromImage(ramp_image(dtype))
    holes[2, 3, 4] = np.nan
    holes[0, 0, 0] = np.inf
    path = tmp_path / f"holes{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(holes), str(path))
    assert "2 voxels are not finite" in refusal(path)
    with pytest.raises(ImageReadError, match="2 voxels are not finite"):
        read_mask(path)


def test_files_that_are_none(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.nrrd")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty" in refusal(empty)
    for suffix in _SUFFIXES:
        path = tmp_path / f"text{suffix}"
        path.write_text("Dear colleague, the images are attached.\n")
        refusal(path)
        path = tmp_path / f"nothing{suffix}"
        path.write_bytes(b"")
        refusal(path)
    (tmp_path / "letter.docx").write_text("hello")
    assert "not a format" in refusal(tmp_path / "letter.docx")
    write_image(ramp_image(), tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="DICOM folder only"):
        read_image(tmp_path / "a.nrrd", series="portal")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_cut_off_files(tmp_path, suffix):
    """ITK fills a cut-off NIfTI up with zeros without a word."""
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 30)).astype(np.int16)
    path = tmp_path / f"whole{suffix}"
    write_image(sitk.GetImageFromArray(noise), path)
    whole = path.read_bytes()
    for share in (0.9, 0.5):
        path.write_bytes(whole[: int(share * len(whole))])
        refusal(path)
    if suffix != ".nii":
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 0xFF
        path.write_bytes(bytes(damaged))
        refusal(path)


def _nifti(tmp_path, edits) -> str:
    """A NIfTI file with fields of its header overwritten: {offset: (struct code, value)}."""
    path = tmp_path / "edited.nii"
    write_image(ramp_image(), path)
    content = bytearray(path.read_bytes())
    for offset, (code, *values) in edits.items():
        struct.pack_into("<" + code, content, offset, *values)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("edits", "word"),
    [
        ({80: ("f", 0.0)}, "voxel size"),
        ({80: ("f", -0.7)}, "voxel size"),
        ({84: ("f", float("nan"))}, "voxel size"),
        ({252: ("2h", 0, 0)}, "left and right"),
        ({252: ("2h", 0, 1), 284: ("f", 0.3)}, "sheared"),
        ({268: ("f", 50.0)}, "places the image twice"),
        ({252: ("2h", 0, 1), 80: ("f", 0.9)}, "twice and differently"),
        ({344: ("4s", b"\0\0\0\0")}, "Analyze"),
    ],
)
def test_nifti_headers_that_itk_takes_silently(tmp_path, edits, word):
    assert word in refusal(_nifti(tmp_path, edits))


def test_headers_of_metaimage_and_nrrd(tmp_path):
    write_image(ramp_image(), tmp_path / "a.mhd")
    header = (tmp_path / "a.mhd").read_text()
    (tmp_path / "b.mhd").write_text(re.sub(r"ElementSpacing = \S+", "ElementSpacing = 0", header))
    assert "voxel size" in refusal(tmp_path / "b.mhd")
    (tmp_path / "c.mhd").write_text(header.replace("a.zraw", "gone.zraw"))
    assert "not beside it" in refusal(tmp_path / "c.mhd")
    sheared = (
        b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 4 4\n"
        b"space directions: (1,0,0) (0,1,0) (0,0.3,1)\nspace origin: (0,0,0)\nendian: little\nencoding: gzip\n\n"
    ) + gzip.compress(np.arange(64, dtype="<i2").tobytes())
    (tmp_path / "sheared.nrrd").write_bytes(sheared)
    assert "shear" in refusal(tmp_path / "sheared.nrrd")


def test_masks_are_zero_and_one_on_their_grid(tmp_path):
    sphere = shapes.mask_of(shapes.sphere((0, 0, 0), 5), shapes.grid((-8, -8, -8), (8, 8, 8), (1, 1, 2), OBLIQUE))
    for factor, kind in ((1, sitk.sitkUInt8), (7, sitk.sitkInt16), (255, sitk.sitkUInt16), (3, sitk.sitkFloat32)):
        path = tmp_path / "mask.nrrd"
        write_image(sitk.Cast(sphere, kind) * factor, path)
        mask = read_mask(path)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(sphere))
        assert mask.GetPixelID() == sitk.sitkUInt8
        assert frames.same_grid(mask, sphere)


def test_one_label_of_many(tmp_path):
    labels = sitk.GetImageFromArray((np.arange(4 * 5 * 6).reshape(4, 5, 6) // 30).astype(np.uint8))
    write_image(labels, tmp_path / "labels.nii.gz")
    for label in (1, 2, 3):
        mask = sitk.GetArrayFromImage(read_mask(tmp_path / "labels.nii.gz", label=label))
        np.testing.assert_array_equal(mask, sitk.GetArrayFromImage(labels) == label)
    with pytest.raises(EmptyMaskError, match="its labels are 1, 2, 3"):
        read_mask(tmp_path / "labels.nii.gz", label=9)


def test_what_is_no_mask(tmp_path):
    ct = np.random.default_rng(0).normal(60, 20, (8, 9, 10))
    for name, array, error, word in [
        ("hu", ct.astype(np.int16) - 1000, InputError, "negative"),
        ("positive", np.abs(ct).astype(np.uint8), InputError, "change from voxel to voxel"),
        ("share", np.clip(ct / 100, 0, 1).astype(np.float32), InputError, "fractions"),
        ("empty", np.zeros((4, 4, 4), np.uint8), EmptyMaskError, "empty"),
    ]:
        write_image(sitk.GetImageFromArray(array), tmp_path / f"{name}.nrrd")
        with pytest.raises(error, match=word) as refused:
            read_mask(tmp_path / f"{name}.nrrd")
        assert f"{name}.nrrd" in str(refused.value)
    with pytest.raises(InputError, match=r"tumor: .*needed, not a ndarray"):
        as_mask(np.ones((3, 3, 3)), "tumor")


def test_writing_where_it_cannot_be(tmp_path):
    with pytest.raises(InputError, match="written as"):
        write_image(ramp_image(), tmp_path / "image.png")
    with pytest.raises(InputError, match="no folder"):
        write_image(ramp_image(), tmp_path / "missing" / "image.nrrd")
    (tmp_path / "taken.nrrd").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_image(ramp_image(), tmp_path / "taken.nrrd")


# In a process of its own no file may grow beyond 1000 bytes, which is what a full disk is to ITK.
_WRITE_TO_A_FULL_DISK = """
import resource, sys
import numpy as np, SimpleITK as sitk
from NETAblationLib.core.errors import InputError
from NETAblationLib.core.images import write_image
noise = np.random.default_rng(0).integers(0, 1000, (10, 20, 20)).astype(np.int16)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_image(sitk.GetImageFromArray(noise), sys.argv[1])
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_a_full_disk_loses_nothing(tmp_path, suffix):
    """ITK writes as much of an NRRD or NIfTI as there is room for, and calls it done."""
    pytest.importorskip("resource")
    path = tmp_path / f"mask{suffix}"
    path.write_text("what was there before")
    library = Path(images.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-B", "-c", _WRITE_TO_A_FULL_DISK, str(path)], cwd=library, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"mask{suffix}" in done.stdout
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]
    assert done.stderr == ""


def test_header_and_voxels_are_replaced_together(tmp_path, monkeypatch):
    """A .mhd is two files; a failure between them leaves those of before."""
    path = tmp_path / "image.mhd"
    write_image(ramp_image(), path)
    assert {file.name for file in tmp_path.iterdir()} == {"image.mhd", "image.zraw"}
    before = read_image(path)

    def fail(image, name, **_keywords):
        with open(name, "w") as header:
            header.write("ObjectType = Image")
        raise RuntimeError("out of luck")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(InputError, match="out of luck"):
        write_image(ramp_image() * 0, path)
    assert image_hash(read_image(path)) == image_hash(before)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_keeps_its_place(tmp_path):
    target = tmp_path / "archive" / "whole.nrrd"
    target.parent.mkdir()
    target.write_text("old")
    (tmp_path / "mask.nrrd").symlink_to(target)
    write_image(ramp_image(), tmp_path / "mask.nrrd")
    assert (tmp_path / "mask.nrrd").is_symlink()
    assert image_hash(read_image(target)) == image_hash(ramp_image())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.tuples(*[st.integers(0, n - 1) for n in (7, 6, 5)]), st.integers(1, 50))
def test_hash_tells_any_two_images_apart(voxel, change):
    image = ramp_image()
    other = sitk.Image(image)
    assert image_hash(image) == image_hash(other)
    other[voxel] = image[voxel] + change
    assert image_hash(image) != image_hash(other)


def test_hash_depends_on_place_and_type():
    image = ramp_image()
    moved, turned, stretched = sitk.Image(image), ramp_image(direction=FLIPPED), sitk.Image(image)
    moved.SetOrigin((0.0, 0.0, 1e-9))
    stretched.SetSpacing((0.7, 0.8, 2.5000001))
    hashes = {image_hash(part) for part in (image, moved, turned, stretched, sitk.Cast(image, sitk.sitkInt32))}
    assert len(hashes) == 5


def test_unsound_images_in_memory():
    flat = sitk.Image(4, 4, sitk.sitkInt16)
    with pytest.raises(ImageReadError, match="2D"):
        require_3d_finite(flat, "planning image")
    sheared = ramp_image(direction=[[1, 0, 0], [0, 1, 0.2], [0, 0, np.sqrt(0.96)]])
    with pytest.raises(ImageReadError, match="planning image: its axes are sheared by 11"):
        require_3d_finite(sheared, "planning image")


def test_series_are_listed_without_names(tmp_path):
    for number, name in ((1, "arterial"), (2, "portal")):
        make.write_series(tmp_path / name, make.ramp(), series=number, SeriesNumber=number, SeriesDescription=name)
    listed = list_series(tmp_path)
    assert [series.description for series in listed] == ["arterial", "portal"]
    message = refusal(tmp_path)
    assert "arterial" in message
    assert "portal" in message
    assert read_image(tmp_path, series="portal").GetDimension() == 3
