"""DICOM series: what is read lies and values as its headers say; what is unsound is refused by name."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from NETAblationLib.core import images
from NETAblationLib.core.errors import Cancelled, ImageReadError, InputError
from NETAblationLib.core.slices import SlicePlane, stack_slices
from support import dicom_series as make
from support import shapes


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def assert_voxels_at(image: sitk.Image, expected: np.ndarray, positions, axes, spacing_rows_columns) -> None:
    """Every stored pixel lies in the image where its own slice header puts it, with its value."""
    row_axis, column_axis = np.asarray(axes, float)
    for k in range(len(expected)):
        for j, i in ((0, 0), (2, 1), (expected.shape[1] - 1, expected.shape[2] - 1)):
            point = positions[k] + i * spacing_rows_columns[1] * row_axis + j * spacing_rows_columns[0] * column_axis
            continuous = np.array(image.TransformPhysicalPointToContinuousIndex(point.tolist()))
            index = np.round(continuous).astype(int).tolist()
            assert np.allclose(continuous, index, atol=1e-3)
            assert image[index] == pytest.approx(expected[k, j, i], rel=1e-6)


def refusal(path, series=None) -> str:
    """The message of the refusal; it never names the patient."""
    with pytest.raises(ImageReadError) as caught:
        images.read_image(path, series=series)
    assert "Secret" not in str(caught.value)
    assert "P-1" not in str(caught.value)
    return str(caught.value)


# --- values and places ----------------------------------------------------------------------


def test_ct_has_its_hu_and_its_place(tmp_path):
    stored = make.ramp()
    make.write_series(tmp_path, stored)
    image = images.read_image(tmp_path)
    assert image.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(values(image), stored - 1024)
    assert image.GetOrigin() == (-20.0, 30.0, -110.0)
    assert image.GetSpacing() == (0.9, 0.7, 2.5)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@given(degrees=st.floats(-170, 170), axis=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1)))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_orientation_and_order_keeps_every_voxel_at_its_place(tmp_path_factory, degrees, axis):
    axes = shapes.rotation(axis, degrees).T[:2]
    folder = tmp_path_factory.mktemp("series")
    stored = make.ramp()
    against_normal = make.slice_positions(6, -2.5, normal=np.cross(*axes))
    make.write_series(folder, stored, positions=against_normal, axes=axes)
    image = images.read_image(folder)
    assert_voxels_at(image, stored - 1024.0, against_normal, axes, (0.7, 0.9))
    assert np.linalg.det(np.array(image.GetDirection()).reshape(3, 3)) == pytest.approx(1.0)


def test_shuffled_on_disk_reads_the_same(tmp_path):
    stored = make.ramp((9, 5, 4))
    ordered = make.write_series(tmp_path / "ordered", stored)
    expected = images.image_hash(images.read_image(tmp_path / "ordered"))
    shuffled = tmp_path / "shuffled"
    numbers = random.Random(3).sample(range(1000), len(ordered))
    for number, path in zip(numbers, ordered, strict=True):
        target = shuffled / ["", "A", "A/B", "C"][number % 4] / f"IM{number}"  # without a suffix, in sub-folders
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (shuffled / "notes.txt").write_text("not DICOM")
    (shuffled / "A" / ".DS_Store").write_bytes(bytes(300))
    (shuffled / "._IM1.dcm").write_bytes(b"\0\5\x16\7 a resource fork")
    make.save(make.base(make.DICOMDIR), shuffled / "DICOMDIR")
    assert images.image_hash(images.read_image(shuffled)) == expected


def test_instance_numbers_do_not_decide_the_order(tmp_path):
    stored = make.ramp()
    backwards = [{"InstanceNumber": 6 - k} for k in range(6)]
    make.write_series(tmp_path, stored, per_slice=backwards, names=[f"{9 - k}.dcm" for k in range(6)])
    assert np.array_equal(values(images.read_image(tmp_path)), stored - 1024)


def test_pet_is_rescaled_by_the_slope_of_each_slice(tmp_path):
    stored = make.ramp(dtype=np.uint16) * 37
    slopes = [0.5, 1.2345, 2.0, 0.003, 1.0, 7.25]
    per_slice = [{"RescaleSlope": slope, "RescaleIntercept": 0} for slope in slopes]
    make.write_series(tmp_path, stored, sop_class=make.PET, per_slice=per_slice, Units="BQML")
    image = images.read_image(tmp_path)
    assert image.GetPixelID() == sitk.sitkFloat32
    assert np.allclose(values(image), stored * np.array(slopes)[:, None, None], rtol=1e-6, atol=0)


def test_a_whole_slope_on_the_first_slice_does_not_cut_the_fractions_of_the_others(tmp_path):
    stored = make.ramp()
    per_slice = [{"RescaleSlope": 1 if k == 0 else 0.25, "RescaleIntercept": 0} for k in range(6)]
    make.write_series(tmp_path, stored, sop_class=make.PET, per_slice=per_slice)
    assert np.array_equal(values(images.read_image(tmp_path))[1:], stored[1:] * np.float32(0.25))


def test_mr_with_and_without_rescale(tmp_path):
    stored = make.ramp(dtype=np.uint16)
    make.write_series(tmp_path / "none", stored, sop_class=make.MR)
    assert np.array_equal(values(images.read_image(tmp_path / "none")), stored)
    make.write_series(tmp_path / "some", stored, sop_class=make.MR, RescaleSlope=0.5, RescaleIntercept=10)
    assert np.array_equal(values(images.read_image(tmp_path / "some")), stored * 0.5 + 10)


def test_monochrome1_keeps_its_hu(tmp_path):
    stored = make.ramp(dtype=np.uint16)
    make.write_series(tmp_path, stored, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(values(images.read_image(tmp_path)), stored.astype(int) - 1024)


def test_padding_and_unsigned_values_beyond_int16_stay(tmp_path):
    stored = make.ramp(dtype=np.uint16)
    stored[2, 1, 1], stored[3, 0, 0] = 65535, 0
    make.write_series(tmp_path, stored, RescaleIntercept=-3024)
    image = images.read_image(tmp_path)
    assert image.GetPixelID() == sitk.sitkInt32
    assert np.array_equal(values(image), stored.astype(int) - 3024)


def test_bits_above_those_stored_are_not_part_of_the_value(tmp_path):
    stored = np.array([-900, -5, 0, 7, 2047, 40], dtype=np.int16).repeat(20).reshape(6, 5, 4)
    without_sign = (stored & 0x0FFF).astype(np.int16)  # 12 bits, the 4 above are zero
    make.write_series(tmp_path / "signed", without_sign, bits_stored=12)
    assert np.array_equal(values(images.read_image(tmp_path / "signed")), stored - 1024)
    with_overlay = (make.ramp(dtype=np.uint16) | 0x8000).astype(np.uint16)
    make.write_series(tmp_path / "overlay", with_overlay, bits_stored=12)
    assert np.array_equal(values(images.read_image(tmp_path / "overlay")), make.ramp() - 1024)


def test_run_length_encoding_is_read(tmp_path):
    stored = make.ramp((4, 6, 8))
    make.write_series(tmp_path, stored, rle=True)
    assert np.array_equal(values(images.read_image(tmp_path)), stored - 1024)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_lossless_compression_is_read_without_gdcms_rescaling(tmp_path, compressor, photometric):
    """SimpleITK compresses; header fields that GDCM would apply on its own are set on top."""
    import pydicom

    stored = np.random.default_rng(1).integers(-1000, 3000, (3, 32, 24)).astype(np.int16)
    paths = make.write_series(tmp_path, stored, RescaleSlope=1, RescaleIntercept=-24)
    for k, path in enumerate(paths):
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.SetFileName(str(tmp_path / "compressed.dcm"))
        writer.Execute(sitk.GetImageFromArray(stored[k : k + 1]))
        compressed = pydicom.dcmread(tmp_path / "compressed.dcm")
        assert compressed.file_meta.TransferSyntaxUID.is_compressed
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = compressed.file_meta.TransferSyntaxUID
        dataset.PhotometricInterpretation = photometric
        dataset.PixelData = compressed.PixelData
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    (tmp_path / "compressed.dcm").unlink()
    assert np.array_equal(values(images.read_image(tmp_path)), stored - 24)


def test_one_slice_file_stands_for_its_series(tmp_path):
    paths = make.write_series(tmp_path, make.ramp(), series=1)
    make.write_series(tmp_path, make.ramp((3, 5, 4)), series=2, names=["a", "b", "c"])
    expected = images.image_hash(images.read_image(tmp_path, series=1))
    assert images.image_hash(images.read_image(paths[3])) == expected
    assert images.read_image(tmp_path / "b").GetSize() == (4, 5, 3)


def test_steps_of_a_pet_that_vary_by_rounding_pass_with_their_mean(tmp_path):
    steps = np.array([3.25, 3.35, 3.25, 3.35, 3.35, 3.25, 3.35])
    positions = make.slice_positions(8)
    positions[:, 2] = -300 + np.concatenate([[0], np.cumsum(steps)])
    make.write_series(tmp_path, make.ramp((8, 5, 4)), sop_class=make.PET, positions=positions)
    image = images.read_image(tmp_path)
    assert image.GetSpacing()[2] == pytest.approx(steps.mean())
    assert image.GetOrigin()[2] == -300


def test_progress_rises_to_one_and_can_cancel(tmp_path):
    make.write_series(tmp_path, make.ramp())
    seen = []
    images.read_image(tmp_path, progress=lambda fraction, word: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(set(seen)) > 6

    def cancel(fraction, word):
        if fraction > 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        images.read_image(tmp_path, progress=cancel)


# --- which series ---------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """Two CT phases, and what a scanner adds to them."""
    make.write_series(tmp_path / "1", make.ramp(), series=4, SeriesDescription="ART 1.5 B30f")
    make.write_series(tmp_path / "2", make.ramp((3, 5, 4)), series=5, SeriesDescription="VEN 1.5 B30f")
    make.write_series(tmp_path / "0", make.ramp((2, 5, 4)), series=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    make.save(make.base(make.DOSE_REPORT, 501, Modality="SR", SeriesDescription="Dose Report"), tmp_path / "SR1")
    screen = make.base(make.SECONDARY_CAPTURE, 502, SeriesDescription="Screen")
    make.set_pixels(screen, make.ramp((1, 5, 4))[0])
    make.save(screen, tmp_path / "SC1")
    return tmp_path


def test_several_image_series_are_listed_and_not_guessed(study):
    message = refusal(study)
    assert "2 image series" in message
    for fact in ('series 4 "ART 1.5 B30f": CT, 6 slices', 'series 5 "VEN 1.5 B30f": CT, 3 slices', "localizer", "Dose"):
        assert fact in message
    assert make.uid("series", 4)[-12:] in message
    assert "or give one of its files" in message  # a way out for commands without a choice of series


@pytest.mark.parametrize(
    ("choice", "slices"),
    [(4, 6), ("4", 6), ("5", 3), ("ven 1.5 b30f", 3), ("ART", 6), (make.uid("series", 5), 3), ("...UIDEND", 6)],
)
def test_a_series_is_chosen_by_number_description_or_uid(study, choice, slices):
    if choice == "...UIDEND":
        choice = "..." + make.uid("series", 4)[-12:]
    assert images.read_image(study, series=choice).GetSize()[2] == slices


def test_a_choice_that_fits_none_or_several_is_refused_with_the_list(study):
    assert "no series '77'" in refusal(study, series=77)
    assert "fits 2 series" in refusal(study, series="1.5")
    assert "VEN" in refusal(study, series="portal")


@pytest.mark.parametrize(("choice", "why"), [(1, "localizer"), (501, "Dose"), ("Screen", "Secondary Capture")])
def test_what_is_no_image_is_refused_when_asked_for(study, choice, why):
    assert why in refusal(study, series=choice)


def test_companions_of_a_single_image_series_do_not_matter(study):
    shutil.rmtree(study / "2")
    assert images.read_image(study).GetSize() == (4, 5, 6)


def test_a_listing_describes_every_series_but_no_patient(study):
    make.write_series(study / "other", make.ramp(), series=9, PatientID="P-2")
    listed = images.list_series(study)
    assert [info.number for info in listed] == [1, 4, 5, 9, 501, 502]
    assert [info.is_image for info in listed] == [False, True, True, True, False, False]
    assert [info.slice_count for info in listed[:3]] == [2, 6, 3]
    assert listed[1].patient_key == listed[2].patient_key != listed[3].patient_key
    assert listed[1].frame_of_reference_uid == make.uid("frame")
    assert {path.parent.name for path in listed[1].files} == {"1"}
    assert "Secret" not in repr(listed)
    assert "P-1" not in repr(listed)


# --- refused --------------------------------------------------------------------------------


def test_gantry_tilt(tmp_path):
    tilt = np.radians(12.0)
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)]])
    make.write_series(tmp_path, make.ramp(), axes=axes, GantryDetectorTilt=12, SeriesDescription="HEAD")
    message = refusal(tmp_path)
    assert "gantry tilt" in message
    assert "12.00 degrees" in message
    assert '"HEAD"' in message


def test_a_shear_without_any_tilt_in_the_header(tmp_path):
    positions = make.slice_positions(6) + np.arange(6)[:, None] * [0.0, 0.1, 0.0]
    make.write_series(tmp_path, make.ramp(), positions=positions)
    assert "stacked at 2.29 degrees" in refusal(tmp_path)


def test_a_stated_tilt_that_the_slices_do_not_show(tmp_path):
    make.write_series(tmp_path / "original", make.ramp(), GantryDetectorTilt=15)
    assert "gantry tilt: the header states 15" in refusal(tmp_path / "original")
    reformatted = ["DERIVED", "SECONDARY", "REFORMATTED"]
    make.write_series(tmp_path / "derived", make.ramp(), GantryDetectorTilt=15, ImageType=reformatted)
    assert images.read_image(tmp_path / "derived").GetSize() == (4, 5, 6)


@pytest.mark.parametrize("lost", [1, 3])
def test_missing_slices(tmp_path, lost):
    paths = make.write_series(tmp_path, make.ramp((9, 5, 4)))
    for path in paths[4 : 4 + lost]:
        path.unlink()
    message = refusal(tmp_path)
    assert f"{lost} slice{'s' if lost > 1 else ''} missing between slice003.dcm and slice{4 + lost:03d}.dcm" in message


@pytest.mark.parametrize(("shift_fraction", "passes"), [(0.04, True), (0.06, False)])
def test_uneven_steps_above_five_percent(tmp_path, shift_fraction, passes):
    positions = make.slice_positions(9, 2.0)
    positions[4:, 2] += shift_fraction * 2.0
    make.write_series(tmp_path, make.ramp((9, 5, 4)), positions=positions)
    if passes:
        assert images.read_image(tmp_path).GetSpacing()[2] == pytest.approx(2.0 * (8 + shift_fraction) / 8)
    else:
        assert "uneven slice spacing between slice003.dcm and slice004.dcm" in refusal(tmp_path)


def test_small_steps_that_add_up_are_uneven(tmp_path):
    steps = np.where(np.arange(99) < 50, 1.0, 1.045)
    positions = make.slice_positions(100, 1.0)
    positions[:, 2] = np.concatenate([[0], np.cumsum(steps)])
    make.write_series(tmp_path, make.ramp((100, 2, 2)), positions=positions)
    assert "add up" in refusal(tmp_path)


def test_duplicate_slices(tmp_path):
    paths = make.write_series(tmp_path, make.ramp())
    shutil.copy(paths[2], tmp_path / "copy.dcm")
    assert "duplicate slices: copy.dcm and slice002.dcm" in refusal(tmp_path)


def test_several_phases_in_one_series(tmp_path):
    positions = np.repeat(make.slice_positions(4), 3, axis=0)
    make.write_series(tmp_path, make.ramp((12, 5, 4)), positions=positions)
    assert "3 slices at each of its 4 places: several time points" in refusal(tmp_path)
    shutil.rmtree(tmp_path)
    make.write_series(tmp_path, make.ramp(), positions=np.repeat(make.slice_positions(1), 6, axis=0))
    assert "all of its 6 slices lie at one place" in refusal(tmp_path)


MIXED = {
    "orientation": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    "pixel spacing": {"PixelSpacing": [0.8, 0.9]},
    "frames of reference": {"FrameOfReferenceUID": make.uid("another")},
    "kinds of object": {"SOPClassUID": make.MR},
    "units": {"Units": "CNTS"},
    "different patients": {"PatientID": "P-2"},
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "rescale slope": {"RescaleSlope": None},
}


@pytest.mark.parametrize("what", MIXED)
def test_a_series_that_mixes_what_does_not_belong_together(tmp_path, what):
    per_slice = [{} for _ in range(6)]
    per_slice[4] = MIXED[what]
    make.write_series(tmp_path, make.ramp(), per_slice=per_slice, **({"Units": "BQML"} if what == "units" else {}))
    message = refusal(tmp_path)
    assert what in message
    assert "mixed" in message


def test_slices_of_another_size_or_beside_the_row(tmp_path):
    make.write_series(tmp_path, make.ramp(), names=[f"a{k}" for k in range(6)])
    odd = make.slice_positions(1, origin=(-20, 30, -95))
    make.write_series(tmp_path, make.ramp((1, 7, 4)), positions=odd, names=["odd"])
    assert "different size" in refusal(tmp_path)
    make.write_series(tmp_path, make.ramp((1, 5, 4)), positions=odd + np.array([8, 0, 0]), names=["odd"])
    assert "do not lie in one row" in refusal(tmp_path)


def test_a_localizer_series_or_a_single_slice_alone(tmp_path):
    make.write_series(tmp_path / "scout", make.ramp((2, 5, 4)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert "a localizer" in refusal(tmp_path / "scout")
    (path,) = make.write_series(tmp_path / "single", make.ramp((1, 5, 4)))
    assert "a single slice" in refusal(tmp_path / "single")
    assert "a single slice" in refusal(path)


def test_color_images_and_multi_frame_objects_of_other_kinds(tmp_path):
    make.write_series(tmp_path / "palette", make.ramp(), PhotometricInterpretation="PALETTE COLOR")
    assert "color" in refusal(tmp_path / "palette")
    segmentation = make.base(make.SEGMENTATION)
    make.set_pixels(segmentation, make.ramp((3, 5, 4), np.uint8))
    path = make.save(segmentation, tmp_path / "seg.dcm")
    assert "Segmentation Storage, multi-frame (3 frames)" in refusal(path)
    frames = make.base(make.CT)
    make.set_pixels(frames, make.ramp())
    path = make.save(frames, tmp_path / "frames" / "ct.dcm")
    assert "multi-frame (6 frames) in a class of single slices" in refusal(path)
    private = make.base(make.UID("1.3.46.670589.11.0.0.12.1"))
    assert "of a private kind" in refusal(make.save(private, tmp_path / "private" / "x.dcm"))


def test_damaged_and_cut_off_files(tmp_path):
    paths = make.write_series(tmp_path, make.ramp())
    whole = paths[3].read_bytes()
    for size in (len(whole) - 10, 400, 140, 0):
        paths[3].write_bytes(whole[:size])
        message = refusal(tmp_path)
        assert "slice003.dcm" in message, size
        assert "damaged" in message, size


def test_files_that_are_dicom_by_name_only(tmp_path):
    """The reason is ours, not advice for callers of pydicom."""
    make.write_series(tmp_path, make.ramp())
    other = tmp_path / "slice9.dcm"
    other.write_text("a letter")
    assert f"{other}: a damaged or cut-off DICOM file (it holds no DICOM)" in refusal(tmp_path)
    other.unlink()
    other.symlink_to(tmp_path / "gone")
    assert f"{other}: a damaged or cut-off DICOM file (there is no such file)" in refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_without_its_place(tmp_path, keyword):
    make.write_series(tmp_path, make.ramp(), per_slice=[{keyword: None}, *[{}] * 5])
    assert f"{tmp_path / 'slice000.dcm'}: its DICOM header has no sound {keyword}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"PixelSpacing": [0, 0.7]}, "pixel spacing"),
        ({"PixelSpacing": [-0.7, 0.7]}, "pixel spacing"),
        ({"RescaleSlope": 0}, "rescale slope"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]}, "right angles"),
    ],
)
def test_headers_with_impossible_numbers(tmp_path, elements, why):
    make.write_series(tmp_path, make.ramp(), **elements)
    assert why in refusal(tmp_path)


def test_folders_without_images(tmp_path):
    assert "the folder is empty" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    assert "none of its 1 files" in refusal(tmp_path)
    assert "no such file or folder" in refusal(tmp_path / "absent")
    make.save(make.base(make.DOSE_REPORT, 501, Modality="SR"), tmp_path / "report")
    assert "no CT, MR or PET image series" in refusal(tmp_path)


def test_series_is_a_choice_within_a_folder_only(tmp_path):
    paths = make.write_series(tmp_path, make.ramp())
    with pytest.raises(InputError, match="in a DICOM folder only"):
        images.read_image(paths[0], series=1)


# --- enhanced multi-frame -------------------------------------------------------------------


@pytest.mark.parametrize("sop_class", [make.ENHANCED_CT, make.ENHANCED_MR])
def test_enhanced_frames_are_placed_and_rescaled_one_by_one(tmp_path, sop_class):
    stored = make.ramp()
    positions = make.slice_positions(6, 2.5)[[3, 1, 5, 0, 2, 4]]
    rescales = [(1, -1000), (2, 0), (0.5, 3), (1, 0), (1, 7), (4, -4)]
    dataset = make.enhanced(stored, positions, sop_class=sop_class, rescales=rescales)
    path = make.save(dataset, tmp_path / "enhanced.dcm")
    expected = stored * np.array(rescales)[:, :1, None] + np.array(rescales)[:, 1:, None]
    for source in (path, tmp_path):
        assert_voxels_at(images.read_image(source), expected, positions, [[1, 0, 0], [0, 1, 0]], (0.7, 0.9))


def test_an_enhanced_ct_against_the_axis_of_the_patient(tmp_path):
    stored = make.ramp()
    positions = make.slice_positions(6, 2.5)
    axes = (-1, 0, 0, 0, 1, 0)  # the normal points to the feet
    make.save(make.enhanced(stored, positions, axes=axes), tmp_path / "enhanced.dcm")
    image = images.read_image(tmp_path)
    assert image.GetDirection() == (-1, 0, 0, 0, 1, 0, 0, 0, -1)
    assert_voxels_at(image, stored - 1024, positions, [[-1, 0, 0], [0, 1, 0]], (0.7, 0.9))


def test_enhanced_objects_that_are_no_volume(tmp_path):
    even = make.slice_positions(6)
    missing = even + np.array([[0, 0, 2.5 * (k > 2)] for k in range(6)])
    phases = np.repeat(make.slice_positions(3), 2, axis=0)
    projected = make.enhanced(make.ramp(), even, volumetric="SAMPLED")
    without_places = make.enhanced(make.ramp(), even)
    del without_places.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    cases = {
        "1 slice missing between frame 3 and frame 4": make.enhanced(make.ramp(), missing),
        "several time points": make.enhanced(make.ramp(), phases),
        "multi-frame of another kind": projected,
        "frame 3 does not say where it lies": without_places,
        "does not say where its frames lie": make.enhanced(make.ramp(), even[:5]),
    }
    for why, dataset in cases.items():
        path = make.save(dataset, tmp_path / "enhanced.dcm")
        assert why in refusal(path)


def test_two_volumes_in_one_series(tmp_path):
    for name in "ab":
        make.save(make.enhanced(make.ramp(), make.slice_positions(6)), tmp_path / name)
    assert "2 multi-frame images in one series" in refusal(tmp_path)
    assert images.read_image(tmp_path / "a").GetSize() == (4, 5, 6)


# --- slices, without files ------------------------------------------------------------------


def plane(position, **fields) -> SlicePlane:
    axes = {"row_axis": np.array([1.0, 0, 0]), "column_axis": np.array([0, 1.0, 0])}
    return SlicePlane("s", np.array(position, float), **{**axes, "spacing_ij_mm": (1, 1), "size_ij": (4, 4), **fields})


def test_rounded_direction_cosines_are_no_tilt():
    rounded = {"row_axis": np.array([0.9848, 0.1736, 0]), "column_axis": np.array([-0.1736, 0.9848, 0])}
    stack = stack_slices([plane((0, 0, z), **rounded) for z in range(5)], "series")
    assert np.allclose(np.array(stack.direction).reshape(3, 3).T @ np.array(stack.direction).reshape(3, 3), np.eye(3))
    assert stack.order == (0, 1, 2, 3, 4)


def test_positions_rounded_to_a_hundredth_are_no_tilt():
    axes = shapes.rotation((1, 0.3, 0), 25).T
    positions = np.round(np.arange(40)[:, None] * 0.625 * axes[2], 2)
    stack = stack_slices([plane(p, row_axis=axes[0], column_axis=axes[1]) for p in positions], "series")
    assert stack.spacing_mm[2] == pytest.approx(0.625, abs=1e-3)


@pytest.mark.parametrize("position", [(np.nan, 0, 0), (0, np.inf, 0)])
def test_a_place_that_is_not_finite_is_refused(position):
    with pytest.raises(ImageReadError, match="three finite numbers"):
        plane(position)
