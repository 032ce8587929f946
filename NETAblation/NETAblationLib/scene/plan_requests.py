"""What planning needs, taken out of the scene: images and masks, on which work goes on beside the scene.

A request holds no node, so that it may be worked on in another thread while the scene is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from ..core.devices import Device
from ..core.entries import SkinRating, rate_entries
from ..core.errors import GeometryError, InputError
from ..core.lobes import Lobes
from ..core.planning import Task, plans_of, prepared
from ..core.plans import Plan
from ..core.probes import Probe
from ..core.progress import ProgressCallback, silent
from ..core.structures import catalogue
from . import segmentations
from .cases import CaseScene
from .provenance import provenance_of

#: The surroundings are known within this of the tumor, in mm, so that a change of the device needs no other survey:
#: the longest shaft of the catalogue. User-set.
REACH_MM = 200.0


@dataclass(frozen=True)
class PlanRequest:
    """Images, masks, device and margin for the probes of one lesion.

    `content` tells what it was taken from (:func:`content_of`): while that is the same, what was prepared holds.
    """

    image: sitk.Image
    tumor: sitk.Image
    liver: sitk.Image
    obstacles: Mapping[str, sitk.Image]
    device: Device
    margin_mm: float
    size_factor: float
    content: Mapping[str, str]

    @classmethod
    def of(
        cls, case: CaseScene, lesion_id: str, *, device: Device, margin_mm: float, size_factor: float = 1.0
    ) -> PlanRequest:
        """Taken from the nodes of a case; raises InputError, saying what to do, where something is missing."""
        liver = case.liver_mask()
        if liver is None:
            raise InputError("segment the liver first: probes are planned through it")
        image, tumor = case.planning_image(), case.tumor_mask(lesion_id)
        obstacles: dict[str, sitk.Image] = {}
        for kind, mask in case.structures().items():
            structure = catalogue().match(kind).structure
            if structure is not None and structure.is_obstacle and np.any(sitk.GetArrayViewFromImage(mask)):
                name = structure.name
                obstacles[name] = sitk.Or(mask, obstacles[name]) if name in obstacles else mask
        content = content_of(case, lesion_id)
        return cls(image, tumor, liver, obstacles, device, margin_mm, size_factor, content)

    def prepared(self, progress: ProgressCallback = silent) -> Task:
        """Find target and surroundings, some seconds of work; raises as :func:`~..core.planning.prepared`."""
        progress(0.0, "target and ways from the skin")
        task = prepared(
            self.image,
            self.tumor,
            self.liver,
            obstacles=self.obstacles,
            device=self.device,
            margin_mm=self.margin_mm,
            size_factor=self.size_factor,
            lobes=self._lobes(),
            reach_mm=REACH_MM,
        )
        progress(1.0, "ready")
        return task

    def _lobes(self) -> Lobes | None:
        gallbladder, cava = self.obstacles.get("gallbladder"), self.obstacles.get("inferior vena cava")
        if gallbladder is None or cava is None:
            return None
        try:
            return Lobes.of_landmarks(gallbladder, cava)
        except GeometryError:
            return None


def content_of(case: CaseScene, lesion_id: str) -> dict[str, str]:
    """What planning image, liver, tumor and the other structures are now, for telling changes in this session."""
    nodes = {
        "planning_image": case.volume,
        "liver_surface": case.liver_model,
        "tumor_surface": case.lesions[lesion_id].tumor_model,
    }
    content = {role: "" if node is None else provenance_of(node).content_hash for role, node in nodes.items()}
    for segment_id in segmentations.segment_ids(case.before):
        if segmentations.segment_kind(case.before, segment_id) not in ("tumor", "lesion", "liver", ""):
            content[segment_id] = str(segmentations.content_time(case.before, segment_id))
    return content


def task_for(task: Task, device: Device, size_factor: float, locked: Sequence[Probe] = ()) -> Task:
    """The task with another device and locked probes, its target and surroundings the same."""
    sized = device if size_factor == 1.0 else device.scaled(size_factor)
    return replace(task, device=sized, size_factor=size_factor, locked=tuple(locked))


def plan_and_alternatives(
    request: PlanRequest,
    task: Task | None,
    locked: Sequence[Probe],
    count: int,
    progress: ProgressCallback = silent,
) -> tuple[Task, tuple[Plan, ...]]:
    """The best plan and up to `count` others, and the task they were made for, prepared here where it is None."""
    if task is None:
        task = request.prepared(progress)
    asked = task_for(task, request.device, request.size_factor, locked)
    return asked, plans_of(asked, count, progress)


def rate_skin(task: Task, beyond_mm: float) -> SkinRating:
    """The skin as the entry to the tumor's center, the tip `beyond_mm` behind it."""
    return rate_entries(task.surroundings, longest_mm=task.longest_mm, beyond_mm=max(beyond_mm, 0.0))
