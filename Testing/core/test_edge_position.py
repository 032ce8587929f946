"""Where a blurred edge is, against balls and ellipsoids whose surface is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from NETAblationLib.core.edge_position import edge_shift_mm, signed_distance_mm

SPACING_MM, COUNT, BLUR_MM, NOISE = 0.7, 41, 1.1, 0.05
FILTER_MM2, OWN_MM2 = BLUR_MM**2 * np.eye(3), np.zeros((3, 3))


def _from_middle() -> np.ndarray:
    """Distance from the middle of the grid, mm."""
    along = (np.arange(COUNT) - COUNT // 2) * SPACING_MM
    return np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + along**2)


def _blurred(share: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(share, BLUR_MM / SPACING_MM, truncate=5.0)


def _share(radius_mm: float) -> np.ndarray:
    """Share of each voxel in a ball, to a small fraction of a voxel."""
    return np.clip(0.5 - (_from_middle() - radius_mm) / SPACING_MM, 0, 1)


def _noise(seed: int) -> np.ndarray:
    grain = _blurred(np.random.default_rng(seed).normal(size=(COUNT,) * 3))
    return NOISE * grain / grain.std()


def _shift(image: np.ndarray, radius_mm: float, usable: np.ndarray | bool = True) -> float:
    return edge_shift_mm(
        (_from_middle() - radius_mm).astype(np.float32),
        image.astype(np.float32),
        np.broadcast_to(usable, image.shape),
        noise=NOISE,
        filter_mm2=FILTER_MM2,
        own_mm2=OWN_MM2,
        spacing_mm=SPACING_MM,
    )


@pytest.mark.parametrize("radius_mm", [4.5, 8.0])
@pytest.mark.parametrize("off_mm", [-0.7, 0.0, 0.5])
def test_a_ball_of_another_size_is_brought_to_its_edge(radius_mm, off_mm):
    image = _blurred(_share(radius_mm))
    assert _shift(image, radius_mm - off_mm) == pytest.approx(off_mm, abs=0.1)
    noisy = [_shift(image + _noise(seed), radius_mm - off_mm) for seed in range(3)]
    assert np.mean(noisy) == pytest.approx(off_mm, abs=0.2)


@pytest.mark.parametrize("middle", [-0.3, -0.8, 0.3])
def test_a_duller_or_brighter_middle_does_not_move_the_edge(middle):
    """Half of the middle's contrast, which is what a model of the inside has, lies up to a mm farther out."""
    image = _blurred(_share(4.5) + middle * _share(2.2))
    assert abs(_shift(image + _noise(1), 4.5)) < 0.2


def test_what_touches_the_lesion_on_one_side_does_not_pull_the_edge():
    """A wide vessel as bright as the lesion."""
    beside = np.broadcast_to((np.arange(COUNT) - COUNT // 2) * SPACING_MM > 5.5, (COUNT,) * 3)
    image = _blurred(np.maximum(_share(6.0), beside))
    assert abs(_shift(image + _noise(2), 6.0)) < 0.15


def test_too_few_voxels_say_nothing():
    assert _shift(_share(5.0), 4.0, False) == 0.0


def test_the_distance_is_exact_where_the_odds_cross_zero():
    """Of odds that are no distance, and are cut off."""
    ratio = np.linalg.norm(np.stack(np.meshgrid(*[np.linspace(-14, 14, COUNT)] * 3, indexing="ij")), axis=0) / 7.3
    distance = signed_distance_mm(np.clip(9.0 * (1.0 - ratio), -6.0, 6.0).astype(np.float32), SPACING_MM)
    true = 7.3 * (ratio - 1.0)
    near = np.abs(true) < SPACING_MM
    assert np.abs(distance - true)[near].max() < 0.05
    assert np.abs(distance - true)[np.abs(true) < 4.0].max() < SPACING_MM
