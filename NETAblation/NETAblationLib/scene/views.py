"""Pictures of the scene, drawn off screen by Slicer's own displayable managers.

`render_slice` shows an image with the outlines of segments, probes and a marked place;
`render_surfaces` the margin on the tumor's surface in 3D. Both show only the nodes they are given,
leave the scene as it was, and return PNG. For example, an axial picture through a lesion with its
outlines, and its margin in 3D seen from the right side:

    startup.start()
    volume = volumes.add_volume(image, "CT", Provenance("planning_image"))
    masks = segmentations.add_segmentation(image, "Masks", Provenance("segmentation"), volume=volume)
    segmentations.add_segment(masks, tumor, "tumor")
    segmentations.add_segment(masks, zone, "zone")
    line = probes.add_probe(entry_ras_mm, tip_ras_mm, "Probe 1", Provenance("probe"))
    png = render_slice(volume, center_ras_mm, orientation="axial", outlines=[masks], probe_lines=[line])
    write_png(png, "axial.png")
    margin = surfaces.add_margin_surface(surface, signed_margin_mm, "Margin", Provenance("margin_surface"))
    models = [margin.surface, *margin.contours]
    png = render_surfaces(models, center_ras_mm, facing_ras_mm=center_ras_mm + [50, 0, 0], margin=margin.surface)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from ..core import frames
from ..core.errors import InputError
from . import cameras, points, probes, segmentations, surfaces
from .messages import captured_messages
from .offscreen import png_of
from .overlays import WHITE, Color, Key, Overlay
from .view_windows import BACKGROUNDS, SliceView, SpaceView, slice_view, space_view

#: Right and up of the picture in RAS, as Slicer's presets and as radiologists look: from the feet,
#: from the front, from the left.
ORIENTATIONS = {
    "axial": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "coronal": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "sagittal": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
}


def render_slice(
    volume: Any,
    center_ras_mm: npt.ArrayLike,
    *,
    orientation: str | npt.ArrayLike = "axial",
    field_of_view_mm: float = 120.0,
    size: tuple[int, int] = (800, 800),
    outlines: Mapping[Any, Sequence[str]] | Sequence[Any] = (),
    probe_lines: Sequence[Any] = (),
    marks: Sequence[Any] = (),
    window: tuple[float, float] | None = None,
    title: str = "",
    annotated: bool = True,
) -> bytes:
    """Draw one slice of a volume, in the radiologists' orientation, as PNG.

    `orientation` is "axial", "coronal", "sagittal", or for an oblique slice two directions (2, 3) in
    RAS: toward the right and toward the top of the picture. `center_ras_mm` lies in the slice and in the
    middle of the picture, which is `field_of_view_mm`
    wide. `outlines` are segmentation nodes, or a mapping from each to the ids of the segments to
    draw; `probe_lines` are line nodes, projected on the slice; `marks` are point nodes, ringed and
    labeled. `window` gives the values shown black and white (the volume's own where None).
    `annotated` adds the title, orientation letters, a scale bar and the names of what is outlined.

    Raises InputError for an unknown orientation or an impossible size, NETAblationError without
    off-screen OpenGL.
    """
    (center,) = frames.as_points(np.asarray([center_ras_mm], float), "the center of the picture")
    axes = _picture_axes(orientation)
    _require_size(size, field_of_view_mm)
    chosen = _chosen_segments(outlines)
    with ExitStack() as stack:
        stack.enter_context(captured_messages())
        stack.enter_context(_shown([*chosen, *probe_lines], "Visibility2D"))
        stack.enter_context(_shown_segments(chosen))
        if window is not None:
            stack.enter_context(_window_of(volume, window))
        view = stack.enter_context(slice_view(size))
        view.look_at(volume, center, axes, field_of_view_mm)
        overlay = Overlay(view.window)
        entries = [
            *_segment_entries(chosen),
            *([Key("Probe", probes.line_color(probe_lines[0]))] if probe_lines else []),
        ]
        _project_probes(overlay, view, probe_lines)
        _mark_places(overlay, view, marks)
        if annotated:
            overlay.title(title)
            overlay.orientation(*view.directions())
            overlay.scale_bar(field_of_view_mm)
            overlay.names(entries)
        return png_of(view.window)


def render_surfaces(
    models: Sequence[Any],
    focus_ras_mm: npt.ArrayLike,
    *,
    facing_ras_mm: npt.ArrayLike | None = None,
    field_of_view_mm: float | None = None,
    size: tuple[int, int] = (900, 800),
    margin: Any = None,
    probe_lines: Sequence[Any] = (),
    marks: Sequence[Any] = (),
    background: str = "white",
    title: str = "",
    names: Sequence[tuple[str, Color]] = (),
) -> bytes:
    """Draw model nodes in 3D as PNG, superior up.

    The camera looks at `focus_ras_mm` from the side of `facing_ras_mm`, so that this place faces the
    viewer (from the front where None); `field_of_view_mm` is the height of the picture at the focus
    (all of `models` where None). `margin` is the model whose scale is drawn beside, `probe_lines` are
    line nodes, drawn as tubes, `marks` point nodes, ringed and labeled. `names` are written in their
    colors.

    Raises InputError for an unknown background or an impossible size, NETAblationError without
    off-screen OpenGL.
    """
    (focus,) = frames.as_points(np.asarray([focus_ras_mm], float), "the focus of the picture")
    if background not in BACKGROUNDS:
        raise InputError(f"background '{background}': choose one of {', '.join(BACKGROUNDS)}")
    height_mm = _height_of(models) if field_of_view_mm is None else field_of_view_mm
    _require_size(size, height_mm)
    colors = BACKGROUNDS[background]
    shown = [*models, *probe_lines]
    with ExitStack() as stack:
        stack.enter_context(captured_messages())
        stack.enter_context(_shown(shown, "Visibility3D"))
        view = stack.enter_context(space_view(size, colors))
        if margin is not None:
            stack.enter_context(_legend(margin, colors.text))
        view.look_at(focus, _viewing_direction(focus, facing_ras_mm), height_mm)
        overlay = Overlay(view.window, colors.text, shadow=False)
        overlay.title(title)
        overlay.names([*(Key(*name) for name in names), *(surfaces.margin_key(margin) if margin is not None else [])])
        _mark_places(overlay, view, marks, colors.text, colors.bottom)
        return png_of(view.window)


def write_png(picture: bytes, path: str | Path) -> Path:
    """Write a picture to a file; raises InputError where the place is not writable."""
    path = Path(path)
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    return path


@contextmanager
def _shown(nodes: Sequence[Any], in_views: str) -> Iterator[None]:
    """Show these displayable nodes and no others in "Visibility2D" or "Visibility3D"; put all back afterwards."""
    displays = slicer.mrmlScene.GetNodesByClass("vtkMRMLDisplayNode")
    displays.UnRegister(None)
    everything = [displays.GetItemAsObject(index) for index in range(displays.GetNumberOfItems())]
    before = [(display, display.GetVisibility(), getattr(display, f"Get{in_views}")()) for display in everything]
    wanted = {node.GetDisplayNode().GetID() for node in nodes}
    try:
        for display in everything:
            display.SetVisibility(display.GetID() in wanted)
            getattr(display, f"Set{in_views}")(display.GetID() in wanted)
        yield
    finally:
        for display, visibility, in_these in before:
            display.SetVisibility(visibility)
            getattr(display, f"Set{in_views}")(in_these)


@contextmanager
def _shown_segments(chosen: Mapping[Any, Sequence[str]]) -> Iterator[None]:
    """Show only the chosen segments of each segmentation, and their outlines; put all back afterwards."""
    before = []
    for node, ids in chosen.items():
        display = node.GetDisplayNode()
        for segment_id in segmentations.segment_ids(node):
            looks = display.GetSegmentVisibility(segment_id), display.GetSegmentVisibility2DOutline(segment_id)
            before.append((display, segment_id, looks))
            display.SetSegmentVisibility(segment_id, segment_id in ids)
            display.SetSegmentVisibility2DOutline(segment_id, True)
    try:
        yield
    finally:
        for display, segment_id, (visible, outlined) in before:
            display.SetSegmentVisibility(segment_id, visible)
            display.SetSegmentVisibility2DOutline(segment_id, outlined)


@contextmanager
def _window_of(volume: Any, window: tuple[float, float]) -> Iterator[None]:
    """Show the values from black to white of `window`; put the volume's own back afterwards."""
    display = volume.GetDisplayNode()
    automatic, low, high = display.GetAutoWindowLevel(), display.GetWindowLevelMin(), display.GetWindowLevelMax()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*window)
    try:
        yield
    finally:
        display.SetWindowLevelMinMax(low, high)
        display.SetAutoWindowLevel(automatic)


@contextmanager
def _legend(margin: Any, text_color: Color) -> Iterator[None]:
    """Draw the scale of a margin model at the right edge; the one that it has looks as before afterwards."""
    existing = slicer.modules.colors.logic().GetColorLegendDisplayNode(margin)
    before = slicer.vtkMRMLColorLegendDisplayNode()
    if existing is not None:
        before.CopyContent(existing)
    legend = existing or surfaces.add_margin_legend(margin)
    legend.SetVisibility(True)
    legend.SetTitleText(surfaces.LEGEND_TITLE)
    legend.SetSize(0.22, 0.5)
    legend.SetPosition(0.985, 0.5)
    for style in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        style.SetColor(text_color)
        style.SetShadow(False)
        style.SetFontSize(24)
    legend.Modified()
    try:
        yield
    finally:
        if existing is None:
            slicer.mrmlScene.RemoveNode(legend)
        else:
            legend.CopyContent(before)


def _project_probes(overlay: Overlay, view: SliceView, probe_lines: Sequence[Any]) -> None:
    """Slicer draws a line where it is near the slice; the projection of all of it is drawn thin on top."""
    for node in probe_lines:
        entry, tip = (view.place_of(end) for end in probes.probe_ends_in_world(node))
        overlay.line(entry, tip, probes.line_color(node), 2.0)


def _mark_places(
    overlay: Overlay, view: SliceView | SpaceView, marks: Sequence[Any], text: Color = WHITE, plate: Color | None = None
) -> None:
    for node in marks:
        x, y = view.place_of(points.point_position(node))
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            continue
        radius = 0.9 * overlay.text_pixels
        overlay.ring(x, y, radius, WHITE)
        overlay.text(
            points.point_label(node),
            x + 1.5 * radius / view.size[0],
            y,
            color=text,
            vertical="Centered",
            bold=True,
            plate=plate,
        )


def _picture_axes(orientation: str | npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Unit vectors right, up and toward the viewer's back as the columns of a (3, 3) matrix in RAS."""
    if isinstance(orientation, str):
        if orientation not in ORIENTATIONS:
            raise InputError(f"orientation '{orientation}': choose one of {', '.join(ORIENTATIONS)}")
        orientation = ORIENTATIONS[orientation]
    directions = frames.as_points(orientation, "the directions of the picture")
    if len(directions) != 2 or np.linalg.norm(np.cross(*directions)) < 1e-6:
        raise InputError("an oblique slice needs two directions that differ: right and up of the picture")
    right = directions[0] / np.linalg.norm(directions[0])
    up = directions[1] - (directions[1] @ right) * right
    up /= np.linalg.norm(up)
    return np.stack([right, up, np.cross(right, up)], axis=1)


def _chosen_segments(outlines: Mapping[Any, Sequence[str]] | Sequence[Any]) -> dict[Any, list[str]]:
    if isinstance(outlines, Mapping):
        return {node: list(ids) for node, ids in outlines.items()}
    return {node: segmentations.segment_ids(node) for node in outlines}


def _segment_entries(chosen: Mapping[Any, Sequence[str]]) -> list[Key]:
    return [
        Key(segmentations.segment_name(node, segment_id), segmentations.segment_color(node, segment_id))
        for node, ids in chosen.items()
        for segment_id in ids
    ]


def _viewing_direction(focus: npt.NDArray[np.float64], facing: npt.ArrayLike | None) -> npt.NDArray[np.float64]:
    """Unit vector from the focus to the viewer: from the front where no place is to face him."""
    if facing is None:
        return np.array([0.0, 1.0, 0.0])
    (place,) = frames.as_points(np.asarray([facing], float), "the place to face")
    return cameras.toward_viewer(focus, place)


def _height_of(models: Sequence[Any]) -> float:
    """Height in mm of a picture that holds all models from any side."""
    if not models:
        raise InputError("a 3D picture needs at least one model, or a field of view")
    box = vtk.vtkBoundingBox()
    for model in models:
        bounds = [0.0] * 6
        model.GetRASBounds(bounds)
        box.AddBounds(bounds)
    return 1.15 * float(box.GetDiagonalLength())


def _require_size(size: tuple[int, int], field_of_view_mm: float) -> None:
    if min(size) < 16 or not (np.isfinite(field_of_view_mm) and field_of_view_mm > 0):
        raise InputError(f"a picture of {size[0]} x {size[1]} pixels and {field_of_view_mm:g} mm cannot be drawn")
