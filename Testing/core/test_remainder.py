"""What is left after an ablation: pieces in order, and a target without what no probe is placed for."""

from __future__ import annotations

import pytest
import SimpleITK as sitk

from NETAblationLib.core.errors import EmptyMaskError, InputError
from NETAblationLib.core.margins import MarginResult, measure_margin
from NETAblationLib.core.probes import Ablation, Probe
from NETAblationLib.core.remainder import margin_with_probes_mm, rank_remainder, remaining_mask, remaining_target
from support.shapes import difference, grid, mask_of, sphere

IMAGE = grid((-24.0,) * 3, (24.0,) * 3, (1.0, 1.0, 1.0))
TUMOR = mask_of(sphere((0.3, 0.2, 0.1), 9.0), IMAGE)
#: A zone with a bite on the left into the tumor, and one on the top that takes some of the margin only.
BITES = sphere((-13.7, 0.2, 0.1), 8.0), sphere((0.3, 0.2, 14.1), 4.0)


@pytest.fixture(scope="module")
def margin():
    return measure_margin(TUMOR, mask_of(difference(sphere((0.3, 0.2, 0.1), 15.5), *BITES), IMAGE))


def test_pieces_with_tumor_come_first_with_direction_and_depth(margin):
    first, second = rank_remainder(margin, TUMOR)
    assert (first.kind, first.direction) == ("tumor", "left")
    assert (second.kind, second.direction) == ("margin", "cranial")
    assert second.tumor_ml == 0.0
    assert first.volume_ml == pytest.approx(
        first.tumor_ml + (margin.residual_margin_volume_ml - second.volume_ml), abs=0.1
    )
    assert first.tumor_ml == pytest.approx(margin.residual_tumor_volume_ml, abs=0.1)
    assert 1.0 < second.depth_mm < first.depth_mm < 8.0
    assert first.deepest_ras_mm == pytest.approx((-11.5, 0.2, 0.1), abs=3.0)
    document = first.to_dict()
    assert document["center_ras_mm"][0] < -5


def test_the_target_is_what_is_left(margin):
    labels = sitk.GetArrayFromImage(remaining_mask(margin, TUMOR))
    target = sitk.GetArrayFromImage(remaining_target(margin, TUMOR))
    assert ((labels > 0) == (target > 0)).all()
    assert ((labels == 1) <= (sitk.GetArrayFromImage(TUMOR) > 0)).all()
    done = measure_margin(TUMOR, mask_of(sphere((0.3, 0.2, 0.1), 16.0), IMAGE))
    assert rank_remainder(done, TUMOR) == []
    with pytest.raises(EmptyMaskError, match="no probe is needed"):
        remaining_target(done, TUMOR)


def test_a_probe_into_the_bite_mends_the_margin(margin):
    probe = Probe((-90.0, 0.2, 0.1), (-4.0, 0.2, 0.1), (Ablation("any", (-12.0, 0.2, 0.1), 22.0, 22.0),))
    both = margin_with_probes_mm(margin, [probe])
    assert margin.mam_mm < -2
    assert both.min() > 0
    assert (both >= margin.signed_margin_mm).all()
    loaded = MarginResult.from_dict(margin.to_dict())
    for function in (lambda: margin_with_probes_mm(loaded, [probe]), lambda: rank_remainder(loaded, TUMOR)):
        with pytest.raises(InputError, match="measure it again"):
            function()
