"""Two images in one: values that follow from both."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core.errors import GeometryError, InputError
from NETAblationLib.core.fusion_images import checkerboard, difference_image

WINDOW = (0.0, 200.0)


def flat(value: float, size=(16, 16, 8)) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkInt16) + int(value)
    image.SetSpacing((1.0, 1.0, 2.0))
    return image


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def test_difference_and_window():
    fixed, moved = flat(50), flat(150)
    assert values(difference_image(fixed, moved, WINDOW)) == pytest.approx(0.5)
    assert values(difference_image(fixed, fixed, WINDOW)) == pytest.approx(0.0)
    assert values(difference_image(flat(-500), flat(3000), WINDOW)) == pytest.approx(1.0)


def test_a_checkerboard_shows_both_in_turn():
    board = checkerboard(flat(50), flat(150), WINDOW, squares=4)
    seen = values(board)
    assert set(np.unique(seen)) == {np.float32(0.25), np.float32(0.75)}
    assert (seen == 0.25).mean() == pytest.approx(0.5)
    assert seen[0, 0, 0] != seen[0, 0, 4]
    assert seen[0, 0, 0] == seen[0, 4, 4] != seen[0, 4, 0]
    assert board.GetSpacing() == (1.0, 1.0, 2.0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(GeometryError, match="moved image"):
        checkerboard(flat(1), flat(1, (8, 8, 8)), WINDOW)
    with pytest.raises(InputError, match="does not rise"):
        difference_image(flat(1), flat(1), (5.0, 5.0))
    with pytest.raises(InputError, match="squares"):
        checkerboard(flat(1), flat(1), WINDOW, squares=1)
