"""The window that shows how the model learned: every update, and how much the user had to correct over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyqtgraph
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QTableWidget, QTableWidgetItem, QWidget

from .panels.section import hint_label
from .tool_window import ToolWindow, plain_plot

if TYPE_CHECKING:
    from napari_samadapt.session.insight import AcceptedSlice, Update

_HEADERS = ("Time", "What", "Learned from", "Took", "Dice, held out", "Outcome")
_NO_UPDATES = "Nothing was learned yet: accept a slice (A), and the model learns from it."
_NO_SLICES = "Each slice that you accept from now on is compared with what the model had said of it."
_DICE, _DISTANCE, _CORRECTIONS = "#56b4e9", "#e69f00", "#cc79a7"


class LearningView(ToolWindow):
    """`chosen(index)` when an accepted slice is clicked in a plot."""

    chosen = Signal(int)

    def __init__(self, unit: str, parent: QWidget | None = None) -> None:
        super().__init__("How the model learned", (900, 640), parent)
        self._accepted: tuple[AcceptedSlice, ...] = ()
        self._table = self._make_table()
        self._table_hint = hint_label(1)
        self._table_hint.setText(_NO_UPDATES)
        self._plots_hint = hint_label(2)
        self._widget = _Plots()
        self._widget.clicked.connect(self._on_plot_clicked)
        self._widget.setBackground(None)
        self._plots = [
            plain_plot(self._widget.addPlot(row=0, col=place), left=title, bottom="accepted slices, in order")
            for place, title in enumerate(("Dice", f"HD95 ({unit})", "corrections"))
        ]
        self._widget.plots = self._plots
        bold = "font-weight: 600;"
        for title, parts in (
            ("Updates", ((self._table, 2), (self._table_hint, 0))),
            (
                "Accepted slices against what the model had predicted",
                ((self._widget, 3), (self._plots_hint, 0)),
            ),
        ):
            label = QLabel(title)
            label.setStyleSheet(bold)
            self.column.addWidget(label)
            for widget, weight in parts:
                self.column.addWidget(widget, weight)
        self.set_updates(())
        self.set_accepted(())

    def set_updates(self, updates: Sequence[Update]) -> None:
        """What became of the model, in order; the newest is shown first."""
        self._table.setRowCount(len(updates))
        for line, update in enumerate(reversed(updates)):
            for place, text in enumerate(update_cells(update)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(text)
                self._table.setItem(line, place, cell)
        self._table_hint.setVisible(not updates)

    def set_accepted(self, accepted: Sequence[AcceptedSlice]) -> None:
        """The accepted slices in their order."""
        self._accepted = tuple(accepted)
        places = list(range(1, len(accepted) + 1))
        dice = [math.nan if one.dice is None else one.dice for one in accepted]
        hd95 = [math.nan if one.hd95_mm is None else one.hd95_mm for one in accepted]
        corrections = [float(one.corrections) for one in accepted]
        for plot, values, color in (
            (self._plots[0], dice, _DICE),
            (self._plots[1], [value if math.isfinite(value) else math.nan for value in hd95], _DISTANCE),
            (self._plots[2], corrections, _CORRECTIONS),
        ):
            plot.clear()
            plot.setXRange(0.5, max(len(places), 3) + 0.5, padding=0)
            every = -(-len(places) // 10) or 1
            plot.getAxis("bottom").setTicks([[(place, str(place)) for place in places[::every]]])
            highest = max((value for value in values if not math.isnan(value)), default=1.0)
            plot.setYRange(0, 1.0 if plot is self._plots[0] else max(highest, 1.0), padding=0.05)
            plot.plot(
                places, values, connect="finite", pen=pyqtgraph.mkPen(color, width=2),
                symbol="o", symbolSize=7, symbolBrush=color, symbolPen=None,
            )  # fmt: skip
        whole = math.ceil(max(corrections, default=1.0) / 5) or 1  # nobody corrects half a time
        self._plots[2].getAxis("left").setTickSpacing(whole, whole)
        self._plots_hint.setText(_summary(dice, corrections) or _NO_SLICES)

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, len(_HEADERS))
        table.setHorizontalHeaderLabels(list(_HEADERS))
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setShowGrid(False)
        table.setWordWrap(True)
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(len(_HEADERS) - 1, QHeaderView.ResizeMode.Stretch)
        return table

    def _on_plot_clicked(self, place: float) -> None:
        order = round(place) - 1
        if 0 <= order < len(self._accepted):
            self.chosen.emit(self._accepted[order].key.index)


class _Plots(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]  # pyqtgraph is untyped
    """Plots side by side; `clicked(x)` in the units of the plot."""

    clicked = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.plots: Sequence[Any] = ()
        self.setToolTip("Click a point to go to its slice")

    def mousePressEvent(self, event: Any) -> None:
        place = self.mapToScene(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton:
            for plot in self.plots:
                if plot.vb.sceneBoundingRect().contains(place):
                    self.clicked.emit(float(plot.vb.mapSceneToView(place).x()))
        super().mousePressEvent(event)


def update_cells(update: Update) -> tuple[str, str, str, str, str, str]:
    """One line of the table of updates."""
    kinds = {
        "fit": "Fitted at once",
        "episode": "Episode",
        "load": "Adapter loaded",
        "roll back": "Rolled back",
        "reset": "Reset",
    }
    in_use = "Plain model in use" if update.version == 0 else f"In use as adapter {update.version}"
    slices = ", ".join(str(key.index) for key in sorted(update.slices))
    took = f"{update.seconds:.0f} s, {update.steps} steps" if update.steps else ""
    dice = "" if update.held_out_dice is None else f"{update.held_out_dice:.2f}"
    minutes, seconds = divmod(int(update.at), 60)
    return f"{minutes}:{seconds:02d}", kinds[update.kind], slices, took, dice, update.reason or in_use


def _summary(dice: Sequence[float], corrections: Sequence[float]) -> str:
    """How the first half of the slices compares with the second half, once there are four."""
    measured = [value for value in dice if not math.isnan(value)]
    if len(measured) < 2:
        return ""
    half = len(corrections) // 2
    early, late = sum(corrections[:half]) / half, sum(corrections[half:]) / (len(corrections) - half)
    return (
        f"Dice of the prediction before you corrected it: {measured[0]:.2f} at first, {measured[-1]:.2f} at last. "
        f"Corrections per slice: {early:.1f} in the first half, {late:.1f} in the second."
    )
