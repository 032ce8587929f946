"""A treatment in the scene: its images, segmentations, lesions, plans, fusion and margins.

The scene is the case: nothing is kept beside it. The case's nodes are found by their role each time they are
asked for (see :mod:`.case_nodes`), so that it is always true, whoever changed the scene, and a saved scene that is
opened again is the case. Here the case is begun and changed.

The world is the frame of the planning image (fixed). What was segmented after ablation lies under the transform node,
so that it shows at its place before ablation without being resampled.

Each lesion has a surface model that carries the hash of its mask; what was computed from the lesion refers to that
model, so that a change of one lesion makes its own results stale and no other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..core.errors import InputError
from ..core.images import image_hash
from ..core.margins import MarginResult
from ..core.plans import Plan
from ..core.probes import zone_surface
from ..core.surfaces import mask_surface
from . import cameras, documents, nodes, points, probes, segmentations, storage, surfaces, transforms, volumes
from .case_images import adopted_image, sampling_grid
from .case_nodes import CaseNodes
from .lesion_nodes import members_by_lesion
from .lesion_surfaces import follow_lesion, show_tumor, show_zone
from .nodes import LESION
from .provenance import Provenance, is_stale, mark_stale, nodes_with_role, renew
from .terminology import VESSELS, term
from .vessel_surfaces import follow_vessels

PLANNED_ZONE_OPACITY = 0.28
_LIVER_OPACITY = 0.16

#: Roles of the nodes that make up a plan and a margin, and so are replaced together.
_PLAN_ROLES = ("plan", "probe", "planned_zone")
_MARGIN_ROLES = ("margin", surfaces.MARGIN_ROLE, surfaces.CONTOUR_ROLE, surfaces.NOT_EVALUABLE_ROLE, "mam")


class CaseScene(CaseNodes):
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

        Raises InputError where the scene holds a case already, and for a volume under a transform, which would move the
        world away from the image; GeometryError for a volume without voxels.
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
        show_tumor(self, self.lesions[segment_id], surface)
        return segment_id

    def update_lesion(self, lesion_id: str, tumor: sitk.Image) -> None:
        """Put another mask in the place of a tumor's; what was computed from it becomes stale.

        Raises GeometryError for an unknown lesion, EmptyMaskError for an empty mask; the lesion is then unchanged.
        """
        surface = mask_surface(tumor, segmentations.segment_name(self.before, lesion_id))
        segmentations.update_segment(self.before, lesion_id, segmentations.on_lattice(self.before, tumor))
        show_tumor(self, self.lesions[lesion_id], surface)

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
        changed = [lesion_id for lesion_id, lesion in self.lesions.items() if follow_lesion(self, lesion)]
        known = set(self.lesions)
        for lesion_id, members in members_by_lesion().items():
            if lesion_id not in known:
                for node in [node for of_role in members.values() for node in of_role if not is_stale(node)]:
                    mark_stale(node, "its lesion was deleted")
                    changed.append(lesion_id)
        follow_vessels(self.before)
        return list(dict.fromkeys(changed))

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
        show_zone(self, self.lesions[lesion_id], zone)
        for other in self.zones_that_touch(lesion_id):
            margin = self.lesions[other].margin_node
            if margin is not None and not is_stale(margin):
                mark_stale(margin, f"the zone of {lesion.name} touches its zone")

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
        lesion.own(exact, *lines, zone)

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
        lesion.own(exact, *shown)

    def save(self, path: str | Path) -> Path:
        """Save the scene; raises as `storage.save_scene`."""
        return storage.save_scene(path)

    # Pieces

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
