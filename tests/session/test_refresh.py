"""What is asked of the predict thread, and what it is told of accepted slices."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_samadapt.imaging.intensity import Window
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.session.label_book import LabelBook
from napari_samadapt.session.messages import RefreshPlan, SliceLabels
from napari_samadapt.session.refresh import Refresh

SHAPE = (4, 5, 6)
WINDOW = Window(0, 1)


@pytest.fixture(params=[0, 1, 2])
def desk(request):
    """A refresh along each axis, with a predictor that only notes the plans it gets."""
    plans: list[RefreshPlan] = []
    book, predictor = LabelBook(SHAPE), SimpleNamespace(refresh=plans.append, look=plans.append)
    refresh = Refresh(predictor, book, WINDOW, request.param)
    refresh.begin(WINDOW, request.param, active=True)
    return SimpleNamespace(axis=request.param, book=book, refresh=refresh, plans=plans)


def tell(desk, key: SliceKey, value: int, *, whole: bool = True) -> None:
    labels = np.full_like(take_slice(desk.book.annotation, key), value)
    desk.refresh.take(SliceLabels(key, labels, desk.plans[-1].epoch, 0.25, made_by=1, whole=whole))


def test_a_slice_given_back_is_asked_for_only_where_nothing_was_said_since_the_update(desk):
    said, unsaid = SliceKey(desk.axis, 0), SliceKey(desk.axis, 1)
    tell(desk, said, 7)
    for key in (said, unsaid):
        desk.book.begin_stroke(key)
        desk.refresh.again([key])
    for _ in range(2):
        desk.book.undo()
    desk.refresh.again([said, unsaid])
    assert desk.plans[-1].keys == {unsaid}
    assert (desk.book.displayed(said) == 7).all(), "what was said is in sight again"
    desk.refresh.begin(WINDOW, desk.axis, active=True)
    desk.book.begin_stroke(said)
    desk.book.undo()
    desk.refresh.again([said])
    assert desk.plans[-1].keys == {said}, "nothing was said since this update"


@pytest.mark.parametrize(("first", "then", "changed"), [(2, 1, 0), (1, 2, 1), (2, 2, 1), (1, 1, 0)])
def test_what_an_adapter_changed_is_counted_between_predictions_that_know_their_neighbours(
    desk, first, then, changed
):
    """A slice is told twice: as it was looked at, and with the slices around it."""
    key = SliceKey(desk.axis, 1)
    tell(desk, key, 3, whole=False)
    tell(desk, key, 1)
    assert desk.refresh.known[key].changed == 0, "there was nothing before"
    desk.refresh.begin(WINDOW, desk.axis, active=True)
    tell(desk, key, first, whole=False)
    tell(desk, key, then)
    assert desk.refresh.known[key].changed == changed
    tell(desk, key, 3)
    assert desk.refresh.known[key].changed == changed, "the adapter is the same"


def test_plans_hold_the_slices_that_are_accepted_now(desk):
    first, second = SliceKey(desk.axis, 0), SliceKey(desk.axis, 2)
    for key, value in ((first, 3), (second, 4)):
        tell(desk, key, value)
        desk.book.accept(key)
        desk.refresh.again([key])
    held = desk.plans[-1].given
    assert {index: labels.max() for index, labels in held.items()} == {0: 3, 2: 4}
    assert held[0].shape == take_slice(desk.book.annotation, first).shape
    desk.book.undo()
    desk.refresh.again([second])
    assert list(desk.plans[-1].given) == [0]
    assert list(held) == [0, 2], "a plan that another thread reads does not change"
    desk.refresh.again([SliceKey((desk.axis + 1) % 3, 0)])
    assert list(desk.plans[-1].given) == [0]


def test_slices_are_unseen_until_an_adapter_said_something_of_them_along_this_axis(desk):
    count = SHAPE[desk.axis]
    assert desk.refresh.unseen == count
    tell(desk, SliceKey(desk.axis, 0), 1)
    assert desk.refresh.unseen == count - 1
    for index in range(count):
        tell(desk, SliceKey(desk.axis, index), 1)
    desk.refresh.begin(WINDOW, desk.axis, active=True)
    assert (desk.refresh.waiting, desk.refresh.unseen) == (count, 0), (
        "the last adapter's predictions are there"
    )
    other = (desk.axis + 1) % 3
    desk.refresh.begin(WINDOW, other, active=True)
    assert desk.refresh.unseen == SHAPE[other]
