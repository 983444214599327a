"""The window that shows the slice on screen twice: as an earlier adapter predicted it, and as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

from napari_samadapt.imaging.intensity import render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.volume import SliceKey, take_slice

from . import notify
from .connections import Connections
from .panels.section import hint_label
from .slice_picture import SlicePicture, colored, upright
from .tool_window import ToolWindow

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_NOTHING = "Nothing was predicted on this slice before. Accept a slice, let the model learn, and look again."


class BeforeAfter(ToolWindow):
    """Follows the slice on screen and every update; `close_for_good` ends that."""

    def __init__(self, session: Session, key: SliceKey, parent: QWidget | None = None) -> None:
        super().__init__("Before and after adaptation", (900, 560), parent)
        self._session, self._key = session, key
        self._versions: tuple[int, ...] = ()
        self._choice = QComboBox()
        self._choice.setToolTip("The adapter on the left; every one that predicted this slice can be chosen")
        self._choice.activated.connect(notify.reported(lambda _place: self._show_pictures()))
        self._now = QLabel()
        self._now.setTextFormat(Qt.TextFormat.PlainText)
        self._left, self._right = SlicePicture(), SlicePicture()
        self._hint = hint_label(2)
        grid = QGridLayout()
        grid.setSpacing(6)
        grid.addWidget(self._choice, 0, 0)
        grid.addWidget(self._now, 0, 1)
        grid.addWidget(self._left, 1, 0)
        grid.addWidget(self._right, 1, 1)
        grid.setRowStretch(1, 1)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        self.column.addLayout(grid, 1)
        self.column.addWidget(self._hint)
        self._connections = Connections()
        for signal, slot in (
            (session.predicted, self._on_slice_changed),
            (session.labels_changed, self._on_labels_changed),
            (session.adapter_changed, lambda _version: self._renew()),
            (session.classes_changed, self._renew),
        ):
            self._connections.add(signal, slot)

    def present(self) -> None:
        """Show the window with what there is now."""
        super().present()
        self._renew()

    def close_for_good(self) -> None:
        """Stop following the session."""
        self._connections.close()
        self.close()
        self.deleteLater()

    def look_at(self, key: SliceKey) -> None:
        """Another slice is on screen."""
        if key != self._key:
            self._key = key
            self._renew()

    def _on_slice_changed(self, key: SliceKey) -> None:
        if key == self._key:
            self._renew()

    def _on_labels_changed(self, keys: Sequence[SliceKey]) -> None:
        if self._key in keys:
            self._renew()

    def _renew(self) -> None:
        if not self.isVisible():
            return
        insight, chosen = self._session.insight, self._choice.currentData()
        self._versions = insight.past.versions(self._key)
        newest = self._session.made_by(self._key)
        earlier = [version for version in self._versions if version != newest]
        self._choice.clear()
        for version in reversed(earlier):
            self._choice.addItem(f"Before: {insight.describe(version)}", version)
        self._choice.setCurrentIndex(max(self._choice.findData(chosen), 0) if earlier else -1)
        self._choice.setEnabled(bool(earlier))
        state = self._session.slice_state(self._key)
        by_hand = {"accepted": ", accepted", "edited": ", edited"}.get(state, "")
        maker = "nothing yet" if state == "empty" else insight.describe(newest)
        self._now.setText(f"Now: {maker}{by_hand}")
        self._show_pictures()

    def _show_pictures(self) -> None:
        session, key = self._session, self._key
        image = render_slice(session.volume, key, session.window)
        colors = {shown.id: shown.color for shown in session.classes}
        now = take_slice(session.annotation, key) + take_slice(session.prediction, key)
        self._right.set_picture(*upright(session.volume, key.axis, colored(image, now, colors)))
        version = self._choice.currentData()
        if version is None:
            nothing = np.zeros(now.shape, np.uint16)
            self._left.set_picture(*upright(session.volume, key.axis, colored(image, nothing, colors)))
            self._hint.setText(_NOTHING)
            return
        before = session.insight.past.get(key, int(version))
        self._left.set_picture(*upright(session.volume, key.axis, colored(image, before, colors)))
        agreement = label_report(before[np.newaxis], now[np.newaxis], (1.0, 1.0, 1.0)).mean_dice
        compared = "the accepted mask" if session.slice_state(key) == "accepted" else "what is shown now"
        self._hint.setText(
            f"Slice {key.index}: what was predicted before agrees with {compared} with a Dice of {agreement:.2f}."
        )
