"""Loss and held-out Dice while the model learns, side by side, redrawn at most five times a second."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pyqtgraph
from qtpy.QtCore import QSize
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QSizePolicy, QWidget

from .style import PLOT_TEXT

_REDRAW_SECONDS = 0.2
_MAX_POINTS = 4000
_PADDING = 0.3  # of the range, above and below: room for half a number at its ends
_LOSS, _DICE = "#e69f00", "#56b4e9"
_LEAST_HEIGHT, _MOST_HEIGHT = 72, 150
_LOW_WINDOW = 800  # pixels; of what a window is higher, the curves take a third
_DICE_TITLE, _TITLE_SIZE = "Dice, held out", "8pt"


class LearningCurves(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]  # pyqtgraph is untyped
    """Two small plots over the steps of all episodes; `add` is cheap, drawing is rationed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._dice_steps: list[int] = []
        self._dices: list[float] = []
        self._offset = 0
        self._drawn = 0.0
        self.setBackground(None)
        self.setFixedHeight(_LEAST_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.ci.setContentsMargins(0, 0, 0, 0)
        self.ci.layout.setSpacing(4)
        self._loss_plot = self._make_plot(0, "loss")
        self._dice_plot = self._make_plot(1, _DICE_TITLE)
        self._dice_plot.setYRange(0.0, 1.0, padding=_PADDING)
        self._dice_plot.getAxis("left").setTicks([[(0.0, "0"), (1.0, "1")]])
        self._raw_curve = self._loss_plot.plot(pen=pyqtgraph.mkPen(_LOSS + "60", width=1))
        self._loss_curve = self._loss_plot.plot(pen=pyqtgraph.mkPen(_LOSS, width=2))
        self._dice_curve = self._dice_plot.plot(
            pen=pyqtgraph.mkPen(_DICE, width=2), symbol="o", symbolSize=5, symbolBrush=_DICE, symbolPen=None
        )
        self.draw_now()
        self.setToolTip(
            "Left: training loss (thin), smoothed (thick). "
            "Right: Dice on accepted slices that were held out of training."
        )

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """The (step, loss) pairs kept."""
        return tuple(zip(self._steps, self._losses, strict=True))

    @property
    def dice_points(self) -> tuple[tuple[int, float], ...]:
        """The (step, held-out Dice) pairs kept."""
        return tuple(zip(self._dice_steps, self._dices, strict=True))

    def add(self, step: int, loss: float, held_out_dice: float | None) -> None:
        """Add the state after `step` of the current episode.

        A step that does not grow starts the next episode.
        """
        if self._steps and step + self._offset <= self._steps[-1]:
            self._offset = self._steps[-1]
        self._steps.append(step + self._offset)
        self._losses.append(loss)
        if held_out_dice is not None and held_out_dice == held_out_dice:
            self._dice_steps.append(step + self._offset)
            self._dices.append(held_out_dice)
        if len(self._steps) > _MAX_POINTS:
            self._steps, self._losses = self._steps[::2], self._losses[::2]
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self.draw_now()

    def draw_now(self) -> None:
        """Draw what has been added so far; without it there is nothing to see."""
        self.setVisible(bool(self._steps))
        room = _LEAST_HEIGHT + (self.window().height() - _LOW_WINDOW) // 3
        self.setFixedHeight(min(max(room, _LEAST_HEIGHT), _MOST_HEIGHT))
        for plot, shown in ((self._loss_plot, self._losses), (self._dice_plot, self._dices)):
            for side in ("left", "bottom"):
                plot.getAxis(side).setStyle(showValues=bool(shown))
        title = _DICE_TITLE if self._dices else f"{_DICE_TITLE}: from 3 slices on"
        self._dice_plot.setTitle(title, size=_TITLE_SIZE, color=PLOT_TEXT)
        if self._losses:
            ends = sorted({min(self._losses), max(self._losses)})
            self._loss_plot.setYRange(ends[0], ends[-1], padding=_PADDING)
            self._loss_plot.getAxis("left").setTicks([[(end, f"{end:.2g}") for end in ends]])
        self._raw_curve.setData(self._steps, self._losses)
        self._loss_curve.setData(self._steps, smoothed(self._losses))
        self._dice_curve.setData(self._dice_steps, self._dices)

    def clear_curves(self) -> None:
        """Forget everything."""
        for kept in (self._steps, self._losses, self._dice_steps, self._dices):
            kept.clear()
        self._offset = 0
        self.draw_now()

    def sizeHint(self) -> QSize:
        return QSize(280, self.minimumHeight())

    def _make_plot(self, place: int, title: str) -> pyqtgraph.PlotItem:
        plot = self.addPlot(row=0, col=place)
        plot.setTitle(title, size=_TITLE_SIZE, color=PLOT_TEXT)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(False, False)
        plot.hideButtons()
        small = QFont()
        small.setPointSize(7)
        for side in ("left", "bottom"):
            axis = plot.getAxis(side)
            axis.setTickFont(small)
            axis.setTextPen(PLOT_TEXT)
            axis.setPen(PLOT_TEXT)
            axis.enableAutoSIPrefix(False)
        plot.getAxis("left").setWidth(30)
        plot.getAxis("bottom").setHeight(16)
        plot.showGrid(y=True, alpha=0.2)
        return plot


def smoothed(values: Sequence[float], memory: float = 0.9) -> list[float]:
    """The exponential moving average of `values`, without the pull of its start."""
    total = weight = 0.0
    means = []
    for value in values:
        total, weight = memory * total + value, memory * weight + 1.0
        means.append(total / weight)
    return means
