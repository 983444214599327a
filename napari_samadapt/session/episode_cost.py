"""What the next episode will cost here, and how many blocks it can train for that. Main thread only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.forecast import Forecast

from .messages import Post
from .predictor import Predictor

SURE_STEPS = 10
"""An episode of fewer steps tells little: the first ones are slow."""


class EpisodeCost:
    """Has the predict thread measure what training a method costs, and prepare for that method."""

    def __init__(self, predictor: Predictor, post: Post, measured: Callable[[], None]) -> None:
        """`measured` is called whenever there is another `forecast`."""
        self._predictor, self._post, self._measured = predictor, post, measured
        self._config: AdapterConfig
        self.forecast: Forecast | None = None
        """What a step will cost; None until it was measured."""

    def expect(self, config: AdapterConfig) -> None:
        """This method is going to be trained."""
        self.forecast, self._config = None, config
        self._predictor.run(lambda live: live.expect(config))
        self._predictor.run(lambda live: live.forecast(config), urgent=False).add_done_callback(
            lambda done: self._post(lambda: self._on_forecast(config, done))
        )

    def choose_blocks(self, seconds: float | None, chosen: Callable[[int], None]) -> None:
        """Tell how many of the last blocks an episode can train, unless another method was chosen meanwhile."""
        config = self._config

        def on_forecast(done: Future[Forecast]) -> None:
            if config is self._config and not done.cancelled() and done.exception() is None:
                chosen(done.result().last_blocks)

        self._predictor.run(lambda live: live.best_forecast(seconds), urgent=False).add_done_callback(
            lambda done: self._post(lambda: on_forecast(done))
        )

    def learn_from(self, last: TrainProgress | None) -> None:
        """An episode of the method has ended: the next one's steps will take as long as its own."""
        if self.forecast is not None and last is not None and last.step >= SURE_STEPS:
            self.forecast = replace(self.forecast, seconds=last.seconds / last.step)
            self._measured()

    def _on_forecast(self, config: AdapterConfig, done: Future[Forecast]) -> None:
        if config is self._config and not done.cancelled() and done.exception() is None:
            self.forecast = done.result()
            self._measured()
