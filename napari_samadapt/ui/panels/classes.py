"""The class table: colour, name, id and lock of every structure.

The chosen row is what clicks and brush draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .section import button, column, row

_NAME, _ID, _LOCK = 0, 1, 2
_ROW_HEIGHT = 22


class ClassRow(Protocol):
    """What the table shows of a class (session.LabelClass has it). `color` is RGB in [0, 1]."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def color(self) -> Sequence[float]: ...
    @property
    def locked(self) -> bool: ...


class ClassesPanel(QWidget):
    """`added()`, `removed(id)`, `selected(id)`, `renamed(id, name)`, `lock_changed(id, locked)`."""

    added = Signal()
    removed = Signal(int)
    selected = Signal(int)
    renamed = Signal(int, str)
    lock_changed = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["Class", "Id", "Locked"])
        self._table.verticalHeader().hide()
        self._table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self._table.verticalHeader().setMinimumSectionSize(_ROW_HEIGHT)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setShowGrid(False)
        self._table.setToolTip(
            "Choose the class that clicks and brush draw; double-click a name to change it. "
            "Locked classes are never overwritten."
        )
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_ID, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_LOCK, QHeaderView.ResizeMode.ResizeToContents)
        self._table.setFixedHeight(5 * _ROW_HEIGHT + 8)
        self._table.itemChanged.connect(self._on_item_changed)
        self._table.itemSelectionChanged.connect(self._on_selection_changed)
        self._add = button("＋", "Add a class", self.added.emit)
        self._remove = button("－", "Remove the chosen class and its voxels", self._on_remove_clicked)
        buttons = QVBoxLayout()
        buttons.setSpacing(2)
        for made in (self._add, self._remove):
            made.setFixedSize(26, 24)
            buttons.addWidget(made)
        buttons.addStretch(1)
        line = row(self._table)
        line.addLayout(buttons)
        column(self).addLayout(line)
        self._showing = False
        self.set_classes((), 0)

    def set_classes(self, classes: Sequence[ClassRow], active: int) -> None:
        """Show the classes, with the row of id `active` chosen."""
        self._showing = True
        try:
            self._table.setRowCount(len(classes))
            for line, shown in enumerate(classes):
                self._set_row(line, shown)
                if shown.id == active:
                    self._table.selectRow(line)
        finally:
            self._showing = False
        self._add.setEnabled(bool(classes))
        self._remove.setEnabled(len(classes) > 1)

    def _set_row(self, line: int, shown: ClassRow) -> None:
        name = QTableWidgetItem(swatch(shown.color), shown.name)
        name.setData(Qt.ItemDataRole.UserRole, shown.id)
        number = QTableWidgetItem(str(shown.id))
        number.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        number.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        lock = QTableWidgetItem()
        lock.setFlags(
            Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable
        )
        lock.setCheckState(Qt.CheckState.Checked if shown.locked else Qt.CheckState.Unchecked)
        for place, item in ((_NAME, name), (_ID, number), (_LOCK, lock)):
            self._table.setItem(line, place, item)

    def _id_of(self, line: int) -> int:
        item = self._table.item(line, _NAME)
        return int(item.data(Qt.ItemDataRole.UserRole)) if item else 0

    def _on_item_changed(self, item: QTableWidgetItem) -> None:
        if self._showing:
            return
        if item.column() == _NAME:
            self.renamed.emit(self._id_of(item.row()), item.text())
        elif item.column() == _LOCK:
            self.lock_changed.emit(self._id_of(item.row()), item.checkState() == Qt.CheckState.Checked)

    def _on_selection_changed(self) -> None:
        if not self._showing and self._table.currentRow() >= 0:
            self.selected.emit(self._id_of(self._table.currentRow()))

    def _on_remove_clicked(self) -> None:
        if self._table.currentRow() >= 0:
            self.removed.emit(self._id_of(self._table.currentRow()))


def swatch(color: Sequence[float], size: int = 14) -> QIcon:
    """A square icon of an RGB colour in [0, 1]."""
    red, green, blue = (float(part) for part in color)
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor.fromRgbF(red, green, blue))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # Qt would tint it in the chosen row
    return icon
