import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_samadapt.learning.mini import build_mini
from training.objects import SMALLEST, PromptRounds, choose_objects, clicks_in, jittered_boxes


def squares(*corners: tuple[int, int, int], size: int = 64) -> torch.Tensor:
    masks = torch.zeros(len(corners), size, size, dtype=torch.bool)
    for mask, (y, x, side) in zip(masks, corners, strict=True):
        mask[y : y + side, x : x + side] = True
    return masks


def test_objects_are_connected_parts_of_one_organ_or_the_whole_body() -> None:
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[0, 4:20, 4:20], labels[0, 40:60, 4:20], labels[0, 8:14, 8:14] = 4, 4, 5
    objects = choose_objects(torch.rand(2, 3, 64, 64), labels, 30, np.random.default_rng(0))
    assert objects.images.shape == (1, 3, 64, 64), "an image without a region is left out"
    areas = set(objects.masks[0].sum((1, 2)).tolist())
    wall, other, inside = 256 - 36, 400 - 80, 36
    assert areas <= {wall, other, inside, 256, 320, wall + other, 256 + other, 256 + 320}
    assert {wall, inside} <= areas


def test_regions_too_small_are_not_asked_for() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[0, 0, : SMALLEST - 1], labels[0, 30:50, 30:50] = 2, 4
    objects = choose_objects(torch.rand(1, 3, 64, 64), labels, 20, np.random.default_rng(1))
    assert int(objects.masks.sum((2, 3)).min()) >= SMALLEST


def test_a_slice_that_is_not_square_is_padded_right_and_below() -> None:
    labels = torch.full((1, 64, 40), 2)
    objects = choose_objects(torch.rand(1, 3, 64, 40), labels, 2, np.random.default_rng(0))
    assert objects.masks.shape == (1, 2, 64, 64)
    assert not objects.masks[..., 40:].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(6, 20), st.integers(0, 99))
def test_boxes_hold_the_middle_and_clicks_lie_inside(y: int, x: int, side: int, seed: int) -> None:
    masks = squares((y, x, side), (x, y, side))
    rng = torch.Generator().manual_seed(seed)
    for mask, (x0, y0, x1, y1) in zip(masks, jittered_boxes(masks, rng).tolist(), strict=True):
        rows, columns = mask.nonzero().float().mean(0).tolist()
        assert x0 < columns < x1
        assert y0 < rows < y1
        assert min(x0, y0) >= -0.5
        assert max(x1, y1) <= 63.5
    for deep in (True, False):
        clicks = clicks_in(masks, torch.full((2,), deep), rng).long()
        assert all(mask[row, column] for mask, (column, row) in zip(masks, clicks.tolist(), strict=True))


def test_a_deep_click_lies_in_the_largest_part_away_from_its_edge() -> None:
    masks = squares((2, 2, 6)) | squares((30, 30, 24))
    click = clicks_in(masks, torch.tensor([True]), torch.Generator().manual_seed(0))[0]
    assert ((click - 41.5).abs() < 6).all()


def test_prompts_grow_from_round_to_round() -> None:
    sam = build_mini(64)
    masks = squares((10, 10, 20), (20, 30, 16), (5, 5, 30), (30, 8, 20))
    prompts = PromptRounds(masks, 0, torch.Generator().manual_seed(0))
    assert prompts.ambiguous.tolist() == [False, False, False, True]
    sparse, dense = prompts.embed(sam.prompt_encoder)
    assert sparse.shape == (4, 2, 128)
    assert dense.shape == (4, 128, 8, 8)
    prompts.correct(torch.full((4, 32, 32), -5.0))
    assert prompts.signs.tolist() == [[1.0]] * 4, "all of the object was missed"
    assert not prompts.ambiguous.any()
    assert prompts.embed(sam.prompt_encoder)[0].shape == (4, 3, 128)


@pytest.mark.parametrize("extra", [1, 3])
def test_extra_clicks_say_truly_where_the_object_is(extra: int) -> None:
    masks = squares((10, 10, 20), (20, 30, 16), (5, 5, 30), (30, 8, 20))
    prompts = PromptRounds(masks, extra, torch.Generator().manual_seed(3))
    for mask, coords, signs in zip(masks, prompts.coords.long(), prompts.signs, strict=True):
        assert [float(mask[y, x]) for x, y in coords.tolist()] == signs.tolist()
    assert not prompts.ambiguous.any()
