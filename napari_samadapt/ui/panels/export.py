"""What leaves the window and comes back: masks, the session, the adapter."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QWidget

from .flow import flow
from .section import button, column


class ExportPanel(QWidget):
    """`export_masks()`, `save_session()`, `save_adapter()`, `load_adapter()`.

    `import_menu` is filled by whoever listens to its `aboutToShow`.
    """

    export_masks = Signal()
    save_session = Signal()
    save_adapter = Signal()
    load_adapter = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._export = button(
            "Export masks…",
            "One file with all classes, on the exact grid of the source; names beside it",
            self.export_masks.emit,
        )
        self.import_menu = QMenu(self)
        self._import = button(
            "Import masks",
            "A label file or a Labels layer becomes your own annotation, in one undo step",
            self.import_menu.show,
        )
        self._import.setMenu(self.import_menu)
        self._session = button(
            "Save session…",
            "A folder with masks, prompts, accepted slices and the adapter, to go on with later (Open ▸ Saved session)",
            self.save_session.emit,
        )
        self._save = button(
            "Save adapter…",
            "What the model learned, as a small file for the next scan",
            self.save_adapter.emit,
        )
        self._load = button("Load adapter…", "Use what was learned on another scan", self.load_adapter.emit)
        layout = column(self)
        layout.addLayout(flow(self._export, self._import, self._session, self._save, self._load))
        self.set_ready(False, False)

    def set_ready(self, session: bool, learned: bool) -> None:
        """Enable what makes sense: with a session, and with something learned."""
        for made in (self._export, self._import, self._session):
            made.setEnabled(session)
        self._load.setEnabled(session)
        self._save.setEnabled(learned)
