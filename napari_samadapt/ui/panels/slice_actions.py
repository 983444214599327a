"""This slice: the strip of all slices, accept, reject, next; undo, redo; the prediction; fill other slices."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from ..slice_strip import SliceStrip
from .flow import flow
from .section import button, column

_DIRECTIONS = {
    "both": "In both directions",
    "up": "Towards higher slice numbers",
    "down": "Towards lower slice numbers",
}
_PROPAGATE_TIP = (
    "Carry the masks of this accepted slice to its neighbours, as far as they can be trusted. "
    "What it proposes is yours to accept or correct; one undo takes it all back."
)


class SlicePanel(QWidget):
    """`accepted()`, `rejected()`, `next_wanted()`, `undone()`, `redone()`, `prediction_shown(bool)`,
    `outlined(bool)`, `propagated(direction)`, `propagation_cancelled()`, `interpolated()`.

    The strip emits `chosen(index)`.
    """

    accepted = Signal()
    rejected = Signal()
    next_wanted = Signal()
    undone = Signal()
    redone = Signal()
    prediction_shown = Signal(bool)
    outlined = Signal(bool)
    propagated = Signal(str)
    propagation_cancelled = Signal()
    interpolated = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._propagating = False
        self.strip = SliceStrip()
        self._accept = button(
            "Accept slice  A", "Keep what is displayed on this slice and learn from it", self.accepted.emit
        )
        self._accept.setObjectName("accept")
        self._reject = button(
            "Reject  R",
            "Take the draft and its prompts back; without a draft, clear this slice",
            self.rejected.emit,
        )
        self._next = button("Next  N", "Go to the slice where annotating helps most", self.next_wanted.emit)
        self._propagate = button("", "", self._on_propagate_clicked)
        self._directions = self._make_directions()
        self._interpolate = button("Interpolate  I", "", self.interpolated.emit)
        self._undo = button("Undo", "Undo  (Ctrl+Z)", self.undone.emit)
        self._redo = button("Redo", "Redo  (Ctrl+Shift+Z)", self.redone.emit)
        self._shown = button(
            "Prediction  V",
            "Show or hide what the model thinks",
            lambda: self.prediction_shown.emit(self._shown.isChecked()),
            checkable=True,
        )
        self._outline = button(
            "Outline  O",
            "Show the prediction as an outline or as an area",
            lambda: self.outlined.emit(self._outline.isChecked()),
            checkable=True,
        )
        self._shown.setChecked(True)
        layout = column(self)
        layout.addWidget(self.strip)
        layout.addLayout(flow((self._accept, 3), (self._reject, 2), (self._next, 2)))
        layout.addLayout(flow((self._propagate, 3), (self._directions, 0), (self._interpolate, 4)))
        layout.addLayout(flow(self._undo, self._redo, self._shown, self._outline))
        self.set_propagation(None, "Accept this slice first.")
        self.set_interpolation(None)
        self.strip.states_changed.connect(lambda states: self._show_others(len(states) != 1))

    def set_undo(self, undo: str | None, redo: str | None) -> None:
        """Show what undo and redo would do; None where there is nothing."""
        for made, what, verb, keys in (
            (self._undo, undo, "Undo", "Ctrl+Z"),
            (self._redo, redo, "Redo", "Ctrl+Shift+Z"),
        ):
            made.setEnabled(bool(what))
            made.setToolTip(f"{verb} {what}  ({keys})" if what else f"Nothing to {verb.lower()}")

    def set_prediction_shown(self, shown: bool) -> None:
        """Show whether the prediction layer is visible."""
        self._shown.setChecked(shown)

    def set_outlined(self, outlined: bool) -> None:
        """Show whether the prediction is an outline."""
        self._outline.setChecked(outlined)

    def set_propagation(self, progress: tuple[int, int] | None, refusal: str = "") -> None:
        """Show how far a propagation is (slices done, slices in all), or None; and why none can be started."""
        self._propagating = progress is not None
        self._propagate.setText(
            "Propagate  G" if progress is None else f"Stop  G   {progress[0]} of {progress[1]}"
        )
        self._propagate.setEnabled(self._propagating or not refusal)
        self._directions.setEnabled(not self._propagating and not refusal)
        self._propagate.setToolTip(
            "Stop: no slice is changed" if self._propagating else f"{refusal} {_PROPAGATE_TIP}".strip()
        )

    def set_interpolation(self, ends: Sequence[int] | None) -> None:
        """Show which two accepted slices would be used; None where there are none on both sides."""
        self._interpolate.setEnabled(ends is not None)
        if ends is None:
            self._interpolate.setText("Interpolate  I")
            self._interpolate.setToolTip(
                "Accept a slice before and one after this one: then the shapes in between can be filled in."
            )
            return
        first, last = ends
        self._interpolate.setText(f"Interpolate {first}–{last}  I")
        self._interpolate.setToolTip(
            f"Propose shapes for the slices between the accepted slices {first} and {last}; "
            "what you painted stays"
        )

    def set_next(self, index: int | None) -> None:
        """Tell which slice is suggested; None where every slice is accepted."""
        self._next.setEnabled(index is not None)
        self._next.setToolTip(
            "Every slice is accepted"
            if index is None
            else f"Go to slice {index}: there your annotation helps most"
        )
        self.strip.set_suggested(index)

    def _show_others(self, shown: bool) -> None:
        """Offer what goes to other slices, or fills them; a picture has none."""
        for made in (self._next, self._propagate, self._directions, self._interpolate):
            made.setVisible(shown)

    def _make_directions(self) -> QPushButton:
        made = button(" ", "Propagate in one direction only", lambda: None)
        menu = QMenu(made)
        for direction, text in _DIRECTIONS.items():
            menu.addAction(text).triggered.connect(functools.partial(self._on_direction_chosen, direction))
        made.setMenu(menu)
        return made

    def _on_direction_chosen(self, direction: str, _checked: bool = False) -> None:
        self.propagated.emit(direction)

    def _on_propagate_clicked(self) -> None:
        if self._propagating:
            self.propagation_cancelled.emit()
        else:
            self.propagated.emit("both")
