"""Settings and shared fixtures for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from NETAblationLib.core.phantom import DigitalPatient

settings.register_profile("project", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("project")


#: Files whose tests take minutes: they run first, so that no worker is left alone with one at the end.
_LONGEST = ("test_demo.py", "test_chain_real.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; otherwise the order stays."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


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
