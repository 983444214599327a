"""Clicks and drags on the canvas, turned into points and boxes.

Middle button, wheel and modifiers stay napari's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.volume import SliceKey

from .layers import VolumeLayers, is_inside, pixel_of

_CLICK_PIXELS = 4  # a press that moves less than this on the screen is a click, not a drag of the camera
_SMALLEST_BOX = 2.0  # in pixels of the slice; a smaller box was a click
_PAINTING = {"paint", "erase", "fill", "polygon"}
BRUSH_MODES = {"brush": "paint", "eraser": "erase"}


class CanvasTools:
    """Which tool is active, and what it does with the mouse.

    Signals: `clicked(SliceKey, x, y)`, `boxed(SliceKey, (x0, y0, x1, y1))`, `stroke_begins()` before napari
    paints, `hinted(text)` for a click that means nothing, `tool_changed(name)`.
    """

    clicked = Signal(SliceKey, float, float)
    boxed = Signal(SliceKey, tuple)
    stroke_begins = Signal()
    hinted = Signal(str)
    tool_changed = Signal(str)

    def __init__(self, viewer: ViewerModel, layers: VolumeLayers, axis: int) -> None:
        self._viewer = viewer
        self._layers = layers
        self._tool = ""
        self.axis = axis
        viewer.mouse_drag_callbacks.append(self._on_drag)
        layers.annotation.events.mode.connect(self._on_mode_changed)

    @property
    def tool(self) -> str:
        """ "point", "box", "brush", "eraser" or "" for none."""
        return self._tool

    def close(self) -> None:
        """Stop listening to the canvas."""
        if self._on_drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_drag)
        self._layers.annotation.events.mode.disconnect(self._on_mode_changed)

    def choose(self, tool: str) -> None:
        """Take a tool in hand; brush and eraser are napari's own modes of the annotation layer."""
        self._tool = tool
        annotation = self._layers.annotation
        if annotation in self._viewer.layers:
            self._viewer.layers.selection.active = annotation
        wanted = BRUSH_MODES.get(tool, "pan_zoom")
        if str(annotation.mode) != wanted:
            annotation.mode = wanted
        self.tool_changed.emit(tool)

    def slice_on_screen(self) -> SliceKey:
        """The slice that the viewer shows, along the session's axis."""
        position = self._layers.data_position(self._viewer.dims.point)
        count = self._layers.annotation.data.shape[self.axis]
        return SliceKey(self.axis, int(np.clip(np.round(position[self.axis]), 0, count - 1)))

    def _on_mode_changed(self, event: Any) -> None:
        mode = str(self._layers.annotation.mode)
        tools = {napari_mode: tool for tool, napari_mode in BRUSH_MODES.items()}
        tool = tools.get(
            mode, "" if mode in _PAINTING else self._tool if self._tool not in BRUSH_MODES else ""
        )
        if tool != self._tool:
            self._tool = tool
            self.tool_changed.emit(tool)

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None] | None:
        if event.button != 1:
            return None
        if self._painting():
            self.stroke_begins.emit()
        if event.modifiers or self._tool not in ("point", "box"):
            return None
        if len(event.dims_displayed) != 2:
            self.hinted.emit(
                "Prompts are placed on slices: leave the 3D view first (button at the lower left)."
            )
            return None
        if self._layers.annotation not in viewer.layers:
            return None
        return self._click(event) if self._tool == "point" else self._drag_box(event)

    def _painting(self) -> bool:
        annotation = self._layers.annotation
        return self._viewer.layers.selection.active is annotation and str(annotation.mode) in _PAINTING

    def _pressed_at(self, event: Any) -> NDArray[np.float64] | None:
        """The array position under the mouse, with the index of the slice on screen.

        None with a hint outside.
        """
        position = self._layers.data_position(event.position)
        position[self.axis] = self.slice_on_screen().index
        if is_inside(position, self._layers.annotation.data.shape):
            return position
        self.hinted.emit("That is outside the image: click on the structure.")
        return None

    def _click(self, event: Any) -> Generator[None, None, None]:
        start, key, position = np.asarray(event.pos, float), self.slice_on_screen(), self._pressed_at(event)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - start).max()) > _CLICK_PIXELS
            yield
        if position is not None and not moved:
            self.clicked.emit(key, *pixel_of(position, self.axis))

    def _drag_box(self, event: Any) -> Generator[None, None, None]:
        start, key = self._pressed_at(event), self.slice_on_screen()
        if start is None:
            return
        event.handled = True  # the camera would pan otherwise
        yield
        while event.type == "mouse_move":
            event.handled = True
            self._layers.show_boxes({key: self._box_to(start, event)})
            yield
        box = self._box_to(start, event)
        if min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_BOX:
            self.boxed.emit(key, box)
        else:
            self._layers.show_boxes({})
            self.hinted.emit("Drag from one corner of the structure to the other.")

    def _box_to(self, start: NDArray[np.float64], event: Any) -> tuple[float, float, float, float]:
        """The box (x0, y0, x1, y1) from the press to the mouse, kept inside the slice."""
        position = self._layers.data_position(event.position)
        top = np.asarray(self._layers.annotation.data.shape) - 0.5
        position = np.clip(position, -0.5, top)
        (xa, ya), (xb, yb) = pixel_of(start, self.axis), pixel_of(position, self.axis)
        return min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)
