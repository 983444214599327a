"""The fine-tuning loop: a generator that trains a model step by step and can be stopped between any two.

The encoder is what costs. Every `encoder_every`-th step runs it on freshly augmented slices (with gradients when it
has adapters) and leaves its embeddings in a pool; the steps between train the automatic decoder alone on slices and
embeddings drawn from the pool.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError

from . import adapters
from .losses import cross_entropy_and_dice
from .prompted import prompted_loss
from .samples import SampleTensors, TrainingSample, augment, change_appearance, stack_samples
from .semantic import SemanticSam

BALANCE_WEIGHT = 2.0
"""The load-balance term's weight in multi-class training (Conv-LoRA, section 4)."""

Parts = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class FineTuneConfig:
    """One episode: its length in seconds of computing or in steps (whichever comes first), and its numbers.

    `hold_out_until`: the part of the episode after which held-out slices are measured and join the training.
    """

    seconds: float | None = 60.0
    steps: int | None = None
    seed: int = 0
    batch_size: int = 4
    encoder_every: int = 4
    pool_size: int = 32
    hold_out_until: float = 0.3
    decoder_rate: float = 5e-3
    adapter_rate: float = 1e-3
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if self.seconds is None and self.steps is None:
            raise SamAdaptError("A fine-tune needs a limit: give seconds or steps.")
        if any(limit is not None and limit <= 0 for limit in (self.seconds, self.steps)):
            raise SamAdaptError(
                f"{self.seconds} seconds or {self.steps} steps leave nothing to do: give more than 0."
            )


@dataclass(frozen=True)
class TrainProgress:
    """What one step gave: `loss` of the automatic decoder, `seconds` of computing so far.

    `held_out_dice` is None until it was measured.
    """

    step: int
    seconds: float
    fraction: float
    loss: float
    parts: Parts
    held_out_dice: float | None = None


def fine_tune(
    model: SemanticSam,
    samples: Sequence[TrainingSample],
    config: FineTuneConfig,
    held_out: Sequence[TrainingSample] = (),
) -> Iterator[TrainProgress]:
    """Train the model's trainable parameters on the samples; yields after every step. Runs on a worker thread.

    Held-out slices are not seen for the first part of the episode; then their Dice is measured once, and they join the
    samples, because an accepted slice is too dear to be left out. The model is usable whenever the generator is
    suspended or closed; time spent suspended does not count. Raises FloatingPointError when the loss is not finite;
    the weights are then to be thrown away.
    """
    data = stack_samples(samples, model.class_ids, model.sam.device)
    pool = EmbeddingPool(config.pool_size)
    rng = torch.Generator().manual_seed(config.seed)
    optimizer = _optimizer(model, config)
    step, seconds, fraction = 0, 0.0, 0.0
    dice: float | None = None
    while fraction < 1.0:
        started = time.perf_counter()
        _set_rates(optimizer, fraction, step)
        model.train()
        if step % config.encoder_every == 0:
            batch = augment(data.draw(config.batch_size, rng), rng)
            losses = _encoder_losses(model, batch, pool, rng, 1 - fraction)
        else:
            batch, features = pool.draw(config.batch_size, rng)
            losses = _automatic_losses(model, batch, features, 1 - fraction)
        loss, parts = _update(losses, optimizer)
        model.eval()
        step += 1
        seconds += time.perf_counter() - started
        fraction = min(1.0, _fraction(config, step, seconds))
        if held_out and dice is None and fraction >= config.hold_out_until:
            dice = held_out_dice(model, held_out)
            data = stack_samples([*samples, *held_out], model.class_ids, model.sam.device)
        yield TrainProgress(step, seconds, fraction, loss, parts, dice)


class EmbeddingPool:
    """Augmented slices and their embeddings, the oldest replaced first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: list[tuple[SampleTensors, Tensor]] = []

    def add(self, batch: SampleTensors, features: Tensor) -> None:
        """Keep each slice of the batch with its embedding (B, C, h, w), detached."""
        kept = features.detach()
        rows = [(batch.take(slice(i, i + 1)), kept[i : i + 1]) for i in range(len(batch))]
        self.entries = (self.entries + rows)[-self.size :]

    def draw(self, count: int, rng: torch.Generator) -> tuple[SampleTensors, Tensor]:
        """Random slices in a new contrast, with their embeddings."""
        chosen = torch.randperm(len(self.entries), generator=rng)[:count].tolist()
        slices, features = zip(*(self.entries[i] for i in chosen), strict=True)
        images = torch.cat([entry.images for entry in slices])
        targets = torch.cat([entry.targets for entry in slices])
        return SampleTensors(change_appearance(images, rng), targets), torch.cat(features)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where the hardware multiplies it fast (CUDA, or a CPU with matrix tiles); float32 elsewhere."""
    fast = device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_amx_tile_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


@torch.no_grad()
def held_out_dice(model: SemanticSam, samples: Sequence[TrainingSample]) -> float:
    """Mean Dice over the classes present in the samples or predicted there; 1 when there is neither."""
    data = stack_samples(samples, model.class_ids, model.sam.device)
    predicted = torch.cat([model(data.images[i : i + 1]).argmax(1) for i in range(len(data))])
    scores = []
    for position in range(1, len(model.class_ids) + 1):
        a, b = predicted == position, data.targets == position
        size = int(a.sum() + b.sum())
        if size:
            scores.append(2 * int((a & b).sum()) / size)
    return sum(scores) / len(scores) if scores else 1.0


Losses = dict[str, Tensor]


def _automatic_losses(model: SemanticSam, batch: SampleTensors, features: Tensor, balance: float) -> Losses:
    """Small classes are favoured at first, or they take hundreds of steps to appear; at the end no longer."""
    with autocast(model.sam.device):
        logits = model.decode(batch.images, features)
    entropy, dice = cross_entropy_and_dice(logits, batch.targets, balance)
    return {"entropy": entropy, "dice": dice}


def _encoder_losses(
    model: SemanticSam, batch: SampleTensors, pool: EmbeddingPool, rng: torch.Generator, balance: float
) -> Losses:
    """Encode the batch, fill the pool, and train adapters for the automatic and the prompted use alike."""
    with autocast(model.sam.device):
        features, fine = model.embed(batch.images)
    pool.add(batch, features)
    losses = _automatic_losses(model, batch, features, balance)
    if features.requires_grad:
        with autocast(model.sam.device):
            losses["prompted"] = prompted_loss(model.sam, features, fine, batch.targets, rng)
        losses["balance"] = BALANCE_WEIGHT * adapters.pop_balance_loss(model.sam)
    return losses


def _optimizer(model: SemanticSam, config: FineTuneConfig) -> torch.optim.Optimizer:
    named = adapters.trainable(model)
    decoder = [p for name, p in named.items() if name.startswith("decoder.")]
    rest = [p for name, p in named.items() if not name.startswith("decoder.")]
    groups = [{"params": decoder, "rate": config.decoder_rate}, {"params": rest, "rate": config.adapter_rate}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, weight_decay=config.weight_decay)


def _set_rates(optimizer: torch.optim.Optimizer, fraction: float, step: int) -> None:
    """A short warm-up, then a half cosine to a hundredth over the episode."""
    shape = min(1.0, (step + 1) / 10) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fraction)))
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * shape


def _update(losses: Losses, optimizer: torch.optim.Optimizer) -> tuple[float, Parts]:
    loss = torch.stack(list(losses.values())).sum()
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss became {value}")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    optimizer.step()
    automatic = losses["entropy"] + losses["dice"]  # what every step has: a curve of these can be read
    return automatic.item(), tuple((name, part.item()) for name, part in losses.items())


def _fraction(config: FineTuneConfig, step: int, seconds: float) -> float:
    by_time = seconds / config.seconds if config.seconds else 0.0
    by_steps = step / config.steps if config.steps else 0.0
    return max(by_time, by_steps)
