"""Clicks and drags on the canvas, turned into points, boxes, scribbles and lassos, and prompts taken and moved.

Middle button, wheel and modifiers stay napari's; Shift + drag, which napari leaves alone, changes the grey values.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from psygnal import Signal

from napari_samadapt.imaging.volume import SliceKey

from .layers import VolumeLayers, is_inside, pixel_of, position_of
from .prompt_shapes import Grip, Path

_CLICK_PIXELS = 4  # a press that moves less than this on the screen is a click, not a drag of the camera
_REACH_PIXELS = 8.0  # on the screen: so near to a prompt the mouse takes it
_PAINTING = {"paint", "erase", "fill", "polygon"}
BRUSH_MODES = {"brush": "paint", "eraser": "erase"}
_DRAWING = ("box", "scribble", "lasso")
PROMPTING = ("point", *_DRAWING)
"""The tools that ask SAM."""
_LEFT, _RIGHT = 1, 2
_NO_POLYGON_IN_3D = "The polygon that was begun is dropped: polygons are drawn on slices."
_NOT_IN_3D = "Prompts are placed on slices: leave the 3D view first (button at the lower left)."


class CanvasTools:
    """Which tool is active, and what it does with the mouse.

    Paths are (N, 2) pixels (x, y), kept inside the slice.
    """

    clicked = Signal(SliceKey, float, float)
    drawing = Signal(str, SliceKey, object)
    """Tool and path so far, while the button is held."""
    drawn = Signal(str, SliceKey, object)
    """Tool and path, when the button is let go."""
    chosen = Signal(SliceKey, object)
    """A prompt (Grip) was clicked."""
    dragging = Signal(SliceKey, object, object)
    """A prompt (Grip), and how far (2,) it was dragged so far."""
    dropped = Signal(SliceKey, object, object)
    """A prompt (Grip), and how far (2,) it was dragged."""
    removed = Signal(SliceKey, object)
    """A prompt (Grip) was clicked with the right button."""
    window_dragged = Signal(float, float)
    """Shift + drag: steps to the right and down, in pixels of the screen."""
    stroke_begins = Signal()
    """napari is about to paint."""
    hinted = Signal(str)
    """What to do instead of a click that means nothing."""
    tool_changed = Signal(str)

    def __init__(self, viewer: ViewerModel, layers: VolumeLayers, axis: int) -> None:
        self._viewer = viewer
        self._layers = layers
        self._tool = ""
        self._double_clicks: list[Any] | None = None
        self.axis = axis
        self.grip_at: Callable[[SliceKey, Path, NDArray[np.float64]], Grip | None] = lambda *_: None
        """Tells which prompt of a slice is near a pixel (2,), at most so many pixels (2,) away."""
        viewer.mouse_drag_callbacks.append(self._on_drag)
        layers.annotation.events.mode.connect(self._on_mode_changed)
        viewer.dims.events.ndisplay.connect(self._drop_polygon)

    @property
    def tool(self) -> str:
        """A tool of PROMPTING, "brush", "eraser" or "" for none."""
        return self._tool

    def close(self) -> None:
        """Stop listening to the canvas."""
        if self._on_drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_drag)
        self._give_double_clicks_back()
        self._layers.annotation.events.mode.disconnect(self._on_mode_changed)
        self._viewer.dims.events.ndisplay.disconnect(self._drop_polygon)

    def choose(self, tool: str) -> None:
        """Take a tool in hand; brush and eraser are napari's own modes of the annotation layer."""
        self._set_tool(tool)
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

    def _set_tool(self, tool: str) -> None:
        """Two quick clicks are two points: napari would zoom on a double click."""
        self._tool = tool
        if tool not in PROMPTING:
            self._give_double_clicks_back()
        elif self._double_clicks is None:
            self._double_clicks = list(self._viewer.mouse_double_click_callbacks)
            self._viewer.mouse_double_click_callbacks[:] = [self._on_double_click]

    def _give_double_clicks_back(self) -> None:
        if self._double_clicks is not None:
            self._viewer.mouse_double_click_callbacks[:] = self._double_clicks
            self._double_clicks = None

    def _drop_polygon(self, _event: Any) -> None:
        """In 3D, napari 0.9 fails to draw a polygon that was begun on a slice, at every paint from then on."""
        begun = self._layers.annotation._overlays["polygon"]  # napari offers no public way to it
        if self._viewer.dims.ndisplay == 3 and begun.points:
            begun.points = []
            self.hinted.emit(_NO_POLYGON_IN_3D)

    def _on_mode_changed(self, _event: Any) -> None:
        mode = str(self._layers.annotation.mode)
        tools = {napari_mode: tool for tool, napari_mode in BRUSH_MODES.items()}
        kept = "" if mode in _PAINTING or self._tool in BRUSH_MODES else self._tool
        tool = tools.get(mode, kept)
        if tool != self._tool:
            self._set_tool(tool)
            self.tool_changed.emit(tool)

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None] | None:
        painting = self._painting()
        if painting and event.button == _LEFT:
            self.stroke_begins.emit()
        if painting or self._layers.annotation not in viewer.layers or event.button not in (_LEFT, _RIGHT):
            return None
        flat = len(event.dims_displayed) == 2
        if event.modifiers:
            shift = event.button == _LEFT and flat and tuple(event.modifiers) == ("Shift",)
            return self._drag_window(event) if shift else None
        if not flat:
            if self._tool in PROMPTING and event.button == _LEFT:
                self.hinted.emit(_NOT_IN_3D)
            return None
        grip = self._grip_under(event)
        if event.button == _RIGHT:
            if grip is not None:
                event.handled = True  # the camera would zoom otherwise
                self.removed.emit(self.slice_on_screen(), grip)
            return None
        if grip is not None:
            return self._drag_prompt(event, grip)
        return self._use_tool(event)

    def _use_tool(self, event: Any) -> Generator[None, None, None] | None:
        if self._tool == "point":
            return self._click(event)
        return self._draw(event, self._tool) if self._tool in _DRAWING else None

    def _on_double_click(self, _viewer: ViewerModel, event: Any) -> None:
        if self._tool == "point" and not event.modifiers and len(event.dims_displayed) == 2:
            position = self._pressed_at(event)
            if position is not None:
                self.clicked.emit(self.slice_on_screen(), *pixel_of(position, self.axis))

    def _painting(self) -> bool:
        annotation = self._layers.annotation
        return self._viewer.layers.selection.active is annotation and str(annotation.mode) in _PAINTING

    def _grip_under(self, event: Any) -> Grip | None:
        """The prompt of the slice on screen under the mouse, measured on the screen."""
        key, place = self.slice_on_screen(), self._pixel_under(event)
        corner, right, down = (
            np.array(self._layers.world_position(position_of(key, xy))) for xy in ((0, 0), (1, 0), (0, 1))
        )
        sizes = np.array(
            [np.linalg.norm(right - corner), np.linalg.norm(down - corner)]
        )  # of a pixel, in the world
        reach = _REACH_PIXELS / (self._viewer.scene.camera.zoom * sizes)
        return self.grip_at(key, place, reach)

    def _pixel_under(self, event: Any) -> Path:
        """The pixel (2,) under the mouse, kept inside the slice."""
        top = np.asarray(self._layers.annotation.data.shape) - 0.5
        position = np.clip(self._layers.data_position(event.position), -0.5, top)
        return np.array(pixel_of(position, self.axis))

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
        is_click = True
        while event.type == "mouse_move":
            is_click = is_click and not _moved(start, event)
            yield
        if position is not None and is_click:
            self.clicked.emit(key, *pixel_of(position, self.axis))

    def _draw(self, event: Any, tool: str) -> Generator[None, None, None]:
        start, key = self._pressed_at(event), self.slice_on_screen()
        if start is None:
            return
        path = [np.array(pixel_of(start, self.axis))]
        event.handled = True  # the camera would pan otherwise
        yield
        while event.type == "mouse_move":
            event.handled = True
            path.append(self._pixel_under(event))
            self.drawing.emit(tool, key, np.array(path))
            yield
        path.append(self._pixel_under(event))
        self.drawn.emit(tool, key, np.array(path))

    def _drag_prompt(self, event: Any, grip: Grip) -> Generator[None, None, None]:
        """Take a prompt with the mouse; one that is only clicked is chosen."""
        pressed, start, key = np.asarray(event.pos, float), self._pixel_under(event), self.slice_on_screen()
        event.handled = True
        moved = False
        yield
        while event.type == "mouse_move":
            event.handled = True
            moved = moved or _moved(pressed, event)
            if moved:
                self.dragging.emit(key, grip, self._pixel_under(event) - start)
            yield
        if moved:
            self.dropped.emit(key, grip, self._pixel_under(event) - start)
        else:
            self.chosen.emit(key, grip)

    def _drag_window(self, event: Any) -> Generator[None, None, None]:
        before = np.asarray(event.pos, float)
        event.handled = True
        yield
        while event.type == "mouse_move":
            event.handled = True
            now = np.asarray(event.pos, float)
            self.window_dragged.emit(*(float(step) for step in now - before))
            before = now
            yield


def _moved(start: NDArray[np.float64], event: Any) -> bool:
    return float(np.abs(np.asarray(event.pos, float) - start).max()) > _CLICK_PIXELS
