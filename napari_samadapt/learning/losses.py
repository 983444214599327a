"""Losses of the fine-tunes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def dice_loss(probabilities: Tensor, truth: Tensor, dims: tuple[int, ...]) -> Tensor:
    """1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1) over `dims`, one value for each place of the others."""
    overlap = (probabilities * truth).sum(dims)
    return 1 - (2 * overlap + 1) / (probabilities.sum(dims) + truth.sum(dims) + 1)


def cross_entropy_and_dice(logits: Tensor, targets: Tensor, balance: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy, and Dice over the classes that are present, of logits (B, K + 1, H, W) and targets (B, H, W).

    Dice is taken over the whole batch for each class but background, so that a class that few slices show counts.
    `balance` in [0, 1]: how far the cross-entropy favours small classes (see `class_weights`).
    """
    logits = logits.float()
    entropy = F.cross_entropy(logits, targets, weight=class_weights(targets, logits.shape[1], balance))
    probabilities = logits.softmax(1)
    truth = F.one_hot(targets, logits.shape[1]).permute(0, 3, 1, 2).to(probabilities)
    dice = dice_loss(probabilities, truth, (0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    present[0] = False
    return entropy, dice[present].mean() if bool(present.any()) else torch.zeros_like(entropy)


def class_weights(targets: Tensor, classes: int, balance: float) -> Tensor:
    """Weights (classes,) of each class's share of the batch to the power of -balance / 2: all 1 where that is 0."""
    share = torch.bincount(targets.flatten(), minlength=classes).float() / targets.numel()
    return share.clamp_min(1e-4) ** (-balance / 2)
