"""Losses of the papers' binary tasks.

Conv-LoRA: structure loss, and balanced cross-entropy for shadows. COBOT's medical setting: Dice + cross-entropy.

`logits` and `targets` (B, 1, H, W) float, targets in [0, 1]; computed in at least float32 (sums over a megapixel).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

BORDER_WINDOW = 31
BORDER_WEIGHT = 5.0
DICE_SMOOTHING = 1e-5

BinaryLoss = Callable[[Tensor, Tensor], Tensor]


def structure_loss(logits: Tensor, targets: Tensor, bce: Literal["mean", "weighted"] = "mean") -> Tensor:
    """Weighted cross-entropy plus weighted IoU, averaged over the batch [PraNet, arXiv 2006.11392, section 2.4].

    Pixels near a border weigh up to six times as much (see `border_weights`). With `bce="mean"` the cross-entropy is
    the plain mean: the weights cancel in the official Conv-LoRA code, and its numbers come of that.
    """
    logits, targets = _at_least_float32(logits), _at_least_float32(targets)
    weights = border_weights(targets)
    if bce == "mean":
        entropy = F.binary_cross_entropy_with_logits(logits, targets)
    else:
        each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        entropy = ((weights * each).sum((2, 3)) / weights.sum((2, 3))).mean()
    p = logits.sigmoid()
    both = (weights * p * targets).sum((2, 3))
    either = (weights * (p + targets)).sum((2, 3)) - both
    return entropy + (1 - (both + 1) / (either + 1)).mean()


def border_weights(targets: Tensor) -> Tensor:
    """1 + 5 |mean of the 31 x 31 neighbourhood - target|; outside the image counts as background."""
    near = F.avg_pool2d(targets, BORDER_WINDOW, stride=1, padding=BORDER_WINDOW // 2)
    return 1 + BORDER_WEIGHT * (near - targets).abs()


def balanced_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy whose foreground weighs N_neg / N_pos, times the foreground's share of the batch (for shadows)."""
    logits, targets = _at_least_float32(logits), _at_least_float32(targets)
    positive = targets.sum() + 1e-10
    negative = targets.numel() - targets.sum()
    each = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=negative / positive)
    return positive / (positive + negative) * each


def dice_and_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy plus 1 - 2 Σpy / (Σp² + Σy²), averaged over the batch: COBOT's medical setting.

    Squares in the denominator and the smoothing of 1e-5 are those of MONAI's DiceCELoss(sigmoid, squared_pred).
    """
    logits, targets = _at_least_float32(logits), _at_least_float32(targets)
    p = logits.sigmoid()
    both = (p * targets).sum((2, 3))
    size = (p**2).sum((2, 3)) + (targets**2).sum((2, 3))
    dice = 1 - (2 * both + DICE_SMOOTHING) / (size + DICE_SMOOTHING)
    return F.binary_cross_entropy_with_logits(logits, targets) + dice.mean()


BINARY_LOSSES: dict[str, BinaryLoss] = {
    "structure": structure_loss,
    "structure-weighted": partial(structure_loss, bce="weighted"),
    "balanced-bce": balanced_bce,
    "dice-ce": dice_and_cross_entropy,
}


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
