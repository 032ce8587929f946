"""Run the workflow tests of the panels and the modules' self-tests inside a real 3D Slicer.

    Slicer --no-splash --additional-module-paths NETAblation --python-script Testing/run_in_slicer.py [pytest options]

The same files as on the stand-ins (Testing/gui) run on the real Qt, CTK and widgets; those about the stand-ins
themselves are left out. Slicer closes at the end, with code 0 where all passed. Slicer's Python needs pytest and
hypothesis: `slicer.util.pip_install("pytest hypothesis")` once, in its Python console.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import slicer

_TESTING = Path(__file__).resolve().parent
_MODULES = _TESTING.parent / "NETAblation"

#: About the stand-ins, not about the panels; or of what only the stand-ins' classes tell.
_ABOUT_STAND_INS = ("test_stand_ins.py", "test_ui_files.py")


def run_self_tests() -> bool:
    """Run the self-test of each module; what fails is logged."""
    passed = True
    for script in sorted(_MODULES.glob("*.py")):
        test = slicer.selfTests.get(script.stem)
        if test is None:
            logging.error("%s is not loaded: give its folder with --additional-module-paths", script.stem)
            passed = False
            continue
        try:
            test()
        except Exception:
            logging.exception("the self-test of %s fails", script.stem)
            passed = False
    return passed


def run_workflow_tests(options: list[str]) -> bool:
    """Run the tests of the panels with pytest."""
    import pytest

    sys.path[:0] = [str(_MODULES), str(_TESTING)]
    ignored = [f"--ignore={_TESTING / 'gui' / name}" for name in _ABOUT_STAND_INS]
    return pytest.main([str(_TESTING / "gui"), "-p", "no:cacheprovider", *ignored, *options]) == 0


if __name__ == "__main__":
    try:
        results = [run_self_tests(), run_workflow_tests(sys.argv[1:])]
    except ImportError:
        logging.exception("Slicer's Python lacks a package that the tests need")
        results = [False]
    slicer.util.exit(0 if all(results) else 1)
