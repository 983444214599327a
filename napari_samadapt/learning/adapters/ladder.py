"""Ladder side tuning [Sung 2022]: a narrow network beside the frozen encoder, which gets no gradient at all.

Neither paper that compares with LST says how its side network is built; this one follows LST: a transformer block of
1/8 of the width for each block of the encoder, fed through learned gates.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..attention import fuse_global_attention
from ..segment_anything_modules import Block
from .adapter import Sites, Stack, wrap

GATE_TEMPERATURE = 0.1


class Rung(nn.Module):
    """block(mu h + (1 - mu) Down(x)), mu = sigmoid(gate / 0.1): the side network's step beside one block."""

    def __init__(self, beside: Any, channels: int, width: int) -> None:
        super().__init__()
        grid = ((len(beside.attn.rel_pos_h) + 1) // 2, (len(beside.attn.rel_pos_w) + 1) // 2)
        self.down = nn.Linear(channels, width)
        self.gate = nn.Parameter(torch.zeros(()))
        self.block = Block(
            width, beside.attn.num_heads, use_rel_pos=True, window_size=beside.window_size, input_size=grid
        )
        fuse_global_attention([self.block])

    def forward(self, side: Tensor, x: Tensor) -> Tensor:
        mu = torch.sigmoid(self.gate / GATE_TEMPERATURE)
        out: Tensor = self.block(mu * side + (1 - mu) * self.down(x))
        return out


class Ladder(Stack):
    """All blocks, then x + Up(LN(h)); h starts as Down(x) of the patch embedding. Up starts at zero."""

    kept_because = "it is a network of its own beside the encoder"

    def __init__(self, base: nn.ModuleList, sites: Sites, width: int) -> None:
        super().__init__()
        self.base = base
        channels = sites.encoder.patch_embed.proj.out_channels
        self.down = nn.Linear(channels, width)
        self.rungs = nn.ModuleDict(
            {str(index): Rung(base[index], channels, width) for index in sites.indices}
        )
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        side = self.down(x)
        for index, block in enumerate(self.base):
            x = block(x)
            if str(index) in self.rungs:
                side = self.rungs[str(index)](side, x)
        out: Tensor = x + self.up(self.norm(side))
        return out


def attach_lst(sites: Sites, *, reduction: int = 8) -> None:
    """The side network is `reduction` times narrower; with chosen blocks it reads only those.

    Conv-LoRA reads the global blocks alone. The narrow width is rounded up to a multiple of the heads.
    """
    heads = sites.encoder.blocks[0].attn.num_heads
    channels = sites.encoder.patch_embed.proj.out_channels
    width = heads * -(-channels // (reduction * heads))
    wrap(sites.encoder, "blocks", Ladder, sites, width)
