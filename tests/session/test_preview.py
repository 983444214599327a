"""Previews: what prompts would give while they are being drawn."""

from dataclasses import replace

import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.messages import PredictResponse

KEY = SliceKey(0, 2)
BOX = Prompts(box=np.array([4, 5, 14, 16], np.float32))
MASK = np.ones((24, 20), bool)


def wider(by: int) -> Prompts:
    return replace(BOX, box=np.array([4, 5, 14 + by, 16], np.float32))


@pytest.fixture
def held(make_session, monkeypatch):
    """A session whose requests are kept instead of answered, what it asked and what it told."""
    session, asked, told = make_session(), [], []
    monkeypatch.setattr(session._predictor, "ask", asked.append)
    session.previewed.connect(told.append)
    return session, asked, told


def test_a_preview_is_told_and_changes_nothing(make_session, queue):
    session, told, changed = make_session(), [], []
    session.previewed.connect(told.append)
    session.labels_changed.connect(changed.append)
    session.preview(KEY, BOX)
    assert queue.run_until(lambda: bool(told), 10)
    assert told[0].mask.shape == (24, 20)
    assert (session.can_undo, changed, dict(session.prompts)) == (None, [], {})
    assert not session.annotation.any()


def test_no_older_preview_follows_a_newer_one(held):
    session, asked, told = held
    for by in range(3):
        session.preview(KEY, wider(by))
    for request in (asked[1], asked[0], asked[2]):
        session._on_answered(PredictResponse(request, mask=MASK))
    assert [response.request for response in told] == [asked[1], asked[2]]


def test_no_preview_follows_the_prompts_themselves(held):
    session, asked, told = held
    session.preview(KEY, BOX)
    session.set_prompts(KEY, BOX)
    session._on_answered(PredictResponse(asked[0], mask=MASK))
    assert told == []
    session.preview(KEY, wider(1))
    assert len(asked) == 2, "the preview would take the place of the request that is waiting"
    session._on_answered(PredictResponse(asked[1], mask=MASK))
    session.preview(KEY, wider(1))
    assert asked[2].preview


def test_a_preview_of_a_further_point_corrects_the_draft(held):
    session, asked, _ = held
    session.set_prompts(KEY, BOX)
    session._on_answered(PredictResponse(asked[0], mask=MASK))
    session.preview(KEY, replace(BOX, point_coords=[(5, 6)], point_labels=[1]))
    assert np.array_equal(asked[1].previous, MASK)


def test_nothing_is_asked_for_a_locked_class_or_without_prompts(held):
    session, asked, _ = held
    session.preview(KEY, Prompts())
    session.set_locked(session.active_class, True)
    session.preview(KEY, BOX)
    assert asked == []


def test_a_preview_outside_is_refused(held):
    with pytest.raises(SamAdaptError, match="outside"):
        held[0].preview(KEY, wider(100))
