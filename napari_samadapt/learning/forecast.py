"""What training adapters in the last blocks will cost on this machine, measured on single blocks beforehand.

A block of each kind runs on one slice, a few times, as something else may run just then. Blocks of a kind cost the
same, so the rest is arithmetic.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .fine_tune import FineTuneConfig
from .precision import autocast
from .promptable_sam import PromptableSam
from .slice_pool import encoder_every

BACKWARD = 2.0
"""A backward pass through frozen blocks against a forward one: gradients of the activations, hardly any of weights."""
DECODERS = 0.8
"""The decoders, the losses and the optimiser in a step against a forward pass through all blocks (`mini`, last 1, 3, 6
blocks: 0.37, 0.30, 0.38 s foretold, 0.36, 0.34, 0.29 s measured)."""
WORKING = 1.6
"""The memory of a step against what the blocks keep for the backward pass: gradients, decoders, copies
(`benchmarks/training_memory.py`: 3.8 GB besides the weights, where the blocks kept 2.4)."""
MEMORY = 4 * 2**30
"""Bytes that a step may take besides the weights, unless somebody says otherwise."""
REPEATS, MEASURING_SECONDS = 8, 0.5
"""A block runs so often for its time, or until it took so long; the shortest time counts."""
ENOUGH_STEPS = 100
"""An episode with fewer steps learns more with fewer blocks."""


@dataclass(frozen=True)
class BlockCost:
    """Of one block and one slice: seconds of a forward pass, and bytes that it keeps for the backward pass."""

    seconds: float
    nbytes: int


@dataclass(frozen=True)
class Forecast:
    """A training step of `batch` slices with adapters in the last `last_blocks` of `blocks` blocks.

    `seconds` of the step; `nbytes` of the weights and of the step; whether a step of one slice `fits` into the memory.
    """

    last_blocks: int
    blocks: int
    batch: int
    seconds: float
    nbytes: int
    fits: bool

    def told(self, seconds: float) -> str:
        """A sentence on an episode of so many seconds."""
        return (
            f"Next episode: {seconds:.0f}\N{NO-BREAK SPACE}s, {max(1, round(seconds / self.seconds))} steps, "
            f"{self.nbytes / 1e9:.1f}\N{NO-BREAK SPACE}GB, last {self.last_blocks} of {self.blocks} blocks."
        )


@torch.enable_grad()
def block_costs(sam: PromptableSam) -> tuple[BlockCost, ...]:
    """The cost of every block of the image encoder, in order; the first block of each kind is measured."""
    encoder = sam.image_encoder
    side, width = encoder.img_size // sam.stride, encoder.pos_embed.shape[-1]
    tokens = torch.zeros(1, side, side, width, device=sam.device, dtype=encoder.pos_embed.dtype)
    measured: dict[int, BlockCost] = {}
    for block in encoder.blocks:
        kind = int(block.window_size)
        if kind not in measured:
            with autocast(sam.device):  # as it will be trained
                measured[kind] = _cost(block, tokens)
    return tuple(measured[int(block.window_size)] for block in encoder.blocks)


def _cost(block: nn.Module, tokens: Tensor) -> BlockCost:
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*block.parameters(), *block.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it, for ever

    with torch.no_grad():
        block(tokens[:, :1, :1])  # the first call of a process is slow
        seconds = _shortest_seconds(block, tokens)
    with torch.autograd.graph.saved_tensors_hooks(keep, _as_it_is):
        out = block(tokens.clone().requires_grad_(True))
    del out
    return BlockCost(seconds, sum(kept.values()))


def _shortest_seconds(block: nn.Module, tokens: Tensor) -> float:
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < MEASURING_SECONDS:
        started = time.perf_counter()
        block(tokens)
        _finish(tokens)
        taken.append(time.perf_counter() - started)
    return min(taken)


def _as_it_is(tensor: Any) -> Any:
    return tensor


def _finish(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def forecast(
    sam: PromptableSam, costs: tuple[BlockCost, ...], last_blocks: int, memory: int = MEMORY
) -> Forecast:
    """What a step will take, from the costs that `block_costs` measured; in batches of four slices, or what fits."""
    trained, frozen = costs[len(costs) - last_blocks :], costs[: len(costs) - last_blocks]
    joined = 1 - FineTuneConfig.adapters_from
    passes = joined * (1 + BACKWARD) / encoder_every(last_blocks, len(costs))
    passes += (1 - joined) / FineTuneConfig.augment_every
    encoder = passes * _seconds(trained) + _seconds(frozen) / FineTuneConfig.augment_every
    weights = sum(tensor.numel() * tensor.element_size() for tensor in sam.parameters())
    each = round(WORKING * sum(cost.nbytes for cost in trained))
    batch = FineTuneConfig.batch_size
    while batch > 1 and batch * each > memory:
        batch //= 2
    return Forecast(
        last_blocks, len(costs), batch, batch * (encoder + DECODERS * _seconds(costs)), weights + batch * each,
        each <= memory,
    )  # fmt: skip


def best_forecast(
    sam: PromptableSam, costs: tuple[BlockCost, ...], seconds: float | None, memory: int = MEMORY
) -> Forecast:
    """The forecast for as many blocks as an episode of so many seconds can train: half of them at most, one at least.

    Half are as good as all (`docs/architecture.md`); a small memory takes fewer, and so does a machine that is too slow
    for `ENOUGH_STEPS`, if that makes it quicker.
    """
    half = max(1, len(costs) // 2)
    found = [forecast(sam, costs, last_blocks, memory) for last_blocks in range(half, 0, -1)]
    fitting = [cost for cost in found if cost.fits] or found[-1:]
    long_enough = (cost for cost in fitting if seconds is None or seconds >= ENOUGH_STEPS * cost.seconds)
    return next(long_enough, min(fitting, key=lambda cost: cost.seconds))


def _seconds(costs: tuple[BlockCost, ...]) -> float:
    return sum(cost.seconds for cost in costs)
