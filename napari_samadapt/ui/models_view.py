"""The window of models and adapters: what there is, where from, under which licence, and what to do with it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal, SignalInstance
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QInputDialog,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_samadapt.learning.model_texts import FOREIGN_TEXTS, MODEL_TEXTS, ModelText

from .panels.section import button, row
from .tool_window import ToolWindow

_HEADERS = ("Model", "What it is", "Size", "Licence", "")
_LINK = "#3d8fe0"  # readable on the dark and on the light theme
_CARD = Qt.ItemDataRole.UserRole
_NO_ADAPTERS = (
    "No adapter was saved yet. After the model has learned, press “Save adapter…” in the dock: "
    "it is kept here for the next scan."
)


class ModelsTab(QWidget):
    """`use_asked(name)`, `download_asked(name)`, `file_asked()`."""

    use_asked = Signal(str)
    download_asked = Signal(str)
    file_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._table = QTableWidget(len(MODEL_TEXTS), len(_HEADERS))
        self._table.setHorizontalHeaderLabels(list(_HEADERS))
        self._table.verticalHeader().hide()
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self._table.setShowGrid(False)
        self._table.setWordWrap(True)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self._buttons = {}
        for line, (name, text) in enumerate(MODEL_TEXTS.items()):
            for place, told in enumerate(
                (text.title, text.sentence, size_text(text.megabytes), text.licence)
            ):
                cell = QTableWidgetItem(told)
                cell.setToolTip(told)
                self._table.setItem(line, place, cell)
            made = button("", "", lambda name=name: self._on_clicked(name))  # type: ignore[misc]
            self._buttons[name] = made
            self._table.setCellWidget(line, len(_HEADERS) - 1, made)
        self._table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._here: dict[str, bool] = {}
        more = QLabel(foreign_html(FOREIGN_TEXTS))
        more.setWordWrap(True)
        more.setTextFormat(Qt.TextFormat.RichText)
        more.setOpenExternalLinks(True)
        file = button("Own checkpoint…", "Use SAM weights from a file", self.file_asked.emit)
        layout = QVBoxLayout(self)
        layout.addWidget(self._table, 1)
        layout.addWidget(more)
        layout.addLayout(row(file, 1))

    def set_models(self, here: Mapping[str, bool], in_use: str) -> None:
        """Which of the models are on this computer, and which is in use (a name or the path of a file)."""
        self._here = dict(here)
        for name, made in self._buttons.items():
            if name == in_use:
                made.setText("In use")
                made.setToolTip("This model answers clicks now")
            elif here.get(name, False):
                made.setText("Use")
                made.setToolTip("Change to this model; your masks stay, what was learned ends")
            else:
                made.setText("Download")
                made.setToolTip("Fetch the weights once; nothing of your data leaves this computer")
            made.setEnabled(name != in_use)

    def _on_clicked(self, name: str) -> None:
        (self.use_asked if self._here.get(name, False) else self.download_asked).emit(name)


class AdaptersTab(QWidget):
    """`apply_asked(path)`, `folder_asked(path)`, `renamed(path, name)`, `delete_asked(path)`, `add_asked()`."""

    apply_asked = Signal(Path)
    folder_asked = Signal(Path)
    renamed = Signal(Path, str)
    delete_asked = Signal(Path)
    add_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._list = QListWidget()
        self._list.setToolTip("The adapters that you saved")
        self._list.currentItemChanged.connect(lambda _new, _old: self._show_card())
        self._card = QLabel(_NO_ADAPTERS)
        self._card.setWordWrap(True)
        self._card.setTextFormat(Qt.TextFormat.RichText)
        self._card.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._card.setMargin(8)
        self._apply = button(
            "Use on this volume",
            "Predict the open volume with this adapter",
            lambda: self._tell(self.apply_asked),
        )
        self._folder = button(
            "Use on a folder…",
            "Write masks for every volume of a folder",
            lambda: self._tell(self.folder_asked),
        )
        self._rename = button("Rename…", "Give it another name", self._on_rename_clicked)
        self._delete = button(
            "Delete…", "Delete the file, or forget one saved elsewhere", self._on_delete_clicked
        )
        self._add = button(
            "Add file…", "Copy an adapter that somebody gave you into this list", self.add_asked.emit
        )
        lists = row(self._list, self._card)
        lists.setStretch(0, 2)
        lists.setStretch(1, 3)
        layout = QVBoxLayout(self)
        layout.addLayout(lists, 1)
        layout.addLayout(row(self._apply, self._folder, 1, self._add, self._rename, self._delete))
        self._session = False
        self.set_adapters(())

    def set_adapters(self, adapters: Sequence[tuple[str, Path, Sequence[tuple[str, str]]]]) -> None:
        """Name, file and card (heading, text) of each; the one that was chosen stays so."""
        chosen = self.chosen
        self._list.clear()
        for name, path, card in adapters:
            item = QListWidgetItem(name)
            item.setData(_CARD, (path, tuple(card)))
            item.setToolTip(str(path))
            self._list.addItem(item)
            if path == chosen:
                self._list.setCurrentItem(item)
        if self._list.currentItem() is None and adapters:
            self._list.setCurrentRow(0)
        self._show_card()

    def set_session(self, open_: bool) -> None:
        """Whether there is a volume to use an adapter on."""
        self._session = open_
        self._show_card()

    @property
    def chosen(self) -> Path | None:
        """The file of the chosen adapter."""
        item = self._list.currentItem()
        return Path(item.data(_CARD)[0]) if item is not None else None

    def _show_card(self) -> None:
        item = self._list.currentItem()
        for made in (self._folder, self._rename, self._delete):
            made.setEnabled(item is not None)
        self._apply.setEnabled(item is not None and self._session)
        if item is None:
            self._card.setText(_NO_ADAPTERS)
            return
        lines = "".join(
            f"<tr><td style='padding-right: 12px'><b>{html.escape(head)}</b></td><td>{html.escape(text)}</td></tr>"
            for head, text in item.data(_CARD)[1]
        )
        self._card.setText(f"<p><b>{html.escape(item.text())}</b></p><table>{lines}</table>")

    def _tell(self, signal: SignalInstance) -> None:
        if self.chosen is not None:
            signal.emit(self.chosen)

    def _on_rename_clicked(self) -> None:
        item = self._list.currentItem()
        if item is not None and self.chosen is not None:
            name, accepted = QInputDialog.getText(self, "Rename the adapter", "Name", text=item.text())
            if accepted:
                self.renamed.emit(self.chosen, name)

    def _on_delete_clicked(self) -> None:
        if self.chosen is not None:
            self.delete_asked.emit(self.chosen)


class ModelsView(ToolWindow):
    """Both tabs, and the progress of what takes long; `stop_asked()`."""

    stop_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Models and adapters", (860, 520), parent)
        self.models, self.adapters = ModelsTab(), AdaptersTab()
        self._tabs = QTabWidget()
        self._tabs.addTab(self.models, "Models")
        self._tabs.addTab(self.adapters, "Adapters")
        self._told = QLabel()
        self._told.setTextFormat(Qt.TextFormat.PlainText)
        self._told.setWordWrap(True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setMaximumHeight(8)
        self._stop = button("Stop", "Stop here; what is finished stays", self.stop_asked.emit)
        self.column.addWidget(self._tabs, 1)
        self.column.addWidget(self._bar)
        line = row(self._told, self._stop)
        line.setStretch(0, 1)
        self.column.addLayout(line)
        self.set_progress("", None)

    def show_tab(self, adapters: bool) -> None:
        """Bring the models or the adapters to the front."""
        self._tabs.setCurrentWidget(self.adapters if adapters else self.models)

    def set_progress(self, text: str, fraction: float | None) -> None:
        """What is under way and how far; without a fraction nothing is."""
        self._told.setText(text)
        self._bar.setVisible(fraction is not None)
        self._stop.setVisible(fraction is not None)
        self._bar.setValue(round(1000 * (fraction or 0.0)))


def size_text(megabytes: int) -> str:
    """A file's size to read."""
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


def foreign_html(texts: Sequence[ModelText]) -> str:
    """What others give away, with links, and how to use it."""
    lines = "".join(
        f"<li><a style='color: {_LINK}' href='{text.source}'>{text.title}</a>: {text.sentence} "
        f"{size_text(text.megabytes)}, {text.licence}.</li>"
        for text in texts
    )
    return (
        f"<p>Weights of others with the shapes of an official SAM:</p><ul>{lines}</ul>"
        "<p>Get the file from its page, then choose it here or drop it on the dock. Nothing in it is run.</p>"
    )
