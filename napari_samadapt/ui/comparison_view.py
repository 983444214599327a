"""The window that compares the masks with a reference: a table of the classes, and Dice on every slice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyqtgraph
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from .panels.classes import ClassRow, swatch
from .panels.section import button, hint_label, row
from .style import PLOT_TEXT
from .tool_window import ToolWindow, plain_plot

if TYPE_CHECKING:
    from napari_samadapt.session.comparison import ComparedClass, Comparison

_NONE = "not compared"
_CHOOSE = "Open masks in napari…"
_HEADERS = ("Class", "Reference", "Dice", "HD95", "Surface Dice", "Volume", "Reference volume")
_TIPS = (
    "A class of this volume",
    "The label of the reference that it is compared with",
    "Overlap: 1 is the same, 0 has nothing in common",
    "95 % of each surface lies within this distance of the other one",
    "The share of both surfaces that lies within the tolerance of the other one",
    "What is displayed: your masks, and predictions elsewhere",
    "What the reference says",
)


class SlicePlot(pyqtgraph.PlotWidget):  # type: ignore[misc]  # pyqtgraph is untyped
    """A value for every slice in one line per class; `chosen(index)` when a slice is clicked."""

    chosen = Signal(int)

    def __init__(self, left: str, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.setBackground(None)
        self.setToolTip("Click to go to a slice")
        plain_plot(self.getPlotItem(), left=left, bottom="slice")
        self._count = 0
        self._here = pyqtgraph.InfiniteLine(
            0, pen=pyqtgraph.mkPen(PLOT_TEXT, width=1, style=Qt.PenStyle.DashLine)
        )
        self._here.hide()

    def show_lines(self, lines: Sequence[tuple[QColor, Sequence[float]]], highest: float | None) -> None:
        """One line (colour, a value for every slice, NaN where there is none) each, from 0 to `highest`."""
        plot = self.getPlotItem()
        plot.clear()
        self._count = max((len(values) for _, values in lines), default=0)
        for color, values in lines:
            plot.plot(
                list(range(len(values))), list(values), connect="finite", pen=pyqtgraph.mkPen(color, width=2),
                symbol="o", symbolSize=6, symbolBrush=color, symbolPen=PLOT_TEXT,
            )  # fmt: skip
        plot.addItem(self._here)
        self._here.setVisible(bool(self._count))
        plot.setXRange(0, max(self._count - 1, 1), padding=0.02)
        if highest is not None:
            plot.setYRange(0, highest, padding=0.03)

    def set_current(self, index: int) -> None:
        """Mark the slice on screen."""
        self._here.setValue(index)
        self._here.setVisible(bool(self._count))

    def mousePressEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._count:
            place = self.getPlotItem().vb.mapSceneToView(self.mapToScene(event.position().toPoint()))
            self.chosen.emit(min(max(round(place.x()), 0), self._count - 1))
        super().mousePressEvent(event)


class ComparisonView(ToolWindow):
    """`file_asked()`, `layer_chosen(name)`, `match_chosen(class_id, reference_id)`, `settings_changed()`,
    `compare_asked()`, `csv_asked()`; its plot emits `chosen(index)`.
    """

    file_asked = Signal()
    layer_chosen = Signal(str)
    match_chosen = Signal(int, int)
    settings_changed = Signal()
    compare_asked = Signal()
    csv_asked = Signal()

    def __init__(self, unit: str, parent: QWidget | None = None) -> None:
        super().__init__("Compare with a reference", (860, 620), parent)
        self._unit = unit
        self._source = QLabel("No reference yet")
        self._source.setTextFormat(Qt.TextFormat.PlainText)
        self._file = button(
            "Load reference…", "A label file on the grid of this volume", self.file_asked.emit
        )
        self._layers = QComboBox()
        self._layers.setToolTip("Use masks that are open in napari as the reference")
        self._layers.activated.connect(self._on_layer_activated)
        self._tolerance = QDoubleSpinBox()
        self._tolerance.setRange(0.1, 20.0)
        self._tolerance.setSingleStep(0.5)
        self._tolerance.setValue(2.0)
        self._tolerance.setSuffix(f" {unit}")
        self._tolerance.setToolTip("Surfaces this close count as the same for surface Dice")
        self._tolerance.valueChanged.connect(lambda _value: self.settings_changed.emit())
        self._unseen = QCheckBox("Leave out accepted slices")
        self._unseen.setToolTip("Measure only slices that you did not accept: what the model says by itself")
        self._unseen.toggled.connect(lambda _on: self.settings_changed.emit())
        self._again = button("Compare again", "Measure the masks as they are now", self.compare_asked.emit)
        self._csv = button(
            "Export CSV…", "The table and Dice of every slice, for a spreadsheet", self.csv_asked.emit
        )
        self._table = self._make_table()
        self.plot = SlicePlot("Dice")
        self._hint = hint_label(2)
        first = row(self._source, self._file, self._layers)
        first.setStretch(0, 1)
        self.column.addLayout(first)
        self.column.addLayout(
            row(QLabel("Tolerance"), self._tolerance, self._unseen, 1, self._again, self._csv)
        )
        self.column.addWidget(self._table, 2)
        self.column.addWidget(self.plot, 3)
        self.column.addWidget(self._hint)
        self.set_layers(())
        self.set_ready(False)
        self.set_hint(
            "Load a label file that was drawn on this volume, or choose masks that are open in napari."
        )

    @property
    def tolerance(self) -> float:
        """The tolerance of surface Dice, in mm."""
        return float(self._tolerance.value())

    @property
    def only_unseen(self) -> bool:
        """Whether accepted slices are left out."""
        return bool(self._unseen.isChecked())

    def set_layers(self, names: Sequence[str]) -> None:
        """The masks that are open in napari and may be the reference."""
        self._layers.clear()
        self._layers.addItems([_CHOOSE, *names])
        self._layers.setVisible(bool(names))

    def set_source(self, text: str) -> None:
        """What is compared with."""
        self._source.setText(text)

    def set_ready(self, ready: bool, measured: bool = False) -> None:
        """Whether there is a reference, and something measured."""
        self._again.setEnabled(ready)
        self._csv.setEnabled(measured)

    def set_hint(self, text: str) -> None:
        """What happens, or what to do next."""
        self._hint.setText(text)

    def set_matches(
        self, classes: Sequence[ClassRow], reference: Mapping[int, str], matches: Mapping[int, int]
    ) -> None:
        """A row for each class, with the reference's labels {id: name} to choose from."""
        self._table.setRowCount(len(classes))
        for line, shown in enumerate(classes):
            name = QTableWidgetItem(swatch(shown.color), shown.name)
            name.setData(Qt.ItemDataRole.UserRole, shown.id)
            self._table.setItem(line, 0, name)
            choice = QComboBox()
            choice.addItem(_NONE, 0)
            for number, text in reference.items():
                choice.addItem(f"{number}  {text}".strip(), number)
            choice.setCurrentIndex(max(choice.findData(matches.get(shown.id, 0)), 0))
            choice.activated.connect(
                lambda _place, one=choice, number=shown.id: self.match_chosen.emit(
                    number, int(one.currentData())
                )
            )
            self._table.setCellWidget(line, 1, choice)
            for place in range(2, len(_HEADERS)):
                self._table.setItem(line, place, QTableWidgetItem(""))

    def set_comparison(self, made: Comparison, colors: Mapping[int, Sequence[float]]) -> None:
        """Show what was measured; `colors` are RGB in [0, 1] by class id."""
        rows = {compared.id: compared for compared in made.rows}
        for line in range(self._table.rowCount()):
            first = self._table.item(line, 0)
            compared = rows.get(int(first.data(Qt.ItemDataRole.UserRole))) if first else None
            for place, text in enumerate(self._cells(compared), 2):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self._table.setItem(line, place, cell)
        lines = [(QColor.fromRgbF(*colors[one.id]), one.slice_dice) for one in made.rows if one.id in colors]
        self.plot.show_lines(lines, 1.0)

    def _cells(self, one: ComparedClass | None) -> tuple[str, ...]:
        if one is None:
            return ("",) * 5
        volume = "ml" if self._unit == "mm" else "kvoxel"
        return (
            number_text(one.dice, 3),
            number_text(one.hd95_mm, 1, self._unit),
            number_text(one.surface_dice, 3),
            number_text(one.volume_ml, 1, volume),
            number_text(one.reference_volume_ml, 1, volume),
        )

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, len(_HEADERS))
        table.setHorizontalHeaderLabels(list(_HEADERS))
        for place, tip in enumerate(_TIPS):
            header = table.horizontalHeaderItem(place)
            if header is not None:
                header.setToolTip(tip)
        table.verticalHeader().hide()
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setShowGrid(False)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        return table

    def _on_layer_activated(self, place: int) -> None:
        if place > 0:
            self.layer_chosen.emit(self._layers.itemText(place))
            self._layers.setCurrentIndex(0)


def number_text(value: float, digits: int, unit: str = "") -> str:
    """A measured value to read; what could not be measured is a dash, a distance to nothing is "missed"."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "missed"
    return f"{value:.{digits}f} {unit}".strip()
