"""A CT surveyed once for several tumors against one survey for each."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from NETAblationLib.core.devices import load_catalogue
from NETAblationLib.core.errors import EmptyMaskError, GeometryError, InputError
from NETAblationLib.core.planning import Request, Task, plan_probes, plans_of, prepared
from NETAblationLib.core.surveys import Scan, Survey
from support.shapes import ellipsoid, grid, mask_of, sphere, voxel_centers

REQUEST = Request(load_catalogue()["emprint-mwa"])
BODY, LIVER = ellipsoid((0, 0, 0), (75.0, 60.0, 80.0)), ellipsoid((8, 0, 0), (52.0, 44.0, 40.0))
#: Deep, beneath the capsule, and one that lies half outside of the liver's mask.
PLACES = ((10.3, 4.2, -1.7), (-20.0, 12.0, 14.0), (8.0, 44.0, 0.0))


@functools.cache
def images():
    """CT, liver, tumors and obstacles."""
    image = grid((-85.0, -70.0, -46.0), (85.0, 70.0, 46.0), (3.0, 3.0, 3.0))
    hu = np.where(BODY(voxel_centers(image)) < 0, 40.0, -1000.0).reshape(image.GetSize()[::-1])
    made = sitk.GetImageFromArray(hu.astype(np.float32))
    made.CopyInformation(image)
    liver = mask_of(LIVER, grid((-46, -46, -42), (62, 46, 42), (2.0, 2.0, 2.0)))
    return made, liver, tuple(tumor_at(place) for place in PLACES), {"stomach": ball((34, -14, 2))}


def tumor_at(place):
    return mask_of(sphere(place, 7.0), grid(np.subtract(place, 10), np.add(place, 10), (1.0, 1.0, 1.0)))


def ball(place):
    return mask_of(sphere(place, 6.0), grid(np.subtract(place, 9), np.add(place, 9), (1.5, 1.5, 1.5)))


@functools.cache
def surveyed():
    image, liver, tumors, obstacles = images()
    return Survey.of(Scan(image, liver, obstacles), tumors, REQUEST.longest_mm)


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_one_survey_finds_for_each_tumor_what_its_own_would(number):
    image, liver, tumors, obstacles = images()
    alone = prepared(Scan(image, liver, obstacles), tumors[number], REQUEST)
    shared = Task.of(surveyed(), tumors[number], REQUEST)
    for name in ("body", "tumor", "room_mm", "nearest", "known"):
        assert np.array_equal(getattr(shared.surroundings, name), getattr(alone.surroundings, name)), name
    is_other = shared.surroundings.liver != alone.surroundings.liver
    # The third tumor is liver for the others, too, where the liver's mask leaves it out.
    assert is_other.any() == (number < 2)
    third = ndimage.binary_dilation(surveyed().surroundings.about(tumors[2]).tumor > 0.5)
    assert not (is_other & ~third).any()
    assert shared.input_hashes == alone.input_hashes
    assert shared.target.is_evaluable.tolist() == alone.target.is_evaluable.tolist()


def test_plans_made_in_one_survey_are_those_made_alone():
    image, liver, tumors, obstacles = images()
    for tumor in tumors[:2]:
        alone = plan_probes(Scan(image, liver, obstacles), tumor, REQUEST)
        (shared,) = plans_of(Task.of(surveyed(), tumor, REQUEST), 0)
        assert shared.probes == alone.probes
        assert (shared.predicted_mam_mm, shared.limitations) == (alone.predicted_mam_mm, alone.limitations)


@pytest.mark.parametrize(
    "stored", [lambda i: sitk.Flip(i, [True, False, True]), lambda i: sitk.PermuteAxes(i, [2, 0, 1])]
)
def test_a_task_is_the_same_to_the_last_digit_however_images_are_stored(stored):
    image, liver, tumors, obstacles = images()
    scan = Scan(stored(image), stored(liver), {"stomach": stored(*obstacles.values())})
    other = Survey.of(scan, [stored(tumor) for tumor in tumors])
    plain = Task.of(Survey.of(Scan(image, liver, obstacles), tumors), tumors[1], REQUEST)
    task = Task.of(other, stored(tumors[1]), REQUEST)
    for name in ("body", "liver", "tumor", "room_mm", "nearest", "lower_ras_mm"):
        assert np.array_equal(getattr(task.surroundings, name), getattr(plain.surroundings, name)), name
    assert np.array_equal(task.surroundings.skin.surface.points_ras_mm, plain.surroundings.skin.surface.points_ras_mm)
    assert np.array_equal(task.target.surface.points_ras_mm, plain.target.surface.points_ras_mm)


def test_a_survey_of_all_of_a_ct_serves_a_tumor_that_is_drawn_later():
    image, liver, tumors, obstacles = images()
    whole = Survey.of(Scan(image, liver, obstacles))
    (later,) = plans_of(Task.of(whole, tumors[0], REQUEST), 0)
    assert later.probes == plans_of(Task.of(surveyed(), tumors[0], REQUEST), 0)[0].probes


def test_a_tumor_elsewhere_is_refused_and_the_others_can_still_be_planned_for():
    image, liver, tumors, obstacles = images()
    outside = tumor_at((8.0, -54.0, 0.0))
    survey = Survey.of(Scan(image, liver, obstacles), [tumors[0], outside], REQUEST.longest_mm)
    with pytest.raises(GeometryError, match="outside the liver"):
        Task.of(survey, outside, REQUEST)
    assert np.array_equal(
        Task.of(survey, tumors[0], REQUEST).surroundings.liver,
        Survey.of(Scan(image, liver, obstacles), [tumors[0]], 200.0).surroundings.liver,
    )


@pytest.mark.parametrize(
    ("tumor", "error", "message"),
    [
        (tumor_at((40.0, -10.0, 0.0)), InputError, "other tumors were surveyed"),
        (tumor_at((500.0, 0, 0)), GeometryError, "beside the planning image"),
        (sitk.Image(5, 5, 5, sitk.sitkUInt8), EmptyMaskError, "empty"),
    ],
    ids=["another one", "elsewhere", "empty"],
)
def test_what_the_survey_does_not_know_is_refused(tumor, error, message):
    image, liver, tumors, _ = images()
    with pytest.raises(error, match=message):
        Task.of(Survey.of(Scan(image, liver), tumors[:1], 200.0), tumor, REQUEST)


def test_an_obstacle_that_contains_a_tumor_is_refused_for_that_tumor_only():
    image, liver, tumors, _ = images()
    survey = Survey.of(Scan(image, liver, {"cyst": mask_of(sphere(PLACES[1], 12.0), liver)}), tumors)
    with pytest.raises(InputError, match=r"'cyst'.* contains"):
        Task.of(survey, tumors[1], REQUEST)
    assert Task.of(survey, tumors[0], REQUEST).surroundings.tumor.any()


@pytest.mark.parametrize("name", ["image", "tumor", "liver"])
def test_an_obstacle_by_a_taken_name_is_refused(name):
    image, liver, tumors, obstacles = images()
    with pytest.raises(InputError, match="is taken"):
        Survey.of(Scan(image, liver, {name: obstacles["stomach"]}), tumors)
