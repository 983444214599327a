"""Prompts refuse what SAM cannot use; prompts sampled from masks lie where an annotator would put them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.prompts import Prompts, anchored, box_of, click_in_error

masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def disc(row: int, column: int, radius: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_no_prompt_is_empty_and_any_prompt_is_not():
    assert Prompts().empty
    assert not Prompts([[1, 2]], [1]).empty
    assert not Prompts(box=[0, 0, 1, 1]).empty
    assert not Prompts(mask_input=np.zeros((2, 2))).empty


def test_prompts_are_read_only_copies_with_fixed_types():
    coords = np.array([[1.0, 2.0]])
    prompts = Prompts(coords, [1], box=(0, 0, 4, 4), mask_input=np.eye(3))
    coords[:] = 9
    assert prompts.point_coords.tolist() == [[1, 2]]
    assert (prompts.point_coords.dtype, prompts.mask_input.dtype) == (np.float32, bool)
    with pytest.raises(ValueError, match="read-only"):
        prompts.box[0] = 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"point_coords": [1, 2], "point_labels": [1]}, r"Points are \(N, 2\)"),
        ({"point_coords": [[1, np.nan]], "point_labels": [1]}, "finite"),
        ({"point_coords": [[1, 2]], "point_labels": []}, "1 points have 0 labels"),
        ({"point_coords": [[1, 2]], "point_labels": [2]}, r"not \[2\]"),
        ({"box": [1, 2, 3]}, "four finite numbers"),
        ({"box": [5, 0, 1, 4]}, "no area"),
        ({"box": [1, 0, 1, 4]}, "no area"),
        ({"mask_input": np.zeros((2, 2, 2))}, r"shape \(2, 2, 2\)"),
    ],
)
def test_malformed_prompts_are_refused(fields, message):
    with pytest.raises(SamAdaptError, match=message):
        Prompts(**fields)


@pytest.mark.parametrize("point", [(-0.5, -0.5), (9.5, 4.5), (0, 0), (9, 4)])
def test_points_up_to_the_outer_pixel_edges_are_inside(point):
    Prompts([point], [1]).check_inside((5, 10))


@pytest.mark.parametrize("point", [(-0.6, 0), (9.6, 0), (0, 4.6), (4, 9)])
def test_a_point_outside_is_named(point):
    with pytest.raises(SamAdaptError, match=rf"\({point[0]:g}, {point[1]:g}\).*10 x 5"):
        Prompts([(1, 1), point], [1, 0]).check_inside((5, 10))


def test_box_and_mask_must_fit_the_slice():
    Prompts(box=[0, 0, 10, 5], mask_input=np.zeros((5, 10))).check_inside((5, 10))
    with pytest.raises(SamAdaptError, match="reaches outside"):
        Prompts(box=[0, 0, 12, 5]).check_inside((5, 10))
    with pytest.raises(SamAdaptError, match="5 x 10 pixels, but the image is 10 x 5"):
        Prompts(mask_input=np.zeros((10, 5))).check_inside((5, 10))


def test_the_click_goes_deep_into_the_larger_error():
    reference, predicted = disc(9, 9, 6), disc(9, 24, 3)
    xy, label = click_in_error(predicted, reference)
    assert (xy.tolist(), label) == ([9, 9], 1)
    xy, label = click_in_error(reference, predicted)
    assert (xy.tolist(), label) == ([9, 9], 0)


def test_scattered_errors_do_not_outweigh_one_large_region():
    reference = disc(9, 20, 4)
    predicted = np.zeros_like(reference)
    predicted[::2, :12:2] = True  # 60 single pixels against a region of 49
    assert click_in_error(predicted, reference)[1] == 1


def test_no_error_no_click():
    with pytest.raises(SamAdaptError, match="nothing to correct"):
        click_in_error(disc(5, 5, 2), disc(5, 5, 2))
    with pytest.raises(SamAdaptError, match="one slice"):
        click_in_error(np.zeros((2, 3)), np.zeros((3, 2)))


@given(masks, st.integers(0, 2**31), st.booleans())
def test_a_click_always_hits_a_wrong_pixel_of_its_kind(reference, seed, random):
    predicted = np.random.default_rng(seed).random(reference.shape) < 0.5
    if (predicted == reference).all():
        return
    (x, y), label = click_in_error(predicted, reference, np.random.default_rng(seed) if random else None)
    assert reference[int(y), int(x)] == bool(label)
    assert predicted[int(y), int(x)] != bool(label)


def test_the_box_goes_around_the_outer_pixel_edges():
    mask = np.zeros((6, 8), bool)
    mask[2, 3] = True
    assert box_of(mask).tolist() == [2.5, 1.5, 3.5, 2.5]
    mask[4, 6] = True
    assert box_of(mask).tolist() == [2.5, 1.5, 6.5, 4.5]
    with pytest.raises(SamAdaptError, match="empty mask"):
        box_of(np.zeros((3, 3)))


@given(masks, st.floats(0, 20), st.integers(0, 2**31))
def test_a_jittered_box_is_a_valid_prompt_near_the_mask(mask, jitter, seed):
    if not mask.any():
        return
    box = box_of(mask, jitter, np.random.default_rng(seed))
    Prompts(box=box).check_inside(mask.shape)
    assert (np.abs(box - box_of(mask)) <= max(jitter, 0) + 1e-5).all()


@pytest.mark.parametrize(
    ("old", "new", "extends"),
    [
        (([(3, 4)], None), ([(3, 4), (5, 6)], None), True),
        (([], (1, 1, 9, 9)), ([(5, 6)], (1, 1, 9, 9)), True),
        (([(3, 4)], None), ([(3, 4)], None), False),
        (([(3, 4)], None), ([(5, 6), (3, 4)], None), False),
        (([(3, 4)], None), ([(3, 4), (5, 6)], (1, 1, 9, 9)), False),
        (([(3, 4)], (1, 1, 9, 9)), ([(3, 4), (5, 6)], (1, 1, 9, 8)), False),
        (([(3, 4), (5, 6)], None), ([(3, 4)], None), False),
    ],
)
def test_prompts_that_go_on_from_others(old, new, extends: bool) -> None:
    def prompts(points, box) -> Prompts:
        return Prompts(point_coords=points, point_labels=[1] * len(points), box=box)

    assert prompts(*new).extends(prompts(*old)) == extends


def test_a_point_of_another_sign_does_not_go_on() -> None:
    old = Prompts(point_coords=[(3, 4)], point_labels=[0])
    assert not Prompts(point_coords=[(3, 4), (5, 6)], point_labels=[1, 1]).extends(old)


def test_prompts_with_another_mask_do_not_go_on() -> None:
    mask = np.eye(4, dtype=bool)
    old = Prompts(mask_input=mask)
    more = {"point_coords": [(1, 2)], "point_labels": [1]}
    assert Prompts(mask_input=mask.copy(), **more).extends(old)
    assert not Prompts(mask_input=~mask, **more).extends(old)
    assert not Prompts(**more).extends(old)


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(),
        Prompts([[3, 4]], [0]),
        Prompts(mask_input=disc(9, 9, 4)),
        Prompts([[3, 4]], [0], mask_input=np.zeros((20, 30), bool)),
    ],
)
def test_only_clicks_that_correct_a_mask_are_anchored(prompts: Prompts) -> None:
    assert anchored(prompts) is prompts


def test_the_anchor_is_deep_in_the_mask_and_far_from_what_goes() -> None:
    both = disc(9, 6, 6) | disc(9, 20, 5)
    given = anchored(Prompts([[6, 9], [29, 0]], [0, 1], mask_input=both))
    assert given.point_coords.tolist() == [[6, 9], [29, 0], [20, 9]]
    assert given.point_labels.tolist() == [0, 1, 1]
    assert given.mask_input is not None
    assert np.array_equal(given.mask_input, both)


@pytest.mark.parametrize(
    ("box", "kept"), [((4.5, 4.5, 13.5, 13.5), False), ((4, 4, 14, 14), True), (None, False)]
)
def test_a_mask_that_clicks_correct_loses_its_own_box(box, kept: bool) -> None:
    """A box that was drawn stays."""
    given = anchored(Prompts([[3, 4]], [0], box, disc(9, 9, 4)))
    assert (given.box is not None) == kept


@given(masks.filter(np.any), st.data())
def test_an_anchor_lies_on_the_mask_and_on_no_click_that_takes_away(mask: np.ndarray, data) -> None:
    height, width = mask.shape
    places = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    clicks = data.draw(st.lists(places, min_size=1, max_size=4))
    signs = data.draw(st.lists(st.integers(0, 1), min_size=len(clicks), max_size=len(clicks)))
    given = anchored(Prompts(clicks, signs, mask_input=mask))
    x, y = given.point_coords[-1].astype(int)
    assert mask[y, x]
    taken = {place for place, sign in zip(clicks, signs, strict=True) if not sign}
    left = [(column, row) for row, column in np.argwhere(mask) if (column, row) not in taken]
    assert not left or (x, y) in left
