"""Simulated prompts: what keeps clicks and boxes working while adapters change the embeddings, and makes them better.

Each slice of a batch is prompted for one of its classes by a jittered box or a click, and SAM's own mask decoder
answers. Adapters, in the encoder and in the mask decoder, learn from the error.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_samadapt.imaging.masks import components
from napari_samadapt.imaging.metrics import dice
from napari_samadapt.imaging.prompts import Prompts, box_of, click_in_error

from .losses import dice_loss
from .predict import ImageEmbedding, decode_mask, encode_slice, logits_on_slice, prompted_logits
from .promptable_sam import Fine, PromptableSam, scaled_size
from .samples import TrainingSample

SMALLEST = 10
"""Regions with fewer pixels are not asked for."""
JUDGED = 8
"""So many regions of a slice judge how good boxes are, the largest."""
CORRECTED = 0.5
"""How often the answer to a prompt is corrected by a click first."""
OTHERS = 0.05
"""Weight of the mean over a click's masks beside the best of them, so that none is lost."""


def prompted_loss(
    sam: PromptableSam, features: Tensor, fine: Fine, targets: Tensor, rng: torch.Generator
) -> Tensor:
    """The error of prompted masks, averaged over the slices (B, H, W) that show a class; else 0.

    Cross-entropy plus Dice, of a click's three masks those of the best, and the squared error of the predicted IoU.
    """
    original = (int(targets.shape[1]), int(targets.shape[2]))
    size = scaled_size(original, sam.input_size)
    numbers = np.random.default_rng(int(torch.randint(2**31, (1,), generator=rng)))
    losses = []
    for index, target in enumerate(targets):
        region = _random_region(target.cpu().numpy(), numbers)
        if region is None:
            continue
        one = slice(index, index + 1)
        embedding = ImageEmbedding(features[one], tuple(f[one] for f in fine), size, original)
        prompts = simulated_prompts(region, numbers)
        if numbers.random() < CORRECTED:
            prompts = _corrected(sam, embedding, prompts, region, numbers)
        low_res, scores = prompted_logits(sam, embedding, prompts, multimask=prompts.single_click)
        logits = logits_on_slice(low_res, sam.input_size, embedding)[0].float()  # (1 or 3, H, W)
        truth = torch.from_numpy(region).to(logits)
        each = torch.stack([_mask_loss(mask, truth) for mask in logits])
        losses.append(each.min() + OTHERS * each.mean() + F.mse_loss(scores[0].float(), _iou(logits, truth)))
    return torch.stack(losses).mean() if losses else features.new_zeros(())


@torch.no_grad()
def box_dice(sam: PromptableSam, samples: Sequence[TrainingSample]) -> float:
    """Mean Dice of the masks that exact boxes give for the connected parts of the samples' classes; 1 without any."""
    scores = []
    for sample in samples:
        classes = [sample.labels == i for i in np.unique(sample.labels) if i]
        parts = [part for shown in classes for part in components(shown, SMALLEST)]
        if not parts:
            continue
        embedding = encode_slice(sam, sample.image)
        for part in sorted(parts, key=np.count_nonzero, reverse=True)[:JUDGED]:
            scores.append(dice(decode_mask(sam, embedding, Prompts(box=box_of(part))).mask, part))
    return sum(scores) / len(scores) if scores else 1.0


def simulated_prompts(region: NDArray[np.bool_], numbers: np.random.Generator) -> Prompts:
    """A box jittered by up to a tenth of its size, or one click inside, for a region (H, W)."""
    if numbers.random() < 0.5:
        low_high = np.asarray(box_of(region), dtype=np.float32)
        side = np.tile(low_high[2:] - low_high[:2], 2)
        jittered = low_high + numbers.uniform(-0.1, 0.1, 4) * side
        height, width = region.shape
        return Prompts(box=jittered.clip(-0.5, np.tile([width - 0.5, height - 0.5], 2)))
    xy, label = click_in_error(np.zeros_like(region), region, numbers)
    return Prompts(point_coords=np.array([xy]), point_labels=np.array([label]))


def _corrected(
    sam: PromptableSam,
    embedding: ImageEmbedding,
    prompts: Prompts,
    region: NDArray[np.bool_],
    numbers: np.random.Generator,
) -> Prompts:
    """The prompts, the mask that they give, and a click into its largest error; the prompts alone where it has none."""
    shown = decode_mask(sam, embedding, prompts).mask
    if np.array_equal(shown, region):
        return prompts
    xy, label = click_in_error(shown, region, numbers)
    points = np.concatenate([prompts.point_coords, [xy]])
    labels = np.append(prompts.point_labels, label)
    return Prompts(points, labels, prompts.box, shown if shown.any() else None)


def _random_region(target: NDArray[np.int64], numbers: np.random.Generator) -> NDArray[np.bool_] | None:
    """A connected part of one of the classes, as prompts ask for one; each class is as likely."""
    positions, counts = np.unique(target, return_counts=True)
    for position in numbers.permutation(positions[(positions > 0) & (counts >= SMALLEST)]):
        if parts := components(target == position, SMALLEST):
            return parts[numbers.integers(len(parts))]
    return None


@torch.no_grad()
def _iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU (N,) of masks (N, H, W) with the truth (H, W)."""
    said, true = logits > 0, truth > 0
    return ((said & true).sum((1, 2)) + 1) / ((said | true).sum((1, 2)) + 1)


def _mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth) + dice_loss(logits.sigmoid(), truth, (0, 1))
