"""The house is in order: what is listed is what there is, layers hold, everything is pinned."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import NETAblationLib

_PROJECT = Path(__file__).resolve().parents[2]
_SHIPPED = _PROJECT / "NETAblation"
_GENERATED = ("__pycache__", ".egg-info")

if sys.version_info >= (3, 11):
    import tomllib

    _PYPROJECT = tomllib.loads((_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
else:
    _PYPROJECT = None

needs_tomllib = pytest.mark.skipif(_PYPROJECT is None, reason="reading pyproject.toml needs Python 3.11")


def _shipped_files() -> set[str]:
    files = (path for path in _SHIPPED.rglob("*") if path.is_file() and path.name != "CMakeLists.txt")
    names = (path.relative_to(_SHIPPED).as_posix() for path in files)
    return {name for name in names if not any(mark in name for mark in _GENERATED)}


def _cmake_lists(path: Path) -> dict[str, list[str]]:
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    return {name: values.split() for name, values in re.findall(r"set\((\w+)\s([^)]*)\)", text)}


def _tracked_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=_PROJECT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    files = (_PROJECT / name for name in listed.decode().split("\0") if name)
    return [path for path in files if path.is_file()]


def _modules(package: str) -> list[str]:
    folder = _SHIPPED / package.replace(".", "/")
    files = (path.relative_to(_SHIPPED).with_suffix("") for path in sorted(folder.rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__"]


def _import_all(package: str, blocked: list[str]) -> None:
    """Import every module of `package` in a process where the `blocked` packages cannot be imported."""
    code = f"import sys, importlib\nfor name in {blocked!r}: sys.modules[name] = None\n"
    code += f"for name in {_modules(package)!r}: importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=_SHIPPED, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_cmake_lists_every_shipped_file_once():
    lists = _cmake_lists(_SHIPPED / "CMakeLists.txt")
    scripts, resources = lists["LIBRARY_PYTHON_SCRIPTS"], lists["LIBRARY_RESOURCES"]
    shipped = _shipped_files()
    assert sorted(scripts) == sorted(name for name in shipped if name.endswith(".py"))
    assert sorted(resources) == sorted(name for name in shipped if not name.endswith(".py"))


def test_resource_names_are_unique():
    """In Slicer the resources of all modules land in one folder."""
    names = [Path(name).name.lower() for name in _shipped_files() if name.startswith("Resources/")]
    assert len(set(names)) == len(names), sorted(names)


def test_every_library_folder_is_a_package():
    folders = {(_SHIPPED / name).parent for name in _shipped_files() if name.startswith("NETAblationLib/")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_core_needs_neither_slicer_nor_qt():
    assert len(_modules("NETAblationLib.core")) > 3
    _import_all("NETAblationLib.core", ["slicer", "slicer_core", "qt", "ctk", "PySide6", "PyQt5"])


def test_scene_needs_no_qt():
    _import_all("NETAblationLib.scene", ["qt", "ctk", "PySide6", "PyQt5"])


def test_extension_description_is_what_the_index_asks_for():
    text = (_PROJECT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "project(NETAblation)" in text
    described = dict(re.findall(r'set\((EXTENSION_\w+) "([^"$]+)"\)', text))
    assert set(described) >= {
        f"EXTENSION_{key}" for key in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS")
    }
    assert described["EXTENSION_HOMEPAGE"].rpartition("/")[2].startswith("Slicer")
    for key in ("EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        assert (_PROJECT / described[key].partition("/main/")[2]).is_file(), described[key]


def test_icon_is_a_png_of_128_pixels():
    header = (_PROJECT / "Resources/NETAblation.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (128, 128)


def test_license_is_apache_everywhere():
    text = (_PROJECT / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Apache" in (_PROJECT / "README.md").read_text(encoding="utf-8")


def test_installed_version_is_that_of_the_library():
    assert re.fullmatch(r"\d+\.\d+\.\d+", NETAblationLib.__version__)
    try:
        installed = metadata.metadata("netablation")
    except metadata.PackageNotFoundError:
        pytest.skip("the package netablation is not installed here (make venv does)")
    assert installed["Version"] == NETAblationLib.__version__
    assert installed["License-Expression"] == "Apache-2.0"


def test_no_machine_path_or_registry_host_in_any_file():
    forbidden = re.compile(rb"(?<![\w.])/(?:work|root|home|opt)/|" + b"pypi" + rb"\.org|pythonhosted\.org")
    found = [
        f"{path.relative_to(_PROJECT)}: {hit.group().decode()}"
        for path in _tracked_files()
        if path != Path(__file__).resolve()
        for hit in forbidden.finditer(path.read_bytes())
    ]
    assert found == []


def _locked(name: str) -> dict[str, list[tuple[str, str, int]]]:
    """The requirements of a lock file: name to (version, marker, number of hashes)."""
    text = (_PROJECT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    locked: dict[str, list[tuple[str, str, int]]] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.match(r"([a-z0-9-]+)==(\S+)\s*(?:;([^-]*(?:-[^-]+)*?))?\s+--hash", line)
        assert match, f"{name}: not a pinned requirement with hashes: {line[:80]}"
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", line)
        locked.setdefault(match[1], []).append((match[2], (match[3] or "").strip(), len(hashes)))
    return locked


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-bench.lock"])
def test_lock_pins_everything_with_hashes(name):
    locked = _locked(name)
    assert len(locked) >= 4
    assert all(count >= 1 for rows in locked.values() for _, _, count in rows)


def test_lock_has_what_slicer_ships():
    locked = _locked("requirements.lock")
    assert [row[0] for row in locked["slicer-core"]] == ["5.12.4.0"]
    assert len(locked["vtk"]) == 1
    newer = {name: version for name in ("numpy", "scipy") for version, mark, _ in locked[name] if ">= '3.11'" in mark}
    assert newer["numpy"].startswith("2.4.")
    assert newer["scipy"] == "1.17.1"


def test_bench_lock_agrees_with_the_main_lock():
    locked, bench = _locked("requirements.lock"), _locked("requirements-bench.lock")
    for name in locked.keys() & bench.keys():
        assert locked[name] == bench[name]


@needs_tomllib
def test_lock_holds_every_declared_dependency():
    declared = _PYPROJECT["project"]["dependencies"] + _PYPROJECT["dependency-groups"]["dev"]
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in declared}
    assert names - _locked("requirements.lock").keys() == set()


def test_ci_runs_lint_and_tests():
    script = _PROJECT / ".ci/run"
    assert script.stat().st_mode & 0o111
    text = script.read_text(encoding="utf-8")
    assert "make lint" in text
    assert "make test" in text
