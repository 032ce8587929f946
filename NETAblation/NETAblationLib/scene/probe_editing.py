"""Probes under the hand: what follows when a line is placed, dragged, changed or deleted.

:class:`ProbeEditing` observes the lines of one lesion. While one is dragged, the zones, their cut in the slices, the
coverage, the predicted margin and the check of its path follow; when the hand rests, the exact united surface of the
zones and the plan's document are written. Lines are free to be dragged only while something follows them.

What is pointed at is the target: a probe is placed with its zone centered there, its tip ahead of that as the device's
setting has it. When the skin end is dragged, the probe turns about the middle of its zones, which stay where they are;
when the tip is dragged, the zones go with it.

The scene stays the case: probes are read from their lines, and all that is kept here is what can be undone, and what
was prepared for measuring (a :class:`~..core.planning.Task`), which is worked out beside the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from ..core.coverage import PlanCoverage
from ..core.devices import Device, ZoneSetting, load_catalogue
from ..core.errors import DeviceError, GeometryError, InputError
from ..core.path_checks import PathCheck
from ..core.placement import DEFAULT_SHAFT_MM
from ..core.planning import Task
from ..core.plans import Plan
from ..core.probes import Probe
from ..core.trajectories import Trajectory, trajectories_of
from . import nodes, probes
from .aiming import SHORTEST_MM, aimed_at, beside, refitted, turned
from .cases import CaseScene
from .live_measures import LiveMeasures
from .nodes import LESION
from .placing import ProbePlacing
from .plan_requests import PlanRequest
from .provenance import Provenance, describe

#: How many changes can be undone. User-set.
_MOST_UNDONE = 100


@dataclass(frozen=True)
class ProbeRow:
    """One probe for the table: its node's id, what it is, how it is placed, and how its path fares (None: not known).

    `is_locked`: it cannot be dragged and automatic planning keeps it.
    """

    node_id: str
    name: str
    probe: Probe
    trajectory: Trajectory
    check: PathCheck | None
    is_locked: bool
    is_visible: bool

    @property
    def setting(self) -> str:
        """The settings of its ablations, each once, in their order."""
        return "; ".join(dict.fromkeys(row.setting for row in self.probe.ablations))


@dataclass(frozen=True)
class _State:
    """All of a line that undoing brings back."""

    node_id: str
    name: str
    probe: Probe
    is_locked: bool
    is_visible: bool


class ProbeEditing:
    """The probes of one lesion of a case while they are edited; see the module. `stop` ends it."""

    def __init__(
        self,
        case: CaseScene,
        lesion_id: str,
        *,
        catalogue: Mapping[str, Device] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Follow the probes of a lesion; `on_change` is called after each change, also while dragging.

        `catalogue` holds the devices (that of the extension by default). Raises KeyError for an unknown lesion.
        """
        self.case = case
        self.lesion_id = lesion_id
        self.catalogue = load_catalogue() if catalogue is None else catalogue
        self._on_change = on_change
        self._lines: list[Any] = []
        self._probes: list[Probe] = []
        self._observed: dict[str, list[int]] = {}
        self._undo: list[tuple[str, tuple[_State, ...]]] = []
        self._dragged = ""
        self._is_own = False
        self._placing: ProbePlacing | None = None
        self._measures = LiveMeasures(case, lesion_id, self._longest_mm)
        lesion = case.lesions[lesion_id]
        self._scene_tags = [
            slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_node_removed),
            slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, lambda *_: self.stop()),
        ]
        for line in lesion.probe_lines:
            line.SetLocked(probes.is_kept(line))
        self._read()

    def stop(self) -> None:
        """Follow no longer; the lines are locked, since nothing would follow them."""
        self.cancel_placing()
        for line in self._lines:
            self._ignore(line)
            if slicer.mrmlScene.IsNodePresent(line):
                line.SetLocked(True)
                probes.show_worked_on(line, False)
        for tag in self._scene_tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._scene_tags, self._lines, self._probes, self._undo = [], [], [], []

    # What there is

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is followed any more, such as after the scene was closed."""
        return not self._scene_tags

    @property
    def rows(self) -> tuple[ProbeRow, ...]:
        """All probes in their order."""
        checks = self._measures.checks or (None,) * len(self._probes)
        ways = trajectories_of(self._probes, catalogue=self.catalogue)
        return tuple(
            ProbeRow(
                line.GetID(),
                line.GetName(),
                probe,
                replace(way, name=line.GetName()),
                check,
                probes.is_kept(line),
                bool(line.GetDisplayVisibility()),
            )
            for line, probe, way, check in zip(self._lines, self._probes, ways, checks, strict=True)
        )

    @property
    def coverage(self) -> PlanCoverage | None:
        """What the probes as they are now cover; None where nothing is prepared for measuring, or there is no zone."""
        return self._measures.coverage

    @property
    def plan(self) -> Plan | None:
        """The plan as it was written when the hand last rested."""
        return self.case.lesions[self.lesion_id].plan

    @property
    def task(self) -> Task | None:
        """What measuring was prepared for; None before, and after image, liver, lesion or obstacles changed."""
        return self._measures.task

    @property
    def locked_probes(self) -> tuple[Probe, ...]:
        """The probes that automatic planning keeps."""
        return tuple(row.probe for row in self.rows if row.is_locked)

    def request(self, device: str, margin_mm: float, size_factor: float = 1.0) -> PlanRequest:
        """What measuring and planning need, taken out of the scene; raises as :meth:`.PlanRequest.of`."""
        chosen = self._device(device)
        return PlanRequest.of(self.case, self.lesion_id, device=chosen, margin_mm=margin_mm, size_factor=size_factor)

    def use(self, task: Task, request: PlanRequest) -> None:
        """Measure from now on with what was prepared of a request, and show the numbers.

        Raises InputError where what the request was taken from has changed since.
        """
        self._measures.use(task, request)
        self._measure_all()
        if self._probes:
            self._settle()
        self._on_change()

    def follow_case(self) -> bool:
        """Whether image, liver, lesion or obstacles changed since measuring was prepared: then the numbers go."""
        if not self._measures.forget_outdated():
            return False
        self._color()
        self._on_change()
        return True

    # Changes

    def add(self, target_ras_mm: npt.ArrayLike, skin_ras_mm: npt.ArrayLike, *, device: str, setting: str) -> ProbeRow:
        """Add a probe from the skin whose zone lies about the target, its tip ahead of that as the setting has it.

        Raises DeviceError for a setting that cannot be planned, GeometryError for points too near to each other.
        """
        probe = self._aimed(target_ras_mm, skin_ras_mm, device, setting)
        with self._change("add a probe"):
            self._append(_State("", self._free_name(), probe, False, True))
        return self.rows[-1]

    def adopt(self, line: Any, *, device: str, setting: str) -> ProbeRow:
        """Take a line that was drawn as a probe: its first point is the target, its second the skin.

        A line under a transform is hardened. Raises GeometryError for a line without both points; then and for a
        setting that cannot be planned (DeviceError) the line stays as it is.
        """
        if line in self._lines:
            raise InputError(f"{line.GetName()}: is a probe of this lesion already")
        target, skin = probes.probe_ends_in_world(line)
        probe = self._aimed(target, skin, device, setting)
        with self._change("add a probe"):
            if line.GetParentTransformNode() is not None:
                line.HardenTransform()
            name = line.GetName() if line.GetAttribute(LESION) is None and self._placing is None else ""
            self._make_probe(line, _State(line.GetID(), name or self._free_name(), probe, False, True))
            self._take(line, probe)
        return self.rows[-1]

    def duplicate(self, node_id: str) -> ProbeRow:
        """Add a copy of a probe beside it, parallel to it."""
        probe = self._probes[self._index(node_id)]
        with self._change("duplicate a probe"):
            self._append(_State("", self._free_name(), beside(probe), False, True))
        return self.rows[-1]

    def delete(self, node_id: str) -> None:
        """Delete a probe."""
        line = self._lines[self._index(node_id)]
        with self._change(f"delete {line.GetName()}"):
            self._drop(line)

    def move(self, node_id: str, entry_ras_mm: npt.ArrayLike, tip_ras_mm: npt.ArrayLike) -> None:
        """Move a probe, its zones with the tip; raises GeometryError for ends that are no probe."""
        index = self._index(node_id)
        moved = self._probes[index].with_ends(entry_ras_mm, tip_ras_mm)
        with self._change(f"move {self._lines[index].GetName()}"):
            probes.update_probe(self._lines[index], moved.entry_ras_mm, moved.tip_ras_mm)
            self._probes[index] = moved

    def set_setting(self, node_id: str, device: str, setting: str) -> None:
        """Give a probe another device or setting: zones about the centers of those it had, the tip as that needs."""
        index = self._index(node_id)
        made = refitted(self._probes[index], self._setting(device, setting), device)
        with self._change(f"set the device of {self._lines[index].GetName()}"):
            probes.update_probe(self._lines[index], made.entry_ras_mm, made.tip_ras_mm)
            self._probes[index] = made

    def set_locked(self, node_id: str, is_locked: bool) -> None:
        """Lock a probe, so that it cannot be dragged and planning keeps it, or free it."""
        probes.keep(self._lines[self._index(node_id)], is_locked)
        self._on_change()

    def set_visible(self, node_id: str, is_visible: bool) -> None:
        """Show or hide a probe's line."""
        self._lines[self._index(node_id)].SetDisplayVisibility(is_visible)
        self._on_change()

    def accept(self, plan: Plan) -> None:
        """Put a plan in the place of the probes; its locked ones stay locked."""
        self._remember("accept the plan")
        with self._own_changes():
            for line in self._lines:
                self._ignore(line)
            self.case.replace_plan(self.lesion_id, plan)
            lesion = self.case.lesions[self.lesion_id]
            for number, line in enumerate(lesion.probe_lines):
                # The scene never gives a name twice, even after its node is gone.
                line.SetName(f"{lesion.name} probe {number + 1}")
                probes.keep(line, number < plan.locked_count)
        self._read()
        self._on_change()

    @property
    def undo_text(self) -> str:
        """What `undo` would undo, in words; empty where there is nothing."""
        return self._undo[-1][0] if self._undo else ""

    def undo(self) -> None:
        """Take the last change back."""
        if not self._undo:
            raise InputError("there is nothing to undo")
        _, states = self._undo.pop()
        with self._own_changes():
            kept = {state.node_id for state in states}
            for line in [line for line in self._lines if line.GetID() not in kept]:
                self._drop(line)
            by_id = {line.GetID(): line for line in self._lines}
            for state in states:
                line = by_id.get(state.node_id)
                if line is None:
                    self._append(state)
                else:
                    self._make_probe(line, state)
                    self._probes[self._lines.index(line)] = state.probe
        self._after_change()

    # Placing by two clicks

    @property
    def is_placing(self) -> bool:
        """Whether the next clicks in the views place a probe."""
        return self._placing is not None

    @property
    def is_target_placed(self) -> bool:
        """Whether the first of the two clicks, the target, was made."""
        return self._placing is not None and self._placing.is_target_placed

    def begin_placing(self, device: str, setting: str) -> Any:
        """Let the next two clicks place a probe, the first at its target, the second at the skin; returns its line.

        The target is where the center of its zone will lie.
        Raises DeviceError for a setting that cannot be planned.
        """
        self._setting(device, setting)
        self.cancel_placing()
        self._placing = ProbePlacing(
            self._free_name(), self._on_change, lambda line: self._on_placed(line, device, setting)
        )
        return self._placing.line

    def cancel_placing(self) -> None:
        """Place no probe after all; does nothing where none is being placed."""
        if self._placing is None:
            return
        placing, self._placing = self._placing, None
        placing.end()
        nodes.remove_nodes(placing.line)
        self._on_change()

    def _on_placed(self, line: Any, device: str, setting: str) -> None:
        self._placing = None
        try:
            line.SetName(self._free_name())
            self.adopt(line, device=device, setting=setting)
        except GeometryError:
            nodes.remove_nodes(line)  # both clicks at one place
            self._on_change()

    # Following

    def _read(self) -> None:
        """Take the probes as the scene has them."""
        for line in self._lines:
            self._ignore(line)
        self._lines, self._probes = [], []
        for line in self.case.lesions[self.lesion_id].probe_lines:
            self._take(line, probes.read_probe(line))
        self._measure_all()

    def _take(self, line: Any, probe: Probe) -> None:
        """Follow a line from now on."""
        probes.show_worked_on(line, True)
        self._lines.append(line)
        self._probes.append(probe)
        markups = slicer.vtkMRMLMarkupsNode
        self._observed[line.GetID()] = [
            line.AddObserver(event, handler)
            for event, handler in (
                (markups.PointStartInteractionEvent, self._on_drag_start),
                (markups.PointModifiedEvent, self._on_moved),
                (markups.PointEndInteractionEvent, self._on_drag_end),
            )
        ]

    def _ignore(self, line: Any) -> None:
        for tag in self._observed.pop(line.GetID(), []):
            line.RemoveObserver(tag)

    def _on_drag_start(self, line: Any, _: str) -> None:
        if self._is_own or line not in self._lines:
            return
        self._remember(f"move {line.GetName()}")
        self._dragged = line.GetID()

    def _on_moved(self, line: Any, _: str) -> None:
        if self._is_own or line not in self._lines or line.GetNumberOfDefinedControlPoints() < 2:
            return
        entry, tip = probes.probe_ends_in_world(line)
        index = self._lines.index(line)
        probe = self._probes[index]
        if np.linalg.norm(tip - entry) < SHORTEST_MM or (
            np.array_equal(entry, probe.entry_ras_mm) and np.array_equal(tip, probe.tip_ras_mm)
        ):
            return
        if np.array_equal(tip, probe.tip_ras_mm):
            moved = turned(probe, entry)
            if moved is None:
                return
            with self._own_changes():
                probes.update_probe(line, moved.entry_ras_mm, moved.tip_ras_mm)
        else:
            moved = probe.with_ends(entry, tip)
        if not self._dragged:
            self._remember(f"move {line.GetName()}")
        self._probes[index] = moved
        self._show_moved(index)
        if not self._dragged:
            self._settle()
        self._on_change()

    def _on_drag_end(self, line: Any, _: str) -> None:
        if line.GetID() != self._dragged:
            return
        self._dragged = ""
        index = self._lines.index(line)
        moved = self._probes[index]
        with self._own_changes():  # where the ends had come too near to each other, the last good place
            probes.update_probe(line, moved.entry_ras_mm, moved.tip_ras_mm)
        if self._undo and any(s.node_id == line.GetID() and s.probe == moved for s in self._undo[-1][1]):
            self._undo.pop()  # a click without a drag
            return
        self._settle()
        self._on_change()

    def _on_node_removed(self, *_: Any) -> None:
        scene = slicer.mrmlScene
        if self._is_own or scene.IsClosing() or scene.IsBatchProcessing():
            return
        if self._placing is not None and not scene.IsNodePresent(self._placing.line):
            self._placing.end()
            self._placing = None
        gone = [line for line in self._lines if not scene.IsNodePresent(line)]
        if gone:
            self._remember(f"delete {gone[0].GetName()}")
            for line in gone:
                self._forget(line)
            self._after_change()

    def _show_moved(self, index: int) -> None:
        """What follows a probe at each step of a drag."""
        self._measures.move(index, self._probes)
        self._color(index)

    # Writing

    @contextmanager
    def _change(self, text: str) -> Iterator[None]:
        """A change that can be undone; where it fails, nothing is remembered."""
        self._remember(text)
        try:
            with self._own_changes():
                yield
        except Exception:
            self._undo.pop()
            raise
        self._after_change()

    def _after_change(self) -> None:
        self._measure_all()
        self._settle()
        self._on_change()

    @contextmanager
    def _own_changes(self) -> Iterator[None]:
        was_own, self._is_own = self._is_own, True
        try:
            yield
        finally:
            self._is_own = was_own

    def _remember(self, text: str) -> None:
        self._undo.append((text, tuple(self._states())))
        del self._undo[:-_MOST_UNDONE]

    def _states(self) -> list[_State]:
        return [
            _State(line.GetID(), line.GetName(), probe, probes.is_kept(line), bool(line.GetDisplayVisibility()))
            for line, probe in zip(self._lines, self._probes, strict=True)
        ]

    def _append(self, state: _State) -> None:
        """Add a line for a probe."""
        line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode")
        line.CreateDefaultDisplayNodes()
        self._make_probe(line, state)
        self._take(line, state.probe)

    def _make_probe(self, line: Any, state: _State) -> None:
        """Make a line what a state says."""
        line.SetName(state.name)
        probes.make_probe_of(line, state.probe)
        probes.keep(line, state.is_locked)
        line.SetDisplayVisibility(state.is_visible)
        lesion = self.case.lesions[self.lesion_id]
        describe(line, Provenance("probe", inputs=() if lesion.plan_node is None else (lesion.plan_node,)))
        lesion.own(line)

    def _drop(self, line: Any) -> None:
        self._forget(line)
        nodes.remove_nodes(line)

    def _forget(self, line: Any) -> None:
        index = self._lines.index(line)
        self._ignore(line)
        del self._lines[index], self._probes[index]

    def _measure_all(self) -> None:
        """Numbers and meshes of all probes anew."""
        self._measures.measure(self._probes)
        self._color()

    def _color(self, index: int | None = None) -> None:
        """The lines, or one of them, in the color of their path's grade."""
        checks = self._measures.checks
        for number in range(len(self._lines)) if index is None else (index,):
            probes.show_grade(self._lines[number], checks[number].grade if checks else None)

    def _settle(self) -> None:
        """Write the exact surface of all zones and the plan, once the hand rests."""
        for line, probe in zip(self._lines, self._probes, strict=True):
            probes.write_zones(line, probe)
        self._measures.settle(self._probes)

    # Pieces

    def _index(self, node_id: str) -> int:
        for index, line in enumerate(self._lines):
            if line.GetID() == node_id:
                return index
        raise InputError(f"'{node_id}' is no probe of this lesion")

    def _free_name(self) -> str:
        """The name of the next probe: that of the lesion and the first number that is free."""
        taken = {line.GetName() for line in self._lines}
        lesion = self.case.lesions[self.lesion_id].name
        number = next(n for n in range(1, len(taken) + 2) if f"{lesion} probe {n}" not in taken)
        return f"{lesion} probe {number}"

    def _device(self, device: str) -> Device:
        if device not in self.catalogue:
            raise DeviceError(f"device '{device}' is not in the catalogue: choose one of {', '.join(self.catalogue)}")
        return self.catalogue[device]

    def _setting(self, device: str, setting: str) -> ZoneSetting:
        """A setting that can be planned, its zone as large as the task takes zones to be."""
        chosen = self._device(device)
        factor = 1.0 if self.task is None else self.task.request.size_factor
        found = (chosen if factor == 1.0 else chosen.scaled(factor)).setting(setting)
        if not found.is_plannable:
            raise DeviceError(
                f"device '{device}', setting '{setting}': its source does not give both axes and the zone's place; "
                "choose another setting"
            )
        return found

    def _aimed(self, target: npt.ArrayLike, skin: npt.ArrayLike, device: str, setting: str) -> Probe:
        return aimed_at(self._setting(device, setting), target, skin, device)

    def _longest_mm(self, probe: Probe) -> float:
        """The longest way that a probe of its device can go."""
        device = self.catalogue.get(probe.device)
        return DEFAULT_SHAFT_MM if device is None or device.shaft_length_mm is None else device.shaft_length_mm
