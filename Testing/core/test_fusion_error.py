"""The estimated error of a fusion: more of any sign of error means more of it, and vessels have a say where known."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from NETAblationLib.core.fusion_error import LESION_MODEL, LIVER_MODEL, ErrorModel, Signs, WithVessels

USUAL = Signs(
    half_sample_mm=0.4,
    inverse_mm=0.4,
    correlation=0.7,
    usable_fraction=0.9,
    surface_mm=0.4,
    jacobian_spread=0.5,
    displacement_mm=4.0,
)
GREATER_IS_BETTER = ("correlation", "usable_fraction")


@pytest.mark.parametrize("model", [LIVER_MODEL, LESION_MODEL])
@pytest.mark.parametrize("name", [field.name for field in fields(Signs)])
def test_more_of_a_sign_is_never_less_error(model, name):
    signs = replace(USUAL, vessel_mm=1.2)
    worse = replace(signs, **{name: getattr(signs, name) * (0.5 if name in GREATER_IS_BETTER else 2.0)})
    assert model.estimate_mm(worse) >= model.estimate_mm(signs)
    assert model.bound_mm(worse) >= model.bound_mm(signs) > model.estimate_mm(signs)


@pytest.mark.parametrize("model", [LIVER_MODEL, LESION_MODEL])
def test_a_fusion_that_looks_perfect_is_not_believed_to_be(model):
    perfect = Signs(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert model.estimate_mm(perfect) == model.least_mm > 0.2


@pytest.mark.parametrize("model", [LIVER_MODEL, LESION_MODEL])
def test_vessels_far_apart_raise_the_estimate(model):
    near, far = (replace(USUAL, vessel_mm=mm) for mm in (0.8, 6.0))
    assert model.estimate_mm(far) > 1.2 * model.estimate_mm(near)
    assert model.estimate_mm(far) > model.estimate_mm(USUAL) > 0.8 * model.estimate_mm(near)


def test_how_vessels_correct_an_estimate():
    plain = ErrorModel((0.0, 1.0, 0, 0, 0, 0, 0, 0), 2.0, 0.1)
    model = replace(plain, vessels=WithVessels(np.log(0.5), 0.5, 1.0, 1.5))
    assert plain.estimate_mm(USUAL) == model.estimate_mm(USUAL) == pytest.approx(0.4 / 0.02)
    assert model.bound_mm(USUAL) == pytest.approx(2.0 * 0.4 / 0.02)
    known = replace(USUAL, vessel_mm=3.0)
    assert plain.estimate_mm(known) == plain.estimate_mm(USUAL)
    assert model.estimate_mm(known) == pytest.approx(0.5 * np.sqrt(0.4 / 0.02) * 3.0)
    assert model.bound_mm(known) == pytest.approx(1.5 * model.estimate_mm(known))
