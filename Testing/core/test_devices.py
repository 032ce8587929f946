"""The catalogue of devices: what ships is sound and sourced, and what is unsound is refused by name."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core import devices
from NETAblationLib.core.devices import DEFAULT_DEVICE_ID, Device, ZoneSetting, load_catalogue
from NETAblationLib.core.errors import DeviceError, InputError

SETTING = {
    "name": "60 W, 10 min",
    "power_w": 60.0,
    "time_s": 600.0,
    "short_axis_mm": 30.0,
    "long_axis_mm": 40.0,
    "center_to_tip_mm": 12.0,
    "center_to_tip_source": "measured",
    "tissue": "porcine liver ex vivo",
    "source": "a table",
    "certainty": "low",
}
DOCUMENT = {
    "schema": "netablation-device",
    "schema_version": 1,
    "id": "own-device",
    "maker": "own",
    "model": "first",
    "modality": "MWA",
    "gauge": 14.0,
    "shaft_length_mm": 150.0,
    "shaft_length_source": "ruler",
    "settings": [SETTING],
}


def changed(document, *keys, to):
    """A deep copy with one value, found by its keys, set to another."""
    document = copy.deepcopy(document)
    part = document
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = to
    return document


def without(document, *keys):
    """A deep copy without one key."""
    document = copy.deepcopy(document)
    part = document
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    return document


def test_the_default_device_comes_first_and_the_others_by_name():
    names = list(load_catalogue())
    assert names[0] == DEFAULT_DEVICE_ID
    assert names[1:] == sorted(names[1:])
    assert all(device.id == name for name, device in load_catalogue().items())


@pytest.mark.parametrize("device", load_catalogue().values(), ids=lambda device: device.id)
def test_every_shipped_number_has_its_source_and_can_be(device):
    assert device.shaft_length_mm is None or device.shaft_length_source
    for setting in device.settings:
        assert setting.source
        assert setting.certainty
        assert setting.center_to_tip_source
        assert 10.0 < setting.short_axis_mm <= setting.long_axis_mm < 80.0
        # The tip lies ahead of the center and no farther than the zone reaches, or a little more.
        assert 0.0 < setting.center_to_tip_mm <= 0.5 * setting.long_axis_mm + 5.0


@pytest.mark.parametrize("device", load_catalogue().values(), ids=lambda device: device.id)
def test_more_power_or_time_makes_no_smaller_zone_across(device):
    """A chart that says otherwise has been copied wrongly."""
    known = [s for s in device.settings if s.power_w is not None and s.time_s is not None]
    for small in known:
        for large in known:
            if large.power_w >= small.power_w and large.time_s >= small.time_s:
                assert large.short_axis_mm >= small.short_axis_mm


def test_shipped_devices_survive_json_unchanged():
    for device in load_catalogue().values():
        assert Device.from_dict(json.loads(json.dumps(device.to_dict()))) == device


@given(
    st.floats(0.1, 400.0),
    st.floats(0.1, 400.0),
    st.floats(-1.0, 1.0),
    st.none() | st.floats(1.0, 400.0),
    st.none() | st.floats(0.1, 1e4),
)
def test_any_sound_device_survives_json_unchanged(short, long, part, shaft, power):
    setting = ZoneSetting("a", short, long, part * long, "liver", "source", "low", power_w=power)
    device = Device("id", "maker", "model", "cryo", (setting,), shaft)
    assert Device.from_dict(json.loads(json.dumps(device.to_dict()))) == device


def test_a_setting_is_found_by_its_name_or_the_choice_is_told():
    device = Device.from_dict(DOCUMENT)
    assert device.setting("60 W, 10 min").long_axis_mm == 40.0
    with pytest.raises(DeviceError, match=r"own-device.*no setting '5 W'; it has 60 W, 10 min"):
        device.setting("5 W")


def test_a_file_of_ones_own_adds_a_device_or_replaces_one(tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(DOCUMENT))
    assert list(load_catalogue(file)) == [DEFAULT_DEVICE_ID, *sorted([*list(load_catalogue())[1:], "own-device"])]
    file.write_text(json.dumps({**DOCUMENT, "id": DEFAULT_DEVICE_ID}))
    assert load_catalogue(str(file))[DEFAULT_DEVICE_ID].maker == "own"
    assert load_catalogue()[DEFAULT_DEVICE_ID].maker != "own"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (without(DOCUMENT, "schema"), "not a device"),
        ({**DOCUMENT, "schema": "netablation-plan"}, "not a device"),
        ({**DOCUMENT, "schema_version": 2}, "schema_version 2; this release reads 1"),
        (without(DOCUMENT, "schema_version"), "schema_version None"),
        ({**DOCUMENT, "settings": {}}, "'settings' is not a list"),
        ({**DOCUMENT, "settings": [1]}, "'settings' is not a list"),
        (without(DOCUMENT, "settings"), "'settings' is not a list"),
        ({**DOCUMENT, "settings": []}, "own-device.*no settings"),
        ({**DOCUMENT, "settings": [SETTING, SETTING]}, "stands twice"),
        ({**DOCUMENT, "id": ""}, "without blanks"),
        ({**DOCUMENT, "id": "two words"}, "'two words'.*without blanks"),
        ({**DOCUMENT, "id": 5}, "id 5 is not a text"),
        ({**DOCUMENT, "modality": "laser"}, "'laser' is none of MWA, RFA, cryo, IRE"),
        ({**DOCUMENT, "shaft_length_mm": 0.0}, r"shaft_length_mm 0\.0"),
        ({**DOCUMENT, "shaft_length_mm": 5000.0}, "at most 400 mm"),
        ({**DOCUMENT, "shaft_length_mm": "15 cm"}, "shaft_length_mm '15 cm' is not a number"),
        ({**DOCUMENT, "gauge": -14.0}, "gauge -14"),
        ({**DOCUMENT, "shaft_length_cm": 15.0}, "unknown shaft_length_cm; units stand in the names"),
        (without(DOCUMENT, "maker"), "lacks maker"),
        (without(DOCUMENT, "settings", 0, "source"), "setting 1: lacks source"),
        (changed(DOCUMENT, "settings", 0, "source", to="  "), "'60 W, 10 min'.*'source' is empty"),
        (changed(DOCUMENT, "settings", 0, "short_axis_mm", to=0.0), r"short_axis_mm 0\.0 is not above 0"),
        (changed(DOCUMENT, "settings", 0, "short_axis_mm", to=float("nan")), "short_axis_mm nan"),
        (changed(DOCUMENT, "settings", 0, "long_axis_mm", to=float("inf")), "long_axis_mm inf"),
        (changed(DOCUMENT, "settings", 0, "long_axis_mm", to=None), "long_axis_mm None is not a number"),
        (changed(DOCUMENT, "settings", 0, "long_axis_mm", to=True), "long_axis_mm True is not a number"),
        (changed(DOCUMENT, "settings", 0, "center_to_tip_mm", to=41.0), "not within the zone's length"),
        (changed(DOCUMENT, "settings", 0, "power_w", to=-5.0), r"power_w -5\.0 is not a number above 0"),
        (changed(DOCUMENT, "settings", 0, "time_s", to=0), "time_s 0 is not a number above 0"),
        (changed(DOCUMENT, "settings", 0, "diameter", to=3.0), "setting 1: unknown diameter"),
    ],
)
def test_an_unsound_file_is_refused_by_its_name_and_with_the_reason(document, message, tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(document))
    with pytest.raises(DeviceError, match=message) as caught:
        load_catalogue(file)
    assert str(caught.value).count("own.json") == 1


def test_a_file_that_is_no_json_or_not_there_is_refused_by_its_name(tmp_path):
    file = tmp_path / "own.json"
    with pytest.raises(InputError, match=r"own\.json.*cannot be read"):
        load_catalogue(file)
    file.write_text("{")
    with pytest.raises(DeviceError, match=r"own\.json.*not a JSON document"):
        load_catalogue(file)
    file.write_text("[1, 2]")
    with pytest.raises(DeviceError, match=r"own\.json.*found a list"):
        load_catalogue(file)


def test_a_catalogue_without_files_or_with_a_device_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_FOLDER", tmp_path)
    with pytest.raises(DeviceError, match="no device files"):
        load_catalogue()
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(DOCUMENT))
    with pytest.raises(DeviceError, match=r"b\.json: device 'own-device' stands in the catalogue twice"):
        load_catalogue()
