"""The lobes of a patient whose body is turned in the frame."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.lobes import Lobe, Lobes
from support import shapes
from support.shapes import rotation
from support.turning import turned_frame


def _grid() -> sitk.Image:
    return shapes.grid((-40, -60, -60), (100, 60, 60), (4, 4, 4))


#: The cava runs along S behind, the gallbladder lies in front and to the right.
GALLBLADDER = shapes.mask_of(shapes.sphere((60, 40, -20), 12.0), _grid())
CAVA = shapes.mask_of(lambda points: np.hypot(points[:, 0], points[:, 1] + 40) - 9.0, _grid())


@pytest.mark.parametrize(
    "turn",
    [
        rotation((0, 0, 1), 75.0),
        rotation((0, 0, 1), -75.0),
        rotation((0, 1, 0), 80.0),
        rotation((1.0, -0.6, 0.5), 60.0),
    ],
)
def test_the_lobes_of_a_turned_patient_are_the_same(small_patient, turn):
    lobes = Lobes.of_landmarks(GALLBLADDER, CAVA, small_patient.portal)
    other = Lobes.of_landmarks(*(turned_frame(image, turn) for image in (GALLBLADDER, CAVA, small_patient.portal)))
    np.testing.assert_allclose(other.right, turn @ lobes.right, atol=1e-6)
    points = frames.voxel_centers(GALLBLADDER)
    shift = np.array(other.point_ras_mm) - turn @ lobes.point_ras_mm
    for rightward_mm, lobe in ((20.0, Lobe.RIGHT), (-40.0, Lobe.LEFT)):
        away = points + np.array([rightward_mm, 0.0, 0.0])
        assert (lobes.at(away) == lobe).all()
        assert (other.at(away @ turn.T + shift) == lobe).all()
