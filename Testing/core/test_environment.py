"""The set-up script of the environment, with a stand-in interpreter that notes what it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[2]
_SCRIPT = "Testing/support/environment.sh"

# Answers as Python and pip do for the script, and notes each call that installs something. Its build is
# another one after the first installation, as when Debian's python3-venv brings a newer build of Python.
_INTERPRETER = """#!/usr/bin/env bash
case "$*" in
    *sys.executable*) echo "$0" ;;
    -VV) echo "Python 3.12.0"; [[ ! -e $0.upgraded ]] || echo "newer build" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && : >"$0.upgraded" && echo venv >>"$CALLS" ;;
    "-m pip "*) echo "${@: -1}" >>"$CALLS"; [[ ! -e $NO_NETWORK ]] ;;
    *offscreen*) [[ ! -e $NO_OPENGL ]] ;;
esac
"""


class House:
    """A copy of the script and the lock files, in a folder with a space in its name."""

    def __init__(self, folder: Path):
        """Lay out the copy below `folder`."""
        self.folder = folder / "my house"
        (self.folder / _SCRIPT).parent.mkdir(parents=True)
        for name in (_SCRIPT, "requirements.lock", "requirements-bench.lock", "pyproject.toml"):
            shutil.copy(_PROJECT / name, self.folder / name)
        self.python = self.folder / "python"
        self.python.write_text(_INTERPRETER)
        self.python.chmod(0o755)
        self.no_network, self.no_opengl = folder / "no network", folder / "no opengl"
        self.calls = folder / "calls"

    def run(self, *arguments: str, python: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the script; `calls` then holds what this run installed."""
        self.calls.write_text("")
        # No apt-get, sudo or other Python is found on this path: only what the script itself uses.
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        for tool in ("env", "bash", "dirname", "grep", "cksum", "sed", "rm", "mkdir", "cp", "flock"):
            if (found := shutil.which(tool)) and not (tools / tool).exists():
                (tools / tool).symlink_to(found)
        environment = {
            "PATH": str(tools),
            "PYTHON": str(python or self.python),
            "CALLS": str(self.calls),
            "NO_NETWORK": str(self.no_network),
            "NO_OPENGL": str(self.no_opengl),
        }
        script = self.folder / _SCRIPT
        return subprocess.run([str(script), *arguments], env=environment, capture_output=True, text=True, timeout=60)

    def installed(self, *arguments: str) -> list[str]:
        """What a run that ends well installs."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return self.calls.read_text().split()


@pytest.fixture
def house(tmp_path):
    if os.name != "posix" or shutil.which("bash") is None:
        pytest.skip("the set-up script needs bash")
    return House(tmp_path)


_ALL = ["venv", "requirements.lock", "."]


def test_second_run_installs_nothing(house):
    assert house.installed() == _ALL
    assert house.installed() == []


def test_what_the_benchmarks_need_comes_only_when_asked_for(house):
    house.installed()
    assert house.installed("bench") == ["requirements-bench.lock"]
    assert house.installed("bench") == []


def test_interrupted_install_is_made_anew(house):
    house.no_network.touch()
    failed = house.run()
    assert failed.returncode == 1
    assert "not all packages could be installed" in failed.stderr
    house.no_network.unlink()
    assert house.installed() == _ALL
    assert house.installed() == []


def test_another_lock_makes_the_environment_anew(house):
    house.installed()
    leftover = house.folder / ".venv/leftover"
    leftover.touch()
    with (house.folder / "requirements.lock").open("a") as lock:
        lock.write("# another\n")
    assert house.installed() == _ALL
    assert not leftover.exists()


def test_another_place_makes_the_environment_anew(house):
    """The scripts in a virtual environment hold its path."""
    house.installed()
    moved = house.folder.with_name("moved")
    house.folder.rename(moved)
    house.folder, house.python = moved, moved / "python"
    shutil.rmtree(moved / "bin")
    assert house.installed() == _ALL


def test_another_project_table_installs_only_the_project(house):
    house.installed()
    project = house.folder / "pyproject.toml"
    text = project.read_text()
    project.write_text(text.replace('name = "netablation"', 'name = "other"'))
    assert house.installed() == ["."]
    project.write_text(project.read_text().replace("line-length = 120", "line-length = 100"))
    assert house.installed() == []


def test_no_opengl_is_one_line_and_no_failure(house):
    house.no_opengl.touch()
    done = house.run()
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if "without pictures" in line]
    assert len(lines) == 1
    again = house.run()
    assert again.stdout.splitlines() == lines
    house.no_opengl.unlink()
    assert house.run().stdout == ""


def test_no_supported_python_is_one_line(house):
    done = house.run(python=house.folder / "absent")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "needs Python 3.10 to 3.13" in done.stderr
    assert not (house.folder / ".venv").exists()
