"""Adapters of a session from files and to files. Main thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.learning.adapter_file import AdapterCard, save_adapter
from napari_samadapt.learning.adapters import AdapterState
from napari_samadapt.learning.promptable_sam import PromptableSam

from .classes import ClassTable, first_name
from .learning_loop import LearningLoop
from .messages import Origin, Post
from .predictor import Predictor, in_plain_words


class AdapterFiles:
    """Reads and writes on the predict thread. `loaded` is told the card of an adapter that predicts from now on."""

    def __init__(
        self,
        volume: Volume,
        sam: PromptableSam,
        classes: ClassTable,
        learning: LearningLoop,
        predictor: Predictor,
        post: Post,
        *,
        loaded: Callable[[AdapterCard], None],
        failed: Callable[[str], None],
    ) -> None:
        self.base = (sam.base_sha256, sam.model_type, sam.input_size)
        self._volume, self._classes, self._learning = volume, classes, learning
        self._predictor, self._post = predictor, post
        self._loaded, self._failed = loaded, failed

    def load(self, path: Path) -> Future[None]:
        """Predict with the adapter of a file; the future ends on the main thread.

        A file that does not fit changes nothing, and a running episode goes on. A reset overtakes a load: the future
        is cancelled then.
        """
        applied = Future[None]()
        checking = self._predictor.run(lambda live: live.check(path))
        checking.add_done_callback(lambda done: self._post(lambda: self._on_checked(path, done, applied)))
        return applied

    def save(self, path: Path) -> Future[Path]:
        """Write the adapter that predicts now; as .pth, SAM with the adapter merged into its weights.

        SamAdaptError where there is none.
        """
        if (carded := self.in_use()) is None:
            raise SamAdaptError(
                "There is nothing to save yet: accept a slice and let the model learn from it first."
            )
        adapter, card = carded
        merged = path.suffix.lower() == ".pth"
        saving = self._predictor.run(
            lambda live: live.save_merged(path) if merged else save_adapter(path, adapter, card)
        )
        saving.add_done_callback(lambda done: self._post(lambda: self._on_saved(done)))
        return saving

    def in_use(self) -> tuple[AdapterState, AdapterCard] | None:
        """The adapter that predicts now, and its card; None for the plain model."""
        adapter, origin = self._learning.adapter, self._learning.origin
        if adapter is None or origin is None:
            return None
        names = self._classes.names
        card = AdapterCard(
            *self.base,
            adapter.config,
            {class_id: names.get(class_id) or first_name(class_id) for class_id in adapter.class_ids},
            (origin.window.low, origin.window.high),
            self._volume.axis_name(origin.axis),
            origin.held_out_dice,
        )
        return adapter, card

    def _on_checked(self, path: Path, done: Future[None], applied: Future[None]) -> None:
        if self._tell_failure("The adapter was not loaded", done):
            applied.set_exception(done.exception())
            return
        key, version = self._learning.begin_loading(), self._learning.next_version()
        reading = self._predictor.run(lambda live: live.read(path, version))
        reading.add_done_callback(lambda read: self._post(lambda: self._on_read(key, read, applied)))

    def _on_read(
        self, key: object, done: Future[tuple[AdapterState, AdapterCard]], applied: Future[None]
    ) -> None:
        if self._tell_failure("The adapter was not loaded", done):
            self._learning.end_loading(key, None, None)
            applied.set_exception(done.exception())
            return
        adapter, card = done.result()
        origin = Origin(Window(*card.window), self._volume.anatomical_axis(card.axis), card.held_out_dice)
        if not self._learning.end_loading(key, adapter, origin):
            applied.cancel()
            return
        self._loaded(card)
        applied.set_result(None)

    def _on_saved(self, done: Future[Path]) -> None:
        self._tell_failure("The adapter was not saved", done)

    def _tell_failure(self, what: str, done: Future[Any]) -> bool:
        error = done.exception()
        if error is not None:
            self._failed(in_plain_words(what, error))
        return error is not None
