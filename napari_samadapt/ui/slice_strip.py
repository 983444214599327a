"""One cell per slice: empty, predicted, proposed, edited or accepted; a click or an arrow key goes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QEvent, QPoint, QRect, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QToolTip, QWidget

from .panels.flow import flow
from .panels.section import row, small

# Told apart by the colour-blind (Okabe and Ito), and by brightness.
STATE_COLORS = {
    "empty": "#808790",  # half as strong: between the grounds of the dark and of the light theme
    "predicted": "#56b4e9",
    "proposed": "#cc79a7",
    "edited": "#e69f00",
    "accepted": "#00b383",
}
_MEANING = {
    "empty": "nothing here yet",
    "predicted": "predicted by the model",
    "proposed": "proposed from other slices, not accepted",
    "edited": "edited, not accepted",
    "accepted": "accepted",
}
_HEIGHT = 22
_MARK = 5  # pixels above and below the cells, for what is suggested
_STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_PageDown: -10, Qt.Key.Key_PageUp: 10}


def maker_text(made_by: int | None) -> str:
    """Which model a slice's mask comes from, by the adapter's number; nothing for one drawn by hand."""
    if made_by is None:
        return ""
    return ", mask by the plain model" if made_by == 0 else f", mask by adapter {made_by}"


class SliceStrip(QWidget):
    """`chosen(index)` when a cell is clicked or dragged over, or an arrow key pressed.

    Cells narrower than a pixel show their highest state.
    """

    chosen = Signal(int)
    states_changed = Signal(tuple)
    suggested_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.made_by: Callable[[int], int | None] = lambda _index: None
        """Tells the number of the adapter that made the mask of a slice."""
        self._states: list[str] = []
        self._current = 0
        self._suggested: int | None = None
        self.setFixedHeight(_HEIGHT)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
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
        self._on_states_changed()

    def set_state(self, index: int, state: str) -> None:
        """Show the state of one slice."""
        if 0 <= index < len(self._states) and self._states[index] != state:
            self._states[index] = state
            self._on_states_changed()

    def _on_states_changed(self) -> None:
        self.update()
        self.states_changed.emit(self.states)

    def set_current(self, index: int) -> None:
        """Mark the slice on screen."""
        if index != self._current:
            self._current = index
            self.update()

    @property
    def suggested(self) -> int | None:
        """The slice that is marked as the next one to annotate."""
        return self._suggested

    def set_suggested(self, index: int | None) -> None:
        """Mark the slice to annotate next, or none."""
        if index != self._suggested:
            self._suggested = index
            self.update()
            self.suggested_changed.emit(index is not None)

    def index_at(self, x: float) -> int:
        """The slice whose cell is at pixel `x` of the widget."""
        count = len(self._states)
        return min(max(int(x * count / max(self.width(), 1)), 0), count - 1)

    def cell(self, index: int) -> QRect:
        """Where the cell of a slice is painted."""
        count = max(len(self._states), 1)
        left = round(index * self.width() / count)
        right = round((index + 1) * self.width() / count)
        return QRect(left, _MARK, max(right - left, 1), self.height() - 2 * _MARK)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        wide = self.width() >= 3 * len(self._states)
        ranks = list(STATE_COLORS)
        for index in sorted(range(len(self._states)), key=lambda index: ranks.index(self._states[index])):
            cell = self.cell(index)
            painter.fillRect(cell.adjusted(0, 0, -1, 0) if wide else cell, state_color(self._states[index]))
        if self._states:
            self._paint_marks(painter)
        if self.hasFocus():
            painter.setPen(self.palette().windowText().color())
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_marks(self, painter: QPainter) -> None:
        """A frame around the slice on screen, and a triangle above the one that is suggested."""
        text, ground = self.palette().windowText().color(), self.palette().window().color()
        here = self.cell(min(self._current, len(self._states) - 1))
        width = max(here.width(), 5)
        frame = QRect(here.center().x() - width // 2, 1, width, self.height() - 3)
        painter.setPen(text)
        painter.drawRect(frame)
        painter.setPen(ground)
        painter.drawRect(frame.adjusted(1, 1, -1, -1))
        if self._suggested is not None:
            middle = self.cell(self._suggested).center().x()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(text)
            painter.drawPolygon([QPoint(middle - 5, 0), QPoint(middle + 5, 0), QPoint(middle, 7)])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or not self._states:
            super().keyPressEvent(event)
        else:
            self.chosen.emit(min(max(self._current + step, 0), len(self._states) - 1))

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
        suggested = ", suggested as the next one" if index == self._suggested else ""
        return f"Slice {index}: {_MEANING[self._states[index]]}{maker_text(self.made_by(index))}{suggested}"


def state_color(state: str) -> QColor:
    """The colour of a state; that of an empty slice is half as strong."""
    color = QColor(STATE_COLORS[state])
    color.setAlphaF(0.5 if state == "empty" else 1.0)
    return color


class StripLegend(QWidget):
    """What the colours and the triangle of the strip mean; only those that are there."""

    def __init__(self, strip: SliceStrip, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._named = {state: _named_chip(state, color) for state, color in STATE_COLORS.items()}
        self._next = small(QLabel("▼ next (N)"))
        self.setLayout(flow(*((named, 0) for named in self._named.values()), (self._next, 0)))
        self._next.setVisible(strip.suggested is not None)
        strip.suggested_changed.connect(self._next.setVisible)
        strip.states_changed.connect(self._show)
        self._show(strip.states)

    def _show(self, states: Sequence[str]) -> None:
        for state, named in self._named.items():
            named.setVisible(state in states)


def _named_chip(state: str, color: str) -> QWidget:
    """A square of the colour of a state, and its name."""
    chip, made = QLabel(), QWidget()
    chip.setFixedSize(9, 9)
    chip.setStyleSheet(f"background: {color};")
    made.setLayout(row(chip, small(QLabel(state))))
    return made
