"""The pool of a fine-tune: augmented slices with their activations before the first adapter (the frozen prefix)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import adapters
from .precision import autocast
from .promptable_sam import Fine, Prefix
from .samples import SampleTensors
from .semantic import SemanticSam


@dataclass(eq=False)
class PooledSlice:
    """One augmented slice (a batch of 1), its activations before the first adapter, and its last embedding.

    `fine`: its last finer features; empty where nothing that is trained reads them.
    """

    sample: SampleTensors
    prefix: Prefix
    embedding: Tensor
    fine: Fine = ()


def encoder_every(trained: int, blocks: int) -> int:
    """In one step of so many adapters are trained, with adapters in `trained` of the `blocks` blocks."""
    return min(4, math.ceil(4 * trained / blocks))


class SlicePool:
    """Augmented slices and what the encoder made of them, the oldest replaced first.

    `encoder_every`: adapters in all blocks train in every fourth step, in a quarter of them in each.
    """

    def __init__(self, model: SemanticSam, size: int) -> None:
        self.model, self.size = model, size
        self.entries: list[PooledSlice] = []
        self.depth = adapters.first_changed_block(model.sam)
        blocks = len(list(model.sam.image_encoder.blocks))
        adapted = adapters.change_embeddings(model.sam)
        self.encoder_every = encoder_every(blocks - self.depth, blocks) if adapted else size
        self.keeps_fine = model.decoder.reads_fine or adapters.tune_prompts(model.sam)

    @torch.no_grad()
    def add(self, batch: SampleTensors) -> None:
        """Keep each slice of the batch; the embeddings follow from `encode`."""
        with autocast(self.model.sam.device):
            prefix = self.model.embed_prefix(batch.images, self.depth)
        nothing = torch.empty(0)
        for index in range(len(batch)):
            row = slice(index, index + 1)
            half = Prefix(prefix.tokens[row].half(), tuple(f[row].half() for f in prefix.fine))
            self.entries.append(PooledSlice(batch.take(row), half, nothing))
        self.entries = self.entries[-self.size :]

    @torch.no_grad()
    def look(self, entries: Sequence[PooledSlice]) -> None:
        """Give slices their embeddings, without learning from them."""
        self.encode(entries)

    def newest(self, count: int) -> list[PooledSlice]:
        return self.entries[-count:]

    def draw(self, count: int, rng: torch.Generator) -> list[PooledSlice]:
        """Random slices of the pool."""
        return [self.entries[i] for i in torch.randperm(len(self.entries), generator=rng)[:count].tolist()]

    def encode(self, entries: Sequence[PooledSlice]) -> tuple[Tensor, Fine]:
        """Embeddings (B, C, h, w) and finer features from the prefixes; gradients flow, the pool keeps the values."""
        tokens = torch.cat([entry.prefix.tokens for entry in entries]).float()
        prefix = Prefix(tokens, stack_fine([entry.prefix.fine for entry in entries]))
        with autocast(self.model.sam.device):
            features, fine = self.model.sam.encode_suffix(prefix, self.depth)
        for index, entry in enumerate(entries):
            row = slice(index, index + 1)
            entry.embedding = features.detach()[row]
            if self.keeps_fine:
                entry.fine = tuple(f.detach()[row].half() for f in fine)
        return features, fine


def stack_entries(entries: Sequence[PooledSlice]) -> SampleTensors:
    """The slices of some entries as one batch."""
    images = torch.cat([entry.sample.images for entry in entries])
    return SampleTensors(images, torch.cat([entry.sample.targets for entry in entries]))


def stack_fine(rows: Sequence[Fine]) -> Fine:
    """Finer features of some entries as one batch, float32."""
    return tuple(torch.cat(level).float() for level in zip(*rows, strict=True))
