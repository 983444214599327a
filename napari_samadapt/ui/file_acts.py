"""Files: asking for a path, and reading or writing it on a worker thread."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.file_kinds import PATTERNS
from napari_samadapt.imaging.volume import Source, Volume

from . import notify
from .contributions import VOLUME_KEY, scale_affine, volume_name
from .exporting import MaskTarget, ask_target, export
from .posting import Background
from .questions import run_asking

if TYPE_CHECKING:
    from napari_samadapt.session.session import Session

_VOLUMES = f"Volumes and images ({PATTERNS});;All files (*)"
_ADAPTERS = "Adapters (*.safetensors)"
_MERGED = "SAM with the adapter merged into it (*.pth)"
DOWNLOAD_SIZES = {"vit_b": "375 MB", "vit_l": "1.2 GB", "vit_h": "2.6 GB"}
_SPEAK_SECONDS = 0.25
_MODELS = "SAM checkpoints (*.pth *.pt *.safetensors)"


class FileActs:
    """Open, export, save and load, asking for the path first.

    Remembers whether there are masks not yet exported.
    """

    def __init__(self, parent: QWidget, background: Background) -> None:
        self._parent = parent
        self._background = background
        self._reading = 0
        self._changes = 0
        self.unsaved = False

    def read(self, path: Path, done: Callable[[Volume], None], failed: Callable[[], None]) -> None:
        """Read a volume on a worker thread, asking what the file leaves open.

        A newer call makes the result of an older one worthless.
        """
        self._reading += 1
        number = self._reading

        def arrived(volume: Volume) -> None:
            if number == self._reading:
                done(volume)

        def refused(error: BaseException | None) -> None:
            if error is not None:
                notify.report(error)
            failed()

        run_asking(
            self._background,
            lambda choices: _read(path, choices),
            arrived,
            refused,
            self._parent,
            lambda: number == self._reading,
        )

    def load_model(
        self,
        name: str,
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None],
        progress: Callable[[str], None],
    ) -> None:
        """Load a SAM on a worker thread, and download it first.

        `progress` is told on the main thread how far it is.
        """
        self._background.run(lambda: _load_model(name, self._background.spoken(progress)), done, failed)

    def may_download(self, name: str) -> bool:
        """Ask before hundreds of megabytes are fetched; True where nothing has to be fetched."""
        size = DOWNLOAD_SIZES.get(name)
        if size is None or model_is_here(name):
            return True
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self._parent,
            "Download SAM",
            f"The weights of {name} ({size}) are fetched once from dl.fbaipublicfiles.com, by Meta AI, "
            "licence Apache-2.0. Nothing of your data leaves this computer. Download them?",
            buttons.Yes | buttons.Cancel,
        )
        return answer == buttons.Yes

    def export(self, session: Session, target: MaskTarget) -> None:
        """Write the masks on a worker thread. They count as saved once that is done, unless they changed since."""
        changes = self._changes

        def done(text: str) -> None:
            self.unsaved = self.unsaved and self._changes != changes
            notify.tell(text)

        export(self._background, session, target, done, notify.report)

    def set_unsaved(self, unsaved: bool) -> None:
        """Whether there is work that would be lost."""
        self.unsaved = unsaved

    def note_change(self, _keys: object = None) -> None:
        """The masks changed since they were written last."""
        self.unsaved = True
        self._changes += 1

    def may_leave(self, session: Session | None, save: Callable[[], bool]) -> bool:
        """Ask before work that was not saved is closed, and `save` it if the user says so; True to go on."""
        if session is None or not self.unsaved:
            return True
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self._parent,
            "Unsaved work",
            f"The masks of {html.escape(volume_name(session.volume))} have not been exported or saved since they "
            "were last changed. Save the session?",
            buttons.Save | buttons.Discard | buttons.Cancel,
            buttons.Save,
        )
        if answer == buttons.Save:
            return self._saved(save)
        if answer != buttons.Discard:
            return False
        self.unsaved = False
        return True

    @staticmethod
    def _saved(save: Callable[[], bool]) -> bool:
        """False where it could not be saved, or the user did not say where: nothing is closed then."""
        try:
            return save()
        except SamAdaptError as error:
            notify.report(error)
            return False

    # dialogs

    def ask_file(self, chosen: Callable[[Path], None]) -> None:
        """Ask for an image file."""
        path, _ = QFileDialog.getOpenFileName(self._parent, "Open a volume or image", "", _VOLUMES)
        if path:
            chosen(Path(path))

    def ask_folder(self, chosen: Callable[[Path], None]) -> None:
        """Ask for a DICOM folder."""
        path = QFileDialog.getExistingDirectory(self._parent, "Open a DICOM folder")
        if path:
            chosen(Path(path))

    def ask_model(self, chosen: Callable[[str], None]) -> None:
        """Ask for a checkpoint."""
        path, _ = QFileDialog.getOpenFileName(self._parent, "Load a SAM checkpoint", "", _MODELS)
        if path:
            chosen(path)

    def ask_export(self, session: Session | None) -> None:
        """Ask where the masks go, and write them."""
        if session is None:
            return
        target = ask_target(self._parent, session)
        if target is not None:
            self.export(session, target)

    def ask_save_adapter(self, session: Session | None) -> None:
        """Ask where the adapter goes, and save it: as it is, or merged into SAM where its method can be."""
        if session is None:
            return
        from napari_samadapt.session.adapter_library import AdapterLibrary

        library = AdapterLibrary()
        offered = library.path_for(volume_name(session.volume))
        kinds = f"{_ADAPTERS};;{_MERGED}" if session.adapter_merges else _ADAPTERS
        path, kind = QFileDialog.getSaveFileName(self._parent, "Save the adapter", str(offered), kinds)

        def saved(written: Path) -> None:
            if written.suffix.lower() == ".pth":
                notify.tell(f"Saved SAM with the adapter merged into it as {written.name}.")
                return
            library.remember(written)
            notify.tell(f"Saved the adapter as {written.name}; it is listed under Models.")

        if path:
            target = Path(path)
            if kind == _MERGED and target.suffix.lower() != ".pth":
                target = target.with_suffix(".pth")
            target = target if target.suffix else target.with_suffix(".safetensors")
            self._background.follow(session.save_adapter(target), saved)

    def ask_load_adapter(self, session: Session | None) -> None:
        """Ask for an adapter, and use it on this volume."""
        if session is None:
            return
        path, _ = QFileDialog.getOpenFileName(self._parent, "Load an adapter", "", _ADAPTERS)
        if path:
            self._background.follow(
                session.apply_adapter(Path(path)),
                lambda _: notify.tell("The adapter predicts this volume now."),
            )


def volume_of(layer: Image) -> Volume:
    """The Volume shown by an Image layer: the one it was read from, else its array with its scale.

    Raises SamAdaptError for a layer that is no 2D or 3D image.
    """
    known = layer.metadata.get(VOLUME_KEY)
    if isinstance(known, Volume) and known.data.shape == layer.data.shape:
        return known
    if layer.multiscale:
        raise SamAdaptError(
            f"The layer {layer.name!r} is a pyramid of resolutions: open a single-scale image."
        )
    data = np.asarray(layer.data)
    if layer.rgb:
        data = data[..., :3]
    if data.ndim == (3 if layer.rgb else 2):
        data = data[np.newaxis]
    spatial = any(float(step) != 1.0 for step in layer.scale)
    return Volume(data, scale_affine([float(step) for step in layer.scale]), Source(spatial=spatial))


def _read(path: Path, choices: Mapping[str, str]) -> Volume:
    """Runs on a worker thread."""
    from napari_samadapt.imaging.reading import read_volume

    return read_volume(path, choices=choices)


def model_is_here(name: str) -> bool:
    """True where the weights of `name` need no download. Looks for the file only.

    It is checked when loaded.
    """
    from napari_samadapt.learning.checkpoints import CHECKPOINTS, checkpoint_path

    return name not in CHECKPOINTS or checkpoint_path(name).is_file()


def _load_model(name: str, say: Callable[[str], None]) -> Any:
    """Runs on a worker thread. Imports the session too, and with it torch, so that the window never waits
    for it.
    """
    import napari_samadapt.session.session  # noqa: F401  # imported here for the main thread's sake
    from napari_samadapt.learning.checkpoints import CHECKPOINTS
    from napari_samadapt.learning.download import download
    from napari_samadapt.learning.sam import best_device, load_sam

    if not model_is_here(name):
        spoken = [0.0]

        def progress(done: int, total: int) -> None:
            if time.monotonic() - spoken[0] > _SPEAK_SECONDS:
                spoken[0] = time.monotonic()
                say(f"Downloading {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

        download(CHECKPOINTS[name], progress)
    say(f"Loading {Path(name).name}…")
    return load_sam(name, device=best_device())
