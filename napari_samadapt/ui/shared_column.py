"""On a screen too narrow for three columns, napari's two layer docks share a column with ours, as tabs."""

from __future__ import annotations

from contextlib import suppress

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

_LEAST_WIDTH, _LEAST_HEIGHT = 1150, 620  # of the screen, for a canvas that is worth it between two columns
_TAB = "Segment"
_LAYER_DOCKS = ("layer controls", "layer list")


class SharedColumn:
    """Puts the layer docks behind ours, and back to the left at the end."""

    def __init__(self) -> None:
        self._window: QMainWindow | None = None

    def share(self, dock: QWidget) -> None:
        """Share the column of the QDockWidget that `dock` is in, where the screen is small."""
        window, own = dock.window(), dock.parentWidget()
        size = window.screen().availableGeometry().size()
        if size.width() >= _LEAST_WIDTH and size.height() >= _LEAST_HEIGHT:
            return
        if not isinstance(window, QMainWindow) or not isinstance(own, QDockWidget):
            return
        self._window = window
        for other in _layer_docks(window):
            window.tabifyDockWidget(own, other)
        own.setWindowTitle(_TAB)  # the whole name would leave no room for the other tabs
        own.raise_()

    def close(self) -> None:
        """Give the layer docks their own column back, unless the user has moved them or closed the window."""
        window, self._window = self._window, None
        right = Qt.DockWidgetArea.RightDockWidgetArea
        with suppress(RuntimeError):  # the window may be deleted by now
            for dock in _layer_docks(window) if window is not None and window.isVisible() else ():
                if window is not None and window.dockWidgetArea(dock) == right and not dock.isFloating():
                    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)


def _layer_docks(window: QMainWindow) -> list[QDockWidget]:
    """The docks of napari's that are part of the window."""
    found = (window.findChild(QDockWidget, name) for name in _LAYER_DOCKS)
    return [dock for dock in found if dock is not None]
