"""Start-up: ordinary Slicer code runs without the application, quietly, and leaves the application alone."""

import subprocess
import sys
from pathlib import Path

import slicer
import slicer.util

from NETAblationLib.scene import startup

LIBRARY = Path(startup.__file__).resolve().parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    start = f"import sys; sys.path.insert(0, {str(LIBRARY)!r})\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)


def test_starting_twice_gives_the_same_scene(scene):
    assert startup.start() is startup.start()
    assert slicer.mrmlScene is scene
    assert not startup.is_inside_application()


def test_module_logics_and_util_work(scene):
    for name in ("segmentations", "markups", "volumes", "transforms", "models", "colors", "terminologies"):
        assert getattr(slicer.modules, name).logic().GetMRMLScene() is scene
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "line")
    assert slicer.util.getNode("line") is node


def test_a_process_ends_without_a_word_on_stderr():
    done = run(
        "from NETAblationLib.scene import startup, probes\n"
        "from NETAblationLib.scene.provenance import Provenance\n"
        "startup.start()\n"
        "probes.add_probe([0, 0, 0], [1, 2, 3], 'probe', Provenance('probe'))\n"
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_nothing_is_touched_inside_the_application():
    done = run(
        "import slicer\n"
        "slicer.mrmlScene = there = slicer.vtkMRMLScene()\n"
        "slicer.app = application = object()\n"
        "from NETAblationLib.scene import startup\n"
        "assert startup.is_inside_application()\n"
        "assert startup.start() is None\n"
        "assert slicer.mrmlScene is there and slicer.app is application\n"
    )
    assert done.returncode == 0, done.stderr
