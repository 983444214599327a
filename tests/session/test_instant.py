"""What an accepted slice says at once: before, beside and after the episodes of learning."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig, AdapterState
from napari_samadapt.learning.samples import TrainingSample
from napari_samadapt.session.instant import InstantFit
from napari_samadapt.session.live_model import LiveModel
from napari_samadapt.session.messages import LearningPolicy, PredictRequest, RefreshPlan

WINDOW = Window(0.0, 1.0)
NEVER = LearningPolicy(seconds=None, steps=1, every_n_slices=1000)
"""Learns on accept, but no episode ever starts."""


def block(index: int, class_id: int = 1) -> np.ndarray:
    labels = np.zeros((24, 20), np.int64)
    labels[6:16, 5:14] = class_id
    return labels


def sample(volume, index: int, labels: np.ndarray | None = None) -> TrainingSample:
    image = volume.data[index].clip(0, 1).astype(np.float32)
    return TrainingSample(SliceKey(0, index), image, block(index) if labels is None else labels)


def asked(volume, new, known=(), class_ids=(1,), version=1) -> InstantFit:
    known = tuple(sample(volume, index) for index in known)
    return InstantFit(tuple(new), known, class_ids, AdapterConfig(), WINDOW, version)


def dice_of(live: LiveModel, index: int, class_id: int = 1) -> float:
    key = SliceKey(0, index)
    live.look(key, RefreshPlan(1, WINDOW, key, frozenset(), 6), near=True)
    found = live.said(key)[0] == class_id
    true = block(index) == 1
    return 2 * float((found & true).sum()) / float(found.sum() + true.sum())


@pytest.fixture
def live(volume, sam) -> LiveModel:
    return LiveModel(volume, sam)


def test_one_slice_tells_the_others_and_the_encoder_stays(live, volume) -> None:
    state = live.fit(asked(volume, [sample(volume, 2)]))
    assert state is not None
    assert (state.version, state.config.method) == (1, "decoder-only")
    assert len(live.cache) == 1, "the embedding serves the prediction too"
    assert dice_of(live, 2) > 0.9
    assert dice_of(live, 4) > 0.9


def test_what_is_predicted_well_already_is_left_alone(live, volume) -> None:
    live.fit(asked(volume, [sample(volume, 2)]))
    assert live.fit(asked(volume, [sample(volume, 3)], [2], version=2)) is None
    assert live.version == 1


def test_a_mask_that_contradicts_the_model_in_use_is_not_fitted_to(live, volume) -> None:
    live.fit(asked(volume, [sample(volume, 2)]))
    wrong = np.where(block(3) == 1, 0, 1)
    assert live.fit(asked(volume, [sample(volume, 3, wrong)], [2], version=2)) is None
    assert dice_of(live, 4) > 0.9


def test_a_new_class_is_known_at_once(live, volume) -> None:
    live.fit(asked(volume, [sample(volume, 2)]))
    corner = block(3)
    corner[18:, 15:] = 2
    state = live.fit(asked(volume, [sample(volume, 3, corner)], [2], class_ids=(1, 2), version=2))
    assert state is not None
    assert state.class_ids == (1, 2)
    assert dice_of(live, 4) > 0.8


def test_episodes_go_on_from_the_fit(live, volume) -> None:
    fitted = live.fit(asked(volume, [sample(volume, 2)]))
    twin = live.make_twin((1,), AdapterConfig("lora"), 0)
    heads = twin.state_dict()["decoder.heads.0.weight"]
    assert np.allclose(heads, fitted.tensors["decoder.heads.0.weight"])


def test_a_decoder_without_a_closed_form_waits_for_its_episode(live, volume) -> None:
    request = InstantFit((sample(volume, 2),), (), (1,), AdapterConfig(decoder="queries"), WINDOW, 1)
    assert live.fit(request) is None
    assert live.version == 0


def paint(session, index: int, pixels: np.ndarray | None = None) -> None:
    plane = np.zeros(session.annotation.shape, bool)
    plane[index] = block(index) == 1 if pixels is None else pixels
    indices = np.nonzero(plane)
    before = session.annotation[indices]
    session.annotation[indices] = 1
    session.record_edit(indices, before, np.ones(len(before), before.dtype))


def accept(session, index: int) -> None:
    paint(session, index)
    session.accept(SliceKey(0, index))


def test_an_accepted_slice_is_seen_in_the_others_before_any_episode(make_session, queue) -> None:
    session = make_session(policy=NEVER)
    accept(session, 2)
    assert queue.run_until(lambda: session.adapter_version == 1 and not session.refreshing, 30)
    assert session.prediction[4].any()
    session.roll_back()
    assert session.adapter_version == 0
    assert session.config.method == "conv-lora", "episodes train what they did"


def test_where_no_fit_follows_an_accepted_slice_is_seen_in_those_around_it(make_session, queue) -> None:
    session = make_session(policy=NEVER)
    accept(session, 2)
    assert queue.run_until(lambda: session.adapter_version == 1 and not session.refreshing, 30)
    session.set_policy(replace(session.policy, enabled=False))
    before = session.prediction[4].copy()
    for index in (0, 1, 3, 5):
        paint(session, index, np.ones((24, 20), bool))
        session.accept(SliceKey(0, index))
    assert session.refreshing
    assert queue.run_until(lambda: np.count_nonzero(session.prediction[4]) > np.count_nonzero(before), 30)
    assert session.adapter_version == 1


def test_the_plain_model_stays_plain_when_a_reset_overtakes_a_fit(make_session, queue) -> None:
    session = make_session(policy=NEVER)
    accept(session, 2)
    session.reset_adapter()
    done: Future[None] = session._predictor.run(lambda live: None)
    assert queue.run_until(done.done, 30)
    assert session.adapter_version == 0
    assert not session.prediction.any()


def test_slices_accepted_during_an_episode_are_seen_when_it_ends(make_session, queue, monkeypatch) -> None:
    fitted: list[tuple[list[int], list[int]]] = []
    fit = LiveModel.fit

    def remember(live, request):
        fitted.append(tuple([one.key.index for one in part] for part in (request.new, request.known)))
        return fit(live, request)

    monkeypatch.setattr(LiveModel, "fit", remember)
    session = make_session(policy=LearningPolicy(seconds=None, steps=1))
    accept(session, 2)
    assert queue.run_until(lambda: fitted == [([2], [])], 30)
    accept(session, 3)
    assert queue.run_until(lambda: session.learning_state == "idle" and not session.refreshing, 60)
    assert ([3], [2]) in fitted
    assert session._learning.config.method == session._learning.adapter.config.method == "conv-lora"


def test_after_an_update_only_the_last_blocks_run_again(volume, sam, monkeypatch) -> None:
    config = AdapterConfig("lora", last_blocks=1)
    live, plain = LiveModel(volume, sam), LiveModel(volume, sam).embed(SliceKey(0, 1), WINDOW)
    live.expect(config)
    runs: list[int] = []
    for place, blk in enumerate(sam.image_encoder.blocks):
        blk.register_forward_hook(lambda *_, place=place: runs.append(place))
    first = live.embed(SliceKey(0, 1), WINDOW)
    assert runs == [0, 1]
    assert np.allclose(first.features, plain.features, atol=0.02)
    twin = live.make_twin((1,), config, 0)
    for version in (1, 2):
        runs.clear()
        live.publish(AdapterState(version, config, (1,), adapters.state(twin)))
        live.embed(SliceKey(0, 1), WINDOW)
        assert runs == [1]


def test_another_method_keeps_what_it_does_not_change(volume, sam) -> None:
    live = LiveModel(volume, sam)
    for config, kept in ((AdapterConfig("lora", last_blocks=1), 1), (AdapterConfig("lora"), 0)):
        live.expect(config)
        live.cache.clear()
        live.embed(SliceKey(0, 1), WINDOW)
        assert len(live.prefixes) == kept


@pytest.fixture
def log(monkeypatch) -> list[str]:
    """What the predict thread did, in order."""
    done: list[str] = []

    def note(name: str) -> None:
        function = getattr(LiveModel, name)

        def noted(live, *arguments):
            done.append(name)
            return function(live, *arguments)

        monkeypatch.setattr(LiveModel, name, noted)

    for name in ("fit", "mask", "make_twin", "publish"):
        note(name)
    return done


@contextmanager
def held(session) -> Iterator[None]:
    """The predict thread begins nothing meanwhile."""
    go_on = threading.Event()
    session._predictor.run(lambda live: go_on.wait(30))
    try:
        yield
    finally:
        go_on.set()


def test_a_click_goes_before_the_fit_and_the_episode_goes_on_from_the_fit(make_session, queue, log) -> None:
    session = make_session(policy=LearningPolicy(seconds=None, steps=1))
    with held(session):
        accept(session, 2)
        session.set_prompts(SliceKey(0, 4), Prompts(np.array([[9, 9]]), np.array([1])))
    assert queue.run_until(lambda: session.learning_state == "idle" and not session.refreshing, 60)
    assert log == ["mask", "fit", "make_twin", "publish"]


def test_a_fit_that_waits_does_not_follow_an_adapter_that_is_loaded(make_session, queue, log) -> None:
    session = make_session(policy=NEVER)
    with held(session):
        accept(session, 2)
        loading = session._learning.begin_loading()
    assert wait_for_predictor(session, queue)
    assert log == []
    session._learning.end_loading(loading, None, None)
    assert queue.run_until(lambda: session.adapter_version > 0, 30), (
        "nothing was loaded: the fit is asked for again"
    )
    assert log == ["fit"]


def test_an_episode_that_is_dropped_before_it_has_a_twin_makes_none(make_session, queue, log) -> None:
    session = make_session(policy=LearningPolicy(seconds=None, steps=1))
    with held(session):
        accept(session, 2)
        session.reset_adapter()
    assert wait_for_predictor(session, queue)
    assert (log, session.learning_state, session.adapter_version) == ([], "idle", 0)


def wait_for_predictor(session, queue) -> bool:
    """Everything but predictions that was asked of the thread is done."""
    done = session._predictor.run(lambda live: None, urgent=False)
    return queue.run_until(done.done, 30)


def test_the_doubt_that_is_shown_is_that_of_the_prediction_with_its_neighbours(live, volume) -> None:
    live.fit(asked(volume, [sample(volume, 2)]))
    alone = live.uncertainty(SliceKey(0, 4), WINDOW)
    given = {index: np.zeros((24, 20), np.uint16) for index in (3, 5)}
    plan = RefreshPlan(1, WINDOW, SliceKey(0, 4), frozenset(), 6, given)
    live.look(SliceKey(0, 4), plan, near=True)
    joined = live.uncertainty(SliceKey(0, 4), WINDOW)
    assert joined[8:14, 7:12].mean() > alone[8:14, 7:12].mean() + 0.1, (
        "the slices beside it have nothing there"
    )
    assert not live.has_seen(SliceKey(1, 4)), "of another axis"


def test_a_box_is_answered_by_the_adapter_in_use_and_by_the_plain_model_after_a_reset(live) -> None:
    config = AdapterConfig("decoder-only", prompts=True)
    box = PredictRequest(SliceKey(0, 2), WINDOW, Prompts(box=np.array([4.0, 4, 16, 16])), 1, 1)
    plain = live.mask(box).score
    twin = live.make_twin((1,), config, 0)
    with torch.no_grad():
        for name, parameter in adapters.trainable(twin).items():
            if name.startswith("sam.mask_decoder."):
                parameter.add_(0.05)
    assert live.mask(box).score == plain, "the twin's changes are its own"
    state = AdapterState(1, config, (1,), adapters.state(twin))
    live.publish(state)
    tuned = live.mask(box).score
    assert tuned != plain
    assert live._encoder_version == 0, "embeddings stay valid"
    live.reset()
    assert live.mask(box).score == plain
    live.go_back(state)
    assert live.mask(box).score == tuned
