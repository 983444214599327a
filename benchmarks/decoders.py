"""The live default (embedding and detail path) against Conv-LoRA's multi-class decoder (Appendix B), few-shot.

    python benchmarks/decoders.py [--cases ct,mr] [--seconds 120] [--seeds 3] [--method decoder-only] [--rates …]

Both see the same five slices, augmentation, pool of embeddings, optimiser and seconds; each has its own loss and
learning rate (`--rates`). "queries" start apart by noise (ours), "equal-queries" alike, as the official code's do.
Prints the mean Dice of the slices that were not given: mean and deviation over the seeds.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from few_shot import CASES, Case
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_samadapt.imaging.intensity import auto_window, render_slice
from napari_samadapt.imaging.metrics import label_report
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import SliceKey, Volume, take_slice
from napari_samadapt.learning import adapters
from napari_samadapt.learning.class_decoder import ClassDecoder, semantic_scores
from napari_samadapt.learning.fine_tune import BALANCE_WEIGHT, autocast
from napari_samadapt.learning.losses import cross_entropy_and_dice
from napari_samadapt.learning.predict import ImageEmbedding, image_tensor, logits_on_slice, resize
from napari_samadapt.learning.promptable_sam import Fine, PromptableSam, scaled_size
from napari_samadapt.learning.sam import load_sam
from napari_samadapt.learning.samples import (
    SampleTensors,
    TrainingSample,
    augment,
    change_appearance,
    stack_samples,
)
from napari_samadapt.learning.semantic import SemanticSam
from napari_samadapt.learning.set_losses import SET_WEIGHTS, class_masks, set_loss

BATCH = 4
ENCODER_EVERY = 4
POOL = 32


class DetailPath(nn.Module):
    """The live default: cross-entropy and Dice, small classes favoured at first."""

    def __init__(self, sam: PromptableSam, class_ids: tuple[int, ...]) -> None:
        super().__init__()
        self.model = SemanticSam(sam, class_ids)

    def loss(self, batch: SampleTensors, features: Tensor, fine: Fine, fraction: float) -> Tensor:
        logits = self.model.decode(batch.images, features)
        return torch.stack(cross_entropy_and_dice(logits, batch.targets, 1 - fraction)).sum()

    def positions(self, images: Tensor, features: Tensor, fine: Fine) -> Tensor:
        """(B, H, W): 0 for background, else the class's place plus one."""
        return self.model.decode(images, features).argmax(1)


class Queries(nn.Module):
    """Appendix B: ten mask tokens, matched to the classes of a slice, background among them.

    Tokens that start equal, as in the official code, hardly come apart in so short a time: `noise` helps them.
    """

    def __init__(self, sam: PromptableSam, class_ids: tuple[int, ...], noise: float = 0.0) -> None:
        super().__init__()
        self.sam = sam
        self.decoder = ClassDecoder(sam, len(class_ids) + 1, max(10, len(class_ids) + 2), noise)
        self.points = torch.Generator().manual_seed(0)

    def loss(self, batch: SampleTensors, features: Tensor, fine: Fine, fraction: float) -> Tensor:
        masks, classes = self._answer(batch.images, features, fine)
        shown = [class_masks(target) for target in batch.targets]
        return set_loss(masks, classes, shown, SET_WEIGHTS["mask2former"], self.points)

    def positions(self, images: Tensor, features: Tensor, fine: Fine) -> Tensor:
        return semantic_scores(*self._answer(images, features, fine)).argmax(1)

    def _answer(self, images: Tensor, features: Tensor, fine: Fine) -> tuple[Tensor, Tensor]:
        """Mask logits on the slices (B, N, H, W) and class logits (B, N, K + 1)."""
        masks, classes = self.decoder(self.sam, features, fine)
        size = (int(images.shape[2]), int(images.shape[3]))
        place = ImageEmbedding(features, fine, scaled_size(size, self.sam.input_size), size)
        return logits_on_slice(masks, self.sam.input_size, place), classes


Contender = DetailPath | Queries
CONTENDERS: dict[str, Callable[[PromptableSam, tuple[int, ...]], Contender]] = {
    "detail": DetailPath,
    "queries": partial(Queries, noise=0.5),
    "equal-queries": Queries,
}


def embed(sam: PromptableSam, images: Tensor) -> tuple[Tensor, Fine]:
    """Images (B, 3, H, W) in [0, 1] to embeddings and finer features of the padded square."""
    size = scaled_size((int(images.shape[2]), int(images.shape[3])), sam.input_size)
    return sam.encode(sam.normalise(resize(images, size)))


@dataclass(frozen=True, eq=False)
class Embedded:
    """One augmented slice and what the encoder said of it."""

    slice: SampleTensors
    features: Tensor
    fine: Fine


def train(
    contender: Contender, sam: PromptableSam, data: SampleTensors, rate: float, seconds: float, seed: int
) -> int:
    """Train for `seconds`; every fourth step encodes fresh slices, the others draw from the pool. Returns the steps."""
    rng = torch.Generator().manual_seed(seed)
    parameters = [p for p in contender.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=1e-4)
    pool: list[Embedded] = []
    started, step, fraction = time.perf_counter(), 0, 0.0
    while fraction < 1:
        contender.train()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 10) * (1 + math.cos(math.pi * fraction)) / 2
        with autocast(sam.device):
            if step % ENCODER_EVERY == 0:
                batch = augment(data.draw(BATCH, rng), rng)
                features, fine = embed(sam, batch.images)
                pool = (pool + _single(batch, features, fine))[-POOL:]
            else:
                batch, features, fine = _drawn(pool, rng)
            loss = contender.loss(batch, features, fine, fraction)
        loss = loss + BALANCE_WEIGHT * adapters.pop_balance_loss(sam)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        fraction = (time.perf_counter() - started) / seconds
    contender.eval()
    return step


def _single(batch: SampleTensors, features: Tensor, fine: Fine) -> list[Embedded]:
    rows = [slice(i, i + 1) for i in range(len(batch))]
    return [
        Embedded(batch.take(row), features[row].detach(), tuple(f[row].detach() for f in fine))
        for row in rows
    ]


def _drawn(pool: list[Embedded], rng: torch.Generator) -> tuple[SampleTensors, Tensor, Fine]:
    """Random slices of the pool in a new contrast."""
    chosen = [pool[i] for i in torch.randperm(len(pool), generator=rng)[:BATCH].tolist()]
    images = change_appearance(torch.cat([one.slice.images for one in chosen]), rng)
    batch = SampleTensors(images, torch.cat([one.slice.targets for one in chosen]))
    fine = tuple(torch.cat(level) for level in zip(*(one.fine for one in chosen), strict=True))
    return batch, torch.cat([one.features for one in chosen]), fine


@dataclass(frozen=True, eq=False)
class Material:
    """A case in memory: `images` (Z, H, W) as SAM sees them, `labels` (Z, H, W) with the case's ids alone."""

    volume: Volume
    images: NDArray[np.float32]
    labels: NDArray[np.integer]
    class_ids: tuple[int, ...]
    given: tuple[SliceKey, ...]


def read_case(case: Case, data: Path) -> Material:
    volume = read_volume(data / case.image)
    ids, _ = read_labels(data / case.labels, volume)
    axis, _, places = case.slices.partition(":")
    given = tuple(SliceKey(int(axis), int(place)) for place in places.split(","))
    window = auto_window(volume)
    keys = [SliceKey(int(axis), index) for index in range(volume.shape[int(axis)])]
    images = np.stack([render_slice(volume, key, window) for key in keys])
    return Material(volume, images, np.where(np.isin(ids, case.ids), ids, 0), case.ids, given)


def measure(
    material: Material, name: str, rate: float, options: argparse.Namespace, seed: int
) -> tuple[float, int]:
    """Mean Dice of the slices that were not given, and the steps of the training."""
    torch.manual_seed(seed)
    sam = load_sam(options.model, device=options.device)
    adapters.insert(sam, adapters.AdapterConfig(method=options.method))
    contender = CONTENDERS[name](sam, material.class_ids)
    samples = [
        TrainingSample(key, material.images[key.index], take_slice(material.labels, key))
        for key in material.given
    ]
    data = stack_samples(samples, material.class_ids, sam.device)
    steps = train(contender, sam, data, rate, options.seconds, seed)
    ids = np.array((0, *material.class_ids))
    with torch.no_grad():
        predicted = [ids[_positions(contender, sam, image)] for image in material.images]
    spacing = material.volume.spacing
    report = label_report(
        np.stack(predicted), material.labels, spacing, material.class_ids, exclude=material.given
    )
    return report.mean_dice, steps


def _positions(contender: Contender, sam: PromptableSam, image: NDArray[np.float32]) -> NDArray[np.int64]:
    images = image_tensor(image, sam.device)
    positions: NDArray[np.int64] = contender.positions(images, *embed(sam, images))[0].cpu().numpy()
    return positions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cases", default="ct,mr")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--method", default="decoder-only", help="how the encoder is adapted, for both")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rates", default="detail=5e-3,queries=1e-3,equal-queries=1e-3")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    rates = {name: float(rate) for name, rate in (pair.split("=") for pair in options.rates.split(","))}
    for case in options.cases.split(","):
        material = read_case(CASES[case], options.data)
        for name, rate in rates.items():
            rows = [measure(material, name, rate, options, seed) for seed in range(options.seeds)]
            dice = np.array([score for score, _ in rows])
            print(
                f"{case:3} {name:13} Dice {dice.mean():.3f} ± {dice.std(ddof=min(1, len(dice) - 1)):.3f}  "
                f"rate {rate:g}  {np.mean([steps for _, steps in rows]):.0f} steps",
                flush=True,
            )


if __name__ == "__main__":
    main()
