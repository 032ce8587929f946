"""Masks in the scene: segments with a name, a code and a color, bit-exact both ways.

One segmentation node has one lattice of voxels, that of its reference image. Each segment keeps
only the box that its mask fills; segments may overlap. A mask on another lattice goes into a
segmentation of its own, or is resampled where the caller asks for that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..core import frames
from ..core.errors import GeometryError
from .nodes import create_node
from .provenance import Provenance
from .terminology import VESSELS, Term, load_terminology, term
from .volumes import numpy_matrix, set_geometry, vtk_matrix

KIND_TAG = "NETAblation.Kind"

_BINARY = "Binary labelmap"

#: Two lattices count as one when voxels differ by less than this share of a voxel. User-set, as in core.frames.
_LATTICE_TOLERANCE = 0.01

#: Slice outlines are drawn this thick (pixels) and fills this opaque. User-set.
_OUTLINE_PIXELS, _FILL_OPACITY = 3, 0.5

#: Kinds that are filled in the slices; the others are outlined only, so that the image is seen in them.
_FILLED = frozenset({"residual_tumor", "residual_margin", *VESSELS})


@dataclass(frozen=True)
class _Lattice:
    """Voxel lattice: (4, 4) matrix from index (I, J, K) to RAS mm, and size (I, J, K)."""

    index_to_ras: npt.NDArray[np.float64]
    size: tuple[int, int, int]

    def offset_of(self, other: _Lattice) -> npt.NDArray[np.int64] | None:
        """Index here of the first voxel of `other`; None where that is not of the same lattice."""
        to_here = np.linalg.inv(self.index_to_ras) @ other.index_to_ras
        far_corner = np.array(other.size, dtype=float)
        drift = np.abs((to_here[:3, :3] - np.eye(3)) @ far_corner).max()
        offset = np.rint(to_here[:3, 3])
        if max(drift, np.abs(to_here[:3, 3] - offset).max()) > _LATTICE_TOLERANCE:
            return None
        return offset.astype(np.int64)

    def empty_image(self) -> sitk.Image:
        """A mask of zeros on this lattice."""
        image = sitk.Image(list(self.size), sitk.sitkUInt8)
        set_geometry(image, self.index_to_ras)
        return image


def add_segmentation(reference: sitk.Image, name: str, provenance: Provenance, *, volume: Any = None) -> Any:
    """Add an empty vtkMRMLSegmentationNode whose voxels lie on the lattice of `reference`.

    `volume`, the node of the image that was segmented, is kept as the segmentation's reference.
    """
    load_terminology()
    node = create_node("vtkMRMLSegmentationNode", name, provenance)
    if volume is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    lattice = _lattice_of(reference)
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(
        vtk_matrix(lattice.index_to_ras), [0, lattice.size[0] - 1, 0, lattice.size[1] - 1, 0, lattice.size[2] - 1]
    )
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(_BINARY)
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    segmentation.SetConversionParameter(parameter, geometry)
    display = node.GetDisplayNode()
    display.SetSliceIntersectionThickness(_OUTLINE_PIXELS)
    return node


def add_segment(segmentation: Any, mask: sitk.Image, kind: str, name: str = "", *, resample: bool = False) -> str:
    """Add a mask as segment of a kind (see `terminology.kinds`) and return the segment's id.

    Any non-zero voxel is inside; an empty mask gives an empty segment. The mask may be a part of the
    reference grid or reach beyond it. Raises GeometryError for a mask on another lattice, unless
    `resample` asks for its nearest voxels on the segmentation's own.
    """
    segment_term = term(kind)
    name = name or segment_term.name
    target = _reference_lattice(segmentation)
    if resample:
        mask = on_lattice(segmentation, mask)
    elif target.offset_of(_lattice_of(mask)) is None:
        raise GeometryError(
            f"{name}: its voxels ({frames.describe_grid(mask)}) are not those of segmentation "
            f"{segmentation.GetName()}; use a segmentation of its own or ask for resampling"
        )
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*segment_term.color)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), segment_term.entry)
    segment.SetTag(KIND_TAG, kind)
    segment.AddRepresentation(_BINARY, _labelmap(mask, target))
    segment_id = segmentation.GetSegmentation().GenerateUniqueSegmentID(name)
    if not segmentation.GetSegmentation().AddSegment(segment, segment_id):
        raise GeometryError(f"{name}: Slicer did not take the segment into {segmentation.GetName()}")
    _style(segmentation, segment_id, segment_term)
    return str(segment_id)


def update_segment(segmentation: Any, segment_id: str, mask: sitk.Image) -> None:
    """Replace the mask of a segment; its name, code and color stay.

    Raises GeometryError for an unknown segment or a mask on another lattice.
    """
    segment = _segment(segmentation, segment_id)
    target = _reference_lattice(segmentation)
    if target.offset_of(_lattice_of(mask)) is None:
        raise GeometryError(f"{segment.GetName()}: the mask is not on the lattice of {segmentation.GetName()}")
    segment.RemoveAllRepresentations()
    segment.AddRepresentation(_BINARY, _labelmap(mask, target))
    segmentation.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
    segmentation.Modified()


def on_lattice(segmentation: Any, mask: sitk.Image) -> sitk.Image:
    """`mask` where its voxels are those of the segmentation, else the nearest voxels on the segmentation's own."""
    target = _reference_lattice(segmentation)
    if target.offset_of(_lattice_of(mask)) is not None:
        return mask
    return sitk.Resample(mask, target.empty_image(), sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)


def segment_mask(segmentation: Any, segment_id: str, reference: sitk.Image | None = None) -> sitk.Image:
    """The mask (uint8, 0 and 1) of a segment, on the segmentation's grid or on that of `reference`.

    On the same lattice the voxels are exact; on another the nearest voxel counts. A parent
    transform is not applied. Raises GeometryError for an unknown segment.
    """
    _segment(segmentation, segment_id)
    target = _reference_lattice(segmentation) if reference is None else _lattice_of(reference)
    result = target.empty_image()
    if reference is not None:
        result.CopyInformation(reference)
    stored = slicer.vtkOrientedImageData()
    segmentation.GetBinaryLabelmapRepresentation(segment_id, stored)
    if stored.IsEmpty():
        return result
    part = _image_of_labelmap(stored)
    offset = target.offset_of(_lattice_of(part))
    if offset is None:
        return sitk.Resample(part, result, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    return _pasted(part, result, offset)


def segment_box(segmentation: Any, segment_id: str, padding_voxels: int = 2) -> sitk.Image:
    """The mask (uint8, 0 and 1) of a segment, cut to the box that it fills and some voxels around.

    An empty segment gives a single voxel that is 0. Raises GeometryError for an unknown segment.
    """
    part = _filled_part(segmentation, segment_id)
    if part is None:
        return sitk.Image([1, 1, 1], sitk.sitkUInt8)
    return sitk.ConstantPad(part, [padding_voxels] * 3, [padding_voxels] * 3, 0)


def segment_hash(segmentation: Any, segment_id: str) -> str:
    """SHA-256 (hexadecimal) of which voxels of the segmentation's lattice a segment fills.

    The same voxels give the same hash, also after saving and opening, where the geometry may change in its last bits.
    Raises GeometryError for an unknown segment.
    """
    part = _filled_part(segmentation, segment_id)
    if part is None:
        return hashlib.sha256(b"empty").hexdigest()
    offset = _reference_lattice(segmentation).offset_of(_lattice_of(part))
    place = frames.index_to_ras_matrix(part).round(3) if offset is None else offset
    digest = hashlib.sha256(f"{place.tolist()} {part.GetSize()}".encode())
    digest.update(np.ravel(sitk.GetArrayViewFromImage(part)).data)
    return digest.hexdigest()


def content_time(segmentation: Any, segment_id: str) -> int:
    """A number that grows when the voxels of a segment change, in this session; 0 where it has none."""
    voxels = _segment(segmentation, segment_id).GetRepresentation(_BINARY)
    return 0 if voxels is None else int(voxels.GetMTime())


def reference_grid(segmentation: Any) -> sitk.Image:
    """An empty mask on the lattice that a segmentation was made for; raises GeometryError where it has none."""
    return _reference_lattice(segmentation).empty_image()


def remove_segment(segmentation: Any, segment_id: str) -> None:
    """Remove a segment; raises GeometryError for an unknown one."""
    _segment(segmentation, segment_id)
    segmentation.GetSegmentation().RemoveSegment(segment_id)


def rename_segment(segmentation: Any, segment_id: str, name: str) -> None:
    """Give a segment another name; its id stays. Raises GeometryError for an unknown segment."""
    _segment(segmentation, segment_id).SetName(name)


def set_segment_tag(segmentation: Any, segment_id: str, tag: str, value: str) -> None:
    """Write something about a segment into it; raises GeometryError for an unknown one."""
    _segment(segmentation, segment_id).SetTag(tag, value)


def segment_tag(segmentation: Any, segment_id: str, tag: str) -> str:
    """What `set_segment_tag` wrote; empty where nothing."""
    return _tag(_segment(segmentation, segment_id), tag)


def segment_ids(segmentation: Any, kind: str | None = None) -> list[str]:
    """The ids of all segments, or of those of one kind, in order."""
    ids = [str(segment_id) for segment_id in segmentation.GetSegmentation().GetSegmentIDs()]
    return ids if kind is None else [segment_id for segment_id in ids if segment_kind(segmentation, segment_id) == kind]


def segment_kinds(segmentation: Any) -> set[str]:
    """The kinds of all segments."""
    return {segment_kind(segmentation, segment_id) for segment_id in segment_ids(segmentation)}


def segment_name(segmentation: Any, segment_id: str) -> str:
    """The name of a segment."""
    return str(_segment(segmentation, segment_id).GetName())


def segment_color(segmentation: Any, segment_id: str) -> tuple[float, float, float]:
    """The color of a segment, three values from 0 to 1."""
    red, green, blue = _segment(segmentation, segment_id).GetColor()
    return float(red), float(green), float(blue)


def segment_kind(segmentation: Any, segment_id: str) -> str:
    """The kind under which a segment was added; empty for one that is not ours."""
    return _tag(_segment(segmentation, segment_id), KIND_TAG)


def segment_terminology(segmentation: Any, segment_id: str) -> str:
    """Slicer's serialized terminology of a segment."""
    return _tag(_segment(segmentation, segment_id), slicer.vtkSegment.GetTerminologyEntryTagName())


def _segment(segmentation: Any, segment_id: str) -> Any:
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        known = ", ".join(segmentation.GetSegmentation().GetSegmentIDs()) or "none"
        raise GeometryError(f"{segmentation.GetName()}: no segment '{segment_id}'; there are: {known}")
    return segment


def _tag(segment: Any, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _style(segmentation: Any, segment_id: str, segment_term: Term) -> None:
    """Organs faint, what is measured in full color; vessels tinted, since outlines would be wider than they are."""
    is_subject = segment_term.kind in {"tumor", "zone", "planned_zone", "residual_tumor", "residual_margin", "lesion"}
    display = segmentation.GetDisplayNode()
    display.SetSegmentVisibility2DFill(segment_id, segment_term.kind in _FILLED)
    display.SetSegmentVisibility2DOutline(segment_id, segment_term.kind not in VESSELS)
    display.SetSegmentOpacity2DFill(segment_id, _FILL_OPACITY)
    display.SetSegmentOpacity2DOutline(segment_id, 1.0 if is_subject else 0.5)
    display.SetSegmentOpacity3D(segment_id, 0.6 if is_subject else 0.15)


def _lattice_of(image: sitk.Image) -> _Lattice:
    return _Lattice(frames.index_to_ras_matrix(image), tuple(image.GetSize()))


def _reference_lattice(segmentation: Any) -> _Lattice:
    """The lattice that the segmentation was made for; that of its segments where none is recorded."""
    node = segmentation.GetSegmentation()
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    geometry = node.GetConversionParameter(parameter) or node.DetermineCommonLabelmapGeometry(
        node.EXTENT_UNION_OF_SEGMENTS, None
    )
    matrix, extent = vtk.vtkMatrix4x4(), [0, -1] * 3
    if not geometry or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, matrix, extent):
        raise GeometryError(f"{segmentation.GetName()}: has neither a reference geometry nor segments")
    index_to_ras = numpy_matrix(matrix)
    index_to_ras[:3, 3] += index_to_ras[:3, :3] @ extent[::2]
    size_i, size_j, size_k = (extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3))
    return _Lattice(index_to_ras, (size_i, size_j, size_k))


def _labelmap(mask: sitk.Image, target: _Lattice) -> Any:
    """The filled box of `mask` as vtkOrientedImageData on the lattice `target`, with its extent there."""
    labelmap = slicer.vtkOrientedImageData()
    labelmap.SetImageToWorldMatrix(vtk_matrix(target.index_to_ras))
    inside = sitk.GetArrayViewFromImage(mask) != 0
    box = _filled_box(inside)
    if box is None:
        labelmap.SetExtent(0, -1, 0, -1, 0, -1)
        return labelmap
    offset = target.offset_of(_lattice_of(mask))
    assert offset is not None  # the callers made sure
    extent: list[int] = []
    for axis, along in enumerate(reversed(box)):
        extent += [along.start + int(offset[axis]), along.stop - 1 + int(offset[axis])]
    labelmap.SetExtent(*extent)
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    values = vtk_to_numpy(labelmap.GetPointData().GetScalars())
    values[:] = inside[box].ravel()
    return labelmap


def _filled_part(segmentation: Any, segment_id: str) -> sitk.Image | None:
    """The mask of a segment cut to the box that it fills; None for an empty one."""
    _segment(segmentation, segment_id)
    stored = slicer.vtkOrientedImageData()
    segmentation.GetBinaryLabelmapRepresentation(segment_id, stored)
    if stored.IsEmpty():
        return None
    whole = _image_of_labelmap(stored)
    box = _filled_box(sitk.GetArrayViewFromImage(whole) != 0)
    return None if box is None else whole[tuple(reversed(box))]


def _filled_box(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box (K, J, I) around the true voxels; None where there is none."""
    box = []
    for axis in range(3):
        filled = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return box[0], box[1], box[2]


def _image_of_labelmap(labelmap: Any) -> sitk.Image:
    extent = labelmap.GetExtent()
    values = vtk_to_numpy(labelmap.GetPointData().GetScalars()) != 0
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    image = sitk.GetImageFromArray(values.reshape(shape).astype(np.uint8))
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    index_to_ras = numpy_matrix(matrix)
    index_to_ras[:3, 3] += index_to_ras[:3, :3] @ extent[::2]
    set_geometry(image, index_to_ras)
    return image


def _pasted(part: sitk.Image, whole: sitk.Image, offset: npt.NDArray[np.int64]) -> sitk.Image:
    """`whole` with `part` laid in at the index `offset`; what lies outside of it is cut off."""
    size = np.array(whole.GetSize())
    lower = np.clip(offset, 0, size)
    upper = np.clip(offset + part.GetSize(), 0, size)
    if np.any(upper <= lower):
        return whole
    return sitk.Paste(whole, part, (upper - lower).tolist(), (lower - offset).tolist(), lower.tolist())
