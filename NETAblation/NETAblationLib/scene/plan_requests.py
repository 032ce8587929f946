"""What planning needs, taken out of the scene: images and masks, on which work goes on beside the scene.

A request holds no node, so that it may be worked on in another thread while the scene is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import slicer

from ..core.devices import Device
from ..core.entries import SkinRating, rate_entries
from ..core.errors import GeometryError, InputError
from ..core.lobes import Lobes
from ..core.planning import Request, Task, plans_of
from ..core.plans import Plan
from ..core.probes import Probe
from ..core.progress import ProgressCallback, silent
from ..core.structures import catalogue
from ..core.surveys import Scan, Survey
from . import segmentations
from .cases import CaseScene
from .provenance import provenance_of


class _LastSurvey:
    """The CT that was looked into last: all lesions of a patient and all devices share it until the scene closes."""

    content: Mapping[str, str] | None = None
    survey: Survey | None = None
    _observer: int | None = None

    @classmethod
    def forget_with_scene(cls) -> None:
        """Let go of the survey, some hundred megabytes, once the scene is closed."""
        if cls._observer is None:
            scene = slicer.mrmlScene
            cls._observer = scene.AddObserver(scene.StartCloseEvent, lambda *_: cls._forget())

    @classmethod
    def _forget(cls) -> None:
        cls.content = cls.survey = None


@dataclass(frozen=True)
class PlanRequest:
    """What is `asked` for the probes of one lesion, with images and masks; `tumors` are those of all lesions.

    `content` tells what it was taken from (:func:`content_of`): while that is the same, what was prepared holds.
    """

    scan: Scan
    tumor: sitk.Image
    tumors: tuple[sitk.Image, ...]
    asked: Request
    content: Mapping[str, str]

    @classmethod
    def of(
        cls, case: CaseScene, lesion_id: str, *, device: Device, margin_mm: float, size_factor: float = 1.0
    ) -> PlanRequest:
        """Taken from the nodes of a case; raises InputError, saying what to do, where something is missing."""
        _LastSurvey.forget_with_scene()
        liver = case.liver_mask()
        if liver is None:
            raise InputError("segment the liver first: probes are planned through it")
        image, tumor = case.planning_image(), case.tumor_mask(lesion_id)
        tumors = tuple(case.tumor_mask(lesion) for lesion in case.lesions)
        obstacles: dict[str, sitk.Image] = {}
        for kind, mask in case.structures().items():
            structure = catalogue().match(kind).structure
            if structure is not None and structure.is_obstacle and np.any(sitk.GetArrayViewFromImage(mask)):
                name = structure.name
                obstacles[name] = sitk.Or(mask, obstacles[name]) if name in obstacles else mask
        scan = Scan(image, liver, obstacles, lobes=_lobes(obstacles, image))
        return cls(scan, tumor, tumors, Request(device, margin_mm, size_factor), content_of(case))

    def prepared(self, progress: ProgressCallback = silent) -> Task:
        """Find target and surroundings, some seconds of work; raises as :meth:`~..core.planning.Task.of`."""
        progress(0.0, "ways from the skin")
        survey = self._survey()
        progress(0.8, "target")
        task = Task.of(survey, self.tumor, self.asked)
        progress(1.0, "ready")
        return task

    def _survey(self) -> Survey:
        """What was found around the liver, once for as long as image, masks and tumors stay as they are."""
        if _LastSurvey.survey is None or _LastSurvey.content != self.content:
            tumors = [tumor for tumor in self.tumors if np.any(sitk.GetArrayViewFromImage(tumor))]
            _LastSurvey.content, _LastSurvey.survey = self.content, Survey.of(self.scan, tumors)
        return _LastSurvey.survey


def _lobes(obstacles: Mapping[str, sitk.Image], image: sitk.Image) -> Lobes | None:
    gallbladder, cava = obstacles.get("gallbladder"), obstacles.get("inferior vena cava")
    if gallbladder is None or cava is None:
        return None
    try:
        return Lobes.of_landmarks(gallbladder, cava, image)
    except GeometryError:
        return None


def content_of(case: CaseScene) -> dict[str, str]:
    """What planning image, liver, tumors and the other structures are now, for telling changes in this session."""
    nodes = {"planning_image": case.volume, "liver_surface": case.liver_model}
    nodes |= {lesion_id: lesion.tumor_model for lesion_id, lesion in case.lesions.items()}
    content = {name: "" if node is None else provenance_of(node).content_hash for name, node in nodes.items()}
    for segment_id in segmentations.segment_ids(case.before):
        if segmentations.segment_kind(case.before, segment_id) not in ("tumor", "lesion", "liver", ""):
            content[segment_id] = str(segmentations.content_time(case.before, segment_id))
    return content


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
    task = task.with_device(request.asked.device, request.asked.size_factor, locked)
    return task, plans_of(task, count, progress)


def rate_skin(task: Task, beyond_mm: float) -> SkinRating:
    """The skin as the entry to the tumor's center, the tip `beyond_mm` behind it."""
    return rate_entries(task.surroundings, longest_mm=task.request.longest_mm, beyond_mm=max(beyond_mm, 0.0))
