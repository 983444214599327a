"""The fine-tuning loop: a generator that trains a model step by step and can be stopped between any two.

The encoder is what costs, so no more of it runs than must. Every `augment_every`-th step takes freshly augmented
slices through the blocks before the first adapter, which never change, and leaves the activations in a pool (the frozen
prefix). Steps that train adapters run only the blocks from there on, on slices of the pool; the steps between, more of
them the more blocks have adapters, train the automatic decoder alone on the pool's last embeddings. Adapters join when
the decoder knows its classes: before, their dear steps gain less than several of the decoder (`docs/live.md`). Where
the mask decoder is tuned, some of the steps between also answer simulated prompts, on the volume and on the samples.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_samadapt.imaging.errors import SamAdaptError

from . import adapters
from .precision import autocast
from .prompted import prompted_loss
from .rehearsal import Rehearsal
from .samples import SampleTensors, TrainingSample, augment, change_appearance, stack_samples
from .semantic import SemanticSam
from .slice_pool import PooledSlice, SlicePool, stack_entries, stack_fine

BALANCE_ONE, BALANCE_SEVERAL = 1.0, 2.0
"""The load-balance term's weight with one class and with several (Conv-LoRA, section 4)."""

SETTLE_SLICES = 12
"""A start without training steps looks at no more slices than these."""

Parts = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class FineTuneConfig:
    """One episode: its length in seconds of computing or in steps (whichever comes first), and its numbers.

    `hold_out_until`: the part of the episode after which held-out slices are measured and join the training.
    `adapters_from`: the part of it after which adapters are trained too.
    `decoder_rate`: None for the automatic decoder's own. `clock` tells the seconds of computing.
    """

    seconds: float | None = 60.0
    steps: int | None = None
    seed: int = 0
    batch_size: int = 4
    augment_every: int = 4
    pool_size: int = 32
    hold_out_until: float = 0.3
    adapters_from: float = 2 / 3
    decoder_rate: float | None = None
    adapter_rate: float = 1e-3
    weight_decay: float = 1e-4
    clock: Callable[[], float] = time.perf_counter

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
    pool = SlicePool(model, config.pool_size)
    rehearsal = Rehearsal(model) if adapters.tune_prompts(model.sam) else None
    rng = torch.Generator().manual_seed(config.seed)
    started = config.clock()
    settle(model, data, rng)
    optimizer = _optimizer(model, config)
    step, seconds, fraction = 0, config.clock() - started, 0.0
    dice: float | None = None
    while fraction < 1.0:
        started = config.clock()
        _set_rates(optimizer, fraction, step)
        model.train()
        new = step % config.augment_every == 0
        if new:
            pool.add(augment(data.draw(config.batch_size, rng), rng))
        entries = pool.newest(config.batch_size) if new else pool.draw(config.batch_size, rng)
        joined = _fraction(config, step + 1, seconds) > config.adapters_from
        if joined and (new or step % pool.encoder_every == 0):
            losses = _encoder_losses(model, pool, entries, rng, 1 - fraction)
        else:
            if new:
                pool.look(entries)
            losses = _automatic_losses(model, entries, rng, 1 - fraction)
            if rehearsal is not None and step % PROMPT_EVERY == PROMPT_EVERY - 1:
                losses["prompted"] = _volume_prompts(model, entries[:1], rng)
        if rehearsal is not None and step % REHEARSE_EVERY == 1:
            losses["rehearsed"] = rehearsal.loss(rng, anew=joined and adapters.change_embeddings(model.sam))
        loss, parts = _update(losses, optimizer)
        model.eval()
        step += 1
        seconds += config.clock() - started
        fraction = min(1.0, _fraction(config, step, seconds))
        if held_out and dice is None and fraction >= config.hold_out_until:
            dice = held_out_dice(model, held_out)
            data = stack_samples([*samples, *held_out], model.class_ids, model.sam.device)
        yield TrainProgress(step, seconds, fraction, loss, parts, dice)


@torch.no_grad()
def settle(model: SemanticSam, data: SampleTensors, rng: torch.Generator) -> None:
    """Let an automatic decoder that knows nothing of some class yet learn from some of the slices at once."""
    if not model.decoder.blank:
        return
    batch = data.draw(SETTLE_SLICES, rng)
    with autocast(model.sam.device):
        features, fine = model.embed(batch.images)
    model.decoder.settle(model.sam, batch, features.float(), fine, rng)


@torch.no_grad()
def held_out_dice(
    model: SemanticSam, samples: Sequence[TrainingSample], class_ids: Collection[int] | None = None
) -> float:
    """Mean Dice over the classes present in the samples or predicted there; 1 when there is neither.

    With `class_ids` the others count as background.
    """
    data = stack_samples(samples, model.class_ids, model.sam.device)
    predicted = torch.cat([model(data.images[i : i + 1]).argmax(1) for i in range(len(data))])
    counted = [i for i, known in enumerate(model.class_ids, 1) if class_ids is None or known in class_ids]
    only = torch.zeros(len(model.class_ids) + 1, dtype=torch.long, device=predicted.device)
    only[counted] = torch.tensor(counted, device=only.device, dtype=torch.long)
    return class_dice(only[predicted], only[data.targets], len(model.class_ids))


def class_dice(predicted: Tensor, targets: Tensor, classes: int) -> float:
    """Mean Dice over those of the classes 1 ... `classes` that one of the two (N, H, W) shows; 1 when there is none."""
    scores = []
    for position in range(1, classes + 1):
        a, b = predicted == position, targets == position
        size = int(a.sum() + b.sum())
        if size:
            scores.append(2 * int((a & b).sum()) / size)
    return sum(scores) / len(scores) if scores else 1.0


Losses = dict[str, Tensor]
OTHER_TERMS = ("prompted", "rehearsed", "balance")
"""Terms that only some steps have; the others are the automatic decoder's."""
PROMPT_EVERY = 4
"""In one of so many steps that leave the encoder alone, one slice is prompted for; more cost the automatic decoder."""
REHEARSE_EVERY = 8
"""In one of so many steps, a slice of the samples is prompted for."""


def _automatic_losses(
    model: SemanticSam, entries: Sequence[PooledSlice], rng: torch.Generator, balance: float
) -> Losses:
    """The automatic decoder alone, on slices in a new contrast."""
    batch = stack_entries(entries)
    images = change_appearance(batch.images, rng)
    features = torch.cat([entry.embedding for entry in entries])
    fine = stack_fine([entry.fine for entry in entries])
    with autocast(model.sam.device):
        batch = SampleTensors(images, batch.targets)
        return model.decoder.losses(model.sam, batch, features, fine, balance, rng)


def _volume_prompts(model: SemanticSam, entries: Sequence[PooledSlice], rng: torch.Generator) -> Tensor:
    """The error of the mask decoder alone, on embeddings from the pool."""
    features = torch.cat([entry.embedding for entry in entries])
    fine = stack_fine([entry.fine for entry in entries])
    with autocast(model.sam.device):
        return prompted_loss(model.sam, features, fine, stack_entries(entries).targets, rng)


def _encoder_losses(
    model: SemanticSam, pool: SlicePool, entries: Sequence[PooledSlice], rng: torch.Generator, balance: float
) -> Losses:
    """Train adapters for the automatic and the prompted use alike, and the automatic decoder with them."""
    batch = stack_entries(entries)
    features, fine = pool.encode(entries)
    with autocast(model.sam.device):
        losses = model.decoder.losses(model.sam, batch, features, fine, balance, rng)
    if features.requires_grad:
        with autocast(model.sam.device):
            losses["prompted"] = prompted_loss(model.sam, features, fine, batch.targets, rng)
        weight = BALANCE_SEVERAL if len(model.class_ids) > 1 else BALANCE_ONE
        losses["balance"] = weight * adapters.pop_balance_loss(model.sam)
    return losses


def _optimizer(model: SemanticSam, config: FineTuneConfig) -> torch.optim.Optimizer:
    named = adapters.trainable(model)
    decoder = [p for name, p in named.items() if name.startswith("decoder.")]
    factors = adapters.learning_rates(model)
    rate = model.decoder.rate if config.decoder_rate is None else config.decoder_rate
    groups = [{"params": decoder, "rate": rate}]
    for factor in sorted({1.0, *factors.values()}):
        rest = [
            p
            for name, p in named.items()
            if not name.startswith("decoder.") and factors.get(name, 1) == factor
        ]
        groups.append({"params": rest, "rate": config.adapter_rate * factor})
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
    for group in optimizer.param_groups:  # each by itself, so that no network slows another down
        torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()
    parts = tuple((name, part.item()) for name, part in losses.items())
    automatic = sum(part for name, part in parts if name not in OTHER_TERMS)
    return automatic, parts  # what every step has: a curve of these can be read


def _fraction(config: FineTuneConfig, step: int, seconds: float) -> float:
    by_time = seconds / config.seconds if config.seconds else 0.0
    by_steps = step / config.steps if config.steps else 0.0
    return max(by_time, by_steps)
