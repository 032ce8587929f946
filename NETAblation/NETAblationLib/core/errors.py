"""The exceptions of NETAblation, by cause.

Each message says what is wrong, with which input, and what to do about it. The command
line ends with exit code 2 on an :class:`InputError` and with 1 on any other
:class:`NETAblationError`.
"""


class NETAblationError(Exception):
    """Base of every error that NETAblation raises on purpose."""


class InputError(NETAblationError):
    """What the user gave cannot be used; nothing was computed."""


class ImageReadError(InputError):
    """A file, folder or DICOM series cannot be read as one sound 3D image."""


class GeometryError(InputError):
    """Points, images or masks do not lie where they have to (frame, grid, overlap)."""


class EmptyMaskError(InputError):
    """A mask holds no voxel, or none where one is needed."""


class DeviceError(InputError):
    """A device, a setting or a row of the catalogue is unknown or unsound."""


class FormatError(InputError):
    """A JSON document is not of the schema or version that this release reads."""


class ComputationError(NETAblationError):
    """Sound input, but the method did not reach a usable result."""


class NothingFoundError(InputError, ComputationError):
    """Sound input without what is looked for in it: noise, no contrast, another organ, no free way."""


class Cancelled(NETAblationError):
    """The caller stopped the work; raised by the progress callback and passed through."""
