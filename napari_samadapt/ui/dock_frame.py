"""The frame that napari gives the dock: when it is first shown and seen, taken out by the button ×, and closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtGui import QCloseEvent, QPaintEvent, QShowEvent
from qtpy.QtWidgets import QWidget

from .window_closing import WindowClosing


class DockFrame(QWidget):
    """Turns Qt's events into the acts of the dock, which it overrides."""

    def __init__(self, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setObjectName("samadapt-dock")
        self._shown = False  # ever
        self._painted = False
        self._closing = WindowClosing(self, self._may_leave, self._leave)

    def _on_first_shown(self) -> None:
        """The dock is in the window, which is not laid out yet."""

    def _on_first_painted(self) -> None:
        """The user sees the dock."""

    def _on_taken_out(self) -> None:
        """The dock lost its frame, in which it was shown."""

    def _may_leave(self) -> bool:
        """The window is to be closed: whether it may be."""
        return True

    def _leave(self) -> None:
        """The window is closed, and Qt deletes the dock some time later: nothing may come for its widgets."""

    def shut_down(self) -> None:
        """End everything; the dock is of no use afterwards. May be called twice."""

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # Qt installs a filter once, however often it is asked to.
        self.window().installEventFilter(self._closing)
        if not self._shown:
            self._shown = True
            self._on_first_shown()

    def changeEvent(self, event: QEvent) -> None:
        """napari's close button takes the dock out of its frame, and asks and deletes nothing."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self._shown and self.parentWidget() is None:
            self._on_taken_out()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            self._on_first_painted()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.shut_down()
        super().closeEvent(event)
