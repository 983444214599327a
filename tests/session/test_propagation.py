"""From slice to slice: the rules on drawn masks, and a propagation through the session with a model that follows."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey
from napari_samadapt.session.live_model import LiveModel
from napari_samadapt.session.propagation import Trust, doubtful, follow, parts_of, prompts_from

START = SliceKey(0, 2)


def mask(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


def says(region: np.ndarray, score: float = 0.9) -> SimpleNamespace:
    return SimpleNamespace(mask=region, score=score)


BAR = mask("......", ".####.", "......")


@pytest.mark.parametrize(
    ("found", "score", "reason"),
    [
        (BAR, 0.9, ""),
        (BAR, 0.49, "predicted IoU is 0.49"),
        (np.zeros_like(BAR), 0.9, "nothing was found"),
        (mask("......", ".###..", "......"), 0.9, ""),
        (mask("......", ".#....", "......"), 0.9, "area changes from 4 to 1"),
        (mask("######", "###...", "......"), 0.9, "area changes from 4 to 9"),
    ],
)
def test_when_a_mask_is_no_longer_believed(found, score, reason):
    told = doubtful(BAR, says(found, score), Trust())
    assert reason in told
    assert bool(reason) == bool(told)


def test_the_prompts_are_the_last_mask_and_its_box():
    prompts = prompts_from(BAR)
    assert prompts.box.tolist() == [0.5, 0.5, 4.5, 1.5]
    assert np.array_equal(prompts.mask_input, BAR)


def test_small_parts_are_left_behind_unless_there_are_no_others():
    two = mask("##....", "##...#")
    assert [part.sum() for part in parts_of(two, 4)] == [4]
    assert [part.sum() for part in parts_of(two, 1)] == [4, 1]
    assert [part.sum() for part in parts_of(two, 9)] == [5]


def test_each_part_is_asked_for_and_lives_by_itself():
    two = mask("##....", "##..##", "....##")
    asked = []

    def ask(class_id, prompts):
        asked.append(prompts)
        return says(prompts.mask_input, 0.9 if prompts.mask_input[0, 0] else 0.1)

    followed = follow({3: two}, ask, Trust(smallest=1))
    assert len(asked) == 2
    assert np.array_equal(followed.regions[3], two & (np.arange(6) < 3))
    assert not followed.ended


def test_the_surer_class_gets_the_pixel_and_a_covered_one_ends():
    left, right = mask("####.."), mask("..####")
    scores = {1: 0.6, 2: 0.8, 3: 0.7}
    followed = follow(
        {1: left, 2: right, 3: mask("...#..")},
        lambda i, prompts: says(prompts.mask_input, scores[i]),
        Trust(),
    )
    assert {i: region.tolist() for i, region in followed.regions.items()} == {
        1: mask("##....").tolist(),
        2: right.tolist(),
    }
    assert followed.ended == {3: "other classes cover it"}


@pytest.fixture
def following(monkeypatch):
    """A model that finds every mask again one column to the right, as surely as `scores` says of the slice."""
    scores: dict[int, float] = {}

    def answer(self, request):
        moved = np.roll(request.prompts.mask_input, 1, axis=1)
        return says(moved, scores.get(request.key.index, 0.9))

    monkeypatch.setattr(LiveModel, "mask", answer)
    return scores


@pytest.fixture
def started(make_session, following):
    """A session whose slice 2 is accepted with a liver and a spleen."""
    session = make_session()
    paint(session, 2, np.s_[6:12, 4:9], 1)
    paint(session, 2, np.s_[14:20, 4:9], 2)
    session.accept(START)
    return session


def paint(session, index, where, value) -> None:
    plane = np.zeros(session.annotation.shape, bool)
    plane[index][where] = True
    indices = np.nonzero(plane)
    before = session.annotation[indices]
    session.annotation[indices] = value
    session.record_edit(indices, before, np.full(len(before), value))


def propagate(session, queue, *arguments, **options):
    told = []
    session.propagated.connect(told.append)
    session.propagate(START, *arguments, **options)
    assert queue.run_until(lambda: bool(told), 10)
    return told[0]


@pytest.mark.parametrize(
    ("direction", "limit", "filled"),
    [("both", None, [0, 1, 3, 4, 5]), ("up", None, [3, 4, 5]), ("down", None, [0, 1]), ("both", 1, [1, 3])],
)
def test_neighbours_are_proposed_in_one_step(started, queue, direction, limit, filled):
    before = started.displayed()
    told = propagate(started, queue, direction, limit)
    assert sorted(key.index for key in told.keys) == filled
    assert not told.endings
    assert started.proposed == set(told.keys) == started.edited
    assert started.accepted == {START}, "a proposal is not accepted"
    for index in filled:
        moved = np.roll(before[2], abs(index - 2), axis=1)
        assert np.array_equal(started.annotation[index], moved)
    assert started.can_undo == "propagation from slice 2"
    started.undo()
    assert np.array_equal(started.displayed(), before)
    assert not started.proposed
    started.redo()
    assert started.proposed == set(told.keys)


def test_it_ends_where_confidence_falls_and_says_so(started, queue, following):
    following[4] = 0.2
    told = propagate(started, queue, "up")
    assert [key.index for key in told.keys] == [3]
    assert told.endings == (
        "liver ends before slice 4: the predicted IoU is 0.20.",
        "spleen ends before slice 4: the predicted IoU is 0.20.",
    )


def test_slices_of_the_user_end_it_and_stay(started, queue):
    paint(started, 4, np.s_[:2, :2], 5)
    before = started.annotation[4].copy()
    told = propagate(started, queue, "up")
    assert [key.index for key in told.keys] == [3]
    assert np.array_equal(started.annotation[4], before)


def test_what_is_painted_meanwhile_stays(started, queue):
    told = []
    started.propagated.connect(told.append)
    started.propagate(START, "up")
    paint(started, 4, np.s_[:2, :2], 5)
    before = started.annotation[4].copy()
    assert queue.run_until(lambda: bool(told), 10)
    assert [key.index for key in told[0].keys] == [3, 5]
    assert np.array_equal(started.annotation[4], before)


def test_a_proposal_gives_way_to_a_newer_one_but_not_once_it_is_accepted(started, queue):
    propagate(started, queue, "up")
    started.accept(SliceKey(0, 3))
    assert [key.index for key in propagate(started, queue, "up").keys] == []
    started.reject(SliceKey(0, 3))
    assert [key.index for key in propagate(started, queue, "up").keys] == [3, 4, 5]


def test_a_locked_class_neither_sets_out_nor_is_covered(started, queue):
    started._book.put_prediction(SliceKey(0, 3), np.full((24, 20), 5, np.uint16))
    started.set_locked(2, True)
    started.set_locked(5, True)
    propagate(started, queue, "up")
    assert np.array_equal(np.unique(started.annotation[3]), [5])
    assert np.array_equal(np.unique(started.annotation[4]), [0, 1])


def test_the_prediction_of_other_classes_is_taken_over(started, queue):
    shown = np.zeros((24, 20), np.uint16)
    shown[0] = 5
    shown[1] = 1
    started._book.put_prediction(SliceKey(0, 3), shown)
    propagate(started, queue, "up", 1)
    assert np.array_equal(np.unique(started.annotation[3][0]), [5])
    assert not started.annotation[3][1].any(), "the liver is where it was propagated to, and nowhere else"


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda session: session.cancel_propagation(),
        lambda session: session.undo(),
        lambda session: session.set_window(Window(0.0, 2.0)),
    ],
)
def test_cancelled_or_outdated_nothing_comes_of_it(started, queue, meanwhile):
    started.propagate(START)
    assert started.propagating
    meanwhile(started)
    before = started.displayed()
    assert queue.run_until(lambda: not started.propagating, 10)
    started._predictor.run(lambda live: None, urgent=False).result(10)
    queue.run_posted()
    assert np.array_equal(started.displayed(), before)
    assert not started.proposed


def test_progress_counts_to_the_slices_that_there_are(started, queue):
    heard = []
    started.propagation_progress.connect(lambda done, total: heard.append((done, total)))
    propagate(started, queue)
    assert heard == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_failure_is_told_and_ends_it(started, queue, monkeypatch):
    def fail(self, request):
        raise SamAdaptError("No mask today.")

    monkeypatch.setattr(LiveModel, "mask", fail)
    told = []
    started.failed.connect(told.append)
    started.propagate(START)
    assert queue.run_until(lambda: bool(told), 10)
    assert told == ["No mask today."]
    assert not started.propagating


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        (SliceKey(0, 1), {}, "Slice 1 is not accepted"),
        (START, {"direction": "left"}, "direction 'left'"),
        (START, {"limit": 0}, "over 0 slices"),
    ],
)
def test_what_cannot_be_propagated_is_refused(started, key, options, message):
    with pytest.raises(SamAdaptError, match=message):
        started.propagate(key, **options)


def test_an_empty_or_locked_slice_has_nothing_to_propagate(started):
    started.accept(SliceKey(0, 5))
    with pytest.raises(SamAdaptError, match="no label to propagate"):
        started.propagate(SliceKey(0, 5))


def test_with_a_real_model_it_ends_by_itself(make_session, queue, volume):
    session = make_session()
    paint(session, 2, np.s_[6:16, 5:14], 1)
    session.accept(START)
    told = propagate(session, queue, trust=Trust(score=-9, area_ratio=1e9))
    assert all((session.annotation[key.index] == 1).any() for key in told.keys)
    assert session.proposed == set(told.keys)


def test_interpolation_fills_what_is_free_between_two_accepted_slices(make_session):
    session = make_session()
    for index in (0, 5):
        paint(session, index, np.s_[6:16, 5:14], 1)
        session.accept(SliceKey(0, index))
    paint(session, 3, np.s_[:2, :2], 2)
    painted = session.annotation[3].copy()
    before = session.displayed()
    filled = session.interpolate(SliceKey(0, 5), SliceKey(0, 0))
    assert [key.index for key in filled] == [1, 2, 4]
    for key in filled:
        assert np.array_equal(session.annotation[key.index], session.annotation[0])
    assert np.array_equal(session.annotation[3], painted)
    assert session.proposed == set(filled)
    assert session.undo() == "interpolation from slice 0 to 5"
    assert np.array_equal(session.displayed(), before)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((SliceKey(0, 0), SliceKey(0, 3)), "Slice 3 is not accepted"),
        ((SliceKey(0, 0), SliceKey(0, 1)), "no slice between slice 0 of axis 0 and slice 1"),
        ((SliceKey(0, 1), SliceKey(1, 5)), "of axis 1"),
    ],
)
def test_ends_that_do_not_fit_are_refused(make_session, ends, message):
    session = make_session()
    for key in (SliceKey(0, 0), SliceKey(0, 1), SliceKey(1, 5)):
        session.accept(key)
    with pytest.raises(SamAdaptError, match=message):
        session.interpolate(*ends)
