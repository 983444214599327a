"""What a training image is asked for: regions of a label map, and the prompts a user would give for them."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

SMALLEST = 28
"""Regions of fewer pixels are not asked for."""
USUAL_SHARE = 0.02
"""Regions with a larger share of the image are asked for the less often the larger they are."""
GROUND = 1
"""The label of a body's ground."""


@dataclass(frozen=True)
class Objects:
    """`images` (B, 3, h, w), the longer of h and w being S; `masks` (B, N, S, S) bool, padded right and below."""

    images: Tensor
    masks: Tensor


def choose_objects(images: Tensor, labels: Tensor, number: int, rng: np.random.Generator) -> Objects:
    """`number` random regions of each image (B, 3, h, w), with replacement; images without one are left out."""
    kept, masks = [], []
    for index, label_map in enumerate(labels.cpu().numpy()):
        ids, areas = np.unique(label_map, return_counts=True)
        usable = (areas >= SMALLEST) & (ids > 0)
        if usable.any():
            kept.append(index)
            chances = _chances(ids[usable], areas[usable] / label_map.size)
            chosen_ids = rng.choice(ids[usable], size=number, p=chances)
            masks.append(np.stack([_region(label_map, int(label), rng) for label in chosen_ids]))
    chosen = torch.from_numpy(np.stack(masks)).to(images.device)
    size = max(chosen.shape[-2:])
    padded = F.pad(chosen, (0, size - chosen.shape[-1], 0, size - chosen.shape[-2]))
    return Objects(images[kept], padded)


def _chances(ids: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each label is asked for: grounds and large regions seldom, as nobody outlines them."""
    weights = np.minimum(1, USUAL_SHARE / shares) ** 0.5 * np.where(ids == GROUND, 0.2, 1.0)
    return np.asarray(weights / weights.sum())


def _region(label_map: NDArray[np.int64], label: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Everything inside the body, a whole organ (two labels), or one connected part of a label."""
    draw = rng.random()
    if draw < 0.02:
        return np.asarray(label_map > 0)
    organ = draw < 0.17 and label > GROUND
    mask = label_map // 2 == label // 2 if organ else label_map == label
    regions, _ = ndimage.label(mask)
    areas = np.bincount(regions.ravel())
    areas[0] = 0
    large = np.flatnonzero(areas >= SMALLEST)
    chosen = rng.choice(large) if len(large) and rng.random() < 0.5 else areas.argmax()
    return np.asarray(regions == chosen)


def jittered_boxes(masks: Tensor, rng: torch.Generator) -> Tensor:
    """Boxes (P, 4) XYXY around masks (P, S, S), pixel centres whole: half of them tight, else each side off by up to a
    fourteenth of the box and half a pixel."""
    index = torch.arange(masks.shape[-1], dtype=torch.float32, device=masks.device)
    (top, bottom), (left, right) = _ends(masks.any(2), index), _ends(masks.any(1), index)
    box = torch.stack([left - 0.5, top - 0.5, right + 0.5, bottom + 0.5], 1)
    side = torch.stack([right - left, bottom - top] * 2, 1)
    amount = (torch.rand(len(box), 1, generator=rng) * 2 - 1).clamp(min=0)
    shift = (torch.rand(box.shape, generator=rng) * 2 - 1) * amount
    return (box + shift.to(box) * (0.5 + side / 14)).clamp(-0.5, masks.shape[-1] - 0.5)


def _ends(occupied: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.where(occupied, index, torch.inf).amin(1)
    return low, torch.where(occupied, index, -torch.inf).amax(1)


def clicks_in(regions: Tensor, deep: Tensor, rng: torch.Generator) -> Tensor:
    """Clicks (P, 2) (x, y) inside regions (P, S, S): where `deep` (P,) is set as far from the edge as can be told
    from the mean around it, else anywhere. An empty region gives a click anywhere."""
    size = regions.shape[-1]
    noise = torch.rand(regions.shape, generator=rng).to(regions.device)
    half = F.avg_pool2d(regions[:, None].float(), 2)
    depth = half
    for share in (40, 18, 9, 4):
        reach = max(1, size // share // 4)
        rows = F.avg_pool2d(half, (2 * reach + 1, 1), 1, (reach, 0))
        depth = depth + F.avg_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))
    depth = F.interpolate(depth, scale_factor=2)[:, 0] + 0.3 * noise
    score = torch.where(deep[:, None, None], depth, noise)
    flat = torch.where(regions, score, score - 9).flatten(1).argmax(1)
    return torch.stack([flat % size, flat // size], 1).float()


class PromptRounds:
    """The prompts of a batch of objects and how they grow from round to round.

    `boxed` (P,) bool: three of five objects start with a box, the others with a click. `extra` further clicks join both
    at the start: half of them anywhere inside, as along a scribble, the others beside the object.
    """

    def __init__(self, masks: Tensor, extra: int, rng: torch.Generator) -> None:
        self.masks, self.rng = masks, rng  # (P, S, S)
        count = len(masks)
        self.boxed = torch.arange(count, device=masks.device) % 5 < 3
        self.boxes = jittered_boxes(masks[self.boxed], rng)
        self.first = clicks_in(masks[~self.boxed], self._some(count - len(self.boxes), 0.5), rng)
        self.coords = torch.zeros(count, 0, 2, device=masks.device)
        self.signs = torch.zeros(count, 0, device=masks.device)
        self.mask_input: Tensor | None = None
        for _ in range(extra):
            inside = self._some(count, 0.7)
            beside = self._near() & ~masks
            region = torch.where(inside[:, None, None], masks, beside)
            self._add(clicks_in(region, self._some(count, 0.2), rng), inside)

    def _some(self, count: int, share: float) -> Tensor:
        return (torch.rand(count, generator=self.rng) < share).to(self.masks.device)

    def _near(self) -> Tensor:
        reach = self.masks.shape[-1] // 16
        wide = F.max_pool2d(self.masks[:, None].float(), (2 * reach + 1, 1), 1, (reach, 0))
        return F.max_pool2d(wide, (1, 2 * reach + 1), 1, (0, reach))[:, 0] > 0

    def _add(self, clicks: Tensor, positive: Tensor) -> None:
        self.coords = torch.cat([self.coords, clicks[:, None]], 1)
        self.signs = torch.cat([self.signs, positive.float()[:, None]], 1)

    @property
    def ambiguous(self) -> Tensor:
        """(P,) bool: objects of which only one click is known so far."""
        alone = ~self.boxed
        return alone if not self.signs.shape[1] and self.mask_input is None else torch.zeros_like(alone)

    def embed(self, encoder: torch.nn.Module) -> tuple[Tensor, Tensor]:
        """Sparse (P, N, C) and dense (P, C, h, w) embeddings."""
        boxed, rest = self.boxed, ~self.boxed
        points = (self.coords[boxed], self.signs[boxed]) if self.signs.shape[1] else None
        clicks = torch.cat([self.first[:, None], self.coords[rest]], 1)
        labels = torch.cat([torch.ones(len(clicks), 1, device=clicks.device), self.signs[rest]], 1)
        masks = self.mask_input
        a = encoder(points, self.boxes, None if masks is None else masks[boxed])
        b = encoder((clicks, labels), None, None if masks is None else masks[rest])
        return _interleave(boxed, a[0], b[0]), _interleave(boxed, a[1], b[1])

    def correct(self, logits: Tensor) -> None:
        """Add a click in the largest error of the chosen logits (P, h, w), and offer them as mask prompt."""
        logits = logits.detach().float()
        said = F.interpolate(logits[:, None], size=self.masks.shape[-1], mode="bilinear")[:, 0] > 0
        missed, added = self.masks & ~said, said & ~self.masks
        positive = missed.sum((1, 2)) >= added.sum((1, 2))
        region = torch.where(positive[:, None, None], missed, added)
        self._add(clicks_in(region, self._some(len(region), 0.75), self.rng), positive)
        self.mask_input = torch.where(logits > 0, 8.0, -8.0)[:, None]


def _interleave(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    out = a.new_zeros(len(chosen), *a.shape[1:])
    out[chosen], out[~chosen] = a, b.to(a.dtype)
    return out
