"""The volume panel: which image, which slices, which grey values, which SAM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QLabel, QMenu, QPushButton, QWidget
from superqt import QElidingLabel

from napari_samadapt.imaging.volume import AXIS_NAMES

from .flow import flow
from .section import Choice, button, column, row

MODELS = {
    "mini": ("mini", "mini: small, bundled, quick on any machine"),
    "vit_b": ("ViT-B", "SAM ViT-B: 375 MB, downloaded once"),
    "vit_l": ("ViT-L", "SAM ViT-L: 1.2 GB, downloaded once; wants a GPU"),
    "vit_h": ("ViT-H", "SAM ViT-H: 2.6 GB, downloaded once; wants a GPU"),
}
_CONVENTION = {
    "axial": "the patient's right is on the left of the screen, the front at the top",
    "coronal": "the patient's right is on the left of the screen, the head at the top",
    "sagittal": "the front is on the left of the screen, the head at the top",
}
_FROM_FILE = "from a file…"


class VolumePanel(QWidget):
    """Emits what the user chose; `set_*` shows a state and emits nothing.

    `open_file`, `open_folder`, `sample(name)`, `axis(name)`, `window_preset(name)`, `model(name or path)`,
    `model_file()`.
    """

    open_file = Signal()
    open_folder = Signal()
    open_session = Signal()
    open_unfinished = Signal()
    sample = Signal(str)
    axis = Signal(str)
    window_preset = Signal(str)
    model = Signal(str)
    model_file = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = QElidingLabel("No volume yet")
        self._name.setTextFormat(Qt.TextFormat.PlainText)
        self._name.setElideMode(Qt.TextElideMode.ElideRight)
        self._name.setMinimumWidth(80)
        self._open = QPushButton("Open")
        self._open.setToolTip(
            "Open a volume, a DICOM folder or a sample; dropping a file on the canvas works too"
        )
        self._open.setMenu(self._open_menu())
        self._axis_buttons = self._make_axis_buttons()
        self._windows = Choice(
            9,
            "Grey values shown, and given to SAM: what you see is what it gets. Shift + drag on the canvas changes "
            "them too: sideways the width (W), up and down the level (L)",
        )
        self._windows.activated.connect(self._on_window_activated)
        self._models = Choice(6, "The SAM that answers your clicks and is adapted")
        for name, (text, tip) in MODELS.items():
            self._models.addItem(text, name)
            self._models.setItemData(self._models.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._models.addItem(_FROM_FILE, _FROM_FILE)
        self._models.activated.connect(self._on_model_activated)
        self._model = "mini"
        self._lay_out()
        self.set_volume("", ())

    def set_volume(self, text: str, windows: Sequence[str]) -> None:
        """Show the volume's description ("" for none) and the names of its windows.

        The first one is chosen.
        """
        self._name.setText(text or "No volume yet: open one, or drop a file")
        self._name.setToolTip(text)
        self._windows.clear()
        self._windows.addItems(list(windows))
        for widget in (*self._axis_buttons.values(), self._windows):
            widget.setEnabled(bool(windows) or bool(text))

    def set_axis(self, name: str) -> None:
        """Show which slices are on screen: "axial", "coronal" or "sagittal"."""
        if name in self._axis_buttons:
            self._axis_buttons[name].setChecked(True)

    def set_axes(self, names: Sequence[str]) -> None:
        """Enable only the axes that have slices to show; a 2D image has one, and no choice."""
        for name, made in self._axis_buttons.items():
            made.setEnabled(name in names)
            made.setVisible(len(names) > 1)

    def set_window(self, name: str) -> None:
        """Show which window is in use; a name that is not in the list is added at the end."""
        if self._windows.findText(name) < 0:
            self._windows.addItem(name)
        self._windows.setCurrentText(name)

    def set_model(self, name: str, *, busy: bool = False) -> None:
        """Show which model is in use: a name of MODELS or a path; `busy` while it is being loaded."""
        if self._models.findData(name) < 0:
            self._models.insertItem(self._models.count() - 1, Path(name).name, name)
        self._model = name
        self._models.setCurrentIndex(self._models.findData(name))
        self._models.setEnabled(not busy)

    def _open_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction("Volume or image…", lambda: self.open_file.emit())
        menu.addAction("DICOM folder…", lambda: self.open_folder.emit())
        menu.addSeparator()
        menu.addAction("Saved session…", lambda: self.open_session.emit())
        menu.addAction("Unfinished work…", lambda: self.open_unfinished.emit())
        menu.addSeparator()
        menu.addAction("Sample: abdomen, CT-like", lambda: self.sample.emit("ct"))
        menu.addAction("Sample: MR-like", lambda: self.sample.emit("mr"))
        menu.addAction("Sample: ultrasound-like", lambda: self.sample.emit("ultrasound"))
        return menu

    def _make_axis_buttons(self) -> dict[str, QPushButton]:
        group = QButtonGroup(self)
        made: dict[str, QPushButton] = {}
        for name in AXIS_NAMES:
            made[name] = button(
                name.capitalize(),
                f"Show and annotate {name} slices, told from the scan's orientation, the radiological way: "
                + _CONVENTION[name],
                lambda name=name: self.axis.emit(name),  # type: ignore[misc]
                checkable=True,
            )
            group.addButton(made[name])
        return made

    def _lay_out(self) -> None:
        layout = column(self)
        first = row(self._name, self._open)
        first.setStretch(0, 1)
        layout.addLayout(first)
        layout.addLayout(flow(*self._axis_buttons.values()))
        layout.addLayout(
            flow(
                _labelled("Window", self._windows),
                _labelled("Model", self._models),
            )
        )

    def _on_window_activated(self, index: int) -> None:
        self.window_preset.emit(self._windows.itemText(index))

    def _on_model_activated(self, index: int) -> None:
        chosen = str(self._models.itemData(index))
        if chosen == _FROM_FILE:
            self._models.setCurrentIndex(self._models.findData(self._model))
            self.model_file.emit()
        elif chosen != self._model:
            self.model.emit(chosen)


def _labelled(text: str, partner: QWidget) -> QWidget:
    """A control with its label before it."""
    label = QLabel(text)
    label.setBuddy(partner)
    made = QWidget()
    line = row(label, partner)
    line.setStretch(1, 1)
    made.setLayout(line)
    return made
