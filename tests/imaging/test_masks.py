"""A class's new mask replaces that class only, and never touches a locked one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.masks import in_one_piece, largest_component, merge_class, specks


def test_merging_moves_the_class_and_spares_the_locked_one():
    labels = np.array([[1, 1, 2, 3, 0]], np.uint8)
    mask = np.array([[0, 1, 1, 1, 1]], bool)
    assert merge_class(labels, mask, 1, locked={3}).tolist() == [[0, 1, 1, 3, 1]]
    assert labels.tolist() == [[1, 1, 2, 3, 0]], "the caller's labels were changed"


def test_a_locked_class_keeps_its_own_region():
    labels = np.array([[1, 0]], np.uint8)
    assert merge_class(labels, np.array([[0, 1]]), 1, locked={1}).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("mask", "class_id", "message"),
    [
        (np.zeros((1, 3)), 1, "shape"),
        (np.zeros((1, 2)), 0, "from 1 to 255"),
        (np.zeros((1, 2)), 256, "from 1 to 255"),
    ],
)
def test_what_does_not_fit_is_refused(mask, class_id, message):
    with pytest.raises(SamAdaptError, match=message):
        merge_class(np.zeros((1, 2), np.uint8), mask, class_id)


@given(
    arrays(np.uint16, (4, 5), elements=st.integers(0, 4)),
    arrays(bool, (4, 5)),
    st.integers(1, 4),
    st.sets(st.integers(1, 4)),
)
def test_merging_laws(labels, mask, class_id, locked):
    merged = merge_class(labels, mask, class_id, locked=locked)
    fixed = np.isin(labels, list(locked))
    assert (merged[fixed] == labels[fixed]).all()
    if class_id not in locked:
        assert ((merged == class_id) == (mask & ~fixed)).all(), "the class is what was asked for"
    others = ~fixed & ~mask & (labels != class_id)
    assert (merged[others] == labels[others]).all()
    assert (merge_class(merged, mask, class_id, locked=locked) == merged).all()


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([0, 0], [0, 0]),
        ([1, 1], [1, 1]),
        ([1, 0, 1, 1], [0, 0, 1, 1]),
        ([1, 1, 0, 1, 1], [1, 1, 0, 0, 0]),
        ([[1, 0], [0, 1]], [[1, 0], [0, 0]]),
    ],
)
def test_the_largest_part(mask, expected):
    assert largest_component(np.array(mask)).astype(int).tolist() == expected


def test_specks_are_small_apart_and_touch_nothing_trusted():
    mask = np.zeros((3, 10, 30), bool)
    mask[:, 2:8, 2:8] = True  # 108 voxels
    mask[0, 0, 20:25] = True  # 5 of them
    mask[1, 0, 20:26] = True  # joined to those: 11 in all, no speck
    mask[2, 9, 25:28] = True
    mask[0, 9, 0] = True
    assert np.argwhere(specks(mask)).tolist() == [[0, 9, 0], [2, 9, 25], [2, 9, 26], [2, 9, 27]]
    trusted = np.zeros_like(mask)
    trusted[0, 9, 0] = True
    assert np.argwhere(specks(mask, trusted)).tolist() == [[2, 9, 25], [2, 9, 26], [2, 9, 27]]
    assert not specks(np.zeros_like(mask)).any()


def test_classes_in_one_piece():
    slices = [
        np.array([[1, 1, 0, 2, 0, 2]]),  # 2 is in two pieces here
        np.array([[1, 0, 2, 2, 3, 3]]),
    ]
    assert in_one_piece(slices) == {1, 3}
