"""What leaves the window: the masks and the adapter."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from .flow import flow
from .section import button, column


class ExportPanel(QWidget):
    """`export_masks()`, `save_adapter()`, `load_adapter()`."""

    export_masks = Signal()
    save_adapter = Signal()
    load_adapter = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._export = button(
            "Export masks…",
            "One file with all classes, on the exact grid of the source; names beside it",
            self.export_masks.emit,
        )
        self._save = button(
            "Save adapter…",
            "What the model learned, as a small file for the next scan",
            self.save_adapter.emit,
        )
        self._load = button("Load adapter…", "Use what was learned on another scan", self.load_adapter.emit)
        layout = column(self)
        layout.addLayout(flow(self._export, self._save, self._load))
        self.set_ready(False, False)

    def set_ready(self, session: bool, learned: bool) -> None:
        """Enable what makes sense: with a session, and with something learned."""
        self._export.setEnabled(session)
        self._load.setEnabled(session)
        self._save.setEnabled(learned)
