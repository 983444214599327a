"""A tour in five steps beside the dock: each waits until the user has done it, or goes on at a press of Next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QPoint, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractButton, QFrame, QLabel, QPushButton, QVBoxLayout, QWidget

from .connections import Connections
from .panels.section import row

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_WIDTH = 300
_GAP = 12


@dataclass(frozen=True)
class Step:
    """One step: the section of the dock that it is about, a title, what to do."""

    section: str
    title: str
    text: str


STEPS = (
    Step(
        "volume",
        "Look through the scan",
        "Click or drag in the strip of slices below the image, and stop where you see an organ well.",
    ),
    Step(
        "prompts",
        "Click a structure",
        "Press P, then click inside an organ. SAM draws its outline. Click again where something is missing; "
        "press T and click where there is too much.",
    ),
    Step(
        "slice",
        "Accept the slice",
        "Is the mask right? Press A. If not, correct it with the brush (2) or the eraser (1) first.",
    ),
    Step(
        "learning",
        "The model learns",
        "From now on it learns from what you accept. Go to another slice: it is predicted already. "
        "Correct it and accept it, and the next one needs less.",
    ),
    Step(
        "export",
        "Take the masks along",
        "Export writes one file on the grid of your scan. Save the adapter, and the next scan starts with what "
        "the model has learned.",
    ),
)


class Tour(QFrame):
    """A note beside the section of the present step. `ended()` when the last step is done or the tour is left."""

    ended = Signal()

    def __init__(self, sections: Mapping[str, QWidget], window: QWidget) -> None:
        super().__init__(window)
        self._sections, self._window = sections, window
        self._step = 0
        self._connections = Connections()
        self.setObjectName("samadapt-tour")
        self.setFixedWidth(_WIDTH)
        self.setStyleSheet(
            "#samadapt-tour { background: #0b5cad; border: 1px solid #6db3f2; border-radius: 6px; }"
            "#samadapt-tour QLabel { color: white; background: transparent; }"
        )
        self._count, self._title, self._text = QLabel(), QLabel(), QLabel()
        self._title.setStyleSheet("font-weight: 600;")
        self._text.setWordWrap(True)
        self._back, self._next, self._skip = (
            QPushButton("Back"),
            QPushButton("Next"),
            QPushButton("Skip the tour"),
        )
        # Methods and no lambdas: Qt's binding would keep those, and the window with them, after the tour.
        self._back.clicked.connect(self._on_back)
        self._next.clicked.connect(self._on_next)
        self._skip.clicked.connect(self.leave)
        layout = self._layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.addLayout(row(self._title, 1, self._count))
        layout.addWidget(self._text)
        layout.addLayout(row(self._skip, 1, self._back, self._next))
        first = sections[STEPS[0].section]
        self._put_after(first.findChild(QAbstractButton) or first)
        window.installEventFilter(self)
        self.go_to(0)

    @property
    def step(self) -> int:
        """The present step, from 0 on."""
        return self._step

    def follow(self, session: Session) -> None:
        """Go on by itself when the user has done what a step asks for; a picture has no slices to look through."""
        self._connections.close()
        if self._step == 0 and session.volume.shape[session.axis] == 1:
            self.go_to(1)
        done: tuple[tuple[object, int, Callable[[], bool]], ...] = (
            (session.drafted, 1, lambda: True),
            (session.labels_changed, 2, lambda: bool(session.accepted)),
            (session.adapter_changed, 3, lambda: len(session.accepted) > 1),
        )
        for signal, step, holds in done:
            self._connections.add(
                signal, lambda *_told, step=step, holds=holds: self._on_done(step) if holds() else None
            )

    def go_to(self, step: int) -> None:
        """Show a step; after the last one the tour ends."""
        if step >= len(STEPS):
            self.leave()
            return
        self._step = max(step, 0)
        shown = STEPS[self._step]
        self._title.setText(shown.title)
        self._text.setText(shown.text)
        self._count.setText(f"{self._step + 1} of {len(STEPS)}")
        self._back.setVisible(self._step > 0)
        self._next.setText("Done" if self._step == len(STEPS) - 1 else "Next")
        self._place()
        self.show()
        self.raise_()

    def leave(self) -> None:
        """End the tour."""
        self._connections.close()
        self._window.removeEventFilter(self)
        self.hide()
        self.ended.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.leave()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self._place()
        return super().eventFilter(watched, event)

    def _put_after(self, before: QWidget) -> None:
        """Tab comes to the buttons after the title of the first section; else they would be the last in the window.

        Never ask for the widget before another by `previousInFocusChain`: PySide6 makes the asked one the owner of
        the answer, and a later garbage collection frees widgets that are in use and ends the process.
        """
        for made in (self._skip, self._back, self._next):
            self.setTabOrder(before, made)
            before = made

    def _on_back(self) -> None:
        self.go_to(self._step - 1)

    def _on_next(self) -> None:
        self.go_to(self._step + 1)

    def _on_done(self, step: int) -> None:
        if self._step <= step:  # who clicks at once has no need to be told how
            self.go_to(step + 1)

    def _place(self) -> None:
        """Left of the section, inside the window."""
        self.setFixedHeight(self._layout.totalHeightForWidth(_WIDTH))
        section = self._sections[STEPS[self._step].section]
        corner = section.mapTo(self._window, QPoint(0, 0))
        left = max(corner.x() - _WIDTH - _GAP, 0)
        top = min(max(corner.y(), 0), max(self._window.height() - self.height(), 0))
        self.move(left, top)
