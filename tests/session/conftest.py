"""A tiny SAM, a small volume, and a session on an event queue that is always closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import Volume
from napari_samadapt.learning.promptable_sam import PromptableSam
from napari_samadapt.session.headless import EventQueue
from napari_samadapt.session.keeping import Keeping
from napari_samadapt.session.messages import LearningPolicy, PredictResponse
from napari_samadapt.session.session import Session

SHAPE = (6, 24, 20)
SMALL = (4, 5, 6)


class Desk(Keeping):
    """A session of 4 × 5 × 6 voxels whose model is asked, and answers when told to."""

    def __init__(self) -> None:
        names = {1: "liver", 2: "spleen", 5: "kidney"}
        super().__init__(Volume(np.zeros(SMALL), np.eye(4)), Window(0, 1), 0, names)
        self.asked = []

    def _ask(self, request) -> None:
        self.asked.append(request)

    def _on_changed(self, keys) -> None:
        pass

    def answer(self, mask) -> None:
        """SAM's mask for what was asked last."""
        self._on_answered(PredictResponse(self.asked[-1], mask, 0.9))

    def predict(self, key, labels) -> None:
        """What the automatic model says of a slice."""
        self._book.put_prediction(key, labels)

    def paint(self, index: int, value: int, rows=slice(1, 4), columns=slice(1, 4)) -> None:
        """A stroke of the brush."""
        plane = np.zeros(SMALL, bool)
        plane[index, rows, columns] = True
        indices = np.nonzero(plane & (self.annotation != value))
        before = self.annotation[indices]
        self.annotation[indices] = value
        self.record_edit(indices, before, np.full(len(before), value))

    @property
    def state(self) -> tuple:
        """Everything the user made, to be compared."""
        book = self._book
        marks = {key: (mark.accepted, mark.proposed, mark.draft is None) for key, mark in book.marks.items()}
        return self.annotation.tolist(), book._fixed.tolist(), marks, self.classes

    @property
    def steps(self) -> tuple:
        """What undo and redo would do."""
        return self.can_undo, self.can_redo


@pytest.fixture(scope="session")
def make_desk() -> Callable[[], Desk]:
    return Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def sam(make_small_sam: Callable[[], PromptableSam]) -> PromptableSam:
    """A complete SAM of 64 pixels with random weights."""
    return make_small_sam()


@pytest.fixture
def volume() -> Volume:
    """A bright block on noise."""
    data = np.random.default_rng(0).normal(0.2, 0.05, SHAPE)
    data[:, 6:16, 5:14] += 0.6
    return Volume(data.astype(np.float32), np.eye(4))


@pytest.fixture
def queue() -> EventQueue:
    return EventQueue()


@pytest.fixture
def make_session(sam, volume, queue) -> Iterator[Callable[..., Session]]:
    """Sessions with three classes and, unless told otherwise, short episodes that start by hand."""
    opened: list[Session] = []

    def make(**changes) -> Session:
        settings = {
            "post": queue,
            "axis": 0,
            "window": Window(0.0, 1.0),
            "classes": {1: "liver", 2: "spleen", 5: "kidney"},
            "policy": LearningPolicy(seconds=None, steps=2, enabled=False),
        }
        opened.append(Session(changes.pop("volume", volume), sam, **settings | changes))
        return opened[-1]

    yield make
    for session in opened:
        session.close()
