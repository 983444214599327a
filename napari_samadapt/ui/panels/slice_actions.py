"""This slice: the strip of all slices, accept, reject, undo, redo, show or hide the prediction."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ..slice_strip import SliceStrip
from .section import button, column, row

_ACCEPT_STYLE = (
    "QPushButton { background: #00795a; color: white; font-weight: 600; }"
    "QPushButton:hover { background: #009e73; }"
    "QPushButton:disabled { background: #3c4148; color: #9aa5b1; }"
)


class SlicePanel(QWidget):
    """`accepted()`, `rejected()`, `undone()`, `redone()`, `prediction_shown(bool)`.

    The strip emits `chosen(index)`.
    """

    accepted = Signal()
    rejected = Signal()
    undone = Signal()
    redone = Signal()
    prediction_shown = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.strip = SliceStrip()
        self._accept = button(
            "Accept slice  A", "Keep what is displayed on this slice and learn from it", self.accepted.emit
        )
        self._accept.setStyleSheet(_ACCEPT_STYLE)
        self._reject = button(
            "Reject  R",
            "Take the draft and its prompts back; without a draft, clear this slice",
            self.rejected.emit,
        )
        self._undo = button("Undo", "Undo  (Ctrl+Z)", self.undone.emit)
        self._redo = button("Redo", "Redo  (Ctrl+Shift+Z)", self.redone.emit)
        self._shown = button(
            "Prediction  V", "Show or hide what the model thinks", self._on_shown_clicked, checkable=True
        )
        self._shown.setChecked(True)
        layout = column(self)
        layout.addWidget(self.strip)
        first = row(self._accept, self._reject)
        first.setStretch(0, 3)
        first.setStretch(1, 2)
        layout.addLayout(first)
        layout.addLayout(row(self._undo, self._redo, self._shown))

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

    def _on_shown_clicked(self) -> None:
        self.prediction_shown.emit(self._shown.isChecked())
