"""What one can see of the learning: updates, accepted slices against what was predicted, doubt, past predictions."""

import math

import numpy as np
import pytest

from napari_samadapt.imaging.metrics import dice, hd95
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.learning import adapters
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.predict import encode_slice
from napari_samadapt.learning.semantic import SemanticSam, class_probabilities, segment_slice, uncertainty
from napari_samadapt.session.insight import slice_agreement
from napari_samadapt.session.messages import LearningPolicy, SliceLabels
from napari_samadapt.session.past_predictions import PastPredictions

KEY = SliceKey(0, 2)


def paint(session, key, class_id, box=(4, 16, 4, 14)):
    """Paint a rectangle (row from, row to, column from, column to) as one stroke."""
    session.begin_edit(key)
    top, bottom, left, right = box
    y, x = (part.ravel() for part in np.mgrid[top:bottom, left:right])
    indices = (np.full(y.size, key.index), y, x)
    before = session.annotation[indices].copy()
    after = np.full(y.size, class_id, np.uint16)
    session.annotation[indices] = after
    session.record_edit(indices, before, after)


@pytest.fixture
def learned(make_session, queue):
    """A session after its first episode, on slices 1 and 4, with everything predicted."""
    session = make_session()
    for index in (1, 4):
        paint(session, SliceKey(0, index), 1)
        session.accept(SliceKey(0, index))
    session.start_learning()
    assert queue.run_until(lambda: session.adapter_version > 0 and session.learning_state == "off")
    assert queue.run_until(lambda: not session.refreshing)
    return session


def test_an_episode_is_told_with_what_it_learned_from(learned):
    (update,) = learned.insight.updates
    assert (update.kind, update.version, update.reason) == ("episode", learned.adapter_version, "")
    assert update.slices == {SliceKey(0, 1), SliceKey(0, 4)}
    assert update.steps == 2
    assert f"adapter {update.version}, learned from 2 slices" in learned.insight.describe(update.version)
    assert learned.insight.describe(0) == "the plain model"
    learned.roll_back()
    assert [one.kind for one in learned.insight.updates] == ["episode", "reset"]


def test_an_episode_that_fails_is_told_with_the_reason(make_session, queue, monkeypatch):
    from napari_samadapt.session import trainer

    session = make_session()
    paint(session, KEY, 1)
    session.accept(KEY)

    def fails(*_):
        raise FloatingPointError

    monkeypatch.setattr(trainer, "_run_steps", fails)
    session.start_learning()
    assert queue.run_until(lambda: session.insight.updates)
    (update,) = session.insight.updates
    assert (update.kind, update.version, update.reason) == ("episode", 0, trainer.REJECTED)


def test_heads_fitted_at_once_are_told(make_session, queue):
    session = make_session(policy=LearningPolicy(seconds=None, steps=1, every_n_slices=9))
    paint(session, KEY, 1)
    session.accept(KEY)
    assert queue.run_until(lambda: session.insight.updates)
    assert session.insight.updates[0].kind == "fit"
    assert "fitted at once to 1 slice" in session.insight.describe(session.insight.updates[0].version)


def test_an_accepted_slice_is_compared_with_what_was_predicted_before_it_was_touched(learned, queue):
    said = take_slice(learned.prediction, KEY).copy()
    paint(learned, KEY, 2, (5, 9, 6, 12))
    paint(learned, KEY, 1, (10, 14, 6, 12))
    learned.accept(KEY)
    queue.run_until(lambda: learned.insight.accepted[-1].dice is not None)
    seen = learned.insight.accepted[-1]
    labels = take_slice(learned.annotation, KEY)
    assert (seen.key, seen.corrections, seen.made_by) == (KEY, 2, learned.adapter_version)
    assert seen.dice == slice_agreement(said, labels, (1.0, 1.0))[0]
    assert learned.insight.accepted[0].dice is None, "nothing was predicted when the first slice was accepted"
    learned.undo()
    assert KEY not in [one.key for one in learned.insight.accepted]


def measured_dice(session, queue) -> float:
    """Of the slice accepted last against what was predicted of it."""
    assert queue.run_until(lambda: session.insight.accepted[-1].dice is not None)
    return session.insight.accepted[-1].dice


def test_what_is_told_of_a_slice_that_was_touched_is_not_what_was_predicted_before(learned, queue):
    """A slice is told once more when the slices around it were looked at: maybe after the user's first stroke."""
    said, version = take_slice(learned.prediction, KEY).copy(), learned.adapter_version
    told = SliceLabels(KEY, 1 - said, learned._refresh._epoch, 0.1, version)
    paint(learned, KEY, 1, (10, 14, 6, 12))
    learned._on_predicted(told)
    assert np.array_equal(learned.insight.past.get(KEY, version), said)
    learned.accept(KEY)
    assert measured_dice(learned, queue) == slice_agreement(said, learned.annotation[2], (1.0, 1.0))[0]
    learned.undo()
    learned.undo()
    assert KEY not in learned.edited
    assert np.array_equal(take_slice(learned.prediction, KEY), told.labels)
    learned.accept(KEY)
    assert measured_dice(learned, queue) == 1, (
        "given back, it is what was in sight before it was touched again"
    )


def test_prompts_count_as_corrections(make_session, queue):
    session = make_session()
    session.set_prompts(KEY, Prompts(point_coords=[[8, 8]], point_labels=[1]))
    assert queue.run_until(lambda: KEY in session.edited)
    session.accept(KEY)
    assert session.insight.accepted[0].corrections == 1


def test_the_agreement_of_slices_is_the_mean_over_the_classes_of_either():
    said, labels = np.zeros((2, 12, 10), np.uint16)
    said[2:6, 2:6] = labels[3:7, 2:6] = 1
    labels[8:10, 2:4] = 2
    mean_dice, mean_hd95 = slice_agreement(said, labels, (0.5, 1.0))
    assert mean_dice == pytest.approx(dice(said == 1, labels == 1) / 2)
    assert mean_hd95 == pytest.approx(hd95(said == 1, labels == 1, (0.5, 1.0)))
    assert math.isnan(slice_agreement(said * 0, labels * 0, (1.0, 1.0))[0])


def test_the_model_says_where_it_is_unsure(learned, queue):
    told = []
    learned.insight.uncertain.connect(told.append)
    learned.insight.ask_uncertainty(SliceKey(0, 0))
    learned.insight.ask_uncertainty(KEY)
    assert queue.run_until(lambda: told)
    queue.run_posted()
    (found,) = told
    assert (found.key, found.version) == (KEY, learned.adapter_version)
    assert found.values.shape == learned.volume.shape[1:]
    assert 0 <= found.values.min() <= found.values.max() <= 1


def test_the_plain_model_has_no_doubt_to_tell(make_session, queue):
    session, told = make_session(), []
    session.insight.uncertain.connect(told.append)
    session.failed.connect(told.append)
    session.insight.ask_uncertainty(KEY)
    assert not queue.run_until(lambda: told, timeout=0.5)


def test_uncertainty_is_one_minus_the_margin(sam):
    adapters.insert(sam, AdapterConfig("decoder-only"))
    model = SemanticSam(sam, (1, 4))
    image = np.random.default_rng(0).random((24, 20), dtype=np.float32)
    embedding = encode_slice(sam, image)
    values = uncertainty(class_probabilities(model, image, embedding))
    _, confidence = segment_slice(model, image)
    assert (values >= 1 - confidence - 1e-6).all(), "the margin is never above the confidence"
    assert (values <= 2 * (1 - confidence) + 1e-6).all()


def test_past_predictions_are_kept_by_adapter_and_forgotten_oldest_first():
    rng = np.random.default_rng(0)
    first, second, third = (rng.integers(0, 9, (20, 30)).astype(np.uint16) for _ in range(3))
    past = PastPredictions()
    past.put(KEY, 1, first)
    past.put(KEY, 2, second)
    past.put(SliceKey(0, 3), 2, third)
    assert past.versions(KEY) == (1, 2)
    assert np.array_equal(past.get(KEY, 1), first)
    assert np.array_equal(past.get(KEY, 2), second)
    past.put(KEY, 1, third)
    assert past.versions(KEY) == (2, 1), "after a roll-back the newest is that of the earlier adapter"
    small = PastPredictions(limit=1)
    small.put(KEY, 1, first)
    small.put(KEY, 2, second)
    assert small.versions(KEY) == (2,)
