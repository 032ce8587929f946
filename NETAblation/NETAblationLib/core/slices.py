"""From the planes of single slices to one even, right-angled grid, or the reason why there is none.

DICOM states a place for every slice; nothing in it promises that the slices make a box. ITK
builds the box regardless: a tilted, uneven or incomplete stack loads without a word and is
wrong by centimeters. Here the stack is proved slice by slice before any voxel is read.
Positions and axes are those of DICOM and SimpleITK: LPS, mm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import ImageReadError
from .volume_files import MAX_SHEAR_DEGREES

Vector = npt.NDArray[np.float64]

#: A step between neighboring slices may differ by this share from the median step: a PET
#: with steps of 3.25 to 3.35 mm passes (1.5 %), a missing slice (100 %) does not. The project's own
#: requirement; no published source.
MAX_STEP_DEVIATION = 0.05

#: Slices nearer than this share of the median distance of different places count as one place
#: (rounding of positions). No published source; user-set.
_SAME_PLACE_FRACTION = 0.05

#: How far a slice may lie, in slice steps and in pixels, from its place on the even grid.
#: No published source; user-set.
_MAX_DRIFT_STEPS = 0.5
_MAX_DRIFT_PIXELS = 0.5

#: Direction cosines of the slices of one series may differ by this (rounding of decimals).
#: No published source; user-set.
_COSINE_TOLERANCE = 1e-3

#: Positions are written with a few decimals only: a lean below this, in mm, over the whole
#: stack is rounding, however short the stack. No published source; user-set.
_POSITION_ROUNDING_MM = 0.02

#: A stated gantry tilt below this is taken as none. No published source; user-set.
_MIN_STATED_TILT_DEGREES = 0.5

#: Pixel spacings of one series may differ by this share (rounding). No published source; user-set.
_SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SlicePlane:
    """Where one slice lies: LPS, mm, as DICOM's image plane module states it (PS3.3 C.7.6.2).

    `name` is for messages; `position_mm` (3,) the center of the first pixel; `row_axis` and
    `column_axis` (3,) the directions in which the column and the row index grow;
    `spacing_ij_mm` the pixel's size along them; `size_ij` columns and rows;
    `gantry_tilt_degrees` the tilt that the header of an original (not reformatted) image states,
    0 for none.
    """

    name: str
    position_mm: Vector
    row_axis: Vector
    column_axis: Vector
    spacing_ij_mm: tuple[float, float]
    size_ij: tuple[int, int]
    gantry_tilt_degrees: float = 0.0

    def __post_init__(self) -> None:
        """Refuse positions, axes and spacings that cannot be; raises ImageReadError."""
        for field in ("position_mm", "row_axis", "column_axis"):
            value = np.asarray(getattr(self, field), dtype=np.float64)
            if value.shape != (3,) or not np.isfinite(value).all():
                raise ImageReadError(f"{self.name}: its position or orientation is not three finite numbers")
            object.__setattr__(self, field, value)
        if not all(np.isfinite(s) and s > 0 for s in self.spacing_ij_mm):
            raise ImageReadError(f"{self.name}: its pixel spacing {self.spacing_ij_mm} mm is not finite and above 0")
        lengths = np.array([np.linalg.norm(self.row_axis), np.linalg.norm(self.column_axis)])
        if np.abs(lengths - 1).max() > _COSINE_TOLERANCE or abs(self.row_axis @ self.column_axis) > _COSINE_TOLERANCE:
            raise ImageReadError(f"{self.name}: its row and column directions are not at right angles and of length 1")

    @property
    def normal(self) -> Vector:
        """The unit normal (3,): row axis x column axis, so that the frame is right-handed."""
        normal = np.cross(self.row_axis, self.column_axis)
        return normal / np.linalg.norm(normal)


@dataclass(frozen=True)
class SliceStack:
    """The grid of a proved stack: the order of the slices, and the grid in SimpleITK's terms (LPS, mm)."""

    order: tuple[int, ...]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    direction: tuple[float, ...]


def stack_slices(planes: Sequence[SlicePlane], name: str) -> SliceStack:
    """Order slices along their normal and prove that they make one even, right-angled grid.

    `planes` may be in any order. The slice step is the mean over the stack, the third axis the
    slices' normal, in whose direction the slices are ordered. `name` (the series) begins the
    messages. Raises ImageReadError for less than two slices, slices of different size, spacing
    or orientation, a gantry tilt or another shear, doubled places and several phases, missing
    slices and uneven steps (more than 5 % from the median step).
    """
    if len(planes) < 2:
        raise ImageReadError(f"{name}: a single slice; a 3D image needs a whole series of slices")
    _require_alike(planes, name)
    first = planes[0]
    normal = first.normal
    positions = np.array([plane.position_mm for plane in planes])
    along_mm = positions @ normal
    order = np.argsort(along_mm, kind="stable")
    positions, along_mm = positions[order], along_mm[order]
    names = [planes[i].name for i in order]
    tilt = max((plane.gantry_tilt_degrees for plane in planes), key=abs)
    _require_right_angles(positions, along_mm, normal, min(first.spacing_ij_mm), tilt, name)
    _require_even_steps(along_mm, names, name)
    _require_stated_tilt(normal, tilt, name)
    step_mm = (along_mm[-1] - along_mm[0]) / (len(planes) - 1)
    row_axis = first.row_axis / np.linalg.norm(first.row_axis)
    direction = np.column_stack([row_axis, np.cross(normal, row_axis), normal])
    return SliceStack(
        order=tuple(order.tolist()),
        origin_mm=tuple(positions[0].tolist()),
        spacing_mm=(*first.spacing_ij_mm, float(step_mm)),
        direction=tuple(direction.ravel().tolist()),
    )


def _require_alike(planes: Sequence[SlicePlane], name: str) -> None:
    first = planes[0]
    for plane in planes[1:]:
        if plane.size_ij != first.size_ij:
            what = "size", f"{_by(plane.size_ij)} and {_by(first.size_ij)} pixels"
        elif not np.allclose(plane.spacing_ij_mm, first.spacing_ij_mm, rtol=_SPACING_TOLERANCE, atol=0):
            what = "pixel spacing", f"{_by(plane.spacing_ij_mm)} and {_by(first.spacing_ij_mm)} mm"
        elif not np.allclose(
            [plane.row_axis, plane.column_axis], [first.row_axis, first.column_axis], rtol=0, atol=_COSINE_TOLERANCE
        ):
            angle = np.degrees(np.arccos(np.clip(plane.normal @ first.normal, -1.0, 1.0)))
            what = "orientation", f"their normals are {angle:.1f} degrees apart"
        else:
            continue
        raise ImageReadError(
            f"{name}: slices of different {what[0]} are mixed ({what[1]}: {plane.name} and {first.name}): "
            "keep only the slices of one image"
        )


def _require_right_angles(
    positions: Vector, along_mm: Vector, normal: Vector, pixel_mm: float, tilt_degrees: float, name: str
) -> None:
    """Each slice lies right above the one before: the stack leans nowhere.

    `positions` (N, 3) and `along_mm` (N,) are sorted. Slices that lie apart but not in one line
    are not a tilt but a mixture.
    """
    length_mm = along_mm[-1] - along_mm[0]
    sideways = (positions - positions[0]) - np.outer(along_mm - along_mm[0], normal)
    if length_mm > _POSITION_ROUNDING_MM:
        lean = (along_mm - along_mm[0]) @ sideways / np.sum((along_mm - along_mm[0]) ** 2)
    else:
        lean = np.zeros(3)
    beside_mm = np.linalg.norm(sideways - np.outer(along_mm - along_mm[0], lean), axis=1).max()
    limit_mm = _MAX_DRIFT_PIXELS * pixel_mm
    if beside_mm > max(limit_mm, _POSITION_ROUNDING_MM):
        raise ImageReadError(
            f"{name}: its slices do not lie in one row (up to {beside_mm:.2f} mm beside it): images of different "
            "places are mixed"
        )
    lean_mm = float(np.linalg.norm(lean)) * length_mm
    lean_degrees = float(np.degrees(np.arctan(np.linalg.norm(lean))))
    if lean_mm > _POSITION_ROUNDING_MM and (lean_degrees > MAX_SHEAR_DEGREES or lean_mm > limit_mm):
        stated = f"; the header states {abs(tilt_degrees):g} degrees" if tilt_degrees else ""
        raise ImageReadError(
            f"{name}: gantry tilt: the slices are stacked at {lean_degrees:.2f} degrees to their normal{stated}. Read "
            "as a box it would be sheared: straighten it first (in 3D Slicer: DICOM module, acquisition geometry "
            "regularization, then harden the transform and save)"
        )


def _require_stated_tilt(normal: Vector, tilt_degrees: float, name: str) -> None:
    """A tilt that the header states must show in the slices' orientation.

    A tilted gantry tilts the slices against the table, that is the patient's axes (DICOM PS3.3
    C.8.2.1, Gantry/Detector Tilt). Slices that lie straight all the same contradict the header,
    so their positions cannot be trusted.
    """
    from_table_degrees = float(np.degrees(np.arccos(min(abs(float(normal[2])), 1.0))))
    if abs(tilt_degrees) > _MIN_STATED_TILT_DEGREES and from_table_degrees < MAX_SHEAR_DEGREES:
        raise ImageReadError(
            f"{name}: gantry tilt: the header states {abs(tilt_degrees):g} degrees, but its slices claim to lie "
            "straight: one of both is wrong, so the place of the voxels is unknown"
        )


def _require_even_steps(along_mm: Vector, names: Sequence[str], name: str) -> None:
    """Every place is taken once, and the steps (sorted `along_mm`, (N,)) are even to 5 %."""
    steps = np.diff(along_mm)
    apart = steps[steps > _POSITION_ROUNDING_MM]
    if not apart.size:
        raise ImageReadError(f"{name}: all of its {len(names)} slices lie at one place: several time points or phases")
    median_mm = float(np.median(apart))
    doubled = np.flatnonzero(steps < _SAME_PLACE_FRACTION * median_mm)
    if doubled.size:
        _refuse_doubled(steps, median_mm, doubled, names, name)
    median_mm = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - median_mm)))
    deviation = abs(float(steps[worst]) - median_mm) / median_mm
    if deviation > MAX_STEP_DEVIATION + 1e-9:
        missing = round(float(steps[worst]) / median_mm) - 1
        why = f"{missing} slice{'s' if missing > 1 else ''} missing" if missing > 0 else "uneven slice spacing"
        raise ImageReadError(
            f"{name}: {why} between {names[worst]} and {names[worst + 1]}: a step of {steps[worst]:.4g} mm where "
            f"{median_mm:.4g} mm is usual ({int(np.sum(np.abs(steps / median_mm - 1) > MAX_STEP_DEVIATION))} of "
            f"{len(steps)} steps are more than {MAX_STEP_DEVIATION:.0%} off): export the whole series anew"
        )
    mean_mm = (along_mm[-1] - along_mm[0]) / (len(along_mm) - 1)
    drift_mm = np.abs(along_mm - along_mm[0] - mean_mm * np.arange(len(along_mm)))
    if drift_mm.max() > _MAX_DRIFT_STEPS * mean_mm:
        raise ImageReadError(
            f"{name}: uneven slice spacing: steps of {steps.min():.4g} to {steps.max():.4g} mm add up, so that "
            f"{names[int(np.argmax(drift_mm))]} lies {drift_mm.max():.3g} mm off an even grid"
        )


def _refuse_doubled(
    steps: Vector, median_mm: float, doubled: npt.NDArray[np.int64], names: Sequence[str], name: str
) -> None:
    place = np.concatenate([[0], np.cumsum(steps >= _SAME_PLACE_FRACTION * median_mm)])
    copies = set(Counter(place.tolist()).values())
    if len(copies) == 1 and len(names) > 2:
        raise ImageReadError(
            f"{name}: {copies.pop()} slices at each of its {place[-1] + 1} places: several time points, phases or "
            "echoes in one series, or every file twice: keep only the slices of one image"
        )
    first = int(doubled[0])
    raise ImageReadError(
        f"{name}: duplicate slices: {names[first]} and {names[first + 1]} lie at the same place "
        f"({doubled.size} such pair{'s' if doubled.size > 1 else ''}): remove the copies"
    )


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
