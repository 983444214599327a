"""Batch adaptation: what is read of the labels, what is refused, and that predictions land on their slices."""

import types

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.learning.adapters import AdapterConfig
from napari_samadapt.learning.fine_tune import FineTuneConfig, TrainProgress
from napari_samadapt.session import batch

VOLUME = Volume(np.arange(60.0).reshape(3, 4, 5), np.eye(4))
WINDOW = Window(0.0, 59.0)


def test_labelled_slices_are_copies_of_the_named_ones():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1] = 7
    slices = batch.labelled_slices(labels, [SliceKey(0, 1), SliceKey(0, 2)])
    labels[:] = 9
    assert [np.unique(values).tolist() for values in slices.values()] == [[7], [0]]


@pytest.mark.parametrize(
    ("highest", "words"),
    [(0, r"no label in the named slices \(0, 2 of axis 0\)"), (70000, "70000 is too large")],
)
def test_slices_that_cannot_be_learnt_from(highest, words):
    labels = np.zeros((3, 4, 5), np.uint32)
    labels[0, 0, 0] = highest
    labels[1] = 5
    with pytest.raises(SamAdaptError, match=words):
        batch.labelled_slices(labels, [SliceKey(0, 0), SliceKey(0, 2)])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_predictions_land_on_their_slices(monkeypatch, axis):
    """A stand-in model that gives each pixel the rank of its grey value, and is sure of it."""

    def ranks(model, image):
        classes = torch.arange(60)[:, None, None]
        return (classes == torch.from_numpy(np.rint(image * 59))).float()

    monkeypatch.setattr(batch, "class_probabilities", ranks)
    monkeypatch.setattr(batch, "slice_weights", lambda volume, axis, classes: (1.0, 0.3))
    seen = []
    model = types.SimpleNamespace(class_ids=range(1, 60))
    predicted = batch.predict_volume(
        model,
        VOLUME,
        axis,
        WINDOW,
        lambda done, count: seen.append((done, count)),
    )
    np.testing.assert_array_equal(predicted, np.arange(60).reshape(3, 4, 5))
    assert seen[-1] == (VOLUME.shape[axis], VOLUME.shape[axis])


def test_an_episode_tells_each_step_and_sums_them_up(monkeypatch):
    steps = [TrainProgress(1, 0.1, 0.5, 2.0, ()), TrainProgress(2, 0.2, 1.0, 1.0, (), 0.8)]
    monkeypatch.setattr(batch, "fine_tune", lambda *arguments: iter(steps))
    seen = []
    episode = batch.run_episode(None, (), FineTuneConfig(steps=2), seen.append)
    assert seen == steps
    assert episode == batch.EpisodeReport(steps=2, seconds=0.2, loss=1.0, held_out_dice=0.8)


def test_a_loss_that_is_no_number_is_told_plainly(monkeypatch):
    def fail(*arguments):
        raise FloatingPointError("the loss became nan")
        yield

    monkeypatch.setattr(batch, "fine_tune", fail)
    with pytest.raises(SamAdaptError, match="the loss became nan"):
        batch.run_episode(None, (), FineTuneConfig())


def test_specks_of_a_class_in_one_piece_are_dropped(monkeypatch):
    predicted = np.zeros((3, 8, 8), np.uint16)
    predicted[:, :5, :5] = 4
    predicted[:, :2, 6:] = 9
    predicted[0, 7, 7] = 4
    predicted[0, 7, 0] = 9
    slices = {SliceKey(0, 1): np.array([[4, 4, 0, 9, 0, 9]], np.uint16)}
    model = types.SimpleNamespace(sam=types.SimpleNamespace())
    monkeypatch.setattr(batch, "new_model", lambda *_: model)
    monkeypatch.setattr(batch, "training_samples", lambda *_: ())
    monkeypatch.setattr(batch, "run_episode", lambda *_: batch.EpisodeReport(1, 0.1, 0.5, None))
    monkeypatch.setattr(batch, "predict_volume", lambda *_: predicted.copy())
    monkeypatch.setattr(batch.adapters, "trainable", lambda _: {})
    monkeypatch.setattr(batch.adapters, "relation_log_condition", lambda _: None)
    sam = types.SimpleNamespace(model_type="tiny", device="cpu")
    adapted = batch.adapt_volume(
        sam, VOLUME, slices, adapter=AdapterConfig(), config=FineTuneConfig(), window=WINDOW
    )
    changed = np.argwhere(adapted.prediction != predicted).tolist()
    assert changed == [[0, 7, 7]], "9 was in two pieces: its small parts may be real"
