import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_samadapt.imaging.prompts import Prompts
from napari_samadapt.learning.cut_out import LOWEST_LEVEL, cut_out

BOX = np.array([1.5, 1.5, 5.5, 3.5])
"""Rows 2 and 3, columns 2 to 5."""
SEEN = Prompts(box=BOX)
CLICKED = Prompts(np.array([[3, 2]]), np.array([1]), BOX)
BEYOND = Prompts(np.array([[3, 2], [7, 2]]), np.array([1, 1]), BOX)
NOT_BEYOND = Prompts(np.array([[3, 2], [7, 2]]), np.array([1, 0]), BOX)
CARRIED = Prompts(box=BOX, mask_input=np.ones((6, 9), bool))
CORRECTED = Prompts(np.array([[3, 2]]), np.array([1]), BOX, np.ones((6, 9), bool))
NO_BOX = Prompts(np.array([[3, 2]]), np.array([1]))
NO_PIXEL = Prompts(box=np.array([3.1, 2.1, 3.9, 2.9]))


def logits(**places: float) -> torch.Tensor:
    """Row 2 from column 2 to 4 is certain; `c7=0.5` sets column 7 of that row."""
    made = torch.full((6, 9), -5.0)
    made[2, 2:5] = 4
    for name, value in places.items():
        made[2, int(name[1:])] = value
    return made


@pytest.mark.parametrize(
    ("prompts", "place", "value", "taken"),
    [
        pytest.param(SEEN, 6, 0.9, False, id="outside the box: hardly likely"),
        pytest.param(SEEN, 6, 1.1, True, id="outside the box: likely"),
        pytest.param(CLICKED, 6, 0.9, False, id="the box counts with clicks too"),
        pytest.param(CORRECTED, 6, 0.9, False, id="and when they correct a mask"),
        pytest.param(
            NOT_BEYOND, 6, 0.9, False, id="a click beside the structure says nothing against the box"
        ),
        pytest.param(BEYOND, 6, 0.9, True, id="a click on the structure outside the box does"),
        pytest.param(CARRIED, 6, 0.9, True, id="the box of another slice's mask"),
        pytest.param(NO_BOX, 6, 0.9, True, id="no box"),
        pytest.param(NO_PIXEL, 6, 0.9, True, id="a box between the pixels"),
        pytest.param(SEEN, 5, -0.9, True, id="near the side of the box: half likely"),
        pytest.param(SEEN, 5, -1.1, False, id="near the side of the box: unlikely"),
        pytest.param(CLICKED, 5, -0.9, False, id="with clicks, they say how far"),
        pytest.param(CARRIED, 5, -0.9, False, id="not to the sides of another slice's box"),
    ],
)
def test_a_box_holds_the_mask(prompts: Prompts, place: int, value: float, taken: bool) -> None:
    mask = cut_out(logits(**{f"c{place}": value}), prompts)
    assert mask[2, 2:5].all()
    assert bool(mask[2, place]) is taken
    assert int(mask.sum()) == 3 + taken


def test_a_mask_that_reaches_the_sides_is_cut_out_at_even_odds() -> None:
    seen = logits(c5=0.5)
    seen[3, 2:6] = torch.tensor([0.5, -0.5, -0.5, -0.5])
    assert cut_out(seen, SEEN).nonzero().tolist() == [[2, 2], [2, 3], [2, 4], [2, 5], [3, 2]]


@given(
    npst.arrays(np.float32, (6, 9), elements=st.floats(-20, 20, width=32)),
    st.sampled_from([SEEN, CLICKED, BEYOND, CARRIED, NO_BOX, NO_PIXEL]),
)
def test_a_mask_is_never_empty_and_a_box_alone_takes_in_what_is_likely(
    values: np.ndarray, prompts: Prompts
) -> None:
    seen = torch.from_numpy(values)
    mask = cut_out(seen, prompts)
    assert mask.any()
    if prompts is SEEN and (seen[2:4, 2:6] > 0).any():
        inside, taken = seen[2:4, 2:6], mask[2:4, 2:6]
        assert taken[inside > 0].all()
        assert (inside[taken] > LOWEST_LEVEL).all()
