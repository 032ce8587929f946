"""A treatment in the scene: its images, segmentations, lesions, plans, fusion and margins.

The scene is the case: nothing is kept beside it. :class:`CaseScene` finds the case's nodes by their role each time it
is asked, so that it is always true, whoever changed the scene, and a saved scene that is opened again is the case.

The world is the frame of the planning image (fixed). What was segmented after ablation lies under the transform node,
so that it shows at its place before ablation without being resampled.

Each lesion has a surface model that carries the hash of its mask; what was computed from the lesion refers to that
model, so that a change of one lesion makes its own results stale and no other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError
from ..core.images import image_hash
from ..core.margins import MarginResult
from ..core.plans import Plan
from ..core.probes import zone_surface
from ..core.surfaces import mask_surface
from ..core.zone_union import touching_zones
from . import cameras, documents, nodes, points, probes, segmentations, storage, surfaces, transforms, volumes
from .case_images import adopted_image, image_of, sampling_grid
from .lesion_nodes import LesionNodes, members_by_lesion
from .nodes import LESION
from .provenance import (
    Provenance,
    first_with_role,
    is_stale,
    mark_stale,
    nodes_with_role,
    provenance_of,
    renew,
)
from .terminology import VESSELS, term
from .vessel_surfaces import follow_vessels

#: The lesion that is worked on, an attribute of the segmentation before ablation.
_CURRENT_LESION = "NETAblation.CurrentLesion"

PLANNED_ZONE_OPACITY = 0.28
_ZONE_OPACITY = 0.35
_LIVER_OPACITY = 0.16

#: Roles of the nodes that make up a plan and a margin, and so are replaced together.
_PLAN_ROLES = ("plan", "probe", "planned_zone")
_MARGIN_ROLES = ("margin", surfaces.MARGIN_ROLE, surfaces.CONTOUR_ROLE, surfaces.NOT_EVALUABLE_ROLE, "mam")


class CaseScene:
    """The case that the scene holds; see `open`, `create` and `adopt` for how to get one."""

    @classmethod
    def open(cls) -> CaseScene | None:
        """The case of the present scene; None where there is none."""
        return cls() if nodes_with_role("segmentation_before") else None

    @classmethod
    def create(
        cls,
        grid: sitk.Image,
        *,
        image: sitk.Image | None = None,
        liver: sitk.Image | None = None,
        image_name: str = "Before",
    ) -> CaseScene:
        """Begin a case with its planning image, or with masks only.

        `grid` (an image or a mask) gives the voxels of the segmentation before ablation. Raises InputError where the
        scene holds a case already.
        """
        _require_no_case()
        volume = None
        if image is not None:
            volume = volumes.add_volume(image, image_name, Provenance("planning_image", content_hash=image_hash(image)))
        return cls._begin(grid, volume, liver)

    @classmethod
    def adopt(cls, volume: Any) -> CaseScene:
        """Begin a case with a volume node that is in the scene as its planning image.

        Raises InputError where the scene holds a case already, GeometryError for a volume without voxels or under a
        transform, which would move the world away from the image.
        """
        _require_no_case()
        image = adopted_image(volume, "planning_image")
        return cls._begin(image, volume, None)

    @classmethod
    def _begin(cls, grid: sitk.Image, volume: Any, liver: sitk.Image | None) -> CaseScene:
        provenance = Provenance("segmentation_before", inputs=() if volume is None else (volume,))
        segmentations.add_segmentation(grid, "Segmentation before", provenance, volume=volume)
        case = cls()
        if liver is not None:
            case.replace_liver(liver)
        return case

    # What there is

    @property
    def volume(self) -> Any:
        """The node of the planning image; None where only masks are known."""
        return first_with_role("planning_image")

    @property
    def phases(self) -> list[Any]:
        """The nodes of further images in the planning frame."""
        return nodes_with_role("phase_image")

    @property
    def post_volume(self) -> Any:
        """The node of the image after ablation."""
        return first_with_role("post_image")

    @property
    def before(self) -> Any:
        """The segmentation before ablation."""
        return first_with_role("segmentation_before")

    @property
    def after(self) -> Any:
        """The segmentation after ablation, in the frame of its image."""
        return first_with_role("segmentation_after")

    @property
    def transform(self) -> Any:
        """The transform node of the fusion, from the frame after to that before."""
        return first_with_role("fusion")

    @property
    def liver_model(self) -> Any:
        """The liver's surface."""
        return first_with_role("liver_surface")

    @property
    def lesions(self) -> dict[str, LesionNodes]:
        """All lesions by the id of their segment, in the order of the segmentation."""
        members = members_by_lesion()
        zones = self._zone_segments()
        ids = [*segmentations.segment_ids(self.before, "tumor"), *segmentations.segment_ids(self.before, "lesion")]
        found = {}
        for segment_id in ids:
            own = members.get(segment_id, {})
            first = {role: of_role[0] for role, of_role in own.items()}
            surface = first.get(surfaces.MARGIN_ROLE)
            contours = tuple(own.get(surfaces.CONTOUR_ROLE, ()))
            found[segment_id] = LesionNodes(
                segment_id,
                segmentations.segment_name(self.before, segment_id),
                first.get("tumor_surface"),
                zones.get(segment_id),
                first.get("zone_surface"),
                first.get("plan"),
                tuple(own.get("probe", ())),
                first.get("planned_zone"),
                first.get("margin"),
                None
                if surface is None
                else surfaces.MarginModels(surface, contours, first.get(surfaces.NOT_EVALUABLE_ROLE)),
                first.get("mam"),
            )
        return found

    @property
    def current_lesion(self) -> str:
        """The id of the lesion that is worked on; the first one where none was chosen, empty where there is none."""
        ids = [*segmentations.segment_ids(self.before, "tumor"), *segmentations.segment_ids(self.before, "lesion")]
        chosen = self.before.GetAttribute(_CURRENT_LESION) or ""
        return chosen if chosen in ids else next(iter(ids), "")

    @current_lesion.setter
    def current_lesion(self, lesion_id: str) -> None:
        self.before.SetAttribute(_CURRENT_LESION, lesion_id or None)

    def planning_image(self) -> sitk.Image:
        """The planning image; raises InputError where there is none."""
        return image_of(self.volume, "choose the planning image first")

    def post_image(self) -> sitk.Image:
        """The image after ablation, in its own frame; raises InputError where there is none."""
        return image_of(self.post_volume, "choose the image after ablation first")

    def fixed_to_moving(self) -> sitk.Transform | None:
        """The fusion's transform from points before to points after; None where both share a frame."""
        return None if self.transform is None else transforms.fixed_to_moving_transform(self.transform)

    def liver_mask(self) -> sitk.Image | None:
        """The liver before ablation on the grid of the segmentation; None where it is not known."""
        return self._mask_of_kind(self.before, "liver")

    def post_liver_mask(self) -> sitk.Image | None:
        """The liver after ablation on the grid of its image; None where it is not known."""
        segment_id = None if self.after is None else self._segment_of_kind(self.after, "liver")
        return None if segment_id is None else segmentations.segment_mask(self.after, segment_id, self.post_image())

    @property
    def post_kinds(self) -> set[str]:
        """The kinds of what is segmented after ablation (see `terminology.kinds`)."""
        return set() if self.after is None else segmentations.segment_kinds(self.after)

    def tumor_mask(self, lesion_id: str) -> sitk.Image:
        """A tumor cut to its box and a rim; raises GeometryError for an unknown lesion."""
        return segmentations.segment_box(self.before, lesion_id)

    def zone_mask(self, lesion_id: str) -> sitk.Image | None:
        """The ablation zone of a lesion, in the frame after ablation, cut to its box; None where there is none."""
        segment_id = self._zone_segments().get(lesion_id)
        return None if segment_id is None else segmentations.segment_box(self.after, segment_id)

    def zones_that_touch(self, lesion_id: str) -> dict[str, sitk.Image]:
        """The zones, by their lesions' ids, that touch a lesion's zone, one through the other too; none without it."""
        zone = self.zone_mask(lesion_id)
        others = {
            other: mask for other in self._zone_segments() if other != lesion_id and (mask := self.zone_mask(other))
        }
        return {} if zone is None else {name: others[name] for name in touching_zones(zone, others)}

    def structures(self) -> dict[str, sitk.Image]:
        """What else is segmented before ablation by kind, such as "portal_vein"; segments of one kind are united."""
        found: dict[str, sitk.Image] = {}
        for segment_id in segmentations.segment_ids(self.before):
            kind = segmentations.segment_kind(self.before, segment_id)
            if kind and kind not in ("tumor", "lesion", "liver"):
                mask = segmentations.segment_mask(self.before, segment_id)
                found[kind] = sitk.Or(mask, found[kind]) if kind in found else mask
        return found

    # Images

    def add_phase(self, image: sitk.Image, name: str) -> Any:
        """Add another image of the planning frame, such as the arterial phase."""
        return volumes.add_volume(image, name, Provenance("phase_image", content_hash=image_hash(image)))

    def adopt_phase(self, volume: Any) -> None:
        """Take a volume node of the scene as another image of the planning frame; raises as `adopt`."""
        adopted_image(volume, "phase_image")

    def add_after(
        self, grid: sitk.Image, fixed_to_moving: sitk.Transform | None, image: sitk.Image | None = None
    ) -> None:
        """Add the frame after ablation: its image, its segmentation and the transform to it.

        `grid` gives the voxels of the segmentation after ablation; `fixed_to_moving` is None where both images share
        a frame.
        """
        volume = None
        if image is not None:
            volume = volumes.add_volume(image, "After", Provenance("post_image", content_hash=image_hash(image)))
        self._begin_after(grid, volume)
        if fixed_to_moving is not None:
            self.replace_fusion(fixed_to_moving)

    def adopt_after(self, volume: Any) -> None:
        """Take a volume node of the scene as the image after ablation, in place of an earlier one.

        An earlier fusion, zones and margins belong to the earlier image and are removed with their segmentation.
        Raises as `adopt`.
        """
        if volume is self.post_volume:
            return
        if volume is self.volume:
            raise InputError(f"{volume.GetName()}: is the planning image; the image after ablation is another one")
        image = adopted_image(volume, "post_image", replaces=self.post_volume)
        for lesion in self.lesions.values():
            self._remove(lesion.segment_id, *_MARGIN_ROLES, "zone_surface")
        nodes.remove_nodes(self.transform, *nodes_with_role("fusion_quality"), self.after)
        self._begin_after(image, volume)

    def _begin_after(self, grid: sitk.Image, volume: Any) -> None:
        provenance = Provenance("segmentation_after", inputs=() if volume is None else (volume,))
        segmentations.add_segmentation(grid, "Segmentation after", provenance, volume=volume)

    def replace_fusion(self, fixed_to_moving: sitk.Transform, document: Mapping[str, Any] | None = None) -> Any:
        """Put the image and the segmentation after ablation under a new transform; margins become stale.

        `document` holds the fusion's figures (`FusionResult.to_dict`). Returns the transform's node.
        """
        dependents = [node for node in nodes_with_role("margin") if self.transform is not None]
        nodes.remove_nodes(self.transform, *nodes_with_role("fusion_quality"))
        both = tuple(node for node in (self.volume, self.post_volume) if node is not None)
        grid = segmentations.reference_grid(self.before)
        node = transforms.add_transform(
            fixed_to_moving, "before", "after", Provenance("fusion", inputs=both), sampling_grid=sampling_grid(grid)
        )
        if document is not None:
            documents.add_document(document, "Fusion", Provenance("fusion_quality", inputs=(node,)), schema="fusion")
        zones = [lesion.zone_model for lesion in self.lesions.values()]
        for member in (self.post_volume, self.after, *zones):
            if member is not None:
                transforms.put_under(member, node)
        for margin in dependents:
            mark_stale(margin, "the images were fused anew")
        return node

    def fusion_document(self) -> dict[str, Any] | None:
        """The figures of the fusion; None where there are none."""
        node = first_with_role("fusion_quality")
        return None if node is None else documents.read_document(node, schema="fusion")

    # Anatomy and lesions

    def replace_liver(self, liver: sitk.Image) -> None:
        """Add the liver before ablation, or put another mask in its place; the first is brought into the 3D views."""
        surface = mask_surface(liver, "liver")
        content = segmentations.segment_hash(self.before, self._replace_of_kind(self.before, liver, "liver"))
        if self.liver_model is None:
            surfaces.add_surface(
                surface,
                "Liver",
                Provenance("liver_surface", content_hash=content, inputs=(self.before,)),
                color=term("liver").color,
                opacity=_LIVER_OPACITY,
            )
            cameras.look_at(surface.points_ras_mm)
        else:
            surfaces.update_surface(self.liver_model, surface)
            renew(self.liver_model, content)

    def replace_structure(self, mask: sitk.Image, kind: str) -> None:
        """Add a structure of a kind before ablation (see `terminology.kinds`), or put another mask in its place."""
        self._replace_of_kind(self.before, mask, kind)
        if kind in VESSELS:
            follow_vessels(self.before)

    def replace_post_structure(self, mask: sitk.Image, kind: str) -> None:
        """The same after ablation, in the frame of its image; raises InputError before `add_after`."""
        self._require_after()
        self._replace_of_kind(self.after, mask, kind)

    def add_lesion(self, name: str, tumor: sitk.Image) -> str:
        """Add a tumor's mask; returns the lesion's id."""
        surface = mask_surface(tumor, name)
        segment_id = segmentations.add_segment(self.before, tumor, "tumor", name, resample=True)
        content = segmentations.segment_hash(self.before, segment_id)
        model = surfaces.add_surface(
            surface,
            f"{name} surface",
            Provenance("tumor_surface", content_hash=content, inputs=(self.before,)),
            color=term("tumor").color,
        )
        self.own(segment_id, model)
        return segment_id

    def update_lesion(self, lesion_id: str, tumor: sitk.Image) -> None:
        """Put another mask in the place of a tumor's; what was computed from it becomes stale.

        Raises GeometryError for an unknown lesion, EmptyMaskError for an empty mask; the lesion is then unchanged.
        """
        surface = mask_surface(tumor, segmentations.segment_name(self.before, lesion_id))
        segmentations.update_segment(self.before, lesion_id, segmentations.on_lattice(self.before, tumor))
        self._show_tumor(self.lesions[lesion_id], surface)

    def rename_lesion(self, lesion_id: str, name: str) -> None:
        """Give a lesion and its nodes another name; raises InputError where another lesion has it."""
        lesion = self.lesions[lesion_id]
        if any(other.name == name for other in self.lesions.values() if other.segment_id != lesion_id):
            raise InputError(f"another lesion has the name '{name}'; choose another one")
        segmentations.rename_segment(self.before, lesion_id, name)
        nodes.rename_folder(lesion.name, name)
        for of_role in members_by_lesion().get(lesion_id, {}).values():
            for node in of_role:
                if node.GetName().startswith(f"{lesion.name} "):
                    node.SetName(name + node.GetName().removeprefix(lesion.name))
        if lesion.zone_segment is not None:
            segmentations.rename_segment(self.after, lesion.zone_segment, f"{name} zone")

    def remove_lesion(self, lesion_id: str) -> None:
        """Remove a lesion with all that was computed from it; raises KeyError for an unknown one."""
        lesion = self.lesions[lesion_id]
        if lesion.zone_segment is not None:
            segmentations.remove_segment(self.after, lesion.zone_segment)
        for of_role in members_by_lesion().get(lesion_id, {}).values():
            nodes.remove_nodes(*of_role)
        segmentations.remove_segment(self.before, lesion_id)
        nodes.remove_folder(lesion.name)

    def notice_edits(self) -> list[str]:
        """Follow masks that were edited elsewhere, such as in the Segment Editor.

        Surfaces of lesions, zones and vessels whose voxels changed are made anew and the lesions' results become stale;
        tumors that were added elsewhere get a surface, results of tumors that were deleted become stale. Returns the
        ids of the lesions that changed.
        """
        changed = [lesion_id for lesion_id, lesion in self.lesions.items() if self._followed(lesion)]
        known = set(self.lesions)
        for lesion_id, members in members_by_lesion().items():
            if lesion_id not in known:
                for node in [node for of_role in members.values() for node in of_role if not is_stale(node)]:
                    mark_stale(node, "its lesion was deleted")
                    changed.append(lesion_id)
        follow_vessels(self.before)
        return list(dict.fromkeys(changed))

    def _followed(self, lesion: LesionNodes) -> bool:
        """Whether masks of a lesion had changed and its surfaces were made anew."""
        changed = False
        if _is_outdated(lesion.tumor_model, self.before, lesion.segment_id):
            changed = True
            mask = self.tumor_mask(lesion.segment_id)
            if _is_filled(mask):
                self._show_tumor(lesion, mask_surface(mask, lesion.name))
            elif lesion.tumor_model is not None:
                mark_stale(lesion.tumor_model, f"the mask of {lesion.name} is empty")
        if lesion.zone_segment is not None and _is_outdated(lesion.zone_model, self.after, lesion.zone_segment):
            changed = True
            zone = segmentations.segment_box(self.after, lesion.zone_segment)
            if _is_filled(zone):
                self._show_zone(lesion, zone)
            elif lesion.zone_model is not None:
                mark_stale(lesion.zone_model, f"the zone of {lesion.name} is empty")
        return changed

    def _show_tumor(self, lesion: LesionNodes, surface: Any) -> None:
        content = segmentations.segment_hash(self.before, lesion.segment_id)
        if lesion.tumor_model is None:
            provenance = Provenance("tumor_surface", content_hash=content, inputs=(self.before,))
            model = surfaces.add_surface(surface, f"{lesion.name} surface", provenance, color=term("tumor").color)
            self.own(lesion.segment_id, model)
            return
        surfaces.update_surface(lesion.tumor_model, surface)
        renew(lesion.tumor_model, content)

    # Zones, plans and margins

    def replace_zone(self, lesion_id: str, zone: sitk.Image) -> None:
        """Add the ablation zone of a lesion in the frame after ablation, or put another mask in its place.

        Raises InputError before `add_after`, EmptyMaskError for an empty mask.
        """
        self._require_after()
        lesion = self.lesions[lesion_id]
        mask_surface(zone, f"{lesion.name} zone")  # refuses an empty mask before anything is changed
        if lesion.zone_segment is None:
            segment_id = segmentations.add_segment(self.after, zone, "zone", f"{lesion.name} zone", resample=True)
            segmentations.set_segment_tag(self.after, segment_id, LESION, lesion_id)
        else:
            on_lattice = segmentations.on_lattice(self.after, zone)
            segmentations.update_segment(self.after, lesion.zone_segment, on_lattice)
        self._show_zone(self.lesions[lesion_id], zone)
        for other in self.zones_that_touch(lesion_id):
            margin = self.lesions[other].margin_node
            if margin is not None and not is_stale(margin):
                mark_stale(margin, f"the zone of {lesion.name} touches its zone")

    def _show_zone(self, lesion: LesionNodes, zone: sitk.Image) -> None:
        assert lesion.zone_segment is not None
        surface = mask_surface(zone, f"{lesion.name} zone")
        content = segmentations.segment_hash(self.after, lesion.zone_segment)
        if lesion.zone_model is not None:
            surfaces.update_surface(lesion.zone_model, surface)
            renew(lesion.zone_model, content)
            return
        model = surfaces.add_surface(
            surface,
            f"{lesion.name} zone surface",
            Provenance("zone_surface", content_hash=content, inputs=(self.after,)),
            color=term("zone").color,
            opacity=_ZONE_OPACITY,
        )
        transforms.put_under(model, self.transform)
        model.GetDisplayNode().SetVisibility(False)
        self.own(lesion.segment_id, model)

    def replace_plan(self, lesion_id: str, plan: Plan) -> None:
        """Put a plan in the place of the lesion's: probes, the surface of their zones and the exact numbers."""
        lesion = self.lesions[lesion_id]
        self._remove(lesion_id, *_PLAN_ROLES)
        document = plan.to_dict()
        inputs = tuple(node for node in (self.volume, lesion.tumor_model, self.liver_model) if node is not None)
        exact = documents.add_document(
            document, f"{lesion.name} plan", Provenance("plan", inputs=inputs), schema="plan"
        )
        grades = [check["grade"] for check in plan.path_checks]  # none in plans of earlier releases
        lines = [
            probes.add_probe(
                probe["entry_ras_mm"],
                probe["tip_ras_mm"],
                f"{lesion.name} probe {number}",
                Provenance("probe", inputs=(exact,)),
                device=probe["device"] or document["device"],
                ablations=probe["ablations"],
                path_grade=grades[number - 1] if grades else "",
                is_kept=number <= plan.locked_count,
            )
            for number, probe in enumerate(document["probes"], start=1)
        ]
        zone = surfaces.add_surface(
            zone_surface(plan.probes),
            f"{lesion.name} planned zone",
            Provenance("planned_zone", inputs=(exact,)),
            color=term("planned_zone").color,
            opacity=PLANNED_ZONE_OPACITY,
        )
        surfaces.show_cut(zone)
        self.own(lesion_id, exact, *lines, zone)

    def replace_margin(self, lesion_id: str, result: MarginResult, shares_zone_with: Sequence[str] = ()) -> None:
        """Put a margin in the place of the lesion's: colored surface, place of the MAM and the exact numbers.

        `shares_zone_with` are the ids of lesions whose zones were measured with this one's: it depends on them too.
        """
        lesion = self.lesions[lesion_id]
        if result.surface is None:
            raise InputError(f"{lesion.name}: a margin read from a file has no surface to show; measure it again")
        self._remove(lesion_id, *_MARGIN_ROLES)
        zones = [self.lesions[other].zone_model for other in shares_zone_with]
        sources = (lesion.tumor_model, lesion.zone_model, *zones, self.liver_model, self.transform)
        inputs = tuple(node for node in sources if node is not None)
        exact = documents.add_document(
            result.to_dict(), f"{lesion.name} margin", Provenance("margin", inputs=inputs), schema="margin"
        )
        models = surfaces.add_margin_surface(
            result.surface,
            result.signed_margin_mm,
            f"{lesion.name} margin surface",
            Provenance(surfaces.MARGIN_ROLE, inputs=(exact,)),
            margin_mm=result.margin_mm,
            is_evaluable=result.is_evaluable,
        )
        shown = [models.surface, *models.contours]
        if models.not_evaluable is not None:
            shown.append(models.not_evaluable)
        if result.mam_location_ras_mm is not None:
            place = points.add_point(
                result.mam_location_ras_mm,
                f"{lesion.name} MAM",
                Provenance("mam", inputs=(exact,)),
                label=f"MAM {result.mam_mm:.1f} mm",
            )
            shown.append(place)
        # The colored surface takes the place of the plain one.
        lesion.tumor_model.GetDisplayNode().SetVisibility(False)
        self.own(lesion_id, exact, *shown)

    def own(self, lesion_id: str, *members: Any) -> None:
        """Mark nodes as a lesion's and keep them together in the subject hierarchy."""
        folder = nodes.hierarchy_folder(segmentations.segment_name(self.before, lesion_id))
        for node in members:
            node.SetAttribute(LESION, lesion_id)
            nodes.move_to_folder(node, folder)

    def add_document(self, document: Mapping[str, Any], name: str, schema: str) -> None:
        """Add a JSON document about the whole case."""
        documents.add_document(document, name, Provenance(schema), schema=schema)

    def save(self, path: str | Path) -> Path:
        """Save the scene; raises as `storage.save_scene`."""
        return storage.save_scene(path)

    # Pieces

    def _zone_segments(self) -> dict[str, str]:
        """The segment of the zone of each lesion that has one."""
        if self.after is None:
            return {}
        found: dict[str, str] = {}
        for segment_id in segmentations.segment_ids(self.after, "zone"):
            lesion_id = segmentations.segment_tag(self.after, segment_id, LESION)
            if lesion_id:
                found.setdefault(lesion_id, segment_id)
        return found

    def _segment_of_kind(self, segmentation: Any, kind: str) -> str | None:
        return next(iter(segmentations.segment_ids(segmentation, kind)), None)

    def _mask_of_kind(self, segmentation: Any, kind: str) -> sitk.Image | None:
        segment_id = self._segment_of_kind(segmentation, kind)
        return None if segment_id is None else segmentations.segment_mask(segmentation, segment_id)

    def _replace_of_kind(self, segmentation: Any, mask: sitk.Image, kind: str) -> str:
        """Put a mask in the place of the first segment of its kind, or add it; returns the segment's id."""
        segment_id = self._segment_of_kind(segmentation, kind)
        if segment_id is None:
            return segmentations.add_segment(segmentation, mask, kind, resample=True)
        segmentations.update_segment(segmentation, segment_id, segmentations.on_lattice(segmentation, mask))
        return segment_id

    def _require_after(self) -> None:
        if self.after is None:
            raise InputError("the case has no image after ablation yet; choose it first")

    def _remove(self, lesion_id: str, *roles: str) -> None:
        members = members_by_lesion().get(lesion_id, {})
        nodes.remove_nodes(*(node for role in roles for node in members.get(role, ())))


def _require_no_case() -> None:
    if nodes_with_role("segmentation_before"):
        raise InputError("the scene holds a case already; save and close it before another one is begun")


def _is_outdated(model: Any, segmentation: Any, segment_id: str) -> bool:
    """Whether the surface of a segment is missing or was made of other voxels."""
    return model is None or provenance_of(model).content_hash != segmentations.segment_hash(segmentation, segment_id)


def _is_filled(mask: sitk.Image) -> bool:
    return bool(np.any(sitk.GetArrayViewFromImage(mask)))
