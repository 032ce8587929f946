"""What a fusion says near one lesion."""

from __future__ import annotations

import pytest

from NETAblationLib.core.fusion_near import NearLesion

FUSION = {
    "estimated_error_mm": 0.7,
    "error_bound_90_mm": 1.0,
    "verdict": "doubtful",
    "lesion_error_mm": [1.8, 0.5, None, 2.2],
    "lesion_error_bound_90_mm": [2.7, 0.9, None, 4.0],
    "lesion_verdict": ["doubtful", "good", None, "not usable"],
}


@pytest.mark.parametrize(
    ("masks", "near"),
    [
        ([1], NearLesion(0.5, 0.9, "good")),
        ([1, 2], NearLesion(0.5, 0.9, "good")),
        ([1, 0], NearLesion(1.8, 2.7, "doubtful")),
        ([0, 3], NearLesion(2.2, 4.0, "not usable")),
        ([2], NearLesion(0.7, 1.0, "doubtful")),
        ([], NearLesion(0.7, 1.0, "doubtful")),
        ([7], NearLesion(0.7, 1.0, "doubtful")),
    ],
)
def test_the_worst_of_a_lesion_s_masks_counts_else_the_whole_liver(masks, near):
    assert NearLesion.of(FUSION, masks) == near


def test_of_a_lesion_that_may_not_have_been_left_out_the_worst_counts():
    assert NearLesion.worst_of(FUSION) == NearLesion(2.2, 4.0, "doubtful")
    assert NearLesion.worst_of({**FUSION, "lesion_error_mm": [], "estimated_error_mm": 3.0}).error_mm == 3.0


def test_a_document_without_figures_near_lesions():
    """As releases before wrote it, and of a transform that came without any."""
    earlier = {"estimated_error_mm": 0.7, "verdict": "good", "lesion_error_mm": [0.4]}
    assert NearLesion.of(earlier, [0]) == NearLesion(0.4, None, "good")
    assert NearLesion.of({}, [0]) == NearLesion.worst_of({}) == NearLesion()
