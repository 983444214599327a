"""One episode on a thread: it yields to clicks, stops at once, and survives everything that goes wrong."""

import threading
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.session.gate import Gate
from napari_samadapt.session.messages import Episode, LearningPolicy, Origin
from napari_samadapt.session.trainer import REJECTED, Trainer, run_episode, spared_cores

ORIGIN = Origin(Window(0.0, 1.0), 0)


def a_sample(index: int = 0) -> TrainingSample:
    return TrainingSample(SliceKey(0, index), np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int64))


def an_episode(steps: int = 3, judges: tuple[TrainingSample, ...] = ()) -> Episode:
    policy = LearningPolicy(seconds=None, steps=steps)
    return Episode((a_sample(),), (), judges, (a_sample(),), (1,), AdapterConfig(), policy, ORIGIN)


def a_twin() -> Future:
    twin: Future = Future()
    twin.set_result(torch.nn.Linear(2, 2))
    return twin


def counting(model, samples, config, held_out=()):
    for step in range(1, config.steps + 1):
        yield TrainProgress(step, 0.1 * step, step / config.steps, 1.0 / step, ())


def raising(error):
    def loop(model, samples, config, held_out=()):
        yield TrainProgress(1, 0.1, 0.1, 1.0, ())
        raise error

    return loop


def test_an_episode_ends_with_what_was_learned_and_tells_its_last_step():
    told = []
    outcome = run_episode(an_episode(), a_twin(), lambda: True, told.append, counting)
    assert set(outcome.tensors) == {"weight", "bias"}
    assert told[-1].step == 3


def test_a_stopped_episode_takes_no_further_step():
    answers = iter([True, True, False])
    told = []
    outcome = run_episode(an_episode(100), a_twin(), lambda: next(answers), told.append, counting)
    assert outcome.tensors is not None, "what was learned up to the stop is usable"
    assert told[-1].step == 2


def test_an_episode_without_a_step_has_nothing_to_offer():
    outcome = run_episode(an_episode(), a_twin(), lambda: False, print, counting)
    assert (outcome.tensors, outcome.failure) == (None, "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FloatingPointError("the loss became nan"), REJECTED),
        (SamAdaptError("There is no accepted slice."), "There is no accepted slice."),
        (torch.OutOfMemoryError("8 GiB"), "Learning stopped: the memory is full."),
        (KeyError("x"), "Learning stopped (KeyError). Your masks are kept."),
    ],
)
def test_what_goes_wrong_is_told_in_a_sentence(error, message):
    outcome = run_episode(an_episode(), a_twin(), lambda: True, lambda _: None, raising(error))
    assert outcome.tensors is None
    assert outcome.failure.startswith(message)


@pytest.mark.parametrize(("after", "served"), [(0.9, True), (0.8, True), (0.76, True), (0.7, False)])
def test_an_update_that_its_judges_object_to_is_kept_back(monkeypatch, after, served):
    """The judges are never learned from; what they say is reported with the last step."""
    answers = iter([0.8, 0.5, after])
    monkeypatch.setattr("napari_samadapt.session.trainer.held_out_dice", lambda *_: next(answers))
    told = []
    episode = an_episode(judges=(a_sample(4), a_sample(8)))
    outcome = run_episode(episode, a_twin(), lambda: True, told.append, counting)
    assert (outcome.tensors is not None) == served
    assert told[-1].held_out_dice == after
    if served:
        assert outcome.held_out_dice == after
    else:
        assert "slices 4, 8 Dice fell from 0.80 to 0.70" in outcome.failure
        assert outcome.suspects == {SliceKey(0, 0)}


@pytest.mark.parametrize(("after", "served"), [(0.9, True), (0.72, True), (0.68, False)])
def test_an_update_that_spoils_boxes_is_kept_back(monkeypatch, after, served):
    answers = iter([0.8, after])
    monkeypatch.setattr("napari_samadapt.session.trainer.held_out_dice", lambda *_: 0.9)
    monkeypatch.setattr("napari_samadapt.session.trainer.box_dice", lambda *_: next(answers))
    twin = a_twin()
    twin.result().sam = None
    episode = replace(an_episode(judges=(a_sample(4),)), config=AdapterConfig("lora", prompts=True))
    outcome = run_episode(episode, twin, lambda: True, lambda _: None, counting)
    assert (outcome.tensors is not None) == served
    assert served or "on slice 4 Dice of boxes fell from 0.80 to 0.68" in outcome.failure


def test_weights_that_are_not_numbers_are_rejected():
    twin = a_twin()
    with torch.no_grad():
        twin.result().weight[0, 0] = float("nan")
    outcome = run_episode(an_episode(), twin, lambda: True, lambda _: None, counting)
    assert (outcome.tensors, outcome.failure) == (None, REJECTED)


def test_a_twin_that_could_not_be_made_is_told():
    twin: Future = Future()
    twin.set_exception(SamAdaptError("Blocks (9,) do not exist."))
    assert (
        run_episode(an_episode(), twin, lambda: True, print, counting).failure == "Blocks (9,) do not exist."
    )
    dropped: Future = Future()
    dropped.cancel()
    assert run_episode(an_episode(), dropped, lambda: True, print, counting).failure == ""


def test_cores_are_left_to_the_window_while_training_and_given_back():
    before = torch.get_num_threads()
    with spared_cores(10_000):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


NAN = FloatingPointError("the loss became nan")
FULL = (
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"
    ),
)


def failing_above(batch_size, error, at_step, tried):
    """A loop that spoils the weights and fails at a step while its batch is larger than can be."""

    def loop(model, samples, config, held_out=()):
        tried.append((config.batch_size, config.pool_size, model.weight.detach().clone()))
        for progress in counting(model, samples, config):
            with torch.no_grad():
                model.weight += 1.0
            if config.batch_size > batch_size and progress.step == at_step:
                with torch.no_grad():
                    model.weight.fill_(float("nan"))
                if error is not None:
                    raise error
            yield progress

    return loop


@pytest.mark.parametrize("error", [NAN, *FULL, None], ids=["loss", "gpu", "memory", "allocator", "weights"])
@pytest.mark.parametrize("at_step", [1, 3])
@pytest.mark.parametrize(("fits", "batches"), [(2, [4, 2]), (1, [4, 2, 1])])
def test_an_episode_that_fails_goes_on_by_itself_at_half_the_cost(error, at_step, fits, batches):
    twin, tried = a_twin(), []
    start = twin.result().weight.detach().clone()
    outcome = run_episode(
        an_episode(), twin, lambda: True, lambda _: None, failing_above(fits, error, at_step, tried)
    )
    assert [batch for batch, _, _ in tried] == batches
    assert [pool for _, pool, _ in tried] == [32, 16, 8][: len(batches)]
    assert all(torch.equal(weight, start) for _, _, weight in tried), "nothing of a failed attempt is left"
    assert torch.allclose(outcome.tensors["weight"], start + 3)


@pytest.mark.parametrize(
    ("error", "told"),
    [(NAN, REJECTED), *((error, "Learning stopped: the memory is full.") for error in FULL)],
)
def test_an_episode_that_fails_with_one_slice_per_step_tells_why(error, told):
    tried = []
    outcome = run_episode(
        an_episode(), a_twin(), lambda: True, lambda _: None, failing_above(0, error, 2, tried)
    )
    assert [batch for batch, _, _ in tried] == [4, 2, 1]
    assert outcome.tensors is None
    assert outcome.failure.startswith(told)


def test_an_error_that_costs_no_memory_is_not_tried_again():
    tried = []
    outcome = run_episode(
        an_episode(), a_twin(), lambda: True, lambda _: None, failing_above(0, KeyError("x"), 1, tried)
    )
    assert len(tried) == 1
    assert outcome.failure.startswith("Learning stopped (KeyError")


class Stepper:
    """A loop whose steps the test lets happen one by one."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self, model, samples, config, held_out=()):
        for step in range(1, 1000):
            self.begun.release()
            assert self.go_on.acquire(timeout=5)
            yield TrainProgress(step, 0.0, 0.0, 1.0, ())


@pytest.fixture
def gate():
    return Gate()


def run_on_thread(gate, loop, ended):
    trainer = Trainer(gate, lambda function: function(), loop)
    ticket = trainer.start(an_episode(), a_twin(), lambda _: None, ended)
    return trainer, ticket


def test_no_step_is_taken_while_a_click_waits(gate):
    loop, outcomes, done = Stepper(), [], threading.Event()
    trainer, ticket = run_on_thread(gate, loop, lambda outcome: (outcomes.append(outcome), done.set()))
    assert loop.begun.acquire(timeout=5)
    gate.click_came()
    loop.go_on.release()
    assert not loop.begun.acquire(timeout=0.1), "a step began while a click waited"
    gate.click_went()
    assert loop.begun.acquire(timeout=5)
    gate.end(ticket, keep=True)
    loop.go_on.release()
    assert done.wait(5)
    assert outcomes[0].tensors is not None
    trainer.close()


def test_a_paused_episode_can_be_ended(gate):
    loop, outcomes, done = Stepper(), [], threading.Event()
    trainer, ticket = run_on_thread(gate, loop, lambda outcome: (outcomes.append(outcome), done.set()))
    assert loop.begun.acquire(timeout=5)
    gate.pause(True)
    loop.go_on.release()
    assert not loop.begun.acquire(timeout=0.1), "a step began while paused"
    gate.end(ticket, keep=False)
    assert done.wait(5)
    assert outcomes[0].tensors is None, "a dropped episode offers nothing"
    trainer.close()
    assert not trainer._thread.is_alive()


def test_the_thread_lives_on_after_a_failure(gate):
    outcomes, done = [], threading.Semaphore(0)
    trainer = Trainer(gate, lambda function: function(), raising(RuntimeError("boom")))
    for _ in range(2):
        trainer.start(
            an_episode(), a_twin(), print, lambda outcome: (outcomes.append(outcome), done.release())
        )
        assert done.acquire(timeout=5)
    assert [outcome.tensors for outcome in outcomes] == [None, None]
    trainer.close()
