"""The digital patient: a seeded torso before and after ablation whose truth is known exactly."""

from .geometry import PatientGeometry, make_geometry
from .masks import PatientMasks
from .metastasis import PhantomLesion
from .patient import DEFAULT_NOISE_HU, SIZES, DigitalPatient, make_patient
from .shapes import Ellipsoid, Union
from .truth import MinimalMargin
from .vessels import VesselTree

__all__ = [
    "DEFAULT_NOISE_HU",
    "SIZES",
    "DigitalPatient",
    "Ellipsoid",
    "MinimalMargin",
    "PatientGeometry",
    "PatientMasks",
    "PhantomLesion",
    "Union",
    "VesselTree",
    "make_geometry",
    "make_patient",
]
