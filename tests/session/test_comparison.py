"""Masks against a reference: which ids belong together, the figures, the CSV."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.metrics import dice, label_report
from napari_samadapt.imaging.volume import SliceKey, take_slice
from napari_samadapt.session.comparison import compare, matching_ids, slice_dices

NAMES = {1: "liver", 2: "kidney"}


@pytest.mark.parametrize(
    ("names", "ids", "reference_names", "matched", "why"),
    [
        (NAMES, {1, 2}, {}, {1: 1, 2: 2}, "without names the ids are the same"),
        (NAMES, {1, 2}, {1: "Kidney", 2: "liver "}, {1: 2, 2: 1}, "names go before ids"),
        (NAMES, {0, 7}, {7: "kidney"}, {1: 0, 2: 7}, "a class may have no counterpart"),
        (NAMES, {1}, {1: "kidney"}, {1: 0, 2: 1}, "one id of the reference belongs to one class"),
        (NAMES, {2}, {1: "liver"}, {1: 0, 2: 2}, "a name of an id that is not there says nothing"),
    ],
)
def test_which_ids_are_compared(names, ids, reference_names, matched, why):
    assert matching_ids(names, ids, reference_names) == matched, why


@pytest.fixture
def masks():
    """(4, 12, 10): the liver is one row too high on slice 1, the kidney of the reference (id 5) is missing."""
    reference = np.zeros((4, 12, 10), np.uint8)
    reference[1:3, 4:8, 2:8] = 1
    reference[2, 9:11, 2:6] = 5
    labels = np.where(reference == 1, 1, 0).astype(np.uint16)
    labels[1] = np.roll(labels[1], -1, axis=0)
    return labels, reference


def test_the_figures_are_those_of_the_metrics(masks):
    labels, reference = masks
    told = []
    made = compare(
        labels,
        reference,
        (2.0, 1.0, 1.0),
        0,
        NAMES,
        {1: 1, 2: 5},
        on_class=lambda *counts: told.append(counts),
    )
    liver, kidney = made.rows
    expected = label_report(labels, reference, (2.0, 1.0, 1.0), [1]).rows[0]
    assert (liver.dice, liver.hd95_mm, liver.volume_ml) == (
        expected.dice,
        expected.hd95_mm,
        expected.volume_ml,
    )
    assert liver.slice_dice[1] == pytest.approx(dice(labels[1] == 1, reference[1] == 1))
    assert liver.slice_dice[2] == 1
    assert math.isnan(liver.slice_dice[0])
    assert liver.surface_dice == 1, "one row of 1 mm lies within the tolerance of 2 mm"
    assert (kidney.reference_id, kidney.dice, kidney.hd95_mm) == (5, 0, math.inf)
    assert kidney.volume_ml == 0 < kidney.reference_volume_ml
    assert made.mean_dice == pytest.approx(liver.dice / 2)
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_slices_left_out_count_for_nothing(masks):
    labels, reference = masks
    made = compare(labels, reference, (1.0, 1.0, 1.0), 0, NAMES, {1: 1, 2: 0}, left_out=[SliceKey(0, 1)])
    assert [row.id for row in made.rows] == [1]
    assert made.rows[0].dice == 1
    assert math.isnan(made.rows[0].slice_dice[1])


@given(
    arrays.arrays(np.bool_, (3, 4, 5)),
    arrays.arrays(np.bool_, (3, 4, 5)),
    st.integers(0, 2),
)
def test_dice_of_every_slice_is_that_of_the_slices(ours, theirs, axis):
    for index, value in enumerate(slice_dices(ours, theirs, axis)):
        key = SliceKey(axis, index)
        assert value == pytest.approx(dice(take_slice(ours, key), take_slice(theirs, key)), nan_ok=True)


def test_the_csv_has_a_line_for_each_class_and_each_measured_slice(masks, tmp_path):
    labels, reference = masks
    names = {1: 'liver, "left" lobe', 2: "kidney"}
    path = compare(labels, reference, (1.0, 1.0, 1.0), 0, names, {1: 1, 2: 5}).save(
        tmp_path / "agreement.csv"
    )
    lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [(line["class_id"], line["slice"]) for line in lines] == [
        ("1", ""), ("1", "1"), ("1", "2"), ("2", ""), ("2", "2"),
    ]  # fmt: skip
    assert lines[0]["class"] == names[1]
    assert float(lines[0]["dice"]) == pytest.approx(compare(
        labels, reference, (1.0, 1.0, 1.0), 0, names, {1: 1}).rows[0].dice, rel=1e-5)  # fmt: skip
    assert lines[3]["hd95_mm"] == "inf"
    assert [found.name for found in tmp_path.iterdir()] == ["agreement.csv"]


def test_a_folder_that_cannot_be_written_is_told(masks, tmp_path):
    labels, reference = masks
    made = compare(labels, reference, (1.0, 1.0, 1.0), 0, NAMES, {1: 1})
    with pytest.raises(SamAdaptError, match="choose another folder"):
        made.save(tmp_path / "missing" / "agreement.csv")


def test_other_shapes_are_refused(masks):
    labels, reference = masks
    with pytest.raises(SamAdaptError, match="must agree"):
        compare(labels, reference[:, :-1], (1.0, 1.0, 1.0), 0, NAMES, {1: 1})
