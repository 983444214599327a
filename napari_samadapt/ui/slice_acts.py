"""The acts on slices: accept, reject, undo, paint; go to the next one; fill others by propagation and interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_samadapt.imaging.volume import SliceKey

from . import notify
from .strokes import Stroke, stroke_of
from .workplace import Workplace


class SliceActs:
    """Listens to the section on the slice, and to napari's brush; `keys` are the acts that have a key."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._session = place.session
        self._layers = place.layers
        self._tools = place.tools
        self._connect()
        prediction = place.layers.prediction
        self.keys: dict[str, Callable[[], object]] = {
            "accept": self.accept,
            "reject": self.reject,
            "next": self.go_to_suggested,
            "propagate": self.toggle_propagation,
            "interpolate": self.interpolate,
            "prediction": lambda: self.show_prediction(not prediction.visible),
            "outline": lambda: self.outline_prediction(not prediction.contour),
            "undo": self.undo,
            "redo": self.redo,
        }

    def _connect(self) -> None:
        on, panel = self._place.on, self._place.panels.slice
        on(panel.accepted, self.accept)
        on(panel.rejected, self.reject)
        on(panel.next_wanted, self.go_to_suggested)
        on(panel.undone, self.undo)
        on(panel.redone, self.redo)
        on(panel.prediction_shown, self.show_prediction)
        on(panel.outlined, self.outline_prediction)
        on(panel.propagated, self.propagate)
        on(panel.propagation_cancelled, self._session.cancel_propagation)
        on(panel.interpolated, self.interpolate)
        on(self._tools.stroke_begins, self.take_over)
        on(self._layers.annotation.events.paint, self._on_painted)

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

    def outline_prediction(self, outlined: bool) -> None:
        """Show the prediction as an outline or as an area."""
        self._layers.prediction.contour = int(outlined)

    # other slices

    def go_to_suggested(self) -> None:
        """Show the slice where annotating helps most."""
        key = self._session.suggest()
        if key is None:
            notify.tell("Every slice is accepted: export the masks.")
        else:
            self._place.view.go_to(key.index)

    def toggle_propagation(self) -> None:
        """Carry the masks of the slice on screen to its neighbours, or stop doing so."""
        if self._session.propagating:
            self._session.cancel_propagation()
            self._place.view.help.show_propagation()
        else:
            self.propagate("both")

    def propagate(self, direction: str) -> None:
        """Carry the masks of the slice on screen "up", "down" or in "both" directions."""
        self._session.propagate(self._tools.slice_on_screen(), direction)
        self._place.view.help.show_propagation()

    def interpolate(self) -> None:
        """Fill the slices between the accepted ones before and after the slice on screen."""
        ends = self._place.view.help.interpolation_ends()
        if ends is None:
            notify.tell(
                "Accept a slice before and one after this one: then the shapes in between can be filled in."
            )
            return
        axis = self._session.axis
        first, last = (SliceKey(axis, index) for index in ends)
        filled = self._session.interpolate(first, last)
        count = f"{len(filled)} slice{'' if len(filled) == 1 else 's'}"
        notify.tell(
            f"{count} between {ends[0]} and {ends[1]} filled in: look at them, correct and accept them."
        )

    # the brush

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
            self._place.post(lambda: self._record(stroke))

    def _record(self, stroke: Stroke) -> None:
        locked = [shown.id for shown in self._session.classes if shown.locked]
        if locked:
            stroke = self._put_back(stroke, np.isin(stroke.before, locked) | np.isin(stroke.after, locked))
        if stroke.before.size:
            self._session.record_edit(stroke.indices, stroke.before, stroke.after)

    def _put_back(self, stroke: Stroke, protected: Any) -> Stroke:
        """Undo the protected part of a stroke in the shared memory; returns the rest."""
        lost = stroke.where(protected)
        if lost.before.size:
            self._session.annotation[lost.indices] = lost.before
            self._layers.annotation.refresh()
            notify.tell("A locked class was not painted. Unlock it in the class table to change it.")
        return stroke.where(~protected)
