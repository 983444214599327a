"""A way round a defect of napari 0.9 and vispy 0.17 that ends the process when layers are removed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from napari.components import ViewerModel


class CanvasContext:
    """Makes the canvas's OpenGL context the current one before a layer is removed.

    napari's `VispyCanvas._clean_and_update_scenegraph` then calls vispy's `context.finish()`, which deletes textures,
    buffers and shaders at once, in whichever context is current: outside of a paint that may be Qt's own, which draws
    the window. Shaders deleted there are missing in the canvas's, whose next `glDrawArrays` is a segmentation fault.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        viewer.layers.events.removing.connect(self._make_current)

    def close(self) -> None:
        """Stop listening."""
        self._viewer.layers.events.removing.disconnect(self._make_current)

    def _make_current(self, _event: Any = None) -> None:
        # A model of a viewer has no window, a closed window no canvas. napari offers no public way to it.
        with suppress(AttributeError, RuntimeError):
            self._viewer.window._qt_viewer.canvas._scene_canvas.set_current()
