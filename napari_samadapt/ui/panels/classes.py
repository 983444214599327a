"""The class table: colour, name, id, volume, visibility and lock of every structure.

The chosen row is what clicks and brush draw.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QAction, QColor, QIcon, QKeyEvent, QMouseEvent, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from .section import button, column, is_letter, row

_NAME, _ID, _VOLUME, _SHOWN, _LOCK = range(5)
_SWATCH = 14  # pixels
_SWATCH_MARGIN = 6  # around it, that belong to it
_ROWS = 3  # that are seen at least; with more room there are more


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


class _Table(QTableWidget):
    """Rows as high as the font asks for; letters are left to the keys of the tools.

    `color_clicked(row)` when the square before a name is clicked.
    """

    color_clicked = Signal(int)

    _pressed: int | None = None  # the row of the square on which the mouse went down

    def mousePressEvent(self, event: QMouseEvent) -> None:
        super().mousePressEvent(event)
        self._pressed = self._square_at(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        pressed, self._pressed = self._pressed, None
        if pressed is not None and pressed == self._square_at(event):
            self.color_clicked.emit(pressed)

    def _square_at(self, event: QMouseEvent) -> int | None:
        """The row of the square that the left button is on; None elsewhere."""
        place = event.position().toPoint()
        index = self.indexAt(place)
        inside = 0 <= place.x() - self.visualRect(index).left() <= self.iconSize().width() + _SWATCH_MARGIN
        left = event.button() == Qt.MouseButton.LeftButton
        return index.row() if left and index.column() == _NAME and inside else None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_letter(event):
            event.ignore()  # else P would look for a class that begins with P
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.fit_rows()

    def fit_rows(self) -> None:
        """Rows as high as the font asks for."""
        self.verticalHeader().setMinimumSectionSize(1)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        header, one = self.horizontalHeader().sizeHint().height(), self.verticalHeader().defaultSectionSize()
        return QSize(240, header + _ROWS * one + 2 * self.frameWidth() + 2)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()


class ClassesPanel(QWidget):
    """`added()`, `removed(id)`, `selected(id)`, `renamed(id, name)`, `color_asked(id)`, `lock_changed(id, locked)`,
    `visible_changed(id, visible)`.
    """

    added = Signal()
    removed = Signal(int)
    selected = Signal(int)
    renamed = Signal(int, str)
    color_asked = Signal(int)
    lock_changed = Signal(int, bool)
    visible_changed = Signal(int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._showing = False
        self._table = self._make_table()
        self._add = button("+", "Add a class", self.added.emit)
        self._remove = button("−", "Remove the chosen class, once no voxel has it", self._on_remove_clicked)
        buttons = QVBoxLayout()
        buttons.setSpacing(2)
        for made in (self._add, self._remove):
            buttons.addWidget(made)
        buttons.addStretch(1)
        line = row(self._table)
        line.addLayout(buttons)
        column(self).addLayout(line)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)  # with more classes
        self.set_volume_unit("ml")
        self.set_classes((), 0)

    def set_classes(self, classes: Sequence[ClassRow], active: int, hidden: Collection[int] = ()) -> None:
        """Show the classes, with the row of id `active` chosen; those in `hidden` are not seen on the canvas."""
        known = {self._id_of(line): self._text(line, _VOLUME) for line in range(self._table.rowCount())}
        self._showing = True
        try:
            self._table.setRowCount(len(classes))
            for line, shown in enumerate(classes):
                self._set_row(line, shown, known.get(shown.id, "0"), visible=shown.id not in hidden)
                if shown.id == active:
                    self._table.setCurrentCell(line, max(self._table.currentColumn(), 0))
        finally:
            self._showing = False
        self._add.setEnabled(bool(classes))
        self._remove.setEnabled(len(classes) > 1)

    def set_volume_unit(self, unit: str) -> None:
        """What the volumes are counted in: "ml", or "pixels" where pixels have no size."""
        self._table.setHorizontalHeaderLabels(["Class", "Id", unit, "Show", "Lock"])

    def set_volumes(self, texts: Mapping[int, str]) -> None:
        """Show the volume of each class, {id: text}."""
        self._showing = True
        try:
            for line in range(self._table.rowCount()):
                item = self._table.item(line, _VOLUME)
                text = texts.get(self._id_of(line), "0")
                if item is not None and item.text() != text:
                    item.setText(text)
        finally:
            self._showing = False

    def _make_table(self) -> _Table:
        table = _Table(0, 5)
        table.verticalHeader().hide()
        table.fit_rows()
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        table.setTabKeyNavigation(False)
        table.setShowGrid(False)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setAccessibleName("Classes")
        table.setToolTip(
            "Choose the class that clicks and brush draw; double-click a name (or F2) to change it, "
            "click the square before it for another colour. Locked classes are never overwritten."
        )
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(10)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        table.itemChanged.connect(self._on_item_changed)
        table.itemSelectionChanged.connect(self._on_selection_changed)
        table.color_clicked.connect(lambda line: self.color_asked.emit(self._id_of(line)))
        table.setIconSize(QSize(_SWATCH, _SWATCH))
        self._add_menu(table)
        return table

    def _add_menu(self, table: _Table) -> None:
        """What a click does, for the keyboard too: the menu key opens it."""
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        for text, act in (
            ("Rename  (F2)", lambda: table.edit(table.model().index(table.currentRow(), _NAME))),
            ("Colour…", lambda: self.color_asked.emit(self._id_of(table.currentRow()))),
        ):
            action = QAction(text, table)
            action.triggered.connect(lambda _checked=False, act=act: act())
            table.addAction(action)

    def _set_row(self, line: int, shown: ClassRow, volume: str, *, visible: bool) -> None:
        name = QTableWidgetItem(swatch(shown.color), shown.name)
        name.setData(Qt.ItemDataRole.UserRole, shown.id)
        number, size = QTableWidgetItem(str(shown.id)), QTableWidgetItem(volume)
        for item, side in ((number, Qt.AlignmentFlag.AlignCenter), (size, Qt.AlignmentFlag.AlignRight)):
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        items = (name, number, size, _check(visible), _check(shown.locked))
        for place, item in enumerate(items):
            self._table.setItem(line, place, item)

    def _text(self, line: int, place: int) -> str:
        item = self._table.item(line, place)
        return item.text() if item else ""

    def _id_of(self, line: int) -> int:
        item = self._table.item(line, _NAME)
        return int(item.data(Qt.ItemDataRole.UserRole)) if item else 0

    def _on_item_changed(self, item: QTableWidgetItem) -> None:
        if self._showing:
            return
        class_id, checked = self._id_of(item.row()), item.checkState() == Qt.CheckState.Checked
        if item.column() == _NAME:
            self.renamed.emit(class_id, item.text())
        elif item.column() == _LOCK:
            self.lock_changed.emit(class_id, checked)
        elif item.column() == _SHOWN:
            self.visible_changed.emit(class_id, checked)

    def _on_selection_changed(self) -> None:
        if not self._showing and self._table.currentRow() >= 0:
            self.selected.emit(self._id_of(self._table.currentRow()))

    def _on_remove_clicked(self) -> None:
        if self._table.currentRow() >= 0:
            self.removed.emit(self._id_of(self._table.currentRow()))


def _check(checked: bool) -> QTableWidgetItem:
    """A check box in the table."""
    item = QTableWidgetItem()
    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable)
    item.setCheckState(Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)
    return item


def swatch(color: Sequence[float], size: int = _SWATCH) -> QIcon:
    """A square icon of an RGB colour in [0, 1]."""
    red, green, blue = (float(part) for part in color)
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor.fromRgbF(red, green, blue))
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # Qt would tint it in the chosen row
    return icon
