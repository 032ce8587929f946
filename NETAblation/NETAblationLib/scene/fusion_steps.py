"""The fusion as a step of a case: its inputs out of the nodes, its result back into them, its verdict in words.

Computing (`FusionInputs.fuse`) touches no node, so that it may run beside the scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..core.fusion import FusionResult, fuse
from ..core.fusion_near import NearLesion
from ..core.progress import ProgressCallback, silent
from . import organs, segmentations, transforms
from .cases import CaseScene
from .landmarks import LANDMARK_ROLES
from .provenance import is_stale, nodes_with_role, stale_reason
from .zone_steps import ZONE_LINE_ROLE, lesions_without_zone

#: Names of the masks left out of the fusion, in the order of the result's `lesion_error_mm`, and of the landmarks.
EXCLUDED = "excluded"
LANDMARKS = "landmarks"

TUMOR, ZONE = "tumor", "zone"

#: How long to search, by the names that `core.fusion.fuse` knows, in words.
STANDARD = "standard"
PRESETS = {"fast": "Fast (first look)", STANDARD: "Standard", "fine": "Fine (small margins)"}

#: Words for how good a fusion is, and their colors (as of the margin's bands); the words carry the meaning.
GOOD, DOUBTFUL, NOT_USABLE, NOT_JUDGED, STALE, NONE = "good", "doubtful", "not usable", "not judged", "stale", "none"
WARNING_COLOR = "#b36b00"
VERDICT_COLORS = {
    GOOD: "#1a7f45",
    DOUBTFUL: WARNING_COLOR,
    NOT_USABLE: "#c2181f",
    NOT_JUDGED: "#5f6368",
    STALE: WARNING_COLOR,
    NONE: "#5f6368",
}


@dataclass(frozen=True)
class FusionInputs:
    """What a fusion is computed from; each image and mask in its own frame.

    `exclude` are the masks that must not drive it, with the lesion and what it is ("tumor", "zone") of each in
    `excluded`; `landmarks` are pairs of points (before, after), RAS mm. The vessels do not pull: they check it and
    have a say in its error; they are None unless they are known in both images.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_liver: sitk.Image | None
    moving_liver: sitk.Image | None
    exclude: tuple[sitk.Image, ...]
    excluded: tuple[tuple[str, str], ...]
    landmarks: tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], ...] = ()
    fixed_vessels: sitk.Image | None = None
    moving_vessels: sitk.Image | None = None

    @classmethod
    def of(
        cls, case: CaseScene, landmarks: Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = ()
    ) -> FusionInputs:
        """Take images, livers, vessels, tumors and zones out of a case; raises InputError where an image is missing."""
        fixed, moving = case.planning_image(), case.post_image()
        found = []
        for lesion_id, lesion in case.lesions.items():
            found.append((lesion_id, TUMOR, _filled(segmentations.segment_mask(case.before, lesion_id, fixed))))
            if lesion.zone_segment is not None:
                zone = _filled(segmentations.segment_mask(case.after, lesion.zone_segment, moving))
                found.append((lesion_id, ZONE, zone))
        moving_vessels = None if case.after is None else organs.vessel_mask(case.after, moving)
        fixed_vessels = None if moving_vessels is None else organs.vessel_mask(case.before, fixed)
        return cls(
            fixed,
            moving,
            _liver(case.before, fixed),
            None if case.after is None else _liver(case.after, moving),
            tuple(mask for _, _, mask in found if mask is not None),
            tuple((lesion_id, what) for lesion_id, what, mask in found if mask is not None),
            tuple(landmarks),
            fixed_vessels,
            None if fixed_vessels is None else moving_vessels,
        )

    def fuse(self, progress: ProgressCallback = silent, *, preset: str = STANDARD) -> FusionResult:
        """Register the image after to the one before with an effort of `PRESETS`; raises as `core.fusion.fuse`."""
        return fuse(
            self.fixed,
            self.moving,
            fixed_liver=self.fixed_liver,
            moving_liver=self.moving_liver,
            exclude=self.exclude,
            landmarks=self.landmarks,
            fixed_vessels=self.fixed_vessels,
            moving_vessels=self.moving_vessels,
            preset=preset,
            progress=progress,
        )


def missing_for_fusion(case: CaseScene | None) -> str:
    """Why the images cannot be fused yet; empty where they can."""
    if case is None or case.volume is None:
        return "choose the image before ablation first"
    if case.post_volume is None:
        return "choose the image after ablation first"
    return ""


def apply_fusion(case: CaseScene, inputs: FusionInputs, result: FusionResult) -> Any:
    """Put a fusion into the case: the transform, what lies under it and its figures; returns the transform's node.

    Margins measured through an earlier fusion become stale.
    """
    document = {
        **result.to_dict(),
        EXCLUDED: [list(name) for name in inputs.excluded],
        LANDMARKS: [[np.asarray(point).tolist() for point in pair] for pair in inputs.landmarks],
    }
    node = case.replace_fusion(result.transform, document)
    _put_members_under(case)
    return node


def _put_members_under(case: CaseScene) -> None:
    """Put what was drawn in the frame after ablation under the present fusion; its own coordinates stay."""
    for role in (LANDMARK_ROLES["after"], ZONE_LINE_ROLE):
        for node in nodes_with_role(role):
            transforms.put_under(node, case.transform)


@dataclass(frozen=True)
class FusionVerdict:
    """What a fusion is worth: a word of `VERDICT_COLORS`, a headline, why, the figures (label, text) and what to do."""

    word: str
    headline: str
    reasons: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    advice: str

    @property
    def color(self) -> str:
        """The color of the word, as #rrggbb."""
        return VERDICT_COLORS[self.word]


_HEADLINES = {
    GOOD: "Good: margins can be read",
    DOUBTFUL: "Doubtful: look before a margin is read",
    NOT_USABLE: "Not usable: do not read margins",
    NOT_JUDGED: "Not judged: check it by eye",
}
_ADVICE = {
    GOOD: "Look at the liver's edge and vessels near the lesion once, then measure the margin.",
    DOUBTFUL: "Compare vessels near the lesion (blend, checkerboard). Where they are off, place landmark pairs and "
    "fuse again.",
    NOT_USABLE: "Check that both images are of this patient and both liver masks are right; place at least 4 landmark "
    "pairs around the lesion and fuse again.",
    NOT_JUDGED: "Compare liver outlines and vessels by eye, and place landmark pairs to measure the error.",
}


def fusion_verdict(case: CaseScene) -> FusionVerdict:
    """The verdict on the case's fusion, as its figures and its state say."""
    document = case.fusion_document()
    zones = ", ".join(zones_in_the_way(case))
    if case.transform is None:
        return FusionVerdict(NONE, "Not fused yet", (), (), "")
    figures = () if document is None else (*_figures_near_lesions(case, document), *fusion_figures(document))
    if is_stale(case.transform):
        reason = stale_reason(case.transform)
        return FusionVerdict(STALE, "Stale: fuse again", (reason,), figures, "Fuse the images again.")
    if document is None:
        reason = "the transform came without figures of its quality"
        return FusionVerdict(NOT_JUDGED, _HEADLINES[NOT_JUDGED], (reason,), (), _ADVICE[NOT_JUDGED])
    word = document.get("verdict") or NOT_JUDGED
    reasons = tuple(document.get("verdict_reasons") or document.get("warnings") or ())
    advice = _ADVICE.get(word, "")
    if zones:
        advice = f"Fuse again: the zone of {zones} is known now and will be left out. {advice}"
    return FusionVerdict(word, _HEADLINES.get(word, word), reasons, figures, advice)


def _figures_near_lesions(case: CaseScene, document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    rows = []
    for lesion_id, lesion in case.lesions.items():
        if numbers := _masks_of(document, lesion_id):
            near = NearLesion.of(document, numbers)
            doubt = "" if near.verdict in (None, GOOD) else f", {near.verdict}"
            rows.append((f"Error near {lesion.name}", _mm(near.error_mm) + _bound(near.bound_90_mm) + doubt))
    return tuple(rows)


def fusion_figures(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The figures of a fusion for people, (label, text); what is not known is left out."""
    rows = (
        ("Error in the liver", _mm(document.get("estimated_error_mm")), _bound(document.get("error_bound_90_mm"))),
        ("Landmark error", _mm(document.get("landmark_tre_mean_mm")), ""),
        ("Liver surfaces apart", _mm(document.get("liver_surface_distance_mm")), ""),
        ("Liver overlap (Dice)", _plain(document.get("liver_dice")), ""),
        ("Vessel middles apart", _mm(document.get("vessel_centerline_distance_mm")), ""),
        ("Vessel overlap (Dice)", _plain(document.get("vessel_dice")), ""),
        ("Local correlation", _plain(document.get("correlation")), ""),
        ("Deformation", _mm(document.get("displacement_mean_mm")), _most(document.get("displacement_max_mm"))),
        ("Volume change of tissue", _volume_change(document), ""),
    )
    return tuple((label, text + more) for label, text, more in rows if text)


def near_lesion(case: CaseScene, lesion_id: str) -> NearLesion:
    """What the case's fusion says near a lesion; nothing where there is none, or one without figures.

    Where both the tumor and the zone tell of it, the worse counts.
    """
    document = case.fusion_document()
    return NearLesion() if document is None else NearLesion.of(document, _masks_of(document, lesion_id))


def word_near(case: CaseScene, lesion_id: str) -> str:
    """The word of `VERDICT_COLORS` for the fusion near a lesion."""
    whole = fusion_verdict(case).word
    judged = whole in (GOOD, DOUBTFUL, NOT_USABLE)
    return near_lesion(case, lesion_id).verdict or whole if judged else whole


def _masks_of(document: Mapping[str, Any], lesion_id: str) -> list[int]:
    """The numbers of a lesion's masks among those that a fusion left out."""
    return [number for number, name in enumerate(document.get(EXCLUDED, ())) if name[0] == lesion_id]


def zones_in_the_way(case: CaseScene) -> list[str]:
    """The names of the lesions whose zones the present fusion did not leave out: changed tissue has driven it there.

    Of a fusion that does not tell what it left out, none.
    """
    document = case.fusion_document() or {}
    if EXCLUDED not in document:
        return []
    left_out = {tuple(name) for name in document[EXCLUDED]}
    return [
        lesion.name
        for lesion_id, lesion in case.lesions.items()
        if lesion.zone_segment is not None and (lesion_id, ZONE) not in left_out
    ]


def zone_warning(case: CaseScene) -> str:
    """What is to be said before fusing, where zones are missing; empty where none are."""
    names = lesions_without_zone(case)
    if not names:
        return ""
    return (
        f"No ablation zone yet: {', '.join(names)}. Where a lesion was treated, draw its zone before fusing: else the "
        "ablated tissue drives the fusion, and margins are less true."
    )


def _liver(segmentation: Any, image: sitk.Image) -> sitk.Image | None:
    """The liver of a segmentation on the grid of its image; None where there is none or it is empty."""
    segment_id = next(iter(segmentations.segment_ids(segmentation, "liver")), None)
    return None if segment_id is None else _filled(segmentations.segment_mask(segmentation, segment_id, image))


def _filled(mask: sitk.Image) -> sitk.Image | None:
    """The mask; None where nothing of it is within its image."""
    return mask if np.any(sitk.GetArrayViewFromImage(mask)) else None


def _mm(value: Any) -> str:
    return "" if value is None else f"{value:.1f} mm"


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:.2f}"


def _bound(value: Any) -> str:
    return "" if value is None else f" (90 % sure below {value:.1f} mm)"


def _most(value: Any) -> str:
    return "" if value is None else f" (at most {value:.1f} mm)"


def _volume_change(document: Mapping[str, Any]) -> str:
    least, most = document.get("jacobian_min"), document.get("jacobian_max")
    return "" if least is None or most is None else f"{100 * least:.0f} to {100 * most:.0f} %"
