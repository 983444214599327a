"""Work taken up by another session, masks imported, classes removed: each of them exactly, and undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice

SHAPE = (4, 5, 6)
KEY = SliceKey(0, 1)
BOX = Prompts(box=np.array([0, 0, 3, 3]))


def block(value: int, index: int = 1) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    labels[index, :2, :2] = value
    return labels


# Removing classes.


def test_a_class_goes_with_its_voxels_and_comes_back_with_undo(desk):
    desk.paint(0, 1)
    desk.paint(1, 2)
    desk.accept(KEY)
    desk.paint(2, 2, columns=slice(0, 2))
    before = desk.state
    desk.rename_class(1, "the liver")
    desk.remove_class(2)
    assert [shown.id for shown in desk.classes] == [1, 5]
    assert set(np.unique(desk.annotation)) == {0, 1}
    assert desk.accepted == {KEY}, "an accepted slice stays accepted"
    assert desk.can_undo == "removal of spleen"
    removed = (desk.state, desk.steps)
    desk.undo()
    assert desk.classes[0].name == "the liver", "what was not part of the step stays"
    desk.rename_class(1, "liver")
    assert desk.state == before
    desk.rename_class(1, "the liver")
    desk.redo()
    assert (desk.state, desk.steps) == removed


def test_a_class_without_voxels_comes_back_too(desk):
    desk.set_locked(5, True)
    with pytest.raises(SamAdaptError, match="kidney is locked: unlock"):
        desk.remove_class(5)
    desk.set_locked(5, False)
    desk.remove_class(5)
    assert desk.can_undo == "removal of kidney"
    desk.undo()
    assert [shown.id for shown in desk.classes] == [1, 2, 5]


def test_a_name_that_was_given_again_meanwhile_is_told_apart(desk):
    desk.remove_class(2)
    desk.add_class("spleen")
    desk.undo()
    assert desk._classes.names == {1: "liver", 2: "spleen 2", 5: "kidney", 6: "spleen"}


def test_a_removed_class_is_no_longer_predicted_and_no_draft_of_it_stays_open(desk):
    desk.predict(SliceKey(0, 3), np.full(SHAPE[1:], 2, np.uint16))
    desk.select_class(2)
    desk.set_prompts(KEY, BOX)
    desk.answer(np.ones(SHAPE[1:], bool))
    desk.remove_class(2)
    assert not desk.annotation.any()
    assert not desk.prediction.any()
    assert not desk.prompts
    desk.undo()
    assert (desk.annotation[1] == 2).all()
    assert desk.prompts[KEY] is BOX
    assert not desk.prediction.any(), "the model has to be asked again"


# Importing masks.


def test_imported_masks_are_the_users_own_in_one_step(desk):
    desk.predict(KEY, np.full(SHAPE[1:], 1, np.uint16))
    before = desk.state
    done = desk.import_labels(block(7), {7: "stomach"})
    assert done.slices == (KEY,)
    assert [(added.id, added.name) for added in done.new_classes] == [(7, "stomach")]
    assert np.array_equal(desk.displayed()[1], block(7)[1]), "a slice of the model becomes what the masks say"
    assert desk.slice_state(KEY) == "edited"
    desk.set_prompts(KEY, BOX)
    desk.answer(np.ones(SHAPE[1:], bool))
    assert (desk.annotation[1, :2, :2] == 7).all(), "a mask of SAM does not replace what was imported"
    desk.undo()
    assert desk.undo() == "import of masks"
    assert desk.state == before
    desk.redo()
    assert desk._classes.names[7] == "stomach"


def test_what_the_user_has_stays_where_the_masks_say_nothing(desk):
    desk.paint(1, 1)
    kept = desk.annotation.copy()
    desk.import_labels(block(2))
    assert (desk.annotation[1, :2, :2] == 2).all()
    kept[1, :2, :2] = 2
    assert np.array_equal(desk.annotation, kept)


@pytest.mark.parametrize("overwrite", [False, True])
def test_accepted_slices_and_locked_classes_stay_unless_asked(desk, overwrite):
    desk.paint(1, 1, slice(0, 2), slice(0, 2))
    desk.paint(2, 1, slice(0, 2), slice(0, 2))
    desk.accept(KEY)
    desk.set_locked(1, True)
    masks = block(2, 1) + block(2, 2) + block(2, 3)
    done = desk.import_labels(masks, overwrite=overwrite)
    held = 1 if not overwrite else 2
    assert np.array_equal(np.unique(desk.annotation[:3]), [0, held])
    assert (desk.annotation[3, :2, :2] == 2).all()
    assert desk.accepted == (frozenset() if overwrite else {KEY})
    assert (done.kept_slices, done.kept_voxels) == ((0, 0) if overwrite else (1, 4))
    assert ("1 accepted slices" in done.told) is not overwrite


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((1, 2, 3), int), r"\(1, 2, 3\) and the image is \(4, 5, 6\)"),
        (np.zeros(SHAPE), "whole numbers; these are float64"),
        (block(1).astype(np.int32) - 3, "the id -3"),
        (block(1).astype(np.int64) * 70_000, "the id 70000"),
    ],
)
def test_what_is_no_mask_of_this_volume_is_refused(desk, labels, message):
    with pytest.raises(SamAdaptError, match=message):
        desk.import_labels(labels)
    assert desk.can_undo is None


def test_an_empty_import_is_no_step(desk):
    assert desk.import_labels(np.zeros(SHAPE, bool)).slices == ()
    assert desk.can_undo is None


# Taking work up.


def test_work_is_taken_up_with_its_drafts_prompts_and_undo_steps(desk, make_desk):
    desk.paint(0, 1)
    desk.accept(SliceKey(0, 0))
    desk.select_class(5)
    desk.set_prompts(KEY, BOX)
    desk.answer(np.ones(SHAPE[1:], bool))
    desk.set_prompts(SliceKey(0, 3), BOX)
    desk.undo()
    desk.redo()
    other = make_desk()
    other.take_up(desk.work)
    assert (other.state, other.steps) == (desk.state, desk.steps)
    assert other.prompts.keys() == desk.prompts.keys()
    assert other.active_class == 5
    assert [request.key for request in other.asked] == [SliceKey(0, 3)], "asked again where no mask had come"
    assert other.undo() == desk.undo()
    assert (other.state, other.steps) == (desk.state, desk.steps)


def test_a_session_with_work_of_its_own_takes_up_no_other(desk, make_desk):
    desk.paint(0, 1)
    with pytest.raises(SamAdaptError, match="work on this volume already"):
        desk.take_up(make_desk().work)


ACTS = st.tuples(
    st.sampled_from(["paint", "accept", "reject", "remove", "import", "undo", "redo"]), st.integers(0, 3)
)


@given(acts=st.lists(ACTS, max_size=25))
@settings(max_examples=60, deadline=None)
def test_undoing_everything_and_redoing_it_restores_every_state(make_desk, acts):
    desk, states = make_desk(), []

    for act, number in acts:
        before, steps = desk.state, desk._book.history.steps[0]
        if act == "paint" and desk.classes:
            desk.paint(number, desk.classes[-1].id)
        elif act in ("accept", "reject"):
            getattr(desk, act)(SliceKey(0, number))
        elif act == "remove" and desk.classes:
            desk.remove_class(desk.classes[number % len(desk.classes)].id)
        elif act == "import":
            desk.import_labels(block(8 + number, number))
        else:
            continue
        if desk._book.history.steps[0] != steps:
            states.append(before)
    final = desk.state
    for wanted in reversed(states):
        assert desk.undo() is not None
        assert desk.state[:3] == wanted[:3]
        assert [shown.id for shown in desk.state[3]] == [shown.id for shown in wanted[3]]
    assert desk.undo() is None
    while desk.redo():
        pass
    assert desk.state == final
    for index in range(SHAPE[0]):
        assert not (take_slice(desk.prediction, SliceKey(0, index))).any()
