"""SUV factors of real headers of three vendors against those of calculate-suv (github cornerstonejs)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.suv import read_suv
from support import dicom_series as make
from support.datasets import dataset

_NAMES = (
    "BQML_AC_DT_lessThan_S_DT_SIEMENS",
    "CPS_AND_BQML_AC_DT_-_S_DT",
    "GE_MEDICAL_AND_BQML",
    "PHILIPS_BQML",
    "PHILIPS_CNTS_AND_BQML_SUV",
    "PHILIPS_CNTS_AND_SUV",
    "RADIOPHARM_DATETIME_UNDEFINED",
    "SIEMENS",
)
_TRACER = (
    "RadionuclideHalfLife",
    "RadionuclideTotalDose",
    "RadiopharmaceuticalStartDateTime",
    "RadiopharmaceuticalStartTime",
)
_PRIVATE = {"SUVScaleFactor": (0x7053, 0x1000), "ActivityConcentrationScaleFactor": (0x7053, 0x1009)}


def _series(folder, name):
    """The headers of a variant as a small DICOM series; returns its stored pixels."""
    instances = json.loads((dataset("suv-reference") / f"{name}-instances.json").read_text())
    per_slice = []
    for instance in instances:
        private = instance.pop("PhilipsPETPrivateGroup")
        tracer = {keyword: instance.pop(keyword, None) for keyword in _TRACER}
        stated = {
            keyword: f"{value:.12g}" if isinstance(value, float) else value for keyword, value in instance.items()
        }
        elements = make.pet_elements(tracer=tracer, **{"PatientSize": None, **stated})
        if private:
            elements[0x7053, 0x0010] = ("LO", "Philips PET Private Group")
            elements.update({_PRIVATE[keyword]: ("DS", value) for keyword, value in private.items()})
        per_slice.append(elements)
    stored = make.ramp((len(instances), 5, 4), np.uint16)
    make.write_series(folder, stored, sop_class=make.PET, per_slice=per_slice)
    return stored


def test_every_variant_is_tested():
    folder = dataset("suv-reference")
    assert {path.name.removesuffix("-instances.json") for path in folder.glob("*-instances.json")} == {*_NAMES}


@pytest.mark.parametrize("name", _NAMES)
def test_factor_of_each_vendor_and_unit(tmp_path, name):
    expected = json.loads((dataset("suv-reference") / "expected.json").read_text())
    stored = _series(tmp_path, name)
    result = read_suv(tmp_path)
    assert result.to_dict()["suv_bw_factor"] == pytest.approx(expected[name], abs=expected["tolerance"])
    # The tolerance of the reference is up to 0.4 % of such small factors; ours holds far better.
    assert result.to_dict()["suv_bw_factor"] == pytest.approx(expected[name], rel=1e-5)
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), stored * expected[name], rtol=1e-5)


def test_philips_own_factors_agree_with_ours_from_dose_and_decay(tmp_path):
    """A PET in Bq/ml that also states Philips' factors: counts to SUV over counts to Bq/ml is Bq/ml to SUV."""
    private = json.loads((dataset("suv-reference") / "PHILIPS_BQML-instances.json").read_text())[0]
    private = private["PhilipsPETPrivateGroup"]
    _series(tmp_path, "PHILIPS_BQML")
    ratio = float(private["SUVScaleFactor"]) / float(private["ActivityConcentrationScaleFactor"])
    assert read_suv(tmp_path).factors.of("bw")[0] == pytest.approx(ratio, rel=1e-3)
