"""Train `mini` on generated images.

    python -m training.train_mini --steps 20000 --out resources/mini.safetensors

Most steps use 128-pixel images, the last ones 256. Prompts are made as users give them: a jittered box
or a click anywhere inside, then corrective clicks in the largest error with the previous mask as prompt. The loss is
SAM's: focal and Dice, the best of three masks for one click, and the squared error of the predicted IoU. A checkpoint
of averaged weights is written every few minutes; the same command goes on from `--state` after an interruption.
"""

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy import ndimage  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.promptable_sam import PromptableSam, resize_positions

from .synthetic import synthetic_batch

OBJECTS = 4
"""Objects of an image: the first half is prompted by a box, the second by a click."""

SIZES = ((128, 16, 0.6), (256, 5, 1.0))
"""(pixels, images in a batch, the fraction of the steps at which this size ends)."""


@dataclass(frozen=True)
class Objects:
    """`masks` (B, OBJECTS, S, S) bool; `images` (B, 3, h, w), the longer of h and w being S."""

    images: Tensor
    masks: Tensor


def choose_objects(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Objects:
    """Random connected regions; images with fewer than OBJECTS distinct draws repeat one."""
    kept, masks = [], []
    smallest = labels.shape[-2] ** 2 // 400
    for index, label_map in enumerate(labels.numpy()):
        ids, areas = np.unique(label_map, return_counts=True)
        usable = ids[(areas >= smallest) & (ids > 0)]
        if not len(usable):
            continue
        kept.append(index)
        masks.append(
            np.stack([_region(label_map, int(rng.choice(usable)), smallest, rng) for _ in range(OBJECTS)])
        )
    chosen = torch.from_numpy(np.stack(masks))
    size = max(chosen.shape[-2:])
    padded = F.pad(chosen, (0, size - chosen.shape[-1], 0, size - chosen.shape[-2]))
    return Objects(images[kept], padded)


def _region(label_map: np.ndarray, label: int, smallest: int, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.08:
        return np.asarray(label_map > 0)
    regions, _ = ndimage.label(label_map == label)
    areas = np.bincount(regions.ravel())
    areas[0] = 0
    large = np.flatnonzero(areas >= smallest)
    chosen = rng.choice(large) if len(large) and rng.random() < 0.5 else areas.argmax()
    return np.asarray(regions == chosen)


def jittered_boxes(masks: Tensor, rng: torch.Generator) -> Tensor:
    """Boxes (P, 4) XYXY in pixels around masks (P, S, S), each side moved by up to a twelfth of the box."""
    rows, columns = masks.any(2), masks.any(1)
    size = masks.shape[-1]
    index = torch.arange(size, dtype=torch.float32)
    low_y, high_y = _ends(rows, index)
    low_x, high_x = _ends(columns, index)
    box = torch.stack([low_x, low_y, high_x + 1, high_y + 1], 1)
    side = torch.stack([high_x - low_x, high_y - low_y] * 2, 1)
    return (box + (torch.rand(box.shape, generator=rng) * 2 - 1) * (1 + side / 12)).clamp(0, size)


def _ends(occupied: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.where(occupied, index, torch.inf).amin(1)
    return low, torch.where(occupied, index, -torch.inf).amax(1)


def clicks_in(regions: Tensor, rng: torch.Generator) -> Tensor:
    """Clicks (P, 2) (x, y) inside regions (P, S, S): half of them deep inside, half anywhere."""
    size = regions.shape[-1]
    inside = regions.float()
    depth = inside
    for kernel in (3, 7, 15):
        depth = depth + F.avg_pool2d(inside[:, None], kernel, 1, kernel // 2)[:, 0]
    noise = torch.rand(regions.shape, generator=rng)
    deep = (torch.rand(len(regions), 1, 1, generator=rng) < 0.5).float()
    score = (deep * depth + noise * (1 - 0.7 * deep)) * inside - (1 - inside)
    flat = score.flatten(1).argmax(1)
    return torch.stack([flat % size, flat // size], 1).float() + 0.5


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """SAM's 20 focal + Dice of logits (P, T, h, w) against soft targets (P, h, w): (P, T)."""
    target = target[:, None].expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    focal = (bce * (p - target).abs() ** 2).mean((2, 3))
    dice = 1 - (2 * (p * target).sum((2, 3)) + 1) / (p.sum((2, 3)) + target.sum((2, 3)) + 1)
    return 20 * focal + dice


class PromptRounds:
    """The prompts of one batch of objects and how they grow from round to round."""

    def __init__(self, masks: Tensor, rng: torch.Generator) -> None:
        self.masks = masks.flatten(0, 1)  # (P, S, S)
        self.rng = rng
        self.boxed = (torch.arange(len(self.masks)) % OBJECTS) < OBJECTS // 2
        self.boxes = jittered_boxes(self.masks[self.boxed], rng)
        self.first = clicks_in(self.masks[~self.boxed], rng)
        self.corrections = torch.zeros(len(self.masks), 0, 2)
        self.signs = torch.zeros(len(self.masks), 0)
        self.mask_input: Tensor | None = None

    def embed(self, sam: PromptableSam) -> tuple[Tensor, Tensor]:
        """Sparse (P, N, C) and dense (P, C, h, w) embeddings."""
        boxed, rest = self.boxed, ~self.boxed
        points = (self.corrections[boxed], self.signs[boxed]) if self.signs.shape[1] else None
        clicks = torch.cat([self.first[:, None], self.corrections[rest]], 1)
        labels = torch.cat([torch.ones(len(clicks), 1), self.signs[rest]], 1)
        encoder = sam.prompt_encoder
        a, _ = encoder(points, self.boxes, None)
        b, _ = encoder((clicks, labels), None, None)
        sparse = torch.zeros(len(self.masks), a.shape[1], a.shape[2], dtype=a.dtype)
        sparse[boxed], sparse[rest] = a, b
        if self.mask_input is None:
            h, w = encoder.image_embedding_size
            dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(sparse), -1, h, w)
        else:
            dense = encoder._embed_masks(self.mask_input)
        return sparse, dense

    def correct(self, logits: Tensor) -> None:
        """Add a click in the error of the chosen logits (P, h, w), and offer them as mask prompt."""
        logits = logits.detach().float()
        said = F.interpolate(logits[:, None], size=self.masks.shape[-1], mode="bilinear")[:, 0] > 0
        error = said ^ self.masks
        missed, added = error & self.masks, error & ~self.masks
        positive = missed.sum((1, 2)) >= added.sum((1, 2))
        region = torch.where(positive[:, None, None], missed, added)
        self.corrections = torch.cat([self.corrections, clicks_in(region, self.rng)[:, None]], 1)
        self.signs = torch.cat([self.signs, positive.float()[:, None]], 1)
        as_mask = torch.where(logits > 0, 8.0, -8.0)
        self.mask_input = (
            as_mask[:, None]
            if float(torch.rand(1, generator=self.rng)) < 0.6
            else logits.clamp(-16, 16)[:, None]
        )


def batch_loss(
    sam: PromptableSam, objects: Objects, rounds: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The loss over `rounds` rounds of prompts and the last round's IoU (P,)."""
    embedding, fine = sam.encode(sam.normalise(objects.images))
    embedding = embedding.repeat_interleave(OBJECTS, 0)
    fine = tuple(f.repeat_interleave(OBJECTS, 0) for f in fine)
    prompts = PromptRounds(objects.masks, rng)
    target = F.avg_pool2d(prompts.masks[:, None].float(), 2)[:, 0]
    total = torch.zeros(())
    iou = torch.zeros(0)
    for round_ in range(rounds):
        sparse, dense = prompts.embed(sam)
        logits, scores = sam.mask_decoder.predict_all(
            embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, fine
        )
        logits, scores = logits.float(), scores.float()
        losses = mask_losses(logits, target)
        with torch.no_grad():
            said, true = logits > 0, target[:, None] > 0.5
            iou_all = ((said & true).sum((2, 3)) + 1) / ((said | true).sum((2, 3)) + 1)
        ambiguous = (~prompts.boxed).float() if round_ == 0 else torch.zeros(len(target))
        best = losses[:, 1:].min(1).values
        single = losses[:, 0]
        total = total + (ambiguous * (best + 0.5 * single) + (1 - ambiguous) * (single + 0.1 * best)).mean()
        total = total + F.mse_loss(scores, iou_all)
        chosen = torch.where(
            ambiguous > 0, 1 + scores[:, 1:].argmax(1), torch.zeros(len(target), dtype=torch.long)
        )
        picked = torch.arange(len(target))
        iou = iou_all[picked, chosen]
        prompts.correct(logits[picked, chosen])
        if round_ == 0 and float(torch.rand(1, generator=rng)) < 0.3:
            prompts.mask_input = None
    return total / rounds, iou


class Training:
    """The weights being trained, their average, and the clock of a run."""

    def __init__(self, steps: int, out: Path, state: Path) -> None:
        self.budget, self.out, self.state = steps, out, state
        self.size = SIZES[0][0]
        self.sam = build_mini(self.size)
        self.average = copy.deepcopy(self.sam)
        self.seconds, self.step = 0.0, 0
        self.optimizer = self._make_optimizer()
        if state.exists():
            self._resume()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.sam.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.03)

    def _resume(self) -> None:
        saved = torch.load(self.state, weights_only=True)
        self._resize(saved["size"])
        self.sam.load_state_dict(saved["sam"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.seconds, self.step = saved["seconds"], saved["step"]

    def _resize(self, size: int) -> None:
        if size == self.size:
            return
        for name in ("sam", "average"):
            model = build_mini(size)
            model.load_state_dict(resize_positions(getattr(self, name).state_dict(), model))
            setattr(self, name, model)
        self.size = size
        self.optimizer = self._make_optimizer()

    def save(self) -> None:
        """The averaged weights as float16, and everything needed to go on."""
        full = build_mini()
        full.load_state_dict(resize_positions(self.average.state_dict(), full))
        tensors = {k: v.half().contiguous() for k, v in full.state_dict().items()}
        part = self.out.with_suffix(".part")
        save_file(tensors, part, metadata={"model_type": "mini", "step": str(self.step)})
        part.replace(self.out)
        state = {
            "sam": self.sam.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seconds": self.seconds, "step": self.step, "size": self.size,
        }  # fmt: skip
        part = self.state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.state)

    def run(self) -> None:
        """Train until the last step."""
        said = saved = self.seconds
        recent: list[Tensor] = []
        while self.step < self.budget:
            done = self.step / self.budget
            size, count, _ = next(s for s in SIZES if done < s[2])
            self._resize(size)
            started = time.perf_counter()
            recent += self._train_batch(size, count, done)
            self.seconds += time.perf_counter() - started
            if self.seconds - said > 60:
                said = self.seconds
                mean = torch.stack(recent).mean(0)
                recent.clear()
                where = f"{self.seconds:.0f} s, step {self.step}, {size} px"
                print(f"{where}: loss {mean[0]:.3f}, IoU box {mean[1]:.3f}, click {mean[2]:.3f}", flush=True)
            if self.seconds - saved > 180:
                saved = self.seconds
                self.save()
        self.save()

    def _train_batch(self, size: int, count: int, done: float) -> list[Tensor]:
        """One generated batch, used twice with other prompts and turned by a right angle."""
        rng = torch.Generator().manual_seed(self.step)
        numbers = np.random.default_rng(self.step)
        batch = synthetic_batch(count, size, rng)
        figures = []
        for turn in range(2):
            k = int(numbers.integers(4))
            images, labels = torch.rot90(batch.images, k, (2, 3)), torch.rot90(batch.labels, k, (1, 2))
            if turn:
                images = images.flip(3) ** float(numbers.uniform(0.8, 1.25))
                labels = labels.flip(2)
            if numbers.random() < 0.5:  # a slice that is not square, padded on the right as SAM pads it
                width = int(size * numbers.uniform(0.5, 1))
                images, labels = images[..., :width], labels[..., :width]
            figures.append(self._step(choose_objects(images, labels, numbers), numbers, rng, done))
        return figures

    def _step(
        self, objects: Objects, numbers: np.random.Generator, rng: torch.Generator, done: float
    ) -> Tensor:
        rate = 1e-3 * min(1.0, (self.step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done) + 0.01)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rounds = 1 if self.step < 600 else int(numbers.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, iou = batch_loss(self.sam, objects, rounds, rng)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.sam.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(0.999, self.step / (self.step + 20))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.sam.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)
        iou = iou.view(-1, OBJECTS)
        return torch.stack([loss.detach(), iou[:, : OBJECTS // 2].mean(), iou[:, OBJECTS // 2 :].mean()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--out", type=Path, default=Path("resources/mini.safetensors"))
    parser.add_argument("--state", type=Path, default=Path("mini-training.pt"))
    options = parser.parse_args()
    Training(options.steps, options.out, options.state).run()


if __name__ == "__main__":
    main()
