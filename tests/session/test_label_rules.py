"""What may overwrite what: random sequences of everything a user and late answers can do, against plain rules."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
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
        gives_back = mark is not None and (mark.draft is None or mark.draft.mark_before is None)
        if gives_back:
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
    def what_was_painted_stays(self) -> None:
        assert all(self.desk.annotation[voxel] == value for voxel, value in self.hand.items())

    @invariant()
    def history_is_as_long_as_the_steps(self) -> None:
        assert bool(self.undo_stack) == (self.desk.can_undo is not None)
        assert bool(self.redo_stack) == (self.desk.can_redo is not None)


def voxels(key: SliceKey) -> list[tuple[int, int, int]]:
    plane = np.zeros(SHAPE, bool)
    take_slice(plane, key)[...] = True
    return [tuple(place) for place in np.argwhere(plane).tolist()]


AnythingCanHappen.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnythingCanHappen = AnythingCanHappen.TestCase


POINT = Prompts(point_coords=np.array([[1, 1]]), point_labels=np.array([1]))
FLAT, UPRIGHT = SliceKey(0, 1), SliceKey(1, 2)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.select_class(1)
    return desk


def drafted(desk: Desk, key: SliceKey, mask: np.ndarray) -> None:
    desk.set_prompts(key, POINT)
    desk.answer(desk.asked[-1], mask)


def painted(desk: Desk, axis: int, voxel: tuple[int, int, int], value: int) -> None:
    desk._axis = axis
    indices = tuple(np.array([place]) for place in voxel)
    before = desk.annotation[indices]
    desk.annotation[indices] = value
    desk.record_edit(indices, before, np.array([value]))


def everywhere(key: SliceKey) -> np.ndarray:
    return np.ones(take_slice(np.empty(SHAPE), key).shape, bool)


def test_another_mask_leaves_the_slice_that_was_accepted_across_it(desk):
    drafted(desk, FLAT, everywhere(FLAT))
    desk.accept(UPRIGHT)
    accepted = take_slice(desk.annotation, UPRIGHT).copy()
    assert accepted[FLAT.index].all()
    drafted(desk, FLAT, ~everywhere(FLAT))
    assert np.array_equal(take_slice(desk.annotation, UPRIGHT), accepted)
    assert np.count_nonzero(desk.annotation) == np.count_nonzero(accepted)


@pytest.mark.parametrize("mark_before", ["untouched", "painted", "accepted"])
@pytest.mark.parametrize("value", [0, 2])
def test_a_rejected_mask_leaves_what_was_painted_across_it(desk, mark_before, value):
    if mark_before == "painted":
        painted(desk, 0, (FLAT.index, 2, 2), 1)
    elif mark_before == "accepted":
        desk.accept(FLAT)
    drafted(desk, FLAT, everywhere(FLAT))
    painted(desk, 1, (FLAT.index, 2, 2), value)
    painted(desk, 1, (FLAT.index, 2, 3), 2)
    desk.reject(FLAT)
    assert desk.annotation[FLAT.index, 2, 2:4].tolist() == [value, 2]
    assert not desk.annotation[FLAT.index, [0, 1, 3]].any(), "the mask itself is gone"


def test_a_mask_that_comes_for_a_locked_class_changes_nothing(desk):
    told = []
    desk.failed.connect(told.append)
    drafted(desk, FLAT, everywhere(FLAT))
    desk.set_prompts(FLAT, POINT)
    desk.set_locked(1, True)
    desk.answer(desk.asked[-1], ~everywhere(FLAT))
    assert (take_slice(desk.annotation, FLAT) == 1).all()
    assert told == ["class 1 was locked before its mask came: unlock it, and prompt again."]


def test_a_proposal_leaves_what_was_painted_on_a_slice_across_it(desk):
    labels = np.full(take_slice(np.empty(SHAPE), UPRIGHT).shape, 3, np.uint16)
    desk._changed(desk._book.propose("proposal", {UPRIGHT: labels}, ()))
    painted(desk, 0, (FLAT.index, UPRIGHT.index, 2), 2)
    desk.reject(FLAT)
    desk._changed(desk._book.propose("proposal", {UPRIGHT: labels}, ()))
    assert desk.annotation[FLAT.index, UPRIGHT.index].tolist() == [3, 3, 2, 3, 3]
