"""Controls side by side, in as many lines as the width asks for: with large fonts nothing is cut off."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QRect, QSize, Qt
from qtpy.QtWidgets import QLayout, QLayoutItem, QWidget

SPACING = 4


class Flow(QLayout):
    """Lays widgets out line by line; each line is as wide as the panel, the room left over goes to all by `weight`."""

    def __init__(self) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self._weights: list[int] = []
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(SPACING)

    def add(self, widget: QWidget, weight: int = 1) -> None:
        """Add a widget; with weight 0 it keeps its width."""
        self._weights.append(weight)
        self.addWidget(widget)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)
        if len(self._weights) < len(self._items):
            self._weights.append(1)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        if not 0 <= index < len(self._items):
            return None
        del self._weights[index]
        return self._items.pop(index)

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def sizeHint(self) -> QSize:
        """All in one line."""
        hints = [item.sizeHint() for item in self._shown()]
        width = sum(hint.width() for hint in hints) + self.spacing() * max(len(hints) - 1, 0)
        return QSize(width, max((hint.height() for hint in hints), default=0))

    def minimumSize(self) -> QSize:
        """Each in a line of its own."""
        least = [item.minimumSize().expandedTo(QSize(item.sizeHint().width(), 0)) for item in self._shown()]
        return QSize(
            max((size.width() for size in least), default=0),
            max((size.height() for size in least), default=0),
        )

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    def _lines(self, width: int) -> list[list[QLayoutItem]]:
        """What stands in each line of this width."""
        lines: list[list[QLayoutItem]] = []
        taken = 0
        for item in self._shown():
            wanted = item.sizeHint().width()
            if not lines or taken + self.spacing() + wanted > width:
                lines.append([])
                taken = -self.spacing()
            lines[-1].append(item)
            taken += self.spacing() + wanted
        return lines

    def _place(self, rect: QRect, *, move: bool) -> int:
        """Place the widgets, or only tell the height that they need."""
        top = rect.top()
        for line in self._lines(rect.width()):
            height = max(item.sizeHint().height() for item in line)
            weights = [self._weights[self._items.index(item)] for item in line]
            free = (
                rect.width()
                - self.spacing() * (len(line) - 1)
                - sum(item.sizeHint().width() for item in line)
            )
            left = rect.left()
            for item, weight in zip(line, weights, strict=True):
                width = item.sizeHint().width() + max(free, 0) * weight // max(sum(weights), 1)
                if move:
                    item.setGeometry(QRect(QPoint(left, top), QSize(width, height)))
                left += width + self.spacing()
            top += height + self.spacing()
        return max(top - self.spacing() - rect.top(), 0)


def flow(*widgets: QWidget | tuple[QWidget, int]) -> Flow:
    """A flow of widgets, or of pairs of a widget and its weight."""
    made = Flow()
    for widget in widgets:
        if isinstance(widget, tuple):
            made.add(*widget)
        else:
            made.add(widget)
    return made
