"""Strokes told from napari's own paint events."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_samadapt.ui.strokes import stroke_of


@pytest.fixture
def painted():
    """A Labels layer on shared memory, and the payloads of its paint events."""
    array = np.zeros((3, 12, 12), np.uint16)
    layer = Labels(array)
    assert np.shares_memory(layer.data, array)
    payloads = []
    layer.events.paint.connect(lambda event: payloads.append(event.value))
    return layer, array, payloads


def check(stroke, before, after):
    """The stroke explains the difference between two arrays, completely and without repeats."""
    rebuilt = before.copy()
    assert np.array_equal(rebuilt[stroke.indices], stroke.before)
    rebuilt[stroke.indices] = stroke.after
    assert np.array_equal(rebuilt, after)
    assert len(set(zip(*stroke.indices, strict=True))) == len(stroke.before)
    assert (stroke.before != stroke.after).all()


def test_one_dab_of_the_brush(painted):
    layer, array, payloads = painted
    layer.brush_size = 5
    layer.paint((1, 6, 6), 3)
    check(stroke_of(payloads[0], array.shape), np.zeros_like(array), array)


def test_a_stroke_is_one_edit_although_its_dabs_overlap(painted):
    layer, array, payloads = painted
    array[1, 4:8, 4:8] = 2
    before = array.copy()
    with layer.block_history():
        for column in range(2, 9):
            layer.paint((1, 6, column), 3)
        layer.paint((1, 6, 6), 0)
    assert len(payloads) == 1
    check(stroke_of(payloads[0], array.shape), before, array)


def test_a_stroke_that_ends_where_it_began_changes_nothing(painted):
    layer, array, payloads = painted
    with layer.block_history():
        layer.paint((1, 6, 6), 3)
        layer.paint((1, 6, 6), 0)
    assert stroke_of(payloads[0], array.shape).before.size == 0


def test_fill_polygon_and_single_voxels(painted):
    layer, array, payloads = painted
    for act in (
        lambda: layer.fill((0, 0, 0), 4),
        lambda: layer.paint_polygon([[2, 1, 1], [2, 1, 8], [2, 8, 8]], 5),
        lambda: layer.data_setitem((np.array([1]), np.array([2]), np.array([3])), 7),
    ):
        before = array.copy()
        act()
        check(stroke_of(payloads[-1], array.shape), before, array)


def test_no_atoms():
    assert stroke_of([], (2, 2, 2)).before.size == 0
