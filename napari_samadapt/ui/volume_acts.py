"""The acts on how the volume is seen: which slices, which grey values."""

from __future__ import annotations

from typing import Any

from superqt.utils import qdebounced

from napari_samadapt.imaging.intensity import Window, named_window

from . import notify
from .connections import end_timer
from .view import CUSTOM_WINDOW, dragged_window
from .workplace import Workplace

_SETTLED_MS = 250  # while the contrast is dragged, SAM is not asked again for every step


class VolumeActs:
    """Listens to the volume's section, to napari's axes and contrast, and to Shift + drag."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._session = place.session
        self._layers = place.layers
        self._contrast_settled = qdebounced(notify.reported(self._on_contrast_changed), timeout=_SETTLED_MS)
        on, panel = place.on, place.panels.volume
        on(panel.axis, lambda name: self.show_axis(self._session.volume.axis_from(name)))
        on(panel.window_preset, self.set_named_window)
        on(place.tools.window_dragged, self.drag_window)
        on(place.viewer.dims.events.order, self._on_order_changed)
        place.connections.add(place.layers.image.events.contrast_limits, self._contrast_settled)

    def close(self) -> None:
        """Ask SAM for nothing any more."""
        end_timer(self._contrast_settled)

    def show_axis(self, axis: int) -> None:
        """Work on the slices along another axis."""
        if axis != self._session.axis:
            self._session.set_axis(axis)
        self._place.view.show_axis()

    def set_named_window(self, name: str) -> None:
        """Use a preset window, for the eye and for SAM."""
        if name == CUSTOM_WINDOW:
            return
        self._place.view.window_name = name
        self._session.set_window(named_window(self._session.volume, name))

    def drag_window(self, right: float, down: float) -> None:
        """Change width and level by a drag of so many pixels; SAM follows when it stands still."""
        if self._session.volume.is_color:
            notify.tell("A colour image has no grey-value window.")
            return
        low, high = (float(limit) for limit in self._layers.image.contrast_limits)
        window = dragged_window(Window(low, high), self._session.window, right, down)
        self._layers.image.contrast_limits = (window.low, window.high)

    def _on_contrast_changed(self) -> None:
        """The user drags the contrast: what is seen is what SAM gets, once it stands still."""
        low, high = (float(limit) for limit in self._layers.image.contrast_limits)
        window = self._session.window
        if not self._session.volume.is_color and (low, high) != (window.low, window.high):
            self._place.view.window_name = CUSTOM_WINDOW
            self._session.set_window(Window(low, high))

    def _on_order_changed(self, _event: Any) -> None:
        """The user rolled napari's axes: follow."""
        dims = self._place.viewer.dims
        if dims.ndim < 3:  # all layers are gone
            return
        axis = int(dims.order[-3]) - (dims.ndim - 3)
        if dims.ndisplay == 2 and axis in (0, 1, 2) and axis != self._session.axis:
            self.show_axis(axis)
