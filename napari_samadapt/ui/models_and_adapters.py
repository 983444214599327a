"""What the user does in the window of models and adapters: download, use, rename, delete, predict a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_samadapt.learning.model_texts import MODEL_TEXTS

from . import notify
from .connections import Connections
from .file_acts import model_is_here
from .models_view import ModelsView
from .posting import Background
from .questions import ask

if TYPE_CHECKING:
    from napari_samadapt.session.adapter_library import SavedAdapter
    from napari_samadapt.session.folder_prediction import FolderOutcome, FolderProgress, Undecided
    from napari_samadapt.session.session import Session

_SPEAK_SECONDS = 0.25
_ADAPTERS = "Adapters (*.safetensors)"
_MODELS = "SAM checkpoints (*.pth *.pt *.safetensors)"


@dataclass(frozen=True)
class DockSide:
    """What the window needs of the dock: the session, the model in use and a way to change it."""

    session: Callable[[], Session | None]
    model: Callable[[], str]
    choose_model: Callable[[str], None]


class ModelsAndAdapters:
    """One window for as long as the dock lives; one long piece of work at a time."""

    def __init__(self, dock: DockSide, background: Background, parent: QWidget) -> None:
        self._dock, self._background, self._parent = dock, background, parent
        self.view: ModelsView | None = None
        self._stop = threading.Event()
        self._busy = False
        self._connections = Connections()

    def present(self, *, adapters: bool = False) -> None:
        """Show the window with what there is now."""
        if self.view is None:
            self.view = ModelsView(self._parent)
            self._connect(self.view)
        self.refresh()
        self.view.show_tab(adapters)
        self.view.present()

    def close(self) -> None:
        """Stop what is under way and close the window for good."""
        self._stop.set()
        self._connections.close()
        if self.view is not None:
            self.view.close()
            self.view.deleteLater()
            self.view = None

    def refresh(self) -> None:
        """Look again which models and adapters there are, and whether a volume is open."""
        if self.view is None:
            return
        from napari_samadapt.session.adapter_library import AdapterLibrary, card_lines

        here = {name: model_is_here(name) for name in MODEL_TEXTS}
        self.view.models.set_models(here, self._dock.model())
        self.view.adapters.set_session(self._dock.session() is not None)
        self.view.adapters.set_adapters(
            [(one.name, one.path, card_lines(one.card)) for one in AdapterLibrary().adapters()]
        )

    def _connect(self, view: ModelsView) -> None:
        acts = (
            (view.models.use_asked, self._use),
            (view.models.download_asked, self._download),
            (view.models.file_asked, self._ask_model),
            (view.adapters.apply_asked, self._apply),
            (view.adapters.folder_asked, self._ask_folder),
            (view.adapters.renamed, self._rename),
            (view.adapters.delete_asked, self._delete),
            (view.adapters.add_asked, self._ask_add),
            (view.stop_asked, lambda: self._stop.set()),
        )
        for signal, act in acts:
            self._connections.add(signal, notify.reported(act))

    # models

    def _use(self, name: str) -> None:
        self._dock.choose_model(name)
        self.refresh()

    def _ask_model(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.view, "Load a SAM checkpoint", "", _MODELS)
        if path:
            self._use(path)

    def _download(self, name: str) -> None:
        stop = self._begin(f"Connecting for {name}…")

        def done(_path: Path) -> None:
            self._end(f"{MODEL_TEXTS[name].title} is here. Press Use to change to it.")

        self._background.run(
            lambda: _fetch(name, stop, self._background.spoken(self._show)), done, self._failed
        )

    # adapters

    def _apply(self, path: Path) -> None:
        session = self._dock.session()
        if session is not None:
            self._background.follow(
                session.apply_adapter(path), lambda _: notify.tell("The adapter predicts this volume now.")
            )

    def _rename(self, path: Path, name: str) -> None:
        from napari_samadapt.session.adapter_library import AdapterLibrary

        library = AdapterLibrary()
        library.rename(_at(library.adapters(), path), name)
        self.refresh()

    def _delete(self, path: Path) -> None:
        from napari_samadapt.session.adapter_library import AdapterLibrary

        library = AdapterLibrary()
        adapter = _at(library.adapters(), path)
        buttons = QMessageBox.StandardButton
        question = (
            f"Delete the adapter {adapter.name}? What it learned is lost."
            if adapter.ours
            else f"Take {adapter.name} off this list? The file stays in {adapter.path.parent}."
        )
        if (
            QMessageBox.question(self.view, "Delete an adapter", question, buttons.Yes | buttons.Cancel)
            == buttons.Yes
        ):
            library.delete(adapter)
            self.refresh()

    def _ask_add(self) -> None:
        from napari_samadapt.session.adapter_library import AdapterLibrary

        path, _ = QFileDialog.getOpenFileName(self.view, "Add an adapter", "", _ADAPTERS)
        if path:
            AdapterLibrary().add(Path(path))
            self.refresh()

    def _ask_folder(self, adapter: Path) -> None:
        folder = QFileDialog.getExistingDirectory(self.view, "Folder with the volumes")
        if not folder:
            return
        out = QFileDialog.getExistingDirectory(self.view, "Folder for the masks", folder)
        if out:
            self.predict_folder(adapter, Path(folder), Path(out))

    def predict_folder(
        self, adapter: Path, folder: Path, out: Path, choices: Mapping[str, str] | None = None
    ) -> None:
        """Predict every volume of a folder on a worker thread, with the model that is in use.

        `choices` answer what its files leave open. What they do not is asked in the end, once for the whole folder.
        """
        model, known = self._dock.model(), dict(choices or {})
        stop = self._begin(f"Predicting the volumes of {folder.name}…")

        def done(outcome: FolderOutcome) -> None:
            self._end(outcome_text(outcome, out))
            for failure in outcome.failures:
                notify.warn(failure)
            value = None if outcome.stopped else self._ask_for_all(outcome.undecided, folder)
            if value is not None:
                self.predict_folder(
                    adapter, folder, out, {**known, outcome.undecided[0].question.name: value}
                )
                return
            for one in outcome.undecided:
                notify.warn(one.sentence)

        self._background.run(
            lambda: _predict(model, adapter, folder, out, stop, self._background.spoken(self._show), known),
            done,
            self._failed,
        )

    def _ask_for_all(self, undecided: tuple[Undecided, ...], folder: Path) -> str | None:
        """The answer to the first question, for all volumes of the folder; None where there is none."""
        if not undecided:
            return None
        first = undecided[0].question
        alike = [one for one in undecided if one.question.name == first.name]
        text = (
            f"{first.text}\n\nThe same is open in {len(alike)} of the volumes in {folder.name}. The answer counts for "
            "all of them; Cancel leaves them out."
        )
        return ask(replace(first, text=text), self.view)

    # what takes long

    def _begin(self, text: str) -> threading.Event:
        from napari_samadapt.imaging.errors import SamAdaptError

        if self._busy:
            raise SamAdaptError("Something is still under way here: wait for its end, or press Stop.")
        self._busy, self._stop = True, threading.Event()
        self._show((text, 0.0))
        return self._stop

    def _show(self, told: tuple[str, float | None]) -> None:
        if self.view is not None:
            self.view.set_progress(*told)

    def _end(self, text: str) -> None:
        self._busy = False
        self._show((text, None))
        self.refresh()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, CancelledError):
            self._end("Stopped. What was fetched is kept, and the next try goes on from there.")
            return
        self._end("")
        notify.report(error)


def outcome_text(outcome: FolderOutcome, out: Path) -> str:
    """What came of a folder, in a sentence or two."""
    parts = [f"{'Stopped: ' if outcome.stopped else ''}{len(outcome.written)} masks written to {out.name}"]
    if outcome.there:
        parts.append(f"{len(outcome.there)} were there already and left alone")
    if outcome.failures:
        parts.append(f"{len(outcome.failures)} volumes could not be read")
    if outcome.undecided:
        parts.append(f"{len(outcome.undecided)} can be read in several ways")
    return ", ".join(parts) + "."


def _at(adapters: tuple[SavedAdapter, ...], path: Path) -> SavedAdapter:
    from napari_samadapt.imaging.errors import SamAdaptError

    for adapter in adapters:
        if adapter.path == path:
            return adapter
    raise SamAdaptError(f"{path.name} is no longer there.")


def _fetch(name: str, stop: threading.Event, say: Callable[[tuple[str, float | None]], None]) -> Path:
    """Runs on a worker thread; CancelledError when stopped."""
    from napari_samadapt.learning.checkpoints import CHECKPOINTS
    from napari_samadapt.learning.download import download

    spoken = [0.0]

    def progress(done: int, total: int) -> None:
        if stop.is_set():
            raise CancelledError
        if time.monotonic() - spoken[0] > _SPEAK_SECONDS:
            spoken[0] = time.monotonic()
            say((f"Downloading {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", done / total))

    return download(CHECKPOINTS[name], progress)


def _predict(
    model: str,
    adapter: Path,
    folder: Path,
    out: Path,
    stop: threading.Event,
    say: Callable[[tuple[str, float | None]], None],
    choices: Mapping[str, str],
) -> FolderOutcome:
    """Runs on a worker thread."""
    from napari_samadapt.learning.sam import best_device, load_sam
    from napari_samadapt.session.folder_prediction import predict_folder

    spoken = [0.0]

    def progress(now: FolderProgress) -> None:
        if time.monotonic() - spoken[0] > _SPEAK_SECONDS:
            spoken[0] = time.monotonic()
            try:
                say((f"{now.name}: volume {now.volume} of {now.volumes}", now.fraction))
            except CancelledError:  # the window is gone
                stop.set()

    def base() -> Any:
        return load_sam(model, device=best_device())

    return predict_folder(base, adapter, folder, out, progress, lambda: not stop.is_set(), choices)
