"""Pretrain the automatic decoder's features on generated few-shot tasks, for the image encoder of `mini`.

    python -m training.train_detail --steps 4000 --out resources/detail_path.safetensors

Each task is a generated volume: a few of its labels are the classes, some slices are given, the others asked for. The
head is fitted in closed form to the given slices (`learning.closed_form`), and the error on the others trains what the
head sees, through the solution (R2-D2, arXiv 1805.08136). The image encoder stays as it is; some tasks go without its
embedding, so that the path also serves encoders it never saw. The same command goes on from `--state`.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from napari_samadapt.learning.closed_form import SHARPNESS, balanced_pixels, features_at, ridge
from napari_samadapt.learning.detail_decoder import DetailDecoder
from napari_samadapt.learning.losses import dice_loss
from napari_samadapt.learning.precision import autocast
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.samples import change_appearance
from napari_samadapt.learning.semantic import SemanticSam

from .synthetic import organ_of, synthetic_volumes

SIZE, VOLUMES = 128, 2
GIVEN, ASKED = 3, 2
"""Slices of a task that are given, and that are asked for."""
CLASSES = 12
PIXELS = 2048
"""Pixels of each slice that a task looks at."""
SMALLEST = 40
REUSE = 3
"""Tasks made of the same volumes: other classes, other slices given."""
WITHOUT_EMBEDDING = 0.2
LOG_SECONDS = 60


@dataclass(frozen=True)
class Volumes:
    """`images` (V * Z, 3, S, S), `labels` (V, Z, S, S) and the encoder's embeddings (V * Z, C, h, w)."""

    images: Tensor
    labels: Tensor
    embeddings: Tensor


def choose_classes(labels: Tensor, given: Tensor, rng: torch.Generator) -> Tensor:
    """Targets (Z, S, S) of up to CLASSES of the labels (Z, S, S) that the given slices show; the rest is background."""
    if float(torch.rand(1, generator=rng)) < 0.3:
        labels = organ_of(labels)
    ids, areas = torch.unique(labels[given], return_counts=True)
    ids = ids[(areas >= SMALLEST) & (ids > 0)].cpu()
    number = int(torch.randint(1, CLASSES + 1, (1,), generator=rng))
    targets = torch.zeros_like(labels)
    for position, label in enumerate(ids[torch.randperm(len(ids), generator=rng)[:number]].tolist(), start=1):
        targets[labels == label] = position
    return targets


def task_loss(
    maps: tuple[Tensor, ...],
    targets: Tensor,
    given: Tensor,
    asked: Tensor,
    penalty: Tensor,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice on the asked slices of one volume after a closed-form fit to the given ones; mean Dice.

    `maps` are the volume's features at strides 1, 2 and 4, `targets` (Z, S, S); given and asked are slice numbers.
    """
    points = balanced_pixels(targets, rng, PIXELS)
    features = features_at(maps, points)
    answers = F.one_hot(targets.flatten(1).gather(1, points), int(targets.max()) + 1).float()
    weights = ridge(features[given].flatten(0, 1), answers[given].flatten(0, 1), penalty)
    truth = answers[asked].flatten(0, 1)
    logits = SHARPNESS * F.pad(features[asked].flatten(0, 1), (0, 1), value=1.0) @ weights
    probabilities = logits.softmax(1)
    present = truth.sum(0) > 0
    present[0] = False
    entropy = F.cross_entropy(logits, truth)
    if not bool(present.any()):
        return entropy, torch.ones(())
    lost = dice_loss(probabilities, truth, (0,))[present].mean()
    said = F.one_hot(logits.argmax(1), truth.shape[1]).float()
    return entropy + lost, 1 - dice_loss(said, truth, (0,))[present].mean()


@torch.no_grad()
def at_fresh_size(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The features with convolution weights as large as those of a fresh network.

    Training lets them grow two- to fourfold. An instance normalisation after each undoes any factor, so the features
    say the same; but a fine-tune's steps are as large as its rate, and would turn the grown weights too slowly.
    """
    return {
        name: (t * math.sqrt(len(t) / 3) / t.norm() if t.ndim == 4 else t).cpu()
        for name, t in features.items()
    }


class Training:
    """The decoder's features being trained for the encoder of a model."""

    def __init__(self, model: str, steps: int, rate: float, out: Path, state: Path, device: str) -> None:
        self.budget, self.rate, self.out, self.state = steps, rate, out, state
        self.sam = load_sam(model, device=device).requires_grad_(False)
        self.model = SemanticSam(self.sam, (1,))
        self.log_penalty = torch.nn.Parameter(torch.tensor(-6.0, device=device))
        self.decoder = DetailDecoder(self.sam, 1).to(device)
        self.features = {n: p for n, p in self.decoder.named_parameters() if not n.startswith("heads.")}
        trained = [*self.features.values(), self.log_penalty]
        self.optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=1e-3, fused=True)
        self.step, self.seconds = 0, 0.0
        if state.exists():
            saved = torch.load(state, weights_only=True, map_location=device)
            self.decoder.load_state_dict(saved["decoder"])
            self.log_penalty.data.copy_(saved["log_penalty"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.seconds = saved["step"], saved["seconds"]

    def run(self) -> None:
        """Train until the last step."""
        recent: list[tuple[float, float]] = []
        said = self.seconds
        while self.step < self.budget:
            started = time.perf_counter()
            rng = torch.Generator().manual_seed(self.step)
            volumes = self._generate(rng)
            recent += [self._train(volumes, rng) for _ in range(REUSE)]
            self.seconds += time.perf_counter() - started
            if self.seconds - said > LOG_SECONDS or self.step >= self.budget:
                said = self.seconds
                self._save(*torch.tensor(recent).mean(0).tolist())
                recent.clear()

    @torch.no_grad()
    def _generate(self, rng: torch.Generator) -> Volumes:
        made = synthetic_volumes(VOLUMES, GIVEN + ASKED, SIZE, rng, device=self.sam.device)
        images = made.images.flatten(0, 1)
        with autocast(self.sam.device):
            embeddings = self.model.embed(images)[0]
        return Volumes(images, made.labels, embeddings.float())

    def _train(self, volumes: Volumes, rng: torch.Generator) -> tuple[float, float]:
        """One step on one task of each volume; its loss and mean Dice."""
        self._set_rate()
        without = float(torch.rand(1, generator=rng)) < WITHOUT_EMBEDDING
        embeddings = torch.zeros_like(volumes.embeddings) if without else volumes.embeddings
        with autocast(self.sam.device):
            maps = self.decoder.slice_features(
                change_appearance(volumes.images, rng), embeddings, self.sam.input_size
            )
        losses, scores = [], []
        for index, labels in enumerate(volumes.labels):
            order = torch.randperm(GIVEN + ASKED, generator=rng)
            given, asked = order[:GIVEN], order[GIVEN:]
            targets = choose_classes(labels, given, rng)
            if bool(targets[given].any()):
                own = tuple(m[index * len(labels) : (index + 1) * len(labels)] for m in maps)
                loss, score = task_loss(own, targets, given, asked, self.log_penalty.exp(), rng)
                losses.append(loss)
                scores.append(score)
        self.step += 1
        if not losses:
            return 0.0, 1.0
        total = torch.stack(losses).mean()
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*self.features.values(), self.log_penalty], 1.0)
        self.optimizer.step()
        return float(total.detach()), float(torch.stack(scores).mean())

    def _set_rate(self) -> None:
        done = self.step / self.budget
        shape = min(1.0, (self.step + 1) / 50, (1 - done) / 0.4 + 0.01)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * shape

    def _save(self, loss: float, dice: float) -> None:
        row = {
            "step": self.step,
            "seconds": round(self.seconds),
            "loss": round(loss, 4),
            "dice": round(dice, 4),
        }
        row["penalty"] = round(float(self.log_penalty.exp()), 6)
        print(row, flush=True)
        with self.out.with_suffix(".log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        save_file({name: t.half().contiguous() for name, t in at_fresh_size(self.features).items()}, self.out)
        state = {
            "decoder": self.decoder.state_dict(), "log_penalty": self.log_penalty.detach(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        part = self.state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.state)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, default=Path("resources/detail_path.safetensors"))
    parser.add_argument("--state", type=Path, default=Path("detail-training.pt"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    Training(options.model, options.steps, options.rate, options.out, options.state, options.device).run()


if __name__ == "__main__":
    main()
