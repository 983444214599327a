"""The episode that runs: begun, held, ended, and how far it is. Main thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.semantic import SemanticSam

from .gate import Gate, Ticket
from .insight import Update
from .messages import Episode, EpisodeOutcome
from .predictor import Predictor
from .trainer import Trainer

Ended = Callable[[Episode, EpisodeOutcome], None]
"""Told what an episode came to, unless it was dropped before. It runs until `finish`."""


class RunningEpisode:
    """One at a time. `changed` is called when it begins, is held or goes on; `progressed` in between."""

    def __init__(
        self,
        predictor: Predictor,
        trainer: Trainer,
        gate: Gate,
        changed: Callable[[], None],
        progressed: Callable[[TrainProgress], None],
    ) -> None:
        self._predictor, self._trainer, self._gate = predictor, trainer, gate
        self._changed, self._progressed = changed, progressed
        self.episode: Episode | None = None
        """None while none runs."""
        self.paused = False
        self.last: TrainProgress | None = None
        """How far it is, or the one before it was; None before the first step."""
        self._ticket: Ticket
        self._twin: Future[SemanticSam]

    def begin(self, episode: Episode, seed: int, ended: Ended) -> None:
        """Train a twin of the live model; what is random in it follows `seed`."""
        ids, config = episode.class_ids, episode.config
        # Not urgent, so that it comes after the fit and goes on from it.
        self._twin = self._predictor.run(lambda live: live.make_twin(ids, config, seed), urgent=False)
        self._gate.pause(False)

        def over(outcome: EpisodeOutcome) -> None:
            if episode is self.episode:
                ended(episode, outcome)

        self._ticket = self._trainer.start(episode, self._twin, self._on_progress, over)
        self.episode, self.paused, self.last = episode, False, None
        self._changed()

    def pause(self, paused: bool) -> None:
        """Hold it, or go on with it."""
        if self.episode is not None and paused != self.paused:
            self.paused = paused
            self._gate.pause(paused)
            self._changed()

    def end(self, *, keep: bool) -> None:
        """End it after its current step; without `keep` nothing comes of it, and it does not begin any more."""
        self._gate.end(self._ticket, keep=keep)
        if not keep:
            self._twin.cancel()

    def finish(self) -> None:
        """It is over."""
        self.episode, self.paused = None, False
        self._gate.pause(False)

    def update(self, episode: Episode, version: int, dice: float | None, reason: str = "") -> Update:
        """What became of the episode that ran last, for the record."""
        seconds, steps = (self.last.seconds, self.last.step) if self.last else (0.0, 0)
        return Update("episode", version, episode.keys, seconds, steps, dice, reason)

    def _on_progress(self, progress: TrainProgress) -> None:
        if self.episode is not None:
            self.last = progress
            self._progressed(progress)
