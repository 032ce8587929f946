"""What is said of a fusion: the verdict; and the stored field's Jacobian."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from NETAblationLib.core.fusion_quality import LiverAgreement, stored_jacobian
from NETAblationLib.core.fusion_verdict import DOUBTFUL, GOOD, NOT_USABLE, Findings, judge

FINE = Findings("liver", 1.8, True, 0.7, 0.8, 0.95, LiverAgreement(0.97, 0.3))


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, GOOD, "near the lesion"),
        ({"is_near_lesion": False}, GOOD, "in the liver"),
        ({"region": "body"}, DOUBTFUL, "whole body"),
        ({"bound_mm": 3.0}, DOUBTFUL, "3.0 mm"),
        ({"bound_mm": 7.0}, NOT_USABLE, "7.0 mm"),
        ({"correlation": 0.3}, DOUBTFUL, "same patient"),
        ({"correlation": 0.1}, NOT_USABLE, "same patient"),
        ({"agreement": LiverAgreement(0.85, 1.0)}, DOUBTFUL, "Dice"),
        ({"agreement": LiverAgreement(0.6, 1.0)}, NOT_USABLE, "Dice"),
        ({"agreement": LiverAgreement(0.95, 4.0)}, DOUBTFUL, "surfaces"),
        ({"agreement": None}, GOOD, "90 %"),
        ({"jacobian_min": 0.2}, DOUBTFUL, "shrinks"),
        ({"jacobian_min": -0.2}, NOT_USABLE, "shrinks"),
        ({"inverse_mm": 2.5}, DOUBTFUL, "There and back"),
        ({"inverse_mm": 4.0}, NOT_USABLE, "There and back"),
        ({"usable_fraction": 0.4}, DOUBTFUL, "compared"),
        ({"reason_for_rigid": "it folds"}, DOUBTFUL, "it folds"),
        ({"bound_mm": 7.0, "landmark_mean_mm": 1.1, "landmark_count": 4}, GOOD, "4 landmarks"),
        ({"landmark_mean_mm": 3.0, "landmark_count": 4}, DOUBTFUL, "3.0 mm"),
        ({"bound_mm": 7.0, "landmark_mean_mm": 1.1, "landmark_count": 2}, NOT_USABLE, "7.0 mm"),
    ],
)
def test_the_worst_finding_decides_and_says_why(change, verdict, reason):
    judgment = judge(replace(FINE, **change))
    assert judgment.verdict == verdict
    assert any(reason in text for text in judgment.reasons)
    assert (judgment.warnings == ()) == (verdict == GOOD)


def test_the_jacobian_of_a_stored_field_is_that_of_its_cells():
    k, j, i = np.indices((4, 5, 6)).astype(np.float32)
    matrix = np.array([[0.1, 0.2, 0.0], [-0.1, 0.3, 0.1], [0.0, 0.05, -0.2]])
    linear = np.einsum("ab,b...->a...", matrix, 2.0 * np.stack([i, j, k])).astype(np.float32)
    assert np.allclose(stored_jacobian(linear, 2.0), np.linalg.det(np.eye(3) + matrix), atol=1e-4)
    spike = np.zeros((3, 4, 5, 6), np.float32)
    spike[0, 2, 2, 2] = 2.5  # a node that overtakes its neighbor
    assert stored_jacobian(spike, 2.0).min() == pytest.approx(1 - 2.5 / 2.0)
