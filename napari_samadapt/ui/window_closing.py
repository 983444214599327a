"""The closing of the window that the dock is in: the question before it, and the end of all work right after it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow


class WindowClosing(QObject):
    """To be installed as an event filter on the window.

    `may_leave` is asked before it is closed; `left` is called once it is, while its widgets still exist.
    """

    def __init__(self, parent: QObject, may_leave: Callable[[], bool], left: Callable[[], None]) -> None:
        super().__init__(parent)
        self._may_leave, self._left = may_leave, left
        self._leaving = False

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop the closing where it may not be.

        After the answer napari may ask too, and stay open: only the hiding says that the window is closed.
        """
        kind = event.type()
        if kind == QEvent.Type.Close:
            if not self._may_leave():
                event.ignore()
                return True
            self._leaving = isinstance(watched, QMainWindow)  # a dock that floats is a window too
        elif kind == QEvent.Type.WindowActivate:
            self._leaving = False  # napari asked too, and the window stays
        elif kind == QEvent.Type.Hide and self._leaving and not event.spontaneous():
            self._leaving = False
            self._left()
        return super().eventFilter(watched, event)
