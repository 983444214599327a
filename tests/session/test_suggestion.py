"""The next slice: the parts of the ranking one by one, and what a session suggests before and after learning."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, Volume
from napari_samadapt.session.label_book import LabelBook
from napari_samadapt.session.messages import LearningPolicy, SliceLabels
from napari_samadapt.session.refresh import Refresh
from napari_samadapt.session.suggestion import (
    NO_EVIDENCE,
    Evidence,
    changed_share,
    doubt,
    next_index,
    slice_contents,
    worths,
)

SURE, UNSURE = Evidence(0.1, 0.0, empty=False), Evidence(0.4, 0.0, empty=False)


def test_doubt_is_that_of_structures_and_their_border():
    labels = np.zeros((9, 9), int)
    labels[4, 4] = 3
    confidence = np.full((9, 9), 0.5)
    confidence[2:7, 2:7] = 0.75
    assert doubt(labels, np.where(labels, 0.75, confidence)) == pytest.approx(0.25)
    assert doubt(np.zeros_like(labels), confidence) == 0
    assert doubt(labels, np.ones((9, 9), np.float32)) == 0


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ([0, 0, 0], [0, 0, 0], 0),
        ([1, 1, 0], [1, 1, 0], 0),
        ([1, 1, 0], [1, 2, 0], 0.5),
        ([0, 0, 1], [2, 1, 0], 1),
    ],
)
def test_changed_share(before, after, share):
    assert changed_share(np.array([before]), np.array([after])) == share


def test_a_slice_shows_more_the_wider_its_grey_values_spread_in_the_window():
    data = np.zeros((4, 8, 8), np.float32)
    data[1, :4] = 1
    data[2, :4] = 100
    data[3, 0, 0] = np.nan
    contents = slice_contents(Volume(data, np.eye(4)), 0, Window(0, 2))
    assert contents.tolist() == [0, 0.5, 1, 0]
    assert slice_contents(Volume(data * 0, np.eye(4)), 0, Window(0, 2)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("annotated", "expected"), [([], 3), ([3], 1), ([1, 3], 5), ([1, 3, 5], 2), ([0, 1, 2, 3, 4, 5, 6], None)]
)
def test_without_evidence_the_middle_then_the_farthest(annotated, expected):
    assert next_index(np.ones(7), annotated, set(range(7)) - set(annotated)) == expected


@pytest.mark.parametrize(
    ("evidence", "annotated", "expected"),
    [
        ([SURE, SURE, UNSURE, SURE, SURE], [], 2),
        ([UNSURE, SURE, SURE, SURE, SURE], [2], 0),
        ([SURE, UNSURE, SURE, UNSURE, SURE], [0], 3),
        ([SURE, SURE, Evidence(0.1, 0.8, empty=False), SURE, SURE], [0], 2),
        ([NO_EVIDENCE, NO_EVIDENCE, NO_EVIDENCE, SURE, SURE], [], 3),
        ([UNSURE, NO_EVIDENCE, UNSURE, SURE, SURE], [0, 2], 1),
    ],
    ids=["unsure", "unsure at the end", "far from the annotated", "unsteady", "not the empty ones", "a gap"],
)
def test_with_evidence(evidence, annotated, expected):
    candidates = set(range(5)) - set(annotated)
    assert next_index(worths(evidence), annotated, candidates) == expected


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=9).flatmap(
        lambda worth: st.tuples(st.just(worth), *[st.sets(st.integers(0, len(worth) - 1))] * 2)
    )
)
def test_it_is_always_one_of_the_candidates(case):
    worth, annotated, candidates = case
    chosen = next_index(np.array(worth), annotated, candidates)
    assert chosen in candidates if candidates else chosen is None


def test_a_session_suggests_slices_until_all_are_accepted(make_session):
    session = make_session()
    seen = []
    while (key := session.suggest()) is not None:
        session.accept(key)
        seen.append(key.index)
    assert sorted(seen) == list(range(6))


def test_slices_at_work_come_after_the_untouched_ones(make_session):
    session = make_session()
    for index in range(5):
        session.begin_edit(SliceKey(0, index))
    assert session.suggest() == SliceKey(0, 5)
    session.accept(SliceKey(0, 5))
    assert session.suggest() in session.edited


def test_after_learning_the_model_has_a_say(make_session, queue):
    session = make_session(
        policy=LearningPolicy(seconds=None, steps=2, every_n_slices=9)
    )  # no episode follows
    session.begin_edit(SliceKey(0, 2))
    indices = tuple(np.array([place]) for place in (2, 8, 8))
    session.annotation[indices] = 1
    session.record_edit(indices, np.array([0]), np.array([1]))
    assert session._evidence() is None
    session.accept(SliceKey(0, 2))
    assert queue.run_until(lambda: session.adapter_version == 1 and not session.refreshing, 30)
    evidence = session._evidence()
    assert evidence[2] == NO_EVIDENCE, "an accepted slice is not predicted"
    assert all(0 <= said.doubt < 1 and said.changed == 0 for said in evidence)
    assert session.suggest().index != 2
    session.reset_adapter()
    assert session._evidence() is None


def test_change_is_counted_from_the_second_adapter_on():
    window = Window(0, 1)
    refresh = Refresh(SimpleNamespace(refresh=lambda plan: None), LabelBook((6, 24, 20)), window, 0)
    for epoch, column in ((1, 0), (2, 1)):
        refresh.begin(window, 0, active=True)
        labels = np.zeros((24, 20), np.uint16)
        labels[:, column : column + 2] = 1
        refresh.take(SliceLabels(SliceKey(0, 3), labels, epoch, 0.25))
    assert refresh.evidence()[3] == Evidence(0.25, 2 / 3, empty=False)
