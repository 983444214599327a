"""Files dropped on the dock: a volume is opened, weights become the model, an adapter is used on the open volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from qtpy.QtWidgets import QWidget

from napari_samadapt.imaging.errors import SamAdaptError

from . import notify

_WEIGHTS = (".pth", ".pt")


class DroppedFiles(QObject):
    """Listens to drops on a widget; `open_volume`, `use_model` and `use_adapter` are called with one file each."""

    def __init__(
        self,
        target: QWidget,
        open_volume: Callable[[Path], None],
        use_model: Callable[[str], None],
        use_adapter: Callable[[Path], None],
    ) -> None:
        super().__init__(target)
        self._open_volume, self._use_model, self._use_adapter = open_volume, use_model, use_adapter
        target.setAcceptDrops(True)
        target.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QDropEvent | QDragEnterEvent | QDragMoveEvent) and event.mimeData().hasUrls():
            paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
            if paths:
                event.acceptProposedAction()
                if event.type() == QEvent.Type.Drop:
                    notify.reported(self.take)(paths)
                return True
        return super().eventFilter(watched, event)

    def take(self, paths: list[Path]) -> None:
        """Do what is meant by dropping these files. SamAdaptError for more than one."""
        if len(paths) > 1:
            raise SamAdaptError(
                f"{len(paths)} files were dropped: drop one, or the folder of a DICOM series."
            )
        path = paths[0]
        if path.suffix.lower() in _WEIGHTS:
            self._use_model(str(path))
        elif path.suffix.lower() == ".safetensors":
            self._take_safetensors(path)
        else:
            self._open_volume(path)

    def _take_safetensors(self, path: Path) -> None:
        """An adapter has a card; whatever else is weights."""
        from napari_samadapt.learning.adapter_file import read_card

        try:
            read_card(path)
        except SamAdaptError:
            self._use_model(str(path))
        else:
            self._use_adapter(path)
