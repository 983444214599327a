"""Asks what a reader could not decide: its choices in a dialog, Cancel first, then reading goes on with the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from qtpy.QtCore import Qt, QThread
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QListWidget,
    QVBoxLayout,
    QWidget,
)

from napari_samadapt.imaging.questions import Question, QuestionError

from .posting import Background

T = TypeVar("T")
_WIDTH = 560  # pixels; a choice is a sentence
_LOWEST, _HIGHEST = 90, 320


class QuestionDialog(QDialog):
    """A question with its choices as a list; nothing is chosen until the user does so.

    All texts are shown as they are: what a file says may look like mark-up.
    """

    def __init__(self, question: Question, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._question = question
        self.setWindowTitle("How is this file to be read?")
        self.setMinimumWidth(_WIDTH)
        text = QLabel(question.text)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setWordWrap(True)
        self.choices = QListWidget()
        self.choices.setAccessibleName("Choices")
        self.choices.setWordWrap(True)
        self.choices.setSpacing(3)
        self.choices.addItems([f"{choice.value}: {choice.text}" for choice in question.choices])
        height = 12 + sum(
            self.choices.sizeHintForRow(row) + 6 for row in range(min(self.choices.count(), 12))
        )
        self.choices.setFixedHeight(min(max(height, _LOWEST), _HIGHEST))
        self.buttons = QDialogButtonBox()
        self._open = self.buttons.addButton("Open", QDialogButtonBox.ButtonRole.AcceptRole)
        self._open.setEnabled(False)
        cancel = self.buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        layout = QVBoxLayout(self)
        for widget in (text, self.choices, self.buttons):
            layout.addWidget(widget)
        self.choices.itemSelectionChanged.connect(self._on_selected)
        self.choices.itemDoubleClicked.connect(self.accept)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        cancel.setDefault(True)

    @property
    def value(self) -> str:
        """The value of the choice that is selected; there is one once the dialog was accepted."""
        return self._question.choices[self.choices.currentRow()].value

    def _on_selected(self) -> None:
        self._open.setEnabled(bool(self.choices.selectedItems()))
        self._open.setDefault(True)


def ask(question: Question, parent: QWidget | None = None) -> str | None:
    """Show the question and wait for the answer; None where the user cancels."""
    dialog = QuestionDialog(question, parent)
    try:
        return dialog.value if dialog.exec() == QDialog.DialogCode.Accepted else None
    finally:
        dialog.deleteLater()


def run_asking(
    background: Background,
    read: Callable[[Mapping[str, str]], T],
    done: Callable[[T], None],
    failed: Callable[[BaseException | None], None],
    parent: QWidget | None,
    wanted: Callable[[], bool] = lambda: True,
    choices: Mapping[str, str] | None = None,
) -> None:
    """Run `read` with the answers so far on a worker thread, and again after each question.

    `done` or `failed` runs on the main thread; `failed` gets None where the user cancelled, and where nobody is
    asked because the result is not `wanted` any more.
    """
    known = dict(choices or {})

    def refused(error: BaseException) -> None:
        if not isinstance(error, QuestionError):
            failed(error)
        elif not wanted() or (value := ask(error.question, parent)) is None:
            failed(None)
        else:
            run_asking(background, read, done, failed, parent, wanted, {**known, error.question.name: value})

    background.run(lambda: read(known), done, refused)


def read_asking(read: Callable[[Mapping[str, str]], T], choices: Mapping[str, str] | None = None) -> T | None:
    """Run `read` here and now, on the main thread, and again after each question; None where the user cancels.

    Where no dialog can be shown, the question is raised like any error.
    """
    known = dict(choices or {})
    while True:
        try:
            return read(known)
        except QuestionError as error:
            application = QApplication.instance()
            if application is None or QThread.currentThread() is not application.thread():
                raise
            value = ask(error.question, QApplication.activeWindow())
            if value is None:
                return None
            known[error.question.name] = value
