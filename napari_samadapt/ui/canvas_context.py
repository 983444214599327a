"""A way round a defect of napari 0.9 and vispy 0.17 that ends the process when layers are removed."""

from __future__ import annotations

from contextlib import suppress

from napari.components import ViewerModel

_NAME = "samadapt-canvas-context"


def keep_context_current(viewer: ViewerModel) -> None:
    """Make the canvas's OpenGL context the current one when layers are removed, as long as there is the viewer.

    napari's `VispyCanvas._clean_and_update_scenegraph` then calls vispy's `context.finish()`, which deletes textures,
    buffers and shaders at once, in whichever context is current: outside of a paint that may be Qt's own, which draws
    the window. Shaders deleted there are missing in the canvas's, whose next `glDrawArrays` is a segmentation fault.
    """

    def make_current() -> None:
        # A model of a viewer has no window, a closed window no canvas. napari offers no public way to it.
        with suppress(AttributeError, RuntimeError):
            viewer.window._qt_viewer.canvas._scene_canvas.set_current()

    events = viewer.layers.events
    for emitter in (
        events.removing,
        events.end_batch,
    ):  # of one layer; of all at once, as when a viewer is closed
        if _NAME not in emitter.callback_refs:
            emitter.connect(make_current, ref=_NAME, position="first")
