"""Sessions without a window: an annotator, first predictions, refreshes, clicks while the model learns, wrong masks."""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from first_prediction import SECONDS, first_predictions, refresh_times
from live_record import Record, Settings
from live_volumes import LiveVolume, read_live_volume
from numpy.typing import NDArray
from promotion import largest_drop, served
from training_memory import training_memory

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window, render_slice
from napari_samadapt.imaging.prompts import Prompts, click_in_error
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning.adapter_file import load_adapter
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.semantic import SemanticSam, segment_slice
from napari_samadapt.session.annotator import AnnotatorHabits, annotate
from napari_samadapt.session.headless import EventQueue
from napari_samadapt.session.messages import LearningPolicy
from napari_samadapt.session.session import Session, default_adapter
from napari_samadapt.session.simulation import SimulationPlan, simulate

TARGET = 0.9
PLAIN_BUDGET = 3600.0
"""Simulated seconds that the annotator without adaptation has."""

CLICKED = 20
"""Slices that are clicked at rest, each twice."""
LOOK_SECONDS = 0.5
"""A person looks so long at a slice before the first click; meanwhile it is encoded."""
ROUNDS = 3
WRONG_MASKS = "inverted"
"""The story of `benchmarks/promotion.py` that is told, on the CT."""
STEPS = 40
"""Of each of its episodes."""
EPISODE = 60.0
"""Seconds of the episode that is clicked through: the decoder's steps, then those that train adapters too."""
_WAIT = 600.0


def measure_simulate(settings: Settings, record: Record) -> None:
    """Simulated seconds to the target without adaptation, then, given at most as many, with it."""
    for case, choice in itertools.product(settings.cases, settings.choices):
        live, plain = read_live_volume(case, settings.data), f"simulate {case} {choice} without"
        budget = PLAIN_BUDGET * settings.scale
        record.once(plain, simulated, live, settings, choice, budget, False)
        budget = record.figures[plain]["seconds_to_target"] or budget
        record.once(f"simulate {case} {choice} with", simulated, live, settings, choice, budget, True)


def simulated(
    live: LiveVolume, settings: Settings, choice: str, seconds: float, adapts: bool
) -> dict[str, Any]:
    """Totals at the end, seconds to the target or None, and the curve of [seconds, Dice, slices]."""
    plan = SimulationPlan(choice, None, seconds, TARGET, adapts, settings.seeds[0])
    report = simulate(
        live.volume, live.labels, load_sam(settings.model), plan,
        names=live.names, window=live.window, axis=live.five[0].axis,
    )  # fmt: skip
    last, reached = report.points[-1], report.reached
    return {
        "seconds_to_target": reached.seconds if reached else None,
        "seconds": last.seconds,
        "dice": last.dice,
        "slices": last.slices,
        "clicks": last.clicks,
        "boxes": last.boxes,
        "failures": list(report.failures),
        "curve": [[round(p.seconds, 2), round(p.dice, 4), p.slices] for p in report.points],
    }


def measure_first(settings: Settings, record: Record) -> None:
    """From accepting a slice to the first changed prediction, at rest and while an episode runs."""
    for case in settings.cases:
        live = read_live_volume(case, settings.data)
        record.once(f"first {case}", first_predictions, live, settings.model, SECONDS * settings.scale)


def measure_refresh(settings: Settings, record: Record) -> None:
    """Embedding a slice after an update, against in full, with the adapters that a session trains."""
    for case in settings.cases:
        live, sam = read_live_volume(case, settings.data), load_sam(settings.model)
        record.once(f"refresh {case}", refresh_times, live, sam, default_adapter(sam))


def measure_memory(settings: Settings, record: Record) -> None:
    """Of training ViT-B at 1024 pixels, whatever the model of the other parts."""
    record.once("memory vit_b", training_memory, "vit_b", settings.threads)


def measure_clicks(settings: Settings, record: Record) -> None:
    """Clicks in a session at rest, then in one that learns; then its predictions against those of one thread."""
    for case in settings.cases:
        live = read_live_volume(case, settings.data)
        record.once(f"clicks {case} idle", idle_latencies, live, settings)
        record.once(f"clicks {case} learning", learning_figures, live, settings)


def measure_poison(settings: Settings, record: Record) -> None:
    """Dice of what is served while some slices are accepted with wrong masks."""
    record.once(f"poison {WRONG_MASKS}", poisoned, settings)


def poisoned(settings: Settings) -> dict[str, Any]:
    """How far Dice ever fell below its best before, and Dice after every episode."""
    options = argparse.Namespace(data=settings.data, steps=STEPS)
    scores = [dice for _, dice, _ in served(WRONG_MASKS, True, options, settings.seeds[0])]
    return {"drop": largest_drop(scores), "scores": scores}


@contextmanager
def open_session(live: LiveVolume, settings: Settings) -> Iterator[tuple[Session, EventQueue]]:
    """A session that learns when it is told to, with the first, the middle and the last of the five slices accepted."""
    queue = EventQueue()
    session = Session(
        live.volume, load_sam(settings.model), post=queue, window=live.window, axis=live.five[0].axis,
        classes=live.names, policy=LearningPolicy(seconds=_WAIT, enabled=False),
    )  # fmt: skip
    try:
        annotate(session, queue, live.labels, live.five[::2], AnnotatorHabits(good_enough=0.0))
        yield session, queue
    finally:
        session.close()


def idle_latencies(live: LiveVolume, settings: Settings) -> dict[str, float]:
    """Of clicks while nothing is learned."""
    with open_session(live, settings) as (session, queue):
        return summary(click_latencies(session, queue, live, lambda slices: slices <= CLICKED))


def learning_figures(live: LiveVolume, settings: Settings) -> dict[str, dict[str, float]]:
    """Latencies of clicks during an episode, and then what `worker_seconds` says of the adapter it gave."""
    told: list[object] = []
    with open_session(live, settings) as (session, queue), tempfile.TemporaryDirectory() as folder:
        session.progress.connect(told.append)
        session.set_policy(replace(session.policy, seconds=EPISODE * settings.scale))
        session.start_learning()
        wait(queue, lambda: bool(told), "the first step of learning")
        latencies = click_latencies(session, queue, live, lambda _: session.learning_state == "training")
        if not latencies:
            raise SamAdaptError("The episode ended before the clicks: they measure nothing.")
        wait(queue, lambda: session.learning_state == "off" and not session.refreshing, "the adapter")
        saved = session.save_adapter(Path(folder) / "adapter.safetensors")
        wait(queue, saved.done, "the adapter's file")
        model, _ = load_adapter(saved.result(), load_sam(settings.model))
        predicted = worker_seconds(session, queue, live, model)
    return {"clicks": summary(latencies), "prediction": predicted}


def click_latencies(
    session: Session, queue: EventQueue, live: LiveVolume, go_on: Callable[[int], bool]
) -> list[float]:
    """Milliseconds from a click to its mask: two clicks, the second into the largest error, on slice after slice.

    `go_on` is asked before each slice and told how many there were. Those on the first slice do not count.
    """
    drafts: list[object] = []
    session.drafted.connect(drafts.append)
    session.failed.connect(drafts.append)
    rng, latencies = np.random.default_rng(0), list[list[float]]()
    keys = [key for key in live.keys if key not in session.accepted and take_slice(live.labels, key).any()]
    places = itertools.cycle(rng.permutation(len(keys)))
    while go_on(len(latencies)):
        key = keys[next(places)]
        session.look_at(key)
        queue.run_until(lambda: False, LOOK_SECONDS)
        latencies.append(list(clicks_on(session, queue, key, take_slice(live.labels, key), drafts, rng)))
        session.reject(key)
        queue.run_posted()
    return list(itertools.chain(*latencies[1:]))


def clicks_on(
    session: Session,
    queue: EventQueue,
    key: SliceKey,
    true: NDArray[np.integer],
    answers: list[object],
    rng: np.random.Generator,
) -> Iterator[float]:
    """Click twice into the largest structure of a slice (H, W); milliseconds until `answers` has grown."""
    ids, sizes = np.unique(true[true > 0], return_counts=True)
    class_id = int(ids[sizes.argmax()])
    session.select_class(class_id)
    wanted = true == class_id
    points, labels = list[NDArray[np.float32]](), list[int]()
    while len(points) < 2 and not np.array_equal(
        shown := take_slice(session.annotation, key) == class_id, wanted
    ):
        xy, label = click_in_error(shown, wanted, rng)
        points.append(xy)
        labels.append(label)
        before, started = len(answers), time.perf_counter()
        session.set_prompts(key, Prompts(np.stack(points), np.array(labels)))
        wait(queue, lambda: len(answers) > before, "a click's mask")  # noqa: B023  # called at once
        yield 1000 * (time.perf_counter() - started)


def worker_seconds(
    session: Session, queue: EventQueue, live: LiveVolume, model: SemanticSam
) -> dict[str, float]:
    """Seconds for all slices that the user did not touch: predicted by the session, and here; the medians of rounds.

    Each round shows the slices in slightly other grey values, so that no embedding of them is known.
    """
    worker, here = list[float](), list[float]()
    keys = [key for key in live.keys if key not in session.accepted]
    session.look_at(max(keys, key=lambda key: min(abs(key.index - done.index) for done in session.accepted)))
    for index in range(ROUNDS):
        window = Window(live.window.low - 1e-3 * (index + 1), live.window.high)
        started = time.perf_counter()
        session.set_window(window)
        wait(queue, lambda: not session.refreshing, "the predictions")
        worker.append(time.perf_counter() - started)
        started = time.perf_counter()
        predict_here(model, live, window, keys)
        here.append(time.perf_counter() - started)
    return {"slices": len(keys), "worker": float(np.median(worker)), "main thread": float(np.median(here))}


def predict_here(model: SemanticSam, live: LiveVolume, window: Window, keys: Sequence[SliceKey]) -> None:
    """Predict slices on this thread."""
    for key in keys:
        segment_slice(model, render_slice(live.volume, key, window))


def wait(queue: EventQueue, condition: Callable[[], bool], what: str) -> None:
    """Run what the session's threads post until the condition holds. SamAdaptError when that takes too long."""
    if not queue.run_until(condition, _WAIT):
        raise SamAdaptError(f"Waited {_WAIT:g} seconds for {what}: is the machine busy?")


def summary(latencies: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in ms, and how many there are."""
    return {
        "median": float(np.median(latencies)),
        "p95": float(np.percentile(latencies, 95)),
        "clicks": len(latencies),
    }
