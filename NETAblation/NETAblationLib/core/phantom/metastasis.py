"""A metastasis of the digital patient with all that is known of it exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..errors import InputError
from ..frames import as_points
from . import truth
from .ablation import coordinates_before, zone_region
from .geometry import PatientGeometry
from .grids import Grid, Region
from .lesions import EVALUABLE_MARGIN_MM, PlannedLesion
from .shapes import Union

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhantomLesion:
    """A metastasis whose shape, zone and margin are known exactly.

    `tumor_shape` and `zone_shape` are analytic, in the frame before ablation; the zone is clipped by the
    liver, as an image shows it. `kind` is "large", "subcapsular", "perivascular" or "ordinary";
    `beside` names the tree ("portal", "hepatic") whose vein a perivascular one touches.
    `shortfall_direction_ras` (3,) is set on the one lesion whose zone was pulled back, away
    from that direction. Masks are made when asked for.
    """

    name: str
    kind: str
    tumor_shape: Union
    zone_shape: Union
    beside: str
    shortfall_direction_ras: Array | None
    _geometry: PatientGeometry = field(repr=False)
    _pre_grid: Grid = field(repr=False)
    _post_grid: Grid = field(repr=False)

    @property
    def center_ras_mm(self) -> Array:
        """Center of the tumor's largest ellipsoid, (3,)."""
        return truth.main_part(self.tumor_shape).center_ras_mm

    @property
    def semi_axes_mm(self) -> Array:
        """Semi-axes of the tumor's largest ellipsoid, (3,)."""
        return truth.main_part(self.tumor_shape).semi_axes_mm

    @property
    def is_short(self) -> bool:
        """Whether this is the lesion whose zone was deliberately pulled back."""
        return self.shortfall_direction_ras is not None

    @cached_property
    def volume_ml(self) -> float:
        """Volume of the tumor from its analytic shape."""
        return truth.volume_ml(self.tumor_shape)

    @cached_property
    def zone_volume_ml(self) -> float:
        """Volume of the zone, in the frame before ablation, from its analytic shape."""
        return truth.volume_ml(self.zone_shape)

    @property
    def mask(self) -> sitk.Image:
        """The tumor on the grid before ablation: voxels whose center lies inside."""
        return self._pre_mask(self.tumor_shape)

    @property
    def zone_mask_pre(self) -> sitk.Image:
        """The zone on the grid before ablation."""
        return self._pre_mask(self.zone_shape)

    @property
    def zone_mask(self) -> sitk.Image:
        """The zone on the grid after ablation, carried there by the known motion."""
        mask = self._post_grid.empty_mask()
        planned = PlannedLesion(self.name, self.kind, self.tumor_shape, self.zone_shape)
        region = zone_region(planned, self._geometry.deformation, self._post_grid, 1.0)
        if region is not None:
            coordinates = coordinates_before(self._geometry.deformation, self._post_grid, region)
            points = np.stack([c.ravel() for c in coordinates], axis=1).astype(np.float64)
            mask[region] = self.zone_shape.is_inside(points).reshape(mask[region].shape)
        return self._post_grid.image(mask)

    def occupancy(self, samples: int = 4) -> sitk.Image:
        """The tumor's share of each voxel before ablation, float32 0..1, from `samples`^3 points."""
        if samples < 1:
            raise InputError(f"occupancy of {self.name}: samples must be at least 1, got {samples}")
        array = np.zeros(self._pre_grid.shape, np.float32)
        region = self._pre_region(self.tumor_shape)
        if region is not None:
            share = truth.occupancy(self.tumor_shape, self._pre_grid.points(region), self._pre_grid.spacing_mm, samples)
            array[region] = share.reshape(array[region].shape)
        return self._pre_grid.image(array)

    def signed_margin_mm(self, points_ras_mm: npt.ArrayLike) -> Array:
        """Exact distance of points (N, 3) before ablation to the zone's surface, positive inside."""
        return truth.signed_margin(self.zone_shape, as_points(points_ras_mm))

    def is_evaluable(
        self, points_ras_mm: npt.ArrayLike, margin_mm: float = EVALUABLE_MARGIN_MM
    ) -> npt.NDArray[np.bool_]:
        """Which points (N, 3) lie at least `margin_mm` from the liver's capsule; (N,)."""
        return truth.is_evaluable(self._geometry.liver, as_points(points_ras_mm), margin_mm)

    def surface_points(self, spacing_mm: float = 1.0) -> tuple[Array, Array]:
        """Points (N, 3) on the tumor's surface and its outward normals (N, 3)."""
        return self.tumor_shape.surface_points(spacing_mm)

    def true_margin(self, evaluable_margin_mm: float | None = EVALUABLE_MARGIN_MM) -> truth.MinimalMargin | None:
        """The exact MAM over the surface evaluable for a margin (None: over the whole surface)."""
        return truth.minimal_margin(self.tumor_shape, self.zone_shape, self._geometry.liver, evaluable_margin_mm)

    @cached_property
    def _evaluable_margin(self) -> truth.MinimalMargin | None:
        return self.true_margin()

    @cached_property
    def _whole_margin(self) -> truth.MinimalMargin:
        margin = self.true_margin(None)
        assert margin is not None
        return margin

    @property
    def true_mam_mm(self) -> float | None:
        """MAM over the surface at least 5 mm from the capsule; None where there is none."""
        return None if self._evaluable_margin is None else self._evaluable_margin.margin_mm

    @property
    def true_mam_location_ras_mm(self) -> Array | None:
        """Where that MAM is, (3,)."""
        return None if self._evaluable_margin is None else self._evaluable_margin.location_ras_mm

    @property
    def true_mam_whole_surface_mm(self) -> float:
        """MAM over the whole surface, subcapsular parts included."""
        return self._whole_margin.margin_mm

    @cached_property
    def diameter_line_ras_mm(self) -> Array:
        """Ends (2, 3) of the tumor's longest axial diameter before ablation."""
        lower, upper = self.tumor_shape.bounds_ras_mm
        reach = float(np.linalg.norm(upper - lower)) / 2 + 1.0
        return truth.longest_axial_line(self.tumor_shape.is_inside, 0.5 * (lower + upper), reach)

    @cached_property
    def zone_line_post_ras_mm(self) -> Array:
        """Ends (2, 3) of the zone's longest axial diameter in the image after ablation."""
        deformation = self._geometry.deformation
        surface = deformation.pre_to_post(self.zone_shape.surface_points(3.0)[0])
        center = 0.5 * (surface.min(axis=0) + surface.max(axis=0))
        reach = float(np.linalg.norm(surface - center, axis=1).max()) + 2.0
        return truth.longest_axial_line(lambda p: self.zone_shape.is_inside(deformation.post_to_pre(p)), center, reach)

    def _pre_region(self, shape: Union) -> Region | None:
        lower, upper = shape.bounds_ras_mm
        step = np.array(self._pre_grid.spacing_mm)
        return self._pre_grid.region(lower - step, upper + step)

    def _pre_mask(self, shape: Union) -> sitk.Image:
        mask = self._pre_grid.empty_mask()
        region = self._pre_region(shape)
        if region is not None:
            mask[region] = shape.is_inside(self._pre_grid.points(region)).reshape(mask[region].shape)
        return self._pre_grid.image(mask)
