import math

import pytest
import torch

from napari_samadapt.learning.losses import cross_entropy_and_dice


def certain(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits that are sure of the targets."""
    return torch.nn.functional.one_hot(targets, classes).permute(0, 3, 1, 2).float() * 50


def test_a_perfect_answer_costs_nothing() -> None:
    targets = torch.tensor([[[0, 1], [2, 2]]])
    entropy, dice = cross_entropy_and_dice(certain(targets, 4), targets)
    assert entropy.item() == pytest.approx(0, abs=1e-6)
    assert dice.item() == pytest.approx(0, abs=1e-6)


def test_values_by_hand() -> None:
    """Three of four pixels are class 0, undecided logits between two classes."""
    targets = torch.tensor([[[0, 0], [0, 1]]])
    entropy, dice = cross_entropy_and_dice(torch.zeros(1, 2, 2, 2), targets)
    assert entropy.item() == pytest.approx(math.log(2))
    assert dice.item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))


def test_without_a_class_dice_is_zero() -> None:
    targets = torch.zeros(1, 3, 3, dtype=torch.int64)
    _, dice = cross_entropy_and_dice(torch.randn(1, 3, 3, 3), targets)
    assert dice.item() == 0


@pytest.mark.parametrize(("balance", "favoured"), [(0.0, 1.0), (1.0, 3.0)])
def test_balance_favours_the_small_class(balance: float, favoured: float) -> None:
    """One pixel of ten: its wrong answer weighs three times (the root of 0.9 / 0.1) one of the large class."""
    targets = torch.zeros(1, 1, 10, dtype=torch.int64)
    targets[0, 0, 0] = 1
    costs = []
    for wrong in (0, 9):
        logits = certain(targets, 2)
        logits[0, :, 0, wrong] = logits[0, :, 0, wrong].flip(0)
        costs.append(cross_entropy_and_dice(logits, targets, balance)[0].item())
    assert costs[0] / costs[1] == pytest.approx(favoured, rel=1e-3)
