"""Visual prompt tuning [Jia 2022]: learned tokens that every query of a block can attend to.

SAM's tokens are a grid cut into windows, so the prompts are appended as keys and values of every window. They have no
place in the grid: they get no relative-position bias, and as queries they would be discarded, so they are none.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import attend
from .adapter import Adapter, Sites, original, wrap


class PromptedAttention(Adapter):
    """A block's attention with `tokens` prompts (p, D), which pass the block's norm1 and qkv as all tokens do.

    Where qkv carries an adapter of its own, the prompts pass the frozen layer.
    """

    kept_because = "its prompts are tokens, not weights"
    base: Any

    def __init__(self, base: nn.Module, norm: nn.Module, tokens: int, bound: float) -> None:
        super().__init__()
        self.base = base
        self.norm = norm
        self.qkv = original(base.get_submodule("qkv"))
        width = self.qkv.get_parameter("weight").shape[1]
        self.prompts = nn.Parameter(torch.empty(tokens, width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        qkv: Tensor = self.qkv(self.norm(self.prompts))  # (p, 3 D)
        heads = qkv.reshape(len(qkv), 3, self.base.num_heads, -1).permute(1, 2, 0, 3)  # (3, heads, p, d)
        return attend(self.base, x, heads[1:])


def attach_vpt(sites: Sites, *, tokens: int = 12) -> None:
    """VPT-deep: new prompts in every block, uniform within the bound of Xavier for the patch embedding.

    12 tokens fit the count in Conv-LoRA's Table 1. Not the frozen SAM at the start.
    """
    patch = sites.encoder.patch_embed.proj.weight  # (D, channels, height, width)
    bound = math.sqrt(6 / (patch[0].numel() + len(patch)))
    for block in sites.blocks:
        wrap(block, "attn", PromptedAttention, block.norm1, tokens, bound)
