"""Prompts as shapes: what lies under the mouse, what a move or a removal leaves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.ui.prompt_shapes import (
    Grip,
    box_around,
    dotted,
    grip_at,
    last_of,
    moved,
    outline_of,
    points_along,
    region_of,
    shapes_of,
    with_mask,
    with_points,
    without,
)

SHAPE = (20, 30)
MASK = np.zeros(SHAPE, bool)
MASK[12:18, 3:9] = True
ALL = Prompts([[5, 5], [20, 5]], [1, 0], box=[10, 8, 25, 16], mask_input=MASK)
REACH = np.array([1.0, 1.0])


@pytest.mark.parametrize(
    ("place", "grip"),
    [
        ((5, 5), Grip("point", 0)),
        ((20.6, 5.6), Grip("point", 1)),
        ((10, 8), Grip("corner", 0)),
        ((25, 8), Grip("corner", 1)),
        ((25, 16), Grip("corner", 2)),
        ((10, 16), Grip("corner", 3)),
        ((17, 8.5), Grip("box")),
        ((2.5, 14), Grip("mask")),
        ((17, 12), None),
        ((5, 14), None),
    ],
)
def test_what_lies_under_the_mouse(place, grip):
    assert grip_at(ALL, np.array(place, float), REACH) == grip


def test_a_point_goes_before_an_outline():
    prompts = Prompts([[10, 8.4]], [1], box=[10, 8, 25, 16])
    assert grip_at(prompts, np.array([10.0, 8.0]), REACH) == Grip("point", 0)


def test_the_reach_may_differ_along_x_and_y():
    prompts = Prompts([[5, 5]], [1])
    assert grip_at(prompts, np.array([8.0, 5.0]), np.array([4.0, 1.0])) == Grip("point", 0)
    assert grip_at(prompts, np.array([5.0, 8.0]), np.array([4.0, 1.0])) is None
    assert grip_at(Prompts(), np.array([5.0, 8.0]), REACH) is None


@given(
    st.sampled_from(
        [Grip("point", 0), Grip("point", 1), Grip("box"), *(Grip("corner", n) for n in range(4))]
    ),
    st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_what_is_moved_stays_inside_and_the_rest_where_it_is(grip, by):
    after = moved(ALL, grip, np.array(by), SHAPE)
    after.check_inside(SHAPE)
    assert after.mask_input is ALL.mask_input or np.array_equal(after.mask_input, MASK)
    if grip.kind == "point":
        others = np.arange(2) != grip.number
        assert np.array_equal(after.point_coords[others], ALL.point_coords[others])
        assert np.array_equal(after.box, ALL.box)
    else:
        assert np.array_equal(after.point_coords, ALL.point_coords)
        if grip.kind == "box":
            assert np.allclose(after.box[2:] - after.box[:2], ALL.box[2:] - ALL.box[:2], atol=1e-4)


@pytest.mark.parametrize(
    ("grip", "by", "box"),
    [
        (Grip("corner", 0), (2, 3), (12, 11, 25, 16)),
        (Grip("corner", 2), (-20, -20), (5, -0.5, 10, 8)),
        (Grip("box"), (1, -1), (11, 7, 26, 15)),
        (Grip("corner", 2), (-15, -8), (10, 8, 25, 16)),
    ],
    ids=["smaller", "turned over", "as a whole", "never to nothing"],
)
def test_a_box_is_moved(grip, by, box):
    assert moved(ALL, grip, np.array(by, float), SHAPE).box.tolist() == pytest.approx(box)


@pytest.mark.parametrize("grip", [grip for grip, _ in shapes_of(ALL)] + [Grip("corner", 3)])
def test_what_is_taken_away_is_gone_and_the_rest_stays(grip):
    after = without(ALL, grip)
    assert (len(after.point_coords) == 1) == (grip.kind == "point")
    assert (after.box is None) == (grip.kind in ("box", "corner"))
    assert (after.mask_input is None) == (grip.kind == "mask")


def test_a_mask_and_its_box_are_one_thing():
    prompts = with_mask(Prompts([[5, 5]], [1], box=[1, 1, 4, 4]), MASK)
    assert [grip.kind for grip, _ in shapes_of(prompts)] == ["point", "mask"]
    assert prompts.box.tolist() == [2.5, 11.5, 8.5, 17.5]
    after = without(prompts, Grip("mask"))
    assert after.box is None
    assert len(after.point_coords) == 1


def test_the_last_prompt_goes_first():
    prompts, taken = ALL, []
    while (grip := last_of(prompts)) is not None:
        taken.append(grip)
        prompts = without(prompts, grip)
    assert taken == [Grip("point", 1), Grip("point", 0), Grip("mask"), Grip("box")]
    assert prompts.empty


@pytest.mark.parametrize(("length", "count"), [(0.5, 1), (3, 2), (12, 2), (18, 3), (100, 5)])
def test_a_scribble_is_up_to_five_points_along_it(length, count):
    path = np.array([[2, 3], [2 + length / 2, 3], [2 + length, 3]])
    places = points_along(path)
    assert len(places) == count
    assert (places[:, 1] == 3).all()
    if count > 1:
        assert np.ptp(np.diff(places[:, 0])) < 1e-9
        assert places[0, 0] - 2 == pytest.approx(2 + length - places[-1, 0])


def test_a_scribble_has_one_sign():
    after = with_points(Prompts([[5, 5]], [1]), np.array([[1.0, 2.0], [3.0, 4.0]]), positive=False)
    assert after.point_labels.tolist() == [1, 0, 0]


def test_the_pixels_inside_a_lasso():
    region = region_of(np.array([[2.0, 3.0], [8.0, 3.0], [8.0, 6.0], [2.0, 6.0]]), SHAPE)
    assert region[4:6, 3:8].all()
    assert not region[:3].any()
    assert not region[7:].any()
    with pytest.raises(SamAdaptError, match="around no pixel"):
        region_of(np.array([[2.2, 3.2], [2.4, 3.2], [2.4, 3.4]]), SHAPE)


def test_outlines_run_along_the_edges_of_pixels():
    dots = outline_of(MASK)
    assert dots.min(axis=0).tolist() == [2.5, 11.5]
    assert dots.max(axis=0).tolist() == [8.5, 17.5]
    assert outline_of(np.zeros(SHAPE, bool)).shape == (0, 2)
    assert outline_of(np.ones(SHAPE, bool)).min() == -0.5


def test_dots_are_evenly_spaced_and_a_box_has_two_ends():
    dots = dotted(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0]]), closed=True)
    steps = np.hypot(*np.diff(dots, axis=0).T)
    assert steps.max() <= 0.6
    assert dots[0].tolist() == dots[-1].tolist() == [0, 0]
    assert box_around(np.array([[9.0, 2.0], [30.0, 30.0], [4.0, 7.0]])) == (4, 2, 9, 7)
