"""The small buttons in the titles of the dock's sections: looks at the slice, the larger views, models, the tour."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from .panels.section import row
from .slice_overlays import BEFORE, UNCERTAINTY

_LOOKS = {
    UNCERTAINTY: (
        "Unsure  U",
        "Show where the model is unsure: the brighter, the closer its two best answers",
    ),
    BEFORE: ("Before  W", "Outline what the model said of this slice before its last update"),
}


_FLAT = (
    "QToolButton { padding: 1px 6px; border: 1px solid #808890; border-radius: 3px; background: transparent; }"
    "QToolButton:hover { background: rgba(128, 136, 144, 80); }"
    "QToolButton:checked { background: #4560c9; color: white; }"
    "QToolButton:disabled { border-color: rgba(128, 136, 144, 90); color: #808890; }"
    "QToolButton::menu-indicator { image: none; width: 0; }"
)


class EvidenceBar(QWidget):
    """In the title of *Learning*: `switched(name, bool)` for a look at the slice, `side_by_side_asked()`,
    `learning_asked()`, `comparison_asked()`.
    """

    switched = Signal(str, bool)
    side_by_side_asked = Signal()
    learning_asked = Signal()
    comparison_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._looks = {}
        for name, (text, tip) in _LOOKS.items():
            made = flat_button(text, tip)
            made.setCheckable(True)
            made.clicked.connect(lambda on, name=name: self.switched.emit(name, on))
            self._looks[name] = made
        self._more = flat_button("Views ▾", "Larger views of what the model does")
        menu = QMenu(self._more)
        menu.setToolTipsVisible(True)
        for text, tip, signal in (
            (
                "Before and after, side by side…",
                "This slice as earlier adapters predicted it",
                self.side_by_side_asked,
            ),
            ("How the model learned…", "Updates, and how much you had to correct", self.learning_asked),
            (
                "Compare with a reference…",
                "Dice, HD95 and volumes against masks that you have",
                self.comparison_asked,
            ),
        ):
            action = menu.addAction(text, signal.emit)
            action.setToolTip(tip)
        self._more.setMenu(menu)
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setLayout(row(*self._looks.values(), self._more))
        self.set_ready(False)

    def set_on(self, name: str, on: bool) -> None:
        """Show whether a look is switched on."""
        self._looks[name].setChecked(on)

    def set_ready(self, ready: bool) -> None:
        """Without a volume there is nothing to look at."""
        for made in (*self._looks.values(), self._more):
            made.setEnabled(ready)


class HelpBar(QWidget):
    """In the title of *Volume*: `models_asked()`, `tour_asked()`."""

    models_asked = Signal()
    tour_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        models = flat_button("Models…", "Models to download, adapters that you saved")
        models.clicked.connect(lambda _checked=False: self.models_asked.emit())
        tour = flat_button("Tour", "Five steps that show how it works")
        tour.clicked.connect(lambda _checked=False: self.tour_asked.emit())
        self.setLayout(row(models, tour))


def flat_button(text: str, tooltip: str) -> QToolButton:
    """A small button for a title."""
    made = QToolButton()
    made.setText(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setStyleSheet(_FLAT)
    return made
