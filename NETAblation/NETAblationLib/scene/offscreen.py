"""Off-screen OpenGL: whether there is any, and windows that draw without a display.

``python -m NETAblationLib.scene.offscreen`` exits with 0 where pictures can be drawn, else with 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache

import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..core.errors import NETAblationError

#: VTK takes its window class from this variable; unset, it tries X, then EGL, then OSMesa.
_WINDOW_CLASS = "VTK_DEFAULT_OPENGL_WINDOW"

#: Without OpenGL VTK ends the process, so a child tries: it draws a background and reads it back.
_PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow, vtkWindowToImageFilter
window, renderer = vtkRenderWindow(), vtkRenderer()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
renderer.SetBackground(1.0, 0.0, 0.0)
window.AddRenderer(renderer)
window.Render()
image = vtkWindowToImageFilter()
image.SetInput(window)
image.Update()
pixel = [image.GetOutput().GetScalarComponentAsDouble(4, 4, 0, channel) for channel in range(3)]
raise SystemExit(0 if pixel == [255.0, 0.0, 0.0] else 1)
"""

_PROBE_TIMEOUT_S = 120.0

#: Compression of pictures, 0 to 9: the default of 5 takes twice the time and saves a sixth of the size.
_COMPRESSION = 1


@lru_cache(maxsize=1)
def can_render() -> bool:
    """Whether pictures can be drawn here; tried once per process, in a child process.

    Chooses the window class that works for all later windows of this process. Inside the
    application nothing is tried: it draws anyway.
    """
    from .startup import is_inside_application

    if is_inside_application():
        return True
    for window_class in _candidates():
        environment = dict(os.environ)
        if window_class:
            environment[_WINDOW_CLASS] = window_class
        if _draws(environment):
            os.environ.update({_WINDOW_CLASS: window_class} if window_class else {})
            return True
    return False


def require_available() -> None:
    """Raise NETAblationError, saying what to install, where pictures cannot be drawn."""
    if not can_render():
        raise NETAblationError(
            "no off-screen OpenGL, so pictures cannot be drawn: install it "
            "(Debian and Ubuntu: apt install libosmesa6, or libegl1 with libgl1-mesa-dri)"
        )


def new_window(size: tuple[int, int]) -> vtk.vtkRenderWindow:
    """A window of `size` (width, height) pixels that is never shown; raises as `require_available`."""
    require_available()
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetShowWindow(False)
    window.SetSize(*size)
    return window


def image_of(window: vtk.vtkRenderWindow) -> vtk.vtkImageData:
    """Draw `window` and return what it shows in RGB, the lowest row first."""
    window.Render()
    shown = vtk.vtkWindowToImageFilter()
    shown.SetInput(window)
    shown.SetInputBufferTypeToRGB()
    shown.ReadFrontBufferOff()
    shown.Update()
    return shown.GetOutput()


def png_of(window: vtk.vtkRenderWindow) -> bytes:
    """Draw `window` and return what it shows as PNG."""
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(image_of(window))
    writer.SetCompressionLevel(_COMPRESSION)
    writer.WriteToMemoryOn()
    writer.Write()
    return bytes(vtk_to_numpy(writer.GetResult()))


def _candidates() -> list[str]:
    """Window classes to try; the empty one leaves the choice to VTK.

    Without a display X is not tried first: it fails with a warning on the way to the others.
    """
    chosen = os.environ.get(_WINDOW_CLASS)
    if chosen:
        return [chosen]
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY"):
        return ["", "vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]
    return ["vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow", ""]


def _draws(environment: dict[str, str]) -> bool:
    command = [sys.executable, "-c", _PROBE]
    try:
        child = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return child.returncode == 0


if __name__ == "__main__":
    raise SystemExit(0 if can_render() else 1)
