"""The order of work on the predict thread, with a model that lets the test decide when each piece is done."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.gate import Gate, Ticket
from napari_samadapt.session.headless import EventQueue
from napari_samadapt.session.messages import PredictRequest, Priority, RefreshPlan
from napari_samadapt.session.predictor import Predictor, priority

WINDOW = Window(0, 1)
MASK = np.ones((2, 2), bool)


class HeldModel:
    """Records what it is asked for; each piece of work waits for `go_on`."""

    version = 0
    reach = 0

    def __init__(self) -> None:
        self.seen: set[SliceKey] = set()
        self.log: list[tuple] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.error: Exception | None = None

    def _do(self, *what) -> None:
        self.log.append(what)
        self.begun.release()
        assert self.go_on.acquire(timeout=5)
        if self.error:
            raise self.error

    def mask(self, request):
        self._do("click", request.key.index, request.generation)
        return SimpleNamespace(mask=MASK, score=0.5)

    def look(self, key, plan, *, near):
        self._do("predict", key.index)
        self.seen.add(key)

    def has_seen(self, key):
        return key in self.seen

    def knows_around(self, key):
        return True

    def said(self, key):
        return np.full((2, 2), len(self.seen), np.uint16), 0.25

    def embed(self, key, window, *, near=True):
        self._do("encode", key.index)


@pytest.fixture
def at_work():
    model, gate, queue = HeldModel(), Gate(), EventQueue()
    told = SimpleNamespace(masks=[], slices=[], failures=[])
    predictor = Predictor(
        model, gate, queue,
        answered=told.masks.append, predicted=told.slices.append, failed=told.failures.append,
    )  # fmt: skip
    yield SimpleNamespace(model=model, gate=gate, queue=queue, told=told, predictor=predictor)
    model.go_on.release(1000)
    predictor.close()
    assert not predictor._thread.is_alive()


def click(index: int, generation: int = 1) -> PredictRequest:
    return PredictRequest(SliceKey(0, index), WINDOW, Prompts(), 1, generation)


def plan(focus: int, *indices: int, epoch: int = 1) -> RefreshPlan:
    return RefreshPlan(epoch, WINDOW, SliceKey(0, focus), frozenset(SliceKey(0, i) for i in indices), 20)


def next_begins(at_work) -> tuple:
    assert at_work.model.begun.acquire(timeout=5)
    return at_work.model.log[-1]


def finish(at_work) -> None:
    at_work.model.go_on.release()


def test_the_slice_on_screen_comes_first_then_outwards(at_work):
    at_work.predictor.refresh(plan(5, 2, 3, 4, 5, 6, 9))
    order = []
    for _ in range(7):
        order.append(next_begins(at_work))
        finish(at_work)
    assert order[0] == ("predict", 5)
    assert order[1:] == [
        ("predict", 4), ("predict", 6), ("predict", 3), ("encode", 7), ("predict", 2), ("predict", 9),
    ]  # fmt: skip


def test_a_click_goes_before_what_is_queued_and_control_before_clicks(at_work):
    at_work.predictor.refresh(plan(5, 5, 6))
    assert next_begins(at_work) == ("predict", 5)
    at_work.predictor.ask(click(9))
    done = at_work.predictor.run(lambda model: model.log.append(("control",)))
    finish(at_work)
    assert next_begins(at_work) == ("click", 9, 1)
    assert at_work.model.log[1] == ("control",)
    assert done.done()


def test_looking_elsewhere_changes_what_comes_next(at_work):
    at_work.predictor.refresh(plan(5, 4, 5, 12))
    assert next_begins(at_work) == ("predict", 5)
    at_work.predictor.look(plan(12))
    finish(at_work)
    assert next_begins(at_work) == ("predict", 12)


def test_a_newer_click_on_a_slice_replaces_the_one_that_waits(at_work):
    at_work.predictor.refresh(plan(5, 5))
    next_begins(at_work)
    for generation in (1, 2, 3):
        at_work.predictor.ask(click(5, generation))
    at_work.predictor.ask(click(6, 4))
    finish(at_work)
    assert next_begins(at_work) == ("click", 5, 3)
    finish(at_work)
    assert next_begins(at_work) == ("click", 6, 4)


def test_the_trainer_waits_exactly_as_long_as_clicks_do(at_work):
    gate, passed = at_work.gate, threading.Event()
    at_work.predictor.ask(click(5, 1))
    next_begins(at_work)
    at_work.predictor.ask(click(5, 2))
    trainer = threading.Thread(target=lambda: (gate.wait(Ticket()), passed.set()))
    trainer.start()
    finish(at_work)
    next_begins(at_work)
    assert not passed.is_set()
    finish(at_work)
    assert passed.wait(5)
    trainer.join()


def test_a_failed_click_is_told_and_the_thread_lives_on(at_work):
    at_work.model.error = SamAdaptError("The point (9, 9) is outside.")
    at_work.predictor.ask(click(5))
    finish(at_work)
    assert at_work.queue.run_until(lambda: bool(at_work.told.masks), 5)
    assert (at_work.told.masks[0].mask, at_work.told.masks[0].failure) == (
        None,
        "The point (9, 9) is outside.",
    )
    at_work.model.error = None
    at_work.predictor.ask(click(5))
    finish(at_work)
    assert at_work.queue.run_until(lambda: len(at_work.told.masks) == 2, 5)
    assert at_work.told.masks[1].mask is MASK


def test_a_slice_that_cannot_be_predicted_is_told_once_and_ends_the_refresh(at_work):
    at_work.model.error = MemoryError()
    at_work.predictor.refresh(plan(5, 4, 5, 6))
    finish(at_work)
    assert at_work.queue.run_until(lambda: bool(at_work.told.failures), 5)
    assert at_work.told.failures == [
        "Slice 5 could not be predicted: the memory is full. "
        "Close other programs, or choose a smaller model or input size."
    ]
    assert not at_work.predictor._to_predict


def test_control_work_that_fails_fails_in_its_future(at_work):
    def fail(model):
        raise SamAdaptError("No.")

    with pytest.raises(SamAdaptError, match=r"No\."):
        at_work.predictor.run(fail).result(timeout=5)


def test_after_close_nothing_is_begun(at_work):
    finish(at_work)
    at_work.predictor.close()
    at_work.predictor.ask(click(5))
    assert at_work.predictor.run(lambda model: 1).cancelled()
    assert at_work.gate.wait(Ticket()), "a dropped click must not hold the trainer"


@pytest.mark.parametrize(
    ("index", "expected"),
    [(5, Priority.SLICE), (4, Priority.NEIGHBOUR), (7, Priority.NEIGHBOUR), (8, Priority.REST)],
)
def test_priorities(index, expected):
    assert priority(SliceKey(0, index), SliceKey(0, 5)) is expected


def test_a_slice_is_told_again_once_the_slices_around_it_were_looked_at(at_work):
    """In the order 5, 4, 6, 3: the fifth is whole after the sixth, and the last one tells all that waited for it."""
    at_work.model.reach = 1
    at_work.predictor.refresh(plan(5, 3, 4, 5, 6))
    for _ in range(4):
        next_begins(at_work)
        finish(at_work)
    at_work.queue.run_until(lambda: len(at_work.told.slices) == 6)
    assert [(told.key.index, int(told.labels[0, 0])) for told in at_work.told.slices] == [
        (5, 1), (4, 2), (5, 3), (6, 3), (4, 4), (3, 4),
    ]  # fmt: skip
    assert [told.whole for told in at_work.told.slices] == [False, False, True, True, True, True]


def test_a_click_goes_before_what_is_to_be_told(at_work):
    told = at_work.model.said
    at_work.model.said = lambda key: at_work.model._do("tell", key.index) or told(key)
    at_work.model.reach = 1
    at_work.predictor.refresh(plan(5, 4, 5))
    order = []
    for _ in range(5):
        order.append(next_begins(at_work)[:2])
        if order[-1] == ("predict", 4):
            at_work.predictor.ask(click(9))
        finish(at_work)
    assert order == [("predict", 5), ("tell", 5), ("predict", 4), ("click", 9), ("tell", 5)]


def test_nothing_is_told_of_a_slice_once_the_model_is_another(at_work):
    at_work.predictor.refresh(plan(5, 5))
    next_begins(at_work)
    changed = at_work.predictor.run(lambda model: model.seen.clear())
    finish(at_work)
    assert at_work.queue.run_until(changed.done)
    at_work.predictor.run(lambda model: None).result(5)
    at_work.predictor.close()
    assert not at_work.told.slices
