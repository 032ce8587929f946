"""What plans in one CT share: its surroundings are looked into once for all tumors of a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from . import access, frames
from .access import Surroundings
from .access_rules import LIMITS
from .errors import GeometryError, InputError
from .images import as_mask, image_hash, require_3d_finite
from .lobes import Lobes

FloatArray = npt.NDArray[np.float64]

#: A tumor may reach so much farther than those that were surveyed, in mm: one that is drawn a little larger. User-set.
_SLACK_MM = 5.0
#: Digits of mm to which the origin of an image is rounded once it has been flipped: less than its own rounding.
_ORIGIN_DIGITS = 6


@dataclass(frozen=True)
class Scan:
    """A planning CT in HU with the skin in it, and what was drawn in it.

    `liver` and `obstacles` (by name) are masks in its frame, on grids of their own if need be, as are `no_go` areas
    of the skin, where no probe may enter. `lobes` tell which ways cross from one to another. `least_liver_mm` is how
    much liver a probe crosses before the tumor.
    """

    image: sitk.Image
    liver: sitk.Image
    obstacles: Mapping[str, sitk.Image] = field(default_factory=dict)
    no_go: Mapping[str, sitk.Image] = field(default_factory=dict)
    lobes: Lobes | None = None
    least_liver_mm: float = LIMITS["least_liver"].number


@dataclass(frozen=True)
class Survey:
    """A planning CT with liver and obstacles, as masks of 0 and 1, all upright, and what was found around them.

    `surroundings` have no tumor yet. `input_hashes` are those of the image and of all masks, by name. `region_ras_mm`
    are the lower and the upper corner of the region in which tumors can be planned for, None for all of the image.
    """

    image: sitk.Image
    liver: sitk.Image
    obstacles: Mapping[str, sitk.Image]
    surroundings: Surroundings
    input_hashes: Mapping[str, str]
    region_ras_mm: tuple[FloatArray, FloatArray] | None = None

    @classmethod
    def of(cls, scan: Scan, tumors: Sequence[sitk.Image] = (), reach_mm: float | None = None) -> Survey:
        """Look into a CT, some seconds of work.

        `tumors` are those that plans will be made for, as far as they are known: they count as liver also where its
        mask leaves them out. With `reach_mm` only what lies within that of one of them is looked into, which is
        faster; none but they can then be planned for.

        Raises InputError for an image that is no CT or a name given twice, EmptyMaskError or GeometryError for masks
        that are empty or elsewhere.
        """
        require_3d_finite(scan.image, "planning image")
        for name in ("image", "tumor", "liver"):
            if name in scan.obstacles:
                raise InputError(f"obstacle '{name}': this name is taken; give it another")
        known = [_upright(as_mask(tumor, "tumor")) for tumor in tumors]
        masks = {"liver": as_mask(scan.liver, "liver")}
        masks |= {name: as_mask(mask, f"obstacle '{name}'") for name, mask in scan.obstacles.items()}
        for name, mask in masks.items():
            _require_frame(scan.image, mask, name)
        areas = {name: as_mask(mask, f"no-go area '{name}'") for name, mask in scan.no_go.items()}
        hashes = {name: image_hash(mask) for name, mask in {"image": scan.image, **masks, **areas}.items()}
        image, masks = _upright(scan.image), {name: _upright(mask) for name, mask in masks.items()}
        obstacles = {name: masks[name] for name in scan.obstacles}
        surroundings = access.survey_all(
            image,
            masks["liver"],
            known,
            obstacles,
            no_go=areas,
            lobes=scan.lobes,
            least_liver_mm=scan.least_liver_mm,
            reach_mm=reach_mm,
        )
        region = None if reach_mm is None or not known else access.box_of(known, _SLACK_MM)
        return cls(image, masks["liver"], obstacles, surroundings, hashes, region)

    def mask_of(self, tumor: sitk.Image) -> sitk.Image:
        """A tumor as an upright mask of 0 and 1.

        Raises EmptyMaskError or GeometryError where it is empty or elsewhere, InputError where the surroundings of
        others were looked into.
        """
        mask = as_mask(tumor, "tumor")
        _require_frame(self.image, mask, "tumor")
        if not frames.is_inside(self.image, frames.voxel_centers(mask)).all():
            raise GeometryError("tumor: a part of it lies outside the planning image: check the frame of reference")
        lower, upper = access.box_of([mask], 0.0)
        if self.region_ras_mm is not None:
            first, last = self.region_ras_mm
            if (lower < first).any() or (upper > last).any():
                raise InputError("tumor: only the surroundings of other tumors were surveyed: survey those of this one")
        return _upright(mask)


def _upright(image: sitk.Image) -> sitk.Image:
    """The same image with its voxels stored along L, P and S as nearly as they can be, none of them changed.

    So a plan of several probes, of which others are as good, does not depend on how an image is stored.
    """
    stored = sitk.DICOMOrient(image, "LPS")
    stored.SetOrigin(np.round(stored.GetOrigin(), _ORIGIN_DIGITS).tolist())
    return stored


def _require_frame(image: sitk.Image, mask: sitk.Image, name: str) -> None:
    (lower, upper), (image_lower, image_upper) = frames.bounding_box_ras(mask), frames.bounding_box_ras(image)
    if (lower > image_upper).any() or (upper < image_lower).any():
        raise GeometryError(
            f"{name}: lies beside the planning image ({frames.describe_grid(mask)}; "
            f"{frames.describe_grid(image)}): check the frame of reference"
        )
