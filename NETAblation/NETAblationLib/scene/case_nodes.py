"""What a case has: its nodes, found in the scene by their role, what they hold, and the lesion that is worked on."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from ..core.zone_union import touching_zones
from . import documents, segmentations, surfaces, transforms
from .case_images import image_of
from .lesion_nodes import LesionNodes, members_by_lesion
from .nodes import LESION
from .provenance import first_with_role, nodes_with_role

#: The lesion that is worked on, an attribute of the segmentation before ablation.
_CURRENT_LESION = "NETAblation.CurrentLesion"


class CaseNodes:
    """The nodes of the scene's case, as they are each time they are asked for; see :class:`.cases.CaseScene`."""

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
        found = {}
        for segment_id in self._lesion_ids():
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
        ids = self._lesion_ids()
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

    def fusion_document(self) -> dict[str, Any] | None:
        """The figures of the fusion; None where there are none."""
        node = first_with_role("fusion_quality")
        return None if node is None else documents.read_document(node, schema="fusion")

    def liver_mask(self) -> sitk.Image | None:
        """The liver before ablation on the grid of the segmentation; None where it is not known."""
        segment_id = self._segment_of_kind(self.before, "liver")
        return None if segment_id is None else segmentations.segment_mask(self.before, segment_id)

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

    # Pieces

    def _lesion_ids(self) -> list[str]:
        return [*segmentations.segment_ids(self.before, "tumor"), *segmentations.segment_ids(self.before, "lesion")]

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
