"""A titled part of the dock that can be folded away; and the small widgets that every panel uses."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

SPACING = 4
_LINE_HEIGHT = 18


class Section(QFrame):
    """A title that folds the panel below it; `extra` stands at the right of the title."""

    def __init__(self, title: str, panel: QWidget, extra: QWidget | None = None) -> None:
        super().__init__()
        self.panel = panel
        self._fold = QToolButton(self)
        self._fold.setText(title)
        self._fold.setCheckable(True)
        self._fold.setChecked(True)
        self._fold.setArrowType(Qt.ArrowType.DownArrow)
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fold.setStyleSheet(
            "QToolButton { border: none; background: transparent; font-weight: 600; padding: 0; }"
        )
        self._fold.setToolTip(f"Fold or unfold “{title}”")
        self._fold.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._fold.toggled.connect(self._on_fold_toggled)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row(self._fold, 1) if extra is None else row(self._fold, 1, extra))
        layout.addWidget(panel)

    def _on_fold_toggled(self, open_: bool) -> None:
        self._fold.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        self.panel.setVisible(open_)


class Column(QScrollArea):
    """Scrolls up and down only: never narrower than what it shows."""

    def minimumSizeHint(self) -> QSize:
        """As wide as the panels need with the fonts and the theme in use."""
        shown = self.widget()
        width = shown.minimumSizeHint().width() if shown is not None else 0
        return QSize(width, super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass on that the panels need another width."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def row(*items: QWidget | int) -> QHBoxLayout:
    """Widgets side by side; a number is a stretch of that weight."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING)
    for item in items:
        if isinstance(item, int):
            layout.addStretch(item)
        else:
            layout.addWidget(item)
    return layout


def column(panel: QWidget) -> QVBoxLayout:
    """The vertical layout of a panel."""
    layout = QVBoxLayout(panel)
    layout.setContentsMargins(2, 0, 2, 0)
    layout.setSpacing(SPACING)
    return layout


def button(text: str, tooltip: str, clicked: Callable[[], object], *, checkable: bool = False) -> QPushButton:
    """A push button with a tooltip; `clicked` is called without arguments."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    made.setMinimumWidth(20)
    made.clicked.connect(lambda _checked=False: clicked())
    return made


def hint_label(lines: int = 1) -> QLabel:
    """A muted, wrapping label for what to do next; plain text only, because names come from files."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setFixedHeight(lines * _LINE_HEIGHT)  # text of another length must not move what is below
    label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    return label
