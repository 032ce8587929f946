"""The catalogue of devices: what ships is sound and sourced, and what is unsound is refused by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from NETAblationLib.core import devices
from NETAblationLib.core.devices import (
    DEFAULT_DEVICE_ID,
    TISSUE_KINDS,
    Device,
    PerfusionLaw,
    ZoneSetting,
    load_catalogue,
)
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


LAW = {
    "setting": "60 W, 10 min",
    "short_axis_intercept_mm": 30.0,
    "short_axis_slope_mm": -0.1,
    "volume_intercept_ml": 30.0,
    "volume_slope_ml": -0.1,
    "perfusion_min_ml_min_100g": 10.0,
    "perfusion_max_ml_min_100g": 50.0,
    "source": "a table",
    "certainty": "low",
}
SCHEMA = json.loads((Path(devices.__file__).parents[2] / "Resources/Devices/device.schema.json").read_text())


def complaints(value, schema=SCHEMA):
    """What is wrong with a JSON value by the part of JSON Schema 2020-12 that the schema uses.

    A walker of its own, since no validator is among the pinned packages; a keyword that it does not know fails.
    """
    if "$ref" in schema:
        return complaints(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kinds = {"object": dict, "array": list, "string": str, "null": type(None)}
    found = []
    for keyword, asked in schema.items():
        if keyword in ("$schema", "$defs", "title", "description"):
            holds = True
        elif keyword == "type":
            holds = is_number if asked == "number" else isinstance(value, kinds[asked])
        elif keyword == "const":
            holds = value == asked
        elif keyword == "enum":
            holds = value in asked
        elif keyword == "anyOf":
            holds = any(not complaints(value, part) for part in asked)
        elif keyword == "allOf":
            holds = not any(complaints(value, part) for part in asked)
        elif keyword == "not":
            holds = bool(complaints(value, asked))
        elif keyword == "pattern":
            holds = not isinstance(value, str) or re.search(asked, value) is not None
        elif keyword == "required":
            holds = not isinstance(value, dict) or set(asked) <= set(value)
        elif keyword == "properties":
            known = set(asked) & set(value) if isinstance(value, dict) else ()
            holds = not any(complaints(value[key], asked[key]) for key in known)
        elif keyword == "additionalProperties":
            holds = asked or not isinstance(value, dict) or set(value) <= set(schema["properties"])
        elif keyword == "items":
            holds = not isinstance(value, list) or not any(complaints(item, asked) for item in value)
        elif keyword == "minItems":
            holds = not isinstance(value, list) or len(value) >= asked
        elif keyword == "maxItems":
            holds = not isinstance(value, list) or len(value) <= asked
        elif keyword == "minimum":
            holds = not is_number or value >= asked
        elif keyword == "exclusiveMinimum":
            holds = not is_number or value > asked
        else:
            assert keyword == "maximum", keyword
            holds = not is_number or value <= asked
        if not holds:
            found.append(keyword)
    return found


# What JSON Schema cannot say, and the loader alone refuses.
BEYOND_THE_SCHEMA = (
    "stands twice",
    "not within the zone's length",
    "does not rise",
    "it does not have",
    "no range of perfusion",
    "at 50 mL/min/100 g",
)


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
        assert setting.tissue_kind in TISSUE_KINDS
        assert setting.center_to_tip_source
        if not setting.is_plannable:
            continue
        assert 10.0 < setting.short_axis_mm <= setting.long_axis_mm < 80.0
        # The tip lies ahead of the center and no farther than the zone reaches, or a little more.
        assert 0.0 < setting.center_to_tip_mm <= 0.5 * setting.long_axis_mm + 5.0


@pytest.mark.parametrize("device", load_catalogue().values(), ids=lambda device: device.id)
def test_more_power_or_time_makes_no_smaller_zone_across(device):
    """A chart that says otherwise has been copied wrongly; He's means of a few zones each scatter by 1 mm."""
    known = [s for s in device.settings if None not in (s.power_w, s.time_s, s.short_axis_mm)]
    for small in known:
        for large in known:
            if large.tissue == small.tissue and large.power_w >= small.power_w and large.time_s >= small.time_s:
                assert large.short_axis_mm >= small.short_axis_mm - 1.0


def test_ids_and_settings_of_earlier_releases_are_still_there_with_their_zones():
    catalogue = load_catalogue()
    expected = {
        ("emprint-mwa", "75 W, 5 min"): (32, 35, 11.5),
        ("emprint-mwa", "100 W, 5 min"): (35, 37, 11.5),
        ("emprint-mwa", "100 W, 10 min"): (36, 42, 11.5),
        ("emprint-mwa", "150 W, 10 min"): (39, 42, 13.2),
        ("cooled-mwa-canine", "60 W, 20 min"): (35, 50, 11.5),
        ("cooled-rf-3cm", "3 cm tip, perfused liver"): (26, 40, 15),
    }
    for (device, name), zone in expected.items():
        setting = catalogue[device].setting(name)
        assert (setting.short_axis_mm, setting.long_axis_mm, setting.center_to_tip_mm) == zone


def test_a_zone_that_its_source_does_not_give_whole_is_not_planned_with():
    catalogue = load_catalogue()
    cluster = catalogue["cluster-cooled-rf"]
    assert cluster.setting("12 min, in vivo").short_axis_mm == 31.0
    assert cluster.setting("12 min, in vivo").long_axis_mm is None
    assert not cluster.is_plannable
    with pytest.raises(DeviceError, match=r"cluster-cooled-rf.*cannot be planned with.*both axes"):
        cluster.plannable_settings  # noqa: B018
    rows = (*catalogue["emprint-mwa"].settings, *cluster.settings)
    mixed = dataclasses.replace(catalogue["emprint-mwa"], settings=rows)
    assert mixed.plannable_settings == catalogue["emprint-mwa"].settings
    # No zone that several electrodes made together is taken for that of one.
    together = [s for device in catalogue.values() for s in device.settings if "three electrodes" in s.note]
    assert len(together) == 9
    assert not any(s.is_plannable for s in together)


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
        (changed(DOCUMENT, "settings", 0, "long_axis_mm", to="40"), "long_axis_mm '40' is not a number"),
        (changed(DOCUMENT, "settings", 0, "tissue", to=None), "tissue None is not a text"),
        (changed(DOCUMENT, "settings", 0, "tissue_kind", to="rabbit"), "tissue_kind 'rabbit' is none of ex vivo"),
        (
            changed(DOCUMENT, "settings", 0, "short_axis_sd_mm", to=-1.0),
            r"short_axis_sd_mm -1\.0 is not a number above 0",
        ),
        (changed(DOCUMENT, "settings", 0, "volume_ml", to=0.0), r"volume_ml 0\.0 is not a number above 0"),
        (changed(DOCUMENT, "settings", 0, "short_axis_range_mm", to=[20.0]), r"\[20\.0\] is not a pair of numbers"),
        (changed(DOCUMENT, "settings", 0, "short_axis_range_mm", to=[20.0, 900.0]), r"range_mm 900\.0.*at most 400"),
        (changed(DOCUMENT, "settings", 0, "short_axis_range_mm", to=[30.0, 20.0]), "does not rise"),
        (
            {**DOCUMENT, "settings": [{**SETTING, "short_axis_mm": None, "long_axis_mm": None}]},
            "nothing of the zone's size",
        ),
        ({**DOCUMENT, "perfusion_law": [1]}, "'perfusion_law' is not an object"),
        ({**DOCUMENT, "perfusion_law": without(LAW, "source")}, "perfusion law: lacks source"),
        ({**DOCUMENT, "perfusion_law": {**LAW, "source": ""}}, "perfusion law: 'source' is empty"),
        ({**DOCUMENT, "perfusion_law": {**LAW, "setting": "other"}}, "law is for a setting 'other' it does not have"),
        ({**DOCUMENT, "perfusion_law": {**LAW, "perfusion_min_ml_min_100g": 50.0}}, "no range of perfusion"),
        ({**DOCUMENT, "perfusion_law": {**LAW, "short_axis_slope_mm": -1.0}}, "short axis at 50 mL/min/100 g -20"),
        ({**DOCUMENT, "perfusion_law": {**LAW, "volume_slope_ml": -1.0}}, "volume at 50 mL/min/100 g"),
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
    if "NaN" not in file.read_text() and "Infinity" not in file.read_text():  # JSON itself has neither
        assert bool(complaints(document)) == all(words not in message for words in BEYOND_THE_SCHEMA)


@pytest.mark.parametrize("device", load_catalogue().values(), ids=lambda device: device.id)
def test_what_ships_and_what_is_written_is_of_the_schema(device):
    file = Path(devices.__file__).parents[2] / f"Resources/Devices/{device.id}.json"
    assert complaints(json.loads(file.read_text())) == []
    assert complaints(json.loads(json.dumps(device.to_dict()))) == []


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT,
        {**DOCUMENT, "perfusion_law": LAW},
        {**DOCUMENT, "gauge": None, "shaft_length_mm": None},
        {**DOCUMENT, "settings": [{**SETTING, "short_axis_mm": None, "center_to_tip_mm": None}]},
        {**DOCUMENT, "settings": [{**SETTING, "short_axis_range_mm": [20, 30], "note": "a range", "tissue_kind": ""}]},
        {**DOCUMENT, "settings": [{**SETTING, "volume_ml": 12, "volume_sd_ml": 0.5, "tissue_kind": "human"}]},
    ],
)
def test_what_the_schema_lets_through_the_loader_reads(document):
    assert complaints(document) == []
    assert Device.from_dict(document).id == "own-device"


def test_the_schema_knows_every_field_and_every_choice_of_the_loader():
    setting, law = SCHEMA["$defs"]["setting"], SCHEMA["$defs"]["perfusion_law"]
    for part, kind in ((SCHEMA, Device), (setting, ZoneSetting), (law, PerfusionLaw)):
        names = {field.name for field in dataclasses.fields(kind)}
        assert set(part["properties"]) - {"schema", "schema_version"} == names
        needed = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}
        assert set(part["required"]) - {"schema", "schema_version"} == needed
    assert SCHEMA["properties"]["modality"]["enum"] == list(devices.MODALITIES)
    assert setting["properties"]["tissue_kind"]["enum"] == ["", *TISSUE_KINDS]


def test_several_files_of_ones_own_are_taken_and_none_twice(tmp_path):
    files = [tmp_path / name for name in ("a.json", "b.json")]
    files[0].write_text(json.dumps(DOCUMENT))
    files[1].write_text(json.dumps({**DOCUMENT, "id": "second"}))
    assert {"own-device", "second"} <= set(load_catalogue(files))
    assert len(load_catalogue(iter(files))) == len(load_catalogue()) + 2
    files[1].write_text(json.dumps(DOCUMENT))
    with pytest.raises(DeviceError, match=r"b\.json: device 'own-device'.*twice"):
        load_catalogue(files)


def test_between_settings_the_zone_is_linear_in_power_and_time():
    device = load_catalogue()["cooled-mwa-canine"]
    made = device.interpolated(power_w=55.0, time_s=450.0)
    # Corners 50 and 60 W, 5 and 10 min: 22, 29, 23, 31 across and 36, 40, 39, 45 along; the middle is their mean.
    assert made.short_axis_mm == pytest.approx((22 + 29 + 23 + 31) / 4)
    assert made.long_axis_mm == pytest.approx((36 + 40 + 39 + 45) / 4)
    assert made.name == "55 W, 7.5 min, interpolated"
    assert all(f"'{p} W, {t} min'" in made.source for p in (50, 60) for t in (5, 10))
    assert "He et al." in made.source
    assert made.certainty.startswith("interpolated")
    quarter = device.interpolated(power_w=52.5, time_s=300.0)
    assert (quarter.short_axis_mm, quarter.long_axis_mm) == pytest.approx((22.25, 36.75))
    assert device.interpolated(power_w=60.0, time_s=600.0) == device.setting("60 W, 10 min")


@given(st.floats(30.0, 60.0), st.floats(600.0, 1200.0))
def test_between_settings_of_a_full_table_the_zone_is_that_of_an_independent_interpolation(power, time):
    from scipy.interpolate import RegularGridInterpolator

    device = load_catalogue()["cooled-mwa-canine"]
    powers, times = (30.0, 40.0, 50.0, 60.0), (600.0, 900.0, 1200.0)
    rows = {(s.power_w, s.time_s): s for s in device.settings}
    for key in ("short_axis_mm", "long_axis_mm", "center_to_tip_mm"):
        table = np.array([[getattr(rows[p, t], key) for t in times] for p in powers])
        expected = RegularGridInterpolator((powers, times), table)((power, time))
        assert getattr(device.interpolated(power_w=power, time_s=time), key) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("device", "asked", "message"),
    [
        ("emprint-mwa", {"power_w": 160.0, "time_s": 600.0}, "160 W, 10 min is outside of its settings.*150 W, 10 min"),
        ("emprint-mwa", {"power_w": 75.0, "time_s": 600.0}, "75 W, 10 min is outside"),
        ("emprint-mwa", {"power_w": 120.0, "time_s": 300.0}, "120 W, 5 min is outside"),
        ("emprint-mwa", {"power_w": 100.0, "time_s": float("nan")}, "is outside"),
        ("emprint-mwa", {"power_w": 100.0}, "differ in time; say which"),
        ("cooled-rf-3cm", {"time_s": 600.0}, "no two settings in one tissue"),
        ("noncooled-mwa", {"power_w": 40.0, "time_s": 600.0}, "no two settings in one tissue"),
        ("cluster-cooled-rf", {"time_s": 1200.0}, "cannot be planned with"),
    ],
)
def test_nothing_is_interpolated_outside_of_what_is_known(device, asked, message):
    with pytest.raises(DeviceError, match=message):
        load_catalogue()[device].interpolated(**asked)


def test_one_of_power_and_time_may_be_left_out_where_the_settings_do_not_differ_in_it():
    row = load_catalogue()["emprint-mwa"].settings[0]
    rows = tuple(
        dataclasses.replace(row, name=str(t), power_w=None, time_s=t, short_axis_mm=t / 10) for t in (300.0, 400.0)
    )
    device = Device("id", "maker", "model", "RFA", rows)
    assert device.interpolated(time_s=330.0).short_axis_mm == pytest.approx(33.0)
    with pytest.raises(DeviceError, match="power of its settings is not known"):
        device.interpolated(power_w=50.0, time_s=330.0)
    same = dataclasses.replace(device, settings=tuple(dataclasses.replace(row, power_w=40.0) for row in rows))
    assert same.interpolated(time_s=330.0).name == "40 W, 5.5 min, interpolated"
    mixed = dataclasses.replace(
        device, settings=(*rows, *(dataclasses.replace(r, name=f"b{r.name}", tissue="b") for r in rows))
    )
    with pytest.raises(DeviceError, match="several tissues"):
        mixed.interpolated(time_s=330.0)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.5])
def test_a_size_factor_scales_the_zone_about_the_tip_and_is_never_silent(factor):
    device = load_catalogue()["emprint-mwa"]
    scaled = device.scaled(factor)
    assert (scaled.id, [s.name for s in scaled.settings]) == (device.id, [s.name for s in device.settings])
    for old, new in zip(device.settings, scaled.settings, strict=True):
        assert new.short_axis_mm == pytest.approx(factor * old.short_axis_mm)
        reach = [s.long_axis_mm / 2 - s.center_to_tip_mm for s in (old, new)]
        assert reach[1] == pytest.approx(factor * reach[0])
        assert f"scaled by {factor:g}" in new.certainty
        assert old.certainty in new.certainty
    assert device.scaled(1.0) is device
    song = load_catalogue()["cooled-rf-17g"].scaled(factor).settings[0]
    assert (song.volume_ml, song.volume_sd_ml) == pytest.approx((23.86 * factor**3, 3.82 * factor**3))
    assert song.short_axis_mm is None
    kuang = load_catalogue()["cooled-mwa-60-90w-ex-vivo"].scaled(factor).settings[0]
    assert kuang.short_axis_range_mm == pytest.approx((30 * factor, 61 * factor))


@pytest.mark.parametrize("factor", [0.0, 0.49, 1.51, float("nan")])
def test_a_size_factor_that_is_no_correction_is_refused(factor):
    with pytest.raises(DeviceError, match=r"emprint-mwa.*size factor.*0\.5 to 1\.5"):
        load_catalogue()["emprint-mwa"].scaled(factor)


@pytest.mark.parametrize(
    ("perfusion", "short_cm", "volume_ml"), [(10, 3.485, 26.014), (30, 2.605, 14.894), (50, 1.725, 3.774)]
)
def test_the_zone_at_a_perfusion_is_that_of_the_law_of_huang(perfusion, short_cm, volume_ml):
    device = load_catalogue()["cooled-rf-3cm"]
    (setting,) = device.at_perfusion(perfusion).settings
    assert setting.short_axis_mm == pytest.approx(10 * short_cm)
    assert setting.volume_ml == pytest.approx(volume_ml)
    assert (setting.long_axis_mm, setting.center_to_tip_mm) == (40.0, 15.0)
    assert f"at a perfusion of {perfusion} mL/min/100 g" in setting.certainty
    assert "Huang" in setting.source


def test_the_law_of_perfusion_holds_where_it_was_measured_only():
    catalogue = load_catalogue()
    for perfusion in (9.9, 50.1, float("nan")):
        with pytest.raises(DeviceError, match="10 to 50 mL/min/100 g"):
            catalogue["cooled-rf-3cm"].at_perfusion(perfusion)
    for device in (catalogue["emprint-mwa"], catalogue["cooled-rf-3cm"].scaled(0.9), catalogue["cooled-rf-3cm-groups"]):
        with pytest.raises(DeviceError, match="no source says how its zone depends on perfusion"):
            device.at_perfusion(30.0)


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
