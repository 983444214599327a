"""What the user does on the canvas, in the panels and by key, told to the Session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from superqt.utils import qdebounced

from napari_samadapt.imaging.intensity import Window, named_window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey

from . import notify
from .canvas_tools import CanvasTools
from .connections import Connections
from .keys import KeyBindings
from .layers import VolumeLayers
from .method_settings import ask_method_settings
from .session_view import Panels, SessionView
from .strokes import Stroke, stroke_of
from .view import CUSTOM_WINDOW

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_SETTLED_MS = 250  # while the contrast is dragged, SAM is not asked again for every step


class UserActs:
    """Listens to the user for one session. Every act goes through `notify.reported`, so that an error is
    shown.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        layers: VolumeLayers,
        tools: CanvasTools,
        panels: Panels,
        view: SessionView,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._viewer = viewer
        self._session = session
        self._layers = layers
        self._tools = tools
        self._panels = panels
        self._view = view
        self._post = post
        self._positive = True
        self._contrast_settled = qdebounced(notify.reported(self._on_contrast_changed), timeout=_SETTLED_MS)
        self._connections = Connections()
        self._connect_panels()
        self._connect_canvas()
        self._keys = KeyBindings(
            (viewer, layers.annotation, layers.prediction, layers.prompts),
            {name: notify.reported(action) for name, action in self._key_actions().items()},
        )
        panels.prompts.set_tool("")
        panels.prompts.set_sign(True)

    def close(self) -> None:
        """Stop listening."""
        self._contrast_settled.cancel()
        self._connections.close()
        self._keys.close()

    def _connect_panels(self) -> None:
        session, panels = self._session, self._panels
        acts: list[tuple[Any, Callable[..., object]]] = [
            (panels.volume.axis, lambda name: self.show_axis(session.volume.axis_from(name))),
            (panels.volume.window_preset, self.set_named_window),
            (panels.classes.added, lambda: session.add_class(self._new_name())),
            (panels.classes.removed, session.remove_class),
            (panels.classes.selected, self.select_class),
            (panels.classes.renamed, self.rename_class),
            (panels.classes.lock_changed, session.set_locked),
            (panels.prompts.tool, self._tools.choose),
            (panels.prompts.sign, self.set_sign),
            (panels.prompts.kept, self.keep_draft),
            (panels.slice.accepted, self.accept),
            (panels.slice.rejected, self.reject),
            (panels.slice.undone, self.undo),
            (panels.slice.redone, self.redo),
            (panels.slice.prediction_shown, self.show_prediction),
            (panels.learning.started, session.start_learning),
            (panels.learning.paused, session.pause),
            (panels.learning.resumed, session.resume),
            (panels.learning.stopped, session.stop),
            (panels.learning.rolled_back, session.roll_back),
            (panels.learning.reset, session.reset_adapter),
            (panels.learning.enabled, lambda on: self.set_policy(enabled=on)),
            (panels.learning.seconds, lambda seconds: self.set_policy(seconds=float(seconds))),
            (panels.learning.method, self.set_method),
            (panels.learning.settings, self.change_settings),
        ]
        for signal, act in acts:
            self._connections.add(signal, notify.reported(act))

    def _connect_canvas(self) -> None:
        add, tools, annotation = self._connections.add, self._tools, self._layers.annotation
        add(tools.clicked, notify.reported(self.add_point))
        add(tools.boxed, notify.reported(self.set_box))
        add(tools.stroke_begins, notify.reported(self.take_over))
        add(tools.hinted, notify.tell)
        add(tools.tool_changed, self._panels.prompts.set_tool)
        add(annotation.events.paint, notify.reported(self._on_painted))
        add(annotation.events.selected_label, notify.reported(self._on_label_selected))
        add(self._viewer.dims.events.order, notify.reported(self._on_order_changed))
        add(self._layers.image.events.contrast_limits, self._contrast_settled)

    def _key_actions(self) -> dict[str, Callable[[], object]]:
        return {
            "sign": lambda: self.set_sign(not self._positive),
            "point": lambda: self.toggle_tool("point"),
            "box": lambda: self.toggle_tool("box"),
            "keep": self.keep_draft,
            "accept": self.accept,
            "reject": self.reject,
            "prediction": lambda: self.show_prediction(not self._layers.prediction.visible),
            "undo": self.undo,
            "redo": self.redo,
        }

    # prompts

    def toggle_tool(self, tool: str) -> None:
        """Take a tool in hand, or release it when it is in hand already."""
        self._tools.choose("" if self._tools.tool == tool else tool)

    def set_sign(self, positive: bool) -> None:
        """Place positive or negative points from now on."""
        self._positive = positive
        self._panels.prompts.set_sign(positive)

    def add_point(self, key: SliceKey, x: float, y: float) -> None:
        """Add a point at pixel (x, y) to the prompts of a slice."""
        before = self._session.prompts.get(key, Prompts())
        coords = np.vstack([before.point_coords, np.array([[x, y]], np.float32)])
        labels = np.append(before.point_labels, int(self._positive))
        self._session.set_prompts(key, replace(before, point_coords=coords, point_labels=labels))

    def set_box(self, key: SliceKey, box: tuple[float, float, float, float]) -> None:
        """Replace the box (x0, y0, x1, y1) of a slice's prompts."""
        before = self._session.prompts.get(key, Prompts())
        self._session.set_prompts(key, replace(before, box=np.array(box, np.float32)))

    def keep_draft(self) -> None:
        """Make the open masks the user's own: the next point or box is for another object."""
        for key in tuple(self._session.prompts):
            self._session.keep_draft(key)

    # the slice on screen

    def accept(self) -> None:
        """Accept the slice on screen."""
        self._session.accept(self._tools.slice_on_screen())

    def reject(self) -> None:
        """Take the draft of the slice on screen back, or clear the slice."""
        self._session.reject(self._tools.slice_on_screen())

    def undo(self) -> None:
        """Undo the last act."""
        self._session.undo()

    def redo(self) -> None:
        """Redo what was undone last."""
        self._session.redo()

    def show_prediction(self, shown: bool) -> None:
        """Show or hide the prediction."""
        self._layers.prediction.visible = shown

    def take_over(self) -> None:
        """Before the brush touches a predicted slice: its prediction becomes the annotation that is
        corrected.
        """
        self._session.begin_edit(self._tools.slice_on_screen())

    def _on_painted(self, event: Any) -> None:
        stroke = stroke_of(event.value, self._session.annotation.shape)
        if np.array_equal(self._session.annotation[stroke.indices], stroke.after):
            self._record(stroke)
        else:  # napari writes a finished polygon only after it has told
            self._post(lambda: self._record(stroke))

    def _record(self, stroke: Stroke) -> None:
        locked = [shown.id for shown in self._session.classes if shown.locked]
        if locked:
            stroke = self._put_back(stroke, np.isin(stroke.before, locked))
        if stroke.before.size:
            self._session.record_edit(stroke.indices, stroke.before, stroke.after)

    def _put_back(self, stroke: Stroke, protected: Any) -> Stroke:
        """Undo the protected part of a stroke in the shared memory; returns the rest."""
        lost = stroke.where(protected)
        if lost.before.size:
            self._session.annotation[lost.indices] = lost.before
            self._layers.annotation.refresh()
            notify.tell("A locked class was not painted over. Unlock it in the class table to change it.")
        return stroke.where(~protected)

    # classes

    def select_class(self, class_id: int) -> None:
        """Choose what clicks and brush draw; the mask that is open stays as it is, without its prompts."""
        self.keep_draft()
        self._session.select_class(class_id)

    def rename_class(self, class_id: int, name: str) -> None:
        """Give a class another name; a refused name is replaced by the old one in the table."""
        try:
            self._session.rename_class(class_id, name)
        finally:
            self._panels.classes.set_classes(self._session.classes, self._session.active_class)

    def _new_name(self) -> str:
        taken = {shown.name for shown in self._session.classes}
        number = len(taken) + 1
        while f"structure {number}" in taken:
            number += 1
        return f"structure {number}"

    def _on_label_selected(self, _event: Any) -> None:
        """The user chose a label by napari's own means (picker, M, spin box): follow it if it is a class."""
        chosen = int(self._layers.annotation.selected_label)
        known = {shown.id for shown in self._session.classes}
        if chosen in known and chosen != self._session.active_class:
            self.select_class(chosen)
        elif chosen not in known and chosen != 0:
            self._layers.annotation.selected_label = self._session.active_class
            notify.tell(f"There is no class {chosen}: add it in the class table first.")

    # the volume

    def show_axis(self, axis: int) -> None:
        """Work on the slices along another axis."""
        if axis != self._session.axis:
            self._session.set_axis(axis)
        self._view.show_axis()

    def set_named_window(self, name: str) -> None:
        """Use a preset window, for the eye and for SAM."""
        if name == CUSTOM_WINDOW:
            return
        self._view.window_name = name
        self._session.set_window(named_window(self._session.volume, name))

    def _on_contrast_changed(self) -> None:
        """The user drags napari's contrast: what is seen is what SAM gets, once it stands still."""
        low, high = (float(limit) for limit in self._layers.image.contrast_limits)
        window = self._session.window
        if not self._session.volume.is_color and (low, high) != (window.low, window.high):
            self._view.window_name = CUSTOM_WINDOW
            self._session.set_window(Window(low, high))

    def _on_order_changed(self, _event: Any) -> None:
        """The user rolled napari's axes: follow."""
        if self._viewer.dims.ndim < 3:  # all layers are gone
            return
        axis = int(self._viewer.dims.order[-3]) - (self._viewer.dims.ndim - 3)
        if self._viewer.dims.ndisplay == 2 and axis in (0, 1, 2) and axis != self._session.axis:
            self.show_axis(axis)

    # learning

    def set_policy(self, **changes: Any) -> None:
        """Change when and for how long the model learns."""
        self._session.set_policy(replace(self._session.policy, **changes))

    def set_method(self, method: str) -> None:
        """Train another kind of adapter from now on, in the same blocks and with the same automatic decoder."""
        from napari_samadapt.learning.adapters import AdapterConfig

        now = self._session.config
        self._session.set_method(
            AdapterConfig(method, blocks=now.blocks, last_blocks=now.last_blocks, decoder=now.decoder)
        )

    def change_settings(self) -> None:
        """Ask for the options of the method and for the decoder, and train that kind of adapter from now on."""
        config = ask_method_settings(self._session.config, self._panels.learning)
        if config is not None:
            self._session.set_method(config)
