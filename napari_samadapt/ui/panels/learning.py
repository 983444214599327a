"""The learning panel: on or off, method, length of an episode, start, pause, stop, reset, curves, what
happens now.
"""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_samadapt.learning.method_texts import METHOD_TEXTS

from ..curves import LearningCurves
from .flow import flow
from .section import Choice, button, column, hint_label

_SECONDS = (15, 30, 60, 120, 300)


class LearningPanel(QWidget):
    """`enabled(bool)`, `method(name)`, `settings()`, `seconds(int)`, `started()`, `paused()`, `resumed()`, `stopped()`,
    `rolled_back()`, `reset()`.
    """

    enabled = Signal(bool)
    method = Signal(str)
    settings = Signal()
    seconds = Signal(int)
    started = Signal()
    paused = Signal()
    resumed = Signal()
    stopped = Signal()
    rolled_back = Signal()
    reset = Signal()

    def __init__(self, methods: Sequence[str] = tuple(METHOD_TEXTS), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = "off"
        self._on = QCheckBox("Learn on accept")
        self._on.setToolTip(
            "Learn in the background from the accepted slices, after each one that you accept"
        )
        self._on.clicked.connect(lambda checked: self.enabled.emit(checked))
        self._method = Choice(
            len("Conv-LoRA"), "What is trained: small adapters inside SAM, or only its decoder"
        )
        for place, name in enumerate(methods):
            self._method.addItem(METHOD_TEXTS[name].title, name)
            self._method.setItemData(place, METHOD_TEXTS[name].sentence, Qt.ItemDataRole.ToolTipRole)
        self._method.view().setMinimumWidth(self._method.view().sizeHintForColumn(0) + 20)
        self._method.activated.connect(lambda place: self.method.emit(str(self._method.itemData(place))))
        self._settings = button("…", "Numbers of the method, and the decoder", self.settings.emit)
        self._seconds = Choice(len("60 s"), "How long one episode of learning lasts")
        for seconds in _SECONDS:
            self._seconds.addItem(f"{seconds} s", seconds)
        self._seconds.activated.connect(lambda place: self.seconds.emit(int(self._seconds.itemData(place))))
        self._start = button("Start", "Learn now, from the slices accepted so far", self.started.emit)
        self._pause = button(
            "Pause", "Wait, and keep what was learned in this episode", self._on_pause_clicked
        )
        self._stop = button("Stop", "End the episode now and use what it learned", self.stopped.emit)
        self._roll_back = button(
            "Roll back",
            "Take the last update back: predict with the model from before it",
            self.rolled_back.emit,
        )
        self._reset = button(
            "Reset", "Forget everything learned and go back to the plain model", self.reset.emit
        )
        self.curves = LearningCurves()
        self._status = hint_label(2)
        layout = column(self)
        layout.addLayout(flow(self._on, (self._method, 2), (self._settings, 0), (self._seconds, 1)))
        layout.addLayout(flow(self._start, self._pause, self._stop, self._roll_back, self._reset))
        layout.addWidget(self.curves)
        layout.addWidget(self._status)
        self.set_state("off", can_start=False)

    def set_settings(self, enabled: bool, method: str, seconds: float) -> None:
        """Show the policy; emits nothing."""
        self._on.setChecked(enabled)
        self._method.setCurrentIndex(max(self._method.findData(method), 0))
        if self._seconds.findData(round(seconds)) < 0:
            self._seconds.addItem(f"{seconds:.0f} s", round(seconds))
        self._seconds.setCurrentIndex(self._seconds.findData(round(seconds)))

    def set_state(self, state: str, *, can_start: bool, can_reset: bool = False) -> None:
        """Show the learning state: "idle", "training", "paused" or "off"."""
        self._state = state
        busy = state in ("training", "paused")
        self._start.setEnabled(can_start and not busy)
        self._pause.setEnabled(busy)
        self._pause.setText("Resume" if state == "paused" else "Pause")
        self._stop.setEnabled(busy)
        self._roll_back.setEnabled(can_reset)
        self._reset.setEnabled(can_reset)
        self._method.setEnabled(not busy)
        self._settings.setEnabled(not busy)

    def set_ready(self, ready: bool) -> None:
        """Enable the controls, or only the status line where there is nothing to learn from yet."""
        for control in (self._on, self._method, self._seconds):
            control.setEnabled(ready)
        if not ready:
            self.set_state("off", can_start=False)
            self._method.setEnabled(False)
            self._settings.setEnabled(False)

    def set_status(self, text: str) -> None:
        """Say what happens now and what to do next."""
        self._status.setText(text)

    def _on_pause_clicked(self) -> None:
        if self._state == "paused":
            self.resumed.emit()
        else:
            self.paused.emit()
