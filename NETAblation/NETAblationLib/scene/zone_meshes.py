"""The zones of probes as one model that can follow a moving hand.

Each zone is a ball of points stretched to its axes: moving a probe moves the points of its zones in place. Where
zones overlap, their surfaces run through each other; the exact united surface takes the place when the hand rests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from ..core.probes import Probe

FloatArray = npt.NDArray[np.float64]

#: Meridians and parallels of a ball. User-set: zones of 40 mm are drawn within 0.3 mm.
_RESOLUTION = (32, 24)


class ZoneMeshes:
    """The zones of some probes in one vtkPolyData, whose points are moved in place."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        """Make the mesh of all zones."""
        self._unit, triangles = _ball()
        count = sum(len(probe.ablations) for probe in probes)
        size = len(self._unit)
        self._first = np.cumsum([0, *(len(probe.ablations) for probe in probes)]) * size
        every = (np.arange(count)[:, None, None] * size + triangles[None]).reshape(-1, 3)
        cells = vtk.vtkCellArray()
        cells.SetData(3, numpy_to_vtkIdTypeArray(np.ascontiguousarray(every.ravel(), dtype=np.int64), deep=True))
        points = vtk.vtkPoints()
        points.SetData(numpy_to_vtk(np.zeros((count * size, 3), dtype=np.float32), deep=True))
        normals = numpy_to_vtk(np.zeros((count * size, 3), dtype=np.float32), deep=True)
        normals.SetName("Normals")
        self.data = vtk.vtkPolyData()
        self.data.SetPoints(points)
        self.data.SetPolys(cells)
        self.data.GetPointData().SetNormals(normals)
        self._points, self._normals = vtk_to_numpy(points.GetData()), vtk_to_numpy(normals)
        for index, probe in enumerate(probes):
            self._place(index, probe)

    def move(self, index: int, probe: Probe) -> None:
        """Put the zones of a probe, as many as it had, in the place of its zones so far."""
        self._place(index, probe)
        self.data.GetPoints().GetData().Modified()
        self.data.GetPoints().Modified()
        self.data.GetPointData().GetNormals().Modified()
        self.data.Modified()

    def _place(self, index: int, probe: Probe) -> None:
        along = probe.direction
        beside = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
        beside /= np.linalg.norm(beside)
        frame = np.stack([beside, np.cross(along, beside), along])
        start, size = int(self._first[index]), len(self._unit)
        for row in probe.ablations:
            half = 0.5 * np.array([row.short_axis_mm, row.short_axis_mm, row.long_axis_mm])
            self._points[start : start + size] = (self._unit * half) @ frame + row.center_ras_mm
            normals = (self._unit / half) @ frame
            self._normals[start : start + size] = normals / np.linalg.norm(normals, axis=1, keepdims=True)
            start += size


def _ball() -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Points (N, 3) and triangles (M, 3) of the unit ball."""
    source = vtk.vtkSphereSource()
    source.SetRadius(1.0)
    source.SetThetaResolution(_RESOLUTION[0])
    source.SetPhiResolution(_RESOLUTION[1])
    source.Update()
    data = source.GetOutput()
    triangles = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64), triangles.astype(np.int64)
