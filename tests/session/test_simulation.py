"""Whole simulations with a tiny SAM, and the clock that gives learning the seconds that acts take."""

import json
import threading

import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.session import trainer
from napari_samadapt.session.annotator import ACCEPT_SECONDS, AnnotatorHabits
from napari_samadapt.session.messages import LearningPolicy
from napari_samadapt.session.simulated_time import SimulatedTime
from napari_samadapt.session.simulation import SimulationPlan, run_plan, simulate, volume_dice

EXACT = AnnotatorHabits(good_enough=1.0)


@pytest.fixture
def reference(volume) -> np.ndarray:
    labels = np.zeros(volume.shape, np.uint16)
    labels[:, 6:16, 5:14] = 1
    labels[2:, 18:22, 2:8] = 2
    return labels


def test_without_adaptation_every_slice_is_annotated_by_hand(make_session, queue, reference):
    session, told = make_session(), []
    plan = SimulationPlan(target=1.0, seconds=1e6, adapts=False, habits=EXACT)
    report = run_plan(session, queue, reference, plan, told.append)
    assert np.array_equal(session.annotation, reference)
    assert report.points == tuple(told)
    assert [point.slices for point in told] == [0, 1, 2, 3, 4, 5, 6]
    assert [point.dice for point in told] == sorted(point.dice for point in told)
    assert {point.adapter for point in told} == {0}
    assert report.reached == told[6]
    assert told[-1].seconds == pytest.approx(sum(effort.seconds for effort in report.slices))
    assert told[-1].clicks == sum(effort.clicks for effort in report.slices)


@pytest.mark.parametrize(
    ("changes", "slices"),
    [({"slices": 2}, 2), ({"target": 0.5}, 2), ({"seconds": 0.5}, 0)],
    ids=["slices", "target", "seconds"],
)
def test_it_ends_when_something_is_used_up_or_reached(make_session, queue, reference, changes, slices):
    plan = SimulationPlan(**{"seconds": 1e6, "target": 1.0, "choice": "uniform", "habits": EXACT} | changes)
    report = run_plan(make_session(), queue, reference, plan)
    assert report.points[-1].slices == slices


@pytest.mark.parametrize(
    ("choice", "slices", "order"),
    [
        ("uniform", None, [2, 4, 3, 1, 0, 5]),
        ("uniform", 2, [1, 4]),
        ("uniform", 3, [3, 1, 5]),
        ("random", 3, None),
    ],
)
def test_how_slices_are_chosen(make_session, queue, reference, choice, slices, order):
    plan = SimulationPlan(choice, slices, seconds=1e6, target=1.0, seed=3, habits=EXACT)
    taken = [
        [effort.key.index for effort in run_plan(make_session(), queue, reference, plan).slices]
        for _ in range(2)
    ]
    assert taken[0] == taken[1], "a seed decides"
    assert len(set(taken[0])) == len(taken[0]) == (slices or 6)
    assert order is None or taken[0] == order


def test_suggested_slices_are_those_of_the_session(make_session, queue, reference):
    session = make_session()
    first = session.suggest()
    plan = SimulationPlan("suggested", 1, seconds=1e6, target=1.0, habits=EXACT)
    assert run_plan(session, queue, reference, plan).slices[0].key == first


def test_the_volume_is_predicted_by_what_was_learned(make_session, queue, reference):
    session = make_session(policy=LearningPolicy(seconds=None, steps=3))
    report = run_plan(
        session, queue, reference, SimulationPlan(slices=2, seconds=1e6, target=1.0, habits=EXACT)
    )
    assert session.adapter_version == report.points[-1].adapter > 1
    assert session.learning_state == "idle"
    assert volume_dice(session.displayed(), reference) == report.points[-1].dice


def test_the_report_is_json(make_session, queue, reference):
    plan = SimulationPlan("uniform", 1, seconds=1e6, target=1.0)
    values = json.loads(
        json.dumps(run_plan(make_session(), queue, reference, plan).as_dict(), allow_nan=False)
    )
    assert values["settings"]["choice"] == "uniform"
    assert values["settings"]["classes"] == [1, 2]
    assert values["totals"]["seconds_to_target"] is None
    assert values["curve"][-1]["slices"] == 1
    assert values["slices"][0]["key"] == {"axis": 0, "index": 3}


def test_a_simulation_opens_and_closes_its_own_session(volume, sam, reference):
    plan = SimulationPlan(slices=1, adapts=False, habits=EXACT)
    report = simulate(volume, reference, sam, plan, names={2: "spleen"}, window=Window(0, 1), axis=0)
    assert report.class_ids == (2,), "other ids of the reference are background"
    assert report.slices[0].dice_after == 1
    with pytest.raises(SamAdaptError, match="none of the labels"):
        simulate(volume, reference, sam, plan, names={7: "lung"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice": "best"}, "choice 'best'"),
        ({"slices": 0}, "0 slices"),
        ({"seconds": 0}, "0 seconds"),
        ({"target": 0}, "target of 0"),
        ({"target": 1.1}, "target of 1.1"),
        ({"target": float("nan")}, "target of nan"),
    ],
)
def test_plans_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(SamAdaptError, match=message):
        SimulationPlan(**changes)


@pytest.fixture
def steady(monkeypatch):
    """A training loop whose steps take half a second each, by its own account, and wait for the one before to be told.

    Gives the steps that were made, and what to call when one was told.
    """
    made: list[int] = []
    told = threading.Semaphore(1)

    def steps(model, samples, config, held_out=()):
        for step in range(1, 21):
            assert told.acquire(timeout=10)
            made.append(step)
            yield TrainProgress(step, step / 2, step / 20, 1.0, ())

    monkeypatch.setattr(trainer.run_episode, "__defaults__", (steps,))
    monkeypatch.setattr(trainer.Trainer.__init__, "__defaults__", (steps,))
    monkeypatch.setattr(trainer, "PROGRESS_SECONDS", 0.0)
    return made, told.release


def learn_from(session, index: int) -> None:
    session.begin_edit(SliceKey(0, index))
    indices = tuple(np.array([place]) for place in (index, 8, 8))
    session.annotation[indices] = 1
    session.record_edit(indices, np.array([0]), np.array([1]))
    session.accept(SliceKey(0, index))


def test_learning_gets_the_seconds_that_acts_take(make_session, queue, steady):
    made, told = steady
    session = make_session(policy=LearningPolicy(seconds=60))
    session.progress.connect(lambda progress: told())
    with SimulatedTime(session, queue) as clock:
        learn_from(session, 2)
        assert session.learning_state == "paused", "it waits for time to pass"
        steps = []
        for seconds in (ACCEPT_SECONDS, 1.5, 4.0):
            clock.spend(seconds)
            assert session.learning_state == "paused"
            steps.append(len(made))
        assert clock.now == 6.5
        for count, passed in zip(steps, (1.0, 2.5, 6.5), strict=True):
            assert passed * 2 <= count <= passed * 2 + 1, "a step may be under way when time is over"
        assert session.adapter_version < 2, "the first is fitted at once, the second is the episode's"
        clock.spend(100.0)
        assert len(made) == 20
        assert not clock.busy
        assert session.adapter_version == 2
        learn_from(session, 4)
        clock.spend(1.0)
        assert len(made) - 20 <= 3, "idle time is not saved up"
