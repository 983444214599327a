"""What an accepted slice says of the slices around it that were predicted before it was accepted."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Volume, take_slice
from napari_samadapt.session.gate import Gate
from napari_samadapt.session.label_book import LabelBook
from napari_samadapt.session.live_model import LiveModel
from napari_samadapt.session.messages import SliceLabels
from napari_samadapt.session.predictor import Predictor
from napari_samadapt.session.refresh import Refresh

COUNT, SHAPE, IDS = 24, (6, 5), (1, 2)
WINDOW = Window(0, 1)


class Desk:
    """Predictions of 24 slices by a decoder that says something else of each slice, and always the same."""

    def __init__(self, live: LiveModel, queue, axis: int) -> None:
        self.queue, self.axis = queue, axis
        self.book = LabelBook(tuple(np.insert(SHAPE, axis, COUNT)))
        self.told: list[SliceLabels] = []
        self.seen: list[tuple[SliceKey, np.ndarray]] = []
        failures: list[str] = []
        self.predictor = Predictor(
            live, Gate(), queue, answered=failures.append, predicted=self._on_told, failed=failures.append
        )
        self.refresh = Refresh(self.predictor, self.book, WINDOW, axis)
        self.refresh.predicted.connect(self._on_shown)

    def _on_told(self, result: SliceLabels) -> None:
        if result.epoch == self.refresh._epoch:
            self.told.append(result)
        self.refresh.take(result)

    def _on_shown(self, key: SliceKey) -> None:
        self.seen.append((key, take_slice(self.book.prediction, key).copy()))

    def predict_all(self) -> np.ndarray:
        """All slices from anew: what there is to see in the end."""
        self.told.clear()
        self.refresh.begin(WINDOW, self.axis, active=True)
        assert self.queue.run_until(lambda: self.wholly >= self.indices, 30)
        return self.book.prediction.copy()

    @property
    def indices(self) -> set[int]:
        """The slices that are not the user's."""
        return set(range(COUNT)) - {key.index for key in self.book.marks}

    @property
    def wholly(self) -> set[int]:
        """The slices of which all was told."""
        return {told.key.index for told in self.told if told.whole}

    def tell_again(self, key: SliceKey) -> None:
        """The user accepted a slice, or touched an accepted one; wait for what that changes."""
        self.told.clear()
        self.seen.clear()
        self.refresh.again([key])
        reach = range(key.index - self.refresh._reach, key.index + self.refresh._reach + 1)
        assert self.queue.run_until(lambda: self.wholly >= self.indices.intersection(reach), 30)


@pytest.fixture(params=[(0, 6.0, 1), (2, 3.0, 3)])
def desk(request, sam, queue, monkeypatch) -> Iterator[Desk]:
    """Along an axis, with slices so many mm apart, of which so many to each side count."""
    axis, apart, reach = request.param
    maps = 3 * torch.randn(COUNT, len(IDS) + 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(LiveModel, "_probabilities", lambda live, key, *_, near: maps[key.index].softmax(0))
    spacing = np.ones(4)
    spacing[2 - axis] = apart
    live = LiveModel(Volume(np.zeros(np.insert(SHAPE, axis, COUNT)), np.diag(spacing)), sam)
    live._model = SimpleNamespace(class_ids=IDS)
    made = Desk(live, queue, axis)
    made.predict_all()
    assert made.refresh._reach == reach
    yield made
    made.predictor.close()


def paint(desk: Desk, key: SliceKey, class_id: int) -> None:
    """The whole slice."""
    labels = take_slice(desk.book.annotation, key)
    before = labels.copy()
    row, column = (part.ravel() for part in np.indices(labels.shape))
    indices = [row, column]
    indices.insert(key.axis, np.full_like(row, key.index))
    labels[...] = class_id
    desk.book.record_stroke(key.axis, tuple(indices), before.ravel(), labels.ravel().copy())


def painted_and_accepted(desk, key):
    """The predictions as they were before the slice was accepted."""
    desk.book.begin_stroke(key)
    paint(desk, key, 2)
    desk.refresh.again([key])
    before = desk.book.prediction.copy()
    desk.book.accept(key)
    desk.tell_again(key)
    return before


@pytest.mark.parametrize("index", [0, 4, 12, COUNT - 2])
def test_the_slices_around_are_told_anew_as_if_all_were(desk, index):
    """Also where what was seen of them was forgotten: the refresh ended far from the middle."""
    key = SliceKey(desk.axis, index)
    before = painted_and_accepted(desk, key)
    after = desk.book.prediction.copy()
    assert (after != before).any()
    assert all(np.array_equal(shown, take_slice(after, one)) for one, shown in desk.seen), (
        "what knows less of its neighbours than what was in sight is not shown meanwhile"
    )
    assert desk.refresh.waiting == 0
    assert np.array_equal(desk.predict_all(), after)


def test_what_a_slice_said_goes_when_it_is_accepted_no_longer(desk):
    key = SliceKey(desk.axis, 12)
    before = painted_and_accepted(desk, key)
    desk.book.undo()
    desk.tell_again(key)
    assert np.array_equal(desk.book.prediction, before)


def test_an_adapter_changed_nothing_where_a_slice_was_accepted(desk):
    key = SliceKey(desk.axis, 12)
    changed = {one: known.changed for one, known in desk.refresh.known.items()}
    desk.book.begin_stroke(key)
    paint(desk, key, 2)
    desk.book.accept(key)
    desk.tell_again(key)
    assert {one: known.changed for one, known in desk.refresh.known.items()} == changed
