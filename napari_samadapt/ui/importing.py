"""Masks from elsewhere become the user's own: a Labels layer of the same shape, or a label file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtWidgets import QFileDialog, QMenu, QMessageBox, QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.file_kinds import PATTERNS
from napari_samadapt.imaging.volume import Volume

from . import notify
from .contributions import DISPLAYED_KEY, NAMES_KEY
from .posting import Background
from .questions import run_asking

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_MASKS = f"Label files ({PATTERNS});;All files (*)"


class MaskImport:
    """Fills the menu of the import button, and does what is chosen there."""

    def __init__(
        self,
        parent: QWidget,
        viewer: ViewerModel,
        background: Background,
        session: Callable[[], Session | None],
    ) -> None:
        self._parent, self._viewer, self._background, self._session = parent, viewer, background, session

    def fill(self, menu: QMenu) -> None:
        """A file, and every Labels layer that fits the open volume."""
        menu.clear()
        menu.addAction("From a file…", notify.reported(self.ask_file))
        if layers := self._fitting():
            menu.addSeparator()
            menu.addSection("From a layer")
        for layer in layers:
            menu.addAction(_plain(layer.name), notify.reported(lambda layer=layer: self.from_layer(layer)))

    def ask_file(self) -> None:
        """Ask for a label file, and adopt its masks."""
        path, _ = QFileDialog.getOpenFileName(self._parent, "Import masks", "", _MASKS)
        if path:
            self.from_file(Path(path))

    def from_file(self, path: Path) -> None:
        """Adopt the masks of a file, in the background; what the file leaves open is asked."""
        session = self._session()
        if session is None:
            return
        volume = session.volume

        def failed(error: BaseException | None) -> None:
            if error is not None:
                notify.report(error)

        run_asking(
            self._background,
            lambda choices: _read(path, volume, choices),
            lambda read: self._adopt(session, *read, path.name),
            failed,
            self._parent,
            lambda: self._session() is session,
        )

    def from_layer(self, layer: Labels) -> None:
        """Adopt what a Labels layer shows now."""
        session = self._session()
        if session is not None:
            labels = np.asarray(layer.data).reshape(session.volume.shape)
            self._adopt(session, labels, layer.metadata.get(NAMES_KEY) or {}, (), layer.name)

    def _adopt(
        self,
        session: Session,
        labels: NDArray[Any],
        names: Mapping[int, str],
        notes: tuple[str, ...],
        source: str,
    ) -> None:
        if self._session() is not session:
            raise SamAdaptError(f"{source} was read for a volume that is closed by now: import it again.")
        for note in notes:
            notify.tell(note)
        label = f"import of {source}"
        done = session.import_labels(labels, names, label=label)
        if (done.kept_slices or done.kept_voxels) and self._replaces(done.told):
            if done.slices:
                session.undo()
            done = session.import_labels(labels, names, label=label, overwrite=True)
        if not (done.slices or done.kept_slices):
            notify.tell(f"{source} holds no mask.")
        else:
            notify.tell(done.told)

    def _replaces(self, told: str) -> bool:
        """Ask whether accepted slices and locked classes are to be replaced too."""
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self._parent,
            "Import masks",
            f"{_plain(told)}\n\nReplace accepted slices and locked classes too?",
            buttons.Yes | buttons.No,
            buttons.No,
        )
        return answer == buttons.Yes

    def _fitting(self) -> list[Labels]:
        session = self._session()
        if session is None:
            return []
        shape = session.volume.shape
        shapes = {shape, shape[1:]} if shape[0] == 1 else {shape}
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Labels) and not _ours(layer, session) and tuple(layer.data.shape) in shapes
        ]


def _ours(layer: Labels, session: Session) -> bool:
    return DISPLAYED_KEY in layer.metadata or layer.data is session.prediction


def _plain(text: str) -> str:
    """A layer's name may come from a file; "&" would underline a letter in a menu."""
    return text.replace("&", "&&").replace("<", "‹")


def _read(
    path: Path, volume: Volume, choices: Mapping[str, str]
) -> tuple[NDArray[Any], dict[int, str], tuple[str, ...]]:
    """Ids, their names from the file beside it, and what the reader has to tell. Runs on a worker thread."""
    from napari_samadapt.imaging.reading import read_labels
    from napari_samadapt.imaging.writing import label_names

    labels, read = read_labels(path, volume, choices=choices)
    return labels, label_names(path), read.source.notes
