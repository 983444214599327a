"""The train thread: one episode after the other, each on a twin of the live model."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from napari_samadapt.learning import adapters
from napari_samadapt.learning.fine_tune import FineTuneConfig, TrainProgress, fine_tune, held_out_dice
from napari_samadapt.learning.prompted import box_dice
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.learning.semantic import SemanticSam

from .gate import Gate, Ticket
from .lower_cost import at_lower_cost
from .messages import Episode, EpisodeOutcome, Post
from .predictor import in_plain_words
from .promotion import BOX_DICE, DICE, known_classes, objection
from .threads import end_thread

PROGRESS_SECONDS = 0.1
REJECTED = "The update was rejected because its numbers became invalid. Your masks and the model in use are unchanged."


class FineTune(Protocol):
    """The training loop; `learning.fine_tune.fine_tune`, or a stand-in in tests."""

    def __call__(
        self,
        model: SemanticSam,
        samples: Sequence[TrainingSample],
        config: FineTuneConfig,
        held_out: Sequence[TrainingSample] = (),
    ) -> Iterator[TrainProgress]: ...


@dataclass(frozen=True, eq=False)
class _Job:
    episode: Episode
    twin: Future[SemanticSam]
    ticket: Ticket
    progressed: Callable[[TrainProgress], None]
    ended: Callable[[EpisodeOutcome], None]


class Trainer:
    """Owns the thread that owns the twin. Progress and outcomes are posted to the main thread."""

    def __init__(self, gate: Gate, post: Post, loop: FineTune = fine_tune) -> None:
        self._gate = gate
        self._post = post
        self._loop = loop
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="samadapt-train", daemon=True)
        self._thread.start()

    def start(
        self,
        episode: Episode,
        twin: Future[SemanticSam],
        progressed: Callable[[TrainProgress], None],
        ended: Callable[[EpisodeOutcome], None],
    ) -> Ticket:
        """Train the twin when it is there; `ended` is called exactly once, unless the trainer is closed."""
        ticket = Ticket()
        self._jobs.put(_Job(episode, twin, ticket, progressed, ended))
        return ticket

    def close(self, timeout: float = 1.0) -> None:
        """Let the thread end, and wait for that at most `timeout` seconds. End the running episode before."""
        self._jobs.put(None)
        end_thread(self._thread, timeout)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._train(job)

    def _train(self, job: _Job) -> None:
        progressed, ended = job.progressed, job.ended

        def report(progress: TrainProgress) -> None:
            self._post(lambda: progressed(progress))

        outcome = run_episode(job.episode, job.twin, lambda: self._gate.wait(job.ticket), report, self._loop)
        if not job.ticket.kept:
            outcome = EpisodeOutcome(None)
        self._post(lambda: ended(outcome))


def run_episode(
    episode: Episode,
    twin: Future[SemanticSam],
    may_step: Callable[[], bool],
    report: Callable[[TrainProgress], None],
    loop: FineTune = fine_tune,
) -> EpisodeOutcome:
    """Train the twin until the episode's limit is reached or `may_step` says no. Runs on the train thread."""
    policy = episode.policy
    config = FineTuneConfig(policy.seconds, policy.steps, policy.seed, policy.batch_size)
    try:
        with spared_cores(policy.spare_cores):
            model = twin.result()
            start = adapters.state(model)
            known = known_classes((*episode.samples, *episode.judges), episode.new)
            before = _judged(model, episode, known)
            agreement = {one.key: held_out_dice(model, [one], known) for one in episode.new if episode.judges}
            last = at_lower_cost(
                lambda cost: _run_steps(loop, model, episode, cost, may_step, report),
                config,
                lambda: _start_again(model, start),
            )
            if last is None:
                return EpisodeOutcome(None)
            after = _judged(model, episode, known)
            dice = after.get(DICE, last.held_out_dice)
            if after:
                report(replace(last, held_out_dice=dice))
            judges = [judge.key for judge in episode.judges]
            for what, now in after.items():
                if (kept_back := objection(before[what], now, judges, agreement, what)) is not None:
                    return EpisodeOutcome(None, kept_back.reason, suspects=kept_back.suspects)
        tensors = adapters.state(model)
    except CancelledError:
        return EpisodeOutcome(None)
    except FloatingPointError:
        return EpisodeOutcome(None, REJECTED)
    except Exception as error:  # noqa: BLE001  # told to the user; the thread lives on
        return EpisodeOutcome(None, in_plain_words("Learning stopped", error))
    return EpisodeOutcome(tensors, held_out_dice=dice)


def _judged(model: SemanticSam, episode: Episode, known: Collection[int]) -> dict[str, float]:
    """What the judges say of a model, by what they look at; nothing where there are none."""
    judged = {}
    if episode.judges:
        judged[DICE] = held_out_dice(model, episode.judges, known)
        if episode.config.prompts:
            judged[BOX_DICE] = box_dice(model.sam, episode.judges)
    return judged


def _run_steps(
    loop: FineTune,
    model: SemanticSam,
    episode: Episode,
    config: FineTuneConfig,
    may_step: Callable[[], bool],
    report: Callable[[TrainProgress], None],
) -> TrainProgress | None:
    """The progress after the last step, or None where not one was made. Not every step is reported.

    Raises FloatingPointError where the loss or a weight is no number.
    """
    steps = loop(model, episode.samples, config, episode.held_out)
    last, reported, told = None, None, float("-inf")
    while may_step() and (progress := next(steps, None)) is not None:
        last = progress
        if time.monotonic() - told >= PROGRESS_SECONDS:
            report(progress)
            reported, told = progress, time.monotonic()
    if last is not None and last is not reported:
        report(last)
    if not all(bool(torch.isfinite(weight).all()) for weight in adapters.trainable(model).values()):
        raise FloatingPointError("a weight became infinite or no number")
    return last


def _start_again(model: SemanticSam, start: Mapping[str, Tensor]) -> None:
    """Everything as it was before the first step, and the memory of that attempt given back."""
    model.zero_grad(set_to_none=True)
    adapters.load(model, start)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def spared_cores(count: int) -> Iterator[None]:
    """Compute with so many processor cores less than there are, but one at least; ends with what was before."""
    before = torch.get_num_threads()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(before, allowed - count)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
