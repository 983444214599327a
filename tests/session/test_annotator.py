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
    assert all(effort.dice_accepted == 1.0 for effort in report.slices)
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
    assert report.slices[0].dice_accepted == report.slices[0].dice_prompted


def test_a_waiting_annotator_meets_the_prediction_of_what_was_learned(make_session, queue, reference):
    session = make_session(policy=LearningPolicy(seconds=None, steps=2))
    report = annotate(session, queue, reference, KEYS, AnnotatorHabits(waits=True))
    assert [effort.adapter_version for effort in report.slices] == [0, 1]
    assert session.adapter_version == 2


def test_an_id_that_is_no_class_is_told(make_session, queue, reference):
    with pytest.raises(SamAdaptError, match="no class 9"):
        annotate(make_session(), queue, np.where(reference == 2, 9, reference), KEYS)


def test_mean_dice_counts_every_id_of_either_side():
    assert mean_dice(np.array([[1, 1, 0, 0]]), np.array([[1, 1, 2, 2]])) == 0.5
    assert mean_dice(np.zeros((1, 4), int), np.zeros((1, 4), int)) == 1.0
