"""Train `mini` on generated images.

    python -m training.train_mini --stages 128x16:20000,256x5:8000 --out resources/mini.safetensors

Each stage is a size in pixels, the images of a batch and the number of steps. Prompts are made as users give them: a
jittered box, a click anywhere inside, several clicks, then corrective clicks in the largest error with the last mask as
prompt. The image is encoded once for all its objects and prompts. The loss is a normalised focal loss and Dice, the
best of three masks for a single click, and the squared error of the predicted IoU. A checkpoint of averaged weights is
written every few minutes beside a log (one JSON object a line); the same command goes on from `--state` after an
interruption. The rate falls to nothing over the last fifth of all steps: more steps later start from before that.
"""

import argparse
import copy
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_samadapt.learning.losses import dice_loss
from napari_samadapt.learning.mini import build_mini
from napari_samadapt.learning.promptable_sam import PromptableSam, resize_positions

from .objects import Objects, PromptRounds, choose_objects
from .synthetic import SyntheticBatch, synthetic_batch

OBJECTS = 4
CORRECTIONS = (0.4, 0.2, 0.15, 0.12, 0.13)
"""How often 0, 1, 2 ... corrective clicks follow the first prompt."""
DECAY = 0.2
"""The share of all steps over which the learning rate falls to nothing."""
LOG_SECONDS, SAVE_SECONDS = 60, 180


@dataclass(frozen=True)
class Stage:
    """`steps` steps on `count` images of `size` x `size` pixels."""

    size: int
    count: int
    steps: int


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Stages of a text like 128x16:20000,256x5:8000 (size x images : steps)."""
    stages = []
    for part in text.split(","):
        shape, steps = part.split(":")
        size, count = shape.split("x")
        stages.append(Stage(int(size), int(count), int(steps)))
    return tuple(stages)


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Normalised focal loss (RITM, arXiv 2102.06583) + Dice of logits (P, T, h, w), soft targets (P, h, w): (P, T)."""
    target = target[:, None].expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    weight = (p - target).detach() ** 2
    focal = (bce * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1)
    return 0.5 * focal + dice_loss(p, target, (2, 3))


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU (P, T) of logits (P, T, h, w) with targets (P, h, w)."""
    said, true = logits > 0, target[:, None] > 0.5
    return ((said & true).sum((2, 3)) + 1) / ((said | true).sum((2, 3)) + 1)


class RoundOfMasks:
    """One prediction for all objects: its loss, and the mask that a user would be shown."""

    def __init__(
        self,
        sam: PromptableSam,
        prompts: PromptRounds,
        embedding: Tensor,
        fine: tuple[Tensor, ...],
        target: Tensor,
    ) -> None:
        sparse, dense = prompts.embed(sam.prompt_encoder)
        pe = sam.prompt_encoder.get_dense_pe()
        logits, scores = sam.mask_decoder.predict_all(embedding, pe, sparse, dense, fine)
        self.logits, self.scores = logits.float(), scores.float()
        self.target, self.ambiguous = target, prompts.ambiguous
        with torch.no_grad():
            self.iou = iou(self.logits, target)
            self.shown = torch.where(self.ambiguous, 1 + self.scores[:, 1:].argmax(1), 0)

    def loss(self) -> Tensor:
        losses = mask_losses(self.logits, self.target)
        best, single = losses[:, 1:].min(1).values, losses[:, 0]
        best = best + 0.05 * losses[:, 1:].mean(1)
        masks = torch.where(self.ambiguous, best + 0.5 * single, single + 0.1 * best)
        total: Tensor = masks.mean() + F.mse_loss(self.scores, self.iou)
        return total

    def shown_logits(self) -> Tensor:
        index = self.shown[:, None, None, None].expand(-1, 1, *self.logits.shape[2:])
        found: Tensor = self.logits.gather(1, index)[:, 0]
        return found

    def shown_iou(self) -> Tensor:
        found: Tensor = self.iou.gather(1, self.shown[:, None])[:, 0]
        return found


def batch_loss(
    sam: PromptableSam, objects: Objects, corrections: int, extra: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The loss of the first and the last of 1 + `corrections` rounds, and the IoU of box, click, last round."""
    embedding, fine = sam.encode(sam.normalise(objects.images))
    prompts = PromptRounds(objects.masks.flatten(0, 1), extra, rng)
    target = F.avg_pool2d(prompts.masks[:, None].float(), 2)[:, 0]
    first = RoundOfMasks(sam, prompts, embedding, fine, target)
    loss, last = first.loss(), first
    for index in range(corrections):
        prompts.correct(last.shown_logits())
        with torch.set_grad_enabled(index + 1 == corrections):
            last = RoundOfMasks(sam, prompts, embedding, fine, target)
    if corrections:
        loss = 0.5 * (loss + last.loss())
    shown = first.shown_iou()
    figures = [shown[prompts.boxed].mean(), shown[~prompts.boxed].mean(), last.shown_iou().mean()]
    return loss, torch.stack([loss.detach(), *figures])


def make_optimizers(sam: PromptableSam) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformers, AdamW for the rest."""
    matrices = [
        p for n, p in sam.named_parameters() if p.ndim == 2 and "rel_pos" not in n and min(p.shape) >= 32
    ]
    chosen = set(map(id, matrices))
    rest = [p for p in sam.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=1.0, weight_decay=0.03, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.98), weight_decay=0.03, fused=True),
    ]


class Training:
    """The weights being trained, their average, and the clock of a run."""

    def __init__(
        self, stages: tuple[Stage, ...], rate: float, out: Path, state: Path, device: str, start: Path | None
    ) -> None:
        self.stages, self.rate, self.out, self.state = stages, rate, out, state
        self.device = torch.device(device)
        self.budget = sum(stage.steps for stage in stages)
        self.seconds, self.step, self.images = 0.0, 0, 0
        saved = torch.load(state, weights_only=True, map_location=device) if state.exists() else None
        self._build(self.stages[0].size if saved is None else saved["size"])
        if saved is not None:
            self.sam.load_state_dict(saved["sam"])
            self.average.load_state_dict(saved["average"])
            for optimizer, tensors in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(tensors)
            self.seconds, self.step, self.images = saved["seconds"], saved["step"], saved["images"]
        elif start is not None:
            self._start_from(load_file(start))

    def _build(self, size: int) -> None:
        self.size = size
        self.sam = build_mini(size).to(self.device)
        self.sam.train()
        self.average = copy.deepcopy(self.sam)
        self.optimizers = make_optimizers(self.sam)

    def _start_from(self, tensors: dict[str, Tensor]) -> None:
        """Take over what fits; parts that did not exist then keep their neutral start."""
        fitting = {name: t.float() for name, t in tensors.items() if name in self.sam.state_dict()}
        for model in (self.sam, self.average):
            model.load_state_dict(resize_positions(fitting, model), strict=False)

    def _resize(self, size: int) -> None:
        if size == self.size:
            return
        sam, average = self.sam, self.average
        self._build(size)
        self.sam.load_state_dict(resize_positions(sam.state_dict(), self.sam))
        self.average.load_state_dict(resize_positions(average.state_dict(), self.average))

    def save(self) -> None:
        """The averaged weights as float16, and everything needed to go on."""
        full = build_mini()
        full.load_state_dict(
            resize_positions({k: v.cpu() for k, v in self.average.state_dict().items()}, full)
        )
        tensors = {k: v.half().contiguous() for k, v in full.state_dict().items()}
        part = self.out.with_suffix(".part")
        save_file(tensors, part, metadata={"model_type": "mini", "step": str(self.step)})
        part.replace(self.out)
        state = {
            "sam": self.sam.state_dict(), "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "seconds": self.seconds, "step": self.step, "size": self.size, "images": self.images,
        }  # fmt: skip
        part = self.state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.state)

    def run(self) -> None:
        """Train until the last step."""
        said = saved = self.seconds
        recent: list[Tensor] = []
        upcoming = [stage for stage in self.stages for _ in range(stage.steps)][self.step :]
        with ThreadPoolExecutor(1) as producer:
            batch = producer.submit(self._generate, self.step, upcoming[0]) if upcoming else None
            while batch is not None:
                started = time.perf_counter()
                ready = batch.result()
                following = self.step + 2
                coming = upcoming[following - self.budget :] if following < self.budget else []
                batch = producer.submit(self._generate, following, coming[0]) if coming else None
                recent += self._train_batch(ready)
                self.seconds += time.perf_counter() - started
                if self.seconds - said > LOG_SECONDS or batch is None:
                    said = self.seconds
                    self._log(torch.stack(recent).float().mean(0).tolist())
                    recent.clear()
                if self.seconds - saved > SAVE_SECONDS or batch is None:
                    saved = self.seconds
                    self.save()

    def _generate(self, step: int, stage: Stage) -> SyntheticBatch:
        generator = torch.Generator().manual_seed(step)
        return synthetic_batch(stage.count, stage.size, generator, device=self.device)

    def _log(self, means: list[float]) -> None:
        names = ("loss", "iou_box", "iou_click", "iou_last")
        row: dict[str, float] = {"step": self.step, "images": self.images, "seconds": round(self.seconds)}
        row |= {"size": self.size} | {name: round(value, 4) for name, value in zip(names, means, strict=True)}
        with self.out.with_suffix(".log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(row, flush=True)

    def _train_batch(self, batch: SyntheticBatch) -> list[Tensor]:
        """One generated batch, used twice with other prompts and turned by a right angle."""
        self._resize(batch.images.shape[-1])
        rng = torch.Generator().manual_seed(self.step)
        numbers = np.random.default_rng(self.step)
        figures = []
        for turn in range(2):
            k = int(numbers.integers(4))
            images, labels = torch.rot90(batch.images, k, (2, 3)), torch.rot90(batch.labels, k, (1, 2))
            if turn:
                images = images.flip(3) ** float(numbers.uniform(0.8, 1.25))
                labels = labels.flip(2)
            if numbers.random() < 0.4:  # a slice that is not square, padded on the right as SAM pads it
                width = int(self.size * numbers.uniform(0.5, 1))
                images, labels = images[..., :width], labels[..., :width]
            objects = choose_objects(images, labels, OBJECTS, numbers)
            figures.append(self._step(objects, numbers, rng))
            self.images += len(objects.images)
        return figures

    def _step(self, objects: Objects, numbers: np.random.Generator, rng: torch.Generator) -> Tensor:
        done = self.step / self.budget
        rate = self.rate * min(1.0, (self.step + 1) / 200) * min(1.0, (1 - done) / DECAY)
        corrections = int(numbers.choice(len(CORRECTIONS), p=CORRECTIONS))
        extra = int(numbers.integers(1, 6)) if numbers.random() < 0.15 else 0
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            loss, figures = batch_loss(self.sam, objects, corrections, extra, rng)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.sam.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        keep = min(0.998, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.sam.parameters()), 1 - keep)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", type=parse_stages, default="128x16:20000,256x5:8000")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("resources/mini.safetensors"))
    parser.add_argument("--state", type=Path, default=Path("mini-training.pt"))
    parser.add_argument("--start", type=Path, help="weights to start from where there is no state yet")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    Training(options.stages, options.rate, options.out, options.state, options.device, options.start).run()


if __name__ == "__main__":
    main()
