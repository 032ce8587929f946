"""Lesions of two dates: which is which by position after registration, and how each has grown.

Earlier lesions are not resampled: the voxels of the present ones are looked up in them through the
transform. Pairs are chosen all at once, so that the sum of their costs is least (optimal assignment); what
is left is a further part of a split lesion, one of several that merged, new or vanished.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import optimize

from . import frames
from .carry import require_3d
from .clinical_rules import RULES
from .diameters import axial_diameters_mm
from .errors import EmptyMaskError, GeometryError, InputError
from .frames import Points
from .fusion_inputs import sample_mask
from .images import require_3d_finite

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: What can become of a lesion.
FATES = ("same", "split", "merged", "split and merged", "new", "vanished")

#: Cost of leaving a lesion without a partner; a pair costs from 0 (one in the other) to 2. User-set.
_ALONE = 1.0


@dataclass(frozen=True)
class Match:
    """Lesions of the earlier and the present date that belong together, and their growth.

    `fate` is one of `FATES`. `volume_ratio` is present over earlier volume; diameters are the longest ones
    in axial slices, those of several parts added up (RECIST 1.1). `center_distance_mm` and
    `shared_fraction` (of the smaller volume) are those of the pair that was matched first, None for a new or
    vanished lesion. `volume_doublings` is how often the volume has doubled (below 0: halved).
    """

    fate: str
    earlier: tuple[str, ...]
    present: tuple[str, ...]
    earlier_volume_ml: float
    present_volume_ml: float
    volume_ratio: float | None
    earlier_diameter_mm: float
    present_diameter_mm: float
    diameter_change_mm: float | None
    diameter_change_fraction: float | None
    center_distance_mm: float | None
    shared_fraction: float | None
    volume_doublings: float | None
    days: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "earlier": list(self.earlier), "present": list(self.present)}


@dataclass(frozen=True)
class _Dated:
    """A lesion of one date; `center` and `points` are in the frame of the earlier date."""

    name: str
    mask: sitk.Image
    points: Points
    center: FloatArray
    volume_ml: float
    diameter_mm: float

    @property
    def radius_mm(self) -> float:
        """Radius of the sphere of the same volume."""
        return float((3.0 * 1000.0 * self.volume_ml / (4.0 * np.pi)) ** (1 / 3))


def match_lesions(
    earlier: Mapping[str, sitk.Image],
    present: Mapping[str, sitk.Image],
    *,
    present_to_earlier: sitk.Transform | None = None,
    days: float | None = None,
) -> tuple[Match, ...]:
    """Match lesions, masks by name, of an earlier and the present date.

    `present_to_earlier` maps points of the present frame to the earlier one, as a registration with the
    present image as the fixed one gives; None where both share a frame. A pair is possible where lesions share
    volume, or their centers are within the larger radius and a slack for the registration
    ("registration_slack"). `days` between both dates is only passed on.

    The result follows the order of the present lesions, then that of the vanished ones; which lesions belong
    together does not depend on the order. Raises EmptyMaskError and GeometryError, naming the mask, for
    empty or unsound masks and for dates whose images do not overlap, InputError for days that are not above 0.
    """
    if days is not None and not (np.isfinite(days) and days > 0):
        raise InputError(f"days between both dates: {days} is not a number above 0")
    require_3d(present_to_earlier)
    before = [_dated(name, mask, "earlier lesion", None) for name, mask in earlier.items()]
    now = [_dated(name, mask, "lesion", present_to_earlier) for name, mask in present.items()]
    _require_overlap(earlier, now)
    shared_ml = _shared_ml(before, now)
    distance = np.array([[float(np.linalg.norm(a.center - b.center)) for b in now] for a in before])
    pairs = _assign(before, now, shared_ml, distance.reshape(len(before), len(now)))
    matches = []
    for first, second in _groups(before, now, shared_ml, pairs):
        pair = next(((a, b) for a, b in pairs if a in first and b in second), None)
        matches.append(_match(before, now, first, second, pair, shared_ml, distance, days))
    return tuple(matches)


def _dated(name: str, mask: sitk.Image, what: str, to_earlier: sitk.Transform | None) -> _Dated:
    require_3d_finite(mask, f"{what} '{name}'")
    points = frames.voxel_centers(mask)
    if not len(points):
        raise EmptyMaskError(f"{what} '{name}': the mask is empty")
    there = points if to_earlier is None else frames.transform_points(to_earlier, points)
    if not np.isfinite(there).all():
        raise GeometryError(f"{what} '{name}': the transform takes it to no finite place; register the images again")
    volume_ml = len(points) * float(np.prod(mask.GetSpacing())) / 1000.0
    binary = sitk.NotEqual(mask, 0)
    return _Dated(name, binary, there, there.mean(axis=0), volume_ml, axial_diameters_mm(binary)[0])


def _require_overlap(earlier: Mapping[str, sitk.Image], now: Sequence[_Dated]) -> None:
    """Raise GeometryError where all present lesions lie far from all earlier images: another frame."""
    if not earlier or not now:
        return
    boxes = np.array([frames.bounding_box_ras(mask) for mask in earlier.values()])
    lower, upper = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
    size = upper - lower
    centers = np.array([lesion.center for lesion in now])
    if ((centers < lower - size) | (centers > upper + size)).any(axis=1).all():
        raise GeometryError(
            "lesions of both dates: they lie far from each other; check the transform, which maps points of the "
            "present image to the earlier one"
        )


def _shared_ml(before: Sequence[_Dated], now: Sequence[_Dated]) -> FloatArray:
    """Volume that each present lesion (columns) has in each earlier one (rows), in ml of the present frame."""
    shared = np.zeros((len(before), len(now)))
    for column, lesion in enumerate(now):
        voxel_ml = lesion.volume_ml / len(lesion.points)
        for row, other in enumerate(before):
            shared[row, column] = voxel_ml * np.count_nonzero(sample_mask(other.mask, lesion.points) > 0.5)
    return shared


def _assign(
    before: Sequence[_Dated], now: Sequence[_Dated], shared_ml: FloatArray, distance: FloatArray
) -> list[tuple[int, int]]:
    """The pairs (earlier, present) with the least sum of costs, where staying alone has a cost too."""
    rows, columns = len(before), len(now)
    if not rows or not columns:
        return []
    slack = RULES["registration_slack"].number
    gate = slack + np.maximum.outer([a.radius_mm for a in before], [b.radius_mm for b in now])
    smaller = np.minimum.outer([a.volume_ml for a in before], [b.volume_ml for b in now])
    is_possible = (shared_ml > 0) | (distance <= gate)
    cost = np.minimum(distance / gate, 1.0) + 1.0 - np.minimum(shared_ml / smaller, 1.0)
    # Every lesion may also stay alone: a square of its own price beside the pairs, as usual for such problems.
    never = 1e6
    square = np.full((rows + columns, rows + columns), never)
    square[:rows, :columns] = np.where(is_possible, cost, never)
    square[:rows, columns:][np.diag_indices(rows)] = _ALONE
    square[rows:, :columns][np.diag_indices(columns)] = _ALONE
    square[rows:, columns:] = 0.0
    first, second = optimize.linear_sum_assignment(square)
    return [(int(a), int(b)) for a, b in zip(first, second, strict=True) if a < rows and b < columns]


def _groups(
    before: Sequence[_Dated], now: Sequence[_Dated], shared_ml: FloatArray, pairs: Sequence[tuple[int, int]]
) -> list[tuple[list[int], list[int]]]:
    """Earlier and present lesions that belong together: the pairs, and what is left joined to what it lies in."""
    least = RULES["shared_volume"].number
    links = list(pairs)
    for row in sorted(set(range(len(before))) - {a for a, _ in pairs}):
        if len(now):
            column = int(np.argmax(shared_ml[row]))
            if shared_ml[row, column] >= least * before[row].volume_ml:
                links.append((row, column))
    for column in sorted(set(range(len(now))) - {b for _, b in pairs}):
        if len(before):
            row = int(np.argmax(shared_ml[:, column]))
            if shared_ml[row, column] >= least * now[column].volume_ml:
                links.append((row, column))
    group_of_row, group_of_column = list(range(len(before))), list(range(len(before), len(before) + len(now)))
    for row, column in links:
        old, new = group_of_column[column], group_of_row[row]
        group_of_row = [new if group == old else group for group in group_of_row]
        group_of_column = [new if group == old else group for group in group_of_column]
    order = list(dict.fromkeys([*group_of_column, *group_of_row]))
    return [
        (
            [row for row, group in enumerate(group_of_row) if group == wanted],
            [column for column, group in enumerate(group_of_column) if group == wanted],
        )
        for wanted in order
    ]


def _match(
    before: Sequence[_Dated],
    now: Sequence[_Dated],
    first: Sequence[int],
    second: Sequence[int],
    pair: tuple[int, int] | None,
    shared_ml: FloatArray,
    distance: FloatArray,
    days: float | None,
) -> Match:
    earlier, present = [before[row] for row in first], [now[column] for column in second]
    old_ml, new_ml = (math.fsum(lesion.volume_ml for lesion in lesions) for lesions in (earlier, present))
    old_mm, new_mm = (math.fsum(lesion.diameter_mm for lesion in lesions) for lesions in (earlier, present))
    has_both = bool(earlier and present)
    ratio = new_ml / old_ml if has_both else None
    smaller_ml = None if pair is None else min(before[pair[0]].volume_ml, now[pair[1]].volume_ml)
    return Match(
        fate=_fate(len(earlier), len(present)),
        earlier=tuple(lesion.name for lesion in earlier),
        present=tuple(lesion.name for lesion in present),
        earlier_volume_ml=old_ml,
        present_volume_ml=new_ml,
        volume_ratio=ratio,
        earlier_diameter_mm=old_mm,
        present_diameter_mm=new_mm,
        diameter_change_mm=new_mm - old_mm if has_both else None,
        diameter_change_fraction=(new_mm - old_mm) / old_mm if has_both else None,
        center_distance_mm=None if pair is None else float(distance[pair]),
        shared_fraction=None if pair is None or smaller_ml is None else min(float(shared_ml[pair]) / smaller_ml, 1.0),
        volume_doublings=None if ratio is None else math.log2(ratio),
        days=days,
    )


def _fate(earlier: int, present: int) -> str:
    if not earlier:
        return "new"
    if not present:
        return "vanished"
    if earlier > 1 and present > 1:
        return "split and merged"
    return "split" if present > 1 else "merged" if earlier > 1 else "same"
