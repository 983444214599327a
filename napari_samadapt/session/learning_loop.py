"""Accepted slices in, adapters out: when an episode starts, what it learns from, what becomes of it. Main thread."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from psygnal import Signal

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.forecast import Forecast

from .accepted import AcceptedSlices, SampleSource
from .early_fits import EarlyFits
from .episode_cost import EpisodeCost
from .gate import Gate
from .insight import Update
from .instant import InstantFit
from .messages import Episode, EpisodeOutcome, LearningPolicy, Origin, Post
from .predictor import Predictor, in_plain_words
from .promotion import Earlier
from .running_episode import RunningEpisode
from .trainer import Trainer

NOTHING_TO_LEARN = (
    "There is no accepted slice with a label to learn from: accept a slice that shows a structure."
)


class LearningLoop:
    """Runs episodes one at a time. What they learn is published to the predict thread with a new version number."""

    state_changed = Signal(str)
    progress = Signal(TrainProgress)
    published = Signal()
    """Another adapter, or none, predicts now."""
    failed = Signal(str)
    forecasted = Signal()
    updated = Signal(Update)
    """What became of an episode, a fit or a file, or that one went back."""

    def __init__(
        self,
        predictor: Predictor,
        trainer: Trainer,
        gate: Gate,
        post: Post,
        source: SampleSource,
        policy: LearningPolicy,
        config: AdapterConfig,
        *,
        choose_blocks: bool = False,
    ) -> None:
        self._predictor, self._post = predictor, post
        self._source = source
        self._accepted = AcceptedSlices(source)
        self._fits = EarlyFits(predictor, post, self._on_fitted)
        self.policy = policy
        self.config = config
        self.adapter: AdapterState | None = None
        self.origin: Origin | None = None
        """What the adapter was trained on; None for the plain model."""
        self._earlier = Earlier()
        self._loading: object | None = None
        self._highest_version = 0
        self._running = RunningEpisode(
            predictor, trainer, gate, lambda: self.state_changed.emit(self.state), self.progress.emit
        )
        self._cost = EpisodeCost(predictor, post, self.forecasted.emit)
        self._cost.expect(config)
        if choose_blocks:
            self._cost.choose_blocks(policy.seconds, self._train_last)

    def _train_last(self, last_blocks: int) -> None:
        """Train so many of the last blocks: this machine is too slow or too small for more."""
        if last_blocks != self.config.last_blocks and self.adapter is None and not self._running.episode:
            self.config = replace(self.config, last_blocks=last_blocks)
            self._cost.expect(self.config)

    @property
    def forecast(self) -> Forecast | None:
        """What a step will cost; None until it was measured."""
        return self._cost.forecast

    @property
    def state(self) -> str:
        """ "training", "paused", "idle", or "off" where episodes do not start by themselves."""
        if self._running.episode is not None:
            return "paused" if self._running.paused else "training"
        return "idle" if self.policy.enabled else "off"

    @property
    def version(self) -> int:
        """Number of the adapter that predicts; 0 for the plain model."""
        return self.adapter.version if self.adapter else 0

    # What it learns from.

    def set_accepted(self, keys: frozenset[SliceKey]) -> None:
        """Learn from these slices; an episode starts when enough of them are new."""
        added = self._accepted.set(keys)
        self._forget_learned_but(keys)
        if added:
            self._fit_at_once()
        self._start_if_due()

    def take_up(self, keys: frozenset[SliceKey], highest_version: int) -> None:
        """These slices were accepted earlier: they are seen in the predictions, and no episode starts for them alone.

        Adapters up to this number made masks there.
        """
        self._highest_version = max(self._highest_version, highest_version)
        added = self._accepted.set(keys)
        self._accepted.new.clear()
        if added:
            self._fit_at_once()

    def renew_samples(self, keys: frozenset[SliceKey]) -> None:
        """The axis or the grey values changed: samples of the slices still accepted are made again when needed."""
        self._accepted.renew(keys)
        self._forget_learned_but(keys)

    def _forget_learned_but(self, keys: frozenset[SliceKey]) -> None:
        if self.origin is not None:
            self.origin = replace(self.origin, learned=self.origin.learned & keys)

    # Episodes.

    def set_policy(self, policy: LearningPolicy) -> None:
        """When to learn from now on."""
        self.policy = policy
        self.state_changed.emit(self.state)

    def start(self) -> None:
        """Start an episode now, from all accepted slices, unless one runs; SamAdaptError when they show nothing."""
        if self._running.episode is not None:
            return
        self._accepted.take_all()
        if self._loading is not None:
            raise SamAdaptError("An adapter is being loaded: try again in a moment.")
        if not self._class_ids():
            raise SamAdaptError(NOTHING_TO_LEARN)
        self._begin()

    def pause(self, paused: bool) -> None:
        """Hold the running episode, or go on with it."""
        self._running.pause(paused)

    def stop(self, *, keep: bool) -> None:
        """End the running episode; with `keep` what it learned is used, else nothing more comes of it."""
        if self._running.episode is not None:
            self._accepted.new.clear()  # the user wants quiet: the next accept starts the next episode
            self._running.end(keep=keep)
            if not keep:
                self._finish()

    def set_method(self, config: AdapterConfig) -> Future[None]:
        """Forget what was learned, and train this kind of adapter from now on."""
        self.stop(keep=False)
        self.config = config
        self._cost.expect(config)
        return self.forget()

    def roll_back(self) -> None:
        """Predict again with the adapter that did before this one, or with the plain model; SamAdaptError there.

        A running episode is dropped; the next one goes on from what predicts then.
        """
        if self.adapter is None:
            raise SamAdaptError("The plain model is in use: there is no update to go back from.")
        if not self._earlier.kept:
            self.forget()
            return
        self._drop_what_is_under_way()
        adapter, origin = self._earlier.kept.pop()
        self.config = adapter.config
        self._predictor.run(lambda live: live.go_back(adapter)).add_done_callback(
            lambda done: self._post(lambda: self._on_gone_back(done))
        )
        self._use(adapter, origin)
        self.updated.emit(Update("roll back", adapter.version))

    def forget(self) -> Future[None]:
        """Go back to the plain model, for good."""
        self._drop_what_is_under_way()
        self._earlier.kept.clear()
        learned = self.adapter is not None
        self._use(None, None)
        if learned:
            self.updated.emit(Update("reset", 0))
        return self._predictor.run(lambda live: live.reset())

    def begin_loading(self) -> object:
        """Drop the running episode and start none while an adapter is loaded; returns the key for `end_loading`."""
        self.stop(keep=False)
        self._fits.drop_waiting()
        self._loading = object()
        return self._loading

    def end_loading(self, key: object, adapter: AdapterState | None, origin: Origin | None) -> bool:
        """The live model has loaded an adapter (None: it failed); False where that was overtaken by a reset."""
        if key is not self._loading:
            return False
        self._loading = None
        if adapter is not None:
            self.config = _goes_on(self.config, adapter.config)
            self._succeed(adapter, origin)
            dice = origin.held_out_dice if origin else None
            self.updated.emit(Update("load", adapter.version, held_out_dice=dice))
        else:
            self._fit_at_once()  # as the fits that waited were dropped
        self._start_if_due()
        return True

    def next_version(self) -> int:
        """A version number that no adapter of this session had before."""
        self._highest_version += 1
        return self._highest_version

    def _start_if_due(self) -> None:
        new = len(self._accepted.new)
        due = self.policy.enabled and self._loading is None and new >= self.policy.every_n_slices
        if due and self._running.episode is None and self._class_ids():
            self._begin()

    def _fit_at_once(self) -> None:
        """Show what the accepted slices say in the prediction, before and beside the episodes."""
        class_ids = self._class_ids()
        if not self.policy.enabled or self._loading is not None or not class_ids:
            return
        window = self._source.view().window
        new, known = self._accepted.parted(self.origin.learned if self.origin else frozenset())
        if new:
            self._fits.ask(InstantFit(new, known, class_ids, self.config, window, self.next_version()))

    def _on_fitted(self, asked: InstantFit, done: Future[AdapterState | None]) -> None:
        if (error := done.exception()) is not None:
            self.failed.emit(in_plain_words("The predictions do not know of the accepted slice yet", error))
        elif (adapter := done.result()) is not None:
            axis, learned = asked.new[0].key.axis, asked.keys & self._accepted.keys
            before = self.origin or Origin(asked.window, axis, trained=False)
            self._succeed(adapter, replace(before, axis=axis, held_out_dice=None, learned=learned))
            self.updated.emit(Update("fit", adapter.version, asked.keys))

    def _begin(self) -> None:
        policy = self.policy
        if self.forecast is not None:
            policy = replace(policy, batch_size=min(policy.batch_size, self.forecast.batch))
        turn = self._highest_version
        episode = self._accepted.episode(self.config, policy, self._class_ids(), self.origin, turn)
        self._running.begin(episode, policy.seed + turn, self._on_ended)

    def _class_ids(self) -> tuple[int, ...]:
        return self._accepted.class_ids(set(self.adapter.class_ids) if self.adapter else set())

    def _on_ended(self, episode: Episode, outcome: EpisodeOutcome) -> None:
        if outcome.tensors is None:
            self._accepted.leave_out(outcome.suspects)
            self._finish()
            if outcome.failure:
                self.updated.emit(self._running.update(episode, self.version, None, outcome.failure))
                self.failed.emit(outcome.failure)
            self._start_if_due()
            return
        adapter = AdapterState(self.next_version(), episode.config, episode.class_ids, outcome.tensors)
        learned = episode.keys & self._accepted.keys - self._accepted.new
        origin = replace(episode.origin, held_out_dice=outcome.held_out_dice, learned=learned)
        self._fits.drop_waiting()  # they would follow this one, and were asked for without knowing of it
        self._predictor.run(lambda live: live.publish(adapter)).add_done_callback(
            lambda done: self._post(lambda: self._on_published(episode, origin, done))
        )

    def _on_published(self, episode: Episode, origin: Origin, done: Future[AdapterState]) -> None:
        if episode is not self._running.episode or done.cancelled():
            return
        if (error := done.exception()) is not None:
            self.failed.emit(in_plain_words("What was learned cannot be used", error))
        else:
            self._succeed(done.result(), origin)
            self.updated.emit(self._running.update(episode, done.result().version, origin.held_out_dice))
        self._fit_at_once()  # to what was accepted during the episode
        self._finish()
        self._start_if_due()

    def _on_gone_back(self, done: Future[AdapterState]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self.failed.emit(in_plain_words("The adapter from before cannot be used", error))

    def _finish(self) -> None:
        self._running.finish()
        self._cost.learn_from(self._running.last)
        self.state_changed.emit(self.state)

    def _drop_what_is_under_way(self) -> None:
        self.stop(keep=False)
        self._fits.drop()
        self._loading = None

    def _succeed(self, adapter: AdapterState, origin: Origin | None) -> None:
        """Use an adapter, and keep the one before it, if an episode trained it."""
        if self.adapter is not None and self.origin is not None and self.origin.trained:
            self._earlier.put(self.adapter, self.origin)
        self._use(adapter, origin)

    def _use(self, adapter: AdapterState | None, origin: Origin | None) -> None:
        self.adapter, self.origin = adapter, origin
        self.published.emit()


def _goes_on(config: AdapterConfig, loaded: AdapterConfig) -> AdapterConfig:
    """What is trained after an adapter was loaded: its method; one of heads alone has none, and the session's stays."""
    heads = AdapterConfig("decoder-only", decoder=loaded.decoder)
    return replace(config, decoder=loaded.decoder) if loaded == heads else loaded
