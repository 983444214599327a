"""Slices between two labelled ones: shapes that a reader can check, and what holds for any two slices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.shape_interpolation import interpolate_shapes, signed_distance

SLICES = arrays(np.uint16, (6, 7), elements=st.integers(0, 3))
COUNTS = st.integers(0, 4)
SPACINGS = st.tuples(st.sampled_from([0.5, 1.0, 2.5]), st.sampled_from([0.5, 1.0]))


def disc(radius: float, centre: tuple[float, float] = (20, 20), spacing=(1.0, 1.0)) -> np.ndarray:
    row, column = np.indices((41, 41))
    return np.hypot((row - centre[0]) * spacing[0], (column - centre[1]) * spacing[1]) <= radius


@settings(deadline=None)  # the first call imports scipy
@given(SLICES, COUNTS, SPACINGS)
def test_equal_slices_give_the_same_slice(labels, count, spacing):
    between = interpolate_shapes(labels, labels, count, spacing)
    assert between.dtype == labels.dtype
    assert np.array_equal(between, np.broadcast_to(labels, (count, *labels.shape)))


@settings(deadline=None)  # the first call imports scipy
@given(SLICES, SLICES, COUNTS, SPACINGS)
def test_the_two_ends_are_alike(first, last, count, spacing):
    there, back = (
        interpolate_shapes(*ends, count, spacing)  # from either end
        for ends in ((first, last), (last, first))
    )
    assert np.array_equal(there, back[::-1])


@settings(deadline=None)  # the first call imports scipy
@given(SLICES, SLICES, COUNTS)
def test_structures_do_not_appear_from_nowhere(first, last, count):
    between = interpolate_shapes(first, last, count)
    assert set(np.unique(between)) <= set(np.unique(first)) | set(np.unique(last)) | {0}
    both = (first == last) & (first > 0)
    assert np.array_equal(between[:, both], np.broadcast_to(first[both], (count, both.sum()))), (
        "a pixel that both ends give to one structure is that structure's in between"
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 1.0)])
def test_nested_discs_give_discs_of_the_radii_between(spacing):
    small, large = disc(5, spacing=spacing), disc(13, spacing=spacing)
    between = interpolate_shapes(small.astype(int), large.astype(int), 3, spacing)
    for labels, radius in zip(between, (7, 9, 11), strict=True):
        surely, at_most = (
            disc(radius - max(spacing), spacing=spacing),
            disc(radius + max(spacing), spacing=spacing),
        )
        assert np.all(labels[surely] == 1)
        assert not labels[~at_most].any()


def test_a_border_between_two_structures_moves_without_a_gap():
    first, last = np.full((3, 9), 2), np.full((3, 9), 2)
    first[:, :2] = 1
    last[:, :7] = 1
    between = interpolate_shapes(first, last, 4)
    assert [int((labels[0] == 1).sum()) for labels in between] == [3, 4, 5, 6]
    assert between.all()


def test_a_structure_that_ends_shrinks_to_its_middle():
    first = np.zeros((1, 11), int)
    first[0, 1:10] = 4
    between = interpolate_shapes(first, np.zeros_like(first), 3)
    widths = [int((labels == 4).sum()) for labels in between]
    assert widths == sorted(widths, reverse=True)
    assert all(labels[0, 5] == 4 for labels in between)
    assert widths[0] < 9


@settings(deadline=None)
@given(SLICES, SLICES, SPACINGS)
def test_a_larger_slice_changes_nothing(first, last, spacing):
    first, last = np.pad(first, 1), np.pad(last, 1)
    small = interpolate_shapes(first, last, 2, spacing)
    large = interpolate_shapes(np.pad(first, 4), np.pad(last, 4), 2, spacing)
    assert np.array_equal(large, np.pad(small, ((0, 0), (4, 4), (4, 4))))


def test_slices_of_two_sizes_are_refused():
    with pytest.raises(SamAdaptError, match="one axis"):
        interpolate_shapes(np.zeros((2, 3), int), np.zeros((3, 2), int), 1)


def test_signed_distance_of_a_mask_and_its_complement_add_up_to_zero():
    mask = disc(6)
    assert np.allclose(signed_distance(mask), -signed_distance(~mask))
    assert signed_distance(np.array([[True, True, False, False]])).tolist() == [[1.5, 0.5, -0.5, -1.5]]
    assert (signed_distance(np.ones((2, 2), bool)) > 0).all()
