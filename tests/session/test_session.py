"""The whole loop on a tiny SAM, with both threads, driven as the window drives it."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.reading import read_labels
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import TrainProgress
from napari_samadapt.session import live_model
from napari_samadapt.session import trainer as trainer_module
from napari_samadapt.session.messages import LearningPolicy, PredictResponse

KEY = SliceKey(0, 2)
BOX = Prompts(box=np.array([4, 5, 14, 16], np.float32))
INSIDE = np.zeros((24, 20), bool)
INSIDE[6:16, 5:14] = True


BLOCK = (slice(6, 16), slice(5, 14))
"""What is bright in every slice."""


def paint(session, index: int, value: int = 1, region: tuple[slice, slice] = BLOCK) -> None:
    """A stroke over a region of a slice."""
    plane = np.zeros(session.annotation.shape, bool)
    plane[(index, *region)] = True
    indices = np.nonzero(plane)
    before = session.annotation[indices]
    session.annotation[indices] = value
    session.record_edit(indices, before, np.full(len(before), value))


def heard(signal) -> list:
    """What a signal says from now on."""
    said: list = []
    signal.connect(lambda *values: said.append(values[0] if len(values) == 1 else values))
    return said


def settled(session) -> bool:
    return session.learning_state in ("idle", "off") and not session.refreshing


@pytest.fixture
def learned(make_session, queue):
    """A session with one accepted slice and an adapter."""
    session = make_session()
    paint(session, 2)
    session.accept(KEY)
    session.start_learning()
    assert queue.run_until(lambda: settled(session), 30)
    assert session.adapter_version == 1
    return session


def test_a_prompt_gives_a_draft_of_the_active_class(make_session, queue):
    session = make_session()
    drafts, changed = heard(session.drafted), heard(session.labels_changed)
    session.select_class(5)
    session.set_prompts(KEY, BOX)
    assert queue.run_until(lambda: bool(drafts), 10)
    assert (drafts[0].key, drafts[0].class_id) == (KEY, 5)
    assert np.array_equal(session.annotation[2] == 5, drafts[0].mask)
    assert changed == [(KEY,)]
    assert session.prompts[KEY] is BOX
    assert session.can_undo == "mask on slice 2"


def test_a_further_click_corrects_the_draft_and_a_new_start_does_not(make_session, queue, monkeypatch):
    session = make_session()
    asked = []
    monkeypatch.setattr(session._predictor, "ask", asked.append)
    session.set_prompts(KEY, BOX)
    session._on_answered(PredictResponse(asked[0], mask=INSIDE, score=0.9))
    click = {"point_coords": [(6, 8)], "point_labels": [1]}
    session.set_prompts(KEY, replace(BOX, **click))
    assert np.array_equal(asked[1].previous, INSIDE)
    assert session.prompts[KEY].mask_input is None, "the user gave no mask"
    session.set_prompts(KEY, Prompts(**click))
    session.select_class(2)
    session.set_prompts(KEY, replace(BOX, **click))
    assert [request.previous is None for request in asked] == [True, False, True, True]


def test_undo_goes_back_through_the_prompts_too(make_session, queue):
    session, drafts = make_session(), []
    session.drafted.connect(drafts.append)
    more = replace(BOX, point_coords=np.array([[9, 9]]), point_labels=np.array([1]))
    for count, prompts in enumerate((BOX, more), start=1):
        session.set_prompts(KEY, prompts)
        assert queue.run_until(lambda count=count: len(drafts) == count, 10)
    session.undo()
    assert session.prompts[KEY] is BOX
    session.undo()
    assert KEY not in session.prompts
    assert not session.annotation.any()
    session.redo()
    assert session.prompts[KEY] is BOX


def test_only_the_newest_answer_of_a_slice_counts(make_session, queue):
    session, drafts = make_session(), []
    session.drafted.connect(drafts.append)
    first = threading.Event()
    held = session._predictor.run(lambda live: first.wait(5))
    session.set_prompts(KEY, BOX)
    session.set_prompts(KEY, newest := replace(BOX, box=np.array([0, 0, 3, 3])))
    first.set()
    held.result(5)
    assert queue.run_until(lambda: bool(drafts), 10)
    queue.run_posted()
    assert [draft.prompts for draft in drafts] == [newest]


@pytest.mark.parametrize("act", ["accept", "reject", "clear_prompts", "keep_draft"])
def test_an_answer_that_comes_after_the_slice_was_settled_is_dropped(make_session, queue, act):
    session, drafts = make_session(), []
    session.drafted.connect(drafts.append)
    session.set_prompts(KEY, BOX)
    getattr(session, act)(KEY)
    session._predictor.run(lambda live: None).result(10)
    session._predictor.run(lambda live: None).result(10)
    queue.run_posted()
    assert not drafts
    assert not session.annotation.any()


def test_prompts_that_cannot_be_used_are_refused_at_once(make_session):
    session = make_session()
    with pytest.raises(SamAdaptError, match="outside"):
        session.set_prompts(KEY, Prompts(point_coords=np.array([[90, 1]]), point_labels=np.array([1])))
    session.set_locked(1, True)
    with pytest.raises(SamAdaptError, match="liver is locked"):
        session.set_prompts(KEY, BOX)
    assert not session.prompts


def test_an_episode_predicts_the_slices_that_were_not_touched(learned):
    states = [learned.slice_state(SliceKey(0, index)) for index in range(6)]
    assert states == ["predicted", "predicted", "accepted", "predicted", "predicted", "predicted"]
    assert not learned.prediction[2].any()


def test_export_is_what_is_displayed(learned, tmp_path):
    path = learned.export(tmp_path / "masks.nii.gz")
    written, _ = read_labels(path, learned.volume)
    assert np.array_equal(written, learned.displayed())
    assert np.array_equal(written[2], learned.annotation[2])
    assert (tmp_path / "masks.json").is_file()


def test_the_slice_on_screen_is_refreshed_first_then_its_neighbours(make_session, queue):
    session = make_session()
    order = heard(session.predicted)
    progress = heard(session.refresh_progress)
    paint(session, 0)
    session.accept(SliceKey(0, 0))
    session.look_at(SliceKey(0, 4))
    session.start_learning()
    assert queue.run_until(lambda: settled(session), 30)
    assert list(dict.fromkeys(key.index for key in order)) == [4, 3, 5, 2, 1], (
        "first looked at, then told again"
    )
    assert progress[0] == (0, 5)
    assert progress[-1] == (5, 5)


def test_nothing_is_encoded_twice_for_clicks_and_a_decoder_that_leaves_the_encoder_alone(
    make_session, queue, monkeypatch
):
    encoded = []
    encode = live_model.encode_slice
    monkeypatch.setattr(
        live_model, "encode_slice", lambda sam, image: encoded.append(image) or encode(sam, image)
    )
    session, drafts = make_session(adapter=AdapterConfig(method="decoder-only")), []
    session.drafted.connect(drafts.append)
    for count in (1, 2, 3):
        session.set_prompts(KEY, BOX)
        assert queue.run_until(lambda count=count: len(drafts) == count, 10)
    session.accept(KEY)
    paint(session, 2)
    session.accept(KEY)
    session.start_learning()
    assert queue.run_until(lambda: settled(session), 30)
    assert len(encoded) <= 6, "six slices, each encoded at most once"


def test_episodes_start_by_themselves_after_so_many_new_slices(make_session, queue):
    policy = LearningPolicy(seconds=None, steps=1, every_n_slices=2)
    session = make_session(policy=policy)
    states = heard(session.learning_changed)
    paint(session, 0)
    session.accept(SliceKey(0, 0))
    assert session.learning_state == "idle"
    paint(session, 1)
    session.accept(SliceKey(0, 1))
    assert session.learning_state == "training"
    assert queue.run_until(lambda: session.adapter_version == 3 and settled(session), 30)
    assert states == ["training", "idle"]


def test_slices_accepted_during_an_episode_start_another(make_session, queue):
    session = make_session(policy=LearningPolicy(seconds=None, steps=1))
    for index in range(3):
        paint(session, index)
        session.accept(SliceKey(0, index))
    finished = heard(session.learning_changed)
    assert queue.run_until(lambda: finished.count("idle") == 2 and settled(session), 30)


def test_slices_without_a_label_start_nothing(make_session):
    session = make_session(policy=LearningPolicy(seconds=None, steps=1))
    session.accept(KEY)
    assert session.learning_state == "idle"
    with pytest.raises(SamAdaptError, match="no accepted slice with a label"):
        session.start_learning()


def test_late_predictions_do_not_touch_what_was_painted_meanwhile(learned, queue):
    learned.start_learning()
    assert queue.run_until(lambda: learned.adapter_version == 2, 30)
    paint(learned, 3, value=2)  # before the refresh got there
    learned.accept(SliceKey(0, 3))
    kept = learned.annotation.copy()
    assert queue.run_until(lambda: settled(learned), 30)
    assert np.array_equal(learned.annotation, kept)
    assert not learned.prediction[3].any()


def test_a_slice_given_back_is_predicted_by_the_adapter_in_use(learned, queue):
    seen = heard(learned.predicted)
    learned.reject(KEY)
    assert learned.slice_state(KEY) in ("empty", "predicted")
    assert queue.run_until(lambda: KEY in seen, 10)
    assert learned.slice_state(KEY) == "predicted"
    assert learned.undo() == "cleared slice 2"
    assert learned.slice_state(KEY) == "accepted"


def test_invalid_numbers_reject_the_update_and_keep_the_model(learned, queue, monkeypatch):
    def diverging(model, samples, config, held_out=()):
        raise FloatingPointError("the loss became nan")
        yield

    learned._trainer._loop = diverging
    failures = heard(learned.failed)
    before = learned.prediction.copy()
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned) and bool(failures), 30)
    assert failures == [trainer_module.REJECTED]
    assert learned.adapter_version == 1
    assert np.array_equal(learned.prediction, before)


def test_slices_of_an_update_that_was_kept_back_are_left_out_until_start_or_another_accept(
    learned, queue, monkeypatch
):
    episodes, failures = [], heard(learned.failed)
    dice = {"judge": iter([0.9, 0.5])}  # before and after the update

    def judged(model, samples, class_ids):
        return 0.0 if samples[0].key.index == 3 else next(dice["judge"], 0.9)

    def remember(model, samples, config, held_out=()):
        episodes.append([sample.key.index for sample in samples])
        yield TrainProgress(1, 0.1, 1.0, 1.0, ())

    monkeypatch.setattr(trainer_module, "held_out_dice", judged)
    monkeypatch.setattr(live_model.LiveModel, "fit", lambda live, asked: None)
    learned._trainer._loop = remember
    learned.set_policy(replace(learned.policy, enabled=True))
    for index in (3, 4):  # slice 3 contradicts the model in use
        paint(learned, index)
        learned.accept(SliceKey(0, index))
        assert queue.run_until(lambda: settled(learned), 30)
    assert (episodes, learned.adapter_version) == ([[2, 3], [2, 4]], 4)
    assert len(failures) == 1
    assert "slice 3 is left out" in failures[0]
    paint(learned, 3, value=2)
    learned.accept(SliceKey(0, 3))
    assert queue.run_until(lambda: settled(learned), 30)
    assert episodes[2:] == [[2, 3, 4]], "another mask is another chance"
    dice["judge"] = iter([0.9, 0.5])
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    assert len(failures) == 2
    assert "left out" not in failures[1], "no slice is new"


def test_pause_resume_and_stop(make_session, queue):
    session = make_session(policy=LearningPolicy(seconds=None, steps=10_000, enabled=False))
    steps = heard(session.progress)
    paint(session, 2)
    session.accept(KEY)
    session.start_learning()
    assert queue.run_until(lambda: bool(steps), 30)
    session.pause()
    assert session.learning_state == "paused"
    session.resume()
    assert session.learning_state == "training"
    session.stop()
    assert queue.run_until(lambda: settled(session), 10)
    assert session.adapter_version == 1, "what was learned up to the stop is used"
    assert session.learning_state == "off"


def test_a_reset_forgets_what_was_learned_and_no_version_is_used_twice(learned, queue):
    versions = heard(learned.adapter_changed)
    learned.reset_adapter()
    assert not learned.prediction.any()
    assert learned.slice_state(SliceKey(0, 0)) == "empty"
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    assert versions == [0, 2]


def test_a_roll_back_serves_the_adapter_before_and_in_the_end_the_plain_model(learned, queue):
    first, shown = learned._learning.adapter, learned.prediction.copy()
    for version in (2, 3):
        learned.start_learning()
        assert queue.run_until(lambda version=version: learned.adapter_version == version, 30)
    assert queue.run_until(lambda: settled(learned), 30)
    versions = heard(learned.adapter_changed)
    learned.roll_back()
    learned.roll_back()
    assert learned.refreshing, "everything is predicted again"
    assert queue.run_until(lambda: settled(learned), 30)
    assert (learned.adapter_version, learned._learning.adapter) == (1, first)
    assert np.array_equal(learned.prediction, shown)
    assert learned.made_by(SliceKey(0, 0)) == 1
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    assert versions == [2, 1, 4], "a number belongs to the same weights for ever"
    learned.roll_back()
    assert learned.can_roll_back
    learned.roll_back()
    assert (learned.adapter_version, learned.can_roll_back) == (0, False)
    assert not learned.prediction.any()
    with pytest.raises(SamAdaptError, match="plain model is in use"):
        learned.roll_back()


def test_learning_goes_on_from_what_a_roll_back_serves(learned, queue, monkeypatch):
    learned.start_learning()
    assert queue.run_until(lambda: learned.adapter_version == 2, 30)
    steps = heard(learned.progress)
    learned.set_policy(replace(learned.policy, steps=10_000))
    learned.start_learning()
    assert queue.run_until(lambda: bool(steps), 30)
    learned.roll_back()
    assert learned.learning_state == "off", "the episode would have gone on from what was taken back"
    first = learned._learning.adapter.tensors
    starts = []

    def remember(model, samples, config, held_out=()):
        starts.append(adapters.state(model))
        return iter(())

    learned._trainer._loop = remember
    learned.start_learning()
    assert queue.run_until(lambda: bool(starts) and settled(learned), 30)
    assert all(torch.equal(starts[0][name], first[name]) for name in first)
    assert learned.adapter_version == 1


def test_a_roll_back_crosses_a_change_of_method(learned, queue, tmp_path):
    saved = learned.save_adapter(tmp_path / "liver.safetensors").result(10)
    learned.set_method(AdapterConfig("lora"))
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    applied = learned.apply_adapter(saved)
    assert queue.run_until(applied.done, 10)
    assert learned.config.method == "conv-lora"
    learned.roll_back()
    assert queue.run_until(lambda: settled(learned), 30)
    assert (learned.config.method, learned.adapter_version) == ("lora", 2)
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    assert learned.config.method == "lora"


@pytest.mark.parametrize("method", ["lora", "decoder-only", "conv-lora"])
def test_another_method_starts_afresh(learned, queue, method):
    learned.set_method(AdapterConfig(method=method))
    assert learned.adapter_version == 0
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    assert learned.adapter_version == 2
    assert learned.config.method == method


def test_another_decoder_starts_afresh_and_goes_on_with_new_classes(learned, queue):
    learned.set_method(AdapterConfig("decoder-only", decoder="queries"))
    assert learned.adapter_version == 0
    learned.set_policy(replace(learned.policy, steps=1))
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    old = learned._learning.adapter.tensors["decoder.answer.class_head.bias"]
    added = learned.add_class("aorta")
    paint(learned, 4, value=added.id)
    learned.accept(SliceKey(0, 4))
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    new = learned._learning.adapter.tensors["decoder.answer.class_head.bias"]
    assert np.allclose(new[[0, 1, 3]], old, atol=0.01), "background, the first class and no object"


def test_a_new_class_goes_on_from_what_the_others_learned(learned, queue):
    old = learned._learning.adapter.tensors["decoder.heads.0.weight"]
    added = learned.add_class("aorta")
    learned.set_policy(replace(learned.policy, steps=1))
    paint(learned, 4)
    paint(learned, 4, value=added.id, region=(slice(18, 22), slice(2, 20)))
    learned.accept(SliceKey(0, 4))
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    adapter = learned._learning.adapter
    assert adapter.class_ids == (1, added.id)
    new = adapter.tensors["decoder.heads.0.weight"]
    assert np.corrcoef(new[:2].flatten(), old.flatten())[0, 1] > 0.9


def test_an_adapter_goes_to_a_file_and_back_with_the_same_prediction(learned, queue, tmp_path):
    path = tmp_path / "a.safetensors"
    saved = learned.save_adapter(path)
    assert saved.result(10) == path
    before = learned.prediction.copy()
    learned.reset_adapter()
    learned.remove_class(5)
    applied = learned.apply_adapter(path)
    assert queue.run_until(lambda: applied.done() and settled(learned), 10)
    assert applied.exception() is None
    assert learned.adapter_version == 2
    assert np.array_equal(learned.prediction, before)


def test_a_file_that_is_no_adapter_leaves_the_model_as_it_was(learned, queue, tmp_path):
    failures, before = heard(learned.failed), learned.prediction.copy()
    applied = learned.apply_adapter(tmp_path / "missing.safetensors")
    assert queue.run_until(applied.done, 10)
    assert "There is no adapter at" in failures[0]
    assert learned.adapter_version == 1
    learned.set_window(Window(0.0, 2.0))
    learned.set_window(Window(0.0, 1.0))
    assert queue.run_until(lambda: settled(learned), 10)
    assert np.array_equal(learned.prediction, before), "the old adapter still predicts"


def test_a_sam_that_served_one_session_starts_plain_in_the_next(learned, make_session, queue):
    learned.close()
    session = make_session()
    assert session.adapter_version == 0
    paint(session, 2)
    session.accept(KEY)
    session.start_learning()
    assert queue.run_until(lambda: settled(session), 30)
    assert session.adapter_version == 1


def test_samples_follow_the_grey_values(learned, queue):
    learned.set_window(Window(0.0, 2.0))
    episodes = []
    start = learned._trainer.start
    learned._trainer.start = lambda episode, *rest: episodes.append(episode) or start(episode, *rest)
    learned.start_learning()
    assert queue.run_until(lambda: settled(learned), 30)
    assert np.allclose(episodes[0].samples[0].image, learned.volume.data[2] / 2, atol=1e-6)


def test_before_anything_was_learned_there_is_nothing_to_save(make_session, tmp_path):
    with pytest.raises(SamAdaptError, match="nothing to save yet"):
        make_session().save_adapter(tmp_path / "a.safetensors")


def test_what_is_predicted_stays_along_another_axis_until_a_slice_of_it_is_accepted(learned, queue):
    """All was thrown away at the first look, for predictions of slices such as the model had never learned from."""
    assert queue.run_until(lambda: settled(learned), 30)
    kept, seen = learned.annotation.copy(), learned.prediction.copy()
    predicted = heard(learned.predicted)
    learned.set_axis(1)
    across = SliceKey(1, next(index for index in range(seen.shape[1]) if seen[:, index].any()))
    assert queue.run_until(lambda: settled(learned), 30)
    assert (learned.prediction == seen).all()
    assert learned.slice_state(across) == "predicted"
    assert (predicted, learned.unseen) == ([], 0)
    with pytest.raises(SamAdaptError, match="no accepted slice"):
        learned.start_learning()
    learned.accept(across)
    assert (take_slice(learned.annotation, across) == take_slice(kept + seen, across)).all()
    learned.undo()
    assert (learned.prediction == seen).all(), "a slice that is given back shows what it showed"
    learned.set_axis(0)
    assert (predicted, learned.accepted) == ([], {KEY})


def test_an_accepted_slice_of_another_axis_is_predicted_from(learned, queue):
    assert queue.run_until(lambda: settled(learned), 30)
    kept = learned.annotation.copy()
    learned.set_axis(1)
    learned.set_policy(LearningPolicy(seconds=None, steps=2, enabled=True))
    learned.accept(SliceKey(1, 8))
    predicted = heard(learned.predicted)
    assert queue.run_until(lambda: learned.adapter_version > 1 and settled(learned), 30)
    assert {key.axis for key in predicted} == {1}
    assert (learned.annotation[2] == kept[2]).all()
    assert not learned.prediction[2].any(), "the accepted slice is crossed by every new one"


def test_a_removed_class_is_no_longer_predicted(learned, queue):
    learned.undo()
    learned.undo()
    assert not learned.annotation.any()
    learned.remove_class(1)
    assert not learned.prediction.any()
    learned.set_window(Window(0.0, 3.0))
    assert queue.run_until(lambda: settled(learned), 30)
    assert not learned.prediction.any()


def test_closing_during_an_episode_takes_less_than_two_seconds(make_session, queue):
    session = make_session(policy=LearningPolicy(seconds=None, steps=10_000, enabled=False))
    steps = heard(session.progress)
    paint(session, 2)
    session.accept(KEY)
    session.start_learning()
    assert queue.run_until(lambda: bool(steps), 30)
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 2
    assert not session._trainer._thread.is_alive()
    assert not session._predictor._thread.is_alive()
    queue.run_posted()  # what was under way is dropped
    assert session.adapter_version == 0


def test_clicks_are_answered_while_learning_and_the_live_model_is_not_trained(make_session, queue):
    session = make_session(policy=LearningPolicy(seconds=None, steps=10_000, enabled=False))
    steps, drafts = heard(session.progress), heard(session.drafted)
    paint(session, 2)
    session.accept(KEY)
    session.set_prompts(SliceKey(0, 4), BOX)
    assert queue.run_until(lambda: len(drafts) == 1, 10)
    session.start_learning()
    assert queue.run_until(lambda: len(steps) >= 2, 30)
    session.set_prompts(SliceKey(0, 4), replace(BOX, mask_input=None))
    assert queue.run_until(lambda: len(drafts) == 2, 10)
    assert session.learning_state == "training"
    assert np.array_equal(drafts[0].mask, drafts[1].mask)
    assert drafts[0].score == drafts[1].score
