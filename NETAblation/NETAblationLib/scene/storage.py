"""Cases on disk: the whole scene as one bundle (.mrb) or as a scene file with its data (.mrml).

A file is replaced only when the new one is whole, and a scene is replaced only by a file that was
read without an error.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import ComputationError, InputError
from .messages import captured_messages
from .provenance import ROLE
from .transforms import use_linear_interpolation

#: Name under which a scene is written before it gets its own: Slicer cuts names at a dot and lets
#: an ampersand break the scene file.
_PLAIN_NAME = "scene"

#: What Slicer writes as %.. in the file names of a scene file (vtkMRMLNode::URLEncodeString).
_SLICER_ENCODED: dict[str, str | int | None] = {character: f"%{ord(character):02X}" for character in "% '><\""}

#: What a folder's name must not hold: % itself, what XML reserves, what Windows forbids.
_NOT_IN_FOLDER_NAMES: dict[str, str | int | None] = {
    character: f"%{ord(character):02X}" for character in "%&<>\"'*?|:\\/"
}


#: Slicer says so of each slice view that stood freely, as along a needle, when the scene was saved; it reads it well.
_FREE_SLICE = "invalid orientation preset name: Reformat"


def save_scene(path: str | Path) -> Path:
    """Save the whole scene; the ending chooses between one file (.mrb) and scene plus data (.mrml).

    case.mrml keeps its data in the folder "case_Data" beside it. The scene's own file names stay as
    they are. Raises InputError for another ending or a place that is not writable, ComputationError
    where Slicer cannot write; in each case what was there before stays untouched.
    """
    path = _absolute(path)
    if path.suffix.lower() not in (".mrb", ".mrml"):
        raise InputError(f"{path.name}: a scene is saved as .mrb (one file) or .mrml (scene and data folder)")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder")
    with _working_folder(path) as folder:
        if path.suffix.lower() == ".mrb":
            _write_bundle(folder / f"{_PLAIN_NAME}.mrb")
            (folder / f"{_PLAIN_NAME}.mrb").replace(path)
        else:
            _write_with_data(folder / _PLAIN_NAME)
            _rename_data(folder / _PLAIN_NAME, path)
            _replace_all(folder / _PLAIN_NAME, path.parent)
    return path


def load_scene(path: str | Path, *, clear: bool = True) -> None:
    """Load a scene saved as .mrb or .mrml, in place of the present one or, with `clear` False, added.

    The file is first read into a scene aside. Raises InputError for a file that is missing, damaged
    or lacks data; the present scene then stays as it was.
    """
    path = _absolute(path)
    if path.suffix.lower() not in (".mrb", ".mrml"):
        raise InputError(f"{path.name}: not a scene (.mrb or .mrml)")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix.lower() == ".mrb":
        _check_bundle(path)
    _read(path, _scene_aside(), clear=True)
    _read(path, slicer.mrmlScene, clear=clear)
    _follow_itk(slicer.mrmlScene)


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


@contextmanager
def _working_folder(path: Path) -> Iterator[Path]:
    """A folder on the disk of `path`, so that moving out of it is one step; removed at the end."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".netablation-", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        yield folder
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_bundle(file: Path) -> None:
    scene, reported = slicer.mrmlScene, slicer.vtkMRMLMessageCollection()
    with captured_messages() as messages:
        written = scene.WriteToMRB(str(file), None, reported)
        # The data went through a folder that is gone, so a later save must write it again.
        scene.SetStorableNodesModifiedSinceRead()
        messages.raise_if_failed(
            written and file.is_file(), f"{file.name}: cannot be saved", ComputationError, _text(reported)
        )


def _write_with_data(folder: Path) -> None:
    """Write <folder>/<name>.mrml with its data in folders beside it."""
    folder.mkdir()
    scene, reported = slicer.mrmlScene, slicer.vtkMRMLMessageCollection()
    with captured_messages() as messages:
        written = scene.SaveSceneToSlicerDataBundleDirectory(str(folder), None, reported)
        scene.SetStorableNodesModifiedSinceRead()
        messages.raise_if_failed(written, "the scene cannot be saved", ComputationError, _text(reported))


def _rename_data(folder: Path, path: Path) -> None:
    """Give the scene file in `folder` the name of `path`, and its data folders names after it."""
    file = folder / f"{_PLAIN_NAME}.mrml"
    text = file.read_text(encoding="utf-8")
    stem = path.stem.translate(str.maketrans(_NOT_IN_FOLDER_NAMES))
    for old, new in (("Data", f"{stem}_Data"), (f"{_PLAIN_NAME}_Private", f"{stem}_Private")):
        if (folder / old).is_dir():
            (folder / old).rename(folder / new)
            encoded = new.translate(str.maketrans(_SLICER_ENCODED))
            text = re.sub(rf'\b(fileName|fileListMember\d+)="{old}/', rf'\1="{encoded}/', text)
    file.write_text(text, encoding="utf-8")
    file.replace(folder / path.name)


def _replace_all(source: Path, destination: Path) -> None:
    """Move everything in `source` to `destination`, or, where a step fails, put all back as it was."""
    aside = source.parent / "replaced"
    aside.mkdir()
    moved: list[Path] = []
    kept: list[Path] = []
    try:
        for item in sorted(source.iterdir()):
            target = destination / item.name
            if target.exists():
                target.rename(aside / item.name)
                kept.append(target)
            item.rename(target)
            moved.append(target)
    except OSError:
        for target in moved:
            target.rename(source / target.name)
        for target in kept:
            (aside / target.name).rename(target)
        raise


def _check_bundle(path: Path) -> None:
    """Refuse an archive that is damaged or holds no scene before Slicer unpacks it."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise InputError(f"{path}: damaged or not a scene bundle ({error})") from error
    except Exception as error:  # a damaged stream raises zlib.error or struct.error, by Python version
        raise InputError(f"{path}: damaged ({error})") from error
    if damaged is not None:
        raise InputError(f"{path}: damaged; '{damaged}' in it cannot be read")
    if not any(name.endswith(".mrml") for name in names):
        raise InputError(f"{path}: holds no scene (.mrml)")


def _scene_aside() -> Any:
    """An empty scene that knows the same node classes as the present one."""
    aside = slicer.vtkMRMLScene()
    slicer.mrmlScene.CopyDefaultNodesToScene(aside)
    slicer.mrmlScene.CopyRegisteredNodesToScene(aside)
    slicer.mrmlScene.CopySingletonNodesToScene(aside)
    aside.SetDataIOManager(slicer.mrmlScene.GetDataIOManager())
    return aside


def _read(path: Path, scene: Any, *, clear: bool) -> None:
    reported = slicer.vtkMRMLMessageCollection()
    with captured_messages(expected=(_FREE_SLICE,)) as messages:
        if path.suffix.lower() == ".mrb":
            done = scene.ReadFromMRB(str(path), clear, reported)
        else:
            scene.SetURL(str(path))
            done = scene.Connect(reported) if clear else scene.Import(reported)
        messages.raise_if_failed(done, f"{path}: cannot be loaded as a scene", InputError, _text(reported))


def _text(reported: Any) -> str:
    return str(reported.GetAllMessagesAsString()).strip()


def _follow_itk(scene: Any) -> None:
    """Slicer interpolates every displacement field it reads cubically; ours are linear as in ITK."""
    nodes = scene.GetNodesByClass("vtkMRMLTransformNode")
    nodes.UnRegister(None)
    for index in range(nodes.GetNumberOfItems()):
        node = nodes.GetItemAsObject(index)
        if node.GetAttribute(ROLE):
            use_linear_interpolation(node)
