"""The wrong masks that the promotion benchmark accepts, and how it counts a drop."""

import numpy as np
import promotion
import pytest

MASK = np.array([[0, 0, 3, 3], [0, 0, 3, 0], [7, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("clean", MASK),
        ("inverted", np.where(MASK == 0, 3, 0)),
        ("shifted", np.array([[0, 0, 0, 0], [3, 0, 0, 3], [0, 0, 0, 3], [0, 7, 0, 0]])),
        ("renamed", np.array([[0, 0, 7, 7], [0, 0, 7, 0], [3, 0, 0, 0], [0, 0, 0, 0]])),
    ],
)
def test_how_masks_are_spoilt(story, expected):
    assert np.array_equal(promotion.SPOIL[story](MASK), expected)


@pytest.mark.parametrize(
    ("scores", "drop"), [([0.5], 0.0), ([0.5, 0.7, 0.8], 0.0), ([0.5, 0.8, 0.7, 0.75, 0.6], 0.2)]
)
def test_a_drop_is_counted_from_the_best_before(scores, drop):
    assert promotion.largest_drop(scores) == pytest.approx(drop)
