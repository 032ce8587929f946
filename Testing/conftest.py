"""Settings and shared fixtures for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from NETAblationLib.core.phantom import DigitalPatient

settings.register_profile("project", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("project")


@pytest.fixture(scope="session")
def small_patient() -> DigitalPatient:
    """The small digital patient of seed 0, made once for the whole run; do not change its images."""
    from NETAblationLib.core.phantom import make_patient

    return make_patient("small", seed=0)


@pytest.fixture
def scene() -> Any:
    """The headless scene, empty again for each test."""
    import slicer

    from NETAblationLib.scene import startup

    startup.start()
    slicer.mrmlScene.Clear(False)
    return slicer.mrmlScene
