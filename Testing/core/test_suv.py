"""SUV from DICOM headers: known activity through files, every branch of units and decay, and what is refused."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import integrate

from NETAblationLib import cli
from NETAblationLib.core.errors import ImageReadError, InputError
from NETAblationLib.core.suv import read_suv
from support import dicom_series as make

#: The factor by weight of `pet_elements`: 80 kg over 300 MBq, one half-life after the injection.
FACTOR = 80_000 / (3e8 / 2)


def write(folder, stored=None, *, tracer=None, per_slice=None, **changes):
    """A small PET; returns its folder."""
    stored = make.ramp(dtype=np.uint16) if stored is None else stored
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what is wrong on purpose
        elements = make.pet_elements(tracer=tracer, **changes)
        make.write_series(folder, stored, sop_class=make.PET, per_slice=per_slice, **elements)
    return folder


def factors(folder, **keywords):
    return read_suv(write(folder, **keywords)).factors


def refusal(folder, **keywords):
    with pytest.raises(InputError) as raised:
        read_suv(write(folder, **keywords))
    return str(raised.value)


# --- known activity, through files ----------------------------------------------------------


def test_activity_becomes_suv_with_another_slope_on_each_slice_in_any_order(tmp_path):
    stored = make.ramp(dtype=np.uint16) * 50 + 3
    slopes = np.array([0.5, 1.25, 0.03125, 2.0, 0.75, 1.0])
    order = [3, 0, 5, 1, 4, 2]
    make.write_series(
        tmp_path,
        stored[order],
        sop_class=make.PET,
        positions=make.slice_positions(6)[order],
        names=["e.dcm", "a.dcm", "c.dcm", "f.dcm", "b.dcm", "d.dcm"],
        per_slice=[{"RescaleSlope": float(slopes[k])} for k in order],
        **make.pet_elements(),
    )
    result = read_suv(tmp_path)
    activity = stored * slopes[:, None, None]
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), activity * FACTOR, rtol=1e-6)
    assert result.image.GetOrigin() == pytest.approx((-20, 30, -110))
    np.testing.assert_allclose(result.factors.of("bw"), FACTOR, rtol=1e-12)
    assert result.factors.decay_s == 4000


def test_the_dose_spread_evenly_over_the_body_has_suv_1(tmp_path):
    """What SUV means: 300 MBq in 80 kg at 1 g/ml, half decayed."""
    stored = np.full((6, 5, 4), 1875, np.uint16)  # 150 MBq / 80 000 ml
    values = sitk.GetArrayFromImage(read_suv(write(tmp_path, stored)).image)
    np.testing.assert_allclose(values, 1.0, rtol=1e-6)


def test_values_corrected_to_the_injection_need_no_times(tmp_path):
    none = {"RadionuclideHalfLife": None, "RadiopharmaceuticalStartDateTime": None}
    found = factors(tmp_path, DecayCorrection="ADMIN", tracer=none, SeriesTime=None, AcquisitionTime=None)
    np.testing.assert_allclose(found.of("bw"), 80_000 / 3e8, rtol=1e-12)
    assert found.decay_s is None


def test_values_without_decay_correction_are_means_over_their_frames(tmp_path):
    """Each slice by its own frame: an even body gives SUV 1 whenever and however long it was measured."""
    starts_s, lengths_s = np.array([0, 0, 600, 600, 1200, 1200]), np.array([600, 600, 600, 600, 900, 900])

    def activity(t):
        return 3e8 / 80_000 * 2.0 ** (-(4000 + t) / 4000)

    means = [integrate.quad(activity, a, a + n)[0] / n for a, n in zip(starts_s, lengths_s, strict=True)]
    stored = np.ones((6, 5, 4), np.uint16)
    per_slice = [
        {
            "AcquisitionTime": f"11{20 + a // 60:02d}00",
            "ActualFrameDuration": int(n) * 1000,
            "RescaleSlope": f"{mean:.12g}",
        }
        for a, n, mean in zip(starts_s, lengths_s, means, strict=True)
    ]
    result = read_suv(
        write(tmp_path, stored, DecayCorrection="NONE", CorrectedImage=["ATTN", "SCAT"], per_slice=per_slice)
    )
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), 1.0, rtol=1e-6)
    assert not result.to_dict()["same_in_all_slices"]


# --- when ------------------------------------------------------------------------------------


def test_a_series_made_later_takes_the_private_time_of_ge(tmp_path):
    private = {(0x0009, 0x0010): ("LO", "GEMS_PETD_01"), (0x0009, 0x100D): ("DT", "20260304112000.00")}
    found = factors(tmp_path, SeriesTime="150000", AcquisitionTime="112500", per_slice=[private] * 6)
    np.testing.assert_allclose(found.of("bw"), FACTOR, rtol=1e-12)


def test_the_private_time_counts_for_its_creator_only(tmp_path):
    foreign = {(0x0009, 0x0010): ("LO", "ACME"), (0x0009, 0x100D): ("DT", "20260304112000.00")}
    found = factors(tmp_path, SeriesTime="150000", AcquisitionTime="112640", per_slice=[foreign] * 6)
    np.testing.assert_allclose(found.of("bw"), FACTOR * 2 ** (400 / 4000), rtol=1e-9)
    assert "earliest acquisition" in found.warnings[0]


def test_a_series_made_later_is_dated_back_from_its_frames(tmp_path):
    """FrameReferenceTime is when the count rate is the mean of the frame, after the time corrected to."""
    rate = np.log(2) / 4000
    per_slice = []
    for start, length in ((600, 600), (600, 600), (1200, 600), (1200, 600), (1800, 1500), (1800, 1500)):
        mean = integrate.quad(lambda t: np.exp(-rate * t), start, start + length)[0] / length
        reference_ms = -np.log(mean) / rate * 1000
        clock = f"11{20 + start // 60:02d}00"
        per_slice.append(
            {
                "AcquisitionTime": clock,
                "ActualFrameDuration": length * 1000,
                "FrameReferenceTime": f"{reference_ms:.8f}",
            }
        )
    found = factors(tmp_path, SeriesTime="150000", per_slice=per_slice)
    np.testing.assert_allclose(found.of("bw"), FACTOR, rtol=1e-9)
    assert found.warnings == ()


def test_slices_corrected_to_different_times_are_each_scaled_by_their_own(tmp_path):
    per_slice = [{"AcquisitionTime": f"11{20 + 10 * (k // 3):02d}00"} for k in range(6)]
    frame = {"ActualFrameDuration": 1000, "FrameReferenceTime": 500}
    found = factors(tmp_path, SeriesTime="150000", per_slice=per_slice, **frame)
    np.testing.assert_allclose(found.of("bw"), FACTOR * 2 ** (np.repeat([0, 600], 3) / 4000), rtol=1e-6)
    assert "different times" in found.warnings[0]
    assert not found.to_dict()["same_in_all_slices"]


def test_a_series_dated_between_its_acquisitions_was_made_later_too(tmp_path):
    per_slice = [{"AcquisitionTime": f"11{20 + 2 * k:02d}00"} for k in range(6)]
    found = factors(tmp_path, SeriesTime="112500", per_slice=per_slice)
    np.testing.assert_allclose(found.of("bw"), FACTOR, rtol=1e-12)
    assert "earliest acquisition" in found.warnings[0]


def test_beds_after_the_first_leave_the_time_of_the_series(tmp_path):
    per_slice = [{"AcquisitionTime": f"11{30 + k:02d}00"} for k in range(6)]
    np.testing.assert_allclose(factors(tmp_path, per_slice=per_slice).of("bw"), FACTOR, rtol=1e-12)


@pytest.mark.parametrize(
    ("tracer", "scan"),
    [
        ({"RadiopharmaceuticalStartTime": "101320"}, {}),
        ({"RadiopharmaceuticalStartTime": "10:13:20.000"}, {}),
        ({"RadiopharmaceuticalStartTime": "231320"}, {"SeriesTime": "002000", "AcquisitionTime": "002000"}),
        (
            {"RadiopharmaceuticalStartDateTime": "20260304091320+0000", "RadiopharmaceuticalStartTime": "000000"},
            {"TimezoneOffsetFromUTC": "+0100"},
        ),
        ({"RadiopharmaceuticalStartDateTime": "20260304101320+0500"}, {}),
    ],
    ids=["time", "old form", "across midnight", "other time zone", "zone of the scan unknown"],
)
def test_when_the_tracer_was_injected(tmp_path, tracer, scan):
    tracer = {"RadiopharmaceuticalStartDateTime": None, **tracer}
    found = factors(tmp_path, tracer=tracer, **scan)
    assert found.decay_s == 4000
    np.testing.assert_allclose(found.of("bw"), FACTOR, rtol=1e-12)


def test_a_long_lived_tracer_without_a_date_is_warned_of(tmp_path):
    tracer = {
        "RadionuclideHalfLife": 45720,
        "RadiopharmaceuticalStartDateTime": None,
        "RadiopharmaceuticalStartTime": "101320",
    }
    assert "day of the injection" in factors(tmp_path, tracer=tracer).warnings[0]


def test_the_acquisition_may_be_one_element(tmp_path):
    found = factors(tmp_path, AcquisitionDate=None, AcquisitionTime=None, AcquisitionDateTime="20260304112500")
    np.testing.assert_allclose(found.of("bw"), FACTOR, rtol=1e-12)


# --- units -----------------------------------------------------------------------------------


def test_what_is_suv_already_is_not_scaled_twice(tmp_path):
    stored = make.ramp(dtype=np.uint16)
    result = read_suv(write(tmp_path, stored, Units="GML", RescaleSlope=0.5))
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), stored * 0.5, rtol=1e-6)
    assert np.all(result.factors.of("bw") == 1)


def test_suv_needs_no_dose_weight_or_times(tmp_path):
    none = {"RadiopharmaceuticalInformationSequence": None, "PatientWeight": None, "DecayCorrection": None}
    found = factors(tmp_path, Units="GML", **none, SeriesTime=None)
    assert np.all(found.of("bw") == 1)
    assert {*found.not_known} == {"lbm", "lbmjanma", "bsa"}
    assert "PatientWeight" in found.not_known["lbm"]


@pytest.mark.parametrize(
    ("units", "suv_type", "kind", "to_weight"),
    [
        ("GML", "BW", "bw", 1.0),
        ("GML", "LBM", "lbm", 80 / (1.10 * 80 - 120 * (80 / 180) ** 2)),
        ("GML", "LBMJANMA", "lbmjanma", 80 / (9270 * 80 / (6680 + 216 * 80 / 1.8**2))),
        ("GML", "LBMJAMES128", None, 80 / (1.10 * 80 - 128 * (80 / 180) ** 2)),
        ("GML", "IBW", None, 80 / (48 + 1.06 * (180 - 152))),
        ("CM2ML", "BSA", "bsa", 80_000 / (0.007184 * 80**0.425 * 180**0.725 * 1e4)),
        ("CM2ML", None, "bsa", 80_000 / (0.007184 * 80**0.425 * 180**0.725 * 1e4)),
    ],
)
def test_each_type_of_suv_keeps_its_own_and_becomes_suv_by_weight(tmp_path, units, suv_type, kind, to_weight):
    found = factors(tmp_path, Units=units, SUVType=suv_type)
    np.testing.assert_allclose(found.of("bw"), to_weight, rtol=1e-9)
    if kind:
        assert np.all(found.of(kind) == 1)


def test_lean_suv_without_height_is_itself_but_not_by_weight(tmp_path):
    folder = write(tmp_path, Units="GML", SUVType="LBM", PatientSize=None)
    assert np.all(read_suv(folder, kind="lbm").factors.of("lbm") == 1)
    with pytest.raises(InputError, match="PatientSize"):
        read_suv(folder)


def _philips(suv, concentration, creator="Philips PET Private Group"):
    private = {(0x7053, 0x0010): ("LO", creator)}
    if suv is not None:
        private[0x7053, 0x1000] = ("DS", suv)
    if concentration is not None:
        private[0x7053, 0x1009] = ("DS", concentration)
    return [private] * 6


def test_counts_of_philips(tmp_path):
    found = factors(tmp_path / "suv", Units="CNTS", per_slice=_philips("0.00055 ", "9"))
    np.testing.assert_allclose(found.of("bw"), 0.00055, rtol=1e-12)
    np.testing.assert_allclose(found.of("lbm") / found.of("bw"), 1.10 - 1.5 * 80 / 180**2 * 80, rtol=1e-9)
    found = factors(tmp_path / "activity", Units="CNTS", per_slice=_philips("0", "1.5"))
    np.testing.assert_allclose(found.of("bw"), 1.5 * FACTOR, rtol=1e-12)


def test_private_values_of_another_block_and_without_type(tmp_path):
    """A creator may take any block, and a reader that does not know it keeps bytes."""
    private = {
        (0x7053, 0x0010): ("LO", "ACME"),
        (0x7053, 0x1000): ("DS", "7"),
        (0x7053, 0x0011): ("LO", "Philips PET Private Group"),
        (0x7053, 0x1100): ("UN", b"0.00055 "),
    }
    found = factors(tmp_path, Units="CNTS", per_slice=[private] * 6)
    np.testing.assert_allclose(found.of("bw"), 0.00055, rtol=1e-12)


@pytest.mark.parametrize(
    "per_slice",
    [None, _philips("0", "0.0"), _philips("0.0005", None, creator="ACME"), [*_philips("0.0005", None)[:5], {}]],
    ids=["none", "zero", "another vendor", "not in each slice"],
)
def test_counts_without_factors_are_refused(tmp_path, per_slice):
    message = refusal(tmp_path, Units="CNTS", per_slice=per_slice)
    assert "(7053,1000)" in message
    assert "(7053,1009)" in message


# --- the body --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sex", "lean", "janma"),
    [
        ("M", 1.10 * 80 - 120 * (80 / 180) ** 2, 9270 * 80 / (6680 + 216 * 80 / 1.8**2)),
        ("F", 1.07 * 80 - 148 * (80 / 180) ** 2, 9270 * 80 / (8780 + 244 * 80 / 1.8**2)),
    ],
)
def test_lean_mass_and_surface(tmp_path, sex, lean, janma):
    found = factors(tmp_path, PatientSex=sex)
    np.testing.assert_allclose(found.of("lbm"), FACTOR * lean / 80, rtol=1e-9)
    np.testing.assert_allclose(found.of("lbmjanma"), FACTOR * janma / 80, rtol=1e-9)
    # Du Bois: 2.00 m2 at 80 kg and 1.80 m
    assert found.of("bsa")[0] == pytest.approx(2.00e4 / 1.5e8, rel=2e-3)


def test_what_height_and_sex_would_tell_is_null_with_the_reason(tmp_path):
    document = factors(tmp_path / "size", PatientSize=None).to_dict()
    assert document["suv_bw_factor"] == pytest.approx(FACTOR)
    assert document["suv_lbm_factor"] is document["suv_bsa_factor"] is None
    assert "PatientSize" in document["not_known"]["lbm"]
    assert "PatientSize" in document["not_known"]["bsa"]
    document = factors(tmp_path / "sex", PatientSex="O").to_dict()
    assert document["suv_lbm_factor"] is None
    assert document["suv_bsa_factor"] > 0
    assert "PatientSex 'O'" in document["not_known"]["lbm"]
    assert "in another unit" in factors(tmp_path / "cm", PatientSize=180).not_known["bsa"]


def test_james_lean_mass_of_the_obese_is_warned_of_or_refused(tmp_path):
    found = factors(tmp_path / "obese", PatientWeight=130)
    assert "lbmjanma" in found.warnings[0]
    found = factors(tmp_path / "extreme", PatientWeight=240, PatientSize=1.5, PatientSex="F")
    assert "fails" in found.not_known["lbm"]
    assert found.of("lbmjanma")[0] > 0


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keyword",
    [
        "PatientWeight",
        "CorrectedImage",
        "DecayCorrection",
        "SeriesDate",
        "SeriesTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "RadiopharmaceuticalInformationSequence",
        "Units",
    ],
)
def test_a_missing_element_is_named(tmp_path, keyword):
    assert f"{keyword} is missing" in refusal(tmp_path, **{keyword: None})


@pytest.mark.parametrize(
    "keyword", ["RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartDateTime"]
)
def test_a_missing_element_of_the_tracer_is_named(tmp_path, keyword):
    message = refusal(tmp_path, tracer={keyword: None})
    assert keyword in message
    assert "is missing" in message


def test_missing_frame_of_values_without_decay_correction_is_named(tmp_path):
    message = refusal(tmp_path, DecayCorrection="NONE", CorrectedImage=["ATTN"])
    assert "ActualFrameDuration is missing" in message


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"PatientWeight": 0}, "PatientWeight is missing"),
        ({"PatientWeight": -70}, "PatientWeight -70 kg is not plausible"),
        ({"PatientWeight": 70000}, "PatientWeight 70000 kg is not plausible"),
        ({"tracer": {"RadionuclideTotalDose": 300}}, "RadionuclideTotalDose 300 Bq is not plausible"),
        ({"tracer": {"RadionuclideHalfLife": 1.1}}, "RadionuclideHalfLife 1.1 s is not plausible"),
        (
            {"tracer": {"RadiopharmaceuticalStartDateTime": "20260304123000"}},
            "StartDateTime: the injection would be after",
        ),
        ({"tracer": {"RadiopharmaceuticalStartDateTime": "20250304101320"}}, "half-lives before"),
        ({"tracer": {"RadiopharmaceuticalStartDateTime": "20261304101320"}}, "is no date and time"),
        (
            {
                "tracer": {
                    "RadiopharmaceuticalStartDateTime": None,
                    "RadiopharmaceuticalStartTime": "112001",
                    "RadionuclideHalfLife": 6586,
                }
            },
            "RadiopharmaceuticalStartTime: the injection would be 13 half-lives before",
        ),
        ({"Units": "PROPCPS"}, "Units 'PROPCPS'"),
        ({"Units": "GML", "SUVType": "BSA"}, "SUVType 'BSA'"),
        ({"Units": "CM2ML", "SUVType": "BW"}, "SUVType 'BW'"),
        ({"DecayCorrection": "LATER"}, "DecayCorrection 'LATER'"),
        (
            {"SeriesTime": "150000", "FrameReferenceTime": 1e12, "ActualFrameDuration": 120000},
            "FrameReferenceTime 1e+12 ms is not plausible",
        ),
        ({"DecayCorrection": "NONE"}, "contradictory"),
        ({"CorrectedImage": ["ATTN"]}, "contradictory"),
        ({"CorrectedImage": ["DECY"]}, "without attenuation correction"),
        ({"Units": "GML", "CorrectedImage": ["DECY"]}, "without attenuation correction"),
        ({"per_slice": [{"PatientWeight": 70 + k} for k in range(6)]}, "PatientWeight is not the same in all slices"),
        (
            {
                "RadiopharmaceuticalInformationSequence": [
                    *make.pet_elements()["RadiopharmaceuticalInformationSequence"] * 2
                ]
            },
            "2 items",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changes, why):
    assert why in refusal(tmp_path, **changes)


def test_a_damaged_element_is_named(tmp_path):
    weight = b"\x10\x00\x30\x10DS\x02\x0080"
    for path in write(tmp_path, PatientWeight="80").iterdir():
        content = path.read_bytes()
        assert content.count(weight) == 1
        path.write_bytes(content.replace(weight, weight[:-2] + b"x0"))
    with pytest.raises(InputError, match="PatientWeight 'x0' is no number"):
        read_suv(tmp_path)


def test_what_is_no_pet_of_slices_is_refused(tmp_path):
    make.write_series(tmp_path / "ct", make.ramp())
    with pytest.raises(ImageReadError, match="no image series of modality PT"):
        read_suv(tmp_path / "ct")
    with pytest.raises(ImageReadError, match="its modality is CT where PT is needed"):
        read_suv(tmp_path / "ct", series=1)
    with pytest.raises(InputError, match="DICOM folder"):
        read_suv(tmp_path / "ct" / "slice000.dcm")
    with pytest.raises(InputError, match="kind of SUV"):
        read_suv(tmp_path / "ct", kind="fat")
    enhanced = make.enhanced(make.ramp(), make.slice_positions(6), sop_class=make.UID("1.2.840.10008.5.1.4.1.1.130"))
    enhanced.Modality = "PT"
    make.save(enhanced, tmp_path / "enhanced" / "stack.dcm")
    with pytest.raises(ImageReadError, match="multi-frame"):
        read_suv(tmp_path / "enhanced")


def test_the_pet_is_found_beside_its_ct(tmp_path):
    make.write_series(tmp_path / "ct", make.ramp(), series=2)
    write(tmp_path / "pet")
    np.testing.assert_allclose(read_suv(tmp_path).factors.of("bw"), FACTOR, rtol=1e-12)
    make.write_series(
        tmp_path / "other", make.ramp(dtype=np.uint16), sop_class=make.PET, series=3, **make.pet_elements()
    )
    with pytest.raises(ImageReadError, match="choose one"):
        read_suv(tmp_path)
    np.testing.assert_allclose(read_suv(tmp_path, series=3).factors.of("bw"), FACTOR, rtol=1e-12)


# --- the command -----------------------------------------------------------------------------


def test_the_command_writes_image_and_factors(tmp_path, capsys):
    stored = make.ramp(dtype=np.uint16)
    folder = write(tmp_path / "pet", stored)
    out, numbers = tmp_path / "suv.nrrd", tmp_path / "suv.json"
    assert cli.main(["suv", str(folder), "--out", str(out), "--json", str(numbers)]) == 0
    document = json.loads(numbers.read_text())
    assert document["suv_bw_factor"] == pytest.approx(FACTOR, rel=1e-12)
    assert document["kind"] == "bw"
    np.testing.assert_allclose(sitk.GetArrayFromImage(sitk.ReadImage(str(out))), stored * FACTOR, rtol=1e-6)
    text = numbers.read_text() + capsys.readouterr().err
    for secret in ("Secret", "P-1", "20260304", "1120", "101320"):
        assert secret not in text
    assert cli.main(["suv", str(folder), "--kind", "bsa", "--out", str(out), "--json", "-", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    np.testing.assert_allclose(values, stored * document["suv_bsa_factor"], rtol=1e-6)
    assert document["unit"] == "cm2/ml"


@pytest.mark.parametrize("command", [["suv"], ["pet-lesions", "--region", "r.nrrd"], ["resample", "--onto", "ct.nrrd"]])
def test_the_commands_refuse_a_bad_output_before_any_work(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    modality = ["--modality", "PET"] if command[0] == "resample" else []
    assert cli.main([*command, "absent.nrrd", *modality, "--out", "out.doc"]) == 2
    assert "out.doc: the name of this output has to end with" in capsys.readouterr().err
    assert cli.main([*command, "absent.nrrd", *modality, "--out", "absent.nrrd"]) == 2
    assert "an input has this name" in capsys.readouterr().err


def test_the_command_says_which_element_is_missing(tmp_path, capsys):
    folder = write(tmp_path / "pet", PatientWeight=None)
    assert cli.main(["suv", str(folder), "--out", str(tmp_path / "suv.nrrd")]) == 2
    assert "PatientWeight is missing" in capsys.readouterr().err
    folder = write(tmp_path / "small", PatientSize=None)
    assert cli.main(["suv", str(folder), "--kind", "lbm", "--out", str(tmp_path / "suv.nrrd")]) == 2
    assert "PatientSize is missing" in capsys.readouterr().err
    assert not (tmp_path / "suv.nrrd").exists()
