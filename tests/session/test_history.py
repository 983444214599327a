import numpy as np

from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.history import Change, History, SliceMark, joined


def change(label, voxels, before, after, *, open_=False, marks=({}, {})) -> Change:
    count = len(voxels)
    return Change(
        label,
        np.array(voxels, np.intp),
        np.array(before, np.uint16),
        np.array(after, np.uint16),
        np.zeros(count, bool),
        np.ones(count, bool),
        *marks,
        open=open_,
    )


def test_two_changes_joined_go_from_the_first_before_to_the_last_after():
    key, first, second = SliceKey(0, 1), SliceMark(), SliceMark(accepted=True)
    both = joined(
        change("taken over", [1, 2], [0, 0], [7, 8], marks=({key: None}, {key: first})),
        change("stroke", [2, 5], [8, 0], [3, 3], marks=({key: first}, {key: second})),
    )
    assert both.label == "stroke"
    assert both.voxels.tolist() == [1, 2, 5]
    assert both.before.tolist() == [0, 0, 0]
    assert both.after.tolist() == [7, 3, 3]
    assert both.marks_before == {key: None}
    assert both.marks_after == {key: second}


def test_a_stroke_joins_the_take_over_that_it_began_with_and_only_that():
    history = History()
    history.push(change("edit", [1], [0], [7], open_=True))
    history.push(change("edit", [2], [0], [3]))
    history.push(change("next", [3], [0], [3]))
    assert [history.undo().label, history.undo().label, history.undo()] == ["next", "edit", None]


def test_a_new_change_ends_what_can_be_redone():
    history = History()
    history.push(change("one", [1], [0], [1]))
    history.undo()
    assert history.redo_label == "one"
    history.push(change("two", [1], [0], [2]))
    assert (history.redo_label, history.redo(), history.undo_label) == (None, None, "two")


def test_the_oldest_changes_are_forgotten_when_memory_runs_out():
    size = change("x", [1] * 100, [0] * 100, [1] * 100).nbytes
    history = History(limit=3 * size)
    for label in "abcde":
        history.push(change(label, [1] * 100, [0] * 100, [1] * 100))
    assert [done.label for done in (history.undo(), history.undo(), history.undo())] == ["e", "d", "c"]
    assert history.undo() is None
