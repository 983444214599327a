"""Labelling with help, and a model that learns from it: episodes, adapters and their files. Main thread only."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from psygnal import Signal

from napari_samadapt.imaging.intensity import Window, looks_like_ct, render_slice
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning.adapter_file import AdapterCard
from napari_samadapt.learning.adapters import METHODS, AdapterConfig
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.forecast import Forecast
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.learning.samples import TrainingSample

from .adapter_files import AdapterFiles
from .assistance import Assistance
from .learning_loop import LearningLoop
from .messages import LearningPolicy, Post
from .predictor import Predictor


class Adapting(Assistance):
    """What the user can ask of the learning. Which slices are predicted again is the session's."""

    progress = Signal(TrainProgress)
    learning_changed = Signal(str)
    adapter_changed = Signal(int)
    forecasted = Signal()

    _learning: LearningLoop
    _files: AdapterFiles

    @abstractmethod
    def set_window(self, window: Window) -> None:
        """Change the grey values that are seen."""

    @property
    def policy(self) -> LearningPolicy:
        """When the model learns."""
        return self._learning.policy

    @property
    def config(self) -> AdapterConfig:
        """The adapter that is trained."""
        return self._learning.config

    @property
    def learning_state(self) -> str:
        """ "idle", "training", "paused", or "off" where episodes do not start by themselves."""
        return self._learning.state

    @property
    def adapter_version(self) -> int:
        """Number of the adapter that predicts now; 0 for the plain model. No number is used twice."""
        return self._learning.version

    @property
    def held_out_dice(self) -> float | None:
        """Dice of the adapter in use on slices kept out of its last episode, where it was measured."""
        return self._learning.origin.held_out_dice if self._learning.origin else None

    @property
    def can_roll_back(self) -> bool:
        """True while an adapter predicts: one from before, or the plain model, can take its place again."""
        return self._learning.version > 0

    @property
    def adapter_merges(self) -> bool:
        """Whether the adapter that predicts now is a change of SAM's weights, which can be saved merged into them."""
        adapter = self._learning.adapter
        return adapter is not None and METHODS[adapter.config.method].merges_into == "plain weights"

    @property
    def forecast(self) -> Forecast | None:
        """What a step of the next episode will cost; None until `forecasted` tells that it was measured."""
        return self._learning.forecast

    # Learning.

    def set_policy(self, policy: LearningPolicy) -> None:
        """When the model learns from now on; a running episode is not touched."""
        self._learning.set_policy(policy)

    def set_method(self, config: AdapterConfig) -> None:
        """Forget what was learned, and train this kind of adapter from now on."""
        self._learning.set_method(config)

    def start_learning(self) -> None:
        """Start an episode now; SamAdaptError when no accepted slice has a label."""
        self._learning.start()

    def pause(self) -> None:
        """Hold the running episode after its current step."""
        self._learning.pause(True)

    def resume(self) -> None:
        """Go on with a paused episode."""
        self._learning.pause(False)

    def stop(self) -> None:
        """End the running episode and use what it learned."""
        self._learning.stop(keep=True)

    def roll_back(self) -> None:
        """Predict with the adapter that did before the last update, and in the end with the plain model.

        A running episode is dropped, everything is predicted again. SamAdaptError for the plain model.
        """
        self._learning.roll_back()

    def reset_adapter(self) -> None:
        """Go back to the plain model: drop what was learned and the predictions."""
        self._learning.forget()

    def apply_adapter(self, path: str | Path) -> Future[None]:
        """Load an adapter, add its classes, and predict with it; what goes wrong is told by `failed` too.

        On a CT the grey values become those that the adapter was trained with. The future ends on the main thread.
        A file that does not fit changes nothing, and a running episode goes on.
        """
        return self._files.load(Path(path))

    def save_adapter(self, path: str | Path) -> Future[Path]:
        """Write the adapter that predicts now as a file; what goes wrong is told by `failed` too.

        A name that ends in .pth gets a checkpoint of SAM with the adapter merged into it, without automatic decoder.
        """
        return self._files.save(Path(path))

    # Inside.

    def _begin_adapting(
        self, learning: LearningLoop, sam: PromptableSam, predictor: Predictor, post: Post
    ) -> None:
        self._learning = learning
        self._files = AdapterFiles(
            self._volume, sam, self._classes, learning, predictor, post,
            loaded=self._on_adapter_loaded, failed=self.failed.emit,
        )  # fmt: skip
        learning.progress.connect(self.progress.emit)
        learning.failed.connect(self.failed.emit)
        learning.forecasted.connect(self.forecasted.emit)
        learning.state_changed.connect(self.learning_changed.emit)

    def _on_adapter_loaded(self, card: AdapterCard) -> None:
        self._take_names(card)
        if looks_like_ct(self._volume):
            self.set_window(Window(*card.window))
        if self._volume.anatomical_axis(card.axis) != self._axis:
            self.failed.emit(
                f"This adapter learned {card.axis} slices: change to {card.axis} to see it at its best."
            )

    def _take_names(self, card: AdapterCard) -> None:
        """Add the adapter's classes; those that nobody named here get its names, and other names are told."""
        self._classes.ensure(card.classes, card.classes)
        for class_id, name in self._classes.adopt(card.classes).items():
            self.failed.emit(
                f"The adapter calls class {class_id} {name!r}, here it is {self._classes.names[class_id]!r}: "
                "rename the class, or reset the model if these are different structures."
            )
        self._note_classes()

    def _accepted_along_axis(self) -> frozenset[SliceKey]:
        return frozenset(key for key in self.accepted if key.axis == self._axis)

    def _make_sample(self, key: SliceKey) -> TrainingSample:
        image = render_slice(self._volume, key, self._window)
        return TrainingSample(key, image, take_slice(self._book.annotation, key).astype(np.int64))
