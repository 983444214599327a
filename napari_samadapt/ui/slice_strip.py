"""One cell per slice: empty, predicted, edited or accepted; a click goes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QEvent, QPoint, QRect, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolTip, QWidget

# Told apart by the colour-blind (Okabe and Ito), and by brightness.
STATE_COLORS = {"empty": "#4a5059", "predicted": "#56b4e9", "edited": "#e69f00", "accepted": "#00b383"}
_MEANING = {
    "empty": "nothing here yet",
    "predicted": "predicted by the model",
    "edited": "edited, not accepted",
    "accepted": "accepted",
}
_HEIGHT = 18
_RANK = {"empty": 0, "predicted": 1, "edited": 2, "accepted": 3}


def maker_text(made_by: int | None) -> str:
    """Which model a slice's mask comes from, by the adapter's number; nothing for one drawn by hand."""
    if made_by is None:
        return ""
    return ", mask by the plain model" if made_by == 0 else f", mask by adapter {made_by}"


class SliceStrip(QWidget):
    """`chosen(index)` when a cell is clicked or dragged over.

    Cells narrower than a pixel show their highest state.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.made_by: Callable[[int], int | None] = lambda _index: None
        """Tells the number of the adapter that made the mask of a slice."""
        self._states: list[str] = []
        self._current = 0
        self.setFixedHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("State of every slice")

    @property
    def states(self) -> tuple[str, ...]:
        """The state shown for every slice."""
        return tuple(self._states)

    @property
    def current(self) -> int:
        """The marked slice."""
        return self._current

    def set_states(self, states: Sequence[str]) -> None:
        """Show the states of all slices, in the order of their index."""
        self._states = list(states)
        self.update()

    def set_state(self, index: int, state: str) -> None:
        """Show the state of one slice."""
        if 0 <= index < len(self._states) and self._states[index] != state:
            self._states[index] = state
            self.update()

    def set_current(self, index: int) -> None:
        """Mark the slice on screen."""
        if index != self._current:
            self._current = index
            self.update()

    def index_at(self, x: float) -> int:
        """The slice whose cell is at pixel `x` of the widget."""
        count = len(self._states)
        return min(max(int(x * count / max(self.width(), 1)), 0), count - 1)

    def cell(self, index: int) -> QRect:
        """Where the cell of a slice is painted."""
        count = max(len(self._states), 1)
        left = round(index * self.width() / count)
        right = round((index + 1) * self.width() / count)
        return QRect(left, 3, max(right - left, 1), self.height() - 6)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        wide = self.width() >= 3 * len(self._states)
        order = sorted(range(len(self._states)), key=lambda index: _RANK[self._states[index]])
        for index in order:
            cell = self.cell(index)
            painter.fillRect(
                cell.adjusted(0, 0, -1, 0) if wide else cell, QColor(STATE_COLORS[self._states[index]])
            )
        if self._states:
            here = self.cell(self._current)
            marker = QRect(
                here.center().x() - max(here.width(), 4) // 2, 0, max(here.width(), 4), self.height() - 1
            )
            painter.setPen(QColor("white"))
            painter.drawRect(marker)
            painter.setPen(QColor("black"))
            painter.drawRect(marker.adjusted(1, 1, -1, -1))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._choose(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._choose(event)

    def _choose(self, event: QMouseEvent) -> None:
        if self._states and event.buttons() & Qt.MouseButton.LeftButton:
            self.chosen.emit(self.index_at(event.position().x()))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent) and self._states:
            index = self.index_at(event.pos().x())
            QToolTip.showText(event.globalPos() + QPoint(0, 8), self.description(index), self)
            return True
        return super().event(event)

    def description(self, index: int) -> str:
        """A slice's state in words, and the model that its mask comes from."""
        return f"Slice {index}: {_MEANING[self._states[index]]}{maker_text(self.made_by(index))}"


class StripLegend(QWidget):
    """What the colours of the strip mean."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for state, color in STATE_COLORS.items():
            chip = QLabel()
            chip.setFixedSize(9, 9)
            chip.setStyleSheet(f"background: {color};")
            layout.addWidget(chip)
            name = QLabel(state)
            name.setStyleSheet("font-size: 10px;")
            layout.addWidget(name)
