"""The larger views beside the dock: windows of their own, in the colours of napari, closed with the session."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont, QKeyEvent
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget

from .style import PLOT_TEXT

_MARGIN = 10


class ToolWindow(QDialog):
    """A window that stays above napari's and lets the user go on working there. Its layout is `column`."""

    def __init__(self, title: str, size: tuple[int, int], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setModal(False)
        self.setObjectName("samadapt-window")
        self.setStyleSheet("#samadapt-window { border: 1px solid #808890; }")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        self.column.setSpacing(8)
        self._wanted = size

    def present(self) -> None:
        """Show the window in front, no larger than the screen."""
        if not self.isVisible():
            available = self.screen().availableGeometry()
            width, height = (
                min(self._wanted[0], available.width() - 40),
                min(self._wanted[1], available.height() - 60),
            )
            self.resize(width, height)
        self.show()
        self.raise_()
        self.activateWindow()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter belongs to the field that is being filled in; it must not press the first button."""
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)


def plain_plot(plot: pyqtgraph.PlotItem, *, left: str = "", bottom: str = "") -> pyqtgraph.PlotItem:
    """A plot without menus and mouse tricks, readable on both themes."""
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(False, False)
    plot.hideButtons()
    small = QFont()
    small.setPointSize(8)
    for side, text in (("left", left), ("bottom", bottom)):
        axis = plot.getAxis(side)
        axis.setTickFont(small)
        axis.setTextPen(PLOT_TEXT)
        axis.setPen(PLOT_TEXT)
        axis.enableAutoSIPrefix(False)
        if text:
            axis.setLabel(text, color=PLOT_TEXT)
    plot.showGrid(y=True, alpha=0.2)
    return plot
