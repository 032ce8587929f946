"""Points and surfaces from the moving frame into the fixed one, against the direction of the transform.

A transform of fusion maps fixed to moving points, as the resampling of images needs it; points of the moving frame
are taken back by Newton's method, each by itself. Images and masks: :mod:`.resampling`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from . import frames
from .carry import require_3d
from .documents import read_json, write_json, written_whole
from .errors import FormatError, GeometryError, InputError

FloatArray = npt.NDArray[np.float64]

POINT_SUFFIXES = (".csv", ".mrk.json")
SURFACE_SUFFIXES = (".vtp",)

#: How far from its place a point may be mapped in the end, in mm, and steps until then; far below any voxel.
_CLOSE_MM, _STEPS = 1e-3, 40
#: Step of the finite differences, in mm: below the voxels of displacement fields. User-set.
_DERIVATIVE_STEP_MM = 0.5
#: Longest step in mm, so that a fold cannot throw a point far away. User-set.
_LONGEST_STEP_MM = 200.0


def points_to_fixed(fixed_to_moving: sitk.Transform, points_ras_mm: npt.ArrayLike) -> FloatArray:
    """The points of the fixed frame that the transform takes to points (N, 3) of the moving one, RAS mm; (N, 3).

    Exact for linear transforms, else within 0.001 mm. Raises GeometryError for a transform that is not 3D, and where a
    point has no such place: the transform is folded or flat there.
    """
    require_3d(fixed_to_moving)
    target = frames.as_points(points_ras_mm)
    if fixed_to_moving.IsLinear():
        try:
            return frames.transform_points(fixed_to_moving.GetInverse(), target)
        except RuntimeError as error:
            raise GeometryError("transform: it is flat, so no point can be taken back through it") from error
    found = target.copy()
    left = np.arange(len(target))
    for _ in range(_STEPS):
        miss = frames.transform_points(fixed_to_moving, found[left]) - target[left]
        is_far = np.linalg.norm(miss, axis=1) > _CLOSE_MM
        left, miss = left[is_far], miss[is_far]
        if not len(left):
            return found
        found[left] -= _steps(fixed_to_moving, found[left], miss)
    raise GeometryError(
        f"transform: {len(left)} of {len(target)} points cannot be taken back through it: it is folded there, or they "
        "lie outside of what it maps"
    )


def _steps(transform: sitk.Transform, points: FloatArray, miss: FloatArray) -> FloatArray:
    """Newton's step (N, 3) at each of the points (N, 3)."""
    offsets = _DERIVATIVE_STEP_MM * np.concatenate([np.eye(3), -np.eye(3)])
    around = frames.transform_points(transform, (points[:, None] + offsets).reshape(-1, 3)).reshape(-1, 6, 3)
    jacobian = np.swapaxes(around[:, :3] - around[:, 3:], 1, 2) / (2 * _DERIVATIVE_STEP_MM)
    is_flat = ~(np.abs(np.linalg.det(jacobian)) > 1e-6)
    jacobian[is_flat] = np.eye(3)
    step = np.linalg.solve(jacobian, miss[:, :, None])[:, :, 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, _LONGEST_STEP_MM / np.maximum(length, 1e-12)))


def warp_surface_file(source: str | Path, fixed_to_moving: sitk.Transform | None, out: str | Path) -> int:
    """Carry the points of a .vtp surface (RAS mm) into the fixed frame; all else stays. Returns how many points.

    Raises InputError or FormatError, naming the file, where it cannot be read or written.
    """
    source = Path(source)
    if not source.is_file():
        raise InputError(f"{source}: no such file")
    reader = vtk.vtkXMLPolyDataReader()
    if not reader.CanReadFile(str(source)):
        raise FormatError(f"{source}: not a VTK surface (.vtp)")
    reader.SetFileName(str(source))
    reader.Update()
    data = reader.GetOutput()
    if not data.GetNumberOfPoints():
        raise FormatError(f"{source}: the surface has no point")
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64)
    moved = points if fixed_to_moving is None else points_to_fixed(fixed_to_moving, points)
    holder = vtk.vtkPoints()
    holder.SetDataTypeToDouble()
    holder.SetData(numpy_to_vtk(np.ascontiguousarray(moved), deep=True))
    data.SetPoints(holder)
    data.GetPointData().SetNormals(None)  # those of the surface before
    with written_whole(out) as partial:
        writer = vtk.vtkXMLPolyDataWriter()
        writer.SetFileName(str(partial))
        writer.SetInputData(data)
        if not writer.Write():
            raise InputError(f"{out}: cannot be written")
    return len(points)


def warp_points_file(source: str | Path, fixed_to_moving: sitk.Transform | None, out: str | Path) -> int:
    """Carry points into the fixed frame; returns how many.

    A .csv has three columns R, A, S in mm, the first row a heading or not; an .mrk.json is a markups file of 3D Slicer,
    of which all but the positions stays. Raises InputError or FormatError, naming the file; source and `out` are of
    one kind.
    """
    source, out = Path(source), Path(out)
    suffix = next((s for s in POINT_SUFFIXES if source.name.lower().endswith(s)), None)
    if suffix is None or not out.name.lower().endswith(suffix):
        raise FormatError(f"{source}, {out}: points are files of one kind, {' or '.join(POINT_SUFFIXES)}")

    def moved(points: FloatArray) -> FloatArray:
        return points if fixed_to_moving is None else points_to_fixed(fixed_to_moving, points)

    if suffix == ".csv":
        points = _read_csv(source)
        with written_whole(out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("r_mm", "a_mm", "s_mm"))
            writer.writerows(moved(points).tolist())
        return len(points)
    document = read_json(source)
    count = 0
    try:
        for markup in document["markups"]:
            sign = np.array([1.0, 1.0, 1.0]) if markup.get("coordinateSystem") == "RAS" else np.array([-1.0, -1.0, 1.0])
            controls = [row for row in markup["controlPoints"] if row.get("position") is not None]
            if controls:
                positions = np.array([row["position"] for row in controls], dtype=np.float64) * sign
                for row, place in zip(controls, (moved(positions) * sign).tolist(), strict=True):
                    row["position"] = place
            count += len(controls)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{source}: not a markups file of 3D Slicer ({error!r})") from error
    write_json(document, out)
    return count


def _read_csv(path: Path) -> FloatArray:
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return frames.as_points([[float(cell) for cell in row] for row in rows[_has_heading(rows) :]], str(path))
    except ValueError as error:
        raise FormatError(f"{path}: expected rows of R, A, S in mm ({error})") from error


def _has_heading(rows: list[list[str]]) -> bool:
    try:
        float(rows[0][0])
    except ValueError:
        return True
    except IndexError:
        return False
    return False
