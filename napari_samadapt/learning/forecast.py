"""What training adapters in the last blocks will cost on this machine, measured on single blocks beforehand.

A block of each kind runs once on one slice. Blocks of a kind cost the same, so the rest is arithmetic.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .promptable_sam import PromptableSam

BACKWARD = 2.0
"""A backward pass through frozen blocks against a forward one: gradients of the activations, hardly any of weights."""
DECODERS = 2.0
"""A step against its part in the encoder alone: the decoders, the losses and the optimiser take as long, about."""
AUGMENT_EVERY = 4
"""One step in so many takes new slices through the frozen blocks (`FineTuneConfig.augment_every`)."""
MEMORY = 4 * 2**30
"""Bytes that the activations of a step may take, unless somebody says otherwise."""


@dataclass(frozen=True)
class BlockCost:
    """Of one block and one slice: seconds of a forward pass, and bytes that it keeps for the backward pass."""

    seconds: float
    nbytes: int


@dataclass(frozen=True)
class Forecast:
    """A training step of `batch` slices with adapters in the last `last_blocks` of `blocks` blocks.

    `seconds` of the step; `nbytes`: the weights, and the activations of the step.
    """

    last_blocks: int
    blocks: int
    batch: int
    seconds: float
    nbytes: int

    def told(self, seconds: float) -> str:
        """A sentence on an episode of so many seconds."""
        return (
            f"Next episode: {seconds:.0f} s, about {max(1, round(seconds / self.seconds))} steps, "
            f"{self.nbytes / 1e9:.1f} GB, adapters in the last {self.last_blocks} of {self.blocks} blocks."
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
            measured[kind] = _cost(block, tokens)
    return tuple(measured[int(block.window_size)] for block in encoder.blocks)


def _cost(block: nn.Module, tokens: Tensor) -> BlockCost:
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*block.parameters(), *block.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.no_grad():
        block(tokens[:, :1, :1])  # the first call of a process is slow
        started = time.perf_counter()
        block(tokens)
        _finish(tokens)
        seconds = time.perf_counter() - started
    with torch.autograd.graph.saved_tensors_hooks(keep, _as_it_is):
        out = block(tokens.clone().requires_grad_(True))
    del out
    return BlockCost(seconds, sum(kept.values()))


def _as_it_is(tensor: Any) -> Any:
    return tensor


def _finish(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def forecast(
    sam: PromptableSam, costs: tuple[BlockCost, ...], last_blocks: int, memory: int = MEMORY
) -> Forecast:
    """What a step will take, from the costs that `block_costs` measured; in batches of 4 slices, or what fits."""
    trained, frozen = costs[len(costs) - last_blocks :], costs[: len(costs) - last_blocks]
    encoder = (1 + BACKWARD) * _seconds(trained) + _seconds(frozen) / AUGMENT_EVERY
    weights = sum(tensor.numel() * tensor.element_size() for tensor in sam.parameters())
    each = sum(cost.nbytes for cost in trained)
    batch = next((batch for batch in (4, 2) if batch * each <= memory), 1)
    return Forecast(last_blocks, len(costs), batch, DECODERS * batch * encoder, weights + batch * each)


def _seconds(costs: tuple[BlockCost, ...]) -> float:
    return sum(cost.seconds for cost in costs)
