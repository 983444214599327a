"""Losses of both papers against the reference values of the method specification and against slow formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_samadapt.learning.set_losses import (
    MATCHING_WEIGHTS,
    NO_OBJECT_WEIGHT,
    OVERSAMPLING,
    POINTS,
    SET_WEIGHTS,
    UNCERTAIN_SHARE,
    ClassMasks,
    SetWeights,
    class_masks,
    match_queries,
    point_dice,
    point_entropy,
    set_loss,
    uncertain_points,
)
from napari_samadapt.learning.structure_losses import (
    BINARY_LOSSES,
    balanced_bce,
    border_weights,
    dice_and_cross_entropy,
    structure_loss,
)


def reference_square() -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    truth = ((rows >= 16) & (rows < 48) & (columns >= 20) & (columns < 52)).double()
    logits = 2 * torch.sin(columns.double() / 7) * torch.cos(rows.double() / 5) + 0.5
    return logits[None, None], truth[None, None]


@pytest.mark.parametrize(
    ("bce", "entropy", "expected"),
    [("mean", 0.9653976065, 1.6504906632), ("weighted", 0.8993800788, 1.5844731355)],
)
def test_structure_loss_has_its_reference_values(bce: str, entropy: float, expected: float) -> None:
    logits, truth = reference_square()
    loss = structure_loss(logits, truth, bce).item()
    assert loss == pytest.approx(expected, abs=1e-9)
    weights = border_weights(truth) if bce == "weighted" else torch.ones_like(truth)
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    part = ((weights * each).sum() / weights.sum()).item()
    assert part == pytest.approx(entropy, abs=1e-9)
    assert loss - part == pytest.approx(0.6850930567, abs=1e-9)  # the weighted IoU
    assert structure_loss(logits * 0, truth, bce).item() == pytest.approx(1.4175390415, abs=1e-9)


def test_border_weights_have_their_reference_sum() -> None:
    weights = border_weights(reference_square()[1])
    assert weights.sum().item() == pytest.approx(8420.4953174, abs=1e-6)
    assert weights.min() >= 1
    assert weights.max() <= 6


def test_balanced_bce_has_its_reference_value() -> None:
    truth = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    truth[..., :2, :2] = 1
    logits = torch.linspace(-2, 2, 16, dtype=torch.float64).view(1, 1, 4, 4)
    assert balanced_bce(logits, truth).item() == pytest.approx(0.4984538313, abs=1e-9)


def test_balanced_bce_without_foreground_is_finite() -> None:
    assert math.isfinite(balanced_bce(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item())


def test_dice_and_cross_entropy_by_hand() -> None:
    """p = 1/2 at four pixels of which one is true: Dice 2 · 1/2 / (4 · 1/4 + 1) = 1/2."""
    truth = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    value = dice_and_cross_entropy(torch.zeros(1, 1, 2, 2), truth).item()
    assert value == pytest.approx(math.log(2) + 0.5, abs=1e-5)


@pytest.mark.parametrize("name", BINARY_LOSSES)
def test_half_precision_is_summed_in_float32(name: str) -> None:
    logits, truth = reference_square()
    loss = BINARY_LOSSES[name](logits.bfloat16(), truth.bfloat16())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(BINARY_LOSSES[name](logits, truth).item(), rel=1e-2)


@pytest.mark.parametrize("name", BINARY_LOSSES)
def test_a_certain_right_answer_costs_nothing(name: str) -> None:
    _, truth = reference_square()
    assert BINARY_LOSSES[name]((truth - 0.5) * 100, truth).item() == pytest.approx(0, abs=1e-3)


def test_point_losses_have_their_reference_values() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5, -3.0]], dtype=torch.float64)
    truth = torch.tensor([[1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    assert point_dice(logits, truth).item() == pytest.approx(0.1687083755, abs=1e-9)
    assert point_entropy(logits, truth).item() == pytest.approx(0.2407135086, abs=1e-9)


def test_weights_of_the_three_readings() -> None:
    assert {name: (w.classes, w.entropy, w.dice) for name, w in SET_WEIGHTS.items()} == {
        "mask2former": (2, 5, 5),
        "autogluon-config": (10, 5, 5),
        "autogluon-effective": (1, 1, 1),
    }
    assert SetWeights(1, 5, 5) == MATCHING_WEIGHTS
    assert (POINTS, OVERSAMPLING, UNCERTAIN_SHARE, NO_OBJECT_WEIGHT) == (12_544, 3, 0.75, 0.1)


def test_the_ignore_label_is_neither_class_nor_mask() -> None:
    shown = class_masks(torch.tensor([[0, 255], [3, 3]]))
    assert shown.classes.tolist() == [0, 3]
    assert shown.masks.tolist() == [[[1, 0], [0, 0]], [[0, 0], [1, 1]]]


def random_answer(queries: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(2, queries, 8, 8, generator=rng)
    logits = torch.randn(2, queries, classes + 1, generator=rng)
    return masks, logits, torch.randint(classes, (2, 16, 16), generator=rng)


@given(queries=st.integers(1, 6), classes=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_queries_is_of_no_account(queries: int, classes: int, seed: int) -> None:
    masks, logits, target = random_answer(queries, classes, seed)
    shown = [class_masks(t) for t in target]
    order = torch.randperm(queries, generator=torch.Generator().manual_seed(seed + 1))
    costs = [
        set_loss(m, c, shown, SET_WEIGHTS["mask2former"], torch.Generator().manual_seed(3)).item()
        for m, c in ((masks, logits), (masks[:, order], logits[:, order]))
    ]
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)


def test_each_class_gets_the_query_that_shows_it() -> None:
    target = torch.zeros(16, 16, dtype=torch.int64)
    target[:, 8:], target[:4, :4] = 2, 5
    shown = class_masks(target)
    masks = (shown.masks[[2, 0, 1, 0]] - 0.5) * 20
    classes = torch.zeros(4, 7)
    classes[1, 0] = 5.0  # of two queries with the same mask, this one also knows the class
    queries, numbers = match_queries(masks, classes, shown, torch.Generator().manual_seed(0))
    assert (queries.tolist(), numbers.tolist()) == ([1, 2, 0], [0, 1, 2])


@pytest.mark.parametrize(("lead", "winner"), [(0.95, 1), (1.05, 0)])
def test_in_matching_the_class_weighs_one_and_the_mask_five(lead: float, winner: int) -> None:
    """Query 1 has the better mask, query 0 the likelier class, by `lead` times what the mask is worth."""
    logits = torch.tensor([2.0, 2.6], dtype=torch.float64)
    p = logits.sigmoid()
    mask_costs = -5 * p.log() + 5 * (1 - p) / (1 + p)  # of the whole image, the same at every point
    chances = 0.9 - torch.tensor([0.0, lead * (mask_costs[0] - mask_costs[1]).item()])
    shown = ClassMasks(torch.tensor([0]), torch.ones(1, 8, 8))
    masks = logits.float().view(2, 1, 1).expand(2, 4, 4)
    classes = torch.stack([chances.logit(), torch.zeros(2)], 1)
    queries, _ = match_queries(masks, classes, shown, torch.Generator().manual_seed(0))
    assert queries.tolist() == [winner]


def test_matching_keeps_its_digits_under_autocast() -> None:
    masks, classes, target = random_answer(20, 12, seed=3)  # in bfloat16 two pairs change places
    shown = class_masks(target[0])
    queries, _ = match_queries(masks[0], classes[0], shown, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, _ = match_queries(masks[0], classes[0], shown, torch.Generator().manual_seed(0))
    assert torch.equal(queries, again)


def test_with_too_few_queries_the_rest_is_left_unanswered() -> None:
    shown = class_masks(torch.arange(4).repeat(4, 1))
    queries, numbers = match_queries(
        torch.zeros(2, 4, 4), torch.zeros(2, 5), shown, torch.Generator().manual_seed(0)
    )
    assert len(queries) == len(numbers) == 2


def test_terms_of_the_set_loss_by_hand() -> None:
    """Flat logits: ln 2 and Dice of probability 1/2 on every mask; 1 of 3 queries is "no object" and weighs 0.1."""
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[:, :, 4:] = 1
    masks, classes = torch.zeros(1, 3, 8, 8), torch.tensor([[[0.0, 0.0, 1.0]] * 3])
    shown = [class_masks(target[0])]

    def cost(*weights: float) -> float:
        return set_loss(masks, classes, shown, SetWeights(*weights), torch.Generator().manual_seed(0)).item()

    log_p = F.log_softmax(classes[0, 0], 0)
    assert cost(1, 0, 0) == pytest.approx(-(log_p[0] + log_p[1] + 0.1 * log_p[2]).item() / 2.1, rel=1e-5)
    assert cost(0, 1, 0) == pytest.approx(math.log(2), rel=1e-5)
    assert cost(0, 0, 1) == pytest.approx(0.5, abs=0.01)
    assert cost(2, 5, 5) == pytest.approx(2 * cost(1, 0, 0) + 5 * cost(0, 1, 0) + 5 * cost(0, 0, 1), rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "near"),  # logits below 19 fill 0.9 rows more: 0.19 and 0.49 of the image
    [(1, 3 * 0.19 + 0.25 * 0.19), (4, 0.75 + 0.25 * 0.49)],
    ids=["fewer than three quarters", "more than enough"],
)
def test_three_quarters_of_the_points_are_the_uncertain_ones(rows: int, near: float) -> None:
    """Rows of logits 0 between others of 20. Of three times the points, those nearest to 0; the rest by chance."""
    logits = torch.full((1, 10, 10), 20.0)
    logits[:, 3 : 3 + rows] = 0.0
    values, truth = uncertain_points(
        logits, (logits > 10).float().repeat_interleave(2, 1), torch.Generator().manual_seed(0)
    )
    assert values.shape == truth.shape == (1, 112 * 112)
    assert (values.abs() < 19).float().mean().item() == pytest.approx(near, abs=0.015)


def test_an_image_with_nothing_known_teaches_only_no_object() -> None:
    masks = torch.zeros(1, 2, 4, 4, requires_grad=True)
    classes = torch.zeros(1, 2, 4, requires_grad=True)
    shown = [class_masks(torch.full((4, 4), 255))]
    loss = set_loss(masks, classes, shown, SET_WEIGHTS["mask2former"], torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(4))
    assert classes.grad is not None
    assert classes.grad[..., 3].lt(0).all()
