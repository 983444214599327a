"""The loss of a decoder that answers with a set of masks: match masks to classes, then compare point by point.

Mask2Former's [arXiv 2112.01527, section 3.3], as Conv-LoRA's Appendix B takes it. N masks and their class logits stand
against the classes that an image shows; which mask answers for which class is the cheapest assignment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor

from .losses import dice_loss

IGNORED = 255
POINTS = 112 * 112
OVERSAMPLING = 3
UNCERTAIN_SHARE = 0.75
NO_OBJECT_WEIGHT = 0.1


@dataclass(frozen=True)
class SetWeights:
    """Weights of the classification, cross-entropy and Dice terms."""

    classes: float
    entropy: float
    dice: float


MATCHING_WEIGHTS = SetWeights(1.0, 5.0, 5.0)
SET_WEIGHTS = {
    "mask2former": SetWeights(2.0, 5.0, 5.0),
    "autogluon-config": SetWeights(10.0, 5.0, 5.0),
    "autogluon-effective": SetWeights(1.0, 1.0, 1.0),
}
"""The paper gives no numbers. Mask2Former's are the default; Conv-LoRA's code declares 10/5/5 but adds plain sums."""


@dataclass(frozen=True, eq=False)
class ClassMasks:
    """What one image shows: `classes` (M,) int64, ascending, and a mask for each, `masks` (M, H, W) float32."""

    classes: Tensor
    masks: Tensor


def class_masks(target: Tensor) -> ClassMasks:
    """The classes of a target (H, W) int64 and their masks. 255 is no class; background is one."""
    classes = torch.unique(target)
    classes = classes[classes != IGNORED]
    return ClassMasks(classes, (target[None] == classes[:, None, None]).float())


def set_loss(
    mask_logits: Tensor, class_logits: Tensor, targets: Sequence[ClassMasks], weights: SetWeights, rng: torch.Generator
) -> Tensor:  # fmt: skip
    """The sum of `set_terms`."""
    return torch.stack(list(set_terms(mask_logits, class_logits, targets, weights, rng).values())).sum()


def set_terms(
    mask_logits: Tensor, class_logits: Tensor, targets: Sequence[ClassMasks], weights: SetWeights, rng: torch.Generator
) -> dict[str, Tensor]:  # fmt: skip
    """The three terms, weighted, of mask logits (B, N, h, w) and class logits (B, N, K + 1).

    The last class is "no object", with the weight 0.1. Cross-entropy and Dice of the masks are taken on points that
    favour uncertain ones, and divided by the number of masks in the batch. The same points are drawn whatever the
    order of the N queries.
    """
    mask_logits, class_logits = mask_logits.float(), class_logits.float()
    no_object = class_logits.shape[2] - 1
    wanted = class_logits.new_full(class_logits.shape[:2], no_object, dtype=torch.int64)
    entropy, dice = mask_logits.new_zeros(()), mask_logits.new_zeros(())
    for index, target in enumerate(targets):
        queries, shown = match_queries(mask_logits[index], class_logits[index], target, rng)
        wanted[index, queries] = target.classes[shown]
        logits, truth = uncertain_points(mask_logits[index, queries], target.masks[shown], rng)
        entropy, dice = entropy + point_entropy(logits, truth), dice + point_dice(logits, truth)
    masks = max(1, sum(len(target.classes) for target in targets))
    importance = class_logits.new_ones(no_object + 1)
    importance[no_object] = NO_OBJECT_WEIGHT
    classes = F.cross_entropy(class_logits.transpose(1, 2), wanted, weight=importance)
    return {
        "classes": weights.classes * classes,
        "entropy": weights.entropy * entropy / masks,
        "dice": weights.dice * dice / masks,
    }


@torch.no_grad()
def match_queries(
    mask_logits: Tensor, class_logits: Tensor, target: ClassMasks, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The cheapest pairs of queries and masks: their numbers (P,) and (P,), P = min(N, M), ascending in the masks.

    One image: mask logits (N, h, w), class logits (N, K + 1). Cost: minus the probability of the class, and
    cross-entropy and Dice on points spread evenly.
    """
    points = _random_points(1, POINTS, rng, mask_logits.device)
    with torch.autocast(mask_logits.device.type, enabled=False):  # products of 12 544 terms need their digits
        cost = _matching_cost(mask_logits.float(), class_logits.float(), target, points)
    cost = cost.nan_to_num(nan=0.0)  # numbers that went wrong show in the loss, not here
    queries, shown = linear_sum_assignment(cost.cpu().numpy())
    order = shown.argsort()
    device = mask_logits.device
    return torch.from_numpy(queries[order]).to(device), torch.from_numpy(shown[order]).to(device)


def _matching_cost(mask_logits: Tensor, class_logits: Tensor, target: ClassMasks, points: Tensor) -> Tensor:
    """(N, M) of queries and masks, on points (1, P, 2)."""
    logits = _sample(mask_logits[:, None], points.expand(len(mask_logits), -1, -1))  # (N, P)
    truth = _sample(target.masks[:, None], points.expand(len(target.masks), -1, -1))  # (M, P)
    probability = class_logits.softmax(1)[:, target.classes]
    entropy = (F.softplus(-logits) @ truth.T + F.softplus(logits) @ (1 - truth).T) / logits.shape[1]
    p = logits.sigmoid()
    dice = 1 - (2 * p @ truth.T + 1) / (p.sum(1)[:, None] + truth.sum(1)[None] + 1)
    weights = MATCHING_WEIGHTS
    return -weights.classes * probability + weights.entropy * entropy + weights.dice * dice


def point_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of (M, P) logits: mean over points, sum over masks."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1).sum()


def point_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 Σpy + 1) / (Σp + Σy + 1) of (M, P) logits, summed over masks."""
    return dice_loss(logits.sigmoid(), truth, (1,)).sum()


def uncertain_points(mask_logits: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits and truth (M, P) of masks (M, h, w) and (M, H, W): three quarters where the logit is nearest to 0."""
    count = len(mask_logits)
    with torch.no_grad():
        many = _random_points(count, OVERSAMPLING * POINTS, rng, mask_logits.device)
        certainty = _sample(mask_logits[:, None], many).abs()
        uncertain = int(UNCERTAIN_SHARE * POINTS)
        chosen = certainty.topk(uncertain, dim=1, largest=False).indices
        near = many.gather(1, chosen[:, :, None].expand(-1, -1, 2))
        rest = _random_points(count, POINTS - uncertain, rng, mask_logits.device)
        points = torch.cat([near, rest], 1)
        truth = _sample(masks[:, None], points)
    return _sample(mask_logits[:, None], points), truth


def _random_points(count: int, points: int, rng: torch.Generator, device: torch.device) -> Tensor:
    """(count, points, 2) in (-1, 1), (x, y), uniform over the image."""
    return (2 * torch.rand(count, points, 2, generator=rng) - 1).to(device)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """(M, 1, h, w) at (M, P, 2) to (M, P), bilinear; an image reaches from -1 to 1."""
    return F.grid_sample(maps, points[:, None], padding_mode="border", align_corners=False)[:, 0, 0]
