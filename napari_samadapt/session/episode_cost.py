"""What the next episode will cost here, and how many blocks it can train for that. Main thread only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.forecast import Forecast

from .live_model import LiveModel
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
        self._ask(lambda live: live.forecast(config), self._take)

    def choose_blocks(self, seconds: float | None, chosen: Callable[[int], None]) -> None:
        """Tell how many of the last blocks an episode can train, unless another method was chosen meanwhile."""
        self._ask(lambda live: live.best_forecast(seconds), lambda forecast: chosen(forecast.last_blocks))

    def learn_from(self, last: TrainProgress | None) -> None:
        """An episode of the method has ended: the next one's steps will take as long as its own."""
        if self.forecast is not None and last is not None and last.step >= SURE_STEPS:
            self._take(replace(self.forecast, seconds=last.seconds / last.step))

    def _ask(self, measure: Callable[[LiveModel], Forecast], then: Callable[[Forecast], None]) -> None:
        """Measure when there is time, and go on with the result if the method is still the same."""
        config = self._config

        def ended(done: Future[Forecast]) -> None:
            if config is self._config and not done.cancelled() and done.exception() is None:
                then(done.result())

        self._predictor.run(measure, urgent=False).add_done_callback(
            lambda done: self._post(lambda: ended(done))
        )

    def _take(self, forecast: Forecast) -> None:
        self.forecast = forecast
        self._measured()
