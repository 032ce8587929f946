"""A probe dragged in the scene: time of one update, with and without views, and of the exact plan after the drag."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import slicer

from NETAblationLib.core.planning import plan_by_hand
from NETAblationLib.core.probes import Probe
from NETAblationLib.scene import startup
from NETAblationLib.scene.cases import CaseScene
from NETAblationLib.scene.offscreen import can_render
from NETAblationLib.scene.probe_editing import ProbeEditing
from NETAblationLib.scene.view_windows import BACKGROUNDS, slice_view, space_view
from support.shapes import grid, mask_of, sphere
from support.trunk import trunk

from .bench_live import six_probes

_CENTER, _RADIUS, _MOVES = np.array([25.3, 4.2, -1.7]), 30.0, 40


def _case(probes: list[Probe]) -> ProbeEditing:
    """A case with a lesion of 60 mm and the probes, on voxels of 1 mm, measured."""
    image, liver = trunk()
    tumor = mask_of(sphere(_CENTER, _RADIUS), grid((-8, -30, -36), (60, 38, 34), (1.0, 1.0, 1.0)))
    case = CaseScene.create(tumor, image=image, liver=liver)
    editing = ProbeEditing(case, case.add_lesion("Lesion", tumor))
    request = editing.request("emprint-mwa", 5.0)
    start = time.process_time()
    task = request.prepared()
    print(f"target and surroundings found in {time.process_time() - start:.2f} s of processor time")
    editing.use(task, request)
    plan = plan_by_hand(task, [replace(probe, device="emprint-mwa") for probe in probes])
    editing.accept(plan)
    return editing


def _timed(name: str, editing: ProbeEditing, after: Callable[[], object]) -> None:
    line = slicer.mrmlScene.GetNodeByID(editing.rows[2].node_id)
    markups = slicer.vtkMRMLMarkupsNode
    rng = np.random.default_rng(0)
    line.InvokeCustomModifiedEvent(markups.PointStartInteractionEvent)
    spent = []
    for _ in range(_MOVES):
        place = np.array(line.GetNthControlPointPosition(1)) + rng.normal(0.0, 1.0, 3)
        start = time.process_time(), time.perf_counter()
        line.SetNthControlPointPosition(1, *place.tolist())
        after()
        spent.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    start = time.process_time(), time.perf_counter()
    line.InvokeCustomModifiedEvent(markups.PointEndInteractionEvent)
    rest = time.process_time() - start[0], time.perf_counter() - start[1]
    cpu, wall = np.median(np.array(spent), axis=0) * 1000.0
    print(
        f"{name:36s} {cpu:8.1f} {wall:8.1f} {np.max(np.array(spent)[:, 1]) * 1000.0:8.1f} {1000.0 / wall:10.1f} "
        f"{rest[0] * 1000.0:9.0f} {rest[1] * 1000.0:9.0f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    startup.start_empty()
    editing = _case(six_probes(np.random.default_rng(0)))
    zones = sum(len(row.probe.ablations) for row in editing.rows)
    print(f"{len(editing.rows)} probes with {zones} zones on a lesion of {2 * _RADIUS:g} mm; one end dragged")
    print(
        f"{'shown in':36s} {'CPU ms':>8s} {'wall ms':>8s} {'worst':>8s} {'updates/s':>10s} "
        f"{'rest CPU':>9s} {'wall ms':>9s}"
    )
    _timed("no view", editing, lambda: None)
    if not can_render():
        print("no off-screen OpenGL on this machine: nothing is drawn")
        return
    axes = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with slice_view((500, 400)) as view:
        view.look_at(editing.case.volume, _CENTER, axes, 200.0)
        view.window.Render()
        _timed("a slice view of 500 x 400", editing, view.window.Render)
        with space_view((500, 400), BACKGROUNDS["dark"]) as space:
            space.look_at(_CENTER, np.array([0.0, 1.0, 0.0]), 200.0)
            space.window.Render()

            def both() -> None:
                view.window.Render()
                space.window.Render()

            _timed("a slice and a 3D view, software GL", editing, both)
            start = time.perf_counter()
            for _ in range(_MOVES // 4):
                space.window.Render()
            alone = 1000.0 * (time.perf_counter() - start) / (_MOVES // 4)
            print(f"the 3D view drawn again, nothing moved: {alone:.0f} ms")


if __name__ == "__main__":
    main()
