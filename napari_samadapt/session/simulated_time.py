"""A clock for a simulated annotator: learning gets exactly the seconds of computing that the clock says have passed."""

from __future__ import annotations

import time

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.learning.fine_tune import TrainProgress

from .headless import EventQueue
from .session import Session


class SimulatedTime:
    """Holds the session's learning between two acts, and lets it go on for as long as an act takes.

    So the outcome does not depend on how fast the acts are simulated. Seconds of learning are those of the training
    loop, seconds of predicting those of this machine's clock. A context, in which it holds the learning.
    """

    def __init__(self, session: Session, queue: EventQueue, timeout: float = 600.0) -> None:
        self._session, self._queue, self._timeout = session, queue, timeout
        self.now = 0.0
        """Simulated seconds since the beginning."""
        self._owed = (
            0.0  # seconds that the machine may still compute; below 0 where a step took longer than allowed
        )
        self._learned = 0.0
        self._last_told = 0.0
        self._passing = False

    def __enter__(self) -> SimulatedTime:
        self._session.progress.connect(self._on_progress)
        self._session.learning_changed.connect(self._on_learning_changed)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.progress.disconnect(self._on_progress)
        self._session.learning_changed.disconnect(self._on_learning_changed)

    @property
    def busy(self) -> bool:
        """True while the machine learns or predicts."""
        return self._learning or self._session.refreshing

    def spend(self, seconds: float) -> None:
        """Let time pass: what is learned and predicted meanwhile has its effect."""
        self.now += seconds
        self._owed += seconds
        self._passing = True
        self._session.resume()
        self._queue.run_posted()
        while self.busy and self._owed > 0:
            if self._learning:
                self._let_learn()
            else:
                self._let_predict()
        self._passing = False
        self._session.pause()
        if not self.busy:
            self._owed = 0.0

    @property
    def _learning(self) -> bool:
        return self._session.learning_state in ("training", "paused")

    def _let_learn(self) -> None:
        before = self._learned
        if not self._queue.run_until(
            lambda: not self._learning or self._learned - before >= self._owed, self._timeout
        ):
            raise SamAdaptError(f"The model did not learn on for {self._timeout:g} seconds: start again.")
        self._owed -= self._learned - before

    def _let_predict(self) -> None:
        began = time.monotonic()
        self._queue.run_until(lambda: self._learning or not self._session.refreshing, self._owed)
        self._owed -= time.monotonic() - began

    def _on_progress(self, progress: TrainProgress) -> None:
        new_episode = progress.seconds < self._last_told
        self._learned += progress.seconds - (0.0 if new_episode else self._last_told)
        self._last_told = progress.seconds

    def _on_learning_changed(self, state: str) -> None:
        if state == "training" and not self._passing:
            self._session.pause()
