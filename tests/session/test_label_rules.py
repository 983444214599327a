"""What may overwrite what: random sequences of everything a user and late answers can do, against plain rules."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, Volume, take_slice
from napari_samadapt.session.labelling import Labelling
from napari_samadapt.session.messages import PredictResponse

SHAPE = (3, 4, 5)
CLASSES = (1, 2, 3)
SEEDS = st.integers(0, 2**16)


class Desk(Labelling):
    """A session whose model is asked and may answer whenever it wants."""

    def __init__(self) -> None:
        super().__init__(
            Volume(np.zeros(SHAPE), np.eye(4)), Window(0, 1), 0, {i: f"class {i}" for i in CLASSES}
        )
        self.asked = []
        self.changed = []

    def _ask(self, request) -> None:
        self.asked.append(request)

    def _on_changed(self, keys) -> None:
        self.changed.append(keys)

    def answer(self, request, mask) -> None:
        self._on_answered(PredictResponse(request, mask, 0.9))

    def predict(self, key, labels) -> None:
        self._book.put_prediction(key, labels)


def region(seed: int, shape) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.4


class AnythingCanHappen(RuleBasedStateMachine):
    """`hand` holds the voxels that the user painted and their values, by a rule of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.hand: dict[tuple[int, int, int], int] = {}
        self.undo_stack: list[tuple] = []
        self.redo_stack: list[tuple] = []

    def state(self) -> tuple:
        desk = self.desk
        return desk.annotation.copy(), desk.accepted, desk.edited, deepcopy(self.hand)

    def step(self, act) -> None:
        """Do something that may be one undo step."""
        before, done = self.state(), list(self.desk._book.history._done)
        act()
        now = self.desk._book.history._done
        if now and (not done or now[-1] is not done[-1]):
            self.redo_stack.clear()
            if len(now) > len(done):  # a stroke joins what `begin_edit` did: one step
                self.undo_stack.append(before)

    def keys_along_axis(self, index: int) -> SliceKey:
        axis = self.desk.axis
        return SliceKey(axis, index % SHAPE[axis])

    # What the user does.

    @rule(index=st.integers(0, 4), seed=SEEDS, value=st.sampled_from((0, *CLASSES)), begins=st.booleans())
    def paint(self, index, seed, value, begins) -> None:
        key, desk = self.keys_along_axis(index), self.desk
        if begins:
            self.step(lambda: desk.begin_edit(key))
        stroke = np.zeros(SHAPE, bool)
        take_slice(stroke, key)[...] = region(seed, take_slice(stroke, key).shape)
        indices = np.nonzero(stroke & (desk.annotation != value))
        if not len(indices[0]):
            return

        def act() -> None:
            before = desk.annotation[indices]
            desk.annotation[indices] = value
            desk.record_edit(indices, before, np.full(len(before), value))
            self.hand.update(dict.fromkeys(zip(*(axis.tolist() for axis in indices), strict=True), value))

        displayed = desk.displayed()
        self.step(act)
        displayed[indices] = value
        assert np.array_equal(desk.displayed(), displayed), "a stroke changed something else than its voxels"

    @rule(index=st.integers(0, 4), class_id=st.sampled_from(CLASSES))
    def prompt(self, index, class_id) -> None:
        self.desk.set_locked(class_id, False)
        self.desk.select_class(class_id)
        point = Prompts(point_coords=np.array([[1, 1]]), point_labels=np.array([1]))
        self.desk.set_prompts(self.keys_along_axis(index), point)

    @rule(class_id=st.sampled_from(CLASSES), locked=st.booleans())
    def lock(self, class_id, locked) -> None:
        self.desk.set_locked(class_id, locked)

    @rule(index=st.integers(0, 4))
    def accept(self, index) -> None:
        key, displayed = self.keys_along_axis(index), self.desk.displayed()
        self.step(lambda: self.desk.accept(key))
        assert np.array_equal(self.desk.displayed(), displayed), "accept changed what is displayed"
        assert np.array_equal(take_slice(self.desk.annotation, key), take_slice(displayed, key))
        assert key in self.desk.accepted

    @rule(index=st.integers(0, 4))
    def reject(self, index) -> None:
        key = self.keys_along_axis(index)
        mark = self.desk._book.marks.get(key)
        if mark is not None and mark.draft is None:
            others = {
                voxel for other in self.desk._book.marks if other.axis != key.axis for voxel in voxels(other)
            }
            self.step(lambda: self.desk.reject(key))
            for voxel in set(voxels(key)) - others:
                self.hand.pop(voxel, None)
            return
        self.step(lambda: self.desk.reject(key))

    @rule(index=st.integers(0, 4))
    def keep(self, index) -> None:
        displayed = self.desk.displayed()
        self.step(lambda: self.desk.keep_draft(self.keys_along_axis(index)))
        assert np.array_equal(self.desk.displayed(), displayed)

    @rule(axis=st.integers(0, 2))
    def turn(self, axis) -> None:
        self.desk._axis = axis

    # What comes late.

    @precondition(lambda self: self.desk.asked)
    @rule(data=st.data(), seed=SEEDS)
    def answer(self, data, seed) -> None:
        request = data.draw(st.sampled_from(self.desk.asked))
        desk, key = self.desk, request.key
        before = desk.displayed()
        wanted = desk._asked.get(key) == request.generation
        locked = [shown.id for shown in desk.classes if shown.locked]
        self.step(lambda: desk.answer(request, region(seed, take_slice(before, key).shape)))
        after = desk.displayed()
        if not wanted:
            assert np.array_equal(before, after), "an outdated answer changed something"
        held = np.isin(before, locked)
        assert np.array_equal(before[held], after[held]), "a draft changed a locked class"
        for other in desk._book.marks.keys() - {key}:
            mine, theirs = take_slice(before, other), take_slice(after, other)
            if other.axis != key.axis:
                assert np.array_equal(mine, theirs), "a draft changed a slice of another axis"
        for voxel, value in self.hand.items():
            assert desk.annotation[voxel] == value, "a draft changed what was painted"

    @rule(index=st.integers(0, 4), seed=SEEDS)
    def predict(self, index, seed) -> None:
        key, desk = self.keys_along_axis(index), self.desk
        annotation, touched = desk.annotation.copy(), {k: desk._book.displayed(k) for k in desk._book.marks}
        labels = (
            np.random.default_rng(seed).integers(0, 4, take_slice(annotation, key).shape).astype(np.uint16)
        )
        desk.predict(key, labels)
        assert np.array_equal(desk.annotation, annotation), "a prediction was written into the annotation"
        for other, shown in touched.items():
            assert np.array_equal(desk._book.displayed(other), shown), (
                "a prediction covered a slice of the user"
            )

    @rule(first=st.integers(0, 4), last=st.integers(0, 4), seed=SEEDS)
    def propose(self, first, last, seed) -> None:
        desk = self.desk
        before, marks = desk.displayed(), dict(desk._book.marks)
        proposals = {
            key: np.random.default_rng(seed).integers(0, 4, take_slice(before, key).shape).astype(np.uint16)
            for key in {self.keys_along_axis(first), self.keys_along_axis(last)}
        }
        locked = [shown.id for shown in desk.classes if shown.locked]
        self.step(lambda: desk._changed(desk._book.propose("proposal", proposals, locked)))
        after = desk.displayed()
        for key, mark in marks.items():
            if not mark.proposed:
                assert np.array_equal(take_slice(before, key), take_slice(after, key)), (
                    "it covered the user's slice"
                )
        held = np.isin(before, locked)
        assert np.array_equal(before[held], after[held]), "a proposal changed a locked class"

    # Undo and redo.

    @precondition(lambda self: self.undo_stack)
    @rule()
    def undo(self) -> None:
        self.redo_stack.append(self.state())
        assert self.desk.undo() is not None
        self.must_equal(self.undo_stack.pop())

    @precondition(lambda self: self.redo_stack)
    @rule()
    def redo(self) -> None:
        self.undo_stack.append(self.state())
        assert self.desk.redo() is not None
        self.must_equal(self.redo_stack.pop())

    def must_equal(self, wanted: tuple) -> None:
        annotation, accepted, edited, self.hand = wanted
        assert np.array_equal(self.desk.annotation, annotation), (
            "undo or redo did not restore the exact voxels"
        )
        assert (self.desk.accepted, self.desk.edited) == (accepted, edited)

    # Always.

    @invariant()
    def every_voxel_has_one_owner(self) -> None:
        touched = np.zeros(SHAPE, bool)
        for key in self.desk._book.marks:
            take_slice(touched, key)[...] = True
        assert not self.desk.prediction[touched].any(), "a prediction lies under the user's slice"
        assert not self.desk.annotation[~touched].any(), "an untouched slice holds annotation"

    @invariant()
    def history_is_as_long_as_the_steps(self) -> None:
        assert bool(self.undo_stack) == (self.desk.can_undo is not None)
        assert bool(self.redo_stack) == (self.desk.can_redo is not None)


def voxels(key: SliceKey) -> list[tuple[int, int, int]]:
    plane = np.zeros(SHAPE, bool)
    take_slice(plane, key)[...] = True
    return [tuple(place) for place in np.argwhere(plane).tolist()]


AnythingCanHappen.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAnythingCanHappen = AnythingCanHappen.TestCase
