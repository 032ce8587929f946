"""A treatment in the scene: its images, segmentations, probes and margins, and their pictures.

The world is the frame of the planning image (fixed). What was segmented after ablation lies
under the transform node, so that it shows at its place before ablation without being resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import slicer

from ..core import frames
from ..core.errors import InputError
from ..core.images import image_hash
from ..core.lesion_measures import split_labels
from ..core.margins import MarginResult
from ..core.plans import Plan
from ..core.probes import zone_surface
from ..core.report import LesionSection, Picture, render_report, write_report
from ..core.surfaces import mask_surface
from . import (
    documents,
    nodes,
    offscreen,
    points,
    probes,
    segmentations,
    startup,
    storage,
    surfaces,
    transforms,
    views,
    volumes,
)
from .provenance import Provenance, is_stale, nodes_with_role
from .terminology import term

#: Spacing at which a transform that is neither linear nor a field is sampled for Slicer, in mm;
#: well below the control spacing of registrations of the liver (20 to 50 mm). User-set.
_SAMPLING_MM = 4.0

#: Tissue shown around a lesion in its pictures, in mm, and their size in pixels. User-set.
_SURROUNDINGS_MM = 45.0
_SLICE_PIXELS = (720, 720)
_SPACE_PIXELS = (900, 720)

#: The axis (R, A, S) at right angles to each orientation of slices.
_PLANE_NORMALS = {"axial": 2, "coronal": 1, "sagittal": 0}

_PLANNED_ZONE_OPACITY = 0.28
_LIVER_OPACITY = 0.16

NO_PICTURES = "no off-screen OpenGL on this machine: the report has no pictures (Debian: libegl1, libgl1-mesa-dri)"


@dataclass
class LesionNodes:
    """The nodes of one lesion; what it does not have is None or empty."""

    name: str
    tumor_center_ras_mm: npt.NDArray[np.float64]
    extent_mm: float
    tumor_segment: str
    zone_segment: str | None = None
    probe_lines: tuple[Any, ...] = ()
    planned_zone: Any = None
    tumor_model: Any = None
    margin: surfaces.MarginModels | None = None
    mam_point: Any = None
    margin_result: MarginResult | None = None
    plan: Plan | None = None


@dataclass
class CaseScene:
    """Builds the nodes of one treatment, step by step, in the scene.

    `image` is the planning image, or None where only masks are known; `grid` gives the voxels of
    the segmentation before ablation (an image or a mask).
    """

    grid: sitk.Image
    image: sitk.Image | None = None
    liver: sitk.Image | None = None
    image_name: str = "Before"
    volume: Any = None
    post_volume: Any = None
    transform: Any = None
    before: Any = None
    after: Any = None
    liver_model: Any = None
    lesions: dict[str, LesionNodes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Add the planning image and the segmentation with the liver."""
        if self.image is not None:
            provenance = Provenance("planning_image", content_hash=image_hash(self.image))
            self.volume = volumes.add_volume(self.image, self.image_name, provenance)
        inputs = () if self.volume is None else (self.volume,)
        provenance = Provenance("segmentation_before", inputs=inputs)
        self.before = segmentations.add_segmentation(self.grid, "Segmentation before", provenance, volume=self.volume)
        if self.liver is not None:
            segmentations.add_segment(self.before, self.liver, "liver", resample=True)
            self.liver_model = surfaces.add_surface(
                mask_surface(self.liver, "liver"),
                "Liver",
                Provenance("liver_surface", inputs=(self.before,)),
                color=term("liver").color,
                opacity=_LIVER_OPACITY,
            )

    def add_phase(self, image: sitk.Image, name: str) -> None:
        """Add another image of the planning frame, such as the arterial phase."""
        volumes.add_volume(image, name, Provenance("phase_image", content_hash=image_hash(image)))

    def add_after(
        self, grid: sitk.Image, fixed_to_moving: sitk.Transform | None, image: sitk.Image | None = None
    ) -> None:
        """Add the frame after ablation: its image, its segmentation and the transform to it.

        `grid` gives the voxels of the segmentation after ablation; `fixed_to_moving` is None where
        both images share a frame.
        """
        inputs: tuple[Any, ...] = ()
        if image is not None:
            provenance = Provenance("post_image", content_hash=image_hash(image))
            self.post_volume = volumes.add_volume(image, "After", provenance)
            inputs = (self.post_volume,)
        self.after = segmentations.add_segmentation(
            grid, "Segmentation after", Provenance("segmentation_after", inputs=inputs), volume=self.post_volume
        )
        if fixed_to_moving is None:
            return
        both = tuple(node for node in (self.volume, self.post_volume) if node is not None)
        self.transform = transforms.add_transform(
            fixed_to_moving,
            "before",
            "after",
            Provenance("fusion", inputs=both),
            sampling_grid=_sampling_grid(self.grid),
        )
        for node in (self.post_volume, self.after):
            if node is not None:
                transforms.put_under(node, self.transform)

    def add_lesion(self, name: str, tumor: sitk.Image) -> None:
        """Add a tumor's mask."""
        surface = mask_surface(tumor, name)
        segment = segmentations.add_segment(self.before, tumor, "tumor", name, resample=True)
        self.lesions[name] = LesionNodes(
            name,
            surface.points_ras_mm.mean(axis=0),
            float(np.ptp(surface.points_ras_mm, axis=0).max()),
            segment,
        )
        self.lesions[name].tumor_model = surfaces.add_surface(
            surface, f"{name} surface", Provenance("tumor_surface", inputs=(self.before,)), color=term("tumor").color
        )
        self._file(name, self.lesions[name].tumor_model)

    def add_zone(self, name: str, zone: sitk.Image) -> None:
        """Add the ablation zone of a lesion, on the grid given to `add_after`."""
        self.lesions[name].zone_segment = segmentations.add_segment(
            self.after, zone, "zone", f"{name} zone", resample=True
        )

    def add_plan(self, name: str, plan: Plan) -> None:
        """Add the probes of a lesion, the surface of their planned zones and the exact numbers."""
        lesion = self.lesions[name]
        document = plan.to_dict()
        inputs = tuple(node for node in (self.volume, self.before) if node is not None)
        exact = documents.add_document(document, f"{name} plan", Provenance("plan", inputs=inputs), schema="plan")
        lesion.plan = plan
        grades = [check["grade"] for check in plan.path_checks]  # none in plans of earlier releases
        lesion.probe_lines = tuple(
            probes.add_probe(
                probe["entry_ras_mm"],
                probe["tip_ras_mm"],
                f"{name} probe {number}",
                Provenance("probe", inputs=(exact,)),
                device=probe["device"] or document["device"],
                ablations=probe["ablations"],
                path_grade=grades[number - 1] if grades else "",
                is_kept=number <= plan.locked_count,
            )
            for number, probe in enumerate(document["probes"], start=1)
        )
        lesion.planned_zone = surfaces.add_surface(
            zone_surface(plan.probes),
            f"{name} planned zone",
            Provenance("planned_zone", inputs=(exact,)),
            color=term("planned_zone").color,
            opacity=_PLANNED_ZONE_OPACITY,
        )
        self._file(name, exact, *lesion.probe_lines, lesion.planned_zone)

    def add_margin(self, name: str, result: MarginResult) -> None:
        """Add the margin on the tumor's surface, the place of the MAM and the exact numbers."""
        lesion = self.lesions[name]
        if result.surface is None:
            raise InputError(f"{name}: a margin read from a file has no surface to show; measure it again")
        inputs = tuple(node for node in (self.before, self.after, self.transform) if node is not None)
        exact = documents.add_document(
            result.to_dict(), f"{name} margin", Provenance("margin", inputs=inputs), schema="margin"
        )
        lesion.margin_result = result
        lesion.margin = surfaces.add_margin_surface(
            result.surface,
            result.signed_margin_mm,
            f"{name} margin surface",
            Provenance(surfaces.MARGIN_ROLE, inputs=(exact,)),
            margin_mm=result.margin_mm,
            is_evaluable=result.is_evaluable,
        )
        shown = [lesion.margin.surface, *lesion.margin.contours]
        if lesion.margin.not_evaluable is not None:
            shown.append(lesion.margin.not_evaluable)
        if result.mam_location_ras_mm is not None:
            lesion.mam_point = points.add_point(
                result.mam_location_ras_mm,
                f"{name} MAM",
                Provenance("mam", inputs=(exact,)),
                label=f"MAM {result.mam_mm:.1f} mm",
            )
            shown.append(lesion.mam_point)
        # The colored surface takes the place of the plain one.
        lesion.tumor_model.GetDisplayNode().SetVisibility(False)
        self._file(name, exact, *shown)

    def add_document(self, document: Mapping[str, Any], name: str, schema: str) -> None:
        """Add a JSON document about the whole case."""
        documents.add_document(document, name, Provenance(schema), schema=schema)

    def save(self, path: str | Path) -> Path:
        """Save the scene; raises as `storage.save_scene`."""
        return storage.save_scene(path)

    # Pictures

    def pictures(self, name: str) -> tuple[Picture, ...]:
        """What the report shows of a lesion: margin, slices before and after, plan; PNG."""
        lesion = self.lesions[name]
        shown = []
        if lesion.margin is not None:
            shown.append(self._margin_picture(lesion))
        if self.volume is not None:
            shown += self._slice_pictures(lesion)
        if lesion.planned_zone is not None:
            shown.append(self._plan_picture(lesion))
        return tuple(shown)

    def _margin_picture(self, lesion: LesionNodes) -> Picture:
        assert lesion.margin is not None
        margin, result = lesion.margin, lesion.margin_result
        models = [margin.surface, *margin.contours]
        if margin.not_evaluable is not None:
            models.append(margin.not_evaluable)
        marks = [] if lesion.mam_point is None else [lesion.mam_point]
        facing = None if result is None else result.mam_location_ras_mm
        png = views.render_surfaces(
            models,
            lesion.tumor_center_ras_mm,
            facing_ras_mm=facing,
            field_of_view_mm=1.6 * lesion.extent_mm,
            size=_SPACE_PIXELS,
            margin=margin.surface,
            probe_lines=lesion.probe_lines,
            marks=marks,
            title=f"{lesion.name}: signed margin on the tumor",
        )
        probes_too = " with the planned probes" if lesion.probe_lines else ""
        return Picture(f"Signed margin on the tumor's surface{probes_too}, seen from the side of the MAM", png)

    def _slice_pictures(self, lesion: LesionNodes) -> list[Picture]:
        where = None if lesion.margin_result is None else lesion.margin_result.mam_location_ras_mm
        center = lesion.tumor_center_ras_mm
        place = "the tumor's center" if where is None else "the MAM"
        best, second, _ = _telling_orientations(np.zeros(3) if where is None else np.subtract(where, center))
        wanted = [(self.volume, self.image_name, best)]
        if self.post_volume is not None:
            wanted += [(self.post_volume, "After, fused", best), (self.post_volume, "After, fused", second)]
        else:
            wanted += [(self.volume, self.image_name, second)]
        marks = [] if lesion.mam_point is None else [lesion.mam_point]
        shown = []
        for volume, title, orientation in wanted:
            middle = center.copy()
            if where is not None:
                middle[_PLANE_NORMALS[orientation]] = where[_PLANE_NORMALS[orientation]]
            png = views.render_slice(
                volume,
                middle,
                orientation=orientation,
                field_of_view_mm=lesion.extent_mm + 2 * _SURROUNDINGS_MM,
                size=_SLICE_PIXELS,
                outlines=self._outlines(lesion),
                probe_lines=lesion.probe_lines if volume is self.volume else (),
                marks=marks,
                title=f"{title}, {orientation}",
            )
            shown.append(Picture(f"{title}: {orientation} slice through {place}, tumor and zone outlined", png))
        return shown

    def _plan_picture(self, lesion: LesionNodes) -> Picture:
        models = [lesion.tumor_model, lesion.planned_zone]
        if self.liver_model is not None:
            models.append(self.liver_model)
        ends = np.array([probes.probe_ends(line)[0] for line in lesion.probe_lines])
        png = views.render_surfaces(
            models,
            lesion.tumor_center_ras_mm,
            facing_ras_mm=ends.mean(axis=0) + np.array([0.0, 150.0, 60.0]),
            field_of_view_mm=230.0,
            size=_SPACE_PIXELS,
            probe_lines=lesion.probe_lines,
            title=f"{lesion.name}: plan",
            names=[
                ("Tumor", term("tumor").color),
                ("Planned zone", term("planned_zone").color),
                ("Liver", term("liver").color),
            ],
        )
        return Picture("Plan: probes and the zones expected of them, liver around", png)

    def _outlines(self, lesion: LesionNodes) -> dict[Any, list[str]]:
        outlines = {self.before: [lesion.tumor_segment]}
        if lesion.zone_segment is not None:
            outlines[self.after] = [lesion.zone_segment]
        return outlines

    def _file(self, name: str, *members: Any) -> None:
        """Keep the nodes of a lesion together in the subject hierarchy."""
        folder = nodes.hierarchy_folder(name)
        for node in members:
            nodes.move_to_folder(node, folder)


def _telling_orientations(direction_ras: npt.NDArray[np.float64]) -> list[str]:
    """The orientations of slices, the one that a direction (3,) lies in best first; axial where alike."""
    return sorted(_PLANE_NORMALS, key=lambda name: abs(float(direction_ras[_PLANE_NORMALS[name]])))


def save_plan_scene(path: str | Path, *, image: sitk.Image, tumor: sitk.Image, liver: sitk.Image, plan: Plan) -> Path:
    """Save a scene with image, liver, tumor, probes and planned zones; outside the application only."""
    start_empty()
    case = CaseScene(image, image=image, liver=liver)
    case.add_lesion("Lesion", tumor)
    case.add_plan("Lesion", plan)
    return case.save(path)


def present_margin(
    result: MarginResult,
    *,
    tumor: sitk.Image,
    zone: sitk.Image,
    liver: sitk.Image | None = None,
    fixed_to_moving: sitk.Transform | None = None,
    image: sitk.Image | None = None,
    post_image: sitk.Image | None = None,
    scene_file: Path | None = None,
    report_folder: Path | None = None,
) -> list[str]:
    """Save a measured margin as a scene, as a report with pictures, or both.

    Returns notes for the user, such as that there are no pictures. Outside the application only.
    """
    start_empty()
    case = CaseScene(tumor if image is None else image, image=image, liver=liver)
    case.add_lesion("Lesion", tumor)
    case.add_after(zone, fixed_to_moving, post_image)
    case.add_zone("Lesion", zone)
    case.add_margin("Lesion", result)
    if scene_file is not None:
        case.save(scene_file)
    if report_folder is None:
        return []
    pictures, notes = pictures_or_note(case, ["Lesion"])
    section = LesionSection("Lesion", result, pictures=pictures.get("Lesion", ()))
    write_report(render_report("Ablation margin", [section], notes=notes), report_folder)
    return notes


def pictures_or_note(case: CaseScene, names: Sequence[str]) -> tuple[dict[str, tuple[Picture, ...]], list[str]]:
    """The pictures of lesions by name; none, and a note that says why, without off-screen OpenGL."""
    if not offscreen.can_render():
        return {}, [NO_PICTURES]
    return {name: case.pictures(name) for name in names}, []


@dataclass(frozen=True)
class CaseMasks:
    """What a saved case holds before ablation: lesions, liver, other structures and images, by name.

    `probes` is how many the plan of a lesion has, where it has one that still holds.
    """

    lesions: Mapping[str, sitk.Image]
    liver: sitk.Image | None
    structures: Mapping[str, sitk.Image]
    phases: Mapping[str, sitk.Image]
    probes: Mapping[str, int]


def read_case_masks(path: str | Path) -> CaseMasks:
    """Read lesions, liver, structures (by kind) and images before ablation from a saved case.

    Outside the application only. Each lesion is cut out of its image. Raises InputError for a file that is no
    scene, or no case of this project.
    """
    start_empty()
    storage.load_scene(path)
    segmentation = next(iter(nodes_with_role("segmentation_before")), None)
    if segmentation is None:
        raise InputError(f"{path}: holds no segmentation before ablation; give a case that was saved by this project")
    lesions: dict[str, sitk.Image] = {}
    others: dict[str, sitk.Image] = {}
    for segment in segmentations.segment_ids(segmentation):
        kind = segmentations.segment_kind(segmentation, segment)
        mask = segmentations.segment_mask(segmentation, segment)
        if kind in ("tumor", "lesion"):
            name = segmentations.segment_name(segmentation, segment)
            lesions[segment if name in lesions else name] = split_labels(mask, name)[1]
        elif kind:
            others[kind] = sitk.Or(mask, others[kind]) if kind in others else mask
    volume_nodes = [node for role in ("planning_image", "phase_image") for node in nodes_with_role(role)]
    images = {str(node.GetName()): volumes.volume_image(node) for node in volume_nodes}
    plans = {node.GetName().removesuffix(" plan"): node for node in nodes_with_role("plan") if not is_stale(node)}
    planned = {
        name: len(documents.read_document(plans[name], schema="plan")["probes"]) for name in lesions if name in plans
    }
    return CaseMasks(lesions, others.pop("liver", None), others, images, planned)


def start_empty() -> None:
    """Start headless Slicer with an empty scene; inside the application the scene is left alone."""
    if startup.start() is not None:
        slicer.mrmlScene.Clear(False)


def _sampling_grid(reference: sitk.Image) -> sitk.Image:
    """A coarse grid over `reference` and a little beyond."""
    spacing = [max(_SAMPLING_MM, step) for step in reference.GetSpacing()]
    size = [
        int(np.ceil(n * step / new)) + 3
        for n, step, new in zip(reference.GetSize(), reference.GetSpacing(), spacing, strict=True)
    ]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(reference.GetDirection())
    start = -np.array(spacing) / np.array(reference.GetSpacing())
    grid.SetOrigin(frames.flip_lps_ras(frames.index_to_ras(reference, start)).tolist())
    return grid
