"""A titled part of the dock that can be folded away; and the small widgets that every panel uses."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QComboBox,
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

from .. import remembered
from .flow import SPACING, flow

_LARGEST_SHARE = 0.35
_AT_LEAST = 380  # pixels, for most rows in one line on a small screen too


class Section(QFrame):
    """A title that folds the panel below it; `extra` stands at the right of the title.

    With a `name` it opens the next time as it was left.
    """

    def __init__(
        self,
        title: str,
        panel: QWidget,
        extra: QWidget | None = None,
        *,
        name: str = "",
        open_: bool = True,
    ) -> None:
        super().__init__()
        self.panel = panel
        self._name = name
        self._fold = QToolButton(self)
        self._fold.setText(title)
        self._fold.setCheckable(True)
        self._fold.setObjectName("fold")
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fold.setToolTip(f"Fold or unfold “{title}”")
        self._fold.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._fold.toggled.connect(self._show_panel)
        self._fold.clicked.connect(self._on_fold_clicked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        layout.addLayout(flow(self._fold) if extra is None else flow(self._fold, (extra, 0)))
        layout.addWidget(panel)
        self.set_open(remembered.is_open(name, open_) if name else open_)

    def set_open(self, open_: bool) -> None:
        """Show the panel or only its title; this is not remembered."""
        self._fold.setChecked(open_)
        self._show_panel(open_)

    def _show_panel(self, open_: bool) -> None:
        self._fold.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        self.panel.setVisible(open_)
        height = self.panel.sizePolicy().verticalPolicy() if open_ else QSizePolicy.Policy.Maximum
        self.setSizePolicy(QSizePolicy.Policy.Preferred, height)

    def _on_fold_clicked(self, open_: bool) -> None:
        if self._name:
            remembered.set_open(self._name, open_)


class Column(QScrollArea):
    """Scrolls up and down only: never narrower than what it shows."""

    def minimumSizeHint(self) -> QSize:
        """As wide as the panels need with the fonts and the theme in use.

        That is with each row in one line, beside a scroll bar, as long as this takes no more than about a third of
        the screen; else the rows are broken into lines.
        """
        shown = self.widget()
        if shown is None:
            return super().minimumSizeHint()
        third = max(round(self.screen().availableGeometry().width() * _LARGEST_SHARE), _AT_LEAST)
        bar = self.verticalScrollBar().sizeHint().width()
        width = max(shown.minimumSizeHint().width(), min(shown.sizeHint().width(), third))
        return QSize(width + bar, super().minimumSizeHint().height())

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
    layout.setSpacing(SPACING - 1)
    return layout


def button(text: str, tooltip: str, clicked: Callable[[], object], *, checkable: bool = False) -> QPushButton:
    """A push button with a tooltip; `clicked` is called without arguments."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    made.clicked.connect(lambda _checked=False: clicked())
    return made


def is_letter(event: QKeyEvent) -> bool:
    """True for a key that types something: such keys are those of the tools, wherever the keyboard is in the dock."""
    return event.text().isprintable() and bool(event.text().strip())


class Choice(QComboBox):
    """A combo box that leaves letters to the keys of the tools: else B would choose “bone” after a click on it.

    At least `letters` letters wide.
    """

    def __init__(self, letters: int, tooltip: str = "") -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setMinimumContentsLength(letters)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_letter(event):
            event.ignore()
        else:
            super().keyPressEvent(event)


class HintLabel(QLabel):
    """Muted, wrapping text for what to do next, always as high as `lines` lines of the font in use.

    Text of another length must not move what is below. Plain text only, because names come from files.
    """

    def __init__(self, lines: int = 1) -> None:
        super().__init__()
        self._lines = lines
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)

    def sizeHint(self) -> QSize:
        return QSize(120, self._height(self._lines))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def heightForWidth(self, width: int) -> int:
        """More only where the text needs it: in a narrow dock, or with a large font."""
        return max(self._height(self._lines), int(super().heightForWidth(width)))

    def _height(self, lines: int) -> int:
        return int(lines * (self.fontMetrics().lineSpacing() + 1) + 10)


def hint_label(lines: int = 1) -> HintLabel:
    """A label for what to do next."""
    return HintLabel(lines)


def small(label: QLabel) -> QLabel:
    """The label in the smaller font of the dock's style."""
    label.setProperty("small", True)
    return label
