"""The application without a window: what the user does goes in, signals tell what changed. Main thread only.

Encoding, decoding and predicting run on the predict thread, learning on the train thread; their results come back
through the `post` that the session is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.memory import return_memory
from napari_samadapt.imaging.volume import SliceKey, Volume, slice_count, slice_spacing, take_slice
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.promptable_sam import PromptableSam

from .accepted import SampleSource
from .adapting import Adapting
from .gate import Gate
from .history import ClassChange
from .insight import Insight
from .labelling import Labels
from .learning_loop import LearningLoop
from .live_model import LiveModel
from .messages import (
    Indices,
    LearningPolicy,
    Origin,
    Post,
    PredictRequest,
    SliceLabels,
    episode_seconds,
)
from .predictor import Predictor
from .prefix_files import PrefixFiles
from .refresh import Refresh
from .session_folder import Snapshot
from .suggestion import Evidence
from .trainer import Trainer
from .work import NOTED


def default_adapter(sam: PromptableSam) -> AdapterConfig:
    """Conv-LoRA in the last half of the blocks (as good as in all, and the others need not run again), and prompts.

    A session takes fewer where its forecast says that an episode would be too short, or the memory too small.
    """
    return AdapterConfig(last_blocks=max(1, len(sam.image_encoder.blocks) // 2), prompts=True)


class Session(Adapting):
    """One volume, its masks, and the SAM that adapts to them.

    Masks, classes and undo are those of `Labelling`; propagation and the next slice those of `Assistance`; episodes and
    adapters those of `Adapting`.
    """

    predicted = Signal(SliceKey)
    """The prediction of a slice that the user has not touched changed."""
    refresh_progress = Signal(int, int)
    """Slices predicted since the last adapter, and all there are to predict."""

    def __init__(
        self,
        volume: Volume,
        sam: PromptableSam,
        *,
        post: Post,
        window: Window | None = None,
        axis: int | None = None,
        classes: Mapping[int, str] | Sequence[str] | None = None,
        adapter: AdapterConfig | None = None,
        policy: LearningPolicy | None = None,
        prefix_folder: Path | None = None,
    ) -> None:
        """Start both threads. `sam` belongs to the session from here on.

        `window` and `axis` default to those that suit the volume; `classes` are {id: name} or names for ids from 1;
        `adapter` defaults to `default_adapter`, `policy` to 60 s of learning after each
        accepted slice (30 s on a GPU). In `prefix_folder`, if given, activations of the frozen blocks are kept for the
        next time that the volume is opened.
        """
        super().__init__(volume, window, axis, classes)
        self._closed = False
        self._post_to_main = post
        gate = Gate()
        files = PrefixFiles(prefix_folder) if prefix_folder else None
        self._predictor = Predictor(
            LiveModel(volume, sam, prefix_files=files), gate, self._post,
            answered=self._on_answered, predicted=self._on_predicted, failed=self.failed.emit,
        )  # fmt: skip
        self._begin_assistance(self._predictor.run, self._post)
        self._trainer = Trainer(gate, self._post)
        self.insight = Insight(self._predictor, self._post, lambda: self._window)
        self._refresh = Refresh(self._predictor, self._book, self._window, self._axis)
        self._begin_adapting(
            LearningLoop(
                self._predictor, self._trainer, gate, self._post,
                SampleSource(self._make_sample, lambda: self._classes.ids, lambda: Origin(self._window, self._axis)),
                policy or LearningPolicy(seconds=episode_seconds(sam.device)),
                adapter or default_adapter(sam),
                choose_blocks=adapter is None,
            ),
            sam, self._predictor, self._post,
        )  # fmt: skip
        self._connect()
        self._predict_again()

    # What there is.

    @property
    def refreshing(self) -> bool:
        """True while slices wait for the prediction of the adapter in use."""
        return self._refresh.waiting > 0

    @property
    def unseen(self) -> int:
        """Number of slices that wait for their first prediction along the axis."""
        return self._refresh.unseen

    def slice_state(self, key: SliceKey) -> str:
        """ "accepted", "edited", "predicted" or "empty"."""
        state = super().slice_state(key)
        return "predicted" if state == "empty" and self._is_predicted(key) else state

    def _is_predicted(self, key: SliceKey) -> bool:
        """The model said what the slice shows, or so much of it as slices along another axis cross."""
        if key.axis == self._refresh.axis:
            return key in self._refresh.known
        return bool(take_slice(self._book.prediction, key).any())

    def record_edit(self, indices: Indices, before: Labels, after: Labels) -> None:
        """Take note of painted voxels, as `Labelling` does, and that they were a correction."""
        super().record_edit(indices, before, after)
        painted = np.unique(indices[self._axis])
        self.insight.note_corrections(SliceKey(self._axis, int(index)) for index in painted)

    # View and files.

    def set_window(self, window: Window) -> None:
        """Change the grey values that are seen; everything is predicted again."""
        if window == self._window:
            return
        self._window = window
        self._record(NOTED)
        self._see_anew()
        self.window_changed.emit(window)

    def set_axis(self, axis: int) -> None:
        """Annotate along another axis: open drafts are kept, prompts dropped.

        What is predicted stays as it is until a slice along the new axis is accepted: a model that has seen none of
        them predicts them worse than those it has learned from.
        """
        slice_count(self._volume.shape, axis)
        if axis == self._axis:
            return
        for key in tuple(self._prompts):
            self.keep_draft(key)
        self._axis = axis
        self._record(NOTED)
        self._learning.renew_samples(self._accepted_along_axis())
        if self._predicted_axis() != self._refresh.axis:
            self._predict_again()
        self.axis_changed.emit(axis)

    def look_at(self, key: SliceKey) -> None:
        """Tell which slice is on screen: it is encoded and predicted first, then its neighbours, then the rest."""
        self._refresh.look_at(key)

    def export(self, path: str | Path) -> Path:
        """Write what is displayed, on the source's grid, with the classes' names beside it; returns the path."""
        return write_labels(path, self.displayed(), self._volume, self._classes.names)

    def snapshot(self, model: str = "") -> Snapshot:
        """What a session's folder holds, copied now and written whenever and on whatever thread one likes.

        `model` is the name or the path that the model was loaded by, if it is not an official one.
        """
        sha256, model_type, _ = self._files.base
        return Snapshot(
            self._volume, self.displayed(), self.work, self.policy, model or model_type, sha256, self._files.in_use()
        )  # fmt: skip

    def save(self, folder: str | Path) -> Path:
        """Write masks, prompts, accepted slices, undo steps and adapter to a folder, for `open_session`.

        SamAdaptError, with an earlier session in it as it was, where it cannot be written or holds anything else.
        """
        return self.snapshot().write(Path(folder))

    def close(self) -> None:
        """Stop both threads within two seconds; a running episode is dropped."""
        self._learning.stop(keep=False)
        self._closed = True
        self._predictor.close()
        self._trainer.close()
        return_memory()

    def _see_anew(self) -> None:
        """What slices look like, or what they hold, is not what samples and predictions were made from."""
        self._learning.renew_samples(self._accepted_along_axis())
        self._predict_again()

    def _predict_again(self) -> None:
        self._refresh.begin(self._window, self._predicted_axis(), active=self._learning.version > 0)

    def _predicted_axis(self) -> int:
        """That of the slices on screen, once one of them is accepted; before, that of the slices that were learned."""
        origin = self._learning.origin
        return self._axis if origin is None or self._accepted_along_axis() else origin.axis

    # What the threads answer.

    def _ask(self, request: PredictRequest) -> None:
        self._predictor.ask(request)

    def _evidence(self) -> Sequence[Evidence] | None:
        return self._refresh.evidence() if self._refresh.axis == self._axis else None

    def _on_changed(self, keys: tuple[SliceKey, ...]) -> None:
        self._note_given_back(keys)
        self._refresh.again(keys)
        self._learning.set_accepted(self._accepted_along_axis())
        self._note_accepted(keys)

    def _on_classes_replaced(self, classes: ClassChange) -> None:
        super()._on_classes_replaced(classes)
        if classes:
            self._see_anew()

    def _on_taken_up(self, keys: tuple[SliceKey, ...]) -> None:
        made_by = [self.made_by(key) or 0 for key in keys]
        self._learning.take_up(self._accepted_along_axis(), max(made_by, default=0))
        self._predict_again()

    def _note_given_back(self, keys: Sequence[SliceKey]) -> None:
        """What was said of slices while they were the user's is in sight now."""
        for key in keys:
            if self.slice_state(key) == "predicted" and (version := self.made_by(key)) is not None:
                self.insight.past.put(key, version, take_slice(self._book.prediction, key))

    def _note_accepted(self, keys: Sequence[SliceKey]) -> None:
        accepted = self.accepted
        self.insight.keep_only(accepted)
        for key in accepted.intersection(keys):
            labels = take_slice(self._book.annotation, key).copy()
            self.insight.note_accepted(key, labels, slice_spacing(self._volume, key.axis))

    def _connect(self) -> None:
        self._refresh.predicted.connect(self.predicted.emit)
        self._refresh.progress.connect(self.refresh_progress.emit)
        self._learning.published.connect(self._on_published)
        self._learning.updated.connect(self.insight.note_update)
        self.drafted.connect(lambda draft: self.insight.note_corrections([draft.key]))
        self.insight.failed.connect(self.failed.emit)

    def _post(self, function: Callable[[], None]) -> None:
        """Run a function on the main thread, unless the session is closed by then. Called on any thread."""
        self._post_to_main(lambda: None if self._closed else function())

    def _on_predicted(self, result: SliceLabels) -> None:
        known = np.isin(result.labels, self._classes.ids)
        labels = np.where(known, result.labels, 0).astype(np.uint16)
        if self._refresh.take(replace(result, labels=labels)):
            self.insight.past.put(result.key, result.made_by, labels)

    def _on_published(self) -> None:
        self._predict_again()
        self.adapter_changed.emit(self._learning.version)
