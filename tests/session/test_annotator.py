import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.annotator import (
    ACCEPT_SECONDS,
    BOX_SECONDS,
    BRUSH_SECONDS,
    CLICK_SECONDS,
    PIXELS_PER_SECOND,
    Annotator,
    AnnotatorHabits,
    annotate,
    mean_dice,
)
from napari_samadapt.session.messages import LearningPolicy

KEYS = [SliceKey(0, 1), SliceKey(0, 4)]


@pytest.fixture
def reference(volume) -> np.ndarray:
    labels = np.zeros(volume.shape, np.uint16)
    labels[:, 6:16, 5:14] = 1
    labels[:, 18:22, 2:8] = 2
    return labels


def test_slices_end_up_as_the_reference_and_accepted(make_session, queue, reference):
    session = make_session()
    report = annotate(session, queue, reference, KEYS)
    assert session.accepted == frozenset(KEYS)
    for key in KEYS:
        assert np.array_equal(session.annotation[key.index], reference[key.index])
    assert [effort.key for effort in report.slices] == KEYS
    assert all(effort.dice_after == 1.0 for effort in report.slices)
    assert all(effort.dice_prompted >= effort.dice_before for effort in report.slices), (
        "worse masks are taken back"
    )
    assert not report.failures


def test_effort_is_counted_act_by_act(make_session, queue, reference):
    report = annotate(make_session(), queue, reference, KEYS[:1], AnnotatorHabits(clicks=3))
    effort = report.slices[0]
    assert effort.boxes == 2, "one box for each structure that nothing shows yet"
    assert effort.clicks <= 2 * 3
    brushes = round(
        (
            effort.seconds
            - effort.clicks * CLICK_SECONDS
            - effort.boxes * BOX_SECONDS
            - effort.painted_pixels / PIXELS_PER_SECOND
            - ACCEPT_SECONDS
        )
        / BRUSH_SECONDS
    )
    assert 0 <= brushes <= 3
    assert report.seconds == effort.seconds


def test_a_slice_that_is_right_already_is_only_accepted(make_session, queue, reference):
    session = make_session()
    session._book.put_prediction(KEYS[0], reference[1])
    effort = annotate(session, queue, reference, KEYS[:1]).slices[0]
    assert (effort.dice_before, effort.clicks, effort.boxes, effort.painted_pixels) == (1.0, 0, 0, 0)
    assert effort.seconds == ACCEPT_SECONDS


def test_a_predicted_structure_is_corrected_by_clicks_from_where_it_is(make_session, queue, reference):
    session = make_session()
    wrong = reference[1].copy()
    wrong[6:12] = 0
    session._book.put_prediction(KEYS[0], wrong)
    effort = annotate(session, queue, reference, KEYS[:1]).slices[0]
    assert (effort.boxes, effort.clicks > 0) == (0, True)


def test_without_painting_what_the_prompts_gave_is_accepted(make_session, queue, reference):
    report = annotate(make_session(), queue, reference, KEYS[:1], AnnotatorHabits(paints=False))
    assert report.painted_pixels == 0
    assert report.slices[0].dice_after == report.slices[0].dice_prompted


def test_a_waiting_annotator_meets_the_prediction_of_what_was_learned(make_session, queue, reference):
    session = make_session(policy=LearningPolicy(seconds=None, steps=2))
    report = annotate(session, queue, reference, KEYS, AnnotatorHabits(waits=True))
    assert [effort.adapter_version for effort in report.slices] == [0, 2]
    assert session.adapter_version > 2, "each slice is fitted to at once, and has an episode"


def test_an_id_that_is_no_class_is_told(make_session, queue, reference):
    with pytest.raises(SamAdaptError, match="no class 9"):
        annotate(make_session(), queue, np.where(reference == 2, 9, reference), KEYS)


def test_a_good_slice_is_accepted_at_once(make_session, queue, reference):
    session = make_session()
    nearly = reference[1].copy()
    nearly[6, 5] = 0
    session._book.put_prediction(KEYS[0], nearly)
    habits = AnnotatorHabits(good_enough=0.95, painted_enough=0.95)
    effort = annotate(session, queue, reference, KEYS[:1], habits).slices[0]
    assert (effort.clicks, effort.boxes, effort.painted_pixels) == (0, 0, 0)
    assert effort.dice_before == effort.dice_after < 1
    assert np.array_equal(session.annotation[1], nearly), "it is accepted as it is displayed"


def test_painting_ends_when_that_is_enough(make_session, queue, reference):
    session = make_session()
    shown = np.zeros_like(reference[1])
    shown[6:16, 5:14] = 1
    shown[7, 6] = 0  # the smaller error is left
    session._book.put_prediction(KEYS[0], shown)
    habits = AnnotatorHabits(good_enough=0.4, painted_enough=0.95)
    effort = annotate(session, queue, reference, KEYS[:1], habits).slices[0]
    assert 0.95 <= effort.dice_after < 1
    assert (effort.clicks, effort.boxes) == (0, 0)
    assert effort.painted_pixels == (reference[1] == 2).sum()
    assert effort.seconds == BRUSH_SECONDS + effort.painted_pixels / PIXELS_PER_SECOND + ACCEPT_SECONDS


def test_where_time_is_up_the_slice_is_left_as_it_is(make_session, queue, reference):
    session, spent = make_session(), []

    def spend(seconds):
        spent.append(seconds)
        return sum(spent) < BOX_SECONDS + CLICK_SECONDS

    with Annotator(session, queue, reference, AnnotatorHabits(), spend=spend) as annotator:
        effort = annotator.do_slice(KEYS[0])
    assert not effort.accepted
    assert effort.seconds == sum(spent)
    assert len(spent) == 2, "no act was begun after the time"
    assert session.accepted == frozenset()


def test_mean_dice_counts_every_id_of_either_side():
    assert mean_dice(np.array([[1, 1, 0, 0]]), np.array([[1, 1, 2, 2]])) == 0.5
    assert mean_dice(np.zeros((1, 4), int), np.zeros((1, 4), int)) == 1.0
