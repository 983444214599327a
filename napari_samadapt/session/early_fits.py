"""Fits of heads to accepted slices that were asked for and have not been answered. Main thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from napari_samadapt.learning.adapters import AdapterState

from .instant import InstantFit
from .messages import Post
from .predictor import Predictor

Fitted = Callable[[InstantFit, Future[AdapterState | None]], None]
"""Told on the main thread what came of a fit, unless it was dropped before."""


class EarlyFits:
    """Runs one after the other on the predict thread, after clicks; a newer one replaces those that have not begun.

    Loading, publishing and going back overtake a fit that waits: drop it before.
    """

    def __init__(self, predictor: Predictor, post: Post, fitted: Fitted) -> None:
        self._predictor, self._post, self._fitted = predictor, post, fitted
        self._under_way: list[Future[AdapterState | None]] = []

    def ask(self, fit: InstantFit) -> None:
        """Fit to these slices, instead of what was asked before."""
        self.drop_waiting()
        fitting = self._predictor.run(lambda live: live.fit(fit), urgent=False)
        self._under_way.append(fitting)
        fitting.add_done_callback(lambda done: self._post(lambda: self._on_done(fit, done)))

    def drop_waiting(self) -> None:
        """Forget the fits that have not begun."""
        self._under_way = [fitting for fitting in self._under_way if not fitting.cancel()]

    def drop(self) -> None:
        """Forget all of them; nothing is told of one that has begun."""
        self.drop_waiting()
        self._under_way.clear()

    def _on_done(self, fit: InstantFit, done: Future[AdapterState | None]) -> None:
        if done in self._under_way:
            self._under_way.remove(done)
            self._fitted(fit, done)
