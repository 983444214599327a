"""What the user does in napari's layer list: an image is opened to work on, or a layer that is needed is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

from . import notify
from .connections import Connections
from .layers import VolumeLayers


class LayerWatch:
    """`adopt(image)` is called for an image to work on while `waiting()`; a needed layer is put back.

    `layers()` are those of the session, if there is one; `closing()` is true while the window is being closed, and
    its layers with it. `post` runs a function later, on the main thread.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        adopt: Callable[[Image], None],
        waiting: Callable[[], bool],
        layers: Callable[[], VolumeLayers | None],
        closing: Callable[[], bool],
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._viewer = viewer
        self._take = adopt
        self._waiting, self._layers, self._closing, self._post = waiting, layers, closing, post
        self._connections = Connections()
        add, events = self._connections.add, viewer.layers.events
        add(events.inserted, notify.reported(self._on_inserted))
        add(events.removing, notify.reported(self._on_removing))
        add(events.removed, notify.reported(self._on_removed))

    def close(self) -> None:
        """Stop listening."""
        self._connections.close()

    def adopt_open_image(self) -> None:
        """Work on the image that is open already: the active one, or the first."""
        active = self._viewer.layers.selection.active
        images = [layer for layer in (active, *self._viewer.layers) if isinstance(layer, Image)]
        if images:
            self._take(images[0])

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if isinstance(layer, Image) and self._waiting():
            self._post(lambda: self._adopt(layer))

    def _adopt(self, layer: Image) -> None:
        if self._waiting() and layer in self._viewer.layers:
            self._take(layer)

    def _on_removing(self, _event: Any) -> None:
        layers = self._layers()
        if layers is not None:
            layers.note_places()

    def _on_removed(self, event: Any) -> None:
        layers = self._layers()
        if layers is not None and event.value in layers.needed:
            self._post(self._restore)

    def _restore(self) -> None:
        layers = self._layers()
        if not self._closing() and layers is not None and layers.restore():
            notify.tell(
                "The layer was put back: the session works on it, and its masks are still there. "
                "Open another volume to end the session."
            )
