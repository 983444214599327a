"""The rules of the label book as small pictures; `.` is background."""

from dataclasses import replace

import numpy as np
import pytest

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.session.label_book import LabelBook
from napari_samadapt.session.messages import Draft

KEY = SliceKey(0, 1)


def picture(text: str) -> np.ndarray:
    return np.array([[0 if c == "." else int(c) for c in row] for row in text.split()], np.uint16)


def drawn(labels) -> str:
    return " ".join("".join("." if value == 0 else str(value) for value in row) for row in labels)


@pytest.fixture
def book() -> LabelBook:
    return LabelBook((3, 2, 4))


def draft(text: str, class_id: int = 1) -> Draft:
    return Draft(KEY, class_id, Prompts(box=np.array([0, 0, 1, 1])), picture(text).astype(bool), 0.9)


def paint(book: LabelBook, key: SliceKey, text: str) -> None:
    """A stroke: digits are painted, `.` is left alone, 9 is the eraser."""
    strokes = picture(text)
    plane = np.zeros(book.annotation.shape, np.uint16)
    take_slice(plane, key)[...] = strokes
    indices = np.nonzero(plane)
    before, after = book.annotation[indices], plane[indices] % 9
    book.annotation[indices] = after
    book.record_stroke(key.axis, indices, before, after)


def shown(book: LabelBook, key: SliceKey = KEY) -> str:
    return drawn(book.displayed(key))


def test_the_first_stroke_takes_the_prediction_over_and_one_undo_gives_it_back(book):
    book.put_prediction(KEY, picture("22.. 22.."))
    paint(book, KEY, ".1.. ....")
    assert drawn(book.annotation[1]) == "21.. 22.."
    assert not book.prediction.any()
    book.undo()
    assert not book.annotation.any()
    assert drawn(book.prediction[1]) == "22.. 22.."


def test_an_eraser_works_on_the_prediction_that_was_taken_over_before_the_stroke(book):
    book.put_prediction(KEY, picture("22.. 22.."))
    book.begin_stroke(KEY)
    paint(book, KEY, "9... 9...")
    assert shown(book) == ".2.. .2.."
    book.undo()
    assert (shown(book), book.history.undo_label) == ("22.. 22..", None), "take-over and stroke are one step"


def test_a_draft_replaces_the_predicted_region_of_its_class_but_not_what_was_painted(book):
    book.put_prediction(KEY, picture("113. 113."))
    paint(book, KEY, "1... ...2")
    book.put_draft(draft(".... .111"), ())
    assert shown(book) == "1.3. .112"


def test_a_following_draft_first_restores_what_the_one_before_replaced(book):
    book.put_prediction(KEY, picture("..33 ..33"))
    book.put_draft(draft("1111 1111"), ())
    book.put_draft(draft("11.. ...."), ())
    assert shown(book) == "1133 ..33"
    book.undo()
    assert shown(book) == "1111 1111", "one undo step for each draft"
    book.undo()
    assert (shown(book), drawn(book.prediction[1])) == ("..33 ..33", "..33 ..33")


def test_a_locked_class_is_not_overwritten_by_a_draft(book):
    book.put_prediction(KEY, picture("2233 2233"))
    book.put_draft(draft("1111 1111"), {2})
    assert shown(book) == "2211 2211"


def test_a_kept_draft_survives_the_next_object_of_its_class(book):
    book.put_draft(draft("1... 1..."), ())
    book.keep_draft(KEY)
    book.put_draft(draft("...1 ...1"), ())
    assert shown(book) == "1..1 1..1"


def test_a_draft_of_another_class_keeps_the_one_before(book):
    book.put_draft(draft("11.. 11.."), ())
    book.put_draft(draft(".222 ....", class_id=2), ())
    assert shown(book) == "1122 11.."


def test_dropping_a_draft_gives_the_slice_back_as_it_was(book):
    book.put_prediction(KEY, picture("..33 ..33"))
    book.put_draft(draft("1111 1111"), ())
    book.drop_draft(KEY)
    assert (shown(book), KEY in book.marks) == ("..33 ..33", False)


def test_a_prediction_of_a_slice_of_the_user_waits_beneath_it(book):
    book.put_prediction(KEY, picture("2... ...."))
    paint(book, KEY, "...1 ....")
    assert not book.put_prediction(KEY, picture("33.. ...."))
    assert shown(book) == "2..1 ...."
    book.clear(KEY)
    assert shown(book) == "33.. ....", "the newest prediction shows when the slice is given back"


def test_accept_writes_what_is_displayed(book):
    book.put_prediction(KEY, picture("22.. .3.."))
    book.accept(KEY)
    assert drawn(book.annotation[1]) == "22.. .3.."
    assert book.marks[KEY].accepted
    assert book.accept(KEY) is None


def test_painting_an_accepted_slice_makes_it_edited(book):
    book.accept(KEY)
    paint(book, KEY, "1... ....")
    assert not book.marks[KEY].accepted
    book.undo()
    assert book.marks[KEY].accepted


def test_slices_of_another_axis_keep_their_voxels(book):
    crossing = SliceKey(1, 0)
    paint(book, crossing, ".... 1111 ....")  # rows are z
    book.accept(crossing)
    book.put_prediction(KEY, picture("3333 3333"))
    assert shown(book) == "1111 3333"
    book.put_draft(draft("2222 2222", class_id=2), ())
    assert shown(book) == "1111 2222"
    book.drop_draft(KEY)
    book.clear(KEY)
    assert shown(book) == "1111 3333"


def test_a_stroke_through_several_slices_is_one_step(book):
    book.put_prediction(SliceKey(0, 0), picture("2... ...."))
    indices = (np.array([0, 1, 2]), np.array([1, 1, 1]), np.array([3, 3, 3]))
    before, after = book.annotation[indices], np.array([1, 1, 1], np.uint16)
    book.annotation[indices] = after
    change = book.record_stroke(0, indices, before, after)
    assert change.label == "edit of slice 0 to 2"
    assert drawn(book.annotation[0]) == "2... ...1"
    book.undo()
    assert not book.annotation.any()


def test_writes_go_through_the_writer(book):
    written = []

    def writer(indices, values):
        written.append(len(values))
        book.annotation[indices] = values

    book.writer = writer
    book.put_draft(draft("11.. ...."), ())
    book.undo()
    book.redo()
    assert written == [2, 2, 2]


def made_by(book: LabelBook) -> int | None:
    return book.made_by(KEY)


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        ([], None),
        (["paint", "accept"], None),
        (["predict 2", "accept"], 2),
        (["predict 2", "paint", "accept"], 2),
        (["predict 2", "accept", "predict 3"], 2),
        (["predict 2", "accept", "predict 3", "clear"], 3),
        (["predict nothing", "paint"], None),
        (["draft 0", "accept"], 0),
        (["draft 4", "keep", "paint"], 4),
        (["predict 2", "draft 4"], 4),
        (["predict 2", "draft 4", "drop"], 2),
        (["predict 2", "propose 5", "accept"], 5),
        (["interpolate"], None),
        (["predict 2", "forget"], None),
    ],
)  # fmt: skip
def test_every_mask_knows_the_adapter_that_made_it_through_undo_and_redo(book, acts, expected):
    said = []
    for act in acts:
        name, _, number = act.partition(" ")
        match name:
            case "predict":
                empty = number == "nothing"
                book.put_prediction(
                    KEY, picture(".... ...." if empty else "22.. 22.."), 2 if empty else int(number)
                )
            case "paint":
                paint(book, KEY, ".1.. ....")
            case "draft":
                book.put_draft(replace(draft("11.. 11.."), made_by=int(number)), ())
            case "propose":
                book.propose("propagation", {KEY: picture("1... ....")}, (), {KEY: int(number)})
            case "interpolate":
                book.propose("interpolation", {KEY: picture("1... ....")}, ())
            case "forget":
                book.predictions.clear()
            case _:
                {
                    "accept": book.accept,
                    "keep": book.keep_draft,
                    "drop": book.drop_draft,
                    "clear": book.clear,
                }[name](KEY)
        said.append(made_by(book))
    assert made_by(book) == expected
    if "predict" not in " ".join(acts[1:]):
        steps = 0
        while book.undo():
            steps += 1
        assert made_by(book) in (None, 2), "as before the first act of the user"
        for _ in range(steps):
            book.redo()
        assert made_by(book) == expected
